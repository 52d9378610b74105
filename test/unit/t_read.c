/*
 * t_read.c
 *	  The read index (protocol.md § 9).  Tests of a ⚠ sentence quote it.
 */
#include "solo.h"

#define B(round, node) px_ballot_make(round, node)

static void
want_read(solo *s)
{
	solo_event(s, PX_EV_READ, 0);
}

static const px_action *
done(const solo *s)
{
	return solo_action(s, PX_DO_READ_DONE, 0, 0);
}

static void
ask_from(solo *s, px_node from, uint64_t incarnation, uint64_t seq)
{
	px_forward m;
	px_event ev;

	memset(&m, 0, sizeof(m));
	m.from = from;
	m.incarnation = incarnation;
	m.read_seq = seq;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_FORWARD;
	ev.u.forward = &m;
	solo_step(s, &ev);
}

/* An acknowledgement of the message that was sent at 'sent_at'. */
static void
acknowledge(solo *s, px_node node, px_usec sent_at, px_slot next)
{
	const px_peer_view *peer = NULL;
	px_accepted m;
	px_event ev;

	for (int i = 0; i < s->view.n_peers; i++)
	{
		if (s->view.peers[i].node == node)
			peer = &s->view.peers[i];
	}
	memset(&m, 0, sizeof(m));
	m.ballot = s->view.ballot;
	m.promised = m.ballot;
	m.stream = peer->stream;
	m.first = peer->first != 0 ? peer->first : 1;
	m.next = next;
	m.sent_at = sent_at;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_ACCEPTED;
	ev.node = node;
	ev.u.accepted = &m;
	solo_step(s, &ev);
}

static px_usec
sent_at(const solo *s, px_node to)
{
	const px_action *a = solo_action(s, PX_DO_SEND_ACCEPT, to, 0);

	return a == NULL ? 0 : a->u.accept.sent_at;
}

/*
 * "a majority ... acknowledged a message sent after that moment".  An
 * acknowledgement of an older message proves nothing: it may have been given
 * before another leader was elected.
 */
static void
test_at_leader(void)
{
	solo *s = solo_new(3);
	px_usec old1;
	px_usec old2;
	px_usec new1;
	px_usec new2;
	px_slot next;

	solo_start(s);
	solo_lead(s);
	solo_tick(s, s->params.heartbeat_us + 1000);
	old1 = sent_at(s, 1);
	old2 = sent_at(s, 2);
	next = s->view.proposed + 1;
	want_read(s);
	ok(solo_count(s, PX_DO_READ_SENT, 0) == 1, "a read is sent at once");
	new1 = sent_at(s, 1);
	new2 = sent_at(s, 2);
	ok(new1 > old1 && new2 > old2, "with a message of its own, for none newer is under way");
	acknowledge(s, 1, old1, next);
	acknowledge(s, 2, old2, next);
	ok(done(s) == NULL, "acknowledgements of older messages confirm nothing");
	acknowledge(s, 1, new1, next);
	ok(done(s) == NULL, "nor does one new acknowledgement of three");
	acknowledge(s, 2, new2, next);
	ok(done(s) != NULL && done(s)->u.read.index == s->view.chosen && done(s)->u.read.seq == 1,
	   "a majority does");
	solo_free(s);
}

/*
 * "sessions waiting when a request is *sent* share its answer, later ones wait
 * for the next ⚠": a session that comes while an answer is under way may read
 * what was acknowledged after that answer's index was noted.
 */
static void
test_sharing(void)
{
	solo *s = solo_new(3);
	px_slot next;
	px_usec at1;
	px_usec at2;

	solo_start(s);
	solo_lead(s);
	want_read(s);
	at1 = sent_at(s, 1);
	at2 = sent_at(s, 2);
	next = s->view.proposed + 1;
	want_read(s);
	is(solo_count(s, PX_DO_READ_SENT, 0), 0, "one request is in flight at a time");
	acknowledge(s, 1, at1, next);
	acknowledge(s, 2, at2, next);
	ok(done(s) != NULL && done(s)->u.read.seq == 1, "the first is answered");
	ok(s->up.wake_at <= s->now, "and there is more to do at once");
	solo_tick(s, 0);
	ok(solo_count(s, PX_DO_READ_SENT, 0) == 1 &&
		   solo_must(s, PX_DO_READ_SENT, 0, 0)->u.read.seq == 2,
	   "the second is sent only then");
	ok(s->up.actions[0].kind == PX_DO_READ_SENT, "before any message that could bring its answer");
	ok(done(s) == NULL, "and waits for an answer of its own");
	solo_free(s);
}

