/*
 * paxos_snapshot.h
 *	  Loading the tables of another member at one slot, instead of slots that no
 *	  log has any more (paxos_snapshot.c); giving them (paxos_snapshot_send.c).
 *
 * A node that has just been given an identity - a row in paxos.node, state
 * 'member', and in paxos.configuration the configuration it is a member of, at a
 * slot above 0 - and nothing else loads one by itself: its learner sees that it has
 * applied nothing and does not know the configuration the cluster was formed with
 * (paxos_snapshot_needed), and that the leader has come to it.  It needs no call.  The log alone would not do: rows that
 * were there before the cluster was formed are in no slot.  Any member of that
 * configuration that can be reached may be the source, and the source must know
 * this node as a member (paxos_peer_check), so its configuration comes first.
 * Progress: paxos.snapshot_progress.
 */
#ifndef PAXOS_SNAPSHOT_H
#define PAXOS_SNAPSHOT_H

#include "paxos_ext.h"

/*
 * Learner only, outside a transaction: load a snapshot of at_least or above from
 * the first member that has one.  Returns its slot, at which paxos.replicated and
 * all tables are now, or 0 if nobody had one.  Throws; then everything is as before,
 * and the caller says so with paxos_snapshot_failed() once the transaction is gone.
 */
extern px_slot paxos_snapshot_load(px_slot at_least);
extern void paxos_snapshot_failed(const char *why);

/*
 * Learner only, outside a transaction: ask the members whether this node has been
 * removed; if one says so, that is recorded.
 */
extern bool paxos_snapshot_told_removed(void);

/* Learner only, in a transaction: is this a new member without any state? */
extern bool paxos_snapshot_needed(void);

/*
 * Have the learner load a snapshot even if it lacks nothing (its tables are not
 * what they should be); returns at once.
 */
extern void paxos_snapshot_order(void);

#endif /* PAXOS_SNAPSHOT_H */
