/*
 * paxos_definitions.c
 *	  Comparing definitions on all nodes: paxos_verify_definitions().
 *
 * Statements about definitions go through the log, and their results into the running digest;
 * but what they have made is in no digest.  A superuser who changes a catalog on one node, or a
 * library that writes down the same otherwise, is found here: every member says how each table and
 * object that went through the log is made there (paxos.node_definitions()), and the texts are
 * compared.  The contents of tables are paxos_verify.c's business.
 *
 * Nothing goes through the log, and no learner waits.  So members are not asked at one slot, but
 * at some slot from the caller's read index on, and one that is quicker differs from the others
 * for a moment.  What differs is therefore looked at again, behind a later read index, until two
 * looks say the same of every node: who was behind in the first has gone on by the second.
 *
 * Between major versions of PostgreSQL a view or an expression may be written down in other
 * words; said in the manual.
 *
 * No state.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_conn.h"
#include "paxos_node.h"
#include "paxos_queue.h"
#include "paxos_verify.h"

PG_FUNCTION_INFO_V1(paxos_sql_definitions);
PG_FUNCTION_INFO_V1(paxos_verify_definitions);

/* Where definitions change all the time what differs is never the same twice. */
#define MOST_LOOKS 10

typedef struct Definition
{
	bool is_table;
	int64 id;
	int member; /* which of them says so */
	char *object;
	char *text; /* NULL: it has gone there */
} Definition;

typedef struct Look
{
	int n;
	Definition *definitions; /* of all members, in order */
	int n_members;
	char **notes; /* why one has not reported */
} Look;

/* paxos.definitions(cluster, version, sender, slot) */
Datum
paxos_sql_definitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	px_slot slot;
	px_slot applied;

	(void) paxos_peer_check(fcinfo, NULL);
	slot = paxos_arg_u64(fcinfo, 3, "slot");
	InitMaterializedSRF(fcinfo, 0);

	/* Watermark first, snapshot second. */
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	applied = paxos_shared->applied;
	LWLockRelease(paxos_learner_lock);
	if (applied < slot)
		return (Datum) 0;
	SPI_connect();
	if (SPI_execute("SELECT * FROM paxos.node_definitions()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the definitions of this node");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum values[4];
		bool nulls[4];

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}

static int
by_object(const void *a, const void *b)
{
	const Definition *x = a;
	const Definition *y = b;

	if (x->is_table != y->is_table)
		return x->is_table ? -1 : 1;
	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->member - y->member;
}

static char *
text_of(PGresult *res, int row, int column)
{
	return PQgetisnull(res, row, column) ? NULL : pstrdup(PQgetvalue(res, row, column));
}

/* Ask every member as of a slot. */
static Look
look(List *members, px_slot slot, px_usec deadline)
{
	Look l = {0};
	ListCell *lc;

	l.notes = palloc0_array(char *, list_length(members));
	l.definitions = palloc_array(Definition, 1);
	foreach (lc, members)
	{
		int at = l.n_members++;
		PGresult *res =
			paxos_verify_ask(lfirst(lc), slot, "paxos.definitions", NULL, deadline, &l.notes[at]);

		if (res == NULL)
			continue;
		l.definitions =
			repalloc_huge(l.definitions, sizeof(Definition) * Max(l.n + PQntuples(res), 1));
		for (int i = 0; i < PQntuples(res); i++)
			l.definitions[l.n++] = (Definition){PQgetvalue(res, i, 0)[0] == 't',
												strtoll(PQgetvalue(res, i, 1), NULL, 10), at,
												text_of(res, i, 2), text_of(res, i, 3)};
		PQclear(res);
	}
	qsort(l.definitions, l.n, sizeof(Definition), by_object);
	return l;
}

/* What member 'at' says of the object whose entries are these; NULL: it has none. */
static const char *
said_by(const Definition *first, int n, int at)
{
	for (int i = 0; i < n; i++)
	{
		if (first[i].member == at)
			return first[i].text;
	}
	return NULL;
}

