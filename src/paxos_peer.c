/*
 * paxos_peer.c
 *	  One libpq connection of the proposer to a member, as a state machine that
 *	  never blocks.
 *
 * What this file owns: connecting with back-off, the messages of protocol.md
 * §§ 3 to 5 as calls of the procedures in schema paxos, and the strict reading
 * of answers.  What the messages mean is the core's business; the loop that
 * waits for all sockets is paxos_proposer.c's; the other end of the connection
 * is paxos_acceptor.c.
 *
 * States:
 *
 *		WAITING -> RESOLVING -> CONNECTING -> PREPARING -> UP
 *		   ^_________|_____________|_____________|__________|   any failure
 *
 * The stream of one connection is libpq's pipeline mode with one Sync for each
 * message, so that each is a transaction of its own on the other side.  An
 * answer counts only when it came without error up to its own Sync: a row that
 * arrives before the transaction has ended says nothing yet, and the Sync is
 * what tells that it did.  Any error closes the connection.  The core then
 * reopens the stream with a Prepare on the next one; there is no recovery
 * within a connection, so an answer can never be matched with the wrong
 * message.
 *
 * Invariants:
 *	- pending[] holds exactly the messages sent on this connection and not
 *	  answered up to their Sync, in order.
 *	- After a failure nothing that arrived on the connection is reported any
 *	  more, except DOWN, once, if UP was.
 *	- unsent_bytes is never less than what libpq holds back.  libpq does not say
 *	  how much that is; known are what was queued since the last time nothing
 *	  was held back, and what is not answered.  The smaller of the two bounds it.
 *
 * A peer whose machine or network is slow is not allowed to hold this process's
 * memory: beyond paxos.max_unsent the connection is cut, and the peer catches
 * up by Fetch when it is back.
 *
 * A crash of the process closes its sockets; the acceptors at the other end
 * close their streams then (protocol.md § 3.1).
 */
#include "paxos_peer.h"

#include "paxos_identity.h"
#include "paxos_memory.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/fd.h"
#include "storage/latch.h"
#include "utils/memutils.h"

/* Messages in flight on one connection. */
#define MAX_PENDING 4096

/* What a message weighs beside its parameters. */
#define MESSAGE_OVERHEAD_BYTES 160

/* Reconnecting: first delay, and the longest. */
#define BACK_OFF_FIRST_US 20000
#define BACK_OFF_LONGEST_US 1000000

typedef enum MessageKind
{
	MESSAGE_STATEMENTS, /* preparing the statements */
	MESSAGE_GREET,
	MESSAGE_INTRODUCE,
	MESSAGE_PREVOTE,
	MESSAGE_PREPARE,
	MESSAGE_ACCEPT,
	MESSAGE_HANDOVER,
	MESSAGE_DIGESTS,
	MESSAGE_FORWARD
} MessageKind;

/* What the core wants echoed and does not travel. */
struct PaxosPending
{
	MessageKind kind;
	uint32 bytes;
	px_ballot ballot;
	uint64 stream;
	px_slot w;
	px_usec sent_at;
	px_usec lease_us;
	bool lease_readable;
	bool commands; /* a Forward with batches */
};

#define MAX_PARAMS 16

/* Parameters of one call, in binary. */
typedef struct Params
{
	int n;
	const char *values[MAX_PARAMS];
	int lengths[MAX_PARAMS];
	int formats[MAX_PARAMS];
	uint64 numbers[MAX_PARAMS]; /* what values[] of fixed size point to */
	uint64 bytes;
} Params;

struct PaxosParked
{
	PaxosParked *next;
	int n;
	int lengths[MAX_PARAMS];
	char bytes[FLEXIBLE_ARRAY_MEMBER]; /* the values, one after another */
};

typedef struct Statement
{
	const char *name;
	const char *sql;
	int n_params;
	Oid types[MAX_PARAMS];
	int n_columns; /* of the one row it answers */
	Oid columns[10];
} Statement;

/*
 * The procedures take one more argument for each column they answer (their OUT
 * arguments); NULL stands for those.  Types are given, so that a function of
 * another signature cannot be picked.
 */
static const Statement statements[] = {
	[MESSAGE_GREET] = {"paxos_greet",
					   "SELECT * FROM paxos.greet($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
					   10,
					   {UUIDOID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
						INT4OID, INT4OID},
					   5,
					   {INT4OID, INT8OID, INT8OID, INT8OID, INT4OID}},
	[MESSAGE_INTRODUCE] = {"",
						   "SELECT paxos.introduce($1, $2, $3, $4) IS NULL",
						   4,
						   {UUIDOID, INT4OID, INT4OID, TEXTOID},
						   1,
						   {BOOLOID}},
	[MESSAGE_PREVOTE] = {"paxos_pre_vote",
						 "SELECT * FROM paxos.pre_vote($1, $2, $3, $4)",
						 4,
						 {UUIDOID, INT4OID, INT4OID, INT8OID},
						 5,
						 {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID}},
	[MESSAGE_PREPARE] = {"paxos_prepare",
						 "CALL paxos.prepare($1, $2, $3, $4, $5, $6, $7,"
						 " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
						 7,
						 {UUIDOID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID},
						 10,
						 {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8ARRAYOID, INT8ARRAYOID,
						  BOOLARRAYOID, BYTEAARRAYOID, INT8OID}},
	[MESSAGE_ACCEPT] =
		{"paxos_accept",
		 "CALL paxos.accept($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,"
		 " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
		 15,
		 {UUIDOID, INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, BYTEAARRAYOID, INT8OID, INT8OID,
		  INT8OID, BOOLOID, INT8OID, INT8OID, INT8OID, INT8OID},
		 8,
		 {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}},
	[MESSAGE_HANDOVER] = {"paxos_hand_over",
						  "SELECT paxos.hand_over($1, $2, $3, $4)",
						  4,
						  {UUIDOID, INT4OID, INT4OID, INT8OID},
						  1,
						  {BOOLOID}},
	[MESSAGE_DIGESTS] = {"paxos_compare_digests",
						 "SELECT * FROM paxos.compare_digests($1, $2, $3, $4, $5)",
						 5,
						 {UUIDOID, INT4OID, INT4OID, INT8OID, INT8ARRAYOID},
						 3,
						 {INT4OID, INT8OID, INT8OID}},
	[MESSAGE_FORWARD] = {"paxos_forward",
						 "SELECT paxos.forward($1, $2, $3, $4, $5, $6, $7)",
						 7,
						 {UUIDOID, INT4OID, INT4OID, INT8OID, BOOLOID, BYTEAARRAYOID, INT8OID},
						 1,
						 {BOOLOID}},
};

