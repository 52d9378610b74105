/*
 * paxos_log.c
 *	  The log table paxos.log_entry, the one row of paxos.acceptor, the
 *	  transaction-long lock that guards both, and paxos.fetch().
 *
 * Owns: how entries are found, put and read.  Not its business: whether they
 * may be (paxos_acceptor.c asks the core), and when shared memory learns of it.
 *
 * Tables are read and written through the heap and index routines, not
 * through SPI: an accept is on the path of every write, and the callers, members
 * of paxos_peer, have no rights on the tables.
 *
 * Who may read what, and why that is right:
 *
 * - A writer holds the acceptor lock, and takes its snapshot after it has it.
 *	 Taken before, the snapshot would not see what the former holder committed,
 *	 and the second of two Accepts for one slot (a stale stream's and the new
 *	 one's) would not find the entry that the first put there: two rows for one
 *	 slot, stopped only by the unique index.
 *
 * - A reader of entries known chosen needs no lock.  px_acceptor.chosen moves
 *	 after the entries are committed, so a snapshot taken after reading it
 *	 sees them all; an entry at or below it, and one marked chosen, is never
 *	 replaced.  Truncation may delete them meanwhile: then the first one is
 *	 missing, which fetch reports as truncated rather than skipping it.
 *
 * A crash: an entry is in the log if its transaction's commit record was
 * flushed, and only then was it answered (protocol.md §§ 2, 4, 8).
 */
#include "postgres.h"

#include <signal.h>

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"

#include "paxos_acceptor.h"
#include "paxos_alarm.h"
#include "paxos_configuration.h"

/* Columns of paxos.log_entry and paxos.acceptor; src/sql/10-schema.sql. */
#define LOG_SLOT 1
#define LOG_BALLOT 2
#define LOG_CHOSEN 3
#define LOG_VALUE 4
#define LOG_COLUMNS 4

#define ACCEPTOR_PROMISED 1
#define ACCEPTOR_TRUNCATED 2
#define ACCEPTOR_LEASE 3
#define ACCEPTOR_COLUMNS 3

PG_FUNCTION_INFO_V1(paxos_sql_fetch);

/*
 * ---- the acceptor lock ----
 *
 * A heavyweight lock, because it must last until after the commit record is
 * flushed: a lightweight one would hold off interrupts over the disk's time.
 * Field 4 is ours alone: users' advisory locks have 1 or 2 there, and
 * autovacuum, which takes relation locks, never meets it.
 */
/* A holder that keeps the lock this long while others wait is ended. */
#define LOCK_HELD_TOO_LONG_US (UINT64CONST(10) * 1000 * 1000)
#define LOCK_LOOK_MS 1000

/* What one transaction deletes: voting waits for its end. */
#define DELETE_ENTRIES 512
#define DELETE_BYTES (4 * 1024 * 1024)

static int lock_depth = 0;

static void
set_lock_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, PAXOS_LOCK_ACCEPTOR, PAXOS_LOCK_FIELD4);
}

/*
 * In a signal handler, while this process sleeps for the lock.  The holder may
 * have changed between the two reads: then a younger one is ended, its peer
 * sees the stream close and opens another.
 */
static void
end_overdue_holder(void)
{
	uint64 since = pg_atomic_read_u64(&paxos_shared->lock_held_since_us);
	int pid = (int) pg_atomic_read_u64(&paxos_shared->lock_holder_pid);

	if (pid != 0 && pid != MyProcPid && since != 0 &&
		paxos_now_us() > since + LOCK_HELD_TOO_LONG_US)
		kill(pid, SIGTERM);
}

void
paxos_acceptor_lock_acquire(void)
{
	static bool registered = false;
	static TimeoutId look;
	LOCKTAG tag;

	paxos_acceptor_watch_transaction();
	set_lock_tag(&tag);
	if (LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		if (!registered)
		{
			look = RegisterTimeout(USER_TIMEOUT, end_overdue_holder);
			registered = true;
		}
		enable_timeout_every(look, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOCK_LOOK_MS),
							 LOCK_LOOK_MS);
		PG_TRY();
		{
			(void) LockAcquire(&tag, ExclusiveLock, false, false);
		}
		PG_FINALLY();
		{
			disable_timeout(look, false);
		}
		PG_END_TRY();
	}
	if (lock_depth++ == 0)
	{
		pg_atomic_write_u64(&paxos_shared->lock_held_since_us, paxos_now_us());
		pg_atomic_write_u64(&paxos_shared->lock_holder_pid, MyProcPid);
	}
}