static bool
same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* The entries of the object that begins here: how many, and whether all that reported agree. */
static int
group(const Look *l, int from, bool *agree)
{
	const Definition *first = &l->definitions[from];
	const char *text = NULL;
	bool any = false;
	int n = 1;

	while (from + n < l->n && first[n].is_table == first->is_table && first[n].id == first->id)
		n++;
	*agree = true;
	for (int at = 0; at < l->n_members; at++)
	{
		if (l->notes[at] != NULL)
			continue;
		*agree = *agree && (!any || same(text, said_by(first, n, at)));
		text = said_by(first, n, at);
		any = true;
	}
	return n;
}

/* All that differs, in one text: to be compared with the next look. */
static char *
picture(const Look *l)
{
	StringInfoData out;
	bool agree;
	int n;

	initStringInfo(&out);
	for (int i = 0; i < l->n; i += n)
	{
		n = group(l, i, &agree);
		for (int j = i; !agree && j < i + n; j++)
			appendStringInfo(&out, "%d " INT64_FORMAT " %d %s\n", l->definitions[j].is_table,
							 l->definitions[j].id, l->definitions[j].member,
							 l->definitions[j].text != NULL ? l->definitions[j].text : "");
	}
	return out.data;
}

static void
put(ReturnSetInfo *rsinfo, const PaxosMember *m, const char *object, const char *text, int agrees,
	const char *note)
{
	Datum values[6] = {0};
	bool nulls[6] = {false, false, object == NULL, text == NULL, agrees < 0, note == NULL};

	values[0] = Int32GetDatum(m->node);
	values[1] = CStringGetTextDatum(m->name);
	if (object != NULL)
		values[2] = CStringGetTextDatum(object);
	if (text != NULL)
		values[3] = CStringGetTextDatum(text);
	values[4] = BoolGetDatum(agrees > 0);
	if (note != NULL)
		values[5] = CStringGetTextDatum(note);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* A row for each member, of an object that is not the same on all. */
static void
put_object(ReturnSetInfo *rsinfo, List *members, const Look *l, const Definition *first, int n)
{
	const char *object = NULL;
	int reported = 0;

	for (int i = 0; i < n && object == NULL; i++)
		object = first[i].object;
	for (int at = 0; at < l->n_members; at++)
		reported += l->notes[at] == NULL;
	for (int at = 0; at < l->n_members; at++)
	{
		const char *text = said_by(first, n, at);
		int alike = 0;

		if (l->notes[at] != NULL)
			continue;
		for (int other = 0; other < l->n_members; other++)
			alike += l->notes[other] == NULL && same(text, said_by(first, n, other));
		put(rsinfo, list_nth(members, at), object, text, 2 * alike > reported, NULL);
	}
}

/*
 * paxos_verify_definitions(): a row for each member and object that is not the same on all
 * members that reported, and one for each that did not.  "agrees" as in paxos_verify().
 */
Datum
paxos_verify_definitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List *members;
	Look l = {0};
	char *before = NULL;
	px_usec deadline;
	bool agree;
	int n;

	paxos_verify_begin("paxos_verify_definitions()");
	InitMaterializedSRF(fcinfo, 0);
	deadline = paxos_verify_deadline();
	members = paxos_node_members();
	for (int i = 0; i < MOST_LOOKS; i++)
	{
		char *now;
		bool settled;

		CHECK_FOR_INTERRUPTS();
		l = look(members, paxos_wait_read_index(), deadline);
		now = picture(&l);
		settled = *now == '\0' || (before != NULL && strcmp(now, before) == 0);
		before = now;
		if (settled)
			break;
	}
	for (int at = 0; at < l.n_members; at++)
	{
		if (l.notes[at] != NULL)
			put(rsinfo, list_nth(members, at), NULL, NULL, -1, l.notes[at]);
	}
	for (int i = 0; i < l.n; i += n)
	{
		n = group(&l, i, &agree);
		if (!agree)
			put_object(rsinfo, members, &l, &l.definitions[i], n);
	}
	return (Datum) 0;
}
