/*
 * t_origin.c
 *	  Exactly once: verdicts on origin batches, and the numbering, keeping and
 *	  resending of a node's own (protocol.md § 5).
 */
#include "solo.h"

static px_origins o;

static void
judge(px_node node, uint64_t incarnation, uint64_t sequence, px_verdict expected)
{
	px_verdict got = px_origins_judge(&o, node, incarnation, sequence);

	ok(got == expected, "n%u %" PRIu64 "/%" PRIu64 ": %s", (unsigned) node, incarnation, sequence,
	   px_verdict_name(expected));
}

static void
test_verdicts(void)
{
	px_origin at;

	memset(&o, 0, sizeof(o));
	at = px_origins_get(&o, 3);
	ok(at.node == 3 && at.incarnation == 0 && at.last == 0, "of nobody nothing was applied");
	judge(3, 1, 1, PX_EXECUTE);
	judge(3, 1, 1, PX_DUPLICATE);
	judge(3, 1, 2, PX_EXECUTE);
	judge(3, 1, 4, PX_GAP);
	judge(3, 1, 5, PX_GAP);
	judge(3, 1, 3, PX_EXECUTE);
	judge(3, 1, 4, PX_EXECUTE);
	judge(3, 1, 3, PX_DUPLICATE);
	judge(3, 3, 2, PX_GAP);
	is(px_origins_get(&o, 3).incarnation, 3, "a gap of a newer life still ends the older one");
	judge(3, 1, 5, PX_STALE);
	judge(3, 2, 1, PX_STALE);
	judge(3, 3, 1, PX_EXECUTE);
	judge(3, 3, 2, PX_EXECUTE);
	is(px_origins_get(&o, 3).last, 2, "state of that origin");

	/* origins do not touch each other, and are kept in order */
	judge(1, 5, 1, PX_EXECUTE);
	judge(9, 5, 2, PX_GAP);
	judge(9, 5, 1, PX_EXECUTE);
	judge(3, 3, 3, PX_EXECUTE);
	ok(o.n == 3 && o.at[0].node == 1 && o.at[1].node == 3 && o.at[2].node == 9, "ascending");
}

static void
test_full(void)
{
	memset(&o, 0, sizeof(o));
	for (int i = 1; i <= PX_MAX_ORIGINS; i++)
		px_origins_judge(&o, (px_node) (2 * i), 1, 1);
	is(o.n, PX_MAX_ORIGINS, "the table is full");
	judge(7, 1, 1, PX_STALE);
	judge(8, 1, 2, PX_EXECUTE);
	is(o.n, PX_MAX_ORIGINS, "and stays so");
}

/*
 * A removed node's batches, chosen after its removal, are skipped on every
 * node alike, also the first of a life; and entries do not pile up.
 */
static void
test_removed_origin(void)
{
	px_config c;

	memset(&o, 0, sizeof(o));
	memset(&c, 0, sizeof(c));
	judge(1, 1, 1, PX_EXECUTE);
	judge(2, 1, 1, PX_EXECUTE);
	judge(2, 1, 2, PX_EXECUTE);
	c.slot = 9;
	c.n_members = 2;
	c.members[0].node = 1;
	c.members[0].voter = true;
	c.members[1].node = 3;
	px_origins_configure(&o, &c);
	ok(o.n == 2 && o.config == 9, "the members, no more and no less");
	judge(2, 1, 3, PX_STALE);
	judge(2, 1, 1, PX_STALE);
	judge(2, 2, 1, PX_STALE);
	judge(1, 1, 1, PX_DUPLICATE);
	judge(1, 1, 2, PX_EXECUTE);
	judge(3, 1, 1, PX_EXECUTE);
	judge(4, 1, 1, PX_STALE);
	is(o.n, 2, "nobody else is an origin");
	for (int i = 4; i < 1000; i++)
	{
		c.slot++;
		c.members[1].node = (px_node) i;
		px_origins_configure(&o, &c);
		if (px_origins_judge(&o, (px_node) i, 1, 1) != PX_EXECUTE)
			die("a new member's first batch is not executed");
	}
	ok(o.n == 2 && px_origins_get(&o, 1).last == 2, "a thousand members later too");
}

/* The first batch of the value last proposed. */
static const char *
last_proposed(solo *s)
{
	return solo_proposed(s, s->view.proposed);
}

/*
 * "A leader takes from an origin only the sequence after the last it queued
 * in this ballot and drops those it has queued, except that a resend says so
 * and sets its mark back to the resend's first sequence ⚠ (else a batch that
 * got lost in its queue is never taken)."
 */