/* A leader that is not ready has an index that may lie below what was told. */
static void
test_not_ready(void)
{
	solo *s = solo_new(3);
	const px_action *a;

	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	is(s->view.role, PX_RECOVERING, "elected, not ready");
	ask_from(s, 2, 4, 9);
	want_read(s);
	for (int i = 0; i < 3; i++)
	{
		acknowledge(s, 1, 1, 1);
		acknowledge(s, 2, 1, 1);
	}
	ok(done(s) == NULL, "it answers no read");
	solo_accepted(s, 1, 2);
	solo_accepted(s, 2, 2);
	is(s->view.role, PX_LEADER, "ready");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 2) == 1, "what waited is confirmed at once");
	solo_accepted(s, 1, 2);
	solo_accepted(s, 2, 2);
	ok(done(s) != NULL && done(s)->u.read.index == 1, "the own read");
	a = solo_action(s, PX_DO_SEND_ACCEPT, 2, 0);
	ok(a != NULL && a->u.accept.read.incarnation == 4 && a->u.accept.read.seq == 9 &&
		   a->u.accept.read.index == 1,
	   "and the follower's, in its next Accept");
	solo_free(s);
}

static void
test_for_follower(void)
{
	solo *s = solo_new(3);
	const px_action *a;
	px_slot index;

	solo_start(s);
	solo_lead(s);
	index = s->view.chosen;
	ask_from(s, 3, 2, 5);
	solo_batch(s, "x");
	solo_accepted(s, 1, index + 2);
	solo_accepted(s, 2, index + 2);
	solo_promise(s, 3, NULL, 0, index + 1);
	a = solo_action(s, PX_DO_SEND_ACCEPT, 3, 0);
	ok(a != NULL && a->u.accept.read.seq == 5 && a->u.accept.read.index == index,
	   "a follower is answered with the index noted when it asked");
	solo_tick(s, s->params.heartbeat_us + 1000);
	a = solo_action(s, PX_DO_SEND_ACCEPT, 3, 0);
	ok(a != NULL && a->u.accept.read.seq == 5, "every later Accept repeats it");
	a = solo_action(s, PX_DO_SEND_ACCEPT, 2, 0);
	ok(a != NULL && a->u.accept.read.seq == 0, "to that member alone");
	ask_from(s, 3, 2, 5);
	a = solo_action(s, PX_DO_SEND_ACCEPT, 3, 0);
	ok(a != NULL && a->u.accept.read.seq == 5 && a->u.accept.read.index == index,
	   "asked again under the same number it answers again");
	solo_free(s);
}

/* The asker's side. */
static void
test_at_follower(void)
{
	solo *s = solo_new(3);
	const px_action *a;

	solo_start(s);
	want_read(s);
	is(solo_count(s, PX_DO_READ_SENT, 0), 0, "without a leader a read is not sent");
	s->local.leader = B(1, 2);
	s->local.promised = B(1, 2);
	s->local.heard_at = s->now;
	solo_local(s);
	a = solo_action(s, PX_DO_SEND_FORWARD, 2, 0);
	ok(a != NULL && a->u.fwd.forward.read_seq == 1 && solo_count(s, PX_DO_READ_SENT, 0) == 1,
	   "with one it is");
	s->local.heard_at = ++s->now;
	solo_local(s);
	solo_tick(s, 1000);
	is(solo_count(s, PX_DO_SEND_FORWARD, 0), 0, "once");
	s->local.read.incarnation = 7;
	s->local.read.seq = 1;
	s->local.read.index = 3;
	solo_local(s);
	ok(done(s) == NULL, "an answer to another life is not ours");
	solo_tick(s, 4 * s->params.heartbeat_us);
	a = solo_action(s, PX_DO_SEND_FORWARD, 2, 0);
	ok(a != NULL && a->u.fwd.forward.read_seq == 1 && solo_count(s, PX_DO_READ_SENT, 0) == 0,
	   "unanswered it is repeated under the same number");
	s->local.leader = B(2, 3);
	s->local.promised = B(2, 3);
	solo_local(s);
	a = solo_action(s, PX_DO_SEND_FORWARD, 3, 0);
	ok(a != NULL && a->u.fwd.forward.read_seq == 1, "and sent to a new leader");
	s->local.read.incarnation = 1;
	s->local.read.seq = 1;
	s->local.read.index = 12;
	solo_local(s);
	ok(done(s) != NULL && done(s)->u.read.index == 12, "the answer is passed on");
	solo_local(s);
	ok(done(s) == NULL, "once");
	solo_free(s);
}

