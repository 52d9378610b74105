/*
 * sim_node.c
 *	  One server: what the glue does on PostgreSQL, on simulated disk and net.
 *
 * The glue's rules, kept here to the letter, because it is they and the core
 * together that are tested:
 *
 *	- acceptor: a durable transition takes the one acceptor lock, runs on a
 *	  copy, commits and flushes, is then run again on the shared value (which
 *	  learn, closed, hand-over and heartbeats may have moved meanwhile) and
 *	  must come to the same verdict, and only then is answered; a heartbeat
 *	  takes no lock, but waits for a Prepare that is being made durable;
 *	- a backend works its connection's messages off in order, also those that
 *	  had arrived before the connection broke;
 *	- proposer: one event at a time, actions in their order, incarnation raised
 *	  and flushed before anything else, first batch at once even if empty;
 *	- learner: applies up to acceptor.chosen in slot order, commits without
 *	  waiting for a flush, hands out results afterwards.
 *
 * A crash of the server takes everything but what sim_disk.c keeps.
 */
#include "sim.h"

static void lock_request(sim_node *n, sim_job_kind kind, sim_conn *c, sim_msg *m);
static void prop_event(sim_node *n, px_event *ev);

/* ---- times ---- */

static px_usec
flush_time(sim_node *n)
{
	px_usec t = rnd_between(n->flush_us / 2 + 1, n->flush_us * 2);

	if (n->slow_disk_until > W->now)
		t *= (px_usec) n->slow_disk_times;
	if (W->phase == PHASE_CHAOS && chance(W->ambient[AMBIENT_slow_flushes]))
		t += rnd_log(SIM_MS, 2 * W->election_us);
	return t;
}

/*
 * The node is at a boundary: something is durable, or said, and what should
 * follow has not happened.  If a fault waits for just this, the server is
 * killed before anything else happens.
 */
void
node_boundary(sim_node *n, sim_coverage boundary)
{
	if (n->armed != boundary)
		return;
	n->armed = N_COVERAGE;
	cover(boundary);
	TRACE(n, "node %u is killed: %s", n->id, sim_coverage_text[boundary]);
	fault_crash_soon(n);
}

/* ---- waking ---- */

void
node_wake(sim_node *n)
{
	if (!n->proposer_up || n->wake_scheduled)
		return;
	n->wake_scheduled = true;
	sim_at(W->now + rnd_below(300), E_WAKE, P_PROPOSER, n->place)->life = n->life;
}

void
node_wake_learner(sim_node *n)
{
	if (!n->up || n->learn_scheduled)
		return;
	n->learn_scheduled = true;
	sim_at(W->now + rnd_below(300), E_LEARN, P_LEARNER, n->place)->life = n->learner_life;
}

void
node_read(sim_node *n)
{
	n->read_signal = true;
	node_wake(n);
}

static void
ask_read(sim_node *n)
{
	px_event ev;

	if (!n->read_signal)
		return;
	n->read_signal = false;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_READ;
	prop_event(n, &ev);
}

sim_node *
node_leader(void)
{
	sim_node *best = NULL;

	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];

		if (n->up && n->proposer_up && n->role == PX_LEADER &&
			(best == NULL || n->ballot > best->ballot))
			best = n;
	}
	return best;
}

/* ---- the shared acceptor ---- */

/* Is a configuration known chosen and not recorded?  Also at a start. */
static void
record_later(sim_node *n)
{
	if (px_acceptor_config_due(&n->acceptor) && !n->config_waiting)
		sim_at(W->now + rnd_below(500), E_RECORD, P_SERVER, n->place)->life = n->boot;
}

static void
acceptor_changed(sim_node *n, const px_acceptor *before)
{
	if (n->lock_held && n->job_wal != NULL)
		cover(cov_note_in_flush);
	check_acceptor(n, before);
	node_wake(n);
	if (n->acceptor.chosen > n->visible.tables.applied ||
		n->acceptor.told_chosen > n->acceptor.chosen)
		node_wake_learner(n);
	record_later(n);
}

static void
acceptor_learn(sim_node *n, px_ballot ballot, px_slot chosen)
{
	px_acceptor before = n->acceptor;

	px_acceptor_learn(&n->acceptor, ballot, chosen);
	acceptor_changed(n, &before);
}

/*
 * Run the job's transition on *a.  Once on a copy, to learn what must be
 * durable, and once more on the shared value when it is.
 */
static px_refusal
transition(sim_node *n, px_acceptor *a, px_acceptor_todo *todo)
{
	sim_msg *answer = n->job_conn != NULL ? n->job_conn->answer : NULL;
	sim_msg *m = n->job_msg;

	memset(todo, 0, sizeof(*todo));
	switch (n->job)
	{
		case J_STREAM:
			if (m->kind == M_PREPARE)
			{
				px_promise r;

				px_acceptor_prepare(a, &m->u.prepare, n->job_conn->id, m->received, todo, &r);
				r.last = answer->u.promise.last;
				r.n_entries = answer->u.promise.n_entries;
				r.entries = answer->u.promise.entries;
				answer->u.promise = r;
				return r.refusal;
			}
			px_acceptor_accept(a, &m->u.accept, n->job_conn->id, m->received, n->job_applied,
							   n->job_durable, todo, &answer->u.accepted);
			return answer->u.accepted.refusal;
		case J_FETCHED:
			if (n->job_last == 0)
				break;
			for (px_slot s = n->job_first; s <= n->job_last; s++)
				if (px_value_is_config(m->blobs[s - m->u.fetch.first]->bytes))
					px_acceptor_holds_config(a, s);
			px_acceptor_fetched(a, n->job_first, n->job_last);
			break;
		case J_SNAPSHOT:
			if (n->job_last > 0)
			{
				if (n->job_last > a->chosen)
					px_acceptor_fetched(a, a->chosen + 1, n->job_last);
				px_acceptor_config(a, &n->job_config, n->job_next_config);
				px_acceptor_truncate(a, n->job_last);
			}
			break;
		case J_CONFIG:
			if (n->job_config.n_members > 0)
				px_acceptor_config(a, &n->job_config, n->job_next_config);
			break;
		case J_TRUNCATE:
			if (n->job_last > 0)
				px_acceptor_truncate(a, n->job_last);
			break;
		case J_NONE:
			break;
	}
	return PX_REFUSED_NOT;
}

static void
publish(sim_node *n)
{
	px_acceptor before = n->acceptor;
	px_acceptor_todo todo;
	px_refusal refusal = transition(n, &n->acceptor, &todo);

	if (refusal != n->job_refusal)
		sim_fail("node %u: published with the verdict %s, made durable with %s", n->id,
				 px_refusal_name(refusal), px_refusal_name(n->job_refusal));
	if ((todo.persist_state && !n->job_todo.persist_state) || todo.skip < n->job_todo.skip ||
		todo.skip + todo.store != n->job_todo.skip + n->job_todo.store)
		sim_fail("node %u: publication would have to make more durable", n->id);
	if (n->job == J_STREAM && refusal == PX_REFUSED_NOT)
	{
		if (n->job_msg->kind == M_PREPARE)
			check_promised(n, n->job_msg);
		else
			note_lease(n, n->job_msg);
	}
	acceptor_changed(n, &before);
}

static void
lock_release(sim_node *n)
{
	sim_waiter next;
	int i;

	n->lock_held = false;
	n->job = J_NONE;
	if (n->n_waiters == 0)
		return;
	i = (int) rnd_below((uint64_t) n->n_waiters);
	next = n->waiters[i];
	n->waiters[i] = n->waiters[--n->n_waiters];
	lock_request(n, next.kind, next.conn, next.msg);
}

static void
answer_soon(sim_node *n, sim_conn *c)
{
	sim_event *e = sim_at(W->now + rnd_below(100), E_ANSWER, P_SERVER, n->place);

	e->conn = c;
	e->life = n->boot;
}

/* The transaction is over: publish, let the lock go, answer. */
static void
job_done(sim_node *n)
{
	sim_job_kind kind = n->job;

	publish(n);
	n->preparing = false;
	if (kind == J_STREAM)
	{
		node_boundary(n, n->job_msg->kind == M_PREPARE ? cov_prepare_flushed : cov_accept_flushed);
		answer_soon(n, n->job_conn);
	}
	if (kind == J_TRUNCATE)
	{
		node_boundary(n, cov_truncate_flushed);
		n->truncate_waiting = false;
	}
	if (kind == J_FETCHED)
		node_boundary(n, cov_fetch_flushed);
	if (kind == J_CONFIG)
	{
		node_boundary(n, cov_config_flushed);
		n->config_waiting = false;
	}
	if (kind == J_SNAPSHOT && n->max_incarnation == 0 && n->visible.config.n_members > 0)
	{
		cover(cov_joined);
		node_start_proposer(n);
	}
	if (kind == J_SNAPSHOT)
	{
		px_origin o = px_origins_get(&n->visible.tables.origins, n->id);

		node_boundary(n, cov_snapshot_flushed);
		set_all_end(n);
		for (int i = 0; i < W->n_sessions; i++)
		{
			sim_session *s = &n->sessions[i];

			if (s->state == S_NUMBERED &&
				(s->incarnation < o.incarnation ||
				 (s->incarnation == o.incarnation && s->sequence <= o.last)))
				client_lost(n, s);
		}
		client_reads_ready(n);
	}
	if (kind == J_FETCHED || kind == J_SNAPSHOT)
		n->fetch_request = 0;
	n->job_conn = NULL;
	n->job_msg = NULL;
	lock_release(n);
	node_wake_learner(n);
}

