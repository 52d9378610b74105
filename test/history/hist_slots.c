/*
 * hist_slots.c
 *	  Slots against real time.
 *
 * All operations of a slot take effect at one moment, and slots one after the
 * other, over all keys.  So an operation cannot take effect before all of its
 * slot and of lower ones have begun, nor after any of it or of a higher one
 * has ended; and a read that was told a slot (that of a barrier) shows everything
 * up to it, so all that must have begun before the read ended.
 * Narrowing every operation's interval by this leaves one empty if, and only
 * if, slots and real time do not agree.  The search then replays them in order.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "hist_int.h"

static int
compare_slots(const void *a, const void *b)
{
	const hist_unit *x = *(hist_unit *const *) a;
	const hist_unit *y = *(hist_unit *const *) b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	/* writes of a slot come before the reads that show it */
	return (x->op->kind == HIST_READ) - (y->op->kind == HIST_READ);
}

static bool
disagree(hist *h, const hist_unit *first, const hist_unit *second)
{
	hist_say(h,
			 "slots do not agree with time: what was told slot %" PRIu64
			 " ended before what was told slot %" PRIu64 " began:\n",
			 first->slot, second->slot);
	hist_say_unit(h, first);
	hist_say_unit(h, second);
	return false;
}

bool
hist_narrow(hist *h)
{
	hist_unit **order = malloc((h->n_units + 1) * sizeof(*order));
	size_t n = 0;
	bool ok = true;
	const hist_unit *late = NULL;  /* began last, up to this slot */
	const hist_unit *early = NULL; /* ended first, from this slot on */

	if (order == NULL)
		abort();
	for (size_t i = 0; i < h->n_units; i++)
		if (h->units[i].required && h->units[i].slot != 0)
			order[n++] = &h->units[i];
	qsort(order, n, sizeof(*order), compare_slots);

	/* Upwards: nothing before all in its slot, and below, have begun. */
	for (size_t first = 0, next; ok && first < n; first = next)
	{
		for (next = first; next < n && order[next]->slot == order[first]->slot; next++)
			if (order[next]->op->kind != HIST_READ &&
				(late == NULL || order[next]->from > late->from))
				late = order[next];
		for (size_t i = first; ok && i < next && late != NULL; i++)
			if (late->from > order[i]->until)
				ok = disagree(h, order[i], late);
			else if (late->from > order[i]->from)
				order[i]->from = late->from;
	}
	/* Downwards: nothing after the first in its slot, or above, has ended. */
	for (size_t last = n, next; ok && last > 0; last = next)
	{
		for (next = last; next > 0 && order[next - 1]->slot == order[last - 1]->slot; next--)
			if (early == NULL || order[next - 1]->until < early->until)
				early = order[next - 1];
		for (size_t i = next; i < last; i++)
			if (order[i]->op->kind != HIST_READ && early->until < order[i]->until)
				order[i]->until = early->until;
	}
	free(order);
	return ok;
}
