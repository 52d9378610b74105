/*
 * paxos_proposer.c
 *	  The proposer process: an event loop around core/px_proposer.
 *
 * What this file owns: waiting, feeding events to the core, and carrying out
 * its actions in their order.  What to send and when is the core's business,
 * how it travels is paxos_peer.c's, sessions are paxos_queue.c's.
 *
 * The process has two states.  *Idle*: no database, no extension, no cluster, or
 * fenced; it looks again every few seconds and when its latch is set, and does
 * nothing else.  A *life*: this node is a member; the proposer's core runs under
 * one incarnation, raised and flushed before anything is numbered in it
 * (protocol.md § 1).  A life ends when this node is no longer a member, and the
 * process when it is told to end or fails; the postmaster starts another.
 *
 * One pass of the loop in a life:
 *
 *		wait for latch, sockets, time
 *		what other nodes forwarded -> PX_EV_FORWARD
 *		waiting commands -> a batch -> PX_EV_BATCH
 *		sockets: answers -> events
 *		the own node: acceptor and learner, if anything differs -> PX_EV_LOCAL
 *		commands again; waiting reads -> PX_EV_READ
 *		time -> PX_EV_TICK
 *
 * Commands come before the answers, so that the slot which an answer makes room
 * for takes along all that is there; and once more after them, for what they
 * freed in the window.  While slots are in flight, or a Forward is unanswered,
 * nobody wakes this process for a command: it would only be put where others
 * wait already.  An answer or the timer wakes it soon (proposer_gathers).  No step waits, nothing in the loop reads a table
 * or begins a transaction (a change of membership excepted), and the disk is
 * only ever waited for by acceptors: a heartbeat leaves on time while a flush
 * takes seconds.
 *
 * Commands stay in the queue, where they can still be withdrawn with a definite
 * "never sent", until there is a leader to give them to: this node, ready, or
 * one to which the forwarding connection is up.
 *
 * On SIGTERM a leader hands leadership over before it goes (protocol.md § 3.6),
 * so that a clean shutdown costs the others no election timeout.  The own
 * acceptor's backend ends in the same moment; the other members are enough for
 * the hand-over.
 *
 * All state is volatile.  A crash closes the streams, which ends this node's
 * leadership at the acceptors; sessions whose commands were numbered are settled
 * by the next life's first batch (protocol.md § 5).
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "core/px_trace.h"
#include "paxos_ext.h"
#include "paxos_identity.h"
#include "paxos_acceptor.h"
#include "paxos_configuration.h"
#include "paxos_member.h"
#include "paxos_memory.h"
#include "paxos_node.h"
#include "paxos_peer.h"
#include "paxos_queue.h"

/* How often an idle proposer looks whether there is a cluster now. */
#define IDLE_LOOK_MS 3000

/*
 * By how much one node's clock may run faster than another's while a lease runs, parts per
 * million; taken off every lease.  A machine's own rate is off by a hundred at most, but
 * chrony corrects a wrong clock by letting it run up to a twelfth too fast or too slow: two
 * nodes corrected in opposite ways differ by a fifth.
 */
#define LEASE_DRIFT_PPM 200000

/* How long a leader that is told to end tries to hand over. */
#define HAND_OVER_US 1000000

/* Origin batches waiting at a leader, in all. */
#define INTAKE_BYTES (16 * 1024 * 1024)

/*
 * Between the beginnings of two slots in flight: more than a flush and a round
 * trip take near by, little beside a far round trip.  Measured with 16 and 64
 * sessions on three local nodes: a slot at once for whatever is there costs more
 * than half of the throughput.
 */
#define PIPELINE_GAP_US 10000

/*
 * How long a follower none of whose sessions waits may stay behind what is
 * chosen when no further Accept follows: its plain reads are older by so much.
 * A message costs both sides about as much as a small command.
 */
#define TELL_DELAY_US 5000

/*
 * A follower sends commands on while a Forward is unanswered only so long after
 * it: what its sessions send meanwhile travels together.  Each Forward wakes
 * three processes.
 */
#define FORWARD_GAP_US 10000

/* Running digests are compared with those of other members this often. */
#define COMPARE_US 3000000

/* A joining member this close behind what is chosen has caught up. */
#define CAUGHT_UP_SLOTS 256

/* Waited for: latch, postmaster, each member, the forwarding connection. */
#define MAX_EVENTS (PX_MAX_MEMBERS + 3)

/* One life; see above. */
typedef struct Life
{
	MemoryContext context;
	MemoryContext pass_context; /* reset in every pass that used it */
	px_proposer *core;
	px_update update;
	px_usec wake_at;
	px_usec now;

	px_node self;
	pg_uuid_t cluster_id;
	uint64 incarnation;
	uint64 identity_generation; /* as last looked at */
	px_config config;
	bool may_vote;
	px_usec unled_at; /* it may vote, and had never promised anything */
	bool removed;     /* as last published: no member any more */

	px_local local; /* as last told to the core */
	bool local_told;
	bool read_told; /* PX_EV_READ sent and not answered by READ_SENT */

	int n_members;
	PaxosMember members[PX_MAX_MEMBERS]; /* of 'config' */
	int n_peers;
	PaxosPeer *peers[PX_MAX_MEMBERS];
	PaxosPeer *forward;   /* to the leader, NULL if there was never another */
	px_usec forwarded_at; /* commands, last */
	uint64 own_errors;    /* own acceptor's error_count when last looked */

	/* as last published */
	px_role role;
	px_ballot ballot;
	px_node leader;
	px_slot chosen;
	bool ready;
	px_slot counted_proposed; /* n_proposals counts up to it */
	bool status_stale;        /* a connection came or went */
	px_usec status_at;        /* paxos_shared->peers written then */
	px_usec compare_at;       /* digests are to be compared then */

	/* hand-over at the end */
	bool ending;
	px_usec end_by;

	/* waiting */
	WaitEventSet *set;
	uint64 set_generation;
	int n_waited;
	PaxosPeer *waited[MAX_EVENTS];
	int waited_at[MAX_EVENTS];
	uint32 waited_for[MAX_EVENTS];
} Life;

