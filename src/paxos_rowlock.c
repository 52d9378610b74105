/*
 * paxos_rowlock.c
 *	  SELECT ... FOR UPDATE, NO KEY UPDATE, SHARE and KEY SHARE on consensus tables: which
 *	  rows a statement has locked becomes part of the transaction's write set
 *	  (paxos_capture.c, paxos_window.c; protocol.md § 6).
 *
 * PostgreSQL locks the row on this node.  What the others must hear is which rows: so
 * the plan's LockRows nodes are watched.  What such a node hands on it has
 * locked, in its latest version, and says where it is (ExecRowMark.curCtid); the row
 * is looked at there.  So NOWAIT, SKIP LOCKED, cursors, LIMIT, sub-selects and
 * a row that moved while it was waited for need nothing of their own; and nor do foreign
 * keys, whose checks are statements with FOR KEY SHARE.  Rows that were locked
 * but not handed on (they no longer met the condition) are locked here only:
 * the client knows nothing of them.
 *
 * A row that was changed by this transaction is in its set, with a lock that all but FOR
 * UPDATE are included in.
 *
 * A correlated sub-select with FOR UPDATE is run once more, in nodes of its own that
 * cannot be found, when the row around it has changed meanwhile (EvalPlanQual).  Its table
 * counts as locked as a whole, in SHARE mode.
 *
 * State: a slot for each mark, in the memory of the statement.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_apply.h"
#include "paxos_rowlock.h"
#include "paxos_set.h"

static ExecProcNodeMtd lock_rows = NULL; /* ExecLockRows(), which is static there */

static PaxosHold
hold_of(const ExecRowMark *mark)
{
	switch (mark->markType)
	{
		case ROW_MARK_KEYSHARE:
			return PAXOS_HOLD_KEY_SHARE;
		case ROW_MARK_SHARE:
			return PAXOS_HOLD_SHARE;
		case ROW_MARK_NOKEYEXCLUSIVE:
			return PAXOS_HOLD_NO_KEY_UPDATE;
		default:
			return PAXOS_HOLD_UPDATE;
	}
}

/* The slots that watch() has prepared: of consensus tables, and no others. */
static TupleTableSlot *
lock_and_tell(PlanState *state)
{
	LockRowsState *node = castNode(LockRowsState, state);
	TupleTableSlot *result = lock_rows(state);
	ListCell *lc;

	if (TupIsNull(result))
		return result;
	foreach (lc, node->lr_arowMarks)
	{
		ExecRowMark *mark = ((ExecAuxRowMark *) lfirst(lc))->rowmark;
		TupleTableSlot *row = mark->ermExtra;

		if (!mark->ermActive || mark->relation == NULL || !paxos_is_consensus_table(mark->relid))
			continue;
		if (!table_tuple_fetch_row_version(mark->relation, &mark->curCtid, SnapshotAny, row))
			elog(ERROR, "a locked row of table \"%s\" vanished",
				 RelationGetRelationName(mark->relation));
		paxos_set_row_lock(mark->relid, row, hold_of(mark));
		ExecClearTuple(row);
	}
	return result;
}

static void
watch_node(LockRowsState *node, bool again)
{
	ListCell *lc;
	bool ours = false;

	if (node->ps.ExecProcNodeReal == lock_and_tell)
		return;
	foreach (lc, node->lr_arowMarks)
	{
		ExecRowMark *mark = ((ExecAuxRowMark *) lfirst(lc))->rowmark;

		if (mark->relation == NULL || !paxos_is_consensus_table(mark->relid))
			continue;
		ours = true;
		if (mark->ermExtra == NULL)
			mark->ermExtra =
				ExecInitExtraTupleSlot(node->ps.state, RelationGetDescr(mark->relation),
									   table_slot_callbacks(mark->relation));
		if (again)
			paxos_set_whole(mark->relid, ShareLock);
	}
	if (!ours)
		return;
	lock_rows = node->ps.ExecProcNodeReal;
	ExecSetExecProcNode(&node->ps, lock_and_tell);
}

/* 'again': in a sub-select that may be run again elsewhere. */
static bool
watch(PlanState *state, void *again)
{
	static bool yes = true;
	ListCell *lc;

	if (state == NULL)
		return false;
	if (IsA(state, LockRowsState))
		watch_node((LockRowsState *) state, again != NULL);
	foreach (lc, state->subPlan)
		(void) watch(lfirst_node(SubPlanState, lc)->planstate, &yes);
	return planstate_tree_walker(state, watch, again);
}

bool
paxos_rowlock_announce(PlannedStmt *stmt)
{
	bool any = false;
	ListCell *lc;

	foreach (lc, stmt->rowMarks)
	{
		PlanRowMark *mark = lfirst_node(PlanRowMark, lc);
		RangeTblEntry *rte = rt_fetch(mark->rti, stmt->rtable);

		if (mark->isParent || !RowMarkRequiresRowShareLock(mark->markType) ||
			rte->rtekind != RTE_RELATION || !paxos_is_consensus_table(rte->relid))
			continue;
		paxos_set_locks(rte->relid);
		any = true;
	}
	return any;
}

void
paxos_rowlock_watch(QueryDesc *query)
{
	ListCell *lc;

	(void) watch(query->planstate, NULL);

	/* sub-plans that hang on no node */
	foreach (lc, query->estate->es_subplanstates)
		(void) watch(lfirst(lc), NULL);
}
