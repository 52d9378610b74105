/*
 * paxos_read.c
 *	  paxos.read_consistency: how new a state ordinary statements on consensus tables
 *	  read (protocol.md § 9).
 *
 *		local			what this node has applied
 *		session			at least what the token says (paxos.session_token); what this session
 *						has written or read here is there anyway
 *		bounded			at least what had been acknowledged anywhere paxos.max_staleness
 *						before the statement began
 *		linearizable	what had been acknowledged anywhere before the statement began
 *
 * Each means: wait until this node has applied some slot, *then* take the snapshot, then
 * read.  PostgreSQL takes the snapshot first: every way into the executor comes with one,
 * and a cached plan passes no other hook.  So, in READ COMMITTED, ExecutorStart waits, and
 * gives the query a new snapshot in place of the one it came with; while the query runs
 * the new one is the active snapshot, so that stable functions and parallel workers see
 * the same.
 *
 * Two cases are different, for the snapshot cannot be replaced:
 *
 * - A REPEATABLE READ or SERIALIZABLE transaction has one snapshot, taken before its first
 *   statement is even parsed.  It waits in BEGIN (START TRANSACTION, SET TRANSACTION, SET
 *   paxos.read_consistency and its kin, as long as there is no snapshot).
 * - A query in a STABLE function uses the snapshot of the query that calls the function,
 *   which has waited if it reads a consensus table.  If it reads none, it waits because the
 *   planner has found the function in it (calls_reader()).
 *
 * What comes to the executor with such a snapshot, and has not waited for enough before, is
 * not refused for that: what counts is what the snapshot shows, and that stands in the
 * snapshot itself, as the row of paxos.replicated (paxos_replicated.c).  If it is too old
 * the error is 25001.  Never is an old state returned silently.
 *
 * Which statements: those that read a consensus table - by whatever view - or may lock its
 * rows, unless a keyed operation takes the plan's place, which is decided at its slot; and
 * COPY table TO, which does not pass the executor.  Not: a plain INSERT of its target,
 * PostgreSQL's own checks of foreign keys, EXPLAIN without ANALYZE.  Each statement within
 * a volatile function, procedure or DO block is a statement and waits by itself.
 *
 * The token is the slot that this node has applied when it is asked for: an upper bound
 * of all the session can have read here, and its own writes were applied here before they
 * were acknowledged.  It bears the cluster's first bytes: another cluster's slots mean
 * nothing.
 *
 * How does a node know how stale it is?  By the last read index it got, and the moment
 * *before* it asked for that, by its own clock: nobody else's is looked at.
 *
 * Locks: a statement that waits here holds those of the parser and the planner.  If the
 * log brings a change of the table's definition meanwhile the learner ends the wait: 40001
 * (paxos_yield.c).
 *
 * State: per transaction (what has been waited for), gone at its end.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/parallel.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_acceptor.h"
#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_ddl.h"
#include "paxos_queue.h"
#include "paxos_read.h"
#include "paxos_replicated.h"

PG_FUNCTION_INFO_V1(paxos_session_token_now);

/*
 * A plan with this among what it depends on calls a function that may read consensus tables
 * with the plan's snapshot.  Written as the hash of a function, where the node types of a plan
 * have no place for remarks: one function in four thousand million has it by chance, and costs
 * a wait.
 */
#define CALLS_READER 0x70617872

int paxos_read_consistency = PAXOS_READ_LOCAL;
int paxos_max_staleness_ms = 1000;
char *paxos_session_token = NULL;

/* paxos.session_token, taken apart; slot 0: there is none. */
typedef struct Token
{
	uint32 cluster;
	px_slot slot;
} Token;

static Token token = {0, 0};

/* What has been waited for. */
typedef struct Waited
{
	PaxosReadConsistency level; /* LOCAL: nothing */
	int staleness_ms;
	Token token;
} Waited;

/* A query between ExecutorStart and ExecutorEnd that has waited. */
typedef struct WaitedQuery
{
	const QueryDesc *query;
	Waited waited;
} WaitedQuery;

/* A transaction with one snapshot: what BEGIN has waited for, and what the snapshot
 * shows (0: not looked at). */
