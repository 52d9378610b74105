/*
 * paxos_partition.c
 *	  Partitioned consensus tables, where statements about them are issued
 *	  (architecture.md § 6).
 *
 * A partitioned table has no rows, and no access method to be known by: it is a consensus
 * table because paxos.tables has it.  Its partitions, and theirs, are consensus tables of
 * the ordinary kind, each with a number, triggers that capture, and keys in the window: so what
 * becomes of rows needs nothing of its own (paxos_capture.c, paxos_serial.c).  All tables of a tree
 * are consensus tables, or none: rows that an UPDATE moves would change from what all
 * nodes have to what one has.
 *
 * Definitions are in the log in the form that pg_dump gives them, whatever was said:
 *
 *	- a partition is a table by itself, with its own columns, constraints and indexes, and
 *	  then ALTER TABLE ... ATTACH PARTITION; both are one command, so nobody sees it in between;
 *	- an index of a partitioned table is made ON ONLY it, one on each partition, and
 *	  each is attached.  Left to PostgreSQL, the names of those on partitions would be chosen
 *	  on every node by itself, by what else stands in the schema there, and the log
 *	  knows indexes by their names.
 *
 * In the same form they are in snapshots (paxos.table_place()): the columns of a partition have
 * numbers of their own, which are the same on every node.
 *
 * What else is said of a partitioned table, PostgreSQL carries down to the partitions by itself
 * at the slot, as it would here.  A command says of which tables it takes the definition for
 * granted (paxos.tables.altered): of those it changes.  A new partition changes its parent, and the
 * default partition, whose rows may now belong elsewhere; so a row that somebody puts
 * there at the same time is a row of a table that was altered: his set is lost.  Rows in
 * other partitions stay where they are, and their writers undisturbed (PAXOS_DDL_BESIDE).
 *
 * Statements are tried on copies of the tables they are about, with those above and below
 * (paxos_copy.c).  A new partition is tried on its parent itself, because copies
 * of all its siblings would make the thousandth a thousand times as dear as the first; that takes a lock
 * which only other such statements mind.  If there is a default partition this would
 * lock it and read it, so then it is tried on copies, too.
 *
 * Not supported, and refused: CONCURRENTLY; triggers and foreign keys on partitioned tables (a
 * partition may have them); local tables as partitions, and of local ones.
 *
 * No state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_object.h"
#include "paxos_partition.h"
#include "paxos_version.h"

/* A name that a statement takes in the schema of a table (no table: of the statement). */
typedef struct NameTaken
{
	Oid nsp;
	Oid table;
	char *name;
} NameTaken;

/* ------------------------------------------------------------------
 * Trees
 * ------------------------------------------------------------------
 */

bool
paxos_in_tree(Oid relid)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE || get_rel_relispartition(relid);
}

static List *
tree_above(Oid relid)
{
	return get_rel_relispartition(relid) ? get_partition_ancestors(relid) : NIL;
}

Oid
paxos_tree_top(Oid relid)
{
	List *above = tree_above(relid);

	return above == NIL ? relid : llast_oid(above);
}

/* What a table was a partition of may have lost it a moment ago. */
static Oid
parent_of(Oid relid)
{
	List *above = tree_above(relid);

	return above == NIL ? InvalidOid : linitial_oid(above);
}

/* Locked; while a lock was waited for the log may have taken the tree apart. */
List *
paxos_tree_around(Oid relid)
{
	List *above = tree_above(relid);
	List *result = NIL;
	ListCell *lc;

	for (;;)
	{
		List *now;

		foreach (lc, above)
			LockRelationOid(lfirst_oid(lc), AccessShareLock);
		now = tree_above(relid);
		if (equal(now, above))
			break;
		above = now;
	}
	foreach (lc, above)
		result = lcons_oid(lfirst_oid(lc), result);
	return list_concat(result, find_all_inheritors(relid, AccessShareLock, NULL));
}

/* Not looked for again: a partition that has come since has no copy, say. */
List *
paxos_tree_below(List *around, Oid relid)
{
	int n = 0;

	while (n < list_length(around) && list_nth_oid(around, n) != relid)
		n++;
	return list_copy_tail(around, n);
}

static bool
is_about(const PaxosDdlOp *op, int64 table_id)
{
	for (int i = 0; i < op->n_tables; i++)
	{
		if (op->table_ids[i] == table_id)
			return true;
	}
	return false;
}

/*
 * The number of the last change first, and then what is looked at: if that is newer, the
 * statement will find that it is not up to date; the other way round it would not.
 */
