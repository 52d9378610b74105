/*
 * px_value.c
 *	  Encoding and decoding of values and origin batches.
 *
 * Owns: the bytes of format version 1 (layout in px_value.h).  Not its
 * business: what a command means, who may propose which value.
 *
 * Bytes come from a disk or from another node, so readers trust nothing: every
 * length is compared with the bytes that are left *before* it is used, in
 * arithmetic that cannot wrap, and a value with a wrong checksum is not looked
 * into at all.  A reader allocates nothing; views point into the caller's
 * bytes.  There is no state; what a crash leaves is whatever the log holds.
 */
#include <string.h>

#include "px_value.h"

_Static_assert(PX_MAX_BATCH_BYTES >=
				   PX_MAX_COMMAND_BYTES + PX_BATCH_HEADER_BYTES + PX_COMMAND_HEADER_BYTES,
			   "the largest command fits into a batch");
_Static_assert(PX_MAX_VALUE_BYTES >= PX_MAX_BATCH_BYTES + PX_VALUE_HEADER_BYTES,
			   "the largest batch fits into a value");

/* In the count of a batch: it shares its slot with no other. */
#define BATCH_ALONE 0x8000

_Static_assert((PX_MAX_BATCH_COMMANDS & BATCH_ALONE) == 0, "the count and its flag do not meet");
_Static_assert(PX_MAX_BATCH_BYTES / PX_COMMAND_HEADER_BYTES > PX_MAX_BATCH_COMMANDS,
			   "the number of commands is bounded by itself");

/* Fixed bytes of a member part, its length word included. */
#define MEMBER_FIXED_BYTES (4 + 2 + 1 + 2 + 2)

/* What stands behind them. */
#define CONFIG_TRAILER_BYTES 2

_Static_assert(PX_VALUE_HEADER_BYTES +
					   PX_MAX_MEMBERS * (MEMBER_FIXED_BYTES + PX_MAX_NAME + PX_MAX_CONNINFO) +
					   CONFIG_TRAILER_BYTES ==
				   PX_MAX_CONFIG_BYTES,
			   "the largest configuration is as large as said");
_Static_assert(PX_MAX_CONFIG_BYTES <= PX_MAX_VALUE_BYTES,
			   "the largest configuration fits into a value");

static void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t) v;
	p[1] = (uint8_t) (v >> 8);
}

static void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t) v);
	put16(p + 2, (uint16_t) (v >> 16));
}

static void
put64(uint8_t *p, uint64_t v)
{
	put32(p, (uint32_t) v);
	put32(p + 4, (uint32_t) (v >> 32));
}

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t) (p[0] | (uint16_t) p[1] << 8);
}

static uint32_t
get32(const uint8_t *p)
{
	return get16(p) | (uint32_t) get16(p + 2) << 16;
}

static uint64_t
get64(const uint8_t *p)
{
	return get32(p) | (uint64_t) get32(p + 4) << 32;
}

/*
 * ---- writing ----
 */

void
px_batch_begin(px_batch_writer *w, uint8_t *buf, uint32_t cap, px_node origin, uint64_t incarnation,
			   uint64_t sequence)
{
	PX_ASSERT(cap >= PX_BATCH_HEADER_BYTES);
	PX_ASSERT(origin > 0 && incarnation > 0 && sequence > 0);

	w->buf = buf;
	w->cap = cap;
	w->len = PX_BATCH_HEADER_BYTES;
	w->n_commands = 0;
	w->alone = false;
	put16(buf + 4, origin);
	put64(buf + 8, incarnation);
	put64(buf + 16, sequence);
}

bool
px_batch_add(px_batch_writer *w, uint32_t cell, uint64_t generation, const void *command,
			 uint32_t len)
{
	uint32_t room = w->cap - w->len;
	uint8_t *p = w->buf + w->len;

	if (len > PX_MAX_COMMAND_BYTES || w->n_commands == PX_MAX_BATCH_COMMANDS)
		return false;
	if (room < PX_COMMAND_HEADER_BYTES || room - PX_COMMAND_HEADER_BYTES < len)
		return false;

	put32(p, len);
	put32(p + 4, cell);
	put64(p + 8, generation);
	if (len > 0)
		memcpy(p + PX_COMMAND_HEADER_BYTES, command, len);
	w->len += PX_COMMAND_HEADER_BYTES + len;
	w->n_commands++;
	return true;
}

