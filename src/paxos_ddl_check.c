/*
 * paxos_ddl_check.c
 *	  Before a statement is sent, the other members are asked whether they can
 *	  carry it out.
 *
 * Owns: the question (paxos_ddl_ask_members) and the answer of a peer,
 * paxos.check_statement().  Not its business: trying the statement where it is
 * issued, and carrying it out at its slot (paxos_ddl.c).
 *
 * Roles, schemas, grants and ordinary relations are each node's own.  A slot
 * that needs a schema which only one node has holds up every other learner
 * until somebody creates it there (protocol.md § 6): correct, but any user who
 * may create tables in a schema that one node alone has could stop the
 * cluster, without a bad intention.  So what a member lacks is said before
 * anything is sent.
 *
 * This is a courtesy, not a guarantee: what is there now may be dropped before
 * the slot comes, and a member that is away is not asked, because a minority
 * that is down must not make DDL impossible.  What they lack then shows as
 * before: that learner is stuck, alone.  Nothing that all nodes must agree on
 * depends on the answers.
 *
 * A member that is behind would give the answer of yesterday: the schema, or the table
 * of a view, that has just been made is not there.  So it is asked whether it has applied
 * what this node has (paxos.caught_up), waits for it a little, and is not asked if it has
 * not.  Others may have gone on meanwhile: what the log itself decides is never an answer,
 * another consensus table of that name, a table that is dropped.
 *
 * No state; the connections are of this one question and never taken from
 * those reserved for the cluster's work.  A crash of either side leaves nothing.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_conn.h"
#include "paxos_ddl_int.h"
#include "paxos_extension.h"
#include "paxos_node.h"
#include "paxos_queue.h"

/* The longest paxos.connect_timeout, of which it is a part. */
#define MAX_PATIENCE_MS (60 * 1000)

PG_FUNCTION_INFO_V1(paxos_sql_caught_up);
PG_FUNCTION_INFO_V1(paxos_sql_check_statement);
PG_FUNCTION_INFO_V1(paxos_sql_check_roles);
PG_FUNCTION_INFO_V1(paxos_sql_check_function);

/*
 * Not "paxos ...": that name is for the connections by which the cluster works,
 * for which members keep some free.  However many sessions ask at once, they
 * take what clients may take; a member that is full is not asked.
 */
#define CHECK_APPLICATION_NAME "paxos_ext check"

/* ------------------------------------------------------------------
 * The member that is asked
 * ------------------------------------------------------------------
 */

/*
 * Is a relation of this node alone in the way?  One that seems to be is looked at
 * twice: between finding its name and finding what it is, the learner may have
 * dropped it or made it.
 */
static bool
relation_in_the_way(const char *name, Oid nsp)
{
	for (int i = 0; i < 2; i++)
	{
		Oid relid = get_relname_relid(name, nsp);

		if (!OidIsValid(relid) || paxos_ddl_is_known(relid) || get_rel_relkind(relid) == '\0')
			return false;
		AcceptInvalidationMessages();
	}
	return true;
}

/*
 * The row type of a table needs the name among types too.  A relation of that
 * name has been looked at already, and an array type would move away.
 */
bool
paxos_ddl_type_in_the_way(const char *name, Oid nsp)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							   ObjectIdGetDatum(nsp));
	Oid element;

	if (!OidIsValid(type) || OidIsValid(get_typ_typrelid(type)))
		return false;
	element = get_element_type(type);
	return !OidIsValid(element) || get_array_type(element) != type;
}

/*
 * What this node lacks to make a table (table_id 0) or an index of that table;
 * NULL if nothing.  The same things in the same order as at the slot.
 */
