/*
 * paxos_txn.c
 *	  paxos_txn(): guards over rows of any consensus tables, and the one list of
 *	  operations or the other, decided at one slot (protocol.md § 6).
 *
 * It is one keyed command: every node evaluates the guards on the same rows and runs
 * the same list, so there is nothing to retry and nothing to be overtaken by.  What an
 * operation is, is paxos_api.c's (each is that of one of its functions, from the same
 * JSON); what they do at the slot, paxos_apply.c's.  Here: the shape of the three lists,
 * and of the answer.
 *
 * Which list runs is known at the slot only.  So all of both is checked here, and the
 * defaults of every row to insert are evaluated: a sequence moves for an insert that
 * does not happen, as it does for a statement that fails.
 *
 * The answer's rows are shown table by table to who may read whole rows of it.  Under a
 * request id it may be the answer to another call, by somebody else: which table a row
 * is of stands in what was remembered.
 *
 * No state; a crash loses nothing.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_ext.h"
#include "paxos_queue.h"
#include "paxos_version.h"

PG_FUNCTION_INFO_V1(paxos_txn);

/* The members of an element, and of what kind of element they may be. */
typedef enum Member
{
	M_OP,
	M_TABLE,
	M_KEY,
	M_ROW,
	M_SET,
	M_WHERE,
	M_EXISTS,
	N_MEMBERS
} Member;

static const char *const member_names[N_MEMBERS] = {"op",  "table", "key",   "row",
													"set", "where", "exists"};

typedef struct Form
{
	const char *op; /* NULL: a guard */
	PaxosVerb verb;
	int required; /* bits of Member */
	int optional;
} Form;

#define BIT(member) (1 << (member))

static const Form guard_form = {NULL, PAXOS_VERB_EXISTS, BIT(M_TABLE) | BIT(M_KEY),
								BIT(M_WHERE) | BIT(M_EXISTS)};

static const Form op_forms[] = {
	{"insert", PAXOS_VERB_INSERT_NEW, BIT(M_OP) | BIT(M_TABLE) | BIT(M_ROW), 0},
	{"insert_if_not_exists", PAXOS_VERB_INSERT, BIT(M_OP) | BIT(M_TABLE) | BIT(M_ROW), 0},
	{"upsert", PAXOS_VERB_UPSERT, BIT(M_OP) | BIT(M_TABLE) | BIT(M_ROW), 0},
	{"update", PAXOS_VERB_UPDATE, BIT(M_OP) | BIT(M_TABLE) | BIT(M_KEY) | BIT(M_SET), BIT(M_WHERE)},
	{"delete", PAXOS_VERB_DELETE, BIT(M_OP) | BIT(M_TABLE) | BIT(M_KEY), BIT(M_WHERE)},
	{"get", PAXOS_VERB_GET, BIT(M_OP) | BIT(M_TABLE) | BIT(M_KEY), 0},
};

/* Where in the arguments an error is. */
typedef struct Place
{
	const char *list;
	int number;
} Place;

static void
place_error_context(void *arg)
{
	Place *place = arg;

	errcontext("element %d of %s", place->number, place->list);
}

/*
 * ---- the lists ----
 */

static void
need_type(bool good, Member member, const char *type)
{
	if (!good)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" must be a JSON %s", member_names[member], type)));
}

static char *
text_of(const JsonbValue *v, Member member)
{
	need_type(v->type == jbvString, member, "string");
	return pnstrdup(v->val.string.val, v->val.string.len);
}

static Jsonb *
object_of(JsonbValue *v, Member member)
{
	if (v == NULL)
		return NULL;
	need_type(v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data), member, "object");
	return JsonbValueToJsonb(v);
}

/* What kind of operation: the one that "op" names. */
static const Form *
form_of(const JsonbValue *op)
{
	char *name;

	if (op == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"op\" is missing")));
	name = text_of(op, M_OP);
	for (int i = 0; i < lengthof(op_forms); i++)
	{
		if (strcmp(op_forms[i].op, name) == 0)
			return &op_forms[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("\"%s\" is not an operation", name),
			 errhint("It is one of insert, insert_if_not_exists, upsert, update, delete, get.")));
	return NULL; /* keep compiler quiet */
}

static void
check_members(const Form *form, JsonbContainer *json, JsonbValue **values)
{
	const char *what = form->op != NULL ? form->op : "a guard";
	JsonbIterator *it = JsonbIteratorInit(json);
	JsonbValue v;

	(void) JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		int member;

		for (member = 0; member < N_MEMBERS; member++)
		{
			if (((form->required | form->optional) & BIT(member)) != 0 &&
				strlen(member_names[member]) == v.val.string.len &&
				memcmp(member_names[member], v.val.string.val, v.val.string.len) == 0)
				break;
		}
		if (member == N_MEMBERS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s has no \"%.*s\"", what, v.val.string.len, v.val.string.val)));
		(void) JsonbIteratorNext(&it, &v, true);
	}
	for (int member = 0; member < N_MEMBERS; member++)
	{
		if ((form->required & BIT(member)) != 0 && values[member] == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("%s needs \"%s\"", what, member_names[member])));
	}
}

