/*
 * fuzz.c
 *	  The shared parts of fuzz.h.
 */
#include "fuzz.h"

/* what a peer's number may be at most; src/paxos_acceptor.c, paxos_arg_u64() */
#define LARGEST_ARGUMENT ((uint64_t) INT64_MAX / 4 * 3)

void
fuzz_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("fuzz: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	abort();
}

void
px_assert_failed(const char *fact, const char *file, int line)
{
	fuzz_fail("%s:%d: asserted: %s", file, line, fact);
}

uint8_t
fuzz_u8(fuzz_bytes *b)
{
	if (b->left == 0)
		return 0;
	b->left--;
	return *b->at++;
}

uint64_t
fuzz_u64(fuzz_bytes *b)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t) fuzz_u8(b) << (8 * i);
	return v;
}

uint64_t
fuzz_number(fuzz_bytes *b, uint64_t near)
{
	switch (fuzz_u8(b) % 12)
	{
		case 0:
		case 1:
		case 2:
			return near;
		case 3:
			return near + 1;
		case 4:
			return near - 1;
		case 5:
			return near + fuzz_u8(b);
		case 6:
			return near - fuzz_u8(b);
		case 7:
			return fuzz_u8(b);
		case 8:
			return UINT64_MAX - fuzz_u8(b);
		case 9:
			return (uint64_t) INT64_MAX - fuzz_u8(b);
		case 10:
			return near + ((uint64_t) fuzz_u8(b) << (fuzz_u8(b) & 63));
		default:
			return fuzz_u64(b);
	}
}

uint64_t
fuzz_argument(fuzz_bytes *b, uint64_t near)
{
	uint64_t v = fuzz_number(b, near);

	return v <= LARGEST_ARGUMENT ? v : LARGEST_ARGUMENT - v % 1000;
}

uint8_t *
fuzz_take(fuzz_bytes *b, size_t max, uint32_t *len)
{
	size_t n = b->left < max ? b->left : max;
	uint8_t *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL)
		abort();
	memcpy(copy, b->at, n);
	b->at += n;
	b->left -= n;
	*len = (uint32_t) n;
	return copy;
}

void
fuzz_checksum(uint8_t *value, uint32_t len)
{
	uint32_t crc = px_crc32c(px_crc32c(0, value, 4), value + 8, len - 8);

	for (int i = 0; i < 4; i++)
		value[4 + i] = (uint8_t) (crc >> (8 * i));
}

static px_bytes
exactly(px_bytes bytes)
{
	uint8_t *copy = malloc(bytes.len);

	if (copy == NULL)
		abort();
	memcpy(copy, bytes.data, bytes.len);
	bytes.data = copy;
	return bytes;
}

px_bytes
fuzz_batch(fuzz_bytes *b, uint32_t max, px_node origin, uint64_t incarnation, uint64_t sequence)
{
	static uint8_t buf[PX_MAX_BATCH_BYTES];
	static const uint8_t command[256];
	px_batch_writer w;
	uint8_t n = fuzz_u8(b) % 4;

	px_batch_begin(&w, buf, max, origin > 0 ? origin : 1, incarnation > 0 ? incarnation : 1,
				   sequence > 0 ? sequence : 1);
	for (int i = 0; i < n; i++)
		(void) px_batch_add(&w, i, i, command, fuzz_u8(b));
	return exactly(px_batch_end(&w));
}

px_bytes
fuzz_value(fuzz_bytes *b, uint32_t max)
{
	static uint8_t buf[PX_MAX_VALUE_BYTES];
	static const px_value_kind kinds[] = {PX_VALUE_NOOP, PX_VALUE_BATCHES, PX_VALUE_CONFIG};
	px_value_kind kind = kinds[fuzz_u8(b) % 3];
	uint8_t n = fuzz_u8(b) % 8;
	px_value_writer w;
	px_node node = 0;

	px_value_begin(&w, buf, max, kind, fuzz_number(b, 1000));
	for (int i = 0; i < n && kind != PX_VALUE_NOOP; i++)
	{
		if (kind == PX_VALUE_BATCHES)
		{
			px_bytes batch = fuzz_batch(b, 300, fuzz_u8(b), fuzz_u8(b), fuzz_u8(b));

			(void) px_value_add_batch(&w, batch);
			free((void *) batch.data);
		}
		else
		{
			uint8_t what = fuzz_u8(b);

			node = (px_node) (node + 1 + what % 3);
			(void) px_value_add_member(&w, node, (what & 0x80) == 0, "n", "host=h");
		}
	}
	if (kind == PX_VALUE_CONFIG)
		px_value_set_highest(&w, (px_node) fuzz_number(b, node));
	return exactly(px_value_end(&w));
}

void
fuzz_config(fuzz_bytes *b, px_config *config)
{
	px_node node = 0;

	memset(config, 0, sizeof(*config));
	config->slot = fuzz_argument(b, 10);
	config->n_members = fuzz_u8(b) % (PX_MAX_MEMBERS + 1);
	for (int i = 0; i < config->n_members; i++)
	{
		uint8_t what = fuzz_u8(b);

		node = (px_node) (node + (what == 0xff ? 0 : 1 + what % 3));
		config->members[i].node = node;
		config->members[i].voter = (what & 0x80) == 0;
	}
	config->highest = (px_node) fuzz_number(b, node);
}
