/*
 * paxos_snapshot.c
 *	  Loading a snapshot: this node's consensus tables become those of another
 *	  member at one slot (protocol.md § 8).
 *
 * Owns: whom to ask, pulling (paxos_snapshot_send.c is the other end), and the one
 * local transaction in which everything changes.  Not its business: when
 * (paxos_learner.c calls it, when the slots it needs are truncated on every member
 * that answers, or this is a new member).
 *
 * Tables are loaded beside the old ones, which are read on meanwhile: each is
 * created in a schema of its own for loading, as the other node describes it, filled
 * with COPY, and indexed.  Only then, with everything here, the old ones are locked
 * - sessions in the way are ended, as for DDL - and dropped, and the new ones take
 * their place.  paxos.kv and paxos.request, which belong to the extension and stay,
 * get their rows in a new heap, which is swapped for the old one as CLUSTER does it.
 * In the same transaction: paxos.tables, paxos.configuration up to the slot,
 * paxos.replicated, and, under the acceptor lock taken last, truncated (and with its
 * commit chosen) = the slot.  It is flushed before it is published, because from
 * then on the acceptor acknowledges all slots up to there without storing them.
 *
 * Log entries at or below the slot stay behind and are swept away by
 * paxos_truncate.c; nobody reads them any more (paxos.fetch() refuses them: some
 * were accepted and never chosen).
 *
 * The acceptor votes all the while; only the learner is busy here.  The source's
 * ids, origins and request results are the cluster's; what is this node's own is
 * kept: where its sequences stand.  Rows are frozen: a local transaction whose
 * snapshot is older than the load sees the new rows of a table that it opens only
 * afterwards (and not none at all, as after TRUNCATE).
 *
 * An error or a crash leaves the old state; the next attempt begins with another
 * member.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/multixact.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/cluster.h"
#include "commands/copy.h"
#include "commands/sequence.h"
#include "catalog/dependency.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "port/pg_bswap.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_address.h"
#include "paxos_apply.h"
#include "paxos_conn.h"
#include "paxos_ddl.h"
#include "paxos_method.h"
#include "paxos_node.h"
#include "paxos_object.h"
#include "paxos_snapshot.h"

#define OPEN_TIMEOUT_MS 60000
#define PIECE_TIMEOUT_MS 60000

/* Schemas that exist only inside the transaction. */
#define LOADING_SCHEMA "paxos_loading_%d"

PG_FUNCTION_INFO_V1(paxos_snapshot_status);

/* What the other node says of one part. */
typedef struct Part
{
	int number;
	int64 table_id; /* 0: a table of ours */
	char *schema;
	char *schema_owner;
	char *name;
	char *owner;
	char *definition; /* NULL: it is here and stays */
	int64 altered;    /* as in paxos.tables */
	List *indexes;    /* of char *: statements for when the rows are here */
	List *grants;     /* of char * */
	List *afterwards; /* of char *: when all tables are in their places */
	int loading;      /* number of the schema it is loaded in */
	Oid relid;        /* what was loaded */
} Part;

/* The row of paxos.replicated as text, ready for SQL. */
typedef struct State
{
	px_slot applied;
	char *digest;
	char *log_time_us;
	char *origins;
	char *requests;
	char *request_bytes;
	char *configuration;
	char *window_from;
	char *window_used;
} State;

/* Where a sequence of this node stood; found again by table and column. */
typedef struct SequenceState
{
	int64 table_id;
	char *column;
	int64 last;
} SequenceState;

static PaxosConn *conn = NULL; /* to the source */
static uint64 attempts = 0;    /* the next one begins with another member */

/*
 * ---- progress ----
 */

static const char *const state_names[] = {
	[PAXOS_SNAPSHOT_NONE] = "none",       [PAXOS_SNAPSHOT_ASKING] = "asking",
	[PAXOS_SNAPSHOT_COPYING] = "copying", [PAXOS_SNAPSHOT_FINISHING] = "finishing",
	[PAXOS_SNAPSHOT_LOADED] = "loaded",   [PAXOS_SNAPSHOT_FAILED] = "failed"};