static void
job_commit(sim_node *n, sim_wal *w)
{
	sim_event *e;

	w->held = true;
	n->job_wal = w;
	n->job_lsn = disk_commit(n, w);
	if (n->job == J_STREAM)
		node_boundary(n, n->job_msg->kind == M_PREPARE ? cov_prepare_written : cov_accept_written);
	e = sim_at(W->now + flush_time(n), E_FLUSHED, P_SERVER, n->place);
	e->life = n->boot;
	e->a = n->job_lsn;
}

/* A fetched or accepted entry onto the record, unless what stands there is
 * marked chosen. */
static void
put_cell(sim_node *n, sim_wal *w, uint16_t i, px_ballot ballot, sim_blob *value, bool is_chosen)
{
	px_slot slot = w->first + i;
	sim_cell *old = disk_cell(&n->visible, slot);

	if (old->value != NULL && old->chosen)
	{
		if (old->value != value)
			sim_fail("node %u is given v%u for slot %llu, where v%u is marked chosen", n->id,
					 value->id, (unsigned long long) slot, old->value->id);
		return;
	}
	if (is_chosen && old->value != NULL && old->value != value)
		cover(cov_fetch_replaced);
	w->cells[i].ballot = ballot;
	w->cells[i].value = value;
	w->cells[i].chosen = is_chosen;
}

/* The first configuration the log holds from 'from' to 'to'; 0: none. */
static px_slot
config_in_log(sim_node *n, px_slot from, px_slot to)
{
	for (px_slot s = from; s <= to && s <= n->visible.last; s++)
	{
		sim_cell *cell = disk_cell(&n->visible, s);

		if (cell->value != NULL && px_value_is_config(cell->value->bytes))
			return s;
	}
	return 0;
}

/* Of the log up to 'upto', the newest configuration, and where the next one is. */
static void
find_config(sim_node *n, px_slot upto, px_config *config, px_slot *next)
{
	px_slot s = config->slot;

	while ((s = config_in_log(n, s + 1, upto)) != 0)
		if (!px_value_config(&disk_cell(&n->visible, s)->value->view, s, config))
			sim_fail("node %u: slot %llu holds an invalid configuration", n->id,
					 (unsigned long long) s);
	*next = config_in_log(n, upto + 1, n->visible.last);
}

/* The entries of a promise, read with the lock held. */
static void
read_entries(sim_node *n, const px_prepare *q, sim_msg *answer)
{
	px_promise *r = &answer->u.promise;
	px_slot w = q->w;
	px_ballot seen[3] = {0};
	int n_seen = 0;

	answer->entries = sim_alloc(PX_MAX_WINDOW * sizeof(px_entry));
	r->entries = answer->entries;
	r->n_entries = 0;
	r->last = n->visible.last;
	for (px_slot s = w + 1; s <= n->visible.last && s <= w + PX_MAX_WINDOW; s++)
	{
		sim_cell *cell = disk_cell(&n->visible, s);
		px_entry *e = &answer->entries[r->n_entries];

		if (cell->value == NULL)
			continue;
		if (n_seen < 3 && (n_seen < 1 || seen[0] != cell->ballot) &&
			(n_seen < 2 || seen[1] != cell->ballot))
			seen[n_seen++] = cell->ballot;
		if (cell->chosen)
			cover(cov_promise_chosen);
		e->slot = s;
		e->ballot = cell->ballot;
		e->chosen = cell->chosen;
		e->value = cell->value->bytes;
		r->n_entries++;
	}
	if (n_seen >= 2)
		cover(cov_promise_ballots);
	if (n_seen >= 3)
		cover(cov_promise_three);
	if (n->visible.last > w + PX_MAX_WINDOW)
		cover(cov_paged);
	if (q->handover != 0)
		cover(cov_handover_used);
}

static void
run_job(sim_node *n)
{
	sim_msg *m = n->job_msg;
	sim_conn *c = n->job_conn;
	px_acceptor copy = n->acceptor;
	bool was_readable = copy.lease_readable;
	sim_wal *w = NULL;

	n->job_first = 0;
	n->job_last = 0;
	n->job_applied = n->visible.tables.applied;
	n->job_durable = n->durable.tables.applied;
	if (n->job == J_STREAM)
		c->answer = net_msg(m->kind == M_PREPARE ? M_PROMISE : M_ACCEPTED);
	if (n->job == J_FETCHED)
	{
		px_slot last = m->u.fetch.first + m->n - 1;

		n->job_first = px_max64(m->u.fetch.first, copy.chosen + 1);
		if (m->n > 0 && n->job_first <= last && m->u.fetch.first <= copy.chosen + 1)
			n->job_last = last;
	}
	memset(&n->job_config, 0, sizeof(n->job_config));
	/* The learner loads it, and a session's turn is over before the learner does anything. */
	if (n->job == J_SNAPSHOT && m->tables->applied > n->visible.tables.applied &&
		!set_turn_lasts(n))
	{
		n->job_last = m->tables->applied;
		n->job_config = m->tables->config;
		if (copy.config.n_members > 0 && copy.config.slot > n->job_config.slot)
			n->job_config = copy.config;

		/* what the log holds below the snapshot and is not known chosen may be stale */
		if (copy.chosen > n->job_last)
			find_config(n, copy.chosen, &n->job_config, &n->job_next_config);
		else
			n->job_next_config = config_in_log(n, n->job_last + 1, n->visible.last);
	}
	if (n->job == J_CONFIG && px_acceptor_config_due(&copy) && copy.config.n_members > 0)
	{
		n->job_config = copy.config;
		find_config(n, copy.chosen, &n->job_config, &n->job_next_config);
	}
	if (n->job == J_TRUNCATE)
	{
		px_slot t = px_min64(copy.truncatable, n->durable.tables.applied);

		t = px_min64(t, px_acceptor_settled(&copy));
		t = rnd_between(copy.truncated, px_max64(t, copy.truncated));
		if (t > copy.truncated)
			n->job_last = t;
	}
	n->job_refusal = transition(n, &copy, &n->job_todo);

	switch (n->job)
	{
		case J_STREAM:
			if (n->job_refusal == PX_REFUSED_REMOVED)
				cover(cov_removed_prepare);
			if (m->kind == M_PREPARE && copy.config.n_members > 0 &&
				px_config_find(&copy.config, m->u.prepare.from) < 0 &&
				n->job_refusal == PX_REFUSED_NOT)
				cover(cov_removed_unknown);
			if (n->job_refusal == PX_REFUSED_BALLOT)
				cover(m->kind == M_PREPARE ? cov_refused_ballot : cov_accept_ballot);
			if (n->job_refusal == PX_REFUSED_LEASE)
				cover(cov_refused_lease);
			if (n->job_refusal == PX_REFUSED_RESTART)
				cover(cov_refused_restart);
			if (n->job_refusal == PX_REFUSED_STREAM && m->kind == M_ACCEPT)
				cover(cov_accept_stream);
			if (copy.lease_readable && !was_readable)
				cover(cov_lease_readable);
			if (n->job_refusal != PX_REFUSED_NOT)
				break;
			if (m->kind == M_PREPARE)
			{
				n->preparing = true;
				read_entries(n, &m->u.prepare, c->answer);
			}
			else if ((uint32_t) n->job_todo.skip + n->job_todo.store > m->u.accept.n_values)
				sim_fail("node %u: told to store more values than the Accept carries", n->id);
			if (n->job_todo.store == 0 && !n->job_todo.persist_state)
				break;
			w = disk_begin(n->job_todo.store);
			w->vote = true;
			if (n->job_todo.store > 0)
				w->first = m->u.accept.first + n->job_todo.skip;
			for (uint16_t i = 0; i < n->job_todo.store; i++)
				put_cell(n, w, i, m->u.accept.ballot, m->blobs[n->job_todo.skip + i], false);
			if (n->job_todo.persist_state)
			{
				w->has_state = true;
				w->promised = copy.promised;
				w->longest_lease_us = copy.longest_lease_us;
			}
			break;
		case J_FETCHED:
			if (n->job_last == 0)
				break;
			w = disk_begin((uint16_t) (n->job_last - n->job_first + 1));
			w->first = n->job_first;
			for (px_slot s = n->job_first; s <= n->job_last; s++)
			{
				px_slot i = s - m->u.fetch.first;

				put_cell(n, w, (uint16_t) (s - n->job_first), m->entries[i].ballot, m->blobs[i],
						 true);
			}
			cover(cov_gap_filled);
			break;
		case J_SNAPSHOT:
			if (n->job_last == 0)
				break;
			w = disk_begin(0);
			w->tables = malloc(sizeof(sim_tables));
			if (w->tables == NULL)
				abort();
			*w->tables = *m->tables;
			w->truncate = n->job_last;
			w->config = n->job_config;
			cover(cov_snapshot);
			break;
		case J_CONFIG:
			if (n->job_config.n_members == 0 || n->job_config.slot == n->acceptor.config.slot)
				break;
			w = disk_begin(0);
			w->config = n->job_config;
			break;
		case J_TRUNCATE:
			if (n->job_last == 0)
				break;
			w = disk_begin(0);
			w->truncate = n->job_last;
			cover(cov_truncated);
			break;
		case J_NONE:
			break;
	}
	if (w != NULL)
		job_commit(n, w);
	else
		job_done(n);
}

