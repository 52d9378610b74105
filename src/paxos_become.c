/*
 * paxos_become.c
 *	  ALTER TABLE ... SET ACCESS METHOD paxos on a table of this node, and CREATE TABLE AS
 *	  ... USING paxos, where they are issued.
 *
 * Owns: what such a table may consist of besides what CREATE TABLE checks, and how it and
 * its rows get into the log.  Not its business: what this node keeps of it
 * meanwhile (paxos_method.c); what is done at the slot (paxos_ddl_apply.c, paxos_fill.c).
 *
 * Three transactions of this session, so neither statement can stand in a block:
 *
 *	1	locks the table against everybody, writes its definition down from the
 *		catalogs, tries that on an empty copy, and marks the table as on its way.  Nobody
 *		writes it from here on, whatever becomes of session or server.
 *	2	reads the rows and sends them, in parts, as those of a large write set go
 *		(paxos_part.c): nobody holds more than one of them in memory, and others'
 *		commands come between.
 *	3	holds no lock, and sends the statement that makes the table on all nodes and names
 *		the parts.  Its slot does everything or nothing.
 *
 * CREATE TABLE AS makes an ordinary table in the first of them, and goes on like that.  So
 * the query is run once, and what goes wrong leaves no empty table behind.
 *
 * What fails, and whoever dies, between them: the parts are given up through the log, and
 * then the table is what it was.  A crash: the same (paxos_method.c).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_method.h"
#include "paxos_object.h"
#include "paxos_part.h"
#include "paxos_set.h"
#include "paxos_text.h"
#include "paxos_version.h"

/* Whom other nodes must know. */
static const char *const grantees_query =
	"SELECT DISTINCT pg_get_userbyid(a.grantee) FROM"
	" (SELECT x.* FROM pg_class c, aclexplode(c.relacl) x WHERE c.oid = $1 UNION ALL"
	"  SELECT x.* FROM pg_attribute b, aclexplode(b.attacl) x"
	"  WHERE b.attrelid = $1 AND NOT b.attisdropped) a WHERE a.grantee <> 0";

/* A table on its way. */
typedef struct Becoming
{
	PaxosUtility *u;
	MemoryContext cxt; /* outlives the transactions */
	Oid relid;
	Oid owner;
	char *schema;
	char *name;
	bool made;
	uint64 set;
	uint32 n_parts;
	StringInfoData sql;
	PaxosDdlOp op;
} Becoming;

/* ------------------------------------------------------------------
 * What it may consist of
 * ------------------------------------------------------------------
 */

