/*
 * paxos_part.c
 *	  Write sets that are too large for one command: their rows travel before them, in
 *	  parts, each a command and in a slot of its own or beside others'; every learner
 *	  keeps them in paxos.set_part.  The set itself comes last, says how many there
 *	  are, and is judged and applied whole or not at all (protocol.md § 6.1).
 *
 * So nobody holds all of a large set in memory, other origins' commands come between
 * its parts, and nothing of it is seen before it is certified.
 *
 * Whether the parts of a set are there decides what becomes of it.  So that is replicated
 * state, and follows from the table, the origins and log time alone: a set is *alive*
 * if part 1 of it is there, the origin is in the incarnation in which it came, and its
 * last part is not older, in log time, than PART_KEPT_US.  A set that is not alive takes no
 * more parts and is not certified.  What ends it early, its own decision or that its
 * session has given up, deletes part 1 in the transaction of the slot that says so.  If it
 * were only forgotten in memory, a learner that has been started afterwards would find
 * all parts and certify what others refuse.
 *
 * The other parts of a set that is dead are deleted later, a few at a time; what
 * of them is there makes no difference any more.  So nothing of a session that was killed, or
 * of a node that was, is left for good: its incarnation ends, or the time does.
 *
 * Memory: a list of the sets there are, built from the table when the learner starts and
 * after an error; paxos.set_part has one entry in it for some hundred kilobytes.
 * A crash loses nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_apply.h"
#include "paxos_part.h"

/* Replicated constants: another value is another protocol. */
#define PART_KEPT_US (UINT64CONST(10) * 60 * 1000 * 1000)

/* Columns of paxos.set_part; src/sql/30-learner.sql. */
#define PART_ORIGIN 1
#define PART_INCARNATION 2
#define PART_SET 3
#define PART_NUMBER 4
#define PART_LOG_TIME 5
#define PART_KEYS 6
#define PART_COMMAND 7
#define PART_COLUMNS 7

/* Deleted in one transaction, at most. */
#define DELETED_AT_ONCE 8

typedef struct Entry
{
	px_node origin;
	uint64 incarnation;
	uint64 set;
	uint32 n;           /* parts there */
	bool begins;        /* with part 1 */
	uint64 log_time_us; /* of the last */
} Entry;

static bool loaded = false;
static List *entries = NIL; /* of Entry *, in TopMemoryContext */

void
paxos_part_reset(void)
{
	loaded = false;
}

/* ---- the table ---- */

static Relation
open_parts(Relation *index)
{
	Oid relid = paxos_internal_relid("set_part");

	if (!paxos_lock_for_apply(relid, RowExclusiveLock))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s is missing", PAXOS_SCHEMA, "set_part")));
	if (index != NULL)
		*index = index_open(paxos_internal_relid("set_part_pkey"), AccessShareLock);
	return table_open(relid, NoLock);
}

static Datum
column(HeapTuple tuple, Relation parts, int n)
{
	bool isnull;

	return heap_getattr(tuple, n, RelationGetDescr(parts), &isnull);
}

static Entry *
find(px_node origin, uint64 incarnation, uint64 set)
{
	ListCell *lc;

	foreach (lc, entries)
	{
		Entry *e = lfirst(lc);

		if (e->origin == origin && e->incarnation == incarnation && e->set == set)
			return e;
	}
	return NULL;
}

static Entry *
add(px_node origin, uint64 incarnation, uint64 set)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Entry *e = palloc0(sizeof(Entry));

	e->origin = origin;
	e->incarnation = incarnation;
	e->set = set;
	entries = lappend(entries, e);
	MemoryContextSwitchTo(old);
	return e;
}

