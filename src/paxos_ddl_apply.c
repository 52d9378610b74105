/*
 * paxos_ddl_apply.c
 *	  Statements through the log at their slot, in the learner; and tables as a
 *	  snapshot brings them.
 *
 * A statement is carried out on every node as the owner the user would get, under
 * fixed settings, and paxos.tables learns the number of a new table: slot and
 * position, so the same everywhere (paxos_apply.h).  A table is then known by this
 * number: renaming a schema here or there changes nothing.  What the replicated
 * catalogue decides - the name is that of another consensus table, the table is
 * gone - is marked with paxos_err_decided() and becomes the result; a schema or role
 * that is missing on this node, or a local table in the way, is trouble of this node:
 * the slot is tried again until somebody has put it right (protocol.md § 6).
 *
 * Serial and identity columns get a sequence on each node that counts in steps
 * of PAXOS_SEQUENCE_STEP from the node's id: what two nodes draw never meets.
 *
 * State: none; what a crash interrupts is rolled back with the slot's transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_method.h"
#include "paxos_object_int.h"
#include "paxos_part.h"

/* A transaction that makes a relation of a name we need is let be for so long. */
#define NAME_PATIENCE_MS 200

/* Never returns. */
static void refuse_rows(IndexStmt *stmt, ErrorData *error) pg_attribute_noreturn();

static void drop_holes(const char *schema, Oid relid);

Oid
paxos_consensus_owner(Oid relid)
{
	Oid table = InvalidOid;
	int32 column;

	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			table = relid;
			break;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
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

Node *
paxos_ddl_parse_one(const char *sql, NodeTag tag)
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

void
paxos_ddl_run_statement(Node *stmt, const char *sql)
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

bool
paxos_ddl_is_known(Oid relid)
{
	Oid table = paxos_consensus_owner(relid);

	return OidIsValid(table) && paxos_table_id(table) != 0;
}

Oid
paxos_ddl_owner_of(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

Oid
paxos_ddl_sequence_of(Oid table, AttrNumber attnum)
{
	ListCell *lc;

	foreach (lc, getOwnedSequences(table))
	{
		Oid owner;
		int32 of;

		if ((sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_AUTO, &owner, &of) ||
			 sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_INTERNAL, &owner, &of)) &&
			of == attnum)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

/*
 * The name is taken.  By something every node has, and so everywhere, or by
 * something of this node alone?
 */
void
paxos_ddl_name_taken(const char *name, Oid existing)
{
	if (paxos_ddl_is_known(existing))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", name), paxos_err_decided()));
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
					errmsg("relation \"%s\" of this node is in the way", name),
					errhint("Rename or drop it.")));
}