static bool
has_row(Oid catalog_id, Oid index, AttrNumber column, Oid relid)
{
	Relation catalog = table_open(catalog_id, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool found;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, index, true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

static void
check_indexes(Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	ListCell *lc;

	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		if (!index->rd_index->indisvalid)
			paxos_ddl_not_supported("an index that is not valid", "Drop it, or REINDEX it.");
		if (OidIsValid(index->rd_rel->reltablespace))
			paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
		for (int i = 0; i < index->rd_index->indnkeyatts; i++)
			paxos_ddl_check_collation(RelationGetRelationName(index), index->rd_indcollation[i]);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

void
paxos_ddl_check_parts(Oid relid)
{
	Relation rel = table_open(relid, NoLock);

	check_indexes(rel);
	if (has_row(StatisticExtRelationId, StatisticExtRelidIndexId, Anum_pg_statistic_ext_stxrelid,
				relid))
		paxos_ddl_not_supported("extended statistics", "Use DROP STATISTICS first.");
	table_close(rel, NoLock);
}

static bool
has_user_trigger(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		if (!triggers->triggers[i].tgisinternal)
			return true;
	}
	return false;
}

static bool
has_columns(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			return true;
	}
	return false;
}

/* In the words of CREATE TABLE (paxos_ddl.c) where it has them. */
static void
check_table(Relation rel)
{
	Oid relid = RelationGetRelid(rel);
	Form_pg_class form = rel->rd_rel;

	if (form->relkind == RELKIND_PARTITIONED_TABLE || form->relispartition)
		paxos_ddl_not_supported("partitioning",
								"Make a consensus-backed table, and copy the rows.");
	if (form->relkind != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table", RelationGetRelationName(rel))));
	if (!has_columns(rel))
		paxos_ddl_not_supported("a table without columns", NULL);
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		paxos_ddl_not_supported("TEMPORARY", NULL);
	if (form->relpersistence == RELPERSISTENCE_UNLOGGED)
		paxos_ddl_not_supported("UNLOGGED", "Use ALTER TABLE ... SET LOGGED first.");
	if (IsCatalogRelation(rel) || form->relnamespace == get_namespace_oid(PAXOS_SCHEMA, false) ||
		OidIsValid(getExtensionOfObject(RelationRelationId, relid)))
		paxos_ddl_not_supported("a table of the system or of an extension", NULL);
	if (has_superclass(relid) || find_inheritance_children(relid, NoLock) != NIL)
		paxos_ddl_not_supported("inheritance", NULL);
	if (OidIsValid(form->reloftype))
		paxos_ddl_not_supported("CREATE TABLE OF", "Use ALTER TABLE ... NOT OF first.");
	if (OidIsValid(form->reltablespace))
		paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
	if (form->relrowsecurity ||
		has_row(PolicyRelationId, PolicyPolrelidPolnameIndexId, Anum_pg_policy_polrelid, relid))
		paxos_ddl_not_supported("row-level security",
								"Drop policies, and create them again afterwards.");
	if (rel->rd_rules != NULL ||
		has_row(RewriteRelationId, RewriteRelRulenameIndexId, Anum_pg_rewrite_ev_class, relid))
		paxos_ddl_not_supported("a rule", NULL);
	if (paxos_fkey_any(relid))
		paxos_ddl_not_supported(
			"a foreign key",
			"Drop it, and add it again between consensus-backed tables afterwards.");
	if (has_user_trigger(rel))
		paxos_ddl_not_supported("a trigger", "Drop it, and create it again afterwards.");
	paxos_ddl_check_parts(relid);
}

/*
 * Nothing else of this node may hang on it: DROP TABLE at a slot would be refused here
 * alone.
 */
static void
check_dependents(Oid relid)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	Oid type = get_rel_type_id(relid);
	ObjectAddress parts[] = {{RelationRelationId, relid, 0},
							 {TypeRelationId, type, 0},
							 {TypeRelationId, get_array_type(type), 0}};

	for (int i = 0; i < lengthof(parts); i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts[i].classId));
		ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts[i].objectId));
		scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			ObjectAddress other;

			/* what goes with it, in whichever way, is part of it; publications may list it */
			if (d->deptype != DEPENDENCY_NORMAL ||
				(d->classid == RelationRelationId && d->objid == relid) ||
				(d->classid == ConstraintRelationId && i == 0) || /* foreign keys: check_table() */
				(d->classid == AttrDefaultRelationId &&
				 GetAttrDefaultColumnAddress(d->objid).objectId == relid))
				continue;
			ObjectAddressSubSet(other, d->classid, d->objid, d->objsubid);
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("cannot make table \"%s\" consensus-backed because other objects "
							"depend on it",
							get_rel_name(relid)),
					 errdetail("%s depends on it, and is local to this node.",
							   getObjectDescription(&other, false)),
					 errhint("Drop what depends on the table first.")));
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

/* ------------------------------------------------------------------
 * Its definition
 * ------------------------------------------------------------------
 */

static void
append_all(Becoming *b, List *statements)
{
	ListCell *lc;

	foreach (lc, statements)
		appendStringInfo(&b->sql, ";\n%s", (char *) lfirst(lc));
}

/*
 * Made once, empty, in a schema of the trial's: as it will be made elsewhere.  As the owner: what
 * it consists of has not been looked at yet, and CREATE INDEX computes what is constant in an
 * expression, so that a function of the user's would run with the rights of whoever makes it.
 */
