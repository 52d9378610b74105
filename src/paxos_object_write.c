/*
 * paxos_object_write.c
 *	  Objects that exist on every node (paxos_object.c), written down: the statement that
 *	  makes one, and what follows it.
 *
 * From the catalogs, in the words of one fixed set of settings and with every name
 * qualified, as tables are (paxos_ddl_write.c), and for the same reason: what the user typed
 * may mean another thing elsewhere.  It is what travels in the log, what a newcomer gets, and
 * what two nodes compare.
 *
 * A domain's constraint is checked wherever a value is read from text, also by the
 * learner, which must come to the same answer on every node, and cannot be kept waiting: so
 * it may call what is immutable and built in, as that of a table.
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_description.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_range.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"
#include "paxos_extension.h"
#include "paxos_object.h"
#include "paxos_object_int.h"

PG_FUNCTION_INFO_V1(paxos_sql_object_definition);

static void
cannot(const ObjectAddress *object, const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s cannot go through the log", getObjectDescription(object, false)),
					errdetail_internal("%s", why),
					errhint("With paxos.ddl = 'tables' it is made on this node only.")));
}

static void
put_collation(StringInfo out, Oid collation, Oid type)
{
	if (OidIsValid(collation) && collation != get_typcollation(type))
		appendStringInfo(out, " COLLATE %s", generate_collation_name(collation));
}

/* ------------------------------------------------------------------
 * Types
 * ------------------------------------------------------------------
 */

static void
put_enum(StringInfo out, Oid type)
{
	Relation catalog = table_open(EnumRelationId, AccessShareLock);
	Relation index = index_open(EnumTypIdSortOrderIndexId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	int n = 0;

	appendStringInfoString(out, " AS ENUM (");
	ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(type));
	scan = systable_beginscan_ordered(catalog, index, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
		appendStringInfo(out, "%s%s", n++ > 0 ? ", " : "",
						 quote_literal_cstr(NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel)));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(catalog, AccessShareLock);
	appendStringInfoChar(out, ')');
}

static void
put_composite(StringInfo out, Oid type)
{
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	int n = 0;

	appendStringInfoString(out, " AS (");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		appendStringInfo(out, "%s%s %s", n++ > 0 ? ", " : "",
						 quote_identifier(NameStr(att->attname)),
						 format_type_with_typemod(att->atttypid, att->atttypmod));
		put_collation(out, att->attcollation, att->atttypid);
	}
	ReleaseTupleDesc(desc);
	appendStringInfoChar(out, ')');
}

/* With its schema, as the object's catalog has it: of a type never the SQL standard's name. */
static char *
qualified_name(Oid catalog, Oid id)
{
	int cache = get_object_catcache_oid(catalog);
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(id));
	Datum name;
	Datum nsp;
	bool isnull;
	char *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for %s %u", get_object_class_descr(catalog), id);
	name = SysCacheGetAttr(cache, tuple, get_object_attnum_name(catalog), &isnull);
	nsp = SysCacheGetAttr(cache, tuple, get_object_attnum_namespace(catalog), &isnull);
	result = quote_qualified_identifier(paxos_schema_name(DatumGetObjectId(nsp)),
										NameStr(*DatumGetName(name)));
	ReleaseSysCache(tuple);
	return result;
}

static bool
is_local(Oid function)
{
	return function >= FirstNormalObjectId &&
		   !paxos_extension_trusted(ProcedureRelationId, function);
}

