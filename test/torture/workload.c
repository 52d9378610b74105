/*
 * workload.c
 *	  Clients of a torture run: a seeded mix of what users do, and a history of
 *	  what they were told.  Command line: README in this directory.
 *
 * Each client is a thread with a home node, where it sends one statement after
 * the other.  What came of an attempt is written to the history (format:
 * test/history/hist_file.c) by what its client can know:
 *
 *	ok		 an answer
 *	failed	 an error of SQL: certainly not done (README of the project)
 *	unknown	 40003; a server that ended the session (FATAL: it says nothing about
 *			 the command); no answer, because the connection is gone or patience is
 *
 * Half of the writes by function carry a request id.  When the outcome of such a one is unknown
 * its client tries again, at any node, often after asking paxos_outcome(): all
 * these attempts are one operation of the history.
 *
 * What is written, each in a form that shows if it was done twice, lost, or undone:
 *
 *	kv/r...		register in paxos.kv: put, get, cas, delete; no value twice
 *	kv/l...		list in paxos.kv, appended to by cas
 *	kv/k...		lock with a fencing token, {"owner", "token"}: acquired, released and
 *				stolen by cas; the history has token * 100000 + owner
 *	note/...	register in a table: upsert, cas, delete_if, barrier and SELECT; INSERT ... ON
 *				CONFLICT DO UPDATE, UPDATE and DELETE with a condition
 *	acct/...	account: insert, deposit, withdrawal that must not overdraw; the same as plain
 *				INSERT and UPDATE
 *	seat/...	reservation of an e-mail address, unique by an index: a number
 *
 * Keys are named by the time (CLOCK_MONOTONIC) in which they are used, so that no key's history
 * grows without end, and that all processes of a run use the same ones.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"

#define KEYS 4                       /* of each kind at one time */
#define KEY_TIME_US INT64_C(8000000) /* how long each is used */
#define LONGEST_LIST 60
#define VALUE_BYTES 1024
#define LOCK_BASE 100000

/* ---- kinds of operations, and what they are in SQL ---- */

typedef enum Kind
{
	KV_PUT,
	KV_GET,
	KV_CAS,
	KV_DELETE,
	LIST_APPEND,
	LIST_GET,
	LOCK_GET,
	LOCK_ACQUIRE,
	LOCK_RELEASE,
	NOTE_UPSERT,
	NOTE_CAS,
	NOTE_DELETE,
	NOTE_READ,
	ACCOUNT_OPEN,
	ACCOUNT_DEPOSIT,
	ACCOUNT_WITHDRAW,
	ACCOUNT_READ,
	SEAT_RESERVE,
	SEAT_RELEASE,
	SEAT_READ,
	NOTE_PLAIN_UPSERT,
	NOTE_PLAIN_UPDATE,
	NOTE_PLAIN_DELETE,
	ACCOUNT_PLAIN_INSERT,
	ACCOUNT_PLAIN_DEPOSIT,
	ACCOUNT_PLAIN_WITHDRAW,
	RETRY,
	OUTCOME,
	N_KINDS
} Kind;

static const char *const kind_names[N_KINDS] = {
	"kv put",           "kv get",       "kv cas",       "kv delete",      "list append",
	"list get",         "lock get",     "lock acquire", "lock release",   "note upsert",
	"note cas",         "note delete",  "note read",    "account open",   "account deposit",
	"account withdraw", "account read", "seat reserve", "seat release",   "seat read",
	"INSERT note",      "UPDATE note",  "DELETE note",  "INSERT account", "UPDATE + account",
	"UPDATE - account", "retry",        "outcome",
};

/* From the image of a row, or from a value, to what the history calls its value. */
#define KV(image) image "->'value'"
#define LOCK_OF(v) "(" v "->>'token')::bigint * 100000 + (" v "->>'owner')::bigint"
#define LOCK(image) LOCK_OF("(" image "->'value')")
#define NOTE(image) image "->'n'"
#define ACCOUNT(image) image "->'balance'"
#define SEAT(image) image "->'id'"
#define RESULT(x) "SELECT applied, slot, " x("previous") ", " x("current") " FROM "
#define ASK(x)                                     \
	"SELECT applied, slot, " x("previous") ", " x( \
		"current") ", outcome, sqlstate FROM paxos_outcome($1::uuid)"

