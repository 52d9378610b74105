/*
 * px_proposer.h
 *	  The proposer of one node: elections, recovery, streaming to the members,
 *	  origin batches on their way to the leader, changes of the configuration,
 *	  and the read index (protocol.md §§ 3, 4, 5, 7, 9).
 *
 * Usage: px_proposer_step() with one event gives an update, a list of actions
 * that the caller carries out *in their order*, and the time of the next
 * PX_EV_TICK.  Nothing an action does may call back into the proposer.  All
 * memory is given at init; values and batches are copied in.
 *
 * Connections are the caller's: it keeps one to every member (its own acceptor
 * included, reached like every other), tells PX_EV_PEER_UP when messages can
 * be sent, and PX_EV_PEER_DOWN when that ended.  Answers of an earlier
 * connection must never be reported after its PEER_DOWN.  Messages on one
 * connection arrive in order or not at all.
 *
 * States and their legal changes (asserted; px_proposer.c has the table):
 *
 *	FOLLOWER -> PRECANDIDATE	nothing heard for an election timeout, or the
 *								leader's stream closed
 *	PRECANDIDATE -> CATCHING_UP	a majority said yes
 *	CATCHING_UP -> CANDIDATE	this node knows chosen what those voters knew
 *	FOLLOWER -> CANDIDATE		a hand-over came for this node
 *	CANDIDATE -> RECOVERING		a majority promised, own acceptor among them
 *	RECOVERING -> LEADER		the last recovered slot and the own no-op are chosen
 *	LEADER -> HANDING_OVER		asked to transfer leadership, or not fit to lead, or
 *								no voter any more and a majority knows it
 *	any -> FOLLOWER				a higher ballot was seen, a leader was heard, time
 *								ran out, or this node may not lead
 */
#ifndef PX_PROPOSER_H
#define PX_PROPOSER_H

#include "px_acceptor.h"
#include "px_origin.h"

typedef enum px_role
{
	PX_FOLLOWER,
	PX_PRECANDIDATE,
	PX_CATCHING_UP,
	PX_CANDIDATE,
	PX_RECOVERING,
	PX_LEADER,
	PX_HANDING_OVER
} px_role;

extern const char *px_role_name(px_role r);

typedef struct px_proposer_params
{
	px_node self;
	uint64_t incarnation;        /* raised and flushed before init */
	uint64_t seed;               /* of this life's random delays */
	px_usec heartbeat_us;        /* an idle leader sends an Accept this often */
	px_usec election_timeout_us; /* patience is drawn from [1, 2) times this */
	uint16_t pipeline_depth;     /* slots in flight, 1 .. PX_MAX_WINDOW */
	px_usec pipeline_gap_us;     /* while others are in flight, a slot is begun no
								 * sooner than this after the last: so that what
								 * comes in between shares one slot and one flush.
								 * 0: at once */
	px_usec tell_delay_us;       /* how long a member of whose batches none is among
								 * the slots newly chosen may wait to hear of them,
								 * if no Accept with values says so.  0: not at all */
	bool thrifty;                /* send new values to a majority at once, and to
								 * the others when they are chosen or the majority
								 * is slow.  False: to everybody at once */
	uint16_t outbox_depth;       /* own batches unapplied, 1 .. PX_MAX_OUTBOX */
	uint32_t max_batch_bytes;    /* an encoded origin batch; <= PX_MAX_BATCH_BYTES */
	uint32_t max_value_bytes;    /* an encoded value; >= max_batch_bytes +
									 * PX_VALUE_HEADER_BYTES.  A node cannot lead
									 * over reported values larger than this: let
									 * it be the same on every node */
	uint32_t intake_bytes;       /* origin batches waiting at a leader, in all */
	px_usec lease_us;            /* stickiness granted with each Accept, normally the
								 * election timeout */
	bool lease_readable;         /* serve reads under it? (opt-in; the same on every
								 * node is not needed: acceptors grant what the
								 * leader's message says) */
	uint32_t drift_ppm;          /* with it: by how much one node's clock may run faster
								 * than another's, parts per million; taken off every
								 * lease counted */
} px_proposer_params;

typedef struct px_proposer px_proposer;

