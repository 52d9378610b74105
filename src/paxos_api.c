/*
 * paxos_api.c
 *	  What users call: paxos_insert_if_not_exists(), paxos_cas() and their kin,
 *	  the key-value functions, paxos_barrier() and paxos_outcome().
 *
 * A writing function does, in this order: refuse where its effect could not be
 * taken back with the transaction around it; look the table up; turn JSON into
 * columns, checking names, types and the caller's privileges; evaluate the
 * defaults of an insert, once and here; give up the locks it took; hand the
 * encoded command to the log and wait (paxos_queue.h); translate the outcome.
 * Everything that depends on this session - its TimeZone, its DateStyle, its
 * clock, its sequences, its random numbers - is settled before the command is
 * encoded: what travels is text as the type's output function writes it under
 * one fixed set of settings, so that it means the same on every node
 * (protocol.md § 6).
 *
 * Not this file's business: how a command travels and comes back
 * (paxos_queue.c), what it does at its slot (paxos_apply.c), and statements
 * (paxos_ddl.c); what is known about a table (paxos_api_table.c) and how JSON is read
 * (paxos_api_json.c).
 *
 * No state.
 *
 * Privileges are the caller's, checked before the command is sent: a condition
 * reads (SELECT on the column), a set writes (UPDATE on it; both for += and -=,
 * which read what they add to), naming a row of UPDATE or DELETE reads its key.
 * The images of the row before and after are returned only to a caller who may
 * read all of it, and so is the DETAIL of an error, for it quotes values.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "paxos_api.h"
#include "paxos_api_int.h"
#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_ddl.h"
#include "paxos_ext.h"
#include "paxos_queue.h"

PG_FUNCTION_INFO_V1(paxos_insert_if_not_exists);
PG_FUNCTION_INFO_V1(paxos_upsert);
PG_FUNCTION_INFO_V1(paxos_cas);
PG_FUNCTION_INFO_V1(paxos_update_if);
PG_FUNCTION_INFO_V1(paxos_delete_if);
PG_FUNCTION_INFO_V1(paxos_kv_put);
PG_FUNCTION_INFO_V1(paxos_kv_get);
PG_FUNCTION_INFO_V1(paxos_kv_cas);
PG_FUNCTION_INFO_V1(paxos_kv_delete);
PG_FUNCTION_INFO_V1(paxos_barrier);
PG_FUNCTION_INFO_V1(paxos_outcome);

/* May the caller see whole rows of this table? */
bool
paxos_may_see_rows(Oid relid)
{
	if (!OidIsValid(relid) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return false;
	if (check_enable_rls(relid, InvalidOid, true) == RLS_ENABLED)
		return false;
	return pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ALL) == ACLCHECK_OK;
}

/* ------------------------------------------------------------------
 * Submitting
 * ------------------------------------------------------------------
 */

/*
 * What a writing function does cannot be undone by rolling back around it, so
 * there must be nothing around it that could roll back and be believed.
 */
void
paxos_begin_write(const char *function)
{
	paxos_require_preload();

	if (IsTransactionBlock() || IsSubTransaction() || (MyXactFlags & XACT_FLAGS_PIPELINING) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s cannot run inside a transaction block or subtransaction", function),
				 errdetail("Its effect would outlive a rollback."),
				 errhint("Call it in a statement of its own.")));
	PreventCommandIfReadOnly(function);
	paxos_require_member();

	/*
	 * In a pipeline of the extended protocol an error of a later statement would
	 * seem to have rolled this one back: end the transaction with the statement,
	 * as for those of PostgreSQL's own that cannot be undone.
	 */
	MyXactFlags |= XACT_FLAGS_NEEDIMMEDIATECOMMIT;
}

static void
begin_read(const char *function)
{
	paxos_require_preload();

	if (IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("%s cannot run in a transaction with isolation level %s", function,
					XactIsoLevel == XACT_SERIALIZABLE ? "SERIALIZABLE" : "REPEATABLE READ"),
			 errdetail(
				 "The transaction's snapshot was taken before the call and would hide what the call waits for."),
			 errhint("Use READ COMMITTED.")));
	paxos_require_member();
}

