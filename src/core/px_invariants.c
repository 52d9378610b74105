/*
 * px_invariants.c
 *	  What must hold of one state, and of two successive states
 *	  (protocol.md § 11), each as a sentence.
 *
 * Tests and the simulator call these after every step; the facts that cost
 * nothing are PX_ASSERTs in the code as well.  What concerns several nodes
 * (one value a slot, equal digests) is the simulator's business.
 *
 * Pure functions of what they are given.
 */
#include "px_invariants.h"
#include "px_proposer_int.h"

#define CHECK(fact, sentence) \
	do                        \
	{                         \
		if (!(fact))          \
			return sentence;  \
	} while (0)

const char *
px_check_acceptor(const px_acceptor *a)
{
	CHECK(a->truncated <= a->chosen, "acceptor: truncated is above chosen");
	CHECK(!a->open || a->promised > 0, "acceptor: a stream is open without a promise");
	CHECK(!a->open || a->stream > 0, "acceptor: an open stream has no number");
	CHECK(!a->positioned || (a->opened_w < a->first && a->first <= a->next),
		  "acceptor: the position of the stream makes no sense");
	CHECK(a->positioned || (a->first == 0 && a->next == 0),
		  "acceptor: a stream without position has one");
	CHECK(a->lease_ballot <= a->promised, "acceptor: a lease is of a ballot not promised");
	CHECK(a->config.slot <= a->chosen,
		  "acceptor: a configuration is recorded that is not known chosen");
	CHECK(a->config_at == 0 || a->config_at > a->config.slot,
		  "acceptor: a configuration below the recorded one is looked for");
	CHECK(a->handover == 0 || a->handover == a->promised,
		  "acceptor: a hand-over is kept that is not of the promised ballot");
	return NULL;
}

const char *
px_check_acceptor_step(const px_acceptor *before, const px_acceptor *after)
{
	CHECK(after->promised >= before->promised, "acceptor: promised fell");
	CHECK(after->truncated >= before->truncated, "acceptor: truncated fell");
	CHECK(after->chosen >= before->chosen, "acceptor: chosen fell");
	CHECK(after->longest_lease_us >= before->longest_lease_us, "acceptor: the longest lease fell");
	CHECK(after->config.slot >= before->config.slot, "acceptor: the recorded configuration fell");
	if (after->promised != before->promised)
		return NULL;
	CHECK(after->stream >= before->stream, "acceptor: the stream number fell within a ballot");
	if (after->stream != before->stream)
		return NULL;
	CHECK(before->open || !after->open, "acceptor: a closed stream opened again");
	CHECK(!before->positioned || after->positioned, "acceptor: a stream lost its position");
	CHECK(!before->positioned || (after->first == before->first && after->next >= before->next),
		  "acceptor: the position of a stream went back");
	return NULL;
}

static const char *
check_peer(const px_proposer *p, const px_peer *peer)
{
	CHECK(!peer->open || px_in_ballot(p), "proposer: a stream is open without a ballot");
	CHECK(!peer->open || (peer->up && peer->stream > 0 && peer->stream <= p->streams),
		  "proposer: a stream is open that was not asked for");
	CHECK(!(peer->open && peer->preparing), "proposer: a stream is open and asked for");
	CHECK(!p->collecting || peer->sent_first == 0,
		  "proposer: something was streamed while promises are collected");
	CHECK(peer->sent_first == 0 ||
			  (peer->w < peer->sent_first && peer->sent_first <= peer->send_next &&
			   peer->send_next <= p->proposed + 1),
		  "proposer: a stream's sent range makes no sense");
	CHECK(peer->first == 0 || (peer->first == peer->sent_first && peer->first <= peer->next &&
							   peer->next <= peer->send_next),
		  "proposer: a peer is said to have what was not sent");
	CHECK(peer->told_chosen <= p->chosen || !px_in_ballot(p),
		  "proposer: a peer was told more than is chosen");
	return NULL;
}

const char *
px_check_proposer(const px_proposer *p)
{
	CHECK(px_config_valid(&p->config), "proposer: the configuration is not valid");
	CHECK(px_in_ballot(p) == (p->ballot != 0),
		  "proposer: a ballot is held by a role without one, or the reverse");
	CHECK(p->ballot == 0 || px_ballot_node(p->ballot) == p->params.self,
		  "proposer: the ballot is another node's");
	CHECK(p->ballot <= p->highest_seen, "proposer: the ballot is above the highest seen");
	CHECK(p->role == PX_HANDING_OVER || p->target == 0, "proposer: a target without hand-over");
	CHECK(!p->collecting || p->role == PX_CANDIDATE || p->role == PX_RECOVERING ||
			  (p->role == PX_LEADER && px_change_holds(p)),
		  "proposer: promises are collected in the wrong role");
	CHECK(p->known.slot <= p->config.slot,
		  "proposer: an older configuration governs than is known");
	CHECK(px_leads(p) || p->known.slot == p->config.slot,
		  "proposer: a configuration governs that the own acceptor does not know");
	CHECK(p->change == PX_CHANGE_NONE || p->role == PX_LEADER,
		  "proposer: the configuration is changed by a node that does not lead");
	CHECK(!p->leaving || (px_leads(p) && !px_config_is_voter(&p->config, p->params.self) &&
						  p->chosen == p->proposed),
		  "proposer: it is leaving, but something is in flight or it is a voter");
	CHECK(p->n_parting == 0, "proposer: a farewell was not said");
	if (px_in_ballot(p))
	{
		CHECK(p->config.slot <= p->chosen, "proposer: a configuration governs that is not chosen");
		CHECK(p->chosen <= p->proposed && p->proposed - p->chosen <= PX_MAX_WINDOW,
			  "proposer: slots in flight exceed the window");
		CHECK(!p->collecting || p->chosen == p->proposed,
			  "proposer: slots are in flight while promises are collected");
		CHECK(p->role < PX_LEADER || (p->ready_slot != 0 && p->chosen >= p->ready_slot),
			  "proposer: leads before its own no-op is chosen");
		for (px_slot s = p->chosen + 1; s <= p->proposed; s++)
			CHECK(p->window[s % PX_MAX_WINDOW].slot == s &&
					  p->window[s % PX_MAX_WINDOW].ballot == p->ballot,
				  "proposer: the value of a slot in flight is gone");
	}
	CHECK(p->applied_sequence <= p->sent_sequence && p->sent_sequence <= p->sequence,
		  "proposer: an own batch was sent before it was complete");
	CHECK(p->sequence - p->applied_sequence <= p->params.outbox_depth,
		  "proposer: the outbox holds more than it may");
	CHECK(p->intake_n <= PX_MAX_INTAKE, "proposer: the intake holds more than it may");
	CHECK(p->intake_n == 0 || px_in_ballot(p),
		  "proposer: batches wait at a node that does not lead");
	for (int i = 0; i < p->config.n_members; i++)
	{
		const char *wrong = check_peer(p, &p->peers[i]);

		if (wrong != NULL)
			return wrong;
	}
	return NULL;
}

