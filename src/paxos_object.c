/*
 * paxos_object.c
 *	  Objects that are no tables and exist on every node: which they are, what belongs to
 *	  them, and what they refer to.
 *
 * Schemas, enum, composite and range types, domains, functions, procedures and views.  With
 * paxos.ddl = all the statement that makes one goes through the log; from then on it has a
 * number, as a consensus table has: slot and position of that statement, the same on every
 * node.  paxos.object maps it to what it is here.  What becomes of it later goes through the
 * log too, whatever the setting is; a statement that would change it on this node alone is
 * refused (paxos_guard.c).
 *
 * What goes through the log may refer to what every node has: built in, a consensus table,
 * another such object, or what an extension brings.  The objects it refers to travel as
 * numbers, each with its last change; at the slot they must be as they were
 * (paxos_ddl_apply.c), or the statement has no effect and is made anew: so that a type that was
 * dropped meanwhile is an answer, and not an error that only a human can put right.
 *
 * What uses them may be local: a view, a temporary table, a column of an ordinary one.
 * Then the object cannot be dropped there, nor can a domain get a constraint that local
 * rows might not satisfy: members are asked before such a statement is sent, and at
 * its slot a node that has such a user all the same is stuck until somebody takes it away
 * (as with a local table of the name of a new consensus table).
 *
 * Values of such types travel as text: labels of an enum, fields of a composite.  Their OIDs
 * are each node's own.  A label that is renamed, or a domain that becomes stricter, makes
 * the text of write sets that are on their way mean something else, or nothing: such
 * statements count as a change of the whole of every table that has such values, and who
 * was on his way is overtaken (40001).  ADD VALUE takes no text its meaning.
 *
 * No state but the table; it is changed in the transaction of the slot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_expr.h"
#include "paxos_extension.h"
#include "paxos_object.h"

/* Columns of paxos.object; src/sql/35-object.sql. */
#define OBJECT_ID 1
#define OBJECT_CLASS 2
#define OBJECT_OID 3
#define OBJECT_ALTERED 4
#define OBJECT_COLUMNS 4

int paxos_ddl_scope = PAXOS_DDL_TABLES;

/* ------------------------------------------------------------------
 * paxos.object
 * ------------------------------------------------------------------
 */

/* Invalid: an older script of the extension. */
static Oid
catalog_index(const char *name, Oid *catalog)
{
	Oid nsp = get_namespace_oid(PAXOS_SCHEMA, true);

	*catalog = OidIsValid(nsp) ? get_relname_relid("object", nsp) : InvalidOid;
	return OidIsValid(*catalog) ? get_relname_relid(name, nsp) : InvalidOid;
}

static HeapTuple
read_row(Relation rel, Oid index, ScanKey key, int n_keys)
{
	SysScanDesc scan = systable_beginscan(rel, index, true, SnapshotSelf, n_keys, key);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static Datum
value_of(HeapTuple tuple, Relation rel, int column)
{
	bool isnull;

	return heap_getattr(tuple, column, RelationGetDescr(rel), &isnull);
}

int64
paxos_object_id(Oid class_id, Oid object_id)
{
	Oid catalog;
	Oid index;
	ScanKeyData key[2];
	Relation rel;
	HeapTuple tuple;
	int64 id = 0;

	if (object_id < FirstNormalObjectId)
		return 0;
	index = catalog_index("object_address", &catalog);
	if (!OidIsValid(index))
		return 0;
	ScanKeyInit(&key[0], OBJECT_CLASS, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(class_id));
	ScanKeyInit(&key[1], OBJECT_OID, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object_id));
	rel = table_open(catalog, AccessShareLock);
	tuple = read_row(rel, index, key, 2);
	if (HeapTupleIsValid(tuple))
		id = DatumGetInt64(value_of(tuple, rel, OBJECT_ID));
	table_close(rel, AccessShareLock);
	return id;
}

