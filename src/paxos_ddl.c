/*
 * paxos_ddl.c
 *	  Statements through the log: CREATE TABLE ... USING paxos, DROP TABLE,
 *	  CREATE INDEX, DROP INDEX; where they are issued and at their slot.
 *
 * Where it is issued, a statement is first tried in a subtransaction that is
 * rolled back, so that every ordinary error and every missing privilege comes
 * up before anything is sent.  What was tried is then written down anew from
 * the catalogs, in the words of one fixed set of settings and with every name
 * qualified: the text the user typed may mean another thing elsewhere (a
 * literal read under another DateStyle, a backslash, a name found by another
 * search_path, a constraint named by what else stands in the schema).  DROP
 * is not tried, because trying it would lock the table against the learner
 * and its readers for nothing: ownership is checked, and nothing can depend on
 * a consensus table (paxos_guard.c).  CREATE INDEX is tried on an empty copy
 * of the table, because trying it on the table would build it twice, and keep
 * the learner out meanwhile.  Before what creates something is sent, the other
 * members are asked whether they have what it needs (paxos_ddl_check.c).
 *
 * At its slot the statement is carried out on every node as the owner the
 * user would get, under fixed settings, and paxos.tables learns the number of
 * a new table: slot and position, so the same everywhere (paxos_apply.h).  A
 * table is then known by this number: renaming a schema here or there changes
 * nothing.  What the replicated catalogue decides - the name is that of
 * another consensus table, the table is gone - is marked with
 * paxos_err_decided() and becomes the result; a schema or role that is
 * missing on this node, or a local table in the way, is trouble of this node:
 * the slot is tried again until somebody has put it right (protocol.md § 6).
 *
 * What a definition may contain is what gives the same on every node: types,
 * functions, operators and collations that are built in; nothing mutable in a
 * constraint.  Defaults are free, because they are evaluated once, where a row
 * is inserted (paxos_api.c).
 *
 * Serial and identity columns get a sequence on each node that counts in steps
 * of PAXOS_SEQUENCE_STEP from the node's id: what two nodes draw never meets.
 *
 * State: none beyond a flag; a crash between the slot and the end of the
 * session's wait leaves the statement done or not done on all nodes alike, and
 * the session is told that it does not know.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/toast_compression.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_ddl.h"
#include "paxos_expr.h"
#include "paxos_queue.h"

/* More than any node id, which is at most PX_MAX_VOTERS now. */

PG_FUNCTION_INFO_V1(paxos_table_statement);

/* A transaction that makes a relation of a name we need is let be for so long. */
#define NAME_PATIENCE_MS 200

/* These never return. */
static void not_supported(const char *what, const char *hint) pg_attribute_noreturn();
static void name_taken(const char *name, Oid existing) pg_attribute_noreturn();
static void refuse_rows(IndexStmt *stmt, ErrorData *error) pg_attribute_noreturn();

bool paxos_trying = false;

static void
not_supported(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s is not supported for a consensus-backed table", what),
					hint ? errhint("%s", hint) : 0));
}

/* ------------------------------------------------------------------
 * Trying
 * ------------------------------------------------------------------
 */

typedef struct Trial
{
	MemoryContext context;
	ResourceOwner owner;
	int nest_level;
} Trial;

static void
trial_begin(Trial *trial)
{
	trial->context = CurrentMemoryContext;
	trial->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(trial->context);
	trial->nest_level = NewGUCNestLevel();
	(void) set_config_option("default_tablespace", "", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, ERROR, false);
	paxos_trying = true;
}

static void
trial_end(Trial *trial)
{
	paxos_trying = false;
	AtEOXact_GUC(true, trial->nest_level);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(trial->context);
	CurrentResourceOwner = trial->owner;
}

/*
 * In PG_CATCH: the subtransaction must be gone before the error goes on, else
 * only it would be aborted and the session be left in a failed transaction.
 *
 * Returns for one error: somebody made a thing of that name while we tried, and
 * we met in the catalogs' unique index, or at its row type.  Tried again, it is found to exist.
 */
static void
trial_failed(Trial *trial, const char *name, Oid nsp)
{
	ErrorData *error;

	paxos_trying = false;
	MemoryContextSwitchTo(trial->context);
	error = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(trial->context);
	CurrentResourceOwner = trial->owner;
	if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->schema_name != NULL &&
		strcmp(error->schema_name, "pg_catalog") == 0)
		return;
	AcceptInvalidationMessages();
	if (error->sqlerrcode == ERRCODE_DUPLICATE_OBJECT && OidIsValid(get_relname_relid(name, nsp)))
		return;
	ReThrowError(error);
}

/* How definitions are written down, whatever this session has chosen. */
static int
begin_writing_down(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},    {"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},    {"TimeZone", "UTC"},
		{"extra_float_digits", "1"},      {"bytea_output", "hex"},
		{"quote_all_identifiers", "off"}, {"standard_conforming_strings", "on"},
	};
	int nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
	return nest_level;
}

/* Carry out one statement, given as text, inside a trial. */
static void
run_text(const char *sql)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "SPI_execute failed");
	SPI_finish();
}

/* ------------------------------------------------------------------
 * What a definition may contain
 * ------------------------------------------------------------------
 */

/*
 * Types whose text does not mean the same everywhere: object ids differ between
 * nodes, roles may, money is written by lc_monetary.
 */
static void
check_type(const char *column, Oid type)
{
	const char *why = paxos_expr_type_trouble(type);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of type %s is not supported for a consensus-backed table",
						column, format_type_be(type)),
				 errdetail("The type cannot be used because %s.", why)));
}

static void
check_collation(const char *column, Oid collation)
{
	if (!paxos_expr_portable_collation(collation))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "collation \"%s\" of column \"%s\" is not supported for a consensus-backed table",
				 get_collation_name(collation), column),
			 errdetail("Nodes may order text under it differently."),
			 errhint("Use the database's default collation or \"C\".")));
}

/* The first function in an expression that is not immutable. */
static bool
is_mutable_function(Oid func, void *context)
{
	if (func_volatile(func) == PROVOLATILE_IMMUTABLE)
		return false;
	*(Oid *) context = func;
	return true;
}

static bool
find_mutable_function(Node *node, Oid *func)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_mutable_function, func))
		return true;
	return expression_tree_walker(node, find_mutable_function, func);
}

