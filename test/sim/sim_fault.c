/*
 * sim_fault.c
 *	  What goes wrong, when; and the end phase, in which nothing does any more
 *	  and everything must come to an end (protocol.md § 11.10).
 *
 * Swarm testing (Groce et al.): every run draws its own weight for every fault,
 * many of them nothing at all, its own probabilities for what goes on all the
 * time, its own sizes and speeds and the core's parameters.  A seed is of one of
 * a few *styles*, too, which are starting points for the weights.
 *
 * Every occurrence of a fault has an index and a generator of its own, made of
 * seed and index.  So it can be left out (--drop) and the times and kinds of all
 * others stay what they were: the minimiser lives on that.
 */
#include "sim.h"

const char *const sim_fault_name[N_FAULTS] = {
#define X(name, text) #name,
	SIM_FAULTS(X)
#undef X
};

static const char *const fault_text[N_FAULTS] = {
#define X(name, text) text,
	SIM_FAULTS(X)
#undef X
};

const char *const sim_ambient_name[N_AMBIENT] = {
#define X(name, text) #name,
	SIM_AMBIENT(X)
#undef X
};

uint64_t sim_faults[N_FAULTS];

typedef enum sim_style
{
	STYLE_MIXED,   /* a bit of everything */
	STYLE_CRASHES, /* servers die in the middle of flushes */
	STYLE_PARTITIONS,
	STYLE_CONNECTIONS, /* cuts, resends, restarts of proposers */
	STYLE_BEHIND,      /* learners stall for long, all servers die */
	STYLE_CALM,        /* load and hand-overs only */
	STYLE_DUEL,        /* elections everywhere at once, again and again */
	STYLE_SWARM,       /* anything */
	N_STYLES
} sim_style;

typedef enum heal_kind
{
	HEAL_BLOCK,
	HEAL_VOTE,
	HEAL_CRASH,
	HEAL_AMNESIA,
	BLOCK_BEGINS,
	STRIKE
} heal_kind;

/* Weights of a style; what is not named has none. */
static const int style_weights[N_STYLES][N_FAULTS] = {
	[STYLE_MIXED] =
		{
			[FAULT_cut] = 20,
			[FAULT_cut_node] = 4,
			[FAULT_lose_answers] = 4,
			[FAULT_kill_backend] = 6,
			[FAULT_crash] = 8,
			[FAULT_crash_leader] = 4,
			[FAULT_crash_many] = 2,
			[FAULT_crash_at] = 6,
			[FAULT_flush_fails] = 2,
			[FAULT_kill_proposer] = 6,
			[FAULT_kill_all_proposers] = 1,
			[FAULT_learner_stall] = 6,
			[FAULT_learner_restart] = 4,
			[FAULT_pause] = 6,
			[FAULT_pause_many] = 1,
			[FAULT_proposer_stall] = 5,
			[FAULT_one_way] = 5,
			[FAULT_two_way] = 5,
			[FAULT_split] = 4,
			[FAULT_ring] = 2,
			[FAULT_bridge] = 2,
			[FAULT_isolate_leader] = 3,
			[FAULT_flap] = 2,
			[FAULT_swizzle] = 1,
			[FAULT_slow_link] = 4,
			[FAULT_slow_node] = 2,
			[FAULT_slow_disk] = 4,
			[FAULT_slow_disks] = 1,
			[FAULT_clock_rate] = 3,
			[FAULT_clock_jump] = 2,
			[FAULT_wall_jump] = 2,
			[FAULT_transfer] = 4,
			[FAULT_no_vote] = 2,
			[FAULT_stuck] = 2,
			[FAULT_retime] = 1,
		},
	[STYLE_CRASHES] =
		{
			[FAULT_cut] = 5,
			[FAULT_crash] = 20,
			[FAULT_crash_leader] = 10,
			[FAULT_crash_many] = 5,
			[FAULT_crash_at] = 30,
			[FAULT_flush_fails] = 5,
			[FAULT_kill_proposer] = 8,
			[FAULT_kill_backend] = 5,
			[FAULT_slow_disk] = 8,
			[FAULT_slow_disks] = 2,
			[FAULT_learner_stall] = 5,
		},
	[STYLE_PARTITIONS] =
		{
			[FAULT_one_way] = 12,
			[FAULT_two_way] = 12,
			[FAULT_split] = 12,
			[FAULT_ring] = 8,
			[FAULT_bridge] = 8,
			[FAULT_flap] = 10,
			[FAULT_swizzle] = 8,
			[FAULT_isolate_leader] = 10,
			[FAULT_cut] = 10,
			[FAULT_slow_link] = 4,
			[FAULT_crash] = 3,
			[FAULT_pause] = 5,
		},
	[STYLE_CONNECTIONS] =
		{
			[FAULT_cut] = 50,
			[FAULT_cut_node] = 10,
			[FAULT_lose_answers] = 15,
			[FAULT_kill_backend] = 20,
			[FAULT_kill_proposer] = 10,
			[FAULT_proposer_stall] = 10,
			[FAULT_slow_disk] = 8,
			[FAULT_slow_link] = 5,
		},
	[STYLE_BEHIND] =
		{
			[FAULT_learner_stall] = 40,
			[FAULT_crash_many] = 6,
			[FAULT_crash_leader] = 2,
			[FAULT_cut] = 5,
			[FAULT_kill_proposer] = 3,
		},
	[STYLE_CALM] =
		{
			[FAULT_transfer] = 20,
			[FAULT_stuck] = 3,
			[FAULT_learner_restart] = 5,
			[FAULT_no_vote] = 3,
			[FAULT_retime] = 3,
			[FAULT_clock_rate] = 3,
			[FAULT_wall_jump] = 3,
		},
	[STYLE_DUEL] =
		{
			[FAULT_kill_all_proposers] = 20,
			[FAULT_crash_leader] = 3,
			[FAULT_cut] = 10,
			[FAULT_slow_link] = 3,
		},
};

