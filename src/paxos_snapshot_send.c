/*
 * paxos_snapshot_send.c
 *	  Giving a snapshot: this node's consensus tables and what goes with them, as
 *	  they are at one slot, to a member whose log has a hole that no log can fill
 *	  (protocol.md § 8).
 *
 * Owns: paxos.snapshot_open(), snapshot_parts() and snapshot_read(), which a
 * learner (paxos_snapshot.c) calls over a connection of its own, in one
 * transaction.  Not its business: what becomes of it there.
 *
 * snapshot_open locks every consensus table ACCESS SHARE, takes a snapshot, and
 * reads under it the list of tables; if that names one not locked, it locks that
 * and takes another.  In this order, because TRUNCATE and what rewrites a table are
 * not MVCC-safe: seen from a snapshot taken before the lock, a table rewritten in
 * between would be empty.  The snapshot shows paxos.replicated and the tables at
 * one slot, for the learner changes them together.  What the catalogs say is read
 * later and without that snapshot, but for the list of indexes: a table that is
 * locked so can neither go nor get another shape, but it can get an index
 * (ShareLock), whose slot lies above and will be applied there again.
 *
 * The snapshot is ours and not the transaction's: a transaction-wide one is taken
 * before the first function is entered, before any lock.
 *
 * Rows leave through one cursor per table, a piece of about PIECE_BYTES at each
 * call: memory does not depend on the table.  They are written as COPY writes them
 * in binary, which is exact and the same in all versions; COPY itself would need
 * privileges on every table for the peer's role, and cannot be sent from within a
 * function.
 *
 * Functions are SECURITY DEFINER: peers have no rights on tables.  Only who has
 * opened a snapshot in this transaction can read from it, and only members can.
 *
 * While a snapshot is being read, and for a while after, this node's log keeps
 * what lies above its slot (serving_slot): else the receiver would find itself
 * where it began.
 *
 * DROP TABLE and what else needs the table for itself is applied by the learner of
 * this node, which ends whoever holds a lock in its way, us too: the receiver
 * begins anew.
 *
 * All state belongs to the transaction; a crash ends it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_acceptor.h"
#include "paxos_alarm.h"
#include "paxos_apply.h"
#include "paxos_ddl.h"
#include "paxos_object.h"
#include "paxos_read.h"
#include "paxos_snapshot.h"

#define PIECE_BYTES (1024 * 1024)

/* How long after the last piece the log is kept for the receiver, at most. */
#define SERVE_US (UINT64CONST(10) * 60 * 1000 * 1000)

PG_FUNCTION_INFO_V1(paxos_sql_snapshot_open);
PG_FUNCTION_INFO_V1(paxos_sql_snapshot_parts);
PG_FUNCTION_INFO_V1(paxos_sql_snapshot_objects);
PG_FUNCTION_INFO_V1(paxos_sql_snapshot_read);

typedef struct Part
{
	int64 table_id; /* 0: one of ours */
	Oid relid;
	int64 altered;
	char *query;  /* what is read of it */
	char *portal; /* name of its cursor; NULL: not begun */
	bool done;
	FmgrInfo *send; /* output function of each column */
} Part;

/* Everything in TopTransactionContext; forgotten when the transaction ends. */
static Snapshot kept = NULL;
static List *parts = NIL; /* of Part * */
static px_slot kept_slot = 0;

static void
forget(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (kept != NULL)
				UnregisterSnapshotFromOwner(kept, TopTransactionResourceOwner);
			kept = NULL;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			kept = NULL;
			parts = NIL;
			break;
		default:
			break;
	}
}

static void
watch_transaction(void)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(forget, NULL);
	watching = true;
}

static void
require_open(void)
{
	if (kept == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("no snapshot is open in this transaction"),
						errhint("Call paxos.snapshot_open() first.")));
}

/* The log stays above the slot for so long. */
static void
hold_log(void)
{
	px_usec now = paxos_now_us();

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	if (now >= paxos_shared->serving_until || kept_slot < paxos_shared->serving_slot)
		paxos_shared->serving_slot = kept_slot;
	paxos_shared->serving_until = now + SERVE_US;
	LWLockRelease(paxos_learner_lock);
}

