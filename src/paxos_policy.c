/*
 * paxos_policy.c
 *	  Row-level security of consensus tables: CREATE, ALTER, DROP and RENAME of policies
 *	  through the log, where they are issued.  (ENABLE ROW LEVEL SECURITY and its kin
 *	  are clauses of ALTER TABLE: paxos_alter.c, paxos_alter_write.c.)
 *
 * A policy is heeded where a statement runs, by PostgreSQL, for the user who issued it.
 * The learner applies effects, below all that policies are put into, and asks none.  So
 * a table with row-level security is changed by write sets alone (paxos_trigger.c): a keyed
 * operation is carried out by every node as the table's owner.
 *
 * The statement is tried on an empty copy of the table (paxos_alter.c) and the policy
 * written down from the catalogs, by paxos.policies_of(), as it goes into a snapshot.  An
 * altered policy is dropped and made anew.
 *
 * What a policy's expressions refer to must be there on every node, and must not be able to go
 * on one of them alone: the table's own columns, what is built in or of an extension, and types and
 * functions of all nodes; no other table.  Its roles are asked for on all members.
 *
 * No state; at the slot: paxos_alter_apply.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "commands/policy.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodes.h"
#include "rewrite/rewriteManip.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_extension.h"
#include "paxos_object.h"
#include "paxos_version.h"

/* A sub-select, be it of the table itself, would be written with the name of the copy. */
static void
check_expression(HeapTuple tuple, Relation catalog, AttrNumber column)
{
	bool isnull;
	Datum expr = heap_getattr(tuple, column, RelationGetDescr(catalog), &isnull);

	if (!isnull && checkExprHasSubLink(stringToNode(TextDatumGetCString(expr))))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a policy of a consensus-backed table cannot have a sub-select"),
						errhint("Use the table's own columns, and functions that are built in.")));
}

static void
check_expressions(Oid policy)
{
	Relation catalog = table_open(PolicyRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_policy_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(policy));
	scan = systable_beginscan(catalog, PolicyOidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		check_expression(tuple, catalog, Anum_pg_policy_polqual);
		check_expression(tuple, catalog, Anum_pg_policy_polwithcheck);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* An object of all nodes that a newcomer makes before the tables, or of an extension. */
static bool
everywhere(PaxosDdlOp *op, const ObjectAddress *other)
{
	Oid extension = paxos_extension_of(other->classId, other->objectId);
	ObjectAddress object;
	int64 altered;
	int64 id;

	if (OidIsValid(extension))
	{
		op->extensions = list_append_unique_oid(op->extensions, extension);
		return true;
	}
	if (paxos_object_place(other, &id) != PAXOS_PLACE_OBJECT ||
		(paxos_object_of_id(id, &object, &altered) && paxos_object_late(&object)))
		return false;
	paxos_object_need(op, id);
	return true;
}

/* Beside the table itself it may refer to what every server has. */
static void
check_parts(PaxosDdlOp *op, Oid policy, Oid copy)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(PolicyRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(policy));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress other;

		if (d->refclassid == RelationRelationId && d->refobjid == copy)
			continue;
		ObjectAddressSet(other, d->refclassid, d->refobjid);
		if (everywhere(op, &other))
			continue;
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s cannot be used by a policy of a consensus-backed table",
							   getObjectDescription(&other, false)),
						errdetail("A policy would be in the way of its end on this node, and not "
								  "on others, or refer to what others have not."),
						errhint("Use the table's own columns, and functions that are built in or "
								"were made on all nodes, with paxos.ddl = 'all'.")));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/*
 * The statements that make the policies of a table, or the one of this name, for a table that
 * is written so; in the caller's memory.
 */
