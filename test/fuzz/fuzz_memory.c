/*
 * fuzz_memory.c
 *	  See fuzz_memory.h.  Every piece is one of malloc()'s, so that the sanitizer
 *	  guards its ends.
 */
#include <stdlib.h>

#include "fuzz_memory.h"

#define PIECES 65536

static void *pieces[PIECES];
static size_t n_pieces;

void *
fuzz_malloc(size_t size)
{
	if (n_pieces == PIECES)
		abort();
	return pieces[n_pieces++] = malloc(size);
}

static void **
find(void *p)
{
	for (size_t i = n_pieces; i > 0; i--)
	{
		if (pieces[i - 1] == p)
			return &pieces[i - 1];
	}
	abort();
}

void *
fuzz_realloc(void *p, size_t size)
{
	void **at = find(p);

	return *at = realloc(p, size);
}

void
fuzz_free(void *p)
{
	void **at = find(p);

	free(p);
	*at = pieces[--n_pieces];
}

void
fuzz_memory_free(void)
{
	while (n_pieces > 0)
		free(pieces[--n_pieces]);
}
