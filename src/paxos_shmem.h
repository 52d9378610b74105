/*
 * paxos_shmem.h
 *	  What the processes of one server share: the acceptor's state, what the
 *	  proposer and the learner publish, and counters.  The queue of waiting
 *	  sessions is beside it (paxos_queue.h).
 *
 * No pointer lives in shared memory; processes are named by their number in
 * ProcGlobal->allProcs.  A crash of any server process makes the postmaster
 * reinitialise all of it: everything here is volatile by design, and what must
 * survive is in tables (paxos_node.c, paxos_log.c, paxos_learner.c).
 */
#ifndef PAXOS_SHMEM_H
#define PAXOS_SHMEM_H

#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/px_acceptor.h"
#include "core/px_memory.h"
#include "core/px_proposer.h"
#include "paxos_version.h"

#define PAXOS_ERROR_TEXT 256

/* This node's standing in a cluster; the word is shown in paxos.status. */
typedef enum PaxosMembership
{
	PAXOS_NO_DATABASE, /* workers have not connected yet */
	PAXOS_NO_EXTENSION,
	PAXOS_NO_CLUSTER,
	PAXOS_FORMING, /* configuration recorded, not begun */
	PAXOS_JOINING, /* identity recorded, in no configuration known here yet */
	PAXOS_MEMBER,
	PAXOS_FENCED, /* identity in doubt or fsync off: see why_fenced */
	PAXOS_REMOVED /* was a member; its acceptor answers on its merits, no more */
} PaxosMembership;

/* What can be wrong on a node (paxos_alarm.c). */
typedef enum PaxosAlarmKind
{
	PAXOS_ALARM_FSYNC_OFF,
	PAXOS_ALARM_AMNESIA,
	PAXOS_ALARM_TWIN,
	PAXOS_ALARM_STUCK,
	PAXOS_ALARM_CORRUPT_VALUE,
	PAXOS_ALARM_DIVERGENCE
} PaxosAlarmKind;

#define PAXOS_MAX_ALARMS 32
typedef struct PaxosAlarm
{
	PaxosAlarmKind kind;
	px_slot subject; /* the slot it is about; 0: none in particular */
	TimestampTz since;
	char detail[2 * PAXOS_ERROR_TEXT];
} PaxosAlarm;

/* Slots whose running digest is kept for comparison (paxos_divergence.c). */
#define PAXOS_DIGESTS 1024

/* Where a member that has come to this node is to be found (paxos_address.c). */
typedef struct PaxosAddress
{
	px_node node; /* 0: free */
	char conninfo[PX_MAX_CONNINFO];
} PaxosAddress;

/* What this node remembers of a member (paxos_memory.c). */
typedef px_memory PaxosMemory;
/* Does this node take part: keep a log and apply it? */
static inline bool
paxos_takes_part(PaxosMembership m)
{
	return m == PAXOS_MEMBER || m == PAXOS_JOINING;
}

/* Latency and size counters: sum and count, and a histogram of powers of two. */
#define PAXOS_HISTOGRAM_BUCKETS 32
typedef struct PaxosHistogram
{
	pg_atomic_uint64 count;
	pg_atomic_uint64 sum;
	pg_atomic_uint64 bucket[PAXOS_HISTOGRAM_BUCKETS]; /* [i]: 2^(i-1) <= v < 2^i */
} PaxosHistogram;

/* Per member as this node's proposer sees it; published by the proposer. */
typedef struct PaxosPeerStatus
{
	px_node node;
	bool voter;
	bool connected;
	bool open;
	px_slot next;
	px_slot applied;
	px_slot durable;
	TimestampTz last_contact; /* 0: never */
	px_usec rtt_us;
	char last_error[PAXOS_ERROR_TEXT]; /* of the connection, "" if none */
} PaxosPeerStatus;

/* The snapshot this node loads, or loaded last; shown in paxos.snapshot_progress. */
typedef enum PaxosSnapshotState
{
	PAXOS_SNAPSHOT_NONE,
	PAXOS_SNAPSHOT_ASKING,
	PAXOS_SNAPSHOT_COPYING,
	PAXOS_SNAPSHOT_FINISHING,
	PAXOS_SNAPSHOT_LOADED,
	PAXOS_SNAPSHOT_FAILED
} PaxosSnapshotState;

typedef struct PaxosSnapshotProgress
{
	PaxosSnapshotState state;
	px_node source;
	px_slot slot;
	int tables;
	int tables_done;
	uint64 rows;
	uint64 bytes;
	uint64 bytes_expected;
	TimestampTz started;
	TimestampTz ended;
	uint64 attempts;
	char last_error[PAXOS_ERROR_TEXT];
} PaxosSnapshotProgress;

