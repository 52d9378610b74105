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
 * (paxos_ddl.c).
 *
 * State: a cache of what we know about each table, private to the backend and
 * dropped by relcache invalidation.  Nothing here survives a crash or needs to.
 *
 * Privileges are the caller's, checked before the command is sent: a condition
 * reads (SELECT on the column), a set writes (UPDATE on it; both for += and -=,
 * which read what they add to), naming a row of UPDATE or DELETE reads its key.
 * The images of the row before and after are returned only to a caller who may
 * read all of it, and so is the DETAIL of an error, for it quotes values.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "pgtime.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/bytea.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "paxos_api.h"
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

/* ------------------------------------------------------------------
 * What we know about a table
 * ------------------------------------------------------------------
 */

/* How a JSON value becomes text that the type's input function takes. */
typedef enum Shape
{
	SHAPE_PLAIN, /* strings as they are, numbers and booleans as text */
	SHAPE_JSON,  /* the value's own JSON text */
	SHAPE_ARRAY  /* JSON arrays become array literals */
} Shape;

typedef struct ApiColumn
{
	char name[NAMEDATALEN];
	int name_len;
	AttrNumber attnum;
	Oid type;
	int32 typmod;
	bool dropped;
	bool is_key;
	bool generated;
	bool has_default;
	char identity;
	Shape shape;
	char delimiter; /* between the elements of an array */
	bool json_elements;
	Oid ioparam;
	FmgrInfo input;
	FmgrInfo output;
	bool comparable; /* the type has a default btree operator class */
	bool can_add;    /* pg_catalog has type + type = type */
	bool can_subtract;
	ExprState *default_state; /* NULL: not prepared, or no default */
} ApiColumn;

typedef struct ApiTable
{
	Oid relid;
	MemoryContext context; /* holds this and everything below */
	char *name;
	int64 table_id;
	uint32 definition;
	int n_columns;
	ApiColumn *columns;
	int n_key;
	ApiColumn **key; /* in the primary key's order */
	List *sequences; /* owned by the table's columns */

	Oid defaults_of;            /* role for which default_states were prepared */
	uint64 defaults_at;         /* 'functions_changed' then */
	MemoryContext defaults_cxt; /* holds them */
	bool evaluating;            /* one of them, just now */
} ApiTable;

/*
 * A default may call a function that calls us again, for the same table, after an
 * invalidation or as another role.  What the outer call holds must then stay as it
 * is: what is replaced lives on to the end of the transaction (retire()).
 */
typedef struct ApiEntry
{
	Oid relid;       /* hash key */
	bool valid;      /* cleared by relcache invalidation */
	ApiTable *table; /* NULL: not built */
} ApiEntry;

static HTAB *api_tables = NULL;

/* Counts changes of pg_proc: a default may contain the body of a function. */
static uint64 functions_changed = 0;

static void no_such_column(ApiTable *t, const char *name, int len) pg_attribute_noreturn();

static void
api_table_invalidated(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	ApiEntry *e;

	if (OidIsValid(relid))
	{
		e = hash_search(api_tables, &relid, HASH_FIND, NULL);
		if (e != NULL)
			e->valid = false;
		return;
	}

	hash_seq_init(&scan, api_tables);
	while ((e = hash_seq_search(&scan)) != NULL)
		e->valid = false;
}

static void
function_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	functions_changed++;
}

/* Nobody finds it any more; who holds it still may use it in this transaction. */
static void
retire(MemoryContext context)
{
	MemoryContextSetParent(context, TopTransactionContext);
}

/* Is there type <op> type = type in pg_catalog? */
static bool
has_own_operator(const char *op, Oid type)
{
	Oid oper;

	oper =
		OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(pstrdup(op))), type, type);
	return OidIsValid(oper) && get_op_rettype(oper) == type;
}

