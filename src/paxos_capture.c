/*
 * paxos_capture.c
 *	  What an ordinary transaction does to consensus tables, noted while it runs
 *	  (architecture.md § 6, protocol.md § 6).
 *
 * Owns: what such a transaction may do, as statements announce it; what is captured of
 * it; what of that a rolled-back savepoint takes back.  Not its business: how the set is
 * put together, proposed and committed (paxos_set.c).
 *
 * What is captured are primary keys, not rows.  AFTER ROW triggers do not fire in the
 * order of execution: a function called by an UPDATE may change a row that the UPDATE
 * has changed before, and its trigger fires first.  To merge images in the order they
 * come in would end with the older one.  So the row is looked up when the set is put
 * together, by its key, as this transaction sees it last: there or not, and how.  It
 * makes savepoints easy as well, and large rows cost nothing before the commit.
 * Besides, the keys (paxos_key.h) of every row before and after each change: by them the
 * set is judged.
 *
 * Rows that were locked without being changed (paxos_rowlock.c) are in the set by their
 * key and the lock's strength; so are tables that were locked as a whole.  A
 * transaction that has locked, and changed nothing, goes through the log all the same:
 * it is told at its COMMIT whether nobody else changed what it had locked.
 *
 * What a rolled-back savepoint has captured is cut off again: entries stand in the order
 * in which they were made, and those of a subtransaction (and of its own, which have higher
 * numbers) are at the end when it is rolled back.
 *
 * What is captured beyond some ten thousand rows goes to temporary files (paxos_spill.c).
 *
 * A table without a primary key takes new rows only, and they are captured by the place
 * where they stand; nobody can change them in this transaction or be told to elsewhere.
 *
 * The rows of a partitioned table are those of its partitions, each a table with a number,
 * triggers and keys of its own; a row that an UPDATE moves from one to another is deleted here and
 * inserted there.
 *
 * TRUNCATE is captured by the statement trigger of the backstop, which fires for tables it
 * reaches by CASCADE too.
 *
 * A transaction that changes permanent local tables, too, is refused unless
 * paxos.local_writes allows it: after a crash between the decision and the commit the
 * learner applies the set, and the local part is lost.
 *
 * State: per transaction, in memory of the transaction; it goes with it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_compression.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_key.h"
#include "paxos_serial.h"
#include "paxos_set.h"
#include "paxos_set_int.h"
#include "paxos_spill.h"
#include "paxos_turn.h"
#include "paxos_version.h"

PG_FUNCTION_INFO_V1(paxos_capture);

#define CAPTURE_TRIGGER "paxos_capture_row"

/* Who reads more rows one by one than so many has read the table. */
#define MOST_READ 4096

/* More is written to files. */
#define CHANGES_IN_MEMORY 16384
#define KEYS_IN_MEMORY 32768

typedef struct ChangeEntry
{
	PaxosCaptureChange change; /* hash key: by its bytes */
	int at;
} ChangeEntry;

typedef struct KeyEntry
{
	uint64 key;  /* hash key */
	uint8 holds; /* a bit for each */
} KeyEntry;

/* The subtransaction that made the entries from here on. */
typedef struct PaxosCaptureMark
{
	SubTransactionId subid;
	int n_changes;
	int n_keys[PAXOS_HOLDS];
	PaxosSpillMark changes;
	PaxosSpillMark keys;
} Mark;

static PaxosCapture *set = NULL; /* of the running transaction */
static bool changing = false;    /* it changes consensus tables */
static bool local = false;       /* it has changed permanent local tables */
static bool restarting = false;  /* a TRUNCATE ... RESTART IDENTITY is running */

/* ------------------------------------------------------------------
 * What may be
 * ------------------------------------------------------------------
 */

static void
refuse_mixed(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot change consensus-backed tables and others in one transaction"),
			 errdetail("After a crash of this node at the wrong moment the change of the "
					   "consensus-backed tables would stand, and the other would be lost."),
			 errhint("Use two transactions, or a temporary table, or set paxos.local_writes to "
					 "\"allow\".")));
}

bool
paxos_set_active(void)
{
	return changing;
}

void
paxos_set_check(void)
{
	if (set != NULL && paxos_turn_doomed() != PAXOS_NOT_DOOMED)
		paxos_turn_raise();
}

