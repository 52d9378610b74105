/*
 * paxos_memory.h
 *	  What members remember of each other, and what a node compares with it.
 *	  (protocol.md § 10)
 */
#ifndef PAXOS_MEMORY_H
#define PAXOS_MEMORY_H

#include "paxos_ext.h"

/* A member has said that this much is durable there. */
extern void paxos_memory_note(px_node node, px_ballot promised, px_slot accepted);

/* It has said that this is the highest version it speaks, now. */
extern void paxos_memory_note_version(px_node node, int version);

/* The version it was last heard to speak; 0: not known. */
extern int paxos_memory_version(px_node node);

/* What this node remembers of a member; all zero if nothing. */
extern void paxos_memory_get(px_node node, PaxosMemory *memory);

/*
 * Another member remembers this of us.  False if this node shows less, that is has
 * forgotten something; it has then been fenced, durably.
 */
extern bool paxos_memory_compare(px_node by, uint64 incarnation, px_ballot promised,
								 px_slot accepted);

/* It has met another server that said it is this node, in this incarnation: fenced
 * likewise. */
extern void paxos_memory_twin(px_node by, uint64 incarnation);

/* The most that anybody has told us of ourselves since the start. */
extern void paxos_memory_claims(PaxosMemory *claims);

/* In a backend that was greeted: an error if its peer's life is over. */
extern void paxos_memory_check_sender(px_node sender);

/* The table, under the active snapshot; how many rows. */
extern int paxos_memory_read(PaxosMemory *memories);

/* The learner, outside a transaction: write down what has become worth it.  Returns
 * true if it wrote. */
extern bool paxos_memory_save(void);

#endif /* PAXOS_MEMORY_H */
