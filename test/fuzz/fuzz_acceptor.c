/*
 * fuzz_acceptor.c
 *	  Fuzz target: the acceptor (src/core/px_acceptor.c) under any messages in any
 *	  order, called as src/paxos_acceptor.c calls it.
 *
 * A byte string is a sequence of events: messages of every kind with arbitrary
 * fields (within what paxos_sql_... lets through: that is the callers' part),
 * connections that end, news from the own proposer, fetched entries,
 * truncation, configurations found in the log, crashes.  A transition that must be durable is run on a copy,
 * others may change the shared value while its flush lasts, and it is run again
 * on the shared value, where it must come to the same verdict.
 *
 * The model of the log is which slots it holds, as ranges.  Checked after each
 * event: px_check_acceptor and px_check_acceptor_step (a crash excepted: what
 * was durable holds across it), a refusal changes nothing, the disk is never
 * behind the answer, what becomes known chosen is in the log, and a lease that
 * stands lets no other node's ballot in.
 */
#include "fuzz.h"

#define RANGES 512
#define CONNECTIONS 4
#define MAX_LEASE_US (UINT64_C(24) * 60 * 60 * 1000 * 1000)

typedef struct range
{
	px_slot first;
	px_slot last;
} range;

static px_acceptor shared;
static px_ballot disk_promised;
static px_slot disk_truncated;
static px_usec disk_lease_us;
static px_config disk_config; /* no members: none yet */
static px_usec now;
static uint64_t owners[CONNECTIONS];
static uint64_t next_owner;
static range held[RANGES];
static int n_held;
static px_slot base; /* applied at the start: nothing up to it need be held */

static void
hold(px_slot first, px_slot last)
{
	if (first > last)
		return;
	for (int i = 0; i < n_held; i++)
	{
		if (held[i].first <= last + 1 && first <= held[i].last + 1)
		{
			first = px_min64(first, held[i].first);
			last = px_max64(last, held[i].last);
			held[i--] = held[--n_held];
		}
	}
	FUZZ_CHECK(n_held < RANGES);
	held[n_held].first = first;
	held[n_held].last = last;
	n_held++;
}

static bool
holds(px_slot first, px_slot last)
{
	for (int i = 0; i < n_held; i++)
	{
		if (held[i].first <= first && last <= held[i].last)
			return true;
	}
	return false;
}

/* After every change of the shared value. */
static void
check(const px_acceptor *before)
{
	px_slot from = px_max64(px_max64(before->chosen, base), shared.truncated) + 1;
	px_slot gap_from;
	px_slot gap_to;

	fuzz_holds(px_check_acceptor(&shared));
	fuzz_holds(px_check_acceptor_step(before, &shared));
	if (shared.chosen >= from)
		FUZZ_CHECK(holds(from, shared.chosen));
	FUZZ_CHECK(px_acceptor_settled(&shared) <= shared.chosen &&
			   px_acceptor_settled(&shared) >= px_min64(shared.config.slot, shared.chosen));
	FUZZ_CHECK(shared.promised <= disk_promised);
	FUZZ_CHECK(shared.longest_lease_us <= disk_lease_us);
	if (px_acceptor_gap(&shared, &gap_from, &gap_to))
		FUZZ_CHECK(gap_from == shared.chosen + 1 && gap_from <= gap_to);

	/* a readable lease that ran on is not for another node's ballot */
	if (before->promised != shared.promised && before->lease_ballot != 0 &&
		before->lease_readable && now < before->lease_until)
		FUZZ_CHECK(px_ballot_node(shared.promised) == px_ballot_node(before->lease_ballot) ||
				   shared.lease_ballot == 0);
}

static px_ballot
ballot(fuzz_bytes *b, px_node node)
{
	uint64_t promised = px_ballot_round(shared.promised);
	uint64_t round = fuzz_number(b, promised + (fuzz_u8(b) & 1));
	uint64_t highest = px_min64(promised + PX_MAX_LEAP, PX_MAX_ROUND);

	if (round == 0)
		round = 1;
	if (round > highest)
		round = highest - round % 1000 % highest;
	return px_ballot_make(round, node);
}

