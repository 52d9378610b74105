/*
 * px_election.c
 *	  Becoming leader and ceasing to be: pre-vote, catching up, candidacy,
 *	  back-off, stepping down, hand-over (protocol.md §§ 3.1, 3.2, 3.5, 3.6).
 *
 * Owns: when this node stands, when it gives up, and to whom it hands over.
 * Not its business: what a promise contains and how values are recovered
 * (px_stream.c).
 *
 * Nothing in here is needed for safety except two rules: a new ballot lies
 * above everything seen, and an ended leadership stays ended (its ballot is
 * never led again).  The rest is liveness: random delays separate duelling
 * candidates (protocol.md § 3.5), pre-vote keeps a node that was cut off from
 * disturbing a leader that works.
 *
 * All times are of this node's clock.  A crash forgets everything in here.
 */
#include <string.h>

#include "px_proposer_int.h"

/* How long to wait for a leader: random, so that nodes do not stand at once. */
static px_usec
patience(px_proposer *p)
{
	return px_delay(p, p->params.election_timeout_us, 2 * p->params.election_timeout_us);
}

/*
 * How long to wait after a try that failed: random, growing with each failure,
 * bounded.  Two duelling candidates draw from an ever wider span until one of
 * them is through before the other stands.
 */
static px_usec
back_off(px_proposer *p)
{
	uint32_t shift = p->failures < 16 ? p->failures : 16;
	px_usec span = px_min64(p->params.heartbeat_us << shift, 2 * p->params.election_timeout_us);

	return p->params.heartbeat_us / 2 + px_delay(p, 0, span);
}

void
px_become_follower(px_proposer *p, const char *reason, bool failed)
{
	px_change_end(p);
	px_set_role(p, PX_FOLLOWER, reason);
	p->ballot = 0;
	p->handover = 0;
	p->deadline = 0;
	p->target = 0;
	p->collecting = false;
	p->round_more = false;
	p->ready_slot = 0;
	p->blind_since = 0;
	px_intake_clear(p);
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_stream_reset(p, &p->peers[i]);
		p->peers[i].want_prevote = false;
	}
	if (failed)
	{
		p->failures++;
		p->not_before = p->now + back_off(p);
		p->stand_at = p->not_before;
	}
	else
		p->stand_at = p->now + patience(p);

	/*
	 * As leader it may have been ahead of its own acceptor, which did not accept
	 * the slot itself.  The next ballot begins where the acceptor's knowledge
	 * ends, and what governs there is what the acceptor knows: with the newer
	 * configuration two of them would decide one slot.
	 */
	if (p->config.slot != p->known.slot)
		px_adopt_config(p, &p->known);
}

static bool
may_stand(const px_proposer *p)
{
	int i = px_config_find(&p->config, p->params.self);

	return p->have_local && p->local.may_vote && i >= 0 && p->config.members[i].voter &&
		   p->peers[i].up;
}

/* Take a ballot nobody has used and ask the own acceptor for its promise. */
static void
stand(px_proposer *p, px_ballot handover)
{
	px_see_ballot(p, p->local.promised);
	px_set_role(p, PX_CANDIDATE,
				handover != 0 ? "leadership was handed over to this node"
							  : "caught up with what the voters know");
	PX_ASSERT(p->config.slot <= p->local.chosen);
	p->ballot = px_ballot_above(p->highest_seen, p->params.self);
	PX_ASSERT(p->ballot > p->local.promised && p->ballot > p->highest_seen);
	p->highest_seen = p->ballot;
	p->handover = handover;
	p->deadline = p->now + patience(p);
	p->elections_started++;
	px_stream_begin_ballot(p);
}

/*
 * A majority said yes.  What they know to be chosen is fetched first, so that
 * recovery begins where this node's log ends: nobody's promise is then refused
 * for being truncated, and few entries are carried.  Fetched, not applied: the
 * learner may be far behind without harm.
 */
static void
catch_up(px_proposer *p)
{
	px_set_role(p, PX_CATCHING_UP, "a majority of voters said yes");
	p->catch_up_to = 0;
	p->catch_up_from = 0;
	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];

		if (peer->voter && peer->yes && peer->prevote_chosen > p->catch_up_to)
		{
			p->catch_up_to = peer->prevote_chosen;
			p->catch_up_from = peer->node;
		}
	}
	if (p->local.chosen >= p->catch_up_to)
	{
		stand(p, 0);
		return;
	}
	p->want_fetch = true;
	p->deadline = p->now + p->params.election_timeout_us;
}

