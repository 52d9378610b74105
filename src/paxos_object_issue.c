/*
 * paxos_object_issue.c
 *	  Statements about objects that exist on every node (paxos_object.c), where they are
 *	  issued: CREATE SCHEMA, TYPE, DOMAIN, FUNCTION, PROCEDURE; ALTER, COMMENT, GRANT, DROP.
 *
 * Which go through the log: with paxos.ddl = all those that make one, and always those about
 * one that did.  A statement is tried in a subtransaction that is rolled back, so that every
 * ordinary error comes up here; written down anew (paxos_object_write.c; a change by name,
 * what it makes from the catalogs); tried once more as the slot will carry it out, here and
 * on every member (paxos_object_apply.c); and sent with the numbers of what it speaks of and
 * needs.  Dropping is not tried as typed, for that would lock the consensus tables that use
 * the object: who uses it is looked up.
 *
 * DROP ... CASCADE takes along what goes through the log, and with a schema the consensus
 * tables in it; parts of other tables, and what is of this node alone, must be dropped before.
 *
 * A role makes what he may make: that is found out here.
 *
 * No state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_object.h"
#include "paxos_object_int.h"
#include "paxos_version.h"

static void refuse(const ObjectAddress *object, const char *what, const char *hint)
	pg_attribute_noreturn();

static void
refuse(const ObjectAddress *object, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s is not supported for %s, which exists on every node", what,
						   getObjectDescription(object, false)),
					hint != NULL ? errhint("%s", hint) : 0));
}

static void
begin(PaxosUtility *u)
{
	paxos_ddl_begin_statement(
		u,
		psprintf("%s through the log", GetCommandTagName(CreateCommandTag(u->pstmt->utilityStmt))));
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "schemas, types and functions of all nodes");
}

/* False: something that it speaks of or needs was changed meanwhile. */
static bool
send(PaxosUtility *u, PaxosDdlOp *op)
{
	char *lack = paxos_object_try(op);

	if (lack != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the statement could not be carried out: %s", lack),
						errdetail("It was tried as every node would carry it out.  Nothing has "
								  "been sent.")));
	paxos_ddl_ask_to_try(op);
	if (u->qc)
		SetQueryCompletion(u->qc, CreateCommandTag(u->pstmt->utilityStmt), 0);
	return paxos_ddl_submit(op);
}

static void
once_more(void)
{
	CHECK_FOR_INTERRUPTS();
	AcceptInvalidationMessages();
}

/* ------------------------------------------------------------------
 * Making one
 * ------------------------------------------------------------------
 */

/* Its name in full. */
static Node *
full_name(ObjectType type, Node *name, Oid *nsp)
{
	List **names =
		IsA(name, ObjectWithArgs) ? &((ObjectWithArgs *) name)->objname : (List **) &name;
	char *last;

	*nsp = InvalidOid;
	if (type == OBJECT_SCHEMA)
		return name;
	*nsp = QualifiedNameGetCreationNamespace(*names, &last);
	*names = list_make2(makeString(paxos_schema_name(*nsp)), makeString(last));
	return name;
}

static bool find_shared(ObjectType type, Node *name, ObjectAddress *object);

static void
write_new(PaxosDdlOp *op, const ObjectAddress *object, Oid nsp)
{
	op->owner = GetUserNameFromId(paxos_object_owner(object), false);
	op->schema = OidIsValid(nsp) ? paxos_schema_name(nsp) : "";
	op->sql = paxos_object_definition(object);
	if (!superuser())
		op->flags |= PAXOS_DDL_AS_OWNER;
	if (object->classId != NamespaceRelationId) /* which says whose it is */
		op->sql = psprintf("%s; ALTER %s %s OWNER TO %s", op->sql, paxos_object_kind(object),
						   paxos_object_name(object), quote_identifier(op->owner));
	if (OidIsValid(nsp))
	{
		ObjectAddress schema;
		int64 id;

		ObjectAddressSet(schema, NamespaceRelationId, nsp);
		id = paxos_object_id(schema.classId, schema.objectId);
		if (id != 0)
			paxos_object_need(op, id);
	}
	paxos_object_needs(op, object);
}

/*
 * Under paxos.ddl = all: a statement that makes the object which will be found by this type
 * and (qualified) name.
 */
static void
create_object(PaxosUtility *u, ObjectType type, Node *name, bool replace)
{
	bool done = false;

	begin(u);
	while (!done)
	{
		PaxosDdlOp op = {0};
		PaxosUtility trial_u = *u;
		PaxosTrial trial;
		ObjectAddress object;
		volatile bool tried = false;
		Oid nsp;

		op.kind = PAXOS_DDL_CREATE_OBJECT;
		name = full_name(type, name, &nsp);
		(void) paxos_utility_copy(&trial_u);
		if (IsA(u->pstmt->utilityStmt, CreateSchemaStmt) &&
			((CreateSchemaStmt *) u->pstmt->utilityStmt)->if_not_exists)
			op.flags |= PAXOS_DDL_IF_NOT_EXISTS;
		if (replace)
			op.flags |= PAXOS_DDL_REPLACE;
		if (replace && type == OBJECT_VIEW && find_shared(type, name, &object))
			paxos_object_need(&op, paxos_object_id(object.classId, object.objectId));
		paxos_trial_begin(&trial);
		PG_TRY();
		{
			paxos_utility_next(&trial_u);
			CommandCounterIncrement();
			if (!paxos_object_find(type, name, &object))
				elog(ERROR, "nothing was made");
			write_new(&op, &object, nsp);
			tried = true;
		}
		PG_CATCH();
		{
			paxos_trial_failed(&trial, "", InvalidOid);
		}
		PG_END_TRY();
		if (tried)
		{
			paxos_trial_end(&trial);
			done = send(u, &op);
		}
		if (!done)
			once_more();
	}
}

