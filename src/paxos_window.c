/*
 * paxos_window.c
 *	  The window: key -> last slot that changed it, for the last slots; and the
 *	  verdict on write sets, which is drawn from it (protocol.md § 6).
 *
 * A set names its base, the slot up to which its transaction had seen everything,
 * and its keys.  At its slot it is lost if one of its keys was changed in between.
 * To compare the rows it saw with the rows there are would be wrong: A changes x from
 * 1 to 2 here, B there from 1 to 3 and back to 1, A's session has long been told
 * that it lost, and A's set, coming last, would find its 1 and take effect.
 *
 * The window is replicated state, derived from the log alone: a verdict must be the
 * same on every node, on one that has just been started or has loaded a snapshot,
 * too.  So it is bounded by slots and by keys, never by time or memory; it stands
 * in paxos.window, which changes in the transactions that apply; and the two numbers
 * that say whether it is kept at all stand in paxos.replicated.
 *
 * It is kept only while write sets are about: the first set finds none, is told that
 * it is too old, and from its slot on (window_from) keys are noted; WINDOW_SLOTS
 * after the last set that ends.  A session that is told "too old" proposes again with
 * a newer base: it still has all its locks, and nobody ended it.  So a cluster
 * with keyed operations alone pays nothing.
 *
 * Memory: a hash of key -> slot, and the same entries in the order of their slots,
 * to forget the oldest.  Entries of a slot are forgotten together; which ones are
 * in is a function of the entries alone (the youngest slots that fit, within
 * WINDOW_SLOTS), so it comes out the same when they are read again from the table.
 * A row of the table goes only when its slots are older than WINDOW_SLOTS: if it
 * went with its keys' bound, a learner started afterwards would not know how far back
 * its own memory reaches, and call a set certified that all others call too old.
 *
 * After an error of the learner's transaction all is read again from the table.  A
 * crash loses nothing.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_apply.h"
#include "paxos_key.h"
#include "paxos_window.h"

/* Replicated constants: another value is another protocol. */
#define WINDOW_SLOTS 4096
#define WINDOW_KEYS (256 * 1024)

/* Columns of paxos.window; src/sql/30-learner.sql. */
#define WINDOW_SLOT 1
#define WINDOW_BYTES 2
#define WINDOW_COLUMNS 2

/* Rows too old deleted in one transaction, at most. */
#define DELETED_AT_ONCE 8

/* Of a key in a row's bytes: slot and key, little-endian. */
#define ENTRY_BYTES 16

typedef struct Entry
{
	px_slot slot;
	uint64 key;
} Entry;

typedef struct Last
{
	uint64 key; /* hash key */
	px_slot slot;
} Last;

static bool loaded = false;
static MemoryContext cxt = NULL; /* of all below */
static HTAB *last = NULL;
static Entry *ring = NULL; /* in the order of slots */
static int64 ring_room = 0;
static int64 ring_first = 0;
static int64 ring_n = 0;
static px_slot forgotten = 0; /* highest slot whose keys were one too many */
static StringInfoData unsaved;
static px_slot oldest_row = 0; /* no row of the table is below; PG_UINT64_MAX: none is there */

