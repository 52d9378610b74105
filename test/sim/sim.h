/*
 * sim.h
 *	  The simulator's world: one process that runs a whole cluster of px_core
 *	  nodes on a simulated network, disks and clocks, from one seed.
 *
 * Owns: everything between the core's structs and the outside (the part that
 * the glue plays on a server), faults, clients, and an all-knowing observer.
 * Not its business: libpq, SQL, PostgreSQL; test/t runs real servers.
 *
 * Every decision is drawn from one generator seeded by the seed; nothing
 * depends on addresses, wall time or the environment, so that a seed gives the
 * same run on any machine.
 *
 *	sim_world.c		generator, event heap, arena, traces, failure
 *	sim_net.c		connections: delay, cut, half-open, one-way blocks
 *	sim_disk.c		WAL, visible and durable image, crash
 *	sim_client.c	commands, the state machine they change, sessions
 *	sim_node.c		one server: acceptor backends, proposer, learner
 *	sim_amnesia.c	servers that forget, or run twice, and what they are known by
 *	sim_set.c		transactions that commit by write set
 *	sim_history.c	what the clients were told, for the linearizability checker
 *	sim_check.c		the canonical history and the facts of protocol.md § 11
 *	sim_config.c	changes of the configuration, nodes that come and go
 *	sim_fault.c		scenarios: what goes wrong when, and the end phase
 *	sim_main.c		arguments, one run
 *	sim_jobs.c		sets of seeds, by several processes; coverage
 *	sim_minimise.c	a failing run made shorter
 */
#ifndef SIM_H
#define SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cycle.h"
#include "history.h"
#include "px_invariants.h"
#include "px_memory.h"
#include "px_trace.h"
#include "px_window.h"

#define SIM_DEFAULT_STEPS 40000
#define SIM_FORMED 7     /* nodes a cluster is formed of, at most */
#define SIM_MAX_NODES 15 /* node ids in one run */
#define SIM_MAX_MEMBERS 7
#define SIM_MAX_CLONES 2 /* servers beside the one they were copied from, at a time */
#define SIM_PLACES (SIM_MAX_NODES + SIM_MAX_CLONES)
#define SIM_MAX_CONFIGS 64
#define SIM_MAX_TASKS 3
#define SIM_MAX_ATTEMPTS 2000
#define SIM_MAX_SESSIONS 24 /* on one node */
#define SIM_KEYS 6
#define SIM_NUMBERS 4           /* of the keys */
#define SIM_ROWS 8              /* of transactions */
#define SIM_LISTS 4             /* of these; the others are accounts */
#define SIM_MAX_REQUESTS 24     /* request ids remembered */
#define SIM_REQUESTS_PER_SLOT 4 /* expired ones forgotten at the end of one slot, at most */
#define SIM_COMMAND_BYTES 64
#define SIM_MAX_RETRIES 64
#define SIM_HISTORY_STEPS 20000 /* of a search without slots, for one run */
#define SIM_MAX_CONNS 65536     /* in one run */
#define SIM_RING 40             /* trace lines kept per node */
#define SIM_LINE 320
#define SIM_DRIFT_PPM 24000 /* the allowed drift, of every clock */
#define SIM_END_PPM 150000  /* above it nothing need come to an end */
#define SIM_FAULT_LINES 64  /* faults listed when a run fails */
#define SIM_MS 1000ULL
#define SIM_SEC 1000000ULL

/* Bytes of a value or origin batch, kept once for the whole run. */
typedef struct sim_blob
{
	struct sim_blob *next;
	uint64_t hash;
	uint32_t id; /* in order of first sight: fit for traces */
	px_bytes bytes;
	bool well_formed; /* as a value: 'view' is what px_value_open said */
	px_value_view view;
} sim_blob;

/* ---- coverage ----
 *
 * Those that begin with "crash:" are the boundaries at which FAULT_crash_at
 * kills a server, from cov_prepare_written to cov_half_update.
 */

