/*
 * paxos_shmem.c
 *	  The shared memory of one server: allocation, the six locks, waking the
 *	  workers, keeping them away from a database that is being dropped, and
 *	  the small checks every function begins with.
 *
 * Owns: the segment's layout at start and the locks' order.  Not its business:
 * what the fields mean (each names its guard and its writer in paxos_shmem.h).
 *
 * Lock order, outermost first: the transaction-long acceptor lock
 * (paxos_log.c), identity_lock, acceptor_lock, proposer_lock, learner_lock,
 * queue_lock, integrity_lock.  Nobody does I/O or waits while holding one of the
 * last six.
 *
 * Everything here is volatile.  When any server process crashes, the
 * postmaster reinitialises shared memory and starts the workers anew: the
 * acceptor is then loaded from its tables (paxos_node.c) exactly as after a
 * start of the server, sessions are gone with the rest, and the open stream and
 * a stickiness lease are lost, which is safe (protocol.md § 3.3).
 */
#include "postgres.h"

#include <signal.h>
#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/wait_event.h"

#include "paxos_alarm.h"
#include "paxos_queue.h"
#include "paxos_turn.h"

PaxosShared *paxos_shared = NULL;

LWLock *paxos_identity_lock = NULL;
LWLock *paxos_acceptor_lock = NULL;
LWLock *paxos_proposer_lock = NULL;
LWLock *paxos_learner_lock = NULL;
LWLock *paxos_queue_lock = NULL;
LWLock *paxos_integrity_lock = NULL;

#define PAXOS_TRANCHE "paxos"
#define PAXOS_N_LOCKS 6

static uint32 let_go_event = 0;
static uint32 held_off_event = 0;

static void init_histogram(PaxosHistogram *h);

void
paxos_shmem_request(void)
{
	RequestAddinShmemSpace(add_size(MAXALIGN(sizeof(PaxosShared)),
									add_size(paxos_queue_shmem_size(), paxos_turn_shmem_size())));
	RequestNamedLWLockTranche(PAXOS_TRANCHE, PAXOS_N_LOCKS);
}

void
paxos_shmem_startup(void)
{
	bool found;
	LWLockPadded *locks;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);

	locks = GetNamedLWLockTranche(PAXOS_TRANCHE);
	paxos_identity_lock = &locks[0].lock;
	paxos_acceptor_lock = &locks[1].lock;
	paxos_proposer_lock = &locks[2].lock;
	paxos_learner_lock = &locks[3].lock;
	paxos_queue_lock = &locks[4].lock;
	paxos_integrity_lock = &locks[5].lock;

	paxos_shared = ShmemInitStruct("paxos shared state", sizeof(PaxosShared), &found);
	if (!found)
	{
		PaxosShared *s = paxos_shared;

		memset(s, 0, sizeof(*s));
		s->membership = PAXOS_NO_DATABASE;
		pg_atomic_init_u64(&s->config_last, 0);
		s->proposer_procno = -1;
		s->learner_procno = -1;
		pg_atomic_init_u32(&s->proposer_gathers, 0);
		pg_atomic_init_u32(&s->learner_gathers, 0);
		pg_atomic_init_u32(&s->becoming, 1);
		s->next_owner = 1;
		if (!pg_strong_random(&s->instance, sizeof(s->instance)))
			ereport(FATAL,
					(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
		s->instance = s->instance >> 2 | 1; /* travels as a bigint, and 0 is none */
		pg_atomic_init_u64(&s->accept_busy_since_us, 0);
		pg_atomic_init_u64(&s->lock_holder_pid, 0);
		pg_atomic_init_u64(&s->lock_held_since_us, 0);
		pg_atomic_init_u64(&s->n_proposals, 0);
		pg_atomic_init_u64(&s->n_chosen, 0);
		pg_atomic_init_u64(&s->n_applied_slots, 0);
		pg_atomic_init_u64(&s->n_applied_commands, 0);
		pg_atomic_init_u64(&s->n_conditions_not_met, 0);
		pg_atomic_init_u64(&s->n_command_errors, 0);
		pg_atomic_init_u64(&s->n_unknown_outcomes, 0);
		pg_atomic_init_u64(&s->n_read_indexes, 0);
		pg_atomic_init_u64(&s->n_lease_reads, 0);
		pg_atomic_init_u64(&s->n_apply_retries, 0);
		pg_atomic_init_u64(&s->n_fetched_entries, 0);
		init_histogram(&s->accept_us);
		init_histogram(&s->flush_us);
		init_histogram(&s->apply_us);
		init_histogram(&s->commit_us);
		init_histogram(&s->batch_commands);
	}
	paxos_queue_shmem_init(found);
	paxos_turn_shmem_init();

	LWLockRelease(AddinShmemInitLock);
}

static void
init_histogram(PaxosHistogram *h)
{
	pg_atomic_init_u64(&h->count, 0);
	pg_atomic_init_u64(&h->sum, 0);
	for (int i = 0; i < PAXOS_HISTOGRAM_BUCKETS; i++)
		pg_atomic_init_u64(&h->bucket[i], 0);
}

void
paxos_histogram_add(PaxosHistogram *h, uint64 v)
{
	int i = v == 0 ? 0 : pg_leftmost_one_pos64(v) + 1;

	pg_atomic_fetch_add_u64(&h->bucket[Min(i, PAXOS_HISTOGRAM_BUCKETS - 1)], 1);
	pg_atomic_fetch_add_u64(&h->sum, v);
	pg_atomic_fetch_add_u64(&h->count, 1);
}

px_usec
paxos_now_us(void)
{
	struct timespec now;

	/* Counts on while the machine sleeps: a lease must not outlive a nap. */
#ifdef CLOCK_BOOTTIME
	clock_gettime(CLOCK_BOOTTIME, &now);
#else
	clock_gettime(CLOCK_MONOTONIC, &now);
#endif
	return (px_usec) now.tv_sec * 1000000 + (px_usec) now.tv_nsec / 1000;
}

void
paxos_require_preload(void)
{
	const char *others = shared_preload_libraries_string;

	if (paxos_shared != NULL)
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("paxos_ext must be loaded when the server starts"),
					errhint("Put this line into postgresql.conf and restart the server: "
							"shared_preload_libraries = '%s%spaxos_ext'",
							others ? others : "", others && others[0] ? "," : "")));
}