static char *
lack_here(char *schema, char *owner, int64 table_id, char **names, int n_names)
{
	Oid role;
	Oid nsp;

	if (table_id == 0)
	{
		nsp = get_namespace_oid(schema, true);
		if (!OidIsValid(nsp))
			return psprintf("schema \"%s\" does not exist", schema);
	}
	else
	{
		/* By its number; not here yet, or no longer: that is for the log to say. */
		Oid table = paxos_table_relid(table_id);

		nsp = OidIsValid(table) ? get_rel_namespace(table) : InvalidOid;
		if (!OidIsValid(nsp))
			return NULL;
		schema = get_namespace_name(nsp);
		if (schema == NULL)
			return NULL;
	}

	role = get_role_oid(owner, true);
	if (!OidIsValid(role))
		return psprintf("role \"%s\" does not exist", owner);
	if (PaxosSchemaAclCheck(nsp, role, ACL_USAGE) != ACLCHECK_OK)
		return psprintf("role \"%s\" has no USAGE privilege on schema \"%s\"", owner, schema);
	if (PaxosSchemaAclCheck(nsp, role, ACL_CREATE) != ACLCHECK_OK)
		return psprintf("role \"%s\" has no CREATE privilege on schema \"%s\"", owner, schema);

	for (int i = 0; i < n_names; i++)
	{
		if (relation_in_the_way(names[i], nsp))
			return psprintf("relation \"%s\" of that node is in the way in schema \"%s\"", names[i],
							schema);
	}
	if (table_id == 0 && paxos_ddl_type_in_the_way(names[0], nsp))
		return psprintf("type \"%s\" of that node is in the way in schema \"%s\"", names[0],
						schema);
	return NULL;
}

/*
 * paxos.caught_up(cluster, version, sender, applied, patience_ms): has this node applied that
 * slot, or does it so in time?  One that is behind gives another answer than it will at the
 * statement's slot: it does not know the schema, or the table, that has just been made.
 */
Datum
paxos_sql_caught_up(PG_FUNCTION_ARGS)
{
	px_usec began = paxos_now_us();
	px_slot applied;
	int32 patience_ms;

	(void) paxos_peer_check(fcinfo, NULL);
	applied = paxos_arg_u64(fcinfo, 3, "applied");
	if (PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("patience_ms must not be null")));
	patience_ms = PG_GETARG_INT32(4);
	if (patience_ms < 0 || patience_ms > MAX_PATIENCE_MS)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("patience_ms must be between 0 and %d", MAX_PATIENCE_MS)));
	PG_RETURN_BOOL(paxos_applied_in_time(applied, began + (px_usec) patience_ms * 1000));
}

/*
 * paxos.check_statement(cluster, version, sender, schema, owner, table_id, names):
 * what this node lacks to create a table (table_id null; names are its own and
 * those of its keys' indexes) or an index of table table_id (names is its name;
 * its schema is the table's, whatever it is called here).  Null: nothing.
 */
Datum
paxos_sql_check_statement(PG_FUNCTION_ARGS)
{
	ArrayType *array;
	Datum *values;
	bool *nulls;
	char **names;
	int n_names;
	char *lack;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3) || PG_ARGISNULL(4) || PG_ARGISNULL(6))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("schema, owner and names must not be null")));
	array = PG_GETARG_ARRAYTYPE_P(6);
	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("names must be a one-dimensional array without nulls")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n_names);
	names = palloc_array(char *, n_names);
	for (int i = 0; i < n_names; i++)
		names[i] = TextDatumGetCString(values[i]);

	lack = lack_here(text_to_cstring(PG_GETARG_TEXT_PP(3)), text_to_cstring(PG_GETARG_TEXT_PP(4)),
					 PG_ARGISNULL(5) ? 0 : PG_GETARG_INT64(5), names, n_names);
	if (lack == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(lack));
}

/*
 * paxos.check_function(cluster, version, sender, function, schema, owner): the same of a
 * function; schema and owner not null: it can be made.
 */
Datum
paxos_sql_check_function(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(find, 1);
	char *function;
	Datum found;
	Oid save_user;
	int save_context;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("function must not be null")));
	function = text_to_cstring(PG_GETARG_TEXT_PP(3));
	InitFunctionCallInfoData(*find, NULL, 1, InvalidOid, NULL, NULL);
	find->args[0].value = PG_GETARG_DATUM(3);
	find->args[0].isnull = false;

	/*
	 * The learner may look everywhere, and it is in its place that this is asked: as the
	 * node's own role a schema closed to it would be an error, which counts as no answer,
	 * and the statement would be sent.
	 */
	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_context | SECURITY_RESTRICTED_OPERATION);
	found = to_regprocedure(find); /* null if there is none */
	SetUserIdAndSecContext(save_user, save_context);
	if (!find->isnull)
	{
		/* It is asked for triggers only. */
		if (get_func_rettype(DatumGetObjectId(found)) == TRIGGEROID)
			PG_RETURN_NULL();
		PG_RETURN_TEXT_P(cstring_to_text(
			psprintf("function %s of that node does not return type trigger", function)));
	}
	if (!PG_ARGISNULL(4) && !PG_ARGISNULL(5))
	{
		char *schema = text_to_cstring(PG_GETARG_TEXT_PP(4));
		char *owner = text_to_cstring(PG_GETARG_TEXT_PP(5));

		if (!OidIsValid(get_namespace_oid(schema, true)))
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("schema \"%s\" does not exist", schema)));
		if (!OidIsValid(get_role_oid(owner, true)))
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("role \"%s\" does not exist", owner)));
		PG_RETURN_NULL();
	}
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("function %s does not exist", function)));
}

