/*
 * t_acceptor.c
 *	  The acceptor: every refusal, the stream, the lease, what is known chosen
 *	  (protocol.md §§ 3.1, 3.3, 4, 9).  Tests of a ⚠ sentence quote it.
 */
#include "unit.h"

#define B(round, node) px_ballot_make(round, node)
#define MS 1000

static px_acceptor a;
static px_acceptor_todo todo;
static px_promise promise;
static px_accepted accepted;
static px_prevote_reply vote;
static px_usec now;

/* Like a server: copy, change the copy, check both, publish. */
static px_refusal
prepare_on(px_ballot ballot, uint64_t stream, px_slot w, px_ballot handover, uint64_t owner)
{
	px_prepare m = {px_ballot_node(ballot), ballot, stream, w, handover};
	px_acceptor copy = a;
	const char *wrong;

	px_acceptor_prepare(&copy, &m, owner, now, &todo, &promise);
	wrong = px_check_acceptor(&copy);
	if (wrong == NULL)
		wrong = px_check_acceptor_step(&a, &copy);
	if (wrong != NULL)
		die(wrong);
	a = copy;
	return promise.refusal;
}

static px_refusal
prepare(px_ballot ballot, uint64_t stream, px_slot w)
{
	return prepare_on(ballot, stream, w, 0, ballot * 100 + stream);
}

static px_accept next_accept; /* lease and so on for the next accept() */

static px_refusal
accept_on(px_ballot ballot, uint64_t stream, px_slot first, int n, px_slot chosen, uint64_t owner)
{
	px_accept m = next_accept;
	px_acceptor copy = a;
	const char *wrong;

	m.from = px_ballot_node(ballot);
	m.ballot = ballot;
	m.stream = stream;
	m.first = first;
	m.n_values = (uint16_t) n;
	m.chosen = chosen;
	m.sent_at = now;
	px_acceptor_accept(&copy, &m, owner, now, 3, 2, &todo, &accepted);
	wrong = px_check_acceptor(&copy);
	if (wrong == NULL)
		wrong = px_check_acceptor_step(&a, &copy);
	if (wrong != NULL)
		die(wrong);
	a = copy;
	return accepted.refusal;
}

static px_refusal
accept(px_ballot ballot, uint64_t stream, px_slot first, int n, px_slot chosen)
{
	return accept_on(ballot, stream, first, n, chosen, ballot * 100 + stream);
}

static px_refusal
prevote(px_node from, px_slot chosen)
{
	px_prevote m = {from, chosen};

	px_acceptor_prevote(&a, &m, now, &vote);
	return vote.refusal;
}

static void
fresh(void)
{
	now = 1000 * MS;
	memset(&next_accept, 0, sizeof(next_accept));
	px_acceptor_init(&a, 0, 0, 0, 0, now);
}

static void
test_promise(void)
{
	fresh();
	is(prepare(B(5, 1), 1, 0), PX_REFUSED_NOT, "a first ballot is promised");
	ok(todo.persist_state && a.promised == B(5, 1) && a.open, "durably, and its stream is open");
	ok(promise.promised == B(5, 1) && promise.stream == 1, "the promise echoes it");
	is(prepare(B(4, 9), 1, 0), PX_REFUSED_BALLOT, "a lower ballot is refused");
	ok(promise.promised == B(5, 1) && !todo.persist_state, "with what stands");
	is(prepare(B(5, 1), 1, 0), PX_REFUSED_STREAM, "the same stream number is refused");
	is(prepare(B(5, 1), 3, 0), PX_REFUSED_NOT, "a higher one opens a new stream");
	ok(!todo.persist_state, "for which nothing has to be flushed");
	is(prepare(B(5, 1), 2, 0), PX_REFUSED_STREAM, "a number skipped is below the highest");
	is(prepare(B(6, 2), 1, 0), PX_REFUSED_NOT, "a higher ballot begins its own numbers");

	fresh();
	px_acceptor_init(&a, B(1, 1), 7, 0, 9, now);
	is(prepare(B(2, 1), 1, 6), PX_REFUSED_TRUNCATED, "refused when truncated above w");
	is(promise.truncated, 7, "and says up to where");
	is(a.promised, B(1, 1), "without promising");
	is(prepare(B(2, 1), 1, 7), PX_REFUSED_NOT, "not when w reaches it");
}

