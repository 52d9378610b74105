/*
 * sim_history.c
 *	  What the clients of one run were told, as the linearizability checker wants
 *	  it (test/history): it sees what clients see, and knows neither the log nor
 *	  this simulator's observer.
 *
 * Time is the step; the order of the log is told as slots, numbered by command,
 * for the observer knows the order within a batch.  Two more things the observer knows are used.  When a request id
 * was forgotten in between, an attempt that legitimately takes effect again is an
 * operation of its own.  And an operation whose client never learned its outcome
 * ends when the first learner has applied it: from then on nobody may miss it, so
 * this asks for more than linearizability does; left open as they are, hundreds of
 * unknown outcomes would be too hard to check.
 */
#include "sim.h"

void
history_read(const sim_session *s, px_slot slot, hist_value value)
{
	sim_read *r;

	if (W->n_recorded == W->cap_reads)
	{
		W->cap_reads = W->cap_reads ? W->cap_reads * 2 : 256;
		W->reads = realloc(W->reads, W->cap_reads * sizeof(sim_read));
		if (W->reads == NULL)
			abort();
	}
	r = &W->reads[W->n_recorded++];
	r->began = s->began;
	r->ended = W->step;
	r->key = s->wish.key;
	r->slot = slot;
	r->value = value;
}

static void
add_command(hist *h, const uint32_t *keys, uint64_t id)
{
	const sim_command *c = &W->commands[id];
	const sim_wish *w = &c->wish;
	hist_op op = {.kind = w->kind, .key = keys[w->key], .client = c->origin};
	hist_result res = {.told = HIST_UNKNOWN};
	const sim_command *effect = c->effect_of != 0 ? &W->commands[c->effect_of] : c;
	uint32_t number;

	op.expected = w->expected;
	op.value = hist_number(w->value);
	op.delta = w->value;
	op.at_least = INT64_MIN;
	op.at_most = INT64_MAX;
	op.any = true;
	op.request = w->request;
	if (w->request != 0 && w->request < W->cap_requests && W->requests[w->request].again)
	{
		/* forgotten in between: by which execution does this one live? */
		op.request = W->n_requests + (c->effect_of != 0 ? c->effect_of : id);
	}
	number = hist_begin(h, &op, c->began);
	if (c->told != TOLD_RESULT)
	{
		uint64_t known = c->executed_at != 0 ? W->canon[c->executed_at].applied_step : 0;

		if (c->executed_at == 0)
			res.told = HIST_FAILED; /* the run is over: it never will */
		else if (!c->result.replayed && known != 0)
		{
			res.told = HIST_OK;
			res.slot = c->position;
			hist_end(h, number, known, &res);
			return;
		}
		else
			return;
	}
	else
	{
		res.told = HIST_OK;
		res.known = HIST_APPLIED | HIST_PREVIOUS | HIST_CURRENT;
		res.applied = c->result.applied;
		res.previous = c->result.previous;
		res.current = c->result.current;
		res.slot = effect->position;
	}
	hist_end(h, number, c->told != TOLD_NOTHING ? c->ended : W->step, &res);
}

/* At the end of a run: is all that was told linearizable? */
void
history_check(void)
{
	static hist *h;
	uint32_t keys[SIM_KEYS];
	hist_limits limits = {.max_steps = SIM_HISTORY_STEPS};

	if (h == NULL)
		h = hist_new();
	hist_reset(h);
	for (int k = 0; k < SIM_KEYS; k++)
	{
		char name[16];

		snprintf(name, sizeof(name), "%c%d", k < SIM_NUMBERS ? 'n' : 'l', k);
		keys[k] = hist_key(h, name);
	}
	for (uint64_t id = 1; id <= W->n_commands; id++)
		if (W->commands[id].txn == NULL)
			add_command(h, keys, id);
	for (uint64_t i = 0; i < W->n_recorded; i++)
	{
		const sim_read *r = &W->reads[i];
		hist_op op = {.kind = HIST_READ, .key = keys[r->key]};
		hist_result res = {.told = HIST_OK, .known = HIST_CURRENT};

		res.current = r->value;
		res.slot = W->canon[r->slot].last_position;
		hist_end(h, hist_begin(h, &op, r->began), r->ended, &res);
	}
	switch (hist_check_slots(h, NULL))
	{
		case HIST_LINEARIZABLE:
			break;
		case HIST_VIOLATION:
			sim_fail("what clients were told is not linearizable in the order of the log: %s",
					 hist_why(h));
		case HIST_GAVE_UP:
			sim_fail("simulator: a history in the order of the log was too hard to check");
	}

	/* implied by the other, and found without the log: one checks the other */
	switch (hist_check(h, &limits))
	{
		case HIST_LINEARIZABLE:
			cover(cov_searched);
			break;
		case HIST_VIOLATION:
			sim_fail("what clients were told is not linearizable: %s", hist_why(h));
		case HIST_GAVE_UP:
			cover(cov_search_long);
			break;
	}
}
