/*
 * cluster.c
 *	  The fixture of cluster.h: a log, a learner and a network of arrays around
 *	  the core, doing what the servers do.
 */
#include <stdlib.h>

#include "cluster.h"

static void run_event(cluster *c, test_node *node, px_event *ev);
static void learn(cluster *c, test_node *node);

static void *
must(void *p)
{
	if (p == NULL)
		die("out of memory");
	return p;
}

static px_bytes
copy_bytes(px_bytes from)
{
	uint8_t *data = must(malloc(from.len > 0 ? from.len : 1));

	memcpy(data, from.data, from.len);
	return bytes_of(data, from.len);
}

static void
check(const char *wrong)
{
	if (wrong != NULL)
		die(wrong);
}

cluster *
cluster_new(int n_voters, int n_learners)
{
	cluster *c = must(calloc(1, sizeof(*c)));

	c->n = n_voters + n_learners;
	c->now = 1000000;
	c->wall_us = 5000000;
	c->config.n_members = (uint8_t) c->n;
	for (int i = 1; i <= c->n; i++)
	{
		c->config.members[i - 1].node = (px_node) i;
		c->config.members[i - 1].voter = i <= n_voters;
	}
	for (int i = 1; i <= MAX_NODES; i++)
	{
		c->nodes[i].id = (px_node) i;
		c->nodes[i].config = c->config;
	}
	c->params.heartbeat_us = 50000;
	c->params.election_timeout_us = 500000;
	c->params.pipeline_depth = 8;
	c->params.outbox_depth = 8;
	c->params.max_batch_bytes = 4096;
	c->params.max_value_bytes = 16384;
	c->params.intake_bytes = 65536;
	c->params.lease_us = 500000;
	return c;
}

static void
free_wire(wire *w)
{
	int n = 0;

	if (w->kind == WIRE_ACCEPT)
		n = w->u.accept.n_values;
	else if (w->kind == WIRE_FORWARD)
		n = w->u.forward.n_batches;
	for (int i = 0; i < n; i++)
		free((void *) w->parts[i].data);
	if (w->kind == WIRE_PROMISE)
	{
		for (int i = 0; i < w->u.promise.n_entries; i++)
			free((void *) w->entries[i].value.data);
	}
	free(w->parts);
	free(w->entries);
	free(w);
}

void
cluster_free(cluster *c)
{
	for (int i = 0; i < c->n_queue; i++)
		free_wire(c->queue[i]);
	for (int i = 1; i <= c->n; i++)
	{
		free(c->nodes[i].memory);
		for (int s = 0; s < MAX_LOG; s++)
			free(c->nodes[i].log[s].value);
	}
	for (int s = 0; s < MAX_LOG; s++)
		free(c->canonical[s].value);
	free(c);
}

static wire *
post(cluster *c, wire_kind kind, px_node from, px_node to, uint64_t owner)
{
	wire *w = must(calloc(1, sizeof(*w)));

	if (c->n_queue == MAX_QUEUE)
		die("the network's queue is full");
	w->kind = kind;
	w->from = from;
	w->to = to;
	w->owner = owner;
	c->queue[c->n_queue++] = w;
	return w;
}

/*
 * ---- the log and the learner ----
 */

static void
store(test_node *node, px_slot slot, px_ballot ballot, bool chosen, px_bytes value)
{
	log_entry *e;

	if (slot >= MAX_LOG)
		die("the log is full");
	e = &node->log[slot];
	if (e->chosen && !chosen)
		return;
	free(e->value);
	e->value = (uint8_t *) copy_bytes(value).data;
	e->len = value.len;
	e->ballot = ballot;
	e->chosen = chosen;
}

static void
execute(cluster *c, const px_command_view *command)
{
	char text[MAX_TEXT] = {0};

	memcpy(text, command->bytes.data,
		   command->bytes.len < MAX_TEXT ? command->bytes.len : MAX_TEXT - 1);
	if (c->n_executed == MAX_LOG)
		die("too many commands");
	memcpy(c->executed[c->n_executed++], text, MAX_TEXT);
}