void
paxos_part_begin(void)
{
	Relation parts;
	SysScanDesc scan;
	HeapTuple tuple;

	if (loaded)
		return;
	list_free_deep(entries);
	entries = NIL;
	parts = open_parts(NULL);
	scan = systable_beginscan(parts, InvalidOid, false, SnapshotSelf, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		px_node origin = (px_node) DatumGetInt32(column(tuple, parts, PART_ORIGIN));
		uint64 incarnation = (uint64) DatumGetInt64(column(tuple, parts, PART_INCARNATION));
		uint64 set = (uint64) DatumGetInt64(column(tuple, parts, PART_SET));
		Entry *e = find(origin, incarnation, set);

		if (e == NULL)
			e = add(origin, incarnation, set);
		e->n++;
		e->begins |= DatumGetInt32(column(tuple, parts, PART_NUMBER)) == 1;
		e->log_time_us =
			Max(e->log_time_us, (uint64) DatumGetInt64(column(tuple, parts, PART_LOG_TIME)));
	}
	systable_endscan(scan);
	table_close(parts, NoLock);
	loaded = true;
}

/* Rows of one set from a part number on, in order. */
static SysScanDesc
begin_scan(Relation parts, Relation index, ScanKeyData *keys, px_node origin, uint64 incarnation,
		   uint64 set, uint32 from)
{
	ScanKeyInit(&keys[0], PART_ORIGIN, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum((int32) origin));
	ScanKeyInit(&keys[1], PART_INCARNATION, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) incarnation));
	ScanKeyInit(&keys[2], PART_SET, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum((int64) set));
	ScanKeyInit(&keys[3], PART_NUMBER, BTGreaterEqualStrategyNumber, F_INT4GE,
				Int32GetDatum((int32) from));
	return systable_beginscan_ordered(parts, index, SnapshotSelf, 4, keys);
}

/* Delete part 1; false if it is not there. */
static bool
delete_first(Relation parts, Relation index, px_node origin, uint64 incarnation, uint64 set)
{
	ScanKeyData keys[4];
	SysScanDesc scan = begin_scan(parts, index, keys, origin, incarnation, set, 1);
	HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	bool there = HeapTupleIsValid(tuple) && DatumGetInt32(column(tuple, parts, PART_NUMBER)) == 1;

	if (there)
		CatalogTupleDelete(parts, &tuple->t_self);
	systable_endscan_ordered(scan);
	return there;
}

/* ---- what the learner calls ---- */

static uint64
incarnation_of(const PaxosReplicated *r, px_node origin)
{
	return px_origins_get(&r->origins, origin).incarnation;
}

static bool
alive(const PaxosReplicated *r, const Entry *e)
{
	return e->begins && e->incarnation == incarnation_of(r, e->origin) &&
		   r->log_time_us <= e->log_time_us + PART_KEPT_US;
}

static Entry *
find_alive(const PaxosReplicated *r, px_node origin, uint64 set)
{
	Entry *e = find(origin, incarnation_of(r, origin), set);

	return e != NULL && alive(r, e) ? e : NULL;
}

bool
paxos_part_store(const PaxosReplicated *r, px_node origin, const PaxosSetPart *part,
				 const char *bytes, Size len)
{
	Entry *e;
	Relation parts;
	Datum values[PART_COLUMNS];
	bool nulls[PART_COLUMNS] = {false};
	bytea *command;
	HeapTuple tuple;
	int n_keys = 0;

	if (part->number == 0)
	{
		paxos_part_finish(r, origin, part->set);
		return true;
	}
	if (part->number == 1)
	{
		/* one of this number that has been, or is: there is no second */
		if (find(origin, incarnation_of(r, origin), part->set) != NULL)
			return false;
		e = add(origin, incarnation_of(r, origin), part->set);
		e->begins = true;
	}
	else
	{
		e = find_alive(r, origin, part->set);
		if (e == NULL || e->n + 1 != part->number || part->number > PAXOS_MAX_PARTS)
			return false;
	}

	for (int i = 0; i < PAXOS_HOLDS; i++)
		n_keys += part->body.n_keys[i];
	command = palloc(VARHDRSZ + len);
	SET_VARSIZE(command, VARHDRSZ + len);
	memcpy(VARDATA(command), bytes, len);
	values[PART_ORIGIN - 1] = Int32GetDatum((int32) origin);
	values[PART_INCARNATION - 1] = Int64GetDatum((int64) e->incarnation);
	values[PART_SET - 1] = Int64GetDatum((int64) e->set);
	values[PART_NUMBER - 1] = Int32GetDatum((int32) part->number);
	values[PART_LOG_TIME - 1] = Int64GetDatum((int64) r->log_time_us);
	values[PART_KEYS - 1] = Int32GetDatum(n_keys);
	values[PART_COMMAND - 1] = PointerGetDatum(command);
	parts = open_parts(NULL);
	tuple = heap_form_tuple(RelationGetDescr(parts), values, nulls);
	CatalogTupleInsert(parts, tuple);
	heap_freetuple(tuple);
	table_close(parts, NoLock);
	pfree(command);
	e->n = part->number;
	e->log_time_us = r->log_time_us;
	return true;
}

