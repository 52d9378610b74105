/*
 * server.h
 *	  The stand-in for a server (server.c): the error last raised.
 */
#ifndef SERVER_H
#define SERVER_H

#include <setjmp.h>

/* the server's own, which live in its libraries, are not needed here */
#undef printf
#undef fprintf
#undef snprintf
#undef vsnprintf

struct RaisedError
{
	int sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
	const char *generic[128]; /* by PG_DIAG_... */
};

/* what commands are written in: an old one is encoded again as it was */
extern int format_in_use;

extern struct RaisedError raised;
extern jmp_buf *raised_jump; /* where errfinish() goes */

#endif /* SERVER_H */
