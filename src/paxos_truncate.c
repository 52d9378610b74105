/*
 * paxos_truncate.c
 *	  Cutting the log (protocol.md § 8): how much of it this node keeps, and
 *	  deleting the rest, a little at a time; paxos_truncate_log().
 *
 * Owns: the decision where the log shall begin.  Not its business: the table
 * (paxos_log.c), the watermark "truncated" (paxos_acceptor.c publishes it), vacuum
 * (autovacuum, by the settings on paxos.log_entry).
 *
 * The learner does it, between two of its transactions: it alone knows what is
 * *durably* applied here, and it reads the log in slot order anyway.  A process
 * for this alone would have nothing to do most of the time.
 *
 * What may go is
 *
 *		min(durably applied here, truncatable, above a snapshot being served)
 *
 * where truncatable came with the leader's last Accept: durably applied on every
 * member whose stream is open.  Of that, the youngest paxos.log_retention_slots,
 * and no more than paxos.log_retention_size of them, stay for members that are
 * away.  A member that is there and slow, or whose learner is stuck, holds
 * paxos.log_hold_size of it: what is beyond goes, and it is sent a copy of the tables if its
 * own log does not have what it lacks.  paxos_truncate_log(keep) overrides all that.  Durably, because after a crash the
 * learner goes on from what was flushed: a slot cut above that is lost here.
 *
 * Bytes are counted by reading the log once more behind the watermark, MARK_SLOTS
 * at a time: so nothing needs counting when entries are written, and after a start
 * the same loop counts what is there already, without anybody waiting for it.
 *
 * One transaction deletes a few hundred entries under the acceptor lock, so
 * voting waits for some milliseconds, and never for a flush: the commit is
 * asynchronous like all of the learner's.  After a crash the log may begin below
 * what was said to be truncated, which harms nobody: those slots are durably
 * applied here, and acknowledged without being stored either way.
 *
 * Private memory only; a crash loses the counts, and they are made again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "paxos_acceptor.h"
#include "paxos_truncate.h"

#define MARK_SLOTS 16

/* Marks counted in one go, so that the learner comes back to its work. */
#define MARKS_AT_ONCE 64

/* Fewer slots than this are cut only when nothing was for so long. */
#define WORTH_SLOTS 256
#define WAIT_US UINT64CONST(1000000)

/* After an error. */
#define RETRY_US UINT64CONST(10000000)

PG_FUNCTION_INFO_V1(paxos_truncate_log);

/* mark[i]: bytes of the values of slots base + i * MARK_SLOTS + 1 .. + MARK_SLOTS */
static uint64 *marks = NULL;
static int n_marks = 0;
static int room = 0;
static px_slot base = 0;
static uint64 marked_bytes = 0; /* sum of all marks */

static px_slot swept = 0; /* no entry stands at or below it */
static px_usec last_cut_at = 0;
static px_usec retry_at = 0;

void
paxos_truncate_reset(void)
{
	n_marks = 0;
	base = 0;
	marked_bytes = 0;
	swept = 0;
	retry_at = 0;
}

void
paxos_truncate_failed(void)
{
	paxos_truncate_reset();
	retry_at = paxos_now_us() + RETRY_US;
}

/* Forget the marks of what has been cut. */
static void
drop_marks(px_slot truncated)
{
	int n = 0;

	if (n_marks == 0)
	{
		base = truncated;
		return;
	}
	while (n < n_marks && base + MARK_SLOTS <= truncated)
	{
		marked_bytes -= marks[n++];
		base += MARK_SLOTS;
	}
	n_marks -= n;
	memmove(marks, marks + n, sizeof(uint64) * n_marks);
	if (n_marks == 0)
		base = Max(base, truncated);
}