static void
clear_memory(void)
{
	HASHCTL ctl = {0};

	if (cxt == NULL)
		cxt = AllocSetContextCreate(TopMemoryContext, "paxos window", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(cxt);
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(Last);
	ctl.hcxt = cxt;
	last = hash_create("paxos window", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ring_room = 1024;
	ring = MemoryContextAlloc(cxt, sizeof(Entry) * ring_room);
	ring_first = ring_n = 0;
	forgotten = 0;
	{
		MemoryContext old = MemoryContextSwitchTo(cxt);

		initStringInfo(&unsaved);
		MemoryContextSwitchTo(old);
	}
}

void
paxos_window_reset(void)
{
	loaded = false;
}

/* ---- memory ---- */

static void
forget_oldest(void)
{
	const Entry *e = &ring[ring_first];
	Last *l = hash_search(last, &e->key, HASH_FIND, NULL);

	if (l != NULL && l->slot == e->slot)
		(void) hash_search(last, &e->key, HASH_REMOVE, NULL);
	ring_first = (ring_first + 1) % ring_room;
	ring_n--;
}

/* All of the oldest slots, until what is left fits. */
static void
forget_what_is_too_much(px_slot slot)
{
	while (ring_n > 0 && ring[ring_first].slot + WINDOW_SLOTS <= slot)
		forget_oldest();
	while (ring_n > WINDOW_KEYS)
	{
		forgotten = ring[ring_first].slot;
		while (ring_n > 0 && ring[ring_first].slot == forgotten)
			forget_oldest();
	}
}

static void
remember(px_slot slot, uint64 key)
{
	bool found;
	Last *l = hash_search(last, &key, HASH_ENTER, &found);

	if (found && l->slot == slot)
		return;
	l->slot = slot;
	if (ring_n == ring_room)
	{
		Entry *wider = MemoryContextAllocHuge(cxt, sizeof(Entry) * ring_room * 2);

		for (int64 i = 0; i < ring_n; i++)
			wider[i] = ring[(ring_first + i) % ring_room];
		pfree(ring);
		ring = wider;
		ring_first = 0;
		ring_room *= 2;
	}
	ring[(ring_first + ring_n) % ring_room] = (Entry){slot, key};
	ring_n++;
}

/* ---- the table ---- */

static Relation
open_window(Oid *index)
{
	Oid schema = get_namespace_oid(PAXOS_SCHEMA, false);
	Oid relid = get_relname_relid("window", schema);

	*index = get_relname_relid("window_pkey", schema);
	if (!OidIsValid(relid) || !OidIsValid(*index) || !paxos_lock_for_apply(relid, RowExclusiveLock))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s or its index is missing", PAXOS_SCHEMA, "window")));
	return table_open(relid, NoLock);
}

static void
put64(char *to, uint64 v)
{
	for (int i = 0; i < 8; i++)
		to[i] = (char) (v >> (8 * i) & 0xff);
}

static uint64
get64(const char *from)
{
	uint64 v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | (unsigned char) from[i];
	return v;
}

static void
insert_row(Relation window, px_slot slot, const char *bytes, Size len)
{
	Datum values[WINDOW_COLUMNS];
	bool nulls[WINDOW_COLUMNS] = {false};
	bytea *keys = palloc(VARHDRSZ + len);
	HeapTuple tuple;

	SET_VARSIZE(keys, VARHDRSZ + len);
	memcpy(VARDATA(keys), bytes, len);
	values[WINDOW_SLOT - 1] = Int64GetDatum((int64) slot);
	values[WINDOW_BYTES - 1] = PointerGetDatum(keys);
	tuple = heap_form_tuple(RelationGetDescr(window), values, nulls);
	CatalogTupleInsert(window, tuple);
	heap_freetuple(tuple);
	pfree(keys);
}

static void
load(const PaxosReplicated *r)
{
	Oid index_oid;
	Relation window = open_window(&index_oid);
	Relation index = index_open(index_oid, AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(window, index, SnapshotSelf, 0, NULL);
	HeapTuple tuple;

	clear_memory();
	oldest_row = PG_UINT64_MAX;
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;
		px_slot row = (px_slot) DatumGetInt64(
			heap_getattr(tuple, WINDOW_SLOT, RelationGetDescr(window), &isnull));
		bytea *bytes =
			DatumGetByteaPP(heap_getattr(tuple, WINDOW_BYTES, RelationGetDescr(window), &isnull));
		const char *at = VARDATA_ANY(bytes);
		Size left = VARSIZE_ANY_EXHDR(bytes);

		oldest_row = Min(oldest_row, row);
		for (; left >= ENTRY_BYTES; at += ENTRY_BYTES, left -= ENTRY_BYTES)
		{
			px_slot slot = get64(at);

			/* rows of an earlier life of the window may be there yet */
			if (r->window_from == 0 || slot <= r->window_from)
				continue;
			if (ring_n > 0 && ring[(ring_first + ring_n - 1) % ring_room].slot != slot)
				forget_what_is_too_much(slot - 1);
			remember(slot, get64(at + 8));
		}
	}
	forget_what_is_too_much(r->applied);
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(window, NoLock);
	loaded = true;
}

/* ---- what the learner calls ---- */

void
paxos_window_begin(const PaxosReplicated *r)
{
	if (!loaded)
		load(r);
}

void
paxos_window_slot(PaxosReplicated *r, px_slot slot)
{
	if (r->window_from == 0 || slot <= r->window_used + WINDOW_SLOTS)
		return;
	r->window_from = 0;
	r->window_used = 0;
	clear_memory();
}

static bool
changed_after(uint64 key, px_slot base)
{
	const Last *l = hash_search(last, &key, HASH_FIND, NULL);

	return l != NULL && l->slot > base;
}

PaxosVerdict
paxos_window_judge(PaxosReplicated *r, px_slot slot, const PaxosWriteSet *set)
{
	r->window_used = slot;
	if (r->window_from == 0)
		r->window_from = slot;
	forget_what_is_too_much(slot);
	if (set->base < r->window_from || set->base < forgotten || set->base + WINDOW_SLOTS < slot)
		return PAXOS_TOO_OLD;
	for (int i = 0; i < set->n_tables; i++)
	{
		if (changed_after(paxos_key_whole(set->tables[i].table_id), set->base) ||
			(set->tables[i].whole &&
			 changed_after(paxos_key_any(set->tables[i].table_id), set->base)))
			return PAXOS_LOST;
	}
	for (int i = 0; i < set->n_keys; i++)
	{
		if (changed_after(set->keys[i], set->base))
			return PAXOS_LOST;
	}
	for (int i = 0; i < set->n_locked; i++)
	{
		if (changed_after(set->locked[i], set->base))
			return PAXOS_LOST;
	}
	return PAXOS_CERTIFIED;
}

void
paxos_window_note(const PaxosReplicated *r, px_slot slot, const uint64 *keys, int n)
{
	if (r->window_from == 0 || slot <= r->window_from)
		return;
	for (int i = 0; i < n; i++)
	{
		char bytes[ENTRY_BYTES];

		remember(slot, keys[i]);
		put64(bytes, slot);
		put64(bytes + 8, keys[i]);
		appendBinaryStringInfo(&unsaved, bytes, ENTRY_BYTES);
	}
	forget_what_is_too_much(slot);
}

uint64 *
paxos_window_keys_of_set(const PaxosWriteSet *set, int *n)
{
	uint64 *keys = palloc(sizeof(uint64) * (set->n_keys + set->n_tables + 1));

	*n = set->n_keys;
	memcpy(keys, set->keys, sizeof(uint64) * set->n_keys);
	for (int i = 0; i < set->n_tables; i++)
		keys[(*n)++] = paxos_key_any(set->tables[i].table_id);
	return keys;
}

void
paxos_window_save(const PaxosReplicated *r)
{
	Oid index_oid;
	Relation window;
	bool delete = oldest_row != PG_UINT64_MAX && oldest_row + WINDOW_SLOTS <= r->applied;

	if (unsaved.len == 0 && !delete)
		return;
	window = open_window(&index_oid);
	if (delete)
	{
		Relation index = index_open(index_oid, AccessShareLock);
		ScanKeyData key;
		SysScanDesc scan;
		HeapTuple tuple;
		int deleted = 0;

		/* from the hint on: the entries of deleted rows pile up in front */
		ScanKeyInit(&key, WINDOW_SLOT, BTGreaterEqualStrategyNumber, F_INT8GE,
					Int64GetDatum((int64) oldest_row));
		scan = systable_beginscan_ordered(window, index, SnapshotSelf, 1, &key);
		oldest_row = PG_UINT64_MAX;
		while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
		{
			bool isnull;
			px_slot slot = (px_slot) DatumGetInt64(
				heap_getattr(tuple, WINDOW_SLOT, RelationGetDescr(window), &isnull));

			if (slot + WINDOW_SLOTS > r->applied || deleted == DELETED_AT_ONCE)
			{
				oldest_row = slot;
				break;
			}
			CatalogTupleDelete(window, &tuple->t_self);
			deleted++;
		}
		systable_endscan_ordered(scan);
		index_close(index, AccessShareLock);
	}
	if (unsaved.len > 0)
	{
		insert_row(window, r->applied, unsaved.data, unsaved.len);
		oldest_row = Min(oldest_row, r->applied);
		resetStringInfo(&unsaved);
	}
	table_close(window, NoLock);
}

void
paxos_window_row(Relation window, px_slot slot, const uint64 *keys, int n)
{
	char *bytes = palloc(ENTRY_BYTES * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		put64(bytes + ENTRY_BYTES * i, slot);
		put64(bytes + ENTRY_BYTES * i + 8, keys[i]);
	}
	insert_row(window, slot, bytes, ENTRY_BYTES * n);
	pfree(bytes);
}

void
paxos_window_row_committed(const PaxosReplicated *r, px_slot slot, const uint64 *keys, int n)
{
	if (!loaded)
		return;
	for (int i = 0; i < n; i++)
		remember(slot, keys[i]);
	forget_what_is_too_much(slot);
	oldest_row = Min(oldest_row, slot);
}
