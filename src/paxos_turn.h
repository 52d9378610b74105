/*
 * paxos_turn.h
 *	  Between sessions with write sets and the learner: who is in its way, and whose
 *	  turn it is (paxos_turn.c).
 */
#ifndef PAXOS_TURN_H
#define PAXOS_TURN_H

#include "paxos_replicated.h"

typedef enum PaxosDoom
{
	PAXOS_NOT_DOOMED,
	PAXOS_DOOMED_LOST,   /* by a command that changes one of its keys */
	PAXOS_DOOMED_UNKNOWN /* by something else */
} PaxosDoom;

/* ---- session ---- */

/* Its transaction begins to change consensus tables; and has ended. */
extern void paxos_turn_register(void);
extern void paxos_turn_unregister(void);

/* The learner has marked this session's transaction. */
extern PaxosDoom paxos_turn_doomed(void);

/* The cancellation that has just come is the learner's; of any session. */
extern bool paxos_turn_canceled(void);

/* It is, and this session has had no lock since then: asked once, for it is forgotten. */
extern bool paxos_turn_canceled_in_vain(px_usec since);

/* A command of this session has been decided: what the client sent is not to be tried again. */
extern void paxos_turn_decided(void);

/* 40001. */
#define PAXOS_DOOMED_MESSAGE "could not serialize access due to a concurrent change on another node"
#define PAXOS_DOOMED_DETAIL \
	"The transaction stood in the way of a change that the cluster has decided."
#define PAXOS_DOOMED_HINT "The transaction might succeed if retried."
extern void paxos_turn_raise(void) pg_attribute_noreturn();

/*
 * Before the set is queued: its keys, so that the learner can tell whether it has
 * lost.  40001 if it is doomed already.
 */
extern void paxos_turn_publish(const uint64 *keys, int n);

/*
 * A set's base: the highest slot of which everything is committed here.  It is said by
 * whoever commits it, in the commit: the learner's own word (paxos_shared->applied) comes a
 * moment later, and a transaction that has seen a change would be judged as if it had
 * not.
 */
extern px_slot paxos_turn_base(void);

/* The running transaction commits everything up to this slot. */
extern void paxos_turn_commits(px_slot slot);

/* In its turn: the row of paxos.replicated before and after; and where it is now. */
extern void paxos_turn_read(px_slot *slot, PaxosReplicated *before, PaxosReplicated *after);
extern void paxos_turn_wrote(const PaxosReplicated *after);

/* ---- learner ---- */

/*
 * Patience with a session.  Time counts as far as the learner has slept through it: of a nap that
 * took longer than it was to take, the rest is not the session's doing.  A machine that stands
 * still for seconds does so with both of them; by the clock alone the first to wake up would give
 * up on the other.
 */
typedef struct PaxosPatience
{
	px_usec looked_us;
	px_usec spent_us;
} PaxosPatience;

extern PaxosPatience paxos_patience_begin(void);

/* Behind a nap: is it over? */
extern bool paxos_patience_over(PaxosPatience *p, px_usec nap_us, px_usec most_us);

/* Is any transaction changing consensus tables here?  If not, nothing of its kind can
 * be in the way. */
extern bool paxos_turn_anyone(void);

/* What the command at hand changes, for paxos_turn_doom(); 'keys' stays valid. */
extern void paxos_turn_changing(const uint64 *keys, int n);

/*
 * The process, by number and id, was seen in the way at that moment and is about to be
 * cancelled: mark it, and its transaction if it has one of ours.
 */
extern void paxos_turn_doom(int number, int pid, px_usec seen_us);

/* What is committed has been read anew. */
extern void paxos_turn_begin(px_slot applied);

/* Before a turn is given. */
extern void paxos_turn_write(px_slot slot, const PaxosReplicated *before,
							 const PaxosReplicated *after);

/* Has its session said, in its commit, that the slot is committed?  And where the row is. */
extern bool paxos_turn_committed(px_slot slot, ItemPointer tid);

extern Size paxos_turn_shmem_size(void);
extern void paxos_turn_shmem_init(void);

#endif /* PAXOS_TURN_H */
