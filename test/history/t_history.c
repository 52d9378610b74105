/*
 * t_history.c
 *	  Tests of the linearizability checker.
 *
 * usage: t_history [ROUNDS [SEED]]
 *
 * Histories written by hand (t_cases.c); then generated ones, small enough to try
 * all orders, which must always come to the checker's verdict: valid histories of a
 * simulated key-value store with real concurrency, the same with one thing
 * changed, and pure noise; then long valid ones, which must be accepted in few
 * steps, and the same with one result changed, which must be found.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "t_history.h"

static int passed;
static int failed;

void
expect(bool good, const char *format, ...)
{
	va_list args;

	if (good)
	{
		passed++;
		return;
	}
	failed++;
	printf("not ok - ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/* ---- random numbers ---- */

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
	seed = hist_mix(seed, n);
	return seed % n;
}

static bool
chance(unsigned permille)
{
	return below(1000) < permille;
}

/* ---- a store that is right ---- */

typedef enum flavour
{
	MIXED,    /* everything on one key, few values */
	REGISTER, /* distinct values, mostly compare-and-set */
	COUNTER,
	LIST,
	N_FLAVOURS
} flavour;

/* How a history is to be. */
typedef struct plan
{
	flavour flavour;
	int operations;
	int clients;
	int keys;
	unsigned unknown;  /* permille */
	unsigned silent;   /* permille of fields not told */
	unsigned requests; /* permille of operations with a request number */
} plan;

static hist_value
some_value(const plan *p)
{
	if (p->flavour == REGISTER)
		return hist_number((int64_t) (seed >> 20)); /* as good as distinct */
	return hist_number((int64_t) below(3));
}

static hist_op
some_op(const plan *p, const hist_value *state)
{
	hist_op op;

	memset(&op, 0, sizeof(op));
	op.at_least = INT64_MIN;
	op.at_most = INT64_MAX;
	op.key = (uint32_t) below((uint64_t) p->keys);
	switch (p->flavour)
	{
		case MIXED:
			op.kind = (hist_kind) below(HIST_OUTCOME);
			break;
		case REGISTER:
			op.kind = (hist_kind[]){HIST_READ, HIST_CAS,    HIST_CAS,
									HIST_PUT,  HIST_INSERT, HIST_DELETE}[below(6)];
			break;
		case COUNTER:
			op.kind = chance(300) ? HIST_READ : HIST_ADD;
			break;
		default:
			op.kind = chance(300) ? HIST_READ : HIST_APPEND;
			break;
	}
	/* A list among numbers cannot be appended to; the store has no such errors. */
	if (op.kind == HIST_APPEND && p->flavour == MIXED)
		op.kind = HIST_READ;
	op.value = some_value(p);
	op.expected = some_value(p);
	/* else hardly any condition would hold */
	if (p->flavour == REGISTER && chance(800))
		op.expected = state[op.key];
	if (op.kind == HIST_CAS && chance(100))
		op.value = hist_absent();
	if (op.kind == HIST_CAS && chance(100))
		op.expected = hist_absent();
	op.any = op.kind == HIST_DELETE && chance(500);
	op.delta = (int64_t) below(3) + (op.kind == HIST_APPEND ? (int64_t) (seed % 1000) * 3 : 0);
	if (p->flavour == COUNTER)
		op.delta = chance(600) ? 5 : -3;
	if (op.kind == HIST_ADD && chance(500))
		op.at_least = -op.delta;
	return op;
}

typedef struct running
{
	hist_op op;
	uint32_t number;
	bool busy;
	bool done;
	bool lost; /* the client will hear nothing */
	hist_result result;
} running;

/*
 * Steps in random order: a client begins, its operation takes effect, it is told.
 * A lost one may take effect at any time later.  A client whose operation
 * with a request number was lost tries again; what the store did first it tells
 * again.
 */
