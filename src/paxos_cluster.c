/*
 * paxos_cluster.c
 *	  Forming a cluster: paxos_create_cluster(), and the functions paxos.form_*
 *	  by which it works on each node.
 *
 * Owns: the checks before, the two steps, and finishing what an interrupted
 * call left.  Not its business: what a node does once it has begun.
 *
 * protocol.md § 7: first all nodes record (uuid, node id, configuration) as
 * *forming*; only when all have may any *begin*, and only a node that has begun
 * votes.
 *
 * Why nothing half-formed can decide anything: a node's acceptor answers
 * messages of one uuid only, the one it has begun with, and begins only with
 * the uuid it has recorded.  Begun is for ever (no record replaces it), and a
 * node begins with an empty log and no promise.  So at most one cluster counts
 * on any node's vote, whatever calls were interrupted.
 *
 * The rule for a call that finds records of an earlier one, all listed nodes
 * having been asked:
 *
 *		begun nowhere				a new attempt; its records replace the old
 *		begun somewhere, with U		every other listed node must be forming with
 *									U and the same configuration, of exactly the
 *									listed nodes: the call resumes step 2 for U.
 *									Else refused: a node without a record of U may
 *									have had one, and have voted, and lost it
 *		begun everywhere with U		refused: there is nothing to form
 *
 * Two calls at once cannot mix: each first takes the forming lock of every
 * node, a session-long lock held by the connection over which it then records
 * and begins, in the order of the connection strings, so that two calls with
 * the same list do not stop each other half-way.  If the connection breaks, the
 * lock goes, and the call fails at its next step there.
 *
 * With the lock the node keeps, in shared memory, a number of the attempt and
 * its place in the list.  So a connection string leads to a given node if and
 * only if paxos.form_identity() says so at its far end: two strings for one
 * server, one server's "localhost" seen from another machine, a cloned virtual
 * machine with the same system identifier are all told apart by that.  Every
 * node tries every string, for these are what the nodes will use.
 *
 * A crash of the calling session at any point leaves records that the next call
 * judges by the rule above.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "paxos_acceptor.h"
#include "paxos_cluster.h"
#include "paxos_configuration.h"
#include "paxos_identity.h"

PG_FUNCTION_INFO_V1(paxos_create_cluster);
PG_FUNCTION_INFO_V1(paxos_form_lock);
PG_FUNCTION_INFO_V1(paxos_form_unlock);
PG_FUNCTION_INFO_V1(paxos_form_identity);
PG_FUNCTION_INFO_V1(paxos_form_probe);
PG_FUNCTION_INFO_V1(paxos_form_reach);
PG_FUNCTION_INFO_V1(paxos_form_record);
PG_FUNCTION_INFO_V1(paxos_form_begin);

#define CONNECT_PATIENCE_MS \
	Max(paxos_connect_timeout_ms, 10000) /* once in a
																		 * cluster's life */
#define LOCK_PATIENCE_MS \
	3000 /* a session that has just failed may hold it
										 * for a moment longer */
#define LEADER_PATIENCE_MS 30000
char *
paxos_uuid_text(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

static pg_uuid_t
text_uuid(const char *text)
{
	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text)));
}

pg_uuid_t
paxos_random_uuid(void)
{
	pg_uuid_t uuid;

	if (!pg_strong_random(uuid.data, UUID_LEN))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	uuid.data[6] = (uuid.data[6] & 0x0f) | 0x40;
	uuid.data[8] = (uuid.data[8] & 0x3f) | 0x80;
	return uuid;
}

/*
 * ---- on each node ----
 */

static uint32 lock_event = 0;
static uint32 leader_event = 0;

static bool holds_forming_lock = false;

static void
forming_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, PAXOS_LOCK_FORMING, PAXOS_LOCK_FIELD4);
}

void
paxos_require_right_place(void)
{
	paxos_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a physical standby cannot be a node of a cluster")));
	if (get_database_oid(paxos_database, true) != MyDatabaseId)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("paxos_ext works in database \"%s\" of this server, not in \"%s\"",
					paxos_database, get_database_name(MyDatabaseId)),
			 errhint(
				 "Let the connection string name that database, or change paxos.database and restart the server.")));
}

