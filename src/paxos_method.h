/*
 * paxos_method.h
 *	  A relation of this node changes its access method: it is on its way to become a
 *	  consensus table, or an ordinary one again (paxos_method.c).
 */
#ifndef PAXOS_METHOD_H
#define PAXOS_METHOD_H

#include "paxos_ext.h"

/* ---- session ---- */

/*
 * In a transaction that will be committed and flushed, the relation locked ACCESS
 * EXCLUSIVE: it is on its way, its rows in the parts of this set.  made: by the same
 * statement, and gone with it.  And, when that is committed: say that the session which
 * ships it is alive (until it says _shipped(), fails or goes).
 */
extern void paxos_becoming_begin(Oid relid, uint64 set, bool made);
extern void paxos_becoming_ships(Oid relid, uint64 set);
extern void paxos_becoming_shipped(Oid relid);

/* ---- learner ---- */

/* The relation of this node whose rows are in the parts of this set; InvalidOid: none. */
extern Oid paxos_becoming_of(uint64 set);

/* It is a consensus table now; at this slot nobody ships it any more; another needs its name. */
extern void paxos_becoming_done(Oid relid);
extern void paxos_becoming_given_up(uint64 set);
extern void paxos_becoming_give_way(Oid relid);

/* The same of all names that this table will need in that schema (a snapshot's). */
extern void paxos_becoming_clear_names(Oid relid, Oid nsp);

/* Now and then: what nobody ships any more is given up.  False: there is none. */
extern bool paxos_becoming_look(void);

/* A consensus table, locked with its parts, becomes an ordinary table of this node. */
extern void paxos_method_heap(Oid relid);

#endif /* PAXOS_METHOD_H */
