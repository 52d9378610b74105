/*
 * paxos_acceptor.c
 *	  The acceptor as peers meet it: procedures paxos.prepare and paxos.accept,
 *	  functions paxos.pre_vote, paxos.hand_over and paxos.forward.
 *
 * Owns: the one shared px_acceptor, every change of it, and the order "copy,
 * persist, publish, answer".  Not its business: the rules of acceptance
 * (core/px_acceptor.c), the log table (paxos_log.c), who this node is
 * (paxos_node.c).
 *
 * Transitions are of two kinds.
 *
 * Durable ones - a Prepare that is granted, an Accept with values or with a
 * longer readable lease, entries fetched, the log cut - run so:
 *
 *		take the acceptor lock (transaction-long)
 *		run the transition on a copy; write what it says must be durable
 *		commit, flushed									(SPI_commit)
 *		in the commit callback, the lock still held:	run it on the shared
 *		value itself
 *		return the row
 *
 * They are procedures that commit inside: as functions, the transaction and the
 * lock would stay from Execute to Sync, and a peer that is cut or stopped in
 * between, or does not read a large Promise, would hold every other up.
 *
 * Light ones change the shared value under the lightweight lock alone, at any
 * moment, also while a durable one is being flushed: what the own proposer
 * knows chosen, a closed connection, a hand-over, an Accept that neither
 * writes nor lengthens what is durable (the heartbeat).  A heartbeat must not
 * wait for a disk, and a connection's end must end its lease at once.
 *
 * So the shared value may have moved when a durable transition publishes, and
 * putting the copy there would lose what moved: a leader's end would go
 * unnoticed, a hand-over be forgotten.  Publication therefore runs the same
 * transition, with the same message and the same receipt time, on the value
 * that is there then.  It must give the same verdict and need nothing more to
 * be durable (asserted).  Why it does:
 *
 * - No other durable transition runs meanwhile: it would need the lock.  So
 *	 promised, truncated, longest_lease_us and the stream's number are as in the
 *	 copy, and an Accept finds its stream and position unmoved: only its own
 *	 backend, this one, could have moved it by a heartbeat or closed it.
 * - learn, news and fetched only raise chosen: fewer entries would be written, not
 *	 more.
 * - closed and hand-over only take reasons to refuse a Prepare away, or do not
 *	 touch one.  (So what was refused is not run again: it changes nothing.)
 * - A heartbeat could add one: it grants a lease.  The leader would count a lease
 *	 that the Prepare, already durable, breaks.  So while a Prepare is being made
 *	 durable (preparing_owner) a heartbeat goes the long way and waits for the
 *	 lock; then it is refused, for the stream is no longer its own.
 *
 * A heartbeat needs no transaction lock otherwise: it reads and changes one
 * value under the lightweight lock, and what it answers (next) was published,
 * therefore durable.
 *
 * If the commit fails or the backend ends before it, nothing is published and
 * nothing answered.  After the commit record is flushed nothing can go wrong
 * short of a crash of the server; then shared memory is loaded from the
 * tables, which is later than what was answered, never earlier (invariant 2).
 *
 * protocol.md §§ 2, 3, 4; architecture.md § 3 "Of the acceptor".
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_alarm.h"
#include "paxos_configuration.h"
#include "paxos_memory.h"
#include "paxos_node.h"
#include "paxos_queue.h"

PG_FUNCTION_INFO_V1(paxos_sql_prepare);
PG_FUNCTION_INFO_V1(paxos_sql_accept);
PG_FUNCTION_INFO_V1(paxos_sql_pre_vote);
PG_FUNCTION_INFO_V1(paxos_sql_hand_over);
PG_FUNCTION_INFO_V1(paxos_sql_forward);

/* No leader of ours grants more; keeps now + lease_us far from overflow. */
#define MAX_LEASE_US (UINT64CONST(24) * 60 * 60 * 1000 * 1000)

/* A durable transition from its copy to its publication. */
typedef enum TransitionKind
{
	NO_TRANSITION,
	PREPARE,
	ACCEPT,
	FETCHED,
	CUT,
	SETTLED
} TransitionKind;

typedef struct Transition
{
	TransitionKind kind;
	px_usec now; /* receipt */
	uint64 owner;
	union
	{
		px_prepare prepare;
		px_accept accept; /* values not looked at again */
		struct
		{
			px_slot first;
			px_slot last;
			px_slot config_at; /* lowest that holds a configuration; 0: none */
		} fetched;
		struct
		{
			px_slot to;
			px_config config; /* came with a snapshot; no members: none */
			px_slot next;
		} cut;
		struct
		{
			px_config config; /* newly recorded; no members: none */
			px_slot next;
		} settled;
	} m;
	px_slot applied;
	px_slot durable;
	px_acceptor_todo todo; /* what was made durable */
	union
	{
		px_promise promise;
		px_accepted accepted;
	} reply;
	px_usec busy; /* what this backend set accept_busy_since_us to; 0:
								 * nothing */
} Transition;

static Transition staged;   /* at most one per backend; kind NO_TRANSITION: none */
static uint64 my_owner = 0; /* this backend's number as a connection */

static void end_of_transaction(XactEvent event, void *arg);

/*
 * ---- the shared value ----
 */

px_acceptor
paxos_acceptor_look(void)
{
	px_acceptor a;

	LWLockAcquire(paxos_acceptor_lock, LW_SHARED);
	a = paxos_shared->acceptor;
	LWLockRelease(paxos_acceptor_lock);
	return a;
}

