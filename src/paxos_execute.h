/*
 * paxos_execute.h
 *	  Carrying out the value of a slot (paxos_execute.c).  Learner only.
 */
#ifndef PAXOS_EXECUTE_H
#define PAXOS_EXECUTE_H

#include "nodes/pg_list.h"

#include "core/px_value.h"
#include "paxos_replicated.h"

#define PAXOS_OUTCOME_SLOTS 256 /* one transaction carries out no more */

/* The result of a command of this node, for the cell of its session. */
typedef struct PaxosDelivery
{
	uint32 cell;
	uint64 generation;
	uint64 incarnation;
	uint64 sequence;
	uint32 index;
	px_slot decided_at;
	char *result;
	Size len;
} PaxosDelivery;

typedef struct PaxosSettlement
{
	uint64 old_incarnation;
	uint64 old_last;
	uint64 new_incarnation;
} PaxosSettlement;

/* What a transaction has to tell after its commit; zeroes before it. */
typedef struct PaxosOutcome
{
	List *deliveries;  /* of PaxosDelivery *, oldest first */
	List *settlements; /* of PaxosSettlement * */
	uint64 gaps;
	uint64 slots;
	uint64 digests[PAXOS_OUTCOME_SLOTS]; /* after each of them */
	uint64 commands;
	uint64 not_met;
	uint64 errors;

	/* A statement was carried out: what comes behind it has another transaction, because a
	 * label of an enum cannot be used in the one that adds it. */
	bool new_definitions;

	/* Of a set that was judged: what it changes, NULL if it was not certified; and the
	 * number of its parts. */
	uint64 *certified_keys;
	int n_certified_keys;
	uint64 certified_parts;
} PaxosOutcome;

/*
 * In the transaction of the learner: its state, which moves on with each slot, and what is
 * to be told, in memory that outlives the commit ('results').  Both are the caller's, and
 * in use up to the end or, after an error, until all is given up.
 */
extern void paxos_execute_begin(PaxosReplicated *state, PaxosOutcome *to_tell,
								MemoryContext results);
extern void paxos_execute_end(void);
extern void paxos_execute_abort(void);

/* The next slot.  Carefully: with a subtransaction for each command. */
extern void paxos_execute_value(px_slot slot, const px_value_view *view, bool careful);

/* The same of one that holds a write set alone, which is judged and not applied. */
extern void paxos_execute_judge(px_slot slot, const px_value_view *view);

/*
 * Is what was thrown the result of the command, on every node alike?  Otherwise it is of
 * the surroundings.  May be asked after paxos_execute_abort().
 */
extern bool paxos_execute_error_is_result(const ErrorData *edata);

/* Which command of the slot is being carried out, from 0, for errors. */
extern uint32 paxos_execute_at_command(void);

#endif /* PAXOS_EXECUTE_H */