void
paxos_require_forming_lock(void)
{
	if (!holds_forming_lock)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this session does not hold the forming lock"),
						errhint("Call paxos_create_cluster(), not this function.")));
}

/* Who has the lock: attempt and place in its list. */
static Datum
forming_holder(FunctionCallInfo fcinfo)
{
	TupleDesc desc;
	pg_uuid_t *attempt = palloc(sizeof(pg_uuid_t));
	Datum values[2];
	bool nulls[2] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	*attempt = paxos_shared->form_attempt;
	values[1] = Int32GetDatum(paxos_shared->form_index);
	LWLockRelease(paxos_identity_lock);
	values[0] = UUIDPGetDatum(attempt);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * paxos.form_lock(attempt, index): take the lock for this session and return
 * who has it now: the caller, or somebody who does not let go.
 */
Datum
paxos_form_lock(PG_FUNCTION_ARGS)
{
	pg_uuid_t *attempt = PG_GETARG_UUID_P(0);
	int index = PG_GETARG_INT32(1);
	px_usec deadline = paxos_now_us() + (px_usec) LOCK_PATIENCE_MS * 1000;
	LOCKTAG tag;
	bool mine = holds_forming_lock;

	paxos_require_right_place();
	forming_tag(&tag);
	while (!mine)
	{
		bool same_attempt;

		if (LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL)
		{
			holds_forming_lock = mine = true;
			break;
		}
		LWLockAcquire(paxos_identity_lock, LW_SHARED);
		same_attempt = memcmp(&paxos_shared->form_attempt, attempt, sizeof(*attempt)) == 0;
		LWLockRelease(paxos_identity_lock);
		if (same_attempt || paxos_now_us() > deadline)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50L,
						 paxos_wait_event(&lock_event, "PaxosFormingLock"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	if (mine)
	{
		LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
		paxos_shared->form_attempt = *attempt;
		paxos_shared->form_index = index;
		LWLockRelease(paxos_identity_lock);
	}
	return forming_holder(fcinfo);
}

Datum
paxos_form_unlock(PG_FUNCTION_ARGS)
{
	LOCKTAG tag;

	paxos_require_preload();
	if (holds_forming_lock)
	{
		forming_tag(&tag);
		(void) LockRelease(&tag, ExclusiveLock, true);
		holds_forming_lock = false;
	}
	PG_RETURN_VOID();
}

Datum
paxos_form_identity(PG_FUNCTION_ARGS)
{
	paxos_require_right_place();
	return forming_holder(fcinfo);
}

/* paxos.form_probe(): what this node has recorded, from its tables. */
Datum
paxos_form_probe(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	PaxosNodeRow row;
	PaxosConfiguration c;
	Datum values[5];
	bool nulls[5] = {false, false, true, true, true};

	paxos_require_right_place();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	values[0] = Int32GetDatum(paxos_protocol_max);
	values[1] = CStringGetTextDatum("none");
	PushActiveSnapshot(GetLatestSnapshot());
	if (paxos_node_row_read(&row) && paxos_configuration_read(&c))
	{
		bytea *bytes = palloc(VARHDRSZ + c.value.len);
		pg_uuid_t *cluster = palloc(sizeof(pg_uuid_t));

		SET_VARSIZE(bytes, VARHDRSZ + c.value.len);
		memcpy(VARDATA(bytes), c.value.data, c.value.len);
		*cluster = row.cluster_id;
		values[1] = CStringGetTextDatum(row.begun ? "member" : "forming");
		values[2] = UUIDPGetDatum(cluster);
		values[3] = Int32GetDatum(row.node_id);
		values[4] = PointerGetDatum(bytes);
		nulls[2] = nulls[3] = nulls[4] = false;
	}
	PopActiveSnapshot();
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

static int
text_array(ArrayType *array, const char *what, char ***out)
{
	Datum *values;
	bool *nulls;
	int n;

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("%s must be a one-dimensional array without nulls", what)));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	*out = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		(*out)[i] = TextDatumGetCString(values[i]);
	return n;
}

/*
 * paxos.form_reach(attempt, conninfos): this server tries every connection
 * string from where it stands.
 */
Datum
paxos_form_reach(PG_FUNCTION_ARGS)
{
	char *attempt = paxos_uuid_text(PG_GETARG_UUID_P(0));
	char **conninfos;
	int n;

	paxos_require_right_place();
	paxos_require_forming_lock();
	n = text_array(PG_GETARG_ARRAYTYPE_P(1), "conninfos", &conninfos);
	for (int i = 0; i < n; i++)
	{
		char *error = NULL;
		PaxosConn *conn = paxos_conn_open(conninfos[i], CONNECT_PATIENCE_MS, false, &error);
		PGresult *result;
		bool right;

		if (conn == NULL)
			ereport(ERROR, (errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
							errmsg("could not connect to \"%s\" from this server", conninfos[i]),
							errdetail_internal("%s", error)));
		result = paxos_conn_exec(conn, "SELECT attempt::text, index FROM paxos.form_identity()", 0,
								 NULL, 0, PAXOS_FORM_TIMEOUT_MS, &error);
		if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK)
		{
			if (result != NULL)
			{
				error = pchomp(PQresultErrorMessage(result));
				PQclear(result);
			}
			ereport(ERROR, (errcode(ERRCODE_CONNECTION_EXCEPTION),
							errmsg("\"%s\" leads somewhere else from this server", conninfos[i]),
							errdetail_internal("%s", error)));
		}
		right =
			strcmp(PQgetvalue(result, 0, 0), attempt) == 0 && atoi(PQgetvalue(result, 0, 1)) == i;
		PQclear(result);
		paxos_conn_close(conn);
		if (!right)
			ereport(ERROR, (errcode(ERRCODE_CONNECTION_EXCEPTION),
							errmsg("\"%s\" leads to another server from this one", conninfos[i]),
							errhint("Use addresses that mean the same on every node.")));
	}
	PG_RETURN_VOID();
}

void
paxos_require_new_node(void)
{
	PaxosAcceptorRow acceptor = paxos_acceptor_row_read();
	px_entry entry;
	px_slot last;

	/* What it voted for before would count. */
	(void) paxos_log_above(0, 1, &entry, &last);
	if (acceptor.promised != 0 || acceptor.truncated != 0 || last != 0 || paxos_node_applied() != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this node's tables are not those of a new node"),
			 errhint(
				 "Run DROP EXTENSION paxos_ext CASCADE and CREATE EXTENSION paxos_ext there.")));
}

