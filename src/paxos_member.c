/*
 * paxos_member.c
 *	  Changing who the members are: paxos_add_member(), paxos_remove_member(),
 *	  paxos_promote_member(), paxos_demote_member(), paxos_alter_member(),
 *	  paxos_transfer_leadership(), and what they call on other nodes
 *	  (protocol.md § 7).
 *
 * Owns: what a change asks for, the checks before, and the way of the request
 * to the leader.  Not its business: how a configuration is chosen and when it
 * governs (core/px_stream.c), how the leader's proposer takes the request
 * (paxos_proposer.c), how a new member gets its data (paxos_snapshot.c).
 *
 * A change is a configuration, made here from the one that governs, and carries
 * the slot of that one as its base.  The leader takes it only while the base is
 * what governs there: so two changes cannot undo each other unseen, and a request
 * sent again because its answer was lost cannot be carried out twice.  Whoever
 * lost an answer looks, after a barrier, what governs now: the wanted members
 * (then it was carried out, by this call or by one that wanted the same), the
 * base still (then it was not, and is asked for again), or something else.
 *
 * A node id is one above the highest of all configurations ever chosen, and so
 * never reused: the base check makes sure that the highest the caller knew
 * is the highest there is.
 *
 * A newcomer is surveyed like the nodes of a new cluster, then records who it
 * will be (join_record): cluster, node id, and the configuration that governs, of
 * which it is not a member.  From then on its acceptor answers, but it counts for
 * nothing and does not stand.  Then the configuration with it as a learner is
 * chosen.  The leader streams to it, its learner loads a snapshot; and when it
 * has caught up the leader's proposer asks for the configuration in which it
 * votes.  If the call ends before that was proposed, the newcomer waits with empty
 * tables (its learner loads nothing before the leader has come to it), and the same
 * call finishes it, under another number if this one was given to somebody else.
 *
 * Volatile: one request in shared memory of the leader's server, written by the
 * session that holds the heavyweight lock for it.  A crash of anything loses a
 * request, never half of a change.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#include "paxos_acceptor.h"
#include "paxos_cluster.h"
#include "paxos_configuration.h"
#include "paxos_ddl.h"
#include "paxos_identity.h"
#include "paxos_member.h"
#include "paxos_node.h"
#include "paxos_queue.h"

PG_FUNCTION_INFO_V1(paxos_add_member);
PG_FUNCTION_INFO_V1(paxos_remove_member);
PG_FUNCTION_INFO_V1(paxos_promote_member);
PG_FUNCTION_INFO_V1(paxos_demote_member);
PG_FUNCTION_INFO_V1(paxos_alter_member);
PG_FUNCTION_INFO_V1(paxos_transfer_leadership);
PG_FUNCTION_INFO_V1(paxos_join_record);
PG_FUNCTION_INFO_V1(paxos_sql_configure);
PG_FUNCTION_INFO_V1(paxos_sql_transfer);
PG_FUNCTION_INFO_V1(paxos_sql_readmit);

/* A change is given this long when paxos.statement_timeout is shorter: it waits
 * for what is in flight and for a round of promises. */
#define PATIENCE_MS 10000
#define LOOK_MS 20

static uint32 configure_event = 0;
static uint32 leader_event = 0;

/* ------------------------------------------------------------------
 * Lists of members
 * ------------------------------------------------------------------
 */

typedef struct Members
{
	px_slot slot; /* of the configuration they are from */
	px_node highest_node;
	int n;
	PaxosMember m[PX_MAX_MEMBERS];
} Members;

static void
members_of_value(px_bytes value, Members *members)
{
	px_value_view view;
	px_member_view member;
	uint32_t pos = 0;

	if (!px_value_open(value, &view) || view.kind != PX_VALUE_CONFIG)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED), errmsg("the configuration cannot be read")));
	members->n = 0;
	while (px_value_next_member(&view, &pos, &member))
	{
		PaxosMember *m = &members->m[members->n++];

		memset(m, 0, sizeof(*m));
		m->node = member.node;
		m->voter = member.voter;
		m->joining = member.joining;
		strlcpy(m->name, member.name, sizeof(m->name));
		strlcpy(m->conninfo, member.conninfo, sizeof(m->conninfo));
	}
}

static bool
same_members(const Members *a, const Members *b)
{
	return a->n == b->n && memcmp(a->m, b->m, a->n * sizeof(a->m[0])) == 0;
}

