/*
 * load.c
 *	  Writers for the tests: many connections, each sending one statement after
 *	  the other, and one line for every statement saying what the client was
 *	  told.  The tests compare these lines with what the nodes hold: whatever
 *	  was acknowledged must be there, once; whatever is unknown may be there,
 *	  once; whatever was refused must not be there.
 *
 * usage: load -q STATEMENT -o FILE [-n PER_NODE] [-s SECONDS] [-m MAX] CONNINFO...
 *
 * STATEMENT has two parameters, $1::int the number of the client and $2::int
 * the number of its operation, never used twice; it returns one row whose first
 * column is the boolean "applied".  Clients are numbered 0, 1, 2 ... and client
 * i talks to the i-th conninfo, modulo their number.  Runs until SECONDS have
 * passed, each client has done MAX operations, or SIGTERM.
 *
 * One line each, times in seconds of CLOCK_MONOTONIC:
 *
 *	client operation outcome started ended detail
 *
 * outcome: A applied, F answered "not applied", U unknown (40003, or the
 * connection ended while the answer was awaited), N refused and certainly
 * not done (any other error; detail is its SQLSTATE).  A connection that
 * cannot be opened is tried again and writes no line.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libpq-fe.h"

static const char *statement;
static long max_operations;
static FILE *out;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop;

typedef struct Client
{
	int number;
	const char *conninfo;
	pthread_t thread;
} Client;

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void
pause_ms(long ms)
{
	struct timespec t = {0, ms * 1000000L};

	nanosleep(&t, NULL);
}

static void
record(const Client *c, long operation, char outcome, double started, const char *detail)
{
	/* The end is read under the lock, so lines stand in the order of their ends. */
	pthread_mutex_lock(&out_lock);
	fprintf(out, "%d %ld %c %.6f %.6f %s\n", c->number, operation, outcome, started, now(), detail);
	fflush(out);
	pthread_mutex_unlock(&out_lock);
}

static void *
client_main(void *arg)
{
	Client *c = arg;
	PGconn *conn = NULL;
	long operation = 0;

	while (!stop && (max_operations == 0 || operation < max_operations))
	{
		char number[16];
		char count[24];
		const char *values[2] = {number, count};
		PGresult *result;
		double started;

		if (conn == NULL || PQstatus(conn) != CONNECTION_OK)
		{
			PQfinish(conn);
			conn = PQconnectdb(c->conninfo);
			if (PQstatus(conn) != CONNECTION_OK)
			{
				pause_ms(20);
				continue;
			}
		}

		operation++;
		snprintf(number, sizeof(number), "%d", c->number);
		snprintf(count, sizeof(count), "%ld", operation);
		started = now();
		result = PQexecParams(conn, statement, 2, NULL, values, NULL, NULL, 0);
		if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
			record(c, operation, PQgetvalue(result, 0, 0)[0] == 't' ? 'A' : 'F', started, "-");
		else
		{
			const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

			/*
			 * Without an SQLSTATE of its own the answer is missing, and so
			 * is any knowledge of what the command did.  A server that ends
			 * the session (class 57P01 and 57P02) says nothing about the
			 * command either.
			 */
			if (sqlstate == NULL || strcmp(sqlstate, "40003") == 0 ||
				strcmp(sqlstate, "57P01") == 0 || strcmp(sqlstate, "57P02") == 0)
				record(c, operation, 'U', started, sqlstate ? sqlstate : "lost");
			else
				record(c, operation, 'N', started, sqlstate);
			pause_ms(5);
		}
		PQclear(result);
	}
	PQfinish(conn);
	return NULL;
}

static void
on_term(int signo)
{
	(void) signo;
	stop = 1;
}

int
main(int argc, char **argv)
{
	int per_node = 1;
	double seconds = 0;
	double end;
	int n;
	int option;
	const char *file = NULL;
	Client *clients;

	while ((option = getopt(argc, argv, "q:o:n:s:m:")) != -1)
	{
		switch (option)
		{
			case 'q':
				statement = optarg;
				break;
			case 'o':
				file = optarg;
				break;
			case 'n':
				per_node = atoi(optarg);
				break;
			case 's':
				seconds = atof(optarg);
				break;
			case 'm':
				max_operations = atol(optarg);
				break;
			default:
				return 2;
		}
	}
	if (statement == NULL || file == NULL || optind == argc)
	{
		fprintf(stderr,
				"usage: load -q STATEMENT -o FILE [-n N] [-s SECONDS] [-m MAX] CONNINFO...\n");
		return 2;
	}
	out = fopen(file, "w");
	if (out == NULL)
	{
		fprintf(stderr, "load: %s: %s\n", file, strerror(errno));
		return 1;
	}
	signal(SIGTERM, on_term);
	signal(SIGPIPE, SIG_IGN);

	n = per_node * (argc - optind);
	clients = calloc(n, sizeof(Client));
	for (int i = 0; i < n; i++)
	{
		clients[i].number = i;
		clients[i].conninfo = argv[optind + i % (argc - optind)];
		if (pthread_create(&clients[i].thread, NULL, client_main, &clients[i]) != 0)
		{
			fprintf(stderr, "load: could not start a thread\n");
			return 1;
		}
	}
	end = now() + seconds;
	while (seconds > 0 && !stop && now() < end)
		pause_ms(20);
	if (seconds > 0)
		stop = 1;
	for (int i = 0; i < n; i++)
		pthread_join(clients[i].thread, NULL);
	fclose(out);
	free(clients);
	return 0;
}