/*
 * Bytes of memory, aligned for max_align_t, that px_proposer_init needs with
 * these parameters.  Most of it is touched only under load.
 */
extern size_t px_proposer_bytes(const px_proposer_params *params);

/*
 * config: the configuration that governs now.  Returns the proposer, which
 * lives in 'memory'; there is nothing to free.
 */
extern px_proposer *px_proposer_init(void *memory, size_t bytes, const px_proposer_params *params,
									 const px_config *config, px_usec now);

/*
 * Settings that may change within a life; the others may not.  Ranges as for
 * px_proposer_params.  A lease already granted counts by what its own message
 * carried.
 */
extern void px_proposer_retime(px_proposer *p, px_usec heartbeat_us, px_usec election_timeout_us,
							   px_usec lease_us, bool lease_readable, uint16_t pipeline_depth);

/*
 * ---- events ----
 */
typedef enum px_event_kind
{
	PX_EV_TICK,          /* the time px_update.wake_at has come, or any other */
	PX_EV_PEER_UP,       /* node: messages can be sent to it */
	PX_EV_PEER_DOWN,     /* node */
	PX_EV_LOCAL,         /* local: this node's acceptor and learner, now */
	PX_EV_PREVOTE_REPLY, /* node, prevote_reply */
	PX_EV_PROMISE,       /* node, promise */
	PX_EV_ACCEPTED,      /* node, accepted */
	PX_EV_BATCH,         /* a batch begun with px_proposer_batch() is complete */
	PX_EV_FORWARD,       /* forward: another node's batches, for the leader */
	PX_EV_FORWARD_REPLY, /* node, forward_reply */
	PX_EV_READ,          /* a session of this node wants a read index */
	PX_EV_TRANSFER,      /* node: hand leadership to it (0: to the best) */
	PX_EV_CONFIG,        /* config: px_acceptor.config has changed; before the
								 * PX_EV_LOCAL that shows it.  PX_EV_PEER_UP of a member
								 * may come before or after the configuration that
								 * makes it one */
	PX_EV_CONFIGURE      /* configure: a change of the configuration is asked for;
								 * answered, at once or later, by PX_DO_CONFIGURED */
} px_event_kind;

/*
 * What the proposer may know of its own node.  Reported at start and whenever
 * any field changed.
 */
typedef struct px_local
{
	px_ballot promised;
	px_slot chosen; /* px_acceptor_settled() */
	px_slot config; /* px_acceptor.config.slot; asserted: its PX_EV_CONFIG came
								 * before.  So no ballot begins above a configuration
								 * that the core does not know */
	px_slot applied;
	px_slot truncated;
	px_ballot leader;     /* ballot of the open stream, 0 if none */
	px_usec heard_at;     /* px_acceptor.heard_at, or now while the acceptor is
								 * busy flushing an Accept */
	px_usec lost_at;      /* px_acceptor.lost_at */
	px_usec leased_until; /* of the lease granted by the own acceptor */
	px_ballot handover;   /* px_acceptor.handover */
	px_read_answer read;
	uint64_t own_incarnation; /* px_origins_get(self): applied here */
	uint64_t own_last;
	uint64_t log_time_us; /* highest stamp of a value applied here.  Values that
								 * are chosen and not applied here may bear higher
								 * ones: learners take the running maximum */
	uint64_t gaps_seen;   /* how often a batch of this node was skipped as PX_GAP */
	bool may_vote;        /* false: never stand, step down (amnesic, fsync off,
								 * shutting down, not a voter) */
	bool stuck;           /* the learner cannot apply: hand over if leading */
} px_local;

/*
 * The leader's answer to a Forward, given at once and before any of it is
 * decided: just what the receiving node's proposer published.  'leads' false:
 * it does not lead, send elsewhere.
 */
typedef struct px_forward_reply
{
	bool leads;
} px_forward_reply;