static void
test_marks(void)
{
	solo *s = solo_new(3);
	px_slot before;

	solo_start(s);
	solo_lead(s);

	before = s->view.proposed;
	solo_forward(s, 2, 1, false, 2, 1);
	is(s->view.proposed, before, "without a mark in this ballot the middle of a life is not taken");
	solo_forward(s, 2, 1, true, 2, 2);
	ok(s->view.proposed == before + 1 && strcmp(last_proposed(s), "n2.2") == 0,
	   "as a resend it is");
	solo_forward(s, 2, 1, false, 3, 1);
	is(s->view.proposed, before + 1, "what was queued is dropped");
	solo_forward(s, 2, 1, false, 5, 1);
	is(s->view.proposed, before + 1, "what comes too early is not taken");
	solo_forward(s, 2, 1, false, 4, 1);
	is(s->view.proposed, before + 2, "the next is");
	solo_forward(s, 2, 1, true, 3, 1);
	is(s->view.proposed, before + 3, "a resend sets the mark back and is taken again");
	solo_forward(s, 2, 2, false, 1, 1);
	is(s->view.proposed, before + 4, "the first of a new life needs no resend");
	solo_forward(s, 2, 1, true, 4, 1);
	is(s->view.proposed, before + 4, "the old life is over");
	solo_forward(s, 3, 1, false, 1, 1);
	is(s->view.proposed, before + 5, "every origin has a mark of its own");
	solo_free(s);
}

/* What is forwarded to a candidate waits until it leads. */
static void
test_candidate_takes(void)
{
	solo *s = solo_new(3);

	solo_start(s);
	solo_forward(s, 2, 1, true, 4, 1);
	is(s->view.intake, 0, "a follower takes nothing");
	solo_stand(s);
	solo_forward(s, 2, 1, true, 4, 1);
	is(s->view.intake, 1, "a candidate does");
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, NULL, 0, 0);
	is(s->view.proposed, 1, "and proposes it not before it leads");
	solo_accepted(s, 1, 2);
	solo_accepted(s, 2, 2);
	ok(s->view.role == PX_LEADER && strcmp(last_proposed(s), "n2.4") == 0, "but then at once");
	solo_accepted_refused(s, 2, PX_REFUSED_BALLOT, px_ballot_make(9, 2));
	solo_forward(s, 2, 1, false, 5, 1);
	is(s->view.intake, 0, "a leader that is over takes nothing more");
	solo_free(s);
}

/* What waits in the queue is superseded by a resend, not doubled. */
static void
test_resend_supersedes(void)
{
	solo *s = solo_new(3);
	px_slot full;

	s->params.pipeline_depth = 1;
	solo_start(s);
	solo_lead(s);
	solo_forward(s, 2, 1, false, 1, 1);
	full = s->view.proposed;
	solo_forward(s, 2, 1, false, 2, 3);
	is(s->view.intake, 3, "three wait behind a full pipeline");
	solo_forward(s, 2, 1, true, 2, 3);
	is(s->view.intake, 6, "sent again they stand behind the superseded");
	solo_accepted(s, 1, full + 1);
	solo_accepted(s, 2, full + 1);
	is(s->view.proposed, full + 1, "one value takes them all");
	{
		px_value_view v;
		px_batch_view b;
		uint32_t pos = 0;

		px_value_open(px_proposer_value(s->p, full + 1), &v);
		is(v.count, 3, "each once");
		ok(px_value_next_batch(&v, &pos, &b) && b.sequence == 2, "and in order");
	}
	solo_free(s);
}

/* Follows node 2 in ballot 'b'. */
static void
follow(solo *s, px_ballot b)
{
	s->local.leader = b;
	s->local.promised = b;
	s->local.heard_at = s->now;
	solo_local(s);
}

static const px_forward *
forwarded(const solo *s, uint64_t *first)
{
	const px_action *a = solo_action(s, PX_DO_SEND_FORWARD, 0, 0);

	if (a == NULL)
		return NULL;
	*first = a->u.fwd.first_seq;
	return &a->u.fwd.forward;
}

static void
test_outbox(void)
{
	solo *s = solo_new(3);
	const px_forward *f;
	uint64_t first = 0;

	solo_start(s);
	solo_batch(s, NULL);
	is(solo_count(s, PX_DO_SEND_FORWARD, 0), 0, "without a leader a batch is kept");
	follow(s, px_ballot_make(1, 2));
	f = forwarded(s, &first);
	ok(f != NULL && f->n_batches == 1 && first == 1 && f->resend,
	   "the first Forward to a leader is a resend");
	solo_batch(s, "a");
	f = forwarded(s, &first);
	ok(f != NULL && f->n_batches == 1 && first == 2 && !f->resend, "the next one is not");
	solo_tick(s, 1000);
	ok(forwarded(s, &first) == NULL, "nothing is sent twice without a reason");

	follow(s, px_ballot_make(2, 3));
	f = forwarded(s, &first);
	ok(f != NULL && f->n_batches == 2 && first == 1 && f->resend &&
		   solo_action(s, PX_DO_SEND_FORWARD, 3, 0) != NULL,
	   "a new leader gets all that is unapplied, as a resend");
	follow(s, px_ballot_make(3, 3));
	f = forwarded(s, &first);
	ok(f != NULL && f->n_batches == 2 && f->resend, "so does the same leader's new ballot");

	s->local.own_incarnation = 1;
	s->local.own_last = 1;
	solo_local(s);
	solo_batch(s, "b");
	s->local.gaps_seen = 1;
	solo_local(s);
	f = forwarded(s, &first);
	ok(f != NULL && f->n_batches == 2 && first == 2 && f->resend,
	   "a gap is answered by all unapplied ones");
	s->local.gaps_seen = 2;
	solo_local(s);
	ok(forwarded(s, &first) == NULL, "the next gap of the same loss is not");
	is(s->view.batches_resent, 6, "resent batches are counted");

	solo_free(s);
}