/* Is it something that lasts, and of this database? */
static bool
lasts(ObjectType type, Node *name)
{
	List *names = IsA(name, ObjectWithArgs) ? ((ObjectWithArgs *) name)->objname : (List *) name;
	char *last;

	return type == OBJECT_SCHEMA ||
		   !isAnyTempNamespace(QualifiedNameGetCreationNamespace(names, &last));
}

/* ------------------------------------------------------------------
 * Changing one
 * ------------------------------------------------------------------
 */

static Oid
newest_constraint(Oid domain)
{
	ObjectAddress address;
	Oid newest = InvalidOid;
	ListCell *lc;

	ObjectAddressSet(address, TypeRelationId, domain);
	foreach (lc, paxos_object_parts(&address))
	{
		ObjectAddress *part = lfirst(lc);

		if (part->classId == ConstraintRelationId)
			newest = Max(newest, part->objectId);
	}
	return newest;
}

static void
write_domain(StringInfo out, AlterDomainStmt *stmt, const ObjectAddress *object, const char *name)
{
	const char *part = stmt->name != NULL ? quote_identifier(stmt->name) : "";
	const char *cascade = stmt->behavior == DROP_CASCADE ? " CASCADE" : "";

	appendStringInfo(out, "ALTER DOMAIN %s ", name);
	switch (stmt->subtype)
	{
		case 'T':
		{
			HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(object->objectId));
			bool isnull;
			Datum bin;

			if (!HeapTupleIsValid(tuple))
				elog(ERROR, "cache lookup failed for type %u", object->objectId);
			bin = SysCacheGetAttr(TYPEOID, tuple, Anum_pg_type_typdefaultbin, &isnull);
			if (isnull)
				appendStringInfoString(out, "DROP DEFAULT");
			else
				appendStringInfo(
					out, "SET DEFAULT %s",
					deparse_expression(stringToNode(TextDatumGetCString(bin)), NIL, false, false));
			ReleaseSysCache(tuple);
			break;
		}
		case 'N':
			appendStringInfoString(out, "DROP NOT NULL");
			break;
		case 'O':
			appendStringInfoString(out, "SET NOT NULL");
			break;
		case 'C':
		{
			Oid constraint = newest_constraint(object->objectId);

			if (!OidIsValid(constraint))
				refuse(object, "this form of ADD CONSTRAINT", NULL);
			appendStringInfo(out, "ADD CONSTRAINT %s %s",
							 quote_identifier(get_constraint_name(constraint)),
							 TextDatumGetCString(OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID,
																  ObjectIdGetDatum(constraint))));
			break;
		}
		case 'X':
			appendStringInfo(out, "DROP CONSTRAINT %s%s%s", stmt->missing_ok ? "IF EXISTS " : "",
							 part, cascade);
			break;
		case 'V':
			appendStringInfo(out, "VALIDATE CONSTRAINT %s", part);
			break;
		default:
			elog(ERROR, "ALTER DOMAIN of an unknown kind");
	}
}

static void
write_attributes(StringInfo out, AlterTableStmt *stmt, const ObjectAddress *object,
				 const char *name)
{
	TupleDesc desc = lookup_rowtype_tupdesc(object->objectId, -1);
	ListCell *lc;

	appendStringInfo(out, "ALTER TYPE %s ", name);
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		const char *cascade = cmd->behavior == DROP_CASCADE ? " CASCADE" : "";
		const char *attribute = cmd->name;
		Form_pg_attribute att = NULL;

		if (cmd->subtype == AT_AddColumn)
			attribute = castNode(ColumnDef, cmd->def)->colname;
		else if (cmd->subtype != AT_DropColumn && cmd->subtype != AT_AlterColumnType)
			refuse(object, "this form of ALTER TYPE", NULL);
		appendStringInfoString(out, foreach_current_index(lc) > 0 ? ", " : "");
		if (cmd->subtype == AT_DropColumn)
		{
			appendStringInfo(out, "DROP ATTRIBUTE %s%s%s", cmd->missing_ok ? "IF EXISTS " : "",
							 quote_identifier(attribute), cascade);
			continue;
		}
		for (int i = 0; i < desc->natts; i++)
		{
			if (!TupleDescAttr(desc, i)->attisdropped &&
				strcmp(NameStr(TupleDescAttr(desc, i)->attname), attribute) == 0)
				att = TupleDescAttr(desc, i);
		}
		if (att == NULL)
			refuse(object, "to add and drop an attribute at once", "Use two statements.");
		appendStringInfo(
			out,
			cmd->subtype == AT_AddColumn ? "ADD ATTRIBUTE %s %s" : "ALTER ATTRIBUTE %s TYPE %s",
			quote_identifier(attribute), format_type_with_typemod(att->atttypid, att->atttypmod));
		if (OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid))
			appendStringInfo(out, " COLLATE %s", generate_collation_name(att->attcollation));
		appendStringInfoString(out, cascade);
	}
	ReleaseTupleDesc(desc);
}