static void
check_constraint(Form_pg_constraint con, HeapTuple tuple, TupleDesc desc)
{
	if (con->condeferrable)
		not_supported("a deferrable constraint", NULL);
	if (con->contype == CONSTRAINT_CHECK)
	{
		bool isnull;
		Datum bin = heap_getattr(tuple, Anum_pg_constraint_conbin, desc, &isnull);
		Node *expr = stringToNode(TextDatumGetCString(bin));
		Oid func = InvalidOid;

		if (contain_mutable_functions(expr))
		{
			find_mutable_function(expr, &func);
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 OidIsValid(func)
					 ? errmsg("constraint \"%s\" calls %s, which is not immutable",
							  NameStr(con->conname), format_procedure(func))
					 : errmsg("constraint \"%s\" is not immutable", NameStr(con->conname)),
				 errdetail(
					 "Every node checks the constraint by itself, and all must come to the same answer.")));
		}
	}
}

/*
 * Everything that a new table (or index) consists of or refers to, by
 * pg_depend; pinned objects, that is all of PostgreSQL's own, do not appear
 * there.
 */
typedef struct Parts
{
	ObjectAddresses *list;
	ObjectAddress *at; /* the same, in the order found */
	int n;
	int room;
} Parts;

static bool
part_known(const Parts *parts, Oid class_id, Oid object_id)
{
	for (int i = 0; i < parts->n; i++)
	{
		if (parts->at[i].classId == class_id && parts->at[i].objectId == object_id)
			return true;
	}
	return false;
}

static void
part_add(Parts *parts, Oid class_id, Oid object_id)
{
	if (part_known(parts, class_id, object_id))
		return;
	if (parts->n == parts->room)
	{
		parts->room = parts->room == 0 ? 32 : parts->room * 2;
		if (parts->at == NULL)
			parts->at = palloc_array(ObjectAddress, parts->room);
		else
			parts->at = repalloc_array(parts->at, ObjectAddress, parts->room);
	}
	ObjectAddressSet(parts->at[parts->n], class_id, object_id);
	parts->n++;
}

static void
check_dependencies(Oid relid)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	Parts parts = {0};

	part_add(&parts, RelationRelationId, relid);

	/* What depends on the new relation belongs to it: nothing else can yet. */
	for (int i = 0; i < parts.n; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].classId));
		ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].objectId));
		scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);

			part_add(&parts, d->classid, d->objid);
		}
		systable_endscan(scan);
	}

	for (int i = 0; i < parts.n; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].classId));
		ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].objectId));
		scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			ObjectAddress other;

			if (d->refclassid == NamespaceRelationId || d->refclassid == AccessMethodRelationId ||
				part_known(&parts, d->refclassid, d->refobjid))
				continue;
			ObjectAddressSubSet(other, d->refclassid, d->refobjid, d->refobjsubid);
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s cannot be used by a consensus-backed table",
							getObjectDescription(&other, false)),
					 errdetail("It is local to this node."),
					 errhint("Use types, functions, operators and collations that are built in.")));
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

/* What can be seen in the statement before it is tried. */
static void
check_constraint_clauses(List *constraints)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		Constraint *c = lfirst_node(Constraint, lc);

		if (c->contype == CONSTR_FOREIGN)
			not_supported("a foreign key", NULL);
		if (c->contype == CONSTR_EXCLUSION)
			not_supported("an exclusion constraint", NULL);
		if (c->contype == CONSTR_ATTR_DEFERRABLE || c->contype == CONSTR_ATTR_DEFERRED ||
			c->deferrable || c->initdeferred)
			not_supported("a deferrable constraint", NULL);
		if (c->indexspace != NULL)
			not_supported("a tablespace", "Tablespaces are local to a node.");
	}
}

static void
check_create_clauses(CreateStmt *stmt)
{
	ListCell *lc;

	if (stmt->relation->relpersistence == RELPERSISTENCE_TEMP)
		not_supported("TEMPORARY", "Add USING heap to make an ordinary temporary table.");
	if (stmt->relation->relpersistence == RELPERSISTENCE_UNLOGGED)
		not_supported("UNLOGGED", NULL);
	if (stmt->partspec != NULL || stmt->partbound != NULL)
		not_supported("partitioning", "Add USING heap to make an ordinary partition.");
	if (stmt->inhRelations != NIL)
		not_supported("inheritance", NULL);
	if (stmt->ofTypename != NULL)
		not_supported("CREATE TABLE OF", NULL);
	if (stmt->tablespacename != NULL)
		not_supported("a tablespace", "Tablespaces are local to a node.");
	if (stmt->oncommit != ONCOMMIT_NOOP)
		not_supported("ON COMMIT", NULL);

	check_constraint_clauses(stmt->constraints);
	foreach (lc, stmt->tableElts)
	{
		Node *element = lfirst(lc);

		if (IsA(element, TableLikeClause))
			not_supported("LIKE", "Write the columns down.");
		else if (IsA(element, ColumnDef))
			check_constraint_clauses(((ColumnDef *) element)->constraints);
		else if (IsA(element, Constraint))
			check_constraint_clauses(list_make1(element));
	}
}

/* ------------------------------------------------------------------
 * Writing a table down
 * ------------------------------------------------------------------
 */

static void
write_options(StringInfo out, const char *prefix, Oid relid, bool *any)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool isnull;
	Datum options;
	List *list = NIL;
	ListCell *lc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &isnull);
	if (!isnull)
		list = untransformRelOptions(options);
	foreach (lc, list)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		appendStringInfo(out, "%s%s%s", *any ? ", " : " WITH (", prefix,
						 quote_identifier(e->defname));
		if (e->arg != NULL)
			appendStringInfo(out, " = %s", quote_literal_cstr(defGetString(e)));
		*any = true;
	}
	ReleaseSysCache(tuple);
}

/*
 * The sequence of a serial or identity column.  Its step is ours, so it may not
 * have one of its own; and where it ends it must not begin again.
 */
static Form_pg_sequence
check_sequence(Oid sequence, const char *column, bool spread)
{
	HeapTuple tuple = SearchSysCacheCopy1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence s;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	s = (Form_pg_sequence) GETSTRUCT(tuple);
	if (!spread &&
		(s->seqincrement != 1 || s->seqcycle || s->seqmax - PAXOS_SEQUENCE_STEP < s->seqstart))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "sequence options of column \"%s\" are not supported for a consensus-backed table",
				 column),
			 errdetail(
				 "The sequence of each node advances in steps of %d; INCREMENT, CYCLE and a small MAXVALUE do not go with it.",
				 PAXOS_SEQUENCE_STEP)));
	return s;
}

