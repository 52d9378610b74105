/*
 * paxos_version.h
 *	  Which versions of the protocol and of the formats in the log this node
 *	  speaks, and which one it may use.  (protocol.md § 13)
 */
#ifndef PAXOS_VERSION_H
#define PAXOS_VERSION_H

#include "core/px_base.h"

/*
 * The version of a build: one number for messages and for what is written to the
 * log.  A build answers messages of its own and the version before, and reads
 * the commands of all versions before: a log can be old.
 */
extern const int paxos_protocol_min;
extern const int paxos_protocol_max;

/* The version of messages for a member: the highest that both are known to speak. */
extern int paxos_version_with(px_node node);

/* The version of what is written to the log, or said to all: the highest that every
 * member is known to speak. */
extern int paxos_version_in_use(void);

/*
 * Error unless every member is known to speak this version, which 'what' (a plural) needs.
 * A member that has not been heard yet, as just after a start, is waited for a little.
 */
extern void paxos_version_require(int version, const char *what);

/* Write sets, and origin batches that stand alone. */
#define PAXOS_VERSION_SETS 2

/* Guards and two lists of operations (paxos_txn). */
#define PAXOS_VERSION_TXN 2

/* What definition a command was written for; statements that change definitions. */
#define PAXOS_VERSION_DEFINITIONS 2

/* A proposer introduces its node to whom it comes to. */
#define PAXOS_VERSION_INTRODUCE 2

/* Error for a peer that speaks or wants a version this node does not. */
extern void paxos_version_refuse(int version);

#endif /* PAXOS_VERSION_H */
