/*
 * paxos_yield.c
 *	  Nobody stands in the learner's way: it never waits for a local session, but
 *	  ends whoever holds a lock it needs (protocol.md § 6).
 *
 * Suppose it did wait: session S holds a lock on a table and waits, by way of
 * client code, for a slot that comes after the one the learner wants the lock
 * for.  Neither ever moves, and no deadlock detector sees it, because half of the
 * circle is a client.  And all other nodes have gone on long ago.
 *
 * So the holder is cancelled; and terminated if it does not hear, as a session
 * that is idle in a transaction does not.  Statements that would be done in a
 * moment are let finish: the learner stands in the lock's queue that long, so that
 * no new ones get in front of it.  (Looking now and then whether the lock is free
 * would never find a busy table so, however many are ended.)  Sessions that wait for the log hold no
 * lock on a consensus table (paxos_queue.h), so none of them is hit.  What cannot
 * be ended, a prepared transaction, makes an error of the surroundings: the slot
 * is tried again, with an alarm.
 *
 * Only the learner calls this.  No state.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/subtrans.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_turn.h"

/* Who is in the way of a relation's lock is waited for so long (a part of paxos.yield_timeout:
 * 20 ms by default), then cancelled, terminated after paxos.yield_timeout, and given up on (an
 * error of the surroundings, so tried again) so long after that. */
#define YIELD_QUEUE_PART 10
#define YIELD_LOOK_MS 50
#define YIELD_GIVE_UP_MS 10000

/*
 * Signal every process that holds, or waits in front of us for, a lock of 'tag'
 * that conflicts with 'mode'.  Waiters count: behind a reader whose lock does
 * not conflict with ours may wait a writer's whose lock does, and the lock
 * manager lets us pass neither.  Returns the process id of one that cannot be
 * signalled (0 for a prepared transaction), or -1.
 */
static int
signal_in_the_way(const LOCKTAG *tag, LOCKMODE mode, int signal_number)
{
	px_usec now = paxos_now_us(); /* before the look: paxos_turn_canceled_in_vain() */
	LockData *data = GetLockStatusData();
	int deaf = -1;

	for (int i = 0; i < data->nelements; i++)
	{
		LockInstanceData *held = &data->locks[i];
		bool conflicts = false;
		PGPROC *proc;
		int pid;

		if (memcmp(&held->locktag, tag, sizeof(LOCKTAG)) != 0 || held->pid == MyProcPid)
			continue;
		for (LOCKMODE m = AccessShareLock; m <= MaxLockMode && !conflicts; m++)
		{
			if ((held->holdMask & LOCKBIT_ON(m)) != 0 || held->waitLockMode == m)
				conflicts = DoLockModesConflict(m, mode);
		}
		if (!conflicts)
			continue;

		/* a parallel worker's leader is the one to tell */
		pid = held->leaderPid != 0 ? held->leaderPid : held->pid;
		if (pid == 0)
		{
			deaf = 0;
			continue;
		}
		proc = BackendPidGetProc(pid);
		if (proc == NULL)
			continue; /* gone meanwhile */
		paxos_turn_doom(PaxosProcNumber(proc), pid, now);
#ifdef HAVE_SETSID
		if (kill(-pid, signal_number) < 0 && kill(pid, signal_number) < 0)
#else
		if (kill(pid, signal_number) < 0)
#endif
			deaf = pid;
	}
	pfree(data->locks);
	pfree(data);
	return deaf;
}

/*
 * Stand in the queue for a lock for so long: true if we have it.  The way out of the queue is the
 * error of lock_timeout, hence the subtransaction; a lock obtained goes to the outer one.
 */
static bool
queue_for_lock(const LOCKTAG *tag, LOCKMODE mode, int ms)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int timeout = LockTimeout;
	volatile bool locked = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		LockTimeout = ms;
		(void) LockAcquire(tag, mode, false, false);
		AcceptInvalidationMessages();
		LockTimeout = timeout;
		ReleaseCurrentSubTransaction();
		locked = true;
	}
	PG_CATCH();
	{
		ErrorData *edata;

		LockTimeout = timeout;
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (edata->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			edata->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			ReThrowError(edata);
		FreeErrorData(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return locked;
}

/*
 * Obtain the lock 'mode' of a relation or other object or, when the tag is a transaction's,
 * see it end, ending whoever stands in the way.
 */
static void
clear_the_way(LOCKTAG tag, LOCKMODE mode, TransactionId xid)
{
	static uint32 wait_event = 0;
	TimestampTz began = GetCurrentTimestamp();
	PaxosPatience patience = paxos_patience_begin();
	bool object = !TransactionIdIsValid(xid);
	long wait_ms = object ? Max(1, paxos_yield_timeout_ms / YIELD_QUEUE_PART) : 1;

	for (;;)
	{
		bool patient;
		int deaf;

		if (object && queue_for_lock(&tag, mode, (int) wait_ms))
			break;

		patient = !paxos_patience_over(&patience, (px_usec) wait_ms * 1000,
									   (px_usec) paxos_yield_timeout_ms * 1000);
		deaf = signal_in_the_way(&tag, mode, patient ? SIGINT : SIGTERM);

		if (!object)
		{
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, wait_ms,
							 paxos_wait_event(&wait_event, "PaxosLearnerYield"));
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
			wait_ms = Min(wait_ms * 2, YIELD_LOOK_MS);
			if (!TransactionIdIsInProgress(xid))
				break;
		}

		if (TimestampDifferenceExceeds(began, GetCurrentTimestamp(),
									   paxos_yield_timeout_ms + YIELD_GIVE_UP_MS))
			ereport(
				ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 object ? errmsg("could not obtain the lock on %s %u needed to apply the log",
								 tag.locktag_type == LOCKTAG_RELATION ? "relation" : "object",
								 tag.locktag_type == LOCKTAG_RELATION ? tag.locktag_field2
																	  : tag.locktag_field3)
						: errmsg("transaction %u is in the way of applying the log", xid),
				 deaf == 0 ? errdetail("A prepared transaction holds it.") : 0,
				 deaf == 0 ? errhint("Finish it with COMMIT PREPARED or ROLLBACK PREPARED.") : 0));
	}

	/* The latch may have been set for the learner's loop: it looks again. */
	SetLatch(MyLatch);
}

