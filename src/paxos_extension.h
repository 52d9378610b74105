/*
 * paxos_extension.h
 *	  What extensions bring, in definitions of consensus tables.
 */
#ifndef PAXOS_EXTENSION_H
#define PAXOS_EXTENSION_H

#include "catalog/objectaddress.h"

/*
 * The extension that an object belongs to, or, of an array type, that its elements
 * belong to; InvalidOid if none, or this one, whose objects no table may use.
 */
extern Oid paxos_extension_of(Oid class_id, Oid object_id);

/* The same, and is it what the extension has brought? */
extern bool paxos_extension_trusted(Oid class_id, Oid object_id);

/* The name of a type that is not built in and no object of all nodes, alike on every node. */
extern char *paxos_extension_type_name(Oid type);

/* Names, versions and schemas of extensions, given by OID, in turn. */
extern List *paxos_extension_describe(List *extensions);

#endif /* PAXOS_EXTENSION_H */