static void
test_accept(void)
{
	fresh();
	is(accept(B(5, 1), 1, 1, 1, 0), PX_REFUSED_STREAM, "nothing is accepted that was not opened");
	prepare(B(5, 1), 1, 0);
	is(accept(B(4, 2), 1, 1, 1, 0), PX_REFUSED_BALLOT, "a lower ballot is not accepted");
	is(accepted.promised, B(5, 1), "and hears of the higher");
	is(accept(B(6, 2), 1, 1, 1, 0), PX_REFUSED_STREAM, "nor a higher one that was never promised");
	is(accept(B(5, 1), 2, 1, 1, 0), PX_REFUSED_STREAM, "nor another stream");
	is(accept_on(B(5, 1), 2, 1, 1, 0, B(5, 1) * 100 + 1), PX_REFUSED_STREAM,
	   "nor on the connection of the open one");
	is(accept_on(B(5, 1), 1, 1, 1, 0, 77), PX_REFUSED_STREAM,
	   "nor the stream on another connection");
	is(accept(B(5, 1), 1, 1, 2, 0), PX_REFUSED_NOT, "the open stream is");
	ok(todo.skip == 0 && todo.store == 2 && accepted.first == 1 && accepted.next == 3,
	   "stored, and the position moves");
	ok(accepted.applied == 3 && accepted.durable == 2, "the answer carries this node's watermarks");
	is(accept(B(5, 1), 1, 4, 1, 0), PX_REFUSED_POSITION, "a hole is refused");
	is(accepted.next, 3, "and the expected slot told");
	is(accept(B(5, 1), 1, 2, 1, 0), PX_REFUSED_POSITION, "a step back too");
	is(accept(B(5, 1), 1, 3, 0, 0), PX_REFUSED_NOT, "a heartbeat stands at the next slot");
	is(accepted.next, 3, "and moves nothing");
	is(a.chosen, 0, "nothing is chosen that nobody said");
	is(accept(B(5, 1), 1, 3, 1, 2), PX_REFUSED_NOT, "the next value says what is chosen");
	is(a.chosen, 2, "and that is known");
	accept(B(5, 1), 1, 4, 0, 9);
	is(a.chosen, 3, "but never beyond what was received");
	accept(B(5, 1), 1, 4, 1, 9);
	is(a.chosen, 4, "until it is");

	/* slots that need not be written */
	fresh();
	px_acceptor_init(&a, B(1, 1), 4, 0, 6, now);
	prepare(B(2, 1), 1, 4);
	is(accept(B(2, 1), 1, 5, 3, 6), PX_REFUSED_NOT, "slots at or below truncated are acknowledged");
	ok(todo.skip == 2 && todo.store == 1 && accepted.next == 8,
	   "not stored, nor those known chosen");
}

/*
 * "the first Accept after a Promise sets the position itself ⚠ (above w and at
 * most one above the `chosen` it carries)".  The leader's watermark has moved
 * on since Prepare; it keeps only what is not yet chosen.  A position further
 * up would hide slots 3 and 4, which may never be chosen and so could never be
 * fetched.
 */
static void
test_first_position(void)
{
	fresh();
	prepare(B(5, 1), 1, 2);
	is(accept(B(5, 1), 1, 2, 1, 2), PX_REFUSED_POSITION, "a first slot at w is refused");
	is(accept(B(5, 1), 1, 5, 1, 2), PX_REFUSED_POSITION, "one above chosen + 1 too");
	ok(!a.positioned, "and sets no position");
	is(accept(B(5, 1), 1, 5, 1, 4), PX_REFUSED_NOT, "one at chosen + 1 is taken, wherever w was");
	ok(accepted.first == 5 && accepted.next == 6, "and sets the position");
}

/*
 * "Knowledge of chosen through a stream is trusted only for slots received in
 * that stream".  Slot 1 holds a stale value of ballot 1.2 here; the stream of
 * 5.1 begins at 2, because 1 is chosen elsewhere.  Were chosen = 2 believed for
 * slot 1, the stale value would be applied.
 */
static void
test_gap(void)
{
	px_slot from = 0;
	px_slot to = 0;

	fresh();
	prepare(B(1, 2), 1, 0);
	accept(B(1, 2), 1, 1, 1, 0);
	prepare(B(5, 1), 1, 1);
	ok(px_acceptor_gap(&a, &from, &to) && from == 1 && to == 1, "below w there is a gap at once");
	accept(B(5, 1), 1, 2, 2, 3);
	is(a.chosen, 0, "a stale entry below the stream is not believed chosen");
	ok(px_acceptor_gap(&a, &from, &to) && from == 1 && to == 1, "the gap is what is to be fetched");
	px_acceptor_fetched(&a, 1, 1);
	is(a.chosen, 3, "fetched, and what the stream told counts");
	ok(!px_acceptor_gap(&a, &from, &to), "no gap is left");
}