/*
 * Wake those who act on what changed.  The proposer is not woken for a
 * heartbeat that told nothing new: it looks at heard_at when its timer fires.
 */
static void
wake_for_change(const px_acceptor *before, const px_acceptor *after)
{
	if (after->chosen != before->chosen || after->told_chosen != before->told_chosen ||
		after->positioned != before->positioned)
		paxos_wake_learner_for_chosen();
	if (px_acceptor_config_due(after) || after->promised != before->promised ||
		after->open != before->open || after->stream != before->stream ||
		after->positioned != before->positioned || after->lost_at != before->lost_at ||
		after->handover != before->handover || after->truncated != before->truncated ||
		after->read.seq != before->read.seq || after->read.incarnation != before->read.incarnation)
		paxos_wake_proposer();
}

void
paxos_acceptor_learn(px_ballot ballot, px_slot chosen)
{
	px_acceptor before;
	px_acceptor after;

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	before = paxos_shared->acceptor;
	px_acceptor_learn(&paxos_shared->acceptor, ballot, chosen);
	after = paxos_shared->acceptor;
	LWLockRelease(paxos_acceptor_lock);

	if (after.chosen != before.chosen)
		paxos_wake_learner_for_chosen();
	if (px_acceptor_config_due(&after))
		paxos_wake_proposer();
}

void
paxos_acceptor_handover_used(void)
{
	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	paxos_shared->acceptor.handover = 0;
	LWLockRelease(paxos_acceptor_lock);
}

/*
 * A backend that opened streams ends: its peer's connection is gone, and with
 * it a lease that is mere stickiness, so that the others need not wait for a
 * time-out when a leader's server is killed.
 */
static void
connection_ended(int code, Datum arg)
{
	px_acceptor before;
	px_acceptor after;

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	before = paxos_shared->acceptor;
	px_acceptor_closed(&paxos_shared->acceptor, my_owner, paxos_now_us());
	after = paxos_shared->acceptor;
	LWLockRelease(paxos_acceptor_lock);

	/* A transition that has not committed is thrown away by the abort to come. */
	wake_for_change(&before, &after);
}

static void
number_this_connection(void)
{
	if (my_owner != 0)
		return;
	before_shmem_exit(connection_ended, (Datum) 0);
	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	my_owner = paxos_shared->next_owner++;
	LWLockRelease(paxos_acceptor_lock);
}

/*
 * ---- durable transitions ----
 */

void
paxos_acceptor_watch_transaction(void)
{
	static bool watching = false;

	if (watching)
		return;
	RegisterXactCallback(end_of_transaction, NULL);
	watching = true;
}

/* Run the staged transition on *a, leaving its reply in the stage. */
static void
run(px_acceptor *a, px_acceptor_todo *todo)
{
	switch (staged.kind)
	{
		case PREPARE:
			px_acceptor_prepare(a, &staged.m.prepare, staged.owner, staged.now, todo,
								&staged.reply.promise);
			break;
		case ACCEPT:
			px_acceptor_accept(a, &staged.m.accept, staged.owner, staged.now, staged.applied,
							   staged.durable, todo, &staged.reply.accepted);
			break;
		case FETCHED:
			memset(todo, 0, sizeof(*todo));
			px_acceptor_fetched(a, staged.m.fetched.first, staged.m.fetched.last);
			if (staged.m.fetched.config_at != 0)
				px_acceptor_holds_config(a, staged.m.fetched.config_at);
			break;
		case SETTLED:
			memset(todo, 0, sizeof(*todo));
			if (staged.m.settled.config.n_members > 0)
				px_acceptor_config(a, &staged.m.settled.config, staged.m.settled.next);
			else if (a->config.n_members > 0)
			{
				px_config standing = a->config;

				px_acceptor_config(a, &standing, staged.m.settled.next);
			}
			else
				a->config_at = staged.m.settled.next;
			break;
		case CUT:
			/* with a snapshot all of it is known chosen, stored nowhere here */
			memset(todo, 0, sizeof(*todo));
			if (staged.m.cut.to > a->chosen)
				px_acceptor_fetched(a, a->chosen + 1, staged.m.cut.to);
			px_acceptor_truncate(a, staged.m.cut.to);
			if (staged.m.cut.config.n_members > 0)
				px_acceptor_config(a, &staged.m.cut.config, staged.m.cut.next);
			todo->persist_state = true;
			break;
		case NO_TRANSITION:
			memset(todo, 0, sizeof(*todo));
			break;
	}
}

static px_refusal
staged_refusal(void)
{
	return staged.kind == PREPARE  ? staged.reply.promise.refusal
		   : staged.kind == ACCEPT ? staged.reply.accepted.refusal
								   : PX_REFUSED_NOT;
}

/*
 * Stage a transition: the caller has filled kind, message, owner and now, and
 * holds the acceptor lock.  Runs it on a copy; the changed copy tells what to
 * write.  From here on the transaction's end publishes it or drops it.
 */
static px_acceptor
stage(void)
{
	px_acceptor copy;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	staged.applied = paxos_shared->applied;
	staged.durable = paxos_shared->durable;
	LWLockRelease(paxos_learner_lock);

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	copy = paxos_shared->acceptor;
	run(&copy, &staged.todo);
	if (staged.kind == PREPARE && staged_refusal() == PX_REFUSED_NOT)
	{
		/* In the same hold of the lock as the copy: no heartbeat in between. */
		PX_ASSERT(paxos_shared->preparing_owner == 0);
		paxos_shared->preparing_owner = staged.owner;
	}
	LWLockRelease(paxos_acceptor_lock);
	return copy;
}