static void
lock_request(sim_node *n, sim_job_kind kind, sim_conn *c, sim_msg *m)
{
	if (n->lock_held)
	{
		if (n->n_waiters == SIM_MAX_WAITERS)
			sim_fail("simulator: too many waiters for the acceptor lock");
		n->waiters[n->n_waiters].kind = kind;
		n->waiters[n->n_waiters].conn = c;
		n->waiters[n->n_waiters].msg = m;
		n->n_waiters++;
		return;
	}
	n->lock_held = true;
	n->job = kind;
	n->job_conn = c;
	n->job_msg = m;
	run_job(n);
}

/* At receipt, while other transitions may be in the middle of their flush. */
static void
hear_news(sim_node *n, sim_conn *c, sim_msg *m)
{
	px_acceptor before = n->acceptor;

	px_acceptor_news(&n->acceptor, &m->u.accept, c->id);
	acceptor_changed(n, &before);
}

/*
 * A heartbeat that makes nothing durable needs no lock.  False: it must go the
 * long way.
 */
static bool
accept_lightly(sim_node *n, sim_conn *c, sim_msg *m)
{
	px_acceptor before = n->acceptor;
	px_acceptor copy = before;
	px_acceptor_todo todo;
	sim_msg *answer = net_msg(M_ACCEPTED);

	if (m->u.accept.n_values > 0)
		return false;
	if (n->preparing)
	{
		cover(cov_light_waits);
		return false;
	}
	px_acceptor_accept(&copy, &m->u.accept, c->id, m->received, n->visible.tables.applied,
					   n->durable.tables.applied, &todo, &answer->u.accepted);
	if (todo.persist_state || todo.store > 0)
		return false;
	if (answer->u.accepted.refusal == PX_REFUSED_BALLOT)
		cover(cov_accept_ballot);
	if (answer->u.accepted.refusal == PX_REFUSED_STREAM)
		cover(cov_accept_stream);
	n->acceptor = copy;
	if (answer->u.accepted.refusal == PX_REFUSED_NOT)
		note_lease(n, m);
	acceptor_changed(n, &before);
	c->answer = answer;
	c->busy = true;
	answer_soon(n, c);
	return true;
}

/* ---- backends ---- */

static void
close_far(sim_node *n, sim_conn *c)
{
	px_acceptor before = n->acceptor;

	c->far_open = false;
	if (c->forward)
		return;
	TRACE(n, "node %u connection %llu from %u closed", n->id, (unsigned long long) c->id, c->near);
	px_acceptor_closed(&n->acceptor, c->id, sim_clock(n));
	acceptor_changed(n, &before);
	if (before.open && !n->acceptor.open)
		cover(cov_stream_closed);
	else if (before.open)
		cover(cov_stale_closed);
}

/*
 * The backend of one connection ends, as by pg_terminate_backend(): at once
 * when it reads or waits for the lock; when its transaction is over, and
 * without an answer, when it is in the middle of one.  Its stream and its lease
 * end as the connection's do.
 */
void
node_kill_backend(sim_node *n, sim_conn *c)
{
	if (!n->up || !c->far_open)
		return;
	TRACE(n, "node %u backend of connection %llu from %u ends", n->id, (unsigned long long) c->id,
		  c->near);
	if (n->lock_held && n->job_conn == c)
	{
		c->doomed = true;
		return;
	}
	for (int i = 0; i < n->n_waiters; i++)
		if (n->waiters[i].conn == c)
		{
			n->waiters[i] = n->waiters[--n->n_waiters];
			break;
		}
	if (c->answer != NULL && c->busy)
		cover(cov_not_answered);
	if (n->accept_busy == c->id)
		n->accept_busy = 0;
	if (n->acceptor.open && n->acceptor.owner == c->id)
		cover(cov_backend_stream);
	close_far(n, c);
	net_cut(c, rnd_log(50, 20 * SIM_MS), 0);
}

/*
 * The answer of a node that may not vote.  Nor does it count as having recorded a
 * configuration: it may be about to forget that, too.
 */
static void
refuse_to_vote(sim_node *n, sim_conn *c, const sim_msg *m)
{
	sim_msg *answer = net_msg(m->kind == M_PREPARE ? M_PROMISE : M_ACCEPTED);

	if (m->kind == M_PREPARE)
	{
		px_promise *r = &answer->u.promise;

		r->ballot = m->u.prepare.ballot;
		r->stream = m->u.prepare.stream;
		r->w = m->u.prepare.w;
		r->refusal = PX_REFUSED_NOT_VOTING;
		r->promised = n->acceptor.promised;
		r->chosen = n->acceptor.chosen;
		r->truncated = n->acceptor.truncated;
	}
	else
	{
		px_accepted *r = &answer->u.accepted;

		r->ballot = m->u.accept.ballot;
		r->stream = m->u.accept.stream;
		r->sent_at = m->u.accept.sent_at;
		r->refusal = PX_REFUSED_NOT_VOTING;
		r->promised = n->acceptor.promised;
		r->truncated = n->acceptor.truncated;
	}
	net_reply(c, answer);
}

static void
backend(sim_node *n, sim_conn *c)
{
	char text[256];

	while (c->far_open && !c->busy)
	{
		sim_msg *m = c->inbox.head;

		if (m == NULL)
		{
			if (c->closing)
				close_far(n, c);
			return;
		}
		c->inbox.head = m->next;
		if (c->inbox.head == NULL)
			c->inbox.tail = NULL;
		c->inbox.n--;
		m->received = sim_clock(n);
		m->received_at = W->now;
		TRACE(n, "node %u backend <- %u: %s", n->id, c->near, net_describe(m, text, sizeof(text)));
		if (m->kind != M_GREET && amnesia_over(n, c))
		{
			close_far(n, c);
			net_cut(c, rnd_log(50, 5 * SIM_MS), 0);
			return;
		}
		switch (m->kind)
		{
			case M_GREET:
				amnesia_greeted(n, c, m);
				break;
			case M_PREVOTE:
			{
				sim_msg *answer = net_msg(M_PREVOTE_REPLY);

				px_acceptor_prevote(&n->acceptor, &m->u.prevote, sim_clock(n),
									&answer->u.prevote_reply);
				if (answer->u.prevote_reply.refusal == PX_REFUSED_LEASE)
					cover(cov_prevote_lease);
				if (answer->u.prevote_reply.refusal == PX_REFUSED_TRUNCATED)
					cover(cov_prevote_truncated);
				if (answer->u.prevote_reply.refusal == PX_REFUSED_REMOVED)
					cover(cov_removed_prevote);
				else if (!amnesia_votes(n))
				{
					answer->u.prevote_reply.refusal = PX_REFUSED_NOT_VOTING;
					answer->u.prevote_reply.config = 0;
				}
				net_reply(c, answer);
				break;
			}
			case M_HANDOVER:
			{
				px_acceptor before = n->acceptor;

				if (!amnesia_votes(n))
					break;
				px_acceptor_handover(&n->acceptor, &m->u.handover, n->id, m->received);
				acceptor_changed(n, &before);
				break;
			}
			case M_ACCEPT:
				if (!amnesia_votes(n))
				{
					cover(cov_not_accepting);
					refuse_to_vote(n, c, m);
					break;
				}
				if (accept_lightly(n, c, m))
					break;
				if (n->acceptor.open && n->acceptor.owner == c->id &&
					n->acceptor.promised == m->u.accept.ballot &&
					n->acceptor.stream == m->u.accept.stream)
					n->accept_busy = c->id;
				hear_news(n, c, m);
				c->busy = true;
				lock_request(n, J_STREAM, c, m);
				break;
			case M_PREPARE:
				if (!amnesia_votes(n))
				{
					cover(cov_not_voting);
					refuse_to_vote(n, c, m);
					break;
				}
				amnesia_note(n, m->u.prepare.from, m->u.prepare.ballot, 0);
				c->busy = true;
				lock_request(n, J_STREAM, c, m);
				break;
			case M_FORWARD:
			{
				sim_msg *answer = net_msg(M_FORWARD_REPLY);
				sim_event *e;

				answer->u.forward_reply.leads = n->role == PX_RECOVERING || n->role == PX_LEADER;
				e = sim_at(W->now + 30, E_FORWARD, P_PROPOSER, n->place);
				e->msg = m;
				e->life = n->boot;
				net_reply(c, answer);
				break;
			}
			default:
				sim_fail("simulator: unexpected message at a backend");
		}
	}
}