static volatile sig_atomic_t end_requested = false;
static volatile sig_atomic_t in_life = false;
static uint32 idle_event = 0;
static uint32 loop_event = 0;

/*
 * SIGTERM.  In a life the loop looks at the flag by itself; outside of it the
 * process may be waiting in the middle of a transaction, where the ordinary
 * interrupt ends it.
 */
static void
handle_end(SIGNAL_ARGS)
{
	int save_errno = errno;

	end_requested = true;
	if (!in_life)
	{
		InterruptPending = true;
		ProcDiePending = true;
	}
	SetLatch(MyLatch);
	errno = save_errno;
}

/* Nobody leads from here any more, whatever the reason. */
static void
withdraw_published(bool process_ends)
{
	pg_atomic_write_u32(&paxos_shared->proposer_gathers, 0);
	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	paxos_shared->role = PX_FOLLOWER;
	paxos_shared->ballot = 0;
	paxos_shared->leader = 0;
	paxos_shared->lease_until = 0;
	paxos_shared->ready = false;
	for (int i = 0; i < paxos_shared->n_peers; i++)
		paxos_shared->peers[i].connected = paxos_shared->peers[i].open = false;
	if (process_ends)
		paxos_shared->proposer_procno = -1;
	LWLockRelease(paxos_proposer_lock);
	paxos_configure_abandon();
}

static void
at_exit(int code, Datum arg)
{
	/* an error may have thrown us out of a locked section */
	LWLockReleaseAll();
	withdraw_published(true);
}

static px_usec
election_timeout_us(void)
{
	/* the core wants it above the heartbeat, and sense wants it well above */
	return (px_usec) Max(paxos_election_timeout_ms, 2 * paxos_heartbeat_interval_ms) * 1000;
}

/* ---- membership, in a transaction ---- */

static PaxosMembership
look_up_membership(void)
{
	PaxosMembership membership;
	bool in_life_before = in_life;

	/* it may wait for a lock, and SIGTERM must not wait for that */
	in_life = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	membership = paxos_node_load();
	PopActiveSnapshot();
	CommitTransactionCommand();
	in_life = in_life_before;
	return membership;
}

/*
 * Connections to the members as they are now; those that stay are kept unless
 * their address changed.
 */
static void
load_peers(Life *life)
{
	MemoryContext caller;
	List *members;
	ListCell *lc;
	PaxosPeer *old[PX_MAX_MEMBERS];
	int n_old = life->n_peers;

	memcpy(old, life->peers, sizeof(old));
	life->n_peers = 0;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	members = paxos_node_members();
	caller = MemoryContextSwitchTo(life->context);
	foreach (lc, members)
	{
		PaxosMember *member = lfirst(lc);
		PaxosPeer *peer = NULL;

		if (life->n_peers == PX_MAX_MEMBERS)
			break;
		for (int i = 0; i < n_old; i++)
		{
			if (old[i] != NULL && old[i]->node == member->node &&
				strcmp(old[i]->conninfo, member->conninfo) == 0)
			{
				peer = old[i];
				old[i] = NULL;
			}
		}
		if (peer == NULL)
			peer = paxos_peer_create(member->node, member->conninfo, false, life->now);
		if (member->node == life->self)
			paxos_peer_own_address(member->conninfo);
		life->members[life->n_peers] = *member;
		life->peers[life->n_peers++] = peer;
	}
	life->n_members = life->n_peers;
	MemoryContextSwitchTo(caller);
	PopActiveSnapshot();
	CommitTransactionCommand();

	for (int i = 0; i < n_old; i++)
	{
		if (old[i] != NULL)
			paxos_peer_destroy(old[i]);
	}
	paxos_peer_sockets_generation++;
	life->status_stale = true;
}

static PaxosPeer *
find_peer(Life *life, px_node node)
{
	for (int i = 0; i < life->n_peers; i++)
	{
		if (life->peers[i]->node == node)
			return life->peers[i];
	}
	return NULL;
}

/* ---- actions ---- */

/* Forwarding goes to 'leader' from now on. */
static void
aim_forward(Life *life, px_node leader)
{
	PaxosPeer *peer = find_peer(life, leader);
	MemoryContext caller;

	if (leader == life->self || peer == NULL)
		return;
	if (life->forward != NULL && life->forward->node == leader &&
		strcmp(life->forward->conninfo, peer->conninfo) == 0)
	{
		/* a leader was just heard of: no need to sit out a back-off */
		paxos_peer_hurry(life->forward, life->now);
		return;
	}
	if (life->forward != NULL)
		paxos_peer_destroy(life->forward);
	caller = MemoryContextSwitchTo(life->context);
	life->forward = paxos_peer_create(leader, peer->conninfo, true, life->now);
	MemoryContextSwitchTo(caller);
	paxos_peer_sockets_generation++;
}

