/*
 * px_origin.h
 *	  Exactly once (protocol.md § 5): the replicated state (incarnation, last)
 *	  per origin, and the verdict on an origin batch when it is applied.
 *
 * The state is changed only by applying the log, so it is the same on every
 * node at the same slot; the learner keeps it in a table, in the transaction
 * that applies.
 *
 * Origins are members.  When a configuration is applied, who is no member any
 * more is forgotten, and whatever of it is chosen later is stale: its id is not
 * used again, so nobody ever has to remember how far it was.
 */
#ifndef PX_ORIGIN_H
#define PX_ORIGIN_H

#include "px_quorum.h"

#define PX_MAX_ORIGINS PX_MAX_MEMBERS

typedef struct px_origin
{
	px_node node;
	uint64_t incarnation;
	uint64_t last; /* sequence of the last batch executed */
} px_origin;

typedef struct px_origins
{
	px_slot config; /* newest configuration applied; 0: none but the one the
								 * cluster was formed with */
	uint16_t n;
	px_origin at[PX_MAX_ORIGINS]; /* ascending node id */
} px_origins;

typedef enum px_verdict
{
	PX_EXECUTE,   /* next in order: run it (state has moved) */
	PX_DUPLICATE, /* run before: skip */
	PX_GAP,       /* comes too early: skip, its origin sends again */
	PX_STALE      /* of an incarnation that is over, or of no member: skip */
} px_verdict;

extern const char *px_verdict_name(px_verdict v);

/* Judges batch (node, incarnation, sequence) and moves the state. */
extern px_verdict px_origins_judge(px_origins *o, px_node node, uint64_t incarnation,
								   uint64_t sequence);

/*
 * The configuration at config->slot is applied.  What a node that it removes
 * has waiting is settled by its state before this call: a batch above that never
 * took effect and never will.
 */
extern void px_origins_configure(px_origins *o, const px_config *config);

/* The state of one origin; {node, 0, 0} if nothing of it was ever applied. */
extern px_origin px_origins_get(const px_origins *o, px_node node);

#endif /* PX_ORIGIN_H */
