/*
 * paxos_api.h
 *	  What plain statements (paxos_keyed.c) share with the functions that users
 *	  call (paxos_api.c).
 */
#ifndef PAXOS_API_H
#define PAXOS_API_H

#include "fmgr.h"

/* 25001 where an effect could be rolled back and stay; else ready to submit. */
extern void paxos_begin_write(const char *what);

/* A value as text, as every node's learner writes it. */
extern char *paxos_fixed_output(FmgrInfo *output, Datum value);

/* May the caller see whole rows of this table? */
extern bool paxos_may_see_rows(Oid relid);

#endif /* PAXOS_API_H */
