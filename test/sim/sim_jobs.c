/*
 * sim_jobs.c
 *	  Sets of seeds: run by several processes, failures shown, figures and
 *	  coverage summed up.
 *
 * Every process takes the next run from one counter, so it does not matter how
 * long each takes; what a seed does depends on the seed alone.  A run that fails
 * is run again at once with its trace kept, so that ordinary runs pay nothing for
 * traces.  A process that dies (the simulator's own fault, or one of the core
 * that breaks memory) counts as a failure of the seed it was at.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define MAX_FAILED 1000

typedef struct sums
{
	uint64_t at; /* the seed it is at */
	uint64_t seeds;
	uint64_t failures;
	uint64_t steps;
	uint64_t simulated_us;
	uint64_t slots;
	uint64_t commands;
	uint64_t acknowledged;
	uint64_t reads;
	uint64_t end_tenths;
	uint64_t end_seed;
	uint64_t leader_tenths;
	uint64_t leader_seed;
	uint64_t failed[MAX_FAILED];
	uint64_t covered[N_COVERAGE];
	uint64_t faults[N_FAULTS];
} sums;

/* What the processes share. */
typedef struct shared
{
	atomic_ullong next;
	atomic_bool stop;
	sums of[SIM_MAX_JOBS];
} shared;

void
jobs_add(sim_plan *plan, uint64_t from, uint64_t to)
{
	sim_range *r;

	if (to < from)
		return;
	plan->ranges = realloc(plan->ranges, (size_t) (plan->n_ranges + 1) * sizeof(sim_range));
	if (plan->ranges == NULL)
		abort();
	r = &plan->ranges[plan->n_ranges++];
	r->from = from;
	r->to = to;
	r->nodes = 0;
	r->steps = 0;
	r->plain = false;
	plan->n_runs += to - from + 1;
}

/* Lines: seed [nodes [steps]] [# why] */
void
jobs_add_file(sim_plan *plan, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[256];

	if (f == NULL)
	{
		fprintf(stderr, "sim: cannot open %s\n", path);
		exit(2);
	}
	while (fgets(line, sizeof(line), f) != NULL)
	{
		unsigned long long seed;
		unsigned long long steps = 0;
		int nodes = 0;

		if (line[0] == '#' || sscanf(line, "%llu %d %llu", &seed, &nodes, &steps) < 1)
			continue;
		jobs_add(plan, seed, seed);
		plan->ranges[plan->n_ranges - 1].nodes = nodes;
		plan->ranges[plan->n_ranges - 1].steps = steps;
		line[strcspn(line, "#")] = '\0';
		plan->ranges[plan->n_ranges - 1].plain = strstr(line, "sets") == NULL;
	}
	fclose(f);
}

static void
worse(uint64_t *worst, uint64_t *worst_seed, uint64_t tenths, uint64_t seed)
{
	if (tenths <= *worst)
		return;
	*worst = tenths;
	*worst_seed = seed;
}

static bool
one(const sim_options *o, bool trace, sums *sum)
{
	sim_run r;
	uint64_t tenths;

	sim_run_once(o, trace, false, &r);
	sum->seeds++;
	sum->steps += r.step;
	sum->simulated_us += r.at;
	sum->slots += r.slots;
	sum->commands += r.commands;
	sum->acknowledged += r.acknowledged;
	sum->reads += r.reads;
	if (r.ok)
	{
		tenths = r.took_us * 10 / r.election_us;
		worse(&sum->end_tenths, &sum->end_seed, tenths, o->seed);
		tenths = r.leader_took_us * 10 / r.election_us;
		worse(&sum->leader_tenths, &sum->leader_seed, tenths, o->seed);
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
	if (sum->failures < MAX_FAILED)
		sum->failed[sum->failures] = o->seed;
	sum->failures++;
	return false;
}

/* One process: runs, until there are none left. */
static void
work(const sim_plan *plan, shared *sh, sums *sum)
{
	for (;;)
	{
		uint64_t i = atomic_fetch_add(&sh->next, 1);
		sim_options o = *plan->options;
		int k = 0;

		if (i >= plan->n_runs || atomic_load(&sh->stop))
			break;
		for (; i > plan->ranges[k].to - plan->ranges[k].from; k++)
			i -= plan->ranges[k].to - plan->ranges[k].from + 1;
		o.seed = plan->ranges[k].from + i;
		if (plan->ranges[k].nodes != 0)
			o.nodes = plan->ranges[k].nodes;
		o.plain |= plan->ranges[k].plain;
		if (plan->ranges[k].steps != 0)
			o.steps = plan->ranges[k].steps;
		sum->at = o.seed;
		if (!one(&o, plan->trace, sum) && plan->stop)
			atomic_store(&sh->stop, true);
	}
	memcpy(sum->covered, sim_covered, sizeof(sum->covered));
	memcpy(sum->faults, sim_faults, sizeof(sum->faults));
}

/* A process whose output comes in one piece at its end, or with each failure. */
static pid_t
start(const sim_plan *plan, shared *sh, sums *sum)
{
	static char buffer[1 << 20];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid != 0)
		return pid;
	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	work(plan, sh, sum);
	fflush(stdout);
	_exit(0);
}

