/*
 * paxos_execute.c
 *	  Carries out the value of one slot, command by command, inside the learner's
 *	  transaction (protocol.md §§ 5, 6): whether an origin batch is executed, whether a
 *	  command's id was seen before, whether a write set is certified; and whether an error
 *	  is the command's result.
 *
 * Owns: the command that is being carried out, and its memory; the apply context with the
 * relations open for it.  It changes the replicated state and the outcome it was
 * handed by paxos_execute_begin(), and keeps neither beyond paxos_execute_end() or
 * paxos_execute_abort().
 *
 * Not its business: which slots, in which transaction, and whether they are tried again;
 * the turn of a session with a write set; what sessions are told (paxos_learner.c does all
 * that, after the commit); what a command does to rows and catalogs (paxos_apply.c,
 * paxos_apply_set.c, paxos_ddl_apply.c); the window and the parts of sets
 * (paxos_window.c, paxos_part.c).
 *
 * States: outside of a transaction there is neither state nor outcome; inside, one slot
 * after the other is carried out, or one set judged and nothing else done.
 *
 * A command runs as it is or, where its errors can be its result, in a subtransaction
 * of its own: definitions and verifications always, keyed operations only when their slot
 * is run carefully, because one of them threw when it was run without.  Who calls asks then, with
 * paxos_execute_error_is_result(), whether that is a matter of the command or of this
 * node; so what the question depends on (what kind of command threw, what it said
 * of itself) outlives the abort, up to the next paxos_execute_begin().
 *
 * Invariants:
 * - What is done here depends on the log and on the tables as the slots before left them,
 *	 and on nothing else: the same on every node.  The digest, into which every command
 *	 and its answer is folded, is how nodes find out that it was not.
 * - Results are made only for commands of this node, in the caller's memory, and are
 *	 told by nobody before the commit.
 *
 * A crash loses the transaction with all of this; the slot is carried out again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "paxos_apply.h"
#include "paxos_divergence.h"
#include "paxos_execute.h"
#include "paxos_key.h"
#include "paxos_method.h"
#include "paxos_node.h"
#include "paxos_part.h"
#include "paxos_queue.h"
#include "paxos_request.h"
#include "paxos_turn.h"
#include "paxos_verify.h"
#include "paxos_window.h"

/* ---- the learner's transaction; between paxos_execute_begin() and its end ---- */

static PaxosReplicated *working = NULL;
static PaxosOutcome *outcome = NULL;
static MemoryContext result_cxt = NULL; /* results on their way out */
static PaxosApply *apply = NULL;        /* open in it, or NULL */
static bool only_judging = false;       /* what is certified is not applied */

/* ---- the command at hand ---- */

static MemoryContext command_cxt = NULL;
static uint32 at_command = 0;                     /* for errors */
static const px_command_view *own_command = NULL; /* of this node */
static bool set_alone = false; /* a write set may stand where the command stands */

/* What decides whether its error is its result. */
static bool decided = false;   /* paxos_err_decided() since it began */
static bool in_keyed = false;  /* inside a keyed operation (or thrown out of one) */
static bool in_verify = false; /* the same of a verification */
static bool in_set = false;    /* the same of a write set */

int
paxos_err_decided(void)
{
	decided = true;
	return 0;
}

void
paxos_err_forget(void)
{
	decided = false;
}

bool
paxos_err_was_decided(void)
{
	return decided;
}

/* What a set says of tables and rows.  Its parts were folded in at their slots. */
static uint64
fold_set(uint64 digest, const PaxosWriteSet *set)
{
	for (int i = 0; i < set->n_tables; i++)
	{
		digest = paxos_digest_fold(digest, (uint64) set->tables[i].table_id);
		digest = paxos_digest_fold(digest, set->tables[i].hold);
	}
	for (int i = 0; i < set->n_rows; i++)
	{
		const PaxosSetRow *row = &set->rows[i];

		digest = paxos_digest_fold(digest, (uint64) set->tables[row->table].table_id);
		for (int j = 0; j < row->n_key; j++)
			digest = paxos_digest_text(digest, row->key[j].text);
		for (int j = 0; j < row->n_row; j++)
			digest = paxos_digest_text(digest, row->row[j].isnull ? NULL : row->row[j].text);
	}
	return digest;
}

