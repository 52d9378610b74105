/*
 * paxos_api_table.c
 *	  Tables as the functions that users call know them: columns and key, defaults, what the
 *	  caller may do with them.
 *
 * Owns: a cache of what is costly to find out about a table; the evaluation of defaults,
 * once, in the session of the caller; privileges on columns.  Not its business: JSON
 * (paxos_api_json.c), and what is done with an operation (paxos_api.c).
 *
 * State: the cache, private to the backend and dropped by relcache invalidation.  Nothing
 * here survives a crash or needs to.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_api_int.h"
#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_text.h"

/*
 * A default may call a function that calls us again, for the same table, after an
 * invalidation or as another role.  What the outer call holds must then stay as it
 * is: what is replaced lives on to the end of the transaction (retire()).
 */
typedef struct ApiEntry
{
	Oid relid;            /* hash key */
	bool valid;           /* cleared by relcache invalidation */
	PaxosApiTable *table; /* NULL: not built */
} ApiEntry;

static HTAB *api_tables = NULL;

/* Counts changes of pg_proc: a default may contain the body of a function. */
static uint64 functions_changed = 0;

/* ------------------------------------------------------------------
 * What we know about a table
 * ------------------------------------------------------------------
 */

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
describe_column(PaxosApiColumn *c, Form_pg_attribute att, MemoryContext context)
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
		c->shape = PAXOS_SHAPE_JSON;
	else if (OidIsValid(element))
	{
		int16 typlen;
		bool typbyval;
		char typalign;
		Oid ioparam;

		c->shape = PAXOS_SHAPE_ARRAY;
		get_type_io_data(element, IOFunc_input, &typlen, &typbyval, &typalign, &c->delimiter,
						 &ioparam, &func);
		c->json_elements = element == JSONBOID || element == JSONOID;
	}
	else
		c->shape = PAXOS_SHAPE_PLAIN;

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
describe_key(PaxosApiTable *t, Relation rel)
{
	Relation index;
	List *indexes = RelationGetIndexList(rel); /* sets rd_pkindex */

	list_free(indexes);
	if (!OidIsValid(rel->rd_pkindex))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" has no primary key", t->name)));

	index = index_open(rel->rd_pkindex, AccessShareLock);
	t->n_key = index->rd_index->indnkeyatts;
	t->key = MemoryContextAlloc(t->context, t->n_key * sizeof(PaxosApiColumn *));
	for (int i = 0; i < t->n_key; i++)
	{
		t->key[i] = &t->columns[index->rd_index->indkey.values[i] - 1];
		t->key[i]->is_key = true;
	}
	t->definition = paxos_definition_of(rel, index);
	index_close(index, AccessShareLock);
}

PaxosApiTable *
paxos_api_open(Oid relid, Relation *rel)
{
	ApiEntry *e;
	PaxosApiTable *t;
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
	t = MemoryContextAllocZero(context, sizeof(PaxosApiTable));
	t->relid = relid;
	t->context = context;
	t->table_id = table_id;
	t->name = MemoryContextStrdup(t->context, RelationGetRelationName(r));
	t->n_columns = RelationGetDescr(r)->natts;
	t->columns = MemoryContextAllocZero(t->context, t->n_columns * sizeof(PaxosApiColumn));
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

PaxosApiColumn *
paxos_api_column(PaxosApiTable *t, const char *name, int len)
{
	for (int i = 0; i < t->n_columns; i++)
	{
		PaxosApiColumn *c = &t->columns[i];

		if (!c->dropped && c->name_len == len && memcmp(c->name, name, len) == 0)
			return c;
	}
	return NULL;
}

void
paxos_api_no_column(PaxosApiTable *t, const char *name, int len)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("column \"%.*s\" of table \"%s\" does not exist", len, name, t->name)));
}

/* ------------------------------------------------------------------
 * What is said of its columns
 * ------------------------------------------------------------------
 */

PaxosColumn *
paxos_api_find(const PaxosApiList *list, const PaxosApiColumn *c)
{
	for (int i = 0; i < list->n; i++)
	{
		if (list->column[i] == c)
			return &list->at[i];
	}
	return NULL;
}

