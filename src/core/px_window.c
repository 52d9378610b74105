/*
 * px_window.c
 *	  The window: key -> last slot that changed it, for the last slots; and the
 *	  verdict on write sets, which is drawn from it (protocol.md § 6.1).
 *
 * Owns: what is in the window, and what follows from it for a set.  Not its
 * business: which keys a command changes or depends on (paxos_key.c, paxos_set.c),
 * where entries are stored (paxos_window.c), what becomes of a transaction.
 *
 * A set names its base, the slot up to which its transaction had seen everything,
 * and its keys.  At its slot it is lost if one of its keys was changed in between.
 * To compare the rows it saw with the rows there are would be wrong: A changes x from
 * 1 to 2 here, B there from 1 to 3 and back to 1, A's session has long been told
 * that it lost, and A's set, coming last, would find its 1 and take effect.
 *
 * The window is replicated state, derived from the log alone: a verdict must be the
 * same on every node, on one that has just been started or has loaded a snapshot,
 * too.  So it is bounded by slots and by keys, never by time or memory.
 *
 * It is kept only while write sets are about: the first set finds none, is told that
 * it is too old, and from its slot on (span.from) keys are noted; max_slots after the
 * last set (span.used) that ends.  A session that is told "too old" proposes again
 * with a newer base: it still has all its locks, and nobody ended it.  So a cluster
 * with keyed operations alone pays nothing.
 *
 * Entries stand in a ring in the order of their slots: the last max_keys of them, and
 * the slot of the youngest that had to go ('forgotten').  A base below it is too old.  So
 * what is known is a function of what was recorded alone, and comes out the same
 * when stored entries are read again, in whatever portions, with or without some that are
 * older than max_slots: a base below those is too old anyway.  But they must not
 * go sooner, as by the bound on keys: who reads the rest would not know how far back its
 * memory reaches, and call a set certified that all others call too old.
 *
 * Entries are numbered from 1, for ever; the ring holds first .. next - 1.  A chain of a
 * hash bucket goes from young to old, so that the first match is the last change, and
 * ends where the numbers fall below 'first': to forget is to raise 'first'.
 */
#include <string.h>

#include "px_window.h"

typedef struct entry
{
	px_slot slot;
	uint64_t key;
	uint64_t older; /* number of the next in the chain; one that is gone: the end */
} entry;

struct px_window
{
	uint32_t max_slots;
	uint32_t max_keys;
	uint32_t buckets; /* a power of two */
	uint64_t first;
	uint64_t next;
	px_slot forgotten; /* slot of the youngest entry there was no room for */
};

_Static_assert(sizeof(px_window) % sizeof(uint64_t) == 0, "what follows is aligned");

/* Behind the struct: the youngest entry's number by bucket, then the ring. */
static uint64_t *
chains(px_window *w)
{
	return (uint64_t *) (w + 1);
}

static entry *
entry_of(px_window *w, uint64_t number)
{
	return (entry *) (chains(w) + w->buckets) + number % w->max_keys;
}

/* So many that a chain has four entries when all is full. */
static uint32_t
buckets_for(uint32_t max_keys)
{
	uint32_t n = 1;

	while (n < max_keys / 4)
		n *= 2;
	return n;
}

