/*
 * paxos_serial.h
 *	  What a SERIALIZABLE transaction has read (paxos_serial.c), for the guard.
 */
#ifndef PAXOS_SERIAL_H
#define PAXOS_SERIAL_H

#include "executor/execdesc.h"

/* Is the transaction one? */
extern bool paxos_serial(void);

/* In such a transaction: the query has started. */
extern void paxos_serial_watch(QueryDesc *query);

#endif /* PAXOS_SERIAL_H */
