/*
 * paxos_grant.c
 *	  GRANT and REVOKE on consensus tables and their sequences, where they are issued; and
 *	  the statements that would take or give such privileges on this node only, refused.
 *
 * A statement is tried as it stands, and what it did taken back: PostgreSQL says what is
 * wrong with it.  Then it is written anew, one statement for each relation, because names
 * mean what they mean here: roles as they are called, a sequence by the column it belongs
 * to.  It is carried out at its slot as the owner, or as the one who granted by his grant
 * option (paxos_alter_apply.c); so who that is must be the same for all its tables, and
 * every node must have the roles (asked before it is sent).
 *
 * Like every statement about a table it carries the number of the last change of the
 * table's definition; if somebody was quicker, all is looked at anew.
 *
 * Not here: GRANT on schemas, types and functions of all nodes (paxos_object_issue.c uses
 * what writes a statement down); policies (paxos_policy.c).
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_shdepend.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_object.h"

void
paxos_ddl_put_privileges(StringInfo out, const GrantStmt *stmt)
{
	ListCell *lc;

	appendStringInfoString(out, stmt->is_grant ? "GRANT " : "REVOKE ");
	if (!stmt->is_grant && stmt->grant_option)
		appendStringInfoString(out, "GRANT OPTION FOR ");
	if (stmt->privileges == NIL)
		appendStringInfoString(out, "ALL");
	foreach (lc, stmt->privileges)
	{
		AccessPriv *p = lfirst_node(AccessPriv, lc);
		ListCell *lk;

		appendStringInfo(out, "%s%s", foreach_current_index(lc) > 0 ? ", " : "",
						 p->priv_name != NULL ? p->priv_name : "ALL");
		foreach (lk, p->cols)
			appendStringInfo(out, "%s%s", foreach_current_index(lk) > 0 ? ", " : " (",
							 quote_identifier(strVal(lfirst(lk))));
		if (p->cols != NIL)
			appendStringInfoChar(out, ')');
	}
}

void
paxos_ddl_put_grantees(StringInfo out, const GrantStmt *stmt, List **roles)
{
	ListCell *lc;

	appendStringInfoString(out, stmt->is_grant ? " TO " : " FROM ");
	foreach (lc, stmt->grantees)
	{
		RoleSpec *role = lfirst_node(RoleSpec, lc);

		appendStringInfoString(out, foreach_current_index(lc) > 0 ? ", " : "");
		if (role->roletype == ROLESPEC_PUBLIC)
			appendStringInfoString(out, "PUBLIC");
		else
		{
			char *name = GetUserNameFromId(get_rolespec_oid(role, false), false);

			appendStringInfoString(out, quote_identifier(name));
			*roles = lappend(*roles, name);
		}
	}
	if (stmt->is_grant && stmt->grant_option)
		appendStringInfoString(out, " WITH GRANT OPTION");
	if (!stmt->is_grant && stmt->behavior == DROP_CASCADE)
		appendStringInfoString(out, " CASCADE");
}

/* What it does and says is found out here, and taken back. */
void
paxos_ddl_try_grant(PaxosUtility *u)
{
	PaxosUtility trial_u = *u;
	PaxosTrial trial;

	trial_u.pstmt = copyObject(u->pstmt);
	trial_u.read_only_tree = false;
	paxos_trial_begin(&trial);
	PG_TRY();
	{
		paxos_utility_next(&trial_u);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

/* The name of the column whose sequence it is. */
static char *
column_of_sequence(Oid sequence)
{
	Oid table;
	int32 column;

	if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) &&
		!sequenceIsOwned(sequence, DEPENDENCY_INTERNAL, &table, &column))
		elog(ERROR, "sequence %u is not owned", sequence);
	return get_attname(table, (AttrNumber) column, false);
}