/* A change of the configuration that a session asks this leader for; paxos_member.h. */
typedef enum PaxosConfigureState
{
	PAXOS_CONFIGURE_NONE,
	PAXOS_CONFIGURE_WANTED,
	PAXOS_CONFIGURE_TAKEN,
	PAXOS_CONFIGURE_ANSWERED
} PaxosConfigureState;

typedef struct PaxosConfigure
{
	PaxosConfigureState state;
	uint64 request; /* its number; the answer to an earlier one is dropped */
	int waiter;     /* procno of the session */
	bool force;
	px_slot base;            /* of the configuration it was made from */
	px_change_result result; /* ANSWERED */
	px_slot slot;
	uint32 len; /* 0: only confirm that 'base' is recorded by a majority */
	uint8 value[PX_MAX_CONFIG_BYTES];
} PaxosConfigure;

typedef struct PaxosShared
{
	/*
	 * identity_lock: who this node is.  Written when workers start and when a
	 * cluster is formed, read by everything.
	 */
	PaxosMembership membership;
	char why_fenced[PAXOS_ERROR_TEXT];
	pg_uuid_t cluster_id;
	px_node node_id;
	Oid database_oid;
	px_config config;           /* governs now, as far as this node knows */
	uint64 identity_generation; /* raised at each change */
	bool unsafe_fsync_seen;     /* fsync or full_page_writes was off since the
									 * start: fenced until the next start */
	PaxosAlarmKind fenced_kind; /* while fenced: why, as an alarm */
	bool identity_judged;       /* the data directory was found to be this
									 * node's own since the start */
	bool twin_seen;             /* this node's address led to another server */
	uint64 node_incarnation;    /* as in paxos.node, durable */

	/* A random number of this start of the server: tells two servers apart that
	 * are equal in everything durable.  Never changes. */
	uint64 instance;

	/* Forming a cluster (paxos_cluster.c): the attempt that holds this server's
	 * forming lock, and which of its nodes this server is; identity_lock. */
	pg_uuid_t form_attempt;
	int form_index;

	/*
	 * acceptor_lock: protects 'acceptor' as a value.  Transitions that write
	 * anything durable additionally hold the transaction-long acceptor lock
	 * (paxos_acceptor.c) from before they copy until after they publish.
	 */
	px_acceptor acceptor;
	bool acceptor_loaded;

	/* No row of paxos.configuration is above this slot; perhaps none is there. */
	pg_atomic_uint64 config_last;
	Oid acceptor_relid;     /* paxos.log_entry as it was when loaded: a new
								 * one means the extension was created anew */
	uint64 next_owner;      /* numbers acceptor connections */
	uint64 preparing_owner; /* a Prepare of this connection is being made
									 * durable: no lease may be granted meanwhile;
									 * 0: none */

	px_slot accepted; /* highest slot this node has ever accepted and
								 * answered for; durable */

	/* Who holds the transaction-long acceptor lock, for a waiter that must end
	 * it: process id and CLOCK_BOOTTIME us; 0: nobody.  Written by the holder. */
	pg_atomic_uint64 lock_holder_pid;
	pg_atomic_uint64 lock_held_since_us;

	/* A backend is inside an Accept of the open stream (flushing perhaps) since
	 * this CLOCK_BOOTTIME time in us; 0: none.  Written by
	 * that backend, and wiped out by it only if it is still its own mark. */
	pg_atomic_uint64 accept_busy_since_us;

	/* proposer_lock: published by the proposer only. */
	int proposer_procno; /* -1: not running */
	px_role role;
	px_ballot ballot;
	px_node leader;
	px_slot leader_chosen;
	px_usec lease_until; /* before that this node's leader_chosen is a read index, with
								 * no round (CLOCK_BOOTTIME); 0: it is not */
	bool ready;
	uint64 incarnation;
	uint64 elections_started;
	uint64 elections_won;
	uint64 batches_resent;
	int n_peers;
	PaxosPeerStatus peers[PX_MAX_MEMBERS];

	/*
	 * The proposer sleeps until an answer comes, or until a moment it has set
	 * its timer to, and could do nothing with a command before; it is the only
	 * writer.  See paxos_wake_proposer_for_commands().
	 */
	pg_atomic_uint32 proposer_gathers;

	/* proposer_lock: what sessions ask of it (paxos_member.c). */
	PaxosConfigure configure;
	bool transfer_wanted;
	px_node transfer_to; /* 0: whoever is furthest */

	/* learner_lock: published by the learner only, after its transaction (and
	 * reset by paxos_node_load when this node has left its cluster). */
	int learner_procno; /* -1: not running */

	/*
	 * The learner lets chosen slots gather and will look by itself in a few
	 * milliseconds; it is the only writer.  Safe to read without a lock: see
	 * paxos_wake_learner_for_chosen().
	 */
	pg_atomic_uint32 learner_gathers;
	px_slot applied;
	px_slot durable; /* applied and flushed */
	uint64 digest;
	uint64 log_time_us; /* stamp of the last applied value */
	px_origins origins;
	uint64 gaps_seen; /* own batches skipped as PX_GAP */
	bool stuck;
	char stuck_why[PAXOS_ERROR_TEXT];
	px_slot stuck_slot;

	/*
	 * learner_lock.  An operator wants the log cut up to cut_ordered.  Until
	 * serving_until (CLOCK_BOOTTIME us) the log stays above serving_slot, for a
	 * member that is loading a snapshot of that slot from here.
	 */
	px_slot cut_ordered;
	px_slot serving_slot;
	px_usec serving_until;

	/* learner_lock: snapshots this node loads; one is asked for although it lacks
	 * nothing. */
	PaxosSnapshotProgress snapshot;
	bool snapshot_ordered;

	/* What the proposer asks of the learner (PX_DO_FETCH), learner_lock. */
	px_slot fetch_to;
	px_node fetch_from;

	/* integrity_lock: what is wrong here, and what is remembered of others. */
	int n_alarms;
	PaxosAlarm alarms[PAXOS_MAX_ALARMS];
	int n_memories;
	PaxosMemory memories[PX_MAX_MEMBERS];
	PaxosMemory claims; /* the most that any has said of this node */
	PaxosAddress addresses[PX_MAX_MEMBERS];

	/* Running digests of slots digests_from .. digests_to, as a ring; written by the
	 * learner, integrity_lock. */
	px_slot digests_from;
	px_slot digests_to;
	uint64 digests[PAXOS_DIGESTS];

	/* 0: nothing is in paxos.becoming for certain (paxos_method.c). */
	pg_atomic_uint32 becoming;

	/* Workers hold back from the database while a DROP DATABASE runs. */
	bool hold_off; /* identity_lock */

	/* counters, lock-free */
	pg_atomic_uint64 n_proposals; /* slots proposed by this node as leader */
	pg_atomic_uint64 n_chosen;    /* of those, chosen */
	pg_atomic_uint64 n_applied_slots;
	pg_atomic_uint64 n_applied_commands;
	pg_atomic_uint64 n_conditions_not_met;
	pg_atomic_uint64 n_command_errors;
	pg_atomic_uint64 n_unknown_outcomes;
	pg_atomic_uint64 n_read_indexes;
	pg_atomic_uint64 n_lease_reads;
	pg_atomic_uint64 n_apply_retries;
	pg_atomic_uint64 n_fetched_entries;
	PaxosHistogram accept_us;      /* leader: Accept sent to answer, per peer message */
	PaxosHistogram flush_us;       /* acceptor: making one Accept durable */
	PaxosHistogram apply_us;       /* learner: one apply transaction */
	PaxosHistogram commit_us;      /* sessions: queued to result */
	PaxosHistogram batch_commands; /* commands per value proposed */
} PaxosShared;