#define SIM_COVERAGE(X)                                                          \
	X(cov_promise_ballots, "promise with entries of several ballots")            \
	X(cov_promise_chosen, "promise with an entry marked chosen")                 \
	X(cov_recovered, "value proposed again in a higher ballot")                  \
	X(cov_replaced, "accepted value replaced by another of a higher ballot")     \
	X(cov_gap_filled, "gap filled by fetch")                                     \
	X(cov_fetch_replaced, "fetched entry replaced a stale one")                  \
	X(cov_snapshot, "snapshot loaded")                                           \
	X(cov_truncated, "log truncated")                                            \
	X(cov_duplicate, "duplicate origin batch skipped")                           \
	X(cov_gap_skip, "origin batch skipped as a gap")                             \
	X(cov_stale_incarnation, "origin batch of an older incarnation skipped")     \
	X(cov_resend, "origin batches sent again")                                   \
	X(cov_settled_never, "numbered command settled: never took effect")          \
	X(cov_settled_unknown, "numbered command settled: outcome unknown")          \
	X(cov_empty_batch, "empty first batch of an incarnation")                    \
	X(cov_timeout_unknown, "session gave up: unknown")                           \
	X(cov_timeout_never, "session gave up: never sent")                          \
	X(cov_prevote_lease, "PreVote refused by a lease")                           \
	X(cov_prevote_truncated, "PreVote refused by truncation")                    \
	X(cov_refused_ballot, "Prepare refused by a higher promise")                 \
	X(cov_refused_lease, "Prepare refused by a lease")                           \
	X(cov_refused_restart, "Prepare refused after a restart")                    \
	X(cov_accept_ballot, "Accept refused by a higher promise")                   \
	X(cov_accept_stream, "Accept refused: not the open stream")                  \
	X(cov_late_promise, "promise after leadership was won")                      \
	X(cov_reopened, "stream opened again in one ballot")                         \
	X(cov_paged, "promise that did not hold the whole log")                      \
	X(cov_catching_up, "candidate caught up before its Prepare")                 \
	X(cov_handover_sent, "hand-over sent")                                       \
	X(cov_handover_used, "Prepare with a hand-over promised")                    \
	X(cov_step_down, "step down by a higher ballot")                             \
	X(cov_step_down_alone, "leader stepped down without a majority")             \
	X(cov_reset_peer, "proposer cut a silent peer")                              \
	X(cov_window_full, "window full")                                            \
	X(cov_window_deep, "more than 32 slots in flight")                           \
	X(cov_outbox_full, "no room for another own batch")                          \
	X(cov_read_leader, "linearizable read at the leader")                        \
	X(cov_read_follower, "linearizable read at a follower")                      \
	X(cov_read_restarted, "read request repeated by a new proposer life")        \
	X(cov_stream_closed, "leader's stream closed, lease ended early")            \
	X(cov_stale_closed, "closing of a stream no longer open ignored")            \
	X(cov_lease_readable, "readable lease granted")                              \
	X(cov_crash_kept, "crash kept an unflushed transaction")                     \
	X(cov_crash_lost, "crash lost an unflushed transaction")                     \
	X(cov_crash_accept, "crash in the middle of an acceptor's flush")            \
	X(cov_applied_fell, "crash took applied back")                               \
	X(cov_answer_lost, "answer lost after the far side acted")                   \
	X(cov_half_open, "message sent into a half-open connection")                 \
	X(cov_leader_life_ended, "leading proposer process killed alone")            \
	X(cov_note_in_flush, "acceptor changed by others during a flush")            \
	X(cov_light_waits, "heartbeat that waited for a Prepare being made durable") \
	X(cov_retimed, "timing settings changed within a life")                      \
	X(cov_of_one, "cluster of one node")                                         \
	X(cov_of_two, "cluster of two nodes")                                        \
	X(cov_of_three, "cluster of three nodes")                                    \
	X(cov_of_four, "cluster of four nodes")                                      \
	X(cov_of_five, "cluster of five nodes")                                      \
	X(cov_of_six, "cluster of six nodes")                                        \
	X(cov_of_seven, "cluster of seven nodes")                                    \
	X(cov_learner_member, "cluster with a non-voting learner")                   \
	X(cov_all_crashed, "all servers crashed at once")                            \
	X(cov_duel, "elections provoked on all nodes at once")                       \
	X(cov_lease_read, "read index given under a lease")                          \
	X(cov_lease_session, "session reads under a lease without asking")           \
	X(cov_lease_stopped, "it does while the proposer stands still or is gone")   \
	X(cov_restored, "older copy of a disk put back")                             \
	X(cov_rolled_back, "disk rolled back, its sentinel with it")                 \
	X(cov_cloned, "clone started beside its original")                           \
	X(cov_clone_address, "clone started under the address of its original")      \
	X(cov_unsafe, "server started with fsync off")                               \
	X(cov_unsafe_lost, "server lost what it had not flushed, fsync being off")   \
	X(cov_fenced_copy, "node fenced: its directory is a copy")                   \
	X(cov_fenced_memory, "node fenced: others remember more")                    \
	X(cov_fenced_foreign, "node fenced: by batches of its own in the log")       \
	X(cov_fenced_unsafe, "node fenced: fsync is off")                            \
	X(cov_doubt_kept, "node fenced: written down by a former start")             \
	X(cov_not_voting, "Prepare refused: the node may not vote")                  \
	X(cov_not_accepting, "Accept refused: the node may not vote")                \
	X(cov_twin, "own address found to lead to another server")                   \
	X(cov_twin_over, "own address leads home again")                             \
	X(cov_life_over, "message of a life that is over refused")                   \
	X(cov_older, "greeting of a former life turned away")                        \
	X(cov_rejoined, "node that had forgotten came again as a new one")           \
	X(cov_met, "asked a node known only by its greeting")                        \
	X(cov_config_chosen, "configuration chosen")                                 \
	X(cov_config_recovered, "configuration found by a new leader")               \
	X(cov_config_lost, "configuration proposed and not chosen")                  \
	X(cov_config_disjoint, "all voters replaced at once")                        \
	X(cov_config_ahead, "configuration recorded before it was applied")          \
	X(cov_config_unknown, "leader forgot one that its acceptor does not know")   \
	X(cov_change_done, "change done")                                            \
	X(cov_change_confirmed, "change confirmed by a later leader")                \
	X(cov_change_busy, "change refused: another is in progress")                 \
	X(cov_change_base, "change refused: built on another configuration")         \
	X(cov_change_no_majority, "change refused: no majority could go on")         \
	X(cov_change_behind, "change refused: its voters know too little")           \
	X(cov_change_unknown, "change: outcome unknown")                             \
	X(cov_change_unknown_done, "change: outcome unknown, and it was chosen")     \
	X(cov_barrier_late, "promise from before the barrier came after it")         \
	X(cov_leaving, "leader removed itself")                                      \
	X(cov_leaving_recovered, "leader recovered a configuration without itself")  \
	X(cov_leaving_over, "leader that removed itself handed over")                \
	X(cov_joined, "new node loaded its snapshot")                                \
	X(cov_snapshot_old, "new node refused a snapshot older than its number")     \
	X(cov_promoted_empty, "node became a voter before it had a snapshot")        \
	X(cov_probed, "others asked what they know, without a leader")               \
	X(cov_removed_prevote, "PreVote of a removed node refused")                  \
	X(cov_removed_prepare, "Prepare of a removed node refused")                  \
	X(cov_removed_unknown, "Prepare of a node not heard of")                     \
	X(cov_removed_told, "removed node told by a refusal")                        \
	X(cov_removed_knows, "removed node knows the configuration")                 \
	X(cov_removed_back, "removed node started, thinking it is a member")         \
	X(cov_removed_batch, "origin batch of a removed node skipped")               \
	X(cov_removed_never, "command of a removed node settled: never took effect") \
	X(cov_struck, "leader struck while it changed the configuration")            \
	X(cov_switched_off, "removed node switched off for good")                    \
	X(cov_retried, "request sent again at another node or the same")             \
	X(cov_replayed, "request id known: first result told again")                 \
	X(cov_replay_told, "client told a first result by a later attempt")          \
	X(cov_request_expired, "request id forgotten by log time")                   \
	X(cov_request_crowded, "request id forgotten for want of room")              \
	X(cov_request_again, "request executed again after it was forgotten")        \
	X(cov_searched, "history found linearizable without the log")                \
	X(cov_search_long, "history too long to search without the log")             \
	X(cov_sets, "run with write sets")                                           \
	X(cov_set_certified, "set certified")                                        \
	X(cov_set_lost, "set lost: a row it changed was changed")                    \
	X(cov_set_read, "set lost: a row it read was changed")                       \
	X(cov_set_read_old, "set lost: what it read was too long ago")               \
	X(cov_set_first, "set too old: the window begins")                           \
	X(cov_set_too_old, "set too old: more slots than the window has")            \
	X(cov_set_crowded, "set too old: more changes than the window has")          \
	X(cov_set_again, "set certified when proposed again")                        \
	X(cov_set_overtaken, "row changed since the snapshot, where it was")         \
	X(cov_set_way, "transaction made way, not sent")                             \
	X(cov_set_way_sent, "transaction made way, sent: it lost")                   \
	X(cov_set_skew, "write skew among transactions that allow it")               \
	X(cov_set_unknown_there, "set of unknown outcome is in force")               \
	X(cov_turn_taken, "session committed its set in its turn")                   \
	X(cov_turn_withdrawn, "turn taken back: the learner applied the set")        \
	X(cov_window_ended, "window ended for want of sets")                         \
	X(cov_window_read, "stored window read again")                               \
	X(cov_promise_three, "promise with entries of three ballots or more")        \
	X(cov_beyond, "clocks beyond the allowed drift")                             \
	X(cov_tail, "message that took much longer than others")                     \
	X(cov_not_answered, "backend ended between a flush and its answer")          \
	X(cov_backend_stream, "backend that owned the open stream ended alone")      \
	X(cov_flush_failed, "failed flush ended the server")                         \
	X(cov_prepare_written, "crash: promise written, not flushed")                \
	X(cov_prepare_flushed, "crash: promise durable, not answered")               \
	X(cov_accept_written, "crash: values written, not flushed")                  \
	X(cov_accept_flushed, "crash: values durable, not answered")                 \
	X(cov_answered, "crash: just answered")                                      \
	X(cov_fetch_flushed, "crash: fetched entries durable, not applied")          \
	X(cov_snapshot_flushed, "crash: snapshot durable")                           \
	X(cov_truncate_flushed, "crash: truncation durable")                         \
	X(cov_config_flushed, "crash: configuration recorded, not answered")         \
	X(cov_incarnation_flushed, "crash: incarnation durable, not used")           \
	X(cov_applied, "crash: applied, nobody told")                                \
	X(cov_delivered, "crash: results just handed out")                           \
	X(cov_handed_over, "crash: hand-over just sent")                             \
	X(cov_half_update, "proposer killed between two actions of an update")

