/*
 * t_recovery.c
 *	  What a new leader proposes: the rule of phase 1, in all its corners
 *	  (protocol.md §§ 3.2, 3.4, 7).  Tests of a ⚠ sentence quote it.
 */
#include <stdlib.h>

#include "solo.h"

#define B(round, node) px_ballot_make(round, node)

static px_entry
entry(px_slot slot, px_ballot ballot, px_bytes value)
{
	px_entry e = {slot, ballot, false, value};

	return e;
}

static px_entry
chosen_entry(px_slot slot, px_ballot ballot, px_bytes value)
{
	px_entry e = {slot, ballot, true, value};

	return e;
}

/*
 * The trace of pg_paxos.  A holds V@1, B holds V@3, C holds W@2, and nothing is
 * chosen.  pg_paxos takes a value that a majority returns alike for chosen,
 * whatever its ballots: a reader of {A, B} is told V, then a proposer through
 * {A, C} gets W chosen.  Here the reader of {A, B} is told nothing until V is
 * accepted in a ballot of its own, and then {A, C} finds V in the higher one.
 *
 * A is node 1 (which stands), B is 2, C is 3.
 */
static void
test_pg_paxos(void)
{
	solo *s = solo_new(3);
	px_entry a = entry(1, B(1, 1), solo_value(s, 1, 1, "V"));
	px_entry b = entry(1, B(3, 2), solo_value(s, 1, 1, "V"));
	px_entry c = entry(1, B(2, 3), solo_value(s, 2, 1, "W"));

	s->local.promised = B(3, 2);
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, &a, 1, 1);
	solo_promise(s, 2, &b, 1, 1);
	ok(s->view.role == PX_RECOVERING && strcmp(solo_proposed(s, 1), "V") == 0,
	   "pg_paxos trace: through {A, B} V is proposed");
	is(s->view.chosen, 0, "pg_paxos trace: but two equal reports are not called chosen");
	solo_free(s);

	s = solo_new(3);
	a = entry(1, B(1, 1), solo_value(s, 1, 1, "V"));
	c = entry(1, B(2, 3), solo_value(s, 2, 1, "W"));
	s->local.promised = B(3, 2);
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, &a, 1, 1);
	solo_promise(s, 3, &c, 1, 1);
	ok(strcmp(solo_proposed(s, 1), "W") == 0,
	   "pg_paxos trace: through {A, C} W is proposed, for its ballot is the higher");
	solo_free(s);

	/* had the first proposer got V accepted at A, the second would find it */
	s = solo_new(3);
	a = entry(1, B(4, 1), solo_value(s, 1, 1, "V"));
	c = entry(1, B(2, 3), solo_value(s, 2, 1, "W"));
	s->local.promised = B(4, 1);
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, &a, 1, 1);
	solo_promise(s, 3, &c, 1, 1);
	ok(strcmp(solo_proposed(s, 1), "V") == 0,
	   "pg_paxos trace: once V is accepted by {A, B} in a higher ballot, {A, C} finds V");
	solo_free(s);
}

/* The highest ballot wins, in whatever order the promises come. */
static void
test_highest_ballot(void)
{
	for (int order = 0; order < 2; order++)
	{
		solo *s = solo_new(5);
		px_entry low = entry(1, B(2, 3), solo_value(s, 2, 1, "low"));
		px_entry high = entry(1, B(3, 2), solo_value(s, 3, 1, "high"));

		solo_start(s);
		solo_stand(s);
		solo_promise(s, 1, NULL, 0, 0);
		solo_promise(s, 2, order == 0 ? &low : &high, 1, 1);
		solo_promise(s, 3, order == 0 ? &high : &low, 1, 1);
		ok(strcmp(solo_proposed(s, 1), "high") == 0, "the highest ballot wins (order %d)", order);
		solo_free(s);
	}
}

