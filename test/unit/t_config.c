/*
 * t_config.c
 *	  Changing the configuration (protocol.md § 7), at the leader, at the
 *	  acceptors, and among a few nodes.  Tests of a ⚠ sentence quote it.
 */
#include <stdlib.h>

#include "cluster.h"
#include "solo.h"

#define B(round, node) px_ballot_make(round, node)

/* How the last step answered a PX_EV_CONFIGURE; 99: it did not. */
static unsigned
result(const solo *s, px_slot *slot)
{
	const px_action *a = solo_action(s, PX_DO_CONFIGURED, 0, 0);

	if (slot != NULL)
		*slot = a == NULL ? 0 : a->u.configured.slot;
	return a == NULL ? 99 : (unsigned) a->u.configured.result;
}

static px_value_kind
proposed_kind(const solo *s, px_slot slot, px_config *config)
{
	px_value_view view;

	if (!px_value_open(px_proposer_value(s->p, slot), &view))
		die("a proposed value is malformed");
	if (config != NULL)
		px_value_config(&view, slot, config);
	return view.kind;
}

/* A leader of n voters; slot 1, its no-op, is chosen. */
static solo *
leader(int n)
{
	solo *s = solo_new(n);

	s->local.promised = B(3, 2);
	solo_start(s);
	solo_lead(s);
	for (int i = 2; i <= n; i++)
	{
		if (!s->view.peers[i - 1].open)
			solo_promise(s, (px_node) i, NULL, 0, 0);
	}
	return s;
}

/*
 * "it waits until nothing is in flight, proposes it at slot s, and proposes
 * nothing above s until s is chosen under the old configuration."
 */
static void
test_alone(void)
{
	solo *s = leader(3);
	px_config config;

	solo_batch(s, "in flight");
	is(s->view.proposed, 2, "a command is in flight");
	solo_configure(s, 7, 0, false, "1 2 3 4l");
	ok(s->view.change == PX_CHANGE_DRAINING && s->view.proposed == 2,
	   "a change waits until nothing is in flight");
	solo_batch(s, "later");
	is(s->view.proposed, 2, "and nothing else is begun");
	solo_configure(s, 8, 0, false, "1 2");
	is(result(s, NULL), PX_CHANGE_BUSY, "a second change is told so");
	solo_event(s, PX_EV_TRANSFER, 2);
	is(s->view.role, PX_LEADER, "leadership is not handed over in between");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	ok(s->view.proposed == 3 && proposed_kind(s, 3, &config) == PX_VALUE_CONFIG &&
		   config.n_members == 4 && s->view.change == PX_CHANGE_PROPOSED,
	   "then it is proposed");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1, "to everybody at once");
	ok(s->up.wake_at > s->now, "with commands waiting, the leader does not spin");
	solo_tick(s, 60000);
	is(s->view.proposed, 3, "nothing is proposed above a configuration");
	solo_accepted(s, 1, 4);
	is(s->view.config, 0, "the old configuration chooses it");
	solo_accepted(s, 3, 4);
	ok(s->view.config == 3 && s->view.chosen == 3 && s->view.n_peers == 4, "then it governs");
	ok(s->view.change == PX_CHANGE_BARRIER && s->view.proposed == 3,
	   "but nothing is proposed above it yet");
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 3, "promises are asked of all that are connected");
	ok(solo_must(s, PX_DO_SEND_PREPARE, 2, 0)->u.prepare.w == 3 &&
		   solo_must(s, PX_DO_SEND_PREPARE, 2, 0)->u.prepare.ballot == s->view.ballot,
	   "above it, in the same ballot");
	solo_promise(s, 1, NULL, 0, 3);
	is(s->view.proposed, 3, "one promise is no majority");
	solo_promise(s, 2, NULL, 0, 3);
	ok(s->view.proposed == 4 && strcmp(solo_proposed(s, 4), "later") == 0 &&
		   s->view.role == PX_LEADER,
	   "with a majority commands go on");
	is(s->view.change, PX_CHANGE_RECORDING, "the change is not over");
	solo_recorded(1, 3);
	solo_accepted(s, 1, 5);
	ok(result(s, NULL) == 99 && s->view.chosen == 3, "one that has recorded it is no majority");
	solo_recorded(2, 3);
	solo_accepted(s, 2, 5);
	is(result(s, NULL), PX_CHANGE_DONE, "a majority is: it is done");
	ok(s->view.change == PX_CHANGE_NONE && s->view.chosen == 4, "and commands had gone on");
	solo_free(s);
}