/*
 * What a command did and answered.  Of a failure only its SQLSTATE: texts differ
 * between versions.  The row before is folded where it vanishes; elsewhere the
 * row after has every column that was kept.
 */
static uint64
fold_result(uint64 digest, const PaxosCommand *command, const PaxosCommandResult *r)
{
	int kind = command == NULL                        ? 0
			   : command->kind == PAXOS_COMMAND_KEYED ? (int) command->u.keyed.verb
			   : command->kind == PAXOS_COMMAND_DDL   ? 0x10 + (int) command->u.ddl.kind
			   : command->kind == PAXOS_COMMAND_LIST  ? 0x30
			   : command->kind == PAXOS_COMMAND_SET   ? 0x40
			   : command->kind == PAXOS_COMMAND_TXN   ? 0x50
			   : command->kind == PAXOS_COMMAND_PART  ? 0x41
													  : 0x20;

	digest = paxos_digest_fold(digest, (uint64) kind | (uint64) r->failed << 8 |
										   (uint64) r->applied << 9 | (uint64) r->existed << 10 |
										   (uint64) r->replayed << 11 |
										   (uint64) (uint32) r->sqlstate << 32);
	digest = paxos_digest_fold(digest, (uint64) r->table_id);
	digest = paxos_digest_fold(digest, r->decided_at);
	if (r->failed)
		return digest;
	if (command->kind == PAXOS_COMMAND_DDL)
		return paxos_digest_text(digest, command->u.ddl.sql);
	for (int i = 0; i < r->n_parts; i++)
	{
		const PaxosResultPart *part = &r->parts[i];

		digest =
			paxos_digest_fold(digest, (uint64) part->applied << 9 | (uint64) part->existed << 10);
		digest = paxos_digest_text(digest, part->current != NULL ? part->current : part->previous);
	}
	if (command->kind == PAXOS_COMMAND_SET)
		return fold_set(digest, &command->u.set);
	if (command->kind == PAXOS_COMMAND_PART)
		return fold_set(paxos_digest_fold(digest, command->u.part.number), &command->u.part.body);
	return paxos_digest_text(digest, r->current != NULL ? r->current : r->previous);
}

/*
 * ---- one command ----
 */

/*
 * Errors outside of the classes below that built-in functions raise of values: no
 * tsquery; elements of an array that cannot be ordered, or are searched for in two
 * dimensions.  What a keyed operation or the rows under a new index evaluate is
 * built in, on every node of one major version alike (paxos_ddl.c sees to it), so
 * this is no opinion of this node.  Taken for one, a single row would stop every
 * learner for ever.  But a server built without libxml says 0A000 of its own.
 */
bool
paxos_error_of_values(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_SYNTAX_ERROR:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_DATATYPE_MISMATCH:
		case ERRCODE_INDETERMINATE_COLLATION:
			return true;
		case ERRCODE_FEATURE_NOT_SUPPORTED:
#ifdef USE_LIBXML
			return true;
#else
			return false;
#endif
		default:
			return false;
	}
}

/*
 * Two met in a unique index of the catalogs: somebody here is making a thing of the name
 * that DDL needs.  That is this node's own, and never what all nodes would answer.
 */
bool
paxos_error_of_catalogs(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && edata->schema_name != NULL &&
		   strcmp(edata->schema_name, "pg_catalog") == 0;
}

/*
 * Is this error what the command itself deserves, on every node alike
 * (protocol.md § 6)?  Exactly 54000: the stack depth (54001) is a local matter.
 */
