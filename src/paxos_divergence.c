/*
 * paxos_divergence.c
 *	  Has this node the same state as the others?  The running digests of recent
 *	  slots, and their comparison between members (protocol.md § 6).
 *
 * Every slot folds what it did and answered into a running digest, which is the
 * same on all nodes at the same slot, or one of them has computed something else
 * from the same log, or its tables were changed behind the extension's back and a
 * command has met the change.  Once different, digests stay different: nothing
 * has to be compared at a particular moment.
 *
 * Owns: the ring of recent digests in shared memory (paxos_integrity_lock;
 * written by the learner after its commits), paxos.compare_digests(), and the
 * judgement.  Not its business: when digests are sent (the proposer sends those
 * above the last slot it agreed on with a member, now and then, over its ordinary
 * connection to it), what goes into one (paxos_execute.c, paxos_verify.c).
 *
 * The odd one raises the alarm: a node that as many members differ from as agree
 * with it, itself included.  With an even split all do, for nobody can say who is
 * right.  The others say in their logs whom they differ from.  Judged when all who
 * were asked have had the time to answer: the first to answer may be the odd one.
 * Where they differ from another odd one is not where this one began to: of the
 * first differences the latest counts.
 *
 * A restart forgets the ring, not the digest: paxos.replicated has it, so a node
 * that diverged is found out again as soon as it compares.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "paxos_acceptor.h"
#include "paxos_alarm.h"
#include "paxos_divergence.h"
#include "paxos_snapshot.h"

PG_FUNCTION_INFO_V1(paxos_sql_compare_digests);
PG_FUNCTION_INFO_V1(paxos_resync);

void
paxos_divergence_begin(px_slot applied, uint64 digest)
{
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	paxos_shared->digests_from = applied;
	paxos_shared->digests_to = applied;
	paxos_shared->digests[applied % PAXOS_DIGESTS] = digest;
	LWLockRelease(paxos_integrity_lock);
}

void
paxos_divergence_applied(px_slot first, int n, const uint64 *digests)
{
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	if (first != paxos_shared->digests_to + 1)
		paxos_shared->digests_from = first; /* what lies between was not applied here */
	for (int i = 0; i < n; i++)
		paxos_shared->digests[(first + i) % PAXOS_DIGESTS] = digests[i];
	paxos_shared->digests_to = first + n - 1;
	if (paxos_shared->digests_to - paxos_shared->digests_from >= PAXOS_DIGESTS)
		paxos_shared->digests_from = paxos_shared->digests_to - PAXOS_DIGESTS + 1;
	LWLockRelease(paxos_integrity_lock);
}

px_slot
paxos_divergence_newest(void)
{
	px_slot newest;

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	newest = paxos_shared->digests_to;
	LWLockRelease(paxos_integrity_lock);
	return newest;
}

int
paxos_divergence_recent(px_slot after, px_slot *first, uint64 *digests)
{
	px_slot to;

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	to = paxos_shared->digests_to;
	*first = Max(after + 1, paxos_shared->digests_from);
	for (px_slot s = *first; s <= to; s++)
		digests[s - *first] = paxos_shared->digests[s % PAXOS_DIGESTS];
	LWLockRelease(paxos_integrity_lock);
	return *first > to ? 0 : (int) (to - *first + 1);
}

/*
 * paxos.compare_digests(cluster, version, sender, first_slot, digests)
 */
