/*
 * t_cluster.c
 *	  Whole nodes together, in the interleavings that protocol.md warns of:
 *	  agreement, exactly once, liveness.
 */
#include "cluster.h"

static void
test_five_kill_two(void)
{
	cluster *c = cluster_new(5, 0);

	cluster_start_all(c);
	ok(cluster_elect(c, 1), "five nodes: one leads");
	for (px_node n = 1; n <= 5; n++)
	{
		char text[16];

		snprintf(text, sizeof(text), "w%u", (unsigned) n);
		cluster_write(c, n, text);
	}
	cluster_run(c, 100000);
	ok(c->n_executed == 5 && cluster_agrees(c), "five writes, at every node");
	cluster_crash(c, 1);
	cluster_crash(c, 2);
	cluster_write(c, 3, "after");
	cluster_run(c, 5000000);
	ok(cluster_executions(c, "after") == 1 && cluster_agrees(c), "two killed: writes go on");
	cluster_crash(c, 4);
	cluster_write(c, 3, "minority");
	cluster_run(c, 10000000);
	ok(cluster_executions(c, "minority") == 0 && cluster_leader(c) == 0,
	   "three killed: nothing is chosen and nobody leads");
	cluster_start(c, 1);
	cluster_run(c, 10000000);
	ok(cluster_executions(c, "minority") == 1 && cluster_agrees(c),
	   "one back: what waited is done, once");
	cluster_free(c);
}

static void
test_learner(void)
{
	cluster *c = cluster_new(3, 1);

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_write(c, 4, "from the learner");
	cluster_run(c, 200000);
	ok(cluster_executions(c, "from the learner") == 1 && cluster_agrees(c),
	   "a non-voting learner writes and follows");
	cluster_crash(c, 2);
	cluster_crash(c, 3);
	cluster_write(c, 1, "no quorum");
	cluster_run(c, 3000000);
	is(cluster_executions(c, "no quorum"), 0, "but makes no majority");
	cluster_free(c);
}

/*
 * Every leader is killed with its batches in flight; the origins send them
 * again to the next one, and everything executes exactly once.
 */
static void
test_exactly_once(void)
{
	cluster *c = cluster_new(3, 0);
	int written = 0;
	int lost = 0;
	char text[16];
	bool alive[100] = {false};

	cluster_start_all(c);
	cluster_run(c, 5000000);
	for (int round = 0; round < 10; round++)
	{
		px_node leader = cluster_leader(c);

		if (leader == 0)
			die("no leader");
		for (px_node n = 1; n <= 3; n++)
		{
			for (int i = 0; i < 2; i++)
			{
				snprintf(text, sizeof(text), "c%d", written);
				if (!cluster_write(c, n, text))
					die("the outbox is full");
				alive[written++] = n != leader;
			}
		}
		for (int i = 0; i < round * 3; i++)
			cluster_deliver_one(c, 0, 0);
		cluster_crash(c, leader);
		cluster_run(c, 6000000);
		cluster_start(c, leader);
		cluster_run(c, 3000000);
	}
	for (int i = 0; i < written; i++)
	{
		int n;

		snprintf(text, sizeof(text), "c%d", i);
		n = cluster_executions(c, text);
		if (n > 1 || (alive[i] && n != 1))
			lost++;
	}
	is(lost, 0, "ten leaders killed: no command of a living origin lost, none done twice");
	ok(cluster_agrees(c), "and all nodes agree");
	cluster_free(c);
}

/* A minority side goes silent, a majority side goes on, and they agree after. */
static void
test_split(void)
{
	cluster *c = cluster_new(5, 0);

	cluster_start_all(c);
	cluster_elect(c, 1);
	for (px_node a = 1; a <= 2; a++)
	{
		for (px_node b = 3; b <= 5; b++)
			cluster_cut(c, a, b);
	}
	cluster_write(c, 1, "minority");
	cluster_write(c, 4, "majority");
	cluster_read(c, 1);
	cluster_run(c, 5000000);
	ok(cluster_executions(c, "majority") == 1, "the three go on");
	ok(cluster_executions(c, "minority") == 0, "the two do not");
	is(c->nodes[1].read_done, 0, "nor serve reads");
	ok(c->nodes[1].view.role < PX_RECOVERING && c->nodes[2].view.role < PX_RECOVERING,
	   "their leader has stepped down");
	for (px_node a = 1; a <= 2; a++)
	{
		for (px_node b = 3; b <= 5; b++)
			cluster_heal(c, a, b);
	}
	cluster_run(c, 5000000);
	ok(cluster_executions(c, "minority") == 1 && cluster_agrees(c), "healed, they agree");
	ok(c->nodes[1].read_done == 1 && c->nodes[1].read_index <= c->nodes[1].applied,
	   "and the read is answered");
	cluster_free(c);
}

/*
 * A read at the old leader that does not know of the new one: it must not
 * return an index below what the new leader has told clients.
 */
