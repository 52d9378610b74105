/*
 * paxos_apply.c
 *	  One keyed operation against the local tables (protocol.md § 6,
 *	  architecture.md §§ 3, 6).
 *
 * A keyed operation names one row by its primary key, looks at it, and changes
 * it or not.  What it does depends on that row and on the operation alone: no
 * planner, no statistics, no physical order, no clock, and no setting that
 * paxos_fix_worker_settings() has not fixed.  It is executed at row level: the
 * primary key index finds the row, the executor's own routines check
 * constraints, store the row and maintain indexes.  Row triggers are not given
 * to the executor (the learner has no trigger descriptor at all): the backstop
 * that keeps everybody else away must not meet the one process it protects, and
 * a user's trigger would run once per node.
 *
 * Everything of the owner's that runs here (CHECK, index, generated-column and
 * domain expressions) runs as the owner, in a security-restricted operation,
 * and with settings it changes put back: on every node these run in a process
 * that is otherwise a superuser's.
 *
 * Visibility: rows are looked up with SnapshotSelf.  Only the learner changes
 * consensus tables, so whatever is committed, or done by an earlier command of
 * this transaction, is the state at this slot; there is nobody to be
 * snapshotted against.
 *
 * Locks are taken without ever waiting for a local session (paxos_yield.c).
 *
 * Two layers of memory.  PaxosRelInfo is what is costly to find out about a
 * table (functions of its column types, scan keys); it lives as long as no
 * relcache invalidation strikes it.  PaxosApply holds relations and the
 * executor state open over the commands of one transaction (or one
 * subtransaction).  After an error both are forgotten: the transaction's end has
 * released the relations, and what was half built is not worth reasoning about.
 *
 * No state of its own survives, and none has to: a crash loses caches.
 *
 * Not here: in which order and transaction commands run and what becomes of
 * their errors (paxos_execute.c); DDL (paxos_ddl.c); who may ask (paxos_api.c).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_apply_int.h"
#include "paxos_ddl.h"
#include "paxos_expr.h"
#include "paxos_turn.h"

/*
 * ---- what is costly to find out about a table ----
 */

/* The most that an expression over a row may take from it, or make. */
#define MAX_COMPUTED_BYTES (16 * 1024 * 1024)

bool paxos_evaluating = false;

static HTAB *infos = NULL;

static void
forget_infos(void)
{
	HASH_SEQ_STATUS seq;
	PaxosRelInfo *info;

	hash_seq_init(&seq, infos);
	while ((info = hash_seq_search(&seq)) != NULL)
	{
		info->valid = false;
		info->struck = true;
	}
}

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid))
		forget_infos();
	else
	{
		PaxosRelInfo *info = hash_search(infos, &relid, HASH_FIND, NULL);

		if (info != NULL)
		{
			info->valid = false;
			info->struck = true;
		}
	}
}

void
paxos_apply_forget(void)
{
	/* the map too: a row put right by hand sends no invalidation */
	paxos_table_forget();
	if (infos != NULL)
		forget_infos();
}

/* The primary key index, whether deferrable or not; InvalidOid if none. */
static Oid
primary_key_index(Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	Oid result = InvalidOid;
	ListCell *lc;

	foreach (lc, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (HeapTupleIsValid(tuple))
		{
			Form_pg_index form = (Form_pg_index) GETSTRUCT(tuple);

			if (form->indisprimary && form->indisvalid)
				result = form->indexrelid;
			ReleaseSysCache(tuple);
		}
	}
	list_free(indexes);
	return result;
}

static PaxosRelInfo *
rel_info(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	Oid relid = RelationGetRelid(rel);
	PaxosRelInfo *info;
	bool found;
	MemoryContext old;
	Relation pk;

	if (infos == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(PaxosRelInfo);
		ctl.hcxt = TopMemoryContext;
		infos = hash_create("paxos relations", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	}
	info = hash_search(infos, &relid, HASH_ENTER, &found);
	if (!found)
	{
		info->valid = false;
		info->cxt = NULL;
	}
	if (info->valid)
		return info;

	if (info->cxt != NULL)
		MemoryContextDelete(info->cxt);
	info->cxt = NULL;
	info->struck = false;
	info->cxt = AllocSetContextCreate(TopMemoryContext, "paxos relation", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(info->cxt);

	info->owner = rel->rd_rel->relowner;
	info->natts = desc->natts;
	info->has_domain = false;
	info->columns = palloc0(sizeof(PaxosColumnInfo) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		PaxosColumnInfo *column = &info->columns[i];
		Oid input;

		if (att->attisdropped)
			continue;
		column->settable = att->attgenerated == '\0';
		column->type = att->atttypid;
		column->typmod = att->atttypmod;
		column->collation = att->attcollation;
		column->base_typmod = att->atttypmod;
		column->base_type = getBaseTypeAndTypmod(att->atttypid, &column->base_typmod);
		column->is_domain = column->base_type != column->type;
		if (column->is_domain && column->settable)
			info->has_domain = true;
		getTypeInputInfo(att->atttypid, &input, &column->ioparam);
		fmgr_info_cxt(input, &column->input, info->cxt);
	}

	info->pk_index = primary_key_index(rel);
	pk = OidIsValid(info->pk_index) ? index_open(info->pk_index, RowExclusiveLock) : NULL;
	info->n_key = pk != NULL ? IndexRelationGetNumberOfKeyAttributes(pk) : 0;
	for (int i = 0; i < info->n_key; i++)
	{
		Oid op = get_opfamily_member(pk->rd_opfamily[i], pk->rd_opcintype[i], pk->rd_opcintype[i],
									 BTEqualStrategyNumber);

		if (!OidIsValid(op))
			elog(ERROR, "no equality operator for column %d of index %u", i + 1, info->pk_index);
		info->key[i] = pk->rd_index->indkey.values[i];
		ScanKeyInit(&info->scankey[i], i + 1, BTEqualStrategyNumber, get_opcode(op), (Datum) 0);
		info->scankey[i].sk_collation = pk->rd_indcollation[i];
	}
	info->definition = paxos_definition_of(rel, pk);
	if (pk != NULL)
		index_close(pk, NoLock);
	info->keys = paxos_keys_of(rel, paxos_table_id(relid));
	info->plain_keys = paxos_keys_are_plain(info->keys);
	info->key_columns = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_KEY);
	info->only_key = paxos_keys_max(info->keys) == (info->n_key > 0 ? 1 : 0);
	info->triggers = paxos_needs_sets(rel);

	MemoryContextSwitchTo(old);

	/* Good as long as the table is locked; but not to be kept if an
	 * invalidation arrived meanwhile. */
	info->valid = !info->struck;
	return info;
}

/*
 * ---- relations open over one transaction ----
 */

PaxosApply *
paxos_apply_begin(void)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos apply", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	PaxosApply *apply = palloc0(sizeof(PaxosApply));

	apply->cxt = cxt;
	apply->command_cxt = AllocSetContextCreate(cxt, "paxos command", ALLOCSET_DEFAULT_SIZES);
	apply->estate = CreateExecutorState();
	MemoryContextSwitchTo(old);
	return apply;
}

