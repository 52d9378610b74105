/*
 * paxos_alter.c
 *	  ALTER TABLE and ALTER INDEX, RENAME, SET SCHEMA, OWNER TO, COMMENT, and ALTER SEQUENCE
 *	  OWNED BY, on consensus tables and what belongs to them, where they are issued.  (GRANT
 *	  and REVOKE: paxos_grant.c.)
 *
 * ALTER TABLE is tried on an empty copy of the table, with its constraints and indexes
 * under their own names, in a schema that exists only in the trial: to try it on the table
 * would rewrite or scan it twice and keep the learner out meanwhile, which would
 * end us.  Each clause is then written down anew.  What makes something - a column, a
 * constraint, a default - is written from the catalogs, as the trial left it; what takes
 * something away, by name.  Expressions that no catalog keeps (USING) are analyzed here,
 * in this session, and written from their tree.  So the text that travels means the
 * same whatever the session has set; some settings travel along all the same, for what
 * PostgreSQL calls immutable does depend on them (a float as text on extra_float_digits).
 *
 * The statement carries the number of the last change of the table's definition, and is
 * carried out on no other (paxos_ddl_apply.c): if somebody was quicker, we begin again, and
 * hear of it what PostgreSQL says.
 *
 * What would come out differently on each node is refused: a new column whose default is
 * volatile, on a table that has rows (decided at the slot), and conversions that are not
 * immutable.  A stable default (now()) is computed here, once, for the
 * rows that are there, as PostgreSQL does.
 *
 * No state.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/policy.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_text.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_object.h"
#include "paxos_partition.h"
#include "paxos_version.h"

static bool
is_index(Oid relid)
{
	char kind = get_rel_relkind(relid);

	return kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX;
}

/* ------------------------------------------------------------------
 * A statement about one table
 * ------------------------------------------------------------------
 */

typedef struct Statement
{
	PaxosUtility *u;
	Oid table;
	Oid nsp;
	Oid owner;
	char *schema;
	char *name;
	int64 table_id;
	int64 altered;
	StringInfoData sql;
	PaxosDdlOp op;
	List *names;           /* that it takes in the table's schema */
	List *partition_names; /* and in those of its partitions */
	bool reads_rows;
} Statement;

/* One of all nodes: what its owner may make there can be changed through the log, too. */
static void
need_schema(Statement *s, Oid nsp)
{
	int64 id = paxos_object_id(NamespaceRelationId, nsp);

	if (id != 0)
		paxos_object_need(&s->op, id);
}

/* The table, locked ACCESS SHARE; false: it is gone. */
static bool
begin(Statement *s, PaxosUtility *u, Oid table, const char *what)
{
	Relation rel;

	memset(s, 0, sizeof(*s));
	s->u = u;
	s->table = table;
	paxos_ddl_begin_statement(u, what);
	rel = try_relation_open(table, AccessShareLock);
	if (rel == NULL)
		return false;
	s->nsp = RelationGetNamespace(rel);
	s->schema = get_namespace_name(s->nsp);
	s->name = pstrdup(RelationGetRelationName(rel));
	s->owner = rel->rd_rel->relowner;
	relation_close(rel, NoLock);
	s->table_id = paxos_known_table_id(table);
	s->altered = paxos_table_altered(s->table_id);
	paxos_ddl_refuse_kv(table, what);
	initStringInfo(&s->sql);
	s->op.kind = PAXOS_DDL_ALTER;
	s->op.schema = s->schema;
	s->op.owner = GetUserNameFromId(s->owner, false);
	s->op.n_tables = 1;
	s->op.table_ids = &s->table_id;
	s->op.altered = &s->altered;
	need_schema(s, s->nsp);
	return true;
}

static char *
qualified(const Statement *s)
{
	return quote_qualified_identifier(s->schema, s->name);
}

/*
 * What is carried out as this role at its slot would hold up every node if it may not look
 * into the schema; and to grant that, in one of all nodes, must wait for the slot.
 */
void
paxos_check_sees_schema(Oid role, Oid nsp)
{
	if (PaxosSchemaAclCheck(nsp, role, ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for schema %s", get_namespace_name(nsp)),
						errdetail("The statement is carried out as role \"%s\", who has no USAGE "
								  "privilege there.",
								  GetUserNameFromId(role, false))));
}

/* False: the definition has changed meanwhile; all is to be looked at anew. */
static bool
send(Statement *s, CommandTag tag)
{
	int64 bytes = 0;

	if (s->reads_rows)
		bytes = DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(s->table)));
	UnlockRelationOid(s->table, AccessShareLock);
	if ((s->op.flags & PAXOS_DDL_AS_OWNER) != 0)
		paxos_check_sees_schema(s->owner, s->nsp);
	if (s->u->qc)
		SetQueryCompletion(s->u->qc, tag, 0);
	s->op.sql = s->sql.data;
	if (bytes >= PAXOS_LARGE_BYTES)
		paxos_ddl_notice_large(s->name, bytes);
	return paxos_ddl_submit(&s->op);
}

/*
 * In a trial: copies of the table and, if it is one of a tree of partitions, of those above
 * and below.  A statement about it then is about those below as well.
 */
static Oid
make_copy(Statement *s)
{
	List *around = paxos_tree_around(s->table);

	paxos_copy_make(around);
	if (paxos_in_tree(s->table))
	{
		s->op.flags |= PAXOS_DDL_TREE;
		s->op.n_tables = 0;
		paxos_tree_add(&s->op, s->table, true);
	}
	return paxos_copy_of(s->table);
}

/* ------------------------------------------------------------------
 * ALTER TABLE
 * ------------------------------------------------------------------
 */

static void
check_constraints(const Statement *s, List *constraints)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		if (lfirst_node(Constraint, lc)->contype == CONSTR_FOREIGN)
			paxos_refuse(s->table, "adding a foreign key together with something else",
						 "Use a statement of its own.");
	}
	paxos_ddl_check_constraint_clauses(constraints);
}

/* Its trigger on the copy is missing: said at the slot, this would be no answer of every build. */
static void
check_triggers_use(const Statement *s, const AlterTableCmd *cmd)
{
	AttrNumber attnum = get_attnum(s->table, cmd->name);
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(s->table));
	ScanKeyInit(&key[2], Anum_pg_depend_refobjsubid, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(attnum));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 3, key);
	while (attnum != InvalidAttrNumber && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress trigger;

		if (d->classid != TriggerRelationId)
			continue;
		ObjectAddressSet(trigger, TriggerRelationId, d->objid);
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot alter type of a column used in a trigger definition"),
						errdetail("%s depends on column \"%s\"",
								  getObjectDescription(&trigger, false), cmd->name)));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

bool
paxos_is_foreign_key(Oid table, const char *name)
{
	Oid constraint = get_relation_constraint_oid(table, name, true);
	HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * A column that is added is written as it is when all clauses are done.  With another
 * clause's default the rows that are there would get it, which PostgreSQL gives to later ones
 * only; and with its identity that clause would fail on every node, and hold all of them up.
 */
static void
check_added(const Statement *s, List *cmds, const AlterTableCmd *cmd)
{
	ListCell *lc;

	if (cmd->subtype != AT_ColumnDefault && cmd->subtype != AT_AddIdentity &&
		cmd->subtype != AT_SetIdentity)
		return;
	foreach (lc, cmds)
	{
		AlterTableCmd *other = lfirst_node(AlterTableCmd, lc);

		if (other->subtype == AT_AddColumn &&
			strcmp(castNode(ColumnDef, other->def)->colname, cmd->name) == 0)
			paxos_refuse(s->table,
						 "a default or identity for a column that the same statement adds",
						 "Say it in ADD COLUMN, or use a statement of its own.");
	}
}

/* Refuse what is not for us, before anything is tried. */
static void
check_clause(const Statement *s, AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_AddColumn:
			check_constraints(s, castNode(ColumnDef, cmd->def)->constraints);
			break;
		case AT_AddConstraint:
			check_constraints(s, list_make1(cmd->def));
			break;
		case AT_ColumnDefault:
		case AT_DropNotNull:
		case AT_SetNotNull:
		case AT_DropExpression:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_DropColumn:
		case AT_ValidateConstraint:
		case AT_DropConstraint:
		case AT_AlterColumnType:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_AddIdentity:
		case AT_DropIdentity:
		case AT_ChangeOwner:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			break;
		case AT_SetIdentity:
			if (paxos_sequence_has_options(castNode(List, cmd->def)))
				paxos_refuse(s->table, "a change of sequence options together with something else",
							 "Use a statement of its own.");
			break;
		case AT_SetAccessMethod:
			paxos_refuse(s->table, "SET ACCESS METHOD together with other clauses",
						 "Use a statement of its own.");
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
			paxos_refuse(s->table, "enabling or disabling triggers together with something else",
						 "Use a statement of its own.");
		case AT_SetTableSpace:
			paxos_refuse(s->table, "a tablespace", "Tablespaces are local to a node.");
		case AT_SetLogged:
		case AT_SetUnLogged:
			paxos_refuse(s->table, "SET LOGGED or UNLOGGED", NULL);
		case AT_DetachPartitionFinalize:
			paxos_refuse(s->table, "DETACH PARTITION ... FINALIZE", NULL);
		case AT_AddInherit:
		case AT_DropInherit:
		case AT_AddOf:
		case AT_DropOf:
			paxos_refuse(s->table, "inheritance", NULL);
		default:
			paxos_refuse(s->table, "this form of ALTER TABLE", NULL);
	}
	if (cmd->subtype == AT_SetStatistics && cmd->name == NULL)
		paxos_refuse(s->table, "SET STATISTICS by column number", NULL);
}

