/*
 * hist_search.c
 *	  Is there an order of one key's operations that explains what was told?
 *
 * Wing and Gong's search in the form Lowe calls just-in-time linearization: we walk
 * through time and keep the set of all *configurations* the key may be in: a
 * value, and which of the operations open at this moment have taken effect
 * already.  When an operation X ends, every configuration in which X has not
 * taken effect is carried on by letting open operations take effect, in every
 * order, until X has; what cannot be carried on is dropped.  None left: no order
 * explains the history up to here, and this is its shortest such prefix.
 * What is not needed before X is left for later, so the set stays small, and
 * a moment with nothing open leaves nothing but values: cut points come by
 * themselves.
 *
 * An operation with unknown outcome stays open for ever.  That is what makes
 * such searches explode, and what the rules here are for; each of them leaves out
 * only what another configuration covers:
 *
 *	- Of two configurations with the same value and the same required operations
 *	  done, the one that used fewer of the unknown ones can do all the other
 *	  can (nothing is lost by never using one).
 *	- Of unknown operations that do the same, the earlier one is used first; of
 *	  additions of the same number, the one that is pickier about when.
 *	- An unknown operation that sets a value which nobody was ever told to have
 *	  found there has no use: left out or undone by the next, nobody can tell.  After
 *	  the last who found it has ended, it is forgotten.
 *	- What was told never to change the value (reads, conditions that did not
 *	  hold) takes effect as soon as it fits: that is in nobody's way.
 *	- Where all operations append, lists only grow: a value must be the beginning
 *	  of every longer list anybody was told.  Where all add in one direction, no
 *	  value lies beyond the one that X found; else see ways().
 *
 * By slot: operations that were told a slot take effect in the order of slots,
 * those with one slot in any order.  A read that was told a slot comes after all
 * operations with that slot or a lower one.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "hist_int.h"

#define NOWHERE UINT32_MAX
#define MAX_NODES 1000000 /* configurations at one moment */

typedef enum event_kind
{
	/* in the order in which events of one time are taken */
	EV_BEGIN,
	EV_END,
	EV_FORGET
} event_kind;

typedef struct event
{
	uint64_t time;
	uint32_t unit;
	event_kind kind;
} event;

/* What the search knows of a unit besides what was told. */
typedef struct info
{
	bool pure;        /* told never to change the value */
	bool before_told; /* and which value it found: */
	hist_value before;
	uint32_t place;  /* bit in configurations while open; NOWHERE: not open */
	uint32_t twin;   /* unknown one that does the same and began earlier */
	uint64_t forget; /* unknown: no use after this time; 0: no use at all */
} info;

typedef struct node
{
	hist_value state;
	uint64_t hash; /* of state and required operations done */
	uint32_t next; /* in its chain */
	bool covered;  /* by another that used fewer unknown operations */
	bool done;     /* X has taken effect */
	uint64_t set[];
} node;

typedef struct pool
{
	char *bytes;
	size_t cap;
	size_t n;
} pool;

/* When was a value last found? */
typedef struct found
{
	hist_value value;
	uint64_t last; /* 0: free place */
} found;

struct hist_search
{
	event *events;
	size_t cap_events;
	info *infos;
	size_t cap_infos;
	uint32_t *open; /* unit at each place, NOWHERE: free */
	size_t cap_open;
	size_t n_open; /* places in use or free below the highest used */
	uint64_t *required_bits;
	size_t cap_bits;
	size_t words; /* of a configuration's set */
	size_t stride;
	pool now; /* the configurations */
	pool tried;
	uint32_t *heads; /* of chains of `tried` */
	size_t n_heads;
	found *founds;
	size_t cap_founds;
	uint64_t *landmarks; /* hash told for a list of that length */
	bool *has_landmark;
	size_t cap_landmarks;
	size_t cap_has;
	size_t n_landmarks; /* 0: not all operations append */
	int direction;      /* +1, -1: all operations add that way */
	bool by_slot;
	const hist_unit *units;
};

