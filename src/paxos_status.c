/*
 * paxos_status.c
 *	  The functions behind the views paxos.status, paxos.members, paxos.log and
 *	  paxos.stats: what this node knows, as it is at this moment.
 *
 * Everything comes from shared memory or from the log table; nothing here
 * changes anything, waits for anything or asks another node.  The parts of
 * paxos.status are published by different processes under different locks
 * (paxos_shmem.h): each part is consistent in itself, the row as a whole is
 * not a snapshot - applied may be a moment older than chosen.
 *
 * A conninfo is never shown: it may hold a password although it should not.
 */
#include "postgres.h"

#include <inttypes.h>

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "core/px_value.h"
#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_ext.h"
#include "paxos_acceptor.h"
#include "paxos_log.h"
#include "paxos_memory.h"
#include "paxos_node.h"
#include "paxos_queue.h"

PG_FUNCTION_INFO_V1(paxos_status);
PG_FUNCTION_INFO_V1(paxos_members);
PG_FUNCTION_INFO_V1(paxos_log_entries);
PG_FUNCTION_INFO_V1(paxos_stats);

/* Commands of one slot described in words; the rest is counted. */
#define MAX_DESCRIBED 32
#define MAX_TEXT 120 /* bytes of a key or statement shown */

static const char *
state_name(PaxosMembership m)
{
	switch (m)
	{
		case PAXOS_NO_DATABASE:
			return "starting";
		case PAXOS_NO_EXTENSION:
			return "no extension";
		case PAXOS_NO_CLUSTER:
			return "no cluster";
		case PAXOS_FORMING:
			return "forming";
		case PAXOS_MEMBER:
			return "member";
		case PAXOS_FENCED:
			return "fenced";
		case PAXOS_JOINING:
			return "joining";
		case PAXOS_REMOVED:
			return "removed";
	}
	return "?";
}

static char *
ballot_text(px_ballot b)
{
	return psprintf(UINT64_FORMAT ".%u", px_ballot_round(b), (unsigned) px_ballot_node(b));
}

/* A row under construction. */
typedef struct Row
{
	int n;
	Datum values[64];
	bool nulls[64];
} Row;

static void
put_datum(Row *r, Datum d)
{
	r->values[r->n] = d;
	r->nulls[r->n++] = false;
}

static void
put_nothing(Row *r)
{
	r->values[r->n] = (Datum) 0;
	r->nulls[r->n++] = true;
}

static void
put_string(Row *r, const char *s)
{
	if (s == NULL || s[0] == '\0')
		put_nothing(r);
	else
		put_datum(r, CStringGetTextDatum(s));
}

static void
put_int64(Row *r, uint64 v)
{
	put_datum(r, Int64GetDatum((int64) v));
}

/* What the log takes on disk, its index and TOAST table included. */
static void
put_log_bytes(Row *r)
{
	Oid relid = paxos_internal_relid("log_entry");

	if (OidIsValid(relid))
		put_datum(r, DirectFunctionCall1(pg_total_relation_size, ObjectIdGetDatum(relid)));
	else
		put_nothing(r);
}

static void
put_ms(Row *r, uint64 us)
{
	put_datum(r, Float8GetDatum((double) us / 1000.0));
}

static Datum
row_datum(FunctionCallInfo fcinfo, Row *r)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	/* fewer: the extension's script is older than the library */
	if (desc->natts > r->n)
		elog(ERROR, "row of %d columns for %d", r->n, desc->natts);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), r->values, r->nulls));
}