/* paxos.check_roles(cluster, version, sender, roles): which of them this node lacks. */
Datum
paxos_sql_check_roles(PG_FUNCTION_ARGS)
{
	Datum *values;
	int n;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3) || array_contains_nulls(PG_GETARG_ARRAYTYPE_P(3)))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("roles must not be null")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(3), TEXTOID, -1, false, TYPALIGN_INT, &values, NULL,
					  &n);
	for (int i = 0; i < n; i++)
	{
		char *role = TextDatumGetCString(values[i]);

		if (!OidIsValid(get_role_oid(role, true)))
			PG_RETURN_TEXT_P(cstring_to_text(psprintf("role \"%s\" does not exist", role)));
	}
	PG_RETURN_NULL();
}

/* ------------------------------------------------------------------
 * Where the statement is issued
 * ------------------------------------------------------------------
 */

static char *
names_as_text(List *names)
{
	Datum *values = palloc_array(Datum, list_length(names));
	ListCell *lc;
	int n = 0;

	foreach (lc, names)
		values[n++] = CStringGetTextDatum((char *) lfirst(lc));
	return OidOutputFunctionCall(
		F_ARRAY_OUT, PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* What this session has seen of definitions is not of a later slot. */
static px_slot
applied_here(void)
{
	px_slot applied;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	applied = paxos_shared->applied;
	LWLockRelease(paxos_learner_lock);
	return applied;
}

/* The rest of the time for one member, in milliseconds. */
static int
time_left_ms(px_usec deadline)
{
	px_usec now = paxos_now_us();

	return now >= deadline ? 0 : (int) Min((deadline - now) / 1000, paxos_connect_timeout_ms);
}

/* The one value that it answers; NULL: null, or no answer. */
static char *
ask(PaxosConn *conn, const PaxosMember *m, const char *sql, const char *const *params, int n_params,
	px_usec deadline)
{
	char *error = NULL;
	char *value = NULL;
	PGresult *result =
		paxos_conn_exec(conn, sql, n_params, params, 0, time_left_ms(deadline), &error);

	if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
	{
		if (!PQgetisnull(result, 0, 0))
			value = pstrdup(PQgetvalue(result, 0, 0));
	}
	else
		ereport(DEBUG1, (errmsg_internal("member \"%s\" did not answer: %s", m->name,
										 result ? PQresultErrorMessage(result) : error)));
	PQclear(result);
	return value;
}

/* What one member answers; NULL: it lacks nothing, is behind, or does not answer. */
static char *
ask_member(PaxosMember *m, const char *sql, const char *const *params, int n_params,
		   px_usec deadline)
{
	char *error = NULL;
	char *lack = NULL;
	char *caught_up;
	PaxosConn *conn;

	if (time_left_ms(deadline) == 0)
		return NULL;
	conn = paxos_conn_open_as(m->conninfo, CHECK_APPLICATION_NAME, time_left_ms(deadline), false,
							  &error);
	if (conn == NULL)
	{
		ereport(DEBUG1, (errmsg_internal("member \"%s\" was not asked: %s", m->name, error)));
		return NULL;
	}
	{
		const char *so_far[] = {params[0], params[1], params[2],
								psprintf(UINT64_FORMAT, applied_here()),
								psprintf("%d", time_left_ms(deadline) / 2)};

		caught_up = ask(conn, m,
						"SELECT paxos.caught_up($1::pg_catalog.uuid, $2::int, $3::int, "
						"$4::bigint, $5::int)",
						so_far, lengthof(so_far), deadline);
	}
	if (caught_up != NULL && strcmp(caught_up, "t") == 0)
		lack = ask(conn, m, sql, params, n_params, deadline);
	paxos_conn_close(conn);
	return lack;
}

/*
 * One after the other, each for at most paxos.connect_timeout.  A server that is
 * down refuses at once; a machine that is silent takes its time.  All together
 * get the time that a silent minority takes, and one member more: as long as the
 * statement can be chosen at all, everybody who is there is asked.
 */
static void
ask_members(const char *sql, const char **params, int n_params, const char *hint)
{
	List *members = paxos_node_members();
	char *first_lack = NULL;
	char *first_name = NULL;
	StringInfoData more;
	pg_uuid_t cluster;
	px_node self;
	px_usec deadline;
	ListCell *lc;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	cluster = paxos_shared->cluster_id;
	self = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);

	params[0] = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&cluster)));
	params[1] = psprintf("%d", paxos_version_in_use());
	params[2] = psprintf("%d", self);

	initStringInfo(&more);
	deadline = paxos_now_us() +
			   (px_usec) paxos_connect_timeout_ms * 1000 * ((list_length(members) - 1) / 2 + 1);
	foreach (lc, members)
	{
		PaxosMember *m = lfirst(lc);
		char *lack = m->node == self ? NULL : ask_member(m, sql, params, n_params, deadline);

		if (lack == NULL)
			continue;
		if (first_lack == NULL)
		{
			first_lack = lack;
			first_name = m->name;
		}
		else
			appendStringInfo(&more, "\nNor can node \"%s\": %s.", m->name, lack);
	}

	if (first_lack != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" could not carry out the statement: %s", first_name,
							   first_lack),
						errdetail("Nothing has been sent.%s", more.data), errhint("%s", hint)));
}

