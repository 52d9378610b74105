/*
 * paxos_configuration.h
 *	  The table paxos.configuration: configurations that this node's log holds or
 *	  held (protocol.md §§ 2, 7).
 */
#ifndef PAXOS_CONFIGURATION_H
#define PAXOS_CONFIGURATION_H

#include "paxos_node.h"

typedef struct PaxosConfiguration
{
	px_slot slot;   /* where it stands */
	bool recorded;  /* as chosen; false: this node is joining, and this is where it
						 * finds the members */
	px_bytes value; /* palloc'd */
	px_config config;
	px_slot next; /* lowest slot of one above it; 0: there is none */
	px_slot last; /* highest slot of any */
} PaxosConfiguration;

/*
 * The newest recorded as chosen, under the active snapshot; the lowest if none
 * is; false if the table is empty.
 */
extern bool paxos_configuration_read(PaxosConfiguration *c);

/* The same under a snapshot of its own. */
extern bool paxos_configuration_now(PaxosConfiguration *c);

/* A node as the last configuration has it in which it stands; false: there is none. */
extern bool paxos_configuration_last_with(px_node node, PaxosMember *member);

/* Insert or replace the one of a slot.  Needs the acceptor lock. */
extern void paxos_configuration_write(px_slot position, px_ballot ballot, px_bytes value,
									  bool recorded);

/* Forget all from that slot on.  Needs the acceptor lock. */
extern void paxos_configuration_forget(px_slot from);

/*
 * An entry is put into the log: if it is a configuration, or replaces one, the
 * table follows, in the same transaction.  Needs the acceptor lock.
 */
extern void paxos_configuration_note(const px_entry *entry);

/*
 * Record those at or below 'chosen' as chosen, and give the newest; false if there
 * is none that was not recorded before.  Needs the acceptor lock; see
 * px_acceptor_config_due().
 */
extern bool paxos_configuration_settle(px_slot chosen, PaxosConfiguration *c);

/* ---- values ---- */

/* The encoded configuration of these members, palloc'd; an error when they are too
 * many or too few.  'highest': node id that ever was a member's. */
extern px_bytes paxos_configuration_encode(const PaxosMember *members, int n, px_node highest);

/* The same with one that is joining made a voter. */
extern px_bytes paxos_configuration_promoting(const PaxosMember *members, int n, px_node highest,
											  px_node node);

#endif /* PAXOS_CONFIGURATION_H */
