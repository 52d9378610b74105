/*
 * paxos_ext.c
 *	  _PG_init: settings, hooks, registration of the two workers; and the list
 *	  of settings that a worker or a connection between nodes must not inherit.
 *
 * Owns: the names, units, ranges and descriptions of everything below
 * "paxos.".  Not its business: any decision of the protocol.
 *
 * Loaded without shared_preload_libraries (by CREATE EXTENSION, or by the
 * first call of a function), nothing is defined and no hook is installed:
 * settings of postmaster level cannot be defined any more, there is no shared
 * memory and no worker.  Every function then ends in paxos_require_preload(),
 * which says what line to add.
 *
 * A worker that ends for whatever reason is started again by the postmaster
 * after a second.  Both wait for the end of recovery: on a physical standby
 * the tables cannot be written, and it must not vote with its primary's name.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/guc.h"

#include "paxos_ext.h"
#include "paxos_object.h"
#include "paxos_read.h"
#include "paxos_set.h"

PG_MODULE_MAGIC;

char *paxos_database = "postgres";
int paxos_queue_memory_kb = 64 * 1024;
int paxos_heartbeat_interval_ms = 100;
int paxos_election_timeout_ms = 1000;
int paxos_pipeline_depth = 8;
int paxos_batch_size_kb = 256;
int paxos_connect_timeout_ms = 2000;
int paxos_max_unsent_kb = 16 * 1024;
int paxos_request_retention_s = 24 * 60 * 60;
int paxos_log_retention_slots = 1000 * 1000;
int paxos_log_retention_kb = 512 * 1024;
int paxos_log_hold_mb = 16 * 1024;
int paxos_trace_level = PAXOS_TRACE_OFF;
bool paxos_lease_reads = false;
bool paxos_allow_unsafe_fsync = false;
int paxos_statement_timeout_ms = 5000;
int paxos_yield_timeout_ms = 200;
int paxos_local_writes = PAXOS_LOCAL_REFUSE;

bool paxos_applying = false;

static const struct config_enum_entry trace_options[] = {{"off", PAXOS_TRACE_OFF, false},
														 {"roles", PAXOS_TRACE_ROLES, false},
														 {"messages", PAXOS_TRACE_MESSAGES, false},
														 {NULL, 0, false}};

static const struct config_enum_entry local_writes_options[] = {
	{"refuse", PAXOS_LOCAL_REFUSE, false}, {"allow", PAXOS_LOCAL_ALLOW, false}, {NULL, 0, false}};

static const struct config_enum_entry ddl_options[] = {
	{"tables", PAXOS_DDL_TABLES, false}, {"all", PAXOS_DDL_ALL, false}, {NULL, 0, false}};

static const struct config_enum_entry read_options[] = {
	{"local", PAXOS_READ_LOCAL, false},
	{"session", PAXOS_READ_SESSION, false},
	{"bounded", PAXOS_READ_BOUNDED, false},
	{"linearizable", PAXOS_READ_LINEARIZABLE, false},
	{NULL, 0, false}};

static shmem_request_hook_type previous_shmem_request = NULL;
static shmem_startup_hook_type previous_shmem_startup = NULL;

extern PGDLLEXPORT void _PG_init(void);

static void
shmem_request(void)
{
	if (previous_shmem_request)
		previous_shmem_request();
	paxos_shmem_request();
}

static void
shmem_startup(void)
{
	if (previous_shmem_startup)
		previous_shmem_startup();
	paxos_shmem_startup();
}

static void
define_settings(void)
{
	DefineCustomStringVariable(
		"paxos.database", "Database whose tables are replicated.",
		"Both paxos workers connect to it; CREATE EXTENSION paxos_ext belongs there.",
		&paxos_database, "postgres", PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.queue_memory", "Shared memory for commands and results of waiting sessions.",
		"A command that finds it full is refused.", &paxos_queue_memory_kb, 64 * 1024, 8 * 1024,
		4 * 1024 * 1024, PGC_POSTMASTER, GUC_UNIT_KB, NULL, NULL, NULL);

	DefineCustomIntVariable(
		"paxos.heartbeat_interval", "How often an idle leader speaks to every member.",
		"Should be a small part of paxos.election_timeout.", &paxos_heartbeat_interval_ms, 100, 10,
		10 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.election_timeout",
		"How long a node hears nothing from a leader before it stands for election.",
		"Each wait is drawn at random between one and two times this. "
		"Give every node the same value.",
		&paxos_election_timeout_ms, 1000, 100, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
		NULL);
	DefineCustomIntVariable("paxos.pipeline_depth", "Slots a leader may have in flight.",
							"While that many are, commands gather into the next batch.",
							&paxos_pipeline_depth, 8, 1, PX_MAX_WINDOW, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("paxos.batch_size", "Most bytes of commands packed into one slot.",
							"A single larger command still travels, alone.", &paxos_batch_size_kb,
							256, 1, PX_MAX_BATCH_BYTES / 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomIntVariable("paxos.connect_timeout", "Longest time to connect to another node.",
							NULL, &paxos_connect_timeout_ms, 2000, 100, 60 * 1000, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.max_unsent", "Unsent bytes for one member above which its connection is cut.",
		"It is connected again and catches up from the log.", &paxos_max_unsent_kb, 16 * 1024,
		2 * 1024, 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("paxos.request_retention",
							"How long the result of a command with a request id is remembered.",
							"Measured in log time; the value of the node where the command "
							"was issued is used on all nodes.",
							&paxos_request_retention_s, 24 * 60 * 60, 60, 30 * 24 * 60 * 60,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.log_retention_slots",
		"Most slots of the log kept after all reachable members have applied them.",
		"A member that was away longer is sent a copy of the tables instead.",
		&paxos_log_retention_slots, 1000 * 1000, 0, INT_MAX, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.log_retention_size",
		"Most bytes of the log kept after all reachable members have applied them.",
		"A member that was away longer is sent a copy of the tables instead.",
		&paxos_log_retention_kb, 512 * 1024, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.log_hold_size",
		"Most bytes of the log that a reachable member which does not apply it can hold back.",
		"Beyond that it is sent a copy of the tables instead.  Zero: there is no limit.",
		&paxos_log_hold_mb, 16 * 1024, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MB, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"paxos.trace", "What the workers write to the server's log.",
		"\"roles\" adds the reason of every change of role and every ignored message, "
		"\"messages\" a line for each message.",
		&paxos_trace_level, PAXOS_TRACE_OFF, trace_options, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"paxos.allow_fsync_off", "Lets a node vote although fsync or full_page_writes is off.",
		"For tests only: an acceptor that forgets what it promised breaks consensus.",
		&paxos_allow_unsafe_fsync, false, PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.statement_timeout",
		"How long a session waits for the outcome of a command or for a read index.",
		"Zero waits for ever.", &paxos_statement_timeout_ms, 5000, 0, INT_MAX, PGC_USERSET,
		GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"paxos.local_writes",
		"Whether one transaction may change consensus-backed and other permanent tables.",
		"With \"allow\" the change of the others is lost if this node crashes after the cluster has "
		"decided and before this node has committed.",
		&paxos_local_writes, PAXOS_LOCAL_REFUSE, local_writes_options, PGC_USERSET, 0, NULL, NULL,
		NULL);
	DefineCustomEnumVariable(
		"paxos.read_consistency", "How new a state statements on consensus-backed tables read.",
		"\"local\": what this node has applied; \"session\": at least what paxos.session_token says; "
		"\"bounded\": what was acknowledged anywhere paxos.max_staleness ago; \"linearizable\": what was "
		"acknowledged anywhere.",
		&paxos_read_consistency, PAXOS_READ_LOCAL, read_options, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("paxos.max_staleness",
							"How old a state reads may show with paxos.read_consistency = bounded.",
							"Counted when the statement begins.", &paxos_max_staleness_ms, 1000, 0,
							INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"paxos.session_token",
		"What reads must show at least, unless paxos.read_consistency is local.",
		"A value of paxos_session_token(), perhaps of another node.", &paxos_session_token, "",
		PGC_USERSET, 0, paxos_check_session_token, paxos_assign_session_token, NULL);
	DefineCustomBoolVariable(
		"paxos.lease_reads",
		"Leaders ask for leases under which linearizable reads need no round trip.",
		"Safe only if no clock runs a fifth faster than another.  After a leader has failed the "
		"next one waits until its leases have run out.",
		&paxos_lease_reads, false, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"paxos.yield_timeout",
		"How long a session in the way of applying the log is canceled before it is terminated.",
		"A client between two statements of a transaction hears no cancel.",
		&paxos_yield_timeout_ms, 200, 10, 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);

	DefineCustomEnumVariable(
		"paxos.ddl", "Which statements that define something go through the log.",
		"\"tables\": those about consensus-backed tables, and about what went through the log; "
		"\"all\": also those that make schemas, types, domains, functions and procedures.",
		&paxos_ddl_scope, PAXOS_DDL_TABLES, ddl_options, PGC_USERSET, 0, NULL, NULL, NULL);

	MarkGUCPrefixReserved("paxos");
}

static void
register_worker(const char *name, const char *function)
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	strlcpy(worker.bgw_library_name, "paxos_ext", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, name, sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, name, sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;

	define_settings();

	previous_shmem_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;

	/* first, so that its transaction callback is the last to run */
	paxos_set_install_hooks();

	/* inside of those that choose another plan, or refuse */
	paxos_read_install_hooks();
	paxos_ddl_install_hooks();
	paxos_keyed_install_hooks();
	paxos_reserve_install_hook();

	register_worker("paxos proposer", "paxos_proposer_main");
	register_worker("paxos learner", "paxos_learner_main");
}