void
paxos_apply_end(PaxosApply *apply)
{
	ListCell *lc;

	foreach (lc, apply->tables)
	{
		PaxosApplyTable *t = lfirst(lc);

		ExecDropSingleTupleTableSlot(t->found);
		ExecDropSingleTupleTableSlot(t->proposed);
		ExecDropSingleTupleTableSlot(t->fresh);
		ExecDropSingleTupleTableSlot(t->other);
		ExecCloseIndices(t->result);
		table_close(t->rel, NoLock); /* locked to the transaction's end */
	}
	FreeExecutorState(apply->estate);
	MemoryContextDelete(apply->cxt);
}

PaxosApplyTable *
paxos_apply_open(PaxosApply *apply, int64 table_id, LOCKMODE lock)
{
	Oid relid;
	PaxosApplyTable *t;
	ListCell *lc;
	List *indexes;
	MemoryContext old;

	foreach (lc, apply->tables)
	{
		t = lfirst(lc);
		if (t->table_id != table_id)
			continue;
		if (t->lock < lock)
			(void) paxos_lock_for_apply(RelationGetRelid(t->rel), lock);
		t->lock = Max(t->lock, lock);
		return t;
	}

	relid = paxos_table_relid(table_id);
	if (!OidIsValid(relid))
		return NULL;

	/*
	 * The replicated catalogue has it, so it must be here.  If it is not, this
	 * node is damaged; to answer "no such table" would be this node's own
	 * opinion.
	 */
	if (!paxos_lock_for_apply(relid, lock))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation %u of consensus table " INT64_FORMAT " is missing on this node",
						relid, table_id)));

	old = MemoryContextSwitchTo(apply->cxt);
	t = palloc0(sizeof(PaxosApplyTable));
	t->table_id = table_id;
	t->lock = lock;
	t->rel = table_open(relid, NoLock);
	if (t->rel->rd_rel->relkind != RELKIND_RELATION || !paxos_is_consensus_table(relid))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("relation \"%s\" stands for consensus table " INT64_FORMAT
							   " but is not one",
							   RelationGetRelationName(t->rel), table_id)));

	/* An index can be locked by itself (ALTER INDEX): clear that way too. */
	indexes = RelationGetIndexList(t->rel);
	foreach (lc, indexes)
		(void) paxos_lock_for_apply(lfirst_oid(lc), RowExclusiveLock);
	list_free(indexes);

	t->info = rel_info(t->rel);
	t->result = makeNode(ResultRelInfo);
	InitResultRelInfo(t->result, t->rel, 0, NULL, 0);
	t->result->ri_TrigDesc = NULL;    /* see the top of this file */
	ExecOpenIndices(t->result, true); /* with what clear_unique_keys() needs */
	for (int i = 0; i < t->result->ri_NumIndices; i++)
	{
		if (RelationGetRelid(t->result->ri_IndexRelationDescs[i]) == t->info->pk_index)
			t->pk = t->result->ri_IndexRelationDescs[i];
	}
	if (t->pk == NULL && t->info->n_key > 0)
		elog(ERROR, "primary key index of \"%s\" vanished", RelationGetRelationName(t->rel));
	t->found = table_slot_create(t->rel, NULL);
	t->proposed = MakeSingleTupleTableSlot(RelationGetDescr(t->rel), &TTSOpsVirtual);
	t->fresh = MakeSingleTupleTableSlot(RelationGetDescr(t->rel), &TTSOpsVirtual);
	t->other = table_slot_create(t->rel, NULL);
	apply->tables = lappend(apply->tables, t);
	MemoryContextSwitchTo(old);
	return t;
}

/*
 * ---- values ----
 *
 * What follows throws for whatever the command itself got wrong, always with an
 * SQLSTATE of class 22: what a column is, is replicated, so it is the same error
 * on every node.
 */

static PaxosColumnInfo *
column_info(PaxosApplyTable *t, AttrNumber attnum)
{
	if (attnum < 1 || attnum > t->info->natts || !t->info->columns[attnum - 1].settable)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("column number %d of table \"%s\" cannot be named in a command",
							   attnum, RelationGetRelationName(t->rel))));
	return &t->info->columns[attnum - 1];
}

