/*
 * unit.c
 *	  The harness behind unit.h, and main() of every test program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "unit.h"

int arguments;
char **argument;

static int tests;
static int failures;

static jmp_buf assertion_jump;
static bool expecting_assertion;
static const char *assertion_fact;

void
px_assert_failed(const char *fact, const char *file, int line)
{
	if (expecting_assertion)
	{
		assertion_fact = fact;
		longjmp(assertion_jump, 1);
	}
	printf("Bail out! asserted fact does not hold: %s (%s:%d)\n", fact, file, line);
	fflush(stdout);
	abort();
}

const char *
assertion_of(void (*fn)(void *), void *arg)
{
	assertion_fact = NULL;
	expecting_assertion = true;
	if (setjmp(assertion_jump) == 0)
		fn(arg);
	expecting_assertion = false;
	return assertion_fact;
}

void
die(const char *what)
{
	printf("Bail out! %s\n", what);
	fflush(stdout);
	exit(1);
}

static void
report(bool condition, const char *name, va_list args)
{
	tests++;
	if (!condition)
		failures++;
	printf("%sok %d - ", condition ? "" : "not ", tests);
	vprintf(name, args);
	printf("\n");
}

bool
ok_at(bool condition, const char *file, int line, const char *name, ...)
{
	va_list args;

	va_start(args, name);
	report(condition, name, args);
	va_end(args);
	if (!condition)
		printf("# at %s:%d\n", file, line);
	return condition;
}

bool
is_at(uint64_t got, uint64_t expected, const char *file, int line, const char *name, ...)
{
	va_list args;

	va_start(args, name);
	report(got == expected, name, args);
	va_end(args);
	if (got != expected)
		printf("# at %s:%d: got %" PRIu64 ", expected %" PRIu64 "\n", file, line, got, expected);
	return got == expected;
}

int
main(int argc, char **argv)
{
	arguments = argc;
	argument = argv;
	run_tests();
	printf("1..%d\n", tests);
	if (failures > 0)
		printf("# %d of %d failed\n", failures, tests);
	return failures > 0 ? 1 : 0;
}
