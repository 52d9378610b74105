/*
 * paxos_compat.h
 *	  Every difference between PostgreSQL 15, 16, 17 and 18 that the glue
 *	  meets, and nothing else.
 */
#ifndef PAXOS_COMPAT_H
#define PAXOS_COMPAT_H

#include "postgres.h"

#include "catalog/pg_class_d.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_database_d.h"
#include "catalog/pg_namespace_d.h"
#include "catalog/pg_proc_d.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "paxos_ext needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 170000
#define PaxosMyProcNumber() ((int) MyProcNumber)
#define PaxosProcNumber(proc) ((int) GetNumberFromPGProc(proc))
#else
#define PaxosMyProcNumber() (MyProc->pgprocno)
#define PaxosProcNumber(proc) ((proc)->pgprocno)
#endif

/* ALTER TABLE ... ALTER CONSTRAINT. */
#if PG_VERSION_NUM >= 180000
typedef struct ATAlterConstraint PaxosAlterConstraint;
#define PaxosAltersDeferrability(c) \
	((c)->alterDeferrability && !(c)->alterEnforceability && !(c)->alterInheritability)
#else
typedef struct Constraint PaxosAlterConstraint;
#define PaxosAltersDeferrability(c) true
#endif

/* The process with this number: its latch. */
#if PG_VERSION_NUM >= 170000
#define PaxosProcLatch(number) (&GetPGProcByNumber(number)->procLatch)
#else
#define PaxosProcLatch(number) (&ProcGlobal->allProcs[number].procLatch)
#endif

/* Memory for what the check hook of a setting hands on. */
#if PG_VERSION_NUM >= 160000
#define PaxosGucAlloc(size) guc_malloc(LOG, (size))
#define PaxosGucFree(p) guc_free(p)
#else
#define PaxosGucAlloc(size) malloc(size)
#define PaxosGucFree(p) free(p)
#endif

/* A wait event set that lives until it is freed. */
#if PG_VERSION_NUM >= 170000
#define PaxosCreateWaitEventSet(n_events) CreateWaitEventSet(NULL, (n_events))
#else
#define PaxosCreateWaitEventSet(n_events) CreateWaitEventSet(TopMemoryContext, (n_events))
#endif

/*
 * A wait event with a name of our own where the server has such (17 and later);
 * 'cache' is a static uint32 of the caller, 0 at first.
 */
static inline uint32
paxos_wait_event(uint32 *cache, const char *name)
{
	if (*cache == 0)
	{
#if PG_VERSION_NUM >= 170000
		*cache = WaitEventExtensionNew(name);
#else
		*cache = PG_WAIT_EXTENSION;
#endif
	}
	return *cache;
}

/* Settings a worker must not inherit (paxos_ext.c) that came or changed name. */
#if PG_VERSION_NUM >= 170000
#define PAXOS_SETTINGS_OF_VERSION {"transaction_timeout", "0", true},
#else
#define PAXOS_SETTINGS_OF_VERSION
#endif
#if PG_VERSION_NUM >= 160000
#define PAXOS_FORCE_PARALLEL "debug_parallel_query"
#else
#define PAXOS_FORCE_PARALLEL "force_parallel_mode"
#endif

/*
 * Index scans and index maintenance.  (Users include access/genam.h,
 * access/tableam.h and executor/executor.h.)
 */
#if PG_VERSION_NUM >= 180000
#define PaxosIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#else
#define PaxosIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#endif

#if PG_VERSION_NUM >= 160000
#define PaxosUpdateIndexes TU_UpdateIndexes
#define PaxosAllIndexes TU_All
#define PaxosAnyIndexes(which) ((which) != TU_None)
#define PaxosInsertIndexTuples(result, row, estate, update, which)               \
	ExecInsertIndexTuples((result), (row), (estate), (update), false, NULL, NIL, \
						  (which) == TU_Summarizing)
#else
#define PaxosUpdateIndexes bool
#define PaxosAllIndexes true
#define PaxosAnyIndexes(which) (which)
#define PaxosInsertIndexTuples(result, row, estate, update, which) \
	ExecInsertIndexTuples((result), (row), (estate), (update), false, NULL, NIL)