uint64 paxos_peer_sockets_generation = 1;

static pg_uuid_t our_cluster;
static px_node our_node;
static uint64 our_incarnation;
static char our_address[PX_MAX_CONNINFO];
static uint64 back_off_seed;

/* A bytea[] being encoded; kept between messages so that its memory is. */
static StringInfoData array_buf;

void
paxos_peer_identity(const pg_uuid_t *cluster_id, px_node self, uint64 incarnation, uint64 seed)
{
	our_cluster = *cluster_id;
	our_node = self;
	our_incarnation = incarnation;
	back_off_seed = seed;
	if (array_buf.data == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		initStringInfo(&array_buf);
		MemoryContextSwitchTo(caller);
	}
}

void
paxos_peer_own_address(const char *conninfo)
{
	strlcpy(our_address, conninfo, sizeof(our_address));
}

/* ---- life and death of a connection ---- */

PaxosPeer *
paxos_peer_create(px_node node, const char *conninfo, bool forwarding, px_usec now)
{
	PaxosPeer *peer = palloc0(sizeof(PaxosPeer));

	peer->node = node;
	peer->forwarding = forwarding;
	strlcpy(peer->conninfo, conninfo, sizeof(peer->conninfo));
	peer->state = PAXOS_PEER_WAITING;
	peer->retry_at = now;
	peer->pending = palloc(sizeof(PaxosPending) * MAX_PENDING);
	return peer;
}

static void
drop_parked(PaxosPeer *peer)
{
	while (peer->parked != NULL)
	{
		PaxosParked *parked = peer->parked;

		peer->parked = parked->next;
		pfree(parked);
	}
	peer->parked_bytes = 0;
}

static void
drop_lent(PaxosPeer *peer)
{
	PQclear(peer->lent);
	peer->lent = NULL;
	if (peer->entries != NULL)
		pfree(peer->entries);
	peer->entries = NULL;
}

static void
close_connection(PaxosPeer *peer)
{
	PQclear(peer->answer);
	peer->answer = NULL;
	paxos_resolve_free(peer->resolve);
	peer->resolve = NULL;
	if (peer->conn != NULL)
	{
		PQfinish(peer->conn);
		ReleaseExternalFD();
		paxos_peer_sockets_generation++;
	}
	peer->conn = NULL;
	peer->unsent = false;
	peer->unsent_bytes = 0;
	peer->pending_bytes = 0;
	peer->n_pending = 0;
	peer->n_commands_pending = 0;
	peer->comparing = false;
	drop_parked(peer);
}

void
paxos_peer_destroy(PaxosPeer *peer)
{
	close_connection(peer);
	drop_lent(peer);
	pfree(peer->pending);
	pfree(peer);
}

static px_usec
back_off(PaxosPeer *peer)
{
	px_usec span = BACK_OFF_FIRST_US;

	for (int i = 0; i < peer->failures && span < BACK_OFF_LONGEST_US; i++)
		span *= 2;
	span = Min(span, BACK_OFF_LONGEST_US);

	/* half of it certain, half random: nodes do not knock in step */
	return span / 2 + px_random(&back_off_seed) % (span / 2);
}

/* From any state to WAITING; DOWN is owed if UP was told. */
static void
give_up(PaxosPeer *peer, px_usec retry_at)
{
	close_connection(peer);
	peer->state = PAXOS_PEER_WAITING;
	peer->retry_at = retry_at;
	if (peer->told_up)
		peer->tell_down = true;
	peer->told_up = false;
}

void
paxos_peer_cut(PaxosPeer *peer, const char *why, px_usec now)
{
	char text[PAXOS_ERROR_TEXT] = "connection was lost";
	const char *line;
	const char *next;
	Size len;

	if (peer->state == PAXOS_PEER_WAITING)
		return;

	/*
	 * 'why' may belong to what is about to be freed.  Of what libpq says, which
	 * may be a line for each address tried and hints on lines of their own, the
	 * last line that is no hint tells most.
	 */
	for (line = why; line != NULL && *line; line = next)
	{
		next = strchr(line, '\n');
		len = next != NULL ? next - line : strlen(line);
		if (len > 0 && *line != '\t')
			strlcpy(text, line, Min(len + 1, sizeof(text)));
		if (next != NULL)
			next++;
	}

	if (strcmp(text, peer->last_error) != 0 && !peer->forwarding)
		ereport(LOG, (errmsg("paxos: connection to node %u failed: %s", peer->node, text)));
	strlcpy(peer->last_error, text, sizeof(peer->last_error));
	peer->error_count++;

	/* One that opens and fails at the first message, as on a full disk, has not begun well. */
	if (peer->state == PAXOS_PEER_UP && now > peer->up_at + BACK_OFF_LONGEST_US)
		peer->failures = 0;
	give_up(peer, now + back_off(peer));
	peer->failures++;
}