bool
paxos_execute_error_is_result(const ErrorData *edata)
{
	/* What the origin has checked, and may have committed, cannot fail by itself. */
	if (edata->elevel != ERROR || in_set)
		return false;

	/* A table that cannot be read is what a verification is there to find. */
	if (in_verify && ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
		return true;
	if (decided)
		return true;

	if (paxos_error_of_catalogs(edata))
		return false;
	if (edata->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		return true;
	if (in_keyed && paxos_error_of_values(edata->sqlerrcode))
		return true;
	if (in_keyed && paxos_evaluating && edata->sqlerrcode == ERRCODE_INTERNAL_ERROR)
		return true;
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case ERRCODE_CARDINALITY_VIOLATION:          /* class 21 */
		case ERRCODE_DATA_EXCEPTION:                 /* 22 */
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION: /* 23 */
		case ERRCODE_WITH_CHECK_OPTION_VIOLATION:    /* 44 */
		case ERRCODE_PLPGSQL_ERROR:                  /* P0 */
			return true;
		default:
			return false;
	}
}

static void
result_of_error(const ErrorData *edata, int64 table_id, PaxosCommandResult *result)
{
	memset(result, 0, sizeof(*result));
	result->failed = true;
	result->table_id = table_id;
	result->sqlstate = edata->sqlerrcode;
	result->message = edata->message;
	result->detail = edata->detail;
	result->hint = edata->hint;
	result->schema_name = edata->schema_name;
	result->table_name = edata->table_name;
	result->column_name = edata->column_name;
	result->datatype_name = edata->datatype_name;
	result->constraint_name = edata->constraint_name;
}

static void
close_apply(void)
{
	PaxosApply *a = apply;

	apply = NULL;
	if (a != NULL)
		paxos_apply_end(a);
}

static bool
is_keyed(const PaxosCommand *command)
{
	return command->kind == PAXOS_COMMAND_KEYED || command->kind == PAXOS_COMMAND_LIST ||
		   command->kind == PAXOS_COMMAND_TXN;
}

/* It cannot fail by itself. */
static bool
is_set(const PaxosCommand *command)
{
	return command->kind == PAXOS_COMMAND_SET || command->kind == PAXOS_COMMAND_PART;
}

static void
open_apply(void)
{
	MemoryContext old = MemoryContextSwitchTo(result_cxt);

	if (apply == NULL)
		apply = paxos_apply_begin();
	MemoryContextSwitchTo(old);
}

/* Its lock keeps every writer of its tables away. */
static const uint64 *
keys_of_ddl(const PaxosDdlOp *op, int *n)
{
	uint64 *keys = palloc(sizeof(uint64) * (2 * op->n_tables + 1));

	*n = 0;
	if (op->kind == PAXOS_DDL_NOTE || op->kind == PAXOS_DDL_CREATE_OBJECT ||
		(op->kind == PAXOS_DDL_ALTER_OBJECT && (op->flags & PAXOS_DDL_VALUES) == 0))
		return keys; /* keeps nobody away */
	for (int i = 0; i < op->n_tables; i++)
	{
		keys[(*n)++] = paxos_key_whole(op->table_ids[i]);
		keys[(*n)++] = paxos_key_any(op->table_ids[i]);
	}
	return keys;
}

/*
 * What a large set depends on stands in its parts.  Its base was let pass, so each of
 * them is judged as the set is.
 */
static px_certificate
judge_parts(const PaxosWriteSet *set, px_slot slot, px_node origin, bool *overtaken)
{
	px_certificate verdict = PX_CERTIFIED;
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos part", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);

	for (uint32 number = 1; number <= set->n_parts && verdict == PX_CERTIFIED; number++)
	{
		PaxosWriteSet body;

		if (paxos_part_read(working, origin, set->parts_of, number, true, &body))
		{
			body.base = set->base;
			body.snapshot = set->snapshot;
			verdict = paxos_window_judge(working, slot, &body, overtaken);
		}
		MemoryContextReset(cxt);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
	return verdict;
}

/*
 * The verdict is a matter of the log alone: no row is looked at, no lock taken.  The
 * origin's own transaction, if it is still there, has been given its turn instead
 * (paxos_learner.c); when that is no more, its set is applied here like any other.  A session
 * that could wait yet must not: it would be found in the way, and be told that it lost.
 */
static void
execute_set(const PaxosWriteSet *set, px_slot slot, px_node origin, PaxosCommandResult *result)
{
	bool overtaken;
	bool complete =
		set->n_parts == 0 || paxos_part_complete(working, origin, set->parts_of, set->n_parts);
	px_certificate verdict = paxos_window_judge(working, slot, set, &overtaken);
	uint64 *changed;
	int n;

	if (verdict == PX_CERTIFIED && !complete)
		verdict = PX_LOST;
	else if (verdict == PX_CERTIFIED && set->n_parts > 0)
		verdict = judge_parts(set, slot, origin, &overtaken);
	memset(result, 0, sizeof(*result));
	if (verdict != PX_CERTIFIED)
	{
		result->failed = true;
		result->sqlstate =
			verdict == PX_LOST ? ERRCODE_T_R_SERIALIZATION_FAILURE : ERRCODE_SNAPSHOT_TOO_OLD;
		result->message =
			pstrdup("could not serialize access due to a concurrent change on another node");
		if (verdict == PX_LOST && !overtaken)
			result->detail = pstrdup(
				complete ? "It is not known what was changed since the transaction's snapshot."
						 : "Parts of its write set are gone.");
		result->hint = pstrdup("The transaction might succeed if retried.");
		if (verdict == PX_LOST && set->n_parts > 0 && !only_judging)
			paxos_part_finish(working, origin, set->parts_of);
		return;
	}
	result->applied = true;
	if (only_judging)
	{
		MemoryContext old = MemoryContextSwitchTo(result_cxt);

		outcome->certified_keys = paxos_window_keys_of_set(set, &outcome->n_certified_keys);
		outcome->certified_parts = set->parts_of;
		MemoryContextSwitchTo(old);
		return;
	}
	if (own_command != NULL)
		paxos_queue_disown(own_command->cell, own_command->generation);
	changed = paxos_window_keys_of_set(set, &n);
	if (paxos_apply_truncates(set))
	{
		/* a table that is open cannot be */
		close_apply();
		paxos_apply_truncate(set, changed, n);
	}
	open_apply();
	paxos_apply_set(apply, working, origin, set, changed, n);
	paxos_window_note(working, slot, changed, n);
	if (set->n_parts > 0)
		paxos_part_finish(working, origin, set->parts_of);
}

static void
execute_part(const PaxosSetPart *part, px_node origin, px_bytes bytes, PaxosCommandResult *result)
{
	memset(result, 0, sizeof(*result));
	if (part->number == 0 && origin == paxos_shared->node_id)
	{
		close_apply(); /* a table may be dropped */
		paxos_becoming_given_up(part->set);
	}
	result->applied = paxos_part_store(working, origin, part, (const char *) bytes.data, bytes.len);
	if (result->applied)
		return;
	result->failed = true;
	result->sqlstate = ERRCODE_T_R_SERIALIZATION_FAILURE;
	result->message = pstrdup("parts of the transaction's write set are gone");
	result->detail = pstrdup("The paxos proposer of this node was restarted meanwhile, or the "
							 "transaction took too long.");
	result->hint = pstrdup("The transaction might succeed if retried.");
}

/*
 * A command that could have ended local transactions counts as having changed what
 * it meant to, whatever became of it: their sessions have been told that they lost.
 */
static void
note_changes(const PaxosCommand *command, px_slot slot)
{
	const uint64 *changed;
	int n;

	if (is_keyed(command))
	{
		changed = paxos_apply_changed(&n);
		paxos_window_note(working, slot, changed, n);
	}
	else if (command->kind == PAXOS_COMMAND_DDL)
	{
		changed = keys_of_ddl(&command->u.ddl, &n);
		paxos_window_note(working, slot, changed, n);
	}
}

static void
execute(const PaxosCommand *command, px_slot slot, uint32 index, px_node origin, px_bytes bytes,
		bool want_previous, PaxosCommandResult *result)
{
	decided = false;
	paxos_turn_changing(NULL, 0);
	in_keyed = is_keyed(command);
	in_verify = command->kind == PAXOS_COMMAND_VERIFY;
	in_set = is_set(command);
	switch (command->kind)
	{
		case PAXOS_COMMAND_KEYED:
		case PAXOS_COMMAND_LIST:
		case PAXOS_COMMAND_TXN:
			open_apply();
			if (command->kind == PAXOS_COMMAND_KEYED)
				paxos_apply_keyed(apply, &command->u.keyed, want_previous, result);
			else if (command->kind == PAXOS_COMMAND_TXN)
				paxos_apply_txn(apply, &command->u.txn, want_previous, result);
			else
				paxos_apply_list(apply, &command->u.list, want_previous, result);
			break;
		case PAXOS_COMMAND_DDL:
			memset(result, 0, sizeof(*result));
			{
				int n;
				const uint64 *keys = keys_of_ddl(&command->u.ddl, &n);

				paxos_turn_changing(keys, n);
			}
			paxos_ddl_apply(&command->u.ddl, slot, index, working, origin);
			result->applied = true;
			outcome->new_definitions = true;
			break;
		case PAXOS_COMMAND_VERIFY:
			paxos_verify_apply(&command->u.verify, result);
			break;
		case PAXOS_COMMAND_SET:
			execute_set(&command->u.set, slot, origin, result);
			break;
		case PAXOS_COMMAND_PART:
			execute_part(&command->u.part, origin, bytes, result);
			break;
	}
	in_keyed = false;
	in_verify = false;
	in_set = false;
}

static void
execute_in_subtransaction(const PaxosCommand *command, px_slot slot, uint32 index, px_node origin,
						  px_bytes bytes, bool want_previous, PaxosCommandResult *result)
{
	MemoryContext old = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	/*
	 * Relations opened outside belong to the outer transaction: DDL inside would
	 * find its table in use by it.
	 */
	close_apply();

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(old);
	PG_TRY();
	{
		execute(command, slot, index, origin, bytes, want_previous, result);
		close_apply();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *edata;

		MemoryContextSwitchTo(old);
		edata = CopyErrorData();
		FlushErrorState();

		/* Its relations and pins go with the subtransaction, its memory with
		 * the batch. */
		apply = NULL;
		paxos_apply_forget();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(old);
		CurrentResourceOwner = owner;

		if (!paxos_execute_error_is_result(edata))
			ReThrowError(edata);
		result_of_error(edata,
						command->kind == PAXOS_COMMAND_KEYED  ? command->u.keyed.table_id
						: command->kind == PAXOS_COMMAND_LIST ? command->u.list.ops[0].table_id
															  : 0,
						result);
	}
	PG_END_TRY();
}

/*
 * One command of an origin batch that is executed.  Its result, encoded and in
 * result_cxt, is made only when somebody here waits for it.
 */
static char *
run_command(px_bytes bytes, px_slot slot, uint32 index, px_node origin, bool careful, bool wanted,
			bool *remembered, Size *len)
{
	MemoryContext old;
	PaxosCommand command;
	PaxosCommandResult result;
	bool decodes;
	char *encoded = NULL;

	MemoryContextReset(command_cxt);
	old = MemoryContextSwitchTo(command_cxt);
	at_command = index;

	/*
	 * Written by a node that is newer than this one knew (it went back to an older
	 * build).  "Could not be decoded" would be this node's result alone.
	 */
	if (bytes.len > 0 && bytes.data[0] > paxos_protocol_max)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the command is of format version %d, this node reads versions up "
							   "to %d: install a newer version of paxos_ext here",
							   bytes.data[0], paxos_protocol_max)));
	decodes = paxos_command_decode((const char *) bytes.data, bytes.len, &command);
	if (!decodes)
	{
		memset(&result, 0, sizeof(result));
		result.failed = true;
		result.sqlstate = ERRCODE_PROTOCOL_VIOLATION;
		result.message = pstrdup("the command could not be decoded");
		result.detail = psprintf("It has %u bytes.", bytes.len);
	}
	else if (!command.has_request_id ||
			 !paxos_request_find(&command.request_id, working->log_time_us, &working->requests,
								 &result))
	{
		/* an id seen again needs the row before as well: the result is kept */
		if (command.kind == PAXOS_COMMAND_SET && !set_alone)
		{
			memset(&result, 0, sizeof(result));
			result.failed = true;
			result.sqlstate = ERRCODE_PROTOCOL_VIOLATION;
			result.message = pstrdup("a write set must be alone in its slot");
		}
		else if (!is_set(&command) && (careful || !is_keyed(&command)))
			execute_in_subtransaction(&command, slot, index, origin, bytes,
									  wanted || command.has_request_id, &result);
		else
			execute(&command, slot, index, origin, bytes, wanted || command.has_request_id,
					&result);
		/* it stands in the command's memory, which goes with the command */
		paxos_turn_changing(NULL, 0);
		note_changes(&command, slot);
		result.decided_at = slot;
		if (command.kind == PAXOS_COMMAND_VERIFY)
			paxos_verify_keep(&command.u.verify, slot, &result);

		/* What is to be sent again, under the same id, has had no effect. */
		if (command.has_request_id &&
			!(result.failed && result.sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE))
		{
			CommandCounterIncrement();
			paxos_request_remember(&command, slot, index, working->log_time_us, &result,
								   &working->requests);
			*remembered = true;
		}
	}
	if (!decodes)
		result.decided_at = slot;
	CommandCounterIncrement();

	working->digest = fold_result(working->digest, decodes ? &command : NULL, &result);
	outcome->commands++;
	if (result.failed)
		outcome->errors++;
	else if (!result.applied)
		outcome->not_met++;

	if (wanted)
	{
		MemoryContextSwitchTo(result_cxt);
		encoded = paxos_result_encode(&result, len);
	}
	MemoryContextSwitchTo(old);
	return encoded;
}

