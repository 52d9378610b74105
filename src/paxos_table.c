/*
 * paxos_table.c
 *	  Which relations are consensus tables, and under which number the replicated
 *	  commands know them (protocol.md § 6).
 *
 * A command names its table by a number that is the same on every node: slot and
 * position of the CREATE TABLE.  paxos.tables maps it to the relation of this
 * node; it is changed only by applying the log (paxos_ddl.c).  Here it is read
 * and cached, in the learner and in sessions alike.
 *
 * Whether a relation with rows is a consensus table at all is said by its access
 * method, so that no cache and no table of ours can be wrong about it.
 *
 * Caches live as long as their process and hold only what was found.  Whatever
 * could make an entry wrong sends a relcache invalidation for its relation; what
 * was put right by hand behind our back does not, so the learner forgets all
 * after an error (paxos_table_forget).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_extension.h"
#include "paxos_object.h"
#include "paxos_replicated.h"

/* Columns of paxos.tables; src/sql/30-learner.sql. */
#define TABLES_TABLE_ID 1
#define TABLES_RELID 2
#define TABLES_ALTERED 3

static void register_callback(void);

/*
 * ---- replicated table ids ----
 *
 * Only what was found is cached.  A row of paxos.tables goes away only with its
 * relation, whose relcache invalidation strikes the entry; a row that appears
 * later was not cached.
 */

typedef struct IdEntry
{
	int64 table_id; /* hash key */
	Oid relid;
} IdEntry;

typedef struct RelidEntry
{
	Oid relid; /* hash key */
	int64 table_id;
} RelidEntry;

static HTAB *by_id = NULL;
static HTAB *by_relid = NULL;

static void
map_init(void)
{
	HASHCTL ctl = {0};

	if (by_relid != NULL)
		return;
	register_callback();
	ctl.hcxt = TopMemoryContext;
	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(IdEntry);
	if (by_id == NULL)
		by_id = hash_create("paxos tables by id", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(RelidEntry);
	by_relid =
		hash_create("paxos tables by relation", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Find the row of paxos.tables that 'key' names; true if there is one. */
static bool
map_read(ScanKey key, bool by_table_id, int64 *table_id, Oid *relid, int64 *altered)
{
	Oid schema = get_namespace_oid(PAXOS_SCHEMA, true);
	Oid tables = OidIsValid(schema) ? get_relname_relid("tables", schema) : InvalidOid;
	Oid index = OidIsValid(tables)
					? get_relname_relid(by_table_id ? "tables_pkey" : "tables_relid_key", schema)
					: InvalidOid;
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;
	bool found = false;

	if (!OidIsValid(index))
		return false;
	rel = table_open(tables, AccessShareLock);
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 1, key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		*table_id =
			DatumGetInt64(heap_getattr(tuple, TABLES_TABLE_ID, RelationGetDescr(rel), &isnull));
		*relid =
			DatumGetObjectId(heap_getattr(tuple, TABLES_RELID, RelationGetDescr(rel), &isnull));
		*altered =
			DatumGetInt64(heap_getattr(tuple, TABLES_ALTERED, RelationGetDescr(rel), &isnull));
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* The two tables mirror each other: an entry of one without its partner would
 * be passed over by map_forget(). */
static void
map_remember(int64 table_id, Oid relid)
{
	IdEntry *id;
	RelidEntry *entry;
	bool found;

	id = hash_search(by_id, &table_id, HASH_ENTER, &found);
	if (found && id->relid != relid)
		(void) hash_search(by_relid, &id->relid, HASH_REMOVE, NULL);
	id->relid = relid;
	entry = hash_search(by_relid, &relid, HASH_ENTER, &found);
	if (found && entry->table_id != table_id)
		(void) hash_search(by_id, &entry->table_id, HASH_REMOVE, NULL);
	entry->table_id = table_id;
}

Oid
paxos_table_relid(int64 table_id)
{
	IdEntry *known;
	ScanKeyData key;
	int64 found_id;
	int64 altered;
	Oid relid;

	map_init();
	known = hash_search(by_id, &table_id, HASH_FIND, NULL);
	if (known != NULL)
		return known->relid;

	ScanKeyInit(&key, TABLES_TABLE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(table_id));
	if (!map_read(&key, true, &found_id, &relid, &altered))
		return InvalidOid;
	map_remember(table_id, relid);
	return relid;
}

int64
paxos_table_id(Oid relid)
{
	RelidEntry *known;
	ScanKeyData key;
	int64 table_id;
	int64 altered;
	Oid found_relid;

	map_init();
	known = hash_search(by_relid, &relid, HASH_FIND, NULL);
	if (known != NULL)
		return known->table_id;

	ScanKeyInit(&key, TABLES_RELID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	if (!map_read(&key, false, &table_id, &found_relid, &altered))
		return 0;
	map_remember(table_id, relid);
	return table_id;
}

int64
paxos_known_table_id(Oid relid)
{
	int64 id = paxos_table_id(relid);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not known to the cluster", paxos_relation_name(relid)),
				 errhint("If a statement is making a consensus-backed table of it, try again when "
						 "that has ended.")));
	return id;
}

int64
paxos_table_altered(int64 table_id)
{
	ScanKeyData key;
	int64 found_id;
	Oid relid;
	int64 altered;

	ScanKeyInit(&key, TABLES_TABLE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(table_id));
	if (!map_read(&key, true, &found_id, &relid, &altered))
		return 0;
	return altered;
}

/*
 * ---- names ----
 */

static void is_gone(Oid relid) pg_attribute_noreturn();

static void
is_gone(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid),
			 errdetail("It was dropped while the statement was on its way.")));
}