static void
write_column(StringInfo out, Relation rel, Form_pg_attribute att, List *sequences, bool spread)
{
	const char *name = NameStr(att->attname);
	Oid sequence = InvalidOid;
	char ownership = '\0';
	ListCell *lc;

	check_type(name, att->atttypid);
	check_collation(name, att->attcollation);

	foreach (lc, sequences)
	{
		Oid table;
		int32 column;

		if (sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_AUTO, &table, &column) &&
			column == att->attnum)
		{
			sequence = lfirst_oid(lc);
			ownership = DEPENDENCY_AUTO;
		}
		else if (sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_INTERNAL, &table, &column) &&
				 column == att->attnum)
		{
			sequence = lfirst_oid(lc);
			ownership = DEPENDENCY_INTERNAL;
		}
	}

	appendStringInfo(out, "%s ", quote_identifier(name));
	if (ownership == DEPENDENCY_AUTO)
	{
		(void) check_sequence(sequence, name, spread);
		appendStringInfoString(out, att->atttypid == INT8OID   ? "bigserial"
									: att->atttypid == INT2OID ? "smallserial"
															   : "serial");
		return;
	}

	appendStringInfoString(out, format_type_with_typemod(att->atttypid, att->atttypmod));
	if (att->attcompression == TOAST_PGLZ_COMPRESSION)
		appendStringInfoString(out, " COMPRESSION pglz");
	else if (att->attcompression == TOAST_LZ4_COMPRESSION)
		appendStringInfoString(out, " COMPRESSION lz4");
	if (OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid))
		appendStringInfo(out, " COLLATE %s", generate_collation_name(att->attcollation));

	if (ownership == DEPENDENCY_INTERNAL)
	{
		Form_pg_sequence s = check_sequence(sequence, name, spread);

		appendStringInfo(out,
						 " GENERATED %s AS IDENTITY (START WITH " INT64_FORMAT
						 " MINVALUE " INT64_FORMAT " MAXVALUE " INT64_FORMAT " CACHE " INT64_FORMAT
						 ")",
						 att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS ? "ALWAYS" : "BY DEFAULT",
						 s->seqstart, s->seqmin, s->seqmax, s->seqcache);
	}
	else if (att->atthasdef)
	{
		TupleConstr *constr = RelationGetDescr(rel)->constr;
		Node *expr = NULL;
		char *text;

		for (int i = 0; i < constr->num_defval; i++)
		{
			if (constr->defval[i].adnum == att->attnum)
				expr = stringToNode(constr->defval[i].adbin);
		}
		text = deparse_expression(
			expr, deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel)), false,
			false);
		if (att->attgenerated)
			appendStringInfo(out, " GENERATED ALWAYS AS (%s) %s", text,
							 att->attgenerated == ATTRIBUTE_GENERATED_STORED ? "STORED"
																			 : "VIRTUAL");
		else
			appendStringInfo(out, " DEFAULT %s", text);
	}
	if (att->attnotnull)
		appendStringInfoString(out, " NOT NULL");
}

static int
compare_constraints(const ListCell *a, const ListCell *b)
{
	Oid x = ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(a)))->oid;
	Oid y = ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(b)))->oid;

	return x < y ? -1 : x > y;
}

/*
 * The whole statement that makes a table like this one; checks on the way.  spread:
 * its sequences are those of a consensus table already.
 */
static char *
write_table(Oid relid, bool if_not_exists, bool spread)
{
	StringInfoData out;
	Relation rel = table_open(relid, NoLock);
	TupleDesc desc = RelationGetDescr(rel);
	List *sequences = getOwnedSequences(relid);
	List *constraints = NIL;
	Relation catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	ListCell *lc;
	bool any = false;
	int columns = 0;

	initStringInfo(&out);
	appendStringInfo(&out, "CREATE TABLE %s%s (", if_not_exists ? "IF NOT EXISTS " : "",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)));
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		appendStringInfoString(&out, columns++ > 0 ? ", " : "");
		write_column(&out, rel, TupleDescAttr(desc, i), sequences, spread);
	}

	/* Constraints with their names, which another node might choose otherwise,
	 * and in the order made: that is the order in which they are checked. */
	catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		constraints = lappend(constraints, heap_copytuple(tuple));
	systable_endscan(scan);
	list_sort(constraints, compare_constraints);
	foreach (lc, constraints)
	{
		Form_pg_constraint con;

		tuple = lfirst(lc);
		con = (Form_pg_constraint) GETSTRUCT(tuple);
		if (con->contype != CONSTRAINT_PRIMARY && con->contype != CONSTRAINT_UNIQUE &&
			con->contype != CONSTRAINT_CHECK)
			continue;
		check_constraint(con, tuple, RelationGetDescr(catalog));
		appendStringInfo(&out, ", CONSTRAINT %s %s", quote_identifier(NameStr(con->conname)),
						 TextDatumGetCString(OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID,
															  ObjectIdGetDatum(con->oid))));
	}
	table_close(catalog, AccessShareLock);

	appendStringInfoString(&out, ") USING paxos");
	write_options(&out, "", relid, &any);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
		write_options(&out, "toast.", rel->rd_rel->reltoastrelid, &any);
	if (any)
		appendStringInfoChar(&out, ')');
	table_close(rel, NoLock);
	return out.data;
}

/* The names that a table takes in its schema; not of sequences, which give way. */
static List *
names_taken(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	List *names = list_make1(pstrdup(RelationGetRelationName(rel)));
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
		names = lappend(names, get_rel_name(lfirst_oid(lc)));
	table_close(rel, NoLock);
	return names;
}

static void
check_primary_key(Oid relid)
{
	Relation rel = table_open(relid, NoLock);

	list_free(RelationGetIndexList(rel));
	if (!OidIsValid(rel->rd_pkindex))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("consensus-backed table \"%s\" must have a primary key",
							   RelationGetRelationName(rel)),
						errdetail("Every change names the row it is about by its primary key."),
						errhint("Add a PRIMARY KEY, or USING heap to make an ordinary table.")));
	table_close(rel, NoLock);
}

/* ------------------------------------------------------------------
 * Where a statement is issued
 * ------------------------------------------------------------------
 */

static void
begin_statement(PaxosUtility *u, const char *what)
{
	paxos_require_preload();
	PreventInTransactionBlock(u->context == PROCESS_UTILITY_TOPLEVEL, what);
	PreventCommandIfReadOnly(what);
	PreventCommandDuringRecovery(what);
	paxos_require_member();
}

