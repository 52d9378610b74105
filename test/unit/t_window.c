/*
 * t_window.c
 *	  The window and the verdict on write sets (protocol.md § 6.1): each rule by
 *	  itself, and long random runs against the rules written down once more over
 *	  all that was ever recorded.
 */
#include "px_window.h"
#include "unit.h"

#define MOST_KEYS 64
#define A 100
#define B 200

/* Room for the largest used here. */
static uint64_t memory[2][4096];
static px_window *w;
static px_window_span span;

static void
begin(uint32_t max_slots, uint32_t max_keys)
{
	memset(memory, 0x5a, sizeof(memory));
	w = px_window_init(memory[0], sizeof(memory[0]), max_slots, max_keys);
	memset(&span, 0, sizeof(span));
}

static px_certificate
verdict(px_slot slot, px_slot base, uint64_t key)
{
	px_depends depends = {base, true, {&key, 1}};
	uint64_t met;
	px_certificate c = px_window_judge(w, &span, slot, &depends, 1, &met);

	if (c == PX_LOST && met != key)
		die("a set lost by a key it does not depend on");
	return c;
}

static void
judge(px_slot slot, px_slot base, uint64_t key, px_certificate expected, const char *why)
{
	px_certificate got = verdict(slot, base, key);

	ok(got == expected, "slot %" PRIu64 ", base %" PRIu64 ": %s, %s (%s)", slot, base,
	   px_certificate_name(expected), why, px_certificate_name(got));
}

static bool
record(px_slot slot, uint64_t key)
{
	return px_window_record(w, &span, slot, (px_keys){&key, 1});
}

static void
test_verdict(void)
{
	px_depends depends[3];
	uint64_t first[2] = {1, 2};
	uint64_t third[2] = {3, A};
	uint64_t met = 0;

	begin(100, MOST_KEYS);
	ok(!record(9, A), "without sets nothing is noted");
	judge(10, 9, A, PX_TOO_OLD, "the first set finds no window");
	is(span.from, 10, "which begins there");
	is(span.used, 10, "and is in use");
	ok(!record(10, A), "what is in its slot is too early");
	judge(11, 9, A, PX_TOO_OLD, "a base from before the window");
	judge(11, 10, A, PX_CERTIFIED, "a base of its first slot");

	ok(record(12, A), "noted");
	judge(13, 11, A, PX_LOST, "changed behind the base");
	judge(13, 12, A, PX_CERTIFIED, "changed at the base");
	judge(13, 11, B, PX_CERTIFIED, "another key was changed");
	ok(record(14, A) && record(15, B), "more");
	judge(16, 13, A, PX_LOST, "the last change counts");
	judge(16, 14, A, PX_CERTIFIED, "and no other");
	judge(16, 14, B, PX_LOST, "keys by themselves");

	judge(16, 16, A, PX_TOO_OLD, "a base that is the slot");
	judge(16, UINT64_MAX, A, PX_TOO_OLD, "a base above the slot");

	depends[0] = (px_depends){13, true, {first, 2}};
	depends[1] = (px_depends){13, true, {NULL, 0}};
	depends[2] = (px_depends){13, true, {third, 2}};
	ok(px_window_judge(w, &span, 17, depends, 3, &met) == PX_LOST, "any key of any list");
	is(met, A, "that one");
	ok(px_window_judge(w, &span, 17, depends, 2, &met) == PX_CERTIFIED, "not of other lists");
	depends[2].since = 14;
	ok(px_window_judge(w, &span, 17, depends, 3, &met) == PX_CERTIFIED, "each since its own slot");

	/* what was read, since the snapshot */
	depends[2] = (px_depends){13, false, {third, 2}};
	ok(px_window_judge(w, &span, 17, depends, 3, &met) == PX_LOST, "read, and changed since");
	depends[2].since = 9;
	ok(px_window_judge(w, &span, 17, depends, 3, &met) == PX_LOST,
	   "read before the window began: a newer base would not help");
	is(met, 0, "no key in particular");
	depends[2].since = 14;
	depends[0].since = 9;
	ok(px_window_judge(w, &span, 17, depends, 3, &met) == PX_TOO_OLD, "a newer base would help");
	ok(strcmp(px_certificate_name(PX_TOO_OLD), "too old") == 0, "names");
}

static void
test_slots(void)
{
	begin(5, MOST_KEYS);
	judge(10, 9, A, PX_TOO_OLD, "begins");
	record(11, A);
	judge(16, 11, A, PX_CERTIFIED, "as many slots back as there are");
	judge(16, 10, A, PX_TOO_OLD, "one more");
	judge(16, 11, B, PX_CERTIFIED, "another key");

	/* what has expired is gone, and no verdict needs it */
	record(16, B);
	judge(16, 11, A, PX_CERTIFIED, "expired");
	ok(px_window_over(w, 11, 16), "stored entries of slot 11 may go at 16");
	ok(!px_window_over(w, 12, 16), "those of slot 12 not yet");
	ok(!px_window_over(w, 17, 16) && !px_window_over(w, UINT64_MAX, 16), "nor those to come");

	/* it ends */
	is(span.used, 16, "last used");
	px_window_slot(w, &span, 21);
	is(span.from, 10, "kept for so many slots behind the last set");
	ok(record(21, A), "noted yet");
	px_window_slot(w, &span, 22);
	is(span.from, 0, "and no longer");
	is(span.used, 0, "nothing left of it");
	ok(!record(22, A), "not noted");
	judge(23, 22, B, PX_TOO_OLD, "as at the beginning");
	judge(24, 23, A, PX_CERTIFIED, "of the former life nothing is known");
	px_window_slot(w, &span, 24);
	is(span.from, 23, "a window in use goes on");
}