/*
 * "A fetched entry replaces whatever stands in that slot and is marked chosen,
 * durably: in a later promise it outranks every ballot ⚠ (the ballot it was
 * once accepted in may be lower than that of a stale entry elsewhere)."
 */
static void
test_chosen_outranks(void)
{
	for (int order = 0; order < 2; order++)
	{
		solo *s = solo_new(5);
		px_entry fetched = chosen_entry(1, B(1, 2), solo_value(s, 2, 1, "chosen"));
		px_entry stale = entry(1, B(3, 2), solo_value(s, 3, 1, "stale"));

		solo_start(s);
		solo_stand(s);
		solo_promise(s, 1, NULL, 0, 0);
		solo_promise(s, 2, order == 0 ? &fetched : &stale, 1, 1);
		solo_promise(s, 3, order == 0 ? &stale : &fetched, 1, 1);
		ok(strcmp(solo_proposed(s, 1), "chosen") == 0,
		   "an entry marked chosen outranks a higher ballot (order %d)", order);
		solo_free(s);
	}
}

static void
test_holes(void)
{
	solo *s = solo_new(3);
	px_entry e[2];

	e[0] = entry(2, B(1, 2), solo_value(s, 2, 1, "two"));
	e[1] = entry(5, B(1, 2), solo_value(s, 2, 2, "five"));
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	is(s->view.role, PX_CANDIDATE, "the own promise is no majority");
	solo_promise(s, 2, e, 2, 5);
	is(s->view.proposed, 6, "up to the highest reported, and a no-op of its own");
	ok(strcmp(solo_proposed(s, 1), "") == 0 && strcmp(solo_proposed(s, 2), "two") == 0 &&
		   strcmp(solo_proposed(s, 3), "") == 0 && strcmp(solo_proposed(s, 4), "") == 0 &&
		   strcmp(solo_proposed(s, 5), "five") == 0 && strcmp(solo_proposed(s, 6), "") == 0,
	   "reported values where there are any, no-ops in the holes");
	solo_accepted(s, 1, 6);
	solo_accepted(s, 2, 6);
	ok(s->view.chosen == 5 && s->view.role == PX_RECOVERING,
	   "it does not lead before its own no-op is chosen");
	solo_accepted(s, 1, 7);
	solo_accepted(s, 2, 7);
	is(s->view.role, PX_LEADER, "then it does");
	solo_free(s);
}

/*
 * "Its own acceptor comes first: only when that promise is durable does the
 * ballot go to anyone else ⚠ (a proposer that crashes never uses a ballot
 * twice)."  Told to others first, then crashed: the next life would take the
 * same ballot and propose other values in it.
 */
static void
test_own_acceptor_first(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_stand(s);
	ok(solo_count(s, PX_DO_SEND_PREPARE, 0) == 1 && solo_count(s, PX_DO_SEND_PREPARE, 1) == 1,
	   "Prepare goes to the own acceptor alone");
	solo_peer(s, 3, false);
	solo_peer(s, 3, true);
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 0, "also when another connects meanwhile");
	solo_promise(s, 1, NULL, 0, 0);
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 2, "and to the others when it has promised");
	solo_free(s);

	/* the own promise is part of every majority */
	s = solo_new(3);
	solo_start(s);
	solo_stand(s);
	solo_promise_refused(s, 1, PX_REFUSED_LEASE, 0);
	is(s->view.role, PX_FOLLOWER, "refused by the own acceptor it gives up");
	solo_free(s);
}

/*
 * "Within one configuration a promise that arrives after leadership was won
 * only opens the stream": what it reports in lower ballots cannot be chosen.
 */
static void
test_late_promise(void)
{
	solo *s = solo_new(3);
	px_entry late = entry(1, B(1, 3), solo_value(s, 3, 1, "late"));

	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	is(s->view.proposed, 1, "nothing was reported: slot 1 is the own no-op");
	solo_promise(s, 3, &late, 1, 1);
	ok(strcmp(solo_proposed(s, 1), "") == 0, "a late report changes no proposal");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 3), 1, "but the stream is open");
	solo_free(s);
}

