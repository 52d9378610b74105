/*
 * cycle.c
 *	  Did transactions have the isolation they asked for?  (cycle.h)
 *
 * In this order: what lists by themselves say (elements, prefixes, parts of
 * transactions); real time; then the graph.  Its nodes are the transactions in force:
 * those acknowledged, and those of unknown outcome of which something is there.
 *
 * Strongly connected parts are found by Tarjan's algorithm, without recursion, once for
 * each choice of edges; a cycle is shown by a breadth-first search inside of one.
 */
#include "cycle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

typedef enum op_kind
{
	APPEND,
	ROLLED_BACK,
	READ
} op_kind;

typedef struct op
{
	op_kind kind;
	uint32_t key;
	uint32_t next; /* of this transaction; NONE: the last */
	int64_t element;
	size_t at;     /* of a list read: in 'pool' */
	size_t n;      /* its length */
	size_t prefix; /* without the transaction's own elements at its end */
} op;

typedef struct txn
{
	cycle_level level;
	cycle_told told;
	bool ended;
	bool final;
	bool there; /* in force */
	size_t name;
	uint64_t began;
	uint64_t end;
	uint32_t first;
	uint32_t last;
} txn;

typedef struct key_state
{
	size_t name;
	size_t at; /* the longest list */
	size_t n;
	bool any;
	bool final;
} key_state;

typedef struct writer
{
	int64_t element;
	uint32_t txn; /* NONE: free */
	uint32_t key;
	bool rolled_back;
	bool seen; /* in a list at the end */
} writer;

typedef enum edge_kind
{
	WW = 1,
	WR = 2,
	RW = 4
} edge_kind;

typedef struct edge
{
	uint32_t from;
	uint32_t to;
	edge_kind kind;
	uint32_t key;
} edge;

/* An array that grows. */
#define GROW(array, n, room)                                       \
	do                                                             \
	{                                                              \
		if ((n) >= (room))                                         \
		{                                                          \
			while ((n) >= (room))                                  \
				(room) = (room) == 0 ? 256 : (room) *2;            \
			(array) = realloc((array), (room) * sizeof(*(array))); \
			if ((array) == NULL)                                   \
				abort();                                           \
		}                                                          \
	} while (0)

struct cycle
{
	txn *txns;
	size_t n_txns, txn_room;
	op *ops;
	size_t n_ops, op_room;
	key_state *keys;
	size_t n_keys, key_room;
	uint32_t *key_hash; /* number + 1 */
	size_t key_hash_size;
	int64_t *pool;
	size_t n_pool, pool_room;
	char *text;
	size_t n_text, text_room;
	writer *writers; /* a hash by element */
	size_t n_writers, writer_size;
	edge *edges;
	size_t n_edges, edge_room;
	size_t *first_edge; /* by transaction, of edges sorted by 'from' */
	uint32_t *component;
	uint32_t *scratch[4];
	cycle_figures figures;
	char why[4096];
	bool wrong;
};

/* ---- what is told ---- */

cycle *
cycle_new(void)
{
	cycle *c = calloc(1, sizeof(cycle));

	if (c == NULL)
		abort();
	return c;
}

void
cycle_free(cycle *c)
{
	free(c->txns);
	free(c->ops);
	free(c->keys);
	free(c->key_hash);
	free(c->pool);
	free(c->text);
	free(c->writers);
	free(c->edges);
	free(c->first_edge);
	free(c->component);
	for (int i = 0; i < 4; i++)
		free(c->scratch[i]);
	free(c);
}

void
cycle_reset(cycle *c)
{
	c->n_txns = c->n_ops = c->n_keys = c->n_pool = c->n_text = c->n_writers = c->n_edges = 0;
	if (c->key_hash_size > 0)
		memset(c->key_hash, 0, c->key_hash_size * sizeof(uint32_t));
	for (size_t i = 0; i < c->writer_size; i++)
		c->writers[i].txn = NONE;
	memset(&c->figures, 0, sizeof(c->figures));
	c->wrong = false;
	c->why[0] = '\0';
}

