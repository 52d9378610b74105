/*
 * sim_fault.c
 *	  What goes wrong, when; and the end phase, in which nothing does any more
 *	  and everything must come to an end (protocol.md § 11.10).
 *
 * Each seed is of one of a few *styles*, which weigh the faults; sizes, speeds
 * and the core's parameters are drawn from the seed as well.
 */
#include "sim.h"

typedef enum sim_style
{
	STYLE_MIXED,   /* a bit of everything */
	STYLE_CRASHES, /* servers die in the middle of flushes */
	STYLE_PARTITIONS,
	STYLE_CONNECTIONS, /* cuts, resends, restarts of proposers */
	STYLE_BEHIND,      /* learners stall for long, all servers die */
	STYLE_CALM,        /* load and hand-overs only */
	STYLE_DUEL,        /* elections everywhere at once, again and again */
	N_STYLES
} sim_style;

typedef enum heal_kind
{
	HEAL_BLOCK,
	HEAL_VOTE,
	HEAL_CRASH
} heal_kind;

static sim_node *
some_node(void)
{
	return &W->nodes[rnd_between(1, (uint64_t) W->n_nodes)];
}

static void
weigh(sim_style style)
{
	sim_weights *w = &W->weights;

	memset(w, 0, sizeof(*w));
	switch (style)
	{
		case STYLE_MIXED:
			w->cut = 20;
			w->cut_node = 4;
			w->crash = 8;
			w->crash_leader = 4;
			w->crash_many = 2;
			w->kill_proposer = 6;
			w->kill_all_proposers = 1;
			w->learner_stall = 6;
			w->learner_restart = 4;
			w->pause = 6;
			w->proposer_stall = 5;
			w->one_way = 5;
			w->two_way = 5;
			w->split = 5;
			w->isolate_leader = 3;
			w->slow_disk = 4;
			w->transfer = 4;
			w->no_vote = 2;
			w->stuck = 2;
			w->retime = 1;
			break;
		case STYLE_CRASHES:
			w->cut = 5;
			w->crash = 25;
			w->crash_leader = 10;
			w->crash_many = 5;
			w->kill_proposer = 8;
			w->slow_disk = 10;
			w->learner_stall = 5;
			break;
		case STYLE_PARTITIONS:
			w->one_way = 15;
			w->two_way = 15;
			w->split = 15;
			w->isolate_leader = 10;
			w->cut = 10;
			w->crash = 3;
			w->pause = 5;
			break;
		case STYLE_CONNECTIONS:
			w->cut = 60;
			w->cut_node = 10;
			w->kill_proposer = 10;
			w->proposer_stall = 10;
			w->slow_disk = 8;
			break;
		case STYLE_BEHIND:
			w->learner_stall = 40;
			w->crash_many = 6;
			w->crash_leader = 2;
			w->cut = 5;
			w->kill_proposer = 3;
			break;
		case STYLE_CALM:
			w->transfer = 20;
			w->stuck = 3;
			w->learner_restart = 5;
			w->no_vote = 3;
			w->retime = 3;
			break;
		case STYLE_DUEL:
			w->kill_all_proposers = 20;
			w->crash_leader = 3;
			w->cut = 10;
			break;
		case N_STYLES:
			break;
	}
}

static void
next_fault(void)
{
	sim_event *e = sim_at(W->now + rnd_log(W->fault_every_us / 8 + 1, W->fault_every_us * 2),
						  E_FAULT, P_WORLD, 0);

	e->a = W->fault_gen;
}

static px_usec
a_while(void)
{
	return rnd_log(10 * SIM_MS, 8 * W->election_us);
}

