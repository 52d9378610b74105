/*
 * t_stream.c
 *	  Streaming values and counting what is chosen (protocol.md § 4).  Tests of
 *	  a ⚠ sentence quote it.
 */
#include "px_proposer_int.h"
#include "solo.h"

#define B(round, node) px_ballot_make(round, node)

static const px_accept *
sent(const solo *s, px_node to, int i)
{
	const px_action *a = solo_action(s, PX_DO_SEND_ACCEPT, to, i);

	return a == NULL ? NULL : &a->u.accept;
}

static void
test_chosen(void)
{
	solo *s = solo_new(5);
	px_slot base;
	const px_accept *m;

	solo_start(s);
	solo_lead(s);
	solo_promise(s, 4, NULL, 0, 0);
	solo_promise(s, 5, NULL, 0, 0);
	base = s->view.chosen;
	solo_batch(s, "a");
	m = sent(s, 3, 0);
	ok(m != NULL && m->n_values == 1 && m->first == base + 1, "a value goes to everybody at once");
	solo_accepted(s, 2, base + 2);
	solo_accepted(s, 3, base + 2);
	is(s->view.chosen, base, "two of five are no majority");
	solo_accepted(s, 4, base + 2);
	is(s->view.chosen, base + 1, "three are; the own acceptor counts like any other");
	ok(s->up.actions[0].kind == PX_DO_PUBLISH && s->up.actions[0].u.publish.chosen == base + 1,
	   "the own node is told first");
	m = sent(s, 3, 0);
	ok(m != NULL && m->n_values == 0 && m->chosen == base + 1, "then the others, at once");
	ok(sent(s, 1, 0) == NULL, "but not the own acceptor, which knows");
	solo_free(s);
}

/* Chosen rides on the next value if there is one. */
static void
test_chosen_rides(void)
{
	solo *s = solo_new(3);
	px_slot base;
	const px_accept *m;

	s->params.pipeline_depth = 1;
	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	solo_batch(s, "b");
	is(s->view.intake, 1, "while the pipeline is full batches wait");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	m = sent(s, 2, 0);
	ok(m != NULL && m->n_values == 1 && m->first == base + 2 && m->chosen == base + 1 &&
		   sent(s, 2, 1) == NULL,
	   "the next value carries what is chosen, in one message");
	solo_free(s);
}

/*
 * "a peer counts for slot i if first ≤ i < next of its open stream ⚠".  Slot 4
 * is in flight; a peer whose stream begins at 5 has said next = 9 and may have
 * anything at 4.
 */
static void
test_first_counts(void)
{
	solo *s = solo_new(3);
	px_peer peer;
	px_accepted m;
	px_event ev;
	px_slot base;

	solo_start(s);
	memset(&peer, 0, sizeof(peer));
	peer.open = true;
	peer.first = 5;
	peer.next = 9;
	ok(!px_stream_counts(s->p, &peer, 4),
	   "a stream that begins above a slot does not count for it");
	ok(px_stream_counts(s->p, &peer, 5) && px_stream_counts(s->p, &peer, 8),
	   "it counts from its first slot");
	ok(!px_stream_counts(s->p, &peer, 9), "up to the one before next");
	peer.open = false;
	ok(!px_stream_counts(s->p, &peer, 5), "while it is open");

	/* nor is an answer believed that says it began elsewhere than it did */
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	solo_accepted(s, 1, base + 2);
	memset(&m, 0, sizeof(m));
	m.ballot = s->view.ballot;
	m.promised = m.ballot;
	m.stream = s->view.peers[1].stream;
	m.first = base + 2;
	m.next = base + 2;
	m.sent_at = 1;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_ACCEPTED;
	ev.node = 2;
	ev.u.accepted = &m;
	solo_step(s, &ev);
	ok(s->view.chosen == base && solo_count(s, PX_DO_RESET_PEER, 2) == 1,
	   "an answer with another first slot cuts the connection");
	solo_free(s);
}

/*
 * A stream opened again counts from nothing; what its promise reports in this
 * very ballot counts, what it reports in another does not.
 */