/*
 * The same ballot's next stream: what was received before is known chosen up
 * to its w, for a leader proposes one value per slot and ballot.  After a
 * restart that is forgotten, and is a gap.
 */
static void
test_reopening(void)
{
	fresh();
	prepare(B(5, 1), 1, 0);
	accept(B(5, 1), 1, 1, 3, 0);
	px_acceptor_closed(&a, B(5, 1) * 100 + 1, now);
	prepare(B(5, 1), 2, 2);
	is(a.chosen, 2, "received in this ballot and at or below w: chosen");

	fresh();
	prepare(B(4, 2), 1, 0);
	accept(B(4, 2), 1, 1, 3, 0);
	prepare(B(5, 1), 1, 2);
	is(a.chosen, 0, "received in another ballot: not");

	/* two former streams of one ballot, then another ballot */
	fresh();
	prepare(B(4, 2), 1, 0);
	accept(B(4, 2), 1, 1, 3, 0);
	prepare(B(4, 2), 2, 0);
	accept(B(4, 2), 2, 4, 1, 3);
	is(a.chosen, 3, "what former streams of the ballot brought is known chosen when it is told");
	fresh();
	prepare(B(4, 2), 1, 0);
	accept(B(4, 2), 1, 1, 3, 0);
	prepare(B(4, 2), 2, 0);
	prepare(B(5, 1), 1, 2);
	accept(B(5, 1), 1, 4, 1, 4);
	is(a.chosen, 0, "what former streams of another ballot brought is not");
}

/*
 * "A backend that ends closes the stream and the lease only if (ballot,
 * stream) is still its own": one that dies late, after the leader has
 * reconnected, must not close the new stream.
 */
static void
test_closed(void)
{
	fresh();
	prepare_on(B(5, 1), 1, 0, 0, 11);
	prepare_on(B(5, 1), 2, 0, 0, 12);
	px_acceptor_closed(&a, 11, now);
	ok(a.open && a.lost_at == 0, "an old connection's end closes nothing");
	px_acceptor_closed(&a, 12, now);
	ok(!a.open && a.lost_at == now, "the own connection's does");
	is(accept_on(B(5, 1), 2, 1, 1, 0, 12), PX_REFUSED_STREAM, "then nothing is accepted");
	prepare_on(B(5, 1), 3, 0, 0, 13);
	is(a.lost_at, 0, "until it is opened again");
}

static void
test_learn(void)
{
	fresh();
	prepare(B(5, 1), 1, 0);
	accept(B(5, 1), 1, 1, 2, 0);
	px_acceptor_learn(&a, B(4, 1), 2);
	is(a.chosen, 0, "another ballot's knowledge is not applied to this stream");
	px_acceptor_learn(&a, B(5, 1), 1);
	is(a.chosen, 1, "the own proposer's is");
	px_acceptor_learn(&a, B(5, 1), 9);
	is(a.chosen, 2, "for what was received");
}

/* What an Accept tells of former slots may be heard before its values are stored. */
static void
test_news(void)
{
	px_accept m = {0};

	fresh();
	prepare_on(B(5, 1), 2, 0, 0, 11);
	accept_on(B(5, 1), 2, 1, 2, 0, 11);
	m.from = 1;
	m.ballot = B(5, 1);
	m.stream = 2;
	m.first = 3;
	m.n_values = 1;
	m.chosen = 9;
	m.read.incarnation = 1;
	m.read.seq = 4;
	px_acceptor_news(&a, &m, 12);
	is(a.chosen, 0, "not from another connection");
	m.stream = 1;
	px_acceptor_news(&a, &m, 11);
	is(a.chosen, 0, "nor of another stream");
	m.stream = 2;
	m.ballot = B(4, 1);
	px_acceptor_news(&a, &m, 11);
	ok(a.chosen == 0 && a.read.seq == 0, "nor of another ballot");
	m.ballot = B(5, 1);
	px_acceptor_news(&a, &m, 11);
	is(a.chosen, 2, "chosen is heard for what was received before, and not beyond");
	ok(a.read.seq == 4 && a.next == 3, "and a read answer; the position does not move");
}