static void say(cycle *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The first thing that is wrong, and what is said about it. */
static void
say(cycle *c, const char *format, ...)
{
	size_t len = strlen(c->why);
	va_list args;

	c->wrong = true;
	va_start(args, format);
	vsnprintf(c->why + len, sizeof(c->why) - len, format, args);
	va_end(args);
}

const char *
cycle_why(const cycle *c)
{
	return c->why;
}

static size_t
keep_text(cycle *c, const char *text)
{
	size_t at = c->n_text;
	size_t len = strlen(text) + 1;

	GROW(c->text, at + len, c->text_room);
	memcpy(c->text + at, text, len);
	c->n_text += len;
	return at;
}

static const char *
name_of(const cycle *c, uint32_t t)
{
	return c->text + c->txns[t].name;
}

static const char *
key_name(const cycle *c, uint32_t k)
{
	return c->text + c->keys[k].name;
}

static uint64_t
hash_text(const char *s)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *s; s++)
		h = (h ^ (unsigned char) *s) * UINT64_C(1099511628211);
	return h;
}

uint32_t
cycle_key(cycle *c, const char *name)
{
	size_t i;

	if (c->n_keys * 2 >= c->key_hash_size)
	{
		c->key_hash_size = c->key_hash_size == 0 ? 1024 : c->key_hash_size * 2;
		free(c->key_hash);
		c->key_hash = calloc(c->key_hash_size, sizeof(uint32_t));
		if (c->key_hash == NULL)
			abort();
		for (uint32_t k = 0; k < c->n_keys; k++)
		{
			i = hash_text(key_name(c, k)) % c->key_hash_size;
			while (c->key_hash[i] != 0)
				i = (i + 1) % c->key_hash_size;
			c->key_hash[i] = k + 1;
		}
	}
	for (i = hash_text(name) % c->key_hash_size; c->key_hash[i] != 0;
		 i = (i + 1) % c->key_hash_size)
	{
		if (strcmp(key_name(c, c->key_hash[i] - 1), name) == 0)
			return c->key_hash[i] - 1;
	}
	GROW(c->keys, c->n_keys, c->key_room);
	memset(&c->keys[c->n_keys], 0, sizeof(key_state));
	c->keys[c->n_keys].name = keep_text(c, name);
	c->key_hash[i] = (uint32_t) ++c->n_keys;
	return (uint32_t) c->n_keys - 1;
}

uint32_t
cycle_begin(cycle *c, cycle_level level, const char *name, uint64_t began)
{
	txn t = {.level = level, .told = CYCLE_UNKNOWN, .began = began, .first = NONE, .last = NONE};

	t.end = UINT64_MAX;
	t.name = keep_text(c, name);
	GROW(c->txns, c->n_txns, c->txn_room);
	c->txns[c->n_txns] = t;
	return (uint32_t) c->n_txns++;
}

static op *
add_op(cycle *c, uint32_t t, op_kind kind, uint32_t key)
{
	op *o;
	uint32_t number = (uint32_t) c->n_ops;

	GROW(c->ops, c->n_ops, c->op_room);
	o = &c->ops[c->n_ops++];
	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->key = key;
	o->next = NONE;
	if (c->txns[t].first == NONE)
		c->txns[t].first = number;
	else
		c->ops[c->txns[t].last].next = number;
	c->txns[t].last = number;
	return o;
}

static writer *
find_writer(cycle *c, int64_t element)
{
	size_t i = (size_t) ((uint64_t) element * UINT64_C(0x9E3779B97F4A7C15) >> 20) % c->writer_size;

	while (c->writers[i].txn != NONE && c->writers[i].element != element)
		i = (i + 1) % c->writer_size;
	return &c->writers[i];
}

void
cycle_append(cycle *c, uint32_t t, uint32_t key, int64_t element, bool rolled_back)
{
	writer *w;

	add_op(c, t, rolled_back ? ROLLED_BACK : APPEND, key)->element = element;
	if (c->n_writers * 2 >= c->writer_size)
	{
		writer *old = c->writers;
		size_t n = c->writer_size;

		c->writer_size = n == 0 ? 1024 : n * 2;
		c->writers = malloc(c->writer_size * sizeof(writer));
		if (c->writers == NULL)
			abort();
		for (size_t i = 0; i < c->writer_size; i++)
			c->writers[i].txn = NONE;
		for (size_t i = 0; i < n; i++)
			if (old[i].txn != NONE)
				*find_writer(c, old[i].element) = old[i];
		free(old);
	}
	w = find_writer(c, element);
	if (w->txn != NONE && !c->wrong)
		say(c, "element %" PRId64 " is appended by %s and by %s: the history is no good\n", element,
			name_of(c, w->txn), name_of(c, t));
	*w = (writer){element, t, key, rolled_back, false};
	c->n_writers++;
}