void
paxos_set_local(void)
{
	if (changing && paxos_local_writes == PAXOS_LOCAL_REFUSE)
		refuse_mixed();
	local = true;
}

static uint32
change_hash(const void *key, Size size)
{
	const PaxosCaptureChange *c = key;

	return hash_bytes((const unsigned char *) c->bytes, (int) c->len) ^ (uint32) c->table ^
		   (uint32) c->what << 16;
}

static int
change_match(const void *a, const void *b, Size size)
{
	const PaxosCaptureChange *x = a;
	const PaxosCaptureChange *y = b;

	return !(x->table == y->table && x->what == y->what && x->len == y->len &&
			 memcmp(x->bytes, y->bytes, x->len) == 0);
}

static void
make_set(void)
{
	MemoryContext cxt;
	HASHCTL ctl = {0};

	if (set != NULL)
		return;
	cxt = AllocSetContextCreate(TopTransactionContext, "paxos write set", ALLOCSET_DEFAULT_SIZES);
	set = MemoryContextAllocZero(cxt, sizeof(PaxosCapture));
	set->cxt = cxt;
	ctl.keysize = sizeof(PaxosCaptureChange);
	ctl.entrysize = sizeof(ChangeEntry);
	ctl.hash = change_hash;
	ctl.match = change_match;
	ctl.hcxt = cxt;
	set->known_changes = hash_create("paxos changes", 64, &ctl,
									 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(KeyEntry);
	ctl.hcxt = cxt;
	set->known_keys = hash_create("paxos keys", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The transaction is one that will be proposed.  Locks alone go together with local
 * changes, for of what is decided nothing can be lost; but not if it is serializable:
 * before it is proposed it leaves what watches over local tables.
 */
static void
begin(bool changes)
{
	if (IsParallelWorker() || IsInParallelMode())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot change consensus-backed tables during a parallel operation")));
	paxos_require_member();
	paxos_version_require(PAXOS_VERSION_SETS, "transactions on consensus-backed tables");
	changes = changes || paxos_serial();
	if (changes && local && paxos_local_writes == PAXOS_LOCAL_REFUSE)
		refuse_mixed();
	changing = changing || changes;
	make_set();
	paxos_turn_register();
	paxos_set_check();
}

/* Room for one more in an array of the set. */
#define MAKE_ROOM(n, room, array)                                                               \
	do                                                                                          \
	{                                                                                           \
		if ((n) == (room))                                                                      \
		{                                                                                       \
			(room) = (room) == 0 ? 16 : (room) *2;                                              \
			(array) = (array) == NULL ? MemoryContextAlloc(set->cxt, sizeof(*(array)) * (room)) \
									  : repalloc_huge((array), sizeof(*(array)) * (room));      \
		}                                                                                       \
	} while (0)

static PaxosCaptureTable *
find_table(Oid relid)
{
	for (int i = 0; set != NULL && i < set->n_tables; i++)
	{
		if (set->tables[i].relid == relid)
			return &set->tables[i];
	}
	return NULL;
}

static PaxosCaptureTable *
add_table(Oid relid)
{
	PaxosCaptureTable *t = find_table(relid);
	int64 table_id;

	if (t != NULL)
		return t;
	table_id = paxos_known_table_id(relid);
	if (set->n_tables == PG_UINT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("too many consensus-backed tables in one transaction")));
	MAKE_ROOM(set->n_tables, set->tables_room, set->tables);
	t = &set->tables[set->n_tables++];
	memset(t, 0, sizeof(*t));
	t->relid = relid;
	t->table_id = table_id;
	return t;
}

static bool
has_capture(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		if (t->tgisinternal && t->tgenabled == TRIGGER_FIRES_ALWAYS &&
			strncmp(t->tgname, CAPTURE_TRIGGER "_", sizeof(CAPTURE_TRIGGER)) == 0)
			return true;
	}
	return false;
}

static void
require_capture(Oid relid)
{
	Relation rel = table_open(relid, NoLock);

	if (!has_capture(rel))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("changes of table \"%s\" cannot be captured", get_rel_name(relid)),
						errdetail("It lacks the trigger %s, enabled always.", CAPTURE_TRIGGER)));
	table_close(rel, NoLock);
}

/*
 * What the table's rows are found and judged by.  It stays so as long as the lock is held
 * under which it was looked up; see described() and paxos_set_changes().
 */