static void
try_on_copy(Becoming *b, const char *definition, List *rest)
{
	char *schema = psprintf("paxos_trial_%d", MyProcPid);
	char *owner = (char *) quote_identifier(GetUserNameFromId(b->owner, false));
	PaxosTrial trial;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		int nest_level = NewGUCNestLevel();
		ListCell *lc;
		Oid copy;
		Oid user;
		int security;

		GetUserIdAndSecContext(&user, &security);
		SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
		(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
		(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
		paxos_ddl_run_text(psprintf("CREATE SCHEMA %s AUTHORIZATION %s", schema, owner));
		SetUserIdAndSecContext(b->owner, security | SECURITY_LOCAL_USERID_CHANGE |
											 SECURITY_RESTRICTED_OPERATION);
		copy = paxos_ddl_create_in(schema, definition);
		foreach (lc, rest)
			paxos_ddl_run_in(schema, lfirst(lc));
		SetUserIdAndSecContext(user, security);
		AtEOXact_GUC(true, nest_level);
		CommandCounterIncrement();
		paxos_ddl_check_dependencies(&b->op, copy, InvalidOid);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

static void
write_down(Becoming *b)
{
	int nest_level = paxos_ddl_begin_writing_down();
	char *definition = paxos_ddl_write_table(b->relid, NULL, false, false, true);
	List *rest;
	ObjectAddress schema;
	int64 id;

	AtEOXact_GUC(true, nest_level);
	ObjectAddressSet(schema, NamespaceRelationId, get_rel_namespace(b->relid));
	if (paxos_object_place(&schema, &id) == PAXOS_PLACE_OBJECT)
		paxos_object_need(&b->op, id);
	rest = paxos_ddl_write_rest(b->relid);
	try_on_copy(b, definition, rest);
	appendStringInfoString(&b->sql, definition);
	append_all(b, rest);
	append_all(b, paxos_ddl_texts_of(paxos_grants_query, b->relid));
}

/* Else the nodes would not all have a value left. */
static void
check_room(Oid sequence, const char *column, int64 next)
{
	HeapTuple tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	int64 max;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	max = ((Form_pg_sequence) GETSTRUCT(tuple))->seqmax;
	ReleaseSysCache(tuple);
	if (next > max - PAXOS_SEQUENCE_STEP)
		ereport(ERROR, (errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
						errmsg("the sequence of column \"%s\" is at its end", column)));
}

/*
 * Where the values of serial and identity columns go on: above all that are there, and all
 * that were drawn here.  At the slot it is known by this form (paxos_ddl_apply.c).
 */
static void
write_restarts(Becoming *b)
{
	Relation rel = table_open(b->relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Oid sequence;
		char *name;
		char *column;
		char *next;

		if (att->attisdropped ||
			(att->attidentity == '\0' && !OidIsValid(paxos_ddl_serial(rel, att->attnum))))
			continue;
		sequence = paxos_ddl_sequence_of(b->relid, att->attnum);
		name = pstrdup(NameStr(att->attname));
		column = (char *) quote_identifier(name);
		next = paxos_ddl_next_value(b->relid, att->attnum, sequence);
		if (next == NULL)
			continue;
		check_room(sequence, name, strtoi64(next, NULL, 10));
		appendStringInfo(&b->sql, ";\nALTER TABLE %s ALTER COLUMN %s RESTART WITH %s",
						 quote_qualified_identifier(b->schema, b->name), column, next);
	}
	table_close(rel, AccessShareLock);
}

/* ------------------------------------------------------------------
 * Its rows
 * ------------------------------------------------------------------
 */

typedef struct Shipping
{
	Becoming *b;
	Relation rel;
	TupleTableSlot *row;
	FmgrInfo *output;
	PaxosSetTable table;
	PaxosPartRows rows; /* not sent yet */
} Shipping;

static void
send_part(Shipping *s)
{
	Becoming *b = s->b;

	if (++b->n_parts > PAXOS_MAX_PARTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("table \"%s\" is too large for the replicated log", b->name),
						errdetail("Its rows may take %d parts of %d kB.", PAXOS_MAX_PARTS,
								  PAXOS_PART_BYTES / 1024)));
	paxos_part_send(b->set, b->n_parts, &s->rows.body);
	paxos_part_empty(&s->rows);
}

/* In s->rows.cxt; returns what it takes. */
static Size
describe_row(Shipping *s, PaxosSetRow *out)
{
	memset(out, 0, sizeof(*out));
	out->what = PAXOS_ROW_PRESENT;
	return PAXOS_PART_ROW_BYTES + paxos_part_put_row(out, s->row, s->output);
}

static void
add_row(Shipping *s)
{
	MemoryContext old = MemoryContextSwitchTo(s->rows.cxt);
	PaxosSetRow row;
	Size bytes = describe_row(s, &row);

	paxos_part_check_row(s->b->name, bytes);
	if (!paxos_part_has_room(&s->rows, bytes))
	{
		/* what has been described goes with those before it */
		send_part(s);
		bytes = describe_row(s, &row);
	}
	paxos_part_add_row(&s->rows, &row, bytes);
	MemoryContextSwitchTo(old);
}

static void
ship_rows(Becoming *b)
{
	Shipping s = {b, table_open(b->relid, AccessShareLock)};
	TableScanDesc scan;

	paxos_part_begin_rows(&s.rows, CurrentMemoryContext);
	s.row = table_slot_create(s.rel, NULL);
	s.output = paxos_outputs(RelationGetDescr(s.rel));
	s.table.hold = PAXOS_TABLE_CHANGED; /* its number is not known yet */
	s.rows.body.n_tables = 1;
	s.rows.body.tables = &s.table;
	scan = table_beginscan(s.rel, GetActiveSnapshot(), 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, s.row))
	{
		CHECK_FOR_INTERRUPTS();
		add_row(&s);
	}
	table_endscan(scan);

	/* One there is always: by it the statement is known to be alive. */
	if (s.rows.body.n_rows > 0 || b->n_parts == 0)
		send_part(&s);
	ExecDropSingleTupleTableSlot(s.row);
	table_close(s.rel, NoLock);
}

/* ------------------------------------------------------------------
 * The statements
 * ------------------------------------------------------------------
 */

static Becoming *
begin(PaxosUtility *u, const char *what)
{
	MemoryContext cxt;
	MemoryContext old;
	Becoming *b;

	paxos_ddl_begin_statement(u, what);
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "tables that become consensus-backed");
	cxt = AllocSetContextCreate(PortalContext, "paxos becoming", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	b = palloc0(sizeof(Becoming));
	b->u = u;
	b->cxt = cxt;
	b->set = paxos_part_new_set();
	initStringInfo(&b->sql);
	MemoryContextSwitchTo(old);
	return b;
}

/* Who it is, and whether the other members could have it.  The table is locked. */
static void
look(Becoming *b, Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	MemoryContext old;

	CheckTableNotInUse(rel, "SET ACCESS METHOD");
	check_table(rel);
	check_dependents(relid);
	b->relid = relid;
	b->owner = rel->rd_rel->relowner;
	old = MemoryContextSwitchTo(b->cxt);
	b->schema = paxos_schema_name(RelationGetNamespace(rel));
	b->name = pstrdup(RelationGetRelationName(rel));
	MemoryContextSwitchTo(old);
	table_close(rel, NoLock);
}

static void
ask(Becoming *b)
{
	char *owner = GetUserNameFromId(b->owner, false);
	List *roles = paxos_ddl_texts_of(grantees_query, b->relid);

	paxos_ddl_ask_members(b->schema, owner, 0, paxos_ddl_names_taken(b->relid));
	if (roles != NIL)
		paxos_ddl_ask_roles(roles);
}

static void
next_transaction(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	StartTransactionCommand();
}

/* The table is locked against everybody, and has been looked at. */
static void
send(Becoming *b)
{
	PaxosDdlOp *op = &b->op;
	MemoryContext old = MemoryContextSwitchTo(b->cxt);

	write_down(b);
	op->kind = PAXOS_DDL_CREATE_TABLE;
	op->flags = PAXOS_DDL_ROWS;
	op->schema = b->schema;
	op->owner = GetUserNameFromId(b->owner, false);

	paxos_trying = true; /* the guard stands aside */
	PG_TRY();
	{
		paxos_becoming_begin(b->relid, b->set, b->made);
	}
	PG_FINALLY();
	{
		paxos_trying = false;
	}
	PG_END_TRY();
	next_transaction();
	paxos_becoming_ships(b->relid, b->set);

	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(b->cxt);
	ship_rows(b);
	write_restarts(b);
	next_transaction();

	MemoryContextSwitchTo(b->cxt);
	op->sql = b->sql.data;
	op->parts_of = b->set;
	op->n_parts = b->n_parts;
	if (!paxos_ddl_submit(op))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("something that table \"%s\" uses was changed while its rows were on "
						"their way",
						b->name),
				 errhint("The statement might succeed if retried.")));
	paxos_becoming_shipped(b->relid);
	MemoryContextSwitchTo(old);
}

