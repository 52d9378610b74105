/*
 * px_quorum.c
 *	  Configurations as sets of members, and all majority arithmetic.
 *
 * Owns: what a well-formed configuration is, how many voters make a majority,
 * the tally of a vote, and the quorum-th largest of a set of numbers.  Not its
 * business: which configuration governs a slot (px_stream.c) and where the
 * votes come from.
 *
 * Two majorities of one configuration share a voter: that single fact carries
 * every safety argument of protocol.md §§ 3 and 4, so the arithmetic stands
 * in one place and nowhere else.  Learners never count (protocol.md § 7): an
 * answer of a learner in a tally would let two "majorities" be disjoint.
 *
 * There is no state; a crash cannot do anything to it.
 */
#include "px_quorum.h"

bool
px_config_valid(const px_config *c)
{
	int voters = 0;

	if (c->n_members < 1 || c->n_members > PX_MAX_MEMBERS)
		return false;
	for (int i = 0; i < c->n_members; i++)
	{
		if (c->members[i].node == 0)
			return false;
		if (i > 0 && c->members[i].node <= c->members[i - 1].node)
			return false;
		if (c->members[i].voter)
			voters++;
	}
	return voters >= 1 && voters <= PX_MAX_VOTERS;
}

int
px_config_find(const px_config *c, px_node node)
{
	for (int i = 0; i < c->n_members; i++)
	{
		if (c->members[i].node == node)
			return i;
	}
	return -1;
}

bool
px_config_is_voter(const px_config *c, px_node node)
{
	int i = px_config_find(c, node);

	return i >= 0 && c->members[i].voter;
}

px_node
px_config_highest(const px_config *c)
{
	px_node last = c->n_members > 0 ? c->members[c->n_members - 1].node : 0;

	return c->highest > last ? c->highest : last;
}

bool
px_config_removed(const px_config *c, px_node node)
{
	return c->n_members > 0 && px_config_find(c, node) < 0 && node <= px_config_highest(c);
}

int
px_config_voters(const px_config *c)
{
	int voters = 0;

	for (int i = 0; i < c->n_members; i++)
	{
		if (c->members[i].voter)
			voters++;
	}
	return voters;
}

int
px_quorum_size(const px_config *c)
{
	return px_config_voters(c) / 2 + 1;
}

px_tally
px_quorum_tally(const px_config *c, const bool *yes, const bool *no)
{
	int quorum = px_quorum_size(c);
	int n_yes = 0;
	int n_possible = 0;

	for (int i = 0; i < c->n_members; i++)
	{
		if (!c->members[i].voter)
			continue;
		if (yes[i])
			n_yes++;

		/* a voter that said both has changed its mind towards yes */
		if (yes[i] || !no[i])
			n_possible++;
	}
	if (n_yes >= quorum)
		return PX_TALLY_WON;
	return n_possible >= quorum ? PX_TALLY_PENDING : PX_TALLY_LOST;
}

uint64_t
px_quorum_watermark(const px_config *c, const uint64_t *at)
{
	uint64_t sorted[PX_MAX_MEMBERS];
	int n = 0;

	/* insertion sort, descending: at most PX_MAX_VOTERS numbers */
	for (int i = 0; i < c->n_members; i++)
	{
		int j;

		if (!c->members[i].voter)
			continue;
		for (j = n; j > 0 && sorted[j - 1] < at[i]; j--)
			sorted[j] = sorted[j - 1];
		sorted[j] = at[i];
		n++;
	}
	PX_ASSERT(n >= 1);
	return sorted[n / 2];
}