/* paxos.form_record(cluster, node, configuration): step 1 on this node. */
Datum
paxos_form_record(PG_FUNCTION_ARGS)
{
	pg_uuid_t *cluster = PG_GETARG_UUID_P(0);
	int node = PG_GETARG_INT32(1);
	bytea *bytes = PG_GETARG_BYTEA_PP(2);
	px_bytes value;
	px_value_view view;
	px_config config;
	PaxosNodeRow row;

	paxos_require_right_place();
	paxos_require_forming_lock();

	value.data = (const uint8_t *) VARDATA_ANY(bytes);
	value.len = VARSIZE_ANY_EXHDR(bytes);
	if (!px_value_open(value, &view) || view.kind != PX_VALUE_CONFIG ||
		!px_value_config(&view, 0, &config) || node < 1 || node > PG_UINT16_MAX ||
		px_config_find(&config, (px_node) node) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the configuration is malformed or lacks node %d", node)));

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	memset(&row, 0, sizeof(row));
	if (paxos_node_row_read(&row) && row.begun)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node belongs to cluster %s already",
							   paxos_uuid_text(&row.cluster_id))));

	paxos_require_new_node();
	row.cluster_id = *cluster;
	row.node_id = (px_node) node;
	row.begun = false;
	row.incarnation = 0;
	paxos_identity_adopt(&row);
	paxos_node_row_write(&row);
	paxos_configuration_write(0, 0, value, true);
	PopActiveSnapshot();
	paxos_commit_locally();
	paxos_node_wake_workers_at_commit();
	PG_RETURN_VOID();
}

/* paxos.form_begin(cluster): step 2 on this node. */
Datum
paxos_form_begin(PG_FUNCTION_ARGS)
{
	pg_uuid_t *cluster = PG_GETARG_UUID_P(0);
	PaxosNodeRow row;

	paxos_require_right_place();
	paxos_require_forming_lock();

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	if (!paxos_node_row_read(&row) || memcmp(&row.cluster_id, cluster, sizeof(*cluster)) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node has not recorded cluster %s", paxos_uuid_text(cluster)),
						errdetail("Its record was replaced, or never made.")));
	if (!row.begun)
	{
		row.begun = true;
		paxos_node_row_write(&row);
		paxos_commit_locally();
		paxos_node_wake_workers_at_commit();
	}
	PopActiveSnapshot();
	PG_RETURN_VOID();
}