static void
submit_ddl(PaxosDdlOp *op)
{
	PaxosCommand command = {0};
	PaxosCommandResult result;
	char *bytes;
	Size len;
	px_slot decided_at;

	command.kind = PAXOS_COMMAND_DDL;
	command.u.ddl = *op;

	/*
	 * A statement has no argument for a request id, and building an index may
	 * well outlast paxos.statement_timeout: it gets an id of its own, so that
	 * paxos_outcome() can be asked about the one that the error names.
	 */
	if (!pg_strong_random(command.request_id.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	command.request_id.data[6] = (command.request_id.data[6] & 0x0f) | 0x40; /* version 4 */
	command.request_id.data[8] = (command.request_id.data[8] & 0x3f) | 0x80; /* variant */
	command.has_request_id = true;
	command.request_retention_us = (uint64) paxos_request_retention_s * 1000000;
	bytes = paxos_command_encode(&command, &len);
	bytes = paxos_submit(bytes, len, &command.request_id, &len, &decided_at);
	if (!paxos_result_decode(bytes, len, &result))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the result of a command cannot be read")));
	if (result.failed)
		paxos_result_raise(&result);
	AcceptInvalidationMessages();
}

void
paxos_ddl_create_table(PaxosUtility *u, CreateStmt *stmt)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	CreateStmt *copy;
	Trial trial;
	volatile bool again = false;
	List *names = NIL; /* its own and those of its indexes, as chosen here */
	Oid nsp;

	check_create_clauses(stmt);
	begin_statement(u, "CREATE TABLE ... USING paxos");

	nsp = RangeVarGetCreationNamespace(stmt->relation);
	if (isAnyTempNamespace(nsp))
		not_supported("TEMPORARY", "Add USING heap to make an ordinary temporary table.");
	if (stmt->if_not_exists && OidIsValid(get_relname_relid(stmt->relation->relname, nsp)))
	{
		paxos_utility_next(u); /* says NOTICE and does nothing */
		return;
	}

	op.kind = PAXOS_DDL_CREATE_TABLE;
	op.schema = get_namespace_name(nsp);
	op.owner = GetUserNameFromId(GetUserId(), false);

	trial_u.pstmt = copyObject(u->pstmt);
	trial_u.read_only_tree = false;
	copy = (CreateStmt *) trial_u.pstmt->utilityStmt;
	copy->accessMethod = pstrdup("paxos");

	trial_begin(&trial);
	PG_TRY();
	{
		Oid relid;
		int nest_level;

		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		relid = get_relname_relid(stmt->relation->relname, nsp);
		if (!OidIsValid(relid))
			elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
		check_primary_key(relid);
		nest_level = begin_writing_down();
		op.sql = write_table(relid, stmt->if_not_exists, false);
		AtEOXact_GUC(true, nest_level);
		check_dependencies(relid);
		names = names_taken(relid);
	}
	PG_CATCH();
	{
		trial_failed(&trial, stmt->relation->relname, nsp);
		again = true;
	}
	PG_END_TRY();
	if (again)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_ddl_create_table(u, stmt);
		return;
	}
	trial_end(&trial);

	/* The completion is of what the log does, not of the trial. */
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_CREATE_TABLE, 0);
	paxos_ddl_ask_members(op.schema, op.owner, 0, names);
	submit_ddl(&op);
}

/* The name PostgreSQL would choose: table, columns, "idx". */
static char *
choose_index_name(Oid table, IndexStmt *stmt)
{
	StringInfoData columns;
	ListCell *lc;

	initStringInfo(&columns);
	foreach (lc, list_concat_copy(stmt->indexParams, stmt->indexIncludingParams))
	{
		IndexElem *e = lfirst_node(IndexElem, lc);

		if (columns.len >= NAMEDATALEN)
			break;
		appendStringInfo(&columns, "%s%s", columns.len > 0 ? "_" : "", e->name ? e->name : "expr");
	}
	return ChooseRelationName(get_rel_name(table), columns.data, "idx", get_rel_namespace(table),
							  false);
}

static void
check_owner(Oid table)
{
	if (!PaxosOwnsRelation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(table));
}

/* The number the cluster knows a table by, which the caller has locked. */
static int64
table_id_of(Oid table)
{
	int64 id = paxos_table_id(table);

	if (id == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" is not known to the cluster", get_rel_name(table))));
	return id;
}

static void
refuse_kv(Oid table, const char *what)
{
	if (table_id_of(table) == PAXOS_KV_TABLE_ID)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not supported on paxos.kv", what),
						errhint("The key-value table belongs to the extension.")));
}

