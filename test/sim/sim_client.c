/*
 * sim_client.c
 *	  The commands, the small state machine they change, and the sessions that
 *	  wait for outcomes.
 *
 * A session does what a backend does on a server (architecture.md § 2): it
 * puts a command on its node's queue, waits for the learner's result, and gives
 * up after a while: "never" if the command was still in the queue, "unknown"
 * if it had been numbered.  What it is told is checked against the canonical
 * history, now and for ever: a command told never must never be executed.
 */
#include "sim.h"

/* ---- commands as bytes ---- */

static void
put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t) (v >> (8 * i));
}

static uint64_t
get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t) p[i] << (8 * i);
	return v;
}

static uint64_t
mix(uint64_t h, uint64_t v)
{
	uint64_t state = h ^ (v * UINT64_C(0x9E3779B97F4A7C15));

	return px_random(&state);
}

static void
encode(uint8_t *bytes, uint64_t id, const sim_wish *w)
{
	memset(bytes, 0, SIM_COMMAND_BYTES);
	put64(bytes, id);
	bytes[8] = (uint8_t) w->kind;
	bytes[9] = w->key;
	bytes[10] = (uint8_t) w->expected.kind;
	put64(bytes + 16, (uint64_t) w->expected.n);
	put64(bytes + 24, (uint64_t) w->value);
	put64(bytes + 32, w->request);
	put64(bytes + 40, w->retention_us);
}

static uint64_t
decode(const uint8_t *bytes, sim_wish *w)
{
	memset(w, 0, sizeof(*w));
	w->kind = (hist_kind) bytes[8];
	w->key = bytes[9] % SIM_KEYS;
	if (bytes[10] == HIST_NUMBER)
		w->expected = hist_number((int64_t) get64(bytes + 16));
	else
		w->expected = hist_absent();
	w->value = (int64_t) get64(bytes + 24);
	w->request = get64(bytes + 32);
	w->retention_us = get64(bytes + 40);
	return get64(bytes);
}

/* ---- the state machine ---- */

static sim_result
execute(sim_tables *t, const sim_wish *w, px_slot slot)
{
	hist_value *row = &t->rows[w->key];
	sim_result res = {.applied = true, .previous = *row, .slot = slot};

	switch (w->kind)
	{
		case HIST_PUT:
			*row = hist_number(w->value);
			break;
		case HIST_CAS:
			res.applied = hist_equal(*row, w->expected);
			if (res.applied)
				*row = hist_number(w->value);
			break;
		case HIST_INSERT:
			res.applied = row->kind == HIST_ABSENT;
			if (res.applied)
				*row = hist_number(w->value);
			break;
		case HIST_ADD:
			res.applied = row->kind == HIST_NUMBER;
			if (res.applied)
				row->n += w->value;
			break;
		case HIST_APPEND:
			*row = hist_append(row->kind == HIST_ABSENT ? hist_empty_list() : *row, w->value);
			break;
		case HIST_DELETE:
			res.applied = row->kind != HIST_ABSENT;
			*row = hist_absent();
			break;
		default:
			sim_fail("a command of an unknown kind was applied");
	}
	res.current = *row;
	return res;
}

/* ---- results remembered under request ids: the rules of paxos_request.c ---- */

static void
forget(sim_tables *t, uint32_t i)
{
	memmove(&t->requests[i], &t->requests[i + 1], (t->n_requests - i - 1) * sizeof(sim_request));
	t->n_requests--;
}

static const sim_result *
remembered(sim_tables *t, uint64_t id)
{
	for (uint32_t i = 0; i < t->n_requests; i++)
		if (t->requests[i].id == id)
		{
			if (t->requests[i].expires >= t->log_time_us)
				return t->requests[i].result;
			forget(t, i);
			break;
		}
	return NULL;
}

/*
 * At the end of a slot, oldest first; one that may stay keeps what stands
 * behind it.  There is room for one more than may stay, and as much is decided
 * in one slot: so it is called after each that is remembered, which forgets in
 * the same order.
 */