/* What reads a value, or puts it into an index, is called by learners. */
static void
put_range(StringInfo out, const ObjectAddress *object)
{
	Oid type = object->objectId;
	HeapTuple tuple = SearchSysCache1(RANGETYPE, ObjectIdGetDatum(type));
	Form_pg_range form;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for range type %u", type);
	form = (Form_pg_range) GETSTRUCT(tuple);
	if (is_local(form->rngcanonical) || is_local(form->rngsubdiff))
		cannot(object, "Its function CANONICAL or SUBTYPE_DIFF is neither built in nor of an "
					   "extension; every node calls it by itself.");
	appendStringInfo(out,
					 " AS RANGE (SUBTYPE = %s, SUBTYPE_OPCLASS = %s, MULTIRANGE_TYPE_NAME = %s",
					 format_type_be_qualified(form->rngsubtype),
					 qualified_name(OperatorClassRelationId, form->rngsubopc),
					 qualified_name(TypeRelationId, form->rngmultitypid));
	if (OidIsValid(form->rngcollation) && form->rngcollation != get_typcollation(form->rngsubtype))
		appendStringInfo(out, ", COLLATION = %s", generate_collation_name(form->rngcollation));
	if (OidIsValid(form->rngcanonical))
		appendStringInfo(out, ", CANONICAL = %s",
						 qualified_name(ProcedureRelationId, form->rngcanonical));
	if (OidIsValid(form->rngsubdiff))
		appendStringInfo(out, ", SUBTYPE_DIFF = %s",
						 qualified_name(ProcedureRelationId, form->rngsubdiff));
	ReleaseSysCache(tuple);
	appendStringInfoChar(out, ')');
}

static bool
is_own(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

static bool
calls_own(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_own, NULL) ||
		   expression_tree_walker(node, calls_own, context);
}

/* Constraints in the order of their names, which is that of their checks. */
static void
put_domain(StringInfo out, const ObjectAddress *domain, List **more)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(domain->objectId));
	Form_pg_type form;
	Datum bin;
	bool isnull;
	Relation catalog;
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple row;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", domain->objectId);
	form = (Form_pg_type) GETSTRUCT(tuple);
	appendStringInfo(out, " AS %s", format_type_with_typemod(form->typbasetype, form->typtypmod));
	put_collation(out, form->typcollation, form->typbasetype);
	bin = SysCacheGetAttr(TYPEOID, tuple, Anum_pg_type_typdefaultbin, &isnull);
	if (!isnull)
		appendStringInfo(
			out, " DEFAULT %s",
			deparse_expression(stringToNode(TextDatumGetCString(bin)), NIL, false, false));
	if (form->typnotnull)
		appendStringInfoString(out, " NOT NULL");
	ReleaseSysCache(tuple);

	catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(InvalidOid));
	ScanKeyInit(&key[1], Anum_pg_constraint_contypid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(domain->objectId));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 2, key);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(row);
		Node *expr;
		char *clause;

		if (con->contype != CONSTRAINT_CHECK)
			continue; /* NOT NULL, which has been written */
		expr = stringToNode(TextDatumGetCString(
			heap_getattr(row, Anum_pg_constraint_conbin, RelationGetDescr(catalog), &isnull)));
		if (contain_mutable_functions(expr) || calls_own(expr, NULL))
			cannot(domain, psprintf("Constraint \"%s\" calls a function that is not both immutable "
									"and built in; every node checks it by itself.",
									NameStr(con->conname)));
		clause = psprintf("CONSTRAINT %s %s", quote_identifier(NameStr(con->conname)),
						  TextDatumGetCString(OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID,
															   ObjectIdGetDatum(con->oid))));
		if (con->convalidated)
			appendStringInfo(out, " %s", clause);
		else if (more != NULL)
			*more =
				lappend(*more, psprintf("ALTER DOMAIN %s ADD %s",
										qualified_name(TypeRelationId, domain->objectId), clause));
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

static void
put_type(StringInfo out, const ObjectAddress *type)
{
	appendStringInfo(out, "CREATE %s %s", paxos_object_kind(type),
					 qualified_name(TypeRelationId, type->objectId));
	switch (get_typtype(type->objectId))
	{
		case TYPTYPE_ENUM:
			put_enum(out, type->objectId);
			break;
		case TYPTYPE_COMPOSITE:
			put_composite(out, type->objectId);
			break;
		case TYPTYPE_RANGE:
			put_range(out, type);
			break;
		case TYPTYPE_DOMAIN:
			put_domain(out, type, NULL);
			break;
		default:
			cannot(type, "It is neither an enum, composite or range type nor a domain.");
	}
}

/* ------------------------------------------------------------------
 * Views
 * ------------------------------------------------------------------
 */