static void
progress_begins(void)
{
	PaxosSnapshotProgress *p = &paxos_shared->snapshot;

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	p->state = PAXOS_SNAPSHOT_ASKING;
	p->source = 0;
	p->slot = 0;
	p->tables = p->tables_done = 0;
	p->rows = p->bytes = p->bytes_expected = 0;
	p->started = GetCurrentTimestamp();
	p->ended = 0;
	p->attempts++;
	LWLockRelease(paxos_learner_lock);
}

static void
progress_copying(px_node source, px_slot at, int tables, uint64 bytes_expected)
{
	PaxosSnapshotProgress *p = &paxos_shared->snapshot;

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	p->state = PAXOS_SNAPSHOT_COPYING;
	p->source = source;
	p->slot = at;
	p->tables = tables;
	p->bytes_expected = bytes_expected;
	LWLockRelease(paxos_learner_lock);
}

static void
progress_adds(int tables, uint64 rows, uint64 bytes)
{
	PaxosSnapshotProgress *p = &paxos_shared->snapshot;

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	p->tables_done += tables;
	p->rows += rows;
	p->bytes += bytes;
	LWLockRelease(paxos_learner_lock);
}

static void
progress_is(PaxosSnapshotState state, const char *why)
{
	PaxosSnapshotProgress *p = &paxos_shared->snapshot;

	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	p->state = state;
	if (state != PAXOS_SNAPSHOT_FINISHING)
		p->ended = GetCurrentTimestamp();
	strlcpy(p->last_error, why, sizeof(p->last_error));
	LWLockRelease(paxos_learner_lock);
}

/* paxos.snapshot_status() */
Datum
paxos_snapshot_status(PG_FUNCTION_ARGS)
{
	PaxosSnapshotProgress p;
	TupleDesc desc;
	Datum values[12];
	bool nulls[12] = {false};

	paxos_require_preload();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	p = paxos_shared->snapshot;
	LWLockRelease(paxos_learner_lock);

	values[0] = CStringGetTextDatum(state_names[p.state]);
	values[1] = Int32GetDatum(p.source);
	nulls[1] = p.source == 0;
	values[2] = Int64GetDatum((int64) p.slot);
	nulls[2] = p.slot == 0;
	values[3] = Int32GetDatum(p.tables);
	values[4] = Int32GetDatum(p.tables_done);
	values[5] = Int64GetDatum((int64) p.rows);
	values[6] = Int64GetDatum((int64) p.bytes);
	values[7] = Int64GetDatum((int64) p.bytes_expected);
	values[8] = TimestampTzGetDatum(p.started);
	nulls[8] = p.started == 0;
	values[9] = TimestampTzGetDatum(p.ended);
	nulls[9] = p.ended == 0;
	values[10] = Int64GetDatum((int64) p.attempts);
	values[11] = CStringGetTextDatum(p.last_error);
	nulls[11] = p.last_error[0] == '\0';
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

void
paxos_snapshot_failed(const char *why)
{
	PaxosConn *c = conn;

	conn = NULL;
	paxos_conn_close(c);
	progress_is(PAXOS_SNAPSHOT_FAILED, why);
}

void
paxos_snapshot_order(void)
{
	LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
	paxos_shared->snapshot_ordered = true;
	LWLockRelease(paxos_learner_lock);
	paxos_wake_learner();
}

bool
paxos_snapshot_needed(void)
{
	bool isnull;
	bool needed;

	if (paxos_node_applied() > 0)
		return false;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT count(*) > 0 AND NOT bool_or(recorded) FROM paxos.configuration", true,
					0) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s.configuration", PAXOS_SCHEMA);
	needed =
		DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) &&
		!isnull;
	SPI_finish();
	return needed;
}

/*
 * ---- asking ----
 */

/* Run one statement over there; an error there is one here. */
static PGresult *
ask(const char *sql, int n_params, const char *const *params, int format, int timeout_ms)
{
	char *error = NULL;
	PGresult *res = paxos_conn_exec(conn, sql, n_params, params, format, timeout_ms, &error);
	char *message;

	if (res == NULL)
		ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
						errmsg("%s", error != NULL ? error : "connection was lost")));
	if (PQresultStatus(res) == PGRES_TUPLES_OK || PQresultStatus(res) == PGRES_COMMAND_OK)
		return res;
	message = pchomp(PQresultErrorMessage(res));
	PQclear(res);
	ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("%s", message)));
	return NULL;
}

