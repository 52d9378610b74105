/*
 * paxos_api_json.c
 *	  JSON objects, as users give them to functions, as lists of columns: names resolved,
 *	  values checked by the types' input functions and written as every node's learner reads
 *	  them (paxos_text.c).
 *
 * Not its business: what the caller may do with the columns (paxos_api_table.c).
 *
 * No state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "paxos_api_int.h"
#include "paxos_command.h"
#include "paxos_text.h"

/* ------------------------------------------------------------------
 * JSON values to text
 * ------------------------------------------------------------------
 */

typedef struct ColumnContext
{
	const char *table;
	const char *column;
} ColumnContext;

static void
column_error_context(void *arg)
{
	ColumnContext *c = arg;

	errcontext("column \"%s\" of table \"%s\"", c->column, c->table);
}

static char *
json_text(JsonbValue *v)
{
	Jsonb *jb;

	if (v->type == jbvBinary)
		return JsonbToCString(NULL, v->val.binary.data, v->val.binary.len);
	jb = JsonbValueToJsonb(v);
	return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
}

/* The text of a scalar; false for a container. */
static bool
scalar_text(JsonbValue *v, char **text)
{
	switch (v->type)
	{
		case jbvString:
			*text = pnstrdup(v->val.string.val, v->val.string.len);
			return true;
		case jbvNumeric:
			*text =
				DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
			return true;
		case jbvBool:
			*text = pstrdup(v->val.boolean ? "true" : "false");
			return true;
		default:
			return false;
	}
}

static void
append_element(StringInfo out, const char *text)
{
	appendStringInfoChar(out, '"');
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '"' || *p == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, *p);
	}
	appendStringInfoChar(out, '"');
}

/* A JSON array as an array literal; every element quoted, NULL bare. */
static void
append_array(StringInfo out, PaxosApiColumn *c, JsonbContainer *array)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue v;
	bool first = true;

	check_stack_depth();
	appendStringInfoChar(out, '{');
	token = JsonbIteratorNext(&it, &v, true);
	Assert(token == WJB_BEGIN_ARRAY);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_ELEM)
	{
		char *text;

		if (!first)
			appendStringInfoChar(out, c->delimiter);
		first = false;
		if (v.type == jbvNull)
			appendStringInfoString(out, "NULL");
		else if (c->json_elements)
			append_element(out, json_text(&v));
		else if (scalar_text(&v, &text))
			append_element(out, text);
		else if (JsonContainerIsArray(v.val.binary.data))
			append_array(out, c, v.val.binary.data);
		else
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a JSON object cannot be an element of type %s",
								   format_type_be(c->type))));
	}
	appendStringInfoChar(out, '}');
}

/* What the type's input function is to be given. */
static char *
input_text(PaxosApiColumn *c, JsonbValue *v)
{
	char *text;

	if (c->shape == PAXOS_SHAPE_JSON)
		return json_text(v);
	if (scalar_text(v, &text))
		return text;
	if (c->shape == PAXOS_SHAPE_ARRAY && JsonContainerIsArray(v->val.binary.data))
	{
		StringInfoData out;

		initStringInfo(&out);
		append_array(&out, c, v->val.binary.data);
		return out.data;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("a JSON %s cannot be a value of type %s",
						   JsonContainerIsArray(v->val.binary.data) ? "array" : "object",
						   format_type_be(c->type))));
	return NULL; /* keep compiler quiet */
}

/* One JSON value as a value of the column: validated, in canonical text. */
static void
put_json(PaxosColumn *out, PaxosApiTable *t, PaxosApiColumn *c, JsonbValue *v)
{
	ErrorContextCallback callback;
	ColumnContext where = {t->name, c->name};
	Datum value;

	if (v->type == jbvNull)
	{
		paxos_api_put_null(out, c);
		return;
	}

	callback.callback = column_error_context;
	callback.arg = &where;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	value = InputFunctionCall(&c->input, input_text(c, v), c->ioparam, c->typmod);
	paxos_api_put_text(out, c, paxos_fixed_output(&c->output, value));

	error_context_stack = callback.previous;
}

/* ------------------------------------------------------------------
 * JSON objects to lists of columns
 * ------------------------------------------------------------------
 */

typedef struct OpName
{
	const char *text;
	uint8 op;
} OpName;

static const OpName condition_ops[] = {
	{"=", PAXOS_COND_EQ},  {"<>", PAXOS_COND_NE}, {"!=", PAXOS_COND_NE}, {"<", PAXOS_COND_LT},
	{"<=", PAXOS_COND_LE}, {">", PAXOS_COND_GT},  {">=", PAXOS_COND_GE}, {NULL, 0}};

static const OpName set_ops[] = {
	{"+=", PAXOS_SET_ADD}, {"-=", PAXOS_SET_SUBTRACT}, {"=", PAXOS_SET_ASSIGN}, {NULL, 0}};

static const OpName no_ops[] = {{NULL, 0}};

/*
 * "column" or "column op".  A column that is really called "balance -=" is
 * found first: an exact name takes precedence over an operator.
 */
