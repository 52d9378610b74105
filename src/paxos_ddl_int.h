/*
 * paxos_ddl_int.h
 *	  What the parts of statements through the log share: trying and sending them
 *	  (paxos_ddl.c), writing definitions down (paxos_ddl_write.c), carrying them out
 *	  at their slot (paxos_ddl_apply.c).
 */
#ifndef PAXOS_DDL_INT_H
#define PAXOS_DDL_INT_H

#include "access/htup.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/resowner.h"

#include "paxos_ddl.h"
#include "paxos_command.h"
#include "paxos_replicated.h"

/* ---- trying (paxos_ddl.c) ---- */

typedef struct PaxosTrial
{
	MemoryContext context;
	ResourceOwner owner;
	int nest_level;
} PaxosTrial;

extern void paxos_trial_begin(PaxosTrial *trial);
extern void paxos_trial_end(PaxosTrial *trial);

/* What stands in this schema is called by its bare name, in messages too. */
extern void paxos_trial_show(const char *schema);

/*
 * In PG_CATCH: the subtransaction must be gone before the error goes on, else
 * only it would be aborted and the session be left in a failed transaction.
 */
extern void paxos_trial_rethrow(PaxosTrial *trial) pg_attribute_noreturn();

/*
 * The same, but it returns for one error: somebody made a thing of that name while we tried,
 * and we met in the catalogs' unique index, or at its row type.  Tried again, it is found
 * to exist.
 */
extern void paxos_trial_failed(PaxosTrial *trial, const char *name, Oid nsp);

/*
 * Had somebody, the learner mostly, changed a row of the catalogs that the trial was about to
 * change?  Objects other than relations have no lock against that.
 */
extern bool paxos_trial_met(const ErrorData *error);

/* 25001, 25006, and who is no member. */
extern void paxos_ddl_begin_statement(PaxosUtility *u, const char *what);

/*
 * Send it, wait, raise what it failed with.  False: the definition it was tried on
 * was changed meanwhile, and nothing was done.
 */
extern bool paxos_ddl_submit(PaxosDdlOp *op);

/* That a statement reads the rows of a table of this size is said beforehand. */
#define PAXOS_LARGE_BYTES (8 * 1024 * 1024)

extern void paxos_ddl_notice_large(const char *table, int64 bytes);

/*
 * Carry out one statement, given as text, inside a trial; the second: which the trial alone
 * needs, seen by no event trigger.
 */
extern void paxos_ddl_run_text(const char *sql);
extern void paxos_ddl_run_unseen(const char *sql);

/* 42501 unless the user owns the table. */
extern void paxos_ddl_check_owner(Oid table);

/* 0A000 if it is the table of the key-value functions. */
extern void paxos_ddl_refuse_kv(Oid table, const char *what);

/*
 * 0A000 for what constraints, or CREATE TABLE, cannot say of a consensus table, as far as it
 * can be seen before it is tried.  partition: of a consensus table.
 */
extern void paxos_ddl_check_constraint_clauses(List *constraints);
extern void paxos_ddl_check_create_clauses(CreateStmt *stmt, bool partition);

/* ---- writing down (paxos_ddl_write.c) ---- */

/* 0A000: "... is not supported for a consensus-backed table"; hint may be NULL. */
extern void paxos_ddl_not_supported(const char *what, const char *hint) pg_attribute_noreturn();

/* How definitions are written down, whatever this session has chosen; ended by
 * AtEOXact_GUC(true, the level returned). */
extern int paxos_ddl_begin_writing_down(void);

/* 0A000 if other nodes may order by it otherwise. */
extern void paxos_ddl_check_collation(const char *column, Oid collation);

/*
 * 0A000 for what a table must not refer to; the objects it refers to are noted in 'op'.
 * parent: the consensus table that it is a partition of, and so depends on.
 */
extern void paxos_ddl_check_dependencies(PaxosDdlOp *op, Oid relid, Oid parent);

/* That a table has nothing for which a consensus table has no place (paxos_become.c). */
extern void paxos_ddl_check_parts(Oid relid);

/*
 * The whole statement that makes a table like this one; checks on the way.  schema: in
 * the place of its own, or NULL.  spread: it is a consensus table already; its sequences are
 * those of one, and the keys of a partitioned one come when its partitions are in their
 * places.  holes: with columns in the place of those that were dropped, so that all others
 * get the same numbers.
 */
extern char *paxos_ddl_write_table(Oid relid, const char *schema, bool if_not_exists, bool spread,
								   bool holes);

/* " WITH (" and what a relation has of options, the bracket open; *any: there are some. */
extern void paxos_ddl_put_reloptions(StringInfo out, const char *prefix, Oid relid, bool *any);