/* Write the acceptor's row if the transition asks for it. */
static void
write_row(const px_acceptor *copy)
{
	PaxosAcceptorRow row;

	if (!staged.todo.persist_state)
		return;
	row.promised = copy->promised;
	row.truncated = copy->truncated;
	row.longest_lease_us = copy->longest_lease_us;
	paxos_acceptor_row_write(&row);
}

static void
publish(void)
{
	px_acceptor before;
	px_acceptor after;
	px_acceptor_todo todo;
	px_refusal refusal = staged_refusal();

	/*
	 * What was refused changes nothing.  Run again it might not be refused: the
	 * connection may have ended since by whose lease it was.
	 */
	if (refusal != PX_REFUSED_NOT)
		return;

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	before = paxos_shared->acceptor;
	after = before;
	run(&after, &todo);

	/* See the head of this file. */
	PX_ASSERT(staged_refusal() == PX_REFUSED_NOT);
	PX_ASSERT(!todo.persist_state || staged.todo.persist_state);
	PX_ASSERT(todo.skip >= staged.todo.skip);
	PX_ASSERT(todo.skip + todo.store == staged.todo.skip + staged.todo.store);
	PX_ASSERT(after.promised >= before.promised);

	paxos_shared->acceptor = after;
	if (after.positioned && after.next > after.first)
		paxos_shared->accepted = Max(paxos_shared->accepted, after.next - 1);
	if (paxos_shared->preparing_owner == staged.owner && staged.kind == PREPARE)
		paxos_shared->preparing_owner = 0;
	LWLockRelease(paxos_acceptor_lock);

	wake_for_change(&before, &after);
	if ((staged.kind == FETCHED || staged.kind == CUT) && after.chosen != before.chosen)
		paxos_wake_proposer(); /* a candidate may be waiting to catch up */
}

static void
end_of_transaction(XactEvent event, void *arg)
{
	bool commit = event == XACT_EVENT_COMMIT;

	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT)
		return;

	if (staged.kind != NO_TRANSITION)
	{
		if (commit)
			publish();
		else if (staged.kind == PREPARE)
		{
			LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
			if (paxos_shared->preparing_owner == staged.owner)
				paxos_shared->preparing_owner = 0;
			LWLockRelease(paxos_acceptor_lock);
		}
		staged.kind = NO_TRANSITION;
	}
	if (staged.busy != 0)
	{
		/*
		 * Only what is ours: a backend whose stream was closed while it waited
		 * must not wipe out the mark of the one that came after.
		 */
		uint64 mine = staged.busy;

		(void) pg_atomic_compare_exchange_u64(&paxos_shared->accept_busy_since_us, &mine, 0);
		staged.busy = 0;
	}
	paxos_acceptor_lock_forget();
}

/*
 * The answer must wait for our own disk whatever synchronous_commit says, and
 * for no physical standby: one that is away would stop the node from voting.
 */
void
paxos_commit_locally(void)
{
	ForceSyncCommit();
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH)
		(void) set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, ERROR, false);
}

/*
 * A snapshot that sees what the lock's former holder committed.  Under a
 * transaction-wide snapshot there is none.
 */
static void
push_fresh_snapshot(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("an acceptor works at transaction isolation level READ COMMITTED only")));
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
require_nonatomic(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("an acceptor's procedures cannot be called inside a transaction block")));
}

void
paxos_log_store_fetched(const px_entry *entries, int n)
{
	px_acceptor copy;

	Assert(n > 0);
	StartTransactionCommand();
	paxos_acceptor_lock_acquire();
	push_fresh_snapshot();

	staged.kind = FETCHED;
	staged.now = paxos_now_us();
	staged.owner = 0;
	staged.m.fetched.first = entries[0].slot;
	staged.m.fetched.last = entries[n - 1].slot;
	staged.m.fetched.config_at = 0;
	for (int i = n - 1; i >= 0; i--)
		if (px_value_is_config(entries[i].value))
			staged.m.fetched.config_at = entries[i].slot;
	copy = paxos_acceptor_look();
	if (entries[0].slot > copy.chosen + 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("fetched entries begin at slot " UINT64_FORMAT
							   ", above the chosen watermark " UINT64_FORMAT,
							   entries[0].slot, copy.chosen)));
	(void) stage();
	for (int i = 0; i < n; i++)
	{
		PX_ASSERT(entries[i].chosen);
		PX_ASSERT(entries[i].slot == entries[0].slot + i);
		if (entries[i].slot > copy.truncated)
		{
			paxos_log_put_many(entries + i, n - i);
			break;
		}
	}
	PopActiveSnapshot();
	paxos_commit_locally();
	CommitTransactionCommand();

	paxos_alarm_clear_range(PAXOS_ALARM_CORRUPT_VALUE, entries[0].slot, entries[n - 1].slot);
	pg_atomic_fetch_add_u64(&paxos_shared->n_fetched_entries, n);
}

void
paxos_acceptor_settle_configuration(void)
{
	PaxosConfiguration c;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	paxos_acceptor_lock_acquire();
	push_fresh_snapshot();

	/* Under the lock nothing is accepted; chosen may rise meanwhile, and then it is
	 * due again. */
	(void) paxos_configuration_settle(paxos_acceptor_look().chosen, &c);
	staged.kind = SETTLED;
	staged.now = paxos_now_us();
	staged.owner = 0;
	staged.m.settled.config = c.config;
	staged.m.settled.next = c.next;
	(void) stage();
	PopActiveSnapshot();
	paxos_commit_locally();
	CommitTransactionCommand();
}