/* With the names of its columns, and CHECK OPTION among the options. */
static void
put_view(StringInfo out, const ObjectAddress *view)
{
	Relation rel = relation_open(view->objectId, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	char *query;
	Size len;
	bool any = false;

	/* it is read by SPI, which would not see one that has been made just now */
	PushActiveSnapshot(GetLatestSnapshot());
	query = TextDatumGetCString(
		OidFunctionCall1(F_PG_GET_VIEWDEF_OID, ObjectIdGetDatum(view->objectId)));
	PopActiveSnapshot();
	len = strlen(query);
	while (len > 0 && (query[len - 1] == ';' || query[len - 1] == '\n'))
		query[--len] = '\0';
	appendStringInfo(out, "CREATE OR REPLACE VIEW %s (", paxos_object_name(view));
	for (int i = 0; i < desc->natts; i++)
		appendStringInfo(out, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(desc, i)->attname)));
	appendStringInfoChar(out, ')');
	paxos_ddl_put_reloptions(out, "", view->objectId, &any);
	appendStringInfo(out, "%s AS %s", any ? ")" : "", query);
	relation_close(rel, NoLock);
}

char *
paxos_view_default(const ObjectAddress *view, const char *column)
{
	Relation rel = relation_open(view->objectId, AccessShareLock);
	Node *expr = paxos_ddl_default(rel, get_attnum(view->objectId, column));
	char *text = expr == NULL ? NULL : paxos_ddl_write_expression(rel, expr);

	relation_close(rel, NoLock);
	return text;
}

static List *
put_view_defaults(List *rest, const ObjectAddress *view)
{
	Relation rel = relation_open(view->objectId, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		const char *column = NameStr(TupleDescAttr(desc, i)->attname);

		if (TupleDescAttr(desc, i)->atthasdef)
			rest = lappend(rest, psprintf("ALTER VIEW %s ALTER COLUMN %s SET DEFAULT %s",
										  paxos_object_name(view), quote_identifier(column),
										  paxos_view_default(view, column)));
	}
	relation_close(rel, NoLock);
	return rest;
}

/* ------------------------------------------------------------------
 * All of them
 * ------------------------------------------------------------------
 */

char *
paxos_object_definition(const ObjectAddress *object)
{
	int nest_level = paxos_ddl_begin_writing_down();
	StringInfoData out;

	initStringInfo(&out);
	switch (object->classId)
	{
		case NamespaceRelationId:
			appendStringInfo(
				&out, "CREATE SCHEMA %s AUTHORIZATION %s",
				quote_identifier(paxos_schema_name(object->objectId)),
				quote_identifier(GetUserNameFromId(paxos_object_owner(object), false)));
			break;
		case TypeRelationId:
			put_type(&out, object);
			break;
		case RelationRelationId:
			put_view(&out, object);
			break;
		case ProcedureRelationId:
			if (get_func_prokind(object->objectId) == PROKIND_AGGREGATE)
				cannot(object, "It is an aggregate.");
			appendStringInfoString(
				&out, TextDatumGetCString(OidFunctionCall1(F_PG_GET_FUNCTIONDEF,
														   ObjectIdGetDatum(object->objectId))));
			break;
		default:
			cannot(object, "It is of a kind that is each node's own.");
	}
	AtEOXact_GUC(true, nest_level);
	return out.data;
}

/* paxos.object_definition(classid, objid); null: there is none */
Datum
paxos_sql_object_definition(PG_FUNCTION_ARGS)
{
	ObjectAddress object;

	ObjectAddressSet(object, PG_GETARG_OID(0), PG_GETARG_OID(1));

	/* one that is dropped while the view is read, among others */
	if ((object.classId != NamespaceRelationId && object.classId != TypeRelationId &&
		 object.classId != ProcedureRelationId && object.classId != RelationRelationId) ||
		getObjectIdentity(&object, true) == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(paxos_object_definition(&object)));
}

static Datum
acl_of(const ObjectAddress *object, bool *isnull)
{
	int cache = object->classId == NamespaceRelationId ? NAMESPACEOID
				: object->classId == TypeRelationId    ? TYPEOID
													   : PROCOID;
	AttrNumber column = object->classId == NamespaceRelationId ? Anum_pg_namespace_nspacl
						: object->classId == TypeRelationId    ? Anum_pg_type_typacl
															   : Anum_pg_proc_proacl;
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(object->objectId));
	Datum acl;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "object %u of catalog %u is missing", object->objectId, object->classId);
	acl = SysCacheGetAttr(cache, tuple, column, isnull);
	if (!*isnull)
		acl = PointerGetDatum(DatumGetAclPCopy(acl));
	ReleaseSysCache(tuple);
	return acl;
}

