/*
 * t_limits.c
 *	  Every limit of px_base.h and of the params, at the limit.
 *	  (Encoding limits: t_value.c; members: t_quorum.c; origins: t_origin.c.)
 */
#include <stdlib.h>

#include "cluster.h"
#include "solo.h"

/* 15 voters and 16 learners: a majority is 8, and the actions have room. */
static void
test_members(void)
{
	solo *s = solo_new(PX_MAX_VOTERS);
	px_slot base;
	int most = 0;

	s->config.n_members = PX_MAX_MEMBERS;
	for (int i = PX_MAX_VOTERS; i < PX_MAX_MEMBERS; i++)
		s->config.members[i].node = (px_node) (i + 1);
	solo_start(s);
	solo_lead(s);
	for (px_node n = 9; n <= PX_MAX_MEMBERS; n++)
	{
		solo_promise(s, n, NULL, 0, 0);
		solo_accepted(s, n, s->view.proposed + 1);
	}
	base = s->view.chosen;
	solo_batch(s, "a");
	is(solo_count(s, PX_DO_SEND_ACCEPT, 0), PX_MAX_MEMBERS, "all %d members get a value",
	   PX_MAX_MEMBERS);
	most = s->up.n_actions;
	for (px_node n = 16; n <= PX_MAX_MEMBERS; n++)
		solo_accepted(s, n, base + 2);
	for (px_node n = 1; n <= 7; n++)
		solo_accepted(s, n, base + 2);
	is(s->view.chosen, base, "seven of fifteen voters and all learners choose nothing");
	solo_accepted(s, 8, base + 2);
	is(s->view.chosen, base + 1, "the eighth voter does");
	if (s->up.n_actions > most)
		most = s->up.n_actions;
	solo_event(s, PX_EV_TRANSFER, 2);
	if (s->up.n_actions > most)
		most = s->up.n_actions;
	ok(most <= PX_MAX_ACTIONS, "at most %d of %d actions in a step", most, PX_MAX_ACTIONS);
	solo_free(s);
}

static void
test_pipeline(int depth)
{
	solo *s = solo_new(3);
	px_slot base;

	s->params.pipeline_depth = (uint16_t) depth;
	s->params.outbox_depth = PX_MAX_OUTBOX;
	s->params.intake_bytes = 1 << 20;
	solo_start(s);
	solo_lead(s);
	base = s->view.chosen;
	for (int i = 1; i <= PX_MAX_OUTBOX; i++)
		solo_forward(s, 2, 1, i == 1, (uint64_t) i, 1);
	for (int i = 1; i <= PX_MAX_OUTBOX; i++)
		solo_forward(s, 3, 1, i == 1, (uint64_t) i, 1);
	is(s->view.in_flight, depth, "%d slots in flight and no more", depth);
	is(s->view.intake, 2 * PX_MAX_OUTBOX - depth, "the rest waits");
	solo_accepted(s, 1, base + 2);
	solo_accepted(s, 2, base + 2);
	is(s->view.in_flight, depth, "one chosen makes room for the next");
	for (int i = 0; i < 200 && s->view.in_flight > 0; i++)
	{
		solo_accepted(s, 1, s->view.proposed + 1);
		solo_accepted(s, 2, s->view.proposed + 1);
	}
	ok(s->view.in_flight == 0 && s->view.intake == 0, "and all get through");
	solo_free(s);
}

static void
test_outbox(int depth)
{
	solo *s = solo_new(3);
	int n = 0;
	px_batch_writer *w;
	uint64_t sequence;

	s->params.outbox_depth = (uint16_t) depth;
	solo_start(s);
	while (solo_batch(s, "x") && n < 1000)
		n++;
	is(n, depth, "an outbox of %d takes as many", depth);
	ok(s->view.outbox == depth && !px_proposer_batch_room(s->p), "and is full");
	s->local.own_incarnation = 1;
	s->local.own_last = 1;
	solo_local(s);
	ok(px_proposer_batch_room(s->p), "one applied makes room");
	w = px_proposer_batch(s->p, &sequence);
	is(sequence, depth + 1, "for the next number");
	is(w->cap, s->params.max_batch_bytes, "and a whole batch");
	solo_event(s, PX_EV_BATCH, 0);
	ok(!px_proposer_batch_room(s->p), "only one");
	solo_free(s);
}

