/*
 * paxos_apply_set.c
 *	  A certified write set against the local tables, from the log: on every node but
 *	  the one where its transaction ran, and there too if that has not committed
 *	  (protocol.md § 6).
 *
 * A set says of each row what is there afterwards: this row, or none.  It is applied as
 * deletes, then updates, then inserts, whatever the order in which the transaction did
 * it: two rows may have exchanged a unique value by way of a third, and an update
 * of a unique key (other than the primary one, by which rows are found) is therefore a
 * delete and an insert; so is one of what the condition of a partial unique index says,
 * for one row may enter the index where another leaves it.
 *
 * Nothing here is the set's own fault.  Its constraints were checked where it ran,
 * over rows that, by its certificate, nobody has changed since; an error is this node's
 * (a full disk, or tables that differ from the others') and the slot is tried again.
 * So constraints are not checked a second time, and generated columns are taken
 * as they come: what the origin has committed must not be able to fail elsewhere.  No
 * trigger fires, as for keyed operations.
 *
 * Rows and tables that the transaction had locked are locked here too, first.  A
 * transaction of this node that holds one in a way that conflicts is ended by it:
 * PostgreSQL would have had it wait, and then see what we bring.  Had it only to
 * look for us between its base and its slot, it would find nothing: its base is what is
 * applied when it is proposed, and by then we are (paxos_window.c).
 *
 * A large set comes in parts (paxos_part.c), of which one at a time is in memory.  A row
 * that was changed again and again may stand in several of them, always alike.  Where a
 * table has no other unique key than its primary one, nothing can be in the way, and each row
 * is finished when it is met first: so a large COPY is read once.
 *
 * TRUNCATE is done as PostgreSQL does it, by new empty files, and first: what the
 * set says of rows is what is there afterwards.  Not by ExecuteTruncate(), which would
 * fire triggers, and check foreign keys a second time; but logged as it does, for logical
 * decoding.
 *
 * No state.
 */
#include "postgres.h"

#include "access/heapam_xlog.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xloginsert.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "paxos_apply_int.h"
#include "paxos_ddl_int.h"
#include "paxos_part.h"
#include "paxos_turn.h"

typedef enum Action
{
	NOTHING,
	DELETE_ROW,
	UPDATE_ROW,
	INSERT_ROW,
	REPLACE_ROW /* delete, and insert later */
} Action;

static void
fill(PaxosApplyTable *t, TupleTableSlot *into, const PaxosSetRow *row)
{
	PaxosRelInfo *info = t->info;

	ExecClearTuple(into);
	for (int i = 0; i < info->natts; i++)
	{
		into->tts_values[i] = (Datum) 0;
		into->tts_isnull[i] = true;
	}
	for (int i = 0; i < row->n_row; i++)
	{
		const PaxosColumn *c = &row->row[i];
		PaxosColumnInfo *column;

		if (c->attnum > info->natts || !OidIsValid(info->columns[c->attnum - 1].type))
			elog(ERROR, "a write set names column %d of table \"%s\", which it has not", c->attnum,
				 RelationGetRelationName(t->rel));
		if (c->isnull)
			continue;
		column = &info->columns[c->attnum - 1];
		into->tts_values[c->attnum - 1] =
			InputFunctionCall(&column->input, c->text, column->ioparam, column->typmod);
		into->tts_isnull[c->attnum - 1] = false;
	}
	ExecStoreVirtualTuple(into);
	into->tts_tableOid = RelationGetRelid(t->rel);
}

/* Are all unique keys but those that both have in common the same? */
static bool
same_keys(PaxosApplyTable *t)
{
	int max = paxos_keys_max(t->info->keys);
	uint64 *before = palloc(sizeof(uint64) * (2 * max + 1));
	uint64 *after = before + max;
	int n = paxos_keys_of_row(t->info->keys, t->found, before);
	int m = paxos_keys_of_row(t->info->keys, t->fresh, after);

	return n == m && memcmp(before, after, sizeof(uint64) * n) == 0 &&
		   !paxos_keys_may_move(t->info->keys, t->found, t->fresh);
}