/*
 * ---- one slot ----
 */

/*
 * Judged here, told after the commit.  The last sequence of the old incarnation is final
 * from here on: whatever of it comes later is stale.
 */
static void
settle(const px_origin *old, uint64 new_incarnation)
{
	MemoryContext caller = MemoryContextSwitchTo(result_cxt);
	PaxosSettlement *s = palloc(sizeof(PaxosSettlement));

	s->old_incarnation = old->incarnation;
	s->old_last = old->last;
	s->new_incarnation = new_incarnation;
	outcome->settlements = lappend(outcome->settlements, s);
	MemoryContextSwitchTo(caller);
}

/*
 * Who is no member is no origin; it has governed since it is known chosen, applied or not.
 * If that is this node, what its sessions wait for has never taken effect, nor will it.
 */
static void
apply_configuration(const px_config *config)
{
	px_node self = paxos_shared->node_id;
	px_origin before = px_origins_get(&working->origins, self);

	if (px_config_removed(config, self))
		settle(&before, PAXOS_NO_MORE_INCARNATIONS);
	px_origins_configure(&working->origins, config);
}

static void
apply_batch(const px_batch_view *batch, px_slot slot, uint32 *index, bool careful, bool *remembered)
{
	px_node self = paxos_shared->node_id;
	bool own = batch->origin == self;
	px_origin before = px_origins_get(&working->origins, batch->origin);
	px_verdict verdict =
		px_origins_judge(&working->origins, batch->origin, batch->incarnation, batch->sequence);
	px_origin after = px_origins_get(&working->origins, batch->origin);
	px_command_view command;
	uint32_t pos = 0;
	uint32 in_batch = 0;

	working->digest =
		paxos_digest_fold(working->digest, (uint64) batch->origin | (uint64) verdict << 16);
	working->digest = paxos_digest_fold(working->digest, batch->incarnation);
	working->digest = paxos_digest_fold(working->digest, batch->sequence);

	if (own && after.incarnation != before.incarnation)
		settle(&before, after.incarnation);
	if (own && verdict == PX_GAP)
		outcome->gaps++;

	if (verdict != PX_EXECUTE)
	{
		if (paxos_trace_level >= PAXOS_TRACE_MESSAGES)
			ereport(LOG, (errmsg("paxos learner: slot " UINT64_FORMAT ": batch " UINT64_FORMAT
								 "." UINT64_FORMAT " of node %u skipped: %s",
								 slot, batch->incarnation, batch->sequence, batch->origin,
								 px_verdict_name(verdict))));
		*index += batch->n_commands;
		return;
	}

	set_alone = batch->alone && batch->n_commands == 1;
	while (px_batch_next_command(batch, &pos, &command))
	{
		Size len = 0;
		char *result;

		own_command = own ? &command : NULL;
		result =
			run_command(command.bytes, slot, *index, batch->origin, careful, own, remembered, &len);
		if (own)
		{
			MemoryContext old = MemoryContextSwitchTo(result_cxt);
			PaxosDelivery *d = palloc(sizeof(PaxosDelivery));

			d->cell = command.cell;
			d->generation = command.generation;
			d->incarnation = batch->incarnation;
			d->sequence = batch->sequence;
			d->index = in_batch;
			d->decided_at = slot;
			d->result = result;
			d->len = len;
			outcome->deliveries = lappend(outcome->deliveries, d);
			MemoryContextSwitchTo(old);
		}
		(*index)++;
		in_batch++;
	}
}

