/*
 * paxos_object_apply.c
 *	  Statements about objects that exist on every node (paxos_object.c), at their slot; and
 *	  tried beforehand, on the node that issues one and on every other that can be reached.
 *
 * The trial carries out what the slot will, and takes it back: so roles, privileges,
 * languages, names in the way, local users of what is to go are all asked with the same code
 * that will need them.  It is a courtesy (paxos_ddl_check.c): what the log itself decides, and
 * what a member that is behind cannot know yet, is no answer.
 *
 * At the slot every object the statement speaks of, and every one it needs, is as it was
 * when it was tried.  So an error is caused by rows, which are the same everywhere; or by what
 * was made meanwhile through the log (a name is taken, a user has come), which is said by
 * paxos_err_decided(); or it is trouble of this node.
 *
 * A new object that is here already, word for word, becomes it; of functions, with OR
 * REPLACE, any that the owner may replace.
 *
 * Who may do what has been found out where the statement was issued.  Here it is carried out by
 * the learner, in a security-restricted operation, and given to its owner: a privilege that is
 * revoked through the log meanwhile would hold up every node, with no way to grant it again.
 * No code of the issuer's runs but what CHECK constraints of domains call, which is built in;
 * the bodies of functions are not looked at.
 *
 * No state; what a crash interrupts is rolled back with the slot's transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "paxos_acceptor.h"
#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_object.h"
#include "paxos_object_int.h"

PG_FUNCTION_INFO_V1(paxos_sql_try_statement);

/* ------------------------------------------------------------------
 * What a statement makes, or renames
 * ------------------------------------------------------------------
 */

static Node *
function_named(List *name, List *parameters)
{
	ObjectWithArgs *result = makeNode(ObjectWithArgs);
	ListCell *lc;

	result->objname = name;
	foreach (lc, parameters)
	{
		FunctionParameter *p = lfirst_node(FunctionParameter, lc);

		if (p->mode != FUNC_PARAM_OUT && p->mode != FUNC_PARAM_TABLE)
			result->objargs = lappend(result->objargs, p->argType);
	}
	return (Node *) result;
}

bool
paxos_object_made_by(Node *stmt, ObjectType *type, Node **name)
{
	*type = OBJECT_TYPE;
	switch (nodeTag(stmt))
	{
		case T_CreateSchemaStmt:
			*type = OBJECT_SCHEMA;
			*name = (Node *) makeString(((CreateSchemaStmt *) stmt)->schemaname);
			return true;
		case T_CreateEnumStmt:
			*name = (Node *) ((CreateEnumStmt *) stmt)->typeName;
			return true;
		case T_CreateRangeStmt:
			*name = (Node *) ((CreateRangeStmt *) stmt)->typeName;
			return true;
		case T_CreateDomainStmt:
			*name = (Node *) ((CreateDomainStmt *) stmt)->domainname;
			return true;
		case T_CompositeTypeStmt:
		{
			RangeVar *rv = ((CompositeTypeStmt *) stmt)->typevar;

			*name = (Node *) (rv->schemaname != NULL
								  ? list_make2(makeString(rv->schemaname), makeString(rv->relname))
								  : list_make1(makeString(rv->relname)));
			return true;
		}
		case T_ViewStmt:
		{
			RangeVar *rv = ((ViewStmt *) stmt)->view;

			*type = OBJECT_VIEW;
			*name = (Node *) (rv->schemaname != NULL
								  ? list_make2(makeString(rv->schemaname), makeString(rv->relname))
								  : list_make1(makeString(rv->relname)));
			return true;
		}
		case T_CreateFunctionStmt:
			*type = OBJECT_ROUTINE;
			*name = function_named(((CreateFunctionStmt *) stmt)->funcname,
								   ((CreateFunctionStmt *) stmt)->parameters);
			return true;
		default:
			return false;
	}
}

/* ------------------------------------------------------------------
 * Names
 * ------------------------------------------------------------------
 */

static void
name_taken(const ObjectAddress *object, bool decided)
{
	char *what = getObjectDescription(object, false);

	if (decided)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("%s already exists", what),
						paxos_err_decided()));
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("%s of this node is in the way", what),
			 errhint("Rename or drop it, or make it what it is to be, with the same owner, "
					 "on every node.")));
}

/* What has the name is not what is to be made: is that so everywhere? */
static void
check_taken(const ObjectAddress *object)
{
	int64 id;

	name_taken(object, paxos_object_place(object, &id) != PAXOS_PLACE_LOCAL);
}

/*
 * The name must be free among types, and (of a composite) among relations.  An array type
 * would move away.
 */
