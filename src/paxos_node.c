/*
 * paxos_node.c
 *	  Who this node is: the tables paxos.node and paxos.configuration, loading
 *	  them and the acceptor into shared memory, and the incarnation.
 *
 * Owns: paxos_shared's identity fields and the first value of the acceptor.
 * Not its business: how a cluster comes about (paxos_cluster.c), what the
 * acceptor does afterwards (paxos_acceptor.c), whether this server may be the node
 * its tables say (paxos_identity.c).
 *
 * The standing of a node, and what moves it:
 *
 *		NO_DATABASE		-> any			the first load after a start
 *		NO_EXTENSION	<-> NO_CLUSTER	CREATE EXTENSION, DROP EXTENSION
 *		NO_CLUSTER		-> FORMING		paxos.form_record()
 *		FORMING			-> MEMBER		paxos.form_begin()
 *		NO_CLUSTER		-> JOINING		paxos.join_record()
 *		JOINING			-> MEMBER		a configuration with this node in it is
 *										recorded as chosen
 *		MEMBER			-> REMOVED		one without it is, or another member says
 *										so; for ever
 *		MEMBER			<-> FENCED		paxos_identity.c
 *		any				-> NO_CLUSTER	paxos_leave_cluster()
 *
 * A load reads tables under the acceptor lock, so that no transition is between
 * its commit and its publication: the acceptor read and the one published
 * are the same moment's.  One that is loaded already is left alone: the
 * stream and the lease are in shared memory only.  Another cluster's, or one of
 * an extension that has been dropped and created since, is thrown away.
 *
 * A crash loses nothing here: both tables are written by flushed transactions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_address.h"
#include "paxos_configuration.h"
#include "paxos_identity.h"
#include "paxos_memory.h"

/* Columns; src/sql/10-schema.sql and 30-learner.sql. */
#define NODE_CLUSTER 1
#define NODE_ID 2
#define NODE_STATE 3
#define NODE_INCARNATION 4
#define NODE_SYSTEM 5
#define NODE_TIMELINE 6
#define NODE_SENTINEL 7
#define NODE_BACKUP_LABEL 8
#define NODE_DOUBT 9
#define NODE_OVERRULED_PROMISED 10
#define NODE_OVERRULED_ACCEPTED 11
#define NODE_COLUMNS 11

#define REPLICATED_APPLIED 1

static const char *const standing_names[] = {
	[PAXOS_NO_DATABASE] = "not started", [PAXOS_NO_EXTENSION] = "no extension",
	[PAXOS_NO_CLUSTER] = "no cluster",   [PAXOS_FORMING] = "forming",
	[PAXOS_JOINING] = "joining",         [PAXOS_MEMBER] = "member",
	[PAXOS_FENCED] = "fenced",           [PAXOS_REMOVED] = "removed"};

static Relation
open_internal(const char *name, LOCKMODE mode)
{
	Oid relid = paxos_internal_relid(name);

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s does not exist", PAXOS_SCHEMA, name)));
	return table_open(relid, mode);
}

/*
 * ---- the tables ----
 */

