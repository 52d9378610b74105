/*
 * hist_file.c
 *	  The history file.
 *
 * Text, one event a line, only ever appended to; a line is whole or (the last
 * one) missing.  Fields are separated by one space.  Times are numbers of one
 * clock.  NUMBER is a word that names an attempt; it is used once.  One history may
 * lie in several files, as long as an attempt is in one.
 *
 *	# remark
 *	i KEY VALUE									what the key holds at first; else nothing
 *	s TIME NUMBER CLIENT KEY VERB [req=REQUEST] [at=WORD]	an attempt starts (at: for the reader)
 *	f TIME NUMBER ok [applied=t|f] [prev=VALUE] [cur=VALUE] [slot=N]
 *	f TIME NUMBER ok undecided					to outcome only
 *	f TIME NUMBER failed [why]					it never takes effect
 *	f TIME NUMBER unknown [why]					it may, from its start on
 *
 * An attempt without an f line is unknown.  CLIENT and TIME are numbers, KEY and
 * REQUEST words without spaces.  VALUE: `-` (nothing there), a number, or a list of
 * numbers `[1,2,3]`.  VERB, with its arguments:
 *
 *	read					cur= is what was read; slot= of the barrier before it
 *	put VALUE
 *	insert VALUE			if nothing is there
 *	cas EXPECTED NEW		each may be `-`
 *	delete [EXPECTED]
 *	add NUMBER [>=NUMBER] [<=NUMBER]	conditions on the value before
 *	append NUMBER			to a list
 *	outcome					of req=: what became of it; ok with the result,
 *							ok undecided, or failed if that is what became of it
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hist_int.h"

#define MAX_FIELDS 16

static bool
parse_number(const char *s, int64_t *n)
{
	char *end;

	*n = strtoll(s, &end, 10);
	return *s != '\0' && *end == '\0';
}

static bool
parse_time(const char *s, uint64_t *n)
{
	char *end;

	*n = strtoull(s, &end, 10);
	return *s >= '0' && *s <= '9' && *end == '\0';
}

static bool
parse_value(const char *s, hist_value *v)
{
	int64_t n;

	if (strcmp(s, "-") == 0)
	{
		*v = hist_absent();
		return true;
	}
	if (*s != '[')
	{
		*v = hist_number(0);
		return parse_number(s, &v->n);
	}
	*v = hist_empty_list();
	s++;
	while (*s != ']')
	{
		char *end;

		n = strtoll(s, &end, 10);
		if (end == s || (*end != ',' && *end != ']'))
			return false;
		*v = hist_append(*v, n);
		s = end + (*end == ',');
	}
	return s[1] == '\0';
}

/* ---- lines ---- */

/* Words of the file, numbered 1, 2, ... as they appear. */
static uint32_t
word_number(hist_words *m, const char *word)
{
	size_t at;
	size_t len = strlen(word) + 1;

	if (m->n * 2 >= m->cap_table)
	{
		m->cap_table = m->cap_table ? m->cap_table * 2 : 256;
		free(m->table);
		m->table = calloc(m->cap_table, sizeof(uint32_t));
		if (m->table == NULL)
			abort();
		for (size_t i = 0; i < m->n; i++)
		{
			at = hist_hash_name(m->words[i]) & (m->cap_table - 1);
			while (m->table[at] != 0)
				at = (at + 1) & (m->cap_table - 1);
			m->table[at] = (uint32_t) i + 1;
		}
	}
	at = hist_hash_name(word) & (m->cap_table - 1);
	while (m->table[at] != 0 && strcmp(m->words[m->table[at] - 1], word) != 0)
		at = (at + 1) & (m->cap_table - 1);
	if (m->table[at] == 0)
	{
		m->words = hist_grow(m->words, &m->cap, m->n + 1, sizeof(char *));
		m->words[m->n] = malloc(len);
		if (m->words[m->n] == NULL)
			abort();
		memcpy(m->words[m->n++], word, len);
		m->table[at] = (uint32_t) m->n;
	}
	return m->table[at];
}

void
hist_forget_words(hist_words *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->words[i]);
	free(m->words);
	free(m->table);
	memset(m, 0, sizeof(*m));
}

/* The attempt of that name; *place is where its number stands. */
static uint32_t
attempt_number(hist *h, const char *word)
{
	uint32_t n = word_number(&h->attempt_words, word);

	h->attempt_numbers =
		hist_grow(h->attempt_numbers, &h->cap_attempt_numbers, n + 1, sizeof(uint32_t));
	while (h->n_attempt_numbers <= n)
		h->attempt_numbers[h->n_attempt_numbers++] = 0;
	return n;
}

