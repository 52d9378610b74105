/*
 * paxos_serial.c
 *	  What a SERIALIZABLE transaction has read of consensus tables, and so what
 *	  its write set depends on (paxos_set.c, protocol.md § 6.1).
 *
 * All that such a transaction reads, it reads from one snapshot, which is the state
 * behind some slot; at its own slot it must be what it would read there.  So the set names
 * the snapshot's slot, and what was read: rows by their primary key - also those that
 * were not there - where an index scan looks them up by all columns of it, and
 * otherwise the table (but not where a scan's own condition says the same of the primary
 * key).  A transaction that changes nothing is not proposed: what one snapshot
 * shows, is a state that there has been.
 *
 * PostgreSQL's own serializable snapshot isolation cannot take part in the decision: it
 * sees this node alone, and could say no when the cluster has said yes.  A transaction
 * leaves it when its set is proposed.
 *
 * Where reads are seen: in the plan of each query, when it has started.  Every
 * relation in its range table counts as read as a whole, but for the target of an
 * INSERT that has nothing to do with rows that are there, and but for those that the
 * plan reads by lookups alone: their nodes are watched.  What is read by a function passes
 * here as a query of its own; in a parallel worker nobody would hear of it, so
 * a serializable transaction has none.  COPY table TO is seen as a statement.
 *
 * Counted too often is never wrong: the transaction is told 40001 without need.
 *
 * State: none but what paxos_capture.c keeps for the transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/skey.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_serial.h"
#include "paxos_set.h"

/* A longer list of values is a read of the table. */
#define MOST_OF_A_LIST 64

/* The scan keys of an index scan, with or without the heap. */
typedef struct Lookup
{
	ScanKey keys;
	int n_keys;
	Relation index;
} Lookup;

typedef struct Walk
{
	int n;       /* of the range table */
	bool *whole; /* by its index */
	bool *seen;
	bool watch; /* second time round */
} Walk;

static ExecProcNodeMtd index_scan = NULL;
static ExecProcNodeMtd index_only_scan = NULL;

static Lookup
lookup_of(PlanState *state)
{
	if (IsA(state, IndexScanState))
	{
		IndexScanState *s = (IndexScanState *) state;

		return (Lookup){s->iss_ScanKeys, s->iss_NumScanKeys, s->iss_RelationDesc};
	}
	else
	{
		IndexOnlyScanState *s = (IndexOnlyScanState *) state;

		return (Lookup){s->ioss_ScanKeys, s->ioss_NumScanKeys, s->ioss_RelationDesc};
	}
}

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

static int64
integer_value(Oid type, Datum value)
{
	return type == INT2OID   ? DatumGetInt16(value)
		   : type == INT4OID ? DatumGetInt32(value)
							 : DatumGetInt64(value);
}

/* The key that equates this column of the index with a value we understand, or, if it is
 * the only one, with any of several. */
static ScanKey
equated(const Lookup *l, int column)
{
	Oid type = l->index->rd_opcintype[column];
	bool alone = IndexRelationGetNumberOfKeyAttributes(l->index) == 1;

	for (int i = 0; i < l->n_keys; i++)
	{
		ScanKey key = &l->keys[i];

		if (key->sk_attno != column + 1 || key->sk_strategy != BTEqualStrategyNumber ||
			(key->sk_flags & ~(SK_ISNULL | (alone ? SK_SEARCHARRAY : 0))) != 0)
			continue;
		if (key->sk_subtype == InvalidOid || key->sk_subtype == type ||
			(is_integer(type) && is_integer(key->sk_subtype)))
			return key;
	}
	return NULL;
}

/* Does the node look up rows by their whole primary key? */
static bool
is_lookup(PlanState *state)
{
	Relation rel;
	Lookup l;

	if (!IsA(state, IndexScanState) && !IsA(state, IndexOnlyScanState))
		return false;
	rel = ((ScanState *) state)->ss_currentRelation;
	l = lookup_of(state);
	if (l.index == NULL || rel == NULL)
		return false;
	list_free(RelationGetIndexList(rel)); /* sets rd_pkindex */
	if (RelationGetRelid(l.index) != rel->rd_pkindex)
		return false;
	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(l.index); i++)
	{
		if (equated(&l, i) == NULL)
			return false;
	}
	return true;
}

