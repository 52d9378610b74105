/*
 * fuzz_memory.h
 *	  Memory of a run that is freed as a whole at its end, as a server's memory
 *	  context would be.  The Makefile puts these names in the place of malloc()
 *	  and its like in test/command/server.c.
 */
#ifndef FUZZ_MEMORY_H
#define FUZZ_MEMORY_H

#include <stddef.h>

extern void *fuzz_malloc(size_t size);
extern void *fuzz_realloc(void *p, size_t size);
extern void fuzz_free(void *p);
extern void fuzz_memory_free(void);

#endif /* FUZZ_MEMORY_H */
