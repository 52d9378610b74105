/*
 * paxos_leave.c
 *	  Leaving a cluster for good: paxos_leave_cluster() makes this server what
 *	  CREATE EXTENSION left, and paxos_rejoin() lets it join again as a new node.
 *
 * Owns: the clearing of all of this node's tables.  Not its business: that the
 * others take it out of the configuration (paxos_member.c).
 *
 * A node that leaves takes with it what it promised and accepted, so it must
 * never vote again under its number.  It cannot: numbers are not reused, and from
 * the commit on it answers the cluster's messages with "in no cluster".  To the
 * others it is a member that is down until they remove it, which is why
 * one in good standing has to insist.
 *
 * The workers and the peers' backends are held off from before the first change
 * until the end of the transaction, so nobody answers from a memory that is
 * being wiped.  A crash in between leaves the node as it was.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_cluster.h"
#include "paxos_configuration.h"
#include "paxos_node.h"
#include "paxos_object.h"

PG_FUNCTION_INFO_V1(paxos_leave_cluster);
PG_FUNCTION_INFO_V1(paxos_rejoin);

#define READMIT_TIMEOUT_MS 120000

static void
run(const char *sql, int expected)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc != expected)
		elog(ERROR, "could not clear the tables of this node: %s", SPI_result_code_string(rc));
}

/* By row, as no trigger of it may fire: they refuse whoever is not the learner. */
static void
clear_kv(void)
{
	Relation kv = table_open(paxos_internal_relid("kv"), AccessExclusiveLock);
	SysScanDesc scan = systable_beginscan(kv, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(kv, &tuple->t_self);
	systable_endscan(scan);
	table_close(kv, NoLock);
}

/*
 * All tables of this node.  Consensus tables go as DROP TABLE would: an object
 * of this server that depends on one is named in the error, and nothing is lost.
 */
static void
clear_tables(void)
{
	StringInfoData drop;

	paxos_objects_leave(true);
	SPI_connect();
	if (SPI_execute("SELECT relid::text FROM paxos.tables t JOIN pg_catalog.pg_class c"
					" ON c.oid = t.relid WHERE table_id <> 1 ORDER BY table_id",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not list the tables of this node");
	initStringInfo(&drop);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&drop, "%s%s", i > 0 ? ", " : "DROP TABLE ",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	if (drop.len > 0)
		run(drop.data, SPI_OK_UTILITY);
	run("DELETE FROM paxos.tables WHERE table_id <> 1", SPI_OK_DELETE);
	paxos_objects_leave(false);
	clear_kv();
	run("DELETE FROM paxos.request", SPI_OK_DELETE);
	run("DELETE FROM paxos.window", SPI_OK_DELETE);
	run("TRUNCATE paxos.set_part", SPI_OK_UTILITY);
	run("UPDATE paxos.replicated SET applied = 0, digest = 0, log_time_us = 0, origins = '{}',"
		" requests = 0, request_bytes = 0, configuration = 0, window_from = 0,"
		" window_used = 0",
		SPI_OK_UPDATE);
	run("TRUNCATE paxos.log_entry", SPI_OK_UTILITY);
	run("DELETE FROM paxos.configuration", SPI_OK_DELETE);
	run("DELETE FROM paxos.member_memory", SPI_OK_DELETE);
	run("DELETE FROM paxos.node", SPI_OK_DELETE);
	run("UPDATE paxos.acceptor SET promised = 0, truncated = 0, longest_lease_us = 0",
		SPI_OK_UPDATE);
	SPI_finish();
}

static bool leaving = false;

/* At once, not when the workers have started again and looked. */
static void
end_of_leave(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;
	if (leaving && event == XACT_EVENT_COMMIT)
		paxos_node_forgotten();
	leaving = false;
}

static void
leave(void)
{
	static bool watching = false;

	if (!watching)
	{
		RegisterXactCallback(end_of_leave, NULL);
		watching = true;
	}
	leaving = true;

	paxos_hold_off_until_end();
	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());

	/* As for the learner: the rules for sessions are not for this. */
	paxos_applying = true;
	PG_TRY();
	{
		clear_tables();
	}
	PG_FINALLY();
	{
		paxos_applying = false;
	}
	PG_END_TRY();
	PopActiveSnapshot();
	paxos_commit_locally();
}

static PaxosMembership
own_membership(void)
{
	PaxosMembership membership;

	paxos_require_right_place();
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	membership = paxos_shared->membership;
	LWLockRelease(paxos_identity_lock);
	if (membership < PAXOS_FORMING)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster"),
						errhint("Call paxos_add_member() on a member to add it to one.")));
	return membership;
}