/*
 * ---- where paxos_create_cluster() was called ----
 */

PGresult *
paxos_form_ask(FormNode *node, const char *doing, const char *sql, int n_params,
			   const char *const *params, int timeout_ms, const char *hint)
{
	char *error = NULL;
	PGresult *result = paxos_conn_exec(node->conn, sql, n_params, params, 0, timeout_ms, &error);
	char *primary = error;
	char *detail = NULL;

	if (result != NULL &&
		(PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK))
		return result;
	if (result != NULL)
	{
		const char *m = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
		const char *d = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
		const char *h = PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);

		primary = pstrdup(m ? m : PQresultErrorMessage(result));
		detail = d ? pstrdup(d) : NULL;
		if (hint == NULL && h != NULL)
			hint = pstrdup(h);
		PQclear(result);
	}
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("could not %s on node \"%s\" (%s)", doing, node->name, node->conninfo),
					detail ? errdetail_internal("%s: %s", primary, detail)
						   : errdetail_internal("%s", primary),
					hint ? errhint("%s", hint) : 0));
}

char *
paxos_form_field(PGresult *result, int column)
{
	return PQgetisnull(result, 0, column) ? NULL : pstrdup(PQgetvalue(result, 0, column));
}

/* What may stand in a connection string that every node will keep and use. */
void
paxos_form_check_conninfo(int number, const char *conninfo)
{
	char *error = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &error);
	const char *secret = NULL;
	bool several = false;

	if (options == NULL)
	{
		char *why = error ? pchomp(error) : pstrdup("out of memory");

		/* Not shown itself: there may be a password in it after all. */
		PQfreemem(error);
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("connection string %d is invalid", number),
				 errdetail_internal("%s", why)));
	}
	for (PQconninfoOption *o = options; o->keyword != NULL; o++)
	{
		if (o->val == NULL || o->val[0] == '\0')
			continue;
		if (strcmp(o->keyword, "password") == 0)
			secret = "password";
		else if (strcmp(o->keyword, "sslpassword") == 0)
			secret = "sslpassword";
		else if ((strcmp(o->keyword, "host") == 0 || strcmp(o->keyword, "hostaddr") == 0 ||
				  strcmp(o->keyword, "port") == 0) &&
				 strchr(o->val, ',') != NULL)
			several = true;
	}
	PQconninfoFree(options);
	if (secret != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("connection strings of nodes must not contain a %s", secret),
			 errdetail("They are kept in tables and shown in views."),
			 errhint(
				 "Put it into a password file or a connection service file of the server's user on every node.")));
	if (several)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("connection string \"%s\" names several servers", conninfo)));
	if (strlen(conninfo) >= PX_MAX_CONNINFO)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("connection string is longer than %d bytes", PX_MAX_CONNINFO - 1)));
}

PaxosConn *
paxos_form_connect(const char *conninfo, char **error)
{
	return paxos_conn_open(conninfo, CONNECT_PATIENCE_MS, false, error);
}

