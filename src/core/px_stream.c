/*
 * px_stream.c
 *	  Streams to the members: opening, recovery of what may be chosen,
 *	  proposing, counting what is chosen, and Accepts (protocol.md §§ 3.3, 3.4,
 *	  4, and the barrier of § 7 when a configuration is recovered).
 *
 * Owns: everything a ballot does between its first Prepare and its end.  Not
 * its business: when to stand or to stop (px_election.c), what values hold
 * (px_intake.c packs them).
 *
 * A ballot's life is a sequence of *rounds* of recovery and then the steady
 * state.  A round asks every member with Prepare(ballot, next stream number, w
 * = chosen), merges the promises of a majority, and proposes w + 1 .. end: the
 * value of the highest ballot reported, one reported as chosen before all, a
 * no-op for a hole.  A promise carries at most PX_MAX_WINDOW entries, so when
 * some log goes on beyond, another round follows once these are chosen; so it
 * does behind a recovered configuration, whose successor slots belong to
 * another set of voters.  Nothing is proposed above the highest slot reported
 * before all of it is covered: else a value that some majority has already
 * accepted there could be lost.
 *
 * Why p->chosen never takes over local.chosen while in a ballot: the own node
 * may have learnt of a slot from a newer leader.  Telling that to followers in
 * the old ballot's streams would make them believe that the old ballot's value
 * in that slot is the chosen one.
 *
 * Invariants 3, 4 and 5 of protocol.md § 11 are made here and asserted:
 * propose() is the one place where a slot gets a value, in order, once.
 */
#include <string.h>

#include "px_proposer_int.h"

/* px_window_entry.origins when it is not known */
#define EVERYBODY UINT32_MAX

static uint8_t *
window_buffer(const px_proposer *p, px_slot slot)
{
	return p->window_bytes + (size_t) (slot % PX_MAX_WINDOW) * p->params.max_value_bytes;
}

static px_window_entry *
window_entry(px_proposer *p, px_slot slot)
{
	return &p->window[slot % PX_MAX_WINDOW];
}

/* Forget the stream; its number is remembered, so that no answer to it counts. */
void
px_stream_reset(px_proposer *p, px_peer *peer)
{
	(void) p;
	peer->want_prepare = false;
	peer->reopen_at = 0;
	peer->preparing = false;
	peer->open = false;
	peer->sent_first = 0;
	peer->send_next = 0;
	peer->first = 0;
	peer->next = 0;
	peer->reported = 0;
	peer->told_chosen = 0;
	peer->tell = false;
	peer->untold_since = 0;
	peer->last_sent_at = 0;
	peer->known = 0;
	peer->waiting_since = 0;
	peer->eager = false;
	peer->held = false;
}

/* Ask all members again, for what lies above chosen. */
static void
begin_round(px_proposer *p)
{
	PX_ASSERT(p->chosen == p->proposed);
	p->collecting = true;
	p->round_w = p->chosen;
	p->reported_last = 0;
	p->round_end = p->chosen;
	p->round_more = false;
	memset(p->window, 0, sizeof(p->window));
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		px_stream_reset(p, peer);
		peer->promised = false;
		peer->refused = false;
		peer->want_prepare = peer->up;
	}
}

void
px_stream_begin_ballot(px_proposer *p)
{
	PX_ASSERT(p->role == PX_CANDIDATE);
	p->chosen = p->local.chosen;
	p->proposed = p->chosen;
	p->streams = 0;
	p->ready_slot = 0;

	/*
	 * A stamp of this node's own that was never chosen is nothing to count from:
	 * two nodes stamp slot 1 at once, each with its wall clock; one is chosen, and
	 * the other one, an hour ahead, would be given when its node leads again.
	 */
	if (p->log_time_us != p->local.log_time_us)
	{
		p->log_time_us = p->local.log_time_us;
		p->log_time_at = p->now;
	}
	px_intake_clear(p);
	px_read_begin_ballot(p);
	for (int i = 0; i < p->config.n_members; i++)
	{
		p->peers[i].stream = 0;
		p->peers[i].acked_sent_at = 0;
		p->peers[i].answered_at = 0;
	}
	begin_round(p);
}

/* A member answered that a higher ballot stands: this one is over. */
static bool
overtaken(px_proposer *p, px_ballot promised)
{
	px_see_ballot(p, promised);
	if (!px_in_ballot(p) || promised <= p->ballot)
		return false;
	px_become_follower(p, "a higher ballot was promised", p->role == PX_CANDIDATE);
	return true;
}

