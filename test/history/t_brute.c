/*
 * t_brute.c
 *	  Linearizability by trying all orders: slow, and as near to the definition as
 *	  can be.  It shares no rule with the checker it judges: it has its own idea
 *	  of what operations do, of attempts with one request number, and of time,
 *	  and it does not take keys one by one.
 */
#include <string.h>

#include "t_history.h"

#define MOST 16

typedef struct logical
{
	const hist_attempt *attempts[MOST];
	int n;
	bool done;
} logical;

typedef struct brute
{
	logical ops[MOST];
	int n;
	bool by_slot;
	hist_value state[MOST]; /* of keys */
} brute;

/* The value afterwards, and what is told of it. */
static bool
carry_out(hist_value *state, const hist_op *op, hist_result *r)
{
	hist_value old = *state;
	bool is = old.kind != HIST_ABSENT;

	r->applied = true;
	if (op->kind == HIST_PUT)
		*state = op->value;
	else if (op->kind == HIST_INSERT && !is)
		*state = op->value;
	else if (op->kind == HIST_CAS && hist_equal(old, op->expected))
		*state = op->value;
	else if (op->kind == HIST_DELETE && is && (op->any || hist_equal(old, op->expected)))
		*state = hist_absent();
	else if (op->kind == HIST_ADD)
	{
		if (old.kind == HIST_LIST)
			return false;
		if (is && old.n >= op->at_least && old.n <= op->at_most)
			state->n += op->delta;
		else
			r->applied = false;
	}
	else if (op->kind == HIST_APPEND)
	{
		if (old.kind == HIST_NUMBER)
			return false;
		*state = hist_append(is ? old : hist_empty_list(), op->delta);
	}
	else if (op->kind != HIST_READ)
		r->applied = false;
	r->previous = old;
	r->current = *state;
	return true;
}

static bool
agrees(const hist_attempt *a, const hist_result *r)
{
	unsigned k = a->result.known;

	if (k & HIST_APPLIED && a->result.applied != r->applied)
		return false;
	if (k & HIST_PREVIOUS && !hist_equal(a->result.previous, r->previous))
		return false;
	return !(k & HIST_CURRENT) || hist_equal(a->result.current, r->current);
}

/* Was anybody told a result of it?  Then it must have taken effect. */
static bool
told(const logical *l)
{
	for (int i = 0; i < l->n; i++)
		if (l->attempts[i]->result.told == HIST_OK &&
			!(l->attempts[i]->result.known & HIST_UNDECIDED))
			return true;
	return false;
}

static uint64_t
slot_of(const logical *l)
{
	for (int i = 0; i < l->n; i++)
		if (l->attempts[i]->result.told == HIST_OK && l->attempts[i]->result.slot != 0 &&
			!(l->attempts[i]->result.known & HIST_UNDECIDED))
			return l->attempts[i]->result.slot;
	return 0;
}

/* Do two attempts with one request number ask for the same? */
static bool
alike(const hist_op *a, const hist_op *b)
{
	bool value = a->kind == HIST_PUT || a->kind == HIST_INSERT || a->kind == HIST_CAS;
	bool expected = a->kind == HIST_CAS || (a->kind == HIST_DELETE && !a->any);
	bool delta = a->kind == HIST_ADD || a->kind == HIST_APPEND;

	return a->key == b->key && a->kind == b->kind && (a->kind != HIST_DELETE || a->any == b->any) &&
		   (!value || hist_equal(a->value, b->value)) &&
		   (!expected || hist_equal(a->expected, b->expected)) &&
		   (!delta || a->delta == b->delta) &&
		   (a->kind != HIST_ADD || (a->at_least == b->at_least && a->at_most == b->at_most));
}

/* Not before, and not after, as far as its own attempts say.  False: never. */
static bool
bounds(const logical *l, uint64_t *begin, uint64_t *end)
{
	uint64_t first = UINT64_MAX;

	*begin = 0;
	*end = UINT64_MAX;
	for (int i = 0; i < l->n; i++)
	{
		const hist_attempt *a = l->attempts[i];
		bool asks = a->op.kind == HIST_OUTCOME;

		if (asks && a->result.told == HIST_FAILED)
			return false;
		if (!asks && a->result.told != HIST_FAILED && a->begin < first)
			first = a->begin;
		if (a->result.told != HIST_OK)
			continue;
		if (a->result.known & HIST_UNDECIDED)
			*begin = a->begin > *begin ? a->begin : *begin;
		else
			*end = a->end < *end ? a->end : *end;
	}
	*begin = first > *begin ? first : *begin;
	return first != UINT64_MAX;
}