/*
 * ---- changing the configuration (protocol.md § 7) ----
 *
 * To change it, build the value wanted from the configuration that governs now
 * (newest in px_acceptor.config) with px_value_add_member(), all members that
 * shall be there; a member that is new gets a node id above
 * px_config_highest() of it, and no other.  Give it to the *leader's* proposer
 * as PX_EV_CONFIGURE, with 'base', the slot of the configuration it was built
 * from.  The leader lets finish what is in flight, proposes the value alone,
 * makes it govern when the old configuration has chosen it, and collects
 * promises of the new one before it goes on: commands wait for about two round
 * trips.  PX_DO_CONFIGURED answers with
 *
 *	PX_CHANGE_DONE			chosen at 'slot', and a majority of its voters has
 *							recorded that durably: who was removed may be switched
 *							off.  (Not before!  Else the old nodes may be gone while
 *							the new ones do not know that they are the cluster.)
 *	PX_CHANGE_NOT_LEADER	this node is no ready leader ('leader' may be one), or
 *							ceased to be before it proposed anything.  Not done.
 *	PX_CHANGE_BUSY			another change is in progress.  Not done.
 *	PX_CHANGE_BASE			'base' is not the configuration that governs: that is
 *							'slot'.  Not done -- by this request: an earlier try of
 *							the same may have been.
 *	PX_CHANGE_INVALID		no well-formed configuration (px_config_valid), or too
 *							large.  Not done.
 *	PX_CHANGE_NODE_ID		a member that is new has an id that is not above all that
 *							ever were.  Not done.
 *	PX_CHANGE_NO_MAJORITY	of its voters fewer than a majority are with this leader
 *							now (streams open, answering): commands could not go on.
 *							Not done; 'force' overrides it.
 *	PX_CHANGE_BEHIND		of its voters fewer than a majority are known to have
 *							recorded the configuration that governs now: they might
 *							not find those who know of the new one.  They are
 *							catching up.  Not done; with 'force' one is enough.
 *	PX_CHANGE_UNKNOWN		leadership ended in between; if 'slot' is not 0 it was
 *							proposed there and may be chosen, now or later.
 *
 * A process that dies gives no answer: that is PX_CHANGE_UNKNOWN too.  Trying
 * again is always safe, because of 'base': the same request can be carried out
 * once at most.  So a caller, at any node, loops:
 *
 *	1. read the newest configuration known here (slot, members);
 *	2. if it is as wanted, ask the leader to confirm it: PX_EV_CONFIGURE with an
 *	   *empty* value and base = slot, which changes nothing and is answered
 *	   PX_CHANGE_DONE when a majority of it has recorded it; else ask for the
 *	   change, built on it;
 *	3. DONE: return.  BUSY, BEHIND, NOT_LEADER, BASE, UNKNOWN: wait until a
 *	   newer configuration or leader is known here, or a moment, and go to 1.
 *	   The others are errors.
 *
 * At every node: when px_acceptor.config has changed, connect to members that
 * are new, give PX_EV_CONFIG, and disconnect from who is no member any more (with
 * PX_EV_PEER_DOWN; actions for a node without a connection are dropped).  The
 * leader's own core is ahead of that: it makes a configuration govern when it
 * counts it chosen, and says farewell to who is removed in the same update.
 *
 * A member that is added: as a non-voter, first.  Its server starts with nothing
 * (px_acceptor.config empty), answers Prepare and Accept at once, loads a
 * snapshot, calls px_acceptor_config() with the configuration the snapshot came
 * with, and only then starts a proposer.  Promote it when its px_peer_view.durable
 * is near the leader's chosen.
 *
 * A member that was away while all others were replaced knows nobody's address.
 * Who leads is connected to it: the caller should let the leader hand over the
 * newest configuration's value as a list of addresses (not as something chosen).
 *
 * A node that is removed learns it by the leader's farewell, or when it asks:
 * PX_REFUSED_REMOVED.  PX_DO_PUBLISH says so.  It stands no more, forwards
 * nothing and asks for nothing; its acceptor goes on answering as long as it
 * runs, and its log can be fetched: others may still depend on it.  What its
 * sessions wait for: once the slot that removed it is applied here, a batch above
 * px_origins_get() at that slot never took effect and never will; before that
 * the outcome is unknown.
 */
typedef struct px_configure
{
	uint64_t request; /* the caller's name for it, given back */
	px_slot base;
	bool force;     /* do not ask whether it can work at once */
	px_bytes value; /* PX_VALUE_CONFIG; its stamp does not count.  Empty: confirm
								 * that 'base' is recorded by a majority.  Copied */
} px_configure;

