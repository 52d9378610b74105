/*
 * paxos_compat.h
 *	  Every difference between PostgreSQL 15, 16, 17 and 18 that the glue
 *	  meets, and nothing else.
 */
#ifndef PAXOS_COMPAT_H
#define PAXOS_COMPAT_H

#include "postgres.h"

#include "storage/proc.h"

#if PG_VERSION_NUM < 150000
#error "paxos_ext needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 170000
#define PaxosMyProcNumber()		((int) MyProcNumber)
#else
#define PaxosMyProcNumber()		(MyProc->pgprocno)
#endif

#endif							/* PAXOS_COMPAT_H */