typedef enum sim_coverage
{
#define X(name, text) name,
	SIM_COVERAGE(X)
#undef X
	N_COVERAGE
} sim_coverage;

extern const char *const sim_coverage_text[N_COVERAGE];
extern uint64_t sim_covered[N_COVERAGE];

static inline void
cover(sim_coverage c)
{
	sim_covered[c]++;
}

/* ---- the replicated state machine ---- */

/*
 * Each key holds one value: keys below SIM_NUMBERS a number, the others a list
 * of command ids, known by its length and a hash.
 */
typedef struct sim_result
{
	bool applied;  /* did the condition hold */
	bool replayed; /* remembered under the request id, nothing done */
	hist_value previous;
	hist_value current;
	px_slot slot; /* where it took effect */
} sim_result;

/* A result remembered under a request id (paxos_request.c does the same). */
typedef struct sim_request
{
	uint64_t id;
	uint64_t expires; /* log time */
	const sim_result *result;
} sim_request;

/* A row of transactions, and what it was made from (sim_set.c). */
typedef struct sim_version
{
	const struct sim_version *from;
	uint32_t length; /* how many there are before it */
	int64_t element; /* never used twice */
	int64_t balance; /* of an account */
} sim_version;

typedef struct sim_window_row sim_window_row;
typedef struct sim_set sim_set;
typedef struct sim_txn sim_txn;

/* All that one apply transaction changes. */
typedef struct sim_tables
{
	px_slot applied;
	uint64_t digest;
	uint64_t log_time_us; /* highest stamp applied */
	hist_value rows[SIM_KEYS];
	px_config config; /* newest one applied */
	px_origins origins;
	uint32_t n_requests;
	sim_request requests[SIM_MAX_REQUESTS + 1]; /* in the order they were decided */
	const sim_version *versions[SIM_ROWS];
	px_window_span window_span;
	const sim_window_row *window_rows; /* the table, newest row first */
	px_slot window_oldest;             /* rows below are deleted */
} sim_tables;

/* What sets need while slots are applied in one transaction. */
typedef struct sim_applying
{
	px_window *window;
	bool judging;                /* nothing is recorded */
	bool alone;                  /* the batch */
	uint32_t changed;            /* rows, by bit */
	uint64_t keys[SIM_ROWS + 1]; /* of the last command */
	int n_keys;
	uint32_t len; /* of entries to be stored */
} sim_applying;

/* A change of a key, in the canonical history. */
typedef struct sim_change
{
	px_slot slot;
	uint32_t key;
} sim_change;

typedef enum sim_told
{
	TOLD_NOTHING,
	TOLD_RESULT,
	TOLD_UNKNOWN,
	TOLD_NEVER
} sim_told;

/* What a client wants done, maybe again and again under one request id. */
typedef struct sim_wish
{
	hist_kind kind; /* HIST_READ: not in the log */
	uint8_t key;
	hist_value expected; /* compare-and-set */
	int64_t value;       /* what to set, add or append */
	uint64_t request;    /* 0: none */
	uint64_t retention_us;
} sim_wish;

/* What the observer knows of one command; the id is its number, from 1. */
typedef struct sim_command
{
	px_node origin;
	sim_wish wish;
	uint64_t began; /* step */
	uint64_t ended; /* step at which it was told */
	sim_told told;
	px_slot executed_at; /* canonical slot, 0: not (yet) */
	uint64_t position;   /* in the canonical order of all commands */
	sim_result result;   /* canonical */
	uint64_t effect_of;  /* with a request id: the command whose execution this result is */
	uint64_t incarnation;
	uint64_t sequence; /* of the batch it was put in, 0: none */
	bool again;        /* numbered by a server that has forgotten its lives: another may have
						* the number, too */
	sim_txn *txn;      /* whose it is; NULL: of none */
	sim_set *set;
} sim_command;

/* One result, or the end of an incarnation, found while applying. */
typedef struct sim_outcome
{
	bool settle; /* a new incarnation began: 'incarnation' and
								 * 'sequence' are the old one and its last */
	px_node origin;
	uint64_t incarnation;
	uint64_t sequence;
	uint16_t index;
	uint32_t cell;
	uint64_t generation;
	uint64_t new_incarnation;
	uint64_t command;
	sim_result result;
	uint64_t request;
	uint64_t log_time_us;
	px_slot slot;
} sim_outcome;

typedef void (*sim_sink)(void *arg, const sim_outcome *o);

/* ---- disk ---- */

typedef struct sim_cell
{
	px_ballot ballot;
	sim_blob *value; /* NULL: absent */
	bool chosen;
} sim_cell;

typedef struct sim_image
{
	px_ballot promised;
	px_slot truncated;
	px_usec longest_lease_us;
	uint64_t incarnation;
	uint64_t stamp;   /* what the sentinel file of this incarnation is known by */
	bool doubt;       /* it may not vote any more */
	px_config config; /* newest one recorded as chosen; no members: none */
	px_memory memory[SIM_MAX_NODES + 1]; /* of the other members */
	sim_tables tables;
	sim_cell *log; /* by slot */
	px_slot cap;
	px_slot last; /* no entry above it */
} sim_image;

/* One transaction's WAL, up to its commit record. */
typedef struct sim_wal
{
	struct sim_wal *next;
	uint64_t lsn;
	bool held; /* its transaction waits for the flush and will
								 * show the record itself */
	bool hard; /* flushed while held: off the list */
	bool has_state;
	px_ballot promised;
	px_usec longest_lease_us;
	uint64_t incarnation; /* 0: unchanged */
	uint64_t stamp;       /* with it */
	bool doubt;           /* false: unchanged */
	px_memory *memory;    /* NULL: unchanged */
	px_slot truncate;     /* 0: unchanged */
	px_config config;     /* no members: unchanged */
	sim_tables *tables;   /* NULL: unchanged */
	bool vote;            /* entries are votes (not fetched) */
	px_slot first;
	uint16_t n;
	sim_cell cells[]; /* value NULL: left alone */
} sim_wal;

