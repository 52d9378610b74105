/*
 * paxos_guard.c
 *	  Consensus tables change through the log alone: statements that can go
 *	  that way are sent there, everything else is refused here.
 *
 * Two lines of defence.  The hooks see statements and refuse them with a word
 * about what to use instead: ProcessUtility for DDL and TRUNCATE, ExecutorStart for
 * INSERT, UPDATE, DELETE, MERGE and row locks (to announce them to paxos_capture.c), the object
 * access hook for what a statement does on the side (DROP SCHEMA CASCADE, DROP
 * OWNED, REASSIGN OWNED) and for new local objects that would depend on a
 * consensus table.  What never was a statement - logical replication's apply,
 * other extensions, code that calls the executor's row functions - meets the
 * backstop: internal BEFORE triggers on every consensus table, ENABLE ALWAYS.
 * The learner's own row functions do not fire triggers; rows of a table that has been
 * announced as part of the transaction's write set pass.
 *
 * Why nothing local may depend on a consensus table: DROP TABLE, decided for
 * all nodes, would be refused on the one that has a view over it; a foreign
 * key, rule, policy or trigger would change what a command does on one node
 * and not on the others (protocol.md § 6).
 *
 * Stand aside: while the learner applies (paxos_applying), while a statement
 * is tried (paxos_trying), and in our own extension script.  Reading, VACUUM,
 * ANALYZE, CLUSTER and REINDEX are this node's own business and pass.
 *
 * State: per backend, for the length of a statement; emptied at the end of
 * every transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_database.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_largeobject.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_publication_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/analyze.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_ddl.h"
#include "paxos_object.h"
#include "paxos_rowlock.h"
#include "paxos_serial.h"
#include "paxos_set.h"

#define EXTENSION_NAME "paxos_ext"
#define AM_NAME "paxos"

PG_FUNCTION_INFO_V1(paxos_backstop);
PG_FUNCTION_INFO_V1(paxos_backstop_install);

static ProcessUtility_hook_type previous_utility = NULL;
static ExecutorStart_hook_type previous_executor_start = NULL;
static post_parse_analyze_hook_type previous_analyze = NULL;
static object_access_hook_type previous_object_access = NULL;

/* Objects that the statements of this transaction have made or altered. */
static List *touched = NIL;

/* The extension is being dropped: its consensus tables may go. */
static bool dropping_extension = false;

/* The extension came or went: tell the workers when it is committed. */
static bool wake_at_commit = false;

/* Statements that may do to a consensus table what they do. */
static bool local_statement = false;

/* TRUNCATE statements that are running, one within the other. */
static int truncating = 0;

bool
paxos_in_own_script(void)
{
	return creating_extension && CurrentExtensionObject == get_extension_oid(EXTENSION_NAME, true);
}

static bool
extension_here(void)
{
	return OidIsValid(get_table_am_oid(AM_NAME, true));
}

/* ------------------------------------------------------------------
 * Refusing
 * ------------------------------------------------------------------
 */

static const char *const use_functions =
	"Use paxos_insert_if_not_exists(), paxos_cas(), paxos_update_if(), paxos_delete_if() or paxos_upsert().";

void
paxos_refuse(Oid table, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s is not supported on consensus-backed table \"%s\"", what,
						   get_rel_name(table)),
					hint ? errhint("%s", hint) : 0));
}

/* The consensus table that a name is or belongs to. */
static Oid
owner_of_name(RangeVar *rv)
{
	Oid relid;

	if (rv == NULL)
		return InvalidOid;
	relid = RangeVarGetRelid(rv, NoLock, true);
	return OidIsValid(relid) ? paxos_consensus_owner(relid) : InvalidOid;
}

static void
refuse_name(RangeVar *rv, const char *what, const char *hint)
{
	Oid table = owner_of_name(rv);

	if (OidIsValid(table))
		paxos_refuse(table, what, hint);
}

/* DROP RULE, POLICY: the table's name, then the object's. */
static void
refuse_dropped_parts(DropStmt *stmt, const char *what)
{
	ListCell *lc;

	foreach (lc, stmt->objects)
	{
		List *names = list_copy((List *) lfirst(lc));

		names = list_truncate(names, list_length(names) - 1);
		if (names != NIL)
			refuse_name(makeRangeVarFromNameList(names), what, NULL);
	}
}

/*
 * A prepared transaction cannot be ended by the learner: what it has locked
 * would stand in the way until somebody remembers it.
 */
static void
refuse_prepare(void)
{
	LockData *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		LockInstanceData *lock = &locks->locks[i];
		Oid table;

		if (lock->pid != MyProcPid || lock->holdMask == 0 ||
			lock->locktag.locktag_type != LOCKTAG_RELATION ||
			lock->locktag.locktag_field1 != MyDatabaseId)
			continue;
		table = paxos_consensus_owner(lock->locktag.locktag_field2);
		if (OidIsValid(table))
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has used consensus-backed table \"%s\"",
						get_rel_name(table)),
				 errdetail("Its locks would keep this node from applying the log.")));
	}
}

/* ------------------------------------------------------------------
 * New objects that depend on a consensus table
 * ------------------------------------------------------------------
 */