static void
answered(sim_node *n, sim_conn *c)
{
	char text[256];

	if (n->accept_busy == c->id)
		n->accept_busy = 0;
	if (!c->far_open)
		return;
	c->busy = false;
	if (c->doomed)
	{
		cover(cov_not_answered);
		c->busy = true; /* counted once */
		c->answer = NULL;
		node_kill_backend(n, c);
		return;
	}
	if (c->answer != NULL)
	{
		TRACE(n, "node %u backend -> %u: %s", n->id, c->near,
			  net_describe(c->answer, text, sizeof(text)));
		n->unsafe_said |= n->unsafe;
		if (c->answer->kind == M_PROMISE)
			check_promise(n, &c->answer->u.promise);
		else
			check_answer(n, &c->answer->u.accepted);
		net_reply(c, c->answer);
		c->answer = NULL;
		node_boundary(n, cov_answered);
	}
	backend(n, c);
}

/* ---- the proposer process ---- */

static void
send_forward(sim_node *n, const px_action *a)
{
	sim_msg *m = net_msg(M_FORWARD);
	const px_forward *f = &a->u.fwd.forward;
	sim_conn *c = n->fwd;

	m->u.forward = *f;
	m->n = f->n_batches;
	m->bytes = sim_alloc(sizeof(px_bytes) * (m->n + 1u));
	for (uint16_t i = 0; i < m->n; i++)
		m->bytes[i] =
			sim_blob_of(px_proposer_batch_bytes(n->proposer, a->u.fwd.first_seq + i))->bytes;
	m->u.forward.batches = m->bytes;
	if (f->resend)
		cover(cov_resend);
	if (a->to == 0 || a->to > W->n_nodes)
		sim_fail("node %u forwards to node %u, which does not exist", n->id, a->to);
	if (!config_knows(n, a->to))
		return; /* its address is not known here yet */
	if (c != NULL && c->peer != a->to)
	{
		net_cut(c, 0, rnd_below(5 * SIM_MS));
		c->near_open = false;
		n->fwd = c = NULL;
	}
	if (c == NULL)
	{
		if (!net_reachable(n, a->to))
			return;
		c = n->fwd = net_connect(n, a->to, true);
	}
	net_send(c, m);
}

static void
send_stream(sim_node *n, px_node to, sim_msg *m)
{
	sim_conn *c = to >= 1 && to <= W->n_nodes ? n->stream[to] : NULL;

	if (c == NULL || !c->near_open)
		sim_fail("node %u sends to node %u, which it knows to be unconnected", n->id, to);
	net_send(c, m);
}

static void
was_removed(sim_node *n)
{
	if (!px_config_removed(config_last(), n->id))
		sim_fail("node %u says that it is removed, which it is not (§ 7)", n->id);
	n->removed = true;
	if (config_knows(n, n->id))
		cover(cov_removed_told);
	client_removed(n);
}

static void
carry_out(sim_node *n, const px_action *a)
{
	sim_msg *m;

	switch (a->kind)
	{
		case PX_DO_PUBLISH:
			n->role = a->u.publish.role;
			n->ballot = a->u.publish.ballot;
			n->leader = a->u.publish.leader;
			n->pub_chosen = a->u.publish.chosen;
			n->pub_lease = a->u.publish.lease_until;
			n->ready = a->u.publish.ready;
			if (n->removed && !a->u.publish.removed)
				sim_fail("node %u: removed, and then not", n->id);
			if (a->u.publish.removed && !n->removed)
				was_removed(n);
			if (n->role >= PX_RECOVERING)
			{
				check_leads(n, n->ballot);
				if (n->pub_chosen > W->prefix)
					sim_fail(
						"node %u counts slot %llu chosen in ballot %llu.%u, which is not (§ 11.5)",
						n->id, (unsigned long long) n->pub_chosen,
						(unsigned long long) px_ballot_round(n->ballot), n->id);
				acceptor_learn(n, n->ballot, n->pub_chosen);
			}
			break;
		case PX_DO_SEND_PREVOTE:
			m = net_msg(M_PREVOTE);
			m->u.prevote = a->u.prevote;
			send_stream(n, a->to, m);
			break;
		case PX_DO_SEND_PREPARE:
			check_prepare(n, a->u.prepare.ballot, a->to);
			if (n->role >= PX_RECOVERING)
				cover(cov_reopened);
			m = net_msg(M_PREPARE);
			m->u.prepare = a->u.prepare;
			send_stream(n, a->to, m);
			break;
		case PX_DO_SEND_ACCEPT:
			m = net_msg(M_ACCEPT);
			m->u.accept = a->u.accept;
			m->n = a->u.accept.n_values;
			m->blobs = sim_alloc(sizeof(sim_blob *) * (m->n + 1u));
			m->bytes = sim_alloc(sizeof(px_bytes) * (m->n + 1u));
			for (uint16_t i = 0; i < m->n; i++)
			{
				px_slot slot = a->u.accept.first + i;

				m->blobs[i] = sim_blob_of(px_proposer_value(n->proposer, slot));
				m->bytes[i] = m->blobs[i]->bytes;
				check_proposed(n, a->u.accept.ballot, slot, m->blobs[i]);
			}
			m->u.accept.values = m->bytes;
			m->u.accept.config_at = px_accept_config_at(&m->u.accept);
			if (a->u.accept.chosen > n->pub_chosen)
				sim_fail("node %u tells node %u that %llu is chosen before it published it at home",
						 n->id, a->to, (unsigned long long) a->u.accept.chosen);
			send_stream(n, a->to, m);
			break;
		case PX_DO_SEND_HANDOVER:
			cover(cov_handover_sent);
			m = net_msg(M_HANDOVER);
			m->u.handover = a->u.handover;
			send_stream(n, a->to, m);
			node_boundary(n, cov_handed_over);
			break;
		case PX_DO_SEND_FORWARD:
			send_forward(n, a);
			break;
		case PX_DO_RESET_PEER:
		{
			sim_conn *c = a->to >= 1 && a->to <= W->n_nodes ? n->stream[a->to] : NULL;
			px_usec far;

			if (c == NULL)
				break;
			cover(cov_reset_peer);
			far = rnd_log(100, 100 * SIM_MS);
			net_cut(c, rnd_below(2 * SIM_MS), far);
			sim_at(W->now + rnd_below(2 * SIM_MS), E_DOWN, P_PROPOSER, n->place)->conn = c;
			break;
		}
		case PX_DO_FETCH:
			cover(n->role == PX_FOLLOWER ? cov_probed : cov_catching_up);
			n->fetch_hint = a->to;
			n->fetch_to = px_max64(n->fetch_to, a->u.fetch_to);
			node_wake_learner(n);
			break;
		case PX_DO_READ_SENT:
			for (int i = 0; i < W->n_sessions; i++)
				if (n->sessions[i].state == S_READ_WANTED)
				{
					n->sessions[i].state = S_READ_SENT;
					n->sessions[i].read_seq = a->u.read.seq;
				}
			break;
		case PX_DO_READ_DONE:
			for (int i = 0; i < W->n_sessions; i++)
				if (n->sessions[i].state == S_READ_SENT && n->sessions[i].read_seq <= a->u.read.seq)
				{
					n->sessions[i].state = S_READ_APPLY;
					n->sessions[i].read_index = a->u.read.index;
				}
			client_reads_ready(n);
			break;
		case PX_DO_HANDOVER_USED:
			n->acceptor.handover = 0;
			break;
		case PX_DO_CONFIGURED:
			config_answered(n, a->u.configured.request, a->u.configured.result,
							a->u.configured.slot);
			break;
	}
}

static void
schedule_tick(sim_node *n, px_usec wake_at)
{
	sim_event *e;
	px_usec at;

	if (wake_at == n->tick_at && n->tick_gen != 0)
		return;
	n->tick_at = wake_at;
	at = sim_when(n, wake_at) + rnd_below(200);
	if (W->phase == PHASE_CHAOS && chance(W->ambient[AMBIENT_late_ticks]))
		at += rnd_log(SIM_MS, 50 * SIM_MS);
	e = sim_at(at, E_TICK, P_PROPOSER, n->place);
	e->life = n->life;
	e->a = ++n->tick_gen;
}

