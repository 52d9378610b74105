/*
 * fuzz_answer.c
 *	  Fuzz target: answers of other nodes as src/paxos_peer.c reads them from a
 *	  result in binary: one row, and in a promise four arrays of it.
 *
 * paxos_peer.c is compiled into this file, to reach its static functions; what
 * it wants of libpq to read a result is here, each field in memory of its own,
 * so that the sanitizer sees every step beyond one; and nothing else of it is
 * called.  An answer that is taken is read to its last byte, and given to a
 * proposer's px_... functions by fuzz_proposer.c, not here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"

/* the peer is no chunk of a memory context here */
#undef GetMemoryChunkContext
#define GetMemoryChunkContext(peer) ((MemoryContext) NULL)

#include "../../src/paxos_peer.c"

#undef printf
#undef fprintf
#undef snprintf
#undef vsnprintf
#include "fuzz.h"
#include "fuzz_memory.h"

#define COLUMNS lengthof(statements[0].columns)

struct pg_result
{
	int rows;
	int columns;
	Oid type[COLUMNS];
	int format[COLUMNS];
	bool null[COLUMNS];
	char *value[COLUMNS];
	int len[COLUMNS];
};

int
PQntuples(const PGresult *res)
{
	return res->rows;
}

int
PQnfields(const PGresult *res)
{
	return res->columns;
}

Oid
PQftype(const PGresult *res, int column)
{
	FUZZ_CHECK(column >= 0 && column < res->columns);
	return res->type[column];
}

int
PQfformat(const PGresult *res, int column)
{
	FUZZ_CHECK(column >= 0 && column < res->columns);
	return res->format[column];
}

int
PQgetisnull(const PGresult *res, int row, int column)
{
	FUZZ_CHECK(row == 0 && res->rows > 0 && column >= 0 && column < res->columns);
	return res->null[column];
}

int
PQgetlength(const PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? 0 : res->len[column];
}

char *
PQgetvalue(const PGresult *res, int row, int column)
{
	static char none[1];

	return PQgetisnull(res, row, column) ? none : res->value[column];
}

void *
MemoryContextAlloc(MemoryContext context, Size size)
{
	return fuzz_malloc(size);
}

/* ---- a result as its bytes say ---- */

static char *out;
static size_t out_len;

static void
put(uint64 v, int bytes)
{
	while (bytes-- > 0)
	{
		if (out_len < 4096)
			out[out_len++] = (char) (v >> (8 * bytes));
	}
}

/* An array as array_send() would write it, or almost. */
static void
put_array(fuzz_bytes *b, Oid element, uint8_t n)
{
	uint8_t wild = fuzz_u8(b);

	put((wild & 1) != 0 ? fuzz_u64(b) : n > 0, 4);
	put((wild & 2) != 0 ? fuzz_u8(b) : 0, 4);
	put((wild & 4) != 0 ? fuzz_u64(b) : element, 4);
	if (n == 0 && (wild & 8) == 0)
		return;
	put((wild & 0x10) != 0 ? fuzz_u64(b) : n, 4);
	put(1, 4);
	for (int i = 0; i < n; i++)
	{
		uint32 len = element == INT8OID ? 8 : element == BOOLOID ? 1 : fuzz_u8(b) % 40;

		put((wild & 0x20) != 0 ? fuzz_number(b, len) : len, 4);
		for (uint32 j = 0; j < len; j++)
			put(fuzz_u8(b), 1);
	}
	if ((wild & 0x40) != 0)
		out_len -= px_min64(out_len, fuzz_u8(b));
}

static void
build(fuzz_bytes *b, const Statement *s, struct pg_result *res)
{
	uint8_t shape = fuzz_u8(b);
	uint8_t n = fuzz_u8(b) % 80;

	memset(res, 0, sizeof(*res));
	res->rows = shape == 0xff ? 0 : shape == 0xfe ? 2 : 1;
	res->columns = shape == 0xfd ? fuzz_u8(b) % (COLUMNS + 1) : s->n_columns;
	for (int i = 0; i < res->columns; i++)
	{
		uint8_t how = fuzz_u8(b);

		res->type[i] = how == 0xff ? fuzz_u8(b) : s->columns[i];
		res->format[i] = how == 0xfe ? 0 : 1;
		res->null[i] = how == 0xfd;
		out_len = 0;
		out = fuzz_malloc(4096);
		if (how == 0xfc)
			for (uint8_t j = fuzz_u8(b); j > 0; j--)
				put(fuzz_u8(b), 1);
		else
			switch (s->columns[i])
			{
				case INT4OID:
					put(fuzz_number(b, 0), 4);
					break;
				case INT8OID:
					put(fuzz_number(b, 5), 8);
					break;
				case BOOLOID:
					put(fuzz_u8(b), 1);
					break;
				case INT8ARRAYOID:
					put_array(b, INT8OID, n);
					break;
				case BOOLARRAYOID:
					put_array(b, BOOLOID, n);
					break;
				case BYTEAARRAYOID:
					put_array(b, BYTEAOID, n);
					break;
			}
		res->value[i] = fuzz_malloc(out_len);
		memcpy(res->value[i], out, out_len);
		res->len[i] = (int) out_len;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_bytes b = {data, size};
	PaxosPending sent;
	PaxosPeer peer;
	PaxosPeerEvent event;
	struct pg_result res;

	memset(&peer, 0, sizeof(peer));
	memset(&sent, 0, sizeof(sent));
	memset(&event, 0, sizeof(event));
	sent.kind = MESSAGE_GREET + fuzz_u8(&b) % (MESSAGE_FORWARD - MESSAGE_GREET + 1);
	sent.ballot = 1 << 16 | 1;
	sent.stream = 3;
	sent.w = 5;
	build(&b, &statements[sent.kind], &res);
	if (decode(&peer, &res, &sent, &event))
	{
		FUZZ_CHECK(res.rows == 1 && res.columns == statements[sent.kind].n_columns);
		if (event.kind == PAXOS_PEER_EV_PROMISE)
		{
			const px_promise *m = &event.u.promise;
			uint32_t crc = 0;

			FUZZ_CHECK(m->n_entries <= PX_MAX_WINDOW && m->w == 5 && m->stream == 3);
			FUZZ_CHECK(strcmp(px_refusal_name(m->refusal), "unknown") != 0);
			for (int i = 0; i < m->n_entries; i++)
			{
				const px_bytes *value = &m->entries[i].value;

				crc = px_crc32c(crc, value->data, value->len);
				FUZZ_CHECK((const char *) value->data >= res.value[8] &&
						   (const char *) value->data + value->len <= res.value[8] + res.len[8]);
			}
		}
		else if (event.kind == PAXOS_PEER_EV_ACCEPTED)
			FUZZ_CHECK(strcmp(px_refusal_name(event.u.accepted.refusal), "unknown") != 0);
	}
	fuzz_memory_free();
	return 0;
}