/*
 * No leader is heard and no majority would vote for this node, or it may not
 * stand at all; but a member has answered that it knows more.  Its knowledge is
 * fetched: a configuration may be among it by which others, or this node as a
 * new voter, can go on.  Without this a cluster whose old leader removed
 * itself and crashed before it had told a new voter would wait for ever,
 * though the old leader, started again, knows it all and only has to be asked.
 */
static void
learn_from_best(px_proposer *p)
{
	const px_peer *best = NULL;

	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];

		if (peer->prevote_chosen > p->local.chosen && peer->up &&
			(best == NULL || peer->prevote_chosen > best->prevote_chosen))
			best = peer;
	}
	if (best == NULL)
		return;
	p->catch_up_from = best->node;
	p->catch_up_to = best->prevote_chosen;
	p->want_fetch = true;
}

static void
count_prevotes(px_proposer *p)
{
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	for (int i = 0; i < p->config.n_members; i++)
	{
		yes[i] = p->peers[i].yes;
		no[i] = p->peers[i].no;
	}
	switch (px_quorum_tally(&p->config, yes, no))
	{
		case PX_TALLY_WON:
			catch_up(p);
			break;
		case PX_TALLY_LOST:
			px_become_follower(p, "no majority would vote for this node", true);
			learn_from_best(p);
			break;
		case PX_TALLY_PENDING:
			break;
	}
}

/*
 * A member that is no voter hears no leader: it asks as a pre-candidate does,
 * but only to learn what the others know (learn_from_best).
 */
static void
probe(px_proposer *p)
{
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		peer->want_prevote = peer->node != p->params.self && peer->up;
		peer->prevote_chosen = 0;
	}
}

static void
ask_for_prevotes(px_proposer *p)
{
	px_set_role(p, PX_PRECANDIDATE, "no leader is heard");
	p->deadline = p->now + p->params.election_timeout_us;
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		peer->yes = false;
		peer->no = peer->voter && !peer->up;
		peer->want_prevote = peer->voter && peer->up;
		peer->prevote_chosen = 0;
	}
	count_prevotes(p);
}

void
px_elect_prevote_reply(px_proposer *p, px_peer *peer, const px_prevote_reply *m)
{
	px_see_ballot(p, m->promised);
	px_change_recorded(p, peer, m->config);
	px_elect_told_removed(p, m->refusal, m->config);
	peer->prevote_chosen = m->chosen;
	if (p->role == PX_FOLLOWER && p->now >= p->local.heard_at + p->params.election_timeout_us)
		learn_from_best(p);
	if (p->role != PX_PRECANDIDATE || !peer->voter)
	{
		p->reason = "ignored: no pre-vote is asked for";
		return;
	}
	peer->yes = m->refusal == PX_REFUSED_NOT;
	peer->no = !peer->yes;
	count_prevotes(p);
}

/*
 * A member that has recorded a configuration without this node says so.  It is
 * true and final, but this node does not stop asking: it may be needed by
 * those who do not know that configuration yet, if the member that does is gone
 * for good.  A majority of the old voters that does not know it has this node
 * find it among the values it recovers.  It stops when it knows it itself.
 */
bool
px_elect_told_removed(px_proposer *p, px_refusal refusal, px_slot config)
{
	if (refusal != PX_REFUSED_REMOVED)
		return false;
	p->told_removed = px_max64(p->told_removed, px_max64(config, 1));
	if (!px_in_ballot(p) || p->leaving)
		return false;
	px_become_follower(p, "this node was removed", true);
	return true;
}

/*
 * ---- news of the own node ----
 */

void
px_elect_local(px_proposer *p, const px_local *before)
{
	const px_local *local = &p->local;
	bool heard = local->heard_at > before->heard_at;
	bool opened = local->leader != before->leader && local->leader != 0 &&
				  px_ballot_node(local->leader) != p->params.self;

	if (px_in_ballot(p) && local->promised > p->ballot)
	{
		px_become_follower(p, "the own acceptor promised a higher ballot", p->role == PX_CANDIDATE);
	}
	if (p->role != PX_FOLLOWER && !local->may_vote)
		px_become_follower(p, "this node may not vote", false);

	if (!px_in_ballot(p) && (heard || opened))
	{
		px_usec since = heard && !opened ? px_min64(local->heard_at, p->now) : p->now;

		if (p->role != PX_FOLLOWER)
			px_become_follower(p, "a leader was heard", false);
		if (heard)
			p->failures = 0;
		p->stand_at = since + patience(p);
	}

	/*
	 * The leader's connection closed, as when its server is killed: nobody
	 * waits for a whole time-out then.  A short random delay, so that not all
	 * followers ask in the same moment.
	 */
	if (p->role == PX_FOLLOWER && local->lost_at != 0 && local->lost_at != before->lost_at)
	{
		p->stand_at =
			px_max64(p->not_before, p->now + px_delay(p, 0, p->params.heartbeat_us * 2 / 5 + 1));
	}

	if (local->handover != 0 && local->handover != before->handover && !px_in_ballot(p))
	{
		p->handover_used = true;
		if (p->role != PX_FOLLOWER)
			px_become_follower(p, "leadership was handed over to this node", false);
		if (may_stand(p) && local->handover == local->promised)
			stand(p, local->handover);
	}

	if (p->role == PX_CATCHING_UP && local->chosen >= p->catch_up_to)
		stand(p, 0);
}