static const Waited nothing = {PAXOS_READ_LOCAL, 0, {0, 0}};
static Waited block = {PAXOS_READ_LOCAL, 0, {0, 0}};
static px_slot block_target = 0;
static px_slot block_shows = 0;

static List *waited_queries = NIL;
static bool as_it_is = false;

/* The query that runs now: its snapshot, and what it has waited for. */
static Snapshot running = InvalidSnapshot;
static Waited running_waited = {PAXOS_READ_LOCAL, 0, {0, 0}};

static ExecutorStart_hook_type previous_start = NULL;
static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static ExecutorEnd_hook_type previous_end = NULL;
static ProcessUtility_hook_type previous_utility = NULL;
static planner_hook_type previous_planner = NULL;

/* ------------------------------------------------------------------
 * The token
 * ------------------------------------------------------------------
 */

static bool
parse_token(const char *text, Token *out)
{
	unsigned int cluster;
	unsigned long long slot;
	int length = 0;

	out->cluster = 0;
	out->slot = 0;
	if (text == NULL || text[0] == '\0')
		return true;
	if (strlen(text) > 30 || strspn(text, "0123456789abcdef:") != strlen(text) ||
		sscanf(text, "%8x:%llu%n", &cluster, &slot, &length) != 2 || text[length] != '\0' ||
		slot == 0 || slot > PG_INT64_MAX)
		return false;
	out->cluster = cluster;
	out->slot = (px_slot) slot;
	return true;
}

bool
paxos_check_session_token(char **newval, void **extra, GucSource source)
{
	Token *t = PaxosGucAlloc(sizeof(Token));

	if (t == NULL)
		return false;
	if (!parse_token(*newval, t))
	{
		PaxosGucFree(t);
		GUC_check_errdetail("It is no value of paxos_session_token().");
		return false;
	}
	*extra = t;
	return true;
}

void
paxos_assign_session_token(const char *newval, void *extra)
{
	if (extra != NULL)
		token = *(Token *) extra;
}

/* What tells this cluster from others in a token. */
static uint32
cluster_mark(void)
{
	uint32 mark;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	mark = (uint32) paxos_shared->cluster_id.data[0] << 24 |
		   (uint32) paxos_shared->cluster_id.data[1] << 16 |
		   (uint32) paxos_shared->cluster_id.data[2] << 8 | paxos_shared->cluster_id.data[3];
	LWLockRelease(paxos_identity_lock);
	return mark;
}

/* The slot up to which a snapshot shows the consensus tables. */
static px_slot
shown_by(Snapshot snapshot)
{
	Relation rel = table_open(paxos_internal_relid("replicated"), AccessShareLock);
	px_slot applied = paxos_replicated_applied(rel, snapshot);

	table_close(rel, AccessShareLock);
	return applied;
}

/*
 * paxos_session_token(): pass it as paxos.session_token on another node, and reads there
 * show at least what this session has written and read here.
 */
Datum
paxos_session_token_now(PG_FUNCTION_ARGS)
{
	Snapshot snapshot;
	px_slot slot;

	paxos_require_preload();
	paxos_require_member();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	slot = shown_by(snapshot);
	UnregisterSnapshot(snapshot);
	if (token.slot != 0 && token.cluster == cluster_mark())
		slot = Max(slot, token.slot);
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf("%08x:" UINT64_FORMAT, cluster_mark(), (uint64) slot)));
}

/* ------------------------------------------------------------------
 * Waiting
 * ------------------------------------------------------------------
 */

static Waited
wanted(void)
{
	Waited w = {paxos_read_consistency, paxos_max_staleness_ms, token};

	return w;
}

/* Is who has waited for 'have' done with 'want'? */
static bool
covers(const Waited *have, const Waited *want)
{
	if (want->level == PAXOS_READ_LOCAL)
		return true;
	if (have->level < want->level)
		return false;
	if (want->token.slot != 0 &&
		(have->token.cluster != want->token.cluster || have->token.slot < want->token.slot))
		return false;
	return want->level != PAXOS_READ_BOUNDED || have->level == PAXOS_READ_LINEARIZABLE ||
		   have->staleness_ms <= want->staleness_ms;
}

