/*
 * sim_disk.c
 *	  One WAL per node, the tables as its processes see them (visible) and as
 *	  they would be found after a crash (durable).
 *
 * A transaction's WAL record is appended when it commits.  A flush makes every
 * record before it durable, table changes included.  A transaction that waits
 * for its flush (the acceptor's) becomes visible after it, one that does not
 * (the learner's) at once.  A crash keeps everything flushed and a random
 * prefix of what was not, whole transactions only.
 */
#include "sim.h"

sim_cell *
disk_cell(sim_image *im, px_slot slot)
{
	if (slot >= im->cap)
	{
		px_slot cap = im->cap ? im->cap * 2 : 256;

		while (cap <= slot)
			cap *= 2;
		im->log = realloc(im->log, cap * sizeof(sim_cell));
		if (im->log == NULL)
			abort();
		memset(im->log + im->cap, 0, (cap - im->cap) * sizeof(sim_cell));
		im->cap = cap;
	}
	return &im->log[slot];
}

static void
redo(sim_image *im, const sim_wal *w)
{
	if (w->has_state)
	{
		im->promised = w->promised;
		im->longest_lease_us = w->longest_lease_us;
	}
	if (w->incarnation != 0)
	{
		im->incarnation = w->incarnation;
		im->stamp = w->stamp;
	}
	if (w->doubt)
		im->doubt = true;
	if (w->memory != NULL)
		memcpy(im->memory, w->memory, sizeof(im->memory));
	if (w->config.n_members > 0)
		im->config = w->config;
	if (w->tables != NULL)
		im->tables = *w->tables;
	for (uint16_t i = 0; i < w->n; i++)
		if (w->cells[i].value != NULL)
		{
			*disk_cell(im, w->first + i) = w->cells[i];
			im->last = px_max64(im->last, w->first + i);
		}
	if (w->truncate != 0)
	{
		for (px_slot s = im->truncated + 1; s <= w->truncate && s < im->cap; s++)
			im->log[s].value = NULL;
		im->truncated = px_max64(im->truncated, w->truncate);
		if (im->last <= im->truncated)
			im->last = 0;
	}
}

sim_wal *
disk_begin(uint16_t n_cells)
{
	sim_wal *w = calloc(1, sizeof(sim_wal) + n_cells * sizeof(sim_cell));

	if (w == NULL)
		abort();
	w->n = n_cells;
	return w;
}

/* Append; returns the position to flush up to. */
uint64_t
disk_commit(sim_node *n, sim_wal *w)
{
	w->lsn = ++n->wal_lsn;
	w->next = NULL;
	if (n->wal_tail == NULL)
		n->wal_head = w;
	else
		n->wal_tail->next = w;
	n->wal_tail = w;
	return w->lsn;
}

static void
discard(sim_wal *w)
{
	free(w->tables);
	free(w->memory);
	free(w);
}

/* The record's transaction becomes visible and lets go of it. */
void
disk_show(sim_node *n, sim_wal *w)
{
	redo(&n->visible, w);
	w->held = false;
	if (w->hard)
		discard(w);
}

static void
harden_first(sim_node *n)
{
	sim_wal *w = n->wal_head;

	n->wal_head = w->next;
	if (n->wal_head == NULL)
		n->wal_tail = NULL;
	redo(&n->durable, w);
	if (w->vote)
		for (uint16_t i = 0; i < w->n; i++)
			if (w->cells[i].value != NULL)
				check_accepted(n, w->first + i, w->cells[i].ballot, w->cells[i].value);
	check_durable(n);
	w->hard = true;
	if (!w->held)
		discard(w);
}

void
disk_flush(sim_node *n, uint64_t lsn)
{
	while (n->wal_head != NULL && n->wal_head->lsn <= lsn)
		harden_first(n);
}

void
disk_crash(sim_node *n)
{
	int pending = 0;
	int keep;
	sim_cell *log = n->visible.log;
	px_slot cap = n->visible.cap;

	for (sim_wal *w = n->wal_head; w != NULL; w = w->next)
		pending++;
	keep = (int) rnd_below((uint64_t) pending + 1);
	if (n->job_wal != NULL)
	{
		n->job_wal->held = false;
		if (n->job_wal->hard)
			discard(n->job_wal);
		n->job_wal = NULL;
	}
	if (keep > 0)
		cover(cov_crash_kept);
	if (keep < pending)
		cover(cov_crash_lost);
	for (int i = 0; i < keep; i++)
		harden_first(n);
	while (n->wal_head != NULL)
	{
		sim_wal *w = n->wal_head;

		n->wal_head = w->next;
		discard(w);
	}
	n->wal_tail = NULL;
	if (n->durable.tables.applied < n->visible.tables.applied)
		cover(cov_applied_fell);
	disk_cell(&n->durable, 1);
	n->visible = n->durable;
	n->visible.log = log;
	n->visible.cap = cap;
	disk_cell(&n->visible, n->durable.cap - 1);
	memset(n->visible.log, 0, n->visible.cap * sizeof(sim_cell));
	memcpy(n->visible.log, n->durable.log, n->durable.cap * sizeof(sim_cell));
	check_tables(n, &n->durable.tables);
}

/* ---- copies ---- */

static void
copy_image(sim_image *to, const sim_image *from)
{
	free(to->log);
	*to = *from;
	to->log = malloc(from->cap * sizeof(sim_cell));
	if (to->log == NULL)
		abort();
	memcpy(to->log, from->log, from->cap * sizeof(sim_cell));
}

/* The disk of n as a crash at this moment would leave it. */
void
disk_take(sim_copy *c, const sim_node *n)
{
	copy_image(&c->image, &n->durable);
	c->sentinel = n->sentinel;
	c->taken = true;
}

void
disk_copy(sim_copy *to, const sim_copy *from)
{
	copy_image(&to->image, &from->image);
	to->sentinel = from->sentinel;
	to->taken = true;
}

/* The server, which is down, shall find this. */
void
disk_put_back(sim_node *n, const sim_copy *c)
{
	copy_image(&n->durable, &c->image);
	copy_image(&n->visible, &c->image);
	n->sentinel = c->sentinel;

	/* from here on nothing may fall below this */
	n->floor_promised = n->durable.promised;
	n->max_config = n->durable.config.slot;
	n->max_incarnation = n->durable.incarnation;
}

void
disk_free(sim_node *n)
{
	free(n->copy.image.log);
	free(n->honest.image.log);
	if (n->job_wal != NULL && n->job_wal->hard)
		discard(n->job_wal);
	while (n->wal_head != NULL)
	{
		sim_wal *w = n->wal_head;

		n->wal_head = w->next;
		discard(w);
	}
	free(n->visible.log);
	free(n->durable.log);
}
