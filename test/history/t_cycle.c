/*
 * t_cycle.c
 *	  Tests of the checker of isolation (cycle.h): one history for each thing it looks
 *	  for, and one close to it where nothing is wrong; then long generated ones: snapshot
 *	  isolation and serial execution as they should be, and with one rule broken.
 *
 * usage: t_cycle [ROUNDS [SEED]]
 */
#include "cycle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int passed;
static int failed;
static cycle *c;

static void
expect(bool good, const char *what)
{
	if (good)
		passed++;
	else
	{
		failed++;
		printf("not ok - %s\n%s", what, cycle_why(c));
	}
}

/* NULL: nothing is wrong; else a word of what is. */
static void
check(const char *what, const char *wrong, const char *text)
{
	char copy[2048];
	FILE *f;
	bool good;

	cycle_reset(c);
	snprintf(copy, sizeof(copy), "%s", text);
	f = fmemopen(copy, strlen(copy), "r");
	good = cycle_file(c, f, "case") && cycle_check(c);
	fclose(f);
	expect(wrong == NULL ? good : !good && strstr(cycle_why(c), wrong) != NULL, what);
}

static void
by_hand(void)
{
	check("nothing", NULL, "# no line\n");
	check("one after the other", NULL,
		  "t 1 2 a rc ok +x=1\nt 3 4 b rr ok x:1 +x=2\nt 5 6 z ser ok final x:1,2\n");
	check("not understood", "not understood", "t 1 2 a rc ok ?\n");
	check("no level", "not understood", "t 1 2 a xx ok\n");
	check("no number", "not understood", "t 1 2 a rc ok x:1,b\n");
	check("what a client says", "a client says", "! the sum is 3\n");
	check("the same element twice in the history", "no good",
		  "t 1 2 a rc ok +x=1\nt 3 4 b rc ok +x=1\n");

	check("written by nobody", "nobody", "t 3 4 b rc ok x:7\n");
	check("appended elsewhere", "was appended to", "t 1 2 a rc ok +x=1\nt 3 4 b rc ok y:1\n");
	check("twice", "twice", "t 1 2 a rc ok +x=1\nt 3 4 b rc ok x:1,1\n");
	check("aborted read", "G1a", "t 1 2 a rc failed +x=1\nt 3 4 b rc ok x:1\n");
	check("rolled back to a savepoint", "G1a", "t 1 2 a rc ok -x=1 +x=2\nt 3 4 b rc ok x:1,2\n");
	check("rolled back, and not there", NULL, "t 1 2 a rc ok -x=1 +x=2\nt 3 4 b rc ok x:2\n");
	check("unknown, and there", NULL, "t 1 2 a rc unknown +x=1\nt 3 4 b rc ok x:1\n");
	check("unknown, and not there", NULL,
		  "t 1 2 a rc unknown +x=1 +y=2\nt 3 4 b rc ok final x: y:\n");
	check("unknown, and there in part", "in part",
		  "t 1 2 a rc unknown +x=1 +y=2\nt 3 4 b rc ok final x:1 y:\n");
	check("lost", "lost", "t 1 2 a rc ok +x=1\nt 3 4 b rc ok final x:\n");
	check("not there yet", NULL, "t 1 2 a rc ok +x=1\nt 3 4 b rc ok x:\n");
	check("no order", "no order",
		  "t 1 2 a rc ok +x=1\nt 1 2 b rc ok +x=2\nt 3 4 c rc ok x:1,2\nt 3 4 d rc ok x:2,1\n");
	check("the end is behind", "had been read before",
		  "t 1 2 a rc ok +x=1\nt 3 4 b rc ok x:1\nt 5 6 z ser ok final x:\n");
	check("in the middle", "G1b",
		  "t 1 2 a rc ok +x=1 +x=2\nt 3 4 b rc ok x:1\nt 3 4 b rc ok x:1,2\n");
	check("torn", "G1b", "t 1 9 a rc ok +x=1 +x=2\nt 1 9 b rc ok +x=3\nt 3 4 c rc ok x:1,3,2\n");
	check("turned round", "G1b", "t 1 9 a rc ok +x=1 +x=2\nt 3 4 c rc ok x:2,1\n");
	check("own elements", NULL, "t 1 2 a rc ok x: +x=1 x:1 +x=2 x:1,2\n");
	check("own elements not seen", "its own", "t 1 2 a rc ok +x=1 x:\n");
	check("own elements in the wrong place", "its own",
		  "t 1 9 a rc ok +x=1 x:1,2\nt 1 9 b rc ok +x=2\n");
	check("not repeatable", "not the same",
		  "t 1 9 a rr ok x: x:1\nt 1 9 b rc ok +x=1\nt 3 9 c rc ok x:1\n");
	check("nor need it be", NULL, "t 1 9 a rc ok x: x:1\nt 1 9 b rc ok +x=1\n");
	check("real time", "had ended",
		  "t 1 2 a rc ok +x=1\nt 3 4 b rc ok +x=2\nt 5 6 c rc ok x:2,1\n");
	check("at the same time", NULL,
		  "t 1 3 a rc ok +x=1\nt 3 4 b rc ok +x=2\nt 5 6 c rc ok x:2,1\n");
	check("unknown ends later", NULL,
		  "t 1 2 a rc unknown +x=1\nt 3 4 b rc ok +x=2\nt 5 6 c rc ok x:2,1\n");

	check("G0", "(G0)",
		  "t 1 9 a rc ok +x=1 +y=2\nt 1 9 b rc ok +x=3 +y=4\nt 9 9 z rc ok final x:1,3 y:4,2\n");
	check("G1c", "(G1c)",
		  "t 1 9 a rc ok +x=1 y:2\nt 1 9 b rc ok +y=2 x:1\nt 9 9 z rc ok final x:1 y:2\n");
	check("lost update", "G-single",
		  "t 1 9 a rr ok x: +x=1\nt 1 9 b rr ok x: +x=2\nt 9 9 z rc ok final x:1,2\n");
	check("which READ COMMITTED allows", NULL,
		  "t 1 9 a rc ok x: +x=1\nt 1 9 b rc ok x: +x=2\nt 9 9 z rc ok final x:1,2\n");
	check("by whom it is", "b (rr) -rw-> a (rc)",
		  "t 1 9 a rc ok x: +x=1\nt 1 9 b rr ok x: +x=2\nt 9 9 z rc ok final x:1,2\n");
	check("and by whom not", NULL,
		  "t 1 9 a rr ok x: +x=1\nt 1 9 b rc ok x: +x=2\nt 9 9 z rc ok final x:1,2\n");
	check("read skew", "G-single",
		  "t 1 9 a rc ok +x=1 +y=2\nt 1 9 b rr ok x:1 y:\nt 9 9 z rc ok final x:1 y:2\n");
	check("over a third", "G-single",
		  "t 1 9 a rc ok +x=1\nt 1 9 b rc ok x:1 +y=2\nt 1 9 c rr ok x: y:2\n"
		  "t 9 9 z rc ok final x:1 y:2\n");
	check("of an unknown one that is there", "G-single",
		  "t 1 9 a rr unknown x: +x=1\nt 1 9 b rr ok x: +x=2\nt 9 9 z rc ok final x:2,1\n");
	check("of one that failed it does not count", NULL,
		  "t 1 9 a rr failed x:2 y:\nt 1 9 b rr ok +x=2 +y=3\nt 9 9 z rc ok final x:2 y:3\n");
	check("write skew", NULL,
		  "t 1 9 a rr ok x: y: +x=1\nt 1 9 b rr ok x: y: +y=2\nt 9 9 z rc ok final x:1 y:2\n");
	expect(cycle_count(c).skews == 1, "which is counted");
	check("of serializable ones", "(G2)",
		  "t 1 9 a ser ok x: y: +x=1\nt 1 9 b ser ok x: y: +y=2\nt 9 9 z rc ok final x:1 y:2\n");
	check("half of it", NULL,
		  "t 1 9 a ser ok x: y: +x=1\nt 1 9 b rr ok x: y: +y=2\nt 9 9 z rc ok final x:1 y:2\n");
	check("a reader sees it", "(G2)",
		  "t 1 9 a ser ok x: +x=1\nt 1 9 b ser ok x: +y=2\nt 1 9 c ser ok x: y:2\n"
		  "t 2 9 d ser ok x:1 +z=5\nt 2 9 e ser ok z:5 y:\nt 9 9 z rc ok final x:1 y:2 z:5\n");
}