static Datum
column_value(PaxosColumnInfo *column, const PaxosColumn *c)
{
	/* even for NULL: a domain may refuse it */
	return InputFunctionCall(&column->input, c->isnull ? NULL : c->text, column->ioparam,
							 column->typmod);
}

/* What assigning a value computed in the base type to the column does to it. */
static Datum
fit_column(PaxosApplyTable *t, PaxosColumnInfo *column, Datum value)
{
	if (!column->fit_known)
	{
		Oid function = InvalidOid;

		if (column->base_typmod >= 0 &&
			find_typmod_coercion_function(column->base_type, &function) == COERCION_PATH_FUNC)
			fmgr_info_cxt(function, &column->fit, t->info->cxt);
		column->fit_known = true;
	}
	if (OidIsValid(column->fit.fn_oid))
		value = FunctionCall3Coll(&column->fit, column->collation, value,
								  Int32GetDatum(column->base_typmod), BoolGetDatum(false));
	if (column->is_domain)
		domain_check(value, false, column->type, &column->domain_extra, t->info->cxt);
	return value;
}

static Datum
column_arithmetic(PaxosApplyTable *t, PaxosColumnInfo *column, uint8 op, Datum left, Datum right,
				  bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo *function = op == PAXOS_SET_ADD ? &column->add : &column->subtract;
	Datum value;

	if (!OidIsValid(function->fn_oid))
	{
		const char *name = op == PAXOS_SET_ADD ? "+" : "-";
		Oid operator;

		operator= OpernameGetOprid(
			list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup(name))),
			column->base_type, column->base_type);
		if (!OidIsValid(operator) || get_op_rettype(operator) != column->base_type)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("type %s has no operator %s within itself",
								   format_type_be(column->base_type), name)));
		fmgr_info_cxt(get_opcode(operator), function, t->info->cxt);
	}

	/*
	 * Not FunctionCall2Coll(), for which a null is an internal error: two closed
	 * paths have no sum, and every learner would stop at that.
	 */
	InitFunctionCallInfoData(*fcinfo, function, 2, column->collation, NULL, NULL);
	fcinfo->args[0].value = left;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = right;
	fcinfo->args[1].isnull = false;
	value = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	if (!*isnull)
		return fit_column(t, column, value);
	if (column->is_domain)
		domain_check((Datum) 0, true, column->type, &column->domain_extra, t->info->cxt);
	return (Datum) 0;
}

/*
 * The expressions of a list of sets or conditions, ready to be evaluated; NULL
 * for the others.  Done before this process becomes the owner: whether the owner
 * may call a built-in function is each node's own, and the caller's right to has
 * been looked at where the statement was issued.
 */
static ExprState **
prepare_expressions(PaxosApplyTable *t, PaxosVerb verb, int n, const PaxosColumn *list, uint8 op)
{
	ExprState **states = palloc0_array(ExprState *, Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		Expr *expr;
		Oid type = op == PAXOS_COND_EXPRESSION ? BOOLOID : InvalidOid;

		if (list[i].op != op)
			continue;
		if (!OidIsValid(type))
			type = column_info(t, list[i].attnum)->base_type;
		if (list[i].isnull)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("an expression of the command is missing")));
		expr = paxos_expr_decode(list[i].text, RelationGetDescr(t->rel),
								 verb == PAXOS_VERB_INSERT_UPDATE);
		if (exprType((Node *) expr) != type)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("an expression of the command is of another type")));
		states[i] = ExecInitExpr(expr, NULL);
	}
	return states;
}

static void
refuse_size(void)
{
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("an expression over a row may not compute with more than %d MB",
						   MAX_COMPUTED_BYTES / (1024 * 1024))));
}

/*
 * A statement that doubles a text, again and again, would soon have every learner
 * without memory, which is an error of the node and not of the statement: it would
 * be tried again for ever.  So what an expression takes from the row is bounded,
 * every mention counted, and so is what it makes.
 */
static void
check_input_size(PaxosApplyTable *t, Expr *expr)
{
	List *vars = pull_var_clause((Node *) expr, 0);
	Size total = 0;
	ListCell *lc;

	foreach (lc, vars)
	{
		Var *var = lfirst_node(Var, lc);
		bool isnull;
		Datum value = slot_getattr(var->varno == PAXOS_EXPR_PROPOSED ? t->proposed : t->found,
								   var->varattno, &isnull);

		if (!isnull && get_typlen(var->vartype) == -1)
			total += toast_raw_datum_size(value);
		if (total > MAX_COMPUTED_BYTES)
			refuse_size();
	}
}

static void
check_size(PaxosColumnInfo *column, Datum value)
{
	if (get_typlen(column->base_type) == -1 && toast_raw_datum_size(value) > MAX_COMPUTED_BYTES)
		refuse_size();
}

static Datum
evaluate(PaxosApply *apply, PaxosApplyTable *t, ExprState *state, bool *isnull)
{
	ExprContext *econtext = GetPerTupleExprContext(apply->estate);
	Datum value;

	check_input_size(t, state->expr);
	econtext->ecxt_scantuple = t->found;
	econtext->ecxt_innertuple = t->proposed; /* PAXOS_EXPR_PROPOSED */
	paxos_evaluating = true;
	value = ExecEvalExpr(state, econtext, isnull);
	paxos_evaluating = false;
	return value;
}