static void
test_lease(void)
{
	fresh();
	prepare_on(B(5, 1), 1, 0, 0, 11);
	next_accept.lease_us = 500 * MS;
	accept_on(B(5, 1), 1, 1, 1, 0, 11);
	is(prevote(2, 9), PX_REFUSED_LEASE, "PreVote: no while a lease stands");
	is(prevote(1, 9), PX_REFUSED_NOT, "but not to its holder");
	is(prepare(B(6, 2), 1, 0), PX_REFUSED_LEASE, "Prepare of another leader: no");
	is(prepare_on(B(6, 2), 1, 0, B(4, 1), 20), PX_REFUSED_LEASE,
	   "nor with the hand-over of a ballot that is over");
	is(prepare_on(B(6, 2), 1, 0, B(5, 1), 20), PX_REFUSED_NOT,
	   "with the holder's own hand-over: yes");

	fresh();
	prepare_on(B(5, 1), 1, 0, 0, 11);
	next_accept.lease_us = 500 * MS;
	accept_on(B(5, 1), 1, 1, 1, 0, 11);
	now += 500 * MS;
	is(prevote(2, 9), PX_REFUSED_NOT, "a lease runs out");
	accept_on(B(5, 1), 1, 2, 0, 0, 11);
	is(prevote(2, 9), PX_REFUSED_LEASE, "and is renewed by every Accept");
	next_accept.lease_us = 0;
	accept_on(B(5, 1), 1, 2, 0, 0, 11);
	is(prevote(2, 9), PX_REFUSED_NOT, "or withdrawn");
	next_accept.lease_us = 500 * MS;
	accept_on(B(5, 1), 1, 2, 0, 0, 11);
	px_acceptor_closed(&a, 11, now);
	is(prevote(2, 9), PX_REFUSED_NOT, "not readable, it ends with the connection");

	/* "A lease granted as readable always runs out first." */
	prepare_on(B(5, 1), 2, 0, 0, 12);
	next_accept.lease_readable = true;
	accept_on(B(5, 1), 2, 1, 0, 0, 12);
	ok(todo.persist_state && a.longest_lease_us == 500 * MS,
	   "a readable lease is durable before it is granted");
	ok(accepted.lease_readable && accepted.lease_us == 500 * MS, "and answered as asked for");
	px_acceptor_closed(&a, 12, now);
	is(prevote(2, 9), PX_REFUSED_LEASE, "readable, it does not end with the connection");
	is(prepare(B(7, 3), 1, 0), PX_REFUSED_LEASE, "for nobody");
	now += 500 * MS;
	is(prevote(2, 9), PX_REFUSED_NOT, "but by time");
}

/*
 * "the acceptor that takes it grants exactly that ⚠ (never what its own
 * settings ... say)": the leader counts 300 ms from its own message.  A
 * shorter message does not end a readable lease that it may still count.
 */
static void
test_lease_exact(void)
{
	fresh();
	prepare(B(5, 1), 1, 0);
	next_accept.lease_us = 300 * MS;
	next_accept.lease_readable = true;
	accept(B(5, 1), 1, 1, 0, 0);
	is(a.lease_until, now + 300 * MS, "exactly what the message carries");
	now += 10 * MS;
	next_accept.lease_us = 100 * MS;
	accept(B(5, 1), 1, 1, 0, 0);
	is(a.lease_until, now + 290 * MS, "a readable lease is not cut short by a shorter one");
	now += 250 * MS;
	next_accept.lease_readable = false;
	accept(B(5, 1), 1, 1, 0, 0);
	is(a.lease_until, now + 100 * MS, "it is prolonged by a later one");
	now += 150 * MS;
	accept(B(5, 1), 1, 1, 0, 0);
	ok(!a.lease_readable && a.lease_until == now + 100 * MS, "what has run out does not linger");

	/* "A lease is over when its holder stands again": nobody counts it any more. */
	next_accept.lease_us = 300 * MS;
	next_accept.lease_readable = true;
	accept(B(5, 1), 1, 1, 0, 0);
	is(prepare(B(6, 1), 1, 0), PX_REFUSED_NOT, "the holder stands again");
	is(prevote(2, 9), PX_REFUSED_LEASE, "its lease keeps others out until it asks for the next");
	next_accept.lease_us = 100 * MS;
	accept(B(6, 1), 1, 1, 0, 0);
	is(a.lease_until, now + 100 * MS, "which may be shorter");
}

/*
 * "for the longest readable lease it ever granted, after its start, refuse
 * every ballot but the one already promised": the crash has wiped the lease
 * that the leader still counts.
 */
