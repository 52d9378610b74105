/*
 * paxos_catchup.c
 *	  What this node lacks of the log, fetched from other members by the learner
 *	  (protocol.md §§ 4, 8).
 *
 * Three occasions: the stream began above what this node knows (it was away); a
 * candidate must know what voters know to be chosen before it may stand; an
 * entry of the own log cannot be read.
 *
 * paxos.fetch() returns only entries that the member asked knows to be chosen,
 * so they may be marked chosen here (paxos_log_store_fetched), which makes them
 * outrank every ballot in a later promise.  Each is checked with
 * px_value_open() first: a damaged value must neither be stored under that mark
 * nor be handed on.
 *
 * One connection is kept while slots are missing, and closed when none is.  A
 * member that cannot be reached, or has nothing for us, is passed over; after a
 * round without any success the next waits, twice as long each time, up to a
 * bound.  State is private to the process and a crash of it loses only the
 * connection.
 *
 * Not here: when to fetch (paxos_learner.c), and snapshots for what no log has
 * any more (paxos_snapshot.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "paxos_address.h"
#include "paxos_catchup.h"
#include "paxos_conn.h"
#include "paxos_log.h"
#include "paxos_node.h"

#define FETCH_BYTES (4 * 1024 * 1024)
#define FETCH_TIMEOUT_MS 10000
#define RETRY_FIRST_US UINT64CONST(100000)
#define RETRY_LAST_US UINT64CONST(5000000)

static PaxosConn *conn = NULL;
static px_node conn_node = 0;  /* where it leads */
static px_node last_asked = 0; /* the round goes on behind it */
static px_usec retry_at = 0;
static px_usec retry_us = 0;
static bool all_cut = false;    /* who answered in the last round has cut it */
static bool complained = false; /* one LOG line per time of trouble */

px_usec
paxos_catchup_retry_at(void)
{
	return retry_at;
}

bool
paxos_catchup_cut(void)
{
	return all_cut;
}

void
paxos_catchup_forget(void)
{
	all_cut = false;
	retry_at = 0;
	retry_us = 0;
	complained = false;
	paxos_catchup_close();
}

void
paxos_catchup_close(void)
{
	PaxosConn *c = conn;

	conn = NULL;
	conn_node = 0;
	paxos_conn_close(c);
}

static void
succeeded(void)
{
	retry_at = 0;
	retry_us = 0;
	complained = false;
}

static void
failed(void)
{
	retry_us = retry_us == 0 ? RETRY_FIRST_US : Min(retry_us * 2, RETRY_LAST_US);
	retry_at = paxos_now_us() + retry_us;
}

static void
complain(const char *name, px_slot from, const char *why)
{
	if (!complained || paxos_trace_level >= PAXOS_TRACE_MESSAGES)
		ereport(LOG,
				(errmsg("paxos learner: could not fetch slot " UINT64_FORMAT " from node %s: %s",
						from, name, why)));
	complained = true;
}

/* Whom to ask, the one to ask first in front; in 'where'. */
static List *
members_to_ask(px_node prefer, MemoryContext where)
{
	List *result = NIL;
	List *members;
	ListCell *lc;
	MemoryContext old;
	px_node self = paxos_shared->node_id;
	px_node leader;

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	leader = paxos_shared->leader;
	LWLockRelease(paxos_proposer_lock);
	if (prefer == 0 || prefer == self)
		prefer = leader;

	StartTransactionCommand();
	members = paxos_address_givers();
	old = MemoryContextSwitchTo(where);
	for (int pass = 0; pass < 3; pass++)
	{
		/* the preferred one; those behind the one last asked; the rest */
		foreach (lc, members)
		{
			PaxosMember *m = lfirst(lc);
			int when = m->node == prefer ? 0 : m->node > last_asked ? 1 : 2;

			if (m->node != self && when == pass)
			{
				PaxosMember *copy = palloc(sizeof(PaxosMember));

				*copy = *m;
				result = lappend(result, copy);
			}
		}
	}
	MemoryContextSwitchTo(old);
	CommitTransactionCommand();
	MemoryContextSwitchTo(where);
	return result;
}

static bool
connect_to(const PaxosMember *member, px_slot from)
{
	char *error = NULL;

	if (conn != NULL && conn_node == member->node)
		return true;
	paxos_catchup_close();
	conn = paxos_conn_open(member->conninfo, paxos_connect_timeout_ms, true, &error);
	if (conn == NULL)
	{
		complain(member->name, from, error != NULL ? error : "could not connect");
		return false;
	}
	conn_node = member->node;
	return true;
}

static uint64
int8_of(const PGresult *res, int row, int column)
{
	uint64 v;

	memcpy(&v, PQgetvalue(res, row, column), sizeof(v));
	return pg_ntoh64(v);
}

