/*
 * t_election.c
 *	  Standing, losing, winning, stepping down, handing over (protocol.md
 *	  §§ 3.1, 3.2, 3.5, 3.6).  Tests of a ⚠ sentence quote it.
 */
#include "px_proposer_int.h"
#include "solo.h"

#define B(round, node) px_ballot_make(round, node)

static void
vote(solo *s, px_node node, px_refusal refusal, px_slot chosen, px_ballot promised)
{
	px_prevote_reply m;
	px_event ev;

	memset(&m, 0, sizeof(m));
	m.refusal = refusal;
	m.chosen = chosen;
	m.promised = promised;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_PREVOTE_REPLY;
	ev.node = node;
	ev.u.prevote_reply = &m;
	solo_step(s, &ev);
}

static void
until_precandidate(solo *s)
{
	for (int i = 0; i < 1000 && s->view.role != PX_PRECANDIDATE; i++)
		solo_tick(s, s->params.heartbeat_us / 10);
	if (s->view.role != PX_PRECANDIDATE)
		die("it never asks");
}

static void
test_patience(void)
{
	solo *s = solo_new(3);
	px_usec heard;

	solo_start(s);
	s->local.leader = B(1, 2);
	s->local.promised = B(1, 2);
	for (int i = 0; i < 100; i++)
	{
		s->local.heard_at = s->now;
		solo_local(s);
		solo_tick(s, s->params.heartbeat_us);
	}
	is(s->view.role, PX_FOLLOWER, "while a leader is heard nobody stands");
	is(s->view.leader, 2, "and is known");
	heard = s->local.heard_at;
	until_precandidate(s);
	ok(s->now >= heard + s->params.election_timeout_us &&
		   s->now < heard + 2 * s->params.election_timeout_us + s->params.heartbeat_us,
	   "unheard for one to two election timeouts it asks");
	is(s->view.ballot, 0, "without raising a ballot");
	is(solo_count(s, PX_DO_SEND_PREVOTE, 0), 3, "every voter");
	s->local.heard_at = s->now;
	solo_local(s);
	is(s->view.role, PX_FOLLOWER, "a leader that is heard after all is followed");
	solo_free(s);
}

/* The leader's connection closed: no whole time-out is waited for. */
static void
test_lost(void)
{
	solo *s = solo_new(3);
	px_usec lost;

	solo_start(s);
	s->local.leader = B(1, 2);
	s->local.promised = B(1, 2);
	s->local.heard_at = s->now;
	s->local.leased_until = s->now + 500000;
	solo_local(s);
	lost = s->now;
	s->local.leader = 0;
	s->local.lost_at = lost;
	s->local.leased_until = 0;
	solo_local(s);
	until_precandidate(s);
	ok(s->now <= lost + s->params.heartbeat_us, "it asks within a heartbeat");
	vote(s, 2, PX_REFUSED_LEASE, 0, 0);
	vote(s, 3, PX_REFUSED_LEASE, 0, 0);
	is(s->view.role, PX_FOLLOWER, "others that still have a leader say no");
	lost = s->now;
	until_precandidate(s);
	ok(s->now <= lost + 4 * s->params.heartbeat_us, "and are asked again soon");
	solo_free(s);

	/* "A lease granted as readable (§ 9) always runs out first." */
	s = solo_new(3);
	solo_start(s);
	s->local.promised = B(1, 2);
	s->local.lost_at = s->now;
	s->local.leased_until = s->now + 700000;
	solo_local(s);
	lost = s->now;
	until_precandidate(s);
	ok(s->now >= lost + 700000, "a lease that did not end with the connection is waited for");
	solo_free(s);
}

/*
 * "the candidate first fetches (need not apply ⚠) whatever those voters know
 * to be chosen": a learner that is slow to apply does not delay an election.
 */