/* An answer to an old Prepare must not count for the new round. */
static void
test_old_stream_ignored(void)
{
	solo *s = solo_new(3);
	px_promise m;
	px_event ev;

	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	memset(&m, 0, sizeof(m));
	m.ballot = s->view.ballot;
	m.promised = m.ballot;
	m.stream = s->view.peers[1].stream;
	solo_peer(s, 2, false);
	solo_peer(s, 2, true);
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_PROMISE;
	ev.node = 2;
	ev.u.promise = &m;
	solo_step(s, &ev);
	ok(s->view.role == PX_CANDIDATE && !s->view.peers[1].open,
	   "a promise of an old stream number is ignored");
	solo_free(s);
}

/*
 * A log longer than one promise holds: rounds.  Nothing is proposed above the
 * highest slot reported before all of it is covered.
 */
static void
test_paging(void)
{
	solo *s = solo_new(3);
	px_entry e[PX_MAX_WINDOW];
	px_ballot old = B(1, 2);

	for (int i = 0; i < PX_MAX_WINDOW; i++)
		e[i] = entry((px_slot) i + 1, old, solo_value(s, 2, (uint64_t) i + 1, "page 1"));
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, e, PX_MAX_WINDOW, 70);
	is(s->view.proposed, PX_MAX_WINDOW, "first round: a window of values");
	solo_accepted(s, 1, PX_MAX_WINDOW + 1);
	is(s->view.proposed, PX_MAX_WINDOW, "nothing above before they are chosen");
	solo_accepted(s, 2, PX_MAX_WINDOW + 1);
	ok(s->view.role == PX_RECOVERING && s->view.proposed == PX_MAX_WINDOW,
	   "nor before the next round is answered");
	is(solo_count(s, PX_DO_SEND_PREPARE, 0), 3, "all streams are opened again");
	ok(solo_must(s, PX_DO_SEND_PREPARE, 2, 0)->u.prepare.w == PX_MAX_WINDOW &&
		   solo_must(s, PX_DO_SEND_PREPARE, 2, 0)->u.prepare.ballot == s->view.ballot &&
		   solo_must(s, PX_DO_SEND_PREPARE, 2, 0)->u.prepare.stream > 3,
	   "in the same ballot, with w = chosen and the next stream numbers");

	e[0] = entry(66, old, solo_value(s, 2, 66, "page 2"));
	e[1] = entry(70, old, solo_value(s, 2, 70, "page 2"));
	solo_promise(s, 1, NULL, 0, 64);
	is(s->view.proposed, PX_MAX_WINDOW, "one promise is no majority");
	solo_promise(s, 2, e, 2, 70);
	is(s->view.proposed, 71, "second round: the rest, then the own no-op");
	ok(strcmp(solo_proposed(s, 66), "page 2") == 0 && strcmp(solo_proposed(s, 67), "") == 0 &&
		   strcmp(solo_proposed(s, 70), "page 2") == 0,
	   "values and holes");
	solo_accepted(s, 1, 72);
	solo_accepted(s, 2, 72);
	is(s->view.role, PX_LEADER, "then it leads");
	solo_free(s);
}

static px_bytes
config_value(uint8_t *buf, uint32_t cap, int from, int to)
{
	px_value_writer w;

	px_value_begin(&w, buf, cap, PX_VALUE_CONFIG, 1);
	for (int i = from; i <= to; i++)
		px_value_add_member(&w, (px_node) i, true, "", "");
	return px_value_end(&w);
}

/*
 * "it proposes s + 1 only when a majority of the *new* configuration has
 * answered so; earlier promises do not count for it ⚠ (they may predate values
 * accepted above s)."  The old configuration is {1, 2, 3}, the new {1, 4, 5}.
 * Node 2 holds the configuration at slot 1 and nothing above; nodes 4 and 5
 * have accepted a value at slot 2 since.  Counting the promises of 1 and 2
 * for slot 2 would propose a no-op over it.
 */