static void
test_restart(void)
{
	fresh();
	px_acceptor_init(&a, B(5, 1), 0, 500 * MS, 0, now);
	is(prevote(2, 9), PX_REFUSED_RESTART, "PreVote right after a start: no");
	is(prepare(B(6, 2), 1, 0), PX_REFUSED_RESTART, "another ballot: no");
	is(prepare(B(5, 1), 4, 0), PX_REFUSED_NOT, "the promised one: yes");
	now += 500 * MS;
	is(prevote(2, 9), PX_REFUSED_NOT, "after the longest lease: yes");
	is(prepare(B(6, 2), 1, 0), PX_REFUSED_NOT, "for other ballots too");

	fresh();
	px_acceptor_init(&a, B(5, 1), 0, 0, 0, now);
	is(prepare(B(6, 2), 1, 0), PX_REFUSED_NOT, "who never granted one needs not wait");
}

static void
test_prevote_truncated(void)
{
	fresh();
	px_acceptor_init(&a, B(1, 1), 7, 0, 9, now);
	is(prevote(2, 6), PX_REFUSED_TRUNCATED,
	   "PreVote: no when truncated past the candidate's chosen");
	ok(vote.chosen == 9 && vote.truncated == 7 && vote.promised == B(1, 1),
	   "and what is known here");
	is(prevote(2, 7), PX_REFUSED_NOT, "else yes");
	ok(a.promised == B(1, 1), "no ballot is raised by it");
}

static void
test_handover(void)
{
	px_handover m = {1, 3, B(5, 1)};

	fresh();
	prepare(B(5, 1), 1, 0);
	ok(!px_acceptor_handover(&a, &m, 2, now), "a hand-over to another node is not taken");
	ok(px_acceptor_handover(&a, &m, 3, now) && a.handover == B(5, 1), "the own is");
	prepare(B(6, 2), 1, 0);
	is(a.handover, 0, "it is over when another ballot is promised");
	ok(!px_acceptor_handover(&a, &m, 3, now), "and is not taken from an old leader");
}

/*
 * Invariant 2: "promised never falls, across restarts too", and nothing is
 * answered before it is durable.  If the flush fails the copy is thrown away,
 * and the old state must be whole.
 */
static void
test_persist_then_speak(void)
{
	px_prepare m = {2, B(6, 2), 1, 0, 0};
	px_acceptor copy;

	fresh();
	prepare(B(5, 1), 1, 0);
	accept(B(5, 1), 1, 1, 1, 0);
	copy = a;
	px_acceptor_prepare(&copy, &m, 99, now, &todo, &promise);
	ok(todo.persist_state, "a promise wants to be durable first");
	is(accept(B(5, 1), 1, 2, 1, 0), PX_REFUSED_NOT, "a copy thrown away has changed nothing");

	px_acceptor_init(&a, B(6, 2), 0, 0, 0, now);
	is(prepare(B(5, 1), 9, 0), PX_REFUSED_BALLOT, "a promise holds across a restart");
	is(accept(B(5, 1), 1, 2, 1, 0), PX_REFUSED_BALLOT, "also for what would be accepted");
}

static void
test_read_and_truncatable(void)
{
	fresh();
	prepare(B(5, 1), 1, 0);
	next_accept.truncatable = 4;
	next_accept.read.incarnation = 2;
	next_accept.read.seq = 7;
	next_accept.read.index = 30;
	accept(B(5, 1), 1, 1, 0, 0);
	ok(a.read.seq == 7 && a.read.index == 30 && a.truncatable == 4, "carried along");
	next_accept.read.seq = 6;
	next_accept.read.index = 20;
	accept(B(5, 1), 1, 1, 0, 0);
	is(a.read.index, 30, "an older answer does not replace a newer");
	next_accept.read.incarnation = 3;
	next_accept.read.seq = 1;
	accept(B(5, 1), 1, 1, 0, 0);
	is(a.read.index, 20, "that of a newer life does");
}

static void
truncate_above_chosen(void *arg)
{
	(void) arg;
	px_acceptor_truncate(&a, 5);
}

static void
fetch_above_gap(void *arg)
{
	(void) arg;
	px_acceptor_fetched(&a, 5, 6);
}

static void
test_asserted(void)
{
	fresh();
	ok(assertion_of(truncate_above_chosen, NULL) != NULL, "asserted: truncated <= chosen");
	ok(assertion_of(fetch_above_gap, NULL) != NULL, "asserted: fetched entries leave no hole");
}

void
run_tests(void)
{
	test_promise();
	test_accept();
	test_first_position();
	test_gap();
	test_reopening();
	test_closed();
	test_learn();
	test_news();
	test_lease();
	test_lease_exact();
	test_restart();
	test_prevote_truncated();
	test_handover();
	test_persist_then_speak();
	test_read_and_truncatable();
	test_asserted();
}
