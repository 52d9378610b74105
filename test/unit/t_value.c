/*
 * t_value.c
 *	  Encoding of values and batches: round trips, and that nothing damaged is
 *	  taken for whole.
 */
#include <stdlib.h>

#include "unit.h"

static uint8_t buf[8192];
static uint8_t batch_buf[4][1024];

static px_bytes
make_batch(int i, px_node origin, uint64_t incarnation, uint64_t sequence, int n_commands,
		   uint32_t bytes)
{
	px_batch_writer w;
	uint8_t command[512];

	px_batch_begin(&w, batch_buf[i], sizeof(batch_buf[i]), origin, incarnation, sequence);
	for (int c = 0; c < n_commands; c++)
	{
		memset(command, 'a' + c, sizeof(command));
		if (!px_batch_add(&w, (uint32_t) (c + 10), (uint64_t) c + 100, command, bytes))
			die("a command does not fit");
	}
	return px_batch_end(&w);
}

static px_bytes
make_value(void)
{
	px_value_writer w;

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_BATCHES, 123456789);
	if (!px_value_add_batch(&w, make_batch(0, 3, 7, 9, 3, 20)) ||
		!px_value_add_batch(&w, make_batch(1, 65535, UINT64_C(1) << 40, 1, 0, 0)) ||
		!px_value_add_batch(&w, make_batch(2, 1, 2, 3, 2, 0)))
		die("a batch does not fit");
	return px_value_end(&w);
}

static px_bytes
make_config(void)
{
	px_value_writer w;

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 55);
	if (!px_value_add_member(&w, 1, true, "alpha", "host=a port=1") ||
		!px_value_add_member(&w, 2, true, "", "") ||
		!px_value_add_member(&w, 300, false, "gamma", "host=c") ||
		!px_value_add_joiner(&w, 301, "delta", "host=d"))
		die("a member does not fit");
	return px_value_end(&w);
}

static void
test_checksum(void)
{
	uint32_t whole = px_crc32c(0, "123456789", 9);
	uint8_t bytes[70];
	bool agree = true;

	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t) (i * 131 + i / 7);

	is(whole, 0xE3069283, "crc32c of the standard check string");
	is(px_crc32c(px_crc32c(0, "1234", 4), "56789", 5), whole, "crc32c chains");
	is(px_crc32c(0, "", 0), 0, "crc32c of nothing");

	for (uint32_t from = 0; from < 4; from++)
	{
		for (uint32_t len = 0; len < sizeof(bytes) - from; len++)
		{
			uint32_t crc = ~UINT32_C(0);

			for (uint32_t i = 0; i < len; i++)
			{
				crc ^= bytes[from + i];
				for (int bit = 0; bit < 8; bit++)
					crc = (crc & 1) != 0 ? crc >> 1 ^ UINT32_C(0x82F63B78) : crc >> 1;
			}
			agree = agree && px_crc32c(0, bytes + from, len) == ~crc;
		}
	}
	ok(agree, "crc32c of any length at any place, as bit by bit");
}

static void
test_round_trip(void)
{
	px_bytes value = make_value();
	px_value_view v;
	px_batch_view b;
	px_command_view c;
	uint32_t pos = 0;
	uint32_t at = 0;
	int n = 0;

	ok(px_value_open(value, &v), "a value opens");
	is(v.kind, PX_VALUE_BATCHES, "its kind");
	is(v.log_time_us, 123456789, "its stamp");
	is(v.count, 3, "its batches");
	ok(px_value_next_batch(&v, &pos, &b), "first batch");
	ok(b.origin == 3 && b.incarnation == 7 && b.sequence == 9 && b.n_commands == 3, "its header");
	while (px_batch_next_command(&b, &at, &c))
	{
		ok(c.cell == (uint32_t) (n + 10) && c.generation == (uint64_t) n + 100 &&
			   c.bytes.len == 20 && c.bytes.data[19] == 'a' + n,
		   "command %d", n);
		n++;
	}
	is(n, 3, "as many commands as were added");
	ok(px_batch_open(b.whole, &b), "the whole part opens by itself");
	ok(px_value_next_batch(&v, &pos, &b), "second batch");
	ok(b.origin == 65535 && b.incarnation == UINT64_C(1) << 40 && b.n_commands == 0,
	   "an empty one");
	at = 0;
	ok(!px_batch_next_command(&b, &at, &c), "without a command");
	ok(px_value_next_batch(&v, &pos, &b), "third batch");
	ok(!px_value_next_batch(&v, &pos, &b), "and no fourth");
}

