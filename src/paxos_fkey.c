/*
 * paxos_fkey.c
 *	  Foreign keys between consensus tables: in the statements that make and drop
 *	  tables, where they are issued and at their slot.
 *
 * What keeps them is not here.  PostgreSQL's own triggers fire where a statement
 * runs: the check of a new child locks its parent FOR KEY SHARE, what a parent's
 * DELETE does to its children (CASCADE, SET NULL ...) is captured like every change,
 * and deferred checks are made before the transaction is proposed.  Between nodes the
 * verdict does the rest: the lock on the parent and the parent's end are keys that
 * do not go together (paxos_window.c), so of a child inserted here and its parent
 * deleted there one is lost.  The learner, which applies what was certified, neither runs
 * the actions again, for their effects are in the set, nor checks: what it would find
 * was decided.  And as these triggers are about other rows than its own, no keyed operation is
 * possible on either of the tables (paxos_trigger.c).
 *
 * A foreign key refers to a consensus table: a row of a local table would
 * be there on one node and not on others.  For the same reason none of a local table may refer
 * to a consensus table (paxos_guard.c).
 *
 * CREATE TABLE is tried with empty copies in the place of the tables it refers to: trying it
 * with these would lock them against the learner.  It goes through the log as
 * CREATE TABLE without foreign keys and an ALTER TABLE ... ADD CONSTRAINT for each; its
 * table_ids are the tables referred to, in the same order (0: the table itself), which
 * are found by their numbers at the slot.  There it is not the owner who adds them: whether he may
 * refer to the table was asked where the statement was issued.
 *
 * In a snapshot they come when all tables are in their places.
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_ddl.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_version.h"

/* A table referred to, and the empty copy that a trial refers to instead. */
typedef struct Parent
{
	Oid relid;
	Oid copy;
} Parent;

/* ------------------------------------------------------------------
 * Where a statement is issued
 * ------------------------------------------------------------------
 */

/* On the whole table, or on every column named. */
static void
check_privilege(Oid parent, const Constraint *c)
{
	AclResult allowed = pg_class_aclcheck(parent, GetUserId(), ACL_REFERENCES);
	ListCell *lc;

	if (allowed == ACLCHECK_OK)
		return;
	foreach (lc, c->pk_attrs)
	{
		AttrNumber attnum = get_attnum(parent, strVal(lfirst(lc)));

		allowed = attnum == InvalidAttrNumber
					  ? ACLCHECK_OK /* said when it is tried */
					  : pg_attribute_aclcheck(parent, attnum, GetUserId(), ACL_REFERENCES);
		if (allowed != ACLCHECK_OK)
			break;
	}
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, get_rel_name(parent));
}

/* The table that a foreign key refers to: a consensus table, locked ACCESS SHARE. */
static Oid
parent_of(const Constraint *c)
{
	Oid parent = RangeVarGetRelid(c->pktable, AccessShareLock, false);

	if (!paxos_is_consensus_table(parent))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a foreign key of a consensus-backed table cannot refer to \"%s\"",
							   c->pktable->relname),
						errdetail("That is no consensus-backed table: its rows are this node's "
								  "alone.")));
	paxos_ddl_refuse_kv(parent, "a foreign key");
	check_privilege(parent, c);
	return parent;
}

static bool
is_self(const RangeVar *pktable, const RangeVar *table, const char *schema)
{
	return strcmp(pktable->relname, table->relname) == 0 &&
		   (pktable->schemaname == NULL || strcmp(pktable->schemaname, schema) == 0);
}

static List *
divert(List *parents, Constraint *c, const RangeVar *table, const char *schema)
{
	Parent *p;
	char *name;
	ListCell *lc;

	if (c->contype != CONSTR_FOREIGN || is_self(c->pktable, table, schema))
		return parents;
	paxos_version_require(PAXOS_VERSION_SETS, "foreign keys of consensus-backed tables");
	p = palloc0(sizeof(Parent));
	p->relid = parent_of(c);
	name = psprintf("paxos_trial_%d_%d", MyProcPid, list_length(parents));
	foreach (lc, parents)
	{
		Parent *known = lfirst(lc);

		/* twice the same: one copy */
		if (known->relid == p->relid)
		{
			c->pktable = makeRangeVar(pstrdup(schema), get_rel_name(known->copy), -1);
			return parents;
		}
	}
	paxos_ddl_run_text(
		psprintf("CREATE TABLE %s (LIKE %s INCLUDING INDEXES) USING heap",
				 quote_qualified_identifier(schema, name),
				 quote_qualified_identifier(get_namespace_name(get_rel_namespace(p->relid)),
											get_rel_name(p->relid))));
	p->copy = get_relname_relid(name, get_namespace_oid(schema, false));
	c->pktable = makeRangeVar(pstrdup(schema), name, -1);
	return lappend(parents, p);
}