/* Apply one slot; only the first node to apply it adds to the history. */
static void
apply(cluster *c, test_node *node, px_slot slot)
{
	log_entry *e = &node->log[slot];
	log_entry *truth = &c->canonical[slot];
	px_value_view value;
	px_batch_view batch;
	px_command_view command;
	uint32_t pos = 0;
	bool first = truth->value == NULL;

	if (e->ballot == 0)
		die("a chosen slot is not in the log");
	if (first)
	{
		truth->value = (uint8_t *) copy_bytes(bytes_of(e->value, e->len)).data;
		truth->len = e->len;
	}
	else if (truth->len != e->len || memcmp(truth->value, e->value, e->len) != 0)
		die("two nodes apply different values at one slot");
	if (!px_value_open(bytes_of(e->value, e->len), &value))
		die("an applied value is malformed");
	if (value.log_time_us > node->log_time_us)
		node->log_time_us = value.log_time_us;
	if (value.kind == PX_VALUE_CONFIG)
	{
		px_config config;

		if (!px_value_config(&value, slot, &config))
			die("an applied configuration is malformed");
		px_origins_configure(&node->origins, &config);
	}
	while (px_value_next_batch(&value, &pos, &batch))
	{
		px_verdict verdict =
			px_origins_judge(&node->origins, batch.origin, batch.incarnation, batch.sequence);
		uint32_t at = 0;

		if (verdict == PX_GAP && batch.origin == node->id && batch.incarnation == node->incarnation)
			node->gaps_seen++;
		if (verdict != PX_EXECUTE)
			continue;
		while (px_batch_next_command(&batch, &at, &command))
		{
			node->digest = node->digest * 31 + px_crc32c(0, command.bytes.data, command.bytes.len);
			if (first)
				execute(c, &command);
		}
	}
	node->digest = node->digest * 31 + slot;
}

/* Fetch what the stream leaves out, from any connected node that knows it. */
static void
fetch(cluster *c, test_node *node, px_slot to)
{
	for (int i = 1; i <= c->n; i++)
	{
		test_node *peer = &c->nodes[i];
		px_slot first = node->acceptor.chosen + 1;
		px_slot last = px_min64(to, peer->acceptor.chosen);

		if (!peer->running || !node->links[i] || peer == node || last < first ||
			peer->acceptor.truncated >= first)
			continue;
		for (px_slot s = first; s <= last; s++)
		{
			px_bytes value = bytes_of(peer->log[s].value, peer->log[s].len);

			store(node, s, peer->log[s].ballot, true, value);
			if (px_value_is_config(value))
				px_acceptor_holds_config(&node->acceptor, s);
		}
		px_acceptor_fetched(&node->acceptor, first, last);
	}
}

/* The first configuration in the log from 'from' to 'to', or 0. */
static px_slot
first_config(const test_node *node, px_slot from, px_slot to)
{
	for (px_slot s = from; s <= to && s < MAX_LOG; s++)
	{
		if (node->log[s].ballot != 0 &&
			px_value_is_config(bytes_of(node->log[s].value, node->log[s].len)))
			return s;
	}
	return 0;
}

/* Record the newest configuration known chosen, if it has not been. */
static void
record_config(cluster *c, test_node *node)
{
	px_event ev;

	while (px_acceptor_config_due(&node->acceptor))
	{
		px_slot chosen = node->acceptor.chosen;
		px_slot s = node->config.slot;
		px_value_view view;

		while ((s = first_config(node, s + 1, chosen)) != 0)
		{
			if (!px_value_open(bytes_of(node->log[s].value, node->log[s].len), &view) ||
				!px_value_config(&view, s, &node->config))
				die("a configuration is malformed");
		}
		px_acceptor_config(&node->acceptor, &node->config, first_config(node, chosen + 1, MAX_LOG));
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_CONFIG;
		ev.u.config = &node->config;
		run_event(c, node, &ev);
	}
}

