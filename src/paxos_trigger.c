/*
 * paxos_trigger.c
 *	  Users' triggers on consensus tables: CREATE TRIGGER and DROP TRIGGER through the
 *	  log; and which tables are therefore changed by write sets alone.
 *
 * A trigger fires once, where the statement runs, as part of its transaction; what it
 * changes is captured like everything else (paxos_capture.c).  The learner fires none: it
 * applies effects.  For a keyed operation, which runs on every node at its slot, there
 * is no such place.  So a statement on a table with triggers is never of the keyed form
 * (paxos_keyed.c), the paxos_* functions refuse it (paxos_api.c), and an operation that
 * was on its way when the trigger came fails at its slot with 40001 (paxos_apply.c):
 * nothing goes by a trigger.  The same holds for foreign keys and deferrable constraints, which
 * are triggers to PostgreSQL, and about other rows than the operation's own, and for exclusion
 * constraints.
 *
 * Disabled or not makes no difference to this: what enables it is a matter of a
 * session too (session_replication_role), and must not decide what a slot does.
 *
 * The statement is tried on an empty temporary copy of the table, for a lock on
 * the table itself would stand in the learner's way; written down from the catalogs; and carried out
 * at its slot under a lock that keeps writers away, so a transaction
 * either has fired the trigger or had no row changed before it was there.  The trigger
 * function goes along if it is in PL/pgSQL: a node that has none of its name makes it. One that
 * is there stays as it is, for the learner calls none; what becomes of a function later is each
 * node's own.  Others (in C, say, or SECURITY DEFINER and somebody else's) must be there: the
 * other members are asked (paxos_ddl_check.c).
 *
 * Triggers are part of a snapshot, and so of what a new member gets.
 *
 * No state.
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
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "parser/parser.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_ddl.h"
#include "paxos_ddl_int.h"
#include "paxos_object.h"
#include "paxos_version.h"

/* ------------------------------------------------------------------
 * Which tables are changed by write sets alone
 * ------------------------------------------------------------------
 */

static bool
has_exclusion(Relation rel)
{
	List *indexes = RelationGetIndexList(rel);
	bool result = false;
	ListCell *lc;

	foreach (lc, indexes)
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		result = result || ((Form_pg_index) GETSTRUCT(tuple))->indisexclusion;
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return result;
}

/*
 * Our own triggers are internal and belong to no constraint; those of a deferrable one do.
 * Of a row that an exclusion constraint forbids and a unique key too, the learners might
 * answer the one here and the other there, as their indexes were made.
 */
bool
paxos_needs_sets(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	if (rel->rd_rel->relrowsecurity)
		return true;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *t = &triggers->triggers[i];

		if (!t->tgisinternal || OidIsValid(t->tgconstraint))
			return true;
	}
	return has_exclusion(rel);
}

void
paxos_refuse_triggers(Relation rel)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg("table \"%s\" has triggers, foreign keys, row-level security, or constraints that "
				"are deferrable or exclude, which this function would not heed",
				RelationGetRelationName(rel)),
		 errdetail("What it does is carried out by every node at its slot; a trigger fires "
				   "once, where a statement runs."),
		 errhint("Use INSERT, UPDATE or DELETE.")));
}

static Form_pg_trigger
trigger_form(Oid trigger)
{
	Relation catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "trigger %u vanished", trigger);
	tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return (Form_pg_trigger) GETSTRUCT(tuple);
}

/* A user's trigger of this name; names of internal ones hold numbers of this node. */
Oid
paxos_user_trigger(Oid table, const char *name)
{
	Oid trigger = get_trigger_oid(table, name, true);

	return OidIsValid(trigger) && !trigger_form(trigger)->tgisinternal ? trigger : InvalidOid;
}

/* ------------------------------------------------------------------
 * Where a statement is issued
 * ------------------------------------------------------------------
 */

/* The table that the statement names, open; it must be one whose definition may change. */
static Relation
open_named(RangeVar *rv, const char *what)
{
	Relation rel = relation_openrv(rv, AccessShareLock);

	paxos_ddl_refuse_kv(RelationGetRelid(rel), what);
	if (rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not supported on partitioned consensus-backed table \"%s\"",
							   what, RelationGetRelationName(rel)),
						errhint("Make the trigger on each of its partitions.")));
	return rel;
}

