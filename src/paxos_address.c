/*
 * paxos_address.c
 *	  Where the members are that have come to this node (protocol.md § 7).
 *
 * A member that was away while all others were replaced, or a newcomer that was told
 * of none but such as have left, knows no address that leads anywhere.  But the members
 * of today have its own, in the configuration, and their proposers come to it.  So each
 * says, after the greeting, where it is to be found itself, and the learner asks it for
 * the log or a snapshot as it asks the members that it knows of.
 *
 * That is safe: an address is used for asking only, never for a vote.  Whoever answers
 * checks the uuid of the cluster, and gives nothing but what it knows to be chosen, which
 * is so forever, whoever is a member by now.  Which members there are is learnt from that
 * alone.  Who may introduce itself (role paxos_peer) is trusted with more than that: it
 * may propose configurations, in which there are addresses, too.
 *
 * Owns: paxos_shared's addresses; the function behind paxos.introduce().  Not its
 * business: whom the proposer streams to, which is what its configuration says.
 *
 * Volatile: gone after a restart, when the members come again.
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq-fe.h"
#include "utils/builtins.h"

#include "paxos_acceptor.h"
#include "paxos_address.h"
#include "paxos_node.h"

PG_FUNCTION_INFO_V1(paxos_sql_introduce);

/* The place for it: its own, a free one, or that of the lowest number, which is the one
 * least likely to be a member still. */
static PaxosAddress *
place_for(px_node node)
{
	PaxosAddress *lowest = &paxos_shared->addresses[0];

	for (int i = 0; i < PX_MAX_MEMBERS; i++)
	{
		PaxosAddress *a = &paxos_shared->addresses[i];

		if (a->node == node)
			return a;
		if (a->node < lowest->node)
			lowest = a;
	}
	return lowest;
}

/* paxos.introduce(cluster, version, sender, conninfo) */
Datum
paxos_sql_introduce(PG_FUNCTION_ARGS)
{
	px_node from = paxos_peer_check_asker(fcinfo, NULL);
	char *conninfo;
	char *error = NULL;
	PQconninfoOption *options;
	PaxosAddress *a;

	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("conninfo must not be null")));
	conninfo = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (conninfo[0] == '\0' || strlen(conninfo) >= PX_MAX_CONNINFO)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("conninfo must have between 1 and %d bytes", PX_MAX_CONNINFO - 1)));
	options = PQconninfoParse(conninfo, &error);
	if (options == NULL)
	{
		char *why = error != NULL ? pchomp(error) : "out of memory";

		PQfreemem(error);
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("conninfo is no connection string"), errdetail_internal("%s", why)));
	}
	PQconninfoFree(options);

	/*
	 * Who has been removed and does not know it is refused elsewhere, with an answer that
	 * says so: an error here would cut the connection before it has asked.
	 */
	if (from != paxos_shared->node_id)
	{
		LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
		a = place_for(from);
		a->node = from;
		strlcpy(a->conninfo, conninfo, sizeof(a->conninfo));
		LWLockRelease(paxos_integrity_lock);
		paxos_wake_learner();
	}
	PG_RETURN_VOID();
}

List *
paxos_address_givers(void)
{
	List *givers = paxos_node_members();
	px_acceptor acceptor = paxos_acceptor_look();

	LWLockAcquire(paxos_integrity_lock, LW_SHARED);
	for (int i = 0; i < PX_MAX_MEMBERS; i++)
	{
		const PaxosAddress *a = &paxos_shared->addresses[i];
		PaxosMember *m;
		ListCell *lc;
		bool known = a->node == 0 || px_config_removed(&acceptor.config, a->node);

		foreach (lc, givers)
			known = known || ((PaxosMember *) lfirst(lc))->node == a->node;
		if (known)
			continue;
		m = palloc0(sizeof(PaxosMember));
		m->node = a->node;
		snprintf(m->name, sizeof(m->name), "%u", a->node);
		strlcpy(m->conninfo, a->conninfo, sizeof(m->conninfo));
		givers = lappend(givers, m);
	}
	LWLockRelease(paxos_integrity_lock);
	return givers;
}

void
paxos_address_forget(void)
{
	LWLockAcquire(paxos_integrity_lock, LW_EXCLUSIVE);
	memset(paxos_shared->addresses, 0, sizeof(paxos_shared->addresses));
	LWLockRelease(paxos_integrity_lock);
}
