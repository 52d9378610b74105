/*
 * paxos_alter.c
 *	  ALTER TABLE and ALTER INDEX on consensus tables, where they are issued; and which of
 *	  the statements that change a definition one is.
 *
 * Owns: what a statement about one table needs from its first look to its way into the log
 * (PaxosAlter); which clauses may be; trying them.  Not its business: how clauses are written
 * down (paxos_alter_write.c); RENAME, SET SCHEMA and COMMENT (paxos_rename.c); sequences of
 * columns (paxos_sequence.c); GRANT and REVOKE (paxos_grant.c); partitions
 * (paxos_partition.c) and foreign keys (paxos_fkey.c); what is done at the slot
 * (paxos_alter_apply.c).
 *
 * ALTER TABLE is tried on an empty copy of the table, with its constraints and indexes
 * under their own names, in a schema that exists only in the trial: to try it on the table
 * would rewrite or scan it twice and keep the learner out meanwhile, which would
 * end us.  Each clause is then written down anew.
 *
 * The statement carries the number of the last change of the table's definition, and is
 * carried out on no other (paxos_ddl_apply.c): if somebody was quicker, we begin again, and
 * hear of it what PostgreSQL says.
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "paxos_alter_int.h"
#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_fkey.h"
#include "paxos_object.h"
#include "paxos_partition.h"
#include "paxos_version.h"

/* ------------------------------------------------------------------
 * A statement about one table
 * ------------------------------------------------------------------
 */

/* One of all nodes: what its owner may make there can be changed through the log, too. */
void
paxos_alter_need_schema(PaxosAlter *s, Oid nsp)
{
	int64 id = paxos_object_id(NamespaceRelationId, nsp);

	if (id != 0)
		paxos_object_need(&s->op, id);
}

bool
paxos_alter_begin(PaxosAlter *s, PaxosUtility *u, Oid table, Oid relid, const char *what)
{
	Relation rel;

	memset(s, 0, sizeof(*s));
	s->u = u;
	s->table = table;
	paxos_ddl_begin_statement(u, what);
	rel = try_relation_open(table, AccessShareLock);
	if (rel == NULL)
		return false;
	if (relid != table && paxos_consensus_owner(relid) != table)
	{
		relation_close(rel, AccessShareLock);
		return false;
	}
	s->nsp = RelationGetNamespace(rel);
	s->schema = paxos_schema_name(s->nsp);
	s->name = pstrdup(RelationGetRelationName(rel));
	s->owner = rel->rd_rel->relowner;
	relation_close(rel, NoLock);
	s->table_id = paxos_known_table_id(table);
	s->altered = paxos_table_altered(s->table_id);
	paxos_ddl_refuse_kv(table, what);
	initStringInfo(&s->sql);
	s->op.kind = PAXOS_DDL_ALTER;
	s->op.schema = s->schema;
	s->op.owner = GetUserNameFromId(s->owner, false);
	s->op.n_tables = 1;
	s->op.table_ids = &s->table_id;
	s->op.altered = &s->altered;
	paxos_alter_need_schema(s, s->nsp);
	return true;
}

char *
paxos_alter_qualified(const PaxosAlter *s)
{
	return quote_qualified_identifier(s->schema, s->name);
}

/*
 * What is carried out as this role at its slot would hold up every node if it may not look
 * into the schema; and to grant that, in one of all nodes, must wait for the slot.
 */
void
paxos_check_sees_schema(Oid role, Oid nsp)
{
	if (PaxosSchemaAclCheck(nsp, role, ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for schema %s", get_namespace_name(nsp)),
						errdetail("The statement is carried out as role \"%s\", who has no USAGE "
								  "privilege there.",
								  GetUserNameFromId(role, false))));
}

bool
paxos_alter_send(PaxosAlter *s, CommandTag tag)
{
	int64 bytes = 0;

	if (s->reads_rows)
		bytes = DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(s->table)));
	UnlockRelationOid(s->table, AccessShareLock);
	if ((s->op.flags & PAXOS_DDL_AS_OWNER) != 0)
		paxos_check_sees_schema(s->owner, s->nsp);
	if (s->u->qc)
		SetQueryCompletion(s->u->qc, tag, 0);
	s->op.sql = s->sql.data;
	if (bytes >= PAXOS_LARGE_BYTES)
		paxos_ddl_notice_large(s->name, bytes);
	return paxos_ddl_submit(&s->op);
}

