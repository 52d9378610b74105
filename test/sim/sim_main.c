/*
 * sim_main.c
 *	  Arguments, sets of seeds, replay of a failing one, coverage.
 *
 *	sim --seed N [--nodes N] [--steps N] [--trace]
 *	sim --seeds FROM..TO [--file FILE] [--coverage] [--stop at the first failure]
 *
 * A run that fails is run again at once with the trace kept (a seed gives the
 * same run every time), so that ordinary runs pay nothing for traces.
 */
#include <unistd.h>

#include "sim.h"

#define DEFAULT_STEPS 40000

typedef struct outcome
{
	bool ok;
	uint64_t step;
	px_usec at;
	char fact[1024];
	px_slot slots;
	uint64_t commands;
	uint64_t acknowledged;
	uint64_t reads;
	px_usec took_us;
	px_usec leader_took_us;
	px_usec election_us;
} outcome;

static uint64_t totals[6];
static uint64_t worst_end_tenths;
static uint64_t worst_leader_tenths;
static uint64_t worst_end_seed;
static uint64_t worst_leader_seed;

static void
run(uint64_t seed, int nodes, uint64_t steps, bool trace, bool ring, outcome *out)
{
	sim_event e;

	memset(out, 0, sizeof(*out));
	W = calloc(1, sizeof(sim_world));
	if (W == NULL)
		abort();
	W->trace = trace;
	W->ring = ring;
	if (setjmp(W->failed) == 0)
	{
		fault_setup(seed, nodes, steps);
		for (;;)
		{
			if (!sim_next(&e))
				sim_fail("simulator: nothing is left to happen");
			if (e.kind == E_FAULT)
				fault_now(&e);
			else if (e.kind == E_HEAL)
				fault_heal(&e);
			else if (e.kind == E_END)
			{
				if (W->phase == PHASE_CHAOS)
					fault_end();
			}
			else
				node_dispatch(&e);
			if (W->phase == PHASE_CHAOS && W->step >= W->max_steps)
				fault_end();
			if (W->phase == PHASE_END && fault_done())
				break;
		}
		out->ok = true;
	}
	else
	{
		out->ok = false;
		memcpy(out->fact, W->fact, sizeof(out->fact));
		if (ring)
			for (int i = 1; i <= W->n_nodes; i++)
			{
				sim_node *n = &W->nodes[i];
				uint64_t first = n->n_ring > SIM_RING ? n->n_ring - SIM_RING : 0;

				printf("--- node %d, last lines (step, ms) ---\n", i);
				for (uint64_t j = first; j < n->n_ring; j++)
					printf("%s\n", n->ring[j % SIM_RING]);
			}
	}
	out->step = W->step;
	out->at = W->now;
	out->slots = W->prefix;
	out->commands = W->n_commands;
	out->acknowledged = W->n_acknowledged;
	out->reads = W->n_reads;
	out->took_us = W->took_us;
	out->leader_took_us = W->leader_took_us;
	out->election_us = W->election_us;
	sim_world_free();
}

static bool
one(uint64_t seed, int nodes, uint64_t steps, bool trace)
{
	outcome o;
	uint64_t tenths;

	run(seed, nodes, steps, trace, false, &o);
	totals[0]++;
	totals[1] += o.step;
	totals[2] += o.slots;
	totals[3] += o.commands;
	totals[4] += o.acknowledged;
	totals[5] += o.reads;
	if (o.ok)
	{
		tenths = o.took_us * 10 / o.election_us;
		if (tenths > worst_end_tenths)
		{
			worst_end_tenths = tenths;
			worst_end_seed = seed;
		}
		tenths = o.leader_took_us * 10 / o.election_us;
		if (tenths > worst_leader_tenths)
		{
			worst_leader_tenths = tenths;
			worst_leader_seed = seed;
		}
		return true;
	}
	if (!trace)
	{
		outcome again;
		uint64_t keep[N_COVERAGE];

		memcpy(keep, sim_covered, sizeof(keep));
		run(seed, nodes, steps, false, true, &again);
		memcpy(sim_covered, keep, sizeof(keep));
		if (again.ok || again.step != o.step || strcmp(again.fact, o.fact) != 0)
			printf("THE SECOND RUN DIFFERS: the simulator is not deterministic\n");
	}
	printf("FAILED seed %llu at step %llu (%llu.%03llu ms): %s\n", (unsigned long long) seed,
		   (unsigned long long) o.step, (unsigned long long) (o.at / 1000),
		   (unsigned long long) (o.at % 1000), o.fact);
	printf("replay: ./sim --seed %llu", (unsigned long long) seed);
	if (nodes != 0)
		printf(" --nodes %d", nodes);
	if (steps != DEFAULT_STEPS)
		printf(" --steps %llu", (unsigned long long) steps);
	printf(" --trace\n");
	fflush(stdout);
	return false;
}