static void
prop_event(sim_node *n, px_event *ev)
{
	static px_update up;
	const px_proposer_view *v1 = &n->views[n->view];
	px_proposer_view *v2 = &n->views[1 - n->view];
	const char *fact;
	char text[PX_TRACE_BYTES];
	int n_actions;

	if (!n->proposer_up)
		return; /* it was killed within this very event */
	ev->now = sim_clock(n);
	ev->wall_us = (uint64_t) ((int64_t) W->now + n->wall_offset_us);
	if (W->trace || W->ring)
		sim_trace(n, "%s", px_trace_event(text, sizeof(text), n->id, ev));
	px_proposer_step(n->proposer, ev, &up);
	if ((W->trace || W->ring) && px_proposer_reason(n->proposer)[0] != '\0')
		sim_trace(n, "node %u  (%s)", n->id, px_proposer_reason(n->proposer));
	n_actions = up.n_actions;
	if (n_actions < 0 || n_actions > PX_MAX_ACTIONS)
		sim_fail("node %u: %d actions in one update", n->id, n_actions);
	px_proposer_look(n->proposer, v2);
	n->view = 1 - n->view; /* what it was stays as it is until the next event */
	n->view_config = v2->config;
	check_lease(n, v2);
	if ((fact = px_check_proposer(n->proposer)) != NULL)
		sim_fail("node %u: proposer: %s", n->id, fact);
	if ((fact = px_check_proposer_step(v1, v2)) != NULL)
		sim_fail("node %u: proposer, two successive states: %s", n->id, fact);
	if ((fact = px_check_update(n->proposer, &up)) != NULL)
		sim_fail("node %u: proposer's update: %s", n->id, fact);
	for (int i = 0; i < n_actions; i++)
	{
		if (W->trace || W->ring)
			sim_trace(n, "%s", px_trace_action(text, sizeof(text), n->id, &up.actions[i]));
		carry_out(n, &up.actions[i]);
		if (n->armed == cov_half_update && n_actions - i > 1 && chance(300))
		{
			/* the process ends here; what it told its own node stays told */
			n->armed = N_COVERAGE;
			cover(cov_half_update);
			fault_kill_proposer(n);
			return;
		}
	}
	schedule_tick(n, up.wake_at);

	for (int i = 0; i < n_actions; i++)
		if (up.actions[i].kind == PX_DO_READ_DONE && v2->role == PX_LEADER &&
			ev->kind != PX_EV_ACCEPTED)
			cover(cov_lease_read);
	if (v2->leaving && !v1->leaving)
		cover(v2->role == PX_LEADER ? cov_leaving : cov_leaving_recovered);
	if (v1->leaving && v1->role == PX_LEADER && v2->role != PX_LEADER &&
		v2->highest_seen == v1->ballot)
		cover(cov_leaving_over);
	if (v2->config < v1->config)
		cover(cov_config_unknown);
	if (ev->kind == PX_EV_PROMISE && v1->change == PX_CHANGE_BARRIER && v2->change == v1->change &&
		ev->u.promise->ballot == v1->ballot && ev->u.promise->w < v1->config)
		cover(cov_barrier_late);
	if (v1->role >= PX_CANDIDATE && v2->role == PX_FOLLOWER)
	{
		if (v2->highest_seen > v1->ballot)
			cover(cov_step_down);
		else if (v1->role >= PX_RECOVERING)
			cover(cov_step_down_alone);
	}
	if (v2->role >= PX_RECOVERING)
	{
		if (v2->in_flight >= n->params.pipeline_depth)
			cover(cov_window_full);
		if (v2->in_flight > 32)
			cover(cov_window_deep);
	}
	if (ev->kind == PX_EV_PROMISE && v1->role >= PX_RECOVERING &&
		ev->u.promise->refusal == PX_REFUSED_NOT)
		cover(cov_late_promise);
}

static void
one_batch(sim_node *n, bool even_if_empty)
{
	px_event ev;
	uint64_t sequence = 0;
	px_batch_writer *w;

	if (!n->proposer_up)
		return;
	w = px_proposer_batch(n->proposer, &sequence);
	if (!client_fill(n, w, n->params.incarnation, sequence))
	{
		if (!even_if_empty)
			sim_fail("simulator: batch without a command");
		cover(cov_empty_batch);
	}
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_BATCH;
	prop_event(n, &ev);
}

static void
drain(sim_node *n)
{
	while (n->proposer_up && client_queued(n))
	{
		if (!px_proposer_batch_room(n->proposer))
		{
			cover(cov_outbox_full);
			return;
		}
		one_batch(n, false);
	}
}

static bool
tell_local(sim_node *n)
{
	px_local l;
	px_local *o = &n->last_local;
	const px_acceptor *a = &n->acceptor;
	px_origin own = px_origins_get(&n->visible.tables.origins, n->id);
	px_event ev;

	config_tell(n);
	if (!n->proposer_up)
		return false;
	memset(&l, 0, sizeof(l));
	l.promised = a->promised;
	l.chosen = px_acceptor_settled(a);
	l.config = a->config.slot;
	l.applied = n->visible.tables.applied;
	l.truncated = a->truncated;
	l.leader = a->open ? a->promised : 0;
	l.heard_at = n->accept_busy != 0 ? sim_clock(n) : a->heard_at;
	l.lost_at = a->lost_at;
	l.leased_until = a->lease_ballot != 0 ? a->lease_until : 0;
	l.handover = a->handover;
	l.read = a->read;
	l.own_incarnation = own.incarnation;
	l.own_last = own.last;
	l.log_time_us = n->visible.tables.log_time_us;
	l.gaps_seen = n->gaps_seen;
	l.may_vote = !n->no_vote;
	l.stuck = n->told_stuck && n->learner_until > W->now;
	if (px_proposer_foreign(n->proposer, l.own_incarnation, l.own_last))
	{
		amnesia_foreign(n);
		return false;
	}
	if (n->local_told && l.config == o->config && l.promised == o->promised &&
		l.chosen == o->chosen && l.applied == o->applied && l.truncated == o->truncated &&
		l.leader == o->leader && l.heard_at == o->heard_at && l.lost_at == o->lost_at &&
		l.leased_until == o->leased_until && l.handover == o->handover &&
		l.read.incarnation == o->read.incarnation && l.read.seq == o->read.seq &&
		l.read.index == o->read.index && l.own_incarnation == o->own_incarnation &&
		l.own_last == o->own_last && l.log_time_us == o->log_time_us &&
		l.gaps_seen == o->gaps_seen && l.may_vote == o->may_vote && l.stuck == o->stuck)
		return false;
	n->last_local = l;
	n->local_told = true;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_LOCAL;
	ev.u.local = &n->last_local;
	prop_event(n, &ev);
	return true;
}

static bool
read_wanted(const sim_node *n)
{
	for (int i = 0; i < W->n_sessions; i++)
		if (n->sessions[i].state == S_READ_WANTED)
			return true;
	return false;
}

static void
connect_later(sim_node *n, px_node peer, px_usec after)
{
	sim_event *e = sim_at(W->now + after, E_CONNECT, P_PROPOSER, n->place);

	e->life = n->life;
	e->a = peer;
}

static void
try_connect(sim_node *n, px_node peer)
{
	if (n->stream[peer] != NULL || !config_knows(n, peer))
		return;
	if (!net_reachable(n, peer))
	{
		connect_later(n, peer, rnd_between(20 * SIM_MS, 120 * SIM_MS));
		return;
	}
	n->stream[peer] = net_connect(n, peer, false);
}

static void
went_down(sim_node *n, sim_conn *c)
{
	px_event ev;

	if (!c->near_open)
		return;
	c->near_open = false;
	if (c->forward)
	{
		if (n->fwd == c)
			n->fwd = NULL;
		return;
	}
	n->stream[c->peer] = NULL;
	if (c->up)
	{
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_PEER_DOWN;
		ev.node = c->peer;
		prop_event(n, &ev);
	}
	if (config_knows(n, c->peer))
		connect_later(n, c->peer, rnd_log(200, 100 * SIM_MS));
}

void
node_connect(sim_node *n, px_node peer)
{
	if (n->stream[peer] == NULL)
		connect_later(n, peer, rnd_below(20 * SIM_MS));
}

void
node_disconnect(sim_node *n, px_node peer)
{
	sim_conn *c = n->stream[peer];

	if (c == NULL)
		return;
	net_cut(c, 0, rnd_below(5 * SIM_MS));
	went_down(n, c);
}

void
node_tell_config(sim_node *n)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_CONFIG;
	ev.u.config = &n->acceptor.config;
	prop_event(n, &ev);
}

/* Somebody asks this node, taken for the leader, to change the configuration. */
void
node_configure(sim_node *n, const px_configure *m)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_CONFIGURE;
	ev.u.configure = m;
	prop_event(n, &ev);
}