static void
check_type_name(Oid nsp, const char *name, bool relation, bool checking)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							   ObjectIdGetDatum(nsp));
	Oid relid = !relation  ? InvalidOid
				: checking ? get_relname_relid(name, nsp)
						   : paxos_ddl_holder_of_name(name, nsp);
	ObjectAddress object;

	if (OidIsValid(relid))
	{
		ObjectAddressSet(object, RelationRelationId, relid);
		check_taken(&object);
	}
	if (OidIsValid(type) &&
		!(OidIsValid(get_element_type(type)) && get_array_type(get_element_type(type)) == type))
	{
		ObjectAddressSet(object, TypeRelationId, type);
		check_taken(&object);
	}
}

/* What RENAME or SET SCHEMA is about to give a name that is taken. */
static void
check_new_name(const ObjectAddress *object, Node *stmt, bool checking)
{
	const char *name = NULL;
	Oid nsp = InvalidOid;

	if (IsA(stmt, RenameStmt))
	{
		ObjectType type = ((RenameStmt *) stmt)->renameType;

		if (type == OBJECT_DOMCONSTRAINT || type == OBJECT_ATTRIBUTE || type == OBJECT_COLUMN)
			return;
		name = ((RenameStmt *) stmt)->newname;
		nsp = paxos_object_schema(object);
	}
	else if (IsA(stmt, AlterObjectSchemaStmt))
	{
		nsp = paxos_ddl_schema_here(((AlterObjectSchemaStmt *) stmt)->newschema);
		if (nsp == paxos_object_schema(object))
			return;
	}
	else
		return;

	if (name != NULL && !checking)
		paxos_ddl_clear_name(object->classId, name, nsp);
	if (object->classId == NamespaceRelationId)
	{
		ObjectAddress other;

		ObjectAddressSet(other, NamespaceRelationId, get_namespace_oid(name, true));
		if (OidIsValid(other.objectId))
			check_taken(&other);
	}
	else if (object->classId == RelationRelationId)
		check_type_name(nsp, name != NULL ? name : paxos_relation_name(object->objectId), true,
						checking);
	else if (object->classId == TypeRelationId)
	{
		if (name == NULL)
			name =
				strVal(llast(PaxosQualifiedNameList(format_type_be_qualified(object->objectId))));
		check_type_name(nsp, name, get_typtype(object->objectId) == TYPTYPE_COMPOSITE, checking);
	}
	else if (object->classId == ProcedureRelationId)
	{
		HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(object->objectId));
		Form_pg_proc form;
		ObjectAddress other;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for function %u", object->objectId);
		form = (Form_pg_proc) GETSTRUCT(tuple);
		ObjectAddressSet(
			other, ProcedureRelationId,
			GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
							CStringGetDatum(name != NULL ? name : NameStr(form->proname)),
							PointerGetDatum(&form->proargtypes), ObjectIdGetDatum(nsp)));
		ReleaseSysCache(tuple);
		if (OidIsValid(other.objectId))
			check_taken(&other);
	}
}

/* ------------------------------------------------------------------
 * Users
 * ------------------------------------------------------------------
 */

/* What of this node alone stands in the way of a statement that looks at an object's users. */
void
paxos_object_check_users(List *parts)
{
	ListCell *lc;

	foreach (lc, paxos_object_uses(parts))
	{
		PaxosUse *use = lfirst(lc);
		int64 id;

		if (paxos_object_place(&use->user, &id) == PAXOS_PLACE_LOCAL)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("%s of this node uses %s", getObjectDescription(&use->user, false),
							getObjectDescription(&use->used, false)),
					 errhint("Drop it, or what in it does so, on that node first.")));
	}
}

static bool
looks_at_users(Node *stmt)
{
	ListCell *lc;

	if (IsA(stmt, AlterDomainStmt))
		return strchr("COV", ((AlterDomainStmt *) stmt)->subtype) != NULL;
	if (!IsA(stmt, AlterTableStmt))
		return false;
	foreach (lc, ((AlterTableStmt *) stmt)->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AlterColumnType || cmd->behavior == DROP_CASCADE)
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------
 * Carrying out
 * ------------------------------------------------------------------
 */

static void
retry(void)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("what the statement refers to was changed while it was on its way"),
					errhint("The statement might succeed if retried."), paxos_err_decided()));
}

static bool
unchanged(const PaxosDdlOp *op)
{
	for (int i = 0; i < op->n_objects; i++)
	{
		ObjectAddress object;
		int64 altered;

		if (!paxos_object_of_id(op->object_ids[i], &object, &altered) ||
			altered != op->objects_altered[i])
			return false;
	}
	return true;
}

