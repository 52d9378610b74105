/*
 * px_acceptor.c
 *	  The acceptor: promise, accept, the open stream, the lease, and what this
 *	  node knows to be chosen (protocol.md §§ 3.1, 3.3, 4, 9).
 *
 * Owns: every rule by which a Prepare or an Accept is refused, and the chosen
 * watermark of the node, which moves with the stream.  Not its business: the
 * log, flushing, locks (the caller holds the one acceptor lock from before it
 * copies the state until after it has published the changed copy), and
 * whether this node may vote at all.
 *
 * (Lamport, "Paxos Made Simple": an acceptor's phase 1b and 2b; the stream adds
 * what a pipelined transport needs, the lease what stable leadership needs.)
 *
 * States of the stream:
 *
 *		closed -> open				a Prepare was promised
 *		open -> open, positioned	the first Accept said where it begins
 *		open -> closed				its connection ended, or a newer one opened
 *
 * The positions of a closed stream are kept until the next promise: what was
 * received in it is still what the log holds, so that knowledge of chosen is
 * still good.
 *
 * Invariants (px_check_acceptor, px_check_acceptor_step): promised, truncated,
 * chosen, longest_lease_us and config.slot never fall; truncated <= chosen;
 * config.slot <= chosen; an open stream is of the promised ballot; opened_w <
 * first <= next.
 *
 * A crash loses everything but promised, truncated, longest_lease_us, config,
 * the log and the tables.  Losing the stream is safe: the leader opens a new one.
 * Losing a readable lease would not be: hence PX_REFUSED_RESTART.
 */
#include <string.h>

#include "px_acceptor.h"

void
px_acceptor_init(px_acceptor *a, px_ballot promised, px_slot truncated, px_usec longest_lease_us,
				 px_slot applied, px_usec now)
{
	PX_ASSERT(truncated <= applied);

	memset(a, 0, sizeof(*a));
	a->promised = promised;
	a->truncated = truncated;
	a->longest_lease_us = longest_lease_us;
	a->chosen = applied;
	a->started_at = now;
}

/*
 * A lease of another node than 'node' that has not run out.  The lease holder
 * itself is never kept out by its own lease: it stops using a lease before it
 * stands again, and a starting proposer first clears what was published.
 */
static bool
leased_to_other(const px_acceptor *a, px_node node, px_usec now)
{
	return a->lease_ballot != 0 && now < a->lease_until && px_ballot_node(a->lease_ballot) != node;
}

/*
 * Did this server start less than a readable lease ago?  It may have granted
 * one just before it crashed and has forgotten to whom.
 */
static bool
restarted_lately(const px_acceptor *a, px_usec now)
{
	return a->longest_lease_us > 0 && now < a->started_at + a->longest_lease_us;
}

/*
 * Raise chosen by what the stream tells.  Only slots received in this stream
 * count, and only if no gap lies below them: what the log holds in a gap may
 * be a stale entry of an old ballot that was never chosen.
 */
static void
advance_chosen(px_acceptor *a)
{
	if (a->kept_first != 0 && a->kept_first <= a->chosen + 1)
		a->chosen = px_max64(a->chosen, px_min64(a->told_chosen, a->kept_next - 1));
	if (a->positioned && a->first <= a->chosen + 1)
		a->chosen = px_max64(a->chosen, px_min64(a->told_chosen, a->next - 1));
}

/*
 * A new stream opens in the ballot that stands: remember what the former ones
 * brought.  The leader may have counted these slots chosen just before the
 * connection broke; the new stream begins above them, and if every member of
 * that majority forgot what it had received, none could ever be told that
 * they are chosen, nor fetch them: all learners would wait for ever under a
 * leader in good health (a cluster of one node does so at once).  It is good
 * knowledge, for a leader proposes one value per slot and ballot.
 */
static void
keep_received(px_acceptor *a)
{
	if (!a->positioned)
		return;
	if (a->kept_first != 0 && a->kept_first <= a->first && a->first <= a->kept_next)
		a->kept_next = px_max64(a->kept_next, a->next);
	else
	{
		a->kept_first = a->first;
		a->kept_next = a->next;
	}
}

void
px_acceptor_prevote(const px_acceptor *a, const px_prevote *m, px_usec now, px_prevote_reply *reply)
{
	reply->promised = a->promised;
	reply->chosen = a->chosen;
	reply->truncated = a->truncated;
	reply->config = a->config.slot;
	if (px_config_removed(&a->config, m->from))
		reply->refusal = PX_REFUSED_REMOVED;
	else if (leased_to_other(a, m->from, now))
		reply->refusal = PX_REFUSED_LEASE;
	else if (restarted_lately(a, now))
		reply->refusal = PX_REFUSED_RESTART;
	else if (a->truncated > m->chosen)
		reply->refusal = PX_REFUSED_TRUNCATED;
	else
		reply->refusal = PX_REFUSED_NOT;
}

