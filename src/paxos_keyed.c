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
 * INSERT of several rows of VALUES is one command with an operation for each, all
 * or none.  Everything else is left as it is, and becomes part of the
 * transaction's write set (paxos_set.c).
 *
 * PostgreSQL's own planner plans the statement first: range table, permissions
 * and what invalidates the plan are taken from it, so that privileges,
 * read-only transactions and plan caching are PostgreSQL's own business.
 *
 * RETURNING may name columns and constants only: an expression that fails after
 * the slot would report a failure that did not happen.  For the same reason no
 * cancel is heard between the answer and the end of the executor's run.
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
#include "libpq/libpq.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/ruleutils.h"
#include "utils/xml.h"

#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_command.h"
#include "paxos_ddl.h"
#include "paxos_expr.h"
#include "paxos_queue.h"
#include "paxos_text.h"

static planner_hook_type previous_planner = NULL;
static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ProcessUtility_hook_type previous_utility = NULL;

static int planner_depth = 0;
static int executor_depth = 0;
static int utility_depth = 0;

/* The outermost utility statement may run a plan of its own: EXECUTE, EXPLAIN. */
static bool utility_runs_plan = false;
static ResourceOwner utility_owner = NULL;
static bool utility_extended = false; /* it came by the extended protocol */

/*
 * What the planner found, kept in custom_private: a list of integers (verb,
 * returning, excluded, never), one of the table, and the lists in this order.
 * At its end stands PostgreSQL's own plan.
 */
typedef struct Form
{
	PaxosVerb verb;
	bool returning;
	int excluded; /* range table entry of EXCLUDED, whose Vars become PAXOS_EXPR_PROPOSED */
	bool never;   /* no row can be meant: WHERE is false whatever the row */
	Oid relid;
	List *key;        /* UPDATE, DELETE: expressions, in the primary key's order */
	List *row;        /* INSERT: TargetEntry, resno is the attribute number */
	List *rows;       /* of VALUES: for each row a list of expressions */
	List *sets;       /* UPDATE, DO UPDATE: as 'row' */
	List *conditions; /* UPDATE, DELETE, DO UPDATE */

	const char *why; /* it is none; NULL: no more can be said */
} Form;

typedef struct KeyedState
{
	CustomScanState css;
	Form form;
	bool sent;
	bool deaf;      /* interrupts are held */
	TupleDesc desc; /* of the images */
	List *images;   /* what RETURNING returns */
	int returned;   /* so many of them */
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

/* Always false. */
static bool
is_not(Form *form, const char *why)
{
	form->why = why;
	return false;
}

static bool
find_key(Form *form, Relation rel, Relation index, List *clauses)
{
	form->never = list_length(clauses) == 1 && IsA(linitial(clauses), Const);
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index) && !form->never; i++)
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
			return is_not(form, "Its WHERE does not fix the whole primary key.");
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

/* ON CONFLICT: as long as it is about the primary key, and nothing else. */
static bool
conflict_fits(Form *form, Query *query, PlannedStmt *plan, Relation rel, List *indexes)
{
	static const char *const why = "It has ON CONFLICT about something else than the primary key.";
	ModifyTable *modify = (ModifyTable *) plan->planTree;
	ListCell *lc;

	if (query->onConflict == NULL)
		return true;
	if (!IsA(modify, ModifyTable))
		return false;
	if (modify->arbiterIndexes != NIL)
		return (list_length(modify->arbiterIndexes) == 1 &&
				linitial_oid(modify->arbiterIndexes) == rel->rd_pkindex) ||
			   is_not(form, why);
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
			return is_not(form, why);
	}
	return true;
}

static bool
assignable(TargetEntry *tle, Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	Form_pg_attribute att;

	if (tle->resno < 1 || tle->resno > desc->natts)
		return false;
	att = TupleDescAttr(desc, tle->resno - 1);
	return !att->attisdropped && att->attgenerated == '\0' &&
		   exprType((Node *) tle->expr) == att->atttypid;
}

