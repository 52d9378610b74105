/*
 * paxos_command.h
 *	  The commands that travel in origin batches, and their results: structs,
 *	  encoding, decoding.  Versioned, bounds-checked, independent of the
 *	  machine and of the PostgreSQL version; columns travel as attribute
 *	  numbers and text (type output under the fixed settings of
 *	  paxos_fix_worker_settings), NULL as length -1.
 *
 * Decoders trust nothing and return false on malformed bytes.
 */
#ifndef PAXOS_COMMAND_H
#define PAXOS_COMMAND_H

#include "access/attnum.h"

#include "paxos_ext.h"

typedef enum PaxosCommandKind
{
	PAXOS_COMMAND_KEYED = 1,
	PAXOS_COMMAND_DDL = 2,
	PAXOS_COMMAND_VERIFY = 3,
	PAXOS_COMMAND_LIST = 4,
	PAXOS_COMMAND_SET = 5,
	PAXOS_COMMAND_TXN = 6,
	PAXOS_COMMAND_PART = 7
} PaxosCommandKind;

/*
 * What a keyed operation does with the row its key names:
 *
 *	verb		row absent				row present
 *	INSERT		insert 'row'			not applied
 *	UPDATE		not applied				if all conditions hold: apply 'sets'
 *	DELETE		not applied				if all conditions hold: delete
 *	UPSERT		insert 'row'			apply 'sets'
 *	INSERT_NEW	insert 'row'			fail: 23505
 *	INSERT_NOTHING	insert 'row'		not applied
 *	INSERT_UPDATE	insert 'row'		if all conditions hold: apply 'sets'
 *	EXISTS		not applied				applied if all conditions hold
 *	ABSENT		applied					not applied
 *	GET			not applied				applied
 *
 * INSERT_* are INSERT as SQL has it: 'row' must be one that the table could take, by
 * its CHECK constraints and the like, also where it is not stored.  The last three
 * change nothing, and stand only in a transaction (PaxosTxn): EXISTS and ABSENT as its
 * guards, GET, whose result is the row, in its lists.
 */
typedef enum PaxosVerb
{
	PAXOS_VERB_INSERT = 1,
	PAXOS_VERB_UPDATE,
	PAXOS_VERB_DELETE,
	PAXOS_VERB_UPSERT,
	PAXOS_VERB_INSERT_NEW,
	PAXOS_VERB_INSERT_NOTHING,
	PAXOS_VERB_INSERT_UPDATE,
	PAXOS_VERB_EXISTS,
	PAXOS_VERB_ABSENT,
	PAXOS_VERB_GET
} PaxosVerb;

/* EQ and NE treat NULL as a value (IS [NOT] DISTINCT FROM); the others are false
 * when either side is NULL.  Comparison by the default btree operator class of
 * the column's type under the column's collation.  EXPRESSION is an expression over
 * the row (paxos_expr.h) and holds when it is true; its attnum says nothing. */
typedef enum PaxosConditionOp
{
	PAXOS_COND_EQ = 1,
	PAXOS_COND_NE,
	PAXOS_COND_LT,
	PAXOS_COND_LE,
	PAXOS_COND_GT,
	PAXOS_COND_GE,
	PAXOS_COND_EXPRESSION
} PaxosConditionOp;

/* ASSIGN takes the value; ADD and SUBTRACT use the type's own + and - (pg_catalog,
 * both arguments and result of the column's type); EXPRESSION is one over the row
 * as it was found and, with INSERT_UPDATE, the one proposed (paxos_expr.h), of the
 * column's type. */
typedef enum PaxosSetOp
{
	PAXOS_SET_ASSIGN = 1,
	PAXOS_SET_ADD,
	PAXOS_SET_SUBTRACT,
	PAXOS_SET_EXPRESSION
} PaxosSetOp;

typedef struct PaxosColumn
{
	AttrNumber attnum;
	uint8 op; /* PaxosConditionOp or PaxosSetOp; 0 in keys and rows */
	bool isnull;
	char *text; /* NUL-terminated; "" when isnull */
} PaxosColumn;

/*
 * definition: what the table's columns and key were when the operation was written
 * (paxos_definition_of()); 0: it does not say.
 */
typedef struct PaxosKeyedOp
{
	int64 table_id;
	uint32 definition;
	PaxosVerb verb;
	bool as_record; /* the result's images are text of a record, not JSON */
	int n_key;      /* the primary key's columns */
	PaxosColumn *key;
	int n_row; /* every column to insert, key included */
	PaxosColumn *row;
	int n_sets;
	PaxosColumn *sets;
	int n_conditions;
	PaxosColumn *conditions;
} PaxosKeyedOp;

/* In this order, and all of them or none. */
typedef struct PaxosKeyedList
{
	int n;
	PaxosKeyedOp *ops;
} PaxosKeyedList;

