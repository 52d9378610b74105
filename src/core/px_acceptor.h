/*
 * px_acceptor.h
 *	  The acceptor (protocol.md §§ 3.3, 4) and what a node knows to be chosen.
 *
 * A px_acceptor is a value.  Each function takes the present state, changes a
 * *copy* the caller made and says what must become durable; the caller makes
 * it durable, publishes the copy, and only then answers:
 *
 *		copy = *shared;
 *		px_acceptor_accept(&copy, &msg, now, &todo, &reply);
 *		write the log entries of todo, flush;
 *		*shared = copy;
 *		answer reply;
 *
 * If making durable fails, the copy is thrown away and nothing is answered.
 * The log itself is not in here: entries are read and written by the caller,
 * under the one acceptor lock that it holds from before the copy until after
 * publication.
 *
 * Also in here, because it moves with the stream: the node's *chosen
 * watermark*.  Knowledge of chosen that comes with a stream is trusted only
 * for slots received in that stream; below its first slot there may be a gap
 * that the learner fills by Fetch.
 *
 * And the newest *configuration* known chosen, whether applied or not (§ 7).
 * Which entries hold configurations the core sees as they are stored; that one
 * of them is chosen it says with px_acceptor_config_due().  Then the caller
 * takes the acceptor lock, looks it up in the log, records it durably, and calls
 * px_acceptor_config().  Until then px_acceptor_settled() ends below it, so that
 * no proposer begins above a configuration that it does not know.
 */
#ifndef PX_ACCEPTOR_H
#define PX_ACCEPTOR_H

#include "px_message.h"

typedef struct px_acceptor
{
	/* durable: loaded at start, written before an answer that depends on it */
	px_ballot promised;
	px_slot truncated;        /* every slot up to it is not in the log */
	px_usec longest_lease_us; /* longest readable lease ever granted */
	px_config config;         /* newest one recorded as chosen; n_members == 0:
								 * none yet (a node that joins and has nothing) */

	/* volatile: the stream */
	bool open;           /* is a stream open?  If so, its ballot == promised */
	uint64_t stream;     /* highest stream number seen in 'promised' */
	uint64_t owner;      /* connection that opened it; the caller's numbering,
								 * never used twice */
	bool positioned;     /* has an Accept set first and next? */
	px_slot opened_w;    /* w of the Prepare that opened the stream */
	px_slot first;       /* first slot received in the stream */
	px_slot next;        /* slot expected next */
	px_slot kept_first;  /* what former streams of this ballot brought: */
	px_slot kept_next;   /* kept_first <= slot < kept_next; 0: nothing */
	px_slot told_chosen; /* highest chosen watermark told in this stream, or
								 * by the leader to its own node */

	/* volatile: the lease */
	px_ballot lease_ballot; /* 0: none granted */
	px_usec lease_until;
	bool lease_readable;

	/* volatile: what this node knows and when it heard it */
	px_slot chosen;    /* every slot up to it is known chosen, and in the
								 * log unless truncated or applied */
	px_slot config_at; /* lowest slot above config.slot at which a configuration
								 * was stored and not looked at since; it may have
								 * been replaced.  0: none */
	px_usec started_at;
	px_usec heard_at;    /* last Accept taken; 0: none */
	px_usec lost_at;     /* when the open stream's connection closed; 0: it did
								 * not, or another has opened since */
	px_ballot handover;  /* a hand-over to this node was received from this
								 * ballot's leader and not used up yet; 0: none */
	px_read_answer read; /* newest read-index answer received */
	px_slot truncatable; /* newest received */
} px_acceptor;

/*
 * State after a start of the server: promised, truncated and longest_lease_us
 * as loaded, chosen = the applied watermark found in the tables.
 */
extern void px_acceptor_init(px_acceptor *a, px_ballot promised, px_slot truncated,
							 px_usec longest_lease_us, px_slot applied, px_usec now);

/* What to make durable before publishing. */
typedef struct px_acceptor_todo
{
	bool persist_state; /* promised / longest_lease_us changed */
	uint16_t skip;      /* Accept: values[0 .. skip) lie at or below truncated
								 * or chosen-and-stored and are not written */
	uint16_t store;     /* Accept: then write this many, as entries
								 * (slot, ballot, not chosen), replacing what stands
								 * there.  An entry marked chosen is never replaced
								 * (its value is the same) */
} px_acceptor_todo;

