/*
 * paxos_sequence.c
 *	  Sequences of serial and identity columns: what can be changed about one - where it goes
 *	  on, and how many values a session takes at once - and how a column gets one after it
 *	  was made.
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

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "paxos_alter_int.h"
#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_version.h"

/* ------------------------------------------------------------------
 * Options
 * ------------------------------------------------------------------
 */

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

/* The clause of ALTER TABLE that travels. */
static char *
write_change(Oid table, AttrNumber attnum, Oid sequence, const List *options)
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

static bool
column_is_identity(Oid table, AttrNumber attnum)
{
	HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(attnum));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(tuple))->attidentity != '\0';
	ReleaseSysCache(tuple);
	return result;
}

/* ALTER SEQUENCE of a column's sequence, and what ALTER TABLE says of it. */
static bool
alter_sequence(PaxosAlter *s, AttrNumber attnum, Oid sequence, const List *options, CommandTag tag)
{
	paxos_ddl_check_owner(s->table);
	appendStringInfo(&s->sql, "ALTER TABLE %s %s", paxos_alter_qualified(s),
					 write_change(s->table, attnum, sequence, options));
	return paxos_alter_send(s, tag);
}

static bool
alter_own_sequence(PaxosUtility *u, AlterSeqStmt *stmt, Oid table, Oid sequence)
{
	PaxosAlter s;
	Oid owner;
	int32 column;

	if (!paxos_alter_begin(&s, u, table, sequence, "ALTER SEQUENCE of a consensus-backed table"))
		return false;
	if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &owner, &column) &&
		!sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &owner, &column))
		return false;
	return alter_sequence(&s, (AttrNumber) column, sequence, stmt->options, CMDTAG_ALTER_SEQUENCE);
}

bool
paxos_sequence_alter_identity(PaxosAlter *s, const AlterTableCmd *cmd)
{
	AttrNumber attnum = get_attnum(s->table, cmd->name);
	Oid sequence = paxos_ddl_sequence_of(s->table, attnum);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", cmd->name, s->name)));
	if (!OidIsValid(sequence) || !column_is_identity(s->table, attnum))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of relation \"%s\" is not an identity column",
							   cmd->name, s->name)));
	return alter_sequence(s, attnum, sequence, castNode(List, cmd->def), CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * A column becomes serial, in the three statements that pg_dump makes of it
 * ------------------------------------------------------------------
 *
 * CREATE SEQUENCE is this node's alone.  ALTER SEQUENCE ... OWNED BY makes the column what
 * "serial" is: at the slot every node gives it a sequence of its own, and the default.
 * (Both at once, because what a newcomer is told of such a column is "serial".)  So the
 * SET DEFAULT that follows finds nothing to change.
 */

/* The sequence in nextval('...') or nextval('...'::regclass), as it was parsed. */
Oid
paxos_ddl_sequence_drawn_from(Node *raw)
{
	FuncCall *f = (FuncCall *) raw;
	Node *arg;

	if (raw == NULL || !IsA(raw, FuncCall) || list_length(f->args) != 1 ||
		strcmp(strVal(llast(f->funcname)), "nextval") != 0)
		return InvalidOid;
	arg = linitial(f->args);
	if (IsA(arg, TypeCast))
		arg = ((TypeCast *) arg)->arg;
	if (!IsA(arg, A_Const) || ((A_Const *) arg)->isnull || !IsA(&((A_Const *) arg)->val, String))
		return InvalidOid;
	return RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(
								cstring_to_text(strVal(&((A_Const *) arg)->val)))),
							NoLock, true);
}

static bool
owned_by_column(Oid sequence, Oid table, const char *column)
{
	Oid owner;
	int32 attnum;

	return OidIsValid(sequence) && get_rel_relkind(sequence) == RELKIND_SEQUENCE &&
		   sequenceIsOwned(sequence, DEPENDENCY_AUTO, &owner, &attnum) && owner == table &&
		   attnum == get_attnum(table, column);
}

/* A partition has the default of its parent. */
static bool
owned_above(Oid sequence, Oid table, const char *column)
{
	ListCell *lc;

	if (!OidIsValid(sequence) || !get_rel_relispartition(table))
		return false;
	foreach (lc, get_partition_ancestors(table))
	{
		if (owned_by_column(sequence, lfirst_oid(lc), column))
			return true;
	}
	return false;
}

static void
check_may_own(const PaxosAlter *s, Oid sequence, const char *column)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(sequence));
	AttrNumber attnum = get_attnum(s->table, column);
	Form_pg_class c;
	Relation rel;
	Form_pg_attribute att;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", sequence);
	c = (Form_pg_class) GETSTRUCT(tuple);
	if (c->relkind != RELKIND_SEQUENCE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a sequence", NameStr(c->relname))));
	if (!PaxosOwnsRelation(sequence, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_SEQUENCE, NameStr(c->relname));
	if (c->relowner != s->owner)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("sequence must have same owner as table it is linked to")));
	if (c->relnamespace != s->nsp)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("sequence must be in same schema as table it is linked to")));
	if (!paxos_ddl_may_take_sequence(sequence, s->owner))
		paxos_refuse(
			s->table, "owning such a sequence",
			"It must be logged, owned and used by nothing else, and have no INCREMENT, CYCLE or "
			"small MAXVALUE.");
	ReleaseSysCache(tuple);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist", column, s->name)));
	rel = table_open(s->table, AccessShareLock);
	att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (!att->attnotnull || att->atthasdef || att->attidentity != '\0' ||
		(att->atttypid != INT2OID && att->atttypid != INT4OID && att->atttypid != INT8OID) ||
		OidIsValid(paxos_ddl_sequence_of(s->table, attnum)))
		paxos_refuse(
			s->table, "a sequence of a column that cannot become serial",
			"The column must be of an integer type and NOT NULL, and have no default and no "
			"sequence yet.");
	table_close(
		rel,
		AccessShareLock); /* else we were in the learner's way: paxos_alter_begin() has its own */
}