void
paxos_peer_renew(PaxosPeer *peer, px_usec now)
{
	if (peer->state != PAXOS_PEER_WAITING)
		give_up(peer, now);
}

void
paxos_peer_hurry(PaxosPeer *peer, px_usec now)
{
	if (peer->state == PAXOS_PEER_WAITING)
		peer->retry_at = now;
}

/*
 * What the other server says on its own account: a FATAL on its way out tells
 * more than the end of file that follows it.
 */
static void
take_notice(void *arg, const PGresult *res)
{
	PaxosPeer *peer = arg;
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);

	if (severity != NULL && message != NULL && strcmp(severity, "FATAL") == 0)
		strlcpy(peer->last_error, message, sizeof(peer->last_error));
}

static void
start_connecting(PaxosPeer *peer, px_usec now)
{
	char *error = NULL;

	peer->sql_error = false;
	peer->deadline = now + (px_usec) paxos_connect_timeout_ms * 1000;
	peer->state = PAXOS_PEER_RESOLVING;
	peer->resolve = paxos_resolve_start(
		peer->conninfo, peer->forwarding ? "paxos forward" : "paxos stream", &error);
	if (peer->resolve == NULL)
	{
		paxos_peer_cut(peer, error, now);
		pfree(error);
		return;
	}
	peer->resolve_at = now;
}

static void
poll_resolve(PaxosPeer *peer, px_usec now)
{
	const char *const *keywords;
	const char *const *values;
	char *error = NULL;

	switch (paxos_resolve_poll(peer->resolve, &keywords, &values, &error))
	{
		case PAXOS_RESOLVE_PENDING:
			peer->resolve_at = now + PAXOS_RESOLVE_POLL_MS * 1000;
			return;
		case PAXOS_RESOLVE_FAILED:
			paxos_peer_cut(peer, error, now);
			pfree(error);
			return;
		case PAXOS_RESOLVE_DONE:
			break;
	}
	if (!AcquireExternalFD())
	{
		paxos_peer_cut(peer, "too many open files", now);
		return;
	}
	peer->conn = PQconnectStartParams(keywords, values, 0);
	if (peer->conn == NULL)
	{
		ReleaseExternalFD();
		paxos_peer_cut(peer, "out of memory", now);
		return;
	}
	peer->state = PAXOS_PEER_CONNECTING;
	peer->poll = PGRES_POLLING_WRITING;
	paxos_peer_sockets_generation++;
	if (PQstatus(peer->conn) == CONNECTION_BAD)
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return;
	}
	PQsetNoticeReceiver(peer->conn, take_notice, peer);
}

/* ---- sending ---- */

static PaxosPending *
pending_add(PaxosPeer *peer, MessageKind kind, uint64 bytes)
{
	PaxosPending *m;

	Assert(peer->n_pending < MAX_PENDING);
	m = &peer->pending[(peer->pending_first + peer->n_pending) % MAX_PENDING];
	peer->n_pending++;
	memset(m, 0, sizeof(*m));
	m->kind = kind;
	m->bytes = (uint32) Min(bytes, PG_UINT32_MAX);
	peer->pending_bytes += m->bytes;
	peer->unsent_bytes += m->bytes;
	return m;
}

/* Push what libpq holds; false and cut when the connection is broken. */
static bool
push(PaxosPeer *peer, px_usec now)
{
	int rc = PQflush(peer->conn);

	if (rc < 0)
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return false;
	}
	peer->unsent = rc > 0;
	if (!peer->unsent)
		peer->unsent_bytes = 0;
	return true;
}

/* The answers to the statements being prepared let it greet. */
static void
send_statements(PaxosPeer *peer, px_usec now)
{
	for (int kind = MESSAGE_GREET; kind <= MESSAGE_FORWARD; kind++)
	{
		const Statement *s = &statements[kind];

		if (kind == MESSAGE_INTRODUCE ||
			(peer->forwarding != (kind == MESSAGE_FORWARD) && kind != MESSAGE_GREET))
			continue;
		if (!PQsendPrepare(peer->conn, s->name, s->sql, s->n_params, s->types))
		{
			paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
			return;
		}
	}
	if (!PQpipelineSync(peer->conn))
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return;
	}
	pending_add(peer, MESSAGE_STATEMENTS, MESSAGE_OVERHEAD_BYTES);
	(void) push(peer, now);
}

static void
poll_connection(PaxosPeer *peer, px_usec now)
{
	/* the socket may change on each call, even to one of the same number */
	paxos_peer_sockets_generation++;
	peer->poll = PQconnectPoll(peer->conn);
	if (peer->poll == PGRES_POLLING_FAILED)
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return;
	}
	if (peer->poll != PGRES_POLLING_OK)
		return;

	paxos_resolve_free(peer->resolve);
	peer->resolve = NULL;
	if (PQsetnonblocking(peer->conn, 1) != 0 || !PQenterPipelineMode(peer->conn))
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return;
	}
	peer->state = PAXOS_PEER_PREPARING;
	send_statements(peer, now);
}