/*
 * Guards over rows of any tables; if all of them hold, the one list, else the other,
 * which are as above but may be empty.
 */
typedef struct PaxosTxn
{
	PaxosKeyedList guards;
	PaxosKeyedList then_ops;
	PaxosKeyedList else_ops;
} PaxosTxn;

typedef enum PaxosDdlKind
{
	PAXOS_DDL_CREATE_TABLE = 1,
	PAXOS_DDL_DROP_TABLE,
	PAXOS_DDL_CREATE_INDEX,
	PAXOS_DDL_DROP_INDEX,
	PAXOS_DDL_CREATE_TRIGGER,
	PAXOS_DDL_DROP_TRIGGER,
	PAXOS_DDL_FOREIGN_KEY,   /* ALTER TABLE: one added, or dropped */
	PAXOS_DDL_ALTER,         /* changes definitions (paxos_alter.c) */
	PAXOS_DDL_NOTE,          /* says something about them: COMMENT, GRANT */
	PAXOS_DDL_CREATE_OBJECT, /* what is no table (paxos_object.c) */
	PAXOS_DDL_ALTER_OBJECT,  /* the first of its objects */
	PAXOS_DDL_NOTE_OBJECT,
	PAXOS_DDL_DROP_OBJECT, /* all of them */
	PAXOS_DDL_LEAVE        /* SET ACCESS METHOD heap */
} PaxosDdlKind;

/* PaxosDdlOp.flags */
#define PAXOS_DDL_AS_OWNER 0x01 /* run as 'owner', else as the learner itself */
#define PAXOS_DDL_EMPTY 0x02    /* refused at the slot if a table has rows */
#define PAXOS_DDL_REPLACE 0x04  /* OR REPLACE */
#define PAXOS_DDL_IF_NOT_EXISTS 0x08
#define PAXOS_DDL_ROWS 0x10   /* CREATE TABLE: its rows have come, in parts */
#define PAXOS_DDL_VALUES 0x20 /* its tables are those that have values of a type it changes */

/*
 * Its statements know their tables, of 'table_ids', by name.  CREATE TABLE of no such tables:
 * an empty partitioned table of a node's own gives way to it.
 */
#define PAXOS_DDL_TREE 0x40
#define PAXOS_DDL_BESIDE 0x80 /* sessions may go on using the first of its tables */
#define PAXOS_DDL_ALL_FLAGS 0xff

typedef struct PaxosDdlOp
{
	PaxosDdlKind kind;
	uint8 flags;
	char *sql;        /* one statement, or several, as they are run on every node */
	char *schema;     /* of what it makes; or the name of the object it changes */
	char *owner;      /* role it runs as */
	int n_tables;     /* consensus tables it touches, by id */
	int64 *table_ids; /* (none for CREATE TABLE) */
	int64 *altered;   /* the definitions it was tried on: paxos_table_altered(); or NULL */
	int n_settings;
	char **settings; /* names and values that shape its meaning, in turn */
	int n_objects;   /* that it is about or needs (paxos_object.c) */
	int64 *object_ids;
	int64 *objects_altered;  /* what they were */
	struct List *extensions; /* that it needs, by OID; asked for where it is issued, and not sent */
	uint64 parts_of;         /* PAXOS_DDL_ROWS: the number of the parts with its rows */
	uint32 n_parts;
} PaxosDdlOp;

/* Changes nothing: count and digest the rows of a table (paxos_verify.c). */
typedef struct PaxosVerifyOp
{
	int64 table_id;
} PaxosVerifyOp;

/*
 * A write set: what a transaction changed where it ran, as the state of each row
 * afterwards; applied whole or not at all (paxos_set.c, paxos_apply_set.c).  It is alone
 * in its origin batch and its slot.
 */

/*
 * How a transaction holds a row: the first four are PostgreSQL's row locks, in their
 * order (LockTupleMode), a change among them.  READ is what a serializable
 * transaction has merely read.
 */
typedef enum PaxosHold
{
	PAXOS_HOLD_KEY_SHARE,
	PAXOS_HOLD_SHARE,
	PAXOS_HOLD_NO_KEY_UPDATE,
	PAXOS_HOLD_UPDATE,
	PAXOS_HOLD_READ
} PaxosHold;

#define PAXOS_HOLDS 5

/* How it holds a table: bits. */
#define PAXOS_TABLE_LOCKED 0x01    /* rows of it, and no more */
#define PAXOS_TABLE_CHANGED 0x02   /* rows of it */
#define PAXOS_TABLE_READ 0x04      /* depends on every row, as of 'snapshot' */
#define PAXOS_TABLE_SHARE 0x08     /* LOCK TABLE: nobody else changes a row */
#define PAXOS_TABLE_EXCLUSIVE 0x10 /* LOCK TABLE: nobody else changes or locks one */