List *
paxos_policies_of(Oid table, const char *written, const char *name)
{
	Oid types[3] = {OIDOID, TEXTOID, TEXTOID};
	Datum args[3] = {ObjectIdGetDatum(table), CStringGetTextDatum(written), (Datum) 0};
	char nulls[4] = {' ', ' ', 'n', '\0'};

	if (name != NULL)
	{
		args[2] = CStringGetTextDatum(name);
		nulls[2] = ' ';
	}
	return paxos_ddl_texts(
		"SELECT statement FROM paxos.policies_of($1, $2) WHERE name = $3 OR $3 IS NULL", 3, types,
		args, nulls);
}

/* The consensus table that a policy is of, if it is one. */
Oid
paxos_policy_table(Oid policy)
{
	Relation catalog = table_open(PolicyRelationId, AccessShareLock);
	Oid table = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_policy_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(policy));
	scan = systable_beginscan(catalog, PolicyOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		table = ((Form_pg_policy) GETSTRUCT(tuple))->polrelid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return OidIsValid(table) ? paxos_consensus_owner(table) : InvalidOid;
}

/* A statement about a policy. */
typedef struct About
{
	RangeVar **table;
	const char *name;
	const char *what;
	CommandTag tag;
	List *roles;     /* RoleSpec, new ones */
	RangeVar *named; /* by DROP */
} About;

static bool
about(Node *stmt, About *a)
{
	memset(a, 0, sizeof(*a));
	switch (nodeTag(stmt))
	{
		case T_CreatePolicyStmt:
			a->table = &((CreatePolicyStmt *) stmt)->table;
			a->name = ((CreatePolicyStmt *) stmt)->policy_name;
			a->what = "CREATE POLICY on a consensus-backed table";
			a->tag = CMDTAG_CREATE_POLICY;
			a->roles = ((CreatePolicyStmt *) stmt)->roles;
			return true;
		case T_AlterPolicyStmt:
			a->table = &((AlterPolicyStmt *) stmt)->table;
			a->name = ((AlterPolicyStmt *) stmt)->policy_name;
			a->what = "ALTER POLICY on a consensus-backed table";
			a->tag = CMDTAG_ALTER_POLICY;
			a->roles = ((AlterPolicyStmt *) stmt)->roles;
			return true;
		case T_RenameStmt:
			if (((RenameStmt *) stmt)->renameType != OBJECT_POLICY)
				return false;
			a->table = &((RenameStmt *) stmt)->relation;
			a->name = ((RenameStmt *) stmt)->subname;
			a->what = "ALTER POLICY on a consensus-backed table";
			a->tag = CMDTAG_ALTER_POLICY;
			return true;
		case T_DropStmt:
		{
			List *names;

			if (((DropStmt *) stmt)->removeType != OBJECT_POLICY)
				return false;
			names = linitial_node(List, ((DropStmt *) stmt)->objects);
			if (list_length(names) < 2)
				return false;
			a->named =
				makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1));
			a->table = &a->named;
			a->name = strVal(llast(names));
			a->what = "DROP POLICY on a consensus-backed table";
			a->tag = CMDTAG_DROP_POLICY;
			return true;
		}
		default:
			return false;
	}
}

/* Tried on a copy, which says all that PostgreSQL says; the text that makes it anew. */
static char *
try_policy(PaxosUtility *u, PaxosDdlOp *op, Oid table, const char *table_name,
		   const char *qualified)
{
	PaxosUtility trial_u = *u;
	PaxosTrial trial;
	About a;
	char *schema = psprintf("paxos_trial_%d", MyProcPid);
	char *sql = NULL;

	(void) about(paxos_utility_copy(&trial_u), &a);
	*a.table = makeRangeVar(schema, pstrdup(table_name), -1);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid copy = paxos_ddl_make_copy(table, schema);

		paxos_trial_show(schema);
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		if (IsA(trial_u.pstmt->utilityStmt, RenameStmt))
			sql =
				psprintf("ALTER POLICY %s ON %s RENAME TO %s", quote_identifier(a.name), qualified,
						 quote_identifier(((RenameStmt *) trial_u.pstmt->utilityStmt)->newname));
		else
		{
			Oid policy = get_relation_policy_oid(copy, a.name, false);
			List *written = paxos_policies_of(copy, qualified, a.name);

			if (list_length(written) != 1)
				elog(ERROR, "policy \"%s\" cannot be written down", a.name);
			check_parts(op, policy, copy);
			check_expressions(policy);
			sql = psprintf(
				"%s%s",
				IsA(trial_u.pstmt->utilityStmt, AlterPolicyStmt)
					? psprintf("DROP POLICY %s ON %s; ", quote_identifier(a.name), qualified)
					: "",
				(char *) linitial(written));
		}
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
	return sql;
}

