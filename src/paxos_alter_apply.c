/*
 * paxos_alter_apply.c
 *	  Statements that change the definition of consensus tables, or say something about
 *	  them, at their slot (protocol.md § 6).
 *
 * A command has one statement or several; the n-th is about the n-th of its tables, or
 * the last.  What a statement calls its table counts for nothing: the table is known by
 * its number, an index or constraint by its name in the table's schema, a sequence by the
 * column that owns it, for each node has named it by itself.
 *
 * Every table is locked already, and is as it was when the statement was tried
 * (paxos_ddl_apply.c).  So what fails here is caused by the rows, which are the same on
 * every node, or by other consensus tables (a name is taken), or is trouble of this node.
 * Which row fails first depends on their order on this node's disk: the SQLSTATE that all
 * nodes must answer alike follows from the statement.
 *
 * Expressions of the owner's (a new column's default, a CHECK, USING) run as the owner,
 * in a security-restricted operation.
 *
 * No state; what a crash interrupts is rolled back with the slot's transaction.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/sequence.h"
#include "commands/tablecmds.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_fkey.h"
#include "paxos_object.h"

/* Never returns. */
static void refuse_rows(Node *stmt, Oid table, ErrorData *error) pg_attribute_noreturn();

/* ------------------------------------------------------------------
 * Names of this node
 * ------------------------------------------------------------------
 */

/* An index by its name beside the table, which every node has. */
static Oid
index_of(Oid table, const char *name)
{
	Oid index = get_relname_relid(name, get_rel_namespace(table));

	if (!OidIsValid(index) || IndexGetRelation(index, true) != table)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s\" has no index \"%s\" on this node", get_rel_name(table),
							   name)));
	return index;
}

/*
 * The first table that has it: one of that name in a schema of that name; or of that name,
 * for a schema may be called otherwise here; or with an index of that name, likewise.
 */
Oid
paxos_alter_table_named(const PaxosDdlOp *op, const RangeVar *rv, Oid made)
{
	for (int pass = 0; pass < 4; pass++)
	{
		for (int i = 0; i <= op->n_tables; i++)
		{
			Oid relid = i < op->n_tables ? paxos_table_relid(op->table_ids[i]) : made;
			Oid nsp = OidIsValid(relid) ? get_rel_namespace(relid) : InvalidOid;
			Oid found = OidIsValid(nsp) ? get_relname_relid(rv->relname, nsp) : InvalidOid;

			if (!OidIsValid(found) || (pass < 2 ? found : IndexGetRelation(found, true)) != relid ||
				(pass % 2 == 0 && strcmp(paxos_schema_name(nsp), rv->schemaname) != 0))
				continue;
			return relid;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("none of the statement's tables has a table or index \"%s\" on this node",
					rv->relname)));
	return InvalidOid;
}

static Oid
sequence_of(Oid table, const char *column)
{
	Oid sequence = paxos_ddl_sequence_of(table, get_attnum(table, column));

	if (!OidIsValid(sequence))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("column \"%s\" of table \"%s\" has no sequence on this node", column,
							   get_rel_name(table))));
	return sequence;
}

static List *
names_of(Oid relid)
{
	return list_make2(makeString(paxos_schema_of(relid)), makeString(paxos_relation_name(relid)));
}

static void
name_must_be_free(const char *name, Oid nsp)
{
	Oid existing = paxos_ddl_holder_of_name(name, nsp);

	if (OidIsValid(existing))
		paxos_ddl_name_taken(name, existing);
}

/* ------------------------------------------------------------------
 * Statement by statement
 * ------------------------------------------------------------------
 */

bool
paxos_drops_constraint(List *cmds, const char *constraint)
{
	ListCell *lc;

	foreach (lc, cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);

		if (cmd->subtype == AT_DropConstraint && strcmp(cmd->name, constraint) == 0)
			return true;
	}
	return false;
}

