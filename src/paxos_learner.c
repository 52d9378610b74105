/*
 * paxos_learner.c
 *	  The process "paxos learner": applies chosen slots in order, each in one
 *	  transaction with the watermark that says so, and tells waiting sessions
 *	  what became of their commands (protocol.md §§ 5, 6; architecture.md § 3).
 *
 * Owns: what the row paxos.replicated says, and the learner's part of shared
 * memory.  Not its business: whether a slot is chosen (the acceptor says so), how its
 * value is carried out (paxos_execute.c), how entries are fetched
 * (paxos_catchup.c), how the row is kept (paxos_replicated.c), the cells of
 * sessions (paxos_queue.c).
 *
 * States, of the process:
 *
 *	idle		no extension, no cluster, fenced or removed: looks again now and then
 *	following	applies what is chosen as it comes
 *	behind		fetches, because the stream began above what this node knows
 *	stuck		the slot after the watermark cannot be applied here; tried again
 *				for ever, with back-off, and said in the log and in paxos.status
 *
 * A transaction applies one slot, or several when several are waiting.  It runs
 * without subtransactions.  If a command throws, all of it is rolled back; the
 * slots before the thrower's are applied again, and the thrower's slot then runs
 * alone and carefully: one subtransaction per command.  (DDL always has one: it
 * fails more often, and never in bulk.)  An error of the command itself is its
 * result.  Every other error is of the surroundings and leaves no trace: the
 * slot has not been applied, and will be.
 *
 * Invariants:
 * - The tables and paxos.replicated change together or not at all; so applied
 *	 in shared memory, published after the commit, never exceeds what any
 *	 snapshot taken afterwards shows (protocol.md § 9).
 * - applied <= chosen, and what is applied at a slot is the value chosen there:
 *	 only entries at or below the acceptor's chosen watermark are read, and a
 *	 value that fails its checksum is never applied.
 * - 'committed' in this file equals the row in the table as of the last
 *	 commit; 'working' is thrown away with its transaction.
 * - A session is told its result only after the commit.
 *
 * The transaction does not wait for its flush: after a crash of the server the
 * log, which was flushed, still has the slots, and the watermark that went down
 * with the tables says where to begin.  Truncation must not use that watermark:
 * it may fall back in a crash.  So the learner remembers where each commit
 * record ended in the WAL and publishes as 'durable' what has been flushed.
 *
 * A crash of this process alone loses results that were committed and not yet
 * delivered: their sessions' outcome is unknown, and the next life says so
 * (paxos_queue_lost).
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "core/px_ballot.h"
#include "paxos_alarm.h"
#include "paxos_apply.h"
#include "paxos_catchup.h"
#include "paxos_divergence.h"
#include "paxos_execute.h"
#include "paxos_log.h"
#include "paxos_memory.h"
#include "paxos_method.h"
#include "paxos_node.h"
#include "paxos_part.h"
#include "paxos_queue.h"
#include "paxos_replicated.h"
#include "paxos_request.h"
#include "paxos_snapshot.h"
#include "paxos_truncate.h"
#include "paxos_turn.h"
#include "paxos_window.h"

/* One transaction takes no more than this, so that results and the watermark
 * keep moving while the learner is far behind. */
#define BATCH_SLOTS PAXOS_OUTCOME_SLOTS
#define BATCH_BYTES (2 * 1024 * 1024)
#define BATCH_US UINT64CONST(100000)

/* Locks outside of paxos_lock_for_apply (catalogs under DDL) are waited for only
 * so long; then it is an error of the surroundings. */
#define APPLY_LOCK_TIMEOUT_MS 1000

/*
 * While no session of this node waits, slots that come one by one are gathered
 * for so long after the last transaction: a transaction costs more than most
 * commands, and plain reads here are older by no more than this.
 */
#define GATHER_US UINT64CONST(5000)

/*
 * A session has so long to take its turn.  One that has taken it is waited for
 * as long as it takes, with an alarm after a while.
 */
#define TURN_TAKE_US UINT64CONST(2000000)
#define TURN_ALARM_US UINT64CONST(10000000)
#define TURN_LOOK_MS 100

#define RETRY_FIRST_US UINT64CONST(10000)
#define RETRY_LAST_US UINT64CONST(10000000)

/* From this attempt on, trouble with a slot is an alarm: published, logged, and
 * a reason to hand over leadership.  Before it may be a lock that was in the way. */
#define STUCK_AFTER 3

#define IDLE_LOOK_MS 1000   /* no cluster, or newly come: look again */
#define NEWCOMER_LOOK_MS 50 /* has the leader come? */
#define DURABLE_LOOK_MS 100 /* a commit record waits for its flush */
#define STATS_LOOK_MS 1000
#define QUIET_LOOK_MS 10000 /* nothing at all happened */

/* ---- replicated state ---- */

static PaxosReplicated committed;
static PaxosReplicated working;

/* ---- this process ---- */

static MemoryContext batch_cxt; /* one transaction: results on their way out */
static MemoryContext value_cxt; /* one slot's value */

static bool loaded = false;          /* 'committed' is what the table says */
static bool newcomer = false;        /* the log alone would not do: paxos_snapshot_needed() */
static bool removal_applied = false; /* and what was executed before it was told */
static uint64 identity_seen = 0;
static PaxosMembership membership = PAXOS_NO_DATABASE;
static pg_uuid_t loaded_cluster; /* whose state is loaded */