static char *
field(const PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? NULL : pstrdup(PQgetvalue(res, row, column));
}

/* Connect, and have the member keep its tables as they are; NULL: out of reach. */
static State *
open_at(const PaxosMember *member)
{
	State *state = palloc0(sizeof(State));
	const char *params[3];
	char *error = NULL;
	PGresult *res;

	conn = paxos_conn_open(member->conninfo, paxos_connect_timeout_ms, true, &error);
	if (conn == NULL)
	{
		ereport(LOG, (errmsg("paxos learner: no snapshot from node %s: %s", member->name,
							 error != NULL ? error : "could not connect")));
		return NULL;
	}
	params[0] =
		DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&paxos_shared->cluster_id)));
	params[1] = psprintf("%d", paxos_version_with(member->node));
	params[2] = psprintf("%u", paxos_shared->node_id);
	PQclear(ask("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", 0, NULL, 0, OPEN_TIMEOUT_MS));
	res = ask("SELECT * FROM paxos.snapshot_open($1::uuid, $2::int, $3::int)", 3, params, 0,
			  OPEN_TIMEOUT_MS);
	state->applied = strtou64(PQgetvalue(res, 0, 0), NULL, 10);
	state->digest = field(res, 0, 1);
	state->log_time_us = field(res, 0, 2);
	state->origins = field(res, 0, 3);
	state->requests = field(res, 0, 4);
	state->request_bytes = field(res, 0, 5);
	state->configuration = field(res, 0, 6);
	state->window_from = field(res, 0, 7);
	state->window_used = field(res, 0, 8);
	PQclear(res);
	return state;
}

static List *
texts_of(const char *array)
{
	List *list = NIL;
	Datum *elems;
	int n;

	if (array == NULL)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(
						  OidInputFunctionCall(F_ARRAY_IN, unconstify(char *, array), TEXTOID, -1)),
					  TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, TextDatumGetCString(elems[i]));
	return list;
}

static List *
ask_parts(uint64 *bytes_expected)
{
	List *parts = NIL;
	PGresult *res =
		ask("SELECT part, table_id, schema, schema_owner, name, owner, bytes, "
			"definition, indexes, grants, afterwards, altered FROM paxos.snapshot_parts()",
			0, NULL, 0, OPEN_TIMEOUT_MS);

	*bytes_expected = 0;
	for (int i = 0; i < PQntuples(res); i++)
	{
		Part *part = palloc0(sizeof(Part));

		part->number = atoi(PQgetvalue(res, i, 0));
		part->table_id = strtoi64(PQgetvalue(res, i, 1), NULL, 10);
		part->schema = field(res, i, 2);
		part->schema_owner = field(res, i, 3);
		part->name = field(res, i, 4);
		part->owner = field(res, i, 5);
		*bytes_expected += strtou64(PQgetvalue(res, i, 6), NULL, 10);
		part->definition = field(res, i, 7);
		part->indexes = texts_of(field(res, i, 8));
		part->grants = texts_of(field(res, i, 9));
		part->afterwards = texts_of(field(res, i, 10));
		part->altered = PQgetisnull(res, i, 11) ? 0 : strtoi64(PQgetvalue(res, i, 11), NULL, 10);
		parts = lappend(parts, part);
	}
	PQclear(res);
	return parts;
}

static List *
ask_objects(void)
{
	List *objects = NIL;
	PGresult *res = ask("SELECT object_id, altered, late, owner, definition, rest"
						" FROM paxos.snapshot_objects()",
						0, NULL, 0, OPEN_TIMEOUT_MS);

	for (int i = 0; i < PQntuples(res); i++)
	{
		PaxosObjectPart *part = palloc0(sizeof(PaxosObjectPart));

		part->id = strtoi64(PQgetvalue(res, i, 0), NULL, 10);
		part->altered = strtoi64(PQgetvalue(res, i, 1), NULL, 10);
		part->late = strcmp(PQgetvalue(res, i, 2), "t") == 0;
		part->owner = field(res, i, 3);
		part->definition = field(res, i, 4);
		part->rest = texts_of(field(res, i, 5));
		objects = lappend(objects, part);
	}
	PQclear(res);
	return objects;
}