static void
do_publish(Life *life, const px_action *a)
{
	bool role_changed = life->role != a->u.publish.role || life->ready != a->u.publish.ready;
	bool leader_changed = life->leader != a->u.publish.leader;
	bool learned =
		life->ballot != a->u.publish.ballot || life->chosen != a->u.publish.chosen || role_changed;

	if (a->u.publish.role >= PX_RECOVERING && life->role >= PX_RECOVERING &&
		life->ballot == a->u.publish.ballot && a->u.publish.chosen > life->chosen)
		pg_atomic_fetch_add_u64(&paxos_shared->n_chosen, a->u.publish.chosen - life->chosen);
	if (life->ballot != a->u.publish.ballot)
		life->counted_proposed = a->u.publish.chosen;

	if (role_changed || leader_changed)
	{
		if (paxos_trace_level >= PAXOS_TRACE_ROLES && life->role != a->u.publish.role)
		{
			char ballot[PX_TRACE_BYTES];

			ereport(LOG, (errmsg("paxos: node %u, ballot %s, is %s, leader %u%s%s", life->self,
								 px_trace_ballot(ballot, sizeof(ballot), a->u.publish.ballot),
								 px_role_name(a->u.publish.role), a->u.publish.leader,
								 px_proposer_reason(life->core)[0] ? ": " : "",
								 px_proposer_reason(life->core))));
		}
		pgstat_report_activity(STATE_RUNNING, px_role_name(a->u.publish.role));
	}

	/*
	 * Leadership ended, and not by a hand-over, which withdraws it: what is left
	 * of it is the lease that each acceptor granted with the last Accept, and
	 * they would refuse everybody else until it runs out.  The end of the stream
	 * ends it (protocol.md § 3.1).  Seen when two nodes stood at once and each
	 * spoilt the other's ballot: a second without service.
	 */
	if ((life->role == PX_RECOVERING || life->role == PX_LEADER) &&
		a->u.publish.role < PX_RECOVERING)
	{
		for (int i = 0; i < life->n_peers; i++)
			paxos_peer_renew(life->peers[i], life->now);
	}

	life->role = a->u.publish.role;
	life->ballot = a->u.publish.ballot;
	life->leader = a->u.publish.leader;
	life->chosen = a->u.publish.chosen;
	life->ready = a->u.publish.ready;
	life->removed = a->u.publish.removed;

	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	paxos_shared->role = life->role;
	paxos_shared->ballot = life->ballot;
	paxos_shared->leader = life->leader;
	paxos_shared->leader_chosen = life->chosen;
	paxos_shared->lease_until = a->u.publish.lease_until;
	paxos_shared->ready = life->ready;
	LWLockRelease(paxos_proposer_lock);

	/* Only a ballot that streams values can know what this node's acceptor
	 * received in it to be chosen. */
	if (life->role >= PX_RECOVERING && learned)
		paxos_acceptor_learn(life->ballot, life->chosen);

	if (leader_changed)
	{
		aim_forward(life, life->leader);
		life->status_stale = true;
	}
	if (role_changed)
		life->status_stale = true;
}

/* Count what is proposed for the first time in this ballot. */
static void
count_proposal(Life *life, px_slot position, px_bytes value)
{
	px_value_view view;
	px_batch_view batch;
	uint32_t at = 0;
	uint64 commands = 0;

	if (position <= life->counted_proposed)
		return;
	life->counted_proposed = position;
	pg_atomic_fetch_add_u64(&paxos_shared->n_proposals, 1);

	/* this process made the value: its checksum needs no second look */
	if (value.len < PX_VALUE_HEADER_BYTES || value.data[1] != PX_VALUE_BATCHES)
		return;
	memset(&view, 0, sizeof(view));
	view.kind = PX_VALUE_BATCHES;
	view.parts.data = value.data + PX_VALUE_HEADER_BYTES;
	view.parts.len = value.len - PX_VALUE_HEADER_BYTES;
	while (px_value_next_batch(&view, &at, &batch))
		commands += batch.n_commands;
	paxos_histogram_add(&paxos_shared->batch_commands, commands);
}

static void
do_send_accept(Life *life, PaxosPeer *peer, const px_action *a)
{
	px_accept m = a->u.accept;
	px_bytes values[PX_MAX_WINDOW];

	PX_ASSERT(m.n_values <= PX_MAX_WINDOW);
	for (int i = 0; i < m.n_values; i++)
		values[i] = px_proposer_value(life->core, m.first + i);
	m.values = values;
	paxos_peer_send_accept(peer, &m, life->now);
	for (int i = 0; i < m.n_values; i++)
		count_proposal(life, m.first + i, values[i]);
}

static void
do_send_forward(Life *life, const px_action *a)
{
	px_forward m = a->u.fwd.forward;
	px_bytes batches[PX_MAX_OUTBOX];

	PX_ASSERT(m.n_batches <= PX_MAX_OUTBOX);
	for (int i = 0; i < m.n_batches; i++)
		batches[i] = px_proposer_batch_bytes(life->core, a->u.fwd.first_seq + i);
	m.batches = batches;
	aim_forward(life, a->to);
	if (life->forward != NULL && life->forward->node == a->to)
	{
		paxos_peer_send_forward(life->forward, &m, life->now);
		if (m.n_batches > 0)
			life->forwarded_at = life->now;
	}
}