static void
proposer_message(sim_node *n, sim_conn *c, sim_msg *m)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.node = c->peer;
	switch (m->kind)
	{
		case M_WELCOME:
			if (!amnesia_welcomed(n, c, m) || c->forward)
				return;
			ev.kind = PX_EV_PEER_UP;
			break;
		case M_PREVOTE_REPLY:
			amnesia_note(n, c->peer, m->u.prevote_reply.promised, 0);
			ev.kind = PX_EV_PREVOTE_REPLY;
			ev.u.prevote_reply = &m->u.prevote_reply;
			break;
		case M_PROMISE:
			amnesia_note(n, c->peer, m->u.promise.promised, m->u.promise.last);
			ev.kind = PX_EV_PROMISE;
			ev.u.promise = &m->u.promise;
			break;
		case M_ACCEPTED:
			/* below its first slot there may be a gap; and not each is noted at once */
			amnesia_note(n, c->peer, m->u.accepted.promised,
						 m->u.accepted.next > m->u.accepted.first && chance(500)
							 ? m->u.accepted.next - 1
							 : 0);
			ev.kind = PX_EV_ACCEPTED;
			ev.u.accepted = &m->u.accepted;
			break;
		case M_FORWARD_REPLY:
			ev.kind = PX_EV_FORWARD_REPLY;
			ev.u.forward_reply = &m->u.forward_reply;
			break;
		default:
			sim_fail("simulator: unexpected answer");
	}
	prop_event(n, &ev);
}

void
node_start_proposer(sim_node *n)
{
	sim_wal *w;
	sim_event *e;

	if (!n->up || n->proposer_up || n->proposer_starting || n->acceptor.config.n_members == 0 ||
		n->fenced)
		return;
	if (!amnesia_home(n) || n->incarnation_lsn != 0)
	{
		/*
		 * It looks again: the other server may be gone; and a former process that was
		 * ended in the middle of it had the lock.
		 */
		sim_at(W->now + rnd_between(20 * SIM_MS, 100 * SIM_MS), E_START_PROPOSER, P_SERVER,
			   n->place)
			->life = n->boot;
		return;
	}
	n->proposer_starting = true;
	n->life = ++W->lives;

	/* another file first, durably; then the tables say what it is known by */
	n->sentinel.incarnation = n->visible.incarnation + 1;
	n->sentinel.stamp = ++W->stamps;
	w = disk_begin(0);
	w->incarnation = n->visible.incarnation + 1;
	w->stamp = n->sentinel.stamp;
	n->incarnation_lsn = disk_commit(n, w);
	e = sim_at(W->now + flush_time(n), E_PROPOSER_READY, P_SERVER, n->place);
	e->life = n->life;
	e->a = n->incarnation_lsn;
	e->b = w->incarnation;
}

static void
proposer_ready(sim_node *n, uint64_t incarnation)
{
	size_t need;

	n->proposer_starting = false;
	if (n->fenced || n->twin)
		return;
	n->proposer_up = true;
	node_boundary(n, cov_incarnation_flushed);
	if (incarnation <= n->max_incarnation)
		sim_fail("node %u uses incarnation %llu for two lives (§ 1)", n->id,
				 (unsigned long long) incarnation);
	n->max_incarnation = incarnation;
	n->params.self = n->id;
	n->params.incarnation = incarnation;
	n->params.seed = rnd();
	need = px_proposer_bytes(&n->params);
	if (need > n->memory_bytes)
	{
		free(n->memory);
		n->memory = malloc(need);
		if (n->memory == NULL)
			abort();
		n->memory_bytes = need;
	}
	/* a new life finds no old state; what lies behind are buffers for values */
	memset(n->memory, 0xA5, need < 65536 ? need : 65536);
	n->proposer = px_proposer_init(n->memory, need, &n->params, &n->acceptor.config, sim_clock(n));
	n->told_config = n->acceptor.config.slot;
	n->view_config = n->told_config;
	n->removed = false;
	if (n->proposer == NULL)
		sim_fail("node %u: px_proposer_init refused its parameters", n->id);
	px_proposer_look(n->proposer, &n->views[n->view]);
	n->role = PX_FOLLOWER;
	n->ballot = 0;
	n->leader = 0;
	n->ready = false;
	n->pub_lease = 0;
	n->tick_gen = 0;
	n->tick_at = 0;
	n->idle_ticks = 0;
	n->wake_scheduled = false;
	n->local_told = false;
	n->fwd = NULL;
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		n->stream[i] = NULL;
	for (int i = 0; i < W->n_sessions; i++)
		if (n->sessions[i].state == S_READ_SENT)
		{
			n->sessions[i].state = S_READ_WANTED;
			cover(cov_read_restarted);
		}
	TRACE(n, "node %u proposer starts, incarnation %llu", n->id, (unsigned long long) incarnation);
	tell_local(n);
	if (n->fenced)
		return;
	if (n->proposer_up && !px_proposer_batch_room(n->proposer))
		sim_fail("node %u: a new proposer has no room for a batch", n->id);
	one_batch(n, true);
	n->read_signal = read_wanted(n);
	ask_read(n);
	for (int i = 1; i <= W->n_nodes; i++)
		connect_later(n, (px_node) i, rnd_below(5 * SIM_MS));
}

static void
forget_proposer(sim_node *n, bool server_too)
{
	if (n->proposer_up && n->role >= PX_RECOVERING && !server_too)
		cover(cov_leader_life_ended);
	n->proposer_up = false;
	n->proposer_starting = false;
	n->life = ++W->lives;
	n->wake_scheduled = false;
	for (uint64_t i = 1; i <= W->n_conns; i++)
	{
		sim_conn *c = W->conns[i];

		if (c->near == n->place && c->near_open)
		{
			c->near_open = false;
			net_cut(c, 0, chance(800) ? rnd_log(50, 5 * SIM_MS) : rnd_log(5 * SIM_MS, 2 * SIM_SEC));
		}
	}
	n->fwd = NULL;
	for (int i = 1; i <= SIM_MAX_NODES; i++)
		n->stream[i] = NULL;
}

void
node_kill_proposer(sim_node *n)
{
	if (!n->up)
		return;
	TRACE(n, "node %u proposer process ends", n->id);
	forget_proposer(n, false);
}

/* ---- the learner process ---- */

typedef struct apply_state
{
	sim_node *n;
} apply_state;

void
node_outcome(sim_node *n, const sim_outcome *o)
{
	if (o->origin != n->id)
		return;
	if (!o->settle && o->cell == UINT32_MAX)
	{
		if (o->command == (uint64_t) PX_GAP)
			n->gaps_seen++;
		return;
	}
	if (n->n_outcomes == n->cap_outcomes)
	{
		n->cap_outcomes = n->cap_outcomes ? n->cap_outcomes * 2 : 64;
		n->outcomes = realloc(n->outcomes, (size_t) n->cap_outcomes * sizeof(sim_outcome));
		if (n->outcomes == NULL)
			abort();
	}
	n->outcomes[n->n_outcomes++] = *o;
}

static void
learner_sink(void *arg, const sim_outcome *o)
{
	node_outcome(((apply_state *) arg)->n, o);
}

/* Soon after the commit. */
void
node_deliver(sim_node *n)
{
	if (n->deliver_scheduled)
		return;
	n->deliver_scheduled = true;
	sim_at(W->now + rnd_below(200), E_DELIVER, P_LEARNER, n->place)->life = n->learner_life;
}

static sim_blob *
value_of(sim_node *n, px_slot slot)
{
	sim_cell *cell = disk_cell(&n->visible, slot);

	if (cell->value == NULL || slot <= n->visible.truncated)
		sim_fail("node %u shall apply slot %llu, which its log lacks", n->id,
				 (unsigned long long) slot);
	return cell->value;
}

static void
apply_some(sim_node *n)
{
	px_slot upto = px_min64(n->acceptor.chosen, n->visible.tables.applied + rnd_between(1, 8));
	px_slot s = n->visible.tables.applied + 1;
	sim_wal *w;
	apply_state st = {n};
	sim_applying a = {0};

	if (upto < s || n->acceptor.config.n_members == 0 || !amnesia_votes(n) || set_turn_lasts(n))
		return;
	set_load_window(n);
	a.window = n->window;
	if (s != n->turn_over && set_own(n, value_of(n, s)) && set_give_turn(n, s, value_of(n, s)))
		return;
	w = disk_begin(0);
	w->tables = malloc(sizeof(sim_tables));
	if (w->tables == NULL)
		abort();
	*w->tables = n->visible.tables;
	for (; s <= upto; s++)
	{
		sim_blob *value = value_of(n, s);

		if (s != n->turn_over && set_own(n, value))
			break; /* what is before it is committed first */
		client_apply(w->tables, s, value, &a, learner_sink, &st);
		check_applied(n, s, value, w->tables);
	}
	TRACE(n, "node %u applied %llu", n->id, (unsigned long long) s - 1);
	if (W->sets)
		set_store_window(n, w->tables, &a);
	disk_commit(n, w);
	disk_show(n, w);
	set_make_way(n, a.changed);
	node_boundary(n, cov_applied);
	node_deliver(n);
	node_wake(n);
}

