/*
 * hist_report.c
 *	  Saying in words what was done and told, for a violation's report.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "hist_int.h"

void
hist_say(hist *h, const char *format, ...)
{
	for (;;)
	{
		va_list args;
		int n;
		size_t room = h->cap_text - h->text_len;

		va_start(args, format);
		n = vsnprintf(h->text == NULL ? NULL : h->text + h->text_len, room, format, args);
		va_end(args);
		if (n < 0)
			return;
		if ((size_t) n < room)
		{
			h->text_len += (size_t) n;
			return;
		}
		h->text = hist_grow(h->text, &h->cap_text, h->text_len + (size_t) n + 1, 1);
	}
}

void
hist_say_value(hist *h, hist_value v)
{
	switch (v.kind)
	{
		case HIST_ABSENT:
			hist_say(h, "nothing");
			break;
		case HIST_NUMBER:
			hist_say(h, "%" PRId64, v.n);
			break;
		case HIST_LIST:
			hist_say(h, "list of %" PRId64 " (%08" PRIx64 ")", v.n, v.hash >> 32);
			break;
	}
}

static void
say_op(hist *h, const hist_op *op)
{
	switch (op->kind)
	{
		case HIST_READ:
			hist_say(h, "read");
			break;
		case HIST_PUT:
			hist_say(h, "put ");
			hist_say_value(h, op->value);
			break;
		case HIST_INSERT:
			hist_say(h, "insert ");
			hist_say_value(h, op->value);
			break;
		case HIST_CAS:
			hist_say(h, "cas ");
			hist_say_value(h, op->expected);
			hist_say(h, " -> ");
			hist_say_value(h, op->value);
			break;
		case HIST_DELETE:
			hist_say(h, "delete");
			if (!op->any)
			{
				hist_say(h, " if ");
				hist_say_value(h, op->expected);
			}
			break;
		case HIST_ADD:
			hist_say(h, "add %" PRId64, op->delta);
			if (op->at_least != INT64_MIN)
				hist_say(h, " if >= %" PRId64, op->at_least);
			if (op->at_most != INT64_MAX)
				hist_say(h, " if <= %" PRId64, op->at_most);
			break;
		case HIST_APPEND:
			hist_say(h, "append %" PRId64, op->delta);
			break;
		case HIST_OUTCOME:
			hist_say(h, "outcome");
			break;
	}
	if (op->request != 0)
		hist_say(h, " (request %" PRIu64 ")", op->request);
}

static void
say_told(hist *h, unsigned known, bool applied, hist_value previous, hist_value current,
		 uint64_t slot)
{
	const char *comma = "";

	if (known & HIST_UNDECIDED)
	{
		hist_say(h, "not decided yet");
		comma = ", ";
	}
	if (known & HIST_APPLIED)
	{
		hist_say(h, "%s%s", comma, applied ? "applied" : "not applied");
		comma = ", ";
	}
	if (known & HIST_PREVIOUS)
	{
		hist_say(h, "%sbefore ", comma);
		hist_say_value(h, previous);
		comma = ", ";
	}
	if (known & HIST_CURRENT)
	{
		hist_say(h, "%s%s ", comma, known & HIST_APPLIED ? "after" : "value");
		hist_say_value(h, current);
		comma = ", ";
	}
	if (slot != 0)
	{
		hist_say(h, "%sslot %" PRIu64, comma, slot);
		comma = ", ";
	}
	if (*comma == '\0')
		hist_say(h, "done");
}

static void
say_interval(hist *h, uint64_t begin, uint64_t end)
{
	hist_say(h, "%" PRIu64 " .. ", begin);
	if (end == HIST_NEVER)
		hist_say(h, "       ");
	else
		hist_say(h, "%" PRIu64, end);
}

void
hist_say_attempt(hist *h, uint32_t number)
{
	const hist_attempt *a = &h->attempts[number - 1];

	uint32_t word = 1;

	/* what the file calls it */
	while (word < h->n_attempt_numbers && h->attempt_numbers[word] != number)
		word++;
	if (word < h->n_attempt_numbers)
		hist_say(h, "  %8s", h->attempt_words.words[word - 1]);
	else
		hist_say(h, "  %8" PRIu32, number);
	hist_say(h, "  client %-4" PRIu32 " ", a->op.client);
	say_interval(h, a->begin, a->end);
	hist_say(h, "  ");
	say_op(h, &a->op);
	hist_say(h, ": ");
	if (a->result.told == HIST_OK)
		say_told(h, a->result.known, a->result.applied, a->result.previous, a->result.current,
				 a->result.slot);
	else
		hist_say(h, a->result.told == HIST_FAILED ? "failed for sure" : "unknown");
	hist_say(h, "\n");
}

void
hist_say_unit(hist *h, const hist_unit *u)
{
	if (u->op->request == 0)
	{
		hist_say_attempt(h, u->number);
		return;
	}
	/* All attempts with its request number: together they are the operation. */
	for (uint32_t i = 1; i <= h->n_attempts; i++)
		if (h->attempts[i - 1].op.request == u->op->request)
			hist_say_attempt(h, i);
}