void
paxos_ddl_ask_members(const char *schema, const char *owner, int64 table_id, List *names)
{
	const char *params[7];

	params[3] = schema;
	params[4] = owner;
	params[5] = table_id == 0 ? NULL : psprintf(INT64_FORMAT, table_id);
	params[6] = names_as_text(names);
	ask_members(
		"SELECT paxos.check_statement($1::pg_catalog.uuid, $2::int, $3::int, "
		"$4, $5, $6::bigint, $7::text[])",
		params, lengthof(params),
		"Roles, schemas, grants and ordinary relations are each server's own: create there what is missing, or rename what is in the way.");
}

void
paxos_ddl_ask_for_function(const char *function, const char *schema, const char *owner)
{
	const char *params[6];

	params[3] = function;
	params[4] = schema;
	params[5] = owner;
	ask_members("SELECT paxos.check_function($1::pg_catalog.uuid, $2::int, $3::int, $4, $5, $6)",
				params, lengthof(params), "Create the function there, too, with the same body.");
}

void
paxos_ddl_ask_to_try(const PaxosDdlOp *op)
{
	PaxosCommand command = {0};
	const char *params[4];
	Size len;
	char *bytes;
	char *hex;

	command.kind = PAXOS_COMMAND_DDL;
	command.u.ddl = *op;
	bytes = paxos_command_encode(&command, &len);
	hex = palloc(len * 2 + 3);
	strcpy(hex, "\\x");
	hex[2 + hex_encode(bytes, len, hex + 2)] = '\0';
	params[3] = hex;
	ask_members("SELECT paxos.try_statement($1::pg_catalog.uuid, $2::int, $3::int, $4::bytea)",
				params, lengthof(params),
				"Roles, privileges, languages, extensions and whatever does not go through the log "
				"are each server's own: create there what is missing, or take away what is in the "
				"way.");
}

void
paxos_ddl_ask_extensions(List *extensions)
{
	const char *params[4];

	params[3] = names_as_text(paxos_extension_describe(extensions));
	ask_members(
		"SELECT paxos.check_extensions($1::pg_catalog.uuid, $2::int, $3::int, $4::text[])", params,
		lengthof(params),
		"Extensions are each server's own: create what is missing there, of the same version "
		"and in the same schema.");
}

void
paxos_ddl_ask_roles(List *roles)
{
	const char *params[4];

	params[3] = names_as_text(roles);
	ask_members("SELECT paxos.check_roles($1::pg_catalog.uuid, $2::int, $3::int, $4::text[])",
				params, lengthof(params),
				"Roles are each server's own: create what is missing there.");
}
