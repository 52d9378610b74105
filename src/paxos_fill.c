/*
 * paxos_fill.c
 *	  The rows of a table that becomes a consensus table, at its slot, on every node: also
 *	  on the one where they come from.
 *
 * The rows have come before, in parts (paxos_part.c), of which one at a time is in
 * memory.  They go into a new file, and then the indexes are built: so what rows do not
 * allow comes up on every node alike, and there is one answer to it.  The node that had
 * the table keeps its relation and gets a new file too.  If it kept the old one, an index
 * that is damaged there, or values compressed in a way that fits into an index entry there
 * and nowhere else, would stop the learners of all others for ever.
 *
 * Constraints are not checked again, and generated columns are taken as they come: as in
 * write sets.
 *
 * Rows are frozen: a transaction whose snapshot is older than the slot has seen the table
 * filled on one node, and must not find it empty.
 *
 * No state; a crash rolls all of it back with the slot.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_compat.h"
#include "paxos_ddl_int.h"
#include "paxos_part.h"

typedef struct Filling
{
	Relation rel;
	TupleTableSlot *row;
	FmgrInfo *input; /* by column */
	Oid *ioparam;
	BulkInsertState bulk;
} Filling;

static void
prepare(Filling *f)
{
	TupleDesc desc = RelationGetDescr(f->rel);

	f->row = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	f->input = palloc0(sizeof(FmgrInfo) * desc->natts);
	f->ioparam = palloc0(sizeof(Oid) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Oid input;

		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		getTypeInputInfo(TupleDescAttr(desc, i)->atttypid, &input, &f->ioparam[i]);
		fmgr_info(input, &f->input[i]);
	}
	f->bulk = GetBulkInsertState();
}

static void
put_row(Filling *f, const PaxosSetRow *row)
{
	TupleDesc desc = RelationGetDescr(f->rel);

	ExecClearTuple(f->row);
	memset(f->row->tts_isnull, true, sizeof(bool) * desc->natts);
	for (int i = 0; i < row->n_row; i++)
	{
		const PaxosColumn *c = &row->row[i];
		int at = c->attnum - 1;

		if (c->attnum > desc->natts || TupleDescAttr(desc, at)->attisdropped)
			elog(ERROR, "the rows of table \"%s\" have a column %d, which it has not",
				 RelationGetRelationName(f->rel), c->attnum);
		if (c->isnull)
			continue;
		f->row->tts_values[at] = InputFunctionCall(&f->input[at], c->text, f->ioparam[at],
												   TupleDescAttr(desc, at)->atttypmod);
		f->row->tts_isnull[at] = false;
	}
	ExecStoreVirtualTuple(f->row);
	table_tuple_insert(f->rel, f->row, GetCurrentCommandId(true), TABLE_INSERT_FROZEN, f->bulk);
	ExecClearTuple(f->row);
}

static void
put_rows(Filling *f, const PaxosReplicated *r, px_node origin, uint64 set, uint32 n_parts)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext part_cxt = AllocSetContextCreate(caller, "paxos part", ALLOCSET_DEFAULT_SIZES);
	MemoryContext row_cxt = AllocSetContextCreate(caller, "paxos row", ALLOCSET_DEFAULT_SIZES);

	for (uint32 number = 1; number <= n_parts; number++)
	{
		PaxosWriteSet body;

		MemoryContextReset(part_cxt);
		MemoryContextSwitchTo(part_cxt);
		(void) paxos_part_read(r, origin, set, number, false, &body);
		MemoryContextSwitchTo(row_cxt);
		for (int i = 0; i < body.n_rows; i++)
		{
			CHECK_FOR_INTERRUPTS();
			put_row(f, &body.rows[i]);
			MemoryContextReset(row_cxt);
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row_cxt);
	MemoryContextDelete(part_cxt);
}

static void
fill(Oid relid, const PaxosReplicated *r, px_node origin, uint64 set, uint32 n_parts)
{
	Filling f = {table_open(relid, NoLock)};

	prepare(&f);
	put_rows(&f, r, origin, set, n_parts);
	FreeBulkInsertState(f.bulk);
	table_finish_bulk_insert(f.rel, TABLE_INSERT_FROZEN);
	ExecDropSingleTupleTableSlot(f.row);
	table_close(f.rel, NoLock);
	CommandCounterIncrement();
	PaxosReindexRelation(relid, 0);
	CommandCounterIncrement();
}

void
paxos_fill_table(Oid relid, const PaxosReplicated *r, px_node origin, uint64 set, uint32 n_parts)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);

	/* what indexes compute is the owner's */
	SetUserIdAndSecContext(paxos_ddl_owner_of(relid),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	PG_TRY();
	{
		fill(relid, r, origin, set, n_parts);
	}
	PG_CATCH();
	{
		ErrorData *error;

		if (!paxos_ddl_is_data_error(geterrcode()))
			PG_RE_THROW();

		/* Which row or index is met first differs between nodes; the answer must not. */
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		SetUserIdAndSecContext(user, security);
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("the rows of table \"%s\" do not fit into a consensus-backed table",
							   get_rel_name(relid)),
						errdetail("%s.", error->message)));
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
}