/*
 * "it proposes s + 1 only when a majority of the *new* configuration has
 * answered so; earlier promises do not count for it ⚠"; and learners' never do.
 */
static void
test_barrier(void)
{
	solo *s = leader(3);
	px_entry e;

	solo_peer(s, 4, true);
	solo_peer(s, 5, true);
	solo_configure(s, 1, 0, true, "1 4 5");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	ok(s->view.config == 2 && s->view.change == PX_CHANGE_BARRIER, "a set may replace any other");
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 3,
	   "who was connected before it was a member is asked");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 2) == 1 && solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 &&
		   solo_must(s, PX_DO_SEND_ACCEPT, 2, 0)->u.accept.chosen == 2,
	   "who is removed is told that it is chosen");
	is(solo_must(s, PX_DO_SEND_ACCEPT, 2, 0)->u.accept.lease_us, 0, "and gets no lease");
	solo_batch(s, "x");
	solo_promise(s, 1, NULL, 0, 2);
	is(s->view.proposed, 2, "promises of the old configuration do not count any more");
	e.slot = 3;
	e.ballot = B(1, 2);
	e.chosen = false;
	e.value = solo_value(s, 2, 1, "above");
	solo_promise(s, 4, &e, 1, 3);
	ok(s->view.proposed >= 3 && strcmp(solo_proposed(s, 3), "above") == 0,
	   "what the new ones have accepted above it is kept");
	solo_free(s);

	/* two voters, of which one was a learner: its early promise is none */
	s = leader(2);
	solo_peer(s, 3, true);
	solo_configure(s, 1, 0, false, "1 2 3l");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	solo_promise(s, 3, NULL, 0, 2);
	solo_promise(s, 1, NULL, 0, 2);
	solo_batch(s, "y");
	is(s->view.proposed, 2, "a learner's promise does not count");
	solo_promise(s, 2, NULL, 0, 2);
	is(s->view.proposed, 3, "a voter's does");
	solo_accepted(s, 3, 4);
	solo_accepted(s, 1, 4);
	is(s->view.chosen, 2, "nor does its accepting");
	solo_accepted(s, 2, 4);
	is(s->view.chosen, 3, "a voter's does");
	solo_free(s);
}

static void
test_refused(void)
{
	solo *s = solo_new(3);
	px_event ev;
	px_configure m;
	px_slot slot;

	solo_start(s);
	solo_configure(s, 1, 0, false, "1 2 3 4l");
	is(result(s, NULL), PX_CHANGE_NOT_LEADER, "only a leader changes the configuration");
	solo_free(s);

	s = leader(3);
	solo_configure(s, 2, 5, false, "1 2 3 4l");
	ok(result(s, &slot) == PX_CHANGE_BASE && slot == 0,
	   "built on another configuration than the one that governs: refused");
	memset(&ev, 0, sizeof(ev));
	memset(&m, 0, sizeof(m));
	ev.kind = PX_EV_CONFIGURE;
	ev.u.configure = &m;
	m.value = solo_noop(s, 1);
	solo_step(s, &ev);
	is(result(s, NULL), PX_CHANGE_INVALID, "a no-op is no configuration");
	m.value = bytes_of("garbage, garbage, garbage", 20);
	solo_step(s, &ev);
	is(result(s, NULL), PX_CHANGE_INVALID, "nor is garbage");
	solo_configure(s, 3, 0, false, "1l 2l 3l");
	is(result(s, NULL), PX_CHANGE_INVALID, "nor one without voters");
	solo_configure(s, 4, 0, false, "1 4 5");
	is(result(s, NULL), PX_CHANGE_NO_MAJORITY, "one that could not go on is refused");
	solo_peer(s, 3, false);
	solo_configure(s, 5, 0, false, "1 3");
	is(result(s, NULL), PX_CHANGE_NO_MAJORITY, "so if a member of its majority is away");
	is(s->view.change, PX_CHANGE_NONE, "nothing was begun");

	solo_configure(s, 6, 0, false, "1 2");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	solo_recorded(1, 2);
	solo_recorded(2, 2);
	solo_promise(s, 1, NULL, 0, 2);
	solo_promise(s, 2, NULL, 0, 2);
	is(result(s, &slot), PX_CHANGE_DONE, "a member is removed");
	is(slot, 2, "and the slot is told");
	solo_configure(s, 7, 2, false, "1 2 3l");
	is(result(s, NULL), PX_CHANGE_NODE_ID, "its id is never used again");
	solo_configure(s, 8, 0, false, "1 2");
	ok(result(s, &slot) == PX_CHANGE_BASE && slot == 2, "the same request again: its base is gone");
	solo_configure(s, 9, 2, false, "");
	is(result(s, NULL), PX_CHANGE_DONE, "but what governs can be confirmed");
	solo_configure(s, 10, 2, false, "1 2 4l");
	solo_accepted(s, 1, 4);
	solo_accepted(s, 2, 4);
	solo_promise(s, 1, NULL, 0, 3);
	solo_promise(s, 2, NULL, 0, 3);
	solo_recorded(1, 3);
	solo_recorded(2, 3);
	solo_accepted(s, 1, 4);
	solo_accepted(s, 2, 4);
	ok(result(s, NULL) == PX_CHANGE_DONE, "a new id is one above all that ever were");
	solo_free(s);
}

