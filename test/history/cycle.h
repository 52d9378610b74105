/*
 * cycle.h
 *	  Did transactions have the isolation they asked for?
 *
 * A history of transactions that append elements to lists and read whole lists.
 * No element is appended twice, so a list read says who wrote it, and in which order:
 * the versions of a key are the prefixes of its longest list.  From that follow
 * Adya's dependencies, as in Elle (Kingsbury and Alvaro):
 *
 *	ww	 both appended to a key, one right behind the other
 *	wr	 one read what the other appended last
 *	rw	 one read a list behind which the other appended next
 *
 * What is looked for, and by whom it must not be met:
 *
 *	all		 an element read that nobody wrote, that was rolled back, that is in a list
 *			 twice; lists of a key that are not prefixes of each other; half of what one
 *			 transaction appended (G1a, G1b); a cycle of ww and wr (G0, G1c); an
 *			 acknowledged element that is not there at the end; an order against real
 *			 time: who began when the other had ended comes first
 *	REPEATABLE READ
 *			 two reads of a key that differ; a cycle with one rw, which is its own (G-single:
 *			 lost update, read skew)
 *	SERIALIZABLE
 *			 any cycle whose rw are all of such transactions (G2: write skew)
 *
 * The times are of one clock.  Knows nothing of PostgreSQL.  Memory comes from malloc, and no
 * memory is the end of the process.
 */
#ifndef CYCLE_H
#define CYCLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum cycle_level
{
	CYCLE_READ_COMMITTED,
	CYCLE_REPEATABLE_READ,
	CYCLE_SERIALIZABLE
} cycle_level;

typedef enum cycle_told
{
	CYCLE_COMMITTED,
	CYCLE_ABORTED, /* certainly */
	CYCLE_UNKNOWN
} cycle_told;

typedef struct cycle cycle;

extern cycle *cycle_new(void);
extern void cycle_free(cycle *c);
extern void cycle_reset(cycle *c); /* empty it, keys too */

extern uint32_t cycle_key(cycle *c, const char *name); /* the same name, the same number */

/* A transaction, whose number is returned; then, in order, what it did; then its end. */
extern uint32_t cycle_begin(cycle *c, cycle_level level, const char *name, uint64_t began);
extern void cycle_append(cycle *c, uint32_t txn, uint32_t key, int64_t element, bool rolled_back);
extern void cycle_read(cycle *c, uint32_t txn, uint32_t key, const int64_t *elements, size_t n);
extern void cycle_end(cycle *c, uint32_t txn, cycle_told told, uint64_t ended);

/*
 * A read of all that there is at the end: from then on nothing is missing.  Told as
 * a transaction whose 'final' is set.
 */
extern void cycle_final(cycle *c, uint32_t txn);

/* True: nothing is wrong.  Else cycle_why() has the first thing that is. */
extern bool cycle_check(cycle *c);
extern const char *cycle_why(const cycle *c);

/* What was found there, for the reader of a report. */
typedef struct cycle_figures
{
	uint64_t transactions;
	uint64_t told[3];
	uint64_t level[3]; /* committed */
	uint64_t elements; /* in the lists at the end */
	uint64_t unknown_there;
	uint64_t ww;
	uint64_t wr;
	uint64_t rw;
	uint64_t skews; /* cycles that are allowed: strongly connected parts with rw */
} cycle_figures;

extern cycle_figures cycle_count(const cycle *c);

/*
 * A file: one line for each transaction, written when it has ended.
 *
 *	t BEGAN ENDED NAME rc|rr|ser ok|failed|unknown [final] OPERATION...
 *
 * with OPERATION one of +KEY=ELEMENT (appended), -KEY=ELEMENT (appended, and rolled back
 * to a savepoint), KEY:E,E,E (read; KEY: is the empty list).  A line that begins with
 * '!' is something that its client found to be wrong by itself.  False, and a message
 * in cycle_why(), if the file cannot be understood.
 */
extern bool cycle_file(cycle *c, FILE *from, const char *name);

#endif /* CYCLE_H */
