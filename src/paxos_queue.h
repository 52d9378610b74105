/*
 * paxos_queue.h
 *	  Sessions waiting for the log: commands on their way to the proposer,
 *	  results on their way back, and requests for a read index.
 *
 * One cell per backend (indexed by its number in ProcGlobal), guarded by
 * paxos_queue_lock; command and result bytes live in a bounded dsa area inside
 * the main shared memory segment.  The life of a cell:
 *
 *	FREE -> QUEUED		session: command in the queue, proposer's latch set
 *	QUEUED -> FREE		session: withdrawn by cancel or time-out; a definite
 *						"never sent", because numbering and leaving the queue
 *						are one locked step
 *	QUEUED -> NUMBERED	proposer: in origin batch (incarnation, sequence, index)
 *	NUMBERED -> DONE	learner: result, never-took-effect, or unknown
 *	NUMBERED -> FREE	session gave up (cancel, time-out, exit): outcome unknown;
 *						the generation moves on, so a late result is dropped
 *	DONE -> FREE		session took it
 *
 * of a write set that is certified, besides (paxos_set.c):
 *
 *	NUMBERED -> TURN	learner: commit now
 *	TURN -> COMMITTING	session: from here on it is certain to end, one way or the other
 *	TURN -> DONE		learner: not taken in time; outcome unknown to the session
 *	COMMITTING -> FREE	session, when its transaction has ended
 */
#ifndef PAXOS_QUEUE_H
#define PAXOS_QUEUE_H

#include "paxos_ext.h"

typedef enum PaxosReplyKind
{
	PAXOS_REPLY_RESULT,    /* result bytes, see paxos_command.h */
	PAXOS_REPLY_NEVER,     /* the command never took effect and never will */
	PAXOS_REPLY_NO_MEMBER, /* nor this one, because this node is no member any more */
	PAXOS_REPLY_UNKNOWN    /* decided, perhaps, but the result is lost */
} PaxosReplyKind;

/* ---- session side ---- */

/*
 * Queue an encoded command and wait for its outcome.  Returns the result bytes,
 * palloc'd in the current context, with the deciding slot in *decided_at.
 * Raises (architecture.md § 7):
 *	57P03	not decided within paxos.statement_timeout and never numbered
 *	57014	cancelled while still in the queue (definitely not sent)
 *	40003	numbered, and no result came back: time-out, cancel, termination,
 *			restart of a worker; DETAIL gives request_id when not NULL
 *	53400	queue memory full;	54000 larger than PX_MAX_COMMAND_BYTES
 *	55000	not preloaded, no cluster, fenced, removed; also if that came about while
 *			the session waited, and then the command never takes effect
 * The caller holds no lock on a consensus table.
 */
extern char *paxos_submit(const char *command, Size len, const pg_uuid_t *request_id,
						  Size *result_len, px_slot *decided_at);

/* A command of this session's statement has been decided; whoever looks at it
 * clears it (paxos_keyed.c). */
extern bool paxos_command_decided;

/*
 * The same of a write set, which gets an origin batch and a slot of its own.
 * Returns NULL if the learner has given this session its turn: interrupts are then
 * held, and the session calls paxos_queue_end_turn() when its transaction has ended.
 * Also raises 40001 if the learner had to end the transaction (paxos_turn.h).
 */
extern char *paxos_submit_set(const char *command, Size len, Size *result_len, px_slot *decided_at);
extern void paxos_queue_end_turn(void);

/*
 * The same of a part of a write set that is on its way there: never "unknown", for it
 * has no effect by itself.
 */
extern char *paxos_submit_part(const char *command, Size len, Size *result_len);

/*
 * Give a short command to the proposer, if that takes it soon, and do not wait for what
 * becomes of it.  Raises nothing; for a transaction that is being aborted.
 */
extern void paxos_submit_and_leave(const char *command, Size len);

/*
 * Wait until this node has applied every write acknowledged anywhere before
 * the call; returns the slot.  The caller takes its snapshot afterwards.
 * Errors as above (a read is never "unknown": 57P03 on time-out).
 */
extern px_slot paxos_wait_read_index(void);

/* Wait until this node has applied 'upto'; 57P03 on time-out.  Or until 'deadline'
 * (CLOCK_BOOTTIME): false if it has not by then. */
extern void paxos_wait_applied(px_slot upto);
extern bool paxos_applied_in_time(px_slot upto, px_usec deadline);

/* A read index this node asked for at 'since' or later (CLOCK_BOOTTIME); false: none. */
extern bool paxos_queue_fresh(px_usec since, px_slot *index);

