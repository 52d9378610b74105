/*
 * paxos_keyed.c
 *	  Plain INSERT, UPDATE and DELETE of one row as keyed operations
 *	  (architecture.md § 6, protocol.md § 6).
 *
 * The planner hook looks at every statement that changes a consensus table.  If
 * it certainly is of the form of a keyed operation - one row inserted, or a
 * WHERE that fixes the whole primary key, and expressions over that row alone -
 * a custom scan takes the place of its plan.  When the scan is executed it
 * settles what depends on this session (parameters, defaults, the clock), checks
 * that nothing around it could roll back, gives up the statement's locks, sends
 * the command, waits, and returns what RETURNING asked for from the row's image.
 * Everything else is left to the guard, which refuses it (paxos_guard.c).
 *
 * PostgreSQL's own planner plans the statement first: range table, permissions
 * and what invalidates the plan are taken from it, so that privileges,
 * read-only transactions and plan caching are PostgreSQL's own business.
 *
 * RETURNING may name columns and constants only: an expression that fails after
 * the slot would report a failure that did not happen.
 *
 * Locks: the planner locks the table and its indexes to the transaction's end.
 * Held while we wait, they would meet a DROP TABLE or CREATE INDEX decided at an
 * earlier slot: the learner waits for this session and this session for the
 * learner.
 *
 * State: how deep this backend is in executor, planner and utility calls.  After
 * an error each level puts back what it found.
 */
#include "postgres.h"

#include "paxos_compat.h"

#include "access/genam.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include PAXOS_EXPLAIN_HEADER
#include "executor/executor.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/ruleutils.h"

#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_ddl.h"
#include "paxos_expr.h"
#include "paxos_queue.h"

static planner_hook_type previous_planner = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

static int planner_depth = 0;
static int executor_depth = 0;
static int utility_depth = 0;

/* The outermost utility statement may run a plan of its own: EXECUTE, EXPLAIN. */
static bool utility_runs_plan = false;
static ResourceOwner utility_owner = NULL;

/*
 * What the planner found, kept in custom_private in this order: a list of
 * integers (verb, table), then the key's expressions in the primary key's order,
 * the columns to store (TargetEntry, resno is the attribute number), the
 * conditions, and whether there is RETURNING.
 */
typedef struct Form
{
	PaxosVerb verb;
	Oid relid;
	List *key;
	List *columns;
	List *conditions;
	bool returning;
} Form;

typedef struct KeyedState
{
	CustomScanState css;
	Form form;
	bool done;
} KeyedState;

static Node *keyed_create_state(CustomScan *scan);
static void keyed_begin(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *keyed_exec(CustomScanState *node);
static void keyed_end(CustomScanState *node);
static void keyed_rescan(CustomScanState *node);
static void keyed_explain(CustomScanState *node, List *ancestors, ExplainState *es);

static const CustomScanMethods scan_methods = {"PaxosKeyed", keyed_create_state};
static const CustomExecMethods exec_methods = {.CustomName = "PaxosKeyed",
											   .BeginCustomScan = keyed_begin,
											   .ExecCustomScan = keyed_exec,
											   .EndCustomScan = keyed_end,
											   .ReScanCustomScan = keyed_rescan,
											   .ExplainCustomScan = keyed_explain};

/* ------------------------------------------------------------------
 * Recognising
 * ------------------------------------------------------------------
 */

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/*
 * Does an equality with a value of type 'value' fix the column?  The value
 * becomes one of the column's type, and that must not change it: numeric(5,2)
 * would round it to that of another row.
 */
static bool
key_type_fits(Form_pg_attribute att, Oid value)
{
	if (!paxos_expr_portable_type(att->atttypid))
		return false;
	if (is_integer(att->atttypid))
		return is_integer(value);
	if (att->atttypid == VARCHAROID)
		return value == TEXTOID || value == VARCHAROID;
	return value == att->atttypid && att->atttypmod == -1;
}

static bool
is_column(Node *node, AttrNumber attnum)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return IsA(node, Var) && ((Var *) node)->varno == 1 && ((Var *) node)->varattno == attnum &&
		   ((Var *) node)->varlevelsup == 0;
}