static void
describe(PaxosCaptureTable *t)
{
	Relation rel = table_open(t->relid, AccessShareLock);
	MemoryContext old;
	Relation pk;

	if (t->cxt == NULL)
		t->cxt = AllocSetContextCreate(set->cxt, "paxos keys", ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(t->cxt);
	t->keys = NULL;
	t->described_in = GetCurrentSubTransactionId();
	t->stale = false;
	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	old = MemoryContextSwitchTo(t->cxt);
	t->keys = paxos_keys_of(rel, t->table_id);
	t->plain_keys = paxos_keys_are_plain(t->keys);
	t->pk = rel->rd_pkindex;
	if (!OidIsValid(t->pk))
	{
		MemoryContextSwitchTo(old);
		table_close(rel, NoLock);
		return;
	}
	pk = index_open(t->pk, AccessShareLock);
	t->n_key = IndexRelationGetNumberOfKeyAttributes(pk);
	t->key_desc = CreateTemplateTupleDesc(t->n_key);
	for (int i = 0; i < t->n_key; i++)
	{
		t->key[i] = pk->rd_index->indkey.values[i];
		TupleDescCopyEntry(t->key_desc, (AttrNumber) (i + 1), RelationGetDescr(rel), t->key[i]);
	}
	index_close(pk, NoLock);
	MemoryContextSwitchTo(old);
	table_close(rel, NoLock);
}

static PaxosCaptureTable *
described(Oid relid)
{
	PaxosCaptureTable *t = add_table(relid);

	if (t->stale) /* it may even have become another consensus table since */
		t->table_id = paxos_table_id(relid);
	if (t->keys == NULL || t->stale)
		describe(t);
	return t;
}

/*
 * A savepoint that is rolled back gives its locks on tables back, and a change of the
 * definition decided since is nothing the transaction would be told of: it has not seen, nor
 * locked, anything.  Judged by the keys of before it could take a value of a new unique
 * index that somebody else has taken, and every learner would stop at it.
 */
static void
forget_definitions(SubTransactionId subid)
{
	for (int i = 0; i < set->n_tables; i++)
	{
		if (set->tables[i].keys == NULL || set->tables[i].described_in < subid)
			continue;
		set->tables[i].stale = true;
		set->tables[i].changes = false;
	}
}

/* The partitioned table at the top of what the relation is part of; itself if it is in none. */
static Oid
top_of(Oid relid)
{
	List *ancestors;

	if (!get_rel_relispartition(relid))
		return relid;
	ancestors = get_partition_ancestors(relid);
	return ancestors == NIL ? relid : llast_oid(ancestors);
}

/*
 * Which partitions of a table a statement changes shows when it does: an INSERT knows the
 * partitioned table only, an UPDATE moves rows to others than it has named.  So what is
 * announced is the whole, and each partition when its first row is changed.
 */
static bool
announce_tree(Oid relid)
{
	MemoryContext old;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE && !get_rel_relispartition(relid))
		return false;
	old = MemoryContextSwitchTo(set->cxt);
	set->trees = list_append_unique_oid(set->trees, top_of(relid));
	MemoryContextSwitchTo(old);
	return true;
}

static void
announce(Oid relid)
{
	PaxosCaptureTable *t = described(relid);

	if (!t->changes)
	{
		/* its rows may have been locked before: that kept no CREATE INDEX away */
		describe(t);
		require_capture(relid);
	}
	t->changes = true;
}

void
paxos_set_changes(Oid relid)
{
	begin(true);
	if (!announce_tree(relid))
		announce(relid);

	/* Other nodes store what they get by this: what fits in an index here, but not
	 * there, would stop them. */
	if (default_toast_compression != TOAST_PGLZ_COMPRESSION)
		(void) set_config_option("default_toast_compression", "pglz", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, ERROR, false);
}

void
paxos_set_locks(Oid relid)
{
	begin(false);
	(void) described(relid);
}

void
paxos_set_whole(Oid relid, LOCKMODE mode)
{
	begin(false);
	add_table(relid)->hold |= mode == ShareLock ? PAXOS_TABLE_SHARE : PAXOS_TABLE_EXCLUSIVE;
}

bool
paxos_set_captures(Oid relid)
{
	PaxosCaptureTable *t = find_table(relid);

	if (t != NULL && t->changes)
		return true;
	if (set == NULL || set->trees == NIL || !list_member_oid(set->trees, top_of(relid)))
		return false;
	announce(relid);
	return true;
}

