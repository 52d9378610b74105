/*
 * paxos_resolve.c
 *	  A conninfo turned into libpq parameters whose host names are already
 *	  addresses.
 *
 * What this file owns: parsing a conninfo, adding the options every connection
 * between nodes has, and name resolution.  Connecting is paxos_peer.c's
 * business (the proposer, which never waits) and paxos_conn.c's (callers that
 * may).
 *
 * Why it exists: PQconnectStart() and PQconnectPoll() look host names up with
 * getaddrinfo(), in the caller.  A name server that does not answer would stall
 * the proposer's loop for many seconds: no heartbeat would leave this node, and
 * the other members would elect somebody else because of a DNS outage.  libpq
 * does no look-up when it is given "hostaddr", so the names are looked up here,
 * with getaddrinfo_a(), and each host is given to libpq once per address it
 * has, name (for certificates and the passfile) and address side by side.
 *
 * glibc carries out getaddrinfo_a() in helper threads of its own, which run no
 * code of this server and have all signals blocked; they end by themselves when
 * idle.  A request that is under way cannot be taken back, so its memory comes
 * from malloc() and, if its owner loses interest, waits in 'graveyard' until the
 * look-up has ended.
 *
 * States: PENDING -> DONE | FAILED.  A crash of the process loses nothing.
 */
#include "paxos_resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "libpq-fe.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "paxos_conn.h"

/* Hosts of one conninfo, and addresses of all of them together. */
#define MAX_HOSTS 16
#define MAX_ADDRESSES 32

/* One look-up; memory from malloc() because a thread of libc writes into it. */
typedef struct Lookup
{
	struct Lookup *next; /* in the graveyard */
	struct gaicb request;
	struct gaicb *list[1];
	struct addrinfo hints;
	char name[1];
} Lookup;

typedef struct Host
{
	char *name;    /* as in the conninfo; NULL: none given */
	char *address; /* given, literal, or NULL */
	char *port;
	Lookup *lookup; /* NULL: nothing to look up */
} Host;

struct PaxosResolve
{
	MemoryContext context;
	int n_hosts;
	Host hosts[MAX_HOSTS];
	const char **keywords;
	const char **values;
	int host_at; /* places of these in values[] */
	int hostaddr_at;
	int port_at;
	bool done;
};

static Lookup *graveyard = NULL;

/* Free abandoned look-ups that have ended meanwhile. */
static void
sweep_graveyard(void)
{
	Lookup **at = &graveyard;

	while (*at != NULL)
	{
		Lookup *l = *at;

		if (gai_error(&l->request) == EAI_INPROGRESS)
		{
			at = &l->next;
			continue;
		}
		*at = l->next;
		if (l->request.ar_result != NULL)
			freeaddrinfo(l->request.ar_result);
		free(l);
	}
}

static void
lookup_free(Lookup *l)
{
	if (gai_error(&l->request) == EAI_INPROGRESS)
		(void) gai_cancel(&l->request);
	l->next = graveyard;
	graveyard = l;
	sweep_graveyard();
}

static Lookup *
lookup_start(const char *name, char **error)
{
	Lookup *l = calloc(1, sizeof(Lookup) + strlen(name));
	int rc;

	if (l == NULL)
	{
		*error = pstrdup("out of memory");
		return NULL;
	}
	strcpy(l->name, name);
	l->hints.ai_family = AF_UNSPEC;
	l->hints.ai_socktype = SOCK_STREAM;
	l->request.ar_name = l->name;
	l->request.ar_request = &l->hints;
	l->list[0] = &l->request;
	rc = getaddrinfo_a(GAI_NOWAIT, l->list, 1, NULL);
	if (rc != 0)
	{
		*error = psprintf("could not look up host name \"%s\": %s", name, gai_strerror(rc));
		free(l);
		return NULL;
	}
	return l;
}

static bool
is_literal_address(const char *name)
{
	struct addrinfo hints = {0};
	struct addrinfo *result = NULL;

	hints.ai_flags = AI_NUMERICHOST;
	hints.ai_family = AF_UNSPEC;
	hints.ai_socktype = SOCK_STREAM;
	if (getaddrinfo(name, NULL, &hints, &result) != 0)
		return false;
	freeaddrinfo(result);
	return true;
}

/* The i-th element of a comma-separated list, NULL if empty or not there. */
static char *
list_element(const char *list, int i)
{
	const char *end;

	if (list == NULL)
		return NULL;
	for (; i > 0; i--)
	{
		list = strchr(list, ',');
		if (list == NULL)
			return NULL;
		list++;
	}
	end = strchr(list, ',');
	if (end == NULL)
		end = list + strlen(list);
	return end == list ? NULL : pnstrdup(list, end - list);
}

static int
list_length(const char *list)
{
	int n = 1;

	if (list == NULL || list[0] == '\0')
		return 0;
	for (; *list; list++)
		n += *list == ',';
	return n;
}

