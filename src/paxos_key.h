/*
 * paxos_key.h
 *	  The keys of rows, as write sets and the window know them (paxos_key.c).
 */
#ifndef PAXOS_KEY_H
#define PAXOS_KEY_H

#include "executor/tuptable.h"
#include "utils/relcache.h"

/* The unique keys of one table. */
typedef struct PaxosKeys PaxosKeys;

/* Of an open, locked table; lives in the current memory context. */
extern PaxosKeys *paxos_keys_of(Relation rel, int64 table_id);

/* None is an expression, or of a type whose values are not told apart. */
extern bool paxos_keys_are_plain(const PaxosKeys *keys);

/* Is one of them checked by a trigger? */
extern bool paxos_keys_are_deferrable(const PaxosKeys *keys);

/*
 * Is there another value in a column that the condition of a partial unique index looks
 * at?  Then the row may enter the index, or leave it, with the keys it had.
 */
extern bool paxos_keys_may_move(const PaxosKeys *keys, TupleTableSlot *before,
								TupleTableSlot *after);

/* How many keys a row of it has at most. */
extern int paxos_keys_max(const PaxosKeys *keys);

/* The keys of one row, into 'out'; returns how many. */
extern int paxos_keys_of_row(const PaxosKeys *keys, TupleTableSlot *row, uint64 *out);

/* That in the primary key, by which a row is known. */
extern uint64 paxos_key_of_row(const PaxosKeys *keys, TupleTableSlot *row);
extern uint64 paxos_key_of_values(const PaxosKeys *keys, const Datum *values);

/*
 * Three more for each, for what may happen to a row besides being changed: it goes, or
 * one of its unique keys is another one afterwards; it is locked FOR SHARE, FOR KEY
 * SHARE (paxos_window_checked()).
 */
extern uint64 paxos_key_gone(uint64 key);
extern uint64 paxos_key_shared(uint64 key);
extern uint64 paxos_key_kept(uint64 key);

/*
 * Two keys of a table as a whole.  'any' changes with every row of it; 'whole' with
 * what concerns all rows at once: a change of its definition.
 */
extern uint64 paxos_key_any(int64 table_id);
extern uint64 paxos_key_whole(int64 table_id);

#endif /* PAXOS_KEY_H */