/* paxos.node_status(): one row */
Datum
paxos_status(PG_FUNCTION_ARGS)
{
	Row r = {0};
	PaxosMembership membership;
	pg_uuid_t cluster_id;
	px_node node_id;
	char why[PAXOS_ERROR_TEXT];
	char stuck_why[PAXOS_ERROR_TEXT];
	px_config config;
	px_acceptor acceptor;
	bool proposing;
	bool learning;
	px_role role;
	px_ballot ballot;
	px_node leader;
	bool ready;
	uint64 incarnation;
	px_slot applied, durable, stuck_slot;
	uint64 digest, log_time_us;
	bool stuck;
	bool known;

	paxos_require_preload();

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	membership = paxos_shared->membership;
	cluster_id = paxos_shared->cluster_id;
	node_id = paxos_shared->node_id;
	strlcpy(why, paxos_shared->why_fenced, sizeof(why));
	config = paxos_shared->config;
	LWLockRelease(paxos_identity_lock);

	acceptor = paxos_acceptor_look();

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	proposing = paxos_shared->proposer_procno >= 0;
	role = paxos_shared->role;
	ballot = paxos_shared->ballot;
	leader = paxos_shared->leader;
	ready = paxos_shared->ready;
	incarnation = paxos_shared->incarnation;
	LWLockRelease(paxos_proposer_lock);

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	learning = paxos_shared->learner_procno >= 0;
	applied = paxos_shared->applied;
	durable = paxos_shared->durable;
	digest = paxos_shared->digest;
	log_time_us = paxos_shared->log_time_us;
	stuck = paxos_shared->stuck;
	stuck_slot = paxos_shared->stuck_slot;
	strlcpy(stuck_why, paxos_shared->stuck_why, sizeof(stuck_why));
	LWLockRelease(paxos_learner_lock);

	known = membership >= PAXOS_FORMING && node_id != 0;

	put_string(&r, state_name(membership));
	put_string(&r, why[0] != '\0' ? why : NULL);
	if (!known)
	{
		while (r.n < 27)
			put_nothing(&r);
		return row_datum(fcinfo, &r);
	}

	put_datum(&r, UUIDPGetDatum(&cluster_id));
	put_datum(&r, Int32GetDatum(node_id));
	put_datum(&r, Int32GetDatum(px_config_voters(&config)));
	put_datum(&r, BoolGetDatum(px_config_is_voter(&config, node_id)));
	put_string(&r, proposing ? px_role_name(role) : "not running");
	put_datum(&r, BoolGetDatum(proposing && ready));
	if (leader != 0 && proposing)
		put_datum(&r, Int32GetDatum(leader));
	else
		put_nothing(&r);

	/* Its own while it stands or leads, else the highest it has promised. */
	if (ballot == 0)
		ballot = acceptor.promised;
	put_int64(&r, ballot);
	put_string(&r, ballot_text(ballot));
	put_string(&r, ballot_text(acceptor.promised));
	put_int64(&r, incarnation);
	put_int64(&r, acceptor.chosen);
	put_int64(&r, applied);
	put_int64(&r, durable);
	put_int64(&r, acceptor.truncated);
	put_int64(&r, acceptor.chosen > applied ? acceptor.chosen - applied : 0);
	put_string(&r, psprintf("%016" PRIx64, digest));
	if (log_time_us == 0)
		put_nothing(&r);
	else
		put_datum(&r,
				  TimestampTzGetDatum((TimestampTz) log_time_us -
									  (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY));
	put_datum(&r, BoolGetDatum(learning));
	put_datum(&r, BoolGetDatum(stuck));
	if (stuck)
		put_int64(&r, stuck_slot);
	else
		put_nothing(&r);
	put_string(&r, stuck ? stuck_why : NULL);
	put_log_bytes(&r);
	put_datum(&r, Int32GetDatum(paxos_version_in_use()));
	put_datum(&r, Int32GetDatum(paxos_protocol_max));
	return row_datum(fcinfo, &r);
}

/* paxos.member_status(): a row for each member of the governing configuration */
Datum
paxos_members(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PaxosMembership membership;
	bool may_read_stats = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS);
	px_node self;
	px_node leader;
	px_role role;
	px_acceptor acceptor;
	px_slot applied, durable;
	PaxosPeerStatus *peers = palloc(sizeof(paxos_shared->peers));
	int n_peers;
	bool proposing;
	ListCell *lc;

	paxos_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	membership = paxos_shared->membership;
	self = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);
	if (membership < PAXOS_JOINING)
		return (Datum) 0;

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	proposing = paxos_shared->proposer_procno >= 0;
	leader = proposing ? paxos_shared->leader : 0;
	role = paxos_shared->role;
	n_peers = proposing ? paxos_shared->n_peers : 0;
	memcpy(peers, paxos_shared->peers, n_peers * sizeof(PaxosPeerStatus));
	LWLockRelease(paxos_proposer_lock);

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	applied = paxos_shared->applied;
	durable = paxos_shared->durable;
	LWLockRelease(paxos_learner_lock);
	acceptor = paxos_acceptor_look();

	foreach (lc, paxos_node_members())
	{
		PaxosMember *m = lfirst(lc);
		PaxosPeerStatus *p = NULL;
		int version;
		Row r = {0};

		for (int i = 0; i < n_peers; i++)
		{
			if (peers[i].node == m->node)
				p = &peers[i];
		}

		put_datum(&r, Int32GetDatum(m->node));
		put_string(&r, m->name);
		put_datum(&r, BoolGetDatum(m->voter));
		put_datum(&r, BoolGetDatum(m->node == self));
		put_string(&r, m->node == leader ? "leader"
					   : m->node == self ? (proposing ? px_role_name(role) : "not running")
					   : m->voter        ? "follower"
					   : m->joining      ? "joining"
										 : "learner");
		put_datum(&r, BoolGetDatum(p != NULL && p->connected));
		put_datum(&r, BoolGetDatum(p != NULL && p->open));
		if (p != NULL && p->last_contact != 0)
			put_datum(&r, TimestampTzGetDatum(p->last_contact));
		else
			put_nothing(&r);
		if (p != NULL && p->rtt_us != 0)
			put_ms(&r, p->rtt_us);
		else
			put_nothing(&r);

		/* Of itself a node knows better than what its own stream has told. */
		if (m->node == self)
		{
			put_int64(&r, applied);
			put_int64(&r, durable);
			if (acceptor.open && acceptor.positioned)
				put_int64(&r, acceptor.next);
			else
				put_nothing(&r);
		}
		else if (p != NULL && p->applied != 0)
		{
			put_int64(&r, p->applied);
			put_int64(&r, p->durable);
			if (p->open)
				put_int64(&r, p->next);
			else
				put_nothing(&r);
		}
		else
		{
			put_nothing(&r);
			put_nothing(&r);
			put_nothing(&r);
		}

		/* libpq's own words: they name hosts, addresses and roles */
		put_string(&r, p != NULL && !p->connected && may_read_stats ? p->last_error : NULL);
		version = m->node == self ? paxos_protocol_max : paxos_memory_version(m->node);
		if (version != 0)
			put_datum(&r, Int32GetDatum(version));
		else
			put_nothing(&r);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, r.values, r.nulls);
	}
	return (Datum) 0;
}