#endif

/* The i-th of pgstat_fetch_stat_numbackends() backends. */
#if PG_VERSION_NUM >= 160000
#define PaxosBackendEntry(i) pgstat_get_local_beentry_by_index(i)
#else
#define PaxosBackendEntry(i) pgstat_fetch_stat_local_beentry(i)
#endif

/* Is this role, or one it is a member of, the owner? */
#if PG_VERSION_NUM >= 160000
#define PaxosOwnsRelation(oid, role) object_ownercheck(RelationRelationId, (oid), (role))
#define PaxosOwnsSchema(oid, role) object_ownercheck(NamespaceRelationId, (oid), (role))
#define PaxosOwnsDatabase(oid, role) object_ownercheck(DatabaseRelationId, (oid), (role))
#define PaxosSchemaAclCheck(oid, role, mode) \
	object_aclcheck(NamespaceRelationId, (oid), (role), (mode))
#define PaxosFunctionAclCheck(oid, role) \
	object_aclcheck(ProcedureRelationId, (oid), (role), ACL_EXECUTE)
#else
#define PaxosOwnsRelation(oid, role) pg_class_ownercheck((oid), (role))
#define PaxosOwnsSchema(oid, role) pg_namespace_ownercheck((oid), (role))
#define PaxosOwnsDatabase(oid, role) pg_database_ownercheck((oid), (role))
#define PaxosSchemaAclCheck(oid, role, mode) pg_namespace_aclcheck((oid), (role), (mode))
#define PaxosFunctionAclCheck(oid, role) pg_proc_aclcheck((oid), (role), ACL_EXECUTE)
#endif

/* (Users include utils/regproc.h.) */
#if PG_VERSION_NUM >= 160000
#define PaxosQualifiedNameList(name) stringToQualifiedNameList((name), NULL)
#else
#define PaxosQualifiedNameList(name) stringToQualifiedNameList(name)
#endif

/* What 17 has no use for any more. */
#if PG_VERSION_NUM >= 170000
#define ERRCODE_SNAPSHOT_TOO_OLD MAKE_SQLSTATE('7', '2', '0', '0', '0')
#endif

/* (Users include access/htup_details.h.) */
#if PG_VERSION_NUM >= 180000
#define PaxosFormMinimalTuple(desc, values, nulls) \
	heap_form_minimal_tuple((desc), (values), (nulls), 0)
#else
#define PaxosFormMinimalTuple(desc, values, nulls) \
	heap_form_minimal_tuple((desc), (values), (nulls))
#endif

/* 42501 unless the current user may become this role. */
#if PG_VERSION_NUM >= 160000
#define PaxosCheckCanBecome(role) check_can_set_role(GetUserId(), (role))
#else
#define PaxosCheckCanBecome(role) check_is_member_of_role(GetUserId(), (role))
#endif

/*
 * Connections that the server keeps for some roles: for superusers, and since
 * 16 for members of a role.  (Users include postmaster/postmaster.h and
 * catalog/pg_authid.h.)
 */
#if PG_VERSION_NUM >= 160000
#define PaxosSuperuserReserved SuperuserReservedConnections
#define PaxosRoleReserved ReservedConnections
#define PAXOS_ROLE_OF_RESERVED ROLE_PG_USE_RESERVED_CONNECTIONS
#else
#define PaxosSuperuserReserved ReservedBackends
#define PaxosRoleReserved 0
#define PAXOS_ROLE_OF_RESERVED InvalidOid
#endif

/* Are at least n connections still free? */
static inline bool
paxos_have_free_procs(int n)
{
#if PG_VERSION_NUM >= 160000
	int n_free;

	return HaveNFreeProcs(n, &n_free);
#else
	return HaveNFreeProcs(n);
#endif
}

/* The executor's hook (who may execute a query again has no workers; which argument says so
 * depends on the minor version); EXPLAIN's parts; what RETURNING can say of the row before. */
