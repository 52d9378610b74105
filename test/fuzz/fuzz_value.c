/*
 * fuzz_value.c
 *	  Fuzz target: values and origin batches (src/core/px_value.c), as they come
 *	  from a log, a promise, an Accept, a Forward or a Fetch.
 *
 * The first byte says how: the bytes as they are; the same with the checksum
 * they deserve, so that the parts behind it are read; or a value built by the
 * writers, then changed in a few places.  Whatever opens is taken apart and
 * written again: the encoding is canonical, so the bytes must be the same ones.
 */
#include "fuzz.h"

/* Takes a batch apart and writes it again. */
static void
batch_again(const px_batch_view *view)
{
	static uint8_t buf[PX_MAX_BATCH_BYTES];
	px_batch_writer w;
	px_command_view command;
	px_bytes again;
	uint32_t pos = 0;
	uint32_t n = 0;

	px_batch_begin(&w, buf, sizeof(buf), view->origin, view->incarnation, view->sequence);
	if (view->alone)
		px_batch_alone(&w);
	while (px_batch_next_command(view, &pos, &command))
	{
		FUZZ_CHECK(command.bytes.len <= PX_MAX_COMMAND_BYTES);
		FUZZ_CHECK(px_batch_add(&w, command.cell, command.generation, command.bytes.data,
								command.bytes.len));
		n++;
	}
	FUZZ_CHECK(n == view->n_commands);
	again = px_batch_end(&w);
	FUZZ_CHECK(again.len == view->whole.len &&
			   memcmp(again.data, view->whole.data, again.len) == 0);
}

static bool
open_batch(px_bytes bytes)
{
	px_batch_view view;

	if (!px_batch_open(bytes, &view))
		return false;
	FUZZ_CHECK(view.origin > 0 && view.incarnation > 0 && view.sequence > 0);
	FUZZ_CHECK(view.whole.data == bytes.data && view.whole.len == bytes.len);
	batch_again(&view);
	return true;
}

static bool
open_value(px_bytes bytes)
{
	static uint8_t buf[PX_MAX_VALUE_BYTES];
	px_value_view view;
	px_value_writer w;
	px_batch_view batch;
	px_member_view member;
	px_config config;
	px_bytes again;
	uint32_t pos = 0;
	uint32_t n = 0;

	if (!px_value_open(bytes, &view))
		return false;
	px_value_begin(&w, buf, sizeof(buf), view.kind, view.log_time_us);
	while (px_value_next_batch(&view, &pos, &batch))
	{
		FUZZ_CHECK(view.kind == PX_VALUE_BATCHES);
		batch_again(&batch);
		FUZZ_CHECK(open_batch(batch.whole));
		FUZZ_CHECK(px_value_add_batch(&w, batch.whole));
		n++;
	}
	while (px_value_next_member(&view, &pos, &member))
	{
		FUZZ_CHECK(view.kind == PX_VALUE_CONFIG && member.node > 0);
		FUZZ_CHECK(
			member.joining
				? px_value_add_joiner(&w, member.node, member.name, member.conninfo)
				: px_value_add_member(&w, member.node, member.voter, member.name, member.conninfo));
		n++;
	}
	FUZZ_CHECK(n == view.count);
	if (view.kind == PX_VALUE_CONFIG)
		px_value_set_highest(&w, view.highest);
	FUZZ_CHECK(px_value_is_config(bytes) == (view.kind == PX_VALUE_CONFIG));
	FUZZ_CHECK(px_value_config(&view, 7, &config) == (view.kind == PX_VALUE_CONFIG));
	if (view.kind == PX_VALUE_CONFIG)
		FUZZ_CHECK(px_config_valid(&config) && config.n_members == n && config.slot == 7 &&
				   px_config_highest(&config) == view.highest);
	again = px_value_end(&w);
	FUZZ_CHECK(again.len == bytes.len && memcmp(again.data, bytes.data, again.len) == 0);
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_bytes b = {data, size};
	uint8_t how = fuzz_u8(&b);
	px_bytes bytes;

	if (how % 3 == 2)
	{
		uint8_t edits = fuzz_u8(&b) % 4;
		uint8_t *change;

		bytes = fuzz_value(&b, PX_MAX_VALUE_BYTES);
		change = (uint8_t *) bytes.data;
		for (int i = 0; i < edits; i++)
		{
			uint32_t where = (uint32_t) (fuzz_u8(&b) | fuzz_u8(&b) << 8) % bytes.len;

			change[where] ^= fuzz_u8(&b);
		}
	}
	else
		bytes.data = fuzz_take(&b, PX_MAX_VALUE_BYTES, &bytes.len);

	(void) open_batch(bytes);
	if (how % 3 != 0 && bytes.len >= PX_VALUE_HEADER_BYTES)
		fuzz_checksum((uint8_t *) bytes.data, bytes.len);
	if (open_value(bytes) && (how & 0x80) != 0)
	{
		/* one flipped bit anywhere, and it no longer opens */
		uint32_t where = (uint32_t) (fuzz_u8(&b) | fuzz_u8(&b) << 8) % bytes.len;
		px_value_view view;

		((uint8_t *) bytes.data)[where] ^= (uint8_t) (1 << (fuzz_u8(&b) & 7));
		FUZZ_CHECK(!px_value_open(bytes, &view));
	}
	free((void *) bytes.data);
	return 0;
}