static void
forget_some(sim_tables *t, int *expired)
{
	while (t->n_requests > 0)
	{
		bool too_much = t->n_requests > SIM_MAX_REQUESTS;
		bool too_old = t->requests[0].expires < t->log_time_us && *expired < SIM_REQUESTS_PER_SLOT;

		if (!too_much && !too_old)
			break;
		if (t == &W->tables)
			cover(too_much ? cov_request_crowded : cov_request_expired);
		if (!too_much)
			(*expired)++;
		forget(t, 0);
	}
}

static sim_result
execute_once(sim_tables *t, const sim_wish *w, px_slot slot, int *expired)
{
	const sim_result *first = w->request != 0 ? remembered(t, w->request) : NULL;
	sim_result res;

	if (first != NULL)
	{
		res = *first;
		res.replayed = true;
		return res;
	}
	res = execute(t, w, slot);
	if (w->request != 0)
	{
		sim_result *keep = sim_alloc(sizeof(sim_result));
		sim_request *r = &t->requests[t->n_requests++];

		*keep = res;
		r->id = w->request;
		r->expires = t->log_time_us + w->retention_us;
		r->result = keep;
		forget_some(t, expired);
	}
	return res;
}

/*
 * A configuration is applied: who is no member any more is no origin any more,
 * and what waits on its own node above its 'last' never takes effect.
 */
static void
configure(sim_tables *t, px_slot slot, sim_blob *value, sim_sink sink, void *arg)
{
	px_config now;

	if (!px_value_config(&value->view, slot, &now))
		sim_fail("slot %llu holds an invalid configuration", (unsigned long long) slot);
	for (int i = 0; i < t->config.n_members; i++)
	{
		px_origin old = px_origins_get(&t->origins, t->config.members[i].node);
		sim_outcome o;

		if (px_config_find(&now, old.node) >= 0)
			continue;
		memset(&o, 0, sizeof(o));
		o.settle = true;
		o.origin = old.node;
		o.slot = slot;
		o.incarnation = old.incarnation;
		o.sequence = old.last;
		o.new_incarnation = UINT64_MAX;
		sink(arg, &o);
	}
	px_origins_configure(&t->origins, &now);
	t->config = now;
	for (int i = 0; i < now.n_members; i++)
		t->digest = mix(t->digest, now.members[i].node * 2u + now.members[i].voter);
}

/*
 * Apply one slot.  Every command executed, and every beginning of a new
 * incarnation, is told to the sink.
 */
