/*
 * paxos_replicated.c
 *	  The row paxos.replicated, and the state digest (protocol.md § 6).
 *
 * The row says how far this node has applied the log and holds the small part of
 * the replicated state that is no table: digest, log time, origins, how much is
 * remembered of requests.  It changes in the transaction that applies, so any
 * snapshot that shows the tables at a slot shows the row at the same slot.
 *
 * One row, updated with every transaction of the learner: no index, so that it
 * can stay on its page; found by its place, not by a scan; and pruned here,
 * because nobody else reads the page in a way that would.
 *
 * The digest folds what each slot did and answered.  Nodes at equal watermarks
 * have equal digests, or one of them computes something else from the same log
 * (invariant 9).
 *
 * No state; a crash leaves the row as of the last flushed commit.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_apply.h"
#include "paxos_replicated.h"

/* Columns of paxos.replicated; src/sql/30-learner.sql. */
#define REPLICATED_APPLIED 1
#define REPLICATED_DIGEST 2
#define REPLICATED_LOG_TIME 3
#define REPLICATED_ORIGINS 4
#define REPLICATED_REQUESTS 5
#define REPLICATED_BYTES 6
#define REPLICATED_CONFIGURATION 7
#define REPLICATED_WINDOW_FROM 8
#define REPLICATED_WINDOW_USED 9
#define REPLICATED_COLUMNS 9

/*
 * ---- digest ----
 *
 * A running 64-bit hash with a good mixer and no secret: it finds divergence,
 * it does not defend against an enemy.  Bytes are taken little-endian whatever
 * the machine.
 */

uint64
paxos_digest_fold(uint64 digest, uint64 v)
{
	v *= UINT64CONST(0x87C37B91114253D5);
	v = v << 31 | v >> 33;
	v *= UINT64CONST(0x4CF5AD432745937F);
	digest ^= v;
	digest = digest << 27 | digest >> 37;
	return digest * 5 + UINT64CONST(0x52DCE72938495AB5);
}

uint64
paxos_digest_text(uint64 digest, const char *text)
{
	const unsigned char *at = (const unsigned char *) text;
	Size len;

	if (text == NULL)
		return paxos_digest_fold(digest, UINT64_MAX);
	len = strlen(text);
	digest = paxos_digest_fold(digest, len);
	while (len > 0)
	{
		uint64 v = 0;
		int n = (int) Min(len, 8);

		for (int i = n - 1; i >= 0; i--)
			v = v << 8 | at[i];
		digest = paxos_digest_fold(digest, v);
		at += n;
		len -= n;
	}
	return digest;
}

/*
 * ---- the row paxos.replicated ----
 */

Relation
paxos_replicated_open(void)
{
	Oid schema = get_namespace_oid(PAXOS_SCHEMA, true);
	Oid relid = OidIsValid(schema) ? get_relname_relid("replicated", schema) : InvalidOid;

	if (!OidIsValid(relid) || !paxos_lock_for_apply(relid, RowExclusiveLock))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s is missing", PAXOS_SCHEMA, "replicated")));
	return table_open(relid, NoLock);
}

static void
read_tuple(HeapTuple tuple, TupleDesc desc, PaxosReplicated *r)
{
	Datum values[REPLICATED_COLUMNS];
	bool nulls[REPLICATED_COLUMNS];
	ArrayType *origins;
	Datum *elems;
	int n;

	heap_deform_tuple(tuple, desc, values, nulls);
	r->applied = (px_slot) DatumGetInt64(values[REPLICATED_APPLIED - 1]);
	r->digest = (uint64) DatumGetInt64(values[REPLICATED_DIGEST - 1]);
	r->log_time_us = (uint64) DatumGetInt64(values[REPLICATED_LOG_TIME - 1]);
	r->requests.count = DatumGetInt64(values[REPLICATED_REQUESTS - 1]);
	r->requests.bytes = DatumGetInt64(values[REPLICATED_BYTES - 1]);
	r->window.from = (px_slot) DatumGetInt64(values[REPLICATED_WINDOW_FROM - 1]);
	r->window.used = (px_slot) DatumGetInt64(values[REPLICATED_WINDOW_USED - 1]);
	r->tid = tuple->t_self;

	memset(&r->origins, 0, sizeof(r->origins));
	r->origins.config = (px_slot) DatumGetInt64(values[REPLICATED_CONFIGURATION - 1]);
	origins = DatumGetArrayTypeP(values[REPLICATED_ORIGINS - 1]);
	deconstruct_array(origins, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elems, NULL, &n);
	if (n % 3 != 0 || n / 3 > PX_MAX_ORIGINS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("column \"origins\" of %s.%s is damaged", PAXOS_SCHEMA, "replicated")));
	for (int i = 0; i < n / 3; i++)
	{
		px_origin *o = &r->origins.at[i];

		o->node = (px_node) DatumGetInt64(elems[3 * i]);
		o->incarnation = (uint64) DatumGetInt64(elems[3 * i + 1]);
		o->last = (uint64) DatumGetInt64(elems[3 * i + 2]);
	}
	r->origins.n = (uint16_t) (n / 3);
}