/* What governs, as far as this node knows. */
static void
governing(Members *members)
{
	PaxosConfiguration c;

	if (!paxos_configuration_now(&c))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster")));
	members_of_value(c.value, members);
	members->slot = c.slot;
	members->highest_node = px_config_highest(&c.config);
}

/* What governs in the cluster, now or later than the call. */
static void
governing_now(Members *members)
{
	(void) paxos_wait_read_index();
	governing(members);
}

/* By name, or by number if no member has that name. */
static PaxosMember *
find_member(Members *members, const char *who)
{
	for (int i = 0; i < members->n; i++)
		if (strcmp(members->m[i].name, who) == 0)
			return &members->m[i];
	for (int i = 0; i < members->n; i++)
		if (strcmp(psprintf("%u", members->m[i].node), who) == 0)
			return &members->m[i];
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("no member is called \"%s\"", who),
					errhint("paxos.members lists them; name one by its name or its number.")));
}

static void
check_name(const Members *members, const PaxosMember *self, const char *name)
{
	if (name[0] == '\0' || strlen(name) >= PX_MAX_NAME)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a node's name has 1 to %d bytes", PX_MAX_NAME - 1)));
	for (int i = 0; i < members->n; i++)
		if (&members->m[i] != self && strcmp(members->m[i].name, name) == 0)
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("a member is called \"%s\" already", name)));
}

static void
begin_change(const char *function)
{
	paxos_require_member();
	if (IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("%s cannot run inside a transaction block", function),
						errdetail("What it does would outlive a rollback.")));
}

/* ------------------------------------------------------------------
 * At the leader
 * ------------------------------------------------------------------
 */

static void
set_configure_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0, PAXOS_LOCK_CONFIGURE, PAXOS_LOCK_FIELD4);
}

static void
wait_a_moment(uint32 *event, const char *name)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LOOK_MS,
					 paxos_wait_event(event, name));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Which voters of the configuration this leader hears from, for the message of a
 * refusal.
 */
static char *
why_no_majority(const px_config *config)
{
	int voters = 0;
	int live = 0;
	StringInfoData away;

	initStringInfo(&away);
	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	for (int i = 0; i < config->n_members; i++)
	{
		bool open = false;

		if (!config->members[i].voter)
			continue;
		voters++;
		for (int j = 0; j < paxos_shared->n_peers; j++)
			if (paxos_shared->peers[j].node == config->members[i].node)
				open = paxos_shared->peers[j].open;
		if (open)
			live++;
		else
			appendStringInfo(&away, "%s%u", away.len > 0 ? ", " : "", config->members[i].node);
	}
	LWLockRelease(paxos_proposer_lock);
	return psprintf("only %d of the %d voters there would be can be reached%s%s", live, voters,
					away.len > 0 ? ", not node " : "", away.data);
}

static void
withdraw_request(int code, Datum arg)
{
	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	paxos_shared->configure.state = PAXOS_CONFIGURE_NONE;
	LWLockRelease(paxos_proposer_lock);
}

bool
paxos_configure_take(px_configure *configure)
{
	static uint8 value[PX_MAX_CONFIG_BYTES];
	PaxosConfigure *c = &paxos_shared->configure;
	bool wanted;

	/* Looked at in every pass of the loop: without the lock, which the session
	 * takes before it sets the latch. */
	if (*(volatile PaxosConfigureState *) &c->state != PAXOS_CONFIGURE_WANTED)
		return false;
	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	wanted = c->state == PAXOS_CONFIGURE_WANTED;
	if (wanted)
	{
		c->state = PAXOS_CONFIGURE_TAKEN;
		memset(configure, 0, sizeof(*configure));
		configure->request = c->request;
		configure->base = c->base;
		configure->force = c->force;
		memcpy(value, c->value, c->len);
		configure->value.data = value;
		configure->value.len = c->len;
	}
	LWLockRelease(paxos_proposer_lock);
	return wanted;
}

void
paxos_configure_answer(uint64 request, px_change_result result, px_slot at)
{
	PaxosConfigure *c = &paxos_shared->configure;
	int waiter = -1;

	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	if (c->request == request && c->state == PAXOS_CONFIGURE_TAKEN)
	{
		c->state = PAXOS_CONFIGURE_ANSWERED;
		c->result = result;
		c->slot = at;
		waiter = c->waiter;
	}
	LWLockRelease(paxos_proposer_lock);
	if (waiter >= 0)
		SetLatch(PaxosProcLatch(waiter));
}