/*
 * ---- connections ----
 */

void
px_elect_peer_up(px_proposer *p, px_peer *peer)
{
	peer->reopen_at = 0;
	switch (p->role)
	{
		case PX_FOLLOWER:
		case PX_CATCHING_UP:
			break;
		case PX_PRECANDIDATE:
			if (peer->voter && !peer->yes)
			{
				peer->no = false;
				peer->want_prevote = true;
			}
			break;
		case PX_CANDIDATE:
		case PX_RECOVERING:
		case PX_LEADER:
		case PX_HANDING_OVER:
			peer->refused = false;
			peer->want_prepare = true;
			break;
	}
}

/*
 * Do so many refuse, or are away, that no majority can promise?  A promise
 * once given is durable and stays counted when its connection ends.
 */
void
px_elect_refused(px_proposer *p)
{
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};
	const px_peer *own = px_peer_find(p, p->params.self);

	if (p->role != PX_CANDIDATE)
		return;
	for (int i = 0; i < p->config.n_members; i++)
	{
		yes[i] = p->peers[i].promised;
		no[i] = p->peers[i].refused || !p->peers[i].up;
	}
	if (own == NULL || (!own->promised && (own->refused || !own->up)) ||
		px_quorum_tally(&p->config, yes, no) == PX_TALLY_LOST)
		px_become_follower(p, "no majority can promise", true);
}

void
px_elect_peer_down(px_proposer *p, px_peer *peer)
{
	if (p->role == PX_PRECANDIDATE && peer->voter && !peer->yes)
	{
		peer->no = true;
		count_prevotes(p);
	}
	else
		px_elect_refused(p);
}

/*
 * ---- hand-over ----
 */

/* Could 'peer' take over now? */
static bool
fit_to_lead(const px_proposer *p, const px_peer *peer)
{
	return peer->voter && peer->up && peer->open && peer->next != 0 &&
		   peer->node != p->params.self && (!p->leaving || peer->config >= p->config.slot) &&
		   p->now < peer->answered_at + p->params.election_timeout_us;
}

/*
 * The voter with the most of the log, among those that have applied more than
 * 'applied'; 0 if there is none.
 */
static px_node
best_target(const px_proposer *p, px_slot applied_above, bool by_applied)
{
	const px_peer *best = NULL;

	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];

		if (!fit_to_lead(p, peer))
			continue;
		if (by_applied && peer->applied <= applied_above)
			continue;
		if (best == NULL || peer->next > best->next)
			best = peer;
	}
	return best == NULL ? 0 : best->node;
}

static void
hand_over(px_proposer *p, px_node target, const char *reason)
{
	px_set_role(p, PX_HANDING_OVER, reason);
	p->target = target;
	p->deadline = p->now + p->params.election_timeout_us;

	/* from here every Accept withdraws the lease; send one to everybody */
	p->beat = true;
}

void
px_elect_transfer(px_proposer *p, px_node to)
{
	px_peer *peer;

	if (p->role != PX_LEADER)
	{
		p->reason = "ignored: only a leader hands over";
		return;
	}
	if (p->change != PX_CHANGE_NONE || p->leaving)
	{
		p->reason = "ignored: the configuration is being changed";
		return;
	}
	if (to == 0)
		to = best_target(p, 0, false);
	peer = px_peer_find(p, to);
	if (peer == NULL || !fit_to_lead(p, peer))
	{
		p->reason = "ignored: no voter could take over";
		return;
	}
	hand_over(p, to, "asked to hand over");
}

/*
 * No voter any more, and a majority of those that are has recorded it: the
 * furthest of them takes over, or whoever stands first.
 */
void
px_elect_leave(px_proposer *p)
{
	px_node target = p->role == PX_LEADER ? best_target(p, 0, false) : 0;

	if (p->role == PX_HANDING_OVER)
		return;
	if (target != 0)
		hand_over(p, target, "no longer a voter, and a majority knows it");
	else
		px_become_follower(p, "no longer a voter, and a majority knows it", false);
}

