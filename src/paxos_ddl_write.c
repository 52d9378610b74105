/*
 * paxos_ddl_write.c
 *	  Definitions written down: what a consensus table may consist of, and the
 *	  statement that makes one like it.
 *
 * Owns: the words in which a definition goes to other nodes, in the log
 * (paxos_ddl.c, paxos_alter_write.c) or in a snapshot (paxos_snapshot_send.c), and the
 * rules on what it may contain.
 *
 * The text the user typed may mean another thing elsewhere (a literal read under
 * another DateStyle, a backslash, a name found by another search_path, a constraint
 * named by what else stands in the schema): so all is written from the catalogs, in
 * the words of one fixed set of settings and with every name qualified.
 *
 * What a definition may contain is what gives the same on every node: types,
 * functions, operators and collations that are built in; nothing mutable in a
 * constraint.  Defaults are free, because they are evaluated once, where a row
 * is inserted (paxos_api_table.c).
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/toast_compression.h"
#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_expr.h"
#include "paxos_extension.h"
#include "paxos_object.h"

PG_FUNCTION_INFO_V1(paxos_table_statement);

void
paxos_ddl_not_supported(const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s is not supported for a consensus-backed table", what),
					hint ? errhint("%s", hint) : 0));
}

/* How definitions are written down, whatever this session has chosen. */
int
paxos_ddl_begin_writing_down(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog"},    {"DateStyle", "ISO, MDY"},
		{"IntervalStyle", "postgres"},    {"TimeZone", "UTC"},
		{"extra_float_digits", "1"},      {"bytea_output", "hex"},
		{"quote_all_identifiers", "off"}, {"standard_conforming_strings", "on"},
	};
	int nest_level = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
	return nest_level;
}

/* ------------------------------------------------------------------
 * What a definition may contain
 * ------------------------------------------------------------------
 */

/*
 * Types whose text does not mean the same everywhere: object ids differ between
 * nodes, roles may, money is written by lc_monetary.
 */
static void
check_type(const char *column, Oid type)
{
	const char *why = paxos_object_type_trouble(type);

	if (why != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of type %s is not supported for a consensus-backed table",
						column, format_type_be(type)),
				 errdetail("The type cannot be used because %s.", why)));
}

void
paxos_ddl_check_collation(const char *column, Oid collation)
{
	if (!paxos_expr_portable_collation(collation))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "collation \"%s\" of column \"%s\" is not supported for a consensus-backed table",
				 get_collation_name(collation), column),
			 errdetail("Nodes may order text under it differently."),
			 errhint("Use the database's default collation or \"C\".")));
}

/* The first function in an expression that is not immutable. */
static bool
is_mutable_function(Oid func, void *context)
{
	if (func_volatile(func) == PROVOLATILE_IMMUTABLE)
		return false;
	*(Oid *) context = func;
	return true;
}

static bool
find_mutable_function(Node *node, Oid *func)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_mutable_function, func))
		return true;
	return expression_tree_walker(node, find_mutable_function, func);
}

static void
check_constraint(Form_pg_constraint con, HeapTuple tuple, TupleDesc desc)
{
	if (con->condeferrable && con->contype == CONSTRAINT_PRIMARY)
		paxos_ddl_not_supported("a deferrable primary key",
								"Rows are known to other nodes by it, at every moment.");
	if (PaxosWithoutOverlaps(con))
		paxos_ddl_not_supported("WITHOUT OVERLAPS", "Use an EXCLUDE constraint.");
	if (con->contype == CONSTRAINT_CHECK)
	{
		bool isnull;
		Datum bin = heap_getattr(tuple, Anum_pg_constraint_conbin, desc, &isnull);
		Node *expr = stringToNode(TextDatumGetCString(bin));
		Oid func = InvalidOid;

		if (contain_mutable_functions(expr))
		{
			find_mutable_function(expr, &func);
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 OidIsValid(func)
					 ? errmsg("constraint \"%s\" calls %s, which is not immutable",
							  NameStr(con->conname), format_procedure(func))
					 : errmsg("constraint \"%s\" is not immutable", NameStr(con->conname)),
				 errdetail(
					 "Every node checks the constraint by itself, and all must come to the same answer.")));
		}
	}
}

/*
 * Everything that a new table (or index) consists of or refers to, by
 * pg_depend; pinned objects, that is all of PostgreSQL's own, do not appear
 * there.
 */
typedef struct Parts
{
	ObjectAddresses *list;
	ObjectAddress *at; /* the same, in the order found */
	int n;
	int room;
} Parts;

