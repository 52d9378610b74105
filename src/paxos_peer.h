/*
 * paxos_peer.h
 *	  One libpq connection of the proposer to another node (or to its own), as
 *	  a state machine that never blocks.
 *
 * The proposer owns the loop: it calls paxos_peer_tick() when the time a peer
 * asked for has come, paxos_peer_ready() when its socket is, then takes what
 * happened with paxos_peer_next() until there is nothing more.
 */
#ifndef PAXOS_PEER_H
#define PAXOS_PEER_H

#include "libpq-fe.h"

#include "paxos_divergence.h"
#include "paxos_resolve.h"

typedef enum PaxosPeerState
{
	PAXOS_PEER_WAITING, /* not connected; next try at retry_at */
	PAXOS_PEER_RESOLVING,
	PAXOS_PEER_CONNECTING,
	PAXOS_PEER_PREPARING, /* connected; statements are prepared, then it greets */
	PAXOS_PEER_UP
} PaxosPeerState;

typedef enum PaxosPeerEventKind
{
	PAXOS_PEER_EV_UP,
	PAXOS_PEER_EV_DOWN,
	PAXOS_PEER_EV_PREVOTE_REPLY,
	PAXOS_PEER_EV_PROMISE,
	PAXOS_PEER_EV_ACCEPTED,
	PAXOS_PEER_EV_HANDOVER_REPLY,
	PAXOS_PEER_EV_FORWARD_REPLY,
	PAXOS_PEER_EV_COMPARED
} PaxosPeerEventKind;

/* What a peer has to tell; 'promise' points into memory that the next call of
 * paxos_peer_next() on the same peer frees. */
typedef struct PaxosPeerEvent
{
	PaxosPeerEventKind kind;
	union
	{
		px_prevote_reply prevote_reply;
		px_promise promise;
		px_accepted accepted;
		bool handover_taken;
		px_forward_reply forward_reply;
		PaxosComparison compared;
	} u;
} PaxosPeerEvent;

/* What was sent and is not answered; oldest first. */
typedef struct PaxosPending PaxosPending;

/* A message that waits for the connection to come up (forwarding only). */
typedef struct PaxosParked PaxosParked;

typedef struct PaxosPeer
{
	px_node node;
	bool forwarding; /* carries Forward only, to the leader */
	char conninfo[PX_MAX_CONNINFO];

	PaxosPeerState state;
	PaxosResolve *resolve;          /* while RESOLVING and CONNECTING */
	PGconn *conn;                   /* from CONNECTING on */
	PostgresPollingStatusType poll; /* while CONNECTING */
	px_usec deadline;               /* of RESOLVING, CONNECTING, PREPARING */
	px_usec retry_at;               /* while WAITING */
	px_usec resolve_at;             /* while RESOLVING: ask again then */
	int failures;                   /* since the last time it was UP for a while */
	px_usec up_at;                  /* when it was UP last */

	bool told_up;   /* UP has been reported and DOWN has not */
	bool tell_down; /* DOWN is owed */

	/* unsent and unanswered */
	bool unsent;         /* libpq could not write everything */
	uint64 unsent_bytes; /* at most this much */
	uint64 pending_bytes;
	int n_commands_pending; /* Forwards with batches, not answered */
	int pending_first;
	int n_pending;
	PaxosPending *pending; /* ring */
	PGresult *answer;      /* row of the oldest, its Sync not seen yet */
	PGresult *lent;        /* an event points into it */
	px_entry *entries;     /* of the promise lent */
	PaxosParked *parked;
	uint64 parked_bytes;

	bool sql_error;                    /* the last failure was an error the other server
								 * raised, not a lost connection */
	char last_error[PAXOS_ERROR_TEXT]; /* "" when all is well */
	uint64 error_count;                /* changes with each failure */
	px_usec answered_at;               /* last answer to anything; 0: never */

	PaxosDivergence divergence; /* the member's state beside this node's */
	bool comparing;             /* digests are sent and not answered */

	px_ballot noted_promised; /* what the proposer has made known of it last */
	px_usec noted_at;
} PaxosPeer;

/* Where this node is to be found, to be told to the others. */
extern void paxos_peer_own_address(const char *conninfo);

/* Who we are, for every message; set once before any peer is created. */
extern void paxos_peer_identity(const pg_uuid_t *cluster_id, px_node self, uint64 incarnation,
								uint64 seed);

/* palloc'd in the current context; connects at the first tick. */
extern PaxosPeer *paxos_peer_create(px_node node, const char *conninfo, bool forwarding,
									px_usec now);

/* Close without a word and free. */
extern void paxos_peer_destroy(PaxosPeer *peer);

/* Close the connection, give the reason, try again after a back-off. */
extern void paxos_peer_cut(PaxosPeer *peer, const char *why, px_usec now);

/* Close the connection, nothing being wrong with it, and connect again at once. */
extern void paxos_peer_renew(PaxosPeer *peer, px_usec now);

/* Connect at once, whatever the back-off says (the node was heard of). */
extern void paxos_peer_hurry(PaxosPeer *peer, px_usec now);

/* Time has passed; returns when it wants to be called again (0: no wish). */
extern px_usec paxos_peer_tick(PaxosPeer *peer, px_usec now);

/* Its socket is ready, for either. */
extern void paxos_peer_ready(PaxosPeer *peer, px_usec now);

/* True and the next thing that happened, or false.  Events that answer a message
 * come in the order of the messages; none of an earlier connection after DOWN. */
extern bool paxos_peer_next(PaxosPeer *peer, PaxosPeerEvent *event, px_usec now);

/*
 * Queue one message; nothing happens unless the peer is UP (a forwarding
 * connection keeps it until it is).  Failure shows as DOWN.
 */
extern void paxos_peer_send_prevote(PaxosPeer *peer, const px_prevote *m, px_usec now);
extern void paxos_peer_send_prepare(PaxosPeer *peer, const px_prepare *m, px_usec now);
extern void paxos_peer_send_accept(PaxosPeer *peer, const px_accept *m, px_usec now);
extern void paxos_peer_send_handover(PaxosPeer *peer, const px_handover *m, px_usec now);
extern void paxos_peer_send_forward(PaxosPeer *peer, const px_forward *m, px_usec now);

/* Digests of recent slots, unless there is nothing new to compare. */
extern void paxos_peer_send_digests(PaxosPeer *peer, px_usec now);

/* Is a HandOver on its way, not answered yet? */
extern bool paxos_peer_handing_over(const PaxosPeer *peer);

/* WL_SOCKET_* to wait for; 0 and PGINVALID_SOCKET when there is no socket. */
extern uint32 paxos_peer_interest(const PaxosPeer *peer, pgsocket *sock);

/* Raised whenever any peer's socket may have changed: wait event sets built at
 * another value are stale. */
extern uint64 paxos_peer_sockets_generation;

#endif /* PAXOS_PEER_H */
