/*
 * sim_config.c
 *	  Changes of the configuration (protocol.md § 7): the callers that want
 *	  them, the nodes that join and are switched off, and what the observer knows
 *	  of configurations.
 *
 * A caller does what paxos_add_member() and its like do, at any node: it reads
 * the newest configuration known there, builds another on it, asks whoever is
 * said to lead, and begins again when it is not told that it is done
 * (px_proposer.h).  Several are at work at the same time.  Each attempt has a
 * number that travels in the value, so that the observer can say of every
 * configuration chosen who asked for it, that it was built on the one that
 * governed, and that no attempt took effect twice, or after its caller was told
 * that it did not.
 *
 * Node ids are never used again.  A new node has nothing: no configuration, no
 * log; but it was told who the members are, those of the configuration its id was
 * made from.  Its acceptor answers at once, its proposer starts when a snapshot is
 * loaded, from one of those, and not older than that configuration: so it knows, when
 * it begins, who can tell it of the one it is a member of.  Who was removed may be switched off for good, but only when somebody
 * was told that the removal is done; or it goes on, maybe not knowing.
 *
 * The observer: W->configs are the configurations of the canonical history, the
 * first the one formed with.  config_of(slot) governs that slot.
 */
#include "sim.h"

#define MAX_TRIES 12

static void next_try(uint32_t task, px_usec after);

/* ---- what the observer knows ---- */

const px_config *
config_of(px_slot slot)
{
	int i = W->n_configs - 1;

	while (i > 0 && W->configs[i].slot >= slot)
		i--;
	return &W->configs[i];
}

const px_config *
config_last(void)
{
	return &W->configs[W->n_configs - 1];
}

/* The canonical configuration chosen at 'slot'; NULL: there is none. */
const px_config *
config_at(px_slot slot)
{
	for (int i = 0; i < W->n_configs; i++)
		if (W->configs[i].slot == slot)
			return &W->configs[i];
	return NULL;
}

bool
config_majority(const px_config *c, uint32_t nodes)
{
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	for (int i = 0; i < c->n_members; i++)
		yes[i] = (nodes >> c->members[i].node & 1) != 0;
	return px_quorum_tally(c, yes, no) == PX_TALLY_WON;
}

/* Which attempt proposed this configuration. */
static uint64_t
attempt_of(const sim_blob *value)
{
	px_member_view member;
	uint32_t pos = 0;
	unsigned long long id = 0;

	if (!px_value_next_member(&value->view, &pos, &member) ||
		sscanf(member.name, "a%llu", &id) != 1 || id == 0 || id > W->n_attempts)
		sim_fail("a configuration was proposed that nobody asked for");
	return id;
}

static bool
same_members(const px_config *a, const px_config *b)
{
	if (a->n_members != b->n_members)
		return false;
	for (int i = 0; i < a->n_members; i++)
		if (a->members[i].node != b->members[i].node || a->members[i].voter != b->members[i].voter)
			return false;
	return true;
}

static void
create_node(px_node id, px_slot base)
{
	sim_node *n = &W->nodes[id];

	n->exists = true;
	n->introduced = base;
	if (id > W->n_nodes)
		W->n_nodes = id;
	sim_at(W->now + rnd_log(SIM_MS, 4 * W->election_us), E_START_SERVER, P_WORLD, id);
}