static bool
part_known(const Parts *parts, Oid class_id, Oid object_id)
{
	for (int i = 0; i < parts->n; i++)
	{
		if (parts->at[i].classId == class_id && parts->at[i].objectId == object_id)
			return true;
	}
	return false;
}

static void
part_add(Parts *parts, Oid class_id, Oid object_id)
{
	if (part_known(parts, class_id, object_id))
		return;
	if (parts->n == parts->room)
	{
		parts->room = parts->room == 0 ? 32 : parts->room * 2;
		if (parts->at == NULL)
			parts->at = palloc_array(ObjectAddress, parts->room);
		else
			parts->at = repalloc_array(parts->at, ObjectAddress, parts->room);
	}
	ObjectAddressSet(parts->at[parts->n], class_id, object_id);
	parts->n++;
}

/*
 * A default is computed once, where a row is inserted: it may call what every node has.  A
 * generated column, a constraint or an index calls it on every node, where it must come to the
 * same, and cannot be kept waiting.
 */
static bool
is_plain_default(Form_pg_depend d)
{
	ObjectAddress column;
	HeapTuple tuple;
	bool plain;

	if (d->classid != AttrDefaultRelationId)
		return false;
	column = GetAttrDefaultColumnAddress(d->objid);
	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(column.objectId),
							Int16GetDatum(column.objectSubId));
	if (!HeapTupleIsValid(tuple))
		return false;
	plain = ((Form_pg_attribute) GETSTRUCT(tuple))->attgenerated == '\0';
	ReleaseSysCache(tuple);
	return plain;
}

static bool
is_sequence(const ObjectAddress *object)
{
	return object->classId == RelationRelationId &&
		   get_rel_relkind(object->objectId) == RELKIND_SEQUENCE;
}

static Oid
table_of_constraint(Oid constraint)
{
	HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
	Oid table = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		table = ((Form_pg_constraint) GETSTRUCT(tuple))->conrelid;
		ReleaseSysCache(tuple);
	}
	return table;
}

/* Is it a part of this consensus table, or of one above it? */
static bool
belongs_to(const Form_pg_depend d, Oid table)
{
	Oid owner = InvalidOid;

	if (!OidIsValid(table))
		return false;
	if (d->refclassid == RelationRelationId)
		owner = paxos_consensus_owner(d->refobjid);
	else if (d->refclassid == ConstraintRelationId)
		owner = table_of_constraint(d->refobjid);
	return owner == table || (OidIsValid(owner) && get_rel_relispartition(table) &&
							  list_member_oid(get_partition_ancestors(table), owner));
}

void
paxos_ddl_check_dependencies(PaxosDdlOp *op, Oid relid, Oid parent)
{
	Relation depend = table_open(DependRelationId, AccessShareLock);
	Parts parts = {0};

	part_add(&parts, RelationRelationId, relid);

	/* What depends on the new relation belongs to it: nothing else can yet. */
	for (int i = 0; i < parts.n; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].classId));
		ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].objectId));
		scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);

			part_add(&parts, d->classid, d->objid);
		}
		systable_endscan(scan);
	}

	for (int i = 0; i < parts.n; i++)
	{
		ScanKeyData key[2];
		SysScanDesc scan;
		HeapTuple tuple;

		/* looked at when it was made (paxos_policy.c) */
		if (parts.at[i].classId == PolicyRelationId)
			continue;
		ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].classId));
		ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(parts.at[i].objectId));
		scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_depend d = (Form_pg_depend) GETSTRUCT(tuple);
			ObjectAddress other;
			Oid extension;
			int64 id;

			if (d->refclassid == AccessMethodRelationId ||
				part_known(&parts, d->refclassid, d->refobjid) || belongs_to(d, parent))
				continue;
			ObjectAddressSubSet(other, d->refclassid, d->refobjid, d->refobjsubid);
			if (paxos_object_place(&other, &id) == PAXOS_PLACE_OBJECT &&
				(d->refclassid == TypeRelationId || d->refclassid == NamespaceRelationId ||
				 (d->refclassid == ProcedureRelationId && is_plain_default(d))))
			{
				ObjectAddress object;
				int64 altered;

				/* A newcomer makes it behind the tables. */
				if (paxos_object_of_id(id, &object, &altered) && paxos_object_late(&object))
					ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
									errmsg("%s cannot be used by a consensus-backed table",
										   getObjectDescription(&other, false)),
									errdetail("It refers to a consensus-backed table itself.")));
				paxos_object_need_use(op, id);
				continue;
			}
			if (d->refclassid == NamespaceRelationId)
				continue;
			extension = paxos_extension_of(d->refclassid, d->refobjid);
			if (OidIsValid(extension) && paxos_extension_trusted(d->refclassid, d->refobjid))
			{
				op->extensions = list_append_unique_oid(op->extensions, extension);
				continue;
			}
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot be used by a consensus-backed table",
						getObjectDescription(&other, false)),
				 errdetail("It is local to this node."),
				 is_sequence(&other)
					 ? errhint("Make the column serial or an identity, or give it the sequence "
							   "with ALTER SEQUENCE ... OWNED BY.")
					 : errhint("Use types, functions, operators and collations that are built "
							   "in or belong to an extension; types, and functions in defaults, "
							   "can be made on all nodes with paxos.ddl = 'all'.")));
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
}