/* What everybody else than the owner may do; one statement for each of them. */
static List *
put_acl(List *rest, const ObjectAddress *object)
{
	static const struct
	{
		AclMode mode;
		const char *name;
	} privileges[] = {{ACL_USAGE, "USAGE"}, {ACL_CREATE, "CREATE"}, {ACL_EXECUTE, "EXECUTE"}};
	bool isnull;
	Datum datum = acl_of(object, &isnull);
	Oid owner = paxos_object_owner(object);
	char *on = psprintf("%s %s", paxos_object_kind(object), paxos_object_name(object));
	Acl *acl;
	AclItem *items;

	if (isnull)
		return rest;
	acl = DatumGetAclP(datum);
	items = ACL_DAT(acl);
	rest = lappend(rest, psprintf("REVOKE ALL ON %s FROM PUBLIC", on));
	for (int i = 0; i < ACL_NUM(acl); i++)
	{
		for (int j = 0; j < lengthof(privileges); j++)
		{
			if (items[i].ai_grantee == owner ||
				(ACLITEM_GET_PRIVS(items[i]) & privileges[j].mode) == 0)
				continue;
			rest = lappend(rest, psprintf("GRANT %s ON %s TO %s%s", privileges[j].name, on,
										  items[i].ai_grantee == ACL_ID_PUBLIC
											  ? "PUBLIC"
											  : quote_identifier(
													GetUserNameFromId(items[i].ai_grantee, false)),
										  (ACLITEM_GET_GOPTIONS(items[i]) & privileges[j].mode) != 0
											  ? " WITH GRANT OPTION"
											  : ""));
		}
	}
	return rest;
}

static List *
put_comments(List *rest, const ObjectAddress *object)
{
	char *kind = pstrdup(paxos_object_kind(object));
	char *name = paxos_object_name(object);
	List *parts = paxos_object_parts(object);
	char *text = GetComment(object->objectId, object->classId, 0);
	ListCell *lc;

	if (text != NULL)
		rest =
			lappend(rest, psprintf("COMMENT ON %s %s IS %s", kind, name, quote_literal_cstr(text)));
	foreach (lc, parts)
	{
		ObjectAddress *part = lfirst(lc);

		if (part->classId == ConstraintRelationId)
		{
			text = GetComment(part->objectId, part->classId, 0);
			if (text != NULL)
				rest = lappend(rest, psprintf("COMMENT ON CONSTRAINT %s ON DOMAIN %s IS %s",
											  quote_identifier(get_constraint_name(part->objectId)),
											  name, quote_literal_cstr(text)));
		}
		else if (part->classId == RelationRelationId)
		{
			TupleDesc desc = lookup_rowtype_tupdesc(object->classId == RelationRelationId
														? get_rel_type_id(object->objectId)
														: object->objectId,
													-1);

			for (int i = 0; i < desc->natts; i++)
			{
				text = TupleDescAttr(desc, i)->attisdropped
						   ? NULL
						   : GetComment(part->objectId, part->classId, i + 1);
				if (text != NULL)
					rest = lappend(
						rest, psprintf("COMMENT ON COLUMN %s.%s IS %s", name,
									   quote_identifier(NameStr(TupleDescAttr(desc, i)->attname)),
									   quote_literal_cstr(text)));
			}
			ReleaseTupleDesc(desc);
		}
	}
	return rest;
}

List *
paxos_object_rest(const ObjectAddress *object)
{
	int nest_level = paxos_ddl_begin_writing_down();
	List *rest = NIL;

	if (object->classId == TypeRelationId && get_typtype(object->objectId) == TYPTYPE_DOMAIN)
	{
		StringInfoData ignored;

		initStringInfo(&ignored);
		put_domain(&ignored, object, &rest);
	}
	if (object->classId == RelationRelationId)
	{
		rest = put_view_defaults(rest, object);
		rest = list_concat(rest, paxos_ddl_texts_of(paxos_grants_query, object->objectId));
	}
	else
		rest = put_acl(rest, object);
	rest = put_comments(rest, object);
	AtEOXact_GUC(true, nest_level);
	return rest;
}