static void
describe_column(ApiColumn *c, Form_pg_attribute att, MemoryContext context)
{
	Oid base;
	Oid element;
	Oid func;
	bool is_varlena;

	c->attnum = att->attnum;
	c->dropped = att->attisdropped;
	if (c->dropped)
		return;

	strlcpy(c->name, NameStr(att->attname), NAMEDATALEN);
	c->name_len = strlen(c->name);
	c->type = att->atttypid;
	c->typmod = att->atttypmod;
	c->generated = att->attgenerated != '\0';
	c->identity = att->attidentity;
	c->has_default = att->atthasdef || att->attidentity != '\0';

	base = getBaseType(c->type);
	element = get_element_type(base);
	if (base == JSONBOID || base == JSONOID)
		c->shape = SHAPE_JSON;
	else if (OidIsValid(element))
	{
		int16 typlen;
		bool typbyval;
		char typalign;
		Oid ioparam;

		c->shape = SHAPE_ARRAY;
		get_type_io_data(element, IOFunc_input, &typlen, &typbyval, &typalign, &c->delimiter,
						 &ioparam, &func);
		c->json_elements = element == JSONBOID || element == JSONOID;
	}
	else
		c->shape = SHAPE_PLAIN;

	getTypeInputInfo(c->type, &func, &c->ioparam);
	fmgr_info_cxt(func, &c->input, context);
	getTypeOutputInfo(c->type, &func, &is_varlena);
	fmgr_info_cxt(func, &c->output, context);

	c->comparable = OidIsValid(lookup_type_cache(c->type, TYPECACHE_CMP_PROC)->cmp_proc);
	c->can_add = has_own_operator("+", c->type);
	c->can_subtract = has_own_operator("-", c->type);
}

/*
 * The primary key's columns, in its order.  Every consensus table has one;
 * paxos_ddl.c sees to it.
 */
static void
describe_key(ApiTable *t, Relation rel)
{
	Relation index;
	List *indexes = RelationGetIndexList(rel); /* sets rd_pkindex */

	list_free(indexes);
	if (!OidIsValid(rel->rd_pkindex))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" has no primary key", t->name)));

	index = index_open(rel->rd_pkindex, AccessShareLock);
	t->n_key = index->rd_index->indnkeyatts;
	t->key = MemoryContextAlloc(t->context, t->n_key * sizeof(ApiColumn *));
	for (int i = 0; i < t->n_key; i++)
	{
		t->key[i] = &t->columns[index->rd_index->indkey.values[i] - 1];
		t->key[i]->is_key = true;
	}
	t->definition = paxos_definition_of(rel, index);
	index_close(index, AccessShareLock);
}

/*
 * Look up a consensus table; *rel comes back open with AccessShareLock.  42809
 * if it is something else.
 */