static void
read_op(PaxosKeyedOp *op, bool guard, JsonbValue *element)
{
	JsonbContainer *json;
	JsonbValue *values[N_MEMBERS];
	const Form *form;
	PaxosVerb verb;
	Oid relid;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("every element must be a JSON object")));
	json = element->val.binary.data;
	for (int i = 0; i < N_MEMBERS; i++)
		values[i] =
			getKeyJsonValueFromContainer(json, member_names[i], strlen(member_names[i]), NULL);
	form = guard ? &guard_form : form_of(values[M_OP]);
	check_members(form, json, values);

	relid = DatumGetObjectId(
		DirectFunctionCall1(regclassin, CStringGetDatum(text_of(values[M_TABLE], M_TABLE))));
	verb = form->verb;
	if (values[M_EXISTS] != NULL)
	{
		need_type(values[M_EXISTS]->type == jbvBool, M_EXISTS, "boolean");
		if (!values[M_EXISTS]->val.boolean)
			verb = PAXOS_VERB_ABSENT;
		if (verb == PAXOS_VERB_ABSENT && values[M_WHERE] != NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a row that is not to exist cannot have a \"where\"")));
	}

	switch (verb)
	{
		case PAXOS_VERB_INSERT_NEW:
		case PAXOS_VERB_INSERT:
			paxos_api_insert(op, verb, relid, "row", object_of(values[M_ROW], M_ROW));
			break;
		case PAXOS_VERB_UPSERT:
			paxos_api_upsert(op, relid, "row", object_of(values[M_ROW], M_ROW));
			break;
		case PAXOS_VERB_UPDATE:
			paxos_api_update(op, relid, object_of(values[M_KEY], M_KEY),
							 object_of(values[M_SET], M_SET), "where",
							 object_of(values[M_WHERE], M_WHERE));
			break;
		default:
			paxos_api_look(op, verb, relid, object_of(values[M_KEY], M_KEY), "where",
						   object_of(values[M_WHERE], M_WHERE));
			break;
	}
}

static PaxosKeyedList
read_list(FunctionCallInfo fcinfo, int arg, const char *name)
{
	PaxosKeyedList list;
	Jsonb *json;
	JsonbIterator *it;
	JsonbValue v;
	ErrorContextCallback callback;
	Place place = {name, 0};

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	json = PG_GETARG_JSONB_P(arg);
	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON array", name)));

	callback.callback = place_error_context;
	callback.arg = &place;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	list.n = 0;
	list.ops = palloc0_array(PaxosKeyedOp, Max(JB_ROOT_COUNT(json), 1));
	it = JsonbIteratorInit(&json->root);
	(void) JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_ELEM)
	{
		place.number++;
		read_op(&list.ops[list.n++], arg == 0, &v);
	}

	error_context_stack = callback.previous;
	return list;
}

/*
 * ---- the answer ----
 */

static void
put(JsonbParseState **state, const char *name, JsonbValue *value)
{
	JsonbValue key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, value);
}

static void
put_bool(JsonbParseState **state, const char *name, bool b)
{
	JsonbValue value;

	value.type = jbvBool;
	value.val.boolean = b;
	put(state, name, &value);
}

static void
put_row(JsonbParseState **state, const char *name, const char *image, bool visible)
{
	JsonbValue value;
	Datum row;
	bool isnull;

	paxos_api_image(image, visible, &row, &isnull);
	if (isnull)
		value.type = jbvNull;
	else
		JsonbToJsonbValue(DatumGetJsonbP(row), &value);
	put(state, name, &value);
}

static Jsonb *
answer(const PaxosCommandResult *result, px_slot slot)
{
	JsonbParseState *state = NULL;
	JsonbValue key;
	JsonbValue value;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put_bool(&state, "succeeded", result->applied);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric((int64) slot);
	put(&state, "slot", &value);

	key.type = jbvString;
	key.val.string.val = "results";
	key.val.string.len = strlen("results");
	(void) pushJsonbValue(&state, WJB_KEY, &key);
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < result->n_parts; i++)
	{
		PaxosResultPart *part = &result->parts[i];
		bool visible = paxos_may_see_rows(paxos_table_relid(part->table_id));

		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		put_bool(&state, "applied", part->applied);
		put_bool(&state, "existed", part->existed);
		put_row(&state, "previous", part->previous, visible);
		put_row(&state, "current", part->current, visible);
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Which operation failed is not told: its DETAIL is for who may read all tables. */
static bool
may_see_all(const PaxosKeyedList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		if (!paxos_may_see_rows(paxos_table_relid(list->ops[i].table_id)))
			return false;
	}
	return true;
}

/* paxos_txn(compare jsonb, then_ops jsonb, else_ops jsonb, request_id uuid) */
Datum
paxos_txn(PG_FUNCTION_ARGS)
{
	PaxosCommand command = {0};
	PaxosTxn *txn = &command.u.txn;
	PaxosCommandResult result;
	px_slot slot;

	paxos_begin_write("paxos_txn()");
	paxos_version_require(PAXOS_VERSION_TXN, "calls of paxos_txn()");
	command.kind = PAXOS_COMMAND_TXN;
	txn->guards = read_list(fcinfo, 0, "compare");
	txn->then_ops = read_list(fcinfo, 1, "then_ops");
	txn->else_ops = read_list(fcinfo, 2, "else_ops");
	if (!paxos_api_call(fcinfo, 3, &command, &result, &slot))
		return FunctionCallInvoke(fcinfo);
	if (result.failed)
	{
		/* an answer to another call: of which tables it speaks is not known */
		if (result.replayed || !may_see_all(&txn->guards) || !may_see_all(&txn->then_ops) ||
			!may_see_all(&txn->else_ops))
			result.detail = NULL;
		paxos_result_raise(&result);
	}
	PG_RETURN_JSONB_P(answer(&result, slot));
}