/* SET id = EXCLUDED.id: that is how the row was found. */
static bool
keeps_key(TargetEntry *tle)
{
	Var *var = (Var *) tle->expr;

	return IsA(var, Var) && (var->varno == 1 || var->varno == PAXOS_EXPR_PROPOSED) &&
		   var->varattno == tle->resno;
}

static bool
sets_fit(Form *form, List *list, Relation rel, Relation pk)
{
	ListCell *lc;

	foreach (lc, list)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		if (!assignable(tle, rel))
			return false;
		if (in_key(pk, tle->resno) && !keeps_key(tle))
			return is_not(form, "It changes the primary key.");
		if (!paxos_expr_expressible((Node *) tle->expr, &form->why))
			return false;
		form->sets = lappend(form->sets, tle);
	}
	return form->sets != NIL;
}

/* The expressions of VALUES, for columns of which the target list has Vars. */
static bool
values_fit(Form *form, Query *query, int values)
{
	RangeTblEntry *rte;
	ListCell *lc;

	if (values == 0)
		return true;
	rte = rt_fetch(values, query->rtable);
	foreach (lc, rte->values_lists)
	{
		List *row = (List *) eval_const_expressions(NULL, lfirst(lc));
		ListCell *lc2;

		foreach (lc2, row)
		{
			if (contain_var_clause(lfirst(lc2)) || !paxos_expr_evaluable(lfirst(lc2), &form->why))
				return false;
		}
		form->rows = lappend(form->rows, row);
	}
	return true;
}

static bool
is_other_var(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno != *(int *) context || ((Var *) node)->varlevelsup != 0;
	return expression_tree_walker(node, is_other_var, context);
}

static bool
row_fits(Form *form, Query *query, Relation rel, Relation pk)
{
	TupleDesc desc = RelationGetDescr(rel);
	List *from = query->jointree->fromlist;
	int values = from != NIL ? linitial_node(RangeTblRef, from)->rtindex : 0;
	ListCell *lc;

	if (!values_fit(form, query, values))
		return false;
	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		if (!assignable(tle, rel) || is_other_var((Node *) tle->expr, &values) ||
			!paxos_expr_evaluable((Node *) tle->expr, &form->why))
			return false;
		form->row = lappend(form->row, tle);
	}

	/* The row's key must be known: none of it generated. */
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(pk); i++)
	{
		if (TupleDescAttr(desc, pk->rd_index->indkey.values[i] - 1)->attgenerated != '\0')
			return false;
	}
	return true;
}

static bool
returning_fits(Form *form, Query *query)
{
	ListCell *lc;

	foreach (lc, query->returningList)
	{
		Node *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		if (IsA(expr, Const))
			continue;
		if (!IsA(expr, Var) || ((Var *) expr)->varno != 1 || ((Var *) expr)->varattno <= 0 ||
			!PaxosVarIsOfRow((Var *) expr))
			return is_not(form, "Its RETURNING has more than columns and constants.");
	}
	return true;
}

static bool
conditions_fit(Form *form)
{
	ListCell *lc;

	foreach (lc, form->conditions)
	{
		if (!paxos_expr_expressible(lfirst(lc), &form->why))
			return false;
	}
	return true;
}

static List *
conditions_of(Node *quals)
{
	quals = eval_const_expressions(NULL, quals);
	return quals != NULL ? make_ands_implicit(canonicalize_qual((Expr *) quals, false)) : NIL;
}

static PaxosVerb
verb_of(Query *query)
{
	switch (query->commandType)
	{
		case CMD_UPDATE:
			return PAXOS_VERB_UPDATE;
		case CMD_DELETE:
			return PAXOS_VERB_DELETE;
		default:
			return query->onConflict == NULL                         ? PAXOS_VERB_INSERT_NEW
				   : query->onConflict->action == ONCONFLICT_NOTHING ? PAXOS_VERB_INSERT_NOTHING
																	 : PAXOS_VERB_INSERT_UPDATE;
	}
}

