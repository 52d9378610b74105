/*
 * paxos_sequence.c
 *	  What can be changed about the sequence of a serial or identity column: where it goes on,
 *	  and how many values a session takes at once.
 *
 * Each node has a sequence of its own for such a column, which counts in steps of
 * PAXOS_SEQUENCE_STEP from the node's id (paxos_ddl_apply.c).  So a value that is given for
 * all of them means, on each, the first of its own that is not below; and what would
 * change the step, or end or turn around a sequence where another node's goes on, is
 * refused.  The statement travels as one about the column, for each node has named its
 * sequence by itself; also where the column is serial, which PostgreSQL would refuse.
 *
 * No state.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_sequence.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"

static const char *
option_text(const DefElem *e)
{
	if (strcmp(e->defname, "restart") == 0)
		return "RESTART";
	if (strcmp(e->defname, "start") == 0)
		return "SET START";
	if (strcmp(e->defname, "cache") == 0)
		return "SET CACHE";
	return NULL;
}

bool
paxos_sequence_has_options(const List *options)
{
	ListCell *lc;

	foreach (lc, options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, "generated") != 0)
			return true;
	}
	return false;
}

char *
paxos_sequence_write(Oid table, AttrNumber attnum, Oid sequence, const List *options)
{
	HeapTuple tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
	const char *given[3] = {NULL};
	StringInfoData out;
	ListCell *lc;
	int64 min;
	int64 max;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	min = ((Form_pg_sequence) GETSTRUCT(tuple))->seqmin;
	max = ((Form_pg_sequence) GETSTRUCT(tuple))->seqmax;
	ReleaseSysCache(tuple);
	initStringInfo(&out);
	appendStringInfo(&out, "ALTER COLUMN %s", quote_identifier(get_attname(table, attnum, false)));
	foreach (lc, options)
	{
		DefElem *e = lfirst_node(DefElem, lc);
		const char *text = option_text(e);

		if (text == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("this change of a sequence is not supported on consensus-backed table "
							"\"%s\"",
							get_rel_name(table)),
					 errdetail("Each node's sequence counts in steps of %d, so that no two nodes "
							   "draw the same value; RESTART, START and CACHE can be changed.",
							   PAXOS_SEQUENCE_STEP)));
		for (int i = 0; i < lengthof(given); i++)
		{
			if (given[i] != NULL && strcmp(given[i], text) == 0)
				ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
								errmsg("conflicting or redundant options")));
			if (given[i] == NULL)
			{
				given[i] = text;
				break;
			}
		}
		appendStringInfo(&out, " %s", text);
		if (e->arg != NULL)
		{
			int64 value = defGetInt64(e);

			/* as PostgreSQL says; and every node must have a value left */
			if (strcmp(e->defname, "cache") != 0 &&
				(value < min || value > max - PAXOS_SEQUENCE_STEP))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("%s value (" INT64_FORMAT ") is not between MINVALUE (" INT64_FORMAT
								") and MAXVALUE (" INT64_FORMAT ") less %d",
								strcmp(e->defname, "start") == 0 ? "START" : "RESTART", value, min,
								max, PAXOS_SEQUENCE_STEP)));
			if (strcmp(e->defname, "cache") == 0 && value <= 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("CACHE (" INT64_FORMAT ") must be greater than zero", value)));
			appendStringInfo(&out, "%s " INT64_FORMAT,
							 strcmp(e->defname, "cache") == 0 ? "" : " WITH", value);
		}
	}
	return out.data;
}

/* This node's first value that is not below. */
static DefElem *
spread_value(const char *name, int64 value)
{
	int node = paxos_shared->node_id;

	value += ((node - value) % PAXOS_SEQUENCE_STEP + PAXOS_SEQUENCE_STEP) % PAXOS_SEQUENCE_STEP;
	return makeDefElem(pstrdup(name), (Node *) makeFloat(psprintf(INT64_FORMAT, value)), -1);
}

bool
paxos_sequence_apply(Node *node, Oid table)
{
	AlterSeqStmt *stmt = makeNode(AlterSeqStmt);
	AlterTableCmd *cmd;
	Oid sequence;
	Oid owner;
	int32 column;
	ListCell *lc;

	if (!IsA(node, AlterTableStmt) || list_length(((AlterTableStmt *) node)->cmds) != 1)
		return false;
	cmd = linitial_node(AlterTableCmd, ((AlterTableStmt *) node)->cmds);
	if (cmd->subtype != AT_SetIdentity || !paxos_sequence_has_options((List *) cmd->def))
		return false;
	sequence = paxos_ddl_sequence_of(table, get_attnum(table, cmd->name));
	if (!OidIsValid(sequence))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of table \"%s\" has no sequence on this node",
							   cmd->name, get_rel_name(table))));
	stmt->sequence =
		makeRangeVar(get_namespace_name(get_rel_namespace(sequence)), get_rel_name(sequence), -1);
	stmt->for_identity = sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &owner, &column);
	foreach (lc, (List *) cmd->def)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		stmt->options = lappend(stmt->options, e->arg != NULL && strcmp(e->defname, "cache") != 0
												   ? spread_value(e->defname, defGetInt64(e))
												   : e);
	}
	AlterSequence(make_parsestate(NULL), stmt);
	CommandCounterIncrement();
	return true;
}