static HeapTuple
row_of(int64 id, LOCKMODE mode, Relation *rel)
{
	Oid catalog;
	Oid index = catalog_index("object_pkey", &catalog);
	ScanKeyData key;

	*rel = NULL;
	if (!OidIsValid(index))
		return NULL;
	ScanKeyInit(&key, OBJECT_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	*rel = table_open(catalog, mode);
	return read_row(*rel, index, &key, 1);
}

bool
paxos_object_of_id(int64 id, ObjectAddress *object, int64 *altered)
{
	Relation rel;
	HeapTuple tuple = row_of(id, AccessShareLock, &rel);

	if (HeapTupleIsValid(tuple))
	{
		ObjectAddressSet(*object, DatumGetObjectId(value_of(tuple, rel, OBJECT_CLASS)),
						 DatumGetObjectId(value_of(tuple, rel, OBJECT_OID)));
		*altered = DatumGetInt64(value_of(tuple, rel, OBJECT_ALTERED));
	}
	if (rel != NULL)
		table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

void
paxos_object_record(int64 id, const ObjectAddress *object, int64 altered)
{
	Oid catalog;
	Relation rel;
	Datum values[OBJECT_COLUMNS];
	bool nulls[OBJECT_COLUMNS] = {false};

	if (!OidIsValid(catalog_index("object_pkey", &catalog)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s.%s does not exist", PAXOS_SCHEMA, "object"),
						errhint("Use ALTER EXTENSION paxos_ext UPDATE.")));
	values[OBJECT_ID - 1] = Int64GetDatum(id);
	values[OBJECT_CLASS - 1] = ObjectIdGetDatum(object->classId);
	values[OBJECT_OID - 1] = ObjectIdGetDatum(object->objectId);
	values[OBJECT_ALTERED - 1] = Int64GetDatum(altered);
	rel = table_open(catalog, RowExclusiveLock);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

static HeapTuple
row_to_change(int64 id, Relation *rel)
{
	HeapTuple tuple = row_of(id, RowExclusiveLock, rel);

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "object " INT64_FORMAT " is not known", id);
	return tuple;
}

void
paxos_object_changed(int64 id, int64 altered)
{
	Relation rel;
	HeapTuple tuple = row_to_change(id, &rel);
	Datum values[OBJECT_COLUMNS] = {0};
	bool nulls[OBJECT_COLUMNS] = {false};
	bool replaces[OBJECT_COLUMNS] = {false};

	values[OBJECT_ALTERED - 1] = Int64GetDatum(altered);
	replaces[OBJECT_ALTERED - 1] = true;
	CatalogTupleUpdate(rel, &tuple->t_self,
					   heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replaces));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

void
paxos_object_forget(int64 id)
{
	Relation rel;
	HeapTuple tuple = row_to_change(id, &rel);

	CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

List *
paxos_object_ids(void)
{
	Oid catalog;
	Oid index = catalog_index("object_pkey", &catalog);
	List *ids = NIL;
	Relation rel;
	SysScanDesc scan;
	HeapTuple tuple;

	if (!OidIsValid(index))
		return NIL;
	rel = table_open(catalog, AccessShareLock);
	scan = systable_beginscan(rel, index, true, SnapshotSelf, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		int64 *id = palloc(sizeof(int64));

		*id = DatumGetInt64(value_of(tuple, rel, OBJECT_ID));
		ids = lappend(ids, id);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return ids;
}

/* ------------------------------------------------------------------
 * By name
 * ------------------------------------------------------------------
 */

static TypeName *
type_name(Node *name)
{
	return IsA(name, List) ? makeTypeNameFromNameList((List *) name) : castNode(TypeName, name);
}

bool
paxos_object_find(ObjectType type, Node *name, ObjectAddress *object)
{
	Oid oid = InvalidOid;
	Oid class_id = InvalidOid;

	switch (type)
	{
		case OBJECT_SCHEMA:
			class_id = NamespaceRelationId;
			oid = get_namespace_oid(strVal(name), true);
			break;
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
			class_id = TypeRelationId;
			oid = LookupTypeNameOid(NULL, type_name(name), true);
			break;
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
			class_id = ProcedureRelationId;
			oid = LookupFuncWithArgs(type, castNode(ObjectWithArgs, name), true);
			break;
		case OBJECT_VIEW:
			class_id = RelationRelationId;
			oid = RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, name)), NoLock, true);
			if (OidIsValid(oid) && get_rel_relkind(oid) != RELKIND_VIEW)
				oid = InvalidOid;
			break;
		default:
			break;
	}
	ObjectAddressSet(*object, class_id, oid);
	return OidIsValid(oid);
}

const char *
paxos_object_kind(const ObjectAddress *object)
{
	switch (object->classId)
	{
		case NamespaceRelationId:
			return "SCHEMA";
		case TypeRelationId:
			return get_typtype(object->objectId) == TYPTYPE_DOMAIN ? "DOMAIN" : "TYPE";
		case RelationRelationId:
			return "VIEW";
		case ProcedureRelationId:
			return get_func_prokind(object->objectId) == PROKIND_PROCEDURE ? "PROCEDURE"
																		   : "FUNCTION";
		default:
			elog(ERROR, "object of an unknown kind %u", object->classId);
	}
	return NULL;
}

/* The learner may have dropped it since it was found. */
static void is_gone(const ObjectAddress *object) pg_attribute_noreturn();

static void
is_gone(const ObjectAddress *object)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("object %u of catalog %u does not exist any more", object->objectId,
						   object->classId)));
}