/* 'query' is ours: what PostgreSQL's planner got was another copy. */
static bool
recognise(Form *form, Query *query, PlannedStmt *plan, Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	Relation pk;
	bool good;

	if (!OidIsValid(rel->rd_pkindex) || paxos_needs_sets(rel) ||
		PaxosHasVirtualColumns(RelationGetDescr(rel)) ||
		!conflict_fits(form, query, plan, rel, indexes))
		return false;

	query->targetList = (List *) eval_const_expressions(NULL, (Node *) query->targetList);
	query->returningList = (List *) eval_const_expressions(NULL, (Node *) query->returningList);
	form->relid = RelationGetRelid(rel);
	form->returning = query->returningList != NIL;
	form->verb = verb_of(query);

	pk = index_open(rel->rd_pkindex, AccessShareLock);
	good = returning_fits(form, query);
	switch (form->verb)
	{
		case PAXOS_VERB_UPDATE:
		case PAXOS_VERB_DELETE:
			good =
				good &&
				(form->verb == PAXOS_VERB_DELETE || sets_fit(form, query->targetList, rel, pk)) &&
				find_key(form, rel, pk, conditions_of(query->jointree->quals)) &&
				conditions_fit(form);
			break;
		case PAXOS_VERB_INSERT_UPDATE:
		{
			OnConflictExpr *conflict = query->onConflict;

			form->excluded = conflict->exclRelIndex;
			conflict->onConflictSet =
				(List *) eval_const_expressions(NULL, (Node *) conflict->onConflictSet);
			form->conditions = conditions_of(conflict->onConflictWhere);
			ChangeVarNodes((Node *) conflict->onConflictSet, form->excluded, PAXOS_EXPR_PROPOSED,
						   0);
			ChangeVarNodes((Node *) form->conditions, form->excluded, PAXOS_EXPR_PROPOSED, 0);
			good = good && row_fits(form, query, rel, pk) &&
				   sets_fit(form, conflict->onConflictSet, rel, pk) && conditions_fit(form);
			break;
		}
		default:
			good = good && row_fits(form, query, rel, pk);
			break;
	}
	index_close(pk, NoLock);
	return good;
}

/* What can be said without looking at the table. */
static bool
plain_enough(Query *query, RangeTblEntry *rte)
{
	List *from = query->jointree->fromlist;
	int tables = 1;

	if (list_length(from) > 1 || (from != NIL && !IsA(linitial(from), RangeTblRef)) ||
		(query->commandType != CMD_INSERT && from == NIL))
		return false;
	if (query->commandType == CMD_INSERT)
	{
		if (from != NIL)
		{
			int values = linitial_node(RangeTblRef, from)->rtindex;

			if (rt_fetch(values, query->rtable)->rtekind != RTE_VALUES ||
				query->jointree->quals != NULL)
				return false;
			tables++;
		}
		if (query->onConflict != NULL && query->onConflict->action == ONCONFLICT_UPDATE)
			tables++;
	}
	return list_length(query->rtable) == tables && query->resultRelation == 1 &&
		   query->cteList == NIL && !query->hasSubLinks && !query->hasTargetSRFs &&
		   !query->hasAggs && !query->hasWindowFuncs && !query->hasModifyingCTE &&
		   !query->hasRowSecurity && query->withCheckOptions == NIL && query->rowMarks == NIL &&
		   query->canSetTag && rte->securityQuals == NIL && rte->relkind == RELKIND_RELATION &&
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
	PlannedStmt *ordinary = copyObject(plan);
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
	scan->custom_relids = bms_make_singleton(1); /* EXPLAIN names these */
	if (form->excluded != 0)
		scan->custom_relids = bms_add_member(scan->custom_relids, form->excluded);
	fix_opfuncids((Node *) form->key);
	fix_opfuncids((Node *) form->row);
	fix_opfuncids((Node *) form->rows);
	fix_opfuncids((Node *) form->sets);
	fix_opfuncids((Node *) form->conditions);
	scan->custom_private =
		list_make2(list_make4_int(form->verb, form->returning, form->excluded, form->never),
				   list_make1_oid(form->relid));
	scan->custom_private =
		list_concat(scan->custom_private,
					list_make5(form->key, form->row, form->rows, form->sets, form->conditions));
	scan->custom_private = lappend(scan->custom_private, ordinary);

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
		plan = previous_planner(query, text, options, params);
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
		query->resultRelation == 0 || paxos_applying || paxos_trying || IsBinaryUpgrade ||
		paxos_in_own_script())
		return next_planner(query, text, options, params);
	rte = rt_fetch(query->resultRelation, query->rtable);
	if (!paxos_is_consensus_table(rte->relid) || !plain_enough(query, rte))
		return next_planner(query, text, options, params);

	copy = copyObject(query);
	plan = next_planner(query, text, options, params);
	rel = table_open(rte->relid, NoLock); /* locked by the parser */
	if (recognise(&form, copy, plan, rel))
		replace_plan(plan, &form, copy, rel);
	else
		elog(DEBUG1, "no keyed operation, part of a write set: %s",
			 form.why != NULL ? form.why : "its form");
	table_close(rel, NoLock);
	return plan;
}

