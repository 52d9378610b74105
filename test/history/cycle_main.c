/*
 * cycle_main.c
 *	  Check files of transactions that append to lists (cycle.h).
 *
 * usage: cycle FILE...
 *
 * The files are one history.  Exit 0: nothing is wrong; 1: something is; 2: malformed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cycle.h"

int
main(int argc, char **argv)
{
	cycle *c = cycle_new();
	cycle_figures f;
	bool good;

	if (argc < 2)
	{
		fprintf(stderr, "usage: cycle FILE...\n");
		return 2;
	}
	for (int i = 1; i < argc; i++)
	{
		FILE *from = fopen(argv[i], "r");

		if (from == NULL)
		{
			perror(argv[i]);
			return 2;
		}
		good = cycle_file(c, from, argv[i]);
		fclose(from);
		if (!good)
		{
			fprintf(stderr, "cycle: %s", cycle_why(c));
			return 2;
		}
	}
	good = cycle_check(c);
	f = cycle_count(c);
	printf(
		"CYCLE transactions=%" PRIu64 " committed=%" PRIu64 " aborted=%" PRIu64 " unknown=%" PRIu64
		" unknown_there=%" PRIu64 " rc=%" PRIu64 " rr=%" PRIu64 " ser=%" PRIu64 " elements=%" PRIu64
		" ww=%" PRIu64 " wr=%" PRIu64 " rw=%" PRIu64 " skews=%" PRIu64 "\n",
		f.transactions, f.told[CYCLE_COMMITTED], f.told[CYCLE_ABORTED], f.told[CYCLE_UNKNOWN],
		f.unknown_there, f.level[0], f.level[1], f.level[2], f.elements, f.ww, f.wr, f.rw, f.skews);
	fputs(cycle_why(c), stdout);
	cycle_free(c);
	return good ? 0 : 1;
}