/* What the peer answers makes no sense: start over with a new connection. */
static void
cut(px_proposer *p, px_peer *peer, const char *reason)
{
	px_stream_reset(p, peer);
	peer->refused = true;
	peer->up = false;
	px_peer_connected(p, peer->node, false);
	px_action_add(p, PX_DO_RESET_PEER, peer->node);
	p->reason = reason;
	px_elect_refused(p);
}

/*
 * ---- promises ----
 */

/* Are the entries what a promise may carry, and values this node can hold? */
static bool
promise_valid(const px_proposer *p, const px_promise *m, bool merge)
{
	px_value_view view;
	px_slot below = m->w;

	if (m->promised != m->ballot || m->n_entries > PX_MAX_WINDOW)
		return false;
	for (int i = 0; i < m->n_entries; i++)
	{
		const px_entry *e = &m->entries[i];

		if (e->slot <= below || e->slot > m->w + PX_MAX_WINDOW || e->slot > m->last)
			return false;
		below = e->slot;
		if (merge && (e->value.len > p->params.max_value_bytes || !px_value_open(e->value, &view)))
			return false;
	}
	return true;
}

/*
 * Keep the better of two reports of one slot: known chosen before all, then
 * the higher ballot.  Never the one that more members report: a value is safe
 * because of its ballot (the trace of pg_paxos, test/unit/t_recovery.c).
 */
static void
merge_entry(px_proposer *p, const px_entry *e)
{
	px_window_entry *w = window_entry(p, e->slot);
	px_value_view view;

	PX_ASSERT(w->slot == 0 || w->slot == e->slot);
	if (w->slot == e->slot && (w->chosen || (!e->chosen && e->ballot <= w->ballot)))
		return;
	w->slot = e->slot;
	w->ballot = e->ballot;
	w->chosen = e->chosen;
	w->len = e->value.len;
	w->log_time_us = px_value_open(e->value, &view) ? view.log_time_us : 0;
	memcpy(window_buffer(p, e->slot), e->value.data, e->value.len);
}

/*
 * ---- proposing ----
 */

/*
 * The value in the window buffer of the next slot becomes this ballot's value
 * for it.  Invariant 3: slots in order, each once, and never into a buffer
 * whose value is not yet known chosen.
 */
static void
propose(px_proposer *p, uint32_t len, uint32_t origins)
{
	px_slot slot = p->proposed + 1;
	px_window_entry *w = window_entry(p, slot);

	PX_ASSERT(px_leads(p) && !p->collecting);
	PX_ASSERT(p->proposed - p->chosen < PX_MAX_WINDOW);
	PX_ASSERT(len >= PX_VALUE_HEADER_BYTES && len <= p->params.max_value_bytes);
	w->slot = slot;
	w->ballot = p->ballot;
	w->chosen = false;
	w->len = len;
	w->origins = origins;
	w->proposed_at = p->now;
	p->proposed = slot;
	p->proposed_at = p->now;
}

/*
 * May a leader begin a slot with what waits?  Every slot costs each member a
 * transaction and a flush, however little it holds.  So one at a time is begun
 * at once, and further ones, up to the depth of the pipeline, only a gap after
 * the last: on a near network that gathers what comes while a flush lasts, on
 * a far one several slots are still on their way.
 *
 * What still waits when a slot has just been begun could not share it: it is more than
 * a value holds, or a write set, which is alone in its slot.  It follows at once, in
 * the same message, and so in the same transaction and flush of every member.
 */
static bool
may_begin_slot(px_proposer *p, bool follows)
{
	px_slot in_flight = p->proposed - p->chosen;

	if (p->role != PX_LEADER || in_flight >= p->params.pipeline_depth || px_change_holds(p) ||
		!px_intake_waits(p))
		return false;
	return in_flight == 0 || follows || p->now >= p->proposed_at + p->params.pipeline_gap_us;
}

px_usec
px_proposer_gathers_until(const px_proposer *p)
{
	if (p->role != PX_LEADER || p->proposed == p->chosen)
		return 0;
	return p->proposed_at + p->params.pipeline_gap_us;
}

/*
 * The stamp of a new value: the wall clock, but never back (protocol.md § 5),
 * and ahead of the last stamp by no more than twice the time that this node's
 * own clock has counted since it knew it.  What is forgotten by log time would
 * else be forgotten at once, on every node and for good, when one leader's wall
 * clock is set a year ahead: a request id sent again would be executed twice.
 * Lagging behind, after all nodes have been down, only keeps it longer.
 *
 * Only a stamp that is chosen is one to count from (or this ballot's own, counted
 * from such a one).  Slot 1 is stamped with a wall clock: two leaders die with
 * one value for it each, stamped a year apart; a third recovers both, proposes
 * that of the higher ballot, and counted from the other's stamp its own no-op at
 * slot 2 would take log time a year ahead.  Nor from that of the value it
 * proposes: another may be chosen yet, and the no-op above it be recovered.
 *
 * Who knows no such stamp, at any slot but the first, gives none (learners take
 * the running maximum) until it has counted a recovered value chosen or its
 * learner has applied a slot.
 */