char *
paxos_relation_name(Oid relid)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		is_gone(relid);
	return name;
}

char *
paxos_schema_name(Oid nsp)
{
	char *name = get_namespace_name(nsp);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA),
						errmsg("schema with OID %u does not exist", nsp),
						errdetail("It was dropped while the statement was on its way.")));
	return name;
}

char *
paxos_schema_of(Oid relid)
{
	Oid nsp = get_rel_namespace(relid);

	if (!OidIsValid(nsp))
		is_gone(relid);
	return paxos_schema_name(nsp);
}

char *
paxos_qualified_name(Oid relid)
{
	char *schema = paxos_schema_of(relid);

	return quote_qualified_identifier(schema, paxos_relation_name(relid));
}

RangeVar *
paxos_range_var(Oid relid)
{
	char *schema = paxos_schema_of(relid);

	return makeRangeVar(schema, paxos_relation_name(relid), -1);
}

uint32
paxos_definition_of(Relation rel, Relation pk)
{
	TupleDesc desc = RelationGetDescr(rel);
	uint64 digest = 0;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
		{
			digest = paxos_digest_fold(digest, UINT64_MAX);
			continue;
		}

		/* The OIDs of types that are not built in are each node's own; their names may
		 * change, and nobody who has kept this number would hear of it. */
		if (att->atttypid < FirstGenbkiObjectId)
			digest = paxos_digest_fold(digest, att->atttypid);
		else
		{
			ObjectAddress type;
			int64 id;

			ObjectAddressSet(type, TypeRelationId, att->atttypid);
			if (paxos_object_place(&type, &id) == PAXOS_PLACE_OBJECT)
			{
				/* it, its array type, its multirange ... */
				digest = paxos_digest_fold(digest, (uint64) id);
				digest = paxos_digest_fold(digest, (uint64) get_typtype(att->atttypid) |
													   (uint64) type_is_array(att->atttypid) << 8);
			}
			else
				digest = paxos_digest_text(digest, paxos_extension_type_name(att->atttypid));
		}
		digest = paxos_digest_fold(digest, (uint64) (uint32) att->atttypmod |
											   (uint64) (unsigned char) att->attgenerated << 32);
	}
	for (int i = 0; pk != NULL && i < IndexRelationGetNumberOfKeyAttributes(pk); i++)
		digest = paxos_digest_fold(digest, (uint16) pk->rd_index->indkey.values[i]);
	digest ^= digest >> 32;
	return (uint32) digest == 0 ? 1 : (uint32) digest;
}

static void
map_forget(Oid relid)
{
	RelidEntry *entry;

	if (by_relid == NULL)
		return;
	if (OidIsValid(relid))
	{
		entry = hash_search(by_relid, &relid, HASH_FIND, NULL);
		if (entry != NULL)
		{
			(void) hash_search(by_id, &entry->table_id, HASH_REMOVE, NULL);
			(void) hash_search(by_relid, &relid, HASH_REMOVE, NULL);
		}
	}
	else
	{
		HASH_SEQ_STATUS seq;

		hash_seq_init(&seq, by_relid);
		while ((entry = hash_seq_search(&seq)) != NULL)
		{
			(void) hash_search(by_id, &entry->table_id, HASH_REMOVE, NULL);
			(void) hash_search(by_relid, &entry->relid, HASH_REMOVE, NULL);
		}
	}
}

/*
 * ---- is it a consensus table? ----
 *
 * For a table with storage one look into the syscache says it.  A partitioned table has
 * no access method (before 17; later it need not have the one of its partitions): it is
 * one if paxos.tables has it.  That is asked for every statement on a partitioned
 * table of any kind, so both answers are cached; a row of paxos.tables neither comes nor
 * goes without an invalidation of the relation.
 */

typedef struct TreeEntry
{
	Oid relid; /* hash key */
	bool consensus;
} TreeEntry;

static HTAB *trees = NULL;

static bool
is_partitioned_consensus(Oid relid)
{
	TreeEntry *entry;
	bool consensus;

	if (trees == NULL)
	{
		HASHCTL ctl = {0};

		register_callback();
		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(TreeEntry);
		ctl.hcxt = TopMemoryContext;
		trees = hash_create("paxos partitioned tables", 16, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(trees, &relid, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->consensus;
	consensus = paxos_table_id(relid) != 0;
	entry = hash_search(trees, &relid, HASH_ENTER, NULL);
	entry->consensus = consensus;
	return consensus;
}

bool
paxos_is_consensus_table(Oid relid)
{
	Oid am = get_am_oid("paxos", true);
	HeapTuple tuple;
	Form_pg_class form;
	char relkind;
	Oid relam;

	if (!OidIsValid(am))
		return false;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	relkind = form->relkind;
	relam = form->relam;
	ReleaseSysCache(tuple);
	if (relkind == RELKIND_PARTITIONED_TABLE)
		return is_partitioned_consensus(relid);
	return relam == am;
}

static void
trees_forget(Oid relid)
{
	if (trees == NULL)
		return;
	if (OidIsValid(relid))
		(void) hash_search(trees, &relid, HASH_REMOVE, NULL);
	else
	{
		HASH_SEQ_STATUS seq;
		TreeEntry *entry;

		hash_seq_init(&seq, trees);
		while ((entry = hash_seq_search(&seq)) != NULL)
			(void) hash_search(trees, &entry->relid, HASH_REMOVE, NULL);
	}
}

/*
 * ---- forgetting ----
 */

static void
relcache_callback(Datum arg, Oid relid)
{
	map_forget(relid);
	trees_forget(relid);
}

static void
register_callback(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}
}

void
paxos_table_forget(void)
{
	map_forget(InvalidOid);
	trees_forget(InvalidOid);
}