void
cycle_read(cycle *c, uint32_t t, uint32_t key, const int64_t *elements, size_t n)
{
	op *o = add_op(c, t, READ, key);

	o->at = c->n_pool;
	o->n = n;
	GROW(c->pool, c->n_pool + n, c->pool_room);
	if (n > 0)
		memcpy(c->pool + c->n_pool, elements, n * sizeof(int64_t));
	c->n_pool += n;
}

void
cycle_end(cycle *c, uint32_t t, cycle_told told, uint64_t ended)
{
	c->txns[t].told = told;
	c->txns[t].end = ended;
	c->txns[t].ended = true;
}

void
cycle_final(cycle *c, uint32_t t)
{
	c->txns[t].final = true;
}

/* ---- lists ---- */

/* What the transaction itself has appended stands at the end; 'o' is one of its reads. */
static void
split_read(cycle *c, uint32_t t, op *o)
{
	size_t own = 0;

	for (uint32_t i = c->txns[t].first; &c->ops[i] != o; i = c->ops[i].next)
		own += c->ops[i].kind == APPEND && c->ops[i].key == o->key;
	if (own > o->n)
	{
		say(c, "%s does not see its own elements in %s\n", name_of(c, t), key_name(c, o->key));
		return;
	}
	o->prefix = o->n - own;
	own = o->prefix;
	for (uint32_t i = c->txns[t].first; &c->ops[i] != o; i = c->ops[i].next)
	{
		if (c->ops[i].kind != APPEND || c->ops[i].key != o->key)
			continue;
		if (c->pool[o->at + own++] != c->ops[i].element)
			say(c, "%s does not see its own element %" PRId64 " at the end of %s\n", name_of(c, t),
				c->ops[i].element, key_name(c, o->key));
	}
}

static void
find_longest(cycle *c)
{
	for (uint32_t t = 0; t < c->n_txns && !c->wrong; t++)
		for (uint32_t i = c->txns[t].first; i != NONE && !c->wrong; i = c->ops[i].next)
		{
			op *o = &c->ops[i];
			key_state *k = &c->keys[o->key];

			if (o->kind != READ)
				continue;
			split_read(c, t, o);
			k->final |= c->txns[t].final;
			if (k->any && o->prefix <= k->n)
				continue;
			k->any = true;
			k->at = o->at;
			k->n = o->prefix;
		}
}

static void
check_prefixes(cycle *c)
{
	for (uint32_t t = 0; t < c->n_txns; t++)
		for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
		{
			const op *o = &c->ops[i];
			const key_state *k = &c->keys[o->key];

			if (o->kind != READ)
				continue;
			for (size_t j = 0; j < o->prefix; j++)
				if (c->pool[o->at + j] != c->pool[k->at + j])
				{
					say(c,
						"%s read %" PRId64 " in %s at place %zu, where others read %" PRId64
						": no order of versions\n",
						name_of(c, t), c->pool[o->at + j], key_name(c, o->key), j,
						c->pool[k->at + j]);
					return;
				}
			if (c->txns[t].final && o->prefix < k->n)
			{
				say(c, "%s read %zu elements of %s, where %zu had been read before\n",
					name_of(c, t), o->prefix, key_name(c, o->key), k->n);
				return;
			}
		}
}

