/*
 * paxos_method.c
 *	  A relation of this node changes its access method: it is on its way to become a
 *	  consensus table, or becomes an ordinary one again.
 *
 * Owns: paxos.becoming, which belongs to this node alone, and what is turned over in the
 * catalogs.  Not its business: the statement and the rows on their way
 * (paxos_become.c), and what is done at the slot (paxos_ddl_apply.c, paxos_fill.c).
 *
 * To the storage both access methods are the same, so a turn is one of catalogs: the
 * method itself, and the triggers of backstop and capture.
 *
 * A table on its way *is* one of access method paxos, which the cluster does not know
 * yet.  So every rule about consensus tables keeps writers and other statements away
 * from it (55006), and it can be read.  That is durable before anything is sent: if it were
 * merely locked, a crash between the slot that makes it a consensus table and this
 * node's applying it would let somebody write rows that no other node will ever see.
 *
 * It ends in one of these ways, each in a transaction of the learner:
 *
 *	done		at the slot of its statement: the cluster knows it
 *	given up	at the slot of "forget these parts", which comes behind the statement if that
 *				was sent at all: the ordinary table it was, or gone if the statement had
 *				made it (CREATE TABLE AS)
 *	gives way	a slot, or a snapshot, brings another consensus table that needs its name:
 *				an ordinary table again, under another name
 *
 * Who says "forget": the session itself when it fails; else, whatever became of session,
 * worker or server, the learner, which looks every second whether the session still holds
 * the lock that stands for its life.  Parts that were sent before it are decided before
 * it, or never (px_origins): so what it finds undecided stays so.
 *
 * A crash leaves what was committed, and one of the ways is still to come.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_acceptor.h"
#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_method.h"
#include "paxos_part.h"

/* Columns of paxos.becoming; src/sql/30-learner.sql. */
#define BECOMING_RELID 1
#define BECOMING_SET 2
#define BECOMING_MADE 3
#define BECOMING_COLUMNS 3

#define LOOK_US UINT64CONST(1000000)

/* ------------------------------------------------------------------
 * The catalogs
 * ------------------------------------------------------------------
 */

/* Of the table and its TOAST table; only the former depends on it. */
static void
set_method(Oid relid, Oid am, bool toast)
{
	Relation classes = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	form->relam = am;
	CatalogTupleUpdate(classes, &tuple->t_self, tuple);
	table_close(classes, NoLock);
	if (!toast)
	{
		ObjectAddress self;
		ObjectAddress method;

		(void) deleteDependencyRecordsForClass(RelationRelationId, relid, AccessMethodRelationId,
											   DEPENDENCY_NORMAL);
		ObjectAddressSet(self, RelationRelationId, relid);
		ObjectAddressSet(method, AccessMethodRelationId, am);
		if (am != HEAP_TABLE_AM_OID)
			recordDependencyOn(&self, &method, DEPENDENCY_NORMAL);
		if (OidIsValid(form->reltoastrelid))
			set_method(form->reltoastrelid, am, true);
	}
	CommandCounterIncrement();
}

static Oid
own_function(const char *name)
{
	return LookupFuncName(list_make2(makeString(PAXOS_SCHEMA), makeString(pstrdup(name))), 0, NULL,
						  false);
}

static void
drop_own_triggers(Oid relid)
{
	Oid functions[] = {own_function("backstop"), own_function("capture")};
	Relation catalog = table_open(TriggerRelationId, RowExclusiveLock);
	List *found = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	ListCell *lc;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_trigger t = (Form_pg_trigger) GETSTRUCT(tuple);

		if (t->tgisinternal && (t->tgfoid == functions[0] || t->tgfoid == functions[1]))
			found = lappend_oid(found, t->oid);
	}
	systable_endscan(scan);
	table_close(catalog, NoLock);
	foreach (lc, found)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId, lfirst_oid(lc));
		performDeletion(&trigger, DROP_RESTRICT,
						PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	}
	CommandCounterIncrement();
}

void
paxos_method_heap(Oid relid)
{
	drop_own_triggers(relid);
	set_method(relid, HEAP_TABLE_AM_OID, false);
	CacheInvalidateRelcacheByRelid(relid);
}

static void
method_paxos(Oid relid)
{
	set_method(relid, get_table_am_oid("paxos", false), false);
	paxos_backstop_create(relid);
	CacheInvalidateRelcacheByRelid(relid);
}

/* ------------------------------------------------------------------
 * What is on its way
 * ------------------------------------------------------------------
 */

typedef struct Entry
{
	ItemPointerData tid;
	Oid relid;
	uint64 set;
	bool made;
} Entry;

/* All of them: one or two, if any. */
static List *
entries(void)
{
	Relation rel = table_open(paxos_internal_relid("becoming"), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, SnapshotSelf, 0, NULL);
	List *list = NIL;
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum values[BECOMING_COLUMNS];
		bool nulls[BECOMING_COLUMNS];
		Entry *e = palloc(sizeof(Entry));

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		e->tid = tuple->t_self;
		e->relid = DatumGetObjectId(values[BECOMING_RELID - 1]);
		e->set = (uint64) DatumGetInt64(values[BECOMING_SET - 1]);
		e->made = DatumGetBool(values[BECOMING_MADE - 1]);
		list = lappend(list, e);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return list;
}

static Entry *
find(uint64 set, Oid relid)
{
	ListCell *lc;

	foreach (lc, entries())
	{
		Entry *e = lfirst(lc);

		if (OidIsValid(relid) ? e->relid == relid : e->set == set)
			return e;
	}
	return NULL;
}