static void
learn(cluster *c, test_node *node)
{
	px_slot from;
	px_slot to;

	if (px_acceptor_gap(&node->acceptor, &from, &to))
		fetch(c, node, to);
	record_config(c, node);
	check(px_check_acceptor(&node->acceptor));
	while (node->applied < node->acceptor.chosen)
	{
		apply(c, node, node->applied + 1);
		node->applied++;
	}
}

/* Tell the proposer of its own node, if anything changed. */
static void
tell_local(cluster *c, test_node *node)
{
	px_local now;
	px_origin own = px_origins_get(&node->origins, node->id);
	px_event ev;

	memset(&now, 0, sizeof(now));
	now.promised = node->acceptor.promised;
	now.chosen = px_acceptor_settled(&node->acceptor);
	now.config = node->acceptor.config.slot;
	now.applied = node->applied;
	now.truncated = node->acceptor.truncated;
	now.leader = node->acceptor.open ? node->acceptor.promised : 0;
	now.heard_at = node->acceptor.heard_at;
	now.lost_at = node->acceptor.lost_at;
	now.leased_until = node->acceptor.lease_ballot != 0 ? node->acceptor.lease_until : 0;
	now.handover = node->acceptor.handover;
	now.read = node->acceptor.read;
	now.own_incarnation = own.incarnation;
	now.own_last = own.last;
	now.log_time_us = node->log_time_us;
	now.gaps_seen = node->gaps_seen;
	now.may_vote = node->local.may_vote;
	now.stuck = node->local.stuck;
	if (memcmp(&now, &node->local, sizeof(now)) == 0)
		return;
	node->local = now;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_LOCAL;
	ev.u.local = &now;
	run_event(c, node, &ev);
}

/*
 * ---- actions ----
 */

static void
copy_parts(wire *w, test_node *node, const px_action *a)
{
	int n = w->kind == WIRE_ACCEPT ? a->u.accept.n_values : a->u.fwd.forward.n_batches;

	w->parts = must(calloc((size_t) n + 1, sizeof(px_bytes)));
	for (int i = 0; i < n; i++)
	{
		px_bytes from =
			w->kind == WIRE_ACCEPT
				? px_proposer_value(node->proposer, a->u.accept.first + (px_slot) i)
				: px_proposer_batch_bytes(node->proposer, a->u.fwd.first_seq + (uint64_t) i);

		w->parts[i] = copy_bytes(from);
	}
}

static void
act(cluster *c, test_node *node, const px_action *a)
{
	bool up = node->links[a->to];
	uint64_t owner = node->owners[a->to];
	wire *w;

	switch (a->kind)
	{
		case PX_DO_PUBLISH:
			px_acceptor_learn(&node->acceptor, a->u.publish.ballot, a->u.publish.chosen);
			node->removed = a->u.publish.removed;
			break;
		case PX_DO_SEND_PREVOTE:
			if (up)
				post(c, WIRE_PREVOTE, node->id, a->to, owner)->u.prevote = a->u.prevote;
			break;
		case PX_DO_SEND_PREPARE:
			if (up)
				post(c, WIRE_PREPARE, node->id, a->to, owner)->u.prepare = a->u.prepare;
			break;
		case PX_DO_SEND_ACCEPT:
			if (!up)
				break;
			w = post(c, WIRE_ACCEPT, node->id, a->to, owner);
			w->u.accept = a->u.accept;
			copy_parts(w, node, a);
			break;
		case PX_DO_SEND_HANDOVER:
			if (up)
				post(c, WIRE_HANDOVER, node->id, a->to, owner)->u.handover = a->u.handover;
			break;
		case PX_DO_SEND_FORWARD:
			if (!up)
				break;
			w = post(c, WIRE_FORWARD, node->id, a->to, owner);
			w->u.forward = a->u.fwd.forward;
			copy_parts(w, node, a);
			break;
		case PX_DO_RESET_PEER:
			cluster_cut(c, node->id, a->to);
			cluster_heal(c, node->id, a->to);
			break;
		case PX_DO_FETCH:
			fetch(c, node, a->u.fetch_to);
			break;
		case PX_DO_READ_DONE:
			node->read_done = a->u.read.seq;
			node->read_index = a->u.read.index;
			break;
		case PX_DO_HANDOVER_USED:
			node->acceptor.handover = 0;
			break;
		case PX_DO_CONFIGURED:
			node->configured = a->u.configured.request;
			node->result = a->u.configured.result;
			node->result_slot = a->u.configured.slot;
			break;
		case PX_DO_READ_SENT:
			break;
	}
}