void
paxos_execute_value(px_slot slot, const px_value_view *view, bool careful)
{
	uint32_t pos = 0;
	uint32 index = 0;
	bool remembered = false;
	px_batch_view batch;
	px_config config;

	working->applied = slot;
	paxos_window_slot(working, slot);

	/* Log time never decreases, whatever a leader's clock did. */
	working->log_time_us = Max(working->log_time_us, view->log_time_us);
	working->digest = paxos_digest_fold(working->digest, slot);
	working->digest = paxos_digest_fold(working->digest, (uint64) view->kind);
	working->digest = paxos_digest_fold(working->digest, working->log_time_us);

	switch (view->kind)
	{
		case PX_VALUE_NOOP:
			break;
		case PX_VALUE_CONFIG:
			if (!px_value_config(view, slot, &config))
				elog(ERROR, "slot " UINT64_FORMAT " holds no valid configuration", slot);
			apply_configuration(&config);
			break;
		case PX_VALUE_BATCHES:
			while (px_value_next_batch(view, &pos, &batch))
				apply_batch(&batch, slot, &index, careful, &remembered);
			break;
	}
	if (remembered)
	{
		CommandCounterIncrement();
		paxos_request_forget(working->log_time_us, &working->requests);
	}
	outcome->digests[outcome->slots++] = working->digest;
	at_command = 0;
}

/*
 * ---- the learner's side ----
 */

void
paxos_execute_begin(PaxosReplicated *state, PaxosOutcome *to_tell, MemoryContext results)
{
	if (command_cxt == NULL)
		command_cxt = AllocSetContextCreate(TopMemoryContext, "paxos learner command",
											ALLOCSET_DEFAULT_SIZES);
	working = state;
	outcome = to_tell;
	result_cxt = results;
	at_command = 0;
	in_keyed = false;
	in_verify = false;
	in_set = false;
	paxos_turn_changing(NULL, 0);
}

void
paxos_execute_judge(px_slot slot, const px_value_view *view)
{
	only_judging = true;
	paxos_execute_value(slot, view, false);
	only_judging = false;
}

void
paxos_execute_end(void)
{
	close_apply();
	working = NULL;
	outcome = NULL;
}

void
paxos_execute_abort(void)
{
	apply = NULL;
	paxos_apply_forget();
	paxos_turn_changing(NULL, 0);
	only_judging = false;
	working = NULL;
	outcome = NULL;
	if (command_cxt != NULL)
		MemoryContextReset(command_cxt);
}

uint32
paxos_execute_at_command(void)
{
	return at_command;
}