static void
read_prepare(fuzz_bytes *b, px_prepare *m)
{
	memset(m, 0, sizeof(*m));
	m->from = (px_node) (1 + fuzz_u8(b) % 3);
	m->ballot = ballot(b, m->from);
	m->stream = fuzz_argument(b, m->ballot == shared.promised ? shared.stream + 1 : 1);
	if (m->stream == 0)
		m->stream = 1;
	m->w = fuzz_argument(b, shared.chosen);
	if (fuzz_u8(b) % 4 == 0)
		m->handover = fuzz_u8(b) % 2 ? shared.lease_ballot : ballot(b, 1 + fuzz_u8(b) % 3);
}

static void
read_accept(fuzz_bytes *b, px_accept *m)
{
	static const px_bytes values[PX_MAX_WINDOW];

	memset(m, 0, sizeof(*m));
	m->from = px_ballot_node(shared.promised);
	if (m->from == 0 || fuzz_u8(b) % 8 == 0)
		m->from = (px_node) (1 + fuzz_u8(b) % 3);
	m->ballot = fuzz_u8(b) % 8 == 0 || px_ballot_node(shared.promised) != m->from
					? ballot(b, m->from)
					: shared.promised;
	m->stream = fuzz_u8(b) % 8 == 0 ? fuzz_argument(b, shared.stream) : shared.stream;
	m->first = fuzz_argument(b, shared.positioned ? shared.next : shared.opened_w + 1);
	if (m->first == 0)
		m->first = 1;
	m->n_values = fuzz_u8(b) % (PX_MAX_WINDOW + 1);
	m->values = values;
	if (m->n_values > 0 && fuzz_u8(b) % 4 == 0)
		m->config_at = m->first + fuzz_u8(b) % m->n_values;
	m->chosen = fuzz_argument(b, m->first - 1);
	m->sent_at = fuzz_argument(b, now);
	m->lease_us = fuzz_argument(b, 1000) % (MAX_LEASE_US + 1);
	m->lease_readable = fuzz_u8(b) % 2;
	m->truncatable = fuzz_argument(b, shared.chosen);
	m->read.incarnation = fuzz_argument(b, shared.read.incarnation);
	m->read.seq = fuzz_argument(b, shared.read.seq);
	m->read.index = fuzz_argument(b, shared.chosen);
}

static void
unchanged(const px_acceptor *before, const px_acceptor *after, px_refusal refusal,
		  const px_acceptor_todo *todo)
{
	if (refusal == PX_REFUSED_NOT)
		return;
	FUZZ_CHECK(memcmp(before, after, sizeof(*before)) == 0);
	FUZZ_CHECK(!todo->persist_state && todo->store == 0);
	FUZZ_CHECK(strcmp(px_refusal_name(refusal), "unknown") != 0);
}

/*
 * What changes the shared value without its being durable; also while another
 * transition is being flushed.  'busy' is the connection that waits for the
 * flush, or -1.
 */
static void
light(fuzz_bytes *b, int busy, bool preparing)
{
	px_acceptor before = shared;
	int c = fuzz_u8(b) % CONNECTIONS;

	switch (fuzz_u8(b) % 6)
	{
		case 0:
			if (c == busy)
				break;
			px_acceptor_closed(&shared, owners[c], now);
			owners[c] = 0;
			break;
		case 1:
			px_acceptor_learn(&shared, fuzz_u8(b) % 4 ? shared.promised : ballot(b, 1),
							  fuzz_argument(b, shared.next));
			break;
		case 2:
		{
			px_handover m;
			bool taken;

			m.from = (px_node) (1 + fuzz_u8(b) % 3);
			m.to = (px_node) (1 + fuzz_u8(b) % 2);
			m.ballot = fuzz_u8(b) % 4 ? shared.promised : ballot(b, m.from);
			taken = px_acceptor_handover(&shared, &m, 1, now);
			FUZZ_CHECK(!taken || (m.to == 1 && m.ballot == shared.promised && shared.open));
			break;
		}
		case 3:
			shared.handover = 0; /* it was used */
			break;
		case 4:
		{
			px_accept m;

			read_accept(b, &m);
			if (c != busy && owners[c] != 0)
				px_acceptor_news(&shared, &m, owners[c]);
			break;
		}
		case 5:
		{
			px_accept m;
			px_acceptor_todo todo;
			px_accepted reply;
			px_acceptor copy = shared;

			read_accept(b, &m);
			m.n_values = 0;
			if (c == busy || owners[c] == 0 || preparing)
				break;
			px_acceptor_accept(&copy, &m, owners[c], now, base, base, &todo, &reply);
			unchanged(&shared, &copy, reply.refusal, &todo);
			if (!todo.persist_state && todo.store == 0)
				shared = copy;
			break;
		}
	}
	check(&before);
}