static void
write_view(StringInfo out, AlterTableStmt *stmt, const ObjectAddress *object, const char *name)
{
	ListCell *lc;

	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		char *text;

		appendStringInfo(out, "%sALTER VIEW %s ", foreach_current_index(lc) > 0 ? "; " : "", name);
		switch (cmd->subtype)
		{
			case AT_ColumnDefault:
				text = paxos_view_default(object, cmd->name);
				if (text != NULL)
					appendStringInfo(out, "ALTER COLUMN %s SET DEFAULT %s",
									 quote_identifier(cmd->name), text);
				else
					appendStringInfo(out, "ALTER COLUMN %s DROP DEFAULT",
									 quote_identifier(cmd->name));
				break;
			case AT_SetRelOptions:
			case AT_ResetRelOptions:
				appendStringInfoString(out, cmd->subtype == AT_SetRelOptions ? "SET " : "RESET ");
				paxos_ddl_put_options(out, castNode(List, cmd->def),
									  cmd->subtype == AT_SetRelOptions);
				break;
			case AT_ChangeOwner:
				appendStringInfo(out, "OWNER TO %s",
								 quote_identifier(GetUserNameFromId(
									 get_rolespec_oid(cmd->newowner, false), false)));
				break;
			default:
				refuse(object, "this form of ALTER VIEW", NULL);
		}
	}
}

static void
write_enum(StringInfo out, AlterEnumStmt *stmt, const char *name)
{
	appendStringInfo(out, "ALTER TYPE %s ", name);
	if (stmt->oldVal != NULL)
	{
		appendStringInfo(out, "RENAME VALUE %s TO %s", quote_literal_cstr(stmt->oldVal),
						 quote_literal_cstr(stmt->newVal));
		return;
	}
	appendStringInfo(out, "ADD VALUE %s%s", stmt->skipIfNewValExists ? "IF NOT EXISTS " : "",
					 quote_literal_cstr(stmt->newVal));
	if (stmt->newValNeighbor != NULL)
		appendStringInfo(out, " %s %s", stmt->newValIsAfter ? "AFTER" : "BEFORE",
						 quote_literal_cstr(stmt->newValNeighbor));
}

static void
write_rename(StringInfo out, RenameStmt *stmt, const char *kind, const char *name)
{
	if (stmt->renameType == OBJECT_DOMCONSTRAINT)
		appendStringInfo(out, "ALTER DOMAIN %s RENAME CONSTRAINT %s TO %s", name,
						 quote_identifier(stmt->subname), quote_identifier(stmt->newname));
	else if (stmt->renameType == OBJECT_COLUMN)
		appendStringInfo(out, "ALTER %s %s RENAME COLUMN %s TO %s", kind, name,
						 quote_identifier(stmt->subname), quote_identifier(stmt->newname));
	else if (stmt->renameType == OBJECT_ATTRIBUTE)
		appendStringInfo(out, "ALTER TYPE %s RENAME ATTRIBUTE %s TO %s%s", name,
						 quote_identifier(stmt->subname), quote_identifier(stmt->newname),
						 stmt->behavior == DROP_CASCADE ? " CASCADE" : "");
	else
		appendStringInfo(out, "ALTER %s %s RENAME TO %s", kind, name,
						 quote_identifier(stmt->newname));
}

static void
write_comment(StringInfo out, CommentStmt *stmt, const char *kind, const char *name)
{
	appendStringInfoString(out, "COMMENT ON ");
	if (stmt->objtype == OBJECT_DOMCONSTRAINT)
		appendStringInfo(out, "CONSTRAINT %s ON DOMAIN %s",
						 quote_identifier(strVal(lsecond(castNode(List, stmt->object)))), name);
	else if (stmt->objtype == OBJECT_COLUMN)
		appendStringInfo(out, "COLUMN %s.%s", name,
						 quote_identifier(strVal(llast(castNode(List, stmt->object)))));
	else
		appendStringInfo(out, "%s %s", kind, name);
	appendStringInfo(out, " IS %s", stmt->comment ? quote_literal_cstr(stmt->comment) : "NULL");
}

/* As the trial left it; 'kind' and 'name' as they were before. */
static void
write_change(StringInfo out, Node *stmt, const ObjectAddress *object, const char *kind,
			 const char *name)
{
	switch (nodeTag(stmt))
	{
		case T_RenameStmt:
			write_rename(out, (RenameStmt *) stmt, kind, name);
			break;
		case T_AlterOwnerStmt:
			appendStringInfo(
				out, "ALTER %s %s OWNER TO %s", kind, name,
				quote_identifier(GetUserNameFromId(
					get_rolespec_oid(((AlterOwnerStmt *) stmt)->newowner, false), false)));
			break;
		case T_AlterObjectSchemaStmt:
			appendStringInfo(out, "ALTER %s %s SET SCHEMA %s", kind, name,
							 quote_identifier(((AlterObjectSchemaStmt *) stmt)->newschema));
			break;
		case T_AlterEnumStmt:
			write_enum(out, (AlterEnumStmt *) stmt, name);
			break;
		case T_AlterDomainStmt:
			write_domain(out, (AlterDomainStmt *) stmt, object, name);
			break;
		case T_AlterTableStmt:
			if (object->classId == RelationRelationId)
				write_view(out, (AlterTableStmt *) stmt, object, name);
			else
				write_attributes(out, (AlterTableStmt *) stmt, object, name);
			break;
		case T_CreateFunctionStmt: /* OR REPLACE */
		case T_AlterFunctionStmt:
			appendStringInfoString(out, paxos_object_definition(object));
			break;
		case T_CommentStmt:
			write_comment(out, (CommentStmt *) stmt, kind, name);
			break;
		default:
			refuse(object, GetCommandTagName(CreateCommandTag(stmt)), NULL);
	}
}

