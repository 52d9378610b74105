/*
 * paxos_conn.h
 *	  A libpq connection to another node for callers that may wait (session
 *	  backends forming a cluster, the learner fetching): every wait ends on
 *	  latch, time-out, postmaster death or interrupt, and an error thrown
 *	  anywhere closes the connection.
 *
 * The proposer does not use this: it never waits (paxos_peer.h).
 */
#ifndef PAXOS_CONN_H
#define PAXOS_CONN_H

#include "libpq-fe.h"

#include "paxos_ext.h"

typedef struct PaxosConn PaxosConn;

/*
 * Connect within timeout_ms.  Our own options (paxos_peer_options,
 * application_name, keepalives, tcp_user_timeout, connect_timeout) are added to
 * conninfo; those win over what conninfo says.  NULL and *error (palloc'd) on
 * failure.  The connection belongs to the current resource owner's transaction
 * or, when 'session' is true, lives until paxos_conn_close().
 */
extern PaxosConn *paxos_conn_open(const char *conninfo, int timeout_ms, bool session, char **error);

/* The same under another application_name than that of nodes at work. */
extern PaxosConn *paxos_conn_open_as(const char *conninfo, const char *application_name,
									 int timeout_ms, bool session, char **error);
extern void paxos_conn_close(PaxosConn *c);

/*
 * Run one statement with text parameters; the result (any status) or NULL and
 * *error on time-out or a lost connection.  The caller clears it with PQclear.
 */
extern PGresult *paxos_conn_exec(PaxosConn *c, const char *sql, int n_params,
								 const char *const *params, int result_format, int timeout_ms,
								 char **error);

#endif /* PAXOS_CONN_H */
