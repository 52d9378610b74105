/*
 * sim_check.c
 *	  The all-knowing observer: one canonical history, and the facts of
 *	  protocol.md § 11 that no single node can see.
 *
 * It watches what becomes durable on every disk.  A value is chosen for a slot
 * when a majority of the voters of the configuration that governs the slot ever
 * held it durably at one ballot, proposed under that configuration (entries
 * later replaced count: being chosen does not end).  From then on anything else
 * anywhere is a violation.  It does not wait for damage: every first proposal
 * of (ballot, slot) must be *safe* in Lamport's sense, whether or not something
 * was chosen already.
 *
 * Which configuration governs a slot is known when all slots below are chosen;
 * so the canonical history grows slot by slot.  A leader that does not know yet
 * that a configuration was chosen may propose for slots above it; what learners
 * accept of that is no vote under the new one.  But in the ballot that chose the
 * configuration, or a higher one, nobody may.
 */
#include "sim.h"

static sim_canon *
canon(px_slot slot)
{
	if (slot == 0 || slot > 1000000)
		sim_fail("slot %llu is out of bounds", (unsigned long long) slot);
	if (slot >= W->cap_canon)
	{
		px_slot cap = W->cap_canon ? W->cap_canon * 2 : 1024;

		while (cap <= slot)
			cap *= 2;
		W->canon = realloc(W->canon, cap * sizeof(sim_canon));
		if (W->canon == NULL)
			abort();
		memset(W->canon + W->cap_canon, 0, (cap - W->cap_canon) * sizeof(sim_canon));
		W->cap_canon = cap;
	}
	return &W->canon[slot];
}

static const char *
bal(px_ballot b)
{
	static char buf[4][32];
	static int i;

	i = (i + 1) % 4;
	return px_trace_ballot(buf[i], sizeof(buf[i]), b);
}

sim_command *
check_command(uint64_t id)
{
	if (id == 0 || id > W->n_commands)
		sim_fail("command %llu was never issued", (unsigned long long) id);
	return &W->commands[id];
}

/* Of one that was executed: a set that has lost, or was too old, has done nothing. */
bool
check_took_effect(const sim_command *c)
{
	return c->set == NULL || c->result.applied;
}

/*
 * Is it safe to propose 'value' at (ballot, slot)?  There must be a majority
 * that has promised the ballot (or more) and a ballot c below it such that
 * none of them accepted anything between c and the ballot, and the value is
 * the one of c, or nobody of them accepted anything at all below.
 */
static bool
safe_at(const px_config *voters, px_ballot ballot, const sim_canon *c, const sim_blob *value)
{
	const sim_vote *base = NULL;

	if (c->chosen == value)
		return true;
	for (;;)
	{
		px_ballot low = base == NULL ? 0 : base->ballot;
		uint32_t good = 0;

		if (base == NULL || (base->value == value && low < ballot))
		{
			for (int i = 1; i <= W->n_nodes; i++)
			{
				bool clean = W->nodes[i].max_promised >= ballot;

				for (const sim_vote *v = c->votes; v != NULL && clean; v = v->next)
					if (v->ballot > low && v->ballot < ballot && (v->accepted & (1u << i)) != 0)
						clean = false;
				if (clean)
					good |= 1u << i;
			}
			if (config_majority(voters, good))
				return true;
		}
		base = base == NULL ? c->votes : base->next;
		if (base == NULL)
			return false;
	}
}

/*
 * The configuration a proposal was made under: canonical, and none chosen in
 * this ballot or a lower one stands between it and the slot, nor one that this
 * ballot has in flight.
 */