void
paxos_require_member(void)
{
	PaxosMembership membership;
	Oid database_oid;
	char why[PAXOS_ERROR_TEXT];
	PaxosAlarmKind kind;

	paxos_require_preload();

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	kind = paxos_shared->fenced_kind;
	membership = paxos_shared->membership;
	database_oid = paxos_shared->database_oid;
	strlcpy(why, paxos_shared->why_fenced, sizeof(why));
	LWLockRelease(paxos_identity_lock);

	if (database_oid != MyDatabaseId && get_database_oid(paxos_database, true) != MyDatabaseId)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("paxos_ext works in database \"%s\" of this server, not in \"%s\"",
					paxos_database, get_database_name(MyDatabaseId)),
			 errhint(
				 "Connect to that database, or change paxos.database and restart the server.")));

	switch (membership)
	{
		case PAXOS_MEMBER:
			return;
		case PAXOS_NO_DATABASE:
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the paxos workers have not started yet"),
				 RecoveryInProgress()
					 ? errhint("This server is a physical standby; paxos workers run on a primary.")
					 : errhint(
						   "Try again in a moment; if this lasts, look into the server's log.")));
			break;
		case PAXOS_NO_EXTENSION:
		case PAXOS_NO_CLUSTER:
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("this node is in no cluster"),
							errhint("Call paxos_create_cluster() on one of the nodes.")));
			break;
		case PAXOS_FORMING:
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the cluster of this node has not been formed completely"),
				 errhint("Call paxos_create_cluster() again with the same connection strings.")));
			break;
		case PAXOS_JOINING:
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("this node is joining its cluster and knows no configuration "
								   "with itself yet"),
							errhint("Wait; paxos.status shows how far it is. If paxos_add_member() "
									"failed, call it again.")));
			break;
		case PAXOS_REMOVED:
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("this node has been removed from its cluster"),
							errhint("Call paxos_leave_cluster() here; then it can be added again, "
									"as a new node.")));
			break;
		case PAXOS_FENCED:
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("this node may not take part in its cluster"),
							errdetail("%s.", why), errhint("%s", paxos_alarm_hint(kind))));
			break;
	}
}

/*
 * Latches.  The number is read without a lock: it has a single writer, and a
 * stale one wakes a process that finds nothing to do.
 */
static void
wake(int procno)
{
	if (procno >= 0)
		SetLatch(PaxosProcLatch(procno));
}

void
paxos_wake_proposer(void)
{
	if (paxos_shared != NULL)
		wake(*(volatile int *) &paxos_shared->proposer_procno);
}

/*
 * The barriers pair with those in wait_for_something() of paxos_proposer.c: we
 * count the command and then look at the flag, the proposer takes the flag back
 * and then looks at the count.  One of us sees the other.
 */
