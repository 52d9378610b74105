/*
 * sim_set.c
 *	  Transactions: clients that change several rows by write set (protocol.md § 6.1).
 *
 * A transaction runs on what its node has applied, one statement at a time, holds
 * the rows it has changed, and is proposed as a set, alone in its origin batch.  The
 * verdict is the core's (px_window.c), on every node from its own window, small
 * here so that it overflows and ends often.  What the glue does on a server is
 * followed to the letter:
 *
 *	- base is what is applied when it is proposed; what was read counts from the
 *	  snapshot (SERIALIZABLE);
 *	- "too old": proposed again, all rows still held;
 *	- the learner stops before a set of its own node.  If it is certified and its
 *	  session waits, that gets its turn and commits: rows, watermark and the window's row
 *	  in one transaction; taken back when it does not come in time, or gone, the learner
 *	  applies the set as all others do;
 *	- who holds a row that the learner changes must make way: told that it lost;
 *	- stored entries of the window are read again after every restart and snapshot.
 *
 * Rows are versions that know the one they were made from.  A set carries the new
 * versions as its transaction has made them: so a lost update would lose what is
 * in between.  Keyed operations on the same rows are computed where they are applied.
 *
 * What is checked, beside digests and what sim_client.c knows of every command: against all
 * changes there ever were (not the window) that a verdict is right, and as precise as
 * the window allows; that a certified set changes the versions it was made from, and a
 * serializable one has read what is there; that money is neither lost nor made; and
 * at the end, of what clients were told, isolation (test/history/cycle.h).
 */
#include "sim.h"

#define ALL_ROWS SIM_ROWS /* a key of the table as a whole */
#define N_ACCOUNTS (SIM_ROWS - SIM_LISTS)
#define BALANCE 100
#define MOST_PROPOSALS 5
#define MOST_ROWS 1024
#define PIECE 12 /* entries read from the window's table at once */
#define LONGEST_LIST 65536

/* How long a session may take to take its turn. */
#define TURN_US (20 * SIM_MS)

/* Kinds of commands, above all hist_kind. */
#define KIND_SET 100
#define KIND_APPEND 101
#define KIND_TRANSFER 102

typedef enum txn_kind
{
	TXN_LISTS,
	TXN_TRANSFER,
	TXN_SKEW,
	TXN_SCAN,
	N_TXN_KINDS
} txn_kind;

/* As it was proposed; never changed afterwards. */
struct sim_set
{
	px_slot base;
	px_slot snapshot;
	uint32_t changed; /* rows, by bit */
	uint32_t depends; /* rows read, which must not have changed; ALL_ROWS too */
	const sim_version *made[SIM_ROWS];
	const sim_version *made_from[SIM_ROWS];
	const sim_version *seen[SIM_ROWS];
};

struct sim_txn
{
	uint8_t kind; /* of its command */
	txn_kind does;
	cycle_level level;
	uint32_t number; /* in the history */
	px_slot snapshot;
	const sim_version *seen[SIM_ROWS];
	const sim_version *made[SIM_ROWS];
	const sim_version *made_from[SIM_ROWS];
	uint32_t changed;
	uint32_t read;
	int steps; /* to do yet */
	int proposals;
	int row[2];
	int64_t element[2]; /* of a keyed one */
	int64_t amount;
};

/* ---- stored entries of the window ---- */

struct sim_window_row
{
	const sim_window_row *older;
	px_slot slot; /* the last of its entries */
	px_bytes entries;
};

static px_window *
empty_window(px_window **memory)
{
	if (*memory == NULL)
		*memory = sim_alloc(px_window_bytes(W->window_keys));
	return px_window_init(*memory, px_window_bytes(W->window_keys), W->window_slots,
						  W->window_keys);
}

/* The learner begins: what its table says. */
void
set_load_window(sim_node *n)
{
	const sim_window_row *rows[MOST_ROWS];
	int n_rows = 0;

	if (!W->sets || n->window_loaded)
		return;
	empty_window(&n->window);
	n->window_loaded = true;
	for (const sim_window_row *r = n->visible.tables.window_rows;
		 r != NULL && r->slot >= n->visible.tables.window_oldest; r = r->older)
	{
		if (n_rows == MOST_ROWS)
			sim_fail("simulator: too many rows of the window");
		rows[n_rows++] = r;
	}
	if (n_rows > 0)
		cover(cov_window_read);
	while (n_rows-- > 0)
		for (uint32_t at = 0; at < rows[n_rows]->entries.len; at += PIECE * PX_WINDOW_ENTRY_BYTES)
		{
			px_bytes piece = {rows[n_rows]->entries.data + at, rows[n_rows]->entries.len - at};

			if (piece.len > PIECE * PX_WINDOW_ENTRY_BYTES)
				piece.len = PIECE * PX_WINDOW_ENTRY_BYTES;
			if (!px_window_load(n->window, piece))
				sim_fail("node %u: stored entries of the window are refused", n->id);
		}
}

