/*
 * paxos_window.h
 *	  Where the learner keeps the window: which keys were changed lately, and at
 *	  which slot (paxos_window.c).  All but paxos_window_row() are the learner's.
 */
#ifndef PAXOS_WINDOW_H
#define PAXOS_WINDOW_H

#include "paxos_command.h"
#include "paxos_replicated.h"

/* A transaction begins: what the table says is in memory. */
extern void paxos_window_begin(const PaxosReplicated *r);

/* A slot begins. */
extern void paxos_window_slot(PaxosReplicated *r, px_slot slot);

/* The verdict on a set at this slot.  *overtaken: something it depends on is known to have
 * been changed. */
extern px_certificate paxos_window_judge(PaxosReplicated *r, px_slot slot, const PaxosWriteSet *set,
										 bool *overtaken);

/* These were changed at this slot. */
extern void paxos_window_note(const PaxosReplicated *r, px_slot slot, const uint64 *keys, int n);

/* The keys a set changes; and those by whose change it loses, of which the first
 * n_read as of its snapshot, the others as of its base.  The arrays are palloc'd. */
extern uint64 *paxos_window_keys_of_set(const PaxosWriteSet *set, int *n);
extern uint64 *paxos_window_checked(const PaxosWriteSet *set, int *n, int *n_read);

/* What was noted since the last time becomes a row, and rows too old go. */
extern void paxos_window_save(const PaxosReplicated *r);

/* By the session whose turn it is: the row for its slot; open relation locked by it. */
extern void paxos_window_row(Relation rel, px_slot slot, const uint64 *keys, int n);

/* That row is committed: the learner's memory follows. */
extern void paxos_window_row_committed(const PaxosReplicated *r, px_slot slot, const uint64 *keys,
									   int n);

/* After an error, or when the state was replaced: read it anew. */
extern void paxos_window_reset(void);

#endif /* PAXOS_WINDOW_H */