Oid
paxos_object_schema(const ObjectAddress *object)
{
	int cache = object->classId == TypeRelationId ? TYPEOID : PROCOID;
	HeapTuple tuple;
	Oid nsp;

	if (object->classId == NamespaceRelationId)
		return InvalidOid;
	if (object->classId == RelationRelationId)
		return get_rel_namespace(object->objectId);
	tuple = SearchSysCache1(cache, ObjectIdGetDatum(object->objectId));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	nsp = cache == TYPEOID ? ((Form_pg_type) GETSTRUCT(tuple))->typnamespace
						   : ((Form_pg_proc) GETSTRUCT(tuple))->pronamespace;
	ReleaseSysCache(tuple);
	return nsp;
}

char *
paxos_object_name(const ObjectAddress *object)
{
	char *name = getObjectIdentity(object, true);

	if (name == NULL)
		is_gone(object);
	return name;
}

Oid
paxos_object_owner(const ObjectAddress *object)
{
	HeapTuple tuple;
	Oid owner;

	switch (object->classId)
	{
		case RelationRelationId:
			tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(object->objectId));
			break;
		case NamespaceRelationId:
			tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(object->objectId));
			break;
		case TypeRelationId:
			tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(object->objectId));
			break;
		default:
			tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(object->objectId));
			break;
	}
	if (!HeapTupleIsValid(tuple))
		is_gone(object);
	owner = object->classId == RelationRelationId ? ((Form_pg_class) GETSTRUCT(tuple))->relowner
			: object->classId == NamespaceRelationId
				? ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner
			: object->classId == TypeRelationId ? ((Form_pg_type) GETSTRUCT(tuple))->typowner
												: ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* ------------------------------------------------------------------
 * What belongs to what
 * ------------------------------------------------------------------
 */

static SysScanDesc
scan_depend(Relation depend, bool referenced, Oid class_id, Oid object_id)
{
	static ScanKeyData key[2];

	ScanKeyInit(&key[0], referenced ? Anum_pg_depend_refclassid : Anum_pg_depend_classid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(class_id));
	ScanKeyInit(&key[1], referenced ? Anum_pg_depend_refobjid : Anum_pg_depend_objid,
				BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(object_id));
	return systable_beginscan(depend, referenced ? DependReferenceIndexId : DependDependerIndexId,
							  true, NULL, 2, key);
}

/* A constraint of a table or domain, a default, a trigger, a rule: whose? */
static bool
whole_of(const ObjectAddress *part, ObjectAddress *whole)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan = scan_depend(depend, false, part->classId, part->objectId);
	bool attached = part->classId == ConstraintRelationId || part->classId == TriggerRelationId ||
					part->classId == AttrDefaultRelationId || part->classId == RewriteRelationId;
	bool found = false;
	HeapTuple tuple;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);

		if (d->deptype == DEPENDENCY_INTERNAL ||
			(attached && d->deptype == DEPENDENCY_AUTO &&
			 (d->refclassid == RelationRelationId || d->refclassid == TypeRelationId)))
		{
			ObjectAddressSet(*whole, d->refclassid, d->refobjid);
			found = true;
		}
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

PaxosPlace
paxos_object_place(const ObjectAddress *part, int64 *id)
{
	ObjectAddress at = *part;

	/* array type, its multirange, its range: more is not nested */
	for (int depth = 0; depth < 8; depth++)
	{
		if (at.classId == RelationRelationId)
		{
			Oid table = paxos_consensus_owner(at.objectId);

			if (OidIsValid(table))
			{
				/* 0: it is about to become one (SET ACCESS METHOD) */
				*id = paxos_table_id(table);
				return *id != 0 ? PAXOS_PLACE_TABLE : PAXOS_PLACE_LOCAL;
			}
		}
		*id = paxos_object_id(at.classId, at.objectId);
		if (*id != 0)
			return PAXOS_PLACE_OBJECT;
		if (!whole_of(&at, &at))
			break;
	}
	return PAXOS_PLACE_LOCAL;
}