void
paxos_end_transaction_in_the_way(TransactionId xid)
{
	LOCKTAG tag;

	/* a subtransaction that has ended, of one that has not, is locked by nobody */
	SET_LOCKTAG_TRANSACTION(tag, SubTransGetTopmostTransaction(xid));
	clear_the_way(tag, ShareLock, xid); /* what a waiter for a transaction asks for */
}

bool
paxos_lock_for_apply(Oid relid, LOCKMODE mode)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	if (!ConditionalLockRelationOid(relid, mode))
		clear_the_way(tag, mode, InvalidTransactionId);

	/* locked; but is there still something under that number? */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
	{
		UnlockRelationOid(relid, mode);
		return false;
	}
	return true;
}

void
paxos_lock_object_for_apply(Oid class_id, Oid object_id)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, class_id, object_id, 0);
	clear_the_way(tag, AccessExclusiveLock, InvalidTransactionId);
}

/* As the heap: each lock of a row by a lock of a table that conflicts with the same. */
static LOCKMODE
as_table_lock(LockTupleMode mode)
{
	switch (mode)
	{
		case LockTupleKeyShare:
			return AccessShareLock;
		case LockTupleShare:
			return RowShareLock;
		case LockTupleNoKeyExclusive:
			return ExclusiveLock;
		case LockTupleExclusive:
			break;
	}
	return AccessExclusiveLock;
}

static LockTupleMode
held_by_member(MultiXactStatus status)
{
	switch (status)
	{
		case MultiXactStatusForKeyShare:
			return LockTupleKeyShare;
		case MultiXactStatusForShare:
			return LockTupleShare;
		case MultiXactStatusForNoKeyUpdate:
		case MultiXactStatusNoKeyUpdate:
			return LockTupleNoKeyExclusive;
		case MultiXactStatusForUpdate:
		case MultiXactStatusUpdate:
			break;
	}
	return LockTupleExclusive;
}

static LockTupleMode
held_alone(HeapTupleHeader header)
{
	if (HEAP_XMAX_IS_KEYSHR_LOCKED(header->t_infomask))
		return LockTupleKeyShare;
	if (HEAP_XMAX_IS_SHR_LOCKED(header->t_infomask))
		return LockTupleShare;
	return (header->t_infomask2 & HEAP_KEYS_UPDATED) != 0 ? LockTupleExclusive
														  : LockTupleNoKeyExclusive;
}

static void
clear_holder(TransactionId xid, LockTupleMode held, LockTupleMode mode)
{
	if (TransactionIdIsNormal(xid) && !TransactionIdIsCurrentTransactionId(xid) &&
		DoLockModesConflict(as_table_lock(held), as_table_lock(mode)) &&
		TransactionIdIsInProgress(xid))
		paxos_end_transaction_in_the_way(xid);
}

/*
 * The header is read without a buffer lock: a
 * locker that comes this very moment is met by lock_timeout and the next try.
 */
void
paxos_clear_row_locks(TupleTableSlot *row, LockTupleMode mode)
{
	HeapTuple tuple = ExecFetchSlotHeapTuple(row, false, NULL);
	uint16 infomask = tuple->t_data->t_infomask;
	TransactionId xmax;

	if (likely((infomask & HEAP_XMAX_INVALID) != 0))
		return;

	xmax = HeapTupleHeaderGetRawXmax(tuple->t_data);
	if ((infomask & HEAP_XMAX_IS_MULTI) != 0)
	{
		MultiXactMember *members = NULL;
		int n;

		n = GetMultiXactIdMembers(xmax, &members, false, HEAP_XMAX_IS_LOCKED_ONLY(infomask));
		for (int i = 0; i < n; i++)
			clear_holder(members[i].xid, held_by_member(members[i].status), mode);
		if (members != NULL)
			pfree(members);
	}
	else
		clear_holder(xmax, held_alone(tuple->t_data), mode);
}
