/*
 * paxos_set_int.h
 *	  What a transaction has captured (paxos_capture.c), for who proposes it (paxos_set.c).
 */
#ifndef PAXOS_SET_INT_H
#define PAXOS_SET_INT_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "storage/itemptr.h"
#include "utils/hsearch.h"
#include "utils/palloc.h"

#include "paxos_key.h"
#include "paxos_set.h"
#include "paxos_spill.h"

typedef struct PaxosCaptureTable
{
	Oid relid;
	int64 table_id;
	uint16 hold;     /* PAXOS_TABLE_READ, _LOOKED_UP, _SHARE, _EXCLUSIVE */
	bool changes;    /* rows of it may have been changed */
	PaxosKeys *keys; /* NULL: no row of it has been changed or locked */
	bool plain_keys;
	MemoryContext cxt; /* of what describe() finds out */
	SubTransactionId described_in;
	bool stale; /* the lock under which it was described may have gone */
	uint8 rows; /* PAXOS_TABLE_CHANGED, _LOCKED: one has been captured */
	Oid pk;
	int n_key;
	AttrNumber key[INDEX_MAX_KEYS];
	TupleDesc key_desc;
} PaxosCaptureTable;

/* In a table without a primary key.  What stood there before another TRUNCATE has gone. */
typedef struct PaxosCapturePlace
{
	ItemPointerData tid;
	int n_truncations; /* of the table, until then */
} PaxosCapturePlace;

/*
 * A row by its primary key: the bytes of a minimal tuple of key columns; or by its place.
 * What goes to 'more_changes' has table and what in its tag, the one in the low 16 bits.
 */
typedef struct PaxosCaptureChange
{
	int table;
	uint8 what; /* PAXOS_ROW_LOCKED + a hold; or PAXOS_ROW_PRESENT, for changed */
	uint32 len;
	char *bytes;
} PaxosCaptureChange;

typedef struct PaxosCaptureTruncation
{
	SubTransactionId subid;
	int table;
	bool restarts;
} PaxosCaptureTruncation;

struct PaxosCaptureMark;

typedef struct PaxosCapture
{
	MemoryContext cxt;
	int n_tables;
	int tables_room;
	PaxosCaptureTable *tables;
	int n_changes;
	int changes_room;
	PaxosCaptureChange *changes;
	HTAB *known_changes;
	List *trees; /* partitioned tables whose partitions may be changed: those at the top */
	int n_keys[PAXOS_HOLDS];
	int keys_room[PAXOS_HOLDS];
	uint64 *keys[PAXOS_HOLDS];
	HTAB *known_keys;
	PaxosSpill *more_changes; /* beyond what is held in memory, or NULL */
	PaxosSpill *more_keys;    /* with their hold as tag */
	int n_marks;
	int marks_room;
	struct PaxosCaptureMark *marks;
	int n_truncations;
	int truncations_room;
	PaxosCaptureTruncation *truncations;
} PaxosCapture;

/* Of the running transaction; NULL: nothing has been captured. */
extern PaxosCapture *paxos_capture_current(void);

/* What a row captured so makes of its table: PAXOS_TABLE_CHANGED or _LOCKED. */
extern uint8 paxos_capture_held(uint8 what);

/* How often has the table been emptied? */
extern int paxos_capture_truncations(int table);

/* A subtransaction is rolled back. */
extern void paxos_capture_cut_off(SubTransactionId subid);

/* The files must be closed before the commit. */
extern void paxos_capture_close_files(PaxosCapture *set);

/* The transaction has ended. */
extern void paxos_capture_forget(void);

#endif /* PAXOS_SET_INT_H */
