/*
 * paxos_node.h
 *	  Who this node is: the tables paxos.node and paxos.configuration, the
 *	  incarnation, and the conninfo of members.
 */
#ifndef PAXOS_NODE_H
#define PAXOS_NODE_H

#include "nodes/pg_list.h"

#include "core/px_value.h"
#include "paxos_ext.h"

/* One member with its address. */
typedef struct PaxosMember
{
	px_node node;
	bool voter;
	bool joining; /* becomes a voter by itself when it has caught up */
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

/* Members of the governing configuration, as far as this node knows; List of
 * PaxosMember *.  In a transaction. */
extern List *paxos_node_members(void);
extern bool paxos_node_member(px_node node, PaxosMember *member);
extern void paxos_member_of(const px_member_view *view, PaxosMember *member);

/* The rows have been deleted and that is committed: in shared memory too this server is
 * no node of any cluster.  The workers are held off. */
extern void paxos_node_forgotten(void);

/* Another member says that this node has been removed: kept, flushed.  Outside a
 * transaction. */
extern void paxos_node_mark_removed(void);

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
	bool begun;   /* state 'member' or 'removed', else 'forming' */
	bool removed; /* state 'removed': told so by another member, or by the log */
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

/* paxos.replicated.applied under the active snapshot. */
extern px_slot paxos_node_applied(void);

#endif /* PAXOS_NODE_H */
