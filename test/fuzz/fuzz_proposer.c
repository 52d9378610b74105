/*
 * fuzz_proposer.c
 *	  Fuzz target: the proposer (src/core/px_proposer.c and the files that make it
 *	  up) under any answers in any order.
 *
 * A byte string is a configuration, parameters, and a sequence of events.  An
 * answer begins as the right one to what was sent last, so that elections are
 * won and values flow, and then any of its fields may become anything; so may
 * the entries of promises, forwarded batches, and what the own node reports.
 *
 * Kept are only the preconditions of legal callers (px_proposer.h): answers of
 * connections that are up, PEER_DOWN after a reset, batches built and
 * completed in one go, watermarks of the own node that never fall, and own
 * batches reported as applied that were numbered.
 *
 * Checked after each event: px_check_proposer, px_check_proposer_step,
 * px_check_update, everything an action refers to can be read and is
 * well-formed, a value once proposed for (ballot, slot) stays what it was, and
 * the proposer comes to rest without time going on.
 */
#include "fuzz.h"

#define NODES 9   /* node ids 1 .. NODES - 1 are told apart */
#define ENTRIES 6 /* in one promise */
#define BATCHES 4 /* in one Forward */
#define RESTLESS 400

static px_proposer_params params;
static px_proposer *p;
static px_update up;
static px_proposer_view view;
static px_local local;
static px_usec now;
static bool connected[NODES];
static int n_asked; /* changes of the configuration, not answered yet */
static px_prepare last_prepare[NODES];
static px_accept last_accept[NODES];
static px_slot first_sent[NODES];

/* What was proposed in the present ballot, by slot: a checksum of each. */
static px_ballot proposed_ballot;
static px_slot proposed_slot[PX_MAX_WINDOW];
static uint32_t proposed_crc[PX_MAX_WINDOW];

static void
value_sent(px_ballot ballot, px_slot slot)
{
	px_bytes value = px_proposer_value(p, slot);
	uint32_t crc = px_crc32c(0, value.data, value.len);
	px_value_view v;

	FUZZ_CHECK(px_value_open(value, &v));
	if (ballot != proposed_ballot)
	{
		proposed_ballot = ballot;
		memset(proposed_slot, 0, sizeof(proposed_slot));
	}
	FUZZ_CHECK(proposed_slot[slot % PX_MAX_WINDOW] != slot ||
			   proposed_crc[slot % PX_MAX_WINDOW] == crc);
	proposed_slot[slot % PX_MAX_WINDOW] = slot;
	proposed_crc[slot % PX_MAX_WINDOW] = crc;
}

/* As the caller would; a connection to be cut is reported by the bit of its node. */
static uint64_t
carry_out(void)
{
	uint64_t cut = 0;

	for (int i = 0; i < up.n_actions; i++)
	{
		const px_action *a = &up.actions[i];
		px_node to = a->to % NODES;

		switch (a->kind)
		{
			case PX_DO_SEND_PREPARE:
				last_prepare[to] = a->u.prepare;
				first_sent[to] = 0;
				break;
			case PX_DO_SEND_ACCEPT:
				last_accept[to] = a->u.accept;
				if (first_sent[to] == 0)
					first_sent[to] = a->u.accept.first;
				if (view.ballot == a->u.accept.ballot)
					for (int j = 0; j < a->u.accept.n_values; j++)
						value_sent(a->u.accept.ballot, a->u.accept.first + j);
				break;
			case PX_DO_SEND_FORWARD:
				for (int j = 0; j < a->u.fwd.forward.n_batches; j++)
				{
					px_batch_view batch;

					FUZZ_CHECK(
						px_batch_open(px_proposer_batch_bytes(p, a->u.fwd.first_seq + j), &batch));
					FUZZ_CHECK(batch.sequence == a->u.fwd.first_seq + j &&
							   batch.origin == params.self);
				}
				break;
			case PX_DO_RESET_PEER:
				cut |= UINT64_C(1) << to;
				break;
			case PX_DO_HANDOVER_USED:
				local.handover = 0;
				break;
			case PX_DO_PUBLISH:
			case PX_DO_SEND_PREVOTE:
			case PX_DO_SEND_HANDOVER:
			case PX_DO_FETCH:
			case PX_DO_READ_SENT:
			case PX_DO_READ_DONE:
				break;
			case PX_DO_CONFIGURED:
				FUZZ_CHECK(n_asked > 0);
				FUZZ_CHECK(strcmp(px_change_result_name(a->u.configured.result), "?") != 0);
				n_asked--;
				break;
		}
	}
	return cut;
}

