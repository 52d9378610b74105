/*
 * solo.h
 *	  One proposer by itself: the test plays all acceptors, its own included.
 *
 * Answers are written out field by field, so that a test can give any
 * interleaving, also one that the fixture of cluster.h would not produce.
 */
#ifndef SOLO_H
#define SOLO_H

#include "unit.h"

typedef struct solo
{
	px_proposer_params params;
	px_config config;
	void *memory;
	px_proposer *p;
	px_local local;
	px_update up; /* of the last step */
	px_usec now;
	uint64_t wall_us;
	px_proposer_view view; /* after the last step */
	uint8_t buf[65536];    /* of solo_value() and solo_noop() */
	uint32_t used;
} solo;

/* Node 1 of n_voters voters; not started. */
extern solo *solo_new(int n_voters);
/* Starts it with the params as they are; all peers are up. */
extern void solo_start(solo *s);
extern void solo_free(solo *s);

/* Steps; every one is checked with px_invariants.h. */
extern void solo_step(solo *s, px_event *ev);
extern void solo_tick(solo *s, px_usec advance);
extern void solo_local(solo *s);
extern void solo_peer(solo *s, px_node node, bool up);
extern void solo_event(solo *s, px_event_kind kind, px_node node);

/* Until it is a candidate with ballot s->view.ballot; own promise not given. */
extern void solo_stand(solo *s);
/* Until it leads; promises of a majority are empty. */
extern void solo_lead(solo *s);

/* The promise of 'node' to the Prepare it was last sent. */
extern void solo_promise(solo *s, px_node node, const px_entry *entries, int n, px_slot last);
extern void solo_promise_refused(solo *s, px_node node, px_refusal refusal, px_ballot promised);
/* Accepted: everything sent to 'node' so far, up to 'next'. */
extern void solo_accepted(solo *s, px_node node, px_slot next);
extern void solo_accepted_refused(solo *s, px_node node, px_refusal refusal, px_ballot promised);

/* Ask for the configuration "1 2 4l" (l: a learner) on 'base'; "": confirm. */
extern void solo_configure(solo *s, uint64_t request, px_slot base, bool force,
						   const char *members);
/* The own acceptor has recorded this configuration, chosen at 'slot'. */
extern void solo_config(solo *s, px_slot slot, const char *members);
extern px_bytes solo_config_value(solo *s, const char *members);
/* What every further answer says of configurations recorded. */
extern void solo_recorded(px_node node, px_slot config);

extern bool solo_batch(solo *s, const char *text);
extern void solo_forward(solo *s, px_node from, uint64_t incarnation, bool resend, uint64_t first,
						 int n);

/* The i-th action of that kind to that node (0: any) in the last step, or NULL. */
extern const px_action *solo_action(const solo *s, px_action_kind kind, px_node to, int i);
/* The same, and the test ends if there is none. */
extern const px_action *solo_must(const solo *s, px_action_kind kind, px_node to, int i);
extern int solo_count(const solo *s, px_action_kind kind, px_node to);

/* Values. */
extern px_bytes solo_noop(solo *s, uint64_t log_time_us);
extern px_bytes solo_value(solo *s, px_node origin, uint64_t sequence, const char *text);
/* The text of the first command of the value proposed for the slot; "" for a no-op. */
extern const char *solo_proposed(solo *s, px_slot slot);

#endif /* SOLO_H */