static void
become_owner(PaxosApplyTable *t, int save_context)
{
	SetUserIdAndSecContext(t->info->owner, save_context | SECURITY_RESTRICTED_OPERATION);
}

/* One set being applied; the rows of its bodies count on. */
typedef struct Work
{
	PaxosApply *apply;
	int save_context;
	char *actions; /* an Action for each row, when anything is left for later */
	Size n_rows;   /* met in the first pass */
	Size room;
	bool left[REPLACE_ROW + 1]; /* is there such an action for later? */
} Work;

static void
note(Work *w, Action action)
{
	if (w->n_rows == w->room)
	{
		w->room = Max(w->room * 2, 1024);
		w->actions = w->actions == NULL ? MemoryContextAllocHuge(w->apply->cxt, w->room)
										: repalloc_huge(w->actions, w->room);
	}
	w->actions[w->n_rows++] = (char) action;
	w->left[action] = true;
}

static PaxosApplyTable **
open_tables(PaxosApply *apply, const PaxosWriteSet *body)
{
	PaxosApplyTable **tables = palloc0(sizeof(PaxosApplyTable *) * Max(body->n_tables, 1));

	for (int i = 0; i < body->n_tables; i++)
	{
		uint16 hold = body->tables[i].hold;

		/* a table that was only read may have gone since; one that is partitioned, and was
		 * locked as a whole together with its partitions, has no rows */
		if ((hold & ~PAXOS_TABLE_ONLY_READ) == 0 ||
			get_rel_relkind(paxos_table_relid(body->tables[i].table_id)) ==
				RELKIND_PARTITIONED_TABLE)
			continue;
		tables[i] =
			paxos_apply_open(apply, body->tables[i].table_id,
							 (hold & PAXOS_TABLE_CHANGED) != 0 ? RowExclusiveLock : RowShareLock);
		if (tables[i] == NULL)
			elog(ERROR, "a certified write set names table " INT64_FORMAT ", which is not here",
				 body->tables[i].table_id);
		if ((hold & (PAXOS_TABLE_SHARE | PAXOS_TABLE_EXCLUSIVE)) != 0)
			(void) paxos_lock_for_apply(RelationGetRelid(tables[i]->rel),
										(hold & PAXOS_TABLE_EXCLUSIVE) != 0 ? ExclusiveLock
																			: ShareLock);
	}
	return tables;
}

/* For each row. */
static void
begin_row(Work *w, PaxosApplyTable *t)
{
	MemoryContextReset(w->apply->command_cxt);
	ResetPerTupleExprContext(w->apply->estate);
	MemoryContextSwitchTo(w->apply->command_cxt);
	become_owner(t, w->save_context);
}

static bool
find_row(PaxosApplyTable *t, const PaxosSetRow *row)
{
	return row->n_key > 0 && paxos_apply_find(t, row->n_key, row->key);
}

static void
store_row(Work *w, PaxosApplyTable *t, const PaxosSetRow *row, bool update)
{
	fill(t, update ? t->fresh : t->proposed, row);
	paxos_apply_store(w->apply, t, update);
	CommandCounterIncrement();
}

/* Rows that were locked. */
static void
lock_rows(Work *w, const PaxosWriteSet *body)
{
	PaxosApplyTable **tables = open_tables(w->apply, body);

	for (int i = 0; i < body->n_rows; i++)
	{
		const PaxosSetRow *row = &body->rows[i];
		PaxosApplyTable *t = tables[row->table];

		if (row->what < PAXOS_ROW_LOCKED)
			continue;
		begin_row(w, t);

		/* one that the transaction made itself is not there yet */
		if (find_row(t, row))
			paxos_apply_lock(t, (LockTupleMode) (row->what - PAXOS_ROW_LOCKED));
	}
}