void
paxos_objects_check(const PaxosDdlOp *op)
{
	if (!unchanged(op))
		retry();
}

/* The one SQLSTATE that every node answers, whichever row it meets first. */
static void
refuse_rows(Node *stmt, ErrorData *error)
{
	int state = ((AlterDomainStmt *) stmt)->subtype == 'O' ? ERRCODE_NOT_NULL_VIOLATION
														   : ERRCODE_CHECK_VIOLATION;

	if (error->sqlerrcode == state)
	{
		error->detail = NULL;
		ReThrowError(error);
	}
	ereport(ERROR,
			(errcode(state), errmsg("the rows of tables do not allow the change of the domain"),
			 errdetail("%s.", error->message)));
}

static void
run(const PaxosDdlOp *op, Node *stmt)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid user;
	int security;

	/* A grant has a grantor; all else has been allowed where it was issued. */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(IsA(stmt, GrantStmt) ? paxos_ddl_role_here(op->owner) : user,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	PG_TRY();
	{
		paxos_ddl_run_statement(stmt, op->sql);
	}
	PG_CATCH();
	{
		ErrorData *error;

		/* columns of its values: local ones have been looked for */
		if (geterrcode() == ERRCODE_FEATURE_NOT_SUPPORTED && looks_at_users(stmt))
			(void) paxos_err_decided();
		if (!IsA(stmt, AlterDomainStmt) || !paxos_ddl_is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		SetUserIdAndSecContext(user, security);
		refuse_rows(stmt, error);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
}

/* The object of this node alone that has the name: is it what is to be made, word for word? */
static bool
same_here(const PaxosDdlOp *op, const ObjectAddress *here)
{
	const char *definition = paxos_object_definition(here);
	Size len = strlen(definition);

	/* other statements may follow */
	return strncmp(op->sql, definition, len) == 0 &&
		   (op->sql[len] == '\0' || op->sql[len] == ';') &&
		   strcmp(GetUserNameFromId(paxos_object_owner(here), false), op->owner) == 0;
}

/*
 * Who issued the statement was no superuser.  What he makes must not become a superuser's
 * (a function SECURITY DEFINER, say) where his namesake is one, nor take the place of another's.
 * That he may make things in the schema of this node is asked beforehand only: privileges that
 * go through the log must not hold up a slot.
 */
static void
check_issuer(const char *name, Oid nsp, const ObjectAddress *replaces, bool checking)
{
	Oid role = paxos_ddl_role_here(name);

	if (checking && OidIsValid(nsp) && PaxosSchemaAclCheck(nsp, role, ACL_CREATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(nsp));
	if (replaces != NULL && paxos_object_owner(replaces) != role)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("must be owner of %s", getObjectDescription(replaces, false))));
	if (superuser_arg(role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("role \"%s\" is a superuser on this node, and not where the "
							   "statement was issued",
							   name)));
}

/* No session keeps us waiting in a catalog's unique index. */
static void
clear_name(ObjectType type, const char *schema, Node *name)
{
	if (type == OBJECT_SCHEMA)
		paxos_ddl_clear_name(NamespaceRelationId, strVal(name), InvalidOid);
	else if (type == OBJECT_TYPE || type == OBJECT_VIEW)
		paxos_ddl_clear_name(TypeRelationId, strVal(llast(castNode(List, name))),
							 paxos_ddl_schema_here(schema));
	else if (type == OBJECT_ROUTINE)
		paxos_ddl_clear_name(ProcedureRelationId,
							 strVal(llast(castNode(ObjectWithArgs, name)->objname)),
							 paxos_ddl_schema_here(schema));
}

/* Was it the object of that number that the statement was tried on? */
static bool
list_member_id(const PaxosDdlOp *op, int64 id)
{
	for (int i = 0; i < op->n_objects; i++)
	{
		if (op->object_ids[i] == id)
			return true;
	}
	return false;
}

/* Who reads a view is not waited for either. */
static void
lock_view(const ObjectAddress *object, bool checking)
{
	if (object->classId == RelationRelationId && !checking)
		(void) paxos_lock_for_apply(object->objectId, AccessExclusiveLock);
}

static void
create(const PaxosDdlOp *op, List *statements, int64 number, bool checking)
{
	Node *stmt = linitial_node(RawStmt, statements)->stmt;
	ObjectType type;
	Node *name;
	ObjectAddress object;
	bool is_here = false;
	ListCell *lc;

	if (!paxos_object_made_by(stmt, &type, &name))
		elog(ERROR, "not a statement that makes an object: %s", op->sql);
	if (type != OBJECT_SCHEMA)
		(void) paxos_ddl_schema_here(op->schema);
	(void) paxos_ddl_role_here(op->owner);
	if ((op->flags & PAXOS_DDL_AS_OWNER) != 0)
		check_issuer(op->owner,
					 type == OBJECT_SCHEMA ? InvalidOid : paxos_ddl_schema_here(op->schema), NULL,
					 checking);
	if (!checking)
		clear_name(type, op->schema, name);
	if (paxos_object_find(type, name, &object))
	{
		int64 id;

		if (paxos_object_place(&object, &id) != PAXOS_PLACE_LOCAL)
		{
			if ((op->flags & PAXOS_DDL_IF_NOT_EXISTS) != 0)
				return;
			if (type == OBJECT_VIEW && (op->flags & PAXOS_DDL_REPLACE) != 0 &&
				list_member_id(op, id))
			{
				lock_view(&object, checking);
				foreach (lc, statements)
					run(op, lfirst_node(RawStmt, lc)->stmt);
				if (!checking)
					paxos_object_changed(id, number);
				return;
			}
			name_taken(&object, true);
		}
		is_here = same_here(op, &object);
		if (!is_here && (op->flags & PAXOS_DDL_REPLACE) == 0)
			name_taken(&object, false);
		if (!is_here && (op->flags & PAXOS_DDL_AS_OWNER) != 0)
			check_issuer(op->owner, InvalidOid, &object, checking);
	}
	else if (type == OBJECT_TYPE || type == OBJECT_VIEW)
		check_type_name(paxos_ddl_schema_here(op->schema), strVal(llast(castNode(List, name))),
						!IsA(stmt, CreateEnumStmt) && !IsA(stmt, CreateRangeStmt) &&
							!IsA(stmt, CreateDomainStmt),
						checking);
	if (!is_here)
	{
		if (OidIsValid(object.objectId))
			lock_view(&object, checking);
		foreach (lc, statements)
			run(op, lfirst_node(RawStmt, lc)->stmt);
		if (!paxos_object_find(type, name, &object))
			elog(ERROR, "nothing was made by \"%s\"", op->sql);
	}
	if (!checking)
		paxos_object_record(number, &object, 0);
}

/*
 * Whoever makes something in a schema open just now has it locked; so has who makes a table of
 * a composite type.  Both may stay as long as they like.
 */
static void
lock(const ObjectAddress *object)
{
	Oid relid = object->classId == TypeRelationId ? get_typ_typrelid(object->objectId) : InvalidOid;

	paxos_lock_object_for_apply(object->classId, object->objectId);
	if (OidIsValid(relid))
		(void) paxos_lock_for_apply(relid, AccessExclusiveLock);
}

static void
change(const PaxosDdlOp *op, List *statements, int64 number, bool checking)
{
	ObjectAddress object;
	int64 altered;
	ListCell *lc;

	if (!paxos_object_of_id(op->object_ids[0], &object, &altered))
		retry();
	if (strcmp(paxos_object_name(&object), op->schema) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("%s of other nodes is %s here", op->schema,
							   getObjectDescription(&object, false)),
						errhint("Rename it or its schema.")));

	/* Those that have values of it: rows of them may become wrong, or what is on its way. */
	if ((op->flags & PAXOS_DDL_VALUES) != 0)
	{
		List *ids = paxos_object_tables(&object);
		bool same = list_length(ids) == op->n_tables;

		for (int i = 0; same && i < op->n_tables; i++)
			same = *(int64 *) list_nth(ids, i) == op->table_ids[i];
		if (!same)
			retry();
	}
	foreach (lc, statements)
	{
		Node *stmt = lfirst_node(RawStmt, lc)->stmt;

		if (looks_at_users(stmt))
		{
			paxos_object_check_users(paxos_object_parts(&object));

			/* rows are read at the slot alone */
			if (checking && op->n_tables > 0)
				continue;
		}
		if (IsA(stmt, CreateFunctionStmt) && (op->flags & PAXOS_DDL_AS_OWNER) != 0)
			check_issuer(op->owner, InvalidOid, NULL, checking);
		check_new_name(&object, stmt, checking);
		if (op->kind == PAXOS_DDL_ALTER_OBJECT)
			lock_view(&object, checking);
		if (!checking && IsA(stmt, AlterTableStmt))
			lock(&object);
		run(op, stmt);
	}

	/* Of a note (COMMENT, GRANT) all, of an alteration the first, which may need others. */
	for (int i = 0; !checking && i < op->n_objects; i++)
	{
		if (i == 0 || op->kind == PAXOS_DDL_NOTE_OBJECT)
			paxos_object_changed(op->object_ids[i], number);
	}
}