/* ------------------------------------------------------------------
 * The log, readable
 * ------------------------------------------------------------------
 */

static void
append_short(StringInfo out, const char *text)
{
	int len = strlen(text);

	if (len > MAX_TEXT)
		appendStringInfo(out, "%.*s...", pg_mbcliplen(text, len, MAX_TEXT), text);
	else
		appendStringInfoString(out, text);
}

static void
append_table(StringInfo out, int64 table_id)
{
	Oid relid = paxos_table_relid(table_id);
	char *name = OidIsValid(relid) ? get_rel_name(relid) : NULL;

	if (name == NULL)
		appendStringInfo(out, "table " INT64_FORMAT, table_id);
	else
		appendStringInfoString(
			out, quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name));
}

static const char *
verb_name(PaxosVerb verb)
{
	switch (verb)
	{
		case PAXOS_VERB_INSERT:
		case PAXOS_VERB_INSERT_NEW:
		case PAXOS_VERB_INSERT_NOTHING:
			return "insert";
		case PAXOS_VERB_UPDATE:
			return "update";
		case PAXOS_VERB_DELETE:
			return "delete";
		case PAXOS_VERB_UPSERT:
		case PAXOS_VERB_INSERT_UPDATE:
			return "upsert";
		case PAXOS_VERB_EXISTS:
			return "exists";
		case PAXOS_VERB_ABSENT:
			return "absent";
		case PAXOS_VERB_GET:
			return "get";
	}
	return "?";
}

static void
describe_keyed(StringInfo out, const PaxosKeyedOp *op)
{
	appendStringInfo(out, "%s ", verb_name(op->verb));
	append_table(out, op->table_id);
	appendStringInfoString(out, " (");
	for (int i = 0; i < op->n_key; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		append_short(out, op->key[i].text);
	}
	appendStringInfoChar(out, ')');
	if (op->n_conditions > 0)
		appendStringInfo(out, " if %d condition%s", op->n_conditions,
						 op->n_conditions == 1 ? "" : "s");
}

static void
describe_list(StringInfo out, const PaxosKeyedList *list)
{
	if (list->n == 0)
		appendStringInfoString(out, "nothing");
	else
		describe_keyed(out, &list->ops[0]);
	if (list->n > 1)
		appendStringInfo(out, " and %d more", list->n - 1);
}

