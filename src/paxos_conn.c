/*
 * paxos_conn.c
 *	  A libpq connection to another node for callers that may wait.
 *
 * What this file owns: connecting and running one statement at a time, with
 * every wait ending on latch, time-out, postmaster death or interrupt.  Host
 * names are resolved in paxos_resolve.c, for a wait inside getaddrinfo() would
 * hear none of these.  The proposer does not come here: it never waits.
 *
 * A PGconn is malloc'd and holds a socket, neither of which an error gives back
 * by itself.  So every open connection is in a list, and the end of the
 * transaction it was opened in closes it, unless it was opened for the session.
 * A crash of the process closes sockets; the other side sees that.
 */
#include "paxos_conn.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/wait_event.h"

#include "paxos_resolve.h"

struct PaxosConn
{
	PaxosConn *next;
	PGconn *pg; /* NULL while the address is looked up */
	PaxosResolve *resolve;
	bool counted; /* AcquireExternalFD() was called */
	bool session;
};

static PaxosConn *open_conns = NULL;
static bool callback_registered = false;
static uint32 connect_event = 0;
static uint32 exec_event = 0;

static void
swallow_notice(void *arg, const PGresult *res)
{
	/* what the other node has to say comes as a result or an error */
}

void
paxos_conn_close(PaxosConn *c)
{
	if (c == NULL)
		return;
	for (PaxosConn **at = &open_conns; *at != NULL; at = &(*at)->next)
	{
		if (*at == c)
		{
			*at = c->next;
			break;
		}
	}
	paxos_resolve_free(c->resolve);
	if (c->pg != NULL)
		PQfinish(c->pg);
	if (c->counted)
		ReleaseExternalFD();
	pfree(c);
}

/* The transaction ends: with it the connections that belong to it. */
static void
xact_callback(XactEvent event, void *arg)
{
	PaxosConn *c;
	PaxosConn *next;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	for (c = open_conns; c != NULL; c = next)
	{
		next = c->next;
		if (!c->session)
			paxos_conn_close(c);
	}
}

/* Milliseconds until 'deadline', at least 0. */
static int
time_left_ms(px_usec deadline)
{
	px_usec now = paxos_now_us();

	return now >= deadline ? 0 : (int) ((deadline - now + 999) / 1000);
}