static void
check_elements(cycle *c, uint32_t key)
{
	const key_state *k = &c->keys[key];

	for (size_t i = 0; i < k->n; i++)
	{
		int64_t element = c->pool[k->at + i];
		writer *w = c->writer_size > 0 ? find_writer(c, element) : NULL;

		if (w == NULL || w->txn == NONE)
			say(c, "element %" PRId64 " of %s was written by nobody\n", element, key_name(c, key));
		else if (w->key != key)
			say(c, "element %" PRId64 " of %s was appended to %s\n", element, key_name(c, key),
				key_name(c, w->key));
		else if (w->seen)
			say(c, "element %" PRId64 " is twice in %s: it took effect twice\n", element,
				key_name(c, key));
		else if (w->rolled_back || c->txns[w->txn].told == CYCLE_ABORTED)
			say(c, "element %" PRId64 " of %s is there, but %s was rolled back (G1a)\n", element,
				key_name(c, key), name_of(c, w->txn));
		if (c->wrong)
			return;
		w->seen = true;
		c->txns[w->txn].there = true;
		c->figures.elements++;
	}
}

/* Who has appended what stands at this place. */
static uint32_t
writer_at(cycle *c, uint32_t key, size_t place)
{
	return find_writer(c, c->pool[c->keys[key].at + place])->txn;
}

/* What a transaction in force has appended must be there, if it can be: together, in order. */
static void
check_wholes(cycle *c, uint32_t t)
{
	for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
	{
		const op *o = &c->ops[i];
		const key_state *k = &c->keys[o->key];

		if (o->kind != APPEND || find_writer(c, o->element)->seen)
			continue;
		if (k->final && (c->txns[t].told == CYCLE_COMMITTED || c->txns[t].there))
		{
			say(c, "element %" PRId64 " of %s is lost: %s %s\n", o->element, key_name(c, o->key),
				name_of(c, t),
				c->txns[t].told == CYCLE_COMMITTED ? "was acknowledged" : "is there in part");
			return;
		}
	}
}

/* Each transaction's elements stand side by side, in their order; no read ends among them. */
static void
check_parts(cycle *c)
{
	for (uint32_t t = 0; t < c->n_txns; t++)
		for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
		{
			const op *o = &c->ops[i];
			const key_state *k = &c->keys[o->key];

			if (o->kind != READ || o->prefix == 0)
				continue;
			if (o->prefix < k->n &&
				writer_at(c, o->key, o->prefix - 1) == writer_at(c, o->key, o->prefix))
			{
				say(c, "%s read %s in the middle of what %s appended (G1b)\n", name_of(c, t),
					key_name(c, o->key), name_of(c, writer_at(c, o->key, o->prefix)));
				return;
			}
		}
	for (uint32_t key = 0; key < c->n_keys; key++)
		for (size_t place = 0; place < c->keys[key].n;)
		{
			uint32_t t = writer_at(c, key, place);

			for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
			{
				const op *o = &c->ops[i];

				if (o->kind != APPEND || o->key != key)
					continue;
				if (place < c->keys[key].n && c->pool[c->keys[key].at + place] == o->element)
				{
					place++;
					continue;
				}
				say(c,
					"of what %s appended to %s element %" PRId64 " is missing or out of order "
					"(G1b)\n",
					name_of(c, t), key_name(c, key), o->element);
				return;
			}
		}
}

static void
check_repeatable(cycle *c, uint32_t t)
{
	if (c->txns[t].level == CYCLE_READ_COMMITTED)
		return;
	for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
		for (uint32_t j = c->ops[i].next; j != NONE; j = c->ops[j].next)
		{
			const op *a = &c->ops[i];
			const op *b = &c->ops[j];

			if (a->kind == READ && b->kind == READ && a->key == b->key && a->prefix != b->prefix)
			{
				say(c, "%s read %s twice, and not the same\n", name_of(c, t), key_name(c, a->key));
				return;
			}
		}
}

/* Nothing stands behind what was begun only after its own transaction had ended. */
static void
check_real_time(cycle *c, uint32_t key)
{
	uint64_t latest = 0;
	uint32_t who = NONE;

	for (size_t i = 0; i < c->keys[key].n; i++)
	{
		uint32_t t = writer_at(c, key, i);

		if (who != NONE && c->txns[t].told == CYCLE_COMMITTED && c->txns[t].end < latest)
		{
			say(c, "%s stands behind %s in %s, which began when the other had ended\n",
				name_of(c, t), name_of(c, who), key_name(c, key));
			return;
		}
		if (c->txns[t].began > latest)
		{
			latest = c->txns[t].began;
			who = t;
		}
	}
}