static void
describe_command(StringInfo out, px_bytes bytes)
{
	PaxosCommand c;

	if (!paxos_command_decode((const char *) bytes.data, bytes.len, &c))
	{
		appendStringInfoString(out, "unreadable");
		return;
	}
	switch (c.kind)
	{
		case PAXOS_COMMAND_KEYED:
			describe_keyed(out, &c.u.keyed);
			break;
		case PAXOS_COMMAND_LIST:
			describe_list(out, &c.u.list);
			break;
		case PAXOS_COMMAND_TXN:
			appendStringInfoString(out, "if ");
			describe_list(out, &c.u.txn.guards);
			appendStringInfoString(out, " then ");
			describe_list(out, &c.u.txn.then_ops);
			appendStringInfoString(out, " else ");
			describe_list(out, &c.u.txn.else_ops);
			break;
		case PAXOS_COMMAND_DDL:
			append_short(out, c.u.ddl.sql);
			break;
		case PAXOS_COMMAND_VERIFY:
			appendStringInfoString(out, "verify ");
			append_table(out, c.u.verify.table_id);
			break;
		default:
			appendStringInfoString(out, "unknown command");
			break;
	}
	if (c.has_request_id)
		appendStringInfo(
			out, " [%s]",
			DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&c.request_id))));
}

/* What a value holds: origin batches, commands, and all of it in words. */
static void
describe_value(px_bytes value, const char **kind, uint64 *log_time_us, int *commands,
			   StringInfo origins, StringInfo text)
{
	px_value_view view;
	px_batch_view batch;
	px_member_view member;
	px_command_view command;
	uint32_t pos = 0;

	*kind = "unreadable";
	*commands = 0;
	*log_time_us = 0;
	if (!px_value_open(value, &view))
		return;
	*log_time_us = view.log_time_us;
	switch (view.kind)
	{
		case PX_VALUE_NOOP:
			*kind = "no-op";
			break;
		case PX_VALUE_CONFIG:
			*kind = "configuration";
			while (px_value_next_member(&view, &pos, &member))
				appendStringInfo(text, "%s%s %u%s", text->len > 0 ? ", " : "", member.name,
								 (unsigned) member.node, member.voter ? "" : " (learner)");
			break;
		case PX_VALUE_BATCHES:
			*kind = "commands";
			while (px_value_next_batch(&view, &pos, &batch))
			{
				uint32_t at = 0;

				appendStringInfo(origins, "%s%u/" UINT64_FORMAT "/" UINT64_FORMAT,
								 origins->len > 0 ? " " : "", (unsigned) batch.origin,
								 (uint64) batch.incarnation, (uint64) batch.sequence);
				while (px_batch_next_command(&batch, &at, &command))
				{
					if (*commands < MAX_DESCRIBED)
					{
						if (*commands > 0)
							appendStringInfoString(text, "; ");
						describe_command(text, command.bytes);
					}
					(*commands)++;
				}
			}
			if (*commands > MAX_DESCRIBED)
				appendStringInfo(text, "; and %d more", *commands - MAX_DESCRIBED);
			break;
	}
}