/*
 * "Refused too ... a configuration of whose voters no majority has recorded the
 * one that governs ◆": the only voter would be one that knows no member but such
 * as are gone.
 */
static void
test_behind(void)
{
	for (int force = 0; force < 2; force++)
	{
		solo *s = leader(3);

		solo_configure(s, 1, 0, false, "1 2 3l");
		solo_accepted(s, 1, 3);
		solo_accepted(s, 2, 3);
		solo_recorded(1, 2);
		solo_recorded(2, 2);
		for (px_node n = 1; n <= 3; n++)
			solo_promise(s, n, NULL, 0, 2);
		ok(s->view.config == 2 && s->view.peers[2].open && s->view.peers[2].config == 0,
		   "a member that has not recorded what governs, with a stream in order");
		solo_configure(s, 2, 2, force, "3");
		is(result(s, NULL), PX_CHANGE_BEHIND,
		   force ? "nor is it with force the only voter" : "is not made the only voter");
		solo_configure(s, 3, 2, force, "1 3");
		is(result(s, NULL), force ? 99 : PX_CHANGE_BEHIND,
		   force ? "with force one that knows is enough" : "nor needed for a majority");
		ok((s->view.change != PX_CHANGE_NONE) == force,
		   force ? "and the change begins" : "nothing was begun");
		if (!force)
		{
			solo_recorded(3, 2);
			solo_promise(s, 3, NULL, 0, 2);
			solo_configure(s, 4, 2, false, "3");
			ok(result(s, NULL) == 99 && s->view.change != PX_CHANGE_NONE,
			   "when it has recorded it, it may be");
		}
		solo_free(s);
	}
}

/* Leadership ends at each stage: what the caller is told. */
static void
test_interrupted(void)
{
	px_slot slot;

	for (int stage = 0; stage < 4; stage++)
	{
		solo *s = leader(3);

		if (stage == 0)
			solo_batch(s, "in flight");
		solo_configure(s, 1, 0, false, "1 2");
		if (stage >= 2)
		{
			solo_accepted(s, 1, 3);
			solo_accepted(s, 2, 3);
		}
		if (stage >= 3)
		{
			solo_promise(s, 1, NULL, 0, 2);
			solo_promise(s, 2, NULL, 0, 2);
		}
		is(s->view.change, PX_CHANGE_DRAINING + stage, "stage %d", stage);
		s->local.promised = B(9, 2);
		solo_local(s);
		is(result(s, &slot), stage == 0 ? PX_CHANGE_NOT_LEADER : PX_CHANGE_UNKNOWN,
		   "deposed at stage %d", stage);
		is(slot, stage == 0 ? 0 : 2, "with the slot, if it was proposed");
		is(s->view.config, 0, "what governs is what the own acceptor knows");
		solo_free(s);
	}
}

/*
 * "A leader that is no longer a member steps down ... only when a majority of
 * the new configuration has recorded *durably* that s is chosen ⚠ (else the old
 * nodes may be switched off while the new ones do not know they are the
 * cluster)."
 */
