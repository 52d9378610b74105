/*
 * paxos_queue.c
 *	  Sessions waiting for the log: commands on their way to the proposer,
 *	  results on their way back, requests for a read index, and batches that
 *	  other nodes forwarded to this one.
 *
 * What this file owns: one cell per process number, three lists through the
 * cells, the ring of forwarded batches, and the memory their bytes live in.
 * What a command means is paxos_command.c's business; when a batch may be
 * formed is the core's and paxos_proposer.c's.
 *
 * A cell belongs to the session with its process number, which alone takes it
 * out of FREE and puts it back.  The states of a command (protocol.md § 5):
 *
 *		FREE -> QUEUED -> NUMBERED -> DONE -> FREE
 *
 * of a write set from NUMBERED also by way of TURN and COMMITTING (paxos_queue.h), and of
 * a read (§ 9):
 *
 *		FREE -> READ_WANTED -> READ_SENT -> WAIT_APPLIED -> DONE -> FREE
 *
 * Everything in here is guarded by paxos_queue_lock, save what is said to be
 * atomic.  A cell in state DONE is changed by nobody but its session, so the
 * session copies the result without the lock.
 *
 * Invariants:
 *	- Leaving the queue and getting a number are one locked step.  Otherwise a
 *	  session could be cancelled between the two, be told "never sent", and the
 *	  proposer, which already copied the command, would send it.
 *	- Whoever answers names the generation it answers to.  A session gives up by
 *	  raising the generation; a result that comes later finds it moved on.  So a
 *	  session never takes the result of a command of its predecessor in the cell.
 *	- A cell is in the list of its state: QUEUED, READ_WANTED and READ_SENT,
 *	  WAIT_APPLIED; in none otherwise.
 *
 * Waiting is done in the manner of syncrep.c: the one who answers changes the
 * cell first and sets the latch afterwards; the session resets its latch first
 * and looks at the cell afterwards.  Interrupts are held off while waiting and
 * looked at by hand: an ordinary CHECK_FOR_INTERRUPTS() would tell the client
 * "canceled" of a command that may well take effect.
 *
 * Short commands and results live in the cell; longer ones in a dsa area inside
 * the main shared memory segment with a hard limit of its size
 * (paxos.queue_memory), as the cumulative statistics have it.
 *
 * A crash of any server process reinitialises all of this, and every session
 * that waited is gone with it.
 */
#include "paxos_queue.h"
#include "paxos_turn.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/procsignal.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/dsa.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/uuid.h"

/* libpq/libpq.h, where this stands, wants the headers of GSSAPI installed. */
extern bool pq_check_connection(void);

/* Commands and results up to this size live in the cell itself. */
#define CELL_BYTES 1024

/* Who does not wait for a result waits so long for the proposer to take the command. */
#define LEAVE_US UINT64CONST(500000)

/* Forwarded messages that may wait for the proposer. */
#define FORWARD_RING 1024

typedef enum CellState
{
	CELL_FREE = 0,
	CELL_QUEUED,
	CELL_NUMBERED,
	CELL_TURN,
	CELL_COMMITTING,
	CELL_READ_WANTED,
	CELL_READ_SENT,
	CELL_WAIT_APPLIED,
	CELL_DONE
} CellState;

typedef enum CellList
{
	LIST_COMMANDS, /* QUEUED */
	LIST_READS,    /* READ_WANTED, READ_SENT */
	LIST_APPLIED,  /* WAIT_APPLIED */
	N_LISTS
} CellList;

typedef struct Cell
{
	CellState state;
	int next; /* in the list of the state; -1: none */
	int prev;
	uint64 generation; /* of the present use; 0 is never used */

	/* the command when QUEUED, the result when DONE */
	uint32 len;
	bool alone;        /* shares its batch with no other */
	dsa_pointer bytes; /* InvalidDsaPointer: in 'here' */

	/* NUMBERED */
	uint64 incarnation;
	uint64 sequence;
	uint32 index;

	/* DONE */
	PaxosReplyKind reply;
	px_slot decided_at;

	/* reads */
	uint64 read_seq; /* READ_SENT: the request that covers it */
	px_slot target;  /* WAIT_APPLIED and after */

	char here[CELL_BYTES];
} Cell;

typedef struct ForwardHeader
{
	px_node from;
	bool resend;
	uint16 n_batches;
	uint64 incarnation;
	uint64 read_seq;
	/* n_batches lengths (uint32) follow, then the bytes of all batches */
} ForwardHeader;

typedef struct Queue
{
	int n_cells;
	int head[N_LISTS];
	int tail[N_LISTS];

	/*
	 * How many cells are QUEUED, READ_WANTED, WAIT_APPLIED: changed under the
	 * lock, read without it as a hint whether taking the lock is worth while.
	 * Safe because whoever raises one sets a latch, or looks at the condition,
	 * afterwards.
	 */
	pg_atomic_uint32 n_queued;
	pg_atomic_uint32 n_read_wanted;
	pg_atomic_uint32 n_wait_applied;
	pg_atomic_uint32 n_waiting; /* cells neither FREE nor DONE */

	/*
	 * The request for a read index that was sent last, and when; the newest index
	 * that came, and a moment before it was asked for (0: none).
	 */
	uint64 asked_seq;
	px_usec asked_at;
	px_slot fresh_index;
	px_usec fresh_at;

	/* Highest watermark the learner told paxos_queue_applied(); its writer. */
	pg_atomic_uint64 applied;

	/* forwarded messages, oldest at 'forward_first' */
	uint32 forward_first;
	pg_atomic_uint32 n_forwards;
	Size forward_bytes;
	dsa_pointer forwards[FORWARD_RING];
	uint32 forward_len[FORWARD_RING];

	Size area_bytes;
	Size area_offset; /* of the dsa area, from the start of this */
	Cell cells[FLEXIBLE_ARRAY_MEMBER];
} Queue;

bool paxos_command_decided = false;