/* ---- every change there ever was ---- */

static void
note_change(px_slot slot, uint64_t key)
{
	if (W->n_changes == W->cap_changes)
	{
		W->cap_changes = W->cap_changes ? W->cap_changes * 2 : 1024;
		W->changes = realloc(W->changes, W->cap_changes * sizeof(sim_change));
		if (W->changes == NULL)
			abort();
	}
	W->changes[W->n_changes++] = (sim_change){slot, (uint32_t) key};
}

/* Behind 'since': was one of these keys changed, and how many changes of a key in a slot are there? */
static bool
changed_since(px_slot since, uint32_t keys, uint32_t *n)
{
	bool changed = false;

	*n = 0;
	for (uint64_t i = W->n_changes; i > 0 && W->changes[i - 1].slot > since; i--)
	{
		bool again = false;

		for (uint64_t j = i; j < W->n_changes && W->changes[j].slot == W->changes[i - 1].slot; j++)
			again |= W->changes[j].key == W->changes[i - 1].key;
		*n += !again;
		changed |= (keys >> W->changes[i - 1].key & 1) != 0;
	}
	return changed;
}

/* Must the window reach back so far?  Must it not? */
static bool
reaches(const px_window_span *before, px_slot slot, px_slot since, uint32_t n)
{
	return before->from != 0 && since >= before->from && slot - since <= W->window_slots &&
		   n <= W->window_keys;
}

/* Every node makes its own copy of what a keyed operation leaves. */
static bool
same(const sim_version *a, const sim_version *b)
{
	return a->element == b->element;
}

static void
check_verdict(const sim_set *x, px_slot slot, const px_window_span *before, px_certificate told)
{
	uint32_t n;
	uint32_t n_read;
	bool changed = changed_since(x->base, x->changed, &n);
	bool read_changed = changed_since(x->snapshot, x->depends, &n_read);
	bool reads_reach = x->depends == 0 || reaches(before, slot, x->snapshot, n_read);
	px_certificate right = PX_CERTIFIED;

	if (!reaches(before, slot, x->base, n))
		right = PX_TOO_OLD;
	else if (changed || read_changed || !reads_reach)
		right = PX_LOST;
	if (told != right)
		sim_fail(
			"slot %llu: a set of base %llu is told \"%s\", but is \"%s\" by all changes (§ 6.1)",
			(unsigned long long) slot, (unsigned long long) x->base, px_certificate_name(told),
			px_certificate_name(right));
	switch (told)
	{
		case PX_TOO_OLD:
			if (before->from == 0 || x->base < before->from)
				cover(cov_set_first);
			else
				cover(n > W->window_keys ? cov_set_crowded : cov_set_too_old);
			return;
		case PX_LOST:
			cover(changed ? cov_set_lost : read_changed ? cov_set_read : cov_set_read_old);
			return;
		case PX_CERTIFIED:
			cover(cov_set_certified);
			break;
	}
	for (int i = 0; i < SIM_ROWS; i++)
	{
		if ((x->changed >> i & 1) != 0 && !same(x->made_from[i], W->tables.versions[i]))
			sim_fail("slot %llu: a certified set changes another version of row %d than there is "
					 "(lost update)",
					 (unsigned long long) slot, i);
		if (((x->depends >> i & 1) != 0 || (x->depends >> ALL_ROWS & 1) != 0) &&
			!same(x->seen[i], W->tables.versions[i]))
			sim_fail("slot %llu: a certified serializable set has read row %d, which has changed",
					 (unsigned long long) slot, i);
	}
}

/* ---- commands, where they are applied ---- */

static void
change_row(sim_tables *t, int row, const sim_version *v, sim_applying *a)
{
	t->versions[row] = v;
	a->changed |= 1u << row;
	a->keys[a->n_keys++] = (uint64_t) row;
}