static void
test_reopened_counts_anew(void)
{
	solo *s = solo_new(5);
	px_slot base;
	px_entry e;

	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	solo_peer(s, 2, false);
	solo_accepted(s, 3, base + 2);
	is(s->view.chosen, base, "a stream that is closed counts no more");
	solo_peer(s, 2, true);
	e.slot = base + 1;
	e.ballot = B(1, 3);
	e.chosen = false;
	e.value = solo_noop(s, 1);
	solo_promise(s, 2, &e, 1, base + 1);
	is(s->view.chosen, base, "a report of another ballot counts nothing");
	solo_peer(s, 2, false);
	solo_peer(s, 2, true);
	e.ballot = s->view.ballot;
	solo_promise(s, 2, &e, 1, base + 1);
	is(s->view.chosen, base + 1, "one of this very ballot counts");
	solo_free(s);
}

static void
test_old_answers(void)
{
	solo *s = solo_new(3);
	px_accepted m;
	px_event ev;
	px_slot base;

	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	solo_accepted(s, 1, base + 2);
	memset(&m, 0, sizeof(m));
	m.ballot = s->view.ballot;
	m.promised = m.ballot;
	m.stream = s->view.peers[1].stream;
	m.first = 1;
	m.next = base + 2;
	m.sent_at = 1;
	solo_peer(s, 2, false);
	solo_peer(s, 2, true);
	solo_promise(s, 2, NULL, 0, base);
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_ACCEPTED;
	ev.node = 2;
	ev.u.accepted = &m;
	solo_step(s, &ev);
	is(s->view.chosen, base, "an answer of an old stream number is ignored");
	solo_free(s);
}

/* A refusal reopens with the next number, a higher ballot ends leadership. */
static void
test_refusals(void)
{
	solo *s = solo_new(3);
	uint64_t stream;
	px_ballot ballot;
	px_slot base;

	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	stream = s->view.peers[1].stream;
	solo_batch(s, "a");
	solo_accepted_refused(s, 2, PX_REFUSED_POSITION, s->view.ballot);
	ok(solo_count(s, PX_DO_SEND_PREPARE, 2) == 1 && s->view.peers[1].stream > stream,
	   "refused for its position a stream is opened again, with the next number");
	solo_promise(s, 2, NULL, 0, 0);
	{
		const px_accept *m = sent(s, 2, 0);

		ok(m != NULL && m->first + m->n_values == base + 2,
		   "and goes on with all that was proposed");
	}
	ballot = s->view.ballot;
	solo_accepted_refused(s, 2, PX_REFUSED_BALLOT, B(9, 2));
	is(s->view.role, PX_FOLLOWER, "a higher ballot ends leadership");
	is(s->view.highest_seen, B(9, 2), "and is remembered");
	solo_stand(s);
	ok(s->view.ballot > B(9, 2) && s->view.ballot > ballot, "the next own ballot lies above it");
	solo_free(s);
}

/*
 * A stream is opened where the peer's knowledge ends, as far as values are
 * kept, and not below what the peer has truncated.
 */
