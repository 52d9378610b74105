/*
 * px_memory.h
 *	  Who has forgotten something: what members remember of each other, how a node
 *	  compares itself with it, and what a data directory says about itself
 *	  (protocol.md § 10).
 *
 * An acceptor that was put back to an earlier state cannot know it.  The others may:
 * each member keeps, of every other, the highest incarnation it has heard it in, the
 * highest ballot it has seen promised there and the highest slot it has seen accepted
 * there, all of it durable there when it was said.  A node that shows less has
 * forgotten.  And a copy of a data directory is known by its sentinel file.
 *
 * Only the decisions are here.  Who keeps what where, greets whom and is fenced how
 * is the glue's: src/paxos_memory.c and paxos_identity.c, test/sim/sim_amnesia.c.
 */
#ifndef PX_MEMORY_H
#define PX_MEMORY_H

#include "px_base.h"

/* What is remembered of a member; or what a node itself shows. */
typedef struct px_memory
{
	px_node node;         /* 0: free */
	uint64_t incarnation; /* highest heard */
	uint64_t instance;    /* the start of a server it was heard from; 0: not known */
	px_ballot promised;   /* highest ballot known durably promised there */
	px_slot accepted;     /* highest slot known durably accepted there */
	int version;          /* it said last that it speaks (protocol.md § 13); 0: not heard */
} px_memory;

/* Answer to a greeting. */
typedef enum px_welcome
{
	PX_WELCOME,       /* go on */
	PX_WELCOME_OLDER, /* a later incarnation of the sender has been heard */
	PX_WELCOME_TWIN   /* another server says the same of itself */
} px_welcome;

typedef enum px_forgotten
{
	PX_FORGOT_NOTHING,
	PX_FORGOT_INCARNATION,
	PX_FORGOT_PROMISE,
	PX_FORGOT_VALUE
} px_forgotten;

/* The member has said that this much is durable there. */
extern void px_memory_note(px_memory *m, px_ballot promised, px_slot accepted);

/*
 * A life of the member begins, or goes on over another connection.  'applied' is the
 * incarnation that the replicated state knows of it: it was heard by somebody.
 */
extern px_welcome px_memory_greet(px_memory *m, uint64_t applied, uint64_t incarnation,
								  uint64_t instance);

/* Does a node that shows 'own' know less of itself than somebody else remembers? */
extern px_forgotten px_memory_compare(const px_memory *remembered, const px_memory *own);

/* Whose life the sentinel file speaks of. */
typedef enum px_sentinel
{
	PX_SENTINEL_MISSING,
	PX_SENTINEL_OF_ROW,  /* the incarnation that the tables say */
	PX_SENTINEL_OF_NEXT, /* one more: the crash came between the file and the tables */
	PX_SENTINEL_OF_OTHER
} px_sentinel;

typedef enum px_doubt
{
	PX_DOUBT_NONE,
	PX_DOUBT_BACKUP,  /* it was started from a base backup */
	PX_DOUBT_MISSING, /* no sentinel */
	PX_DOUBT_OTHER,   /* one of another life: put together from several */
	PX_DOUBT_COPY     /* not the very file that was written last */
} px_doubt;

/*
 * Is this the data directory that the node last ran with?  'same_file': the sentinel
 * has the inode and change time that the tables say; 'same_label': so has
 * backup_label.old, or there is still none.
 */
extern px_doubt px_directory_judge(px_sentinel sentinel, bool same_file, bool same_label);

#endif /* PX_MEMORY_H */