/* ------------------------------------------------------------------
 * Writing a table down
 * ------------------------------------------------------------------
 */

void
paxos_ddl_put_reloptions(StringInfo out, const char *prefix, Oid relid, bool *any)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool isnull;
	Datum options;
	List *list = NIL;
	ListCell *lc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	options = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_reloptions, &isnull);
	if (!isnull)
		list = untransformRelOptions(options);
	foreach (lc, list)
	{
		DefElem *e = lfirst_node(DefElem, lc);

		appendStringInfo(out, "%s%s%s", *any ? ", " : " WITH (", prefix,
						 quote_identifier(e->defname));
		if (e->arg != NULL)
			appendStringInfo(out, " = %s", quote_literal_cstr(defGetString(e)));
		*any = true;
	}
	ReleaseSysCache(tuple);
}

static bool
can_spread(Form_pg_sequence s)
{
	return (s->seqincrement == 1 || s->seqincrement == PAXOS_SEQUENCE_STEP) && !s->seqcycle &&
		   s->seqmax - PAXOS_SEQUENCE_STEP >= s->seqstart;
}

/*
 * The sequence of a serial or identity column.  Its step is ours, so it may not
 * have one of its own (a dump has ours); and where it ends it must not begin again.
 */
static Form_pg_sequence
check_sequence(Oid sequence, const char *column, bool spread)
{
	HeapTuple tuple = SearchSysCacheCopy1(SEQRELID, ObjectIdGetDatum(sequence));
	Form_pg_sequence s;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for sequence %u", sequence);
	s = (Form_pg_sequence) GETSTRUCT(tuple);
	if (!spread && !can_spread(s))
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "sequence options of column \"%s\" are not supported for a consensus-backed table",
				 column),
			 errdetail(
				 "The sequence of each node advances in steps of %d; INCREMENT, CYCLE and a small MAXVALUE do not go with it.",
				 PAXOS_SEQUENCE_STEP)));
	return s;
}

/*
 * Could this sequence become a serial column's?  Nothing may depend on it: what does is this
 * node's alone, and would decide here what DROP TABLE does everywhere.  And where it is taken
 * it must be possible to spread it.
 */
bool
paxos_ddl_may_take_sequence(Oid relid, Oid role)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Relation depend;
	ScanKeyData key[2];
	SysScanDesc scan;
	Form_pg_class c;
	Oid table;
	int32 column;
	bool fits;

	if (!HeapTupleIsValid(tuple))
		return false;
	c = (Form_pg_class) GETSTRUCT(tuple);
	fits = c->relkind == RELKIND_SEQUENCE && c->relowner == role &&
		   c->relpersistence == RELPERSISTENCE_PERMANENT;
	ReleaseSysCache(tuple);
	if (!fits || sequenceIsOwned(relid, DEPENDENCY_AUTO, &table, &column) ||
		sequenceIsOwned(relid, DEPENDENCY_INTERNAL, &table, &column))
		return false;

	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(relid));
	fits = HeapTupleIsValid(tuple) && can_spread((Form_pg_sequence) GETSTRUCT(tuple));
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);

	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&key[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, key);
	if (HeapTupleIsValid(systable_getnext(scan)))
		fits = false;
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return fits;
}

Node *
paxos_ddl_default(Relation rel, AttrNumber attnum)
{
	TupleConstr *constr = RelationGetDescr(rel)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		if (constr->defval[i].adnum == attnum)
			return stringToNode(constr->defval[i].adbin);
	}
	return NULL;
}