/* "column = value", either way round, as the primary key compares; or NULL. */
static Node *
key_value(Node *clause, Relation index, int i, Form_pg_attribute att)
{
	OpExpr *op = (OpExpr *) clause;
	Node *value;

	if (!IsA(clause, OpExpr) || list_length(op->args) != 2 ||
		get_op_opfamily_strategy(op->opno, index->rd_opfamily[i]) != BTEqualStrategyNumber ||
		op->inputcollid != index->rd_indcollation[i])
		return NULL;
	if (is_column(linitial(op->args), att->attnum))
		value = lsecond(op->args);
	else if (is_column(lsecond(op->args), att->attnum))
		value = linitial(op->args);
	else
		return NULL;

	/* once for each row, in PostgreSQL: no key of one row */
	if (contain_var_clause(value) || contain_volatile_functions(value))
		return NULL;
	return key_type_fits(att, exprType(value)) ? value : NULL;
}

static bool
find_key(Form *form, Relation rel, Relation index, List *clauses)
{
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Form_pg_attribute att =
			TupleDescAttr(RelationGetDescr(rel), index->rd_index->indkey.values[i] - 1);
		Node *value = NULL;
		ListCell *lc;

		foreach (lc, clauses)
		{
			value = key_value(lfirst(lc), index, i, att);
			if (value != NULL)
			{
				clauses = list_delete_ptr(clauses, lfirst(lc));
				break;
			}
		}
		if (value == NULL)
			return false;
		form->key = lappend(form->key, value);
	}
	form->conditions = clauses;
	return true;
}

static bool
in_key(Relation index, AttrNumber attnum)
{
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		if (index->rd_index->indkey.values[i] == attnum)
			return true;
	}
	return false;
}

/* ON CONFLICT DO NOTHING: as long as only the primary key can conflict. */
static bool
conflict_fits(Query *query, PlannedStmt *plan, Relation rel, List *indexes)
{
	ModifyTable *modify = (ModifyTable *) plan->planTree;
	ListCell *lc;

	if (query->onConflict == NULL)
		return true;
	if (query->onConflict->action != ONCONFLICT_NOTHING || !IsA(modify, ModifyTable))
		return false;
	if (modify->arbiterIndexes != NIL)
		return list_length(modify->arbiterIndexes) == 1 &&
			   linitial_oid(modify->arbiterIndexes) == rel->rd_pkindex;
	foreach (lc, indexes)
	{
		Relation index;
		bool other;

		if (lfirst_oid(lc) == rel->rd_pkindex)
			continue;
		index = index_open(lfirst_oid(lc), AccessShareLock);
		other = index->rd_index->indisunique || index->rd_index->indisexclusion;
		index_close(index, NoLock);
		if (other)
			return false;
	}
	return true;
}

static bool
columns_fit(Form *form, Query *query, Relation rel, Relation pk)
{
	TupleDesc desc = RelationGetDescr(rel);
	bool insert = query->commandType == CMD_INSERT;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Form_pg_attribute att;
		Node *expr = (Node *) tle->expr;

		if (tle->resjunk)
			continue;
		if (tle->resno < 1 || tle->resno > desc->natts)
			return false;
		att = TupleDescAttr(desc, tle->resno - 1);
		if (att->attisdropped || att->attgenerated != '\0' || exprType(expr) != att->atttypid ||
			(!insert && in_key(pk, tle->resno)))
			return false;
		if (insert ? contain_var_clause(expr) : !paxos_expr_expressible(expr))
			return false;
		form->columns = lappend(form->columns, tle);
	}
	if (!insert)
		return form->columns != NIL || query->commandType == CMD_DELETE;

	/* The row's key must be known: none of it generated. */
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(pk); i++)
	{
		if (TupleDescAttr(desc, pk->rd_index->indkey.values[i] - 1)->attgenerated != '\0')
			return false;
	}
	return true;
}

static bool
returning_fits(Query *query)
{
	ListCell *lc;

	foreach (lc, query->returningList)
	{
		Node *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		if (IsA(expr, Const))
			continue;
		if (!IsA(expr, Var) || ((Var *) expr)->varno != 1 || ((Var *) expr)->varattno <= 0 ||
			!PaxosVarIsOfRow((Var *) expr))
			return false;
	}
	return true;
}