/* The consensus table behind an object that something refers to. */
static Oid
consensus_behind(Oid class_id, Oid object_id)
{
	if (class_id == RelationRelationId)
		return paxos_consensus_owner(object_id);
	if (class_id == TypeRelationId)
	{
		Oid element = get_element_type(object_id);
		Oid relid = get_typ_typrelid(OidIsValid(element) ? element : object_id);

		return OidIsValid(relid) ? paxos_consensus_owner(relid) : InvalidOid;
	}
	return InvalidOid;
}

static void
check_touched(void)
{
	List *list = touched;
	ListCell *lc;
	Relation depend;

	touched = NIL;
	if (list == NIL)
		return;
	CommandCounterIncrement();
	depend = table_open(DependRelationId, AccessShareLock);
	foreach (lc, list)
	{
		ObjectAddress *object = lfirst(lc);
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		/* A default is announced by its column. */
		if (object->classId == AttrDefaultRelationId)
			ObjectAddressSet(*object, AttrDefaultRelationId,
							 GetAttrDefaultOid(object->objectId, object->objectSubId));

		ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(object->classId));
		ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(object->objectId));
		scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			Oid table = consensus_behind(d->refclassid, d->refobjid);

			if (OidIsValid(table))
				ereport(
					ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("%s would depend on consensus-backed table \"%s\"",
							getObjectDescription(object, false), get_rel_name(table)),
					 errdetail(
						 "An object of this node alone that depends on the table would make statements about it differ between nodes."),
					 errhint(
						 "Query the table itself; rules, statistics and materialized views on it, views of it together with ordinary tables, and foreign keys of these to it, are not supported.")));
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

static void
touch(Oid class_id, Oid object_id, int sub_id)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	ObjectAddress *object = palloc(sizeof(ObjectAddress));

	ObjectAddressSubSet(*object, class_id, object_id, sub_id);
	touched = lappend(touched, object);
	MemoryContextSwitchTo(old);
}

/*
 * The table that something going away is part of: as a relation, a trigger, a constraint, a
 * policy or a default (DROP FUNCTION CASCADE would take them along).
 */
static Oid
table_of_part(Oid class_id, Oid object_id)
{
	Oid catalog_index;
	AttrNumber number;
	Relation catalog;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid table = InvalidOid;

	switch (class_id)
	{
		case RelationRelationId:
			return paxos_consensus_owner(object_id);
		case PolicyRelationId:
			return paxos_policy_table(object_id);
		case TriggerRelationId:
			catalog_index = TriggerOidIndexId;
			number = Anum_pg_trigger_oid;
			break;
		case ConstraintRelationId:
			catalog_index = ConstraintOidIndexId;
			number = Anum_pg_constraint_oid;
			break;
		case AttrDefaultRelationId:
			catalog_index = AttrDefaultOidIndexId;
			number = Anum_pg_attrdef_oid;
			break;
		default:
			return InvalidOid;
	}
	catalog = table_open(class_id, AccessShareLock);
	ScanKeyInit(&key, number, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object_id));
	scan = systable_beginscan(catalog, catalog_index, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		table = class_id == TriggerRelationId ? ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid
				: class_id == ConstraintRelationId
					? ((Form_pg_constraint) GETSTRUCT(tuple))->conrelid
					: ((Form_pg_attrdef) GETSTRUCT(tuple))->adrelid;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return OidIsValid(table) ? paxos_consensus_owner(table) : InvalidOid;
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);

	if (paxos_applying || paxos_trying || IsBinaryUpgrade || !IsNormalProcessingMode() ||
		(access != OAT_POST_CREATE && access != OAT_POST_ALTER && access != OAT_DROP))
		return;

	if (access == OAT_DROP)
	{
		ObjectAccessDrop *drop = arg;
		Oid table;

		/* Internal: the old copy after a rewrite (VACUUM FULL), a temporary table. */
		if (dropping_extension || (drop && (drop->dropflags & PERFORM_DELETION_INTERNAL) != 0))
			return;
		paxos_object_guard(class_id, object_id, true);
		table = table_of_part(class_id, object_id);
		if (OidIsValid(table))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot drop %sconsensus-backed table \"%s\" this way",
								   object_id == table && sub_id == 0 ? "" : "a part of ",
								   get_rel_name(table)),
							errhint("Use DROP TABLE, in a statement of its own.")));
		return;
	}

	if (local_statement || paxos_in_own_script())
		return;

	if (access == OAT_POST_ALTER && class_id != RelationRelationId)
		paxos_object_guard(class_id, object_id, false);
	if (access == OAT_POST_ALTER && class_id == RelationRelationId)
	{
		ObjectAccessPostAlter *alter = arg;
		Oid table = paxos_consensus_owner(object_id);

		/* REASSIGN OWNED and the like come by without naming the table. */
		if (OidIsValid(table) && !(alter && alter->is_internal))
			paxos_refuse(table, "a change of definition or owner", NULL);
	}
	/* A large object depends on nothing, and one statement may make millions. */
	if (class_id != PublicationRelRelationId && class_id != LargeObjectRelationId)
		touch(class_id, object_id, class_id == AttrDefaultRelationId ? sub_id : 0);
}

/* ------------------------------------------------------------------
 * Statements
 * ------------------------------------------------------------------
 */