void
paxos_configure_abandon(void)
{
	PaxosConfigure *c = &paxos_shared->configure;

	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	if (c->state == PAXOS_CONFIGURE_WANTED || c->state == PAXOS_CONFIGURE_TAKEN)
	{
		c->result = PX_CHANGE_UNKNOWN;
		c->slot = 0;
		c->state = PAXOS_CONFIGURE_ANSWERED;
	}
	LWLockRelease(paxos_proposer_lock);
}

/*
 * Give a request to the proposer of this server and wait for its answer.  The
 * caller holds the lock.  UNKNOWN when none came in time.
 */
static px_change_result
ask_proposer(px_slot base, px_bytes value, bool force, int patience_ms, px_slot *at)
{
	px_usec deadline = paxos_now_us() + (px_usec) patience_ms * 1000;
	volatile px_change_result result = PX_CHANGE_UNKNOWN;
	PaxosConfigure *c = &paxos_shared->configure;
	bool answered = false;

	*at = 0;
	PG_ENSURE_ERROR_CLEANUP(withdraw_request, (Datum) 0);
	{
		LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
		c->request++;
		c->base = base;
		c->force = force;
		c->len = value.len;
		memcpy(c->value, value.data, value.len);
		c->waiter = PaxosMyProcNumber();
		c->state = PAXOS_CONFIGURE_WANTED;
		LWLockRelease(paxos_proposer_lock);
		paxos_wake_proposer();

		while (!answered && paxos_now_us() <= deadline)
		{
			LWLockAcquire(paxos_proposer_lock, LW_SHARED);
			answered = c->state == PAXOS_CONFIGURE_ANSWERED;
			if (answered)
			{
				result = c->result;
				*at = c->slot;
			}
			LWLockRelease(paxos_proposer_lock);
			if (!answered)
				wait_a_moment(&configure_event, "PaxosConfigure");
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(withdraw_request, (Datum) 0);
	withdraw_request(0, (Datum) 0);
	return result;
}

/*
 * paxos.configure(cluster, version, sender, base, configuration, force, patience_ms,
 *				   OUT result int, OUT slot bigint, OUT why text)
 *
 * Have a configuration chosen, if this node leads (px_configure); an empty one
 * only confirms that the one of slot 'base' is recorded by a majority.
 */
Datum
paxos_sql_configure(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[3] = {0};
	bool nulls[3] = {false, false, true};
	px_slot base;
	px_bytes value;
	px_value_view view;
	px_config config;
	bytea *bytes;
	int patience_ms;
	LOCKTAG tag;
	px_slot at = 0;
	px_change_result result = PX_CHANGE_BUSY;

	(void) paxos_peer_check(fcinfo, NULL);
	base = paxos_arg_u64(fcinfo, 3, "base");
	if (PG_ARGISNULL(4) || PG_ARGISNULL(5) || PG_ARGISNULL(6))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("configuration, force and patience_ms must not be null")));
	bytes = PG_GETARG_BYTEA_PP(4);
	patience_ms = Max(0, Min(PG_GETARG_INT32(6), 3600 * 1000));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	value.data = (const uint8_t *) VARDATA_ANY(bytes);
	value.len = VARSIZE_ANY_EXHDR(bytes);
	memset(&config, 0, sizeof(config));
	if (value.len > PX_MAX_CONFIG_BYTES ||
		(value.len > 0 && (!px_value_open(value, &view) || !px_value_config(&view, 0, &config))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the configuration is malformed")));

	set_configure_tag(&tag);
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
	{
		result = ask_proposer(base, value, PG_GETARG_BOOL(5), patience_ms, &at);
		(void) LockRelease(&tag, ExclusiveLock, false);
	}

	values[0] = Int32GetDatum(result);
	values[1] = Int64GetDatum((int64) at);
	if (result == PX_CHANGE_NO_MAJORITY)
	{
		values[2] = CStringGetTextDatum(why_no_majority(&config));
		nulls[2] = false;
	}
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * paxos.transfer(cluster, version, sender, node): the proposer, if it leads,
 * shall hand over to that node; 0: to the one that is furthest.  False: this
 * node does not lead.
 */
Datum
paxos_sql_transfer(PG_FUNCTION_ARGS)
{
	int32 node;
	bool leads;

	(void) paxos_peer_check(fcinfo, NULL);
	if (PG_ARGISNULL(3))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("node must not be null")));
	node = PG_GETARG_INT32(3);
	if (node < 0 || node > PG_UINT16_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("node is out of range")));
	LWLockAcquire(paxos_proposer_lock, LW_EXCLUSIVE);
	leads = paxos_shared->role == PX_LEADER && paxos_shared->ready;
	if (leads)
	{
		paxos_shared->transfer_to = (px_node) node;
		paxos_shared->transfer_wanted = true;
	}
	LWLockRelease(paxos_proposer_lock);
	if (leads)
		paxos_wake_proposer();
	PG_RETURN_BOOL(leads);
}