void
paxos_ddl_create_index(PaxosUtility *u, IndexStmt *stmt, Oid table)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	IndexStmt *copy;
	Trial trial;
	volatile bool again = false;
	Relation rel;
	Oid nsp;
	char *schema;
	char *table_name;
	char *index_name;
	char clone[NAMEDATALEN];
	Oid owner;
	int64 table_id;

	if (stmt->concurrent)
		not_supported("CREATE INDEX CONCURRENTLY", "Use CREATE INDEX.");
	if (stmt->tableSpace != NULL)
		not_supported("a tablespace", "Tablespaces are local to a node.");
	begin_statement(u, "CREATE INDEX on a consensus-backed table");

	/* Locked while it is looked at: somebody else's DROP may be applied at any
	 * moment, and what was looked up before it would no longer be there. */
	rel = try_relation_open(table, AccessShareLock);
	if (rel == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" does not exist", stmt->relation->relname)));
	nsp = RelationGetNamespace(rel);
	schema = get_namespace_name(nsp);
	table_name = pstrdup(RelationGetRelationName(rel));
	check_owner(table);
	refuse_kv(table, "CREATE INDEX");

	table_id = table_id_of(table);
	if (stmt->idxname != NULL && OidIsValid(get_relname_relid(stmt->idxname, nsp)))
	{
		if (!stmt->if_not_exists)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
							errmsg("relation \"%s\" already exists", stmt->idxname)));
		ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
						 errmsg("relation \"%s\" already exists, skipping", stmt->idxname)));
		relation_close(rel, AccessShareLock);
		return;
	}
	index_name = stmt->idxname ? stmt->idxname : choose_index_name(table, stmt);
	owner = rel->rd_rel->relowner;
	relation_close(rel, AccessShareLock);
	op.owner = GetUserNameFromId(owner, false);

	/* It is carried out as the owner, who may have less than a superuser who
	 * issues it: refused on every node, it would hold all of them up. */
	if (PaxosSchemaAclCheck(nsp, owner, ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", schema),
				 errdetail("The owner of the table, role \"%s\", may not create an index there.",
						   op.owner)));
	op.kind = PAXOS_DDL_CREATE_INDEX;
	op.schema = schema;
	op.n_tables = 1;
	op.table_ids = &table_id;

	snprintf(clone, sizeof(clone), "paxos_trial_%d", MyProcPid);
	trial_u.pstmt = copyObject(u->pstmt);
	trial_u.read_only_tree = false;
	copy = (IndexStmt *) trial_u.pstmt->utilityStmt;
	copy->idxname = index_name;
	copy->relation = makeRangeVar(schema, clone, -1);

	trial_begin(&trial);
	PG_TRY();
	{
		Oid index;
		int nest_level;
		char *text;
		char *place;
		char *head;
		char *clone_name = quote_qualified_identifier(schema, clone);
		StringInfoData out;
		Relation index_rel;

		run_text(psprintf("CREATE TABLE %s (LIKE %s) USING heap", clone_name,
						  quote_qualified_identifier(schema, table_name)));
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		index = get_relname_relid(index_name, nsp);
		if (!OidIsValid(index))
			elog(ERROR, "index \"%s\" was not created", index_name);

		index_rel = index_open(index, NoLock);
		for (int i = 0; i < index_rel->rd_index->indnkeyatts; i++)
			check_collation(index_name, index_rel->rd_indcollation[i]);
		index_close(index_rel, NoLock);
		check_dependencies(get_relname_relid(clone, nsp));

		nest_level = begin_writing_down();
		text = pg_get_indexdef_string(index);
		head = psprintf("%s ON %s", quote_identifier(index_name),
						quote_qualified_identifier(schema, clone));
		AtEOXact_GUC(true, nest_level);

		/* "CREATE [UNIQUE] INDEX name ON clone USING ...": the table's own name */
		initStringInfo(&out);
		place = strstr(text, "INDEX ") + strlen("INDEX ");
		appendBinaryStringInfo(&out, text, place - text);
		if (stmt->if_not_exists)
			appendStringInfoString(&out, "IF NOT EXISTS ");

		/* Not searched for: the index may have a name with the copy's in it. */
		if (strncmp(place, head, strlen(head)) != 0)
			elog(ERROR, "unexpected index definition \"%s\"", text);
		appendStringInfo(&out, "%s ON %s%s", quote_identifier(index_name),
						 quote_qualified_identifier(schema, table_name), place + strlen(head));
		op.sql = out.data;
	}
	PG_CATCH();
	{
		trial_failed(&trial, index_name, nsp);
		again = true;
	}
	PG_END_TRY();
	if (again)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_ddl_create_index(u, stmt, table);
		return;
	}
	trial_end(&trial);

	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_CREATE_INDEX, 0);
	paxos_ddl_ask_members(op.schema, op.owner, table_id, list_make1(index_name));
	submit_ddl(&op);
}

/* Who may drop a table: its owner, the schema's, a superuser. */
static void
check_may_drop(Oid relid, ObjectType type)
{
	Oid nsp = get_rel_namespace(relid);

	if (!PaxosOwnsRelation(relid, GetUserId()) && !PaxosOwnsSchema(nsp, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, type, get_rel_name(relid));
}

static void
notice_missing(RangeVar *rv, const char *what)
{
	ereport(NOTICE, (errmsg("%s \"%s\" does not exist, skipping", what, rv->relname)));
}

void
paxos_ddl_drop_tables(PaxosUtility *u, DropStmt *stmt)
{
	PaxosDdlOp op = {0};
	StringInfoData sql;
	ListCell *lc;

	begin_statement(u, "DROP TABLE of a consensus-backed table");

	initStringInfo(&sql);
	appendStringInfo(&sql, "DROP TABLE %s", stmt->missing_ok ? "IF EXISTS " : "");
	op.kind = PAXOS_DDL_DROP_TABLE;
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.schema = NULL;
	op.table_ids = palloc_array(int64, list_length(stmt->objects));

	foreach (lc, stmt->objects)
	{
		RangeVar *rv = makeRangeVarFromNameList(lfirst(lc));
		Oid relid = RangeVarGetRelid(rv, AccessShareLock, true);
		char *schema;

		/* Locked while it is looked at, as above. */
		if (!OidIsValid(relid))
		{
			if (!stmt->missing_ok)
				(void) RangeVarGetRelid(rv, NoLock, false);
			notice_missing(rv, "table");
			continue;
		}
		check_may_drop(relid, OBJECT_TABLE);
		refuse_kv(relid, "DROP TABLE");
		schema = get_namespace_name(get_rel_namespace(relid));
		if (op.schema == NULL)
			op.schema = schema;
		appendStringInfo(&sql, "%s%s", op.n_tables > 0 ? ", " : "",
						 quote_qualified_identifier(schema, get_rel_name(relid)));
		op.table_ids[op.n_tables++] = table_id_of(relid);
		UnlockRelationOid(relid, AccessShareLock);
	}
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_DROP_TABLE, 0);

	/* Somebody else's DROP may have been applied since the names were looked at
	 * first: a statement without a name could not be parsed at its slot. */
	if (op.n_tables == 0)
		return;
	op.sql = sql.data;
	submit_ddl(&op);
}

/*
 * An index by name, and its table, both locked ACCESS SHARE, the table first as
 * everywhere.  Either may go before it is locked; then the name is looked up anew,
 * which ends: the next look finds another index or says that there is none.
 */