/*
 * Ask one member.  Entries point into the returned result, which the caller
 * clears; NULL if it gave none.
 */
static PGresult *
ask(const PaxosMember *member, px_slot from, px_slot to, px_entry **entries, int *n)
{
	static const char *const query =
		"SELECT slot, ballot, value FROM paxos.fetch($1::uuid, $2::int, $3::int, "
		"$4::bigint, $5::bigint, $6::int)";
	const char *params[6];
	char *error = NULL;
	PGresult *res;
	int rows;

	*n = 0;
	if (!connect_to(member, from))
		return NULL;
	params[0] =
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&paxos_shared->cluster_id)));
	params[1] = psprintf("%d", paxos_version_with(member->node));
	params[2] = psprintf("%u", paxos_shared->node_id);
	params[3] = psprintf(UINT64_FORMAT, from);
	params[4] = psprintf(UINT64_FORMAT, to);
	params[5] = psprintf("%d", FETCH_BYTES);
	res = paxos_conn_exec(conn, query, 6, params, 1, FETCH_TIMEOUT_MS, &error);
	if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK)
	{
		const char *sqlstate = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;

		if (sqlstate != NULL && strcmp(sqlstate, unpack_sql_state(ERRCODE_NO_DATA_FOUND)) == 0)
			all_cut = true;
		complain(member->name, from,
				 res == NULL ? (error != NULL ? error : "no answer")
							 : pchomp(PQresultErrorMessage(res)));
		if (res != NULL)
			PQclear(res);
		paxos_catchup_close();
		return NULL;
	}

	rows = PQntuples(res);
	*entries = palloc(sizeof(px_entry) * Max(rows, 1));
	for (int i = 0; i < rows; i++)
	{
		px_entry *e = &(*entries)[i];
		px_value_view view;

		if (PQgetlength(res, i, 0) != 8 || PQgetlength(res, i, 1) != 8)
			break;
		e->slot = int8_of(res, i, 0);
		e->ballot = int8_of(res, i, 1);
		e->chosen = true;
		e->value.data = (const uint8_t *) PQgetvalue(res, i, 2);
		e->value.len = (uint32_t) PQgetlength(res, i, 2);
		if (e->slot != from + i || e->slot > to || !px_value_open(e->value, &view))
		{
			complain(member->name, from + i, "what it sent is damaged");
			break;
		}
		(*n)++;
	}
	if (*n == 0)
	{
		/* it does not know them chosen, or its log is cut above them */
		if (rows == 0)
			complain(member->name, from, "it does not have it");
		PQclear(res);
		return NULL;
	}
	return res;
}

bool
paxos_catchup_fetch(px_slot from, px_slot to, px_node prefer)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos fetch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	bool stored = false;
	ListCell *lc;
	List *members;

	/* While it gives, the member at hand is asked on. */
	all_cut = false;
	members = members_to_ask(conn != NULL ? conn_node : prefer, cxt);
	foreach (lc, members)
	{
		PaxosMember *member = lfirst(lc);
		px_entry *entries;
		int n;
		PGresult *res;

		CHECK_FOR_INTERRUPTS();
		last_asked = member->node;
		res = ask(member, from, to, &entries, &n);
		if (res == NULL)
			continue;
		PG_TRY();
		{
			paxos_log_store_fetched(entries, n);
		}
		PG_FINALLY();
		{
			PQclear(res);
		}
		PG_END_TRY();
		stored = true;
		break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);

	if (stored)
	{
		all_cut = false;
		succeeded();
	}
	else
	{
		paxos_catchup_close();
		failed();
	}
	return stored;
}

bool
paxos_catchup_entry(px_slot position, MemoryContext where, px_entry *entry)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos fetch", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	bool found = false;
	ListCell *lc;
	List *members;

	members = members_to_ask(0, cxt);
	foreach (lc, members)
	{
		PaxosMember *member = lfirst(lc);
		px_entry *entries;
		int n;
		PGresult *res;
		uint8_t *copy;

		CHECK_FOR_INTERRUPTS();
		last_asked = member->node;
		res = ask(member, position, position, &entries, &n);
		if (res == NULL)
			continue;
		copy = MemoryContextAlloc(where, entries[0].value.len);
		memcpy(copy, entries[0].value.data, entries[0].value.len);
		*entry = entries[0];
		entry->value.data = copy;
		PG_TRY();
		{
			paxos_log_store_fetched(entries, 1);
		}
		PG_FINALLY();
		{
			PQclear(res);
		}
		PG_END_TRY();
		found = true;
		break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	if (found)
		succeeded();
	else
	{
		paxos_catchup_close();
		failed();
	}
	return found;
}