static void
test_config_barrier(void)
{
	solo *s = solo_new(3);
	uint8_t buf[512];
	px_value_writer w;
	px_entry e[2];

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 1);
	px_value_add_member(&w, 1, true, "", "");
	px_value_add_member(&w, 4, true, "", "");
	px_value_add_member(&w, 5, true, "", "");
	e[0] = entry(1, B(1, 2), px_value_end(&w));
	e[1] = entry(2, B(1, 2), solo_value(s, 2, 9, "above"));
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, e, 2, 2);
	is(s->view.proposed, 1, "nothing is proposed above a recovered configuration");
	solo_accepted(s, 1, 2);
	is(s->view.chosen, 0, "which the old configuration must choose");
	solo_accepted(s, 2, 2);
	ok(s->view.n_peers == 3 && s->view.peers[1].node == 4 && s->view.peers[2].node == 5,
	   "chosen, the new one governs");
	is(s->view.proposed, 1, "but nothing is proposed above it yet");
	solo_peer(s, 4, true);
	solo_peer(s, 5, true);
	solo_promise(s, 1, NULL, 0, 1);
	is(s->view.proposed, 1, "not by the own promise either");
	solo_promise(s, 4, &e[1], 1, 2);
	ok(s->view.proposed == 3 && strcmp(solo_proposed(s, 2), "above") == 0,
	   "a majority of the new configuration has answered: its values");
	solo_free(s);
}

/* A recovered configuration without this node: somebody else has to go on. */
static void
test_config_without_self(void)
{
	solo *s = solo_new(3);
	uint8_t buf[512];
	px_entry e = entry(1, B(1, 2), config_value(buf, sizeof(buf), 2, 4));

	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, &e, 1, 1);
	solo_accepted(s, 1, 2);
	solo_accepted(s, 2, 2);
	ok(s->view.leaving && s->view.proposed == 1,
	   "a node that is no voter any more proposes nothing");
	s->local.promised = B(9, 2);
	solo_local(s);
	solo_config(s, 1, "2 3 4");
	for (int i = 0; i < 20; i++)
		solo_tick(s, s->params.election_timeout_us);
	is(s->view.role, PX_FOLLOWER, "nor does it stand");
	solo_free(s);
}

/* A promise that cannot be right cuts the connection and counts for nothing. */
static void
test_malformed(void)
{
	solo *s = solo_new(3);
	uint8_t garbage[32] = {1, 2, 3};
	px_entry e = entry(1, B(1, 2), bytes_of(garbage, sizeof(garbage)));

	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, &e, 1, 1);
	ok(s->view.role == PX_CANDIDATE && solo_count(s, PX_DO_RESET_PEER, 2) == 1,
	   "a damaged value is not proposed on");
	e = entry(1, B(1, 2), solo_noop(s, 1));
	solo_promise(s, 3, &e, 1, 0);
	ok(solo_count(s, PX_DO_RESET_PEER, 3) == 1 && s->view.role == PX_FOLLOWER,
	   "nor is a promise that contradicts itself counted");
	solo_free(s);
}