/* 'value' has become the canonical one of 'slot'. */
void
config_chosen(px_slot slot, sim_blob *value)
{
	const px_config *before = config_last();
	px_config now;
	uint64_t id = attempt_of(value);
	sim_attempt *a = &W->attempts[id];
	int common = 0;

	if (W->n_configs == SIM_MAX_CONFIGS)
		sim_fail("simulator: too many configurations");
	if (!px_value_config(&value->view, slot, &now))
		sim_fail("the configuration chosen at slot %llu is not valid", (unsigned long long) slot);
	if (a->chosen_at != 0)
		sim_fail("attempt %llu took effect twice, at slots %llu and %llu (§ 7)",
				 (unsigned long long) id, (unsigned long long) a->chosen_at,
				 (unsigned long long) slot);
	if (a->told && a->result != PX_CHANGE_DONE && a->result != PX_CHANGE_UNKNOWN)
		sim_fail("attempt %llu was told \"%s\", but took effect at slot %llu (§ 7)",
				 (unsigned long long) id, px_change_result_name(a->result),
				 (unsigned long long) slot);
	if (a->base != before->slot)
		sim_fail("slot %llu: a configuration built on that of slot %llu follows that of slot %llu",
				 (unsigned long long) slot, (unsigned long long) a->base,
				 (unsigned long long) before->slot);
	if (!same_members(&now, &a->wanted))
		sim_fail("slot %llu: not the configuration that was asked for", (unsigned long long) slot);
	if (px_config_highest(&now) < px_config_highest(before))
		sim_fail("slot %llu: the highest node id fell", (unsigned long long) slot);
	for (int i = 0; i < now.n_members; i++)
	{
		px_node node = now.members[i].node;

		if (now.members[i].voter && px_config_is_voter(before, node))
			common++;
		else if (now.members[i].voter && W->nodes[node].visible.tables.applied == 0)
			cover(cov_promoted_empty);
		if (px_config_find(before, node) >= 0)
			continue;
		if (node <= px_config_highest(before))
			sim_fail("slot %llu: node id %u is used again", (unsigned long long) slot, node);
		if (!W->nodes[node].exists)
			create_node(node, before->slot);
	}
	a->chosen_at = slot;
	W->configs[W->n_configs++] = now;
	cover(cov_config_chosen);
	if (common == 0)
		cover(cov_config_disjoint);
	TRACE(NULL, "configuration %llu: %d members", (unsigned long long) slot, now.n_members);
}

/* Configurations proposed for 'slot' that it did not become. */
void
config_decided(px_slot slot, const sim_canon *c)
{
	for (const sim_vote *v = c->votes; v != NULL; v = v->next)
		if (v->value != c->chosen && v->value->view.kind == PX_VALUE_CONFIG)
			cover(cov_config_lost);
	if (c->chosen->view.kind == PX_VALUE_CONFIG)
		config_chosen(slot, c->chosen);
}

/* What stands on the disk of node n as its newest configuration. */
void
config_durable(sim_node *n)
{
	const px_config *c;

	if (n->durable.config.n_members == 0)
		return;
	if (!n->unsafe)
		W->nodes[n->id].ever_config =
			px_max64(W->nodes[n->id].ever_config, n->durable.config.slot + 1);
	if (n->durable.config.slot == n->max_config)
		return;
	c = config_at(n->durable.config.slot);
	if (c == NULL || memcmp(c, &n->durable.config, sizeof(px_config)) != 0)
		sim_fail("node %u has recorded a configuration at slot %llu that was not chosen (§ 7)",
				 n->id, (unsigned long long) n->durable.config.slot);
	if (c->slot < n->max_config)
		sim_fail("node %u forgot the configuration of slot %llu (§ 7)", n->id,
				 (unsigned long long) n->max_config);
	n->max_config = c->slot;
	if (c->slot > n->durable.tables.applied)
		cover(cov_config_ahead);
}

static uint32_t
recorded_by(px_slot slot)
{
	uint32_t nodes = 0;

	for (int i = 1; i <= W->n_nodes; i++)
		if (W->nodes[i].ever_config > slot)
			nodes |= 1u << i;
	return nodes;
}

/*
 * Would every configuration that governs, or may yet come to, have a majority of
 * voters that have forgotten nothing, without this node too?
 */
bool
config_everywhere(px_node without)
{
	for (uint64_t i = 1; i <= W->n_attempts; i++)
		if (W->attempts[i].base == config_last()->slot && !W->attempts[i].confirm &&
			!W->attempts[i].told && !amnesia_majority(&W->attempts[i].wanted, without))
			return false;
	for (px_slot s = W->prefix + 1; s < W->cap_canon; s++)
		for (const sim_vote *v = W->canon[s].votes; v != NULL; v = v->next)
		{
			px_config c;

			if (v->value->view.kind == PX_VALUE_CONFIG && px_value_config(&v->value->view, s, &c) &&
				!amnesia_majority(&c, without))
				return false;
		}

	/* and those of former ones, back to the newest that so many of its own know to
	 * govern: before that its predecessor's say so */
	for (int i = W->n_configs - 1; i >= 0; i--)
	{
		const px_config *c = &W->configs[i];
		uint32_t know = 0;

		if (!amnesia_majority(c, without))
			return false;
		for (int j = 0; j < c->n_members; j++)
		{
			const sim_node *n = &W->nodes[c->members[j].node];

			if (n->id != without && !n->lost && !n->gone && n->durable.config.n_members > 0 &&
				n->durable.config.slot >= c->slot)
				know |= 1u << n->id;
		}
		if (config_majority(c, know))
			break;
	}
	return true;
}