/* Does the column get its own sequence for its default (paxos_sequence.c, make_serial())? */
static char *
own_sequence_named(AlterTableCmd *cmd)
{
	FuncCall *f = (FuncCall *) cmd->def;
	TypeCast *cast;

	if (cmd->subtype != AT_ColumnDefault || f == NULL || !IsA(f, FuncCall) ||
		list_length(f->args) != 1 || strcmp(strVal(llast(f->funcname)), "nextval") != 0)
		return NULL;
	cast = linitial(f->args);
	if (!IsA(cast, TypeCast) || !IsA(cast->arg, A_Const) ||
		strcmp(strVal(llast(cast->typeName->names)), "regclass") != 0)
		return NULL;
	return makeRangeVarFromNameList(
			   textToQualifiedNameList(cstring_to_text(strVal(&((A_Const *) cast->arg)->val))))
		->relname;
}

/*
 * The column's sequence on this node.  One of that name that nobody owns or uses, as where
 * the statement was issued, becomes it; else it is made, and if the name is taken under
 * another: each node names its sequences by itself.
 */
static Oid
take_sequence(Oid table, AttrNumber attnum, const char *name)
{
	Oid nsp = get_rel_namespace(table);
	Oid existing = paxos_ddl_holder_of_name(name, nsp);
	Relation rel = table_open(table, NoLock);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	List *owner = lappend(names_of(table), makeString(pstrdup(NameStr(att->attname))));
	DefElem *owned_by = makeDefElem("owned_by", (Node *) owner, -1);
	Oid sequence;

	if (OidIsValid(existing) && paxos_ddl_may_take_sequence(existing, rel->rd_rel->relowner) &&
		paxos_lock_for_apply(existing, AccessExclusiveLock))
	{
		AlterSeqStmt *alter = makeNode(AlterSeqStmt);

		alter->sequence = paxos_range_var(existing);
		alter->options = list_make1(owned_by);
		sequence = AlterSequence(make_parsestate(NULL), alter).objectId;
	}
	else
	{
		CreateSeqStmt *create = makeNode(CreateSeqStmt);

		create->sequence =
			makeRangeVar(paxos_schema_name(nsp),
						 OidIsValid(existing) ? ChooseRelationName(name, NULL, "seq", nsp, false)
											  : pstrdup(name),
						 -1);
		create->options = list_make2(
			makeDefElem("as", (Node *) makeTypeNameFromOid(att->atttypid, -1), -1), owned_by);
		create->ownerId = rel->rd_rel->relowner;
		sequence = DefineSequence(make_parsestate(NULL), create).objectId;
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
	return sequence;
}

static Node *
bind_sequence(AlterTableCmd *cmd, Oid table, const char *name)
{
	AttrNumber attnum = get_attnum(table, cmd->name);
	Oid sequence = paxos_ddl_sequence_of(table, attnum);
	AlterTableStmt *stmt;
	ListCell *lc;

	/* A partition draws from the sequence of its parent (paxos_partition.c). */
	foreach (lc, get_rel_relispartition(table) ? get_partition_ancestors(table) : NIL)
	{
		if (!OidIsValid(sequence))
			sequence = paxos_ddl_sequence_of(lfirst_oid(lc), get_attnum(lfirst_oid(lc), cmd->name));
	}
	if (!OidIsValid(sequence))
		sequence = take_sequence(table, attnum, name);
	stmt = (AlterTableStmt *) paxos_ddl_parse_one(
		psprintf(
			"ALTER TABLE x ALTER COLUMN x SET DEFAULT pg_catalog.nextval(%s::pg_catalog.regclass)",
			quote_literal_cstr(paxos_qualified_name(sequence))),
		T_AlterTableStmt);
	return linitial_node(AlterTableCmd, stmt->cmds)->def;
}

/* The sequence of a new identity column, by the name it has elsewhere if that is free. */
static void
bind_identity(Constraint *c, Oid table)
{
	Oid nsp = get_rel_namespace(table);
	ListCell *lc;

	foreach (lc, c->options)
	{
		DefElem *e = lfirst_node(DefElem, lc);
		char *name;

		if (strcmp(e->defname, "sequence_name") != 0)
			continue;
		name = strVal(llast(castNode(List, e->arg)));
		if (OidIsValid(paxos_ddl_holder_of_name(name, nsp)))
			c->options = foreach_delete_current (c->options, lc);
		else
			e->arg = (Node *) list_make2(makeString(paxos_schema_name(nsp)), makeString(name));
	}
}

bool
paxos_switches_trigger(const AlterTableCmd *cmd)
{
	switch (cmd->subtype)
	{
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
			return true;
		default:
			return false;
	}
}

/* The other table or index of ATTACH and DETACH PARTITION. */
static void
bind_partition(const PaxosDdlOp *op, PartitionCmd *p, Oid made, bool index)
{
	Oid relid = paxos_alter_table_named(op, p->name, made);

	p->name = paxos_range_var(index ? index_of(relid, p->name->relname) : relid);
}

static void
bind_alter(const PaxosDdlOp *op, AlterTableStmt *stmt, Oid table, Oid made)
{
	bool inh = stmt->relation->inh;
	ListCell *lc;

	stmt->relation = paxos_range_var(
		stmt->objtype == OBJECT_INDEX ? index_of(table, stmt->relation->relname) : table);
	stmt->relation->inh = inh;
	foreach (lc, stmt->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		Constraint *c = (Constraint *) cmd->def;

		/* The index of a new key has a name that something else may have taken. */
		if (cmd->subtype == AT_AddConstraint && c->indexname == NULL && paxos_ddl_has_index(c) &&
			!paxos_drops_constraint(stmt->cmds, c->conname))
			name_must_be_free(c->conname, get_rel_namespace(table));
		if (cmd->subtype == AT_AddIdentity)
			bind_identity(c, table);

		if (cmd->subtype == AT_AlterColumnType)
			paxos_object_check_column(table, cmd->name, true);

		/* CREATE and DROP TRIGGER do not count as changes of the definition. */
		if (cmd->name != NULL && paxos_switches_trigger(cmd) &&
			!OidIsValid(get_trigger_oid(table, cmd->name, true)))
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
							errmsg("trigger \"%s\" for table \"%s\" does not exist", cmd->name,
								   get_rel_name(table)),
							paxos_err_decided()));
		if (own_sequence_named(cmd) != NULL)
			cmd->def = bind_sequence(cmd, table, own_sequence_named(cmd));
		if (cmd->subtype == AT_AttachPartition || cmd->subtype == AT_DetachPartition)
			bind_partition(op, castNode(PartitionCmd, cmd->def), made,
						   stmt->objtype == OBJECT_INDEX);
	}
}

