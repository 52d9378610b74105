/*
 * paxos_spill.c
 *	  Records in a temporary file, in the order in which they came: what a large
 *	  transaction has captured and memory should not hold (paxos_capture.c).
 *
 * Only put at the end, cut off at the end (a savepoint is rolled back), and read once from
 * the beginning.  Nothing is looked up: a row that is changed twice may stand here
 * twice, which costs work and changes nothing, for what is sent of it is what it is at the
 * end.
 *
 * The file belongs to the top transaction's resource owner, whatever subtransaction made
 * it: with its own, a savepoint that is rolled back would take along what was
 * captured before it.  A crash leaves a file that the server's start removes.
 *
 * A record: u32 tag | u32 length | bytes, as they are in memory here.
 */
#include "postgres.h"

#include "storage/buffile.h"
#include "utils/resowner.h"

#include "paxos_spill.h"

typedef struct Head
{
	uint32 tag;
	uint32 len;
} Head;

struct PaxosSpill
{
	BufFile *file;
	int64 n;    /* records in it */
	int64 read; /* of them */
};

PaxosSpill *
paxos_spill_create(MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	ResourceOwner owner = CurrentResourceOwner;
	PaxosSpill *spill = palloc0(sizeof(PaxosSpill));

	CurrentResourceOwner = TopTransactionResourceOwner;
	spill->file = BufFileCreateTemp(false);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	return spill;
}

void
paxos_spill_put(PaxosSpill *spill, uint32 tag, const void *bytes, uint32 len)
{
	Head head = {tag, len};

	BufFileWrite(spill->file, &head, sizeof(head));
	BufFileWrite(spill->file, unconstify(void *, bytes), len);
	spill->n++;
}

int64
paxos_spill_count(const PaxosSpill *spill)
{
	return spill->n;
}

PaxosSpillMark
paxos_spill_tell(PaxosSpill *spill)
{
	PaxosSpillMark mark;

	mark.n = spill->n;
	BufFileTell(spill->file, &mark.file, &mark.offset);
	return mark;
}

static void
seek(PaxosSpill *spill, int file, off_t offset)
{
	if (BufFileSeek(spill->file, file, offset, SEEK_SET) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not find a place in a temporary file: %m")));
}

void
paxos_spill_cut(PaxosSpill *spill, PaxosSpillMark mark)
{
	seek(spill, mark.file, mark.offset);
	spill->n = mark.n;
}

void
paxos_spill_rewind(PaxosSpill *spill)
{
	seek(spill, 0, 0);
	spill->read = 0;
}

static void
read_exactly(PaxosSpill *spill, void *to, size_t len)
{
	if (BufFileRead(spill->file, to, len) != len)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read from a temporary file: %m")));
}

bool
paxos_spill_next(PaxosSpill *spill, uint32 *tag, StringInfo into)
{
	Head head;

	if (spill->read == spill->n)
		return false;
	read_exactly(spill, &head, sizeof(head));
	resetStringInfo(into);
	enlargeStringInfo(into, (int) head.len);
	read_exactly(spill, into->data, head.len);
	into->len = (int) head.len;
	spill->read++;
	*tag = head.tag;
	return true;
}

void
paxos_spill_close(PaxosSpill *spill)
{
	BufFileClose(spill->file);
	pfree(spill);
}