/*
 * All or none, and nothing else: what else uses one of them, and goes through the log,
 * has come meanwhile.
 */
static void
drop(const PaxosDdlOp *op, bool checking)
{
	ObjectAddresses *targets = new_object_addresses();
	List *parts = NIL;

	for (int i = 0; i < op->n_objects; i++)
	{
		ObjectAddress object;
		int64 altered;

		if (!paxos_object_of_id(op->object_ids[i], &object, &altered))
			retry();
		lock_view(&object, checking);

		/* before its users are looked for: one that comes behind would be taken for an answer */
		if (!checking)
			lock(&object);
		add_exact_object_address(&object, targets);
		parts = list_concat(parts, paxos_object_parts(&object));
	}
	paxos_object_check_users(parts);

	/* The tables are locked at the slot alone. */
	if (checking && op->n_tables > 0)
		return;
	for (int i = 0; i < op->n_tables; i++)
	{
		ObjectAddress table;

		ObjectAddressSet(table, RelationRelationId, paxos_table_relid(op->table_ids[i]));
		add_exact_object_address(&table, targets);
		paxos_ddl_forget_table(op->table_ids[i], table.objectId);
	}
	CommandCounterIncrement();
	PG_TRY();
	{
		performMultipleDeletions(targets, DROP_RESTRICT, PERFORM_DELETION_QUIETLY);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
			(void) paxos_err_decided();
		PG_RE_THROW();
	}
	PG_END_TRY();
	free_object_addresses(targets);
	CommandCounterIncrement();
	for (int i = 0; !checking && i < op->n_objects; i++)
		paxos_object_forget(op->object_ids[i]);
}