/*
 * Wait until this node has applied what a statement that begins now must see; returns
 * the slot.
 */
static px_slot
wait_for(const Waited *want)
{
	px_usec begun = paxos_now_us();
	px_slot slot = 0;
	px_slot index;

	paxos_require_member();
	if (want->token.slot != 0)
	{
		if (want->token.cluster != cluster_mark())
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("paxos.session_token is of another cluster"),
					 errhint("Reset it: what that session has seen is not to be found here.")));
		slot = want->token.slot;
	}
	if (want->level == PAXOS_READ_BOUNDED &&
		paxos_queue_fresh(begun - Min(begun, (px_usec) want->staleness_ms * 1000), &index))
	{
		slot = Max(slot, index);
		paxos_wait_applied(slot);
	}
	else if (want->level >= PAXOS_READ_BOUNDED)
	{
		index = paxos_wait_read_index();
		if (index < slot)
			paxos_wait_applied(slot);
		slot = Max(slot, index);
	}
	else if (slot != 0)
		paxos_wait_applied(slot);
	return slot;
}

/* ------------------------------------------------------------------
 * Queries
 * ------------------------------------------------------------------
 */

void
paxos_read_as_it_is(void)
{
	as_it_is = true;
}

static bool
stand_aside(void)
{
	return paxos_read_consistency == PAXOS_READ_LOCAL || as_it_is || paxos_applying ||
		   paxos_trying || IsBinaryUpgrade || IsParallelWorker() || InNoForceRLSOperation() ||
		   paxos_in_own_script();
}

/* A keyed operation is decided at its slot, whatever this node has applied. */
static bool
is_keyed(const PlannedStmt *stmt)
{
	return stmt->planTree != NULL && IsA(stmt->planTree, CustomScan) &&
		   strcmp(((CustomScan *) stmt->planTree)->methods->CustomName, "PaxosKeyed") == 0;
}

static bool
is_marked(const PlannedStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->invalItems)
	{
		PlanInvalItem *item = lfirst_node(PlanInvalItem, lc);

		if (item->cacheId == PROCOID && item->hashValue == CALLS_READER)
			return true;
	}
	return false;
}

static bool
must_wait(const PlannedStmt *stmt)
{
	int only_written = 0;
	int i = 0;
	ListCell *lc;

	if (is_keyed(stmt))
		return false;
	if (stmt->commandType == CMD_INSERT && IsA(stmt->planTree, ModifyTable) &&
		((ModifyTable *) stmt->planTree)->onConflictAction == ONCONFLICT_NONE &&
		list_length(stmt->resultRelations) == 1)
		only_written = linitial_int(stmt->resultRelations);
	foreach (lc, stmt->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (++i != only_written && rte->rtekind == RTE_RELATION &&
			paxos_is_consensus_table(rte->relid))
			return true;
	}
	return is_marked(stmt);
}

static WaitedQuery *
find_waited(const QueryDesc *query)
{
	ListCell *lc;

	foreach (lc, waited_queries)
	{
		WaitedQuery *w = lfirst(lc);

		if (w->query == query)
			return w;
	}
	return NULL;
}

/* It has ended; or one has ended in an error that had its place in memory. */
static void
forget(const QueryDesc *query)
{
	WaitedQuery *w = find_waited(query);

	if (w == NULL)
		return;
	waited_queries = list_delete_ptr(waited_queries, w);
	pfree(w);
}

static void
remember(const QueryDesc *query, const Waited *waited)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	WaitedQuery *w = palloc(sizeof(WaitedQuery));

	w->query = query;
	w->waited = *waited;
	waited_queries = lappend(waited_queries, w);
	MemoryContextSwitchTo(old);
}

/*
 * The transaction's only snapshot.  That BEGIN has waited is not enough: it may have been
 * taken from another session (SET TRANSACTION SNAPSHOT).
 */
static void
check_block(Snapshot snapshot, const Waited *want)
{
	px_slot target = covers(&block, want) ? block_target : wait_for(want);

	if (block_shows == 0)
		block_shows = shown_by(snapshot);
	if (block_shows < target)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("the transaction's snapshot is older than paxos.read_consistency allows"),
				 errdetail("It shows slot " UINT64_FORMAT
						   ", and this read needs slot " UINT64_FORMAT ".",
						   (uint64) block_shows, (uint64) target),
				 errhint("Set paxos.read_consistency before the transaction begins and begin it "
						 "with BEGIN, which then waits; or use READ COMMITTED.")));
}

