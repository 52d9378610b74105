/*
 * paxos_spill.h
 *	  Records in a temporary file, in the order in which they came
 *	  (paxos_spill.c).
 */
#ifndef PAXOS_SPILL_H
#define PAXOS_SPILL_H

#include "lib/stringinfo.h"

typedef struct PaxosSpill PaxosSpill;

/* A place in it; all zeros is its beginning. */
typedef struct PaxosSpillMark
{
	int64 n;
	int file;
	off_t offset;
} PaxosSpillMark;

/* Lives as long as the transaction, in any subtransaction's stead; memory in 'cxt'. */
extern PaxosSpill *paxos_spill_create(MemoryContext cxt);

extern void paxos_spill_put(PaxosSpill *spill, uint32 tag, const void *bytes, uint32 len);
extern int64 paxos_spill_count(const PaxosSpill *spill);
extern PaxosSpillMark paxos_spill_tell(PaxosSpill *spill);

/* What came after the mark has not been. */
extern void paxos_spill_cut(PaxosSpill *spill, PaxosSpillMark mark);

/* Read from the first record on; nothing is put any more. */
extern void paxos_spill_rewind(PaxosSpill *spill);
extern bool paxos_spill_next(PaxosSpill *spill, uint32 *tag, StringInfo into);

/* Before the transaction commits; an abort sees to it by itself. */
extern void paxos_spill_close(PaxosSpill *spill);

#endif /* PAXOS_SPILL_H */
