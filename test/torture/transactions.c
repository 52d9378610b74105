/*
 * transactions.c
 *	  Clients of a torture run that use transactions: what each did and was told becomes
 *	  a history for the checker of isolation (test/history/cycle.h).  Command line: README
 *	  in this directory.
 *
 * Each client is a thread with a home node.  What it does, each at an isolation level drawn
 * anew:
 *
 *	lists		 a few keys read or appended to, some FOR UPDATE or SHARE, in any order; an
 *				 element may be appended under a savepoint and rolled back
 *	transfers	 money from one account to another, if there is enough: in READ COMMITTED by
 *				 conditions on the rows, else by what was read, written back as a number
 *				 (a lost update changes the sum); with an element appended to a list, so
 *				 that the history has it, too
 *	skew		 two keys read, one of them appended to, if the other is no longer: what
 *				 REPEATABLE READ allows and SERIALIZABLE does not
 *	appends		 one element by a statement of its own
 *	sums		 of all accounts, in one statement: always the same
 *	large		 all rows of a table counted up, too many for one slot; now and then one of
 *				 them alone is written again.  So they are equal, and as many as the
 *				 elements appended in the same transactions (with --large N: N of 1000)
 *
 * What was told decides: COMMIT acknowledged; certainly not done (an error of SQL,
 * or a connection lost before COMMIT was sent); unknown (40003, no answer, FATAL).
 * No element is appended twice.  Keys are named by the time in which they are used.
 *
 * A level or a lock that the servers refuse as not supported (0A000) is not tried again.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

#define ACCOUNTS 8
#define BALANCE 100
#define PILE 5500 /* rows: more than one part of a set */
#define PILE_KEY "p0.0"
#define KEYS 6
#define KEY_TIME_US INT64_C(4000000)
#define RECORD_BYTES (1024 * 1024)

typedef enum Kind
{
	LISTS,
	TRANSFER,
	SKEW,
	APPEND,
	SUM,
	LARGE,
	N_KINDS
} Kind;

static const char *const kind_names[N_KINDS] = {"lists",  "transfer", "skew",
												"append", "sum",      "large"};

typedef enum Level
{
	READ_COMMITTED,
	REPEATABLE_READ,
	SERIALIZABLE,
	N_LEVELS
} Level;

static const char *const level_words[N_LEVELS] = {"rc", "rr", "ser"};
static const char *const begin_words[N_LEVELS] = {
	"BEGIN ISOLATION LEVEL READ COMMITTED",
	"BEGIN ISOLATION LEVEL REPEATABLE READ",
	"BEGIN ISOLATION LEVEL SERIALIZABLE",
};

static const char *const set_up[] = {
	"CREATE TABLE torture_bank (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) USING paxos",
	"CREATE TABLE torture_list (k text PRIMARY KEY, l bigint[] NOT NULL) USING paxos",
	"INSERT INTO torture_bank SELECT g, 100 FROM generate_series(0, 7) g",
	"CREATE TABLE torture_pile (id int PRIMARY KEY, n int NOT NULL, pad text) USING paxos",
	"INSERT INTO torture_pile SELECT g, 0, repeat('x', 100) FROM generate_series(1, 5500) g",
};

#define LIST "array_to_string(l, ',')"
#define APPEND_SQL                                                \
	"INSERT INTO torture_list VALUES ($1, ARRAY[$2::bigint]) ON " \
	"CONFLICT (k) DO UPDATE SET l = torture_list.l || EXCLUDED.l RETURNING " LIST

typedef struct Client
{
	int number; /* 1000 * home + 0, 1, ... */
	int home;
	int patience_ms;
	uint64_t random;
	int64_t elements; /* how many it has made */
	PGconn *conn;
	char *record; /* operations of the transaction that runs */
	size_t recorded;
	const char *why; /* SQLSTATE of the error that ended it */
	char state[8];
} Client;

static const char *process_name;
static uint64_t seed;
static int think_ms;
static int large_permille;
static atomic_int may_serialize = 1;
static atomic_int may_lock = 1;

static FILE *history;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static long next_number = 1;
static long counts[N_KINDS][N_LEVELS][3];

/* How often each SQLSTATE was the end of a transaction. */
#define MOST_STATES 64
static struct
{
	char state[8];
	long n;
} states[MOST_STATES];