static px_slot at_slot = 0;      /* being applied, for errors */
static px_slot careful_slot = 0; /* to be run alone with subtransactions */

static px_entry repaired;          /* came from another member; slot 0: none */
static MemoryContext repaired_cxt; /* its value */

/*
 * Turns.  A slot that holds a write set of this node is tried by giving its session its
 * turn; when that is over and nothing came of it, it is applied like any other.
 */
static px_slot turn_over = 0;
static bool turn_given = false; /* and not known to be over */

static int attempts = 0;        /* failed ones for the slot after the watermark */
static px_usec attempts_us = 0; /* present back-off */
static px_usec retry_at = 0;
static px_usec last_applied_at = 0; /* when the last transaction ended */

/* Commit records not known flushed yet, oldest first. */
#define MAX_UNFLUSHED 64
typedef struct Unflushed
{
	XLogRecPtr end;
	px_slot applied;
} Unflushed;

static Unflushed unflushed[MAX_UNFLUSHED];
static int n_unflushed = 0;

/*
 * ---- one transaction ----
 */

/*
 * The value of a slot, checked; false if this node's log has none that can be
 * applied.
 */
static bool
read_value(px_slot slot, px_entry *entry, px_value_view *view)
{
	if (slot == repaired.slot)
		*entry = repaired;
	else if (!paxos_log_get(slot, entry))
		return false;
	if (px_value_open(entry->value, view))
		return true;
	paxos_log_damaged(slot);
	return false;
}

static bool
holds_own_set(const px_value_view *view)
{
	px_batch_view batch;
	uint32_t pos = 0;

	return view->kind == PX_VALUE_BATCHES && px_value_next_batch(view, &pos, &batch) &&
		   batch.alone && batch.origin == paxos_shared->node_id;
}

/*
 * Apply first .. last, or as many of them as one transaction shall take, and
 * commit.  Stops before a slot whose value cannot be had; working.applied says
 * how far it came.
 *
 * Stops before a slot with a write set of this node, too: what is before it is committed
 * first, and then its session may have its turn.  If that is the first of all, it is judged,
 * and true returned; nothing has been done then.
 */
static bool
apply_transaction(px_slot first, px_slot last, bool careful, px_value_view *judged,
				  PaxosOutcome *outcome)
{
	bool judging = false;
	px_usec began = paxos_now_us();
	uint64 bytes = 0;
	Relation replicated;

	paxos_execute_begin(&working, outcome, batch_cxt);
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(value_cxt);
	replicated = paxos_replicated_open();
	paxos_window_begin(&committed);
	paxos_part_begin();

	for (px_slot slot = first; slot <= last; slot++)
	{
		px_entry entry;
		px_value_view view;

		at_slot = slot;
		if (!read_value(slot, &entry, &view))
			break;
		if (slot != turn_over && holds_own_set(&view))
		{
			judging = slot == first;
			if (judging)
			{
				*judged = view;
				paxos_execute_judge(slot, &view);
			}
			break;
		}
		paxos_execute_value(slot, &view, careful);
		bytes += entry.value.len;
		MemoryContextReset(value_cxt);
		if (outcome->slots >= BATCH_SLOTS || bytes >= BATCH_BYTES ||
			(slot < last && paxos_now_us() - began > BATCH_US) || outcome->new_definitions)
			break;
	}
	paxos_execute_end();
	if (outcome->slots > 0 && !judging)
		paxos_window_save(&working);
	if (outcome->slots > 0 && !judging && !paxos_replicated_write(replicated, &committed, &working))
	{
		loaded = false; /* what it says now is looked at anew */
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s.%s was changed by somebody else", PAXOS_SCHEMA, "replicated")));
	}
	table_close(replicated, NoLock);
	PopActiveSnapshot();
	if (outcome->slots > 0 && !judging)
		paxos_turn_commits(working.applied);
	CommitTransactionCommand();
	MemoryContextSwitchTo(batch_cxt);
	return judging;
}

/*
 * ---- a session's turn ----
 */

/* Sleep until somebody sets the latch, or for so long. */
static void
wait_for_session(long ms)
{
	static uint32 wait_event = 0;

	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 paxos_wait_event(&wait_event, "PaxosLearnerTurn"));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * The session with this set is told to commit, and waited for: first with a bound,
 * within which it must say that it will; from there on without one, because it may have
 * committed.  No transaction is open here meanwhile, and no lock is held.
 */
