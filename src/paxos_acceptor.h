/*
 * paxos_acceptor.h
 *	  Inside the acceptor: what paxos_acceptor.c, paxos_log.c, paxos_node.c and
 *	  paxos_cluster.c know of each other and nobody else needs.
 */
#ifndef PAXOS_ACCEPTOR_H
#define PAXOS_ACCEPTOR_H

#include "fmgr.h"

#include "paxos_log.h"

/*
 * Heavyweight locks of ours: LOCKTAG_ADVISORY with a field 4 that no user's
 * advisory lock has, and one number each.
 */
#define PAXOS_LOCK_FIELD4 0x5058
#define PAXOS_LOCK_ACCEPTOR 1  /* paxos_log.c, transaction-long */
#define PAXOS_LOCK_FORMING 2   /* paxos_cluster.c, session-long */
#define PAXOS_LOCK_CONFIGURE 3 /* paxos_member.c, one change at a time */

/* ---- paxos_log.c ---- */

/* A relation of schema paxos by name, in this database; InvalidOid if there is none. */
extern Oid paxos_internal_relid(const char *name);

/*
 * Give the acceptor lock back before the transaction's end, for a caller that
 * only read.  A caller that wrote keeps it: the next holder must see its
 * commit.
 */
extern void paxos_acceptor_lock_release(void);

/* End-of-transaction bookkeeping of the lock, before it is released. */
extern void paxos_acceptor_lock_forget(void);

/*
 * n entries of different slots.  Needs the lock.  Replaces what stands in their slots (never an
 * entry marked chosen).
 */
extern void paxos_log_put_many(const px_entry *entries, int n);

/* Bytes of the values that the log holds of slots from .. to. */
extern uint64 paxos_log_bytes(px_slot from, px_slot to);

/*
 * Delete entries from 'from' on, up to 'to', no more than one transaction shall
 * take; returns up to where.  Needs the lock.
 */
extern px_slot paxos_log_delete(px_slot from, px_slot to);

/* The row of paxos.acceptor under the active snapshot. */
typedef struct PaxosAcceptorRow
{
	px_ballot promised;
	px_slot truncated;
	px_usec longest_lease_us;
} PaxosAcceptorRow;

extern PaxosAcceptorRow paxos_acceptor_row_read(void);
extern void paxos_acceptor_row_write(const PaxosAcceptorRow *row);

/* ---- paxos_acceptor.c ---- */

/*
 * Every function of a peer begins so: arguments 0, 1, 2 are cluster, protocol
 * version and sender.  Raises an error for a stranger; returns the sender.
 * *may_vote: this node is a member in good standing.
 */
extern px_node paxos_peer_check(FunctionCallInfo fcinfo, bool *may_vote);

/*
 * The same without an error for a member known to be removed: for what the core has
 * an answer of its own to (protocol.md § 7).  A node not heard of is let pass by
 * both: perhaps it is this one that lags.
 */
extern px_node paxos_peer_check_asker(FunctionCallInfo fcinfo, bool *may_vote);

/*
 * px_acceptor_config_due(): record what is known chosen now, in a transaction of
 * its own, flushed, and publish it.  Outside a transaction.
 */
extern void paxos_acceptor_settle_configuration(void);

/* Argument n as an unsigned number; NULL and negative ones are errors. */
extern uint64 paxos_arg_u64(FunctionCallInfo fcinfo, int n, const char *name);

/* Be told of the end of this backend's transactions; the lock and whatever is
 * staged depend on it. */
extern void paxos_acceptor_watch_transaction(void);

/*
 * Slots up to 'to' leave the log (truncation), or were never in it and are known
 * chosen by a snapshot.  Inside a transaction that holds the acceptor lock, under
 * a snapshot taken after it; published when that commits.
 */
extern void paxos_acceptor_stage_cut(px_slot to);

/* The transaction's commit waits for our own disk and for no standby's. */
extern void paxos_commit_locally(void);

#endif /* PAXOS_ACCEPTOR_H */