void
paxos_tree_add(PaxosDdlOp *op, Oid relid, bool below)
{
	int64 table_id = paxos_known_table_id(relid);
	int64 altered = paxos_table_altered(table_id);
	ListCell *lc;

	if (!is_about(op, table_id))
	{
		int n = op->n_tables++;
		Size size = sizeof(int64) * op->n_tables;

		op->table_ids = n == 0 ? palloc(size) : repalloc(op->table_ids, size);
		op->altered = n == 0 || op->altered == NULL ? palloc(size) : repalloc(op->altered, size);
		op->table_ids[n] = table_id;
		op->altered[n] = altered;
	}
	op->flags |= PAXOS_DDL_TREE;
	if (!below || get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return;
	foreach (lc, find_inheritance_children(relid, NoLock))
		paxos_tree_add(op, lfirst_oid(lc), true);
}

/*
 * What is run as the owner of one table, as PostgreSQL evaluates a new default or CHECK, would
 * be refused on another's, and by every node.
 */
void
paxos_tree_check_owners(const PaxosDdlOp *op, Oid owner)
{
	for (int i = 0; i < op->n_tables; i++)
	{
		Oid relid = paxos_table_relid(op->table_ids[i]);

		if (!OidIsValid(relid) || PaxosOwnsRelation(relid, owner))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot alter consensus-backed tables of several owners in one statement"),
				 errdetail("Role \"%s\" does not own partition \"%s\".",
						   GetUserNameFromId(owner, false), get_rel_name(relid))));
	}
}

/* What belongs into the default partition is decided by the others there are. */
static void
add_parent(PaxosDdlOp *op, Oid parent)
{
	Oid other;

	paxos_tree_add(op, parent, false);
	other = get_default_partition_oid(parent);
	if (OidIsValid(other))
		paxos_tree_add(op, other, true);
}

static RangeVar *
name_of_copy(Oid relid)
{
	return makeRangeVar(paxos_copy_schema(get_rel_namespace(relid)), paxos_relation_name(relid),
						-1);
}

static int64
bytes_below(Oid relid)
{
	int64 bytes = 0;
	ListCell *lc;

	foreach (lc, find_all_inheritors(relid, AccessShareLock, NULL))
		bytes +=
			DatumGetInt64(DirectFunctionCall1(pg_table_size, ObjectIdGetDatum(lfirst_oid(lc))));
	return bytes;
}

/* ------------------------------------------------------------------
 * Names and indexes
 * ------------------------------------------------------------------
 */

static List *
note_name(List *names, Oid nsp, Oid table, const char *name)
{
	NameTaken *n = palloc(sizeof(NameTaken));

	n->nsp = nsp;
	n->table = table;
	n->name = pstrdup(name);
	return lappend(names, n);
}

/* One question for each schema. */
void
paxos_partition_ask(const PaxosDdlOp *op, List *names)
{
	List *asked = NIL;
	ListCell *lc;
	ListCell *lo;

	foreach (lc, names)
	{
		NameTaken *first = lfirst(lc);
		List *together = NIL;

		if (list_member_oid(asked, first->nsp))
			continue;
		asked = lappend_oid(asked, first->nsp);
		foreach (lo, names)
		{
			if (((NameTaken *) lfirst(lo))->nsp == first->nsp)
				together = lappend(together, ((NameTaken *) lfirst(lo))->name);
		}
		paxos_ddl_ask_members(paxos_schema_name(first->nsp), op->owner,
							  OidIsValid(first->table) ? paxos_known_table_id(first->table) : 0,
							  together);
	}
}

List *
paxos_partition_indexes(List *relids)
{
	List *result = NIL;
	ListCell *lc;

	foreach (lc, relids)
	{
		Relation copy = table_open(paxos_copy_of(lfirst_oid(lc)), NoLock);

		result = list_concat(result, RelationGetIndexList(copy));
		table_close(copy, NoLock);
	}
	return result;
}

/*
 * The name of an index that the trial has chosen where the copies are may be taken where the
 * tables are: then it gets another, here, before it is written down.  An index of that name of the same
 * table is one that the statement drops.
 */
static void
settle_name(Oid index, Oid nsp, Oid relid, bool said)
{
	char *name = paxos_relation_name(index);
	Oid existing = get_relname_relid(name, nsp);

	if (!OidIsValid(existing) || (OidIsValid(relid) && IndexGetRelation(existing, true) == relid))
		return;
	if (said)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE), errmsg("relation \"%s\" already exists", name)));
	RenameRelationInternal(index, ChooseRelationName(name, NULL, "idx", nsp, false), false, true);
	CommandCounterIncrement();
}

/* "[UNIQUE] INDEX name ON [ONLY] table ...", with another table. */
static char *
write_index(Oid index, const char *table)
{
	char *def =
		TextDatumGetCString(OidFunctionCall1(F_PG_GET_INDEXDEF_OID, ObjectIdGetDatum(index)));
	IndexStmt *stmt = (IndexStmt *) paxos_ddl_parse_one(def, T_IndexStmt);
	char *name = quote_qualified_identifier(stmt->relation->schemaname, stmt->relation->relname);
	int at = stmt->relation->location;

	if (strncmp(def + at, name, strlen(name)) != 0)
		elog(ERROR, "unexpected index definition \"%s\"", def);
	return psprintf("%.*s%s%s", at, def, table, def + at + strlen(name));
}

