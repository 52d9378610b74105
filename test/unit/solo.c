/*
 * solo.c
 *	  The fixture of solo.h.
 */
#include <stdlib.h>

#include "solo.h"

/* What was sent to each node last; the answers echo it. */
static px_prepare last_prepare[PX_MAX_MEMBERS + 1];
static px_accept last_accept[PX_MAX_MEMBERS + 1];
static px_slot first_sent[PX_MAX_MEMBERS + 1];
static px_slot recorded[PX_MAX_MEMBERS + 1];

solo *
solo_new(int n_voters)
{
	solo *s = calloc(1, sizeof(*s));

	if (s == NULL)
		die("out of memory");
	memset(last_prepare, 0, sizeof(last_prepare));
	memset(last_accept, 0, sizeof(last_accept));
	memset(recorded, 0, sizeof(recorded));
	s->now = 1000000;
	s->config.n_members = (uint8_t) n_voters;
	for (int i = 0; i < n_voters; i++)
	{
		s->config.members[i].node = (px_node) (i + 1);
		s->config.members[i].voter = true;
	}
	s->params.self = 1;
	s->params.incarnation = 1;
	s->params.seed = 7;
	s->params.heartbeat_us = 50000;
	s->params.election_timeout_us = 500000;
	s->params.pipeline_depth = 8;
	s->params.outbox_depth = 8;
	s->params.max_batch_bytes = 2048;
	s->params.max_value_bytes = 8192;
	s->params.intake_bytes = 16384;
	s->params.lease_us = 500000;
	s->local.may_vote = true;
	return s;
}

void
solo_start(solo *s)
{
	size_t bytes = px_proposer_bytes(&s->params);

	s->memory = malloc(bytes);
	if (s->memory == NULL)
		die("out of memory");
	s->p = px_proposer_init(s->memory, bytes, &s->params, &s->config, s->now);
	px_proposer_look(s->p, &s->view);
	solo_local(s);
	for (int i = 0; i < s->config.n_members; i++)
		solo_peer(s, s->config.members[i].node, true);
}

void
solo_free(solo *s)
{
	free(s->memory);
	free(s);
}

static void
check(const char *wrong)
{
	if (wrong != NULL)
		die(wrong);
}

void
solo_step(solo *s, px_event *ev)
{
	px_proposer_view before = s->view;

	ev->now = s->now;
	ev->wall_us = s->wall_us;
	px_proposer_step(s->p, ev, &s->up);
	px_proposer_look(s->p, &s->view);
	check(px_check_proposer(s->p));
	check(px_check_update(s->p, &s->up));
	check(px_check_proposer_step(&before, &s->view));
	for (int i = 0; i < s->up.n_actions; i++)
	{
		const px_action *a = &s->up.actions[i];

		if (a->kind == PX_DO_SEND_PREPARE)
		{
			last_prepare[a->to] = a->u.prepare;
			first_sent[a->to] = 0;
		}
		if (a->kind == PX_DO_SEND_ACCEPT)
		{
			last_accept[a->to] = a->u.accept;
			if (first_sent[a->to] == 0)
				first_sent[a->to] = a->u.accept.first;
		}
	}
}

static px_event
event(px_event_kind kind, px_node node)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = kind;
	ev.node = node;
	return ev;
}

void
solo_tick(solo *s, px_usec advance)
{
	px_event ev = event(PX_EV_TICK, 0);

	s->now += advance;
	s->wall_us += advance;
	solo_step(s, &ev);
}

void
solo_local(solo *s)
{
	px_event ev = event(PX_EV_LOCAL, 0);

	ev.u.local = &s->local;
	solo_step(s, &ev);
}

void
solo_peer(solo *s, px_node node, bool up)
{
	px_event ev = event(up ? PX_EV_PEER_UP : PX_EV_PEER_DOWN, node);

	solo_step(s, &ev);
}

void
solo_event(solo *s, px_event_kind kind, px_node node)
{
	px_event ev = event(kind, node);

	solo_step(s, &ev);
}

void
solo_stand(solo *s)
{
	px_prevote_reply yes;
	px_event ev;

	memset(&yes, 0, sizeof(yes));
	yes.chosen = s->local.chosen;
	for (int i = 0; i < 1000 && s->view.role != PX_PRECANDIDATE; i++)
		solo_tick(s, s->params.election_timeout_us / 4);
	for (int i = 0; i < s->config.n_members && s->view.role == PX_PRECANDIDATE; i++)
	{
		ev = event(PX_EV_PREVOTE_REPLY, s->config.members[i].node);
		ev.u.prevote_reply = &yes;
		solo_step(s, &ev);
	}
	if (s->view.role != PX_CANDIDATE)
		die("it does not stand");
}

