/*
 * paxos_apply.h
 *	  One command against the local tables (paxos_apply.c, paxos_ddl.c), the map
 *	  from replicated table ids to local relations (paxos_table.c), and how the
 *	  learner gets its locks (paxos_yield.c).
 */
#ifndef PAXOS_APPLY_H
#define PAXOS_APPLY_H

#include "executor/tuptable.h"
#include "nodes/lockoptions.h"
#include "nodes/primnodes.h"
#include "utils/relcache.h"

#include "paxos_command.h"
#include "paxos_replicated.h"

/*
 * table ids: paxos.kv is PAXOS_KV_TABLE_ID; a table created at a slot has
 * (slot << 16 | index of the command within the slot), the same on every node.
 */
#define PAXOS_KV_TABLE_ID 1
#define PaxosTableId(at_slot, index) ((int64) ((at_slot) << 16 | (index)))

/* paxos.tables: InvalidOid / 0 when unknown. */
extern Oid paxos_table_relid(int64 table_id);
extern int64 paxos_table_id(Oid relid);

/* The same of a table that must be known, and is locked: 55000. */
extern int64 paxos_known_table_id(Oid relid);

/*
 * Names of what was found before it was locked, or is not locked at all: an error (42P01,
 * 3F000) if the learner has dropped it since, where get_rel_name() and its kin give NULL.
 * The second and the last but one: of the relation's schema, and of both, quoted.
 */
extern char *paxos_relation_name(Oid relid);
extern char *paxos_schema_of(Oid relid);
extern char *paxos_schema_name(Oid nsp);
extern char *paxos_qualified_name(Oid relid);
extern RangeVar *paxos_range_var(Oid relid);

/*
 * The last statement that changed the definition of a table, as a number like that
 * of a table; 0: none has.  A statement is carried out at its slot only on the
 * definition it was tried on.
 */
extern int64 paxos_table_altered(int64 table_id);

/*
 * What a table's columns and primary key are, as a number that is the same on every
 * node: whoever names columns by their numbers, and values by their text, says with it
 * what that meant.  pk: the primary key's index, or NULL.
 */
extern uint32 paxos_definition_of(Relation rel, Relation pk);

/* Is it a table with access method paxos (or a partitioned table of such)?  Cheap:
 * cached by relcache invalidation. */
extern bool paxos_is_consensus_table(Oid relid);

/* After an error in the learner: the map is read anew. */
extern void paxos_table_forget(void);

/*
 * Learner only: take a relation lock without ever waiting for a local session:
 * whoever holds a conflicting lock is cancelled, and terminated after a short
 * bound (protocol.md § 6).  Afterwards the lock is held to the transaction's end.
 * False: the relation does not exist.
 */
extern bool paxos_lock_for_apply(Oid relid, LOCKMODE mode);

/* The same of something else in the catalogs, ACCESS EXCLUSIVE. */
extern void paxos_lock_object_for_apply(Oid class_id, Oid object_id);

/*
 * Learner only: see that no transaction holds a lock on this row that conflicts with
 * 'mode', which it is about to take.
 */
extern void paxos_clear_row_locks(TupleTableSlot *row, LockTupleMode mode);

/* Learner only: end the local transaction xid (the same way), and see it gone. */
extern void paxos_end_transaction_in_the_way(TransactionId xid);

/*
 * Execute a DDL command at its slot, as its owner, in the learner (paxos_ddl.c).
 * Errors are thrown; paxos_execute.c decides whether they are a result.
 */
extern void paxos_ddl_apply(const PaxosDdlOp *op, px_slot at_slot, uint32 index,
							const PaxosReplicated *r, px_node origin);

/*
 * Inside an ereport() of SQLSTATE class 42 in paxos_ddl_apply: the replicated
 * catalogue (paxos.tables at this slot) itself decided this, as when the name is
 * that of another consensus table; so every node gets the same error and it is
 * the command's result.  Without it an error of class 42 is of the surroundings
 * (a local table in the way, a role missing here): the slot is tried again.
 * Always returns 0.
 */
extern int paxos_err_decided(void);

/* Has it been said since it was forgotten? */
extern void paxos_err_forget(void);
extern bool paxos_err_was_decided(void);

/*
 * Is this an error that built-in functions raise of the values they are given, and
 * so on every node alike, although its class (42, 0A) says nothing of the kind?
 */
extern bool paxos_error_of_values(int sqlstate);

/* Or one that is never an answer: two met in a unique index of this node's catalogs. */
extern bool paxos_error_of_catalogs(const ErrorData *edata);

/*
 * Learner only: one keyed operation, executed as its table's owner.  The
 * relations it needs are kept open in an apply context until
 * paxos_apply_end() (before DDL, and before the transaction commits); after an
 * error the context is forgotten with paxos_apply_forget().  Errors are thrown;
 * what the replicated catalogue decides by itself (no such table) comes back as
 * a failed result.  Texts of the result are palloc'd in the current context;
 * 'want_previous' false leaves out result->previous where the row survives.
 */
typedef struct PaxosApply PaxosApply;

/*
 * An expression of the command is being evaluated: an internal error (XX000) is
 * then one of built-in functions about the values they are given (a text of more
 * than 1 GB, say), the same on every node.
 */
extern bool paxos_evaluating;

extern PaxosApply *paxos_apply_begin(void);
extern void paxos_apply_keyed(PaxosApply *apply, const PaxosKeyedOp *op, bool want_previous,
							  PaxosCommandResult *result);

/* The operations of a list, each on what those before it left.  An error of any is
 * the whole list's. */
extern void paxos_apply_list(PaxosApply *apply, const PaxosKeyedList *list, bool want_previous,
							 PaxosCommandResult *result);

/* Guards, and the operations of one of two lists; 'applied' says whether they held. */
extern void paxos_apply_txn(PaxosApply *apply, const PaxosTxn *txn, bool want_previous,
							PaxosCommandResult *result);

/*
 * The keys that the last keyed operation changes, or would have: known before any
 * local transaction is ended for it, and whether or not it failed afterwards.
 */
extern const uint64 *paxos_apply_changed(int *n);

/*
 * A certified write set, which changes these keys (paxos_apply_set.c).  Tables it empties
 * come first, before any is open.
 */
extern bool paxos_apply_truncates(const PaxosWriteSet *set);
extern void paxos_apply_truncate(const PaxosWriteSet *set, const uint64 *changed, int n_changed);
extern void paxos_apply_set(PaxosApply *apply, const PaxosReplicated *r, px_node origin,
							const PaxosWriteSet *set, const uint64 *changed, int n_changed);
extern void paxos_apply_end(PaxosApply *apply);

/* After any error: whatever was cached from a moment before it is built anew. */
extern void paxos_apply_forget(void);

/* The backstop on a consensus table: internal BEFORE triggers, ENABLE ALWAYS. */
extern void paxos_backstop_create(Oid relid);

#endif /* PAXOS_APPLY_H */