/* At the slot it is known by this form that the column's own sequence is meant. */
static bool
make_serial(PaxosAlter *s, const char *column, Oid sequence, CommandTag tag)
{
	char *name = quote_qualified_identifier(s->schema, paxos_relation_name(sequence));

	appendStringInfo(&s->sql,
					 "ALTER TABLE %s ALTER COLUMN %s SET DEFAULT nextval(%s::pg_catalog.regclass)",
					 paxos_alter_qualified(s), quote_identifier(column), quote_literal_cstr(name));
	s->op.flags |= PAXOS_DDL_AS_OWNER;
	return paxos_alter_send(s, tag);
}

static bool
own_sequence(PaxosUtility *u, AlterSeqStmt *stmt, Oid table, Oid sequence, const char *column)
{
	PaxosAlter s;

	if (!paxos_alter_begin(&s, u, table, table, "ALTER SEQUENCE OWNED BY a consensus-backed table"))
		return false;
	paxos_ddl_check_owner(table);
	if (list_length(stmt->options) != 1)
		paxos_refuse(table, "OWNED BY together with other options", "Use a statement of its own.");
	check_may_own(&s, sequence, column);
	return make_serial(&s, column, sequence, CMDTAG_ALTER_SEQUENCE);
}

/* The consensus table in OWNED BY, and the column's name. */
static Oid
owner_named(AlterSeqStmt *stmt, char **column)
{
	ListCell *lc;

	foreach (lc, stmt->options)
	{
		DefElem *e = lfirst_node(DefElem, lc);
		List *names = (List *) e->arg;
		Oid table;

		if (strcmp(e->defname, "owned_by") != 0 || list_length(names) < 2)
			continue;
		*column = strVal(llast(names));
		table = RangeVarGetRelid(
			makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1)),
			NoLock, true);
		if (OidIsValid(table) && paxos_is_consensus_table(table))
			return table;
	}
	return InvalidOid;
}

Oid
paxos_sequence_made_default(Oid table, const AlterTableCmd *cmd)
{
	Oid sequence = paxos_ddl_sequence_drawn_from(cmd->def);

	return owned_by_column(sequence, table, cmd->name) || owned_above(sequence, table, cmd->name)
			   ? sequence
			   : InvalidOid;
}

bool
paxos_sequence_set_default(PaxosAlter *s, const char *column, Oid sequence)
{
	Relation rel = table_open(s->table, AccessShareLock);
	Form_pg_attribute att =
		TupleDescAttr(RelationGetDescr(rel), paxos_alter_column(rel, column) - 1);

	/* Else it could not be written down for a newcomer (paxos_ddl_serial()). */
	if (!att->attnotnull ||
		(att->atttypid != INT2OID && att->atttypid != INT4OID && att->atttypid != INT8OID))
		paxos_refuse(s->table, "a default from a sequence for what is no not-null integer", NULL);
	table_close(rel, AccessShareLock);
	paxos_ddl_check_owner(s->table);
	return make_serial(s, column, sequence, CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * ALTER SEQUENCE
 * ------------------------------------------------------------------
 */

bool
paxos_sequence_statement(PaxosUtility *u)
{
	AlterSeqStmt *stmt = castNode(AlterSeqStmt, u->pstmt->utilityStmt);

	for (;;)
	{
		char *column = NULL;
		Oid table = owner_named(stmt, &column);
		Oid sequence = RangeVarGetRelid(stmt->sequence, NoLock, true);
		Oid owner = OidIsValid(sequence) ? paxos_consensus_owner(sequence) : InvalidOid;

		if (OidIsValid(owner) && get_rel_relkind(sequence) == RELKIND_SEQUENCE)
		{
			paxos_version_require(PAXOS_VERSION_DEFINITIONS,
								  "changes of a consensus-backed table's sequences");
			if (alter_own_sequence(u, stmt, owner, sequence))
				return true;
		}
		else
		{
			if (!OidIsValid(table) || !OidIsValid(sequence))
				return false;
			paxos_version_require(PAXOS_VERSION_DEFINITIONS,
								  "sequences owned by consensus-backed tables");
			if (own_sequence(u, stmt, table, sequence, column))
				return true;
		}

		/* Somebody was quicker: what there is to say is said of what there is now. */
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}

/* ------------------------------------------------------------------
 * At the slot
 * ------------------------------------------------------------------
 */

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
	stmt->sequence = paxos_range_var(sequence);
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