static sim_node *
some_node(void)
{
	return &W->nodes[rnd_between(1, (uint64_t) W->n_nodes)];
}

static void
weigh(sim_style style)
{
	/* which styles are left as they are, and how much the others are stirred */
	bool stir = style == STYLE_SWARM || chance(600);
	int sum = 0;

	for (int i = 0; i < N_FAULTS; i++)
	{
		int w = style_weights[style][i];
		bool on = chance(style == STYLE_SWARM ? 400 : 700);
		int times = (int) rnd_log(1, 32);

		/* by style what it never does stays out, but for a few strangers */
		if (stir)
		{
			if (w == 0 && (style == STYLE_SWARM || chance(60)))
				w = 2;
			w = on ? w * times : 0;
		}
		if (i == FAULT_clock_jump && W->leases_hold)
			w = 0;
		if (i == FAULT_configure || i >= FAULT_backup)
			w = 0; /* see fault_setup() */
		W->weights[i] = w;
		sum += w;
	}
	if (sum == 0)
		W->weights[FAULT_cut] = 1;
	for (int i = 0; i < N_AMBIENT; i++)
	{
		int usual = i == AMBIENT_bursts || i == AMBIENT_crash_again || i == AMBIENT_quiet_crash ||
							i == AMBIENT_struck
						? 200
					: i == AMBIENT_lost_calls ? 15
											  : 4;
		uint64_t r = rnd_below(10);

		W->ambient[i] = r < 3 ? 0 : r < 8 ? usual : (int) rnd_between(1, (uint64_t) usual * 4);
		if (W->options->no_ambient[i])
			W->ambient[i] = 0;
	}
}

static uint64_t
occurrence_seed(uint32_t index)
{
	uint64_t state = W->fault_rng ^ (uint64_t) index * UINT64_C(0xD6E8FEB86659FD93);

	return px_random(&state);
}

static void
next_fault(void)
{
	px_usec after = rnd_log(W->fault_every_us / 8 + 1, W->fault_every_us * 2);
	sim_event *e;

	if (chance(W->ambient[AMBIENT_bursts]))
		after = rnd_below(100);
	e = sim_at(W->now + after, E_FAULT, P_WORLD, 0);
	e->a = W->fault_gen;
}

static px_usec
a_while(void)
{
	return rnd_log(10 * SIM_MS, 8 * W->election_us);
}

/* ---- links ---- */

static void
heal_later(px_usec after, heal_kind kind, uint64_t what)
{
	sim_event *e = sim_at(W->now + after, E_HEAL, P_WORLD, 0);

	e->a = what;
	e->b = kind;
	e->life = W->fault_gen;
}

static void
block(px_node from, px_node to, px_usec how_long)
{
	if (from == to)
		return;
	W->blocked[from][to]++;
	heal_later(how_long, HEAL_BLOCK, (uint64_t) from << 16 | to);
}

static void
block_later(px_node from, px_node to, px_usec after, px_usec how_long)
{
	if (from != to)
		heal_later(after, BLOCK_BEGINS,
				   px_min64(how_long, UINT32_MAX) << 32 | (uint64_t) from << 16 | to);
}

