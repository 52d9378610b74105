/*
 * paxos_extension.c
 *	  What extensions bring, in definitions of consensus tables: types of columns,
 *	  functions, operators and operator classes.
 *
 * Extensions are each server's own, as roles are: CREATE EXTENSION does not go through the
 * log.  What such an object is called and does is the same where name, version and
 * schema of its extension are; so members are asked for these three before a statement
 * that needs it is sent (paxos_ddl_check.c).  A node that lacks it all the same at
 * the slot is stuck until somebody creates it there.
 *
 * Values of such types travel as text, and are written by write sets: keyed commands are
 * made of built-in types and functions alone (paxos_expr.c).  Their equality is not
 * known here, so that all rows of a table share one key in an index on them (paxos_key.c).
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "paxos_acceptor.h"
#include "paxos_extension.h"

PG_FUNCTION_INFO_V1(paxos_sql_check_extensions);

Oid
paxos_extension_of(Oid class_id, Oid object_id)
{
	Oid element = class_id == TypeRelationId ? get_element_type(object_id) : InvalidOid;
	Oid extension = getExtensionOfObject(class_id, OidIsValid(element) ? element : object_id);

	if (!OidIsValid(extension) || strcmp(get_extension_name(extension), "paxos_ext") == 0)
		return InvalidOid;
	return extension;
}

/*
 * Who may create a trusted extension owns it, and can add (ALTER EXTENSION ... ADD) a function of
 * his own: another one on each node, and with the learner waiting for it.  What an extension
 * brings is a superuser's.
 */
bool
paxos_extension_trusted(Oid class_id, Oid object_id)
{
	Oid element = class_id == TypeRelationId ? get_element_type(object_id) : InvalidOid;
	AttrNumber owner = get_object_attnum_owner(class_id);
	Relation catalog;
	HeapTuple tuple;
	bool isnull;
	bool trusted = false;

	if (!OidIsValid(paxos_extension_of(class_id, object_id)))
		return false;
	if (owner == InvalidAttrNumber)
		return true;
	catalog = table_open(class_id, AccessShareLock);
	tuple = get_catalog_object_by_oid(catalog, get_object_attnum_oid(class_id),
									  OidIsValid(element) ? element : object_id);
	if (HeapTupleIsValid(tuple))
		trusted = superuser_arg(
			DatumGetObjectId(heap_getattr(tuple, owner, RelationGetDescr(catalog), &isnull)));
	table_close(catalog, AccessShareLock);
	return trusted;
}

static char *
type_name(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	name = pstrdup(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	return name;
}

/* Without the schema: the extension may be moved, on one node after the other. */
char *
paxos_extension_type_name(Oid type)
{
	Oid extension = paxos_extension_of(TypeRelationId, type);
	Oid element = get_element_type(type);

	if (!OidIsValid(extension))
		return format_type_be_qualified(type);
	return psprintf("%s %s%s", get_extension_name(extension),
					type_name(OidIsValid(element) ? element : type),
					OidIsValid(element) ? "[]" : "");
}

/* Its version and schema; false if there is none of that name. */
static bool
look_up(const char *name, char **version, char **schema)
{
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;

		*version = TextDatumGetCString(
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(rel), &isnull));
		*schema = get_namespace_name(((Form_pg_extension) GETSTRUCT(tuple))->extnamespace);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

List *
paxos_extension_describe(List *extensions)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, extensions)
	{
		char *name = get_extension_name(lfirst_oid(lc));
		char *version;
		char *schema;

		if (name == NULL || !look_up(name, &version, &schema) || schema == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("extension with OID %u does not exist any more", lfirst_oid(lc))));
		result = lappend(lappend(lappend(result, name), version), schema);
	}
	return result;
}

/* paxos.check_extensions(cluster, version, sender, extensions) */
Datum
paxos_sql_check_extensions(PG_FUNCTION_ARGS)
{
	ArrayType *array;
	Datum *values;
	int n;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("extensions must not be null")));
	array = PG_GETARG_ARRAYTYPE_P(3);
	if (ARR_NDIM(array) != 1 || array_contains_nulls(array) ||
		ArrayGetNItems(1, ARR_DIMS(array)) % 3 != 0)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("extensions must be a one-dimensional array of names, versions and "
							   "schemas")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	for (int i = 0; i < n; i += 3)
	{
		char *name = TextDatumGetCString(values[i]);
		char *wanted_version = TextDatumGetCString(values[i + 1]);
		char *wanted_schema = TextDatumGetCString(values[i + 2]);
		char *version;
		char *schema;
		char *lack = NULL;

		if (!look_up(name, &version, &schema) || schema == NULL)
			lack = psprintf("extension \"%s\" does not exist", name);
		else if (strcmp(version, wanted_version) != 0)
			lack = psprintf("extension \"%s\" has version %s there, and %s here", name, version,
							wanted_version);
		else if (strcmp(schema, wanted_schema) != 0)
			lack = psprintf("extension \"%s\" is in schema \"%s\" there, and in \"%s\" here", name,
							schema, wanted_schema);
		if (lack != NULL)
			PG_RETURN_TEXT_P(cstring_to_text(lack));
	}
	PG_RETURN_NULL();
}