static const px_config *
proposed_under(sim_node *n, px_ballot ballot, px_slot slot)
{
	const px_config *voters = config_at(n->view_config);
	const px_config *governs = config_of(px_min64(slot, W->prefix + 1));

	if (voters == NULL || voters->slot >= slot)
		sim_fail("node %u proposes for slot %llu under a configuration of slot %llu (§ 11.5)",
				 n->id, (unsigned long long) slot, (unsigned long long) n->view_config);
	if (governs->slot > voters->slot && ballot >= canon(governs->slot)->chosen_ballot)
		sim_fail("ballot %s proposes for slot %llu under the configuration of slot %llu, but that "
				 "of slot %llu governs (§ 11.5)",
				 bal(ballot), (unsigned long long) slot, (unsigned long long) voters->slot,
				 (unsigned long long) governs->slot);
	for (px_slot s = px_max64(W->prefix, voters->slot) + 1; s < slot; s++)
		for (const sim_vote *v = canon(s)->votes; v != NULL; v = v->next)
			if (v->ballot == ballot && v->value->view.kind == PX_VALUE_CONFIG)
				sim_fail("ballot %s proposes for slot %llu, but the configuration it proposed for "
						 "slot %llu is not chosen (§ 7)",
						 bal(ballot), (unsigned long long) slot, (unsigned long long) s);
	return voters;
}

void
check_proposed(sim_node *n, px_ballot ballot, px_slot slot, sim_blob *value)
{
	sim_canon *c = canon(slot);
	const px_config *voters;
	sim_vote *v;

	if (px_ballot_node(ballot) != n->id)
		sim_fail("node %u proposes in ballot %s, which is not its own", n->id, bal(ballot));
	for (v = c->votes; v != NULL; v = v->next)
		if (v->ballot == ballot)
		{
			if (v->value != value)
				sim_fail("two values proposed for (ballot %s, slot %llu) (§ 11.3)", bal(ballot),
						 (unsigned long long) slot);
			return;
		}
	if (!value->well_formed)
		sim_fail("node %u proposes a malformed value for slot %llu", n->id,
				 (unsigned long long) slot);
	voters = proposed_under(n, ballot, slot);
	if (c->chosen != NULL && ballot > c->chosen_ballot && c->chosen != value)
		sim_fail(
			"ballot %s proposes value v%u for slot %llu, where v%u was chosen in ballot %s (§ 11.1)",
			bal(ballot), value->id, (unsigned long long) slot, c->chosen->id,
			bal(c->chosen_ballot));
	if (!safe_at(voters, ballot, c, value))
		sim_fail(
			"ballot %s proposes value v%u for slot %llu, which no majority of promises allows (§ 11.4)",
			bal(ballot), value->id, (unsigned long long) slot);
	for (sim_vote *o = c->votes; o != NULL; o = o->next)
		if (o->value == value && o->ballot < ballot)
		{
			cover(value->view.kind == PX_VALUE_CONFIG ? cov_config_recovered : cov_recovered);
			break;
		}
	v = sim_alloc(sizeof(sim_vote));
	v->ballot = ballot;
	v->config = voters->slot;
	v->value = value;
	v->next = c->votes;
	c->votes = v;
}

/*
 * A command with a request id was applied in the canonical history.  It must
 * have been executed if it was the first, or if the first is legitimately
 * forgotten: its time is over, in log time, or as many were remembered after it
 * as there is room for.  Else it must have been told the first result.
 */
static void
check_request(sim_command *c, const sim_outcome *o)
{
	uint64_t id = o->request;
	uint64_t first;

	if (id >= W->cap_requests)
	{
		uint64_t cap = W->cap_requests ? W->cap_requests : 256;

		while (cap <= id)
			cap *= 2;
		W->requests = realloc(W->requests, cap * sizeof(sim_request_seen));
		if (W->requests == NULL)
			abort();
		memset(W->requests + W->cap_requests, 0,
			   (cap - W->cap_requests) * sizeof(sim_request_seen));
		W->cap_requests = cap;
	}
	first = W->requests[id].effect;
	if (o->result.replayed)
	{
		const sim_result *r;

		if (first == 0)
			sim_fail("command %llu is told the result of request %llu, which was never executed",
					 (unsigned long long) o->command, (unsigned long long) id);
		r = &check_command(first)->result;
		if (r->slot != o->result.slot || !hist_equal(r->current, o->result.current) ||
			!hist_equal(r->previous, o->result.previous) || r->applied != o->result.applied)
			sim_fail("command %llu is told another result than the first of request %llu",
					 (unsigned long long) o->command, (unsigned long long) id);
		cover(cov_replayed);
		c->effect_of = first;
		return;
	}
	if (first != 0)
	{
		if (o->log_time_us <= W->requests[id].expires &&
			W->n_remembered < W->requests[id].number + SIM_MAX_REQUESTS)
			sim_fail("request %llu took effect twice, by commands %llu and %llu (§ 5)",
					 (unsigned long long) id, (unsigned long long) first,
					 (unsigned long long) o->command);
		cover(cov_request_again);
		W->requests[id].again = true;
	}
	W->requests[id].effect = o->command;
	W->requests[id].number = ++W->n_remembered;
	W->requests[id].expires = o->log_time_us + c->wish.retention_us;
	c->effect_of = o->command;
}