void
hist_search_free(hist_search *s)
{
	if (s == NULL)
		return;
	free(s->events);
	free(s->infos);
	free(s->open);
	free(s->required_bits);
	free(s->now.bytes);
	free(s->tried.bytes);
	free(s->heads);
	free(s->founds);
	free(s->landmarks);
	free(s->has_landmark);
	free(s);
}

/* ---- what a unit tells ---- */

static bool
matches(const hist_unit *u, hist_value before, bool applied, hist_value after)
{
	return (!(u->known & HIST_APPLIED) || u->applied == applied) &&
		   (!(u->known & HIST_PREVIOUS) || hist_equal(u->previous, before)) &&
		   (!(u->known & HIST_CURRENT) || hist_equal(u->current, after));
}

/* It can take effect on that value and be told what it was told. */
static bool
fits(const hist_unit *u, hist_value before, hist_value *after)
{
	bool applied;

	return hist_apply(u->op, before, &applied, after) && matches(u, before, applied, *after);
}

/*
 * Which value a required unit found, if what it was told says so.  *blind: what
 * it found does not matter to what it was told, nor to the value after it.
 */
static bool
value_found(const hist_unit *u, hist_value *before, bool *blind)
{
	const hist_op *op = u->op;

	*blind = false;
	if (u->known & HIST_PREVIOUS)
	{
		*before = u->previous;
		return true;
	}
	if (op->kind == HIST_READ)
	{
		*before = u->current;
		*blind = !(u->known & HIST_CURRENT);
		return u->known & HIST_CURRENT;
	}
	if (op->kind == HIST_PUT)
	{
		*blind = true;
		return false;
	}
	if (!(u->known & HIST_APPLIED))
		return false;
	if (!u->applied)
	{
		*before = u->current;
		return u->known & HIST_CURRENT;
	}
	switch (op->kind)
	{
		case HIST_INSERT:
			*before = hist_absent();
			return true;
		case HIST_CAS:
			*before = op->expected;
			return true;
		case HIST_DELETE:
			*before = op->expected;
			return !op->any;
		case HIST_ADD:
			*before = hist_number((int64_t) ((uint64_t) u->current.n - (uint64_t) op->delta));
			return u->known & HIST_CURRENT;
		default:
			return false;
	}
}

/* It was told that it changed nothing, so wherever it stands it changes nothing. */
static bool
is_pure(const hist_unit *u)
{
	if (!u->required)
		return false;
	if (u->op->kind == HIST_READ || (u->known & HIST_APPLIED && !u->applied))
		return true;
	return u->known & HIST_PREVIOUS && u->known & HIST_CURRENT &&
		   hist_equal(u->previous, u->current);
}

/* ---- which unknown operations may be forgotten, and when ---- */

static uint64_t *
find_found(hist_search *s, hist_value v, bool add)
{
	size_t at = hist_hash(v) & (s->cap_founds - 1);

	while (s->founds[at].last != 0)
	{
		if (hist_equal(s->founds[at].value, v))
			return &s->founds[at].last;
		at = (at + 1) & (s->cap_founds - 1);
	}
	if (!add)
		return NULL;
	s->founds[at].value = v;
	return &s->founds[at].last;
}

static void
note_found(hist_search *s, hist_value v, uint64_t until)
{
	uint64_t *last = find_found(s, v, true);

	if (until > *last)
		*last = until;
}

/*
 * An unknown operation sets a value; who finds it there?  Required operations
 * that say so, and unknown ones that want it, as long as they are of use.  If
 * some required operation depends on what it found and does not say what
 * that was, or if values are made out of values found, nothing can be said.
 */