typedef enum px_change_result
{
	PX_CHANGE_DONE,
	PX_CHANGE_NOT_LEADER,
	PX_CHANGE_BUSY,
	PX_CHANGE_BASE,
	PX_CHANGE_INVALID,
	PX_CHANGE_NODE_ID,
	PX_CHANGE_NO_MAJORITY,
	PX_CHANGE_UNKNOWN,
	PX_CHANGE_BEHIND
} px_change_result;

extern const char *px_change_result_name(px_change_result r);

/* How far a change is. */
typedef enum px_change_state
{
	PX_CHANGE_NONE,
	PX_CHANGE_DRAINING, /* what is in flight is to be chosen first */
	PX_CHANGE_PROPOSED, /* the old configuration is to choose it */
	PX_CHANGE_BARRIER,  /* promises of the new one are to come */
	PX_CHANGE_RECORDING /* a majority of the new one is to record it */
} px_change_state;

typedef struct px_event
{
	px_event_kind kind;
	px_usec now;      /* read after what the event reports had happened and after
								 * the actions of the update before were carried out.
								 * With lease_readable reads depend on it: a pause
								 * between reading the clock and taking a request would
								 * let a lease count that had run out when the request
								 * was made */
	uint64_t wall_us; /* the caller's wall clock; a leader stamps values with
								 * it, never below an earlier stamp.  Nothing else
								 * looks at it */
	px_node node;
	union
	{
		const px_local *local;
		const px_prevote_reply *prevote_reply;
		const px_promise *promise;
		const px_accepted *accepted;
		const px_forward *forward;
		const px_forward_reply *forward_reply;
		const px_config *config;
		const px_configure *configure;
	} u;
} px_event;

/*
 * ---- actions ----
 */
typedef enum px_action_kind
{
	PX_DO_PUBLISH,       /* publish (role, ballot, leader, chosen, lease) on this node,
								 * px_acceptor_learn(ballot, chosen) included, before
								 * any later action */
	PX_DO_SEND_PREVOTE,  /* to, prevote */
	PX_DO_SEND_PREPARE,  /* to, prepare */
	PX_DO_SEND_ACCEPT,   /* to, accept; its values are px_proposer_value(first + i) */
	PX_DO_SEND_HANDOVER, /* to, handover */
	PX_DO_SEND_FORWARD,  /* to, forward; its batches are px_proposer_batch_bytes(
								 * first_seq + i).  The caller sends over the
								 * forwarding connection, connecting it first if need
								 * be; a failure is reported by silence (resent later) */
	PX_DO_RESET_PEER,    /* to: cut the connection; PEER_DOWN follows */
	PX_DO_FETCH,         /* to, fetch_to: let this node's learner fetch, from
								 * 'to', what it lacks up to fetch_to (candidate
								 * catching up) */
	PX_DO_READ_SENT,     /* read_seq: sessions waiting now share this request.
								 * Comes before every action that could bring its
								 * answer; so a session that begins to wait before
								 * this is carried out is covered too */
	PX_DO_READ_DONE,     /* read_seq, read_index: requests up to read_seq may go
								 * on once read_index is applied here */
	PX_DO_HANDOVER_USED, /* clear px_acceptor.handover */
	PX_DO_CONFIGURED     /* configured: the answer to a PX_EV_CONFIGURE */
} px_action_kind;

typedef struct px_action
{
	px_action_kind kind;
	px_node to;
	union
	{
		struct
		{
			px_role role;
			px_ballot ballot; /* own ballot when CANDIDATE or above, else 0 */
			px_node leader;   /* best known; 0: none */
			px_slot chosen;
			px_usec lease_until; /* 0, or: as long as the clock, read *after* this and
								 * chosen, is below it, chosen is a read index for this
								 * node's sessions, without PX_EV_READ.  To be published
								 * with chosen, as one; and to be cleared before a
								 * proposer starts */
			bool ready;          /* role is LEADER and it serves */
			bool removed;        /* this node is no member any more: by the newest
								 * configuration it knows, or because a member said so.
								 * Never false again */
		} publish;
		px_prevote prevote;
		px_prepare prepare;
		px_accept accept; /* values NULL, see above */
		px_handover handover;
		struct
		{
			px_forward forward; /* batches NULL, see above */
			uint64_t first_seq;
		} fwd;
		px_slot fetch_to;
		struct
		{
			uint64_t request;
			px_change_result result;
			px_slot slot;
			px_node leader; /* 0: not known */
		} configured;
		struct
		{
			uint64_t seq;
			px_slot index;
		} read;
	} u;
} px_action;