/* ------------------------------------------------------------------
 * Capture
 * ------------------------------------------------------------------
 */

static void
mark(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();

	if (set->n_marks > 0 && set->marks[set->n_marks - 1].subid == subid)
		return;
	MAKE_ROOM(set->n_marks, set->marks_room, set->marks);
	set->marks[set->n_marks] = (Mark){subid, set->n_changes};
	memcpy(set->marks[set->n_marks].n_keys, set->n_keys, sizeof(set->n_keys));
	if (set->more_changes != NULL)
		set->marks[set->n_marks].changes = paxos_spill_tell(set->more_changes);
	if (set->more_keys != NULL)
		set->marks[set->n_marks].keys = paxos_spill_tell(set->more_keys);
	set->n_marks++;
}

/* What is put there once stands behind what is in memory, until it is cut off. */
static bool
goes_to_file(const PaxosSpill *spill, int n, int most)
{
	return n >= most || (spill != NULL && paxos_spill_count(spill) > 0);
}

/* The locks that include this one. */
static uint8
at_least(PaxosHold hold)
{
	return hold == PAXOS_HOLD_READ ? 1 << PAXOS_HOLD_READ : (1 << PAXOS_HOLD_READ) - (1 << hold);
}

static void
add_key(uint64 key, PaxosHold hold)
{
	bool found;
	KeyEntry *e = hash_search(set->known_keys, &key, HASH_FIND, NULL);

	if (e != NULL && (e->holds & at_least(hold)) != 0)
		return;
	/* what was read stays when a savepoint goes, and is not too much: MOST_READ */
	if (hold != PAXOS_HOLD_READ && goes_to_file(set->more_keys, set->n_keys[hold], KEYS_IN_MEMORY))
	{
		if (set->more_keys == NULL)
			set->more_keys = paxos_spill_create(set->cxt);
		paxos_spill_put(set->more_keys, (uint32) hold, &key, sizeof(key));
		return;
	}
	e = hash_search(set->known_keys, &key, HASH_ENTER, &found);
	if (!found)
		e->holds = 0;
	MAKE_ROOM(set->n_keys[hold], set->keys_room[hold], set->keys[hold]);
	set->keys[hold][set->n_keys[hold]++] = key;
	e->holds |= 1 << hold;
}

int
paxos_capture_truncations(int table)
{
	int n = 0;

	for (int i = 0; i < set->n_truncations; i++)
		n += set->truncations[i].table == table;
	return n;
}

/* By what the row is found again; palloc'd. */
static char *
identify(int table, TupleTableSlot *row, uint32 *len)
{
	const PaxosCaptureTable *t = &set->tables[table];
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];
	MinimalTuple tuple;

	if (t->n_key == 0)
	{
		PaxosCapturePlace *place = palloc0(sizeof(PaxosCapturePlace));

		place->tid = row->tts_tid;
		place->n_truncations = paxos_capture_truncations(table);
		*len = sizeof(PaxosCapturePlace);
		return (char *) place;
	}
	for (int i = 0; i < t->n_key; i++)
	{
		values[i] = slot_getattr(row, t->key[i], &nulls[i]);
		if (TupleDescAttr(t->key_desc, i)->attlen == -1)
			values[i] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
	}
	tuple = PaxosFormMinimalTuple(t->key_desc, values, nulls);
	*len = tuple->t_len;
	return (char *) tuple;
}

uint8
paxos_capture_held(uint8 what)
{
	return what >= PAXOS_ROW_LOCKED ? PAXOS_TABLE_LOCKED : PAXOS_TABLE_CHANGED;
}

static void
add_change(int table, TupleTableSlot *row, uint8 what)
{
	PaxosCaptureChange c;
	bool found;
	ChangeEntry *e;
	char *bytes;

	set->tables[table].rows |= paxos_capture_held(what);
	c.table = table;
	c.what = what;
	c.bytes = bytes = identify(table, row, &c.len);
	(void) hash_search(set->known_changes, &c, HASH_FIND, &found);
	if (found)
		return;
	if (goes_to_file(set->more_changes, set->n_changes, CHANGES_IN_MEMORY))
	{
		if (set->more_changes == NULL)
			set->more_changes = paxos_spill_create(set->cxt);
		paxos_spill_put(set->more_changes, (uint32) table | (uint32) what << 16, bytes, c.len);
		return;
	}
	c.bytes = MemoryContextAlloc(set->cxt, c.len);
	memcpy(c.bytes, bytes, c.len);
	e = hash_search(set->known_changes, &c, HASH_ENTER, &found);
	e->at = set->n_changes;
	MAKE_ROOM(set->n_changes, set->changes_room, set->changes);
	set->changes[set->n_changes++] = c;
}