static void
plan_forgetting(hist_search *s, const hist_unit *units, size_t n)
{
	bool changed = true;
	size_t need = 64;

	for (size_t i = 0; i < n; i++)
		s->infos[i].forget = HIST_NEVER;
	for (size_t i = 0; i < n; i++)
	{
		bool blind;
		hist_value v;

		if (units[i].op->kind == HIST_ADD || units[i].op->kind == HIST_APPEND ||
			(units[i].required && !value_found(&units[i], &v, &blind) && !blind))
			return;
	}
	while (need < 4 * n)
		need *= 2;
	if (need > s->cap_founds)
	{
		free(s->founds);
		s->founds = malloc(need * sizeof(found));
		if (s->founds == NULL)
			abort();
		s->cap_founds = need;
	}
	memset(s->founds, 0, s->cap_founds * sizeof(found));
	for (size_t i = 0; i < n; i++)
		if (!units[i].required)
			s->infos[i].forget = 0;
		else if (s->infos[i].before_told)
			/* times may be 0, last must not */
			note_found(s, s->infos[i].before, units[i].until + 1);
	while (changed)
	{
		changed = false;
		for (size_t i = 0; i < n; i++)
		{
			const hist_op *op = units[i].op;
			const uint64_t *last;

			if (units[i].required)
				continue;
			last = find_found(s, op->kind == HIST_DELETE ? hist_absent() : op->value, false);
			if (last == NULL || *last - 1 < units[i].from || *last == s->infos[i].forget)
				continue;
			s->infos[i].forget = *last;
			changed = true;
			if (op->kind == HIST_CAS || (op->kind == HIST_DELETE && !op->any))
				note_found(s, op->expected, *last);
			else if (op->kind == HIST_INSERT)
				note_found(s, hist_absent(), *last);
		}
	}
}

/* ---- what only grows ---- */

static void
plan_growth(hist_search *s, const hist_unit *units, size_t n, hist_value initial, bool landmarks)
{
	bool appends = landmarks;
	bool up = true;
	bool down = true;

	for (size_t i = 0; i < n; i++)
	{
		const hist_op *op = units[i].op;

		if (op->kind != HIST_APPEND && op->kind != HIST_READ)
			appends = false;
		if (op->kind != HIST_ADD && op->kind != HIST_READ &&
			(op->kind != HIST_INSERT || op->value.kind != HIST_NUMBER))
			up = down = false;
		if (op->kind == HIST_ADD && op->delta < 0)
			up = false;
		if (op->kind == HIST_ADD && op->delta > 0)
			down = false;
	}
	s->direction = up ? 1 : down ? -1 : 0;
	s->n_landmarks = 0;
	if (!appends)
		return;
	s->n_landmarks = n + (size_t) (initial.kind == HIST_LIST ? initial.n : 0) + 1;
	s->landmarks = hist_grow(s->landmarks, &s->cap_landmarks, s->n_landmarks, sizeof(uint64_t));
	s->has_landmark = hist_grow(s->has_landmark, &s->cap_has, s->n_landmarks, sizeof(bool));
	memset(s->has_landmark, 0, s->n_landmarks * sizeof(bool));
	for (size_t i = 0; i < n; i++)
	{
		const hist_value *told[2] = {units[i].known & HIST_PREVIOUS ? &units[i].previous : NULL,
									 units[i].known & HIST_CURRENT ? &units[i].current : NULL};

		for (int k = 0; k < 2; k++)
			if (told[k] != NULL && told[k]->kind == HIST_LIST && told[k]->n >= 0 &&
				(uint64_t) told[k]->n < s->n_landmarks)
			{
				s->has_landmark[told[k]->n] = true;
				s->landmarks[told[k]->n] = told[k]->hash;
			}
	}
}

/* A value on the way to X that cannot lead to what X, or anybody, was told. */
static bool
hopeless(const hist_search *s, hist_value v, const hist_unit *x, const info *xi)
{
	if (s->n_landmarks > 0 && v.kind == HIST_LIST && (uint64_t) v.n < s->n_landmarks &&
		s->has_landmark[v.n] && s->landmarks[v.n] != v.hash)
		return true;
	if (s->n_landmarks > 0 && v.kind == HIST_LIST && x->known & HIST_CURRENT && v.n > x->current.n)
		return true;
	if (s->direction != 0 && xi->before_told && v.kind == HIST_NUMBER)
	{
		if (xi->before.kind != HIST_NUMBER)
			return true;
		return s->direction > 0 ? v.n > xi->before.n : v.n < xi->before.n;
	}
	return false;
}

/* ---- configurations ---- */

static node *
node_at(const hist_search *s, const pool *p, size_t i)
{
	return (node *) (p->bytes + i * s->stride);
}