/*
 * Somebody to ask: a member; who is new, one it was told of.  Or who has greeted this
 * server, and said where it is to be found: all that this node knows of may have been
 * replaced while it was away, but who came after them has its address.
 */
static px_node
some_peer(sim_node *n, px_node hint)
{
	const px_config *c = &n->acceptor.config;
	uint32_t all = n->met;
	int i;

	if (c->n_members == 0)
		c = config_at(n->introduced);
	for (i = 0; i < c->n_members; i++)
		all |= 1u << c->members[i].node;
	all &= ~(1u << n->id);
	if (all == 0)
		return 0;
	if (hint == 0 || (all >> hint & 1) == 0 || !chance(600))
		do
			hint = (px_node) rnd_between(1, SIM_MAX_NODES);
		while ((all >> hint & 1) == 0);
	for (i = 0; i < c->n_members && c->members[i].node != hint; i++)
		;
	if (i == c->n_members)
		cover(cov_met);
	return hint;
}

static void
ask(sim_node *n, px_node peer, px_slot last, bool snapshot)
{
	sim_msg *m = net_msg(M_FETCH);

	m->u.fetch.from = n->id;
	m->u.fetch.request = n->fetch_request = ++W->fetch_requests;
	m->u.fetch.first = n->acceptor.chosen + 1;
	m->u.fetch.last = last;
	m->u.fetch.snapshot = snapshot;
	n->fetch_deadline = W->now + rnd_between(40 * SIM_MS, 150 * SIM_MS);
	sim_at(n->fetch_deadline + 1, E_LEARN, P_LEARNER, n->place)->life = n->learner_life;
	net_rpc(n->place, net_home(peer)->place, m);
}

static void
learn(sim_node *n)
{
	px_slot from = 0;
	px_slot to = 0;
	bool fetching = n->fetch_request != 0 && n->fetch_deadline > W->now;

	if (!amnesia_votes(n))
		return;
	if (n->job != J_SNAPSHOT)
		apply_some(n);
	if (n->acceptor.chosen > n->visible.tables.applied && n->job != J_SNAPSHOT &&
		!n->learn_scheduled)
	{
		n->learn_scheduled = true;
		sim_at(W->now + rnd_between(50, 400), E_LEARN, P_LEARNER, n->place)->life = n->learner_life;
	}
	if (!fetching)
	{
		px_node hint = n->acceptor.open ? px_ballot_node(n->acceptor.promised) : 0;
		px_node peer;

		if (n->acceptor.config.n_members == 0)
		{
			/* new: a snapshot, before anything else */
			peer = some_peer(n, 0);
			if (peer != 0)
				ask(n, peer, 0, true);
			else
				sim_at(W->now + SIM_MS, E_LEARN, P_LEARNER, n->place)->life = n->learner_life;
		}
		else if (px_acceptor_gap(&n->acceptor, &from, &to))
		{
			if (from != n->acceptor.chosen + 1 || to < from)
				sim_fail("node %u: gap %llu..%llu above chosen %llu", n->id,
						 (unsigned long long) from, (unsigned long long) to,
						 (unsigned long long) n->acceptor.chosen);
			peer = some_peer(n, hint);
			if (peer != 0)
				ask(n, peer, to, false);
		}
		else if (n->fetch_to > n->acceptor.chosen)
		{
			peer = some_peer(n, n->fetch_hint);
			if (peer != 0)
				ask(n, peer, n->fetch_to, false);
		}
	}
	if (W->truncating && !n->truncate_waiting && chance(30) &&
		px_min64(n->acceptor.truncatable, n->durable.tables.applied) > n->acceptor.truncated)
	{
		n->truncate_waiting = true;
		lock_request(n, J_TRUNCATE, NULL, NULL);
	}
}

static void
deliver(sim_node *n)
{
	int count = n->n_outcomes;

	n->deliver_scheduled = false;
	n->n_outcomes = 0;
	for (int i = 0; i < count; i++)
	{
		sim_outcome o = n->outcomes[i];

		client_outcome(n, &o);
	}
	if (count > 0)
		node_boundary(n, cov_delivered);
	client_reads_ready(n);
	node_wake(n);
}

/* The learner process alone ends and starts: results not handed out are lost. */
void
node_restart_learner(sim_node *n)
{
	px_origin o = px_origins_get(&n->visible.tables.origins, n->id);

	if (!n->up)
		return;
	TRACE(n, "node %u learner restarts", n->id);
	n->learner_life = ++W->lives;
	n->n_outcomes = 0;
	n->deliver_scheduled = false;
	n->learn_scheduled = false;
	n->fetch_request = 0;
	n->window_loaded = false;
	set_withdraw_turn(n);
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (s->state == S_NUMBERED && (s->incarnation < o.incarnation ||
									   (s->incarnation == o.incarnation && s->sequence <= o.last)))
			client_lost(n, s);
	}
	node_wake_learner(n);
}

static void
serve_fetch(sim_node *n, px_node from, const sim_msg *q)
{
	sim_msg *m;
	px_slot first = q->u.fetch.first;
	px_slot last;

	if (q->u.fetch.snapshot)
	{
		m = net_msg(M_SNAPSHOT);
		m->u.fetch = q->u.fetch;
		m->tables = sim_alloc(sizeof(sim_tables));
		*m->tables = n->visible.tables;
		net_rpc(n->place, from, m);
		return;
	}
	m = net_msg(M_FETCHED);
	m->u.fetch = q->u.fetch;
	m->u.fetch.truncated = n->acceptor.truncated;
	last = px_min64(px_min64(q->u.fetch.last, n->acceptor.chosen), first + 15);
	m->blobs = sim_alloc(16 * sizeof(sim_blob *));
	m->entries = sim_alloc(16 * sizeof(px_entry));
	if (first > n->visible.truncated)
		for (px_slot s = first; s <= last; s++)
		{
			sim_cell *cell = disk_cell(&n->visible, s);

			if (cell->value == NULL)
				sim_fail("node %u is asked for chosen slot %llu, which its log lacks", n->id,
						 (unsigned long long) s);
			m->blobs[m->n] = cell->value;
			m->entries[m->n].slot = s;
			m->entries[m->n].ballot = cell->ballot;
			m->entries[m->n].chosen = true;
			m->n++;
		}
	net_rpc(n->place, from, m);
}

static void
rpc(sim_node *n, const sim_event *e)
{
	sim_msg *m = e->msg;

	if (!n->up)
		return;
	if (m->kind == M_FETCH)
	{
		serve_fetch(n, (px_node) e->a, m);
		return;
	}
	if (m->u.fetch.request != n->fetch_request)
		return;
	if (m->kind == M_FETCHED && m->u.fetch.truncated >= m->u.fetch.first)
	{
		n->fetch_request = 0;
		if (chance(500))
			ask(n, W->nodes[e->a].id, 0, true);
		else
			node_wake_learner(n);
		return;
	}
	if (m->kind == M_FETCHED && m->n == 0)
	{
		/* knows no more than we do; ask again at the deadline */
		return;
	}
	if (m->kind == M_SNAPSHOT && n->acceptor.config.n_members == 0 &&
		m->tables->applied < n->introduced)
	{
		/* older than what this node was told; ask again at the deadline */
		cover(cov_snapshot_old);
		return;
	}
	n->fetch_deadline = W->now + 10 * SIM_SEC; /* until the job is done */
	lock_request(n, m->kind == M_FETCHED ? J_FETCHED : J_SNAPSHOT, NULL, m);
}

/* ---- the server ---- */

void
node_init(sim_node *n, px_node place, px_node id)
{
	memset(n, 0, sizeof(*n));
	n->place = place;
	n->id = id;
	n->armed = N_COVERAGE;
	disk_cell(&n->visible, 1);
	disk_cell(&n->durable, 1);
}