static Queue *queue = NULL;
static dsa_area *area = NULL;
static uint32 command_event = 0;
static uint32 read_event = 0;

/* ---- memory ---- */

static int
n_cells(void)
{
	/* Process numbers of everything that can run SQL are below this. */
	return MaxBackends;
}

static Size
header_size(void)
{
	return MAXALIGN(add_size(offsetof(Queue, cells), mul_size(sizeof(Cell), n_cells())));
}

static Size
area_size(void)
{
	return MAXALIGN(Max((Size) paxos_queue_memory_kb * 1024, dsa_minimum_size()));
}

Size
paxos_queue_shmem_size(void)
{
	return add_size(header_size(), area_size());
}

/*
 * Called when shared memory is set up, after paxos_queue_lock has been.  'found'
 * speaks of the caller's own structure; this one is looked up by itself.
 */
void
paxos_queue_shmem_init(bool found)
{
	bool found_queue;
	dsa_area *a;

	queue = ShmemInitStruct("paxos queue", paxos_queue_shmem_size(), &found_queue);
	if (found_queue)
		return;

	memset(queue, 0, header_size());
	queue->n_cells = n_cells();
	for (int i = 0; i < N_LISTS; i++)
		queue->head[i] = queue->tail[i] = -1;
	for (int i = 0; i < queue->n_cells; i++)
	{
		queue->cells[i].next = queue->cells[i].prev = -1;
		queue->cells[i].bytes = InvalidDsaPointer;
	}
	pg_atomic_init_u32(&queue->n_queued, 0);
	pg_atomic_init_u32(&queue->n_read_wanted, 0);
	pg_atomic_init_u32(&queue->n_wait_applied, 0);
	pg_atomic_init_u32(&queue->n_waiting, 0);
	pg_atomic_init_u32(&queue->n_forwards, 0);
	pg_atomic_init_u64(&queue->applied, 0);

	/*
	 * The limit keeps the area inside its place: it must not grow by dynamic
	 * segments, or a queue that nobody drains would eat the machine's memory.
	 */
	queue->area_bytes = area_size();
	queue->area_offset = header_size();
	a = dsa_create_in_place((char *) queue + queue->area_offset, queue->area_bytes,
							paxos_queue_lock->tranche, NULL);
	dsa_pin(a);
	dsa_set_size_limit(a, queue->area_bytes);
	dsa_detach(a);
}

/* Free what the cell's bytes occupy outside of it. */
static void
cell_drop_bytes(Cell *cell)
{
	if (cell->bytes != InvalidDsaPointer)
		dsa_free(area, cell->bytes);
	cell->bytes = InvalidDsaPointer;
	cell->len = 0;
}

static const char *
cell_bytes(const Cell *cell)
{
	return cell->bytes == InvalidDsaPointer ? cell->here : dsa_get_address(area, cell->bytes);
}

/* ---- lists; all with the lock held exclusively ---- */

static void
list_append(CellList list, int number)
{
	Cell *cell = &queue->cells[number];

	cell->next = -1;
	cell->prev = queue->tail[list];
	if (cell->prev >= 0)
		queue->cells[cell->prev].next = number;
	else
		queue->head[list] = number;
	queue->tail[list] = number;
}

static void
list_remove(CellList list, int number)
{
	Cell *cell = &queue->cells[number];

	if (cell->prev >= 0)
		queue->cells[cell->prev].next = cell->next;
	else
		queue->head[list] = cell->next;
	if (cell->next >= 0)
		queue->cells[cell->next].prev = cell->prev;
	else
		queue->tail[list] = cell->prev;
	cell->next = cell->prev = -1;
}

static bool
is_waiting(CellState state)
{
	return state != CELL_FREE && state != CELL_DONE;
}

/* The one place where a cell's state changes: lists and counters follow. */
static void
cell_move(int number, CellState to)
{
	Cell *cell = &queue->cells[number];
	CellState from = cell->state;

	if (from == CELL_QUEUED)
	{
		list_remove(LIST_COMMANDS, number);
		pg_atomic_fetch_sub_u32(&queue->n_queued, 1);
	}
	else if (from == CELL_READ_WANTED || from == CELL_READ_SENT)
	{
		list_remove(LIST_READS, number);
		if (from == CELL_READ_WANTED)
			pg_atomic_fetch_sub_u32(&queue->n_read_wanted, 1);
	}
	else if (from == CELL_WAIT_APPLIED)
	{
		list_remove(LIST_APPLIED, number);
		pg_atomic_fetch_sub_u32(&queue->n_wait_applied, 1);
	}

	if (is_waiting(from) && !is_waiting(to))
		pg_atomic_fetch_sub_u32(&queue->n_waiting, 1);
	else if (!is_waiting(from) && is_waiting(to))
		pg_atomic_fetch_add_u32(&queue->n_waiting, 1);

	cell->state = to;

	if (to == CELL_QUEUED)
	{
		list_append(LIST_COMMANDS, number);
		pg_atomic_fetch_add_u32(&queue->n_queued, 1);
	}
	else if (to == CELL_READ_WANTED || to == CELL_READ_SENT)
	{
		list_append(LIST_READS, number);
		if (to == CELL_READ_WANTED)
			pg_atomic_fetch_add_u32(&queue->n_read_wanted, 1);
	}
	else if (to == CELL_WAIT_APPLIED)
	{
		list_append(LIST_APPLIED, number);
		pg_atomic_fetch_add_u32(&queue->n_wait_applied, 1);
		paxos_wake_learner(); /* it may be gathering slots at its leisure */
	}
}

/* The session is done with its cell: late answers to this use find nobody. */
static void
cell_release(int number)
{
	Cell *cell = &queue->cells[number];

	cell_move(number, CELL_FREE);
	cell_drop_bytes(cell);
	cell->generation++;
}

static void
cell_finish(int number, PaxosReplyKind reply)
{
	queue->cells[number].reply = reply;
	cell_move(number, CELL_DONE);
	SetLatch(PaxosProcLatch(number));
}

/* ---- attaching ---- */