void
client_apply(sim_tables *t, px_slot slot, sim_blob *value, sim_applying *a, sim_sink sink,
			 void *arg)
{
	const px_value_view *v = &value->view;
	px_batch_view b;
	uint32_t pos = 0;
	int expired = 0;

	if (slot != t->applied + 1)
		sim_fail("slot %llu applied after slot %llu", (unsigned long long) slot,
				 (unsigned long long) t->applied);
	if (!value->well_formed)
		sim_fail("slot %llu holds a malformed value", (unsigned long long) slot);
	set_slot_begins(t, slot, a);
	t->digest = mix(t->digest, slot);
	t->log_time_us = px_max64(t->log_time_us, v->log_time_us);
	t->digest = mix(t->digest, t->log_time_us);
	if (v->kind == PX_VALUE_CONFIG)
		configure(t, slot, value, sink, arg);
	if (v->kind == PX_VALUE_BATCHES)
		while (px_value_next_batch(v, &pos, &b))
		{
			px_origin old = px_origins_get(&t->origins, b.origin);
			px_verdict verdict = px_origins_judge(&t->origins, b.origin, b.incarnation, b.sequence);
			px_command_view c;
			uint32_t at = 0;
			uint16_t index = 0;
			sim_outcome o;

			t->digest = mix(t->digest, (uint64_t) verdict);
			memset(&o, 0, sizeof(o));
			o.origin = b.origin;
			o.slot = slot;
			if (px_origins_get(&t->origins, b.origin).incarnation > old.incarnation)
			{
				/*
				 * Told even when the batch itself is skipped as a gap: the
				 * old incarnation is over either way.
				 */
				o.settle = true;
				o.incarnation = old.incarnation;
				o.sequence = old.last;
				o.new_incarnation = b.incarnation;
				sink(arg, &o);
			}
			o.settle = false;
			o.incarnation = b.incarnation;
			o.sequence = b.sequence;
			o.command = (uint64_t) verdict;
			if (verdict != PX_EXECUTE)
			{
				/* cell UINT32_MAX: a skipped batch, for counting */
				o.cell = UINT32_MAX;
				sink(arg, &o);
				continue;
			}
			while (px_batch_next_command(&b, &at, &c))
			{
				sim_wish wish;

				if (c.bytes.len < SIM_COMMAND_BYTES)
					sim_fail("slot %llu holds a truncated command", (unsigned long long) slot);
				o.index = index++;
				o.cell = c.cell;
				o.generation = c.generation;
				o.command = decode(c.bytes.data, &wish);
				o.request = wish.request;
				o.log_time_us = t->log_time_us;
				a->alone = b.alone && v->count == 1 && b.n_commands == 1;
				if (set_is_command(c.bytes.data[8]))
					o.result = set_execute(t, o.command, slot, a);
				else
					o.result = execute_once(t, &wish, slot, &expired);
				t->digest = mix(t->digest, o.command);
				t->digest = mix(t->digest, (uint64_t) o.result.current.n * 4 +
											   o.result.applied * 2u + o.result.replayed);
				sink(arg, &o);
			}
		}
	forget_some(t, &expired);
	t->digest = mix(t->digest, t->n_requests);
	for (int k = 0; k < SIM_KEYS; k++)
		t->digest = mix(t->digest,
						(uint64_t) t->rows[k].n * 4 + (uint64_t) t->rows[k].kind + t->rows[k].hash);
	t->applied = slot;
	if (W->sets)
		t->digest = mix(t->digest, set_slot_ends(t));
}

/* ---- sessions ---- */

void
client_schedule(sim_node *n, sim_session *s, px_usec after)
{
	sim_event *e = sim_at(W->now + after, E_SESSION, P_SERVER, n->place);

	e->a = (uint64_t) (s - n->sessions);
	e->b = s->generation;
	e->life = n->boot;
}

void
client_finish(sim_node *n, sim_session *s)
{
	s->state = S_IDLE;
	s->command = 0;
	s->generation++;
	client_schedule(n, s, W->think_us == 0 ? 0 : rnd_below(2 * W->think_us));
}

/* Some session, of this node or of another, will try again. */
static void
retry_later(const sim_wish *w)
{
	int i = W->n_retries < SIM_MAX_RETRIES ? W->n_retries++ : (int) rnd_below(SIM_MAX_RETRIES);

	W->retries[i] = *w;
}