List *
paxos_fkey_divert(CreateStmt *stmt, const char *schema)
{
	List *parents = NIL;
	ListCell *lc;
	ListCell *lk;

	foreach (lc, stmt->tableElts)
	{
		Node *element = lfirst(lc);

		if (IsA(element, Constraint))
			parents = divert(parents, (Constraint *) element, stmt->relation, schema);
		else if (IsA(element, ColumnDef))
		{
			foreach (lk, ((ColumnDef *) element)->constraints)
				parents = divert(parents, lfirst_node(Constraint, lk), stmt->relation, schema);
		}
	}
	return parents;
}

/* The constraint of an ALTER TABLE ... ADD CONSTRAINT that is one foreign key. */
static Constraint *
added_key(AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);

	if (list_length(stmt->cmds) != 1 || cmd->subtype != AT_AddConstraint ||
		!IsA(cmd->def, Constraint) || ((Constraint *) cmd->def)->contype != CONSTR_FOREIGN)
		elog(ERROR, "not a foreign key");
	return (Constraint *) cmd->def;
}

/* The statement that adds it; with another table in the place of the copy. */
static char *
write_key(Oid relid, Form_pg_constraint con, Oid parent)
{
	char *definition = TextDatumGetCString(
		OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID, ObjectIdGetDatum(con->oid)));
	char *sql = psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													get_rel_name(relid)),
						 quote_identifier(NameStr(con->conname)), definition);
	RangeVar *at;
	char *copy;

	if (parent == con->confrelid)
		return sql;
	at = added_key((AlterTableStmt *) paxos_ddl_parse_one(sql, T_AlterTableStmt))->pktable;
	copy = quote_qualified_identifier(at->schemaname, at->relname);
	if (strncmp(sql + at->location, copy, strlen(copy)) != 0)
		elog(ERROR, "unexpected foreign key \"%s\"", sql);
	return psprintf("%.*s%s%s", at->location, sql,
					quote_qualified_identifier(get_namespace_name(get_rel_namespace(parent)),
											   get_rel_name(parent)),
					sql + at->location + strlen(copy));
}

static int
compare_keys(const ListCell *a, const ListCell *b)
{
	Oid x = ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(a)))->oid;
	Oid y = ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(b)))->oid;

	return x < y ? -1 : x > y;
}

/* Foreign keys of a table, or to it, in the order in which they were made. */
static List *
keys_at(Oid relid, bool from)
{
	Relation catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	List *keys = NIL;

	ScanKeyInit(&key, from ? Anum_pg_constraint_conrelid : Anum_pg_constraint_confrelid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, from, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		if (((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN)
			keys = lappend(keys, heap_copytuple(tuple));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	list_sort(keys, compare_keys);
	return keys;
}

void
paxos_fkey_write(PaxosDdlOp *op, Oid relid, List *parents)
{
	List *keys = keys_at(relid, true);
	ListCell *lc;
	ListCell *lp;
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, op->sql);
	op->table_ids = palloc(sizeof(int64) * Max(list_length(keys), 1));
	foreach (lc, keys)
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc));
		Oid parent = con->confrelid;

		foreach (lp, parents)
		{
			if (((Parent *) lfirst(lp))->copy == parent)
				parent = ((Parent *) lfirst(lp))->relid;
		}
		appendStringInfo(&out, "; %s", write_key(relid, con, parent));
		op->table_ids[op->n_tables++] = parent == relid ? 0 : paxos_ddl_table_id_of(parent);
	}
	op->sql = out.data;

	/* What is left of the trial is looked through for what is this node's own. */
	foreach (lp, parents)
	{
		ObjectAddress copy;

		ObjectAddressSet(copy, RelationRelationId, ((Parent *) lfirst(lp))->copy);
		performDeletion(&copy, DROP_CASCADE, PERFORM_DELETION_QUIETLY | PERFORM_DELETION_INTERNAL);
	}
}

