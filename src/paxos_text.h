/*
 * paxos_text.h
 *	  Values as the text that travels (paxos_text.c).
 */
#ifndef PAXOS_TEXT_H
#define PAXOS_TEXT_H

#include "access/tupdesc.h"
#include "fmgr.h"

/* A value, which is not null, as every node's learner writes it, by its type's output. */
extern char *paxos_fixed_output(FmgrInfo *output, Datum value);

/* The same by its type. */
extern char *paxos_fixed_text(Oid type, Datum value);

/* The output functions of columns, by attnum - 1; none for one that was dropped. */
extern FmgrInfo *paxos_outputs(TupleDesc desc);

#endif /* PAXOS_TEXT_H */