static bool
effective_am_is_paxos(const char *given)
{
	return strcmp(given ? given : default_table_access_method, AM_NAME) == 0;
}

/*
 * default_table_access_method speaks of tables that last.  What this session alone sees is
 * an ordinary table, unless the statement itself says otherwise: programs make temporary
 * tables without knowing of any of this.
 */
static bool
heap_by_default(const char *given, RangeVar *name)
{
	return given == NULL && effective_am_is_paxos(NULL) &&
		   (name->relpersistence == RELPERSISTENCE_TEMP ||
			(name->schemaname != NULL && strcmp(name->schemaname, "pg_temp") == 0));
}

static bool
extension_named(List *objects)
{
	ListCell *lc;

	foreach (lc, objects)
	{
		if (strcmp(strVal(lfirst(lc)), EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

/* How many of a DROP's objects are, or belong to, consensus tables. */
static int
count_consensus(DropStmt *stmt, int *missing)
{
	int n = 0;
	ListCell *lc;

	*missing = 0;
	foreach (lc, stmt->objects)
	{
		Oid relid = RangeVarGetRelid(makeRangeVarFromNameList(lfirst(lc)), NoLock, true);

		if (!OidIsValid(relid))
			(*missing)++;
		else if (OidIsValid(paxos_consensus_owner(relid)))
			n++;
	}
	return n;
}

static bool
handle_drop(PaxosUtility *u, DropStmt *stmt)
{
	int missing;
	int n;

	switch (stmt->removeType)
	{
		case OBJECT_TABLE:
		case OBJECT_INDEX:
			n = count_consensus(stmt, &missing);
			if (n == 0)
				return false;
			if (n + missing < list_length(stmt->objects))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("cannot drop consensus-backed tables and others in one statement"),
						 errhint("Drop them one by one.")));
			if (stmt->removeType == OBJECT_TABLE)
			{
				ListCell *lc;

				/* A name that is an index or sequence: PostgreSQL's own error. */
				foreach (lc, stmt->objects)
				{
					Oid relid =
						RangeVarGetRelid(makeRangeVarFromNameList(lfirst(lc)), NoLock, true);

					if (OidIsValid(relid) && get_rel_relkind(relid) != RELKIND_RELATION &&
						get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
						return false;
				}
				paxos_ddl_drop_tables(u, stmt);
			}
			else
			{
				Oid relid = RangeVarGetRelid(makeRangeVarFromNameList(linitial(stmt->objects)),
											 NoLock, true);

				if (OidIsValid(relid) && get_rel_relkind(relid) != RELKIND_INDEX &&
					get_rel_relkind(relid) != RELKIND_PARTITIONED_INDEX)
					return false;
				paxos_ddl_drop_index(u, stmt);
			}
			return true;
		case OBJECT_TRIGGER:
		{
			List *names = linitial_node(List, stmt->objects);

			names = list_truncate(list_copy(names), list_length(names) - 1);
			if (names == NIL || !OidIsValid(owner_of_name(makeRangeVarFromNameList(names))))
				return false;
			paxos_ddl_drop_trigger(u, stmt);
			return true;
		}
		case OBJECT_RULE:
			refuse_dropped_parts(stmt, "DROP RULE");
			return false;
		default:
			return false;
	}
}

static void
check_alter_table(AlterTableStmt *stmt)
{
	ListCell *lc;
	const char *what = stmt->objtype == OBJECT_INDEX      ? "ALTER INDEX"
					   : stmt->objtype == OBJECT_SEQUENCE ? "ALTER SEQUENCE"
														  : "ALTER TABLE";

	refuse_name(stmt->relation, what, "Create a new table and copy the rows.");
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_AttachPartition &&
			OidIsValid(owner_of_name(((PartitionCmd *) cmd->def)->name)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("consensus-backed table \"%s\" cannot be a partition of \"%s\", "
							"which is not consensus-backed",
							((PartitionCmd *) cmd->def)->name->relname, stmt->relation->relname)));
		if (cmd->subtype == AT_AddInherit)
			refuse_name((RangeVar *) cmd->def, "inheritance", NULL);
	}
}

/* What EXPLAIN ANALYZE executes passes no utility hook. */
static bool
explains_table_as(ExplainStmt *stmt)
{
	Query *query = (Query *) stmt->query;
	IntoClause *into;
	ListCell *lc;

	if (!IsA(query, Query) || query->commandType != CMD_UTILITY ||
		!IsA(query->utilityStmt, CreateTableAsStmt))
		return false;
	into = ((CreateTableAsStmt *) query->utilityStmt)->into;
	if (!effective_am_is_paxos(into->accessMethod) ||
		heap_by_default(into->accessMethod, into->rel))
		return false;
	foreach (lc, stmt->options)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		if (strcmp(e->defname, "analyze") == 0)
			return defGetBoolean(e);
	}
	return false;
}

/* ALTER TABLE ... SET ACCESS METHOD paxos of an ordinary table. */
static bool
becomes_consensus(AlterTableStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_SetAccessMethod && effective_am_is_paxos(cmd->name))
			return true;
	}
	return false;
}

/*
 * A table may be published by this node; a list of its columns, or a condition over them,
 * would be in the way of what becomes of the columns, here alone.
 */
