/*
 * paxos_replicated.h
 *	  The row paxos.replicated: how far the log has been applied, and the state
 *	  that follows from the log alone; and the state digest.
 *
 * Written by the learner only, inside the transaction that applies.
 */
#ifndef PAXOS_REPLICATED_H
#define PAXOS_REPLICATED_H

#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "core/px_origin.h"
#include "core/px_window.h"
#include "paxos_request.h"

typedef struct PaxosReplicated
{
	px_slot applied;
	uint64 digest;
	uint64 log_time_us;
	px_origins origins;
	PaxosRequests requests;
	px_window_span window;
	ItemPointerData tid; /* of the row */
} PaxosReplicated;

/* Locked and open until the end of the transaction; an error if it is missing. */
extern Relation paxos_replicated_open(void);

/* Find the row and read it. */
extern void paxos_replicated_read(Relation rel, PaxosReplicated *r);

/* How far a snapshot shows the log applied. */
extern px_slot paxos_replicated_applied(Relation rel, Snapshot snapshot);

/*
 * Replace the row that 'before' stands for by 'after'; sets after->tid.  False,
 * and nothing changed, if the row is not what 'before' says: somebody else wrote
 * it.
 */
extern bool paxos_replicated_write(Relation rel, PaxosReplicated *before, PaxosReplicated *after);

/* A running digest takes in a number, or a text (NULL is none). */
extern uint64 paxos_digest_fold(uint64 digest, uint64 v);
extern uint64 paxos_digest_text(uint64 digest, const char *text);

#endif /* PAXOS_REPLICATED_H */
