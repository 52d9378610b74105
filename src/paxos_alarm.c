/*
 * paxos_alarm.c
 *	  What is wrong on this node now: raising and clearing, the server's log, and
 *	  the view paxos.alarms.
 *
 * Owns: the list of standing alarms in shared memory.  Not its business: finding
 * out what is wrong, and what follows from it; an alarm is said, never asked.
 *
 * An alarm stands from the moment its finder raises it until the same finder, or
 * a later life of it, clears it.  It is identified by its kind and the slot it is
 * about (0: none in particular).  Each raising and clearing is logged once; raised
 * again while it stands it only changes its detail, so a finder may raise on
 * every look.
 *
 * Shared memory, so a restart of the server forgets all of them.  What must
 * outlive one is durable where it belongs (paxos.node says that this node has
 * lost its memory, a damaged value is still damaged, a running digest that
 * differs goes on to differ), and its finder raises the alarm again.
 *
 * When the list is full a further alarm is only logged.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "paxos_alarm.h"

PG_FUNCTION_INFO_V1(paxos_alarms);

static const struct
{
	const char *name;
	const char *hint;
} kinds[] = {
	[PAXOS_ALARM_FSYNC_OFF] = {"fsync off",
							   "Set fsync and full_page_writes to on and restart the server."},
	[PAXOS_ALARM_AMNESIA] =
		{"amnesia",
		 "Remove this node from the cluster and add it again as a new one.  Only if its files are certainly those it last ran with (they were moved, or changed owner, while it was stopped) call paxos_trust_node(true)."},
	[PAXOS_ALARM_TWIN] =
		{"twin", "Stop whichever of the two servers is the copy, and never start it again."},
	[PAXOS_ALARM_STUCK] = {"stuck",
						   "Put right what the error names; the slot is tried again by itself."},
	[PAXOS_ALARM_CORRUPT_VALUE] =
		{"corrupt value",
		 "It is fetched from another member by itself as soon as one knows it chosen.  Check this server's disk and memory."},
	[PAXOS_ALARM_DIVERGENCE] =
		{"divergence",
		 "Find out who changed the tables of this node; then call paxos_resync() here, which replaces them by those of another member."},
};

const char *
paxos_alarm_hint(PaxosAlarmKind kind)
{
	return kinds[kind].hint;
}

/* Needs the lock; NULL: it does not stand. */
static PaxosAlarm *
find(PaxosAlarmKind kind, px_slot subject)
{
	for (int i = 0; i < paxos_shared->n_alarms; i++)
	{
		PaxosAlarm *a = &paxos_shared->alarms[i];

		if (a->kind == kind && a->subject == subject)
			return a;
	}
	return NULL;
}

void
paxos_alarm_raise(PaxosAlarmKind kind, px_slot subject, const char *detail)
{
	PaxosAlarm *a;
	bool fresh;

	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	a = find(kind, subject);
	fresh = a == NULL;
	if (fresh && paxos_shared->n_alarms < PAXOS_MAX_ALARMS)
	{
		a = &paxos_shared->alarms[paxos_shared->n_alarms++];
		a->kind = kind;
		a->subject = subject;
		a->since = GetCurrentTimestamp();
	}
	if (a != NULL)
		strlcpy(a->detail, detail, sizeof(a->detail));
	LWLockRelease(paxos_integrity_lock);

	if (fresh)
		ereport(WARNING, (errhidestmt(true), errhidecontext(true),
						  errmsg("paxos: alarm \"%s\": %s", kinds[kind].name, detail),
						  errhint("%s", kinds[kind].hint)));
}

/* How many were there. */
static int
clear(PaxosAlarmKind kind, px_slot from, px_slot to)
{
	int kept = 0;
	int n;

	/*
	 * Without the lock: whoever clears has done what ends the alarm, and its
	 * finder, who looks at that, has raised it before or does not find it.
	 */
	if (*(volatile int *) &paxos_shared->n_alarms == 0)
		return 0;

	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	n = paxos_shared->n_alarms;
	for (int i = 0; i < n; i++)
	{
		PaxosAlarm *a = &paxos_shared->alarms[i];

		if (a->kind != kind || a->subject < from || a->subject > to)
			paxos_shared->alarms[kept++] = *a;
	}
	paxos_shared->n_alarms = kept;
	LWLockRelease(paxos_integrity_lock);

	if (kept < n)
		ereport(LOG, (errhidestmt(true), errhidecontext(true),
					  errmsg("paxos: alarm \"%s\" is over", kinds[kind].name)));
	return n - kept;
}

bool
paxos_alarm_clear(PaxosAlarmKind kind, px_slot subject)
{
	return clear(kind, subject, subject) > 0;
}

void
paxos_alarm_clear_range(PaxosAlarmKind kind, px_slot from, px_slot to)
{
	(void) clear(kind, from, to);
}

px_slot
paxos_alarm_highest(PaxosAlarmKind kind)
{
	px_slot highest = 0;

	if (*(volatile int *) &paxos_shared->n_alarms == 0)
		return 0;
	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	for (int i = 0; i < paxos_shared->n_alarms; i++)
	{
		if (paxos_shared->alarms[i].kind == kind)
			highest = Max(highest, paxos_shared->alarms[i].subject);
	}
	LWLockRelease(paxos_integrity_lock);
	return highest;
}

/* paxos.node_alarms(): behind the view paxos.alarms */
Datum
paxos_alarms(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PaxosAlarm alarms[PAXOS_MAX_ALARMS];
	int n;

	paxos_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	n = paxos_shared->n_alarms;
	memcpy(alarms, paxos_shared->alarms, sizeof(PaxosAlarm) * n);
	LWLockRelease(paxos_integrity_lock);

	for (int i = 0; i < n; i++)
	{
		Datum values[5];
		bool nulls[5] = {false};

		values[0] = CStringGetTextDatum(kinds[alarms[i].kind].name);
		values[1] = TimestampTzGetDatum(alarms[i].since);
		values[2] = Int64GetDatum((int64) alarms[i].subject);
		nulls[2] = alarms[i].subject == 0;
		values[3] = CStringGetTextDatum(alarms[i].detail);
		values[4] = CStringGetTextDatum(kinds[alarms[i].kind].hint);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