static void
add_without_room(void *arg)
{
	uint64_t sequence;

	px_proposer_batch(arg, &sequence);
}

static void
test_outbox_asserted(void)
{
	solo *s = solo_new(1);

	s->params.outbox_depth = 1;
	solo_start(s);
	solo_batch(s, "x");
	ok(assertion_of(add_without_room, s->p) != NULL, "asserted: no batch without room");
	solo_free(s);
}

/* The intake: descriptors and bytes run out, marks stay, a resend gets in. */
static void
test_intake(void)
{
	solo *s = solo_new(PX_MAX_VOTERS);
	uint64_t taken;
	px_slot slot;

	s->params.pipeline_depth = 1;
	s->params.max_batch_bytes = 256;
	s->params.max_value_bytes = 256 + PX_VALUE_HEADER_BYTES;
	s->params.intake_bytes = 1 << 20;
	solo_start(s);
	solo_lead(s);
	solo_batch(s, "first");
	for (int i = 0; i < PX_MAX_INTAKE + 10; i++)
		solo_forward(s, 2, 1, i == 0, (uint64_t) i + 1, 1);
	is(s->view.intake, PX_MAX_INTAKE, "%d batches wait and no more", PX_MAX_INTAKE);
	slot = s->view.proposed;
	for (px_node n = 1; n <= 8; n++)
		solo_accepted(s, n, slot + 1);
	ok(s->view.proposed == slot + 1 && s->view.intake < PX_MAX_INTAKE, "one value later");
	solo_forward(s, 2, 1, false, PX_MAX_INTAKE + 5, 1);
	taken = s->view.intake;
	solo_forward(s, 2, 1, false, PX_MAX_INTAKE + 1, 1);
	is(s->view.intake, taken + 1, "the one refused is still the next to be taken");
	solo_free(s);

	s = solo_new(3);
	s->params.pipeline_depth = 1;
	s->params.max_batch_bytes = 512;
	s->params.max_value_bytes = 512 + PX_VALUE_HEADER_BYTES;
	s->params.intake_bytes = 512;
	solo_start(s);
	solo_lead(s);
	solo_batch(s, "first");
	for (int i = 0; i < 100; i++)
		solo_forward(s, 2, 1, i == 0, (uint64_t) i + 1, 1);
	taken = s->view.intake;
	ok(taken >= 10 && taken < 20, "a ring of 512 bytes takes %d small batches", (int) taken);

	/* round and round: the ring wraps without a record being overwritten */
	{
		uint64_t next = taken + 1;
		uint64_t expected = 1;
		int wrong = 0;
		uint64_t seen = 0;

		for (int i = 0; i < 300; i++)
		{
			px_value_view v;
			px_batch_view b;
			uint32_t pos = 0;
			uint64_t waiting;

			slot = s->view.proposed;
			px_value_open(px_proposer_value(s->p, slot), &v);
			while (px_value_next_batch(&v, &pos, &b))
			{
				if (b.origin != 2)
					continue;
				if (b.sequence != expected)
					wrong++;
				expected = b.sequence + 1;
				seen++;
			}
			waiting = s->view.intake;
			solo_forward(s, 2, 1, false, next, 1);
			if (s->view.intake > waiting)
				next++;
			solo_accepted(s, 1, slot + 1);
			solo_accepted(s, 2, slot + 1);
			for (int j = 0; j < i % 7; j++)
			{
				waiting = s->view.intake;
				solo_forward(s, 2, 1, false, next, 1);
				if (s->view.intake > waiting || s->view.proposed > slot + 1)
					next++;
			}
		}
		ok(wrong == 0 && seen > 200, "%d batches went round the ring in order", (int) seen);
	}
	solo_free(s);
}

/* The largest command, batch and value go through. */
static void
test_largest(void)
{
	solo *s = solo_new(3);
	char *text = malloc(PX_MAX_COMMAND_BYTES + 1);
	px_value_view v;

	if (text == NULL)
		die("out of memory");
	memset(text, 'x', PX_MAX_COMMAND_BYTES);
	text[PX_MAX_COMMAND_BYTES] = '\0';
	s->params.max_batch_bytes = PX_MAX_BATCH_BYTES;
	s->params.max_value_bytes = PX_MAX_VALUE_BYTES;
	s->params.intake_bytes = PX_MAX_BATCH_BYTES;
	s->params.outbox_depth = 1;
	solo_start(s);
	solo_lead(s);
	ok(solo_batch(s, text), "the largest command fits into a batch");
	ok(s->view.in_flight == 1 && px_value_open(px_proposer_value(s->p, s->view.proposed), &v) &&
		   v.count == 1,
	   "the batch into a value");
	solo_free(s);
	free(text);
}