static void
bind_rename(RenameStmt *stmt, Oid table)
{
	switch (stmt->renameType)
	{
		case OBJECT_INDEX:
			stmt->relation = paxos_range_var(index_of(table, stmt->relation->relname));
			name_must_be_free(stmt->newname, get_rel_namespace(table));
			break;
		case OBJECT_TABLE:
			stmt->relation = paxos_range_var(table);
			name_must_be_free(stmt->newname, get_rel_namespace(table));
			break;
		case OBJECT_TABCONSTRAINT:
			stmt->relation = paxos_range_var(table);

			/* a key's index is renamed with it */
			if (OidIsValid(get_relname_relid(stmt->subname, get_rel_namespace(table))))
				name_must_be_free(stmt->newname, get_rel_namespace(table));
			break;
		default:
			stmt->relation = paxos_range_var(table);
			break;
	}
}

static Oid
type_named(const char *name, Oid nsp)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(nsp));
}

/* A name for something of the table's that nothing has in either schema. */
static char *
name_free_in_both(Oid table, const char *label, Oid nsp)
{
	Oid nsps[] = {get_rel_namespace(table), nsp};

	for (int i = 1;; i++)
	{
		char *name = makeObjectName(paxos_relation_name(table), psprintf("%d", i), label);
		bool taken = false;

		for (int j = 0; j < lengthof(nsps); j++)
			taken |= OidIsValid(get_relname_relid(name, nsps[j])) ||
					 OidIsValid(type_named(name, nsps[j]));
		if (!taken)
			return name;
	}
}

/*
 * What each node has named by itself goes along with the table: sequences, and the array
 * type of its rows.  Their names must decide nothing, for they are not the same
 * everywhere; and one that is taken, by something of another consensus table perhaps,
 * would keep every learner at this slot for ever.  So they give way.
 */