/*
 * The slots up to 'to' leave the log with the caller's transaction, in which it
 * holds the acceptor lock: the row is written, the transition published when the
 * transaction commits.  So is a configuration that a snapshot has brought.
 */
void
paxos_acceptor_stage_cut(px_slot to)
{
	px_acceptor copy;
	PaxosConfiguration c;

	PX_ASSERT(staged.kind == NO_TRANSITION);
	memset(&staged.m.cut, 0, sizeof(staged.m.cut));
	if (paxos_configuration_read(&c) && c.recorded &&
		(c.slot > paxos_acceptor_look().config.slot || paxos_acceptor_look().config.n_members == 0))
	{
		staged.m.cut.config = c.config;
		staged.m.cut.next = c.next;
	}
	staged.kind = CUT;
	staged.now = paxos_now_us();
	staged.owner = 0;
	staged.m.cut.to = to;
	copy = stage();
	write_row(&copy);
}

/*
 * ---- arguments ----
 *
 * Peers are trusted to follow the protocol, not to be free of bugs: nothing
 * they send may crash this server or change the state but by a legal
 * transition.
 */

uint64
paxos_arg_u64(FunctionCallInfo fcinfo, int n, const char *name)
{
	int64 v;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	v = PG_GETARG_INT64(n);

	/* Far below the end of the range, so that sums of two do not overflow. */
	if (v < 0 || v > PG_INT64_MAX / 4 * 3)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("%s is out of range", name)));
	return (uint64) v;
}

/* Elements of a one-dimensional bytea array without NULLs, at most max of them. */
static int
arg_bytes_array(FunctionCallInfo fcinfo, int n, const char *name, int max, uint32 max_bytes,
				px_bytes *elements)
{
	ArrayType *array;
	Datum *values;
	bool *nulls;
	int count;

	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	array = PG_GETARG_ARRAYTYPE_P(n);
	if (ARR_NDIM(array) > 1 || ARR_ELEMTYPE(array) != BYTEAOID || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must be a one-dimensional array without nulls", name)));
	if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > max)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("%s has more than %d elements", name, max)));
	deconstruct_array(array, BYTEAOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		bytea *v = DatumGetByteaPP(values[i]);

		if (VARSIZE_ANY_EXHDR(v) > max_bytes)
			ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
							errmsg("an element of %s is longer than %u bytes", name, max_bytes)));
		elements[i].data = (const uint8_t *) VARDATA_ANY(v);
		elements[i].len = VARSIZE_ANY_EXHDR(v);
	}
	return count;
}

static px_ballot
arg_ballot(FunctionCallInfo fcinfo, int n, const char *name)
{
	px_ballot ballot = paxos_arg_u64(fcinfo, n, name);

	if (ballot != 0 && (px_ballot_round(ballot) == 0 || px_ballot_node(ballot) == 0 ||
						px_ballot_round(ballot) > PX_MAX_ROUND))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is no ballot", name)));
	return ballot;
}

/*
 * The ballot of a proposer: it carries the node's own id.  Rounds grow by one
 * above the highest seen, so a leap is a bug at the peer; once promised, it
 * would be durable, and leave no rounds for anybody.
 */
static px_ballot
arg_own_ballot(FunctionCallInfo fcinfo, int n, px_node from)
{
	px_ballot ballot = arg_ballot(fcinfo, n, "ballot");

	if (px_ballot_node(ballot) != from)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the ballot is not one of node %u", from)));
	if (px_ballot_round(ballot) > px_ballot_round(paxos_acceptor_look().promised) + PX_MAX_LEAP)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("the ballot leaps too far")));
	return ballot;
}

static bool
arg_bool(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
	return PG_GETARG_BOOL(n);
}

px_node
paxos_peer_check(FunctionCallInfo fcinfo, bool *may_vote)
{
	px_node sender = paxos_peer_check_asker(fcinfo, may_vote);
	px_acceptor a = paxos_acceptor_look();

	if (px_config_removed(&a.config, sender))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node %u has been removed from this cluster", sender)));
	return sender;
}

px_node
paxos_peer_check_asker(FunctionCallInfo fcinfo, bool *may_vote)
{
	static Oid checked_database = InvalidOid;
	pg_uuid_t *cluster;
	pg_uuid_t own;
	int32 version;
	int32 sender;
	Oid relid;
	PaxosMembership membership;
	bool known;

	paxos_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this server is a physical standby and no member of any cluster")));
	if (checked_database != MyDatabaseId)
	{
		char *name = get_database_name(MyDatabaseId);

		if (name == NULL || strcmp(name, paxos_database) != 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the node of this server is in database \"%s\", not in this one",
								   paxos_database)));
		checked_database = MyDatabaseId;
	}
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("cluster, version and sender must not be null")));
	cluster = PG_GETARG_UUID_P(0);
	version = PG_GETARG_INT32(1);
	sender = PG_GETARG_INT32(2);

	if (version < paxos_protocol_min || version > paxos_protocol_max)
		paxos_version_refuse(version);

	/*
	 * What shared memory says must be what the tables of *this* extension say.
	 * After DROP EXTENSION and CREATE EXTENSION the log is empty, but the old
	 * promise would still be published: an acceptor that has forgotten
	 * everything, answering for the old cluster.
	 */
	relid = paxos_internal_relid("log_entry");
	LWLockAcquire(paxos_acceptor_lock, LW_SHARED);
	known = paxos_shared->acceptor_loaded && paxos_shared->acceptor_relid == relid;
	LWLockRelease(paxos_acceptor_lock);
	if (!known)
		(void) paxos_node_load();

	if (paxos_shared->hold_off)
		ereport(FATAL, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("database \"%s\" is being dropped", paxos_database)));

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	membership = paxos_shared->membership;
	own = paxos_shared->cluster_id;
	LWLockRelease(paxos_identity_lock);

	if (membership < PAXOS_FORMING)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster")));
	if (memcmp(cluster, &own, sizeof(own)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node belongs to another cluster"),
				 errdetail("The peer is of cluster %s, this node of cluster %s.",
						   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(cluster))),
						   DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&own))))));
	if (membership == PAXOS_FORMING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node has not begun: its cluster has not been formed completely"),
				 errhint("Call paxos_create_cluster() again with the same connection strings.")));
	if (sender < 1 || sender > PG_UINT16_MAX)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node %d is no member of this cluster", sender)));

	paxos_memory_check_sender((px_node) sender);

	/*
	 * This process' own view of the settings: it reads the file again before
	 * its next message, perhaps before a worker has fenced the node.
	 */
	if (may_vote != NULL)
		*may_vote = membership != PAXOS_FENCED &&
					((enableFsync && fullPageWrites) || paxos_allow_unsafe_fsync);
	return (px_node) sender;
}

