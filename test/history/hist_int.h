/*
 * hist_int.h
 *	  What the parts of the checker share: attempts as recorded, and operations
 *	  as searched.
 *
 * An attempt is what one client did once.  Before a check attempts become
 * *units*: those with one request number are one unit, what never took effect
 * is left out, and units are sorted by key (hist_units.c).  A check then looks
 * at the units of one key at a time (hist_search.c).
 */
#ifndef HIST_INT_H
#define HIST_INT_H

#include <stdio.h>

#include "history.h"

#define HIST_NEVER UINT64_MAX /* a time that does not come */

typedef struct hist_attempt
{
	hist_op op;
	hist_result result; /* told HIST_UNKNOWN until it ends */
	uint64_t begin;
	uint64_t end; /* HIST_NEVER until it ends */
} hist_attempt;

typedef struct hist_unit
{
	const hist_op *op;
	uint32_t number; /* of its first attempt */
	uint32_t key;
	bool required; /* it did take effect; else it may have */
	unsigned known;
	bool applied;
	hist_value previous;
	hist_value current;
	uint64_t slot;
	uint64_t from;  /* it takes effect not before this time ... */
	uint64_t until; /* ... and not after this one */
	uint64_t ended; /* as recorded, for the reader; until may be earlier */
} hist_unit;

typedef struct hist_search hist_search;

typedef struct hist_key_info
{
	char *name;
	hist_value initial;
} hist_key_info;

typedef struct hist_words
{
	char **words;
	size_t n;
	size_t cap;
	uint32_t *table; /* open addressing, word + 1 */
	size_t cap_table;
} hist_words;

struct hist
{
	hist_attempt *attempts;
	size_t n_attempts;
	size_t cap_attempts;
	hist_key_info *keys;
	size_t n_keys;
	size_t cap_keys;
	uint32_t *key_table; /* open addressing over names, key + 1 */
	size_t cap_key_table;
	hist_words request_words; /* of files read */
	hist_words attempt_words;
	uint32_t *attempt_numbers;
	size_t n_attempt_numbers;
	size_t cap_attempt_numbers;
	hist_unit *units; /* of the check under way, sorted by key */
	size_t n_units;
	size_t cap_units;
	hist_search *search;
	uint64_t steps;
	char *text;
	size_t text_len;
	size_t cap_text;
};

/* history.c */
extern void *hist_grow(void *p, size_t *cap, size_t need, size_t size);
extern uint64_t hist_mix(uint64_t h, uint64_t v);
extern uint64_t hist_hash(hist_value v);
extern uint64_t hist_hash_name(const char *name);

/*
 * What an operation does to a value: false if it cannot be carried out on it at
 * all (a list where a number is wanted).  `after` is the value afterwards.
 */
extern bool hist_apply(const hist_op *op, hist_value before, bool *applied, hist_value *after);

/* Do they do the same?  Fields that the kind has no use for do not matter, nor the key. */
extern bool hist_same_op(const hist_op *a, const hist_op *b);

/* hist_units.c: false if the attempts contradict each other already (and says so) */
extern bool hist_make_units(hist *h);

/* hist_slots.c: narrows from and until by the slots; false, and says so, if they contradict time */
extern bool hist_narrow(hist *h);

/* hist_search.c: one key's units; by_slot: in the order of their slots */
extern hist_verdict hist_search_key(hist *h, hist_unit *units, size_t n, bool by_slot,
									uint64_t max_steps);
extern void hist_search_free(hist_search *s);

/* hist_file.c: as hist_read(); name is for the message */
extern const char *hist_read_stream(hist *h, FILE *f, const char *name);
extern void hist_forget_words(hist_words *m);

/* hist_report.c */
extern void hist_say(hist *h, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern void hist_say_value(hist *h, hist_value v);
extern void hist_say_attempt(hist *h, uint32_t number);
extern void hist_say_unit(hist *h, const hist_unit *u);

#endif
