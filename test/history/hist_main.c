/*
 * hist_main.c
 *	  Check a history file.
 *
 * usage: hist [--steps N] [--search | --slots] FILE...
 *
 * The files are one history.  Without an option both checks.  Exit 0: linearizable; 1: it is not, and why; 2: the file
 * is malformed; 3: gave up.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hist_int.h"

static int
usage(void)
{
	fprintf(stderr, "usage: hist [--steps N] [--search | --slots] FILE...\n");
	return 2;
}

int
main(int argc, char **argv)
{
	static const char *const names[] = {"linearizable", "NOT linearizable", "gave up"};
	static const int codes[] = {0, 1, 3};
	hist *h = hist_new();
	hist_limits limits = {0};
	bool search = true;
	bool slots = true;
	int files = 0;
	int code = 0;
	size_t unknown = 0;
	size_t ok = 0;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--steps") == 0 && i + 1 < argc)
			limits.max_steps = strtoull(argv[++i], NULL, 10);
		else if (strcmp(argv[i], "--search") == 0)
			slots = false;
		else if (strcmp(argv[i], "--slots") == 0)
			search = false;
		else if (argv[i][0] != '-')
		{
			const char *wrong = hist_read(h, argv[i]);

			files++;
			if (wrong == NULL)
				continue;
			fprintf(stderr, "hist: %s\n", wrong);
			hist_free(h);
			return 2;
		}
		else
			return usage();
	}
	if (files == 0 || (!search && !slots))
		return usage();
	for (size_t i = 0; i < h->n_attempts; i++)
	{
		ok += h->attempts[i].result.told == HIST_OK;
		unknown += h->attempts[i].result.told == HIST_UNKNOWN;
	}
	printf("%zu attempts on %zu keys: %zu ok, %zu unknown, %zu failed\n", h->n_attempts, h->n_keys,
		   ok, unknown, h->n_attempts - ok - unknown);
	for (int by_slot = 0; by_slot < 2; by_slot++)
	{
		clock_t t = clock();
		hist_verdict v;

		if (!(by_slot ? slots : search))
			continue;
		v = by_slot ? hist_check_slots(h, &limits) : hist_check(h, &limits);
		printf("%s: %s (%" PRIu64 " steps, %.0f ms)\n", by_slot ? "by slots" : "search", names[v],
			   hist_steps(h), (double) (clock() - t) * 1000 / CLOCKS_PER_SEC);
		fputs(hist_why(h), stdout);
		/* A violation says more than giving up. */
		if (code != 1 && v != HIST_LINEARIZABLE)
			code = codes[v];
	}
	hist_free(h);
	return code;
}