/*
 * ---- results ----
 *
 * A descriptor is made once per backend: CALL sets up its function anew each
 * time, so that there is no place in it to keep one.
 */
typedef struct ResultColumn
{
	const char *name;
	Oid type;
} ResultColumn;

static const ResultColumn promise_columns[] = {{"refusal", INT4OID},      {"promised", INT8OID},
											   {"chosen", INT8OID},       {"truncated", INT8OID},
											   {"last_slot", INT8OID},    {"slots", INT8ARRAYOID},
											   {"ballots", INT8ARRAYOID}, {"chosens", BOOLARRAYOID},
											   {"vals", BYTEAARRAYOID},   {"config", INT8OID}};

static const ResultColumn accepted_columns[] = {
	{"refusal", INT4OID}, {"promised", INT8OID}, {"stream_first", INT8OID}, {"next_slot", INT8OID},
	{"applied", INT8OID}, {"durable", INT8OID},  {"truncated", INT8OID},    {"config", INT8OID}};

static const ResultColumn prevote_columns[] = {{"refusal", INT4OID},
											   {"promised", INT8OID},
											   {"voter_chosen", INT8OID},
											   {"truncated", INT8OID},
											   {"config", INT8OID}};

static TupleDesc
result_descriptor(TupleDesc *cache, const ResultColumn *columns, int n)
{
	if (*cache == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc desc = CreateTemplateTupleDesc(n);

		for (int i = 0; i < n; i++)
			TupleDescInitEntry(desc, i + 1, columns[i].name, columns[i].type, -1, 0);
		*cache = BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	return *cache;
}

static Datum
accepted_row(const px_accepted *reply)
{
	static TupleDesc desc = NULL;
	Datum values[lengthof(accepted_columns)];
	bool nulls[lengthof(accepted_columns)] = {false};

	values[0] = Int32GetDatum(reply->refusal);
	values[1] = Int64GetDatum((int64) reply->promised);
	values[2] = Int64GetDatum((int64) reply->first);
	values[3] = Int64GetDatum((int64) reply->next);
	values[4] = Int64GetDatum((int64) reply->applied);
	values[5] = Int64GetDatum((int64) reply->durable);
	values[6] = Int64GetDatum((int64) reply->truncated);
	values[7] = Int64GetDatum((int64) reply->config);
	return HeapTupleGetDatum(heap_form_tuple(
		result_descriptor(&desc, accepted_columns, lengthof(accepted_columns)), values, nulls));
}

static Datum
promise_row(const px_promise *reply, const px_entry *entries, int n, px_slot last)
{
	static TupleDesc desc = NULL;
	Datum values[lengthof(promise_columns)];
	bool nulls[lengthof(promise_columns)] = {false};
	Datum slots[PX_MAX_WINDOW];
	Datum ballots[PX_MAX_WINDOW];
	Datum chosens[PX_MAX_WINDOW];
	Datum vals[PX_MAX_WINDOW];

	for (int i = 0; i < n; i++)
	{
		bytea *v = palloc(VARHDRSZ + entries[i].value.len);

		SET_VARSIZE(v, VARHDRSZ + entries[i].value.len);
		memcpy(VARDATA(v), entries[i].value.data, entries[i].value.len);
		slots[i] = Int64GetDatum((int64) entries[i].slot);
		ballots[i] = Int64GetDatum((int64) entries[i].ballot);
		chosens[i] = BoolGetDatum(entries[i].chosen);
		vals[i] = PointerGetDatum(v);
	}
	values[0] = Int32GetDatum(reply->refusal);
	values[1] = Int64GetDatum((int64) reply->promised);
	values[2] = Int64GetDatum((int64) reply->chosen);
	values[3] = Int64GetDatum((int64) reply->truncated);
	values[4] = Int64GetDatum((int64) last);
	values[5] =
		PointerGetDatum(construct_array(slots, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[6] =
		PointerGetDatum(construct_array(ballots, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[7] = PointerGetDatum(construct_array(chosens, n, BOOLOID, 1, true, TYPALIGN_CHAR));
	values[8] = PointerGetDatum(construct_array(vals, n, BYTEAOID, -1, false, TYPALIGN_INT));
	values[9] = Int64GetDatum((int64) reply->config);
	return HeapTupleGetDatum(heap_form_tuple(
		result_descriptor(&desc, promise_columns, lengthof(promise_columns)), values, nulls));
}

/*
 * Under paxos.trace: why a message was refused, and at the higher level that it
 * was answered at all.
 */
static void
trace(const char *message, px_node from, px_ballot ballot, uint64 stream, px_slot position,
	  px_refusal refusal)
{
	if (paxos_trace_level < (refusal == PX_REFUSED_NOT ? PAXOS_TRACE_MESSAGES : PAXOS_TRACE_ROLES))
		return;
	ereport(LOG, (errhidestmt(true), errhidecontext(true),
				  errmsg("paxos: %s from node %u, ballot " UINT64_FORMAT ".%u, slot " UINT64_FORMAT
						 ", stream " UINT64_FORMAT ": %s",
						 message, from, px_ballot_round(ballot), px_ballot_node(ballot), position,
						 stream, refusal == PX_REFUSED_NOT ? "taken" : px_refusal_name(refusal))));
}

/*
 * ---- what peers call ----
 */

/*
 * The answer to a Prepare while this acceptor votes for nobody.  It does not say which
 * configuration is recorded here: a leader counts on that as on a vote, and lets servers
 * be switched off (§ 7), but with fsync off a crash can make this node forget it.
 */
static px_promise
not_voting(void)
{
	px_promise reply;
	px_acceptor a = paxos_acceptor_look();

	memset(&reply, 0, sizeof(reply));
	reply.refusal = PX_REFUSED_NOT_VOTING;
	reply.promised = a.promised;
	reply.chosen = a.chosen;
	reply.truncated = a.truncated;
	return reply;
}

/* Does any of these entries of the log fail its checksum? */
static bool
find_damaged(const px_entry *entries, int n)
{
	bool found = false;

	for (int i = 0; i < n; i++)
	{
		px_value_view view;

		if (!px_value_open(entries[i].value, &view))
		{
			paxos_log_damaged(entries[i].slot);
			found = true;
		}
	}
	return found;
}

/*
 * CALL paxos.prepare(cluster, version, sender, ballot, stream, w, handover, ...)
 */
Datum
paxos_sql_prepare(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	px_node from;
	bool may_vote;
	px_prepare m;
	px_acceptor copy;
	px_entry entries[PX_MAX_WINDOW];
	int n = 0;
	px_slot last = 0;
	MemoryContext old;
	Datum row;

	from = paxos_peer_check_asker(fcinfo, &may_vote);
	memset(&m, 0, sizeof(m));
	m.from = from;
	m.ballot = arg_own_ballot(fcinfo, 3, from);
	m.stream = paxos_arg_u64(fcinfo, 4, "stream");
	m.w = paxos_arg_u64(fcinfo, 5, "w");
	m.handover = arg_ballot(fcinfo, 6, "handover");
	if (m.stream == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("stream must be positive")));
	require_nonatomic(fcinfo);

	if (!may_vote)
	{
		px_promise reply = not_voting();

		trace("prepare", from, m.ballot, m.stream, m.w, reply.refusal);
		return promise_row(&reply, NULL, 0, 0);
	}

	/* Its own acceptor promised this ballot before we heard of it. */
	if (from != paxos_shared->node_id)
		paxos_memory_note(from, m.ballot, 0);

	number_this_connection();
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	paxos_acceptor_lock_acquire();
	push_fresh_snapshot();
	old = MemoryContextSwitchTo(caller); /* outlives the commit */
	n = paxos_log_above(m.w, PX_MAX_WINDOW, entries, &last);
	MemoryContextSwitchTo(old);

	/*
	 * A promise that leaves out a value, or reports another, lets the new leader
	 * propose something else where this one may have been chosen.  What was
	 * accepted here cannot be told any more, so nothing is promised until
	 * another member has said what was chosen in that slot (protocol.md § 4).
	 */
	if (find_damaged(entries, n))
	{
		staged.reply.promise = not_voting();
		PopActiveSnapshot();
		SPI_commit();
		trace("prepare", from, m.ballot, m.stream, m.w, PX_REFUSED_NOT_VOTING);
		old = MemoryContextSwitchTo(caller);
		row = promise_row(&staged.reply.promise, NULL, 0, 0);
		MemoryContextSwitchTo(old);
		SPI_finish();
		return row;
	}

	staged.m.prepare = m;
	staged.now = paxos_now_us();
	staged.owner = my_owner;
	staged.kind = PREPARE;
	copy = stage();
	if (staged.reply.promise.refusal == PX_REFUSED_NOT)
		write_row(&copy);
	else
	{
		n = 0;
		last = 0;
	}
	PopActiveSnapshot();
	if (staged.todo.persist_state)
		paxos_commit_locally();
	SPI_commit(); /* publishes, and gives the lock back */
	trace("prepare", from, m.ballot, m.stream, m.w, staged.reply.promise.refusal);

	old = MemoryContextSwitchTo(caller);
	row = promise_row(&staged.reply.promise, entries, n, last);
	MemoryContextSwitchTo(old);
	SPI_finish();
	return row;
}

/*
 * An Accept that needs nothing durable, on the shared value itself.  False: it
 * must go the long way.
 */
static bool
accept_lightly(const px_accept *m, px_usec now, px_accepted *reply)
{
	px_acceptor before;
	px_acceptor after;
	px_acceptor_todo todo;
	px_slot applied;
	px_slot durable;
	bool done = false;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	applied = paxos_shared->applied;
	durable = paxos_shared->durable;
	LWLockRelease(paxos_learner_lock);

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	if (paxos_shared->preparing_owner == 0)
	{
		before = paxos_shared->acceptor;
		after = before;
		px_acceptor_accept(&after, m, my_owner, now, applied, durable, &todo, reply);
		if (!todo.persist_state && todo.store == 0)
		{
			paxos_shared->acceptor = after;
			done = true;
		}
	}
	LWLockRelease(paxos_acceptor_lock);

	if (done)
		wake_for_change(&before, &after);
	return done;
}

/*
 * Under load chosen travels with the next slots' values: told at once, it lets
 * the sessions go on that wait for the slots before, a flush earlier.
 */
static void
hear_news(const px_accept *m)
{
	px_acceptor before;
	px_acceptor after;

	LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
	before = paxos_shared->acceptor;
	px_acceptor_news(&paxos_shared->acceptor, m, my_owner);
	after = paxos_shared->acceptor;
	LWLockRelease(paxos_acceptor_lock);

	wake_for_change(&before, &after);
}

/*
 * Tell the proposer that the leader is being heard although nothing is
 * published until the flush is done: a slow disk must not look like a dead
 * leader.  Only for the open stream's own backend, the single writer.
 */
static void
mark_busy(const px_accept *m, px_usec now)
{
	px_acceptor a = paxos_acceptor_look();

	if (a.open && a.owner == my_owner && a.promised == m->ballot && a.stream == m->stream)
	{
		paxos_acceptor_watch_transaction();
		staged.busy = now;
		pg_atomic_write_u64(&paxos_shared->accept_busy_since_us, now);
	}
}

/*
 * CALL paxos.accept(cluster, version, sender, ballot, stream, first_slot, vals,
 *		chosen, sent_at, lease_us, lease_readable, truncatable,
 *		read_incarnation, read_seq, read_index, ...)
 */
Datum
paxos_sql_accept(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	px_usec now = paxos_now_us();
	px_node from;
	bool may_vote;
	px_accept m;
	px_bytes values[PX_MAX_WINDOW];
	px_accepted reply;
	px_acceptor copy;
	MemoryContext old;
	Datum row;

	from = paxos_peer_check_asker(fcinfo, &may_vote);
	memset(&m, 0, sizeof(m));
	m.from = from;
	m.ballot = arg_own_ballot(fcinfo, 3, from);
	m.stream = paxos_arg_u64(fcinfo, 4, "stream");
	m.first = paxos_arg_u64(fcinfo, 5, "first_slot");
	m.n_values =
		(uint16_t) arg_bytes_array(fcinfo, 6, "vals", PX_MAX_WINDOW, PX_MAX_VALUE_BYTES, values);
	m.values = values;
	m.config_at = px_accept_config_at(&m);
	m.chosen = paxos_arg_u64(fcinfo, 7, "chosen");
	m.sent_at = paxos_arg_u64(fcinfo, 8, "sent_at");
	m.lease_us = paxos_arg_u64(fcinfo, 9, "lease_us");
	m.lease_readable = arg_bool(fcinfo, 10, "lease_readable");
	m.truncatable = paxos_arg_u64(fcinfo, 11, "truncatable");
	m.read.incarnation = paxos_arg_u64(fcinfo, 12, "read_incarnation");
	m.read.seq = paxos_arg_u64(fcinfo, 13, "read_seq");
	m.read.index = paxos_arg_u64(fcinfo, 14, "read_index");
	if (m.lease_us > MAX_LEASE_US)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("lease_us is out of range")));
	if (m.first == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("first_slot must be positive")));
	for (int i = 0; i < m.n_values; i++)
	{
		px_value_view view;

		/* What is stored will be applied: nothing malformed ever is. */
		if (!px_value_open(values[i], &view))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("the value for slot " UINT64_FORMAT " is malformed", m.first + i)));
	}
	require_nonatomic(fcinfo);

	if (!may_vote)
	{
		px_acceptor a = paxos_acceptor_look();

		memset(&reply, 0, sizeof(reply));
		reply.refusal = PX_REFUSED_NOT_VOTING;
		reply.promised = a.promised;
		reply.truncated = a.truncated;
		trace("accept", from, m.ballot, m.stream, m.first, reply.refusal);
		return accepted_row(&reply);
	}
	if (my_owner == 0)
	{
		/* No Prepare came over this connection: not the open stream's. */
		px_acceptor a = paxos_acceptor_look();

		memset(&reply, 0, sizeof(reply));
		reply.refusal = m.ballot < a.promised ? PX_REFUSED_BALLOT : PX_REFUSED_STREAM;
		reply.promised = a.promised;
		reply.truncated = a.truncated;
		reply.config = a.config.slot;
		trace("accept", from, m.ballot, m.stream, m.first, reply.refusal);
		return accepted_row(&reply);
	}

	if (m.n_values == 0 && accept_lightly(&m, now, &reply))
	{
		trace("heartbeat", from, m.ballot, m.stream, m.first, reply.refusal);
		return accepted_row(&reply);
	}

	hear_news(&m);
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	mark_busy(&m, now);
	paxos_acceptor_lock_acquire();
	push_fresh_snapshot();

	staged.m.accept = m;
	staged.now = now;
	staged.owner = my_owner;
	staged.kind = ACCEPT;
	copy = stage();
	if (staged.reply.accepted.refusal == PX_REFUSED_NOT)
	{
		px_entry entries[PX_MAX_WINDOW];

		write_row(&copy);
		for (int i = 0; i < staged.todo.store; i++)
		{
			int j = staged.todo.skip + i;

			entries[i].slot = m.first + j;
			entries[i].ballot = m.ballot;
			entries[i].chosen = false;
			entries[i].value = values[j];
		}
		if (staged.todo.store > 0)
			paxos_log_put_many(entries, staged.todo.store);
	}
	PopActiveSnapshot();
	if (staged.todo.persist_state || staged.todo.store > 0)
	{
		bool stored = staged.todo.store > 0;
		px_usec before = paxos_now_us();

		paxos_commit_locally();
		SPI_commit();
		if (stored)
		{
			paxos_histogram_add(&paxos_shared->flush_us, paxos_now_us() - before);
			paxos_alarm_clear_range(PAXOS_ALARM_CORRUPT_VALUE, m.first, m.first + m.n_values - 1);
		}
	}
	else
		SPI_commit();
	trace("accept", from, m.ballot, m.stream, m.first, staged.reply.accepted.refusal);

	old = MemoryContextSwitchTo(caller);
	row = accepted_row(&staged.reply.accepted);
	MemoryContextSwitchTo(old);
	SPI_finish();
	return row;
}