static TupleDesc
result_descriptor(FunctionCallInfo fcinfo)
{
	TupleDesc desc = fcinfo->flinfo->fn_extra;

	if (desc == NULL)
	{
		MemoryContext old;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		desc = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
		fcinfo->flinfo->fn_extra = desc;
	}
	return desc;
}

/*
 * A row's image.  Not every json is a jsonb (a NUL character, say), but the
 * command has been decided, and an error would say that it has failed.
 */
void
paxos_api_image(const char *json, bool visible, Datum *value, bool *isnull)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool failed = false;

	*isnull = json == NULL || !visible;
	if (*isnull)
		return;
	PG_TRY();
	{
		*value = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	}
	PG_CATCH();
	{
		int sqlstate = geterrcode();

		if (ERRCODE_TO_CATEGORY(sqlstate) != ERRCODE_DATA_EXCEPTION &&
			sqlstate != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		failed = true;
	}
	PG_END_TRY();
	if (failed)
	{
		*isnull = true;
		ereport(WARNING,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("the row cannot be shown as jsonb"),
				 errdetail(
					 "The command was decided all the same: what else the result says is true.")));
	}
}

px_slot
paxos_api_submit(const PaxosCommand *command, PaxosCommandResult *result)
{
	px_slot decided_at;
	Size len;
	char *bytes = paxos_command_encode(command, &len);

	bytes = paxos_submit(bytes, len, command->has_request_id ? &command->request_id : NULL, &len,
						 &decided_at);
	if (!paxos_result_decode(bytes, len, result))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the result of a command cannot be read")));
	return result->decided_at != 0 ? result->decided_at : decided_at;
}

bool
paxos_api_call(FunctionCallInfo fcinfo, int request_arg, PaxosCommand *command,
			   PaxosCommandResult *result, px_slot *slot)
{
	if (!PG_ARGISNULL(request_arg))
	{
		command->has_request_id = true;
		command->request_id = *PG_GETARG_UUID_P(request_arg);
		command->request_retention_us = (uint64) paxos_request_retention_s * 1000000;
	}
	*slot = paxos_api_submit(command, result);
	if (!result->failed || result->sqlstate != ERRCODE_T_R_SERIALIZATION_FAILURE)
		return true;
	CHECK_FOR_INTERRUPTS();
	AcceptInvalidationMessages();
	return false;
}

/* Send a keyed operation, wait, and make a paxos_result of what came back. */
static Datum
submit_keyed(FunctionCallInfo fcinfo, Oid relid, PaxosKeyedOp *op, int request_arg)
{
	PaxosCommand command = {0};
	PaxosCommandResult result;
	px_slot slot;
	bool visible;
	Datum values[6] = {0};
	bool nulls[6] = {0};

	command.kind = PAXOS_COMMAND_KEYED;
	command.u.keyed = *op;
	if (!paxos_api_call(fcinfo, request_arg, &command, &result, &slot))
		return FunctionCallInvoke(fcinfo);

	/*
	 * A result remembered under a request id is that of the first call, which
	 * may have been about another table, by another role.
	 */
	if (result.replayed)
		relid = result.table_id == 0 ? InvalidOid : paxos_table_relid(result.table_id);
	visible = paxos_may_see_rows(relid);

	if (result.failed)
	{
		if (!visible)
			result.detail = NULL;
		paxos_result_raise(&result);
	}

	values[0] = BoolGetDatum(result.applied);
	values[1] = BoolGetDatum(result.existed);
	values[2] = Int64GetDatum((int64) slot);
	paxos_api_image(result.previous, visible, &values[3], &nulls[3]);
	paxos_api_image(result.current, visible, &values[4], &nulls[4]);
	if (command.has_request_id)
		values[5] = UUIDPGetDatum(&command.request_id);
	else
		nulls[5] = true;

	return HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values, nulls));
}

static void
op_key(PaxosKeyedOp *op, const PaxosApiList *list)
{
	op->n_key = list->n;
	op->key = list->at;
}

