/*
 * paxos_turn.c
 *	  Between sessions whose transactions change consensus tables (paxos_set.c) and
 *	  the learner: who is in its way, and what a session writes in its turn.
 *
 * Doomed.  A transaction that has not been decided holds row and table locks, and the
 * learner, applying an earlier slot, may need them.  It never waits: it marks the
 * transaction here and cancels it (paxos_yield.c).  The mark turns the cancellation
 * into 40001, and is raised again at every further statement, for PL/pgSQL may have
 * caught the first.  Whether a transaction whose set has been sent has lost is
 * certain if the command changes one of its keys: the command stands at a slot above
 * the set's base (the base was applied when the set was proposed, this slot is not
 * yet) and below the set's own slot (else its turn had come before), so the verdict
 * can only be "lost".  Otherwise the session is told that the outcome is unknown.
 *
 * The turn.  The learner has committed everything below the slot and holds no lock;
 * it computes the replicated state as it will be behind the slot, leaves it here, and
 * lets the session write it in the session's own transaction, beside what that has
 * changed: both become visible at once, or neither.  One turn at a time, so one place.
 *
 * Entries are one per process, by its number.  entry.pid and keys: paxos_queue_lock, written by
 * the process itself; canceled_*: the same lock, written by the learner for any process; 'doom' is
 * written by the learner under the lock, and read by the
 * process without (it only ever rises while the process is registered).  'payload':
 * written by the learner before the cell changes to TURN, read by the session after;
 * the cell's lock orders the two.
 *
 * A crash clears all of it, with the sessions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/shmem.h"

#include "paxos_ext.h"
#include "paxos_turn.h"

/* A set of more keys than this that has to make way is told "unknown". */
#define ENTRY_KEYS 256

/* A cancellation that strikes so long after the learner's signal is not the learner's. */
#define CANCEL_US UINT64CONST(1000000)

typedef struct Entry
{
	int pid; /* 0: no transaction of ours */
	int canceled_pid;
	px_usec canceled_us; /* when the learner last saw that canceled_pid is in its way */
	PaxosDoom doom;
	int n_keys; /* -1: more than there is room for */
	uint64 keys[ENTRY_KEYS];
} Entry;

typedef struct Turn
{
	pg_atomic_uint32 n_registered;
	pg_atomic_uint64 base; /* written by who commits: one at a time, for its slot is next */
	px_slot slot;
	PaxosReplicated before;
	PaxosReplicated after;
	Entry entries[FLEXIBLE_ARRAY_MEMBER];
} Turn;

static Turn *turn = NULL;

/* this process */
static bool registered = false;
static const uint64 *changing = NULL;
static int n_changing = 0;
static px_slot committing = 0;
static TimestampTz committed_in = 0; /* the client's command in which something was last done */

Size
paxos_turn_shmem_size(void)
{
	return MAXALIGN(add_size(offsetof(Turn, entries), mul_size(sizeof(Entry), MaxBackends)));
}

void
paxos_turn_shmem_init(void)
{
	bool found;

	turn = ShmemInitStruct("paxos turn", paxos_turn_shmem_size(), &found);
	if (found)
		return;
	memset(turn, 0, paxos_turn_shmem_size());
	pg_atomic_init_u32(&turn->n_registered, 0);
	pg_atomic_init_u64(&turn->base, 0);
}

/* ---- session ---- */

static Entry *
my_entry(void)
{
	return &turn->entries[PaxosMyProcNumber()];
}

void
paxos_turn_register(void)
{
	Entry *e = my_entry();

	if (registered)
		return;
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	e->pid = MyProcPid;
	e->doom = PAXOS_NOT_DOOMED;
	e->n_keys = 0;
	LWLockRelease(paxos_queue_lock);
	pg_atomic_fetch_add_u32(&turn->n_registered, 1);
	registered = true;
}

void
paxos_turn_unregister(void)
{
	if (!registered)
		return;
	registered = false;
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	my_entry()->pid = 0;
	LWLockRelease(paxos_queue_lock);
	pg_atomic_fetch_sub_u32(&turn->n_registered, 1);
}

PaxosDoom
paxos_turn_doomed(void)
{
	return registered ? *(volatile PaxosDoom *) &my_entry()->doom : PAXOS_NOT_DOOMED;
}

/* Has the learner lately seen this process in its way, and cancelled it? */
static bool
canceled_lately(void)
{
	Entry *e;

	if (turn == NULL || MyProc == NULL || PaxosMyProcNumber() >= MaxBackends)
		return false;
	e = my_entry();
	return e->canceled_pid == MyProcPid && paxos_now_us() < e->canceled_us + CANCEL_US;
}