static void
test_leader_leaves(void)
{
	solo *s = leader(4);

	solo_configure(s, 1, 0, false, "2 3 4");
	for (px_node n = 1; n <= 3; n++)
		solo_accepted(s, n, 3);
	ok(s->view.role == PX_LEADER && s->view.leaving && s->view.config == 2,
	   "a leader that removed itself does not step down at once");
	ok(solo_must(s, PX_DO_SEND_ACCEPT, 2, 0)->u.accept.chosen == 2 &&
		   solo_must(s, PX_DO_SEND_ACCEPT, 4, 0)->u.accept.chosen == 2,
	   "it tells the others that it is chosen");
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 0, "in the streams that are open");
	ok(!solo_must(s, PX_DO_PUBLISH, 0, 0)->u.publish.ready, "it is ready no more");
	solo_batch(s, "never");
	is(s->view.proposed, 2, "and proposes nothing");
	solo_recorded(2, 2);
	solo_accepted(s, 2, 3);
	ok(result(s, NULL) == 99 && s->view.leaving, "one that has recorded it is no majority");
	solo_recorded(3, 2);
	solo_accepted(s, 3, 3);
	is(result(s, NULL), PX_CHANGE_DONE, "a majority is");
	ok(s->view.role == PX_HANDING_OVER || solo_count(s, PX_DO_SEND_HANDOVER, 0) == 1,
	   "then it hands over to one of them");
	for (px_node n = 2; n <= 4 && s->view.role != PX_FOLLOWER; n++)
		solo_accepted(s, n, 3);
	is(s->view.role, PX_FOLLOWER, "and leads no more");
	solo_config(s, 2, "2 3 4");
	is(s->view.removed, 2, "it knows that it is removed");
	for (int i = 0; i < 20; i++)
		solo_tick(s, s->params.election_timeout_us);
	ok(s->view.role == PX_FOLLOWER && solo_count(s, PX_DO_SEND_PREVOTE, 0) == 0,
	   "and stands no more");
	solo_free(s);

	/* a member that knows more than it was told refuses: that is an answer too */
	s = leader(3);
	solo_peer(s, 4, true);
	solo_peer(s, 5, true);
	solo_configure(s, 1, 0, true, "3 4 5");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	ok(solo_count(s, PX_DO_SEND_PREPARE, 4) == 1 && solo_count(s, PX_DO_SEND_PREPARE, 5) == 1 &&
		   solo_count(s, PX_DO_SEND_PREPARE, 3) == 0,
	   "members that are new get a stream");
	solo_recorded(4, 2);
	solo_recorded(5, 2);
	solo_promise_refused(s, 4, PX_REFUSED_REMOVED, 0);
	is(s->view.role, PX_LEADER, "the refusal of a removed node does not end its last duty");
	solo_promise_refused(s, 5, PX_REFUSED_REMOVED, 0);
	ok(result(s, NULL) == PX_CHANGE_DONE && s->view.role == PX_FOLLOWER, "it is done by it");
	solo_free(s);

	/* the same for a leader that recovered a configuration without itself */
	s = solo_new(3);
	{
		px_entry e = {1, B(1, 2), false, solo_config_value(s, "2 3")};

		solo_start(s);
		solo_stand(s);
		solo_promise(s, 1, NULL, 0, 0);
		solo_promise(s, 2, &e, 1, 1);
	}
	solo_accepted(s, 1, 2);
	solo_accepted(s, 2, 2);
	ok(s->view.role == PX_RECOVERING && s->view.leaving, "recovered without itself: it tells it");
	solo_recorded(2, 1);
	solo_recorded(3, 1);
	solo_accepted(s, 2, 2);
	is(s->view.role, PX_RECOVERING, "to a majority");
	solo_promise(s, 3, NULL, 0, 0);
	is(s->view.role, PX_FOLLOWER, "and stops");
	solo_free(s);
}

/*
 * The leader counted a configuration chosen that its own acceptor does not
 * have.  Its next ballot begins below it, under the old one.
 */
static void
test_own_acceptor_behind(void)
{
	solo *s = leader(3);

	solo_peer(s, 4, true);
	solo_peer(s, 5, true);
	solo_configure(s, 1, 0, true, "1 4 5");
	solo_accepted(s, 2, 3);
	solo_accepted(s, 3, 3);
	is(s->view.config, 2, "chosen without the own acceptor");
	s->local.chosen = 1;
	s->local.promised = B(9, 2);
	solo_local(s);
	ok(s->view.role == PX_FOLLOWER && s->view.n_peers == 3 && s->view.peers[2].node == 3 &&
		   s->view.peers[2].up,
	   "the old configuration governs what comes next");
	solo_stand(s);
	is(solo_must(s, PX_DO_SEND_PREPARE, 1, 0)->u.prepare.w, 1, "it begins below");
	solo_promise(s, 1, NULL, 0, 1);
	is(solo_count(s, PX_DO_SEND_PREPARE, 2) + solo_count(s, PX_DO_SEND_PREPARE, 3), 2,
	   "with the old members");
	is(solo_count(s, PX_DO_SEND_PREPARE, 4), 0, "and no new ones");
	solo_free(s);
}