static void
op_row(PaxosKeyedOp *op, const PaxosApiList *list)
{
	op->n_row = list->n;
	op->row = list->at;
}

static void
op_sets(PaxosKeyedOp *op, const PaxosApiList *list)
{
	op->n_sets = list->n;
	op->sets = list->at;
}

static void
op_conditions(PaxosKeyedOp *op, const PaxosApiList *list)
{
	op->n_conditions = list->n;
	op->conditions = list->at;
}

static Jsonb *
json_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what)));
	return PG_GETARG_JSONB_P(n);
}

static Oid
table_arg(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("table must not be null")));
	return PG_GETARG_OID(0);
}

/* Begin an operation on a table, which comes back open (paxos_api_open). */
static PaxosApiTable *
open_for_op(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, Relation *rel)
{
	PaxosApiTable *t = paxos_api_open(relid, rel);

	paxos_api_refuse_row_security(t);
	if (paxos_needs_sets(*rel))
		paxos_refuse_triggers(*rel);
	memset(op, 0, sizeof(*op));
	op->table_id = t->table_id;
	op->definition = t->definition;
	op->verb = verb;
	return t;
}

/* Naming a row reads its key, and a condition what it compares. */
static void
add_condition(PaxosKeyedOp *op, PaxosApiTable *t, const PaxosApiList *key, const char *what,
			  Jsonb *json)
{
	paxos_api_need_columns(t, key, ACL_SELECT);
	if (json != NULL)
	{
		PaxosApiList conditions = paxos_api_conditions_from_json(t, what, true, json);

		paxos_api_need_columns(t, &conditions, ACL_SELECT);
		op_conditions(op, &conditions);
	}
}

/* ------------------------------------------------------------------
 * Tables
 * ------------------------------------------------------------------
 */

/* The operation is complete on return, and its table closed: nothing is locked. */
void
paxos_api_insert(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, const char *what, Jsonb *new_row)
{
	Relation rel;
	PaxosApiTable *t = open_for_op(op, verb, relid, &rel);
	PaxosApiList row = paxos_api_new_row(t, rel, paxos_api_row_from_json(t, what, new_row));
	PaxosApiList key = paxos_api_key_of_row(t, &row);

	op_key(op, &key);
	op_row(op, &row);
	relation_close(rel, AccessShareLock);
}

void
paxos_api_upsert(PaxosKeyedOp *op, Oid relid, const char *what, Jsonb *new_row)
{
	Relation rel;
	PaxosApiTable *t = open_for_op(op, PAXOS_VERB_UPSERT, relid, &rel);
	PaxosApiList given = paxos_api_row_from_json(t, what, new_row);
	PaxosApiList row = paxos_api_new_row(t, rel, given);
	PaxosApiList key = paxos_api_key_of_row(t, &row);
	PaxosApiList sets;

	/* An existing row gets just the columns the caller named. */
	sets.n = 0;
	sets.at = palloc_array(PaxosColumn, given.n + 1);
	sets.column = palloc_array(PaxosApiColumn *, given.n + 1);
	for (int i = 0; i < given.n; i++)
	{
		if (given.column[i]->is_key)
			continue;
		sets.at[sets.n] = given.at[i];
		sets.at[sets.n].op = PAXOS_SET_ASSIGN;
		sets.column[sets.n] = given.column[i];
		sets.n++;
	}
	paxos_api_need_columns(t, &sets, ACL_UPDATE);
	paxos_api_need_columns(t, &key, ACL_SELECT);
	op_key(op, &key);
	op_row(op, &row);
	op_sets(op, &sets);
	relation_close(rel, AccessShareLock);
}

void
paxos_api_update(PaxosKeyedOp *op, Oid relid, Jsonb *key_json, Jsonb *set_json, const char *what,
				 Jsonb *condition_json)
{
	Relation rel;
	PaxosApiTable *t = open_for_op(op, PAXOS_VERB_UPDATE, relid, &rel);
	PaxosApiList key = paxos_api_key_from_json(t, key_json);
	PaxosApiList sets = paxos_api_sets_from_json(t, "set", true, set_json, NULL);

	paxos_api_need_sets(t, &sets);
	op_key(op, &key);
	op_sets(op, &sets);
	add_condition(op, t, &key, what, condition_json);
	relation_close(rel, AccessShareLock);
}