/* Does it take the meaning from text that is on its way in write sets? */
static bool
changes_values(Node *stmt, const ObjectAddress *object)
{
	if (object->classId == RelationRelationId)
		return false;
	return (IsA(stmt, AlterEnumStmt) && ((AlterEnumStmt *) stmt)->oldVal != NULL) ||
		   IsA(stmt, AlterTableStmt) ||
		   (IsA(stmt, AlterDomainStmt) && strchr("COV", ((AlterDomainStmt *) stmt)->subtype));
}

static bool
changes_definition(Node *stmt)
{
	return !IsA(stmt, CommentStmt);
}

static void
change(PaxosUtility *u, const ObjectAddress *object)
{
	Node *stmt = u->pstmt->utilityStmt;
	bool done = false;

	begin(u);
	while (!done)
	{
		PaxosDdlOp op = {0};
		PaxosUtility trial_u = *u;
		PaxosTrial trial;
		StringInfoData sql;
		volatile bool tried = false;
		int64 id = paxos_object_id(object->classId, object->objectId);
		const char *kind;
		char *name;
		ListCell *lc;

		if (id == 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
							errmsg("the object was dropped while the statement was on its way")));
		kind = paxos_object_kind(object);
		name = paxos_object_name(object);
		initStringInfo(&sql);
		op.kind = changes_definition(stmt) ? PAXOS_DDL_ALTER_OBJECT : PAXOS_DDL_NOTE_OBJECT;
		op.schema = name;
		op.owner = GetUserNameFromId(paxos_object_owner(object), false);
		if ((IsA(stmt, CreateFunctionStmt) || IsA(stmt, AlterFunctionStmt)) && !superuser())
			op.flags |= PAXOS_DDL_AS_OWNER;
		paxos_object_need(&op, id);
		if (changes_values(stmt, object))
		{
			op.flags |= PAXOS_DDL_VALUES;
			foreach (lc, paxos_object_tables(object))
				paxos_object_need_table(&op, *(int64 *) lfirst(lc));
		}

		(void) paxos_utility_copy(&trial_u);
		paxos_trial_begin(&trial);
		PG_TRY();
		{
			int nest_level;
			PaxosDdlOp needs = {0};

			paxos_utility_next(&trial_u);
			CommandCounterIncrement();
			nest_level = paxos_ddl_begin_writing_down();
			write_change(&sql, stmt, object, kind, name);
			AtEOXact_GUC(true, nest_level);
			if (op.kind == PAXOS_DDL_ALTER_OBJECT)
			{
				(void) paxos_object_definition(object); /* for what is refused */
				paxos_object_needs(&needs, object);
				for (int i = 0; i < needs.n_objects; i++)
					paxos_object_need(&op, needs.object_ids[i]);

				/* types that have tables for fields are nobody's column (paxos_object.c) */
				for (int i = 0; i < needs.n_tables && (op.flags & PAXOS_DDL_VALUES) == 0; i++)
					paxos_object_need_table(&op, needs.table_ids[i]);
			}
			if (IsA(stmt, AlterObjectSchemaStmt))
			{
				int64 schema = paxos_object_id(NamespaceRelationId, paxos_object_schema(object));

				if (schema != 0)
					paxos_object_need(&op, schema);
			}
			tried = true;
		}
		PG_CATCH();
		{
			paxos_trial_failed(&trial, "", InvalidOid);
		}
		PG_END_TRY();
		if (tried)
		{
			paxos_trial_end(&trial);
			op.sql = sql.data;
			done = send(u, &op);
		}
		if (!done)
			once_more();
	}
}

/* ------------------------------------------------------------------
 * GRANT and REVOKE
 * ------------------------------------------------------------------
 */

/* All of them are ours. */
static void
grant(PaxosUtility *u, GrantStmt *stmt, List *objects)
{
	bool done = false;

	begin(u);
	paxos_ddl_try_grant(u);
	while (!done)
	{
		PaxosDdlOp op = {0};
		StringInfoData sql;
		List *roles = NIL;
		Oid grantor = InvalidOid;
		ListCell *lc;

		initStringInfo(&sql);
		op.kind = PAXOS_DDL_NOTE_OBJECT;
		foreach (lc, objects)
		{
			ObjectAddress *object = lfirst(lc);
			Oid owner = paxos_object_owner(object);
			int64 id = paxos_object_id(object->classId, object->objectId);

			if (id == 0)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("the object was dropped while the statement was on its way")));

			/* Who may act as the owner grants as the owner; another by his grant option. */
			if (!has_privs_of_role(GetUserId(), owner))
				owner = GetUserId();
			if (OidIsValid(grantor) && owner != grantor)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot change privileges on objects of several owners in "
									   "one statement that goes through the log"),
								errhint("Name them one by one.")));
			grantor = owner;
			if (op.schema == NULL)
				op.schema = paxos_object_name(object);
			paxos_object_need(&op, id);
			appendStringInfoString(&sql, sql.len > 0 ? "; " : "");
			paxos_ddl_put_privileges(&sql, stmt);
			appendStringInfo(&sql, " ON %s %s",
							 object->classId == RelationRelationId ? "TABLE"
																   : paxos_object_kind(object),
							 paxos_object_name(object));
			paxos_ddl_put_grantees(&sql, stmt, &roles);
		}
		op.owner = GetUserNameFromId(grantor, false);
		op.sql = sql.data;
		done = send(u, &op);
		if (!done)
			once_more();
	}
}