static void
check_published(List *objects)
{
	ListCell *lc;

	foreach (lc, objects)
	{
		PublicationTable *t = lfirst_node(PublicationObjSpec, lc)->pubtable;

		if (t == NULL)
			continue;
		if (t->columns != NIL)
			refuse_name(t->relation, "a publication with a column list", "Publish all of it.");
		if (t->whereClause != NULL)
			refuse_name(t->relation, "a publication with a row filter", "Publish all of it.");
	}
}

/* COPY FROM: its rows are captured like others. */
static bool
copy_in(CopyStmt *stmt)
{
	Oid table = owner_of_name(stmt->relation);
	Oid relid;

	if (OidIsValid(table))
	{
		PreventCommandIfReadOnly("COPY FROM");
		paxos_set_changes(table);
		return false;
	}
	relid = stmt->relation != NULL ? RangeVarGetRelid(stmt->relation, NoLock, true) : InvalidOid;
	if (OidIsValid(relid))
		paxos_own_check(relid);
	if (OidIsValid(relid) && get_rel_persistence(relid) != RELPERSISTENCE_TEMP)
		paxos_set_local();
	return false;
}

/* COPY table TO passes no executor. */
static void
copy_out(CopyStmt *stmt)
{
	Oid table = owner_of_name(stmt->relation);

	if (OidIsValid(table))
		paxos_set_read_all(table);
}

/*
 * LOCK TABLE that keeps writers away: what the transaction changes then depends on
 * no other node's having changed the table either.
 */
static void
lock_whole(LockStmt *stmt)
{
	ListCell *lc;

	if (stmt->mode < ShareLock)
		return;
	foreach (lc, stmt->relations)
	{
		RangeVar *rv = lfirst(lc);
		Oid table = owner_of_name(rv);
		ListCell *lt;

		if (!OidIsValid(table) || paxos_table_id(table) == 0)
			continue;

		/* With its partitions; and itself, so that it gets no other. */
		foreach (lt, rv->inh ? find_all_inheritors(table, NoLock, NULL) : list_make1_oid(table))
			paxos_set_whole(lfirst_oid(lt), stmt->mode);
	}
}

/* They count where a table is made, and that is on every node. */
static void
notice_default_privileges(const GrantStmt *stmt)
{
	if (stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE)
		ereport(NOTICE, (errmsg("default privileges are changed on this node only"),
						 errdetail("Consensus-backed tables made from now on would have other "
								   "privileges here than on other nodes."),
						 errhint("Issue the same statement on every node.")));
}

static bool
is_temporary(const RangeVar *rv)
{
	Oid relid = RangeVarGetRelid(rv, NoLock, true);

	return OidIsValid(relid) && get_rel_persistence(relid) == RELPERSISTENCE_TEMP;
}

/* Does it drop relations of this session only? */
static bool
drops_temporary(const DropStmt *stmt)
{
	ListCell *lc;

	if (stmt->removeType != OBJECT_TABLE && stmt->removeType != OBJECT_INDEX &&
		stmt->removeType != OBJECT_SEQUENCE && stmt->removeType != OBJECT_VIEW)
		return false;
	foreach (lc, stmt->objects)
	{
		RangeVar *rv = makeRangeVarFromNameList(lfirst(lc));

		if (OidIsValid(RangeVarGetRelid(rv, NoLock, true)) && !is_temporary(rv))
			return false;
	}
	return true;
}

/*
 * Statements that may stand in a transaction that changes consensus tables: they
 * change nothing permanent of this node themselves.
 */
static bool
changes_nothing_local(Node *parse)
{
	switch (nodeTag(parse))
	{
		case T_TransactionStmt:
		case T_DeclareCursorStmt:
		case T_ClosePortalStmt:
		case T_FetchStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
		case T_ExplainStmt:
		case T_VariableSetStmt:
		case T_VariableShowStmt:
		case T_DiscardStmt:
		case T_ListenStmt:
		case T_UnlistenStmt:
		case T_NotifyStmt:
		case T_LockStmt:
		case T_ConstraintsSetStmt:
		case T_CallStmt:
		case T_DoStmt:
		case T_LoadStmt:
		case T_CheckPointStmt:
		case T_CopyStmt: /* copy_in() looks */
			return true;
		case T_TruncateStmt: /* truncate_tables() looks */
			return true;
		case T_DropStmt:
			return drops_temporary((DropStmt *) parse);
		case T_IndexStmt:
			return is_temporary(((IndexStmt *) parse)->relation);
		case T_CreateStmt:
			return ((CreateStmt *) parse)->relation->relpersistence == RELPERSISTENCE_TEMP;
		case T_CreateTableAsStmt:
			return ((CreateTableAsStmt *) parse)->into->rel->relpersistence == RELPERSISTENCE_TEMP;
		default:
			return false;
	}
}

/* A partitioned table is told by no trigger, but may own the sequence of its partitions. */
static void
restart_sequences(List *relations)
{
	ListCell *lc;
	ListCell *lt;

	foreach (lc, relations)
	{
		Oid table = owner_of_name(lfirst(lc));

		if (!OidIsValid(table))
			continue;
		foreach (lt, find_all_inheritors(table, NoLock, NULL))
		{
			if (get_rel_relkind(lfirst_oid(lt)) == RELKIND_PARTITIONED_TABLE)
				paxos_set_truncates(lfirst_oid(lt));
		}
	}
}