bool
paxos_node_row_read(PaxosNodeRow *row)
{
	Relation node = open_internal("node", AccessShareLock);
	SysScanDesc scan = systable_beginscan(node, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple tuple = systable_getnext(scan);
	bool found = HeapTupleIsValid(tuple);

	if (found)
	{
		Datum values[NODE_COLUMNS];
		bool nulls[NODE_COLUMNS];
		char *state;

		heap_deform_tuple(tuple, RelationGetDescr(node), values, nulls);
		row->cluster_id = *DatumGetUUIDP(values[NODE_CLUSTER - 1]);
		row->node_id = (px_node) DatumGetInt32(values[NODE_ID - 1]);
		state = TextDatumGetCString(values[NODE_STATE - 1]);
		row->removed = strcmp(state, "removed") == 0;
		row->begun = row->removed || strcmp(state, "member") == 0;
		row->incarnation = (uint64) DatumGetInt64(values[NODE_INCARNATION - 1]);
		row->system_identifier = (uint64) DatumGetInt64(values[NODE_SYSTEM - 1]);
		row->timeline = (uint32) DatumGetInt32(values[NODE_TIMELINE - 1]);
		text_to_cstring_buffer(DatumGetTextPP(values[NODE_SENTINEL - 1]), row->sentinel,
							   sizeof(row->sentinel));
		text_to_cstring_buffer(DatumGetTextPP(values[NODE_BACKUP_LABEL - 1]), row->backup_label,
							   sizeof(row->backup_label));
		text_to_cstring_buffer(DatumGetTextPP(values[NODE_DOUBT - 1]), row->doubt,
							   sizeof(row->doubt));
		row->overruled_promised = (px_ballot) DatumGetInt64(values[NODE_OVERRULED_PROMISED - 1]);
		row->overruled_accepted = (px_slot) DatumGetInt64(values[NODE_OVERRULED_ACCEPTED - 1]);
	}
	systable_endscan(scan);
	table_close(node, NoLock);
	return found;
}

void
paxos_node_row_write(const PaxosNodeRow *row)
{
	Relation node = open_internal("node", RowExclusiveLock);
	SysScanDesc scan = systable_beginscan(node, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple old = systable_getnext(scan);
	Datum values[NODE_COLUMNS];
	bool nulls[NODE_COLUMNS] = {false};
	HeapTuple fresh;

	values[NODE_CLUSTER - 1] = UUIDPGetDatum(&row->cluster_id);
	values[NODE_ID - 1] = Int32GetDatum(row->node_id);
	values[NODE_STATE - 1] = CStringGetTextDatum(row->removed ? "removed"
												 : row->begun ? "member"
															  : "forming");
	values[NODE_INCARNATION - 1] = Int64GetDatum((int64) row->incarnation);
	values[NODE_SYSTEM - 1] = Int64GetDatum((int64) row->system_identifier);
	values[NODE_TIMELINE - 1] = Int32GetDatum((int32) row->timeline);
	values[NODE_SENTINEL - 1] = CStringGetTextDatum(row->sentinel);
	values[NODE_BACKUP_LABEL - 1] = CStringGetTextDatum(row->backup_label);
	values[NODE_DOUBT - 1] = CStringGetTextDatum(row->doubt);
	values[NODE_OVERRULED_PROMISED - 1] = Int64GetDatum((int64) row->overruled_promised);
	values[NODE_OVERRULED_ACCEPTED - 1] = Int64GetDatum((int64) row->overruled_accepted);
	fresh = heap_form_tuple(RelationGetDescr(node), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(node, &old->t_self, fresh);
	else
		CatalogTupleInsert(node, fresh);
	systable_endscan(scan);
	table_close(node, NoLock);
}

px_slot
paxos_node_applied(void)
{
	Relation rel = open_internal("replicated", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, GetActiveSnapshot(), 0, NULL);
	HeapTuple tuple = systable_getnext(scan);
	bool isnull;
	px_slot applied;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("table %s.replicated is empty", PAXOS_SCHEMA)));
	applied = (px_slot) DatumGetInt64(
		heap_getattr(tuple, REPLICATED_APPLIED, RelationGetDescr(rel), &isnull));
	systable_endscan(scan);
	table_close(rel, NoLock);
	return applied;
}

/*
 * ---- loading ----
 */

PaxosMembership
paxos_node_load(void)
{
	Oid relid = paxos_internal_relid("log_entry");
	PaxosMembership standing = PAXOS_NO_EXTENSION;
	PaxosMembership previous;
	PaxosNodeRow row;
	PaxosAcceptorRow acceptor;
	px_config config;
	PaxosConfiguration held;
	px_slot applied = 0;
	px_slot last = 0;
	PaxosMemory memories[PX_MAX_MEMBERS];
	int n_memories = 0;
	char why[PAXOS_ERROR_TEXT] = "";
	PaxosAlarmKind kind = PAXOS_ALARM_AMNESIA;
	bool changed;

	memset(&row, 0, sizeof(row));
	memset(&acceptor, 0, sizeof(acceptor));
	memset(&config, 0, sizeof(config));
	memset(&held, 0, sizeof(held));

	paxos_acceptor_lock_acquire();
	if (OidIsValid(relid))
	{
		/* Taken after the lock, as in every reader of what it guards. */
		PushActiveSnapshot(GetLatestSnapshot());
		if (!paxos_node_row_read(&row))
			standing = PAXOS_NO_CLUSTER;
		else
		{
			if (!paxos_configuration_read(&held))
				ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
								errmsg("table %s.configuration is empty", PAXOS_SCHEMA)));
			config = held.config;
			applied = paxos_node_applied();
			acceptor = paxos_acceptor_row_read();
			(void) paxos_log_above(0, 0, NULL, &last);
			n_memories = paxos_memory_read(memories);
			if (!row.begun)
				standing = PAXOS_FORMING;
			else if (!paxos_identity_judge(&row, &kind, why, sizeof(why)))
				standing = PAXOS_FENCED;
			else if (row.removed || (held.recorded && px_config_removed(&config, row.node_id)))
				standing = PAXOS_REMOVED;
			else if (!held.recorded || px_config_find(&config, row.node_id) < 0)
				standing = PAXOS_JOINING;
			else
				standing = PAXOS_MEMBER;
		}
		PopActiveSnapshot();
	}

	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	previous = paxos_shared->membership;
	changed = previous != standing ||
			  memcmp(&paxos_shared->cluster_id, &row.cluster_id, sizeof(pg_uuid_t)) != 0 ||
			  memcmp(&paxos_shared->config, &config, sizeof(config)) != 0 ||
			  paxos_shared->acceptor_relid != relid;

	/*
	 * What the learner published belongs to a cluster that is no longer ours.
	 * A proposer that begins a life in the new one before the learner has
	 * looked would take the old one's origin batches for its own.
	 */
	if (memcmp(&paxos_shared->cluster_id, &row.cluster_id, sizeof(pg_uuid_t)) != 0)
	{
		LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
		paxos_shared->applied = 0;
		paxos_shared->durable = 0;
		paxos_shared->digest = 0;
		paxos_shared->log_time_us = 0;
		memset(&paxos_shared->origins, 0, sizeof(paxos_shared->origins));
		paxos_shared->cut_ordered = 0;
		paxos_shared->serving_until = 0;
		paxos_shared->fetch_to = 0;
		paxos_shared->fetch_from = 0;
		LWLockRelease(paxos_learner_lock);
		LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
		memcpy(paxos_shared->memories, memories, sizeof(PaxosMemory) * n_memories);
		paxos_shared->n_memories = n_memories;
		memset(&paxos_shared->claims, 0, sizeof(PaxosMemory));
		LWLockRelease(paxos_integrity_lock);
		paxos_address_forget();
	}

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	if (standing < PAXOS_JOINING)
		paxos_shared->acceptor_loaded = false;
	else if (!paxos_shared->acceptor_loaded || paxos_shared->acceptor_relid != relid ||
			 memcmp(&paxos_shared->cluster_id, &row.cluster_id, sizeof(pg_uuid_t)) != 0)
	{
		px_acceptor_init(&paxos_shared->acceptor, acceptor.promised, acceptor.truncated,
						 acceptor.longest_lease_us, applied, paxos_now_us());
		paxos_shared->accepted = last;
		if (held.recorded)
			px_acceptor_config(&paxos_shared->acceptor, &config, held.next);
		else
		{
			/* It joins, and may have accepted the configuration it is in. */
			px_acceptor_holds_config(&paxos_shared->acceptor, held.slot);
			if (held.next != 0)
				px_acceptor_holds_config(&paxos_shared->acceptor, held.next);
		}
		paxos_shared->acceptor_loaded = true;
	}
	else
	{
		/* What is published is what is durable, or the order was broken. */
		PX_ASSERT(paxos_shared->acceptor.promised == acceptor.promised);
		PX_ASSERT(paxos_shared->acceptor.chosen >= applied);
		PX_ASSERT(!held.recorded || paxos_shared->acceptor.config.slot == config.slot);
	}
	paxos_shared->acceptor_relid = relid;
	LWLockRelease(paxos_acceptor_lock);

	paxos_shared->membership = standing;
	paxos_shared->fenced_kind = kind;
	paxos_shared->node_incarnation = row.incarnation;
	if (standing < PAXOS_MEMBER)
		paxos_shared->identity_judged = paxos_shared->twin_seen = false;
	strlcpy(paxos_shared->why_fenced, why, sizeof(paxos_shared->why_fenced));
	paxos_shared->cluster_id = row.cluster_id;
	paxos_shared->node_id = row.node_id;
	paxos_shared->database_oid = MyDatabaseId;
	paxos_shared->config = config;
	pg_atomic_write_u64(&paxos_shared->config_last, held.last);
	if (changed)
		paxos_shared->identity_generation++;
	LWLockRelease(paxos_identity_lock);
	paxos_acceptor_lock_release();
	if (changed)
		paxos_wake_learner();

	/* one reason at a time */
	for (int k = PAXOS_ALARM_FSYNC_OFF; k <= PAXOS_ALARM_TWIN; k++)
	{
		if (standing == PAXOS_FENCED && k == (int) kind)
			paxos_alarm_raise(kind, 0, why);
		else
			(void) paxos_alarm_clear(k, 0);
	}
	if (previous != standing)
	{
		if (standing == PAXOS_FENCED)
			ereport(LOG, (errmsg("paxos: this node may not vote"), errdetail("%s.", why)));
		else if (standing >= PAXOS_FORMING)
			ereport(LOG, (errmsg("paxos: this is node %u of cluster %s: %s", row.node_id,
								 DatumGetCString(
									 DirectFunctionCall1(uuid_out, UUIDPGetDatum(&row.cluster_id))),
								 standing_names[standing])));
		else if (previous >= PAXOS_FORMING)
			ereport(LOG, (errmsg("paxos: no node of any cluster any more: %s",
								 standing_names[standing])));
	}
	return standing;
}

