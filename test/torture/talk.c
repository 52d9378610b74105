/*
 * talk.c
 *	  Talking to a node: what the programs of clients have in common; and how they are run, a
 *	  thread each.
 *
 * A client waits for an answer with a bound; a dead connection is noticed by it or by
 * libpq.  What an error says about the command is in judge(), and nowhere else.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "talk.h"

#define CONNECT_US INT64_C(5000000)
#define LAST_WORDS_US INT64_C(15000000) /* for what is under way at the end */

const char *const told_words[3] = {"ok", "failed", "unknown"};

const char *conninfos[MAX_NODES];
int n_nodes;
atomic_int stop;
_Atomic int64_t stopped_at;

bool
read_options(int argc, char **argv, Options *options)
{
	for (int i = 1; i < argc; i++)
	{
		const char *o = argv[i];
		const char *v;

		if (strcmp(o, "--setup") == 0)
		{
			options->setup = true;
			continue;
		}
		if (++i == argc)
			return false;
		v = argv[i];
		if (strcmp(o, "--history") == 0)
			options->file = v;
		else if (strcmp(o, "--seed") == 0)
			options->seed = strtoull(v, NULL, 10);
		else if (strcmp(o, "--clients") == 0)
			options->per_node = atoi(v);
		else if (strcmp(o, "--home") == 0)
			options->home = atoi(v);
		else if (strcmp(o, "--name") == 0)
			options->name = v;
		else if (strcmp(o, "--seconds") == 0)
			options->seconds = atof(v);
		else if (strcmp(o, "--think") == 0)
			options->think_ms = atoi(v);
		else if (options->own_name != NULL && strcmp(o, options->own_name) == 0)
			options->own = atoi(v);
		else if (strcmp(o, "--conninfo") == 0 && n_nodes < MAX_NODES)
			conninfos[n_nodes++] = v;
		else
			return false;
	}
	return n_nodes > 0 && options->home >= 0 && options->home <= n_nodes &&
		   options->per_node >= 1 && options->per_node <= 999 &&
		   (options->setup || options->file != NULL);
}

int64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

void
pause_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

	nanosleep(&t, NULL);
}

uint64_t
draw_from(uint64_t *random)
{
	uint64_t z = *random += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static void
on_term(int signo)
{
	(void) signo;
	if (!stop)
		stopped_at = now_us();
	stop = 1;
}

/* Only the main thread takes signals, so that no system call of the others is disturbed. */
static void
block_signals(void)
{
	sigset_t term;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigaddset(&term, SIGINT);
	pthread_sigmask(SIG_BLOCK, &term, NULL);
}

/* A signal, or so many seconds (0: never). */
static void
wait_for_the_end(double seconds)
{
	int64_t began = now_us();
	sigset_t term;

	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigaddset(&term, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &term, NULL);
	while (!stop)
	{
		pause_ms(50);
		if (seconds > 0 && now_us() > began + (int64_t) (seconds * 1e6))
			on_term(SIGTERM);
	}
}

static bool
must_end(int64_t deadline)
{
	int64_t now = now_us();

	return now > deadline || (stop && now > stopped_at + LAST_WORDS_US);
}

PGconn *
open_to(int node, int patience_ms)
{
	char options[64];
	const char *const keywords[] = {"options", "dbname", "application_name", NULL};
	const char *const values[] = {options, conninfos[node], "torture", NULL};
	int64_t deadline = now_us() + CONNECT_US;
	PGconn *conn;
	PostgresPollingStatusType wants = PGRES_POLLING_WRITING;

	snprintf(options, sizeof(options), "-c paxos.statement_timeout=%dms", patience_ms);
	conn = PQconnectStartParams(keywords, values, 1);
	while (conn != NULL && PQstatus(conn) != CONNECTION_BAD && wants != PGRES_POLLING_OK)
	{
		struct pollfd p = {PQsocket(conn), wants == PGRES_POLLING_READING ? POLLIN : POLLOUT, 0};

		if (wants == PGRES_POLLING_FAILED || stop || must_end(deadline))
			break;
		if (poll(&p, 1, 100) > 0)
			wants = PQconnectPoll(conn);
	}
	if (conn != NULL && wants == PGRES_POLLING_OK && PQstatus(conn) == CONNECTION_OK)
		return conn;
	PQfinish(conn);
	return NULL;
}

bool
keep_open(PGconn **conn, int node, int patience_ms)
{
	if (*conn != NULL && PQstatus(*conn) != CONNECTION_OK)
	{
		PQfinish(*conn);
		*conn = NULL;
	}
	if (*conn == NULL)
		*conn = open_to(node, patience_ms);
	return *conn != NULL;
}

PGresult *
ask(PGconn **conn, const char *statement, int n, const char *const *values)
{
	/* All text, also those that a statement has no use for. */
	static const Oid text[4] = {25, 25, 25, 25};
	int64_t deadline = now_us() + PATIENCE_US;
	PGresult *result = NULL;

	if (PQsendQueryParams(*conn, statement, n, text, values, NULL, NULL, 0))
	{
		while (!must_end(deadline))
		{
			struct pollfd p = {PQsocket(*conn), POLLIN, 0};
			PGresult *next;

			/*
			 * Input first, as a result may have been read already; a dead
			 * connection shows as a result without SQLSTATE.
			 */
			if (!PQisBusy(*conn))
			{
				next = PQgetResult(*conn);
				if (next == NULL)
					return result;
				PQclear(result);
				result = next;
				continue;
			}
			if (poll(&p, 1, 100) > 0 && !PQconsumeInput(*conn))
				break;
		}
	}
	PQclear(result);
	PQfinish(*conn);
	*conn = NULL;
	return NULL;
}

Told
judge(const PGresult *r, const char **why)
{
	const char *severity;

	*why = "lost";
	if (r == NULL)
		return TOLD_UNKNOWN;
	if (PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK)
		return TOLD_OK;
	*why = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	severity = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);
	if (*why == NULL)
	{
		*why = "lost";
		return TOLD_UNKNOWN;
	}
	if (strcmp(*why, "40003") == 0 || severity == NULL || strcmp(severity, "ERROR") != 0)
		return TOLD_UNKNOWN;
	return TOLD_FAILED;
}

