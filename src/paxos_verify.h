/*
 * paxos_verify.h
 *	  Comparing the contents of a table on all nodes at one slot: paxos_verify().
 */
#ifndef PAXOS_VERIFY_H
#define PAXOS_VERIFY_H

#include "libpq-fe.h"

#include "paxos_command.h"
#include "paxos_configuration.h"

/* In the learner, at the slot: count and digest the rows into *result. */
extern void paxos_verify_apply(const PaxosVerifyOp *op, PaxosCommandResult *result);

/* And keep what came of it, also when it failed, for those who ask. */
extern void paxos_verify_keep(const PaxosVerifyOp *op, px_slot slot,
							  const PaxosCommandResult *result);

/* ---- asking, also for definitions (paxos_definitions.c) ---- */

/* 25001 in a transaction block; 55000 on who is no member. */
extern void paxos_verify_begin(const char *what);

/* paxos.statement_timeout from now on. */
extern px_usec paxos_verify_deadline(void);

/*
 * What a function of a member's, of a slot (and 'more', or NULL), returns when the member has
 * applied the slot: one row or more, to be cleared by the caller.  NULL and *note: why not.
 */
extern PGresult *paxos_verify_ask(const PaxosMember *m, px_slot slot, const char *function,
								  const char *more, px_usec deadline, char **note);

#endif /* PAXOS_VERIFY_H */
