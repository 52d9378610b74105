/*
 * sim_net.c
 *	  Connections as TCP gives them: in order or not at all.
 *
 * A connection can be cut at any moment: of the messages under way in each
 * direction a random prefix still arrives, the rest is lost; each end notices
 * by itself, at once or late (half-open).  What had reached the far end before
 * is still worked on, possibly after a newer connection of the same proposer
 * has opened: that is how a stale stream comes about on a real server.  A
 * blocked link (one direction or both) holds messages back: they arrive late,
 * after healing, unless the connection was given up meanwhile.
 */
#include "sim.h"

sim_msg *
net_msg(sim_msg_kind kind)
{
	sim_msg *m = sim_alloc(sizeof(sim_msg));

	m->kind = kind;
	return m;
}

static void
fifo_put(sim_fifo *f, sim_msg *m)
{
	m->next = NULL;
	if (f->tail == NULL)
		f->head = m;
	else
		f->tail->next = m;
	f->tail = m;
	f->n++;
}

static sim_msg *
fifo_get(sim_fifo *f)
{
	sim_msg *m = f->head;

	if (m != NULL)
	{
		f->head = m->next;
		if (f->head == NULL)
			f->tail = NULL;
		f->n--;
	}
	return m;
}

void
net_welcome(sim_conn *c)
{
	sim_msg *m;

	c->up = true;
	while ((m = fifo_get(&c->parked)) != NULL)
		net_send(c, m);
}

static void
fifo_keep(sim_fifo *f, int keep)
{
	sim_msg *m = f->head;

	if (keep >= f->n)
		return;
	if (keep == 0)
		f->head = f->tail = NULL;
	else
	{
		for (int i = 1; i < keep; i++)
			m = m->next;
		m->next = NULL;
		f->tail = m;
	}
	f->n = keep;
}

px_usec
net_delay(px_node from, px_node to)
{
	px_usec base = from == to ? 20 : W->latency_us;
	px_usec d = base + rnd_below(W->jitter_us + 1) / (from == to ? 4 : 1);

	if (W->phase != PHASE_CHAOS)
		return d;
	if (W->slow_until[from][to] > W->now)
		d *= (px_usec) W->slow_times[from][to];
	if (chance(W->ambient[AMBIENT_tails]))
	{
		d += rnd_log(SIM_MS, W->tail_us); /* a retransmission, or many */
		cover(cov_tail);
	}
	return d;
}

/* The server to which the address of a node leads. */
sim_node *
net_home(px_node id)
{
	return &W->nodes[W->address[id]];
}

bool
net_reachable(const sim_node *from, px_node peer)
{
	sim_node *f = net_home(peer);

	return f->up && f->paused_until <= W->now && W->blocked[from->place][f->place] == 0 &&
		   W->blocked[f->place][from->place] == 0;
}

sim_conn *
net_connect(sim_node *from, px_node peer, bool forward)
{
	sim_conn *c;

	if (W->n_conns + 1 >= SIM_MAX_CONNS)
		sim_fail("the run made more than %d connections: reconnecting in a tight loop",
				 SIM_MAX_CONNS);
	c = sim_alloc(sizeof(sim_conn));
	c->id = ++W->n_conns;
	if (W->conns == NULL)
	{
		W->conns = calloc(SIM_MAX_CONNS + 1, sizeof(sim_conn *));
		if (W->conns == NULL)
			abort();
	}
	W->conns[c->id] = c;
	c->near = from->place;
	c->far = net_home(peer)->place;
	c->peer = peer;
	c->forward = forward;
	c->near_open = true;
	c->far_open = true;
	amnesia_greet(from, c);
	return c;
}

/* Nothing is said before the greeting is answered. */
void
net_send(sim_conn *c, sim_msg *m)
{
	px_usec at;

	if (!c->up && m->kind != M_GREET)
	{
		fifo_put(&c->parked, m);
		return;
	}

	if (c->cut)
	{
		cover(cov_half_open);
		return;
	}
	at = px_max64(W->now + net_delay(c->near, c->far), c->out.last_arrival);
	c->out.last_arrival = at;
	fifo_put(&c->out, m);
	sim_at(at, E_ARRIVE_OUT, P_SERVER, c->far)->conn = c;
}