/*
 * Which tables it empties, those that it reaches by CASCADE among them, is told by the
 * backstop's trigger; here only whether sequences begin again.
 */
static void
truncate_tables(PaxosUtility *u, TruncateStmt *stmt)
{
	bool before;
	ListCell *lc;

	foreach (lc, stmt->relations)
	{
		Oid relid = RangeVarGetRelid(lfirst_node(RangeVar, lc), NoLock, true);

		if (OidIsValid(relid))
			paxos_own_check(relid);
		if (OidIsValid(owner_of_name(lfirst(lc))))
			PreventCommandIfReadOnly("TRUNCATE TABLE");
		else if (!is_temporary(lfirst(lc)))
			paxos_set_local();
	}
	before = paxos_set_restarts(stmt->restart_seqs);
	truncating++;
	PG_TRY();
	{
		paxos_utility_next(u);
		if (stmt->restart_seqs)
			restart_sequences(stmt->relations);
	}
	PG_FINALLY();
	{
		truncating--;
		(void) paxos_set_restarts(before);
	}
	PG_END_TRY();
}

/* True if the statement has been carried out. */
static bool
handle_statement(PaxosUtility *u)
{
	Node *parse = u->pstmt->utilityStmt;

	switch (nodeTag(parse))
	{
		case T_CreateStmt:
		{
			CreateStmt *stmt = (CreateStmt *) parse;
			ListCell *lc;

			if (stmt->partbound != NULL)
			{
				RangeVar *parent = linitial_node(RangeVar, stmt->inhRelations);

				if (OidIsValid(owner_of_name(parent)))
				{
					paxos_partition_create(u, stmt);
					return true;
				}

				/* Of a local table: a local one, unless it says otherwise. */
				if (stmt->partspec != NULL && stmt->accessMethod == NULL)
					return false;
				if (!OidIsValid(RangeVarGetRelid(parent, NoLock, true)))
					return false; /* which PostgreSQL says */
			}
			if (heap_by_default(stmt->accessMethod, stmt->relation))
			{
				if (stmt->partspec != NULL)
					return false;
				stmt = (CreateStmt *) paxos_utility_copy(u);
				stmt->accessMethod = pstrdup(DEFAULT_TABLE_ACCESS_METHOD);
			}
			if (effective_am_is_paxos(stmt->accessMethod))
			{
				paxos_ddl_create_table(u, stmt);
				return true;
			}
			if (u->context == PROCESS_UTILITY_TOPLEVEL && !IsTransactionBlock())
				paxos_partition_release(u, stmt);
			foreach (lc, stmt->inhRelations)
				refuse_name(lfirst(lc), "inheritance", NULL);
			return false;
		}
		case T_CreateTableAsStmt:
		{
			CreateTableAsStmt *stmt = (CreateTableAsStmt *) parse;
			IntoClause *into = stmt->into;

			if (heap_by_default(into->accessMethod, into->rel))
			{
				into = ((CreateTableAsStmt *) paxos_utility_copy(u))->into;
				into->accessMethod = pstrdup(DEFAULT_TABLE_ACCESS_METHOD);
			}
			if (!effective_am_is_paxos(into->accessMethod))
				return false;
			if (stmt->objtype == OBJECT_MATVIEW)
				ereport(
					ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg(
						 "CREATE MATERIALIZED VIEW is not supported for a consensus-backed table"),
					 errhint("Add USING heap to make an ordinary one.")));
			paxos_become_as(u, (CreateTableAsStmt *) u->pstmt->utilityStmt);
			return true;
		}
		case T_ExplainStmt:
			if (explains_table_as((ExplainStmt *) parse))
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("EXPLAIN ANALYZE of CREATE TABLE AS is not supported for a "
									   "consensus-backed table"),
								errhint("Add USING heap, or EXPLAIN the query.")));
			return false;
		case T_IndexStmt:
		{
			Oid table = owner_of_name(((IndexStmt *) parse)->relation);

			if (!OidIsValid(table))
				return false;
			paxos_ddl_create_index(u, (IndexStmt *) parse, table);
			return true;
		}
		case T_DropStmt:
			return handle_drop(u, (DropStmt *) parse);
		case T_AlterTableStmt:
			if (paxos_partition_adopt(u, (AlterTableStmt *) parse))
				return paxos_alter_statement(u);
			check_alter_table((AlterTableStmt *) parse);
			if (!becomes_consensus((AlterTableStmt *) parse))
				return false;
			paxos_become_alter(u, (AlterTableStmt *) parse);
			return true;
		case T_RenameStmt:
			refuse_name(((RenameStmt *) parse)->relation, "RENAME", NULL);
			return false;
		case T_AlterObjectSchemaStmt:
			refuse_name(((AlterObjectSchemaStmt *) parse)->relation, "SET SCHEMA", NULL);
			return false;
		case T_AlterObjectDependsStmt:
			refuse_name(((AlterObjectDependsStmt *) parse)->relation, "DEPENDS ON EXTENSION", NULL);
			return false;
		case T_AlterExtensionContentsStmt:
		{
			AlterExtensionContentsStmt *stmt = (AlterExtensionContentsStmt *) parse;

			/* DROP TABLE, decided for all, would be refused here alone. */
			if (stmt->action > 0 &&
				(stmt->objtype == OBJECT_TABLE || stmt->objtype == OBJECT_SEQUENCE ||
				 stmt->objtype == OBJECT_INDEX))
				refuse_name(makeRangeVarFromNameList(castNode(List, stmt->object)),
							"ALTER EXTENSION ADD", NULL);
			return false;
		}
		case T_AlterSeqStmt:
			refuse_name(((AlterSeqStmt *) parse)->sequence, "ALTER SEQUENCE", NULL);
			return false;
		case T_CreateTrigStmt:
			if (!OidIsValid(owner_of_name(((CreateTrigStmt *) parse)->relation)))
				return false;
			paxos_ddl_create_trigger(u, (CreateTrigStmt *) parse);
			return true;
		case T_RuleStmt:
			refuse_name(((RuleStmt *) parse)->relation, "CREATE RULE", NULL);
			return false;
		case T_CreateStatsStmt:
		{
			ListCell *lc;

			foreach (lc, ((CreateStatsStmt *) parse)->relations)
			{
				if (IsA(lfirst(lc), RangeVar))
					refuse_name(lfirst(lc), "CREATE STATISTICS", NULL);
			}
			return false;
		}
		case T_AlterDefaultPrivilegesStmt:
			notice_default_privileges(((AlterDefaultPrivilegesStmt *) parse)->action);
			return false;
		case T_CreatePublicationStmt:
			check_published(((CreatePublicationStmt *) parse)->pubobjects);
			return false;
		case T_AlterPublicationStmt:
			check_published(((AlterPublicationStmt *) parse)->pubobjects);
			return false;
		case T_CopyStmt:
			if (((CopyStmt *) parse)->is_from)
				return copy_in((CopyStmt *) parse);
			if (paxos_serial())
				copy_out((CopyStmt *) parse);
			return false;
		case T_LockStmt:
			/* Before it has the lock, somebody else's partition may still come. */
			paxos_utility_next(u);
			lock_whole((LockStmt *) parse);
			return true;
		case T_TruncateStmt:
			truncate_tables(u, (TruncateStmt *) parse);
			return true;
		default:
			return false;
	}
}