/* ------------------------------------------------------------------
 * DROP
 * ------------------------------------------------------------------
 */

static bool
listed(List *objects, const ObjectAddress *object)
{
	ListCell *lc;

	foreach (lc, objects)
	{
		ObjectAddress *a = lfirst(lc);

		if (a->classId == object->classId && a->objectId == object->objectId)
			return true;
	}
	return false;
}

static void
check_may_drop(const ObjectAddress *object)
{
	Oid nsp = paxos_object_schema(object);
	Oid owner = paxos_object_owner(object);

	if (!has_privs_of_role(GetUserId(), owner) &&
		!(OidIsValid(nsp) && PaxosOwnsSchema(nsp, GetUserId())))
		aclcheck_error(ACLCHECK_NOT_OWNER,
					   object->classId == NamespaceRelationId  ? OBJECT_SCHEMA
					   : object->classId == RelationRelationId ? OBJECT_VIEW
					   : object->classId == TypeRelationId     ? OBJECT_TYPE
															   : OBJECT_FUNCTION,
					   paxos_object_name(object));
}

/*
 * Those named and, with CASCADE, what uses them, and the tables that stand in a schema among
 * them; errors for what may not go.
 */
typedef struct Going
{
	List *objects; /* of ObjectAddress * */
	List *tables;  /* of ObjectAddress * */
} Going;

static void
add_user(Going *going, const PaxosUse *use)
{
	ObjectAddress *user = palloc(sizeof(ObjectAddress));
	PaxosPlace place;
	int64 altered;
	int64 id;

	place = paxos_object_place(&use->user, &id);
	if (place == PAXOS_PLACE_OBJECT && paxos_object_of_id(id, user, &altered))
	{
		if (listed(going->objects, user))
			return;
		going->objects = lappend(going->objects, user);
	}
	else if (place == PAXOS_PLACE_TABLE)
	{
		ObjectAddressSet(*user, RelationRelationId, paxos_table_relid(id));
		if (listed(going->tables, user))
			return;
		if (use->used.classId == NamespaceRelationId &&
			get_rel_namespace(user->objectId) == use->used.objectId)
			going->tables = lappend(going->tables, user);
		else
			user = NULL;
	}
	else
		user = NULL;
	if (user == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot drop %s with CASCADE: %s uses %s",
						getObjectDescription(linitial(going->objects), false),
						getObjectDescription(&use->user, false),
						getObjectDescription(&use->used, false)),
				 place == PAXOS_PLACE_TABLE
					 ? errdetail("That is part of a consensus-backed table.")
					 : errdetail("That is local to this node, and the statement is carried out "
								 "on all."),
				 errhint("Drop it first, in a statement of its own.")));
}

/* As PostgreSQL says it. */
static void
notice_cascade(const Going *going, int n_named)
{
	List *others = list_concat(list_copy_tail(going->objects, n_named), going->tables);
	StringInfoData detail;
	ListCell *lc;

	initStringInfo(&detail);
	foreach (lc, others)
		appendStringInfo(&detail, "%sdrop cascades to %s", detail.len > 0 ? "\n" : "",
						 getObjectDescription(lfirst(lc), false));
	if (list_length(others) == 1)
		ereport(NOTICE, (errmsg_internal("%s", detail.data)));
	else if (others != NIL)
		ereport(NOTICE, (errmsg("drop cascades to %d other objects", list_length(others)),
						 errdetail_internal("%s", detail.data)));
}

static void
refuse_users(const Going *going, List *uses)
{
	StringInfoData detail;
	ListCell *lc;

	initStringInfo(&detail);
	foreach (lc, uses)
	{
		PaxosUse *use = lfirst(lc);

		if (foreach_current_index(lc) < 100)
			appendStringInfo(&detail, "%s%s depends on %s", detail.len > 0 ? "\n" : "",
							 getObjectDescription(&use->user, false),
							 getObjectDescription(&use->used, false));
	}
	ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					list_length(going->objects) == 1
						? errmsg("cannot drop %s because other objects depend on it",
								 getObjectDescription(linitial(going->objects), false))
						: errmsg("cannot drop desired object(s) because other objects depend on "
								 "them"),
					errdetail_internal("%s", detail.data),
					errhint("Use DROP ... CASCADE to drop the dependent objects too.")));
}

static void
add_users(Going *going, DropBehavior behavior)
{
	int n;

	do
	{
		List *parts = NIL;
		List *uses;
		ListCell *lc;

		n = list_length(going->objects) + list_length(going->tables);
		foreach (lc, list_concat_copy(going->objects, going->tables))
			parts = list_concat(parts, paxos_object_parts(lfirst(lc)));
		uses = paxos_object_uses(parts);
		if (behavior == DROP_RESTRICT && uses != NIL)
			refuse_users(going, uses);
		foreach (lc, uses)
			add_user(going, lfirst(lc));
	} while (list_length(going->objects) + list_length(going->tables) > n);
}