/*
 * ---- telling the workers ----
 */

static bool wake_at_commit = false;

static void
at_end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
	{
		paxos_wake_proposer();
		paxos_wake_learner();
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT)
		wake_at_commit = false;
}

void
paxos_node_wake_workers_at_commit(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(at_end_of_transaction, NULL);
		registered = true;
	}
	wake_at_commit = true;
}

/*
 * ---- members and incarnation ----
 */

List *
paxos_node_members(void)
{
	List *members = NIL;
	PaxosConfiguration c;
	px_value_view view;
	px_member_view member;
	uint32_t pos = 0;

	if (paxos_configuration_now(&c))
	{
		if (!px_value_open(c.value, &view))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("table %s.configuration holds no valid configuration", PAXOS_SCHEMA)));
		while (px_value_next_member(&view, &pos, &member))
		{
			PaxosMember *m = palloc0(sizeof(PaxosMember));

			paxos_member_of(&member, m);
			members = lappend(members, m);
		}
	}
	return members;
}

void
paxos_member_of(const px_member_view *view, PaxosMember *member)
{
	member->node = view->node;
	member->voter = view->voter;
	member->joining = view->joining;
	strlcpy(member->name, view->name, sizeof(member->name));
	strlcpy(member->conninfo, view->conninfo, sizeof(member->conninfo));
}

