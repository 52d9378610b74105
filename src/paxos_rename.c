/*
 * paxos_rename.c
 *	  RENAME of consensus tables, their indexes and parts, SET SCHEMA and COMMENT, where they
 *	  are issued.
 *
 * None of these changes what rows are.  A column or constraint is renamed on a copy first,
 * which says all that PostgreSQL says; of the rest little can go wrong, and it is checked
 * here: an error at the slot would be every learner's, for ever.  Names must be free on all
 * nodes, also of what is local to one; the other members are asked (paxos_ddl_check.c).
 *
 * No state.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/policy.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "paxos_alter_int.h"
#include "paxos_apply.h"
#include "paxos_compat.h"

static bool
is_index(Oid relid)
{
	char kind = get_rel_relkind(relid);

	return kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX;
}

static void
check_name_free(const char *name, Oid nsp)
{
	if (OidIsValid(get_relname_relid(name, nsp)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE), errmsg("relation \"%s\" already exists", name)));
}

/* Columns and constraints: tried on a copy, which says all that PostgreSQL says. */
static void
try_rename(PaxosAlter *s, RenameStmt *stmt)
{
	PaxosUtility trial_u = *s->u;
	PaxosTrial trial;
	char *schema = paxos_copy_schema(s->nsp);
	RangeVar *on = makeRangeVar(schema, s->name, -1);

	trial_u.pstmt = copyObject(s->u->pstmt);
	trial_u.read_only_tree = false;
	on->inh = stmt->relation->inh;
	((RenameStmt *) trial_u.pstmt->utilityStmt)->relation = on;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		(void) paxos_alter_make_copy(s);
		paxos_trial_show(schema);
		paxos_utility_next(&trial_u);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

bool
paxos_rename_part(PaxosUtility *u, RenameStmt *stmt, Oid table, Oid relid)
{
	PaxosAlter s;
	bool index = is_index(relid);
	char *to = (char *) quote_identifier(stmt->newname);
	CommandTag tag = CMDTAG_ALTER_TABLE;

	if (!paxos_alter_begin(&s, u, table, relid, "RENAME on a consensus-backed table"))
		return false;
	switch (stmt->renameType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
			if (!PaxosOwnsRelation(relid, GetUserId()))
				aclcheck_error(ACLCHECK_NOT_OWNER, index ? OBJECT_INDEX : OBJECT_TABLE,
							   get_rel_name(relid));
			if (!index && stmt->renameType == OBJECT_INDEX)
				ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
								errmsg("\"%s\" is not an index", get_rel_name(relid))));
			if (PaxosSchemaAclCheck(s.nsp, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
				aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, s.schema);
			check_name_free(stmt->newname, s.nsp);
			if (!index && paxos_ddl_type_in_the_way(stmt->newname, s.nsp))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("type \"%s\" already exists", stmt->newname)));
			s.names = list_make1(stmt->newname);
			appendStringInfo(&s.sql, "ALTER %s %s RENAME TO %s", index ? "INDEX" : "TABLE",
							 quote_qualified_identifier(s.schema, paxos_relation_name(relid)), to);
			if (stmt->renameType == OBJECT_INDEX)
				tag = CMDTAG_ALTER_INDEX;
			break;
		case OBJECT_COLUMN:
			try_rename(&s, stmt);
			appendStringInfo(&s.sql, "ALTER TABLE %s RENAME COLUMN %s TO %s",
							 paxos_alter_qualified(&s), quote_identifier(stmt->subname), to);
			break;
		case OBJECT_TABCONSTRAINT:
			if (!paxos_is_foreign_key(table, stmt->subname))
				try_rename(&s, stmt);
			else if (ConstraintNameIsUsed(CONSTRAINT_RELATION, table, stmt->newname))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("constraint \"%s\" for relation \"%s\" already exists",
									   stmt->newname, s.name)));
			paxos_ddl_check_owner(table);
			if (OidIsValid(get_relname_relid(stmt->subname, s.nsp)))
			{
				check_name_free(stmt->newname, s.nsp);
				s.names = list_make1(stmt->newname);
			}
			appendStringInfo(&s.sql, "ALTER TABLE %s RENAME CONSTRAINT %s TO %s",
							 paxos_alter_qualified(&s), quote_identifier(stmt->subname), to);
			break;
		case OBJECT_TRIGGER:
			paxos_ddl_check_owner(table);
			if (!OidIsValid(paxos_user_trigger(table, stmt->subname)))
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
								errmsg("trigger \"%s\" for table \"%s\" does not exist",
									   stmt->subname, s.name)));
			if (OidIsValid(get_trigger_oid(table, stmt->newname, true)))
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("trigger \"%s\" for relation \"%s\" already exists",
									   stmt->newname, s.name)));
			appendStringInfo(&s.sql, "ALTER TRIGGER %s ON %s RENAME TO %s",
							 quote_identifier(stmt->subname), paxos_alter_qualified(&s), to);
			tag = CMDTAG_ALTER_TRIGGER;
			break;
		default:
			paxos_refuse(table, "this form of RENAME", NULL);
	}
	if (s.names != NIL)
		paxos_ddl_ask_members(s.schema, s.op.owner, s.table_id, s.names);
	return paxos_alter_send(&s, tag);
}

