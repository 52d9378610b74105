/*
 * paxos_copy.c
 *	  Empty copies of consensus tables, to try a statement on.
 *
 * Owns: the copies that exist inside of a trial (paxos_ddl.c) and go with it: with the
 * constraints and indexes of the tables under their own names, partitions in their places,
 * each in a schema that stands for the one of its table.  Not its business: what is tried on
 * them.
 *
 * They are made as the extension's owner would, so that no privilege of the user's is in
 * the way, and no event trigger sees it; each belongs to the owner of its table, so what the user
 * may do to the one he may do to the other.  Policies are copied, too; foreign keys and triggers
 * are left out.
 *
 * No state; the schemas are named by the process, and nobody else sees them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_partition.h"

char *
paxos_copy_schema(Oid nsp)
{
	return psprintf("paxos_trial_%d_%u", MyProcPid, nsp);
}

Oid
paxos_copy_of(Oid relid)
{
	Oid nsp = get_namespace_oid(paxos_copy_schema(get_rel_namespace(relid)), false);
	Oid copy = get_relname_relid(paxos_relation_name(relid), nsp);

	if (!OidIsValid(copy))
		elog(ERROR, "there is no copy of relation %u", relid);
	return copy;
}

void
paxos_copy_make_schema(Oid nsp)
{
	char *schema = paxos_copy_schema(nsp);
	Oid user;
	int security;

	if (OidIsValid(get_namespace_oid(schema, true)))
		return;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	paxos_ddl_run_text(psprintf("CREATE SCHEMA %s", schema));
	paxos_ddl_run_text(psprintf("GRANT ALL ON SCHEMA %s TO PUBLIC", schema));
	SetUserIdAndSecContext(user, security);
}

PaxosPowers
paxos_take_powers(void)
{
	PaxosPowers before;

	before.nest_level = NewGUCNestLevel();
	GetUserIdAndSecContext(&before.user, &before.security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, before.security | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	(void) set_config_option("search_path", "pg_catalog", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	return before;
}

void
paxos_give_back(PaxosPowers before)
{
	SetUserIdAndSecContext(before.user, before.security);
	AtEOXact_GUC(true, before.nest_level);
}

/* Names of foreign keys and constraint triggers, which a copy has not. */
static List *
names_of_others(Oid table)
{
	Relation catalog = table_open(ConstraintRelationId, AccessShareLock);
	List *names = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);

		if (con->contype == CONSTRAINT_FOREIGN || con->contype == CONSTRAINT_TRIGGER)
			names = lappend(names, pstrdup(NameStr(con->conname)));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return names;
}

static char *
owner_of(Relation rel)
{
	return (char *) quote_identifier(GetUserNameFromId(rel->rd_rel->relowner, false));
}

/* In a schema that is there; its owner is the table's.  What keys and indexes a partitioned
 * table has is made when its partitions are in their places. */