static ApiTable *
open_api_table(Oid relid, Relation *rel)
{
	ApiEntry *e;
	ApiTable *t;
	int64 table_id;
	MemoryContext context;
	bool found;
	Relation r;

	if (api_tables == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(ApiEntry);
		ctl.hcxt = CacheMemoryContext;
		api_tables = hash_create("paxos tables", 32, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterRelcacheCallback(api_table_invalidated, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
	}

	r = try_relation_open(relid, AccessShareLock);
	if (r == NULL)
	{
		e = hash_search(api_tables, &relid, HASH_FIND, NULL);
		if (e != NULL)
		{
			if (e->table != NULL)
				retire(e->table->context);
			(void) hash_search(api_tables, &relid, HASH_REMOVE, NULL);
		}
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	}
	*rel = r;

	e = hash_search(api_tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		e->valid = false;
		e->table = NULL;
	}
	if (e->valid)
		return e->table;

	if (e->table != NULL)
		retire(e->table->context);
	e->table = NULL;

	if (r->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && paxos_is_consensus_table(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partitioned table, whose rows are those of its partitions",
						RelationGetRelationName(r)),
				 errhint("Name the partition, or use INSERT, UPDATE or DELETE.")));
	if (r->rd_rel->relkind != RELKIND_RELATION || !paxos_is_consensus_table(relid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a consensus-backed table", RelationGetRelationName(r)),
				 errhint("Create it with CREATE TABLE ... USING paxos.")));

	table_id = paxos_known_table_id(relid);

	context = AllocSetContextCreate(CacheMemoryContext, "paxos table", ALLOCSET_SMALL_SIZES);
	t = MemoryContextAllocZero(context, sizeof(ApiTable));
	t->relid = relid;
	t->context = context;
	t->table_id = table_id;
	t->name = MemoryContextStrdup(t->context, RelationGetRelationName(r));
	t->n_columns = RelationGetDescr(r)->natts;
	t->columns = MemoryContextAllocZero(t->context, t->n_columns * sizeof(ApiColumn));
	e->table = t;

	/*
	 * Valid from here: an invalidation that arrives while the catalogs are read
	 * below marks the entry stale again, and the next call rebuilds it.
	 */
	e->valid = true;
	PG_TRY();
	{
		MemoryContext old;
		List *sequences;

		for (int i = 0; i < t->n_columns; i++)
			describe_column(&t->columns[i], TupleDescAttr(RelationGetDescr(r), i), t->context);
		describe_key(t, r);
		sequences = getOwnedSequences(relid);
		old = MemoryContextSwitchTo(t->context);
		t->sequences = list_copy(sequences);
		MemoryContextSwitchTo(old);
	}
	PG_CATCH();
	{
		e->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	return t;
}

static ApiColumn *
find_column(ApiTable *t, const char *name, int len)
{
	for (int i = 0; i < t->n_columns; i++)
	{
		ApiColumn *c = &t->columns[i];

		if (!c->dropped && c->name_len == len && memcmp(c->name, name, len) == 0)
			return c;
	}
	return NULL;
}

static void
no_such_column(ApiTable *t, const char *name, int len)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("column \"%.*s\" of table \"%s\" does not exist", len, name, t->name)));
}

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

/*
 * The type's output under the settings that paxos_fix_worker_settings() gives
 * the learner, whatever this session has chosen for itself: the variables are
 * exchanged around the call, which reads them and cannot change them.
 */