/*
 * ---- rows ----
 *
 * One COPY in binary format for each piece, between the head and the tail of that
 * format: CopyFrom() gathers up to 1000 rows before it writes them, and in binary
 * format it does not look how large they are.  So memory is that of one piece.
 */

static const char copy_head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
static const char copy_tail[] = "\377\377";

static struct
{
	PGresult *piece;
	struct
	{
		const char *at;
		int left;
	} run[3]; /* head, piece, tail */
} incoming;

static void
drop_piece(void)
{
	if (incoming.piece != NULL)
		PQclear(incoming.piece);
	memset(&incoming, 0, sizeof(incoming));
}

/* False: there are no more rows. */
static bool
next_piece(int part)
{
	const char *params[1];
	uint64 rows;

	drop_piece();
	CHECK_FOR_INTERRUPTS();
	params[0] = psprintf("%d", part);
	incoming.piece =
		ask("SELECT rows, data FROM paxos.snapshot_read($1::int)", 1, params, 1, PIECE_TIMEOUT_MS);
	if (PQgetisnull(incoming.piece, 0, 1))
		return false;
	incoming.run[0].at = copy_head;
	incoming.run[0].left = sizeof(copy_head) - 1;
	incoming.run[1].at = PQgetvalue(incoming.piece, 0, 1);
	incoming.run[1].left = PQgetlength(incoming.piece, 0, 1);
	incoming.run[2].at = copy_tail;
	incoming.run[2].left = sizeof(copy_tail) - 1;
	memcpy(&rows, PQgetvalue(incoming.piece, 0, 0), sizeof(rows));
	progress_adds(0, pg_ntoh64(rows), incoming.run[1].left);
	return true;
}

/* What CopyFrom() reads. */
static int
read_bytes(void *out, int at_least, int at_most)
{
	int n = 0;

	for (int i = 0; i < lengthof(incoming.run) && n < at_most; i++)
	{
		int take = Min(incoming.run[i].left, at_most - n);

		if (take == 0)
			continue;
		memcpy((char *) out + n, incoming.run[i].at, take);
		incoming.run[i].at += take;
		incoming.run[i].left -= take;
		n += take;
	}
	return n;
}

static void
copy_piece(Relation rel, bool frozen)
{
	ParseState *pstate = make_parsestate(NULL);
	List *options = list_make1(makeDefElem("format", (Node *) makeString("binary"), -1));
	CopyFromState copy;

	if (frozen)
		options = lappend(options, makeDefElem("freeze", (Node *) makeBoolean(true), -1));
	(void) addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL, false, false);
	copy = BeginCopyFrom(pstate, rel, NULL, NULL, false, read_bytes, NIL, options);
	(void) CopyFrom(copy);
	EndCopyFrom(copy);
	free_parsestate(pstate);
}

/* Fill an empty relation with the rows of a part. */
static void
copy_rows(Oid relid, const Part *part, bool frozen)
{
	Relation rel = table_open(relid, RowExclusiveLock);
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos snapshot piece", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);

	while (next_piece(part->number))
	{
		copy_piece(rel, frozen);
		MemoryContextReset(cxt);
	}
	drop_piece();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * ---- the local side ----
 */

static void
run(const char *sql)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	SPI_finish();
	CommandCounterIncrement();
}

static void
require_role(const char *role)
{
	if (!OidIsValid(get_role_oid(role, true)))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("role \"%s\" does not exist on this node", role),
						errhint("Create it as on the other nodes.")));
}