static void
add_fixed(Params *p, uint64 number_be, int len)
{
	p->numbers[p->n] = number_be;
	p->values[p->n] = (const char *) &p->numbers[p->n];
	p->lengths[p->n] = len;
	p->formats[p->n] = 1;
	p->bytes += len;
	p->n++;
}

static void
add_int8(Params *p, uint64 v)
{
	add_fixed(p, pg_hton64(v), 8);
}

static void
add_int4(Params *p, uint32 v)
{
	union
	{
		uint64 number;
		uint32 word;
	} u = {0};

	u.word = pg_hton32(v);
	add_fixed(p, u.number, 4);
}

static void
add_bool(Params *p, bool v)
{
	union
	{
		uint64 number;
		uint8 byte;
	} u = {0};

	u.byte = v ? 1 : 0;
	add_fixed(p, u.number, 1);
}

static void
add_bytes(Params *p, const void *data, int len)
{
	p->values[p->n] = data;
	p->lengths[p->n] = len;
	p->formats[p->n] = 1;
	p->bytes += len;
	p->n++;
}

static void
buf_word(StringInfo buf, uint32 v)
{
	v = pg_hton32(v);
	appendBinaryStringInfo(buf, (const char *) &v, 4);
}

/* bytea[] as array_send() writes it. */
static void
add_bytea_array(Params *p, const px_bytes *values, int n)
{
	resetStringInfo(&array_buf);
	buf_word(&array_buf, n > 0 ? 1 : 0); /* dimensions */
	buf_word(&array_buf, 0);             /* no NULLs */
	buf_word(&array_buf, BYTEAOID);
	if (n > 0)
	{
		buf_word(&array_buf, n);
		buf_word(&array_buf, 1); /* lower bound */
	}
	for (int i = 0; i < n; i++)
	{
		buf_word(&array_buf, values[i].len);
		appendBinaryStringInfo(&array_buf, (const char *) values[i].data, values[i].len);
	}
	add_bytes(p, array_buf.data, array_buf.len);
}

static void
add_header(const PaxosPeer *peer, Params *p)
{
	p->n = 0;
	p->bytes = MESSAGE_OVERHEAD_BYTES;
	add_bytes(p, &our_cluster, UUID_LEN);
	add_int4(p, paxos_version_with(peer->node));
	add_int4(p, our_node);
}

/* NULL if the connection was cut instead. */
static PaxosPending *
send_call(PaxosPeer *peer, MessageKind kind, const Params *p, px_usec now)
{
	const Statement *s = &statements[kind];
	PaxosPending *m;

	Assert(p->n == s->n_params);
	if (peer->state != PAXOS_PEER_UP && kind != MESSAGE_GREET)
		return NULL;
	if (peer->n_pending >= MAX_PENDING)
	{
		paxos_peer_cut(peer, "too many messages without an answer", now);
		return NULL;
	}
	if (!(s->name[0] != '\0'
			  ? PQsendQueryPrepared(peer->conn, s->name, p->n, p->values, p->lengths, p->formats, 1)
			  : PQsendQueryParams(peer->conn, s->sql, p->n, s->types, p->values, p->lengths,
								  p->formats, 1)) ||
		!PQpipelineSync(peer->conn))
	{
		paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
		return NULL;
	}
	m = pending_add(peer, kind, p->bytes);
	if (!push(peer, now))
		return NULL;
	if (Min(peer->unsent_bytes, peer->pending_bytes) > (uint64) paxos_max_unsent_kb * 1024)
	{
		paxos_peer_cut(peer, "too far behind: more than paxos.max_unsent is waiting to be sent",
					   now);
		return NULL;
	}
	return m;
}

/*
 * Say who we are and what we remember of whom we greet; the answer brings the
 * peer UP (paxos_memory.c).
 */
static void
send_greeting(PaxosPeer *peer, px_usec now)
{
	Params p;
	PaxosMemory memory;

	paxos_memory_get(peer->node, &memory);
	add_header(peer, &p);
	add_int8(&p, our_incarnation);
	add_int8(&p, paxos_shared->instance);
	add_int8(&p, memory.incarnation);
	add_int8(&p, memory.promised);
	add_int8(&p, memory.accepted);
	add_int4(&p, peer->node);
	add_int4(&p, paxos_protocol_max);
	(void) send_call(peer, MESSAGE_GREET, &p, now);
}

/*
 * Say where this node is to be found: who was away for long may know nobody who is still
 * there (paxos_address.c).  Not prepared: once for each connection, and an older build
 * does not have it.
 */
static void
send_introduction(PaxosPeer *peer, px_usec now)
{
	Params p;

	if (peer->node == our_node || peer->forwarding || our_address[0] == '\0' ||
		paxos_version_with(peer->node) < PAXOS_VERSION_INTRODUCE)
		return;
	add_header(peer, &p);
	add_bytes(&p, our_address, (int) strlen(our_address));
	(void) send_call(peer, MESSAGE_INTRODUCE, &p, now);
}

void
paxos_peer_send_prevote(PaxosPeer *peer, const px_prevote *m, px_usec now)
{
	Params p;

	add_header(peer, &p);
	add_int8(&p, m->chosen);
	(void) send_call(peer, MESSAGE_PREVOTE, &p, now);
}