static void
test_keys(void)
{
	uint64_t many[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

	begin(100, 4);
	judge(10, 9, A, PX_TOO_OLD, "begins");
	px_window_record(w, &span, 11, (px_keys){many, 2});
	px_window_record(w, &span, 12, (px_keys){many + 2, 2});
	judge(13, 10, 2, PX_LOST, "four keys fit");
	record(13, 5);
	judge(14, 10, 9, PX_TOO_OLD, "one more makes the oldest slot go");
	judge(14, 11, 1, PX_CERTIFIED, "what was changed there is before a base there");
	judge(14, 11, 3, PX_LOST, "the others are there");
	record(14, 6);
	judge(15, 11, 3, PX_LOST, "the second of that slot goes first");
	record(15, 7);
	judge(16, 11, 3, PX_TOO_OLD, "then one of the next");
	judge(16, 12, 6, PX_LOST, "which leaves what came later");

	/* the same key again in one slot is one entry, in another slot two */
	begin(100, 4);
	judge(10, 9, A, PX_TOO_OLD, "begins");
	for (int i = 0; i < 10; i++)
		record(11, A);
	record(12, B);
	record(13, A);
	record(14, B);
	judge(15, 10, A, PX_LOST, "the same one again in its slot takes no room");
	judge(15, 13, A, PX_CERTIFIED, "last changed");
	record(15, A);
	judge(16, 10, 9, PX_TOO_OLD, "in another slot it does");
	judge(16, 11, B, PX_LOST, "whose last change stays");

	/* a slot that has too many by itself */
	begin(100, 4);
	judge(10, 9, A, PX_TOO_OLD, "begins");
	record(11, A);
	px_window_record(w, &span, 12, (px_keys){many, 5});
	judge(13, 11, A, PX_TOO_OLD, "a slot with too many is forgotten with all before");
	judge(13, 12, 1, PX_CERTIFIED, "who has seen it is judged");
	px_window_record(w, &span, 12, (px_keys){many, 3});
	record(13, B);
	record(14, B);
	record(15, B);
	record(16, B);
	judge(17, 12, B, PX_LOST, "its rest takes no room");
	judge(17, 12, 2, PX_CERTIFIED, "nor is it known");
	px_window_record(w, &span, 17, (px_keys){many, 4});
	judge(18, 16, 4, PX_LOST, "a slot that just fits");
	judge(18, 15, 9, PX_TOO_OLD, "alone");
}

static void
entries_of(uint8_t *to, px_slot slot, const uint64_t *keys, int n)
{
	for (int i = 0; i < n; i++)
		px_window_put(to + i * PX_WINDOW_ENTRY_BYTES, slot, keys[i]);
}

static void
test_stored(void)
{
	uint8_t bytes[8 * PX_WINDOW_ENTRY_BYTES];
	uint64_t keys[4] = {A, B, UINT64_MAX, 0};
	px_window *copy;

	begin(100, 4);
	span = (px_window_span){.from = 10, .used = 12};
	entries_of(bytes, 11, keys, 4);
	is(bytes[0], 11, "little-endian");
	is(bytes[8], A, "slot, then key");
	ok(px_window_load(w, bytes_of(bytes, 4 * PX_WINDOW_ENTRY_BYTES)), "read");
	judge(12, 10, 0, PX_LOST, "a key of zero");
	judge(12, 10, UINT64_MAX, PX_LOST, "a key of ones");
	judge(12, 11, A, PX_CERTIFIED, "at its slot");

	/* a copy of the memory is a window */
	memcpy(memory[1], memory[0], sizeof(memory[0]));
	copy = (px_window *) memory[1];
	record(12, 5);
	judge(13, 10, 9, PX_TOO_OLD, "one forgets");
	w = copy;
	judge(13, 10, 9, PX_CERTIFIED, "the other does not");

	begin(100, 4);
	span = (px_window_span){.from = 11, .used = 12};
	ok(px_window_load(w, bytes_of(bytes, 4 * PX_WINDOW_ENTRY_BYTES)), "an earlier life");
	judge(12, 11, A, PX_CERTIFIED, "does not matter");
	ok(!px_window_load(w, bytes_of(bytes, PX_WINDOW_ENTRY_BYTES - 1)), "half an entry");
	ok(px_window_load(w, bytes_of(bytes, 0)), "none at all");
	entries_of(bytes, 12, keys, 1);
	entries_of(bytes + PX_WINDOW_ENTRY_BYTES, 11, keys, 1);
	ok(!px_window_load(w, bytes_of(bytes, 2 * PX_WINDOW_ENTRY_BYTES)), "out of order");
}

/* ---- against the rules, over everything ---- */

#define MODEL_ENTRIES 20000

typedef struct change
{
	px_slot slot;
	uint64_t key;
} change;

static change changes[MODEL_ENTRIES];
static int n_changes;
static px_slot model_from;
static px_slot model_used;

/* Highest slot such that the keys of later ones, expired ones left out, fit. */
static px_slot
floor_of(px_slot slot, uint32_t max_slots, uint32_t max_keys)
{
	uint32_t n = 0;

	for (int i = n_changes - 1; i >= 0; i--)
	{
		bool again = false;

		if (changes[i].slot <= model_from || changes[i].slot + max_slots <= slot)
			return 0;
		for (int j = i + 1; j < n_changes && changes[j].slot == changes[i].slot; j++)
			again |= changes[j].key == changes[i].key;
		if (!again && ++n > max_keys)
			return changes[i].slot;
	}
	return 0;
}

static px_certificate
model(px_slot slot, px_slot base, uint64_t key, uint32_t max_slots, uint32_t max_keys)
{
	model_used = slot;
	if (model_from == 0)
		model_from = slot;
	if (base < model_from || base + max_slots < slot || base < floor_of(slot, max_slots, max_keys))
		return PX_TOO_OLD;
	for (int i = 0; i < n_changes; i++)
	{
		if (changes[i].slot > base && changes[i].slot > model_from && changes[i].key == key)
			return PX_LOST;
	}
	return PX_CERTIFIED;
}

/* Read again what is stored, of which some that is over has gone. */
static void
reload(uint32_t max_slots, uint32_t max_keys, px_slot applied, uint64_t *random)
{
	uint8_t bytes[16 * PX_WINDOW_ENTRY_BYTES];
	int i = 0;
	px_slot gone = px_random(random) % (applied + 1);

	memset(memory[0], (int) (px_random(random) & 0xff), sizeof(memory[0]));
	w = px_window_init(memory[0], sizeof(memory[0]), max_slots, max_keys);
	while (i < n_changes)
	{
		int n = 0;

		for (; i < n_changes && n < 16; i++)
		{
			if (px_window_over(w, changes[i].slot, applied) && changes[i].slot < gone)
				continue;
			px_window_put(bytes + PX_WINDOW_ENTRY_BYTES * n++, changes[i].slot, changes[i].key);
			if (px_random(random) % 8 == 0)
			{
				i++;
				break;
			}
		}
		if (!px_window_load(w, bytes_of(bytes, (size_t) n * PX_WINDOW_ENTRY_BYTES)))
			die("stored entries are refused");
	}
}

static void
test_random(uint64_t seed, bool reloads)
{
	uint64_t random = seed;
	uint32_t max_slots = (uint32_t) (1 + px_random(&random) % 40);
	uint32_t max_keys = (uint32_t) (1 + px_random(&random) % MOST_KEYS);
	int counts[3] = {0};
	int wrong = 0;
	int ended = 0;

	begin(max_slots, max_keys);
	n_changes = 0;
	model_from = 0;
	model_used = 0;
	for (px_slot slot = 1; slot < 2000; slot++)
	{
		bool quiet = slot / (2 * max_slots) % 5 == 4;

		px_window_slot(w, &span, slot);
		if (model_from != 0 && slot > model_used + max_slots)
		{
			model_from = 0;
			ended++;
		}
		if (!quiet && px_random(&random) % 2 == 0)
		{
			px_slot base = slot - 1 - px_random(&random) % px_min64(slot, max_slots + 3);
			uint64_t key = px_random(&random) % 24;
			px_certificate got = verdict(slot, base, key);

			wrong += got != model(slot, base, key, max_slots, max_keys);
			counts[got]++;
		}
		else
		{
			for (uint64_t n = px_random(&random) % 5; n > 0; n--)
			{
				uint64_t key = px_random(&random) % 24;
				uint64_t last = key;

				if (px_random(&random) % 4 == 0)
					last = px_random(&random) % (max_keys / 2 + 2) + key;
				for (; key <= last; key++)
				{
					bool kept = record(slot, key);

					wrong += kept != (model_from != 0 && slot > model_from);
					if (kept && n_changes < MODEL_ENTRIES)
						changes[n_changes++] = (change){slot, key};
				}
			}
		}
		wrong += span.from != model_from;
		if (reloads && px_random(&random) % 7 == 0)
			reload(max_slots, max_keys, slot, &random);
	}
	if (n_changes == MODEL_ENTRIES)
		die("the model is full");
	ok(wrong == 0, "%u slots, %u keys%s: %d certified, %d lost, %d too old, ended %d times",
	   max_slots, max_keys, reloads ? ", read again now and then" : "", counts[PX_CERTIFIED],
	   counts[PX_LOST], counts[PX_TOO_OLD], ended);
}

void
run_tests(void)
{
	test_verdict();
	test_slots();
	test_keys();
	test_stored();
	for (uint64_t seed = 1; seed <= 40; seed++)
		test_random(seed, seed > 10);
}