static Oid
lock_index(RangeVar *rv, Oid *index)
{
	for (;;)
	{
		Oid table;

		*index = RangeVarGetRelid(rv, NoLock, false);
		table = IndexGetRelation(*index, true);
		if (OidIsValid(table))
		{
			LockRelationOid(table, AccessShareLock);
			LockRelationOid(*index, AccessShareLock);
			if (IndexGetRelation(*index, true) == table)
				return table;
			UnlockRelationOid(*index, AccessShareLock);
			UnlockRelationOid(table, AccessShareLock);
		}
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}

void
paxos_ddl_drop_index(PaxosUtility *u, DropStmt *stmt)
{
	PaxosDdlOp op = {0};
	RangeVar *rv;
	Oid index;
	Oid table;
	int64 table_id;

	if (list_length(stmt->objects) != 1)
		not_supported("DROP INDEX of several indexes in one statement", "Drop them one by one.");
	if (stmt->concurrent)
		not_supported("DROP INDEX CONCURRENTLY", "Use DROP INDEX.");
	begin_statement(u, "DROP INDEX on a consensus-backed table");

	rv = makeRangeVarFromNameList(linitial(stmt->objects));
	table = lock_index(rv, &index);
	check_may_drop(index, OBJECT_INDEX);
	refuse_kv(table, "DROP INDEX");
	if (OidIsValid(get_index_constraint(index)))
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg(
				 "cannot drop index \"%s\" because constraint \"%s\" on table \"%s\" requires it",
				 get_rel_name(index), get_constraint_name(get_index_constraint(index)),
				 get_rel_name(table))));

	table_id = table_id_of(table);
	op.kind = PAXOS_DDL_DROP_INDEX;
	op.schema = get_namespace_name(get_rel_namespace(index));
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.n_tables = 1;
	op.table_ids = &table_id;
	op.sql = psprintf("DROP INDEX %s%s", stmt->missing_ok ? "IF EXISTS " : "",
					  quote_qualified_identifier(op.schema, get_rel_name(index)));
	UnlockRelationOid(index, AccessShareLock);
	UnlockRelationOid(table, AccessShareLock);
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_DROP_INDEX, 0);
	submit_ddl(&op);
}

/* ------------------------------------------------------------------
 * At its slot
 * ------------------------------------------------------------------
 */

Oid
paxos_consensus_owner(Oid relid)
{
	Oid table = InvalidOid;
	int32 column;

	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
			table = relid;
			break;
		case RELKIND_INDEX:
			table = IndexGetRelation(relid, true);
			break;
		case RELKIND_SEQUENCE:
			if (!sequenceIsOwned(relid, DEPENDENCY_AUTO, &table, &column) &&
				!sequenceIsOwned(relid, DEPENDENCY_INTERNAL, &table, &column))
				table = InvalidOid;
			break;
		default:
			break;
	}
	return OidIsValid(table) && paxos_is_consensus_table(table) ? table : InvalidOid;
}

static Node *
parse_one(const char *sql, NodeTag tag)
{
	List *list = raw_parser(sql, RAW_PARSE_DEFAULT);
	Node *node;

	if (list_length(list) != 1)
		elog(ERROR, "not one statement: %s", sql);
	node = linitial_node(RawStmt, list)->stmt;
	if (nodeTag(node) != tag)
		elog(ERROR, "not the statement expected: %s", sql);
	return node;
}

static void
run_statement(Node *stmt, const char *sql)
{
	PlannedStmt *p = makeNode(PlannedStmt);
	bool pushed = false;

	p->commandType = CMD_UTILITY;
	p->canSetTag = false;
	p->utilityStmt = stmt;
	p->stmt_location = 0;
	p->stmt_len = strlen(sql);
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	ProcessUtility(p, sql, false, PROCESS_UTILITY_QUERY, NULL, NULL, None_Receiver, NULL);
	CommandCounterIncrement();
	if (pushed)
		PopActiveSnapshot();
}

/*
 * The name is taken.  By something every node has, and so everywhere, or by
 * something of this node alone?
 */
static void
name_taken(const char *name, Oid existing)
{
	if (OidIsValid(paxos_consensus_owner(existing)))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", name), paxos_err_decided()));
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
					errmsg("relation \"%s\" of this node is in the way", name),
					errhint("Rename or drop it.")));
}

/* The transaction that is making a relation of this name just now, if any. */
static TransactionId
maker_of_name(const char *name, Oid nsp)
{
	SnapshotData dirty;
	Relation catalog = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	TransactionId xid = InvalidTransactionId;

	InitDirtySnapshot(dirty);
	ScanKeyInit(&key[0], Anum_pg_class_relname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	ScanKeyInit(&key[1], Anum_pg_class_relnamespace, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(nsp));
	scan = systable_beginscan(catalog, ClassNameNspIndexId, true, &dirty, 2, key);
	while (!TransactionIdIsValid(xid) && HeapTupleIsValid(systable_getnext(scan)))
	{
		/* the one that is making it, or the one that is dropping it */
		xid = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		if (TransactionIdIsCurrentTransactionId(xid))
			xid = InvalidTransactionId;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return xid;
}

/*
 * See that no local transaction is making a relation of this name: the catalog's
 * unique index would have the learner wait for its end, and a session may take as
 * long as it likes.  One that only tries a statement is gone in a moment by
 * itself; who stays longer is ended.
 */
static void
clear_name(const char *name, Oid nsp)
{
	static uint32 wait_event = 0;
	TransactionId xid;

	while (TransactionIdIsValid(xid = maker_of_name(name, nsp)))
	{
		TimestampTz began = GetCurrentTimestamp();

		while (TransactionIdIsInProgress(xid) &&
			   !TimestampDifferenceExceeds(began, GetCurrentTimestamp(), NAME_PATIENCE_MS))
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 5L,
							 paxos_wait_event(&wait_event, "PaxosLearnerName"));
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
		if (TransactionIdIsInProgress(xid))
			paxos_end_transaction_in_the_way(xid);
		SetLatch(MyLatch); /* for the learner's loop, whose latch it is */
	}
}

/*
 * What has this name, after whoever is making it has been cleared away;
 * InvalidOid if the name is free.  The sequence of a serial or identity column
 * gives way: each node has named it by itself, so that it must not decide
 * anything, and it cannot be renamed by hand.  (When the table was sent, it had
 * not taken this name yet on the node that sent it.)
 */
static Oid
holder_of_name(const char *name, Oid nsp)
{
	Oid existing;

	clear_name(name, nsp);
	existing = get_relname_relid(name, nsp);
	if (OidIsValid(existing) && get_rel_relkind(existing) == RELKIND_SEQUENCE &&
		OidIsValid(paxos_consensus_owner(existing)))
	{
		(void) paxos_lock_for_apply(existing, AccessExclusiveLock);
		RenameRelationInternal(existing, ChooseRelationName(name, NULL, "seq", nsp, false), false,
							   false);
		CommandCounterIncrement();
		existing = InvalidOid;
	}
	return existing;
}

static Oid
schema_here(const char *schema)
{
	Oid nsp = get_namespace_oid(schema, true);

	if (!OidIsValid(nsp))
		ereport(ERROR, (errcode(ERRCODE_INVALID_SCHEMA_NAME),
						errmsg("schema \"%s\" does not exist on this node", schema),
						errhint("Create it as on the node where the statement was issued.")));
	return nsp;
}

static Oid
role_here(const char *role)
{
	Oid oid = get_role_oid(role, true);

	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role \"%s\" does not exist on this node", role),
						errhint("Create it as on the node where the statement was issued.")));
	return oid;
}