static void
tell(sim_node *n, sim_session *s, sim_told told, const sim_result *result)
{
	sim_command *c = check_command(s->command);

	TRACE(n, "node %u session %d command %llu: %s", n->id, (int) (s - n->sessions),
		  (unsigned long long) s->command,
		  told == TOLD_RESULT  ? "result"
		  : told == TOLD_NEVER ? "never"
							   : "unknown");
	if (c->told != TOLD_NOTHING)
		sim_fail("command %llu was told twice", (unsigned long long) s->command);
	c->told = told;
	c->ended = W->step;
	if (told != TOLD_RESULT && c->wish.request != 0 && chance(700))
		retry_later(&c->wish);
	if (told == TOLD_NEVER && c->executed_at != 0 && check_took_effect(c))
		sim_fail("command %llu was told never, but took effect at slot %llu (§ 11.7)",
				 (unsigned long long) s->command, (unsigned long long) c->executed_at);
	if (told == TOLD_RESULT)
	{
		if (c->executed_at == 0)
			sim_fail("command %llu was told a result, but took no effect (§ 11.7)",
					 (unsigned long long) s->command);
		if (result->replayed)
			cover(cov_replay_told);
		if (c->result.applied != result->applied || c->result.slot != result->slot ||
			!hist_equal(c->result.previous, result->previous) ||
			!hist_equal(c->result.current, result->current))
			sim_fail("command %llu was told another result than the canonical one at slot %llu",
					 (unsigned long long) s->command, (unsigned long long) c->executed_at);
		W->acknowledged = px_max64(W->acknowledged, c->executed_at);
		W->n_acknowledged++;
		if (s->final_todo > 0)
			s->final_todo--;
	}
	if (s->txn != NULL && set_told(n, s, told, result))
		return;
	client_finish(n, s);
}

void
client_told(sim_node *n, sim_session *s, const sim_result *result)
{
	tell(n, s, TOLD_RESULT, result);
}

/* It has not been sent, or certainly lost. */
void
client_never(sim_node *n, sim_session *s)
{
	tell(n, s, TOLD_NEVER, NULL);
}

/* Something new, or something that somebody did not get an answer to. */
static sim_wish
make_wish(const sim_node *n, uint64_t id)
{
	static const hist_kind number_kinds[] = {HIST_PUT, HIST_INSERT, HIST_CAS,   HIST_CAS,
											 HIST_ADD, HIST_ADD,    HIST_DELETE};
	sim_wish w;

	if (W->n_retries > 0 && chance(500))
	{
		int i = (int) rnd_below((uint64_t) W->n_retries);

		w = W->retries[i];
		W->retries[i] = W->retries[--W->n_retries];
		cover(cov_retried);
		return w;
	}
	memset(&w, 0, sizeof(w));
	w.key = (uint8_t) rnd_below(SIM_KEYS);
	w.value = (int64_t) id;
	if (w.key >= SIM_NUMBERS)
		w.kind = chance(970) ? HIST_APPEND : HIST_DELETE;
	else
		w.kind = number_kinds[rnd_below(sizeof(number_kinds) / sizeof(number_kinds[0]))];
	if (w.kind == HIST_ADD)
		w.value = (int64_t) rnd_between(1, 9);

	/* as clients do: what was seen last, here, however old */
	if (w.kind == HIST_CAS && chance(900))
		w.expected = n->visible.tables.rows[w.key];
	if (chance(W->request_permille))
	{
		w.request = ++W->n_requests;
		w.retention_us = rnd_log(W->retention_us / 4 + 1, W->retention_us * 2);
		if (chance(50))
			retry_later(&w); /* without waiting for an answer */
	}
	return w;
}

/* A command of this session; what it says is the caller's business. */
sim_command *
client_new_command(sim_node *n, sim_session *s)
{
	uint64_t id = ++W->n_commands;

	if (id >= W->cap_commands)
	{
		W->cap_commands = W->cap_commands ? W->cap_commands * 2 : 1024;
		W->commands = realloc(W->commands, W->cap_commands * sizeof(sim_command));
		if (W->commands == NULL)
			abort();
	}
	memset(&W->commands[id], 0, sizeof(sim_command));
	W->commands[id].origin = n->id;
	W->commands[id].began = W->step;
	s->command = id;
	memset(&s->wish, 0, sizeof(s->wish));
	s->pad = 0;
	return &W->commands[id];
}

/* It is on the node's queue. */
void
client_queue(sim_node *n, sim_session *s)
{
	s->queued_at = ++W->order;
	s->state = S_QUEUED;
	node_wake(n);
}