/*
 * Log time runs at most twice as fast as the clocks do (§ 5), whatever wall
 * clocks show; counted from slot 1, whose stamp is some wall clock's.
 */
static void
check_log_time(void)
{
	uint64_t ahead = W->tables.log_time_us - W->first_stamp_us;
	px_usec run = W->now + W->now * (px_usec) W->max_ppm / 1000000;

	if (W->prefix == 1)
		W->first_stamp_us = W->tables.log_time_us;
	else if (W->leases_hold && ahead > 2 * run)
		sim_fail("slot %llu: log time ran ahead by %llu us in %llu us (§ 5)",
				 (unsigned long long) W->prefix, (unsigned long long) ahead,
				 (unsigned long long) W->now);
}

static void
canon_sink(void *arg, const sim_outcome *o)
{
	sim_command *c;
	sim_node *origin;

	(void) arg;
	if (o->settle)
		return;
	if (o->cell == UINT32_MAX)
	{
		switch ((px_verdict) o->command)
		{
			case PX_DUPLICATE:
				cover(cov_duplicate);
				break;
			case PX_GAP:
				cover(cov_gap_skip);
				break;
			case PX_STALE:
				cover(px_config_find(&W->tables.config, o->origin) < 0 ? cov_removed_batch
																	   : cov_stale_incarnation);
				break;
			case PX_EXECUTE:
				break;
		}
		return;
	}
	c = check_command(o->command);
	if (c->executed_at != 0)
		sim_fail("command %llu took effect twice, at slots %llu and %llu (§ 11.7)",
				 (unsigned long long) o->command, (unsigned long long) c->executed_at,
				 (unsigned long long) o->slot);
	c->executed_at = o->slot;
	c->result = o->result;
	if (c->told == TOLD_NEVER && check_took_effect(c))
		sim_fail("command %llu was told never, but took effect at slot %llu (§ 11.7)",
				 (unsigned long long) o->command, (unsigned long long) o->slot);
	/*
	 * Exactly once and in order, counted here without the core's px_origins:
	 * commands without effect that were left out would otherwise be missed.
	 */
	origin = &W->nodes[o->origin];
	if (o->incarnation != origin->executed_incarnation)
	{
		if (o->incarnation < origin->executed_incarnation)
			sim_fail("slot %llu: incarnation %llu of node %u executed after a newer one",
					 (unsigned long long) o->slot, (unsigned long long) o->incarnation, o->origin);
		origin->executed_incarnation = o->incarnation;
		origin->executed_sequence = 0;
	}
	for (uint64_t q = origin->executed_sequence + 1; q < o->sequence; q++)
		for (uint64_t i = 1; i <= W->n_commands; i++)
			if (W->commands[i].origin == o->origin &&
				W->commands[i].incarnation == o->incarnation && W->commands[i].sequence == q &&
				!W->commands[i].again)
				sim_fail("slot %llu: batch %llu of node %u executed, though batch %llu was not",
						 (unsigned long long) o->slot, (unsigned long long) o->sequence, o->origin,
						 (unsigned long long) q);
	origin->executed_sequence = o->sequence;
	if (c->incarnation != o->incarnation || c->sequence != o->sequence)
		sim_fail("command %llu took effect under another number than its own",
				 (unsigned long long) o->command);
	c->position = ++W->n_executed;
	if (o->request != 0)
		check_request(c, o);
}

/* Has this vote chosen its value?  Known only for slots up to prefix + 1. */
static bool
carried(px_slot slot, const sim_vote *v)
{
	const px_config *governs = config_of(slot);

	return v->config == governs->slot && config_majority(governs, v->accepted);
}

