/*
 * px_trace.h
 *	  One line of text per event and per action, for traces and transcripts.
 *	  Order in a line: node, ballot, slot, then the rest; ballots are written
 *	  round.node, e.g. 7.2.
 */
#ifndef PX_TRACE_H
#define PX_TRACE_H

#include "px_proposer.h"

#define PX_TRACE_BYTES 256

/* Writes a NUL-terminated line (cut to fit) and returns buf. */
extern const char *px_trace_event(char *buf, size_t cap, px_node self, const px_event *ev);
extern const char *px_trace_action(char *buf, size_t cap, px_node self, const px_action *a);
extern const char *px_trace_ballot(char *buf, size_t cap, px_ballot b);

#endif /* PX_TRACE_H */