char *
paxos_ddl_write_expression(Relation rel, Node *expr)
{
	return deparse_expression(
		expr, deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel)), false,
		false);
}

static bool
names_sequence(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Const) && ((Const *) node)->consttype == REGCLASSOID &&
		!((Const *) node)->constisnull &&
		DatumGetObjectId(((Const *) node)->constvalue) == *(Oid *) context)
		return true;
	return expression_tree_walker(node, names_sequence, context);
}

/*
 * The sequence that "serial" made for a column, if its default still draws from it; one
 * that is left over, its default gone, says nothing of the column.  A column that draws from
 * it and otherwise is not what "serial" makes could not be written down: a member that
 * comes later would have another table.
 */
Oid
paxos_ddl_serial(Relation rel, AttrNumber attnum)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	ListCell *lc;

	foreach (lc, getOwnedSequences(RelationGetRelid(rel)))
	{
		Oid sequence = lfirst_oid(lc);
		Oid table;
		int32 column;

		if (!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) || column != attnum ||
			!names_sequence(paxos_ddl_default(rel, attnum), &sequence))
			continue;
		if (!att->attnotnull ||
			(att->atttypid != INT2OID && att->atttypid != INT4OID && att->atttypid != INT8OID))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("column \"%s\" draws its default from a sequence, and can only "
								   "be a not-null integer",
								   NameStr(att->attname)),
							errhint("Use DROP DEFAULT first.")));
		return sequence;
	}
	return InvalidOid;
}

/*
 * A partition has the defaults of its parent, the same sequence among them.  It has other
 * names on other nodes: the partition gets such a default when it is in its place.
 */
Oid
paxos_ddl_sequence_above(Relation rel, AttrNumber attnum)
{
	ListCell *lc;
	ListCell *ls;

	if (!rel->rd_rel->relispartition)
		return InvalidOid;
	foreach (lc, get_partition_ancestors(RelationGetRelid(rel)))
	{
		foreach (ls, getOwnedSequences(lfirst_oid(lc)))
		{
			Oid sequence = lfirst_oid(ls);

			if (names_sequence(paxos_ddl_default(rel, attnum), &sequence))
				return sequence;
		}
	}
	return InvalidOid;
}

void
paxos_ddl_write_column(StringInfo out, Relation rel, AttrNumber attnum, bool spread,
					   const char *instead)
{
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	List *sequences = getOwnedSequences(RelationGetRelid(rel));
	const char *name = NameStr(att->attname);
	Oid identity = InvalidOid;
	Oid serial = paxos_ddl_serial(rel, attnum);
	ListCell *lc;

	check_type(name, att->atttypid);
	paxos_ddl_check_collation(name, att->attcollation);

	foreach (lc, sequences)
	{
		Oid table;
		int32 column;

		if (sequenceIsOwned(lfirst_oid(lc), DEPENDENCY_INTERNAL, &table, &column) &&
			column == att->attnum)
			identity = lfirst_oid(lc);
	}

	appendStringInfo(out, "%s ", quote_identifier(name));
	if (OidIsValid(serial))
	{
		(void) check_sequence(serial, name, spread);
		appendStringInfoString(out, att->atttypid == INT8OID   ? "bigserial"
									: att->atttypid == INT2OID ? "smallserial"
															   : "serial");
		return;
	}

	appendStringInfoString(out, format_type_with_typemod(att->atttypid, att->atttypmod));
	if (att->attcompression == TOAST_PGLZ_COMPRESSION)
		appendStringInfoString(out, " COMPRESSION pglz");
	else if (att->attcompression == TOAST_LZ4_COMPRESSION)
		appendStringInfoString(out, " COMPRESSION lz4");
	if (OidIsValid(att->attcollation) && att->attcollation != get_typcollation(att->atttypid))
		appendStringInfo(out, " COLLATE %s", generate_collation_name(att->attcollation));

	if (OidIsValid(identity))
	{
		Form_pg_sequence s = check_sequence(identity, name, spread);

		appendStringInfo(out,
						 " GENERATED %s AS IDENTITY (START WITH " INT64_FORMAT
						 " MINVALUE " INT64_FORMAT " MAXVALUE " INT64_FORMAT " CACHE " INT64_FORMAT
						 ")",
						 att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS ? "ALWAYS" : "BY DEFAULT",
						 s->seqstart, s->seqmin, s->seqmax, s->seqcache);
	}
	else if (instead != NULL)
		appendStringInfo(out, " DEFAULT %s", instead);
	else if (att->atthasdef && !OidIsValid(paxos_ddl_sequence_above(rel, attnum)))
	{
		char *text = paxos_ddl_write_expression(rel, paxos_ddl_default(rel, attnum));

		if (att->attgenerated)
			appendStringInfo(out, " GENERATED ALWAYS AS (%s) %s", text,
							 att->attgenerated == ATTRIBUTE_GENERATED_STORED ? "STORED"
																			 : "VIRTUAL");
		else
			appendStringInfo(out, " DEFAULT %s", text);
	}
	if (att->attnotnull)
		appendStringInfoString(out, " NOT NULL");
}