static void
test_outbox_timeout(void)
{
	solo *s = solo_new(3);
	px_forward_reply no = {false};
	px_event ev;
	int sent = 0;
	px_usec end;
	uint64_t first;

	solo_start(s);
	follow(s, px_ballot_make(1, 2));
	solo_batch(s, "a");
	end = s->now + 20 * s->params.election_timeout_us;
	while (s->now < end)
	{
		solo_tick(s, s->params.heartbeat_us);
		if (forwarded(s, &first) != NULL)
			sent++;
		follow(s, px_ballot_make(1, 2));
	}
	ok(sent >= 3 && sent <= 5, "a time-out sends again and backs off (%d times)", sent);

	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_FORWARD_REPLY;
	ev.node = 2;
	ev.u.forward_reply = &no;
	solo_step(s, &ev);
	solo_tick(s, s->params.heartbeat_us);
	ok(forwarded(s, &first) != NULL, "a node that does not lead is asked again soon");
	solo_free(s);
}

/*
 * "No numbered command is ever renumbered ⚠ (the old batch may still be
 * chosen, and both would execute)."  The old batch of sequence 2 is chosen
 * after all, in the old leader's ballot, and so is its resend: it executes
 * once, because it is the same number.
 */
static void
test_never_renumbered(void)
{
	solo *s = solo_new(3);
	px_bytes before;
	px_bytes after;
	px_batch_view b;
	uint8_t copy[256];
	uint32_t len;

	solo_start(s);
	follow(s, px_ballot_make(1, 2));
	solo_batch(s, "a");
	before = px_proposer_batch_bytes(s->p, 1);
	len = before.len;
	memcpy(copy, before.data, len);
	follow(s, px_ballot_make(2, 3));
	after = px_proposer_batch_bytes(s->p, 1);
	ok(after.len == len && memcmp(copy, after.data, len) == 0,
	   "what is sent again is the same bytes");
	ok(px_batch_open(after, &b) && b.incarnation == 1 && b.sequence == 1, "and the same number");

	memset(&o, 0, sizeof(o));
	judge(1, b.incarnation, b.sequence, PX_EXECUTE);
	judge(1, b.incarnation, b.sequence, PX_DUPLICATE);
	solo_free(s);
}

/*
 * While this node leads, batches it had given to a former leader are applied:
 * its own mark lies below them.
 */
static void
test_applied_overtakes_mark(void)
{
	solo *s = solo_new(3);
	px_slot slot;

	s->params.pipeline_depth = 1;
	s->params.intake_bytes = s->params.max_batch_bytes;
	s->params.outbox_depth = 64;
	solo_start(s);
	for (int i = 0; i < 64; i++)
		solo_batch(s, "0123456789012345678901234567890123456789");
	solo_lead(s);
	ok(s->view.intake < 63, "the own intake does not hold all");
	s->local.own_incarnation = 1;
	s->local.own_last = 63;
	solo_local(s);
	for (int i = 0; i < 10; i++)
	{
		slot = s->view.proposed;
		solo_accepted(s, 1, slot + 1);
		solo_accepted(s, 2, slot + 1);
	}
	s->local.own_last = 64;
	solo_local(s);
	solo_batch(s, "last");
	for (int i = 0; i < 3; i++)
	{
		slot = s->view.proposed;
		if (strcmp(last_proposed(s), "last") == 0)
			break;
		solo_accepted(s, 1, slot + 1);
		solo_accepted(s, 2, slot + 1);
	}
	ok(strcmp(last_proposed(s), "last") == 0, "a node that leads never waits for its own mark");
	solo_free(s);
}

void
run_tests(void)
{
	test_verdicts();
	test_full();
	test_removed_origin();
	test_marks();
	test_candidate_takes();
	test_resend_supersedes();
	test_outbox();
	test_outbox_timeout();
	test_never_renumbered();
	test_applied_overtakes_mark();
}
