/*
 * px_change.c
 *	  Changing the configuration, at the leader (protocol.md § 7).
 *
 * Owns: whether a change that is asked for may begin, how far it is, and what
 * its caller is told; and the end of a leader that is no voter any more.  Not
 * its business: proposing, counting and the rounds of promises (px_stream.c
 * does the same for a configuration that it recovers), and how the SQL function
 * found the leader.
 *
 *	NONE -> DRAINING		asked for; nothing new is proposed
 *	DRAINING -> PROPOSED	nothing is in flight: it goes to slot s, and nothing
 *							above
 *	PROPOSED -> BARRIER		the old configuration has chosen s, the new one
 *							governs; promises are asked of all its members
 *	BARRIER -> RECORDING	a majority of it has promised: commands go on
 *	RECORDING -> NONE		a majority of it has recorded durably that s is chosen
 *	NONE -> RECORDING		asked to confirm the present one
 *
 * A leader that is no voter of the new configuration skips the barrier: it
 * proposes nothing any more ("leaving"), but tells everybody that s is chosen
 * and does not step down before a majority of the new voters has recorded it
 * (or does not answer).  Were it gone earlier, the old nodes could be switched
 * off while no majority of the new ones knew that it is the cluster.  The same
 * holds of a leader that *recovered* a configuration without itself.
 *
 * Why 'base' must be the configuration that governs: a caller that was told
 * "unknown" asks again.  Whatever became of its first request, the second one
 * built on the same base can be chosen only if the first one was not: both
 * cannot follow the same configuration.  The same rule makes two callers
 * take turns.
 *
 * Why a majority of the new voters must have recorded the configuration that
 * governs: should this leader die before it has told them of theirs, they find
 * who knows it among the members of that one.  A voter left behind at a
 * configuration whose members are all gone knows no address but theirs.  Made
 * the only voter, it would wait for ever, and with it the cluster; the former
 * leader knows all, but is removed, and nobody that could ask it knows of it.
 * (The simulator's seed 225108.)
 *
 * Why node ids ascend: px_config_removed() can then tell who was removed from
 * who is not heard of yet, without any list of the dead.
 *
 * Volatile.  When the leader crashes or is deposed, whoever leads next finds
 * the configuration among the values it recovers, or nobody ever does.
 */
#include <string.h>

#include "px_proposer_int.h"

const char *
px_change_result_name(px_change_result r)
{
	switch (r)
	{
		case PX_CHANGE_DONE:
			return "done";
		case PX_CHANGE_NOT_LEADER:
			return "not leader";
		case PX_CHANGE_BUSY:
			return "busy";
		case PX_CHANGE_BASE:
			return "base";
		case PX_CHANGE_INVALID:
			return "invalid";
		case PX_CHANGE_NODE_ID:
			return "node id";
		case PX_CHANGE_NO_MAJORITY:
			return "no majority";
		case PX_CHANGE_UNKNOWN:
			return "unknown";
		case PX_CHANGE_BEHIND:
			return "behind";
	}
	return "?";
}

static void
answer(px_proposer *p, uint64_t request, px_change_result result, px_slot slot)
{
	px_action *a = px_action_add(p, PX_DO_CONFIGURED, p->params.self);

	a->u.configured.request = request;
	a->u.configured.result = result;
	a->u.configured.slot = slot;
	a->u.configured.leader = p->leader;
}

/* The change is over, one way or the other. */
static void
finish(px_proposer *p, px_change_result result, px_slot slot)
{
	if (p->change_asked)
		answer(p, p->change_request, result, slot);
	p->change = PX_CHANGE_NONE;
	p->change_asked = false;
	p->change_slot = 0;
}

/*
 * Could the new configuration go on at once?  Only members that are with this
 * leader now count: of who is new nothing is known.
 */
