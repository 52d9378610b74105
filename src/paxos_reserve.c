/*
 * paxos_reserve.c
 *	  Clients cannot keep the other nodes out: the last free connections of a
 *	  member are for nodes.
 *
 * Owns: one decision, at the end of the authentication of a connection, whether
 * a client may have the slot it has just got.  (A slot is one of max_connections
 * here, not one of the log.)  No state of its own: a crash has nothing to lose.
 *
 * Why: nodes come in by the same door as clients.  A pool of clients that takes
 * every connection, or takes the one that a node lost a moment ago, would
 * turn a busy server into one that is down for the cluster: it hears no
 * Accept and its vote is missing, while it thinks it is well.
 *
 * PostgreSQL judges only by the number of connections still free, and so do we.
 * From the last free one upwards:
 *
 *	server's own   what PostgreSQL refuses to a role without superuser rights
 *				   anyway; most nodes connect with such a role, so that theirs
 *				   must be counted above it
 *	nodes		   as many as all other members can hold here, see needed()
 *	superusers	   superuser_reserved_connections once more: who comes to look why
 *				   the server is full gets in, as without us
 *	special		   reserved_connections once more (16 and later), for its role
 *	the rest	   everybody
 *
 * So each kind of client must leave free what is listed above its own line.
 *
 * What is not guarded: a connection that has not authenticated yet holds a slot
 * as well, for authentication_timeout at most.  Against these PostgreSQL
 * cannot defend even its superusers; a node that is refused by them tries again.
 *
 * Walsenders have slots of their own, and so have workers.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "libpq/auth.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "storage/lwlock.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/syscache.h"

#include "paxos_ext.h"

/* The role that may call the functions of peers; src/sql creates it. */
#define PEER_ROLE "paxos_peer"

/* What application_name of every connection between nodes begins with. */
#define PEER_PREFIX "paxos "

static ClientAuthentication_hook_type previous_client_authentication = NULL;

/*
 * How many connections the nodes may want here: of each other member a stream,
 * one for forwarding and one for fetching, and our own stream.  Those that are
 * connected are not subtracted.  Dead ones would be, until keepalives notice, and
 * for so long the same node could not come back.
 *
 * Never more than a quarter of max_connections: a server with few connections
 * is there for its clients too.
 *
 * Until the workers have read who we are, nobody knows how many there will be,
 * and all clients come back in the first moments after a start: then it is
 * that quarter.  On a physical standby they never read it, and no node comes.
 */
static int
needed(bool *known)
{
	PaxosMembership membership;
	int members;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	membership = paxos_shared->membership;
	members = paxos_shared->config.n_members;
	LWLockRelease(paxos_identity_lock);

	*known = membership != PAXOS_NO_DATABASE;
	if (!*known)
		return RecoveryInProgress() ? 0 : MaxConnections / 4;
	if (!paxos_takes_part(membership) || members < 1)
		return 0;
	return Min(3 * (members - 1) + 1, MaxConnections / 4);
}

/*
 * Is the role this one, or a member of it, directly or through others?
 *
 * Not is_member_of_role(): what that remembers for the whole session would be
 * computed before the session has a database, and so without
 * pg_database_owner, and before it listens for changes of memberships.
 */
static bool
role_belongs(Oid role, Oid to)
{
	List *roles = list_make1_oid(role);
	bool found = false;

	if (!OidIsValid(role) || !OidIsValid(to))
		return false;

	/* the list grows while we walk it, by what is not in it yet */
	for (int i = 0; i < list_length(roles) && !found; i++)
	{
		Oid member = list_nth_oid(roles, i);
		CatCList *memberships;

		found = member == to;
		memberships = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(member));
		for (int j = 0; j < memberships->n_members; j++)
		{
			HeapTuple tuple = &memberships->members[j]->tuple;

			roles =
				list_append_unique_oid(roles, ((Form_pg_auth_members) GETSTRUCT(tuple))->roleid);
		}
		ReleaseSysCacheList(memberships);
	}
	list_free(roles);
	return found;
}

/*
 * The connection is authenticated and has its slot; it is still in the
 * transaction in which it finds out about its role, so that catalogs shared by
 * all databases can be read.
 */
static void
client_authentication(Port *port, int status)
{
	bool known;
	int for_nodes;
	int for_server = PaxosSuperuserReserved + PaxosRoleReserved;
	int leave_free;
	Oid role;
	bool is_superuser;

	if (previous_client_authentication)
		previous_client_authentication(port, status);

	if (status != STATUS_OK || MyBackendType != B_BACKEND)
		return;
	for_nodes = needed(&known);
	if (for_nodes == 0)
		return;

	/* Enough for everybody: no catalog is looked at. */
	leave_free = for_server + for_nodes + PaxosSuperuserReserved + PaxosRoleReserved;
	if (paxos_have_free_procs(leave_free))
		return;

	role = get_role_oid(port->user_name, true);
	is_superuser = OidIsValid(role) && superuser_arg(role);

	if (port->application_name != NULL &&
		strncmp(port->application_name, PEER_PREFIX, strlen(PEER_PREFIX)) == 0 &&
		(is_superuser || role_belongs(role, get_role_oid(PEER_ROLE, true))))
		return;

	if (is_superuser)
		leave_free = for_server + for_nodes;
	else if (PaxosRoleReserved > 0 && role_belongs(role, PAXOS_ROLE_OF_RESERVED))
		leave_free = for_server + for_nodes + PaxosSuperuserReserved;
	if (paxos_have_free_procs(leave_free))
		return;

	ereport(FATAL,
			(errcode(ERRCODE_TOO_MANY_CONNECTIONS),
			 errmsg("remaining connection slots are reserved for nodes of the cluster"),
			 known ? 0
				   : errdetail("It is not known yet whether this server belongs to a cluster: no "
							   "worker has connected to database \"%s\" since the start.",
							   paxos_database),
			 errhint("Close connections that are not needed, or raise max_connections.")));
}

void
paxos_reserve_install_hook(void)
{
	previous_client_authentication = ClientAuthentication_hook;
	ClientAuthentication_hook = client_authentication;
}
