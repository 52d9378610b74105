/*
 * px_proposer_int.h
 *	  The proposer's state, shared by the files that make it up and by
 *	  px_invariants.c and px_trace.c.  Nobody else includes this.
 *
 *	px_proposer.c	events in, actions out; roles and their legal changes
 *	px_election.c	pre-vote, catching up, candidacy, stepping down, hand-over
 *	px_stream.c		per-peer streams, recovery, counting chosen, Accepts
 *	px_change.c		changing the configuration
 *	px_intake.c		the leader's queue of origin batches, and its marks
 *	px_outbox.c		this node's own batches and when they are sent again
 *	px_read.c		the read index
 *
 * One step has two halves: the event changes state and sets wishes ("open this
 * peer", "a beat is due"), then px_proposer_flush() turns wishes into actions
 * in one fixed order, PX_DO_PUBLISH first.  So no path can tell a peer what the
 * own node has not been told (protocol.md § 4).
 */
#ifndef PX_PROPOSER_INT_H
#define PX_PROPOSER_INT_H

#include "px_proposer.h"

_Static_assert(PX_MAX_WINDOW <= 64, "px_peer.reported is a 64-bit map");
_Static_assert(PX_MAX_MEMBERS <= 32, "px_window_entry.origins is a 32-bit map");
_Static_assert(PX_MAX_VOTERS <= PX_MAX_MEMBERS, "voters are members");
_Static_assert(PX_MAX_INTAKE >= PX_MAX_OUTBOX, "one origin's outbox fits into the intake");

/* A peer that leaves something unanswered for so many election timeouts is cut. */
#define PX_SILENCE_TIMEOUTS 4

/* What a thrifty leader waits for a majority beyond twice its last round trip. */
#define PX_HEDGE_US 2000

/* A message of values is cut at about this many bytes ... */
#define PX_CHUNK_BYTES (1024 * 1024)
/* ... and one step hands at most so many of them to one peer. */
#define PX_CHUNKS_PER_STEP 2

/* A read-index request of one member, at the leader. */
typedef struct px_read_request
{
	uint64_t incarnation; /* the asker's */
	uint64_t seq;         /* 0: none */
	bool registered;      /* index and marker are set */
	px_slot index;        /* chosen when it was registered */
	px_usec marker;       /* last sent_at used before it was registered */
} px_read_request;

typedef struct px_peer
{
	px_node node;
	bool voter;
	bool up; /* connected */

	/* pre-vote */
	bool want_prevote;
	bool yes;
	bool no;
	px_slot prevote_chosen;

	/* the stream, all of the present ballot */
	bool want_prepare;
	px_usec reopen_at;     /* when to try again after a refusal; 0: never */
	uint64_t stream;       /* number of the last Prepare sent; 0: none */
	bool preparing;        /* that Prepare is not answered yet */
	bool open;             /* promised in 'stream' */
	bool promised;         /* has promised in the present round of recovery */
	bool refused;          /* has refused in the present round */
	px_slot w;             /* w of that Prepare */
	px_slot known;         /* what the peer knows to be chosen, or will as soon
								 * as it is told: no gap up to here */
	px_usec waiting_since; /* something sent is unanswered since; 0: nothing */
	px_slot sent_first;    /* first slot sent in the stream; 0: nothing sent */
	px_slot send_next;     /* next slot to send */
	px_slot first;         /* as the peer answered: 0 before */
	px_slot next;
	uint64_t reported;     /* bit i: promise reported slot w + 1 + i in the
								 * present ballot */
	px_slot told_chosen;   /* chosen carried by the last Accept sent */
	bool tell;             /* a batch of this peer's was chosen since */
	px_usec untold_since;  /* since when chosen is above told_chosen; 0: it is not */
	bool eager;            /* gets new values at once (px_proposer_params.thrifty) */
	bool held;             /* values are held back from it */
	px_usec last_sent_at;  /* sent_at of that Accept; 0: none */
	px_usec acked_sent_at; /* highest echoed, in the present ballot */
	px_usec lease_until;   /* of the readable leases it granted in the present ballot,
								 * by this node's clock, drift taken off; 0: none */

	/* news of it */
	px_slot applied;
	px_slot durable;
	px_slot truncated;
	px_slot config;      /* newest configuration it said it has recorded */
	px_usec answered_at; /* last promise or Accepted that was no refusal; 0:
								 * none in the present ballot */
	px_usec rtt_us;
	px_usec hedged_at; /* when others had to be asked because it did not
								 * answer, last; 0: never */

	/* it as an origin (px_intake.c); cleared with each ballot */
	uint64_t mark_incarnation; /* 0: nothing taken in this ballot */
	uint64_t mark;             /* last sequence queued */

	/* it as a reader (px_read.c) */
	px_read_request want;  /* newest request */
	px_read_answer answer; /* newest answer, repeated in each Accept */
	bool answer_new;       /* not sent yet */
} px_peer;

