/*
 * paxos_ddl.h
 *	  Between the guard, which sees every statement (paxos_guard.c), and the
 *	  statements that go through the log (paxos_ddl.c).
 */
#ifndef PAXOS_DDL_H
#define PAXOS_DDL_H

/*
 * What a sequence of a consensus table counts in.  Members' ids differ modulo this,
 * so that no two members draw the same value.
 */
#define PAXOS_SEQUENCE_STEP 32

#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/utility.h"
#include "utils/relcache.h"

#include "paxos_ext.h"

/* A statement as ProcessUtility_hook gets it. */
typedef struct PaxosUtility
{
	PlannedStmt *pstmt;
	const char *query_string;
	bool read_only_tree;
	ProcessUtilityContext context;
	ParamListInfo params;
	QueryEnvironment *query_env;
	DestReceiver *dest;
	QueryCompletion *qc;
} PaxosUtility;

/* Carry it out as if this library were not there. */
extern void paxos_utility_next(PaxosUtility *u);

/* Give it a statement of its own, a copy to be changed; returns that. */
extern Node *paxos_utility_copy(PaxosUtility *u);

/* 0A000: what is not supported on a consensus table; hint may be NULL. */
extern void paxos_refuse(Oid table, const char *what, const char *hint) pg_attribute_noreturn();

/* True while a statement is tried in a subtransaction that will be rolled back:
 * the guard stands aside. */
extern bool paxos_trying;

/* 42501: a statement is about to change a table of the extension itself (paxos_own.c). */
extern void paxos_own_check(Oid relid);

/* In the extension's own script, which may do with paxos.kv what it likes. */
extern bool paxos_in_own_script(void);

/*
 * Statements through the log.  Each checks, tries where it can, submits and
 * waits; on return the statement is done on this node.  25001 inside a
 * transaction block, subtransaction or function.
 */
extern void paxos_ddl_create_table(PaxosUtility *u, CreateStmt *stmt);
extern void paxos_ddl_create_index(PaxosUtility *u, IndexStmt *stmt, Oid table);

/* CREATE TABLE ... PARTITION OF a consensus table (paxos_partition.c). */
extern void paxos_partition_create(PaxosUtility *u, CreateStmt *stmt);

/*
 * A table of this node alone is being made, perhaps as partition of a table that a dump's
 * statement has made a consensus table.
 */
extern void paxos_partition_release(PaxosUtility *u, CreateStmt *stmt);

/*
 * ATTACH PARTITION of a consensus table to an empty partitioned table of this node alone:
 * that has become one.
 */
extern bool paxos_partition_adopt(PaxosUtility *u, AlterTableStmt *stmt);

/*
 * An ordinary table of this node becomes a consensus table, with its rows; one is made of
 * what a query gives (paxos_become.c).  Each ends transactions on its way.
 */
extern void paxos_become_alter(PaxosUtility *u, AlterTableStmt *stmt);
extern void paxos_become_as(PaxosUtility *u, CreateTableAsStmt *stmt);

/*
 * ALTER, RENAME, COMMENT, GRANT and REVOKE on consensus tables and what belongs to
 * them (paxos_alter.c).  False: it is about something else, and for others to do.
 */
extern bool paxos_alter_statement(PaxosUtility *u);

/* The same of CREATE, ALTER, DROP and RENAME of a policy (paxos_policy.c). */
extern bool paxos_policy_statement(PaxosUtility *u);
extern Oid paxos_policy_table(Oid policy);

/* All objects of these are consensus tables / indexes of consensus tables or, with
 * IF EXISTS, missing. */
extern void paxos_ddl_drop_tables(PaxosUtility *u, DropStmt *stmt);
extern void paxos_ddl_drop_index(PaxosUtility *u, DropStmt *stmt);

/* On a consensus table (paxos_trigger.c). */
extern void paxos_ddl_create_trigger(PaxosUtility *u, CreateTrigStmt *stmt);
extern void paxos_ddl_drop_trigger(PaxosUtility *u, DropStmt *stmt);

/*
 * Has the table triggers of a user, foreign keys to or from it, row-level security, an exclusion
 * or a deferrable constraint?  Then it is changed by write sets alone.  The error of a function that does not change it so: 0A000.
 */
extern bool paxos_needs_sets(Relation rel);
extern void paxos_refuse_triggers(Relation rel) pg_attribute_noreturn();

/*
 * Ask every other member that can be reached whether it could create this: a
 * table (table_id 0) with its own name first and those of its keys' indexes, or
 * an index of that table.  55000 if one could not (paxos_ddl_check.c).
 */
extern void paxos_ddl_ask_members(const char *schema, const char *owner, int64 table_id,
								  List *names);

/*
 * The same of a function, by its signature as to_regprocedure() reads it; or, if schema is
 * not NULL, whether it could be made there.
 */
extern void paxos_ddl_ask_for_function(const char *function, const char *schema, const char *owner);

/* 55000 if a member that can be reached could not carry out this statement, which is one
 * about objects (paxos_object_apply.c): it tries. */
struct PaxosDdlOp;
extern void paxos_ddl_ask_to_try(const struct PaxosDdlOp *op);

/* The same of extensions, by OID: also if it has another version, or has it elsewhere. */
extern void paxos_ddl_ask_extensions(List *extensions);

/* 55000 if a member that can be reached lacks one of these roles (paxos_ddl_check.c). */
extern void paxos_ddl_ask_roles(List *roles);

/* Does a type, of this node alone, have the name that a table's row type would need? */
extern bool paxos_ddl_type_in_the_way(const char *name, Oid nsp);

/*
 * The consensus table that a relation is or belongs to (as index, or as sequence
 * owned by a column of it); InvalidOid if none.
 */
extern Oid paxos_consensus_owner(Oid relid);

/*
 * For snapshots.  The statement that makes a table like this one, which is a
 * consensus table, locked; and, in the learner: make it in another schema than it
 * says, and what belongs to it; take down the relation (locked) that table_id has been
 * here; make relid, which has its rows, that table; let a sequence of it go on at
 * this node's first value that is not below 'least'.
 */
extern char *paxos_ddl_describe_table(Oid relid, bool holes);
extern Oid paxos_ddl_create_in(const char *schema, const char *definition);
extern void paxos_ddl_run_in(const char *schema, const char *statement);
extern void paxos_ddl_replace_table(int64 table_id, Oid relid);
extern void paxos_ddl_adopt_table(int64 table_id, Oid relid, int64 altered);
extern void paxos_ddl_spread_sequence(Oid sequence, int64 least);

/* Statements with the privileges that others than its owner have on table $1. */
extern const char *const paxos_grants_query;

#endif /* PAXOS_DDL_H */