/* What there is to do; the deletes; and what need not wait. */
static void
first_pass(Work *w, const PaxosWriteSet *body)
{
	PaxosApplyTable **tables = open_tables(w->apply, body);

	for (int i = 0; i < body->n_rows; i++)
	{
		const PaxosSetRow *row = &body->rows[i];
		PaxosApplyTable *t = tables[row->table];
		bool found;
		Action action;

		if (row->what >= PAXOS_ROW_LOCKED)
		{
			note(w, NOTHING);
			continue;
		}
		begin_row(w, t);
		found = find_row(t, row);
		if (row->what == PAXOS_ROW_GONE)
			action = found ? DELETE_ROW : NOTHING;
		else if (t->info->only_key)
		{
			store_row(w, t, row, found);
			action = NOTHING;
		}
		else if (!found)
			action = INSERT_ROW;
		else
		{
			fill(t, t->fresh, row);
			action = t->info->plain_keys && same_keys(t) ? UPDATE_ROW : REPLACE_ROW;
		}
		if (action == DELETE_ROW || action == REPLACE_ROW)
		{
			paxos_apply_delete(t);
			CommandCounterIncrement();
		}
		note(w, action);
	}
}

/* The updates, or the inserts. */
static void
later_pass(Work *w, const PaxosWriteSet *body, Size *at, bool updates)
{
	PaxosApplyTable **tables = open_tables(w->apply, body);

	for (int i = 0; i < body->n_rows; i++)
	{
		const PaxosSetRow *row = &body->rows[i];
		PaxosApplyTable *t = tables[row->table];
		Action action = (Action) w->actions[(*at)++];

		if (action == NOTHING || action == DELETE_ROW || (action == UPDATE_ROW) != updates)
			continue;
		begin_row(w, t);
		if (updates && !find_row(t, row))
			elog(ERROR, "a row of a write set vanished");

		/* Met before: in another part, or under a key that is equal and written otherwise,
		 * as 1.0 and 1.00. */
		if (!updates && find_row(t, row))
			continue;
		store_row(w, t, row, updates);
	}
}

typedef enum Pass
{
	LOCKS,
	FIRST,
	UPDATES,
	INSERTS
} Pass;

static void
pass_over(Work *w, const PaxosReplicated *r, px_node origin, const PaxosWriteSet *set, Pass pass)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext cxt = AllocSetContextCreate(w->apply->cxt, "paxos part", ALLOCSET_DEFAULT_SIZES);
	Size at = 0;

	/* what comes in parts says nothing of rows itself */
	for (uint32 number = set->n_parts > 0 ? 1 : 0; number <= set->n_parts; number++)
	{
		PaxosWriteSet part;
		const PaxosWriteSet *body = set;

		MemoryContextReset(cxt);
		MemoryContextSwitchTo(cxt);
		if (number > 0)
		{
			(void) paxos_part_read(r, origin, set->parts_of, number, false, &part);
			body = &part;
		}
		if (pass == LOCKS)
			lock_rows(w, body);
		else if (pass == FIRST)
			first_pass(w, body);
		else
			later_pass(w, body, &at, pass == UPDATES);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(cxt);
}

static bool
locks_rows(const PaxosWriteSet *set)
{
	for (int i = 0; i < set->n_tables; i++)
	{
		if ((set->tables[i].hold & PAXOS_TABLE_LOCKED) != 0)
			return true;
	}
	return false;
}

void
paxos_apply_set(PaxosApply *apply, const PaxosReplicated *r, px_node origin,
				const PaxosWriteSet *set, const uint64 *changed, int n_changed)
{
	MemoryContext caller = CurrentMemoryContext;
	PaxosApplyTable **tables;
	Work w = {apply};
	Oid save_user;
	int nest_level;

	/* before anybody is ended */
	paxos_turn_changing(changed, n_changed);
	tables = open_tables(apply, set);
	GetUserIdAndSecContext(&save_user, &w.save_context);
	nest_level = NewGUCNestLevel();
	if (locks_rows(set))
		pass_over(&w, r, origin, set, LOCKS);
	pass_over(&w, r, origin, set, FIRST);
	if (w.left[UPDATE_ROW])
		pass_over(&w, r, origin, set, UPDATES);
	if (w.left[INSERT_ROW] || w.left[REPLACE_ROW])
		pass_over(&w, r, origin, set, INSERTS);
	if (w.actions != NULL)
		pfree(w.actions);
	for (int i = 0; i < set->n_tables; i++)
	{
		if (tables[i] == NULL)
			continue;
		ExecClearTuple(tables[i]->found);
		ExecClearTuple(tables[i]->proposed);
		ExecClearTuple(tables[i]->fresh);
	}
	MemoryContextSwitchTo(caller);
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(save_user, w.save_context);
}