/* NULL when the library is not in shared_preload_libraries. */
extern PaxosShared *paxos_shared;

/* The locks, from one named tranche. */
extern LWLock *paxos_identity_lock;
extern LWLock *paxos_acceptor_lock;
extern LWLock *paxos_proposer_lock;
extern LWLock *paxos_learner_lock;
extern LWLock *paxos_queue_lock;
extern LWLock *paxos_integrity_lock;

/* Error 55000 with the line to add, if the library is not preloaded. */
extern void paxos_require_preload(void);

/* Error 55000 saying what is missing, unless this node is a member. */
extern void paxos_require_member(void);

/* CLOCK_BOOTTIME in microseconds: every px_usec of this server. */
extern px_usec paxos_now_us(void);

extern void paxos_histogram_add(PaxosHistogram *h, uint64 v);

/* Wake a worker by setting its latch; harmless when it does not run. */
extern void paxos_wake_proposer(void);
extern void paxos_wake_learner(void);

/*
 * The same, because commands have been queued: not while the proposer gathers
 * them, when it will look by itself.
 */
extern void paxos_wake_proposer_for_commands(void);

/*
 * The same, because more slots are known chosen: not while the learner gathers
 * them and no session waits.  A session that begins to wait just then wakes it
 * itself, or waits for a slot that is yet to be chosen.
 */
extern void paxos_wake_learner_for_chosen(void);

/*
 * DROP DATABASE of paxos.database: true makes both workers and the connections
 * of other nodes end and keeps them from connecting again, and returns when
 * they have let go; false lets them come back.  A backend that ends without saying false says it on its way out.
 */
extern void paxos_workers_hold_off(bool hold);

/* The same until the end of the transaction, whichever way it ends. */
extern void paxos_hold_off_until_end(void);

/* For worker mains, before they connect to the database. */
extern void paxos_wait_while_held_off(void);

/* Request and startup hooks' work; called from paxos_ext.c. */
extern void paxos_shmem_request(void);
extern void paxos_shmem_startup(void);

#endif /* PAXOS_SHMEM_H */