static uint64_t
next_log_time(px_proposer *p)
{
	uint64_t stamp = p->wall_us;

	if (p->log_time_us == 0 && p->proposed > 0)
		return 0;
	if (p->log_time_us != 0)
		stamp = px_min64(stamp, p->log_time_us + 2 * (p->now - p->log_time_at));
	px_see_log_time(p, stamp);
	return p->log_time_us;
}

static void
propose_noop(px_proposer *p)
{
	px_slot slot = p->proposed + 1;
	px_value_writer w;

	px_value_begin(&w, window_buffer(p, slot), p->params.max_value_bytes, PX_VALUE_NOOP,
				   next_log_time(p));
	propose(p, px_value_end(&w).len, 0);
}

static void
propose_batches(px_proposer *p)
{
	px_slot slot = p->proposed + 1;
	px_value_writer w;
	uint32_t origins;

	px_value_begin(&w, window_buffer(p, slot), p->params.max_value_bytes, PX_VALUE_BATCHES,
				   next_log_time(p));
	px_intake_pack(p, &w, &origins);
	propose(p, px_value_end(&w).len, origins);
}

/*
 * A configuration, by itself: nothing is in flight, and nothing above it is
 * proposed until the old configuration has chosen it and the new one has
 * promised.  From here on it is treated like one that was recovered.
 */
void
px_stream_propose_config(px_proposer *p, px_bytes wanted)
{
	px_slot slot = p->proposed + 1;
	px_value_writer w;
	px_value_view view;
	px_member_view member;
	uint32_t pos = 0;
	bool fits = px_value_open(wanted, &view);

	PX_ASSERT(p->role == PX_LEADER && p->chosen == p->proposed && !p->round_more);
	px_value_begin(&w, window_buffer(p, slot), p->params.max_value_bytes, PX_VALUE_CONFIG,
				   next_log_time(p));
	while (fits && px_value_next_member(&view, &pos, &member))
		fits = member.joining ? px_value_add_joiner(&w, member.node, member.name, member.conninfo)
							  : px_value_add_member(&w, member.node, member.voter, member.name,
													member.conninfo);
	PX_ASSERT(fits);
	px_value_set_highest(&w, px_config_highest(&p->config));
	propose(p, px_value_end(&w).len, EVERYBODY);
	p->round_end = slot;
	p->round_more = true;
}

/*
 * A majority has promised in this round: propose what it reported.  Invariant
 * 4: for each slot the best report, which window holds, or a no-op, which is
 * free because no member of that majority can have accepted anything there.
 */
static void
win_round(px_proposer *p)
{
	px_slot last = px_min64(p->reported_last, p->round_w + PX_MAX_WINDOW);

	if (p->role == PX_CANDIDATE)
		px_set_role(p, PX_RECOVERING, "a majority promised");
	p->collecting = false;
	p->deadline = 0;
	p->round_more = p->reported_last > p->round_w + PX_MAX_WINDOW;
	PX_ASSERT(p->proposed == p->round_w && p->chosen == p->round_w);
	while (p->proposed < last)
	{
		px_slot slot = p->proposed + 1;
		px_window_entry *w = window_entry(p, slot);
		px_value_view view;
		bool readable;

		if (w->slot != slot)
		{
			propose_noop(p);
			continue;
		}
		propose(p, w->len, EVERYBODY);
		readable = px_value_open(px_proposer_value(p, slot), &view);
		PX_ASSERT(readable);
		if (view.kind == PX_VALUE_CONFIG)
		{
			/*
			 * The barrier of § 7: nothing above it until it is chosen under
			 * the old configuration, then promises of the new.  Promises from
			 * before do not count for what lies above: they may predate values
			 * that the new configuration accepted there.
			 */
			p->round_more = true;
			break;
		}
	}
	p->round_end = p->proposed;
}

static void
count_promises(px_proposer *p)
{
	bool yes[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};
	const px_peer *own = px_peer_find(p, p->params.self);

	for (int i = 0; i < p->config.n_members; i++)
		yes[i] = p->peers[i].promised;
	if (px_quorum_tally(&p->config, yes, no) != PX_TALLY_WON)
		return;
	if (p->role == PX_CANDIDATE && (own == NULL || !own->promised))
		return;
	win_round(p);
}

