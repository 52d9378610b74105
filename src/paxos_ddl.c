/*
 * paxos_ddl.c
 *	  Statements through the log, where they are issued: what all have in common,
 *	  CREATE TABLE ... USING paxos, DROP TABLE, CREATE INDEX, DROP INDEX.
 *
 * A statement is first tried in a subtransaction that is rolled back, so that every
 * ordinary error and every missing privilege comes up before anything is sent.  What
 * was tried is then written down anew from the catalogs (paxos_ddl_write.c).  DROP
 * is not tried, because trying it would lock the table against the learner
 * and its readers for nothing: ownership is checked, and nothing can depend on
 * a consensus table (paxos_guard.c).  CREATE INDEX is tried on an empty copy
 * of the table, because trying it on the table would build it twice, and keep
 * the learner out meanwhile.  Before what creates something is sent, the other
 * members are asked whether they have what it needs (paxos_ddl_check.c).  What
 * is done at the slot: paxos_ddl_apply.c.
 *
 * State: none beyond a flag; a crash between the slot and the end of the
 * session's wait leaves the statement done or not done on all nodes alike, and
 * the session is told that it does not know.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_target.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/fmgrprotos.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/ruleutils.h"

#include "paxos_api.h"
#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_object.h"
#include "paxos_partition.h"
#include "paxos_version.h"

bool paxos_trying = false;

/* ------------------------------------------------------------------
 * Trying
 * ------------------------------------------------------------------
 */

void
paxos_trial_begin(PaxosTrial *trial)
{
	trial->context = CurrentMemoryContext;
	trial->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(trial->context);
	trial->nest_level = NewGUCNestLevel();
	(void) set_config_option("default_tablespace", "", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, ERROR, false);
	paxos_trying = true;
}

void
paxos_trial_show(const char *schema)
{
	const char *path = GetConfigOption("search_path", false, false);

	(void) set_config_option("search_path",
							 *path == '\0' ? schema : psprintf("%s, %s", schema, path), PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
}

void
paxos_trial_end(PaxosTrial *trial)
{
	paxos_trying = false;
	AtEOXact_GUC(true, trial->nest_level);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(trial->context);
	CurrentResourceOwner = trial->owner;
}

static ErrorData *
abandon(PaxosTrial *trial)
{
	ErrorData *error;

	paxos_trying = false;
	MemoryContextSwitchTo(trial->context);
	error = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(trial->context);
	CurrentResourceOwner = trial->owner;
	return error;
}

bool
paxos_trial_met(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_INTERNAL_ERROR && error->message_id != NULL &&
		   (strcmp(error->message_id, "tuple concurrently updated") == 0 ||
			strcmp(error->message_id, "tuple concurrently deleted") == 0);
}

static void rethrow(ErrorData *error) pg_attribute_noreturn();

static void
rethrow(ErrorData *error)
{
	if (paxos_trial_met(error))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("what the statement is about was changed while it was tried"),
						errhint("The statement might succeed if retried.")));
	ReThrowError(error);
}

/*
 * In PG_CATCH: the subtransaction must be gone before the error goes on, else
 * only it would be aborted and the session be left in a failed transaction.
 */
void
paxos_trial_rethrow(PaxosTrial *trial)
{
	rethrow(abandon(trial));
}

/*
 * The same, but it returns for one error: somebody made a thing of that name while we tried,
 * and we met in the catalogs' unique index, or at its row type.  Tried again, it is found
 * to exist.
 */
void
paxos_trial_failed(PaxosTrial *trial, const char *name, Oid nsp)
{
	ErrorData *error = abandon(trial);

	if (paxos_error_of_catalogs(error))
		return;
	AcceptInvalidationMessages();
	if (error->sqlerrcode == ERRCODE_DUPLICATE_OBJECT && OidIsValid(get_relname_relid(name, nsp)))
		return;
	rethrow(error);
}

/* Carry out one statement, given as text, inside a trial. */
void
paxos_ddl_run_text(const char *sql)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "SPI_execute failed");
	SPI_finish();
}

/* The same, for what the trial alone needs: no event trigger of the user's sees it. */
void
paxos_ddl_run_unseen(const char *sql)
{
	int nest_level = NewGUCNestLevel();

	(void) set_config_option("session_replication_role", "replica", PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, ERROR, false);
	paxos_ddl_run_text(sql);
	AtEOXact_GUC(true, nest_level);
}