static void
do_action(Life *life, const px_action *a)
{
	PaxosPeer *peer;

	switch (a->kind)
	{
		case PX_DO_PUBLISH:
			do_publish(life, a);
			return;
		case PX_DO_SEND_FORWARD:
			do_send_forward(life, a);
			return;
		case PX_DO_FETCH:
			LWLockAcquire(paxos_learner_lock, LW_EXCLUSIVE);
			paxos_shared->fetch_to = a->u.fetch_to;
			paxos_shared->fetch_from = a->to;
			LWLockRelease(paxos_learner_lock);
			paxos_wake_learner();
			return;
		case PX_DO_READ_SENT:
			life->read_told = false;
			paxos_queue_read_sent(a->u.read.seq);
			return;
		case PX_DO_READ_DONE:
			pg_atomic_fetch_add_u64(&paxos_shared->n_read_indexes, 1);
			paxos_queue_read_done(a->u.read.seq, a->u.read.index);
			return;
		case PX_DO_HANDOVER_USED:
			paxos_acceptor_handover_used();
			return;
		case PX_DO_CONFIGURED:
			if (paxos_trace_level >= PAXOS_TRACE_ROLES)
				ereport(
					LOG,
					(errmsg("paxos: a change of the configuration: %s, slot " UINT64_FORMAT,
							px_change_result_name(a->u.configured.result), a->u.configured.slot)));
			paxos_configure_answer(a->u.configured.request, a->u.configured.result,
								   a->u.configured.slot);
			return;
		case PX_DO_SEND_PREVOTE:
		case PX_DO_SEND_PREPARE:
		case PX_DO_SEND_ACCEPT:
		case PX_DO_SEND_HANDOVER:
		case PX_DO_RESET_PEER:
			break;
	}

	peer = find_peer(life, a->to);
	if (peer == NULL)
		return;
	switch (a->kind)
	{
		case PX_DO_SEND_PREVOTE:
			paxos_peer_send_prevote(peer, &a->u.prevote, life->now);
			break;
		case PX_DO_SEND_PREPARE:
			paxos_peer_send_prepare(peer, &a->u.prepare, life->now);
			break;
		case PX_DO_SEND_ACCEPT:
			do_send_accept(life, peer, a);
			break;
		case PX_DO_SEND_HANDOVER:
			paxos_peer_send_handover(peer, &a->u.handover, life->now);
			break;
		case PX_DO_RESET_PEER:
			paxos_peer_cut(peer, px_proposer_reason(life->core), life->now);
			break;
		default:
			break;
	}
}