/* From now on this relation is table_id, here and (with others) everywhere. */
static void
record_table(int64 table_id, Oid relid)
{
	Relation tables = table_open(
		get_relname_relid("tables", get_namespace_oid(PAXOS_SCHEMA, false)), RowExclusiveLock);
	Datum values[2];
	bool nulls[2] = {false, false};

	values[0] = Int64GetDatum(table_id);
	values[1] = ObjectIdGetDatum(relid);
	CatalogTupleInsert(tables, heap_form_tuple(RelationGetDescr(tables), values, nulls));
	CacheInvalidateRelcache(tables);
	table_close(tables, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
}

static void
forget_table(int64 table_id, Oid relid)
{
	Relation tables = table_open(
		get_relname_relid("tables", get_namespace_oid(PAXOS_SCHEMA, false)), RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	list_free(RelationGetIndexList(tables));
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(table_id));
	scan = systable_beginscan(tables, tables->rd_pkindex, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(tables, &tuple->t_self);
	systable_endscan(scan);
	CacheInvalidateRelcache(tables);
	table_close(tables, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
}

/*
 * First value of a sequence on this node: the smallest that is neither below its
 * start nor below 'least' and leaves the same remainder as the node's id, which
 * no other member's does (paxos_member.c).
 */
static void
spread_sequence(Oid sequence, int64 least)
{
	HeapTuple tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	int node = paxos_shared->node_id;
	int64 start;
	AlterSeqStmt *stmt = makeNode(AlterSeqStmt);
	Oid table;
	int32 column;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	start = Max(((Form_pg_sequence) GETSTRUCT(tuple))->seqstart, least);
	ReleaseSysCache(tuple);

	start += ((node - start) % PAXOS_SEQUENCE_STEP + PAXOS_SEQUENCE_STEP) % PAXOS_SEQUENCE_STEP;

	stmt->sequence =
		makeRangeVar(get_namespace_name(get_rel_namespace(sequence)), get_rel_name(sequence), -1);
	stmt->for_identity = sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column);
	stmt->options =
		list_make3(makeDefElem("increment", (Node *) makeInteger(PAXOS_SEQUENCE_STEP), -1),
				   makeDefElem("start", (Node *) makeFloat(psprintf(INT64_FORMAT, start)), -1),
				   makeDefElem("restart", (Node *) makeFloat(psprintf(INT64_FORMAT, start)), -1));
	AlterSequence(make_parsestate(NULL), stmt);
	CommandCounterIncrement();
}

static void
apply_create_table(const PaxosDdlOp *op, int64 table_id)
{
	CreateStmt *stmt = (CreateStmt *) parse_one(op->sql, T_CreateStmt);
	Oid nsp = schema_here(op->schema);
	Oid owner = role_here(op->owner);
	Oid existing;
	Oid user;
	int security;
	Oid relid;
	ListCell *lc;

	existing = holder_of_name(stmt->relation->relname, nsp);
	if (OidIsValid(existing))
	{
		if (stmt->if_not_exists && paxos_table_id(existing) != 0)
			return;
		name_taken(stmt->relation->relname, existing);
	}

	/* The indexes of its keys have names too, which another statement may have
	 * taken since this one was tried. */
	foreach (lc, stmt->tableElts)
	{
		Constraint *c = lfirst(lc);

		if (!IsA(c, Constraint) || c->conname == NULL ||
			(c->contype != CONSTR_PRIMARY && c->contype != CONSTR_UNIQUE))
			continue;
		existing = holder_of_name(c->conname, nsp);
		if (OidIsValid(existing))
			name_taken(c->conname, existing);
	}

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	run_statement((Node *) stmt, op->sql);
	SetUserIdAndSecContext(user, security);

	relid = get_relname_relid(stmt->relation->relname, nsp);
	if (!OidIsValid(relid))
		elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
	foreach (lc, getOwnedSequences(relid))
		spread_sequence(lfirst_oid(lc), PG_INT64_MIN);
	paxos_backstop_create(relid);
	record_table(table_id, relid);
	CommandCounterIncrement();
}

/*
 * The table a statement speaks of, locked; InvalidOid if an earlier slot has
 * dropped it, which every node knows.  That its relation has vanished from this
 * node by itself is another matter, and no answer.
 */
static Oid
lock_table(int64 table_id, LOCKMODE mode)
{
	Oid relid = paxos_table_relid(table_id);

	if (OidIsValid(relid) && !paxos_lock_for_apply(relid, mode))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the relation of consensus table " INT64_FORMAT " is missing on this node",
						table_id)));
	return relid;
}

/* An error that the rows cause, and so the same rows on every node. */
static bool
is_data_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_CARDINALITY_VIOLATION:
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_WITH_CHECK_OPTION_VIOLATION:
		case ERRCODE_PLPGSQL_ERROR:
			return true;
		default:
			return sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED || paxos_error_of_values(sqlstate);
	}
}

/*
 * The rows do not allow the index.  Which row is met first, and so which of
 * several errors comes up, depends on the order of rows on this node's disk:
 * what every node answers must not.
 */