void
paxos_queue_in_use(uint64 *cells, uint64 *bytes)
{
	LWLockAcquire(paxos_queue_lock, LW_SHARED);
	*cells = 0;
	*bytes = queue->forward_bytes;
	for (int i = 0; i < queue->n_cells; i++)
	{
		const Cell *cell = &queue->cells[i];

		*cells += cell->state != CELL_FREE;
		*bytes += cell->bytes != InvalidDsaPointer ? cell->len : 0;
	}
	LWLockRelease(paxos_queue_lock);
}

/* A process ends: nobody will come for its cell. */
static void
at_exit(int code, Datum arg)
{
	int number = PaxosMyProcNumber();

	/* an error may have thrown us out of a locked section */
	LWLockReleaseAll();
	if (number < queue->n_cells && queue->cells[number].state != CELL_FREE)
	{
		LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
		if (queue->cells[number].state == CELL_NUMBERED)
			pg_atomic_fetch_add_u64(&paxos_shared->n_unknown_outcomes, 1);
		cell_release(number);
		LWLockRelease(paxos_queue_lock);
	}
	dsa_detach(area);
	area = NULL;
	dsa_release_in_place((char *) queue + queue->area_offset);
}

static void
attach(void)
{
	MemoryContext caller;

	if (area != NULL)
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	area = dsa_attach_in_place((char *) queue + queue->area_offset, NULL);
	dsa_pin_mapping(area);
	MemoryContextSwitchTo(caller);
	before_shmem_exit(at_exit, (Datum) 0);
}

/*
 * This session's cell, free.  It is not free if an error of the surroundings
 * (out of memory, say) threw an earlier wait out of this file.
 */
static int
my_cell(void)
{
	int number = PaxosMyProcNumber();

	attach();
	if (number < 0 || number >= queue->n_cells)
		elog(ERROR, "process number %d has no cell in the paxos queue", number);
	if (queue->cells[number].state != CELL_FREE)
	{
		LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
		cell_release(number);
		LWLockRelease(paxos_queue_lock);
	}
	return number;
}

/* ---- errors ---- */

/* Why nothing is being decided, as far as this node can tell; palloc'd. */
static char *
why_undecided(void)
{
	px_node leader;
	px_node self;
	bool running;
	bool ready;
	bool connected = false;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	self = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	running = paxos_shared->proposer_procno >= 0;
	leader = paxos_shared->leader;
	ready = paxos_shared->ready;
	for (int i = 0; i < paxos_shared->n_peers; i++)
	{
		if (paxos_shared->peers[i].node == leader)
			connected = paxos_shared->peers[i].connected;
	}
	LWLockRelease(paxos_proposer_lock);

	if (!running)
		return pstrdup("The paxos proposer process of this node is not running.");
	if (leader == 0)
		return pstrdup("This node knows of no leader: fewer than a majority of the "
					   "members can be reached, or an election is under way.");
	if (leader == self)
		return pstrdup(
			ready ? "This node leads, but a majority of the members does not answer in time."
				  : "This node has just become leader and is not ready yet.");
	if (!connected)
		return psprintf("The leader, node %u, cannot be reached from this node.", leader);
	return psprintf("The leader, node %u, did not answer in time.", leader);
}

static void
raise_not_sent(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_CANNOT_CONNECT_NOW),
		 errmsg("command was not sent within %d ms", paxos_statement_timeout_ms),
		 errdetail("%s", why_undecided()),
		 errhint(
			 "The command did not take effect and never will: it is safe to try it again.  "
			 "See paxos.members for the members this node reaches, and paxos.statement_timeout.")));
}

/* This node is no member any more; nothing was done, nor will be. */
static void
raise_no_member(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("this node has ceased to take part in its cluster"),
					errdetail("%s", what), errhint("See the column state of paxos.status.")));
}

/*
 * What is submitted, and so what giving up means: a command that has been numbered may
 * take effect; so may a write set, but one that has certainly lost.  A part of one has no
 * effect by itself: who gives up has done nothing.
 */
typedef enum Submitted
{
	COMMAND,
	WRITE_SET,
	SET_PART
} Submitted;

static void
raise_unknown(const char *why, Submitted what, const pg_uuid_t *request_id)
{
	char *id = NULL;

	if (request_id != NULL)
		id = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(request_id)));
	pg_atomic_fetch_add_u64(&paxos_shared->n_unknown_outcomes, 1);
	if (id != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
				 errmsg("outcome of the command is unknown: %s", why),
				 errdetail(
					 "The command with request id %s was sent and may or may not take effect.", id),
				 errhint("Call the same function again with this request id to learn the outcome, "
						 "or ask paxos_outcome('%s').",
						 id)));
	if (what == WRITE_SET)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
				 errmsg("outcome of the transaction is unknown: %s", why),
				 errdetail("Its changes were sent and may or may not take effect, all or none."),
				 errhint("Look after paxos_barrier() whether they are there.  A row that names the "
						 "transaction would say so for certain.")));
	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_STATEMENT_COMPLETION_UNKNOWN),
		 errmsg("outcome of the command is unknown: %s", why),
		 errdetail("The command was sent and may or may not take effect.  It had no request id."),
		 errhint(
			 "Read the row after paxos_barrier() to see, and pass a request_id to be able to retry safely.")));
}

/* ---- session side ---- */

/*
 * Sleep until the latch is set or 'deadline' (0: none) comes.  Called with
 * interrupts held off: the caller looks at them by itself.
 */