/*
 * Whoever it is - a SELECT, a statement about definitions, a transaction - hears 40001: nobody
 * has asked for "canceling statement due to user request".  Between the learner's look at the
 * lock table and its signal the transaction may have ended and the next one begun; that one is
 * cancelled in vain, and hears the same.  But not where the same command of the client has
 * committed something (a procedure), or had it decided: who is told "try again" does it twice.
 */
bool
paxos_turn_canceled(void)
{
	if (paxos_turn_doomed() != PAXOS_NOT_DOOMED)
		return true;
	return MyBackendType != B_AUTOVAC_WORKER &&
		   committed_in != GetCurrentStatementStartTimestamp() && canceled_lately();
}

/*
 * The learner looked, the session gave up its locks and sent its command, the learner signalled:
 * a command that waits for its outcome would be told that it is unknown, for nothing.  A session
 * that has a lock still is seen, and cancelled, again; so the mark is good for once.
 */
bool
paxos_turn_canceled_in_vain(px_usec since)
{
	bool in_vain;

	if (!canceled_lately())
		return false;
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	in_vain = my_entry()->canceled_us < since;
	if (in_vain)
		my_entry()->canceled_pid = 0;
	LWLockRelease(paxos_queue_lock);
	return in_vain;
}

void
paxos_turn_decided(void)
{
	committed_in = GetCurrentStatementStartTimestamp();
}

void
paxos_turn_raise(void)
{
	/* the cancellation that came with the mark has done its work */
	if (!ProcDiePending)
		QueryCancelPending = false;
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg(PAXOS_DOOMED_MESSAGE),
					errdetail(PAXOS_DOOMED_DETAIL), errhint(PAXOS_DOOMED_HINT)));
}

void
paxos_turn_publish(const uint64 *keys, int n)
{
	Entry *e = my_entry();
	PaxosDoom doom;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	doom = e->doom;
	e->n_keys = n <= ENTRY_KEYS ? n : -1;
	if (n <= ENTRY_KEYS)
		memcpy(e->keys, keys, sizeof(uint64) * n);
	LWLockRelease(paxos_queue_lock);
	if (doom != PAXOS_NOT_DOOMED)
		paxos_turn_raise();
}

px_slot
paxos_turn_base(void)
{
	return pg_atomic_read_u64(&turn->base);
}

/*
 * Before the locks of the transaction are released: who has waited for one of its rows
 * reads the base after this.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && committing != 0)
	{
		pg_atomic_write_u64(&turn->base, committing);
		paxos_turn_decided();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		committing = 0;
}

void
paxos_turn_commits(px_slot slot)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(at_transaction_end, NULL);
	watching = true;
	committing = slot;
}

void
paxos_turn_begin(px_slot applied)
{
	pg_atomic_write_u64(&turn->base, applied);
}

void
paxos_turn_read(px_slot *slot, PaxosReplicated *before, PaxosReplicated *after)
{
	*slot = turn->slot;
	*before = turn->before;
	*after = turn->after;
}

void
paxos_turn_wrote(const PaxosReplicated *after)
{
	turn->after.tid = after->tid;
}

/* ---- learner ---- */

PaxosPatience
paxos_patience_begin(void)
{
	PaxosPatience p = {paxos_now_us(), 0};

	return p;
}

bool
paxos_patience_over(PaxosPatience *p, px_usec nap_us, px_usec most_us)
{
	px_usec now = paxos_now_us();

	p->spent_us += Min(now - Min(p->looked_us, now), 2 * nap_us);
	p->looked_us = now;
	return p->spent_us > most_us;
}

bool
paxos_turn_committed(px_slot slot, ItemPointer tid)
{
	if (pg_atomic_read_u64(&turn->base) < slot)
		return false;
	pg_read_barrier();
	*tid = turn->after.tid;
	return true;
}

bool
paxos_turn_anyone(void)
{
	return pg_atomic_read_u32(&turn->n_registered) > 0;
}

void
paxos_turn_changing(const uint64 *keys, int n)
{
	changing = keys;
	n_changing = n;
}

static bool
meets(const Entry *e)
{
	for (int i = 0; i < n_changing; i++)
	{
		for (int j = 0; j < e->n_keys; j++)
		{
			if (changing[i] == e->keys[j])
				return true;
		}
	}
	return false;
}

void
paxos_turn_doom(int number, int pid, px_usec seen_us)
{
	Entry *e;

	if (number < 0 || number >= MaxBackends)
		return;
	e = &turn->entries[number];
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	e->canceled_pid = pid;
	e->canceled_us = seen_us;
	if (e->pid == pid && e->doom != PAXOS_DOOMED_LOST)
		e->doom = meets(e) ? PAXOS_DOOMED_LOST : PAXOS_DOOMED_UNKNOWN;
	LWLockRelease(paxos_queue_lock);
}

void
paxos_turn_write(px_slot slot, const PaxosReplicated *before, const PaxosReplicated *after)
{
	turn->slot = slot;
	turn->before = *before;
	turn->after = *after;
}
