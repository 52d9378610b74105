/*
 * paxos_request.c
 *	  The table paxos.request: what became of commands that carried a request
 *	  id (protocol.md § 5).
 *
 * A client that must retry across a break of everything (its node died and it
 * asks another) gives its command an id.  The first command with an id that
 * reaches its slot is executed and its result remembered; a later one gets that
 * result and does nothing.
 *
 * Forgetting decides whether a command executes, so it has to be the same on
 * every node.  It depends only on the log: on log time (the leader's stamp on
 * each value, never decreasing), on the retention that travelled in the command
 * itself, and on constants.  Counter-example: node A deletes by its own clock,
 * the client retries, A executes the command a second time and B does not.
 *
 * Invariants:
 * - A row whose expiry is below the log time is as good as absent, whether or
 *	 not it has been deleted yet.
 * - Rows are deleted in the order in which they were decided, a bounded number
 *	 per slot, and more only as far as the bounds on count and bytes ask.  A row
 *	 of long retention at the front keeps younger expired ones from being
 *	 deleted; they stay as good as absent.
 * - requests.count and .bytes equal what is in the table; they stand in the row
 *	 paxos.replicated and change in the same transaction.
 * - 'bytes' of a row counts its images only: the text of an error may differ
 *	 between versions of the server.
 *
 * A crash loses nothing but the hint where the oldest row is.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "paxos_apply.h"
#include "paxos_request.h"

/* Columns of paxos.request; src/sql/30-learner.sql. */
#define REQUEST_ID 1
#define REQUEST_SLOT 2
#define REQUEST_POSITION 3
#define REQUEST_LOG_TIME 4
#define REQUEST_EXPIRES 5
#define REQUEST_BYTES 6
#define REQUEST_RESULT 7
#define REQUEST_COLUMNS 7

/* Expired rows deleted at the end of one slot, at most. */
#define EXPIRED_PER_SLOT 16

/* No row stands at a lower slot.  The index entries of deleted rows pile up in
 * front of the oldest row until a vacuum; starting here steps over them. */
static px_slot oldest_hint = 0;

static Relation
open_requests(const char *index_name, Oid *index)
{
	Oid schema = get_namespace_oid(PAXOS_SCHEMA, false);
	Oid relid = get_relname_relid("request", schema);

	*index = get_relname_relid(index_name, schema);
	if (!OidIsValid(relid) || !OidIsValid(*index) || !paxos_lock_for_apply(relid, RowExclusiveLock))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s or its index \"%s\" is missing", PAXOS_SCHEMA,
							   "request", index_name)));
	return table_open(relid, NoLock);
}

static int64
int64_of(HeapTuple tuple, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetInt64(heap_getattr(tuple, column, desc, &isnull));
}

static void
delete_request(Relation rel, HeapTuple tuple, PaxosRequests *requests)
{
	requests->count--;
	requests->bytes -= int64_of(tuple, RelationGetDescr(rel), REQUEST_BYTES);
	CatalogTupleDelete(rel, &tuple->t_self);
}

bool
paxos_request_find(const pg_uuid_t *id, uint64 log_time_us, PaxosRequests *requests,
				   PaxosCommandResult *result)
{
	Oid index;
	Relation rel = open_requests("request_pkey", &index);
	TupleDesc desc = RelationGetDescr(rel);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	ScanKeyInit(&key, REQUEST_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		if ((uint64) int64_of(tuple, desc, REQUEST_EXPIRES) < log_time_us)
			delete_request(rel, tuple, requests);
		else
		{
			bool isnull;
			bytea *bytes = DatumGetByteaPP(heap_getattr(tuple, REQUEST_RESULT, desc, &isnull));

			if (!paxos_result_decode(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), result))
				ereport(
					ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("result remembered under request id %s cannot be read",
							DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id))))));
			result->replayed = true;
			found = true;
		}
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return found;
}

void
paxos_request_remember(const PaxosCommand *command, px_slot at_slot, uint32 index,
					   uint64 log_time_us, const PaxosCommandResult *result,
					   PaxosRequests *requests)
{
	Oid index_oid;
	Relation rel = open_requests("request_order", &index_oid);
	Datum values[REQUEST_COLUMNS];
	bool nulls[REQUEST_COLUMNS] = {false};
	Size len;
	char *encoded = paxos_result_encode(result, &len);
	bytea *bytes = palloc(VARHDRSZ + len);
	uint64 expires;
	int64 images = 0;
	HeapTuple tuple;

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), encoded, len);
	if (!result->failed)
		images = (result->previous != NULL ? (int64) strlen(result->previous) : 0) +
				 (result->current != NULL ? (int64) strlen(result->current) : 0);
	for (int i = 0; i < result->n_parts; i++)
		images +=
			(result->parts[i].previous != NULL ? (int64) strlen(result->parts[i].previous) : 0) +
			(result->parts[i].current != NULL ? (int64) strlen(result->parts[i].current) : 0);

	/* the retention comes from another node's bytes: it may be absurd */
	expires = Min(log_time_us, (uint64) PG_INT64_MAX);
	expires += Min(command->request_retention_us, (uint64) PG_INT64_MAX - expires);

	values[REQUEST_ID - 1] = UUIDPGetDatum(&command->request_id);
	values[REQUEST_SLOT - 1] = Int64GetDatum((int64) at_slot);
	values[REQUEST_POSITION - 1] = Int32GetDatum((int32) index);
	values[REQUEST_LOG_TIME - 1] = Int64GetDatum((int64) log_time_us);
	values[REQUEST_EXPIRES - 1] = Int64GetDatum((int64) expires);
	values[REQUEST_BYTES - 1] = Int64GetDatum(images);
	values[REQUEST_RESULT - 1] = PointerGetDatum(bytes);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	pfree(bytes);
	pfree(encoded);
	requests->count++;
	requests->bytes += images;
	table_close(rel, NoLock);
}

void
paxos_request_forget(uint64 log_time_us, PaxosRequests *requests)
{
	Oid index_oid;
	Relation rel = open_requests("request_order", &index_oid);
	Relation index = index_open(index_oid, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	int expired = 0;

	ScanKeyInit(&key, REQUEST_SLOT, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) oldest_hint));
	scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool too_much =
			requests->count > PAXOS_MAX_REQUESTS || requests->bytes > PAXOS_MAX_REQUEST_BYTES;
		bool too_old =
			(uint64) int64_of(tuple, RelationGetDescr(rel), REQUEST_EXPIRES) < log_time_us &&
			expired < EXPIRED_PER_SLOT;

		oldest_hint = (px_slot) int64_of(tuple, RelationGetDescr(rel), REQUEST_SLOT);
		if (!too_much && !too_old)
			break;
		if (!too_much)
			expired++;
		delete_request(rel, tuple, requests);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
}

void
paxos_request_reset(void)
{
	oldest_hint = 0;
}