/* A leader of a majority that is gone confirms nothing. */
static void
test_deposed(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_lead(s);
	want_read(s);
	solo_accepted_refused(s, 2, PX_REFUSED_BALLOT, B(9, 2));
	ok(done(s) == NULL && s->view.role == PX_FOLLOWER, "deposed, it answers nothing");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	solo_lead(s);
	want_read(s);
	for (int i = 0; i < 30; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		if (done(s) != NULL)
			break;
		if (s->view.role == PX_LEADER)
			solo_accepted(s, 1, s->view.proposed + 1);
	}
	ok(done(s) == NULL, "cut off, neither");
	solo_free(s);
}

/* A leader of n voters with leases of 500 ms, a tenth of which is taken off. */
static solo *
lease_leader(int n)
{
	solo *s = solo_new(n);

	s->params.lease_readable = true;
	s->params.drift_ppm = 100000;
	s->local.promised = B(3, 2);
	solo_start(s);
	solo_lead(s);
	return s;
}

/*
 * While a majority's leases hold, the read index is free; counted from the
 * *send* time, shortened by the drift bound, at the majority-th latest.
 */
static void
test_lease(void)
{
	solo *s = lease_leader(3);
	px_usec sent;
	px_slot next = s->view.proposed + 1;

	s->now = s->view.lease_until;
	solo_tick(s, 0);
	sent = s->now;
	is(solo_count(s, PX_DO_SEND_ACCEPT, 0), 2, "a heartbeat");
	s->now += 20000;
	solo_accepted(s, 1, next);
	ok(s->view.lease_until <= s->now, "one grant of three is none");
	solo_accepted(s, 2, next);
	ok(s->view.lease_until > sent + 449000 && s->view.lease_until <= sent + 450000,
	   "from the send time, without the drift");
	ok(s->up.actions[0].kind == PX_DO_PUBLISH &&
		   s->up.actions[0].u.publish.lease_until == s->view.lease_until &&
		   s->up.actions[0].u.publish.chosen == s->view.chosen,
	   "sessions are told, together with the watermark");

	want_read(s);
	ok(solo_count(s, PX_DO_READ_SENT, 0) == 1 && done(s) == NULL,
	   "who waits when the request is made shares it");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 0) == 0 && s->up.wake_at <= s->now, "no round is begun");
	solo_tick(s, 10);
	ok(done(s) != NULL && done(s)->u.read.index == s->view.chosen && done(s)->u.read.seq == 1,
	   "it is answered a step later");
	ask_from(s, 2, 1, 1);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 2) == 1 &&
		   solo_must(s, PX_DO_SEND_ACCEPT, 2, 0)->u.accept.read.seq == 1 &&
		   solo_must(s, PX_DO_SEND_ACCEPT, 2, 0)->u.accept.read.index == s->view.chosen,
	   "a follower's at once");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 1) == 0, "and nobody else is bothered");

	want_read(s);
	s->now = s->view.lease_until - 1;
	solo_tick(s, 0);
	ok(done(s) != NULL, "up to the last microsecond");
	want_read(s);
	s->now = s->view.lease_until;
	solo_tick(s, 0);
	ok(done(s) == NULL, "and no longer, also for a request made before");
	sent = sent_at(s, 1);
	ok(sent != 0, "then it takes a round");
	solo_accepted(s, 1, next);
	ok(done(s) == NULL, "of one");
	solo_accepted(s, 2, next);
	ok(done(s) != NULL, "of a majority");
	solo_free(s);

	/* the longest counts, and a shorter one does not take it back */
	s = lease_leader(3);
	sent = s->view.lease_until;
	px_proposer_retime(s->p, s->params.heartbeat_us, s->params.election_timeout_us, 60000, true, 8);
	solo_tick(s, s->params.heartbeat_us + 1000);
	solo_accepted(s, 1, next);
	solo_accepted(s, 2, next);
	is(s->view.lease_until, sent, "a grant counts by what its own message carried");
	solo_free(s);

	/* not readable: never */
	s = solo_new(3);
	solo_start(s);
	solo_lead(s);
	is(s->view.lease_until, 0, "a lease not granted as readable is not used");
	solo_free(s);
}