static void
sleep_until(px_usec deadline, uint32 wait_event)
{
	long timeout_ms = -1;
	int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (deadline != 0)
	{
		px_usec now = paxos_now_us();

		timeout_ms = now >= deadline ? 0 : (long) ((deadline - now + 999) / 1000);
		events |= WL_TIMEOUT;
	}
	(void) WaitLatch(MyLatch, events, timeout_ms, wait_event);
	ResetLatch(MyLatch);

	/*
	 * A barrier must not wait for us, however long we wait: DROP DATABASE,
	 * among others, stands until every process has taken notice.
	 */
	if (ProcSignalBarrierPending)
		ProcessProcSignalBarrier();

	/*
	 * client_connection_check_interval holds here as anywhere: who waits without
	 * a bound for a majority must not keep a connection nobody is behind.
	 */
	if (CheckClientConnectionPending)
	{
		CheckClientConnectionPending = false;
		if (client_connection_check_interval > 0)
		{
			if (pq_check_connection())
				enable_timeout_after(CLIENT_CONNECTION_CHECK_TIMEOUT,
									 client_connection_check_interval);
			else
				ClientConnectionLost = InterruptPending = true;
		}
	}
}

static CellState
look(int number)
{
	CellState state;

	LWLockAcquire(paxos_queue_lock, LW_SHARED);
	state = queue->cells[number].state;
	LWLockRelease(paxos_queue_lock);
	return state;
}

/*
 * The session gives up.  Returns the state its cell was in; DONE and TURN leave the
 * cell alone, for then there is an answer after all.
 */
static CellState
give_up(int number)
{
	CellState state;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	state = queue->cells[number].state;
	if (state != CELL_DONE && state != CELL_TURN)
		cell_release(number);
	LWLockRelease(paxos_queue_lock);
	return state;
}

/*
 * False if the learner has not waited for it.  It is not woken: it has nothing to do
 * before the transaction has ended.
 */
static bool
take_turn(int number)
{
	bool taken;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	taken = queue->cells[number].state == CELL_TURN;
	if (taken)
		cell_move(number, CELL_COMMITTING);
	LWLockRelease(paxos_queue_lock);
	return taken;
}

void
paxos_queue_end_turn(void)
{
	int number = PaxosMyProcNumber();

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	if (queue->cells[number].state == CELL_COMMITTING)
		cell_release(number);
	LWLockRelease(paxos_queue_lock);
	paxos_wake_learner();
}

static px_usec
deadline_from(px_usec start)
{
	return paxos_statement_timeout_ms == 0 ? 0
										   : start + (px_usec) paxos_statement_timeout_ms * 1000;
}

static bool
takes_part(void)
{
	bool does;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	does = paxos_takes_part(paxos_shared->membership);
	LWLockRelease(paxos_identity_lock);
	return does;
}

static void
raise_doomed(void)
{
	RESUME_INTERRUPTS();
	paxos_turn_raise();
}

static char *
submit(const char *command, Size len, const pg_uuid_t *request_id, Submitted what, Size *result_len,
	   px_slot *decided_at)
{
	bool alone = what == WRITE_SET;
	int number;
	Cell *cell;
	dsa_pointer bytes = InvalidDsaPointer;
	px_usec start = paxos_now_us();
	px_usec deadline = deadline_from(start);
	CellState state;
	PaxosReplyKind reply;
	char *result = NULL;
	const char *why = NULL;

	paxos_require_member();
	if (len > PX_MAX_COMMAND_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("command is too large for the replicated log"),
				 errdetail("It has %zu bytes; the limit is %d.", len, PX_MAX_COMMAND_BYTES)));

	number = my_cell();
	cell = &queue->cells[number];
	if (len > CELL_BYTES)
	{
		bytes = dsa_allocate_extended(area, len, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
		if (bytes == InvalidDsaPointer)
			ereport(
				ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("queue of the replicated log is full"),
				 errdetail("There is no room for a command of %zu bytes in paxos.queue_memory.",
						   len),
				 errhint(
					 "The command was not sent.  Try it again later, or raise paxos.queue_memory.")));
		memcpy(dsa_get_address(area, bytes), command, len);
	}
	else
		memcpy(cell->here, command, len); /* FREE: ours alone */

	HOLD_INTERRUPTS();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	cell->generation++;
	cell->len = len;
	cell->bytes = bytes;
	cell->alone = alone;
	cell_move(number, CELL_QUEUED);
	LWLockRelease(paxos_queue_lock);
	paxos_wake_proposer_for_commands();

	for (;;)
	{
		state = look(number);
		if (state == CELL_TURN && take_turn(number))
			return NULL; /* interrupts stay held */
		if (state == CELL_TURN)
			continue;
		if (state == CELL_DONE)
			break;
		if (what != COMMAND && paxos_turn_doomed() != PAXOS_NOT_DOOMED)
			why = "the transaction had to make way for a change of another node";
		else if (ProcDiePending || ClientConnectionLost)
			why = "the connection is being terminated";
		else if (QueryCancelPending)
		{
			if (what == COMMAND && !get_timeout_indicator(STATEMENT_TIMEOUT, false) &&
				paxos_turn_canceled_in_vain(start))
			{
				QueryCancelPending = false;
				continue;
			}
			why = "the wait for it was canceled";
		}
		else if (deadline != 0 && paxos_now_us() >= deadline)
			why = psprintf("no result came within %d ms", paxos_statement_timeout_ms);
		if (why != NULL)
		{
			state = give_up(number);
			if (state == CELL_TURN)
			{
				why = NULL;
				continue;
			}
			break;
		}
		sleep_until(deadline, paxos_wait_event(&command_event, "PaxosCommand"));
	}

	if (what == SET_PART && state == CELL_NUMBERED)
		state = CELL_QUEUED;

	/*
	 * Made to give way.  Not sent, or one of its keys is among those of what it made
	 * way for, which stands at an earlier slot: then it has lost for certain.
	 */
	if (what != COMMAND && ((state == CELL_QUEUED && paxos_turn_doomed() != PAXOS_NOT_DOOMED) ||
							(state == CELL_NUMBERED && paxos_turn_doomed() == PAXOS_DOOMED_LOST)))
		raise_doomed();

	if (state == CELL_QUEUED)
	{
		/*
		 * Withdrawn before it was numbered: it never takes effect, and an
		 * ordinary cancel says just that.
		 */
		RESUME_INTERRUPTS();
		CHECK_FOR_INTERRUPTS();
		raise_not_sent();
	}
	if (state == CELL_NUMBERED)
	{
		/*
		 * An ordinary cancel would let the client believe that nothing
		 * happened.  So the cancel request is used up here; a request to
		 * terminate stays and ends the session after this error.
		 */
		if (!ProcDiePending)
			QueryCancelPending = false;
		RESUME_INTERRUPTS();
		raise_unknown(why, what, request_id);
	}
	PX_ASSERT(state == CELL_DONE);

	/*
	 * A cancel request that came with the answer came too late: left alone, the
	 * next CHECK_FOR_INTERRUPTS() would say "canceled", which from here means
	 * "never sent", of a command that has been decided.
	 */
	if (!ProcDiePending)
		QueryCancelPending = false;

	reply = cell->reply;
	if (reply == PAXOS_REPLY_RESULT)
	{
		paxos_command_decided = what == COMMAND; /* the others have no effect yet */
		if (paxos_command_decided)
			paxos_turn_decided();
		/* for want of memory here it has not failed either */
		result = palloc_extended(cell->len + 1, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
		if (result != NULL)
		{
			memcpy(result, cell_bytes(cell), cell->len);
			result[cell->len] = '\0';
			*result_len = cell->len;
			*decided_at = cell->decided_at;
		}
	}
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	cell_release(number);
	LWLockRelease(paxos_queue_lock);
	RESUME_INTERRUPTS();

	if (reply == PAXOS_REPLY_NO_MEMBER)
		raise_no_member("The command did not take effect and never will.");
	if (reply == PAXOS_REPLY_NEVER)
		ereport(
			ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("command was lost by a restart of the paxos proposer"),
			 errdetail("Its batch never became part of the log."),
			 errhint(
				 "The command did not take effect and never will: it is safe to try it again.")));
	if (what == SET_PART && result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the write set of the transaction was lost on its way"),
				 errdetail("A paxos worker of this node was restarted, or memory was short."),
				 errhint("The transaction might succeed if retried.")));
	if (reply == PAXOS_REPLY_UNKNOWN)
		raise_unknown(takes_part() ? "its result was lost by a restart of a paxos worker"
								   : "this node has ceased to take part in its cluster",
					  what, request_id);
	if (result == NULL)
		raise_unknown("there is not enough memory for its result", what, request_id);

	paxos_histogram_add(&paxos_shared->commit_us, paxos_now_us() - start);
	return result;
}