/* A value that this node could not hold is not recovered by it. */
static void
test_value_too_large(void)
{
	solo *s = solo_new(3);
	static uint8_t buf[20000];
	static uint8_t batch[10000];
	static char text[9000];
	px_value_writer w;
	px_batch_writer bw;
	px_entry e;

	memset(text, 'x', sizeof(text));
	px_batch_begin(&bw, batch, sizeof(batch), 2, 1, 1);
	px_batch_add(&bw, 1, 1, text, sizeof(text));
	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_BATCHES, 1);
	px_value_add_batch(&w, px_batch_end(&bw));
	e.slot = 1;
	e.ballot = px_ballot_make(1, 2);
	e.chosen = false;
	e.value = px_value_end(&w);
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, &e, 1, 1);
	ok(s->view.role == PX_CANDIDATE,
	   "a promise with a value larger than the window's is not counted");
	solo_free(s);
}

/* All of the window reported, not one slot more. */
static void
test_promise_limit(void)
{
	solo *s = solo_new(3);
	px_entry e[PX_MAX_WINDOW + 1];
	px_bytes noop = solo_noop(s, 1);

	for (int i = 0; i <= PX_MAX_WINDOW; i++)
	{
		e[i].slot = (px_slot) i + 1;
		e[i].ballot = px_ballot_make(1, 2);
		e[i].chosen = false;
		e[i].value = noop;
	}
	solo_start(s);
	solo_stand(s);
	solo_promise(s, 1, NULL, 0, 0);
	solo_promise(s, 2, e, PX_MAX_WINDOW + 1, PX_MAX_WINDOW + 1);
	ok(s->view.role == PX_CANDIDATE && solo_count(s, PX_DO_RESET_PEER, 2) == 1,
	   "a promise of more than a window is refused");
	solo_promise(s, 3, e, PX_MAX_WINDOW, PX_MAX_WINDOW);
	ok(s->view.role == PX_RECOVERING && s->view.in_flight == PX_MAX_WINDOW,
	   "one of a whole window fills it");
	solo_accepted(s, 1, 2);
	solo_accepted(s, 3, 2);
	is(s->view.proposed, PX_MAX_WINDOW + 1, "the own no-op follows when there is room");
	solo_free(s);
}

static void
init_with(void *arg)
{
	solo *s = arg;

	px_proposer_init(s->memory, px_proposer_bytes(&s->params), &s->params, &s->config, 1);
}

static void
test_params(void)
{
	solo *s = solo_new(3);
	px_proposer_params good = s->params;

	s->memory = malloc(1 << 24);
	if (s->memory == NULL)
		die("out of memory");
	ok(assertion_of(init_with, s) == NULL, "good params");
	s->params.pipeline_depth = PX_MAX_WINDOW + 1;
	ok(assertion_of(init_with, s) != NULL, "asserted: pipeline_depth above the window");
	s->params = good;
	s->params.pipeline_depth = 0;
	ok(assertion_of(init_with, s) != NULL, "asserted: no pipeline");
	s->params = good;
	s->params.outbox_depth = PX_MAX_OUTBOX + 1;
	ok(assertion_of(init_with, s) != NULL, "asserted: outbox_depth above the limit");
	s->params = good;
	s->params.max_value_bytes = s->params.max_batch_bytes;
	ok(assertion_of(init_with, s) != NULL, "asserted: a value must hold a batch");
	s->params = good;
	s->params.intake_bytes = s->params.max_batch_bytes - 1;
	ok(assertion_of(init_with, s) != NULL, "asserted: the intake must hold a batch");
	s->params = good;
	s->params.incarnation = 0;
	ok(assertion_of(init_with, s) != NULL, "asserted: an incarnation is above 0");
	solo_free(s);
}

void
run_tests(void)
{
	test_members();
	test_pipeline(1);
	test_pipeline(8);
	test_pipeline(PX_MAX_WINDOW);
	test_outbox(1);
	test_outbox(PX_MAX_OUTBOX);
	test_outbox_asserted();
	test_intake();
	test_largest();
	test_value_too_large();
	test_promise_limit();
	test_params();
}
