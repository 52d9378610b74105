/*
 * px_quorum.h
 *	  Configurations as sets of members, and majority arithmetic over them.
 *
 * All majority arithmetic of the project is in px_quorum.c.  Voters count,
 * non-voting learners never do.
 */
#ifndef PX_QUORUM_H
#define PX_QUORUM_H

#include "px_ballot.h"

typedef struct px_member
{
	px_node node;
	bool voter;
} px_member;

/* Members in ascending order of node id. */
typedef struct px_config
{
	px_slot slot;    /* chosen here; governs from slot + 1.  0: the
								 * configuration the cluster was formed with */
	px_node highest; /* highest node id that ever was a member's, if that is
								 * above all of these; else 0 or theirs */
	uint8_t n_members;
	px_member members[PX_MAX_MEMBERS];
} px_config;

typedef enum px_tally
{
	PX_TALLY_PENDING,
	PX_TALLY_WON,
	PX_TALLY_LOST
} px_tally;

/* Is it well-formed: 1 to PX_MAX_VOTERS voters, ids > 0, ascending, distinct? */
extern bool px_config_valid(const px_config *c);

/* Index of 'node' in members[], or -1. */
extern int px_config_find(const px_config *c, px_node node);
extern bool px_config_is_voter(const px_config *c, px_node node);
extern int px_config_voters(const px_config *c);

/*
 * Node ids are given out in ascending order and never again: who joins gets
 * one above every id that ever was a member's.  So a configuration by itself
 * tells who was removed from who is not heard of yet.
 */
extern px_node px_config_highest(const px_config *c);
extern bool px_config_removed(const px_config *c, px_node node);

/* Voters needed for a majority. */
extern int px_quorum_size(const px_config *c);

/*
 * Tally of a vote: yes[i] and no[i] speak for members[i]; entries of
 * non-voters are ignored.  WON when a majority said yes, LOST when so many
 * said no that none can.
 */
extern px_tally px_quorum_tally(const px_config *c, const bool *yes, const bool *no);

/*
 * The largest number v such that a majority of the voters have at[i] >= v
 * (the quorum-th largest of the voters' entries).  at[i] speaks for
 * members[i].
 */
extern uint64_t px_quorum_watermark(const px_config *c, const uint64_t *at);

#endif /* PX_QUORUM_H */