static bool
condition_holds(PaxosApplyTable *t, const PaxosColumn *condition)
{
	PaxosColumnInfo *column;
	Datum have;
	Datum want;
	bool have_null;
	int order;

	/* a generated column may be looked at, though not set */
	if (condition->attnum < 1 || condition->attnum > t->info->natts ||
		!OidIsValid(t->info->columns[condition->attnum - 1].type))
		column = column_info(t, condition->attnum);
	else
		column = &t->info->columns[condition->attnum - 1];

	have = slot_getattr(t->found, condition->attnum, &have_null);
	if (have_null || condition->isnull)
	{
		switch (condition->op)
		{
			case PAXOS_COND_EQ:
				return have_null && condition->isnull;
			case PAXOS_COND_NE:
				return have_null != condition->isnull;
			default:
				return false;
		}
	}

	if (column->order == NULL)
		column->order = lookup_type_cache(column->base_type, TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(column->order->cmp_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values of type %s cannot be compared", format_type_be(column->type)),
				 errdetail("The type has no default operator class for access method \"btree\".")));
	want = column_value(column, condition);
	order = DatumGetInt32(
		FunctionCall2Coll(&column->order->cmp_proc_finfo, column->collation, have, want));
	switch (condition->op)
	{
		case PAXOS_COND_EQ:
			return order == 0;
		case PAXOS_COND_NE:
			return order != 0;
		case PAXOS_COND_LT:
			return order < 0;
		case PAXOS_COND_LE:
			return order <= 0;
		case PAXOS_COND_GT:
			return order > 0;
		case PAXOS_COND_GE:
			return order >= 0;
		case PAXOS_COND_EXPRESSION:
			break; /* evaluated by conditions_hold() */
	}
	return false;
}

/* The row as JSON text, or as text of a record, in 'where'. */
static char *
row_image(TupleTableSlot *row, bool as_record, MemoryContext where)
{
	Datum composite = ExecFetchSlotHeapTupleDatum(row);
	char *image;
	MemoryContext old;

	if (as_record)
		return MemoryContextStrdup(where, OidOutputFunctionCall(F_RECORD_OUT, composite));
	composite = DirectFunctionCall1(row_to_json, composite);
	old = MemoryContextSwitchTo(where);
	image = text_to_cstring(DatumGetTextPP(composite));
	MemoryContextSwitchTo(old);
	return image;
}

/*
 * ---- the row changes ----
 */

bool
paxos_apply_find(PaxosApplyTable *t, int n_key, const PaxosColumn *key)
{
	PaxosRelInfo *info = t->info;
	ScanKeyData keys[INDEX_MAX_KEYS];
	IndexScanDesc scan;
	bool found;

	if (n_key != info->n_key)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("key of table \"%s\" has %d columns, not %d",
							   RelationGetRelationName(t->rel), info->n_key, n_key)));
	memcpy(keys, info->scankey, sizeof(ScanKeyData) * info->n_key);
	for (int i = 0; i < info->n_key; i++)
	{
		const PaxosColumn *c = NULL;

		for (int j = 0; j < n_key && c == NULL; j++)
		{
			if (key[j].attnum == info->key[i])
				c = &key[j];
		}
		if (c == NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("column %d of the key of table \"%s\" is missing", info->key[i],
								   RelationGetRelationName(t->rel))));
		if (c->isnull)
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("a key column of table \"%s\" is null",
								   RelationGetRelationName(t->rel))));
		keys[i].sk_argument = column_value(&info->columns[c->attnum - 1], c);
	}

	scan = PaxosIndexBeginScan(t->rel, t->pk, SnapshotSelf, info->n_key);
	index_rescan(scan, keys, info->n_key, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, t->found);
	index_endscan(scan);
	return found;
}

/* A row with its values in place: what is generated, and may it be in the table? */
static void
complete_row(PaxosApply *apply, PaxosApplyTable *t, TupleTableSlot *row)
{
	EState *estate = apply->estate;
	TupleConstr *constr = RelationGetDescr(t->rel)->constr;

	ExecStoreVirtualTuple(row);
	row->tts_tableOid = RelationGetRelid(t->rel);

	/*
	 * As for an INSERT also when the row is updated: every generated column is
	 * computed, whatever columns were set.
	 */
	if (constr != NULL && constr->has_generated_stored)
	{
		ExecComputeStoredGenerated(t->result, estate, row, CMD_INSERT);
		row->tts_tableOid = RelationGetRelid(t->rel);
	}
	if (constr != NULL)
		ExecConstraints(t->result, row, estate);
	if (t->rel->rd_rel->relispartition)
		(void) ExecPartitionCheck(t->result, row, estate, true);
}

/*
 * ---- nobody in the way ----
 *
 * A local transaction that changes consensus tables and is not decided yet holds row
 * locks, and has entries in unique indexes.  Waiting for it in the heap or the index would
 * be for as long as its client likes: whoever is found there is ended.
 */

/* What the command at hand changes; see paxos_apply_changed(). */
static uint64 *changed = NULL;
static int changed_room = 0;
static int n_changed = 0;

static void
note_changed(PaxosApplyTable *t, bool old, TupleTableSlot *new)
{
	PaxosKeys *keys = t->info->keys;
	int needed = n_changed + 2 * paxos_keys_max(keys) + 2;
	int n_old = 0;
	int n_new = 0;

	if (changed_room < needed)
	{
		needed *= 2;
		changed = changed == NULL ? MemoryContextAlloc(TopMemoryContext, sizeof(uint64) * needed)
								  : repalloc_huge(changed, sizeof(uint64) * needed);
		changed_room = needed;
	}
	if (old)
		n_old = paxos_keys_of_row(keys, t->found, changed + n_changed);
	if (new != NULL)
		n_new = paxos_keys_of_row(keys, new, changed + n_changed + n_old);
	if (old &&
		!(t->info->plain_keys && n_old == n_new &&
		  memcmp(changed + n_changed, changed + n_changed + n_old, sizeof(uint64) * n_old) == 0))
		changed[n_changed + n_old + n_new++] = paxos_key_gone(paxos_key_of_row(keys, t->found));
	n_changed += n_old + n_new;
	changed[n_changed++] = paxos_key_any(t->table_id);
	paxos_turn_changing(changed, n_changed);
}