/*
 * Is no change under way, as far as anybody can see?  One that was asked for
 * and not answered may be proposed any moment.
 */
bool
config_settled(void)
{
	const px_config *c = config_last();
	uint32_t recorded = recorded_by(c->slot);

	for (uint64_t i = 1; i <= W->n_attempts; i++)
		if (W->attempts[i].base == c->slot && !W->attempts[i].confirm && !W->attempts[i].told)
			return false;

	for (int i = 0; i < c->n_members; i++)
		if ((recorded >> c->members[i].node & 1) == 0)
			return false;
	for (px_slot s = W->prefix + 1; s < W->cap_canon; s++)
		for (const sim_vote *v = W->canon[s].votes; v != NULL; v = v->next)
			if (v->value->view.kind == PX_VALUE_CONFIG)
				return false;
	return true;
}

/* ---- a node's own side ---- */

bool
config_knows(const sim_node *n, px_node node)
{
	return px_config_find(&n->acceptor.config, node) >= 0;
}

/*
 * The acceptor's newest configuration has changed: connect, disconnect, and
 * tell the proposer.
 */
void
config_tell(sim_node *n)
{
	bool told = false;

	if (n->acceptor.config.slot == n->told_config)
		return;
	n->told_config = n->acceptor.config.slot;
	for (int i = 1; i <= W->n_nodes; i++)
	{
		px_node peer = (px_node) i;

		if (!told && chance(200))
		{
			told = true;
			node_tell_config(n);
		}
		if (config_knows(n, peer))
			node_connect(n, peer);
		else
			node_disconnect(n, peer);
	}
	if (!told)
		node_tell_config(n);
	if (!config_knows(n, n->id))
		cover(cov_removed_knows);
}

/* ---- callers ---- */

static sim_node *
somewhere(void)
{
	return &W->nodes[rnd_between(1, (uint64_t) W->n_nodes)];
}

/* Is what the task wants so in this configuration? */
static bool
reached(const sim_task *t, const px_config *c)
{
	int i;

	switch (t->op)
	{
		case CHANGE_ADD:
			for (i = 0; i < c->n_members; i++)
				if ((t->ids >> c->members[i].node & 1) != 0)
					return true;
			return false;
		case CHANGE_REMOVE:
		case CHANGE_REJOIN:
			return px_config_find(c, t->who) < 0;
		case CHANGE_PROMOTE:
			i = px_config_find(c, t->who);
			return i < 0 || c->members[i].voter;
		case CHANGE_DEMOTE:
			i = px_config_find(c, t->who);
			return i < 0 || !c->members[i].voter;
		case CHANGE_REPLACE:
		case CHANGE_ALTER:
			return t->tries > 0 && c->slot > t->begun_at && same_members(c, &t->wanted);
	}
	return false;
}

static void
add_member(px_config *c, px_node node, bool voter)
{
	c->members[c->n_members].node = node;
	c->members[c->n_members].voter = voter;
	c->n_members++;
}

/* What the task would make of configuration c; false: nothing sensible. */
static bool
build(sim_task *t, const px_config *c, px_config *w)
{
	px_node fresh = px_config_highest(c) + 1;
	int i = px_config_find(c, t->who);

	*w = *c;
	switch (t->op)
	{
		case CHANGE_ADD:
			if (c->n_members >= SIM_MAX_MEMBERS || fresh > SIM_MAX_NODES)
				return false;
			add_member(w, fresh, t->force && chance(300));
			t->ids |= 1u << fresh;
			break;
		case CHANGE_REMOVE:
			if (i < 0)
				return false;
			w->n_members--;
			memmove(&w->members[i], &w->members[i + 1],
					(size_t) (w->n_members - i) * sizeof(px_member));
			break;
		case CHANGE_REJOIN:
			if (i < 0 || fresh > SIM_MAX_NODES)
				return false;
			w->n_members--;
			memmove(&w->members[i], &w->members[i + 1],
					(size_t) (w->n_members - i) * sizeof(px_member));
			add_member(w, fresh, false);
			break;
		case CHANGE_PROMOTE:
		case CHANGE_DEMOTE:
			if (i < 0)
				return false;
			w->members[i].voter = t->op == CHANGE_PROMOTE;
			break;
		case CHANGE_REPLACE:
			w->n_members = 0;
			for (i = 0; i < c->n_members; i++)
				if (chance(500))
					add_member(w, c->members[i].node, chance(700));
			while (fresh <= SIM_MAX_NODES && w->n_members < SIM_MAX_MEMBERS && chance(300))
				add_member(w, fresh++, chance(600));
			break;
		case CHANGE_ALTER:
			break;
	}
	return px_config_valid(w) && amnesia_majority(w, 0);
}

