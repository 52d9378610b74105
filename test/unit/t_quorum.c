/*
 * t_quorum.c
 *	  Majority arithmetic, data-driven.
 */
#include "unit.h"

/* One letter a member: V voter that said yes, N voter that said no, ? voter
 * that said nothing, l learner that said yes. */
static void
tally(const char *votes, px_tally expected)
{
	px_config c;
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	memset(&c, 0, sizeof(c));
	for (; votes[c.n_members] != '\0'; c.n_members++)
	{
		char v = votes[c.n_members];

		c.members[c.n_members].node = (px_node) (c.n_members + 1);
		c.members[c.n_members].voter = v != 'l';
		yes[c.n_members] = v == 'V' || v == 'l';
		no[c.n_members] = v == 'N';
	}
	is(px_quorum_tally(&c, yes, no), expected, "tally of %s", votes);
}

static void
watermark(const char *voters, const uint64_t *at, uint64_t expected)
{
	px_config c;

	memset(&c, 0, sizeof(c));
	for (; voters[c.n_members] != '\0'; c.n_members++)
	{
		c.members[c.n_members].node = (px_node) (c.n_members + 1);
		c.members[c.n_members].voter = voters[c.n_members] == 'v';
	}
	is(px_quorum_watermark(&c, at), expected, "watermark of %s", voters);
}

static void
test_config(void)
{
	px_config c;

	memset(&c, 0, sizeof(c));
	ok(!px_config_valid(&c), "an empty configuration is not valid");
	c.n_members = 1;
	c.members[0].node = 5;
	ok(!px_config_valid(&c), "one without a voter is not valid");
	c.members[0].voter = true;
	ok(px_config_valid(&c), "one voter is enough");
	c.members[0].node = 0;
	ok(!px_config_valid(&c), "node 0 is nobody");
	c.n_members = 2;
	c.members[0].node = 5;
	c.members[1].node = 5;
	ok(!px_config_valid(&c), "nobody is a member twice");
	c.members[1].node = 4;
	ok(!px_config_valid(&c), "members are in ascending order");
	c.members[1].node = 6;
	ok(px_config_valid(&c), "a voter and a learner");
	is(px_config_voters(&c), 1, "a learner is no voter");
	is(px_config_find(&c, 6), 1, "found");
	ok(px_config_find(&c, 7) == -1, "not found");
	ok(px_config_is_voter(&c, 5) && !px_config_is_voter(&c, 6) && !px_config_is_voter(&c, 7),
	   "voters are told from learners and strangers");

	memset(&c, 0, sizeof(c));
	c.n_members = PX_MAX_MEMBERS;
	for (int i = 0; i < PX_MAX_MEMBERS; i++)
	{
		c.members[i].node = (px_node) (i + 1);
		c.members[i].voter = i < PX_MAX_VOTERS;
	}
	ok(px_config_valid(&c), "%d members, %d of them voters", PX_MAX_MEMBERS, PX_MAX_VOTERS);
	is(px_quorum_size(&c), 8, "a majority of 15 is 8");
	c.members[PX_MAX_VOTERS].voter = true;
	ok(!px_config_valid(&c), "a voter more is too many");
	c.members[PX_MAX_VOTERS].voter = false;
	c.n_members = PX_MAX_MEMBERS + 1;
	ok(!px_config_valid(&c), "a member more is too many");
}

static void
test_ballots(void)
{
	ok(px_ballot_make(1, 2) < px_ballot_make(1, 3), "the node decides within a round");
	ok(px_ballot_make(1, 65535) < px_ballot_make(2, 1), "the round decides before the node");
	ok(px_ballot_above(px_ballot_make(3, 9), 1) > px_ballot_make(3, 9), "above means above");
	is(px_ballot_above(px_ballot_make(3, 9), 1), px_ballot_make(4, 1), "in the next round");
	ok(px_ballot_make(PX_MAX_ROUND, 65535) <= INT64_MAX, "a ballot is a positive bigint");
}

void
run_tests(void)
{
	test_config();
	test_ballots();

	tally("V", PX_TALLY_WON);
	tally("?", PX_TALLY_PENDING);
	tally("N", PX_TALLY_LOST);
	tally("VV", PX_TALLY_WON);
	tally("V?", PX_TALLY_PENDING);
	tally("VN", PX_TALLY_LOST);
	tally("VV?", PX_TALLY_WON);
	tally("VVN", PX_TALLY_WON);
	tally("VN?", PX_TALLY_PENDING);
	tally("V??", PX_TALLY_PENDING);
	tally("NN?", PX_TALLY_LOST);
	tally("VNN", PX_TALLY_LOST);
	tally("VV??", PX_TALLY_PENDING);
	tally("VVV?", PX_TALLY_WON);
	tally("VVNN", PX_TALLY_LOST);
	tally("VVV??", PX_TALLY_WON);
	tally("VVNN?", PX_TALLY_PENDING);
	tally("VVNNN", PX_TALLY_LOST);

	/* learners never count, whatever they say */
	tally("V?ll", PX_TALLY_PENDING);
	tally("V??llll", PX_TALLY_PENDING);
	tally("NN?lllll", PX_TALLY_LOST);
	tally("VVNl", PX_TALLY_WON);
	tally("VVVVVVV????????", PX_TALLY_PENDING);
	tally("VVVVVVVV???????", PX_TALLY_WON);
	tally("NNNNNNNN???????", PX_TALLY_LOST);
	tally("NNNNNNNVVVVVVV?", PX_TALLY_PENDING);

	watermark("v", (uint64_t[]){7}, 7);
	watermark("vv", (uint64_t[]){7, 3}, 3);
	watermark("vvv", (uint64_t[]){7, 3, 5}, 5);
	watermark("vvv", (uint64_t[]){0, 0, 9}, 0);
	watermark("vvvv", (uint64_t[]){1, 2, 3, 4}, 2);
	watermark("vvvvv", (uint64_t[]){5, 1, 4, 2, 3}, 3);
	watermark("vvvll", (uint64_t[]){1, 2, 3, 9, 9}, 2);
	watermark("lvlvv", (uint64_t[]){9, 1, 9, 2, 3}, 2);
}