/* 'query' is ours: what PostgreSQL's planner got was another copy. */
static bool
recognise(Form *form, Query *query, PlannedStmt *plan, Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	Relation pk;
	bool good;

	if (!OidIsValid(rel->rd_pkindex) || !conflict_fits(query, plan, rel, indexes))
		return false;

	query->targetList = (List *) eval_const_expressions(NULL, (Node *) query->targetList);
	query->returningList = (List *) eval_const_expressions(NULL, (Node *) query->returningList);
	form->relid = RelationGetRelid(rel);
	form->returning = query->returningList != NIL;
	form->verb = query->commandType == CMD_UPDATE   ? PAXOS_VERB_UPDATE
				 : query->commandType == CMD_DELETE ? PAXOS_VERB_DELETE
				 : query->onConflict != NULL        ? PAXOS_VERB_INSERT
													: PAXOS_VERB_INSERT_NEW;

	pk = index_open(rel->rd_pkindex, AccessShareLock);
	good = returning_fits(query) && columns_fit(form, query, rel, pk);
	if (good && query->commandType != CMD_INSERT)
	{
		Node *quals = eval_const_expressions(NULL, query->jointree->quals);
		ListCell *lc;

		good =
			quals != NULL &&
			find_key(form, rel, pk, make_ands_implicit(canonicalize_qual((Expr *) quals, false)));
		foreach (lc, form->conditions)
			good = good && paxos_expr_expressible(lfirst(lc));
	}
	index_close(pk, NoLock);
	return good;
}

/* What can be said without looking at the table. */
static bool
plain_enough(Query *query, RangeTblEntry *rte)
{
	List *from = query->jointree->fromlist;

	if (query->commandType == CMD_INSERT
			? from != NIL
			: list_length(from) != 1 || !IsA(linitial(from), RangeTblRef))
		return false;
	return list_length(query->rtable) == 1 && query->resultRelation == 1 && query->cteList == NIL &&
		   !query->hasSubLinks && !query->hasTargetSRFs && !query->hasAggs &&
		   !query->hasWindowFuncs && !query->hasModifyingCTE && !query->hasRowSecurity &&
		   query->withCheckOptions == NIL && query->rowMarks == NIL && query->canSetTag &&
		   rte->securityQuals == NIL && rte->relkind == RELKIND_RELATION &&
		   !has_subclass(rte->relid);
}

/* RETURNING, over the tuple that keyed_exec() makes of the row's image. */
static Node *
over_scan(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var *var = copyObject((Var *) node);

		var->varno = INDEX_VAR;
		return (Node *) var;
	}
	return expression_tree_mutator(node, over_scan, context);
}

static void
replace_plan(PlannedStmt *plan, Form *form, Query *query, Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	CustomScan *scan = makeNode(CustomScan);
	List *columns = NIL;

	scan->scan.plan.startup_cost = plan->planTree->startup_cost;
	scan->scan.plan.total_cost = plan->planTree->total_cost;
	scan->scan.plan.plan_rows = form->returning ? 1 : 0;
	scan->scan.plan.targetlist =
		(List *) expression_tree_mutator((Node *) query->returningList, over_scan, NULL);

	/* One entry for each attribute, at its number; a dropped one is a null. */
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		Expr *expr = att->attisdropped ? (Expr *) makeNullConst(INT4OID, -1, InvalidOid)
									   : (Expr *) makeVar(1, att->attnum, att->atttypid,
														  att->atttypmod, att->attcollation, 0);

		columns = lappend(columns, makeTargetEntry(expr, i + 1, NULL, false));
	}
	scan->custom_scan_tlist = columns;
	scan->methods = &scan_methods;
	fix_opfuncids((Node *) form->key);
	fix_opfuncids((Node *) form->columns);
	fix_opfuncids((Node *) form->conditions);
	scan->custom_private =
		list_make5(list_make2_int(form->verb, form->returning), list_make1_oid(form->relid),
				   form->key, form->columns, form->conditions);

	plan->planTree = (Plan *) scan;
	plan->resultRelations = NIL;
	plan->rowMarks = NIL;
	plan->subplans = NIL;
	plan->transientPlan = false;
	plan->parallelModeNeeded = false;
}