/* Find the row by scanning; there is one and it is short. */
void
paxos_replicated_read(Relation rel, PaxosReplicated *r)
{
	TableScanDesc scan = table_beginscan(rel, SnapshotSelf, 0, NULL);
	HeapTuple tuple = heap_getnext(scan, ForwardScanDirection);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("%s.%s has no row", PAXOS_SCHEMA, "replicated")));
	read_tuple(tuple, RelationGetDescr(rel), r);
	table_endscan(scan);
}

px_slot
paxos_replicated_applied(Relation rel, Snapshot snapshot)
{
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	HeapTuple tuple = heap_getnext(scan, ForwardScanDirection);
	px_slot applied;
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("%s.%s has no row", PAXOS_SCHEMA, "replicated")));
	applied = (px_slot) DatumGetInt64(
		heap_getattr(tuple, REPLICATED_APPLIED, RelationGetDescr(rel), &isnull));
	table_endscan(scan);
	return applied;
}

/*
 * The row is found where it was left: a scan would walk over its dead versions,
 * of which a long-running snapshot somewhere can keep many.
 */
bool
paxos_replicated_write(Relation rel, PaxosReplicated *before, PaxosReplicated *after)
{
	HeapTupleData old;
	Buffer buffer;
	bool isnull;
	bool same;
	Datum values[REPLICATED_COLUMNS];
	bool nulls[REPLICATED_COLUMNS] = {false};
	Datum elems[3 * PX_MAX_ORIGINS];
	HeapTuple tuple;

	/* Nobody else reads this page in a way that would prune it. */
	if (ItemPointerGetBlockNumber(&before->tid) < RelationGetNumberOfBlocks(rel))
	{
		buffer = ReadBuffer(rel, ItemPointerGetBlockNumber(&before->tid));
		heap_page_prune_opt(rel, buffer);
		ReleaseBuffer(buffer);

		old.t_self = before->tid;
		same = heap_fetch(rel, SnapshotSelf, &old, &buffer, false);
		if (same)
		{
			same = (px_slot) DatumGetInt64(
					   heap_getattr(&old, REPLICATED_APPLIED, RelationGetDescr(rel), &isnull)) ==
				   before->applied;
			ReleaseBuffer(buffer);
		}
	}
	else
		same = false;
	if (!same)
	{
		PaxosReplicated now;

		/* VACUUM FULL moved it, or somebody changed it: that must not be lost */
		memset(&now, 0, sizeof(now));
		paxos_replicated_read(rel, &now);
		if (now.applied != before->applied || now.digest != before->digest)
			return false;
		before->tid = now.tid;
	}

	for (int i = 0; i < after->origins.n; i++)
	{
		const px_origin *o = &after->origins.at[i];

		elems[3 * i] = Int64GetDatum((int64) o->node);
		elems[3 * i + 1] = Int64GetDatum((int64) o->incarnation);
		elems[3 * i + 2] = Int64GetDatum((int64) o->last);
	}
	values[REPLICATED_APPLIED - 1] = Int64GetDatum((int64) after->applied);
	values[REPLICATED_DIGEST - 1] = Int64GetDatum((int64) after->digest);
	values[REPLICATED_LOG_TIME - 1] = Int64GetDatum((int64) after->log_time_us);
	values[REPLICATED_ORIGINS - 1] = PointerGetDatum(
		construct_array(elems, 3 * after->origins.n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[REPLICATED_REQUESTS - 1] = Int64GetDatum(after->requests.count);
	values[REPLICATED_BYTES - 1] = Int64GetDatum(after->requests.bytes);
	values[REPLICATED_CONFIGURATION - 1] = Int64GetDatum((int64) after->origins.config);
	values[REPLICATED_WINDOW_FROM - 1] = Int64GetDatum((int64) after->window.from);
	values[REPLICATED_WINDOW_USED - 1] = Int64GetDatum((int64) after->window.used);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleUpdate(rel, &before->tid, tuple);
	after->tid = tuple->t_self;
	return true;
}