static void
test_catching_up(void)
{
	solo *s = solo_new(3);
	const px_action *a;

	solo_start(s);
	until_precandidate(s);
	vote(s, 1, PX_REFUSED_NOT, 0, 0);
	vote(s, 3, PX_REFUSED_NOT, 7, 0);
	is(s->view.role, PX_CATCHING_UP, "what voters know chosen comes first");
	a = solo_action(s, PX_DO_FETCH, 3, 0);
	ok(a != NULL && a->u.fetch_to == 7, "from the one that knows most");
	s->local.chosen = 6;
	solo_local(s);
	is(s->view.role, PX_CATCHING_UP, "all of it");
	s->local.chosen = 7;
	s->local.applied = 0;
	solo_local(s);
	is(s->view.role, PX_CANDIDATE, "fetched is enough, it need not be applied");
	is(solo_must(s, PX_DO_SEND_PREPARE, 1, 0)->u.prepare.w, 7, "and recovery begins there");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	until_precandidate(s);
	vote(s, 1, PX_REFUSED_NOT, 0, 0);
	vote(s, 3, PX_REFUSED_NOT, 7, 0);
	solo_tick(s, s->params.election_timeout_us);
	is(s->view.role, PX_FOLLOWER, "it does not wait for ever");
	solo_free(s);
}

static void
test_ballot_above_all(void)
{
	solo *s = solo_new(3);

	s->local.promised = B(3, 2);
	solo_start(s);
	until_precandidate(s);
	vote(s, 1, PX_REFUSED_NOT, 0, B(3, 2));
	vote(s, 2, PX_REFUSED_TRUNCATED, 0, B(9, 3));
	vote(s, 3, PX_REFUSED_NOT, 0, B(1, 1));
	ok(s->view.ballot == B(10, 1), "the ballot lies above any that was seen");
	solo_free(s);
}

static void
test_prevote_lost(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	until_precandidate(s);
	vote(s, 2, PX_REFUSED_LEASE, 0, 0);
	is(s->view.role, PX_PRECANDIDATE, "one no of three decides nothing");
	solo_peer(s, 3, false);
	is(s->view.role, PX_FOLLOWER, "a second, by silence, does");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	solo_peer(s, 2, false);
	solo_peer(s, 3, false);
	for (int i = 0; i < 400; i++)
		solo_tick(s, s->params.heartbeat_us);
	ok(s->view.elections_started == 0 && s->view.highest_seen == 0,
	   "a node cut off raises no ballot, however long");
	solo_free(s);
}

/* Tries fail further and further apart, but never so far as to stop. */
static void
test_back_off(void)
{
	solo *s = solo_new(3);
	px_usec longest = 0;
	px_usec sum_first = 0;
	px_usec sum_last = 0;

	solo_start(s);
	for (int i = 0; i < 24; i++)
	{
		px_usec from;

		until_precandidate(s);
		vote(s, 1, PX_REFUSED_NOT, 0, 0);
		vote(s, 2, PX_REFUSED_NOT, 0, 0);
		solo_promise(s, 1, NULL, 0, 0);
		solo_promise_refused(s, 2, PX_REFUSED_BALLOT, B(2 * (uint64_t) i + 2, 3));
		is(s->view.role, PX_FOLLOWER, "try %d: a higher ballot ends candidacy", i);
		s->local.promised = s->view.highest_seen;
		from = s->now;
		until_precandidate(s);
		vote(s, 2, PX_REFUSED_LEASE, 0, 0);
		vote(s, 3, PX_REFUSED_LEASE, 0, 0);
		longest = px_max64(longest, s->now - from);
		if (i < 2)
			sum_first += s->now - from;
		if (i >= 14)
			sum_last += s->now - from;
	}
	ok(sum_last / 10 > sum_first / 2, "the back-off grows");
	ok(longest <= 2 * s->params.election_timeout_us + s->params.heartbeat_us, "and is bounded");
	solo_free(s);
}

/* Nodes with other seeds draw other delays. */
static void
test_randomised(void)
{
	px_usec at[8];
	int same = 0;

	for (int i = 0; i < 8; i++)
	{
		solo *s = solo_new(3);

		s->params.seed = (uint64_t) i;
		solo_start(s);
		at[i] = s->up.wake_at;
		for (int j = 0; j < i; j++)
		{
			if (at[i] == at[j])
				same++;
		}
		until_precandidate(s);
		at[i] = s->now;
		solo_free(s);
	}
	for (int i = 1; i < 8; i++)
	{
		if (at[i] == at[0])
			same++;
	}
	ok(same < 10, "delays differ with the seed");
}

/*
 * "A leader that has had no answer from a majority for an election timeout
 * steps down by itself".
 */