static void
run_event(cluster *c, test_node *node, px_event *ev)
{
	static px_update updates[8];
	static int depth;
	px_update *up = &updates[depth];
	px_proposer_view before = node->view;
	char line[PX_TRACE_BYTES];

	if (depth == 7)
		die("events nest too deep");
	ev->now = c->now;
	ev->wall_us = c->wall_us;
	px_proposer_step(node->proposer, ev, up);
	node->wake_at = up->wake_at;

	px_proposer_look(node->proposer, &node->view);
	check(px_check_proposer(node->proposer));
	check(px_check_update(node->proposer, up));
	if (before.incarnation == node->view.incarnation)
		check(px_check_proposer_step(&before, &node->view));

	if (c->trace != NULL && (up->n_actions > 0 || px_proposer_reason(node->proposer)[0] != '\0'))
	{
		fprintf(c->trace, "%s\n", px_trace_event(line, sizeof(line), node->id, ev));
		if (px_proposer_reason(node->proposer)[0] != '\0')
			fprintf(c->trace, "  (%s)\n", px_proposer_reason(node->proposer));
		for (int i = 0; i < up->n_actions; i++)
			fprintf(c->trace, "  %s\n",
					px_trace_action(line, sizeof(line), node->id, &up->actions[i]));
	}
	depth++;
	for (int i = 0; i < up->n_actions; i++)
		act(c, node, &up->actions[i]);
	learn(c, node);
	tell_local(c, node);
	depth--;
}

/*
 * ---- the network ----
 */

static void
promise_entries(test_node *node, wire *w)
{
	px_promise *m = &w->u.promise;
	px_slot limit = m->w + PX_MAX_WINDOW;

	w->entries = must(calloc(PX_MAX_WINDOW, sizeof(px_entry)));
	for (px_slot s = 1; s < MAX_LOG; s++)
	{
		if (node->log[s].ballot == 0 || s <= node->truncated)
			continue;
		m->last = s;
		if (s <= m->w || s > limit)
			continue;
		w->entries[m->n_entries].slot = s;
		w->entries[m->n_entries].ballot = node->log[s].ballot;
		w->entries[m->n_entries].chosen = node->log[s].chosen;
		w->entries[m->n_entries].value = copy_bytes(bytes_of(node->log[s].value, node->log[s].len));
		m->n_entries++;
	}
	m->entries = w->entries;
}

static void
persist(test_node *node, const px_acceptor *copy)
{
	check(px_check_acceptor(copy));
	check(px_check_acceptor_step(&node->acceptor, copy));
	node->promised = copy->promised;
	node->longest_lease_us = copy->longest_lease_us;
	node->acceptor = *copy;
}

/* A message arrives at an acceptor; what it answers travels back. */
static void
serve(cluster *c, test_node *node, const wire *w)
{
	px_acceptor copy = node->acceptor;
	px_acceptor_todo todo;
	wire *answer;

	switch (w->kind)
	{
		case WIRE_PREVOTE:
			answer = post(c, WIRE_PREVOTE_REPLY, node->id, w->from, w->owner);
			px_acceptor_prevote(&copy, &w->u.prevote, c->now, &answer->u.prevote_reply);
			return;
		case WIRE_PREPARE:
			answer = post(c, WIRE_PROMISE, node->id, w->from, w->owner);
			px_acceptor_prepare(&copy, &w->u.prepare, w->owner, c->now, &todo, &answer->u.promise);
			if (answer->u.promise.refusal == PX_REFUSED_NOT)
				promise_entries(node, answer);
			break;
		case WIRE_ACCEPT:
			answer = post(c, WIRE_ACCEPTED, node->id, w->from, w->owner);
			px_acceptor_accept(&copy, &w->u.accept, w->owner, c->now, node->applied, node->applied,
							   &todo, &answer->u.accepted);
			for (int i = todo.skip; i < todo.skip + todo.store; i++)
				store(node, w->u.accept.first + (px_slot) i, w->u.accept.ballot, false,
					  w->parts[i]);
			break;
		case WIRE_HANDOVER:
			px_acceptor_handover(&copy, &w->u.handover, node->id, c->now);
			break;
		default:
			die("not a message to an acceptor");
	}
	persist(node, &copy);
	learn(c, node);
	tell_local(c, node);
}

