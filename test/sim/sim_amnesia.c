/*
 * sim_amnesia.c
 *	  Servers that forget, or run twice, and what they are known by (protocol.md
 *	  § 10): the decisions are the servers' own, src/core/px_memory.c.
 *
 * What happens to a node here:
 *
 *	restore		its disk is as it was some time ago: promises, log and applied state,
 *				and what it remembers of others, too.  The sentinel is a copy.
 *	roll_back	the same by a block device, the sentinel with it: nothing on this
 *				server shows it.  Another member that remembers more does, if it can be
 *				reached; so the node first meets none but such members, as
 *				docs/operations.md demands (a device rolled back behind everybody's back
 *				is beyond what § 10 promises).
 *	clone		a copy of its disk runs beside it, as the same node, with clients of its
 *				own; at another address, or so that the address now leads to the copy,
 *				while what is connected to the original stays so.
 *	fsync_off	it is started with fsync off, and loses in a crash all that it called
 *				durable since; then it is started with fsync on.
 *
 * What it has against that, as on a server: the sentinel and its judgement at the start;
 * the greeting that begins every connection of a proposer, with what either remembers of
 * the other; the look at the own address before a life of the proposer; and a mark,
 * durable, once it has found that it forgot.  A node that may not vote runs no
 * proposer and its learner stands still; its acceptor says so to everybody, and its
 * sessions have errors.  One that has forgotten for good may be taken in again as a new
 * one in its own place (CHANGE_REJOIN, sim_config.c).
 *
 * What a node has forgotten counts as lost with it: of every configuration that governs,
 * or may come to, a majority of the voters is left alone.  Nothing else is spared them.
 *
 * The observer knows what once was accepted and promised, and forgets nothing; it
 * does not say that a node votes which should not, but what comes of it.  That a node is
 * told to have forgotten, and has not, is a failure as well.
 */
#include "sim.h"

static bool
takes_part(const sim_node *n)
{
	return !n->fenced && !n->twin;
}

/* May its acceptor promise and accept? */
bool
amnesia_votes(const sim_node *n)
{
	return takes_part(n);
}

static void
fence(sim_node *n, const char *why, bool durably)
{
	sim_wal *w;

	if (n->fenced)
		return;
	TRACE(n, "node %u may not vote: %s", n->id, why);
	if (!n->lost && !n->unsafe)
		sim_fail("node %u may not vote any more (%s), and nothing was wrong with it (§ 10)", n->id,
				 why);
	n->fenced = true;
	if (durably)
	{
		/* a crash may lose this: then it has to be found again */
		w = disk_begin(0);
		w->doubt = true;
		disk_commit(n, w);
		disk_show(n, w);
	}
	sim_at(W->now + rnd_below(300), E_FENCED, P_PROPOSER, n->place)->life = n->life;
}

/* ---- the start of a server ---- */

void
amnesia_judge(sim_node *n)
{
	const sim_sentinel *s = &n->sentinel;
	px_sentinel says = s->incarnation == 0                            ? PX_SENTINEL_MISSING
					   : s->incarnation == n->visible.incarnation     ? PX_SENTINEL_OF_ROW
					   : s->incarnation == n->visible.incarnation + 1 ? PX_SENTINEL_OF_NEXT
																	  : PX_SENTINEL_OF_OTHER;

	n->instance = ++W->instances;
	n->fenced = false;
	n->twin = false;
	n->contradicted = false;
	n->met = 0;
	memcpy(n->remembers, n->visible.memory, sizeof(n->remembers));
	if (n->unsafe)
	{
		cover(cov_fenced_unsafe);
		fence(n, "fsync is off", false);
	}
	else if (n->visible.doubt)
	{
		cover(cov_doubt_kept);
		fence(n, "it said so before", false);
	}

	/* a node that has had no life yet has promised nothing in its own name; and what
	 * it joins with was recorded when it did */
	else if (n->visible.incarnation > 0 &&
			 px_directory_judge(says, s->stamp == n->visible.stamp, true) != PX_DOUBT_NONE)
	{
		cover(cov_fenced_copy);
		fence(n, "its directory is a copy", false);
	}
}

/* Does this node's own address lead to it, as far as can be seen? */
bool
amnesia_home(sim_node *n)
{
	if (W->address[n->id] == n->place)
	{
		if (n->twin)
			cover(cov_twin_over);
		n->twin = false;
	}
	else if (net_reachable(n, n->id))
	{
		if (!n->twin)
			cover(cov_twin);
		n->twin = true;
	}
	return !n->twin;
}