/* What the trigger refers to beside its table and its function must be built in. */
static void
check_trigger(Oid trigger, Oid table, Oid function)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(TriggerRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress other;

		if ((d->refclassid == RelationRelationId && d->refobjid == table) ||
			(d->refclassid == ProcedureRelationId && d->refobjid == function) ||
			d->deptype == DEPENDENCY_INTERNAL)
			continue;
		ObjectAddressSubSet(other, d->refclassid, d->refobjid, d->refobjsubid);
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s cannot be used by a trigger on a consensus-backed table",
							   getObjectDescription(&other, false)),
						errdetail("It is local to this node.")));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/* Its definition, for 'table' in the place of the one that it was made on. */
static char *
write_trigger(Oid trigger, const char *table, bool replace)
{
	int nest_level = paxos_ddl_begin_writing_down();
	char *def =
		TextDatumGetCString(OidFunctionCall1(F_PG_GET_TRIGGERDEF_OID, ObjectIdGetDatum(trigger)));
	CreateTrigStmt *stmt = (CreateTrigStmt *) paxos_ddl_parse_one(def, T_CreateTrigStmt);
	char *name = quote_qualified_identifier(stmt->relation->schemaname, stmt->relation->relname);
	int at = stmt->relation->location;
	StringInfoData out;

	if (strncmp(def + at, name, strlen(name)) != 0 || strncmp(def, "CREATE ", 7) != 0)
		elog(ERROR, "unexpected trigger definition \"%s\"", def);
	initStringInfo(&out);
	appendStringInfo(&out, "CREATE %s%.*s%s%s", replace ? "OR REPLACE " : "", at - 7, def + 7,
					 table, def + at + strlen(name));
	AtEOXact_GUC(true, nest_level);
	return out.data;
}

/*
 * A function that runs with its owner's rights is made elsewhere only on the word of who may
 * act as its owner: where that node's administrator has dropped it, or never let it in, it
 * must not come back because somebody here uses it for a trigger.
 */
static bool
may_carry(Form_pg_proc form)
{
	return !form->prosecdef || superuser() ||
		   (has_privs_of_role(GetUserId(), form->proowner) && !superuser_arg(form->proowner));
}

/*
 * Statements that make a trigger function where there is none; NULL if its language is
 * not one that every server has, or it is not for this user to make.
 */
static char *
write_function(Oid function, char **schema, char **owner)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	char *name;
	char *out = NULL;
	bool closed;
	int nest_level;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	*schema = paxos_schema_name(form->pronamespace);
	*owner = GetUserNameFromId(form->proowner, false);
	if (form->prolang == get_language_oid("plpgsql", true) && may_carry(form))
	{
		/* others than its owner may call it unless somebody has said that they may not */
		closed = PaxosFunctionAclCheck(function, ACL_ID_PUBLIC) != ACLCHECK_OK;
		name = quote_qualified_identifier(*schema, NameStr(form->proname));
		nest_level = paxos_ddl_begin_writing_down();
		out = psprintf(
			"%s; ALTER FUNCTION %s() OWNER TO %s; %s",
			TextDatumGetCString(OidFunctionCall1(F_PG_GET_FUNCTIONDEF, ObjectIdGetDatum(function))),
			name, quote_identifier(*owner),
			closed ? psprintf("REVOKE ALL ON FUNCTION %s() FROM PUBLIC; ", name) : "");
		AtEOXact_GUC(true, nest_level);
	}
	ReleaseSysCache(tuple);
	return out;
}

/* The table's own, for messages; if a temporary table of this session has it, another. */
static char *
trial_name(const char *table)
{
	if (OidIsValid(
			RangeVarGetRelid(makeRangeVar(pstrdup("pg_temp"), pstrdup(table), -1), NoLock, true)))
		return psprintf("paxos_trial_%d", MyProcPid);
	return pstrdup(table);
}