/* What can be seen in the statement before it is tried. */
void
paxos_ddl_check_constraint_clauses(List *constraints)
{
	ListCell *lc;

	foreach (lc, constraints)
	{
		Constraint *c = lfirst_node(Constraint, lc);

		if (c->contype == CONSTR_FOREIGN)
			paxos_ddl_not_supported(
				"a foreign key among other clauses",
				"Use ALTER TABLE ... ADD FOREIGN KEY, in a statement of its own.");
		if (c->indexspace != NULL)
			paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
	}
}

static void
check_constraints(CreateStmt *stmt, List *constraints)
{
	List *others = paxos_fkey_leave_out(constraints);

	if (stmt->partspec != NULL && list_length(others) < list_length(constraints))
		paxos_ddl_not_supported("a foreign key of a partitioned table", NULL);
	paxos_ddl_check_constraint_clauses(stmt->partbound != NULL ? constraints : others);
}

void
paxos_ddl_check_create_clauses(CreateStmt *stmt, bool partition)
{
	ListCell *lc;

	if (stmt->relation->relpersistence == RELPERSISTENCE_TEMP)
		paxos_ddl_not_supported("TEMPORARY", "Add USING heap to make an ordinary temporary table.");
	if (stmt->relation->relpersistence == RELPERSISTENCE_UNLOGGED)
		paxos_ddl_not_supported("UNLOGGED", NULL);
	if (stmt->partbound != NULL && !partition)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a consensus-backed table cannot be a partition of one that is not"),
						errhint("Add USING heap to make an ordinary partition.")));
	if (stmt->inhRelations != NIL && !partition)
		paxos_ddl_not_supported("inheritance", NULL);
	if (stmt->ofTypename != NULL)
		paxos_ddl_not_supported("CREATE TABLE OF", NULL);
	if (stmt->tablespacename != NULL)
		paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
	if (stmt->oncommit != ONCOMMIT_NOOP)
		paxos_ddl_not_supported("ON COMMIT", NULL);

	paxos_ddl_check_constraint_clauses(stmt->constraints);
	foreach (lc, stmt->tableElts)
	{
		Node *element = lfirst(lc);

		if (IsA(element, ColumnDef))
			check_constraints(stmt, ((ColumnDef *) element)->constraints);
		else if (IsA(element, Constraint))
			check_constraints(stmt, list_make1(element));
	}
}

/* ------------------------------------------------------------------
 * Where a statement is issued
 * ------------------------------------------------------------------
 */

void
paxos_ddl_begin_statement(PaxosUtility *u, const char *what)
{
	paxos_require_preload();
	PreventInTransactionBlock(u->context == PROCESS_UTILITY_TOPLEVEL, what);
	PreventCommandIfReadOnly(what);
	PreventCommandDuringRecovery(what);
	paxos_require_member();
}