static bool
session_commits(const px_command_view *command, const px_batch_view *batch, px_slot slot)
{
	px_usec began = paxos_now_us();
	PaxosPatience patience = paxos_patience_begin();
	bool alarmed = false;

	paxos_turn_write(slot, &committed, &working);
	turn_given = true;
	if (!paxos_queue_give_turn(command->cell, command->generation, batch->incarnation,
							   batch->sequence))
	{
		turn_given = false;
		return false;
	}
	while (!paxos_queue_turn_taken(command->cell, command->generation))
	{
		if (paxos_patience_over(&patience, TURN_LOOK_MS * 1000, TURN_TAKE_US) &&
			paxos_queue_withdraw_turn(command->cell, command->generation))
		{
			turn_given = false;
			return false;
		}
		wait_for_session(TURN_LOOK_MS);
	}
	while (!paxos_queue_turn_over(command->cell, command->generation))
	{
		if (!alarmed && paxos_now_us() > began + TURN_ALARM_US)
		{
			alarmed = true;
			paxos_alarm_raise(PAXOS_ALARM_STUCK, slot,
							  "the session that commits this slot does not come to an end");
			ereport(LOG, (errmsg("paxos learner: the session that commits slot " UINT64_FORMAT
								 " does not come to an end",
								 slot)));
		}
		wait_for_session(TURN_LOOK_MS);
	}
	turn_given = false;
	if (alarmed)
		paxos_alarm_clear_range(PAXOS_ALARM_STUCK, 0, PG_INT64_MAX);
	return true;
}

/*
 * Has the session committed the slot?  It says so in its commit; if it has not come to
 * that, the table knows: the watermark is part of its transaction.
 */
static bool
has_committed(px_slot slot, ItemPointer tid)
{
	Relation replicated;
	PaxosReplicated now;

	if (paxos_turn_committed(slot, tid))
		return true;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	replicated = paxos_replicated_open();
	memset(&now, 0, sizeof(now));
	paxos_replicated_read(replicated, &now);
	table_close(replicated, NoLock);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(batch_cxt);
	*tid = now.tid;
	return now.applied == working.applied && now.digest == working.digest;
}

/*
 * The slot holds a write set of this node, which has been judged.  If it is certified and
 * its session waits, the session commits it.  True: the slot is applied, and 'working' says
 * how.
 *
 * turn_over is set only when no session can have the turn any more.  Set too early, the
 * learner would apply the set itself, find its own session's locks in the way, and have
 * it told that it lost.
 */
static bool
run_turn(px_slot slot, const px_value_view *view, const PaxosOutcome *outcome)
{
	px_batch_view batch;
	px_command_view command;
	uint32_t pos = 0;
	ItemPointerData tid;

	if (!px_value_next_batch(view, &pos, &batch))
		elog(ERROR, "slot " UINT64_FORMAT " has lost its batch", slot);
	pos = 0;
	if (outcome->certified_keys == NULL || !px_batch_next_command(&batch, &pos, &command) ||
		!session_commits(&command, &batch, slot) || !has_committed(slot, &tid))
	{
		turn_over = slot;
		return false;
	}
	working.tid = tid;
	paxos_window_row_committed(&working, slot, outcome->certified_keys, outcome->n_certified_keys);
	if (outcome->certified_parts != 0)
		paxos_part_finished(&working, paxos_shared->node_id, outcome->certified_parts);
	return true;
}

/*
 * ---- publication, after the commit ----
 */

static void
note_unflushed(XLogRecPtr end, px_slot applied)
{
	/* When the list is full the youngest waits for a little more. */
	if (n_unflushed == MAX_UNFLUSHED)
		n_unflushed--;
	unflushed[n_unflushed].end = end;
	unflushed[n_unflushed].applied = applied;
	n_unflushed++;
}

/* The highest slot whose commit record has been flushed, or 0 if none more. */
static px_slot
take_flushed(void)
{
	XLogRecPtr flushed;
	px_slot durable = 0;
	int n = 0;

	if (n_unflushed == 0)
		return 0;
	flushed = GetFlushRecPtr(NULL);
	while (n < n_unflushed && unflushed[n].end <= flushed)
		durable = unflushed[n++].applied;
	if (n > 0)
	{
		memmove(unflushed, unflushed + n, sizeof(Unflushed) * (n_unflushed - n));
		n_unflushed -= n;
	}
	return durable;
}

static void
publish_durable(void)
{
	px_slot durable = take_flushed();

	if (durable == 0)
		return;
	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	paxos_shared->durable = durable;
	LWLockRelease(paxos_learner_lock);
}

static void
publish(uint64 gaps)
{
	px_slot durable = take_flushed();

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	PX_ASSERT(committed.applied >= paxos_shared->applied || !loaded);
	paxos_shared->applied = committed.applied;
	if (durable != 0)
		paxos_shared->durable = durable;
	paxos_shared->digest = committed.digest;
	paxos_shared->log_time_us = committed.log_time_us;
	paxos_shared->origins = committed.origins;
	paxos_shared->gaps_seen += gaps;
	paxos_shared->stuck = false;
	paxos_shared->stuck_why[0] = '\0';
	paxos_shared->stuck_slot = 0;
	LWLockRelease(paxos_learner_lock);
}