static bool
among(List *addresses, Oid class_id, Oid object_id)
{
	ListCell *lc;

	foreach (lc, addresses)
	{
		ObjectAddress *a = lfirst(lc);

		if (a->classId == class_id && a->objectId == object_id)
			return true;
	}
	return false;
}

static List *
add_address(List *addresses, Oid class_id, Oid object_id)
{
	ObjectAddress *a;

	if (among(addresses, class_id, object_id))
		return addresses;
	a = palloc(sizeof(ObjectAddress));
	ObjectAddressSet(*a, class_id, object_id);
	return lappend(addresses, a);
}

List *
paxos_object_parts(const ObjectAddress *object)
{
	List *parts = add_address(NIL, object->classId, object->objectId);
	Relation depend = table_open(DependRelationId, AccessShareLock);

	/* grows on the way */
	for (int i = 0; i < list_length(parts); i++)
	{
		ObjectAddress *a = list_nth(parts, i);
		SysScanDesc scan = scan_depend(depend, true, a->classId, a->objectId);
		HeapTuple tuple;

		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);

			/* or the index of a table's TOAST table */
			if (d->deptype == DEPENDENCY_INTERNAL ||
				(d->deptype == DEPENDENCY_AUTO && d->classid == ConstraintRelationId &&
				 a->classId == TypeRelationId) ||
				(d->deptype == DEPENDENCY_AUTO && a->classId == RelationRelationId &&
				 get_rel_relkind(a->objectId) == RELKIND_TOASTVALUE))
				parts = add_address(parts, d->classid, d->objid);
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
	return parts;
}

List *
paxos_object_uses(List *parts)
{
	List *uses = NIL;
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ListCell *lc;

	foreach (lc, parts)
	{
		ObjectAddress *a = lfirst(lc);
		SysScanDesc scan = scan_depend(depend, true, a->classId, a->objectId);
		HeapTuple tuple;

		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			PaxosUse *use;

			if (among(parts, d->classid, d->objid))
				continue;
			use = palloc(sizeof(PaxosUse));
			ObjectAddressSubSet(use->user, d->classid, d->objid, d->objsubid);
			ObjectAddressSubSet(use->used, a->classId, a->objectId, d->refobjsubid);
			uses = lappend(uses, use);
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
	return uses;
}

static int
compare_ids(const ListCell *a, const ListCell *b)
{
	int64 x = *(int64 *) lfirst(a);
	int64 y = *(int64 *) lfirst(b);

	return x < y ? -1 : x > y;
}

static List *
add_id(List *ids, int64 id)
{
	ListCell *lc;
	int64 *copy;

	foreach (lc, ids)
	{
		if (*(int64 *) lfirst(lc) == id)
			return ids;
	}
	copy = palloc(sizeof(int64));
	*copy = id;
	return lappend(ids, copy);
}

/* Tables with columns of it, of domains over it, of composites with it ... */
List *
paxos_object_tables(const ObjectAddress *type)
{
	List *ids = NIL;
	List *parts = paxos_object_parts(type);
	List *todo = paxos_object_uses(parts);
	ListCell *lc;

	foreach (lc, todo)
	{
		PaxosUse *use = lfirst(lc);
		ObjectAddress object;
		int64 id;
		int64 altered;

		switch (paxos_object_place(&use->user, &id))
		{
			case PAXOS_PLACE_TABLE:
				ids = add_id(ids, id);
				break;
			case PAXOS_PLACE_OBJECT:
				if (paxos_object_of_id(id, &object, &altered) && object.classId == TypeRelationId &&
					!among(parts, object.classId, object.objectId))
				{
					List *inside = paxos_object_tables(&object);
					ListCell *li;

					foreach (li, inside)
						ids = add_id(ids, *(int64 *) lfirst(li));
				}
				break;
			case PAXOS_PLACE_LOCAL:
				break;
		}
	}
	list_sort(ids, compare_ids);
	return ids;
}

/* ------------------------------------------------------------------
 * What a statement needs
 * ------------------------------------------------------------------
 */

void
paxos_object_need(PaxosDdlOp *op, int64 id)
{
	ObjectAddress object;
	int64 altered;

	for (int i = 0; i < op->n_objects; i++)
	{
		if (op->object_ids[i] == id)
			return;
	}
	if (!paxos_object_of_id(id, &object, &altered))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("an object that the statement refers to does not exist any more"),
						errdetail("It was dropped while the statement was on its way.")));
	op->object_ids = op->object_ids == NULL
						 ? palloc(sizeof(int64))
						 : repalloc(op->object_ids, sizeof(int64) * (op->n_objects + 1));
	op->objects_altered = op->objects_altered == NULL
							  ? palloc(sizeof(int64))
							  : repalloc(op->objects_altered, sizeof(int64) * (op->n_objects + 1));
	op->object_ids[op->n_objects] = id;
	op->objects_altered[op->n_objects++] = altered;
}