void
paxos_api_look(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, Jsonb *key_json, const char *what,
			   Jsonb *condition_json)
{
	Relation rel;
	PaxosApiTable *t = open_for_op(op, verb, relid, &rel);
	PaxosApiList key = paxos_api_key_from_json(t, key_json);

	if (verb == PAXOS_VERB_DELETE)
		paxos_api_need_table(t, ACL_DELETE);
	if (verb == PAXOS_VERB_GET && !paxos_may_see_rows(relid))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->name);
	op_key(op, &key);
	add_condition(op, t, &key, what, condition_json);
	relation_close(rel, AccessShareLock);
}

/* paxos_insert_if_not_exists(tbl regclass, new_row jsonb, request_id uuid) */
Datum
paxos_insert_if_not_exists(PG_FUNCTION_ARGS)
{
	PaxosKeyedOp op;

	paxos_begin_write("paxos_insert_if_not_exists()");
	paxos_api_insert(&op, PAXOS_VERB_INSERT, table_arg(fcinfo), "new_row",
					 json_arg(fcinfo, 1, "new_row"));
	return submit_keyed(fcinfo, PG_GETARG_OID(0), &op, 2);
}

/* paxos_upsert(tbl regclass, new_row jsonb, request_id uuid) */
Datum
paxos_upsert(PG_FUNCTION_ARGS)
{
	PaxosKeyedOp op;

	paxos_begin_write("paxos_upsert()");
	paxos_api_upsert(&op, table_arg(fcinfo), "new_row", json_arg(fcinfo, 1, "new_row"));
	return submit_keyed(fcinfo, PG_GETARG_OID(0), &op, 2);
}

/* paxos_update_if(tbl regclass, key jsonb, set jsonb, condition jsonb, request_id uuid) */
Datum
paxos_update_if(PG_FUNCTION_ARGS)
{
	PaxosKeyedOp op;

	paxos_begin_write("paxos_update_if()");
	paxos_api_update(&op, table_arg(fcinfo), json_arg(fcinfo, 1, "key"), json_arg(fcinfo, 2, "set"),
					 "condition", json_arg(fcinfo, 3, "condition"));
	return submit_keyed(fcinfo, PG_GETARG_OID(0), &op, 4);
}

/* paxos_delete_if(tbl regclass, key jsonb, condition jsonb, request_id uuid) */
Datum
paxos_delete_if(PG_FUNCTION_ARGS)
{
	PaxosKeyedOp op;

	paxos_begin_write("paxos_delete_if()");
	paxos_api_look(&op, PAXOS_VERB_DELETE, table_arg(fcinfo), json_arg(fcinfo, 1, "key"),
				   "condition", json_arg(fcinfo, 2, "condition"));
	return submit_keyed(fcinfo, PG_GETARG_OID(0), &op, 3);
}

/*
 * paxos_cas(tbl regclass, key jsonb, expected jsonb, new jsonb, request_id uuid):
 * expected NULL: the row must not exist; new NULL: delete it.
 */