static void
test_opening(void)
{
	solo *s = solo_new(3);
	px_slot base;
	px_accepted m;
	px_event ev;
	const px_action *a;

	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	for (int i = 0; i < 3; i++)
	{
		solo_batch(s, "a");
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	is(s->view.chosen, base + 3, "three are chosen");
	solo_peer(s, 3, false);
	solo_peer(s, 3, true);
	a = solo_must(s, PX_DO_SEND_PREPARE, 3, 0);
	is(a->u.prepare.w, 0, "a late peer is opened below chosen while values are kept");
	solo_promise(s, 3, NULL, 0, 0);
	ok(sent(s, 3, 0) != NULL && sent(s, 3, 0)->first == 1 && sent(s, 3, 0)->n_values == base + 3,
	   "and gets them: nobody needs to be asked for a fetch");
	solo_accepted(s, 3, base + 4);

	memset(&m, 0, sizeof(m));
	m.ballot = s->view.ballot;
	m.promised = m.ballot;
	m.stream = s->view.peers[2].stream;
	m.first = 1;
	m.next = base + 4;
	m.truncated = 2;
	m.sent_at = 1;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_ACCEPTED;
	ev.node = 3;
	ev.u.accepted = &m;
	solo_step(s, &ev);
	solo_peer(s, 3, false);
	solo_peer(s, 3, true);
	a = solo_must(s, PX_DO_SEND_PREPARE, 3, 0);
	is(a->u.prepare.w, 2, "not below what it has truncated");
	solo_free(s);
}

/*
 * Nothing waits but what its origin has superseded, and nothing took its place,
 * for want of room: no value is begun, for its buffer holds one that is chosen
 * and must go to a late peer as it was.
 */
static void
test_superseded_only(void)
{
	solo *s = solo_new(3);
	px_slot slot;
	px_bytes was;
	uint8_t copy[1024];
	const px_accept *m;

	s->params.pipeline_depth = 1;
	s->params.max_batch_bytes = 512;
	s->params.max_value_bytes = 512 + PX_VALUE_HEADER_BYTES;
	s->params.intake_bytes = 512;
	solo_start(s);
	solo_lead(s);
	for (int i = 1; i <= PX_MAX_WINDOW; i++)
	{
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
		solo_forward(s, 3, 1, i == 1, (uint64_t) i, 1);
	}
	slot = s->view.proposed + 1 - PX_MAX_WINDOW;
	was = px_proposer_value(s->p, slot);
	memcpy(copy, was.data, was.len);
	was.data = copy;
	for (int i = 1; i <= 100; i++)
		solo_forward(s, 2, 1, i == 1, (uint64_t) i, 1);
	ok(s->view.intake > 5, "the intake is full");
	solo_forward(s, 2, 1, true, 1, 1);
	solo_tick(s, 1000); /* another stamp */
	solo_accepted(s, 1, s->view.proposed + 1);
	solo_accepted(s, 2, s->view.proposed + 1);
	is(s->view.proposed, slot + PX_MAX_WINDOW - 1, "only what was superseded waits: no value");
	is(s->view.intake, 0, "and then nothing does");
	solo_peer(s, 3, false);
	solo_peer(s, 3, true);
	is(solo_must(s, PX_DO_SEND_PREPARE, 3, 0)->u.prepare.w, slot - 1, "the whole window is kept");
	solo_promise(s, 3, NULL, 0, 0);
	m = sent(s, 3, 0);
	ok(m != NULL && m->first == slot && m->n_values > 0 &&
		   px_proposer_value(s->p, slot).len == was.len &&
		   memcmp(px_proposer_value(s->p, slot).data, was.data, was.len) == 0,
	   "and the oldest value goes to a late peer as it was");
	solo_free(s);
}

/*
 * All have lost what they knew to be chosen (servers crashed before they had
 * applied it) and the values are no longer kept: nobody could fill anybody's
 * gap, so this ballot ends and the next one recovers from what the logs know.
 */
static void
test_blind(void)
{
	solo *s = solo_new(3);

	s->params.outbox_depth = 64;
	solo_start(s);
	solo_lead(s);
	for (int i = 0; i < 2 * PX_MAX_WINDOW; i++)
	{
		solo_forward(s, 2, 1, false, (uint64_t) i + 1, 1);
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	is(s->view.in_flight, 0, "all is chosen");
	for (px_node node = 1; node <= 3; node++)
	{
		px_promise m;
		px_event ev;
		const px_action *a;

		solo_peer(s, node, false);
		solo_peer(s, node, true);
		a = solo_must(s, PX_DO_SEND_PREPARE, node, 0);
		memset(&m, 0, sizeof(m));
		m.ballot = s->view.ballot;
		m.promised = m.ballot;
		m.stream = a->u.prepare.stream;
		m.w = a->u.prepare.w;
		m.last = s->view.chosen;
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_PROMISE;
		ev.node = node;
		ev.u.promise = &m;
		ok(m.w > 1, "n%u is opened as low as values are kept", (unsigned) node);
		solo_step(s, &ev);
	}
	for (int i = 0; i < 40 && s->view.role == PX_LEADER; i++)
	{
		for (px_node node = 1; node <= 3 && s->view.role == PX_LEADER; node++)
			solo_accepted(s, node, s->view.proposed + 1);
		if (s->view.role == PX_LEADER)
			solo_tick(s, s->params.heartbeat_us);
	}
	/* solo_accepted reports applied = chosen, which fills the gap */
	is(s->view.role, PX_LEADER, "while a member has applied it, leadership goes on");
	solo_free(s);

	s = solo_new(3);
	solo_start(s);
	solo_lead(s);
	for (int i = 0; i < 2 * PX_MAX_WINDOW; i++)
	{
		solo_forward(s, 2, 1, false, (uint64_t) i + 1, 1);
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	for (int i = 0; i < 100 && s->view.role == PX_LEADER; i++)
	{
		for (px_node node = 1; node <= 3; node++)
		{
			px_accepted m;
			px_promise pm;
			px_event ev;
			const px_peer_view *peer = &s->view.peers[node - 1];

			memset(&ev, 0, sizeof(ev));
			ev.node = node;
			if (i == 0)
			{
				const px_action *a;

				solo_peer(s, node, false);
				solo_peer(s, node, true);
				a = solo_must(s, PX_DO_SEND_PREPARE, node, 0);
				memset(&pm, 0, sizeof(pm));
				pm.ballot = s->view.ballot;
				pm.promised = pm.ballot;
				pm.stream = a->u.prepare.stream;
				pm.w = a->u.prepare.w;
				pm.last = s->view.chosen;
				ev.kind = PX_EV_PROMISE;
				ev.u.promise = &pm;
				solo_step(s, &ev);
				continue;
			}
			if (s->view.role != PX_LEADER)
				break;
			memset(&m, 0, sizeof(m));
			m.ballot = s->view.ballot;
			m.promised = m.ballot;
			m.stream = peer->stream;
			m.first = s->view.chosen - PX_MAX_WINDOW + 1;
			m.next = s->view.proposed + 1;
			m.sent_at = 1;
			ev.kind = PX_EV_ACCEPTED;
			ev.u.accepted = &m;
			solo_step(s, &ev);
		}
		if (s->view.role == PX_LEADER)
			solo_tick(s, s->params.heartbeat_us);
	}
	ok(s->view.role == PX_FOLLOWER && strstr(px_proposer_reason(s->p), "nobody knows") != NULL,
	   "when nobody has, the leader steps down");
	solo_free(s);
}

/* A peer that answers what it was not sent is cut. */
static void
test_nonsense(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_lead(s);
	solo_batch(s, "a");
	solo_accepted(s, 2, s->view.proposed + 5);
	ok(solo_count(s, PX_DO_RESET_PEER, 2) == 1 && s->view.in_flight == 1,
	   "an answer beyond what was sent cuts the connection and counts nothing");
	solo_free(s);
}

static void
test_silence(void)
{
	solo *s = solo_new(3);
	int cuts = 0;

	solo_start(s);
	solo_lead(s);
	solo_promise(s, 3, NULL, 0, 0);
	for (int i = 0; i < 50; i++)
	{
		solo_tick(s, s->params.heartbeat_us);
		cuts += solo_count(s, PX_DO_RESET_PEER, 3);
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	ok(s->view.role == PX_LEADER && cuts == 1, "a peer that never answers is cut");
	solo_free(s);
}

static void
test_heartbeat(void)
{
	solo *s = solo_new(3);
	px_usec last;

	solo_start(s);
	solo_lead(s);
	solo_tick(s, 1000);
	is(solo_count(s, PX_DO_SEND_ACCEPT, 0), 0, "an idle leader says nothing before it is time");
	solo_tick(s, s->params.heartbeat_us);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 0) == 2 && sent(s, 2, 0)->n_values == 0,
	   "then a heartbeat to all at once");
	ok(s->up.wake_at > s->now && s->up.wake_at <= s->now + s->params.heartbeat_us,
	   "and the next is due an interval later");
	last = sent(s, 2, 0)->sent_at;
	ok(sent(s, 2, 0)->lease_us == s->params.lease_us, "it asks for the lease of the settings");
	ok(sent(s, 1, 0)->sent_at != last, "sent_at never repeats");
	solo_free(s);
}

/* A further slot is begun a gap after the last; one at a time at once. */
static void
test_pipeline_gap(void)
{
	solo *s = solo_new(3);
	px_slot base;
	px_value_view v;

	s->params.pipeline_gap_us = 1000;
	solo_start(s);
	solo_lead(s);
	s->now += 5000;
	base = s->view.proposed;
	is(px_proposer_gathers_until(s->p), 0, "with nothing in flight a command is of use at once");
	solo_batch(s, "a");
	is(s->view.proposed, base + 1, "with nothing in flight a slot is begun at once");
	is(px_proposer_gathers_until(s->p), s->now + 1000, "others need not hurry then");
	solo_batch(s, "b");
	solo_batch(s, "c");
	is(s->view.proposed, base + 1, "a further one is not");
	ok(s->up.wake_at == s->now + 1000, "but when the gap is over");
	solo_tick(s, 1000);
	ok(s->view.proposed == base + 2 && px_value_open(px_proposer_value(s->p, base + 2), &v) &&
		   v.count == 2,
	   "with all that has come meanwhile");
	solo_batch(s, "d");
	solo_accepted(s, 1, base + 3);
	solo_accepted(s, 2, base + 3);
	is(s->view.proposed, base + 3, "or when nothing is in flight any more");
	solo_free(s);
}

/* Write sets, each alone in its slot, gather too: they share a message and its flush. */
static void
test_alone_together(void)
{
	solo *s = solo_new(3);
	px_slot base;
	px_value_view v;

	s->params.pipeline_gap_us = 1000;
	solo_start(s);
	solo_lead(s);
	s->now += 5000;
	base = s->view.proposed;
	solo_batch(s, "a");
	for (int i = 0; i < 3; i++)
	{
		uint64_t sequence;
		px_batch_writer *w = px_proposer_batch(s->p, &sequence);

		ok(px_batch_add(w, 1, sequence, "set", 3), "a set");
		px_batch_alone(w);
		solo_event(s, PX_EV_BATCH, 0);
	}
	is(s->view.proposed, base + 1, "they wait while a slot is in flight");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	is(s->view.proposed, base + 4, "then each has a slot");
	ok(sent(s, 2, 0)->n_values == 3 && solo_count(s, PX_DO_SEND_ACCEPT, 2) == 1,
	   "and all of them go in one message");
	ok(px_value_open(px_proposer_value(s->p, base + 3), &v) && v.count == 1, "alone in its slot");
	solo_free(s);
}

/* Who waits for a slot hears at once that it is chosen; the others a moment later. */
static void
test_tell_delay(void)
{
	solo *s = solo_new(3);
	px_slot base;

	s->params.tell_delay_us = 1000;
	solo_start(s);
	solo_lead(s);
	solo_promise(s, 3, NULL, 0, 0);
	s->now += 5000;
	solo_tick(s, 1000);
	base = s->view.proposed;
	solo_batch(s, "a");
	solo_accepted(s, 1, base + 2);
	is(solo_count(s, PX_DO_SEND_ACCEPT, 0), 0, "one answer is no majority");
	solo_accepted(s, 2, base + 2);
	ok(s->view.chosen == base + 1 && solo_count(s, PX_DO_SEND_ACCEPT, 0) == 0,
	   "members without a batch in the slot need not hear at once that it is chosen");
	ok(s->up.wake_at == s->now + 1000, "but after the delay");
	solo_tick(s, 1000);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 2) == 1 && solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 &&
		   sent(s, 2, 0)->chosen == base + 1,
	   "then both are told");
	solo_forward(s, 3, 1, true, 1, 1);
	solo_accepted(s, 1, base + 3);
	solo_accepted(s, 3, base + 3);
	ok(s->view.chosen == base + 2 && solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 &&
		   sent(s, 3, 0)->chosen == base + 2 && solo_count(s, PX_DO_SEND_ACCEPT, 2) == 0,
	   "whose batch is chosen is told at once, and nobody else");
	solo_free(s);
}