char *
paxos_fixed_output(FmgrInfo *output, Datum value)
{
	int date_style = DateStyle;
	int date_order = DateOrder;
	int interval_style = IntervalStyle;
	int float_digits = extra_float_digits;
	int bytea_style = bytea_output;
	pg_tz *zone = session_timezone;
	static pg_tz *gmt = NULL;
	char *text;

	if (gmt == NULL)
		gmt = pg_tzset("GMT"); /* built in, needs no file */

	PG_TRY();
	{
		DateStyle = USE_ISO_DATES;
		DateOrder = DATEORDER_YMD;
		IntervalStyle = INTSTYLE_POSTGRES;
		extra_float_digits = 1;
		bytea_output = BYTEA_OUTPUT_HEX;
		session_timezone = gmt;
		text = OutputFunctionCall(output, value);
	}
	PG_FINALLY();
	{
		DateStyle = date_style;
		DateOrder = date_order;
		IntervalStyle = interval_style;
		extra_float_digits = float_digits;
		bytea_output = bytea_style;
		session_timezone = zone;
	}
	PG_END_TRY();
	return text;
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
append_array(StringInfo out, ApiColumn *c, JsonbContainer *array)
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
input_text(ApiColumn *c, JsonbValue *v)
{
	char *text;

	if (c->shape == SHAPE_JSON)
		return json_text(v);
	if (scalar_text(v, &text))
		return text;
	if (c->shape == SHAPE_ARRAY && JsonContainerIsArray(v->val.binary.data))
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

static void
put_null(PaxosColumn *out, ApiColumn *c)
{
	out->attnum = c->attnum;
	out->op = 0;
	out->isnull = true;
	out->text = pstrdup("");
}

static void
put_text(PaxosColumn *out, ApiColumn *c, char *text)
{
	out->attnum = c->attnum;
	out->op = 0;
	out->isnull = false;
	out->text = text;
}

/* One JSON value as a value of the column: validated, in canonical text. */
static void
put_json(PaxosColumn *out, ApiTable *t, ApiColumn *c, JsonbValue *v)
{
	ErrorContextCallback callback;
	ColumnContext where = {t->name, c->name};
	Datum value;

	if (v->type == jbvNull)
	{
		put_null(out, c);
		return;
	}

	callback.callback = column_error_context;
	callback.arg = &where;
	callback.previous = error_context_stack;
	error_context_stack = &callback;

	value = InputFunctionCall(&c->input, input_text(c, v), c->ioparam, c->typmod);
	put_text(out, c, paxos_fixed_output(&c->output, value));

	error_context_stack = callback.previous;
}

/* ------------------------------------------------------------------
 * JSON objects to lists of columns
 * ------------------------------------------------------------------
 */

typedef struct Columns
{
	int n;
	PaxosColumn *at;
	ApiColumn **column; /* of each */
} Columns;

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
static ApiColumn *
resolve_name(ApiTable *t, const char *what, const OpName *ops, uint8 plain, const char *name,
			 int len, uint8 *op)
{
	ApiColumn *c = find_column(t, name, len);
	int space;

	*op = plain;
	if (c != NULL)
		return c;

	for (space = len - 1; space > 0 && name[space] != ' '; space--)
		;
	if (space <= 0 || ops[0].text == NULL)
		no_such_column(t, name, len);

	c = find_column(t, name, space);
	if (c == NULL)
		no_such_column(t, name, space);
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

static Columns
columns_from_json(ApiTable *t, const char *what, const OpName *ops, uint8 plain, Jsonb *json)
{
	Columns out;
	JsonbIterator *it;
	JsonbValue v;
	int max;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be a JSON object with column names as keys", what)));

	max = JB_ROOT_COUNT(json);
	out.n = 0;
	out.at = palloc_array(PaxosColumn, max + 1);
	out.column = palloc_array(ApiColumn *, max + 1);

	it = JsonbIteratorInit(&json->root);
	JsonbIteratorNext(&it, &v, true);
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		uint8 op;
		ApiColumn *c = resolve_name(t, what, ops, plain, v.val.string.val, v.val.string.len, &op);

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

static PaxosColumn *
columns_find(const Columns *list, const ApiColumn *c)
{
	for (int i = 0; i < list->n; i++)
	{
		if (list->column[i] == c)
			return &list->at[i];
	}
	return NULL;
}

/* Conditions compare, so the type must be comparable. */
static Columns
conditions_from_json(ApiTable *t, const char *what, const OpName *ops, Jsonb *json)
{
	Columns out = columns_from_json(t, what, ops, PAXOS_COND_EQ, json);

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

static void
refuse_unassignable(ApiColumn *c, bool insert)
{
	if (c->generated)
		ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
						errmsg("column \"%s\" is generated and cannot be given a value", c->name)));
	if (c->identity == ATTRIBUTE_IDENTITY_ALWAYS)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("cannot %s a value %s column \"%s\"", insert ? "insert" : "assign",
						insert ? "into" : "to", c->name),
				 errdetail("Column \"%s\" is an identity column defined as GENERATED ALWAYS.",
						   c->name)));
}

/*
 * What an existing row is to be changed to.  A key column cannot change; naming
 * it with the value it has is harmless only where the caller passes the key.
 */
static Columns
sets_from_json(ApiTable *t, const char *what, const OpName *ops, Jsonb *json, const Columns *key)
{
	Columns all = columns_from_json(t, what, ops, PAXOS_SET_ASSIGN, json);
	Columns out = all;

	out.n = 0;
	for (int i = 0; i < all.n; i++)
	{
		ApiColumn *c = all.column[i];
		uint8 op = all.at[i].op;

		if (c->is_key)
		{
			PaxosColumn *same = key ? columns_find(key, c) : NULL;

			if (same != NULL && !all.at[i].isnull && strcmp(same->text, all.at[i].text) == 0)
				continue;
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("primary key column \"%s\" cannot be changed", c->name),
							errhint("Delete the row and insert another.")));
		}
		refuse_unassignable(c, false);
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

static void
refuse_null_key(ApiTable *t, ApiColumn *c)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("null value in primary key column \"%s\" of table \"%s\"", c->name, t->name)));
}

