/*
 * cluster.h
 *	  A few nodes in one process, message by message: the fixture of the
 *	  transcript tests and of the end-to-end unit tests.
 *
 * Unlike the simulator (test/sim) nothing in here is random: the test says
 * which message is delivered next, which connection is cut, whose clock moves.
 * Every step is checked against px_invariants.h, every applied value against
 * the one canonical log, and every executed command against the set of those
 * executed before.
 */
#ifndef CLUSTER_H
#define CLUSTER_H

#include "unit.h"

#define MAX_NODES 7
#define MAX_LOG 512
#define MAX_TEXT 64 /* bytes of a test command, with its NUL */
#define MAX_QUEUE 4096

typedef struct log_entry
{
	px_ballot ballot; /* 0: nothing here */
	bool chosen;
	uint32_t len;
	uint8_t *value;
} log_entry;

typedef struct test_node
{
	px_node id;
	bool running;

	/* durable */
	px_ballot promised;
	px_slot truncated;
	px_usec longest_lease_us;
	px_config config; /* newest recorded as chosen */
	uint64_t incarnation;
	log_entry log[MAX_LOG];
	px_slot applied;
	px_origins origins;
	uint64_t log_time_us;
	uint64_t digest;

	/* volatile */
	px_acceptor acceptor;
	void *memory;
	px_proposer *proposer;
	px_local local;
	uint64_t gaps_seen;
	px_usec wake_at;
	px_proposer_view view;
	uint64_t read_done; /* newest read answered, and its index */
	px_slot read_index;
	uint64_t configured; /* newest request answered, and how */
	px_change_result result;
	px_slot result_slot;
	bool removed;                   /* as published */
	bool links[MAX_NODES + 1];      /* proposer's connection to that acceptor */
	uint64_t owners[MAX_NODES + 1]; /* number of that connection */
} test_node;

typedef enum wire_kind
{
	WIRE_PREVOTE,
	WIRE_PREPARE,
	WIRE_ACCEPT,
	WIRE_HANDOVER,
	WIRE_FORWARD,
	WIRE_PREVOTE_REPLY,
	WIRE_PROMISE,
	WIRE_ACCEPTED,
	WIRE_FORWARD_REPLY,
	WIRE_UP,
	WIRE_DOWN
} wire_kind;

typedef struct wire
{
	wire_kind kind;
	px_node from;
	px_node to;
	uint64_t owner; /* the connection it travels on */
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
	} u;
	px_bytes *parts;   /* values or batches, allocated */
	px_entry *entries; /* of a promise, allocated */
} wire;

typedef struct cluster
{
	int n;
	px_config config;
	px_proposer_params params; /* self, incarnation, seed are set for each */
	test_node nodes[MAX_NODES + 1];
	px_usec now;
	uint64_t wall_us;
	uint64_t connections;
	wire *queue[MAX_QUEUE];
	int n_queue;
	log_entry canonical[MAX_LOG]; /* the one true log: first applied wins */
	char executed[MAX_LOG][MAX_TEXT];
	int n_executed;
	FILE *trace; /* NULL: none */
} cluster;

extern cluster *cluster_new(int n_voters, int n_learners);
extern void cluster_free(cluster *c);

extern void cluster_start(cluster *c, px_node id);
extern void cluster_start_all(cluster *c);
extern void cluster_crash(cluster *c, px_node id);
extern void cluster_cut(cluster *c, px_node a, px_node b);
extern void cluster_heal(cluster *c, px_node a, px_node b);

/* Deliver the oldest message from -> to (0: anyone); false if there is none. */
extern bool cluster_deliver_one(cluster *c, px_node from, px_node to);
/* Deliver everything, what it causes included.  Ticks that fall due are not run. */
extern void cluster_deliver(cluster *c);
/* Move the clock to the node's next wake-up and tick it. */
extern void cluster_wake(cluster *c, px_node id);
/* Let everything happen for so long: deliver, and tick whoever is due. */
extern void cluster_run(cluster *c, px_usec us);
/* Until that node leads and is ready; false if it does not within many time-outs. */
extern bool cluster_elect(cluster *c, px_node id);

extern bool cluster_write(cluster *c, px_node id, const char *text);
extern void cluster_read(cluster *c, px_node id);
/* Ask node 'id' for the configuration "1 2 3 4l" (l: a learner) on 'base'; "": confirm. */
extern void cluster_configure(cluster *c, px_node id, uint64_t request, px_slot base,
							  const char *members);
/* A new node, with the state of 'from' as its snapshot; not started. */
extern void cluster_join(cluster *c, px_node id, px_node from);
extern void cluster_transfer(cluster *c, px_node id, px_node to);

extern px_node cluster_leader(const cluster *c);
/* How often the command was executed on that node's line of history. */
extern int cluster_executions(const cluster *c, const char *text);
/* Have all running nodes applied the same, and as much as any? */
extern bool cluster_agrees(const cluster *c);

#endif /* CLUSTER_H */
