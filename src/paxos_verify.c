/*
 * paxos_verify.c
 *	  Comparing the contents of a table on all nodes at one slot: paxos_verify()
 *	  (protocol.md § 6).
 *
 * A command through the log.  At its slot every learner reads the whole table, as
 * it is after all slots before, and computes number and digest of its rows.  The
 * answer goes the way of every result: into the running digest, so that a node
 * whose table differs raises the alarm "divergence" by itself
 * (paxos_divergence.c), whoever asked and whether he waits for it or not; and into
 * the table paxos.verification, where the session that called asks for it on
 * every node.
 *
 * The digest is a sum over rows, so that their order does not matter, which is
 * different on every node; the primary key sees to it that no two are equal.  A
 * row is folded column by column as text under the learner's fixed settings, so
 * that nodes of different machines and versions agree.  What it does not see:
 * indexes, and dead rows.
 *
 * A table that cannot be read through (damaged pages, XX001) is no reason to stop
 * applying for ever: the error is that node's result, differs from the others',
 * and is an alarm for that.
 *
 * Every learner applies nothing else while it reads: a table of some gigabytes
 * holds up the cluster for as long as one scan takes.  Said in the manual.
 *
 * No state but the table, of which the last rows are kept; it is this node's own
 * record and not part of the replicated state.
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_conn.h"
#include "paxos_node.h"
#include "paxos_replicated.h"
#include "paxos_text.h"
#include "paxos_verify.h"

PG_FUNCTION_INFO_V1(paxos_verify);
PG_FUNCTION_INFO_V1(paxos_sql_verified);

#define LOOK_MS 50L
#define KEPT_VERIFICATIONS 100

/* ---- at the slot ---- */

static uint64
row_digest(TupleTableSlot *row, const FmgrInfo *outputs)
{
	TupleDesc desc = row->tts_tupleDescriptor;
	uint64 digest = 0;

	slot_getallattrs(row);
	for (int i = 0; i < desc->natts; i++)
	{
		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		digest = paxos_digest_fold(digest, i + 1);
		digest = paxos_digest_text(
			digest, row->tts_isnull[i]
						? NULL
						: OutputFunctionCall((FmgrInfo *) &outputs[i], row->tts_values[i]));
	}
	return digest;
}

void
paxos_verify_apply(const PaxosVerifyOp *op, PaxosCommandResult *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext row_cxt;
	Oid relid = paxos_table_relid(op->table_id);
	Relation rel;
	TupleDesc desc;
	FmgrInfo *outputs;
	TableScanDesc scan;
	TupleTableSlot *row;
	Oid save_user;
	int save_context;
	int nest_level;
	uint64 rows = 0;
	uint64 sum = 0;

	memset(result, 0, sizeof(*result));
	result->table_id = op->table_id;
	if (!OidIsValid(relid))
	{
		result->failed = true;
		result->sqlstate = ERRCODE_UNDEFINED_TABLE;
		result->message = pstrdup("the table does not exist any more");
		return;
	}
	if (!paxos_lock_for_apply(relid, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("relation %u of consensus table " INT64_FORMAT " is missing on this node",
						relid, op->table_id)));
	rel = table_open(relid, NoLock);

	/* Output functions are the column types'; as the owner, as everything of his. */
	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, save_context | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();

	desc = RelationGetDescr(rel);
	outputs = paxos_outputs(desc);
	row_cxt = AllocSetContextCreate(caller, "paxos verify row", ALLOCSET_DEFAULT_SIZES);
	row = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(row_cxt);
		sum += row_digest(row, outputs);
		rows++;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(row_cxt);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	MemoryContextDelete(row_cxt);
	table_close(rel, NoLock);

	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(save_user, save_context);

	result->applied = true;
	result->current =
		psprintf("{\"rows\": " UINT64_FORMAT ", \"digest\": \"%016" PRIx64 "\"}", rows, sum);
}

/*
 * 'current' is read again by whoever asks, so that the session's own answer and
 * the others' are made of the same bytes.
 */
