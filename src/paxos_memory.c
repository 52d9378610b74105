/*
 * paxos_memory.c
 *	  What members remember of each other: the greeting that begins every
 *	  connection of a proposer, and the table paxos.member_memory.
 *
 * An acceptor that was put back to an earlier state cannot know it; the others
 * may (protocol.md § 10).  So each member keeps, of every other, the highest
 * incarnation it has heard it in, the highest ballot it has seen promised
 * there, and the highest slot it has seen accepted there: all of it durable
 * there when it was said, so that a node which shows less has forgotten
 * something.
 *
 * Two that are to work together compare first.  A connection begins with
 *
 *		SELECT paxos.greet(..., incarnation, instance, what I remember of you)
 *
 * and its answer says what the greeted remembers of the greeter.  Either compares
 * with its own durable state, read *after* it heard (what it heard was true
 * before, and its own state only grows), and the one that shows less fences
 * itself, durably, before the first vote: the acceptor votes for nobody over a
 * connection whose greeting found it wanting, the proposer asks nobody for a vote
 * before the answer is in.  So in every quorum a node counts in, all pairs with the
 * leader have compared.  What only a member remembers that is not reachable is not
 * noticed: said in the manual.
 *
 * The greeting also tells lives apart.  Of one node the highest incarnation is
 * alive, the others are over: a message of one of those is refused.  Two instances
 * (one for each start of a server) in one incarnation come from one data directory
 * and its copy: the second to be heard is refused, and fences itself.  It would
 * number its batches as the other did.
 *
 * Where it comes from: answers to the own proposer (promised; next, if the stream
 * has brought anything), ballots that others send (their own acceptor promised
 * them first), greetings.
 *
 * Volatile in shared memory; written to the table by the learner: a new
 * incarnation or promise soon, for these are rare, the rest every few seconds
 * while it moves.  What a member did in the last seconds before *both* it was
 * rolled back and this server lost its memory goes unnoticed.  A crash leaves the
 * table as of the last write, which is true.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "core/px_ballot.h"
#include "paxos_acceptor.h"
#include "paxos_identity.h"
#include "paxos_memory.h"

PG_FUNCTION_INFO_V1(paxos_sql_greet);
PG_FUNCTION_INFO_V1(paxos_sql_is_instance);

/* Columns of paxos.member_memory; src/sql/55-integrity.sql. */
#define MEMORY_NODE 1
#define MEMORY_INCARNATION 2
#define MEMORY_INSTANCE 3
#define MEMORY_PROMISED 4
#define MEMORY_ACCEPTED 5
#define MEMORY_VERSION 6
#define MEMORY_COLUMNS 6

/* Accepted slots alone are written down this often. */
#define SAVE_US (UINT64CONST(10) * 1000 * 1000)

/* Whose life this backend serves. */
static px_node greeted_by = 0;
static uint64 greeted_incarnation = 0;

/* ---- in shared memory ---- */

/* Needs the lock; NULL only when the list is full of others. */
static PaxosMemory *
find(px_node node, bool create)
{
	PaxosMemory *m;

	for (int i = 0; i < paxos_shared->n_memories; i++)
	{
		if (paxos_shared->memories[i].node == node)
			return &paxos_shared->memories[i];
	}
	if (!create)
		return NULL;
	if (paxos_shared->n_memories == PX_MAX_MEMBERS)
	{
		/* Nodes come and go in the life of a cluster: the lowest number is the
		 * one least likely to be a member still. */
		m = &paxos_shared->memories[0];
		for (int i = 1; i < PX_MAX_MEMBERS; i++)
		{
			if (paxos_shared->memories[i].node < m->node)
				m = &paxos_shared->memories[i];
		}
	}
	else
		m = &paxos_shared->memories[paxos_shared->n_memories++];
	memset(m, 0, sizeof(*m));
	m->node = node;
	return m;
}

void
paxos_memory_note(px_node node, px_ballot promised, px_slot accepted)
{
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	px_memory_note(find(node, true), promised, accepted);
	LWLockRelease(paxos_integrity_lock);
}

/* What it says last counts: a node may go back to an older build. */
void
paxos_memory_note_version(px_node node, int version)
{
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	find(node, true)->version = version;
	LWLockRelease(paxos_integrity_lock);
}

int
paxos_memory_version(px_node node)
{
	PaxosMemory *m;
	int version;

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	m = find(node, false);
	version = m == NULL ? 0 : m->version;
	LWLockRelease(paxos_integrity_lock);
	return version;
}