void
px_stream_promise(px_proposer *p, px_peer *peer, const px_promise *m)
{
	bool merge;

	px_change_recorded(p, peer, m->config);
	if (px_elect_told_removed(p, m->refusal, m->config) || overtaken(p, m->promised))
		return;
	if (!px_in_ballot(p) || m->ballot != p->ballot || m->stream != peer->stream || !peer->preparing)
	{
		p->reason = "ignored: promise of an old ballot or stream";
		return;
	}
	peer->preparing = false;
	peer->waiting_since = 0;
	peer->truncated = px_max64(peer->truncated, m->truncated);
	if (m->refusal != PX_REFUSED_NOT)
	{
		peer->refused = true;
		peer->reopen_at =
			p->now + (m->refusal == PX_REFUSED_STREAM ? p->params.heartbeat_us
													  : p->params.election_timeout_us / 4);
		if (m->refusal == PX_REFUSED_TRUNCATED && m->truncated > m->w && m->truncated <= p->chosen)
			peer->reopen_at = p->now; /* known better now: again at once */
		p->reason = px_refusal_name(m->refusal);
		px_elect_refused(p);
		return;
	}

	merge = p->collecting && m->w == p->round_w;
	if (m->w != peer->w || !promise_valid(p, m, merge))
	{
		cut(p, peer, "cut: malformed promise");
		return;
	}
	peer->open = true;
	peer->refused = false;
	peer->answered_at = p->now;
	peer->known = m->chosen;
	peer->reported = 0;
	for (int i = 0; i < m->n_entries; i++)
	{
		if (m->entries[i].ballot == p->ballot)
			peer->reported |= UINT64_C(1) << (m->entries[i].slot - m->w - 1);
	}

	/*
	 * After the round is won a promise only opens the stream.  What it reports
	 * in lower ballots cannot be chosen: the majority that promised before it
	 * would have reported it too, or will never accept it.
	 */
	if (!merge)
		return;
	for (int i = 0; i < m->n_entries; i++)
		merge_entry(p, &m->entries[i]);
	p->reported_last = px_max64(p->reported_last, m->last);
	peer->promised = true;
	if (p->role == PX_CANDIDATE && peer->node == p->params.self)
	{
		/*
		 * The ballot is durable here: a proposer that crashes now cannot use
		 * it again, so others may hear of it.
		 */
		for (int i = 0; i < p->config.n_members; i++)
		{
			if (&p->peers[i] != peer)
				p->peers[i].want_prepare = p->peers[i].up;
		}
	}
	count_promises(p);
}

/* Is the value this ballot proposed for 'slot' still in the window? */
static bool
kept(const px_proposer *p, px_slot slot)
{
	const px_window_entry *w = &p->window[slot % PX_MAX_WINDOW];

	return w->slot == slot && w->ballot == p->ballot && slot <= p->proposed;
}

/*
 * From where a stream is to be opened: below chosen as far as the values are
 * still at hand, within the bytes of one message, and not below what the peer
 * has truncated (it would refuse).  Slots that are chosen are
 * thereby offered again to an acceptor that did not hear of it.  Opened at
 * chosen, every member could be left with a gap that no other can fill: all
 * have accepted the slot and lost their connection before they were told that
 * it is chosen, and then only this proposer knows.
 */
static px_slot
opening_w(const px_proposer *p, const px_peer *peer)
{
	px_slot w = p->chosen;
	uint32_t bytes = 0;

	if (p->collecting)
		return w;
	while (w > peer->truncated && kept(p, w))
	{
		bytes += p->window[w % PX_MAX_WINDOW].len;
		if (bytes > PX_CHUNK_BYTES)
			break;
		w--;
	}
	return w;
}

void
px_stream_send_prepares(px_proposer *p)
{
	const px_peer *own = px_peer_find(p, p->params.self);
	bool durable;

	if (!px_in_ballot(p))
		return;
	durable = p->role != PX_CANDIDATE || (own != NULL && own->promised);
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];
		px_action *a;

		if (!peer->want_prepare || !peer->up || (!durable && peer != own))
			continue;
		px_stream_reset(p, peer);
		peer->preparing = true;
		peer->stream = ++p->streams;
		peer->w = opening_w(p, peer);
		peer->waiting_since = p->now;
		a = px_action_add(p, PX_DO_SEND_PREPARE, peer->node);
		a->u.prepare.from = p->params.self;
		a->u.prepare.ballot = p->ballot;
		a->u.prepare.stream = peer->stream;
		a->u.prepare.w = peer->w;
		a->u.prepare.handover = p->handover;
	}
}

