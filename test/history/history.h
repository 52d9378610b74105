/*
 * history.h
 *	  Is what the clients of a cluster were told linearizable?
 *
 * A history holds operations on named keys: when each began, when its client
 * was told something, and what.  It comes from the simulator or from the torture
 * runs on real servers (a file, read by hist_read()); the checker knows nothing
 * of PostgreSQL or of the core, and works with any clock that is one clock for
 * all clients (steps of a simulator, microseconds of CLOCK_MONOTONIC).
 *
 * Linearizable means: one order of the operations that took effect, in which
 * every operation lies between its begin and its end, explains all that was
 * told.  Keys are checked one by one, since a history is linearizable if and
 * only if that of every key is.
 *
 *	- told HIST_OK: it took effect between begin and end, with the result given.
 *	- told HIST_FAILED: it never took and never will take effect.
 *	- told HIST_UNKNOWN, or never ended: once, any time after its begin, or never.
 *	- attempts with the same request number (not 0) are one operation: it takes
 *	  effect at most once, all attempts told HIST_OK tell the same result, and
 *	  the first of them to end ends the operation.  An attempt told
 *	  HIST_FAILED says nothing about the others.
 *
 * The state of a key is one value: absent, a number, or a list of numbers.  A
 * list is known by its length and a hash over its elements in order, so long
 * lists cost nothing.  The more a result tells the faster the check: give
 * `previous` and `current` whenever they are known.
 *
 * Two checkers.  hist_check() searches for an order.  hist_check_slots() asks
 * for less work and more agreement: where operations were told their slot in the
 * log, replaying them in the order of slots must give the results told, and
 * that order must agree with real time, over all keys at once.  Both must say
 * HIST_LINEARIZABLE for a cluster to be right.
 *
 * Nothing here is thread-safe; memory comes from malloc, and no memory is the
 * end of the process.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- values ---- */

typedef enum hist_value_kind
{
	HIST_ABSENT, /* no row, no key */
	HIST_NUMBER,
	HIST_LIST
} hist_value_kind;

typedef struct hist_value
{
	hist_value_kind kind;
	int64_t n;     /* the number; length of a list */
	uint64_t hash; /* of a list's elements, in order */
} hist_value;

extern hist_value hist_absent(void);
extern hist_value hist_number(int64_t n);
extern hist_value hist_empty_list(void);
extern hist_value hist_append(hist_value list, int64_t element);
extern bool hist_equal(hist_value a, hist_value b);

/* ---- operations ---- */

typedef enum hist_kind
{
	HIST_READ,   /* linearizable read: tells `current` */
	HIST_PUT,    /* set to value, whatever was there */
	HIST_INSERT, /* set to value if absent */
	HIST_CAS,    /* set to value if it equals expected; each may be absent */
	HIST_DELETE, /* make it absent; applied if it was there (and equals expected, unless any) */
	HIST_ADD,    /* number += delta if at_least <= number <= at_most; never on an absent one */
	HIST_APPEND, /* append delta to the list; an absent one becomes a list */
	HIST_OUTCOME /* asks what became of a request number (paxos_outcome) */
} hist_kind;

typedef struct hist_op
{
	hist_kind kind;
	uint32_t key;     /* from hist_key() */
	uint32_t client;  /* for the reader of a report */
	uint64_t request; /* attempts with the same one are one operation; 0: none */
	hist_value expected;
	hist_value value;
	bool any; /* HIST_DELETE: whatever it has */
	int64_t delta;
	int64_t at_least; /* HIST_ADD; INT64_MIN: no condition */
	int64_t at_most;  /* HIST_ADD; INT64_MAX: no condition */
} hist_op;

/* ---- what clients are told ---- */

typedef enum hist_told
{
	HIST_OK,
	HIST_FAILED,
	HIST_UNKNOWN
} hist_told;

/* which fields of a result were told */
#define HIST_APPLIED 1   /* did the condition hold */
#define HIST_PREVIOUS 2  /* the value before */
#define HIST_CURRENT 4   /* the value after; that of a read */
#define HIST_UNDECIDED 8 /* HIST_OUTCOME: it had not taken effect when the question was asked */

typedef struct hist_result
{
	hist_told told;
	unsigned known; /* HIST_OK only: HIST_APPLIED, ... */
	bool applied;
	hist_value previous;
	hist_value current;
	uint64_t slot; /* in the log where it was decided; 0: not told.  Of several operations with
					* one slot (a batch) the order is not known */
} hist_result;

/* ---- building a history ---- */

typedef struct hist hist;

extern hist *hist_new(void);
extern void hist_free(hist *h);
extern void hist_reset(hist *h); /* empty it, keys too; keeps the memory */

extern uint32_t hist_key(hist *h, const char *name); /* the same name, the same number */
extern void hist_initial(hist *h, uint32_t key, hist_value value); /* else absent */

/*
 * Begin an operation; the number of it is returned, 1, 2, 3 ...  Times may come
 * in any order.  An operation that ends at the time another begins counts as
 * concurrent with it.
 */
extern uint32_t hist_begin(hist *h, const hist_op *op, uint64_t time);
extern void hist_end(hist *h, uint32_t number, uint64_t time, const hist_result *result);

/*
 * Add a history file (format: at the head of hist_file.c).  NULL, or what is
 * wrong with it; valid until the next call with the same history.
 */
extern const char *hist_read(hist *h, const char *path);

/* ---- checking ---- */

typedef enum hist_verdict
{
	HIST_LINEARIZABLE,
	HIST_VIOLATION,
	HIST_GAVE_UP /* bound reached: neither shown nor refuted */
} hist_verdict;

typedef struct hist_limits
{
	uint64_t max_steps; /* operations tried, over all keys; 0: the default, 20 million */
} hist_limits;

extern hist_verdict hist_check(hist *h, const hist_limits *limits); /* limits may be NULL */
extern hist_verdict hist_check_slots(hist *h, const hist_limits *limits);

/* Of the last check: lines of text, "" if linearizable; the steps it took. */
extern const char *hist_why(const hist *h);
extern uint64_t hist_steps(const hist *h);

#endif