void
px_batch_alone(px_batch_writer *w)
{
	w->alone = true;
}

px_bytes
px_batch_end(px_batch_writer *w)
{
	px_bytes whole = {w->buf, w->len};

	put32(w->buf, w->len - 4);
	put16(w->buf + 6, (uint16_t) (w->n_commands | (w->alone ? BATCH_ALONE : 0)));
	return whole;
}

void
px_value_begin(px_value_writer *w, uint8_t *buf, uint32_t cap, px_value_kind kind,
			   uint64_t log_time_us)
{
	uint32_t trailer = kind == PX_VALUE_CONFIG ? CONFIG_TRAILER_BYTES : 0;

	PX_ASSERT(cap >= PX_VALUE_HEADER_BYTES + trailer);

	w->buf = buf;
	w->cap = cap - trailer;
	w->len = PX_VALUE_HEADER_BYTES;
	w->count = 0;
	w->kind = kind;
	w->alone = false;
	w->highest = 0;
	buf[0] = PX_VALUE_VERSION;
	buf[1] = (uint8_t) kind;
	put64(buf + 8, log_time_us);
}

bool
px_value_add_batch(px_value_writer *w, px_bytes batch)
{
	bool alone = batch.len >= PX_BATCH_HEADER_BYTES && (get16(batch.data + 6) & BATCH_ALONE) != 0;

	PX_ASSERT(w->kind == PX_VALUE_BATCHES);
	if (w->cap - w->len < batch.len || w->count == UINT16_MAX)
		return false;
	if (w->alone || (alone && w->count > 0))
		return false;
	w->alone = alone;
	memcpy(w->buf + w->len, batch.data, batch.len);
	w->len += batch.len;
	w->count++;
	return true;
}

/* How a member takes part, as encoded. */
enum
{
	MEMBER_LEARNER = 0,
	MEMBER_VOTER = 1,
	MEMBER_JOINING = 2
};

static bool
add_member(px_value_writer *w, px_node node, uint8_t part, const char *name, const char *conninfo)
{
	size_t name_len = strlen(name);
	size_t conninfo_len = strlen(conninfo);
	uint8_t *p = w->buf + w->len;
	uint32_t bytes;

	PX_ASSERT(w->kind == PX_VALUE_CONFIG);
	if (node == 0 || name_len >= PX_MAX_NAME || conninfo_len >= PX_MAX_CONNINFO ||
		w->count == PX_MAX_MEMBERS)
		return false;
	bytes = (uint32_t) (MEMBER_FIXED_BYTES + name_len + conninfo_len);
	if (w->cap - w->len < bytes)
		return false;

	put32(p, bytes - 4);
	put16(p + 4, node);
	p[6] = part;
	put16(p + 7, (uint16_t) name_len);
	memcpy(p + 9, name, name_len);
	put16(p + 9 + name_len, (uint16_t) conninfo_len);
	memcpy(p + 11 + name_len, conninfo, conninfo_len);
	w->len += bytes;
	w->count++;
	px_value_set_highest(w, node);
	return true;
}

void
px_value_set_highest(px_value_writer *w, px_node highest)
{
	PX_ASSERT(w->kind == PX_VALUE_CONFIG);
	if (highest > w->highest)
		w->highest = highest;
}

bool
px_value_add_member(px_value_writer *w, px_node node, bool voter, const char *name,
					const char *conninfo)
{
	return add_member(w, node, voter ? MEMBER_VOTER : MEMBER_LEARNER, name, conninfo);
}

bool
px_value_add_joiner(px_value_writer *w, px_node node, const char *name, const char *conninfo)
{
	return add_member(w, node, MEMBER_JOINING, name, conninfo);
}

/*
 * The checksum covers the four bytes before it too: a flipped bit that turned
 * a configuration into a list of batches must not go unseen.
 */
static uint32_t
value_checksum(const uint8_t *buf, uint32_t len)
{
	uint32_t crc = px_crc32c(0, buf, 4);

	return px_crc32c(crc, buf + 8, len - 8);
}

