/*
 * paxos_window.c
 *	  The window where the learner keeps it: in memory, and in paxos.window.
 *
 * Owns: persistence, and which keys of a set count.  What is in the window, how far
 * back it reaches and what follows for a set is src/core/px_window.c.
 *
 * Locks are changes of a kind.  Who has locked a row takes it that whoever locks it next,
 * in a way that PostgreSQL would have made wait, sees what he has done; if
 * both go on at once, on two nodes, that is not so (two sessions lock one row
 * FOR UPDATE, find that there is no child, and both insert one; or one inserts a child,
 * which locks its parent FOR KEY SHARE, while the other finds that the parent has
 * none, and deletes it).  So the second loses.  Each lock is noted under a key of its own
 * strength, and looks for the keys of those it conflicts with:
 *
 *		held				looks for			notes
 *		KEY SHARE			gone				kept
 *		SHARE				key					shared
 *		NO KEY UPDATE		key, shared			key
 *		UPDATE				key, shared, kept	key, gone
 *
 * and alike for tables.  (A transaction that merely held a conflicting lock at the time
 * another was applied has been ended, for who applies a set takes its locks:
 * paxos_apply_set.c.  So here too only what is between base and slot counts.)
 *
 * What a serializable transaction has read is looked for from its snapshot on, not
 * from its base.
 *
 * paxos.window changes in the transactions that apply; the numbers that say whether
 * the window is kept at all stand in paxos.replicated.  A row holds the entries of one
 * transaction, and goes when px_window_over() says so.
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
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_apply.h"
#include "paxos_key.h"
#include "paxos_window.h"

/* Columns of paxos.window; src/sql/30-learner.sql. */
#define WINDOW_SLOT 1
#define WINDOW_BYTES 2
#define WINDOW_COLUMNS 2

/* Rows too old deleted in one transaction, at most. */
#define DELETED_AT_ONCE 8

static bool loaded = false;
static px_window *window = NULL;
static StringInfoData unsaved;
static px_slot oldest_row = 0; /* no row of the table is below; PG_UINT64_MAX: none is there */

static void
make_empty(void)
{
	Size bytes = px_window_bytes(PX_WINDOW_KEYS);
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	if (window == NULL)
	{
		initStringInfo(&unsaved);
		window = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	}
	MemoryContextSwitchTo(old);
	resetStringInfo(&unsaved);
	(void) px_window_init(window, bytes, PX_WINDOW_SLOTS, PX_WINDOW_KEYS);
}

void
paxos_window_reset(void)
{
	loaded = false;
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
insert_row(Relation rel, px_slot slot, const char *bytes, Size len)
{
	Datum values[WINDOW_COLUMNS];
	bool nulls[WINDOW_COLUMNS] = {false};
	bytea *keys = palloc(VARHDRSZ + len);
	HeapTuple tuple;

	SET_VARSIZE(keys, VARHDRSZ + len);
	memcpy(VARDATA(keys), bytes, len);
	values[WINDOW_SLOT - 1] = Int64GetDatum((int64) slot);
	values[WINDOW_BYTES - 1] = PointerGetDatum(keys);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	heap_freetuple(tuple);
	pfree(keys);
}

static void
load(void)
{
	Oid index_oid;
	Relation rel = open_window(&index_oid);
	Relation index = index_open(index_oid, AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 0, NULL);
	HeapTuple tuple;

	make_empty();
	oldest_row = PG_UINT64_MAX;
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		bool isnull;
		px_slot row = (px_slot) DatumGetInt64(
			heap_getattr(tuple, WINDOW_SLOT, RelationGetDescr(rel), &isnull));
		bytea *bytes =
			DatumGetByteaPP(heap_getattr(tuple, WINDOW_BYTES, RelationGetDescr(rel), &isnull));
		px_bytes entries = {(const uint8 *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};

		oldest_row = Min(oldest_row, row);
		if (!px_window_load(window, entries))
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("row " UINT64_FORMAT " of %s.%s is damaged", row, PAXOS_SCHEMA,
								   "window")));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, NoLock);
	loaded = true;
}