/* Run one event through the core and do what it says. */
static void
step(Life *life, px_event *ev)
{
	bool trace = paxos_trace_level >= PAXOS_TRACE_MESSAGES;
	char line[PX_TRACE_BYTES];

	life->now = paxos_now_us();
	ev->now = life->now;
	ev->wall_us = (uint64) (GetCurrentTimestamp() +
							(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	if (trace && ev->kind != PX_EV_TICK)
		ereport(LOG,
				(errmsg_internal("paxos: %s", px_trace_event(line, sizeof(line), life->self, ev)),
				 errhidestmt(true)));

	px_proposer_step(life->core, ev, &life->update);
	life->wake_at = life->update.wake_at;

	if (trace && px_proposer_reason(life->core)[0] != '\0')
		ereport(LOG, (errmsg_internal("paxos: %u: %s", life->self, px_proposer_reason(life->core)),
					  errhidestmt(true)));
	for (int i = 0; i < life->update.n_actions; i++)
	{
		if (trace)
			ereport(LOG,
					(errmsg_internal("paxos: %s", px_trace_action(line, sizeof(line), life->self,
																  &life->update.actions[i])),
					 errhidestmt(true)));
		do_action(life, &life->update.actions[i]);
	}
}

static void
step_simple(Life *life, px_event_kind kind, px_node node)
{
	px_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.kind = kind;
	ev.node = node;
	step(life, &ev);
}

/* ---- events ---- */

/*
 * What was durable there when it answered (paxos_memory.c).  Accepted slots a
 * little late: the next heartbeat's answer says them again.
 */
static void
remember(Life *life, PaxosPeer *peer, px_ballot promised, px_slot accepted)
{
	if (peer->node == life->self ||
		(promised <= peer->noted_promised &&
		 life->now < peer->noted_at + (px_usec) paxos_heartbeat_interval_ms * 1000))
		return;
	paxos_memory_note(peer->node, promised, accepted);
	peer->noted_promised = Max(peer->noted_promised, promised);
	peer->noted_at = life->now;
}

/* Now and then: is the state of the others the same as ours? */
static void
compare_digests(Life *life)
{
	PaxosDivergence all[PX_MAX_MEMBERS];

	int n = 0;

	life->compare_at = life->now + COMPARE_US;
	for (int i = 0; i < life->n_peers; i++)
	{
		if (life->peers[i]->node != life->self)
			all[n++] = life->peers[i]->divergence;
	}
	paxos_divergence_judge(all, n); /* the answers of the last round */
	for (int i = 0; i < life->n_peers; i++)
	{
		if (life->peers[i]->node != life->self)
			paxos_peer_send_digests(life->peers[i], life->now);
	}
}

/* Everything one member's connection has to tell. */
static void
take_peer_events(Life *life, PaxosPeer *peer)
{
	PaxosPeerEvent pe;
	px_event ev;

	while (paxos_peer_next(peer, &pe, life->now))
	{
		memset(&ev, 0, sizeof(ev));
		ev.node = peer->node;

		/* One that knows is enough: it has seen it chosen. */
		if ((pe.kind == PAXOS_PEER_EV_PREVOTE_REPLY &&
			 pe.u.prevote_reply.refusal == PX_REFUSED_REMOVED) ||
			(pe.kind == PAXOS_PEER_EV_PROMISE && pe.u.promise.refusal == PX_REFUSED_REMOVED))
			life->removed = true;
		switch (pe.kind)
		{
			case PAXOS_PEER_EV_UP:
				life->status_stale = true;
				ev.kind = PX_EV_PEER_UP;
				break;
			case PAXOS_PEER_EV_DOWN:
				life->status_stale = true;
				ev.kind = PX_EV_PEER_DOWN;
				break;
			case PAXOS_PEER_EV_PREVOTE_REPLY:
				remember(life, peer, pe.u.prevote_reply.promised, 0);
				ev.kind = PX_EV_PREVOTE_REPLY;
				ev.u.prevote_reply = &pe.u.prevote_reply;
				break;
			case PAXOS_PEER_EV_PROMISE:
				remember(life, peer, pe.u.promise.promised, pe.u.promise.last);
				ev.kind = PX_EV_PROMISE;
				ev.u.promise = &pe.u.promise;
				break;
			case PAXOS_PEER_EV_ACCEPTED:
				/* below its first slot there may be a gap */
				remember(life, peer, pe.u.accepted.promised,
						 pe.u.accepted.next > pe.u.accepted.first ? pe.u.accepted.next - 1 : 0);
				ev.kind = PX_EV_ACCEPTED;
				ev.u.accepted = &pe.u.accepted;
				break;
			case PAXOS_PEER_EV_COMPARED:
				peer->divergence.node = peer->node;
				paxos_divergence_note(&peer->divergence, &pe.u.compared);
				continue;
			case PAXOS_PEER_EV_HANDOVER_REPLY:
			case PAXOS_PEER_EV_FORWARD_REPLY:
				continue;
		}
		step(life, &ev);
	}
}

/* The forwarding connection may be aimed elsewhere by any step. */
static void
take_forward_events(Life *life)
{
	PaxosPeerEvent pe;
	px_event ev;

	while (life->forward != NULL && paxos_peer_next(life->forward, &pe, life->now))
	{
		if (pe.kind != PAXOS_PEER_EV_FORWARD_REPLY)
			continue;
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_FORWARD_REPLY;
		ev.node = life->forward->node;
		ev.u.forward_reply = &pe.u.forward_reply;
		step(life, &ev);
	}
}

/*
 * Who this node is, has it changed?  False when the life must end.  The
 * generation is read without the lock: a change is seen in this pass or the
 * next.
 */
static bool
check_identity(Life *life, const px_acceptor *acceptor)
{
	PaxosMembership membership;
	px_config config;
	bool same;
	px_event ev;

	/*
	 * Removed: a leader stays until the others have recorded that (the core says
	 * when), everybody else goes at once.  Told by another member, this node may
	 * not have the configuration that says so.
	 */
	if (life->removed && life->role < PX_RECOVERING)
	{
		in_life = false;
		paxos_node_mark_removed();
		(void) look_up_membership();
		return false;
	}
	if (px_acceptor_config_due(acceptor))
	{
		bool in_life_before = in_life;

		in_life = false;
		paxos_acceptor_settle_configuration();
		in_life = in_life_before;
		(void) look_up_membership();
	}
	else if (acceptor->config.slot > life->config.slot)
		(void) look_up_membership(); /* a snapshot has brought it */
	if (*(volatile uint64 *) &paxos_shared->identity_generation == life->identity_generation)
		return true;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	life->identity_generation = paxos_shared->identity_generation;
	membership = paxos_shared->membership;
	config = paxos_shared->config;
	same = paxos_shared->node_id == life->self &&
		   memcmp(&paxos_shared->cluster_id, &life->cluster_id, UUID_LEN) == 0;
	LWLockRelease(paxos_identity_lock);

	if (!same || (membership != PAXOS_MEMBER && membership != PAXOS_REMOVED))
		return false;
	if (config.slot > life->config.slot)
	{
		life->config = config;
		life->may_vote = px_config_is_voter(&config, life->self);
		load_peers(life);
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_CONFIG;
		ev.u.config = &life->config;
		step(life, &ev);
	}
	return true;
}

/*
 * What the own acceptor and learner are at now, if the core does not know.
 * False when the life must end.
 */
static bool
check_local(Life *life)
{
	px_acceptor acceptor = paxos_acceptor_look();
	px_local local;
	px_origin origin;
	px_event ev;
	bool busy;

	if (!check_identity(life, &acceptor))
		return false;

	memset(&local, 0, sizeof(local));
	local.promised = acceptor.promised;
	local.chosen = px_acceptor_settled(&acceptor);
	local.config = acceptor.config.slot;
	local.truncated = acceptor.truncated;
	local.leader = acceptor.open ? acceptor.promised : 0;
	local.heard_at = acceptor.heard_at;
	local.lost_at = acceptor.lost_at;
	if (acceptor.promised == 0 && life->may_vote)
	{
		/* A cluster just formed: no leader is waited for, where there has been none. */
		if (life->unled_at == 0)
			life->unled_at = paxos_now_us();
		local.lost_at = life->unled_at;
	}
	local.leased_until = acceptor.lease_ballot != 0 ? acceptor.lease_until : 0;
	local.handover = acceptor.handover;
	local.read.incarnation = acceptor.read.incarnation;
	local.read.seq = acceptor.read.seq;
	local.read.index = acceptor.read.index;

	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	local.applied = paxos_shared->applied;
	local.log_time_us = paxos_shared->log_time_us;
	local.gaps_seen = paxos_shared->gaps_seen;
	local.stuck = paxos_shared->stuck;
	origin = px_origins_get(&paxos_shared->origins, life->self);
	LWLockRelease(paxos_learner_lock);
	local.own_incarnation = origin.incarnation;
	local.own_last = origin.last;

	if (px_proposer_foreign(life->core, origin.incarnation, origin.last))
	{
		StartTransactionCommand();
		paxos_identity_doubt(
			psprintf("the log has batches of this node in incarnation " UINT64_FORMAT
					 ", its own tables know of " UINT64_FORMAT
					 ": they are older than that, or another server runs as this node",
					 origin.incarnation, life->incarnation - 1));
		CommitTransactionCommand();
		return false;
	}

	/* a leader that is removed, or loses its vote, is told by the core when to go */
	local.may_vote = life->may_vote || life->role >= PX_RECOVERING;

	/*
	 * A leader is being heard right now: its Accept is being flushed.  Without
	 * this a disk that takes a second would make every follower stand.  The
	 * core needs to know it to a heartbeat, not in every pass.
	 */
	busy = pg_atomic_read_u64(&paxos_shared->accept_busy_since_us) != 0;
	if (busy)
	{
		px_usec now = paxos_now_us();

		if (local.heard_at < life->local.heard_at)
			local.heard_at = life->local.heard_at;
		if (now - Min(now, local.heard_at) > (px_usec) paxos_heartbeat_interval_ms * 1000)
			local.heard_at = now;
	}

	if (life->local_told && memcmp(&local, &life->local, sizeof(local)) == 0)
		return true;
	life->local = local;
	life->local_told = true;
	memset(&ev, 0, sizeof(ev));
	ev.kind = PX_EV_LOCAL;
	ev.u.local = &life->local;
	step(life, &ev);
	return true;
}

static void
take_forwarded(Life *life)
{
	MemoryContext caller = MemoryContextSwitchTo(life->pass_context);
	px_forward forward;
	bool any = false;

	/* as many as there may be at most: others must get their turn, too */
	for (int i = 0; i < PX_MAX_INTAKE && paxos_queue_take_forward(&forward); i++)
	{
		px_event ev;

		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_FORWARD;
		ev.node = forward.from;
		ev.u.forward = &forward;
		step(life, &ev);
		any = true;
	}
	MemoryContextSwitchTo(caller);
	if (any)
		MemoryContextReset(life->pass_context);
}

/* Is there somebody who would take a batch now? */
static bool
leader_reachable(const Life *life)
{
	if (life->ending)
		return false;
	if (life->leader == life->self)
		return life->ready;
	return life->leader != 0 && life->forward != NULL && life->forward->node == life->leader &&
		   life->forward->state == PAXOS_PEER_UP;
}

/*
 * Until when commands, if they came now, would wait here or in the core for an
 * answer that is under way; 0: they are of use at once.
 */
static px_usec
gathers_until(const Life *life)
{
	px_usec until = 0;

	/* (a full outbox is emptied by the learner, not by an answer) */
	if (!leader_reachable(life) || !px_proposer_batch_room(life->core))
		return 0;
	if (life->leader == life->self)
		until = px_proposer_gathers_until(life->core);
	else if (life->forward->n_commands_pending > 0)
		until = life->forwarded_at + FORWARD_GAP_US;
	return until > life->now ? until : 0;
}

static void
take_commands(Life *life)
{
	while (paxos_queue_pending() && leader_reachable(life) && px_proposer_batch_room(life->core) &&
		   (life->leader == life->self || gathers_until(life) == 0))
	{
		uint64_t sequence;
		px_batch_writer *writer = px_proposer_batch(life->core, &sequence);

		/*
		 * Nothing there after all (withdrawn in between): the batch is not
		 * completed, and the next one gets its number.
		 */
		if (paxos_queue_drain(writer, life->incarnation, sequence,
							  (uint32) paxos_batch_size_kb * 1024) == 0)
			break;
		step_simple(life, PX_EV_BATCH, 0);
	}
}

/* What sessions ask of a leader. */
static void
take_requests(Life *life)
{
	px_event ev;
	px_configure configure;

	if (paxos_configure_take(&configure))
	{
		memset(&ev, 0, sizeof(ev));
		ev.kind = PX_EV_CONFIGURE;
		ev.u.configure = &configure;
		step(life, &ev);
	}
	if (*(volatile bool *) &paxos_shared->transfer_wanted)
	{
		px_node to;

		LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
		to = paxos_shared->transfer_to;
		paxos_shared->transfer_wanted = false;
		LWLockRelease(paxos_proposer_lock);
		step_simple(life, PX_EV_TRANSFER, to);
	}
}

/*
 * A member that joined to vote has caught up: ask for the configuration in which
 * it does.  Looked at once in a heartbeat, and refused by the core while another
 * change is in progress or the majority would not be there.
 */
static void
promote_joiners(Life *life, const px_proposer_view *view)
{
	for (int i = 0; i < life->n_members; i++)
	{
		PaxosMember *m = &life->members[i];

		for (int j = 0; m->joining && j < view->n_peers; j++)
		{
			const px_peer_view *peer = &view->peers[j];

			if (peer->node == m->node && peer->open && peer->applied > 0 &&
				peer->durable + CAUGHT_UP_SLOTS >= view->chosen)
			{
				MemoryContext caller = MemoryContextSwitchTo(life->pass_context);
				px_event ev;
				px_configure configure;

				memset(&configure, 0, sizeof(configure));
				configure.request = PAXOS_OWN_REQUEST;
				configure.base = life->config.slot;
				configure.value = paxos_configuration_promoting(
					life->members, life->n_members, px_config_highest(&life->config), m->node);
				memset(&ev, 0, sizeof(ev));
				ev.kind = PX_EV_CONFIGURE;
				ev.u.configure = &configure;
				step(life, &ev);
				MemoryContextSwitchTo(caller);
				MemoryContextReset(life->pass_context);
				return;
			}
		}
	}
}

/*
 * The first batch of a life goes out at once, empty if need be: when it is
 * applied, the sessions that wait for what earlier lives numbered are settled.
 */
static void
first_batch(Life *life)
{
	uint64_t sequence;

	(void) px_proposer_batch(life->core, &sequence);
	step_simple(life, PX_EV_BATCH, 0);
}

/* ---- what others may see ---- */

static void
publish_status(Life *life)
{
	static px_proposer_view view;
	TimestampTz wall = GetCurrentTimestamp();

	px_proposer_look(life->core, &view);

	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	paxos_shared->incarnation = life->incarnation;
	paxos_shared->elections_started = view.elections_started;
	paxos_shared->elections_won = view.elections_won;
	paxos_shared->batches_resent = view.batches_resent;
	paxos_shared->n_peers = view.n_peers;
	for (int i = 0; i < view.n_peers; i++)
	{
		const px_peer_view *v = &view.peers[i];
		PaxosPeerStatus *s = &paxos_shared->peers[i];
		PaxosPeer *peer = find_peer(life, v->node);

		s->node = v->node;
		s->voter = v->voter;
		s->open = v->open;
		s->next = v->next;
		s->applied = v->applied;
		s->durable = v->durable;
		s->rtt_us = v->rtt_us;
		s->connected = peer != NULL && peer->state == PAXOS_PEER_UP;
		s->last_contact =
			peer == NULL || peer->answered_at == 0
				? 0
				: wall - (TimestampTz) (life->now - Min(life->now, peer->answered_at));
		strlcpy(s->last_error, peer == NULL ? "" : peer->last_error, sizeof(s->last_error));
	}
	LWLockRelease(paxos_proposer_lock);
	life->status_stale = false;
	life->status_at = life->now;

	if (life->ready && view.change == PX_CHANGE_NONE)
		promote_joiners(life, &view);
}

/* ---- waiting ---- */

static void
wait_list_add(Life *life, PaxosPeer *peer)
{
	pgsocket sock;
	uint32 interest = paxos_peer_interest(peer, &sock);

	if (interest == 0)
		return;
	life->waited[life->n_waited] = peer;
	life->waited_for[life->n_waited] = interest;
	life->waited_at[life->n_waited] = AddWaitEventToSet(life->set, interest, sock, NULL, peer);
	life->n_waited++;
}

/* Make the set fit the sockets: built anew only when one came or went. */
static void
prepare_wait(Life *life)
{
	if (life->set != NULL && life->set_generation == paxos_peer_sockets_generation)
	{
		for (int i = 0; i < life->n_waited; i++)
		{
			pgsocket sock;
			uint32 interest = paxos_peer_interest(life->waited[i], &sock);

			if (interest != life->waited_for[i] && interest != 0)
			{
				ModifyWaitEvent(life->set, life->waited_at[i], interest, NULL);
				life->waited_for[i] = interest;
			}
		}
		return;
	}

	if (life->set != NULL)
		FreeWaitEventSet(life->set);
	life->set = PaxosCreateWaitEventSet(MAX_EVENTS);
	life->set_generation = paxos_peer_sockets_generation;
	life->n_waited = 0;
	AddWaitEventToSet(life->set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(life->set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < life->n_peers; i++)
		wait_list_add(life, life->peers[i]);
	if (life->forward != NULL)
		wait_list_add(life, life->forward);
}

static px_usec
earlier(px_usec a, px_usec b)
{
	if (a == 0)
		return b;
	return b == 0 || a < b ? a : b;
}

/* Let time pass in the connections; when do they want to be looked at again? */
static px_usec
tick_peers(Life *life)
{
	px_usec at = 0;

	for (int i = 0; i < life->n_peers; i++)
		at = earlier(at, paxos_peer_tick(life->peers[i], life->now));
	if (life->forward != NULL)
		at = earlier(at, paxos_peer_tick(life->forward, life->now));
	return at;
}

static void
wait_for_something(Life *life, px_usec until)
{
	WaitEvent events[MAX_EVENTS];
	px_usec now = paxos_now_us();
	px_usec gather = gathers_until(life);
	long timeout_ms = -1;
	int n;

	/*
	 * Who queued a command before this has set the latch, and the wait ends at
	 * once; who does later and sees the flag counts on what ends it.
	 */
	if (gather != 0)
	{
		until = earlier(until, gather);
		pg_atomic_write_u32(&paxos_shared->proposer_gathers, 1);
	}
	if (until != 0)
		timeout_ms = now >= until ? 0 : (long) ((until - now + 999) / 1000);
	prepare_wait(life);
	n = WaitEventSetWait(life->set, timeout_ms, events, lengthof(events),
						 paxos_wait_event(&loop_event, "PaxosProposer"));
	ResetLatch(MyLatch);
	if (gather != 0)
	{
		pg_atomic_write_u32(&paxos_shared->proposer_gathers, 0);
		pg_memory_barrier();
	}
	life->now = paxos_now_us();

	for (int i = 0; i < n; i++)
	{
		if (events[i].user_data != NULL)
			paxos_peer_ready(events[i].user_data, life->now);
	}
}

/* ---- settings and signals ---- */

static void
reload_settings(Life *life)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);

	/* fsync may have been switched off: that fences the node (protocol.md § 10),
	 * and check_identity() will see it */
	(void) look_up_membership();
	px_proposer_retime(life->core, (px_usec) paxos_heartbeat_interval_ms * 1000,
					   election_timeout_us(), election_timeout_us(), paxos_lease_reads,
					   (uint16_t) Min(paxos_pipeline_depth, PX_MAX_WINDOW));
}

/*
 * Told to end.  True when there is nothing (more) to hand over: a node that
 * does not lead goes at once, one that does when the hand-over has been sent and
 * answered, or when nobody could take it, or when it takes too long.
 */
static bool
may_end(Life *life)
{
	if (!life->ending)
	{
		life->ending = true;
		life->end_by = paxos_now_us() + HAND_OVER_US;
		if (life->role == PX_LEADER)
			step_simple(life, PX_EV_TRANSFER, 0);
	}
	if (paxos_now_us() >= life->end_by)
		return true;
	if (life->role == PX_HANDING_OVER)
		return false;

	/* the HandOver may still be on its way; its answer says that it was taken */
	for (int i = 0; i < life->n_peers; i++)
	{
		if (paxos_peer_handing_over(life->peers[i]))
			return false;
	}
	return true;
}

/* ---- a life ---- */

static void
begin_life(Life *life)
{
	px_proposer_params params;
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "paxos proposer", ALLOCSET_DEFAULT_SIZES);
	Size bytes;
	char *memory;
	uint64 seed;

	memset(life, 0, sizeof(*life));
	life->context = context;
	life->pass_context =
		AllocSetContextCreate(context, "paxos proposer pass", ALLOCSET_DEFAULT_SIZES);
	life->now = paxos_now_us();
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	life->identity_generation = paxos_shared->identity_generation;
	life->self = paxos_shared->node_id;
	life->cluster_id = paxos_shared->cluster_id;
	life->config = paxos_shared->config;
	LWLockRelease(paxos_identity_lock);
	life->may_vote = px_config_is_voter(&life->config, life->self);

	/* Flushed before anything is numbered in it. */
	life->incarnation = paxos_node_new_incarnation();

	if (!pg_strong_random(&seed, sizeof(seed)))
		seed = life->now ^ ((uint64) MyProcPid << 32);
	memset(&params, 0, sizeof(params));
	params.self = life->self;
	params.incarnation = life->incarnation;
	params.seed = seed;
	params.heartbeat_us = (px_usec) paxos_heartbeat_interval_ms * 1000;
	params.election_timeout_us = election_timeout_us();
	params.pipeline_depth = (uint16_t) Min(paxos_pipeline_depth, PX_MAX_WINDOW);
	params.pipeline_gap_us = PIPELINE_GAP_US;
	params.tell_delay_us = TELL_DELAY_US;
	params.thrifty = true;
	params.outbox_depth = PX_MAX_OUTBOX;
	params.max_batch_bytes = PX_MAX_BATCH_BYTES;
	params.max_value_bytes = PX_MAX_VALUE_BYTES;
	params.intake_bytes = INTAKE_BYTES;
	params.lease_us = election_timeout_us();
	params.lease_readable = paxos_lease_reads;
	params.drift_ppm = LEASE_DRIFT_PPM;

	/* Large, and mostly never touched: the system gives it page by page. */
	bytes = px_proposer_bytes(&params);
	memory = MemoryContextAllocHuge(context, bytes + PG_CACHE_LINE_SIZE);
	life->core = px_proposer_init((void *) TYPEALIGN(PG_CACHE_LINE_SIZE, memory), bytes, &params,
								  &life->config, life->now);

	paxos_peer_identity(&life->cluster_id, life->self, life->incarnation, px_random(&seed));
	load_peers(life);
	paxos_queue_proposer_started();
}