static void
chosen(px_slot slot, sim_vote *v)
{
	sim_canon *c = canon(slot);

	if (c->chosen != NULL && c->chosen != v->value)
		sim_fail("two values chosen for slot %llu: v%u in ballot %s and v%u in ballot %s (§ 11.1)",
				 (unsigned long long) slot, c->chosen->id, bal(c->chosen_ballot), v->value->id,
				 bal(v->ballot));
	if (c->chosen != NULL && v->ballot >= c->chosen_ballot)
		return;
	c->chosen = v->value;
	c->chosen_ballot = v->ballot;
	for (sim_vote *o = c->votes; o != NULL; o = o->next)
		if (o->ballot > v->ballot && o->value != v->value && o->config == v->config)
			sim_fail("slot %llu: v%u chosen in ballot %s, but ballot %s proposed v%u (§ 11.1)",
					 (unsigned long long) slot, v->value->id, bal(v->ballot), bal(o->ballot),
					 o->value->id);
}

/* The canonical history goes on as far as slots are chosen. */
static void
grow(void)
{
	for (;;)
	{
		px_slot slot = W->prefix + 1;
		sim_canon *c = canon(slot);

		for (sim_vote *v = c->votes; v != NULL; v = v->next)
			if (carried(slot, v))
				chosen(slot, v);
		if (c->chosen == NULL)
			return;
		W->prefix = slot;
		client_apply(&W->tables, slot, c->chosen, &(sim_applying){.window = W->window}, canon_sink,
					 NULL);
		config_decided(slot, c);
		c->digest = W->tables.digest;
		c->last_position = W->n_executed;
		check_log_time();
	}
}

/* An entry became durable on a node as a vote. */
void
check_accepted(sim_node *n, px_slot slot, px_ballot ballot, sim_blob *value)
{
	sim_canon *c = canon(slot);
	sim_vote *v;

	for (v = c->votes; v != NULL && v->ballot != ballot; v = v->next)
		;
	if (v == NULL || v->value != value)
		sim_fail("node %u accepted v%u for (ballot %s, slot %llu), which nobody proposed", n->id,
				 value->id, bal(ballot), (unsigned long long) slot);
	if (n->floor_promised > ballot)
		sim_fail("node %u accepted slot %llu in ballot %s after it had promised %s", n->id,
				 (unsigned long long) slot, bal(ballot), bal(n->floor_promised));
	if ((v->accepted & (1u << n->id)) != 0)
		return;
	for (sim_vote *o = c->votes; o != NULL; o = o->next)
		if (o->ballot < ballot && o->value != value && (o->accepted & (1u << n->id)) != 0)
			cover(cov_replaced);
	v->accepted |= 1u << n->id;
	if (slot <= W->prefix && carried(slot, v))
		chosen(slot, v);
	if (slot == W->prefix + 1)
		grow();
}

/* After every change of a durable image. */
void
check_durable(sim_node *n)
{
	sim_node *self = &W->nodes[n->id];

	if (n->durable.promised < n->floor_promised)
		sim_fail("node %u: promised fell from %s to %s (§ 11.2)", n->id, bal(n->floor_promised),
				 bal(n->durable.promised));
	n->floor_promised = n->durable.promised;
	self->max_promised = px_max64(self->max_promised, n->durable.promised);
	config_durable(n);
	if (n->durable.truncated > n->durable.tables.applied)
		sim_fail("node %u: truncated %llu is above durably applied %llu (§ 11.6)", n->id,
				 (unsigned long long) n->durable.truncated,
				 (unsigned long long) n->durable.tables.applied);
}

/* Node n now holds from .. to to be known chosen. */
void
check_known(sim_node *n, px_slot from, px_slot to)
{
	for (px_slot s = from; s <= to; s++)
	{
		sim_canon *c = canon(s);
		sim_cell *cell = disk_cell(&n->visible, s);

		if (c->chosen == NULL)
			sim_fail("node %u takes slot %llu for chosen, which is not", n->id,
					 (unsigned long long) s);
		if (s <= n->visible.truncated || s <= n->visible.tables.applied)
			continue;
		if (cell->value == NULL)
			sim_fail("node %u takes slot %llu for chosen, but its log lacks it", n->id,
					 (unsigned long long) s);
		if (cell->value != c->chosen)
			sim_fail("node %u takes v%u (ballot %s) for chosen at slot %llu, chosen was v%u", n->id,
					 cell->value->id, bal(cell->ballot), (unsigned long long) s, c->chosen->id);
	}
}