void
paxos_acceptor_lock_release(void)
{
	LOCKTAG tag;

	Assert(lock_depth > 0);
	if (lock_depth == 1)
		paxos_acceptor_lock_forget();
	else
		lock_depth--;
	set_lock_tag(&tag);
	(void) LockRelease(&tag, ExclusiveLock, false);
}

void
paxos_acceptor_lock_forget(void)
{
	if (lock_depth == 0)
		return;
	lock_depth = 0;
	pg_atomic_write_u64(&paxos_shared->lock_holder_pid, 0);
	pg_atomic_write_u64(&paxos_shared->lock_held_since_us, 0);
}

/*
 * ---- tables ----
 */

/*
 * Two look-ups in the syscache: cheap, and right after DROP EXTENSION and
 * CREATE EXTENSION without an invalidation callback of our own.
 */
Oid
paxos_internal_relid(const char *name)
{
	Oid namespace_oid = get_namespace_oid(PAXOS_SCHEMA, true);

	return OidIsValid(namespace_oid) ? get_relname_relid(name, namespace_oid) : InvalidOid;
}

static Relation
open_table(const char *name, LOCKMODE mode)
{
	Oid relid = paxos_internal_relid(name);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table %s.%s does not exist", PAXOS_SCHEMA, name),
				 errhint("Run CREATE EXTENSION paxos_ext in database \"%s\".", paxos_database)));
	return table_open(relid, mode);
}

static px_bytes
copy_value(Datum value)
{
	bytea *v = DatumGetByteaPP(value);
	px_bytes bytes;
	uint8_t *data;

	bytes.len = VARSIZE_ANY_EXHDR(v);
	data = palloc(Max(bytes.len, 1));
	memcpy(data, VARDATA_ANY(v), bytes.len);
	bytes.data = data;
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return bytes;
}

static px_entry
entry_of_tuple(HeapTuple tuple, TupleDesc desc)
{
	Datum values[LOG_COLUMNS];
	bool nulls[LOG_COLUMNS];
	px_entry entry;

	heap_deform_tuple(tuple, desc, values, nulls);
	entry.slot = (px_slot) DatumGetInt64(values[LOG_SLOT - 1]);
	entry.ballot = (px_ballot) DatumGetInt64(values[LOG_BALLOT - 1]);
	entry.chosen = DatumGetBool(values[LOG_CHOSEN - 1]);
	entry.value = copy_value(values[LOG_VALUE - 1]);
	return entry;
}

static HeapTuple
tuple_of_entry(const px_entry *entry, TupleDesc desc)
{
	Datum values[LOG_COLUMNS];
	bool nulls[LOG_COLUMNS] = {false};
	bytea *value = palloc(VARHDRSZ + entry->value.len);
	HeapTuple tuple;

	SET_VARSIZE(value, VARHDRSZ + entry->value.len);
	memcpy(VARDATA(value), entry->value.data, entry->value.len);
	values[LOG_SLOT - 1] = Int64GetDatum((int64) entry->slot);
	values[LOG_BALLOT - 1] = Int64GetDatum((int64) entry->ballot);
	values[LOG_CHOSEN - 1] = BoolGetDatum(entry->chosen);
	values[LOG_VALUE - 1] = PointerGetDatum(value);
	tuple = heap_form_tuple(desc, values, nulls);
	pfree(value);
	return tuple;
}

/* Scan keys for slot >= from (and <= to). */
static int
range_keys(ScanKeyData keys[2], px_slot from, px_slot to)
{
	ScanKeyInit(&keys[0], LOG_SLOT, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) from));
	ScanKeyInit(&keys[1], LOG_SLOT, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum((int64) to));
	return 2;
}