/* A value that a column of this type is equated with, as one of that type; false if there
 * is none. */
static bool
as_type(Oid type, ScanKey key, Datum *value)
{
	int64 v;

	if (key->sk_subtype == InvalidOid || key->sk_subtype == type)
		return true;
	v = integer_value(key->sk_subtype, *value);
	if ((type == INT2OID && v != (int16) v) || (type == INT4OID && v != (int32) v))
		return false;
	*value = type == INT2OID   ? Int16GetDatum((int16) v)
			 : type == INT4OID ? Int32GetDatum((int32) v)
							   : Int64GetDatum(v);
	return true;
}

/* One of several.  This comes by for each row found. */
static void
tell_any(Oid relid, Oid type, ScanKey key)
{
	ArrayType *array = DatumGetArrayTypeP(key->sk_argument);
	int16 len;
	bool byval;
	char align;
	Datum *values;
	bool *isnull;
	int n;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &values, &isnull, &n);
	if (n > MOST_OF_A_LIST)
	{
		paxos_set_read_all(relid);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		if (!isnull[i] && as_type(type, key, &values[i]))
			paxos_set_read_row(relid, &values[i]);
	}
	pfree(values);
	pfree(isnull);
}

/* What the node has just looked up, found or not. */
static void
tell(PlanState *state, Lookup l)
{
	Oid relid = RelationGetRelid(((ScanState *) state)->ss_currentRelation);
	Datum values[INDEX_MAX_KEYS];

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(l.index); i++)
	{
		ScanKey key = equated(&l, i);

		if ((key->sk_flags & SK_ISNULL) != 0)
			return; /* nothing equals it */
		if ((key->sk_flags & SK_SEARCHARRAY) != 0)
		{
			tell_any(relid, l.index->rd_opcintype[i], key);
			return;
		}
		values[i] = key->sk_argument;
		if (!as_type(l.index->rd_opcintype[i], key, &values[i]))
			return; /* and no value of the column this one */
	}
	paxos_set_read_row(relid, values);
}

/* ------------------------------------------------------------------
 * A scan of the table whose condition names the rows: the planner's choice for small
 * tables.  What it returns depends on no other row.
 * ------------------------------------------------------------------
 */