/* The transaction that is making something of this name just now, if any. */
static TransactionId
maker_of_name(Oid class_id, const char *name, Oid nsp)
{
	static const struct
	{
		Oid class_id;
		Oid index;
		AttrNumber name;
		AttrNumber nsp;
	} catalogs[] = {
		{RelationRelationId, ClassNameNspIndexId, Anum_pg_class_relname,
		 Anum_pg_class_relnamespace},
		{TypeRelationId, TypeNameNspIndexId, Anum_pg_type_typname, Anum_pg_type_typnamespace},
		{ProcedureRelationId, ProcedureNameArgsNspIndexId, Anum_pg_proc_proname,
		 Anum_pg_proc_pronamespace},
		{NamespaceRelationId, NamespaceNameIndexId, Anum_pg_namespace_nspname, 0}};
	SnapshotData dirty;
	Relation catalog = table_open(class_id, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	TransactionId xid = InvalidTransactionId;
	int i = 0;

	while (catalogs[i].class_id != class_id)
		i++;
	InitDirtySnapshot(dirty);
	ScanKeyInit(&key[0], catalogs[i].name, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	if (catalogs[i].nsp != 0)
		ScanKeyInit(&key[1], catalogs[i].nsp, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(nsp));
	scan = systable_beginscan(catalog, catalogs[i].index, true, &dirty,
							  catalogs[i].nsp != 0 ? 2 : 1, key);
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
 * See that no local transaction is making something of this name: the catalog's
 * unique index would have the learner wait for its end, and a session may take as
 * long as it likes.  One that only tries a statement is gone in a moment by
 * itself; who stays longer is ended.
 */
void
paxos_ddl_clear_name(Oid class_id, const char *name, Oid nsp)
{
	static uint32 wait_event = 0;
	TransactionId xid;

	while (TransactionIdIsValid(xid = maker_of_name(class_id, name, nsp)))
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
Oid
paxos_ddl_holder_of_name(const char *name, Oid nsp)
{
	Oid existing;
	Oid table;

	paxos_ddl_clear_name(RelationRelationId, name, nsp);
	existing = get_relname_relid(name, nsp);
	table = OidIsValid(existing) ? paxos_consensus_owner(existing) : InvalidOid;
	if (OidIsValid(table) && paxos_table_id(table) == 0)
	{
		paxos_becoming_give_way(table);
		existing = get_relname_relid(name, nsp);
	}
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

Oid
paxos_ddl_schema_here(const char *schema)
{
	Oid nsp = get_namespace_oid(schema, true);

	if (!OidIsValid(nsp))
		ereport(ERROR, (errcode(ERRCODE_INVALID_SCHEMA_NAME),
						errmsg("schema \"%s\" does not exist on this node", schema),
						errhint("Create it as on the node where the statement was issued.")));
	return nsp;
}

Oid
paxos_ddl_role_here(const char *role)
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
record_table(int64 table_id, Oid relid, int64 altered)
{
	Relation tables = table_open(
		get_relname_relid("tables", get_namespace_oid(PAXOS_SCHEMA, false)), RowExclusiveLock);
	Datum values[3];
	bool nulls[3] = {false, false, false};

	values[0] = Int64GetDatum(table_id);
	values[1] = ObjectIdGetDatum(relid);
	values[2] = Int64GetDatum(altered);
	CatalogTupleInsert(tables, heap_form_tuple(RelationGetDescr(tables), values, nulls));
	CacheInvalidateRelcache(tables);
	table_close(tables, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
}

void
paxos_ddl_forget_table(int64 table_id, Oid relid)
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

/* The definition of this table has been changed by statement 'altered'. */
static void
note_altered(int64 table_id, Oid relid, int64 altered)
{
	paxos_ddl_forget_table(table_id, relid);
	CommandCounterIncrement();
	record_table(table_id, relid, altered);
	CommandCounterIncrement();
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

	stmt->sequence = paxos_range_var(sequence);
	stmt->for_identity = sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column);
	stmt->options =
		list_make3(makeDefElem("increment", (Node *) makeInteger(PAXOS_SEQUENCE_STEP), -1),
				   makeDefElem("start", (Node *) makeFloat(psprintf(INT64_FORMAT, start)), -1),
				   makeDefElem("restart", (Node *) makeFloat(psprintf(INT64_FORMAT, start)), -1));
	AlterSequence(make_parsestate(NULL), stmt);
	CommandCounterIncrement();
}

/*
 * An empty partitioned table of this node's own, as it stands where the statement was
 * issued, makes room for the consensus table (paxos_partition.c).
 */
static void
give_way(const char *name, Oid nsp, Oid owner)
{
	Oid relid = paxos_ddl_holder_of_name(name, nsp);
	ObjectAddress object;
	ListCell *lc;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		paxos_is_consensus_table(relid) || !PaxosOwnsRelation(relid, owner) ||
		!paxos_lock_for_apply(relid, AccessExclusiveLock) ||
		find_inheritance_children(relid, NoLock) != NIL)
		return;
	foreach (lc, getOwnedSequences(relid))
		(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
	ObjectAddressSet(object, RelationRelationId, relid);
	performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_QUIETLY);
	CommandCounterIncrement();
}

/*
 * The names that CREATE TABLE takes: its own, and those of its indexes.  Another statement
 * may have taken one since this one was tried.  What other consensus tables have is
 * looked for first: that is what all nodes see.
 */
static void
check_names(const List *statements, Oid nsp, Oid mine)
{
	CreateStmt *stmt = castNode(CreateStmt, linitial_node(RawStmt, statements)->stmt);
	List *names = list_make1(stmt->relation->relname);
	ListCell *lc;

	foreach (lc, stmt->tableElts)
	{
		Constraint *c = lfirst(lc);

		if (IsA(c, Constraint) && c->conname != NULL && paxos_ddl_has_index(c))
			names = lappend(names, c->conname);
	}
	foreach (lc, statements)
	{
		IndexStmt *index = (IndexStmt *) lfirst_node(RawStmt, lc)->stmt;

		if (IsA(index, IndexStmt))
			names = lappend(names, index->idxname);
	}
	for (int pass = 0; pass < 2; pass++)
	{
		foreach (lc, names)
		{
			Oid existing = get_relname_relid(lfirst(lc), nsp);

			if (OidIsValid(existing) && paxos_consensus_owner(existing) == mine && OidIsValid(mine))
				continue;
			existing = paxos_ddl_holder_of_name(lfirst(lc), nsp);
			if (OidIsValid(existing) && (pass == 1 || paxos_ddl_is_known(existing)))
				paxos_ddl_name_taken(lfirst(lc), existing);
		}
	}
}

static void
run_as(Node *stmt, const char *sql, Oid role)
{
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(role,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	paxos_ddl_run_statement(stmt, sql);
	SetUserIdAndSecContext(user, security);
}

/*
 * CREATE TABLE, then a foreign key for each of op->table_ids, then what else belongs to
 * the table.  Its rows may have come before; on the node from which they come it is there,
 * as this node's own, and keeps what it has.
 */
static void
apply_create_table(const PaxosDdlOp *op, int64 table_id, const PaxosReplicated *r, px_node origin)
{
	List *statements = raw_parser(op->sql, RAW_PARSE_DEFAULT);
	CreateStmt *stmt = castNode(CreateStmt, linitial_node(RawStmt, statements)->stmt);
	bool filled = (op->flags & PAXOS_DDL_ROWS) != 0;
	Oid mine = InvalidOid;
	Oid nsp;
	Oid owner;
	Oid existing;
	Oid relid;
	ListCell *lc;

	if (filled && !paxos_part_complete(r, origin, op->parts_of, op->n_parts))
		ereport(ERROR,
				(errcode(ERRCODE_OPERATOR_INTERVENTION),
				 errmsg("the rows of table \"%s\" have been given up", stmt->relation->relname),
				 errdetail("The paxos proposer of the node they came from was restarted "
						   "meanwhile, or they took too long."),
				 paxos_err_decided()));
	if (filled && origin == paxos_shared->node_id)
		mine = paxos_becoming_of(op->parts_of);
	nsp = paxos_ddl_schema_here(op->schema);
	owner = paxos_ddl_role_here(op->owner);
	if (stmt->if_not_exists && !OidIsValid(mine))
	{
		existing = paxos_ddl_holder_of_name(stmt->relation->relname, nsp);
		if (OidIsValid(existing) && paxos_table_id(existing) != 0)
			return;
	}
	if ((op->flags & PAXOS_DDL_TREE) != 0 && op->n_tables == 0)
		give_way(stmt->relation->relname, nsp, owner);
	check_names(statements, nsp, mine);

	if (OidIsValid(mine))
	{
		relid = mine;
		paxos_ddl_empty(relid);
		paxos_ddl_lock_parts(relid);
		paxos_becoming_done(relid);
	}
	else
	{
		run_as((Node *) stmt, op->sql, owner);
		relid = get_relname_relid(stmt->relation->relname, nsp);
		if (!OidIsValid(relid))
			elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
		drop_holes(paxos_schema_name(nsp), relid);
		if (stmt->partspec == NULL)
			paxos_backstop_create(relid);
	}
	foreach (lc, getOwnedSequences(relid))
		spread_sequence(lfirst_oid(lc), PG_INT64_MIN);
	record_table(table_id, relid, 0);
	CommandCounterIncrement();
	if (filled)
	{
		paxos_fill_table(relid, r, origin, op->parts_of, op->n_parts);
		paxos_part_finish(r, origin, op->parts_of);
	}
	if ((op->flags & PAXOS_DDL_TREE) != 0)
	{
		(void) paxos_alter_run(op, list_delete_first(statements), relid);
		return;
	}
	paxos_fkey_apply(op, list_copy_tail(list_truncate(list_copy(statements), op->n_tables + 1), 1),
					 relid);
	for_each_from(lc, statements, op->n_tables + 1)
	{
		Node *rest = lfirst_node(RawStmt, lc)->stmt;

		if (!paxos_sequence_apply(rest, relid) && !OidIsValid(mine))
			run_as(rest, op->sql, owner);
	}
	CacheInvalidateRelcacheByRelid(relid);
}

/*
 * It counts one by one again, above what all nodes have drawn: the values of the others are
 * among the rows.
 */
static void
gather_sequence(Oid sequence, Oid relid)
{
	AlterSeqStmt *stmt = makeNode(AlterSeqStmt);
	HeapTuple tuple;
	char *next = NULL;
	Oid table;
	Oid type;
	int32 column;
	int64 max;

	stmt->sequence = paxos_range_var(sequence);
	stmt->for_identity = sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column);
	if (!stmt->for_identity && !sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column))
		return;
	type = get_atttype(relid, (AttrNumber) column);
	if (type == INT2OID || type == INT4OID || type == INT8OID)
		next = paxos_ddl_next_value(relid, (AttrNumber) column, sequence);
	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	max = ((Form_pg_sequence) GETSTRUCT(tuple))->seqmax;
	ReleaseSysCache(tuple);
	stmt->options = list_make1(makeDefElem("increment", (Node *) makeInteger(1), -1));
	if (next != NULL && strtoi64(next, NULL, 10) <= max)
		stmt->options =
			lappend(stmt->options, makeDefElem("restart", (Node *) makeFloat(next), -1));
	AlterSequence(make_parsestate(NULL), stmt);
	CommandCounterIncrement();
}

/*
 * Every node keeps its copy, as an ordinary table of its own, with the rows that it has at
 * this slot.
 */
static void
apply_leave(const PaxosDdlOp *op)
{
	Oid relid = paxos_table_relid(op->table_ids[0]);
	ListCell *lc;

	paxos_ddl_lock_parts(relid);
	if (paxos_fkey_any(relid))
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("table \"%s\" has foreign keys to or from consensus-backed tables",
							   get_rel_name(relid)),
						paxos_err_decided()));
	paxos_object_check_leave(relid, true);
	foreach (lc, getOwnedSequences(relid))
		gather_sequence(lfirst_oid(lc), relid);
	paxos_ddl_forget_table(op->table_ids[0], relid);
	CommandCounterIncrement();
	paxos_method_heap(relid);
}

/*
 * The table a statement speaks of, locked; InvalidOid if an earlier slot has
 * dropped it, which every node knows.  That its relation has vanished from this
 * node by itself is another matter, and no answer.
 */
Oid
paxos_ddl_lock_table(int64 table_id, LOCKMODE mode)
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
bool
paxos_ddl_is_data_error(int sqlstate)
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

	if (paxos_error_of_catalogs(error))
		ReThrowError(error);
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
	IndexStmt *stmt = (IndexStmt *) paxos_ddl_parse_one(op->sql, T_IndexStmt);
	Oid table;
	Oid nsp;
	Oid existing;
	Oid owner;
	Oid user;
	int security;

	table = op->n_tables == 1 ? paxos_ddl_lock_table(op->table_ids[0], ShareLock) : InvalidOid;
	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"%s\" does not exist", stmt->relation->relname),
						paxos_err_decided()));
	nsp = get_rel_namespace(table);
	existing = paxos_ddl_holder_of_name(stmt->idxname, nsp);
	if (OidIsValid(existing))
	{
		if (stmt->if_not_exists && OidIsValid(paxos_consensus_owner(existing)))
			return;
		paxos_ddl_name_taken(stmt->idxname, existing);
	}

	/* By the name it has here: another node may call the schema otherwise. */
	stmt->relation = makeRangeVar(paxos_schema_name(nsp), paxos_relation_name(table), -1);
	owner = paxos_ddl_role_here(op->owner);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(owner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	PG_TRY();
	{
		paxos_ddl_run_statement((Node *) stmt, op->sql);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (!paxos_ddl_is_data_error(geterrcode()))
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
void
paxos_ddl_lock_parts(Oid relid)
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

/*
 * The tables at the other ends of foreign keys that have ended.  What was tried on them as
 * they were (RENAME CONSTRAINT, say) would fail at its slot, and hold up every node.
 */
static void
note_partners_altered(List *partners, int64 altered)
{
	ListCell *lc;

	foreach (lc, partners)
	{
		int64 table_id = paxos_table_id(lfirst_oid(lc));

		if (table_id != 0)
			note_altered(table_id, lfirst_oid(lc), altered);
	}
}

/* Tables that go with their schema (paxos_object_apply.c); returns those at the other end of
 * their foreign keys. */
static List *
lock_for_drop(const PaxosDdlOp *op)
{
	List *partners = NIL;
	ListCell *lc;

	for (int i = 0; i < op->n_tables; i++)
	{
		Oid relid = paxos_table_relid(op->table_ids[i]);

		paxos_ddl_lock_parts(relid);
		foreach (lc, paxos_fkey_partners(relid))
		{
			(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
			partners = list_append_unique_oid(partners, lfirst_oid(lc));
		}
	}
	return partners;
}

/*
 * Partitions go with what they are partitions of; those of the command's tables that are
 * not named stay.
 */
static void
apply_drop_tree(const PaxosDdlOp *op, int64 altered)
{
	DropStmt *stmt = (DropStmt *) paxos_ddl_parse_one(op->sql, T_DropStmt);
	List *named = NIL;
	List *all = NIL;
	List *partners = NIL;
	Oid *relids;
	ListCell *lc;
	ListCell *lp;

	foreach (lc, stmt->objects)
		named = list_append_unique_oid(
			named, paxos_alter_table_named(op, makeRangeVarFromNameList(lfirst(lc)), InvalidOid));
	foreach (lc, named)
		all = list_concat_unique_oid(all, find_all_inheritors(lfirst_oid(lc), NoLock, NULL));
	relids = palloc_array(Oid, list_length(all));
	foreach (lc, all)
	{
		relids[foreach_current_index(lc)] = lfirst_oid(lc);
		paxos_ddl_lock_parts(lfirst_oid(lc));
		foreach (lp, paxos_fkey_partners(lfirst_oid(lc)))
		{
			(void) paxos_lock_for_apply(lfirst_oid(lp), AccessExclusiveLock);
			partners = list_append_unique_oid(partners, lfirst_oid(lp));
		}
	}
	if (stmt->behavior == DROP_RESTRICT)
	{
		paxos_fkey_check_drop(relids, list_length(all), true);
		paxos_object_check_drop(relids, list_length(all), true);
	}
	foreach (lc, all)
		paxos_ddl_forget_table(paxos_table_id(lfirst_oid(lc)), lfirst_oid(lc));
	foreach (lc, named)
	{
		if (get_rel_relkind(lfirst_oid(lc)) != '\0') /* or it has gone with its parent */
			drop_relation(lfirst_oid(lc));
	}
	paxos_objects_purge();
	note_partners_altered(partners, altered);
}

static void
apply_drop_table(const PaxosDdlOp *op, int64 altered)
{
	DropStmt *stmt = (DropStmt *) paxos_ddl_parse_one(op->sql, T_DropStmt);
	Oid *relids = palloc_array(Oid, op->n_tables + 1);
	List *partners = NIL;
	ListCell *lc;

	/* All or none; a table named twice is dropped once. */
	for (int i = 0; i < op->n_tables; i++)
	{
		bool again = false;

		for (int j = 0; j < i; j++)
			again |= op->table_ids[j] == op->table_ids[i];
		relids[i] = InvalidOid;
		if (again)
			continue;
		relids[i] = paxos_ddl_lock_table(op->table_ids[i], AccessExclusiveLock);
		if (!OidIsValid(relids[i]))
		{
			if (stmt->missing_ok)
				continue;
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("table of \"%s\" does not exist", op->sql), paxos_err_decided()));
		}

		paxos_ddl_lock_parts(relids[i]);

		/* foreign keys that go with it */
		foreach (lc, paxos_fkey_partners(relids[i]))
		{
			(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
			partners = list_append_unique_oid(partners, lfirst_oid(lc));
		}
	}
	if (stmt->behavior == DROP_RESTRICT)
	{
		paxos_fkey_check_drop(relids, op->n_tables, true);
		paxos_object_check_drop(relids, op->n_tables, true);
	}

	for (int i = 0; i < op->n_tables; i++)
	{
		if (!OidIsValid(relids[i]))
			continue;
		paxos_ddl_forget_table(op->table_ids[i], relids[i]);
		drop_relation(relids[i]);
	}
	paxos_objects_purge();
	note_partners_altered(partners, altered);
}

static void
apply_drop_index(const PaxosDdlOp *op)
{
	DropStmt *stmt = (DropStmt *) paxos_ddl_parse_one(op->sql, T_DropStmt);
	RangeVar *rv = makeRangeVarFromNameList(linitial(stmt->objects));
	Oid table;
	Oid index = InvalidOid;

	table = op->n_tables >= 1 ? paxos_ddl_lock_table(op->table_ids[0], AccessExclusiveLock)
							  : InvalidOid;
	if (OidIsValid(table))
	{
		index = get_relname_relid(rv->relname, get_rel_namespace(table));
		if (OidIsValid(index) && IndexGetRelation(index, true) != table)
			index = InvalidOid;
	}
	if (!OidIsValid(index))
	{
		if (stmt->missing_ok)
			return;
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("index \"%s\" does not exist", rv->relname), paxos_err_decided()));
	}
	paxos_fkey_check_drop_index(table, index, true);
	for (int i = 1; i < op->n_tables; i++)
		paxos_ddl_lock_parts(paxos_table_relid(op->table_ids[i]));
	(void) paxos_lock_for_apply(index, AccessExclusiveLock);
	drop_relation(index);
	CacheInvalidateRelcacheByRelid(table);
}