static void
append(StringInfo out, const char *statement)
{
	appendStringInfo(out, "%s%s", out->len > 0 ? "; " : "", statement);
}

/* A primary key of only the partitioned table does not make columns of partitions NOT NULL. */
static void
write_not_null(StringInfo out, Oid index, Oid relid)
{
	Relation rel = index_open(index, NoLock);
	Relation real = table_open(relid, NoLock);

	for (int i = 0; i < rel->rd_index->indnkeyatts; i++)
	{
		char *column = get_attname(rel->rd_index->indrelid, rel->rd_index->indkey.values[i], false);
		AttrNumber attnum = get_attnum(relid, column);

		if (attnum > 0 && !TupleDescAttr(RelationGetDescr(real), attnum - 1)->attnotnull)
			append(out, psprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL",
								 paxos_qualified_name(relid), quote_identifier(column)));
	}
	table_close(real, NoLock);
	index_close(rel, NoLock);
}

static void
write_one(StringInfo out, Oid index, Oid relid, bool is_target)
{
	Oid constraint = get_index_constraint(index);
	bool partitioned = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE;

	if (!OidIsValid(constraint))
	{
		append(out, write_index(index, paxos_qualified_name(relid)));
		return;
	}
	if (is_target && partitioned)
		write_not_null(out, index, relid);
	append(out, psprintf("ALTER TABLE %s%s ADD CONSTRAINT %s %s", partitioned ? "ONLY " : "",
						 paxos_qualified_name(relid), quote_identifier(paxos_relation_name(index)),
						 TextDatumGetCString(OidFunctionCall1(F_PG_GET_CONSTRAINTDEF_OID,
															  ObjectIdGetDatum(constraint)))));
}

/* The table that this is the copy of. */
static Oid
copied(Oid copy, List *relids)
{
	ListCell *lc;

	foreach (lc, relids)
	{
		if (paxos_copy_of(lfirst_oid(lc)) == copy)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

static bool
is_attached(Oid relid, const char *name)
{
	Oid index = get_relname_relid(name, get_rel_namespace(relid));

	return OidIsValid(index) && get_rel_relispartition(index);
}

static void
write_attachments(StringInfo out, List *relids, List *before)
{
	ListCell *lc;

	foreach (lc, paxos_partition_indexes(relids))
	{
		Oid index = lfirst_oid(lc);
		Oid relid = copied(IndexGetRelation(index, false), relids);
		Oid parent;
		Oid parent_relid;

		parent = parent_of(index);
		if (!OidIsValid(parent))
			continue;
		parent_relid = copied(IndexGetRelation(parent, false), relids);
		if (!OidIsValid(parent_relid) ||
			(list_member_oid(before, index) && list_member_oid(before, parent) &&
			 is_attached(relid, paxos_relation_name(index))))
			continue;
		append(out, psprintf("ALTER INDEX %s ATTACH PARTITION %s",
							 quote_qualified_identifier(paxos_schema_of(parent_relid),
														paxos_relation_name(parent)),
							 quote_qualified_identifier(paxos_schema_of(relid),
														paxos_relation_name(index))));
	}
}

void
paxos_partition_write_indexes(StringInfo out, Oid target, List *relids, List *before, List **names)
{
	ListCell *lc;
	ListCell *li;

	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);

		foreach (li, list_difference_oid(paxos_partition_indexes(list_make1_oid(relid)), before))
		{
			Oid index = lfirst_oid(li);

			settle_name(index, get_rel_namespace(relid), relid, relid == target);
			if (!OidIsValid(
					get_relname_relid(paxos_relation_name(index), get_rel_namespace(relid))))
				*names =
					note_name(*names, get_rel_namespace(relid), relid, paxos_relation_name(index));
			write_one(out, index, relid, relid == target);
		}
	}
	write_attachments(out, relids, before);
}

/* ------------------------------------------------------------------
 * A new partition
 * ------------------------------------------------------------------
 */

static void
check_parent(CreateStmt *stmt, Oid parent)
{
	if (stmt->accessMethod != NULL && strcmp(stmt->accessMethod, "paxos") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a partition of consensus-backed table \"%s\" cannot have access method "
						"\"%s\"",
						get_rel_name(parent), stmt->accessMethod),
				 errdetail("Its rows are those of the partitioned table, which all nodes have.")));
}

static void
write_sequence(StringInfo out, const char *table, const char *column, Oid sequence)
{
	append(out, psprintf("ALTER TABLE ONLY %s ALTER COLUMN %s SET DEFAULT "
						 "nextval(%s::pg_catalog.regclass)",
						 table, quote_identifier(column),
						 quote_literal_cstr(paxos_qualified_name(sequence))));
}

/* What it draws from its parent's sequences, which every node has named by itself. */
static void
write_sequences(StringInfo out, Oid relid, const char *table)
{
	Relation rel = table_open(relid, NoLock);

	for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);
		Oid sequence = att->attisdropped ? InvalidOid : paxos_ddl_sequence_above(rel, att->attnum);

		if (OidIsValid(sequence))
			write_sequence(out, table, NameStr(att->attname), sequence);
	}
	table_close(rel, NoLock);
}