/* ------------------------------------------------------------------
 * Where the call was made
 * ------------------------------------------------------------------
 */

static px_node
known_leader(void)
{
	px_node leader;

	LWLockAcquire(paxos_proposer_lock, LW_SHARED);
	leader = paxos_shared->leader;
	LWLockRelease(paxos_proposer_lock);
	return leader;
}

static px_usec
patience(void)
{
	if (paxos_statement_timeout_ms == 0)
		return UINT64CONST(3600) * 1000000;
	return (px_usec) Max(paxos_statement_timeout_ms, PATIENCE_MS) * 1000;
}

/*
 * A connection to the leader as this node knows it, or NULL.  Also when that is
 * this server: one way for all.
 */
static PaxosConn *
connect_to_leader(px_node *leader)
{
	PaxosMember member;
	char *error;

	*leader = known_leader();
	if (*leader == 0 || !paxos_node_member(*leader, &member))
		return NULL;
	return paxos_form_connect(member.conninfo, &error);
}

static void
own_identity(char **cluster, char **version, char **node)
{
	pg_uuid_t id;
	px_node self;

	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	id = paxos_shared->cluster_id;
	self = paxos_shared->node_id;
	LWLockRelease(paxos_identity_lock);
	*cluster = paxos_uuid_text(&id);
	*version = psprintf("%d", paxos_version_in_use());
	*node = psprintf("%u", self);
}

/* Until this node itself goes by the configuration of that slot, or a later one. */
static void
wait_until_governed(px_slot position, px_usec deadline)
{
	for (;;)
	{
		px_slot governs;
		PaxosMembership membership;

		LWLockAcquire(paxos_identity_lock, LW_SHARED);
		governs = paxos_shared->config.slot;
		membership = paxos_shared->membership;
		LWLockRelease(paxos_identity_lock);

		/* A node that was removed by this very call may not hear of it. */
		if (governs >= position || membership != PAXOS_MEMBER || paxos_now_us() > deadline)
			return;
		wait_a_moment(&configure_event, "PaxosConfigure");
	}
}

/*
 * Have the wanted members chosen; wanted->slot is the base.  Returns the slot, when
 * a majority of them has recorded it.
 */