/* What the set does to it as a whole: so many rows of it are changed that the window
 * notes the table instead; its sequences begin again; its old rows go, first of all. */
#define PAXOS_TABLE_MANY 0x20
#define PAXOS_TABLE_RESTARTED 0x40
#define PAXOS_TABLE_TRUNCATED 0x80

#define PAXOS_TABLE_LOOKED_UP 0x100 /* rows of it were read by their keys, as of 'snapshot' */
#define PAXOS_TABLE_ALL 0x1ff

/* A table with no other part has nothing done to it. */
#define PAXOS_TABLE_ONLY_READ (PAXOS_TABLE_READ | PAXOS_TABLE_LOOKED_UP)

typedef struct PaxosSetTable
{
	int64 table_id;
	uint16 hold; /* PAXOS_TABLE_..., at least one */
} PaxosSetTable;

/* What is said of a row: afterwards there is none with this key; it is this one; or
 * (LOCKED + a PaxosHold below READ) it was locked. */
#define PAXOS_ROW_GONE 0
#define PAXOS_ROW_PRESENT 1
#define PAXOS_ROW_LOCKED 2

typedef struct PaxosSetRow
{
	uint16 table; /* in 'tables' */
	uint8 what;   /* PAXOS_ROW_... */
	int n_key;    /* 0: its table has no primary key, and the row is new */
	PaxosColumn *key;
	int n_row; /* when it is present: every column, generated ones too */
	PaxosColumn *row;
} PaxosSetRow;

typedef struct PaxosWriteSet
{
	px_slot base;     /* the origin had applied so much when it was proposed */
	px_slot snapshot; /* serializable: what was read is the state behind this slot; or 0 */
	int n_tables;
	PaxosSetTable *tables;
	int n_keys[PAXOS_HOLDS]; /* of rows, before and after (paxos_key.h), by PaxosHold */
	uint64 *keys[PAXOS_HOLDS];
	int n_rows;
	PaxosSetRow *rows;
	uint64 parts_of; /* the number of the parts that have come before; 0: none */
	uint32 n_parts;
} PaxosWriteSet;

/* A part of a set that is too large for one command (paxos_part.c). */
typedef struct PaxosSetPart
{
	uint64 set;
	uint32 number;      /* from 1; 0: forget all of them */
	PaxosWriteSet body; /* tables, keys and rows of it */
} PaxosSetPart;

typedef struct PaxosCommand
{
	PaxosCommandKind kind;
	bool has_request_id;
	pg_uuid_t request_id;
	uint64 request_retention_us; /* in log time, from the origin's setting */
	union
	{
		PaxosKeyedOp keyed;
		PaxosKeyedList list;
		PaxosDdlOp ddl;
		PaxosVerifyOp verify;
		PaxosWriteSet set;
		PaxosTxn txn;
		PaxosSetPart part;
	} u;
} PaxosCommand;

/* palloc'd; *len in bytes. */
extern char *paxos_command_encode(const PaxosCommand *command, Size *len);

/* Strings and arrays palloc'd in the current context. */
extern bool paxos_command_decode(const char *bytes, Size len, PaxosCommand *command);

/* ---- results ---- */

/* What one operation of a list did. */
typedef struct PaxosResultPart
{
	int64 table_id; /* in a transaction; else 0, and the result has it */
	bool applied;
	bool existed;
	char *previous;
	char *current;
} PaxosResultPart;

typedef struct PaxosCommandResult
{
	bool failed;        /* the command itself failed: error fields say how */
	bool applied;       /* of a transaction: its guards held */
	bool existed;       /* a row with the key existed before the command */
	px_slot decided_at; /* the slot */
	int64 table_id;     /* 0 for DDL and transactions */
	bool replayed;      /* remembered under a request id, not executed now */
	char *previous;     /* row before as JSON text, NULL if none */
	char *current;      /* row after as JSON text, NULL if none */
	int n_parts;        /* of the list that ran: one for each operation */
	PaxosResultPart *parts;
	/* failed: */
	int sqlstate;  /* ERRCODE_... */
	char *message; /* the rest may be NULL */
	char *detail;
	char *hint;
	char *schema_name;
	char *table_name;
	char *column_name;
	char *datatype_name;
	char *constraint_name;
} PaxosCommandResult;

extern char *paxos_result_encode(const PaxosCommandResult *result, Size *len);
extern bool paxos_result_decode(const char *bytes, Size len, PaxosCommandResult *result);

/* Raise the error a failed result describes; never returns. */
extern void paxos_result_raise(const PaxosCommandResult *result) pg_attribute_noreturn();

#endif /* PAXOS_COMMAND_H */