/* One schema for loading per schema, so that names meet in it only as they do there. */
static void
make_loading_schemas(List *parts)
{
	List *schemas = NIL;
	ListCell *lc;

	foreach (lc, parts)
	{
		Part *part = lfirst(lc);
		ListCell *other;
		int n = 0;

		if (part->definition == NULL)
			continue;
		require_role(part->owner);
		foreach (other, schemas)
		{
			if (strcmp(lfirst(other), part->schema) == 0)
				break;
			n++;
		}
		part->loading = n;
		if (n < list_length(schemas))
			continue;
		schemas = lappend(schemas, part->schema);
		run(psprintf("CREATE SCHEMA " LOADING_SCHEMA, n));
		if (!OidIsValid(get_namespace_oid(part->schema, true)))
		{
			require_role(part->schema_owner);
			run(psprintf("CREATE SCHEMA %s AUTHORIZATION %s", quote_identifier(part->schema),
						 quote_identifier(part->schema_owner)));
		}
	}
}

/* A table as it is over there, beside the one that is here. */
static void
load_table(Part *part)
{
	char *schema = psprintf(LOADING_SCHEMA, part->loading);
	ListCell *lc;

	part->relid = paxos_ddl_create_in(schema, part->definition);
	copy_rows(part->relid, part, true);
	foreach (lc, part->indexes)
		paxos_ddl_run_in(schema, lfirst(lc));
	run(psprintf("ALTER TABLE %s OWNER TO %s", quote_qualified_identifier(schema, part->name),
				 quote_identifier(part->owner)));
}

/* Rows for a table that stays, in a heap that will take its place. */
static void
load_heap(Part *part)
{
	Oid relid = get_relname_relid(part->name, get_namespace_oid(part->schema, false));
	Relation rel = table_open(relid, AccessShareLock);
	Oid am = rel->rd_rel->relam;
	Oid tablespace = rel->rd_rel->reltablespace;
	char persistence = rel->rd_rel->relpersistence;

	table_close(rel, NoLock);
	part->relid = make_new_heap(relid, tablespace, am, persistence, AccessShareLock);
	CommandCounterIncrement();
	copy_rows(part->relid, part, true);
}

static void
swap_heap(Part *part)
{
	Oid relid = get_relname_relid(part->name, get_namespace_oid(part->schema, false));

	(void) paxos_lock_for_apply(relid, AccessExclusiveLock);
	LockRelationOid(part->relid, AccessExclusiveLock);
	finish_heap_swap(relid, part->relid, false, false, false, true, RecentXmin,
					 ReadNextMultiXactId(), get_rel_persistence(relid));
	CommandCounterIncrement();
}

/* Where the sequences of a table stand here, that is about to go. */
static List *
remember_sequences(int64 table_id, Oid relid, List *known)
{
	ListCell *lc;

	foreach (lc, getOwnedSequences(relid))
	{
		Oid sequence = lfirst_oid(lc);
		Oid table;
		int32 column;
		bool isnull;
		Datum last;

		if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) &&
			!sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column))
			continue;
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		if (SPI_execute(psprintf("SELECT pg_sequence_last_value(%u)", sequence), false, 0) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not read a sequence");
		last = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		SPI_finish();
		if (!isnull)
		{
			SequenceState *s = palloc(sizeof(SequenceState));

			s->table_id = table_id;
			s->column = get_attname(relid, column, false);
			s->last = DatumGetInt64(last);
			known = lappend(known, s);
		}
	}
	return known;
}

/* The highest value of a column among the rows of a table, or PG_INT64_MIN. */
static int64
highest_value(Oid relid, const char *column)
{
	bool isnull;
	Datum value;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(
			psprintf("SELECT max(%s)::bigint FROM %s", quote_identifier(column),
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												get_rel_name(relid))),
			false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the values of a sequence");
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	SPI_finish();
	return isnull ? PG_INT64_MIN : DatumGetInt64(value);
}

/*
 * Its sequences go on where this node's were.  A value drawn twice would meet the
 * row that the first has made.
 */