void
net_reply(sim_conn *c, sim_msg *m)
{
	px_usec at;

	if (c->cut)
	{
		cover(cov_answer_lost);
		return;
	}
	at = px_max64(W->now + net_delay(c->far, c->near), c->back.last_arrival);
	c->back.last_arrival = at;
	fifo_put(&c->back, m);
	sim_at(at, E_ARRIVE_BACK, P_PROPOSER, c->near)->conn = c;
}

/* Nothing more gets through, but so much of what is under way. */
static void
cut(sim_conn *c, int keep_out, int keep_back, px_usec near_delay, px_usec far_delay)
{
	sim_event *e;

	c->cut = true;
	fifo_keep(&c->out, keep_out);
	if (keep_back < c->back.n)
		cover(cov_answer_lost);
	fifo_keep(&c->back, keep_back);
	if (c->near_open)
	{
		e = sim_at(px_max64(W->now + near_delay, c->back.last_arrival), E_DOWN, P_PROPOSER,
				   c->near);
		e->conn = c;
	}
	if (c->far_open)
	{
		e = sim_at(px_max64(W->now + far_delay, c->out.last_arrival), E_CLOSED, P_SERVER, c->far);
		e->conn = c;
	}
}

/* A random part of what is under way arrives.  Each end notices after its delay. */
void
net_cut(sim_conn *c, px_usec near_delay, px_usec far_delay)
{
	int keep_out;
	int keep_back;

	if (c->cut)
		return;
	keep_out = (int) rnd_below((uint64_t) c->out.n + 1);
	keep_back = c->back.n > 0 ? (int) rnd_below((uint64_t) c->back.n + 1) : 0;
	cut(c, keep_out, keep_back, near_delay, far_delay);
}

/* All that is under way to the far end is worked on there; no answer comes back. */
void
net_lose_answers(sim_conn *c, px_usec near_delay, px_usec far_delay)
{
	if (!c->cut)
		cut(c, c->out.n, 0, near_delay, far_delay);
}

/*
 * One message reaches the far end's socket (out) or the near end (back).
 * Every message has one such event; whichever comes takes the first, so a
 * blocked link keeps the order.
 */
void
net_arrive(const sim_event *e, bool out)
{
	sim_conn *c = e->conn;
	sim_fifo *f = out ? &c->out : &c->back;
	px_node from = out ? c->near : c->far;
	px_node to = out ? c->far : c->near;
	sim_msg *m;

	if (W->blocked[from][to] > 0 && f->n > 0)
	{
		sim_again(e, W->now + rnd_between(2 * SIM_MS, 20 * SIM_MS));
		return;
	}
	m = fifo_get(f);
	if (m == NULL)
		return;
	if (out)
	{
		if (!c->far_open)
			return;
		fifo_put(&c->inbox, m);
		if (!c->busy)
			sim_at(W->now, E_BACKEND, P_SERVER, c->far)->conn = c;
	}
	else if (c->near_open)
	{
		sim_event direct = *e;

		direct.kind = E_ARRIVE_BACK;
		direct.msg = m;
		node_dispatch(&direct);
	}
	else
		cover(cov_answer_lost);
}

/* A call outside the streams (fetch): a request or its answer. */
void
net_rpc(px_node from, px_node to, sim_msg *m)
{
	sim_event *e;

	if (W->blocked[from][to] > 0 ||
		(W->phase == PHASE_CHAOS && chance(W->ambient[AMBIENT_lost_calls])))
		return;
	e = sim_at(W->now + net_delay(from, to), E_RPC, m->kind == M_FETCH ? P_SERVER : P_LEARNER, to);
	e->msg = m;
	e->a = from;
}