static void
arrive(cluster *c, wire *w)
{
	test_node *node = &c->nodes[w->to];
	px_event ev;
	wire *answer;

	memset(&ev, 0, sizeof(ev));
	ev.node = w->from;
	switch (w->kind)
	{
		case WIRE_PREVOTE:
		case WIRE_PREPARE:
		case WIRE_ACCEPT:
		case WIRE_HANDOVER:
			serve(c, node, w);
			return;
		case WIRE_FORWARD:
			answer = post(c, WIRE_FORWARD_REPLY, node->id, w->from, w->owner);
			answer->u.forward_reply.leads = node->view.role == PX_LEADER;
			ev.kind = PX_EV_FORWARD;
			w->u.forward.batches = w->parts;
			ev.u.forward = &w->u.forward;
			break;
		case WIRE_PREVOTE_REPLY:
			ev.kind = PX_EV_PREVOTE_REPLY;
			ev.u.prevote_reply = &w->u.prevote_reply;
			break;
		case WIRE_PROMISE:
			ev.kind = PX_EV_PROMISE;
			ev.u.promise = &w->u.promise;
			break;
		case WIRE_ACCEPTED:
			ev.kind = PX_EV_ACCEPTED;
			ev.u.accepted = &w->u.accepted;
			break;
		case WIRE_FORWARD_REPLY:
			ev.kind = PX_EV_FORWARD_REPLY;
			ev.u.forward_reply = &w->u.forward_reply;
			break;
		case WIRE_UP:
			ev.kind = PX_EV_PEER_UP;
			break;
		case WIRE_DOWN:
			ev.kind = PX_EV_PEER_DOWN;
			break;
	}
	run_event(c, node, &ev);
}

bool
cluster_deliver_one(cluster *c, px_node from, px_node to)
{
	for (int i = 0; i < c->n_queue; i++)
	{
		wire *w = c->queue[i];

		if ((from != 0 && w->from != from) || (to != 0 && w->to != to))
			continue;
		c->n_queue--;
		memmove(&c->queue[i], &c->queue[i + 1], (size_t) (c->n_queue - i) * sizeof(wire *));
		if (w->kind == WIRE_ACCEPT)
		{
			w->u.accept.values = w->parts;
			w->u.accept.config_at = px_accept_config_at(&w->u.accept);
		}
		arrive(c, w);
		free_wire(w);
		return true;
	}
	return false;
}

void
cluster_deliver(cluster *c)
{
	int budget = 100000;

	for (;;)
	{
		bool any = cluster_deliver_one(c, 0, 0);

		for (int i = 1; i <= c->n; i++)
		{
			if (c->nodes[i].running && c->nodes[i].wake_at <= c->now)
			{
				px_event ev;

				memset(&ev, 0, sizeof(ev));
				ev.kind = PX_EV_TICK;
				run_event(c, &c->nodes[i], &ev);
				any = true;
			}
		}
		if (!any)
			return;
		if (budget-- == 0)
			die("messages never end");
	}
}

/* Everything under way on the connection is lost. */
static void
lose(cluster *c, uint64_t owner)
{
	int n = 0;

	for (int i = 0; i < c->n_queue; i++)
	{
		if (c->queue[i]->owner == owner)
			free_wire(c->queue[i]);
		else
			c->queue[n++] = c->queue[i];
	}
	c->n_queue = n;
}

