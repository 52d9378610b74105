/*
 * paxos_part.h
 *	  The parts of write sets that are too large for one command: kept (paxos_part.c), and
 *	  sent (paxos_part_send.c).
 */
#ifndef PAXOS_PART_H
#define PAXOS_PART_H

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "fmgr.h"
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

/* In its turn: 'parts' is paxos.set_part, locked before. */
extern void paxos_part_finish_here(Relation parts, const PaxosReplicated *r, uint64 set);

/* ---- session: on their way (paxos_part_send.c) ---- */

/* Rows that have been described and are not sent. */
typedef struct PaxosPartRows
{
	MemoryContext cxt;  /* holds what they refer to; reset when they have been sent */
	PaxosWriteSet body; /* the tables in it are the caller's */
	int room;
	Size bytes;
} PaxosPartRows;

/* A number for a set of this node. */
extern uint64 paxos_part_new_set(void);

/* What a row takes beside its columns. */
#define PAXOS_PART_ROW_BYTES 16

/*
 * A column, or all columns of a row, as they travel, in the current context, by
 * paxos_outputs() of the table; return what they take.
 */
extern Size paxos_part_put_column(PaxosColumn *out, AttrNumber attnum, FmgrInfo *outputs,
								  Datum value, bool isnull);
extern Size paxos_part_put_row(PaxosSetRow *out, TupleTableSlot *row, FmgrInfo *outputs);

/* Raises an error if no command can hold a row that takes so much. */
extern void paxos_part_check_row(const char *table, Size bytes);

/*
 * Begin to gather rows; is there room for one more; add it, described in rows->cxt (which must
 * be the current context); they have been sent, and what described them is gone.
 */
extern void paxos_part_begin_rows(PaxosPartRows *rows, MemoryContext parent);
extern bool paxos_part_has_room(const PaxosPartRows *rows, Size bytes);
extern void paxos_part_add_row(PaxosPartRows *rows, const PaxosSetRow *row, Size bytes);
extern void paxos_part_empty(PaxosPartRows *rows);

/* Send one part, and wait until it is applied here; its errors, and paxos_submit_part()'s. */
extern void paxos_part_send(uint64 set, uint32 number, const PaxosWriteSet *body);

/* The parts need not be kept.  Raises nothing and does not wait. */
extern void paxos_part_give_up(uint64 set);

#endif /* PAXOS_PART_H */