void
solo_promise(solo *s, px_node node, const px_entry *entries, int n, px_slot last)
{
	const px_prepare *asked = &last_prepare[node];
	px_event ev = event(PX_EV_PROMISE, node);
	px_promise m;

	memset(&m, 0, sizeof(m));
	m.ballot = asked->ballot;
	m.stream = asked->stream;
	m.promised = asked->ballot;
	m.w = asked->w;
	m.config = recorded[node];
	m.chosen = asked->w;
	m.last = last;
	m.n_entries = (uint16_t) n;
	m.entries = entries;
	if (node == s->params.self)
		s->local.promised = asked->ballot;
	ev.u.promise = &m;
	solo_step(s, &ev);
}

void
solo_promise_refused(solo *s, px_node node, px_refusal refusal, px_ballot promised)
{
	const px_prepare *asked = &last_prepare[node];
	px_event ev = event(PX_EV_PROMISE, node);
	px_promise m;

	memset(&m, 0, sizeof(m));
	m.refusal = refusal;
	m.ballot = asked->ballot;
	m.stream = asked->stream;
	m.promised = promised;
	m.w = asked->w;
	m.config = recorded[node];
	ev.u.promise = &m;
	solo_step(s, &ev);
}

void
solo_accepted(solo *s, px_node node, px_slot next)
{
	const px_accept *sent = &last_accept[node];
	px_event ev = event(PX_EV_ACCEPTED, node);
	px_accepted m;

	memset(&m, 0, sizeof(m));
	m.ballot = sent->ballot;
	m.stream = sent->stream;
	m.promised = sent->ballot;
	m.first = first_sent[node];
	m.next = next;
	m.sent_at = sent->sent_at;
	m.lease_us = sent->lease_us;
	m.lease_readable = sent->lease_readable;
	m.applied = sent->chosen;
	m.config = recorded[node];
	ev.u.accepted = &m;
	solo_step(s, &ev);
}

void
solo_accepted_refused(solo *s, px_node node, px_refusal refusal, px_ballot promised)
{
	const px_accept *sent = &last_accept[node];
	px_event ev = event(PX_EV_ACCEPTED, node);
	px_accepted m;

	memset(&m, 0, sizeof(m));
	m.refusal = refusal;
	m.ballot = sent->ballot;
	m.stream = sent->stream;
	m.promised = promised;
	m.sent_at = sent->sent_at;
	ev.u.accepted = &m;
	solo_step(s, &ev);
}

void
solo_lead(solo *s)
{
	solo_stand(s);
	solo_promise(s, s->params.self, NULL, 0, 0);
	for (int i = 0; i < s->config.n_members && s->view.role == PX_CANDIDATE; i++)
	{
		if (s->config.members[i].node != s->params.self)
			solo_promise(s, s->config.members[i].node, NULL, 0, 0);
	}
	for (int i = 0; i < s->config.n_members && s->view.role == PX_RECOVERING; i++)
		solo_accepted(s, s->config.members[i].node, s->view.proposed + 1);
	if (s->view.role != PX_LEADER)
		die("it does not lead");
}

static uint8_t *
room(solo *s, uint32_t bytes)
{
	uint8_t *at = s->buf + s->used;

	if (s->used + bytes > sizeof(s->buf))
		die("solo.buf is too small");
	s->used += bytes;
	return at;
}

