/*
 * sim_main.c
 *	  Arguments, sets of seeds, replay of a failing one, coverage.
 *
 *	sim --seed N [--trace] [--minimise]		and what is left out: --nodes, --steps,
 *											--sessions, --without, --drop, --only
 *	sim --seeds FROM..TO [--every N] [--file FILE] [--coverage] [--stop]
 *
 * A run that fails is run again at once with the trace kept (a seed gives the
 * same run every time), so that ordinary runs pay nothing for traces.
 */
#include <unistd.h>

#include "sim.h"

static uint64_t totals[6];
static uint64_t worst_end_tenths;
static uint64_t worst_leader_tenths;
static uint64_t worst_end_seed;
static uint64_t worst_leader_seed;

/* What happened last, on every node, and the faults. */
static void
show_end(void)
{
	for (int i = 1; i <= W->n_nodes; i++)
	{
		sim_node *n = &W->nodes[i];
		uint64_t first = n->n_ring > SIM_RING ? n->n_ring - SIM_RING : 0;

		printf("--- node %d, last lines (step, ms) ---\n", i);
		for (uint64_t j = first; j < n->n_ring; j++)
			printf("%s\n", n->ring[j % SIM_RING]);
	}
	if (W->faults_done <= SIM_FAULT_LINES)
	{
		printf("--- faults (ms, index) ---\n");
		for (uint32_t i = 0; i < W->faults_done; i++)
			printf("%10llu.%03llu  %5u %s\n", (unsigned long long) (W->fault_lines[i].at / 1000),
				   (unsigned long long) (W->fault_lines[i].at % 1000), W->fault_lines[i].index,
				   sim_fault_name[W->fault_lines[i].kind]);
	}
	else
		printf("--- %u faults ---\n", W->faults_done);
}

void
sim_run_once(const sim_options *o, bool trace, bool ring, sim_run *out)
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
		fault_setup(o);
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
		out->fact_format = W->fact_format;
		if (ring)
			show_end();
	}
	out->step = W->step;
	out->at = W->now;
	out->n_faults = W->n_faults;
	out->in_end_phase = W->phase == PHASE_END;
	out->faults_done = W->faults_done;
	memcpy(out->fault_counts, W->fault_counts, sizeof(out->fault_counts));
	for (uint32_t i = 0; i < W->faults_done && i < SIM_FAULT_LINES; i++)
		out->fault_index[i] = W->fault_lines[i].index;
	out->n_sessions = W->n_sessions;
	out->slots = W->prefix;
	out->commands = W->n_commands;
	out->acknowledged = W->n_acknowledged;
	out->reads = W->n_reads;
	out->took_us = W->took_us;
	out->leader_took_us = W->leader_took_us;
	out->election_us = W->election_us;
	sim_world_free();
}

/* The command line of a run. */
void
sim_print_command(const sim_options *o, const char *what)
{
	const char *separator = " --without ";
	bool only;

	printf("%s: ./sim --seed %llu", what, (unsigned long long) o->seed);
	if (o->nodes != 0)
		printf(" --nodes %d", o->nodes);
	if (o->steps != SIM_DEFAULT_STEPS)
		printf(" --steps %llu", (unsigned long long) o->steps);
	if (o->sessions != 0)
		printf(" --sessions %d", o->sessions);
	for (int i = 0; i < N_FAULTS + N_AMBIENT; i++)
		if (i < N_FAULTS ? o->no_fault[i] : o->no_ambient[i - N_FAULTS])
		{
			printf("%s%s", separator,
				   i < N_FAULTS ? sim_fault_name[i] : sim_ambient_name[i - N_FAULTS]);
			separator = ",";
		}
	only = (o->dropped[SIM_MAX_DROPS / 8 - 1] & 0x80) != 0;
	separator = only ? " --only " : " --drop ";
	for (uint32_t i = 1; i < SIM_MAX_DROPS; i++)
		if (sim_dropped(o, i) != only)
		{
			uint32_t to = i;

			while (to + 1 < SIM_MAX_DROPS && sim_dropped(o, to + 1) != only)
				to++;
			printf("%s%u", separator, i);
			if (to > i)
				printf("-%u", to);
			separator = ",";
			i = to;
		}
	printf("%s\n", strcmp(what, "replay") == 0 ? " --trace" : " --minimise");
}

static bool
one(const sim_options *o, bool trace)
{
	sim_run r;
	uint64_t tenths;

	sim_run_once(o, trace, false, &r);
	totals[0]++;
	totals[1] += r.step;
	totals[2] += r.slots;
	totals[3] += r.commands;
	totals[4] += r.acknowledged;
	totals[5] += r.reads;
	if (r.ok)
	{
		tenths = r.took_us * 10 / r.election_us;
		if (tenths > worst_end_tenths)
		{
			worst_end_tenths = tenths;
			worst_end_seed = o->seed;
		}
		tenths = r.leader_took_us * 10 / r.election_us;
		if (tenths > worst_leader_tenths)
		{
			worst_leader_tenths = tenths;
			worst_leader_seed = o->seed;
		}
		return true;
	}
	if (!trace)
	{
		sim_run again;
		uint64_t keep[N_COVERAGE];
		uint64_t keep_faults[N_FAULTS];

		memcpy(keep, sim_covered, sizeof(keep));
		memcpy(keep_faults, sim_faults, sizeof(keep_faults));
		sim_run_once(o, false, true, &again);
		memcpy(sim_covered, keep, sizeof(keep));
		memcpy(sim_faults, keep_faults, sizeof(keep_faults));
		if (again.ok || again.step != r.step || strcmp(again.fact, r.fact) != 0)
			printf("THE SECOND RUN DIFFERS: the simulator is not deterministic\n");
	}
	printf("FAILED seed %llu at step %llu (%llu.%03llu ms): %s\n", (unsigned long long) o->seed,
		   (unsigned long long) r.step, (unsigned long long) (r.at / 1000),
		   (unsigned long long) (r.at % 1000), r.fact);
	sim_print_command(o, "replay");
	sim_print_command(o, "shorten");
	fflush(stdout);
	return false;
}