void
paxos_memory_get(px_node node, PaxosMemory *memory)
{
	PaxosMemory *m;
	uint64 incarnation;

	/* The replicated state remembers incarnations, too: whose batches were
	 * applied. */
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	incarnation = px_origins_get(&paxos_shared->origins, node).incarnation;
	LWLockRelease(paxos_learner_lock);

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	m = find(node, false);
	if (m != NULL)
		*memory = *m;
	else
		memset(memory, 0, sizeof(*memory));
	LWLockRelease(paxos_integrity_lock);

	memory->node = node;
	if (incarnation > memory->incarnation)
	{
		memory->incarnation = incarnation;
		memory->instance = 0;
	}
}

/* A life of a node begins, or goes on over another connection. */
static px_welcome
greet(px_node node, uint64 incarnation, uint64 instance)
{
	PaxosMemory known;
	px_welcome welcome;

	paxos_memory_get(node, &known);
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	welcome = px_memory_greet(find(node, true), known.incarnation, incarnation, instance);
	LWLockRelease(paxos_integrity_lock);
	return welcome;
}

void
paxos_memory_check_sender(px_node sender)
{
	PaxosMemory *m;
	uint64 incarnation;

	if (sender != greeted_by)
		return;
	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	m = find(sender, false);
	incarnation = m == NULL ? 0 : m->incarnation;
	LWLockRelease(paxos_integrity_lock);
	if (incarnation > greeted_incarnation)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node %u has begun a later life than the one this connection is of", sender),
			 errdetail("Incarnation " UINT64_FORMAT " has been heard, this is " UINT64_FORMAT ".",
					   incarnation, greeted_incarnation)));
}

/* ---- comparing ---- */

bool
paxos_memory_compare(px_node by, uint64 incarnation, px_ballot promised, px_slot accepted)
{
	px_memory remembered = {
		.node = by, .incarnation = incarnation, .promised = promised, .accepted = accepted};
	px_memory own = {0};
	px_slot log_ends;
	px_acceptor a;
	PaxosNodeRow row;
	char why[PAXOS_ERROR_TEXT] = "";
	bool fenced;
	bool own_transaction = !IsTransactionState();

	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	paxos_shared->claims.incarnation = Max(paxos_shared->claims.incarnation, incarnation);
	paxos_shared->claims.promised = Max(paxos_shared->claims.promised, promised);
	paxos_shared->claims.accepted = Max(paxos_shared->claims.accepted, accepted);
	LWLockRelease(paxos_integrity_lock);

	/* After what was heard. */
	a = paxos_acceptor_look();
	LWLockAcquire(paxos_acceptor_lock, LW_SHARED);
	own.accepted = paxos_shared->accepted;
	LWLockRelease(paxos_acceptor_lock);
	own.accepted = Max(own.accepted, Max(a.truncated, a.chosen));
	log_ends = own.accepted;
	own.promised = a.promised;
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	own.incarnation = paxos_shared->node_incarnation;
	fenced = paxos_shared->membership == PAXOS_FENCED;
	LWLockRelease(paxos_identity_lock);

	/* one reason is enough, and the first one tells most */
	if (fenced)
		return false;
	if (px_memory_compare(&remembered, &own) == PX_FORGOT_NOTHING)
		return true;

	if (own_transaction)
		StartTransactionCommand();
	PushActiveSnapshot(GetLatestSnapshot());
	if (!paxos_node_row_read(&row))
		memset(&row, 0, sizeof(row));
	PopActiveSnapshot();

	/* what an operator has overruled counts as shown; and the row may be ahead of
	 * shared memory */
	own.incarnation = Max(own.incarnation, row.incarnation);
	own.promised = Max(own.promised, row.overruled_promised);
	own.accepted = Max(own.accepted, row.overruled_accepted);
	switch (px_memory_compare(&remembered, &own))
	{
		case PX_FORGOT_NOTHING:
			break;
		case PX_FORGOT_INCARNATION:
			snprintf(why, sizeof(why),
					 "node %u has heard this node in incarnation " UINT64_FORMAT
					 ", its own tables know of " UINT64_FORMAT
					 ": they are older than that, or another server runs as this node",
					 by, incarnation, own.incarnation);
			break;
		case PX_FORGOT_PROMISE:
			snprintf(why, sizeof(why),
					 "node %u remembers that this node promised ballot " UINT64_FORMAT
					 ".%u, its own tables say " UINT64_FORMAT
					 ".%u: it has forgotten what it promised",
					 by, px_ballot_round(promised), px_ballot_node(promised),
					 px_ballot_round(a.promised), px_ballot_node(a.promised));
			break;
		case PX_FORGOT_VALUE:
			snprintf(why, sizeof(why),
					 "node %u remembers that this node accepted slot " UINT64_FORMAT
					 ", its own log ends at " UINT64_FORMAT ": it has forgotten what it accepted",
					 by, accepted, log_ends);
			break;
	}
	if (why[0] != '\0')
		paxos_identity_doubt(why);
	if (own_transaction)
		CommitTransactionCommand();
	return why[0] == '\0';
}