static void
disconnect(cluster *c, test_node *from, test_node *to)
{
	if (!from->links[to->id])
		return;
	from->links[to->id] = false;
	lose(c, from->owners[to->id]);
	if (to->running)
	{
		px_acceptor_closed(&to->acceptor, from->owners[to->id], c->now);
		tell_local(c, to);
	}
	if (from->running)
		post(c, WIRE_DOWN, to->id, from->id, 0);
}

static void
connect(cluster *c, test_node *from, test_node *to)
{
	if (from->links[to->id] || !from->running || !to->running)
		return;
	from->links[to->id] = true;
	from->owners[to->id] = ++c->connections;
	post(c, WIRE_UP, to->id, from->id, 0);
}

void
cluster_cut(cluster *c, px_node a, px_node b)
{
	disconnect(c, &c->nodes[a], &c->nodes[b]);
	if (a != b)
		disconnect(c, &c->nodes[b], &c->nodes[a]);
}

void
cluster_heal(cluster *c, px_node a, px_node b)
{
	connect(c, &c->nodes[a], &c->nodes[b]);
	if (a != b)
		connect(c, &c->nodes[b], &c->nodes[a]);
}

/*
 * ---- nodes ----
 */

static void
start_alone(cluster *c, px_node id)
{
	test_node *node = &c->nodes[id];
	px_proposer_params params = c->params;

	if (node->running)
		die("started twice");
	node->running = true;
	node->incarnation++;
	node->gaps_seen = 0;
	node->read_done = 0;
	px_acceptor_init(&node->acceptor, node->promised, node->truncated, node->longest_lease_us,
					 node->applied, c->now);
	px_acceptor_config(&node->acceptor, &node->config,
					   first_config(node, node->config.slot + 1, MAX_LOG));
	node->removed = false;
	params.self = id;
	params.incarnation = node->incarnation;
	params.seed = (uint64_t) id * 1000 + node->incarnation;
	free(node->memory);
	node->memory = must(malloc(px_proposer_bytes(&params)));
	node->proposer =
		px_proposer_init(node->memory, px_proposer_bytes(&params), &params, &node->config, c->now);
	px_proposer_look(node->proposer, &node->view);
	memset(&node->local, 0, sizeof(node->local));
	node->local.may_vote = true;
	node->local.chosen = UINT64_MAX; /* differs from anything: tell at once */
	tell_local(c, node);
}

void
cluster_start(cluster *c, px_node id)
{
	start_alone(c, id);
	for (int i = 1; i <= c->n; i++)
		cluster_heal(c, id, (px_node) i);
}

void
cluster_start_all(cluster *c)
{
	for (int i = 1; i <= c->n; i++)
		start_alone(c, (px_node) i);
	for (int i = 1; i <= c->n; i++)
	{
		for (int j = i; j <= c->n; j++)
			cluster_heal(c, (px_node) i, (px_node) j);
	}
	cluster_deliver(c);
}

void
cluster_crash(cluster *c, px_node id)
{
	test_node *node = &c->nodes[id];
	int n = 0;

	node->running = false;
	for (int i = 1; i <= c->n; i++)
		cluster_cut(c, id, (px_node) i);
	for (int i = 0; i < c->n_queue; i++)
	{
		if (c->queue[i]->to == id)
			free_wire(c->queue[i]);
		else
			c->queue[n++] = c->queue[i];
	}
	c->n_queue = n;
}

void
cluster_wake(cluster *c, px_node id)
{
	test_node *node = &c->nodes[id];
	px_event ev;

	if (!node->running)
		die("a node that does not run cannot wake");
	if (node->wake_at > c->now)
	{
		c->wall_us += node->wake_at - c->now;
		c->now = node->wake_at;
	}
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_TICK;
	run_event(c, node, &ev);
}