bool
paxos_rename_schema(PaxosUtility *u, AlterObjectSchemaStmt *stmt, Oid table)
{
	PaxosAlter s;
	Oid nsp;
	ListCell *lc;

	if (!paxos_alter_begin(&s, u, table, table, "SET SCHEMA on a consensus-backed table"))
		return false;
	paxos_ddl_check_owner(table);
	nsp = LookupCreationNamespace(stmt->newschema);
	CheckSetNamespace(s.nsp, nsp);
	if (strcmp(stmt->newschema, PAXOS_SCHEMA) == 0)
		paxos_refuse(table, "SET SCHEMA " PAXOS_SCHEMA, "That schema is the extension's own.");
	if (nsp != s.nsp)
	{
		paxos_alter_need_schema(&s, nsp);
		foreach (lc, paxos_ddl_names_taken(table))
			check_name_free(lfirst(lc), nsp);
		if (paxos_ddl_type_in_the_way(s.name, nsp))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("type \"%s\" already exists in schema \"%s\"", s.name,
								   stmt->newschema)));
		paxos_ddl_ask_members(stmt->newschema, s.op.owner, 0, paxos_ddl_names_taken(table));
	}
	appendStringInfo(&s.sql, "ALTER TABLE %s SET SCHEMA %s", paxos_alter_qualified(&s),
					 quote_identifier(stmt->newschema));
	return paxos_alter_send(&s, CMDTAG_ALTER_TABLE);
}

RangeVar *
paxos_rename_commented(CommentStmt *stmt)
{
	List *names;

	switch (stmt->objtype)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
			return makeRangeVarFromNameList(castNode(List, stmt->object));
		case OBJECT_COLUMN:
		case OBJECT_TABCONSTRAINT:
		case OBJECT_TRIGGER:
		case OBJECT_POLICY:
			names = list_copy(castNode(List, stmt->object));
			names = list_truncate(names, list_length(names) - 1);
			return names == NIL ? NULL : makeRangeVarFromNameList(names);
		default:
			return NULL;
	}
}

bool
paxos_rename_comment(PaxosUtility *u, CommentStmt *stmt, Oid table, Oid relid)
{
	PaxosAlter s;
	const char *part = strVal(llast(castNode(List, stmt->object)));

	if (!paxos_alter_begin(&s, u, table, relid, "COMMENT on a consensus-backed table"))
		return false;
	if (!PaxosOwnsRelation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, stmt->objtype, get_rel_name(relid));
	s.op.kind = PAXOS_DDL_NOTE;
	appendStringInfoString(&s.sql, "COMMENT ON ");
	switch (stmt->objtype)
	{
		case OBJECT_COLUMN:
			if (get_attnum(table, part) == InvalidAttrNumber)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_COLUMN),
						 errmsg("column \"%s\" of relation \"%s\" does not exist", part, s.name)));
			appendStringInfo(&s.sql, "COLUMN %s.%s", paxos_alter_qualified(&s),
							 quote_identifier(part));
			break;
		case OBJECT_TABCONSTRAINT:
			(void) get_relation_constraint_oid(table, part, false);
			appendStringInfo(&s.sql, "CONSTRAINT %s ON %s", quote_identifier(part),
							 paxos_alter_qualified(&s));
			break;
		case OBJECT_TRIGGER:
			(void) get_trigger_oid(table, part, false);
			appendStringInfo(&s.sql, "TRIGGER %s ON %s", quote_identifier(part),
							 paxos_alter_qualified(&s));
			break;
		case OBJECT_POLICY:
			(void) get_relation_policy_oid(table, part, false);
			appendStringInfo(&s.sql, "POLICY %s ON %s", quote_identifier(part),
							 paxos_alter_qualified(&s));
			break;
		default:
			if ((stmt->objtype == OBJECT_INDEX) != is_index(relid))
				ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
								stmt->objtype == OBJECT_INDEX
									? errmsg("\"%s\" is not an index", get_rel_name(relid))
									: errmsg("\"%s\" is not a table", get_rel_name(relid))));
			appendStringInfo(&s.sql, "%s %s", stmt->objtype == OBJECT_INDEX ? "INDEX" : "TABLE",
							 quote_qualified_identifier(s.schema, paxos_relation_name(relid)));
			break;
	}
	appendStringInfo(&s.sql, " IS %s",
					 stmt->comment != NULL ? quote_literal_cstr(stmt->comment) : "NULL");
	return paxos_alter_send(&s, CMDTAG_COMMENT);
}