static sim_version *
new_version(const sim_version *from, int64_t element, int64_t balance)
{
	sim_version *v = sim_alloc(sizeof(sim_version));

	v->from = from;
	v->element = element;
	v->length = from->length + 1;
	v->balance = balance;
	return v;
}

bool
set_is_command(uint8_t kind)
{
	return kind >= KIND_SET;
}

static px_certificate
judge(sim_tables *t, const sim_set *set, px_slot slot, const sim_applying *a)
{
	px_window_span before = t->window_span;
	uint64_t changed[SIM_ROWS];
	uint64_t read[SIM_ROWS + 1];
	px_depends depends[2] = {{set->base, true, {changed, 0}}, {set->snapshot, false, {read, 0}}};
	px_certificate verdict;
	uint64_t met;

	if (!a->alone)
		sim_fail("slot %llu: a set shares its slot", (unsigned long long) slot);
	for (uint64_t i = 0; i <= ALL_ROWS; i++)
	{
		if ((set->changed >> i & 1) != 0)
			changed[depends[0].keys.n++] = i;
		if ((set->depends >> i & 1) != 0)
			read[depends[1].keys.n++] = i;
	}
	verdict = px_window_judge(a->window, &t->window_span, slot, depends,
							  depends[1].keys.n > 0 ? 2 : 1, &met);
	if (t == &W->tables)
		check_verdict(set, slot, &before, verdict);
	return verdict;
}

static void
change_accounts(sim_tables *t, const sim_txn *x, sim_result *res, sim_applying *a)
{
	const sim_version *old[2] = {t->versions[x->row[0]], t->versions[x->row[1]]};
	const sim_version *v[2] = {old[0], old[1]};

	/* what it means to change counts, also when its condition does not hold */
	res->applied = old[0]->balance >= x->amount;
	for (int i = 0; i < 2; i++)
	{
		if (res->applied)
			v[i] = new_version(old[i], x->element[i],
							   old[i]->balance + (i == 0 ? -x->amount : x->amount));
		change_row(t, x->row[i], v[i], a);
	}
}

/* Execute a command of this file.  'current' of the result is the verdict on a set. */
sim_result
set_execute(sim_tables *t, uint64_t id, px_slot slot, sim_applying *a)
{
	const sim_command *c = check_command(id);
	const sim_txn *x = c->txn;
	sim_result res = {.applied = true, .slot = slot};
	px_certificate verdict = PX_CERTIFIED;

	a->n_keys = 0;
	switch (x->kind)
	{
		case KIND_SET:
			verdict = judge(t, c->set, slot, a);
			res.applied = verdict == PX_CERTIFIED;
			for (int i = 0; i < SIM_ROWS && res.applied; i++)
				if ((c->set->changed >> i & 1) != 0)
					change_row(t, i, c->set->made[i], a);
			break;
		case KIND_APPEND:
			change_row(t, x->row[0], new_version(t->versions[x->row[0]], x->element[0], 0), a);
			break;
		case KIND_TRANSFER:
			change_accounts(t, x, &res, a);
			break;
	}
	res.current = hist_number((int64_t) verdict);
	if (a->n_keys > 0)
		a->keys[a->n_keys++] = ALL_ROWS;
	if (t == &W->tables)
		for (int i = 0; i < a->n_keys; i++)
			note_change(slot, a->keys[i]);
	if (!a->judging)
		set_record(t, slot, a);
	return res;
}

/* ---- slots ---- */

/* Entries of the transaction that runs; there is one at a time. */
static uint8_t entries[65536];

/* What was changed at this slot is recorded, and kept to be stored. */
void
set_record(const sim_tables *t, px_slot slot, sim_applying *a)
{
	px_keys keys = {a->keys, (size_t) a->n_keys};

	if (!px_window_record(a->window, &t->window_span, slot, keys))
		return;
	for (int i = 0; i < a->n_keys; i++, a->len += PX_WINDOW_ENTRY_BYTES)
	{
		if (a->len + PX_WINDOW_ENTRY_BYTES > sizeof(entries))
			sim_fail("simulator: too many entries of the window in one transaction");
		px_window_put(entries + a->len, slot, a->keys[i]);
	}
}

void
set_slot_begins(sim_tables *t, px_slot slot, sim_applying *a)
{
	bool was = t->window_span.from != 0;

	if (!W->sets)
		return;
	px_window_slot(a->window, &t->window_span, slot);
	if (was && t->window_span.from == 0 && t == &W->tables)
		cover(cov_window_ended);
}

