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
 * ALTER TABLE ... ADD FOREIGN KEY and DROP CONSTRAINT go alike, in statements of their own;
 * the rows are looked at where it is carried out.
 *
 * In a snapshot they come when all tables are in their places.
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
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

/* Its triggers would have to follow every change of the partitions. */
static void
refuse_partitioned(Oid table, const char *which)
{
	if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a foreign key %s partitioned consensus-backed table \"%s\" is not "
							   "supported",
							   which, get_rel_name(table)),
						errhint("A partition may have one, or be referred to.")));
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
	refuse_partitioned(parent, "to");
	check_privilege(parent, c);
	return parent;
}

List *
paxos_fkey_leave_out(List *constraints)
{
	List *others = NIL;
	bool foreign = false; /* DEFERRABLE and the like stand behind what they belong to */
	ListCell *lc;

	foreach (lc, constraints)
	{
		Constraint *c = lfirst_node(Constraint, lc);

		if (c->contype < CONSTR_ATTR_DEFERRABLE)
			foreign = c->contype == CONSTR_FOREIGN;
		if (!foreign)
			others = lappend(others, c);
	}
	return others;
}

static bool
is_self(const RangeVar *pktable, const RangeVar *table, const char *schema)
{
	return strcmp(pktable->relname, table->relname) == 0 &&
		   (pktable->schemaname == NULL || strcmp(pktable->schemaname, schema) == 0);
}

/*
 * An empty copy in a schema of its own, by the table's own name, for messages.  That one may
 * refer to the table has been looked at.
 */
static Oid
empty_copy(Oid relid, int number)
{
	char *schema = psprintf("paxos_trial_%d_%d", MyProcPid, number);
	char *who = (char *) quote_identifier(GetUserNameFromId(GetUserId(), false));
	Oid copy = paxos_ddl_make_copy(relid, schema);
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	paxos_ddl_run_text(psprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, who));
	paxos_ddl_run_text(psprintf("GRANT REFERENCES ON %s TO %s", paxos_qualified_name(copy), who));
	SetUserIdAndSecContext(user, security);
	CommandCounterIncrement();
	return copy;
}

