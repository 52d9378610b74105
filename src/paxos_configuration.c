/*
 * paxos_configuration.c
 *	  The table paxos.configuration: who the members are, as far as this node
 *	  has accepted it and as far as it knows it chosen (protocol.md §§ 2, 7).
 *
 * Owns: the rows.  Not its business: which configuration governs what (the
 * core), asking for another one (paxos_member.c).
 *
 * A row comes with the log entry that holds the configuration, in the transaction
 * that makes the entry durable, and goes with it when another value is accepted
 * in that slot.  When the acceptor knows the slot chosen, and everything below
 * it, the row is marked as recorded, durably: from then on this node goes by it
 * at every start, applied or not, and the leader may count on that
 * (px_acceptor_config_due(), paxos_acceptor_settle_configuration()).  Recorded rows
 * stay for ever: they outlive the log they came with.
 *
 * A node that joins has a row that is not recorded, the configuration that it
 * is not in yet: there it finds members to fetch from.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_configuration.h"

/* Columns; src/sql/10-schema.sql. */
#define CONFIG_SLOT 1
#define CONFIG_BALLOT 2
#define CONFIG_VALUE 3
#define CONFIG_RECORDED 4
#define CONFIG_COLUMNS 4

static Relation
open_configuration(LOCKMODE mode)
{
	Oid relid = paxos_internal_relid("configuration");

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.configuration does not exist", PAXOS_SCHEMA)));
	return table_open(relid, mode);
}

/* One row, its value copied. */
static void
row_of_tuple(HeapTuple tuple, TupleDesc desc, PaxosConfiguration *c)
{
	Datum values[CONFIG_COLUMNS];
	bool nulls[CONFIG_COLUMNS];
	bytea *bytes;
	px_value_view view;

	heap_deform_tuple(tuple, desc, values, nulls);
	c->slot = (px_slot) DatumGetInt64(values[CONFIG_SLOT - 1]);
	c->recorded = DatumGetBool(values[CONFIG_RECORDED - 1]);
	bytes = DatumGetByteaPCopy(values[CONFIG_VALUE - 1]);
	c->value.data = (const uint8_t *) VARDATA(bytes);
	c->value.len = VARSIZE(bytes) - VARHDRSZ;
	if (!px_value_open(c->value, &view) || !px_value_config(&view, c->slot, &c->config))
		ereport(
			ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("table %s.configuration holds no valid configuration at slot " UINT64_FORMAT,
					PAXOS_SCHEMA, c->slot)));
}

bool
paxos_configuration_read(PaxosConfiguration *c)
{
	Relation rel = open_configuration(AccessShareLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(rel), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 0, NULL);
	HeapTuple tuple;
	bool found = false;

	memset(c, 0, sizeof(*c));
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		PaxosConfiguration row = {0};

		row_of_tuple(tuple, RelationGetDescr(rel), &row);
		if (!found || row.recorded)
		{
			*c = row;
			found = true;
		}
		else if (c->next == 0)
			c->next = row.slot;
		c->last = row.slot;
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return found;
}

bool
paxos_configuration_now(PaxosConfiguration *c)
{
	bool found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = paxos_configuration_read(c);
	PopActiveSnapshot();
	return found;
}

bool
paxos_configuration_last_with(px_node node, PaxosMember *member)
{
	Relation rel = open_configuration(AccessShareLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(rel), AccessShareLock);
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	PushActiveSnapshot(GetLatestSnapshot());
	scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		PaxosConfiguration row = {0};
		px_value_view view;
		px_member_view m;
		uint32_t pos = 0;

		row_of_tuple(tuple, RelationGetDescr(rel), &row);
		if (!px_value_open(row.value, &view))
			continue; /* row_of_tuple() has opened it */
		while (px_value_next_member(&view, &pos, &m))
		{
			if (m.node != node)
				continue;
			paxos_member_of(&m, member);
			found = true;
		}
	}
	systable_endscan_ordered(scan);
	PopActiveSnapshot();
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return found;
}

/* The row of a slot in the open table, or none; the scan is left open. */
static HeapTuple
find_row(Relation rel, px_slot position, SysScanDesc *scan)
{
	ScanKeyData key;

	ScanKeyInit(&key, CONFIG_SLOT, BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum((int64) position));
	*scan = systable_beginscan(rel, PaxosPrimaryKeyIndex(rel), true, GetActiveSnapshot(), 1, &key);
	return systable_getnext(*scan);
}

