/*
 * paxos_set.c
 *	  Ordinary transactions on consensus tables, where they run: what they change is
 *	  captured, proposed before the commit, and committed in its turn
 *	  (architecture.md § 6, protocol.md § 6).
 *
 * A transaction runs as PostgreSQL runs it: any WHERE, join, function, savepoint.  Its
 * row locks and unique index entries are this node's alone; the rest of the cluster
 * hears of it when it commits.  Then, in XACT_EVENT_PRE_COMMIT, its *write set* is
 * queued, and the session waits, with all its locks, for one of these:
 *
 *	- its turn: everything below the set's slot is applied here, and nothing that was
 *	  applied since its base has changed one of its keys.  It writes the applied watermark
 *	  and what else belongs to the slot in its own transaction, and commits;
 *	- the verdict "lost": 40001;
 *	- "too old" (paxos_window.c): it proposes again, with a newer base;
 *	- the mark that it must make way for an earlier slot (paxos_turn.c): 40001, or 40003
 *	  where it may be certified yet;
 *	- cancel, time-out, termination: not sent (57014, 57P03) or unknown (40003).
 *
 * Whatever becomes of the session, its set is decided by the log: if it has gone when
 * its slot comes, and the set is certified, the learner applies it (paxos_apply_set.c).  Never
 * both: the watermark moves with the rows, in one transaction, once.
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
 * What is captured beyond some ten thousand rows goes to temporary files (paxos_spill.c), and a
 * set that is too large for one command is proposed in parts (paxos_part.c), each
 * put together when the one before is applied: no node holds all of it in memory, and
 * others' commands come between.  Such a set counts as a change of its tables as wholes.
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
 * base is the applied watermark when the set is proposed, not when the transaction
 * began: what was applied in between has not touched a row this transaction has
 * locked, or else had it make way.  Rows it has merely read are not protected, in READ
 * COMMITTED and REPEATABLE READ as PostgreSQL has them; in SERIALIZABLE they are part of
 * the set, with the slot of the snapshot (paxos_serial.c).
 *
 * Nothing may fail between the turn and the commit.  Our callback is the last of the
 * PRE_COMMIT callbacks of libraries loaded after ours; PostgreSQL's own work
 * behind it (ON COMMIT actions, a full NOTIFY queue) can fail: then the session hears
 * that error and the set is applied nevertheless.
 *
 * The commit does not wait for its flush, nor for standbys: the log has the set on a
 * majority, and the learner must not wait for either (as for its own commits).
 *
 * A transaction that changes permanent local tables, too, is refused unless
 * paxos.local_writes allows it: after a crash between the decision and the commit the
 * learner applies the set, and the local part is lost.
 *
 * State: per transaction, in memory of the transaction; it goes with it.  A crash of the
 * session or the server: as above.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/toast_compression.h"
#include "access/xact.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_trigger.h"
#include "commands/async.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "replication/syncrep.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "storage/proc.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_text.h"
#include "paxos_command.h"
#include "paxos_ddl.h"
#include "paxos_key.h"
#include "paxos_part.h"
#include "paxos_queue.h"
#include "paxos_serial.h"
#include "paxos_set.h"
#include "paxos_spill.h"
#include "paxos_turn.h"
#include "paxos_version.h"
#include "paxos_window.h"

PG_FUNCTION_INFO_V1(paxos_capture);

#define CAPTURE_TRIGGER "paxos_capture_row"

/* Who reads more rows one by one than so many has read the table. */
#define MOST_READ 4096

/* "Too old" is answered by another proposal; who is told so again and again has
 * another trouble. */
#define MAX_PROPOSALS 20

/* More is written to files. */
#define CHANGES_IN_MEMORY 16384
#define KEYS_IN_MEMORY 32768

/* A set of more than this, or of more keys than are held in memory, goes in parts of about
 * so much. */
#define PART_BYTES PAXOS_PART_BYTES

