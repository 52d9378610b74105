/*
 * paxos_expr.h
 *	  Expressions over one row, as text that travels in a command
 *	  (paxos_expr.c).
 */
#ifndef PAXOS_EXPR_H
#define PAXOS_EXPR_H

#include "access/tupdesc.h"
#include "lib/stringinfo.h"
#include "nodes/primnodes.h"

/*
 * Vars of varno 1 are columns of the row; of this, columns of the row that INSERT
 * proposes and ON CONFLICT DO UPDATE knows as EXCLUDED.
 */
#define PAXOS_EXPR_PROPOSED INNER_VAR

/* May the expression be executed at a slot?  If not, *why says why: a DETAIL. */
extern bool paxos_expr_expressible(Node *expr, const char **why);

/* May it be evaluated once, here, in a statement that may yet have no effect? */
extern bool paxos_expr_evaluable(Node *expr, const char **why);

/* Do values of this type mean the same on every node? */
extern bool paxos_expr_portable_type(Oid type);

/* If they do not, why: the end of a sentence; else NULL. */
extern const char *paxos_expr_type_trouble(Oid type);

/* Is text under this collation ordered alike on every node? */
extern bool paxos_expr_portable_collation(Oid collation);

/* The value, where the statement was issued, of a part that names no column. */
typedef Datum (*PaxosExprFold)(Expr *part, void *arg, bool *isnull);

/* Write an expressible expression; what names no column becomes a constant. */
extern char *paxos_expr_encode(Node *expr, PaxosExprFold fold, void *arg);

/*
 * Read it back, trusting nothing: every fault is an error of class 22, the same
 * on every node.
 */
extern Expr *paxos_expr_decode(const char *text, TupleDesc desc, bool proposed);

#endif /* PAXOS_EXPR_H */