bool
paxos_part_complete(const PaxosReplicated *r, px_node origin, uint64 set, uint32 n_parts)
{
	const Entry *e = find_alive(r, origin, set);

	return e != NULL && e->n == n_parts;
}

bool
paxos_part_read(const PaxosReplicated *r, px_node origin, uint64 set, uint32 number, bool keys,
				PaxosWriteSet *body)
{
	Relation index;
	Relation parts = open_parts(&index);
	ScanKeyData scankeys[4];
	SysScanDesc scan =
		begin_scan(parts, index, scankeys, origin, incarnation_of(r, origin), set, number);
	HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
	bool wanted;

	if (!HeapTupleIsValid(tuple) ||
		(uint32) DatumGetInt32(column(tuple, parts, PART_NUMBER)) != number)
		elog(ERROR, "part %u of a write set is missing", number);
	wanted = !keys || DatumGetInt32(column(tuple, parts, PART_KEYS)) > 0;
	if (wanted)
	{
		bytea *bytes = DatumGetByteaPP(column(tuple, parts, PART_COMMAND));
		PaxosCommand command;

		if (!paxos_command_decode(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &command) ||
			command.kind != PAXOS_COMMAND_PART)
			elog(ERROR, "part %u of a write set is damaged", number);
		*body = command.u.part.body;
		if ((Pointer) bytes != DatumGetPointer(column(tuple, parts, PART_COMMAND)))
			pfree(bytes);
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(parts, NoLock);
	return wanted;
}

void
paxos_part_finished(const PaxosReplicated *r, px_node origin, uint64 set)
{
	Entry *e = find(origin, incarnation_of(r, origin), set);

	if (e != NULL)
		e->begins = false;
}

void
paxos_part_finish(const PaxosReplicated *r, px_node origin, uint64 set)
{
	Entry *e = find(origin, incarnation_of(r, origin), set);
	Relation index;
	Relation parts;

	if (e == NULL || !e->begins)
		return;
	parts = open_parts(&index);
	(void) delete_first(parts, index, origin, e->incarnation, set);
	index_close(index, NoLock);
	table_close(parts, NoLock);
	e->begins = false;
}

bool
paxos_part_sweep(const PaxosReplicated *r)
{
	Entry *dead = NULL;
	Relation index;
	Relation parts;
	ScanKeyData keys[4];
	SysScanDesc scan;
	HeapTuple tuple = NULL;
	int deleted = 0;
	ListCell *lc;

	if (!loaded)
		return false;
	foreach (lc, entries)
	{
		if (!alive(r, lfirst(lc)))
			dead = lfirst(lc);
	}
	if (dead == NULL)
		return false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	parts = open_parts(&index);
	scan = begin_scan(parts, index, keys, dead->origin, dead->incarnation, dead->set, 1);
	while (deleted < DELETED_AT_ONCE &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		CatalogTupleDelete(parts, &tuple->t_self);
		deleted++;
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(parts, NoLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (deleted < DELETED_AT_ONCE)
	{
		entries = list_delete_ptr(entries, dead);
		pfree(dead);
	}
	return true;
}

/* ---- what the session calls (it sends parts in paxos_part_send.c) ---- */

void
paxos_part_finish_here(Relation parts, const PaxosReplicated *r, uint64 set)
{
	Relation index = index_open(paxos_internal_relid("set_part_pkey"), AccessShareLock);

	if (!delete_first(parts, index, paxos_shared->node_id, incarnation_of(r, paxos_shared->node_id),
					  set))
		elog(ERROR, "the parts of the write set are not there");
	index_close(index, NoLock);
}
