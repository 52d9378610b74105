/*
 * px_outbox.c
 *	  This node's own origin batches: numbering, keeping, sending, sending
 *	  again (protocol.md § 5).
 *
 * Owns: the sequence of this incarnation and the decision when a batch goes
 * out again.  Not its business: what the leader does with them (px_intake.c)
 * and what happens at the slot (px_origin.c).
 *
 * A batch is kept until this node's own learner has applied it, and every
 * resend carries it under the same (incarnation, sequence).  Nothing is ever
 * renumbered: the old copy may still be chosen, and both would execute.
 *
 * All that is unapplied is sent again, in order,
 *		to every new leader or ballot (its first Forward must be a resend: a
 *			leader without a mark takes nothing else),
 *		when one of them was skipped as coming after a gap,
 *		after "I do not lead", soon,
 *		after a time-out that backs off.
 * A node that leads puts them into its own intake; they cannot be lost there,
 * so it needs no time-out.
 *
 * A crash loses the outbox; the next incarnation's first batch settles what
 * became of it.
 */
#include "px_proposer_int.h"

static uint8_t *
outbox_buffer(const px_proposer *p, uint64_t sequence)
{
	return p->outbox_bytes +
		   (size_t) (sequence % p->params.outbox_depth) * p->params.max_batch_bytes;
}

bool
px_proposer_batch_room(const px_proposer *p)
{
	return p->sequence - p->applied_sequence < p->params.outbox_depth;
}

px_batch_writer *
px_proposer_batch(px_proposer *p, uint64_t *sequence)
{
	PX_ASSERT(px_proposer_batch_room(p));
	*sequence = p->sequence + 1;
	px_batch_begin(&p->writer, outbox_buffer(p, *sequence), p->params.max_batch_bytes,
				   p->params.self, p->params.incarnation, *sequence);
	p->building = true;
	return &p->writer;
}

px_bytes
px_proposer_batch_bytes(const px_proposer *p, uint64_t sequence)
{
	px_bytes batch;

	PX_ASSERT(sequence > p->applied_sequence && sequence <= p->sequence);
	batch.data = outbox_buffer(p, sequence);
	batch.len = p->outbox_len[sequence % p->params.outbox_depth];
	return batch;
}

void
px_outbox_complete(px_proposer *p)
{
	PX_ASSERT(p->building && px_proposer_batch_room(p));
	p->building = false;
	p->sequence++;
	p->outbox_len[p->sequence % p->params.outbox_depth] = px_batch_end(&p->writer).len;
}

/* Begin the time-out anew, as after every progress. */
static void
restart_timer(px_proposer *p)
{
	p->resend_delay_us = p->params.election_timeout_us;
	p->resend_at = p->applied_sequence < p->sequence ? p->now + p->resend_delay_us : 0;
	p->turned_away = 0;
}

bool
px_proposer_foreign(const px_proposer *p, uint64_t own_incarnation, uint64_t own_last)
{
	return own_incarnation > p->params.incarnation ||
		   (own_incarnation == p->params.incarnation && own_last > p->sequence);
}

void
px_outbox_local(px_proposer *p, const px_local *before)
{
	const px_local *local = &p->local;

	if (local->own_incarnation == p->params.incarnation && local->own_last > p->applied_sequence)
	{
		PX_ASSERT(local->own_last <= p->sequence);
		p->applied_sequence = local->own_last;
		if (p->sent_sequence < p->applied_sequence)
		{
			/*
			 * What a former leader was given has been chosen before it could
			 * be given to this one, whose mark therefore lies below: without a
			 * resend it would take none of the next ones.
			 */
			p->sent_sequence = p->applied_sequence;
			p->resend = true;
		}
		restart_timer(p);
	}

	/*
	 * One lost batch makes every later one in flight a gap: the first of these
	 * gaps is answered, the rest say nothing new.
	 */
	if (local->gaps_seen > before->gaps_seen && p->applied_sequence < p->sequence &&
		(p->gap_at != p->applied_sequence || p->now >= p->gap_until))
	{
		p->resend = true;
		p->gap_at = p->applied_sequence;
		p->gap_until = p->now + p->params.election_timeout_us;
	}
}

void
px_outbox_new_leader(px_proposer *p)
{
	p->resend = true;
	restart_timer(p);
}

void
px_outbox_reply(px_proposer *p, const px_forward_reply *m)
{
	if (m->leads)
		return;

	/*
	 * It has been elected but is not ready, or it is no longer leader and this
	 * node does not know yet.
	 */
	p->resend_at = p->now + (p->params.heartbeat_us << (p->turned_away < 5 ? p->turned_away : 5));
	p->turned_away++;
	px_read_retry_soon(p);
}

void
px_outbox_timers(px_proposer *p)
{
	if (p->resend_at == 0 || p->now < p->resend_at)
		return;
	if (p->applied_sequence == p->sequence || px_leads(p))
	{
		p->resend_at = 0;
		return;
	}
	p->resend = true;
	p->resend_delay_us = px_min64(2 * p->resend_delay_us, 8 * p->params.election_timeout_us);
	p->resend_at = p->now + p->resend_delay_us;
}

/* This node leads: its batches go straight into its own queue. */
void
px_outbox_to_intake(px_proposer *p)
{
	px_peer *own = px_peer_find(p, p->params.self);

	if ((p->role != PX_RECOVERING && p->role != PX_LEADER) || own == NULL)
		return;
	if (p->resend)
	{
		px_intake_resend(p, own, p->params.incarnation, p->applied_sequence + 1);
		p->sent_sequence = p->applied_sequence;
		p->resend = false;
	}
	while (p->sent_sequence < p->sequence &&
		   px_intake_take(p, own, p->params.incarnation,
						  px_proposer_batch_bytes(p, p->sent_sequence + 1)))
		p->sent_sequence++;
	p->ever_sent = px_max64(p->ever_sent, p->sent_sequence);
}

/* Another node leads: send it what it has not been sent, and a read request. */
void
px_outbox_send(px_proposer *p)
{
	px_action *a;
	px_forward *m;
	uint64_t read_seq;
	uint64_t first;
	uint32_t bytes = 0;

	if (p->leader == 0 || p->leader == p->params.self)
		return;
	if (p->resend)
		p->sent_sequence = p->applied_sequence;
	read_seq = px_read_to_send(p);
	if (p->sent_sequence == p->sequence && read_seq == 0)
		return;

	first = p->sent_sequence + 1;
	a = px_action_add(p, PX_DO_SEND_FORWARD, p->leader);
	a->u.fwd.first_seq = first;
	m = &a->u.fwd.forward;
	m->from = p->params.self;
	m->incarnation = p->params.incarnation;
	m->read_seq = read_seq;
	while (p->sent_sequence < p->sequence && bytes < PX_CHUNK_BYTES)
	{
		p->sent_sequence++;
		if (p->sent_sequence <= p->ever_sent)
			p->batches_resent++;
		bytes += px_proposer_batch_bytes(p, p->sent_sequence).len;
		m->n_batches++;
	}
	p->ever_sent = px_max64(p->ever_sent, p->sent_sequence);
	if (m->n_batches > 0)
	{
		m->resend = p->resend;
		p->resend = false;
		if (p->resend_at == 0)
			restart_timer(p);
	}
	if (p->sent_sequence < p->sequence)
		p->again = true;
}

px_usec
px_outbox_wake(const px_proposer *p)
{
	return p->resend_at;
}