/*
 * The names of keys' indexes are chosen where they will stand: in the copy's schema
 * another would be free.
 */
static void
name_keys(const Statement *s, List *cmds, List *constraints, const char *column)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		Constraint *c = lfirst_node(Constraint, lc);
		StringInfoData columns;
		List *elements = NIL;
		ListCell *lk;

		if (!paxos_ddl_has_index(c) || c->conname != NULL || c->indexname != NULL)
			continue;
		if (c->contype == CONSTR_EXCLUSION)
		{
			foreach (lk, c->exclusions)
				elements = lappend(elements, linitial(lfirst_node(List, lk)));
			c->conname = ChooseRelationName(s->name, paxos_ddl_index_columns(elements), "excl",
											s->nsp, true);
			continue;
		}
		initStringInfo(&columns);
		if (column != NULL)
			appendStringInfoString(&columns, column);
		foreach (lk, c->keys)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? "_" : "", strVal(lfirst(lk)));
		c->conname = makeObjectName(s->name, NULL, "pkey");
		if (c->contype == CONSTR_UNIQUE)
			c->conname = ChooseRelationName(s->name, columns.data, "key", s->nsp, true);
		else if (!paxos_drops_constraint(cmds, c->conname))
			c->conname = ChooseRelationName(s->name, NULL, "pkey", s->nsp, true);
	}
}

void
paxos_ddl_put_options(StringInfo out, List *options, bool values)
{
	ListCell *lc;

	appendStringInfoChar(out, '(');
	foreach (lc, options)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		appendStringInfoString(out, foreach_current_index(lc) > 0 ? ", " : "");
		if (e->defnamespace != NULL)
			appendStringInfo(out, "%s.", quote_identifier(e->defnamespace));
		appendStringInfoString(out, quote_identifier(e->defname));
		if (values && e->arg != NULL)
			appendStringInfo(out, " = %s", quote_literal_cstr(defGetString(e)));
	}
	appendStringInfoChar(out, ')');
}

/*
 * Does what a type reads or writes as text depend on the clock, the time zone or another
 * setting?  An array's does as its elements' does, and labels of an enum are the same
 * everywhere, although the functions are declared stable.
 */
static bool
text_is_mutable(Oid type, bool input)
{
	Oid element = get_element_type(type);
	Oid func;
	Oid param;
	bool varlena;

	if (OidIsValid(element))
		return text_is_mutable(element, input);
	if (input)
		getTypeInputInfo(type, &func, &param);
	else
		getTypeOutputInfo(type, &func, &varlena);
	return func != F_ENUM_IN && func != F_ENUM_OUT && func_volatile(func) != PROVOLATILE_IMMUTABLE;
}

/* Without the conversions by way of text that are the same everywhere. */
static Node *
without_texts(Node *node, void *context)
{
	CoerceViaIO *c = (CoerceViaIO *) node;

	if (node == NULL)
		return NULL;
	if (IsA(node, CoerceViaIO) && !text_is_mutable(exprType((Node *) c->arg), false) &&
		!text_is_mutable(c->resulttype, true))
		return (Node *) makeRelabelType((Expr *) without_texts((Node *) c->arg, context),
										c->resulttype, -1, c->resultcollid, COERCE_IMPLICIT_CAST);
	return expression_tree_mutator(node, without_texts, context);
}

/* Everything in an expression that no catalog keeps must be built in. */
static bool
uses_own(Oid func, void *context)
{
	return func >= FirstUnpinnedObjectId;
}

static bool
calls_own(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, uses_own, context) ||
		paxos_object_type_trouble(exprType(node)) != NULL)
		return true;
	return expression_tree_walker(node, calls_own, context);
}

/*
 * Every node converts its rows by itself.  By a function that is not immutable they would
 * come out otherwise here and there: 'now' as a timestamp, or a time of day with a zone
 * that has summer time.
 */
static void
check_conversion(ParseState *pstate, Node *expr, Oid type, int32 typmod)
{
	Node *value = coerce_to_target_type(pstate, copyObject(expr), exprType(expr), type, typmod,
										COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);

	/* what SQL functions stand for, as || of a text and something else */
	value = eval_const_expressions(NULL, value);
	if (value != NULL && contain_mutable_functions(without_texts(value, NULL)))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the conversion to type %s is not immutable", format_type_be(type)),
						errdetail("Every node computes it by itself, and all must come to the same "
								  "values, whatever their clocks and settings."),
						errhint("Add a column of the new type, fill it by UPDATE, and drop the old "
								"one.")));
}

/*
 * ALTER TYPE, before the copy is altered: the conversion is looked at, and USING written
 * down, as its tree says.  NULL: without USING, or PostgreSQL has something to say.
 */
static char *
write_using(const Statement *s, Oid copy, const AlterTableCmd *cmd, const char *query_string)
{
	ColumnDef *def = castNode(ColumnDef, cmd->def);
	ParseState *pstate = make_parsestate(NULL);
	Relation rel;
	ParseNamespaceItem *item;
	AttrNumber attnum = get_attnum(copy, cmd->name);
	Node *expr;
	Oid type;
	int32 typmod;
	char *text;
	int nest_level;

	if (attnum <= 0)
		return NULL;
	rel = table_open(copy, AccessShareLock);
	pstate->p_sourcetext = query_string;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, true);
	addNSItemToQuery(pstate, item, false, true, true);
	typenameTypeIdAndMod(pstate, def->typeName, &type, &typmod);
	if (def->raw_default == NULL)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

		check_conversion(
			pstate,
			(Node *) makeVar(1, attnum, att->atttypid, att->atttypmod, att->attcollation, 0), type,
			typmod);
		table_close(rel, NoLock);
		return NULL;
	}
	expr = transformExpr(pstate, copyObject(def->raw_default), EXPR_KIND_ALTER_COL_TRANSFORM);

	/* 'now' becomes a value here and now, not on each node when it comes to it */
	if (exprType(expr) == UNKNOWNOID)
		expr = coerce_type(pstate, expr, UNKNOWNOID, type, -1, COERCION_ASSIGNMENT,
						   COERCE_IMPLICIT_CAST, -1);
	check_conversion(pstate, expr, type, typmod);
	if (calls_own(expr, NULL))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("the USING expression uses something that is local to this node"),
						errhint("Use types, functions and operators that are built in.")));

	/* With the session's settings, under which it will be read. */
	nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	(void) set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	(void) set_config_option("standard_conforming_strings", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	text = paxos_ddl_write_expression(rel, expr);
	AtEOXact_GUC(true, nest_level);
	table_close(rel, NoLock);
	return text;
}