/*
 * "Prepare and PreVote from a node *known to be removed* are refused with an
 * answer that says so; from one not heard of yet they are judged on their
 * merits (this node may be the one that lags) ⚠."
 */
static void
test_removed_refused(void)
{
	px_acceptor a;
	px_acceptor_todo todo;
	px_config config;
	px_prevote v = {3, 7};
	px_prevote_reply vr;
	px_prepare q = {3, B(5, 3), 1, 7, 0};
	px_promise r;

	memset(&config, 0, sizeof(config));
	config.slot = 6;
	config.highest = 4;
	config.n_members = 2;
	config.members[0].node = 1;
	config.members[0].voter = true;
	config.members[1].node = 2;
	config.members[1].voter = true;
	px_acceptor_init(&a, B(2, 1), 0, 0, 5, 1000);
	px_acceptor_config(&a, &config, 0);
	is(a.chosen, 6, "what was recorded as chosen is known chosen after a restart");
	px_acceptor_prevote(&a, &v, 2000, &vr);
	ok(vr.refusal == PX_REFUSED_REMOVED && vr.config == 6, "PreVote of a removed node: refused");
	px_acceptor_prepare(&a, &q, 1, 2000, &todo, &r);
	ok(r.refusal == PX_REFUSED_REMOVED && r.config == 6 && a.promised == B(2, 1) &&
		   !todo.persist_state,
	   "its Prepare too, and nothing is promised");
	v.from = 4;
	px_acceptor_prevote(&a, &v, 2000, &vr);
	is(vr.refusal, PX_REFUSED_REMOVED, "so is one whose id only the highest tells");
	v.from = 5;
	px_acceptor_prevote(&a, &v, 2000, &vr);
	is(vr.refusal, PX_REFUSED_NOT, "one not heard of: on its merits");
	q.from = 5;
	q.ballot = B(5, 5);
	px_acceptor_prepare(&a, &q, 1, 2000, &todo, &r);
	is(r.refusal, PX_REFUSED_NOT, "its Prepare too");
}

/* What an acceptor sees of configurations. */
static void
test_due(void)
{
	px_acceptor a;
	px_acceptor_todo todo;
	px_config config;
	px_prepare q = {2, B(1, 2), 1, 0, 0};
	px_promise r;
	px_accept m;
	px_accepted reply;
	px_bytes values[2];
	solo *s = solo_new(3);

	memset(&config, 0, sizeof(config));
	config.n_members = 1;
	config.members[0].node = 2;
	config.members[0].voter = true;
	px_acceptor_init(&a, 0, 0, 0, 0, 1000);
	px_acceptor_config(&a, &config, 0);
	px_acceptor_prepare(&a, &q, 1, 2000, &todo, &r);
	memset(&m, 0, sizeof(m));
	m.from = 2;
	m.ballot = q.ballot;
	m.stream = 1;
	m.first = 1;
	m.n_values = 2;
	values[0] = solo_noop(s, 1);
	values[1] = solo_config_value(s, "2 3");
	m.values = values;
	m.config_at = px_accept_config_at(&m);
	is(m.config_at, 2, "an Accept with a configuration");
	px_acceptor_accept(&a, &m, 1, 3000, 0, 0, &todo, &reply);
	ok(!px_acceptor_config_due(&a) && px_acceptor_settled(&a) == 0,
	   "stored, it is not known chosen");
	m.first = 3;
	m.n_values = 0;
	m.config_at = 0;
	m.chosen = 1;
	px_acceptor_accept(&a, &m, 1, 3000, 0, 0, &todo, &reply);
	ok(!px_acceptor_config_due(&a) && px_acceptor_settled(&a) == 1, "nor by what lies below");
	m.chosen = 2;
	px_acceptor_accept(&a, &m, 1, 3000, 0, 0, &todo, &reply);
	ok(px_acceptor_config_due(&a) && a.chosen == 2, "known chosen, it is to be recorded");
	is(px_acceptor_settled(&a), 1, "and the proposer does not see beyond until then");
	is(reply.config, 0, "nor is it called recorded");
	config.slot = 2;
	px_acceptor_config(&a, &config, 0);
	ok(!px_acceptor_config_due(&a) && px_acceptor_settled(&a) == 2, "recorded");
	px_acceptor_accept(&a, &m, 1, 3000, 0, 0, &todo, &reply);
	is(reply.config, 2, "and the leader is told");
	px_acceptor_holds_config(&a, 9);
	px_acceptor_holds_config(&a, 5);
	px_acceptor_holds_config(&a, 7);
	is(a.config_at, 5, "of several the lowest");
	solo_free(s);
}