void
node_start_server(sim_node *n)
{
	px_acceptor before;

	if (n->up || !n->exists || n->gone)
		return;
	n->up = true;
	n->boot++;
	if (n->boot > 1 && chance(300))
	{
		n->clock_us = rnd_between(SIM_SEC, 1000000 * SIM_SEC);
		n->clock_at = W->now;
	}
	n->lock_held = false;
	n->job = J_NONE;
	n->job_conn = NULL;
	n->job_msg = NULL;
	n->preparing = false;
	n->accept_busy = 0;
	n->n_waiters = 0;
	n->truncate_waiting = false;
	n->wake_scheduled = false;
	n->learn_scheduled = false;
	n->deliver_scheduled = false;
	n->fetch_request = 0;
	n->fetch_to = 0;
	n->incarnation_lsn = 0;
	n->n_outcomes = 0;
	n->gaps_seen = 0;
	n->role = PX_FOLLOWER;
	n->ready = false;
	n->pub_lease = 0;
	n->learner_life = ++W->lives;
	amnesia_judge(n);
	px_acceptor_init(&n->acceptor, n->visible.promised, n->visible.truncated,
					 n->visible.longest_lease_us, n->visible.tables.applied, sim_clock(n));
	n->config_waiting = false;
	if (n->visible.config.n_members > 0)
	{
		px_config *c = &n->visible.config;

		px_acceptor_config(&n->acceptor, c, config_in_log(n, c->slot + 1, n->visible.last));
		check_known(n, 1, n->acceptor.chosen);
		record_later(n);
		if (px_config_find(c, n->id) >= 0 && px_config_removed(config_last(), n->id))
			cover(cov_removed_back);
	}
	before = n->acceptor;
	check_acceptor(n, &before);
	TRACE(n, "node %u server starts: applied %llu, log to %llu", n->id,
		  (unsigned long long) n->visible.tables.applied, (unsigned long long) n->visible.last);
	sim_at(W->now + rnd_below(3 * SIM_MS), E_START_PROPOSER, P_SERVER, n->place)->life = n->boot;
	sim_at(W->now + rnd_between(50 * SIM_MS, 300 * SIM_MS), E_WALWRITE, P_SERVER, n->place)->life =
		n->boot;
	node_wake_learner(n);
	for (int i = 0; i < W->n_sessions; i++)
		client_schedule(n, &n->sessions[i], rnd_below(10 * SIM_MS));
}

void
node_crash(sim_node *n, bool quiet)
{
	if (!n->up)
		return;
	TRACE(n, "node %u server crashes", n->id);
	if (n->lock_held && n->job_wal != NULL && n->job == J_STREAM)
		cover(cov_crash_accept);
	forget_proposer(n, true);
	n->pub_lease = 0; /* in shared memory, by a clock that may begin anew */
	set_all_end(n);
	n->up = false;
	n->paused_until = 0;
	n->proposer_until = 0;
	n->learner_until = 0;
	for (uint64_t i = 1; i <= W->n_conns; i++)
	{
		sim_conn *c = W->conns[i];

		if (c->far == n->place && c->far_open)
		{
			c->far_open = false;
			net_cut(c, quiet ? rnd_log(100 * SIM_MS, 4 * W->election_us) : rnd_log(50, 5 * SIM_MS),
					0);
		}
	}
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (s->state == S_QUEUED || s->state == S_NUMBERED)
			client_lost(n, s);
		s->state = S_IDLE;
		s->generation++;
	}
	disk_crash(n);
	amnesia_crashed(n);
}

void
node_transfer(sim_node *n, px_node to)
{
	px_event ev;

	if (!n->up || !n->proposer_up || n->paused_until > W->now || n->proposer_until > W->now)
		return;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_TRANSFER;
	ev.node = to;
	prop_event(n, &ev);
}

/* ---- events ---- */

/* A flush that fails is the end of the server, as PANIC is. */
static bool
flush_failed(sim_node *n)
{
	if (!n->flush_fails)
		return false;
	n->flush_fails = false;
	cover(cov_flush_failed);
	TRACE(n, "node %u: a flush fails", n->id);
	fault_crash(n);
	return true;
}

void
node_dispatch(const sim_event *e)
{
	sim_node *n = &W->nodes[e->node];
	px_event ev;

	if (n->up && n->paused_until > W->now && e->process != P_WORLD)
	{
		sim_again(e, n->paused_until);
		return;
	}
	if (e->process == P_PROPOSER && n->proposer_until > W->now)
	{
		sim_again(e, n->proposer_until);
		return;
	}
	if (e->process == P_LEARNER && n->learner_until > W->now)
	{
		sim_again(e, n->learner_until);
		return;
	}
	switch (e->kind)
	{
		case E_ARRIVE_OUT:
			net_arrive(e, true);
			break;
		case E_ARRIVE_BACK:
			if (e->msg == NULL)
				net_arrive(e, false);
			else if (n->proposer_up)
			{
				proposer_message(n, e->conn, e->msg);
				if (chance(700))
					drain(n);
				else
					node_wake(n);
			}
			break;
		case E_BACKEND:
			backend(n, e->conn);
			break;
		case E_FLUSHED:
			if (n->up && e->life == n->boot && n->lock_held && n->job_lsn == e->a)
			{
				sim_wal *w = n->job_wal;

				if (flush_failed(n))
					break;
				n->job_wal = NULL;
				disk_show(n, w);
				disk_flush(n, e->a);
				job_done(n);
			}
			break;
		case E_ANSWER:
			if (n->up && e->life == n->boot)
				answered(n, e->conn);
			break;
		case E_CLOSED:
			e->conn->closing = true;
			if (e->conn->far_open)
				backend(n, e->conn);
			break;
		case E_DOWN:
			if (n->proposer_up)
				went_down(n, e->conn);
			break;
		case E_CONNECT:
			if (n->proposer_up && e->life == n->life)
				try_connect(n, (px_node) e->a);
			break;
		case E_TICK:
			if (n->proposer_up && e->life == n->life && e->a == n->tick_gen)
			{
				if (W->now - n->last_tick < 300)
					n->idle_ticks++;
				else
					n->idle_ticks = 0;
				if (n->idle_ticks > 300)
					sim_fail("node %u: the proposer wants to be woken at once again and again",
							 n->id);
				n->last_tick = W->now;
				n->tick_at = 0;
				n->tick_gen++;
				memset(&ev, 0, sizeof(ev));
				ev.kind = PX_EV_TICK;
				prop_event(n, &ev);
				drain(n);
			}
			break;
		case E_WAKE:
			if (n->proposer_up && e->life == n->life)
			{
				n->wake_scheduled = false;
				tell_local(n);
				ask_read(n);
				drain(n);
			}
			break;
		case E_FORWARD:
			if (n->up && e->life == n->boot && n->proposer_up)
			{
				memset(&ev, 0, sizeof(ev));
				ev.kind = PX_EV_FORWARD;
				ev.node = e->msg->u.forward.from;
				ev.u.forward = &e->msg->u.forward;
				prop_event(n, &ev);
			}
			break;
		case E_RPC:
			rpc(n, e);
			break;
		case E_CONFIGURE:
			if (n->up && n->proposer_up)
				config_asked(n, e->a);
			break;
		case E_RECORD:
			if (n->up && e->life == n->boot && px_acceptor_config_due(&n->acceptor) &&
				!n->config_waiting)
			{
				n->config_waiting = true;
				lock_request(n, J_CONFIG, NULL, NULL);
			}
			break;
		case E_LEARN:
			if (n->up && e->life == n->learner_life)
			{
				n->learn_scheduled = false;
				learn(n);
			}
			break;
		case E_DELIVER:
			if (n->up && e->life == n->learner_life)
				deliver(n);
			break;
		case E_WALWRITE:
			if (n->up && e->life == n->boot && !flush_failed(n))
			{
				amnesia_save(n);
				disk_flush(n, n->wal_lsn);
				node_wake_learner(n);
				sim_again(e, W->now + rnd_between(100 * SIM_MS, 300 * SIM_MS));
			}
			break;
		case E_SESSION:
			if (n->up && e->life == n->boot && n->sessions[e->a].generation == e->b)
				client_session(n, &n->sessions[e->a]);
			break;
		case E_TIMEOUT:
			if (n->up && e->life == n->boot && n->sessions[e->a].generation == e->b)
				client_timeout(n, &n->sessions[e->a]);
			break;
		case E_TURN:
			if (n->up && e->life == n->boot && n->sessions[e->a].generation == e->b)
				set_take_turn(n, &n->sessions[e->a]);
			break;
		case E_START_SERVER:
			node_start_server(n);
			break;
		case E_START_PROPOSER:
			if (n->up && e->life == n->boot)
				node_start_proposer(n);
			break;
		case E_PROPOSER_READY:
			if (!n->up || e->a != n->incarnation_lsn || flush_failed(n))
				break;
			disk_flush(n, e->a);
			n->incarnation_lsn = 0;
			n->visible.incarnation = n->durable.incarnation;
			n->visible.stamp = n->durable.stamp;
			if (n->proposer_starting && e->life == n->life)
				proposer_ready(n, e->b);
			break;
		case E_FENCED:
			if (n->up && e->life == n->life && n->proposer_up && (n->fenced || n->twin))
			{
				TRACE(n, "node %u proposer ends: the node may not vote", n->id);
				forget_proposer(n, false);
				if (n->twin)
					sim_at(W->now + rnd_between(20 * SIM_MS, 100 * SIM_MS), E_START_PROPOSER,
						   P_SERVER, n->place)
						->life = n->boot;
			}
			break;
		case E_FAULT:
		case E_HEAL:
		case E_CHANGE:
		case E_END:
			sim_fail("simulator: world event at a node");
	}
}
