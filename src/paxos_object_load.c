/*
 * paxos_object_load.c
 *	  Objects that exist on every node (paxos_object.c) as a snapshot brings them: given, and
 *	  loaded; and given up by a node that leaves.
 *
 * Definitions are read from the catalogs, which show them as they are now and not as of the
 * snapshot: so it is looked afterwards whether one was changed since; then the receiver begins
 * anew.  (One that had been changed already would meet that change in the log once more,
 * which no node gets over.)
 *
 * An object that is here already with the number and last change that it has there is the same,
 * and stays; one whose definition is the same gets owner, privileges and comments anew.  Others go, and come anew: types and what else tables use before the tables, in
 * the order in which they need each other; functions that refer to tables behind them.
 *
 * What of this node alone uses an object that has to go is named in the error, and the
 * snapshot is tried again until somebody has taken it away.
 *
 * State: none; all is part of the transaction that loads.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "paxos_ddl_int.h"
#include "paxos_object.h"
#include "paxos_object_int.h"

/* ------------------------------------------------------------------
 * Giving
 * ------------------------------------------------------------------
 */

static bool
contains(List *parts, int64 id)
{
	ListCell *lc;

	foreach (lc, parts)
	{
		if (((PaxosObjectPart *) lfirst(lc))->id == id)
			return true;
	}
	return false;
}

/* What it needs comes first; a circle there cannot be. */
static List *
describe(List *parts, int64 id, int depth)
{
	PaxosDdlOp op = {0};
	PaxosObjectPart *part;
	ObjectAddress object;
	int64 altered;
	Oid nsp;

	if (contains(parts, id) || depth > 100 || !paxos_object_of_id(id, &object, &altered))
		return parts;
	paxos_object_needs(&op, &object);
	nsp = object.classId == NamespaceRelationId ? InvalidOid : paxos_object_schema(&object);
	if (OidIsValid(nsp) && paxos_object_id(NamespaceRelationId, nsp) != 0)
		paxos_object_need(&op, paxos_object_id(NamespaceRelationId, nsp));
	for (int i = 0; i < op.n_objects; i++)
		parts = describe(parts, op.object_ids[i], depth + 1);
	part = palloc0(sizeof(PaxosObjectPart));
	part->id = id;
	part->altered = altered;
	part->late = paxos_object_late(&object);
	part->owner = GetUserNameFromId(paxos_object_owner(&object), false);
	part->definition = paxos_object_definition(&object);
	part->rest = paxos_object_rest(&object);
	return lappend(parts, part);
}

List *
paxos_object_describe_all(void)
{
	List *parts = NIL;
	ListCell *lc;

	foreach (lc, paxos_object_ids())
		parts = describe(parts, *(int64 *) lfirst(lc), 0);
	return parts;
}

/* ------------------------------------------------------------------
 * Taking away
 * ------------------------------------------------------------------
 */

static bool
stays(List *coming, int64 id, const ObjectAddress *object, int64 altered)
{
	ListCell *lc;

	foreach (lc, coming)
	{
		PaxosObjectPart *part = lfirst(lc);

		if (part->id != id)
			continue;
		return !part->late &&
			   (part->altered == altered || object->classId == NamespaceRelationId ||
				(strcmp(paxos_object_kind(object), "DOMAIN") != 0 && /* CHECK ... NOT VALID */
				 strcmp(paxos_object_definition(object), part->definition) == 0));
	}
	return false;
}

/* Of those that use tables (late), or of the others: is it gone, or another, in what comes? */
static bool
goes(List *coming, int64 id, bool late)
{
	ObjectAddress object;
	int64 altered;

	return paxos_object_of_id(id, &object, &altered) && !stays(coming, id, &object, altered) &&
		   paxos_object_late(&object) == late;
}

bool
paxos_objects_differ(List *coming)
{
	ListCell *lc;

	foreach (lc, paxos_object_ids())
	{
		if (goes(coming, *(int64 *) lfirst(lc), false))
			return true;
	}
	return false;
}

static bool
has_id(List *ids, int64 id)
{
	ListCell *lc;

	foreach (lc, ids)
	{
		if (*(int64 *) lfirst(lc) == id)
			return true;
	}
	return false;
}

static void
delete_all(List *ids)
{
	ObjectAddresses *targets = new_object_addresses();
	List *parts = NIL;
	ListCell *lc;

	foreach (lc, ids)
	{
		ObjectAddress object;
		int64 altered;

		if (!paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered))
			continue;
		add_exact_object_address(&object, targets);
		parts = list_concat(parts, paxos_object_parts(&object));
	}
	paxos_object_check_users(parts);
	performMultipleDeletions(targets, DROP_RESTRICT, PERFORM_DELETION_QUIETLY);
	free_object_addresses(targets);
	CommandCounterIncrement();
	foreach (lc, ids)
		paxos_object_forget(*(int64 *) lfirst(lc));
}

void
paxos_objects_drop(List *coming, bool late)
{
	List *going = NIL;
	ListCell *lc;

	foreach (lc, paxos_object_ids())
	{
		if (goes(coming, *(int64 *) lfirst(lc), late))
			going = lappend(going, lfirst(lc));
	}

	/* And what uses them, to be made again; grows on the way. */
	for (int i = 0; i < list_length(going); i++)
	{
		ObjectAddress object;
		int64 altered;

		if (!paxos_object_of_id(*(int64 *) list_nth(going, i), &object, &altered))
			continue;
		foreach (lc, paxos_object_uses(paxos_object_parts(&object)))
		{
			int64 *id = palloc(sizeof(int64));

			if (paxos_object_place(&((PaxosUse *) lfirst(lc))->user, id) == PAXOS_PLACE_OBJECT &&
				!has_id(going, *id))
				going = lappend(going, id);
		}
	}
	if (going != NIL)
		delete_all(going);
}