/*
 * $1 is always the key (the seat's: its number), $2 the request id, $3 the value
 * expected and $4 the new one.  Reads have $1 only.
 */
static const char *const statements[N_KINDS] = {
	[KV_PUT] = RESULT(KV) "paxos_kv_put($1, $4::jsonb, $2::uuid)",
	[KV_GET] = "SELECT paxos_kv_get($1)",
	[KV_CAS] = RESULT(KV) "paxos_kv_cas($1, $3::jsonb, $4::jsonb, $2::uuid)",
	[KV_DELETE] = RESULT(KV) "paxos_kv_delete($1, $3::jsonb, $2::uuid)",
	[LIST_APPEND] = RESULT(KV) "paxos_kv_cas($1, $3::jsonb, $4::jsonb, $2::uuid)",
	[LIST_GET] = "SELECT paxos_kv_get($1)",
	[LOCK_GET] = "SELECT " LOCK_OF("v") " FROM paxos_kv_get($1) v",
	[LOCK_ACQUIRE] = RESULT(LOCK) "paxos_kv_cas($1, $3::jsonb, $4::jsonb, $2::uuid)",
	[LOCK_RELEASE] = RESULT(LOCK) "paxos_kv_cas($1, $3::jsonb, $4::jsonb, $2::uuid)",
	[NOTE_UPSERT] = RESULT(
		NOTE) "paxos_upsert('torture_note', jsonb_build_object('id', $1::text, 'n', $4::bigint), $2::uuid)",
	[NOTE_CAS] = RESULT(
		NOTE) "paxos_cas('torture_note', jsonb_build_object('id', $1::text), "
			  "CASE WHEN $3 IS NOT NULL THEN jsonb_build_object('n', $3::bigint) END, "
			  "CASE WHEN $4 IS NOT NULL THEN jsonb_build_object('n', $4::bigint) END, $2::uuid)",
	[NOTE_DELETE] =
		RESULT(NOTE) "paxos_delete_if('torture_note', jsonb_build_object('id', $1::text), "
					 "jsonb_build_object('n', $3::bigint), $2::uuid)",
	[NOTE_READ] = "SELECT n FROM torture_note WHERE id = $1",
	[ACCOUNT_OPEN] = RESULT(ACCOUNT) "paxos_insert_if_not_exists('torture_account', "
									 "jsonb_build_object('id', $1::text, 'balance', 20), $2::uuid)",
	[ACCOUNT_DEPOSIT] =
		RESULT(ACCOUNT) "paxos_update_if('torture_account', jsonb_build_object('id', $1::text), "
						"'{\"balance +=\": 5}', '{}', $2::uuid)",
	[ACCOUNT_WITHDRAW] =
		RESULT(ACCOUNT) "paxos_update_if('torture_account', jsonb_build_object('id', $1::text), "
						"'{\"balance -=\": 3}', '{\"balance >=\": 3}', $2::uuid)",
	[ACCOUNT_READ] = "SELECT balance FROM torture_account WHERE id = $1",
	[SEAT_RESERVE] =
		RESULT(SEAT) "paxos_insert_if_not_exists('torture_seat', "
					 "jsonb_build_object('id', $4::bigint, 'email', $1::text), $2::uuid)",
	[SEAT_RELEASE] =
		RESULT(SEAT) "paxos_delete_if('torture_seat', jsonb_build_object('id', $3::bigint), "
					 "jsonb_build_object('email', $1::text), $2::uuid)",
	[SEAT_READ] = "SELECT id FROM torture_seat WHERE email = $1",
	[NOTE_PLAIN_UPSERT] = "INSERT INTO torture_note VALUES ($1, $4::bigint) "
						  "ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n RETURNING n",
	[NOTE_PLAIN_UPDATE] = "UPDATE torture_note SET n = $4::bigint "
						  "WHERE id = $1 AND n = $3::bigint RETURNING n",
	[NOTE_PLAIN_DELETE] = "DELETE FROM torture_note WHERE id = $1 AND n = $3::bigint RETURNING n",
	[ACCOUNT_PLAIN_INSERT] = "INSERT INTO torture_account VALUES ($1, 20) "
							 "ON CONFLICT (id) DO NOTHING RETURNING balance",
	[ACCOUNT_PLAIN_DEPOSIT] =
		"UPDATE torture_account SET balance = balance + 5 WHERE id = $1 RETURNING balance",
	[ACCOUNT_PLAIN_WITHDRAW] = "UPDATE torture_account SET balance = balance - 3 "
							   "WHERE id = $1 AND balance >= 3 RETURNING balance",
};