/* Long blocks end connections, sooner or later, at either end. */
static void
wear(px_node x, px_node y)
{
	for (uint64_t i = 1; i <= W->n_conns; i++)
	{
		sim_conn *c = W->conns[i];

		if (c->cut || !((c->near == x && c->far == y) || (c->near == y && c->far == x)))
			continue;
		if (chance(400))
		{
			px_usec far = rnd_log(SIM_MS, 3 * W->election_us);

			net_cut(c, rnd_log(SIM_MS, 3 * W->election_us), far);
		}
	}
}

/* Two sides, which may overlap: nobody of one alone hears anybody of the other alone. */
static void
separate(uint32_t one, uint32_t other, px_usec after, px_usec how_long)
{
	for (int i = 1; i <= W->n_nodes; i++)
		for (int j = 1; j <= W->n_nodes; j++)
		{
			bool apart = ((one >> i) & 1) != 0 && ((other >> i) & 1) == 0 &&
						 ((other >> j) & 1) != 0 && ((one >> j) & 1) == 0;

			if (!apart)
				continue;
			block_later((px_node) i, (px_node) j, after, how_long);
			block_later((px_node) j, (px_node) i, after, how_long);
			if (after == 0)
				wear((px_node) i, (px_node) j);
		}
}

static void
split(uint32_t mask, px_usec how_long)
{
	separate(mask, ~mask, 0, how_long);
}

/* Every node keeps its neighbours in a ring, a majority with itself; no two the same. */
static void
ring(px_usec how_long)
{
	int reach = W->n_nodes / 4 + (W->n_nodes % 4 != 0 ? 1 : 0);
	px_node order[SIM_MAX_NODES];

	for (int i = 0; i < W->n_nodes; i++)
	{
		int j = (int) rnd_below((uint64_t) i + 1);

		order[i] = order[j];
		order[j] = (px_node) (i + 1);
	}
	for (int i = 0; i < W->n_nodes; i++)
		for (int j = i + 1; j < W->n_nodes; j++)
		{
			int apart = j - i < W->n_nodes - (j - i) ? j - i : W->n_nodes - (j - i);

			/* of three nodes each is a neighbour: leave two links of the three */
			if (W->n_nodes == 3 ? i == 0 && j == 2 : apart > reach)
			{
				block(order[i], order[j], how_long);
				block(order[j], order[i], how_long);
				wear(order[i], order[j]);
			}
		}
}

static void
flap(px_usec how_long)
{
	uint32_t mask = (uint32_t) rnd_below(UINT64_C(1) << (W->n_nodes + 1));
	int times = (int) rnd_between(3, 12);
	px_usec period = how_long / (px_usec) times + 2 * SIM_MS;

	for (int i = 0; i < times; i++)
	{
		px_usec off = rnd_between(1, period);

		separate(mask, ~mask, (px_usec) i * period, off);
	}
}

static void
swizzle(px_usec how_long)
{
	int part = (int) rnd_between(300, 1000);

	for (int i = 1; i <= W->n_nodes; i++)
		for (int j = i + 1; j <= W->n_nodes; j++)
		{
			px_usec stop = rnd_below(how_long + 1);
			px_usec go = how_long + rnd_below(how_long + 1);

			if (!chance(part))
				continue;
			block_later((px_node) i, (px_node) j, stop, go - stop);
			block_later((px_node) j, (px_node) i, stop, go - stop);
		}
}

static void
slow(px_node from, px_node to, px_usec how_long, int times)
{
	W->slow_until[from][to] = W->now + how_long;
	W->slow_times[from][to] = times;
}

/* ---- processes ---- */

void
fault_restart_later(sim_node *n, px_usec after)
{
	sim_at(W->now + after, E_START_SERVER, P_WORLD, n->place);
}

void
fault_heal_amnesia(sim_node *n, px_usec after)
{
	heal_later(after, HEAL_AMNESIA, n->place);
}

static void
kill_proposer(sim_node *n, px_usec after)
{
	if (!n->up || n->set_apart)
		return;
	node_kill_proposer(n);
	sim_at(W->now + after, E_START_PROPOSER, P_SERVER, n->place)->life = n->boot;
}

void
fault_kill_proposer(sim_node *n)
{
	kill_proposer(n, rnd_log(SIM_MS, W->election_us));
}

void
fault_crash(sim_node *n)
{
	bool again = chance(W->ambient[AMBIENT_crash_again]);

	if (!n->up || n->set_apart)
		return;
	node_crash(n, chance(W->ambient[AMBIENT_quiet_crash]));
	fault_restart_later(n, rnd_log(5 * SIM_MS, 6 * W->election_us));

	/* not seldom what crashed once does so again as soon as it is up */
	if (again)
		heal_later(rnd_log(5 * SIM_MS, 200 * SIM_MS), HEAL_CRASH, n->place);
}