/*
 * ---- counting ----
 */

/*
 * Has this peer accepted 'slot' in the present ballot?  In its open stream
 * that is first <= slot < next: a stream that began above the slot says
 * nothing about it, however far next has gone.
 */
bool
px_stream_counts(const px_proposer *p, const px_peer *peer, px_slot slot)
{
	(void) p;
	if (!peer->open)
		return false;
	if (peer->first != 0 && peer->first <= slot && slot < peer->next)
		return true;
	return slot > peer->w && slot <= peer->w + PX_MAX_WINDOW &&
		   (peer->reported >> (slot - peer->w - 1) & 1) != 0;
}

static void
count_chosen(px_proposer *p)
{
	while (p->chosen < p->proposed)
	{
		bool yes[PX_MAX_MEMBERS] = {false};
		bool no[PX_MAX_MEMBERS] = {false};

		for (int i = 0; i < p->config.n_members; i++)
			yes[i] = px_stream_counts(p, &p->peers[i], p->chosen + 1);
		if (px_quorum_tally(&p->config, yes, no) != PX_TALLY_WON)
			break;
		p->chosen++;
		px_see_log_time(p, window_entry(p, p->chosen)->log_time_us);
		for (int i = 0; i < p->config.n_members; i++)
		{
			if (window_entry(p, p->chosen)->origins >> i & 1)
				p->peers[i].tell = true;
		}
	}
}

/*
 * The configuration just chosen is without this voter.  The streams that are
 * open go on, so that the slot and the news get to everybody, and members that
 * are new get one; see px_change.c.
 */
static void
leave(px_proposer *p)
{
	p->leaving = true;
	p->round_more = false;
	p->reason = "no longer a voter";
	for (int i = 0; i < PX_MAX_WINDOW; i++)
		p->window[i].origins = EVERYBODY; /* its bits were the old members' */
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		peer->tell = true;
		if (peer->up && !peer->open && !peer->preparing)
			peer->want_prepare = true;
	}
}

/*
 * Everything the round proposed is chosen, and more must follow.
 */
static void
next_round(px_proposer *p)
{
	const px_window_entry *w = window_entry(p, p->round_end);
	px_value_view view;
	px_config config;

	if (w->slot == p->round_end && px_value_open(px_proposer_value(p, p->round_end), &view) &&
		px_value_config(&view, p->round_end, &config) && config.slot > p->config.slot)
	{
		px_change_chosen(p, &config);
		px_adopt_config(p, &config);

		/* the silence of members that could not be asked begins here */
		for (int i = 0; i < p->config.n_members; i++)
			p->peers[i].answered_at = p->now;
	}
	if (px_config_is_voter(&p->config, p->params.self))
		begin_round(p);
	else
		leave(p);
}

/* Bring the ballot on as far as what is known allows. */
void
px_stream_progress(px_proposer *p)
{
	if (!px_leads(p) || p->collecting)
		return;
	count_chosen(p);
	if (p->round_more)
	{
		if (p->chosen == p->round_end)
			next_round(p);
		if (!p->leaving)
			return;
	}
	if (p->role == PX_RECOVERING && !p->leaving)
	{
		if (p->ready_slot == 0 && p->proposed - p->chosen < PX_MAX_WINDOW)
		{
			propose_noop(p);
			p->ready_slot = p->proposed;
		}
		if (p->ready_slot == 0 || p->chosen < p->ready_slot)
			return;
		px_set_role(p, PX_LEADER, "the own no-op is chosen");
		p->elections_won++;
		p->failures = 0;
		px_read_register(p);
	}
	px_change_progress(p);
	for (bool follows = false; may_begin_slot(p, follows); follows = true)
		propose_batches(p);
}

/*
 * ---- Accepts ----
 */

/*
 * Durably applied on every member that is with us; who is away is served from
 * what the nodes keep beyond this (protocol.md § 8).
 */
static px_slot
truncatable(const px_proposer *p)
{
	px_slot lowest = p->chosen;

	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].open)
			lowest = px_min64(lowest, p->peers[i].durable);
	}
	return lowest;
}

/*
 * Where a stream that was just opened begins: where the peer's knowledge ends,
 * or at the first slot above w whose value is still at hand, wherever w was:
 * the watermark may have moved on since.
 */