/* The sentinel file, which is no table: there at once, durably. */
typedef struct sim_sentinel
{
	uint64_t incarnation; /* 0: none */
	uint64_t stamp;
} sim_sentinel;

/* A copy of a node's disk, taken at some moment. */
typedef struct sim_copy
{
	bool taken;
	sim_image image;
	sim_sentinel sentinel;
} sim_copy;

/* ---- network ---- */

typedef enum sim_msg_kind
{
	M_GREET,
	M_WELCOME,
	M_PREVOTE,
	M_PREPARE,
	M_ACCEPT,
	M_HANDOVER,
	M_FORWARD,
	M_PREVOTE_REPLY,
	M_PROMISE,
	M_ACCEPTED,
	M_FORWARD_REPLY,
	M_FETCH,
	M_FETCHED,
	M_SNAPSHOT
} sim_msg_kind;

/* Begins every connection of a proposer. */
typedef struct sim_greeting
{
	uint64_t incarnation;
	uint64_t instance;
	px_memory remembered; /* of whom it goes to; in the answer, of whom greeted */
	px_welcome welcome;   /* in the answer */
} sim_greeting;

typedef struct sim_fetch
{
	px_node from;
	uint64_t request;
	px_slot first;
	px_slot last;
	px_slot truncated; /* in the answer */
	bool snapshot;     /* a snapshot is wanted */
} sim_fetch;

typedef struct sim_msg
{
	struct sim_msg *next;
	sim_msg_kind kind;
	px_usec received;    /* clock of the node that read it */
	px_usec received_at; /* the same moment, world time */
	union
	{
		px_prevote prevote;
		px_prepare prepare;
		px_accept accept;
		px_handover handover;
		px_forward forward;
		px_prevote_reply prevote_reply;
		px_promise promise;
		px_accepted accepted;
		px_forward_reply forward_reply;
		sim_fetch fetch;
		sim_greeting greeting;
	} u;
	uint16_t n;
	sim_blob **blobs; /* values or batches */
	px_bytes *bytes;  /* the same, as the core wants them */
	px_entry *entries;
	sim_tables *tables;
} sim_msg;

typedef struct sim_fifo
{
	sim_msg *head;
	sim_msg *tail;
	int n;
	px_usec last_arrival;
} sim_fifo;

typedef struct sim_conn
{
	uint64_t id;  /* from 1; the acceptor's "owner" */
	px_node near; /* places */
	px_node far;
	px_node peer;     /* whose address the far end is */
	bool up;          /* greeted, and welcome */
	uint64_t greeted; /* incarnation that greeted; 0: none yet */
	sim_fifo parked;  /* what waits for the welcome */
	bool forward;     /* else a proposer -> acceptor stream */
	bool near_open;   /* the proposer believes in it */
	bool far_open;    /* a backend serves it */
	bool cut;         /* nothing more gets through */
	px_usec cut_at;
	sim_fifo out;    /* under way to far */
	sim_fifo back;   /* under way to near */
	sim_fifo inbox;  /* arrived, the backend has not read it */
	bool busy;       /* the backend works on a message */
	bool doomed;     /* the backend ends when its transaction is over */
	bool closing;    /* the far end has seen the end, after inbox */
	sim_msg *answer; /* to be sent when the backend is done */
} sim_conn;

/* ---- one node ---- */

typedef enum sim_session_state
{
	S_IDLE,
	S_QUEUED,      /* command on the node's queue */
	S_NUMBERED,    /* in an origin batch */
	S_READ_WANTED, /* wants a read index */
	S_READ_SENT,   /* shares request read_seq */
	S_READ_APPLY,  /* waits until read_index is applied */
	S_OPEN,        /* a transaction, not proposed yet */
	S_TURN         /* it shall commit its set */
} sim_session_state;

typedef struct sim_session
{
	sim_session_state state;
	uint64_t generation;
	uint64_t command;
	sim_wish wish;
	uint64_t began; /* step, of a read */
	uint16_t pad;
	uint64_t incarnation;
	uint64_t sequence;
	uint16_t index;
	uint64_t queued_at; /* order in the queue */
	uint64_t read_seq;
	px_slot read_index;
	px_slot must_see; /* acknowledged when the read began */
	bool finished;    /* did its part in the end phase */
	int final_todo;
	sim_txn *txn; /* NULL: none */
} sim_session;

/* Work that holds the acceptor lock. */
typedef enum sim_job_kind
{
	J_NONE,
	J_STREAM,
	J_FETCHED,
	J_TRUNCATE,
	J_SNAPSHOT,
	J_CONFIG
} sim_job_kind;

typedef struct sim_waiter
{
	sim_job_kind kind;
	sim_conn *conn;
	sim_msg *msg;
} sim_waiter;

#define SIM_MAX_WAITERS 64

