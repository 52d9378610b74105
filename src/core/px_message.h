/*
 * px_message.h
 *	  The messages between nodes, as structs.  How they travel (SQL calls over
 *	  libpq, or the simulator's network) is not the core's business.
 *
 * Cluster uuid, protocol version and "from" are checked by the glue before a
 * message reaches the core; see paxos_acceptor.c.
 *
 *	message		protocol.md		from -> to
 *	PreVote		§ 3.1			pre-candidate -> every voter
 *	Prepare		§ 3.3			candidate or leader -> every member (opens a stream)
 *	Accept		§ 4				leader -> every member; without values: heartbeat
 *	HandOver	§ 3.6			leader -> target
 *	Forward		§ 5, § 9		origin -> leader: origin batches, read-index request
 *	Fetch		§ 4, § 8		learner -> any member
 *
 * Values inside messages are px_bytes that point into the sender's or the
 * transport's memory and are valid for the call only.
 */
#ifndef PX_MESSAGE_H
#define PX_MESSAGE_H

#include "px_value.h"

/* One log entry.  'chosen' entries outrank every ballot (§ 4). */
typedef struct px_entry
{
	px_slot slot;
	px_ballot ballot;
	bool chosen; /* durably marked as known chosen */
	px_bytes value;
} px_entry;

/* Why something was refused; px_refusal_name() gives the word. */
typedef enum px_refusal
{
	PX_REFUSED_NOT = 0,
	PX_REFUSED_BALLOT,    /* promised is higher */
	PX_REFUSED_STREAM,    /* stream number not above the last of this ballot,
								 * or not the open stream */
	PX_REFUSED_POSITION,  /* first slot does not continue the stream */
	PX_REFUSED_LEASE,     /* a live lease stands for another leader */
	PX_REFUSED_TRUNCATED, /* this log is cut above the asker's watermark:
								 * catch up first */
	PX_REFUSED_RESTART,   /* restarted less than a readable lease ago */
	PX_REFUSED_REMOVED,   /* the asker is known to be removed (§ 7); it is
								 * final, node ids are not used again */
	PX_REFUSED_NOT_VOTING /* this node may not vote (not a voter, amnesic, no
								 * cluster, fsync off) */
} px_refusal;

extern const char *px_refusal_name(px_refusal r);

typedef struct px_prevote
{
	px_node from;
	px_slot chosen; /* the candidate's chosen watermark */
} px_prevote;

typedef struct px_prevote_reply
{
	px_refusal refusal; /* PX_REFUSED_NOT: yes */
	px_ballot promised;
	px_slot chosen; /* the voter's chosen watermark */
	px_slot truncated;
	px_slot config; /* slot of the newest configuration it has recorded as
								 * chosen; with PX_REFUSED_REMOVED that one, or an
								 * earlier one, removed the asker */
} px_prevote_reply;

typedef struct px_prepare
{
	px_node from;
	px_ballot ballot;
	uint64_t stream;    /* grows with each opening in one ballot */
	px_slot w;          /* the sender's chosen watermark */
	px_ballot handover; /* ballot of the leader that handed over, or 0 */
} px_prepare;

/*
 * The answer to Prepare.  A promise carries the entries above w, in slot
 * order, at most PX_MAX_WINDOW of them and none above w + PX_MAX_WINDOW;
 * 'last' is the highest slot in the log at all, so that the leader knows when
 * it must open the stream again with a higher w (px_proposer.c, reopening).
 */
typedef struct px_promise
{
	px_refusal refusal;
	px_ballot ballot;   /* echoed */
	uint64_t stream;    /* echoed */
	px_ballot promised; /* what stands now */
	px_slot w;          /* echoed */
	px_slot chosen;
	px_slot truncated;
	px_slot last;   /* highest slot in the log; 0: empty */
	px_slot config; /* newest configuration recorded, as in px_prevote_reply */
	uint16_t n_entries;
	const px_entry *entries;
} px_promise;

/* What the leader tells a follower that asked for a read index (§ 9). */
typedef struct px_read_answer
{
	uint64_t incarnation; /* the asker's */
	uint64_t seq;         /* every request up to this one is answered; 0: none */
	px_slot index;
} px_read_answer;

typedef struct px_accept
{
	px_node from;
	px_ballot ballot;
	uint64_t stream;
	px_slot first; /* slot of values[0]; with no values the slot that
								 * comes next in this stream */
	uint16_t n_values;
	const px_bytes *values;
	px_slot config_at; /* the receiver sets it, with px_accept_config_at():
								 * first slot of these that holds a configuration, or 0 */
	px_slot chosen;    /* the leader's chosen watermark */
	px_usec sent_at;   /* leader's clock, strictly growing; echoed */
	px_usec lease_us;  /* what the acceptor shall grant; 0: nothing */
	bool lease_readable;
	px_slot truncatable; /* durably applied on every live member */
	px_read_answer read;
} px_accept;

extern px_slot px_accept_config_at(const px_accept *m);

typedef struct px_accepted
{
	px_refusal refusal;
	px_ballot ballot; /* echoed */
	uint64_t stream;  /* echoed */
	px_ballot promised;
	px_slot first;   /* first slot of the open stream */
	px_slot next;    /* next slot it expects */
	px_slot applied; /* applied here */
	px_slot durable; /* durably applied here (for truncation) */
	px_slot truncated;
	px_slot config;   /* newest configuration recorded, durably: the leader
								 * counts these (§ 7) */
	px_usec sent_at;  /* echoed */
	px_usec lease_us; /* echoed: the leader counts what its own message
								 * carried */
	bool lease_readable;
} px_accepted;

typedef struct px_handover
{
	px_node from;
	px_node to;
	px_ballot ballot; /* the leader's, which it no longer uses */
} px_handover;

/*
 * Origin batches on their way to the leader, in ascending sequence without
 * holes.  'resend': take the mark back to the first of these (§ 5).
 */
typedef struct px_forward
{
	px_node from;
	uint64_t incarnation;
	bool resend;
	uint16_t n_batches;
	const px_bytes *batches;
	uint64_t read_seq; /* a read index is wanted, request number; 0: no */
} px_forward;

#endif /* PX_MESSAGE_H */