static void
test_config(void)
{
	px_value_view v;
	px_member_view m;
	px_config c;
	uint32_t pos = 0;
	px_value_writer w;
	char name[PX_MAX_NAME + 1];
	char conninfo[PX_MAX_CONNINFO + 1];

	ok(px_value_open(make_config(), &v), "a configuration opens");
	ok(px_value_config(&v, 17, &c), "and gives a configuration");
	ok(c.slot == 17 && c.n_members == 4 && c.members[2].node == 300 && !c.members[2].voter &&
		   c.members[3].node == 301 && !c.members[3].voter,
	   "with its members");
	ok(px_value_next_member(&v, &pos, &m) && strcmp(m.name, "alpha") == 0 &&
		   strcmp(m.conninfo, "host=a port=1") == 0 && m.voter,
	   "first member");
	ok(px_value_next_member(&v, &pos, &m) && px_value_next_member(&v, &pos, &m) &&
		   strcmp(m.name, "gamma") == 0 && !m.voter && !m.joining,
	   "third member");
	ok(px_value_next_member(&v, &pos, &m) && strcmp(m.name, "delta") == 0 && !m.voter && m.joining,
	   "fourth member, joining");
	ok(!px_value_next_member(&v, &pos, &m), "and no fifth");

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 0);
	memset(name, 'x', sizeof(name));
	memset(conninfo, 'y', sizeof(conninfo));
	name[PX_MAX_NAME] = '\0';
	conninfo[PX_MAX_CONNINFO] = '\0';
	ok(!px_value_add_member(&w, 1, true, name, ""), "a name too long is not added");
	ok(!px_value_add_member(&w, 1, true, "", conninfo), "a conninfo too long is not added");
	name[PX_MAX_NAME - 1] = '\0';
	conninfo[PX_MAX_CONNINFO - 1] = '\0';
	ok(px_value_add_member(&w, 1, true, name, conninfo), "the longest are");
	ok(px_value_open(px_value_end(&w), &v), "and they open");

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 0);
	ok(!px_value_open(px_value_end(&w), &v), "a configuration of nobody is refused");
	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_CONFIG, 0);
	px_value_add_member(&w, 2, true, "", "");
	px_value_add_member(&w, 1, true, "", "");
	ok(!px_value_open(px_value_end(&w), &v), "members out of order are refused");
}

/* Every prefix, and every single flipped bit. */
static void
damage(const char *name, px_bytes good)
{
	uint8_t *copy = malloc(good.len);
	px_value_view v;
	int cut_taken = 0;
	int flip_taken = 0;

	if (copy == NULL)
		die("out of memory");
	for (uint32_t len = 0; len < good.len; len++)
	{
		/* a copy of that length: the sanitizer sees any read beyond it */
		uint8_t *prefix = malloc(len > 0 ? len : 1);

		if (prefix == NULL)
			die("out of memory");
		memcpy(prefix, good.data, len);
		if (px_value_open(bytes_of(prefix, len), &v))
			cut_taken++;
		free(prefix);
	}
	is(cut_taken, 0, "%s: every truncation is refused", name);
	for (uint32_t bit = 0; bit < good.len * 8; bit++)
	{
		memcpy(copy, good.data, good.len);
		copy[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (px_value_open(bytes_of(copy, good.len), &v))
			flip_taken++;
	}
	is(flip_taken, 0, "%s: every flipped bit is refused", name);
	free(copy);
}

/*
 * A batch by itself has no checksum; flipped bits may give another batch, but
 * never one that reads outside its bytes.
 */
static void
test_batch_damage(void)
{
	px_bytes good = make_batch(3, 3, 7, 9, 3, 20);
	int cut_taken = 0;
	uint64_t sum = 0;
	px_batch_view b;
	px_command_view c;

	for (uint32_t len = 0; len < good.len; len++)
	{
		uint8_t *prefix = malloc(len > 0 ? len : 1);

		if (prefix == NULL)
			die("out of memory");
		memcpy(prefix, good.data, len);
		if (px_batch_open(bytes_of(prefix, len), &b))
			cut_taken++;
		free(prefix);
	}
	is(cut_taken, 0, "batch: every truncation is refused");
	for (uint32_t bit = 0; bit < good.len * 8; bit++)
	{
		uint8_t *copy = malloc(good.len);
		uint32_t pos = 0;

		if (copy == NULL)
			die("out of memory");
		memcpy(copy, good.data, good.len);
		copy[bit / 8] ^= (uint8_t) (1 << bit % 8);
		if (px_batch_open(bytes_of(copy, good.len), &b))
		{
			while (px_batch_next_command(&b, &pos, &c))
			{
				for (uint32_t i = 0; i < c.bytes.len; i++)
					sum += c.bytes.data[i];
			}
			if (pos != b.commands.len)
				die("commands do not end where the batch does");
		}
		free(copy);
	}
	ok(sum > 0, "batch: flipped bits read nothing outside");
}

/* Random bytes behind a true checksum: the inner checks stand by themselves. */
static void
test_fuzz(void)
{
	uint64_t seed = 42;
	int opened = 0;
	px_value_view v;
	px_batch_view b;
	px_command_view c;

	for (int round = 0; round < 200000; round++)
	{
		px_bytes base = round % 2 == 0 ? make_value() : make_config();
		uint8_t *copy = malloc(base.len);
		uint32_t crc;
		uint32_t pos = 0;

		if (copy == NULL)
			die("out of memory");
		memcpy(copy, base.data, base.len);
		for (int i = 0; i < 3; i++)
			copy[px_random(&seed) % base.len] =
				(uint8_t) (px_random(&seed) % 4 * 64 + px_random(&seed) % 4);
		crc = px_crc32c(px_crc32c(0, copy, 4), copy + 8, base.len - 8);
		for (int i = 0; i < 4; i++)
			copy[4 + i] = (uint8_t) (crc >> (8 * i));
		if (px_value_open(bytes_of(copy, base.len), &v))
		{
			px_member_view m;

			opened++;
			while (px_value_next_batch(&v, &pos, &b))
			{
				uint32_t at = 0;

				while (px_batch_next_command(&b, &at, &c))
					seed ^= c.bytes.len > 0 ? c.bytes.data[c.bytes.len - 1] : 0;
			}
			while (px_value_next_member(&v, &pos, &m))
				seed ^= (uint64_t) m.node;
		}
		free(copy);
	}
	ok(opened > 1000, "values with damaged parts: %d opened, nothing read outside", opened);
}

/* A write set is decided, and committed by its session, as a slot of its own. */
static void
test_alone(void)
{
	px_batch_writer bw;
	px_batch_view b;
	px_value_writer w;
	px_value_view v;
	px_bytes first = make_batch(0, 3, 7, 9, 1, 20);
	px_bytes batch;
	px_bytes value;

	px_batch_begin(&bw, batch_buf[1], sizeof(batch_buf[1]), 2, 1, 1);
	px_batch_alone(&bw);
	px_batch_add(&bw, 1, 1, "set", 3);
	batch = px_batch_end(&bw);
	ok(px_batch_open(batch, &b) && b.alone && b.n_commands == 1, "a batch says it is alone");
	ok(px_batch_open(first, &b) && !b.alone, "the others do not");

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_BATCHES, 1);
	ok(px_value_add_batch(&w, first) && !px_value_add_batch(&w, batch),
	   "it does not go behind another");
	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_BATCHES, 1);
	ok(px_value_add_batch(&w, batch) && !px_value_add_batch(&w, first), "nor another behind it");
	value = px_value_end(&w);
	ok(px_value_open(value, &v) && v.count == 1, "by itself it makes a value");

	/* what no leader makes: a batch without a mark that gets one afterwards */
	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_BATCHES, 1);
	px_value_add_batch(&w, make_batch(0, 3, 7, 9, 1, 20));
	px_value_add_batch(&w, make_batch(1, 2, 1, 1, 1, 3));
	buf[PX_VALUE_HEADER_BYTES + 7] |= 0x80;
	value = px_value_end(&w);
	ok(!px_value_open(value, &v), "with another it does not open");
}