/* Into the digest: the state that is this file's. */
uint64_t
set_slot_ends(const sim_tables *t)
{
	uint64_t h = t->window_span.from * 31 + t->window_span.used;
	int64_t sum = 0;

	for (int i = 0; i < SIM_ROWS; i++)
	{
		const sim_version *v = t->versions[i];

		h = (h ^ (uint64_t) v->element ^ (uint64_t) v->balance << 20 ^ (uint64_t) v->length << 40) *
			UINT64_C(0x9E3779B97F4A7C15);
		sum += v->balance;
		if (v->balance < 0)
			sim_fail("slot %llu: account %d is overdrawn", (unsigned long long) t->applied, i);
	}
	if (sum != N_ACCOUNTS * BALANCE)
		sim_fail("slot %llu: the sum of all accounts is %lld", (unsigned long long) t->applied,
				 (long long) sum);
	return h;
}

/* An apply transaction of the learner is about to commit. */
void
set_store_window(sim_node *n, sim_tables *t, const sim_applying *a)
{
	if (a->len > 0)
	{
		sim_window_row *r = sim_alloc(sizeof(sim_window_row));
		uint8_t *copy = sim_alloc(a->len);

		memcpy(copy, entries, a->len);
		r->older = t->window_rows;
		r->slot = t->applied;
		r->entries = (px_bytes){copy, a->len};
		t->window_rows = r;
	}
	if (W->sets && chance(300))
	{
		/* some of those that are over go */
		px_slot upto = rnd_between(t->window_oldest, t->applied);

		while (upto > t->window_oldest && !px_window_over(n->window, upto - 1, t->applied))
			upto--;
		t->window_oldest = upto;
	}
}

/* ---- history ---- */

static cycle *history = NULL; /* of the run */

void
set_setup(void)
{
	uint64_t state = W->seed ^ UINT64_C(0x5e75);

	/* By a generator of its own: the rest of a run is the same with sets and without. */
	W->sets = !W->options->plain && px_random(&state) % 100 < 40;
	if (!W->sets)
		return;
	cover(cov_sets);
	W->set_permille = 150 + (int) (px_random(&state) % 750);
	W->window_slots = 3 + (uint32_t) (px_random(&state) % (1u << (2 + px_random(&state) % 7)));
	W->window_keys = 4 + (uint32_t) (px_random(&state) % (1u << (2 + px_random(&state) % 7)));
	W->set_think_us = 20u << px_random(&state) % 12;
	for (int i = 0; i < SIM_ROWS; i++)
	{
		sim_version *v = sim_alloc(sizeof(sim_version));

		v->balance = i < SIM_LISTS ? 0 : BALANCE;
		W->tables.versions[i] = v;
	}
	for (int i = 1; i <= SIM_PLACES; i++)
	{
		memcpy(W->nodes[i].visible.tables.versions, W->tables.versions, sizeof(W->tables.versions));
		memcpy(W->nodes[i].durable.tables.versions, W->tables.versions, sizeof(W->tables.versions));
	}
	empty_window(&W->window);
	if (history == NULL)
		history = cycle_new();
	cycle_reset(history);
	for (int i = 0; i < SIM_ROWS; i++)
	{
		char name[24];

		snprintf(name, sizeof(name), "%s%d", i < SIM_LISTS ? "list" : "account", i);
		(void) cycle_key(history, name);
	}
}

/* Every row is a list of the elements of its changes. */
static void
record_read(uint32_t txn, int row, const sim_version *v)
{
	static int64_t list[LONGEST_LIST];
	uint32_t n = v->length;
	uint32_t at = n;

	if (n > LONGEST_LIST)
		sim_fail("simulator: a list is too long");
	for (; at > 0; v = v->from)
		list[--at] = v->element;
	cycle_read(history, txn, (uint32_t) row, list, n);
}

/* At the end of a run. */
void
set_check(void)
{
	uint32_t t;

	if (!W->sets)
		return;
	t = cycle_begin(history, CYCLE_SERIALIZABLE, "the end", W->step);
	for (int i = 0; i < SIM_ROWS; i++)
		record_read(t, i, W->tables.versions[i]);
	cycle_final(history, t);
	cycle_end(history, t, CYCLE_COMMITTED, W->step);
	if (!cycle_check(history))
		sim_fail("transactions did not have the isolation they asked for: %s", cycle_why(history));
	if (cycle_count(history).skews > 0)
		cover(cov_set_skew);
	if (cycle_count(history).unknown_there > 0)
		cover(cov_set_unknown_there);
}