static List *
divert(List *parents, Constraint *c, const RangeVar *table, const char *schema)
{
	Parent *p;
	ListCell *lc;

	if (c->contype != CONSTR_FOREIGN || is_self(c->pktable, table, schema))
		return parents;
	paxos_version_require(PAXOS_VERSION_SETS, "foreign keys of consensus-backed tables");
	p = palloc0(sizeof(Parent));
	p->relid = parent_of(c);
	foreach (lc, parents)
	{
		Parent *known = lfirst(lc);

		/* twice the same: one copy */
		if (known->relid == p->relid)
		{
			c->pktable = paxos_range_var(known->copy);
			return parents;
		}
	}
	p->copy = empty_copy(p->relid, list_length(parents));
	c->pktable = paxos_range_var(p->copy);
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
	char *sql = psprintf("ALTER TABLE %s ADD CONSTRAINT %s %s", paxos_qualified_name(relid),
						 quote_identifier(NameStr(con->conname)), definition);
	RangeVar *at;
	char *copy;

	if (parent == con->confrelid)
		return sql;
	at = added_key((AlterTableStmt *) paxos_ddl_parse_one(sql, T_AlterTableStmt))->pktable;
	copy = quote_qualified_identifier(at->schemaname, at->relname);
	if (strncmp(sql + at->location, copy, strlen(copy)) != 0)
		elog(ERROR, "unexpected foreign key \"%s\"", sql);
	return psprintf("%.*s%s%s", at->location, sql, paxos_qualified_name(parent),
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
		op->table_ids[op->n_tables++] = parent == relid ? 0 : paxos_known_table_id(parent);
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

/* ---- ALTER TABLE ---- */

/* The name PostgreSQL would choose. */
static char *
choose_name(Oid table, const Constraint *c)
{
	StringInfoData columns;
	ListCell *lc;

	initStringInfo(&columns);
	foreach (lc, c->fk_attrs)
	{
		if (columns.len >= NAMEDATALEN)
			break;
		appendStringInfo(&columns, "%s%s", columns.len > 0 ? "_" : "", strVal(lfirst(lc)));
	}
	return ChooseConstraintName(paxos_relation_name(table), columns.data, "fkey",
								get_rel_namespace(table), NIL);
}

static void
check_table(Oid table)
{
	LockRelationOid(table, AccessShareLock);
	if (!PaxosOwnsRelation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(table));
	paxos_ddl_refuse_kv(table, "a foreign key");
	refuse_partitioned(table, "of");
}

/* Tried on empty copies of both tables; the rows are looked at where it is carried out. */
static void
add_key(PaxosUtility *u, AlterTableStmt *stmt, Oid table)
{
	AlterTableStmt *copy = copyObject(stmt);
	Constraint *c = added_key(copy);
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	PaxosTrial trial;
	Oid parent;
	int64 ids[2];

	paxos_ddl_begin_statement(u, "ALTER TABLE of a consensus-backed table");
	paxos_version_require(PAXOS_VERSION_SETS, "foreign keys of consensus-backed tables");
	check_table(table);
	parent = parent_of(c);
	ids[0] = paxos_known_table_id(table);
	ids[1] = paxos_known_table_id(parent);
	op.kind = PAXOS_DDL_FOREIGN_KEY;
	op.schema = paxos_schema_of(table);
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.n_tables = 2;
	op.table_ids = ids;
	if (c->conname == NULL)
		c->conname = choose_name(table, c);

	(void) paxos_utility_copy(&trial_u);
	trial_u.pstmt->utilityStmt = (Node *) copy;
	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid child = empty_copy(table, 0);
		Oid other = child;
		List *keys;
		int nest_level;

		copy->relation = paxos_range_var(child);
		if (parent != table)
			other = empty_copy(parent, 1);
		c->pktable = paxos_range_var(other);
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		keys = keys_at(child, true);
		if (list_length(keys) != 1)
			elog(ERROR, "the foreign key was not made");
		nest_level = paxos_ddl_begin_writing_down();
		op.sql =
			write_key(table, (Form_pg_constraint) GETSTRUCT((HeapTuple) linitial(keys)), parent);
		AtEOXact_GUC(true, nest_level);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
	UnlockRelationOid(parent, AccessShareLock);
	UnlockRelationOid(table, AccessShareLock);
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_ALTER_TABLE, 0);
	paxos_ddl_submit(&op);
}

/* A foreign key of the table by its name; parent: what it refers to. */
static Oid
key_named(Oid table, const char *name, Oid *parent)
{
	ListCell *lc;

	foreach (lc, keys_at(table, true))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc));

		if (strcmp(NameStr(con->conname), name) == 0)
		{
			*parent = con->confrelid;
			return con->oid;
		}
	}
	return InvalidOid;
}

/* A statement about one of them; what it says of the table follows its name. */
static void
change_key(PaxosUtility *u, Oid table, Oid parent, const char *change)
{
	PaxosDdlOp op = {0};
	int64 ids[2];

	paxos_ddl_begin_statement(u, "ALTER TABLE of a consensus-backed table");
	check_table(table);
	ids[0] = paxos_known_table_id(table);
	ids[1] = paxos_known_table_id(parent);
	op.kind = PAXOS_DDL_FOREIGN_KEY;
	op.schema = paxos_schema_of(table);
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.n_tables = 2;
	op.table_ids = ids;
	op.sql = psprintf("ALTER TABLE %s %s", paxos_qualified_name(table), change);
	UnlockRelationOid(table, AccessShareLock);
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_ALTER_TABLE, 0);
	paxos_ddl_submit(&op);
}

static bool
drop_key(PaxosUtility *u, const AlterTableCmd *cmd, Oid table)
{
	Oid parent;

	if (!OidIsValid(key_named(table, cmd->name, &parent)))
		return false;
	change_key(u, table, parent,
			   psprintf("DROP CONSTRAINT %s%s", cmd->missing_ok ? "IF EXISTS " : "",
						quote_identifier(cmd->name)));
	return true;
}