/* Told that it was removed, a node says so, and asks on until it knows why. */
static void
test_told_removed(void)
{
	solo *s = solo_new(3);
	px_prevote_reply no;
	px_event ev;

	solo_start(s);
	while (s->view.role != PX_PRECANDIDATE)
		solo_tick(s, s->params.election_timeout_us / 4);
	memset(&no, 0, sizeof(no));
	no.refusal = PX_REFUSED_REMOVED;
	no.config = 9;
	no.chosen = 12;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_PREVOTE_REPLY;
	ev.node = 2;
	ev.u.prevote_reply = &no;
	solo_step(s, &ev);
	ok(s->view.removed == 9 && solo_must(s, PX_DO_PUBLISH, 0, 0)->u.publish.removed,
	   "told that it was removed, it says so");
	ev.node = 3;
	solo_step(s, &ev);
	is(s->view.role, PX_FOLLOWER, "no majority votes for it");
	ok(solo_count(s, PX_DO_FETCH, 0) == 1 && solo_action(s, PX_DO_FETCH, 0, 0)->u.fetch_to == 12,
	   "it fetches what the others know");
	solo_config(s, 9, "2 3");
	for (int i = 0; i < 20; i++)
		solo_tick(s, s->params.election_timeout_us);
	ok(s->view.role == PX_FOLLOWER && solo_count(s, PX_DO_SEND_PREVOTE, 0) == 0,
	   "knowing it, it asks no more");
	solo_batch(s, "x");
	is(solo_count(s, PX_DO_SEND_FORWARD, 0), 0, "and forwards nothing");
	solo_free(s);
}

/* A member that is no voter and hears nobody asks what the others know. */
static void
test_learner_asks(void)
{
	solo *s = solo_new(3);
	px_prevote_reply yes;
	px_event ev;
	bool asked = false;

	s->config.members[0].voter = false;
	s->local.may_vote = false;
	solo_start(s);
	for (int i = 0; i < 20 && !asked; i++)
	{
		solo_tick(s, s->params.election_timeout_us);
		asked = solo_count(s, PX_DO_SEND_PREVOTE, 2) == 1;
	}
	ok(asked && s->view.role == PX_FOLLOWER, "a learner that hears nobody asks");
	memset(&yes, 0, sizeof(yes));
	yes.chosen = 5;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_PREVOTE_REPLY;
	ev.node = 2;
	ev.u.prevote_reply = &yes;
	solo_step(s, &ev);
	ok(solo_count(s, PX_DO_FETCH, 2) == 1 && s->view.role == PX_FOLLOWER, "and fetches");
	solo_config(s, 5, "1 2 3");
	s->local.may_vote = true;
	solo_local(s);
	solo_stand(s);
	is(s->view.role, PX_CANDIDATE, "found to be a voter, it can stand");
	solo_free(s);
}

/*
 * ---- a few nodes ----
 */

/* Ask again and again, at whoever leads, as the SQL function does. */
static bool
change(cluster *c, const char *members, px_slot *base)
{
	static uint64_t request;
	bool asked = false;

	for (int tries = 0; tries < 100; tries++)
	{
		px_node l = cluster_leader(c);
		test_node *n;

		if (l == 0)
		{
			cluster_run(c, c->params.heartbeat_us);
			continue;
		}
		n = &c->nodes[l];
		cluster_configure(c, l, ++request, *base, asked ? "" : members);
		for (int i = 0; i < 100 && n->running && n->configured != request; i++)
			cluster_run(c, c->params.heartbeat_us / 5);
		if (n->configured != request)
			continue;
		if (n->result == PX_CHANGE_DONE)
		{
			*base = n->result_slot;
			return true;
		}
		if (n->result == PX_CHANGE_BASE || n->result == PX_CHANGE_UNKNOWN)
		{
			*base = c->nodes[l].config.slot;
			asked = n->result == PX_CHANGE_UNKNOWN;
		}
		cluster_run(c, c->params.heartbeat_us);
	}
	return false;
}