/* Statements whose effect on a table is this node's own business. */
static bool
is_local_statement(Node *parse)
{
	switch (nodeTag(parse))
	{
		case T_VacuumStmt:
		case T_ClusterStmt:
		case T_ReindexStmt:
		case T_GrantStmt:
		case T_GrantRoleStmt:
		case T_CommentStmt:
		case T_SecLabelStmt:
			return true;
		default:
			return false;
	}
}

/*
 * Could it be carried out at all?  Somebody who may not drop the database must
 * not be able to end its workers by trying.
 */
static bool
may_need_database(void)
{
	Oid database = get_database_oid(paxos_database, true);

	if (!OidIsValid(database))
		return false;
	return PaxosOwnsDatabase(database, GetUserId());
}

/* Does it need everybody out of the workers' database? */
static bool
needs_database_alone(Node *parse)
{
	ListCell *lc;

	switch (nodeTag(parse))
	{
		case T_DropdbStmt:
			return strcmp(((DropdbStmt *) parse)->dbname, paxos_database) == 0;
		case T_RenameStmt:
			return ((RenameStmt *) parse)->renameType == OBJECT_DATABASE &&
				   strcmp(((RenameStmt *) parse)->subname, paxos_database) == 0;
		case T_AlterDatabaseStmt:
			if (strcmp(((AlterDatabaseStmt *) parse)->dbname, paxos_database) != 0)
				return false;
			foreach (lc, ((AlterDatabaseStmt *) parse)->options)
			{
				if (strcmp(lfirst_node(DefElem, lc)->defname, "tablespace") == 0)
					return true;
			}
			return false;
		case T_CreatedbStmt:
			foreach (lc, ((CreatedbStmt *) parse)->options)
			{
				DefElem *e = lfirst_node(DefElem, lc);

				if (strcmp(e->defname, "template") == 0 && e->arg != NULL &&
					strcmp(defGetString(e), paxos_database) == 0)
					return true;
			}
			return false;
		default:
			return false;
	}
}

void
paxos_utility_next(PaxosUtility *u)
{
	previous_utility(u->pstmt, u->query_string, u->read_only_tree, u->context, u->params,
					 u->query_env, u->dest, u->qc);
}

Node *
paxos_utility_copy(PaxosUtility *u)
{
	u->pstmt = copyObject(u->pstmt);
	u->read_only_tree = false;
	return u->pstmt->utilityStmt;
}