static PlannedStmt *
next_planner(Query *query, const char *text, int options, ParamListInfo params)
{
	PlannedStmt *plan;

	planner_depth++;
	PG_TRY();
	{
		plan = previous_planner ? previous_planner(query, text, options, params)
								: standard_planner(query, text, options, params);
	}
	PG_FINALLY();
	{
		planner_depth--;
	}
	PG_END_TRY();
	return plan;
}

static PlannedStmt *
plan_statement(Query *query, const char *text, int options, ParamListInfo params)
{
	RangeTblEntry *rte;
	Query *copy;
	PlannedStmt *plan;
	Form form = {0};
	Relation rel;

	if ((query->commandType != CMD_INSERT && query->commandType != CMD_UPDATE &&
		 query->commandType != CMD_DELETE) ||
		query->resultRelation == 0 || paxos_applying || paxos_trying || IsBinaryUpgrade)
		return next_planner(query, text, options, params);
	rte = rt_fetch(query->resultRelation, query->rtable);
	if (!paxos_is_consensus_table(rte->relid) || !plain_enough(query, rte))
		return next_planner(query, text, options, params);

	copy = copyObject(query);
	plan = next_planner(query, text, options, params);
	rel = table_open(rte->relid, NoLock); /* locked by the parser */
	if (recognise(&form, copy, plan, rel))
		replace_plan(plan, &form, copy, rel);
	table_close(rel, NoLock);
	return plan;
}

/* ------------------------------------------------------------------
 * Is it a statement of its own?
 * ------------------------------------------------------------------
 */

static void
count_run(PAXOS_RUN_ARGUMENTS)
{
	executor_depth++;
	PG_TRY();
	{
		if (previous_run)
			previous_run(PAXOS_RUN_PASSED);
		else
			standard_ExecutorRun(PAXOS_RUN_PASSED);
	}
	PG_FINALLY();
	{
		executor_depth--;
	}
	PG_END_TRY();
}

/* AFTER triggers fire here. */
static void
count_finish(QueryDesc *query)
{
	executor_depth++;
	PG_TRY();
	{
		if (previous_finish)
			previous_finish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		executor_depth--;
	}
	PG_END_TRY();
}

static void
count_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
			  DestReceiver *dest, QueryCompletion *qc)
{
	if (utility_depth == 0)
	{
		Node *parse = pstmt->utilityStmt;

		utility_runs_plan = context == PROCESS_UTILITY_TOPLEVEL &&
							(IsA(parse, ExecuteStmt) || IsA(parse, ExplainStmt));
		utility_owner = CurrentResourceOwner;
	}
	utility_depth++;
	PG_TRY();
	{
		if (previous_utility)
			previous_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest,
							 qc);
		else
			standard_ProcessUtility(pstmt, query_string, read_only_tree, context, params, query_env,
									dest, qc);
	}
	PG_FINALLY();
	{
		utility_depth--;
	}
	PG_END_TRY();
}

/*
 * The statement the client sent, or EXECUTE or EXPLAIN of it: not one in a
 * function, trigger, procedure or DO block, which could fail and roll back after
 * it.  A portal of its own is not enough: a function's cursor has one.
 */
static bool
stands_alone(PlannedStmt *plan)
{
	if (IsTransactionBlock() || IsSubTransaction() || planner_depth > 0 || executor_depth != 1 ||
		ActivePortal == NULL)
		return false;
	if (utility_depth == 0)
		return list_member_ptr(ActivePortal->stmts, plan);
	return utility_depth == 1 && utility_runs_plan;
}

/* ------------------------------------------------------------------
 * Executing
 * ------------------------------------------------------------------
 */

static void
read_form(Form *form, List *private)
{
	form->verb = (PaxosVerb) linitial_int((List *) linitial(private));
	form->returning = lsecond_int((List *) linitial(private)) != 0;
	form->relid = linitial_oid((List *) lsecond(private));
	form->key = lthird(private);
	form->columns = lfourth(private);
	form->conditions = list_nth(private, 4);
}

static const char *
statement_name(PaxosVerb verb)
{
	return verb == PAXOS_VERB_UPDATE ? "UPDATE" : verb == PAXOS_VERB_DELETE ? "DELETE" : "INSERT";
}

