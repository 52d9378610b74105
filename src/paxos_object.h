/*
 * paxos_object.h
 *	  Objects that are no tables and exist on every node: schemas, types, domains,
 *	  functions (paxos_object.c says what that is).
 *
 * For who adds a kind of object: say in paxos_object_find() how it is looked up by name, in
 * paxos_object_kind() what SQL calls it, in paxos_object_write.c how it is made; and in
 * paxos_object_issue.c which statements make it (create_object() does the rest).  What a
 * statement about one does needs no more than a case in write_change() there.  Everything
 * else - the number, what it needs, asking the members, the slot, dropping, a newcomer - is
 * the same for all.
 */
#ifndef PAXOS_OBJECT_H
#define PAXOS_OBJECT_H

#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"

#include "paxos_ddl.h"
#include "paxos_command.h"

/* paxos.ddl */
typedef enum PaxosDdlScope
{
	PAXOS_DDL_TABLES,
	PAXOS_DDL_ALL
} PaxosDdlScope;

extern int paxos_ddl_scope;

/* ---- which objects (paxos_object.c) ---- */

/* The number of an object, the same on every node; 0: it is local to this node. */
extern int64 paxos_object_id(Oid class_id, Oid object_id);

/* The object of a number, and its last change; false: there is none. */
extern bool paxos_object_of_id(int64 id, ObjectAddress *object, int64 *altered);

/* In the learner: it is there, was changed, is gone. */
extern void paxos_object_record(int64 id, const ObjectAddress *object, int64 altered);
extern void paxos_object_changed(int64 id, int64 altered);
extern void paxos_object_forget(int64 id);

/* All of them: of int64 *. */
extern List *paxos_object_ids(void);

/* What something is, or is part of. */
typedef enum PaxosPlace
{
	PAXOS_PLACE_LOCAL, /* of this node alone */
	PAXOS_PLACE_TABLE, /* a consensus table; *id is its number */
	PAXOS_PLACE_OBJECT /* one of ours */
} PaxosPlace;

extern PaxosPlace paxos_object_place(const ObjectAddress *part, int64 *id);

/* By name as a statement has it, without a lock; false: there is none. */
extern bool paxos_object_find(ObjectType type, Node *name, ObjectAddress *object);

/* TYPE, FUNCTION ..., and the name with it: as statements have them. */
extern const char *paxos_object_kind(const ObjectAddress *object);
extern char *paxos_object_name(const ObjectAddress *object);
extern Oid paxos_object_owner(const ObjectAddress *object);

/* InvalidOid: it has none, or is gone. */
extern Oid paxos_object_schema(const ObjectAddress *object);

/* Itself and what is made with it: array types, constraints of domains ... */
extern List *paxos_object_parts(const ObjectAddress *object);

/* What uses any of these, and is none of them. */
typedef struct PaxosUse
{
	ObjectAddress user;
	ObjectAddress used;
} PaxosUse;

extern List *paxos_object_uses(List *parts);

/* The numbers of the consensus tables that hold values of this type, in order. */
extern List *paxos_object_tables(const ObjectAddress *type);

/* A command needs this object, as it is now; or all that this new one refers to.
 * 0A000 for what is of this node alone. */
extern void paxos_object_need(PaxosDdlOp *op, int64 id);
extern void paxos_object_need_use(PaxosDdlOp *op, int64 id); /* and its schema */
extern void paxos_object_need_table(PaxosDdlOp *op, int64 table_id);
extern void paxos_object_needs(PaxosDdlOp *op, const ObjectAddress *object);

/* May a column of a consensus table be of this type?  If not, why: the end of a sentence. */
extern const char *paxos_object_type_trouble(Oid type);

/*
 * DROP TABLE of these consensus tables without CASCADE: 2BP01 if one of ours uses them.  And
 * after anything that may have taken some along with CASCADE: forget those that are gone.
 */
extern void paxos_object_check_drop(const Oid *tables, int n, bool decided);

/* The error if a view shows this column, whose type is to be changed; or if one of ours
 * refers to a table that is to be an ordinary one. */
extern void paxos_object_check_column(Oid table, const char *column, bool decided);
extern void paxos_object_check_leave(Oid table, bool decided);
extern void paxos_objects_purge(void);

/* Does it refer to a consensus table, itself or through another object? */
extern bool paxos_object_late(const ObjectAddress *object);

/* ---- writing down (paxos_object_write.c) ---- */

/* The statement that makes it, every name qualified; 0A000 for what cannot be shared. */
extern char *paxos_object_definition(const ObjectAddress *object);

/* What CREATE does not say: privileges, comments; of char *. */
extern List *paxos_object_rest(const ObjectAddress *object);

/* ---- where statements are issued (paxos_object_issue.c) ---- */

/* True: it has been carried out. */
extern bool paxos_object_statement(PaxosUtility *u);

/* 0A000 if this is an object that is changed through the log, or part of one. */
extern void paxos_object_guard(Oid class_id, Oid object_id, bool dropped);

/* ---- at the slot (paxos_object_apply.c) ---- */

/* checking: in a trial, where nobody in the way is ended. */
extern void paxos_object_apply(const PaxosDdlOp *op, int64 number, bool checking);

/* What this node lacks to carry it out, tried in a subtransaction; NULL: nothing. */
extern char *paxos_object_try(const PaxosDdlOp *op);

/* ---- as a snapshot brings them (paxos_object_load.c) ---- */

typedef struct PaxosObjectPart
{
	int64 id;
	int64 altered;
	bool late; /* behind the tables */
	char *owner;
	char *definition;
	List *rest; /* of char *, as paxos_object_rest() */
} PaxosObjectPart;

/* Of this node, in an order in which they can be made. */
extern List *paxos_object_describe_all(void);

/*
 * In the learner: those of this node that are not the same there go, which must be before
 * the tables go that they refer to, and after those that use them.  True: some of them are used by tables.
 */
extern bool paxos_objects_differ(List *coming);
extern void paxos_objects_drop(List *coming, bool late);

/* Make those that are not here, early ones or late. */
extern void paxos_objects_load(List *coming, bool late);

/* In a node that leaves its cluster: they go, but for those that something local uses,
 * which stay and are local from now on. */
extern void paxos_objects_leave(bool late);

#endif /* PAXOS_OBJECT_H */
