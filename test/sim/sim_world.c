/*
 * sim_world.c
 *	  The generator, the event heap, memory, traces and failure of a run.
 *
 * Invariant: events come out ordered by (time, order of scheduling), so the
 * run depends on the seed alone.  Memory taken with sim_alloc lives until the
 * end of the run; nothing is freed in between, so a stale pointer in the
 * simulator cannot change a run.
 */
#include "sim.h"

sim_world *W;
uint64_t sim_covered[N_COVERAGE];

const char *const sim_coverage_text[N_COVERAGE] = {
#define X(name, text) text,
	SIM_COVERAGE(X)
#undef X
};

#define ARENA_BLOCK ((size_t) 1 << 20)
#define N_BUCKETS 4096

typedef struct arena_block
{
	struct arena_block *next;
	size_t cap;
	uint64_t data[];
} arena_block;

/*
 * Beware: two draws must never stand in the arguments of one call, nor on the
 * two sides of an operator.  Their order is the compiler's choice, and a seed
 * would be another run with another compiler.
 */
uint64_t
rnd(void)
{
	return px_random(&W->rng);
}

uint64_t
rnd_below(uint64_t n)
{
	return n == 0 ? 0 : rnd() % n;
}

uint64_t
rnd_between(uint64_t low, uint64_t high)
{
	return low + rnd_below(high - low + 1);
}

bool
chance(int permille)
{
	return rnd_below(1000) < (uint64_t) permille;
}

/* Between low and high, small ones as likely as large ones by magnitude. */
px_usec
rnd_log(px_usec low, px_usec high)
{
	px_usec top = low;
	int doublings = 0;
	int pick;

	while (top * 2 <= high && doublings < 40)
	{
		top *= 2;
		doublings++;
	}
	pick = (int) rnd_below((uint64_t) doublings + 1);
	top = low << pick;
	return px_min64(high, rnd_between(top, top * 2));
}

void *
sim_alloc(size_t bytes)
{
	arena_block *b = W->arena;
	void *p;

	bytes = (bytes + 15) & ~(size_t) 15;
	if (b == NULL || W->arena_used + bytes > b->cap)
	{
		size_t cap = bytes > ARENA_BLOCK ? bytes : ARENA_BLOCK;

		b = malloc(sizeof(arena_block) + cap + 16);
		if (b == NULL)
			abort();
		b->next = W->arena;
		b->cap = cap;
		W->arena = b;
		W->arena_used = 0;
	}
	p = (uint8_t *) b->data + W->arena_used;
	W->arena_used += bytes;
	memset(p, 0, bytes);
	return p;
}

sim_blob *
sim_blob_of(px_bytes bytes)
{
	uint64_t h = UINT64_C(14695981039346656037);
	sim_blob *b;
	uint8_t *copy;

	uint32_t i = 0;

	/* bytes in pairs of four, by shifts: the same on any machine */
	for (; i + 8 <= bytes.len; i += 8)
	{
		const uint8_t *d = bytes.data + i;
		uint64_t low = d[0] | (uint64_t) d[1] << 8 | (uint64_t) d[2] << 16 | (uint64_t) d[3] << 24;
		uint64_t high = d[4] | (uint64_t) d[5] << 8 | (uint64_t) d[6] << 16 | (uint64_t) d[7] << 24;

		h = (h ^ (low | high << 32)) * UINT64_C(0x9E3779B97F4A7C15);
		h ^= h >> 29;
	}
	for (; i < bytes.len; i++)
		h = (h ^ bytes.data[i]) * UINT64_C(1099511628211);
	if (W->buckets == NULL)
		W->buckets = sim_alloc(N_BUCKETS * sizeof(sim_blob *));
	for (b = W->buckets[h % N_BUCKETS]; b != NULL; b = b->next)
		if (b->hash == h && b->bytes.len == bytes.len &&
			memcmp(b->bytes.data, bytes.data, bytes.len) == 0)
			return b;
	b = sim_alloc(sizeof(sim_blob));
	copy = sim_alloc(bytes.len);
	if (bytes.len > 0)
		memcpy(copy, bytes.data, bytes.len);
	b->bytes.data = copy;
	b->bytes.len = bytes.len;
	b->hash = h;
	b->id = ++W->n_blobs;
	b->well_formed = px_value_open(b->bytes, &b->view);
	b->next = W->buckets[h % N_BUCKETS];
	W->buckets[h % N_BUCKETS] = b;
	return b;
}

/* ---- heap: four children to a node; the events themselves lie still ---- */