static px_slot
propose(const Members *wanted, bool force)
{
	px_usec deadline = paxos_now_us() + patience();
	char *value =
		paxos_bytea_text(paxos_configuration_encode(wanted->m, wanted->n, wanted->highest_node));
	px_slot base = wanted->slot;
	char *cluster;
	char *version;
	char *self;
	const char *why = "No leader is known";

	own_identity(&cluster, &version, &self);
	for (;;)
	{
		px_usec now = paxos_now_us();
		int left_ms = now >= deadline ? 0 : (int) Min((deadline - now) / 1000, INT_MAX / 2);
		px_node leader;
		PaxosConn *conn;
		PGresult *answer;
		char *error = NULL;
		char *detail = NULL;
		px_change_result result = PX_CHANGE_UNKNOWN;
		px_slot at = 0;

		if (left_ms == 0)
			ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
							errmsg("the configuration was not changed in time"),
							errdetail_internal("%s.", why),
							errhint("See paxos.members before you call this again: the change may "
									"still come about.")));
		conn = connect_to_leader(&leader);
		if (conn == NULL)
		{
			wait_a_moment(&leader_event, "PaxosLeader");
			continue;
		}
		{
			const char *params[] = {cluster,
									version,
									self,
									psprintf(UINT64_FORMAT, base),
									base == wanted->slot ? value : "",
									force ? "true" : "false",
									psprintf("%d", left_ms)};

			answer = paxos_conn_exec(conn,
									 "SELECT result, slot, why FROM paxos.configure($1::uuid, "
									 "$2::int, $3::int, $4::bigint, $5::bytea, $6::boolean, "
									 "$7::int)",
									 7, params, 0, left_ms + 2000, &error);
		}
		if (answer != NULL && PQresultStatus(answer) == PGRES_TUPLES_OK)
		{
			result = (px_change_result) atoi(PQgetvalue(answer, 0, 0));
			at = (px_slot) strtoull(PQgetvalue(answer, 0, 1), NULL, 10);
			detail = paxos_form_field(answer, 2);
		}
		else if (answer != NULL)
			error = pchomp(PQresultErrorMessage(answer));
		PQclear(answer);
		paxos_conn_close(conn);

		switch (result)
		{
			case PX_CHANGE_DONE:
				wait_until_governed(at, deadline);
				return at;
			case PX_CHANGE_NO_MAJORITY:
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("the change would leave the cluster without a live majority: %s",
								detail ? detail : "too few voters can be reached"),
						 errhint("Bring them back, or call the function with force => true.")));
				break;
			case PX_CHANGE_INVALID:
			case PX_CHANGE_NODE_ID:
				ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
								errmsg("the leader refuses the configuration: %s",
									   px_change_result_name(result))));
				break;
			case PX_CHANGE_NOT_LEADER:
			case PX_CHANGE_BUSY:
			case PX_CHANGE_BASE:
			case PX_CHANGE_UNKNOWN:
			case PX_CHANGE_BEHIND:
				break;
		}

		/* See what governs now, and go on from there. */
		if (error != NULL)
			why = error;
		else if (result == PX_CHANGE_BEHIND)
			why = "Too few of the voters there would be know the present members, which they are "
				  "still catching up on";
		else
			why = psprintf("The leader, node %u, said: %s", leader, px_change_result_name(result));
		if (paxos_now_us() < deadline)
		{
			Members newest;

			governing_now(&newest);
			if (newest.slot != wanted->slot)
			{
				if (!same_members(&newest, wanted))
					ereport(ERROR,
							(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
							 errmsg("the configuration has been changed by somebody else"),
							 errdetail("Slot " UINT64_FORMAT
									   " governed when this call began, now slot " UINT64_FORMAT
									   " does.",
									   wanted->slot, newest.slot),
							 errhint("Look at paxos.members and call this again if it is still "
									 "wanted.")));
				base = newest.slot;
			}
			wait_a_moment(&configure_event, "PaxosConfigure");
		}
	}
}

/* ---- adding ---- */

/* paxos.join_record(cluster, node, slot, configuration): who this node will be. */
Datum
paxos_join_record(PG_FUNCTION_ARGS)
{
	pg_uuid_t *cluster = PG_GETARG_UUID_P(0);
	int node = PG_GETARG_INT32(1);
	int64 position = PG_GETARG_INT64(2);
	bytea *bytes = PG_GETARG_BYTEA_PP(3);
	px_bytes value = {(const uint8_t *) VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)};
	px_value_view view;
	px_config config;
	PaxosNodeRow row;

	paxos_require_right_place();
	paxos_require_forming_lock();
	if (position < 0 || node < 1 || node > PG_UINT16_MAX || !px_value_open(value, &view) ||
		!px_value_config(&view, (px_slot) position, &config) ||
		px_config_find(&config, (px_node) node) >= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the configuration is malformed or has node %d already", node)));

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	memset(&row, 0, sizeof(row));
	if (paxos_node_row_read(&row) && row.begun &&
		memcmp(&row.cluster_id, cluster, sizeof(*cluster)) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node belongs to cluster %s already",
							   paxos_uuid_text(&row.cluster_id)),
						errhint("Call paxos_leave_cluster() there first.")));
	paxos_require_new_node();

	/* an earlier attempt's */
	paxos_configuration_forget(0);
	row.cluster_id = *cluster;
	row.node_id = (px_node) node;
	row.begun = true;
	row.removed = false;
	paxos_identity_adopt(&row);
	paxos_node_row_write(&row);
	paxos_configuration_write((px_slot) position, 0, value, false);
	PopActiveSnapshot();
	paxos_commit_locally();
	paxos_node_wake_workers_at_commit();
	PG_RETURN_VOID();
}

/*
 * Survey the newcomer beside the members that can be reached, and let it record
 * its identity.
 */
