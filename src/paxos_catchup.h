/*
 * paxos_catchup.h
 *	  The learner asks other members for log entries they know to be chosen
 *	  (protocol.md §§ 4, 8).
 */
#ifndef PAXOS_CATCHUP_H
#define PAXOS_CATCHUP_H

#include "paxos_ext.h"

/*
 * Ask one member for the slots from .. to, at most a few megabytes of them, and
 * store what comes.  'prefer' (0: nobody) is asked first, then the leader, then
 * the others in turn.  True if anything was stored; after false,
 * paxos_catchup_retry_at() says when to ask again.  Outside a transaction; may
 * wait a few seconds for the other node.
 */
extern bool paxos_catchup_fetch(px_slot from, px_slot to, px_node prefer);

/*
 * The entry of one slot that this node's own log cannot give: from the first
 * member that has it, checked; its value palloc'd in 'where'.  Also stored.
 */
extern bool paxos_catchup_entry(px_slot position, MemoryContext where, px_entry *entry);

/*
 * In the last round nobody had the slot, and somebody said that its log is cut above
 * it: only a snapshot helps.  True until something was stored or all is forgotten.
 */
extern bool paxos_catchup_cut(void);
extern void paxos_catchup_forget(void);

/* 0: at once. */
extern px_usec paxos_catchup_retry_at(void);

/* Nothing is missing any more, or an error was thrown: the connection is closed. */
extern void paxos_catchup_close(void);

#endif /* PAXOS_CATCHUP_H */