static Node *
keyed_create_state(CustomScan *scan)
{
	KeyedState *state = (KeyedState *) newNode(sizeof(KeyedState), T_CustomScanState);

	state->css.methods = &exec_methods;
	read_form(&state->form, scan->custom_private);
	return (Node *) state;
}

static void
keyed_begin(CustomScanState *node, EState *estate, int eflags)
{
}

static void
keyed_end(CustomScanState *node)
{
}

static void
keyed_rescan(CustomScanState *node)
{
}

static Datum
evaluate_here(Expr *part, void *arg, bool *isnull)
{
	PlanState *ps = arg;
	ExprState *state = ExecInitExpr(part, ps);

	return ExecEvalExprSwitchContext(state, ps->ps_ExprContext, isnull);
}

static void
put_value(PaxosColumn *out, AttrNumber attnum, Oid type, Datum value, bool isnull)
{
	Oid output;
	bool varlena;
	FmgrInfo finfo;

	memset(out, 0, sizeof(*out));
	out->attnum = attnum;
	out->isnull = isnull;
	out->text = "";
	if (isnull)
		return;
	getTypeOutputInfo(type, &output, &varlena);
	fmgr_info(output, &finfo);
	out->text = paxos_fixed_output(&finfo, value);
}

/* False: no row can have such a key. */
static bool
put_key(PaxosColumn *out, Form_pg_attribute att, Node *expr, PlanState *ps)
{
	bool isnull;
	Oid type = exprType(expr);
	Datum value = evaluate_here((Expr *) expr, ps, &isnull);

	if (isnull)
		return false;
	if (is_integer(type))
	{
		int64 number = type == INT2OID   ? DatumGetInt16(value)
					   : type == INT4OID ? DatumGetInt32(value)
										 : DatumGetInt64(value);

		if ((att->atttypid == INT2OID && (number < PG_INT16_MIN || number > PG_INT16_MAX)) ||
			(att->atttypid == INT4OID && (number < PG_INT32_MIN || number > PG_INT32_MAX)))
			return false;
	}
	put_value(out, att->attnum, type, value, false);
	return att->atttypid != VARCHAROID || att->atttypmod < (int32) VARHDRSZ ||
		   pg_mbstrlen(out->text) <= att->atttypmod - (int32) VARHDRSZ;
}

static void
put_columns(PaxosKeyedOp *op, Form *form, TupleDesc desc, PlanState *ps)
{
	PaxosColumn *list = palloc_array(PaxosColumn, list_length(form->columns) + 1);
	bool update = form->verb == PAXOS_VERB_UPDATE;
	int n = 0;
	ListCell *lc;

	foreach (lc, form->columns)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		PaxosColumn *c = &list[n++];

		if (contain_var_clause((Node *) tle->expr))
		{
			/* May the caller call what the learner will? */
			(void) ExecInitExpr(tle->expr, ps);
			c->attnum = tle->resno;
			c->isnull = false;
			c->op = PAXOS_SET_EXPRESSION;
			c->text = paxos_expr_encode((Node *) tle->expr, evaluate_here, ps);
		}
		else
		{
			bool isnull;
			Datum value = evaluate_here(tle->expr, ps, &isnull);

			put_value(c, tle->resno, TupleDescAttr(desc, tle->resno - 1)->atttypid, value, isnull);
			c->op = update ? PAXOS_SET_ASSIGN : 0;
		}
	}
	if (update)
	{
		op->n_sets = n;
		op->sets = list;
	}
	else
	{
		op->n_row = n;
		op->row = list;
	}
}

/* The new row's own key. */
static void
key_of_new_row(PaxosKeyedOp *op, Relation rel, AttrNumber attnum)
{
	for (int i = 0; i < op->n_row; i++)
	{
		if (op->row[i].attnum == attnum && !op->row[i].isnull)
		{
			op->key[op->n_key] = op->row[i];
			op->n_key++;
			return;
		}
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_NOT_NULL_VIOLATION),
		 errmsg("null value in column \"%s\" of relation \"%s\" violates not-null constraint",
				get_attname(RelationGetRelid(rel), attnum, false), RelationGetRelationName(rel)),
		 errtablecol(rel, attnum)));
}

