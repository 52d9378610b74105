/*
 * paxos_alter_write.c
 *	  How the clauses of ALTER TABLE are written down, so that they mean the same at their slot
 *	  on every node.
 *
 * What makes something - a column, a constraint, a default - is written from the catalogs, as
 * the trial on a copy left it; what takes something away, by name.  Expressions that no catalog
 * keeps (USING) are analyzed here, in this session, and written from their tree.  So the text
 * that travels means the same whatever the session has set; some settings travel along all the
 * same (paxos_alter.c), for what PostgreSQL calls immutable does depend on them (a float as text
 * on extra_float_digits).
 *
 * What would come out differently on each node is refused: a new column whose default is
 * volatile, on a table that has rows (decided at the slot), and conversions that are not
 * immutable.  A stable default (now()) is computed here, once, for the rows that are there, as
 * PostgreSQL does.
 *
 * No state.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "paxos_alter_int.h"
#include "paxos_compat.h"
#include "paxos_object.h"
#include "paxos_partition.h"
#include "paxos_text.h"

/*
 * The names of keys' indexes are chosen where they will stand: in the copy's schema
 * another would be free.
 */
static void
name_keys(const PaxosAlter *s, List *cmds, List *constraints, const char *column)
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
write_using(const PaxosAlter *s, Oid copy, const AlterTableCmd *cmd, const char *query_string)
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

/* The value that a default has now, as a literal. */
static char *
value_now(Relation rel, AttrNumber attnum, Node *expr)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	EState *estate = CreateExecutorState();
	ExprState *state = ExecPrepareExpr((Expr *) expr, estate);
	bool isnull;
	Datum value = ExecEvalExprSwitchContext(state, GetPerTupleExprContext(estate), &isnull);
	char *text;

	if (isnull)
		return pstrdup("NULL");
	text = pstrdup(quote_literal_cstr(paxos_fixed_text(att->atttypid, value)));
	FreeExecutorState(estate);
	return text;
}

AttrNumber
paxos_alter_column(Relation rel, const char *name)
{
	AttrNumber attnum = get_attnum(RelationGetRelid(rel), name);

	if (attnum <= 0)
		elog(ERROR, "column \"%s\" was not altered", name);
	return attnum;
}

/* ADD COLUMN; what is to follow in a statement of its own goes to 'more'. */
static void
put_column(PaxosAlter *s, StringInfo out, Relation copy, const char *name, StringInfo more)
{
	AttrNumber attnum = paxos_alter_column(copy, name);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(copy), attnum - 1);
	Node *expr = att->attgenerated ? NULL : paxos_ddl_default(copy, attnum);
	bool of_type =
		expr == NULL && !att->attgenerated && get_typtype(att->atttypid) == TYPTYPE_DOMAIN;
	char *instead = NULL;

	/* the rows that are there get a domain's default, too */
	if (of_type)
		expr = build_column_default(copy, attnum);
	appendStringInfoString(out, "ADD COLUMN ");
	if (OidIsValid(paxos_ddl_sequence_of(RelationGetRelid(copy), attnum)) ||
		(expr != NULL && contain_volatile_functions(expr)))
		s->op.flags |= PAXOS_DDL_EMPTY;
	else if (expr != NULL && (contain_mutable_functions(expr) || calls_own(expr, NULL)))
	{
		instead = value_now(copy, attnum, expr);
		appendStringInfo(more, "; ALTER TABLE %s ALTER COLUMN %s %s%s", paxos_alter_qualified(s),
						 quote_identifier(name), of_type ? "DROP DEFAULT" : "SET DEFAULT ",
						 of_type ? "" : paxos_ddl_write_expression(copy, expr));
	}
	paxos_ddl_write_column(out, copy, attnum, false, instead);
	if (att->attstorage != get_typstorage(att->atttypid))
		appendStringInfo(more, "; ALTER TABLE %s ALTER COLUMN %s SET STORAGE %s",
						 paxos_alter_qualified(s), quote_identifier(name),
						 att->attstorage == TYPSTORAGE_PLAIN      ? "PLAIN"
						 : att->attstorage == TYPSTORAGE_EXTERNAL ? "EXTERNAL"
						 : att->attstorage == TYPSTORAGE_MAIN     ? "MAIN"
																  : "EXTENDED");
}

static void
put_constraint(PaxosAlter *s, StringInfo out, List *cmds, const PaxosConstraint *c)
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

char **
paxos_alter_prepare(const PaxosAlter *s, Oid copy, List *cmds)
{
	char **using = palloc0_array(char *, list_length(cmds));
	ListCell *lc;

	foreach (lc, cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AddConstraint)
			name_keys(s, cmds, list_make1(cmd->def), NULL);
		else if (cmd->subtype == AT_AddIdentity)
			forget_sequence_name(cmd);
		else if (cmd->subtype == AT_AddColumn)
			name_keys(s, cmds, castNode(ColumnDef, cmd->def)->constraints,
					  castNode(ColumnDef, cmd->def)->colname);
		else if (cmd->subtype == AT_AlterColumnType)
			using[foreach_current_index(lc)] = write_using(s, copy, cmd, s->u->query_string);
	}
	return using;
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
column_is_there(const PaxosAlter *s, List *cmds, const AlterTableCmd *cmd)
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
int
paxos_alter_statistics_target(const AlterTableCmd *cmd)
{
	return cmd->def != NULL ? intVal(cmd->def) : -1;
}

/* One clause, as the copy is now; nothing for what new_constraints() writes. */
static void
put_clause(PaxosAlter *s, StringInfo out, List *cmds, AlterTableCmd *cmd, Relation copy,
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
			Node *expr =
				cmd->def ? paxos_ddl_default(copy, paxos_alter_column(copy, cmd->name)) : NULL;

			if (expr == NULL)
				appendStringInfo(out, "ALTER COLUMN %s DROP DEFAULT", name);
			else
				appendStringInfo(out, "ALTER COLUMN %s SET DEFAULT %s", name,
								 paxos_ddl_write_expression(copy, expr));
			break;
		}
		case AT_DropNotNull:
			(void) paxos_ddl_serial(copy, paxos_alter_column(copy, cmd->name));
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
							 paxos_alter_statistics_target(cmd));
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
			att = TupleDescAttr(RelationGetDescr(copy), paxos_alter_column(copy, cmd->name) - 1);
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
			paxos_ddl_write_column(&column, copy, paxos_alter_column(copy, cmd->name), false, NULL);
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
			att = TupleDescAttr(RelationGetDescr(copy), paxos_alter_column(copy, cmd->name) - 1);
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

void
paxos_alter_write(PaxosAlter *s, AlterTableStmt *stmt, Oid copy, char **using, List *before,
				  List *below, List *indexes)
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
						 paxos_alter_qualified(s), clauses.data, more.data);
	if (partitioned)
	{
		int len = s->sql.len;

		paxos_partition_write_indexes(&s->sql, s->table, below, indexes, &s->partition_names);
		s->reads_rows |= s->sql.len > len;
	}
	AtEOXact_GUC(true, nest_level);
	table_close(rel, NoLock);
}