static void
forget(Entry *e)
{
	Relation rel = table_open(paxos_internal_relid("becoming"), RowExclusiveLock);

	CatalogTupleDelete(rel, &e->tid);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Held by the session that ships the table; it goes with the session, or its failure. */
static LOCKTAG
life(Oid relid)
{
	LOCKTAG tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, paxos_internal_relid("becoming"), relid, 0);
	return tag;
}

/* ---- session ---- */

void
paxos_becoming_begin(Oid relid, uint64 set, bool made)
{
	LOCKTAG tag = life(relid);
	Relation rel;
	Datum values[BECOMING_COLUMNS];
	bool nulls[BECOMING_COLUMNS] = {false};

	method_paxos(relid);
	rel = table_open(paxos_internal_relid("becoming"), RowExclusiveLock);
	values[BECOMING_RELID - 1] = ObjectIdGetDatum(relid);
	values[BECOMING_SET - 1] = Int64GetDatum((int64) set);
	values[BECOMING_MADE - 1] = BoolGetDatum(made);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);

	/* Before anybody can see the row, and beyond the transaction's end. */
	(void) LockAcquire(&tag, ExclusiveLock, true, false);
	paxos_commit_locally();
}

static uint64 shipping = 0;

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT || shipping == 0)
		return;
	paxos_part_give_up(shipping);
	shipping = 0;
}

void
paxos_becoming_ships(Oid relid, uint64 set)
{
	static bool watching = false;

	if (!watching)
		RegisterXactCallback(at_transaction_end, NULL);
	watching = true;
	shipping = set;
	pg_atomic_write_u32(&paxos_shared->becoming, 1);
}

void
paxos_becoming_shipped(Oid relid)
{
	LOCKTAG tag = life(relid);

	shipping = 0;
	(void) LockRelease(&tag, ExclusiveLock, true);
}

/* ---- learner ---- */

Oid
paxos_becoming_of(uint64 set)
{
	Entry *e = find(set, InvalidOid);

	return e != NULL ? e->relid : InvalidOid;
}

void
paxos_becoming_done(Oid relid)
{
	Entry *e = find(0, relid);

	if (e != NULL)
		forget(e);
}

/* Back to what it was before the statement; false: that is nothing. */
static bool
put_back(Entry *e)
{
	bool there = paxos_lock_for_apply(e->relid, AccessExclusiveLock);
	ObjectAddress table;

	if (there)
		paxos_ddl_lock_parts(e->relid);
	forget(e);
	if (there && !e->made)
	{
		paxos_method_heap(e->relid);
		return true;
	}
	if (there)
	{
		ObjectAddressSet(table, RelationRelationId, e->relid);
		performDeletion(&table, DROP_CASCADE, PERFORM_DELETION_QUIETLY);
		CommandCounterIncrement();
	}
	return false;
}

void
paxos_becoming_given_up(uint64 set)
{
	Entry *e;

	if (pg_atomic_read_u32(&paxos_shared->becoming) == 0)
		return;
	e = find(set, InvalidOid);
	if (e == NULL)
		return;
	ereport(LOG, (errmsg("paxos learner: %s table \"%s\" does not become consensus-backed",
						 e->made ? "new" : "local",
						 get_rel_name(e->relid) ? get_rel_name(e->relid) : "")));
	(void) put_back(e);
}

static void
rename_aside(Oid relid)
{
	char *name = get_rel_name(relid);
	char *other = ChooseRelationName(name, NULL, "local", get_rel_namespace(relid), false);

	RenameRelationInternal(relid, other, false, get_rel_relkind(relid) == RELKIND_INDEX);
	CommandCounterIncrement();
	ereport(LOG, (errmsg("paxos learner: relation \"%s\" of this node is now called \"%s\"", name,
						 other),
				  errdetail("It was about to become consensus-backed; the cluster has got another "
							"table of its name meanwhile.")));
}

/* With its indexes, whose names will be wanted too. */
void
paxos_becoming_give_way(Oid relid)
{
	Entry *e = find(0, relid);
	Relation rel;
	List *indexes;
	ListCell *lc;

	if (e == NULL || !put_back(e))
		return;
	rel = table_open(relid, NoLock);
	indexes = RelationGetIndexList(rel);
	table_close(rel, NoLock);
	foreach (lc, indexes)
		rename_aside(lfirst_oid(lc));
	rename_aside(relid);
}

void
paxos_becoming_clear_names(Oid relid, Oid nsp)
{
	ListCell *lc;

	if (pg_atomic_read_u32(&paxos_shared->becoming) == 0)
		return;
	foreach (lc, paxos_ddl_names_taken(relid))
	{
		Oid existing = get_relname_relid(lfirst(lc), nsp);
		Oid table = OidIsValid(existing) ? paxos_consensus_owner(existing) : InvalidOid;

		if (OidIsValid(table) && paxos_table_id(table) == 0)
			paxos_becoming_give_way(table);
	}
}

bool
paxos_becoming_look(void)
{
	static px_usec looked_at = 0;
	MemoryContext old = CurrentMemoryContext;
	uint64 abandoned = 0;
	List *list;
	ListCell *lc;

	if (pg_atomic_read_u32(&paxos_shared->becoming) == 0)
		return false;
	if (paxos_now_us() < looked_at + LOOK_US)
		return true;
	looked_at = paxos_now_us();

	/* Lowered before the table is read: who comes meanwhile raises it behind the commit. */
	pg_atomic_write_u32(&paxos_shared->becoming, 0);
	pg_memory_barrier();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	list = entries();
	foreach (lc, list)
	{
		Entry *e = lfirst(lc);
		LOCKTAG tag = life(e->relid);

		if (LockAcquire(&tag, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
			abandoned = e->set;
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	if (list == NIL)
		return false;
	pg_atomic_write_u32(&paxos_shared->becoming, 1);
	if (abandoned != 0)
		paxos_part_give_up(abandoned);
	return true;
}