static void
tell(const PaxosOutcome *outcome)
{
	ListCell *lc;

	/*
	 * Watermark first: a session that has its result and then waits for a read
	 * index must find its own slot applied.
	 */
	publish(outcome->gaps);
	paxos_divergence_applied(committed.applied - outcome->slots + 1, (int) outcome->slots,
							 outcome->digests);

	/* Results before settlements: what was executed is not unknown. */
	foreach (lc, outcome->deliveries)
	{
		PaxosDelivery *d = lfirst(lc);

		paxos_queue_deliver(d->cell, d->generation, d->incarnation, d->sequence, d->index,
							d->decided_at, d->result, d->len);
	}
	foreach (lc, outcome->settlements)
	{
		PaxosSettlement *s = lfirst(lc);

		paxos_queue_settle(s->old_incarnation, s->old_last, s->new_incarnation);
		removal_applied = s->new_incarnation == PAXOS_NO_MORE_INCARNATIONS;
	}
	paxos_queue_applied(committed.applied);

	/*
	 * The proposer learns of what is applied when it looks next; only what it
	 * must act on is worth a wake-up: batches to be sent again, and room for
	 * those that wait in the queue.
	 */
	if (outcome->gaps > 0 || outcome->settlements != NIL)
		paxos_wake_proposer();
	else if (paxos_queue_pending())
		paxos_wake_proposer_for_commands();

	pg_atomic_fetch_add_u64(&paxos_shared->n_applied_slots, outcome->slots);
	pg_atomic_fetch_add_u64(&paxos_shared->n_applied_commands, outcome->commands);
	pg_atomic_fetch_add_u64(&paxos_shared->n_conditions_not_met, outcome->not_met);
	pg_atomic_fetch_add_u64(&paxos_shared->n_command_errors, outcome->errors);
}

/*
 * ---- trouble ----
 */

/* Leave whatever transaction is open, and everything cached from inside it. */
static void
clean_up_after_error(void)
{
	paxos_applying = false;
	LockTimeout = 0;
	LWLockReleaseAll();
	AbortCurrentTransaction();
	paxos_execute_abort();
	paxos_request_reset();
	paxos_window_reset();
	paxos_part_reset();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(batch_cxt);
	MemoryContextReset(value_cxt);
}

/* The error that was caught, to be freed, and nothing of what it interrupted. */
static ErrorData *
take_error(void)
{
	ErrorData *edata;

	MemoryContextSwitchTo(TopMemoryContext);
	edata = CopyErrorData();
	FlushErrorState();
	clean_up_after_error();
	return edata;
}

/*
 * The slot could not be applied, for a reason of the surroundings.  Tried again
 * for ever: nothing else may be applied before it, and skipping it here would
 * make this node another database.
 */
static void
trouble(px_slot slot, const char *why)
{
	attempts++;
	attempts_us = attempts_us == 0 ? RETRY_FIRST_US : Min(attempts_us * 2, RETRY_LAST_US);
	retry_at = paxos_now_us() + attempts_us;
	pg_atomic_fetch_add_u64(&paxos_shared->n_apply_retries, 1);

	if (attempts < STUCK_AFTER)
		return;
	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	paxos_shared->stuck = true;
	strlcpy(paxos_shared->stuck_why, why, sizeof(paxos_shared->stuck_why));
	paxos_shared->stuck_slot = slot;
	LWLockRelease(paxos_learner_lock);
	paxos_alarm_raise(PAXOS_ALARM_STUCK, slot, why);
	paxos_wake_proposer();

	/* loudly at first, then as often as the back-off allows */
	if (attempts == STUCK_AFTER || attempts_us == RETRY_LAST_US)
		ereport(
			LOG,
			(errmsg("paxos learner: cannot apply slot " UINT64_FORMAT ": %s", slot, why),
			 errdetail(
				 "Attempt %d; the next follows in %d ms.  This node does not follow the cluster until it succeeds.",
				 attempts, (int) (attempts_us / 1000))));
}

static void
forget_trouble(void)
{
	if (attempts >= STUCK_AFTER)
		paxos_alarm_clear_range(PAXOS_ALARM_STUCK, 0, PG_INT64_MAX);
	attempts = 0;
	attempts_us = 0;
	retry_at = 0;
}

static void
trouble_is_over(void)
{
	if (attempts >= STUCK_AFTER)
		ereport(LOG,
				(errmsg("paxos learner: slot " UINT64_FORMAT " has been applied after %d attempts",
						committed.applied, attempts + 1)));
	forget_trouble();
}

static void
apply_context(void *arg)
{
	if (at_slot != 0)
		errcontext("applying slot " UINT64_FORMAT ", command %u", at_slot,
				   paxos_execute_at_command());
}

/*
 * A slot is chosen, and the own log does not have it or has it damaged.  Another
 * member's entry is the same value (protocol.md § 11.1).
 */
static bool
fetch_instead(px_slot slot)
{
	volatile bool found = false;

	MemoryContextReset(repaired_cxt);
	repaired.slot = 0;
	if (attempts == 0)
		ereport(LOG, (errmsg("paxos learner: slot " UINT64_FORMAT
							 " is missing or damaged in this node's log; asking the other members",
							 slot)));
	PG_TRY();
	{
		px_entry entry;

		found = paxos_catchup_entry(slot, repaired_cxt, &entry);
		if (found)
			repaired = entry;
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_catchup_close();
		trouble(slot, edata->message);
		FreeErrorData(edata);
		return false;
	}
	PG_END_TRY();
	if (!found)
		trouble(
			slot,
			"its value is missing or damaged in this node's log, and no member that can be reached has it");
	return found;
}

/*
 * Apply what is chosen and not applied, one transaction's worth.  True if the
 * watermark moved or something else is to be tried at once.
 */