static void
introduce(const Members *members, const PaxosMember *newcomer)
{
	FormNode *nodes = palloc0(sizeof(FormNode) * (members->n + 1));
	FormNode *fresh;
	pg_uuid_t attempt = paxos_random_uuid();
	char *cluster;
	char *version;
	char *self;
	int n = 0;
	PaxosConfiguration c;

	own_identity(&cluster, &version, &self);
	for (int i = 0; i < members->n; i++)
	{
		FormNode *node = &nodes[n];
		char *error;

		node->name = pstrdup(members->m[i].name);
		node->conninfo = pstrdup(members->m[i].conninfo);
		node->conn = paxos_form_connect(node->conninfo, &error);
		if (node->conn == NULL)
		{
			ereport(NOTICE, (errmsg("member \"%s\" cannot be reached and is not asked whether it "
									"reaches the newcomer",
									node->name)));
			continue;
		}
		n++;
	}
	fresh = &nodes[n++];
	fresh->name = pstrdup(newcomer->name);
	fresh->conninfo = pstrdup(newcomer->conninfo);
	for (int i = 0; i < n; i++)
		paxos_form_survey(&nodes[i]);
	for (int i = 0; i < n - 1; i++)
		paxos_form_must_agree(&nodes[i], fresh);
	for (int i = 0; i < n; i++)
	{
		paxos_form_probe_node(&nodes[i]);
		paxos_form_must_speak_alike(&nodes[i]);
	}
	paxos_form_lock_all(nodes, n, &attempt, "paxos_add_member()");
	paxos_form_reach_all(nodes, n, &attempt);

	if (!paxos_configuration_now(&c) || c.slot != members->slot)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the configuration has been changed by somebody else")));
	{
		const char *params[] = {cluster, psprintf("%u", newcomer->node),
								psprintf(UINT64_FORMAT, c.slot), paxos_bytea_text(c.value)};

		PQclear(paxos_form_ask(fresh, "record the new member",
							   "SELECT paxos.join_record($1::uuid, $2::int, $3::bigint, $4::bytea)",
							   4, params, PAXOS_FORM_TIMEOUT_MS, NULL));
	}
	paxos_form_unlock_all(nodes, n);
}

/*
 * Above every id that ever was a member's; and no other member, the one that goes
 * included, has the same remainder, by which their sequences are told apart.
 */
static px_node
new_id(const Members *members)
{
	StaticAssertStmt(PAXOS_SEQUENCE_STEP > PX_MAX_MEMBERS, "there is always a remainder left");

	for (int id = members->highest_node + 1; id <= PG_UINT16_MAX; id++)
	{
		bool taken = false;

		for (int i = 0; i < members->n && !taken; i++)
			taken = members->m[i].node % PAXOS_SEQUENCE_STEP == id % PAXOS_SEQUENCE_STEP;
		if (!taken)
			return (px_node) id;
	}
	ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("all node ids of this cluster have been used")));
}

/* 'replaces': a member that goes in the same change; 0: nobody. */
static px_node
add(const char *conninfo, const char *name, bool voter, px_node replaces, bool force)
{
	Members members;
	Members wanted;
	PaxosMember *m;

	paxos_form_check_conninfo(1, conninfo);
	governing_now(&members);
	for (int i = 0; i < members.n; i++)
	{
		m = &members.m[i];
		if (strcmp(m->conninfo, conninfo) != 0 || m->node == replaces)
			continue;
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("member \"%s\" has this connection string already", m->name),
						errhint("If that server has left the cluster, call "
								"paxos_remove_member('%u') first.",
								m->node)));
	}
	if (members.n >= PX_MAX_MEMBERS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a cluster has at most %d members", PX_MAX_MEMBERS)));

	wanted = members;
	wanted.n = 0;
	for (int i = 0; i < members.n; i++)
		if (members.m[i].node != replaces)
			wanted.m[wanted.n++] = members.m[i];
	m = &wanted.m[wanted.n];
	memset(m, 0, sizeof(*m));
	m->node = new_id(&members);
	m->voter = false;
	m->joining = voter;
	strlcpy(m->conninfo, conninfo, sizeof(m->conninfo));
	strlcpy(m->name, name != NULL ? name : psprintf("node%u", m->node), sizeof(m->name));
	check_name(&wanted, NULL, name != NULL ? name : m->name);
	wanted.n++;

	{
		Members reachable = members;

		/* the one that goes may be the very server that comes */
		reachable.n = 0;
		for (int i = 0; i < members.n; i++)
			if (members.m[i].node != replaces)
				reachable.m[reachable.n++] = members.m[i];
		introduce(&reachable, m);
	}
	(void) propose(&wanted, force);
	return m->node;
}