char *
paxos_submit(const char *command, Size len, const pg_uuid_t *request_id, Size *result_len,
			 px_slot *decided_at)
{
	return submit(command, len, request_id, COMMAND, result_len, decided_at);
}

char *
paxos_submit_set(const char *command, Size len, Size *result_len, px_slot *decided_at)
{
	return submit(command, len, NULL, WRITE_SET, result_len, decided_at);
}

char *
paxos_submit_part(const char *command, Size len, Size *result_len)
{
	px_slot decided_at;

	return submit(command, len, NULL, SET_PART, result_len, &decided_at);
}

void
paxos_submit_and_leave(const char *command, Size len)
{
	px_usec deadline = paxos_now_us() + LEAVE_US;
	int number;
	Cell *cell;

	if (len > CELL_BYTES || queue == NULL)
		return;
	HOLD_INTERRUPTS();
	number = my_cell();
	cell = &queue->cells[number];
	memcpy(cell->here, command, len);
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	cell->generation++;
	cell->len = len;
	cell->alone = false;
	cell_move(number, CELL_QUEUED);
	LWLockRelease(paxos_queue_lock);
	paxos_wake_proposer_for_commands();
	while (look(number) == CELL_QUEUED && paxos_now_us() < deadline)
		sleep_until(deadline, paxos_wait_event(&command_event, "PaxosCommand"));
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	cell_release(number);
	LWLockRelease(paxos_queue_lock);
	RESUME_INTERRUPTS();
}

/*
 * Wait for the cell, which is on its way to WAIT_APPLIED or there, to be DONE, and
 * return the state it was in last.  If that is another, it has been given up.
 */
static CellState
await_read(int number, px_usec deadline)
{
	for (;;)
	{
		CellState state = look(number);

		if (state == CELL_DONE)
			return state;
		if (ProcDiePending || ClientConnectionLost || QueryCancelPending ||
			(deadline != 0 && paxos_now_us() >= deadline))
			return give_up(number);
		sleep_until(deadline, paxos_wait_event(&read_event, "PaxosReadIndex"));
	}
}

/* The answer to a read that is DONE; PAXOS_REPLY_RESULT: '*target' is applied here. */
static PaxosReplyKind
take_read(int number, px_slot *target)
{
	Cell *cell = &queue->cells[number];
	PaxosReplyKind reply = cell->reply;

	*target = cell->target;
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	cell_release(number);
	LWLockRelease(paxos_queue_lock);
	RESUME_INTERRUPTS();
	return reply;
}

/* A read that is given up has done nothing: an ordinary cancel will do. */
static px_slot
wait_for_read(int number, px_usec deadline)
{
	CellState state = await_read(number, deadline);
	px_slot target;

	if (state != CELL_DONE)
	{
		RESUME_INTERRUPTS();
		if (!ProcDiePending && paxos_turn_canceled())
			paxos_turn_raise();
		CHECK_FOR_INTERRUPTS();
		if (state == CELL_WAIT_APPLIED)
			ereport(
				ERROR,
				(errcode(ERRCODE_CANNOT_CONNECT_NOW),
				 errmsg("this node did not catch up within %d ms", paxos_statement_timeout_ms),
				 errdetail(
					 "The read must wait until this node has applied what was acknowledged before it."),
				 errhint(
					 "See paxos.status for how far this node is behind, and paxos.statement_timeout.")));
		ereport(
			ERROR,
			(errcode(ERRCODE_CANNOT_CONNECT_NOW),
			 errmsg("linearizable read was not confirmed within %d ms", paxos_statement_timeout_ms),
			 errdetail("%s", why_undecided()),
			 errhint(
				 "See paxos.members for the members this node reaches, and paxos.statement_timeout.  "
				 "With paxos.read_consistency = local a SELECT reads what this node has applied so far.")));
	}

	if (take_read(number, &target) != PAXOS_REPLY_RESULT)
		raise_no_member("What was acknowledged before the read may be missing here.");
	return target;
}