/*
 * A statement is carried out on the definition it was tried on, or not at all: what
 * fails on another one - a column that is there already, or gone - would be an
 * error of class 42, which the learner takes for trouble of its node.
 */
static void
check_altered(const PaxosDdlOp *op, LOCKMODE mode)
{
	for (int i = 0; op->altered != NULL && i < op->n_tables; i++)
	{
		bool beside = i == 0 && (op->flags & PAXOS_DDL_BESIDE) != 0;
		Oid relid =
			paxos_ddl_lock_table(op->table_ids[i], beside ? ShareUpdateExclusiveLock : mode);

		if (!OidIsValid(relid) || paxos_table_altered(op->table_ids[i]) != op->altered[i])
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("the definition of the table was changed while the statement "
							"was on its way"),
					 errhint("The statement might succeed if retried."), paxos_err_decided()));
	}
}

static void
note_all_altered(const PaxosDdlOp *op, int64 altered)
{
	for (int i = 0; i < op->n_tables; i++)
	{
		Oid relid = paxos_table_relid(op->table_ids[i]);

		/* SET ACCESS METHOD heap */
		if (OidIsValid(relid))
			note_altered(op->table_ids[i], relid, altered);
	}
}

int
paxos_ddl_begin_apply(void)
{
	int nest_level = NewGUCNestLevel();

	/* As a session would, for it is one in a trial: PGC_S_OVERRIDE stays behind. */
	(void) set_config_option("search_path", "pg_catalog", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, ERROR, false);
	(void) set_config_option("default_tablespace", "", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, ERROR, false);

	/*
	 * Whatever else somebody of this node holds in the catalogs: an error, and
	 * the next try, instead of a wait that nobody sees.
	 */
	(void) set_config_option("lock_timeout", "1s", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
							 ERROR, false);

	/* Event triggers are of this node alone: they must not fire here. */
	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	return nest_level;
}