static uint64_t
one_step(px_event *ev)
{
	px_proposer_view before = view;

	ev->now = now;
	px_proposer_step(p, ev, &up);
	px_proposer_look(p, &view);
	fuzz_holds(px_check_proposer(p));
	fuzz_holds(px_check_update(p, &up));
	fuzz_holds(px_check_proposer_step(&before, &view));
	return carry_out();
}

static void
step(px_event *ev)
{
	uint64_t cut_before = 0;
	int steps = 0;

	if (ev->kind == PX_EV_CONFIG)
	{
		/* the news of the own node that shows it follow at once */
		cut_before = one_step(ev);
		memset(ev, 0, sizeof(*ev));
		ev->kind = PX_EV_LOCAL;
		ev->u.local = &local;
	}
	for (;;)
	{
		uint64_t cut = cut_before | one_step(ev);

		cut_before = 0;
		memset(ev, 0, sizeof(*ev));
		for (px_node n = 1; n < NODES; n++)
		{
			if (!(cut >> n & 1) || !connected[n])
				continue;
			connected[n] = false;
			ev->kind = PX_EV_PEER_DOWN;
			ev->node = n;
			step(ev);
			memset(ev, 0, sizeof(*ev));
		}
		if (up.wake_at > now)
			return;
		if (steps++ > RESTLESS)
			fuzz_fail("it does not come to rest: %s", px_role_name(view.role));
		ev->kind = PX_EV_TICK;
	}
}

/*
 * Does this field become something else?  'wild' has a bit for each: most
 * answers are right in most fields.
 */
static uint64_t
maybe(fuzz_bytes *b, uint8_t wild, int bit, uint64_t right)
{
	return (wild >> bit & 1) != 0 ? fuzz_number(b, right) : right;
}

static void
promise(fuzz_bytes *b, px_node node)
{
	const px_prepare *asked = &last_prepare[node % NODES];
	uint8_t wild = fuzz_u8(b);
	uint8_t n = fuzz_u8(b) % (ENTRIES + 1);
	px_entry entries[ENTRIES];
	px_promise m;
	px_slot slot;
	px_event ev = {.kind = PX_EV_PROMISE, .node = node};

	memset(&m, 0, sizeof(m));
	m.ballot = asked->ballot;
	m.stream = maybe(b, wild, 0, asked->stream);
	m.promised = maybe(b, wild, 1, asked->ballot);
	m.w = maybe(b, wild, 2, asked->w);
	m.chosen = maybe(b, wild, 3, asked->w);
	m.truncated = maybe(b, wild, 4, 0);
	m.config = (wild & 8) != 0 ? fuzz_number(b, view.config) : view.config;
	if ((wild & 0x20) != 0)
		m.refusal = fuzz_u8(b) % (PX_REFUSED_NOT_VOTING + 1);
	slot = m.w;
	for (int i = 0; i < n; i++)
	{
		uint8_t how = fuzz_u8(b);

		slot += 1 + ((how & 0x30) == 0x30 ? fuzz_u8(b) : 0);
		entries[i].slot = maybe(b, how, 7, slot);
		entries[i].ballot = (how & 1) != 0 ? m.ballot : fuzz_number(b, 1 << 16 | 1);
		entries[i].chosen = (how & 2) != 0;
		if ((how & 0x0c) == 0x0c)
			entries[i].value.data = fuzz_take(b, 40, &entries[i].value.len);
		else
			entries[i].value = fuzz_value(b, 1500);
	}
	m.n_entries = n;
	m.entries = entries;
	m.last = maybe(b, wild, 6, n > 0 ? entries[n - 1].slot : 0);
	if (node == params.self && m.refusal == PX_REFUSED_NOT && m.promised == asked->ballot)
		local.promised = px_max64(local.promised, asked->ballot);
	ev.u.promise = &m;
	step(&ev);
	for (int i = 0; i < n; i++)
		free((void *) entries[i].value.data);
}