typedef struct sim_node
{
	px_node place;          /* in W->nodes; of a clone above all ids */
	px_node id;             /* who it says it is */
	bool exists;            /* was a member ever */
	bool gone;              /* switched off for good */
	px_slot introduced;     /* the configuration it was told when it joined */
	bool up;                /* the server runs */
	uint64_t boot;          /* server starts */
	px_usec clock_us;       /* what its clock showed ... */
	px_usec clock_at;       /* ... at this world time, when its rate last changed */
	int64_t ppm;            /* its rate: so much too fast */
	int64_t wall_offset_us; /* wall clocks differ by seconds, and are set */
	px_usec paused_until;
	px_usec proposer_until; /* stalled */
	px_usec learner_until;
	bool told_stuck;
	bool no_vote;
	px_usec flush_us;
	px_usec slow_disk_until;
	int slow_disk_times;
	bool flush_fails;   /* the next one */
	sim_coverage armed; /* boundary at which its server is killed */

	/* disk */
	sim_image visible;
	sim_image durable;
	sim_wal *wal_head;
	sim_wal *wal_tail;
	uint64_t wal_lsn;
	sim_sentinel sentinel;
	px_ballot floor_promised;      /* highest durable since the disk was last put back */
	px_ballot max_promised;        /* ever durable, of whoever had this id */
	px_ballot lease_ballot;        /* readable lease it granted last: of this ballot */
	px_usec lease_until;           /* world time, with the drift bound taken off */
	px_slot max_config;            /* newest configuration durable since then */
	px_slot ever_config;           /* ever, of whoever had this id, plus one; 0: none */
	uint64_t max_incarnation;      /* ever used by a proposer life */
	uint64_t executed_incarnation; /* of the last origin batch of this node in */
	uint64_t executed_sequence;    /* the canonical history */

	/* amnesia (sim_amnesia.c) */
	sim_copy copy;    /* taken, for later */
	sim_copy honest;  /* what is safe while fsync is off */
	bool unsafe;      /* fsync is off */
	bool unsafe_said; /* it voted all the same */
	bool forgot;      /* the observer's: it may show less than it once did */
	bool lost;        /* and will never vote again, if all is right */
	bool set_apart;   /* it shall first meet who can contradict it */
	uint32_t set_apart_from;
	bool contradicted; /* somebody has remembered more than it shows */

	/* shared memory: standing, and what it remembers and was told of others */
	uint64_t instance;
	bool fenced;
	bool twin;
	px_memory remembers[SIM_MAX_NODES + 1];
	uint32_t met; /* who has greeted it, and said its address */

	/* shared memory: the acceptor */
	px_acceptor acceptor;
	bool lock_held;
	sim_job_kind job;
	sim_conn *job_conn;
	sim_msg *job_msg;
	px_refusal job_refusal;
	px_acceptor_todo job_todo;
	px_slot job_first;
	px_slot job_last;
	px_slot job_applied;
	px_slot job_durable;
	px_config job_config;
	px_slot job_next_config;
	bool config_waiting;
	bool preparing; /* the job is a Prepare that was granted */
	uint64_t job_lsn;
	sim_wal *job_wal;
	uint64_t accept_busy; /* connection whose Accept waits for the disk */
	bool truncate_waiting;
	sim_waiter waiters[SIM_MAX_WAITERS];
	int n_waiters;

	/* shared memory: what the proposer published */
	px_role role;
	px_ballot ballot;
	px_node leader;
	px_slot pub_chosen;
	px_usec pub_lease; /* by its own clock; outlives the proposer, not the server */
	bool ready;
	bool removed;

	/* the proposer process */
	bool proposer_up;
	bool proposer_starting;
	uint64_t incarnation_lsn; /* of an incarnation not flushed yet; 0: none */
	uint64_t life;            /* proposer starts, over the run */
	px_proposer *proposer;
	px_proposer_view views[2]; /* as the last event found it, and left it */
	int view;                  /* the one it left */
	void *memory;
	size_t memory_bytes;
	px_proposer_params params;
	uint64_t tick_gen;
	bool wake_scheduled;
	bool read_signal;    /* a session has asked for a read index */
	px_slot told_config; /* newest configuration the proposer was told */
	px_slot view_config; /* what governs, as it sees it */
	px_local last_local;
	bool local_told;
	sim_conn *stream[SIM_MAX_NODES + 1];
	bool connecting[SIM_MAX_NODES + 1];
	sim_conn *fwd;
	uint64_t gaps_seen;
	int idle_ticks;
	px_usec last_tick;
	px_usec tick_at; /* the tick scheduled, local clock */

	/* the learner process */
	uint64_t learner_life;
	bool learn_scheduled;
	uint64_t fetch_request; /* outstanding, 0: none */
	px_usec fetch_deadline;
	px_node fetch_hint;
	px_slot fetch_to;
	sim_outcome *outcomes; /* not delivered yet */
	int n_outcomes;
	int cap_outcomes;
	bool deliver_scheduled;
	px_window *window;
	bool window_loaded;

	/* a session's turn */
	bool turn_given;
	px_usec turn_until;
	px_slot turn_slot;
	px_slot turn_over; /* no session has it any more for this slot */
	sim_tables *turn_tables;
	sim_applying turn_applying;
	sim_blob *turn_value;
	sim_outcome turn_settles; /* what else the slot says */
	sim_result turn_result;

	/* sessions */
	sim_session sessions[SIM_MAX_SESSIONS];

	char ring[SIM_RING][SIM_LINE];
	uint64_t n_ring;
} sim_node;

/* ---- events ---- */

typedef enum sim_event_kind
{
	E_ARRIVE_OUT,
	E_ARRIVE_BACK,
	E_BACKEND,
	E_FLUSHED,
	E_ANSWER,
	E_CLOSED,
	E_DOWN,
	E_CONNECT,
	E_TICK,
	E_WAKE,
	E_FORWARD,
	E_RPC,
	E_LEARN,
	E_DELIVER,
	E_WALWRITE,
	E_SESSION,
	E_CONFIGURE,
	E_RECORD,
	E_TIMEOUT,
	E_TURN,
	E_START_SERVER,
	E_START_PROPOSER,
	E_PROPOSER_READY,
	E_FENCED,
	E_FAULT,
	E_CHANGE,
	E_HEAL,
	E_END
} sim_event_kind;

/* Which process of the node an event needs: a stall holds it up. */
typedef enum sim_process
{
	P_WORLD,
	P_SERVER,
	P_PROPOSER,
	P_LEARNER
} sim_process;

typedef struct sim_event
{
	px_usec at;
	uint64_t order;
	sim_event_kind kind;
	sim_process process;
	px_node node;
	uint64_t life; /* boot, or life of the process */
	uint64_t a;
	uint64_t b;
	sim_msg *msg;
	sim_conn *conn;
} sim_event;

/* When an event is due, and which of W->events it is. */
typedef struct sim_due
{
	px_usec at;
	uint64_t order;
	uint32_t event;
} sim_due;

/* ---- the world ---- */

typedef struct sim_vote
{
	struct sim_vote *next;
	px_ballot ballot;
	px_slot config; /* what its proposer took to govern the slot */
	sim_blob *value;
	uint32_t accepted; /* nodes that ever held it durably, by bit */
} sim_vote;

typedef struct sim_canon
{
	sim_vote *votes;
	sim_blob *chosen;
	px_ballot chosen_ballot; /* lowest ballot known to have chosen it */
	uint64_t digest;         /* after this slot */
	uint64_t last_position;  /* of the commands up to it */
	uint64_t applied_step;   /* when a learner first applied it; 0: none has */
} sim_canon;

/* What the observer knows of a request id. */
typedef struct sim_request_seen
{
	uint64_t effect;  /* the command last executed under it */
	uint64_t number;  /* in the order in which requests were remembered */
	uint64_t expires; /* log time */
	bool again;       /* it was forgotten, and executed again */
} sim_request_seen;

/* A linearizable read that was answered. */
typedef struct sim_read
{
	uint64_t began;
	uint64_t ended;
	uint8_t key;
	px_slot slot;
	hist_value value;
} sim_read;

typedef struct sim_lead
{
	px_ballot ballot;
	px_node node;
	uint64_t life;
} sim_lead;

/* Somebody who wants the configuration changed. */
typedef enum sim_change_op
{
	CHANGE_ADD,
	CHANGE_REMOVE,
	CHANGE_PROMOTE,
	CHANGE_DEMOTE,
	CHANGE_REJOIN,  /* who has forgotten comes as a new node in its own place */
	CHANGE_REPLACE, /* any set by any other */
	CHANGE_ALTER    /* the same members */
} sim_change_op;