static void
end_life(Life *life)
{
	for (int i = 0; i < life->n_peers; i++)
		paxos_peer_destroy(life->peers[i]);
	if (life->forward != NULL)
		paxos_peer_destroy(life->forward);
	if (life->set != NULL)
		FreeWaitEventSet(life->set);
	MemoryContextDelete(life->context);
	withdraw_published(false);
}

/* Returns when this node is no longer a member; does not return on SIGTERM. */
static void
live(void)
{
	static Life the_life; /* large */
	Life *life = &the_life;
	bool alive;

	begin_life(life);
	in_life = true;
	alive = check_local(life);
	if (alive)
		first_batch(life);

	while (alive)
	{
		px_usec peers_at;
		PaxosPeer *own;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload_settings(life);

		take_forwarded(life);
		take_commands(life);
		for (int i = 0; i < life->n_peers; i++)
			take_peer_events(life, life->peers[i]);
		take_forward_events(life);
		alive = check_local(life);
		if (!alive)
			break;
		take_commands(life);
		take_requests(life);
		if (!life->read_told && paxos_queue_read_wanted())
		{
			life->read_told = true;
			step_simple(life, PX_EV_READ, 0);
		}
		if (paxos_now_us() >= life->wake_at)
			step_simple(life, PX_EV_TICK, 0);

		/* by time-out a connection may come to an end, or begin */
		peers_at = tick_peers(life);

		if (end_requested && may_end(life))
			proc_exit(1);

		/*
		 * When the own acceptor raises an error, it may be because the
		 * extension or the cluster is gone.
		 */
		own = find_peer(life, life->self);
		if (own != NULL && own->error_count != life->own_errors)
		{
			life->own_errors = own->error_count;
			if (own->sql_error && look_up_membership() != PAXOS_MEMBER)
				break;
		}

		if (life->status_stale ||
			life->now >= life->status_at + (px_usec) paxos_heartbeat_interval_ms * 1000)
			publish_status(life);

		if (life->now >= life->compare_at)
			compare_digests(life);

		peers_at = earlier(earlier(peers_at, life->wake_at), life->compare_at);
		if (life->ending)
			peers_at = earlier(peers_at, life->end_by);
		wait_for_something(life, peers_at);
	}

	in_life = false;
	end_life(life);
}