/* The session's turn: begin something. */
void
client_session(sim_node *n, sim_session *s)
{
	bool read;
	px_usec patience = rnd_log(W->timeout_us / 4 + 1, W->timeout_us * 2);
	sim_event *e;

	if (s->state == S_OPEN)
	{
		set_step(n, s);
		return;
	}
	if (s->state != S_IDLE || n->removed || !amnesia_votes(n))
		return;
	if (W->phase == PHASE_END)
	{
		if (s->final_todo == 0)
		{
			s->finished = true;
			return;
		}
		read = s->final_todo == 1;
	}
	else
		read = chance(W->read_permille);
	s->generation++;
	if (read)
	{
		s->state = S_READ_WANTED;
		s->began = W->step;
		s->wish.key = (uint8_t) rnd_below(SIM_KEYS);
		s->must_see = W->acknowledged;
		if (n->pub_lease > sim_clock(n) && s - n->sessions < (W->n_sessions + 1) / 2)
		{
			/* half of the sessions; the others try the way by the proposer */
			cover(cov_lease_session);
			if (!n->proposer_up || n->proposer_until > W->now)
				cover(cov_lease_stopped);
			s->state = S_READ_APPLY;
			s->read_index = n->pub_chosen;
			client_reads_ready(n);
		}
		else
			node_read(n);
	}
	else if (W->sets && W->phase == PHASE_CHAOS && chance(W->set_permille))
		set_begin(n, s);
	else
	{
		sim_command *c = client_new_command(n, s);

		s->wish = make_wish(n, s->command);
		c->wish = s->wish;
		s->pad = (uint16_t) rnd_below((uint64_t) W->max_pad + 1);
		client_queue(n, s);
	}
	if (W->phase == PHASE_CHAOS)
	{
		e = sim_at(W->now + patience, E_TIMEOUT, P_SERVER, n->place);
		e->a = (uint64_t) (s - n->sessions);
		e->b = s->generation;
		e->life = n->boot;
	}
}

void
client_timeout(sim_node *n, sim_session *s)
{
	if (W->phase == PHASE_END)
		return; /* everything must finish by itself now */
	switch (s->state)
	{
		case S_IDLE:
			break;
		case S_QUEUED:
			cover(cov_timeout_never);
			tell(n, s, TOLD_NEVER, NULL);
			break;
		case S_NUMBERED:
			cover(cov_timeout_unknown);
			tell(n, s, TOLD_UNKNOWN, NULL);
			break;
		case S_READ_WANTED:
		case S_READ_SENT:
		case S_READ_APPLY:
			client_finish(n, s);
			break;
		case S_OPEN:
			set_roll_back(n, s);
			break;
		case S_TURN:
			break; /* decided: it commits, or is told that it does not */
	}
}

bool
client_queued(const sim_node *n)
{
	for (int i = 0; i < W->n_sessions; i++)
		if (n->sessions[i].state == S_QUEUED)
			return true;
	return false;
}

/*
 * Drain the queue into a batch: a command leaves the queue in the same step
 * that numbers it (§ 5).  False when nothing was put in.
 */
bool
client_fill(sim_node *n, px_batch_writer *w, uint64_t incarnation, uint64_t sequence)
{
	uint16_t index = 0;
	bool alone;
	int most = chance(500) ? 1 : SIM_MAX_SESSIONS;

	while (index < most)
	{
		sim_session *s = NULL;
		uint8_t bytes[SIM_COMMAND_BYTES + 1024];

		for (int i = 0; i < W->n_sessions; i++)
			if (n->sessions[i].state == S_QUEUED &&
				(s == NULL || n->sessions[i].queued_at < s->queued_at))
				s = &n->sessions[i];
		if (s == NULL)
			break;
		alone = set_alone(s);
		if (alone && index > 0)
			break;
		memset(bytes + SIM_COMMAND_BYTES, 0, s->pad);
		encode(bytes, s->command, &s->wish);
		if (s->txn != NULL)
			bytes[8] = set_kind(s);
		if (!px_batch_add(w, (uint32_t) (s - n->sessions), s->generation, bytes,
						  (uint32_t) SIM_COMMAND_BYTES + s->pad))
		{
			if (index == 0)
				sim_fail("a command of %u bytes does not fit an empty batch",
						 (unsigned) SIM_COMMAND_BYTES + s->pad);
			break;
		}
		if (check_command(s->command)->sequence != 0)
			sim_fail("command %llu was numbered twice", (unsigned long long) s->command);
		check_command(s->command)->incarnation = incarnation;
		check_command(s->command)->sequence = sequence;
		check_command(s->command)->again = n->forgot;
		s->state = S_NUMBERED;
		s->incarnation = incarnation;
		s->sequence = sequence;
		s->index = index++;
		if (alone)
		{
			px_batch_alone(w);
			break;
		}
	}
	return index > 0;
}