static void
test_step_down(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_lead(s);
	for (int i = 0; i < 15; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	is(s->view.role, PX_LEADER, "answered by a majority it leads on");
	for (int i = 0; i < 9; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		solo_accepted(s, 1, s->view.proposed + 1);
	}
	is(s->view.role, PX_LEADER, "not answered for less than an election timeout too");
	for (int i = 0; i < 3; i++)
		solo_tick(s, s->params.heartbeat_us);
	is(s->view.role, PX_FOLLOWER, "then it steps down");
	solo_free(s);
}

static void
test_may_not_vote(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_lead(s);
	s->local.may_vote = false;
	solo_local(s);
	is(s->view.role, PX_FOLLOWER, "a node that may not vote does not lead");
	for (int i = 0; i < 100; i++)
		solo_tick(s, s->params.heartbeat_us);
	is(s->view.role, PX_FOLLOWER, "nor stand");
	solo_free(s);

	s = solo_new(3);
	s->config.members[0].voter = false;
	solo_start(s);
	for (int i = 0; i < 100; i++)
		solo_tick(s, s->params.heartbeat_us);
	is(s->view.role, PX_FOLLOWER, "nor does a learner");
	solo_free(s);
}

/*
 * "the leader stops proposing, lets the target catch up, withdraws its lease
 * *before* it sends the hand-over and never uses one again in that ballot ⚠".
 */
static void
test_hand_over(void)
{
	solo *s = solo_new(3);
	px_slot base;
	const px_action *accept;
	const px_action *over;

	solo_start(s);
	solo_lead(s);
	solo_promise(s, 3, NULL, 0, 0);
	base = s->view.chosen;
	solo_accepted(s, 3, base + 1);
	solo_batch(s, "a");
	solo_event(s, PX_EV_TRANSFER, 3);
	is(s->view.role, PX_HANDING_OVER, "it hands over");
	for (px_node to = 1; to <= 3; to++)
	{
		accept = solo_action(s, PX_DO_SEND_ACCEPT, to, 0);
		ok(accept != NULL && accept->u.accept.lease_us == 0, "the lease at n%u is withdrawn first",
		   (unsigned) to);
	}
	solo_batch(s, "b");
	is(s->view.proposed, base + 1, "nothing more is proposed");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	ok(s->view.role == PX_HANDING_OVER && solo_count(s, PX_DO_SEND_HANDOVER, 0) == 0,
	   "it waits for the target");
	solo_tick(s, s->params.heartbeat_us + 1000);
	accept = solo_action(s, PX_DO_SEND_ACCEPT, 3, 0);
	ok(accept != NULL && accept->u.accept.lease_us == 0, "no lease is asked for meanwhile");
	solo_accepted(s, 3, base + 2);
	over = solo_action(s, PX_DO_SEND_HANDOVER, 3, 0);
	ok(over != NULL && over->u.handover.to == 3 && s->view.role == PX_FOLLOWER,
	   "when it has everything, it is told");
	solo_free(s);

	/* what waits in the queue stays there */
	s = solo_new(3);
	s->params.pipeline_depth = 1;
	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	solo_batch(s, "b");
	solo_event(s, PX_EV_TRANSFER, 2);
	solo_accepted(s, 1, base + 2);
	solo_tick(s, 1000);
	solo_promise(s, 3, NULL, 0, base);
	solo_accepted(s, 3, base + 2);
	ok(s->view.role == PX_HANDING_OVER && s->view.chosen == base + 1 &&
		   s->view.proposed == base + 1 && s->view.intake == 1,
	   "what waits in the queue is not proposed when there is room");
	solo_free(s);

	/* a target that never catches up */
	s = solo_new(3);
	solo_start(s);
	solo_lead(s);
	solo_batch(s, "a");
	solo_event(s, PX_EV_TRANSFER, 2);
	for (int i = 0; i < 10; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		if (s->view.role == PX_HANDING_OVER)
			solo_accepted(s, 1, s->view.proposed + 1);
	}
	solo_tick(s, s->params.heartbeat_us);
	is(s->view.role, PX_FOLLOWER, "a hand-over that takes too long ends leadership");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	solo_event(s, PX_EV_TRANSFER, 2);
	is(s->view.role, PX_FOLLOWER, "a follower has nothing to hand over");
	solo_lead(s);
	solo_event(s, PX_EV_TRANSFER, 3);
	is(s->view.role, PX_LEADER, "nor is it handed to a node that is not open");
	solo_event(s, PX_EV_TRANSFER, 1);
	is(s->view.role, PX_LEADER, "nor to itself");
	solo_free(s);
}

static void
test_handed_over(void)
{
	solo *s = solo_new(3);
	const px_action *a;

	solo_start(s);
	s->local.promised = B(4, 2);
	s->local.leader = B(4, 2);
	s->local.heard_at = s->now;
	s->local.leased_until = s->now + 500000;
	s->local.handover = B(4, 2);
	solo_local(s);
	is(s->view.role, PX_CANDIDATE, "handed leadership it stands at once");
	a = solo_action(s, PX_DO_SEND_PREPARE, 1, 0);
	ok(a != NULL && a->u.prepare.handover == B(4, 2), "its Prepare says by whom");
	is(solo_count(s, PX_DO_HANDOVER_USED, 0), 1, "and the hand-over is used up");
	solo_promise(s, 1, NULL, 0, 0);
	a = solo_action(s, PX_DO_SEND_PREPARE, 3, 0);
	ok(a != NULL && a->u.prepare.handover == B(4, 2), "to everybody");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	s->local.promised = B(5, 3);
	s->local.leader = B(5, 3);
	s->local.handover = B(4, 2);
	solo_local(s);
	is(s->view.role, PX_FOLLOWER, "a hand-over of a leader that is over is not used");
	solo_free(s);
}

/* A leader whose own acceptor is silent, or whose learner is stuck. */
static void
test_unfit(void)
{
	solo *s = solo_new(3);
	int i;

	solo_start(s);
	solo_lead(s);
	solo_promise(s, 3, NULL, 0, 0);
	for (i = 0; i < 12 && s->view.role == PX_LEADER; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		if (s->view.role != PX_LEADER)
			break;
		solo_accepted(s, 2, s->view.proposed + 1);
		solo_accepted(s, 3, s->view.proposed + 1);
	}
	ok(s->view.role != PX_LEADER && i >= 8, "with a silent acceptor of its own it hands over");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	solo_lead(s);
	s->local.stuck = true;
	s->local.applied = 1;
	s->local.chosen = 1;
	solo_local(s);
	solo_accepted(s, 2, s->view.proposed + 1);
	is(s->view.role, PX_LEADER, "stuck, but nobody has applied more: it stays");
	s->local.applied = 0;
	solo_local(s);
	ok(s->view.role != PX_LEADER, "somebody has: it hands over");
	solo_free(s);
}

/*
 * A peer that answers with a ballot no true election can have reached: the next
 * own ballot would lie above it, and the own acceptor refuse it, for ever.
 */
static void
test_leap(void)
{
	solo *s = solo_new(3);
	px_prevote_reply m;
	px_event ev;

	solo_start(s);
	memset(&m, 0, sizeof(m));
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_PREVOTE_REPLY;
	ev.node = 2;
	ev.u.prevote_reply = &m;
	m.promised = px_ballot_make(PX_MAX_LEAP, 2);
	solo_step(s, &ev);
	is(s->view.highest_seen, 0, "a ballot that leaps is not believed");
	m.promised = px_ballot_make(PX_MAX_LEAP - 1, 2);
	solo_step(s, &ev);
	is(s->view.highest_seen, m.promised, "one that could be true is");
	solo_stand(s);
	is(px_ballot_round(s->view.ballot), PX_MAX_LEAP, "and stood above");
	solo_free(s);
}

static void
lead_at_once(void *arg)
{
	px_set_role(arg, PX_LEADER, "");
}

static void
go_back(void *arg)
{
	px_set_role(arg, PX_CATCHING_UP, "");
}

/* Changes that the table does not hold are asserted against. */
static void
test_roles(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	ok(assertion_of(lead_at_once, s->p) != NULL, "asserted: a follower never leads at once");
	solo_lead(s);
	ok(assertion_of(go_back, s->p) != NULL, "asserted: a leader never goes back to a candidacy");
	solo_free(s);
}

void
run_tests(void)
{
	test_patience();
	test_lost();
	test_catching_up();
	test_ballot_above_all();
	test_prevote_lost();
	test_back_off();
	test_randomised();
	test_step_down();
	test_may_not_vote();
	test_hand_over();
	test_handed_over();
	test_unfit();
	test_leap();
	test_roles();
}