/* ---- greetings ---- */

/* What the node shows of itself, read after it heard what it is compared with. */
static px_memory
shows(const sim_node *n)
{
	px_memory own = {0};

	own.node = n->id;
	own.incarnation = n->visible.incarnation;
	own.promised = n->acceptor.promised;
	own.accepted = px_max64(n->visible.last, px_max64(n->acceptor.truncated, n->acceptor.chosen));
	return own;
}

static bool
compare(sim_node *n, px_node by, const px_memory *remembered)
{
	px_memory own = shows(n);

	if (remembered->incarnation > own.incarnation || remembered->promised > own.promised ||
		remembered->accepted > own.accepted)
	{
		if (!n->forgot)
			sim_fail("node %u shows less than node %u remembers of it, though it has forgotten "
					 "nothing (§ 10)",
					 n->id, by);
		n->contradicted = true;
	}
	if (takes_part(n) && px_memory_compare(remembered, &own) != PX_FORGOT_NOTHING)
	{
		cover(cov_fenced_memory);
		fence(n, "somebody remembers more", true);
	}
	return takes_part(n);
}

void
amnesia_note(sim_node *n, px_node peer, px_ballot promised, px_slot accepted)
{
	if (peer == n->id)
		return;
	n->remembers[peer].node = peer;
	px_memory_note(&n->remembers[peer], promised, accepted);
}

/* Its incarnation as the replicated state knows it, too. */
static px_memory
remembered_of(const sim_node *n, px_node peer)
{
	px_memory m = n->remembers[peer];

	m.incarnation =
		px_max64(m.incarnation, px_origins_get(&n->visible.tables.origins, peer).incarnation);
	return m;
}

/* A connection of n's proposer begins. */
void
amnesia_greet(sim_node *n, sim_conn *c)
{
	sim_msg *m = net_msg(M_GREET);

	m->u.greeting.incarnation = n->params.incarnation;
	m->u.greeting.instance = n->instance;
	m->u.greeting.remembered = remembered_of(n, c->peer);
	net_send(c, m);
}

/* It arrives; the answer says what this node remembers. */
void
amnesia_greeted(sim_node *n, sim_conn *c, const sim_msg *m)
{
	const sim_greeting *q = &m->u.greeting;
	px_node from = W->nodes[c->near].id;
	sim_msg *answer = net_msg(M_WELCOME);
	sim_greeting *r = &answer->u.greeting;

	if (from == n->id)
		r->welcome = q->instance == n->instance ? PX_WELCOME : PX_WELCOME_TWIN;
	else
	{
		n->remembers[from].node = from;
		r->welcome = px_memory_greet(&n->remembers[from],
									 px_origins_get(&n->visible.tables.origins, from).incarnation,
									 q->incarnation, q->instance);
		r->remembered = n->remembers[from];
		(void) compare(n, from, &q->remembered);
		n->met |= 1u << from;
	}
	if (r->welcome == PX_WELCOME)
		c->greeted = q->incarnation;
	else if (r->welcome == PX_WELCOME_OLDER)
		cover(cov_older);
	net_reply(c, answer);
}

/* The answer; true: there is working together. */
bool
amnesia_welcomed(sim_node *n, sim_conn *c, const sim_msg *m)
{
	const sim_greeting *r = &m->u.greeting;
	bool good = true;

	if (c->peer != n->id)
		good = compare(n, c->peer, &r->remembered);
	if (good && r->welcome == PX_WELCOME_TWIN)
	{
		if (c->peer != n->id)
			fence(n, "another server says that it is this node", true);
		else
			(void) amnesia_home(n);
		if (n->twin)
			sim_at(W->now + rnd_below(300), E_FENCED, P_PROPOSER, n->place)->life = n->life;
	}
	if (good && r->welcome == PX_WELCOME)
	{
		net_welcome(c);
		return true;
	}
	net_cut(c, 0, rnd_below(5 * SIM_MS));
	return false;
}

/* Has a later life of the peer been heard than the one this connection is of? */
bool
amnesia_over(sim_node *n, const sim_conn *c)
{
	if (n->remembers[W->nodes[c->near].id].incarnation <= c->greeted)
		return false;
	cover(cov_life_over);
	return true;
}

/* The log has something of this node that it does not know of. */
void
amnesia_foreign(sim_node *n)
{
	cover(cov_fenced_foreign);
	n->contradicted = true;
	fence(n, "the log knows lives of it that it does not", true);
}