/* Before anything else happens, but not within what happens just now. */
void
fault_crash_soon(sim_node *n)
{
	heal_later(0, HEAL_CRASH, n->place);
}

/* In a moment, while it is in the middle of what it has just been asked for. */
void
fault_strike_soon(sim_node *n)
{
	cover(cov_struck);
	heal_later(rnd_log(50, 8 * W->latency_us + 4 * n->flush_us), STRIKE, n->place);
}

static void
strike(sim_node *n)
{
	px_usec how_long = a_while();
	px_usec far;

	switch (rnd_below(5))
	{
		case 0:
			fault_crash(n);
			break;
		case 1:
			fault_kill_proposer(n);
			break;
		case 2:
			split(1u << n->id, how_long);
			break;
		case 3:
			for (uint64_t i = 1; i <= W->n_conns; i++)
				if (!W->conns[i]->cut && W->conns[i]->near == n->place)
				{
					far = rnd_log(50, 20 * SIM_MS);
					net_cut(W->conns[i], rnd_log(50, 20 * SIM_MS), far);
				}
			break;
		default:
			n->proposer_until = W->now + how_long;
			break;
	}
}

static void
crash_many(void)
{
	bool all = chance(600);
	int down = 0;

	for (int i = 1; i <= W->n_nodes; i++)
		if (all || chance(500))
		{
			fault_crash(&W->nodes[i]);
			down++;
		}
	if (down == W->n_nodes)
		cover(cov_all_crashed);
}

static void
duel(void)
{
	cover(cov_duel);
	for (int i = 1; i <= W->n_nodes; i++)
		kill_proposer(&W->nodes[i], rnd_below(2 * SIM_MS));
}

/* One of the newest connections, likely a living one; or NULL. */
static sim_conn *
some_conn(void)
{
	uint64_t back = rnd_below(px_min64(W->n_conns, 40));

	return W->n_conns == 0 ? NULL : W->conns[W->n_conns - back];
}

static void
retime(sim_node *n)
{
	n->params.heartbeat_us = W->election_us / rnd_between(4, 10);
	n->params.lease_us = rnd_between(n->params.heartbeat_us, W->election_us);
	n->params.pipeline_depth = (uint16_t) rnd_between(1, PX_MAX_WINDOW);
	if (n->up && n->proposer_up)
	{
		cover(cov_retimed);
		px_proposer_retime(n->proposer, n->params.heartbeat_us, n->params.election_timeout_us,
						   n->params.lease_us, n->params.lease_readable, n->params.pipeline_depth);
		node_wake(n);
	}
}