/* A learner applied the value, giving these tables. */
void
check_applied(sim_node *n, px_slot slot, sim_blob *value, const sim_tables *after)
{
	sim_canon *c = canon(slot);

	if (c->chosen != value)
		sim_fail("node %u applied v%u at slot %llu, chosen was %s%u (§ 11.1)", n->id, value->id,
				 (unsigned long long) slot, c->chosen ? "v" : "nothing ",
				 c->chosen ? c->chosen->id : 0);
	if (slot > W->prefix)
		sim_fail("node %u applied slot %llu above the canonical history's end", n->id,
				 (unsigned long long) slot);
	if (c->applied_step == 0)
		c->applied_step = W->step;
	check_tables(n, after);
}

void
check_tables(sim_node *n, const sim_tables *t)
{
	if (t->applied == 0)
		return;
	if (t->applied > W->prefix || canon(t->applied)->digest != t->digest)
		sim_fail("node %u has another state digest than the canonical one at slot %llu (§ 11.9)",
				 n->id, (unsigned long long) t->applied);
}

static void
lead(sim_node *n, px_ballot ballot, const char *how)
{
	for (int i = 0; i < W->n_leads; i++)
		if (W->leads[i].ballot == ballot)
		{
			if (W->leads[i].node != n->id || W->leads[i].life != n->life)
				sim_fail("ballot %s is %s by two lives (§ 11.3)", bal(ballot), how);
			return;
		}
	if (W->n_leads == W->cap_leads)
	{
		W->cap_leads = W->cap_leads ? W->cap_leads * 2 : 256;
		W->leads = realloc(W->leads, (size_t) W->cap_leads * sizeof(sim_lead));
		if (W->leads == NULL)
			abort();
	}
	W->leads[W->n_leads].ballot = ballot;
	W->leads[W->n_leads].node = n->id;
	W->leads[W->n_leads].life = n->life;
	W->n_leads++;
}

/* A Prepare leaves the node. */
void
check_prepare(sim_node *n, px_ballot ballot, px_node to)
{
	if (px_ballot_node(ballot) != n->id)
		sim_fail("node %u prepares ballot %s, which is not its own", n->id, bal(ballot));
	if (to == n->id)
		return;
	if (n->durable.promised < ballot)
		sim_fail(
			"node %u sent Prepare %s to node %u before its own acceptor had promised it durably",
			n->id, bal(ballot), to);
	lead(n, ballot, "prepared");
}

void
check_leads(sim_node *n, px_ballot ballot)
{
	lead(n, ballot, "led");
}

/*
 * What a leader may at most use of a readable lease, in world time after it was
 * granted: the drift taken off it (a twentieth) covers two clocks that are each
 * SIM_DRIFT_PPM off.
 */
static px_usec
usable(px_usec lease_us)
{
	return lease_us - lease_us * 26 / 1000;
}

/*
 * Node n's acceptor has promised: m is the Prepare.  No other node's while a
 * readable lease stands that was not handed over.  And whatever lease was
 * granted before is over: it had run out, was handed over, or is the holder's
 * own of a former ballot, which nobody uses any more (§ 3.3): who stands does not
 * lead, and neither a later ballot nor another life of the proposer counts
 * grants of this one, as check_lease() sees to.
 *
 * Leases are followed in the order in which the acceptor takes messages, not in
 * that of its answers.  Of two Prepares that waited for the lock the later may
 * be promised first, when the lease has run out, and then the earlier one; and
 * a backend may be held up between its grant and its answer until another
 * leader has a lease.
 */
void
check_promised(sim_node *n, const sim_msg *m)
{
	const px_prepare *q = &m->u.prepare;

	n = &W->nodes[n->id];
	if (W->leases_hold && n->lease_until > m->received_at &&
		px_ballot_node(q->ballot) != px_ballot_node(n->lease_ballot) &&
		q->handover != n->lease_ballot)
		sim_fail("node %u promises %s while the readable lease it granted to %s stands (§ 9)",
				 n->id, bal(q->ballot), bal(n->lease_ballot));
	if (q->ballot > n->lease_ballot)
		n->lease_until = 0;
}