static void
restore_sequences(const Part *part, List *known)
{
	ListCell *lc;
	ListCell *lk;

	foreach (lc, getOwnedSequences(part->relid))
	{
		Oid sequence = lfirst_oid(lc);
		int64 least = PG_INT64_MIN;
		Oid table;
		int32 column;

		if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) &&
			!sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column))
			continue;
		foreach (lk, known)
		{
			SequenceState *s = lfirst(lk);

			if (s->table_id == part->table_id &&
				strcmp(s->column, get_attname(part->relid, column, false)) == 0)
				least = s->last + 1;
		}

		/* New here: a former member may have drawn values with the same remainder. */
		if (least == PG_INT64_MIN)
		{
			int64 highest = highest_value(part->relid, get_attname(part->relid, column, false));

			if (highest != PG_INT64_MIN && highest != PG_INT64_MAX)
				least = highest + 1;
		}
		paxos_ddl_spread_sequence(sequence, least);
	}
}

/* The consensus tables of before, but for paxos.kv, go. */
static List *
drop_old_tables(void)
{
	List *sequences = NIL;
	MemoryContext old = CurrentMemoryContext;
	int64 *ids;
	Oid *relids;
	uint64 n;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(psprintf("SELECT table_id, relid::oid FROM paxos.tables WHERE table_id <> %d "
							 "ORDER BY table_id",
							 PAXOS_KV_TABLE_ID),
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s.tables", PAXOS_SCHEMA);
	n = SPI_processed;
	ids = MemoryContextAlloc(old, sizeof(int64) * Max(n, 1));
	relids = MemoryContextAlloc(old, sizeof(Oid) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		bool isnull;

		ids[i] =
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		relids[i] = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2, &isnull));
	}
	SPI_finish();

	/* All of them first: with a table go the foreign keys of others to it. */
	for (uint64 i = 0; i < n; i++)
		(void) paxos_lock_for_apply(relids[i], AccessExclusiveLock);
	for (uint64 i = 0; i < n; i++)
	{
		if (paxos_lock_for_apply(relids[i], AccessExclusiveLock))
		{
			sequences = remember_sequences(ids[i], relids[i], sequences);
			paxos_ddl_replace_table(ids[i], relids[i]);
		}
		else
			run(psprintf("DELETE FROM paxos.tables WHERE table_id = " INT64_FORMAT, ids[i]));
	}
	return sequences;
}

/* Privileges; whoever does not exist on this node cannot have any. */
static void
grant_all(const Part *part)
{
	ListCell *lc;

	foreach (lc, part->grants)
	{
		RawStmt *raw = linitial_node(RawStmt, raw_parser(lfirst(lc), RAW_PARSE_DEFAULT));
		GrantStmt *grant = castNode(GrantStmt, raw->stmt);
		RoleSpec *role = linitial_node(RoleSpec, grant->grantees);

		if (role->roletype == ROLESPEC_CSTRING && !OidIsValid(get_role_oid(role->rolename, true)))
			ereport(LOG, (errmsg("paxos learner: role \"%s\" does not exist on this node and gets "
								 "no privileges on table \"%s\"",
								 role->rolename, part->name)));
		else
			run(lfirst(lc));
	}
}

static void
take_place(Part *part)
{
	char *loading = psprintf(LOADING_SCHEMA, part->loading);

	paxos_becoming_clear_names(part->relid, get_namespace_oid(part->schema, false));
	run(psprintf("ALTER TABLE %s SET SCHEMA %s", quote_qualified_identifier(loading, part->name),
				 quote_identifier(part->schema)));
	paxos_ddl_adopt_table(part->table_id, part->relid, part->altered);
}

static int
begin_settings(void)
{
	static const char *const settings[][2] = {{"search_path", "pg_catalog"},
											  {"default_tablespace", ""},
											  {"lock_timeout", "1s"},
											  {"session_replication_role", "replica"}};
	int nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_OVERRIDE,
								 GUC_ACTION_SAVE, true, ERROR, false);
	return nest_level;
}