static const char *
check_accept(const px_proposer *p, const px_accept *m, bool handed_over)
{
	CHECK(px_ballot_node(m->ballot) == p->params.self && m->ballot <= p->highest_seen,
		  "update: an Accept is of a ballot that is not this node's");
	CHECK(!handed_over, "update: an Accept follows the hand-over");
	CHECK(m->chosen <= p->published_chosen || p->published_ballot != m->ballot,
		  "update: peers are told more than the own node");
	CHECK(m->first <= m->chosen + 1 + PX_MAX_WINDOW, "update: an Accept is beyond the window");
	CHECK(p->role != PX_HANDING_OVER || m->lease_us == 0,
		  "update: a lease is asked for after it was withdrawn");
	CHECK(p->role != PX_HANDING_OVER || p->published_lease == 0,
		  "update: a lease is withdrawn under which sessions still read");
	if (p->ballot == m->ballot)
	{
		CHECK(m->first + m->n_values <= p->proposed + 1,
			  "update: an Accept carries what was not proposed");
		for (px_slot s = m->first; s < m->first + m->n_values; s++)
			CHECK(p->window[s % PX_MAX_WINDOW].slot == s,
				  "update: an Accept carries a value that is gone");
	}
	return NULL;
}

const char *
px_check_update(const px_proposer *p, const px_update *up)
{
	const px_peer *own = NULL;
	const char *wrong;
	bool told_peers = false;
	bool handed_over = false;
	int i = px_config_find(&p->config, p->params.self);

	if (i >= 0)
		own = &p->peers[i];
	for (i = 0; i < up->n_actions; i++)
	{
		const px_action *a = &up->actions[i];

		switch (a->kind)
		{
			case PX_DO_PUBLISH:
				CHECK(!told_peers || handed_over, "update: peers are told before the own node");
				break;
			case PX_DO_SEND_PREPARE:
				told_peers = true;
				CHECK(a->u.prepare.ballot == p->ballot ||
						  (p->ballot == 0 &&
						   up->actions[up->n_actions - 1].kind != PX_DO_SEND_PREPARE),
					  "update: a Prepare of another ballot");
				CHECK(a->to == p->params.self || p->role != PX_CANDIDATE ||
						  (own != NULL && own->promised),
					  "update: a ballot is told before the own acceptor promised it");
				break;
			case PX_DO_SEND_ACCEPT:
				told_peers = true;
				wrong = check_accept(p, &a->u.accept, handed_over);
				if (wrong != NULL)
					return wrong;
				break;
			case PX_DO_SEND_HANDOVER:
				handed_over = true;
				CHECK(p->role == PX_FOLLOWER, "update: it still leads after the hand-over");
				break;
			case PX_DO_SEND_FORWARD:
				CHECK(a->u.fwd.forward.n_batches == 0 ||
						  (a->u.fwd.first_seq > p->applied_sequence &&
						   a->u.fwd.first_seq + a->u.fwd.forward.n_batches <= p->sequence + 1),
					  "update: a batch is sent that is not in the outbox");
				break;
			case PX_DO_READ_SENT:
				CHECK(!told_peers, "update: a read is called sent after it could be answered");
				break;
			case PX_DO_SEND_PREVOTE:
			case PX_DO_RESET_PEER:
			case PX_DO_FETCH:
			case PX_DO_READ_DONE:
			case PX_DO_HANDOVER_USED:
			case PX_DO_CONFIGURED:
				break;
		}
	}
	return NULL;
}

const char *
px_check_proposer_step(const px_proposer_view *before, const px_proposer_view *after)
{
	CHECK(after->highest_seen >= before->highest_seen, "proposer: the highest ballot seen fell");
	CHECK(after->sequence >= before->sequence, "proposer: own numbering went back");
	CHECK(after->incarnation == before->incarnation, "proposer: the incarnation changed");
	CHECK(after->ballot == 0 || after->ballot == before->ballot ||
			  after->ballot > before->highest_seen,
		  "proposer: a ballot was taken that is not above all seen");
	if (after->ballot == 0 || after->ballot != before->ballot)
		return NULL;
	CHECK(after->chosen >= before->chosen, "proposer: chosen fell within a ballot");
	CHECK(after->proposed >= before->proposed, "proposer: proposed fell within a ballot");
	CHECK(after->role >= before->role, "proposer: the role went back within a ballot");
	return NULL;
}