#if PG_VERSION_NUM >= 180000
#define PAXOS_RUN_ARGUMENTS QueryDesc *query, ScanDirection direction, uint64 count
#define PAXOS_RUN_PASSED query, direction, count
#define PaxosRunWithoutWorkers(query) ((query)->already_executed = true)
#define PAXOS_EXPLAIN_HEADER "commands/explain_format.h"
#define PaxosVarIsOfRow(var) ((var)->varreturningtype == VAR_RETURNING_DEFAULT)
#else
#define PAXOS_RUN_ARGUMENTS QueryDesc *query, ScanDirection direction, uint64 count, bool once
#define PAXOS_RUN_PASSED query, direction, count, once
#define PaxosRunWithoutWorkers(query) (once = false, (query)->already_executed = true)
#define PAXOS_EXPLAIN_HEADER "commands/explain.h"
#define PaxosVarIsOfRow(var) true
#endif

/* Columns that the planner, not the table, computes. */
#if PG_VERSION_NUM >= 180000
#define PaxosHasVirtualColumns(desc) \
	((desc)->constr != NULL && (desc)->constr->has_generated_virtual)
#else
#define PaxosHasVirtualColumns(desc) false
#endif

/* PRIMARY KEY or UNIQUE (..., x WITHOUT OVERLAPS), FOREIGN KEY (..., PERIOD x)? */
#if PG_VERSION_NUM >= 180000
#define PaxosWithoutOverlaps(con) ((con)->conperiod)
#else
#define PaxosWithoutOverlaps(con) false
#endif

/* CHECK (...) NOT ENFORCED, or such a foreign key? */
#if PG_VERSION_NUM >= 180000
#define PaxosEnforced(con) ((con)->conenforced)
#else
#define PaxosEnforced(con) true
#endif

/* random() without arguments: it got namesakes. */
#if PG_VERSION_NUM >= 170000
#define PAXOS_F_RANDOM F_RANDOM_
#else
#define PAXOS_F_RANDOM F_RANDOM
#endif

#if PG_VERSION_NUM >= 170000
#define PaxosLockHeldByMe(tag, mode) LockHeldByMe((tag), (mode), false)
#else
#define PaxosLockHeldByMe(tag, mode) LockHeldByMe((tag), (mode))
#endif

#if PG_VERSION_NUM >= 180000
#define PaxosPrimaryKeyIndex(rel) RelationGetPrimaryKeyIndex((rel), false)
#else
#define PaxosPrimaryKeyIndex(rel) RelationGetPrimaryKeyIndex(rel)
#endif

/*
 * A new empty file for a relation, and its indexes anew.  (Users include
 * catalog/index.h.)
 */
#if PG_VERSION_NUM >= 160000
#define PaxosNewFile(rel) RelationSetNewRelfilenumber((rel), (rel)->rd_rel->relpersistence)
#else
#define PaxosNewFile(rel) RelationSetNewRelfilenode((rel), (rel)->rd_rel->relpersistence)
#endif
#if PG_VERSION_NUM >= 170000
#define PaxosReindexRelation(relid, flags) \
	((void) reindex_relation(NULL, (relid), (flags), &(ReindexParams){0}))
#else
#define PaxosReindexRelation(relid, flags) \
	((void) reindex_relation((relid), (flags), &(ReindexParams){0}))
#endif

/* The collation "POSIX": 18 has it still, but not the name. */
#ifndef POSIX_COLLATION_OID
#define POSIX_COLLATION_OID 951
#endif

/* PostgreSQL 18 has another spelling, which goes elsewhere. */
#ifndef pg_attribute_noreturn
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* For the stand-in of a server in test/command. */
#if PG_VERSION_NUM >= 160000
#define PaxosStringInfoBytes const void
#define PAXOS_ASSERT_ARGUMENTS const char *condition, const char *file, int line
#else
#define PaxosStringInfoBytes const char
#define PAXOS_ASSERT_ARGUMENTS const char *condition, const char *type, const char *file, int line
#endif

#endif /* PAXOS_COMPAT_H */
