/*
 * paxos_ext.h
 *	  Settings (prefix paxos.) and small things every file of the glue needs.
 *	  Defined in paxos_ext.c, which holds _PG_init and no logic.
 */
#ifndef PAXOS_EXT_H
#define PAXOS_EXT_H

#include "paxos_compat.h"
#include "paxos_shmem.h"

#define PAXOS_SCHEMA "paxos"

/* postmaster level */
extern char *paxos_database;      /* paxos.database, default 'postgres' */
extern int paxos_queue_memory_kb; /* paxos.queue_memory, default 64MB: commands and
									 * results of waiting sessions */
/* SIGHUP level */
extern int paxos_heartbeat_interval_ms; /* 100 */
extern int paxos_election_timeout_ms;   /* 1000 */
extern int paxos_pipeline_depth;        /* slots in flight, 8 */
extern int paxos_batch_size_kb;         /* most bytes of one value, 256kB; a larger single
									 * command still travels alone */
extern int paxos_connect_timeout_ms;    /* between nodes, 2000 */
extern int paxos_max_unsent_kb;         /* per peer, 16MB */
extern int paxos_log_retention_slots;   /* kept of the log for members that are away */
extern int paxos_log_hold_mb;           /* most that a slow member may hold; 0: all */
extern int paxos_log_retention_kb;      /* the same in bytes, whichever is less */
extern int paxos_request_retention_s;   /* how long results of request ids are kept,
										 * in log time; proposed, never read locally
										 * when applying */
extern int paxos_trace_level;           /* enum off, roles, messages */
extern int paxos_yield_timeout_ms;      /* who is in the learner's way hears a cancel for so
										 * long, then is terminated; 200 */
extern bool paxos_lease_reads;          /* off: leaders ask for leases to read under */
extern bool paxos_allow_unsafe_fsync;   /* paxos.allow_fsync_off, tests only */
/* USERSET */
extern int paxos_statement_timeout_ms; /* 5000; 0: wait for ever */
extern int paxos_local_writes;         /* PaxosLocalWrites, paxos_set.h */

typedef enum PaxosTrace
{
	PAXOS_TRACE_OFF,
	PAXOS_TRACE_ROLES,
	PAXOS_TRACE_MESSAGES
} PaxosTrace;

/* True in the learner process while it applies (hooks stand aside). */
extern bool paxos_applying;

/* Hooks of other files, installed from _PG_init; each keeps the previous one. */
extern void paxos_ddl_install_hooks(void);    /* paxos_guard.c */
extern void paxos_keyed_install_hooks(void);  /* paxos_keyed.c */
extern void paxos_set_install_hooks(void);    /* paxos_set.c */
extern void paxos_reserve_install_hook(void); /* paxos_reserve.c */

/* Entry points of the two workers. */
extern PGDLLEXPORT void paxos_proposer_main(Datum arg);
extern PGDLLEXPORT void paxos_learner_main(Datum arg);

/*
 * Settings that could break a worker or a connection between nodes, made what
 * we need whatever ALTER SYSTEM / ALTER DATABASE / ALTER ROLE say: timeouts
 * off, default_transaction_* standard, synchronous_commit local, search_path
 * pg_catalog, and the data-shaping ones (DateStyle, IntervalStyle, TimeZone,
 * extra_float_digits, xmloption, lc_*, bytea_output,
 * default_toast_compression, row_security off ...).  Used by both workers and by
 * peers' backends.  paxos_ext.c.
 */
extern void paxos_fix_worker_settings(void);

/* Those that shape data, in a session, until its GUC nest level ends. */
extern void paxos_fix_settings_of_data(void);

/* The same as an "options=-c ..." string for libpq connections to peers. */
extern const char *paxos_peer_options(void);

#endif /* PAXOS_EXT_H */