void
paxos_form_survey(FormNode *node)
{
	static const char *const question =
		"SELECT (pg_catalog.current_setting('server_version_num')::int / 10000)::text,"
		" pg_catalog.pg_is_in_recovery(),"
		" pg_catalog.pg_encoding_to_char(d.encoding),"
		" pg_catalog.concat_ws('/', j->>'datlocprovider', j->>'datcollate', j->>'datctype',"
		"  coalesce(j->>'daticulocale', j->>'datlocale'), j->>'daticurules'),"
		" pg_catalog.concat_ws('/', j->>'datcollversion',"
		"  pg_catalog.pg_database_collation_actual_version(d.oid)),"
		" (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname = 'paxos_ext'),"
		" coalesce((SELECT pg_catalog.pg_has_role(r.oid, 'USAGE')"
		"  FROM pg_catalog.pg_roles r WHERE r.rolname = 'paxos_peer'), false),"
		" d.datname, current_user,"
		/* not current_setting(): a line in the file alone would answer it */
		" (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'paxos.database')"
		" FROM pg_catalog.pg_database d, LATERAL pg_catalog.to_jsonb(d) j"
		" WHERE d.datname = pg_catalog.current_database()";
	char *error = NULL;
	PGresult *result;
	char *in_recovery;
	char *may_call;
	char *database;
	char *role;
	char *wanted;

	if (node->conn == NULL)
		node->conn = paxos_form_connect(node->conninfo, &error);
	if (node->conn == NULL)
		ereport(ERROR, (errcode(ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION),
						errmsg("could not connect to node \"%s\" (%s)", node->name, node->conninfo),
						errdetail_internal("%s", error)));
	result = paxos_form_ask(node, "look around", question, 0, NULL, PAXOS_FORM_TIMEOUT_MS, NULL);
	node->major_version = paxos_form_field(result, 0);
	in_recovery = paxos_form_field(result, 1);
	node->encoding = paxos_form_field(result, 2);
	node->locale = paxos_form_field(result, 3);
	node->collation_version = paxos_form_field(result, 4);
	node->extension_version = paxos_form_field(result, 5);
	may_call = paxos_form_field(result, 6);
	database = paxos_form_field(result, 7);
	role = paxos_form_field(result, 8);
	wanted = paxos_form_field(result, 9);
	PQclear(result);

	if (in_recovery[0] == 't')
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("node \"%s\" (%s) is a physical standby", node->name, node->conninfo)));
	if (wanted == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("paxos_ext is not loaded at the start of node \"%s\" (%s)", node->name,
					node->conninfo),
			 errhint(
				 "Add paxos_ext to shared_preload_libraries in its postgresql.conf and restart it.")));
	if (strcmp(wanted, database) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("node \"%s\" (%s) works in database \"%s\", not in \"%s\"", node->name,
					node->conninfo, wanted, database),
			 errhint(
				 "Let the connection string name that database, or change paxos.database there and restart the server.")));
	if (node->extension_version == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension paxos_ext is missing on node \"%s\" (%s)", node->name,
						node->conninfo),
				 errhint("Run CREATE EXTENSION paxos_ext in database \"%s\" there.", database)));
	if (may_call[0] != 't')
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not call the functions of peers on node \"%s\" (%s)", role,
						node->name, node->conninfo),
				 errhint("Run GRANT paxos_peer TO %s there.", quote_identifier(role))));
}

static void
must_be_equal(const FormNode *a, const FormNode *b, const char *what, const char *of_a,
			  const char *of_b)
{
	if (strcmp(of_a, of_b) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nodes \"%s\" and \"%s\" differ in their %s", a->name, b->name, what),
				 errdetail("Node \"%s\" has \"%s\", node \"%s\" has \"%s\".", a->name, of_a,
						   b->name, of_b)));
}

void
paxos_form_must_agree(const FormNode *a, const FormNode *b)
{
	must_be_equal(a, b, "major version of PostgreSQL", a->major_version, b->major_version);
	must_be_equal(a, b, "version of paxos_ext", a->extension_version, b->extension_version);
	must_be_equal(a, b, "encoding", a->encoding, b->encoding);

	/* else unique keys and comparisons of text differ between nodes */
	must_be_equal(a, b, "default collation", a->locale, b->locale);
	must_be_equal(a, b, "version of the default collation", a->collation_version,
				  b->collation_version);
}

static int
by_conninfo(const void *a, const void *b)
{
	return strcmp((*(FormNode *const *) a)->conninfo, (*(FormNode *const *) b)->conninfo);
}