/* Is it to be tried on copies?  Then they are made, and the statement is about them. */
static bool
on_copies(CreateStmt *copy, Oid parent, Oid nsp)
{
	if (!OidIsValid(get_default_partition_oid(parent)))
		return false;
	if (PaxosSchemaAclCheck(nsp, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(nsp));
	if (OidIsValid(get_relname_relid(copy->relation->relname, nsp)))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", copy->relation->relname)));
	paxos_copy_make(paxos_tree_around(parent));
	paxos_copy_make_schema(nsp);
	copy->relation->schemaname = paxos_copy_schema(nsp);
	copy->inhRelations = list_make1(name_of_copy(parent));
	return true;
}

/* The copies stand in others: what is in the log of theirs is said here. */
static void
note_schema(PaxosDdlOp *op, Oid nsp)
{
	ObjectAddress schema;
	int64 id;

	ObjectAddressSet(schema, NamespaceRelationId, nsp);
	if (paxos_object_place(&schema, &id) == PAXOS_PLACE_OBJECT)
		paxos_object_need(op, id);
}

static List *
write_partition(PaxosDdlOp *op, Oid relid, Oid parent, Oid nsp, bool copies, bool if_not_exists)
{
	int nest_level = paxos_ddl_begin_writing_down();
	char *table = quote_qualified_identifier(op->schema, paxos_relation_name(relid));
	List *names = note_name(NIL, nsp, InvalidOid, paxos_relation_name(relid));
	Relation rel = table_open(relid, NoLock);
	StringInfoData out;
	ListCell *lc;

	foreach (lc, RelationGetIndexList(rel))
	{
		if (copies)
			settle_name(lfirst_oid(lc), nsp, InvalidOid, false);
		names = note_name(names, nsp, InvalidOid, paxos_relation_name(lfirst_oid(lc)));
	}
	initStringInfo(&out);
	append(&out, paxos_ddl_write_table(relid, op->schema, if_not_exists, false, false));
	foreach (lc, RelationGetIndexList(rel))
	{
		if (!OidIsValid(get_index_constraint(lfirst_oid(lc))))
			append(&out, write_index(lfirst_oid(lc), table));
	}
	table_close(rel, NoLock);
	append(&out, psprintf("ALTER TABLE %s ATTACH PARTITION %s %s", paxos_qualified_name(parent),
						  table, paxos_ddl_write_bound(relid)));
	write_sequences(&out, relid, table);
	op->sql = out.data;
	AtEOXact_GUC(true, nest_level);
	note_schema(op, nsp);
	if (copies)
		paxos_ddl_check_dependencies(op, paxos_copy_of(paxos_tree_top(parent)), InvalidOid);
	else
		paxos_ddl_check_dependencies(op, relid, parent);
	return names;
}

/*
 * After the trial, whose completion the statement must not keep: 'names' are asked for, and
 * what it does to 'large', of so many bytes, may take its time.  False: to be tried again.
 */
static bool
submit_tried(PaxosUtility *u, PaxosDdlOp *op, CommandTag tag, List *names, const char *large,
			 int64 bytes)
{
	if (u->qc)
		SetQueryCompletion(u->qc, tag, 0);
	paxos_partition_ask(op, names);
	if (bytes >= PAXOS_LARGE_BYTES)
		paxos_ddl_notice_large(large, bytes);
	return paxos_ddl_submit(op);
}

void
paxos_partition_create(PaxosUtility *u, CreateStmt *stmt)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	CreateStmt *copy;
	PaxosTrial trial;
	volatile bool again = false;
	List *names = NIL;
	Oid nsp;

	paxos_ddl_check_create_clauses(stmt, true);
	paxos_ddl_begin_statement(u, "CREATE TABLE ... PARTITION OF a consensus-backed table");
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");

	nsp = RangeVarGetCreationNamespace(stmt->relation);
	if (stmt->if_not_exists && OidIsValid(get_relname_relid(stmt->relation->relname, nsp)))
	{
		paxos_utility_next(u); /* says NOTICE and does nothing */
		return;
	}
	op.kind = PAXOS_DDL_CREATE_TABLE;
	op.flags = PAXOS_DDL_BESIDE;
	op.schema = paxos_schema_name(nsp);
	op.owner = GetUserNameFromId(GetUserId(), false);

	copy = (CreateStmt *) paxos_utility_copy(&trial_u);
	copy->accessMethod = copy->partspec == NULL ? pstrdup("paxos") : NULL;

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid parent =
			RangeVarGetRelid(linitial_node(RangeVar, stmt->inhRelations), AccessShareLock, false);
		bool copies;
		Oid relid;

		check_parent(stmt, parent);
		add_parent(&op, parent);
		copies = on_copies(copy, parent, nsp);
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();
		relid = get_relname_relid(stmt->relation->relname,
								  copies ? get_namespace_oid(paxos_copy_schema(nsp), false) : nsp);
		if (!OidIsValid(relid))
			elog(ERROR, "table \"%s\" was not created", stmt->relation->relname);
		names = write_partition(&op, relid, parent, nsp, copies, stmt->if_not_exists);
	}
	PG_CATCH();
	{
		paxos_trial_failed(&trial, stmt->relation->relname, nsp);
		again = true;
	}
	PG_END_TRY();
	if (!again)
	{
		paxos_trial_end(&trial);
		again = !submit_tried(u, &op, CMDTAG_CREATE_TABLE, names, NULL, 0);
	}
	if (again)
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_partition_create(u, stmt);
	}
}

