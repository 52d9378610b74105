/*
 * paxos_apply_int.h
 *	  What applying a keyed operation (paxos_apply.c) and a write set
 *	  (paxos_apply_set.c) share: the tables they have open, finding a row, and changing
 *	  one without waiting for anybody.
 */
#ifndef PAXOS_APPLY_INT_H
#define PAXOS_APPLY_INT_H

#include "access/skey.h"
#include "executor/executor.h"
#include "utils/typcache.h"

#include "paxos_apply.h"
#include "paxos_key.h"

/* What is costly to find out about a table. */
typedef struct PaxosColumnInfo
{
	bool settable; /* neither dropped nor generated */
	bool is_domain;
	Oid type;
	Oid base_type;
	int32 typmod;
	int32 base_typmod;
	Oid collation;
	Oid ioparam;
	FmgrInfo input;

	/* looked up when first needed; fn_oid 0 until then */
	FmgrInfo add;
	FmgrInfo subtract;
	FmgrInfo fit; /* cast to the type's own modifier */
	bool fit_known;
	void *domain_extra;
	TypeCacheEntry *order;
} PaxosColumnInfo;

typedef struct PaxosRelInfo
{
	Oid relid;         /* hash key */
	bool valid;        /* cleared by invalidation */
	bool struck;       /* by one, since it began to be built */
	MemoryContext cxt; /* holds everything below */
	Oid owner;
	bool has_domain;
	int natts;
	PaxosColumnInfo *columns;
	Oid pk_index;
	int n_key;
	AttrNumber key[INDEX_MAX_KEYS];
	ScanKeyData scankey[INDEX_MAX_KEYS]; /* without arguments */
	uint32 definition;                   /* paxos_definition_of() */
	PaxosKeys *keys;
	bool triggers;          /* or foreign keys: changed by write sets alone */
	bool plain_keys;        /* whether a unique key changes is seen from 'keys' */
	Bitmapset *key_columns; /* what the heap takes for such */
	bool only_key;          /* no other unique key than the primary one */
} PaxosRelInfo;

/* Relations open over one transaction. */
typedef struct PaxosApplyTable
{
	int64 table_id;
	LOCKMODE lock; /* RowExclusiveLock, or RowShareLock where rows are merely locked */
	PaxosRelInfo *info;
	Relation rel;
	Relation pk; /* one of result's indexes */
	ResultRelInfo *result;
	TupleTableSlot *found;    /* the row as it stands */
	TupleTableSlot *proposed; /* the row to insert */
	TupleTableSlot *fresh;    /* the row to put in the place of that found */
	TupleTableSlot *other;    /* one in the way of it */
} PaxosApplyTable;

struct PaxosApply
{
	MemoryContext cxt;         /* deleted at the end */
	MemoryContext command_cxt; /* reset before each command */
	EState *estate;
	List *tables; /* of PaxosApplyTable * */
	bool in_list;
	CommandId list_began; /* what the list did itself has this command id or a later one */
};

/* Open, with this lock at least.  NULL: the replicated catalogue has no such table. */
extern PaxosApplyTable *paxos_apply_open(PaxosApply *apply, int64 table_id, LOCKMODE lock);

/* Find the row with this key in t->found. */
extern bool paxos_apply_find(PaxosApplyTable *t, int n_key, const PaxosColumn *key);

/*
 * Store t->proposed, or t->fresh in the place of t->found (both virtual tuples filled
 * in); delete t->found.  Local transactions in the way are ended first.
 */
extern void paxos_apply_store(PaxosApply *apply, PaxosApplyTable *t, bool update);
extern void paxos_apply_delete(PaxosApplyTable *t);

/* Lock t->found, to the transaction's end. */
extern void paxos_apply_lock(PaxosApplyTable *t, LockTupleMode mode);

#endif /* PAXOS_APPLY_INT_H */