/* What the learner of this node tells its sessions, after its transaction. */
void
client_outcome(sim_node *n, const sim_outcome *o)
{
	if (o->settle)
	{
		for (int i = 0; i < W->n_sessions; i++)
		{
			sim_session *s = &n->sessions[i];

			if (s->state != S_NUMBERED || s->incarnation >= o->new_incarnation)
				continue;
			if (s->incarnation > o->incarnation ||
				(s->incarnation == o->incarnation && s->sequence > o->sequence))
			{
				cover(o->new_incarnation == UINT64_MAX ? cov_removed_never : cov_settled_never);
				tell(n, s, TOLD_NEVER, NULL);
			}
			else
				client_lost(n, s);
		}
		return;
	}
	if (o->cell < (uint32_t) W->n_sessions && client_waits_for(&n->sessions[o->cell], o))
		tell(n, &n->sessions[o->cell], TOLD_RESULT, &o->result);
}

/* Is this the outcome that the session waits for? */
bool
client_waits_for(const sim_session *s, const sim_outcome *o)
{
	if (s->state != S_NUMBERED || s->generation != o->generation ||
		s->incarnation != o->incarnation || s->sequence != o->sequence || s->index != o->index)
		return false;
	if (s->command != o->command)
		sim_fail("a session of node %u was handed the result of another command", o->origin);
	return true;
}

/* This node is no member any more: nobody takes anything from it. */
void
client_removed(sim_node *n)
{
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (s->state == S_QUEUED)
			tell(n, s, TOLD_NEVER, NULL);
		else if (s->state == S_OPEN)
			set_roll_back(n, s);
		else if (s->state >= S_READ_WANTED && s->state <= S_READ_APPLY)
			client_finish(n, s);
	}
}

/* The result is gone (learner restarted, or a snapshot jumped over it). */
void
client_lost(sim_node *n, sim_session *s)
{
	cover(cov_settled_unknown);
	tell(n, s, TOLD_UNKNOWN, NULL);
}

/* Reads whose index is applied here take their snapshot now. */
void
client_reads_ready(sim_node *n)
{
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (s->state != S_READ_APPLY || n->visible.tables.applied < s->read_index)
			continue;
		if (n->visible.tables.applied < s->must_see && !W->stale_leases)
			sim_fail(
				"node %u: a linearizable read at slot %llu (read index %llu) misses slot %llu, "
				"acknowledged before it began (§ 11.8)",
				n->id, (unsigned long long) n->visible.tables.applied,
				(unsigned long long) s->read_index, (unsigned long long) s->must_see);
		/* what a read has shown, a later one must show too */
		W->acknowledged = px_max64(W->acknowledged, n->visible.tables.applied);
		W->n_reads++;
		if (!W->stale_leases)
			history_read(s, n->visible.tables.applied, n->visible.tables.rows[s->wish.key]);
		cover(n->role == PX_LEADER ? cov_read_leader : cov_read_follower);
		TRACE(n, "node %u session %d read at %llu", n->id, i,
			  (unsigned long long) n->visible.tables.applied);
		if (s->final_todo > 0)
			s->final_todo--;
		client_finish(n, s);
	}
}