const char *
net_describe(const sim_msg *m, char *buf, size_t cap)
{
	char b1[32], b2[32];

	switch (m->kind)
	{
		case M_GREET:
		case M_WELCOME:
			snprintf(buf, cap, "%s incarnation=%llu instance=%llu remembers %llu %s %llu%s",
					 m->kind == M_GREET ? "Greet" : "Welcome",
					 (unsigned long long) m->u.greeting.incarnation,
					 (unsigned long long) m->u.greeting.instance,
					 (unsigned long long) m->u.greeting.remembered.incarnation,
					 px_trace_ballot(b1, sizeof(b1), m->u.greeting.remembered.promised),
					 (unsigned long long) m->u.greeting.remembered.accepted,
					 m->u.greeting.welcome == PX_WELCOME         ? ""
					 : m->u.greeting.welcome == PX_WELCOME_OLDER ? ", older"
																 : ", twin");
			break;
		case M_PREVOTE:
			snprintf(buf, cap, "PreVote chosen=%llu", (unsigned long long) m->u.prevote.chosen);
			break;
		case M_PREPARE:
			snprintf(buf, cap, "Prepare %s stream=%llu w=%llu",
					 px_trace_ballot(b1, sizeof(b1), m->u.prepare.ballot),
					 (unsigned long long) m->u.prepare.stream, (unsigned long long) m->u.prepare.w);
			break;
		case M_ACCEPT:
			snprintf(buf, cap, "Accept %s stream=%llu first=%llu n=%u chosen=%llu",
					 px_trace_ballot(b1, sizeof(b1), m->u.accept.ballot),
					 (unsigned long long) m->u.accept.stream,
					 (unsigned long long) m->u.accept.first, m->u.accept.n_values,
					 (unsigned long long) m->u.accept.chosen);
			break;
		case M_HANDOVER:
			snprintf(buf, cap, "HandOver %s",
					 px_trace_ballot(b1, sizeof(b1), m->u.handover.ballot));
			break;
		case M_FORWARD:
			snprintf(buf, cap, "Forward from=%u incarnation=%llu n=%u resend=%d read=%llu",
					 m->u.forward.from, (unsigned long long) m->u.forward.incarnation,
					 m->u.forward.n_batches, m->u.forward.resend,
					 (unsigned long long) m->u.forward.read_seq);
			break;
		case M_PROMISE:
			snprintf(
				buf, cap,
				"Promise %s stream=%llu w=%llu %s promised=%s chosen=%llu last=%llu entries=%u",
				px_trace_ballot(b1, sizeof(b1), m->u.promise.ballot),
				(unsigned long long) m->u.promise.stream, (unsigned long long) m->u.promise.w,
				px_refusal_name(m->u.promise.refusal),
				px_trace_ballot(b2, sizeof(b2), m->u.promise.promised),
				(unsigned long long) m->u.promise.chosen, (unsigned long long) m->u.promise.last,
				m->u.promise.n_entries);
			break;
		case M_ACCEPTED:
			snprintf(
				buf, cap, "Accepted %s stream=%llu %s first=%llu next=%llu promised=%s",
				px_trace_ballot(b1, sizeof(b1), m->u.accepted.ballot),
				(unsigned long long) m->u.accepted.stream, px_refusal_name(m->u.accepted.refusal),
				(unsigned long long) m->u.accepted.first, (unsigned long long) m->u.accepted.next,
				px_trace_ballot(b2, sizeof(b2), m->u.accepted.promised));
			break;
		case M_PREVOTE_REPLY:
			snprintf(buf, cap, "PreVoteReply %s", px_refusal_name(m->u.prevote_reply.refusal));
			break;
		case M_FORWARD_REPLY:
			snprintf(buf, cap, "ForwardReply leads=%d", m->u.forward_reply.leads);
			break;
		case M_FETCH:
		case M_FETCHED:
		case M_SNAPSHOT:
			snprintf(buf, cap, "%s %llu..%llu",
					 m->kind == M_FETCH     ? "Fetch"
					 : m->kind == M_FETCHED ? "Fetched"
											: "Snapshot",
					 (unsigned long long) m->u.fetch.first, (unsigned long long) m->u.fetch.last);
			break;
	}
	return buf;
}