static const char *const set_up[] = {
	"CREATE TABLE torture_note (id text PRIMARY KEY, n bigint NOT NULL) USING paxos",
	"CREATE TABLE torture_account (id text PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) USING paxos",
	"CREATE TABLE torture_seat (id bigint PRIMARY KEY, email text NOT NULL) USING paxos",
	"CREATE UNIQUE INDEX torture_seat_email ON torture_seat (email)",
};

static const char *
outcome_statement(Kind kind)
{
	switch (kind)
	{
		case LOCK_ACQUIRE:
		case LOCK_RELEASE:
			return ASK(LOCK);
		case NOTE_UPSERT:
		case NOTE_CAS:
		case NOTE_DELETE:
			return ASK(NOTE);
		case ACCOUNT_OPEN:
		case ACCOUNT_DEPOSIT:
		case ACCOUNT_WITHDRAW:
			return ASK(ACCOUNT);
		case SEAT_RESERVE:
		case SEAT_RELEASE:
			return ASK(SEAT);
		default:
			return ASK(KV);
	}
}

static bool
is_read(Kind kind)
{
	return kind == KV_GET || kind == LIST_GET || kind == LOCK_GET || kind == NOTE_READ ||
		   kind == ACCOUNT_READ || kind == SEAT_READ;
}

/* A statement about one row: it returns what it left or took away, and no slot; no request id. */
static bool
is_plain(Kind kind)
{
	return kind >= NOTE_PLAIN_UPSERT && kind <= ACCOUNT_PLAIN_WITHDRAW;
}

/* A plain SELECT, linearizable because of the barrier before it. */
static bool
wants_barrier(Kind kind)
{
	return kind == NOTE_READ || kind == ACCOUNT_READ || kind == SEAT_READ;
}

/* ---- clients ---- */

/* What a client has seen last of the keys in use; "" nothing seen, "-" nothing there. */
typedef struct Seen
{
	int64_t era;
	char value[KEYS][VALUE_BYTES];
} Seen;

typedef enum Family
{
	REGISTERS,
	LISTS,
	LOCKS,
	NOTES,
	ACCOUNTS,
	SEATS,
	N_FAMILIES
} Family;

typedef struct Operation
{
	Kind kind;
	char key[64];                    /* in SQL */
	char name[72];                   /* in the history */
	char verb[2 * VALUE_BYTES + 32]; /* and its arguments */
	char expected[VALUE_BYTES + 64]; /* "": null */
	char new[VALUE_BYTES + 64];
	char request[40]; /* "": none */
	char *seen;       /* where to note the value it leaves */
} Operation;

typedef struct Client
{
	int number; /* in the history: 1000 * home + 0, 1, ... */
	int home;
	int patience_ms; /* paxos.statement_timeout */
	uint64_t random;
	int64_t values; /* how many it has made */
	PGconn *conn;
	Seen seen[N_FAMILIES];
} Client;

static const char *process_name;
static uint64_t seed;
static int think_ms;

static FILE *history;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows */
static long next_number = 1;
static int64_t began;
static int64_t last_ok;
static int64_t longest_gap;
static int64_t longest_gap_from;
static long counts[N_KINDS][3];
static long *seconds[3];
static long n_seconds;

static uint64_t
draw(Client *c)
{
	return draw_from(&c->random);
}

static int
below(Client *c, int n)
{
	return (int) (draw(c) % (uint64_t) n);
}