#define PX_MAX_ACTIONS (8 * PX_MAX_MEMBERS + 16)

typedef struct px_update
{
	px_usec wake_at; /* next PX_EV_TICK is due then (already past: at once) */
	int n_actions;
	px_action actions[PX_MAX_ACTIONS];
} px_update;

/* Runs one event through.  'up' is overwritten. */
extern void px_proposer_step(px_proposer *p, const px_event *ev, px_update *up);

/*
 * ---- own commands ----
 *
 * When room is true the caller may build the next origin batch in place:
 * px_proposer_batch() numbers it and gives a writer, px_batch_add() adds
 * commands, and PX_EV_BATCH completes it.  An empty batch is legal (a new
 * incarnation sends one at once, § 5).  The sequence given is what cells of
 * waiting sessions remember, together with the incarnation.
 */
extern bool px_proposer_batch_room(const px_proposer *p);

/*
 * Has the log something of this node that neither this life nor one before it can have
 * put there?  Then the node has forgotten lives of its own, or another server runs as
 * this node (§ 10), and this one must end before it is told of it (PX_EV_LOCAL).
 */
extern bool px_proposer_foreign(const px_proposer *p, uint64_t own_incarnation, uint64_t own_last);

/*
 * Until when a command given to this leader would only lie in its queue, unless
 * an answer comes first: slots are in flight.  0: it is of use at once.
 */
extern px_usec px_proposer_gathers_until(const px_proposer *p);
extern px_batch_writer *px_proposer_batch(px_proposer *p, uint64_t *sequence);

/* ---- what actions refer to; valid until the next step ---- */
extern px_bytes px_proposer_value(const px_proposer *p, px_slot slot);
extern px_bytes px_proposer_batch_bytes(const px_proposer *p, uint64_t sequence);

/* ---- for views, traces and invariants; all read-only ---- */
typedef struct px_peer_view
{
	px_node node;
	bool voter;
	bool up;   /* connected */
	bool open; /* promised in the current stream */
	uint64_t stream;
	px_slot first, next;
	px_slot applied;
	px_slot durable;
	px_slot config;      /* newest configuration it said it has recorded */
	px_usec answered_at; /* last answer of any kind */
	px_usec rtt_us;      /* of the last Accept answered */
} px_peer_view;

typedef struct px_proposer_view
{
	px_role role;
	px_ballot ballot;
	px_ballot highest_seen;
	px_node leader;
	px_slot chosen;
	px_slot proposed;   /* last slot proposed in this ballot, or the w it
								 * recovers from; 0 if not RECOVERING or above */
	uint16_t in_flight; /* slots proposed and not chosen */
	uint16_t intake;    /* batches waiting at this leader */
	uint16_t outbox;    /* own batches unapplied */
	uint64_t incarnation;
	uint64_t sequence; /* of the last own batch */
	uint64_t elections_started;
	uint64_t elections_won;
	uint64_t batches_resent;
	px_slot config;         /* slot of the configuration that governs above
								 * chosen, as this proposer knows it */
	px_change_state change; /* at a leader */
	px_slot change_slot;    /* where it was proposed, 0: not yet */
	px_usec lease_until;    /* reads need no round before that; 0: they do */
	bool leaving;           /* it leads and is no voter of 'config': it proposes
								 * nothing any more, and stays until a majority of the
								 * others has recorded that */
	px_slot removed;        /* a configuration without this node, chosen there or
								 * later, exists; 0: none known (and slot 0 has none) */
	int n_peers;
	px_peer_view peers[PX_MAX_MEMBERS];
} px_proposer_view;

extern void px_proposer_look(const px_proposer *p, px_proposer_view *view);

/* Why the last step did what it did: one line for a role change or an ignored
 * message, "" if there is nothing to say.  Valid until the next step. */
extern const char *px_proposer_reason(const px_proposer *p);

#endif /* PX_PROPOSER_H */