static void
progress(const sim_plan *plan, const shared *sh, time_t began)
{
	uint64_t seeds = 0;
	uint64_t failures = 0;
	double seconds = difftime(time(NULL), began) + 0.001;

	for (int i = 0; i < plan->jobs; i++)
	{
		seeds += sh->of[i].seeds;
		failures += sh->of[i].failures;
	}
	fprintf(stderr, "%llu of %llu seeds, %llu failed, %.0f seeds a second, %.0f s to go\n",
			(unsigned long long) seeds, (unsigned long long) plan->n_runs,
			(unsigned long long) failures, (double) seeds / seconds,
			seeds == 0 ? 0.0 : seconds / (double) seeds * (double) (plan->n_runs - seeds));
}

static void
run_all(const sim_plan *plan, shared *sh)
{
	time_t began = time(NULL);
	time_t shown = began;
	pid_t pids[SIM_MAX_JOBS];
	int running = plan->jobs;

	for (int i = 0; i < plan->jobs; i++)
		if ((pids[i] = start(plan, sh, &sh->of[i])) < 0)
		{
			perror("fork");
			exit(2);
		}
	while (running > 0)
	{
		int status;
		pid_t pid = waitpid(-1, &status, plan->progress ? WNOHANG : 0);

		if (pid == 0)
		{
			struct timespec pause = {0, 200 * 1000 * 1000};

			nanosleep(&pause, NULL);
			if (difftime(time(NULL), shown) >= 30)
			{
				shown = time(NULL);
				progress(plan, sh, began);
			}
			continue;
		}
		running--;
		for (int i = 0; i < plan->jobs; i++)
			if (pids[i] == pid && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
			{
				sums *sum = &sh->of[i];

				printf("FAILED seed %llu: the process that ran it died (status %d)\n",
					   (unsigned long long) sum->at, status);
				if (sum->failures < MAX_FAILED)
					sum->failed[sum->failures] = sum->at;
				sum->failures++;

				/* the others go on; this one's coverage is lost */
			}
	}
}

static void
add(sums *to, const sums *from)
{
	to->seeds += from->seeds;
	to->steps += from->steps;
	to->simulated_us += from->simulated_us;
	to->slots += from->slots;
	to->commands += from->commands;
	to->acknowledged += from->acknowledged;
	to->reads += from->reads;
	worse(&to->end_tenths, &to->end_seed, from->end_tenths, from->end_seed);
	worse(&to->leader_tenths, &to->leader_seed, from->leader_tenths, from->leader_seed);
	for (uint64_t i = 0; i < from->failures && i < MAX_FAILED; i++)
		if (to->failures + i < MAX_FAILED)
			to->failed[to->failures + i] = from->failed[i];
	to->failures += from->failures;
	for (int i = 0; i < N_COVERAGE; i++)
		to->covered[i] += from->covered[i];
	for (int i = 0; i < N_FAULTS; i++)
		to->faults[i] += from->faults[i];
}

static int
show_coverage(const sums *sum)
{
	int missing = 0;

	for (int i = 0; i < N_COVERAGE; i++)
	{
		printf("%10llu  %s\n", (unsigned long long) sum->covered[i], sim_coverage_text[i]);
		missing += sum->covered[i] == 0;
	}
	for (int i = 0; i < N_FAULTS; i++)
	{
		printf("%10llu  fault %s\n", (unsigned long long) sum->faults[i], sim_fault_name[i]);
		missing += sum->faults[i] == 0;
	}
	return missing;
}

static void
show_sums(const sums *s)
{
	printf("%llu seeds, %llu failed: %llu steps, %llu simulated seconds, %llu slots chosen, "
		   "%llu commands (%llu acknowledged), %llu linearizable reads\n"
		   "worst time to a ready leader %llu.%llu election timeouts (seed %llu), "
		   "to the end of all work %llu.%llu (seed %llu)\n",
		   (unsigned long long) s->seeds, (unsigned long long) s->failures,
		   (unsigned long long) s->steps, (unsigned long long) s->simulated_us / 1000000,
		   (unsigned long long) s->slots, (unsigned long long) s->commands,
		   (unsigned long long) s->acknowledged, (unsigned long long) s->reads,
		   (unsigned long long) s->leader_tenths / 10, (unsigned long long) s->leader_tenths % 10,
		   (unsigned long long) s->leader_seed, (unsigned long long) s->end_tenths / 10,
		   (unsigned long long) s->end_tenths % 10, (unsigned long long) s->end_seed);
	if (s->failures == 0)
		return;
	printf("failed seeds:");
	for (uint64_t i = 0; i < s->failures && i < MAX_FAILED; i++)
		printf(" %llu", (unsigned long long) s->failed[i]);
	printf("\n");
}

/* True if all is well. */
bool
jobs_run(const sim_plan *plan)
{
	shared *sh =
		mmap(NULL, sizeof(shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sums *all = calloc(1, sizeof(sums));
	bool good;

	if (sh == MAP_FAILED || all == NULL)
		abort();
	if (plan->jobs == 1 && !plan->progress)
		work(plan, sh, &sh->of[0]);
	else
		run_all(plan, sh);
	for (int i = 0; i < plan->jobs; i++)
		add(all, &sh->of[i]);
	show_sums(all);
	good = all->failures == 0;
	if (plan->coverage)
	{
		int missing = show_coverage(all);

		if (missing > 0)
		{
			printf("FAILED: %d situations were never reached\n", missing);
			good = false;
		}
	}
	free(all);
	free(plan->ranges);
	munmap(sh, sizeof(shared));
	return good;
}