Datum
paxos_cas(PG_FUNCTION_ARGS)
{
	PaxosKeyedOp op;
	Relation rel;
	PaxosApiTable *t;
	PaxosApiList key, list;

	paxos_begin_write("paxos_cas()");
	t = open_for_op(&op, PAXOS_VERB_INSERT, table_arg(fcinfo), &rel);
	key = paxos_api_key_from_json(t, json_arg(fcinfo, 1, "key"));

	if (PG_ARGISNULL(2) && PG_ARGISNULL(3))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("expected and new must not both be null")));

	if (PG_ARGISNULL(2))
	{
		PaxosApiList given, row;

		/* The new columns, and the key's where they do not repeat it. */
		list = paxos_api_row_from_json(t, "new", PG_GETARG_JSONB_P(3));
		given.n = 0;
		given.at = palloc_array(PaxosColumn, list.n + key.n);
		given.column = palloc_array(PaxosApiColumn *, list.n + key.n);
		for (int i = 0; i < key.n; i++)
		{
			given.at[given.n] = key.at[i];
			given.column[given.n++] = key.column[i];
		}
		for (int i = 0; i < list.n; i++)
		{
			PaxosColumn *same = paxos_api_find(&key, list.column[i]);

			if (same == NULL)
			{
				given.at[given.n] = list.at[i];
				given.column[given.n++] = list.column[i];
			}
			else if (list.at[i].isnull || strcmp(same->text, list.at[i].text) != 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("key and new differ in primary key column \"%s\"",
									   list.column[i]->name)));
		}
		row = paxos_api_new_row(t, rel, given);
		op_row(&op, &row);
	}
	else
	{
		list = paxos_api_conditions_from_json(t, "expected", false, PG_GETARG_JSONB_P(2));
		paxos_api_need_columns(t, &key, ACL_SELECT);
		paxos_api_need_columns(t, &list, ACL_SELECT);
		op_conditions(&op, &list);
		if (PG_ARGISNULL(3))
		{
			paxos_api_need_table(t, ACL_DELETE);
			op.verb = PAXOS_VERB_DELETE;
		}
		else
		{
			list = paxos_api_sets_from_json(t, "new", false, PG_GETARG_JSONB_P(3), &key);
			paxos_api_need_sets(t, &list);
			op.verb = PAXOS_VERB_UPDATE;
			op_sets(&op, &list);
		}
	}
	relation_close(rel, AccessShareLock);

	op_key(&op, &key);
	return submit_keyed(fcinfo, t->relid, &op, 4);
}

/* ------------------------------------------------------------------
 * Key-value: the table paxos.kv, without the JSON detour
 * ------------------------------------------------------------------
 */

typedef struct KvOp
{
	PaxosApiTable *table;
	Relation rel;
	PaxosApiList key;
	PaxosApiList value; /* as set, row and condition have it */
	PaxosKeyedOp op;
} KvOp;

static void
kv_begin(FunctionCallInfo fcinfo, const char *function, KvOp *kv)
{
	paxos_begin_write(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("key must not be null")));

	memset(kv, 0, sizeof(*kv));
	kv->table = paxos_api_open(paxos_table_relid(PAXOS_KV_TABLE_ID), &kv->rel);
	paxos_api_refuse_row_security(kv->table);
	kv->key.n = 1;
	kv->key.at = palloc0_array(PaxosColumn, 1);
	kv->key.column = kv->table->key;
	paxos_api_put_text(kv->key.at, kv->table->key[0], text_to_cstring(PG_GETARG_TEXT_PP(0)));
	kv->op.table_id = kv->table->table_id;
	kv->op.definition = kv->table->definition;
	op_key(&kv->op, &kv->key);
}

static PaxosApiList
kv_value(KvOp *kv, Jsonb *json, uint8 op)
{
	PaxosApiList out;

	out.n = 1;
	out.at = palloc0_array(PaxosColumn, 1);
	out.column = palloc_array(PaxosApiColumn *, 1);
	out.column[0] = paxos_api_column(kv->table, "value", 5);
	if (out.column[0] == NULL)
		paxos_api_no_column(kv->table, "value", 5);
	paxos_api_put_text(out.at, out.column[0], JsonbToCString(NULL, &json->root, VARSIZE(json)));
	out.at[0].op = op;
	return out;
}

static void
kv_row(KvOp *kv, Jsonb *json)
{
	PaxosApiList value = kv_value(kv, json, 0);
	PaxosApiList row;

	row.n = 2;
	row.at = palloc_array(PaxosColumn, 2);
	row.column = palloc_array(PaxosApiColumn *, 2);
	row.at[0] = kv->key.at[0];
	row.column[0] = kv->key.column[0];
	row.at[1] = value.at[0];
	row.column[1] = value.column[0];
	paxos_api_need_columns(kv->table, &row, ACL_INSERT);
	op_row(&kv->op, &row);
}