void
paxos_peer_send_prepare(PaxosPeer *peer, const px_prepare *m, px_usec now)
{
	Params p;
	PaxosPending *sent;

	add_header(peer, &p);
	add_int8(&p, m->ballot);
	add_int8(&p, m->stream);
	add_int8(&p, m->w);
	add_int8(&p, m->handover);
	sent = send_call(peer, MESSAGE_PREPARE, &p, now);
	if (sent == NULL)
		return;
	sent->ballot = m->ballot;
	sent->stream = m->stream;
	sent->w = m->w;
}

void
paxos_peer_send_accept(PaxosPeer *peer, const px_accept *m, px_usec now)
{
	Params p;
	PaxosPending *sent;

	if (peer->state != PAXOS_PEER_UP)
		return; /* spare the encoding */
	add_header(peer, &p);
	add_int8(&p, m->ballot);
	add_int8(&p, m->stream);
	add_int8(&p, m->first);
	add_bytea_array(&p, m->values, m->n_values);
	add_int8(&p, m->chosen);
	add_int8(&p, m->sent_at);
	add_int8(&p, m->lease_us);
	add_bool(&p, m->lease_readable);
	add_int8(&p, m->truncatable);
	add_int8(&p, m->read.incarnation);
	add_int8(&p, m->read.seq);
	add_int8(&p, m->read.index);
	sent = send_call(peer, MESSAGE_ACCEPT, &p, now);
	if (sent == NULL)
		return;
	sent->ballot = m->ballot;
	sent->stream = m->stream;
	sent->sent_at = m->sent_at;
	sent->lease_us = m->lease_us;
	sent->lease_readable = m->lease_readable;
}

void
paxos_peer_send_handover(PaxosPeer *peer, const px_handover *m, px_usec now)
{
	Params p;

	add_header(peer, &p);
	add_int8(&p, m->ballot);
	(void) send_call(peer, MESSAGE_HANDOVER, &p, now);
}

void
paxos_peer_send_digests(PaxosPeer *peer, px_usec now)
{
	static uint64 digests[PAXOS_DIGESTS];
	px_slot first;
	int n;
	Params p;

	if (peer->comparing || peer->state != PAXOS_PEER_UP ||
		paxos_divergence_newest() <= peer->divergence.agreed)
		return;

	/* One that differs is compared at the newest slots: it may have been repaired. */
	n = paxos_divergence_recent(peer->divergence.differs == 0 ? peer->divergence.agreed : 0, &first,
								digests);
	if (n == 0)
		return;
	add_header(peer, &p);
	add_int8(&p, first);
	resetStringInfo(&array_buf);
	buf_word(&array_buf, 1);
	buf_word(&array_buf, 0);
	buf_word(&array_buf, INT8OID);
	buf_word(&array_buf, n);
	buf_word(&array_buf, 1);
	for (int i = 0; i < n; i++)
	{
		uint64 v = pg_hton64(digests[i]);

		buf_word(&array_buf, 8);
		appendBinaryStringInfo(&array_buf, (const char *) &v, 8);
	}
	add_bytes(&p, array_buf.data, array_buf.len);
	peer->comparing = send_call(peer, MESSAGE_DIGESTS, &p, now) != NULL;
}

/* Keep a message until the connection is up. */
static void
park(PaxosPeer *peer, const Params *p)
{
	PaxosParked *parked;
	PaxosParked **at;
	Size len = 0;
	char *to;

	if (peer->parked_bytes + p->bytes > (uint64) paxos_max_unsent_kb * 1024)
		return; /* lost, as on a broken connection: sent again later */
	for (int i = 0; i < p->n; i++)
		len += p->lengths[i];
	parked =
		MemoryContextAllocHuge(GetMemoryChunkContext(peer), offsetof(PaxosParked, bytes) + len);
	parked->next = NULL;
	parked->n = p->n;
	to = parked->bytes;
	for (int i = 0; i < p->n; i++)
	{
		parked->lengths[i] = p->lengths[i];
		memcpy(to, p->values[i], p->lengths[i]);
		to += p->lengths[i];
	}
	for (at = &peer->parked; *at != NULL; at = &(*at)->next)
		;
	*at = parked;
	peer->parked_bytes += p->bytes;
}

static void
send_parked(PaxosPeer *peer, px_usec now)
{
	while (peer->parked != NULL && peer->state == PAXOS_PEER_UP)
	{
		PaxosParked *parked = peer->parked;
		Params p;
		const char *from = parked->bytes;

		peer->parked = parked->next;
		p.n = 0;
		p.bytes = MESSAGE_OVERHEAD_BYTES;
		for (int i = 0; i < parked->n; i++)
		{
			add_bytes(&p, from, parked->lengths[i]);
			from += parked->lengths[i];
		}
		(void) send_call(peer, MESSAGE_FORWARD, &p, now);
		pfree(parked);
	}
	peer->parked_bytes = 0;
}

void
paxos_peer_send_forward(PaxosPeer *peer, const px_forward *m, px_usec now)
{
	Params p;

	Assert(peer->forwarding);
	add_header(peer, &p);
	add_int8(&p, m->incarnation);
	add_bool(&p, m->resend);
	add_bytea_array(&p, m->batches, m->n_batches);
	add_int8(&p, m->read_seq);
	if (peer->state != PAXOS_PEER_UP)
		park(peer, &p);
	else
	{
		PaxosPending *sent = send_call(peer, MESSAGE_FORWARD, &p, now);

		if (sent != NULL && m->n_batches > 0)
		{
			sent->commands = true;
			peer->n_commands_pending++;
		}
	}
}

