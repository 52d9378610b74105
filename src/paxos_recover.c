/*
 * paxos_recover.c
 *	  Disaster: a majority of the members is gone for good.
 *	  paxos_recover_from_majority_loss() makes a new cluster, of one node, from
 *	  what this survivor has.
 *
 * Consensus cannot promise anything any more: what the lost majority chose and
 * this node never heard of is lost, and an operator has to say that this is
 * accepted.  What is kept:
 *
 * - all that is applied here;
 * - what stands in this node's log above that, whether it was known chosen or
 *	 not.  A client may have been told that it took effect, and nobody can have
 *	 been told of anything else at those slots that this node knows less of.  The
 *	 new cluster's first leader, this node, recovers and decides it in the
 *	 ordinary way.  Up to the first configuration among it: the members it speaks
 *	 of are of the old cluster, and it and what follows are cut off.
 *
 * The new cluster has an uuid of its own, so that the old members, should they
 * come back, are strangers to it and it to them: two clusters, never one that
 * disagrees with itself.  They must leave (paxos_leave_cluster) and be added as
 * new nodes.  Node ids go on from the highest of the old cluster.
 *
 * The workers and peers are held off meanwhile; a crash in between leaves
 * everything as it was.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_cluster.h"
#include "paxos_configuration.h"
#include "paxos_identity.h"
#include "paxos_node.h"

PG_FUNCTION_INFO_V1(paxos_recover_from_majority_loss);

/* Entries looked at in one go. */
#define LOOK_ENTRIES 64

/* Delete the log from a slot on. */
static void
cut_log(px_slot from)
{
	Oid types[1] = {INT8OID};
	Datum values[1] = {Int64GetDatum((int64) from)};

	SPI_connect();
	paxos_applying = true;
	PG_TRY();
	{
		if (SPI_execute_with_args("DELETE FROM paxos.log_entry WHERE slot >= $1", 1, types, values,
								  NULL, false, 0) != SPI_OK_DELETE)
			elog(ERROR, "could not cut the log");
	}
	PG_FINALLY();
	{
		paxos_applying = false;
	}
	PG_END_TRY();
	SPI_finish();
	paxos_configuration_forget(from);
}

/*
 * The last slot of what follows 'applied' in the log without a hole, a
 * configuration or a value that cannot be read.
 */
static px_slot
usable_end(px_slot applied)
{
	px_slot end = applied;

	for (;;)
	{
		px_entry entries[LOOK_ENTRIES];
		px_slot last;
		int n = paxos_log_above(end, LOOK_ENTRIES, entries, &last);

		for (int i = 0; i < n; i++)
		{
			px_value_view view;

			if (entries[i].slot != end + 1 || !px_value_open(entries[i].value, &view) ||
				view.kind == PX_VALUE_CONFIG)
				return end;
			end++;
		}
		if (n < LOOK_ENTRIES)
			return end;
	}
}

/*
 * paxos_recover_from_majority_loss(accept_loss boolean DEFAULT false,
 *									OUT cluster uuid, OUT applied bigint, OUT kept bigint)
 */
Datum
paxos_recover_from_majority_loss(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	PaxosNodeRow row;
	PaxosConfiguration held;
	PaxosMember self;
	px_slot applied;
	px_slot kept;
	uint8 *buf = palloc(PX_MAX_CONFIG_BYTES);
	px_value_writer w;
	pg_uuid_t *cluster = palloc(sizeof(pg_uuid_t));
	Datum values[3];
	bool nulls[3] = {false};

	paxos_require_right_place();
	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("paxos_recover_from_majority_loss() cannot run inside a "
							   "transaction block")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	/* Nobody changes what is reported from here on. */
	paxos_hold_off_until_end();
	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	memset(&row, 0, sizeof(row));
	if (!paxos_node_row_read(&row) || !row.begun)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster")));
	if (!paxos_configuration_read(&held) || !paxos_node_member(row.node_id, &self))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is no member by the last configuration it knows"),
						errhint("Recover on another survivor.")));
	applied = paxos_node_applied();
	kept = usable_end(applied);

	if (PG_ARGISNULL(0) || !PG_GETARG_BOOL(0))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a new cluster made from this node alone may lack what the others decided"),
				 errdetail("Here slots up to " UINT64_FORMAT
						   " are applied, and entries up to slot " UINT64_FORMAT
						   " would be kept. Whatever was decided above that is lost, "
						   "acknowledged writes among it.",
						   applied, kept),
				 errhint("Only if a majority of the old members is gone for good, and this is the "
						 "survivor that has most: call "
						 "paxos_recover_from_majority_loss(accept_loss => true).")));

	cut_log(kept + 1);
	px_value_begin(&w, buf, PX_MAX_CONFIG_BYTES, PX_VALUE_CONFIG, 0);
	if (!px_value_add_member(&w, row.node_id, true, self.name, self.conninfo))
		elog(ERROR, "the configuration does not fit");
	px_value_set_highest(&w, px_config_highest(&held.config));
	paxos_configuration_write(applied, 0, px_value_end(&w), true);
	*cluster = paxos_random_uuid();
	row.cluster_id = *cluster;
	row.removed = false;
	paxos_identity_adopt(&row);
	paxos_node_row_write(&row);
	PopActiveSnapshot();
	paxos_commit_locally();
	paxos_node_wake_workers_at_commit();

	ereport(
		WARNING,
		(errmsg("this node is now a cluster of its own, %s", paxos_uuid_text(cluster)),
		 errdetail("Applied up to slot " UINT64_FORMAT ", entries kept up to slot " UINT64_FORMAT
				   "; what was decided above that is lost.",
				   applied, kept),
		 errhint("Old members that come back must leave (paxos_leave_cluster) and be added "
				 "as new nodes (paxos_add_member).")));
	values[0] = UUIDPGetDatum(cluster);
	values[1] = Int64GetDatum((int64) applied);
	values[2] = Int64GetDatum((int64) kept);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