/* ------------------------------------------------------------------
 * ATTACH and DETACH
 * ------------------------------------------------------------------
 */

/* The partitioned table that a column of this name draws its default from. */
static Oid
sequence_of_partitioned(const char *column, const Constraint *c)
{
	Oid sequence =
		c->contype == CONSTR_DEFAULT ? paxos_ddl_sequence_drawn_from(c->raw_expr) : InvalidOid;
	Oid table;
	int32 attnum;

	if (!OidIsValid(sequence) || get_rel_relkind(sequence) != RELKIND_SEQUENCE ||
		!sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &attnum) ||
		get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE || attnum != get_attnum(table, column))
		return InvalidOid;
	return table;
}

/*
 * A dump says nothing of what kind a partitioned table is (see below): with
 * default_table_access_method = paxos it has become a consensus table, and its first
 * partition is a local one.
 */
static bool
is_empty(Oid table)
{
	return get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE && !get_rel_relispartition(table) &&
		   find_inheritance_children(table, NoLock) == NIL && PaxosOwnsRelation(table, GetUserId());
}

static bool
becomes_local(Oid table, const RangeVar *name)
{
	Oid child = RangeVarGetRelid(name, NoLock, true);

	return OidIsValid(child) && !paxos_is_consensus_table(child) && is_empty(table) &&
		   PaxosOwnsRelation(child, GetUserId());
}

static void
make_local(Oid table)
{
	PaxosDdlOp op = {0};
	PaxosTrial trial;
	List *volatile statements = NIL;
	int nest_level;
	ListCell *lc;

	/* The locks that are taken meanwhile would be in the learner's way. */
	paxos_trial_begin(&trial);
	PG_TRY();
	{
		statements = paxos_ddl_texts_of(
			"SELECT statement FROM (SELECT 0 AS n, 0::bigint AS m, paxos.table_statement($1) AS statement"
			" UNION ALL SELECT 1, r.m, r.statement FROM paxos.table_rest($1) WITH ORDINALITY AS r(statement, m)"
			" UNION ALL SELECT p.pass + 1, p.place, p.statement FROM paxos.table_place($1) p) x ORDER BY n, m",
			table);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);

	op.kind = PAXOS_DDL_DROP_TABLE;
	op.schema = paxos_schema_of(table);
	op.owner = GetUserNameFromId(GetUserId(), false);
	op.sql = psprintf("DROP TABLE %s", paxos_qualified_name(table));
	paxos_tree_add(&op, table, true);
	ereport(NOTICE,
			(errmsg("partitioned table \"%s\" becomes local to this node, as its partition is",
					get_rel_name(table))));
	if (!paxos_ddl_submit(&op))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the definition of the table was changed while the statement "
							   "was on its way")));
	AcceptInvalidationMessages();

	nest_level = NewGUCNestLevel();
	(void) set_config_option("default_table_access_method", DEFAULT_TABLE_ACCESS_METHOD,
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
	foreach (lc, statements)
		paxos_ddl_run_text(lfirst(lc));
	AtEOXact_GUC(true, nest_level);
	CommandCounterIncrement();
}

void
paxos_partition_release(PaxosUtility *u, CreateStmt *stmt)
{
	ListCell *lc;
	ListCell *lk;

	foreach (lc, stmt->tableElts)
	{
		ColumnDef *column = lfirst(lc);

		foreach (lk, IsA(column, ColumnDef) ? column->constraints : NIL)
		{
			Oid table = sequence_of_partitioned(column->colname, lfirst_node(Constraint, lk));

			if (!OidIsValid(table) || !paxos_is_consensus_table(table) || !is_empty(table))
				continue;
			paxos_ddl_begin_statement(u, "CREATE TABLE");
			make_local(table);
		}
	}
}

static void
check_partition(Oid child, const PartitionCmd *p)
{
	if (!paxos_is_consensus_table(child))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("\"%s\" is not consensus-backed and cannot be a partition of a "
							   "table that is",
							   p->name->relname),
						errhint("Create it with CREATE TABLE ... USING paxos.")));
	paxos_ddl_refuse_kv(child, "ATTACH PARTITION");
}

/*
 * What goes its own way cannot draw from the sequence of the table that it leaves: each
 * node has named that by itself, and a newcomer may make it later than the table.
 */