/* A snapshot that belongs to the query that calls a function. */
static void
check_running(Snapshot snapshot, const Waited *want)
{
	px_slot target;
	px_slot shown;

	if (covers(&running_waited, want))
		return;
	target = wait_for(want);
	shown = shown_by(snapshot);
	if (shown < target)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("the calling query's snapshot is older than paxos.read_consistency allows"),
				 errdetail("A query in a STABLE function uses the snapshot of the query that calls "
						   "it.  It shows slot " UINT64_FORMAT
						   ", and this read needs slot " UINT64_FORMAT ".",
						   (uint64) shown, (uint64) target),
				 errhint("Set paxos.read_consistency before the calling query begins, or declare "
						 "the function VOLATILE.")));
}

/* Before a query's snapshot is used. */
static void
freshen(QueryDesc *query)
{
	Waited want = wanted();

	if (IsolationUsesXactSnapshot())
		check_block(query->snapshot, &want);
	else if (query->snapshot == running || IsInParallelMode())
		check_running(query->snapshot, &want);
	else
	{
		Snapshot fresh;

		(void) wait_for(&want);
		fresh = GetLatestSnapshot();
		fresh->curcid = query->snapshot->curcid;
		fresh = RegisterSnapshot(fresh);
		UnregisterSnapshot(query->snapshot);
		query->snapshot = fresh;
	}
	remember(query, &want);
}

/* What is true while a query runs, for those that run within. */
typedef struct Outer
{
	Snapshot snapshot;
	Waited waited;
	bool pushed;
} Outer;

static Outer
enter(QueryDesc *query)
{
	Outer outer = {running, running_waited, false};
	WaitedQuery *w = waited_queries != NIL ? find_waited(query) : NULL;

	running_waited = w != NULL ? w->waited : nothing;
	if (w != NULL && ActiveSnapshotSet() && GetActiveSnapshot() != query->snapshot)
	{
		PushActiveSnapshot(query->snapshot);
		outer.pushed = true;
	}
	running = query->snapshot;
	return outer;
}

/* After an error the snapshot goes with the (sub)transaction. */
static void
leave(const Outer *outer, bool failed)
{
	if (outer->pushed && !failed)
		PopActiveSnapshot();
	running = outer->snapshot;
	running_waited = outer->waited;
}

#define WITHIN(query, call)          \
	do                               \
	{                                \
		Outer outer_ = enter(query); \
		PG_TRY();                    \
		{                            \
			call;                    \
		}                            \
		PG_CATCH();                  \
		{                            \
			leave(&outer_, true);    \
			PG_RE_THROW();           \
		}                            \
		PG_END_TRY();                \
		leave(&outer_, false);       \
	} while (0)

static void
start(QueryDesc *query, int flags)
{
	if (waited_queries != NIL)
		forget(query);
	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && !stand_aside() && must_wait(query->plannedstmt))
		freshen(query);
	WITHIN(query, previous_start(query, flags));
}

static void
run(PAXOS_RUN_ARGUMENTS)
{
	WITHIN(query, previous_run(PAXOS_RUN_PASSED));
}

static void
finish(QueryDesc *query)
{
	WITHIN(query, previous_finish(query));
}

static void
end(QueryDesc *query)
{
	if (waited_queries != NIL)
		forget(query);
	previous_end(query);
}

/* ------------------------------------------------------------------
 * Functions that may read with the snapshot of the statement that calls them
 * ------------------------------------------------------------------
 */

/* (Those of schema paxos read no consensus table; a view of what goes on must not wait.) */
static bool
may_read(Oid function, void *context)
{
	HeapTuple tuple;
	Form_pg_proc form;
	bool answer;

	if (function < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	answer =
		(form->provolatile == PROVOLATILE_STABLE ||
		 (form->provolatile == PROVOLATILE_VOLATILE && form->proparallel == PROPARALLEL_SAFE)) &&
		form->pronamespace != get_namespace_oid(PAXOS_SCHEMA, true);
	ReleaseSysCache(tuple);
	return answer;
}

static bool
calls_reader(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, may_read, context))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, calls_reader, context, 0);
	return expression_tree_walker(node, calls_reader, context);
}