/* By these a conversion of values may come out otherwise. */
static void
send_settings(Statement *s)
{
	static const char *const names[] = {"TimeZone", "DateStyle", "IntervalStyle", "bytea_output",
										"extra_float_digits"};

	s->op.n_settings = lengthof(names);
	s->op.settings = palloc_array(char *, 2 * lengthof(names));
	for (int i = 0; i < lengthof(names); i++)
	{
		s->op.settings[2 * i] = pstrdup(names[i]);
		s->op.settings[2 * i + 1] = pstrdup(GetConfigOption(names[i], false, false));
	}
}

/* The value that a default has now, as a literal. */
static char *
value_now(Relation rel, AttrNumber attnum, Node *expr)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	EState *estate = CreateExecutorState();
	ExprState *state = ExecPrepareExpr((Expr *) expr, estate);
	bool isnull;
	Datum value = ExecEvalExprSwitchContext(state, GetPerTupleExprContext(estate), &isnull);
	Oid output;
	bool varlena;
	FmgrInfo info;
	char *text;

	if (isnull)
		return pstrdup("NULL");
	getTypeOutputInfo(att->atttypid, &output, &varlena);
	fmgr_info(output, &info);
	text = pstrdup(quote_literal_cstr(paxos_fixed_output(&info, value)));
	FreeExecutorState(estate);
	return text;
}

static AttrNumber
column_of(Relation rel, const char *name)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0)
		elog(ERROR, "column \"%s\" was not altered", name);
	return attnum;
}

static bool
owns_sequence(Oid relid, AttrNumber attnum)
{
	ListCell *lc;

	foreach (lc, getOwnedSequences(relid))
	{
		Oid table;
		int32 column;

		if ((sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_AUTO, &table, &column) ||
			 sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_INTERNAL, &table, &column)) &&
			column == attnum)
			return true;
	}
	return false;
}

/* ADD COLUMN; what is to follow in a statement of its own goes to 'more'. */
static void
put_column(Statement *s, StringInfo out, Relation copy, const char *name, StringInfo more)
{
	AttrNumber attnum = column_of(copy, name);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(copy), attnum - 1);
	Node *expr = att->attgenerated ? NULL : paxos_ddl_default(copy, attnum);
	bool of_type =
		expr == NULL && !att->attgenerated && get_typtype(att->atttypid) == TYPTYPE_DOMAIN;
	char *instead = NULL;

	/* the rows that are there get a domain's default, too */
	if (of_type)
		expr = build_column_default(copy, attnum);
	appendStringInfoString(out, "ADD COLUMN ");
	if (owns_sequence(RelationGetRelid(copy), attnum) ||
		(expr != NULL && contain_volatile_functions(expr)))
		s->op.flags |= PAXOS_DDL_EMPTY;
	else if (expr != NULL && (contain_mutable_functions(expr) || calls_own(expr, NULL)))
	{
		instead = value_now(copy, attnum, expr);
		appendStringInfo(more, "; ALTER TABLE %s ALTER COLUMN %s %s%s", qualified(s),
						 quote_identifier(name), of_type ? "DROP DEFAULT" : "SET DEFAULT ",
						 of_type ? "" : paxos_ddl_write_expression(copy, expr));
	}
	paxos_ddl_write_column(out, copy, attnum, false, instead);
	if (att->attstorage != get_typstorage(att->atttypid))
		appendStringInfo(more, "; ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s", qualified(s),
						 quote_identifier(name),
						 att->attstorage == TYPSTORAGE_PLAIN      ? "PLAIN"
						 : att->attstorage == TYPSTORAGE_EXTERNAL ? "EXTERNAL"
						 : att->attstorage == TYPSTORAGE_MAIN     ? "MAIN"
																  : "EXTENDED");
}

static void
put_constraint(Statement *s, StringInfo out, List *cmds, const PaxosConstraint *c)
{
	appendStringInfo(out, "%sADD CONSTRAINT %s %s", out->len > 0 ? ", " : "",
					 quote_identifier(c->name), c->definition);
	if (c->validated)
		s->reads_rows = true;
	if (c->type == CONSTRAINT_CHECK || paxos_drops_constraint(cmds, c->name))
		return;
	if (OidIsValid(get_relname_relid(c->name, s->nsp)))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", c->name)));
	s->names = lappend(s->names, c->name);
}

/* What ADD GENERATED AS IDENTITY calls its sequence (pg_dump says so always). */
static char *
sequence_name(AlterTableCmd *cmd)
{
	ListCell *lc;

	foreach (lc, castNode(Constraint, cmd->def)->options)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		if (strcmp(e->defname, "sequence_name") == 0)
			return makeRangeVarFromNameList(castNode(List, e->arg))->relname;
	}
	return NULL;
}

/* The copy stands in another schema, and takes any name. */
static void
forget_sequence_name(AlterTableCmd *cmd)
{
	Constraint *c = castNode(Constraint, cmd->def);
	ListCell *lc;

	foreach (lc, c->options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "sequence_name") == 0)
			c->options = foreach_delete_current (c->options, lc);
	}
}

static bool
named(List *constraints, const char *name)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		if (strcmp(((PaxosConstraint *) lfirst(lc))->name, name) == 0)
			return true;
	}
	return false;
}

/*
 * ADD COLUMN IF NOT EXISTS finds it: there before, and not dropped by another clause, all of
 * which come first; or added by a clause before this one.
 */
static bool
column_is_there(const Statement *s, List *cmds, const AlterTableCmd *cmd)
{
	const char *name = castNode(ColumnDef, cmd->def)->colname;
	bool there = get_attnum(s->table, name) != InvalidAttrNumber;
	ListCell *lc;

	foreach (lc, cmds)
	{
		AlterTableCmd *other = lfirst_node(AlterTableCmd, lc);

		if (other->subtype == AT_DropColumn && strcmp(other->name, name) == 0)
			there = false;
	}
	foreach (lc, cmds)
	{
		AlterTableCmd *other = lfirst_node(AlterTableCmd, lc);

		if (other == cmd)
			break;
		if (other->subtype == AT_AddColumn &&
			strcmp(castNode(ColumnDef, other->def)->colname, name) == 0)
			there = true;
	}
	return there;
}

/* DEFAULT, which is no number since PostgreSQL 17, can be said so in all versions. */
static int
statistics_target(const AlterTableCmd *cmd)
{
	return cmd->def != NULL ? intVal(cmd->def) : -1;
}

