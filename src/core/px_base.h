/*
 * px_base.h
 *	  Types, limits and small helpers shared by the whole protocol core.
 *
 * The core is a set of values with transition functions: an event goes in, an
 * update comes out.  Nothing here or in any file of src/core reads a clock,
 * allocates, does I/O, draws a random number of its own or calls back; time
 * and seeds are arguments.  The servers and the simulator run the same code.
 *
 * Units end a name: _us microseconds, _ms milliseconds, _bytes, _slots.
 * Every time is taken from one monotonic clock per node (CLOCK_BOOTTIME on a
 * server) and never compared between nodes.
 */
#ifndef PX_BASE_H
#define PX_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t px_slot;   /* position in the log, 1, 2, 3 ...; 0: none */
typedef uint64_t px_ballot; /* round << 16 | node id; 0: none */
typedef uint16_t px_node;   /* node id, 1 ... 65535; 0: none.  Never reused */
typedef uint64_t px_usec;   /* microseconds of the node's monotonic clock */

/*
 * Limits.  Each is tested at the limit (test/unit/t_limits.c).
 */
#define PX_MAX_VOTERS 15  /* voters of one configuration */
#define PX_MAX_MEMBERS 31 /* voters and non-voting learners together */
#define PX_MAX_WINDOW \
	64                                     /* slots a leader may have in flight, and
								 * entries one promise carries */
#define PX_MAX_OUTBOX 64                   /* origin batches a node may have unapplied */
#define PX_MAX_INTAKE 1024                 /* origin batches waiting at a leader */
#define PX_MAX_COMMAND_BYTES (1024 * 1024) /* one command */
#define PX_MAX_BATCH_BYTES \
	(PX_MAX_COMMAND_BYTES + 64 * 1024)                      /* one origin batch,
																 * encoded */
#define PX_MAX_VALUE_BYTES (PX_MAX_BATCH_BYTES + 64 * 1024) /* one value, encoded */
#define PX_MAX_NAME 64       /* bytes of a member's name, with its NUL */
#define PX_MAX_CONNINFO 1024 /* bytes of a conninfo, with its NUL */

/* Immutable bytes owned by somebody else; valid as long as the contract says. */
typedef struct px_bytes
{
	const uint8_t *data;
	uint32_t len;
} px_bytes;

/*
 * PX_ASSERT states a fact whose violation would mean that consensus is lost.
 * It is always compiled in.  px_assert_failed() is the one function the core
 * needs from its surroundings and must not return: the servers end the
 * process (PANIC is not needed: nothing durable has been touched), the
 * simulator reports the seed.
 */
extern void px_assert_failed(const char *fact, const char *file, int line)
	__attribute__((noreturn));

#define PX_ASSERT(fact) ((fact) ? (void) 0 : px_assert_failed(#fact, __FILE__, __LINE__))

/* A small deterministic generator (splitmix64); the state is the caller's. */
static inline uint64_t
px_random(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static inline uint64_t
px_max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t
px_min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif /* PX_BASE_H */