void
paxos_ddl_create_trigger(PaxosUtility *u, CreateTrigStmt *stmt)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	CreateTrigStmt *copy;
	PaxosTrial trial;
	Relation rel;
	int64 table_id;
	char *table;
	char *function = NULL;
	char *made = NULL;
	char *schema = NULL;
	char *owner = NULL;
	AclResult allowed;

	paxos_ddl_begin_statement(u, "CREATE TRIGGER on a consensus-backed table");
	paxos_version_require(PAXOS_VERSION_SETS, "triggers on consensus-backed tables");
	if (stmt->constrrel != NULL)
		paxos_ddl_not_supported("FROM in a constraint trigger", NULL);

	rel = open_named(stmt->relation, "CREATE TRIGGER");
	allowed = pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_TRIGGER);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_TABLE, RelationGetRelationName(rel));
	table_id = paxos_known_table_id(RelationGetRelid(rel));
	op.kind = PAXOS_DDL_CREATE_TRIGGER;
	op.schema = paxos_schema_name(RelationGetNamespace(rel));
	op.owner = GetUserNameFromId(rel->rd_rel->relowner, false);
	op.n_tables = 1;
	op.table_ids = &table_id;
	table = quote_qualified_identifier(op.schema, RelationGetRelationName(rel));
	if (!stmt->replace && OidIsValid(get_trigger_oid(RelationGetRelid(rel), stmt->trigname, true)))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("trigger \"%s\" for relation \"%s\" already exists", stmt->trigname,
							   RelationGetRelationName(rel))));
	relation_close(rel, AccessShareLock);

	copy = (CreateTrigStmt *) paxos_utility_copy(&trial_u);
	copy->relation = makeRangeVar(pstrdup("pg_temp"), trial_name(stmt->relation->relname), -1);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid clone;
		Oid trigger;
		Oid function_oid;
		char *same_name = copy->relation->relname;

		paxos_ddl_run_unseen(psprintf("CREATE TEMP TABLE %s (LIKE %s) USING heap",
									  quote_identifier(same_name), table));
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		clone = RangeVarGetRelid(copy->relation, NoLock, false);
		trigger = get_trigger_oid(clone, stmt->trigname, false);
		function_oid = trigger_form(trigger)->tgfoid;
		check_trigger(trigger, clone, function_oid);
		op.sql = write_trigger(trigger, table, stmt->replace);
		if (function_oid >= FirstNormalObjectId)
		{
			int64 id = paxos_object_id(ProcedureRelationId, function_oid);

			if (id != 0)
				paxos_object_need(&op, id);
			else
			{
				function = format_procedure_qualified(function_oid);
				made = write_function(function_oid, &schema, &owner);
			}
		}
		if (made != NULL)
			op.sql = psprintf("%s%s", made, op.sql);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);

	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_CREATE_TRIGGER, 0);
	if (function != NULL)
		paxos_ddl_ask_for_function(function, made != NULL ? schema : NULL, owner);
	if (!paxos_ddl_submit(&op))
	{
		/* Its function was changed meanwhile. */
		CHECK_FOR_INTERRUPTS();
		paxos_ddl_create_trigger(u, stmt);
	}
}

/* DROP TRIGGER name ON table; the table is a consensus table. */
void
paxos_ddl_drop_trigger(PaxosUtility *u, DropStmt *stmt)
{
	PaxosDdlOp op = {0};
	List *names = linitial_node(List, stmt->objects);
	const char *name = strVal(llast(names));
	Relation rel;
	int64 table_id;
	Oid trigger;

	if (list_length(stmt->objects) != 1)
		elog(ERROR, "DROP TRIGGER names %d triggers", list_length(stmt->objects));
	paxos_ddl_begin_statement(u, "DROP TRIGGER on a consensus-backed table");
	rel = open_named(
		makeRangeVarFromNameList(list_truncate(list_copy(names), list_length(names) - 1)),
		"DROP TRIGGER");
	if (!PaxosOwnsRelation(RelationGetRelid(rel), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(rel));
	trigger = paxos_user_trigger(RelationGetRelid(rel), name);
	if (!OidIsValid(trigger) && !stmt->missing_ok)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("trigger \"%s\" for table \"%s\" does not exist", name,
							   RelationGetRelationName(rel))));
	table_id = paxos_known_table_id(RelationGetRelid(rel));
	op.kind = PAXOS_DDL_DROP_TRIGGER;
	op.schema = paxos_schema_name(RelationGetNamespace(rel));
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.n_tables = 1;
	op.table_ids = &table_id;
	op.sql = psprintf("DROP TRIGGER %s%s ON %s", stmt->missing_ok ? "IF EXISTS " : "",
					  quote_identifier(name),
					  quote_qualified_identifier(op.schema, RelationGetRelationName(rel)));
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_DROP_TRIGGER, 0);
	if (!OidIsValid(trigger))
		ereport(NOTICE, (errmsg("trigger \"%s\" for relation \"%s\" does not exist, skipping", name,
								RelationGetRelationName(rel))));
	relation_close(rel, AccessShareLock);
	if (OidIsValid(trigger))
		paxos_ddl_submit(&op);
}