static node *
new_node(hist_search *s, pool *p)
{
	p->bytes = hist_grow(p->bytes, &p->cap, (p->n + 1) * s->stride, 1);
	return node_at(s, p, p->n++);
}

static bool
has(const node *c, uint32_t place)
{
	return c->set[place / 64] >> (place % 64) & 1;
}

static void
set_bit(uint64_t *set, uint32_t place)
{
	set[place / 64] |= UINT64_C(1) << (place % 64);
}

static void
clear_bit(uint64_t *set, uint32_t place)
{
	set[place / 64] &= ~(UINT64_C(1) << (place % 64));
}

static void
clear_everywhere(hist_search *s, uint32_t place)
{
	for (size_t i = 0; i < s->now.n; i++)
		clear_bit(node_at(s, &s->now, i)->set, place);
}

/* The lowest slot that has still to take effect. */
static uint64_t
lowest_slot(const hist_search *s, const node *c)
{
	uint64_t lowest = HIST_NEVER;

	if (!s->by_slot)
		return lowest;
	for (uint32_t p = 0; p < s->n_open; p++)
	{
		const hist_unit *u;

		if (s->open[p] == NOWHERE || has(c, p))
			continue;
		u = &s->units[s->open[p]];
		if (u->required && u->slot != 0 && u->slot < lowest && u->op->kind != HIST_READ)
			lowest = u->slot;
	}
	return lowest;
}

static bool
slot_allows(const hist_unit *u, uint64_t lowest)
{
	if (u->slot == 0 || !u->required)
		return true;
	return u->op->kind == HIST_READ ? u->slot < lowest : u->slot <= lowest;
}

/* Let all that changes nothing take effect where it fits. */
static void
settle(hist_search *s, node *c)
{
	bool again = true;

	while (again)
	{
		uint64_t lowest = lowest_slot(s, c);

		again = false;
		for (uint32_t p = 0; p < s->n_open; p++)
		{
			uint32_t u = s->open[p];
			hist_value after;

			if (u == NOWHERE || !s->infos[u].pure || has(c, p) ||
				!slot_allows(&s->units[u], lowest) || !fits(&s->units[u], c->state, &after))
				continue;
			set_bit(c->set, p);
			again = s->by_slot; /* it may have been the lowest */
		}
	}
}

/*
 * The last node of `tried` has been filled in: keep it, unless another covers
 * it.  `x` is the place of X.
 */
static void
keep(hist_search *s, uint32_t x)
{
	size_t number = s->tried.n - 1;
	node *c = node_at(s, &s->tried, number);
	uint64_t hash = hist_hash(c->state);
	uint32_t *head;

	for (size_t w = 0; w < s->words; w++)
		hash = hist_mix(hash, c->set[w] & s->required_bits[w]);
	if (s->tried.n * 2 > s->n_heads)
	{
		s->n_heads = s->n_heads ? s->n_heads * 2 : 64;
		free(s->heads);
		s->heads = malloc(s->n_heads * sizeof(uint32_t));
		if (s->heads == NULL)
			abort();
		memset(s->heads, 0xff, s->n_heads * sizeof(uint32_t));
		for (size_t i = 0; i < number; i++)
		{
			node *d = node_at(s, &s->tried, i);

			head = &s->heads[d->hash & (s->n_heads - 1)];
			d->next = *head;
			*head = (uint32_t) i;
		}
	}
	head = &s->heads[hash & (s->n_heads - 1)];
	for (uint32_t i = *head; i != NOWHERE;)
	{
		node *d = node_at(s, &s->tried, i);
		bool same = d->hash == hash && !d->covered && hist_equal(d->state, c->state);
		bool fewer = true; /* d used no unknown operation that c did not */
		bool more = true;

		for (size_t w = 0; same && w < s->words; w++)
		{
			uint64_t required = s->required_bits[w];

			if ((d->set[w] ^ c->set[w]) & required)
				same = false;
			if (d->set[w] & ~c->set[w] & ~required)
				fewer = false;
			if (c->set[w] & ~d->set[w] & ~required)
				more = false;
		}
		if (same && fewer)
		{
			s->tried.n--;
			return;
		}
		if (same && more)
			d->covered = true;
		i = d->next;
	}
	c->hash = hash;
	c->covered = false;
	c->done = has(c, x);
	c->next = *head;
	*head = (uint32_t) number;
}