/* All its objects are, or belong to, consensus tables. */
static bool
grant(PaxosUtility *u, GrantStmt *stmt, List *relids)
{
	int n = list_length(relids);
	PaxosDdlOp op = {0};
	StringInfoData sql;
	List *roles = NIL;
	ListCell *lc;
	Oid grantor = InvalidOid;

	paxos_ddl_begin_statement(u, stmt->is_grant ? "GRANT on a consensus-backed table"
												: "REVOKE on a consensus-backed table");
	paxos_ddl_try_grant(u);
	initStringInfo(&sql);
	op.kind = PAXOS_DDL_NOTE;
	op.flags = PAXOS_DDL_AS_OWNER;
	op.n_tables = n;
	op.table_ids = palloc_array(int64, n);
	op.altered = palloc_array(int64, n);
	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);
		Oid table = paxos_consensus_owner(relid);
		Relation rel = OidIsValid(table) ? try_relation_open(table, AccessShareLock) : NULL;
		bool sequence;
		Oid owner;
		char *schema;

		/* While the lock was waited for, a column may have gone with its sequence: what the
		 * statement says of that must not be said of the table. */
		if (rel != NULL && paxos_consensus_owner(relid) != table)
		{
			relation_close(rel, AccessShareLock);
			rel = NULL;
		}
		if (rel == NULL)
			return false;
		sequence = get_rel_relkind(relid) == RELKIND_SEQUENCE;
		schema = paxos_schema_name(RelationGetNamespace(rel));

		/* Who may act as the owner grants as the owner; another by his grant option. */
		owner = PaxosOwnsRelation(table, GetUserId()) ? rel->rd_rel->relowner : GetUserId();
		if (OidIsValid(grantor) && owner != grantor)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot change privileges on consensus-backed tables of several owners "
							"in one statement"),
					 errhint("Name them one by one.")));
		grantor = owner;
		paxos_check_sees_schema(owner, RelationGetNamespace(rel));
		if (paxos_object_id(NamespaceRelationId, RelationGetNamespace(rel)) != 0)
			paxos_object_need(&op, paxos_object_id(NamespaceRelationId, RelationGetNamespace(rel)));
		op.table_ids[foreach_current_index(lc)] = paxos_known_table_id(table);
		op.altered[foreach_current_index(lc)] =
			paxos_table_altered(op.table_ids[foreach_current_index(lc)]);
		if (op.schema == NULL)
			op.schema = schema;
		appendStringInfoString(&sql, sql.len > 0 ? "; " : "");
		paxos_ddl_put_privileges(&sql, stmt);
		if (sequence)
			appendStringInfo(&sql, " ON SEQUENCE %s", quote_identifier(column_of_sequence(relid)));
		else
			appendStringInfo(&sql, " ON TABLE %s",
							 quote_qualified_identifier(schema, RelationGetRelationName(rel)));
		paxos_ddl_put_grantees(&sql, stmt, &roles);
		relation_close(rel, AccessShareLock);
	}
	op.owner = GetUserNameFromId(grantor, false);
	op.sql = sql.data;
	paxos_ddl_ask_roles(lappend(roles, op.owner));
	if (u->qc)
		SetQueryCompletion(u->qc, stmt->is_grant ? CMDTAG_GRANT : CMDTAG_REVOKE, 0);
	return paxos_ddl_submit(&op);
}

/*
 * ON ALL TABLES (SEQUENCES) IN SCHEMA: which those are is each node's own, and so would be
 * what becomes of the consensus tables among them.
 */
static void
refuse_all_in_schema(const GrantStmt *stmt)
{
	bool sequences = stmt->objtype == OBJECT_SEQUENCE;
	Relation catalog = table_open(RelationRelationId, AccessShareLock);
	SysScanDesc scan;
	HeapTuple tuple;
	List *nsps = NIL;
	ListCell *lc;

	foreach (lc, stmt->objects)
		nsps = lappend_oid(nsps, LookupExplicitNamespace(strVal(lfirst(lc)), false));
	scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if ((sequences ? form->relkind == RELKIND_SEQUENCE
					   : form->relkind == RELKIND_RELATION ||
							 form->relkind == RELKIND_PARTITIONED_TABLE) &&
			list_member_oid(nsps, form->relnamespace) &&
			OidIsValid(paxos_consensus_owner(form->oid)))
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot change privileges on all %s of schema \"%s\": \"%s\" %s",
						sequences ? "sequences" : "tables", get_namespace_name(form->relnamespace),
						NameStr(form->relname),
						sequences ? "belongs to a consensus-backed table" : "is consensus-backed"),
				 errdetail("It would change them on this node only."),
				 errhint("Name consensus-backed tables and their sequences, and the others in "
						 "another statement.")));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* DROP OWNED takes back what the roles have been granted, on this node only. */