static void
forget_changed(void)
{
	n_changed = 0;
	paxos_turn_changing(NULL, 0);
}

const uint64 *
paxos_apply_changed(int *n)
{
	*n = n_changed;
	return changed;
}

/*
 * End transactions that have put, or are deleting, a row with a key of this one in an
 * index.  One that comes between this and our own entry is met by lock_timeout and
 * the next try.
 */
static void
clear_unique_keys(PaxosApply *apply, PaxosApplyTable *t, TupleTableSlot *row)
{
	EState *estate = apply->estate;

	if (!paxos_turn_anyone())
		return;
	GetPerTupleExprContext(estate)->ecxt_scantuple = row;
	for (int i = 0; i < t->result->ri_NumIndices; i++)
	{
		Relation index = t->result->ri_IndexRelationDescs[i];
		IndexInfo *ii = t->result->ri_IndexRelationInfo[i];
		bool exclusion = ii->ii_ExclusionOps != NULL;
		Datum values[INDEX_MAX_KEYS];
		bool isnull[INDEX_MAX_KEYS];
		ScanKeyData keys[INDEX_MAX_KEYS];
		int n = IndexRelationGetNumberOfKeyAttributes(index);
		bool nulls = false;
		TransactionId xid;

		if (!exclusion && !ii->ii_Unique)
			continue;

		/* Of a row that is not in it the expressions need not be possible: an error here
		 * would be the command's on those nodes alone where somebody is registered. */
		if (ii->ii_Predicate != NIL && ii->ii_PredicateState == NULL)
			ii->ii_PredicateState = ExecPrepareQual(ii->ii_Predicate, estate);
		if (!ExecQual(ii->ii_PredicateState, GetPerTupleExprContext(estate)))
			continue;
		FormIndexDatum(ii, row, estate, values, isnull);
		for (int k = 0; k < n; k++)
		{
			if (isnull[k] && ii->ii_NullsNotDistinct)
				ScanKeyEntryInitialize(&keys[k], SK_ISNULL | SK_SEARCHNULL, k + 1, InvalidStrategy,
									   InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
			else
			{
				ScanKeyEntryInitialize(
					&keys[k], 0, k + 1,
					exclusion ? ii->ii_ExclusionStrats[k] : ii->ii_UniqueStrats[k], InvalidOid,
					index->rd_indcollation[k],
					exclusion ? ii->ii_ExclusionProcs[k] : ii->ii_UniqueProcs[k], values[k]);
				nulls = nulls || isnull[k];
			}
		}
		if (nulls)
			continue;
		do
		{
			SnapshotData dirty;
			IndexScanDesc scan;

			InitDirtySnapshot(dirty);
			xid = InvalidTransactionId;
			scan = PaxosIndexBeginScan(t->rel, index, &dirty, n);
			index_rescan(scan, keys, n, NULL, 0);
			while (!TransactionIdIsValid(xid) &&
				   index_getnext_slot(scan, ForwardScanDirection, t->other))
				xid = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
			index_endscan(scan);
			ExecClearTuple(t->other);
			if (TransactionIdIsValid(xid))
				paxos_end_transaction_in_the_way(xid);
		} while (TransactionIdIsValid(xid));
	}
}

/* Anything but "somebody has it locked" cannot be: nobody else commits a change. */
static void
not_in_the_way(PaxosApplyTable *t, TM_Result result)
{
	if (result != TM_BeingModified)
		elog(ERROR, "a row of consensus table \"%s\" changed while it was being applied (%d)",
			 RelationGetRelationName(t->rel), (int) result);
}

void
paxos_apply_delete(PaxosApplyTable *t)
{
	TM_FailureData failure;
	TM_Result result;
	bool wait = false;

	CheckCmdReplicaIdentity(t->rel, CMD_DELETE);
	for (;;)
	{
		paxos_clear_row_locks(t->found, LockTupleExclusive);
		result = table_tuple_delete(t->rel, &t->found->tts_tid, GetCurrentCommandId(true),
									GetActiveSnapshot(), InvalidSnapshot, wait, &failure, false);
		if (result == TM_Ok)
			return;
		not_in_the_way(t, result);

		/* Locked by an earlier slot of this transaction: the heap only looks whose it is
		 * when it may wait. */
		wait = true;
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * KEY SHARE lets a transaction be that has updated the row, but not what that has done to
 * the row since: its newer versions may be deleted, or locked FOR UPDATE.  (A session updates a
 * parent and deletes it; a child comes from the log in between.)
 */
static void
clear_newer_versions(PaxosApplyTable *t, LockTupleMode mode)
{
	TupleTableSlot *row = t->found;

	for (;;)
	{
		HeapTuple tuple = ExecFetchSlotHeapTuple(row, false, NULL);
		HeapTupleHeader header = tuple->t_data;
		ItemPointerData next = header->t_ctid;
		TransactionId updater;

		if ((header->t_infomask & HEAP_XMAX_INVALID) != 0 ||
			HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) ||
			HeapTupleHeaderIndicatesMovedPartitions(header) ||
			ItemPointerEquals(&tuple->t_self, &next))
			break;
		updater = HeapTupleHeaderGetUpdateXid(header);
		if (!table_tuple_fetch_row_version(t->rel, &next, SnapshotAny, t->other))
			break;
		tuple = ExecFetchSlotHeapTuple(t->other, false, NULL);
		if (!TransactionIdEquals(HeapTupleHeaderGetXmin(tuple->t_data), updater))
			break;
		paxos_clear_row_locks(t->other, mode);
		row = t->other;
	}
	ExecClearTuple(t->other);
}

void
paxos_apply_lock(PaxosApplyTable *t, LockTupleMode mode)
{
	for (;;)
	{
		ItemPointerData tid = t->found->tts_tid;
		TM_FailureData failure;
		TM_Result result;

		paxos_clear_row_locks(t->found, mode);
		clear_newer_versions(t, mode);
		result = table_tuple_lock(t->rel, &tid, GetActiveSnapshot(), t->other,
								  GetCurrentCommandId(true), mode, LockWaitBlock,
								  TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS, &failure);
		ExecClearTuple(t->other);
		if (result == TM_Ok)
			return;
		not_in_the_way(t, result);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * The lock that the heap will take for the update.  It compares bytes, so a value
 * that is equal, but written otherwise or stored otherwise, is another one: if we took it
 * for the same, and let somebody's FOR KEY SHARE be, the heap would wait for him.
 */
static LockTupleMode
lock_of_update(PaxosApplyTable *t)
{
	int i = -1;

	while ((i = bms_next_member(t->info->key_columns, i)) >= 0)
	{
		int at = i + FirstLowInvalidHeapAttributeNumber - 1;
		Form_pg_attribute att;
		Datum before;
		bool isnull;

		if (at < 0)
			return LockTupleExclusive;
		att = TupleDescAttr(RelationGetDescr(t->rel), at);
		before = slot_getattr(t->found, at + 1, &isnull);
		if (isnull != t->fresh->tts_isnull[at])
			return LockTupleExclusive;
		if (isnull)
			continue;
		if (att->attlen == -1 && VARATT_IS_EXTENDED(DatumGetPointer(before)) &&
			!VARATT_IS_SHORT(DatumGetPointer(before)))
			return LockTupleExclusive;
		if (!datum_image_eq(before, t->fresh->tts_values[at], att->attbyval, att->attlen))
			return LockTupleExclusive;
	}
	return LockTupleNoKeyExclusive;
}

static void
update_in_place(PaxosApplyTable *t, PaxosUpdateIndexes *indexes)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result result;
	bool wait = false;

	CheckCmdReplicaIdentity(t->rel, CMD_UPDATE);
	for (;;)
	{
		paxos_clear_row_locks(t->found, lock_of_update(t));
		result = table_tuple_update(t->rel, &t->found->tts_tid, t->fresh, GetCurrentCommandId(true),
									GetActiveSnapshot(), InvalidSnapshot, wait, &failure, &mode,
									indexes);
		if (result == TM_Ok)
			return;
		not_in_the_way(t, result);

		/* A lock that does not conflict: the heap only looks whose it is when it may wait. */
		wait = true;
		CHECK_FOR_INTERRUPTS();
	}
}

void
paxos_apply_store(PaxosApply *apply, PaxosApplyTable *t, bool update)
{
	EState *estate = apply->estate;
	List *recheck = NIL;

	if (update)
	{
		PaxosUpdateIndexes indexes;

		clear_unique_keys(apply, t, t->fresh);
		update_in_place(t, &indexes);
		if (t->result->ri_NumIndices > 0 && PaxosAnyIndexes(indexes))
			recheck = PaxosInsertIndexTuples(t->result, t->fresh, estate, true, indexes);
	}
	else
	{
		clear_unique_keys(apply, t, t->proposed);
		simple_table_tuple_insert(t->rel, t->proposed);
		if (t->result->ri_NumIndices > 0)
			recheck =
				PaxosInsertIndexTuples(t->result, t->proposed, estate, false, PaxosAllIndexes);
	}

	/*
	 * Of what a deferrable constraint forbids nothing is left when a write set is applied
	 * (its rows leave first, then come), but what a session has put there since we looked:
	 * it is ended.  Who comes now finds our entry.  (Or what the origin has let pass, where
	 * nothing was checked: then it stands here, too.)
	 */
	if (recheck != NIL)
		clear_unique_keys(apply, t, update ? t->fresh : t->proposed);
	list_free(recheck);
}

static void
propose_row(PaxosApply *apply, PaxosApplyTable *t, const PaxosKeyedOp *op)
{
	PaxosRelInfo *info = t->info;

	ExecClearTuple(t->proposed);
	for (int i = 0; i < info->natts; i++)
	{
		t->proposed->tts_values[i] = (Datum) 0;
		t->proposed->tts_isnull[i] = true;
	}
	for (int i = 0; i < op->n_row; i++)
	{
		PaxosColumnInfo *column = column_info(t, op->row[i].attnum);

		t->proposed->tts_values[op->row[i].attnum - 1] = column_value(column, &op->row[i]);
		t->proposed->tts_isnull[op->row[i].attnum - 1] = op->row[i].isnull;
	}

	/* A domain may refuse NULL for a column the command does not name. */
	if (info->has_domain)
	{
		for (int i = 0; i < info->natts; i++)
		{
			if (info->columns[i].settable && info->columns[i].is_domain &&
				t->proposed->tts_isnull[i])
				(void) InputFunctionCall(&info->columns[i].input, NULL, info->columns[i].ioparam,
										 info->columns[i].typmod);
		}
	}
	complete_row(apply, t, t->proposed);
}

/*
 * INSERT ... ON CONFLICT DO UPDATE of two rows with one key: which of them would
 * stay is nothing SQL says, so it says no.
 */
static void
refuse_second_time(PaxosApply *apply, PaxosApplyTable *t)
{
	bool isnull;
	Datum xmin = slot_getsysattr(t->found, MinTransactionIdAttributeNumber, &isnull);
	Datum cmin = slot_getsysattr(t->found, MinCommandIdAttributeNumber, &isnull);

	if (TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)) &&
		DatumGetCommandId(cmin) >= apply->list_began)
		ereport(
			ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg("%s command cannot affect row a second time", "ON CONFLICT DO UPDATE"),
			 errhint(
				 "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")));
}