void
paxos_object_need_use(PaxosDdlOp *op, int64 id)
{
	ObjectAddress object;
	int64 altered;
	int64 schema;

	paxos_object_need(op, id);
	if (!paxos_object_of_id(id, &object, &altered))
		return;
	schema = paxos_object_id(NamespaceRelationId, paxos_object_schema(&object));
	if (schema != 0)
		paxos_object_need(op, schema);
}

void
paxos_object_need_table(PaxosDdlOp *op, int64 table_id)
{
	/* on its way to become one (paxos_method.c) */
	if (table_id == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a table that the statement refers to is not known to the cluster"),
						errhint("If a statement is making a consensus-backed table of it, try "
								"again when that has ended.")));
	for (int i = 0; i < op->n_tables; i++)
	{
		if (op->table_ids[i] == table_id)
			return;
	}
	op->table_ids = op->table_ids == NULL
						? palloc(sizeof(int64))
						: repalloc(op->table_ids, sizeof(int64) * (op->n_tables + 1));
	op->altered = op->altered == NULL ? palloc(sizeof(int64))
									  : repalloc(op->altered, sizeof(int64) * (op->n_tables + 1));
	op->table_ids[op->n_tables] = table_id;
	op->altered[op->n_tables++] = paxos_table_altered(table_id);
}

void
paxos_object_needs(PaxosDdlOp *op, const ObjectAddress *object)
{
	List *parts = paxos_object_parts(object);
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ListCell *lc;

	foreach (lc, parts)
	{
		ObjectAddress *part = lfirst(lc);
		SysScanDesc scan = scan_depend(depend, false, part->classId, part->objectId);
		HeapTuple tuple;

		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			ObjectAddress other;
			int64 id;

			/* a language is asked for by its name, as schemas and roles are */
			if (d->refobjid < FirstNormalObjectId || d->refclassid == AccessMethodRelationId ||
				d->refclassid == LanguageRelationId || d->refclassid == ExtensionRelationId ||
				among(parts, d->refclassid, d->refobjid))
				continue;
			ObjectAddressSubSet(other, d->refclassid, d->refobjid, d->refobjsubid);
			switch (paxos_object_place(&other, &id))
			{
				case PAXOS_PLACE_TABLE:
					paxos_object_need_table(op, id);
					break;
				case PAXOS_PLACE_OBJECT:
					paxos_object_need_use(op, id);
					break;
				case PAXOS_PLACE_LOCAL:
					if (d->refclassid != NamespaceRelationId &&
						!OidIsValid(getExtensionOfObject(d->refclassid, d->refobjid)))
						ereport(ERROR,
								(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								 errmsg("%s cannot go through the log: it refers to %s, which is "
										"local to this node",
										getObjectDescription(object, false),
										getObjectDescription(&other, false)),
								 errhint("Make that one with paxos.ddl = 'all', too; or this one "
										 "with paxos.ddl = 'tables', which makes it on this node "
										 "only.")));
					break;
			}
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

void
paxos_object_check_drop(const Oid *tables, int n, bool decided)
{
	for (int i = 0; i < n; i++)
	{
		ObjectAddress table;
		ListCell *lc;

		if (!OidIsValid(tables[i]))
			continue;
		ObjectAddressSet(table, RelationRelationId, tables[i]);
		foreach (lc, paxos_object_uses(paxos_object_parts(&table)))
		{
			PaxosUse *use = lfirst(lc);
			int64 id;

			if (paxos_object_place(&use->user, &id) != PAXOS_PLACE_OBJECT)
				continue;
			if (use->user.classId == RewriteRelationId)
			{
				(void) whole_of(&use->user, &use->user);
				use->used.objectSubId = 0;
			}
			if (decided)
				(void) paxos_err_decided();
			ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
							errmsg("cannot drop table %s because other objects depend on it",
								   get_rel_name(tables[i])),
							errdetail("%s depends on %s", getObjectDescription(&use->user, false),
									  getObjectDescription(&use->used, false)),
							errhint("Use DROP ... CASCADE to drop the dependent objects too.")));
		}
	}
}