bool
paxos_peer_handing_over(const PaxosPeer *peer)
{
	for (int i = 0; i < peer->n_pending; i++)
	{
		if (peer->pending[(peer->pending_first + i) % MAX_PENDING].kind == MESSAGE_HANDOVER)
			return true;
	}
	return false;
}

/* ---- reading answers ---- */

static uint64
get_int8(const PGresult *res, int column)
{
	uint64 v;

	if (PQgetisnull(res, 0, column))
		return 0;
	memcpy(&v, PQgetvalue(res, 0, column), 8);
	return pg_ntoh64(v);
}

static uint32
get_int4(const PGresult *res, int column)
{
	uint32 v;

	if (PQgetisnull(res, 0, column))
		return 0;
	memcpy(&v, PQgetvalue(res, 0, column), 4);
	return pg_ntoh32(v);
}

/* One row of the columns the statement promises, in binary? */
static bool
row_valid(const PGresult *res, const Statement *s)
{
	if (PQntuples(res) != 1 || PQnfields(res) != s->n_columns)
		return false;
	for (int i = 0; i < s->n_columns; i++)
	{
		int len = PQgetlength(res, 0, i);

		if (PQftype(res, i) != s->columns[i] || PQfformat(res, i) != 1)
			return false;
		if (PQgetisnull(res, 0, i))
			continue;
		if ((s->columns[i] == INT4OID && len != 4) || (s->columns[i] == INT8OID && len != 8) ||
			(s->columns[i] == BOOLOID && len != 1))
			return false;
	}
	return true;
}

/* An array as array_send() wrote it, read element by element. */
typedef struct ArrayReader
{
	const char *at;
	const char *end;
	uint32 n;
} ArrayReader;

static bool
read_word(ArrayReader *r, uint32 *v)
{
	if (r->end - r->at < 4)
		return false;
	memcpy(v, r->at, 4);
	*v = pg_ntoh32(*v);
	r->at += 4;
	return true;
}

/* NULL counts as empty. */
static bool
array_open(ArrayReader *r, const PGresult *res, int column, Oid element)
{
	uint32 dimensions;
	uint32 flags;
	uint32 type;
	uint32 lower_bound;

	r->n = 0;
	r->at = r->end = NULL;
	if (PQgetisnull(res, 0, column))
		return true;
	r->at = PQgetvalue(res, 0, column);
	r->end = r->at + PQgetlength(res, 0, column);
	if (!read_word(r, &dimensions) || !read_word(r, &flags) || !read_word(r, &type) ||
		dimensions > 1 || flags != 0 || type != element)
		return false;
	return dimensions == 0 || (read_word(r, &r->n) && read_word(r, &lower_bound));
}

static bool
array_next(ArrayReader *r, const char **data, uint32 *len)
{
	if (!read_word(r, len) || *len > (uint32) (r->end - r->at))
		return false;
	*data = r->at;
	r->at += *len;
	return true;
}

static bool
array_next_int8(ArrayReader *r, uint64 *v)
{
	const char *data;
	uint32 len;

	if (!array_next(r, &data, &len) || len != 8)
		return false;
	memcpy(v, data, 8);
	*v = pg_ntoh64(*v);
	return true;
}

static bool
decode_promise(PaxosPeer *peer, const PGresult *res, const PaxosPending *sent, px_promise *m)
{
	ArrayReader slots;
	ArrayReader ballots;
	ArrayReader chosens;
	ArrayReader vals;

	m->refusal = get_int4(res, 0);
	m->ballot = sent->ballot;
	m->stream = sent->stream;
	m->w = sent->w;
	m->promised = get_int8(res, 1);
	m->chosen = get_int8(res, 2);
	m->truncated = get_int8(res, 3);
	m->last = get_int8(res, 4);
	m->config = get_int8(res, 9);
	if (!array_open(&slots, res, 5, INT8OID) || !array_open(&ballots, res, 6, INT8OID) ||
		!array_open(&chosens, res, 7, BOOLOID) || !array_open(&vals, res, 8, BYTEAOID) ||
		slots.n > PX_MAX_WINDOW || ballots.n != slots.n || chosens.n != slots.n ||
		vals.n != slots.n)
		return false;

	peer->entries =
		MemoryContextAlloc(GetMemoryChunkContext(peer), sizeof(px_entry) * Max(slots.n, 1));
	m->entries = peer->entries;
	m->n_entries = slots.n;
	for (uint32 i = 0; i < slots.n; i++)
	{
		px_entry *e = &peer->entries[i];
		const char *chosen;
		const char *value;
		uint32 chosen_len;

		if (!array_next_int8(&slots, &e->slot) || !array_next_int8(&ballots, &e->ballot) ||
			!array_next(&chosens, &chosen, &chosen_len) || chosen_len != 1 ||
			!array_next(&vals, &value, &e->value.len))
			return false;
		e->chosen = *chosen != 0;
		e->value.data = (const uint8_t *) value;
	}
	return true;
}