static px_slot
first_to_send(const px_proposer *p, const px_peer *peer)
{
	px_slot first = p->chosen + 1;

	while (first > peer->w + 1 && first > peer->known + 1 && kept(p, first - 1))
		first--;
	return first;
}

static void
send_accept(px_proposer *p, px_peer *peer, uint16_t n_values)
{
	px_action *a = px_action_add(p, PX_DO_SEND_ACCEPT, peer->node);
	px_accept *m = &a->u.accept;

	if (peer->send_next == 0)
	{
		peer->send_next = first_to_send(p, peer);
		peer->sent_first = peer->send_next;
		PX_ASSERT(peer->sent_first > peer->w && peer->sent_first <= p->chosen + 1);
	}
	p->last_sent_at = px_max64(p->now, p->last_sent_at + 1);
	m->from = p->params.self;
	m->ballot = p->ballot;
	m->stream = peer->stream;
	m->first = peer->send_next;
	m->n_values = n_values;
	m->chosen = p->chosen;
	m->sent_at = p->last_sent_at;

	/* once withdrawn, no lease is asked for again in this ballot */
	if (p->role != PX_HANDING_OVER)
	{
		m->lease_us = p->params.lease_us;
		m->lease_readable = p->params.lease_readable;
	}
	m->truncatable = truncatable(p);
	m->read = peer->answer;

	peer->send_next += n_values;
	peer->told_chosen = p->chosen;
	peer->tell = false;
	peer->untold_since = 0;
	peer->last_sent_at = p->last_sent_at;
	if (peer->waiting_since == 0)
		peer->waiting_since = p->now;
	peer->answer_new = false;
}

/* How many values from 'slot' on go into one message. */
static uint16_t
chunk(px_proposer *p, px_slot slot)
{
	uint32_t bytes = 0;
	uint16_t n = 0;

	while (slot + n <= p->proposed && (n == 0 || bytes < PX_CHUNK_BYTES))
	{
		bytes += window_entry(p, slot + n)->len;
		n++;
	}
	return n;
}

/*
 * Must the peer hear what is chosen although there is nothing else to send?
 * At once, if sessions there wait for it; else a moment later, for the next
 * Accept will say it too, and each message costs both sides.
 */
static bool
must_tell(const px_proposer *p, const px_peer *peer)
{
	return peer->told_chosen < p->chosen &&
		   (peer->tell || p->role != PX_LEADER ||
			p->now >= peer->untold_since + p->params.tell_delay_us);
}

/*
 * ---- whom to ask first ----
 *
 * A slot is chosen when a majority has it; what the others do in the same
 * moment costs processors, disks and network and helps nobody.  So a thrifty
 * leader sends a new value at once to its own acceptor, to as many others as
 * make a majority, the *eager* ones, and to the members whose batches it
 * holds.  The rest get it, several at a time, together with the news that it is
 * chosen (must_tell), with whatever must go to them anyway, or when the eager
 * ones do not answer soon: then everybody is asked, and who was late is no
 * longer eager.  (Moraru, Andersen and Kaminsky, "There Is More Consensus in
 * Egalitarian Parliaments", call it thrifty; the hedge is that of Dean and
 * Barroso, "The Tail at Scale".)
 *
 * Safety does not depend on any of it: streams stay contiguous, and counting
 * asks who has accepted.
 */

/* Would 'a' be asked before 'b'?  Who is eager stays so: round trips vary. */
static bool
preferred(const px_peer *a, const px_peer *b)
{
	if (a->hedged_at != b->hedged_at)
		return a->hedged_at < b->hedged_at;
	if (a->eager != b->eager)
		return a->eager;
	return a->rtt_us < b->rtt_us;
}

static void
choose_eager(px_proposer *p)
{
	int wanted = px_quorum_size(&p->config);
	bool eager[PX_MAX_MEMBERS] = {false};

	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].node == p->params.self && p->peers[i].open && p->peers[i].voter)
			wanted--;
	}
	while (wanted-- > 0)
	{
		int best = -1;

		for (int i = 0; i < p->config.n_members; i++)
		{
			const px_peer *peer = &p->peers[i];

			if (!peer->open || !peer->voter || peer->node == p->params.self || eager[i])
				continue;
			if (best < 0 || preferred(peer, &p->peers[best]))
				best = i;
		}
		if (best < 0)
			break;
		eager[best] = true;
	}
	for (int i = 0; i < p->config.n_members; i++)
		p->peers[i].eager = eager[i];
}

/*
 * Until when the eager ones may take over the oldest slot in flight: twice what
 * the slowest took last, and a bit.  0: nothing is in flight.
 */
