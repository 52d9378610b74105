/*
 * px_value.h
 *	  Encoding of values and origin batches: versioned, length-checked,
 *	  checksummed.
 *
 * A value is what one slot holds: a no-op, a list of origin batches with the
 * leader's time stamp, or a configuration.  An origin batch is a list of
 * commands collected on one node, numbered (incarnation, sequence).  Commands
 * are opaque here.
 *
 * All numbers are little-endian.  Layout, format version 1:
 *
 *	value:	u8 version | u8 kind | u16 count
 *			| u32 crc32c of the four bytes before it and of all that follows
 *			| u64 log_time_us | count parts
 *			| of a configuration: u16 highest node id that ever was a member's
 *	batch part:		u32 bytes of the rest of this part | u16 origin node
 *					| u16 count, + 0x8000: alone in its slot
 *					| u64 incarnation | u64 sequence
 *					| count commands
 *	command:		u32 bytes | u32 cell | u64 generation | bytes
 *	member part:	u32 bytes of the rest of this part | u16 node
 *					| u8 0: learner, 1: voter, 2: learner that is joining
 *					| u16 name bytes | name | u16 conninfo bytes | conninfo
 *
 * An encoded origin batch as it travels from origin to leader is one batch
 * part, from its length word to its end; the leader copies it unchanged.  One that
 * says it is alone shares its slot with no other.
 *
 * Decoders trust nothing: any bytes whatever give an answer or false, never a
 * read outside them (fuzzed).
 */
#ifndef PX_VALUE_H
#define PX_VALUE_H

#include "px_quorum.h"

#define PX_VALUE_VERSION 1
#define PX_VALUE_HEADER_BYTES 16
#define PX_BATCH_HEADER_BYTES 24
#define PX_COMMAND_HEADER_BYTES 16
#define PX_MAX_BATCH_COMMANDS 0x7fff

/* The largest configuration. */
#define PX_MAX_CONFIG_BYTES \
	(PX_VALUE_HEADER_BYTES + PX_MAX_MEMBERS * (11 + PX_MAX_NAME + PX_MAX_CONNINFO) + 2)

typedef enum px_value_kind
{
	PX_VALUE_NOOP = 1,
	PX_VALUE_BATCHES = 2,
	PX_VALUE_CONFIG = 3
} px_value_kind;

/* CRC-32C (Castagnoli) of bytes; start with crc = 0, chain by passing the result. */
extern uint32_t px_crc32c(uint32_t crc, const void *data, size_t len);

/* ---- building an origin batch in a caller's buffer ---- */

typedef struct px_batch_writer
{
	uint8_t *buf;
	uint32_t cap;
	uint32_t len;
	uint16_t n_commands;
	bool alone;
} px_batch_writer;

extern void px_batch_begin(px_batch_writer *w, uint8_t *buf, uint32_t cap, px_node origin,
						   uint64_t incarnation, uint64_t sequence);

/* False, and nothing changed, when it does not fit (bytes, or number of commands). */
extern bool px_batch_add(px_batch_writer *w, uint32_t cell, uint64_t generation,
						 const void *command, uint32_t len);

/* The slot shall hold this batch and no other. */
extern void px_batch_alone(px_batch_writer *w);

/* The finished batch part. */
extern px_bytes px_batch_end(px_batch_writer *w);

/* ---- building a value ---- */

typedef struct px_value_writer
{
	uint8_t *buf;
	uint32_t cap;
	uint32_t len;
	uint16_t count;
	px_value_kind kind;
	bool alone;      /* takes no further batch */
	px_node highest; /* of a configuration */
} px_value_writer;

extern void px_value_begin(px_value_writer *w, uint8_t *buf, uint32_t cap, px_value_kind kind,
						   uint64_t log_time_us);

/* False, and nothing changed, when it does not fit, or may not stand with the others. */
extern bool px_value_add_batch(px_value_writer *w, px_bytes batch);
extern bool px_value_add_member(px_value_writer *w, px_node node, bool voter, const char *name,
								const char *conninfo);

/* Ids up to this one were members' once; those of the members added count anyway. */
extern void px_value_set_highest(px_value_writer *w, px_node highest);
/* The same for a member that shall become a voter when it has caught up. */
extern bool px_value_add_joiner(px_value_writer *w, px_node node, const char *name,
								const char *conninfo);
extern px_bytes px_value_end(px_value_writer *w); /* sets count and checksum */

/* ---- reading ---- */

typedef struct px_value_view
{
	px_value_kind kind;
	uint16_t count;
	uint64_t log_time_us;
	px_bytes parts;  /* the bytes after the header, without what follows them */
	px_node highest; /* of a configuration, 0 otherwise */
} px_value_view;

typedef struct px_batch_view
{
	px_node origin;
	uint64_t incarnation;
	uint64_t sequence;
	uint16_t n_commands;
	bool alone;
	px_bytes commands;
	px_bytes whole; /* the part with its length word */
} px_batch_view;

typedef struct px_command_view
{
	uint32_t cell;       /* the waiting session's cell on the origin */
	uint64_t generation; /* and the generation it had */
	px_bytes bytes;
} px_command_view;

typedef struct px_member_view
{
	px_node node;
	bool voter;
	bool joining; /* no voter yet, to be made one when it has caught up */
	char name[PX_MAX_NAME];
	char conninfo[PX_MAX_CONNINFO];
} px_member_view;

/*
 * Check version, kind, lengths, checksum and every part inside; false if
 * anything is amiss.  After true, the iterators below cannot meet a malformed
 * part.
 */
extern bool px_value_open(px_bytes value, px_value_view *view);

/* Does an entry's value hold a configuration?  Looks at its kind alone. */
static inline bool
px_value_is_config(px_bytes value)
{
	return value.len >= PX_VALUE_HEADER_BYTES && value.data[1] == PX_VALUE_CONFIG;
}

/* Check one encoded origin batch by itself (as it came from an origin). */
extern bool px_batch_open(px_bytes batch, px_batch_view *view);

/*
 * Iterators: *pos starts at 0; true and the next part, or false at the end.
 */
extern bool px_value_next_batch(const px_value_view *v, uint32_t *pos, px_batch_view *batch);
extern bool px_value_next_member(const px_value_view *v, uint32_t *pos, px_member_view *member);
extern bool px_batch_next_command(const px_batch_view *b, uint32_t *pos, px_command_view *command);

/* The configuration a PX_VALUE_CONFIG value holds; false if not valid. */
extern bool px_value_config(const px_value_view *v, px_slot slot, px_config *config);

#endif /* PX_VALUE_H */