/* ------------------------------------------------------------------
 * Making
 * ------------------------------------------------------------------
 */

/* Whoever does not exist on this node cannot have privileges. */
static void
run_rest(const char *sql)
{
	Node *stmt = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;

	if (IsA(stmt, GrantStmt))
	{
		RoleSpec *role = linitial_node(RoleSpec, ((GrantStmt *) stmt)->grantees);

		if (role->roletype == ROLESPEC_CSTRING && !OidIsValid(get_role_oid(role->rolename, true)))
		{
			ereport(LOG, (errmsg("paxos learner: role \"%s\" does not exist on this node and gets "
								 "no privileges: %s",
								 role->rolename, sql)));
			return;
		}
	}
	paxos_ddl_run_statement(stmt, sql);
}

/* Privileges and comments as they are by nature, for those that come. */
static void
forget_rest(const ObjectAddress *object)
{
	ListCell *lc;

	foreach (lc, paxos_object_rest(object))
	{
		char *sql = lfirst(lc);
		Node *stmt = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT))->stmt;

		if (IsA(stmt, GrantStmt))
		{
			GrantStmt *grant = (GrantStmt *) stmt;

			grant->is_grant = false;
			grant->grant_option = false;
			grant->behavior = DROP_CASCADE;
		}
		else if (IsA(stmt, CommentStmt))
			((CommentStmt *) stmt)->comment = NULL;
		else
			continue; /* a constraint that is not valid */
		paxos_ddl_run_statement(stmt, sql);
	}
}

static void
give(const PaxosObjectPart *part, const ObjectAddress *object, bool with_constraints)
{
	ListCell *lc;

	run_rest(psprintf("ALTER %s %s OWNER TO %s", paxos_object_kind(object),
					  paxos_object_name(object), quote_identifier(part->owner)));
	foreach (lc, part->rest)
	{
		if (with_constraints || strncmp(lfirst(lc), "ALTER ", 6) != 0)
			run_rest(lfirst(lc));
	}
}

/* It is the same but for its owner, privileges and comments, and, of a schema, its name. */
static void
refresh(const PaxosObjectPart *part, const ObjectAddress *object)
{
	Node *stmt = linitial_node(RawStmt, raw_parser(part->definition, RAW_PARSE_DEFAULT))->stmt;

	(void) paxos_ddl_role_here(part->owner);
	if (object->classId == NamespaceRelationId &&
		strcmp(get_namespace_name(object->objectId),
			   castNode(CreateSchemaStmt, stmt)->schemaname) != 0)
		run_rest(psprintf("ALTER SCHEMA %s RENAME TO %s", paxos_object_name(object),
						  quote_identifier(castNode(CreateSchemaStmt, stmt)->schemaname)));
	forget_rest(object);
	give(part, object, false);
	paxos_object_changed(part->id, part->altered);
}

static void
load(const PaxosObjectPart *part)
{
	Node *stmt = linitial_node(RawStmt, raw_parser(part->definition, RAW_PARSE_DEFAULT))->stmt;
	ObjectType type;
	Node *name;
	ObjectAddress object;

	if (!paxos_object_made_by(stmt, &type, &name))
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("an object of the snapshot is unknown here: %s", part->definition)));
	(void) paxos_ddl_role_here(part->owner);
	if (paxos_object_find(type, name, &object))
	{
		if (strcmp(paxos_object_definition(&object), part->definition) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("%s of this node is in the way", getObjectDescription(&object, false)),
					 errhint("Rename or drop it.")));
	}
	else
	{
		paxos_ddl_run_statement(stmt, part->definition);
		if (!paxos_object_find(type, name, &object))
			elog(ERROR, "nothing was made by \"%s\"", part->definition);
	}
	give(part, &object, true);
	paxos_object_record(part->id, &object, part->altered);
}

void
paxos_objects_load(List *coming, bool late)
{
	int nest_level = NewGUCNestLevel();
	ListCell *lc;

	(void) set_config_option("check_function_bodies", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	foreach (lc, coming)
	{
		PaxosObjectPart *part = lfirst(lc);
		ObjectAddress object;
		int64 altered;

		if (part->late != late)
			continue;
		if (!paxos_object_of_id(part->id, &object, &altered))
			load(part);
		else if (altered != part->altered)
			refresh(part, &object);
	}
	AtEOXact_GUC(true, nest_level);
}

/* ------------------------------------------------------------------
 * Leaving
 * ------------------------------------------------------------------
 */

/* Does something use it that does not go? */
static bool
used_otherwise(const ObjectAddress *object, List *going)
{
	ListCell *lc;

	foreach (lc, paxos_object_uses(paxos_object_parts(object)))
	{
		int64 id;

		if (paxos_object_place(&((PaxosUse *) lfirst(lc))->user, &id) != PAXOS_PLACE_OBJECT ||
			!has_id(going, id))
			return true;
	}
	return false;
}

void
paxos_objects_leave(bool late)
{
	List *going = NIL;
	bool again = true;
	ListCell *lc;

	foreach (lc, paxos_object_ids())
	{
		ObjectAddress object;
		int64 altered;

		if (paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered) &&
			paxos_object_late(&object) == late)
			going = lappend(going, lfirst(lc));
	}
	while (again)
	{
		again = false;
		foreach (lc, going)
		{
			ObjectAddress object;
			int64 altered;

			if (paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered) &&
				used_otherwise(&object, going))
			{
				going = foreach_delete_current (going, lc);
				again = true;
			}
		}
	}
	if (going != NIL)
		delete_all(going);
	foreach (lc, late ? NIL : paxos_object_ids())
		paxos_object_forget(*(int64 *) lfirst(lc));
}
