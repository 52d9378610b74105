/*
 * px_ballot.h
 *	  Ballots: round << 16 | node id, totally ordered, never used twice.
 *
 * (Lamport, "The Part-Time Parliament": ballot; Raft: term.)  The node id in
 * the low bits makes ballots of different proposers differ; a proposer makes
 * its own differ by having its own acceptor promise a ballot durably before
 * anyone else hears of it.
 */
#ifndef PX_BALLOT_H
#define PX_BALLOT_H

#include "px_base.h"

#define PX_MAX_ROUND \
	((UINT64_C(1) << 47) - 1) /* keeps a ballot positive as
													 * a signed 64-bit number */

/*
 * Rounds grow by one above the highest seen.  Who speaks of one so far above
 * what this node's acceptor has promised is not believed: once promised, it
 * would be durable, and leave no rounds for anybody.
 */
#define PX_MAX_LEAP (UINT64_C(1) << 32)

static inline px_ballot
px_ballot_make(uint64_t round, px_node node)
{
	PX_ASSERT(round > 0 && round <= PX_MAX_ROUND && node > 0);
	return round << 16 | node;
}

static inline uint64_t
px_ballot_round(px_ballot b)
{
	return b >> 16;
}

static inline px_node
px_ballot_node(px_ballot b)
{
	return (px_node) (b & 0xffff);
}

/* The lowest ballot of 'node' that is above 'seen'. */
static inline px_ballot
px_ballot_above(px_ballot seen, px_node node)
{
	return px_ballot_make(px_ballot_round(seen) + 1, node);
}

#endif /* PX_BALLOT_H */