static bool
same_value(px_bytes a, px_bytes b)
{
	return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/*
 * Put one entry into the open log.
 *
 * What stands in the slot already may be: marked chosen, or of the same
 * ballot; then its value is the same, or consensus is lost (invariants 1 and
 * 3), which we would rather notice here than in somebody's table.  A value that
 * fails its checksum proves nothing: the disk did that, and this is the repair
 * (paxos_learner.c fetches what it cannot read).
 */
static void
put(Relation log, Oid index_relid, CatalogIndexState indexes, const px_entry *entry)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple old;
	HeapTuple fresh;

	ScanKeyInit(&key, LOG_SLOT, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) entry->slot));
	scan = systable_beginscan(log, index_relid, true, GetActiveSnapshot(), 1, &key);
	old = systable_getnext(scan);
	if (!HeapTupleIsValid(old))
	{
		systable_endscan(scan);
		fresh = tuple_of_entry(entry, RelationGetDescr(log));
		CatalogTupleInsertWithInfo(log, fresh, indexes);
		heap_freetuple(fresh);
		return;
	}
	else
	{
		px_entry standing = entry_of_tuple(old, RelationGetDescr(log));
		bool same = same_value(standing.value, entry->value);
		px_value_view view;
		px_entry repaired;
		bool keep;

		if (!same && !px_value_open(standing.value, &view))
		{
			repaired = *entry;
			repaired.chosen = entry->chosen || standing.chosen;
			entry = &repaired;
			keep = false;
		}
		else if (standing.chosen)
		{
			/* (a value proposed again in a higher ballot is the chosen one) */
			PX_ASSERT(same);
			keep = true;
		}
		else if (standing.ballot == entry->ballot)
		{
			PX_ASSERT(same);
			keep = !entry->chosen;
		}
		else
		{
			/* A lower ballot's Accept cannot come here: promised forbids it. */
			PX_ASSERT(entry->chosen || standing.ballot < entry->ballot);
			keep = false;
		}
		if (!keep)
		{
			fresh = tuple_of_entry(entry, RelationGetDescr(log));
			CatalogTupleUpdateWithInfo(log, &old->t_self, fresh, indexes);
			heap_freetuple(fresh);
		}
		pfree((void *) standing.value.data);
		systable_endscan(scan);
	}
}

void
paxos_log_put_many(const px_entry *entries, int n)
{
	Relation log = open_table("log_entry", RowExclusiveLock);
	Oid index_relid = PaxosPrimaryKeyIndex(log);
	CatalogIndexState indexes = CatalogOpenIndexes(log);

	for (int i = 0; i < n; i++)
	{
		put(log, index_relid, indexes, &entries[i]);
		paxos_configuration_note(&entries[i]);
	}
	CatalogCloseIndexes(indexes);
	table_close(log, NoLock);
}

