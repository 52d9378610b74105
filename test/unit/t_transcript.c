/*
 * t_transcript.c
 *	  Scenarios as text: each file of transcripts/ is a script of events with,
 *	  below every command, the exact trace of what each node decided.
 *
 *	# comment
 *	> command
 *	what it printed
 *
 * The test runs the commands and compares.  With --update it writes the files
 * anew; the difference is to be read before it is committed.  Commands:
 *
 *	nodes N [M]			N voters, M learners
 *	start all | start N	| crash N
 *	quiet				run the next command without its trace
 *	elect N				wake N and deliver until it leads
 *	wake N				move the clock to N's next wake-up and tick it
 *	timeout N			wake N until it is no follower any more
 *	deliver [A B]		everything, or the oldest message from A to B
 *	run MS				let everything happen for so long
 *	cut A B | heal A B
 *	write N TEXT | read N | transfer N TO
 *	state				one line per node
 */
#include <dirent.h>
#include <stdlib.h>

#include "cluster.h"

#define DIRECTORY "transcripts"

static void
state(const cluster *c, FILE *out)
{
	char ballot[32];

	for (int i = 1; i <= c->n; i++)
	{
		const test_node *n = &c->nodes[i];

		if (!n->running)
		{
			fprintf(out, "n%d down, promised %s, applied %" PRIu64 "\n", i,
					px_trace_ballot(ballot, sizeof(ballot), n->promised), n->applied);
			continue;
		}
		fprintf(out,
				"n%d %s, promised %s, chosen %" PRIu64 ", applied %" PRIu64 ", digest %08" PRIx32
				"\n",
				i, px_role_name(n->view.role), px_trace_ballot(ballot, sizeof(ballot), n->promised),
				n->acceptor.chosen, n->applied, (uint32_t) (n->digest ^ n->digest >> 32));
	}
}

static bool
command(cluster **c, char *line, FILE *out)
{
	unsigned a = 0;
	unsigned b = 0;
	char text[MAX_TEXT];

	if (sscanf(line, "nodes %u %u", &a, &b) >= 1)
		*c = cluster_new((int) a, (int) b);
	else if (*c == NULL)
		return false;
	else if (strcmp(line, "start all") == 0)
		cluster_start_all(*c);
	else if (sscanf(line, "start %u", &a) == 1)
		cluster_start(*c, (px_node) a);
	else if (sscanf(line, "crash %u", &a) == 1)
		cluster_crash(*c, (px_node) a);
	else if (sscanf(line, "elect %u", &a) == 1)
		fprintf(out, "%s", cluster_elect(*c, (px_node) a) ? "" : "it does not lead\n");
	else if (sscanf(line, "wake %u", &a) == 1)
		cluster_wake(*c, (px_node) a);
	else if (sscanf(line, "deliver %u %u", &a, &b) == 2)
		fprintf(out, "%s", cluster_deliver_one(*c, (px_node) a, (px_node) b) ? "" : "nothing\n");
	else if (sscanf(line, "timeout %u", &a) == 1)
	{
		for (int i = 0; i < 1000 && (*c)->nodes[a].view.role == PX_FOLLOWER; i++)
			cluster_wake(*c, (px_node) a);
	}
	else if (strcmp(line, "deliver") == 0)
		cluster_deliver(*c);
	else if (sscanf(line, "run %u", &a) == 1)
		cluster_run(*c, (px_usec) a * 1000);
	else if (sscanf(line, "cut %u %u", &a, &b) == 2)
		cluster_cut(*c, (px_node) a, (px_node) b);
	else if (sscanf(line, "heal %u %u", &a, &b) == 2)
		cluster_heal(*c, (px_node) a, (px_node) b);
	else if (sscanf(line, "write %u %63s", &a, text) == 2)
		fprintf(out, "%s", cluster_write(*c, (px_node) a, text) ? "" : "no room\n");
	else if (sscanf(line, "read %u", &a) == 1)
		cluster_read(*c, (px_node) a);
	else if (sscanf(line, "transfer %u %u", &a, &b) == 2)
		cluster_transfer(*c, (px_node) a, (px_node) b);
	else if (strcmp(line, "state") == 0)
		state(*c, out);
	else
		return false;
	return true;
}

static char *
slurp(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	if (f == NULL || text == NULL)
		die(path);
	if (fread(text, 1, (1 << 20) - 1, f) == 0)
		die("an empty transcript");
	fclose(f);
	return text;
}

/* Runs the commands of 'script'; what the file should contain, allocated. */
static char *
replay(const char *script, const char *path)
{
	char *result = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&result, &bytes);
	char *copy = calloc(1, strlen(script) + 1);
	cluster *c = NULL;
	bool quiet = false;

	if (out == NULL || copy == NULL)
		die("out of memory");
	memcpy(copy, script, strlen(script));
	for (char *line = copy; line != NULL && *line != '\0';)
	{
		char *end = strchr(line, '\n');

		if (end != NULL)
			*end++ = '\0';
		if (line[0] == '#' || line[0] == '\0')
			fprintf(out, "%s\n", line);
		else if (line[0] == '>')
		{
			fprintf(out, "%s\n", line);
			if (strcmp(line, "> quiet") == 0)
				quiet = true;
			else
			{
				if (c != NULL)
					c->trace = quiet ? NULL : out;
				quiet = false;
				if (!command(&c, line + 2, out))
				{
					printf("# %s: %s\n", path, line);
					die("not a command of a transcript");
				}
			}
		}
		line = end;
	}
	fclose(out);
	free(copy);
	if (c != NULL)
		cluster_free(c);
	return result;
}

static void
show_difference(const char *expected, const char *got)
{
	int line = 1;

	while (*expected != '\0' && *expected == *got)
	{
		if (*expected == '\n')
			line++;
		expected++;
		got++;
	}
	printf("# first difference in line %d\n# expected: %.*s\n# got:      %.*s\n", line,
		   (int) strcspn(expected, "\n"), expected, (int) strcspn(got, "\n"), got);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void
run_tests(void)
{
	bool update = arguments > 1 && strcmp(argument[1], "--update") == 0;
	DIR *dir = opendir(DIRECTORY);
	struct dirent *e;
	char names[64][64];
	int n = 0;

	if (dir == NULL)
		die("run it where " DIRECTORY "/ is");
	while ((e = readdir(dir)) != NULL && n < 64)
	{
		size_t len = strlen(e->d_name);

		if (len > 4 && len < 64 && strcmp(e->d_name + len - 4, ".txt") == 0)
			memcpy(names[n++], e->d_name, len + 1);
	}
	closedir(dir);
	qsort(names, (size_t) n, sizeof(names[0]), by_name);
	ok(n > 0, "there are transcripts");
	for (int i = 0; i < n; i++)
	{
		char path[128];
		char *expected;
		char *got;

		snprintf(path, sizeof(path), DIRECTORY "/%.63s", names[i]);
		expected = slurp(path);
		got = replay(expected, path);
		if (update)
		{
			FILE *f = fopen(path, "w");

			if (f == NULL)
				die(path);
			fputs(got, f);
			fclose(f);
			printf("# wrote %s\n", path);
		}
		else if (!ok(strcmp(expected, got) == 0, "transcript %s", names[i]))
			show_difference(expected, got);
		free(expected);
		free(got);
	}
}