static px_usec
patience_ends(const px_proposer *p)
{
	px_usec slowest = 0;

	if (p->chosen == p->proposed)
		return 0;
	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].eager)
			slowest = px_max64(slowest, p->peers[i].rtt_us);
	}
	return p->window[(p->chosen + 1) % PX_MAX_WINDOW].proposed_at +
		   px_min64(2 * slowest + PX_HEDGE_US, p->params.heartbeat_us);
}

static bool
holds_batch_for(px_proposer *p, const px_peer *peer, px_slot from)
{
	uint32_t bit = UINT32_C(1) << (peer - p->peers);

	for (px_slot slot = from; slot <= p->proposed; slot++)
	{
		if ((window_entry(p, slot)->origins & bit) != 0)
			return true;
	}
	return false;
}

/* May the values from 'from' on still be held back from this peer? */
static bool
may_hold(px_proposer *p, const px_peer *peer, px_slot from)
{
	return p->params.thrifty && p->role == PX_LEADER && !p->leaving &&
		   peer->node != p->params.self && !peer->eager && !p->beat && !p->hedge &&
		   !peer->answer_new && peer->send_next != 0 && p->proposed - from < PX_MAX_WINDOW / 2 &&
		   !must_tell(p, peer) && !holds_batch_for(p, peer, from);
}

/*
 * The eager ones have had their time with a slot that is held back from
 * others: ask everybody, and remember who was late.
 */
static void
check_patience(px_proposer *p)
{
	px_usec ends = patience_ends(p);
	bool held = false;

	for (int i = 0; i < p->config.n_members; i++)
		held = held || p->peers[i].held;
	p->hedge = held && ends != 0 && p->now >= ends;
	if (!p->hedge)
		return;
	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].eager && p->peers[i].next <= p->chosen + 1)
			p->peers[i].hedged_at = p->now;
	}
}

static void
send_to(px_proposer *p, px_peer *peer)
{
	px_slot from = peer->send_next != 0 ? peer->send_next : first_to_send(p, peer);
	int chunks = 0;
	bool own = peer->node == p->params.self;

	if (from <= p->proposed && !kept(p, from))
	{
		/* it fell behind what is kept: begin again */
		px_stream_reset(p, peer);
		peer->want_prepare = true;
		p->again = true;
		return;
	}
	if (peer->told_chosen < p->chosen && peer->untold_since == 0)
		peer->untold_since = p->now;
	peer->held = from <= p->proposed && may_hold(p, peer, from);
	if (peer->held)
		return;
	while (from <= p->proposed && chunks < PX_CHUNKS_PER_STEP)
	{
		send_accept(p, peer, chunk(p, from));
		from = peer->send_next;
		chunks++;
	}
	if (from <= p->proposed)
		p->again = true;

	/*
	 * Without values it goes out when the peer does not know its position or
	 * must hear what is chosen (the own node was told by PX_DO_PUBLISH), when
	 * an answer or a confirmation is waited for, and as heartbeat.
	 */
	if (chunks == 0 &&
		(peer->send_next == 0 || p->beat || peer->answer_new || (!own && must_tell(p, peer))))
		send_accept(p, peer, 0);
}

/*
 * To who was removed by the configuration just chosen: that it is chosen, once,
 * as long as the connection stands.  If that is lost, it learns it when it
 * asks.  It holds the slot, unless it lags far behind: a configuration is sent
 * to everybody at once.
 */
static void
send_farewells(px_proposer *p)
{
	for (int i = 0; i < p->n_parting; i++)
	{
		px_peer *peer = &p->parting[i];

		px_accept *m;

		if (peer->send_next != p->chosen + 1 || !px_action_room(p, 1))
			continue;
		send_accept(p, peer, 0);
		m = &p->up->actions[p->up->n_actions - 1].u.accept;
		m->lease_us = 0;
		m->lease_readable = false;
		m->truncatable = 0;
	}
	p->n_parting = 0;
}

void
px_stream_send_accepts(px_proposer *p)
{
	if (!px_leads(p))
		return;
	send_farewells(p);
	if (p->collecting)
		return;
	check_patience(p);
	choose_eager(p);
	for (int i = 0; i < p->config.n_members; i++)
	{
		if (p->peers[i].open)
			send_to(p, &p->peers[i]);
	}
}