typedef struct SetTable
{
	Oid relid;
	int64 table_id;
	uint16 hold;     /* PAXOS_TABLE_READ, _LOOKED_UP, _SHARE, _EXCLUSIVE */
	bool changes;    /* rows of it may have been changed */
	PaxosKeys *keys; /* NULL: no row of it has been changed or locked */
	bool plain_keys;
	MemoryContext cxt; /* of what describe() finds out */
	SubTransactionId described_in;
	bool stale; /* the lock under which it was described may have gone */
	uint8 rows; /* PAXOS_TABLE_CHANGED, _LOCKED: one has been captured */
	Oid pk;
	int n_key;
	AttrNumber key[INDEX_MAX_KEYS];
	TupleDesc key_desc;
} SetTable;

/* In a table without a primary key.  What stood there before another TRUNCATE has gone. */
typedef struct Place
{
	ItemPointerData tid;
	int n_truncations; /* of the table, until then */
} Place;

/* A row by its primary key: the bytes of a minimal tuple of key columns; or by its place. */
typedef struct Change
{
	int table;
	uint8 what; /* PAXOS_ROW_LOCKED + a hold; or PAXOS_ROW_PRESENT, for changed */
	uint32 len;
	char *bytes;
} Change;

typedef struct ChangeEntry
{
	Change change; /* hash key: by its bytes */
	int at;
} ChangeEntry;

typedef struct KeyEntry
{
	uint64 key;  /* hash key */
	uint8 holds; /* a bit for each */
} KeyEntry;

/* The subtransaction that made the entries from here on. */
typedef struct Mark
{
	SubTransactionId subid;
	int n_changes;
	int n_keys[PAXOS_HOLDS];
	PaxosSpillMark changes;
	PaxosSpillMark keys;
} Mark;

typedef struct Truncation
{
	SubTransactionId subid;
	int table;
	bool restarts;
} Truncation;

typedef struct Set
{
	MemoryContext cxt;
	int n_tables;
	int tables_room;
	SetTable *tables;
	int n_changes;
	int changes_room;
	Change *changes;
	HTAB *known_changes;
	List *trees; /* partitioned tables whose partitions may be changed: those at the top */
	int n_keys[PAXOS_HOLDS];
	int keys_room[PAXOS_HOLDS];
	uint64 *keys[PAXOS_HOLDS];
	HTAB *known_keys;
	PaxosSpill *more_changes; /* beyond what is held in memory, or NULL */
	PaxosSpill *more_keys;
	int n_marks;
	int marks_room;
	Mark *marks;
	int n_truncations;
	int truncations_room;
	Truncation *truncations;
} Set;

static Set *set = NULL;         /* of the running transaction */
static bool changing = false;   /* it changes consensus tables */
static bool local = false;      /* it has changed permanent local tables */
static bool in_turn = false;    /* between the learner's word and the transaction's end */
static uint64 parts_sent = 0;   /* number of the set that has sent some, and has not ended */
static bool restarting = false; /* a TRUNCATE ... RESTART IDENTITY is running */
static int saved_synchronous_commit;

static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static emit_log_hook_type previous_emit = NULL;

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
	const Change *c = key;

	return hash_bytes((const unsigned char *) c->bytes, (int) c->len) ^ (uint32) c->table ^
		   (uint32) c->what << 16;
}