static void
write_lost_default(StringInfo out, Relation rel, Form_pg_attribute att, List *below)
{
	Oid sequence = paxos_ddl_sequence_above(rel, att->attnum);

	if (!OidIsValid(sequence) || list_member_oid(below, paxos_consensus_owner(sequence)))
		return;
	append(out, psprintf("ALTER TABLE ONLY %s ALTER COLUMN %s DROP DEFAULT",
						 paxos_qualified_name(RelationGetRelid(rel)),
						 quote_identifier(NameStr(att->attname))));
	ereport(NOTICE, (errmsg("column \"%s\" of table \"%s\" loses its default, which draws "
							"from a sequence of \"%s\"",
							NameStr(att->attname), RelationGetRelationName(rel),
							get_rel_name(paxos_consensus_owner(sequence)))));
}

/* And what comes draws from it, as a partition does that is made with CREATE TABLE. */
static void
write_new_default(StringInfo out, Relation rel, Form_pg_attribute att, List *above)
{
	Oid sequence = InvalidOid;
	ListCell *lc;

	foreach (lc, att->atthasdef ? NIL : above)
	{
		Relation parent = table_open(lfirst_oid(lc), NoLock);
		AttrNumber attnum = get_attnum(lfirst_oid(lc), NameStr(att->attname));

		if (!OidIsValid(sequence) && attnum > 0)
			sequence = paxos_ddl_serial(parent, attnum);
		table_close(parent, NoLock);
	}
	if (OidIsValid(sequence))
		write_sequence(out, paxos_qualified_name(RelationGetRelid(rel)), NameStr(att->attname),
					   sequence);
}

/* Defaults of all columns below, when they come to 'table' or leave the tree. */
static void
write_defaults(StringInfo out, List *below, Oid table, bool attach)
{
	List *above = get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL;
	ListCell *lc;

	above = lcons_oid(table, above);
	foreach (lc, below)
	{
		Relation rel = table_open(lfirst_oid(lc), NoLock);

		for (int i = 0; i < RelationGetDescr(rel)->natts; i++)
		{
			Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), i);

			if (att->attisdropped)
				continue;
			if (attach)
				write_new_default(out, rel, att, above);
			else
				write_lost_default(out, rel, att, below);
		}
		table_close(rel, NoLock);
	}
}

void
paxos_partition_leave_out_defaults(CreateStmt *stmt)
{
	ListCell *lc;
	ListCell *lk;

	foreach (lc, stmt->tableElts)
	{
		ColumnDef *column = lfirst(lc);

		foreach (lk, IsA(column, ColumnDef) ? column->constraints : NIL)
		{
			Oid table = sequence_of_partitioned(column->colname, lfirst_node(Constraint, lk));

			if (!OidIsValid(table))
				continue;
			column->constraints = foreach_delete_current (column->constraints, lk);
			ereport(NOTICE, (errmsg("column \"%s\" gets its default from a sequence of \"%s\" when "
									"the table becomes a partition of it",
									column->colname, get_rel_name(table))));
		}
	}
}

bool
paxos_partition_alter(PaxosUtility *u, AlterTableStmt *stmt, Oid table)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	bool attach = cmd->subtype == AT_AttachPartition;
	PartitionCmd *p = castNode(PartitionCmd, cmd->def);
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	AlterTableStmt *changed;
	PaxosTrial trial;
	List *names = NIL;
	int64 bytes = 0;
	char *child_name = NULL;

	paxos_ddl_begin_statement(u, attach ? "ATTACH PARTITION" : "DETACH PARTITION");
	if (attach && becomes_local(table, p->name))
	{
		make_local(table);
		paxos_utility_next(u);
		return true;
	}
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");
	if (p->concurrent)
		paxos_ddl_not_supported("DETACH PARTITION CONCURRENTLY", "Use DETACH PARTITION.");
	op.kind = PAXOS_DDL_ALTER;
	op.flags = attach ? PAXOS_DDL_BESIDE : 0;
	op.owner = GetUserNameFromId(GetUserId(), false);

	changed = (AlterTableStmt *) paxos_utility_copy(&trial_u);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid child = RangeVarGetRelid(p->name, AccessShareLock, false);
		List *around;
		List *relids;
		List *below;
		List *before;
		StringInfoData out;
		int nest_level;

		check_partition(child, p);
		LockRelationOid(table, AccessShareLock);
		op.schema = paxos_schema_of(table);
		if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
			add_parent(&op, table);
		else
			paxos_tree_add(&op, table, false);
		paxos_tree_add(&op, child, true);
		around = paxos_tree_around(child);
		relids = list_concat_unique_oid(paxos_tree_around(table), around);
		below = paxos_tree_below(around, child);
		child_name = paxos_relation_name(child);
		bytes = attach ? bytes_below(child) : 0;
		paxos_copy_make(relids);
		before = paxos_partition_indexes(below);

		changed->relation = name_of_copy(table);
		castNode(PartitionCmd, linitial_node(AlterTableCmd, changed->cmds)->def)->name =
			name_of_copy(child);
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();

		nest_level = paxos_ddl_begin_writing_down();
		initStringInfo(&out);
		if (attach)
			paxos_partition_write_indexes(&out, InvalidOid, below, before, &names);
		else
			write_defaults(&out, below, table, false);
		append(&out, psprintf("ALTER TABLE %s %s PARTITION %s %s", paxos_qualified_name(table),
							  attach ? "ATTACH" : "DETACH", paxos_qualified_name(child),
							  attach ? paxos_ddl_write_bound(paxos_copy_of(child)) : ""));
		if (attach)
			write_defaults(&out, below, table, true);
		AtEOXact_GUC(true, nest_level);
		op.sql = out.data;
		paxos_ddl_check_dependencies(&op, paxos_copy_of(paxos_tree_top(table)), InvalidOid);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);

	return submit_tried(u, &op, CMDTAG_ALTER_TABLE, names, child_name, bytes);
}