/* ---- what the learner calls ---- */

void
paxos_window_begin(const PaxosReplicated *r)
{
	if (!loaded)
		load();
}

void
paxos_window_slot(PaxosReplicated *r, px_slot slot)
{
	px_window_slot(window, &r->window, slot);
}

px_certificate
paxos_window_judge(PaxosReplicated *r, px_slot slot, const PaxosWriteSet *set, bool *overtaken)
{
	px_depends depends[2];
	px_certificate verdict;
	uint64 *checked;
	uint64 met;
	int n;
	int n_read;

	checked = paxos_window_checked(set, &n, &n_read);
	depends[0] = (px_depends){set->base, true, {checked + n_read, n - n_read}};
	depends[1] = (px_depends){set->snapshot, false, {checked, n_read}};
	verdict = px_window_judge(window, &r->window, slot, depends, n_read > 0 ? 2 : 1, &met);
	pfree(checked);
	*overtaken = met != 0;
	return verdict;
}

static void
append_entries(StringInfo to, px_slot slot, const uint64 *keys, int n)
{
	for (int i = 0; i < n; i++)
	{
		uint8 bytes[PX_WINDOW_ENTRY_BYTES];

		px_window_put(bytes, slot, keys[i]);
		appendBinaryStringInfo(to, (const char *) bytes, PX_WINDOW_ENTRY_BYTES);
	}
}

void
paxos_window_note(const PaxosReplicated *r, px_slot slot, const uint64 *keys, int n)
{
	if (px_window_record(window, &r->window, slot, (px_keys){keys, n}))
		append_entries(&unsaved, slot, keys, n);
}

/* Room for so many of each table and of each row. */
static uint64 *
key_array(const PaxosWriteSet *set, Size of_table, Size of_row)
{
	Size room = of_table * set->n_tables + 1;

	for (int i = 0; i < PAXOS_HOLDS; i++)
		room += of_row * set->n_keys[i];
	return MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint64) * room);
}

uint64 *
paxos_window_keys_of_set(const PaxosWriteSet *set, int *n)
{
	uint64 *keys = key_array(set, 4, 2);
	int at = 0;

	for (int i = 0; i < set->n_tables; i++)
	{
		uint64 any = paxos_key_any(set->tables[i].table_id);
		uint16 hold = set->tables[i].hold;

		if ((hold & (PAXOS_TABLE_MANY | PAXOS_TABLE_TRUNCATED)) != 0)
			keys[at++] = paxos_key_whole(set->tables[i].table_id);
		if ((hold & (PAXOS_TABLE_CHANGED | PAXOS_TABLE_EXCLUSIVE)) != 0)
			keys[at++] = any;
		if ((hold & (PAXOS_TABLE_SHARE | PAXOS_TABLE_EXCLUSIVE)) != 0)
			keys[at++] = paxos_key_shared(any);
		if ((hold & PAXOS_TABLE_EXCLUSIVE) != 0)
			keys[at++] = paxos_key_gone(any);
		else if ((hold & PAXOS_TABLE_LOCKED) != 0)
			keys[at++] = paxos_key_kept(any);
	}
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_KEY_SHARE]; i++)
		keys[at++] = paxos_key_kept(set->keys[PAXOS_HOLD_KEY_SHARE][i]);
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_SHARE]; i++)
		keys[at++] = paxos_key_shared(set->keys[PAXOS_HOLD_SHARE][i]);
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_NO_KEY_UPDATE]; i++)
		keys[at++] = set->keys[PAXOS_HOLD_NO_KEY_UPDATE][i];
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_UPDATE]; i++)
	{
		keys[at++] = set->keys[PAXOS_HOLD_UPDATE][i];
		keys[at++] = paxos_key_gone(set->keys[PAXOS_HOLD_UPDATE][i]);
	}
	*n = at;
	return keys;
}