static void
happen(sim_fault kind)
{
	sim_node *n = some_node();
	sim_node *m = some_node();
	sim_node *leader = node_leader();
	px_usec how_long = a_while();
	sim_conn *c;
	px_usec near;
	px_usec far;

	if (leader == NULL)
		leader = n;
	switch (kind)
	{
		case FAULT_cut:
		case FAULT_lose_answers:
			c = some_conn();
			far = rnd_log(50, chance(500) ? 20 * SIM_MS : 6 * W->election_us);
			near = rnd_log(50, chance(700) ? 20 * SIM_MS : 3 * W->election_us);
			if (c != NULL && kind == FAULT_cut)
				net_cut(c, near, far);
			else if (c != NULL)
				net_lose_answers(c, near, far);
			break;
		case FAULT_cut_node:
			for (uint64_t i = 1; i <= W->n_conns; i++)
				if (!W->conns[i]->cut &&
					(W->conns[i]->near == n->place || W->conns[i]->far == n->place))
				{
					far = rnd_log(50, 20 * SIM_MS);
					net_cut(W->conns[i], rnd_log(50, 20 * SIM_MS), far);
				}
			break;
		case FAULT_kill_backend:
			c = some_conn();
			if (c != NULL && !c->cut && !c->forward)
				node_kill_backend(&W->nodes[c->far], c);
			break;
		case FAULT_crash:
			fault_crash(n);
			break;
		case FAULT_crash_leader:
			fault_crash(leader);
			break;
		case FAULT_crash_many:
			crash_many();
			break;
		case FAULT_crash_at:
			n = chance(400) ? leader : n;
			n->armed = (sim_coverage) rnd_between(cov_prepare_written, cov_half_update);
			break;
		case FAULT_flush_fails:
			(chance(400) ? leader : n)->flush_fails = true;
			break;
		case FAULT_kill_proposer:
			near = rnd_log(SIM_MS, W->election_us);
			kill_proposer(chance(500) ? leader : n, near);
			break;
		case FAULT_kill_all_proposers:
			duel();
			break;
		case FAULT_retime:
			retime(n);
			break;
		case FAULT_learner_stall:
			if (W->weights[FAULT_learner_stall] > 20 && chance(600))
			{
				for (int i = 1; i <= W->n_nodes; i++)
					W->nodes[i].learner_until = W->now + how_long * 2;
			}
			else
				n->learner_until = W->now + how_long * 2;
			break;
		case FAULT_learner_restart:
			node_restart_learner(n);
			if (chance(500))
				n->learner_until = W->now + how_long / 4;
			break;
		case FAULT_pause:
			(chance(400) ? leader : n)->paused_until = W->now + how_long;
			break;
		case FAULT_pause_many:
			for (int i = 1; i <= W->n_nodes; i++)
				if (chance(600))
					W->nodes[i].paused_until = W->now + rnd_below(how_long);
			break;
		case FAULT_proposer_stall:
			(chance(400) ? leader : n)->proposer_until = W->now + how_long;
			break;
		case FAULT_one_way:
			block(n->id, m->id, how_long);
			wear(n->id, m->id);
			break;
		case FAULT_two_way:
			block(n->id, m->id, how_long);
			block(m->id, n->id, how_long);
			wear(n->id, m->id);
			break;
		case FAULT_split:
			split((uint32_t) rnd_below(UINT64_C(1) << (W->n_nodes + 1)), how_long);
			break;
		case FAULT_ring:
			ring(how_long);
			break;
		case FAULT_bridge:
		{
			uint32_t side = (uint32_t) rnd_below(UINT64_C(1) << (W->n_nodes + 1));

			separate(side | 1u << n->id, ~side | 1u << n->id, 0, how_long);
			break;
		}
		case FAULT_isolate_leader:
			split(1u << leader->id, how_long);
			break;
		case FAULT_flap:
			flap(how_long);
			break;
		case FAULT_swizzle:
			swizzle(how_long);
			break;
		case FAULT_slow_link:
			slow(n->id, m->id, how_long, (int) rnd_log(4, 200));
			if (chance(500))
				slow(m->id, n->id, how_long, (int) rnd_log(4, 200));
			break;
		case FAULT_slow_node:
			for (int i = 1; i <= W->n_nodes; i++)
			{
				slow(n->id, (px_node) i, how_long, (int) rnd_log(4, 200));
				slow((px_node) i, n->id, how_long, (int) rnd_log(4, 200));
			}
			break;
		case FAULT_slow_disk:
			n = chance(400) ? leader : n;
			n->slow_disk_until = W->now + how_long * (chance(200) ? 4 : 1);
			n->slow_disk_times = (int) rnd_log(5, 400);
			break;
		case FAULT_slow_disks:
			for (int i = 1; i <= W->n_nodes; i++)
			{
				W->nodes[i].slow_disk_until = W->now + how_long;
				W->nodes[i].slow_disk_times = (int) rnd_log(5, 100);
			}
			break;
		case FAULT_clock_rate:
			sim_set_clock(n, 0, (int64_t) rnd_below((uint64_t) W->max_ppm * 2 + 1) - W->max_ppm);
			break;
		case FAULT_clock_jump:
			sim_set_clock(n, rnd_log(SIM_MS, 60 * SIM_SEC), n->ppm);
			node_wake(n);
			break;
		case FAULT_wall_jump:
		{
			int64_t by = (int64_t) rnd_log(SIM_MS, 400 * 86400 * SIM_SEC);

			n->wall_offset_us += chance(500) ? by : -by;
			break;
		}
		case FAULT_transfer:
			node_transfer(leader,
						  chance(300) ? 0 : (px_node) rnd_between(1, (uint64_t) W->n_nodes));
			break;
		case FAULT_no_vote:
			n->no_vote = true;
			node_wake(n);
			heal_later(how_long, HEAL_VOTE, n->place);
			break;
		case FAULT_stuck:
			leader->learner_until = W->now + how_long;
			leader->told_stuck = true;
			node_wake(leader);
			break;
		case FAULT_configure:
			config_want();
			break;
		case FAULT_backup:
		case FAULT_restore:
		case FAULT_roll_back:
		case FAULT_clone:
		case FAULT_fsync_off:
			amnesia_happen(kind, n, how_long);
			break;
		case N_FAULTS:
			break;
	}
}