/* Now and then what is remembered is written down. */
void
amnesia_save(sim_node *n)
{
	sim_wal *w;

	if (!takes_part(n) || !chance(500) ||
		memcmp(n->remembers, n->visible.memory, sizeof(n->remembers)) == 0)
		return;
	w = disk_begin(0);
	w->memory = malloc(sizeof(n->remembers));
	if (w->memory == NULL)
		abort();
	memcpy(w->memory, n->remembers, sizeof(n->remembers));
	disk_commit(n, w);
	disk_show(n, w);
}

/* ---- what happens ---- */

/* Has the configuration a majority of voters that have forgotten nothing? */
bool
amnesia_majority(const px_config *c, px_node without)
{
	uint32_t good = 0;

	for (int i = 0; i < c->n_members; i++)
	{
		px_node node = c->members[i].node;

		if (node != without && !W->nodes[node].lost && !W->nodes[node].gone)
			good |= 1u << node;
	}
	return config_majority(c, good);
}

static bool
can_lose(const sim_node *n)
{
	return n->exists && !n->gone && !n->lost && !n->unsafe && n->place == n->id &&
		   W->address[n->id] == n->place && config_everywhere(n->id);
}

/* Who durably remembers more of n than the copy shows, by bit. */
static uint32_t
witnesses(const sim_node *n)
{
	const sim_image *im = &n->copy.image;
	px_slot accepted = px_max64(im->last, px_max64(im->truncated, im->tables.applied));
	uint32_t found = 0;

	if (im->config.n_members > 0)
		accepted = px_max64(accepted, im->config.slot);
	for (int i = 1; i <= W->n_nodes; i++)
	{
		const sim_node *by = &W->nodes[i];
		const px_memory *m = &by->durable.memory[n->id];

		if (by != n && by->exists && !by->gone && !by->lost && !by->unsafe &&
			(m->incarnation > im->incarnation || m->promised > im->promised ||
			 m->accepted > accepted))
			found |= 1u << i;
	}
	return found;
}

/* Could the node decide something by itself, with this disk? */
static bool
alone(const sim_image *im, px_node self)
{
	px_config c = im->config;
	px_slot slot = c.slot;

	for (;;)
	{
		if (px_config_is_voter(&c, self) && px_config_voters(&c) == 1)
			return true;
		do
			slot++;
		while (slot <= im->last &&
			   (im->log[slot].value == NULL || im->log[slot].value->view.kind != PX_VALUE_CONFIG));
		if (slot > im->last || !px_value_config(&im->log[slot].value->view, slot, &c))
			return false;
	}
}

static void
put_back(sim_node *n, bool sentinel_too, px_usec down)
{
	if (n->up)
		node_crash(n, chance(300));
	n->lost = true;
	n->forgot = true;
	n->contradicted = false;
	disk_put_back(n, &n->copy);
	if (!sentinel_too && n->sentinel.incarnation != 0)
		n->sentinel.stamp = ++W->stamps;
	TRACE(n, "node %u has the disk it had at slot %llu", n->id,
		  (unsigned long long) n->durable.tables.applied);
	fault_restart_later(n, down);
}

/*
 * None but the witnesses reach it, until one of them has.  Nor is it started again until
 * then: each start begins another life, and soon it is no more by a later one that it can
 * be known.
 */
static void
set_apart(sim_node *n, uint32_t but)
{
	n->set_apart = true;
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		if (i != n->id && (but >> i & 1) == 0)
		{
			W->blocked[n->place][i]++;
			W->blocked[i][n->place]++;
		}
	n->set_apart_from = ~but;
	fault_heal_amnesia(n, 20 * SIM_MS);
}

static void
restore(sim_node *n, bool device, px_usec down)
{
	uint32_t by;

	if (!n->copy.taken || !can_lose(n))
		return;

	/* copied between the sentinel and the tables, it is taken for its own */
	if (n->copy.sentinel.incarnation > n->copy.image.incarnation)
		device = true;
	if (!device)
	{
		/* what has had no life when it was copied shows nothing */
		if (n->copy.image.incarnation == 0)
			return;
		cover(cov_restored);
		put_back(n, false, down);
		return;
	}
	by = witnesses(n);

	/* who is a majority alone, by what it knows then, asks nobody and so meets nobody */
	if (by == 0 || alone(&n->copy.image, n->id))
		return;
	cover(cov_rolled_back);
	put_back(n, true, down);
	set_apart(n, by);
}