static void
accepted(fuzz_bytes *b, px_node node)
{
	const px_accept *sent = &last_accept[node % NODES];
	uint8_t wild = fuzz_u8(b);
	px_accepted m;
	px_event ev = {.kind = PX_EV_ACCEPTED, .node = node};

	memset(&m, 0, sizeof(m));
	m.ballot = sent->ballot;
	m.stream = maybe(b, wild, 0, sent->stream);
	m.promised = maybe(b, wild, 1, sent->ballot);
	m.first = maybe(b, wild, 2, first_sent[node % NODES]);
	m.next = maybe(b, wild, 3, sent->first + sent->n_values);
	m.applied = maybe(b, wild, 4, sent->chosen);
	m.durable = m.applied;
	m.config = (wild & 0x10) != 0 ? fuzz_number(b, view.config) : view.config;
	m.truncated = (wild & 0x20) != 0 ? fuzz_number(b, 0) : 0;
	m.sent_at = maybe(b, wild, 6, sent->sent_at);
	if ((wild & 0x80) != 0)
		m.refusal = fuzz_u8(b) % (PX_REFUSED_NOT_VOTING + 1);
	m.lease_us = sent->lease_us;
	m.lease_readable = sent->lease_readable;
	ev.u.accepted = &m;
	step(&ev);
}

static px_ballot
legal_ballot(fuzz_bytes *b)
{
	uint64_t round = fuzz_number(b, px_ballot_round(view.highest_seen));

	/* as arg_own_ballot() in src/paxos_acceptor.c: no leaps */
	round %= px_ballot_round(local.promised) + (UINT64_C(1) << 32);
	return px_ballot_make(px_min64(px_max64(round, 1), PX_MAX_ROUND), 1 + fuzz_u8(b) % 6);
}

static void
own_news(fuzz_bytes *b)
{
	uint16_t what = fuzz_u8(b) | fuzz_u8(b) << 8;
	px_event ev = {.kind = PX_EV_LOCAL};

	if ((what & 1) != 0)
		local.promised = px_max64(local.promised, legal_ballot(b));
	if ((what & 2) != 0)
		local.chosen = px_max64(local.chosen, fuzz_argument(b, view.chosen));
	if ((what & 4) != 0)
		local.applied = px_max64(local.applied, fuzz_number(b, local.chosen) % (local.chosen + 1));
	if ((what & 8) != 0)
		local.truncated =
			px_max64(local.truncated, fuzz_number(b, local.applied) % (local.applied + 1));
	if ((what & 0x10) != 0)
		local.leader = fuzz_u8(b) % 4 == 0 ? 0 : local.promised;
	if ((what & 0x20) != 0)
		local.heard_at = now - fuzz_u8(b);
	if ((what & 0x40) != 0)
		local.lost_at = now - fuzz_u8(b);
	if ((what & 0x80) != 0)
		local.leased_until = now + (fuzz_number(b, 1000) & 0xffffffff);
	if ((what & 0x100) != 0)
		local.handover = fuzz_u8(b) % 4 == 0 ? legal_ballot(b) : local.promised;
	if ((what & 0x200) != 0)
	{
		local.read.incarnation = fuzz_argument(b, params.incarnation);
		local.read.seq = fuzz_argument(b, 1);
		local.read.index = fuzz_argument(b, view.chosen);
	}
	if ((what & 0x400) != 0)
	{
		uint64_t incarnation = fuzz_number(b, params.incarnation) % (params.incarnation + 1);
		uint64_t last = fuzz_argument(b, view.sequence);

		if (incarnation == params.incarnation)
		{
			last %= view.sequence + 1;
			if (local.own_incarnation == incarnation)
				last = px_max64(last, local.own_last);
		}
		if (incarnation >= local.own_incarnation)
		{
			local.own_incarnation = incarnation;
			local.own_last = last;
		}
	}
	if ((what & 0x800) != 0)
		local.log_time_us = px_max64(local.log_time_us, fuzz_number(b, 1000));
	if ((what & 0x1000) != 0)
		local.gaps_seen++;
	if ((what & 0x2000) != 0)
		local.may_vote = !local.may_vote;
	if ((what & 0x4000) != 0)
		local.stuck = !local.stuck;
	ev.u.local = &local;
	step(&ev);
}