void
paxos_verify_keep(const PaxosVerifyOp *op, px_slot slot, const PaxosCommandResult *result)
{
	Oid types[4] = {INT8OID, INT8OID, TEXTOID, TEXTOID};
	Datum values[4] = {0};
	char nulls[4] = {' ', ' ', ' ', ' '};

	values[0] = Int64GetDatum((int64) slot);
	values[1] = Int64GetDatum(op->table_id);
	if (result->failed)
	{
		nulls[2] = 'n';
		values[3] = CStringGetTextDatum(result->message != NULL ? result->message : "failed");
	}
	else
	{
		values[2] = CStringGetTextDatum(result->current);
		nulls[3] = 'n';
	}
	SPI_connect();
	if (SPI_execute_with_args(
			"INSERT INTO paxos.verification SELECT $1, $2, ($3::json ->> 'rows')::bigint, "
			"$3::json ->> 'digest', $4 "
			"ON CONFLICT (slot, table_id) DO UPDATE SET row_count = excluded.row_count, "
			"digest = excluded.digest, error = excluded.error",
			4, types, values, nulls, false, 0) != SPI_OK_INSERT ||
		SPI_execute(
			"DELETE FROM paxos.verification WHERE slot < (SELECT slot FROM paxos.verification "
			"ORDER BY slot DESC OFFSET " CppAsString2(KEPT_VERIFICATIONS) " LIMIT 1)",
			false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not keep a verification");
	SPI_finish();
}

/* ---- asking ---- */

/*
 * paxos.verified(cluster, version, sender, slot, table_id): what came of it on
 * this node; no row if it has not applied the slot.
 */
Datum
paxos_sql_verified(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	px_slot slot;
	px_slot applied;
	uint64 table_id;
	Oid relid;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	(void) paxos_peer_check(fcinfo, NULL);
	slot = paxos_arg_u64(fcinfo, 3, "slot");
	table_id = paxos_arg_u64(fcinfo, 4, "table_id");
	InitMaterializedSRF(fcinfo, 0);

	/*
	 * Watermark first, snapshot second.  Before it has applied the slot, a row of
	 * that number would be another cluster's, of which this node was a member once.
	 */
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	applied = paxos_shared->applied;
	LWLockRelease(paxos_learner_lock);
	if (applied < slot)
		return (Datum) 0;

	/* A hundred rows; and those who ask have no rights on the table. */
	relid = paxos_internal_relid("verification");
	if (!OidIsValid(relid))
		return (Datum) 0;
	rel = table_open(relid, AccessShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Datum values[5];
		bool nulls[5];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if ((px_slot) DatumGetInt64(values[0]) != slot ||
			(uint64) DatumGetInt64(values[1]) != table_id)
			continue;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values + 2, nulls + 2);
		found = true;
	}
	table_endscan(scan);
	PopActiveSnapshot();
	table_close(rel, AccessShareLock);
	if (!found)
	{
		Datum values[3] = {0};
		bool nulls[3] = {true, true, false};

		values[2] = CStringGetTextDatum("it loaded a snapshot instead of applying the slot");
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

typedef struct Report
{
	char *rows; /* NULL: not known */
	char *digest;
	char *note; /* why not */
} Report;

static Report
ask_member(const PaxosMember *m, px_slot slot, int64 table_id, px_usec deadline)
{
	static uint32 wait_event = 0;
	Report report = {0};
	const char *params[5];
	char *error = NULL;
	PaxosConn *conn;

	params[0] =
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&paxos_shared->cluster_id)));
	params[1] = psprintf("%d", paxos_version_with(m->node));
	params[2] = psprintf("%u", paxos_shared->node_id);
	params[3] = psprintf(UINT64_FORMAT, slot);
	params[4] = psprintf(INT64_FORMAT, table_id);

	conn = paxos_conn_open(m->conninfo, paxos_connect_timeout_ms, false, &error);
	if (conn == NULL)
	{
		report.note = error != NULL ? error : pstrdup("could not connect");
		return report;
	}
	for (;;)
	{
		PGresult *res =
			paxos_conn_exec(conn,
							"SELECT * FROM paxos.verified($1::uuid, $2::int, $3::int, $4::bigint, "
							"$5::bigint)",
							5, params, 0, Max(paxos_connect_timeout_ms, 1000), &error);

		if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK)
		{
			report.note = res == NULL ? (error != NULL ? error : pstrdup("no answer"))
									  : pchomp(PQresultErrorMessage(res));
			PQclear(res);
			break;
		}
		if (PQntuples(res) > 0)
		{
			if (PQgetisnull(res, 0, 1))
				report.note = pstrdup(PQgetvalue(res, 0, 2));
			else
			{
				report.rows = pstrdup(PQgetvalue(res, 0, 0));
				report.digest = pstrdup(PQgetvalue(res, 0, 1));
			}
			PQclear(res);
			break;
		}
		PQclear(res);
		if (paxos_now_us() >= deadline)
		{
			report.note = psprintf("it has not applied slot " UINT64_FORMAT " yet", slot);
			break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
						 paxos_wait_event(&wait_event, "PaxosVerify"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	paxos_conn_close(conn);
	return report;
}

/*
 * paxos_verify(tbl regclass): a row for each member.  "agrees": more than half of
 * those that reported have the same; null for one that did not report.
 */
Datum
paxos_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid relid;
	PaxosCommand command;
	PaxosCommandResult result;
	px_slot slot;
	List *members;
	Report *reports;
	int n = 0;
	int reported = 0;
	px_usec deadline;
	ListCell *lc;

	paxos_require_preload();
	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("%s cannot run inside a transaction block or subtransaction",
							   "paxos_verify()"),
						errdetail("It would look at the other nodes under a snapshot of this one."),
						errhint("Call it in a statement of its own.")));
	paxos_require_member();
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("tbl must not be null")));
	relid = PG_GETARG_OID(0);
	if (get_rel_name(relid) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE && paxos_table_id(relid) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is a partitioned table, which has no rows of its own",
					get_rel_name(relid)),
			 errhint("Call paxos_verify() for its partitions, which pg_partition_tree() lists.")));
	if (get_rel_relkind(relid) != RELKIND_RELATION || paxos_table_id(relid) == 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a consensus-backed table", get_rel_name(relid))));
	InitMaterializedSRF(fcinfo, 0);

	memset(&command, 0, sizeof(command));
	command.kind = PAXOS_COMMAND_VERIFY;
	command.u.verify.table_id = paxos_table_id(relid);
	slot = paxos_api_submit(&command, &result);
	if (result.failed && ERRCODE_TO_CATEGORY(result.sqlstate) != ERRCODE_INTERNAL_ERROR)
		paxos_result_raise(&result);

	deadline = paxos_statement_timeout_ms == 0
				   ? PG_INT64_MAX
				   : paxos_now_us() + (px_usec) paxos_statement_timeout_ms * 1000;
	members = paxos_node_members();
	reports = palloc0(sizeof(Report) * Max(list_length(members), 1));
	foreach (lc, members)
	{
		reports[n] = ask_member(lfirst(lc), slot, command.u.verify.table_id, deadline);
		if (reports[n++].digest != NULL)
			reported++;
	}

	for (int i = 0; i < n; i++)
	{
		PaxosMember *m = list_nth(members, i);
		Datum values[7] = {0};
		bool nulls[7] = {false};
		int same = 0;

		for (int j = 0; j < n && reports[i].digest != NULL; j++)
			same += reports[j].digest != NULL &&
					strcmp(reports[i].digest, reports[j].digest) == 0 &&
					strcmp(reports[i].rows, reports[j].rows) == 0;
		values[0] = Int32GetDatum(m->node);
		values[1] = CStringGetTextDatum(m->name);
		values[2] = Int64GetDatum((int64) slot);
		nulls[3] = nulls[4] = nulls[5] = reports[i].digest == NULL;
		if (reports[i].digest != NULL)
		{
			values[3] = DirectFunctionCall1(int8in, CStringGetDatum(reports[i].rows));
			values[4] = CStringGetTextDatum(reports[i].digest);
			values[5] = BoolGetDatum(2 * same > reported);
		}
		nulls[6] = reports[i].note == NULL;
		if (reports[i].note != NULL)
			values[6] = CStringGetTextDatum(reports[i].note);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