static bool
decode(PaxosPeer *peer, const PGresult *res, const PaxosPending *sent, PaxosPeerEvent *event)
{
	if (res == NULL || !row_valid(res, &statements[sent->kind]))
		return false;

	switch (sent->kind)
	{
		case MESSAGE_PREVOTE:
			event->kind = PAXOS_PEER_EV_PREVOTE_REPLY;
			event->u.prevote_reply.refusal = get_int4(res, 0);
			event->u.prevote_reply.promised = get_int8(res, 1);
			event->u.prevote_reply.chosen = get_int8(res, 2);
			event->u.prevote_reply.truncated = get_int8(res, 3);
			event->u.prevote_reply.config = get_int8(res, 4);
			return !PQgetisnull(res, 0, 0) &&
				   event->u.prevote_reply.refusal <= PX_REFUSED_NOT_VOTING;
		case MESSAGE_PREPARE:
			event->kind = PAXOS_PEER_EV_PROMISE;
			return !PQgetisnull(res, 0, 0) && decode_promise(peer, res, sent, &event->u.promise) &&
				   event->u.promise.refusal <= PX_REFUSED_NOT_VOTING;
		case MESSAGE_ACCEPT:
			event->kind = PAXOS_PEER_EV_ACCEPTED;
			event->u.accepted.refusal = get_int4(res, 0);
			event->u.accepted.ballot = sent->ballot;
			event->u.accepted.stream = sent->stream;
			event->u.accepted.promised = get_int8(res, 1);
			event->u.accepted.first = get_int8(res, 2);
			event->u.accepted.next = get_int8(res, 3);
			event->u.accepted.applied = get_int8(res, 4);
			event->u.accepted.durable = get_int8(res, 5);
			event->u.accepted.truncated = get_int8(res, 6);
			event->u.accepted.config = get_int8(res, 7);
			event->u.accepted.sent_at = sent->sent_at;
			event->u.accepted.lease_us = sent->lease_us;
			event->u.accepted.lease_readable = sent->lease_readable;
			return !PQgetisnull(res, 0, 0) && event->u.accepted.refusal <= PX_REFUSED_NOT_VOTING;
		case MESSAGE_HANDOVER:
			event->kind = PAXOS_PEER_EV_HANDOVER_REPLY;
			event->u.handover_taken = !PQgetisnull(res, 0, 0) && *PQgetvalue(res, 0, 0) != 0;
			return true;
		case MESSAGE_FORWARD:
			event->kind = PAXOS_PEER_EV_FORWARD_REPLY;
			event->u.forward_reply.leads = !PQgetisnull(res, 0, 0) && *PQgetvalue(res, 0, 0) != 0;
			return true;
		case MESSAGE_DIGESTS:
			peer->comparing = false;
			event->kind = PAXOS_PEER_EV_COMPARED;
			event->u.compared.compared = get_int4(res, 0);
			event->u.compared.agreed = get_int8(res, 1);
			event->u.compared.differs = get_int8(res, 2);
			return !PQgetisnull(res, 0, 0);
		case MESSAGE_STATEMENTS:
		case MESSAGE_GREET:
		case MESSAGE_INTRODUCE:
			break;
	}
	return false;
}

/*
 * The answer to the greeting.  False: there is no working together, the connection
 * was cut; or this node has learnt that it is not fit to, and its life ends.
 */
static bool
hear_welcome(PaxosPeer *peer, px_usec now)
{
	PGresult *res = peer->answer;
	px_welcome welcome;
	uint64 incarnation;
	px_ballot promised;
	px_slot accepted;
	int version;

	peer->answer = NULL;
	if (res == NULL || !row_valid(res, &statements[MESSAGE_GREET]) || PQgetisnull(res, 0, 0))
	{
		PQclear(res);
		paxos_peer_cut(peer, "malformed answer", now);
		return false;
	}
	welcome = get_int4(res, 0);
	incarnation = get_int8(res, 1);
	promised = get_int8(res, 2);
	accepted = get_int8(res, 3);
	version = (int) get_int4(res, 4);
	PQclear(res);

	if (peer->node != our_node)
		paxos_memory_note_version(peer->node, version);
	if (peer->node != our_node &&
		!paxos_memory_compare(peer->node, incarnation, promised, accepted))
	{
		paxos_peer_cut(peer, "it remembers more of this node than this node itself", now);
		return false;
	}
	switch (welcome)
	{
		case PX_WELCOME:
			return true;
		case PX_WELCOME_OLDER:
			/* a former proposer of this server, on its way out */
			paxos_peer_cut(peer, "it has heard this node in a later life", now);
			return false;
		case PX_WELCOME_TWIN:
			break;
	}
	if (peer->node == our_node)
		paxos_identity_twin(
			"this node's address leads to another server that says it is this node");
	else
		paxos_memory_twin(peer->node, our_incarnation);
	paxos_peer_cut(peer, "another server says it is this node", now);
	return false;
}

/* The oldest message has been answered up to its Sync. */
static bool
complete_oldest(PaxosPeer *peer, PaxosPeerEvent *event, px_usec now)
{
	PaxosPending sent = peer->pending[peer->pending_first];

	peer->pending_first = (peer->pending_first + 1) % MAX_PENDING;
	peer->n_pending--;
	peer->pending_bytes -= sent.bytes;
	if (sent.commands)
		peer->n_commands_pending--;
	peer->answered_at = now;

	if (sent.kind == MESSAGE_STATEMENTS)
	{
		send_greeting(peer, now);
		return false;
	}
	if (sent.kind == MESSAGE_GREET)
	{
		if (!hear_welcome(peer, now))
			return false;
		if (peer->error_count > 0 && !peer->forwarding)
			ereport(LOG, (errmsg("paxos: connection to node %u is up", peer->node)));
		peer->state = PAXOS_PEER_UP;
		peer->up_at = now;
		peer->last_error[0] = '\0';
		peer->told_up = true;
		event->kind = PAXOS_PEER_EV_UP;
		if (peer->forwarding)
			send_parked(peer, now);
		send_introduction(peer, now);
		return peer->state == PAXOS_PEER_UP;
	}
	if (sent.kind == MESSAGE_INTRODUCE)
	{
		PQclear(peer->answer);
		peer->answer = NULL;
		return false;
	}

	peer->lent = peer->answer;
	peer->answer = NULL;
	if (!decode(peer, peer->lent, &sent, event))
	{
		paxos_peer_cut(peer, "malformed answer", now);
		return false;
	}
	if (sent.kind == MESSAGE_ACCEPT && now > sent.sent_at)
		paxos_histogram_add(&paxos_shared->accept_us, now - sent.sent_at);
	return true;
}

