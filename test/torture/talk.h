/*
 * talk.h
 *	  Talking to a node: what the programs of clients have in common (talk.c).
 */
#ifndef TALK_H
#define TALK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "libpq-fe.h"

#define MAX_NODES 15
#define PATIENCE_US INT64_C(20000000)

/* What came of a statement, by what its client can know. */
typedef enum Told
{
	TOLD_OK,
	TOLD_FAILED,
	TOLD_UNKNOWN
} Told;

extern const char *const told_words[3];

extern const char *conninfos[MAX_NODES];
extern int n_nodes;
extern atomic_int stop; /* since stopped_at: no more is begun */
extern _Atomic int64_t stopped_at;

/* What every program of clients is told; defaults are the program's. */
typedef struct Options
{
	bool setup;       /* make the tables, and no more */
	const char *file; /* of the history */
	const char *name; /* of this process, in the history */
	uint64_t seed;
	int per_node; /* clients */
	int home;     /* only those of this node; 0: of all */
	int think_ms;
	double seconds;
	const char *own_name; /* of one option more, a number; or NULL */
	int own;
} Options;

/* False: it has been called the wrong way. */
extern bool read_options(int argc, char **argv, Options *options);

extern int64_t now_us(void); /* of CLOCK_MONOTONIC */
extern void pause_ms(long ms);
extern uint64_t draw_from(uint64_t *random);

/*
 * Carry out statements on the first node, and wait until the others know of them.  What the
 * program returns: 2 if it cannot be done.
 */
extern int make_tables(const char *program, const char *const *statements, int n);

/* What a client, which is a thread, is told. */
typedef struct Start
{
	int number; /* 1000 * (home + 1) + 0, 1, ... */
	int home;
	int patience_ms;
	uint64_t random;
} Start;

/*
 * Run the clients, which shall end at 'stop': at a signal, or after so many seconds.  They write
 * to *history.  False: it could not be done, and has been said.
 */
extern bool run_clients(const char *program, const Options *options, FILE **history,
						void (*client)(const Start *start));

/* A connection to a node; NULL: there is none.  Patience: paxos.statement_timeout. */
extern PGconn *open_to(int node, int patience_ms);

/* Another, if this one is lost or was never there; false: there is none. */
extern bool keep_open(PGconn **conn, int node, int patience_ms);

/*
 * Send a statement and wait for its result.  NULL: there is none, and what became
 * of it nobody knows; the connection is closed then.
 */
extern PGresult *ask(PGconn **conn, const char *statement, int n, const char *const *values);

/* What a result says about the command. */
extern Told judge(const PGresult *r, const char **why);

#endif /* TALK_H */