bool
paxos_log_get(px_slot position, px_entry *entry)
{
	Relation log = open_table("log_entry", AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found;

	ScanKeyInit(&key, LOG_SLOT, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum((int64) position));
	scan = systable_beginscan(log, PaxosPrimaryKeyIndex(log), true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		*entry = entry_of_tuple(tuple, RelationGetDescr(log));
	systable_endscan(scan);
	table_close(log, NoLock);
	return found;
}

int
paxos_log_above(px_slot w, int max, px_entry *entries, px_slot *last)
{
	Relation log = open_table("log_entry", AccessShareLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(log), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	int n = 0;

	scan = systable_beginscan_ordered(log, index, GetActiveSnapshot(),
									  range_keys(keys, w + 1, w + max), keys);
	while (n < max &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
		entries[n++] = entry_of_tuple(tuple, RelationGetDescr(log));
	systable_endscan_ordered(scan);

	*last = 0;
	scan = systable_beginscan_ordered(log, index, GetActiveSnapshot(),
									  range_keys(keys, 1, PG_INT64_MAX), keys);
	tuple = systable_getnext_ordered(scan, BackwardScanDirection);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		*last =
			(px_slot) DatumGetInt64(heap_getattr(tuple, LOG_SLOT, RelationGetDescr(log), &isnull));
	}
	systable_endscan_ordered(scan);

	index_close(index, NoLock);
	table_close(log, NoLock);
	return n;
}

uint64
paxos_log_bytes(px_slot from, px_slot to)
{
	Relation log = open_table("log_entry", AccessShareLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(log), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	uint64 bytes = 0;

	scan = systable_beginscan_ordered(log, index, GetActiveSnapshot(), range_keys(keys, from, to),
									  keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;

		bytes +=
			toast_raw_datum_size(heap_getattr(tuple, LOG_VALUE, RelationGetDescr(log), &isnull));
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(log, NoLock);
	return bytes;
}

px_slot
paxos_log_delete(px_slot from, px_slot to)
{
	Relation log = open_table("log_entry", RowExclusiveLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(log), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	px_slot reached = to;
	int n = 0;
	uint64 bytes = 0;

	scan = systable_beginscan_ordered(log, index, GetActiveSnapshot(), range_keys(keys, from, to),
									  keys);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;
		px_slot at =
			(px_slot) DatumGetInt64(heap_getattr(tuple, LOG_SLOT, RelationGetDescr(log), &isnull));

		if (n >= DELETE_ENTRIES || bytes >= DELETE_BYTES)
		{
			reached = at - 1;
			break;
		}
		n++;
		bytes +=
			toast_raw_datum_size(heap_getattr(tuple, LOG_VALUE, RelationGetDescr(log), &isnull));
		CatalogTupleDelete(log, &tuple->t_self);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(log, NoLock);
	return reached;
}

void
paxos_log_damaged(px_slot position)
{
	char why[PAXOS_ERROR_TEXT];

	snprintf(why, sizeof(why),
			 "the value of slot " UINT64_FORMAT " in this node's log fails its checksum", position);
	paxos_alarm_raise(PAXOS_ALARM_CORRUPT_VALUE, position, why);
	paxos_wake_learner();
}

/*
 * The acceptor's row.  The extension script put it there; nobody ever adds or
 * removes one.
 */
static HeapTuple
acceptor_tuple(Relation acceptor, SysScanDesc *scan)
{
	HeapTuple tuple;

	*scan = systable_beginscan(acceptor, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	tuple = systable_getnext(*scan);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("table %s.acceptor is empty", PAXOS_SCHEMA),
				 errdetail("What this node has promised is lost; it may not vote any more.")));
	return tuple;
}

PaxosAcceptorRow
paxos_acceptor_row_read(void)
{
	Relation acceptor = open_table("acceptor", AccessShareLock);
	Datum values[ACCEPTOR_COLUMNS];
	bool nulls[ACCEPTOR_COLUMNS];
	SysScanDesc scan;
	PaxosAcceptorRow row;

	heap_deform_tuple(acceptor_tuple(acceptor, &scan), RelationGetDescr(acceptor), values, nulls);
	row.promised = (px_ballot) DatumGetInt64(values[ACCEPTOR_PROMISED - 1]);
	row.truncated = (px_slot) DatumGetInt64(values[ACCEPTOR_TRUNCATED - 1]);
	row.longest_lease_us = (px_usec) DatumGetInt64(values[ACCEPTOR_LEASE - 1]);
	systable_endscan(scan);
	table_close(acceptor, NoLock);
	return row;
}

void
paxos_acceptor_row_write(const PaxosAcceptorRow *row)
{
	Relation acceptor = open_table("acceptor", RowExclusiveLock);
	Datum values[ACCEPTOR_COLUMNS];
	bool nulls[ACCEPTOR_COLUMNS] = {false};
	SysScanDesc scan;
	HeapTuple old = acceptor_tuple(acceptor, &scan);
	HeapTuple fresh;

	values[ACCEPTOR_PROMISED - 1] = Int64GetDatum((int64) row->promised);
	values[ACCEPTOR_TRUNCATED - 1] = Int64GetDatum((int64) row->truncated);
	values[ACCEPTOR_LEASE - 1] = Int64GetDatum((int64) row->longest_lease_us);
	fresh = heap_form_tuple(RelationGetDescr(acceptor), values, nulls);
	CatalogTupleUpdate(acceptor, &old->t_self, fresh);
	systable_endscan(scan);
	table_close(acceptor, NoLock);
}

static void
refuse_truncated(px_slot from)
{
	ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
					errmsg("slot " UINT64_FORMAT " is truncated on this node", from),
					errdetail("Its log begins after slot " UINT64_FORMAT ".",
							  paxos_acceptor_look().truncated)));
}

/*
 * paxos.fetch(cluster, version, sender, from_slot, to_slot, max_bytes)
 *
 * Entries this node knows chosen, in order and without holes, beginning at
 * from_slot; at least one if it knows that one, else no more than max_bytes of
 * values.  No rows: this node does not know from_slot chosen.  An
 * error when from_slot is truncated here.
 */
Datum
paxos_sql_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	px_slot from;
	px_slot to;
	int64 budget;
	px_acceptor a;
	Relation log;
	Relation index;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	px_slot expected;
	bool damaged = false;

	(void) paxos_peer_check(fcinfo, NULL);
	from = paxos_arg_u64(fcinfo, 3, "from_slot");
	to = paxos_arg_u64(fcinfo, 4, "to_slot");
	if (PG_ARGISNULL(5) || PG_GETARG_INT32(5) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max_bytes must be positive")));
	budget = PG_GETARG_INT32(5);
	if (from == 0 || to < from)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("slots to fetch must be positive and ascending")));

	InitMaterializedSRF(fcinfo, 0);

	/* Watermark first, snapshot second; see the head of this file. */
	a = paxos_acceptor_look();

	/*
	 * Not by what is found: behind a snapshot that was loaded, entries that were
	 * accepted and perhaps never chosen stand at or below truncated, and so
	 * below chosen, until they are swept away.
	 */
	if (from <= a.truncated)
		refuse_truncated(from);
	PushActiveSnapshot(GetLatestSnapshot());
	log = open_table("log_entry", AccessShareLock);
	index = index_open(PaxosPrimaryKeyIndex(log), AccessShareLock);
	scan = systable_beginscan_ordered(log, index, GetActiveSnapshot(), range_keys(keys, from, to),
									  keys);
	expected = from;
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Datum values[LOG_COLUMNS];
		bool nulls[LOG_COLUMNS];
		Datum row[3];
		bool row_nulls[3] = {false};
		px_bytes bytes;
		px_value_view view;

		heap_deform_tuple(tuple, RelationGetDescr(log), values, nulls);
		if ((px_slot) DatumGetInt64(values[LOG_SLOT - 1]) != expected ||
			(expected > a.chosen && !DatumGetBool(values[LOG_CHOSEN - 1])))
			break;
		row[0] = values[LOG_SLOT - 1];
		row[1] = values[LOG_BALLOT - 1];
		row[2] = PointerGetDatum(PG_DETOAST_DATUM(values[LOG_VALUE - 1]));
		bytes.data = (const uint8_t *) VARDATA_ANY(DatumGetPointer(row[2]));
		bytes.len = VARSIZE_ANY_EXHDR(DatumGetPointer(row[2]));
		if (!px_value_open(bytes, &view))
		{
			/* Nobody else shall have to find out. */
			paxos_log_damaged(expected);
			damaged = true;
			break;
		}
		budget -= bytes.len;
		if (budget < 0 && expected != from)
			break;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, row_nulls);
		if (row[2] != values[LOG_VALUE - 1])
			pfree(DatumGetPointer(row[2]));
		expected++;
		CHECK_FOR_INTERRUPTS();
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(log, NoLock);
	PopActiveSnapshot();

	if (expected == from && damaged)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the value of slot " UINT64_FORMAT " is damaged on this node", from)));

	/*
	 * Nothing found although the node knows it chosen: it is gone, or went
	 * while we looked.
	 */
	if (expected == from && from <= Max(a.truncated, a.chosen))
		refuse_truncated(from);
	return (Datum) 0;
}
