/*
 * sim_minimise.c
 *	  A failing run made shorter: fewer kinds of faults, fewer occurrences,
 *	  fewer clients, an earlier end of the chaos.
 *
 * Each attempt is a whole run with something more left out; what still fails in
 * the same way is kept (delta debugging: Zeller, Hildebrandt, "Simplifying and
 * Isolating Failure-Inducing Input").  "The same way" is the same check, whatever
 * slot or node it names: another failure would lead away from the one that was
 * asked about.
 *
 * It helps that an occurrence of a fault has a generator of its own
 * (sim_fault.c): leaving one out leaves the others at their times.  Everything
 * else in the run may come out differently from there on, so this is a search
 * and finds a short run, not the shortest.
 */
#include "sim.h"

#define MAX_RUNS 3000

static sim_options best;
static sim_run found;
static int runs;

static bool
still_fails(const sim_options *o)
{
	sim_run r;

	if (runs >= MAX_RUNS)
		return false;
	runs++;
	sim_run_once(o, false, false, &r);
	if (r.ok || r.fact_format != found.fact_format)
		return false;
	/* one format for all assertions of the core: compare what they say */
	if (strncmp(r.fact, "assertion", 9) == 0 && strcmp(r.fact, found.fact) != 0)
		return false;
	best = *o;
	found = r;
	return true;
}

static void
fewer_kinds(void)
{
	for (int i = 0; i < N_FAULTS; i++)
	{
		sim_options o = best;

		o.no_fault[i] = true;
		if (found.fault_counts[i] > 0 && still_fails(&o))
			printf("  without %s: fails at step %llu\n", sim_fault_name[i],
				   (unsigned long long) found.step);
	}
	for (int i = 0; i < N_AMBIENT; i++)
	{
		sim_options o = best;

		o.no_ambient[i] = true;
		if (!best.no_ambient[i] && still_fails(&o))
			printf("  without %s: fails at step %llu\n", sim_ambient_name[i],
				   (unsigned long long) found.step);
	}
}

/* Chunks of occurrences, halved until they are single ones. */
static void
fewer_occurrences(void)
{
	uint32_t chunk = (uint32_t) px_min64(found.n_faults / 2 + 1, SIM_MAX_DROPS - 1);

	for (; chunk > 0 && runs < MAX_RUNS; chunk /= 2)
		for (uint32_t from = 1; from <= found.n_faults && from < SIM_MAX_DROPS; from += chunk)
		{
			sim_options o = best;
			bool any = false;

			for (uint32_t i = from; i < from + chunk && i < SIM_MAX_DROPS; i++)
				if (!sim_dropped(&o, i))
				{
					o.dropped[i / 8] |= (uint8_t) (1 << i % 8);
					any = true;
				}
			if (any && still_fails(&o) && chunk > 1)
				printf("  without occurrences %u to %u: fails at step %llu\n", from,
					   from + chunk - 1, (unsigned long long) found.step);
		}
}

static void
fewer_clients(void)
{
	while (found.n_sessions > 1 && runs < MAX_RUNS)
	{
		bool better = false;

		for (int n = 1; n < found.n_sessions && !better; n *= 2)
		{
			sim_options o = best;

			o.sessions = n;
			better = still_fails(&o);
		}
		if (!better)
			break;
		printf("  with %d clients a node: fails at step %llu\n", found.n_sessions,
			   (unsigned long long) found.step);
	}
}

/* Only what fails in the end phase gets shorter by an earlier end of the chaos. */
static void
fewer_steps(void)
{
	if (!found.in_end_phase)
		return;
	for (uint64_t cut = best.steps / 2; cut > 50 && runs < MAX_RUNS; cut /= 2)
		while (best.steps > cut)
		{
			sim_options o = best;

			o.steps = px_min64(best.steps, found.step) - cut;
			if (px_min64(best.steps, found.step) <= cut || !still_fails(&o))
				break;
			printf("  chaos ends at step %llu: fails at step %llu\n",
				   (unsigned long long) best.steps, (unsigned long long) found.step);
		}
}

/* Name what is left instead of all that is not: the same run, a shorter command. */
static void
name_the_rest(void)
{
	sim_options o = best;

	if (found.faults_done > SIM_FAULT_LINES)
		return;
	memset(o.no_fault, 0, sizeof(o.no_fault));
	memset(o.dropped, 0xff, sizeof(o.dropped));
	for (uint32_t i = 0; i < found.faults_done; i++)
	{
		uint32_t index = found.fault_index[i];

		o.dropped[index / 8] &= (uint8_t) ~(1 << index % 8);
	}
	still_fails(&o);
}

/* True if the run fails at all. */
bool
sim_minimise(const sim_options *from)
{
	uint32_t done;
	uint64_t step;

	best = *from;
	runs = 1;
	sim_run_once(&best, false, false, &found);
	if (found.ok)
	{
		printf("seed %llu does not fail\n", (unsigned long long) from->seed);
		return false;
	}
	printf("seed %llu fails at step %llu after %u faults: %s\n", (unsigned long long) from->seed,
		   (unsigned long long) found.step, found.faults_done, found.fact);
	do
	{
		done = found.faults_done;
		step = found.step;
		fewer_kinds();
		fewer_clients();
		fewer_occurrences();
		fewer_steps();
	} while ((found.faults_done < done || found.step < step) && runs < MAX_RUNS);
	name_the_rest();
	printf("%d runs; what is left: %u faults, %d clients a node, step %llu\n", runs,
		   found.faults_done, found.n_sessions, (unsigned long long) found.step);
	sim_run_once(&best, false, true, &found);
	printf("FAILED seed %llu at step %llu (%llu.%03llu ms): %s\n", (unsigned long long) best.seed,
		   (unsigned long long) found.step, (unsigned long long) (found.at / 1000),
		   (unsigned long long) (found.at % 1000), found.fact);
	sim_print_command(&best, "replay");
	return true;
}