static uint64_t *
chain_of(px_window *w, uint64_t key)
{
	return chains(w) + ((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) % w->buckets;
}

const char *
px_certificate_name(px_certificate c)
{
	switch (c)
	{
		case PX_CERTIFIED:
			return "certified";
		case PX_LOST:
			return "lost";
		case PX_TOO_OLD:
			return "too old";
	}
	return "unknown";
}

size_t
px_window_bytes(uint32_t max_keys)
{
	return sizeof(px_window) + buckets_for(max_keys) * sizeof(uint64_t) +
		   (size_t) max_keys * sizeof(entry);
}

px_window *
px_window_init(void *memory, size_t bytes, uint32_t max_slots, uint32_t max_keys)
{
	px_window *w = memory;

	PX_ASSERT(max_slots > 0 && max_keys > 0 && bytes >= px_window_bytes(max_keys));
	w->max_slots = max_slots;
	w->max_keys = max_keys;
	w->buckets = buckets_for(max_keys);
	w->first = 1;
	w->next = 1;
	w->forgotten = 0;
	memset(chains(w), 0, w->buckets * sizeof(uint64_t));
	return w;
}

/* ---- what is in ---- */

/* The last slot that changed it; 0: none that is known. */
static px_slot
last_change(px_window *w, uint64_t key)
{
	for (uint64_t i = *chain_of(w, key); i >= w->first; i = entry_of(w, i)->older)
	{
		if (entry_of(w, i)->key == key)
			return entry_of(w, i)->slot;
	}
	return 0;
}

static void
remember(px_window *w, px_slot slot, uint64_t key)
{
	entry *e;

	if (last_change(w, key) == slot)
		return;
	if (w->next - w->first == w->max_keys)
		w->forgotten = entry_of(w, w->first++)->slot;
	e = entry_of(w, w->next);
	*e = (entry){slot, key, *chain_of(w, key)};
	*chain_of(w, key) = w->next++;
}

/* ---- what happens at a slot ---- */

bool
px_window_over(const px_window *w, px_slot slot, px_slot applied)
{
	return slot <= applied && applied - slot >= w->max_slots;
}

void
px_window_slot(const px_window *w, px_window_span *span, px_slot slot)
{
	if (span->from == 0 || slot <= span->used + w->max_slots)
		return;
	span->from = 0;
	span->used = 0;
}

/*
 * Is every change behind it known?  One that is not below the slot is no honest
 * node's.
 */
static bool
reaches_back(const px_window *w, const px_window_span *span, px_slot slot, px_slot since)
{
	return since >= span->from && since >= w->forgotten && since < slot &&
		   slot - since <= w->max_slots;
}

px_certificate
px_window_judge(px_window *w, px_window_span *span, px_slot slot, const px_depends *depends,
				int n_depends, uint64_t *met)
{
	*met = 0;
	span->used = slot;
	if (span->from == 0)
		span->from = slot;
	for (int i = 0; i < n_depends; i++)
	{
		const px_depends *d = &depends[i];

		if (!reaches_back(w, span, slot, d->since))
			return d->renewable ? PX_TOO_OLD : PX_LOST;
		for (size_t j = 0; j < d->keys.n; j++)
		{
			if (last_change(w, d->keys.at[j]) <= d->since)
				continue;
			*met = d->keys.at[j];
			return PX_LOST;
		}
	}
	return PX_CERTIFIED;
}

bool
px_window_record(px_window *w, const px_window_span *span, px_slot slot, px_keys keys)
{
	if (span->from == 0 || slot <= span->from)
		return false;
	for (size_t i = 0; i < keys.n; i++)
		remember(w, slot, keys.at[i]);
	return true;
}

/* ---- stored ---- */

static void
put64(uint8_t *to, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		to[i] = (uint8_t) (v >> (8 * i));
}

static uint64_t
get64(const uint8_t *from)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | from[i];
	return v;
}

void
px_window_put(uint8_t *to, px_slot slot, uint64_t key)
{
	put64(to, slot);
	put64(to + 8, key);
}

bool
px_window_load(px_window *w, px_bytes entries)
{
	if (entries.len % PX_WINDOW_ENTRY_BYTES != 0)
		return false;
	for (uint32_t at = 0; at < entries.len; at += PX_WINDOW_ENTRY_BYTES)
	{
		px_slot slot = get64(entries.data + at);

		if (w->next > w->first && slot < entry_of(w, w->next - 1)->slot)
			return false;
		remember(w, slot, get64(entries.data + at + 8));
	}
	return true;
}