static void
make_way(Oid table, Oid nsp)
{
	Oid array = get_array_type(get_rel_type_id(table));
	Oid type = type_named(paxos_relation_name(table), nsp);
	HeapTuple tuple;
	ListCell *lc;

	/* The array type of another table that has the name of our row type; what else has
	 * it is of this node alone. */
	if (OidIsValid(type))
	{
		(void) moveArrayTypeName(type, paxos_relation_name(table), nsp);
		CommandCounterIncrement();
	}

	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(array));
	if (HeapTupleIsValid(tuple))
	{
		bool taken =
			OidIsValid(type_named(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), nsp));

		ReleaseSysCache(tuple);
		if (taken)
			RenameTypeInternal(array, name_free_in_both(table, "array", nsp),
							   get_rel_namespace(table));
	}

	foreach (lc, getOwnedSequences(table))
	{
		Oid sequence = lfirst_oid(lc);

		if (OidIsValid(paxos_ddl_holder_of_name(paxos_relation_name(sequence), nsp)))
			RenameRelationInternal(sequence, name_free_in_both(table, "seq", nsp), false, false);
		CommandCounterIncrement();
	}
	CommandCounterIncrement();
}

static void
bind_schema(AlterObjectSchemaStmt *stmt, Oid table)
{
	Oid nsp = paxos_ddl_schema_here(stmt->newschema);
	ListCell *lc;

	stmt->relation = paxos_range_var(table);
	if (nsp == get_rel_namespace(table))
		return;
	foreach (lc, paxos_ddl_names_taken(table))
		name_must_be_free(lfirst(lc), nsp);
	make_way(table, nsp);
}

static void
bind_comment(CommentStmt *stmt, Oid table)
{
	List *names = castNode(List, stmt->object);
	Node *last = llast(names);

	switch (stmt->objtype)
	{
		case OBJECT_TABLE:
			stmt->object = (Node *) names_of(table);
			break;
		case OBJECT_INDEX:
			stmt->object = (Node *) names_of(index_of(table, strVal(last)));
			break;
		default: /* a column, a constraint, a trigger, a policy */
			stmt->object = (Node *) lappend(names_of(table), last);
			break;
	}
}

static void
bind_grant(GrantStmt *stmt, Oid table)
{
	if (stmt->objtype == OBJECT_SEQUENCE)
		table = sequence_of(table, linitial_node(RangeVar, stmt->objects)->relname);
	stmt->objects = list_make1(paxos_range_var(table));
}

static void
bind_drop(DropStmt *stmt, Oid table)
{
	List *names = linitial_node(List, stmt->objects);

	if (stmt->removeType != OBJECT_POLICY)
		elog(ERROR, "DROP of something unknown");
	stmt->objects = list_make1(lappend(names_of(table), llast(names)));
}

static void
bind_index(IndexStmt *stmt, Oid table)
{
	bool inh = stmt->relation->inh;

	stmt->relation = paxos_range_var(table);
	stmt->relation->inh = inh;
	name_must_be_free(stmt->idxname, get_rel_namespace(table));
}

static void
bind(const PaxosDdlOp *op, Node *stmt, Oid table, Oid made)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			bind_alter(op, (AlterTableStmt *) stmt, table, made);
			break;
		case T_IndexStmt:
			bind_index((IndexStmt *) stmt, table);
			break;
		case T_RenameStmt:
			bind_rename((RenameStmt *) stmt, table);
			break;
		case T_AlterObjectSchemaStmt:
			bind_schema((AlterObjectSchemaStmt *) stmt, table);
			break;
		case T_CommentStmt:
			bind_comment((CommentStmt *) stmt, table);
			break;
		case T_GrantStmt:
			bind_grant((GrantStmt *) stmt, table);
			break;
		case T_CreatePolicyStmt:
			((CreatePolicyStmt *) stmt)->table = paxos_range_var(table);
			break;
		case T_DropStmt: /* of a policy */
			bind_drop((DropStmt *) stmt, table);
			break;
		default:
			elog(ERROR, "statement of an unknown kind %d", (int) nodeTag(stmt));
	}
}