static bool
can_work(const px_proposer *p, const px_config *config)
{
	bool with_us[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	for (int i = 0; i < config->n_members; i++)
	{
		int j = px_config_find(&p->config, config->members[i].node);

		with_us[i] = j >= 0 && p->peers[j].open &&
					 p->now < p->peers[j].answered_at + p->params.election_timeout_us;
	}
	return px_quorum_tally(config, with_us, no) == PX_TALLY_WON;
}

/*
 * Would enough of its voters know where to ask, if nobody told them?  With
 * 'force' a single one is enough: it finds out, stands, and tells the others.
 * Who is new to the cluster was given its present members when it joined, which
 * is worth as much, but is not there yet.
 */
static bool
can_learn(const px_proposer *p, const px_config *config, bool force)
{
	bool knows[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};
	bool any = false;

	for (int i = 0; i < config->n_members; i++)
	{
		int j = px_config_find(&p->config, config->members[i].node);

		knows[i] = j >= 0 && p->peers[j].config >= p->config.slot;
		any |= config->members[i].voter && (j < 0 || knows[i]);
	}
	return force ? any : px_quorum_tally(config, knows, no) == PX_TALLY_WON;
}

static bool
new_ids_are_new(const px_proposer *p, const px_config *config)
{
	for (int i = 0; i < config->n_members; i++)
	{
		px_node node = config->members[i].node;

		if (px_config_find(&p->config, node) < 0 && node <= px_config_highest(&p->config))
			return false;
	}
	return true;
}

void
px_change_asked(px_proposer *p, const px_configure *m)
{
	px_value_view view;
	px_config config;

	if (p->role != PX_LEADER)
		answer(p, m->request, PX_CHANGE_NOT_LEADER, 0);
	else if (p->change != PX_CHANGE_NONE || p->leaving)
		answer(p, m->request, PX_CHANGE_BUSY, p->change_slot);
	else if (m->base != p->config.slot)
		answer(p, m->request, PX_CHANGE_BASE, p->config.slot);
	else if (m->value.len == 0)
	{
		p->change = PX_CHANGE_RECORDING;
		p->change_asked = true;
		p->change_request = m->request;
		p->change_slot = p->config.slot;
	}
	else if (m->value.len > PX_MAX_CONFIG_BYTES || m->value.len > p->params.max_value_bytes ||
			 !px_value_open(m->value, &view) || !px_value_config(&view, 0, &config))
		answer(p, m->request, PX_CHANGE_INVALID, 0);
	else if (!new_ids_are_new(p, &config))
		answer(p, m->request, PX_CHANGE_NODE_ID, 0);
	else if (!m->force && !can_work(p, &config))
		answer(p, m->request, PX_CHANGE_NO_MAJORITY, 0);
	else if (!can_learn(p, &config, m->force))
		answer(p, m->request, PX_CHANGE_BEHIND, 0);
	else
	{
		memcpy(p->change_bytes, m->value.data, m->value.len);
		p->change_len = m->value.len;
		p->change = PX_CHANGE_DRAINING;
		p->change_asked = true;
		p->change_request = m->request;
		p->change_slot = 0;
	}
}

/* Must commands wait? */
bool
px_change_holds(const px_proposer *p)
{
	return p->leaving || p->change == PX_CHANGE_DRAINING || p->change == PX_CHANGE_PROPOSED ||
		   p->change == PX_CHANGE_BARRIER;
}

/* Has a majority of the governing configuration recorded that it is chosen? */
static bool
recorded(const px_proposer *p)
{
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	for (int i = 0; i < p->config.n_members; i++)
		yes[i] = p->peers[i].config >= p->config.slot;
	return px_quorum_tally(&p->config, yes, no) == PX_TALLY_WON;
}

/* A member said which configuration it has recorded. */
void
px_change_recorded(px_proposer *p, px_peer *peer, px_slot config)
{
	(void) p;
	peer->config = px_max64(peer->config, config);
}

/*
 * The configuration at p->chosen has been chosen and governs; p->config is
 * still the former one.  Who is no member any more is told in this step, while
 * its connection stands.
 */
void
px_change_chosen(px_proposer *p, const px_config *config)
{
	p->n_parting = 0;
	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].open && px_config_find(config, p->peers[i].node) < 0)
			p->parting[p->n_parting++] = p->peers[i];
	}
	if (p->change == PX_CHANGE_PROPOSED)
		p->change = PX_CHANGE_BARRIER;
}

/* Bring it on as far as the state of the streams allows. */
void
px_change_progress(px_proposer *p)
{
	if (p->change == PX_CHANGE_DRAINING && p->chosen == p->proposed)
	{
		px_bytes wanted = {p->change_bytes, p->change_len};

		px_stream_propose_config(p, wanted);
		p->change_slot = p->proposed;
		p->change = PX_CHANGE_PROPOSED;
	}

	/* not collecting any more, or leaving: the barrier is behind us */
	if (p->change == PX_CHANGE_BARRIER)
		p->change = PX_CHANGE_RECORDING;
	if ((p->change == PX_CHANGE_RECORDING || p->leaving) && recorded(p))
	{
		finish(p, PX_CHANGE_DONE, p->config.slot);
		if (p->leaving)
			px_elect_leave(p);
	}
}

/* Leadership has ended. */
void
px_change_end(px_proposer *p)
{
	if (p->change == PX_CHANGE_DRAINING)
		finish(p, PX_CHANGE_NOT_LEADER, 0);
	else if (p->change != PX_CHANGE_NONE)
		finish(p, PX_CHANGE_UNKNOWN, p->change_slot);
	p->leaving = false;
	p->n_parting = 0;
}