/*
 * A violated fact of the core means that consensus would be lost if we went on.
 * The process ends, with nothing of the transition made durable or published;
 * the postmaster starts a worker again, which loads what is durable.
 */
void
px_assert_failed(const char *fact, const char *file, int line)
{
	/* what runs on the way out takes these locks */
	LWLockReleaseAll();
	ereport(FATAL,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("paxos: a fact that must always hold does not: %s (%s:%d)", fact, file, line)));
	pg_unreachable();
}

/*
 * ---- settings that could break us ----
 *
 * A worker gets what ALTER SYSTEM and ALTER DATABASE say, a connection between
 * nodes also what ALTER ROLE says: statement_timeout there would cut every
 * Accept, lc_monetary would make nodes read one command differently.
 */
typedef struct FixedSetting
{
	const char *name;
	const char *value;
	bool between_nodes; /* for connections too (then any role may set it) */
} FixedSetting;

static const FixedSetting fixed_settings[] = {
	/* whose rights: ALTER DATABASE ... SET role is usual where all objects are to have one owner */
	{"role", "none", true},

	/* what could cut or change a transaction */
	{"statement_timeout", "0", true},
	{"lock_timeout", "0", true},
	{"idle_in_transaction_session_timeout", "0", true},
	{"idle_session_timeout", "0", true},
	PAXOS_SETTINGS_OF_VERSION{"default_transaction_isolation", "read committed", true},
	{"default_transaction_read_only", "off", true},
	{"default_transaction_deferrable", "off", true},
	{"synchronous_commit", "local", true},
	{"search_path", "pg_catalog", true},
	{"row_security", "off", true},

	{"paxos.read_consistency", "local", false},

	/* what shapes data */
	{"DateStyle", "ISO, MDY", true},
	{"IntervalStyle", "postgres", true},
	{"TimeZone", "UTC", true},
	{"timezone_abbreviations", "Default", false},
	{"extra_float_digits", "1", true},
	{"bytea_output", "hex", true},
	{"xmlbinary", "base64", false},
	{"xmloption", "content", false},
	{"lc_messages", "C", false},
	{"lc_monetary", "C", false},
	{"lc_numeric", "C", false},
	{"lc_time", "C", false},
	{"default_text_search_config", "pg_catalog.simple", false},
	{"default_toast_compression", "pglz", false},
	{"default_table_access_method", "heap", false},
	{"default_tablespace", "", false},
	{"array_nulls", "on", false},
	{"backslash_quote", "safe_encoding", false},
	{"standard_conforming_strings", "on", false},
	{"transform_null_equals", "off", false},
	{"quote_all_identifiers", "off", false},
	{"check_function_bodies", "on", false},
	{"session_replication_role", "origin", false},

	/* what could make a small statement slow or strange */
	{"jit", "off", true},
	{PAXOS_FORCE_PARALLEL, "off", false},
	{"max_parallel_workers_per_gather", "0", false},
};