void
paxos_configuration_write(px_slot position, px_ballot ballot, px_bytes value, bool recorded)
{
	Relation rel = open_configuration(RowExclusiveLock);
	SysScanDesc scan;
	HeapTuple old;
	HeapTuple fresh;
	Datum values[CONFIG_COLUMNS];
	bool nulls[CONFIG_COLUMNS] = {false};
	bytea *bytes = palloc(VARHDRSZ + value.len);

	SET_VARSIZE(bytes, VARHDRSZ + value.len);
	memcpy(VARDATA(bytes), value.data, value.len);
	values[CONFIG_SLOT - 1] = Int64GetDatum((int64) position);
	values[CONFIG_BALLOT - 1] = Int64GetDatum((int64) ballot);
	values[CONFIG_VALUE - 1] = PointerGetDatum(bytes);
	values[CONFIG_RECORDED - 1] = BoolGetDatum(recorded);
	fresh = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	old = find_row(rel, position, &scan);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, fresh);
	else
		CatalogTupleInsert(rel, fresh);
	systable_endscan(scan);
	table_close(rel, NoLock);
	if (pg_atomic_read_u64(&paxos_shared->config_last) < position)
		pg_atomic_write_u64(&paxos_shared->config_last, position);
}

void
paxos_configuration_forget(px_slot from)
{
	Relation rel = open_configuration(RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, CONFIG_SLOT, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum((int64) from));
	scan = systable_beginscan(rel, PaxosPrimaryKeyIndex(rel), true, GetActiveSnapshot(), 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, NoLock);
}

void
paxos_configuration_note(const px_entry *entry)
{
	Relation rel;
	SysScanDesc scan;
	HeapTuple old;
	PaxosConfiguration row = {0};
	bool recorded = false;

	/* No row at or above its slot, and none to come: nearly always. */
	if (!px_value_is_config(entry->value) &&
		entry->slot > pg_atomic_read_u64(&paxos_shared->config_last))
		return;

	rel = open_configuration(RowExclusiveLock);
	old = find_row(rel, entry->slot, &scan);
	if (HeapTupleIsValid(old))
	{
		row_of_tuple(old, RelationGetDescr(rel), &row);
		recorded = row.recorded;
		if (!px_value_is_config(entry->value))
		{
			PX_ASSERT(!recorded);
			CatalogTupleDelete(rel, &old->t_self);
		}
	}
	systable_endscan(scan);
	table_close(rel, NoLock);
	if (px_value_is_config(entry->value) && !recorded)
		paxos_configuration_write(entry->slot, entry->ballot, entry->value, false);
}

bool
paxos_configuration_settle(px_slot chosen, PaxosConfiguration *c)
{
	Relation rel = open_configuration(RowExclusiveLock);
	Relation index = index_open(PaxosPrimaryKeyIndex(rel), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, GetActiveSnapshot(), 0, NULL);
	HeapTuple tuple;
	bool found = false;

	memset(c, 0, sizeof(*c));
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		PaxosConfiguration row = {0};
		Datum values[CONFIG_COLUMNS] = {0};
		bool nulls[CONFIG_COLUMNS] = {false};
		bool replace[CONFIG_COLUMNS] = {false};

		row_of_tuple(tuple, RelationGetDescr(rel), &row);
		if (row.slot > chosen)
		{
			if (c->next == 0)
				c->next = row.slot;
			c->last = row.slot;
			continue;
		}
		if (row.recorded)
			continue;
		*c = row;
		c->last = row.slot;
		c->recorded = found = true;
		values[CONFIG_RECORDED - 1] = BoolGetDatum(true);
		replace[CONFIG_RECORDED - 1] = true;
		CatalogTupleUpdate(rel, &tuple->t_self,
						   heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	}
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	table_close(rel, NoLock);
	return found;
}

/*
 * ---- values ----
 */

px_bytes
paxos_configuration_encode(const PaxosMember *members, int n, px_node highest)
{
	uint8_t *buf = palloc(PX_MAX_CONFIG_BYTES);
	px_value_writer w;
	px_bytes value;
	px_value_view view;

	px_value_begin(&w, buf, PX_MAX_CONFIG_BYTES, PX_VALUE_CONFIG, 0);
	for (int i = 0; i < n; i++)
	{
		const PaxosMember *m = &members[i];
		bool fits = m->joining ? px_value_add_joiner(&w, m->node, m->name, m->conninfo)
							   : px_value_add_member(&w, m->node, m->voter, m->name, m->conninfo);

		if (!fits)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("a cluster has at most %d members", PX_MAX_MEMBERS)));
	}
	px_value_set_highest(&w, highest);
	value = px_value_end(&w);
	if (!px_value_open(value, &view))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the cluster would have no voter, or more than %d", PX_MAX_VOTERS)));
	return value;
}

px_bytes
paxos_configuration_promoting(const PaxosMember *members, int n, px_node highest, px_node node)
{
	PaxosMember *changed = palloc(sizeof(PaxosMember) * n);

	memcpy(changed, members, sizeof(PaxosMember) * n);
	for (int i = 0; i < n; i++)
	{
		if (changed[i].node == node)
		{
			changed[i].voter = true;
			changed[i].joining = false;
		}
	}
	return paxos_configuration_encode(changed, n, highest);
}
