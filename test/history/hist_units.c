/*
 * hist_units.c
 *	  From attempts to units: what the search has to place.
 *
 * Several attempts with one request number are one operation.  It takes effect
 * after the first of them that may have taken effect began, and before the
 * first that was told a result ended; who asked for its outcome and was told
 * "not decided yet" shows that it took effect after that question.  What they
 * were told must be the same result, since the cluster keeps the first.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hist_int.h"

typedef struct request
{
	uint64_t id;
	uint32_t number;
} request;

static int
compare_requests(const void *a, const void *b)
{
	const request *x = a;
	const request *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static int
compare_units(const void *a, const void *b)
{
	const hist_unit *x = a;
	const hist_unit *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->number < y->number ? -1 : 1;
}

static void
add_unit(hist *h, const hist_unit *u)
{
	h->units = hist_grow(h->units, &h->cap_units, h->n_units + 1, sizeof(*u));
	h->units[h->n_units++] = *u;
}

/* Take over what an attempt was told; false if another was told otherwise. */
static bool
merge_result(hist_unit *u, const hist_result *r)
{
	unsigned both = u->known & r->known;

	if ((both & HIST_APPLIED && u->applied != r->applied) ||
		(both & HIST_PREVIOUS && !hist_equal(u->previous, r->previous)) ||
		(both & HIST_CURRENT && !hist_equal(u->current, r->current)) ||
		(u->slot != 0 && r->slot != 0 && u->slot != r->slot))
		return false;
	if (r->known & HIST_APPLIED)
		u->applied = r->applied;
	if (r->known & HIST_PREVIOUS)
		u->previous = r->previous;
	if (r->known & HIST_CURRENT)
		u->current = r->current;
	if (r->slot != 0)
		u->slot = r->slot;
	u->known |= r->known;
	return true;
}

static bool
contradiction(hist *h, const request *r, size_t n, const char *what)
{
	const hist_op *op = &h->attempts[r[0].number - 1].op;

	hist_say(h, "key %s, request %" PRIu64 ": %s\n", h->keys[op->key].name, r[0].id, what);
	for (size_t i = 0; i < n; i++)
		hist_say_attempt(h, r[i].number);
	return false;
}

/* The attempts r[0..n-1] have one request number. */
static bool
make_request_unit(hist *h, const request *r, size_t n)
{
	hist_unit u;
	uint64_t undecided = 0; /* the latest such question */
	bool refused = false;   /* an outcome said: failed */

	memset(&u, 0, sizeof(u));
	u.from = u.until = u.ended = HIST_NEVER;
	for (size_t i = 0; i < n; i++)
	{
		const hist_attempt *a = &h->attempts[r[i].number - 1];

		if (a->op.kind == HIST_OUTCOME)
		{
			if (a->result.told == HIST_FAILED)
				refused = true;
			else if (a->result.told == HIST_OK && a->result.known & HIST_UNDECIDED &&
					 a->begin > undecided)
				undecided = a->begin;
		}
		else
		{
			if (u.op != NULL && (u.op->key != a->op.key || !hist_same_op(u.op, &a->op)))
				return contradiction(h, r, n, "used for different operations");
			if (u.op == NULL)
			{
				u.op = &a->op;
				u.number = r[i].number;
				u.key = a->op.key;
			}
			if (a->result.told != HIST_FAILED && a->begin < u.from)
				u.from = a->begin;
		}
		if (a->result.told == HIST_OK && !(a->result.known & HIST_UNDECIDED))
		{
			if (!merge_result(&u, &a->result))
				return contradiction(h, r, n, "attempts were told different results");
			u.required = true;
			if (a->end < u.until)
				u.until = u.ended = a->end;
		}
	}
	if (u.op == NULL)
	{
		if (u.required)
			return contradiction(h, r, n, "decided, though nobody asked for it");
		return true;
	}
	if (refused || u.from == HIST_NEVER)
	{
		if (u.required)
			return contradiction(h, r, n, "told to have failed for sure, and told a result");
		return true;
	}
	if (undecided > u.from)
		u.from = undecided;
	if (u.until < u.from)
		return contradiction(h, r, n, "told a result, and told later not to be decided");
	add_unit(h, &u);
	return true;
}

bool
hist_make_units(hist *h)
{
	request *requests = NULL;
	size_t n_requests = 0;
	size_t cap = 0;
	bool ok = true;

	h->n_units = 0;
	for (size_t i = 0; i < h->n_attempts; i++)
	{
		const hist_attempt *a = &h->attempts[i];
		hist_unit u;

		if (a->op.request != 0)
		{
			requests = hist_grow(requests, &cap, n_requests + 1, sizeof(request));
			requests[n_requests++] = (request){a->op.request, (uint32_t) i + 1};
			continue;
		}
		/* Nobody saw a read that told nothing. */
		if (a->op.kind == HIST_OUTCOME || a->result.told == HIST_FAILED ||
			(a->result.told == HIST_UNKNOWN && a->op.kind == HIST_READ))
			continue;
		memset(&u, 0, sizeof(u));
		u.op = &a->op;
		u.number = (uint32_t) i + 1;
		u.key = a->op.key;
		u.from = a->begin;
		u.ended = a->end;
		u.until = HIST_NEVER;
		if (a->result.told == HIST_OK)
		{
			u.required = true;
			u.until = a->end;
			u.slot = a->result.slot;
			merge_result(&u, &a->result);
		}
		add_unit(h, &u);
	}
	if (n_requests > 0)
		qsort(requests, n_requests, sizeof(request), compare_requests);
	for (size_t first = 0, next; first < n_requests && ok; first = next)
	{
		for (next = first + 1; next < n_requests; next++)
			if (requests[next].id != requests[first].id)
				break;
		ok = make_request_unit(h, requests + first, next - first);
	}
	free(requests);
	if (h->n_units > 0)
		qsort(h->units, h->n_units, sizeof(hist_unit), compare_units);
	return ok;
}