/* A Prepare, an Accept or fetched entries, as stage() and publish() do it. */
static void
durable(fuzz_bytes *b, int kind)
{
	px_acceptor before = shared;
	px_acceptor copy = shared;
	px_acceptor_todo todo;
	px_acceptor_todo again;
	px_promise promise;
	px_accepted accepted;
	px_prepare prepare;
	px_accept accept;
	px_slot first = 0;
	px_slot last = 0;
	px_slot config_at = 0;
	px_refusal refusal = PX_REFUSED_NOT;
	px_usec when = now;
	int c = fuzz_u8(b) % CONNECTIONS;
	uint8_t meanwhile = fuzz_u8(b) % 4;
	bool aborts = fuzz_u8(b) % 16 == 1;

	memset(&todo, 0, sizeof(todo));
	if (kind == 0)
	{
		if (owners[c] == 0)
			owners[c] = next_owner++;
		read_prepare(b, &prepare);
		px_acceptor_prepare(&copy, &prepare, owners[c], when, &todo, &promise);
		refusal = promise.refusal;
	}
	else if (kind == 1)
	{
		/* mostly the connection of the open stream */
		if (fuzz_u8(b) % 8 != 0)
			for (int i = 0; i < CONNECTIONS; i++)
				if (owners[i] == shared.owner)
					c = i;
		if (owners[c] == 0)
			return;
		read_accept(b, &accept);
		px_acceptor_accept(&copy, &accept, owners[c], when, base, base, &todo, &accepted);
		refusal = accepted.refusal;
		FUZZ_CHECK(todo.skip + todo.store <= accept.n_values);
	}
	else
	{
		first = 1 + fuzz_argument(b, shared.chosen) % (shared.chosen + 1);
		last = first + fuzz_u8(b);
		config_at = fuzz_u8(b) % 4 == 0 ? first + fuzz_u8(b) % (last - first + 1) : 0;
		px_acceptor_fetched(&copy, first, last);
		if (config_at != 0)
			px_acceptor_holds_config(&copy, config_at);
	}
	unchanged(&before, &copy, refusal, &todo);

	for (int i = 0; i < meanwhile; i++)
		light(b, c, kind == 0 && refusal == PX_REFUSED_NOT);

	/* what was refused is not run again: the reason may be gone by now */
	if (aborts || refusal != PX_REFUSED_NOT)
		return;

	/* flushed */
	if (todo.persist_state)
	{
		disk_promised = copy.promised;
		disk_lease_us = copy.longest_lease_us;
	}
	if (kind == 1 && todo.store > 0)
		hold(accept.first + todo.skip, accept.first + todo.skip + todo.store - 1);
	if (kind == 2)
		hold(first, last);

	before = shared;
	if (kind == 0)
	{
		px_acceptor_prepare(&shared, &prepare, owners[c], when, &again, &promise);
		FUZZ_CHECK(promise.refusal == PX_REFUSED_NOT);
		FUZZ_CHECK(promise.ballot == prepare.ballot && promise.stream == prepare.stream &&
				   promise.w == prepare.w && promise.promised == shared.promised);
		FUZZ_CHECK(promise.truncated <= prepare.w);
	}
	else if (kind == 1)
	{
		px_acceptor_accept(&shared, &accept, owners[c], when, base, base, &again, &accepted);
		FUZZ_CHECK(accepted.refusal == PX_REFUSED_NOT);
		FUZZ_CHECK(again.skip >= todo.skip && again.skip + again.store == todo.skip + todo.store);
		FUZZ_CHECK(accepted.next == accept.first + accept.n_values &&
				   accepted.promised == accept.ballot);
	}
	else
	{
		memset(&again, 0, sizeof(again));
		px_acceptor_fetched(&shared, first, last);
		if (config_at != 0)
			px_acceptor_holds_config(&shared, config_at);
	}
	FUZZ_CHECK(!again.persist_state || todo.persist_state);
	check(&before);
}