/* One clause, as the copy is now; nothing for what new_constraints() writes. */
static void
put_clause(Statement *s, StringInfo out, List *cmds, AlterTableCmd *cmd, Relation copy,
		   const char *using, StringInfo more, List *before)
{
	const char *name = cmd->name != NULL ? quote_identifier(cmd->name) : "";
	const char *if_exists = cmd->missing_ok ? "IF EXISTS " : "";
	const char *cascade = cmd->behavior == DROP_CASCADE ? " CASCADE" : "";
	Form_pg_attribute att;

	switch (cmd->subtype)
	{
		case AT_AddColumn:
			name = castNode(ColumnDef, cmd->def)->colname;
			if (cmd->missing_ok && column_is_there(s, cmds, cmd))
				return;
			put_column(s, out, copy, name, more);
			break;
		case AT_DropColumn:
			appendStringInfo(out, "DROP COLUMN %s%s%s", if_exists, name, cascade);
			break;
		case AT_ColumnDefault:
		{
			/* SET DEFAULT NULL leaves none behind. */
			Node *expr = cmd->def ? paxos_ddl_default(copy, column_of(copy, cmd->name)) : NULL;

			if (expr == NULL)
				appendStringInfo(out, "ALTER COLUMN %s DROP DEFAULT", name);
			else
				appendStringInfo(out, "ALTER COLUMN %s SET DEFAULT %s", name,
								 paxos_ddl_write_expression(copy, expr));
			break;
		}
		case AT_DropNotNull:
			(void) paxos_ddl_serial(copy, column_of(copy, cmd->name));
			appendStringInfo(out, "ALTER COLUMN %s DROP NOT NULL", name);
			break;
		case AT_SetNotNull:
			appendStringInfo(out, "ALTER COLUMN %s SET NOT NULL", name);
			s->reads_rows = true;
			break;
		case AT_DropExpression:
			appendStringInfo(out, "ALTER COLUMN %s DROP EXPRESSION %s", name, if_exists);
			break;
		case AT_SetStatistics:
			appendStringInfo(out, "ALTER COLUMN %s SET STATISTICS %d", name,
							 statistics_target(cmd));
			break;
		case AT_SetOptions:
		case AT_ResetOptions:
			appendStringInfo(out, "ALTER COLUMN %s %s ", name,
							 cmd->subtype == AT_SetOptions ? "SET" : "RESET");
			paxos_ddl_put_options(out, castNode(List, cmd->def), cmd->subtype == AT_SetOptions);
			break;
		case AT_SetStorage:
			appendStringInfo(out, "ALTER COLUMN %s SET STORAGE %s", name,
							 quote_identifier(strVal(cmd->def)));
			break;
		case AT_SetCompression:
			appendStringInfo(out, "ALTER COLUMN %s SET COMPRESSION %s", name,
							 quote_identifier(strVal(cmd->def)));
			break;
		case AT_AlterColumnType:
			att = TupleDescAttr(RelationGetDescr(copy), column_of(copy, cmd->name) - 1);
			(void) paxos_ddl_serial(copy, att->attnum);
			appendStringInfo(out, "ALTER COLUMN %s TYPE %s", name,
							 format_type_with_typemod(att->atttypid, att->atttypmod));
			if (OidIsValid(att->attcollation))
				appendStringInfo(out, " COLLATE %s", generate_collation_name(att->attcollation));
			if (using != NULL)
				appendStringInfo(out, " USING %s", using);
			s->reads_rows = true;
			break;
		case AT_AddConstraint:
		{
			Constraint *c = castNode(Constraint, cmd->def);

			if (c->indexname == NULL)
				return;
			appendStringInfo(out, "ADD CONSTRAINT %s %s USING INDEX %s",
							 quote_identifier(c->conname ? c->conname : c->indexname),
							 c->contype == CONSTR_PRIMARY ? "PRIMARY KEY" : "UNIQUE",
							 quote_identifier(c->indexname));
			if (c->deferrable)
				appendStringInfo(out, " DEFERRABLE%s",
								 c->initdeferred ? " INITIALLY DEFERRED" : "");
			if (c->contype == CONSTR_PRIMARY)
				s->reads_rows = true;
			break;
		}
		case AT_ValidateConstraint:
			appendStringInfo(out, "VALIDATE CONSTRAINT %s", name);
			s->reads_rows = true;
			break;
		case AT_DropConstraint:
			if (cmd->missing_ok && !named(before, cmd->name))
				return;
			appendStringInfo(out, "DROP CONSTRAINT %s%s%s", if_exists, name, cascade);
			break;
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
			appendStringInfoString(out, cmd->subtype == AT_SetRelOptions ? "SET " : "RESET ");
			paxos_ddl_put_options(out, castNode(List, cmd->def), cmd->subtype == AT_SetRelOptions);
			break;
		case AT_AddIdentity:
		{
			StringInfoData column;
			char *generated;

			/* "name type GENERATED ... (...)[ NOT NULL]" */
			initStringInfo(&column);
			paxos_ddl_write_column(&column, copy, column_of(copy, cmd->name), false, NULL);
			generated = strstr(column.data, " GENERATED ");
			if (generated == NULL)
				elog(ERROR, "column \"%s\" has got no identity", cmd->name);
			*(strrchr(generated, ')') + 1) = '\0';
			appendStringInfo(out, "ALTER COLUMN %s ADD%.*s(", name, (int) strcspn(generated, "("),
							 generated);
			if (sequence_name(cmd) != NULL)
				appendStringInfo(out, "SEQUENCE NAME %s ",
								 quote_qualified_identifier(s->schema, sequence_name(cmd)));
			appendStringInfoString(out, strchr(generated, '(') + 1);
			break;
		}
		case AT_SetIdentity:
			att = TupleDescAttr(RelationGetDescr(copy), column_of(copy, cmd->name) - 1);
			appendStringInfo(out, "ALTER COLUMN %s SET GENERATED %s", name,
							 att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS ? "ALWAYS"
																		   : "BY DEFAULT");
			break;
		case AT_DropIdentity:
			appendStringInfo(out, "ALTER COLUMN %s DROP IDENTITY %s", name, if_exists);
			break;
		case AT_ReplicaIdentity:
		{
			ReplicaIdentityStmt *r = castNode(ReplicaIdentityStmt, cmd->def);

			appendStringInfo(out, "REPLICA IDENTITY %s%s",
							 r->identity_type == REPLICA_IDENTITY_FULL      ? "FULL"
							 : r->identity_type == REPLICA_IDENTITY_NOTHING ? "NOTHING"
							 : r->identity_type == REPLICA_IDENTITY_INDEX   ? "USING INDEX "
																			: "DEFAULT",
							 r->identity_type == REPLICA_IDENTITY_INDEX ? quote_identifier(r->name)
																		: "");
			break;
		}
		case AT_EnableRowSecurity:
			appendStringInfoString(out, "ENABLE ROW LEVEL SECURITY");
			break;
		case AT_DisableRowSecurity:
			appendStringInfoString(out, "DISABLE ROW LEVEL SECURITY");
			break;
		case AT_ForceRowSecurity:
			appendStringInfoString(out, "FORCE ROW LEVEL SECURITY");
			break;
		case AT_NoForceRowSecurity:
			appendStringInfoString(out, "NO FORCE ROW LEVEL SECURITY");
			break;
		default:
			elog(ERROR, "clause of an unknown kind %d", (int) cmd->subtype);
	}
}

static bool
made_of_index(List *cmds, const char *constraint)
{
	ListCell *lc;

	foreach (lc, cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *c = (Constraint *) cmd->def;

		if (cmd->subtype == AT_AddConstraint && c->indexname != NULL &&
			strcmp(c->conname ? c->conname : c->indexname, constraint) == 0)
			return true;
	}
	return false;
}

/* All clauses, from what the trial made of the copy. */
static void
write_alter(Statement *s, AlterTableStmt *stmt, Oid copy, char **using, List *before, List *below,
			List *indexes)
{
	Relation rel = table_open(copy, AccessShareLock);
	bool partitioned = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	int nest_level = paxos_ddl_begin_writing_down();
	StringInfoData clauses;
	StringInfoData one;
	StringInfoData more;
	ListCell *lc;

	initStringInfo(&clauses);
	initStringInfo(&one);
	initStringInfo(&more);
	foreach (lc, stmt->cmds)
	{
		resetStringInfo(&one);
		put_clause(s, &one, stmt->cmds, lfirst(lc), rel, using[foreach_current_index(lc)], &more,
				   before);
		if (one.len > 0)
			appendStringInfo(&clauses, "%s%s", clauses.len > 0 ? ", " : "", one.data);
	}

	/* With the names chosen, whatever clause they came with. */
	foreach (lc, paxos_ddl_constraints(copy))
	{
		PaxosConstraint *c = lfirst(lc);

		if ((!named(before, c->name) || paxos_drops_constraint(stmt->cmds, c->name)) &&
			!made_of_index(stmt->cmds, c->name) && (!partitioned || c->type == CONSTRAINT_CHECK))
			put_constraint(s, &clauses, stmt->cmds, c);
	}
	if (clauses.len > 0)
		appendStringInfo(&s->sql, "ALTER TABLE %s%s %s%s", stmt->relation->inh ? "" : "ONLY ",
						 qualified(s), clauses.data, more.data);
	if (partitioned)
	{
		int len = s->sql.len;

		paxos_partition_write_indexes(&s->sql, s->table, below, indexes, &s->partition_names);
		s->reads_rows |= s->sql.len > len;
	}
	AtEOXact_GUC(true, nest_level);
	table_close(rel, NoLock);
}

/* It is carried out as the owner, who may have less than a superuser who issues it. */
static void
check_owner_may_create(const Statement *s)
{
	if (s->names != NIL && PaxosSchemaAclCheck(s->nsp, s->owner, ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", s->schema),
				 errdetail("The owner of the table, role \"%s\", may not create an index there.",
						   s->op.owner)));
}