/* False: no row can be meant. */
static bool
make_op(PaxosKeyedOp *op, Form *form, Relation rel, PlanState *ps)
{
	TupleDesc desc = RelationGetDescr(rel);
	Relation pk;
	bool possible = true;
	ListCell *lc;

	op->table_id = paxos_table_id(form->relid);
	op->verb = form->verb;
	op->as_record = form->returning;
	put_columns(op, form, desc, ps);

	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	pk = index_open(rel->rd_pkindex, AccessShareLock);
	op->key = palloc_array(PaxosColumn, IndexRelationGetNumberOfKeyAttributes(pk));
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(pk) && possible; i++)
	{
		AttrNumber attnum = pk->rd_index->indkey.values[i];

		if (form->key == NIL)
			key_of_new_row(op, rel, attnum);
		else
			possible = put_key(&op->key[op->n_key++], TupleDescAttr(desc, attnum - 1),
							   list_nth(form->key, i), ps);
	}
	index_close(pk, NoLock);

	op->conditions = palloc_array(PaxosColumn, list_length(form->conditions) + 1);
	foreach (lc, form->conditions)
	{
		PaxosColumn *c = &op->conditions[op->n_conditions++];

		(void) ExecInitExpr(lfirst(lc), ps);
		c->attnum = 1;
		c->isnull = false;
		c->op = PAXOS_COND_EXPRESSION;
		c->text = paxos_expr_encode(lfirst(lc), evaluate_here, ps);
	}
	return possible;
}

static void
unlock(Oid relid)
{
	static const LOCKMODE modes[] = {AccessShareLock, RowShareLock, RowExclusiveLock};
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	for (int i = 0; i < lengthof(modes); i++)
	{
		while (PaxosLockHeldByMe(&tag, modes[i]))
			UnlockRelationOid(relid, modes[i]);
	}
}

/*
 * Parser, planner and nextval() have taken locks under several owners; bring them
 * all to the transaction's, where they can be given up.
 */
static void
give_up_locks(List *relations)
{
	ResourceOwner saved = CurrentResourceOwner;
	ListCell *lc;

	if (saved != TopTransactionResourceOwner)
		LockReassignCurrentOwner(NULL, 0);
	if (utility_depth > 0 && utility_owner != saved && utility_owner != TopTransactionResourceOwner)
	{
		CurrentResourceOwner = utility_owner;
		LockReassignCurrentOwner(NULL, 0);
	}
	CurrentResourceOwner = TopTransactionResourceOwner;
	foreach (lc, relations)
		unlock(lfirst_oid(lc));
	CurrentResourceOwner = saved;
}

/* Send it, wait, raise what it failed with.  Not to be rolled back from here on. */
static void
submit(PaxosKeyedOp *op, Oid relid, PaxosCommandResult *result)
{
	PaxosCommand command = {0};
	px_slot decided_at;
	char *bytes;
	Size len;

	command.kind = PAXOS_COMMAND_KEYED;
	command.u.keyed = *op;
	bytes = paxos_command_encode(&command, &len);
	bytes = paxos_submit(bytes, len, NULL, &len, &decided_at);
	if (!paxos_result_decode(bytes, len, result))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the result of a command cannot be read")));
	if (result->failed)
	{
		if (!paxos_may_see_rows(relid))
			result->detail = NULL;
		paxos_result_raise(result);
	}
}

/* The row, as the scan's tuple. */
static void
fill_tuple(TupleTableSlot *tuple, TupleDesc desc, const char *image)
{
	Datum record = OidInputFunctionCall(F_RECORD_IN, pstrdup(image), RECORDOID, desc->tdtypmod);
	HeapTupleHeader header = DatumGetHeapTupleHeader(record);
	HeapTupleData row = {0};

	row.t_len = HeapTupleHeaderGetDatumLength(header);
	row.t_data = header;
	ExecClearTuple(tuple);
	heap_deform_tuple(&row, desc, tuple->tts_values, tuple->tts_isnull);
	ExecStoreVirtualTuple(tuple);
}

