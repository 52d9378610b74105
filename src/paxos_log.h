/*
 * paxos_log.h
 *	  The log table paxos.log_entry(slot, ballot, chosen, value): append, read,
 *	  fetch.  Also the acceptor's row.
 *
 * Writers hold the acceptor lock (paxos_acceptor_lock_acquire) and read under a
 * snapshot taken after they hold it.  The learner reads without the lock what
 * it knows to be chosen: such an entry never changes.
 */
#ifndef PAXOS_LOG_H
#define PAXOS_LOG_H

#include "paxos_ext.h"

/* The transaction-long acceptor lock; released after the commit record is
 * flushed.  Ends a holder that keeps it beyond a bound. */
extern void paxos_acceptor_lock_acquire(void);

/*
 * Reads one entry under the active snapshot; false if the slot is not in the
 * log.  value is palloc'd in the current context.
 */
extern bool paxos_log_get(px_slot position, px_entry *entry);

/* Entries above w, at most max of them and none above w + max; *last: the
 * highest slot in the log, 0 if empty.  Bytes palloc'd in the current context. */
extern int paxos_log_above(px_slot w, int max, px_entry *entries, px_slot *last);

/*
 * Store fetched entries, known chosen, first .. first + n - 1, in a transaction of
 * its own, flushed, and publish px_acceptor_fetched().  Called by the learner
 * outside a transaction.  Every value has been checked with px_value_open.
 */
extern void paxos_log_store_fetched(const px_entry *entries, int n);

/*
 * A value in the own log fails its checksum: raises the alarm, and the learner will
 * fetch it from another member.
 */
extern void paxos_log_damaged(px_slot position);

/* A copy of the published acceptor state. */
extern px_acceptor paxos_acceptor_look(void);

/* PX_DO_PUBLISH: this node's leader knows every slot up to 'chosen' chosen.
 * Wakes the learner when the node's watermark moved. */
extern void paxos_acceptor_learn(px_ballot ballot, px_slot chosen);

/* PX_DO_HANDOVER_USED: clear px_acceptor.handover. */
extern void paxos_acceptor_handover_used(void);

#endif /* PAXOS_LOG_H */