/* Exactly the primary key's columns, in its order. */
static Columns
key_from_json(ApiTable *t, Jsonb *json)
{
	Columns given = columns_from_json(t, "key", no_ops, 0, json);
	Columns out;

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
		PaxosColumn *c = columns_find(&given, t->key[i]);

		if (c == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("key lacks primary key column \"%s\" of table \"%s\"",
								   t->key[i]->name, t->name)));
		if (c->isnull)
			refuse_null_key(t, t->key[i]);
		out.at[i] = *c;
	}
	return out;
}

/* ------------------------------------------------------------------
 * Defaults
 * ------------------------------------------------------------------
 */

/*
 * nextval() keeps a lock on its sequence to the end of the transaction.  Held
 * while we wait, it would meet a DROP TABLE decided at an earlier slot: the
 * learner waits for this session and this session for the learner.
 */
static void
release_sequences(ApiTable *t)
{
	ResourceOwner old = CurrentResourceOwner;
	ListCell *lc;

	foreach (lc, t->sequences)
	{
		LOCKTAG tag;

		SET_LOCKTAG_RELATION(tag, MyDatabaseId, lfirst_oid(lc));
		CurrentResourceOwner = TopTransactionResourceOwner;
		while (PaxosLockHeldByMe(&tag, RowExclusiveLock))
			UnlockRelationOid(lfirst_oid(lc), RowExclusiveLock);
		CurrentResourceOwner = old;
	}
}

/* And a second nextval() of this transaction believes it still has the lock. */
static void
lock_sequences(ApiTable *t)
{
	ResourceOwner old = CurrentResourceOwner;
	ListCell *lc;

	CurrentResourceOwner = TopTransactionResourceOwner;
	foreach (lc, t->sequences)
		LockRelationOid(lfirst_oid(lc), RowExclusiveLock);
	CurrentResourceOwner = old;
}

/* Ready to be evaluated, in the given context; NULL if there is no default. */
static ExprState *
prepare_default(ApiColumn *c, Relation rel, MemoryContext context)
{
	MemoryContext old;
	Node *expr;
	ExprState *state;

	expr = build_column_default(rel, c->attnum);
	if (expr == NULL)
		return NULL;
	old = MemoryContextSwitchTo(context);
	expr = (Node *) expression_planner((Expr *) copyObject(expr));
	state = ExecInitExpr((Expr *) expr, NULL);
	MemoryContextSwitchTo(old);
	return state;
}

/*
 * The default of a column, evaluated.  What was prepared is kept; but one that is
 * being evaluated cannot be evaluated once more inside of itself.
 */
static Datum
evaluate_default(ApiTable *t, ApiColumn *c, Relation rel, ExprContext *econtext, bool *isnull)
{
	ExprState *state = c->default_state;
	Datum value = (Datum) 0;

	*isnull = true;
	if (t->evaluating)
	{
		state = prepare_default(c, rel, CurrentMemoryContext);
		return state ? ExecEvalExprSwitchContext(state, econtext, isnull) : value;
	}

	if (state == NULL)
		state = c->default_state = prepare_default(c, rel, t->defaults_cxt);
	if (state == NULL)
		return value;
	t->evaluating = true;
	PG_TRY();
	{
		value = ExecEvalExprSwitchContext(state, econtext, isnull);
	}
	PG_FINALLY();
	{
		t->evaluating = false;
	}
	PG_END_TRY();
	return value;
}

/*
 * A whole row from what the caller gave: defaults evaluated, here and once;
 * generated columns left to every node.
 */
