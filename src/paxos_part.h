/*
 * paxos_part.h
 *	  The parts of write sets that are too large for one command (paxos_part.c).
 */
#ifndef PAXOS_PART_H
#define PAXOS_PART_H

#include "utils/relcache.h"

#include "paxos_command.h"
#include "paxos_replicated.h"

/* No set has more of them. */
#define PAXOS_MAX_PARTS 8192

/* A set of more than this goes in parts of about so much. */
#define PAXOS_PART_BYTES (PX_MAX_COMMAND_BYTES / 2)

/* ---- learner ---- */

/* A transaction begins: what the table says is in memory. */
extern void paxos_part_begin(void);

/* After an error, or when the state was replaced: read it anew. */
extern void paxos_part_reset(void);

/*
 * At its slot: keep the part that these bytes, a decoded command's, are of; or, if it
 * says so, forget its set.  False: what came before it is not there (any more).
 */
extern bool paxos_part_store(const PaxosReplicated *r, px_node origin, const PaxosSetPart *part,
							 const char *bytes, Size len);

/* Are all parts there? */
extern bool paxos_part_complete(const PaxosReplicated *r, px_node origin, uint64 set,
								uint32 n_parts);

/*
 * The part with this number, decoded in the current context; false if it has none of
 * what is wanted.
 */
extern bool paxos_part_read(const PaxosReplicated *r, px_node origin, uint64 set, uint32 number,
							bool keys, PaxosWriteSet *body);

/* The set has been decided, in this transaction; and in a session's, which has called
 * paxos_part_finish_here(). */
extern void paxos_part_finish(const PaxosReplicated *r, px_node origin, uint64 set);
extern void paxos_part_finished(const PaxosReplicated *r, px_node origin, uint64 set);

/* Delete some of what no set needs any more, in a transaction of its own.  True: there is
 * more. */
extern bool paxos_part_sweep(const PaxosReplicated *r);

/* ---- session ---- */

/* A number for a set of this node. */
extern uint64 paxos_part_new_set(void);

/* Raises an error if no command can hold a row that takes so much. */
extern void paxos_part_check_row(const char *table, Size bytes);

/* One more row for what is sent, which has room for *room of them; in the current context. */
extern void paxos_part_add_row(PaxosWriteSet *body, int *room, const PaxosSetRow *row);

/* In its turn: 'parts' is paxos.set_part, locked before. */
extern void paxos_part_finish_here(Relation parts, const PaxosReplicated *r, uint64 set);

#endif /* PAXOS_PART_H */