/*
 * SELECT paxos.pre_vote(cluster, version, sender, chosen)
 */
Datum
paxos_sql_pre_vote(PG_FUNCTION_ARGS)
{
	static TupleDesc desc = NULL;
	bool may_vote;
	px_prevote m;
	px_acceptor a;
	px_prevote_reply reply;
	Datum values[lengthof(prevote_columns)];
	bool nulls[lengthof(prevote_columns)] = {false};

	m.from = paxos_peer_check_asker(fcinfo, &may_vote);
	m.chosen = paxos_arg_u64(fcinfo, 3, "chosen");
	a = paxos_acceptor_look();
	px_acceptor_prevote(&a, &m, paxos_now_us(), &reply);
	if (!may_vote && reply.refusal != PX_REFUSED_REMOVED)
	{
		reply.refusal = PX_REFUSED_NOT_VOTING;
		reply.config = 0;
	}
	trace("pre-vote", m.from, 0, 0, m.chosen, reply.refusal);

	values[0] = Int32GetDatum(reply.refusal);
	values[1] = Int64GetDatum((int64) reply.promised);
	values[2] = Int64GetDatum((int64) reply.chosen);
	values[3] = Int64GetDatum((int64) reply.truncated);
	values[4] = Int64GetDatum((int64) reply.config);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(
		result_descriptor(&desc, prevote_columns, lengthof(prevote_columns)), values, nulls)));
}