void
paxos_object_apply(const PaxosDdlOp *op, int64 number, bool checking)
{
	List *statements = raw_parser(op->sql, RAW_PARSE_DEFAULT);

	/* Bodies of functions may name what this node has not yet; nothing calls them here. */
	(void) set_config_option("check_function_bodies", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	switch (op->kind)
	{
		case PAXOS_DDL_CREATE_OBJECT:
			create(op, statements, number, checking);
			break;
		case PAXOS_DDL_ALTER_OBJECT:
		case PAXOS_DDL_NOTE_OBJECT:
			change(op, statements, number, checking);
			break;
		case PAXOS_DDL_DROP_OBJECT:
			drop(op, checking);
			break;
		default:
			elog(ERROR, "statement of an unknown kind %d", (int) op->kind);
	}
}

/* ------------------------------------------------------------------
 * Beforehand
 * ------------------------------------------------------------------
 */

char *
paxos_object_try(const PaxosDdlOp *op)
{
	PaxosTrial trial;
	char *volatile lack = NULL;
	Oid user;
	int security;

	/* Who is behind, or ahead, has another answer than it will have at the slot. */
	if (!unchanged(op))
		return NULL;
	paxos_trial_begin(&trial);
	GetUserIdAndSecContext(&user, &security);
	PG_TRY();
	{
		paxos_err_forget();
		SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
		(void) paxos_ddl_begin_apply();
		(void) set_config_option("client_min_messages", "error", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
		paxos_object_apply(op, 0, true);
		SetUserIdAndSecContext(user, security);
		paxos_trial_end(&trial);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(trial.context);
		error = CopyErrorData();
		FlushErrorState();
		paxos_trying = false;
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(trial.context);
		CurrentResourceOwner = trial.owner;
		SetUserIdAndSecContext(user, security);
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);

		/* Who has a lock here, or a row of the catalogs, will have ended, at the slot. */
		if (!paxos_err_was_decided() && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			!paxos_error_of_catalogs(error) && !paxos_trial_met(error))
			lack = error->message;
	}
	PG_END_TRY();
	return lack;
}

/* paxos.try_statement(cluster, version, sender, command) */
Datum
paxos_sql_try_statement(PG_FUNCTION_ARGS)
{
	PaxosCommand command;
	bytea *bytes;
	char *lack;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("command must not be null")));
	bytes = PG_GETARG_BYTEA_PP(3);
	if (!paxos_command_decode(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &command) ||
		command.kind != PAXOS_COMMAND_DDL || command.u.ddl.kind < PAXOS_DDL_CREATE_OBJECT ||
		command.u.ddl.kind > PAXOS_DDL_DROP_OBJECT)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("the command is no statement about objects")));
	lack = paxos_object_try(&command.u.ddl);
	if (lack == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(lack));
}