void
fault_now(const sim_event *e)
{
	uint64_t keep = W->rng;
	uint32_t index;
	int64_t sum = 0;
	int64_t at;
	int kind = 0;

	if (W->phase != PHASE_CHAOS || e->a != W->fault_gen)
		return;
	index = ++W->n_faults;
	W->rng = occurrence_seed(index);
	next_fault();
	for (int i = 0; i < N_FAULTS; i++)
		sum += W->weights[i];
	at = (int64_t) rnd_below((uint64_t) sum);
	while ((at -= W->weights[kind]) >= 0)
		kind++;
	if (!W->options->no_fault[kind] && !sim_dropped(W->options, index))
	{
		TRACE(NULL, "fault %u, %s: %s", index, sim_fault_name[kind], fault_text[kind]);
		sim_faults[kind]++;
		if (W->faults_done < SIM_FAULT_LINES)
		{
			W->fault_lines[W->faults_done].at = W->now;
			W->fault_lines[W->faults_done].index = index;
			W->fault_lines[W->faults_done].kind = (sim_fault) kind;
		}
		W->faults_done++;
		W->fault_counts[kind]++;
		happen((sim_fault) kind);
	}
	W->rng = keep;
}

void
fault_heal(const sim_event *e)
{
	if (e->life != W->fault_gen)
		return;
	switch ((heal_kind) e->b)
	{
		case HEAL_BLOCK:
			W->blocked[e->a >> 16][e->a & 0xffff]--;
			break;
		case BLOCK_BEGINS:
			block((px_node) (e->a >> 16 & 0xffff), (px_node) (e->a & 0xffff), e->a >> 32);
			break;
		case HEAL_CRASH:
			fault_crash(&W->nodes[e->a]);
			break;
		case HEAL_AMNESIA:
			amnesia_heal(&W->nodes[e->a]);
			break;
		case STRIKE:
			strike(&W->nodes[e->a]);
			break;
		case HEAL_VOTE:
			W->nodes[e->a].no_vote = false;
			node_wake(&W->nodes[e->a]);
			break;
	}
}

/*
 * From here on nothing fails any more.  All servers run, or only a majority;
 * sometimes elections are provoked everywhere at this moment.
 */
void
fault_end(void)
{
	const px_config *last = config_last();
	int spare = (px_config_voters(last) - 1) / 2;
	bool minority_down = chance(250) && config_settled();
	px_usec slowest;
	uint64_t backlog = 0; /* an election timeout by the slowest clock allowed */

	W->phase = PHASE_END;
	W->fault_gen++;
	memset(W->blocked, 0, sizeof(W->blocked));
	amnesia_end();
	for (int i = 0; i < last->n_members; i++)
		if (last->members[i].voter && W->nodes[last->members[i].node].lost)
			spare--;
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		n->paused_until = 0;
		n->proposer_until = 0;
		n->learner_until = 0;
		n->told_stuck = false;
		n->no_vote = false;
		n->slow_disk_until = 0;
		n->flush_fails = false;
		n->armed = N_COVERAGE;
		if (n->ppm > SIM_END_PPM || n->ppm < -SIM_END_PPM)
			sim_set_clock(n, 0, n->ppm / 10);
		if (minority_down && px_config_is_voter(last, n->id) && spare > 0 && !n->lost &&
			(!n->up || chance(300)))
		{
			spare--;
			node_crash(n, chance(500));
			continue;
		}
		node_start_server(n);
		node_start_proposer(n);
	}
	TRACE(NULL, "no more faults");
	if (chance(300))
		duel();
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		if (!n->up)
			continue;
		backlog = px_max64(backlog, n->params.outbox_depth);
		n->read_signal = true;
		node_wake(n);
		node_wake_learner(n);
		for (int j = 0; j < W->n_sessions; j++)
		{
			sim_session *s = &n->sessions[j];

			/* one more write and one more read of each node must succeed */
			s->final_todo = j == 0 ? 2 : 0;
			if (s->state == S_IDLE)
				client_schedule(n, s, rnd_below(5 * SIM_MS));
		}
	}
	W->end_began = W->now;
	slowest = W->election_us;
	if (!W->leases_hold)
		slowest += slowest / 4;
	W->leader_deadline = W->now + 24 * slowest;

	/*
	 * A leader's queue may hold as little as one batch here, and what it does
	 * not take is sent again after a time-out: so one more for each session, and for
	 * each batch that may wait for sessions that gave up long ago.
	 */
	W->end_deadline = W->now + (60 + (px_usec) W->n_sessions + backlog) * slowest;
}