/*
 * SELECT paxos.hand_over(cluster, version, sender, ballot): true if taken.
 */
Datum
paxos_sql_hand_over(PG_FUNCTION_ARGS)
{
	bool may_vote;
	px_handover m;
	bool taken = false;

	memset(&m, 0, sizeof(m));
	m.from = paxos_peer_check_asker(fcinfo, &may_vote);
	m.ballot = arg_own_ballot(fcinfo, 3, m.from);
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	m.to = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);

	if (may_vote)
	{
		LWLockAcquire(paxos_acceptor_lock, LW_EXCLUSIVE);
		taken = px_acceptor_handover(&paxos_shared->acceptor, &m, m.to, paxos_now_us());
		LWLockRelease(paxos_acceptor_lock);
	}
	if (taken)
		paxos_wake_proposer();
	trace("hand-over", m.from, m.ballot, 0, 0,
		  taken      ? PX_REFUSED_NOT
		  : may_vote ? PX_REFUSED_BALLOT
					 : PX_REFUSED_NOT_VOTING);
	PG_RETURN_BOOL(taken);
}

/*
 * SELECT paxos.forward(cluster, version, sender, incarnation, resend, batches,
 *		read_seq): does this node lead?  Answered at once, before anything is
 * decided.  What does not fit is dropped: its origin hears nothing of it and
 * sends again.
 */