void
cluster_run(cluster *c, px_usec us)
{
	px_usec until = c->now + us;

	for (;;)
	{
		px_node next = 0;

		cluster_deliver(c);
		for (int i = 1; i <= c->n; i++)
		{
			if (c->nodes[i].running && (next == 0 || c->nodes[i].wake_at < c->nodes[next].wake_at))
				next = (px_node) i;
		}
		if (next == 0 || c->nodes[next].wake_at > until)
			break;
		cluster_wake(c, next);
	}
	c->wall_us += until - c->now;
	c->now = until;
}

bool
cluster_elect(cluster *c, px_node id)
{
	for (int tries = 0; tries < 50; tries++)
	{
		if (c->nodes[id].view.role == PX_LEADER)
			return true;
		cluster_wake(c, id);
		cluster_deliver(c);
	}
	return false;
}

bool
cluster_write(cluster *c, px_node id, const char *text)
{
	test_node *node = &c->nodes[id];
	px_batch_writer *w;
	uint64_t sequence;
	px_event ev;

	if (!px_proposer_batch_room(node->proposer))
		return false;
	w = px_proposer_batch(node->proposer, &sequence);
	if (!px_batch_add(w, 1, sequence, text, (uint32_t) strlen(text)))
		return false;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_BATCH;
	run_event(c, node, &ev);
	return true;
}

void
cluster_read(cluster *c, px_node id)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_READ;
	run_event(c, &c->nodes[id], &ev);
}

static px_bytes
config_of(uint8_t *buf, uint32_t cap, const char *members)
{
	px_value_writer w;
	unsigned id;
	int used;

	px_value_begin(&w, buf, cap, PX_VALUE_CONFIG, 0);
	while (sscanf(members, "%u%n", &id, &used) == 1)
	{
		bool learner = members[used] == 'l';

		members += used + (learner ? 1 : 0);
		if (!px_value_add_member(&w, (px_node) id, !learner, "", ""))
			die("a member does not fit");
	}
	return px_value_end(&w);
}

void
cluster_configure(cluster *c, px_node id, uint64_t request, px_slot base, const char *members)
{
	uint8_t buf[1024];
	px_configure m;
	px_event ev;

	memset(&m, 0, sizeof(m));
	m.request = request;
	m.base = base;
	if (members[0] != '\0')
		m.value = config_of(buf, sizeof(buf), members);
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_CONFIGURE;
	ev.u.configure = &m;
	run_event(c, &c->nodes[id], &ev);
}

void
cluster_join(cluster *c, px_node id, px_node from)
{
	test_node *node = &c->nodes[id];
	const test_node *peer = &c->nodes[from];

	if (node->running || node->applied != 0 || id > MAX_NODES)
		die("only a new node joins");
	if (id > c->n)
		c->n = id;
	node->applied = peer->applied;
	node->truncated = peer->applied;
	node->origins = peer->origins;
	node->log_time_us = peer->log_time_us;
	node->digest = peer->digest;
	node->config = peer->config;
	if (peer->config.slot > peer->applied)
		die("the snapshot is behind its configuration");
}

void
cluster_transfer(cluster *c, px_node id, px_node to)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_TRANSFER;
	ev.node = to;
	run_event(c, &c->nodes[id], &ev);
}

px_node
cluster_leader(const cluster *c)
{
	px_node leader = 0;
	px_ballot ballot = 0;

	for (int i = 1; i <= c->n; i++)
	{
		const px_proposer_view *v = &c->nodes[i].view;

		if (c->nodes[i].running && v->role == PX_LEADER && v->ballot > ballot)
		{
			leader = (px_node) i;
			ballot = v->ballot;
		}
	}
	return leader;
}

int
cluster_executions(const cluster *c, const char *text)
{
	int n = 0;

	for (int i = 0; i < c->n_executed; i++)
	{
		if (strcmp(c->executed[i], text) == 0)
			n++;
	}
	return n;
}

bool
cluster_agrees(const cluster *c)
{
	const test_node *first = NULL;

	for (int i = 1; i <= c->n; i++)
	{
		const test_node *node = &c->nodes[i];

		if (!node->running)
			continue;
		if (first == NULL)
			first = node;
		else if (node->applied != first->applied || node->digest != first->digest)
			return false;
	}
	return true;
}
