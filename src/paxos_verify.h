/*
 * paxos_verify.h
 *	  Comparing the contents of a table on all nodes at one slot: paxos_verify().
 */
#ifndef PAXOS_VERIFY_H
#define PAXOS_VERIFY_H

#include "paxos_command.h"

/* In the learner, at the slot: count and digest the rows into *result. */
extern void paxos_verify_apply(const PaxosVerifyOp *op, PaxosCommandResult *result);

/* And keep what came of it, also when it failed, for those who ask. */
extern void paxos_verify_keep(const PaxosVerifyOp *op, px_slot slot,
							  const PaxosCommandResult *result);

#endif /* PAXOS_VERIFY_H */