static void
block(px_node from, px_node to, px_usec how_long)
{
	sim_event *e;

	if (from == to)
		return;
	W->blocked[from][to]++;
	e = sim_at(W->now + how_long, E_HEAL, P_WORLD, 0);
	e->a = (uint64_t) from << 16 | to;
	e->b = HEAL_BLOCK;
	e->life = W->fault_gen;
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

static void
restart_later(sim_node *n, px_usec after)
{
	sim_at(W->now + after, E_START_SERVER, P_WORLD, n->id);
}

static void
kill_proposer(sim_node *n, px_usec after)
{
	if (!n->up)
		return;
	node_kill_proposer(n);
	sim_at(W->now + after, E_START_PROPOSER, P_SERVER, n->id)->life = n->boot;
}

static void
crash(sim_node *n)
{
	if (!n->up)
		return;
	node_crash(n, chance(300));
	restart_later(n, rnd_log(5 * SIM_MS, 6 * W->election_us));

	/* not seldom what crashed once does so again as soon as it is up */
	if (chance(200))
	{
		sim_event *e = sim_at(W->now + rnd_log(5 * SIM_MS, 200 * SIM_MS), E_HEAL, P_WORLD, 0);

		e->a = n->id;
		e->b = HEAL_CRASH;
		e->life = W->fault_gen;
	}
}

static void
crash_many(void)
{
	int all = chance(600);
	int down = 0;

	for (int i = 1; i <= W->n_nodes; i++)
		if (all || chance(500))
		{
			crash(&W->nodes[i]);
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

static void
split(uint32_t mask, px_usec how_long)
{
	for (int i = 1; i <= W->n_nodes; i++)
		for (int j = 1; j <= W->n_nodes; j++)
			if (((mask >> i) & 1) != ((mask >> j) & 1))
			{
				block((px_node) i, (px_node) j, how_long);
				if (i < j)
					wear((px_node) i, (px_node) j);
			}
}

static bool
pick(int64_t *at, int weight)
{
	*at -= weight;
	return *at < 0;
}

void
fault_now(const sim_event *e)
{
	const sim_weights *w = &W->weights;
	const int *all = (const int *) w;
	int64_t sum = 0;
	int64_t at;
	sim_node *n = some_node();
	sim_node *leader = node_leader();
	px_usec how_long = a_while();

	if (W->phase != PHASE_CHAOS || e->a != W->fault_gen)
		return;
	for (size_t i = 0; i < sizeof(*w) / sizeof(int); i++)
		sum += all[i];
	at = (int64_t) rnd_below((uint64_t) sum);
	if (leader == NULL)
		leader = n;
	if (pick(&at, w->cut))
	{
		/* one of the newest connections, likely a living one */
		uint64_t back = rnd_below(px_min64(W->n_conns, 40));

		if (W->n_conns > 0)
		{
			px_usec far = rnd_log(50, chance(500) ? 20 * SIM_MS : 6 * W->election_us);
			px_usec near = rnd_log(50, chance(700) ? 20 * SIM_MS : 3 * W->election_us);

			net_cut(W->conns[W->n_conns - back], near, far);
		}
	}
	else if (pick(&at, w->cut_node))
	{
		for (uint64_t i = 1; i <= W->n_conns; i++)
			if (!W->conns[i]->cut && (W->conns[i]->near == n->id || W->conns[i]->far == n->id))
			{
				px_usec far = rnd_log(50, 20 * SIM_MS);

				net_cut(W->conns[i], rnd_log(50, 20 * SIM_MS), far);
			}
	}
	else if (pick(&at, w->crash))
		crash(n);
	else if (pick(&at, w->crash_leader))
		crash(leader);
	else if (pick(&at, w->crash_many))
		crash_many();
	else if (pick(&at, w->kill_proposer))
	{
		px_usec after = rnd_log(SIM_MS, W->election_us);

		kill_proposer(chance(500) ? leader : n, after);
	}
	else if (pick(&at, w->kill_all_proposers))
		duel();
	else if (pick(&at, w->retime))
	{
		n->params.heartbeat_us = W->election_us / rnd_between(4, 10);
		n->params.lease_us = rnd_between(n->params.heartbeat_us, W->election_us);
		n->params.pipeline_depth = (uint16_t) rnd_between(1, PX_MAX_WINDOW);
		if (n->up && n->proposer_up)
		{
			cover(cov_retimed);
			px_proposer_retime(n->proposer, n->params.heartbeat_us, n->params.election_timeout_us,
							   n->params.lease_us, n->params.pipeline_depth);
			node_wake(n);
		}
	}
	else if (pick(&at, w->learner_stall))
	{
		if (W->weights.learner_stall > 20 && chance(600))
		{
			for (int i = 1; i <= W->n_nodes; i++)
				W->nodes[i].learner_until = W->now + how_long * 2;
		}
		else
			n->learner_until = W->now + how_long * 2;
	}
	else if (pick(&at, w->learner_restart))
		node_restart_learner(n);
	else if (pick(&at, w->pause))
		(chance(400) ? leader : n)->paused_until = W->now + how_long;
	else if (pick(&at, w->proposer_stall))
		(chance(400) ? leader : n)->proposer_until = W->now + how_long;
	else if (pick(&at, w->one_way))
	{
		sim_node *m = some_node();

		block(n->id, m->id, how_long);
		wear(n->id, m->id);
	}
	else if (pick(&at, w->two_way))
	{
		sim_node *m = some_node();

		block(n->id, m->id, how_long);
		block(m->id, n->id, how_long);
		wear(n->id, m->id);
	}
	else if (pick(&at, w->split))
		split((uint32_t) rnd_below(UINT64_C(1) << (W->n_nodes + 1)), how_long);
	else if (pick(&at, w->isolate_leader))
		split(1u << leader->id, how_long);
	else if (pick(&at, w->slow_disk))
		n->slow_disk_until = W->now + how_long;
	else if (pick(&at, w->transfer))
		node_transfer(leader, chance(300) ? 0 : (px_node) rnd_between(1, (uint64_t) W->n_nodes));
	else if (pick(&at, w->no_vote))
	{
		sim_event *h;

		n->no_vote = true;
		node_wake(n);
		h = sim_at(W->now + how_long, E_HEAL, P_WORLD, 0);
		h->a = n->id;
		h->b = HEAL_VOTE;
		h->life = W->fault_gen;
	}
	else if (pick(&at, w->stuck))
	{
		leader->learner_until = W->now + how_long;
		leader->told_stuck = true;
		node_wake(leader);
	}
	next_fault();
}

void
fault_heal(const sim_event *e)
{
	if (e->life != W->fault_gen)
		return;
	if (e->b == HEAL_BLOCK)
		W->blocked[e->a >> 16][e->a & 0xffff]--;
	else if (e->b == HEAL_CRASH)
		crash(&W->nodes[e->a]);
	else
	{
		W->nodes[e->a].no_vote = false;
		node_wake(&W->nodes[e->a]);
	}
}

/*
 * From here on nothing fails any more.  All servers run, or only a majority;
 * sometimes elections are provoked everywhere at this moment.
 */
void
fault_end(void)
{
	int spare = (W->n_voters - 1) / 2;
	bool minority_down = chance(250);

	W->phase = PHASE_END;
	W->fault_gen++;
	memset(W->blocked, 0, sizeof(W->blocked));
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		n->paused_until = 0;
		n->proposer_until = 0;
		n->learner_until = 0;
		n->told_stuck = false;
		n->no_vote = false;
		n->slow_disk_until = 0;
		if (minority_down && i <= W->n_voters && spare > 0 && (!n->up || chance(300)))
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
	W->leader_deadline = W->now + 24 * W->election_us;

	/*
	 * A leader's queue may hold as little as one batch here, and what it does
	 * not take is sent again after a time-out: so one more for each session.
	 */
	W->end_deadline = W->now + (60 + (px_usec) W->n_sessions) * W->election_us;
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

		if (!n->up)
			continue;
		who = n->id;
		for (int j = 0; j < W->n_sessions && what == NULL; j++)
		{
			sim_session *s = &n->sessions[j];

			if (s->state == S_QUEUED)
				what = "a command waits in the queue";
			else if (s->state == S_NUMBERED)
				what = "a numbered command waits";
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
fault_setup(uint64_t seed, int nodes, uint64_t steps)
{
	sim_style style;
	bool readable;
	px_usec heartbeat;
	uint16_t depth;
	uint32_t max_batch;
	uint32_t max_value;

	W->seed = seed;
	W->rng = seed * UINT64_C(0xD1342543DE82EF95) + 1;
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
	W->n_voters = nodes;
	if (nodes >= 4 && chance(250))
	{
		W->n_voters = nodes - 1;
		cover(cov_learner_member);
	}
	W->max_steps = steps;
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		node_init(&W->nodes[i], (px_node) i);
	W->config.slot = 0;
	W->config.n_members = (uint8_t) W->n_nodes;
	for (int i = 0; i < W->n_nodes; i++)
	{
		W->config.members[i].node = (px_node) (i + 1);
		W->config.members[i].voter = i < W->n_voters;
	}

	W->latency_us = rnd_log(50, 4 * SIM_MS);
	W->jitter_us = rnd_log(20, W->latency_us * 2);
	W->election_us = rnd_between(250, 700) * SIM_MS;
	heartbeat = W->election_us / rnd_between(4, 10);
	W->n_sessions = (int) rnd_between(1, chance(300) ? SIM_MAX_SESSIONS : 5);
	W->think_us = chance(300) ? rnd_log(100, SIM_MS) : rnd_log(SIM_MS, 200 * SIM_MS);
	W->timeout_us = rnd_log(100 * SIM_MS, 8 * SIM_SEC);
	W->read_permille = (int) rnd_between(50, 500);
	W->max_pad = (uint16_t) rnd_log(1, 400);
	W->truncating = chance(600);
	readable = chance(250);
	weigh(style);
	if (style == STYLE_BEHIND)
	{
		W->n_sessions = (int) rnd_between(6, SIM_MAX_SESSIONS);
		W->think_us = rnd_log(100, 2 * SIM_MS);
		W->timeout_us = rnd_log(20 * SIM_MS, 300 * SIM_MS);
		W->latency_us = rnd_log(50, 500);
		W->jitter_us = rnd_log(20, W->latency_us);
	}
	W->fault_every_us = rnd_log(20 * SIM_MS, 2 * W->election_us);
	W->chaos_ends = rnd_between(8, 40) * W->election_us;
	depth = (uint16_t) (chance(300) ? PX_MAX_WINDOW : rnd_log(1, PX_MAX_WINDOW));
	max_batch = (uint32_t) rnd_between(
		PX_BATCH_HEADER_BYTES + PX_COMMAND_HEADER_BYTES + 32 + W->max_pad + 8, 1600);
	max_value = (uint32_t) rnd_between(max_batch + PX_VALUE_HEADER_BYTES, 4 * max_batch + 64);
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];
		px_proposer_params *p = &n->params;

		n->offset_us = rnd_between(SIM_SEC, 1000000 * SIM_SEC);
		n->wall_offset_us = 1700000000 * SIM_SEC + rnd_below(5 * SIM_SEC);
		n->ppm = (int64_t) rnd_below(10001) - 5000;
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
		p->drift_us = p->lease_us / 20;
		sim_at(rnd_below(50 * SIM_MS), E_START_SERVER, P_WORLD, n->id);
	}
	next_fault();
	sim_at(W->chaos_ends, E_END, P_WORLD, 0);
}