/* The plan may be kept, and executed under another setting: so always. */
static PlannedStmt *
plan(Query *query, const char *text, int options, ParamListInfo params)
{
	bool calls = calls_reader((Node *) query, NULL); /* the planner scribbles on it */
	PlannedStmt *stmt = previous_planner(query, text, options, params);

	if (calls)
	{
		PlanInvalItem *item = makeNode(PlanInvalItem);

		item->cacheId = PROCOID;
		item->hashValue = CALLS_READER;
		stmt->invalItems = lappend(stmt->invalItems, item);
	}
	return stmt;
}

/* ------------------------------------------------------------------
 * Statements that are no queries
 * ------------------------------------------------------------------
 */

static bool
member_here(void)
{
	bool member;

	if (paxos_shared == NULL)
		return false;
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	member =
		paxos_shared->database_oid == MyDatabaseId && paxos_takes_part(paxos_shared->membership);
	LWLockRelease(paxos_identity_lock);
	return member;
}

/*
 * A transaction that will have one snapshot has begun, or is told how: the last moment to
 * wait is now.  On a node that is no member nothing is waited for; what reads a consensus
 * table there will hear it.
 */
static void
prepare_block(void)
{
	Waited want = wanted();

	if (want.level == PAXOS_READ_LOCAL || !IsTransactionState() ||
		IsAbortedTransactionBlockState() || !IsolationUsesXactSnapshot() || FirstSnapshotSet ||
		!member_here() || covers(&block, &want))
		return;
	block_target = wait_for(&want);
	block = want;
}

static bool
copies_out(Node *parse)
{
	CopyStmt *copy = (CopyStmt *) parse;
	Oid relid;

	if (!IsA(parse, CopyStmt) || copy->is_from || copy->relation == NULL || stand_aside())
		return false;
	relid = RangeVarGetRelid(copy->relation, NoLock, true);
	return OidIsValid(relid) && paxos_is_consensus_table(relid);
}

static void
utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
		DestReceiver *dest, QueryCompletion *qc)
{
	Node *parse = pstmt->utilityStmt;
	bool pushed = false;

	if (copies_out(parse))
	{
		Waited want = wanted();

		if (IsolationUsesXactSnapshot())
			check_block(GetActiveSnapshot(), &want);
		else
		{
			(void) wait_for(&want);
			PushActiveSnapshot(GetLatestSnapshot());
			pushed = true;
		}
	}
	previous_utility(pstmt, query_string, read_only_tree, context, params, query_env, dest, qc);
	if (pushed)
		PopActiveSnapshot();
	if (IsA(parse, TransactionStmt) ? ((TransactionStmt *) parse)->kind == TRANS_STMT_BEGIN ||
										  ((TransactionStmt *) parse)->kind == TRANS_STMT_START
									: IsA(parse, VariableSetStmt) && IsTransactionBlock())
		prepare_block();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	block = nothing;
	block_target = 0;
	block_shows = 0;
	waited_queries = NIL; /* the memory goes with the transaction */
	as_it_is = false;
}

void
paxos_read_install_hooks(void)
{
	previous_start = ExecutorStart_hook ? ExecutorStart_hook : standard_ExecutorStart;
	ExecutorStart_hook = start;
	previous_run = ExecutorRun_hook ? ExecutorRun_hook : standard_ExecutorRun;
	ExecutorRun_hook = run;
	previous_finish = ExecutorFinish_hook ? ExecutorFinish_hook : standard_ExecutorFinish;
	ExecutorFinish_hook = finish;
	previous_end = ExecutorEnd_hook ? ExecutorEnd_hook : standard_ExecutorEnd;
	ExecutorEnd_hook = end;
	previous_utility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = utility;
	previous_planner = planner_hook ? planner_hook : standard_planner;
	planner_hook = plan;
	RegisterXactCallback(at_transaction_end, NULL);
}