static bool
before(const sim_due *a, const sim_due *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static sim_event *
push(const sim_event *e)
{
	sim_due due = {e->at, e->order, 0};
	size_t i;

	if (W->n_heap == W->cap_heap)
	{
		W->cap_heap = W->cap_heap ? W->cap_heap * 2 : 1024;
		W->heap = realloc(W->heap, W->cap_heap * sizeof(sim_due));
		W->events = realloc(W->events, W->cap_heap * sizeof(sim_event));
		W->free_events = realloc(W->free_events, W->cap_heap * sizeof(uint32_t));
		if (W->heap == NULL || W->events == NULL || W->free_events == NULL)
			abort();
	}
	due.event = W->n_free > 0 ? W->free_events[--W->n_free] : (uint32_t) W->n_heap;
	W->events[due.event] = *e;
	i = W->n_heap++;
	while (i > 0 && before(&due, &W->heap[(i - 1) / 4]))
	{
		W->heap[i] = W->heap[(i - 1) / 4];
		i = (i - 1) / 4;
	}
	W->heap[i] = due;
	return &W->events[due.event];
}

/*
 * Schedule; the caller fills in what else the event carries at once (the
 * pointer is good until the next call).
 */
sim_event *
sim_at(px_usec at, sim_event_kind kind, sim_process process, px_node node)
{
	sim_event e = {0};

	e.at = px_max64(at, W->now);
	e.order = ++W->order;
	e.kind = kind;
	e.process = process;
	e.node = node;
	return push(&e);
}

void
sim_again(const sim_event *old, px_usec at)
{
	sim_event e = *old;

	e.at = px_max64(at, W->now + 1);
	e.order = ++W->order;
	push(&e);
}

bool
sim_next(sim_event *out)
{
	sim_due last;
	size_t i = 0;

	if (W->n_heap == 0)
		return false;
	*out = W->events[W->heap[0].event];
	W->free_events[W->n_free++] = W->heap[0].event;
	last = W->heap[--W->n_heap];
	for (;;)
	{
		size_t child = 4 * i + 1;
		size_t end = child + 4 < W->n_heap ? child + 4 : W->n_heap;
		size_t least = child;

		if (child >= W->n_heap)
			break;
		while (++child < end)
			if (before(&W->heap[child], &W->heap[least]))
				least = child;
		if (!before(&W->heap[least], &last))
			break;
		W->heap[i] = W->heap[least];
		i = least;
	}
	if (W->n_heap > 0)
		W->heap[i] = last;
	W->now = out->at;
	W->step++;
	return true;
}

/* ---- clocks: each node has its own, with a rate that may change ---- */

px_usec
sim_clock(const sim_node *n)
{
	int64_t since = (int64_t) (W->now - n->clock_at);

	return n->clock_us + (px_usec) (since + since * n->ppm / 1000000);
}

/* From now on it runs at this rate; and it jumps ahead. */
void
sim_set_clock(sim_node *n, px_usec ahead, int64_t ppm)
{
	n->clock_us = sim_clock(n) + ahead;
	n->clock_at = W->now;
	n->ppm = ppm;
}

/* World time at which the node's clock shows at least 'local'. */
px_usec
sim_when(const sim_node *n, px_usec local)
{
	px_usec shows = sim_clock(n);

	if (local <= shows)
		return W->now;
	local -= shows;
	if (local > UINT64_C(1) << 43)
		return W->now + (UINT64_C(1) << 43); /* "never" */
	return W->now + (px_usec) ((int64_t) local * 1000000 / (1000000 + n->ppm)) + 2;
}

/* ---- traces and failure ---- */

void
sim_trace(sim_node *n, const char *format, ...)
{
	char line[SIM_LINE];
	int len;
	va_list ap;

	len = snprintf(line, sizeof(line), "%8llu %10llu.%03llu ", (unsigned long long) W->step,
				   (unsigned long long) (W->now / 1000), (unsigned long long) (W->now % 1000));
	va_start(ap, format);
	vsnprintf(line + len, sizeof(line) - (size_t) len, format, ap);
	va_end(ap);
	if (W->trace)
		printf("%s%s\n", n == NULL ? "* " : "", line);
	if (W->ring)
	{
		if (n != NULL)
			memcpy(n->ring[n->n_ring++ % SIM_RING], line, SIM_LINE);
		else
			for (int i = 1; i <= W->n_nodes; i++)
				memcpy(W->nodes[i].ring[W->nodes[i].n_ring++ % SIM_RING], line, SIM_LINE);
	}
}

void
sim_fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(W->fact, sizeof(W->fact), format, ap);
	va_end(ap);
	W->fact_format = format;
	longjmp(W->failed, 1);
}

/* The one thing the core wants from its surroundings. */
void
px_assert_failed(const char *fact, const char *file, int line)
{
	const char *base = strrchr(file, '/');

	sim_fail("assertion of the core: %s (%s:%d)", fact, base ? base + 1 : file, line);
}

void
sim_world_free(void)
{
	arena_block *b;

	for (int i = 1; i <= SIM_PLACES; i++)
	{
		disk_free(&W->nodes[i]);
		free(W->nodes[i].memory);
		free(W->nodes[i].outcomes);
	}
	while ((b = W->arena) != NULL)
	{
		W->arena = b->next;
		free(b);
	}
	free(W->heap);
	free(W->events);
	free(W->free_events);
	free(W->canon);
	free(W->commands);
	free(W->leads);
	free(W->requests);
	free(W->reads);
	free(W->changes);
	free(W->conns);
	free(W);
	W = NULL;
}