void
paxos_become_alter(PaxosUtility *u, AlterTableStmt *stmt)
{
	Becoming *b;
	Oid relid;
	int64 bytes;

	if (stmt->objtype != OBJECT_TABLE)
	{
		paxos_utility_next(u); /* says what is wrong */
		return;
	}
	if (list_length(stmt->cmds) > 1)
		paxos_ddl_not_supported("SET ACCESS METHOD together with other clauses",
								"Use a statement of its own.");
	b = begin(u, "ALTER TABLE ... SET ACCESS METHOD paxos");
	relid = RangeVarGetRelid(stmt->relation, AccessShareLock, stmt->missing_ok);
	if (!OidIsValid(relid))
	{
		ereport(NOTICE,
				(errmsg("relation \"%s\" does not exist, skipping", stmt->relation->relname)));
		return;
	}
	paxos_ddl_check_owner(relid);
	look(b, relid);
	ask(b);
	bytes = DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(relid)));
	if (bytes >= PAXOS_LARGE_BYTES)
		ereport(NOTICE, (errmsg("table \"%s\" has " INT64_FORMAT
								" MB: it cannot be written until its rows are in the log",
								b->name, bytes / (1024 * 1024))));
	UnlockRelationOid(relid, AccessShareLock);

	/* Once more, for good: nobody was kept away meanwhile. */
	relid = RangeVarGetRelid(stmt->relation, AccessExclusiveLock, false);
	paxos_ddl_check_owner(relid);
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_ALTER_TABLE, 0);
	if (paxos_is_consensus_table(relid))
	{
		/* somebody else was quicker */
		(void) paxos_known_table_id(relid);
		return;
	}
	look(b, relid);
	send(b);
}