typedef struct sim_task
{
	bool active;
	sim_change_op op;
	px_node who;
	bool force;
	int tries;
	int patience;
	uint64_t generation;
	uint64_t attempt; /* that waits for its answer; 0: none */
	uint32_t ids;     /* given to new nodes, by bit */
	px_slot begun_at;
	px_config wanted;
} sim_task;

typedef struct sim_attempt
{
	uint32_t task;
	px_slot base;
	bool force;
	bool confirm;
	px_config wanted;
	bool told;
	px_change_result result;
	px_slot slot;
	px_slot chosen_at; /* canonical, 0: not (yet) */
} sim_attempt;

typedef enum sim_phase
{
	PHASE_CHAOS,
	PHASE_END
} sim_phase;

/*
 * What can go wrong, one occurrence at a time.  A name here is a name for
 * --without; each occurrence has an index for --drop.
 */
#define SIM_FAULTS(X)                                                    \
	X(cut, "a connection cut")                                           \
	X(cut_node, "all connections of a node cut")                         \
	X(lose_answers, "a connection cut, all questions arrive, no answer") \
	X(kill_backend, "an acceptor backend ended alone")                   \
	X(crash, "a server killed")                                          \
	X(crash_leader, "the leader's server killed")                        \
	X(crash_many, "several servers killed at once")                      \
	X(crash_at, "a server killed at a boundary")                         \
	X(flush_fails, "a flush fails")                                      \
	X(kill_proposer, "a proposer killed alone")                          \
	X(kill_all_proposers, "all proposers killed at once")                \
	X(retime, "timing settings changed")                                 \
	X(learner_stall, "a learner stalled")                                \
	X(learner_restart, "a learner killed alone")                         \
	X(pause, "a server paused")                                          \
	X(pause_many, "several servers paused")                              \
	X(proposer_stall, "a proposer stalled")                              \
	X(one_way, "a link blocked in one direction")                        \
	X(two_way, "a link blocked: a partition that is not transitive")     \
	X(split, "a partition into two sides")                               \
	X(ring, "each node sees a majority, no two the same")                \
	X(bridge, "two sides, and one node that sees both")                  \
	X(isolate_leader, "the leader cut off")                              \
	X(flap, "a partition that comes and goes")                           \
	X(swizzle, "links blocked one by one and restored in another order") \
	X(slow_link, "a slow link")                                          \
	X(slow_node, "all links of a node slow")                             \
	X(slow_disk, "a slow disk")                                          \
	X(slow_disks, "all disks slow")                                      \
	X(clock_rate, "a clock that changes its rate")                       \
	X(clock_jump, "a clock that jumps ahead (beyond what leases allow)") \
	X(wall_jump, "a wall clock set")                                     \
	X(transfer, "a hand-over asked for")                                 \
	X(no_vote, "a node that may not vote for a while")                   \
	X(stuck, "a leader whose learner is stuck")                          \
	X(configure, "a change of the configuration asked for")              \
	X(backup, "a disk copied, for later")                                \
	X(restore, "an older copy of a disk put back")                       \
	X(roll_back, "a disk rolled back, unnoticed by its sentinel")        \
	X(clone, "a clone started beside its original")                      \
	X(fsync_off, "a server started with fsync off, and crashed")

typedef enum sim_fault
{
#define X(name, text) FAULT_##name,
	SIM_FAULTS(X)
#undef X
	N_FAULTS
} sim_fault;

/*
 * What goes on all the time, or not, each with a probability (in thousandths)
 * of its own in every run.  Names for --without, too.
 */
#define SIM_AMBIENT(X)                                                \
	X(tails, "messages that take much longer than others")            \
	X(lost_calls, "fetches and their answers lost")                   \
	X(late_ticks, "timers that go off late")                          \
	X(slow_flushes, "single flushes that take long")                  \
	X(bursts, "several faults at one moment")                         \
	X(crash_again, "a server that crashes again as soon as it is up") \
	X(quiet_crash, "crashes that nobody is told of")                  \
	X(struck, "a leader struck while it changes the configuration")

typedef enum sim_ambient
{
#define X(name, text) AMBIENT_##name,
	SIM_AMBIENT(X)
#undef X
	N_AMBIENT
} sim_ambient;

#define SIM_MAX_DROPS 16384

/* A run: a seed and what is left out of it (sim_minimise.c). */
typedef struct sim_options
{
	uint64_t seed;
	int nodes; /* 0: as the seed says */
	uint64_t steps;
	int sessions; /* of one node, at most; 0: as the seed says */
	bool plain;   /* without write sets */
	bool no_fault[N_FAULTS];
	bool no_ambient[N_AMBIENT];
	uint8_t dropped[SIM_MAX_DROPS / 8]; /* occurrences, by index */
} sim_options;

static inline bool
sim_dropped(const sim_options *o, uint32_t occurrence)
{
	return occurrence < SIM_MAX_DROPS && (o->dropped[occurrence / 8] & (1 << occurrence % 8)) != 0;
}

extern const char *const sim_fault_name[N_FAULTS];
extern const char *const sim_ambient_name[N_AMBIENT];
extern uint64_t sim_faults[N_FAULTS]; /* how often each happened */