/* The copy has none: they are tried when all else has been written down. */
static void
try_foreign_keys(List *tables, List *cmds)
{
	PaxosPowers before = paxos_take_powers();
	int nest_level = paxos_ddl_begin_writing_down();
	ListCell *lc;

	foreach (lc, tables)
		paxos_fkey_try(lfirst_oid(lc), paxos_copy_of(lfirst_oid(lc)), cmds);
	AtEOXact_GUC(true, nest_level);
	paxos_give_back(before);
}

/* Try it on a copy; 'write' says of the copy what is to be sent. */
static void
try_alter(Statement *s, AlterTableStmt *stmt)
{
	PaxosUtility trial_u = *s->u;
	AlterTableStmt *changed;
	PaxosTrial trial;
	Oid user;
	int security;
	char *schema = paxos_copy_schema(s->nsp);
	char **using = palloc0_array(char *, list_length(stmt->cmds));

	trial_u.pstmt = copyObject(s->u->pstmt);
	trial_u.read_only_tree = false;
	changed = (AlterTableStmt *) trial_u.pstmt->utilityStmt;
	changed->relation = makeRangeVar(schema, s->name, -1);
	changed->relation->inh = stmt->relation->inh;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid copy = make_copy(s);
		List *below = find_all_inheritors(s->table, AccessShareLock, NULL);
		List *indexes = paxos_partition_indexes(below);
		List *before;
		ListCell *lc;
		int nest_level = paxos_ddl_begin_writing_down();

		before = paxos_ddl_constraints(copy);
		AtEOXact_GUC(true, nest_level);
		foreach (lc, changed->cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

			if (cmd->subtype == AT_AddConstraint)
				name_keys(s, changed->cmds, list_make1(cmd->def), NULL);
			else if (cmd->subtype == AT_AddIdentity)
				forget_sequence_name(cmd);
			else if (cmd->subtype == AT_AddColumn)
				name_keys(s, changed->cmds, castNode(ColumnDef, cmd->def)->constraints,
						  castNode(ColumnDef, cmd->def)->colname);
			else if (cmd->subtype == AT_AlterColumnType)
				using[foreach_current_index(lc)] = write_using(s, copy, cmd, s->u->query_string);
		}
		paxos_trial_show(schema);

		/* With what its owner may do, and may use: so it will be carried out.  (Who may not
		 * act as the owner is told so.) */
		GetUserIdAndSecContext(&user, &security);
		if (PaxosOwnsRelation(s->table, user))
			SetUserIdAndSecContext(s->owner, security | SECURITY_LOCAL_USERID_CHANGE);
		paxos_utility_next(&trial_u);
		SetUserIdAndSecContext(user, security);
		CommandCounterIncrement();
		write_alter(s, stmt, copy, using, before, below, indexes);
		paxos_ddl_check_dependencies(&s->op, paxos_copy_of(paxos_tree_top(s->table)), InvalidOid);
		if (s->sql.len > 0 && (s->op.flags & PAXOS_DDL_TREE) == 0)
		{
			s->op.sql = s->sql.data;
			paxos_rehearse_alter(&s->op, s->table, copy);
		}
		try_foreign_keys(below, stmt->cmds);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

static bool
alter_owner(Statement *s, AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	Oid role = get_rolespec_oid(cmd->newowner, false);

	if (list_length(stmt->cmds) > 1)
		paxos_refuse(s->table, "OWNER TO together with other clauses",
					 "Use a statement of its own.");
	paxos_ddl_check_owner(s->table);
	if (!superuser())
	{
		PaxosCheckCanBecome(role);
		if (PaxosSchemaAclCheck(s->nsp, role, ACL_CREATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, s->schema);
	}
	appendStringInfo(&s->sql, "ALTER TABLE %s OWNER TO %s", qualified(s),
					 quote_identifier(GetUserNameFromId(role, false)));
	paxos_ddl_ask_roles(list_make1(GetUserNameFromId(role, false)));
	return send(s, CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * A column becomes serial, in the three statements that pg_dump makes of it
 * ------------------------------------------------------------------
 *
 * CREATE SEQUENCE is this node's alone.  ALTER SEQUENCE ... OWNED BY makes the column what
 * "serial" is: at the slot every node gives it a sequence of its own, and the default.
 * (Both at once, because what a newcomer is told of such a column is "serial".)  So the
 * SET DEFAULT that follows finds nothing to change.
 */

/* The sequence in nextval('...') or nextval('...'::regclass), as it was parsed. */
Oid
paxos_ddl_sequence_drawn_from(Node *raw)
{
	FuncCall *f = (FuncCall *) raw;
	Node *arg;

	if (raw == NULL || !IsA(raw, FuncCall) || list_length(f->args) != 1 ||
		strcmp(strVal(llast(f->funcname)), "nextval") != 0)
		return InvalidOid;
	arg = linitial(f->args);
	if (IsA(arg, TypeCast))
		arg = ((TypeCast *) arg)->arg;
	if (!IsA(arg, A_Const) || ((A_Const *) arg)->isnull || !IsA(&((A_Const *) arg)->val, String))
		return InvalidOid;
	return RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(
								cstring_to_text(strVal(&((A_Const *) arg)->val)))),
							NoLock, true);
}

static bool
owned_by_column(Oid sequence, Oid table, const char *column)
{
	Oid owner;
	int32 attnum;

	return OidIsValid(sequence) && get_rel_relkind(sequence) == RELKIND_SEQUENCE &&
		   sequenceIsOwned(sequence, DEPENDENCY_AUTO, &owner, &attnum) && owner == table &&
		   attnum == get_attnum(table, column);
}

/* A partition has the default of its parent. */
static bool
owned_above(Oid sequence, Oid table, const char *column)
{
	ListCell *lc;

	if (!OidIsValid(sequence) || !get_rel_relispartition(table))
		return false;
	foreach (lc, get_partition_ancestors(table))
	{
		if (owned_by_column(sequence, lfirst_oid(lc), column))
			return true;
	}
	return false;
}

static void
check_may_own(const Statement *s, Oid sequence, const char *column)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(sequence));
	AttrNumber attnum = get_attnum(s->table, column);
	Form_pg_class c;
	Relation rel;
	Form_pg_attribute att;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", sequence);
	c = (Form_pg_class) GETSTRUCT(tuple);
	if (c->relkind != RELKIND_SEQUENCE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a sequence", NameStr(c->relname))));
	if (!PaxosOwnsRelation(sequence, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SEQUENCE, NameStr(c->relname));
	if (c->relowner != s->owner)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("sequence must have same owner as table it is linked to")));
	if (c->relnamespace != s->nsp)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("sequence must be in same schema as table it is linked to")));
	if (!paxos_ddl_may_take_sequence(sequence, s->owner))
		paxos_refuse(
			s->table, "owning such a sequence",
			"It must be logged, owned and used by nothing else, and have no INCREMENT, CYCLE or "
			"small MAXVALUE.");
	ReleaseSysCache(tuple);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column, s->name)));
	rel = table_open(s->table, AccessShareLock);
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (!att->attnotnull || att->atthasdef || att->attidentity != '\0' ||
		(att->atttypid != INT2OID && att->atttypid != INT4OID && att->atttypid != INT8OID) ||
		owns_sequence(s->table, attnum))
		paxos_refuse(
			s->table, "a sequence of a column that cannot become serial",
			"The column must be of an integer type and NOT NULL, and have no default and no "
			"sequence yet.");
	table_close(rel, AccessShareLock); /* else we were in the learner's way: begin() has its own */
}

/* At the slot it is known by this form that the column's own sequence is meant. */
static bool
make_serial(Statement *s, const char *column, Oid sequence, CommandTag tag)
{
	char *name = quote_qualified_identifier(s->schema, get_rel_name(sequence));

	appendStringInfo(&s->sql,
					 "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s::pg_catalog.regclass)",
					 qualified(s), quote_identifier(column), quote_literal_cstr(name));
	s->op.flags |= PAXOS_DDL_AS_OWNER;
	return send(s, tag);
}