static int
change_match(const void *a, const void *b, Size size)
{
	const Change *x = a;
	const Change *y = b;

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
	set = MemoryContextAllocZero(cxt, sizeof(Set));
	set->cxt = cxt;
	ctl.keysize = sizeof(Change);
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

static SetTable *
find_table(Oid relid)
{
	for (int i = 0; set != NULL && i < set->n_tables; i++)
	{
		if (set->tables[i].relid == relid)
			return &set->tables[i];
	}
	return NULL;
}

static SetTable *
add_table(Oid relid)
{
	SetTable *t = find_table(relid);
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
describe(SetTable *t)
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

static SetTable *
described(Oid relid)
{
	SetTable *t = add_table(relid);

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
	SetTable *t = described(relid);

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
	SetTable *t = find_table(relid);

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

static int
truncations_of(int table)
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
	const SetTable *t = &set->tables[table];
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];
	MinimalTuple tuple;

	if (t->n_key == 0)
	{
		Place *place = palloc0(sizeof(Place));

		place->tid = row->tts_tid;
		place->n_truncations = truncations_of(table);
		*len = sizeof(Place);
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

static uint8
held_by(uint8 what)
{
	return what >= PAXOS_ROW_LOCKED ? PAXOS_TABLE_LOCKED : PAXOS_TABLE_CHANGED;
}

static void
add_change(int table, TupleTableSlot *row, uint8 what)
{
	Change c;
	bool found;
	ChangeEntry *e;
	char *bytes;

	set->tables[table].rows |= held_by(what);
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
	SetTable *t = &set->tables[table];
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
	SetTable *t = find_table(relid);
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
	const SetTable *t = find_table(relid);

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
	SetTable *t;

	begin(true);
	t = add_table(relid);
	MAKE_ROOM(set->n_truncations, set->truncations_room, set->truncations);
	set->truncations[set->n_truncations++] =
		(Truncation){GetCurrentSubTransactionId(), (int) (t - set->tables), restarting};
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
	SetTable *t = find_table(relid);

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
require_check(const SetTable *t)
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
	SetTable *t;
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

/* ------------------------------------------------------------------
 * Putting the set together
 * ------------------------------------------------------------------
 */

typedef struct OpenTable
{
	Relation rel;
	Relation pk; /* NULL: rows are found by their place */
	TupleTableSlot *row;
	FmgrInfo *output; /* by column */
	ScanKeyData scankey[INDEX_MAX_KEYS];
} OpenTable;

/* A set on its way: what of it is in memory, and what has been sent. */
typedef struct Sending
{
	OpenTable *open;   /* by table of the set */
	int *number;       /* of each in what is sent; -1: not in it */
	MemoryContext cxt; /* of rows; emptied when they have been sent */
	PaxosWriteSet w;   /* tables, and rows not sent yet */
	int rows_room;
	Size bytes;
	uint64 set;
	uint32 n_parts;
} Sending;

static void
open_table(OpenTable *o, const SetTable *t)
{
	TupleDesc desc;

	o->rel = table_open(t->relid, NoLock);
	desc = RelationGetDescr(o->rel);
	o->row = table_slot_create(o->rel, NULL);
	o->output = palloc0(sizeof(FmgrInfo) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Oid output;
		bool varlena;

		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		getTypeOutputInfo(TupleDescAttr(desc, i)->atttypid, &output, &varlena);
		fmgr_info(output, &o->output[i]);
	}
	o->pk = OidIsValid(t->pk) ? index_open(t->pk, AccessShareLock) : NULL;
	for (int i = 0; i < t->n_key; i++)
	{
		Oid op = get_opfamily_member(o->pk->rd_opfamily[i], o->pk->rd_opcintype[i],
									 o->pk->rd_opcintype[i], BTEqualStrategyNumber);

		if (!OidIsValid(op))
			elog(ERROR, "no equality operator for column %d of index %u", i + 1, t->pk);
		ScanKeyInit(&o->scankey[i], (AttrNumber) (i + 1), BTEqualStrategyNumber, get_opcode(op),
					(Datum) 0);
		o->scankey[i].sk_collation = o->pk->rd_indcollation[i];
	}
}

static void
close_table(OpenTable *o)
{
	ExecDropSingleTupleTableSlot(o->row);
	if (o->pk != NULL)
		index_close(o->pk, NoLock);
	table_close(o->rel, NoLock);
}

static void
column_text(OpenTable *o, PaxosColumn *c, AttrNumber attnum, Datum value, bool isnull, Size *bytes)
{
	c->attnum = attnum;
	c->op = 0;
	c->isnull = isnull;
	c->text = isnull ? "" : paxos_fixed_output(&o->output[attnum - 1], value);
	*bytes += 7 + strlen(c->text);
}

/* Find a row by its key, as the transaction leaves it, and describe the key. */
static bool
find_by_key(PaxosSetRow *out, OpenTable *o, const SetTable *t, const Change *c, Size *bytes)
{
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];
	HeapTupleData key;
	IndexScanDesc scan;
	bool found;

	key.t_len = c->len + MINIMAL_TUPLE_OFFSET;
	key.t_data = (HeapTupleHeader) (c->bytes - MINIMAL_TUPLE_OFFSET);
	heap_deform_tuple(&key, t->key_desc, values, nulls);
	out->n_key = t->n_key;
	out->key = palloc(sizeof(PaxosColumn) * t->n_key);
	for (int i = 0; i < t->n_key; i++)
	{
		column_text(o, &out->key[i], t->key[i], values[i], false, bytes);
		o->scankey[i].sk_argument = values[i];
	}
	scan = PaxosIndexBeginScan(o->rel, o->pk, SnapshotSelf, t->n_key);
	index_rescan(scan, o->scankey, t->n_key, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, o->row);
	if (found)
		ExecMaterializeSlot(o->row);
	index_endscan(scan);
	return found;
}

/* The row with this key, or at this place, as the transaction leaves it. */
static bool
find_row(PaxosSetRow *out, OpenTable *o, const SetTable *t, const Change *c, Size *bytes)
{
	Place place;

	if (o->pk != NULL)
		return find_by_key(out, o, t, c, bytes);
	memcpy(&place, c->bytes, sizeof(place));
	if (!table_tuple_fetch_row_version(o->rel, &place.tid, SnapshotSelf, o->row))
		elog(ERROR, "a row of table \"%s\" is not where it was put",
			 RelationGetRelationName(o->rel));
	return true;
}

/* Has its table been emptied since? */
static bool
lost_its_place(const OpenTable *o, const Change *c)
{
	Place place;

	if (o->pk != NULL)
		return false;
	memcpy(&place, c->bytes, sizeof(place));
	return place.n_truncations != truncations_of(c->table);
}

static void
describe_row(PaxosSetRow *out, OpenTable *o, const SetTable *t, const Change *c, Size *bytes)
{
	TupleDesc desc = RelationGetDescr(o->rel);

	memset(out, 0, sizeof(*out));
	*bytes += 16;
	out->what = c->what;
	if (!find_row(out, o, t, c, bytes))
	{
		if (c->what < PAXOS_ROW_LOCKED)
			out->what = PAXOS_ROW_GONE;
		return;
	}
	out->row = palloc(sizeof(PaxosColumn) * desc->natts);
	for (int i = 0; i < desc->natts && c->what < PAXOS_ROW_LOCKED; i++)
	{
		bool isnull;
		Datum value;

		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		value = slot_getattr(o->row, i + 1, &isnull);
		column_text(o, &out->row[out->n_row++], (AttrNumber) (i + 1), value, isnull, bytes);
	}
	ExecClearTuple(o->row);
}

/* One command of a set that is too large for one. */
static void
send_part(Sending *s, const PaxosWriteSet *body)
{
	PaxosCommand command = {0};
	PaxosCommandResult result;
	char *bytes;
	Size len;

	paxos_set_check();
	if (s->n_parts == 0)
	{
		s->set = paxos_part_new_set();
		parts_sent = s->set;
	}
	if (++s->n_parts > PAXOS_MAX_PARTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("transaction changes too much for the replicated log"),
						errdetail("A write set may have %d parts of %d kB.", PAXOS_MAX_PARTS,
								  PART_BYTES / 1024),
						errhint("Use several smaller transactions.")));
	command.kind = PAXOS_COMMAND_PART;
	command.u.part.set = s->set;
	command.u.part.number = s->n_parts;
	command.u.part.body = *body;
	bytes = paxos_command_encode(&command, &len);
	bytes = paxos_submit_part(bytes, len, &len);
	if (!paxos_result_decode(bytes, len, &result))
		elog(ERROR, "the result of a part of a write set is damaged");
	if (result.failed)
		paxos_result_raise(&result);
}

static void
send_rows(Sending *s)
{
	if (s->w.n_rows > 0)
		send_part(s, &s->w);
	s->w.n_rows = 0;
	s->w.rows = NULL;
	s->rows_room = 0;
	s->bytes = 0;
	MemoryContextReset(s->cxt);
}

static void
add_row(Sending *s, const Change *c)
{
	const SetTable *t = &set->tables[c->table];
	OpenTable *o = &s->open[c->table];
	MemoryContext old;
	PaxosSetRow row;
	Size bytes = 0;

	CHECK_FOR_INTERRUPTS();
	/* only those of which a row is left: of others the lock may have gone with a savepoint */
	if (o->rel == NULL)
		open_table(o, t);
	old = MemoryContextSwitchTo(s->cxt);
	if (lost_its_place(o, c))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	describe_row(&row, o, t, c, &bytes);
	paxos_part_check_row(RelationGetRelationName(o->rel), bytes);

	/* what has been described goes with the memory of those sent before it */
	if (s->bytes + bytes > PART_BYTES && s->w.n_rows > 0)
	{
		send_rows(s);
		bytes = 0;
		describe_row(&row, o, t, c, &bytes);
	}
	row.table = (uint16) s->number[c->table];
	paxos_part_add_row(&s->w, &s->rows_room, &row);
	s->bytes += bytes;
	MemoryContextSwitchTo(old);
}

/* A part that says nothing but keys of one kind. */
static void
send_some_keys(Sending *s, PaxosHold hold, uint64 *keys, int n)
{
	PaxosWriteSet body = s->w;

	body.n_rows = 0;
	memset(body.n_keys, 0, sizeof(body.n_keys));
	body.n_keys[hold] = n;
	body.keys[hold] = keys;
	if (n > 0)
		send_part(s, &body);
}

/* All keys, those that are held in memory and those that are not. */
static void
send_keys(Sending *s)
{
	const int most = PART_BYTES / (int) sizeof(uint64);
	uint64 *more[PAXOS_HOLDS] = {NULL};
	int n[PAXOS_HOLDS] = {0};
	StringInfoData record;
	uint32 hold;

	for (int i = 0; i < PAXOS_HOLDS; i++)
	{
		for (int at = 0; at < set->n_keys[i]; at += most)
			send_some_keys(s, (PaxosHold) i, set->keys[i] + at, Min(most, set->n_keys[i] - at));
	}
	if (set->more_keys == NULL)
		return;
	initStringInfo(&record);
	paxos_spill_rewind(set->more_keys);
	while (paxos_spill_next(set->more_keys, &hold, &record))
	{
		if (more[hold] == NULL)
			more[hold] = palloc(sizeof(uint64) * most);
		memcpy(&more[hold][n[hold]++], record.data, sizeof(uint64));
		if (n[hold] < most)
			continue;
		send_some_keys(s, (PaxosHold) hold, more[hold], most);
		n[hold] = 0;
	}
	for (int i = 0; i < PAXOS_HOLDS; i++)
		send_some_keys(s, (PaxosHold) i, more[i], n[i]);
}

/* What it does to each table; those it does nothing to are left out. */
static void
list_tables(Sending *s, bool many)
{
	uint16 *hold = palloc0(sizeof(uint16) * set->n_tables);

	for (int i = 0; i < set->n_changes; i++)
		hold[set->changes[i].table] |= held_by(set->changes[i].what);
	for (int i = 0; i < set->n_truncations; i++)
		hold[set->truncations[i].table] |=
			PAXOS_TABLE_TRUNCATED | PAXOS_TABLE_CHANGED | PAXOS_TABLE_EXCLUSIVE |
			(set->truncations[i].restarts ? PAXOS_TABLE_RESTARTED : 0);
	s->w.tables = palloc0(sizeof(PaxosSetTable) * set->n_tables);
	s->open = palloc0(sizeof(OpenTable) * set->n_tables);
	s->number = palloc0(sizeof(int) * set->n_tables);
	for (int i = 0; i < set->n_tables; i++)
	{
		const SetTable *t = &set->tables[i];

		hold[i] |= t->hold | (many ? t->rows : 0);
		if (hold[i] == 0)
			continue;
		s->number[i] = s->w.n_tables;
		s->w.tables[s->w.n_tables].table_id = t->table_id;
		s->w.tables[s->w.n_tables++].hold = hold[i];
	}
}

static void
close_files(void)
{
	if (set->more_changes != NULL)
		paxos_spill_close(set->more_changes);
	if (set->more_keys != NULL)
		paxos_spill_close(set->more_keys);
	set->more_changes = set->more_keys = NULL;
}

/*
 * The set; or what is left of it when it has been sent in parts: then those say what
 * becomes of rows, and on which it depends.
 */
static PaxosWriteSet
put_together(void)
{
	Sending s = {0};
	bool many = set->more_changes != NULL || set->more_keys != NULL;

	s.cxt = AllocSetContextCreate(set->cxt, "paxos rows", ALLOCSET_DEFAULT_SIZES);
	list_tables(&s, many);
	for (int i = 0; i < set->n_changes; i++)
		add_row(&s, &set->changes[i]);
	if (set->more_changes != NULL)
	{
		StringInfoData record;
		uint32 tag;

		initStringInfo(&record);
		paxos_spill_rewind(set->more_changes);
		while (paxos_spill_next(set->more_changes, &tag, &record))
		{
			Change c = {(int) (tag & 0xffff), (uint8) (tag >> 16), (uint32) record.len,
						record.data};

			add_row(&s, &c);
		}
	}
	if (s.n_parts > 0 || many)
	{
		send_rows(&s);
		send_keys(&s);
		for (int i = 0; i < s.w.n_tables; i++)
		{
			if ((s.w.tables[i].hold & (PAXOS_TABLE_CHANGED | PAXOS_TABLE_LOCKED)) != 0)
				s.w.tables[i].hold |= PAXOS_TABLE_MANY;
		}
	}
	else
	{
		memcpy(s.w.n_keys, set->n_keys, sizeof(s.w.n_keys));
		memcpy(s.w.keys, set->keys, sizeof(s.w.keys));
	}
	for (int i = 0; i < set->n_tables; i++)
	{
		if (s.open[i].rel != NULL)
			close_table(&s.open[i]);
	}
	s.w.parts_of = s.set;
	s.w.n_parts = s.n_parts;
	close_files();
	return s.w;
}

/* ------------------------------------------------------------------
 * Proposal, verdict, turn
 * ------------------------------------------------------------------
 */

/* All that a change of would make the set lose. */
static void
publish_keys(const PaxosWriteSet *w)
{
	int n;
	int n_read;
	uint64 *keys = paxos_window_checked(w, &n, &n_read);

	paxos_turn_publish(keys, n);
	pfree(keys);
}

/* Is there anything for the cluster to decide? */
static bool
to_be_proposed(void)
{
	if (set == NULL)
		return false;
	for (int i = 0; i < set->n_tables; i++)
	{
		if ((set->tables[i].hold & ~PAXOS_TABLE_ONLY_READ) != 0)
			return true;
	}
	return set->n_changes > 0 || set->n_truncations > 0;
}

/*
 * From here on the cluster has decided, and this transaction stands for the slot on
 * this node.  An error makes the learner apply the set: the outcome is not what an
 * ordinary error would say.
 */
static void
write_slot(const PaxosWriteSet *w, Relation replicated, Relation window, Relation parts,
		   const uint64 *changed, int n_changed)
{
	MemoryContext caller = CurrentMemoryContext;
	px_slot slot;
	PaxosReplicated before;
	PaxosReplicated after;

	PG_TRY();
	{
		paxos_turn_read(&slot, &before, &after);
		paxos_turn_commits(slot);
		paxos_window_row(window, slot, changed, n_changed);
		if (w->n_parts > 0)
			paxos_part_finish_here(parts, &after, w->parts_of);
		if (!paxos_replicated_write(replicated, &before, &after))
			elog(ERROR, "%s.%s was changed by somebody else", PAXOS_SCHEMA, "replicated");
		paxos_turn_wrote(&after);
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		ereport(ERROR, (errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
						errmsg("outcome of the transaction is unknown: %s", edata->message)));
	}
	PG_END_TRY();
}

/*
 * NOTIFY takes a lock of the whole server behind our callback, when it is our turn and
 * nobody may be waited for; and who holds it may wait, for ever, for a synchronous
 * standby that is dead.  So it is waited for before, where the learner does not wait for us and
 * a cancel is heard.
 */
static void
lock_notify(void)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool notifies = false;

	PG_TRY();
	{
		AtPrepare_Notify(); /* nothing else tells whether there is any */
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		notifies = true;
	}
	PG_END_TRY();
	if (notifies)
		LockSharedObject(DatabaseRelationId, InvalidOid, 0, AccessExclusiveLock);
}

static void
propose(void)
{
	MemoryContext old = MemoryContextSwitchTo(set->cxt);
	PaxosCommand command = {0};
	PaxosWriteSet *w = &command.u.set;
	Relation replicated;
	Relation window;
	Relation parts;
	uint64 *changed;
	int n_changed;
	px_slot snapshot = 0;

	paxos_set_check();

	/* In the turn nobody may be waited for. */
	lock_notify();
	replicated = table_open(paxos_internal_relid("replicated"), RowExclusiveLock);
	if (paxos_serial())
	{
		ReleasePredicateLocks(false, false);
		snapshot = paxos_replicated_applied(replicated, GetTransactionSnapshot());
	}
	PushActiveSnapshot(GetLatestSnapshot());
	window = table_open(paxos_internal_relid("window"), RowExclusiveLock);

	parts = table_open(paxos_internal_relid("set_part"), RowExclusiveLock);

	paxos_version_require(PAXOS_VERSION_SETS, "transactions on consensus-backed tables");
	command.kind = PAXOS_COMMAND_SET;
	*w = put_together();
	w->snapshot = snapshot;
	changed = paxos_window_keys_of_set(w, &n_changed);
	for (int attempt = 1;; attempt++)
	{
		PaxosCommandResult result;
		px_slot decided_at;
		char *bytes;
		Size len;

		/* what the snapshot shows is committed, said or not */
		w->base = Max(paxos_turn_base(), snapshot);
		paxos_version_require(PAXOS_VERSION_SETS, "transactions on consensus-backed tables");
		publish_keys(w);
		bytes = paxos_command_encode(&command, &len);
		bytes = paxos_submit_set(bytes, len, &len, &decided_at);
		if (bytes == NULL)
			break;
		if (!paxos_result_decode(bytes, len, &result) || !result.failed)
			ereport(ERROR, (errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
							errmsg("outcome of the transaction is unknown")));
		if (result.sqlstate == ERRCODE_SNAPSHOT_TOO_OLD && attempt < MAX_PROPOSALS)
			continue;
		if (result.sqlstate == ERRCODE_SNAPSHOT_TOO_OLD)
			result.sqlstate = ERRCODE_T_R_SERIALIZATION_FAILURE;
		paxos_result_raise(&result);
	}

	/* Interrupts are held until the transaction has ended. */
	in_turn = true;
	saved_synchronous_commit = synchronous_commit;
	synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
	write_slot(w, replicated, window, parts, changed, n_changed);
	table_close(parts, NoLock);
	table_close(window, NoLock);
	table_close(replicated, NoLock);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
}

static void
forget(void)
{
	if (in_turn)
	{
		in_turn = false;
		synchronous_commit = saved_synchronous_commit;
		paxos_queue_end_turn();
	}
	paxos_turn_unregister();
	parts_sent = 0;
	set = NULL; /* its memory goes with the transaction's */
	changing = false;
	local = false;
}

/*
 * Its parts need not be kept.  If the set itself is on its way, this comes behind it, and
 * finds it decided.
 */
static void
give_up_parts(void)
{
	PaxosCommand command = {0};
	char *bytes;
	Size len;

	if (parts_sent == 0)
		return;
	command.kind = PAXOS_COMMAND_PART;
	command.u.part.set = parts_sent;
	bytes = paxos_command_encode(&command, &len);
	paxos_submit_and_leave(bytes, len);
	pfree(bytes);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (to_be_proposed())
				propose();
			else if (set != NULL)
				close_files();
			break;
		case XACT_EVENT_COMMIT:
			if (in_turn)
				RESUME_INTERRUPTS();
			forget();
			break;
		case XACT_EVENT_ABORT:
			give_up_parts();
			forget();
			break;
		case XACT_EVENT_PRE_PREPARE:
			if (set != NULL)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot PREPARE a transaction that has used "
									   "consensus-backed tables")));
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid,
					  void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && set != NULL)
	{
		cut_off(my_subid);
		forget_definitions(my_subid);
	}
}

