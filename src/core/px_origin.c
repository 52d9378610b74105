/*
 * px_origin.c
 *	  Exactly once: judging origin batches when they are applied
 *	  (protocol.md § 5).
 *
 * Owns: the rule that turns (incarnation, last) and the number of a batch into
 * a verdict.  Not its business: keeping the state (the learner does, in the
 * transaction that applies) and numbering batches (px_outbox.c).
 *
 * Invariant 7 (every command takes effect at most once): within one origin's
 * incarnation 'last' only ever grows by one, and only a batch that is exactly
 * the next one is executed.  The state is a function of the log alone, so every
 * node gives every batch the same verdict; a crash loses nothing, because the
 * state is in the tables.
 */
#include <string.h>

#include "px_origin.h"

const char *
px_verdict_name(px_verdict v)
{
	switch (v)
	{
		case PX_EXECUTE:
			return "execute";
		case PX_DUPLICATE:
			return "duplicate";
		case PX_GAP:
			return "gap";
		case PX_STALE:
			return "stale";
	}
	return "unknown";
}

/* Where 'node' stands, or would have to be inserted. */
static int
find_origin(const px_origins *o, px_node node)
{
	int i = 0;

	while (i < o->n && o->at[i].node < node)
		i++;
	return i;
}

px_verdict
px_origins_judge(px_origins *o, px_node node, uint64_t incarnation, uint64_t sequence)
{
	int i = find_origin(o, node);
	px_origin *at = &o->at[i];

	if (i == o->n || at->node != node)
	{
		/*
		 * A first batch that is not the first of its incarnation changes
		 * nothing yet.  When the table is full every node skips alike: an
		 * origin too many waits, and no other is forgotten for it.
		 */
		if (o->n == PX_MAX_ORIGINS)
			return PX_STALE;
		memmove(at + 1, at, (size_t) (o->n - i) * sizeof(px_origin));
		o->n++;
		at->node = node;
		at->incarnation = incarnation;
		at->last = 0;
	}

	if (incarnation < at->incarnation)
		return PX_STALE;
	if (incarnation > at->incarnation)
	{
		at->incarnation = incarnation;
		at->last = 0;
	}
	if (sequence <= at->last)
		return PX_DUPLICATE;
	if (sequence > at->last + 1)
		return PX_GAP;
	at->last = sequence;
	return PX_EXECUTE;
}

px_origin
px_origins_get(const px_origins *o, px_node node)
{
	int i = find_origin(o, node);
	px_origin none = {node, 0, 0};

	return i < o->n && o->at[i].node == node ? o->at[i] : none;
}