Datum
paxos_sql_forward(PG_FUNCTION_ARGS)
{
	px_forward m;
	px_bytes batches[PX_MAX_OUTBOX];
	bool leads;

	memset(&m, 0, sizeof(m));
	m.from = paxos_peer_check(fcinfo, NULL);
	m.incarnation = paxos_arg_u64(fcinfo, 3, "incarnation");
	m.resend = arg_bool(fcinfo, 4, "resend");
	m.n_batches = (uint16_t) arg_bytes_array(fcinfo, 5, "batches", PX_MAX_OUTBOX,
											 PX_MAX_BATCH_BYTES, batches);
	m.batches = batches;
	m.read_seq = paxos_arg_u64(fcinfo, 6, "read_seq");

	for (int i = 0; i < m.n_batches; i++)
	{
		px_batch_view view;
		px_batch_view first;

		if (!px_batch_open(batches[i], &view) || !px_batch_open(batches[0], &first) ||
			view.origin != m.from || view.incarnation != m.incarnation ||
			view.sequence != first.sequence + i || first.sequence == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("origin batch %d of node %u is malformed or out of order", i, m.from)));
	}

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	leads = paxos_shared->proposer_procno >= 0 &&
			(paxos_shared->role == PX_LEADER || paxos_shared->role == PX_RECOVERING);
	LWLockRelease(paxos_proposer_lock);

	if (leads && (m.n_batches > 0 || m.read_seq != 0))
	{
		if (!paxos_queue_put_forward(&m) && paxos_trace_level >= PAXOS_TRACE_ROLES)
			ereport(LOG, (errhidestmt(true), errhidecontext(true),
						  errmsg("paxos: forward from node %u dropped: no room", m.from)));
	}
	PG_RETURN_BOOL(leads);
}