static void
make_valid(hist *h, const plan *p)
{
	running r[64];
	hist_value state[16];
	struct
	{
		hist_op op;
		bool done;
		hist_result result;
	} lost[64];
	int n_lost = 0;
	int begun = 0;
	int active = 0;
	uint64_t now = 1;
	uint64_t slot = 1;
	uint64_t request = 0;

	hist_reset(h);
	memset(r, 0, sizeof(r));
	for (int k = 0; k < p->keys; k++)
	{
		char name[16];

		snprintf(name, sizeof(name), "k%d", k);
		state[k] = p->flavour == COUNTER ? hist_number(100) : hist_absent();
		hist_initial(h, hist_key(h, name), state[k]);
	}
	while (begun < p->operations || active > 0)
	{
		running *c = &r[below((uint64_t) p->clients)];

		now += below(3);
		if (n_lost > 0 && chance(100))
		{
			int i = (int) below((uint64_t) n_lost);
			bool applied;

			/* Something nobody waits for any more takes effect. */
			if (!lost[i].done)
			{
				lost[i].result.previous = state[lost[i].op.key];
				if (!hist_apply(&lost[i].op, state[lost[i].op.key], &applied,
								&state[lost[i].op.key]))
					abort();
				lost[i].done = true;
				lost[i].result.current = state[lost[i].op.key];
				lost[i].result.applied = applied;
				lost[i].result.slot = slot++;
			}
		}
		if (!c->busy)
		{
			int again = -1;

			if (begun == p->operations)
				continue;
			begun++;
			active++;
			memset(c, 0, sizeof(*c));
			for (int i = 0; i < n_lost; i++)
				if (lost[i].op.request != 0 && chance(500))
					again = i;
			if (again >= 0)
			{
				c->op = lost[again].op;
				c->done = lost[again].done;
				c->result = lost[again].result;
				lost[again] = lost[--n_lost];
				if (chance(200) && c->done)
					c->op.kind = HIST_OUTCOME;
			}
			else
			{
				c->op = some_op(p, state);
				if (c->op.kind != HIST_READ && chance(p->requests))
					c->op.request = ++request;
			}
			c->op.client = (uint32_t) (c - r);
			c->busy = true;
			c->lost = chance(p->unknown);
			c->number = hist_begin(h, &c->op, now);
		}
		else if (!c->done && (!c->lost || chance(300)))
		{
			hist_value before = state[c->op.key];

			if (!hist_apply(&c->op, before, &c->result.applied, &state[c->op.key]))
				abort();
			c->result.previous = before;
			c->result.current = state[c->op.key];
			/* several to a slot now and then; a read gets that of its barrier */
			if (c->op.kind == HIST_READ)
				c->result.slot = slot - 1;
			else
				c->result.slot = slot++;
			c->done = true;
		}
		else
		{
			hist_result result = c->result;

			result.told = c->lost ? HIST_UNKNOWN : HIST_OK;
			result.known = HIST_APPLIED | HIST_PREVIOUS | HIST_CURRENT;
			if (c->op.kind == HIST_READ)
				result.known = HIST_CURRENT;
			else
			{
				if (chance(p->silent))
					result.known &= ~(unsigned) HIST_APPLIED;
				if (chance(p->silent))
					result.known &= ~(unsigned) HIST_PREVIOUS;
				if (chance(p->silent))
					result.known &= ~(unsigned) HIST_CURRENT;
			}
			if (chance(p->silent / 4))
				result.slot = 0;
			if (!c->lost || chance(500))
				hist_end(h, c->number, now, &result);
			if (c->lost && n_lost < 64 && c->op.kind != HIST_OUTCOME)
			{
				lost[n_lost].op = c->op;
				lost[n_lost].done = c->done;
				lost[n_lost++].result = c->result;
			}
			c->busy = false;
			active--;
		}
	}
}

/* ---- changes ---- */

static hist_value
other_value(const hist *h, hist_value v)
{
	/* one that occurs, or a new one */
	for (int i = 0; i < 4; i++)
	{
		const hist_attempt *a = &h->attempts[below(h->n_attempts)];
		hist_value o = (hist_value[]){a->op.value, a->result.previous, a->result.current,
									  hist_absent()}[below(4)];

		if (!hist_equal(o, v))
			return o;
	}
	return hist_number((int64_t) below(5));
}