/* ------------------------------------------------------------------
 * Is it a statement of its own?
 * ------------------------------------------------------------------
 */

/*
 * "Canceled" means that nothing was done: of a command still in the queue.  In a
 * statement that goes on after a command of its own was decided - SELECT of a writing
 * function and something slow - it would be a lie.
 */
static void
tell_cancel(MemoryContext context)
{
	if (executor_depth > 0 || utility_depth > 0 || !paxos_command_decided ||
		geterrcode() != ERRCODE_QUERY_CANCELED)
		return;
	MemoryContextSwitchTo(context);
	FlushErrorState();
	ereport(ERROR, (errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
					errmsg("the statement was canceled after a command of it had been decided"),
					errdetail("The command is not undone.  Its result is lost.")));
}

static void
count_run(PAXOS_RUN_ARGUMENTS)
{
	MemoryContext context = CurrentMemoryContext;

	if (executor_depth == 0 && utility_depth == 0)
		paxos_command_decided = false;
	executor_depth++;
	PG_TRY();
	{
		previous_run(PAXOS_RUN_PASSED);
	}
	PG_CATCH();
	{
		executor_depth--;
		tell_cancel(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	executor_depth--;
}

/* AFTER triggers fire here. */
static void
count_finish(QueryDesc *query)
{
	executor_depth++;
	PG_TRY();
	{
		previous_finish(query);
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
	MemoryContext cxt = CurrentMemoryContext;

	if (executor_depth == 0 && utility_depth == 0)
		paxos_command_decided = false;
	if (utility_depth == 0)
	{
		Node *parse = pstmt->utilityStmt;

		utility_runs_plan = context == PROCESS_UTILITY_TOPLEVEL &&
							(IsA(parse, ExecuteStmt) || IsA(parse, ExplainStmt));
		utility_owner = CurrentResourceOwner;
		utility_extended = ActivePortal != NULL && ActivePortal->visible;
	}
	utility_depth++;
	PG_TRY();
	{
		previous_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest, qc);
	}
	PG_CATCH();
	{
		utility_depth--;
		tell_cancel(cxt);
		PG_RE_THROW();
	}
	PG_END_TRY();
	utility_depth--;
}

/*
 * In the extended protocol the transaction ends with Sync.  A statement that
 * follows in the pipeline and fails would seem to have undone this one, so we look
 * what follows.  To wait for it takes nothing away from anybody: as long as the
 * client sends nothing it can expect no answer either.
 */
static bool
sync_follows(void)
{
	int next;

	pq_startmsgread();
	next = pq_peekbyte();
	pq_endmsgread();
	if (next == EOF)
		ereport(FATAL, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("connection to client lost")));
	return next == 'S';
}

/*
 * The statement the client sent, or EXECUTE or EXPLAIN of it: not one in a
 * function, trigger, procedure or DO block, which could fail and roll back after
 * it.  A portal of its own is not enough: a function's cursor has one.
 */
static bool
stands_alone(PlannedStmt *plan, int depth)
{
	bool extended;

	if (IsTransactionBlock() || IsSubTransaction() || planner_depth > 0 ||
		executor_depth != depth || ActivePortal == NULL)
		return false;
	if (utility_depth == 0)
	{
		if (!list_member_ptr(ActivePortal->stmts, plan))
			return false;
		extended = ActivePortal->visible;
	}
	else
	{
		if (utility_depth > 1 || !utility_runs_plan)
			return false;
		extended = utility_extended;
	}
	return !extended || (depth == 0 && ActivePortal->status != PORTAL_ACTIVE) || sync_follows();
}

/*
 * In a block, a function, a DO the ordinary plan is executed, and becomes part of the
 * transaction's write set.  Decided here and not where it is planned: a plan may be
 * kept and executed elsewhere.  What follows in a pipeline is not looked at while this is
 * Bind, whose client may wait for an answer before it goes on.
 */
static void
choose_plan(QueryDesc *query, int flags)
{
	PlannedStmt *plan = query->plannedstmt;

	if (plan->planTree != NULL && IsA(plan->planTree, CustomScan) &&
		((CustomScan *) plan->planTree)->methods == &scan_methods &&
		((MyXactFlags & XACT_FLAGS_PIPELINING) != 0 || !stands_alone(plan, 0)))
		query->plannedstmt =
			llast_node(PlannedStmt, ((CustomScan *) plan->planTree)->custom_private);
	previous_start(query, flags);
}

/* ------------------------------------------------------------------
 * Executing
 * ------------------------------------------------------------------
 */

static void
read_form(Form *form, List *private)
{
	List *numbers = linitial(private);

	form->verb = (PaxosVerb) linitial_int(numbers);
	form->returning = lsecond_int(numbers) != 0;
	form->excluded = lthird_int(numbers);
	form->never = lfourth_int(numbers) != 0;
	form->relid = linitial_oid((List *) lsecond(private));
	form->key = lthird(private);
	form->row = lfourth(private);
	form->rows = list_nth(private, 4);
	form->sets = list_nth(private, 5);
	form->conditions = list_nth(private, 6);
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

/* Cancel requests are heard again; one that came meanwhile came too late. */
static void
hear(KeyedState *state)
{
	if (!state->deaf)
		return;
	if (!ProcDiePending)
		QueryCancelPending = false;
	RESUME_INTERRUPTS();
	state->deaf = false;
}

static void
keyed_end(CustomScanState *node)
{
	hear((KeyedState *) node);
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
	memset(out, 0, sizeof(*out));
	out->attnum = attnum;
	out->isnull = isnull;
	out->text = isnull ? "" : paxos_fixed_text(type, value);
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

/* An expression for the slot, with what does not depend on the row settled now. */
static void
put_expression(PaxosColumn *out, AttrNumber attnum, uint8 op, Expr *expr, PlanState *ps)
{
	(void) ExecInitExpr(expr, ps); /* may the caller call what the learner will? */
	memset(out, 0, sizeof(*out));
	out->attnum = attnum;
	out->op = op;
	out->text = paxos_expr_encode((Node *) expr, evaluate_here, ps);
}

static void
put_sets(PaxosKeyedOp *op, Form *form, TupleDesc desc, PlanState *ps)
{
	ListCell *lc;

	op->sets = palloc_array(PaxosColumn, list_length(form->sets) + 1);
	foreach (lc, form->sets)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		PaxosColumn *c = &op->sets[op->n_sets++];

		if (contain_var_clause((Node *) tle->expr))
			put_expression(c, tle->resno, PAXOS_SET_EXPRESSION, tle->expr, ps);
		else
		{
			bool isnull;
			Datum value = evaluate_here(tle->expr, ps, &isnull);

			put_value(c, tle->resno, TupleDescAttr(desc, tle->resno - 1)->atttypid, value, isnull);
			c->op = PAXOS_SET_ASSIGN;
		}
	}
}

static void
put_conditions(PaxosKeyedOp *op, Form *form, PlanState *ps)
{
	ListCell *lc;

	op->conditions = palloc_array(PaxosColumn, list_length(form->conditions) + 1);
	foreach (lc, form->conditions)
		put_expression(&op->conditions[op->n_conditions++], 1, PAXOS_COND_EXPRESSION, lfirst(lc),
					   ps);
}

/* An expression of the target list, of one row of VALUES. */
static Node *
over_values(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return copyObject(list_nth((List *) context, ((Var *) node)->varattno - 1));
	return expression_tree_mutator(node, over_values, context);
}

static void
put_row(PaxosKeyedOp *op, Form *form, List *values, TupleDesc desc, PlanState *ps)
{
	ListCell *lc;

	op->row = palloc_array(PaxosColumn, list_length(form->row) + 1);
	foreach (lc, form->row)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Expr *expr = values != NIL ? (Expr *) over_values((Node *) tle->expr, values) : tle->expr;
		bool isnull;
		Datum value = evaluate_here(expr, ps, &isnull);

		put_value(&op->row[op->n_row++], tle->resno, TupleDescAttr(desc, tle->resno - 1)->atttypid,
				  value, isnull);
	}
}

/*
 * The new row's own key.  A null in it is an error, but not one of ours: at the
 * slot it is found in its turn, and said with the whole row.
 */
static void
key_of_new_row(PaxosKeyedOp *op, AttrNumber attnum)
{
	PaxosColumn *key = &op->key[op->n_key++];

	put_value(key, attnum, InvalidOid, (Datum) 0, true);
	for (int i = 0; i < op->n_row; i++)
	{
		if (op->row[i].attnum == attnum)
			*key = op->row[i];
	}
}

/* False: no row can be meant. */
static bool
make_op(PaxosKeyedOp *op, Form *form, List *values, Relation rel, Relation pk, PlanState *ps)
{
	TupleDesc desc = RelationGetDescr(rel);
	int n_key = IndexRelationGetNumberOfKeyAttributes(pk);
	bool possible = true;

	memset(op, 0, sizeof(*op));
	op->table_id = paxos_table_id(form->relid);
	op->definition = paxos_definition_of(rel, pk);
	op->verb = form->verb;
	op->as_record = form->returning;
	put_row(op, form, values, desc, ps);
	put_sets(op, form, desc, ps);

	op->key = palloc_array(PaxosColumn, n_key);
	for (int i = 0; i < n_key && possible; i++)
	{
		AttrNumber attnum = pk->rd_index->indkey.values[i];

		if (form->key == NIL)
			key_of_new_row(op, attnum);
		else
			possible = put_key(&op->key[op->n_key++], TupleDescAttr(desc, attnum - 1),
							   list_nth(form->key, i), ps);
	}
	put_conditions(op, form, ps);
	return possible;
}

/* One command, an operation for each row.  False: no row can be meant. */
static bool
make_command(PaxosCommand *command, Form *form, Relation rel, PlanState *ps)
{
	Relation pk;
	bool possible = true;

	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	pk = index_open(rel->rd_pkindex, AccessShareLock);
	memset(command, 0, sizeof(*command));
	if (list_length(form->rows) > 1)
	{
		PaxosKeyedList *list = &command->u.list;
		ListCell *lc;

		command->kind = PAXOS_COMMAND_LIST;
		list->ops = palloc_array(PaxosKeyedOp, list_length(form->rows));
		foreach (lc, form->rows)
			(void) make_op(&list->ops[list->n++], form, lfirst(lc), rel, pk, ps);
	}
	else
	{
		command->kind = PAXOS_COMMAND_KEYED;
		possible = make_op(&command->u.keyed, form, form->rows != NIL ? linitial(form->rows) : NIL,
						   rel, pk, ps);
	}
	index_close(pk, NoLock);
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
submit(const PaxosCommand *command, Oid relid, PaxosCommandResult *result)
{
	(void) paxos_api_submit(command, result);
	if (result->failed)
	{
		if (!paxos_may_see_rows(relid))
			result->detail = NULL;
		paxos_result_raise(result);
	}
}

/* Count what was done, and keep what RETURNING wants of it. */
static void
take(KeyedState *state, bool applied, char *previous, char *current)
{
	char *image = state->form.verb == PAXOS_VERB_DELETE ? previous : current;

	if (!applied)
		return;
	state->css.ss.ps.state->es_processed++;
	if (state->form.returning && image != NULL)
		state->images = lappend(state->images, image);
}

/*
 * The row, as the scan's tuple.  Its text was written under the learner's settings;
 * of this session's own, these two could make input refuse it or take it for another,
 * when it is too late for an error.
 */
static void
fill_tuple(TupleTableSlot *tuple, TupleDesc desc, const char *image)
{
	bool array_nulls = Array_nulls;
	int xml_option = xmloption;
	Datum record;
	HeapTupleHeader header;
	HeapTupleData row = {0};

	PG_TRY();
	{
		Array_nulls = true;
		xmloption = XMLOPTION_CONTENT;
		record = OidInputFunctionCall(F_RECORD_IN, pstrdup(image), RECORDOID, desc->tdtypmod);
	}
	PG_FINALLY();
	{
		Array_nulls = array_nulls;
		xmloption = xml_option;
	}
	PG_END_TRY();
	header = DatumGetHeapTupleHeader(record);
	row.t_len = HeapTupleHeaderGetDatumLength(header);
	row.t_data = header;
	ExecClearTuple(tuple);
	heap_deform_tuple(&row, desc, tuple->tts_values, tuple->tts_isnull);
	ExecStoreVirtualTuple(tuple);
}

static void
execute(KeyedState *state)
{
	PlanState *ps = &state->css.ss.ps;
	Form *form = &state->form;
	PaxosCommand command;
	PaxosCommandResult result;
	const char *name = statement_name(form->verb);
	List *locked;
	Relation rel;
	bool possible;

	if (form->never)
		return;
	if (!stands_alone(ps->state->es_plannedstmt, 1))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s on consensus-backed table \"%s\" cannot run inside a transaction "
						"block, function or procedure",
						name, get_rel_name(form->relid)),
				 errdetail("Its effect would outlive a rollback."),
				 errhint("Run it as a statement of its own.")));
	paxos_begin_write(name);

	rel = table_open(form->relid, AccessShareLock);
	(void) paxos_known_table_id(form->relid);
	possible = make_command(&command, form, rel, ps);
	state->desc = CreateTupleDescCopy(RelationGetDescr(rel));
	state->desc->tdtypeid = RECORDOID;
	state->desc->tdtypmod = -1;
	state->desc = BlessTupleDesc(state->desc);
	locked = list_copy(RelationGetIndexList(rel));
	locked = lappend_oid(locked, form->relid);
	locked = list_concat(locked, getOwnedSequences(form->relid));
	table_close(rel, NoLock);
	if (!possible)
		return;

	give_up_locks(locked);
	submit(&command, form->relid, &result);

	/* A cancel would be told as one that came before the answer: not done. */
	HOLD_INTERRUPTS();
	state->deaf = true;
	if (command.kind == PAXOS_COMMAND_KEYED)
		take(state, result.applied, result.previous, result.current);
	for (int i = 0; i < result.n_parts; i++)
		take(state, result.parts[i].applied, result.parts[i].previous, result.parts[i].current);
}

