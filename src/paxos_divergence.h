/*
 * paxos_divergence.h
 *	  Running digests of recent slots, and comparing them between members.
 */
#ifndef PAXOS_DIVERGENCE_H
#define PAXOS_DIVERGENCE_H

#include "paxos_ext.h"

/* The learner: what it applies begins behind 'applied', whose digest is this. */
extern void paxos_divergence_begin(px_slot applied, uint64 digest);

/* The learner, after its commit: digests of slots first .. first + n - 1. */
extern void paxos_divergence_applied(px_slot first, int n, const uint64 *digests);

/* The last slot there is a digest of. */
extern px_slot paxos_divergence_newest(void);

/*
 * Digests of consecutive slots up to the newest, beginning above 'after' where
 * they still reach so far; how many, in digests[PAXOS_DIGESTS].
 */
extern int paxos_divergence_recent(px_slot after, px_slot *first, uint64 *digests);

/* What a member said of digests sent to it. */
typedef struct PaxosComparison
{
	uint32 compared; /* how many it could compare */
	px_slot agreed;  /* last slot of equal digests before the first difference; 0:
						 * none */
	px_slot differs; /* first slot of different digests; 0: none */
} PaxosComparison;

/* The same, as kept by the proposer for one member. */
typedef struct PaxosDivergence
{
	px_node node;
	bool known; /* has it ever compared anything? */
	px_slot agreed;
	px_slot differs; /* 0: does not differ */
} PaxosDivergence;

/* Take in a comparison; and, when all have had time to answer, say what follows. */
extern void paxos_divergence_note(PaxosDivergence *d, const PaxosComparison *c);
extern void paxos_divergence_judge(const PaxosDivergence *all, int n);

#endif /* PAXOS_DIVERGENCE_H */
