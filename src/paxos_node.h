/*
 * paxos_node.h
 *	  Who this node is: the tables paxos.node and paxos.configuration, the
 *	  incarnation, and the conninfo of members.
 */
#ifndef PAXOS_NODE_H
#define PAXOS_NODE_H

#include "nodes/pg_list.h"

#include "paxos_ext.h"

/* One member with its address. */
typedef struct PaxosMember
{
	px_node node;
	bool voter;
	char name[PX_MAX_NAME];
	char conninfo[PX_MAX_CONNINFO];
} PaxosMember;

/*
 * Load identity, configuration and acceptor state from the tables into shared
 * memory (idempotent; the first worker after a start does it), and judge
 * whether this server is still the node it was (paxos_identity.c).  Inside a
 * transaction.
 * Returns the membership.
 */
extern PaxosMembership paxos_node_load(void);

/* Members of the governing configuration; List of PaxosMember *.  In a transaction. */
extern List *paxos_node_members(void);
extern bool paxos_node_member(px_node node, PaxosMember *member);

/* Raise the incarnation, flushed, and return it.  Outside a transaction. */
extern uint64 paxos_node_new_incarnation(void);

/* The workers shall look at this node anew when the transaction has committed. */
extern void paxos_node_wake_workers_at_commit(void);

/*
 * ---- the row of paxos.node, for those that form a cluster ----
 */
#define PAXOS_STAMP_BYTES 96

typedef struct PaxosNodeRow
{
	pg_uuid_t cluster_id;
	px_node node_id;
	bool begun; /* state 'member', else 'forming' */
	uint64 incarnation;
	uint64 system_identifier;
	uint32 timeline;
	char sentinel[PAXOS_STAMP_BYTES];     /* paxos_identity.c; "": none */
	char backup_label[PAXOS_STAMP_BYTES]; /* of backup_label.old; "": none */
	char doubt[PAXOS_ERROR_TEXT];         /* found to have forgotten something:
										 * does not vote; "": not so */
	px_ballot overruled_promised;         /* an operator said that this node has */
	px_slot overruled_accepted;           /* forgotten nothing, whatever members
										 * remember, up to here */
} PaxosNodeRow;

/* Under the active snapshot; false if there is none. */
extern bool paxos_node_row_read(PaxosNodeRow *row);

/* Insert it, or replace the one there.  Needs the acceptor lock. */
extern void paxos_node_row_write(const PaxosNodeRow *row);

/* The configuration of the highest slot under the active snapshot, palloc'd;
 * false if there is none. */
extern bool paxos_configuration_read(px_slot *chosen_at, px_bytes *value);

/* Insert or replace the configuration of a slot.  Needs the acceptor lock. */
extern void paxos_configuration_write(px_slot chosen_at, px_ballot ballot, px_bytes value);

/* paxos.replicated.applied under the active snapshot. */
extern px_slot paxos_node_applied(void);

#endif /* PAXOS_NODE_H */