static void
drop(PaxosUtility *u, DropStmt *stmt, List *named)
{
	bool done = false;

	begin(u);
	while (!done)
	{
		PaxosDdlOp op = {0};
		Going going = {list_copy(named), NIL};
		StringInfoData sql;
		ListCell *lc;

		initStringInfo(&sql);
		foreach (lc, named)
			check_may_drop(lfirst(lc));
		add_users(&going, stmt->behavior);
		op.kind = PAXOS_DDL_DROP_OBJECT;
		op.schema = "";
		op.owner = GetUserNameFromId(GetUserId(), false);
		foreach (lc, going.objects)
		{
			ObjectAddress *object = lfirst(lc);
			int64 id = paxos_object_id(object->classId, object->objectId);

			if (id == 0)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("the object was dropped while the statement was on its way")));
			paxos_object_need(&op, id);
			appendStringInfo(&sql, "%sDROP %s %s", sql.len > 0 ? "; " : "",
							 paxos_object_kind(object), paxos_object_name(object));
		}
		foreach (lc, going.tables)
		{
			ObjectAddress *table = lfirst(lc);

			paxos_object_need_table(&op, paxos_table_id(table->objectId));
			appendStringInfo(&sql, "; DROP TABLE %s", paxos_qualified_name(table->objectId));
		}
		op.sql = sql.data;
		notice_cascade(&going, list_length(named));
		done = send(u, &op);
		if (!done)
			once_more();
	}
}

/* ------------------------------------------------------------------
 * Which of these is it, if any?
 * ------------------------------------------------------------------
 */

static bool
is_shared(const ObjectAddress *object)
{
	return paxos_object_id(object->classId, object->objectId) != 0;
}

static bool
find_shared(ObjectType type, Node *name, ObjectAddress *object)
{
	return paxos_object_find(type, name, object) && is_shared(object);
}

/* Objects of a list that are ours; '*others': some are not. */
static List *
shared_of(ObjectType type, List *names, bool *others)
{
	List *result = NIL;
	ListCell *lc;

	*others = false;
	foreach (lc, names)
	{
		ObjectAddress *object = palloc(sizeof(ObjectAddress));

		if (find_shared(type, lfirst(lc), object))
		{
			if (!listed(result, object))
				result = lappend(result, object);
		}
		else
			*others = true;
	}
	return result;
}

static bool
is_kind(ObjectType type)
{
	return type == OBJECT_SCHEMA || type == OBJECT_TYPE || type == OBJECT_DOMAIN ||
		   type == OBJECT_FUNCTION || type == OBJECT_PROCEDURE || type == OBJECT_ROUTINE ||
		   type == OBJECT_VIEW;
}

static bool
find_view(RangeVar *rv, ObjectAddress *object)
{
	Oid relid = rv != NULL ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_VIEW)
		return false;
	ObjectAddressSet(*object, RelationRelationId, relid);
	return is_shared(object);
}

/* A composite type by its name as a relation. */
static bool
find_composite(RangeVar *rv, ObjectAddress *object)
{
	Oid relid = rv != NULL ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;

	if (!OidIsValid(relid) || get_rel_relkind(relid) != RELKIND_COMPOSITE_TYPE)
		return false;
	ObjectAddressSet(*object, TypeRelationId, get_rel_type_id(relid));
	return is_shared(object);
}

static List *
shared_views(List *names, bool *others)
{
	List *result = NIL;
	ListCell *lc;

	*others = false;
	foreach (lc, names)
	{
		ObjectAddress *object = palloc(sizeof(ObjectAddress));

		if (find_view(lfirst_node(RangeVar, lc), object))
			result = lappend(result, object);
		else
			*others = true;
	}
	return result;
}

