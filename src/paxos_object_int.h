/*
 * paxos_object_int.h
 *	  What the parts of statements about objects share: where they are issued
 *	  (paxos_object_issue.c) and at their slot (paxos_object_apply.c).
 */
#ifndef PAXOS_OBJECT_INT_H
#define PAXOS_OBJECT_INT_H

#include "paxos_object.h"

/* What a statement makes, as paxos_object_find() will find it; false: it makes none of ours. */
extern bool paxos_object_made_by(Node *stmt, ObjectType *type, Node **name);

/* At the slot: 40001 unless every object that the statement needs is as it was. */
extern void paxos_objects_check(const PaxosDdlOp *op);

/* An error if anything local to this node uses one of these parts of objects. */
extern void paxos_object_check_users(List *parts);

/* The default of a view's column, written down; NULL: it has none. */
extern char *paxos_view_default(const ObjectAddress *view, const char *column);

#endif /* PAXOS_OBJECT_INT_H */
