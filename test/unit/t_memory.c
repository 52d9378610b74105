/*
 * t_memory.c
 *	  Amnesia: what members remember of each other, what a node shows, what a data
 *	  directory says of itself (protocol.md § 10).
 */
#include "solo.h"

#include "px_memory.h"

static px_memory
memory(uint64_t incarnation, px_ballot promised, px_slot accepted)
{
	px_memory m = {0};

	m.node = 2;
	m.incarnation = incarnation;
	m.promised = promised;
	m.accepted = accepted;
	return m;
}

static void
test_note(void)
{
	px_memory m = memory(0, 0, 0);

	px_memory_note(&m, px_ballot_make(3, 1), 7);
	ok(m.promised == px_ballot_make(3, 1) && m.accepted == 7, "what was said is remembered");
	px_memory_note(&m, px_ballot_make(2, 3), 9);
	ok(m.promised == px_ballot_make(3, 1) && m.accepted == 9, "the highest of each");
	px_memory_note(&m, 0, 0);
	ok(m.promised == px_ballot_make(3, 1) && m.accepted == 9, "and nothing else takes it away");
}

static void
test_compare(void)
{
	px_memory own = memory(4, px_ballot_make(5, 1), 90);
	px_memory m = own;

	is(px_memory_compare(&m, &own), PX_FORGOT_NOTHING, "as much is remembered as the node shows");
	m = memory(1, px_ballot_make(2, 3), 10);
	is(px_memory_compare(&m, &own), PX_FORGOT_NOTHING, "less is");
	m = memory(5, 0, 0);
	is(px_memory_compare(&m, &own), PX_FORGOT_INCARNATION, "it was heard in a later life");
	m = memory(4, px_ballot_make(5, 2), 90);
	is(px_memory_compare(&m, &own), PX_FORGOT_PROMISE, "it promised more");
	m = memory(4, px_ballot_make(5, 1), 91);
	is(px_memory_compare(&m, &own), PX_FORGOT_VALUE, "it accepted more");
}

static void
test_greet(void)
{
	px_memory m = memory(0, 0, 0);

	is(px_memory_greet(&m, 0, 3, 77), PX_WELCOME, "the first greeting");
	is(px_memory_greet(&m, 0, 3, 77), PX_WELCOME, "the same life over another connection");
	is(px_memory_greet(&m, 0, 3, 78), PX_WELCOME_TWIN, "another server in the same life");
	is(px_memory_greet(&m, 0, 3, 77), PX_WELCOME, "the first one is known still");
	is(px_memory_greet(&m, 0, 2, 77), PX_WELCOME_OLDER, "a former life is over");
	is(px_memory_greet(&m, 0, 4, 78), PX_WELCOME, "a later one begins");
	is(px_memory_greet(&m, 0, 3, 77), PX_WELCOME_OLDER, "and ends the one before");
	is(px_memory_greet(&m, 6, 5, 78), PX_WELCOME_OLDER, "the log knows of a later one");
	is(px_memory_greet(&m, 6, 6, 79), PX_WELCOME, "which then greets: whose it was is not known");
	is(px_memory_greet(&m, 6, 6, 78), PX_WELCOME_TWIN, "but from now on it is");
}

static void
test_directory(void)
{
	is(px_directory_judge(PX_SENTINEL_OF_ROW, true, true), PX_DOUBT_NONE, "its own directory");
	is(px_directory_judge(PX_SENTINEL_OF_ROW, false, true), PX_DOUBT_COPY, "a copy");
	is(px_directory_judge(PX_SENTINEL_OF_NEXT, false, true), PX_DOUBT_NONE,
	   "a crash between the file and the tables");
	is(px_directory_judge(PX_SENTINEL_OF_OTHER, true, true), PX_DOUBT_OTHER, "put together");
	is(px_directory_judge(PX_SENTINEL_MISSING, false, true), PX_DOUBT_MISSING, "without the file");
	is(px_directory_judge(PX_SENTINEL_OF_ROW, true, false), PX_DOUBT_BACKUP, "from a base backup");
	is(px_directory_judge(PX_SENTINEL_OF_NEXT, true, false), PX_DOUBT_BACKUP,
	   "whatever the file says");
}

/* The log knows of this node what it does not know itself. */
static void
test_foreign(void)
{
	solo *s = solo_new(3);
	uint64_t life;

	s->params.incarnation = 7;
	solo_start(s);
	life = s->params.incarnation;
	solo_batch(s, NULL);
	ok(!px_proposer_foreign(s->p, 0, 0), "nothing of it was applied");
	ok(!px_proposer_foreign(s->p, life - 1, 1000), "of a former life, however much");
	ok(!px_proposer_foreign(s->p, life, 1), "of this one what it has numbered");
	ok(px_proposer_foreign(s->p, life, 2), "and no more");
	ok(px_proposer_foreign(s->p, life + 1, 0), "nor of a later one");
	solo_free(s);
}

void
run_tests(void)
{
	test_note();
	test_compare();
	test_greet();
	test_directory();
	test_foreign();
}
