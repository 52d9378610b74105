/*
 * px_read.c
 *	  The read index (protocol.md § 9): this node's requests, and at the
 *	  leader everybody's.
 *
 * A linearizable read waits until its node has applied the read index: the
 * leader's chosen watermark at a moment after the request arrived at which it
 * was certainly the leader.  The leader notes its chosen watermark and the
 * highest sent_at it has used; when a majority has acknowledged a message sent
 * *after* that, no other ballot can have had a majority of promises at the
 * moment noted, so nothing was chosen elsewhere.  Acknowledging an older
 * message would prove nothing: it may have been taken before another leader
 * was elected.
 *
 * One request of a node is in flight at a time.  Sessions waiting when it is
 * *sent* share its answer, later ones wait for the next: an answer under way
 * may have been noted before their read began.  So PX_DO_READ_SENT precedes, in
 * the list of actions, every message that could bring the answer.
 *
 * A leader that is not ready keeps the newest request of each member: before
 * its own no-op is chosen its watermark may lie below what former leaders told
 * clients.
 *
 * Under a *lease* no round is needed.  An acceptor that grants a readable lease
 * promises nobody else before it has run out; while a majority of the governing
 * configuration has granted one, nobody else can lead.  The leader counts a
 * grant from the moment it *sent* the message (it was received later) and takes
 * off what the other clock may gain on its own meanwhile.  It uses none any more
 * from the step in which it begins to hand over.  A request of this node's own
 * sessions is answered a step after PX_DO_READ_SENT: a session that came
 * between the reading of the clock and that action shares the answer, and may
 * have come after the lease.
 *
 * When a configuration has been chosen its voters' grants count, the former
 * ones' no more: nobody can know it is chosen before this leader does, and
 * from then on only a majority of the new ones can elect another.
 *
 * Volatile; the asker repeats a request after a time-out and to a new leader,
 * under its old number: any answer to that number is of after the asking.
 */
#include <string.h>

#include "px_proposer_int.h"

void
px_read_begin_ballot(px_proposer *p)
{
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		memset(&peer->want, 0, sizeof(peer->want));
		memset(&peer->answer, 0, sizeof(peer->answer));
		peer->answer_new = false;
		peer->lease_until = 0;
	}
}

void
px_read_new_leader(px_proposer *p)
{
	p->read_unsent = p->read_in_flight;
	p->read_delay_us = 4 * p->params.heartbeat_us;
}

/* A member, or this node, asks for a read index. */
void
px_read_asked(px_proposer *p, px_peer *peer, uint64_t incarnation, uint64_t seq)
{
	(void) p;
	if (incarnation < peer->answer.incarnation || incarnation < peer->want.incarnation)
		return;
	if (incarnation == peer->answer.incarnation && seq <= peer->answer.seq)
	{
		peer->answer_new = true;
		return;
	}
	if (incarnation == peer->want.incarnation && seq <= peer->want.seq)
		return;
	peer->want.incarnation = incarnation;
	peer->want.seq = seq;
	peer->want.registered = false;
}

static void
done(px_proposer *p, px_slot index)
{
	p->read_done = true;
	p->read_in_flight = false;
	p->read_unsent = false;
	p->read_index = index;
}

/* The request noted for 'peer' is answered. */
static void
answer(px_proposer *p, px_peer *peer, px_slot index)
{
	if (peer->node == p->params.self)
	{
		if (p->read_in_flight && peer->want.seq == p->read_seq)
			done(p, index);
	}
	else
	{
		peer->answer.incarnation = peer->want.incarnation;
		peer->answer.seq = peer->want.seq;
		peer->answer.index = index;
		peer->answer_new = true;
	}
	peer->want.seq = 0;
}

/*
 * An Accept that asked for a readable lease was taken.  What counts is what that
 * message carried, not what is set now.
 */
void
px_read_granted(px_proposer *p, px_peer *peer, const px_accepted *m)
{
	px_usec drift;

	if (!m->lease_readable)
		return;
	drift = m->lease_us / 1000000 * p->params.drift_ppm +
			m->lease_us % 1000000 * p->params.drift_ppm / 1000000 + 1;
	if (m->lease_us > drift)
		peer->lease_until = px_max64(peer->lease_until, m->sent_at + m->lease_us - drift);
}