void
paxos_fix_worker_settings(void)
{
	for (int i = 0; i < lengthof(fixed_settings); i++)
	{
		/*
		 * PGC_S_OVERRIDE outranks the configuration file and the catalogs, so
		 * that a later reload does not undo it.
		 */
		(void) set_config_option(fixed_settings[i].name, fixed_settings[i].value, PGC_SUSET,
								 PGC_S_OVERRIDE, GUC_ACTION_SET, true, ERROR, false);
	}
}

void
paxos_fix_settings_of_data(void)
{
	bool of_data = false;

	for (int i = 0; i < lengthof(fixed_settings); i++)
	{
		of_data |= strcmp(fixed_settings[i].name, "DateStyle") == 0;
		if (of_data)
			(void) set_config_option(fixed_settings[i].name, fixed_settings[i].value, PGC_SUSET,
									 PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
	}
}

const char *
paxos_peer_options(void)
{
	static char *options = NULL;
	StringInfoData buf;

	if (options != NULL)
		return options;

	initStringInfo(&buf);
	for (int i = 0; i < lengthof(fixed_settings); i++)
	{
		if (!fixed_settings[i].between_nodes)
			continue;
		appendStringInfo(&buf, "%s-c %s=", buf.len > 0 ? " " : "", fixed_settings[i].name);
		for (const char *p = fixed_settings[i].value; *p; p++)
		{
			if (*p == ' ' || *p == '\\')
				appendStringInfoChar(&buf, '\\');
			appendStringInfoChar(&buf, *p);
		}
	}

	/* The far server's end of the connection, so that it too notices a peer
	 * whose machine is gone; ours are libpq's parameters. */
	appendStringInfo(&buf, " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2"
						   " -c tcp_keepalives_count=3 -c tcp_user_timeout=10000");
	options = MemoryContextStrdup(TopMemoryContext, buf.data);
	pfree(buf.data);
	return options;
}