List *
paxos_alter_make_copy(PaxosAlter *s)
{
	List *around;

	if (paxos_in_tree(s->table))
	{
		s->op.n_tables = 0;
		paxos_tree_add(&s->op, s->table, true);
	}
	around = paxos_tree_around(s->table);
	paxos_copy_make(around);
	return paxos_tree_below(around, s->table);
}

/* ------------------------------------------------------------------
 * ALTER TABLE
 * ------------------------------------------------------------------
 */

static void
check_constraints(const PaxosAlter *s, List *constraints)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		if (lfirst_node(Constraint, lc)->contype == CONSTR_FOREIGN)
			paxos_refuse(s->table, "adding a foreign key together with something else",
						 "Use a statement of its own.");
	}
	paxos_ddl_check_constraint_clauses(constraints);
}

/* Its trigger on the copy is missing: said at the slot, this would be no answer of every build. */
static void
check_triggers_use(const PaxosAlter *s, const AlterTableCmd *cmd)
{
	AttrNumber attnum = get_attnum(s->table, cmd->name);
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[3];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(s->table));
	ScanKeyInit(&key[2], Anum_pg_depend_refobjsubid, BTEqualStrategyNumber, F_INT4EQ,
				Int32GetDatum(attnum));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 3, key);
	while (attnum != InvalidAttrNumber && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress trigger;

		if (d->classid != TriggerRelationId)
			continue;
		ObjectAddressSet(trigger, TriggerRelationId, d->objid);
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot alter type of a column used in a trigger definition"),
						errdetail("%s depends on column \"%s\"",
								  getObjectDescription(&trigger, false), cmd->name)));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

bool
paxos_is_foreign_key(Oid table, const char *name)
{
	Oid constraint = get_relation_constraint_oid(table, name, true);
	HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_FOREIGN;
	ReleaseSysCache(tuple);
	return result;
}