/* Count what is durably applied and not counted yet.  True if there is more. */
static bool
count_some(px_slot durable)
{
	px_slot counted = base + (px_slot) n_marks * MARK_SLOTS;

	if (counted + MARK_SLOTS > durable)
		return false;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	for (int i = 0; i < MARKS_AT_ONCE && counted + MARK_SLOTS <= durable; i++)
	{
		uint64 bytes = paxos_log_bytes(counted + 1, counted + MARK_SLOTS);

		if (n_marks == room)
		{
			room = Max(room * 2, 1024);
			if (marks == NULL)
				marks = MemoryContextAlloc(TopMemoryContext, sizeof(uint64) * room);
			else
				marks = repalloc_huge(marks, sizeof(uint64) * room);
		}
		marks[n_marks++] = bytes;
		marked_bytes += bytes;
		counted += MARK_SLOTS;
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	return counted + MARK_SLOTS <= durable;
}

/* Up to where the log would go if so many bytes stayed. */
static px_slot
beyond_bytes(uint64 most)
{
	px_slot to = base;
	uint64 bytes = marked_bytes;

	for (int i = 0; i < n_marks && bytes > most; i++)
	{
		bytes -= marks[i];
		to += MARK_SLOTS;
	}
	return to;
}

/* Up to where the log may go by the two settings. */
static px_slot
beyond_retention(px_slot durable)
{
	px_slot slots = (px_slot) paxos_log_retention_slots;
	px_slot by_slots = durable > slots ? durable - slots : 0;

	return Max(by_slots, beyond_bytes((uint64) paxos_log_retention_kb * 1024));
}

/* Cut up to 'to', or as far as one transaction goes. */
static void
cut(px_slot to)
{
	px_slot reached;

	StartTransactionCommand();
	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot()); /* after the lock; see paxos_log.c */
	reached = paxos_log_delete(swept + 1, to);
	if (reached > paxos_acceptor_look().truncated)
		paxos_acceptor_stage_cut(reached);
	PopActiveSnapshot();
	CommitTransactionCommand();
	swept = reached;
	last_cut_at = paxos_now_us();
}

bool
paxos_truncate_some(void)
{
	px_acceptor a = paxos_acceptor_look();
	px_usec now = paxos_now_us();
	px_slot durable;
	px_slot ordered;
	px_slot may_go;
	px_slot most; /* whoever still needs more */
	px_slot to;
	bool more;

	if (now < retry_at)
		return false;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	durable = paxos_shared->durable;
	ordered = Min(paxos_shared->cut_ordered, durable);
	most = durable;
	if (now < paxos_shared->serving_until)
		most = Min(most, paxos_shared->serving_slot);
	LWLockRelease(paxos_learner_lock);
	may_go = Min(most, a.truncatable);

	drop_marks(a.truncated);
	more = count_some(durable);
	to = Max(Min(beyond_retention(durable), may_go), ordered);
	if (paxos_log_hold_mb > 0)
		to = Max(to, Min(beyond_bytes((uint64) paxos_log_hold_mb * 1024 * 1024), most));

	/* Behind a snapshot entries stand at or below truncated. */
	to = Max(to, a.truncated);
	if (to <= swept)
		return more;
	if (to - swept < WORTH_SLOTS && now < last_cut_at + WAIT_US && ordered <= a.truncated)
		return more;
	cut(to);
	return true;
}

/*
 * paxos_truncate_log(keep_slots)
 *
 * Done by the learner.  Without an argument it is only made to look now; with one,
 * whatever the settings say or members still need goes, but for so many slots.
 */
Datum
paxos_truncate_log(PG_FUNCTION_ARGS)
{
	static uint32 wait_event = 0;
	TimestampTz began = GetCurrentTimestamp();
	px_slot to = 0;
	bool in_time = true;

	paxos_require_member();
	if (!PG_ARGISNULL(0))
	{
		int64 keep = PG_GETARG_INT64(0);

		if (keep < 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("keep_slots must not be negative")));
		LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
		if (paxos_shared->durable > (px_slot) keep)
			to = paxos_shared->durable - keep;
		paxos_shared->cut_ordered = Max(paxos_shared->cut_ordered, to);
		LWLockRelease(paxos_learner_lock);
	}
	paxos_wake_learner();

	while (paxos_acceptor_look().truncated < to && in_time)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10L,
						 paxos_wait_event(&wait_event, "PaxosTruncate"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		in_time =
			paxos_statement_timeout_ms == 0 ||
			!TimestampDifferenceExceeds(began, GetCurrentTimestamp(), paxos_statement_timeout_ms);
	}
	if (!in_time)
		ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
						errmsg("the log has not been cut up to slot " UINT64_FORMAT " yet", to),
						errhint("The learner does it in the background; see paxos.status.")));
	PG_RETURN_INT64((int64) paxos_acceptor_look().truncated);
}
