/*
 * paxos_identity.h
 *	  Is this data directory the one that this node last ran with?
 *	  (protocol.md § 10)
 */
#ifndef PAXOS_IDENTITY_H
#define PAXOS_IDENTITY_H

#include "paxos_alarm.h"
#include "paxos_node.h"

/* Write the sentinel file for row->incarnation, and into the row what it is known
 * by.  The caller then writes the row, flushed.  Needs the acceptor lock. */
extern void paxos_identity_stamp(PaxosNodeRow *row);

/* And whose server this is; for the moment at which it becomes the node. */
extern void paxos_identity_adopt(PaxosNodeRow *row);

/*
 * Why this server may not vote as the node it claims to be, in 'why' and as an
 * alarm; true if it may.  In a transaction, under the acceptor lock.
 */
extern bool paxos_identity_judge(const PaxosNodeRow *row, PaxosAlarmKind *kind, char *why,
								 Size size);

/*
 * This node has forgotten something: durably, it does not vote any more.  Inside
 * a transaction that the caller commits.
 */
extern void paxos_identity_doubt(const char *why);

/*
 * Before a life of the proposer: does this node's own address lead to this very
 * server?  False, and the alarm stands, if it leads to another.  Outside a
 * transaction; waits for a connection.
 */
extern bool paxos_identity_check_address(void);

/* The own address was found to lead to another server (said by a connection). */
extern void paxos_identity_twin(const char *why);

#endif /* PAXOS_IDENTITY_H */