static void
test_stale_leader_read(void)
{
	cluster *c = cluster_new(3, 0);
	px_slot before;

	cluster_start_all(c);
	cluster_elect(c, 1);
	before = c->nodes[1].applied;
	cluster_cut(c, 1, 2);
	cluster_cut(c, 1, 3);
	c->params.heartbeat_us = 50000;
	/* node 1 is not woken: it still believes that it leads */
	for (int i = 0; i < 400 && cluster_leader(c) != 2; i++)
	{
		cluster_wake(c, 2);
		while (cluster_deliver_one(c, 0, 2) || cluster_deliver_one(c, 0, 3))
			;
	}
	is(cluster_leader(c), 2, "another leads");
	cluster_write(c, 2, "new");
	while (cluster_deliver_one(c, 0, 2) || cluster_deliver_one(c, 0, 3))
		;
	is(cluster_executions(c, "new"), 1, "and has told a client");
	cluster_read(c, 1);
	while (cluster_deliver_one(c, 0, 0))
		;
	is(c->nodes[1].read_done, 0, "the old leader answers no read");
	cluster_heal(c, 1, 2);
	cluster_heal(c, 1, 3);
	cluster_run(c, 3000000);
	ok(c->nodes[1].read_done == 1 && c->nodes[1].read_index > before,
	   "until it has heard of what was done");
	cluster_free(c);
}

/* Elections provoked on all nodes at once: a leader within a few time-outs. */
static void
test_duel(void)
{
	px_usec worst = 0;

	for (int n = 3; n <= 7; n += 2)
	{
		cluster *c = cluster_new(n, 0);
		px_usec from;

		cluster_start_all(c);
		for (int round = 0; round < 20; round++)
		{
			from = c->now;
			for (int i = 1; i <= n; i++)
				cluster_wake(c, (px_node) i);
			while (cluster_leader(c) == 0 && c->now < from + 100 * c->params.election_timeout_us)
				cluster_run(c, c->params.heartbeat_us / 5);
			worst = px_max64(worst, c->now - from);
			for (int i = 1; i <= n; i++)
			{
				for (int j = i; j <= n; j++)
					cluster_cut(c, (px_node) i, (px_node) j);
			}
			cluster_run(c, 2 * c->params.election_timeout_us);
			for (int i = 1; i <= n; i++)
			{
				for (int j = i; j <= n; j++)
					cluster_heal(c, (px_node) i, (px_node) j);
			}
		}
		cluster_free(c);
	}
	ok(worst <= 6 * 500000, "duelling candidates: a leader within %d ms", (int) (worst / 1000));
}

static void
test_transfer(void)
{
	cluster *c = cluster_new(3, 0);
	px_usec from;

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_write(c, 3, "before");
	cluster_run(c, 100000);
	from = c->now;
	cluster_transfer(c, 1, 3);
	cluster_deliver(c);
	is(cluster_leader(c), 3, "leadership goes where it is handed");
	is(c->now, from, "without waiting for any time-out");
	cluster_write(c, 1, "after");
	cluster_run(c, 100000);
	ok(cluster_executions(c, "after") == 1 && cluster_agrees(c), "and service goes on");
	cluster_free(c);
}

/* A node that was down learns from the log what it missed. */
static void
test_return(void)
{
	cluster *c = cluster_new(3, 0);
	char text[16];

	cluster_start_all(c);
	cluster_elect(c, 1);
	cluster_crash(c, 3);
	for (int i = 0; i < 200; i++)
	{
		snprintf(text, sizeof(text), "m%d", i);
		while (!cluster_write(c, 1, text))
			cluster_deliver(c);
		cluster_deliver(c);
	}
	cluster_start(c, 3);
	cluster_run(c, 500000);
	ok(cluster_agrees(c) && c->nodes[3].applied > 200, "a node that returns catches up");
	cluster_crash(c, 1);
	cluster_run(c, 3000000);
	cluster_write(c, 3, "last");
	cluster_run(c, 3000000);
	ok(cluster_executions(c, "last") == 1 && cluster_agrees(c), "and carries the quorum");
	cluster_free(c);
}

/* One node alone is a cluster too, also when its connection to itself breaks. */
static void
test_single(void)
{
	cluster *c = cluster_new(1, 0);

	cluster_start_all(c);
	ok(cluster_elect(c, 1), "a single node leads");
	cluster_write(c, 1, "a");
	cluster_deliver_one(c, 1, 1); /* accepted, and the answer is lost */
	cluster_cut(c, 1, 1);
	cluster_heal(c, 1, 1);
	cluster_run(c, 200000);
	is(cluster_executions(c, "a"), 1, "a value whose answer was lost is chosen");
	is(c->nodes[1].applied, c->nodes[1].view.chosen, "and applied: no gap is left");
	cluster_crash(c, 1);
	cluster_start(c, 1);
	cluster_run(c, 3000000);
	ok(cluster_leader(c) == 1 && cluster_executions(c, "a") == 1, "after a restart it leads again");
	cluster_free(c);
}

void
run_tests(void)
{
	test_single();
	test_five_kill_two();
	test_learner();
	test_exactly_once();
	test_split();
	test_stale_leader_read();
	test_duel();
	test_transfer();
	test_return();
}