/* Change one thing. */
static void
mutate(hist *h)
{
	hist_attempt *a = &h->attempts[below(h->n_attempts)];
	hist_attempt *b = &h->attempts[below(h->n_attempts)];
	uint64_t slot;

	switch (below(9))
	{
		case 0:
			a->result.applied = !a->result.applied;
			break;
		case 1:
			a->result.current = other_value(h, a->result.current);
			break;
		case 2:
			a->result.previous = other_value(h, a->result.previous);
			break;
		case 3:
			if (a->op.kind != HIST_OUTCOME)
				a->result.told = (hist_told) below(3);
			break;
		case 4:
			if (a->end != HIST_NEVER)
			{
				uint64_t delta = below(6);

				a->begin += delta;
				a->end += delta;
			}
			break;
		case 5:
			if (a->end != HIST_NEVER)
				a->end = a->begin + below(a->end - a->begin + 1);
			break;
		case 6:
			slot = a->result.slot;
			a->result.slot = b->result.slot;
			b->result.slot = slot;
			break;
		case 7:
			/* two operations in one slot */
			a->result.slot = b->result.slot;
			break;
		default:
			if (a->op.request == 0 || b->op.request == 0)
				break;
			a->op.request = b->op.request; /* most often another operation: refused */
			break;
	}
}

/* A few operations, told anything. */
static void
make_noise(hist *h)
{
	plan p = {(flavour) below(N_FLAVOURS), 1, 1, 1 + (int) below(2), 0, 0, 0};
	int n = 2 + (int) below(5);
	hist_value none[2] = {{HIST_ABSENT, 0, 0}, {HIST_ABSENT, 0, 0}};

	hist_reset(h);
	hist_key(h, "a");
	hist_key(h, "b");
	for (int i = 0; i < n; i++)
	{
		hist_op op = some_op(&p, none);
		uint64_t begin = below(8);
		hist_result r;
		uint32_t number;
		hist_value list = hist_empty_list();

		if (p.flavour == REGISTER)
			op.value = hist_number((int64_t) below(4));
		if (p.flavour == REGISTER && chance(500))
			op.expected = hist_number((int64_t) below(4));
		if (op.kind == HIST_ADD)
			op.delta = chance(500) ? 1 : 2;
		if (op.kind == HIST_APPEND)
			op.delta = (int64_t) below(2);
		if (op.kind != HIST_READ && chance(200))
			op.request = 1 + below(2);
		if (op.request != 0 && chance(200))
			op.kind = HIST_OUTCOME;
		memset(&r, 0, sizeof(r));
		r.told = chance(700) ? HIST_OK : (hist_told) below(3);
		r.known = (unsigned) below(op.kind == HIST_OUTCOME ? 16 : 8);
		if (r.known & HIST_UNDECIDED)
			r.known = HIST_UNDECIDED;
		r.applied = chance(600);
		for (uint64_t k = below(3); k > 0; k--)
			list = hist_append(list, (int64_t) below(2));
		r.previous = chance(300)         ? hist_absent()
					 : p.flavour == LIST ? list
										 : hist_number((int64_t) below(4));
		r.current = chance(200)         ? hist_absent()
					: p.flavour == LIST ? hist_append(list, (int64_t) below(2))
										: hist_number((int64_t) below(4));
		if (chance(300))
			r.slot = 1 + below(3);
		number = hist_begin(h, &op, begin);
		if (chance(950))
			hist_end(h, number, begin + below(6), &r);
	}
	if (chance(500))
		hist_initial(h, 0, p.flavour == LIST ? hist_empty_list() : hist_number((int64_t) below(3)));
}

/* ---- the rounds ---- */

static unsigned long n_valid;
static unsigned long n_invalid;