static void
usage(void)
{
	fprintf(
		stderr,
		"usage: sim --seed N | --seeds FROM..TO | --file FILE ...\n"
		"           [--nodes 1..%d] [--steps N] [--sessions N] [--without KIND,...] [--drop|--only N,N-N,...]\n"
		"           [--trace] [--minimise] [--coverage] [--quiet] [--stop] [--every N]\n",
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

static void
without(sim_options *o, const char *list)
{
	while (*list != '\0')
	{
		size_t len = strcspn(list, ",");
		bool known = false;

		for (int i = 0; i < N_FAULTS + N_AMBIENT; i++)
		{
			const char *name = i < N_FAULTS ? sim_fault_name[i] : sim_ambient_name[i - N_FAULTS];

			if (strlen(name) != len || strncmp(name, list, len) != 0)
				continue;
			known = true;
			if (i < N_FAULTS)
				o->no_fault[i] = true;
			else
				o->no_ambient[i - N_FAULTS] = true;
		}
		if (!known)
		{
			fprintf(stderr, "sim: no fault is called %.*s\n", (int) len, list);
			exit(2);
		}
		list += len + (list[len] == ',');
	}
}

static void
drop(sim_options *o, const char *list, bool only)
{
	if (only)
		memset(o->dropped, 0xff, sizeof(o->dropped));
	while (*list != '\0')
	{
		char *end;
		uint64_t from = number(list, &end);
		uint64_t to = *end == '-' ? number(end + 1, &end) : from;

		for (uint64_t i = from; i <= to && i < SIM_MAX_DROPS; i++)
			if (only)
				o->dropped[i / 8] &= (uint8_t) ~(1 << i % 8);
			else
				o->dropped[i / 8] |= (uint8_t) (1 << i % 8);
		if (*end != '\0' && *end != ',')
			usage();
		list = end + (*end == ',');
	}
}

static int
show_coverage(void)
{
	int missing = 0;

	for (int i = 0; i < N_COVERAGE; i++)
	{
		printf("%10llu  %s\n", (unsigned long long) sim_covered[i], sim_coverage_text[i]);
		if (sim_covered[i] == 0)
			missing++;
	}
	for (int i = 0; i < N_FAULTS; i++)
	{
		printf("%10llu  fault %s\n", (unsigned long long) sim_faults[i], sim_fault_name[i]);
		if (sim_faults[i] == 0)
			missing++;
	}
	return missing;
}

int
main(int argc, char **argv)
{
	sim_options o = {.steps = SIM_DEFAULT_STEPS};
	bool trace = false;
	bool coverage = false;
	bool quiet = false;
	bool stop = false;
	bool minimise = false;
	uint64_t every = 1;
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
		else if (strcmp(argv[i], "--minimise") == 0)
			minimise = true;
		else if (i + 1 >= argc)
			usage();
		else if (strcmp(argv[i], "--nodes") == 0)
		{
			o.nodes = (int) number(argv[++i], &end);
			if (o.nodes < 1 || o.nodes > SIM_MAX_NODES)
				usage();
		}
		else if (strcmp(argv[i], "--steps") == 0)
			o.steps = number(argv[++i], &end);
		else if (strcmp(argv[i], "--sessions") == 0)
			o.sessions = (int) number(argv[++i], &end);
		else if (strcmp(argv[i], "--every") == 0)
		{
			every = number(argv[++i], &end);
			if (every == 0)
				usage();
		}
		else if (strcmp(argv[i], "--without") == 0)
			without(&o, argv[++i]);
		else if (strcmp(argv[i], "--drop") == 0)
			drop(&o, argv[++i], false);
		else if (strcmp(argv[i], "--only") == 0)
			drop(&o, argv[++i], true);
		else if (strcmp(argv[i], "--seed") == 0 || strcmp(argv[i], "--seeds") == 0 ||
				 strcmp(argv[i], "--file") == 0)
			i++;
		else
			usage();
	}
	for (int i = 1; i + 1 < argc && !(stop && failures > 0); i++)
	{
		if (strcmp(argv[i], "--seed") == 0)
		{
			o.seed = number(argv[++i], &end);
			if (minimise)
				return sim_minimise(&o) ? 1 : 0;
			if (!one(&o, trace))
				failures++;
		}
		else if (strcmp(argv[i], "--seeds") == 0)
		{
			uint64_t from = number(argv[++i], &end);
			uint64_t to;

			if (strncmp(end, "..", 2) != 0)
				usage();
			to = number(end + 2, &end);
			for (o.seed = from; o.seed <= to && !(stop && failures > 0); o.seed += every)
				if (!one(&o, trace))
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
				unsigned long long s = 0, st = SIM_DEFAULT_STEPS;
				sim_options kept = o;

				kept.nodes = 0;
				if (line[0] == '#' || sscanf(line, "%llu %d %llu", &s, &kept.nodes, &st) < 1)
					continue;
				kept.seed = s;
				kept.steps = st;
				if (!one(&kept, trace))
					failures++;
			}
			fclose(f);
		}
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
		int missing = show_coverage();

		if (missing > 0)
		{
			printf("FAILED: %d situations were never reached\n", missing);
			failures++;
		}
	}
	return failures > 0 ? 1 : 0;
}