typedef struct sim_world
{
	uint64_t seed;
	uint64_t rng;
	px_usec now;
	uint64_t step;
	uint64_t max_steps;
	sim_phase phase;
	int n_nodes;
	px_config config;                   /* formed with */
	bool changing;                      /* it changes */
	bool stale_leases;                  /* what is read under a lease may be old */
	px_config configs[SIM_MAX_CONFIGS]; /* canonical; the first is 'config' */
	int n_configs;
	sim_task tasks[SIM_MAX_TASKS];
	sim_attempt attempts[SIM_MAX_ATTEMPTS];
	uint64_t n_attempts;
	sim_node nodes[SIM_PLACES + 1];     /* [id], then clones; 0 unused */
	px_node address[SIM_MAX_NODES + 1]; /* the place to which an id's address leads */
	uint64_t stamps;
	uint64_t instances;

	/* heap */
	sim_due *heap;
	sim_event *events;
	uint32_t *free_events;
	uint32_t n_free;
	size_t n_heap;
	size_t cap_heap;
	uint64_t order;

	/* network */
	px_usec latency_us;
	px_usec jitter_us;
	px_usec tail_us;
	px_usec slow_until[SIM_PLACES + 1][SIM_PLACES + 1];
	int slow_times[SIM_PLACES + 1][SIM_PLACES + 1];
	int blocked[SIM_PLACES + 1][SIM_PLACES + 1]; /* [from][to], a count */
	uint64_t n_conns;
	sim_conn **conns;
	uint64_t fetch_requests;
	uint64_t lives;

	/* load */
	int n_sessions;
	px_usec think_us;
	px_usec timeout_us;
	int read_permille;
	int request_permille; /* commands with a request id */
	px_usec retention_us;
	uint64_t n_requests;
	sim_wish retries[SIM_MAX_RETRIES];
	int n_retries;
	uint16_t max_pad;
	bool sets; /* there are transactions */
	int set_permille;
	uint32_t window_slots;
	uint32_t window_keys;
	px_usec set_think_us;
	int64_t n_elements;
	bool truncating;
	px_usec election_us;
	int64_t max_ppm;  /* of any clock */
	bool leases_hold; /* clocks keep to the allowed drift.  If not, all must
						* hold but what is read under a lease */

	/* faults */
	const sim_options *options;
	int weights[N_FAULTS];
	int ambient[N_AMBIENT];
	uint64_t fault_rng;   /* of the setup; each occurrence has its own */
	uint32_t n_faults;    /* occurrences, those left out included */
	uint32_t faults_done; /* not left out */
	uint32_t fault_counts[N_FAULTS];
	struct
	{
		px_usec at;
		uint32_t index;
		sim_fault kind;
	} fault_lines[SIM_FAULT_LINES];
	px_usec fault_every_us;
	px_usec chaos_ends;
	uint64_t fault_gen;

	/* end phase */
	px_usec end_began;
	px_usec end_deadline;
	px_usec leader_deadline;
	bool leader_seen;
	px_usec took_us;
	px_usec leader_took_us;

	/* observer */
	sim_canon *canon;
	px_slot cap_canon;
	uint64_t n_executed;
	px_slot prefix;    /* every slot up to it is chosen */
	sim_tables tables; /* canonical, at prefix */
	sim_command *commands;
	uint64_t n_commands;
	uint64_t cap_commands;
	sim_lead *leads;
	int n_leads;
	int cap_leads;
	px_slot acknowledged; /* highest slot any client may rely on */
	uint64_t n_acknowledged;
	uint64_t n_reads;
	sim_request_seen *requests; /* by request id */
	uint64_t cap_requests;
	uint64_t n_remembered;
	uint64_t first_stamp_us; /* log time of slot 1 */
	sim_read *reads;
	uint64_t n_recorded;
	uint64_t cap_reads;
	px_window *window; /* canonical */
	sim_change *changes;
	uint64_t n_changes;
	uint64_t cap_changes;

	/* arena, blobs */
	void *arena;
	size_t arena_used;
	sim_blob **buckets;
	uint32_t n_blobs;

	/* output */
	bool trace; /* to stdout, all of it */
	bool ring;  /* keep the last lines */
	jmp_buf failed;
	char fact[1024];
	const char *fact_format; /* the same check failed if this is the same */
} sim_world;

extern sim_world *W;