bool
paxos_node_member(px_node node, PaxosMember *member)
{
	ListCell *lc;

	foreach (lc, paxos_node_members())
	{
		PaxosMember *m = lfirst(lc);

		if (m->node == node)
		{
			*member = *m;
			return true;
		}
	}
	return false;
}

void
paxos_node_forgotten(void)
{
	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	paxos_shared->membership = PAXOS_NO_CLUSTER;
	memset(&paxos_shared->cluster_id, 0, sizeof(pg_uuid_t));
	memset(&paxos_shared->config, 0, sizeof(px_config));
	paxos_shared->node_id = 0;

	/* what was found of the node that this server was: a clone is not the twin of the
	 * one it is taken in as */
	paxos_shared->identity_judged = paxos_shared->twin_seen = false;
	paxos_shared->why_fenced[0] = '\0';
	paxos_shared->identity_generation++;
	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	paxos_shared->acceptor_loaded = false;
	LWLockRelease(paxos_acceptor_lock);
	LWLockRelease(paxos_identity_lock);
	pg_atomic_write_u64(&paxos_shared->config_last, 0);
	paxos_address_forget();
}

void
paxos_node_mark_removed(void)
{
	PaxosNodeRow row;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	if (paxos_node_row_read(&row) && row.begun && !row.removed)
	{
		row.removed = true;
		paxos_node_row_write(&row);
	}
	PopActiveSnapshot();
	paxos_commit_locally();
	CommitTransactionCommand();
}

uint64
paxos_node_new_incarnation(void)
{
	PaxosNodeRow row;

	StartTransactionCommand();
	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	if (!paxos_node_row_read(&row))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster")));
	row.incarnation++;
	paxos_identity_stamp(&row);
	paxos_node_row_write(&row);
	PopActiveSnapshot();

	/*
	 * Flushed before it is used: a batch numbered in an incarnation that is
	 * then handed out again would be taken for another's duplicate (§ 5).
	 */
	paxos_commit_locally();
	CommitTransactionCommand();

	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	paxos_shared->node_incarnation = row.incarnation;
	LWLockRelease(paxos_identity_lock);
	return row.incarnation;
}