static void
forget_tried(hist_search *s)
{
	for (size_t i = 0; i < s->tried.n; i++)
		s->heads[node_at(s, &s->tried, i)->hash & (s->n_heads - 1)] = NOWHERE;
	s->tried.n = 0;
}

/*
 * Is there an unknown addition left that does the same as u here, and whose
 * condition is narrower?
 */
static bool
pickier_fits(const hist_search *s, const node *c, const hist_unit *u)
{
	const hist_op *a = u->op;

	for (uint32_t p = 0; a->kind == HIST_ADD && p < s->n_open; p++)
	{
		const hist_op *b;

		if (s->open[p] == NOWHERE || s->units[s->open[p]].required || has(c, p))
			continue;
		b = s->units[s->open[p]].op;
		if (b->kind == HIST_ADD && b->delta == a->delta && b->at_least >= a->at_least &&
			b->at_most <= a->at_most && (b->at_least > a->at_least || b->at_most < a->at_most) &&
			c->state.n >= b->at_least && c->state.n <= b->at_most)
			return true;
	}
	return false;
}

/*
 * Unknown additions need to be tried only towards a number that an open
 * operation found: a run of them from one number to another can be put in an
 * order that always goes towards its end, and what adds up to nothing can be
 * left out.  Not so if the order decides which conditions hold.
 */
static void
ways(const hist_search *s, const node *c, bool *up, bool *down)
{
	int64_t step = 0;
	int64_t least = INT64_MIN; /* where all conditions hold */
	int64_t most = INT64_MAX;
	int64_t low = c->state.n; /* what was found */
	int64_t high = c->state.n;

	*up = *down = true;
	if (c->state.kind != HIST_NUMBER)
		return;
	for (uint32_t p = 0; p < s->n_open; p++)
	{
		const hist_unit *u;
		const info *ui;

		if (s->open[p] == NOWHERE || has(c, p))
			continue;
		u = &s->units[s->open[p]];
		ui = &s->infos[s->open[p]];
		if (u->required)
		{
			if (!ui->before_told)
				return;
			if (ui->before.kind == HIST_NUMBER && ui->before.n < low)
				low = ui->before.n;
			if (ui->before.kind == HIST_NUMBER && ui->before.n > high)
				high = ui->before.n;
		}
		else if (u->op->kind == HIST_ADD)
		{
			int64_t size = u->op->delta < 0 ? -u->op->delta : u->op->delta;

			step = size > step ? size : step;
			least = u->op->at_least > least ? u->op->at_least : least;
			most = u->op->at_most < most ? u->op->at_most : most;
		}
		else
			return;
	}
	/* Numbers this large are none that anybody counts to. */
	if (low < INT64_MIN / 4 || high > INT64_MAX / 4 || step > INT64_MAX / 4 || low - step < least ||
		high + step > most)
		return;
	*up = high > c->state.n;
	*down = low < c->state.n;
}

/* Every next step from one configuration towards X. */
static void
carry_on(hist *h, hist_search *s, size_t number, uint32_t x)
{
	node *c = node_at(s, &s->tried, number);
	uint64_t lowest = lowest_slot(s, c);
	bool up;
	bool down;

	ways(s, c, &up, &down);
	for (uint32_t p = 0; p < s->n_open; p++)
	{
		uint32_t y = s->open[p];
		const hist_unit *u = &s->units[y];
		hist_value after;
		uint32_t twin;
		node *d;

		c = node_at(s, &s->tried, number);
		if (y == NOWHERE || s->infos[y].pure || has(c, p) || !slot_allows(u, lowest))
			continue;
		twin = s->infos[y].twin;
		if (twin != NOWHERE && s->infos[twin].place != NOWHERE && !has(c, s->infos[twin].place))
			continue;
		h->steps++;
		if (!fits(u, c->state, &after) ||
			(!u->required && (hist_equal(after, c->state) || pickier_fits(s, c, u))))
			continue;
		if (!u->required && u->op->kind == HIST_ADD && !(u->op->delta > 0 ? up : down))
			continue;
		if (y != x && hopeless(s, after, &s->units[x], &s->infos[x]))
			continue;
		d = new_node(s, &s->tried);
		c = node_at(s, &s->tried, number);
		memcpy(d, c, s->stride);
		d->state = after;
		set_bit(d->set, p);
		settle(s, d);
		keep(s, s->infos[x].place);
	}
}

