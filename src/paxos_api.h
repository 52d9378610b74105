/*
 * paxos_api.h
 *	  What plain statements (paxos_keyed.c) and paxos_txn() (paxos_txn.c) share
 *	  with the other functions that users call (paxos_api.c).
 */
#ifndef PAXOS_API_H
#define PAXOS_API_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "paxos_command.h"

/* 25001 where an effect could be rolled back and stay; else ready to submit. */
extern void paxos_begin_write(const char *what);

/*
 * Send a command and wait (paxos_submit() says what may be raised); returns the deciding
 * slot.  What it answered is the caller's to look at.
 */
extern px_slot paxos_api_submit(const PaxosCommand *command, PaxosCommandResult *result);

/*
 * The same for a function, with the request id in its last argument.  False: a table was
 * altered meanwhile, nothing was done, and the call is to be made anew.
 */
extern bool paxos_api_call(FunctionCallInfo fcinfo, int request_arg, PaxosCommand *command,
						   PaxosCommandResult *result, px_slot *slot);

/* May the caller see whole rows of this table? */
extern bool paxos_may_see_rows(Oid relid);

/* The image of a row in a result, as jsonb; null if there is none or it is not for the
 * caller. */
extern void paxos_api_image(const char *json, bool visible, Datum *value, bool *isnull);

/*
 * A keyed operation from JSON, as the functions take it, checked: names, types, the
 * caller's privileges, row security.  'what' is the word for the row or the condition
 * in messages; a condition may be NULL.
 */
extern void paxos_api_insert(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, const char *what,
							 Jsonb *new_row);
extern void paxos_api_upsert(PaxosKeyedOp *op, Oid relid, const char *what, Jsonb *new_row);
extern void paxos_api_update(PaxosKeyedOp *op, Oid relid, Jsonb *key_json, Jsonb *set_json,
							 const char *what, Jsonb *condition_json);

/* DELETE, EXISTS, ABSENT, GET: those that give the row nothing. */
extern void paxos_api_look(PaxosKeyedOp *op, PaxosVerb verb, Oid relid, Jsonb *key_json,
						   const char *what, Jsonb *condition_json);

#endif /* PAXOS_API_H */