/* ------------------------------------------------------------------
 * At its slot
 * ------------------------------------------------------------------
 */

static Oid
lock_table_of(const PaxosDdlOp *op, LOCKMODE mode, const char *name)
{
	Oid table = op->n_tables == 1 ? paxos_ddl_lock_table(op->table_ids[0], mode) : InvalidOid;

	if (!OidIsValid(table))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" does not exist", name), paxos_err_decided()));
	return table;
}

/*
 * Errors that the definition of the table makes, and so on every node; not a function
 * that is missing here.
 */
static bool
of_the_table(int sqlstate)
{
	return sqlstate == ERRCODE_UNDEFINED_COLUMN || sqlstate == ERRCODE_DUPLICATE_OBJECT ||
		   sqlstate == ERRCODE_INVALID_OBJECT_DEFINITION || sqlstate == ERRCODE_DATATYPE_MISMATCH ||
		   sqlstate == ERRCODE_WRONG_OBJECT_TYPE || sqlstate == ERRCODE_FEATURE_NOT_SUPPORTED ||
		   sqlstate == ERRCODE_INVALID_COLUMN_REFERENCE;
}

/*
 * Not as the table's owner: who may use the function was asked where the statement was
 * issued, and is each node's own; nothing of a user's is executed.
 */
void
paxos_ddl_apply_create_trigger(const PaxosDdlOp *op)
{
	List *statements = raw_parser(op->sql, RAW_PARSE_DEFAULT);
	CreateTrigStmt *stmt = castNode(CreateTrigStmt, llast_node(RawStmt, statements)->stmt);
	Oid table = lock_table_of(op, ShareRowExclusiveLock, stmt->relation->relname);
	Oid function;
	int nest_level;

	/* What it refers to may be missing here: it is not called here. */
	nest_level = NewGUCNestLevel();
	(void) set_config_option("check_function_bodies", "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	if (!OidIsValid(LookupFuncName(stmt->funcname, 0, NULL, true)))
	{
		for (int i = 0; i < list_length(statements) - 1; i++)
			paxos_ddl_run_statement(list_nth_node(RawStmt, statements, i)->stmt, op->sql);
	}
	AtEOXact_GUC(true, nest_level);

	/* One that this node alone has by that name: PostgreSQL's error would pass for the
	 * table's, and the trigger would be missing here only. */
	function = LookupFuncName(stmt->funcname, 0, NULL, false);
	if (get_func_rettype(function) != TRIGGEROID)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function %s of this node does not return type trigger",
						format_procedure_qualified(function)),
				 errhint("Drop it, or make it as on the node where the statement was issued.")));

	/* By the name it has here. */
	stmt->relation = paxos_range_var(table);
	PG_TRY();
	{
		paxos_ddl_run_statement((Node *) stmt, op->sql);
	}
	PG_CATCH();
	{
		if (of_the_table(geterrcode()))
			(void) paxos_err_decided();
		PG_RE_THROW();
	}
	PG_END_TRY();
	CacheInvalidateRelcacheByRelid(table);
}

void
paxos_ddl_apply_drop_trigger(const PaxosDdlOp *op)
{
	DropStmt *stmt = (DropStmt *) paxos_ddl_parse_one(op->sql, T_DropStmt);
	List *names = linitial_node(List, stmt->objects);
	const char *name = strVal(llast(names));
	Oid table =
		lock_table_of(op, AccessExclusiveLock, strVal(list_nth(names, list_length(names) - 2)));
	Oid trigger = paxos_user_trigger(table, name);
	ObjectAddress object;

	if (!OidIsValid(trigger))
	{
		if (stmt->missing_ok)
			return;
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("trigger \"%s\" for table \"%s\" does not exist", name,
							   get_rel_name(table)),
						paxos_err_decided()));
	}
	ObjectAddressSet(object, TriggerRelationId, trigger);
	performDeletion(&object, DROP_RESTRICT, PERFORM_DELETION_QUIETLY);
	CommandCounterIncrement();
	CacheInvalidateRelcacheByRelid(table);
}