static void
test_limits(void)
{
	px_batch_writer w;
	px_batch_view b;
	uint8_t small[PX_BATCH_HEADER_BYTES + PX_COMMAND_HEADER_BYTES + 4];
	uint8_t *large = malloc(PX_MAX_BATCH_BYTES);
	uint8_t *command = calloc(1, PX_MAX_COMMAND_BYTES + 1);
	px_bytes whole;
	int n = 0;

	if (large == NULL || command == NULL)
		die("out of memory");
	px_batch_begin(&w, small, sizeof(small), 1, 1, 1);
	ok(!px_batch_add(&w, 0, 0, "12345", 5), "a command larger than the room is not added");
	ok(px_batch_add(&w, 0, 0, "1234", 4), "one that just fits is");
	ok(!px_batch_add(&w, 0, 0, "", 0), "then not even an empty one");
	whole = px_batch_end(&w);
	ok(px_batch_open(whole, &b) && b.n_commands == 1, "the refused ones left no trace");

	px_batch_begin(&w, large, PX_MAX_BATCH_BYTES, 1, 1, 1);
	ok(!px_batch_add(&w, 0, 0, command, PX_MAX_COMMAND_BYTES + 1),
	   "a command above the limit is not added");
	ok(px_batch_add(&w, 0, 0, command, PX_MAX_COMMAND_BYTES), "the largest is");
	whole = px_batch_end(&w);
	ok(px_batch_open(whole, &b), "and opens");

	px_batch_begin(&w, large, PX_MAX_BATCH_BYTES, 1, 1, 1);
	while (px_batch_add(&w, 0, 0, "", 0))
		n++;
	is(n, 32767, "a batch takes 32767 empty commands and no more");
	free(large);
	free(command);
}

void
run_tests(void)
{
	px_value_writer w;
	px_value_view v;

	test_checksum();
	test_round_trip();
	test_config();
	test_alone();

	px_value_begin(&w, buf, sizeof(buf), PX_VALUE_NOOP, 7);
	ok(px_value_open(px_value_end(&w), &v) && v.kind == PX_VALUE_NOOP && v.log_time_us == 7,
	   "a no-op opens");
	damage("no-op", bytes_of(buf, PX_VALUE_HEADER_BYTES));
	damage("batches", make_value());
	damage("configuration", make_config());
	test_batch_damage();
	test_fuzz();
	test_limits();
}