/* paxos_add_member(conninfo text, name text DEFAULT NULL, voter boolean DEFAULT true) */
Datum
paxos_add_member(PG_FUNCTION_ARGS)
{
	begin_change("paxos_add_member()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("conninfo and voter must not be null")));
	PG_RETURN_INT32(add(text_to_cstring(PG_GETARG_TEXT_PP(0)),
						PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)),
						PG_GETARG_BOOL(2), 0, false));
}

/* Is a member in good standing at work under this member's own address? */
static bool
is_at_work(px_node node)
{
	Members members;
	bool at_work = false;

	governing_now(&members);
	for (int i = 0; i < members.n; i++)
	{
		const char *params[2];
		char *error = NULL;
		PaxosConn *conn;
		PGresult *res;

		if (members.m[i].node != node)
			continue;
		conn = paxos_form_connect(members.m[i].conninfo, &error);
		if (conn == NULL)
			break;
		params[0] = paxos_uuid_text(&paxos_shared->cluster_id);
		params[1] = psprintf("%u", node);
		res = paxos_conn_exec(conn,
							  "SELECT FROM paxos.status WHERE cluster_id = $1::uuid AND "
							  "node_id = $2::int AND state = 'member'",
							  2, params, 0, PATIENCE_MS, &error);
		at_work = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1;
		PQclear(res);
		paxos_conn_close(conn);
	}
	return at_work;
}

/*
 * paxos.readmit(cluster, version, sender, conninfo, name, voter): a node that
 * has lost its memory or was removed comes as a new one; its old self goes in the
 * same change.  But not if that is at work: then a copy of it comes, and a healthy
 * member must not go because somebody wants to use its clone.
 */
Datum
paxos_sql_readmit(PG_FUNCTION_ARGS)
{
	px_node old = paxos_peer_check_asker(fcinfo, NULL);
	char *name = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));
	Members members;

	if (PG_ARGISNULL(3) || PG_ARGISNULL(5))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("conninfo and voter must not be null")));
	begin_change("paxos.readmit()");
	if (is_at_work(old))
		old = 0;

	/* somebody else may have the name by now, and this one cannot be asked again */
	governing_now(&members);
	for (int i = 0; name != NULL && i < members.n; i++)
	{
		if (members.m[i].node != old && strcmp(members.m[i].name, name) == 0)
			name = NULL;
	}
	PG_RETURN_INT32(
		add(text_to_cstring(PG_GETARG_TEXT_PP(3)), name, PG_GETARG_BOOL(5), old, false));
}

/* ---- the others ---- */

static const char *
who_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("member must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

static bool
force_argument(FunctionCallInfo fcinfo, int n)
{
	return !PG_ARGISNULL(n) && PG_GETARG_BOOL(n);
}

/* paxos_remove_member(member text, force boolean DEFAULT false) */
Datum
paxos_remove_member(PG_FUNCTION_ARGS)
{
	Members members;
	PaxosMember *m;

	begin_change("paxos_remove_member()");
	governing_now(&members);
	m = find_member(&members, who_argument(fcinfo));
	memmove(m, m + 1, (&members.m[members.n] - (m + 1)) * sizeof(*m));
	members.n--;
	PG_RETURN_INT64((int64) propose(&members, force_argument(fcinfo, 1)));
}

static Datum
set_voter(FunctionCallInfo fcinfo, const char *function, bool voter)
{
	Members members;
	PaxosMember *m;

	begin_change(function);
	governing_now(&members);
	m = find_member(&members, who_argument(fcinfo));
	if (m->voter == voter && !m->joining)
		PG_RETURN_INT64((int64) members.slot);
	m->voter = voter;
	m->joining = false;
	PG_RETURN_INT64((int64) propose(&members, force_argument(fcinfo, 1)));
}

/* paxos_promote_member(member text, force boolean DEFAULT false) */
Datum
paxos_promote_member(PG_FUNCTION_ARGS)
{
	return set_voter(fcinfo, "paxos_promote_member()", true);
}

/* paxos_demote_member(member text, force boolean DEFAULT false) */
Datum
paxos_demote_member(PG_FUNCTION_ARGS)
{
	return set_voter(fcinfo, "paxos_demote_member()", false);
}

/* The address must lead to that very member. */
static void
check_leads_to(const PaxosMember *m, const char *conninfo)
{
	FormNode node;
	pg_uuid_t cluster;

	memset(&node, 0, sizeof(node));
	node.name = pstrdup(m->name);
	node.conninfo = pstrdup(conninfo);
	paxos_form_survey(&node);
	paxos_form_probe_node(&node);
	paxos_conn_close(node.conn);
	LWLockAcquire(paxos_identity_lock, LW_SHARED);
	cluster = paxos_shared->cluster_id;
	LWLockRelease(paxos_identity_lock);
	if (!node.recorded || memcmp(&node.cluster, &cluster, sizeof(cluster)) != 0 ||
		node.node_id != m->node)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" does not lead to member \"%s\"", conninfo, m->name)));
}

