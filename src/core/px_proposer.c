/*
 * px_proposer.c
 *	  The proposer: events in, actions out; its roles and their legal changes.
 *
 * Owns: the dispatch of events, the order of actions, the table of role
 * changes, publication to the own node, adopting a configuration, and memory.
 * The subjects have files of their own, listed in px_proposer_int.h.
 *
 * A step has two halves.  First the event changes state and leaves wishes;
 * then everything that follows from the new state happens in one fixed order:
 *
 *		own batches and waiting requests are taken in
 *		values are proposed
 *		PX_DO_PUBLISH				the own node first (protocol.md § 4)
 *		PreVotes, Prepares, Accepts
 *		HandOver, and the role change after it
 *		Forwards, answered reads
 *
 * All state is volatile: a crash ends candidacy or leadership, and the next
 * life has a higher incarnation and begins as a follower.  Nothing it forgets
 * was promised to anybody: that is the acceptor's.
 *
 * Invariants (px_check_proposer): a ballot only as CANDIDATE or above, of this
 * node, and never above highest_seen; chosen <= proposed <= chosen + window;
 * nothing is proposed while a round of recovery collects promises.
 */
#include <string.h>

#include "px_proposer_int.h"

/*
 * Every legal change of role, with what brings it about.  Asserted.  (Any role
 * may become FOLLOWER; a change to the same role is none.)
 */
typedef struct px_role_change
{
	px_role from;
	px_role to;
	const char *when;
} px_role_change;

static const px_role_change role_changes[] = {
	{PX_FOLLOWER, PX_PRECANDIDATE, "no leader heard for an election timeout, or its stream closed"},
	{PX_PRECANDIDATE, PX_CATCHING_UP, "a majority said yes"},
	{PX_CATCHING_UP, PX_CANDIDATE, "all those voters knew chosen is known here"},
	{PX_FOLLOWER, PX_CANDIDATE, "leadership was handed over to this node"},
	{PX_CANDIDATE, PX_RECOVERING, "a majority promised, the own acceptor among them"},
	{PX_RECOVERING, PX_LEADER, "the last recovered slot and the own no-op are chosen"},
	{PX_LEADER, PX_HANDING_OVER, "asked to, not fit to lead, or no voter any more"},
};

const char *
px_role_name(px_role r)
{
	switch (r)
	{
		case PX_FOLLOWER:
			return "follower";
		case PX_PRECANDIDATE:
			return "precandidate";
		case PX_CATCHING_UP:
			return "catching up";
		case PX_CANDIDATE:
			return "candidate";
		case PX_RECOVERING:
			return "recovering";
		case PX_LEADER:
			return "leader";
		case PX_HANDING_OVER:
			return "handing over";
	}
	return "unknown";
}

static bool
role_change_legal(px_role from, px_role to)
{
	if (to == PX_FOLLOWER)
		return true;
	for (size_t i = 0; i < sizeof(role_changes) / sizeof(role_changes[0]); i++)
	{
		if (role_changes[i].from == from && role_changes[i].to == to)
			return true;
	}
	return false;
}

void
px_set_role(px_proposer *p, px_role role, const char *reason)
{
	PX_ASSERT(role_change_legal(p->role, role));
	p->role = role;
	p->reason = reason;
}

/*
 * ---- small things shared by all parts ----
 */

bool
px_action_room(const px_proposer *p, int n)
{
	return p->up->n_actions + n <= PX_MAX_ACTIONS;
}

px_action *
px_action_add(px_proposer *p, px_action_kind kind, px_node to)
{
	px_action *a;

	PX_ASSERT(px_action_room(p, 1));
	a = &p->up->actions[p->up->n_actions++];
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	a->to = to;
	return a;
}

px_peer *
px_peer_find(px_proposer *p, px_node node)
{
	int i = px_config_find(&p->config, node);

	return i < 0 ? NULL : &p->peers[i];
}

/* A random time in [from, to). */
px_usec
px_delay(px_proposer *p, px_usec from, px_usec to)
{
	PX_ASSERT(from <= to);
	return to == from ? from : from + px_random(&p->seed) % (to - from);
}