/* Node n's acceptor has taken an Accept, with the lease that it asks for. */
void
note_lease(sim_node *n, const sim_msg *m)
{
	const px_accept *q = &m->u.accept;

	n = &W->nodes[n->id];
	if (q->lease_us == 0)
		n->lease_until = 0; /* withdrawn */
	else if (q->lease_readable)
	{
		n->lease_ballot = q->ballot;
		n->lease_until = px_max64(n->lease_until, m->received_at + usable(q->lease_us));
	}
}

/* An answer leaves node n: is all that it says durable? */
void
check_promise(sim_node *n, const px_promise *r)
{
	if (r->promised > n->durable.promised)
		sim_fail("node %u answers promised %s before it is durable (§ 11.2)", n->id,
				 bal(r->promised));
	if (r->config > n->durable.config.slot)
		sim_fail("node %u answers that configuration %llu is recorded, but it is not durable (§ 7)",
				 n->id, (unsigned long long) r->config);
	if (r->refusal == PX_REFUSED_NOT && r->promised != r->ballot)
		sim_fail("node %u promises %s but says promised %s", n->id, bal(r->ballot),
				 bal(r->promised));
}

void
check_answer(sim_node *n, const px_accepted *r)
{
	if (r->promised > n->durable.promised)
		sim_fail("node %u answers promised %s before it is durable (§ 11.2)", n->id,
				 bal(r->promised));
	if (r->config > n->durable.config.slot)
		sim_fail("node %u answers that configuration %llu is recorded, but it is not durable (§ 7)",
				 n->id, (unsigned long long) r->config);
	if (r->refusal != PX_REFUSED_NOT)
		return;
	for (px_slot s = r->first; s < r->next; s++)
	{
		sim_cell *cell;

		if (s <= n->durable.truncated)
			continue;
		cell = disk_cell(&n->durable, s);
		if (cell->value == NULL || (cell->ballot < r->ballot && canon(s)->chosen != cell->value))
			sim_fail(
				"node %u answers that slot %llu is accepted in ballot %s, but it is not durable (§ 11.2)",
				n->id, (unsigned long long) s, bal(r->ballot));
	}
}

/*
 * The proposer would now answer reads without a round: then a majority of the
 * voters must have granted a lease, in this very ballot, that still stands.
 */
void
check_lease(sim_node *n, const px_proposer_view *v)
{
	const px_config *voters = config_at(v->config);
	uint32_t good = 0;

	if (!W->leases_hold || v->lease_until <= sim_clock(n))
		return;
	for (int i = 1; i <= W->n_nodes; i++)
		if (W->nodes[i].lease_ballot == v->ballot && W->nodes[i].lease_until > W->now)
			good |= 1u << i;
	if (v->role != PX_LEADER || voters == NULL || !config_majority(voters, good))
		sim_fail("node %u reads under a lease in ballot %s that no majority has granted (§ 9)",
				 n->id, bal(v->ballot));
}

/* The shared acceptor changed from *before to what it is now. */
void
check_acceptor(sim_node *n, const px_acceptor *before)
{
	const px_acceptor *a = &n->acceptor;
	const char *fact = px_check_acceptor(a);

	if (fact != NULL)
		sim_fail("node %u: acceptor: %s", n->id, fact);
	fact = px_check_acceptor_step(before, a);
	if (fact != NULL)
		sim_fail("node %u: acceptor, two successive states: %s", n->id, fact);
	if (a->promised > n->durable.promised || a->longest_lease_us > n->durable.longest_lease_us)
		sim_fail("node %u: shared acceptor state is ahead of the disk (§ 11.2)", n->id);
	if (a->truncated != n->visible.truncated)
		sim_fail("node %u: acceptor's truncated is not the log's", n->id);
	if (a->chosen > before->chosen)
		check_known(n, before->chosen + 1, a->chosen);
	if (a->chosen < n->visible.tables.applied)
		sim_fail("node %u: applied %llu is above chosen %llu (§ 11.6)", n->id,
				 (unsigned long long) n->visible.tables.applied, (unsigned long long) a->chosen);
}