/* Everything, in one transaction. */
static void
load(const PaxosMember *from, const State *state, MemoryContext cxt)
{
	uint64 bytes_expected;
	List *parts;
	List *objects;
	List *sequences = NIL;
	bool early;
	ListCell *lc;
	MemoryContext part_cxt;
	int schemas = 0;
	int nest_level;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	MemoryContextSwitchTo(cxt);
	parts = ask_parts(&bytes_expected);
	objects = ask_objects();
	progress_copying(from->node, state->applied, list_length(parts), bytes_expected);
	ereport(LOG, (errmsg("paxos learner: loading a snapshot of slot " UINT64_FORMAT " from node %s",
						 state->applied, from->name)));

	PushActiveSnapshot(GetTransactionSnapshot());
	paxos_applying = true;
	nest_level = begin_settings();

	/* A type that is another there: what uses it goes first, and cannot be read meanwhile. */
	early = paxos_objects_differ(objects);
	if (early)
	{
		paxos_objects_drop(objects, true);
		sequences = drop_old_tables();
		paxos_objects_drop(objects, false);
	}
	paxos_objects_load(objects, false);
	make_loading_schemas(parts);

	part_cxt = AllocSetContextCreate(cxt, "paxos snapshot part", ALLOCSET_DEFAULT_SIZES);
	foreach (lc, parts)
	{
		Part *part = lfirst(lc);

		MemoryContextSwitchTo(part_cxt);
		if (part->definition != NULL)
		{
			load_table(part);
			schemas = Max(schemas, part->loading + 1);
		}
		else if (part->table_id == PAXOS_KV_TABLE_ID || strcmp(part->name, "request") == 0 ||
				 strcmp(part->name, "window") == 0 || strcmp(part->name, "set_part") == 0)
			load_heap(part);
		else if (strcmp(part->name, "configuration") == 0)
		{
			run(psprintf("DELETE FROM paxos.configuration WHERE slot <= " UINT64_FORMAT,
						 state->applied));
			copy_rows(paxos_internal_relid("configuration"), part, false);

			/* applied there, so chosen, whether or not that was recorded there yet */
			run(psprintf("UPDATE paxos.configuration SET recorded = true"
						 " WHERE NOT recorded AND slot <= " UINT64_FORMAT,
						 state->applied));
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_PROTOCOL_VIOLATION),
					 errmsg("the snapshot has a part \"%s\" that is unknown here", part->name)));
		MemoryContextSwitchTo(cxt);
		MemoryContextReset(part_cxt);
		progress_adds(1, 0, 0);
	}
	paxos_conn_close(conn); /* which ends the transaction over there */
	conn = NULL;

	progress_is(PAXOS_SNAPSHOT_FINISHING, "");
	if (!early)
	{
		paxos_objects_drop(objects, true);
		sequences = drop_old_tables();
	}
	foreach (lc, parts)
	{
		Part *part = lfirst(lc);

		if (part->definition != NULL)
			take_place(part);
		else if (OidIsValid(part->relid))
			swap_heap(part);
		grant_all(part);
	}
	paxos_objects_load(objects, true);
	foreach (lc, parts)
	{
		ListCell *la;

		foreach (la, ((Part *) lfirst(lc))->afterwards)
			run(lfirst(la));
	}

	/* When partitions are in their places: the values of a column are theirs, too. */
	foreach (lc, parts)
	{
		if (((Part *) lfirst(lc))->definition != NULL)
			restore_sequences(lfirst(lc), sequences);
	}
	for (int i = 0; i < schemas; i++)
		run(psprintf("DROP SCHEMA " LOADING_SCHEMA, i));
	run(psprintf("UPDATE paxos.replicated SET applied = " UINT64_FORMAT ", digest = %s,"
				 " log_time_us = %s, origins = %s::bigint[], requests = %s, request_bytes = %s,"
				 " configuration = %s, window_from = %s, window_used = %s",
				 state->applied, state->digest, state->log_time_us,
				 quote_literal_cstr(state->origins), state->requests, state->request_bytes,
				 state->configuration, state->window_from, state->window_used));
	PopActiveSnapshot();

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	paxos_acceptor_stage_cut(state->applied);
	PopActiveSnapshot();
	AtEOXact_GUC(true, nest_level);
	paxos_commit_locally();
	CommitTransactionCommand();
	paxos_applying = false;
	MemoryContextSwitchTo(cxt);
}

/*
 * ---- whom to ask ----
 */