/* CREATE TABLE makes them in this order, whatever was said: so a copy has it too. */
static int
constraint_rank(char type)
{
	return type == CONSTRAINT_CHECK ? 0 : type == CONSTRAINT_PRIMARY ? 1 : 2;
}

static int
compare_constraints(const ListCell *a, const ListCell *b)
{
	const PaxosConstraint *x = lfirst(a);
	const PaxosConstraint *y = lfirst(b);
	int order = constraint_rank(x->type) - constraint_rank(y->type);

	if (order != 0)
		return order;
	return x->oid < y->oid ? -1 : x->oid > y->oid;
}

List *
paxos_ddl_constraints(Oid relid)
{
	List *list = NIL;
	Relation catalog = table_open(ConstraintRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, ConstraintRelidTypidNameIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_constraint con = (Form_pg_constraint) GETSTRUCT(tuple);
		PaxosConstraint *c;

		if (con->contype != CONSTRAINT_PRIMARY && con->contype != CONSTRAINT_UNIQUE &&
			con->contype != CONSTRAINT_CHECK && con->contype != CONSTRAINT_EXCLUSION)
			continue;
		check_constraint(con, tuple, RelationGetDescr(catalog));
		c = palloc(sizeof(PaxosConstraint));
		c->oid = con->oid;
		c->name = pstrdup(NameStr(con->conname));
		c->type = con->contype;
		c->validated = con->convalidated;
		c->definition = TextDatumGetCString(
			OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID, ObjectIdGetDatum(con->oid)));
		list = lappend(list, c);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	list_sort(list, compare_constraints);
	return list;
}

bool
paxos_ddl_has_index(const Constraint *c)
{
	return c->contype == CONSTR_PRIMARY || c->contype == CONSTR_UNIQUE ||
		   c->contype == CONSTR_EXCLUSION;
}

/* FOR VALUES ..., or DEFAULT. */
char *
paxos_ddl_write_bound(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool isnull;
	Datum bound;
	char *result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	bound = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);
	if (isnull)
		elog(ERROR, "relation %u is no partition", relid);
	result = TextDatumGetCString(DirectFunctionCall2(pg_get_expr, bound, ObjectIdGetDatum(relid)));
	ReleaseSysCache(tuple);
	return result;
}

static void
check_partition_key(Relation rel)
{
	PartitionKey key = RelationGetPartitionKey(rel);

	for (int i = 0; i < key->partnatts; i++)
	{
		paxos_ddl_check_collation(RelationGetRelationName(rel), key->partcollation[i]);

		/* An enum's hash is one of numbers that each node gives by itself. */
		if (key->strategy == PARTITION_STRATEGY_HASH &&
			getBaseType(key->parttypid[i]) >= FirstUnpinnedObjectId)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a consensus-backed table cannot be partitioned by hash of type %s",
							format_type_be(key->parttypid[i])),
					 errdetail("Nodes may come to other values of the hash."),
					 errhint("Use a column of a built-in type.")));
	}
}