static Node *
without_relabel(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

static bool
is_column(Node *node, Index rti, AttrNumber column)
{
	Var *var = (Var *) without_relabel(node);

	return var != NULL && IsA(var, Var) && var->varno == (int) rti && var->varattno == column &&
		   var->varlevelsup == 0;
}

/* A constant, or a parameter from without: the same for as long as the query runs. */
static bool
known_value(Node *node, EState *estate, Datum *value, bool *isnull)
{
	ParamListInfo params = estate->es_param_list_info;
	ParamExternData room;
	ParamExternData *p;
	Param *param;

	node = without_relabel(node);
	if (node != NULL && IsA(node, Const))
	{
		*value = ((Const *) node)->constvalue;
		*isnull = ((Const *) node)->constisnull;
		return true;
	}
	param = (Param *) node;
	if (node == NULL || !IsA(node, Param) || param->paramkind != PARAM_EXTERN || params == NULL ||
		param->paramid < 1 || param->paramid > params->numParams)
		return false;
	p = params->paramFetch != NULL ? params->paramFetch(params, param->paramid, true, &room)
								   : &params->params[param->paramid - 1];
	if (p->ptype != param->paramtype)
		return false;
	*value = p->value;
	*isnull = p->isnull;
	return true;
}

/* The condition that equates a column of the index, in the form of a scan key. */
static bool
condition_on(List *conditions, Relation index, int column, Index rti, EState *estate, ScanKey key)
{
	AttrNumber attnum = index->rd_index->indkey.values[column];
	Oid family = index->rd_opfamily[column];
	Oid type = index->rd_opcintype[column];
	bool alone = IndexRelationGetNumberOfKeyAttributes(index) == 1;
	ListCell *lc;

	foreach (lc, conditions)
	{
		Node *condition = lfirst(lc);
		Node *value = NULL;
		Oid op = InvalidOid;
		Oid collation = InvalidOid;
		int flags = 0;
		int strategy;
		Oid left;
		Oid right;
		Datum datum;
		bool isnull;

		if (IsA(condition, OpExpr) && list_length(((OpExpr *) condition)->args) == 2)
		{
			OpExpr *e = (OpExpr *) condition;

			op = e->opno;
			collation = e->inputcollid;
			value = lsecond(e->args);
			if (is_column(value, rti, attnum))
			{
				op = get_commutator(op);
				value = linitial(e->args);
			}
			else if (!is_column(linitial(e->args), rti, attnum))
				continue;
		}
		else if (alone && IsA(condition, ScalarArrayOpExpr))
		{
			ScalarArrayOpExpr *e = (ScalarArrayOpExpr *) condition;

			if (!e->useOr || !is_column(linitial(e->args), rti, attnum))
				continue;
			op = e->opno;
			collation = e->inputcollid;
			value = lsecond(e->args);
			flags = SK_SEARCHARRAY;
		}
		if (!OidIsValid(op) || get_op_opfamily_strategy(op, family) != BTEqualStrategyNumber ||
			!known_value(value, estate, &datum, &isnull))
			continue;

		/* by one that takes different values for equal it names other rows, too */
		if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
			continue;
		get_op_opfamily_properties(op, family, false, &strategy, &left, &right);
		if (right != type && !(is_integer(type) && is_integer(right)))
			continue;
		memset(key, 0, sizeof(*key));
		key->sk_attno = (AttrNumber) (column + 1);
		key->sk_strategy = BTEqualStrategyNumber;
		key->sk_subtype = right;
		key->sk_flags = flags | (isnull ? SK_ISNULL : 0);
		key->sk_argument = datum;
		return true;
	}
	return false;
}

static bool
names_rows(PlanState *state, Lookup *l, ScanKey keys)
{
	Relation rel = ((ScanState *) state)->ss_currentRelation;
	List *conditions = state->plan->qual;
	bool all = true;

	if (!IsA(state, SeqScanState) && !IsA(state, BitmapHeapScanState))
		return false;
	if (IsA(state, BitmapHeapScanState))
		conditions = list_concat_copy(conditions, ((BitmapHeapScan *) state->plan)->bitmapqualorig);

	/* a function of other rows, or what is read for them, could tell what it has seen */
	if (conditions == NIL || rel == NULL || contain_volatile_functions((Node *) conditions) ||
		contain_subplans((Node *) conditions))
		return false;
	list_free(RelationGetIndexList(rel));
	if (!OidIsValid(rel->rd_pkindex))
		return false;
	l->index = index_open(rel->rd_pkindex, AccessShareLock);
	l->keys = keys;
	l->n_keys = IndexRelationGetNumberOfKeyAttributes(l->index);
	for (int i = 0; i < l->n_keys && all; i++)
		all = condition_on(conditions, l->index, i, ((Scan *) state->plan)->scanrelid, state->state,
						   &keys[i]);
	index_close(l->index, NoLock);
	return all;
}

/* ------------------------------------------------------------------
 * The plan
 * ------------------------------------------------------------------
 */

static TupleTableSlot *
scan_and_tell(PlanState *state)
{
	TupleTableSlot *row = IsA(state, IndexScanState) ? index_scan(state) : index_only_scan(state);

	tell(state, lookup_of(state));
	return row;
}

static void
watch_lookup(PlanState *state)
{
	if (state->ExecProcNodeReal == scan_and_tell)
		return;
	if (IsA(state, IndexScanState))
		index_scan = state->ExecProcNodeReal;
	else
		index_only_scan = state->ExecProcNodeReal;
	ExecSetExecProcNode(state, scan_and_tell);
}

static bool
walk(PlanState *state, void *context)
{
	Walk *w = context;
	Index rti = 0;
	ScanKeyData keys[INDEX_MAX_KEYS];
	Lookup l;

	if (state == NULL)
		return false;
	switch (nodeTag(state->plan))
	{
		case T_SeqScan:
		case T_SampleScan:
		case T_IndexScan:
		case T_IndexOnlyScan:
		case T_BitmapHeapScan:
		case T_TidScan:
		case T_TidRangeScan:
			rti = ((Scan *) state->plan)->scanrelid;
			break;
		case T_ForeignScan:
		case T_CustomScan:
			rti = ((Scan *) state->plan)->scanrelid;
			if (rti == 0) /* of several relations; which, only it knows */
				memset(w->whole, true, sizeof(bool) * (w->n + 1));
			break;
		default:
			break;
	}
	if (rti > 0 && w->watch && !w->whole[rti] && is_lookup(state))
		watch_lookup(state);
	else if (rti > 0 && w->watch && !w->whole[rti] && names_rows(state, &l, keys))
		tell(state, l);
	else if (rti > 0 && !w->watch)
	{
		w->seen[rti] = true;
		if (!is_lookup(state) && !names_rows(state, &l, keys))
			w->whole[rti] = true;
	}
	return planstate_tree_walker(state, walk, w);
}

static void
walk_all(QueryDesc *query, Walk *w)
{
	ListCell *lc;

	(void) walk(query->planstate, w);
	foreach (lc, query->estate->es_subplanstates)
		(void) walk(lfirst(lc), w);
}

/* Is this the target of an INSERT that asks nothing of the rows there are? */
static bool
merely_inserted(Plan *plan, Index rti)
{
	if (plan == NULL)
		return false;
	if (IsA(plan, ModifyTable))
	{
		ModifyTable *m = (ModifyTable *) plan;

		return m->operation == CMD_INSERT && m->onConflictAction == ONCONFLICT_NONE &&
			   list_member_int(m->resultRelations, (int) rti);
	}
	return false;
}

static bool
inserted(PlannedStmt *stmt, Index rti)
{
	ListCell *lc;

	if (!list_member_int(stmt->resultRelations, (int) rti))
		return false;
	if (merely_inserted(stmt->planTree, rti))
		return true;
	foreach (lc, stmt->subplans)
	{
		if (merely_inserted(lfirst(lc), rti))
			return true;
	}
	return false;
}

/* INSERT ... ON CONFLICT meets rows in partitions that its plan does not name. */
static void
read_partitions(Oid relid)
{
	List *all = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell *lc;

	foreach (lc, all)
	{
		if (paxos_is_consensus_table(lfirst_oid(lc)))
			paxos_set_read_all(lfirst_oid(lc));
	}
	list_free(all);
}

bool
paxos_serial(void)
{
	return XactIsoLevel == XACT_SERIALIZABLE;
}

void
paxos_serial_watch(QueryDesc *query)
{
	PlannedStmt *stmt = query->plannedstmt;
	Walk w = {list_length(stmt->rtable)};
	bool any = false;
	Index rti = 0;
	ListCell *lc;

	foreach (lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		any = any || (rte->rtekind == RTE_RELATION &&
					  (rte->relkind == RELKIND_PARTITIONED_TABLE ||
					   (rte->relkind == RELKIND_RELATION && paxos_is_consensus_table(rte->relid))));
	}
	if (!any)
		return;

	w.whole = palloc0(sizeof(bool) * (w.n + 1));
	w.seen = palloc0(sizeof(bool) * (w.n + 1));
	walk_all(query, &w);
	foreach (lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		rti++;
		if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_PARTITIONED_TABLE &&
			!inserted(stmt, rti))
		{
			if (list_member_int(stmt->resultRelations, (int) rti))
				read_partitions(rte->relid);

			/* that it has these partitions: rows could come in one that is new */
			else if (paxos_is_consensus_table(rte->relid))
				paxos_set_read_all(rte->relid);
		}
		if (rte->rtekind != RTE_RELATION || rte->relkind != RELKIND_RELATION ||
			!paxos_is_consensus_table(rte->relid) ||
			(!w.seen[rti] && !w.whole[rti] && inserted(stmt, rti)))
		{
			w.whole[rti] = true; /* nothing to watch */
			continue;
		}
		if (!w.seen[rti] || !paxos_set_reads(rte->relid))
			w.whole[rti] = true;
		if (w.whole[rti])
			paxos_set_read_all(rte->relid);
	}
	w.watch = true;
	walk_all(query, &w);
	pfree(w.whole);
	pfree(w.seen);
}
