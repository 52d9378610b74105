/*
 * paxos_part_send.c
 *	  Rows on their way into the log, in parts, where a session sends them: those of a write
 *	  set (paxos_set.c), and those of a table that becomes a consensus table
 *	  (paxos_become.c).
 *
 * Owns: how a row is described; how much of them is held in memory before it is sent.  Not
 * its business: which rows, and in what order; what becomes of parts (paxos_part.c).
 *
 * State: the caller's.  Who fails has sent parts that mean nothing without what names their
 * number, and are forgotten when it says so, or after a while.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

#include "paxos_part.h"
#include "paxos_queue.h"
#include "paxos_text.h"

/* The least that is left for a command's own bytes. */
#define COMMAND_HEAD_BYTES 1024

/* What a column takes beside its text. */
#define COLUMN_BYTES 7

uint64
paxos_part_new_set(void)
{
	uint64 set;

	if (!pg_strong_random(&set, sizeof(set)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not get random bytes")));
	return set;
}

Size
paxos_part_put_column(PaxosColumn *out, AttrNumber attnum, FmgrInfo *outputs, Datum value,
					  bool isnull)
{
	out->attnum = attnum;
	out->op = 0;
	out->isnull = isnull;
	out->text = isnull ? "" : paxos_fixed_output(&outputs[attnum - 1], value);
	return COLUMN_BYTES + strlen(out->text);
}

Size
paxos_part_put_row(PaxosSetRow *out, TupleTableSlot *row, FmgrInfo *outputs)
{
	TupleDesc desc = row->tts_tupleDescriptor;
	Size bytes = 0;

	out->n_row = 0;
	out->row = palloc(sizeof(PaxosColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		bool isnull;
		Datum value;

		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		value = slot_getattr(row, i + 1, &isnull);
		bytes += paxos_part_put_column(&out->row[out->n_row++], (AttrNumber) (i + 1), outputs,
									   value, isnull);
	}
	return bytes;
}

void
paxos_part_check_row(const char *table, Size bytes)
{
	const int most = PX_MAX_COMMAND_BYTES - COMMAND_HEAD_BYTES;

	if (bytes > (Size) most)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("row of table \"%s\" is too large for the replicated log", table),
						errdetail("It takes %zu bytes; a row may have %d.", bytes, most),
						errhint("Divide the value among several rows.")));
}

void
paxos_part_begin_rows(PaxosPartRows *rows, MemoryContext parent)
{
	memset(rows, 0, sizeof(*rows));
	rows->cxt = AllocSetContextCreate(parent, "paxos rows", ALLOCSET_DEFAULT_SIZES);
}

bool
paxos_part_has_room(const PaxosPartRows *rows, Size bytes)
{
	return rows->body.n_rows == 0 || rows->bytes + bytes <= PAXOS_PART_BYTES;
}

void
paxos_part_add_row(PaxosPartRows *rows, const PaxosSetRow *row, Size bytes)
{
	PaxosWriteSet *body = &rows->body;

	if (body->n_rows == rows->room)
	{
		rows->room = Max(rows->room * 2, 16);
		body->rows = body->rows == NULL
						 ? palloc(sizeof(PaxosSetRow) * rows->room)
						 : repalloc_huge(body->rows, sizeof(PaxosSetRow) * rows->room);
	}
	body->rows[body->n_rows++] = *row;
	rows->bytes += bytes;
}

void
paxos_part_empty(PaxosPartRows *rows)
{
	rows->body.n_rows = 0;
	rows->body.rows = NULL;
	rows->room = 0;
	rows->bytes = 0;
	MemoryContextReset(rows->cxt);
}

void
paxos_part_send(uint64 set, uint32 number, const PaxosWriteSet *body)
{
	PaxosCommand command = {0};
	PaxosCommandResult result;
	char *bytes;
	Size len;

	command.kind = PAXOS_COMMAND_PART;
	command.u.part.set = set;
	command.u.part.number = number;
	command.u.part.body = *body;
	bytes = paxos_command_encode(&command, &len);
	bytes = paxos_submit_part(bytes, len, &len);
	if (!paxos_result_decode(bytes, len, &result))
		elog(ERROR, "the result of part %u of a write set is damaged", number);
	if (result.failed)
		paxos_result_raise(&result);
}

void
paxos_part_give_up(uint64 set)
{
	PaxosCommand command = {0};
	char *bytes;
	Size len;

	command.kind = PAXOS_COMMAND_PART;
	command.u.part.set = set;
	bytes = paxos_command_encode(&command, &len);
	paxos_submit_and_leave(bytes, len);
	pfree(bytes);
}
