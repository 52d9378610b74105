/*
 * paxos_address.h
 *	  Where the members are that have come to this node.  (protocol.md § 7)
 */
#ifndef PAXOS_ADDRESS_H
#define PAXOS_ADDRESS_H

#include "nodes/pg_list.h"

#include "paxos_ext.h"

/*
 * Whom to ask for what this node lacks: the members it knows of, and who has introduced
 * itself and is none of those, as a list of PaxosMember.  In a transaction.
 */
extern List *paxos_address_givers(void);

/* Of another cluster now, or of none. */
extern void paxos_address_forget(void);

#endif /* PAXOS_ADDRESS_H */