/* ---- through time ---- */

static int
compare_events(const void *a, const void *b)
{
	const event *x = a;
	const event *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return x->unit < y->unit ? -1 : x->unit > y->unit;
}

static size_t
make_events(hist_search *s, const hist_unit *units, size_t n)
{
	size_t n_events = 0;
	size_t open = 0;
	size_t most = 0;

	s->events = hist_grow(s->events, &s->cap_events, 2 * n, sizeof(event));
	for (size_t i = 0; i < n; i++)
	{
		if (s->infos[i].forget == 0)
			continue;
		s->events[n_events++] = (event){units[i].from, (uint32_t) i, EV_BEGIN};
		if (units[i].required)
			s->events[n_events++] = (event){units[i].until, (uint32_t) i, EV_END};
		else if (s->infos[i].forget != HIST_NEVER)
			s->events[n_events++] = (event){s->infos[i].forget - 1, (uint32_t) i, EV_FORGET};
	}
	qsort(s->events, n_events, sizeof(event), compare_events);
	for (size_t i = 0; i < n_events; i++)
		if (s->events[i].kind == EV_BEGIN)
			most = ++open > most ? open : most;
		else
			open--;
	s->words = most / 64 + 1;
	s->stride = sizeof(node) + s->words * sizeof(uint64_t);
	s->open = hist_grow(s->open, &s->cap_open, most, sizeof(uint32_t));
	s->required_bits = hist_grow(s->required_bits, &s->cap_bits, s->words, sizeof(uint64_t));
	memset(s->required_bits, 0, s->words * sizeof(uint64_t));
	s->n_open = 0;
	return n_events;
}

static void
open_unit(hist_search *s, uint32_t y)
{
	const hist_unit *u = &s->units[y];
	info *yi = &s->infos[y];
	uint32_t place = 0;

	if (!u->required)
		for (uint32_t p = 0; p < s->n_open; p++)
		{
			uint32_t z = s->open[p];

			if (z != NOWHERE && !s->units[z].required && hist_same_op(s->units[z].op, u->op) &&
				(yi->twin == NOWHERE || s->units[z].from > s->units[yi->twin].from ||
				 (s->units[z].from == s->units[yi->twin].from && z > yi->twin)))
				yi->twin = z;
		}
	while (place < s->n_open && s->open[place] != NOWHERE)
		place++;
	if (place == s->n_open)
		s->n_open++;
	s->open[place] = y;
	yi->place = place;
	if (u->required)
		set_bit(s->required_bits, place);
	else
		clear_bit(s->required_bits, place);
}

static void
close_unit(hist_search *s, uint32_t y)
{
	uint32_t place = s->infos[y].place;

	s->infos[y].place = NOWHERE;
	s->open[place] = NOWHERE;
	while (s->n_open > 0 && s->open[s->n_open - 1] == NOWHERE)
		s->n_open--;
}

/* Unknown operations that every configuration has used are history. */
static void
close_used(hist_search *s)
{
	for (uint32_t p = 0; p < s->n_open; p++)
	{
		uint32_t y = s->open[p];
		size_t i = 0;

		if (y == NOWHERE || s->units[y].required)
			continue;
		while (i < s->now.n && has(node_at(s, &s->now, i), p))
			i++;
		if (i < s->now.n)
			continue;
		clear_everywhere(s, p);
		close_unit(s, y);
	}
}

