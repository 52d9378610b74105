/*
 * sim_main.c
 *	  Arguments, and one run from its beginning to its end.
 *
 *	sim --seed N [--trace] [--minimise]		and what is left out: --nodes, --steps,
 *											--sessions, --plain, --without, --drop, --only
 *	sim --seeds FROM..TO [--file FILE] [--jobs N] [--coverage] [--progress] [--stop]
 */
#include "sim.h"

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
			else if (e.kind == E_CHANGE)
				config_turn(&e);
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
		history_check();
		set_check();
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
	if (o->plain)
		printf(" --plain");
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

static void
usage(void)
{
	fprintf(
		stderr,
		"usage: sim --seed N | --seeds FROM..TO | --file FILE ...\n"
		"           [--nodes 1..%d] [--steps N] [--sessions N] [--without KIND,...] [--drop|--only N,N-N,...]\n"
		"           [--plain]"
		"           [--trace] [--minimise] [--coverage] [--quiet] [--stop] [--every N]\n",
		SIM_FORMED);
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

int
main(int argc, char **argv)
{
	sim_options o = {.steps = SIM_DEFAULT_STEPS};
	sim_plan plan = {.options = &o, .jobs = 1};
	bool minimise = false;
	char *end;

	for (int i = 1; i < argc; i++)
	{
		const char *arg = argv[i];
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(arg, "--trace") == 0)
			plan.trace = true;
		else if (strcmp(arg, "--coverage") == 0)
			plan.coverage = true;
		else if (strcmp(arg, "--progress") == 0)
			plan.progress = true;
		else if (strcmp(arg, "--stop") == 0)
			plan.stop = true;
		else if (strcmp(arg, "--minimise") == 0)
			minimise = true;
		else if (strcmp(arg, "--plain") == 0)
			o.plain = true;
		else if (value == NULL)
			usage();
		else
		{
			i++;
			if (strcmp(arg, "--nodes") == 0)
			{
				o.nodes = (int) number(value, &end);
				if (o.nodes < 1 || o.nodes > SIM_FORMED)
					usage();
			}
			else if (strcmp(arg, "--steps") == 0)
				o.steps = number(value, &end);
			else if (strcmp(arg, "--sessions") == 0)
				o.sessions = (int) number(value, &end);
			else if (strcmp(arg, "--jobs") == 0)
			{
				plan.jobs = (int) number(value, &end);
				if (plan.jobs < 1 || plan.jobs > SIM_MAX_JOBS)
					usage();
			}
			else if (strcmp(arg, "--without") == 0)
				without(&o, value);
			else if (strcmp(arg, "--drop") == 0)
				drop(&o, value, false);
			else if (strcmp(arg, "--only") == 0)
				drop(&o, value, true);
			else if (strcmp(arg, "--seed") == 0)
			{
				o.seed = number(value, &end);
				jobs_add(&plan, o.seed, o.seed);
			}
			else if (strcmp(arg, "--seeds") == 0)
			{
				uint64_t from = number(value, &end);

				if (strncmp(end, "..", 2) != 0)
					usage();
				jobs_add(&plan, from, number(end + 2, &end));
			}
			else if (strcmp(arg, "--file") == 0)
				jobs_add_file(&plan, value);
			else
				usage();
		}
	}
	if (plan.n_runs == 0)
		usage();
	if (minimise)
		return sim_minimise(&o) ? 1 : 0;
	return jobs_run(&plan) ? 0 : 1;
}