void
paxos_api_put_null(PaxosColumn *out, PaxosApiColumn *c)
{
	out->attnum = c->attnum;
	out->op = 0;
	out->isnull = true;
	out->text = pstrdup("");
}

void
paxos_api_put_text(PaxosColumn *out, PaxosApiColumn *c, char *text)
{
	out->attnum = c->attnum;
	out->op = 0;
	out->isnull = false;
	out->text = text;
}

void
paxos_api_refuse_unassignable(PaxosApiColumn *c, bool insert)
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

void
paxos_api_refuse_null_key(PaxosApiTable *t, PaxosApiColumn *c)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("null value in primary key column \"%s\" of table \"%s\"", c->name, t->name)));
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
release_sequences(PaxosApiTable *t)
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
lock_sequences(PaxosApiTable *t)
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
prepare_default(PaxosApiColumn *c, Relation rel, MemoryContext context)
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
evaluate_default(PaxosApiTable *t, PaxosApiColumn *c, Relation rel, ExprContext *econtext,
				 bool *isnull)
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
static PaxosApiList
complete_row(PaxosApiTable *t, Relation rel, const PaxosApiList *given)
{
	PaxosApiList out;
	ExprContext *econtext = NULL;

	out.n = 0;
	out.at = palloc_array(PaxosColumn, t->n_columns);
	out.column = palloc_array(PaxosApiColumn *, t->n_columns);

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
		PaxosApiColumn *c = &t->columns[i];
		PaxosColumn *col;

		if (c->dropped || c->generated)
			continue;
		col = paxos_api_find(given, c);
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
				paxos_api_put_null(&out.at[out.n], c);
			else
				paxos_api_put_text(&out.at[out.n], c, paxos_fixed_output(&c->output, value));
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

/* ------------------------------------------------------------------
 * Privileges
 * ------------------------------------------------------------------
 */

void
paxos_api_need_columns(PaxosApiTable *t, const PaxosApiList *list, AclMode mode)
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

void
paxos_api_need_table(PaxosApiTable *t, AclMode mode)
{
	if (pg_class_aclcheck(t->relid, GetUserId(), mode) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, t->name);
}

void
paxos_api_need_sets(PaxosApiTable *t, const PaxosApiList *sets)
{
	paxos_api_need_columns(t, sets, ACL_UPDATE);
	for (int i = 0; i < sets->n; i++)
	{
		PaxosApiList one = {1, &sets->at[i], &sets->column[i]};

		if (sets->at[i].op != PAXOS_SET_ASSIGN)
			paxos_api_need_columns(t, &one, ACL_SELECT);
	}
}

/*
 * A policy that applies to the caller could hide the very row the command
 * decides about; the learner, applying as the owner, would not see it.
 */
void
paxos_api_refuse_row_security(PaxosApiTable *t)
{
	if (check_enable_rls(t->relid, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" has row-level security, which this function would not heed",
						t->name),
				 errhint("Use SELECT, INSERT, UPDATE or DELETE.")));
}

/* ------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------
 */

PaxosApiList
paxos_api_new_row(PaxosApiTable *t, Relation rel, PaxosApiList given)
{
	for (int i = 0; i < given.n; i++)
	{
		given.at[i].op = 0;
		paxos_api_refuse_unassignable(given.column[i], true);
	}
	paxos_api_need_columns(t, &given, ACL_INSERT);
	return complete_row(t, rel, &given);
}

PaxosApiList
paxos_api_key_of_row(PaxosApiTable *t, const PaxosApiList *row)
{
	PaxosApiList key;

	key.n = t->n_key;
	key.at = palloc_array(PaxosColumn, t->n_key);
	key.column = t->key;
	for (int i = 0; i < t->n_key; i++)
	{
		PaxosColumn *c = paxos_api_find(row, t->key[i]);

		if (c == NULL || c->isnull)
			paxos_api_refuse_null_key(t, t->key[i]);
		key.at[i] = *c;
	}
	return key;
}