/* The one object that the statement is about, if it is ours. */
static bool
find_subject(Node *stmt, ObjectAddress *object)
{
	switch (nodeTag(stmt))
	{
		case T_RenameStmt:
		{
			RenameStmt *s = (RenameStmt *) stmt;

			if (s->relation != NULL && find_view(s->relation, object))
				return true;
			if (s->renameType == OBJECT_VIEW)
				return false;
			if (s->renameType == OBJECT_SCHEMA)
				return find_shared(OBJECT_SCHEMA, (Node *) makeString(s->subname), object);
			if (s->renameType == OBJECT_ATTRIBUTE)
				return find_composite(s->relation, object);
			if (s->renameType == OBJECT_DOMCONSTRAINT)
				return find_shared(OBJECT_DOMAIN, s->object, object);
			return is_kind(s->renameType) && find_shared(s->renameType, s->object, object);
		}
		case T_AlterOwnerStmt:
			return is_kind(((AlterOwnerStmt *) stmt)->objectType) &&
				   find_shared(((AlterOwnerStmt *) stmt)->objectType,
							   ((AlterOwnerStmt *) stmt)->object, object);
		case T_AlterObjectSchemaStmt:
			if (((AlterObjectSchemaStmt *) stmt)->relation != NULL)
				return find_view(((AlterObjectSchemaStmt *) stmt)->relation, object);
			return is_kind(((AlterObjectSchemaStmt *) stmt)->objectType) &&
				   find_shared(((AlterObjectSchemaStmt *) stmt)->objectType,
							   ((AlterObjectSchemaStmt *) stmt)->object, object);
		case T_AlterObjectDependsStmt:
			return is_kind(((AlterObjectDependsStmt *) stmt)->objectType) &&
				   find_shared(((AlterObjectDependsStmt *) stmt)->objectType,
							   ((AlterObjectDependsStmt *) stmt)->object, object);
		case T_AlterEnumStmt:
			return find_shared(OBJECT_TYPE, (Node *) ((AlterEnumStmt *) stmt)->typeName, object);
		case T_AlterDomainStmt:
			return find_shared(OBJECT_DOMAIN, (Node *) ((AlterDomainStmt *) stmt)->typeName,
							   object);
		case T_AlterFunctionStmt:
			return find_shared(((AlterFunctionStmt *) stmt)->objtype,
							   (Node *) ((AlterFunctionStmt *) stmt)->func, object);
		case T_AlterTableStmt:
			if (find_view(((AlterTableStmt *) stmt)->relation, object))
				return true;
			return ((AlterTableStmt *) stmt)->objtype == OBJECT_TYPE &&
				   find_composite(((AlterTableStmt *) stmt)->relation, object);
		case T_CommentStmt:
		{
			CommentStmt *s = (CommentStmt *) stmt;

			if (s->objtype == OBJECT_DOMCONSTRAINT)
				return find_shared(OBJECT_DOMAIN, linitial(castNode(List, s->object)), object);
			if (s->objtype == OBJECT_COLUMN)
			{
				List *names = list_copy(castNode(List, s->object));

				names = list_truncate(names, list_length(names) - 1);
				return names != NIL && (find_composite(makeRangeVarFromNameList(names), object) ||
										find_view(makeRangeVarFromNameList(names), object));
			}
			return is_kind(s->objtype) && find_shared(s->objtype, s->object, object);
		}
		default:
			return false;
	}
}

/* ON ALL FUNCTIONS IN SCHEMA: which those are is each node's own. */
static void
refuse_all_in_schema(GrantStmt *stmt)
{
	List *nsps = NIL;
	ListCell *lc;
	Oid class_id = stmt->objtype == OBJECT_TABLE ? RelationRelationId : ProcedureRelationId;

	if (stmt->objtype != OBJECT_FUNCTION && stmt->objtype != OBJECT_PROCEDURE &&
		stmt->objtype != OBJECT_ROUTINE && stmt->objtype != OBJECT_TABLE)
		return;
	foreach (lc, stmt->objects)
		nsps = lappend_oid(nsps, LookupExplicitNamespace(strVal(lfirst(lc)), false));
	foreach (lc, paxos_object_ids())
	{
		ObjectAddress object;
		int64 altered;

		if (paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered) &&
			object.classId == class_id && list_member_oid(nsps, paxos_object_schema(&object)))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot change privileges on all %s of the schema: %s exists on "
								   "every node",
								   class_id == RelationRelationId ? "tables" : "functions",
								   getObjectDescription(&object, false)),
							errdetail("It would change them on this node only."),
							errhint("Name those, and the others in another statement.")));
	}
}

/* A schema of this node alone: what goes through the log in it is known by its name. */
static void
refuse_rename_of_schema(RenameStmt *stmt)
{
	Oid nsp = get_namespace_oid(stmt->subname, true);
	ListCell *lc;

	if (!OidIsValid(nsp))
		return;
	foreach (lc, paxos_object_ids())
	{
		ObjectAddress object;
		int64 altered;

		if (paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered) &&
			object.classId != NamespaceRelationId && paxos_object_schema(&object) == nsp)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot rename schema \"%s\" on this node alone: %s exists on "
								   "every node",
								   stmt->subname, getObjectDescription(&object, false))));
	}
}

typedef struct Relations
{
	bool temporary;
	bool local;
	bool everywhere;
} Relations;

static bool
look_at_relations(Node *node, void *context)
{
	Relations *r = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		ObjectAddress relation;
		int64 id;

		if (rte->rtekind != RTE_RELATION || rte->relid < FirstNormalObjectId)
			return false;
		ObjectAddressSet(relation, RelationRelationId, rte->relid);
		if (get_rel_persistence(rte->relid) == RELPERSISTENCE_TEMP)
			r->temporary = true;
		else if (paxos_object_place(&relation, &id) != PAXOS_PLACE_LOCAL)
			r->everywhere = true;
		else if (!OidIsValid(getExtensionOfObject(RelationRelationId, rte->relid)))
			r->local = true;
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, look_at_relations, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, look_at_relations, context);
}

/*
 * A view goes through the log under paxos.ddl = all; and always if what it reads exists on every
 * node: on one node alone it would be in the way of statements about that.  One that reads
 * both is refused (paxos_guard.c).
 */