/* Wait for io_flags on the socket (0: only for the time to pass). */
static void
wait_a_little(PaxosConn *c, int io_flags, int timeout_ms, uint32 wait_event)
{
	int rc;

	if (io_flags != 0)
		rc = WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH | io_flags,
							   PQsocket(c->pg), timeout_ms, wait_event);
	else
		rc = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
					   wait_event);
	if (rc & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* What open does, with errors thrown or returned; the caller closes on both. */
static bool
connect_within(PaxosConn *c, const char *conninfo, const char *application_name, px_usec deadline,
			   char **error)
{
	const char *const *keywords;
	const char *const *values;
	PaxosResolveState resolved;
	PostgresPollingStatusType poll = PGRES_POLLING_WRITING;

	c->resolve = paxos_resolve_start(conninfo, application_name, error);
	if (c->resolve == NULL)
		return false;
	while ((resolved = paxos_resolve_poll(c->resolve, &keywords, &values, error)) ==
		   PAXOS_RESOLVE_PENDING)
	{
		if (time_left_ms(deadline) == 0)
		{
			*error = pstrdup("looking up the host name timed out");
			return false;
		}
		wait_a_little(c, 0, PAXOS_RESOLVE_POLL_MS,
					  paxos_wait_event(&connect_event, "PaxosNodeConnect"));
	}
	if (resolved == PAXOS_RESOLVE_FAILED)
		return false;

	if (!AcquireExternalFD())
	{
		*error = pstrdup("too many open files");
		return false;
	}
	c->counted = true;
	c->pg = PQconnectStartParams(keywords, values, 0);
	if (c->pg == NULL)
	{
		*error = pstrdup("out of memory");
		return false;
	}
	PQsetNoticeReceiver(c->pg, swallow_notice, NULL);
	while (PQstatus(c->pg) != CONNECTION_BAD && poll != PGRES_POLLING_OK)
	{
		int left_ms = time_left_ms(deadline);

		if (left_ms == 0)
		{
			*error = pstrdup("connecting timed out");
			return false;
		}
		wait_a_little(c, poll == PGRES_POLLING_READING ? WL_SOCKET_READABLE : WL_SOCKET_WRITEABLE,
					  left_ms, paxos_wait_event(&connect_event, "PaxosNodeConnect"));
		if (time_left_ms(deadline) == 0)
			continue;
		poll = PQconnectPoll(c->pg);
		if (poll == PGRES_POLLING_FAILED)
			break;
	}
	if (PQstatus(c->pg) != CONNECTION_OK)
	{
		*error = pchomp(PQerrorMessage(c->pg));
		return false;
	}
	if (PQsetnonblocking(c->pg, 1) != 0)
	{
		*error = pchomp(PQerrorMessage(c->pg));
		return false;
	}
	paxos_resolve_free(c->resolve);
	c->resolve = NULL;
	return true;
}

PaxosConn *
paxos_conn_open(const char *conninfo, int timeout_ms, bool session, char **error)
{
	return paxos_conn_open_as(conninfo, "paxos node", timeout_ms, session, error);
}

PaxosConn *
paxos_conn_open_as(const char *conninfo, const char *application_name, int timeout_ms, bool session,
				   char **error)
{
	PaxosConn *c;
	volatile bool ok = false;

	if (!callback_registered)
	{
		RegisterXactCallback(xact_callback, NULL);
		callback_registered = true;
	}

	c = MemoryContextAllocZero(TopMemoryContext, sizeof(PaxosConn));
	c->session = session;
	c->next = open_conns;
	open_conns = c;

	PG_TRY();
	{
		ok = connect_within(c, conninfo, application_name,
							paxos_now_us() + (px_usec) timeout_ms * 1000, error);
	}
	PG_CATCH();
	{
		paxos_conn_close(c);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (!ok)
	{
		paxos_conn_close(c);
		return NULL;
	}
	return c;
}

/*
 * The answer will not be waited for any more.  The connection is of no further
 * use: a late answer would be taken for that of the next statement.  (PQcancel()
 * would open another connection and wait for it, which may take as long as what
 * it cancels.)
 */
static void
give_up(PaxosConn *c)
{
	PQfinish(c->pg);
	c->pg = NULL;
	ReleaseExternalFD();
	c->counted = false;
}

PGresult *
paxos_conn_exec(PaxosConn *c, const char *sql, int n_params, const char *const *params,
				int result_format, int timeout_ms, char **error)
{
	px_usec deadline = paxos_now_us() + (px_usec) timeout_ms * 1000;
	uint32 wait_event = paxos_wait_event(&exec_event, "PaxosNodeQuery");
	PGresult *volatile last = NULL;
	volatile bool failed = false;

	if (c->pg == NULL)
	{
		*error = pstrdup("connection was lost");
		return NULL;
	}
	if (!PQsendQueryParams(c->pg, sql, n_params, NULL, params, NULL, NULL, result_format))
	{
		*error = pchomp(PQerrorMessage(c->pg));
		return NULL;
	}

	PG_TRY();
	{
		for (;;)
		{
			int unsent;
			int left_ms;

			/* Take every result that is complete; NULL ends the statement. */
			while (!PQisBusy(c->pg))
			{
				PGresult *res = PQgetResult(c->pg);

				if (res == NULL)
					goto done;
				if (last != NULL)
					PQclear(last);
				last = res;
			}

			unsent = PQflush(c->pg);
			left_ms = time_left_ms(deadline);
			if (unsent < 0 || left_ms == 0)
			{
				*error = unsent < 0 ? pchomp(PQerrorMessage(c->pg))
									: psprintf("no answer within %d ms", timeout_ms);
				failed = true;
				break;
			}
			wait_a_little(c, WL_SOCKET_READABLE | (unsent > 0 ? WL_SOCKET_WRITEABLE : 0), left_ms,
						  wait_event);
			if (!PQconsumeInput(c->pg) && PQisBusy(c->pg))
			{
				*error = pchomp(PQerrorMessage(c->pg));
				failed = true;
				break;
			}
		}
	done:;
	}
	PG_CATCH();
	{
		if (last != NULL)
			PQclear(last);
		/* the answer that is still coming belongs to nobody */
		give_up(c);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (last != NULL && (failed || PQstatus(c->pg) == CONNECTION_BAD))
	{
		if (!failed)
			*error = pchomp(PQresultErrorMessage(last));
		failed = true;
		PQclear(last);
	}
	else if (last == NULL && !failed)
	{
		*error = pstrdup("connection was lost");
		failed = true;
	}
	if (failed)
	{
		give_up(c);
		return NULL;
	}
	return last;
}