/* One column of it.  instead: an expression that stands in the place of its default. */
extern void paxos_ddl_write_column(StringInfo out, Relation rel, AttrNumber attnum, bool spread,
								   const char *instead);

/* Could this sequence become that of a serial column of a table of this role? */
extern bool paxos_ddl_may_take_sequence(Oid relid, Oid role);

/* A column's own default, or what it is generated from; NULL: it has none. */
extern Node *paxos_ddl_default(Relation rel, AttrNumber attnum);

/*
 * The sequence of a serial column; InvalidOid: it is none.  0A000 if it draws from a sequence
 * of its own and is otherwise not what "serial" makes.
 */
extern Oid paxos_ddl_serial(Relation rel, AttrNumber attnum);

/* The sequence in nextval('...'), as it was parsed (paxos_sequence.c). */
extern Oid paxos_ddl_sequence_drawn_from(Node *raw);

/* The sequence of a table above that a partition's column draws its default from. */
extern Oid paxos_ddl_sequence_above(Relation rel, AttrNumber attnum);

/* FOR VALUES ..., or DEFAULT, of a partition; an expression over a row of the table. */
extern char *paxos_ddl_write_bound(Oid relid);
extern char *paxos_ddl_write_expression(Relation rel, Node *expr);

/* Its constraints, checked, in the order made. */
typedef struct PaxosConstraint
{
	Oid oid;
	char *name;
	char type; /* as in pg_constraint */
	bool validated;
	char *definition;
} PaxosConstraint;

extern List *paxos_ddl_constraints(Oid relid);

/* PRIMARY KEY, UNIQUE, EXCLUDE: has it an index of its name? */
extern bool paxos_ddl_has_index(const Constraint *c);

/* The columns' part in the name of an index, as PostgreSQL chooses it; of IndexElem. */
extern char *paxos_ddl_index_columns(List *elements);

/* The statements that follow: indexes, and what CREATE TABLE cannot say. */
extern List *paxos_ddl_write_rest(Oid relid);

/*
 * The value behind the highest that an integer column has, or its sequence has given here;
 * NULL: there is none.
 */
extern char *paxos_ddl_next_value(Oid relid, AttrNumber attnum, Oid sequence);

/* The texts (of char *) that a query gives, NULLs left out; the second: for relation $1. */
extern List *paxos_ddl_texts(const char *query, int nargs, Oid *types, Datum *args,
							 const char *nulls);
extern List *paxos_ddl_texts_of(const char *query, Oid relid);

/* The names that a table takes in its schema; not of sequences, which give way. */
extern List *paxos_ddl_names_taken(Oid relid);

/*
 * Statements that make the policies of a table, or the one of this name (NULL: all), on a
 * table whose name is written so (paxos_policy.c).
 */
extern List *paxos_policies_of(Oid table, const char *written, const char *name);

/* ---- copies to try on (paxos_copy.c) ---- */

/*
 * In a trial: as the extension's owner, so that no privilege of the user's is in the way,
 * and no event trigger sees it.
 */
typedef struct PaxosPowers
{
	Oid user;
	int security;
	int nest_level;
} PaxosPowers;

extern PaxosPowers paxos_take_powers(void);
extern void paxos_give_back(PaxosPowers before);

/* An empty copy of a table, under its own name in a new schema. */
extern Oid paxos_ddl_make_copy(Oid table, const char *schema);

/*
 * Empty copies of these tables, parents before their partitions, which are locked; which
 * copy a table has; and the schema that stands for another (where it is not made by a table
 * of it).
 */
extern void paxos_copy_make(List *relids);
extern Oid paxos_copy_of(Oid relid);
extern char *paxos_copy_schema(Oid nsp);
extern void paxos_copy_make_schema(Oid nsp);

/* ---- at the slot (paxos_ddl_apply.c) ---- */

/* The settings under which statements are carried out; ended by AtEOXact_GUC(true, the level
 * returned). */
extern int paxos_ddl_begin_apply(void);

/* One statement, of this kind. */
extern Node *paxos_ddl_parse_one(const char *sql, NodeTag tag);
extern void paxos_ddl_run_statement(Node *stmt, const char *sql);

/* What is missing on this node is trouble of this node. */
extern Oid paxos_ddl_schema_here(const char *schema);
extern Oid paxos_ddl_role_here(const char *role);

/*
 * The table a statement speaks of, locked; InvalidOid if an earlier slot has
 * dropped it, which every node knows.  That its relation has vanished from this
 * node by itself is another matter, and no answer.
 */
