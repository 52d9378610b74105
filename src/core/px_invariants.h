/*
 * px_invariants.h
 *	  What must hold of one state, and of two successive states
 *	  (protocol.md § 11), as functions that name the fact violated.
 *
 * Run after every step by tests and the simulator.  The cheap ones are also
 * PX_ASSERTs inside the code, always on.
 */
#ifndef PX_INVARIANTS_H
#define PX_INVARIANTS_H

#include "px_proposer.h"

/* NULL if all hold, else a sentence that names the violated fact. */
extern const char *px_check_acceptor(const px_acceptor *a);
extern const char *px_check_acceptor_step(const px_acceptor *before, const px_acceptor *after);
extern const char *px_check_proposer(const px_proposer *p);

/* After a step, with its actions: what was sent must be covered by the state. */
extern const char *px_check_update(const px_proposer *p, const px_update *up);

/* Two views of one proposer life, before and after a step. */
extern const char *px_check_proposer_step(const px_proposer_view *before,
										  const px_proposer_view *after);

#endif /* PX_INVARIANTS_H */