/* Take every node's forming lock. */
void
paxos_form_lock_all(FormNode *nodes, int n, const pg_uuid_t *attempt, const char *caller)
{
	FormNode *order[PX_MAX_MEMBERS + 1];
	char *attempt_text = paxos_uuid_text(attempt);

	for (int i = 0; i < n; i++)
		order[i] = &nodes[i];
	qsort(order, n, sizeof(order[0]), by_conninfo);
	for (int i = 0; i < n; i++)
	{
		int index = (int) (order[i] - nodes);
		char *index_text = psprintf("%d", index);
		const char *params[] = {attempt_text, index_text};
		PGresult *result =
			paxos_form_ask(order[i], "begin",
						   "SELECT attempt::text, index FROM paxos.form_lock($1::uuid, $2::int)", 2,
						   params, PAXOS_FORM_TIMEOUT_MS, NULL);
		char *holder = paxos_form_field(result, 0);
		int holder_index = atoi(PQgetvalue(result, 0, 1));

		PQclear(result);
		if (strcmp(holder, attempt_text) != 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
							errmsg("another call of %s, or one like it, is at work on node \"%s\"",
								   caller, order[i]->name),
							errhint("Wait until it has ended.")));
		if (holder_index != index)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("nodes \"%s\" and \"%s\" are one and the same server",
								   nodes[Min(holder_index, index)].name,
								   nodes[Max(holder_index, index)].name)));
	}
}

void
paxos_form_unlock_all(FormNode *nodes, int n)
{
	for (int i = 0; i < n; i++)
	{
		char *error;

		PQclear(paxos_conn_exec(nodes[i].conn, "SELECT paxos.form_unlock()", 0, NULL, 0,
								PAXOS_FORM_TIMEOUT_MS, &error));
		paxos_conn_close(nodes[i].conn);
		nodes[i].conn = NULL;
	}
}

void
paxos_form_probe_node(FormNode *node)
{
	PGresult *result = paxos_form_ask(node, "look into the records",
									  "SELECT protocol, state, cluster::text, configuration::text,"
									  " paxos.form_contents(), node FROM paxos.form_probe()",
									  0, NULL, PAXOS_FORM_TIMEOUT_MS, NULL);
	char *state = paxos_form_field(result, 1);
	char *cluster = paxos_form_field(result, 2);

	node->configuration = paxos_form_field(result, 3);
	node->contents = paxos_form_field(result, 4);
	node->node_id = atoi(PQgetvalue(result, 0, 5));
	node->protocol = atoi(PQgetvalue(result, 0, 0));
	PQclear(result);
	node->recorded = strcmp(state, "none") != 0;
	node->begun = strcmp(state, "member") == 0;
	if (node->recorded)
		node->cluster = text_uuid(cluster);
}

/* No node enters a cluster whose nodes are of different versions, or makes it one:
 * what is in use could not be read by it. */
void
paxos_form_must_speak_alike(const FormNode *node)
{
	if (node->protocol != paxos_protocol_max)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("node \"%s\" speaks protocol version %d, this node version %d",
							   node->name, node->protocol, paxos_protocol_max),
						errhint("Install the same version of paxos_ext on all nodes and restart "
								"their servers.")));
}

void
paxos_form_reach_all(FormNode *nodes, int n, const pg_uuid_t *attempt)
{
	Datum strings[PX_MAX_MEMBERS + 1];
	char *array;
	const char *params[2];
	Oid out;
	bool varlena;

	for (int i = 0; i < n; i++)
		strings[i] = CStringGetTextDatum(nodes[i].conninfo);
	getTypeOutputInfo(TEXTARRAYOID, &out, &varlena);
	array = OidOutputFunctionCall(
		out, PointerGetDatum(construct_array(strings, n, TEXTOID, -1, false, TYPALIGN_INT)));
	params[0] = paxos_uuid_text(attempt);
	params[1] = array;
	for (int i = 0; i < n; i++)
		PQclear(paxos_form_ask(&nodes[i], "reach all nodes",
							   "SELECT paxos.form_reach($1::uuid, $2::text[])", 2, params,
							   PAXOS_FORM_TIMEOUT_MS + n * CONNECT_PATIENCE_MS, NULL));
}

char *
paxos_bytea_text(px_bytes bytes)
{
	char *text = palloc(2 + 2 * bytes.len + 1);

	strcpy(text, "\\x");
	hex_encode((const char *) bytes.data, bytes.len, text + 2);
	text[2 + 2 * bytes.len] = '\0';
	return text;
}

/* The configuration as bytea text. */
static char *
encode_configuration(const FormNode *nodes, int n)
{
	uint8_t *buf = palloc(PX_MAX_CONFIG_BYTES);
	px_value_writer w;

	px_value_begin(&w, buf, PX_MAX_CONFIG_BYTES, PX_VALUE_CONFIG, 0);
	for (int i = 0; i < n; i++)
		if (!px_value_add_member(&w, (px_node) (i + 1), true, nodes[i].name, nodes[i].conninfo))
			elog(ERROR, "the configuration does not fit");
	return paxos_bytea_text(px_value_end(&w));
}

