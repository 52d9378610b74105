/*
 * paxos_partition.h
 *	  Partitioned consensus tables (paxos_partition.c).
 */
#ifndef PAXOS_PARTITION_H
#define PAXOS_PARTITION_H

#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"

#include "paxos_command.h"
#include "paxos_ddl.h"

/* Is it partitioned, or a partition? */
extern bool paxos_in_tree(Oid relid);

/* What is at the top of what it is a part of: itself, if it is in no tree. */
extern Oid paxos_tree_top(Oid relid);

/* The tables above it, it, and those below it, in this order; locked ACCESS SHARE. */
extern List *paxos_tree_around(Oid relid);

/* Of these it and those below it. */
extern List *paxos_tree_below(List *around, Oid relid);

/*
 * The statement is about this table as it is now, and about what is below it; to be
 * called when nothing of the table has been looked at yet, or all is locked.
 */
extern void paxos_tree_add(PaxosDdlOp *op, Oid relid, bool below);

/* 0A000 if one of the statement's tables belongs to somebody else. */
extern void paxos_tree_check_owners(const PaxosDdlOp *op, Oid owner);

/* In a trial on copies: the indexes that those of these tables have. */
extern List *paxos_partition_indexes(List *relids);

/*
 * Statements that make those which have come since, and attach them: of 'target', which is
 * partitioned, and of its partitions.  names: what they take, by table.
 */
extern void paxos_partition_write_indexes(StringInfo out, Oid target, List *relids, List *before,
										  List **names);

/* Asks the other members about names so noted. */
extern void paxos_partition_ask(const PaxosDdlOp *op, List *names);

/* Statements of their own. */
extern void paxos_partition_create_index(PaxosUtility *u, IndexStmt *stmt, Oid table,
										 const char *name);
extern bool paxos_partition_alter(PaxosUtility *u, AlterTableStmt *stmt, Oid table);
extern bool paxos_partition_attach_index(PaxosUtility *u, AlterTableStmt *stmt, Oid index);

/*
 * A dump has partitions made first, with defaults from a sequence of the partitioned table:
 * those are left out, for they come with ATTACH PARTITION.
 */
extern void paxos_partition_leave_out_defaults(CreateStmt *stmt);

/* DROP TABLE of these n (in op): what goes with them, as an array, and the rest of op. */
extern Oid *paxos_partition_drop(PaxosDdlOp *op, const Oid *relids, int *n);

#endif /* PAXOS_PARTITION_H */