/* A thrifty leader asks a majority first, and everybody when that is slow. */
static void
test_thrifty(void)
{
	solo *s = solo_new(3);
	px_slot base;

	s->params.tell_delay_us = 5000;
	s->params.thrifty = true;
	solo_start(s);
	solo_lead(s);
	solo_promise(s, 3, NULL, 0, 0);
	s->now += 6000;
	solo_tick(s, 1000);
	solo_accepted(s, 1, s->view.proposed + 1);
	solo_accepted(s, 2, s->view.proposed + 1);
	solo_accepted(s, 3, s->view.proposed + 1);
	base = s->view.proposed;

	solo_batch(s, "a");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 0), 2, "a value goes to a majority at once");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 1), 1, "the own acceptor in it");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	is(s->view.chosen, base + 1, "and is chosen by it");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 3), 0, "the third is left alone");
	solo_tick(s, 5000);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 && sent(s, 3, 0)->n_values == 1 &&
		   sent(s, 3, 0)->chosen == base + 1,
	   "until it is told of value and choice together");
	solo_accepted(s, 3, base + 2);

	solo_batch(s, "b");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 3), 0, "a second value");
	solo_accepted(s, 1, base + 3);
	ok(s->up.wake_at <= s->now + s->params.heartbeat_us, "whose majority is waited for");
	solo_tick(s, s->params.heartbeat_us);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 && sent(s, 3, 0)->n_values == 1,
	   "only so long: then everybody is asked");
	solo_accepted(s, 3, base + 3);
	is(s->view.chosen, base + 2, "and it is chosen without the slow one");
	solo_batch(s, "c");
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 3) == 1 && solo_count(s, PX_DO_SEND_ACCEPT, 2) == 0,
	   "who is no longer asked first");
	solo_forward(s, 2, 1, true, 1, 1);
	ok(solo_count(s, PX_DO_SEND_ACCEPT, 2) >= 1 && sent(s, 2, 0)->n_values == 2,
	   "but hears of a value with its own batch at once, and of what lies below");
	solo_free(s);
}