px_bytes
px_value_end(px_value_writer *w)
{
	px_bytes value;

	PX_ASSERT(w->kind != PX_VALUE_NOOP || w->count == 0);
	if (w->kind == PX_VALUE_CONFIG)
	{
		put16(w->buf + w->len, w->highest);
		w->len += CONFIG_TRAILER_BYTES;
	}
	put16(w->buf + 2, w->count);
	put32(w->buf + 4, value_checksum(w->buf, w->len));
	value.data = w->buf;
	value.len = w->len;
	return value;
}

/*
 * ---- reading ----
 */

/*
 * One command at 'pos' of the commands of a batch: its header and bytes must
 * lie inside.  Returns the position after it, or 0.
 */
static uint32_t
parse_command(px_bytes commands, uint32_t pos, px_command_view *command)
{
	uint32_t left = commands.len - pos;
	const uint8_t *p = commands.data + pos;
	uint32_t len;

	if (left < PX_COMMAND_HEADER_BYTES)
		return 0;
	len = get32(p);
	if (len > PX_MAX_COMMAND_BYTES || len > left - PX_COMMAND_HEADER_BYTES)
		return 0;
	command->cell = get32(p + 4);
	command->generation = get64(p + 8);
	command->bytes.data = p + PX_COMMAND_HEADER_BYTES;
	command->bytes.len = len;
	return pos + PX_COMMAND_HEADER_BYTES + len;
}

/*
 * The bytes of one part at 'pos', its length word included; 0 length if they
 * do not lie inside.
 */
static px_bytes
parse_part(px_bytes parts, uint32_t pos)
{
	px_bytes part = {NULL, 0};
	uint32_t left = parts.len - pos;
	uint32_t rest;

	if (left < 4)
		return part;
	rest = get32(parts.data + pos);
	if (rest > left - 4)
		return part;
	part.data = parts.data + pos;
	part.len = rest + 4;
	return part;
}

static void
view_batch(px_bytes part, px_batch_view *view)
{
	view->origin = get16(part.data + 4);
	view->n_commands = get16(part.data + 6) & PX_MAX_BATCH_COMMANDS;
	view->alone = (get16(part.data + 6) & BATCH_ALONE) != 0;
	view->incarnation = get64(part.data + 8);
	view->sequence = get64(part.data + 16);
	view->commands.data = part.data + PX_BATCH_HEADER_BYTES;
	view->commands.len = part.len - PX_BATCH_HEADER_BYTES;
	view->whole = part;
}

bool
px_batch_open(px_bytes batch, px_batch_view *view)
{
	px_command_view command;
	uint32_t pos = 0;

	if (batch.len < PX_BATCH_HEADER_BYTES || batch.len > PX_MAX_BATCH_BYTES)
		return false;
	if (get32(batch.data) != batch.len - 4)
		return false;
	view_batch(batch, view);
	if (view->origin == 0 || view->incarnation == 0 || view->sequence == 0)
		return false;
	for (uint32_t i = 0; i < view->n_commands; i++)
	{
		pos = parse_command(view->commands, pos, &command);
		if (pos == 0)
			return false;
	}
	return pos == view->commands.len;
}

static bool
parse_member(px_bytes part, px_member_view *member)
{
	uint32_t name_len;
	uint32_t conninfo_len;
	const uint8_t *p = part.data;

	if (part.len < MEMBER_FIXED_BYTES)
		return false;
	name_len = get16(p + 7);
	if (name_len >= PX_MAX_NAME || name_len > part.len - MEMBER_FIXED_BYTES)
		return false;
	conninfo_len = get16(p + 9 + name_len);
	if (conninfo_len >= PX_MAX_CONNINFO || conninfo_len != part.len - MEMBER_FIXED_BYTES - name_len)
		return false;
	if (p[6] > MEMBER_JOINING || get16(p + 4) == 0)
		return false;
	if (memchr(p + 9, 0, name_len) != NULL || memchr(p + 11 + name_len, 0, conninfo_len) != NULL)
		return false;

	member->node = get16(p + 4);
	member->voter = p[6] == MEMBER_VOTER;
	member->joining = p[6] == MEMBER_JOINING;
	memcpy(member->name, p + 9, name_len);
	member->name[name_len] = '\0';
	memcpy(member->conninfo, p + 11 + name_len, conninfo_len);
	member->conninfo[conninfo_len] = '\0';
	return true;
}