static void
kv_conditions(KvOp *kv, Jsonb *expected)
{
	PaxosApiList list = kv_value(kv, expected, PAXOS_COND_EQ);

	paxos_api_need_columns(kv->table, &list, ACL_SELECT);
	op_conditions(&kv->op, &list);
}

static void
kv_sets(KvOp *kv, Jsonb *value)
{
	PaxosApiList list = kv_value(kv, value, PAXOS_SET_ASSIGN);

	paxos_api_need_columns(kv->table, &list, ACL_UPDATE);
	paxos_api_need_columns(kv->table, &kv->key, ACL_SELECT);
	op_sets(&kv->op, &list);
}

static void
kv_delete(KvOp *kv)
{
	paxos_api_need_table(kv->table, ACL_DELETE);
	paxos_api_need_columns(kv->table, &kv->key, ACL_SELECT);
	kv->op.verb = PAXOS_VERB_DELETE;
}

static Datum
kv_submit(FunctionCallInfo fcinfo, KvOp *kv, int request_arg)
{
	relation_close(kv->rel, AccessShareLock);
	return submit_keyed(fcinfo, kv->table->relid, &kv->op, request_arg);
}

/* paxos_kv_put(key text, value jsonb, request_id uuid) */
Datum
paxos_kv_put(PG_FUNCTION_ARGS)
{
	KvOp kv;
	Jsonb *value;

	kv_begin(fcinfo, "paxos_kv_put()", &kv);
	value = json_arg(fcinfo, 1, "value");
	kv.op.verb = PAXOS_VERB_UPSERT;
	kv_row(&kv, value);
	kv_sets(&kv, value);
	return kv_submit(fcinfo, &kv, 2);
}

/* paxos_kv_cas(key text, expected jsonb, new jsonb, request_id uuid) */
Datum
paxos_kv_cas(PG_FUNCTION_ARGS)
{
	KvOp kv;

	kv_begin(fcinfo, "paxos_kv_cas()", &kv);
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("expected and new must not both be null")));

	if (PG_ARGISNULL(1))
	{
		kv.op.verb = PAXOS_VERB_INSERT;
		kv_row(&kv, PG_GETARG_JSONB_P(2));
	}
	else
	{
		kv_conditions(&kv, PG_GETARG_JSONB_P(1));
		if (PG_ARGISNULL(2))
			kv_delete(&kv);
		else
		{
			kv.op.verb = PAXOS_VERB_UPDATE;
			kv_sets(&kv, PG_GETARG_JSONB_P(2));
		}
	}
	return kv_submit(fcinfo, &kv, 3);
}

/* paxos_kv_delete(key text, expected jsonb, request_id uuid) */
Datum
paxos_kv_delete(PG_FUNCTION_ARGS)
{
	KvOp kv;

	kv_begin(fcinfo, "paxos_kv_delete()", &kv);
	if (!PG_ARGISNULL(1))
		kv_conditions(&kv, PG_GETARG_JSONB_P(1));
	kv_delete(&kv);
	return kv_submit(fcinfo, &kv, 2);
}

/*
 * paxos_kv_get(key text): linearizable.  The snapshot is taken after the wait,
 * so it includes every write acknowledged anywhere before the call.
 */
Datum
paxos_kv_get(PG_FUNCTION_ARGS)
{
	text *key;
	Relation rel;
	PaxosApiTable *t;
	Oid relid;
	PaxosApiList all;
	AttrNumber key_attnum, value_attnum;
	List *indexes;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple tuple;
	Snapshot snapshot;
	Jsonb *value = NULL;

	begin_read("paxos_kv_get()");
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	key = PG_GETARG_TEXT_PP(0);

	relid = paxos_table_relid(PAXOS_KV_TABLE_ID);
	t = paxos_api_open(relid, &rel);
	paxos_api_refuse_row_security(t);
	all.n = 2;
	all.at = NULL;
	all.column = palloc_array(PaxosApiColumn *, 2);
	all.column[0] = t->key[0];
	all.column[1] = paxos_api_column(t, "value", 5);
	if (all.column[1] == NULL)
		paxos_api_no_column(t, "value", 5);
	paxos_api_need_columns(t, &all, ACL_SELECT);
	key_attnum = all.column[0]->attnum;
	value_attnum = all.column[1]->attnum;
	relation_close(rel, AccessShareLock);

	paxos_wait_read_index();

	rel = table_open(relid, AccessShareLock);
	indexes = RelationGetIndexList(rel);
	list_free(indexes);
	ScanKeyInit(&skey, key_attnum, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(key));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, rel->rd_pkindex, true, snapshot, 1, &skey);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum d = heap_getattr(tuple, value_attnum, RelationGetDescr(rel), &isnull);

		if (!isnull)
			value = DatumGetJsonbPCopy(d);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(value);
}

