/*
 * paxos_api_int.h
 *	  What the functions that users call (paxos_api.c) take to make an operation: tables as
 *	  they know them (paxos_api_table.c), and lists of columns, from JSON (paxos_api_json.c).
 */
#ifndef PAXOS_API_INT_H
#define PAXOS_API_INT_H

#include "nodes/execnodes.h"
#include "utils/acl.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "paxos_command.h"

/* How a JSON value becomes text that the type's input function takes. */
typedef enum PaxosApiShape
{
	PAXOS_SHAPE_PLAIN, /* strings as they are, numbers and booleans as text */
	PAXOS_SHAPE_JSON,  /* the value's own JSON text */
	PAXOS_SHAPE_ARRAY  /* JSON arrays become array literals */
} PaxosApiShape;

typedef struct PaxosApiColumn
{
	char name[NAMEDATALEN];
	int name_len;
	AttrNumber attnum;
	Oid type;
	int32 typmod;
	bool dropped;
	bool is_key;
	bool generated;
	bool has_default;
	char identity;
	PaxosApiShape shape;
	char delimiter; /* between the elements of an array */
	bool json_elements;
	Oid ioparam;
	FmgrInfo input;
	FmgrInfo output;
	bool comparable; /* the type has a default btree operator class */
	bool can_add;    /* pg_catalog has type + type = type */
	bool can_subtract;
	ExprState *default_state; /* NULL: not prepared, or no default */
} PaxosApiColumn;

typedef struct PaxosApiTable
{
	Oid relid;
	MemoryContext context; /* holds this and everything below */
	char *name;
	int64 table_id;
	uint32 definition;
	int n_columns;
	PaxosApiColumn *columns;
	int n_key;
	PaxosApiColumn **key; /* in the primary key's order */
	List *sequences;      /* owned by the table's columns */

	Oid defaults_of;            /* role for which default_states were prepared */
	uint64 defaults_at;         /* 'functions_changed' then */
	MemoryContext defaults_cxt; /* holds them */
	bool evaluating;            /* one of them, just now */
} PaxosApiTable;

/* Columns with what is said of each. */
typedef struct PaxosApiList
{
	int n;
	PaxosColumn *at;
	PaxosApiColumn **column; /* of each */
} PaxosApiList;

/* ---- tables (paxos_api_table.c) ---- */

/*
 * Look up a consensus table; *rel comes back open with AccessShareLock.  42809
 * if it is something else.  What is returned lives to the end of the transaction.
 */
extern PaxosApiTable *paxos_api_open(Oid relid, Relation *rel);

/* A column by its name, which need not end with a zero; NULL, or 42703: there is none. */
extern PaxosApiColumn *paxos_api_column(PaxosApiTable *t, const char *name, int len);
extern void paxos_api_no_column(PaxosApiTable *t, const char *name, int len)
	pg_attribute_noreturn();

/* What a list says of a column; NULL: nothing. */
extern PaxosColumn *paxos_api_find(const PaxosApiList *list, const PaxosApiColumn *c);

/* A value; what it says besides, as a condition or as a set, is the caller's. */
extern void paxos_api_put_null(PaxosColumn *out, PaxosApiColumn *c);
extern void paxos_api_put_text(PaxosColumn *out, PaxosApiColumn *c, char *text);

/* 428C9 if the column cannot be given a value. */
extern void paxos_api_refuse_unassignable(PaxosApiColumn *c, bool insert);

/*
 * A row to insert: what the caller gave, with its privileges, and all of it: defaults
 * evaluated, here and once; generated columns left to every node.  And its key: 23502 if a
 * column of that is null.
 */
extern PaxosApiList paxos_api_new_row(PaxosApiTable *t, Relation rel, PaxosApiList given);
extern PaxosApiList paxos_api_key_of_row(PaxosApiTable *t, const PaxosApiList *row);
extern void paxos_api_refuse_null_key(PaxosApiTable *t, PaxosApiColumn *c) pg_attribute_noreturn();

/* 42501 unless the caller may do this with these columns, or with the table. */
extern void paxos_api_need_columns(PaxosApiTable *t, const PaxosApiList *list, AclMode mode);
extern void paxos_api_need_table(PaxosApiTable *t, AclMode mode);

/* To change columns so: += and -= read the column they change. */
extern void paxos_api_need_sets(PaxosApiTable *t, const PaxosApiList *sets);

/* 0A000 if policies apply to the caller. */
extern void paxos_api_refuse_row_security(PaxosApiTable *t);

/* ---- JSON (paxos_api_json.c) ---- */

/*
 * Columns from a JSON object, each value checked by its type's input and written as its
 * output.  'what' is the object's name in messages.  A row; conditions; what an existing row is
 * to be changed to; exactly the primary key's columns, in its order.  'ops': "column op" may
 * be said instead of "column".
 */
extern PaxosApiList paxos_api_row_from_json(PaxosApiTable *t, const char *what, Jsonb *json);
extern PaxosApiList paxos_api_conditions_from_json(PaxosApiTable *t, const char *what, bool ops,
												   Jsonb *json);

/*
 * A key column cannot change; naming it with the value it has is harmless only where the
 * caller passes the key, else NULL.
 */
extern PaxosApiList paxos_api_sets_from_json(PaxosApiTable *t, const char *what, bool ops,
											 Jsonb *json, const PaxosApiList *key);
extern PaxosApiList paxos_api_key_from_json(PaxosApiTable *t, Jsonb *json);

#endif /* PAXOS_API_INT_H */