/*
 * For operators: cells that are not FREE, and bytes of commands, results and
 * forwarded batches that lie outside of cells.  Both are 0 when nobody waits.
 */
extern void paxos_queue_in_use(uint64 *cells, uint64 *bytes);

/* ---- learner side, after its transaction has committed ---- */

/*
 * The result of the command that (cell, generation) submitted and that stands
 * at (incarnation, sequence, index).  Ignored when the cell has moved on.
 */
extern void paxos_queue_deliver(uint32 cell, uint64 generation, uint64 incarnation, uint64 sequence,
								uint32 index, px_slot decided_at, const char *result, Size len);

/*
 * The turn of a session whose write set stands at (incarnation, sequence).  Give:
 * false if nobody waits for it any more.  Withdraw: false if it has been taken.
 * Taken: it is committing, or has just ended; over: it has ended.
 */
extern bool paxos_queue_give_turn(uint32 cell, uint64 generation, uint64 incarnation,
								  uint64 sequence);
extern bool paxos_queue_turn_taken(uint32 cell, uint64 generation);
extern bool paxos_queue_turn_over(uint32 cell, uint64 generation);
extern bool paxos_queue_withdraw_turn(uint32 cell, uint64 generation);

/* The set is applied without its session, which cannot know: its outcome is unknown. */
extern void paxos_queue_disown(uint32 cell, uint64 generation);

/* A new learner: turns its predecessor gave are withdrawn.  False: one is taken and not over. */
extern bool paxos_queue_withdraw_turns(void);

/*
 * Cells numbered (incarnation, <= last), or in an older incarnation, that still
 * wait will get no result any more (the learner restarted between its
 * transaction and the delivery, or a batch of theirs was executed elsewhere):
 * their outcome is unknown.
 */
extern void paxos_queue_lost(uint64 incarnation, uint64 last);

/*
 * A new incarnation's first batch has been applied; before it the state of this
 * origin was (old_incarnation, old_last).  Waiting cells of incarnations below
 * new_incarnation: numbered at or below old_last of old_incarnation, or in an
 * incarnation before it -> unknown; all others -> never took effect.  With
 * PAXOS_NO_MORE_INCARNATIONS the configuration applied is one without this node.
 */
#define PAXOS_NO_MORE_INCARNATIONS PG_UINT64_MAX
extern void paxos_queue_settle(uint64 old_incarnation, uint64 old_last, uint64 new_incarnation);

/*
 * This node takes part no more, and nothing more is applied here: nobody waits for what
 * cannot come.  Those in the queue are never sent.  Numbered commands are unknown, unless
 * the configuration that removed this node was applied with all before it, and so none of
 * them (settled).
 */
extern void paxos_queue_turn_away(bool settled);

/*
 * Does any session of this node wait for anything?  Only a hint: a session that
 * begins to wait for an applied watermark wakes the learner.
 */
extern bool paxos_queue_anyone_waits(void);

/* Wake sessions that wait for an applied watermark or a read index.  After every
 * publication of paxos_shared->applied. */
extern void paxos_queue_applied(px_slot applied);

/* ---- proposer side ---- */

/* A new proposer process: read requests its predecessor had sent are to be sent
 * again, and what was forwarded to that one is dropped (its origin sends again). */
extern void paxos_queue_proposer_started(void);

/*
 * Move queued commands into the batch being written, oldest first, as long as
 * they fit, numbering each (incarnation, sequence, index) in the same locked
 * step.  Returns how many.  A command larger than the batch has room for ends
 * the batch, except as its first.
 */
extern int paxos_queue_drain(px_batch_writer *w, uint64 incarnation, uint64 sequence,
							 uint32 soft_max_bytes);
extern bool paxos_queue_pending(void);

/* Read-index requests: is one waiting that no request sent covers? */
extern bool paxos_queue_read_wanted(void);
extern void paxos_queue_read_sent(uint64 read_seq);
extern void paxos_queue_read_done(uint64 read_seq, px_slot index);

/*
 * Forwarded batches from other nodes, put here by paxos.forward() and taken by
 * the proposer.  False: full.
 */
extern bool paxos_queue_put_forward(const px_forward *f);

/* Takes the oldest; bytes are palloc'd in the current context. */
extern bool paxos_queue_take_forward(px_forward *f);

extern Size paxos_queue_shmem_size(void);
extern void paxos_queue_shmem_init(bool found);

#endif /* PAXOS_QUEUE_H */