/* ALTER CONSTRAINT: whether it is deferrable. */
static bool
alter_key(PaxosUtility *u, const PaxosAlterConstraint *c, Oid table)
{
	Oid parent;

	if (!PaxosAltersDeferrability(c))
		return false;
	if (!OidIsValid(key_named(table, c->conname, &parent)))
	{
		bool other = OidIsValid(get_relation_constraint_oid(table, c->conname, true));

		ereport(ERROR, (errcode(other ? ERRCODE_WRONG_OBJECT_TYPE : ERRCODE_UNDEFINED_OBJECT),
						other ? errmsg("constraint \"%s\" of relation \"%s\" is not a foreign key "
									   "constraint",
									   c->conname, get_rel_name(table))
							  : errmsg("constraint \"%s\" of relation \"%s\" does not exist",
									   c->conname, get_rel_name(table))));
	}
	change_key(u, table, parent,
			   psprintf("ALTER CONSTRAINT %s %s", quote_identifier(c->conname),
						!c->deferrable    ? "NOT DEFERRABLE"
						: c->initdeferred ? "DEFERRABLE INITIALLY DEFERRED"
										  : "DEFERRABLE INITIALLY IMMEDIATE"));
	return true;
}

bool
paxos_fkey_alter(PaxosUtility *u, AlterTableStmt *stmt, Oid table)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);

	if (list_length(stmt->cmds) != 1 || stmt->objtype != OBJECT_TABLE)
		return false;
	if (cmd->subtype == AT_DropConstraint)
		return drop_key(u, cmd, table);
	if (cmd->subtype == AT_AlterConstraint)
		return alter_key(u, (PaxosAlterConstraint *) cmd->def, table);
	if (cmd->subtype != AT_AddConstraint ||
		castNode(Constraint, cmd->def)->contype != CONSTR_FOREIGN)
		return false;
	add_key(u, stmt, table);
	return true;
}

/* Does one of these clauses give another type to a column of the key?  Not if the key goes. */
static bool
is_retyped(HeapTuple key, Oid table, List *cmds)
{
	Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(key);
	AttrNumber columns[2][INDEX_MAX_KEYS];
	Oid ends[2] = {con->conrelid, con->confrelid};
	bool retyped = false;
	int n;

	DeconstructFkConstraintRow(key, &n, columns[0], columns[1], NULL, NULL, NULL, NULL, NULL);
	for (int i = 0; i < 2 * n; i++)
	{
		ListCell *lc;

		if (ends[i / n] != table)
			continue;
		foreach (lc, cmds)
		{
			AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

			if (cmd->name == NULL ||
				strcmp(cmd->name, cmd->subtype == AT_DropConstraint
									  ? NameStr(con->conname)
									  : get_attname(table, columns[i / n][i % n], false)) != 0)
				continue;
			if (cmd->subtype == AT_DropColumn ||
				(cmd->subtype == AT_DropConstraint && table == con->conrelid))
				return false;
			retyped |= cmd->subtype == AT_AlterColumnType;
		}
	}
	return retyped;
}

void
paxos_fkey_try(Oid table, Oid copy, List *cmds)
{
	int n = 0;

	for (int from = 0; from < 2; from++)
	{
		ListCell *lc;

		foreach (lc, keys_at(table, from == 1))
		{
			HeapTuple key = lfirst(lc);
			Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(key);
			Oid child = copy;
			Oid parent = copy;

			if (!is_retyped(key, table, cmds) ||
				(from == 0 && con->conrelid == table)) /* once is enough */
				continue;
			if (con->conrelid != table)
				child = empty_copy(con->conrelid, n++);
			if (con->confrelid != table)
				parent = empty_copy(con->confrelid, n++);

			/* the copy has something else of its name */
			paxos_ddl_run_text(psprintf("ALTER TABLE %s DROP CONSTRAINT %s",
										paxos_qualified_name(child),
										quote_identifier(NameStr(con->conname))));
			paxos_ddl_run_text(write_key(child, con, parent));
		}
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

/* By the names that the tables have here. */
static void
add_at_slot(const PaxosDdlOp *op, AlterTableStmt *stmt, Oid table, Oid parent)
{
	stmt->relation = paxos_range_var(table);
	added_key(stmt)->pktable = paxos_range_var(parent);
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
	CacheInvalidateRelcacheByRelid(table);
	CacheInvalidateRelcacheByRelid(parent);
}

void
paxos_fkey_apply(const PaxosDdlOp *op, List *statements, Oid relid)
{
	ListCell *lc;
	int n = 0;

	foreach (lc, statements)
	{
		AlterTableStmt *stmt = castNode(AlterTableStmt, lfirst_node(RawStmt, lc)->stmt);
		Oid parent = relid;

		if (n >= op->n_tables)
			elog(ERROR, "a foreign key refers to no table");
		if (op->table_ids[n] != 0)
			parent = paxos_ddl_lock_table(op->table_ids[n], ShareRowExclusiveLock);
		n++;
		if (!OidIsValid(parent))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("relation \"%s\" does not exist", added_key(stmt)->pktable->relname),
					 paxos_err_decided()));
		add_at_slot(op, stmt, relid, parent);
	}
}