static const char *
read_start(hist *h, char **field, int n)
{
	hist_op op;
	uint64_t time;
	uint64_t client;
	uint32_t number;
	const char *verb;
	int at = 6;

	memset(&op, 0, sizeof(op));
	op.at_least = INT64_MIN;
	op.at_most = INT64_MAX;
	if (n < 6 || !parse_time(field[1], &time) || !parse_time(field[3], &client))
		return "malformed start";
	number = attempt_number(h, field[2]);
	if (h->attempt_numbers[number] != 0)
		return "started twice";
	op.client = (uint32_t) client;
	op.key = hist_key(h, field[4]);
	if (strncmp(field[n - 1], "at=", 3) == 0)
		n--;
	if (strncmp(field[n - 1], "req=", 4) == 0)
		op.request = word_number(&h->request_words, field[--n] + 4);
	verb = field[5];
	if (strcmp(verb, "read") == 0)
		op.kind = HIST_READ;
	else if (strcmp(verb, "outcome") == 0 && op.request != 0)
		op.kind = HIST_OUTCOME;
	else if (strcmp(verb, "put") == 0 && n == 7 && parse_value(field[at++], &op.value))
		op.kind = HIST_PUT;
	else if (strcmp(verb, "insert") == 0 && n == 7 && parse_value(field[at++], &op.value))
		op.kind = HIST_INSERT;
	else if (strcmp(verb, "cas") == 0 && n == 8 && parse_value(field[at], &op.expected) &&
			 parse_value(field[at + 1], &op.value))
	{
		op.kind = HIST_CAS;
		at += 2;
	}
	else if (strcmp(verb, "delete") == 0)
	{
		op.kind = HIST_DELETE;
		op.any = n == 6;
		if (!op.any && !parse_value(field[at++], &op.expected))
			return "malformed value";
	}
	else if (strcmp(verb, "append") == 0 && n == 7 && parse_number(field[at++], &op.delta))
		op.kind = HIST_APPEND;
	else if (strcmp(verb, "add") == 0 && n >= 7 && parse_number(field[at++], &op.delta))
	{
		op.kind = HIST_ADD;
		for (; at < n; at++)
			if (!(strncmp(field[at], ">=", 2) == 0 && parse_number(field[at] + 2, &op.at_least)) &&
				!(strncmp(field[at], "<=", 2) == 0 && parse_number(field[at] + 2, &op.at_most)))
				return "malformed condition";
	}
	else
		return "unknown verb, or its arguments are malformed";
	if (at != n)
		return "too many fields";
	h->attempt_numbers[number] = hist_begin(h, &op, time);
	return NULL;
}

static const char *
read_finish(hist *h, char **field, int n)
{
	hist_result r;
	uint64_t time;
	uint32_t number;

	memset(&r, 0, sizeof(r));
	if (n < 4 || !parse_time(field[1], &time))
		return "malformed finish";
	number = h->attempt_numbers[attempt_number(h, field[2])];
	if (number == 0)
		return "finish of what has not started";
	if (h->attempts[number - 1].end != HIST_NEVER)
		return "finished twice";
	if (time < h->attempts[number - 1].begin)
		return "finished before it started";
	if (strcmp(field[3], "failed") == 0)
		r.told = HIST_FAILED;
	else if (strcmp(field[3], "unknown") == 0)
		r.told = HIST_UNKNOWN;
	else if (strcmp(field[3], "ok") != 0)
		return "outcome is not ok, failed or unknown";
	else
	{
		r.told = HIST_OK;
		for (int i = 4; i < n; i++)
		{
			if (strcmp(field[i], "applied=t") == 0 || strcmp(field[i], "applied=f") == 0)
			{
				r.known |= HIST_APPLIED;
				r.applied = field[i][8] == 't';
			}
			else if (strncmp(field[i], "prev=", 5) == 0 && parse_value(field[i] + 5, &r.previous))
				r.known |= HIST_PREVIOUS;
			else if (strncmp(field[i], "cur=", 4) == 0 && parse_value(field[i] + 4, &r.current))
				r.known |= HIST_CURRENT;
			else if (strcmp(field[i], "undecided") == 0)
				r.known |= HIST_UNDECIDED;
			else if (strncmp(field[i], "slot=", 5) != 0 || !parse_time(field[i] + 5, &r.slot))
				return "malformed result";
		}
	}
	hist_end(h, number, time, &r);
	return NULL;
}

static const char *
read_line(hist *h, char *line)
{
	char *field[MAX_FIELDS];
	int n = 0;
	hist_value v;

	for (char *p = strtok(line, " "); p != NULL; p = strtok(NULL, " "))
	{
		if (n == MAX_FIELDS)
			return "too many fields";
		field[n++] = p;
	}
	if (n == 0 || field[0][0] == '#')
		return NULL;
	if (strcmp(field[0], "s") == 0)
		return read_start(h, field, n);
	if (strcmp(field[0], "f") == 0)
		return read_finish(h, field, n);
	if (strcmp(field[0], "i") == 0 && n == 3 && parse_value(field[2], &v))
	{
		hist_initial(h, hist_key(h, field[1]), v);
		return NULL;
	}
	return "unknown kind of line";
}

const char *
hist_read_stream(hist *h, FILE *f, const char *name)
{
	char *line = NULL;
	size_t cap = 0;
	size_t len = 0;
	unsigned long number = 0;
	const char *wrong = NULL;
	int c;

	h->text_len = 0;
	while (wrong == NULL && (c = getc(f)) != EOF)
	{
		line = hist_grow(line, &cap, len + 2, 1);
		if (c != '\n')
		{
			line[len++] = (char) c;
			continue;
		}
		/* A last line without its end was cut off by a crash: not counted. */
		line[len] = '\0';
		len = 0;
		number++;
		wrong = read_line(h, line);
	}
	free(line);
	if (wrong == NULL)
		return NULL;
	hist_say(h, "%s, line %lu: %s", name, number, wrong);
	return h->text;
}

const char *
hist_read(hist *h, const char *path)
{
	FILE *f = fopen(path, "r");
	const char *wrong;

	if (f == NULL)
	{
		h->text_len = 0;
		hist_say(h, "cannot open %s", path);
		return h->text;
	}
	wrong = hist_read_stream(h, f, path);
	fclose(f);
	return wrong;
}