static void
process_utility(PlannedStmt *pstmt, const char *query_string, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *query_env,
				DestReceiver *dest, QueryCompletion *qc)
{
	PaxosUtility u = {pstmt, query_string, read_only_tree, context, params, query_env, dest, qc};
	Node *parse = pstmt->utilityStmt;

	/* pg_upgrade puts the catalogs back as they were, word by word. */
	if (paxos_applying || paxos_trying || IsBinaryUpgrade)
	{
		paxos_utility_next(&u);
		return;
	}

	/* No catalog may be looked at in a failed transaction. */
	if (IsA(parse, TransactionStmt))
	{
		if (((TransactionStmt *) parse)->kind == TRANS_STMT_PREPARE &&
			!IsAbortedTransactionBlockState() && extension_here())
			refuse_prepare();
		paxos_utility_next(&u);
		return;
	}

	if (IsAbortedTransactionBlockState() || !IsTransactionState())
	{
		paxos_utility_next(&u);
		return;
	}

	if (needs_database_alone(parse) && !IsTransactionBlock() && may_need_database())
	{
		paxos_workers_hold_off(true);
		PG_TRY();
		{
			paxos_utility_next(&u);
		}
		PG_FINALLY();
		{
			paxos_workers_hold_off(false);
		}
		PG_END_TRY();
		return;
	}

	if (IsA(parse, CreateExtensionStmt))
	{
		if (strcmp(((CreateExtensionStmt *) parse)->extname, EXTENSION_NAME) == 0)
			wake_at_commit = true;
		paxos_utility_next(&u);
		return;
	}

	if (!extension_here() || paxos_in_own_script())
	{
		paxos_utility_next(&u);
		return;
	}

	if (IsA(parse, DropStmt) && ((DropStmt *) parse)->removeType == OBJECT_EXTENSION &&
		extension_named(((DropStmt *) parse)->objects))
	{
		wake_at_commit = true;
		dropping_extension = true;
		PG_TRY();
		{
			paxos_utility_next(&u);
		}
		PG_FINALLY();
		{
			dropping_extension = false;
		}
		PG_END_TRY();
		return;
	}

	if (paxos_object_statement(&u) || paxos_policy_statement(&u) || paxos_alter_statement(&u))
		return;
	if (is_local_statement(parse))
	{
		bool saved = local_statement;

		/* rows that have no key are known by their place */
		if (IsA(parse, ClusterStmt) && paxos_set_active())
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot CLUSTER in a transaction that changes consensus-backed "
								   "tables")));
		local_statement = true;
		PG_TRY();
		{
			paxos_utility_next(&u);
		}
		PG_FINALLY();
		{
			local_statement = saved;
		}
		PG_END_TRY();
		return;
	}

	if (handle_statement(&u))
		return;
	if (!changes_nothing_local(parse))
		paxos_set_local();
	paxos_utility_next(&u);

	/* Statements that may end transactions inside have checked their own inner
	 * ones; nothing is left of what they touched. */
	if (touched != NIL && IsTransactionState() && !IsAbortedTransactionBlockState())
		check_touched();
}

/*
 * (paxos_update_if(...)).* is written out by the parser as one call for each
 * column of the result: what it adds would be added six times.  The copies have
 * one place in the statement's text, by which they are known.
 */
static void
refuse_expanded_in(List *targets)
{
	FuncExpr *before = NULL;
	ListCell *lc;

	foreach (lc, targets)
	{
		Node *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;
		FuncExpr *call = NULL;

		if (expr != NULL && IsA(expr, FieldSelect) && IsA(((FieldSelect *) expr)->arg, FuncExpr))
			call = (FuncExpr *) ((FieldSelect *) expr)->arg;
		if (call != NULL && before != NULL && call->funcid == before->funcid &&
			call->location >= 0 && call->location == before->location)
		{
			Oid row = get_typ_typrelid(call->funcresulttype);
			char *name = OidIsValid(row) ? get_rel_name(row) : NULL;

			if (name != NULL && strcmp(name, "paxos_result") == 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("(%s(...)).* would call the function once for each column",
								get_func_name(call->funcid)),
						 errhint("Write SELECT * FROM %s(...).", get_func_name(call->funcid))));
		}
		before = call;
	}
}

static void
refuse_expanded_calls(Query *query)
{
	ListCell *lc;

	refuse_expanded_in(query->targetList);
	refuse_expanded_in(query->returningList);
	foreach (lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->subquery != NULL)
			refuse_expanded_calls(rte->subquery);
	}
	foreach (lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (cte->ctequery != NULL && IsA(cte->ctequery, Query))
			refuse_expanded_calls((Query *) cte->ctequery);
	}
}

static void
analyze(ParseState *state, Query *query, JumbleState *jumble)
{
	if (previous_analyze)
		previous_analyze(state, query, jumble);

	/* Statements that hold a query have had it analyzed with them. */
	if (query->commandType == CMD_UTILITY)
	{
		Node *inside = NULL;

		if (IsA(query->utilityStmt, CreateTableAsStmt))
			inside = ((CreateTableAsStmt *) query->utilityStmt)->query;
		else if (IsA(query->utilityStmt, ExplainStmt))
			inside = ((ExplainStmt *) query->utilityStmt)->query;
		else if (IsA(query->utilityStmt, DeclareCursorStmt))
			inside = ((DeclareCursorStmt *) query->utilityStmt)->query;
		if (inside == NULL || !IsA(inside, Query))
			return;
		query = (Query *) inside;
	}
	refuse_expanded_calls(query);
}

/*
 * INSERT, UPDATE, DELETE, MERGE and row locks, wherever they stand, become part of the
 * transaction's write set.
 */