static PaxosApiColumn *
resolve_name(PaxosApiTable *t, const char *what, const OpName *ops, uint8 plain, const char *name,
			 int len, uint8 *op)
{
	PaxosApiColumn *c = paxos_api_column(t, name, len);
	int space;

	*op = plain;
	if (c != NULL)
		return c;

	for (space = len - 1; space > 0 && name[space] != ' '; space--)
		;
	if (space <= 0 || ops[0].text == NULL)
		paxos_api_no_column(t, name, len);

	c = paxos_api_column(t, name, space);
	if (c == NULL)
		paxos_api_no_column(t, name, space);
	for (const OpName *o = ops; o->text != NULL; o++)
	{
		if (strlen(o->text) == len - space - 1 &&
			memcmp(o->text, name + space + 1, len - space - 1) == 0)
		{
			*op = o->op;
			return c;
		}
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("\"%.*s\" is not an operator of %s", len - space - 1, name + space + 1, what),
		 ops == set_ops
			 ? errhint("Write \"column\", \"column +=\" or \"column -=\".")
			 : errhint(
				   "Write \"column\", or \"column\", a space and one of =, <>, <, <=, >, >=.")));
	return NULL; /* keep compiler quiet */
}

static PaxosApiList
columns_from_json(PaxosApiTable *t, const char *what, const OpName *ops, uint8 plain, Jsonb *json)
{
	PaxosApiList out;
	JsonbIterator *it;
	JsonbValue v;
	int max;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object with column names as keys", what)));

	max = JB_ROOT_COUNT(json);
	out.n = 0;
	out.at = palloc_array(PaxosColumn, max + 1);
	out.column = palloc_array(PaxosApiColumn *, max + 1);

	it = JsonbIteratorInit(&json->root);
	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		uint8 op;
		PaxosApiColumn *c =
			resolve_name(t, what, ops, plain, v.val.string.val, v.val.string.len, &op);

		/* The same column twice: a contradiction, except between conditions. */
		if (ops != condition_ops)
		{
			for (int i = 0; i < out.n; i++)
			{
				if (out.column[i] == c)
					ereport(ERROR,
							(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							 errmsg("column \"%s\" stands in %s more than once", c->name, what)));
			}
		}

		JsonbIteratorNext(&it, &v, true);
		put_json(&out.at[out.n], t, c, &v);
		out.at[out.n].op = op;
		out.column[out.n] = c;
		out.n++;
	}
	return out;
}

PaxosApiList
paxos_api_row_from_json(PaxosApiTable *t, const char *what, Jsonb *json)
{
	return columns_from_json(t, what, no_ops, 0, json);
}

/* Conditions compare, so the type must be comparable. */
PaxosApiList
paxos_api_conditions_from_json(PaxosApiTable *t, const char *what, bool ops, Jsonb *json)
{
	PaxosApiList out =
		columns_from_json(t, what, ops ? condition_ops : no_ops, PAXOS_COND_EQ, json);

	for (int i = 0; i < out.n; i++)
	{
		if (!out.column[i]->comparable)
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg(
					 "column \"%s\" cannot be compared: type %s has no default btree operator class",
					 out.column[i]->name, format_type_be(out.column[i]->type))));
	}
	return out;
}

PaxosApiList
paxos_api_sets_from_json(PaxosApiTable *t, const char *what, bool ops, Jsonb *json,
						 const PaxosApiList *key)
{
	PaxosApiList all = columns_from_json(t, what, ops ? set_ops : no_ops, PAXOS_SET_ASSIGN, json);
	PaxosApiList out = all;

	out.n = 0;
	for (int i = 0; i < all.n; i++)
	{
		PaxosApiColumn *c = all.column[i];
		uint8 op = all.at[i].op;

		if (c->is_key)
		{
			PaxosColumn *same = key ? paxos_api_find(key, c) : NULL;

			if (same != NULL && !all.at[i].isnull && strcmp(same->text, all.at[i].text) == 0)
				continue;
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("primary key column \"%s\" cannot be changed", c->name),
							errhint("Delete the row and insert another.")));
		}
		paxos_api_refuse_unassignable(c, false);
		if ((op == PAXOS_SET_ADD && !c->can_add) || (op == PAXOS_SET_SUBTRACT && !c->can_subtract))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_FUNCTION),
					 errmsg("type %s of column \"%s\" has no %s operator of its own",
							format_type_be(c->type), c->name, op == PAXOS_SET_ADD ? "+" : "-")));
		out.at[out.n] = all.at[i];
		out.column[out.n] = c;
		out.n++;
	}
	if (out.n == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s names no column to change", what)));
	return out;
}

PaxosApiList
paxos_api_key_from_json(PaxosApiTable *t, Jsonb *json)
{
	PaxosApiList given = columns_from_json(t, "key", no_ops, 0, json);
	PaxosApiList out;

	for (int i = 0; i < given.n; i++)
	{
		if (!given.column[i]->is_key)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("column \"%s\" is not part of the primary key of table \"%s\"",
								   given.column[i]->name, t->name)));
	}

	out.n = t->n_key;
	out.at = palloc_array(PaxosColumn, t->n_key);
	out.column = t->key;
	for (int i = 0; i < t->n_key; i++)
	{
		PaxosColumn *c = paxos_api_find(&given, t->key[i]);

		if (c == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("key lacks primary key column \"%s\" of table \"%s\"",
								   t->key[i]->name, t->name)));
		if (c->isnull)
			paxos_api_refuse_null_key(t, t->key[i]);
		out.at[i] = *c;
	}
	return out;
}