/* Is everything that waited finished, and everybody at the same point? */
bool
fault_done(void)
{
	sim_node *leader = node_leader();
	const char *what = NULL;
	px_node who = 0;

	if (leader != NULL && leader->ready && !W->leader_seen)
	{
		W->leader_seen = true;
		W->leader_took_us = W->now - W->end_began;
	}
	if (!W->leader_seen && W->now > W->leader_deadline)
		sim_fail("no leader was ready 24 election timeouts after the last fault (§ 11.10)");
	if ((W->step & 15) != 0 && W->now <= W->end_deadline)
		return false;
	if (leader == NULL || !leader->ready)
		what = "there is no ready leader";
	for (int i = 1; i <= W->n_nodes && what == NULL; i++)
	{
		sim_node *n = &W->nodes[i];

		if (!n->up || n->lost || px_config_find(config_last(), n->id) < 0)
			continue;
		who = n->id;
		for (int j = 0; j < W->n_sessions && what == NULL; j++)
		{
			sim_session *s = &n->sessions[j];

			if (s->state == S_QUEUED)
				what = "a command waits in the queue";
			else if (s->state == S_NUMBERED)
				what = "a numbered command waits";
			else if (s->state == S_OPEN || s->state == S_TURN)
				what = "a transaction waits";
			else if (s->state != S_IDLE)
				what = "a linearizable read waits";
			else if (!s->finished)
				what = "a session has not done its last write and read";
		}
		if (what == NULL && n->visible.tables.applied < W->prefix)
			what = "the learner has not applied everything";
	}
	if (what == NULL)
	{
		for (int i = 1; i <= W->n_nodes; i++)
			if (W->nodes[i].up)
				check_tables(&W->nodes[i], &W->nodes[i].visible.tables);
		W->took_us = W->now - W->end_began;
		return true;
	}
	if (W->now > W->end_deadline)
		sim_fail("%d election timeouts after the last fault, on node %u: %s (§ 11.10)",
				 60 + W->n_sessions, who, what);
	return false;
}