static bool
apply_available(px_slot chosen)
{
	px_slot first = committed.applied + 1;
	px_slot last = chosen;
	bool careful = careful_slot == first;
	volatile bool more = true;
	ErrorContextCallback callback;
	px_usec began;
	PaxosOutcome *outcome;
	XLogRecPtr commit_end = InvalidXLogRecPtr;
	volatile bool tried_turn = false;
	px_value_view own_set;

	if (chosen < first)
		return false;

	/* Thrown out of a turn: what came of it is looked at when it is over. */
	if (turn_given)
	{
		if (!paxos_queue_withdraw_turns())
			return false;
		turn_given = false;
		loaded = false;
		identity_seen = 0;
		return true;
	}
	began = paxos_now_us();
	if (retry_at > began)
		return false;

	if (careful)
		last = first;
	else if (careful_slot > first)
		last = Min(last, careful_slot - 1);

	MemoryContextReset(batch_cxt);
	MemoryContextSwitchTo(batch_cxt);
	outcome = palloc0(sizeof(PaxosOutcome));
	working = committed;
	callback.callback = apply_context;
	callback.arg = NULL;
	callback.previous = error_context_stack;

	PG_TRY();
	{
		error_context_stack = &callback;
		paxos_applying = true;
		LockTimeout = APPLY_LOCK_TIMEOUT_MS;
		tried_turn = apply_transaction(first, last, careful, &own_set, outcome);
		if (!tried_turn)
			commit_end = XactLastCommitEnd;
		else if (run_turn(first, &own_set, outcome))
			commit_end = GetXLogInsertRecPtr();
		else
			outcome->slots = 0;
		LockTimeout = 0;
		paxos_applying = false;
		error_context_stack = callback.previous;
	}
	PG_CATCH();
	{
		ErrorData *edata;
		px_slot slot = at_slot;

		error_context_stack = callback.previous;
		MemoryContextSwitchTo(TopMemoryContext);
		edata = CopyErrorData();
		FlushErrorState();
		at_slot = 0;
		clean_up_after_error();
		if (!careful && slot != 0 && paxos_execute_error_is_result(edata))
		{
			careful_slot = slot;
			if (paxos_trace_level >= PAXOS_TRACE_MESSAGES)
				ereport(LOG, (errmsg("paxos learner: slot " UINT64_FORMAT
									 ": a command failed (%s); again with subtransactions",
									 slot, edata->message)));
		}
		else
		{
			/* The slot of the failure may lie above the first; the slots before
			 * it are not to be held up. */
			careful_slot = slot;
			if (slot == first || slot == 0)
			{
				MemoryContextSwitchTo(batch_cxt);
				trouble(first, edata->hint == NULL
								   ? edata->message
								   : psprintf("%s (%s)", edata->message, edata->hint));
				MemoryContextSwitchTo(TopMemoryContext);
			}
			identity_seen = 0; /* was the extension dropped? */
		}
		FreeErrorData(edata);
		return true;
	}
	PG_END_TRY();
	at_slot = 0;

	if (outcome->slots == 0 && tried_turn)
		more = true; /* the session's turn is over */
	else if (outcome->slots == 0)
		more = false; /* the value of 'first' cannot be had */
	else
	{
		committed = working;
		note_unflushed(commit_end, committed.applied);
		tell(outcome);
		if (careful)
			careful_slot = 0;
		if (repaired.slot != 0 && repaired.slot <= committed.applied)
		{
			repaired.slot = 0;
			MemoryContextReset(repaired_cxt);
		}
		trouble_is_over();
		last_applied_at = paxos_now_us();
		paxos_histogram_add(&paxos_shared->apply_us, paxos_now_us() - began);
	}
	MemoryContextSwitchTo(TopMemoryContext);

	if (!more)
		return fetch_instead(first);
	return true;
}

/*
 * This node is no member any more.  What it knows to be chosen it still applies, for its
 * sessions wait for results; the configuration that removed it settles the others.  Who is
 * left then waits for what does not come.  True if there may be more.
 */
static bool
take_leave(void)
{
	PaxosMembership now;

	if (loaded)
	{
		px_acceptor a = paxos_acceptor_look();

		if (!newcomer && apply_available(a.chosen))
			return true;
		if (!newcomer && committed.applied < a.chosen && attempts < STUCK_AFTER)
			return false; /* tried again in a moment */
		forget_trouble();
		loaded = false;
	}
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	now = paxos_shared->membership;
	LWLockRelease(paxos_identity_lock);
	if (!paxos_takes_part(now) && now != PAXOS_NO_DATABASE && now != PAXOS_FORMING)
		paxos_queue_turn_away(removal_applied);
	return false;
}

/*
 * ---- coming to life ----
 */

/*
 * Read the row; from here on this process is the only one that changes it.  The
 * transaction is flushed, and with it every earlier one: what an earlier life of
 * this process applied is durable from here on.
 */