char *
paxos_ddl_write_table(Oid relid, const char *schema, bool if_not_exists, bool spread, bool holes)
{
	StringInfoData out;
	Relation rel = table_open(relid, NoLock);
	TupleDesc desc = RelationGetDescr(rel);
	ListCell *lc;
	bool partitioned = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	bool any = false;
	int columns = 0;

	if (schema == NULL)
		schema = paxos_schema_name(RelationGetNamespace(rel));
	initStringInfo(&out);
	appendStringInfo(&out, "CREATE TABLE %s%s (", if_not_exists ? "IF NOT EXISTS " : "",
					 quote_qualified_identifier(schema, RelationGetRelationName(rel)));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped && !holes)
			continue;
		appendStringInfoString(&out, columns++ > 0 ? ", " : "");

		/* What holds its place, and is dropped again (paxos_ddl_create_in()). */
		if (att->attisdropped)
			appendStringInfo(&out, "%s integer", quote_identifier(NameStr(att->attname)));
		else
			paxos_ddl_write_column(&out, rel, att->attnum, spread, NULL);
	}

	/* Constraints with their names, which another node might choose otherwise,
	 * and in the order made: that is the order in which they are checked.  One that is
	 * not valid comes behind the rows, which may not satisfy it. */
	foreach (lc, paxos_ddl_constraints(relid))
	{
		PaxosConstraint *c = lfirst(lc);

		if (c->validated && !(partitioned && spread && c->type != CONSTRAINT_CHECK))
			appendStringInfo(&out, "%sCONSTRAINT %s %s", columns++ > 0 ? ", " : "",
							 quote_identifier(c->name), c->definition);
	}

	if (partitioned)
	{
		check_partition_key(rel);
		appendStringInfo(
			&out, ") PARTITION BY %s",
			TextDatumGetCString(DirectFunctionCall1(pg_get_partkeydef, ObjectIdGetDatum(relid))));
	}
	else
		appendStringInfoString(&out, ") USING paxos");
	paxos_ddl_put_reloptions(&out, "", relid, &any);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
		paxos_ddl_put_reloptions(&out, "toast.", rel->rd_rel->reltoastrelid, &any);
	if (any)
		appendStringInfoChar(&out, ')');
	table_close(rel, NoLock);
	return out.data;
}

/*
 * The texts that a query gives, but NULL.  What is asked is what this library has
 * written, so nobody's privileges and no search_path of a session come into it.  It
 * sees what the catalogs hold now, after locks were waited for: with a snapshot from before
 * them it would find an index that the log has dropped since, and write down nothing for it.
 */
List *
paxos_ddl_texts(const char *query, int nargs, Oid *types, Datum *args, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	int nest_level = paxos_ddl_begin_writing_down();
	List *list = NIL;
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(query, nargs, types, args, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what belongs to a table");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *text = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(caller);

		if (text != NULL)
			list = lappend(list, pstrdup(text));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	PopActiveSnapshot();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(true, nest_level);
	return list;
}

/* The same, for a query about one relation or other object: $1. */
List *
paxos_ddl_texts_of(const char *query, Oid relid)
{
	Oid types[1] = {REGCLASSOID};
	Datum args[1] = {ObjectIdGetDatum(relid)};

	return paxos_ddl_texts(query, 1, types, args, NULL);
}

char *
paxos_ddl_next_value(Oid relid, AttrNumber attnum, Oid sequence)
{
	List *next = paxos_ddl_texts_of(
		psprintf("SELECT CASE WHEN x < %s THEN x + 1 END FROM"
				 " (SELECT greatest(max(%s)::bigint, pg_sequence_last_value(%u)) AS x FROM ONLY %s"
				 "  WHERE $1 IS NOT NULL) m",
				 "9223372036854775807", quote_identifier(get_attname(relid, attnum, false)),
				 sequence, paxos_qualified_name(relid)),
		relid);

	return next != NIL ? (char *) linitial(next) : NULL;
}

List *
paxos_ddl_write_rest(Oid relid)
{
	return paxos_ddl_texts_of("SELECT * FROM paxos.table_rest($1)", relid);
}

/* The names that a table takes in its schema; not of sequences, which give way. */
List *
paxos_ddl_names_taken(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	List *names = list_make1(pstrdup(RelationGetRelationName(rel)));
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
		names = lappend(names, paxos_relation_name(lfirst_oid(lc)));
	table_close(rel, NoLock);
	return names;
}

/* ------------------------------------------------------------------
 * For others
 * ------------------------------------------------------------------
 */

char *
paxos_ddl_describe_table(Oid relid, bool holes)
{
	int nest_level = paxos_ddl_begin_writing_down();
	char *sql = paxos_ddl_write_table(relid, NULL, false, true, holes);

	AtEOXact_GUC(true, nest_level);
	return sql;
}

/* paxos.table_statement(regclass): the same, for whoever writes a backup's script. */
Datum
paxos_table_statement(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	char *sql;

	LockRelationOid(relid, AccessShareLock);
	if (!paxos_is_consensus_table(relid) || paxos_table_id(relid) == 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("%s is not a consensus-backed table",
							   get_rel_name(relid) != NULL
								   ? psprintf("\"%s\"", get_rel_name(relid))
								   : psprintf("the relation with OID %u", relid))));
	sql = paxos_ddl_describe_table(relid, false);
	PG_RETURN_TEXT_P(cstring_to_text(sql));
}
