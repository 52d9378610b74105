/*
 * unit.h
 *	  A very small test harness: numbered lines 'ok N - name', and a program
 *	  that fails if any test did.
 *
 * Every test program defines run_tests(); unit.c has main().  A fact that
 * the core asserts can be tested too: assertion_of() runs a function and
 * returns the fact that failed inside, or NULL.
 */
#ifndef UNIT_H
#define UNIT_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "px_invariants.h"
#include "px_proposer.h"
#include "px_trace.h"

/* The arguments of the program; only the transcripts look at them. */
extern int arguments;
extern char **argument;

extern void run_tests(void);

/* Reports one test.  Returns the condition. */
extern bool ok_at(bool condition, const char *file, int line, const char *name, ...)
	__attribute__((format(printf, 4, 5)));

#define ok(condition, ...) ok_at((condition), __FILE__, __LINE__, __VA_ARGS__)

extern bool is_at(uint64_t got, uint64_t expected, const char *file, int line, const char *name,
				  ...) __attribute__((format(printf, 5, 6)));

#define is(got, expected, ...) \
	is_at((uint64_t) (got), (uint64_t) (expected), __FILE__, __LINE__, __VA_ARGS__)

/* Runs fn(arg); the text of the PX_ASSERT that failed in it, or NULL. */
extern const char *assertion_of(void (*fn)(void *), void *arg);

/* What is violated, and where we are; ends the program. */
extern void die(const char *what) __attribute__((noreturn));

static inline px_bytes
bytes_of(const void *data, size_t len)
{
	px_bytes b = {data, (uint32_t) len};

	return b;
}

#endif /* UNIT_H */