static void
query_now(const char *sql)
{
	int rc = SPI_execute(sql, true, 0);

	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not read for a snapshot: %s", SPI_result_code_string(rc));
}

static Datum
value_at(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

static char *
text_at(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

static Part *
add_part(int64 table_id, Oid relid, const char *condition)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Part *part = palloc0(sizeof(Part));
	Relation rel = table_open(relid, NoLock);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData query;
	bool any = false;

	part->table_id = table_id;
	part->relid = relid;
	part->send = palloc0_array(FmgrInfo, desc->natts);

	/* what COPY of the whole table takes */
	initStringInfo(&query);
	appendStringInfoString(&query, "SELECT ");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		appendStringInfo(&query, "%s%s", any ? ", " : "", quote_identifier(NameStr(att->attname)));
		any = true;
	}
	appendStringInfo(&query, " FROM ONLY %s%s",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)),
					 condition);
	part->query = query.data;
	table_close(rel, NoLock);
	parts = lappend(parts, part);
	MemoryContextSwitchTo(old);
	return part;
}

/*
 * Lock, look, and look again: when it returns, 'kept' is a snapshot taken after
 * every table that its own list of tables names was locked.  SPI is connected;
 * SPI_tuptable is that list.
 */
static void
keep_snapshot(void)
{
	static const char *const own[] = {"replicated", "tables",   "request", "configuration",
									  "window",     "set_part", "object"};
	List *locked = NIL;

	paxos_read_as_it_is();
	for (int i = 0; i < lengthof(own); i++)
		LockRelationOid(paxos_internal_relid(own[i]), AccessShareLock);
	for (;;)
	{
		bool all = true;

		kept = RegisterSnapshotOnOwner(GetLatestSnapshot(), TopTransactionResourceOwner);
		PushActiveSnapshot(kept);
		query_now("SELECT table_id, relid::oid, altered FROM paxos.tables ORDER BY table_id");
		PopActiveSnapshot();
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool isnull;
			Oid relid = DatumGetObjectId(value_at(i, 2, &isnull));

			if (list_member_oid(locked, relid))
				continue;
			LockRelationOid(relid, AccessShareLock);
			locked = lappend_oid(locked, relid);
			all = false;
		}
		if (all)
			return;
		UnregisterSnapshotFromOwner(kept, TopTransactionResourceOwner);
		kept = NULL;
	}
}

Datum
paxos_sql_snapshot_open(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[9];
	bool nulls[9];
	HeapTupleHeader row;

	(void) paxos_peer_check(fcinfo, NULL);
	if (paxos_alarm_highest(PAXOS_ALARM_DIVERGENCE) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node's own state is in doubt"),
						errdetail("It differs from that of other members.")));
	if (kept != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a snapshot is open in this transaction already")));
	if (!IsTransactionBlock())
		ereport(ERROR, (errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
						errmsg("a snapshot can only be opened in a transaction block")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	watch_transaction();
	parts = NIL;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	keep_snapshot();
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Part *part = add_part(DatumGetInt64(value_at(i, 1, &isnull)),
							  DatumGetObjectId(value_at(i, 2, &isnull)), "");

		part->altered = DatumGetInt64(value_at(i, 3, &isnull));
	}

	PushActiveSnapshot(kept);
	query_now("SELECT applied, digest, log_time_us, origins, requests, request_bytes,"
			  " configuration, window_from, window_used FROM paxos.replicated");
	if (SPI_processed != 1)
		elog(ERROR, "%s.replicated has " UINT64_FORMAT " rows", PAXOS_SCHEMA, SPI_processed);
	PopActiveSnapshot();
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, values, nulls);
	kept_slot = (px_slot) DatumGetInt64(values[0]);
	(void) add_part(0, paxos_internal_relid("request"), "");
	(void) add_part(0, paxos_internal_relid("window"), "");
	(void) add_part(0, paxos_internal_relid("set_part"), "");
	(void) add_part(0, paxos_internal_relid("configuration"),
					psprintf(" WHERE slot <= " UINT64_FORMAT, kept_slot));
	hold_log();

	desc = BlessTupleDesc(desc);
	row = SPI_returntuple(heap_form_tuple(desc, values, nulls), desc);
	SPI_finish();
	PG_RETURN_HEAPTUPLEHEADER(row);
}