/*
 * Remember a ballot that somebody uses, so that the next own one lies above.
 * One that leaps, or leaves no room above it, cannot be a true one: whoever sent
 * it is not believed, for the own acceptor would refuse what lies above.
 */
void
px_see_ballot(px_proposer *p, px_ballot ballot)
{
	uint64_t round = px_ballot_round(ballot);

	if (round < PX_MAX_ROUND && round < px_ballot_round(p->local.promised) + PX_MAX_LEAP)
		p->highest_seen = px_max64(p->highest_seen, ballot);
}

/* A stamp that is known to be chosen, or that this leader gives. */
void
px_see_log_time(px_proposer *p, uint64_t log_time_us)
{
	if (log_time_us <= p->log_time_us)
		return;
	p->log_time_us = log_time_us;
	p->log_time_at = p->now;
}

/* What this node knows to be chosen, as this proposer sees it. */
static px_slot
known_chosen(const px_proposer *p)
{
	return px_in_ballot(p) ? p->chosen : p->local.chosen;
}

/* A configuration without this node, known here or said by a member; 0: none. */
static px_slot
removed_by(const px_proposer *p)
{
	if (px_config_removed(&p->known, p->params.self))
		return p->known.slot;
	return p->told_removed;
}

/*
 * Tell the own node what changed.  Called before any action that tells it to
 * others: a leader that crashed in between would otherwise have told a
 * follower of a chosen slot that its own sessions still call undecided.  And
 * sessions read under the lease by what is published here: they must hear of
 * its end before an Accept withdraws it (another leads at once), of a chosen
 * slot before anybody can be told that it is in force, and of a lease not
 * without the watermark that goes with it.
 */
static void
publish(px_proposer *p)
{
	bool ready = p->role == PX_LEADER && !p->leaving;
	bool removed = removed_by(p) != 0;
	px_usec lease = px_read_lease_until(p);
	px_action *a;

	if (p->published && p->published_role == p->role && p->published_ballot == p->ballot &&
		p->published_leader == p->leader && p->published_chosen == known_chosen(p) &&
		p->published_lease == lease && p->published_ready == ready &&
		p->published_removed == removed)
		return;

	p->published = true;
	p->published_role = p->role;
	p->published_ballot = p->ballot;
	p->published_leader = p->leader;
	p->published_chosen = known_chosen(p);
	p->published_lease = lease;
	p->published_ready = ready;
	p->published_removed = removed;

	a = px_action_add(p, PX_DO_PUBLISH, p->params.self);
	a->u.publish.role = p->role;
	a->u.publish.ballot = p->ballot;
	a->u.publish.leader = p->leader;
	a->u.publish.chosen = known_chosen(p);
	a->u.publish.lease_until = lease;
	a->u.publish.ready = ready;
	a->u.publish.removed = removed;
}

/* Connections are remembered by node, for members come and go. */
void
px_peer_connected(px_proposer *p, px_node node, bool up)
{
	int i = 0;

	while (i < p->n_up && p->up_nodes[i] != node)
		i++;
	if (up && i == p->n_up && p->n_up < 2 * PX_MAX_MEMBERS)
		p->up_nodes[p->n_up++] = node;
	if (!up && i < p->n_up)
		p->up_nodes[i] = p->up_nodes[--p->n_up];
}

static bool
connected(const px_proposer *p, px_node node)
{
	for (int i = 0; i < p->n_up; i++)
	{
		if (p->up_nodes[i] == node)
			return true;
	}
	return false;
}

/*
 * From now on 'config' governs (its slot is chosen).  What is known of members
 * that stay is kept, new ones start from nothing.
 */
void
px_adopt_config(px_proposer *p, const px_config *config)
{
	px_config old_config = p->config;
	px_peer old[PX_MAX_MEMBERS];

	PX_ASSERT(px_config_valid(config));
	memcpy(old, p->peers, sizeof(old));
	p->config = *config;
	memset(p->peers, 0, sizeof(p->peers));
	for (int i = 0; i < config->n_members; i++)
	{
		int j = px_config_find(&old_config, config->members[i].node);

		if (j >= 0)
			p->peers[i] = old[j];
		p->peers[i].node = config->members[i].node;
		p->peers[i].up = connected(p, config->members[i].node);
		p->peers[i].voter = config->members[i].voter;
	}
}