void
paxos_object_check_column(Oid table, const char *column, bool decided)
{
	AttrNumber attnum = get_attnum(table, column);
	ObjectAddress address;
	ListCell *lc;

	ObjectAddressSet(address, RelationRelationId, table);
	foreach (lc, paxos_object_uses(paxos_object_parts(&address)))
	{
		PaxosUse *use = lfirst(lc);

		if (use->user.classId != RewriteRelationId || use->used.classId != RelationRelationId ||
			use->used.objectId != table || use->used.objectSubId != attnum)
			continue;
		if (decided)
			(void) paxos_err_decided();
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot alter type of a column used by a view or rule"),
						errdetail("%s depends on column \"%s\"",
								  getObjectDescription(&use->user, false), column)));
	}
}

void
paxos_object_check_leave(Oid table, bool decided)
{
	ObjectAddress address;
	ListCell *lc;

	ObjectAddressSet(address, RelationRelationId, table);
	foreach (lc, paxos_object_uses(paxos_object_parts(&address)))
	{
		PaxosUse *use = lfirst(lc);
		int64 id;

		if (paxos_object_place(&use->user, &id) != PAXOS_PLACE_OBJECT)
			continue;
		if (decided)
			(void) paxos_err_decided();
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("table \"%s\" cannot become an ordinary one because objects of all nodes "
						"depend on it",
						get_rel_name(table)),
				 errdetail("%s depends on %s", getObjectDescription(&use->user, false),
						   getObjectDescription(&use->used, false)),
				 errhint("Drop them first.")));
	}
}

void
paxos_objects_purge(void)
{
	ListCell *lc;

	foreach (lc, paxos_object_ids())
	{
		ObjectAddress object;
		int64 altered;

		if (paxos_object_of_id(*(int64 *) lfirst(lc), &object, &altered) &&
			getObjectIdentity(&object, true) == NULL)
			paxos_object_forget(*(int64 *) lfirst(lc));
	}
}

static bool
is_late(const ObjectAddress *object, int depth)
{
	PaxosDdlOp op = {0};
	bool late;

	/* A function that calls itself does not refer to itself; types cannot. */
	if (depth > 100)
		return false;
	paxos_object_needs(&op, object);
	late = op.n_tables > 0;
	for (int i = 0; i < op.n_objects && !late; i++)
	{
		ObjectAddress other;
		int64 altered;

		late = paxos_object_of_id(op.object_ids[i], &other, &altered) && is_late(&other, depth + 1);
	}
	return late;
}

bool
paxos_object_late(const ObjectAddress *object)
{
	return is_late(object, 0);
}

const char *
paxos_object_type_trouble(Oid type)
{
	ObjectAddress address;
	Oid element = get_element_type(type);
	const char *why;
	int64 id;

	if (type < FirstNormalObjectId)
		return paxos_expr_type_trouble(type);
	ObjectAddressSet(address, TypeRelationId, type);
	if (OidIsValid(paxos_extension_of(TypeRelationId, type)))
		return get_typtype(type) == TYPTYPE_PSEUDO ? "it is a pseudo-type" : NULL;
	if (paxos_object_place(&address, &id) != PAXOS_PLACE_OBJECT)
		return "it is not built in, and was not made through the log (paxos.ddl = 'all')";
	if (OidIsValid(element))
		return paxos_object_type_trouble(element);
	switch (get_typtype(type))
	{
		case TYPTYPE_DOMAIN:
			return paxos_object_type_trouble(getBaseType(type));
		case TYPTYPE_RANGE:
			return paxos_expr_portable_collation(get_range_collation(type))
					   ? paxos_object_type_trouble(get_range_subtype(type))
					   : "nodes may order its values differently";
		case TYPTYPE_MULTIRANGE:
			return paxos_object_type_trouble(get_multirange_range(type));
		case TYPTYPE_COMPOSITE:
		{
			TupleDesc desc;

			if (get_rel_relkind(get_typ_typrelid(type)) != RELKIND_COMPOSITE_TYPE)
				return "it is the row type of a view";
			desc = lookup_rowtype_tupdesc(type, -1);

			why = NULL;
			for (int i = 0; i < desc->natts && why == NULL; i++)
			{
				Form_pg_attribute att = TupleDescAttr(desc, i);

				if (!att->attisdropped)
					why = paxos_expr_portable_collation(att->attcollation)
							  ? paxos_object_type_trouble(att->atttypid)
							  : "nodes may order its values differently";
			}
			ReleaseTupleDesc(desc);
			return why;
		}
		default:
			return NULL;
	}
}
