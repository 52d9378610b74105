/*
 * paxos_resolve.h
 *	  A conninfo turned into libpq parameters whose host names are already
 *	  addresses, without ever blocking the caller.
 */
#ifndef PAXOS_RESOLVE_H
#define PAXOS_RESOLVE_H

#include "paxos_ext.h"

typedef struct PaxosResolve PaxosResolve;

typedef enum PaxosResolveState
{
	PAXOS_RESOLVE_PENDING, /* ask again later; no event announces the end */
	PAXOS_RESOLVE_DONE,
	PAXOS_RESOLVE_FAILED
} PaxosResolveState;

/* How often to ask again while PENDING. */
#define PAXOS_RESOLVE_POLL_MS 5

/*
 * Parse conninfo and start looking up its host names.  NULL and *error
 * (palloc'd) if conninfo does not parse.  Literal addresses and unix-domain
 * socket directories need no look-up: then the first poll says DONE.
 */
extern PaxosResolve *paxos_resolve_start(const char *conninfo, const char *application_name,
										 char **error);

/*
 * DONE: *keywords and *values are NULL-terminated arrays for
 * PQconnectStartParams, owned by r.  FAILED: *error is palloc'd.
 */
extern PaxosResolveState paxos_resolve_poll(PaxosResolve *r, const char *const **keywords,
											const char *const **values, char **error);

/* At any time, also while PENDING. */
extern void paxos_resolve_free(PaxosResolve *r);

#endif /* PAXOS_RESOLVE_H */