static void
give_up(sim_task *t)
{
	t->active = false;
}

/* Build a value and send it to whoever is said to lead. */
static void
attempt(uint32_t task, sim_node *via, bool confirm)
{
	sim_task *t = &W->tasks[task];
	const px_config *known = &via->acceptor.config;
	sim_attempt *a;
	sim_event *e;

	if (W->n_attempts + 1 == SIM_MAX_ATTEMPTS)
	{
		give_up(t);
		return;
	}
	if (!confirm && !build(t, known, &t->wanted))
	{
		give_up(t);
		return;
	}
	if (t->tries == 0)
		t->begun_at = known->slot;
	t->tries++;
	a = &W->attempts[++W->n_attempts];
	a->task = task;
	a->base = known->slot;
	a->force = t->force;
	a->confirm = confirm;
	a->wanted = confirm ? *known : t->wanted;
	t->attempt = W->n_attempts;
	if (W->blocked[via->id][via->leader] == 0)
	{
		e = sim_at(W->now + net_delay(via->place, via->leader), E_CONFIGURE, P_PROPOSER,
				   via->leader);
		e->a = t->attempt;
	}
	/* how long it waits for an answer */
	next_try(task, rnd_log(W->election_us / 8, 8 * W->election_us));
}

/* An attempt arrives at the node that is said to lead. */
void
config_asked(sim_node *n, uint64_t id)
{
	const sim_attempt *a = &W->attempts[id];
	static uint8_t buf[PX_MAX_CONFIG_BYTES];
	px_value_writer w;
	px_configure m;
	char name[32];

	snprintf(name, sizeof(name), "a%llu", (unsigned long long) id);
	memset(&m, 0, sizeof(m));
	m.request = id;
	m.base = a->base;
	m.force = a->force;
	if (!a->confirm)
	{
		px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 0);
		for (int i = 0; i < a->wanted.n_members; i++)
			px_value_add_member(&w, a->wanted.members[i].node, a->wanted.members[i].voter,
								i == 0 ? name : "", "");
		m.value = px_value_end(&w);
	}
	node_configure(n, &m);
	if (W->phase == PHASE_CHAOS && chance(W->ambient[AMBIENT_struck]))
		fault_strike_soon(n);
}

/* The leader's proposer answers; the answer may get lost on its way. */
void
config_answered(sim_node *n, uint64_t id, px_change_result result, px_slot slot)
{
	sim_attempt *a = &W->attempts[id];
	const px_config *c;

	TRACE(n, "node %u: attempt %llu: %s, slot %llu", n->id, (unsigned long long) id,
		  px_change_result_name(result), (unsigned long long) slot);
	if (a->told)
		sim_fail("attempt %llu is answered twice", (unsigned long long) id);
	a->told = true;
	a->result = result;
	a->slot = slot;
	switch (result)
	{
		case PX_CHANGE_DONE:
			c = config_at(slot);
			if (c == NULL || (a->confirm ? slot != a->base : a->chosen_at != slot))
				sim_fail("attempt %llu is told that it is done at slot %llu, which is not so (§ 7)",
						 (unsigned long long) id, (unsigned long long) slot);
			if (!config_majority(c, recorded_by(slot)))
				sim_fail("attempt %llu is told that it is done, but no majority has recorded the "
						 "configuration of slot %llu (§ 7)",
						 (unsigned long long) id, (unsigned long long) slot);
			cover(a->confirm ? cov_change_confirmed : cov_change_done);
			break;
		case PX_CHANGE_BUSY:
			cover(cov_change_busy);
			break;
		case PX_CHANGE_BASE:
			cover(cov_change_base);
			break;
		case PX_CHANGE_NO_MAJORITY:
			cover(cov_change_no_majority);
			break;
		case PX_CHANGE_UNKNOWN:
			cover(cov_change_unknown);
			if (a->chosen_at != 0)
				cover(cov_change_unknown_done);
			break;
		case PX_CHANGE_BEHIND:
			cover(cov_change_behind);
			break;
		case PX_CHANGE_NOT_LEADER:
		case PX_CHANGE_NODE_ID:
			break;
		case PX_CHANGE_INVALID:
			if (!a->confirm)
				sim_fail("attempt %llu is called invalid, which it is not",
						 (unsigned long long) id);
			break;
	}
	if (a->chosen_at != 0 && result != PX_CHANGE_DONE && result != PX_CHANGE_UNKNOWN)
		sim_fail("attempt %llu is told \"%s\", but took effect at slot %llu (§ 7)",
				 (unsigned long long) id, px_change_result_name(result),
				 (unsigned long long) a->chosen_at);
	if (chance(900))
		next_try(a->task, net_delay(n->place, n->id == 1 ? 2 : 1));
}