/* ------------------------------------------------------------------
 * At its slot
 * ------------------------------------------------------------------
 */

/* Errors that the definitions of consensus tables make, and so on every node. */
static bool
of_the_tables(int sqlstate)
{
	return sqlstate == ERRCODE_UNDEFINED_COLUMN || sqlstate == ERRCODE_DATATYPE_MISMATCH ||
		   sqlstate == ERRCODE_INVALID_FOREIGN_KEY || sqlstate == ERRCODE_UNDEFINED_OBJECT ||
		   sqlstate == ERRCODE_DUPLICATE_OBJECT || sqlstate == ERRCODE_FOREIGN_KEY_VIOLATION ||
		   sqlstate == ERRCODE_UNDEFINED_FUNCTION || sqlstate == ERRCODE_INVALID_TABLE_DEFINITION;
}

void
paxos_fkey_apply(const PaxosDdlOp *op, List *statements, Oid relid)
{
	char *schema = get_namespace_name(get_rel_namespace(relid));
	ListCell *lc;
	int n = 0;

	foreach (lc, statements)
	{
		AlterTableStmt *stmt = castNode(AlterTableStmt, lfirst_node(RawStmt, lc)->stmt);
		Constraint *c = added_key(stmt);
		Oid parent = relid;

		if (n >= op->n_tables)
			elog(ERROR, "a foreign key refers to no table");
		if (op->table_ids[n] != 0)
			parent = paxos_ddl_lock_table(op->table_ids[n], ShareRowExclusiveLock);
		n++;
		if (!OidIsValid(parent))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
							errmsg("relation \"%s\" does not exist", c->pktable->relname),
							paxos_err_decided()));

		/* By the names that they have here. */
		stmt->relation = makeRangeVar(schema, get_rel_name(relid), -1);
		c->pktable =
			makeRangeVar(get_namespace_name(get_rel_namespace(parent)), get_rel_name(parent), -1);
		PG_TRY();
		{
			paxos_ddl_run_statement((Node *) stmt, op->sql);
		}
		PG_CATCH();
		{
			if (of_the_tables(geterrcode()))
				(void) paxos_err_decided();
			PG_RE_THROW();
		}
		PG_END_TRY();
		CacheInvalidateRelcacheByRelid(parent);
	}
}

List *
paxos_fkey_partners(Oid relid)
{
	List *partners = NIL;
	ListCell *lc;

	foreach (lc, keys_at(relid, true))
		partners = list_append_unique_oid(
			partners, ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc)))->confrelid);
	foreach (lc, keys_at(relid, false))
		partners = list_append_unique_oid(
			partners, ((Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc)))->conrelid);
	return list_delete_oid(partners, relid);
}

void
paxos_fkey_check_drop(const Oid *relids, int n, bool at_slot)
{
	for (int i = 0; i < n; i++)
	{
		ListCell *lc;

		if (!OidIsValid(relids[i]))
			continue;
		foreach (lc, keys_at(relids[i], false))
		{
			Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc));
			bool goes = false;

			for (int j = 0; j < n; j++)
				goes = goes || relids[j] == con->conrelid;
			if (!goes)
				ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
								errmsg("cannot drop table %s because other objects depend on it",
									   get_rel_name(relids[i])),
								errdetail("constraint %s on table %s depends on table %s",
										  NameStr(con->conname), get_rel_name(con->conrelid),
										  get_rel_name(relids[i])),
								errhint("Use DROP ... CASCADE to drop the dependent objects too."),
								at_slot ? paxos_err_decided() : 0));
		}
	}
}

void
paxos_fkey_check_drop_index(Oid table, Oid index, bool at_slot)
{
	ListCell *lc;

	foreach (lc, keys_at(table, false))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc));

		if (con->conindid == index)
			ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
							errmsg("cannot drop index %s because other objects depend on it",
								   get_rel_name(index)),
							errdetail("constraint %s on table %s depends on index %s",
									  NameStr(con->conname), get_rel_name(con->conrelid),
									  get_rel_name(index)),
							at_slot ? paxos_err_decided() : 0));
	}
}