static void
usage(void)
{
	fprintf(stderr,
			"usage: sim --seed N | --seeds FROM..TO | --file FILE ...\n"
			"           [--nodes 1..%d] [--steps N] [--trace] [--coverage] [--quiet] [--stop]\n",
			SIM_MAX_NODES);
	exit(2);
}

static uint64_t
number(const char *s, char **end)
{
	uint64_t v = strtoull(s, end, 10);

	if (*end == s)
		usage();
	return v;
}

int
main(int argc, char **argv)
{
	int nodes = 0;
	uint64_t steps = DEFAULT_STEPS;
	bool trace = false;
	bool coverage = false;
	bool quiet = false;
	bool stop = false;
	uint64_t failures = 0;
	char *end;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--trace") == 0)
			trace = true;
		else if (strcmp(argv[i], "--coverage") == 0)
			coverage = true;
		else if (strcmp(argv[i], "--quiet") == 0)
			quiet = true;
		else if (strcmp(argv[i], "--stop") == 0)
			stop = true;
		else if (i + 1 >= argc)
			usage();
		else if (strcmp(argv[i], "--nodes") == 0)
		{
			nodes = (int) number(argv[++i], &end);
			if (nodes < 1 || nodes > SIM_MAX_NODES)
				usage();
		}
		else if (strcmp(argv[i], "--steps") == 0)
			steps = number(argv[++i], &end);
		else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--seeds") == 0 ||
				 strcmp(argv[i], "--file") == 0)
			i++;
		else
			usage();
	}
	for (int i = 1; i < argc && !(stop && failures > 0); i++)
	{
		if (strcmp(argv[i], "--seed") == 0)
		{
			if (!one(number(argv[++i], &end), nodes, steps, trace))
				failures++;
		}
		else if (strcmp(argv[i], "--seeds") == 0)
		{
			uint64_t from = number(argv[++i], &end);
			uint64_t to;

			if (strncmp(end, "..", 2) != 0)
				usage();
			to = number(end + 2, &end);
			for (uint64_t s = from; s <= to && !(stop && failures > 0); s++)
				if (!one(s, nodes, steps, trace))
					failures++;
		}
		else if (strcmp(argv[i], "--file") == 0)
		{
			FILE *f = fopen(argv[++i], "r");
			char line[256];

			if (f == NULL)
			{
				fprintf(stderr, "sim: cannot open %s\n", argv[i]);
				return 2;
			}
			/* lines: seed [nodes [steps]] [# why] */
			while (fgets(line, sizeof(line), f) != NULL)
			{
				unsigned long long s = 0, st = DEFAULT_STEPS;
				int nn = 0;

				if (line[0] == '#' || sscanf(line, "%llu %d %llu", &s, &nn, &st) < 1)
					continue;
				if (!one(s, nn, st, trace))
					failures++;
			}
			fclose(f);
		}
		else if (strcmp(argv[i], "--nodes") == 0 || strcmp(argv[i], "--steps") == 0)
			i++;
	}
	if (totals[0] == 0)
		usage();
	if (!quiet)
		printf("%llu seeds, %llu failed: %llu steps, %llu slots chosen, %llu commands "
			   "(%llu acknowledged), %llu linearizable reads\n"
			   "worst time to a ready leader %llu.%llu election timeouts (seed %llu), "
			   "to the end of all work %llu.%llu (seed %llu)\n",
			   (unsigned long long) totals[0], (unsigned long long) failures,
			   (unsigned long long) totals[1], (unsigned long long) totals[2],
			   (unsigned long long) totals[3], (unsigned long long) totals[4],
			   (unsigned long long) totals[5], (unsigned long long) worst_leader_tenths / 10,
			   (unsigned long long) worst_leader_tenths % 10,
			   (unsigned long long) worst_leader_seed, (unsigned long long) worst_end_tenths / 10,
			   (unsigned long long) worst_end_tenths % 10, (unsigned long long) worst_end_seed);
	if (coverage)
	{
		int missing = 0;

		for (int i = 0; i < N_COVERAGE; i++)
		{
			printf("%10llu  %s\n", (unsigned long long) sim_covered[i], sim_coverage_text[i]);
			if (sim_covered[i] == 0)
				missing++;
		}
		if (missing > 0)
		{
			printf("FAILED: %d situations were never reached\n", missing);
			failures++;
		}
	}
	return failures > 0 ? 1 : 0;
}