/* X ends: what has become of the configurations. */
static hist_verdict
end_unit(hist *h, hist_search *s, uint32_t x, uint64_t max_steps)
{
	uint32_t place = s->infos[x].place;
	size_t i = 0;

	for (i = 0; i < s->now.n; i++)
		settle(s, node_at(s, &s->now, i));
	i = 0;
	while (i < s->now.n && has(node_at(s, &s->now, i), place))
		i++;
	if (i < s->now.n)
	{
		for (i = 0; i < s->now.n; i++)
		{
			node *c = new_node(s, &s->tried);

			memcpy(c, node_at(s, &s->now, i), s->stride);
			keep(s, place);
		}
		for (i = 0; i < s->tried.n; i++)
		{
			node *c = node_at(s, &s->tried, i);

			if (c->done || c->covered)
				continue;
			if (h->steps > max_steps || s->tried.n > MAX_NODES)
				return HIST_GAVE_UP;
			carry_on(h, s, i, x);
		}
		i = 0;
		for (size_t k = 0; k < s->tried.n; k++)
			if (node_at(s, &s->tried, k)->done)
				i++;
		if (i > 0) /* else leave those before it for the report */
		{
			s->now.n = 0;
			for (size_t k = 0; k < s->tried.n; k++)
				if (node_at(s, &s->tried, k)->done && !node_at(s, &s->tried, k)->covered)
				{
					node *c = new_node(s, &s->now);

					memcpy(c, node_at(s, &s->tried, k), s->stride);
				}
		}
		forget_tried(s);
		if (i == 0)
			return HIST_VIOLATION;
	}
	clear_everywhere(s, place);
	close_unit(s, x);
	close_used(s);
	return HIST_LINEARIZABLE;
}

/* ---- the report ---- */

static void
say_states(hist *h, const hist_search *s)
{
	size_t said = 0;

	for (size_t i = 0; i < s->now.n; i++)
	{
		const node *c = node_at(s, &s->now, i);
		size_t k = 0;

		while (k < i && !hist_equal(node_at(s, &s->now, k)->state, c->state))
			k++;
		if (k < i)
			continue;
		if (said++ == 8)
		{
			hist_say(h, ", ...");
			break;
		}
		hist_say(h, said > 1 ? ", or " : "");
		hist_say_value(h, c->state);
	}
	hist_say(h, "\n");
}

/* Who could have made the value that X found? */
static void
say_makers(hist *h, const hist_unit *x, hist_value v)
{
	size_t said = 0;

	if (v.kind == HIST_ABSENT)
		return;
	for (uint32_t i = 1; i <= h->n_attempts; i++)
	{
		const hist_attempt *a = &h->attempts[i - 1];
		bool makes = (a->op.kind == HIST_PUT || a->op.kind == HIST_INSERT || a->op.kind == HIST_CAS)
						 ? hist_equal(a->op.value, v)
						 : a->result.told == HIST_OK && a->op.kind != HIST_READ &&
							   a->result.known & HIST_CURRENT && hist_equal(a->result.current, v);

		if (a->op.key != x->key || !makes)
			continue;
		if (said++ == 0)
		{
			hist_say(h, " who made ");
			hist_say_value(h, v);
			hist_say(h, ":\n");
		}
		if (said <= 6)
			hist_say_attempt(h, i);
	}
	if (said == 0 && x->op->kind != HIST_ADD && x->op->kind != HIST_APPEND)
	{
		hist_say(h, " nobody set it to ");
		hist_say_value(h, v);
		hist_say(h, "\n");
	}
}

#define LAST_ENDED 8

static void
say_violation(hist *h, const hist_search *s, size_t n, uint32_t x)
{
	const hist_unit *u = &s->units[x];
	uint32_t last[LAST_ENDED];
	size_t n_last = 0;
	size_t open = 0;

	hist_say(h,
			 "key %s: no order of its operations explains what was told up to time %" PRIu64
			 ", when this one ended:\n",
			 h->keys[u->key].name, u->until);
	hist_say_unit(h, u);
	hist_say(h, " value just before, after all that had ended: ");
	say_states(h, s);
	if (s->infos[x].before_told)
		say_makers(h, u, s->infos[x].before);
	for (uint32_t p = 0; p < s->n_open; p++)
	{
		uint32_t y = s->open[p];

		if (y == NOWHERE || y == x)
			continue;
		if (open++ == 0)
			hist_say(h, " may have taken effect meanwhile:\n");
		if (open <= 12)
			hist_say_unit(h, &s->units[y]);
	}
	if (open > 12)
		hist_say(h, "  ... and %zu more\n", open - 12);
	for (uint32_t i = 0; i < n; i++)
	{
		const hist_unit *e = &s->units[i];
		size_t at;

		if (i == x || !e->required || e->until > u->until || s->infos[i].place != NOWHERE)
			continue;
		if (n_last == LAST_ENDED && s->units[last[0]].until > e->until)
			continue;
		if (n_last == LAST_ENDED)
			memmove(last, last + 1, --n_last * sizeof(last[0]));
		for (at = n_last; at > 0 && s->units[last[at - 1]].until > e->until; at--)
			last[at] = last[at - 1];
		last[at] = i;
		n_last++;
	}
	if (n_last > 0)
		hist_say(h, " the last that had ended before:\n");
	for (size_t i = 0; i < n_last; i++)
		hist_say_unit(h, &s->units[last[i]]);
}