static void
load(void)
{
	Relation rel;
	PaxosReplicated now;
	px_origin self;

	/* An earlier life may have given a session its turn: the row says what came of it
	 * only when that is over. */
	while (!paxos_queue_withdraw_turns())
		wait_for_session(TURN_LOOK_MS);
	turn_given = false;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	rel = paxos_replicated_open();
	memset(&now, 0, sizeof(now));
	paxos_replicated_read(rel, &now);
	table_close(rel, NoLock);
	newcomer = paxos_snapshot_needed();
	PopActiveSnapshot();
	(void) GetCurrentTransactionId(); /* or there would be nothing to flush */
	ForceSyncCommit();
	CommitTransactionCommand();

	loaded = removal_applied = false;
	committed = now;
	paxos_turn_begin(committed.applied);
	n_unflushed = 0;
	careful_slot = 0;
	repaired.slot = 0;
	trouble_is_over();
	paxos_alarm_clear_range(PAXOS_ALARM_STUCK, 0, PG_INT64_MAX); /* of an earlier life */
	paxos_apply_forget();
	paxos_request_reset();
	paxos_window_reset();
	paxos_part_reset();
	turn_over = 0;
	paxos_truncate_reset();

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	paxos_shared->durable = committed.applied;
	LWLockRelease(paxos_learner_lock);
	publish(0);
	paxos_divergence_begin(committed.applied, committed.digest);
	loaded = true;

	/* Results of an earlier life that were not delivered are lost. */
	self = px_origins_get(&committed.origins, paxos_shared->node_id);
	if (self.incarnation != 0)
		paxos_queue_lost(self.incarnation, self.last);
	paxos_queue_applied(committed.applied);
	paxos_wake_proposer();
	if (paxos_trace_level >= PAXOS_TRACE_ROLES)
		ereport(LOG, (errmsg("paxos learner: node %u begins behind slot " UINT64_FORMAT,
							 paxos_shared->node_id, committed.applied)));
}

/*
 * Are we a member of a cluster?  Looked up when the identity in shared memory
 * changed, after trouble, and now and then while the answer is no.
 */
