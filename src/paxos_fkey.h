/*
 * paxos_fkey.h
 *	  Foreign keys between consensus tables, for the statements that make and drop
 *	  tables (paxos_fkey.c).
 */
#ifndef PAXOS_FKEY_H
#define PAXOS_FKEY_H

#include "nodes/parsenodes.h"

#include "paxos_command.h"
#include "paxos_ddl.h"

/*
 * In a trial: the foreign keys of a CREATE TABLE, which is changed, refer to empty
 * copies.  Errors where they may not refer.  What it returns is for _write(): that appends
 * to op->sql the statements that add the keys of the table tried, sets op->table_ids,
 * and drops the copies.
 */
extern List *paxos_fkey_divert(CreateStmt *stmt, const char *schema);
extern void paxos_fkey_write(PaxosDdlOp *op, Oid relid, List *parents);

/* The constraints of a column, or one of a table, without foreign keys. */
extern List *paxos_fkey_leave_out(List *constraints);

/*
 * ALTER TABLE that adds one foreign key, or drops one, and does nothing else, on this
 * consensus table.  False: it is something else.
 */
extern bool paxos_fkey_alter(PaxosUtility *u, AlterTableStmt *stmt, Oid table);
extern void paxos_fkey_apply_alter(const PaxosDdlOp *op);

/*
 * In a trial of ALTER TABLE, on a copy without foreign keys that has been altered: could
 * the table's keep their columns?  PostgreSQL's error if not.
 */
extern void paxos_fkey_try(Oid table, Oid copy, List *cmds);

/* At the slot: carry these statements (of RawStmt) out on the table just made. */
extern void paxos_fkey_apply(const PaxosDdlOp *op, List *statements, Oid relid);

/* Has the table foreign keys, or others to it? */
extern bool paxos_fkey_any(Oid relid);

/* The other tables that this one refers to or is referred to by. */
extern List *paxos_fkey_partners(Oid relid);

/* 2BP01 if a table that stays refers to one of these; Invalid ones are passed over. */
extern void paxos_fkey_check_drop(const Oid *relids, int n, bool at_slot);
extern void paxos_fkey_notice_drop(const Oid *relids, int n);

/* The same if a foreign key needs this index of the table referred to. */
extern void paxos_fkey_check_drop_index(Oid table, Oid index, bool at_slot);

#endif /* PAXOS_FKEY_H */