bool
paxos_ddl_submit(PaxosDdlOp *op)
{
	PaxosCommand command = {0};
	PaxosCommandResult result;

	if (op->extensions != NIL)
		paxos_ddl_ask_extensions(op->extensions);
	command.kind = PAXOS_COMMAND_DDL;
	command.u.ddl = *op;

	/*
	 * A statement has no argument for a request id, and building an index may
	 * well outlast paxos.statement_timeout: it gets an id of its own, so that
	 * paxos_outcome() can be asked about the one that the error names.
	 */
	if (!pg_strong_random(command.request_id.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	command.request_id.data[6] = (command.request_id.data[6] & 0x0f) | 0x40; /* version 4 */
	command.request_id.data[8] = (command.request_id.data[8] & 0x3f) | 0x80; /* variant */
	command.has_request_id = true;
	command.request_retention_us = (uint64) paxos_request_retention_s * 1000000;
	(void) paxos_api_submit(&command, &result);
	AcceptInvalidationMessages();
	if (result.failed && result.sqlstate == ERRCODE_T_R_SERIALIZATION_FAILURE)
		return false;
	if (result.failed)
		paxos_result_raise(&result);
	return true;
}

void
paxos_ddl_notice_large(const char *table, int64 bytes)
{
	ereport(NOTICE, (errmsg("table \"%s\" has " INT64_FORMAT
							" MB: writes wait on all nodes until its rows are read",
							table, bytes / (1024 * 1024))));
}

/* What a column's clauses and LIKE have brought, and CREATE TABLE cannot say. */
static void
append_rest(PaxosDdlOp *op, Oid relid)
{
	List *rest = paxos_ddl_write_rest(relid);
	StringInfoData sql;
	ListCell *lc;

	paxos_ddl_check_parts(relid);
	if (rest == NIL)
		return;
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "tables with indexes or comments from LIKE");
	initStringInfo(&sql);
	appendStringInfoString(&sql, op->sql);
	foreach (lc, rest)
		appendStringInfo(&sql, ";\n%s", (char *) lfirst(lc));
	op->sql = sql.data;
}

void
paxos_ddl_create_table(PaxosUtility *u, CreateStmt *stmt)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	CreateStmt *copy;
	PaxosTrial trial;
	volatile bool again = false;
	List *names = NIL; /* its own and those of its indexes, as chosen here */
	Oid nsp;

	paxos_ddl_check_create_clauses(stmt, false);
	paxos_ddl_begin_statement(u, "CREATE TABLE ... USING paxos");
	if (stmt->partspec != NULL)
		paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");

	nsp = RangeVarGetCreationNamespace(stmt->relation);
	if (isAnyTempNamespace(nsp))
		paxos_ddl_not_supported("TEMPORARY", "Add USING heap to make an ordinary temporary table.");
	if (stmt->if_not_exists && OidIsValid(get_relname_relid(stmt->relation->relname, nsp)))
	{
		paxos_utility_next(u); /* says NOTICE and does nothing */
		return;
	}

	op.kind = PAXOS_DDL_CREATE_TABLE;
	op.schema = paxos_schema_name(nsp);
	op.owner = GetUserNameFromId(GetUserId(), false);

	copy = (CreateStmt *) paxos_utility_copy(&trial_u);
	copy->accessMethod = copy->partspec == NULL ? pstrdup("paxos") : NULL;
	paxos_partition_leave_out_defaults(copy);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid relid;
		int nest_level;

		List *parents = paxos_fkey_divert(copy, op.schema);

		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		relid = get_relname_relid(stmt->relation->relname, nsp);
		if (!OidIsValid(relid))
			elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
		nest_level = paxos_ddl_begin_writing_down();
		op.sql = paxos_ddl_write_table(relid, NULL, stmt->if_not_exists, false, false);
		paxos_rehearse_table(relid, op.sql);
		paxos_fkey_write(&op, relid, parents);
		AtEOXact_GUC(true, nest_level);
		paxos_ddl_check_dependencies(&op, relid, InvalidOid);
		append_rest(&op, relid);
		names = paxos_ddl_names_taken(relid);
	}
	PG_CATCH();
	{
		paxos_trial_failed(&trial, stmt->relation->relname, nsp);
		again = true;
	}
	PG_END_TRY();
	if (again)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_ddl_create_table(u, stmt);
		return;
	}
	paxos_trial_end(&trial);

	/* The completion is of what the log does, not of the trial. */
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_CREATE_TABLE, 0);
	paxos_ddl_ask_members(op.schema, op.owner, 0, names);
	if (!paxos_ddl_submit(&op))
	{
		/* A type or function that it refers to was changed meanwhile. */
		CHECK_FOR_INTERRUPTS();
		paxos_ddl_create_table(u, stmt);
	}
}

/* The name that a column of an index gets: that of the function, if it is a call of one. */
static char *
index_column_name(const IndexElem *e, List *taken)
{
	char *name = e->name != NULL ? e->name : FigureIndexColname(e->expr);
	char *result;
	ListCell *lc;

	if (name == NULL)
		name = pstrdup("expr");
	result = name;

	for (int i = 1;; i++)
	{
		bool again = false;
		char number[12];
		int len;

		foreach (lc, taken)
			again |= strcmp(lfirst(lc), result) == 0;
		if (!again)
			return result;
		snprintf(number, sizeof(number), "%d", i);
		len = pg_mbcliplen(name, (int) strlen(name), NAMEDATALEN - 1 - (int) strlen(number));
		result = psprintf("%.*s%s", len, name, number);
	}
}

char *
paxos_ddl_index_columns(List *elements)
{
	StringInfoData columns;
	List *names = NIL;
	ListCell *lc;

	initStringInfo(&columns);
	foreach (lc, elements)
	{
		char *name = index_column_name(lfirst_node(IndexElem, lc), names);

		names = lappend(names, name);
		if (columns.len < NAMEDATALEN)
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? "_" : "", name);
	}
	return columns.data;
}

/* The name PostgreSQL would choose: table, columns, "idx". */
static char *
choose_index_name(Oid table, IndexStmt *stmt)
{
	return ChooseRelationName(
		paxos_relation_name(table),
		paxos_ddl_index_columns(list_concat_copy(stmt->indexParams, stmt->indexIncludingParams)),
		"idx", get_rel_namespace(table), false);
}