/* ---- the graph ---- */

static void
add_edge(cycle *c, uint32_t from, uint32_t to, edge_kind kind, uint32_t key)
{
	if (from == to)
		return;
	GROW(c->edges, c->n_edges, c->edge_room);
	c->edges[c->n_edges++] = (edge){from, to, kind, key};
	if (kind == WW)
		c->figures.ww++;
	else if (kind == WR)
		c->figures.wr++;
	else
		c->figures.rw++;
}

static int
by_from(const void *a, const void *b)
{
	const edge *x = a;
	const edge *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	if (x->to != y->to)
		return x->to < y->to ? -1 : 1;
	return (int) x->kind - (int) y->kind;
}

static void
make_graph(cycle *c)
{
	for (uint32_t key = 0; key < c->n_keys; key++)
		for (size_t i = 1; i < c->keys[key].n; i++)
			add_edge(c, writer_at(c, key, i - 1), writer_at(c, key, i), WW, key);
	for (uint32_t t = 0; t < c->n_txns; t++)
	{
		if (!c->txns[t].there)
			continue;
		for (uint32_t i = c->txns[t].first; i != NONE; i = c->ops[i].next)
		{
			const op *o = &c->ops[i];

			if (o->kind != READ)
				continue;
			if (o->prefix > 0)
				add_edge(c, writer_at(c, o->key, o->prefix - 1), t, WR, o->key);
			if (o->prefix < c->keys[o->key].n)
				add_edge(c, t, writer_at(c, o->key, o->prefix), RW, o->key);
		}
	}
	if (c->n_edges > 0)
		qsort(c->edges, c->n_edges, sizeof(edge), by_from);
	c->first_edge = realloc(c->first_edge, (c->n_txns + 2) * sizeof(size_t));
	c->component = realloc(c->component, (c->n_txns + 1) * sizeof(uint32_t));
	if (c->first_edge == NULL || c->component == NULL)
		abort();
	for (int i = 0; i < 4; i++)
	{
		c->scratch[i] = realloc(c->scratch[i], (c->n_txns + 1) * sizeof(uint32_t));
		if (c->scratch[i] == NULL)
			abort();
	}
	for (size_t t = 0, e = 0; t <= c->n_txns; t++)
	{
		c->first_edge[t] = e;
		while (e < c->n_edges && c->edges[e].from == t)
			e++;
	}
}

/* Does it count, if rw count for transactions of at least this level? */
static bool
counts(const cycle *c, const edge *e, unsigned kinds, cycle_level rw_from)
{
	return (e->kind & kinds) != 0 && (e->kind != RW || c->txns[e->from].level >= rw_from);
}

/* Tarjan: c->component of every transaction; how many have more than one member. */
static size_t
find_components(cycle *c, unsigned kinds, cycle_level rw_from)
{
	uint32_t *index = c->scratch[0];
	uint32_t *low = c->scratch[1];
	uint32_t *stack = c->scratch[2];
	uint32_t *path = c->scratch[3];
	size_t *next = malloc((c->n_txns + 1) * sizeof(size_t));
	size_t n_stack = 0;
	uint32_t count = 0;
	uint32_t n_components = 0;
	size_t large = 0;

	if (next == NULL)
		abort();
	for (size_t t = 0; t < c->n_txns; t++)
	{
		index[t] = NONE;
		c->component[t] = NONE;
	}
	for (uint32_t root = 0; root < c->n_txns; root++)
	{
		size_t depth = 0;

		if (index[root] != NONE || c->first_edge[root] == c->first_edge[root + 1])
			continue;
		path[depth++] = root;
		index[root] = low[root] = count++;
		next[root] = c->first_edge[root];
		stack[n_stack++] = root;
		while (depth > 0)
		{
			uint32_t t = path[depth - 1];

			if (next[t] < c->first_edge[t + 1])
			{
				const edge *e = &c->edges[next[t]++];
				uint32_t to = e->to;

				if (!counts(c, e, kinds, rw_from))
					continue;
				if (index[to] == NONE)
				{
					index[to] = low[to] = count++;
					next[to] = c->first_edge[to];
					stack[n_stack++] = to;
					path[depth++] = to;
				}
				else if (c->component[to] == NONE && index[to] < low[t])
					low[t] = index[to];
				continue;
			}
			depth--;
			if (depth > 0 && low[t] < low[path[depth - 1]])
				low[path[depth - 1]] = low[t];
			if (low[t] == index[t])
			{
				size_t members = 0;
				uint32_t m;

				do
				{
					m = stack[--n_stack];
					c->component[m] = n_components;
					members++;
				} while (m != t);
				n_components++;
				large += members > 1;
			}
		}
	}
	free(next);
	return large;
}

