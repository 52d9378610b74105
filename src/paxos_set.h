/*
 * paxos_set.h
 *	  Transactions that change consensus tables by write set: what statements announce,
 *	  and ask (paxos_capture.c).
 */
#ifndef PAXOS_SET_H
#define PAXOS_SET_H

#include "executor/tuptable.h"
#include "storage/lockdefs.h"

#include "paxos_command.h"

/* paxos.local_writes */
typedef enum PaxosLocalWrites
{
	PAXOS_LOCAL_REFUSE,
	PAXOS_LOCAL_ALLOW
} PaxosLocalWrites;

/*
 * A statement of this session is about to change rows of a consensus table, to lock some,
 * or to lock it as a whole; or changes a permanent table that is none.  Errors
 * where that cannot be.
 */
extern void paxos_set_changes(Oid relid);
extern void paxos_set_locks(Oid relid);
extern void paxos_set_whole(Oid relid, LOCKMODE mode);
extern void paxos_set_local(void);

/*
 * In a SERIALIZABLE transaction a statement reads all of a consensus table; or it looks up
 * rows by their primary key (true: if it is worth while to say which), and has looked up
 * this one.
 */
extern void paxos_set_read_all(Oid relid);
extern bool paxos_set_reads(Oid relid);
extern void paxos_set_read_row(Oid relid, const Datum *key);

/* It has locked this row, of a table announced so. */
extern void paxos_set_row_lock(Oid relid, TupleTableSlot *row, PaxosHold hold);
/*
 * TRUNCATE of a consensus table is about to empty it; and whether the statement that
 * runs now says RESTART IDENTITY (returns what was said before).
 */
extern void paxos_set_truncates(Oid relid);
extern bool paxos_set_restarts(bool restarts);

/* Error if rows of the table, which has been announced, cannot be changed, but only added. */
extern void paxos_set_needs_key(Oid relid, const char *what);

/* May the row change go on that the backstop has met? */
extern bool paxos_set_captures(Oid relid);

/* Has this transaction begun to change consensus tables? */
extern bool paxos_set_active(void);

/* 40001 if the transaction had to make way. */
extern void paxos_set_check(void);

/* The triggers that capture changes of a consensus table, beside the backstop. */
extern void paxos_capture_create(Oid relid);

#endif /* PAXOS_SET_H */