/* A row before and after; 'after' is NULL but for an update. */
static void
capture_rows(int table, TupleTableSlot *before, TupleTableSlot *after, bool inserted)
{
	PaxosCaptureTable *t = &set->tables[table];
	int max = paxos_keys_max(t->keys);
	uint64 *keys = palloc(sizeof(uint64) * (2 * max + 1));
	int n = paxos_keys_of_row(t->keys, before, keys);
	int m = after != NULL ? paxos_keys_of_row(t->keys, after, keys + n) : 0;

	/* Is it still the row that somebody may have locked FOR KEY SHARE?  Who applies an update
	 * of another one will delete and insert. */
	if (!inserted && !(t->plain_keys && n == m && memcmp(keys, keys + n, sizeof(uint64) * n) == 0 &&
					   (after == NULL || !paxos_keys_may_move(t->keys, before, after))))
		add_key(paxos_key_of_row(t->keys, before), PAXOS_HOLD_UPDATE);
	for (int i = 0; i < n + m; i++)
		add_key(keys[i], PAXOS_HOLD_NO_KEY_UPDATE);
	add_change(table, before, PAXOS_ROW_PRESENT);
	if (after != NULL)
		add_change(table, after, PAXOS_ROW_PRESENT);
}

/*
 * What this transaction has changed itself is the others' business only as a change,
 * which no lock but FOR UPDATE goes beyond.
 */
void
paxos_set_row_lock(Oid relid, TupleTableSlot *row, PaxosHold hold)
{
	PaxosCaptureTable *t = find_table(relid);
	bool isnull;
	Datum xmin = slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull);

	if (t == NULL || t->keys == NULL)
		elog(ERROR, "a row lock in table %u was not announced", relid);
	paxos_set_needs_key(relid, "lock rows of");
	if (hold != PAXOS_HOLD_UPDATE &&
		TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
		return;
	mark();
	add_key(paxos_key_of_row(t->keys, row), hold);
	add_change((int) (t - set->tables), row, (uint8) (PAXOS_ROW_LOCKED + hold));
}

void
paxos_set_needs_key(Oid relid, const char *what)
{
	const PaxosCaptureTable *t = find_table(relid);

	if (t != NULL && t->keys != NULL && t->n_key == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot %s table \"%s\" because it has no primary key", what,
						get_rel_name(relid)),
				 errdetail("The rows that a transaction changes are known to other nodes by it."),
				 errhint("Add one with ALTER TABLE ... ADD PRIMARY KEY.")));
}

void
paxos_set_truncates(Oid relid)
{
	PaxosCaptureTable *t;

	begin(true);
	t = add_table(relid);
	MAKE_ROOM(set->n_truncations, set->truncations_room, set->truncations);
	set->truncations[set->n_truncations++] =
		(PaxosCaptureTruncation){GetCurrentSubTransactionId(), (int) (t - set->tables), restarting};
}

bool
paxos_set_restarts(bool restarts)
{
	bool before = restarting;

	restarting = restarts;
	return before;
}

/* A table that the cluster does not know cannot be changed by it. */
void
paxos_set_read_all(Oid relid)
{
	if (paxos_table_id(relid) == 0)
		return;
	make_set();
	add_table(relid)->hold |= PAXOS_TABLE_READ;
}

bool
paxos_set_reads(Oid relid)
{
	if (paxos_table_id(relid) == 0)
		return false;
	make_set();
	return (described(relid)->hold & PAXOS_TABLE_READ) == 0;
}

void
paxos_set_read_row(Oid relid, const Datum *key)
{
	PaxosCaptureTable *t = find_table(relid);

	if (t == NULL || t->keys == NULL)
		elog(ERROR, "a read of table %u was not announced", relid);
	if ((t->hold & PAXOS_TABLE_READ) != 0)
		return;
	if (set->n_keys[PAXOS_HOLD_READ] >= MOST_READ)
		t->hold |= PAXOS_TABLE_READ;
	else
	{
		t->hold |= PAXOS_TABLE_LOOKED_UP;
		add_key(paxos_key_of_values(t->keys, key), PAXOS_HOLD_READ);
	}
}

