/*
 * px_memory.c
 *	  The decisions about amnesia (protocol.md § 10); what is remembered, kept and done
 *	  with them is said in px_memory.h.
 *
 * No state of its own.  What has been heard only grows, and a node compares it with
 * what it shows *after* it heard it: its own state only grows, too, so that a node
 * which has forgotten nothing never shows less.
 */
#include "px_memory.h"

void
px_memory_note(px_memory *m, px_ballot promised, px_slot accepted)
{
	m->promised = px_max64(m->promised, promised);
	m->accepted = px_max64(m->accepted, accepted);
}

/*
 * Of one node the highest incarnation is alive, the others are over.  Two instances
 * in one incarnation come from one data directory and its copy: the second to be
 * heard is refused, for it would number its batches as the first did.
 */
px_welcome
px_memory_greet(px_memory *m, uint64_t applied, uint64_t incarnation, uint64_t instance)
{
	if (applied > m->incarnation)
	{
		m->incarnation = applied;
		m->instance = 0;
	}
	if (incarnation < m->incarnation)
		return PX_WELCOME_OLDER;
	if (incarnation > m->incarnation || m->instance == 0)
	{
		m->incarnation = incarnation;
		m->instance = instance;
	}
	return instance == m->instance ? PX_WELCOME : PX_WELCOME_TWIN;
}

px_forgotten
px_memory_compare(const px_memory *remembered, const px_memory *own)
{
	if (remembered->incarnation > own->incarnation)
		return PX_FORGOT_INCARNATION;
	if (remembered->promised > own->promised)
		return PX_FORGOT_PROMISE;
	if (remembered->accepted > own->accepted)
		return PX_FORGOT_VALUE;
	return PX_FORGOT_NOTHING;
}

/*
 * The sentinel is written anew, as another file, before each incarnation is recorded
 * in the tables.  So one that is ahead of them is this node's own, whatever it is
 * known by: nobody has written that down yet.
 */
px_doubt
px_directory_judge(px_sentinel sentinel, bool same_file, bool same_label)
{
	if (!same_label)
		return PX_DOUBT_BACKUP;
	switch (sentinel)
	{
		case PX_SENTINEL_MISSING:
			return PX_DOUBT_MISSING;
		case PX_SENTINEL_OF_OTHER:
			return PX_DOUBT_OTHER;
		case PX_SENTINEL_OF_NEXT:
			return PX_DOUBT_NONE;
		case PX_SENTINEL_OF_ROW:
			break;
	}
	return same_file ? PX_DOUBT_NONE : PX_DOUBT_COPY;
}