/*
 * The target has every value and knows that all are chosen (its last Accept
 * said so, and that Accept withdrew the lease, as did everybody's): tell it to
 * stand.  The withdrawal comes first on every connection: an acceptor that
 * promises the target at once must not have a lease running by which this
 * node might still read.
 */
void
px_elect_finish_handover(px_proposer *p)
{
	px_peer *target;
	px_action *a;

	if (p->role != PX_HANDING_OVER || p->chosen != p->proposed)
		return;
	target = px_peer_find(p, p->target);
	if (target == NULL || !target->open || target->next != p->proposed + 1 ||
		target->told_chosen != p->chosen)
		return;
	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].open && p->peers[i].send_next != p->proposed + 1)
			return;
	}
	a = px_action_add(p, PX_DO_SEND_HANDOVER, target->node);
	a->u.handover.from = p->params.self;
	a->u.handover.to = target->node;
	a->u.handover.ballot = p->ballot;
	px_become_follower(p, "handed leadership over", false);
}

/*
 * A leader that cannot work well makes room.  If its learner is stuck, only
 * for a node that has applied more: when a slot is poisonous everywhere,
 * leadership would else go round and round.
 */
static void
check_fitness(px_proposer *p)
{
	const px_peer *own = px_peer_find(p, p->params.self);
	px_node target = 0;

	if (p->local.stuck)
	{
		target = best_target(p, p->local.applied, true);
		if (target != 0)
		{
			hand_over(p, target, "the own learner is stuck");
			return;
		}
	}
	if (own == NULL || p->now >= own->answered_at + p->params.election_timeout_us)
	{
		target = best_target(p, 0, false);
		if (target != 0)
			hand_over(p, target, "the own acceptor is silent");
	}
}

/*
 * Every member has a gap below its stream and none can fill another's: then
 * the slots in the gap are chosen, and no node but this proposer knows it
 * (their servers crashed before they had applied them).  A new ballot that
 * begins at what the logs know proposes them again; this one cannot.
 */
static bool
blind_too_long(px_proposer *p)
{
	if (!px_stream_blind(p))
	{
		p->blind_since = 0;
		return false;
	}
	if (p->blind_since == 0)
		p->blind_since = p->now;
	return p->now >= p->blind_since + p->params.election_timeout_us;
}

/*
 * ---- time ----
 */

void
px_elect_timers(px_proposer *p)
{
	switch (p->role)
	{
		case PX_FOLLOWER:
			if (p->now < p->stand_at)
				break;
			if (!may_stand(p))
			{
				p->stand_at = p->now + patience(p);
				if (!px_config_removed(&p->config, p->params.self) &&
					!px_config_is_voter(&p->config, p->params.self))
					probe(p);
			}
			else if (p->now < p->local.leased_until)
			{
				/* the own acceptor would say no, as it must */
				p->stand_at = p->local.leased_until;
			}
			else
				ask_for_prevotes(p);
			break;
		case PX_PRECANDIDATE:
		case PX_CATCHING_UP:
		case PX_CANDIDATE:
			if (p->now >= p->deadline)
			{
				px_become_follower(p, "time ran out", true);
				learn_from_best(p);
			}
			break;
		case PX_RECOVERING:
		case PX_LEADER:
		case PX_HANDING_OVER:

			/*
			 * Hearing a leader that reaches no majority keeps the others from
			 * electing one that could work: it goes by itself.
			 */
			if (p->now >= px_stream_quorum_answered_at(p) + p->params.election_timeout_us)
				px_become_follower(p, "no majority answers", false);
			else if (blind_too_long(p))
				px_become_follower(p, "nobody knows what this ballot's first slots are", false);
			else if (p->role == PX_HANDING_OVER && p->now >= p->deadline)
				px_become_follower(p, "the hand-over took too long", false);
			else if (p->role == PX_LEADER && p->change == PX_CHANGE_NONE && !p->leaving)
				check_fitness(p);
			break;
	}
}

px_usec
px_elect_wake(const px_proposer *p)
{
	switch (p->role)
	{
		case PX_FOLLOWER:
			return p->stand_at;
		case PX_PRECANDIDATE:
		case PX_CATCHING_UP:
		case PX_CANDIDATE:
			return p->deadline;
		case PX_RECOVERING:
		case PX_LEADER:
			break;
		case PX_HANDING_OVER:
			return px_earlier(p->deadline,
							  px_stream_quorum_answered_at(p) + p->params.election_timeout_us);
	}
	return px_stream_quorum_answered_at(p) + p->params.election_timeout_us;
}