static bool
chance(Client *c, int percent)
{
	return below(c, 100) < percent;
}

/* ---- the history ---- */

static long
started(const Client *c, const Operation *o, const char *verb, int node)
{
	long number;

	pthread_mutex_lock(&lock);
	number = next_number++;
	/* The time is taken under the lock: lines stand in the order of their times. */
	fprintf(history, "s %" PRId64 " %s.%ld %d %s %s", now_us(), process_name, number, c->number,
			o->name, verb);
	if (o->request[0])
		fprintf(history, " req=%s", o->request);
	if (node != c->home)
		fprintf(history, " at=%d", node + 1);
	fprintf(history, "\n");
	fflush(history);
	pthread_mutex_unlock(&lock);
	return number;
}

static void finished(long number, Kind kind, Told told, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

static void
finished(long number, Kind kind, Told told, const char *format, ...)
{
	int64_t now;
	long second;
	va_list args;

	pthread_mutex_lock(&lock);
	now = now_us();
	fprintf(history, "f %" PRId64 " %s.%ld %s", now, process_name, number, told_words[told]);
	va_start(args, format);
	vfprintf(history, format, args);
	va_end(args);
	fprintf(history, "\n");
	fflush(history);
	counts[kind][told]++;
	second = (long) ((now - began) / 1000000);
	if (second >= n_seconds)
	{
		for (int i = 0; i < 3; i++)
		{
			seconds[i] = realloc(seconds[i], (size_t) (second + 600) * sizeof(long));
			if (seconds[i] == NULL)
				abort();
			memset(seconds[i] + n_seconds, 0, (size_t) (second + 600 - n_seconds) * sizeof(long));
		}
		n_seconds = second + 600;
	}
	seconds[told][second]++;
	if (told == TOLD_OK)
	{
		if (now - last_ok > longest_gap)
		{
			longest_gap = now - last_ok;
			longest_gap_from = last_ok;
		}
		last_ok = now;
	}
	pthread_mutex_unlock(&lock);
}

/* A value as the history writes it: no spaces, "-" for nothing. */
static void
copy_value(char *to, size_t size, const PGresult *r, int column)
{
	const char *from;
	size_t n = 0;

	if (PQntuples(r) == 0 || PQgetisnull(r, 0, column))
	{
		snprintf(to, size, "-");
		return;
	}
	for (from = PQgetvalue(r, 0, column); *from && n + 1 < size; from++)
		if (*from != ' ')
			to[n++] = *from;
	to[n] = '\0';
}

static void
note_seen(const Operation *o, const char *value)
{
	size_t len = strlen(value);

	if (len >= VALUE_BYTES)
		abort();
	memcpy(o->seen, value, len + 1);
}

static const char *
or_null(const char *s)
{
	return *s ? s : NULL;
}

/* ---- one attempt ---- */

static Told
read_once(Client *c, PGconn **conn, int node, const Operation *o)
{
	const char *values[1] = {o->key};
	char slot[24] = "";
	char value[VALUE_BYTES];
	long number = started(c, o, "read", node);
	PGresult *r;
	const char *why;
	Told told;

	if (wants_barrier(o->kind))
	{
		r = ask(conn, "SELECT paxos_barrier()", 0, NULL);
		told = judge(r, &why);
		if (told == TOLD_OK)
			snprintf(slot, sizeof(slot), "%s", PQgetvalue(r, 0, 0));
		else
			finished(number, o->kind, told, " %s", why);
		PQclear(r);
		if (told != TOLD_OK)
			return told;
	}
	r = ask(conn, statements[o->kind], 1, values);
	told = judge(r, &why);
	if (told == TOLD_OK)
	{
		copy_value(value, sizeof(value), r, 0);
		finished(number, o->kind, told, " cur=%s%s%s", value, slot[0] ? " slot=" : "", slot);
		note_seen(o, value);
	}
	else
		finished(number, o->kind, told, " %s", why);
	PQclear(r);
	return told;
}

/* An applied = t|f with its images, from columns 0 to 3. */
static void
tell_result(long number, Kind counted, const Operation *o, const PGresult *r)
{
	bool applied = PQgetvalue(r, 0, 0)[0] == 't';
	char previous[VALUE_BYTES];
	char current[VALUE_BYTES];

	copy_value(previous, sizeof(previous), r, 2);
	copy_value(current, sizeof(current), r, 3);
	/* The key of the history is the address, and the row of that number says nothing about it. */
	if (o->kind == SEAT_RESERVE || o->kind == SEAT_RELEASE)
		finished(number, counted, TOLD_OK, " applied=%c slot=%s", applied ? 't' : 'f',
				 PQgetvalue(r, 0, 1));
	else
	{
		finished(number, counted, TOLD_OK, " applied=%c prev=%s cur=%s slot=%s",
				 applied ? 't' : 'f', previous, current, PQgetvalue(r, 0, 1));
		note_seen(o, current);
	}
	if (o->kind == SEAT_RESERVE && applied)
		note_seen(o, o->new);
	else if (o->kind == SEAT_RELEASE)
		note_seen(o, "");
}

/* What a plain statement returned: the row, if it was one for which it does something. */
static void
tell_returned(long number, const Operation *o, const PGresult *r)
{
	char value[VALUE_BYTES];

	copy_value(value, sizeof(value), r, 0);
	if (PQntuples(r) == 0)
		finished(number, o->kind, TOLD_OK, " applied=f");
	else
		finished(number, o->kind, TOLD_OK, " applied=t %s=%s",
				 o->kind == NOTE_PLAIN_DELETE ? "prev" : "cur", value);
	note_seen(o, PQntuples(r) == 0 ? "" : o->kind == NOTE_PLAIN_DELETE ? "-" : value);
}

static Told
write_once(Client *c, PGconn **conn, int node, const Operation *o, Kind counted)
{
	const char *values[4] = {o->key, or_null(o->request), or_null(o->expected), or_null(o->new)};
	long number = started(c, o, o->verb, node);
	PGresult *r = ask(conn, statements[o->kind], 4, values);
	const char *why;
	Told told = judge(r, &why);

	if (told == TOLD_OK && is_plain(o->kind))
		tell_returned(number, o, r);
	else if (told == TOLD_OK)
		tell_result(number, counted, o, r);
	else if (told == TOLD_FAILED && o->kind == SEAT_RESERVE && strcmp(why, "23505") == 0)
	{
		/* Somebody has that address; whoever it is. */
		finished(number, counted, TOLD_OK, " applied=f");
		note_seen(o, "");
		told = TOLD_OK;
	}
	else
	{
		finished(number, counted, told, " %s", why);
		note_seen(o, "");
	}
	PQclear(r);
	return told;
}

/* Ask what became of it.  Unknown: still to be found out. */
static Told
outcome_once(Client *c, PGconn **conn, int node, const Operation *o)
{
	const char *values[1] = {o->request};
	long number = started(c, o, "outcome", node);
	PGresult *r = ask(conn, outcome_statement(o->kind), 1, values);
	const char *why;
	Told told = judge(r, &why);

	if (told != TOLD_OK)
	{
		/* Only the question failed. */
		finished(number, OUTCOME, TOLD_UNKNOWN, " %s", why);
		told = TOLD_UNKNOWN;
	}
	else if (strcmp(PQgetvalue(r, 0, 4), "unknown") == 0)
	{
		finished(number, OUTCOME, TOLD_OK, " undecided");
		told = TOLD_UNKNOWN;
	}
	else if (strcmp(PQgetvalue(r, 0, 4), "failed") == 0)
	{
		if (o->kind == SEAT_RESERVE && strcmp(PQgetvalue(r, 0, 5), "23505") == 0)
			finished(number, OUTCOME, TOLD_OK, " applied=f");
		else
			finished(number, OUTCOME, TOLD_FAILED, " %s", PQgetvalue(r, 0, 5));
	}
	else
		tell_result(number, OUTCOME, o, r);
	PQclear(r);
	return told;
}

/* The outcome is unknown: find it out, at whatever node answers. */
static void
insist(Client *c, const Operation *o)
{
	for (int tries = 0; tries < 12 && !stop; tries++)
	{
		int node = below(c, n_nodes);
		PGconn *conn = open_to(node, c->patience_ms);
		Told told;

		if (conn == NULL)
		{
			pause_ms(100);
			continue;
		}
		told = TOLD_UNKNOWN;
		if (chance(c, 40))
			told = outcome_once(c, &conn, node, o);
		if (told == TOLD_UNKNOWN && conn != NULL && !stop)
			told = write_once(c, &conn, node, o, RETRY);
		PQfinish(conn);
		/*
		 * "Failed" says that this attempt did nothing, so the question is
		 * still open, unless it failed where it was decided.
		 */
		if (told == TOLD_OK)
			return;
		pause_ms(50);
	}
}

/* ---- what to do next ---- */

static void
make_request_id(Client *c, Operation *o)
{
	uint64_t a = draw(c);
	uint64_t b = draw(c);

	/* Of this seed, client and moment: another run of the seed must not find it. */
	a ^= (uint64_t) now_us();
	snprintf(o->request, sizeof(o->request), "%08x-%04x-4%03x-8%03x-%04x%08x", (unsigned) (a >> 32),
			 (unsigned) (a >> 16 & 0xffff), (unsigned) (a & 0xfff), (unsigned) (b & 0xfff),
			 (unsigned) c->number, (unsigned) (b >> 32));
}

/* A number that nobody else ever writes. */
static int64_t
fresh(Client *c)
{
	return (int64_t) c->number * INT64_C(10000000) + ++c->values;
}

static void say(char *to, size_t size, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void
say(char *to, size_t size, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (vsnprintf(to, size, format, args) >= (int) size)
	{
		fprintf(stderr, "workload: a value is too long\n");
		abort();
	}
	va_end(args);
}

#define SAY(to, ...) say(to, sizeof(to), __VA_ARGS__)

static void
make_lock_value(char *to, size_t size, int64_t n)
{
	say(to, size, "{\"owner\": %" PRId64 ", \"token\": %" PRId64 "}", n % LOCK_BASE, n / LOCK_BASE);
}

static void
choose_register(Client *c, Operation *o, const char *seen, bool note)
{
	int dice = below(c, 100);
	char value[24];

	SAY(value, "%" PRId64, fresh(c));
	if (*seen == '\0' || dice < 25)
		o->kind = note ? NOTE_READ : KV_GET;
	else if (dice < 45)
	{
		o->kind = note ? NOTE_UPSERT : KV_PUT;
		SAY(o->verb, "put %s", value);
		SAY(o->new, "%s", value);
	}
	else if (dice < 90 || *seen == '-')
	{
		bool remove = *seen != '-' && chance(c, 5);

		o->kind = note ? NOTE_CAS : KV_CAS;
		SAY(o->verb, "cas %s %s", seen, remove ? "-" : value);
		SAY(o->expected, "%s", *seen == '-' ? "" : seen);
		SAY(o->new, "%s", remove ? "" : value);
	}
	else
	{
		bool any = !note && chance(c, 30);

		o->kind = note ? NOTE_DELETE : KV_DELETE;
		SAY(o->verb, "delete%s%s", any ? "" : " ", any ? "" : seen);
		SAY(o->expected, "%s", any ? "" : seen);
	}
}

static void
choose_list(Client *c, Operation *o, const char *seen)
{
	int elements = 0;

	for (const char *p = seen; *p; p++)
		elements += *p == ',';
	if (*seen == '\0' || chance(c, 15))
		o->kind = LIST_GET;
	else
	{
		o->kind = LIST_APPEND;
		if (*seen == '-' || elements >= LONGEST_LIST)
			SAY(o->new, "[%" PRId64 "]", fresh(c));
		else
			SAY(o->new, "%.*s,%" PRId64 "]", (int) strlen(seen) - 1, seen, fresh(c));
		SAY(o->expected, "%s", *seen == '-' ? "" : seen);
		SAY(o->verb, "cas %s %s", seen, o->new);
	}
}

/* Free: nobody's, or what nobody has made yet. */
static void
choose_lock(Client *c, Operation *o, const char *seen)
{
	int64_t held = *seen == '-' ? 0 : strtoll(seen, NULL, 10);
	int64_t owner = held % LOCK_BASE;
	int64_t then;

	if (*seen == '\0' || (owner != 0 && owner != c->number && !chance(c, 10)))
	{
		o->kind = LOCK_GET;
		return;
	}
	if (owner == c->number)
	{
		o->kind = LOCK_RELEASE;
		then = held - owner;
	}
	else
	{
		o->kind = LOCK_ACQUIRE;
		then = held - owner + LOCK_BASE + c->number;
	}
	if (*seen != '-')
		make_lock_value(o->expected, sizeof(o->expected), held);
	make_lock_value(o->new, sizeof(o->new), then);
	SAY(o->verb, "cas %s %" PRId64, seen, then);
}

static void
choose_account(Client *c, Operation *o, const char *seen)
{
	int dice = below(c, 100);

	if (*seen == '\0' || dice < 20)
		o->kind = ACCOUNT_READ;
	else if (*seen == '-' || dice < 26)
	{
		o->kind = ACCOUNT_OPEN;
		SAY(o->verb, "insert 20");
	}
	else if (dice < 50)
	{
		o->kind = ACCOUNT_DEPOSIT;
		SAY(o->verb, "add 5");
	}
	else
	{
		o->kind = ACCOUNT_WITHDRAW;
		SAY(o->verb, "add -3 >=3");
	}
}

static void
choose_seat(Client *c, Operation *o, const char *seen)
{
	int dice = below(c, 100);

	if (*seen == '\0' ? dice < 40 : dice < 10)
		o->kind = SEAT_READ;
	else if (*seen == '\0' || *seen == '-')
	{
		o->kind = SEAT_RESERVE;
		SAY(o->new, "%" PRId64, fresh(c));
		SAY(o->verb, "insert %s", o->new);
	}
	else
	{
		o->kind = SEAT_RELEASE;
		SAY(o->expected, "%s", seen);
		SAY(o->verb, "delete %s", seen);
	}
}

/* Half of what can be said in plain SQL is. */
static Kind
plainly(Client *c, const Operation *o)
{
	if (!chance(c, 50))
		return o->kind;
	switch (o->kind)
	{
		case NOTE_UPSERT:
			return NOTE_PLAIN_UPSERT;
		case NOTE_CAS:
			return o->expected[0] && o->new[0] ? NOTE_PLAIN_UPDATE : o->kind;
		case NOTE_DELETE:
			return NOTE_PLAIN_DELETE;
		case ACCOUNT_OPEN:
			return ACCOUNT_PLAIN_INSERT;
		case ACCOUNT_DEPOSIT:
			return ACCOUNT_PLAIN_DEPOSIT;
		case ACCOUNT_WITHDRAW:
			return ACCOUNT_PLAIN_WITHDRAW;
		default:
			return o->kind;
	}
}

static void
choose(Client *c, Operation *o)
{
	static const char *const prefixes[N_FAMILIES] = {"kv/r",  "kv/l",  "kv/k",
													 "note/", "acct/", "seat/"};
	static const int shares[N_FAMILIES] = {25, 12, 13, 15, 20, 15};
	int64_t era = now_us() / KEY_TIME_US;
	int dice = below(c, 100);
	int family = 0;
	int key = below(c, KEYS);
	Seen *seen;

	while (dice >= shares[family])
		dice -= shares[family++];
	seen = &c->seen[family];
	if (seen->era != era)
	{
		seen->era = era;
		for (int i = 0; i < KEYS; i++)
			seen->value[i][0] = '\0';
	}
	memset(o, 0, sizeof(*o));
	o->seen = seen->value[key];
	SAY(o->name, "%s%" PRId64 ".%d", prefixes[family], era, key);
	SAY(o->key, "%s", strncmp(o->name, "kv/", 3) == 0 ? o->name + 3 : o->name + 5);
	switch ((Family) family)
	{
		case REGISTERS:
		case NOTES:
			choose_register(c, o, o->seen, family == NOTES);
			break;
		case LISTS:
			choose_list(c, o, o->seen);
			break;
		case LOCKS:
			choose_lock(c, o, o->seen);
			break;
		case ACCOUNTS:
			choose_account(c, o, o->seen);
			break;
		case SEATS:
		default:
			choose_seat(c, o, o->seen);
			break;
	}
	o->kind = plainly(c, o);
	if (!is_read(o->kind) && !is_plain(o->kind) && chance(c, 50))
		make_request_id(c, o);
}

static void
client_main(const Start *start)
{
	Client client = {.number = start->number,
					 .home = start->home,
					 .patience_ms = start->patience_ms,
					 .random = start->random};
	Client *c = &client;

	while (!stop)
	{
		Operation o;
		Told told;

		if (!keep_open(&c->conn, c->home, c->patience_ms))
		{
			pause_ms(50 + below(c, 100));
			continue;
		}
		choose(c, &o);
		if (is_read(o.kind))
			told = read_once(c, &c->conn, c->home, &o);
		else
			told = write_once(c, &c->conn, c->home, &o, o.kind);
		if (told == TOLD_UNKNOWN && o.request[0] && chance(c, 80))
			insist(c, &o);
		if (told != TOLD_OK)
			pause_ms(5 + below(c, 20));
		else if (think_ms > 0)
			pause_ms(below(c, 2 * think_ms + 1));
	}
	PQfinish(c->conn);
}

/* ---- the end ---- */

static int
figures(int64_t ended)
{
	long all[3] = {0, 0, 0};
	int status = 0;

	if (ended - last_ok > longest_gap)
	{
		longest_gap = ended - last_ok;
		longest_gap_from = last_ok;
	}
	printf("%-20s %9s %9s %9s\n", "", "ok", "failed", "unknown");
	for (int k = 0; k < N_KINDS; k++)
	{
		printf("%-20s %9ld %9ld %9ld\n", kind_names[k], counts[k][0], counts[k][1], counts[k][2]);
		for (int i = 0; i < 3; i++)
			all[i] += counts[k][i];
		/* Nothing to retry is luck; all others must have worked. */
		if (counts[k][0] == 0 && (k < RETRY || counts[k][1] + counts[k][2] > 10))
		{
			printf("no %s ever succeeded\n", kind_names[k]);
			status = 1;
		}
	}
	printf("second: ok failed unknown\n");
	for (long s = 0; s <= (ended - began) / 1000000 && s < n_seconds; s++)
		printf("%6ld: %ld %ld %ld\n", s, seconds[0][s], seconds[1][s], seconds[2][s]);
	printf("longest without a success: %.3f s, from %.3f s on\n", (double) longest_gap / 1e6,
		   (double) (longest_gap_from - began) / 1e6);
	printf("WORKLOAD name=%s seed=%" PRIu64 " seconds=%.1f operations=%ld ok=%ld failed=%ld "
		   "unknown=%ld retries=%ld longest_gap_ms=%" PRId64 "\n",
		   process_name, seed, (double) (ended - began) / 1e6, all[0] + all[1] + all[2], all[0],
		   all[1], all[2], counts[RETRY][0] + counts[RETRY][1] + counts[RETRY][2],
		   longest_gap / 1000);
	return status;
}

static int
usage(void)
{
	fprintf(stderr,
			"usage: workload --setup --conninfo C...\n"
			"       workload --history FILE [--seed N] [--clients K] [--home I] [--name W]\n"
			"                [--seconds S] [--think MS] --conninfo C...\n");
	return 2;
}

int
main(int argc, char **argv)
{
	Options options = {.name = "w", .seed = 1, .per_node = 4, .think_ms = 5};

	if (!read_options(argc, argv, &options))
		return usage();
	process_name = options.name;
	seed = options.seed;
	think_ms = options.think_ms;
	if (options.setup)
		return make_tables("workload", set_up, (int) (sizeof(set_up) / sizeof(set_up[0])));
	began = last_ok = now_us();
	if (!run_clients("workload", &options, &history, client_main))
		return 2;
	return figures(stopped_at);
}