static void
refuse_rows(IndexStmt *stmt, ErrorData *error)
{
	bool plain = stmt->whereClause == NULL;
	ListCell *lc;

	foreach (lc, stmt->indexParams)
	{
		if (lfirst_node(IndexElem, lc)->expr != NULL)
			plain = false;
	}
	ereport(ERROR, (errcode(!plain         ? ERRCODE_DATA_EXCEPTION
							: stmt->unique ? ERRCODE_UNIQUE_VIOLATION
										   : ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("the rows of table \"%s\" do not allow index \"%s\"",
						   stmt->relation->relname, stmt->idxname),
					errdetail("%s.", error->message)));
}

static void
apply_create_index(const PaxosDdlOp *op)
{
	IndexStmt *stmt = (IndexStmt *) parse_one(op->sql, T_IndexStmt);
	Oid table;
	Oid nsp;
	Oid existing;
	Oid owner;
	Oid user;
	int security;

	table = op->n_tables == 1 ? lock_table(op->table_ids[0], ShareLock) : InvalidOid;
	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"%s\" does not exist", stmt->relation->relname),
						paxos_err_decided()));
	nsp = get_rel_namespace(table);
	existing = holder_of_name(stmt->idxname, nsp);
	if (OidIsValid(existing))
	{
		if (stmt->if_not_exists && OidIsValid(paxos_consensus_owner(existing)))
			return;
		name_taken(stmt->idxname, existing);
	}

	/* By the name it has here: another node may call the schema otherwise. */
	stmt->relation = makeRangeVar(get_namespace_name(nsp), get_rel_name(table), -1);
	owner = role_here(op->owner);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	PG_TRY();
	{
		run_statement((Node *) stmt, op->sql);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (!is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(TopTransactionContext);
		error = CopyErrorData();
		FlushErrorState();
		refuse_rows(stmt, error);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
	CacheInvalidateRelcacheByRelid(table);
}

/* Take down a relation and whatever of this node hangs on it. */
static void
drop_relation(Oid relid)
{
	ObjectAddress object;

	ObjectAddressSet(object, RelationRelationId, relid);
	performDeletion(&object, DROP_CASCADE, PERFORM_DELETION_QUIETLY);
	CommandCounterIncrement();
}

/* What goes with a table is locked too: nobody may keep us waiting there. */
static void
lock_parts(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;

	table_close(rel, NoLock);
	foreach (lc, getOwnedSequences(relid))
		(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
	foreach (lc, indexes)
		(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
}

static void
apply_drop_table(const PaxosDdlOp *op)
{
	DropStmt *stmt = (DropStmt *) parse_one(op->sql, T_DropStmt);
	Oid *relids = palloc_array(Oid, op->n_tables + 1);

	/* All or none; a table named twice is dropped once. */
	for (int i = 0; i < op->n_tables; i++)
	{
		bool again = false;

		for (int j = 0; j < i; j++)
			again |= op->table_ids[j] == op->table_ids[i];
		relids[i] = InvalidOid;
		if (again)
			continue;
		relids[i] = lock_table(op->table_ids[i], AccessExclusiveLock);
		if (!OidIsValid(relids[i]))
		{
			if (stmt->missing_ok)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table of \"%s\" does not exist", op->sql), paxos_err_decided()));
		}

		lock_parts(relids[i]);
	}

	for (int i = 0; i < op->n_tables; i++)
	{
		if (!OidIsValid(relids[i]))
			continue;
		forget_table(op->table_ids[i], relids[i]);
		drop_relation(relids[i]);
	}
}

static void
apply_drop_index(const PaxosDdlOp *op)
{
	DropStmt *stmt = (DropStmt *) parse_one(op->sql, T_DropStmt);
	RangeVar *rv = makeRangeVarFromNameList(linitial(stmt->objects));
	Oid table;
	Oid index = InvalidOid;

	table = op->n_tables == 1 ? lock_table(op->table_ids[0], AccessExclusiveLock) : InvalidOid;
	if (OidIsValid(table))
	{
		index = get_relname_relid(rv->relname, get_rel_namespace(table));
		if (OidIsValid(index) &&
			(get_rel_relkind(index) != RELKIND_INDEX || IndexGetRelation(index, true) != table))
			index = InvalidOid;
	}
	if (!OidIsValid(index))
	{
		if (stmt->missing_ok)
			return;
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("index \"%s\" does not exist", rv->relname), paxos_err_decided()));
	}
	(void) paxos_lock_for_apply(index, AccessExclusiveLock);
	drop_relation(index);
	CacheInvalidateRelcacheByRelid(table);
}

void
paxos_ddl_apply(const PaxosDdlOp *op, px_slot at_slot, uint32 index)
{
	int nest_level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog", PGC_SUSET, PGC_S_OVERRIDE,
							 GUC_ACTION_SAVE, true, ERROR, false);
	(void) set_config_option("default_tablespace", "", PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_SAVE,
							 true, ERROR, false);

	/*
	 * Whatever else somebody of this node holds in the catalogs: an error, and
	 * the next try, instead of a wait that nobody sees.
	 */
	(void) set_config_option("lock_timeout", "1s", PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_SAVE, true,
							 ERROR, false);

	/* Event triggers are of this node alone: they must not fire here. */
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE,
							 GUC_ACTION_SAVE, true, ERROR, false);

	switch (op->kind)
	{
		case PAXOS_DDL_CREATE_TABLE:
			apply_create_table(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_DROP_TABLE:
			apply_drop_table(op);
			break;
		case PAXOS_DDL_CREATE_INDEX:
			apply_create_index(op);
			break;
		case PAXOS_DDL_DROP_INDEX:
			apply_drop_index(op);
			break;
	}

	AtEOXact_GUC(true, nest_level);
}

/* ------------------------------------------------------------------
 * As a snapshot brings it (paxos_snapshot.c)
 * ------------------------------------------------------------------
 */

char *
paxos_ddl_describe_table(Oid relid)
{
	int nest_level = begin_writing_down();
	char *sql = write_table(relid, false, true);

	AtEOXact_GUC(true, nest_level);
	return sql;
}

/* paxos.table_statement(regclass): the same, for whoever writes a backup's script. */
Datum
paxos_table_statement(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	char *sql;

	LockRelationOid(relid, AccessShareLock);
	if (get_rel_relkind(relid) != RELKIND_RELATION || paxos_table_id(relid) == 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s is not a consensus-backed table",
							   get_rel_name(relid) != NULL
								   ? quote_identifier(get_rel_name(relid))
								   : psprintf("the relation with OID %u", relid))));
	sql = paxos_ddl_describe_table(relid);
	PG_RETURN_TEXT_P(cstring_to_text(sql));
}

Oid
paxos_ddl_create_in(const char *schema, const char *definition)
{
	CreateStmt *stmt = (CreateStmt *) parse_one(definition, T_CreateStmt);
	Oid relid;

	stmt->relation->schemaname = pstrdup(schema);
	run_statement((Node *) stmt, definition);
	relid = get_relname_relid(stmt->relation->relname, get_namespace_oid(schema, false));
	if (!OidIsValid(relid))
		elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
	return relid;
}

void
paxos_ddl_create_index_in(const char *schema, const char *definition)
{
	IndexStmt *stmt = (IndexStmt *) parse_one(definition, T_IndexStmt);

	stmt->relation->schemaname = pstrdup(schema);
	run_statement((Node *) stmt, definition);
}

void
paxos_ddl_replace_table(int64 table_id, Oid relid)
{
	lock_parts(relid);
	forget_table(table_id, relid);
	drop_relation(relid);
}

void
paxos_ddl_adopt_table(int64 table_id, Oid relid)
{
	paxos_backstop_create(relid);
	record_table(table_id, relid);
	CommandCounterIncrement();
}

void
paxos_ddl_spread_sequence(Oid sequence, int64 least)
{
	spread_sequence(sequence, least);
}