/* The copy has no foreign keys: one that PostgreSQL refuses to validate is found here. */
static void
check_validation(Oid table, const char *name)
{
	Oid constraint = get_relation_constraint_oid(table, name, true);
	HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));

	if (!HeapTupleIsValid(tuple))
		return;
	if (!PaxosEnforced((Form_pg_constraint) GETSTRUCT(tuple)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot validate NOT ENFORCED constraint")));
	ReleaseSysCache(tuple);
}

/*
 * A column that is added is written as it is when all clauses are done.  With another
 * clause's default the rows that are there would get it, which PostgreSQL gives to later ones
 * only; and with its identity that clause would fail on every node, and hold all of them up.
 */
static void
check_added(const PaxosAlter *s, List *cmds, const AlterTableCmd *cmd)
{
	ListCell *lc;

	if (cmd->subtype != AT_ColumnDefault && cmd->subtype != AT_AddIdentity &&
		cmd->subtype != AT_SetIdentity)
		return;
	foreach (lc, cmds)
	{
		AlterTableCmd *other = lfirst_node(AlterTableCmd, lc);

		if (other->subtype == AT_AddColumn &&
			strcmp(castNode(ColumnDef, other->def)->colname, cmd->name) == 0)
			paxos_refuse(s->table,
						 "a default or identity for a column that the same statement adds",
						 "Say it in ADD COLUMN, or use a statement of its own.");
	}
}

/* Refuse what is not for us, before anything is tried. */
static void
check_clause(const PaxosAlter *s, AlterTableCmd *cmd)
{
	if (paxos_switches_trigger(cmd))
		paxos_refuse(s->table, "enabling or disabling triggers together with something else",
					 "Use a statement of its own.");
	switch (cmd->subtype)
	{
		case AT_AddColumn:
			check_constraints(s, castNode(ColumnDef, cmd->def)->constraints);
			break;
		case AT_AddConstraint:
			check_constraints(s, list_make1(cmd->def));
			break;
		case AT_ColumnDefault:
		case AT_DropNotNull:
		case AT_SetNotNull:
		case AT_DropExpression:
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_DropColumn:
		case AT_DropConstraint:
		case AT_AlterColumnType:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_AddIdentity:
		case AT_DropIdentity:
		case AT_ChangeOwner:
		case AT_ReplicaIdentity:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			break;
		case AT_ValidateConstraint:
			check_validation(s->table, cmd->name);
			break;
		case AT_SetIdentity:
			if (paxos_sequence_has_options(castNode(List, cmd->def)))
				paxos_refuse(s->table, "a change of sequence options together with something else",
							 "Use a statement of its own.");
			break;
		case AT_SetAccessMethod:
			paxos_refuse(s->table, "SET ACCESS METHOD together with other clauses",
						 "Use a statement of its own.");
		case AT_SetTableSpace:
			paxos_refuse(s->table, "a tablespace", "Tablespaces are local to a node.");
		case AT_SetLogged:
		case AT_SetUnLogged:
			paxos_refuse(s->table, "SET LOGGED or UNLOGGED", NULL);
		case AT_DetachPartitionFinalize:
			paxos_refuse(s->table, "DETACH PARTITION ... FINALIZE", NULL);
		case AT_AddInherit:
		case AT_DropInherit:
		case AT_AddOf:
		case AT_DropOf:
			paxos_refuse(s->table, "inheritance", NULL);
		default:
			paxos_refuse(s->table, "this form of ALTER TABLE", NULL);
	}
	if (cmd->subtype == AT_SetStatistics && cmd->name == NULL)
		paxos_refuse(s->table, "SET STATISTICS by column number", NULL);
}

/* By these a conversion of values may come out otherwise. */
static void
send_settings(PaxosAlter *s)
{
	static const char *const names[] = {"TimeZone", "DateStyle", "IntervalStyle", "bytea_output",
										"extra_float_digits"};

	s->op.n_settings = lengthof(names);
	s->op.settings = palloc_array(char *, 2 * lengthof(names));
	for (int i = 0; i < lengthof(names); i++)
	{
		s->op.settings[2 * i] = pstrdup(names[i]);
		s->op.settings[2 * i + 1] = pstrdup(GetConfigOption(names[i], false, false));
	}
}

/* It is carried out as the owner, who may have less than a superuser who issues it. */
static void
check_owner_may_create(const PaxosAlter *s)
{
	if (s->names != NIL && PaxosSchemaAclCheck(s->nsp, s->owner, ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", s->schema),
				 errdetail("The owner of the table, role \"%s\", may not create an index there.",
						   s->op.owner)));
}

/* The copy has none: they are tried when all else has been written down. */
static void
try_foreign_keys(List *tables, List *cmds)
{
	PaxosPowers before = paxos_take_powers();
	int nest_level = paxos_ddl_begin_writing_down();
	ListCell *lc;

	foreach (lc, tables)
		paxos_fkey_try(lfirst_oid(lc), paxos_copy_of(lfirst_oid(lc)), cmds);
	AtEOXact_GUC(true, nest_level);
	paxos_give_back(before);
}

/* Try it on a copy, and write down what is to be sent. */
static void
try_alter(PaxosAlter *s, AlterTableStmt *stmt)
{
	PaxosUtility trial_u = *s->u;
	AlterTableStmt *changed;
	PaxosTrial trial;
	Oid user;
	int security;
	char *schema = paxos_copy_schema(s->nsp);

	trial_u.pstmt = copyObject(s->u->pstmt);
	trial_u.read_only_tree = false;
	changed = (AlterTableStmt *) trial_u.pstmt->utilityStmt;
	changed->relation = makeRangeVar(schema, s->name, -1);
	changed->relation->inh = stmt->relation->inh;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		List *below = paxos_alter_make_copy(s);
		Oid copy = paxos_copy_of(s->table);
		List *indexes = paxos_partition_indexes(below);
		List *before;
		char **using;
		int nest_level = paxos_ddl_begin_writing_down();

		before = paxos_ddl_constraints(copy);
		AtEOXact_GUC(true, nest_level);
		using = paxos_alter_prepare(s, copy, changed->cmds);
		paxos_trial_show(schema);

		/* With what its owner may do, and may use: so it will be carried out.  (Who may not
		 * act as the owner is told so.) */
		GetUserIdAndSecContext(&user, &security);
		if (PaxosOwnsRelation(s->table, user))
			SetUserIdAndSecContext(s->owner, security | SECURITY_LOCAL_USERID_CHANGE);
		paxos_utility_next(&trial_u);
		SetUserIdAndSecContext(user, security);
		CommandCounterIncrement();
		paxos_alter_write(s, stmt, copy, using, before, below, indexes);
		paxos_ddl_check_dependencies(&s->op, paxos_copy_of(paxos_tree_top(s->table)), InvalidOid);
		if (s->sql.len > 0 && (s->op.flags & PAXOS_DDL_TREE) == 0)
		{
			s->op.sql = s->sql.data;
			paxos_rehearse_alter(&s->op, s->table, copy);
		}
		try_foreign_keys(below, stmt->cmds);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
}

static bool
alter_owner(PaxosAlter *s, AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	Oid role = get_rolespec_oid(cmd->newowner, false);

	if (list_length(stmt->cmds) > 1)
		paxos_refuse(s->table, "OWNER TO together with other clauses",
					 "Use a statement of its own.");
	paxos_ddl_check_owner(s->table);
	if (!superuser())
	{
		PaxosCheckCanBecome(role);
		if (PaxosSchemaAclCheck(s->nsp, role, ACL_CREATE) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, s->schema);
	}
	appendStringInfo(&s->sql, "ALTER TABLE %s OWNER TO %s", paxos_alter_qualified(s),
					 quote_identifier(GetUserNameFromId(role, false)));
	paxos_ddl_ask_roles(list_make1(GetUserNameFromId(role, false)));
	return paxos_alter_send(s, CMDTAG_ALTER_TABLE);
}

/*
 * ENABLE and DISABLE TRIGGER: of users' triggers.  ALL means those, too: foreign keys and what
 * captures changes are no triggers on other nodes, and stay as they are.
 */
static bool
switch_triggers(PaxosAlter *s, const AlterTableStmt *stmt)
{
	Relation rel = table_open(s->table, AccessShareLock);
	ListCell *lc;

	paxos_ddl_check_owner(s->table);
	appendStringInfo(&s->sql, "ALTER TABLE %s", paxos_alter_qualified(s));
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		const Trigger *trigger = NULL;

		for (int i = 0;
			 cmd->name != NULL && rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		{
			if (strcmp(rel->trigdesc->triggers[i].tgname, cmd->name) == 0)
				trigger = &rel->trigdesc->triggers[i];
		}
		if (cmd->name != NULL && trigger == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("trigger \"%s\" for table \"%s\" does not exist", cmd->name, s->name)));
		if (trigger != NULL && trigger->tgisinternal)
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied: \"%s\" is a system trigger", cmd->name)));
		if ((cmd->subtype == AT_DisableTrigAll || cmd->subtype == AT_EnableTrigAll) &&
			paxos_fkey_any(s->table))
			paxos_refuse(s->table, "enabling or disabling the triggers of foreign keys",
						 "Use ENABLE or DISABLE TRIGGER USER.");
		appendStringInfo(&s->sql, "%s %s TRIGGER %s", foreach_current_index(lc) > 0 ? "," : "",
						 cmd->subtype == AT_EnableAlwaysTrig    ? "ENABLE ALWAYS"
						 : cmd->subtype == AT_EnableReplicaTrig ? "ENABLE REPLICA"
						 : cmd->subtype == AT_DisableTrig || cmd->subtype == AT_DisableTrigAll ||
								 cmd->subtype == AT_DisableTrigUser
							 ? "DISABLE"
							 : "ENABLE",
						 cmd->name != NULL ? quote_identifier(cmd->name) : "USER");
	}
	table_close(rel, AccessShareLock);
	s->op.flags |= PAXOS_DDL_AS_OWNER;
	return paxos_alter_send(s, CMDTAG_ALTER_TABLE);
}