/* ---- TRUNCATE ---- */

bool
paxos_apply_truncates(const PaxosWriteSet *set)
{
	for (int i = 0; i < set->n_tables; i++)
	{
		if ((set->tables[i].hold & PAXOS_TABLE_TRUNCATED) != 0)
			return true;
	}
	return false;
}

/* Nobody may keep us waiting at what goes with it either. */
static void
lock_with_parts(Oid relid)
{
	Relation rel;
	List *indexes;
	ListCell *lc;

	if (!paxos_lock_for_apply(relid, AccessExclusiveLock))
		elog(ERROR, "relation %u is missing", relid);
	rel = table_open(relid, NoLock);
	indexes = RelationGetIndexList(rel);
	foreach (lc, indexes)
		(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
		lock_with_parts(rel->rd_rel->reltoastrelid);
	table_close(rel, NoLock);
}

static void
empty(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	Oid toast = rel->rd_rel->reltoastrelid;

	CheckTableNotInUse(rel, "TRUNCATE");
	PaxosNewFile(rel);
	if (OidIsValid(toast))
	{
		Relation toastrel = table_open(toast, NoLock);

		PaxosNewFile(toastrel);
		table_close(toastrel, NoLock);
	}
	PaxosReindexRelation(relid, REINDEX_REL_PROCESS_TOAST);
	pgstat_count_truncate(rel);
	table_close(rel, NoLock);
}

/* So that logical decoding tells of it on this node too, as TRUNCATE does. */
static void
log_truncate(const Oid *relids, int n, bool restarted)
{
	xl_heap_truncate record = {.dbId = MyDatabaseId,
							   .nrelids = (uint32) n,
							   .flags = restarted ? XLH_TRUNCATE_RESTART_SEQS : 0};

	XLogBeginInsert();
	XLogRegisterData((char *) &record, SizeOfHeapTruncate);
	XLogRegisterData((char *) relids, n * sizeof(Oid));
	XLogSetRecordFlags(XLOG_INCLUDE_ORIGIN);
	(void) XLogInsert(RM_HEAP_ID, XLOG_HEAP_TRUNCATE);
}

void
paxos_ddl_empty(Oid relid)
{
	lock_with_parts(relid);
	empty(relid);
}

void
paxos_apply_truncate(const PaxosWriteSet *set, const uint64 *changed, int n_changed)
{
	Oid *emptied = palloc(sizeof(Oid) * set->n_tables);
	int n_emptied = 0;
	bool restarted = false;

	paxos_turn_changing(changed, n_changed);
	for (int i = 0; i < set->n_tables; i++)
	{
		Oid relid;
		List *sequences = NIL;
		ListCell *lc;

		if ((set->tables[i].hold & PAXOS_TABLE_TRUNCATED) == 0)
			continue;
		relid = paxos_table_relid(set->tables[i].table_id);
		if (!OidIsValid(relid))
			elog(ERROR, "a certified write set names table " INT64_FORMAT ", which is not here",
				 set->tables[i].table_id);
		if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		{
			paxos_ddl_empty(relid);
			emptied[n_emptied++] = relid;
		}

		/* each node's begins again where it began */
		if ((set->tables[i].hold & PAXOS_TABLE_RESTARTED) != 0)
		{
			restarted = true;
			sequences = getOwnedSequences(relid);
		}
		foreach (lc, sequences)
		{
			(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
			ResetSequence(lfirst_oid(lc));
		}
	}
	if (n_emptied > 0 && XLogLogicalInfoActive())
		log_truncate(emptied, n_emptied, restarted);
	CommandCounterIncrement();
}