static void
forward(fuzz_bytes *b, px_node node)
{
	uint8_t n = fuzz_u8(b) % (BATCHES + 1);
	uint64_t sequence = fuzz_number(b, 1);
	px_bytes batches[BATCHES];
	px_forward m;
	px_event ev = {.kind = PX_EV_FORWARD};

	memset(&m, 0, sizeof(m));
	m.from = node;
	m.incarnation = fuzz_number(b, 1);
	m.resend = fuzz_u8(b) % 2;
	m.read_seq = fuzz_u8(b) % 4 == 0 ? fuzz_number(b, 1) : 0;
	for (int i = 0; i < n; i++)
	{
		uint8_t how = fuzz_u8(b);

		if (how == 0xff)
			batches[i].data = fuzz_take(b, 60, &batches[i].len);
		else
			batches[i] = fuzz_batch(b, 700, how >= 0xf0 ? how : node, m.incarnation, sequence + i);
	}
	m.n_batches = n;
	m.batches = batches;
	ev.u.forward = &m;
	step(&ev);
	for (int i = 0; i < n; i++)
		free((void *) batches[i].data);
}

static void
own_batch(fuzz_bytes *b)
{
	static const uint8_t command[256];
	px_event ev = {.kind = PX_EV_BATCH};
	px_batch_writer *w;
	uint64_t sequence;
	uint8_t n = fuzz_u8(b) % 4;

	if (!px_proposer_batch_room(p))
		return;
	w = px_proposer_batch(p, &sequence);
	FUZZ_CHECK(sequence == view.sequence + 1);
	for (int i = 0; i < n; i++)
		(void) px_batch_add(w, i, i, command, fuzz_u8(b));
	step(&ev);
}

static void
configure_by_request(fuzz_bytes *b)
{
	px_event ev = {.kind = PX_EV_CONFIGURE};
	px_configure m;
	uint8_t how = fuzz_u8(b);

	memset(&m, 0, sizeof(m));
	m.request = how;
	m.base = (how & 1) != 0 ? view.config : fuzz_number(b, view.config);
	m.force = (how & 2) != 0;
	if ((how & 0x0c) == 0x0c)
		m.value.data = fuzz_take(b, 60, &m.value.len);
	else if ((how & 0x0c) != 0)
		m.value = fuzz_value(b, 1500);
	n_asked++;
	ev.u.configure = &m;
	step(&ev);
	free((void *) m.value.data);
}