/*
 * The read index at once, while the published lease holds.  The clock is read last: at
 * that moment no other ballot can have a majority, so what had been acknowledged when we
 * came was chosen by this leader, who published it before anybody could know.  A pause
 * after it is harmless, for the snapshot is taken later still.
 */
static bool
leased_read_index(px_slot *index)
{
	px_usec until;

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	until = paxos_shared->lease_until;
	*index = paxos_shared->leader_chosen;
	LWLockRelease(paxos_proposer_lock);
	return until != 0 && paxos_now_us() < until;
}

px_slot
paxos_wait_read_index(void)
{
	int number;
	px_usec deadline = deadline_from(paxos_now_us());
	px_slot index;

	paxos_require_member();
	if (leased_read_index(&index))
	{
		pg_atomic_fetch_add_u64(&paxos_shared->n_lease_reads, 1);
		paxos_wait_applied(index);
		return index;
	}
	number = my_cell();

	HOLD_INTERRUPTS();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	queue->cells[number].generation++;
	cell_move(number, CELL_READ_WANTED);
	LWLockRelease(paxos_queue_lock);
	paxos_wake_proposer();

	return wait_for_read(number, deadline);
}

/*
 * Let the cell wait until the watermark has come to 'target'; done at once if
 * it has.  Lock held.  Either we see the watermark that paxos_queue_applied()
 * stored, or it sees our count: both store first and look afterwards, with a
 * full barrier between.
 */
static void
wait_applied_locked(int number, px_slot target)
{
	queue->cells[number].target = target;
	cell_move(number, CELL_WAIT_APPLIED);
	pg_memory_barrier();
	if (pg_atomic_read_u64(&queue->applied) >= target)
		cell_finish(number, PAXOS_REPLY_RESULT);
}

/* Its cell, with interrupts held off; -1: nothing to wait for. */
static int
begin_wait_applied(px_slot upto)
{
	int number;

	paxos_require_member();
	if (pg_atomic_read_u64(&queue->applied) >= upto)
		return -1;
	number = my_cell();

	HOLD_INTERRUPTS();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	queue->cells[number].generation++;
	wait_applied_locked(number, upto);
	LWLockRelease(paxos_queue_lock);
	return number;
}

void
paxos_wait_applied(px_slot upto)
{
	px_usec deadline = deadline_from(paxos_now_us());
	int number = begin_wait_applied(upto);

	if (number >= 0)
		(void) wait_for_read(number, deadline);
}

bool
paxos_applied_in_time(px_slot upto, px_usec deadline)
{
	int number = begin_wait_applied(upto);
	px_slot target;

	if (number < 0)
		return true;
	if (await_read(number, deadline) == CELL_DONE)
		return take_read(number, &target) == PAXOS_REPLY_RESULT;
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	return false;
}

bool
paxos_queue_fresh(px_usec since, px_slot *index)
{
	bool fresh;

	LWLockAcquire(paxos_queue_lock, LW_SHARED);
	*index = queue->fresh_index;
	fresh = queue->fresh_at != 0 && queue->fresh_at >= since;
	LWLockRelease(paxos_queue_lock);
	return fresh;
}

/* ---- learner side ---- */

void
paxos_queue_deliver(uint32 number, uint64 generation, uint64 incarnation, uint64 sequence,
					uint32 index, px_slot decided_at, const char *result, Size len)
{
	Cell *cell;
	dsa_pointer bytes = InvalidDsaPointer;
	PaxosReplyKind reply = PAXOS_REPLY_RESULT;
	bool finished = false;

	if (number >= (uint32) queue->n_cells)
		return; /* the log is not ours to trust */
	attach();
	cell = &queue->cells[number];

	/* Room for a long result is found before the lock is taken. */
	if (len > CELL_BYTES)
	{
		bytes = dsa_allocate_extended(area, len, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
		if (bytes == InvalidDsaPointer)
			reply = PAXOS_REPLY_UNKNOWN; /* the truth: its result is lost */
		else
			memcpy(dsa_get_address(area, bytes), result, len);
	}

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	if (cell->state == CELL_NUMBERED && cell->generation == generation &&
		cell->incarnation == incarnation && cell->sequence == sequence && cell->index == index)
	{
		cell_drop_bytes(cell);
		cell->bytes = bytes;
		bytes = InvalidDsaPointer;
		if (reply == PAXOS_REPLY_RESULT)
		{
			if (cell->bytes == InvalidDsaPointer)
				memcpy(cell->here, result, len);
			cell->len = len;
		}
		cell->decided_at = decided_at;
		cell->reply = reply;
		cell_move(number, CELL_DONE);
		finished = true;
	}
	LWLockRelease(paxos_queue_lock);

	/*
	 * Not before: woken on another processor, the session would run into the
	 * lock and sleep once more.  If it has looked by itself meanwhile and gone,
	 * somebody's latch is set for nothing.
	 */
	if (finished)
		SetLatch(PaxosProcLatch(number));
	if (bytes != InvalidDsaPointer)
		dsa_free(area, bytes);
}

bool
paxos_queue_give_turn(uint32 number, uint64 generation, uint64 incarnation, uint64 sequence)
{
	Cell *cell;
	bool waits;

	if (number >= (uint32) queue->n_cells)
		return false;
	attach();
	cell = &queue->cells[number];
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	waits = cell->state == CELL_NUMBERED && cell->generation == generation &&
			cell->incarnation == incarnation && cell->sequence == sequence && cell->alone;
	if (waits)
		cell_move((int) number, CELL_TURN);
	LWLockRelease(paxos_queue_lock);
	if (waits)
		SetLatch(PaxosProcLatch(number));
	return waits;
}

bool
paxos_queue_turn_taken(uint32 number, uint64 generation)
{
	bool taken;

	LWLockAcquire(paxos_queue_lock, LW_SHARED);
	taken =
		queue->cells[number].generation != generation || queue->cells[number].state != CELL_TURN;
	LWLockRelease(paxos_queue_lock);
	return taken;
}

bool
paxos_queue_turn_over(uint32 number, uint64 generation)
{
	bool over;

	LWLockAcquire(paxos_queue_lock, LW_SHARED);
	over = queue->cells[number].generation != generation ||
		   queue->cells[number].state != CELL_COMMITTING;
	LWLockRelease(paxos_queue_lock);
	return over;
}

bool
paxos_queue_withdraw_turn(uint32 number, uint64 generation)
{
	bool withdrawn;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	withdrawn =
		queue->cells[number].generation == generation && queue->cells[number].state == CELL_TURN;
	if (withdrawn)
		cell_finish((int) number, PAXOS_REPLY_UNKNOWN);
	LWLockRelease(paxos_queue_lock);
	return withdrawn;
}

void
paxos_queue_disown(uint32 number, uint64 generation)
{
	if (number >= (uint32) queue->n_cells)
		return;
	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	if (queue->cells[number].generation == generation &&
		(queue->cells[number].state == CELL_NUMBERED || queue->cells[number].state == CELL_TURN))
		cell_finish((int) number, PAXOS_REPLY_UNKNOWN);
	LWLockRelease(paxos_queue_lock);
}

bool
paxos_queue_withdraw_turns(void)
{
	bool clear = true;

	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_cells; i++)
	{
		if (queue->cells[i].state == CELL_TURN)
			cell_finish(i, PAXOS_REPLY_UNKNOWN);
		else if (queue->cells[i].state == CELL_COMMITTING)
			clear = false;
	}
	LWLockRelease(paxos_queue_lock);
	return clear;
}