/* It is done at 'slot': who was removed by then may be switched off. */
static void
switch_off(px_slot slot)
{
	const px_config *c = config_at(slot);

	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		if (!n->exists || n->gone || !px_config_removed(c, (px_node) i) || !chance(400))
			continue;
		n->gone = true;
		cover(cov_switched_off);
		if (n->up)
			node_crash(n, chance(300));
	}
}

static void
next_try(uint32_t task, px_usec after)
{
	sim_event *e = sim_at(W->now + after, E_CHANGE, P_WORLD, 0);

	e->a = task;
	e->b = ++W->tasks[task].generation;
}

/* The caller's turn. */
void
config_turn(const sim_event *e)
{
	uint32_t task = (uint32_t) e->a;
	sim_task *t = &W->tasks[task];
	sim_node *via;

	if (!t->active || e->b != t->generation)
		return;
	if (t->attempt != 0)
	{
		const sim_attempt *a = &W->attempts[t->attempt];

		t->attempt = 0;
		if (a->told && a->result == PX_CHANGE_DONE)
		{
			if (t->op == CHANGE_REJOIN)
				cover(cov_rejoined);
			switch_off(a->slot);
			give_up(t);
			return;
		}
		if (a->told && (a->result == PX_CHANGE_NO_MAJORITY || a->result == PX_CHANGE_NODE_ID))
		{
			give_up(t);
			return;
		}
		next_try(task, rnd_log(SIM_MS, W->election_us));
		return;
	}
	if (W->phase != PHASE_CHAOS || t->tries == MAX_TRIES)
	{
		give_up(t);
		return;
	}
	via = somewhere();
	if (!via->up || via->leader == 0 || via->leader > W->n_nodes || !config_knows(via, via->id))
		next_try(task, rnd_log(SIM_MS, W->election_us));
	else
		attempt(task, via, reached(t, &via->acceptor.config));
	if (t->active && t->attempt == 0)
		t->patience--;
	if (t->patience == 0)
		give_up(t);
}

/* Somebody wants a change. */
void
config_want(void)
{
	const px_config *c = config_last();
	sim_node *leader = node_leader();
	sim_task *t = NULL;
	uint32_t task = 0;
	uint64_t r = rnd_below(100);

	while (task < SIM_MAX_TASKS && W->tasks[task].active)
		task++;
	if (task == SIM_MAX_TASKS || W->n_configs > SIM_MAX_CONFIGS - 2 * SIM_MAX_TASKS - 2)
		return;
	t = &W->tasks[task];
	t->active = true;
	t->tries = 0;
	t->patience = 200;
	t->attempt = 0;
	t->ids = 0;
	t->force = chance(300);
	t->op = r < 30   ? CHANGE_ADD
			: r < 50 ? CHANGE_REMOVE
			: r < 70 ? CHANGE_PROMOTE
			: r < 78 ? CHANGE_DEMOTE
			: r < 92 ? CHANGE_REPLACE
					 : CHANGE_ALTER;
	t->who = c->members[rnd_below(c->n_members)].node;
	if (t->op == CHANGE_PROMOTE)
		for (int i = 0; i < c->n_members; i++)
			if (!c->members[i].voter)
				t->who = c->members[i].node;
	if (t->op == CHANGE_REMOVE && leader != NULL && chance(300))
		t->who = leader->id;
	for (int i = 0; i < c->n_members; i++)
	{
		sim_node *n = &W->nodes[c->members[i].node];

		/* it has left already when it asks to be taken in again */
		if (!n->lost || !chance(600))
			continue;
		t->op = CHANGE_REJOIN;
		t->who = n->id;
		if (n->up)
			node_crash(n, chance(300));
		n->gone = true;
	}
	next_try(task, rnd_below(SIM_MS));
}

void
config_setup(void)
{
	W->n_configs = 1;
	W->configs[0] = W->config;
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		n->exists = true;
		n->ever_config = 1;
		n->visible.config = W->config;
		n->durable.config = W->config;
		n->visible.tables.config = W->config;
		n->durable.tables.config = W->config;
	}
	W->tables.config = W->config;
}