typedef struct px_window_entry
{
	px_slot slot;     /* 0: empty */
	px_ballot ballot; /* of the best report while recovering; the present
								 * ballot once proposed */
	bool chosen;      /* reported as known chosen */
	uint32_t len;
	uint64_t log_time_us; /* stamp of a recovered value: seen when it is chosen */
	px_usec proposed_at;
	uint32_t origins; /* members whose batches it holds, a bit for each index in
								 * config.members; all of them for a recovered value */
} px_window_entry;

typedef struct px_intake_entry
{
	uint32_t offset;
	uint32_t len;
	px_node origin;
	uint64_t sequence;
	bool dropped; /* its origin sent it again: the later copy counts */
} px_intake_entry;

struct px_proposer
{
	px_proposer_params params;
	px_config config;                     /* governs slots above config.slot; asserted: in a
								 * ballot config.slot <= chosen, and nothing between
								 * them is a configuration */
	px_config known;                      /* newest that the own acceptor has recorded; the same,
								 * except while a leader is ahead of it */
	px_node up_nodes[2 * PX_MAX_MEMBERS]; /* connected, members or not */
	int n_up;
	px_local local;
	bool have_local; /* has PX_EV_LOCAL come yet? */
	uint64_t seed;
	px_usec now;
	uint64_t wall_us;

	px_role role;
	px_ballot ballot; /* own, when CANDIDATE or above; else 0 */
	px_ballot highest_seen;
	px_slot chosen;       /* as CANDIDATE or above: w, then what this ballot
								 * counted.  Never local.chosen: that may come from
								 * another ballot, see px_stream.c */
	px_slot proposed;     /* last slot proposed, or w; as CANDIDATE or above */
	uint64_t log_time_us; /* highest stamp known chosen, or given in this ballot */
	px_usec log_time_at;  /* when, on this node's own clock */

	/* election */
	px_usec stand_at;   /* FOLLOWER: stands then */
	px_usec not_before; /* back-off: never stands earlier */
	px_usec deadline;   /* end of the present role's patience; 0: none */
	uint32_t failures;  /* tries since a leader was heard or elected */
	px_slot catch_up_to;
	px_node catch_up_from;
	bool want_fetch;
	px_ballot handover; /* what our Prepares carry */
	bool handover_used;
	px_node target; /* HANDING_OVER: to whom */
	px_node leader; /* best known */
	px_ballot leader_ballot;

	/* streams and recovery */
	uint64_t streams;      /* stream numbers used in the present ballot */
	bool collecting;       /* a round of recovery waits for promises */
	px_slot round_w;       /* w of that round */
	px_slot reported_last; /* highest 'last' of its promises */
	px_slot round_end;     /* last slot the present round proposes */
	bool round_more;       /* another round must follow */
	px_slot ready_slot;    /* the leader's own no-op; 0: not proposed */
	px_usec proposed_at;   /* when 'proposed' was */
	px_usec blind_since;   /* since when nobody knows what is chosen below the
								 * streams; 0: somebody does */
	px_usec last_sent_at;
	bool beat;  /* send an Accept to everyone in this step */
	bool hedge; /* the majority asked first is slow: ask everybody in this step */
	bool again; /* something is left for the next step */

