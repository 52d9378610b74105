/*
 * px_window.h
 *	  The window, key -> last slot that changed it, and the verdict on write sets
 *	  that is drawn from it (protocol.md § 6.1).
 *
 * A key is 64 bits: of a row, of a relation as a whole, or of whatever else a
 * transaction may depend on; what it stands for is the caller's business.
 */
#ifndef PX_WINDOW_H
#define PX_WINDOW_H

#include "px_base.h"

/* Replicated constants: another value is another protocol. */
#define PX_WINDOW_SLOTS 4096
#define PX_WINDOW_KEYS (256 * 1024)

/* What of it is replicated as numbers; the keys are replicated as entries. */
typedef struct px_window_span
{
	px_slot from; /* keys changed behind this slot are noted; 0: none are */
	px_slot used; /* slot of the last write set */
} px_window_span;

/*
 * One block of memory, given by the caller.  It holds no pointers: a copy of the
 * block is a window of its own.
 */
typedef struct px_window px_window;

typedef struct px_keys
{
	const uint64_t *at;
	size_t n;
} px_keys;

typedef enum px_certificate
{
	PX_CERTIFIED,
	PX_LOST,   /* one of its keys was changed meanwhile */
	PX_TOO_OLD /* that cannot be told any more, or not yet */
} px_certificate;

extern const char *px_certificate_name(px_certificate c);

/* Bytes it takes; and an empty one of them. */
extern size_t px_window_bytes(uint32_t max_keys);
extern px_window *px_window_init(void *memory, size_t bytes, uint32_t max_slots, uint32_t max_keys);

/* A slot begins: the window may end with it. */
extern void px_window_slot(const px_window *w, px_window_span *span, px_slot slot);

/*
 * What a set depends on: these keys must not have changed behind 'since'.  Of rows it
 * has locked that is its base, and if the window does not reach back so far a
 * newer one can be had; of what it has merely read it is its snapshot, and it cannot.
 */
typedef struct px_depends
{
	px_slot since;
	bool renewable;
	px_keys keys;
} px_depends;

/* The verdict on a set at this slot.  If it is lost, *met is a key that was changed;
 * or 0, if it can only not be told whether one was. */
extern px_certificate px_window_judge(px_window *w, px_window_span *span, px_slot slot,
									  const px_depends *depends, int n_depends, uint64_t *met);

/* These were changed at this slot.  False: nothing is noted now, and nothing to keep. */
extern bool px_window_record(px_window *w, const px_window_span *span, px_slot slot, px_keys keys);

/* ---- as it is stored, and travels in snapshots ---- */

/* Of one key: slot and key, little-endian. */
#define PX_WINDOW_ENTRY_BYTES 16

extern void px_window_put(uint8_t *to, px_slot slot, uint64_t key);

/*
 * Read again into an empty window what was recorded, oldest first, in one call or
 * several.  What is older than px_window_over() says may be missing or there, what is of an
 * earlier life of the window, too.  False: these bytes are no entries that could
 * follow.
 */
extern bool px_window_load(px_window *w, px_bytes entries);

/*
 * May stored entries go, the last of which is of 'slot', once so much is applied?
 * Not by the bound on keys: see px_window.c.
 */
extern bool px_window_over(const px_window *w, px_slot slot, px_slot applied);

#endif /* PX_WINDOW_H */