static bool
own_sequence(PaxosUtility *u, AlterSeqStmt *stmt, Oid table, Oid sequence, const char *column)
{
	Statement s;

	if (!begin(&s, u, table, "ALTER SEQUENCE OWNED BY a consensus-backed table"))
		return false;
	paxos_ddl_check_owner(table);
	if (list_length(stmt->options) != 1)
		paxos_refuse(table, "OWNED BY together with other options", "Use a statement of its own.");
	check_may_own(&s, sequence, column);
	return make_serial(&s, column, sequence, CMDTAG_ALTER_SEQUENCE);
}

/* The consensus table in OWNED BY, and the column's name. */
static Oid
owner_named(AlterSeqStmt *stmt, char **column)
{
	ListCell *lc;

	foreach (lc, stmt->options)
	{
		DefElem *e = lfirst_node(DefElem, lc);
		List *names = (List *) e->arg;
		Oid table;

		if (strcmp(e->defname, "owned_by") != 0 || list_length(names) < 2)
			continue;
		*column = strVal(llast(names));
		table = RangeVarGetRelid(
			makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1)),
			NoLock, true);
		if (OidIsValid(table) && paxos_is_consensus_table(table))
			return table;
	}
	return InvalidOid;
}

static bool
column_is_identity(Oid table, AttrNumber attnum)
{
	HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(attnum));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attidentity != '\0';
	ReleaseSysCache(tuple);
	return result;
}

/*
 * ENABLE and DISABLE TRIGGER: of users' triggers.  ALL means those, too: foreign keys and what
 * captures changes are no triggers on other nodes, and stay as they are.
 */
static bool
switch_triggers(Statement *s, const AlterTableStmt *stmt)
{
	Relation rel = table_open(s->table, AccessShareLock);
	ListCell *lc;

	paxos_ddl_check_owner(s->table);
	appendStringInfo(&s->sql, "ALTER TABLE %s", qualified(s));
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		const Trigger *trigger = NULL;

		for (int i = 0;
			 cmd->name != NULL && rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		{
			if (strcmp(rel->trigdesc->triggers[i].tgname, cmd->name) == 0)
				trigger = &rel->trigdesc->triggers[i];
		}
		if (cmd->name != NULL && trigger == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("trigger \"%s\" for table \"%s\" does not exist", cmd->name, s->name)));
		if (trigger != NULL && trigger->tgisinternal)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied: \"%s\" is a system trigger", cmd->name)));
		if ((cmd->subtype == AT_DisableTrigAll || cmd->subtype == AT_EnableTrigAll) &&
			paxos_fkey_any(s->table))
			paxos_refuse(s->table, "enabling or disabling the triggers of foreign keys",
						 "Use ENABLE or DISABLE TRIGGER USER.");
		appendStringInfo(&s->sql, "%s %s TRIGGER %s", foreach_current_index(lc) > 0 ? "," : "",
						 cmd->subtype == AT_EnableAlwaysTrig    ? "ENABLE ALWAYS"
						 : cmd->subtype == AT_EnableReplicaTrig ? "ENABLE REPLICA"
						 : cmd->subtype == AT_DisableTrig || cmd->subtype == AT_DisableTrigAll ||
								 cmd->subtype == AT_DisableTrigUser
							 ? "DISABLE"
							 : "ENABLE",
						 cmd->name != NULL ? quote_identifier(cmd->name) : "USER");
	}
	table_close(rel, AccessShareLock);
	s->op.flags |= PAXOS_DDL_AS_OWNER;
	return send(s, CMDTAG_ALTER_TABLE);
}

/* ALTER SEQUENCE of a column's sequence, and what ALTER TABLE says of it. */
static bool
alter_sequence(Statement *s, AttrNumber attnum, Oid sequence, const List *options, CommandTag tag)
{
	paxos_ddl_check_owner(s->table);
	appendStringInfo(&s->sql, "ALTER TABLE %s %s", qualified(s),
					 paxos_sequence_write(s->table, attnum, sequence, options));
	return send(s, tag);
}

static bool
alter_own_sequence(PaxosUtility *u, AlterSeqStmt *stmt, Oid table, Oid sequence)
{
	Statement s;
	Oid owner;
	int32 column;

	if (!begin(&s, u, table, "ALTER SEQUENCE of a consensus-backed table"))
		return false;
	if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &owner, &column) &&
		!sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &owner, &column))
		return false;
	return alter_sequence(&s, (AttrNumber) column, sequence, stmt->options, CMDTAG_ALTER_SEQUENCE);
}

/* Back to an ordinary table of each node; or nothing at all. */
static bool
set_access_method(Statement *s, const char *method)
{
	paxos_ddl_check_owner(s->table);
	if (strcmp(method, "paxos") == 0)
	{
		UnlockRelationOid(s->table, AccessShareLock);
		if (s->u->qc)
			SetQueryCompletion(s->u->qc, CMDTAG_ALTER_TABLE, 0);
		return true;
	}
	if (strcmp(method, DEFAULT_TABLE_ACCESS_METHOD) != 0)
		paxos_refuse(s->table, "SET ACCESS METHOD to another than heap", NULL);
	if (paxos_in_tree(s->table))
		paxos_refuse(s->table, "SET ACCESS METHOD heap with partitions",
					 "Detach the partition first.");
	if (paxos_fkey_any(s->table))
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("table \"%s\" has foreign keys to or from consensus-backed tables",
							   s->name),
						errhint("Drop them first.")));
	paxos_object_check_leave(s->table, false);
	s->op.kind = PAXOS_DDL_LEAVE;
	appendStringInfo(&s->sql, "ALTER TABLE %s SET ACCESS METHOD heap", qualified(s));
	return send(s, CMDTAG_ALTER_TABLE);
}

static bool
alter_table(PaxosUtility *u, AlterTableStmt *stmt, Oid table)
{
	AlterTableCmd *first = linitial_node(AlterTableCmd, stmt->cmds);
	Statement s;
	ListCell *lc;

	if (first->subtype == AT_AttachPartition || first->subtype == AT_DetachPartition)
		return paxos_partition_alter(u, stmt, table);
	if (!begin(&s, u, table, "ALTER TABLE on a consensus-backed table"))
		return false;
	if (first->subtype == AT_SetAccessMethod && paxos_in_tree(table))
		paxos_refuse(table, "SET ACCESS METHOD of a partitioned table or a partition",
					 "Use DETACH PARTITION first.");
	if (first->subtype == AT_SetAccessMethod && list_length(stmt->cmds) == 1)
		return set_access_method(&s, first->name ? first->name : default_table_access_method);
	if (first->subtype == AT_SetIdentity && list_length(stmt->cmds) == 1 &&
		paxos_sequence_has_options(castNode(List, first->def)))
	{
		AttrNumber attnum = get_attnum(table, first->name);
		Oid sequence = paxos_ddl_sequence_of(table, attnum);

		if (attnum == InvalidAttrNumber)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of relation \"%s\" does not exist", first->name,
								   s.name)));
		if (!OidIsValid(sequence) || !column_is_identity(table, attnum))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("column \"%s\" of relation \"%s\" is not an identity column",
								   first->name, s.name)));
		return alter_sequence(&s, attnum, sequence, castNode(List, first->def), CMDTAG_ALTER_TABLE);
	}
	foreach (lc, stmt->cmds)
	{
		if (!paxos_switches_trigger(lfirst_node(AlterTableCmd, lc)))
			break;
	}
	if (lc == NULL)
		return switch_triggers(&s, stmt);
	if (first->subtype == AT_ColumnDefault && list_length(stmt->cmds) == 1)
	{
		Oid sequence = paxos_ddl_sequence_drawn_from(first->def);

		if (owned_by_column(sequence, table, first->name) ||
			owned_above(sequence, table, first->name))
		{
			Relation rel = table_open(table, AccessShareLock);
			Form_pg_attribute att =
				TupleDescAttr(RelationGetDescr(rel), column_of(rel, first->name) - 1);

			/* Else it could not be written down for a newcomer (paxos_ddl_serial()). */
			if (!att->attnotnull ||
				(att->atttypid != INT2OID && att->atttypid != INT4OID && att->atttypid != INT8OID))
				paxos_refuse(table, "a default from a sequence for what is no not-null integer",
							 NULL);
			table_close(rel, AccessShareLock);
			paxos_ddl_check_owner(table);
			return make_serial(&s, first->name, sequence, CMDTAG_ALTER_TABLE);
		}
	}
	foreach (lc, stmt->cmds)
	{
		check_clause(&s, lfirst_node(AlterTableCmd, lc));
		check_added(&s, stmt->cmds, lfirst_node(AlterTableCmd, lc));
	}
	foreach (lc, stmt->cmds)
	{
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_ChangeOwner)
			return alter_owner(&s, stmt);
	}
	paxos_ddl_check_owner(table);
	foreach (lc, stmt->cmds)
	{
		if (lfirst_node(AlterTableCmd, lc)->subtype != AT_AlterColumnType)
			continue;
		check_triggers_use(&s, lfirst_node(AlterTableCmd, lc));
		paxos_object_check_column(table, lfirst_node(AlterTableCmd, lc)->name, false);
		if (s.op.settings == NULL)
			send_settings(&s);
	}
	s.op.flags |= PAXOS_DDL_AS_OWNER;
	try_alter(&s, stmt);
	if (s.sql.len == 0)
	{
		UnlockRelationOid(table, AccessShareLock);
		if (u->qc)
			SetQueryCompletion(u->qc, CMDTAG_ALTER_TABLE, 0);
		return true;
	}
	check_owner_may_create(&s);
	if (s.names != NIL)
		paxos_ddl_ask_members(s.schema, s.op.owner, s.table_id, s.names);
	paxos_partition_ask(&s.op, s.partition_names);
	paxos_tree_check_owners(&s.op, s.owner);
	return send(&s, CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * ALTER INDEX, RENAME, SET SCHEMA
 * ------------------------------------------------------------------
 */

/* As PostgreSQL does when it is carried out; there it would hold up every node. */
static void
check_index_statistics(Oid index, const AlterTableCmd *cmd)
{
	Relation rel = index_open(index, AccessShareLock);

	if (cmd->num < 1 || cmd->num > RelationGetNumberOfAttributes(rel))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column number %d of relation \"%s\" does not exist", cmd->num,
							   RelationGetRelationName(rel))));
	if (rel->rd_index->indkey.values[cmd->num - 1] != InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot alter statistics on %s column \"%s\" of index \"%s\"",
						cmd->num > rel->rd_index->indnkeyatts ? "included" : "non-expression",
						NameStr(TupleDescAttr(RelationGetDescr(rel), cmd->num - 1)->attname),
						RelationGetRelationName(rel)),
				 cmd->num > rel->rd_index->indnkeyatts
					 ? 0
					 : errhint("Alter statistics on table column instead.")));
	if (statistics_target(cmd) < -1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("statistics target %d is too low", statistics_target(cmd))));
	index_close(rel, AccessShareLock);
}