/*
 * A shortest way from 'from' to 'to' within one component; scratch[0] has for each
 * transaction met the edge by which, + 1.
 */
static bool
find_way(cycle *c, uint32_t from, uint32_t to, unsigned kinds, cycle_level rw_from)
{
	uint32_t *by = c->scratch[0];
	uint32_t *queue = c->scratch[1];
	size_t head = 0;
	size_t tail = 0;

	memset(by, 0, c->n_txns * sizeof(uint32_t));
	queue[tail++] = from;
	while (head < tail)
	{
		uint32_t t = queue[head++];

		for (size_t i = c->first_edge[t]; i < c->first_edge[t + 1]; i++)
		{
			const edge *e = &c->edges[i];

			if (!counts(c, e, kinds, rw_from) || by[e->to] != 0 || e->to == from ||
				c->component[e->to] != c->component[from])
				continue;
			by[e->to] = (uint32_t) i + 1;
			if (e->to == to)
				return true;
			queue[tail++] = e->to;
		}
	}
	return false;
}

static void
show_edge(cycle *c, const edge *e)
{
	static const char *const levels[] = {"rc", "rr", "ser"};

	say(c, "  %s (%s) -%s-> %s (%s) by %s\n", name_of(c, e->from), levels[c->txns[e->from].level],
		e->kind == WW   ? "ww"
		: e->kind == WR ? "wr"
						: "rw",
		name_of(c, e->to), levels[c->txns[e->to].level], key_name(c, e->key));
}

/* The edge 'closing', and the way back that find_way() has found. */
static void
show_cycle(cycle *c, const char *what, const edge *closing)
{
	say(c, "%s\n", what);
	show_edge(c, closing);
	for (uint32_t t = closing->from; t != closing->to;)
	{
		const edge *e = &c->edges[c->scratch[0][t] - 1];

		show_edge(c, e);
		t = e->from;
	}
}

/* No cycle of such edges at all. */
static void
check_acyclic(cycle *c, unsigned kinds, cycle_level rw_from, const char *what)
{
	if (c->wrong || find_components(c, kinds, rw_from) == 0)
		return;
	for (size_t i = 0; i < c->n_edges; i++)
	{
		const edge *e = &c->edges[i];

		if (counts(c, e, kinds, rw_from) && c->component[e->from] == c->component[e->to] &&
			find_way(c, e->to, e->from, kinds, rw_from))
		{
			show_cycle(c, what, e);
			return;
		}
	}
}

static void
check_single(cycle *c)
{
	if (c->wrong)
		return;
	c->figures.skews = find_components(c, WW | WR | RW, CYCLE_REPEATABLE_READ);
	for (size_t i = 0; i < c->n_edges && c->figures.skews > 0; i++)
	{
		const edge *e = &c->edges[i];

		if (e->kind == RW && counts(c, e, RW, CYCLE_REPEATABLE_READ) &&
			c->component[e->from] == c->component[e->to] &&
			find_way(c, e->to, e->from, WW | WR, CYCLE_SERIALIZABLE))
		{
			show_cycle(c, "a cycle with one rw, of a transaction in REPEATABLE READ (G-single)", e);
			return;
		}
	}
}

