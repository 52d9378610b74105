/*
 * paxos_set.c
 *	  Ordinary transactions on consensus tables, where they run: what they change is put
 *	  together and proposed before the commit, and committed in its turn
 *	  (architecture.md § 6, protocol.md § 6).
 *
 * Owns: the way of a set from XACT_EVENT_PRE_COMMIT to the transaction's end, and the hooks
 * that say why a statement was made to make way.  Not its business: what is captured
 * (paxos_capture.c); when it is whose turn (paxos_turn.c); what a set does at its slot
 * (paxos_apply_set.c).
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
 * A set that is too large for one command is proposed in parts (paxos_part.c), each
 * put together when the one before is applied: no node holds all of it in memory, and
 * others' commands come between.  Such a set counts as a change of its tables as wholes.
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
 * State: per transaction, in memory of the transaction; it goes with it.  A crash of the
 * session or the server: as above.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/predicate.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "paxos_acceptor.h"
#include "paxos_command.h"
#include "paxos_part.h"
#include "paxos_queue.h"
#include "paxos_serial.h"
#include "paxos_set.h"
#include "paxos_set_int.h"
#include "paxos_spill.h"
#include "paxos_text.h"
#include "paxos_turn.h"
#include "paxos_version.h"
#include "paxos_window.h"

/* "Too old" is answered by another proposal; who is told so again and again has
 * another trouble. */
#define MAX_PROPOSALS 20

static bool in_turn = false;  /* between the learner's word and the transaction's end */
static uint64 parts_sent = 0; /* number of the set that has sent some, and has not ended */
static int saved_synchronous_commit;

static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static emit_log_hook_type previous_emit = NULL;

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
	PaxosCapture *set;
	OpenTable *open;    /* by table of the set */
	int *number;        /* of each in what is sent; -1: not in it */
	PaxosPartRows rows; /* tables, and rows not sent yet */
	uint64 parts_of;
	uint32 n_parts;
} Sending;