/* Back to an ordinary table of each node; or nothing at all. */
static bool
set_access_method(PaxosAlter *s, const char *method)
{
	paxos_ddl_check_owner(s->table);
	if (strcmp(method, "paxos") == 0)
	{
		UnlockRelationOid(s->table, AccessShareLock);
		if (s->u->qc)
			SetQueryCompletion(s->u->qc, CMDTAG_ALTER_TABLE, 0);
		return true;
	}
	if (strcmp(method, DEFAULT_TABLE_ACCESS_METHOD) != 0)
		paxos_refuse(s->table, "SET ACCESS METHOD to another than heap", NULL);
	if (paxos_in_tree(s->table))
		paxos_refuse(s->table, "SET ACCESS METHOD heap with partitions",
					 "Detach the partition first.");
	if (paxos_fkey_any(s->table))
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("table \"%s\" has foreign keys to or from consensus-backed tables",
							   s->name),
						errhint("Drop them first.")));
	paxos_object_check_leave(s->table, false);
	s->op.kind = PAXOS_DDL_LEAVE;
	appendStringInfo(&s->sql, "ALTER TABLE %s SET ACCESS METHOD heap", paxos_alter_qualified(s));
	return paxos_alter_send(s, CMDTAG_ALTER_TABLE);
}

static bool
alter_table(PaxosUtility *u, AlterTableStmt *stmt, Oid table)
{
	AlterTableCmd *first = linitial_node(AlterTableCmd, stmt->cmds);
	PaxosAlter s;
	ListCell *lc;

	if (first->subtype == AT_AttachPartition || first->subtype == AT_DetachPartition)
		return paxos_partition_alter(u, stmt, table);
	if (!paxos_alter_begin(&s, u, table, table, "ALTER TABLE on a consensus-backed table"))
		return false;
	if (first->subtype == AT_SetAccessMethod && paxos_in_tree(table))
		paxos_refuse(table, "SET ACCESS METHOD of a partitioned table or a partition",
					 "Use DETACH PARTITION first.");
	if (first->subtype == AT_SetAccessMethod && list_length(stmt->cmds) == 1)
		return set_access_method(&s, first->name ? first->name : default_table_access_method);
	if (first->subtype == AT_SetIdentity && list_length(stmt->cmds) == 1 &&
		paxos_sequence_has_options(castNode(List, first->def)))
		return paxos_sequence_alter_identity(&s, first);
	foreach (lc, stmt->cmds)
	{
		if (!paxos_switches_trigger(lfirst_node(AlterTableCmd, lc)))
			break;
	}
	if (lc == NULL)
		return switch_triggers(&s, stmt);
	if (first->subtype == AT_ColumnDefault && list_length(stmt->cmds) == 1)
	{
		Oid sequence = paxos_sequence_made_default(table, first);

		if (OidIsValid(sequence))
			return paxos_sequence_set_default(&s, first->name, sequence);
	}
	foreach (lc, stmt->cmds)
	{
		check_clause(&s, lfirst_node(AlterTableCmd, lc));
		check_added(&s, stmt->cmds, lfirst_node(AlterTableCmd, lc));
	}
	foreach (lc, stmt->cmds)
	{
		if (lfirst_node(AlterTableCmd, lc)->subtype == AT_ChangeOwner)
			return alter_owner(&s, stmt);
	}
	paxos_ddl_check_owner(table);
	foreach (lc, stmt->cmds)
	{
		if (lfirst_node(AlterTableCmd, lc)->subtype != AT_AlterColumnType)
			continue;
		check_triggers_use(&s, lfirst_node(AlterTableCmd, lc));
		paxos_object_check_column(table, lfirst_node(AlterTableCmd, lc)->name, false);
		if (s.op.settings == NULL)
			send_settings(&s);
	}
	s.op.flags |= PAXOS_DDL_AS_OWNER;
	try_alter(&s, stmt);
	if (s.sql.len == 0)
	{
		UnlockRelationOid(table, AccessShareLock);
		if (u->qc)
			SetQueryCompletion(u->qc, CMDTAG_ALTER_TABLE, 0);
		return true;
	}
	check_owner_may_create(&s);
	if (s.names != NIL)
		paxos_ddl_ask_members(s.schema, s.op.owner, s.table_id, s.names);
	paxos_partition_ask(&s.op, s.partition_names);
	paxos_tree_check_owners(&s.op, s.owner);
	return paxos_alter_send(&s, CMDTAG_ALTER_TABLE);
}