/* Followers first, another one at each attempt; the leader, which has most to do, last. */
static List *
members_to_ask(MemoryContext where)
{
	List *result = NIL;
	List *members;
	px_node self = paxos_shared->node_id;
	px_node leader;
	int n;

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	leader = paxos_shared->leader;
	LWLockRelease(paxos_proposer_lock);

	/* A newcomer's proposer may not have heard of it yet, but its acceptor has. */
	if (leader == 0)
		leader = px_ballot_node(paxos_acceptor_look().promised);

	StartTransactionCommand();
	members = paxos_address_givers();
	n = list_length(members);
	for (int pass = 0; pass < 2; pass++)
	{
		for (int i = 0; i < n; i++)
		{
			PaxosMember *m = list_nth(members, (int) ((attempts + i) % n));
			MemoryContext old;
			PaxosMember *copy;

			if (m->node == self || (m->node == leader) != (pass == 1))
				continue;
			old = MemoryContextSwitchTo(where);
			copy = palloc(sizeof(PaxosMember));
			*copy = *m;
			result = lappend(result, copy);
			MemoryContextSwitchTo(old);
		}
	}
	CommitTransactionCommand();
	MemoryContextSwitchTo(where);
	attempts++;
	return result;
}

bool
paxos_snapshot_told_removed(void)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext cxt =
		AllocSetContextCreate(TopMemoryContext, "paxos newcomer asks", ALLOCSET_SMALL_SIZES);
	List *members = members_to_ask(cxt);
	ListCell *lc;
	bool removed = false;

	foreach (lc, members)
	{
		PaxosMember *m = lfirst(lc);
		const char *params[3];
		char *error = NULL;
		PGresult *res;

		CHECK_FOR_INTERRUPTS();
		conn = paxos_conn_open(m->conninfo, paxos_connect_timeout_ms, true, &error);
		if (conn == NULL)
			continue;
		params[0] = DatumGetCString(
			DirectFunctionCall1(uuid_out, UUIDPGetDatum(&paxos_shared->cluster_id)));
		params[1] = psprintf("%d", paxos_version_with(m->node));
		params[2] = psprintf("%u", paxos_shared->node_id);
		res = paxos_conn_exec(conn,
							  "SELECT refusal FROM paxos.pre_vote($1::uuid, $2::int, $3::int, 0)",
							  3, params, 0, OPEN_TIMEOUT_MS, &error);
		removed = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1 &&
				  atoi(PQgetvalue(res, 0, 0)) == PX_REFUSED_REMOVED;
		PQclear(res);
		paxos_conn_close(conn);
		conn = NULL;
		if (removed)
			break;
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	if (removed)
		paxos_node_mark_removed();
	return removed;
}

px_slot
paxos_snapshot_load(px_slot at_least)
{
	MemoryContext old = CurrentMemoryContext;
	MemoryContext cxt =
		AllocSetContextCreate(TopMemoryContext, "paxos snapshot", ALLOCSET_DEFAULT_SIZES);
	List *members;
	ListCell *lc;
	volatile px_slot loaded = 0;

	progress_begins();
	PG_TRY();
	{
		members = members_to_ask(cxt);
		foreach (lc, members)
		{
			PaxosMember *member = lfirst(lc);
			State *state;

			CHECK_FOR_INTERRUPTS();
			state = open_at(member);
			if (state == NULL)
				continue;
			if (state->applied < at_least)
			{
				paxos_conn_close(conn);
				conn = NULL;
				continue;
			}
			load(member, state, cxt);
			loaded = state->applied;
			break;
		}
	}
	PG_FINALLY();
	{
		drop_piece();
		MemoryContextSwitchTo(old);
		MemoryContextDelete(cxt);
	}
	PG_END_TRY();

	if (loaded != 0)
	{
		progress_is(PAXOS_SNAPSHOT_LOADED, "");
		ereport(LOG, (errmsg("paxos learner: loaded a snapshot of slot " UINT64_FORMAT
							 ": " UINT64_FORMAT " rows, " UINT64_FORMAT " bytes",
							 loaded, paxos_shared->snapshot.rows, paxos_shared->snapshot.bytes)));
	}
	return loaded;
}
