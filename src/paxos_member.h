/*
 * paxos_member.h
 *	  A request to change the configuration on its way from a session on the
 *	  leader's server to the leader's proposer: one at a time, in shared memory
 *	  (paxos_shmem.h), under paxos_proposer_lock.
 *
 *		NONE -> WANTED		the session that holds PAXOS_LOCK_CONFIGURE
 *		WANTED -> TAKEN		the proposer gave it to its core
 *		-> ANSWERED			the proposer; wakes the session
 *		any -> NONE			the session, when it has its answer or gives up
 */
#ifndef PAXOS_MEMBER_H
#define PAXOS_MEMBER_H

#include "core/px_proposer.h"

/* The requests of this server's sessions are numbered from 1; this is the leader's own. */
#define PAXOS_OWN_REQUEST 0

/* The proposer's part: take a waiting request (true), whose bytes are valid until
 * the next call; and give an answer back. */
extern bool paxos_configure_take(px_configure *configure);
extern void paxos_configure_answer(uint64 request, px_change_result result, px_slot at);

/* The proposer ends its life: nobody will answer what it has taken. */
extern void paxos_configure_abandon(void);

#endif /* PAXOS_MEMBER_H */