/* Both tables are locked first, the one referred to second. */
void
paxos_fkey_apply_alter(const PaxosDdlOp *op)
{
	AlterTableStmt *stmt = (AlterTableStmt *) paxos_ddl_parse_one(op->sql, T_AlterTableStmt);
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	bool drop = cmd->subtype == AT_DropConstraint;
	const char *name;
	LOCKMODE mode = drop ? AccessExclusiveLock : ShareRowExclusiveLock;
	Oid tables[2] = {InvalidOid, InvalidOid};
	Oid key;
	Oid parent;
	ObjectAddress object;

	for (int i = 0; i < 2 && i < op->n_tables; i++)
		tables[i] = paxos_ddl_lock_table(op->table_ids[i], mode);
	if (!OidIsValid(tables[0]) || (!OidIsValid(tables[1]) && !drop))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"%s\" or what it refers to does not exist",
							   stmt->relation->relname),
						paxos_err_decided()));
	if (cmd->subtype == AT_AddConstraint)
	{
		add_at_slot(op, stmt, tables[0], tables[1]);
		return;
	}
	name = drop ? cmd->name : ((PaxosAlterConstraint *) cmd->def)->conname;
	key = key_named(tables[0], name, &parent);
	if (OidIsValid(key) && parent != tables[1])
		key = InvalidOid; /* another one of that name */
	if (!OidIsValid(key))
	{
		if (cmd->missing_ok)
			return;
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("constraint \"%s\" of relation \"%s\" does not exist", name,
							   get_rel_name(tables[0])),
						paxos_err_decided()));
	}
	if (!drop)
	{
		stmt->relation = paxos_range_var(tables[0]);
		paxos_ddl_run_statement((Node *) stmt, op->sql);
		return;
	}
	ObjectAddressSet(object, ConstraintRelationId, key);
	performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_QUIETLY);
	CommandCounterIncrement();
	CacheInvalidateRelcacheByRelid(tables[0]);
	CacheInvalidateRelcacheByRelid(tables[1]);
}

bool
paxos_fkey_any(Oid relid)
{
	return keys_at(relid, true) != NIL || keys_at(relid, false) != NIL;
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

/* As PostgreSQL says it where it drops them; here the learner does. */
void
paxos_fkey_notice_drop(const Oid *relids, int n)
{
	StringInfoData said;
	int count = 0;

	initStringInfo(&said);
	for (int i = 0; i < n; i++)
	{
		ListCell *lc;

		foreach (lc, keys_at(relids[i], false))
		{
			Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT((HeapTuple) lfirst(lc));
			bool goes = false;
			ObjectAddress key;
			char *description;

			for (int j = 0; j < n; j++)
				goes = goes || relids[j] == con->conrelid;
			ObjectAddressSet(key, ConstraintRelationId, con->oid);
			description = goes ? NULL : getObjectDescription(&key, true);
			if (description != NULL) /* nor has it gone meanwhile */
				appendStringInfo(&said, "%sdrop cascades to %s", count++ > 0 ? "\n" : "",
								 description);
		}
	}
	if (count == 1)
		ereport(NOTICE, (errmsg_internal("%s", said.data)));
	else if (count > 1)
		ereport(NOTICE,
				(errmsg("drop cascades to %d other objects", count), errdetail("%s", said.data)));
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