/* The world of a seed. */
void
fault_setup(const sim_options *options)
{
	sim_style style;
	bool readable;
	int nodes = options->nodes;
	int n_voters;
	px_usec heartbeat;
	uint16_t depth;
	uint32_t max_batch;
	uint32_t max_value;

	W->options = options;
	W->seed = options->seed;
	W->rng = W->seed * UINT64_C(0xD1342543DE82EF95) + 1;
	W->fault_rng = rnd();
	W->phase = PHASE_CHAOS;
	style = (sim_style) rnd_below(N_STYLES);
	if (nodes == 0)
	{
		uint64_t r = rnd_below(100);

		nodes = r < 50 ? 3 : r < 82 ? 5 : r < 88 ? 4 : r < 93 ? 7 : r < 96 ? 2 : r < 98 ? 6 : 1;
	}
	else
		rnd();
	W->n_nodes = nodes;
	cover((sim_coverage) (cov_of_one + nodes - 1));
	n_voters = nodes;
	if (nodes >= 4 && chance(250))
	{
		n_voters = nodes - 1;
		cover(cov_learner_member);
	}
	W->max_steps = options->steps;
	for (int i = 1; i <= SIM_PLACES; i++)
		node_init(&W->nodes[i], (px_node) i, (px_node) (i <= SIM_MAX_NODES ? i : 0));
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		W->address[i] = (px_node) i;
	W->config.slot = 0;
	W->config.n_members = (uint8_t) W->n_nodes;
	for (int i = 0; i < W->n_nodes; i++)
	{
		W->config.members[i].node = (px_node) (i + 1);
		W->config.members[i].voter = i < n_voters;
	}
	config_setup();

	W->latency_us = rnd_log(50, 4 * SIM_MS);
	W->jitter_us = rnd_log(20, W->latency_us * 2);
	W->election_us = rnd_between(250, 700) * SIM_MS;
	heartbeat = W->election_us / rnd_between(4, 10);
	W->n_sessions = (int) rnd_between(1, chance(300) ? SIM_MAX_SESSIONS : 5);
	W->think_us = chance(300) ? rnd_log(100, SIM_MS) : rnd_log(SIM_MS, 200 * SIM_MS);
	W->timeout_us = rnd_log(100 * SIM_MS, 8 * SIM_SEC);
	W->read_permille = (int) rnd_between(50, 500);
	W->request_permille = chance(300) ? 0 : (int) rnd_between(50, 900);
	W->retention_us = rnd_log(200 * SIM_MS, 100 * SIM_SEC);
	W->max_pad = (uint16_t) rnd_log(1, 400);
	W->truncating = chance(600);
	readable = chance(250);
	W->leases_hold = !chance(150);
	if (!W->leases_hold)
		cover(cov_beyond);
	W->max_ppm = W->leases_hold ? SIM_DRIFT_PPM : (int64_t) rnd_log(SIM_DRIFT_PPM, 600000);
	W->tail_us = rnd_log(20 * SIM_MS, 4 * W->election_us);
	weigh(style);
	W->changing = chance(450);
	if (W->changing)
	{
		int sum = 0;
		int share = (int) rnd_log(5, 300); /* as against all other faults, in hundredths */

		for (int i = 0; i < N_FAULTS; i++)
			sum += W->weights[i];
		W->weights[FAULT_configure] = sum * share / 100 + 1;
	}
	if (chance(300))
	{
		int sum = 0;
		int share = (int) rnd_log(5, 200);

		for (int i = 0; i < N_FAULTS; i++)
			sum += W->weights[i];
		for (int i = FAULT_backup; i < N_FAULTS; i++)
			W->weights[i] = chance(700) ? sum * share / 400 + 1 : 0;
		if (W->weights[FAULT_restore] > 0 || W->weights[FAULT_roll_back] > 0)
			W->weights[FAULT_backup] = sum * share / 400 + 1;
	}
	W->stale_leases = readable && !W->leases_hold;
	if (style == STYLE_BEHIND)
	{
		W->n_sessions = (int) rnd_between(6, SIM_MAX_SESSIONS);
		W->think_us = rnd_log(100, 2 * SIM_MS);
		W->timeout_us = rnd_log(20 * SIM_MS, 300 * SIM_MS);
		W->latency_us = rnd_log(50, 500);
		W->jitter_us = rnd_log(20, W->latency_us);
	}
	if (options->sessions > 0 && W->n_sessions > options->sessions)
		W->n_sessions = options->sessions;
	set_setup();
	W->fault_every_us = rnd_log(20 * SIM_MS, 2 * W->election_us);
	W->chaos_ends = rnd_between(8, 40) * W->election_us;
	depth = (uint16_t) (chance(300) ? PX_MAX_WINDOW : rnd_log(1, PX_MAX_WINDOW));
	max_batch = (uint32_t) rnd_between(
		PX_BATCH_HEADER_BYTES + PX_COMMAND_HEADER_BYTES + SIM_COMMAND_BYTES + W->max_pad + 8, 1600);
	max_value = (uint32_t) rnd_between(max_batch + PX_VALUE_HEADER_BYTES, 4 * max_batch + 64);
	for (int i = 1; i <= SIM_MAX_NODES; i++)
	{
		sim_node *n = &W->nodes[i];
		px_proposer_params *p = &n->params;

		n->clock_us = rnd_between(SIM_SEC, 1000000 * SIM_SEC);
		n->wall_offset_us = (int64_t) (1700000000 * SIM_SEC + rnd_below(5 * SIM_SEC));
		n->ppm = (int64_t) rnd_below((uint64_t) W->max_ppm * 2 + 1) - W->max_ppm;
		if (i > 1 && chance(200))
			n->ppm = chance(500) ? W->max_ppm : -W->max_ppm;
		n->flush_us = rnd_log(80, 4 * SIM_MS);
		memset(p, 0, sizeof(*p));
		p->heartbeat_us = heartbeat;
		p->election_timeout_us = W->election_us;
		p->pipeline_depth = depth;
		p->pipeline_gap_us = chance(500) ? 0 : rnd_log(100, 5 * SIM_MS);
		p->tell_delay_us = chance(500) ? 0 : rnd_log(100, 20 * SIM_MS);
		p->thrifty = chance(500);
		p->outbox_depth = (uint16_t) (chance(300) ? PX_MAX_OUTBOX : rnd_log(1, PX_MAX_OUTBOX));
		p->max_batch_bytes = max_batch;

		/*
		 * The same everywhere: a node that can hold only smaller values than
		 * others have proposed could not lead.
		 */
		p->max_value_bytes = max_value;
		p->intake_bytes = (uint32_t) rnd_between(max_batch + PX_VALUE_HEADER_BYTES, 40 * max_batch);
		p->lease_us = chance(800) ? W->election_us : rnd_between(heartbeat, W->election_us);
		p->lease_readable = readable;
		p->drift_ppm = 50000;
		if (n->exists)
			sim_at(rnd_below(50 * SIM_MS), E_START_SERVER, P_WORLD, n->place);
	}
	next_fault();
	sim_at(W->chaos_ends, E_END, P_WORLD, 0);
}