static Oid
copy_one(Relation rel, const char *schema)
{
	Oid table = RelationGetRelid(rel);
	bool partitioned = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	List *indexes = partitioned ? NIL : RelationGetIndexList(rel);
	char *name = RelationGetRelationName(rel);
	char *qualified = quote_qualified_identifier(schema, name);
	ListCell *lc;

	/* With what stands in the place of dropped columns: they count, where there are too many. */
	Oid copy = paxos_ddl_create_in(schema, paxos_ddl_describe_table(table, true));

	list_sort(indexes, list_oid_cmp);
	foreach (lc, indexes)
	{
		if (!OidIsValid(get_index_constraint(lfirst_oid(lc))))
			paxos_ddl_run_in(schema, pg_get_indexdef_string(lfirst_oid(lc)));
	}
	foreach (lc, paxos_ddl_constraints(table))
	{
		PaxosConstraint *c = lfirst(lc);

		if (!c->validated)
			paxos_ddl_run_in(schema, psprintf("ALTER TABLE x.%s ADD CONSTRAINT %s %s",
											  quote_identifier(name), quote_identifier(c->name),
											  c->definition));
	}

	/* Their names are taken: said at the slot only, that would hold up every learner. */
	foreach (lc, names_of_others(table))
		paxos_ddl_run_text(psprintf("ALTER TABLE %s ADD CONSTRAINT %s CHECK (true)", qualified,
									quote_identifier(lfirst(lc))));
	foreach (lc, paxos_policies_of(table, qualified, NULL))
		paxos_ddl_run_text(lfirst(lc));

	/* What its index needs may not be taken away. */
	if (rel->rd_rel->relreplident == REPLICA_IDENTITY_INDEX && !partitioned)
	{
		char *index = get_rel_name(RelationGetReplicaIndex(rel));

		if (index != NULL)
			paxos_ddl_run_text(psprintf("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", qualified,
										quote_identifier(index)));
	}
	paxos_ddl_run_text(psprintf("ALTER TABLE %s OWNER TO %s", qualified, owner_of(rel)));
	return copy;
}

Oid
paxos_ddl_make_copy(Oid table, const char *schema)
{
	Relation rel = table_open(table, AccessShareLock);
	PaxosPowers before = paxos_take_powers();
	Oid copy;

	paxos_ddl_run_text(psprintf("CREATE SCHEMA %s AUTHORIZATION %s", schema, owner_of(rel)));
	copy = copy_one(rel, schema);
	paxos_give_back(before);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return copy;
}

static void
divert(RangeVar *rv)
{
	rv->schemaname = paxos_copy_schema(get_namespace_oid(rv->schemaname, false));
}

/* A statement of paxos.table_place(), on the copies. */
static void
put_in_place(const char *sql)
{
	Node *stmt = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;

	if (IsA(stmt, IndexStmt))
		divert(((IndexStmt *) stmt)->relation);
	else
	{
		AlterTableCmd *cmd;

		divert(castNode(AlterTableStmt, stmt)->relation);
		cmd = linitial_node(AlterTableCmd, ((AlterTableStmt *) stmt)->cmds);
		if (cmd->subtype == AT_AttachPartition)
			divert(castNode(PartitionCmd, cmd->def)->name);
	}
	paxos_ddl_run_statement(stmt, sql);
}

/* Partitions are attached, and what keys and indexes their parents have. */
static void
put_all_in_place(List *relids)
{
	Oid types[1] = {OIDARRAYOID};
	Datum *oids = palloc_array(Datum, list_length(relids));
	Datum args[1];
	List *statements;
	ListCell *lc;

	foreach (lc, relids)
		oids[foreach_current_index(lc)] = ObjectIdGetDatum(lfirst_oid(lc));
	args[0] = PointerGetDatum(
		construct_array(oids, list_length(relids), OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	statements =
		paxos_ddl_texts("SELECT p.statement FROM unnest($1) WITH ORDINALITY AS t(relid, n),"
						" paxos.table_place(t.relid::regclass) p"
						" WHERE p.pass <= 3 AND (p.above IS NULL OR p.above = ANY ($1))"
						" ORDER BY p.pass, p.place, t.n",
						1, types, args, NULL);
	foreach (lc, statements)
		put_in_place(lfirst(lc));
}

void
paxos_copy_make(List *relids)
{
	PaxosPowers before = paxos_take_powers();
	bool trees = false;
	ListCell *lc;

	foreach (lc, relids)
	{
		Relation rel = table_open(lfirst_oid(lc), AccessShareLock);

		paxos_copy_make_schema(RelationGetNamespace(rel));
		(void) copy_one(rel, paxos_copy_schema(RelationGetNamespace(rel)));
		table_close(rel, NoLock);
		trees |= paxos_in_tree(lfirst_oid(lc));
	}
	if (trees)
		put_all_in_place(relids);
	paxos_give_back(before);
	CommandCounterIncrement();
}