/*
 * ---- memory ----
 */

static size_t
aligned(size_t bytes)
{
	size_t unit = _Alignof(max_align_t);

	return (bytes + unit - 1) / unit * unit;
}

static bool
params_valid(const px_proposer_params *q)
{
	return q->self > 0 && q->incarnation > 0 && q->heartbeat_us > 0 &&
		   q->election_timeout_us > q->heartbeat_us && q->pipeline_depth >= 1 &&
		   q->pipeline_depth <= PX_MAX_WINDOW && q->outbox_depth >= 1 &&
		   q->outbox_depth <= PX_MAX_OUTBOX && q->max_batch_bytes >= PX_BATCH_HEADER_BYTES &&
		   q->max_batch_bytes <= PX_MAX_BATCH_BYTES &&
		   q->max_value_bytes >= q->max_batch_bytes + PX_VALUE_HEADER_BYTES &&
		   q->max_value_bytes <= PX_MAX_VALUE_BYTES && q->intake_bytes >= q->max_batch_bytes;
}

size_t
px_proposer_bytes(const px_proposer_params *params)
{
	return aligned(sizeof(px_proposer)) +
		   aligned((size_t) PX_MAX_WINDOW * params->max_value_bytes) +
		   aligned((size_t) params->outbox_depth * params->max_batch_bytes) +
		   aligned(params->intake_bytes);
}

px_proposer *
px_proposer_init(void *memory, size_t bytes, const px_proposer_params *params,
				 const px_config *config, px_usec now)
{
	px_proposer *p = memory;
	uint8_t *rest = (uint8_t *) memory + aligned(sizeof(px_proposer));

	PX_ASSERT(params_valid(params));
	PX_ASSERT(px_config_valid(config));
	PX_ASSERT(bytes >= px_proposer_bytes(params));

	memset(p, 0, sizeof(*p));
	p->params = *params;
	p->seed = params->seed;
	p->now = now;
	p->window_bytes = rest;
	rest += aligned((size_t) PX_MAX_WINDOW * params->max_value_bytes);
	p->outbox_bytes = rest;
	rest += aligned((size_t) params->outbox_depth * params->max_batch_bytes);
	p->intake_ring = rest;
	p->reason = "";
	p->known = *config;
	px_adopt_config(p, config);
	p->role = PX_FOLLOWER;
	p->resend = true;
	p->stand_at = now + px_delay(p, params->election_timeout_us, 2 * params->election_timeout_us);
	return p;
}

void
px_proposer_retime(px_proposer *p, px_usec heartbeat_us, px_usec election_timeout_us,
				   px_usec lease_us, bool lease_readable, uint16_t pipeline_depth)
{
	p->params.heartbeat_us = heartbeat_us;
	p->params.election_timeout_us = election_timeout_us;
	p->params.lease_us = lease_us;
	p->params.lease_readable = lease_readable;
	p->params.pipeline_depth = pipeline_depth;
	PX_ASSERT(params_valid(&p->params));
}

/*
 * ---- events ----
 */

static void
on_local(px_proposer *p, const px_local *local)
{
	px_local before = p->local;
	bool first = !p->have_local;

	PX_ASSERT(local->config <= p->known.slot);
	p->local = *local;
	p->have_local = true;
	if (first)
		before.gaps_seen = local->gaps_seen;
	px_see_ballot(p, local->promised);
	px_see_ballot(p, local->leader);
	px_see_log_time(p, local->log_time_us);
	px_outbox_local(p, &before);
	px_elect_local(p, &before);
	px_read_local(p);
}

static void
on_peer_up(px_proposer *p, px_peer *peer)
{
	if (peer->up)
		px_stream_reset(p, peer);
	peer->up = true;
	px_elect_peer_up(p, peer);
}

static void
on_peer_down(px_proposer *p, px_peer *peer)
{
	peer->up = false;
	px_stream_reset(p, peer);
	px_elect_peer_down(p, peer);
}