/* ------------------------------------------------------------------
 * Made to make way in the middle of a statement
 * ------------------------------------------------------------------
 */

/* In PG_CATCH: the cancellation that the learner sent is 40001. */
static void
say_why(MemoryContext caller)
{
	if (in_turn || geterrcode() != ERRCODE_QUERY_CANCELED || !paxos_turn_canceled())
		return;
	MemoryContextSwitchTo(caller);
	FlushErrorState();
	paxos_turn_raise();
}

/*
 * The cancellation can also strike where no hook of ours is around it, as in the parser:
 * then it is renamed on its way out.  (A server that does not log errors, by
 * log_min_messages, does not come by here; its client hears 57014.)
 */
static void
emit(ErrorData *edata)
{
	if (previous_emit)
		previous_emit(edata);
	if (in_turn || edata->elevel != ERROR || edata->sqlerrcode != ERRCODE_QUERY_CANCELED ||
		!paxos_turn_canceled())
		return;
	edata->sqlerrcode = ERRCODE_T_R_SERIALIZATION_FAILURE;
	edata->message = MemoryContextStrdup(edata->assoc_context, PAXOS_DOOMED_MESSAGE);
}

static void
run(PAXOS_RUN_ARGUMENTS)
{
	MemoryContext caller = CurrentMemoryContext;

	paxos_set_check();
	if (paxos_serial() && query->plannedstmt->parallelModeNeeded &&
		OidIsValid(get_table_am_oid("paxos", true)))
		PaxosRunWithoutWorkers(query);
	PG_TRY();
	{
		previous_run(PAXOS_RUN_PASSED);
	}
	PG_CATCH();
	{
		say_why(caller);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
finish(QueryDesc *query)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		previous_finish(query);
	}
	PG_CATCH();
	{
		say_why(caller);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
		DestReceiver *dest, QueryCompletion *qc)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!IsA(pstmt->utilityStmt, TransactionStmt))
		paxos_set_check();
	PG_TRY();
	{
		previous_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest, qc);
	}
	PG_CATCH();
	{
		say_why(caller);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
paxos_set_install_hooks(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	previous_run = ExecutorRun_hook ? ExecutorRun_hook : standard_ExecutorRun;
	ExecutorRun_hook = run;
	previous_finish = ExecutorFinish_hook ? ExecutorFinish_hook : standard_ExecutorFinish;
	ExecutorFinish_hook = finish;
	previous_utility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = utility;
	previous_emit = emit_log_hook;
	emit_log_hook = emit;
}