static void
look_around(void)
{
	uint64 generation;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	generation = paxos_shared->identity_generation;
	if (paxos_takes_part(membership))
		membership = paxos_shared->membership;
	LWLockRelease(paxos_identity_lock);
	if (paxos_takes_part(membership) && generation == identity_seen)
		return;

	PG_TRY();
	{
		PaxosMembership now;
		pg_uuid_t cluster_id;

		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		now = paxos_node_load();
		PopActiveSnapshot();
		CommitTransactionCommand();

		/*
		 * DROP EXTENSION, CREATE EXTENSION and a new cluster may have come and
		 * gone since we looked last: it is a member again, but of another one,
		 * and what was loaded belongs to the former.
		 */
		LWLockAcquire(paxos_identity_lock, LW_SHARED);
		cluster_id = paxos_shared->cluster_id;
		LWLockRelease(paxos_identity_lock);

		if (!paxos_takes_part(now))
			loaded = loaded && now == PAXOS_REMOVED &&
					 memcmp(&cluster_id, &loaded_cluster, sizeof(pg_uuid_t)) == 0;
		else if (!loaded || !paxos_takes_part(membership) ||
				 memcmp(&cluster_id, &loaded_cluster, sizeof(pg_uuid_t)) != 0)
		{
			load();
			loaded_cluster = cluster_id;
		}
		membership = now;
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		membership = PAXOS_NO_CLUSTER;
		loaded = false;
		ereport(LOG,
				(errmsg("paxos learner: could not find out about this node: %s", edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);

	/*
	 * As it was before we looked: if it moved meanwhile, by ourselves or by
	 * somebody else, we look once more.
	 */
	identity_seen = generation;
}

/*
 * A value known chosen, and perhaps applied long ago, is damaged in the own log:
 * others may need it from here.
 */
static bool
repair(px_slot slot, px_slot truncated)
{
	volatile bool done = false;

	if (slot <= truncated)
	{
		(void) paxos_alarm_clear(PAXOS_ALARM_CORRUPT_VALUE, slot);
		return true;
	}
	if (paxos_catchup_retry_at() > paxos_now_us())
		return false;
	PG_TRY();
	{
		px_entry entry;

		done = paxos_catchup_entry(slot, repaired_cxt, &entry);
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_catchup_close();
		ereport(LOG, (errmsg("paxos learner: could not repair slot " UINT64_FORMAT ": %s", slot,
							 edata->message)));
		FreeErrorData(edata);
		attempts_us = attempts_us == 0 ? RETRY_FIRST_US : Min(attempts_us * 2, RETRY_LAST_US);
		retry_at = paxos_now_us() + attempts_us;
	}
	PG_END_TRY();
	if (repaired.slot == 0)
		MemoryContextReset(repaired_cxt);
	return done;
}

/*
 * Fetch what is missing below what this node shall know: below its stream's
 * first slot, or as far as its candidate was told to.  True if something came.
 */
static bool
fetch_missing(const px_acceptor *a)
{
	px_slot from = 0;
	px_slot to = 0;
	px_slot wanted_to;
	px_node prefer;
	volatile bool progress = false;
	bool missing = px_acceptor_gap(a, &from, &to);
	px_slot damaged = paxos_alarm_highest(PAXOS_ALARM_CORRUPT_VALUE);

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	wanted_to = paxos_shared->fetch_to;
	prefer = paxos_shared->fetch_from;
	LWLockRelease(paxos_learner_lock);
	/* A damaged value that others may know chosen by now, where this node cannot
	 * promise anything before it knows it, too. */
	if (damaged > Max(a->chosen, wanted_to))
	{
		wanted_to = damaged;
		prefer = 0;
	}
	if (wanted_to > a->chosen)
	{
		from = a->chosen + 1;
		to = missing ? Max(to, wanted_to) : wanted_to;
		missing = true;
	}
	else
		prefer = 0;

	if (!missing && damaged != 0)
		return repair(damaged, a->truncated);
	if (!missing)
	{
		paxos_catchup_close();
		return false;
	}
	if (paxos_catchup_retry_at() > paxos_now_us())
		return false;

	pgstat_report_activity(STATE_RUNNING, "fetching log entries");
	PG_TRY();
	{
		progress = paxos_catchup_fetch(from, to, prefer);
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_catchup_close();
		ereport(LOG,
				(errmsg("paxos learner: could not store fetched entries: %s", edata->message)));
		FreeErrorData(edata);
		attempts_us = attempts_us == 0 ? RETRY_FIRST_US : Min(attempts_us * 2, RETRY_LAST_US);
		retry_at = paxos_now_us() + attempts_us;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, NULL);
	return progress;
}

/*
 * Instead of slots: the slots needed next are cut from every log that can be
 * reached, or this is a new member, or somebody wants it.  True if one was loaded.
 */
static bool
load_snapshot(const px_acceptor *a)
{
	volatile px_slot at = 0;
	px_slot at_least = committed.applied + 1;
	bool ordered;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	ordered = paxos_shared->snapshot_ordered;
	LWLockRelease(paxos_learner_lock);
	if (!newcomer && !ordered && !paxos_catchup_cut())
		return false;

	/*
	 * Nobody has spoken to this newcomer yet: the call that adds it may have been
	 * broken off before the leader heard of it, and when it is made again it must
	 * find empty tables, perhaps for another number.
	 */
	if (newcomer && a->promised == 0)
		return false;
	if (ordered)
		at_least = committed.applied;
	else if (newcomer)
	{
		/*
		 * Not of before its number was given: a former member whose sequences
		 * left the same remainder has added no row above that.  And a former member
		 * left behind would tell it of none but nodes that are gone; so it knows who
		 * can tell it of the configuration it is a member of.
		 */
		LWLockAcquire(paxos_identity_lock, LW_SHARED);
		at_least = Max(at_least, paxos_shared->config.slot);
		LWLockRelease(paxos_identity_lock);
	}
	if (retry_at > paxos_now_us())
		return false;

	paxos_turn_changing(NULL, 0);
	pgstat_report_activity(STATE_RUNNING, "loading a snapshot");
	PG_TRY();
	{
		at = paxos_snapshot_load(at_least);
		if (at == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("no member that can be reached has a later state than this node")));
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_snapshot_failed(edata->message);
		MemoryContextSwitchTo(batch_cxt);
		trouble(committed.applied + 1,
				psprintf("could not load a snapshot: %s%s%s", edata->message,
						 edata->hint != NULL ? " " : "", edata->hint != NULL ? edata->hint : ""));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	pgstat_report_activity(STATE_IDLE, NULL);
	if (at == 0)
		return false;

	if (ordered)
	{
		LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
		paxos_shared->snapshot_ordered = false;
		LWLockRelease(paxos_learner_lock);
	}
	paxos_catchup_forget();

	/* The row is read anew, and the configuration that came along. */
	loaded = false;
	identity_seen = 0;
	return true;
}

/*
 * A newcomer that was removed before it knew that it had come: it does not stand, so
 * no voter's answer tells it, and gets neither slots nor snapshots.  It asks, now
 * and then, as long as it knows no configuration that it is a member of.
 */
static void
ask_whether_removed(void)
{
	static px_usec ask_at = 0;
	px_usec now = paxos_now_us();

	if (now < ask_at)
		return;
	ask_at = now + (px_usec) IDLE_LOOK_MS * 1000;
	PG_TRY();
	{
		if (paxos_snapshot_told_removed())
			identity_seen = 0;
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_snapshot_failed(edata->message);
		ereport(LOG, (errmsg("paxos learner: could not ask the members about this node: %s",
							 edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* What this node remembers of others (paxos_memory.c), now and then. */
static void
save_memory(void)
{
	PG_TRY();
	{
		(void) paxos_memory_save();
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		ereport(LOG,
				(errmsg("paxos learner: could not write down what is remembered of members: %s",
						edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* A little of what the log can do without.  True if there is more. */
static bool
truncate_some(void)
{
	volatile bool more = false;

	PG_TRY();
	{
		more = paxos_truncate_some();
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		paxos_truncate_failed();
		ereport(LOG, (errmsg("paxos learner: could not cut the log: %s", edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	return more;
}

/* Some of the parts of sets that are over.  True if there is more. */
static bool
sweep_parts(void)
{
	volatile bool more = false;

	if (turn_given)
		return false;
	PG_TRY();
	{
		more = paxos_part_sweep(&committed);
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		ereport(LOG, (errmsg("paxos learner: could not delete parts of write sets: %s",
							 edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	return more;
}

/* Tables whose session has gone.  True: look again soon. */
static bool
look_after_tables(void)
{
	volatile bool any = true;

	if (turn_given)
		return false;
	PG_TRY();
	{
		any = paxos_becoming_look();
	}
	PG_CATCH();
	{
		ErrorData *edata = take_error();

		ereport(LOG, (errmsg("paxos learner: could not look after tables on their way: %s",
							 edata->message)));
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	return any;
}

static void
leave(int code, Datum arg)
{
	pg_atomic_write_u32(&paxos_shared->learner_gathers, 0);
	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	if (paxos_shared->learner_procno == PaxosMyProcNumber())
		paxos_shared->learner_procno = -1;
	LWLockRelease(paxos_learner_lock);
}

/*
 * How long what is chosen may still be gathered; 0: apply now.  Not while
 * behind: then a transaction is full anyway.
 */
static px_usec
may_gather_us(px_slot chosen)
{
	px_usec now;

	if (chosen <= committed.applied || chosen - committed.applied >= BATCH_SLOTS / 4 ||
		paxos_queue_anyone_waits())
		return 0;
	now = paxos_now_us();
	return now < last_applied_at + GATHER_US ? last_applied_at + GATHER_US - now : 0;
}

/* How long nothing needs doing unless somebody sets the latch. */
static long
time_to_wait_ms(const px_acceptor *a)
{
	px_usec now = paxos_now_us();
	long ms = QUIET_LOOK_MS;
	px_usec at;

	if (!paxos_takes_part(membership))
		return IDLE_LOOK_MS;
	if (n_unflushed > 0)
		ms = DURABLE_LOOK_MS;
	if (membership == PAXOS_JOINING)
		ms = a->promised == 0 ? NEWCOMER_LOOK_MS : Min(ms, IDLE_LOOK_MS);
	if (a->chosen > committed.applied && retry_at > now)
		ms = Min(ms, (long) ((retry_at - now) / 1000) + 1);
	at = Max(paxos_catchup_retry_at(), retry_at);
	if (at > now)
		ms = Min(ms, (long) ((at - now) / 1000) + 1);
	return ms;
}

void
paxos_learner_main(Datum arg)
{
	uint32 wait_event = 0;
	bool stats_pending = false;
	bool look_again = false;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	paxos_wait_while_held_off();
	BackgroundWorkerInitializeConnection(paxos_database, NULL, 0);
	paxos_fix_worker_settings();

	/* the log is durable already; see the top of this file */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	batch_cxt =
		AllocSetContextCreate(TopMemoryContext, "paxos learner batch", ALLOCSET_DEFAULT_SIZES);
	value_cxt =
		AllocSetContextCreate(TopMemoryContext, "paxos learner value", ALLOCSET_DEFAULT_SIZES);
	repaired_cxt =
		AllocSetContextCreate(TopMemoryContext, "paxos learner repair", ALLOCSET_SMALL_SIZES);

	before_shmem_exit(leave, (Datum) 0);
	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	paxos_shared->learner_procno = PaxosMyProcNumber();
	LWLockRelease(paxos_learner_lock);
	pgstat_report_activity(STATE_IDLE, NULL);

	for (;;)
	{
		px_acceptor a;
		bool busy = false;
		px_usec gather = 0;
		long ms;
		int rc;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		/*
		 * Before looking at anything: who sets the latch after this has its
		 * change seen on the next turn at the latest.
		 */
		ResetLatch(MyLatch);
		pg_atomic_write_u32(&paxos_shared->learner_gathers, 0);
		pg_memory_barrier();

		look_around();
		memset(&a, 0, sizeof(a));
		if (paxos_takes_part(membership) && loaded)
		{
			a = paxos_acceptor_look();
			gather = may_gather_us(a.chosen);
			if (membership == PAXOS_JOINING && a.promised != 0)
			{
				ask_whether_removed();
				if (identity_seen == 0)
					continue;
			}
			busy = load_snapshot(&a);
			if (busy)
				continue;
			busy = !newcomer && gather == 0 && apply_available(a.chosen);
			if (busy)
				stats_pending = true;
			else if (gather == 0)
				busy = fetch_missing(&a);
			publish_durable();
			if (gather == 0 && truncate_some())
			{
				busy = true;
				stats_pending = true;
			}
			if (gather == 0 && sweep_parts())
			{
				busy = true;
				stats_pending = true;
			}
		}
		if (!paxos_takes_part(membership))
			busy = take_leave();
		if (membership == PAXOS_MEMBER && !busy && gather == 0 && loaded)
			look_again = look_after_tables();
		if (membership == PAXOS_MEMBER && !busy)
			save_memory();
		if (stats_pending)
		{
			/* reports now and then, whatever we ask; autovacuum lives on it */
			if (pgstat_report_stat(false) == 0)
				stats_pending = false;
		}
		if (busy)
			continue;

		ms = gather > 0 ? (long) (gather / 1000 + 1) : time_to_wait_ms(&a);
		pg_atomic_write_u32(&paxos_shared->learner_gathers, gather > 0 ? 1 : 0);
		if (stats_pending || look_again)
			ms = Min(ms, STATS_LOOK_MS);
		rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					   paxos_wait_event(&wait_event, "PaxosLearnerMain"));

		/* Nobody tells us of DROP EXTENSION. */
		if ((rc & WL_TIMEOUT) != 0 && ms == QUIET_LOOK_MS)
			identity_seen = 0;
	}
}