void
paxos_ddl_check_owner(Oid table)
{
	if (!PaxosOwnsRelation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(table));
}

void
paxos_ddl_refuse_kv(Oid table, const char *what)
{
	if (paxos_known_table_id(table) == PAXOS_KV_TABLE_ID)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not supported on paxos.kv", what),
						errhint("The key-value table belongs to the extension.")));
}

/*
 * What an index computes is computed as the owner of its table, so that nobody's function
 * runs with the rights of a superuser who creates an index: on the copy as on the table.
 */
static void
give_to_owner(Oid copy, Oid owner)
{
	Oid user;
	int security;

	if (owner == GetUserId())
		return;
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	ATExecChangeOwner(copy, owner, false, AccessExclusiveLock);
	SetUserIdAndSecContext(user, security);
	CommandCounterIncrement();
}

void
paxos_ddl_create_index(PaxosUtility *u, IndexStmt *stmt, Oid table)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	IndexStmt *copy;
	PaxosTrial trial;
	volatile bool again = false;
	Relation rel;
	Oid nsp;
	char *schema;
	char *table_name;
	char *index_name;
	char clone[NAMEDATALEN];
	Oid owner;
	int64 table_id;
	int64 altered;
	int64 bytes;

	if (stmt->concurrent)
		paxos_ddl_not_supported("CREATE INDEX CONCURRENTLY", "Use CREATE INDEX.");
	if (stmt->tableSpace != NULL)
		paxos_ddl_not_supported("a tablespace", "Tablespaces are local to a node.");
	paxos_ddl_begin_statement(u, "CREATE INDEX on a consensus-backed table");

	/* Locked while it is looked at: somebody else's DROP may be applied at any
	 * moment, and what was looked up before it would no longer be there. */
	rel = try_relation_open(table, AccessShareLock);
	if (rel == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s\" does not exist", stmt->relation->relname)));
	nsp = RelationGetNamespace(rel);
	schema = paxos_schema_name(nsp);
	table_name = pstrdup(RelationGetRelationName(rel));
	paxos_ddl_check_owner(table);
	paxos_ddl_refuse_kv(table, "CREATE INDEX");

	table_id = paxos_known_table_id(table);
	if (stmt->idxname != NULL && OidIsValid(get_relname_relid(stmt->idxname, nsp)))
	{
		if (!stmt->if_not_exists)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
							errmsg("relation \"%s\" already exists", stmt->idxname)));
		ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
						 errmsg("relation \"%s\" already exists, skipping", stmt->idxname)));
		relation_close(rel, AccessShareLock);
		return;
	}
	index_name = stmt->idxname ? stmt->idxname : choose_index_name(table, stmt);
	altered = paxos_table_altered(table_id);
	bytes = DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(table)));
	owner = rel->rd_rel->relowner;
	relation_close(rel, AccessShareLock);
	op.owner = GetUserNameFromId(owner, false);
	if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
	{
		paxos_partition_create_index(u, stmt, table, index_name);
		return;
	}

	/* It is carried out as the owner, who may have less than a superuser who
	 * issues it: refused on every node, it would hold all of them up. */
	if (PaxosSchemaAclCheck(nsp, owner, ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", schema),
				 errdetail("The owner of the table, role \"%s\", may not create an index there.",
						   op.owner)));
	paxos_check_sees_schema(owner, nsp);
	op.kind = PAXOS_DDL_CREATE_INDEX;
	op.schema = schema;
	op.n_tables = 1;
	op.table_ids = &table_id;
	op.altered = &altered;

	snprintf(clone, sizeof(clone), "paxos_trial_%d", MyProcPid);
	copy = (IndexStmt *) paxos_utility_copy(&trial_u);
	copy->idxname = index_name;
	copy->relation = makeRangeVar(schema, clone, -1);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid index;
		int nest_level;
		char *text;
		char *place;
		char *head;
		char *clone_name = quote_qualified_identifier(schema, clone);
		StringInfoData out;
		Relation index_rel;

		paxos_ddl_run_unseen(psprintf("CREATE TABLE %s (LIKE %s) USING heap", clone_name,
									  quote_qualified_identifier(schema, table_name)));
		give_to_owner(get_relname_relid(clone, nsp), owner);
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		index = get_relname_relid(index_name, nsp);
		if (!OidIsValid(index))
			elog(ERROR, "index \"%s\" was not created", index_name);

		index_rel = index_open(index, NoLock);
		for (int i = 0; i < index_rel->rd_index->indnkeyatts; i++)
			paxos_ddl_check_collation(index_name, index_rel->rd_indcollation[i]);
		index_close(index_rel, NoLock);
		paxos_ddl_check_dependencies(&op, get_relname_relid(clone, nsp), InvalidOid);

		nest_level = paxos_ddl_begin_writing_down();
		text = pg_get_indexdef_string(index);
		head = psprintf("%s ON %s", quote_identifier(index_name),
						quote_qualified_identifier(schema, clone));
		AtEOXact_GUC(true, nest_level);

		/* "CREATE [UNIQUE] INDEX name ON clone USING ...": the table's own name */
		initStringInfo(&out);
		place = strstr(text, "INDEX ") + strlen("INDEX ");
		appendBinaryStringInfo(&out, text, place - text);
		if (stmt->if_not_exists)
			appendStringInfoString(&out, "IF NOT EXISTS ");

		/* Not searched for: the index may have a name with the copy's in it. */
		if (strncmp(place, head, strlen(head)) != 0)
			elog(ERROR, "unexpected index definition \"%s\"", text);
		appendStringInfo(&out, "%s ON %s%s", quote_identifier(index_name),
						 quote_qualified_identifier(schema, table_name), place + strlen(head));
		op.sql = out.data;
	}
	PG_CATCH();
	{
		paxos_trial_failed(&trial, index_name, nsp);
		again = true;
	}
	PG_END_TRY();
	if (again)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_ddl_create_index(u, stmt, table);
		return;
	}
	paxos_trial_end(&trial);

	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_CREATE_INDEX, 0);
	paxos_ddl_ask_members(op.schema, op.owner, table_id, list_make1(index_name));
	if (bytes >= PAXOS_LARGE_BYTES)
		paxos_ddl_notice_large(table_name, bytes);
	if (!paxos_ddl_submit(&op))
	{
		/* The table was altered meanwhile. */
		CHECK_FOR_INTERRUPTS();
		paxos_ddl_create_index(u, stmt, table);
	}
}