/* Where the log holds the next entry with a configuration above 'above'; 0: nowhere. */
static px_slot
next_config(fuzz_bytes *b, px_slot above)
{
	uint8_t distance = fuzz_u8(b) % 8;

	return distance == 0 ? 0 : above + distance;
}

/* Some configuration up to 'upto' is found in the log and recorded, or none. */
static void
record_config(fuzz_bytes *b, px_slot upto)
{
	px_acceptor before = shared;

	if (fuzz_u8(b) % 4 != 0 && upto > disk_config.slot)
	{
		px_config config;

		fuzz_config(b, &config);
		config.slot = disk_config.slot + 1 + config.slot % (upto - disk_config.slot);
		if (px_config_valid(&config))
			disk_config = config;
	}
	if (disk_config.n_members == 0)
		return;
	px_acceptor_config(&shared, &disk_config, next_config(b, upto));
	FUZZ_CHECK(shared.config.slot == disk_config.slot);
	check(&before);
}

static void
start(fuzz_bytes *b, px_slot applied)
{
	px_acceptor_init(&shared, disk_promised, disk_truncated, disk_lease_us, applied, now);
	if (disk_config.n_members > 0)
		px_acceptor_config(&shared, &disk_config, next_config(b, disk_config.slot));
	base = px_max64(applied, disk_config.slot);
	memset(owners, 0, sizeof(owners));
	fuzz_holds(px_check_acceptor(&shared));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_bytes b = {data, size};
	px_slot applied;

	disk_promised = fuzz_u8(&b) % 2 ? px_ballot_make(1 + fuzz_u8(&b), 1 + fuzz_u8(&b) % 3) : 0;
	disk_truncated = fuzz_u8(&b);
	disk_lease_us = fuzz_u8(&b) % 4 == 0 ? fuzz_u8(&b) : 0;
	applied = disk_truncated + fuzz_u8(&b);
	fuzz_config(&b, &disk_config);
	disk_config.slot %= 300;
	if (!px_config_valid(&disk_config))
		memset(&disk_config, 0, sizeof(disk_config));
	now = 1000000;
	next_owner = 1;
	n_held = 0;
	start(&b, applied);
	while (b.left > 0)
	{
		uint8_t what = fuzz_u8(&b);

		now += fuzz_u8(&b) * 100;
		switch (what % 16)
		{
			case 0:
			case 1:
			case 2:
				durable(&b, 0);
				break;
			case 3:
			case 4:
			case 5:
			case 6:
			case 7:
				durable(&b, 1);
				break;
			case 8:
				durable(&b, 2);
				break;
			case 9:
			{
				px_acceptor before = shared;

				disk_truncated = px_max64(disk_truncated, fuzz_argument(&b, base) % (base + 1));
				px_acceptor_truncate(&shared, disk_truncated);
				check(&before);
				break;
			}
			case 10:
			{
				px_prevote m;
				px_prevote_reply reply;

				m.from = (px_node) (1 + fuzz_u8(&b) % 3);
				m.chosen = fuzz_argument(&b, shared.chosen);
				px_acceptor_prevote(&shared, &m, now, &reply);
				FUZZ_CHECK(reply.refusal != PX_REFUSED_NOT || shared.truncated <= m.chosen);
				FUZZ_CHECK(reply.promised == shared.promised && reply.chosen == shared.chosen);
				break;
			}
			case 11:
				/* a crash; what is applied is chosen, and not truncated later */
				start(&b, px_max64(base, fuzz_argument(&b, shared.chosen) % (shared.chosen + 1)));
				break;
			case 13:
				if (px_acceptor_config_due(&shared))
					record_config(&b, shared.chosen);
				break;
			case 12:
				base = px_max64(base, fuzz_argument(&b, shared.chosen) % (shared.chosen + 1));
				break;
			default:
				light(&b, -1, false);
		}
	}
	return 0;
}