static void
on_config(px_proposer *p, const px_config *config)
{
	if (config->slot <= p->known.slot || !px_config_valid(config))
		return;
	p->known = *config;

	/* who left is no business of ours any more, connected or not */
	for (int i = p->n_up; i-- > 0;)
	{
		if (px_config_removed(config, p->up_nodes[i]))
			px_peer_connected(p, p->up_nodes[i], false);
	}
	if (config->slot <= p->config.slot)
		return; /* it made that govern itself, when it counted it chosen */

	/* One that it did not propose, or not counted yet, another node knew first. */
	if (px_in_ballot(p))
		px_become_follower(p, "another leader changed the configuration", false);
	else
		px_adopt_config(p, config);
	if (p->role != PX_FOLLOWER && !px_config_is_voter(config, p->params.self))
		px_become_follower(p, "no longer a voter", false);
}

static void
run_event(px_proposer *p, const px_event *ev)
{
	px_peer *peer = NULL;

	switch (ev->kind)
	{
		case PX_EV_TICK:
			return;
		case PX_EV_LOCAL:
			on_local(p, ev->u.local);
			return;
		case PX_EV_BATCH:
			px_outbox_complete(p);
			return;
		case PX_EV_READ:
			p->read_wanted = true;
			return;
		case PX_EV_TRANSFER:
			px_elect_transfer(p, ev->node);
			return;
		case PX_EV_CONFIG:
			on_config(p, ev->u.config);
			return;
		case PX_EV_CONFIGURE:
			px_change_asked(p, ev->u.configure);
			return;
		case PX_EV_FORWARD:
			peer = px_peer_find(p, ev->u.forward->from);
			break;
		case PX_EV_PEER_UP:
		case PX_EV_PEER_DOWN:
			px_peer_connected(p, ev->node, ev->kind == PX_EV_PEER_UP);
			peer = px_peer_find(p, ev->node);
			break;
		case PX_EV_PREVOTE_REPLY:
		case PX_EV_PROMISE:
		case PX_EV_ACCEPTED:
		case PX_EV_FORWARD_REPLY:
			peer = px_peer_find(p, ev->node);
			break;
	}
	if (peer == NULL)
	{
		p->reason = "ignored: not a member";
		return;
	}

	switch (ev->kind)
	{
		case PX_EV_PEER_UP:
			on_peer_up(p, peer);
			break;
		case PX_EV_PEER_DOWN:
			on_peer_down(p, peer);
			break;
		case PX_EV_PREVOTE_REPLY:
			px_elect_prevote_reply(p, peer, ev->u.prevote_reply);
			break;
		case PX_EV_PROMISE:
			px_stream_promise(p, peer, ev->u.promise);
			break;
		case PX_EV_ACCEPTED:
			px_stream_accepted(p, peer, ev->u.accepted);
			break;
		case PX_EV_FORWARD:
			px_intake_forward(p, peer, ev->u.forward);
			break;
		case PX_EV_FORWARD_REPLY:
			if (peer->node == p->leader)
				px_outbox_reply(p, ev->u.forward_reply);
			break;
		default:
			PX_ASSERT(!"event without a peer");
	}
}

/* Whom this node believes to lead. */
static void
update_leader(px_proposer *p)
{
	px_node leader = 0;
	px_ballot ballot = 0;

	if (px_leads(p))
	{
		leader = p->params.self;
		ballot = p->ballot;
	}
	else if (p->role != PX_CANDIDATE && p->local.leader != 0 &&
			 !px_config_removed(&p->config, p->params.self) &&
			 px_ballot_node(p->local.leader) != p->params.self)
	{
		/* an open stream of our own is that of a leadership that is over */
		leader = px_ballot_node(p->local.leader);
		ballot = p->local.leader;
	}
	if (leader == p->leader && ballot == p->leader_ballot)
		return;
	p->leader = leader;
	p->leader_ballot = ballot;
	px_outbox_new_leader(p);
	px_read_new_leader(p);
}

static void
send_prevotes(px_proposer *p)
{
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];
		px_action *a;

		if (!peer->want_prevote)
			continue;
		peer->want_prevote = false;
		if ((p->role != PX_PRECANDIDATE && p->role != PX_FOLLOWER) || !peer->up)
			continue;
		a = px_action_add(p, PX_DO_SEND_PREVOTE, peer->node);
		a->u.prevote.from = p->params.self;
		a->u.prevote.chosen = p->local.chosen;
	}
}