Datum
paxos_sql_compare_digests(PG_FUNCTION_ARGS)
{
	px_slot first;
	ArrayType *array;
	Datum *theirs;
	bool *isnull;
	int n;
	PaxosComparison c = {0};
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false};

	(void) paxos_peer_check(fcinfo, NULL);
	first = paxos_arg_u64(fcinfo, 3, "first_slot");
	if (PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("digests must not be null")));
	array = PG_GETARG_ARRAYTYPE_P(4);
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array) ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > PAXOS_DIGESTS)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("digests must be a one-dimensional array of at most %d elements",
							   PAXOS_DIGESTS)));
	deconstruct_array(array, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &theirs, &isnull, &n);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	for (int i = 0; i < n && c.differs == 0; i++)
	{
		px_slot s = first + i;

		if (s < paxos_shared->digests_from || s > paxos_shared->digests_to)
			continue;
		c.compared++;
		if ((uint64) DatumGetInt64(theirs[i]) == paxos_shared->digests[s % PAXOS_DIGESTS])
			c.agreed = s;
		else
			c.differs = s;
	}
	LWLockRelease(paxos_integrity_lock);

	values[0] = Int32GetDatum((int32) c.compared);
	values[1] = Int64GetDatum((int64) c.agreed);
	values[2] = Int64GetDatum((int64) c.differs);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

void
paxos_divergence_note(PaxosDivergence *d, const PaxosComparison *c)
{
	if (c->compared == 0)
		return; /* one of the two is far behind */
	d->known = true;
	if (c->differs == 0)
	{
		d->agreed = c->agreed;
		d->differs = 0;
		return;
	}

	/* Where it began is found once; later rings begin behind it. */
	if (d->differs != 0)
		return;
	d->agreed = Max(d->agreed, c->agreed);
	d->differs = c->differs;
	ereport(LOG,
			(errmsg("paxos: the state of node %u differs from this node's at slot " UINT64_FORMAT,
					d->node, d->differs),
			 d->agreed != 0 ? errdetail("They were equal at slot " UINT64_FORMAT ".", d->agreed)
							: errdetail("It is the first slot that could be compared.")));
}

void
paxos_divergence_judge(const PaxosDivergence *all, int n)
{
	int agree = 1;
	int differ = 0;
	int unknown = 0;
	px_slot agreed = 0;
	px_slot differs = 0;
	px_slot standing;
	StringInfoData why;

	initStringInfo(&why);
	for (int i = 0; i < n; i++)
	{
		if (!all[i].known)
		{
			unknown++;
			continue;
		}
		if (all[i].differs == 0)
		{
			agree++;
			continue;
		}
		appendStringInfo(&why, "%s%u", differ > 0 ? ", " : "", all[i].node);
		agreed = Max(agreed, all[i].agreed);
		differs = Max(differs, all[i].differs);
		differ++;
	}
	if (differ >= agree)
	{
		char detail[2 * PAXOS_ERROR_TEXT];

		if (agreed == 0)
			snprintf(detail, sizeof(detail),
					 "the state of this node differs from that of node %s at slot " UINT64_FORMAT
					 ", the first that could be compared",
					 why.data, differs);
		else
			snprintf(detail, sizeof(detail),
					 "the state of this node differs from that of node %s at slot " UINT64_FORMAT
					 ", it was equal at slot " UINT64_FORMAT,
					 why.data, differs, agreed);

		/* One alarm: which members differ may become known one by one. */
		standing = paxos_alarm_highest(PAXOS_ALARM_DIVERGENCE);
		paxos_alarm_raise(PAXOS_ALARM_DIVERGENCE, standing != 0 ? standing : differs, detail);
	}
	else if (agree > differ + unknown)
	{
		/* Repaired, or those it differed from are gone.  Not before enough is known:
		 * the alarm may be an earlier life's. */
		paxos_alarm_clear_range(PAXOS_ALARM_DIVERGENCE, 0, PG_INT64_MAX);
	}
	pfree(why.data);
}

/*
 * paxos_resync(): the learner loads a snapshot of another member, whatever this
 * node has.  None that is in doubt itself gives one (paxos_snapshot_send.c), and
 * the running digest comes along, so that the alarm ends when it was right.
 */
Datum
paxos_resync(PG_FUNCTION_ARGS)
{
	paxos_require_member();
	ereport(LOG, (errmsg("paxos: the tables of this node are to be replaced, by order of \"%s\"",
						 GetUserNameFromId(GetUserId(), false))));
	paxos_snapshot_order();
	PG_RETURN_VOID();
}