	px_window_entry window[PX_MAX_WINDOW];
	uint8_t *window_bytes;

	/* changing the configuration (px_change.c) */
	px_change_state change;
	bool change_asked;       /* PX_DO_CONFIGURED is owed */
	uint64_t change_request; /* for this one */
	px_slot change_slot;     /* where it was proposed; 0: not yet */
	bool leaving;            /* leads, but is no voter of config */
	px_slot told_removed;    /* a member refused with PX_REFUSED_REMOVED, having
								 * recorded this configuration; 0: nobody did */
	uint32_t change_len;
	uint8_t change_bytes[PX_MAX_CONFIG_BYTES]; /* value asked for, DRAINING */
	px_peer parting[PX_MAX_MEMBERS];           /* members of the former configuration, with open
									  * streams, that are to be told in this step */
	int n_parting;

	/* intake */
	px_intake_entry intake[PX_MAX_INTAKE];
	uint32_t intake_first; /* index of the oldest */
	uint32_t intake_n;
	uint8_t *intake_ring;

	/* outbox */
	uint64_t sequence;         /* of the last own batch completed */
	uint64_t applied_sequence; /* own batches up to it are applied */
	uint64_t sent_sequence;    /* handed to the leader up to it */
	uint64_t ever_sent;        /* highest ever handed to any leader */
	bool resend;               /* the next one sent must say so */
	bool building;             /* px_proposer_batch() was called */
	px_batch_writer writer;
	uint32_t outbox_len[PX_MAX_OUTBOX];
	uint8_t *outbox_bytes;
	px_usec resend_at; /* 0: no time-out running */
	px_usec resend_delay_us;
	uint32_t turned_away; /* answers "I do not lead" since the last progress */
	uint64_t gap_at;      /* applied_sequence when a gap was last answered */
	px_usec gap_until;    /* until then it is the same gap */
	uint64_t batches_resent;

	/* reads */
	bool read_wanted;  /* sessions wait that no request covers */
	uint64_t read_seq; /* of the last request made */
	bool read_in_flight;
	bool read_unsent; /* it must be (re)sent */
	bool read_new;    /* made in this step */
	bool read_done;   /* answered: PX_DO_READ_DONE is due */
	px_slot read_index;
	px_usec read_retry_at;
	px_usec read_delay_us;

	uint64_t elections_started;
	uint64_t elections_won;

	/* what was published last */
	bool published;
	px_role published_role;
	px_ballot published_ballot;
	px_node published_leader;
	px_slot published_chosen;
	px_usec published_lease;
	bool published_ready;
	bool published_removed;

	const char *reason;
	px_update *up;                 /* of the present step */
	px_peer peers[PX_MAX_MEMBERS]; /* as config.members */
};

/* px_proposer.c */
extern void px_set_role(px_proposer *p, px_role role, const char *reason);
extern px_action *px_action_add(px_proposer *p, px_action_kind kind, px_node to);
extern bool px_action_room(const px_proposer *p, int n);
extern px_peer *px_peer_find(px_proposer *p, px_node node);
extern void px_adopt_config(px_proposer *p, const px_config *config);
extern px_usec px_delay(px_proposer *p, px_usec from, px_usec to);
extern void px_see_ballot(px_proposer *p, px_ballot ballot);
extern void px_see_log_time(px_proposer *p, uint64_t log_time_us);
extern void px_peer_connected(px_proposer *p, px_node node, bool up);

static inline bool
px_in_ballot(const px_proposer *p)
{
	return p->role >= PX_CANDIDATE;
}

/* Does it stream values (or wait to)? */
static inline bool
px_leads(const px_proposer *p)
{
	return p->role >= PX_RECOVERING;
}

static inline px_usec
px_earlier(px_usec a, px_usec b)
{
	if (a == 0)
		return b;
	return b == 0 || a < b ? a : b;
}

