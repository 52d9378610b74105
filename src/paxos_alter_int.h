/*
 * paxos_alter_int.h
 *	  What the parts of ALTER share where it is issued: one statement about one table, from
 *	  the first look at it to its way into the log (paxos_alter.c); its clauses, written down
 *	  (paxos_alter_write.c); names and comments (paxos_rename.c); sequences of columns
 *	  (paxos_sequence.c).
 */
#ifndef PAXOS_ALTER_INT_H
#define PAXOS_ALTER_INT_H

#include "paxos_ddl_int.h"

typedef struct PaxosAlter
{
	PaxosUtility *u;
	Oid table;
	Oid nsp;
	Oid owner;
	char *schema;
	char *name;
	int64 table_id;
	int64 altered;
	StringInfoData sql;
	PaxosDdlOp op;
	List *names;           /* that it takes in the table's schema */
	List *partition_names; /* and in those of its partitions */
	bool reads_rows;
} PaxosAlter;

/* ---- the statement (paxos_alter.c) ---- */

/*
 * The table, locked ACCESS SHARE.  relid: the same, or an index or sequence of it that the
 * statement names.  Who drops that has the table locked meanwhile: it is looked at again behind
 * the lock, for it may have gone while we waited.  False: table or part is gone.  'what' is the
 * statement's name in messages: 25001, 25006, who is no member, and the table of the key-value
 * functions.
 */
extern bool paxos_alter_begin(PaxosAlter *s, PaxosUtility *u, Oid table, Oid relid,
							  const char *what);

/* A schema that it needs: if it is one of all nodes, it must be there as it is now. */
extern void paxos_alter_need_schema(PaxosAlter *s, Oid nsp);

/* The table's name with its schema, quoted. */
extern char *paxos_alter_qualified(const PaxosAlter *s);

/*
 * In a trial: copies of the table and, if it is one of a tree of partitions, of those above
 * and below.  A statement about it then is about those below as well; it and they are
 * returned.
 */
extern List *paxos_alter_make_copy(PaxosAlter *s);

/*
 * Send s->sql and wait.  False: the definition has changed meanwhile; all is to be looked at
 * anew.
 */
extern bool paxos_alter_send(PaxosAlter *s, CommandTag tag);

/* ---- its clauses (paxos_alter_write.c) ---- */

/*
 * Before the clauses, which are changed, are tried on the copy: names are chosen and
 * conversions looked at, 0A000 if they are not immutable.  Returns, for each clause, its USING
 * written down, or NULL.
 */
extern char **paxos_alter_prepare(const PaxosAlter *s, Oid copy, List *cmds);

/*
 * All clauses, from what the trial made of the copy, to s->sql; nothing, if there is nothing
 * to do.  before: the constraints that it had; below: the table and all its partitions;
 * indexes: what paxos_partition_indexes() found of those.
 */
extern void paxos_alter_write(PaxosAlter *s, AlterTableStmt *stmt, Oid copy, char **using,
							  List *before, List *below, List *indexes);

/* The number of a column that must be there. */
extern AttrNumber paxos_alter_column(Relation rel, const char *name);

/* What SET STATISTICS says; -1: DEFAULT. */
extern int paxos_alter_statistics_target(const AlterTableCmd *cmd);

/* ---- names and comments (paxos_rename.c) ---- */

/*
 * RENAME of a table, an index of it or one of its parts; SET SCHEMA; COMMENT.  False, as
 * paxos_alter_send().
 */
extern bool paxos_rename_part(PaxosUtility *u, RenameStmt *stmt, Oid table, Oid relid);
extern bool paxos_rename_schema(PaxosUtility *u, AlterObjectSchemaStmt *stmt, Oid table);
extern bool paxos_rename_comment(PaxosUtility *u, CommentStmt *stmt, Oid table, Oid relid);

/* The relation that COMMENT is about, or one of whose parts; NULL: it is about none. */
extern RangeVar *paxos_rename_commented(CommentStmt *stmt);

/* ---- sequences of columns (paxos_sequence.c) ---- */

/*
 * ALTER SEQUENCE of a column's sequence, or OWNED BY a column of a consensus table.  False: it
 * is about something else.
 */
extern bool paxos_sequence_statement(PaxosUtility *u);

/* ALTER COLUMN ... SET of an identity's options.  False, as paxos_alter_send(). */
extern bool paxos_sequence_alter_identity(PaxosAlter *s, const AlterTableCmd *cmd);

/*
 * The sequence that the clause makes the default, and which is the column's own; InvalidOid:
 * it does something else.  And to send that.
 */
extern Oid paxos_sequence_made_default(Oid table, const AlterTableCmd *cmd);
extern bool paxos_sequence_set_default(PaxosAlter *s, const char *column, Oid sequence);

#endif /* PAXOS_ALTER_INT_H */