static void
ask_for_roles(const List *specs, const char *owner)
{
	List *names = list_make1(pstrdup(owner));
	ListCell *lc;

	foreach (lc, specs)
	{
		RoleSpec *role = lfirst_node(RoleSpec, lc);

		if (role->roletype != ROLESPEC_PUBLIC)
			names = lappend(names, GetUserNameFromId(get_rolespec_oid(role, false), false));
	}
	paxos_ddl_ask_roles(names);
}

/* False: the definition of the table has changed meanwhile. */
static bool
send_policy(PaxosUtility *u, const About *a, Oid table)
{
	Node *stmt = u->pstmt->utilityStmt;
	PaxosDdlOp op = {0};
	Relation rel;
	char *name;
	char *qualified;
	int64 table_id;
	int64 altered;
	int64 schema;
	Oid owner;
	Oid nsp;

	paxos_ddl_begin_statement(u, a->what);
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "policies of consensus-backed tables");
	rel = try_relation_open(table, AccessShareLock);
	if (rel == NULL)
		return false;
	name = pstrdup(RelationGetRelationName(rel));
	nsp = RelationGetNamespace(rel);
	owner = rel->rd_rel->relowner;
	relation_close(rel, NoLock);
	op.schema = paxos_schema_name(nsp);
	op.owner = GetUserNameFromId(owner, false);
	paxos_ddl_check_owner(table);

	/* It is carried out as the owner, and privileges there change through the log, too. */
	paxos_check_sees_schema(owner, nsp);
	schema = paxos_object_id(NamespaceRelationId, nsp);
	if (schema != 0)
		paxos_object_need(&op, schema);
	paxos_ddl_refuse_kv(table, "a policy");
	table_id = paxos_known_table_id(table);
	altered = paxos_table_altered(table_id);
	qualified = quote_qualified_identifier(op.schema, name);
	op.kind = PAXOS_DDL_ALTER;
	op.flags = PAXOS_DDL_AS_OWNER;
	op.n_tables = 1;
	op.table_ids = &table_id;
	op.altered = &altered;
	if (u->qc)
		SetQueryCompletion(u->qc, a->tag, 0);
	if (IsA(stmt, DropStmt))
	{
		if (!OidIsValid(get_relation_policy_oid(table, a->name, ((DropStmt *) stmt)->missing_ok)))
		{
			ereport(NOTICE, (errmsg("policy \"%s\" for relation \"%s\" does not exist, skipping",
									a->name, name)));
			UnlockRelationOid(table, AccessShareLock);
			return true;
		}
		op.sql = psprintf("DROP POLICY %s ON %s", quote_identifier(a->name), qualified);
	}
	else
	{
		op.sql = try_policy(u, &op, table, name, qualified);
		ask_for_roles(a->roles, op.owner);
	}
	UnlockRelationOid(table, AccessShareLock);
	return paxos_ddl_submit(&op);
}

bool
paxos_policy_statement(PaxosUtility *u)
{
	About a;

	if (!about(u->pstmt->utilityStmt, &a))
		return false;
	for (;;)
	{
		Oid table = RangeVarGetRelid(*a.table, NoLock, true);

		if (!OidIsValid(table) || !paxos_is_consensus_table(table))
			return false;
		if (send_policy(u, &a, table))
			return true;

		/* Somebody was quicker: what there is to say is said of what there is now. */
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}