/* ---- sessions ---- */

static bool
holds(const sim_session *s, uint32_t rows)
{
	return s->txn != NULL && s->txn->kind == KIND_SET && s->state != S_IDLE &&
		   (s->txn->changed & rows) != 0;
}

static void
end_txn(sim_session *s, cycle_told told)
{
	cycle_end(history, s->txn->number, told, W->step);
	s->txn = NULL;
}

uint8_t
set_kind(const sim_session *s)
{
	return s->txn->kind;
}

bool
set_alone(const sim_session *s)
{
	return s->txn != NULL && s->txn->kind == KIND_SET;
}

/* Before it was proposed. */
void
set_roll_back(sim_node *n, sim_session *s)
{
	end_txn(s, CYCLE_ABORTED);
	client_finish(n, s);
}

static void
propose(sim_node *n, sim_session *s)
{
	sim_txn *x = s->txn;
	sim_set *set = sim_alloc(sizeof(sim_set));
	sim_command *c = client_new_command(n, s);

	set->base = n->visible.tables.applied;
	set->snapshot = x->snapshot;
	set->changed = x->changed;
	if (x->level == CYCLE_SERIALIZABLE)
		set->depends = x->read;
	memcpy(set->made, x->made, sizeof(set->made));
	memcpy(set->made_from, x->made_from, sizeof(set->made_from));
	memcpy(set->seen, x->seen, sizeof(set->seen));
	c->txn = x;
	c->set = set;
	x->proposals++;
	client_queue(n, s);
}

static void
read_row(sim_node *n, sim_session *s, int row)
{
	sim_txn *x = s->txn;
	const sim_version *v = x->seen[row];

	if ((x->changed >> row & 1) != 0)
		v = x->made[row];
	else if (x->level == CYCLE_READ_COMMITTED)
		v = n->visible.tables.versions[row];
	x->read |= 1u << row;
	record_read(x->number, row, v);
}

/* False: somebody else here holds it, or has changed it since the snapshot. */
static bool
write_row(sim_node *n, sim_session *s, int row, int64_t more)
{
	sim_txn *x = s->txn;

	for (int i = 0; i < W->n_sessions; i++)
		if (&n->sessions[i] != s && holds(&n->sessions[i], 1u << row))
			return false;
	if ((x->changed >> row & 1) == 0)
	{
		const sim_version *now = n->visible.tables.versions[row];

		if (x->level != CYCLE_READ_COMMITTED && !same(now, x->seen[row]))
		{
			cover(cov_set_overtaken);
			return false;
		}
		x->made_from[row] = now;
		x->made[row] = now;
	}
	if (x->made[row]->balance + more < 0)
		return false;
	x->changed |= 1u << row;
	x->made[row] = new_version(x->made[row], ++W->n_elements, x->made[row]->balance + more);
	cycle_append(history, x->number, (uint32_t) row, W->n_elements, false);
	return true;
}

/* One statement. */
static bool
do_step(sim_node *n, sim_session *s)
{
	sim_txn *x = s->txn;
	int row = (int) rnd_below(SIM_LISTS);

	switch (x->does)
	{
		case TXN_LISTS:
			if (chance(500))
				return write_row(n, s, row, 0);
			read_row(n, s, row);
			return true;
		case TXN_TRANSFER:
			if (x->level == CYCLE_READ_COMMITTED && x->steps > 2)
				return true;
			if (x->steps > 2)
				read_row(n, s, x->row[x->steps % 2]);
			else
				return write_row(n, s, x->row[x->steps % 2],
								 x->steps % 2 == 0 ? -x->amount : x->amount);
			return true;
		case TXN_SKEW:
			if (x->steps > 1)
				read_row(n, s, x->row[x->steps % 2]);
			else
				return write_row(n, s, x->row[0], 0);
			return true;
		case TXN_SCAN:
			if (x->steps > 1)
			{
				for (row = 0; row < SIM_ROWS; row++)
					read_row(n, s, row);
				x->read |= 1u << ALL_ROWS;
			}
			else
				return write_row(n, s, row, 0);
			return true;
		case N_TXN_KINDS:
			break;
	}
	return false;
}