static void
update_row(PaxosApply *apply, PaxosApplyTable *t, const PaxosKeyedOp *op, ExprState **states)
{
	int natts = t->info->natts;

	slot_getallattrs(t->found);
	ExecClearTuple(t->fresh);
	memcpy(t->fresh->tts_values, t->found->tts_values, sizeof(Datum) * natts);
	memcpy(t->fresh->tts_isnull, t->found->tts_isnull, sizeof(bool) * natts);

	/* every expression sees the row as it was found */
	for (int i = 0; i < op->n_sets; i++)
	{
		const PaxosColumn *set = &op->sets[i];
		PaxosColumnInfo *column = column_info(t, set->attnum);
		int at = set->attnum - 1;
		Datum value;

		if (states[i] != NULL)
		{
			bool isnull;

			value = evaluate(apply, t, states[i], &isnull);
			if (!isnull)
			{
				check_size(column, value);
				value = fit_column(t, column, value);
			}
			else if (column->is_domain)
				domain_check((Datum) 0, true, column->type, &column->domain_extra, t->info->cxt);
			t->fresh->tts_values[at] = isnull ? (Datum) 0 : value;
			t->fresh->tts_isnull[at] = isnull;
			continue;
		}
		value = column_value(column, set);
		if (set->op == PAXOS_SET_ASSIGN)
		{
			t->fresh->tts_values[at] = value;
			t->fresh->tts_isnull[at] = set->isnull;
		}
		else if (set->isnull || t->found->tts_isnull[at])
		{
			if (column->is_domain)
				domain_check((Datum) 0, true, column->type, &column->domain_extra, t->info->cxt);
			t->fresh->tts_values[at] = (Datum) 0;
			t->fresh->tts_isnull[at] = true;
		}
		else
			t->fresh->tts_values[at] = column_arithmetic(
				t, column, set->op, t->found->tts_values[at], value, &t->fresh->tts_isnull[at]);
	}
	complete_row(apply, t, t->fresh);

	/* before anybody is ended for it */
	note_changed(t, true, t->fresh);
	paxos_apply_store(apply, t, true);
}