/* Does a recorded configuration consist of exactly the listed addresses? */
static bool
consists_of(const char *configuration, const FormNode *nodes, int n)
{
	bytea *bytes = DatumGetByteaPP(DirectFunctionCall1(byteain, CStringGetDatum(configuration)));
	px_bytes value = {(const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
	px_value_view view;
	px_member_view member;
	uint32_t pos = 0;
	int found = 0;

	if (!px_value_open(value, &view) || view.kind != PX_VALUE_CONFIG)
		return false;
	while (px_value_next_member(&view, &pos, &member))
	{
		int i;

		for (i = 0; i < n; i++)
			if (strcmp(member.conninfo, nodes[i].conninfo) == 0)
				break;
		if (i == n)
			return false;
		found++;
	}
	return found == n;
}

/*
 * May the call go on, and with what?  True: resume step 2 for *cluster.  See
 * the head of this file.
 */
static bool
judge_records(FormNode *nodes, int n, pg_uuid_t *cluster)
{
	FormNode *begun = NULL;
	int n_begun = 0;

	for (int i = 0; i < n; i++)
	{
		if (!nodes[i].begun)
			continue;
		n_begun++;
		if (begun == NULL)
			begun = &nodes[i];
		else if (memcmp(&begun->cluster, &nodes[i].cluster, sizeof(pg_uuid_t)) != 0)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("nodes \"%s\" and \"%s\" belong to different clusters already",
								   begun->name, nodes[i].name)));
	}
	if (begun == NULL)
		return false;

	for (int i = 0; i < n; i++)
	{
		if (!nodes[i].recorded ||
			memcmp(&begun->cluster, &nodes[i].cluster, sizeof(pg_uuid_t)) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("node \"%s\" belongs to cluster %s already, node \"%s\" does not",
							begun->name, paxos_uuid_text(&begun->cluster), nodes[i].name)));
		if (strcmp(begun->configuration, nodes[i].configuration) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("nodes \"%s\" and \"%s\" hold different configurations of cluster %s",
							begun->name, nodes[i].name, paxos_uuid_text(&begun->cluster))));
	}
	if (n_begun == n)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("these nodes belong to cluster %s already",
							   paxos_uuid_text(&begun->cluster))));
	if (!consists_of(begun->configuration, nodes, n))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cluster %s, which node \"%s\" has begun, has other nodes than those given",
						paxos_uuid_text(&begun->cluster), begun->name),
				 errhint("To finish forming it, give the connection strings it was begun with.")));
	*cluster = begun->cluster;
	return true;
}