void
px_stream_accepted(px_proposer *p, px_peer *peer, const px_accepted *m)
{
	px_change_recorded(p, peer, m->config);
	if (overtaken(p, m->promised))
		return;
	if (!px_leads(p) || m->ballot != p->ballot || m->stream != peer->stream || !peer->open)
	{
		p->reason = "ignored: answer of an old ballot or stream";
		return;
	}
	if (m->refusal != PX_REFUSED_NOT)
	{
		px_stream_reset(p, peer);
		if (m->refusal == PX_REFUSED_STREAM || m->refusal == PX_REFUSED_POSITION)
			peer->want_prepare = true;
		else
			peer->reopen_at = p->now + p->params.election_timeout_us / 4;
		p->reason = px_refusal_name(m->refusal);
		return;
	}
	if (peer->sent_first == 0 || m->first != peer->sent_first || m->next < peer->next ||
		m->next < m->first || m->next > peer->send_next || m->sent_at > peer->last_sent_at)
	{
		cut(p, peer, "cut: malformed answer");
		return;
	}
	peer->first = m->first;
	peer->next = m->next;
	peer->applied = m->applied;
	peer->durable = m->durable;
	peer->truncated = px_max64(peer->truncated, m->truncated);
	peer->answered_at = p->now;
	peer->acked_sent_at = px_max64(peer->acked_sent_at, m->sent_at);
	peer->rtt_us = p->now > m->sent_at ? p->now - m->sent_at : 0;
	peer->waiting_since = m->sent_at == peer->last_sent_at ? 0 : p->now;

	/* what it has received without a gap it knows chosen as soon as it is told */
	peer->known = px_max64(peer->known, m->applied);
	if (peer->first <= peer->known + 1)
		peer->known = px_max64(peer->known, peer->next - 1);
	px_read_granted(p, peer, m);
	px_read_confirm(p);
}

/*
 * Do all members whose streams are open, a majority, miss slots that are
 * chosen?  Then the one that knows most can learn from nobody.
 */
bool
px_stream_blind(const px_proposer *p)
{
	bool open[PX_MAX_MEMBERS] = {false};
	bool no[PX_MAX_MEMBERS] = {false};

	if (!px_leads(p) || p->collecting)
		return false;
	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];
		px_slot known = peer->known;

		if (peer->node == p->params.self)
			known = px_max64(known, p->local.chosen);
		if (!peer->open || peer->first == 0)
			continue;
		if (peer->first <= known + 1)
			return false;
		open[i] = true;
	}
	return px_quorum_tally(&p->config, open, no) == PX_TALLY_WON;
}

px_usec
px_stream_quorum_answered_at(const px_proposer *p)
{
	uint64_t at[PX_MAX_MEMBERS] = {0};

	for (int i = 0; i < p->config.n_members; i++)
		at[i] = p->peers[i].answered_at;
	return px_quorum_watermark(&p->config, at);
}

void
px_stream_timers(px_proposer *p)
{
	if (!px_in_ballot(p))
		return;
	for (int i = 0; i < p->config.n_members; i++)
	{
		px_peer *peer = &p->peers[i];

		if (peer->reopen_at != 0 && p->now >= peer->reopen_at)
		{
			peer->reopen_at = 0;
			peer->want_prepare = true;
		}

		/*
		 * A connection can be dead without anybody having said so.  The new
		 * one begins with a Prepare.
		 */
		if (peer->up && peer->waiting_since != 0 &&
			p->now >= peer->waiting_since + PX_SILENCE_TIMEOUTS * p->params.election_timeout_us)
		{
			cut(p, peer, "cut: no answer for a long time");
			if (!px_in_ballot(p))
				return;
			continue;
		}

		/* one heartbeat for all: an idle leader wakes once an interval */
		if (peer->open && peer->last_sent_at != 0 &&
			p->now >= peer->last_sent_at + p->params.heartbeat_us)
			p->beat = true;
	}
}

px_usec
px_stream_wake(const px_proposer *p)
{
	px_usec at = 0;

	if (!px_in_ballot(p))
		return 0;
	if (p->role == PX_LEADER && p->intake_n > 0 && !p->round_more && !px_change_holds(p) &&
		p->proposed - p->chosen < p->params.pipeline_depth)
		at = p->proposed_at + p->params.pipeline_gap_us;
	for (int i = 0; i < p->config.n_members; i++)
	{
		const px_peer *peer = &p->peers[i];

		at = px_earlier(at, peer->reopen_at);
		if (px_leads(p) && !p->collecting && peer->open && peer->last_sent_at != 0)
		{
			at = px_earlier(at, peer->last_sent_at + p->params.heartbeat_us);
			if (peer->untold_since != 0 && peer->node != p->params.self)
				at = px_earlier(at, peer->untold_since + p->params.tell_delay_us);
			if (peer->held)
				at = px_earlier(at, patience_ends(p));
		}
	}
	return at;
}
