/*
 * fuzz_window.c
 *	  Fuzz target: the window of write sets (src/core/px_window.c), any slots, bases
 *	  and keys in any order, stored entries read again in between, and bytes that
 *	  were never entries.
 *
 * Checked: a set is certified only if nothing it depends on was recorded behind its base, and
 * lost only if something was; a window read again gives the same verdict as the
 * one that was there all along; any bytes whatever are read or refused.
 */
#include "fuzz.h"
#include "px_window.h"

#define MOST_KEYS 32
#define MOST_CHANGES 512

typedef struct change
{
	px_slot slot;
	uint64_t key;
} change;

static px_window *
empty(px_window **memory, uint32_t max_slots, uint32_t max_keys)
{
	size_t bytes = px_window_bytes(max_keys);

	free(*memory);
	*memory = malloc(bytes);
	if (*memory == NULL)
		abort();
	return px_window_init(*memory, bytes, max_slots, max_keys);
}

static bool
changed(const change *changes, int n, px_slot base, uint64_t key)
{
	for (int i = 0; i < n; i++)
	{
		if (changes[i].slot > base && changes[i].key == key)
			return true;
	}
	return false;
}

static void
garbage(fuzz_bytes *b, px_window **memory, uint32_t max_slots, uint32_t max_keys)
{
	px_window *w = empty(memory, max_slots, max_keys);
	px_window_span span = {fuzz_number(b, 1), fuzz_number(b, 1)};
	uint32_t len;
	uint8_t *bytes = fuzz_take(b, 256, &len);
	px_bytes entries = {bytes, len};
	uint64_t key = fuzz_number(b, 1);
	px_keys keys = {&key, 1};
	px_depends depends = {fuzz_number(b, 10), fuzz_u8(b) % 2 == 0, {&key, 1}};
	px_slot slot = fuzz_number(b, 10);
	uint64_t met;

	if (px_window_load(w, entries))
		FUZZ_CHECK(len % PX_WINDOW_ENTRY_BYTES == 0);
	px_window_slot(w, &span, slot);
	(void) px_window_judge(w, &span, slot, &depends, 1, &met);
	(void) px_window_record(w, &span, slot, keys);
	free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static change changes[MOST_CHANGES];
	fuzz_bytes b = {data, size};
	uint32_t max_slots = 1u + fuzz_u8(&b) % 20;
	uint32_t max_keys = 1u + fuzz_u8(&b) % MOST_KEYS;
	px_window *memory = NULL;
	px_window *again = NULL;
	px_window *w = empty(&memory, max_slots, max_keys);
	px_window_span span = {0, 0};
	px_slot slot = 0;
	int n = 0;

	while (b.left > 0 && n < MOST_CHANGES)
	{
		uint8_t op = fuzz_u8(&b);
		uint64_t key = fuzz_u8(&b) % 16;
		px_keys one = {&key, 1};

		if (op % 8 < 4)
		{
			slot += 1u + op / 64;
			px_window_slot(w, &span, slot);
		}
		if (op % 8 == 7)
			garbage(&b, &again, max_slots, max_keys);
		else if (op % 2 == 0)
		{
			if (px_window_record(w, &span, slot, one))
				changes[n++] = (change){slot, key};
		}
		else if (slot > 0)
		{
			px_slot base = fuzz_number(&b, slot - 1);
			px_depends depends = {base, true, one};
			px_slot gone = fuzz_number(&b, slot);
			px_window *other = empty(&again, max_slots, max_keys);
			px_window_span same = span;
			px_certificate c;
			uint64_t met = 0;

			/* some of those that may have gone have */
			for (int i = 0; i < n; i++)
			{
				uint8_t bytes[PX_WINDOW_ENTRY_BYTES];
				px_bytes entries = {bytes, sizeof(bytes)};

				if (changes[i].slot < gone && px_window_over(w, changes[i].slot, slot - 1))
					continue;
				px_window_put(bytes, changes[i].slot, changes[i].key);
				FUZZ_CHECK(px_window_load(other, entries));
			}
			c = px_window_judge(w, &span, slot, &depends, 1, &met);
			FUZZ_CHECK(px_window_judge(other, &same, slot, &depends, 1, &met) == c);
			FUZZ_CHECK(same.from == span.from && same.used == span.used && span.used == slot);
			FUZZ_CHECK(strcmp(px_certificate_name(c), "unknown") != 0);
			if (c != PX_TOO_OLD)
				FUZZ_CHECK(changed(changes, n, base, key) == (c == PX_LOST));
			if (c == PX_LOST)
				FUZZ_CHECK(met == key);
		}
	}
	free(memory);
	free(again);
	return 0;
}