/* Until this node can serve: it leads and is ready, or follows one that is. */
static void
wait_for_leader(void)
{
	px_usec deadline = paxos_now_us() + (px_usec) LEADER_PATIENCE_MS * 1000;

	for (;;)
	{
		bool served;
		px_acceptor a;

		LWLockAcquire(paxos_proposer_lock, LW_SHARED);
		served = paxos_shared->proposer_procno >= 0 && paxos_shared->leader != 0 &&
				 (paxos_shared->role == PX_FOLLOWER ||
				  (paxos_shared->role == PX_LEADER && paxos_shared->ready));
		LWLockRelease(paxos_proposer_lock);
		a = paxos_acceptor_look();
		if (served && a.open && a.chosen > 0)
			return;
		if (paxos_now_us() > deadline)
		{
			ereport(
				WARNING,
				(errmsg("the cluster is formed, but no leader has been elected within %d seconds",
						LEADER_PATIENCE_MS / 1000),
				 errhint("See paxos.members on this node, and the servers' logs.")));
			return;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 20L,
						 paxos_wait_event(&leader_event, "PaxosFirstLeader"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * paxos_create_cluster(conninfos text[], names text[] DEFAULT NULL) RETURNS uuid
 */
Datum
paxos_create_cluster(PG_FUNCTION_ARGS)
{
	char **conninfos;
	char **names = NULL;
	int n;
	FormNode *nodes;
	pg_uuid_t attempt;
	pg_uuid_t *cluster = palloc(sizeof(pg_uuid_t));
	char *cluster_text;
	bool resume;
	bool listed;

	paxos_require_right_place();
	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("paxos_create_cluster() cannot run inside a transaction block"),
						errdetail("What it does on other nodes would outlive a rollback.")));
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("connection strings must not be null")));
	n = text_array(PG_GETARG_ARRAYTYPE_P(0), "conninfos", &conninfos);
	if (n < 1 || n > PX_MAX_VOTERS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a cluster is formed of 1 to %d nodes", PX_MAX_VOTERS)));
	if (!PG_ARGISNULL(1) && text_array(PG_GETARG_ARRAYTYPE_P(1), "names", &names) != n)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there must be as many names as connection strings")));

	nodes = palloc0(sizeof(FormNode) * n);
	for (int i = 0; i < n; i++)
	{
		nodes[i].conninfo = conninfos[i];
		nodes[i].name = names ? names[i] : psprintf("node%d", i + 1);
		paxos_form_check_conninfo(i + 1, conninfos[i]);
		if (nodes[i].name[0] == '\0' || strlen(nodes[i].name) >= PX_MAX_NAME)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("a node's name has 1 to %d bytes", PX_MAX_NAME - 1)));
		for (int j = 0; j < i; j++)
			if (strcmp(nodes[i].name, nodes[j].name) == 0 ||
				strcmp(nodes[i].conninfo, nodes[j].conninfo) == 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("nodes %d and %d have the same name or connection string",
									   j + 1, i + 1)));
	}

	/* ---- every node is checked before anything is written anywhere ---- */
	for (int i = 0; i < n; i++)
		paxos_form_survey(&nodes[i]);
	for (int i = 1; i < n; i++)
		paxos_form_must_agree(&nodes[0], &nodes[i]);

	attempt = paxos_random_uuid();
	paxos_form_lock_all(nodes, n, &attempt, "paxos_create_cluster()");

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	listed = memcmp(&paxos_shared->form_attempt, &attempt, sizeof(attempt)) == 0;
	LWLockRelease(paxos_identity_lock);
	if (!listed)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("none of the connection strings leads to this server"),
				 errhint("Call paxos_create_cluster() on one of the nodes of the new cluster.")));

	for (int i = 0; i < n; i++)
	{
		paxos_form_probe_node(&nodes[i]);
		paxos_form_must_speak_alike(&nodes[i]);
	}
	resume = judge_records(nodes, n, cluster);
	paxos_form_reach_all(nodes, n, &attempt);

	/* ---- step 1: everybody records ---- */
	if (!resume)
	{
		char *configuration = encode_configuration(nodes, n);

		for (int i = 1; i < n; i++)
			must_be_equal(&nodes[0], &nodes[i], "rows of paxos.kv", nodes[0].contents,
						  nodes[i].contents);
		*cluster = paxos_random_uuid();
		cluster_text = paxos_uuid_text(cluster);
		for (int i = 0; i < n; i++)
		{
			char *node_text = psprintf("%d", i + 1);
			const char *params[] = {cluster_text, node_text, configuration};

			PQclear(paxos_form_ask(
				&nodes[i], "record the configuration",
				"SELECT paxos.form_record($1::uuid, $2::int, $3::bytea)", 3, params,
				PAXOS_FORM_TIMEOUT_MS,
				"No node has begun. Call paxos_create_cluster() again when the cause is removed."));
		}
	}
	else
	{
		cluster_text = paxos_uuid_text(cluster);
		ereport(NOTICE, (errmsg("finishing the cluster %s, which an earlier call left half-formed",
								cluster_text)));
	}

	/* ---- step 2: all have recorded, so each may begin ---- */
	for (int i = 0; i < n; i++)
	{
		const char *params[] = {cluster_text};

		PQclear(paxos_form_ask(
			&nodes[i], "begin", "SELECT paxos.form_begin($1::uuid)", 1, params,
			PAXOS_FORM_TIMEOUT_MS,
			"Some nodes may have begun. Call paxos_create_cluster() again with the same "
			"connection strings to finish the cluster."));
	}

	/* All have begun: whatever happens now, the cluster is formed. */
	paxos_form_unlock_all(nodes, n);

	wait_for_leader();
	PG_RETURN_UUID_P(cluster);
}