/*
 * A deferrable key is checked by a trigger, which this setting switches off.  What is there
 * twice then could not be indexed by a node that loads a snapshot.
 */
static void
require_check(const PaxosCaptureTable *t)
{
	if (SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA &&
		paxos_keys_are_deferrable(t->keys))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change table \"%s\" while session_replication_role is replica",
						get_rel_name(t->relid)),
				 errdetail("Its deferrable constraints would not be checked.")));
}

/* paxos.capture(): the trigger function; runs in per-tuple memory. */
Datum
paxos_capture(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	PaxosCaptureTable *t;
	int table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(data->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(data->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("paxos.capture() must be called as an AFTER ROW trigger")));
	t = find_table(RelationGetRelid(data->tg_relation));
	if (t == NULL || t->keys == NULL)
		elog(ERROR, "a change of table \"%s\" was not announced",
			 RelationGetRelationName(data->tg_relation));
	if (!TRIGGER_FIRED_BY_DELETE(data->tg_event))
		require_check(t);
	table = (int) (t - set->tables);
	mark();
	capture_rows(table, data->tg_trigslot,
				 TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newslot : NULL,
				 TRIGGER_FIRED_BY_INSERT(data->tg_event));
	return PointerGetDatum(NULL);
}

/* What stands at the end and was made in the subtransaction, or in one of its own. */
static void
cut_off(SubTransactionId subid)
{
	int n_changes = set->n_changes;
	int n_keys[PAXOS_HOLDS];
	Mark first = {0};
	bool any = false;

	memcpy(n_keys, set->n_keys, sizeof(n_keys));

	while (set->n_marks > 0 && set->marks[set->n_marks - 1].subid >= subid)
	{
		set->n_marks--;
		first = set->marks[set->n_marks];
		any = true;
		n_changes = set->marks[set->n_marks].n_changes;
		memcpy(n_keys, set->marks[set->n_marks].n_keys, sizeof(n_keys));
	}
	if (any && set->more_changes != NULL)
		paxos_spill_cut(set->more_changes, first.changes);
	if (any && set->more_keys != NULL)
		paxos_spill_cut(set->more_keys, first.keys);
	while (set->n_truncations > 0 && set->truncations[set->n_truncations - 1].subid >= subid)
		set->n_truncations--;
	while (set->n_changes > n_changes)
		(void) hash_search(set->known_changes, &set->changes[--set->n_changes], HASH_REMOVE, NULL);
	/* what was read in it has been seen for all that */
	for (int hold = 0; hold < PAXOS_HOLD_READ; hold++)
	{
		while (set->n_keys[hold] > n_keys[hold])
		{
			uint64 key = set->keys[hold][--set->n_keys[hold]];
			KeyEntry *e = hash_search(set->known_keys, &key, HASH_FIND, NULL);

			e->holds &= ~(1 << hold);
			if (e->holds == 0)
				(void) hash_search(set->known_keys, &key, HASH_REMOVE, NULL);
		}
	}
}

void
paxos_capture_cut_off(SubTransactionId subid)
{
	if (set == NULL)
		return;
	cut_off(subid);
	forget_definitions(subid);
}

PaxosCapture *
paxos_capture_current(void)
{
	return set;
}

void
paxos_capture_close_files(PaxosCapture *of)
{
	if (of->more_changes != NULL)
		paxos_spill_close(of->more_changes);
	if (of->more_keys != NULL)
		paxos_spill_close(of->more_keys);
	of->more_changes = of->more_keys = NULL;
}

void
paxos_capture_forget(void)
{
	set = NULL; /* its memory goes with the transaction's */
	changing = false;
	local = false;
}

void
paxos_capture_create(Oid relid)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	Oid function =
		LookupFuncName(list_make2(makeString(PAXOS_SCHEMA), makeString("capture")), 0, NULL, false);

	stmt->trigname = pstrdup(CAPTURE_TRIGGER);
	stmt->row = true;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;
	CreateTriggerFiringOn(stmt, NULL, relid, InvalidOid, InvalidOid, InvalidOid, function,
						  InvalidOid, NULL, true, false, TRIGGER_FIRES_ALWAYS);
	CommandCounterIncrement();
}