/* ---- one key ---- */

static hist_verdict
walk(hist *h, hist_search *s, const hist_unit *units, size_t n, uint64_t max_steps, bool landmarks)
{
	hist_value initial = h->keys[units[0].key].initial;
	size_t n_events;
	node *c;

	s->infos = hist_grow(s->infos, &s->cap_infos, n, sizeof(info));
	for (size_t i = 0; i < n; i++)
	{
		info *ui = &s->infos[i];
		bool blind;

		memset(ui, 0, sizeof(*ui));
		ui->place = ui->twin = NOWHERE;
		ui->pure = is_pure(&units[i]);
		ui->before_told = units[i].required && value_found(&units[i], &ui->before, &blind);
	}
	plan_forgetting(s, units, n);
	plan_growth(s, units, n, initial, landmarks);
	n_events = make_events(s, units, n);
	s->now.n = s->tried.n = 0;
	if (s->n_heads > 0)
		memset(s->heads, 0xff, s->n_heads * sizeof(uint32_t));
	c = new_node(s, &s->now);
	memset(c, 0, s->stride);
	c->state = initial;

	for (size_t i = 0; i < n_events; i++)
	{
		uint32_t y = s->events[i].unit;

		switch (s->events[i].kind)
		{
			case EV_BEGIN:
				open_unit(s, y);
				break;
			case EV_END:
				switch (end_unit(h, s, y, max_steps))
				{
					case HIST_LINEARIZABLE:
						break;
					case HIST_GAVE_UP:
						hist_say(h,
								 "key %s: gave up at time %" PRIu64 ", after %" PRIu64
								 " steps, with %zu configurations\n",
								 h->keys[units[y].key].name, units[y].until, h->steps, s->tried.n);
						return HIST_GAVE_UP;
					case HIST_VIOLATION:
						say_violation(h, s, n, y);
						return HIST_VIOLATION;
				}
				break;
			case EV_FORGET:
				if (s->infos[y].place != NOWHERE)
				{
					clear_everywhere(s, s->infos[y].place);
					close_unit(s, y);
				}
				break;
		}
	}
	return HIST_LINEARIZABLE;
}

hist_verdict
hist_search_key(hist *h, hist_unit *units, size_t n, bool by_slot, uint64_t max_steps)
{
	size_t len = h->text_len;
	hist_verdict v;

	if (h->search == NULL)
	{
		h->search = calloc(1, sizeof(hist_search));
		if (h->search == NULL)
			abort();
	}
	h->search->units = units;
	h->search->by_slot = by_slot;
	v = walk(h, h->search, units, n, max_steps, true);
	if (v == HIST_VIOLATION && h->search->n_landmarks > 0)
	{
		/*
		 * Landmarks use what is told later.  Without them the walk gets to the
		 * operation that really is one too many, if it gets there.
		 */
		size_t first = h->text_len - len;
		size_t second = h->text_len;

		if (walk(h, h->search, units, n, h->steps + max_steps / 10, false) == HIST_VIOLATION)
		{
			memmove(h->text + len, h->text + second, h->text_len - second + 1);
			h->text_len -= first;
		}
		else
		{
			h->text_len = second;
			h->text[second] = '\0';
		}
	}
	return v;
}