static Columns
complete_row(ApiTable *t, Relation rel, const Columns *given)
{
	Columns out;
	ExprContext *econtext = NULL;

	out.n = 0;
	out.at = palloc_array(PaxosColumn, t->n_columns);
	out.column = palloc_array(ApiColumn *, t->n_columns);

	/*
	 * Execute permission on a default's functions is checked when it is prepared,
	 * and what they do may be written into it then.
	 */
	if ((t->defaults_of != GetUserId() || t->defaults_at != functions_changed) && !t->evaluating)
	{
		for (int i = 0; i < t->n_columns; i++)
			t->columns[i].default_state = NULL;
		if (t->defaults_cxt != NULL)
			MemoryContextReset(t->defaults_cxt);
		else
			t->defaults_cxt =
				AllocSetContextCreate(t->context, "paxos defaults", ALLOCSET_SMALL_SIZES);
		t->defaults_of = GetUserId();
		t->defaults_at = functions_changed;
	}

	for (int i = 0; i < t->n_columns; i++)
	{
		ApiColumn *c = &t->columns[i];
		PaxosColumn *col;

		if (c->dropped || c->generated)
			continue;
		col = columns_find(given, c);
		if (col != NULL)
			out.at[out.n] = *col;
		else
		{
			Datum value = (Datum) 0;
			bool isnull = true;

			if (c->has_default)
			{
				if (econtext == NULL)
				{
					lock_sequences(t);
					econtext = CreateStandaloneExprContext();
				}
				value = evaluate_default(t, c, rel, econtext, &isnull);
			}
			if (isnull)
				put_null(&out.at[out.n], c);
			else
				put_text(&out.at[out.n], c, paxos_fixed_output(&c->output, value));
		}
		out.at[out.n].op = 0;
		out.column[out.n] = c;
		out.n++;
	}

	if (econtext != NULL)
	{
		FreeExprContext(econtext, true);
		release_sequences(t);
	}
	return out;
}

static Columns
key_of_row(ApiTable *t, const Columns *row)
{
	Columns key;

	key.n = t->n_key;
	key.at = palloc_array(PaxosColumn, t->n_key);
	key.column = t->key;
	for (int i = 0; i < t->n_key; i++)
	{
		PaxosColumn *c = columns_find(row, t->key[i]);

		if (c == NULL || c->isnull)
			refuse_null_key(t, t->key[i]);
		key.at[i] = *c;
	}
	return key;
}

/* ------------------------------------------------------------------
 * Privileges
 * ------------------------------------------------------------------
 */

static void
need_columns(ApiTable *t, const Columns *list, AclMode mode)
{
	if (pg_class_aclcheck(t->relid, GetUserId(), mode) == ACLCHECK_OK)
		return;
	if (list->n == 0 &&
		pg_attribute_aclcheck_all(t->relid, GetUserId(), mode, ACLMASK_ANY) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->name);
	for (int i = 0; i < list->n; i++)
	{
		if (pg_attribute_aclcheck(t->relid, list->column[i]->attnum, GetUserId(), mode) !=
			ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->name);
	}
}

static void
need_table(ApiTable *t, AclMode mode)
{
	if (pg_class_aclcheck(t->relid, GetUserId(), mode) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->name);
}

/* += and -= read the column they change. */
static void
need_sets(ApiTable *t, const Columns *sets)
{
	need_columns(t, sets, ACL_UPDATE);
	for (int i = 0; i < sets->n; i++)
	{
		Columns one = {1, &sets->at[i], &sets->column[i]};

		if (sets->at[i].op != PAXOS_SET_ASSIGN)
			need_columns(t, &one, ACL_SELECT);
	}
}

/*
 * A policy that applies to the caller could hide the very row the command
 * decides about; the learner, applying as the owner, would not see it.
 */
static void
refuse_row_security(ApiTable *t)
{
	if (check_enable_rls(t->relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has row-level security, which this function would not heed",
						t->name),
				 errhint("Use SELECT, INSERT, UPDATE or DELETE.")));
}

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
op_key(PaxosKeyedOp *op, const Columns *list)
{
	op->n_key = list->n;
	op->key = list->at;
}

static void
op_row(PaxosKeyedOp *op, const Columns *list)
{
	op->n_row = list->n;
	op->row = list->at;
}

static void
op_sets(PaxosKeyedOp *op, const Columns *list)
{
	op->n_sets = list->n;
	op->sets = list->at;
}

