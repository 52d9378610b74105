/*
 * paxos_rowlock.h
 *	  Rows of consensus tables that a statement locks (paxos_rowlock.c), for the guard.
 */
#ifndef PAXOS_ROWLOCK_H
#define PAXOS_ROWLOCK_H

#include "executor/execdesc.h"

/* Before the executor starts: does it lock rows of consensus tables? */
extern bool paxos_rowlock_announce(PlannedStmt *stmt);

/* It has started. */
extern void paxos_rowlock_watch(QueryDesc *query);

#endif /* PAXOS_ROWLOCK_H */