/*
 * What libpq would use for the options that say where to connect and that the
 * conninfo leaves out: from its service file, the environment, or compiled in.
 * libpq offers this only for a service named in the environment.
 */
static PQconninfoOption *
conninfo_defaults(const char *service)
{
	PQconninfoOption *defaults;
	char *saved = NULL;

	if (service == NULL)
		return PQconndefaults();

	if (getenv("PGSERVICE") != NULL)
		saved = pstrdup(getenv("PGSERVICE"));
	setenv("PGSERVICE", service, 1);
	defaults = PQconndefaults();
	if (saved != NULL)
		setenv("PGSERVICE", saved, 1);
	else
		unsetenv("PGSERVICE");
	return defaults;
}

static const char *
option_value(PQconninfoOption *options, const char *keyword)
{
	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
	{
		if (strcmp(o->keyword, keyword) == 0)
			return o->val != NULL && o->val[0] != '\0' ? o->val : NULL;
	}
	return NULL;
}

/*
 * libpq parameters for a connection between nodes: conninfo parsed, ours added.  False and
 * *error if conninfo does not parse.  Arrays palloc'd, NULL-terminated.
 */
static bool
conn_params(const char *conninfo, const char *application_name, const char ***keywords,
			const char ***values, char **error)
{
	/* ours; they win over what conninfo says */
	const char *ours[][2] = {
		{"application_name", application_name},
		{"client_encoding", GetDatabaseEncodingName()},
		{"connect_timeout", psprintf("%d", Max(2, paxos_connect_timeout_ms / 1000))},
		{"keepalives", "1"},
		{"keepalives_idle", "5"},
		{"keepalives_interval", "2"},
		{"keepalives_count", "3"},
		{"tcp_user_timeout", "10000"},
		{"options", NULL}, /* set below */
		{"replication", "false"},
	};
	PQconninfoOption *options;
	char *message = NULL;
	const char *given;
	int n = 0;
	int n_options = 0;

	options = PQconninfoParse(conninfo, &message);
	if (options == NULL)
	{
		*error = pchomp(message != NULL ? message : "out of memory");
		PQfreemem(message);
		return false;
	}

	/* Later "-c" options override earlier ones, so ours come last. */
	given = option_value(options, "options");
	ours[8][1] = given == NULL ? pstrdup(paxos_peer_options())
							   : psprintf("%s %s", given, paxos_peer_options());

	for (PQconninfoOption *o = options; o->keyword != NULL; o++)
		n_options++;
	*keywords = palloc0(sizeof(char *) * (n_options + lengthof(ours) + 1));
	*values = palloc0(sizeof(char *) * (n_options + lengthof(ours) + 1));

	for (PQconninfoOption *o = options; o->keyword != NULL; o++)
	{
		bool is_ours = false;

		for (int i = 0; i < lengthof(ours); i++)
			is_ours = is_ours || strcmp(o->keyword, ours[i][0]) == 0;
		if (is_ours || o->val == NULL || o->val[0] == '\0')
			continue;
		(*keywords)[n] = pstrdup(o->keyword);
		(*values)[n++] = pstrdup(o->val);
	}
	for (int i = 0; i < lengthof(ours); i++)
	{
		(*keywords)[n] = pstrdup(ours[i][0]);
		(*values)[n++] = pstrdup(ours[i][1]);
	}
	PQconninfoFree(options);
	return true;
}

/* The place of 'keyword' in the parameters; appended if it is not there. */
static int
param_place(PaxosResolve *r, const char *keyword)
{
	int i;

	for (i = 0; r->keywords[i] != NULL; i++)
	{
		if (strcmp(r->keywords[i], keyword) == 0)
			return i;
	}
	r->keywords[i] = keyword;
	r->keywords[i + 1] = NULL;
	r->values[i] = "";
	r->values[i + 1] = NULL;
	return i;
}

