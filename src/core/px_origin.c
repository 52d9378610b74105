/*
 * px_origin.c
 *	  Exactly once: judging origin batches when they are applied
 *	  (protocol.md § 5).
 *
 * Owns: the rule that turns (incarnation, last) and the number of a batch into
 * a verdict.  Not its business: keeping the state (the learner does, in the
 * transaction that applies) and numbering batches (px_outbox.c).
 *
 * Invariant 7 (every command takes effect at most once): within one origin's
 * incarnation 'last' only ever grows by one, and only a batch that is exactly
 * the next one is executed.  The state is a function of the log alone, so every
 * node gives every batch the same verdict; a crash loses nothing, because the
 * state is in the tables.
 *
 * Before the first configuration is applied every origin is a member of the one
 * the cluster was formed with, and gets its entry with its first batch.  From
 * then on the entries are the members of the newest configuration applied, no
 * more and no less.  A batch of a node that was removed may be chosen above the
 * configuration that removed it: it waited at the leader, or a new leader found
 * it in a log.  An entry made anew for it would execute its first batches a
 * second time.
 */
#include <string.h>

#include "px_origin.h"

const char *
px_verdict_name(px_verdict v)
{
	switch (v)
	{
		case PX_EXECUTE:
			return "execute";
		case PX_DUPLICATE:
			return "duplicate";
		case PX_GAP:
			return "gap";
		case PX_STALE:
			return "stale";
	}
	return "unknown";
}

/* Where 'node' stands, or would have to be inserted. */
static int
find_origin(const px_origins *o, px_node node)
{
	int i = 0;

	while (i < o->n && o->at[i].node < node)
		i++;
	return i;
}

px_verdict
px_origins_judge(px_origins *o, px_node node, uint64_t incarnation, uint64_t sequence)
{
	int i = find_origin(o, node);
	px_origin *at = &o->at[i];

	if (i == o->n || at->node != node)
	{
		/* a cluster is not formed with more members than there is room for */
		if (o->config != 0 || o->n == PX_MAX_ORIGINS)
			return PX_STALE;
		memmove(at + 1, at, (size_t) (o->n - i) * sizeof(px_origin));
		o->n++;
		at->node = node;
		at->incarnation = incarnation;
		at->last = 0;
	}

	if (incarnation < at->incarnation)
		return PX_STALE;
	if (incarnation > at->incarnation)
	{
		at->incarnation = incarnation;
		at->last = 0;
	}
	if (sequence <= at->last)
		return PX_DUPLICATE;
	if (sequence > at->last + 1)
		return PX_GAP;
	at->last = sequence;
	return PX_EXECUTE;
}

px_origin
px_origins_get(const px_origins *o, px_node node)
{
	int i = find_origin(o, node);
	px_origin none = {node, 0, 0};

	return i < o->n && o->at[i].node == node ? o->at[i] : none;
}

void
px_origins_configure(px_origins *o, const px_config *config)
{
	px_origins members;

	PX_ASSERT(config->slot > o->config && px_config_valid(config));
	memset(&members, 0, sizeof(members));
	members.config = config->slot;
	for (int i = 0; i < config->n_members; i++)
		members.at[members.n++] = px_origins_get(o, config->members[i].node);
	*o = members;
}