/* Who may drop a table: its owner, the schema's, a superuser. */
static void
check_may_drop(Oid relid, ObjectType type)
{
	Oid nsp = get_rel_namespace(relid);

	if (!PaxosOwnsRelation(relid, GetUserId()) && !PaxosOwnsSchema(nsp, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, type, get_rel_name(relid));
}

static void
notice_missing(RangeVar *rv, const char *what)
{
	ereport(NOTICE, (errmsg("%s \"%s\" does not exist, skipping", what, rv->relname)));
}

void
paxos_ddl_drop_tables(PaxosUtility *u, DropStmt *stmt)
{
	PaxosDdlOp op = {0};
	StringInfoData sql;
	Oid *relids = palloc_array(Oid, list_length(stmt->objects));
	int n_relids;
	bool tree = false; /* there are partitions, or partitioned ones, among them */
	ListCell *lc;

	paxos_ddl_begin_statement(u, "DROP TABLE of a consensus-backed table");

	initStringInfo(&sql);
	appendStringInfo(&sql, "DROP TABLE %s", stmt->missing_ok ? "IF EXISTS " : "");
	op.kind = PAXOS_DDL_DROP_TABLE;
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.schema = NULL;
	op.table_ids = palloc_array(int64, list_length(stmt->objects));

	foreach (lc, stmt->objects)
	{
		RangeVar *rv = makeRangeVarFromNameList(lfirst(lc));
		Oid relid = RangeVarGetRelid(rv, AccessShareLock, true);
		char *schema;

		/* Locked while it is looked at, as above. */
		if (!OidIsValid(relid))
		{
			if (!stmt->missing_ok)
				(void) RangeVarGetRelid(rv, NoLock, false);
			notice_missing(rv, "table");
			continue;
		}
		check_may_drop(relid, OBJECT_TABLE);
		paxos_ddl_refuse_kv(relid, "DROP TABLE");
		schema = paxos_schema_of(relid);
		if (op.schema == NULL)
			op.schema = schema;
		appendStringInfo(&sql, "%s%s", op.n_tables > 0 ? ", " : "",
						 quote_qualified_identifier(schema, paxos_relation_name(relid)));
		tree |= paxos_in_tree(relid);
		relids[op.n_tables] = relid;
		op.table_ids[op.n_tables++] = paxos_known_table_id(relid);
		UnlockRelationOid(relid, AccessShareLock);
	}
	if (tree)
		relids = paxos_partition_drop(&op, relids, &n_relids);
	else
		n_relids = op.n_tables;
	if (stmt->behavior == DROP_RESTRICT)
	{
		paxos_fkey_check_drop(relids, n_relids, false);
		paxos_object_check_drop(relids, n_relids, false);
	}
	else
	{
		appendStringInfoString(&sql, " CASCADE");
		paxos_fkey_notice_drop(relids, op.n_tables);
	}
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_DROP_TABLE, 0);

	/* Somebody else's DROP may have been applied since the names were looked at
	 * first: a statement without a name could not be parsed at its slot. */
	if (op.n_tables == 0)
		return;
	op.sql = sql.data;
	if (!paxos_ddl_submit(&op))
	{
		/* Its partitions are others meanwhile. */
		CHECK_FOR_INTERRUPTS();
		paxos_ddl_drop_tables(u, stmt);
	}
}