/* paxos_leave_cluster(force boolean DEFAULT false) RETURNS void */
Datum
paxos_leave_cluster(PG_FUNCTION_ARGS)
{
	bool force = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);

	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("paxos_leave_cluster() cannot run inside a transaction block")));
	if (own_membership() == PAXOS_MEMBER && !force)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is a member of its cluster"),
						errdetail("Without having been removed it would count as a member that "
								  "is down, for ever."),
						errhint("Call paxos_remove_member() on another node first, or "
								"paxos_leave_cluster(force => true).")));
	leave();
	PG_RETURN_VOID();
}

/*
 * Before anything is given up: a clone's own tables have the address of its original.
 */
static void
require_own_address(const char *conninfo)
{
	char *error = NULL;
	PaxosConn *conn = paxos_form_connect(conninfo, &error);
	const char *params[] = {psprintf(UINT64_FORMAT, paxos_shared->instance)};
	PGresult *res;
	bool elsewhere;

	if (conn == NULL)
		return; /* the member that takes this server in will say so */
	res = paxos_conn_exec(conn, "SELECT paxos.is_instance($1::bigint)", 1, params, 0,
						  READMIT_TIMEOUT_MS, &error);
	elsewhere = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 &&
				strcmp(PQgetvalue(res, 0, 0), "f") == 0;
	PQclear(res);
	paxos_conn_close(conn);
	if (elsewhere)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node's connection string leads to another server"),
				 errdetail("It is \"%s\".", conninfo),
				 errhint("Give this server's own: CALL paxos_rejoin('host=... dbname=...').")));
}

/*
 * CALL paxos_rejoin(conninfo text DEFAULT NULL)
 *
 * Leave, then ask a member of the former cluster to take this server in as a new
 * node, in the place of the old one if that is still a member and not at work.
 */
Datum
paxos_rejoin(PG_FUNCTION_ARGS)
{
	char *conninfo = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *name = NULL;
	bool voter = true;
	px_node self;
	pg_uuid_t cluster;
	int version = paxos_version_in_use(); /* while the members are known */
	PaxosMember was;
	List *members;
	ListCell *lc;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	char *last_error = "no other member is known here";

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("paxos_rejoin() cannot run inside a transaction block")));
	if (own_membership() == PAXOS_MEMBER)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is a member of its cluster"),
						errhint("paxos_rejoin() is for one that may not vote any more, or has been "
								"removed.")));

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	self = paxos_shared->node_id;
	cluster = paxos_shared->cluster_id;
	LWLockRelease(paxos_identity_lock);
	members = paxos_node_members();
	/* who has recorded its own removal is not among them */
	if (paxos_configuration_last_with(self, &was))
	{
		if (conninfo == NULL)
			conninfo = pstrdup(was.conninfo);
		name = pstrdup(was.name);
		voter = was.voter || was.joining;
	}
	if (conninfo == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("this node does not know its own connection string any more"),
						errhint("Give it: CALL paxos_rejoin('host=... dbname=...').")));

	require_own_address(conninfo);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	leave();
	SPI_commit();

	/* From here on this server is in no cluster, and the call can be repeated by
	 * paxos_add_member() on any member. */
	old = MemoryContextSwitchTo(caller);
	foreach (lc, members)
	{
		PaxosMember *m = lfirst(lc);
		PaxosConn *conn;
		PGresult *result;
		char *error = NULL;
		bool done;

		if (m->node == self)
			continue;
		conn = paxos_form_connect(m->conninfo, &error);
		if (conn == NULL)
		{
			last_error = psprintf("member \"%s\": %s", m->name, error);
			continue;
		}
		{
			const char *params[] = {paxos_uuid_text(&cluster),
									psprintf("%d", version),
									psprintf("%u", self),
									conninfo,
									name,
									voter ? "true" : "false"};

			result = paxos_conn_exec(conn,
									 "SELECT paxos.readmit($1::uuid, $2::int, $3::int, $4::text, "
									 "$5::text, $6::boolean)",
									 6, params, 0, READMIT_TIMEOUT_MS, &error);
		}
		done = result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK;
		if (result != NULL && !done)
			error = pchomp(PQresultErrorMessage(result));
		PQclear(result);
		paxos_conn_close(conn);
		if (done)
		{
			MemoryContextSwitchTo(old);
			SPI_finish();
			PG_RETURN_VOID();
		}
		last_error = psprintf("member \"%s\": %s", m->name, error);
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("this server has left its cluster, but no member took it in again"),
					errdetail_internal("%s", last_error),
					errhint("Remove the old node %u if it is still there, and call "
							"paxos_add_member() on a member.",
							self)));
}