/* The session's turn to do something. */
void
set_step(sim_node *n, sim_session *s)
{
	if (n->removed || !do_step(n, s))
		set_roll_back(n, s);
	else if (--s->txn->steps > 0)
		client_schedule(n, s, rnd_below(2 * W->set_think_us));
	else if (s->txn->changed != 0)
		propose(n, s);
	else
	{
		/* it has only read: there is nothing to decide */
		end_txn(s, CYCLE_COMMITTED);
		client_finish(n, s);
	}
}

void
set_begin(sim_node *n, sim_session *s)
{
	sim_txn *x = sim_alloc(sizeof(sim_txn));
	bool keyed = chance(250);
	uint64_t level = rnd_below(3);
	bool two = chance(500);

	if (n->visible.tables.versions[0] == NULL)
	{
		/* a new node that has no tables yet */
		client_finish(n, s);
		return;
	}
	s->txn = x;
	x->level = keyed ? CYCLE_READ_COMMITTED : (cycle_level) level;
	x->number = cycle_begin(history, x->level, keyed ? "keyed" : "set", W->step);
	x->row[0] = (int) rnd_below(SIM_LISTS);
	x->row[1] = (x->row[0] + 1) % SIM_LISTS;
	x->amount = (int64_t) rnd_between(1, 60);
	if (keyed)
	{
		x->kind = two ? KIND_TRANSFER : KIND_APPEND;
		if (two)
		{
			x->row[0] = SIM_LISTS + (int) rnd_below(N_ACCOUNTS);
			x->row[1] = SIM_LISTS + (x->row[0] - SIM_LISTS + 1) % N_ACCOUNTS;
		}
		for (int i = 0; i < 1 + two; i++)
		{
			x->element[i] = ++W->n_elements;
			cycle_append(history, x->number, (uint32_t) x->row[i], W->n_elements, false);
		}
		client_new_command(n, s)->txn = x;
		client_queue(n, s);
		return;
	}
	x->kind = KIND_SET;
	x->does = (txn_kind) rnd_below(N_TXN_KINDS);
	if (x->does == TXN_TRANSFER)
	{
		x->row[0] = SIM_LISTS + (int) rnd_below(N_ACCOUNTS);
		x->row[1] = SIM_LISTS + (x->row[0] - SIM_LISTS + 1) % N_ACCOUNTS;
	}
	x->steps = x->does == TXN_LISTS      ? (int) rnd_between(1, 5)
			   : x->does == TXN_TRANSFER ? 4
			   : x->does == TXN_SKEW     ? 3
										 : 2;
	x->snapshot = n->visible.tables.applied;
	memcpy(x->seen, n->visible.tables.versions, sizeof(x->seen));
	s->state = S_OPEN;
	client_schedule(n, s, rnd_below(2 * W->set_think_us));
}

/* It was told something about its command.  True: it goes on. */
bool
set_told(sim_node *n, sim_session *s, sim_told told, const sim_result *result)
{
	sim_txn *x = s->txn;
	bool too_old = told == TOLD_RESULT && result->current.n == (int64_t) PX_TOO_OLD;

	if (too_old && x->proposals < MOST_PROPOSALS)
	{
		propose(n, s);
		return true;
	}
	if (told == TOLD_RESULT && result->applied && x->proposals > 1)
		cover(cov_set_again);
	end_txn(s, told == TOLD_UNKNOWN                     ? CYCLE_UNKNOWN
			   : told == TOLD_RESULT && result->applied ? CYCLE_COMMITTED
														: CYCLE_ABORTED);
	return false;
}

/*
 * The learner changes these rows: who holds one must make way.  One whose set was
 * sent has certainly lost: its base is below this slot, its own slot above.
 */
void
set_make_way(sim_node *n, uint32_t rows)
{
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (!holds(s, rows))
			continue;
		TRACE(n, "node %u session %d makes way", n->id, i);
		cover(s->state == S_NUMBERED ? cov_set_way_sent : cov_set_way);
		if (s->state == S_OPEN)
			set_roll_back(n, s);
		else
			client_never(n, s);
	}
}

/* All sessions that have a transaction end: of the server, or of its tables. */
void
set_all_end(sim_node *n)
{
	n->window_loaded = false;
	n->turn_given = false;
	for (int i = 0; i < W->n_sessions; i++)
	{
		sim_session *s = &n->sessions[i];

		if (s->txn == NULL || s->state == S_IDLE)
			continue;
		if (s->state == S_OPEN)
			set_roll_back(n, s);
		else if (s->state == S_TURN || s->txn->kind == KIND_SET)
			client_lost(n, s);
	}
}