static void
open_table(OpenTable *o, const PaxosCaptureTable *t)
{
	o->rel = table_open(t->relid, NoLock);
	o->row = table_slot_create(o->rel, NULL);
	o->output = paxos_outputs(RelationGetDescr(o->rel));
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

/* Find a row by its key, as the transaction leaves it, and describe the key. */
static bool
find_by_key(PaxosSetRow *out, OpenTable *o, const PaxosCaptureTable *t, const PaxosCaptureChange *c,
			Size *bytes)
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
		*bytes += paxos_part_put_column(&out->key[i], t->key[i], o->output, values[i], false);
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
find_row(PaxosSetRow *out, OpenTable *o, const PaxosCaptureTable *t, const PaxosCaptureChange *c,
		 Size *bytes)
{
	PaxosCapturePlace place;

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
lost_its_place(const OpenTable *o, const PaxosCaptureChange *c)
{
	PaxosCapturePlace place;

	if (o->pk != NULL)
		return false;
	memcpy(&place, c->bytes, sizeof(place));
	return place.n_truncations != paxos_capture_truncations(c->table);
}

/* Returns what it takes. */
static Size
describe_row(PaxosSetRow *out, OpenTable *o, const PaxosCaptureTable *t,
			 const PaxosCaptureChange *c)
{
	Size bytes = PAXOS_PART_ROW_BYTES;

	memset(out, 0, sizeof(*out));
	out->what = c->what;
	if (find_row(out, o, t, c, &bytes))
	{
		if (c->what < PAXOS_ROW_LOCKED)
			bytes += paxos_part_put_row(out, o->row, o->output);
		ExecClearTuple(o->row);
	}
	else if (c->what < PAXOS_ROW_LOCKED)
		out->what = PAXOS_ROW_GONE;
	return bytes;
}

/* One command of a set that is too large for one. */
static void
send_part(Sending *s, const PaxosWriteSet *body)
{
	paxos_set_check();
	if (s->n_parts == 0)
	{
		s->parts_of = paxos_part_new_set();
		parts_sent = s->parts_of;
	}
	if (++s->n_parts > PAXOS_MAX_PARTS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("transaction changes too much for the replicated log"),
						errdetail("A write set may have %d parts of %d kB.", PAXOS_MAX_PARTS,
								  PAXOS_PART_BYTES / 1024),
						errhint("Use several smaller transactions.")));
	paxos_part_send(s->parts_of, s->n_parts, body);
}

static void
send_rows(Sending *s)
{
	if (s->rows.body.n_rows > 0)
		send_part(s, &s->rows.body);
	paxos_part_empty(&s->rows);
}

static void
add_row(Sending *s, const PaxosCaptureChange *c)
{
	const PaxosCaptureTable *t = &s->set->tables[c->table];
	OpenTable *o = &s->open[c->table];
	MemoryContext old;
	PaxosSetRow row;
	Size bytes;

	CHECK_FOR_INTERRUPTS();
	/* only those of which a row is left: of others the lock may have gone with a savepoint */
	if (o->rel == NULL)
		open_table(o, t);
	if (lost_its_place(o, c))
		return;
	old = MemoryContextSwitchTo(s->rows.cxt);
	bytes = describe_row(&row, o, t, c);
	paxos_part_check_row(RelationGetRelationName(o->rel), bytes);
	if (!paxos_part_has_room(&s->rows, bytes))
	{
		/* what has been described goes with the memory of those sent before it */
		send_rows(s);
		bytes = describe_row(&row, o, t, c);
	}
	row.table = (uint16) s->number[c->table];
	paxos_part_add_row(&s->rows, &row, bytes);
	MemoryContextSwitchTo(old);
}

/* A part that says nothing but keys of one kind. */
static void
send_some_keys(Sending *s, PaxosHold hold, uint64 *keys, int n)
{
	PaxosWriteSet body = s->rows.body;

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
	const int most = PAXOS_PART_BYTES / (int) sizeof(uint64);
	PaxosCapture *set = s->set;
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
	const PaxosCapture *set = s->set;
	uint16 *hold = palloc0(sizeof(uint16) * set->n_tables);

	for (int i = 0; i < set->n_changes; i++)
		hold[set->changes[i].table] |= paxos_capture_held(set->changes[i].what);
	for (int i = 0; i < set->n_truncations; i++)
		hold[set->truncations[i].table] |=
			PAXOS_TABLE_TRUNCATED | PAXOS_TABLE_CHANGED | PAXOS_TABLE_EXCLUSIVE |
			(set->truncations[i].restarts ? PAXOS_TABLE_RESTARTED : 0);
	s->rows.body.tables = palloc0(sizeof(PaxosSetTable) * set->n_tables);
	s->open = palloc0(sizeof(OpenTable) * set->n_tables);
	s->number = palloc0(sizeof(int) * set->n_tables);
	for (int i = 0; i < set->n_tables; i++)
	{
		const PaxosCaptureTable *t = &set->tables[i];

		hold[i] |= t->hold | (many ? t->rows : 0);
		if (hold[i] == 0)
			continue;
		s->number[i] = s->rows.body.n_tables;
		s->rows.body.tables[s->rows.body.n_tables].table_id = t->table_id;
		s->rows.body.tables[s->rows.body.n_tables++].hold = hold[i];
	}
}

/*
 * The set; or what is left of it when it has been sent in parts: then those say what
 * becomes of rows, and on which it depends.
 */
static PaxosWriteSet
put_together(PaxosCapture *set)
{
	Sending s = {set};
	PaxosWriteSet *w = &s.rows.body;
	bool many = set->more_changes != NULL || set->more_keys != NULL;

	paxos_part_begin_rows(&s.rows, set->cxt);
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
			PaxosCaptureChange c = {(int) (tag & 0xffff), (uint8) (tag >> 16), (uint32) record.len,
									record.data};

			add_row(&s, &c);
		}
	}
	if (s.n_parts > 0 || many)
	{
		send_rows(&s);
		send_keys(&s);
		for (int i = 0; i < w->n_tables; i++)
		{
			if ((w->tables[i].hold & (PAXOS_TABLE_CHANGED | PAXOS_TABLE_LOCKED)) != 0)
				w->tables[i].hold |= PAXOS_TABLE_MANY;
		}
	}
	else
	{
		memcpy(w->n_keys, set->n_keys, sizeof(w->n_keys));
		memcpy(w->keys, set->keys, sizeof(w->keys));
	}
	for (int i = 0; i < set->n_tables; i++)
	{
		if (s.open[i].rel != NULL)
			close_table(&s.open[i]);
	}
	w->parts_of = s.parts_of;
	w->n_parts = s.n_parts;
	paxos_capture_close_files(set);
	return *w;
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
to_be_proposed(const PaxosCapture *set)
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
propose(PaxosCapture *set)
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
	*w = put_together(set);
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
	paxos_capture_forget();
}

/*
 * Its parts need not be kept.  If the set itself is on its way, this comes behind it, and
 * finds it decided.
 */
static void
give_up_parts(void)
{
	if (parts_sent != 0)
		paxos_part_give_up(parts_sent);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	PaxosCapture *set = paxos_capture_current();

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (to_be_proposed(set))
				propose(set);
			else if (set != NULL)
				paxos_capture_close_files(set);
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
	if (event == SUBXACT_EVENT_ABORT_SUB)
		paxos_capture_cut_off(my_subid);
}

/* ------------------------------------------------------------------
 * Made to make way in the middle of a statement
 * ------------------------------------------------------------------
 */

/* In PG_CATCH: the cancellation that the learner sent with its mark is 40001. */
static void
say_why(MemoryContext caller)
{
	if (in_turn || geterrcode() != ERRCODE_QUERY_CANCELED ||
		paxos_turn_doomed() == PAXOS_NOT_DOOMED)
		return;
	MemoryContextSwitchTo(caller);
	FlushErrorState();
	paxos_turn_raise();
}

/*
 * The cancellation can also strike where no hook of ours is around it, as in the parser, or who
 * has no set, and no mark that comes again: then it is renamed on its way out, where no PL/pgSQL
 * can catch it and go on in the way.  (A server that does not log errors, by log_min_messages,
 * does not come by here; its client hears 57014.)
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
	edata->detail = MemoryContextStrdup(edata->assoc_context, PAXOS_DOOMED_DETAIL);
	edata->hint = MemoryContextStrdup(edata->assoc_context, PAXOS_DOOMED_HINT);
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