static bool
view_is_shared(PaxosUtility *u, ViewStmt *stmt)
{
	Relations r = {false};
	RawStmt *raw = makeNode(RawStmt);
	PaxosTrial trial;

	if (stmt->view->relpersistence == RELPERSISTENCE_TEMP)
		return false;
	raw->stmt = copyObject(stmt->query);
	raw->stmt_location = u->pstmt->stmt_location;
	raw->stmt_len = u->pstmt->stmt_len;
	paxos_trial_begin(&trial); /* for the locks */
	PG_TRY();
	{
		(void) look_at_relations(
			(Node *) parse_analyze_fixedparams(raw, u->query_string, NULL, 0, NULL), &r);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
	if (r.temporary || (r.everywhere && r.local))
		return false;
	return r.everywhere || paxos_ddl_scope == PAXOS_DDL_ALL;
}

static bool
creates(PaxosUtility *u)
{
	Node *stmt = u->pstmt->utilityStmt;
	ObjectType type;
	Node *name;
	ObjectAddress object;
	bool replace = (IsA(stmt, CreateFunctionStmt) && ((CreateFunctionStmt *) stmt)->replace) ||
				   (IsA(stmt, ViewStmt) && ((ViewStmt *) stmt)->replace);

	if (IsA(stmt, CreateSchemaStmt))
	{
		CreateSchemaStmt *s = (CreateSchemaStmt *) stmt;

		if (paxos_ddl_scope != PAXOS_DDL_ALL)
			return false;
		if (s->schemaElts != NIL)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("CREATE SCHEMA with other statements in it cannot go through "
								   "the log"),
							errhint("Make the schema first, and what is in it in statements of "
									"their own.")));
		if (s->schemaname == NULL)
		{
			s = copyObject(s);
			s->schemaname = GetUserNameFromId(get_rolespec_oid(s->authrole, false), false);
			stmt = (Node *) s;
		}
		if (s->if_not_exists &&
			find_shared(OBJECT_SCHEMA, (Node *) makeString(s->schemaname), &object))
			return false; /* says NOTICE and does nothing */
		if (s->if_not_exists &&
			paxos_object_find(OBJECT_SCHEMA, (Node *) makeString(s->schemaname), &object) &&
			!PaxosOwnsSchema(object.objectId, GetUserId()))
			return false; /* as PostgreSQL has it; but nobody shares what is another's */
	}
	if (!paxos_object_made_by(stmt, &type, &name))
		return false;
	if (IsA(stmt, ViewStmt))
	{
		bool known = find_shared(type, name, &object);

		if ((!known || !replace) && !view_is_shared(u, (ViewStmt *) stmt))
			return false;
		create_object(u, type, name, replace);
		return true;
	}

	/* of this session alone */
	if (!lasts(type, name))
		return false;
	if (replace && find_shared(type, name, &object))
	{
		change(u, &object);
		return true;
	}
	if (paxos_ddl_scope != PAXOS_DDL_ALL)
		return false;
	create_object(u, type, name, replace);
	return true;
}

bool
paxos_object_statement(PaxosUtility *u)
{
	Node *stmt = u->pstmt->utilityStmt;
	ObjectAddress object;
	List *objects;
	bool others;

	/* what an extension brings is its own */
	if (creating_extension)
		return false;
	if (creates(u))
		return true;
	switch (nodeTag(stmt))
	{
		case T_DropStmt:
		{
			DropStmt *s = (DropStmt *) stmt;

			if (!is_kind(s->removeType))
				return false;
			objects = shared_of(s->removeType, s->objects, &others);
			if (objects == NIL)
				return false;
			if (others)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot drop objects of all nodes and others in one statement"),
						 errhint("Drop them one by one.")));
			drop(u, s, objects);
			return true;
		}
		case T_GrantStmt:
		{
			GrantStmt *s = (GrantStmt *) stmt;

			if (s->targtype == ACL_TARGET_ALL_IN_SCHEMA)
				refuse_all_in_schema(s);
			if (s->targtype != ACL_TARGET_OBJECT)
				return false;
			if (s->objtype == OBJECT_TABLE)
				objects = shared_views(s->objects, &others);
			else if (is_kind(s->objtype))
				objects = shared_of(s->objtype, s->objects, &others);
			else
				return false;
			if (objects == NIL)
				return false;
			if (others)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot change privileges on objects of all nodes and "
									   "others in one statement"),
								errhint("Name them one by one.")));
			grant(u, s, objects);
			return true;
		}
		case T_RuleStmt:
			if (find_view(((RuleStmt *) stmt)->relation, &object))
				refuse(&object, "CREATE RULE", NULL);
			return false;
		case T_CreateTrigStmt:
			if (find_view(((CreateTrigStmt *) stmt)->relation, &object))
				refuse(&object, "CREATE TRIGGER", NULL);
			return false;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType == OBJECT_SCHEMA && !find_subject(stmt, &object))
				refuse_rename_of_schema((RenameStmt *) stmt);
			break;
		default:
			break;
	}
	if (!find_subject(stmt, &object))
		return false;
	if (IsA(stmt, AlterObjectDependsStmt))
		refuse(&object, "DEPENDS ON EXTENSION", NULL);
	change(u, &object);
	return true;
}

/* ------------------------------------------------------------------
 * On this node alone
 * ------------------------------------------------------------------
 */

void
paxos_object_guard(Oid class_id, Oid object_id, bool dropped)
{
	ObjectAddress object;

	if ((class_id != NamespaceRelationId && class_id != TypeRelationId &&
		 class_id != ProcedureRelationId && class_id != RelationRelationId) ||
		paxos_object_id(class_id, object_id) == 0)
		return;
	ObjectAddressSet(object, class_id, object_id);
	if (dropped)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot drop %s this way: it exists on every node",
							   getObjectDescription(&object, false)),
						errhint("Drop it in a statement of its own.")));
	refuse(&object, "a change on this node alone", NULL);
}