void
paxos_ddl_apply(const PaxosDdlOp *op, px_slot at_slot, uint32 index, const PaxosReplicated *r,
				px_node origin)
{
	int nest_level = paxos_ddl_begin_apply();
	List *partners;

	paxos_objects_check(op);
	switch (op->kind)
	{
		case PAXOS_DDL_CREATE_TABLE:
			check_altered(op, AccessExclusiveLock);
			apply_create_table(op, PaxosTableId(at_slot, index), r, origin);
			if (op->altered != NULL)
				note_all_altered(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_DROP_TABLE:
			check_altered(op, AccessExclusiveLock);
			if ((op->flags & PAXOS_DDL_TREE) != 0)
				apply_drop_tree(op, PaxosTableId(at_slot, index));
			else
				apply_drop_table(op, PaxosTableId(at_slot, index));
			if (op->altered != NULL)
				note_all_altered(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_CREATE_INDEX:
			check_altered(op, ShareLock);
			apply_create_index(op);
			note_all_altered(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_DROP_INDEX:
			check_altered(op, AccessExclusiveLock);
			apply_drop_index(op);
			note_all_altered(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_ALTER:
			check_altered(op, AccessExclusiveLock);
			partners = paxos_alter_apply(op);
			paxos_objects_purge(); /* DROP COLUMN ... CASCADE */
			note_all_altered(op, PaxosTableId(at_slot, index));
			note_partners_altered(partners, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_NOTE:
			check_altered(op, AccessShareLock);
			(void) paxos_alter_apply(op);
			break;
		case PAXOS_DDL_CREATE_TRIGGER:
			paxos_ddl_apply_create_trigger(op);
			break;
		case PAXOS_DDL_DROP_TRIGGER:
			paxos_ddl_apply_drop_trigger(op);
			break;
		case PAXOS_DDL_FOREIGN_KEY:
			paxos_fkey_apply_alter(op);
			note_all_altered(op, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_CREATE_OBJECT:
		case PAXOS_DDL_ALTER_OBJECT:
		case PAXOS_DDL_NOTE_OBJECT:
			check_altered(op, (op->flags & PAXOS_DDL_VALUES) != 0 ? AccessExclusiveLock
																  : AccessShareLock);
			paxos_object_apply(op, PaxosTableId(at_slot, index), false);
			break;
		case PAXOS_DDL_DROP_OBJECT:
			check_altered(op, AccessExclusiveLock);
			partners = lock_for_drop(op);
			paxos_object_apply(op, PaxosTableId(at_slot, index), false);
			note_partners_altered(partners, PaxosTableId(at_slot, index));
			break;
		case PAXOS_DDL_LEAVE:
			check_altered(op, AccessExclusiveLock);
			apply_leave(op);
			break;
	}

	AtEOXact_GUC(true, nest_level);
}

/* ------------------------------------------------------------------
 * As a snapshot brings it (paxos_snapshot.c)
 * ------------------------------------------------------------------
 */

/*
 * Columns that stand in the place of dropped ones go: what is left has the same
 * numbers as everywhere, and commands name columns by them.
 */
static void
drop_holes(const char *schema, Oid relid)
{
	Relation rel = table_open(relid, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	AlterTableStmt *stmt = makeNode(AlterTableStmt);

	stmt->relation = makeRangeVar(pstrdup(schema), pstrdup(RelationGetRelationName(rel)), -1);
	stmt->objtype = OBJECT_TABLE;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		AlterTableCmd *cmd;

		if (att->attisdropped ||
			strcmp(NameStr(att->attname), psprintf("........pg.dropped.%d........", att->attnum)) !=
				0)
			continue;
		cmd = makeNode(AlterTableCmd);
		cmd->subtype = AT_DropColumn;
		cmd->name = pstrdup(NameStr(att->attname));
		cmd->behavior = DROP_RESTRICT;
		stmt->cmds = lappend(stmt->cmds, cmd);
	}
	table_close(rel, AccessShareLock);
	if (stmt->cmds != NIL)
		paxos_ddl_run_statement((Node *) stmt, "ALTER TABLE");
}

/*
 * In a schema of the loading's own, or of a trial's: where these tables come from, a
 * sequence has another name, or has given way.
 */
static void
sequence_gives_way(const char *name, const char *schema)
{
	Oid nsp = get_namespace_oid(schema, false);
	Oid existing = name != NULL ? get_relname_relid(name, nsp) : InvalidOid;

	if (!OidIsValid(existing) || get_rel_relkind(existing) != RELKIND_SEQUENCE)
		return;
	LockRelationOid(existing, AccessExclusiveLock);
	RenameRelationInternal(existing, ChooseRelationName(name, NULL, "seq", nsp, false), false,
						   false);
	CommandCounterIncrement();
}

Oid
paxos_ddl_create_in(const char *schema, const char *definition)
{
	CreateStmt *stmt = (CreateStmt *) paxos_ddl_parse_one(definition, T_CreateStmt);
	Oid nsp = get_namespace_oid(schema, false);
	List *renamed = NIL;
	ListCell *lc;
	Oid relid;

	/*
	 * The table's own sequences are made first, and by the rule one may have the name that a
	 * key's index has got since.  So that comes by another name, and gets its own when the
	 * sequence can give way.
	 */
	sequence_gives_way(stmt->relation->relname, schema);
	foreach (lc, stmt->tableElts)
	{
		Constraint *c = lfirst(lc);

		if (!IsA(c, Constraint) || c->conname == NULL)
			continue;
		sequence_gives_way(c->conname, schema);
		if ((c->contype != CONSTR_PRIMARY && c->contype != CONSTR_UNIQUE) ||
			strstr(c->conname, "_seq") == NULL)
			continue;
		renamed = lappend(renamed, list_make2(psprintf("paxos_ext_key_%d", list_length(renamed)),
											  pstrdup(c->conname)));
		c->conname = linitial(llast(renamed));
	}
	stmt->relation->schemaname = pstrdup(schema);
	paxos_ddl_run_statement((Node *) stmt, definition);
	relid = get_relname_relid(stmt->relation->relname, nsp);
	if (!OidIsValid(relid))
		elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
	foreach (lc, renamed)
	{
		sequence_gives_way(lsecond(lfirst(lc)), schema);
		RenameRelationInternal(get_relname_relid(linitial(lfirst(lc)), nsp), lsecond(lfirst(lc)),
							   false, true);
		CommandCounterIncrement();
	}
	drop_holes(schema, relid);
	return relid;
}

void
paxos_ddl_run_in(const char *schema, const char *statement)
{
	Node *stmt = linitial_node(RawStmt, raw_parser(statement, RAW_PARSE_DEFAULT))->stmt;

	switch (nodeTag(stmt))
	{
		case T_IndexStmt:
			sequence_gives_way(((IndexStmt *) stmt)->idxname, schema);
			((IndexStmt *) stmt)->relation->schemaname = pstrdup(schema);
			break;
		case T_AlterTableStmt:
			((AlterTableStmt *) stmt)->relation->schemaname = pstrdup(schema);
			break;
		case T_CommentStmt:
			linitial(castNode(List, ((CommentStmt *) stmt)->object)) = makeString(pstrdup(schema));
			break;
		case T_CreatePolicyStmt:
			((CreatePolicyStmt *) stmt)->table->schemaname = pstrdup(schema);
			break;
		default:
			ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
							errmsg("a statement of the snapshot is unknown here: %s", statement)));
	}
	paxos_ddl_run_statement(stmt, statement);
}

void
paxos_ddl_replace_table(int64 table_id, Oid relid)
{
	paxos_ddl_lock_parts(relid);
	paxos_ddl_forget_table(table_id, relid);
	drop_relation(relid);
}

void
paxos_ddl_adopt_table(int64 table_id, Oid relid, int64 altered)
{
	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		paxos_backstop_create(relid);
	record_table(table_id, relid, altered);
	CommandCounterIncrement();
}

void
paxos_ddl_spread_sequence(Oid sequence, int64 least)
{
	spread_sequence(sequence, least);
}
