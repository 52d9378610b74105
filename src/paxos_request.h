/*
 * paxos_request.h
 *	  Results remembered under the request ids that callers chose, so that the
 *	  same command sent again is not executed again (protocol.md § 5).
 *
 * All of it is replicated state and runs in the learner, inside the
 * transaction that applies a slot.
 */
#ifndef PAXOS_REQUEST_H
#define PAXOS_REQUEST_H

#include "paxos_command.h"

/*
 * Bounds on what is remembered; when one is passed the oldest results are
 * forgotten, however young.  Constants and not settings: two nodes that forgot
 * differently would execute differently.
 */
#define PAXOS_MAX_REQUESTS INT64CONST(4194304)
#define PAXOS_MAX_REQUEST_BYTES (INT64CONST(1024) * 1024 * 1024)

/* Of paxos.replicated: rows of paxos.request, and bytes of row images in them. */
typedef struct PaxosRequests
{
	int64 count;
	int64 bytes;
} PaxosRequests;

/*
 * The remembered result of 'id', decoded into the current context with
 * 'replayed' set; false if there is none.  One that has expired by log time is
 * forgotten here and now.
 */
extern bool paxos_request_find(const pg_uuid_t *id, uint64 log_time_us, PaxosRequests *requests,
							   PaxosCommandResult *result);

/*
 * Remember the result of 'command' (which has a request id and was just not
 * found), decided at 'at_slot' as its index-th command.
 */
extern void paxos_request_remember(const PaxosCommand *command, px_slot at_slot, uint32 index,
								   uint64 log_time_us, const PaxosCommandResult *result,
								   PaxosRequests *requests);

/* At the end of a slot that remembered something: forget what is too old or too
 * much. */
extern void paxos_request_forget(uint64 log_time_us, PaxosRequests *requests);

/* After any error: what was deleted may be back. */
extern void paxos_request_reset(void);

#endif /* PAXOS_REQUEST_H */