bool
cycle_check(cycle *c)
{
	if (!c->wrong)
		find_longest(c);
	if (!c->wrong)
		check_prefixes(c);
	for (uint32_t key = 0; key < c->n_keys && !c->wrong; key++)
		check_elements(c, key);
	for (uint32_t t = 0; t < c->n_txns && !c->wrong; t++)
	{
		txn *x = &c->txns[t];

		check_wholes(c, t);
		check_repeatable(c, t);
		c->figures.transactions++;
		c->figures.told[x->told]++;
		c->figures.unknown_there += x->there && x->told == CYCLE_UNKNOWN;
		x->there |= x->told == CYCLE_COMMITTED;
		if (x->there)
			c->figures.level[x->level]++;
	}
	if (!c->wrong)
		check_parts(c);
	for (uint32_t key = 0; key < c->n_keys && !c->wrong; key++)
		check_real_time(c, key);
	if (!c->wrong)
		make_graph(c);
	check_acyclic(c, WW, CYCLE_SERIALIZABLE, "a cycle of writes (G0)");
	check_acyclic(c, WW | WR, CYCLE_SERIALIZABLE, "a cycle of writes and reads (G1c)");
	check_single(c);
	check_acyclic(c, WW | WR | RW, CYCLE_SERIALIZABLE,
				  "a cycle whose rw are all of SERIALIZABLE transactions (G2)");
	return !c->wrong;
}

cycle_figures
cycle_count(const cycle *c)
{
	return c->figures;
}

/* ---- files ---- */

static bool
read_operation(cycle *c, uint32_t t, char *word)
{
	char *mark;
	char *end;
	int64_t *list = NULL;
	size_t n = 0;
	size_t room = 0;

	if (*word == '+' || *word == '-')
	{
		int64_t element;

		mark = strchr(word, '=');
		if (mark == NULL || mark == word + 1)
			return false;
		*mark++ = '\0';
		element = strtoll(mark, &end, 10);
		if (end == mark || *end != '\0')
			return false;
		cycle_append(c, t, cycle_key(c, word + 1), element, *word == '-');
		return true;
	}
	mark = strchr(word, ':');
	if (mark == NULL || mark == word)
		return false;
	*mark++ = '\0';
	while (*mark != '\0')
	{
		GROW(list, n, room);
		list[n++] = strtoll(mark, &end, 10);
		if (end == mark || (*end != ',' && *end != '\0'))
		{
			free(list);
			return false;
		}
		mark = *end == ',' ? end + 1 : end;
	}
	cycle_read(c, t, cycle_key(c, word), list, n);
	free(list);
	return true;
}

static const char *const level_words[] = {"rc", "rr", "ser"};
static const char *const told_words[] = {"ok", "failed", "unknown"};

static int
index_of(const char *word, const char *const *words)
{
	for (int i = 0; i < 3; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return -1;
}

static bool
read_line(cycle *c, char *line)
{
	char *rest = NULL;
	char *word[6];
	uint64_t times[2];
	uint32_t t;
	int level;
	int told;

	for (int i = 0; i < 6; i++)
		if ((word[i] = strtok_r(i == 0 ? line : NULL, " \n", &rest)) == NULL)
			return false;
	for (int i = 0; i < 2; i++)
	{
		char *end;

		times[i] = strtoull(word[1 + i], &end, 10);
		if (*end != '\0')
			return false;
	}
	level = index_of(word[4], level_words);
	told = index_of(word[5], told_words);
	if (strcmp(word[0], "t") != 0 || level < 0 || told < 0)
		return false;
	t = cycle_begin(c, (cycle_level) level, word[3], times[0]);
	for (char *w = strtok_r(NULL, " \n", &rest); w != NULL; w = strtok_r(NULL, " \n", &rest))
	{
		if (strcmp(w, "final") == 0)
			cycle_final(c, t);
		else if (!read_operation(c, t, w))
			return false;
	}
	cycle_end(c, t, (cycle_told) told, times[1]);
	return true;
}

bool
cycle_file(cycle *c, FILE *from, const char *name)
{
	char *line = NULL;
	size_t room = 0;
	unsigned number = 0;
	bool good = true;

	while (good && getline(&line, &room, from) > 0)
	{
		number++;
		if (line[0] == '!')
			say(c, "a client says:%s", line + 1);
		else if (line[0] != '#' && !read_line(c, line))
		{
			say(c, "%s: line %u is not understood\n", name, number);
			good = false;
		}
	}
	free(line);
	return good;
}