/* Settings that change within a life. */
static void
test_retime(void)
{
	solo *s = solo_new(3);

	s->params.outbox_depth = 32;
	solo_start(s);
	solo_lead(s);
	for (int i = 0; i < 8; i++)
		solo_batch(s, "a");
	is(s->view.in_flight, 8, "eight in flight");
	px_proposer_retime(s->p, 20000, 300000, 300000, false, 2);
	solo_batch(s, "b");
	solo_tick(s, 21000);
	ok(sent(s, 2, 0) != NULL && sent(s, 2, 0)->lease_us == 300000,
	   "a new heartbeat interval and lease hold from the next Accept");
	solo_accepted(s, 1, s->view.chosen + 3);
	solo_accepted(s, 2, s->view.chosen + 3);
	is(s->view.in_flight, 6, "with a shorter pipeline nothing is proposed before it has emptied");
	solo_accepted(s, 1, s->view.proposed + 1);
	solo_accepted(s, 2, s->view.proposed + 1);
	is(s->view.in_flight, 1, "then it is");
	solo_free(s);
}

/* A large backlog goes out in pieces. */
static void
test_chunks(void)
{
	solo *s = solo_new(3);
	int values = 0;
	int messages = 0;
	int steps = 0;
	char text[60001];
	px_slot chosen;

	s->params.max_batch_bytes = 65536;
	s->params.max_value_bytes = 131072;
	s->params.intake_bytes = 65536 * 64;
	s->params.outbox_depth = 64;
	s->params.pipeline_depth = 64;
	solo_start(s);
	solo_lead(s);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 60; i++)
		solo_batch(s, text);
	is(s->view.in_flight, 60, "sixty large values are in flight");
	chosen = s->view.chosen;
	solo_promise(s, 3, NULL, 0, chosen);
	for (;;)
	{
		for (int i = 0; i < solo_count(s, PX_DO_SEND_ACCEPT, 3); i++)
		{
			messages++;
			values += sent(s, 3, i)->n_values;
		}
		steps++;
		if (s->up.wake_at > s->now || steps > 20)
			break;
		solo_tick(s, 0);
	}
	is(values, 60 + (int) chosen, "a late peer gets them all");
	ok(messages >= 4 && steps >= 2, "in %d messages over %d steps", messages, steps);
	solo_free(s);
}

/* What this node's own acceptor heard elsewhere is never told in this ballot. */
static void
test_foreign_chosen(void)
{
	solo *s = solo_new(3);
	px_slot base;
	const px_accept *m;

	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	solo_batch(s, "a");
	s->local.chosen = base + 1;
	solo_local(s);
	solo_tick(s, s->params.heartbeat_us + 1000);
	m = sent(s, 2, 0);
	ok(m != NULL && m->chosen == base && s->view.chosen == base,
	   "chosen elsewhere is not chosen in this ballot's streams");
	solo_free(s);
}

void
run_tests(void)
{
	test_chosen();
	test_chosen_rides();
	test_first_counts();
	test_reopened_counts_anew();
	test_old_answers();
	test_refusals();
	test_opening();
	test_superseded_only();
	test_blind();
	test_nonsense();
	test_silence();
	test_heartbeat();
	test_chunks();
	test_pipeline_gap();
	test_alone_together();
	test_tell_delay();
	test_thrifty();
	test_retime();
	test_foreign_chosen();
}
