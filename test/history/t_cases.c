/*
 * t_cases.c
 *	  Histories written by hand: what must be accepted, and one of each kind of
 *	  wrong that a cluster can do.  Each is read as a file would be, and judged by
 *	  both checkers and by trying all orders.
 */
#include <string.h>

#include "t_history.h"

typedef enum wanted
{
	GOOD,
	BAD,
	BAD_SLOTS /* an order exists, but not that of the slots */
} wanted;

typedef struct history_case
{
	wanted wanted;
	const char *name;
	const char *text;
	const char *says; /* part of the explanation */
} history_case;

static const history_case cases[] = {
	/* ---- good ---- */
	{GOOD, "nothing", "", NULL},
	{GOOD, "one after the other",
	 "s 1 1 1 k put 5\nf 2 1 ok applied=t prev=- cur=5 slot=1\n"
	 "s 3 2 2 k read\nf 4 2 ok cur=5\n",
	 NULL},
	{GOOD, "a read during a write sees the old value",
	 "i k 1\ns 1 1 1 k put 5\ns 2 2 2 k read\nf 3 2 ok cur=1\nf 4 1 ok applied=t slot=1\n", NULL},
	{GOOD, "a read during a write sees the new value",
	 "i k 1\ns 1 1 1 k put 5\ns 2 2 2 k read\nf 3 2 ok cur=5\nf 4 1 ok applied=t slot=1\n", NULL},
	{GOOD, "begin and end at the same time are concurrent",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 ok\ns 2 2 2 k read\nf 3 2 ok cur=1\n", NULL},
	{GOOD, "compare and set, one wins",
	 "i k 1\ns 1 1 1 k cas 1 2\ns 1 2 2 k cas 1 3\n"
	 "f 9 1 ok applied=f cur=3 slot=5\nf 9 2 ok applied=t prev=1 cur=3 slot=5\n",
	 NULL},
	{GOOD, "insert, delete, insert again",
	 "s 1 1 1 k insert 7\nf 2 1 ok applied=t cur=7 slot=1\n"
	 "s 3 2 1 k insert 8\nf 4 2 ok applied=f cur=7 slot=2\n"
	 "s 5 3 1 k delete\nf 6 3 ok applied=t prev=7 cur=- slot=3\n"
	 "s 7 4 1 k insert 8\nf 8 4 ok applied=t cur=8 slot=4\n",
	 NULL},
	{GOOD, "compare and set with nothing there, and to nothing",
	 "s 1 1 1 k cas - 7\nf 2 1 ok applied=t cur=7\ns 3 2 1 k cas 7 -\nf 4 2 ok applied=t cur=-\n"
	 "s 5 3 1 k read\nf 6 3 ok cur=-\n",
	 NULL},
	{GOOD, "an unknown write takes effect late",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 unknown 40003\ns 3 2 2 k read\nf 4 2 ok cur=1\n"
	 "s 5 3 2 k read\nf 6 3 ok cur=5\n",
	 NULL},
	{GOOD, "an unknown write never takes effect",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 unknown 40003\ns 3 2 2 k read\nf 4 2 ok cur=1\n"
	 "s 5 3 2 k read\nf 6 3 ok cur=1\n",
	 NULL},
	{GOOD, "what never finished may take effect",
	 "i k 1\ns 1 1 1 k put 5\ns 3 2 2 k read\nf 4 2 ok cur=5\n", NULL},
	{GOOD, "an unknown write that only another unknown one sees",
	 "i k 1\ns 1 1 1 k cas 1 2\nf 2 1 unknown\ns 3 2 1 k cas 2 3\nf 4 2 unknown\n"
	 "s 5 3 1 k read\nf 6 3 ok cur=3\n",
	 NULL},
	{GOOD, "counter with unknown additions in any number",
	 "i k 0\ns 1 1 1 k add 1\nf 2 1 unknown\ns 1 2 2 k add 1\nf 2 2 unknown\n"
	 "s 3 3 3 k add 1\nf 4 3 ok applied=t cur=2\ns 5 4 3 k add 1\nf 6 4 ok applied=t cur=4\n",
	 NULL},
	{GOOD, "a withdrawal that would overdraw is refused",
	 "i k 10\ns 1 1 1 k add -7 >=7\ns 1 2 2 k add -7 >=7\n"
	 "f 9 1 ok applied=t cur=3 slot=1\nf 9 2 ok applied=f cur=3 slot=2\n",
	 NULL},
	{GOOD, "adding to nothing is not applied", "s 1 1 1 k add 1\nf 2 1 ok applied=f cur=- slot=1\n",
	 NULL},
	{GOOD, "append, concurrently",
	 "s 1 1 1 k append 1\ns 1 2 2 k append 2\nf 5 1 ok cur=[2,1] slot=2\nf 5 2 ok cur=[2] slot=1\n"
	 "s 6 3 3 k read\nf 7 3 ok cur=[2,1]\n",
	 NULL},
	{GOOD, "append with an unknown one between",
	 "s 1 1 1 k append 1\nf 2 1 unknown\ns 1 2 2 k append 2\nf 2 2 unknown\n"
	 "s 3 3 3 k append 3\nf 4 3 ok cur=[2,3]\ns 5 4 4 k read\nf 6 4 ok cur=[2,3,1]\n",
	 NULL},
	{GOOD, "lists by compare and set",
	 "s 1 1 1 k cas - [1]\nf 2 1 ok applied=t cur=[1]\n"
	 "s 3 2 1 k cas [1] [1,2]\nf 4 2 ok applied=t cur=[1,2]\n",
	 NULL},
	{GOOD, "failed for sure, and not there",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 failed 57P03\ns 3 2 2 k read\nf 4 2 ok cur=1\n", NULL},
	{GOOD, "a retry is told the first result",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\n"
	 "s 3 2 2 k add 1 req=a\nf 4 2 ok applied=t cur=1 slot=3\n"
	 "s 5 3 2 k add 1 req=a\nf 6 3 ok applied=t cur=1 slot=3\ns 7 4 1 k read\nf 8 4 ok cur=1\n",
	 NULL},
	{GOOD, "a retry took effect with its first attempt",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k read\nf 4 2 ok cur=1\n"
	 "s 5 3 2 k add 1 req=a\nf 6 3 ok applied=t cur=1\n",
	 NULL},
	{GOOD, "an attempt failed for sure, the next did it",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 failed 57P03\n"
	 "s 3 2 2 k add 1 req=a\nf 4 2 ok applied=t cur=1\n",
	 NULL},
	{GOOD, "asked what became of it: applied",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k outcome req=a\nf 4 2 ok applied=t cur=1\n"
	 "s 5 3 2 k read\nf 6 3 ok cur=1\n",
	 NULL},
	{GOOD, "asked what became of it: not decided, and decided later",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k outcome req=a\nf 4 2 ok undecided\n"
	 "s 5 3 2 k read\nf 6 3 ok cur=0\ns 7 4 2 k read\nf 8 4 ok cur=1\n",
	 NULL},
	{GOOD, "asked what became of it: failed",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k outcome req=a\nf 4 2 failed 23514\n"
	 "s 5 3 2 k read\nf 6 3 ok cur=0\n",
	 NULL},
	{GOOD, "a read with its barrier's slot",
	 "i k 0\ns 1 1 1 k put 5\nf 9 1 ok slot=4\ns 2 2 2 k read\nf 3 2 ok cur=0 slot=3\n"
	 "s 4 3 2 k read\nf 5 3 ok cur=5 slot=4\n",
	 NULL},
	{GOOD, "three of one slot, in an order nobody was told",
	 "i k 0\ns 1 1 1 k add 1\nf 9 1 ok cur=2 slot=4\ns 1 2 1 k add 1\nf 9 2 ok cur=1 slot=4\n"
	 "s 1 3 1 k add 1\nf 9 3 ok cur=3 slot=4\n",
	 NULL},
	{GOOD, "several keys",
	 "s 1 1 1 a put 5\nf 2 1 ok slot=1\ns 1 2 1 b put 6\nf 2 2 ok slot=2\n"
	 "s 3 3 1 a read\nf 4 3 ok cur=5\ns 3 4 1 b read\nf 4 4 ok cur=6\n",
	 NULL},

	{GOOD, "of two unknown ones that set the same, the put comes last",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 unknown\ns 1 2 1 k cas 1 5\nf 2 2 unknown\n"
	 "s 3 3 2 k read\nf 4 3 ok cur=5\ns 5 4 2 k put 7\nf 6 4 ok\ns 7 5 2 k read\nf 8 5 ok cur=5\n",
	 NULL},
	{GOOD, "the same, begun in the other order",
	 "i k 1\ns 1 1 1 k cas 1 5\nf 2 1 unknown\ns 1 2 1 k put 5\nf 2 2 unknown\n"
	 "s 3 3 2 k read\nf 4 3 ok cur=5\ns 5 4 2 k put 7\nf 6 4 ok\ns 7 5 2 k read\nf 8 5 ok cur=5\n",
	 NULL},
	{GOOD, "additions away from what is found, because of a condition",
	 "i k 0\ns 1 1 1 k add -3\nf 2 1 unknown\ns 1 2 1 k add 4 <=-2\nf 2 2 unknown\n"
	 "s 3 3 2 k read\nf 4 3 ok cur=1\n",
	 NULL},
	{GOOD, "of two unknown additions only that without a condition fits",
	 "i k 0\ns 1 1 1 k add 2\nf 2 1 unknown\ns 1 2 1 k add 2 >=5\nf 2 2 unknown\n"
	 "s 3 3 2 k read\nf 4 3 ok cur=2\n",
	 NULL},

	/* ---- bad ---- */
	{BAD, "stale read",
	 "s 1 1 1 k put 5\nf 2 1 ok slot=1\ns 3 2 1 k put 6\nf 4 2 ok slot=2\ns 5 3 2 k read\nf 6 3 ok cur=5\n",
	 "value just before, after all that had ended: 6"},
	{BAD, "read from a deposed leader",
	 "i k 1\ns 1 1 1 k cas 1 2\nf 4 1 ok applied=t cur=2 slot=9\ns 2 2 2 k read\nf 3 2 ok cur=2\n"
	 "s 5 3 3 k read\nf 6 3 ok cur=1\n",
	 "client 3"},
	{BAD, "two reads go back in time",
	 "i k 1\ns 1 1 1 k put 2\nf 9 1 ok\ns 2 2 2 k read\nf 3 2 ok cur=2\ns 4 3 3 k read\nf 5 3 ok cur=1\n",
	 NULL},
	{BAD, "lost update",
	 "i k 0\ns 1 1 1 k add 1\nf 3 1 ok cur=1 slot=1\ns 2 2 2 k add 1\nf 4 2 ok cur=2 slot=2\n"
	 "s 5 3 1 k read\nf 6 3 ok cur=1\n",
	 NULL},
	{BAD, "lost after a restart",
	 "s 1 1 1 k put 5\nf 2 1 ok applied=t slot=1\ns 5 2 1 k read\nf 6 2 ok cur=-\n", NULL},
	{BAD, "two additions see the same value",
	 "i k 0\ns 1 1 1 k add 1\nf 5 1 ok cur=1\ns 1 2 2 k add 1\nf 5 2 ok cur=1\n", NULL},
	{BAD, "double application",
	 "i k 0\ns 1 1 1 k add 1\nf 2 1 ok\ns 3 2 1 k read\nf 4 2 ok cur=2\n", NULL},
	{BAD, "double application of a retry",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k add 1 req=a\nf 4 2 ok cur=1\n"
	 "s 5 3 1 k read\nf 6 3 ok cur=2\n",
	 NULL},
	{BAD, "double application of an unknown append",
	 "s 1 1 1 k append 1\nf 2 1 unknown\ns 3 2 1 k read\nf 4 2 ok cur=[1,1]\n", NULL},
	{BAD, "an append is lost from the list",
	 "s 1 1 1 k append 1\nf 2 1 ok cur=[1]\ns 3 2 1 k append 2\nf 4 2 ok cur=[2]\n", NULL},
	{BAD, "lists of one length that differ",
	 "s 1 1 1 k append 1\nf 9 1 unknown\ns 1 2 1 k append 2\nf 9 2 unknown\n"
	 "s 3 3 1 k read\nf 4 3 ok cur=[1,2]\ns 5 4 1 k read\nf 6 4 ok cur=[2,1]\n",
	 "5 .. 6"},
	{BAD, "two winners of an insert",
	 "s 1 1 1 k insert 1\nf 9 1 ok applied=t\ns 1 2 2 k insert 2\nf 9 2 ok applied=t\n", NULL},
	{BAD, "two winners of a compare and set",
	 "i k 0\ns 1 1 1 k cas 0 1\nf 9 1 ok applied=t\ns 1 2 2 k cas 0 2\nf 9 2 ok applied=t\n", NULL},
	{BAD, "nobody wins",
	 "i k 0\ns 1 1 1 k cas 0 1\nf 9 1 ok applied=f\ns 1 2 2 k cas 0 2\nf 9 2 ok applied=f\n", NULL},
	{BAD, "the loser is told another value than the winner's",
	 "s 1 1 1 k insert 1\nf 9 1 ok applied=t\ns 1 2 2 k insert 2\nf 9 2 ok applied=f cur=3\n",
	 "nobody set it to 3"},
	{BAD, "an unknown effect appears and vanishes",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 unknown\ns 3 2 2 k read\nf 4 2 ok cur=5\ns 5 3 2 k read\nf 6 3 ok cur=1\n",
	 NULL},
	{BAD, "an unknown effect appears, is overwritten, and appears again",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 unknown\ns 3 2 2 k read\nf 4 2 ok cur=5\n"
	 "s 5 3 2 k put 6\nf 6 3 ok\ns 7 4 2 k read\nf 8 4 ok cur=5\n",
	 NULL},
	{BAD, "an unknown addition counts twice",
	 "i k 0\ns 1 1 1 k add 1\nf 2 1 unknown\ns 3 2 2 k read\nf 4 2 ok cur=1\ns 5 3 2 k read\nf 6 3 ok cur=2\n",
	 NULL},
	{BAD, "effect before it began",
	 "i k 1\ns 1 1 1 k read\nf 2 1 ok cur=5\ns 3 2 2 k put 5\nf 4 2 ok\n", "client 2"},
	{BAD, "failed for sure, yet in force",
	 "i k 1\ns 1 1 1 k put 5\nf 2 1 failed 57P03\ns 3 2 2 k read\nf 4 2 ok cur=5\n",
	 "failed for sure"},
	{BAD, "a phantom", "i k 1\ns 1 1 1 k read\nf 2 1 ok cur=77\n", "nobody set it to 77"},
	{BAD, "a deleted key is back",
	 "s 1 1 1 k put 5\nf 2 1 ok\ns 3 2 1 k delete\nf 4 2 ok applied=t prev=5\ns 5 3 1 k read\nf 6 3 ok cur=5\n",
	 NULL},
	{BAD, "deleted twice",
	 "i k 5\ns 1 1 1 k delete\nf 9 1 ok applied=t\ns 1 2 2 k delete\nf 9 2 ok applied=t\n", NULL},
	{BAD, "overdrawn",
	 "i k 10\ns 1 1 1 k add -7 >=7\nf 9 1 ok applied=t\ns 1 2 2 k add -7 >=7\nf 9 2 ok applied=t\n",
	 NULL},
	{BAD, "refused though it would fit",
	 "i k 10\ns 1 1 1 k add -7 >=7\nf 9 1 ok applied=f cur=10\n", NULL},
	{BAD, "retries are told different results",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 ok applied=t cur=1\ns 3 2 1 k add 1 req=a\nf 4 2 ok applied=t cur=2\n",
	 "different results"},
	{BAD, "a retry is told another slot",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 ok applied=t slot=4\ns 3 2 1 k add 1 req=a\nf 4 2 ok applied=t slot=5\n",
	 "different results"},
	{BAD, "a retry takes effect after it had been told a result",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 ok applied=t\ns 3 2 1 k read\nf 4 2 ok cur=0\n"
	 "s 5 3 1 k add 1 req=a\nf 6 3 ok applied=t\n",
	 NULL},
	{BAD, "told not decided, and it had been seen before",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 unknown\ns 3 2 2 k read\nf 4 2 ok cur=1\n"
	 "s 5 3 2 k outcome req=a\nf 6 3 ok undecided\n",
	 NULL},
	{BAD, "told a result, then told not decided",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 ok applied=t\ns 5 3 2 k outcome req=a\nf 6 3 ok undecided\n",
	 "told later not to be decided"},
	{BAD, "told applied, then told failed",
	 "i k 0\ns 1 1 1 k add 1 req=a\nf 2 1 ok applied=t\ns 5 3 2 k outcome req=a\nf 6 3 failed\n",
	 "failed for sure, and told a result"},
	{BAD, "one of several keys",
	 "s 1 1 1 a put 5\nf 2 1 ok slot=1\ns 1 2 1 b put 6\nf 2 2 ok slot=2\n"
	 "s 3 3 1 a read\nf 4 3 ok cur=5\ns 3 4 1 b read\nf 4 4 ok cur=5\n",
	 "key b"},

	/* ---- slots ---- */
	{BAD_SLOTS, "slots against real time, on different keys",
	 "s 1 1 1 a put 5\nf 2 1 ok slot=2\ns 3 2 1 b put 6\nf 4 2 ok slot=1\n",
	 "slots do not agree with time"},
	{BAD_SLOTS, "one slot for two that did not overlap",
	 "s 1 1 1 a put 5\nf 2 1 ok slot=1\ns 3 2 1 b put 6\nf 4 2 ok slot=1\n", "slots do not agree"},
	{BAD_SLOTS, "results in another order than slots",
	 "i k 0\ns 1 1 1 k add 1\nf 9 1 ok cur=1 slot=2\ns 1 2 1 k add 1\nf 9 2 ok cur=2 slot=1\n",
	 NULL},
	{BAD_SLOTS, "a read misses a write at its barrier's slot",
	 "i k 0\ns 1 1 1 k put 5\nf 9 1 ok slot=4\ns 2 2 2 k read\nf 3 2 ok cur=0 slot=4\n", NULL},
	{BAD_SLOTS, "not seen, though a higher slot had been told, on another key",
	 "s 1 1 1 a put 5\nf 100 1 ok slot=1\ns 2 2 1 b put 6\nf 5 2 ok slot=2\ns 6 3 1 a read\nf 7 3 ok cur=-\n",
	 NULL},
	{BAD_SLOTS, "a barrier's slot that nobody had begun",
	 "s 1 1 1 a read\nf 2 1 ok slot=4\ns 3 2 1 b put 1\nf 4 2 ok slot=4\n",
	 "slots do not agree with time"},
};

void
run_cases(hist *h)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const history_case *c = &cases[i];
		size_t len = strlen(c->text);
		/* fmemopen() does not take nothing */
		FILE *f = fmemopen((void *) (len ? c->text : "\n"), len ? len : 1, "r");
		const char *wrong;
		hist_verdict search;
		hist_verdict slots;
		bool why;

		hist_reset(h);
		wrong = hist_read_stream(h, f, c->name);
		fclose(f);
		if (wrong != NULL)
		{
			expect(false, "%s", wrong);
			continue;
		}
		search = hist_check(h, NULL);
		why = c->says == NULL || c->wanted != BAD || strstr(hist_why(h), c->says) != NULL;
		slots = hist_check_slots(h, NULL);
		if (c->wanted == BAD_SLOTS)
			why = c->says == NULL || strstr(hist_why(h), c->says) != NULL;
		expect(search == (c->wanted == BAD ? HIST_VIOLATION : HIST_LINEARIZABLE) &&
				   slots == (c->wanted == GOOD ? HIST_LINEARIZABLE : HIST_VIOLATION) &&
				   brute_linearizable(h, false) == (c->wanted != BAD) &&
				   brute_linearizable(h, true) == (c->wanted == GOOD) && why,
			   "%s: %s%s%s", c->wanted == GOOD ? "good" : "bad", c->name,
			   c->wanted != GOOD && !why ? ", says: " : "", !why ? hist_why(h) : "");
	}
}