/* ALTER INDEX ... ATTACH PARTITION: what pg_dump says of each. */
bool
paxos_partition_attach_index(PaxosUtility *u, AlterTableStmt *stmt, Oid index)
{
	PartitionCmd *p = castNode(PartitionCmd, linitial_node(AlterTableCmd, stmt->cmds)->def);
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	AlterTableStmt *changed;
	PaxosTrial trial;

	paxos_ddl_begin_statement(u, "ALTER INDEX ... ATTACH PARTITION");
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");
	op.kind = PAXOS_DDL_ALTER;
	op.owner = GetUserNameFromId(GetUserId(), false);

	changed = (AlterTableStmt *) paxos_utility_copy(&trial_u);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Oid child = RangeVarGetRelid(p->name, NoLock, false);
		Oid tables[2] = {IndexGetRelation(index, true), IndexGetRelation(child, true)};

		for (int i = 0; i < lengthof(tables); i++)
		{
			if (!OidIsValid(tables[i]) || !paxos_is_consensus_table(tables[i]))
				ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
								errmsg("\"%s\" is not an index of a consensus-backed table",
									   get_rel_name(i == 0 ? index : child))));
			LockRelationOid(tables[i], AccessShareLock);
			paxos_tree_add(&op, tables[i], false);
		}
		op.schema = paxos_schema_of(index);
		paxos_copy_make(
			list_concat_unique_oid(paxos_tree_around(tables[0]), paxos_tree_around(tables[1])));
		changed->relation = name_of_copy(index);
		castNode(PartitionCmd, linitial_node(AlterTableCmd, changed->cmds)->def)->name =
			name_of_copy(child);
		paxos_utility_next(&trial_u);
		op.sql = psprintf("ALTER INDEX %s ATTACH PARTITION %s", paxos_qualified_name(index),
						  paxos_qualified_name(child));
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
	return submit_tried(u, &op, CMDTAG_ALTER_INDEX, NIL, NULL, 0);
}

/* ------------------------------------------------------------------
 * A partitioned table becomes a consensus table
 * ------------------------------------------------------------------
 *
 * pg_dump says nothing of what kind a partitioned table is: it says CREATE TABLE, and when
 * all tables have been made, ATTACH PARTITION.  So where that is of a consensus table, and
 * the partitioned one is as it came from CREATE TABLE, a consensus table takes its place.
 */

/* A column of it that owns a sequence, as pg_dump makes it, will be serial. */
static void
write_owned_sequences(StringInfo out, Oid relid)
{
	ListCell *lc;

	foreach (lc, getOwnedSequences(relid))
	{
		Oid sequence = lfirst_oid(lc);
		Relation rel = table_open(relid, NoLock);
		Oid table;
		int32 column;

		if (sequenceIsOwned(sequence, DEPENDENCY_AUTO, &table, &column) &&
			!OidIsValid(paxos_ddl_serial(rel, (AttrNumber) column)))
			write_sequence(out, paxos_qualified_name(relid),
						   get_attname(relid, (AttrNumber) column, false), sequence);
		table_close(rel, NoLock);
	}
}