static void
op_conditions(PaxosKeyedOp *op, const Columns *list)
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

/* Begin an operation on a table, which comes back open (open_api_table). */
static ApiTable *
open_for_op(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, Relation *rel)
{
	ApiTable *t = open_api_table(relid, rel);

	refuse_row_security(t);
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
add_condition(PaxosKeyedOp *op, ApiTable *t, const Columns *key, const char *what, Jsonb *json)
{
	need_columns(t, key, ACL_SELECT);
	if (json != NULL)
	{
		Columns conditions = conditions_from_json(t, what, condition_ops, json);

		need_columns(t, &conditions, ACL_SELECT);
		op_conditions(op, &conditions);
	}
}

/* A row to insert: what the caller gave, with its privileges, and all of it. */
static Columns
complete_new_row(ApiTable *t, Relation rel, Columns given)
{
	for (int i = 0; i < given.n; i++)
	{
		given.at[i].op = 0;
		refuse_unassignable(given.column[i], true);
	}
	need_columns(t, &given, ACL_INSERT);
	return complete_row(t, rel, &given);
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
	ApiTable *t = open_for_op(op, verb, relid, &rel);
	Columns row = complete_new_row(t, rel, columns_from_json(t, what, no_ops, 0, new_row));
	Columns key = key_of_row(t, &row);

	op_key(op, &key);
	op_row(op, &row);
	relation_close(rel, AccessShareLock);
}

void
paxos_api_upsert(PaxosKeyedOp *op, Oid relid, const char *what, Jsonb *new_row)
{
	Relation rel;
	ApiTable *t = open_for_op(op, PAXOS_VERB_UPSERT, relid, &rel);
	Columns given = columns_from_json(t, what, no_ops, 0, new_row);
	Columns row = complete_new_row(t, rel, given);
	Columns key = key_of_row(t, &row);
	Columns sets;

	/* An existing row gets just the columns the caller named. */
	sets.n = 0;
	sets.at = palloc_array(PaxosColumn, given.n + 1);
	sets.column = palloc_array(ApiColumn *, given.n + 1);
	for (int i = 0; i < given.n; i++)
	{
		if (given.column[i]->is_key)
			continue;
		sets.at[sets.n] = given.at[i];
		sets.at[sets.n].op = PAXOS_SET_ASSIGN;
		sets.column[sets.n] = given.column[i];
		sets.n++;
	}
	need_columns(t, &sets, ACL_UPDATE);
	need_columns(t, &key, ACL_SELECT);
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
	ApiTable *t = open_for_op(op, PAXOS_VERB_UPDATE, relid, &rel);
	Columns key = key_from_json(t, key_json);
	Columns sets = sets_from_json(t, "set", set_ops, set_json, NULL);

	need_sets(t, &sets);
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
	ApiTable *t = open_for_op(op, verb, relid, &rel);
	Columns key = key_from_json(t, key_json);

	if (verb == PAXOS_VERB_DELETE)
		need_table(t, ACL_DELETE);
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
	ApiTable *t;
	Columns key, list;

	paxos_begin_write("paxos_cas()");
	t = open_for_op(&op, PAXOS_VERB_INSERT, table_arg(fcinfo), &rel);
	key = key_from_json(t, json_arg(fcinfo, 1, "key"));

	if (PG_ARGISNULL(2) && PG_ARGISNULL(3))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("expected and new must not both be null")));

	if (PG_ARGISNULL(2))
	{
		Columns given, row;

		/* The new columns, and the key's where they do not repeat it. */
		list = columns_from_json(t, "new", no_ops, 0, PG_GETARG_JSONB_P(3));
		given.n = 0;
		given.at = palloc_array(PaxosColumn, list.n + key.n);
		given.column = palloc_array(ApiColumn *, list.n + key.n);
		for (int i = 0; i < key.n; i++)
		{
			given.at[given.n] = key.at[i];
			given.column[given.n++] = key.column[i];
		}
		for (int i = 0; i < list.n; i++)
		{
			PaxosColumn *same = columns_find(&key, list.column[i]);

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
		row = complete_new_row(t, rel, given);
		op_row(&op, &row);
	}
	else
	{
		list = conditions_from_json(t, "expected", no_ops, PG_GETARG_JSONB_P(2));
		need_columns(t, &key, ACL_SELECT);
		need_columns(t, &list, ACL_SELECT);
		op_conditions(&op, &list);
		if (PG_ARGISNULL(3))
		{
			need_table(t, ACL_DELETE);
			op.verb = PAXOS_VERB_DELETE;
		}
		else
		{
			list = sets_from_json(t, "new", no_ops, PG_GETARG_JSONB_P(3), &key);
			need_sets(t, &list);
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
	ApiTable *table;
	Relation rel;
	Columns key;
	Columns value; /* as set, row and condition have it */
	PaxosKeyedOp op;
} KvOp;

static void
kv_begin(FunctionCallInfo fcinfo, const char *function, KvOp *kv)
{
	paxos_begin_write(function);
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("key must not be null")));

	memset(kv, 0, sizeof(*kv));
	kv->table = open_api_table(paxos_table_relid(PAXOS_KV_TABLE_ID), &kv->rel);
	refuse_row_security(kv->table);
	kv->key.n = 1;
	kv->key.at = palloc0_array(PaxosColumn, 1);
	kv->key.column = kv->table->key;
	put_text(kv->key.at, kv->table->key[0], text_to_cstring(PG_GETARG_TEXT_PP(0)));
	kv->op.table_id = kv->table->table_id;
	kv->op.definition = kv->table->definition;
	op_key(&kv->op, &kv->key);
}

