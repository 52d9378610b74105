/*
 * paxos_truncate.h
 *	  Cutting the log, by the learner, between its transactions.
 */
#ifndef PAXOS_TRUNCATE_H
#define PAXOS_TRUNCATE_H

#include "paxos_ext.h"

/*
 * Count or delete a little, if there is anything to; true if there is more to do
 * at once.  Outside a transaction, in one (or two) of its own.  Errors are thrown.
 */
extern bool paxos_truncate_some(void);

/* The counts are of another log than the one that is there now. */
extern void paxos_truncate_reset(void);

/* After an error: not again at once. */
extern void paxos_truncate_failed(void);

#endif /* PAXOS_TRUNCATE_H */