bool
paxos_partition_adopt(PaxosUtility *u, AlterTableStmt *stmt)
{
	AlterTableCmd *cmd = linitial_node(AlterTableCmd, stmt->cmds);
	PaxosDdlOp op = {0};
	PaxosTrial trial;
	List *names = NIL;
	Oid relid;
	Oid child;

	if (cmd->subtype != AT_AttachPartition)
		return false;
	relid = RangeVarGetRelid(stmt->relation, NoLock, true);
	child = RangeVarGetRelid(castNode(PartitionCmd, cmd->def)->name, NoLock, true);
	if (!OidIsValid(relid) || !OidIsValid(child) ||
		get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE || get_rel_relispartition(relid) ||
		get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT || paxos_is_consensus_table(relid) ||
		!paxos_is_consensus_table(child) || find_inheritance_children(relid, NoLock) != NIL ||
		!PaxosOwnsRelation(relid, GetUserId()))
		return false;

	paxos_ddl_begin_statement(u, "ATTACH PARTITION");
	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");
	op.kind = PAXOS_DDL_CREATE_TABLE;
	op.flags = PAXOS_DDL_TREE; /* and no tables */
	paxos_trial_begin(&trial);
	PG_TRY();
	{
		Relation rel = table_open(relid, AccessExclusiveLock);
		int nest_level = paxos_ddl_begin_writing_down();
		ObjectAddress object;
		StringInfoData out;
		ListCell *lc;

		op.schema = paxos_schema_name(RelationGetNamespace(rel));
		op.owner = GetUserNameFromId(rel->rd_rel->relowner, false);
		initStringInfo(&out);
		append(&out, paxos_ddl_write_table(relid, NULL, false, false, false));
		foreach (lc, RelationGetIndexList(rel))
		{
			if (!OidIsValid(get_index_constraint(lfirst_oid(lc))))
				append(&out, write_index(lfirst_oid(lc), paxos_qualified_name(relid)));
		}
		write_owned_sequences(&out, relid);
		op.sql = out.data;
		AtEOXact_GUC(true, nest_level);
		foreach (lc, paxos_ddl_names_taken(relid))
			names = note_name(names, RelationGetNamespace(rel), InvalidOid, lfirst(lc));
		paxos_ddl_check_dependencies(&op, relid, InvalidOid);
		table_close(rel, NoLock);

		/* It goes at the slot: nothing else may depend on it. */
		ObjectAddressSet(object, RelationRelationId, relid);
		performDeletion(&object, DROP_RESTRICT, 0);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);
	paxos_partition_ask(&op, names);
	ereport(NOTICE,
			(errmsg("partitioned table \"%s\" becomes consensus-backed, as its partition is",
					stmt->relation->relname)));
	(void) paxos_ddl_submit(&op);
	AcceptInvalidationMessages();
	return true;
}

/* ------------------------------------------------------------------
 * CREATE INDEX and DROP TABLE
 * ------------------------------------------------------------------
 */

void
paxos_partition_create_index(PaxosUtility *u, IndexStmt *stmt, Oid table, const char *name)
{
	PaxosDdlOp op = {0};
	PaxosUtility trial_u = *u;
	IndexStmt *copy;
	PaxosTrial trial;
	List *names = NIL;
	int64 bytes = 0;
	Oid nsp = get_rel_namespace(table);

	paxos_version_require(PAXOS_VERSION_DEFINITIONS, "partitioned consensus-backed tables");
	if (PaxosSchemaAclCheck(nsp, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA, get_namespace_name(nsp));
	op.kind = PAXOS_DDL_ALTER;
	op.schema = paxos_schema_name(nsp);
	op.owner = GetUserNameFromId(GetUserId(), false);
	copy = (IndexStmt *) paxos_utility_copy(&trial_u);

	paxos_trial_begin(&trial);
	PG_TRY();
	{
		List *around;
		List *below;
		List *before;
		StringInfoData out;
		int nest_level;

		LockRelationOid(table, AccessShareLock);
		paxos_tree_add(&op, table, true);
		around = paxos_tree_around(table);
		below = paxos_tree_below(around, table);
		bytes = bytes_below(table);
		paxos_copy_make(around);
		before = paxos_partition_indexes(below);

		copy->idxname = pstrdup(name);
		copy->relation = name_of_copy(table);
		copy->relation->inh = stmt->relation->inh;
		paxos_utility_next(&trial_u);
		CommandCounterIncrement();

		nest_level = paxos_ddl_begin_writing_down();
		initStringInfo(&out);
		paxos_partition_write_indexes(&out, table, below, before, &names);
		AtEOXact_GUC(true, nest_level);
		op.sql = out.data;
		paxos_ddl_check_dependencies(&op, paxos_copy_of(paxos_tree_top(table)), InvalidOid);
	}
	PG_CATCH();
	{
		paxos_trial_rethrow(&trial);
	}
	PG_END_TRY();
	paxos_trial_end(&trial);

	if (!submit_tried(u, &op, CMDTAG_CREATE_INDEX, names, paxos_relation_name(table), bytes))
	{
		CHECK_FOR_INTERRUPTS();
		AcceptInvalidationMessages();
		paxos_ddl_create_index(u, stmt, table);
	}
}

Oid *
paxos_partition_drop(PaxosDdlOp *op, const Oid *relids, int *n)
{
	int n_named = op->n_tables;
	List *goes = NIL;
	Oid *result;
	ListCell *lc;

	op->n_tables = 0;
	op->table_ids = NULL;
	for (int i = 0; i < n_named; i++)
	{
		Oid parent = parent_of(relids[i]);

		if (OidIsValid(parent))
			add_parent(op, parent);
		paxos_tree_add(op, relids[i], true);
		goes = list_concat_unique_oid(goes, find_all_inheritors(relids[i], NoLock, NULL));
	}
	result = palloc_array(Oid, list_length(goes));
	foreach (lc, goes)
		result[foreach_current_index(lc)] = lfirst_oid(lc);
	*n = list_length(goes);
	return result;
}