/* ------------------------------------------------------------------
 * Reads and outcomes
 * ------------------------------------------------------------------
 */

/* paxos_barrier() */
Datum
paxos_barrier(PG_FUNCTION_ARGS)
{
	begin_read("paxos_barrier()");
	PG_RETURN_INT64((int64) paxos_wait_read_index());
}

/*
 * paxos_outcome(request_id uuid): what became of a command, as the cluster
 * remembers it at a moment after this call began.
 *
 * "unknown" says that no such command had been decided by then, or that it has
 * been forgotten since: one still on its way may yet be decided, and calling
 * the function again under the same id is the safe way to find out.
 */
Datum
paxos_outcome(PG_FUNCTION_ARGS)
{
	pg_uuid_t *id;
	Relation rel;
	Oid relid;
	ScanKeyData skey;
	SysScanDesc scan;
	HeapTuple tuple;
	Snapshot snapshot;
	List *indexes;
	Datum values[8] = {0};
	bool nulls[8];
	PaxosCommandResult result;

	memset(nulls, true, sizeof(nulls));
	begin_read("paxos_outcome()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("request_id must not be null")));
	id = PG_GETARG_UUID_P(0);

	paxos_wait_read_index();

	relid = get_relname_relid("request", get_namespace_oid(PAXOS_SCHEMA, false));
	rel = table_open(relid, AccessShareLock);
	indexes = RelationGetIndexList(rel);
	list_free(indexes);
	ScanKeyInit(&skey, get_attnum(relid, "request_id"), BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(id));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, rel->rd_pkindex, true, snapshot, 1, &skey);
	tuple = systable_getnext(scan);
	nulls[0] = false;
	if (!HeapTupleIsValid(tuple))
		values[0] = CStringGetTextDatum("unknown");
	else
	{
		bool isnull;
		bool visible;
		bytea *bytes;
		Datum d;

		d = heap_getattr(tuple, get_attnum(relid, "slot"), RelationGetDescr(rel), &isnull);
		values[3] = d;
		nulls[3] = isnull;
		d = heap_getattr(tuple, get_attnum(relid, "result"), RelationGetDescr(rel), &isnull);
		if (isnull)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED), errmsg("a remembered result is missing")));
		bytes = DatumGetByteaPCopy(d);
		if (!paxos_result_decode(VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, &result))
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
							errmsg("a remembered result cannot be read")));
		visible = result.table_id != 0 && paxos_may_see_rows(paxos_table_relid(result.table_id));

		if (result.failed)
		{
			values[0] = CStringGetTextDatum("failed");
			values[6] = CStringGetTextDatum(unpack_sql_state(result.sqlstate));
			nulls[6] = false;
			if (result.message != NULL)
			{
				values[7] = CStringGetTextDatum(result.message);
				nulls[7] = false;
			}
		}
		else
			values[0] = CStringGetTextDatum(result.applied ? "applied" : "not applied");
		values[1] = BoolGetDatum(!result.failed && result.applied);
		nulls[1] = false;
		values[2] = BoolGetDatum(result.existed);
		nulls[2] = result.failed;
		paxos_api_image(result.previous, visible, &values[4], &nulls[4]);
		paxos_api_image(result.current, visible, &values[5], &nulls[5]);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);

	return HeapTupleGetDatum(heap_form_tuple(result_descriptor(fcinfo), values, nulls));
}