/* ---- the turn ---- */

/* Of a batch: is it one of this node's, and alone? */
bool
set_own(const sim_node *n, const sim_blob *value)
{
	px_batch_view b;
	uint32_t pos = 0;

	return value->view.kind == PX_VALUE_BATCHES && px_value_next_batch(&value->view, &pos, &b) &&
		   b.alone && b.origin == n->id;
}

static void
turn_sink(void *arg, const sim_outcome *o)
{
	sim_outcome *found = arg; /* two: the set's, and the end of an incarnation */

	if (o->settle)
		found[1] = *o;
	else if (o->cell != UINT32_MAX)
		found[0] = *o;
}

/*
 * The slot holds a set of this node, and all before it is applied.  True: its session
 * has the turn; false: the learner applies it.
 */
bool
set_give_turn(sim_node *n, px_slot slot, sim_blob *value)
{
	sim_outcome o[2] = {{.cell = UINT32_MAX}, {.settle = false}};
	sim_tables *t = sim_alloc(sizeof(sim_tables));
	sim_applying a = {.window = n->window, .judging = true};
	sim_session *s;
	sim_event *e;
	px_usec after = chance(850) ? rnd_below(2 * SIM_MS) : rnd_below(2 * TURN_US);

	*t = n->visible.tables;
	client_apply(t, slot, value, &a, turn_sink, o);
	n->turn_over = slot;
	if (o[0].cell >= (uint32_t) W->n_sessions || !o[0].result.applied)
		return false;
	s = &n->sessions[o[0].cell];
	if (!client_waits_for(s, &o[0]))
		return false;
	s->state = S_TURN;
	n->turn_given = true;
	n->turn_until = W->now + TURN_US;
	n->turn_slot = slot;
	n->turn_tables = t;
	n->turn_applying = a;
	n->turn_value = value;
	n->turn_result = o[0].result;
	n->turn_settles = o[1];
	e = sim_at(W->now + after, E_TURN, P_SERVER, n->place);
	e->life = n->boot;
	e->a = o[0].cell;
	e->b = s->generation;
	sim_at(n->turn_until, E_LEARN, P_LEARNER, n->place)->life = n->learner_life;
	return true;
}

/* True: the learner waits for a session still. */
bool
set_turn_lasts(sim_node *n)
{
	if (n->turn_given && W->now >= n->turn_until)
		set_withdraw_turn(n);
	return n->turn_given;
}

void
set_withdraw_turn(sim_node *n)
{
	if (!n->turn_given)
		return;
	n->turn_given = false;
	cover(cov_turn_withdrawn);
	for (int i = 0; i < W->n_sessions; i++)
		if (n->sessions[i].state == S_TURN)
			client_lost(n, &n->sessions[i]);
}

/* The session takes its turn: its transaction commits, with what belongs to the slot. */
void
set_take_turn(sim_node *n, sim_session *s)
{
	sim_applying *a = &n->turn_applying;
	sim_wal *w;

	if (!n->turn_given || s->state != S_TURN)
		return;
	n->turn_given = false;
	cover(cov_turn_taken);
	set_load_window(n);
	a->window = n->window;
	a->len = 0;
	w = disk_begin(0);
	w->tables = malloc(sizeof(sim_tables));
	if (w->tables == NULL)
		abort();
	*w->tables = *n->turn_tables;
	for (int i = 0; i < SIM_ROWS; i++)
		if ((s->txn->changed >> i & 1) != 0)
			w->tables->versions[i] = s->txn->made[i];
	set_record(w->tables, n->turn_slot, a);
	set_store_window(n, w->tables, a);
	check_applied(n, n->turn_slot, n->turn_value, w->tables);
	TRACE(n, "node %u session %d commits slot %llu itself", n->id, (int) (s - n->sessions),
		  (unsigned long long) n->turn_slot);
	disk_commit(n, w);
	disk_show(n, w);
	node_boundary(n, cov_applied);
	client_told(n, s, &n->turn_result);
	if (n->turn_settles.settle)
		node_outcome(n, &n->turn_settles);
	node_deliver(n);
	node_wake(n);
	node_wake_learner(n);
}