/* ------------------------------------------------------------------
 * What the rows do not allow
 * ------------------------------------------------------------------
 */

static bool
without_default(ColumnDef *column)
{
	ListCell *lc;

	foreach (lc, column->constraints)
	{
		if (lfirst_node(Constraint, lc)->contype != CONSTR_NOTNULL)
			return false;
	}
	return true;
}

static int
sqlstate_of_constraint(const Constraint *c)
{
	ListCell *lc;

	switch (c->contype)
	{
		case CONSTR_CHECK:
			return ERRCODE_CHECK_VIOLATION;
		case CONSTR_UNIQUE:
			return ERRCODE_UNIQUE_VIOLATION;
		case CONSTR_EXCLUSION:
			if (c->where_clause != NULL)
				return ERRCODE_DATA_EXCEPTION;
			foreach (lc, c->exclusions)
			{
				if (linitial_node(IndexElem, lfirst_node(List, lc))->expr != NULL)
					return ERRCODE_DATA_EXCEPTION;
			}
			return ERRCODE_EXCLUSION_VIOLATION;
		default:
			/* nulls in a new primary key are found when its index is complete */
			return ERRCODE_DATA_EXCEPTION;
	}
}

/* As of one on a table that is not partitioned (paxos_ddl_apply.c). */
static int
sqlstate_of_index(IndexStmt *stmt)
{
	ListCell *lc;

	if (stmt->whereClause != NULL)
		return ERRCODE_DATA_EXCEPTION;
	foreach (lc, stmt->indexParams)
	{
		if (lfirst_node(IndexElem, lc)->expr != NULL)
			return ERRCODE_DATA_EXCEPTION;
	}
	return stmt->unique ? ERRCODE_UNIQUE_VIOLATION : ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* The one SQLSTATE that the rows can cause, or a general one if there are several. */
static int
sqlstate_of(Node *node, Oid table)
{
	int state = 0;
	ListCell *lc;

	if (IsA(node, IndexStmt))
		return sqlstate_of_index((IndexStmt *) node);
	if (!IsA(node, AlterTableStmt))
		return ERRCODE_DATA_EXCEPTION;
	foreach (lc, ((AlterTableStmt *) node)->cmds)
	{
		AlterTableCmd *cmd = lfirst_node(AlterTableCmd, lc);
		int one = 0;

		switch (cmd->subtype)
		{
			case AT_SetNotNull:
				one = ERRCODE_NOT_NULL_VIOLATION;
				break;
			case AT_AddConstraint:
				one = sqlstate_of_constraint((Constraint *) cmd->def);
				break;
			case AT_ValidateConstraint:
				one = paxos_is_foreign_key(table, cmd->name) ? ERRCODE_FOREIGN_KEY_VIOLATION
															 : ERRCODE_CHECK_VIOLATION;
				break;
			case AT_AttachPartition:
				one = ERRCODE_CHECK_VIOLATION;
				break;
			case AT_AddColumn:
				one = without_default((ColumnDef *) cmd->def) ? ERRCODE_NOT_NULL_VIOLATION
															  : ERRCODE_DATA_EXCEPTION;
				break;
			case AT_AlterColumnType:
				one = ERRCODE_DATA_EXCEPTION;
				break;
			default:
				break;
		}
		if (one != 0)
			state = state == 0 || state == one ? one : ERRCODE_DATA_EXCEPTION;
	}
	return state == 0 ? ERRCODE_DATA_EXCEPTION : state;
}

static bool
adds_primary_key_alone(Node *node)
{
	AlterTableCmd *cmd;

	if (!IsA(node, AlterTableStmt) || list_length(((AlterTableStmt *) node)->cmds) != 1)
		return false;
	cmd = linitial_node(AlterTableCmd, ((AlterTableStmt *) node)->cmds);
	return cmd->subtype == AT_AddConstraint && ((Constraint *) cmd->def)->contype == CONSTR_PRIMARY;
}

static void
refuse_rows(Node *stmt, Oid table, ErrorData *error)
{
	int state = sqlstate_of(stmt, table);

	if (paxos_error_of_catalogs(error))
		ReThrowError(error);
	if (adds_primary_key_alone(stmt) && (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
										 error->sqlerrcode == ERRCODE_NOT_NULL_VIOLATION))
		state = error->sqlerrcode;
	if (state == error->sqlerrcode)
	{
		/* which row it is may be another elsewhere */
		if (error->detail != NULL && state != ERRCODE_UNIQUE_VIOLATION &&
			state != ERRCODE_EXCLUSION_VIOLATION)
			error->detail = NULL;
		ReThrowError(error);
	}
	ereport(ERROR, (errcode(state),
					errmsg("the rows of table \"%s\" do not allow the change of its definition",
						   get_rel_name(table)),
					errdetail("%s.", error->message)));
}

static void
refuse_if_filled(Oid table)
{
	Relation rel;
	TupleTableSlot *row;
	Snapshot snapshot;
	TableScanDesc scan;
	bool filled;

	if (get_rel_relkind(table) == RELKIND_PARTITIONED_TABLE)
		return;
	rel = table_open(table, NoLock);
	row = table_slot_create(rel, NULL);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);
	filled = table_scan_getnextslot(scan, ForwardScanDirection, row);

	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(row);
	table_close(rel, NoLock);
	if (filled)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("a column with a volatile default cannot be added to consensus-backed table "
					"\"%s\", which has rows",
					get_rel_name(table)),
			 errdetail("Each node would compute other values for them."),
			 errhint("Add the column without it, set the default, and UPDATE the rows."),
			 paxos_err_decided()));
}

