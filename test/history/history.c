/*
 * history.c
 *	  Building a history, the values in it, and what each kind of operation does
 *	  to a value.
 *
 * Owns the memory of a history.  The rules of hist_apply() are those of the
 * SQL functions (docs/protocol.md and the README): a condition that does not hold
 * changes nothing and is told with the value as it is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hist_int.h"

/* ---- memory and hashing ---- */

void *
hist_grow(void *p, size_t *cap, size_t need, size_t size)
{
	size_t n = *cap ? *cap : 64;

	if (need <= *cap)
		return p;
	while (n < need)
		n *= 2;
	p = realloc(p, n * size);
	if (p == NULL)
	{
		fprintf(stderr, "history: out of memory\n");
		abort();
	}
	*cap = n;
	return p;
}

uint64_t
hist_mix(uint64_t h, uint64_t v)
{
	/* splitmix64 over the sum: every bit of both counts */
	h = h * UINT64_C(0x9E3779B97F4A7C15) + v + UINT64_C(0x632BE59BD9B4E019);
	h = (h ^ (h >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	h = (h ^ (h >> 27)) * UINT64_C(0x94D049BB133111EB);
	return h ^ (h >> 31);
}

/* ---- values ---- */

hist_value
hist_absent(void)
{
	return (hist_value){HIST_ABSENT, 0, 0};
}

hist_value
hist_number(int64_t n)
{
	return (hist_value){HIST_NUMBER, n, 0};
}

hist_value
hist_empty_list(void)
{
	return (hist_value){HIST_LIST, 0, 0};
}

hist_value
hist_append(hist_value list, int64_t element)
{
	return (hist_value){HIST_LIST, list.n + 1, hist_mix(list.hash, (uint64_t) element)};
}

bool
hist_equal(hist_value a, hist_value b)
{
	return a.kind == b.kind && a.n == b.n && a.hash == b.hash;
}

uint64_t
hist_hash(hist_value v)
{
	return hist_mix(hist_mix((uint64_t) v.kind, (uint64_t) v.n), v.hash);
}

/* ---- what operations do ---- */

bool
hist_apply(const hist_op *op, hist_value before, bool *applied, hist_value *after)
{
	*applied = true;
	*after = before;
	switch (op->kind)
	{
		case HIST_READ:
			return true;
		case HIST_PUT:
			*after = op->value;
			return true;
		case HIST_INSERT:
			if (before.kind == HIST_ABSENT)
				*after = op->value;
			else
				*applied = false;
			return true;
		case HIST_CAS:
			if (hist_equal(before, op->expected))
				*after = op->value;
			else
				*applied = false;
			return true;
		case HIST_DELETE:
			if (before.kind != HIST_ABSENT && (op->any || hist_equal(before, op->expected)))
				*after = hist_absent();
			else
				*applied = false;
			return true;
		case HIST_ADD:
			if (before.kind == HIST_LIST)
				return false;
			if (before.kind == HIST_NUMBER && before.n >= op->at_least && before.n <= op->at_most)
				/* as unsigned: an overflow is the caller's, not undefined */
				after->n = (int64_t) ((uint64_t) before.n + (uint64_t) op->delta);
			else
				*applied = false;
			return true;
		case HIST_APPEND:
			if (before.kind == HIST_NUMBER)
				return false;
			*after =
				hist_append(before.kind == HIST_ABSENT ? hist_empty_list() : before, op->delta);
			return true;
		case HIST_OUTCOME:
			break;
	}
	return false;
}

bool
hist_same_op(const hist_op *a, const hist_op *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind)
	{
		case HIST_PUT:
		case HIST_INSERT:
			return hist_equal(a->value, b->value);
		case HIST_CAS:
			return hist_equal(a->expected, b->expected) && hist_equal(a->value, b->value);
		case HIST_DELETE:
			return a->any == b->any && (a->any || hist_equal(a->expected, b->expected));
		case HIST_ADD:
			return a->delta == b->delta && a->at_least == b->at_least && a->at_most == b->at_most;
		case HIST_APPEND:
			return a->delta == b->delta;
		default:
			return true;
	}
}

/* ---- building ---- */

hist *
hist_new(void)
{
	hist *h = calloc(1, sizeof(hist));

	if (h == NULL)
	{
		fprintf(stderr, "history: out of memory\n");
		abort();
	}
	return h;
}

void
hist_reset(hist *h)
{
	for (size_t i = 0; i < h->n_keys; i++)
		free(h->keys[i].name);
	h->n_keys = 0;
	h->n_attempts = 0;
	h->n_units = 0;
	h->steps = 0;
	h->text_len = 0;
	hist_forget_words(&h->request_words);
	hist_forget_words(&h->attempt_words);
	h->n_attempt_numbers = 0;
	if (h->key_table != NULL)
		memset(h->key_table, 0, h->cap_key_table * sizeof(uint32_t));
}

void
hist_free(hist *h)
{
	if (h == NULL)
		return;
	hist_reset(h);
	hist_search_free(h->search);
	free(h->attempts);
	free(h->keys);
	free(h->key_table);
	free(h->attempt_numbers);
	free(h->units);
	free(h->text);
	free(h);
}

uint64_t
hist_hash_name(const char *name)
{
	uint64_t hash = 0;

	while (*name)
		hash = hist_mix(hash, (unsigned char) *name++);
	return hash;
}

/* Where the name stands in the table, or could. */
static uint32_t *
key_place(hist *h, const char *name)
{
	size_t at = hist_hash_name(name) & (h->cap_key_table - 1);

	while (h->key_table[at] != 0 && strcmp(h->keys[h->key_table[at] - 1].name, name) != 0)
		at = (at + 1) & (h->cap_key_table - 1);
	return &h->key_table[at];
}

uint32_t
hist_key(hist *h, const char *name)
{
	uint32_t *place;
	size_t len = strlen(name) + 1;
	char *copy;

	if (h->n_keys * 2 >= h->cap_key_table)
	{
		h->cap_key_table = h->cap_key_table ? h->cap_key_table * 2 : 64;
		free(h->key_table);
		h->key_table = calloc(h->cap_key_table, sizeof(uint32_t));
		if (h->key_table == NULL)
			abort();
		for (size_t i = 0; i < h->n_keys; i++)
			*key_place(h, h->keys[i].name) = (uint32_t) i + 1;
	}
	place = key_place(h, name);
	if (*place == 0)
	{
		h->keys = hist_grow(h->keys, &h->cap_keys, h->n_keys + 1, sizeof(hist_key_info));
		copy = malloc(len);
		if (copy == NULL)
			abort();
		memcpy(copy, name, len);
		h->keys[h->n_keys++] = (hist_key_info){copy, hist_absent()};
		*place = (uint32_t) h->n_keys;
	}
	return *place - 1;
}

void
hist_initial(hist *h, uint32_t key, hist_value value)
{
	h->keys[key].initial = value;
}

uint32_t
hist_begin(hist *h, const hist_op *op, uint64_t time)
{
	hist_attempt *a;

	h->attempts = hist_grow(h->attempts, &h->cap_attempts, h->n_attempts + 1, sizeof(*a));
	a = &h->attempts[h->n_attempts++];
	memset(a, 0, sizeof(*a));
	a->op = *op;
	a->begin = time;
	a->end = HIST_NEVER;
	a->result.told = HIST_UNKNOWN;
	return (uint32_t) h->n_attempts;
}

void
hist_end(hist *h, uint32_t number, uint64_t time, const hist_result *result)
{
	hist_attempt *a = &h->attempts[number - 1];

	a->result = *result;
	a->end = time;
}

/* ---- checking ---- */

static hist_verdict
check(hist *h, const hist_limits *limits, bool by_slot)
{
	uint64_t max_steps = limits != NULL && limits->max_steps != 0 ? limits->max_steps : 20000000;
	hist_verdict all = HIST_LINEARIZABLE;

	h->steps = 0;
	h->text_len = 0;
	if (!hist_make_units(h))
		return HIST_VIOLATION;
	if (by_slot && !hist_narrow(h))
		return HIST_VIOLATION;
	for (size_t first = 0, next; first < h->n_units; first = next)
	{
		hist_verdict v;

		for (next = first + 1; next < h->n_units; next++)
			if (h->units[next].key != h->units[first].key)
				break;
		v = hist_search_key(h, h->units + first, next - first, by_slot, max_steps);
		/* A violation of one key is one of the history, whatever the others are. */
		if (v == HIST_VIOLATION)
			return v;
		if (v == HIST_GAVE_UP)
			all = v;
	}
	return all;
}

hist_verdict
hist_check(hist *h, const hist_limits *limits)
{
	return check(h, limits, false);
}

hist_verdict
hist_check_slots(hist *h, const hist_limits *limits)
{
	return check(h, limits, true);
}

const char *
hist_why(const hist *h)
{
	return h->text_len == 0 ? "" : h->text;
}

uint64_t
hist_steps(const hist *h)
{
	return h->steps;
}