static bool
check_batches(const px_value_view *view)
{
	px_batch_view batch;
	uint32_t pos = 0;

	for (uint32_t i = 0; i < view->count; i++)
	{
		px_bytes part = parse_part(view->parts, pos);

		if (part.len == 0 || !px_batch_open(part, &batch) || (batch.alone && view->count > 1))
			return false;
		pos += part.len;
	}
	return pos == view->parts.len;
}

static bool
check_members(const px_value_view *view)
{
	px_config config;
	px_member_view member;
	uint32_t pos = 0;

	if (view->count > PX_MAX_MEMBERS)
		return false;
	memset(&config, 0, sizeof(config));
	config.n_members = (uint8_t) view->count;
	for (uint32_t i = 0; i < view->count; i++)
	{
		px_bytes part = parse_part(view->parts, pos);

		if (part.len == 0 || !parse_member(part, &member))
			return false;
		config.members[i].node = member.node;
		config.members[i].voter = member.voter;
		pos += part.len;
	}
	return pos == view->parts.len && px_config_valid(&config) &&
		   view->highest >= config.members[config.n_members - 1].node;
}

bool
px_value_open(px_bytes value, px_value_view *view)
{
	if (value.len < PX_VALUE_HEADER_BYTES || value.len > PX_MAX_VALUE_BYTES)
		return false;
	if (value.data[0] != PX_VALUE_VERSION)
		return false;
	if (get32(value.data + 4) != value_checksum(value.data, value.len))
		return false;

	view->count = get16(value.data + 2);
	view->log_time_us = get64(value.data + 8);
	view->parts.data = value.data + PX_VALUE_HEADER_BYTES;
	view->parts.len = value.len - PX_VALUE_HEADER_BYTES;
	view->highest = 0;
	switch (value.data[1])
	{
		case PX_VALUE_NOOP:
			view->kind = PX_VALUE_NOOP;
			return view->count == 0 && view->parts.len == 0;
		case PX_VALUE_BATCHES:
			view->kind = PX_VALUE_BATCHES;
			return check_batches(view);
		case PX_VALUE_CONFIG:
			view->kind = PX_VALUE_CONFIG;
			if (view->parts.len < CONFIG_TRAILER_BYTES)
				return false;
			view->parts.len -= CONFIG_TRAILER_BYTES;
			view->highest = get16(view->parts.data + view->parts.len);
			return check_members(view);
		default:
			return false;
	}
}

bool
px_value_next_batch(const px_value_view *v, uint32_t *pos, px_batch_view *batch)
{
	px_bytes part;

	if (v->kind != PX_VALUE_BATCHES || *pos >= v->parts.len)
		return false;
	part = parse_part(v->parts, *pos);
	PX_ASSERT(part.len >= PX_BATCH_HEADER_BYTES);
	view_batch(part, batch);
	*pos += part.len;
	return true;
}

bool
px_value_next_member(const px_value_view *v, uint32_t *pos, px_member_view *member)
{
	px_bytes part;
	bool ok;

	if (v->kind != PX_VALUE_CONFIG || *pos >= v->parts.len)
		return false;
	part = parse_part(v->parts, *pos);
	ok = part.len > 0 && parse_member(part, member);
	PX_ASSERT(ok);
	*pos += part.len;
	return true;
}

bool
px_batch_next_command(const px_batch_view *b, uint32_t *pos, px_command_view *command)
{
	uint32_t next;

	if (*pos >= b->commands.len)
		return false;
	next = parse_command(b->commands, *pos, command);
	PX_ASSERT(next > 0);
	*pos = next;
	return true;
}

bool
px_value_config(const px_value_view *v, px_slot slot, px_config *config)
{
	px_member_view member;
	uint32_t pos = 0;

	if (v->kind != PX_VALUE_CONFIG)
		return false;
	memset(config, 0, sizeof(*config));
	config->slot = slot;
	config->highest = v->highest;
	while (px_value_next_member(v, &pos, &member))
	{
		config->members[config->n_members].node = member.node;
		config->members[config->n_members].voter = member.voter;
		config->n_members++;
	}
	return px_config_valid(config);
}