px_bytes
solo_config_value(solo *s, const char *members)
{
	px_value_writer w;
	unsigned id;
	int used;

	px_value_begin(&w, room(s, 512), 512, PX_VALUE_CONFIG, 1);
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
solo_configure(solo *s, uint64_t request, px_slot base, bool force, const char *members)
{
	px_event ev = event(PX_EV_CONFIGURE, 0);
	px_configure m;

	memset(&m, 0, sizeof(m));
	m.request = request;
	m.base = base;
	m.force = force;
	if (members[0] != '\0')
		m.value = solo_config_value(s, members);
	ev.u.configure = &m;
	solo_step(s, &ev);
}

void
solo_config(solo *s, px_slot slot, const char *members)
{
	px_event ev = event(PX_EV_CONFIG, 0);
	px_value_view view;
	px_config config;

	if (!px_value_open(solo_config_value(s, members), &view) ||
		!px_value_config(&view, slot, &config))
		die("not a configuration");
	ev.u.config = &config;
	solo_step(s, &ev);
	s->local.config = slot;
	s->local.chosen = px_max64(s->local.chosen, slot);
	solo_local(s);
}

void
solo_recorded(px_node node, px_slot config)
{
	recorded[node] = config;
}

bool
solo_batch(solo *s, const char *text)
{
	px_batch_writer *w;
	uint64_t sequence;

	if (!px_proposer_batch_room(s->p))
		return false;
	w = px_proposer_batch(s->p, &sequence);
	if (text != NULL && !px_batch_add(w, 1, sequence, text, (uint32_t) strlen(text)))
		die("the command does not fit");
	solo_event(s, PX_EV_BATCH, 0);
	return true;
}

static px_bytes
encode_batch(uint8_t *buf, uint32_t cap, px_node origin, uint64_t incarnation, uint64_t sequence,
			 const char *text)
{
	px_batch_writer w;

	px_batch_begin(&w, buf, cap, origin, incarnation, sequence);
	if (!px_batch_add(&w, 1, sequence, text, (uint32_t) strlen(text)))
		die("the command does not fit");
	return px_batch_end(&w);
}

void
solo_forward(solo *s, px_node from, uint64_t incarnation, bool resend, uint64_t first, int n)
{
	static uint8_t buf[PX_MAX_OUTBOX][128];
	px_bytes batches[PX_MAX_OUTBOX];
	px_event ev = event(PX_EV_FORWARD, 0);
	px_forward m;

	for (int i = 0; i < n; i++)
	{
		char text[32];

		snprintf(text, sizeof(text), "n%u.%" PRIu64, (unsigned) from, first + (uint64_t) i);
		batches[i] =
			encode_batch(buf[i], sizeof(buf[i]), from, incarnation, first + (uint64_t) i, text);
	}
	memset(&m, 0, sizeof(m));
	m.from = from;
	m.incarnation = incarnation;
	m.resend = resend;
	m.n_batches = (uint16_t) n;
	m.batches = batches;
	ev.u.forward = &m;
	solo_step(s, &ev);
}

const px_action *
solo_action(const solo *s, px_action_kind kind, px_node to, int i)
{
	for (int j = 0; j < s->up.n_actions; j++)
	{
		const px_action *a = &s->up.actions[j];

		if (a->kind == kind && (to == 0 || a->to == to) && i-- == 0)
			return a;
	}
	return NULL;
}

const px_action *
solo_must(const solo *s, px_action_kind kind, px_node to, int i)
{
	const px_action *a = solo_action(s, kind, to, i);

	if (a == NULL)
		die("an action is missing");
	return a;
}

int
solo_count(const solo *s, px_action_kind kind, px_node to)
{
	int n = 0;

	while (solo_action(s, kind, to, n) != NULL)
		n++;
	return n;
}

px_bytes
solo_noop(solo *s, uint64_t log_time_us)
{
	px_value_writer w;

	px_value_begin(&w, room(s, 64), 64, PX_VALUE_NOOP, log_time_us);
	return px_value_end(&w);
}

px_bytes
solo_value(solo *s, px_node origin, uint64_t sequence, const char *text)
{
	px_value_writer w;
	uint8_t batch[256];

	px_value_begin(&w, room(s, 256), 256, PX_VALUE_BATCHES, 1);
	if (!px_value_add_batch(&w, encode_batch(batch, sizeof(batch), origin, 1, sequence, text)))
		die("the batch does not fit");
	return px_value_end(&w);
}

const char *
solo_proposed(solo *s, px_slot slot)
{
	static char text[128];
	px_value_view value;
	px_batch_view batch;
	px_command_view command;
	uint32_t pos = 0;
	uint32_t at = 0;

	if (!px_value_open(px_proposer_value(s->p, slot), &value))
		die("a proposed value is malformed");
	text[0] = '\0';
	if (px_value_next_batch(&value, &pos, &batch) && px_batch_next_command(&batch, &at, &command))
	{
		memcpy(text, command.bytes.data, command.bytes.len);
		text[command.bytes.len] = '\0';
	}
	return text;
}