/* Why a Prepare is refused, the most telling reason first. */
static px_refusal
judge_prepare(const px_acceptor *a, const px_prepare *m, px_usec now)
{
	bool handed_over = m->handover != 0 && m->handover == a->lease_ballot;

	/*
	 * A node *known* to be removed learns it here, whatever its ballot; else one
	 * that was away while it was removed would depose the leader again and
	 * again.  One not heard of is judged like any other: this node may be the
	 * one that lags.
	 */
	if (px_config_removed(&a->config, px_ballot_node(m->ballot)))
		return PX_REFUSED_REMOVED;
	if (m->ballot < a->promised)
		return PX_REFUSED_BALLOT;
	if (m->ballot == a->promised && m->stream <= a->stream)
		return PX_REFUSED_STREAM;
	if (leased_to_other(a, px_ballot_node(m->ballot), now) && !handed_over)
		return PX_REFUSED_LEASE;
	if (m->ballot != a->promised && restarted_lately(a, now))
		return PX_REFUSED_RESTART;
	if (a->truncated > m->w)
		return PX_REFUSED_TRUNCATED;
	return PX_REFUSED_NOT;
}

void
px_acceptor_prepare(px_acceptor *a, const px_prepare *m, uint64_t owner, px_usec now,
					px_acceptor_todo *todo, px_promise *reply)
{
	memset(todo, 0, sizeof(*todo));
	memset(reply, 0, sizeof(*reply));
	reply->ballot = m->ballot;
	reply->stream = m->stream;
	reply->w = m->w;

	reply->refusal = judge_prepare(a, m, now);
	if (reply->refusal == PX_REFUSED_NOT)
	{
		if (m->ballot == a->promised)
		{
			/*
			 * The leader of this very ballot says that all up to w is chosen,
			 * and it proposes one value per slot and ballot: what was received
			 * in its former stream is thereby known chosen.  Without this a
			 * mere reconnect would make a fetch necessary.
			 */
			a->told_chosen = px_max64(a->told_chosen, m->w);
			advance_chosen(a);
			keep_received(a);
		}
		else
		{
			a->kept_first = 0;
			a->kept_next = 0;

			/*
			 * Durable before the answer: else this acceptor, restarted, could
			 * promise a lower ballot and accept what the new leader never saw.
			 */
			todo->persist_state = true;
			a->promised = m->ballot;

			/*
			 * A lease that ends here was handed over or has run out.  One of
			 * the same node's former ballot goes on as long as it was granted.
			 */
			if (px_ballot_node(a->lease_ballot) != px_ballot_node(m->ballot))
				a->lease_ballot = 0;
		}
		a->handover = 0;
		a->open = true;
		a->stream = m->stream;
		a->owner = owner;
		a->positioned = false;
		a->opened_w = m->w;
		a->first = 0;
		a->next = 0;
		a->told_chosen = 0;
		a->lost_at = 0;
	}
	reply->promised = a->promised;
	reply->chosen = a->chosen;
	reply->truncated = a->truncated;
	reply->config = a->config.slot;
}

/* Why an Accept is refused. */
static px_refusal
judge_accept(const px_acceptor *a, const px_accept *m, uint64_t owner)
{
	if (m->ballot < a->promised)
		return PX_REFUSED_BALLOT;
	if (m->ballot != a->promised || !a->open || m->stream != a->stream || owner != a->owner)
		return PX_REFUSED_STREAM;
	if (a->positioned)
		return m->first == a->next ? PX_REFUSED_NOT : PX_REFUSED_POSITION;

	/*
	 * The first Accept sets the position itself, for the leader's watermark
	 * has moved on since it sent w and it keeps no values below.  But all it
	 * leaves out must be chosen: a first above chosen + 1 would hide slots
	 * that nobody could fetch.
	 */
	if (m->first <= a->opened_w || m->first > m->chosen + 1)
		return PX_REFUSED_POSITION;
	return PX_REFUSED_NOT;
}

/*
 * Grant what the message carries, and exactly that: the leader counts by its
 * own message, so an acceptor that granted by its own settings would let
 * another leader in too early.  A readable lease of this ballot that is still
 * running is not cut short by a shorter one: the leader may still count it.
 * No lease at all is a withdrawal, by which the leader gives up every former
 * one.
 */
static void
grant_lease(px_acceptor *a, const px_accept *m, px_usec now, px_acceptor_todo *todo)
{
	px_usec until = now + m->lease_us;
	bool readable = m->lease_readable;

	if (m->lease_us == 0)
	{
		a->lease_ballot = 0;
		a->lease_readable = false;
		return;
	}
	if (a->lease_ballot == m->ballot && a->lease_readable && now < a->lease_until)
	{
		until = px_max64(until, a->lease_until);
		readable = true;
	}
	if (m->lease_readable && m->lease_us > a->longest_lease_us)
	{
		a->longest_lease_us = m->lease_us;
		todo->persist_state = true;
	}
	a->lease_ballot = m->ballot;
	a->lease_until = until;
	a->lease_readable = readable;
}