/* Both checkers come to the verdict of trying all orders. */
static void
compare(hist *h, const char *what, uint64_t round)
{
	bool search = brute_linearizable(h, false);
	bool slots = brute_linearizable(h, true);
	hist_verdict v = hist_check(h, NULL);
	bool good;

	if (v != (search ? HIST_LINEARIZABLE : HIST_VIOLATION))
	{
		expect(false, "%s, round %" PRIu64 ": search says %d, all orders %d", what, round, v,
			   search);
		printf("%s", hist_why(h));
		for (uint32_t i = 1; i <= h->n_attempts; i++)
		{
			h->text_len = 0;
			hist_say_attempt(h, i);
			printf("key %" PRIu32 "%s", h->attempts[i - 1].op.key, h->text);
		}
		return;
	}
	good = v == HIST_LINEARIZABLE ? *hist_why(h) == '\0' : *hist_why(h) != '\0';
	v = hist_check_slots(h, NULL);
	if (v != (slots ? HIST_LINEARIZABLE : HIST_VIOLATION))
	{
		expect(false, "%s, round %" PRIu64 ": by slots says %d, all orders %d", what, round, v,
			   slots);
		printf("%s", hist_why(h));
		for (uint32_t i = 1; i <= h->n_attempts; i++)
		{
			h->text_len = 0;
			hist_say_attempt(h, i);
			printf("key %" PRIu32 "%s", h->attempts[i - 1].op.key, h->text);
		}
		return;
	}
	expect(good, "%s, round %" PRIu64 ": no explanation", what, round);
	if (search)
		n_valid++;
	else
		n_invalid++;
}

static void
run_small(hist *h, uint64_t rounds, uint64_t first)
{
	for (uint64_t i = 0; i < rounds; i++)
	{
		plan p;

		seed = hist_mix(first, i);
		p = (plan){(flavour) below(N_FLAVOURS), 3 + (int) below(5),    1 + (int) below(4),
				   1 + (int) below(2),          (unsigned) below(500), (unsigned) below(1000),
				   chance(300) ? 400 : 0};
		make_valid(h, &p);
		expect(hist_check(h, NULL) == HIST_LINEARIZABLE, "valid, round %" PRIu64 ": refused: %s", i,
			   hist_why(h));
		expect(hist_check_slots(h, NULL) == HIST_LINEARIZABLE,
			   "valid, round %" PRIu64 ": refused by slots: %s", i, hist_why(h));
		compare(h, "valid", i);
		for (int k = 0; k < 3; k++)
		{
			mutate(h);
			compare(h, "changed", i);
		}
		make_noise(h);
		compare(h, "noise", i);
	}
}

/* Long histories: accepted, within a budget of steps; one wrong result: found. */
static void
run_long(hist *h, uint64_t first)
{
	static const plan plans[] = {
		{REGISTER, 20000, 30, 10, 20, 0, 100}, {COUNTER, 20000, 30, 10, 20, 0, 100},
		{LIST, 20000, 30, 10, 20, 0, 100},     {MIXED, 5000, 10, 10, 20, 0, 100},
		{REGISTER, 1000, 8, 1, 50, 100, 300},
	};

	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
	{
		hist_attempt *a;
		clock_t t;
		uint64_t steps;
		hist_verdict v;

		seed = hist_mix(first, i + 1000000);
		make_valid(h, &plans[i]);
		t = clock();
		v = hist_check(h, NULL);
		steps = hist_steps(h);
		printf("# long %zu: %zu attempts, search %" PRIu64 " steps %.0f ms", i, h->n_attempts,
			   steps, (double) (clock() - t) * 1000 / CLOCKS_PER_SEC);
		expect(v == HIST_LINEARIZABLE, "long %zu: search says %d: %s", i, v, hist_why(h));
		t = clock();
		v = hist_check_slots(h, NULL);
		printf(", by slots %" PRIu64 " steps %.0f ms\n", hist_steps(h),
			   (double) (clock() - t) * 1000 / CLOCKS_PER_SEC);
		expect(v == HIST_LINEARIZABLE, "long %zu: by slots says %d: %s", i, v, hist_why(h));
		do
			a = &h->attempts[below(h->n_attempts)];
		while (a->result.told != HIST_OK || !(a->result.known & HIST_CURRENT));
		a->result.current = hist_number(-77777);
		expect(hist_check(h, NULL) == HIST_VIOLATION, "long %zu: a wrong result is not found", i);
		expect(hist_check_slots(h, NULL) == HIST_VIOLATION,
			   "long %zu: a wrong result is not found by slots", i);
	}
}

int
main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
	uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	hist *h = hist_new();

	run_cases(h);
	run_small(h, rounds, first);
	run_long(h, first);
	printf("# generated: %lu linearizable, %lu not\n", n_valid, n_invalid);
	expect(n_valid > rounds && n_invalid > rounds, "generated histories are one-sided");
	hist_free(h);
	printf("%d passed, %d failed\n", passed, failed);
	return failed != 0;
}