static int
below(Client *c, int n)
{
	return (int) (draw_from(&c->random) % (uint64_t) n);
}

static bool
chance(Client *c, int percent)
{
	return below(c, 100) < percent;
}

/* ---- the record ---- */

static void note(Client *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
note(Client *c, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(c->record + c->recorded, RECORD_BYTES - c->recorded, format, args);
	va_end(args);
	if (n < 0 || c->recorded + (size_t) n >= RECORD_BYTES)
	{
		fprintf(stderr, "transactions: a record is too long\n");
		abort();
	}
	c->recorded += (size_t) n;
}

static void
say_wrong(const Client *c, const char *what, const char *value)
{
	pthread_mutex_lock(&lock);
	fprintf(history, "! client %d: %s: %s\n", c->number, what, value);
	fflush(history);
	pthread_mutex_unlock(&lock);
}

static void
finished(Client *c, Kind kind, Level level, Told told, int64_t began)
{
	pthread_mutex_lock(&lock);
	counts[kind][level][told]++;
	if (told != TOLD_OK)
		for (int i = 0; i < MOST_STATES; i++)
			if (states[i].n == 0 || strcmp(states[i].state, c->state) == 0)
			{
				snprintf(states[i].state, sizeof(states[i].state), "%s", c->state);
				states[i].n++;
				break;
			}
	if (c->recorded > 0)
		fprintf(history, "t %" PRId64 " %" PRId64 " %s.%ld/%d %s %s%s\n", began, now_us(),
				process_name, next_number++, c->number, level_words[level], told_words[told],
				c->record);
	fflush(history);
	pthread_mutex_unlock(&lock);
}

/* A number that nobody else ever appends. */
static int64_t
fresh(Client *c)
{
	return (int64_t) c->number * INT64_C(100000000) + ++c->elements;
}

/* ---- statements ---- */

/*
 * One statement.  NULL: it has failed, and the transaction has or will; c->state says why.
 */
static PGresult *
run(Client *c, const char *statement, int n, const char *const *values)
{
	PGresult *r;
	const char *why;

	if (c->conn == NULL)
		return NULL;
	r = ask(&c->conn, statement, n, values);
	if (judge(r, &why) == TOLD_OK)
		return r;
	snprintf(c->state, sizeof(c->state), "%s", why);
	PQclear(r);
	return NULL;
}

static bool
done(Client *c, const char *statement)
{
	PGresult *r = run(c, statement, 0, NULL);

	PQclear(r);
	return r != NULL;
}

static void
think(Client *c)
{
	int dice = below(c, 1000);

	if (dice < 400)
		return;
	pause_ms(dice < 995 ? below(c, 2 * think_ms + 1) : below(c, 500));
}

static void
name_key(Client *c, char *to, size_t size, const char *prefix, int i)
{
	(void) c;
	snprintf(to, size, "%s%" PRId64 ".%d", prefix, now_us() / KEY_TIME_US, i);
}

static bool
read_key(Client *c, const char *key, const char *clause, int64_t *length)
{
	char statement[128];
	const char *values[1] = {key};
	const char *list;
	PGresult *r;

	snprintf(statement, sizeof(statement), "SELECT " LIST " FROM torture_list WHERE k = $1%s",
			 clause);
	r = run(c, statement, 1, values);
	if (r == NULL)
		return false;
	list = PQntuples(r) == 0 ? "" : PQgetvalue(r, 0, 0);
	note(c, " %s:%s", key, list);
	*length = *list != '\0';
	for (const char *p = list; *p; p++)
		*length += *p == ',';
	PQclear(r);
	return true;
}

/* What the statement returned is a read, now and then. */
static bool
append_to(Client *c, const char *key, bool roll_back)
{
	int64_t element = fresh(c);
	char text[24];
	const char *values[2] = {key, text};
	PGresult *r;

	snprintf(text, sizeof(text), "%" PRId64, element);
	if (roll_back && !done(c, "SAVEPOINT s"))
		return false;

	/* noted before: a statement that fails is part of a transaction that does */
	note(c, " %c%s=%s", roll_back ? '-' : '+', key, text);
	r = run(c, APPEND_SQL, 2, values);
	if (r == NULL)
		return false;
	if (!roll_back)
		note(c, " %s:%s", key, PQgetvalue(r, 0, 0));
	PQclear(r);
	return !roll_back || done(c, "ROLLBACK TO s");
}

/* ---- transactions ---- */

/* A cancellation may strike once more, just before the server begins with ROLLBACK. */
static void
roll_back(Client *c)
{
	for (int i = 0; i < 10 && c->conn != NULL && PQtransactionStatus(c->conn) != PQTRANS_IDLE; i++)
		PQclear(ask(&c->conn, "ROLLBACK", 0, NULL));
}

static Told
commit(Client *c)
{
	PGresult *r;
	const char *why;
	Told told;

	if (c->conn == NULL)
		return TOLD_FAILED; /* COMMIT was not sent */
	r = ask(&c->conn, "COMMIT", 0, NULL);
	told = judge(r, &why);
	if (told == TOLD_OK && strcmp(PQcmdStatus(r), "COMMIT") != 0)
	{
		told = TOLD_FAILED;
		why = "rolled";
	}
	if (told != TOLD_OK)
		snprintf(c->state, sizeof(c->state), "%s", why);
	PQclear(r);

	/* a cancellation may have struck just before the server began with it */
	roll_back(c);
	return told;
}

static bool
do_lists(Client *c)
{
	static const char *const locks[] = {" FOR UPDATE", " FOR SHARE", " FOR NO KEY UPDATE"};
	int n = 1 + below(c, 5);

	for (int i = 0; i < n; i++)
	{
		char key[48];
		int dice = below(c, 100);
		int64_t length;

		name_key(c, key, sizeof(key), "k", below(c, 1 + below(c, KEYS)));
		if (dice < 45 ? !append_to(c, key, dice < 5)
					  : !read_key(c, key, dice < 60 && may_lock ? locks[below(c, 3)] : "", &length))
			return false;
		think(c);
	}
	return true;
}

static bool
do_skew(Client *c)
{
	char a[48];
	char b[48];
	int pair = below(c, 2);
	int64_t of_a;
	int64_t of_b;

	name_key(c, a, sizeof(a), "a", pair);
	name_key(c, b, sizeof(b), "b", pair);
	if (!read_key(c, a, "", &of_a) || !read_key(c, b, "", &of_b))
		return false;
	think(c);
	return append_to(c, of_a < of_b || (of_a == of_b && chance(c, 50)) ? a : b, false);
}

static bool
read_balance(Client *c, int account, int64_t *balance)
{
	char id[12];
	const char *values[1] = {id};
	PGresult *r;

	snprintf(id, sizeof(id), "%d", account);
	r = run(c, "SELECT balance FROM torture_bank WHERE id = $1::int", 1, values);
	if (r == NULL)
		return false;
	*balance = PQntuples(r) == 1 ? strtoll(PQgetvalue(r, 0, 0), NULL, 10) : -1;
	if (*balance < 0)
		say_wrong(c, "balance", PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "none");
	PQclear(r);
	return true;
}

static bool
set_balance(Client *c, const char *statement, int account, int64_t amount, bool *row)
{
	char id[12];
	char text[24];
	const char *values[2] = {id, text};
	PGresult *r;

	snprintf(id, sizeof(id), "%d", account);
	snprintf(text, sizeof(text), "%" PRId64, amount);
	r = run(c, statement, 2, values);
	if (r == NULL)
		return false;
	*row = strcmp(PQcmdTuples(r), "1") == 0;
	PQclear(r);
	return true;
}

static bool
check_sum(Client *c)
{
	PGresult *r = run(c, "SELECT sum(balance), min(balance), count(*) FROM torture_bank", 0, NULL);

	if (r == NULL)
		return false;
	if (strtoll(PQgetvalue(r, 0, 0), NULL, 10) != ACCOUNTS * BALANCE ||
		strtoll(PQgetvalue(r, 0, 1), NULL, 10) < 0 ||
		strtoll(PQgetvalue(r, 0, 2), NULL, 10) != ACCOUNTS)
		say_wrong(c, "sum of all accounts", PQgetvalue(r, 0, 0));
	PQclear(r);
	if (large_permille == 0)
		return true;
	r = run(c, "SELECT min(n), max(n), count(*) FROM torture_pile", 0, NULL);
	if (r == NULL)
		return false;
	if (strcmp(PQgetvalue(r, 0, 0), PQgetvalue(r, 0, 1)) != 0 ||
		strtoll(PQgetvalue(r, 0, 2), NULL, 10) != PILE)
		say_wrong(c, "a part of a large transaction, least", PQgetvalue(r, 0, 0));
	PQclear(r);
	return true;
}

static bool
do_large(Client *c)
{
	char id[12];
	const char *values[1] = {id};
	PGresult *r;

	snprintf(id, sizeof(id), "%d", 1 + below(c, PILE));
	if (chance(c, 60))
	{
		r = run(c, "UPDATE torture_pile SET pad = repeat('y', 100) WHERE id = $1::int", 1, values);
		PQclear(r);
		return r != NULL;
	}
	return done(c, "UPDATE torture_pile SET n = n + 1") && append_to(c, PILE_KEY, false);
}

/* False, and *poor, if there is not enough. */
static bool
do_transfer(Client *c, Level level, bool *poor)
{
	int from = below(c, ACCOUNTS);
	int to = (from + 1 + below(c, ACCOUNTS - 1)) % ACCOUNTS;
	int64_t amount = 1 + below(c, 60);
	int64_t has = 0;
	int64_t other = 0;
	bool row;
	char key[48];

	*poor = false;
	if (level == READ_COMMITTED)
	{
		if (!set_balance(c,
						 "UPDATE torture_bank SET balance = balance - $2::bigint "
						 "WHERE id = $1::int AND balance >= $2::bigint",
						 from, amount, &row))
			return false;
		*poor = !row;
		if (*poor)
			return false;
		think(c);
		if (!set_balance(c,
						 "UPDATE torture_bank SET balance = balance + $2::bigint "
						 "WHERE id = $1::int",
						 to, amount, &row))
			return false;
	}
	else
	{
		if (chance(c, 20) && !check_sum(c))
			return false;
		if (!read_balance(c, from, &has) || !read_balance(c, to, &other))
			return false;
		*poor = has < amount;
		if (*poor)
			return false;
		think(c);
		if (!set_balance(c, "UPDATE torture_bank SET balance = $2::bigint WHERE id = $1::int", from,
						 has - amount, &row))
			return false;
		think(c);
		if (!set_balance(c, "UPDATE torture_bank SET balance = $2::bigint WHERE id = $1::int", to,
						 other + amount, &row))
			return false;
	}
	name_key(c, key, sizeof(key), "t", from);
	return append_to(c, key, false);
}

/* A statement of its own. */
static void
append_once(Client *c)
{
	int64_t began = now_us();
	char key[48];
	char text[24];
	const char *values[2] = {key, text};
	PGresult *r;
	const char *why;
	Told told;
	bool keyed = chance(c, 50);

	name_key(c, key, sizeof(key), "k", below(c, KEYS));
	snprintf(text, sizeof(text), "%" PRId64, fresh(c));
	note(c, " +%s=%s", key, text);
	r = ask(&c->conn,
			keyed ? "UPDATE torture_list SET l = l || $2::bigint WHERE k = $1 RETURNING " LIST
				  : APPEND_SQL,
			2, values);
	told = judge(r, &why);
	if (told != TOLD_OK)
		snprintf(c->state, sizeof(c->state), "%s", why);
	else if (PQntuples(r) == 0)
	{
		told = TOLD_FAILED;
		snprintf(c->state, sizeof(c->state), "no row");
	}
	else
		note(c, " %s:%s", key, PQgetvalue(r, 0, 0));
	PQclear(r);
	finished(c, APPEND, READ_COMMITTED, told, began);
}

static void
one(Client *c)
{
	static const int shares[N_KINDS] = {40, 28, 14, 10, 8, 0};
	int64_t began;
	int dice = below(c, 100);
	int kind = 0;
	Level level = (Level) below(c, may_serialize ? N_LEVELS : SERIALIZABLE);
	Told told;
	bool poor = false;
	bool good;

	while (dice >= shares[kind])
		dice -= shares[kind++];
	if (below(c, 1000) < large_permille)
		kind = LARGE;
	c->recorded = 0;
	c->record[0] = '\0';
	snprintf(c->state, sizeof(c->state), "-");
	if (kind == APPEND)
	{
		append_once(c);
		return;
	}
	began = now_us();
	if (kind == SUM)
	{
		good = check_sum(c);
		finished(c, SUM, READ_COMMITTED, good ? TOLD_OK : TOLD_FAILED, began);
		return;
	}
	good = done(c, begin_words[level]);
	if (good)
		good = kind == LISTS   ? do_lists(c)
			   : kind == SKEW  ? do_skew(c)
			   : kind == LARGE ? do_large(c)
							   : do_transfer(c, level, &poor);
	if (good)
		told = commit(c);
	else
	{
		roll_back(c);
		told = TOLD_FAILED;
	}
	if (poor)
		snprintf(c->state, sizeof(c->state), "poor");
	if (strcmp(c->state, "0A000") == 0)
	{
		if (level == SERIALIZABLE)
			may_serialize = 0;
		else
			may_lock = 0;
	}
	finished(c, (Kind) kind, level, told, began);
	if (told != TOLD_OK && !poor)
		pause_ms(below(c, 10));
}

static void
client_main(const Start *start)
{
	Client client = {.number = start->number,
					 .home = start->home,
					 .patience_ms = start->patience_ms,
					 .random = start->random};
	Client *c = &client;

	c->record = malloc(RECORD_BYTES);
	if (c->record == NULL)
		abort();
	while (!stop)
	{
		if (!keep_open(&c->conn, c->home, c->patience_ms))
		{
			pause_ms(50 + below(c, 100));
			continue;
		}
		one(c);
		pause_ms(below(c, 2 * think_ms + 1));
	}
	PQfinish(c->conn);
	free(c->record);
}

/* ---- the end ---- */

static int
figures(double seconds)
{
	long all[3] = {0, 0, 0};
	int status = 0;

	printf("%-20s %9s %9s %9s\n", "", "ok", "failed", "unknown");
	for (int k = 0; k < N_KINDS; k++)
	{
		long ok = 0;
		long tried = 0;

		for (int l = 0; l < N_LEVELS; l++)
		{
			if (counts[k][l][0] + counts[k][l][1] + counts[k][l][2] > 0)
				printf("%-12s %-7s %9ld %9ld %9ld\n", kind_names[k], level_words[l],
					   counts[k][l][0], counts[k][l][1], counts[k][l][2]);
			ok += counts[k][l][0];
			for (int i = 0; i < 3; i++)
			{
				all[i] += counts[k][l][i];
				tried += counts[k][l][i];
			}
		}
		if (ok == 0 && tried > 20)
		{
			printf("no %s ever succeeded\n", kind_names[k]);
			status = 1;
		}
	}
	for (int i = 0; i < MOST_STATES && states[i].n > 0; i++)
		printf("ended by %-8s %9ld\n", states[i].state, states[i].n);
	printf("TRANSACTIONS name=%s seed=%" PRIu64 " seconds=%.1f ok=%ld failed=%ld unknown=%ld "
		   "serializable=%s row_locks=%s\n",
		   process_name, seed, seconds, all[0], all[1], all[2], may_serialize ? "yes" : "no",
		   may_lock ? "yes" : "no");
	return status;
}

static int
usage(void)
{
	fprintf(stderr, "usage: transactions --setup --conninfo C...\n"
					"       transactions --history FILE [--seed N] [--clients K] [--home I] "
					"[--name W]\n"
					"                    [--seconds S] [--think MS] [--large N] --conninfo C...\n");
	return 2;
}

int
main(int argc, char **argv)
{
	Options options = {.name = "x", .seed = 1, .per_node = 4, .think_ms = 3, .own_name = "--large"};
	int64_t began;

	if (!read_options(argc, argv, &options))
		return usage();
	process_name = options.name;
	seed = options.seed;
	think_ms = options.think_ms;
	large_permille = options.own;
	if (options.setup)
		return make_tables("transactions", set_up, (int) (sizeof(set_up) / sizeof(set_up[0])));
	began = now_us();
	if (!run_clients("transactions", &options, &history, client_main))
		return 2;
	return figures((double) (stopped_at - began) / 1e6);
}