/* Until when a majority has granted; 0: there is none, or it is not used. */
px_usec
px_read_lease_until(const px_proposer *p)
{
	uint64_t until[PX_MAX_MEMBERS] = {0};

	if (p->role != PX_LEADER)
		return 0;
	for (int i = 0; i < p->config.n_members; i++)
		until[i] = p->peers[i].lease_until;
	return px_quorum_watermark(&p->config, until);
}

/*
 * Make this node's next request, and note requests that have just come, or
 * answer them at once.
 */
void
px_read_register(px_proposer *p)
{
	px_peer *own = px_peer_find(p, p->params.self);
	bool leased;

	if (p->read_wanted && !p->read_in_flight && !p->read_done && p->leader != 0)
	{
		px_action *a = px_action_add(p, PX_DO_READ_SENT, p->params.self);

		p->read_wanted = false;
		p->read_in_flight = true;
		p->read_unsent = true;
		p->read_new = true;
		p->read_seq++;
		p->read_delay_us = 4 * p->params.heartbeat_us;
		a->u.read.seq = p->read_seq;
	}
	if (p->role != PX_LEADER)
		return;
	if (p->read_in_flight && p->read_unsent && own != NULL)
	{
		p->read_unsent = false;
		px_read_asked(p, own, p->params.incarnation, p->read_seq);
	}
	leased = p->now < px_read_lease_until(p);
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		if (peer->want.seq == 0 || peer->want.registered)
			continue;
		if (leased && peer == own && p->read_new)
		{
			p->again = true;
			continue;
		}
		if (leased)
		{
			answer(p, peer, p->chosen);
			continue;
		}
		peer->want.registered = true;
		peer->want.index = p->chosen;
		peer->want.marker = p->last_sent_at;

		/* nothing newer than the marker is under way yet */
		p->beat = true;
	}
}

/* An acknowledgement came: which requests does it confirm? */
void
px_read_confirm(px_proposer *p)
{
	uint64_t at[PX_MAX_MEMBERS] = {0};
	px_usec confirmed;

	for (int i = 0; i < p->config.n_members; i++)
		at[i] = p->peers[i].acked_sent_at;
	confirmed = px_quorum_watermark(&p->config, at);
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		if (peer->want.seq != 0 && peer->want.registered && confirmed > peer->want.marker)
			answer(p, peer, peer->want.index);
	}
}

/* The leader's answer came with an Accept. */
void
px_read_local(px_proposer *p)
{
	if (p->read_in_flight && p->local.read.incarnation == p->params.incarnation &&
		p->local.read.seq >= p->read_seq)
		done(p, p->local.read.index);
}

void
px_read_finish(px_proposer *p)
{
	px_action *a;

	if (!p->read_done)
		return;
	a = px_action_add(p, PX_DO_READ_DONE, p->params.self);
	a->u.read.seq = p->read_seq;
	a->u.read.index = p->read_index;
	p->read_done = false;
	if (p->read_wanted && p->leader != 0)
		p->again = true;
}

/* The request to put into a Forward now; 0: none. */
uint64_t
px_read_to_send(px_proposer *p)
{
	if (!p->read_in_flight || !p->read_unsent)
		return 0;
	p->read_unsent = false;
	p->read_retry_at = p->now + p->read_delay_us;
	p->read_delay_us = px_min64(2 * p->read_delay_us, p->params.election_timeout_us);
	return p->read_seq;
}

void
px_read_retry_soon(px_proposer *p)
{
	if (p->read_in_flight)
		p->read_retry_at = px_min64(p->read_retry_at, p->now + p->params.heartbeat_us);
}

void
px_read_timers(px_proposer *p)
{
	if (p->read_in_flight && !p->read_unsent && !px_leads(p) && p->now >= p->read_retry_at)
		p->read_unsent = true;
}

px_usec
px_read_wake(const px_proposer *p)
{
	return p->read_in_flight && !p->read_unsent && !px_leads(p) ? p->read_retry_at : 0;
}