void
paxos_memory_twin(px_node by, uint64 incarnation)
{
	char why[PAXOS_ERROR_TEXT];

	snprintf(
		why, sizeof(why),
		"node %u has met another server that said it is this node, in incarnation " UINT64_FORMAT
		", too: one of the two is a copy",
		by, incarnation);
	StartTransactionCommand();
	paxos_identity_doubt(why);
	CommitTransactionCommand();
}

void
paxos_memory_claims(PaxosMemory *claims)
{
	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	*claims = paxos_shared->claims;
	LWLockRelease(paxos_integrity_lock);
}

/* ---- the greeting ---- */

/*
 * paxos.greet(cluster, version, sender, incarnation, instance,
 *		remembered_incarnation, remembered_promised, remembered_accepted, receiver, speaks)
 */
Datum
paxos_sql_greet(PG_FUNCTION_ARGS)
{
	px_node from = paxos_peer_check_asker(fcinfo, NULL);
	uint64 incarnation = paxos_arg_u64(fcinfo, 3, "incarnation");
	uint64 instance = paxos_arg_u64(fcinfo, 4, "instance");
	PaxosMemory of_us;
	PaxosMemory of_them;
	px_welcome welcome;
	TupleDesc desc;
	Datum values[5];
	bool nulls[5] = {false};

	of_us.incarnation = paxos_arg_u64(fcinfo, 5, "remembered_incarnation");
	of_us.promised = paxos_arg_u64(fcinfo, 6, "remembered_promised");
	of_us.accepted = paxos_arg_u64(fcinfo, 7, "remembered_accepted");
	if (of_us.promised != 0 &&
		(px_ballot_round(of_us.promised) == 0 || px_ballot_round(of_us.promised) > PX_MAX_ROUND ||
		 px_ballot_node(of_us.promised) == 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s is no ballot", "remembered_promised")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	/*
	 * A server that left its cluster and came back answers under its old address
	 * as another node: what is remembered of the old one is not about it.
	 */
	if (PG_ARGISNULL(8))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("receiver must not be null")));
	if (PG_GETARG_INT32(8) != paxos_shared->node_id)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this is node %u", paxos_shared->node_id)));
	if (PG_ARGISNULL(9))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", "speaks")));
	if (PG_GETARG_INT32(9) < PG_GETARG_INT32(1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a peer that uses protocol version %d cannot speak only version %d",
							   PG_GETARG_INT32(1), PG_GETARG_INT32(9))));
	if (from == paxos_shared->node_id)
	{
		/* Our own proposer, or one that says so. */
		memset(&of_them, 0, sizeof(of_them));
		welcome = instance == paxos_shared->instance ? PX_WELCOME : PX_WELCOME_TWIN;
	}
	else
	{
		welcome = greet(from, incarnation, instance);
		paxos_memory_get(from, &of_them);
		(void) paxos_memory_compare(from, of_us.incarnation, of_us.promised, of_us.accepted);
	}
	if (welcome == PX_WELCOME)
	{
		greeted_by = from;
		greeted_incarnation = incarnation;
		if (from != paxos_shared->node_id)
			paxos_memory_note_version(from, PG_GETARG_INT32(9));
	}
	else
		ereport(LOG, (errhidestmt(true), errhidecontext(true),
					  errmsg("paxos: a proposer of node %u was turned away", from),
					  welcome == PX_WELCOME_TWIN
						  ? errdetail("Another server is known that says it is this node.")
						  : errdetail("It is of incarnation " UINT64_FORMAT ", and " UINT64_FORMAT
									  " has been heard.",
									  incarnation, of_them.incarnation)));
	if (welcome == PX_WELCOME_TWIN && from != paxos_shared->node_id)
		paxos_alarm_raise(
			PAXOS_ALARM_TWIN, 0,
			psprintf("two servers say they are node %u, in incarnation " UINT64_FORMAT, from,
					 incarnation));

	values[0] = Int32GetDatum(welcome);
	values[1] = Int64GetDatum((int64) of_them.incarnation);
	values[2] = Int64GetDatum((int64) of_them.promised);
	values[3] = Int64GetDatum((int64) of_them.accepted);
	values[4] = Int32GetDatum(paxos_protocol_max);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* paxos.is_instance(instance): is this the very server that asks? */