static void
start_clone(sim_node *n, px_usec how_long)
{
	px_node place = SIM_MAX_NODES + 1;
	sim_node *c;

	while (place <= SIM_PLACES && W->nodes[place].exists)
		place++;
	if (place > SIM_PLACES || !n->exists || n->gone || n->lost || n->unsafe ||
		n->durable.incarnation == 0 || n->sentinel.incarnation != n->durable.incarnation ||
		W->address[n->id] != n->place)
		return;
	cover(cov_cloned);
	c = &W->nodes[place];
	if (chance(600) || !n->copy.taken || n->copy.image.incarnation == 0 ||
		n->copy.sentinel.incarnation != n->copy.image.incarnation)
		disk_take(&c->copy, n);
	else
		disk_copy(&c->copy, &n->copy);
	c->id = n->id;
	c->params = n->params;
	c->flush_us = n->flush_us;
	c->clock_us = rnd_between(SIM_SEC, 1000000 * SIM_SEC);
	c->clock_at = W->now;
	c->wall_offset_us = n->wall_offset_us;
	c->exists = true;
	c->removed = false;
	if (chance(500))
	{
		cover(cov_clone_address);
		W->address[n->id] = place;
	}
	put_back(c, false, rnd_below(10 * SIM_MS));
	fault_heal_amnesia(c, how_long * 2);
}

/* The copy is switched off, for good. */
static void
end_clone(sim_node *c)
{
	if (c->up)
		node_crash(c, chance(300));
	c->exists = false;
	if (W->address[c->id] == c->place)
		W->address[c->id] = c->id;
}

/*
 * Off from a start of the server to the next: so that what is under way at the change
 * need not be followed.
 */
static void
fsync_off(sim_node *n, px_usec how_long)
{
	if (!n->up || !can_lose(n))
		return;
	cover(cov_unsafe);
	node_crash(n, chance(300));
	disk_take(&n->honest, n);
	n->unsafe = true;
	n->unsafe_said = false;
	fault_restart_later(n, rnd_log(SIM_MS, W->election_us));
	fault_heal_amnesia(n, how_long);
}

/* The machine crashes, not only the server. */
static void
lose_unsafe(sim_node *n)
{
	cover(cov_unsafe_lost);
	if (n->unsafe_said)
		n->forgot = true;
	disk_put_back(n, &n->honest);
}

void
amnesia_crashed(sim_node *n)
{
	if (n->unsafe && chance(500))
		lose_unsafe(n);
}

static void
fsync_on(sim_node *n, px_usec down)
{
	if (n->up)
		node_crash(n, chance(300));
	lose_unsafe(n);
	n->unsafe = false;
	fault_restart_later(n, down);
}

/*
 * Has somebody who knows more met it?  And what came of that is durable; or nothing did,
 * for the guard is out of order.
 */
bool
amnesia_met(sim_node *n)
{
	if (!n->durable.doubt && (n->fenced || !n->contradicted))
		return false;
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		if (i != n->id && (n->set_apart_from >> i & 1) != 0)
		{
			W->blocked[n->place][i]--;
			W->blocked[i][n->place]--;
		}
	n->set_apart = false;
	return true;
}

void
amnesia_heal(sim_node *n)
{
	if (n->set_apart)
	{
		if (!n->gone && !amnesia_met(n))
			fault_heal_amnesia(n, 20 * SIM_MS);
	}
	else if (n->place > SIM_MAX_NODES)
		end_clone(n);
	else if (n->unsafe)
		fsync_on(n, rnd_log(SIM_MS, 2 * W->election_us));
}

void
amnesia_happen(sim_fault kind, sim_node *n, px_usec how_long)
{
	switch (kind)
	{
		case FAULT_backup:
			if (n->exists && !n->lost && !n->unsafe)
				disk_take(&n->copy, n);
			break;
		case FAULT_restore:
			restore(n, false, rnd_log(5 * SIM_MS, 6 * W->election_us));
			break;
		case FAULT_roll_back:
			restore(n, true, rnd_log(5 * SIM_MS, 6 * W->election_us));
			break;
		case FAULT_clone:
			start_clone(n, how_long);
			break;
		case FAULT_fsync_off:
			fsync_off(n, how_long);
			break;
		default:
			break;
	}
}

/* Copies are switched off, fsync is on again; who was not found out stays down. */
void
amnesia_end(void)
{
	for (int i = 1; i <= SIM_PLACES; i++)
	{
		sim_node *n = &W->nodes[i];

		if (i > SIM_MAX_NODES)
		{
			if (n->exists)
				end_clone(n);
		}
		else if (n->set_apart)
		{
			if (n->up)
				node_crash(n, chance(300));
			n->gone = true;
		}
		else if (n->unsafe)
			fsync_on(n, 0);
	}
}