/* Answers from the present state; changes nothing; no lock needed beyond a
 * consistent copy. */
extern void px_acceptor_prevote(const px_acceptor *a, const px_prevote *m, px_usec now,
								px_prevote_reply *reply);

/*
 * Fills every field of 'reply' except last and entries, which the caller reads
 * from the log when the refusal is PX_REFUSED_NOT.  owner: the connection.
 */
extern void px_acceptor_prepare(px_acceptor *a, const px_prepare *m, uint64_t owner, px_usec now,
								px_acceptor_todo *todo, px_promise *reply);

/* applied, durable: this node's, for the answer. */
extern void px_acceptor_accept(px_acceptor *a, const px_accept *m, uint64_t owner, px_usec now,
							   px_slot applied, px_slot durable, px_acceptor_todo *todo,
							   px_accepted *reply);

/*
 * What an Accept of the open stream tells about slots received before it:
 * chosen, and the answer to a read-index request.  May be run at receipt, on the
 * shared value, before the message's own values are made durable: sessions that
 * wait for those slots need not wait for that flush.  Anything else is ignored.
 */
extern void px_acceptor_news(px_acceptor *a, const px_accept *m, uint64_t owner);

/* True if taken: the sender's ballot is the one promised and of the open stream. */
extern bool px_acceptor_handover(px_acceptor *a, const px_handover *m, px_node self, px_usec now);

/*
 * A connection ended.  If the open stream is its own, the stream closes and a
 * lease not granted as readable ends; a readable one runs out by itself.
 */
extern void px_acceptor_closed(px_acceptor *a, uint64_t owner, px_usec now);

/*
 * This node's own proposer, leading in 'ballot', knows every slot up to
 * 'chosen' to be chosen.  Trusted for what this acceptor received in that
 * ballot's open stream.
 */
extern void px_acceptor_learn(px_acceptor *a, px_ballot ballot, px_slot chosen);

/*
 * Entries first .. last have been fetched from a member that knows them chosen
 * and written, marked chosen (or they were loaded with a snapshot: then
 * truncated = last as well).  first <= chosen + 1.
 */
extern void px_acceptor_fetched(px_acceptor *a, px_slot first, px_slot last);
extern void px_acceptor_truncate(px_acceptor *a, px_slot truncated);

/*
 * ---- configurations (§ 7) ----
 *
 * At start, after px_acceptor_init(): px_acceptor_config() with the newest
 * configuration recorded, and 'next' from the log.  What was recorded was known
 * chosen with everything below it, so chosen begins there, if the tables are
 * behind.  A node that joins with nothing calls it when its snapshot is loaded,
 * after px_acceptor_fetched() and in the same step.
 *
 * With a snapshot (after px_acceptor_fetched(), before px_acceptor_truncate(), in
 * the same step): the configuration the snapshot came with, unless a newer one
 * is recorded here; 'next' from the log above both the snapshot and what is
 * known chosen, for what the log holds below may be stale.  A node that joins with
 * nothing gets its first configuration so, and applies nothing before.  The log is
 * never cut above px_acceptor_settled().
 *
 * Entries written by a fetch: px_acceptor_holds_config() for each that holds a
 * configuration, in the same step as px_acceptor_fetched().
 *
 * In between: whenever px_acceptor_config_due(), which can become true with any
 * message or knowledge, and at start: take the acceptor lock; *upto = px_acceptor.chosen; the
 * newest entry of the log at or below *upto, and above config.slot, that holds a
 * configuration (px_value_is_config) is recorded, durably; then
 * px_acceptor_config() with it (with the one that stands, if there is none) and
 * with 'next', the lowest slot above *upto whose entry holds a configuration, or
 * 0; and only then the lock is released.
 */
extern void px_acceptor_holds_config(px_acceptor *a, px_slot slot);
extern bool px_acceptor_config_due(const px_acceptor *a);
extern void px_acceptor_config(px_acceptor *a, const px_config *config, px_slot next);

/* Up to here all is known chosen, and the configurations in it are recorded:
 * what px_local.chosen has to say. */
extern px_slot px_acceptor_settled(const px_acceptor *a);

/*
 * The slots to fetch before the stream's knowledge can be used: *from .. *to,
 * false when there is no gap.
 */
extern bool px_acceptor_gap(const px_acceptor *a, px_slot *from, px_slot *to);

#endif /* PX_ACCEPTOR_H */