static void
executor_start(QueryDesc *query, int flags)
{
	PlannedStmt *stmt = query->plannedstmt;
	bool locks = false;

	if (!paxos_applying && !paxos_trying && !IsBinaryUpgrade &&
		(stmt->resultRelations != NIL || stmt->rowMarks != NIL) && !paxos_in_own_script())
	{
		ListCell *lc;

		foreach (lc, stmt->resultRelations)
		{
			RangeTblEntry *rte = rt_fetch(lfirst_int(lc), stmt->rtable);

			if ((flags & EXEC_FLAG_EXPLAIN_ONLY) != 0)
				continue;
			paxos_own_check(rte->relid);
			if (paxos_is_consensus_table(rte->relid))
				paxos_set_changes(rte->relid);
			else if (get_rel_persistence(rte->relid) != RELPERSISTENCE_TEMP)
				paxos_set_local();
		}
		if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0)
			locks = paxos_rowlock_announce(stmt);
	}

	previous_executor_start(query, flags);

	if (locks)
		paxos_rowlock_watch(query);
	if (paxos_serial() && (flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && !paxos_applying &&
		!paxos_trying && !IsBinaryUpgrade && !paxos_in_own_script() && extension_here())
		paxos_serial_watch(query);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			if (wake_at_commit)
			{
				paxos_wake_proposer();
				paxos_wake_learner();
			}
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	touched = NIL; /* the memory goes with the transaction */
	wake_at_commit = false;
	dropping_extension = false;
	local_statement = false;
	truncating = 0;
}

/* A subtransaction that rolls back takes its objects with it. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId my_subid, SubTransactionId parent_subid,
					  void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		touched = NIL;
}

void
paxos_ddl_install_hooks(void)
{
	previous_utility = ProcessUtility_hook ? ProcessUtility_hook : standard_ProcessUtility;
	ProcessUtility_hook = process_utility;
	previous_executor_start = ExecutorStart_hook ? ExecutorStart_hook : standard_ExecutorStart;
	ExecutorStart_hook = executor_start;
	previous_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = analyze;
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* ------------------------------------------------------------------
 * The backstop
 * ------------------------------------------------------------------
 */

/* paxos.backstop(): the trigger function */
Datum
paxos_backstop(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("paxos.backstop() must be called as a trigger")));
	if (TRIGGER_FIRED_FOR_ROW(data->tg_event) &&
		paxos_set_captures(RelationGetRelid(data->tg_relation)))
	{
		if (!TRIGGER_FIRED_BY_INSERT(data->tg_event))
			paxos_set_needs_key(RelationGetRelid(data->tg_relation),
								TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? "update" : "delete from");
		return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple
																	   : data->tg_trigtuple);
	}
	if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) && truncating > 0)
	{
		paxos_set_truncates(RelationGetRelid(data->tg_relation));
		return PointerGetDatum(NULL);
	}
	paxos_refuse(RelationGetRelid(data->tg_relation),
				 TRIGGER_FIRED_BY_INSERT(data->tg_event)   ? "direct INSERT"
				 : TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? "direct UPDATE"
				 : TRIGGER_FIRED_BY_DELETE(data->tg_event) ? "direct DELETE"
														   : "TRUNCATE",
				 use_functions);
	PG_RETURN_NULL();
}

static void
make_backstop(Oid relid, const char *name, int16 events, bool row)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	Oid function;

	function = LookupFuncName(list_make2(makeString(PAXOS_SCHEMA), makeString("backstop")), 0, NULL,
							  false);
	stmt->replace = false;
	stmt->isconstraint = false;
	stmt->trigname = pstrdup(name);
	stmt->relation = NULL;
	stmt->funcname = NIL;
	stmt->args = NIL;
	stmt->row = row;
	stmt->timing = TRIGGER_TYPE_BEFORE;
	stmt->events = events;
	stmt->columns = NIL;
	stmt->whenClause = NULL;
	stmt->transitionRels = NIL;
	stmt->deferrable = false;
	stmt->initdeferred = false;
	stmt->constrrel = NULL;
	CreateTriggerFiringOn(stmt, NULL, relid, InvalidOid, InvalidOid, InvalidOid, function,
						  InvalidOid, NULL, true, false, TRIGGER_FIRES_ALWAYS);
	CommandCounterIncrement();
}

void
paxos_backstop_create(Oid relid)
{
	make_backstop(relid, "paxos_backstop_row",
				  TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE, true);
	make_backstop(relid, "paxos_backstop_truncate", TRIGGER_TYPE_TRUNCATE, false);
	paxos_capture_create(relid);
}

/*
 * paxos.backstop_install(regclass): for the extension script, which makes
 * paxos.kv.  Here too it is said that the library must be preloaded, and where
 * the extension belongs.
 */
Datum
paxos_backstop_install(PG_FUNCTION_ARGS)
{
	paxos_require_preload();
	if (!paxos_in_own_script())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("paxos.backstop_install() belongs to CREATE EXTENSION")));
	if (strcmp(get_database_name(MyDatabaseId), paxos_database) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"paxos_ext\" belongs in database \"%s\"", paxos_database),
			 errdetail(
				 "That is the database whose tables are replicated, by setting paxos.database."),
			 errhint(
				 "Connect to it, or change paxos.database in postgresql.conf and restart the server.")));
	paxos_backstop_create(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}