static bool
alter_index(PaxosUtility *u, AlterTableStmt *stmt, Oid table, Oid index)
{
	Statement s;
	ListCell *lc;

	if (linitial_node(AlterTableCmd, stmt->cmds)->subtype == AT_AttachPartition)
		return paxos_partition_attach_index(u, stmt, index);
	if (!begin(&s, u, table, "ALTER INDEX on a consensus-backed table"))
		return false;
	if (get_rel_relkind(index) == RELKIND_PARTITIONED_INDEX)
		paxos_refuse(table, "this form of ALTER INDEX on an index of a partitioned table", NULL);
	if (!PaxosOwnsRelation(index, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, get_rel_name(index));
	appendStringInfo(&s.sql, "ALTER INDEX %s ",
					 quote_qualified_identifier(s.schema, get_rel_name(index)));
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		appendStringInfoString(&s.sql, foreach_current_index(lc) > 0 ? ", " : "");
		if (cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions)
		{
			List *options = castNode(List, cmd->def);
			Relation rel = index_open(index, AccessShareLock);

			/* as PostgreSQL does when it is carried out */
			(void) index_reloptions(rel->rd_indam->amoptions,
									transformRelOptions((Datum) 0, options, NULL, NULL, false,
														cmd->subtype == AT_ResetRelOptions),
									true);
			index_close(rel, AccessShareLock);
			appendStringInfoString(&s.sql, cmd->subtype == AT_SetRelOptions ? "SET " : "RESET ");
			paxos_ddl_put_options(&s.sql, options, cmd->subtype == AT_SetRelOptions);
		}
		else if (cmd->subtype == AT_SetStatistics && cmd->name == NULL)
		{
			check_index_statistics(index, cmd);
			appendStringInfo(&s.sql, "ALTER COLUMN %d SET STATISTICS %d", cmd->num,
							 statistics_target(cmd));
		}
		else
			paxos_refuse(table, "this form of ALTER INDEX", NULL);
	}
	return send(&s, CMDTAG_ALTER_INDEX);
}

static void
check_name_free(const char *name, Oid nsp)
{
	if (OidIsValid(get_relname_relid(name, nsp)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE), errmsg("relation \"%s\" already exists", name)));
}

/* Columns and constraints: tried on a copy, which says all that PostgreSQL says. */
static void
try_rename(Statement *s, RenameStmt *stmt)
{
	PaxosUtility trial_u = *s->u;
	PaxosTrial trial;
	char *schema = paxos_copy_schema(s->nsp);
	RangeVar *on = makeRangeVar(schema, s->name, -1);

	trial_u.pstmt = copyObject(s->u->pstmt);
	trial_u.read_only_tree = false;
	on->inh = stmt->relation->inh;
	((RenameStmt *) trial_u.pstmt->utilityStmt)->relation = on;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		(void) make_copy(s);
		paxos_trial_show(schema);
		paxos_utility_next(&trial_u);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

static bool
rename_part(PaxosUtility *u, RenameStmt *stmt, Oid table, Oid relid)
{
	Statement s;
	bool index = is_index(relid);
	char *to = (char *) quote_identifier(stmt->newname);
	CommandTag tag = CMDTAG_ALTER_TABLE;

	if (!begin(&s, u, table, "RENAME on a consensus-backed table"))
		return false;
	switch (stmt->renameType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
			if (!PaxosOwnsRelation(relid, GetUserId()))
				aclcheck_error(ACLCHECK_NOT_OWNER, index ? OBJECT_INDEX : OBJECT_TABLE,
							   get_rel_name(relid));
			if (!index && stmt->renameType == OBJECT_INDEX)
				ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
								errmsg("\"%s\" is not an index", get_rel_name(relid))));
			if (PaxosSchemaAclCheck(s.nsp, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
				aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, s.schema);
			check_name_free(stmt->newname, s.nsp);
			if (!index && paxos_ddl_type_in_the_way(stmt->newname, s.nsp))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("type \"%s\" already exists", stmt->newname)));
			s.names = list_make1(stmt->newname);
			appendStringInfo(&s.sql, "ALTER %s %s RENAME TO %s", index ? "INDEX" : "TABLE",
							 quote_qualified_identifier(s.schema, get_rel_name(relid)), to);
			if (stmt->renameType == OBJECT_INDEX)
				tag = CMDTAG_ALTER_INDEX;
			break;
		case OBJECT_COLUMN:
			try_rename(&s, stmt);
			appendStringInfo(&s.sql, "ALTER TABLE %s RENAME COLUMN %s TO %s", qualified(&s),
							 quote_identifier(stmt->subname), to);
			break;
		case OBJECT_TABCONSTRAINT:
			if (!paxos_is_foreign_key(table, stmt->subname))
				try_rename(&s, stmt);
			else if (ConstraintNameIsUsed(CONSTRAINT_RELATION, table, stmt->newname))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("constraint \"%s\" for relation \"%s\" already exists",
									   stmt->newname, s.name)));
			paxos_ddl_check_owner(table);
			if (OidIsValid(get_relname_relid(stmt->subname, s.nsp)))
			{
				check_name_free(stmt->newname, s.nsp);
				s.names = list_make1(stmt->newname);
			}
			appendStringInfo(&s.sql, "ALTER TABLE %s RENAME CONSTRAINT %s TO %s", qualified(&s),
							 quote_identifier(stmt->subname), to);
			break;
		case OBJECT_TRIGGER:
			paxos_ddl_check_owner(table);
			if (!OidIsValid(paxos_user_trigger(table, stmt->subname)))
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
								errmsg("trigger \"%s\" for table \"%s\" does not exist",
									   stmt->subname, s.name)));
			if (OidIsValid(get_trigger_oid(table, stmt->newname, true)))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("trigger \"%s\" for relation \"%s\" already exists",
									   stmt->newname, s.name)));
			appendStringInfo(&s.sql, "ALTER TRIGGER %s ON %s RENAME TO %s",
							 quote_identifier(stmt->subname), qualified(&s), to);
			tag = CMDTAG_ALTER_TRIGGER;
			break;
		default:
			paxos_refuse(table, "this form of RENAME", NULL);
	}
	if (s.names != NIL)
		paxos_ddl_ask_members(s.schema, s.op.owner, s.table_id, s.names);
	return send(&s, tag);
}

