/*
 * px_trace.c
 *	  One line of text per event and per action.
 *
 * Owns: the wording of traces and transcripts (test/unit/transcripts).  Order
 * in a line: node, ballot, slot, then the rest.  Times are left out, but for
 * those that are asked for (a transcript must not change with a delay).
 *
 * Lines are cut to fit, never longer than the buffer given.  The only libc
 * function used is snprintf.
 */
#include <stdarg.h>
#include <stdio.h>

#include "px_trace.h"

typedef struct line
{
	char *buf;
	size_t cap;
	size_t len;
} line;

static void add(line *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(line *l, const char *fmt, ...)
{
	va_list args;
	int n;

	if (l->len + 1 >= l->cap)
		return;
	va_start(args, fmt);
	n = vsnprintf(l->buf + l->len, l->cap - l->len, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	l->len += (size_t) n;
	if (l->len >= l->cap)
		l->len = l->cap - 1;
}

#define U(x) ((unsigned long long) (x))

static void
add_ballot(line *l, const char *word, px_ballot b)
{
	add(l, " %s %llu.%u", word, U(px_ballot_round(b)), (unsigned) px_ballot_node(b));
}

const char *
px_trace_ballot(char *buf, size_t cap, px_ballot b)
{
	snprintf(buf, cap, "%llu.%u", U(px_ballot_round(b)), (unsigned) px_ballot_node(b));
	return buf;
}

static line
begin(char *buf, size_t cap, px_node self)
{
	line l = {buf, cap, 0};

	if (cap > 0)
		buf[0] = '\0';
	add(&l, "n%u", (unsigned) self);
	return l;
}

static void
add_promise(line *l, px_node from, const px_promise *m)
{
	add(l, " <- n%u promise", (unsigned) from);
	add_ballot(l, "ballot", m->ballot);
	add(l, " stream %llu w %llu", U(m->stream), U(m->w));
	if (m->refusal != PX_REFUSED_NOT)
	{
		add(l, " refused: %s", px_refusal_name(m->refusal));
		add_ballot(l, "promised", m->promised);
		add(l, " truncated %llu", U(m->truncated));
		return;
	}
	add(l, " chosen %llu last %llu", U(m->chosen), U(m->last));
	for (int i = 0; i < m->n_entries; i++)
	{
		add(l, " %llu@%llu.%u%s", U(m->entries[i].slot), U(px_ballot_round(m->entries[i].ballot)),
			(unsigned) px_ballot_node(m->entries[i].ballot), m->entries[i].chosen ? "!" : "");
	}
}

static void
add_accepted(line *l, px_node from, const px_accepted *m)
{
	add(l, " <- n%u accepted", (unsigned) from);
	add_ballot(l, "ballot", m->ballot);
	add(l, " stream %llu", U(m->stream));
	if (m->refusal != PX_REFUSED_NOT)
	{
		add(l, " refused: %s", px_refusal_name(m->refusal));
		add_ballot(l, "promised", m->promised);
	}
	add(l, " first %llu next %llu applied %llu durable %llu", U(m->first), U(m->next),
		U(m->applied), U(m->durable));
}

static void
add_local(line *l, const px_local *m)
{
	add(l, " local");
	add_ballot(l, "promised", m->promised);
	add(l, " chosen %llu applied %llu truncated %llu", U(m->chosen), U(m->applied),
		U(m->truncated));
	if (m->leader != 0)
		add_ballot(l, "leader", m->leader);
	if (m->lost_at != 0)
		add(l, " lost");
	if (m->handover != 0)
		add_ballot(l, "handover", m->handover);
	if (m->read.seq != 0)
		add(l, " read %llu/%llu index %llu", U(m->read.incarnation), U(m->read.seq),
			U(m->read.index));
	add(l, " own %llu/%llu", U(m->own_incarnation), U(m->own_last));
	if (m->gaps_seen != 0)
		add(l, " gaps %llu", U(m->gaps_seen));
	if (!m->may_vote)
		add(l, " may-not-vote");
	if (m->stuck)
		add(l, " stuck");
}

const char *
px_trace_event(char *buf, size_t cap, px_node self, const px_event *ev)
{
	line l = begin(buf, cap, self);
	unsigned from = ev->node;

	switch (ev->kind)
	{
		case PX_EV_TICK:
			add(&l, " tick");
			break;
		case PX_EV_PEER_UP:
			add(&l, " <- n%u up", from);
			break;
		case PX_EV_PEER_DOWN:
			add(&l, " <- n%u down", from);
			break;
		case PX_EV_LOCAL:
			add_local(&l, ev->u.local);
			break;
		case PX_EV_PREVOTE_REPLY:
			add(&l, " <- n%u prevote %s", from,
				ev->u.prevote_reply->refusal == PX_REFUSED_NOT ? "yes" : "no");
			if (ev->u.prevote_reply->refusal != PX_REFUSED_NOT)
				add(&l, ": %s", px_refusal_name(ev->u.prevote_reply->refusal));
			add_ballot(&l, "promised", ev->u.prevote_reply->promised);
			add(&l, " chosen %llu", U(ev->u.prevote_reply->chosen));
			break;
		case PX_EV_PROMISE:
			add_promise(&l, ev->node, ev->u.promise);
			break;
		case PX_EV_ACCEPTED:
			add_accepted(&l, ev->node, ev->u.accepted);
			break;
		case PX_EV_BATCH:
			add(&l, " batch");
			break;
		case PX_EV_FORWARD:
			add(&l, " <- n%u forward incarnation %llu batches %u%s", (unsigned) ev->u.forward->from,
				U(ev->u.forward->incarnation), (unsigned) ev->u.forward->n_batches,
				ev->u.forward->resend ? " resend" : "");
			if (ev->u.forward->read_seq != 0)
				add(&l, " read %llu", U(ev->u.forward->read_seq));
			break;
		case PX_EV_FORWARD_REPLY:
			add(&l, " <- n%u forward-reply %s", from,
				ev->u.forward_reply->leads ? "leads" : "does not lead");
			break;
		case PX_EV_READ:
			add(&l, " read wanted");
			break;
		case PX_EV_TRANSFER:
			add(&l, " transfer to n%u", from);
			break;
		case PX_EV_CONFIG:
			add(&l, " config slot %llu members %u", U(ev->u.config->slot),
				(unsigned) ev->u.config->n_members);
			break;
		case PX_EV_CONFIGURE:
			add(&l, " configure request %llu base %llu%s", U(ev->u.configure->request),
				U(ev->u.configure->base), ev->u.configure->value.len == 0 ? " confirm" : "");
			break;
	}
	return buf;
}

static void
add_accept(line *l, const px_accept *m)
{
	add(l, " accept");
	add_ballot(l, "ballot", m->ballot);
	add(l, " stream %llu", U(m->stream));
	if (m->n_values > 0)
		add(l, " slots %llu..%llu", U(m->first), U(m->first + m->n_values - 1));
	else
		add(l, " next %llu", U(m->first));
	add(l, " chosen %llu", U(m->chosen));
	if (m->lease_us == 0)
		add(l, " no lease");
	if (m->read.seq != 0)
		add(l, " read %llu/%llu index %llu", U(m->read.incarnation), U(m->read.seq),
			U(m->read.index));
}

const char *
px_trace_action(char *buf, size_t cap, px_node self, const px_action *a)
{
	line l = begin(buf, cap, self);
	unsigned to = a->to;

	switch (a->kind)
	{
		case PX_DO_PUBLISH:
			add(&l, " publish %s", px_role_name(a->u.publish.role));
			if (a->u.publish.ballot != 0)
				add_ballot(&l, "ballot", a->u.publish.ballot);
			add(&l, " leader n%u chosen %llu%s%s%s", (unsigned) a->u.publish.leader,
				U(a->u.publish.chosen), a->u.publish.ready ? " ready" : "",
				a->u.publish.lease_until != 0 ? " leased" : "",
				a->u.publish.removed ? " removed" : "");
			break;
		case PX_DO_SEND_PREVOTE:
			add(&l, " -> n%u prevote chosen %llu", to, U(a->u.prevote.chosen));
			break;
		case PX_DO_SEND_PREPARE:
			add(&l, " -> n%u prepare", to);
			add_ballot(&l, "ballot", a->u.prepare.ballot);
			add(&l, " stream %llu w %llu", U(a->u.prepare.stream), U(a->u.prepare.w));
			if (a->u.prepare.handover != 0)
				add_ballot(&l, "handover", a->u.prepare.handover);
			break;
		case PX_DO_SEND_ACCEPT:
			add(&l, " -> n%u", to);
			add_accept(&l, &a->u.accept);
			break;
		case PX_DO_SEND_HANDOVER:
			add(&l, " -> n%u handover", to);
			add_ballot(&l, "ballot", a->u.handover.ballot);
			break;
		case PX_DO_SEND_FORWARD:
			add(&l, " -> n%u forward", to);
			if (a->u.fwd.forward.n_batches > 0)
				add(&l, " batches %llu..%llu%s", U(a->u.fwd.first_seq),
					U(a->u.fwd.first_seq + a->u.fwd.forward.n_batches - 1),
					a->u.fwd.forward.resend ? " resend" : "");
			if (a->u.fwd.forward.read_seq != 0)
				add(&l, " read %llu", U(a->u.fwd.forward.read_seq));
			break;
		case PX_DO_RESET_PEER:
			add(&l, " cut n%u", to);
			break;
		case PX_DO_FETCH:
			add(&l, " fetch from n%u to %llu", to, U(a->u.fetch_to));
			break;
		case PX_DO_READ_SENT:
			add(&l, " read %llu sent", U(a->u.read.seq));
			break;
		case PX_DO_READ_DONE:
			add(&l, " read %llu done index %llu", U(a->u.read.seq), U(a->u.read.index));
			break;
		case PX_DO_HANDOVER_USED:
			add(&l, " handover used");
			break;
		case PX_DO_CONFIGURED:
			add(&l, " configured request %llu: %s slot %llu", U(a->u.configured.request),
				px_change_result_name(a->u.configured.result), U(a->u.configured.slot));
			break;
	}
	return buf;
}