/*
 * ---- what there is ----
 */

/* A column of texts, as an array in the caller's context. */
static Datum
texts_of_query(const char *sql, Oid relid, MemoryContext where)
{
	Oid types[1] = {OIDOID};
	Datum args[1] = {ObjectIdGetDatum(relid)};
	MemoryContext old;
	Datum *texts;
	Datum array;
	int n;
	int rc;

	PushActiveSnapshot(kept);
	rc = SPI_execute_with_args(sql, 1, types, args, NULL, true, 0);
	PopActiveSnapshot();
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not read for a snapshot: %s", SPI_result_code_string(rc));
	n = (int) SPI_processed;
	texts = palloc_array(Datum, Max(n, 1));
	for (int i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(text_at(i, 1));
	old = MemoryContextSwitchTo(where);
	array = PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
	MemoryContextSwitchTo(old);
	return array;
}

/* What comes behind the rows, as of the snapshot: indexes, and what CREATE TABLE cannot say. */
static const char *const indexes_query = "SELECT * FROM paxos.table_rest($1)";

/*
 * Statements with the privileges that others than the owner have on the table and
 * its columns.  Privileges are no part of the log: as they are now.
 */
const char *const paxos_grants_query =
	"SELECT format('GRANT %s%s ON TABLE %I.%I TO %s%s', a.privilege_type,"
	" '(' || quote_ident(a.attname) || ')', n.nspname, c.relname,"
	" CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
	" CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,"
	" LATERAL (SELECT NULL::name AS attname, x.* FROM aclexplode(c.relacl) x UNION ALL"
	"  SELECT b.attname, x.* FROM pg_attribute b, aclexplode(b.attacl) x"
	"  WHERE b.attrelid = c.oid AND NOT b.attisdropped) a"
	" WHERE c.oid = $1 AND a.grantee <> c.relowner";

/*
 * With the table at the top of a tree of partitions, all that puts these in their places;
 * foreign keys (paxos_fkey.c) and users' triggers (paxos_trigger.c).
 */
static const char *const afterwards_query =
	"WITH RECURSIVE t(relid, level) AS (SELECT c.oid, 0 FROM pg_class c"
	"  WHERE c.oid = $1 AND c.relkind = 'p' AND NOT c.relispartition"
	"  UNION ALL SELECT h.inhrelid, level + 1 FROM t JOIN pg_inherits h ON h.inhparent = t.relid)"
	"SELECT s.statement FROM (SELECT 0 AS part, row_number() OVER (ORDER BY p.pass, p.place, t.level,"
	"  t.relid) AS oid, p.statement FROM t, paxos.table_place(t.relid::regclass) p"
	" UNION ALL SELECT 1, c.oid::bigint, format('ALTER TABLE %s ADD CONSTRAINT %I %s',"
	"  c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) AS statement"
	"  FROM pg_constraint c WHERE c.conrelid = $1 AND c.contype = 'f' AND c.conparentid = 0"
	/* the functions of its triggers, for who has none of that name */
	" UNION ALL SELECT 2, f.oid::bigint, format('DO %L', format('BEGIN IF to_regprocedure(%L) IS NULL THEN"
	"  EXECUTE %L; EXECUTE %L; %sEND IF; END', f.name, pg_get_functiondef(f.oid),"
	"  format('ALTER FUNCTION %s OWNER TO %I', f.name, pg_get_userbyid(f.proowner)),"
	"  CASE WHEN has_function_privilege('public', f.oid, 'EXECUTE') THEN ''"
	"   ELSE format('EXECUTE %L; ', format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f.name)) END))"
	"  FROM (SELECT p.oid, p.proowner, p.oid::regprocedure::text AS name FROM pg_trigger t"
	"   JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang"
	"   WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND l.lanname = 'plpgsql') f"
	" UNION ALL SELECT 3, t.oid::bigint, pg_get_triggerdef(t.oid) FROM pg_trigger t WHERE t.tgrelid = $1"
	"  AND NOT t.tgisinternal"
	" UNION ALL SELECT 4, t.oid::bigint, format('ALTER TABLE %s %s TRIGGER %I', $1::regclass,"
	"  CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)"
	"  FROM pg_trigger t WHERE t.tgrelid = $1 AND NOT t.tgisinternal AND t.tgenabled <> 'O'"
	" UNION ALL SELECT 5, t.oid::bigint, format('COMMENT ON TRIGGER %I ON %s IS %L', t.tgname, $1::regclass, d.description)"
	"  FROM pg_trigger t JOIN pg_description d ON d.classoid = 'pg_trigger'::regclass AND d.objoid = t.oid"
	"  WHERE t.tgrelid = $1 AND NOT t.tgisinternal"
	" ) s ORDER BY s.part, s.oid";

static Oid
owner_of_schema(Oid nsp)
{
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema %u", nsp);
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

Datum
paxos_sql_snapshot_parts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = CurrentMemoryContext;
	ListCell *lc;

	require_open();
	InitMaterializedSRF(fcinfo, 0);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	foreach (lc, parts)
	{
		Part *part = lfirst(lc);
		Relation rel = table_open(part->relid, NoLock);
		bool made = part->table_id != 0 && part->table_id != PAXOS_KV_TABLE_ID;
		Datum values[12];
		bool nulls[12] = {false};

		values[0] = Int32GetDatum(foreach_current_index(lc));
		values[1] = Int64GetDatum(part->table_id);
		values[2] = CStringGetTextDatum(get_namespace_name(RelationGetNamespace(rel)));
		values[3] = CStringGetTextDatum(
			GetUserNameFromId(owner_of_schema(RelationGetNamespace(rel)), false));
		values[4] = CStringGetTextDatum(RelationGetRelationName(rel));
		values[5] = CStringGetTextDatum(GetUserNameFromId(rel->rd_rel->relowner, false));
		values[6] = DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(part->relid));
		if (made)
		{
			values[7] = CStringGetTextDatum(paxos_ddl_describe_table(part->relid, true));
			values[8] = texts_of_query(indexes_query, part->relid, caller);
			values[10] = texts_of_query(afterwards_query, part->relid, caller);
		}
		else
			nulls[7] = nulls[8] = nulls[10] = true;
		if (part->table_id != 0)
			values[9] = texts_of_query(paxos_grants_query, part->relid, caller);
		else
			nulls[9] = true;
		values[11] = Int64GetDatum(part->altered);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		table_close(rel, NoLock);
	}
	SPI_finish();
	return (Datum) 0;
}