void
paxos_queue_lost(uint64 incarnation, uint64 last)
{
	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_cells; i++)
	{
		Cell *cell = &queue->cells[i];

		if (cell->state != CELL_NUMBERED)
			continue;

		/*
		 * A cell of an older incarnation whose settling was missed as well
		 * cannot be told from one that was executed.
		 */
		if (cell->incarnation < incarnation ||
			(cell->incarnation == incarnation && cell->sequence <= last))
			cell_finish(i, PAXOS_REPLY_UNKNOWN);
	}
	LWLockRelease(paxos_queue_lock);
}

void
paxos_queue_settle(uint64 old_incarnation, uint64 old_last, uint64 new_incarnation)
{
	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_cells; i++)
	{
		Cell *cell = &queue->cells[i];

		if (cell->state != CELL_NUMBERED || cell->incarnation >= new_incarnation)
			continue;

		/*
		 * What the old state covers was executed and its result, if it did not
		 * come, is lost.  Anything between the old state and the new
		 * incarnation is stale from now on, wherever its batch may still be.
		 * Of an incarnation before the old state we know nothing any more.
		 */
		if (cell->incarnation < old_incarnation ||
			(cell->incarnation == old_incarnation && cell->sequence <= old_last))
			cell_finish(i, PAXOS_REPLY_UNKNOWN);
		else
			cell_finish(i, new_incarnation == PAXOS_NO_MORE_INCARNATIONS ? PAXOS_REPLY_NO_MEMBER
																		 : PAXOS_REPLY_NEVER);
	}
	LWLockRelease(paxos_queue_lock);
}

void
paxos_queue_turn_away(bool settled)
{
	if (!paxos_queue_anyone_waits())
		return;
	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = 0; i < queue->n_cells; i++)
	{
		switch (queue->cells[i].state)
		{
			case CELL_QUEUED:
			case CELL_READ_WANTED:
			case CELL_READ_SENT:
			case CELL_WAIT_APPLIED:
				cell_finish(i, PAXOS_REPLY_NO_MEMBER);
				break;
			case CELL_NUMBERED:
				cell_finish(i, settled ? PAXOS_REPLY_NO_MEMBER : PAXOS_REPLY_UNKNOWN);
				break;
			case CELL_TURN:
				cell_finish(i, PAXOS_REPLY_UNKNOWN);
				break;
			case CELL_COMMITTING: /* is certain to end */
			case CELL_FREE:
			case CELL_DONE:
				break;
		}
	}
	LWLockRelease(paxos_queue_lock);
}

bool
paxos_queue_anyone_waits(void)
{
	return pg_atomic_read_u32(&queue->n_waiting) > 0;
}

void
paxos_queue_applied(px_slot applied)
{
	int next;

	pg_atomic_write_u64(&queue->applied, applied);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&queue->n_wait_applied) == 0)
		return;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = queue->head[LIST_APPLIED]; i >= 0; i = next)
	{
		next = queue->cells[i].next;
		if (queue->cells[i].target <= applied)
			cell_finish(i, PAXOS_REPLY_RESULT);
	}
	LWLockRelease(paxos_queue_lock);
}

/* ---- proposer side ---- */

void
paxos_queue_proposer_started(void)
{
	int next;

	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = queue->head[LIST_READS]; i >= 0; i = next)
	{
		next = queue->cells[i].next;
		if (queue->cells[i].state == CELL_READ_SENT)
			cell_move(i, CELL_READ_WANTED);
	}
	while (pg_atomic_read_u32(&queue->n_forwards) > 0)
	{
		dsa_free(area, queue->forwards[queue->forward_first]);
		queue->forward_first = (queue->forward_first + 1) % FORWARD_RING;
		pg_atomic_fetch_sub_u32(&queue->n_forwards, 1);
	}
	queue->forward_bytes = 0;
	queue->asked_seq = 0;
	queue->fresh_at = 0;
	LWLockRelease(paxos_queue_lock);
}

bool
paxos_queue_pending(void)
{
	return pg_atomic_read_u32(&queue->n_queued) > 0;
}