Datum
paxos_sql_is_instance(PG_FUNCTION_ARGS)
{
	paxos_require_preload();
	PG_RETURN_BOOL((uint64) PG_GETARG_INT64(0) == paxos_shared->instance);
}

/* ---- the table ---- */

int
paxos_memory_read(PaxosMemory *memories)
{
	Oid relid = paxos_internal_relid("member_memory");
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	int n = 0;

	if (!OidIsValid(relid))
		return 0;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	while (n < PX_MAX_MEMBERS && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum values[MEMORY_COLUMNS];
		bool nulls[MEMORY_COLUMNS];
		PaxosMemory *m = &memories[n++];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		m->node = (px_node) DatumGetInt32(values[MEMORY_NODE - 1]);
		m->incarnation = (uint64) DatumGetInt64(values[MEMORY_INCARNATION - 1]);
		m->instance = (uint64) DatumGetInt64(values[MEMORY_INSTANCE - 1]);
		m->promised = (px_ballot) DatumGetInt64(values[MEMORY_PROMISED - 1]);
		m->accepted = (px_slot) DatumGetInt64(values[MEMORY_ACCEPTED - 1]);
		m->version = DatumGetInt32(values[MEMORY_VERSION - 1]);
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	return n;
}

bool
paxos_memory_save(void)
{
	static PaxosMemory saved[PX_MAX_MEMBERS];
	static int n_saved = 0;
	static px_usec saved_at = 0;
	static pg_uuid_t saved_cluster;
	PaxosMemory now[PX_MAX_MEMBERS];
	int n;
	bool slots_too = paxos_now_us() >= saved_at + SAVE_US;
	bool wrote = false;

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	n = paxos_shared->n_memories;
	memcpy(now, paxos_shared->memories, sizeof(PaxosMemory) * n);
	LWLockRelease(paxos_integrity_lock);

	if (memcmp(&saved_cluster, &paxos_shared->cluster_id, sizeof(pg_uuid_t)) != 0)
		n_saved = 0;
	for (int i = 0; i < n; i++)
	{
		Oid types[MEMORY_COLUMNS] = {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT4OID};
		Datum values[MEMORY_COLUMNS];
		bool known = false;

		for (int j = 0; j < n_saved && !known; j++)
			known = saved[j].node == now[i].node && saved[j].incarnation == now[i].incarnation &&
					saved[j].instance == now[i].instance && saved[j].promised == now[i].promised &&
					saved[j].version == now[i].version &&
					(saved[j].accepted == now[i].accepted || !slots_too);
		if (known)
			continue;
		if (!wrote)
		{
			SetCurrentStatementStartTimestamp();
			StartTransactionCommand();
			PushActiveSnapshot(GetTransactionSnapshot());
			SPI_connect();
			wrote = true;
		}
		values[0] = Int32GetDatum(now[i].node);
		values[1] = Int64GetDatum((int64) now[i].incarnation);
		values[2] = Int64GetDatum((int64) now[i].instance);
		values[3] = Int64GetDatum((int64) now[i].promised);
		values[4] = Int64GetDatum((int64) now[i].accepted);
		values[5] = Int32GetDatum(now[i].version);
		paxos_applying = true; /* after an error the learner clears it */
		if (SPI_execute_with_args(
				"INSERT INTO paxos.member_memory VALUES ($1, $2, $3, $4, $5, $6) "
				"ON CONFLICT (node_id) DO UPDATE SET incarnation = $2, instance = $3, promised = $4, accepted = $5, version = $6",
				MEMORY_COLUMNS, types, values, NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "could not write down what is remembered of node %u", now[i].node);
		paxos_applying = false;
	}
	if (!wrote)
		return false;
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	memcpy(saved, now, sizeof(PaxosMemory) * n);
	n_saved = n;
	saved_cluster = paxos_shared->cluster_id;
	saved_at = paxos_now_us();
	return true;
}