static TupleTableSlot *
keyed_exec(CustomScanState *node)
{
	KeyedState *state = (KeyedState *) node;
	PlanState *ps = &node->ss.ps;
	Form *form = &state->form;
	PaxosKeyedOp op = {0};
	PaxosCommandResult result;
	const char *name = statement_name(form->verb);
	List *locked;
	Relation rel;
	TupleDesc desc;
	bool possible;
	const char *image;

	if (state->done)
		return NULL;
	state->done = true;

	if (!stands_alone(ps->state->es_plannedstmt))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s on consensus-backed table \"%s\" cannot run inside a transaction "
						"block, function or procedure",
						name, get_rel_name(form->relid)),
				 errdetail("Its effect would outlive a rollback."),
				 errhint("Run it as a statement of its own.")));
	paxos_begin_write(name);

	rel = table_open(form->relid, AccessShareLock);
	if (paxos_table_id(form->relid) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not known to the cluster", RelationGetRelationName(rel))));
	possible = make_op(&op, form, rel, ps);
	desc = CreateTupleDescCopy(RelationGetDescr(rel));
	desc->tdtypeid = RECORDOID;
	desc->tdtypmod = -1;
	desc = BlessTupleDesc(desc);
	locked = list_copy(RelationGetIndexList(rel));
	locked = lappend_oid(locked, form->relid);
	if (form->columns != NIL)
		locked = list_concat(locked, getOwnedSequences(form->relid));
	table_close(rel, NoLock);
	if (!possible)
		return NULL;

	give_up_locks(locked);
	submit(&op, form->relid, &result);
	if (!result.applied)
		return NULL;
	ps->state->es_processed++;
	image = form->verb == PAXOS_VERB_DELETE ? result.previous : result.current;
	if (!form->returning || image == NULL)
		return NULL;

	fill_tuple(node->ss.ss_ScanTupleSlot, desc, image);
	ps->ps_ExprContext->ecxt_scantuple = node->ss.ss_ScanTupleSlot;
	return ps->ps_ProjInfo ? ExecProject(ps->ps_ProjInfo) : node->ss.ss_ScanTupleSlot;
}

/* ------------------------------------------------------------------
 * EXPLAIN
 * ------------------------------------------------------------------
 */

static void append_part(StringInfo out, const char *between, const char *format, ...)
	pg_attribute_printf(3, 4);

static void
append_part(StringInfo out, const char *between, const char *format, ...)
{
	va_list args;

	if (out->len > 0)
		appendStringInfoString(out, between);
	for (;;)
	{
		int needed;

		va_start(args, format);
		needed = appendStringInfoVA(out, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(out, needed);
	}
}

static void
keyed_explain(CustomScanState *node, List *ancestors, ExplainState *es)
{
	Form *form = &((KeyedState *) node)->form;
	List *context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, ancestors);
	Relation rel = table_open(form->relid, AccessShareLock);
	Relation pk;
	StringInfoData text;
	ListCell *lc;

	ExplainPropertyText("Operation", statement_name(form->verb), es);
	ExplainPropertyText(
		"Table",
		es->verbose ? quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												 RelationGetRelationName(rel))
					: quote_identifier(RelationGetRelationName(rel)),
		es);

	initStringInfo(&text);
	if (form->key != NIL)
	{
		list_free(RelationGetIndexList(rel));
		pk = index_open(rel->rd_pkindex, AccessShareLock);
		for (int i = 0; i < list_length(form->key); i++)
			append_part(
				&text, " AND ", "(%s = %s)",
				quote_identifier(get_attname(form->relid, pk->rd_index->indkey.values[i], false)),
				deparse_expression(list_nth(form->key, i), context, false, false));
		index_close(pk, AccessShareLock);
		ExplainPropertyText("Key", text.data, es);
	}
	resetStringInfo(&text);
	foreach (lc, form->columns)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		append_part(&text, ", ", "%s = %s",
					quote_identifier(get_attname(form->relid, tle->resno, false)),
					deparse_expression((Node *) tle->expr, context, false, false));
	}
	if (text.len > 0)
		ExplainPropertyText("Set", text.data, es);
	resetStringInfo(&text);
	foreach (lc, form->conditions)
		append_part(&text, " AND ", "%s", deparse_expression(lfirst(lc), context, false, false));
	if (text.len > 0)
		ExplainPropertyText("Condition", text.data, es);
	table_close(rel, AccessShareLock);
}

void
paxos_keyed_install_hooks(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_planner = planner_hook;
	planner_hook = plan_statement;
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = count_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = count_finish;
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = count_utility;
}
