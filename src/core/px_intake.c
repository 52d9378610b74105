/*
 * px_intake.c
 *	  The leader's queue of origin batches, and its marks (protocol.md § 5).
 *
 * Owns: which batch of which origin is queued, and packing the queue into
 * values.  Not its business: what becomes of a batch at its slot (px_origin.c)
 * and the origin's side (px_outbox.c).
 *
 * For every origin the leader keeps a mark: the last sequence it queued in
 * this ballot.  It takes mark + 1, drops what it has queued before, and leaves
 * what comes too early.  A resend says so and sets the mark back: else a batch
 * that an earlier ballot, or a full queue, has lost would be waited for by its
 * origin and taken for a duplicate here, for ever.  A duplicate that gets
 * through does no harm: it is skipped when it is applied.
 *
 * The queue is a ring of bytes with contiguous records, and a ring of
 * descriptors.  When either is full a batch is not taken and the mark stays,
 * so that its origin's resend brings it again.
 *
 * Volatile; cleared whenever a ballot begins or ends.
 */
#include <string.h>

#include "px_proposer_int.h"

void
px_intake_clear(px_proposer *p)
{
	p->intake_first = 0;
	p->intake_n = 0;
	for (int i = 0; i < p->config.n_members; i++)
	{
		p->peers[i].mark_incarnation = 0;
		p->peers[i].mark = 0;
	}
}

static px_intake_entry *
entry_at(px_proposer *p, uint32_t i)
{
	return &p->intake[(p->intake_first + i) % PX_MAX_INTAKE];
}

/*
 * Where a record of 'len' bytes can stand; false when there is no room.  The
 * end of the newest record never meets the start of the oldest, so that full
 * and empty differ.
 */
static bool
find_room(px_proposer *p, uint32_t len, uint32_t *offset)
{
	uint32_t head;
	uint32_t tail;

	if (p->intake_n == PX_MAX_INTAKE)
		return false;
	if (p->intake_n == 0)
	{
		*offset = 0;
		return len <= p->params.intake_bytes;
	}
	head = entry_at(p, 0)->offset;
	tail = entry_at(p, p->intake_n - 1)->offset + entry_at(p, p->intake_n - 1)->len;
	if (tail > head)
	{
		*offset = tail;
		if (p->params.intake_bytes - tail >= len)
			return true;
		*offset = 0;
		return len < head;
	}
	*offset = tail;
	return head - tail > len;
}

/*
 * The origin sends again from 'first' on: the mark goes back, and what still
 * waits in the queue from there on is superseded.
 */
void
px_intake_resend(px_proposer *p, px_peer *peer, uint64_t incarnation, uint64_t first)
{
	if (incarnation < peer->mark_incarnation)
		return;
	for (uint32_t i = 0; i < p->intake_n; i++)
	{
		px_intake_entry *e = entry_at(p, i);

		if (e->origin == peer->node && e->sequence >= first)
			e->dropped = true;
	}
	peer->mark_incarnation = incarnation;
	peer->mark = first - 1;
}

/*
 * Queue one batch if it is the next of its origin.  False if it is not taken
 * and the ones after it need not be tried.
 */
bool
px_intake_take(px_proposer *p, px_peer *peer, uint64_t incarnation, px_bytes batch)
{
	px_batch_view view;
	px_intake_entry *e;
	uint32_t offset;

	if (!px_batch_open(batch, &view) || view.origin != peer->node ||
		view.incarnation != incarnation)
	{
		p->reason = "ignored: malformed origin batch";
		return false;
	}
	if (batch.len > p->params.max_value_bytes - PX_VALUE_HEADER_BYTES)
	{
		p->reason = "ignored: origin batch larger than a value of this node";
		return false;
	}
	if (incarnation < peer->mark_incarnation)
	{
		p->reason = "ignored: origin batch of a former incarnation";
		return false;
	}
	if (incarnation > peer->mark_incarnation)
	{
		/* no mark in this ballot: only the first of a life needs none */
		peer->mark_incarnation = incarnation;
		peer->mark = 0;
	}
	if (view.sequence <= peer->mark)
		return true;
	if (view.sequence != peer->mark + 1)
	{
		p->reason = "ignored: origin batch out of order";
		return false;
	}
	if (!find_room(p, batch.len, &offset))
	{
		p->reason = "ignored: intake is full";
		return false;
	}
	memcpy(p->intake_ring + offset, batch.data, batch.len);
	p->intake_n++;
	e = entry_at(p, p->intake_n - 1);
	e->offset = offset;
	e->len = batch.len;
	e->origin = peer->node;
	e->sequence = view.sequence;
	e->dropped = false;
	peer->mark = view.sequence;
	return true;
}

void
px_intake_forward(px_proposer *p, px_peer *peer, const px_forward *m)
{
	px_batch_view first;

	/*
	 * A candidate takes them too: an origin sends to it as soon as its own
	 * acceptor has promised, and would else have to come again.
	 */
	if (p->role < PX_CANDIDATE || p->role == PX_HANDING_OVER)
	{
		p->reason = "ignored: forwarded to a node that does not lead";
		return;
	}
	if (m->read_seq != 0)
		px_read_asked(p, peer, m->incarnation, m->read_seq);
	if (m->n_batches == 0)
		return;
	if (m->resend && px_batch_open(m->batches[0], &first) && first.origin == peer->node &&
		first.incarnation == m->incarnation)
		px_intake_resend(p, peer, m->incarnation, first.sequence);
	for (int i = 0; i < m->n_batches; i++)
	{
		if (!px_intake_take(p, peer, m->incarnation, m->batches[i]))
			break;
	}
}

static void
drop_first(px_proposer *p)
{
	p->intake_first = (p->intake_first + 1) % PX_MAX_INTAKE;
	p->intake_n--;
}

/*
 * Does anything wait?  What was superseded does not, even if nothing took its
 * place for want of room.  To be asked before a value is begun: the buffer it is
 * written into still holds one that is chosen, and may be sent again.
 */
bool
px_intake_waits(px_proposer *p)
{
	while (p->intake_n > 0 && entry_at(p, 0)->dropped)
		drop_first(p);
	return p->intake_n > 0;
}

/*
 * Move batches from the queue, where something waits, into the value being
 * written, oldest first, as long as they fit, and say whose they are.
 */
void
px_intake_pack(px_proposer *p, px_value_writer *w, uint32_t *origins)
{
	*origins = 0;
	while (p->intake_n > 0)
	{
		const px_intake_entry *e = entry_at(p, 0);
		px_bytes batch = {p->intake_ring + e->offset, e->len};

		if (!e->dropped)
		{
			int i = px_config_find(&p->config, e->origin);

			if (!px_value_add_batch(w, batch))
				break;
			if (i >= 0)
				*origins |= UINT32_C(1) << i;
		}
		drop_first(p);
	}
	PX_ASSERT(w->count > 0);
}