/* ---- generated ---- */

#define KEYS 4
#define CLIENTS 5
#define MOST 4000

static uint64_t seed;

static uint64_t
below(uint64_t n)
{
	seed += UINT64_C(0x9E3779B97F4A7C15);
	return ((seed ^ (seed >> 29)) * UINT64_C(0xBF58476D1CE4E5B9) >> 20) % n;
}

typedef enum broken
{
	NOTHING,
	FIRST_COMMITTER_LOSES,
	READS_ARE_NOT_CHECKED,
	STALE_SNAPSHOT_OF_A_KEY,
	APPEND_FORGOTTEN,
	N_BROKEN
} broken;

typedef struct running
{
	bool open;
	uint32_t txn;
	cycle_level level;
	size_t snapshot[KEYS];
	bool writes[KEYS];
	bool reads[KEYS];
} running;

/* Clients on one copy, with snapshots; each commit is judged as the rules say. */
static bool
generated(broken how)
{
	static int64_t lists[KEYS][MOST];
	size_t n[KEYS] = {0};
	running clients[CLIENTS] = {{false, 0, CYCLE_SERIALIZABLE, {0}, {false}, {false}}};
	int64_t next = 1;
	uint64_t now = 1;

	cycle_reset(c);
	for (uint32_t k = 0; k < KEYS; k++)
	{
		char name[8];

		snprintf(name, sizeof(name), "k%u", k);
		(void) cycle_key(c, name);
	}
	for (int step = 0; step < 600; step++, now++)
	{
		running *r = &clients[below(CLIENTS)];
		uint32_t k = (uint32_t) below(KEYS);

		if (!r->open)
		{
			memset(r, 0, sizeof(*r));
			r->open = true;
			r->level = below(2) == 0 ? CYCLE_SERIALIZABLE : CYCLE_REPEATABLE_READ;
			r->txn = cycle_begin(c, r->level, "t", now);
			memcpy(r->snapshot, n, sizeof(n));
		}
		else if (below(3) > 0)
		{
			size_t upto = r->snapshot[k];

			if (how == STALE_SNAPSHOT_OF_A_KEY && below(20) == 0)
				upto = upto / 2;
			if (below(2) == 0)
			{
				/* the element itself at the commit: here it is only meant */
				r->writes[k] = true;
			}
			else if (!r->reads[k])
			{
				cycle_read(c, r->txn, k, lists[k], upto);
				r->reads[k] = true;
			}
		}
		else
		{
			bool lost = false;

			for (int i = 0; i < KEYS; i++)
			{
				bool changed = n[i] > r->snapshot[i];

				lost |= changed && r->writes[i] && how != FIRST_COMMITTER_LOSES;
				lost |= changed && r->reads[i] && r->level == CYCLE_SERIALIZABLE &&
						how != READS_ARE_NOT_CHECKED && how != FIRST_COMMITTER_LOSES;
			}
			for (uint32_t i = 0; i < KEYS; i++)
				if (r->writes[i])
				{
					cycle_append(c, r->txn, i, next, false);
					if (!lost && !(how == APPEND_FORGOTTEN && below(100) == 0))
						lists[i][n[i]++] = next;
					next++;
				}
			cycle_end(c, r->txn, lost ? CYCLE_ABORTED : CYCLE_COMMITTED, now);
			r->open = false;
		}
	}
	for (int i = 0; i < CLIENTS; i++)
		if (clients[i].open)
			cycle_end(c, clients[i].txn, CYCLE_ABORTED, now);
	{
		uint32_t t = cycle_begin(c, CYCLE_SERIALIZABLE, "final", now + 1);

		cycle_final(c, t);
		for (uint32_t k = 0; k < KEYS; k++)
			cycle_read(c, t, k, lists[k], n[k]);
		cycle_end(c, t, CYCLE_COMMITTED, now + 2);
	}
	return cycle_check(c);
}

int
main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 300;
	int found[N_BROKEN] = {0};

	seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
	c = cycle_new();
	by_hand();
	for (int i = 0; i < rounds; i++)
		for (int how = 0; how < N_BROKEN; how++)
		{
			bool good = generated((broken) how);

			found[how] += !good;
			if (how == NOTHING)
				expect(good, "as it should be");
		}
	for (int how = 1; how < N_BROKEN; how++)
	{
		printf("# broken %d: found %d of %d times\n", how, found[how], rounds);
		expect(found[how] > rounds / 4, "what is broken is found");
	}
	cycle_free(c);
	printf("%d passed, %d failed\n", passed, failed);
	return failed > 0;
}