/* ------------------------------------------------------------------
 * Carrying out
 * ------------------------------------------------------------------
 */

/*
 * Privileges on consensus tables are changed by the log alone, so that every node finds
 * here what an earlier slot has taken from who grants by a grant option; if it were
 * no answer, two such statements at once would hold up every learner.  That he cannot
 * look into the schema is another matter, and trouble of this node.
 */
static bool
needs_grant_option(const PaxosDdlOp *op, Node *stmt, Oid table)
{
	return IsA(stmt, GrantStmt) && (op->flags & PAXOS_DDL_AS_OWNER) != 0 &&
		   PaxosSchemaAclCheck(get_rel_namespace(table), paxos_ddl_role_here(op->owner),
							   ACL_USAGE) == ACLCHECK_OK;
}

static void
run_one(const PaxosDdlOp *op, Node *stmt, Oid table)
{
	MemoryContext caller = CurrentMemoryContext;
	bool may_lack_option = needs_grant_option(op, stmt, table);
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	if ((op->flags & PAXOS_DDL_AS_OWNER) != 0)
		SetUserIdAndSecContext(paxos_ddl_role_here(op->owner), security |
																   SECURITY_LOCAL_USERID_CHANGE |
																   SECURITY_RESTRICTED_OPERATION);
	PG_TRY();
	{
		paxos_ddl_run_statement(stmt, op->sql);
	}
	PG_CATCH();
	{
		ErrorData *error;

		/* Only what is replicated can depend on a consensus table (paxos_guard.c). */
		if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
			(void) paxos_err_decided();
		if (may_lack_option && geterrcode() == ERRCODE_INSUFFICIENT_PRIVILEGE)
		{
			(void) errcode(ERRCODE_T_R_SERIALIZATION_FAILURE); /* it is tried again, and refused */
			(void) paxos_err_decided();
		}
		if (!paxos_ddl_is_data_error(geterrcode()))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		SetUserIdAndSecContext(user, security);
		refuse_rows(stmt, table, error);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
}

/* What ends or remakes a foreign key needs the table at its other end. */
static List *
lock_partners(Node *stmt, Oid table)
{
	bool needed = false;
	List *partners;
	ListCell *lc;

	if (!IsA(stmt, AlterTableStmt))
		return NIL;
	foreach (lc, ((AlterTableStmt *) stmt)->cmds)
	{
		AlterTableType type = lfirst_node(AlterTableCmd, lc)->subtype;

		needed |= type == AT_DropConstraint || type == AT_DropColumn || type == AT_AlterColumnType;
	}
	if (!needed)
		return NIL;
	partners = paxos_fkey_partners(table);
	foreach (lc, partners)
		(void) paxos_lock_for_apply(lfirst_oid(lc), AccessExclusiveLock);
	return partners;
}

static void
apply_settings(const PaxosDdlOp *op)
{
	for (int i = 0; i < op->n_settings; i++)
		(void) set_config_option(op->settings[2 * i], op->settings[2 * i + 1], PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, ERROR, false);
}

void
paxos_alter_run_on(const PaxosDdlOp *op, Oid copy)
{
	List *statements = raw_parser(op->sql, RAW_PARSE_DEFAULT);
	ListCell *lc;

	apply_settings(op);
	foreach (lc, statements)
	{
		Node *stmt = lfirst_node(RawStmt, lc)->stmt;

		bind(op, stmt, copy, InvalidOid);
		run_one(op, stmt, copy);
		CommandCounterIncrement();
	}
}

static void
apply_statement(const PaxosDdlOp *op, Node *stmt, Oid table, Oid made)
{
	List *sequences = getOwnedSequences(table);
	ListCell *lc;

	if (!paxos_sequence_apply(stmt, table))
	{
		bind(op, stmt, table, made);
		run_one(op, stmt, table);
	}
	foreach (lc, getOwnedSequences(table))
	{
		if (!list_member_oid(sequences, lfirst_oid(lc)))
			paxos_ddl_spread_sequence(lfirst_oid(lc), PG_INT64_MIN);
	}
	CacheInvalidateRelcacheByRelid(table);
	CommandCounterIncrement();
}

static const RangeVar *
relation_of(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			return ((AlterTableStmt *) stmt)->relation;
		case T_RenameStmt:
			return ((RenameStmt *) stmt)->relation;
		case T_IndexStmt:
			return ((IndexStmt *) stmt)->relation;
		default:
			elog(ERROR, "statement of an unknown kind %d", (int) nodeTag(stmt));
			return NULL;
	}
}