/* sim_world.c */
extern uint64_t rnd(void);
extern uint64_t rnd_below(uint64_t n);
extern uint64_t rnd_between(uint64_t low, uint64_t high);
extern bool chance(int permille);
extern px_usec rnd_log(px_usec low, px_usec high);
extern void *sim_alloc(size_t bytes);
extern sim_blob *sim_blob_of(px_bytes bytes);
extern sim_event *sim_at(px_usec at, sim_event_kind kind, sim_process process, px_node node);
extern bool sim_next(sim_event *e);
extern void sim_again(const sim_event *e, px_usec at);
extern void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
extern void sim_trace(sim_node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void sim_world_free(void);
extern px_usec sim_clock(const sim_node *n);
extern void sim_set_clock(sim_node *n, px_usec ahead, int64_t ppm);
extern px_usec sim_when(const sim_node *n, px_usec local);

#define TRACE(n, ...)                    \
	do                                   \
	{                                    \
		if (W->trace || W->ring)         \
			sim_trace((n), __VA_ARGS__); \
	} while (0)

/* sim_net.c */
extern sim_msg *net_msg(sim_msg_kind kind);
extern void net_send(sim_conn *c, sim_msg *m);
extern void net_reply(sim_conn *c, sim_msg *m);
extern void net_welcome(sim_conn *c);
extern void net_cut(sim_conn *c, px_usec near_delay, px_usec far_delay);
extern void net_lose_answers(sim_conn *c, px_usec near_delay, px_usec far_delay);
extern void net_arrive(const sim_event *e, bool out);
extern sim_conn *net_connect(sim_node *from, px_node peer, bool forward);
extern sim_node *net_home(px_node id);
extern bool net_reachable(const sim_node *from, px_node peer);
extern px_usec net_delay(px_node from, px_node to);
extern void net_rpc(px_node from, px_node to, sim_msg *m);
extern const char *net_describe(const sim_msg *m, char *buf, size_t cap);

/* sim_disk.c */
extern sim_wal *disk_begin(uint16_t n_cells);
extern uint64_t disk_commit(sim_node *n, sim_wal *w);
extern void disk_show(sim_node *n, sim_wal *w);
extern void disk_flush(sim_node *n, uint64_t lsn);
extern void disk_crash(sim_node *n);
extern sim_cell *disk_cell(sim_image *im, px_slot slot);
extern void disk_take(sim_copy *c, const sim_node *n);
extern void disk_copy(sim_copy *to, const sim_copy *from);
extern void disk_put_back(sim_node *n, const sim_copy *c);
extern void disk_free(sim_node *n);

/* sim_client.c */
extern void client_apply(sim_tables *t, px_slot slot, sim_blob *value, sim_applying *a,
						 sim_sink sink, void *arg);
extern sim_command *client_new_command(sim_node *n, sim_session *s);
extern void client_queue(sim_node *n, sim_session *s);
extern void client_finish(sim_node *n, sim_session *s);
extern void client_told(sim_node *n, sim_session *s, const sim_result *result);
extern void client_never(sim_node *n, sim_session *s);
extern bool client_waits_for(const sim_session *s, const sim_outcome *o);
extern void client_session(sim_node *n, sim_session *s);
extern void client_timeout(sim_node *n, sim_session *s);
extern bool client_fill(sim_node *n, px_batch_writer *w, uint64_t incarnation, uint64_t sequence);
extern bool client_queued(const sim_node *n);
extern void client_outcome(sim_node *n, const sim_outcome *o);
extern void client_removed(sim_node *n);
extern void client_lost(sim_node *n, sim_session *s);
extern void client_reads_ready(sim_node *n);
extern void client_schedule(sim_node *n, sim_session *s, px_usec after);

/* sim_history.c */
extern void history_read(const sim_session *s, px_slot slot, hist_value value);
extern void history_check(void);

/* sim_node.c */
extern void node_init(sim_node *n, px_node place, px_node id);
extern void node_dispatch(const sim_event *e);
extern void node_crash(sim_node *n, bool quiet);
extern void node_kill_proposer(sim_node *n);
extern void node_restart_learner(sim_node *n);
extern void node_kill_backend(sim_node *n, sim_conn *c);
extern void node_outcome(sim_node *n, const sim_outcome *o);
extern void node_deliver(sim_node *n);
extern void node_boundary(sim_node *n, sim_coverage boundary);
extern void node_start_server(sim_node *n);
extern void node_start_proposer(sim_node *n);
extern void node_transfer(sim_node *n, px_node to);
extern void node_wake(sim_node *n);
extern void node_wake_learner(sim_node *n);
extern void node_read(sim_node *n);
extern sim_node *node_leader(void);

extern void node_tell_config(sim_node *n);
extern void node_connect(sim_node *n, px_node peer);
extern void node_disconnect(sim_node *n, px_node peer);
extern void node_configure(sim_node *n, const px_configure *m);

/* sim_amnesia.c */
extern bool amnesia_votes(const sim_node *n);
extern bool amnesia_home(sim_node *n);
extern void amnesia_judge(sim_node *n);
extern void amnesia_greet(sim_node *n, sim_conn *c);
extern void amnesia_greeted(sim_node *n, sim_conn *c, const sim_msg *m);
extern bool amnesia_welcomed(sim_node *n, sim_conn *c, const sim_msg *m);
extern bool amnesia_over(sim_node *n, const sim_conn *c);
extern void amnesia_note(sim_node *n, px_node peer, px_ballot promised, px_slot accepted);
extern void amnesia_save(sim_node *n);
extern void amnesia_foreign(sim_node *n);
extern void amnesia_crashed(sim_node *n);
extern bool amnesia_majority(const px_config *c, px_node without);
extern void amnesia_happen(sim_fault kind, sim_node *n, px_usec how_long);
extern void amnesia_heal(sim_node *n);
extern bool amnesia_met(sim_node *n);
extern void amnesia_end(void);

/* sim_config.c */
extern bool config_everywhere(px_node without);
extern void config_setup(void);
extern const px_config *config_of(px_slot slot);
extern const px_config *config_last(void);
extern const px_config *config_at(px_slot slot);
extern bool config_majority(const px_config *c, uint32_t nodes);
extern void config_decided(px_slot slot, const sim_canon *c);
extern void config_chosen(px_slot slot, sim_blob *value);
extern void config_durable(sim_node *n);
extern bool config_settled(void);
extern bool config_knows(const sim_node *n, px_node node);
extern void config_tell(sim_node *n);
extern void config_want(void);
extern void config_turn(const sim_event *e);
extern void config_asked(sim_node *n, uint64_t attempt);
extern void config_answered(sim_node *n, uint64_t attempt, px_change_result result, px_slot slot);

/* sim_set.c */
extern void set_setup(void);
extern void set_check(void);
extern bool set_is_command(uint8_t kind);
extern sim_result set_execute(sim_tables *t, uint64_t id, px_slot slot, sim_applying *a);
extern void set_record(const sim_tables *t, px_slot slot, sim_applying *a);
extern void set_slot_begins(sim_tables *t, px_slot slot, sim_applying *a);
extern uint64_t set_slot_ends(const sim_tables *t);
extern void set_load_window(sim_node *n);
extern void set_store_window(sim_node *n, sim_tables *t, const sim_applying *a);
extern void set_begin(sim_node *n, sim_session *s);
extern void set_step(sim_node *n, sim_session *s);
extern void set_roll_back(sim_node *n, sim_session *s);
extern uint8_t set_kind(const sim_session *s);
extern bool set_alone(const sim_session *s);
extern bool set_told(sim_node *n, sim_session *s, sim_told told, const sim_result *result);
extern void set_make_way(sim_node *n, uint32_t rows);
extern void set_all_end(sim_node *n);
extern bool set_own(const sim_node *n, const sim_blob *value);
extern bool set_give_turn(sim_node *n, px_slot slot, sim_blob *value);
extern bool set_turn_lasts(sim_node *n);
extern void set_withdraw_turn(sim_node *n);
extern void set_take_turn(sim_node *n, sim_session *s);

/* sim_check.c */
extern void check_proposed(sim_node *n, px_ballot ballot, px_slot slot, sim_blob *value);
extern void check_accepted(sim_node *n, px_slot slot, px_ballot ballot, sim_blob *value);
extern void check_durable(sim_node *n);
extern void check_known(sim_node *n, px_slot from, px_slot to);
extern void check_applied(sim_node *n, px_slot slot, sim_blob *value, const sim_tables *after);
extern void check_tables(sim_node *n, const sim_tables *t);
extern void check_prepare(sim_node *n, px_ballot ballot, px_node to);
extern void check_leads(sim_node *n, px_ballot ballot);
extern void check_lease(sim_node *n, const px_proposer_view *v);
extern void check_promised(sim_node *n, const sim_msg *m);
extern void note_lease(sim_node *n, const sim_msg *m);
extern void check_promise(sim_node *n, const px_promise *r);
extern void check_answer(sim_node *n, const px_accepted *r);
extern void check_acceptor(sim_node *n, const px_acceptor *before);
extern sim_command *check_command(uint64_t id);
extern bool check_took_effect(const sim_command *c);

/* sim_fault.c */
extern void fault_setup(const sim_options *options);
extern void fault_crash(sim_node *n);
extern void fault_restart_later(sim_node *n, px_usec after);
extern void fault_heal_amnesia(sim_node *n, px_usec after);
extern void fault_strike_soon(sim_node *n);
extern void fault_crash_soon(sim_node *n);
extern void fault_kill_proposer(sim_node *n);
extern void fault_now(const sim_event *e);
extern void fault_heal(const sim_event *e);
extern void fault_end(void);
extern bool fault_done(void);

/* sim_main.c */
typedef struct sim_run
{
	bool ok;
	uint64_t step;
	px_usec at;
	char fact[1024];
	const char *fact_format;
	bool in_end_phase;
	uint32_t n_faults;
	uint32_t faults_done;
	uint32_t fault_counts[N_FAULTS];
	uint32_t fault_index[SIM_FAULT_LINES];
	int n_sessions;
	px_slot slots;
	uint64_t commands;
	uint64_t acknowledged;
	uint64_t reads;
	px_usec took_us;
	px_usec leader_took_us;
	px_usec election_us;
} sim_run;

extern void sim_run_once(const sim_options *o, bool trace, bool ring, sim_run *out);
extern void sim_print_command(const sim_options *o, const char *what);

/* sim_jobs.c */
#define SIM_MAX_JOBS 256

typedef struct sim_range
{
	uint64_t from;
	uint64_t to;
	int nodes;      /* 0: as the options say */
	bool plain;     /* also if the options do not say so */
	uint64_t steps; /* the same */
} sim_range;

typedef struct sim_plan
{
	const sim_options *options; /* of every run, but for what a range says */
	sim_range *ranges;
	int n_ranges;
	uint64_t n_runs;
	int jobs; /* processes */
	bool trace;
	bool coverage;
	bool progress;
	bool stop; /* at the first failure */
} sim_plan;

extern void jobs_add(sim_plan *plan, uint64_t from, uint64_t to);
extern void jobs_add_file(sim_plan *plan, const char *path);
extern bool jobs_run(const sim_plan *plan);

/* sim_minimise.c */
extern bool sim_minimise(const sim_options *from);

#endif /* SIM_H */
