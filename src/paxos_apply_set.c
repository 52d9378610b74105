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
 * delete and an insert.
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
 * No state.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "paxos_apply_int.h"
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

	return n == m && memcmp(before, after, sizeof(uint64) * n) == 0;
}

static void
become_owner(PaxosApplyTable *t, int save_context)
{
	SetUserIdAndSecContext(t->info->owner, save_context | SECURITY_RESTRICTED_OPERATION);
}

void
paxos_apply_set(PaxosApply *apply, const PaxosWriteSet *set, const uint64 *changed, int n_changed)
{
	MemoryContext caller = CurrentMemoryContext;
	PaxosApplyTable **tables = palloc0(sizeof(PaxosApplyTable *) * Max(set->n_tables, 1));
	Action *actions = palloc0(sizeof(Action) * Max(set->n_rows, 1));
	Oid save_user;
	int save_context;
	int nest_level;

	paxos_turn_changing(changed, n_changed);
	for (int i = 0; i < set->n_tables; i++)
	{
		/* a table that was only read may have gone since */
		if (set->tables[i].hold == PAXOS_TABLE_READ)
			continue;
		tables[i] = paxos_apply_open(
			apply, set->tables[i].table_id,
			(set->tables[i].hold & PAXOS_TABLE_CHANGED) != 0 ? RowExclusiveLock : RowShareLock);
		if (tables[i] == NULL)
			elog(ERROR, "a certified write set names table " INT64_FORMAT ", which is not here",
				 set->tables[i].table_id);
		if ((set->tables[i].hold & (PAXOS_TABLE_SHARE | PAXOS_TABLE_EXCLUSIVE)) != 0)
			(void) paxos_lock_for_apply(
				RelationGetRelid(tables[i]->rel),
				(set->tables[i].hold & PAXOS_TABLE_EXCLUSIVE) != 0 ? ExclusiveLock : ShareLock);
	}
	GetUserIdAndSecContext(&save_user, &save_context);
	nest_level = NewGUCNestLevel();

	for (int i = 0; i < set->n_rows; i++)
	{
		const PaxosSetRow *row = &set->rows[i];
		PaxosApplyTable *t = tables[row->table];

		if (row->what < PAXOS_ROW_LOCKED)
			continue;
		MemoryContextReset(apply->command_cxt);
		MemoryContextSwitchTo(apply->command_cxt);
		become_owner(t, save_context);

		/* one that the transaction made itself is not there yet */
		if (paxos_apply_find(t, row->n_key, row->key))
			paxos_apply_lock(t, (LockTupleMode) (row->what - PAXOS_ROW_LOCKED));
	}

	/* What there is to do; and the deletes. */
	for (int i = 0; i < set->n_rows; i++)
	{
		const PaxosSetRow *row = &set->rows[i];
		PaxosApplyTable *t = tables[row->table];

		if (row->what >= PAXOS_ROW_LOCKED)
			continue;
		MemoryContextReset(apply->command_cxt);
		ResetPerTupleExprContext(apply->estate);
		MemoryContextSwitchTo(apply->command_cxt);
		become_owner(t, save_context);
		if (!paxos_apply_find(t, row->n_key, row->key))
			actions[i] = row->what == PAXOS_ROW_PRESENT ? INSERT_ROW : NOTHING;
		else if (row->what == PAXOS_ROW_GONE)
			actions[i] = DELETE_ROW;
		else
		{
			fill(t, t->fresh, row);
			actions[i] = t->info->plain_keys && same_keys(t) ? UPDATE_ROW : REPLACE_ROW;
		}
		if (actions[i] == DELETE_ROW || actions[i] == REPLACE_ROW)
		{
			paxos_apply_delete(t);
			CommandCounterIncrement();
		}
	}

	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < set->n_rows; i++)
		{
			const PaxosSetRow *row = &set->rows[i];
			PaxosApplyTable *t = tables[row->table];

			if (actions[i] == NOTHING || actions[i] == DELETE_ROW ||
				(actions[i] == UPDATE_ROW) != (pass == 0))
				continue;
			MemoryContextReset(apply->command_cxt);
			ResetPerTupleExprContext(apply->estate);
			MemoryContextSwitchTo(apply->command_cxt);
			become_owner(t, save_context);
			if (actions[i] == UPDATE_ROW && !paxos_apply_find(t, row->n_key, row->key))
				elog(ERROR, "a row of a write set vanished");
			fill(t, actions[i] == UPDATE_ROW ? t->fresh : t->proposed, row);
			paxos_apply_store(apply, t, actions[i] == UPDATE_ROW);
			CommandCounterIncrement();
		}
	}
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
	SetUserIdAndSecContext(save_user, save_context);
}