/* ------------------------------------------------------------------
 * ALTER INDEX
 * ------------------------------------------------------------------
 */

/* As PostgreSQL does when it is carried out; there it would hold up every node. */
static void
check_index_statistics(Oid index, const AlterTableCmd *cmd)
{
	Relation rel = index_open(index, AccessShareLock);

	if (cmd->num < 1 || cmd->num > RelationGetNumberOfAttributes(rel))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column number %d of relation \"%s\" does not exist", cmd->num,
							   RelationGetRelationName(rel))));
	if (rel->rd_index->indkey.values[cmd->num - 1] != InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot alter statistics on %s column \"%s\" of index \"%s\"",
						cmd->num > rel->rd_index->indnkeyatts ? "included" : "non-expression",
						NameStr(TupleDescAttr(RelationGetDescr(rel), cmd->num - 1)->attname),
						RelationGetRelationName(rel)),
				 cmd->num > rel->rd_index->indnkeyatts
					 ? 0
					 : errhint("Alter statistics on table column instead.")));
	if (paxos_alter_statistics_target(cmd) < -1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("statistics target %d is too low", paxos_alter_statistics_target(cmd))));
	index_close(rel, AccessShareLock);
}

static bool
alter_index(PaxosUtility *u, AlterTableStmt *stmt, Oid table, Oid index)
{
	PaxosAlter s;
	ListCell *lc;

	if (linitial_node(AlterTableCmd, stmt->cmds)->subtype == AT_AttachPartition)
		return paxos_partition_attach_index(u, stmt, index);
	if (!paxos_alter_begin(&s, u, table, index, "ALTER INDEX on a consensus-backed table"))
		return false;
	if (get_rel_relkind(index) == RELKIND_PARTITIONED_INDEX)
		paxos_refuse(table, "this form of ALTER INDEX on an index of a partitioned table", NULL);
	if (!PaxosOwnsRelation(index, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_INDEX, get_rel_name(index));
	appendStringInfo(&s.sql, "ALTER INDEX %s ",
					 quote_qualified_identifier(s.schema, paxos_relation_name(index)));
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		appendStringInfoString(&s.sql, foreach_current_index(lc) > 0 ? ", " : "");
		if (cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions)
		{
			List *options = castNode(List, cmd->def);
			Relation rel = index_open(index, AccessShareLock);

			/* as PostgreSQL does when it is carried out */
			(void) index_reloptions(rel->rd_indam->amoptions,
									transformRelOptions((Datum) 0, options, NULL, NULL, false,
														cmd->subtype == AT_ResetRelOptions),
									true);
			index_close(rel, AccessShareLock);
			appendStringInfoString(&s.sql, cmd->subtype == AT_SetRelOptions ? "SET " : "RESET ");
			paxos_ddl_put_options(&s.sql, options, cmd->subtype == AT_SetRelOptions);
		}
		else if (cmd->subtype == AT_SetStatistics && cmd->name == NULL)
		{
			check_index_statistics(index, cmd);
			appendStringInfo(&s.sql, "ALTER COLUMN %d SET STATISTICS %d", cmd->num,
							 paxos_alter_statistics_target(cmd));
		}
		else
			paxos_refuse(table, "this form of ALTER INDEX", NULL);
	}
	return paxos_alter_send(&s, CMDTAG_ALTER_INDEX);
}