/* px_election.c */
extern void px_become_follower(px_proposer *p, const char *reason, bool failed);
extern void px_elect_local(px_proposer *p, const px_local *before);
extern void px_elect_prevote_reply(px_proposer *p, px_peer *peer, const px_prevote_reply *m);
extern void px_elect_peer_up(px_proposer *p, px_peer *peer);
extern void px_elect_peer_down(px_proposer *p, px_peer *peer);
extern void px_elect_refused(px_proposer *p);
extern void px_elect_transfer(px_proposer *p, px_node to);
extern void px_elect_leave(px_proposer *p);
extern bool px_elect_told_removed(px_proposer *p, px_refusal refusal, px_slot config);
extern void px_elect_timers(px_proposer *p);
extern void px_elect_finish_handover(px_proposer *p);
extern px_usec px_elect_wake(const px_proposer *p);

/* px_stream.c */
extern void px_stream_reset(px_proposer *p, px_peer *peer);
extern void px_stream_begin_ballot(px_proposer *p);
extern void px_stream_promise(px_proposer *p, px_peer *peer, const px_promise *m);
extern void px_stream_accepted(px_proposer *p, px_peer *peer, const px_accepted *m);
extern void px_stream_progress(px_proposer *p);
extern void px_stream_timers(px_proposer *p);
extern void px_stream_send_prepares(px_proposer *p);
extern void px_stream_send_accepts(px_proposer *p);
extern void px_stream_propose_config(px_proposer *p, px_bytes wanted);
extern bool px_stream_blind(const px_proposer *p);
extern px_usec px_stream_quorum_answered_at(const px_proposer *p);
extern bool px_stream_counts(const px_proposer *p, const px_peer *peer, px_slot slot);
extern px_usec px_stream_wake(const px_proposer *p);

/* px_change.c */
extern void px_change_asked(px_proposer *p, const px_configure *m);
extern void px_change_progress(px_proposer *p);
extern void px_change_chosen(px_proposer *p, const px_config *config);
extern void px_change_recorded(px_proposer *p, px_peer *peer, px_slot config);
extern void px_change_end(px_proposer *p);
extern bool px_change_holds(const px_proposer *p);

/* px_intake.c */
extern void px_intake_clear(px_proposer *p);
extern void px_intake_resend(px_proposer *p, px_peer *peer, uint64_t incarnation, uint64_t first);
extern bool px_intake_take(px_proposer *p, px_peer *peer, uint64_t incarnation, px_bytes batch);
extern void px_intake_forward(px_proposer *p, px_peer *peer, const px_forward *m);
extern bool px_intake_waits(px_proposer *p);
extern void px_intake_pack(px_proposer *p, px_value_writer *w, uint32_t *origins);

/* px_outbox.c */
extern void px_outbox_complete(px_proposer *p);
extern void px_outbox_local(px_proposer *p, const px_local *before);
extern void px_outbox_new_leader(px_proposer *p);
extern void px_outbox_reply(px_proposer *p, const px_forward_reply *m);
extern void px_outbox_timers(px_proposer *p);
extern void px_outbox_to_intake(px_proposer *p);
extern void px_outbox_send(px_proposer *p);
extern px_usec px_outbox_wake(const px_proposer *p);

/* px_read.c */
extern void px_read_begin_ballot(px_proposer *p);
extern void px_read_new_leader(px_proposer *p);
extern void px_read_asked(px_proposer *p, px_peer *peer, uint64_t incarnation, uint64_t seq);
extern void px_read_local(px_proposer *p);
extern void px_read_retry_soon(px_proposer *p);
extern void px_read_timers(px_proposer *p);
extern void px_read_register(px_proposer *p);
extern void px_read_confirm(px_proposer *p);
extern void px_read_granted(px_proposer *p, px_peer *peer, const px_accepted *m);
extern px_usec px_read_lease_until(const px_proposer *p);
extern void px_read_finish(px_proposer *p);
extern uint64_t px_read_to_send(px_proposer *p);
extern px_usec px_read_wake(const px_proposer *p);

#endif /* PX_PROPOSER_INT_H */