static Columns
kv_value(KvOp *kv, Jsonb *json, uint8 op)
{
	Columns out;

	out.n = 1;
	out.at = palloc0_array(PaxosColumn, 1);
	out.column = palloc_array(ApiColumn *, 1);
	out.column[0] = find_column(kv->table, "value", 5);
	if (out.column[0] == NULL)
		no_such_column(kv->table, "value", 5);
	put_text(out.at, out.column[0], JsonbToCString(NULL, &json->root, VARSIZE(json)));
	out.at[0].op = op;
	return out;
}

static void
kv_row(KvOp *kv, Jsonb *json)
{
	Columns value = kv_value(kv, json, 0);
	Columns row;

	row.n = 2;
	row.at = palloc_array(PaxosColumn, 2);
	row.column = palloc_array(ApiColumn *, 2);
	row.at[0] = kv->key.at[0];
	row.column[0] = kv->key.column[0];
	row.at[1] = value.at[0];
	row.column[1] = value.column[0];
	need_columns(kv->table, &row, ACL_INSERT);
	op_row(&kv->op, &row);
}

static void
kv_conditions(KvOp *kv, Jsonb *expected)
{
	Columns list = kv_value(kv, expected, PAXOS_COND_EQ);

	need_columns(kv->table, &list, ACL_SELECT);
	op_conditions(&kv->op, &list);
}

static void
kv_sets(KvOp *kv, Jsonb *value)
{
	Columns list = kv_value(kv, value, PAXOS_SET_ASSIGN);

	need_columns(kv->table, &list, ACL_UPDATE);
	need_columns(kv->table, &kv->key, ACL_SELECT);
	op_sets(&kv->op, &list);
}

static void
kv_delete(KvOp *kv)
{
	need_table(kv->table, ACL_DELETE);
	need_columns(kv->table, &kv->key, ACL_SELECT);
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
	ApiTable *t;
	Oid relid;
	Columns all;
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
	t = open_api_table(relid, &rel);
	refuse_row_security(t);
	all.n = 2;
	all.at = NULL;
	all.column = palloc_array(ApiColumn *, 2);
	all.column[0] = t->key[0];
	all.column[1] = find_column(t, "value", 5);
	if (all.column[1] == NULL)
		no_such_column(t, "value", 5);
	need_columns(t, &all, ACL_SELECT);
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