uint64 *
paxos_window_checked(const PaxosWriteSet *set, int *n, int *n_read)
{
	uint64 *keys = key_array(set, 6, 3);
	int at = 0;

	for (int i = 0; i < set->n_tables; i++)
	{
		if ((set->tables[i].hold & PAXOS_TABLE_ONLY_READ) != 0)
			keys[at++] = paxos_key_whole(set->tables[i].table_id);
		if ((set->tables[i].hold & PAXOS_TABLE_READ) != 0)
			keys[at++] = paxos_key_any(set->tables[i].table_id);
	}
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_READ]; i++)
		keys[at++] = set->keys[PAXOS_HOLD_READ][i];
	*n_read = at;

	for (int i = 0; i < set->n_tables; i++)
	{
		uint64 any = paxos_key_any(set->tables[i].table_id);
		uint16 hold = set->tables[i].hold;

		keys[at++] = paxos_key_whole(set->tables[i].table_id);
		if ((hold & (PAXOS_TABLE_SHARE | PAXOS_TABLE_EXCLUSIVE)) != 0)
			keys[at++] = any;
		if ((hold & (PAXOS_TABLE_CHANGED | PAXOS_TABLE_EXCLUSIVE)) != 0)
			keys[at++] = paxos_key_shared(any);
		if ((hold & PAXOS_TABLE_EXCLUSIVE) != 0)
			keys[at++] = paxos_key_kept(any);
		else if ((hold & PAXOS_TABLE_LOCKED) != 0)
			keys[at++] = paxos_key_gone(any);
	}
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_KEY_SHARE]; i++)
		keys[at++] = paxos_key_gone(set->keys[PAXOS_HOLD_KEY_SHARE][i]);
	for (int i = 0; i < set->n_keys[PAXOS_HOLD_SHARE]; i++)
		keys[at++] = set->keys[PAXOS_HOLD_SHARE][i];
	for (int hold = PAXOS_HOLD_NO_KEY_UPDATE; hold <= PAXOS_HOLD_UPDATE; hold++)
	{
		for (int i = 0; i < set->n_keys[hold]; i++)
		{
			keys[at++] = set->keys[hold][i];
			keys[at++] = paxos_key_shared(set->keys[hold][i]);
			if (hold == PAXOS_HOLD_UPDATE)
				keys[at++] = paxos_key_kept(set->keys[hold][i]);
		}
	}
	*n = at;
	return keys;
}

void
paxos_window_save(const PaxosReplicated *r)
{
	Oid index_oid;
	Relation rel;
	bool delete = oldest_row != PG_UINT64_MAX && px_window_over(window, oldest_row, r->applied);

	if (unsaved.len == 0 && !delete)
		return;
	rel = open_window(&index_oid);
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
		scan = systable_beginscan_ordered(rel, index, SnapshotSelf, 1, &key);
		oldest_row = PG_UINT64_MAX;
		while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
		{
			bool isnull;
			px_slot slot = (px_slot) DatumGetInt64(
				heap_getattr(tuple, WINDOW_SLOT, RelationGetDescr(rel), &isnull));

			if (!px_window_over(window, slot, r->applied) || deleted == DELETED_AT_ONCE)
			{
				oldest_row = slot;
				break;
			}
			CatalogTupleDelete(rel, &tuple->t_self);
			deleted++;
		}
		systable_endscan_ordered(scan);
		index_close(index, AccessShareLock);
	}
	if (unsaved.len > 0)
	{
		insert_row(rel, r->applied, unsaved.data, unsaved.len);
		oldest_row = Min(oldest_row, r->applied);
		resetStringInfo(&unsaved);
	}
	table_close(rel, NoLock);
}

void
paxos_window_row(Relation rel, px_slot slot, const uint64 *keys, int n)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	append_entries(&bytes, slot, keys, n);
	insert_row(rel, slot, bytes.data, bytes.len);
	pfree(bytes.data);
}

void
paxos_window_row_committed(const PaxosReplicated *r, px_slot slot, const uint64 *keys, int n)
{
	if (!loaded)
		return;
	(void) px_window_record(window, &r->window, slot, (px_keys){keys, n});
	oldest_row = Min(oldest_row, slot);
}
