/*
 * t_history.h
 *	  What the parts of the checker's test share.
 */
#ifndef T_HISTORY_H
#define T_HISTORY_H

#include "hist_int.h"

/* t_brute.c: by trying all orders; only for a handful of operations */
extern bool brute_linearizable(const hist *h, bool by_slot);

/* t_cases.c: histories written by hand; calls expect() for each */
extern void run_cases(hist *h);

/* t_history.c */
extern void expect(bool good, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