static void
test_life(void)
{
	cluster *c = cluster_new(3, 0);
	px_slot base = 0;
	px_node old;

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_write(c, 1, "a");
	cluster_deliver(c);
	ok(change(c, "1 2 3 4l", &base), "a learner is added");
	cluster_join(c, 4, 2);
	cluster_start(c, 4);
	cluster_run(c, 200000);
	cluster_write(c, 4, "b");
	cluster_run(c, 200000);
	ok(cluster_agrees(c) && cluster_executions(c, "b") == 1, "it follows and writes");
	ok(change(c, "1 2 3 4", &base), "it is promoted");
	cluster_crash(c, 2);
	cluster_crash(c, 3);
	cluster_write(c, 1, "c");
	cluster_run(c, 300000);
	is(cluster_executions(c, "c"), 0, "two of four are no majority");
	cluster_start(c, 3);
	cluster_run(c, 3000000);
	is(cluster_executions(c, "c"), 1, "three are");
	old = cluster_leader(c);
	ok(change(c, old == 1 ? "2 3 4" : "1 2 3", &base), "a leader or member is removed");
	cluster_run(c, 3000000);
	ok(cluster_leader(c) != 0, "somebody leads");
	if (old == 1)
		ok(cluster_leader(c) != 1 && c->nodes[1].removed, "not who was removed, and it knows");
	cluster_start(c, 2);
	cluster_run(c, 3000000);
	cluster_write(c, 3, "d");
	cluster_run(c, 1000000);
	is(cluster_executions(c, "d"), 1, "writes go on");
	cluster_free(c);
}

/* The leader removes itself, and is killed when only it knows. */
static void
test_only_the_dead_knew(void)
{
	cluster *c = cluster_new(3, 0);
	px_slot base = 0;

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_deliver(c);
	cluster_configure(c, 1, 1, base, "2 3");
	/* both have accepted it, and nobody has told them that it is chosen */
	while (c->nodes[1].view.config == 0 && cluster_deliver_one(c, 0, 0))
		;
	ok(c->nodes[1].view.leaving && c->nodes[2].config.slot == 0 && c->nodes[3].config.slot == 0,
	   "only the old leader knows");
	cluster_crash(c, 1);
	cluster_run(c, 5000000);
	ok(cluster_leader(c) != 0 && c->nodes[2].config.slot != 0 && c->nodes[3].config.slot != 0,
	   "the others find it and go on without it");
	cluster_start(c, 1);
	cluster_run(c, 5000000);
	ok(c->nodes[1].removed && c->nodes[1].view.role == PX_FOLLOWER, "it learns its fate");
	cluster_free(c);
}

/*
 * The only voter is replaced by a learner, crashes when only it knows that, and
 * comes back: the learner, now the cluster, asks and learns.
 */
static void
test_learner_becomes_the_cluster(void)
{
	cluster *c = cluster_new(1, 1);

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_write(c, 1, "a");
	cluster_deliver(c);
	cluster_configure(c, 1, 1, 0, "2");
	while (c->nodes[1].view.config == 0 && cluster_deliver_one(c, 0, 0))
		;
	ok(c->nodes[1].view.leaving && c->nodes[2].config.slot == 0, "the voter replaced itself");
	cluster_crash(c, 1);
	cluster_run(c, 5000000);
	is(cluster_leader(c), 0, "while it is down nobody knows");
	cluster_start(c, 1);
	cluster_run(c, 5000000);
	ok(cluster_leader(c) == 2 && c->nodes[1].removed, "the other learns it by asking");
	cluster_write(c, 2, "b");
	cluster_run(c, 1000000);
	is(cluster_executions(c, "b"), 1, "and works");
	cluster_free(c);
}

void
run_tests(void)
{
	test_alone();
	test_barrier();
	test_refused();
	test_behind();
	test_interrupted();
	test_leader_leaves();
	test_own_acceptor_behind();
	test_removed_refused();
	test_due();
	test_told_removed();
	test_learner_asks();
	test_life();
	test_only_the_dead_knew();
	test_learner_becomes_the_cluster();
}