static bool
conditions_hold(PaxosApply *apply, PaxosApplyTable *t, const PaxosKeyedOp *op, ExprState **states)
{
	for (int i = 0; i < op->n_conditions; i++)
	{
		if (states[i] != NULL)
		{
			bool isnull;

			if (!DatumGetBool(evaluate(apply, t, states[i], &isnull)) || isnull)
				return false;
		}
		else if (!condition_holds(t, &op->conditions[i]))
			return false;
	}
	return true;
}

static void
result_of_missing_table(int64 table_id, PaxosCommandResult *result)
{
	result->failed = true;
	result->sqlstate = ERRCODE_UNDEFINED_TABLE;
	result->message = pstrdup("the table does not exist any more");
	result->detail = psprintf(
		"It was dropped, at an earlier slot, while the command was on its way (table id " INT64_FORMAT
		").",
		table_id);
}

/*
 * Its columns are not, or not all, what they were when the operation was written:
 * a new one lacks its default, a text is read as another type.  Nothing has been
 * done; what the session makes of the statement now may be right.
 */
static bool
definition_stands(PaxosApplyTable *t, const PaxosKeyedOp *op, PaxosCommandResult *result)
{
	if (op->definition == 0 || op->definition == t->info->definition)
		return true;
	result->failed = true;
	result->sqlstate = ERRCODE_T_R_SERIALIZATION_FAILURE;
	result->message =
		psprintf("could not serialize access due to a change of the definition of table \"%s\"",
				 RelationGetRelationName(t->rel));
	result->detail =
		pstrdup("It was altered, at an earlier slot, while the command was on its way.");
	result->hint = pstrdup("The statement might succeed if retried.");
	return false;
}