/* paxos_alter_member(member text, conninfo text DEFAULT NULL, name text DEFAULT NULL) */
Datum
paxos_alter_member(PG_FUNCTION_ARGS)
{
	Members members;
	PaxosMember *m;
	char *conninfo = NULL;
	char *name = NULL;

	begin_change("paxos_alter_member()");
	if (!PG_ARGISNULL(1))
		conninfo = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!PG_ARGISNULL(2))
		name = text_to_cstring(PG_GETARG_TEXT_PP(2));
	governing_now(&members);
	m = find_member(&members, who_argument(fcinfo));
	if (conninfo != NULL)
	{
		paxos_form_check_conninfo(1, conninfo);
		for (int i = 0; i < members.n; i++)
			if (&members.m[i] != m && strcmp(members.m[i].conninfo, conninfo) == 0)
				ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
								errmsg("member \"%s\" has this connection string already",
									   members.m[i].name)));
		check_leads_to(m, conninfo);
		memset(m->conninfo, 0, sizeof(m->conninfo));
		strlcpy(m->conninfo, conninfo, sizeof(m->conninfo));
	}
	if (name != NULL)
	{
		check_name(&members, m, name);
		memset(m->name, 0, sizeof(m->name));
		strlcpy(m->name, name, sizeof(m->name));
	}
	PG_RETURN_INT64((int64) propose(&members, false));
}

/* paxos_transfer_leadership(member text DEFAULT NULL) RETURNS int */
Datum
paxos_transfer_leadership(PG_FUNCTION_ARGS)
{
	px_usec deadline = paxos_now_us() + patience();
	px_node to = 0;
	px_node from = 0;
	px_usec again_at = 0;
	char *cluster;
	char *version;
	char *self;

	begin_change("paxos_transfer_leadership()");
	if (!PG_ARGISNULL(0))
	{
		Members members;
		PaxosMember *m;

		governing_now(&members);
		m = find_member(&members, text_to_cstring(PG_GETARG_TEXT_PP(0)));
		if (!m->voter)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("member \"%s\" does not vote and cannot lead", m->name)));
		to = m->node;
	}

	own_identity(&cluster, &version, &self);
	for (;;)
	{
		px_node leader = known_leader();

		if (leader != 0 && (to != 0 ? leader == to : from != 0 && leader != from))
			PG_RETURN_INT32(leader);
		if (paxos_now_us() > deadline)
			ereport(ERROR, (errcode(ERRCODE_CANNOT_CONNECT_NOW),
							errmsg("leadership was not handed over in time"),
							from == 0 ? errdetail("No leader was found to ask.")
									  : errdetail("Node %u was asked to hand it over.", from)));
		if (leader != 0 && (from == 0 || paxos_now_us() > again_at))
		{
			px_node asked;
			PaxosConn *conn = connect_to_leader(&asked);
			char *error = NULL;
			PGresult *result = NULL;

			if (conn != NULL)
			{
				const char *params[] = {cluster, version, self, psprintf("%u", to)};

				result = paxos_conn_exec(conn,
										 "SELECT paxos.transfer($1::uuid, $2::int, $3::int, "
										 "$4::int)",
										 4, params, 0, PAXOS_FORM_TIMEOUT_MS, &error);
			}
			if (result != NULL && PQresultStatus(result) == PGRES_TUPLES_OK &&
				PQgetvalue(result, 0, 0)[0] == 't')
			{
				from = asked;
				again_at = paxos_now_us() + 2 * (px_usec) paxos_election_timeout_ms * 1000;
			}
			PQclear(result);
			if (conn != NULL)
				paxos_conn_close(conn);
		}
		wait_a_moment(&leader_event, "PaxosLeader");
	}
}