/* ------------------------------------------------------------------
 * Which of these is it, if any?
 * ------------------------------------------------------------------
 */

static Oid
relation_named(RangeVar *rv)
{
	return rv != NULL ? RangeVarGetRelid(rv, NoLock, true) : InvalidOid;
}

bool
paxos_alter_statement(PaxosUtility *u)
{
	Node *parse = u->pstmt->utilityStmt;

	if (IsA(parse, GrantStmt))
		return paxos_grant_statement(u);
	if (IsA(parse, AlterSeqStmt))
		return paxos_sequence_statement(u);
	if (IsA(parse, DropOwnedStmt))
	{
		paxos_grant_check_drop_owned((DropOwnedStmt *) parse);
		return false;
	}
	for (;;)
	{
		Oid relid;
		Oid table;
		bool done;

		switch (nodeTag(parse))
		{
			case T_AlterTableStmt:
				relid = relation_named(((AlterTableStmt *) parse)->relation);
				break;
			case T_RenameStmt:
				relid = relation_named(((RenameStmt *) parse)->relation);
				break;
			case T_AlterObjectSchemaStmt:
				relid = relation_named(((AlterObjectSchemaStmt *) parse)->relation);
				break;
			case T_CommentStmt:
				relid = relation_named(paxos_rename_commented((CommentStmt *) parse));
				break;
			default:
				return false;
		}
		table = OidIsValid(relid) ? paxos_consensus_owner(relid) : InvalidOid;
		if (!OidIsValid(table) || get_rel_relkind(relid) == RELKIND_SEQUENCE)
			return false;
		if (relid == table && IsA(parse, AlterTableStmt) &&
			paxos_fkey_alter(u, (AlterTableStmt *) parse, table))
			return true;
		paxos_version_require(PAXOS_VERSION_DEFINITIONS,
							  "statements that alter consensus-backed tables");
		if (IsA(parse, AlterTableStmt))
			done = relid == table ? alter_table(u, (AlterTableStmt *) parse, table)
								  : alter_index(u, (AlterTableStmt *) parse, table, relid);
		else if (IsA(parse, RenameStmt))
			done = paxos_rename_part(u, (RenameStmt *) parse, table, relid);
		else if (IsA(parse, AlterObjectSchemaStmt))
			done = paxos_rename_schema(u, (AlterObjectSchemaStmt *) parse, table);
		else
			done = paxos_rename_comment(u, (CommentStmt *) parse, table, relid);
		if (done)
			return true;

		/* Somebody was quicker: what there is to say is said of what there is now. */
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}