List *
paxos_alter_run(const PaxosDdlOp *op, List *statements, Oid made)
{
	List *partners = NIL;
	ListCell *lc;

	/* What may be used meanwhile has its indexes opened, but not changed. */
	for (int i = 0; i < op->n_tables; i++)
	{
		Oid relid = paxos_table_relid(op->table_ids[i]);

		if (i > 0 || (op->flags & PAXOS_DDL_BESIDE) == 0)
			paxos_ddl_lock_parts(relid);
		foreach (lc, statements)
			partners = list_concat_unique_oid(partners,
											  lock_partners(lfirst_node(RawStmt, lc)->stmt, relid));
	}
	foreach (lc, statements)
	{
		Node *stmt = lfirst_node(RawStmt, lc)->stmt;

		apply_statement(op, stmt, paxos_alter_table_named(op, relation_of(stmt), made), made);
	}
	return partners;
}

List *
paxos_alter_apply(const PaxosDdlOp *op)
{
	List *statements = raw_parser(op->sql, RAW_PARSE_DEFAULT);
	List *partners = NIL;
	ListCell *lc;

	if (op->n_tables == 0)
		elog(ERROR, "a statement without a table: %s", op->sql);
	if ((op->flags & PAXOS_DDL_EMPTY) != 0)
	{
		for (int i = 0; i < op->n_tables; i++)
			refuse_if_filled(paxos_table_relid(op->table_ids[i]));
	}
	apply_settings(op);
	if ((op->flags & PAXOS_DDL_TREE) != 0)
		return paxos_alter_run(op, statements, InvalidOid);
	foreach (lc, statements)
	{
		Node *stmt = lfirst_node(RawStmt, lc)->stmt;
		Oid table =
			paxos_table_relid(op->table_ids[Min(foreach_current_index(lc), op->n_tables - 1)]);

		if (op->kind == PAXOS_DDL_ALTER)
		{
			paxos_ddl_lock_parts(table);
			partners = list_concat_unique_oid(partners, lock_partners(stmt, table));
		}
		apply_statement(op, stmt, table, InvalidOid);
	}
	return partners;
}