/*
 * Definitions of objects and tables are those of the snapshot only if no object was changed
 * since; so this comes after snapshot_parts().
 */
static void
check_objects(List *objects)
{
	bool same;
	ListCell *lc;

	PushActiveSnapshot(kept);
	query_now("SELECT object_id, altered FROM paxos.object");
	PopActiveSnapshot();
	same = list_length(objects) == (int) SPI_processed;
	foreach (lc, objects)
	{
		PaxosObjectPart *part = lfirst(lc);
		bool found = false;

		for (uint64 i = 0; i < SPI_processed && !found; i++)
		{
			bool isnull;

			found = DatumGetInt64(value_at(i, 1, &isnull)) == part->id &&
					DatumGetInt64(value_at(i, 2, &isnull)) == part->altered;
		}
		same = same && found;
	}
	if (!same)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("definitions were changed while the snapshot was being described"),
						errhint("It can be asked for again.")));
}

Datum
paxos_sql_snapshot_objects(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List *objects;
	List *again;
	ListCell *lc;
	ListCell *la;

	require_open();
	InitMaterializedSRF(fcinfo, 0);
	objects = paxos_object_describe_all();
	AcceptInvalidationMessages();
	again = paxos_object_describe_all();
	forboth (lc, objects, la, again)
	{
		PaxosObjectPart *a = lfirst(lc);
		PaxosObjectPart *b = lfirst(la);

		/* described while it was being changed */
		if (a->id != b->id || a->altered != b->altered || strcmp(a->definition, b->definition) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("definitions were changed while the snapshot was being described"),
					 errhint("It can be asked for again.")));
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	check_objects(again);
	SPI_finish();
	foreach (lc, objects)
	{
		PaxosObjectPart *part = lfirst(lc);
		Datum *texts = palloc_array(Datum, Max(list_length(part->rest), 1));
		Datum values[6];
		bool nulls[6] = {false};
		ListCell *lr;

		foreach (lr, part->rest)
			texts[foreach_current_index(lr)] = CStringGetTextDatum(lfirst(lr));
		values[0] = Int64GetDatum(part->id);
		values[1] = Int64GetDatum(part->altered);
		values[2] = BoolGetDatum(part->late);
		values[3] = CStringGetTextDatum(part->owner);
		values[4] = CStringGetTextDatum(part->definition);
		values[5] = PointerGetDatum(
			construct_array(texts, list_length(part->rest), TEXTOID, -1, false, TYPALIGN_INT));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * ---- rows ----
 */

static Portal
cursor_of(Part *part)
{
	SPIPlanPtr plan;
	Portal portal;

	if (part->portal != NULL)
		return SPI_cursor_find(part->portal);

	plan = SPI_prepare(part->query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", part->query,
			 SPI_result_code_string(SPI_result));
	PushActiveSnapshot(kept);
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	PopActiveSnapshot();
	part->portal = MemoryContextStrdup(TopTransactionContext, portal->name);
	for (int i = 0; i < portal->tupDesc->natts; i++)
	{
		Oid send;
		bool varlena;

		getTypeBinaryOutputInfo(TupleDescAttr(portal->tupDesc, i)->atttypid, &send, &varlena);
		fmgr_info_cxt(send, &part->send[i], TopTransactionContext);
	}
	return portal;
}

/* One row as COPY writes it in binary. */
static void
write_row(StringInfo out, Part *part, HeapTuple tuple, TupleDesc desc)
{
	Datum *values = palloc_array(Datum, desc->natts);
	bool *nulls = palloc_array(bool, desc->natts);

	heap_deform_tuple(tuple, desc, values, nulls);
	pq_sendint16(out, desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		bytea *bytes;

		if (nulls[i])
		{
			pq_sendint32(out, -1);
			continue;
		}
		bytes = SendFunctionCall(&part->send[i], values[i]);
		pq_sendint32(out, VARSIZE(bytes) - VARHDRSZ);
		appendBinaryStringInfo(out, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
	}
}

Datum
paxos_sql_snapshot_read(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext row_cxt;
	TupleDesc result_desc;
	Datum result[2];
	bool result_nulls[2] = {false, true};
	StringInfoData out;
	Part *part;
	Portal portal;
	int64 rows = 0;
	int n;

	require_open();
	n = PG_ARGISNULL(0) ? -1 : PG_GETARG_INT32(0);
	if (n < 0 || n >= list_length(parts))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the snapshot has no part %d", n)));
	if (get_call_result_type(fcinfo, NULL, &result_desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	part = list_nth(parts, n);

	initStringInfo(&out);
	appendStringInfoSpaces(&out, VARHDRSZ); /* becomes the header */
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	row_cxt = AllocSetContextCreate(caller, "paxos snapshot rows", ALLOCSET_DEFAULT_SIZES);
	portal = part->done ? NULL : cursor_of(part);
	while (!part->done && out.len < PIECE_BYTES)
	{
		MemoryContext old;

		/* One by one: how large a row is is known when it is written. */
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, 1);
		if (SPI_processed == 0)
		{
			SPI_cursor_close(portal);
			part->done = true;
			break;
		}
		old = MemoryContextSwitchTo(row_cxt);
		write_row(&out, part, SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
		MemoryContextSwitchTo(old);
		MemoryContextReset(row_cxt);
		SPI_freetuptable(SPI_tuptable);
		rows++;
	}
	SPI_finish();
	MemoryContextDelete(row_cxt);
	hold_log();

	result[0] = Int64GetDatum(rows);
	if (rows > 0)
	{
		SET_VARSIZE(out.data, out.len);
		result[1] = PointerGetDatum(out.data);
		result_nulls[1] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(result_desc), result, result_nulls));
}
