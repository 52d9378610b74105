/*
 * px_origin.h
 *	  Exactly once (protocol.md § 5): the replicated state (incarnation, last)
 *	  per origin, and the verdict on an origin batch when it is applied.
 *
 * The state is changed only by applying the log, so it is the same on every
 * node at the same slot; the learner keeps it in a table, in the transaction
 * that applies.
 */
#ifndef PX_ORIGIN_H
#define PX_ORIGIN_H

#include "px_base.h"

#define PX_MAX_ORIGINS 64

typedef struct px_origin
{
	px_node node;
	uint64_t incarnation;
	uint64_t last; /* sequence of the last batch executed */
} px_origin;

typedef struct px_origins
{
	uint16_t n;
	px_origin at[PX_MAX_ORIGINS]; /* ascending node id */
} px_origins;

typedef enum px_verdict
{
	PX_EXECUTE,   /* next in order: run it (state has moved) */
	PX_DUPLICATE, /* run before: skip */
	PX_GAP,       /* comes too early: skip, its origin sends again */
	PX_STALE      /* of an incarnation that is over: skip */
} px_verdict;

extern const char *px_verdict_name(px_verdict v);

/* Judges batch (node, incarnation, sequence) and moves the state. */
extern px_verdict px_origins_judge(px_origins *o, px_node node, uint64_t incarnation,
								   uint64_t sequence);

/* The state of one origin; {node, 0, 0} if nothing of it was ever applied. */
extern px_origin px_origins_get(const px_origins *o, px_node node);

#endif /* PX_ORIGIN_H */