PaxosResolve *
paxos_resolve_start(const char *conninfo, const char *application_name, char **error)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "paxos address", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	PaxosResolve *r = palloc0(sizeof(PaxosResolve));
	const char **keywords;
	const char **values;
	PQconninfoOption *defaults = NULL;
	const char *service = NULL;
	const char *where[3] = {NULL, NULL, NULL}; /* host, hostaddr, port */
	static const char *const where_keyword[3] = {"host", "hostaddr", "port"};
	char *why = NULL;
	int n;

	sweep_graveyard();
	r->context = context;
	if (!conn_params(conninfo, application_name, &keywords, &values, &why))
		goto failed;

	for (n = 0; keywords[n] != NULL; n++)
	{
		if (strcmp(keywords[n], "service") == 0)
			service = values[n];
		for (int i = 0; i < 3; i++)
		{
			if (strcmp(keywords[n], where_keyword[i]) == 0)
				where[i] = values[n];
		}
	}

	/*
	 * As in libpq: host and hostaddr given in the conninfo stand for
	 * themselves, each missing option comes from the defaults.
	 */
	defaults = conninfo_defaults(service);
	for (int i = 0; i < 3; i++)
	{
		if (where[i] == NULL && option_value(defaults, where_keyword[i]) != NULL)
			where[i] = pstrdup(option_value(defaults, where_keyword[i]));
	}
	PQconninfoFree(defaults);

	r->keywords = palloc0(sizeof(char *) * (n + 4));
	r->values = palloc0(sizeof(char *) * (n + 4));
	memcpy(r->keywords, keywords, n * sizeof(char *));
	memcpy(r->values, values, n * sizeof(char *));
	r->host_at = param_place(r, "host");
	r->hostaddr_at = param_place(r, "hostaddr");
	r->port_at = param_place(r, "port");

	r->n_hosts = Max(1, Max(list_length(where[0]), list_length(where[1])));
	if (r->n_hosts > MAX_HOSTS)
	{
		why = psprintf("connection string names more than %d hosts", MAX_HOSTS);
		goto failed;
	}
	for (int i = 0; i < r->n_hosts; i++)
	{
		Host *h = &r->hosts[i];

		h->name = list_element(where[0], i);
		h->address = list_element(where[1], i);
		h->port = list_element(where[2], list_length(where[2]) == 1 ? 0 : i);
		if (h->address != NULL || h->name == NULL)
			continue; /* an address, or libpq's default socket */
		if (h->name[0] == '/' || h->name[0] == '@')
			continue; /* a unix-domain socket */
		if (is_literal_address(h->name))
		{
			h->address = h->name;
			continue;
		}
		h->lookup = lookup_start(h->name, &why);
		if (h->lookup == NULL)
			goto failed;
	}
	MemoryContextSwitchTo(caller);
	return r;

failed:
	MemoryContextSwitchTo(caller);
	*error = pstrdup(why);
	paxos_resolve_free(r);
	return NULL;
}

PaxosResolveState
paxos_resolve_poll(PaxosResolve *r, const char *const **keywords, const char *const **values,
				   char **error)
{
	StringInfoData hosts;
	StringInfoData addresses;
	StringInfoData ports;
	MemoryContext caller;
	int n = 0;
	char *why = NULL;

	if (!r->done)
	{
		for (int i = 0; i < r->n_hosts; i++)
		{
			if (r->hosts[i].lookup != NULL &&
				gai_error(&r->hosts[i].lookup->request) == EAI_INPROGRESS)
				return PAXOS_RESOLVE_PENDING;
		}

		caller = MemoryContextSwitchTo(r->context);
		initStringInfo(&hosts);
		initStringInfo(&addresses);
		initStringInfo(&ports);
		for (int i = 0; i < r->n_hosts; i++)
		{
			Host *h = &r->hosts[i];
			struct addrinfo one = {0};
			struct addrinfo *list = &one;

			if (h->lookup != NULL)
			{
				int rc = gai_error(&h->lookup->request);

				if (rc != 0)
				{
					/* another host of the list may still do */
					why = psprintf("could not translate host name \"%s\" to address: %s", h->name,
								   gai_strerror(rc));
					continue;
				}
				list = h->lookup->request.ar_result;
			}
			for (; list != NULL && n < MAX_ADDRESSES; list = list->ai_next)
			{
				char text[NI_MAXHOST] = "";

				if (h->lookup != NULL && getnameinfo(list->ai_addr, list->ai_addrlen, text,
													 sizeof(text), NULL, 0, NI_NUMERICHOST) != 0)
					continue;
				if (n++ > 0)
				{
					appendStringInfoChar(&hosts, ',');
					appendStringInfoChar(&addresses, ',');
					appendStringInfoChar(&ports, ',');
				}
				if (h->name != NULL)
					appendStringInfoString(&hosts, h->name);
				if (h->lookup != NULL)
					appendStringInfoString(&addresses, text);
				else if (h->address != NULL)
					appendStringInfoString(&addresses, h->address);
				if (h->port != NULL)
					appendStringInfoString(&ports, h->port);
			}
		}
		MemoryContextSwitchTo(caller);
		if (n == 0)
		{
			*error = pstrdup(why != NULL ? why : "host name has no address");
			return PAXOS_RESOLVE_FAILED;
		}
		r->values[r->host_at] = hosts.data;
		r->values[r->hostaddr_at] = addresses.data;
		r->values[r->port_at] = ports.data;
		r->done = true;
	}
	*keywords = r->keywords;
	*values = r->values;
	return PAXOS_RESOLVE_DONE;
}

void
paxos_resolve_free(PaxosResolve *r)
{
	if (r == NULL)
		return;
	for (int i = 0; i < r->n_hosts; i++)
	{
		if (r->hosts[i].lookup != NULL)
			lookup_free(r->hosts[i].lookup);
	}
	MemoryContextDelete(r->context);
}
