/*
 * paxos_version.c
 *	  Versions: what this build speaks, and what the cluster lets it use.
 *
 * A cluster is upgraded one node at a time, so nodes of neighbouring versions work
 * together.  A node *speaks* paxos_protocol_min .. paxos_protocol_max.  Every greeting
 * and its answer say the highest, and each node remembers what it was told last
 * (paxos.member_memory; a member never heard counts as the oldest there is).  Messages
 * to a member are of the highest version both speak.  The version *in use* is that
 * of the commands a node puts into the log: the highest that all members speak,
 * voters or not, those that are away too.  So nothing is written to the log that a
 * member could not apply.
 *
 * Each node finds the version in use for itself.  Two nodes may differ about it
 * for a moment; that is harmless, for whatever either uses, all can read.
 *
 * It falls back when a member is added that has not been heard yet, or one goes
 * back to an older build.  What stands in the log then in the newer format stops
 * that member's learner at its slot (alarm "stuck", paxos_learner.c); a newcomer is
 * taken only if its build is the caller's (paxos_member.c), so it cannot meet such
 * a value.
 *
 * Stateless: computed from the configuration that governs and from what is
 * remembered of members (paxos_memory.c).  A crash changes nothing.
 *
 * PAXOS_PRETEND_NEXT makes the same code as a later version, or (-1) as the one before,
 * for tests of upgrades (make PRETEND_NEXT=1); nothing but this file depends on it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"

#include "paxos_memory.h"
#include "paxos_version.h"

/* What each version brought stands in protocol.md § 13. */
#define OWN_VERSION 2

/* So long a member not heard yet is waited for, and looked for so often. */
#define HEARD_WITHIN_US UINT64CONST(5000000)
#define LOOK_MS 20

#ifndef PAXOS_PRETEND_NEXT
#define PAXOS_PRETEND_NEXT 0
#endif

const int paxos_protocol_max = OWN_VERSION + PAXOS_PRETEND_NEXT;
const int paxos_protocol_min = Max(OWN_VERSION + PAXOS_PRETEND_NEXT - 1, 1);

int
paxos_version_with(px_node node)
{
	if (paxos_protocol_min == paxos_protocol_max || node == paxos_shared->node_id)
		return paxos_protocol_max;
	return Max(Min(paxos_protocol_max, paxos_memory_version(node)), paxos_protocol_min);
}

/*
 * As paxos_version_in_use(), and who keeps it so low; 'heard' false: it is not known
 * what that one speaks.
 */
static int
in_use(px_member *lowest, bool *heard)
{
	px_config config;
	px_node self;
	int version = paxos_protocol_max;

	*heard = true;
	memset(lowest, 0, sizeof(*lowest));
	if (paxos_protocol_min == paxos_protocol_max)
		return version;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	config = paxos_shared->config;
	self = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);

	/* Who does not know the members yet, because it is about to join. */
	if (config.n_members == 0)
		return paxos_protocol_min;

	for (int i = 0; i < config.n_members; i++)
	{
		int speaks;

		if (config.members[i].node == self)
			continue;
		speaks = paxos_memory_version(config.members[i].node);
		if (speaks >= version)
			continue;
		version = speaks;
		*lowest = config.members[i];
		*heard = speaks != 0;
	}
	return Max(version, paxos_protocol_min);
}

int
paxos_version_in_use(void)
{
	px_member lowest;
	bool heard;

	return in_use(&lowest, &heard);
}

void
paxos_version_require(int version, const char *what)
{
	static uint32 wait_event = 0;
	px_usec until = 0;

	for (;;)
	{
		px_member lowest;
		bool heard;
		int used = in_use(&lowest, &heard);

		if (used >= version)
			return;
		if (until == 0)
			until = paxos_now_us() + HEARD_WITHIN_US;
		if (heard || paxos_now_us() >= until)
			ereport(
				ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("%s need protocol version %d, but version %d is in use", what, version,
						used),
				 lowest.node == 0 ? errdetail("This node speaks no later version.")
				 : heard          ? errdetail("Member %u speaks no later version.", lowest.node)
						 : errdetail("What member %u speaks is not known yet.", lowest.node),
				 errhint("Install the same version of paxos_ext on all members; protocol_speaks in "
						 "paxos.members shows what each speaks.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
						 paxos_wait_event(&wait_event, "PaxosVersion"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
paxos_version_refuse(int version)
{
	char *own = paxos_protocol_min == paxos_protocol_max
					? psprintf("version %d", paxos_protocol_max)
					: psprintf("versions %d to %d", paxos_protocol_min, paxos_protocol_max);

	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg("the peer speaks protocol version %d, this node %s", version, own),
		 version > paxos_protocol_max
			 ? errhint("Install a newer version of paxos_ext on this node: nodes of one cluster "
					   "may be one version apart.")
			 : errhint("Install a newer version of paxos_ext on the peer: nodes of one cluster "
					   "may be one version apart.")));
}
