/*
 * paxos_apply.h
 *	  One command against the local tables, and the map from replicated table
 *	  ids to local relations.
 */
#ifndef PAXOS_APPLY_H
#define PAXOS_APPLY_H

#include "utils/relcache.h"

#include "paxos_command.h"

/*
 * table ids: paxos.kv is PAXOS_KV_TABLE_ID; a table created at a slot has
 * (slot << 16 | index of the command within the slot), the same on every node.
 */
#define PAXOS_KV_TABLE_ID	1
#define PaxosTableId(at_slot, index) ((int64) ((at_slot) << 16 | (index)))

/* paxos.tables: InvalidOid / 0 when unknown. */
extern Oid	paxos_table_relid(int64 table_id);
extern int64 paxos_table_id(Oid relid);

/* Is it a table with access method paxos (or a partition tree of such)?  Cheap:
 * cached by relcache invalidation. */
extern bool paxos_is_consensus_table(Oid relid);

/*
 * Learner only: take a relation lock without ever waiting for a local session:
 * whoever holds a conflicting lock is cancelled, and terminated after a short
 * bound (protocol.md § 6).  Afterwards the lock is held to the transaction's end.
 * False: the relation does not exist.
 */
extern bool paxos_lock_for_apply(Oid relid, LOCKMODE mode);

/*
 * Execute a DDL command at its slot, as its owner, in the learner (paxos_ddl.c).
 * Errors are thrown; paxos_learner.c decides whether they are a result.
 */
extern void paxos_ddl_apply(const PaxosDdlOp *op, px_slot at_slot, uint32 index);

/* The backstop on a consensus table: internal BEFORE triggers, ENABLE ALWAYS. */
extern void paxos_backstop_create(Oid relid);

#endif							/* PAXOS_APPLY_H */