void
paxos_wake_proposer_for_commands(void)
{
	pg_memory_barrier();
	if (pg_atomic_read_u32(&paxos_shared->proposer_gathers) == 0)
		paxos_wake_proposer();
}

void
paxos_wake_learner(void)
{
	if (paxos_shared != NULL)
		wake(*(volatile int *) &paxos_shared->learner_procno);
}

void
paxos_wake_learner_for_chosen(void)
{
	if (pg_atomic_read_u32(&paxos_shared->learner_gathers) == 0 || paxos_queue_anyone_waits())
		paxos_wake_learner();
}

/* Does this backend keep the workers away? */
static bool holding_off = false;

static void
release_hold_off(int code, Datum arg)
{
	if (holding_off)
		paxos_workers_hold_off(false);
}

/* Ask a worker to end; true if it is still there. */
static bool
end_worker(LWLock *lock, int *procno)
{
	bool there;

	LWLockAcquire(lock, LW_SHARED);
	there = *procno >= 0;
	if (there)
	{
		int pid = GetPGProcByNumber(*procno)->pid;

		/*
		 * Under the lock: a worker takes its number back under it before it
		 * ends, so that the process is still the worker.
		 */
		if (pid > 0)
			kill(pid, SIGTERM);
	}
	LWLockRelease(lock);
	return there;
}

/*
 * Connections of other nodes: they are nobody's session, and would keep the
 * database from being dropped as long as their nodes live.  True if there
 * are any.
 */
#define PEER_PREFIX "paxos "

static bool
end_peers(void)
{
	Oid database = get_database_oid(paxos_database, true);
	bool any = false;
	int n;

	pgstat_clear_backend_activity_snapshot();
	n = pgstat_fetch_stat_numbackends();
	for (int i = 1; i <= n; i++)
	{
		PgBackendStatus *b = &PaxosBackendEntry(i)->backendStatus;

		if (b->st_backendType == B_BACKEND && b->st_procpid != MyProcPid &&
			b->st_databaseid == database && b->st_appname != NULL &&
			strncmp(b->st_appname, PEER_PREFIX, strlen(PEER_PREFIX)) == 0)
		{
			kill(b->st_procpid, SIGTERM);
			any = true;
		}
	}
	return any;
}

void
paxos_workers_hold_off(bool hold)
{
	static bool registered = false;

	if (paxos_shared == NULL)
		return;

	if (!hold)
	{
		holding_off = false;
		LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
		paxos_shared->hold_off = false;
		LWLockRelease(paxos_identity_lock);
		return;
	}

	if (!registered)
	{
		/* Else a session killed in DROP DATABASE would stop the node for ever. */
		before_shmem_exit(release_hold_off, (Datum) 0);
		registered = true;
	}
	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	if (paxos_shared->hold_off && !holding_off)
	{
		LWLockRelease(paxos_identity_lock);
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("another session is dropping database \"%s\" or taking it out of its cluster",
					paxos_database)));
	}
	paxos_shared->hold_off = true;
	holding_off = true;
	LWLockRelease(paxos_identity_lock);

	/*
	 * Signal again on every turn: a worker that had passed
	 * paxos_wait_while_held_off() before the flag was up publishes its number
	 * a little later.  A peer that connects from now on is turned away by its
	 * first call (paxos_peer_check).
	 */
	PG_TRY();
	{
		for (;;)
		{
			bool there;

			there = end_worker(paxos_proposer_lock, &paxos_shared->proposer_procno);
			there |= end_worker(paxos_learner_lock, &paxos_shared->learner_procno);
			there |= end_peers();
			if (!there)
				break;
			(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50L,
							 paxos_wait_event(&let_go_event, "PaxosWorkersLetGo"));
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_CATCH();
	{
		/* Cancelled while waiting: the caller has nothing to undo yet. */
		paxos_workers_hold_off(false);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static bool until_end = false;

static void
end_of_transaction(XactEvent event, void *arg)
{
	if (!until_end || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	until_end = false;
	paxos_workers_hold_off(false);
}

void
paxos_hold_off_until_end(void)
{
	static bool watching = false;

	if (!watching)
	{
		RegisterXactCallback(end_of_transaction, NULL);
		watching = true;
	}
	paxos_workers_hold_off(true);
	until_end = true;
}

void
paxos_wait_while_held_off(void)
{
	for (;;)
	{
		bool held;

		LWLockAcquire(paxos_identity_lock, LW_SHARED);
		held = paxos_shared->hold_off;
		LWLockRelease(paxos_identity_lock);
		if (!held)
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100L,
						 paxos_wait_event(&held_off_event, "PaxosHeldOff"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}