void
paxos_apply_keyed(PaxosApply *apply, const PaxosKeyedOp *op, bool want_previous,
				  PaxosCommandResult *result)
{
	MemoryContext caller = CurrentMemoryContext;
	PaxosApplyTable *t;
	Oid save_user;
	int save_context;
	int nest_level;
	bool found;
	bool proposed;
	bool guard = op->verb == PAXOS_VERB_EXISTS || op->verb == PAXOS_VERB_ABSENT;
	ExprState **sets;
	ExprState **conditions;

	memset(result, 0, sizeof(*result));
	result->table_id = op->table_id;
	paxos_evaluating = false;
	if (!apply->in_list)
		forget_changed();

	t = paxos_apply_open(apply, op->table_id, RowExclusiveLock);
	if (t == NULL)
	{
		result_of_missing_table(op->table_id, result);
		return;
	}
	if (!definition_stands(t, op, result))
		return;

	/* It was looked at where the operation was issued (paxos_trigger.c). */
	if (t->info->triggers)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("table \"%s\" has meanwhile got what only transactions heed",
							   RelationGetRelationName(t->rel)),
						errhint("The statement might succeed if retried."), paxos_err_decided()));

	MemoryContextReset(apply->command_cxt);
	ResetPerTupleExprContext(apply->estate);
	MemoryContextSwitchTo(apply->command_cxt);
	sets = prepare_expressions(t, op->verb, op->n_sets, op->sets, PAXOS_SET_EXPRESSION);
	conditions =
		prepare_expressions(t, op->verb, op->n_conditions, op->conditions, PAXOS_COND_EXPRESSION);

	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(t->info->owner, save_context | SECURITY_RESTRICTED_OPERATION);
	nest_level = NewGUCNestLevel();

	/* SQL's INSERT wants a good row before it looks whether there is one. */
	proposed = op->verb == PAXOS_VERB_INSERT_NEW || op->verb == PAXOS_VERB_INSERT_NOTHING ||
			   op->verb == PAXOS_VERB_INSERT_UPDATE;
	if (proposed)
		propose_row(apply, t, op);

	/* INSERT_NEW does not look: the index finds the row, and says so as always. */
	found = op->verb != PAXOS_VERB_INSERT_NEW && paxos_apply_find(t, op->n_key, op->key);
	result->existed = found;
	if (found)
	{
		switch (op->verb)
		{
			case PAXOS_VERB_INSERT:
			case PAXOS_VERB_INSERT_NOTHING:
			case PAXOS_VERB_ABSENT:
				result->applied = false;
				break;
			case PAXOS_VERB_INSERT_UPDATE:
				if (apply->in_list)
					refuse_second_time(apply, t);
				/* FALLTHROUGH */
			case PAXOS_VERB_UPDATE:
			case PAXOS_VERB_DELETE:
			case PAXOS_VERB_EXISTS:
				result->applied = conditions_hold(apply, t, op, conditions);
				break;
			case PAXOS_VERB_UPSERT:
			case PAXOS_VERB_INSERT_NEW:
			case PAXOS_VERB_GET:
				result->applied = true;
				break;
		}
	}
	else
		result->applied = op->verb != PAXOS_VERB_UPDATE && op->verb != PAXOS_VERB_DELETE &&
						  op->verb != PAXOS_VERB_EXISTS && op->verb != PAXOS_VERB_GET;

	if (found && !guard && (want_previous || !result->applied || op->verb == PAXOS_VERB_DELETE))
		result->previous = row_image(t->found, op->as_record, caller);

	if (guard || !result->applied)
		result->current = result->previous;
	else if (!found)
	{
		if (!proposed)
			propose_row(apply, t, op);
		note_changed(t, false, t->proposed);
		paxos_apply_store(apply, t, false);
		result->current = row_image(t->proposed, op->as_record, caller);
	}
	else if (op->verb == PAXOS_VERB_DELETE)
	{
		note_changed(t, true, NULL);
		paxos_apply_delete(t);
	}
	else if (op->n_sets > 0)
	{
		update_row(apply, t, op, sets);
		result->current = row_image(t->fresh, op->as_record, caller);
	}
	else
		result->current = row_image(t->found, op->as_record, caller);

	ExecClearTuple(t->found);
	ExecClearTuple(t->proposed);
	ExecClearTuple(t->fresh);
	MemoryContextSwitchTo(caller);

	/* undo SET done by an owner's function */
	AtEOXact_GUC(false, nest_level);
	SetUserIdAndSecContext(save_user, save_context);
}

/* The one failure that is not thrown, and so would leave half of the list. */
static bool
tables_exist(PaxosApply *apply, const PaxosKeyedList *list, PaxosCommandResult *result)
{
	for (int i = 0; i < list->n; i++)
	{
		PaxosApplyTable *t = paxos_apply_open(apply, list->ops[i].table_id, RowExclusiveLock);

		if (t == NULL)
		{
			result_of_missing_table(list->ops[i].table_id, result);
			return false;
		}
		if (!definition_stands(t, &list->ops[i], result))
			return false;
	}
	return true;
}

/* Each on what those before it left; 'applied' says whether any was. */
static void
apply_in_order(PaxosApply *apply, const PaxosKeyedList *list, bool want_previous,
			   PaxosCommandResult *result)
{
	result->n_parts = list->n;
	result->parts = palloc0_array(PaxosResultPart, Max(list->n, 1));
	for (int i = 0; i < list->n; i++)
	{
		PaxosCommandResult one;

		/* what follows may change the row again */
		if (i > 0)
			CommandCounterIncrement();
		paxos_apply_keyed(apply, &list->ops[i], want_previous, &one);
		result->parts[i].applied = one.applied;
		result->parts[i].existed = one.existed;
		result->parts[i].previous = one.previous;
		result->parts[i].current = one.current;
		result->applied = result->applied || one.applied;
	}
}

void
paxos_apply_list(PaxosApply *apply, const PaxosKeyedList *list, bool want_previous,
				 PaxosCommandResult *result)
{
	memset(result, 0, sizeof(*result));
	result->table_id = list->ops[0].table_id;
	forget_changed();
	if (!tables_exist(apply, list, result))
		return;

	apply->in_list = true;
	apply->list_began = GetCurrentCommandId(true);
	apply_in_order(apply, list, want_previous, result);
	apply->in_list = false;
}

/*
 * Guards, and one list or the other.  A table that is gone fails all of it, also if
 * only the list that does not run names it: an answer that depended on the guards would
 * hide from the caller that half of what it sent means nothing any more.
 */
void
paxos_apply_txn(PaxosApply *apply, const PaxosTxn *txn, bool want_previous,
				PaxosCommandResult *result)
{
	const PaxosKeyedList *list;
	bool held = true;

	memset(result, 0, sizeof(*result));
	forget_changed();
	if (!tables_exist(apply, &txn->guards, result) ||
		!tables_exist(apply, &txn->then_ops, result) ||
		!tables_exist(apply, &txn->else_ops, result))
		return;

	apply->in_list = true;
	apply->list_began = GetCurrentCommandId(true);
	for (int i = 0; i < txn->guards.n && held; i++)
	{
		PaxosCommandResult one;

		paxos_apply_keyed(apply, &txn->guards.ops[i], false, &one);
		held = one.applied;
	}
	list = held ? &txn->then_ops : &txn->else_ops;
	apply_in_order(apply, list, want_previous, result);
	for (int i = 0; i < list->n; i++)
		result->parts[i].table_id = list->ops[i].table_id;
	result->applied = held;
	apply->in_list = false;
}