/*
 * An index by name, and its table, both locked ACCESS SHARE, the table first as
 * everywhere.  Either may go before it is locked; then the name is looked up anew,
 * which ends: the next look finds another index or says that there is none.  InvalidOid:
 * there is none, and that is no error.
 */
static Oid
lock_index(RangeVar *rv, bool missing_ok, Oid *index)
{
	for (;;)
	{
		Oid table;

		*index = RangeVarGetRelid(rv, NoLock, missing_ok);
		if (!OidIsValid(*index))
			return InvalidOid;
		table = IndexGetRelation(*index, true);
		if (!OidIsValid(table) && get_rel_relkind(*index) != '\0')
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is not an index", rv->relname)));
		if (OidIsValid(table))
		{
			LockRelationOid(table, AccessShareLock);
			LockRelationOid(*index, AccessShareLock);
			if (IndexGetRelation(*index, true) == table)
				return table;
			UnlockRelationOid(*index, AccessShareLock);
			UnlockRelationOid(table, AccessShareLock);
		}
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
	}
}

void
paxos_ddl_drop_index(PaxosUtility *u, DropStmt *stmt)
{
	PaxosDdlOp op = {0};
	RangeVar *rv;
	Oid index;
	Oid table;
	int64 table_id;

	if (list_length(stmt->objects) != 1)
		paxos_ddl_not_supported("DROP INDEX of several indexes in one statement",
								"Drop them one by one.");
	if (stmt->concurrent)
		paxos_ddl_not_supported("DROP INDEX CONCURRENTLY", "Use DROP INDEX.");
	paxos_ddl_begin_statement(u, "DROP INDEX on a consensus-backed table");

	rv = makeRangeVarFromNameList(linitial(stmt->objects));
	table = lock_index(rv, stmt->missing_ok, &index);
	if (!OidIsValid(table))
	{
		notice_missing(rv, "index");
		return;
	}
	check_may_drop(index, OBJECT_INDEX);
	paxos_ddl_refuse_kv(table, "DROP INDEX");
	if (OidIsValid(get_index_constraint(index)))
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg(
				 "cannot drop index \"%s\" because constraint \"%s\" on table \"%s\" requires it",
				 get_rel_name(index), get_constraint_name(get_index_constraint(index)),
				 get_rel_name(table))));

	if (get_rel_relispartition(index) && get_partition_ancestors(index) != NIL)
	{
		char *parent = paxos_relation_name(linitial_oid(get_partition_ancestors(index)));

		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("cannot drop index %s because index %s requires it",
							   get_rel_name(index), parent),
						errhint("You can drop index %s instead.", parent)));
	}
	paxos_fkey_check_drop_index(table, index, false);

	table_id = paxos_known_table_id(table);
	op.kind = PAXOS_DDL_DROP_INDEX;
	op.schema = paxos_schema_of(index);
	op.owner = GetUserNameFromId(GetUserId(), false);
	if (paxos_in_tree(table))
		paxos_tree_add(&op, table, true);
	else
	{
		op.n_tables = 1;
		op.table_ids = &table_id;
	}
	op.sql = psprintf("DROP INDEX %s%s", stmt->missing_ok ? "IF EXISTS " : "",
					  quote_qualified_identifier(op.schema, paxos_relation_name(index)));
	UnlockRelationOid(index, AccessShareLock);
	UnlockRelationOid(table, AccessShareLock);
	if (u->qc)
		SetQueryCompletion(u->qc, CMDTAG_DROP_INDEX, 0);
	if (!paxos_ddl_submit(&op))
	{
		CHECK_FOR_INTERRUPTS();
		paxos_ddl_drop_index(u, stmt);
	}
}