/* "the leader's stamp on each value, never decreasing" */
static void
test_log_time(void)
{
	solo *s = solo_new(3);
	px_entry e = entry(1, B(1, 2), solo_noop(s, 5000000));
	px_value_view v;

	s->wall_us = 1000;
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, &e, 1, 1);
	px_value_open(px_proposer_value(s->p, 2), &v);
	is(v.log_time_us, 0, "a recovered value that is not chosen yet: no stamp to count from");
	solo_accepted(s, 1, 3);
	solo_accepted(s, 2, 3);
	solo_batch(s, "w");
	px_value_open(px_proposer_value(s->p, 3), &v);
	is(v.log_time_us, 5000000, "a slow clock does not take log time back");
	s->wall_us = 5000100;
	s->now += 1000;
	solo_batch(s, "x");
	px_value_open(px_proposer_value(s->p, 4), &v);
	is(v.log_time_us, 5000100, "it goes on with the clock");
	s->wall_us = 900000000;
	s->now += 300;
	solo_batch(s, "z");
	px_value_open(px_proposer_value(s->p, 5), &v);
	is(v.log_time_us, 5000700, "but a clock that leaps ahead takes it only twice the time passed");
	s->local.log_time_us = 9000000;
	solo_local(s);
	solo_batch(s, "y");
	px_value_open(px_proposer_value(s->p, 6), &v);
	is(v.log_time_us, 9000000, "and with what was applied");
	solo_free(s);

	/*
	 * Two leaders have died with slot 1, each stamped with its wall clock, one of
	 * which was a year ahead.  Both are reported, in either order.
	 */
	for (int order = 0; order < 2; order++)
	{
		px_entry ahead, good;

		s = solo_new(3);
		s->wall_us = 6000000;
		ahead = entry(1, B(2, 3), solo_noop(s, 900000000));
		good = entry(1, B(3, 2), solo_noop(s, 5000000));
		s->local.promised = B(3, 2);
		solo_start(s);
		solo_stand(s);
		solo_promise(s, 1, order == 0 ? &ahead : &good, 1, 1);
		solo_promise(s, 2, order == 0 ? &good : &ahead, 1, 1);
		ok(px_value_open(px_proposer_value(s->p, 2), &v) && v.log_time_us < 900000000,
		   "what another leader stamped in vain is nothing to count from (order %d)", order);
		solo_accepted(s, 1, 3);
		solo_accepted(s, 2, 3);
		s->wall_us = 900000000;
		s->now += 300;
		solo_batch(s, "x");
		ok(px_value_open(px_proposer_value(s->p, 3), &v) && v.log_time_us >= 5000000 &&
			   v.log_time_us < 900000000,
		   "what was chosen is (order %d)", order);
		solo_free(s);
	}

	/* the one ahead is proposed, not chosen; a third leader may choose the other */
	s = solo_new(3);
	e = entry(1, B(2, 3), solo_noop(s, 900000000));
	s->wall_us = 6000000;
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 3, &e, 1, 1);
	ok(px_value_open(px_proposer_value(s->p, 2), &v) && v.log_time_us == 0,
	   "nor is a stamp that is only proposed again");
	solo_free(s);

	/* slots are chosen, but this node's learner has applied none of them */
	s = solo_new(3);
	s->wall_us = 900000000;
	s->local.chosen = 3;
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	ok(px_value_open(px_proposer_value(s->p, 4), &v) && v.log_time_us == 0,
	   "nothing applied: no stamp, whatever the wall clock says");
	solo_free(s);

	/* slot 1 is stamped here with a clock far ahead; another leader's is chosen */
	s = solo_new(3);
	s->wall_us = 900000000;
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	ok(px_value_open(px_proposer_value(s->p, 1), &v) && v.log_time_us >= 900000000,
	   "the first stamp of all is the wall clock's");
	solo_accepted_refused(s, 2, PX_REFUSED_BALLOT, B(9, 2));
	s->local.promised = B(9, 2);
	s->local.chosen = 1;
	s->local.applied = 1;
	s->local.log_time_us = 5000;
	solo_local(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	ok(px_value_open(px_proposer_value(s->p, 2), &v) && v.log_time_us < 900000000 &&
		   v.log_time_us >= 5000,
	   "a stamp given in vain is nothing to count from");
	solo_free(s);
}

void
run_tests(void)
{
	test_pg_paxos();
	test_highest_ballot();
	test_chosen_outranks();
	test_holes();
	test_own_acceptor_first();
	test_late_promise();
	test_old_stream_ignored();
	test_paging();
	test_config_barrier();
	test_config_without_self();
	test_malformed();
	test_log_time();
}