bool
paxos_peer_next(PaxosPeer *peer, PaxosPeerEvent *event, px_usec now)
{
	int nothings = 0;

	drop_lent(peer);

	for (;;)
	{
		PGresult *res;

		if (peer->tell_down)
		{
			peer->tell_down = false;
			event->kind = PAXOS_PEER_EV_DOWN;
			return true;
		}
		if (peer->state < PAXOS_PEER_PREPARING || peer->n_pending == 0 || PQisBusy(peer->conn))
			return false;

		res = PQgetResult(peer->conn);
		if (res == NULL)
		{
			/*
			 * Between a statement's result and its Sync.  More than one in a
			 * row: the connection is broken, or libpq and we disagree on what
			 * is unanswered.
			 */
			if (PQstatus(peer->conn) != CONNECTION_OK || ++nothings > 1)
				paxos_peer_cut(peer, PQerrorMessage(peer->conn), now);
			continue;
		}
		nothings = 0;
		switch (PQresultStatus(res))
		{
			case PGRES_PIPELINE_SYNC:
				PQclear(res);
				if (complete_oldest(peer, event, now))
					return true;
				break;
			case PGRES_COMMAND_OK:
				/* a statement was prepared; nothing else answers so */
				PQclear(res);
				if (peer->state != PAXOS_PEER_PREPARING)
					paxos_peer_cut(peer, "answer without a row", now);
				break;
			case PGRES_TUPLES_OK:
				if (peer->answer != NULL || peer->state < PAXOS_PEER_PREPARING)
				{
					PQclear(res);
					paxos_peer_cut(peer, "more than one answer to a message", now);
				}
				else
					peer->answer = res;
				break;
			default:
			{
				const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
				bool sql_error = message != NULL;

				paxos_peer_cut(peer, sql_error ? message : PQresultErrorMessage(res), now);
				peer->sql_error = sql_error;
				PQclear(res);
				break;
			}
		}
	}
}

/* ---- the loop's side ---- */

px_usec
paxos_peer_tick(PaxosPeer *peer, px_usec now)
{
	if (peer->state == PAXOS_PEER_WAITING && now >= peer->retry_at)
		start_connecting(peer, now);
	if (peer->state == PAXOS_PEER_RESOLVING && now >= peer->resolve_at)
		poll_resolve(peer, now);
	if (peer->state > PAXOS_PEER_WAITING && peer->state < PAXOS_PEER_UP && now >= peer->deadline)
		paxos_peer_cut(peer,
					   peer->state == PAXOS_PEER_RESOLVING ? "looking up the host name timed out"
														   : "connecting timed out",
					   now);

	switch (peer->state)
	{
		case PAXOS_PEER_WAITING:
			return peer->retry_at;
		case PAXOS_PEER_RESOLVING:
			return Min(peer->resolve_at, peer->deadline);
		case PAXOS_PEER_CONNECTING:
		case PAXOS_PEER_PREPARING:
			return peer->deadline;
		case PAXOS_PEER_UP:
			break;
	}
	return 0;
}

void
paxos_peer_ready(PaxosPeer *peer, px_usec now)
{
	if (peer->state == PAXOS_PEER_CONNECTING)
	{
		poll_connection(peer, now);
		return;
	}
	if (peer->state < PAXOS_PEER_PREPARING)
		return;

	/*
	 * An end of file is noticed here; what arrived before it is complete and
	 * counts, and reading on to the end of it meets the failure in
	 * paxos_peer_next().  With nothing unanswered there is nothing to read on
	 * to.
	 */
	if (!PQconsumeInput(peer->conn))
	{
		if (peer->n_pending == 0)
		{
			char why[PAXOS_ERROR_TEXT];

			strlcpy(why,
					peer->last_error[0] != '\0' ? peer->last_error : PQerrorMessage(peer->conn),
					sizeof(why));
			peer->last_error[0] = '\0';
			paxos_peer_cut(peer, why, now);
		}
		return;
	}

	/* a notice with nothing unanswered is handled by looking whether it is busy */
	(void) PQisBusy(peer->conn);
	if (peer->unsent)
		(void) push(peer, now);
}

uint32
paxos_peer_interest(const PaxosPeer *peer, pgsocket *sock)
{
	*sock = PGINVALID_SOCKET;
	if (peer->conn == NULL)
		return 0;
	*sock = PQsocket(peer->conn);
	if (*sock == PGINVALID_SOCKET)
		return 0;
	if (peer->state == PAXOS_PEER_CONNECTING)
		return peer->poll == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE;
	return WL_SOCKET_READABLE | (peer->unsent ? WL_SOCKET_WRITEABLE : 0);
}