void
paxos_become_as(PaxosUtility *u, CreateTableAsStmt *stmt)
{
	PaxosUtility local_u = *u;
	IntoClause *into = stmt->into;
	Becoming *b;
	Oid nsp;
	int nest_level;

	if (into->rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		paxos_ddl_not_supported("UNLOGGED", NULL);
	if (into->tableSpaceName != NULL)
		paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
	if (into->onCommit != ONCOMMIT_NOOP)
		paxos_ddl_not_supported("ON COMMIT", NULL);
	nsp = RangeVarGetCreationNamespace(into->rel);
	if (isAnyTempNamespace(nsp))
		paxos_ddl_not_supported("TEMPORARY", "Add USING heap to make an ordinary temporary table.");
	b = begin(u, "CREATE TABLE AS ... USING paxos");
	if (stmt->if_not_exists && OidIsValid(get_relname_relid(into->rel->relname, nsp)))
	{
		paxos_utility_next(u); /* says NOTICE and does nothing */
		return;
	}

	/* What the query writes itself is not committed together with the table. */
	paxos_set_local();
	into = ((CreateTableAsStmt *) paxos_utility_copy(&local_u))->into;
	into->accessMethod = pstrdup(DEFAULT_TABLE_ACCESS_METHOD);
	nest_level = NewGUCNestLevel();
	(void) set_config_option("default_tablespace", "", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, ERROR, false);
	paxos_utility_next(&local_u);
	AtEOXact_GUC(true, nest_level);
	CommandCounterIncrement();
	b->made = true;
	look(b, RangeVarGetRelid(makeRangeVar(paxos_schema_name(nsp), into->rel->relname, -1),
							 AccessExclusiveLock, false));
	ask(b);
	send(b);
}