int
paxos_queue_drain(px_batch_writer *w, uint64 incarnation, uint64 sequence, uint32 soft_max_bytes)
{
	int n = 0;
	int next;

	attach();
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	for (int i = queue->head[LIST_COMMANDS]; i >= 0; i = next)
	{
		Cell *cell = &queue->cells[i];
		uint32 index = w->n_commands;

		next = cell->next;
		if (index > 0 &&
			(cell->alone || w->len + PX_COMMAND_HEADER_BYTES + cell->len > soft_max_bytes))
			break;
		if (!px_batch_add(w, (uint32) i, cell->generation, cell_bytes(cell), cell->len))
			break;

		/* From here on nobody can withdraw it. */
		cell->incarnation = incarnation;
		cell->sequence = sequence;
		cell->index = index;
		cell_move(i, CELL_NUMBERED);
		cell_drop_bytes(cell);
		n++;
		if (cell->alone)
		{
			px_batch_alone(w);
			break;
		}
	}
	LWLockRelease(paxos_queue_lock);
	return n;
}

bool
paxos_queue_read_wanted(void)
{
	return pg_atomic_read_u32(&queue->n_read_wanted) > 0;
}

void
paxos_queue_read_sent(uint64 read_seq)
{
	int next;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	queue->asked_seq = read_seq;
	queue->asked_at = paxos_now_us();
	for (int i = queue->head[LIST_READS]; i >= 0; i = next)
	{
		Cell *cell = &queue->cells[i];

		next = cell->next;
		if (cell->state != CELL_READ_WANTED)
			continue;

		/*
		 * It goes to the end of the list and is met again; not WANTED any more
		 * by then.
		 */
		cell->read_seq = read_seq;
		cell_move(i, CELL_READ_SENT);
	}
	LWLockRelease(paxos_queue_lock);
}

void
paxos_queue_read_done(uint64 read_seq, px_slot index)
{
	int next;

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	if (queue->asked_seq == read_seq)
	{
		queue->fresh_index = index;
		queue->fresh_at = queue->asked_at;
	}
	for (int i = queue->head[LIST_READS]; i >= 0; i = next)
	{
		Cell *cell = &queue->cells[i];

		next = cell->next;
		if (cell->state == CELL_READ_SENT && cell->read_seq <= read_seq)
			wait_applied_locked(i, index);
	}
	LWLockRelease(paxos_queue_lock);
}

bool
paxos_queue_put_forward(const px_forward *f)
{
	Size len = MAXALIGN(sizeof(ForwardHeader)) + f->n_batches * sizeof(uint32);
	dsa_pointer message;
	ForwardHeader *header;
	uint32 *lengths;
	char *to;
	bool taken = false;

	attach();
	for (int i = 0; i < f->n_batches; i++)
		len += f->batches[i].len;

	message = dsa_allocate_extended(area, len, DSA_ALLOC_NO_OOM | DSA_ALLOC_HUGE);
	if (message == InvalidDsaPointer)
		return false;
	header = dsa_get_address(area, message);
	header->from = f->from;
	header->resend = f->resend;
	header->n_batches = f->n_batches;
	header->incarnation = f->incarnation;
	header->read_seq = f->read_seq;
	lengths = (uint32 *) ((char *) header + MAXALIGN(sizeof(ForwardHeader)));
	to = (char *) (lengths + f->n_batches);
	for (int i = 0; i < f->n_batches; i++)
	{
		lengths[i] = f->batches[i].len;
		memcpy(to, f->batches[i].data, f->batches[i].len);
		to += f->batches[i].len;
	}

	/*
	 * Other nodes may fill at most half of the memory, so that a flood of
	 * theirs leaves room for the results this node's own sessions wait for.
	 */
	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	if (pg_atomic_read_u32(&queue->n_forwards) < FORWARD_RING &&
		queue->forward_bytes + len <= queue->area_bytes / 2)
	{
		uint32 at = (queue->forward_first + pg_atomic_read_u32(&queue->n_forwards)) % FORWARD_RING;

		queue->forwards[at] = message;
		queue->forward_len[at] = len;
		queue->forward_bytes += len;
		pg_atomic_fetch_add_u32(&queue->n_forwards, 1);
		taken = true;
	}
	LWLockRelease(paxos_queue_lock);

	if (!taken)
		dsa_free(area, message);
	else if (f->read_seq != 0)
		paxos_wake_proposer(); /* the read index is asked for at once */
	else
		paxos_wake_proposer_for_commands();
	return taken;
}

bool
paxos_queue_take_forward(px_forward *f)
{
	dsa_pointer message;
	ForwardHeader *header;
	uint32 *lengths;
	uint32 len;
	const uint8 *from;
	px_bytes *batches;

	if (pg_atomic_read_u32(&queue->n_forwards) == 0)
		return false;
	attach();

	LWLockAcquire(paxos_queue_lock, LW_EXCLUSIVE);
	message = queue->forwards[queue->forward_first];
	len = queue->forward_len[queue->forward_first];
	queue->forward_first = (queue->forward_first + 1) % FORWARD_RING;
	queue->forward_bytes -= len;
	pg_atomic_fetch_sub_u32(&queue->n_forwards, 1);
	LWLockRelease(paxos_queue_lock);

	/* one copy, in which the batches then lie */
	header = palloc(len);
	memcpy(header, dsa_get_address(area, message), len);
	dsa_free(area, message);

	lengths = (uint32 *) ((char *) header + MAXALIGN(sizeof(ForwardHeader)));
	from = (const uint8 *) (lengths + header->n_batches);
	batches = palloc(sizeof(px_bytes) * Max(header->n_batches, 1));
	for (int i = 0; i < header->n_batches; i++)
	{
		batches[i].data = from;
		batches[i].len = lengths[i];
		from += lengths[i];
	}
	f->from = header->from;
	f->incarnation = header->incarnation;
	f->resend = header->resend;
	f->n_batches = header->n_batches;
	f->batches = batches;
	f->read_seq = header->read_seq;
	return true;
}