/* "never uses one again in that ballot ⚠" */
static void
test_lease_withdrawn(void)
{
	solo *s = lease_leader(3);
	px_slot next = s->view.proposed + 1;

	solo_tick(s, s->params.heartbeat_us + 1000);
	solo_accepted(s, 1, next);
	solo_accepted(s, 2, next);
	ok(s->view.lease_until > s->now, "leases hold");
	solo_batch(s, "in flight");
	want_read(s);
	solo_event(s, PX_EV_TRANSFER, 2);
	ok(s->view.role == PX_HANDING_OVER && done(s) == NULL, "a hand-over begins");
	is(s->view.lease_until, 0, "and no lease is used any more");
	ok(s->up.actions[0].kind == PX_DO_PUBLISH && s->up.actions[0].u.publish.lease_until == 0 &&
		   solo_count(s, PX_DO_SEND_ACCEPT, 0) > 0,
	   "sessions hear of it before an Accept withdraws it");
	ask_from(s, 3, 1, 1);
	solo_tick(s, 10);
	ok(done(s) == NULL, "for nobody");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 3), 0, "nor for a follower");
	s->local.promised = B(9, 2);
	solo_local(s);
	is(s->view.role, PX_FOLLOWER, "deposed");
	solo_free(s);
}

/*
 * "the next ballot counts only its own grants": it is deposed, gets the
 * leadership back at once, while its former lease would stand, and now asks for
 * a shorter one, which is all that the acceptors grant.
 */
static void
test_lease_of_former_ballot(void)
{
	solo *s = lease_leader(3);
	px_slot next = s->view.proposed + 1;
	px_usec sent;

	solo_tick(s, s->params.heartbeat_us + 1000);
	solo_accepted(s, 1, next);
	solo_accepted(s, 2, next);
	ok(s->view.lease_until > s->now + 400000, "leases hold");
	px_proposer_retime(s->p, s->params.heartbeat_us, s->params.election_timeout_us, 100000, true,
					   s->params.pipeline_depth);
	s->local.promised = B(9, 2);
	solo_local(s);
	is(s->view.role, PX_FOLLOWER, "deposed");
	s->local.handover = B(9, 2);
	solo_local(s);
	is(s->view.role, PX_CANDIDATE, "leadership is handed back");
	sent = s->now;
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	solo_accepted(s, 1, s->view.proposed + 1);
	solo_accepted(s, 2, s->view.proposed + 1);
	ok(s->view.role == PX_LEADER && s->view.lease_until > sent &&
		   s->view.lease_until < sent + 100000,
	   "what was granted in a former ballot does not count in the next");
	solo_free(s);
}

/* Learners' grants do not count, and when a configuration is chosen its voters' do. */
static void
test_lease_and_configuration(void)
{
	solo *s = lease_leader(3);

	solo_promise(s, 3, NULL, 0, 0);
	solo_peer(s, 4, true);
	solo_configure(s, 1, 0, false, "1 2 3 4l");
	for (px_node n = 1; n <= 3; n++)
		solo_accepted(s, n, 3);
	for (px_node n = 1; n <= 4; n++)
		solo_promise(s, n, NULL, 0, 2);
	for (px_node n = 1; n <= 4; n++)
	{
		solo_recorded(n, 2);
		solo_accepted(s, n, 3);
	}
	ok(s->view.change == PX_CHANGE_NONE && s->view.lease_until > s->now, "leases hold");

	/* only the old voters have granted; the new set shares one node with them */
	solo_peer(s, 5, true);
	solo_configure(s, 2, 2, true, "1 5 6");
	solo_accepted(s, 2, 4);
	solo_accepted(s, 3, 4);
	is(s->view.config, 3, "another set of voters");
	ok(s->view.lease_until <= s->now, "the leases of the former ones do not count");
	solo_free(s);

	s = solo_new(4);
	s->config.members[2].voter = false;
	s->config.members[3].voter = false;
	s->params.lease_readable = true;
	s->params.drift_ppm = 100000;
	solo_start(s);
	solo_stand(s);
	for (px_node n = 1; n <= 4; n++)
		solo_promise(s, n, NULL, 0, 0);
	for (px_node n = 1; n <= 4; n++)
		solo_accepted(s, n, 2);
	is(s->view.role, PX_LEADER, "two voters, two learners");
	s->now = s->view.lease_until + 10;
	solo_tick(s, 0);
	solo_accepted(s, 1, 2);
	solo_accepted(s, 3, 2);
	solo_accepted(s, 4, 2);
	ok(s->view.lease_until <= s->now, "learners' grants do not count");
	solo_accepted(s, 2, 2);
	ok(s->view.lease_until > s->now, "voters' do");
	solo_free(s);
}

void
run_tests(void)
{
	test_lease();
	test_lease_withdrawn();
	test_lease_of_former_ballot();
	test_lease_and_configuration();
	test_at_leader();
	test_sharing();
	test_not_ready();
	test_for_follower();
	test_at_follower();
	test_deposed();
}