/*
 * Is this node a member in good standing, and no copy of one that lives?  A twin
 * is looked for again: it may be gone.
 */
static bool
may_live(void)
{
	PaxosMembership membership = look_up_membership();

	if (membership == PAXOS_FENCED && paxos_shared->twin_seen && paxos_identity_check_address())
		membership = look_up_membership();
	return membership == PAXOS_MEMBER &&
		   (paxos_identity_check_address() || look_up_membership() == PAXOS_MEMBER);
}

void
paxos_proposer_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, handle_end);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();

	/* whoever drops the database waits until this is taken back */
	before_shmem_exit(at_exit, (Datum) 0);
	paxos_wait_while_held_off();
	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	paxos_shared->proposer_procno = PaxosMyProcNumber();
	paxos_shared->lease_until = 0; /* acceptors let its holder stand through it */
	LWLockRelease(paxos_proposer_lock);

	BackgroundWorkerInitializeConnection(paxos_database, NULL, 0);
	paxos_fix_worker_settings();
	pgstat_report_appname("paxos proposer");

	for (;;)
	{
		px_acceptor acceptor;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		acceptor = paxos_acceptor_look();
		if (px_acceptor_config_due(&acceptor))
			paxos_acceptor_settle_configuration(); /* this node joins */
		if (may_live())
			live();
		if (end_requested)
			proc_exit(1);
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, IDLE_LOOK_MS,
						 paxos_wait_event(&idle_event, "PaxosProposerIdle"));
		ResetLatch(MyLatch);
	}
}