int
make_tables(const char *program, const char *const *statements, int n)
{
	for (int node = 0; node < n_nodes; node++)
	{
		PGconn *conn = PQconnectdb(conninfos[node]);

		for (int i = 0; PQstatus(conn) == CONNECTION_OK && i < (node == 0 ? n : 1); i++)
		{
			PGresult *r = PQexec(conn, node == 0 ? statements[i] : "SELECT paxos_barrier()");
			bool ok = PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK;

			PQclear(r);
			if (!ok)
				break;
		}
		if (*PQerrorMessage(conn) != '\0')
		{
			fprintf(stderr, "%s: %s", program, PQerrorMessage(conn));
			return 2;
		}
		PQfinish(conn);
	}
	return 0;
}

/* ---- clients, a thread each ---- */

typedef struct Thread
{
	Start start;
	void (*client)(const Start *start);
	pthread_t id;
} Thread;

static void *
thread_main(void *arg)
{
	Thread *t = arg;

	t->client(&t->start);
	return NULL;
}

bool
run_clients(const char *program, const Options *options, FILE **history,
			void (*client)(const Start *start))
{
	static const int patience[] = {5000, 1000, 2500, 5000};
	Thread *threads = calloc((size_t) (options->per_node * n_nodes), sizeof(Thread));
	int n = 0;

	if (threads == NULL)
		abort();
	*history = fopen(options->file, "a");
	if (*history == NULL)
	{
		fprintf(stderr, "%s: %s: %s\n", program, options->file, strerror(errno));
		return false;
	}
	block_signals();
	for (int node = 0; node < n_nodes; node++)
		for (int i = 0; i < options->per_node && (options->home == 0 || options->home == node + 1);
			 i++)
		{
			Thread *t = &threads[n++];

			t->client = client;
			t->start.number = 1000 * (node + 1) + i;
			t->start.home = node;
			t->start.patience_ms = patience[i % 4];
			t->start.random = options->seed * UINT64_C(1000003) + (uint64_t) t->start.number;
			if (pthread_create(&t->id, NULL, thread_main, t) != 0)
			{
				fprintf(stderr, "%s: could not start a thread\n", program);
				return false;
			}
		}
	wait_for_the_end(options->seconds);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i].id, NULL);
	free(threads);
	if (fclose(*history) != 0)
	{
		fprintf(stderr, "%s: %s: %s\n", program, options->file, strerror(errno));
		return false;
	}
	return true;
}