/* Keep the newest answer to this node's requests for a read index. */
static void
take_read_answer(px_acceptor *a, const px_accept *m)
{
	if (m->read.seq != 0 &&
		(m->read.incarnation > a->read.incarnation ||
		 (m->read.incarnation == a->read.incarnation && m->read.seq > a->read.seq)))
		a->read = m->read;
}

/*
 * Chosen speaks of slots that were received before this message, and a read
 * index of none in particular: neither depends on the message's own values.
 */
void
px_acceptor_news(px_acceptor *a, const px_accept *m, uint64_t owner)
{
	if (!a->open || m->ballot != a->promised || m->stream != a->stream || owner != a->owner)
		return;
	a->told_chosen = px_max64(a->told_chosen, m->chosen);
	advance_chosen(a);
	take_read_answer(a, m);
}

void
px_acceptor_accept(px_acceptor *a, const px_accept *m, uint64_t owner, px_usec now, px_slot applied,
				   px_slot durable, px_acceptor_todo *todo, px_accepted *reply)
{
	memset(todo, 0, sizeof(*todo));
	memset(reply, 0, sizeof(*reply));
	reply->ballot = m->ballot;
	reply->stream = m->stream;
	reply->sent_at = m->sent_at;
	reply->lease_us = m->lease_us;
	reply->lease_readable = m->lease_readable;

	reply->refusal = judge_accept(a, m, owner);
	if (reply->refusal == PX_REFUSED_NOT)
	{
		px_slot known = px_max64(a->truncated, a->chosen);

		PX_ASSERT(m->ballot == a->promised);
		if (!a->positioned)
		{
			a->positioned = true;
			a->first = m->first;
			a->next = m->first;
		}

		/*
		 * Slots known chosen are acknowledged, not written: the entry that
		 * stands there has the same value (in a ballot in or after which
		 * nothing else could be proposed), or is truncated.
		 */
		if (known >= m->first)
			todo->skip = (uint16_t) px_min64(known - m->first + 1, m->n_values);
		todo->store = (uint16_t) (m->n_values - todo->skip);
		if (m->config_at > known)
			px_acceptor_holds_config(a, m->config_at);
		a->next += m->n_values;

		a->told_chosen = px_max64(a->told_chosen, m->chosen);
		advance_chosen(a);

		grant_lease(a, m, now, todo);
		a->heard_at = now;
		a->truncatable = m->truncatable;
		take_read_answer(a, m);
	}
	reply->promised = a->promised;
	reply->first = a->first;
	reply->next = a->next;
	reply->applied = applied;
	reply->durable = durable;
	reply->truncated = a->truncated;
	reply->config = a->config.slot;
}

bool
px_acceptor_handover(px_acceptor *a, const px_handover *m, px_node self, px_usec now)
{
	(void) now;
	if (m->to != self || !a->open || m->ballot != a->promised)
		return false;
	a->handover = m->ballot;
	return true;
}

void
px_acceptor_closed(px_acceptor *a, uint64_t owner, px_usec now)
{
	/*
	 * Only its own stream: a backend that ends late, when the same leader has
	 * long reconnected, must not close the new stream.
	 */
	if (!a->open || a->owner != owner)
		return;
	a->open = false;
	a->lost_at = now;
	if (!a->lease_readable && a->lease_ballot == a->promised)
		a->lease_ballot = 0;
}

void
px_acceptor_learn(px_acceptor *a, px_ballot ballot, px_slot chosen)
{
	if (ballot == 0 || ballot != a->promised)
		return;
	a->told_chosen = px_max64(a->told_chosen, chosen);
	advance_chosen(a);
}

void
px_acceptor_fetched(px_acceptor *a, px_slot first, px_slot last)
{
	PX_ASSERT(first <= a->chosen + 1);
	a->chosen = px_max64(a->chosen, last);
	advance_chosen(a);
}

void
px_acceptor_truncate(px_acceptor *a, px_slot truncated)
{
	PX_ASSERT(truncated <= a->chosen);
	a->truncated = px_max64(a->truncated, truncated);
}

bool
px_acceptor_gap(const px_acceptor *a, px_slot *from, px_slot *to)
{
	px_slot below = a->positioned ? a->first - 1 : a->opened_w;

	if (below <= a->chosen)
		return false;
	*from = a->chosen + 1;
	*to = below;
	return true;
}

void
px_acceptor_holds_config(px_acceptor *a, px_slot slot)
{
	if (slot > a->config.slot && (a->config_at == 0 || slot < a->config_at))
		a->config_at = slot;
}

bool
px_acceptor_config_due(const px_acceptor *a)
{
	return a->config_at != 0 && a->config_at <= a->chosen;
}

void
px_acceptor_config(px_acceptor *a, const px_config *config, px_slot next)
{
	PX_ASSERT(px_config_valid(config) && config->slot >= a->config.slot);
	PX_ASSERT(next == 0 || next > config->slot);
	a->config = *config;
	a->config_at = next;
	a->chosen = px_max64(a->chosen, config->slot);
	advance_chosen(a);
}

px_slot
px_acceptor_settled(const px_acceptor *a)
{
	return px_acceptor_config_due(a) ? a->config_at - 1 : a->chosen;
}