static void
configure(fuzz_bytes *b, px_config *config)
{
	uint8_t shape = fuzz_u8(b);
	uint8_t how = fuzz_u8(b);

	memset(config, 0, sizeof(*config));
	config->n_members = 1 + shape % 5;
	for (int i = 0; i < config->n_members; i++)
	{
		config->members[i].node = (px_node) (i + 1);
		config->members[i].voter = i == 0 || i + 1 < config->n_members || (shape & 0x80) == 0;
	}
	memset(&params, 0, sizeof(params));
	params.self = 1 + (shape >> 4 & 7) % config->n_members;
	params.incarnation = 1 + (how & 1);
	params.seed = shape;
	params.heartbeat_us = 50000;
	params.election_timeout_us = 500000;
	params.pipeline_depth = (how & 2) != 0 ? 1 + how % PX_MAX_WINDOW : 4;
	params.pipeline_gap_us = (how & 4) != 0 ? 1000 : 0;
	params.tell_delay_us = (how & 8) != 0 ? 5000 : 0;
	params.thrifty = (how & 16) != 0;
	params.outbox_depth = (how & 32) != 0 ? 2 : 8;
	params.max_batch_bytes = 700;
	params.max_value_bytes = 1500;
	params.intake_bytes = (how & 64) != 0 ? 700 : 8192;
	params.lease_us = 500000;
	params.lease_readable = (how & 128) != 0;
	params.drift_ppm = 1000;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void *memory;
	static size_t memory_bytes;
	fuzz_bytes b = {data, size};
	px_config config;
	px_event ev = {.kind = PX_EV_LOCAL};

	configure(&b, &config);
	if (px_proposer_bytes(&params) > memory_bytes)
	{
		free(memory);
		memory_bytes = px_proposer_bytes(&params);
		memory = malloc(memory_bytes);
		if (memory == NULL)
			abort();
	}
	now = 1000000;
	memset(&local, 0, sizeof(local));
	memset(connected, 0, sizeof(connected));
	memset(last_prepare, 0, sizeof(last_prepare));
	memset(last_accept, 0, sizeof(last_accept));
	memset(first_sent, 0, sizeof(first_sent));
	proposed_ballot = 0;
	n_asked = 0;
	local.may_vote = true;
	p = px_proposer_init(memory, memory_bytes, &params, &config, now);
	px_proposer_look(p, &view);
	ev.u.local = &local;
	step(&ev);
	for (int i = 0; i < config.n_members; i++)
	{
		connected[i + 1] = true;
		ev.kind = PX_EV_PEER_UP;
		ev.node = (px_node) (i + 1);
		step(&ev);
	}

	while (b.left > 0)
	{
		uint8_t what = fuzz_u8(&b);
		px_node node = (px_node) (1 + (what >> 5));

		memset(&ev, 0, sizeof(ev));
		ev.node = node;
		ev.wall_us = now;
		switch (what & 31)
		{
			case 0:
			case 1:
			case 2:
				/* to the next time something is due */
				now = px_max64(now, px_min64(up.wake_at, now + 10000000));
				ev.kind = PX_EV_TICK;
				step(&ev);
				break;
			case 3:
				now += fuzz_number(&b, 1000) % 10000000;
				ev.wall_us = fuzz_number(&b, now);
				ev.kind = PX_EV_TICK;
				step(&ev);
				break;
			case 4:
				connected[node] = true;
				ev.kind = PX_EV_PEER_UP;
				step(&ev);
				break;
			case 5:
				if (!connected[node])
					break;
				connected[node] = false;
				ev.kind = PX_EV_PEER_DOWN;
				step(&ev);
				break;
			case 6:
			case 7:
			case 8:
				own_news(&b);
				break;
			case 9:
			case 10:
			case 11:
			{
				uint8_t wild = fuzz_u8(&b);
				px_prevote_reply m;

				memset(&m, 0, sizeof(m));
				m.refusal =
					(wild & 1) != 0 ? fuzz_u8(&b) % (PX_REFUSED_NOT_VOTING + 1) : PX_REFUSED_NOT;
				m.promised = maybe(&b, wild, 1, local.promised);
				m.chosen = maybe(&b, wild, 2, local.chosen);
				m.truncated = maybe(&b, wild, 3, 0);
				m.config = maybe(&b, wild, 4, view.config);
				ev.kind = PX_EV_PREVOTE_REPLY;
				ev.u.prevote_reply = &m;
				if (connected[node])
					step(&ev);
				break;
			}
			case 12:
			case 13:
			case 14:
			case 15:
				if (connected[node])
					promise(&b, node);
				break;
			case 16:
			case 17:
			case 18:
			case 19:
			case 20:
				if (connected[node])
					accepted(&b, node);
				break;
			case 21:
			case 22:
				own_batch(&b);
				break;
			case 23:
			case 24:
				forward(&b, node);
				break;
			case 25:
			{
				px_forward_reply m = {fuzz_u8(&b) % 2};

				ev.kind = PX_EV_FORWARD_REPLY;
				ev.u.forward_reply = &m;
				step(&ev);
				break;
			}
			case 26:
				ev.kind = PX_EV_READ;
				step(&ev);
				break;
			case 27:
				ev.kind = PX_EV_TRANSFER;
				ev.node = fuzz_u8(&b) % 2 ? node : 0;
				step(&ev);
				break;
			case 28:
				if (fuzz_u8(&b) % 2 != 0)
				{
					configure_by_request(&b);
					break;
				}
				fuzz_config(&b, &config);
				config.slot = fuzz_argument(&b, view.config + 1);
				if (px_config_valid(&config) && config.slot > local.config)
				{
					local.config = config.slot;
					local.chosen = px_max64(local.chosen, config.slot);
				}
				ev.kind = PX_EV_CONFIG;
				ev.u.config = &config;
				step(&ev);
				break;
			case 29:
				/* everybody answers what was asked last: an election is won */
				for (px_node n = 1; n < NODES; n++)
				{
					px_prevote_reply yes;

					memset(&yes, 0, sizeof(yes));
					yes.chosen = local.chosen;
					memset(&ev, 0, sizeof(ev));
					ev.kind = PX_EV_PREVOTE_REPLY;
					ev.node = n;
					ev.u.prevote_reply = &yes;
					if (connected[n])
						step(&ev);
				}
				break;
			default:
			{
				/* an honest answer of everybody, as if 'b' were at its end */
				fuzz_bytes none = {NULL, 0};

				for (px_node n = 1; n < NODES; n++)
				{
					/* self first, then the others */
					px_node who = n == 1 ? params.self : n <= params.self ? n - 1 : n;

					if (!connected[who])
						continue;
					if ((what & 31) == 30)
						promise(&none, who);
					else
						accepted(&none, who);
				}
			}
		}
	}
	return 0;
}