static bool
set_schema(PaxosUtility *u, AlterObjectSchemaStmt *stmt, Oid table)
{
	Statement s;
	Oid nsp;
	ListCell *lc;

	if (!begin(&s, u, table, "SET SCHEMA on a consensus-backed table"))
		return false;
	paxos_ddl_check_owner(table);
	nsp = LookupCreationNamespace(stmt->newschema);
	CheckSetNamespace(s.nsp, nsp);
	if (strcmp(stmt->newschema, PAXOS_SCHEMA) == 0)
		paxos_refuse(table, "SET SCHEMA " PAXOS_SCHEMA, "That schema is the extension's own.");
	if (nsp != s.nsp)
	{
		need_schema(&s, nsp);
		foreach (lc, paxos_ddl_names_taken(table))
			check_name_free(lfirst(lc), nsp);
		if (paxos_ddl_type_in_the_way(s.name, nsp))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("type \"%s\" already exists in schema \"%s\"", s.name,
								   stmt->newschema)));
		paxos_ddl_ask_members(stmt->newschema, s.op.owner, 0, paxos_ddl_names_taken(table));
	}
	appendStringInfo(&s.sql, "ALTER TABLE %s SET SCHEMA %s", qualified(&s),
					 quote_identifier(stmt->newschema));
	return send(&s, CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * COMMENT
 * ------------------------------------------------------------------
 */

static RangeVar *
commented_relation(CommentStmt *stmt)
{
	List *names;

	switch (stmt->objtype)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
			return makeRangeVarFromNameList(castNode(List, stmt->object));
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
			names = list_copy(castNode(List, stmt->object));
			names = list_truncate(names, list_length(names) - 1);
			return names == NIL ? NULL : makeRangeVarFromNameList(names);
		default:
			return NULL;
	}
}

static bool
comment(PaxosUtility *u, CommentStmt *stmt, Oid table, Oid relid)
{
	Statement s;
	const char *part = strVal(llast(castNode(List, stmt->object)));

	if (!begin(&s, u, table, "COMMENT on a consensus-backed table"))
		return false;
	if (!PaxosOwnsRelation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, stmt->objtype, get_rel_name(relid));
	s.op.kind = PAXOS_DDL_NOTE;
	appendStringInfoString(&s.sql, "COMMENT ON ");
	switch (stmt->objtype)
	{
		case OBJECT_COLUMN:
			if (get_attnum(table, part) == InvalidAttrNumber)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_COLUMN),
						 errmsg("column \"%s\" of relation \"%s\" does not exist", part, s.name)));
			appendStringInfo(&s.sql, "COLUMN %s.%s", qualified(&s), quote_identifier(part));
			break;
		case OBJECT_TABCONSTRAINT:
			(void) get_relation_constraint_oid(table, part, false);
			appendStringInfo(&s.sql, "CONSTRAINT %s ON %s", quote_identifier(part), qualified(&s));
			break;
		case OBJECT_TRIGGER:
			(void) get_trigger_oid(table, part, false);
			appendStringInfo(&s.sql, "TRIGGER %s ON %s", quote_identifier(part), qualified(&s));
			break;
		case OBJECT_POLICY:
			(void) get_relation_policy_oid(table, part, false);
			appendStringInfo(&s.sql, "POLICY %s ON %s", quote_identifier(part), qualified(&s));
			break;
		default:
			if ((stmt->objtype == OBJECT_INDEX) != is_index(relid))
				ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
								stmt->objtype == OBJECT_INDEX
									? errmsg("\"%s\" is not an index", get_rel_name(relid))
									: errmsg("\"%s\" is not a table", get_rel_name(relid))));
			appendStringInfo(&s.sql, "%s %s", stmt->objtype == OBJECT_INDEX ? "INDEX" : "TABLE",
							 quote_qualified_identifier(s.schema, get_rel_name(relid)));
			break;
	}
	appendStringInfo(&s.sql, " IS %s",
					 stmt->comment != NULL ? quote_literal_cstr(stmt->comment) : "NULL");
	return send(&s, CMDTAG_COMMENT);
}

/* ------------------------------------------------------------------
 * Which of these is it, if any?
 * ------------------------------------------------------------------
 */

static Oid
relation_named(RangeVar *rv)
{
	return rv != NULL ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;
}

bool
paxos_alter_statement(PaxosUtility *u)
{
	Node *parse = u->pstmt->utilityStmt;

	if (IsA(parse, GrantStmt))
		return paxos_grant_statement(u);
	if (IsA(parse, DropOwnedStmt))
	{
		paxos_grant_check_drop_owned((DropOwnedStmt *) parse);
		return false;
	}
	for (;;)
	{
		Oid relid;
		Oid table;
		bool done;

		switch (nodeTag(parse))
		{
			case T_AlterTableStmt:
				relid = relation_named(((AlterTableStmt *) parse)->relation);
				break;
			case T_RenameStmt:
				relid = relation_named(((RenameStmt *) parse)->relation);
				break;
			case T_AlterObjectSchemaStmt:
				relid = relation_named(((AlterObjectSchemaStmt *) parse)->relation);
				break;
			case T_CommentStmt:
				relid = relation_named(commented_relation((CommentStmt *) parse));
				break;
			case T_AlterSeqStmt:
			{
				char *column = NULL;

				table = owner_named((AlterSeqStmt *) parse, &column);
				relid = relation_named(((AlterSeqStmt *) parse)->sequence);
				if (OidIsValid(relid) && OidIsValid(paxos_consensus_owner(relid)) &&
					get_rel_relkind(relid) == RELKIND_SEQUENCE)
				{
					paxos_version_require(PAXOS_VERSION_DEFINITIONS,
										  "changes of a consensus-backed table's sequences");
					if (alter_own_sequence(u, (AlterSeqStmt *) parse, paxos_consensus_owner(relid),
										   relid))
						return true;
					CHECK_FOR_INTERRUPTS();
					AcceptInvalidationMessages();
					continue;
				}
				if (!OidIsValid(table) || !OidIsValid(relid))
					return false;
				paxos_version_require(PAXOS_VERSION_DEFINITIONS,
									  "sequences owned by consensus-backed tables");
				if (own_sequence(u, (AlterSeqStmt *) parse, table, relid, column))
					return true;
				CHECK_FOR_INTERRUPTS();
				AcceptInvalidationMessages();
				continue;
			}
			default:
				return false;
		}
		table = OidIsValid(relid) ? paxos_consensus_owner(relid) : InvalidOid;
		if (!OidIsValid(table) || get_rel_relkind(relid) == RELKIND_SEQUENCE)
			return false;
		if (relid == table && IsA(parse, AlterTableStmt) &&
			paxos_fkey_alter(u, (AlterTableStmt *) parse, table))
			return true;
		paxos_version_require(PAXOS_VERSION_DEFINITIONS,
							  "statements that alter consensus-backed tables");
		if (IsA(parse, AlterTableStmt))
			done = relid == table ? alter_table(u, (AlterTableStmt *) parse, table)
								  : alter_index(u, (AlterTableStmt *) parse, table, relid);
		else if (IsA(parse, RenameStmt))
			done = rename_part(u, (RenameStmt *) parse, table, relid);
		else if (IsA(parse, AlterObjectSchemaStmt))
			done = set_schema(u, (AlterObjectSchemaStmt *) parse, table);
		else
			done = comment(u, (CommentStmt *) parse, table, relid);
		if (done)
			return true;

		/* Somebody was quicker: what there is to say is said of what there is now. */
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}