/* paxos.log_entries(first bigint, last bigint) */
Datum
paxos_log_entries(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext context;
	MemoryContext old;
	px_acceptor acceptor;
	px_slot w, last, highest;

	paxos_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	acceptor = paxos_acceptor_look();
	w = PG_ARGISNULL(0) || PG_GETARG_INT64(0) < 1 ? 0 : (px_slot) PG_GETARG_INT64(0) - 1;
	w = Max(w, acceptor.truncated);
	last = PG_ARGISNULL(1) || PG_GETARG_INT64(1) < 0 ? PG_INT64_MAX : (px_slot) PG_GETARG_INT64(1);

	context =
		AllocSetContextCreate(CurrentMemoryContext, "paxos log entries", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	PushActiveSnapshot(GetLatestSnapshot());
	do
	{
		px_entry entries[16];
		int n = paxos_log_above(w, lengthof(entries), entries, &highest);

		for (int i = 0; i < n && entries[i].slot <= last; i++)
		{
			Row r = {0};
			const char *kind;
			uint64 log_time_us;
			int commands;
			StringInfoData origins, text;

			initStringInfo(&origins);
			initStringInfo(&text);
			describe_value(entries[i].value, &kind, &log_time_us, &commands, &origins, &text);
			put_int64(&r, entries[i].slot);
			put_string(&r, ballot_text(entries[i].ballot));
			put_datum(&r, BoolGetDatum(entries[i].chosen || entries[i].slot <= acceptor.chosen));
			put_string(&r, kind);
			if (log_time_us == 0)
				put_nothing(&r);
			else
				put_datum(&r, TimestampTzGetDatum((TimestampTz) log_time_us -
												  (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
													  USECS_PER_DAY));
			put_string(&r, origins.data);
			put_datum(&r, Int32GetDatum(commands));
			put_datum(&r, Int32GetDatum((int32) entries[i].value.len));
			put_string(&r, text.data);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, r.values, r.nulls);
		}
		w += lengthof(entries);
		MemoryContextReset(context);
		CHECK_FOR_INTERRUPTS();
	} while (w < highest && w < last);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* ------------------------------------------------------------------
 * Counters
 * ------------------------------------------------------------------
 */

static uint64
counter(pg_atomic_uint64 *c)
{
	return pg_atomic_read_u64(c);
}

/*
 * The value below which a share p of the observations lie, by the histogram of
 * powers of two: within its bucket taken as evenly spread, so right within a
 * factor of two.
 */
static double
percentile(const uint64 *bucket, uint64 total, double p)
{
	double rank = p * (double) total;
	double below = 0;

	for (int i = 0; i < PAXOS_HISTOGRAM_BUCKETS; i++)
	{
		double low = i == 0 ? 0 : (double) (UINT64CONST(1) << (i - 1));
		double high = i == 0 ? 0 : low * 2;

		if (bucket[i] > 0 && below + (double) bucket[i] >= rank)
			return low + (high - low) * (rank - below) / (double) bucket[i];
		below += (double) bucket[i];
	}
	return 0;
}

/* count, mean, p50, p95, p99; times in milliseconds (divisor 1000) */
static void
put_histogram(Row *r, PaxosHistogram *h, double divisor)
{
	uint64 bucket[PAXOS_HISTOGRAM_BUCKETS];
	uint64 total = 0;
	uint64 count = pg_atomic_read_u64(&h->count);
	uint64 sum = pg_atomic_read_u64(&h->sum);

	for (int i = 0; i < PAXOS_HISTOGRAM_BUCKETS; i++)
	{
		bucket[i] = pg_atomic_read_u64(&h->bucket[i]);
		total += bucket[i];
	}
	put_int64(r, count);
	if (count == 0 || total == 0)
	{
		for (int i = 0; i < 4; i++)
			put_nothing(r);
		return;
	}
	put_datum(r, Float8GetDatum((double) sum / (double) count / divisor));
	put_datum(r, Float8GetDatum(percentile(bucket, total, 0.50) / divisor));
	put_datum(r, Float8GetDatum(percentile(bucket, total, 0.95) / divisor));
	put_datum(r, Float8GetDatum(percentile(bucket, total, 0.99) / divisor));
}

/* paxos.node_stats(): one row, counted since the server started */
Datum
paxos_stats(PG_FUNCTION_ARGS)
{
	Row r = {0};
	uint64 started, won, resent, gaps, cells, bytes;
	PaxosShared *s = paxos_shared;

	paxos_require_preload();

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	started = s->elections_started;
	won = s->elections_won;
	resent = s->batches_resent;
	LWLockRelease(paxos_proposer_lock);
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	gaps = s->gaps_seen;
	LWLockRelease(paxos_learner_lock);

	put_int64(&r, counter(&s->n_proposals));
	put_int64(&r, counter(&s->n_chosen));
	put_int64(&r, counter(&s->n_applied_slots));
	put_int64(&r, counter(&s->n_applied_commands));
	put_int64(&r, counter(&s->n_conditions_not_met));
	put_int64(&r, counter(&s->n_command_errors));
	put_int64(&r, counter(&s->n_unknown_outcomes));
	put_int64(&r, counter(&s->n_read_indexes));
	put_int64(&r, counter(&s->n_lease_reads));
	put_int64(&r, started);
	put_int64(&r, won);
	put_int64(&r, resent);
	put_int64(&r, gaps);
	put_int64(&r, counter(&s->n_apply_retries));
	put_int64(&r, counter(&s->n_fetched_entries));
	put_histogram(&r, &s->commit_us, 1000.0);
	put_histogram(&r, &s->accept_us, 1000.0);
	put_histogram(&r, &s->flush_us, 1000.0);
	put_histogram(&r, &s->apply_us, 1000.0);
	put_histogram(&r, &s->batch_commands, 1.0);
	paxos_queue_in_use(&cells, &bytes);
	put_int64(&r, cells);
	put_int64(&r, bytes);
	return row_datum(fcinfo, &r);
}
