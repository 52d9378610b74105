/*
 * paxos_alarm.h
 *	  What is wrong on this node now, for the view paxos.alarms and the server's
 *	  log.
 */
#ifndef PAXOS_ALARM_H
#define PAXOS_ALARM_H

#include "paxos_ext.h"

/*
 * Raise an alarm, or tell a standing one a new detail; 'subject' is the slot it is
 * about, 0 for none: alarms of one kind about several slots stand beside each
 * other.  Logged when it is new.
 */
extern void paxos_alarm_raise(PaxosAlarmKind kind, px_slot subject, const char *detail);

/* It is over; true if it stood.  Logged. */
extern bool paxos_alarm_clear(PaxosAlarmKind kind, px_slot subject);

/* The same for all subjects from .. to.  Costs nothing while no alarm stands. */
extern void paxos_alarm_clear_range(PaxosAlarmKind kind, px_slot from, px_slot to);

/* The highest subject of a kind that stands; 0: none does. */
extern px_slot paxos_alarm_highest(PaxosAlarmKind kind);

/* What to do about it, a sentence. */
extern const char *paxos_alarm_hint(PaxosAlarmKind kind);

#endif /* PAXOS_ALARM_H */