/* The second half of a step: what follows from the state as it is now. */
static void
flush(px_proposer *p)
{
	update_leader(p);
	px_outbox_to_intake(p);
	px_read_register(p);
	px_stream_progress(p);
	update_leader(p); /* progress may have ended leadership */

	publish(p);
	if (p->handover_used)
	{
		px_action_add(p, PX_DO_HANDOVER_USED, p->params.self);
		p->handover_used = false;
	}
	if (p->want_fetch)
	{
		px_action *a = px_action_add(p, PX_DO_FETCH, p->catch_up_from);

		a->u.fetch_to = p->catch_up_to;
		p->want_fetch = false;
	}
	send_prevotes(p);
	px_stream_send_prepares(p);
	px_stream_send_accepts(p);

	/* the HandOver goes out after the Accepts that withdrew the lease */
	px_elect_finish_handover(p);
	update_leader(p);
	publish(p);

	px_outbox_send(p);
	px_read_finish(p);
	p->beat = false;
}

static px_usec
next_wake(const px_proposer *p)
{
	px_usec at = p->now + p->params.election_timeout_us;

	if (p->again)
		return p->now;
	at = px_earlier(at, px_elect_wake(p));
	at = px_earlier(at, px_stream_wake(p));
	at = px_earlier(at, px_outbox_wake(p));
	at = px_earlier(at, px_read_wake(p));
	return at;
}

void
px_proposer_step(px_proposer *p, const px_event *ev, px_update *up)
{
	up->n_actions = 0;
	p->up = up;
	p->reason = "";
	p->again = false;
	p->read_new = false;
	p->now = px_max64(p->now, ev->now);
	p->wall_us = px_max64(p->wall_us, ev->wall_us);

	run_event(p, ev);
	px_elect_timers(p);
	px_stream_timers(p);
	px_outbox_timers(p);
	px_read_timers(p);
	flush(p);

	up->wake_at = next_wake(p);
	p->up = NULL;
}

/*
 * ---- views ----
 */

px_bytes
px_proposer_value(const px_proposer *p, px_slot slot)
{
	const px_window_entry *e = &p->window[slot % PX_MAX_WINDOW];
	px_bytes value;

	PX_ASSERT(e->slot == slot && e->len > 0);
	value.data = p->window_bytes + (size_t) (slot % PX_MAX_WINDOW) * p->params.max_value_bytes;
	value.len = e->len;
	return value;
}

void
px_proposer_look(const px_proposer *p, px_proposer_view *view)
{
	memset(view, 0, sizeof(*view));
	view->role = p->role;
	view->ballot = p->ballot;
	view->highest_seen = p->highest_seen;
	view->leader = p->leader;
	view->chosen = known_chosen(p);
	if (px_leads(p))
	{
		view->proposed = p->proposed;
		view->in_flight = (uint16_t) (p->proposed - p->chosen);
	}
	view->intake = (uint16_t) p->intake_n;
	view->outbox = (uint16_t) (p->sequence - p->applied_sequence);
	view->incarnation = p->params.incarnation;
	view->sequence = p->sequence;
	view->elections_started = p->elections_started;
	view->elections_won = p->elections_won;
	view->batches_resent = p->batches_resent;
	view->config = p->config.slot;
	view->change = p->change;
	view->change_slot = p->change_slot;
	view->lease_until = px_read_lease_until(p);
	view->leaving = p->leaving;
	view->removed = removed_by(p);
	view->n_peers = p->config.n_members;
	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];
		px_peer_view *v = &view->peers[i];

		v->node = peer->node;
		v->voter = peer->voter;
		v->up = peer->up;
		v->open = peer->open;
		v->stream = peer->stream;
		v->first = peer->first;
		v->next = peer->next;
		v->applied = peer->applied;
		v->durable = peer->durable;
		v->config = peer->config;
		v->answered_at = peer->answered_at;
		v->rtt_us = peer->rtt_us;
	}
}

const char *
px_proposer_reason(const px_proposer *p)
{
	return p->reason;
}