void
paxos_grant_check_drop_owned(const DropOwnedStmt *stmt)
{
	Relation catalog = table_open(SharedDependRelationId, AccessShareLock);
	ListCell *lc;

	foreach (lc, stmt->roles)
	{
		Oid role = get_rolespec_oid(lfirst_node(RoleSpec, lc), false);
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], Anum_pg_shdepend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(AuthIdRelationId));
		ScanKeyInit(&key[1], Anum_pg_shdepend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(role));
		scan = systable_beginscan(catalog, SharedDependReferenceIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_shdepend d = (Form_pg_shdepend) GETSTRUCT(tuple);

			if (d->dbid == MyDatabaseId && d->deptype == SHARED_DEPENDENCY_ACL &&
				paxos_object_id(d->classid, d->objid) != 0)
			{
				ObjectAddress object;

				ObjectAddressSet(object, d->classid, d->objid);
				ereport(
					ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot drop what role \"%s\" owns: it has privileges on %s, "
							"which exists on every node",
							GetUserNameFromId(role, false), getObjectDescription(&object, false)),
					 errdetail("They would be taken back on this node only."),
					 errhint("Use REVOKE first.")));
			}
			if (d->dbid == MyDatabaseId && d->classid == RelationRelationId &&
				d->deptype == SHARED_DEPENDENCY_ACL && OidIsValid(paxos_consensus_owner(d->objid)))
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("cannot drop what role \"%s\" owns: it has privileges on "
									   "consensus-backed \"%s\"",
									   GetUserNameFromId(role, false), get_rel_name(d->objid)),
								errdetail("They would be taken back on this node only."),
								errhint("Use REVOKE first.")));
			if (d->dbid == MyDatabaseId && d->classid == PolicyRelationId &&
				OidIsValid(paxos_policy_table(d->objid)))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot drop what role \"%s\" owns: it is named by a policy of "
								"consensus-backed \"%s\"",
								GetUserNameFromId(role, false),
								get_rel_name(paxos_policy_table(d->objid))),
						 errdetail("It would be taken out of it on this node only."),
						 errhint("Use ALTER POLICY or DROP POLICY first.")));
		}
		systable_endscan(scan);
	}
	table_close(catalog, AccessShareLock);
}

/*
 * The relations a GRANT is about; '*others': there are some that do not go through the
 * log.
 */
static List *
granted_relations(GrantStmt *stmt, bool *others)
{
	List *result = NIL;
	ListCell *lc;

	*others = false;
	if (stmt->objtype != OBJECT_TABLE && stmt->objtype != OBJECT_SEQUENCE)
		return NIL;
	if (stmt->targtype == ACL_TARGET_OBJECT)
	{
		foreach (lc, stmt->objects)
		{
			Oid relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);

			if (OidIsValid(relid) && OidIsValid(paxos_consensus_owner(relid)))
				result = lappend_oid(result, relid);
			else
				*others = true;
		}
	}
	return result;
}

bool
paxos_grant_statement(PaxosUtility *u)
{
	GrantStmt *stmt = castNode(GrantStmt, u->pstmt->utilityStmt);

	for (;;)
	{
		bool others;
		List *relids;

		if (stmt->targtype == ACL_TARGET_ALL_IN_SCHEMA &&
			(stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE))
			refuse_all_in_schema(stmt);
		relids = granted_relations(stmt, &others);
		if (relids == NIL)
			return false;
		if (others)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot change privileges on consensus-backed tables and "
								   "others in one statement"),
							errhint("Name them one by one.")));
		if (grant(u, stmt, relids))
			return true;

		/* Somebody was quicker: what there is to say is said of what there is now. */
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}