/* The earliest time from `now` on at which it may take effect; false: none. */
static bool
may_happen(const brute *b, const logical *l, uint64_t now, uint64_t *when)
{
	bool is_read = l->attempts[0]->op.kind == HIST_READ;
	uint64_t begin;
	uint64_t end;

	if (!bounds(l, &begin, &end))
		return false;
	for (int i = 0; b->by_slot && slot_of(l) != 0 && i < b->n; i++)
	{
		const logical *m = &b->ops[i];
		uint64_t other_begin;
		uint64_t other_end;

		if (m == l || slot_of(m) == 0 || m->attempts[0]->op.kind == HIST_READ)
			continue;
		if (!m->done && (slot_of(m) < slot_of(l) || (is_read && slot_of(m) == slot_of(l))))
			return false;
		/* All of a slot begin before any of it takes effect, and none ends. */
		if (slot_of(m) != slot_of(l) || is_read || !bounds(m, &other_begin, &other_end))
			continue;
		begin = other_begin > begin ? other_begin : begin;
		end = other_end < end ? other_end : end;
	}
	*when = begin > now ? begin : now;
	return *when <= end;
}

static bool
try_all(brute *b, uint64_t now)
{
	bool all = true;

	for (int i = 0; i < b->n; i++)
		if (!b->ops[i].done && told(&b->ops[i]))
			all = false;
	if (all)
		return true;
	for (int i = 0; i < b->n; i++)
	{
		logical *l = &b->ops[i];
		const hist_op *op = &l->attempts[0]->op;
		hist_value before = b->state[op->key];
		hist_result r;
		uint64_t when;
		bool ok;

		if (l->done || !may_happen(b, l, now, &when))
			continue;
		ok = carry_out(&b->state[op->key], op, &r);
		for (int k = 0; k < l->n; k++)
			if (l->attempts[k]->result.told == HIST_OK && !agrees(l->attempts[k], &r))
				ok = false;
		l->done = true;
		ok = ok && try_all(b, when);
		l->done = false;
		b->state[op->key] = before;
		if (ok)
			return true;
	}
	return false;
}

bool
brute_linearizable(const hist *h, bool by_slot)
{
	static brute b;

	memset(&b, 0, sizeof(b));
	b.by_slot = by_slot;
	for (size_t i = 0; i < h->n_keys; i++)
		b.state[i] = h->keys[i].initial;
	for (size_t i = 0; i < h->n_attempts; i++)
	{
		const hist_attempt *a = &h->attempts[i];
		int k = b.n;

		if (a->op.request != 0)
			for (k = 0; k < b.n; k++)
				if (b.ops[k].attempts[0]->op.request == a->op.request)
					break;
		if (k == b.n)
			b.n++;
		b.ops[k].attempts[b.ops[k].n++] = a;
	}
	for (int i = 0; i < b.n; i++)
	{
		logical *l = &b.ops[i];
		uint64_t slot = slot_of(l);

		/* Put the operation itself first, questions about it after; one slot only. */
		for (int k = 0; k < l->n; k++)
		{
			const hist_result *r = &l->attempts[k]->result;

			if (l->attempts[0]->op.kind == HIST_OUTCOME)
			{
				const hist_attempt *a = l->attempts[0];

				l->attempts[0] = l->attempts[k];
				l->attempts[k] = a;
			}
			if (r->told == HIST_OK && !(r->known & HIST_UNDECIDED) && r->slot != 0 &&
				r->slot != slot)
				return false;
		}
		for (int k = 1; k < l->n; k++)
			if (l->attempts[k]->op.kind != HIST_OUTCOME &&
				l->attempts[0]->op.kind != HIST_OUTCOME &&
				!alike(&l->attempts[0]->op, &l->attempts[k]->op))
				return false;
	}
	return try_all(&b, 0);
}
