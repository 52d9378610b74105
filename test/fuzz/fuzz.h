/*
 * fuzz.h
 *	  What the fuzz targets share: a reader that turns the fuzzer's bytes into
 *	  numbers worth trying, and the end of a run that found something.
 *
 * A byte string that ends too soon reads as zeros, so that every string is a
 * complete run and a shortened one is a similar run.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "px_invariants.h"

typedef struct fuzz_bytes
{
	const uint8_t *at;
	size_t left;
} fuzz_bytes;

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Prints what is wrong and aborts, by which libFuzzer keeps the input. */
extern void fuzz_fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#define FUZZ_CHECK(fact) ((fact) ? (void) 0 : fuzz_fail("%s:%d: %s", __FILE__, __LINE__, #fact))

/* For a px_check_... function: fails with its sentence. */
static inline void
fuzz_holds(const char *wrong)
{
	if (wrong != NULL)
		fuzz_fail("%s", wrong);
}

extern uint8_t fuzz_u8(fuzz_bytes *b);
extern uint64_t fuzz_u64(fuzz_bytes *b);

/* A number equal or close to 'near', small, at an end of the range, or any. */
extern uint64_t fuzz_number(fuzz_bytes *b, uint64_t near);

/* The same, as a caller of the SQL functions may send it (paxos_arg_u64). */
extern uint64_t fuzz_argument(fuzz_bytes *b, uint64_t near);

/* The next bytes, at most 'max' of them, in memory of their own; free() it. */
extern uint8_t *fuzz_take(fuzz_bytes *b, size_t max, uint32_t *len);

/* Gives a value the checksum its bytes deserve; len >= PX_VALUE_HEADER_BYTES. */
extern void fuzz_checksum(uint8_t *value, uint32_t len);

/*
 * A value or an origin batch built as its bytes say, with true lengths and
 * checksum, in memory of exactly its size; free() its data.
 */
extern px_bytes fuzz_value(fuzz_bytes *b, uint32_t max);
extern px_bytes fuzz_batch(fuzz_bytes *b, uint32_t max, px_node origin, uint64_t incarnation,
						   uint64_t sequence);

/* Well-formed or not. */
extern void fuzz_config(fuzz_bytes *b, px_config *config);

#endif /* FUZZ_H */