static TupleTableSlot *
keyed_exec(CustomScanState *node)
{
	KeyedState *state = (KeyedState *) node;
	PlanState *ps = &node->ss.ps;
	MemoryContext old;

	if (!state->sent)
	{
		state->sent = true;
		execute(state);
	}
	if (state->returned == list_length(state->images))
	{
		hear(state);
		return NULL;
	}
	ResetExprContext(ps->ps_ExprContext);
	old = MemoryContextSwitchTo(ps->ps_ExprContext->ecxt_per_tuple_memory);
	fill_tuple(node->ss.ss_ScanTupleSlot, state->desc, list_nth(state->images, state->returned++));
	MemoryContextSwitchTo(old);
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

/* An expression as SQL; columns with their table's name where there is EXCLUDED. */
static char *
said(Form *form, Node *expr, List *context)
{
	expr = copyObject(expr);
	ChangeVarNodes(expr, PAXOS_EXPR_PROPOSED, form->excluded, 0);
	return deparse_expression(expr, context, form->excluded != 0, false);
}

static void
explain_targets(const char *label, Form *form, List *list, List *context, ExplainState *es)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	foreach (lc, list)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		append_part(&text, ", ", "%s = %s",
					quote_identifier(get_attname(form->relid, tle->resno, false)),
					said(form, (Node *) tle->expr, context));
	}
	if (text.len > 0)
		ExplainPropertyText(label, text.data, es);
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

	if (form->never)
	{
		ExplainPropertyText("Condition", "false", es);
		table_close(rel, AccessShareLock);
		return;
	}
	initStringInfo(&text);
	if (form->key != NIL)
	{
		list_free(RelationGetIndexList(rel));
		pk = index_open(rel->rd_pkindex, AccessShareLock);
		for (int i = 0; i < list_length(form->key); i++)
			append_part(
				&text, " AND ", "(%s = %s)",
				quote_identifier(get_attname(form->relid, pk->rd_index->indkey.values[i], false)),
				said(form, list_nth(form->key, i), context));
		index_close(pk, AccessShareLock);
		ExplainPropertyText("Key", text.data, es);
	}
	if (form->rows == NIL)
		explain_targets("Row", form, form->row, context, es);
	else
		ExplainPropertyInteger("Rows", NULL, list_length(form->rows), es);
	if (form->verb == PAXOS_VERB_INSERT_NOTHING || form->verb == PAXOS_VERB_INSERT_UPDATE)
		ExplainPropertyText("Conflict Resolution",
							form->verb == PAXOS_VERB_INSERT_NOTHING ? "NOTHING" : "UPDATE", es);
	explain_targets("Set", form, form->sets, context, es);
	resetStringInfo(&text);
	foreach (lc, form->conditions)
		append_part(&text, " AND ", "%s", said(form, lfirst(lc), context));
	if (text.len > 0)
		ExplainPropertyText("Condition", text.data, es);
	table_close(rel, AccessShareLock);
}

void
paxos_keyed_install_hooks(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_planner = planner_hook ? planner_hook : standard_planner;
	planner_hook = plan_statement;
	previous_start = ExecutorStart_hook ? ExecutorStart_hook : standard_ExecutorStart;
	ExecutorStart_hook = choose_plan;
	previous_run = ExecutorRun_hook ? ExecutorRun_hook : standard_ExecutorRun;
	ExecutorRun_hook = count_run;
	previous_finish = ExecutorFinish_hook ? ExecutorFinish_hook : standard_ExecutorFinish;
	ExecutorFinish_hook = count_finish;
	previous_utility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = count_utility;
}
