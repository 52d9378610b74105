/*
 * paxos_read.h
 *	  How new what a statement reads must be (paxos_read.c).
 */
#ifndef PAXOS_READ_H
#define PAXOS_READ_H

#include "paxos_ext.h"

typedef enum PaxosReadConsistency
{
	PAXOS_READ_LOCAL,
	PAXOS_READ_SESSION,
	PAXOS_READ_BOUNDED,
	PAXOS_READ_LINEARIZABLE
} PaxosReadConsistency;

extern int paxos_read_consistency; /* paxos.read_consistency */
extern int paxos_max_staleness_ms; /* paxos.max_staleness */
extern char *paxos_session_token;  /* paxos.session_token */

/* Check hook of paxos.session_token. */
extern bool paxos_check_session_token(char **newval, void **extra, GucSource source);
extern void paxos_assign_session_token(const char *newval, void *extra);

/* What this transaction reads from here on is read as it is: it has a snapshot of its
 * own choice. */
extern void paxos_read_as_it_is(void);

extern void paxos_read_install_hooks(void);

#endif /* PAXOS_READ_H */