extern Oid paxos_ddl_lock_table(int64 table_id, LOCKMODE mode);

/* What goes with a table is locked too: nobody may keep us waiting there. */
extern void paxos_ddl_lock_parts(Oid relid);

/*
 * What has this name, after whoever is making it has been cleared away;
 * InvalidOid if the name is free.  And to say that it is not.
 */
extern Oid paxos_ddl_holder_of_name(const char *name, Oid nsp);

/* In the learner: end whoever is making something of this name, of this catalog. */
extern void paxos_ddl_clear_name(Oid class_id, const char *name, Oid nsp);

/* A table is no more that of its number. */
extern void paxos_ddl_forget_table(int64 table_id, Oid relid);
extern void paxos_ddl_name_taken(const char *name, Oid existing) pg_attribute_noreturn();

/* paxos_trigger.c */
extern Oid paxos_user_trigger(Oid table, const char *name);
extern void paxos_ddl_apply_create_trigger(const PaxosDdlOp *op);
extern void paxos_ddl_apply_drop_trigger(const PaxosDdlOp *op);

/* An error that the rows cause, and so the same rows on every node. */
extern bool paxos_ddl_is_data_error(int sqlstate);

extern Oid paxos_ddl_owner_of(Oid relid);

/* The sequence of a serial or identity column on this node; InvalidOid: none. */
extern Oid paxos_ddl_sequence_of(Oid table, AttrNumber attnum);

/* Is it, or does it belong to, a table that the cluster knows? */
extern bool paxos_ddl_is_known(Oid relid);

/*
 * Options of the sequence of a column (paxos_sequence.c): is there one among these; and a
 * statement that changes some at its slot, false if it is none.
 */
extern bool paxos_sequence_has_options(const List *options);
extern bool paxos_sequence_apply(Node *stmt, Oid table);

/* New empty files for a table and what goes with it, locked. */
extern void paxos_ddl_empty(Oid relid);

/* paxos_fill.c */
extern void paxos_fill_table(Oid relid, const PaxosReplicated *r, px_node origin, uint64 set,
							 uint32 n_parts);

/*
 * Statements that change definitions, or say something about them (paxos_alter_apply.c).
 * Returns the tables at the other ends of foreign keys that may have ended.
 */
extern List *paxos_alter_apply(const PaxosDdlOp *op);

/* "(name = value, ...)" of options, or their names (paxos_alter_write.c). */
extern void paxos_ddl_put_options(StringInfo out, List *options, bool values);

/*
 * GRANT and REVOKE (paxos_grant.c).  False: about nothing that goes through the log.  What
 * DROP OWNED would take back on this node only is an error.
 */
extern bool paxos_grant_statement(PaxosUtility *u);
extern void paxos_grant_check_drop_owned(const DropOwnedStmt *stmt);

/* The same without what they are about, and tried. */
extern void paxos_ddl_put_privileges(StringInfo out, const GrantStmt *stmt);
extern void paxos_ddl_put_grantees(StringInfo out, const GrantStmt *stmt, List **roles);
extern void paxos_ddl_try_grant(PaxosUtility *u);

/*
 * What is carried out as this role at its slot would hold up every node if it may not look
 * into the schema: an error (paxos_alter.c).
 */
extern void paxos_check_sees_schema(Oid role, Oid nsp);

/* Is the constraint of this name, if there is one, a foreign key (paxos_alter.c)? */
extern bool paxos_is_foreign_key(Oid table, const char *name);

/* ENABLE or DISABLE TRIGGER? */
extern bool paxos_switches_trigger(const AlterTableCmd *cmd);

/*
 * Statements of a command with PAXOS_DDL_TREE; and which of its tables (or 'made', which it
 * has just made) goes by this name, its own or that of an index.
 */
extern List *paxos_alter_run(const PaxosDdlOp *op, List *statements, Oid made);
extern Oid paxos_alter_table_named(const PaxosDdlOp *op, const RangeVar *rv, Oid made);

/* The same on a copy, which no foreign key concerns. */
extern void paxos_alter_run_on(const PaxosDdlOp *op, Oid copy);

/*
 * In a trial: what has been written down, once more (paxos_rehearse.c).  XX000 if it cannot
 * be carried out, or does not make of another copy what has been made of the one tried.
 */
extern void paxos_rehearse_table(Oid tried, const char *definition);
extern void paxos_rehearse_alter(const PaxosDdlOp *op, Oid table, Oid tried);

/* Do these clauses of ALTER TABLE drop the constraint? */
extern bool paxos_drops_constraint(List *cmds, const char *constraint);

#endif /* PAXOS_DDL_INT_H */
