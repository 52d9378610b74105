/*
 * paxos_cluster.h
 *	  Getting to know servers before they become nodes: what
 *	  paxos_create_cluster() and paxos_add_member() have in common.
 */
#ifndef PAXOS_CLUSTER_H
#define PAXOS_CLUSTER_H

#include "utils/uuid.h"

#include "paxos_conn.h"

/* A server and what was found out about it. */
typedef struct FormNode
{
	char *name;
	char *conninfo;
	PaxosConn *conn;

	/* what must be the same on all */
	char *major_version;
	char *encoding;
	char *locale;
	char *collation_version;
	char *extension_version;
	char *contents;

	/* what it has recorded */
	bool begun;
	bool recorded;
	pg_uuid_t cluster;
	int node_id;
	int protocol;
	char *configuration; /* as bytea text */
} FormNode;

#define PAXOS_FORM_TIMEOUT_MS 10000

/* A connection string that every node will keep and use; 'number' is for the
 * message.  22023 for one with a password or several servers. */
extern void paxos_form_check_conninfo(int number, const char *conninfo);

/* Connect within the patience of forming; NULL and *error on failure. */
extern PaxosConn *paxos_form_connect(const char *conninfo, char **error);

/* Connect if node->conn is NULL, and find out what can be asked without the
 * extension; an error says what is missing there. */
extern void paxos_form_survey(FormNode *node);

/* Nodes that order text differently, or speak differently, are no cluster. */
extern void paxos_form_must_agree(const FormNode *a, const FormNode *b);

/*
 * Take the forming lock of every node, for as long as its connection lives.  An
 * error when two are one server, or another call holds one; 'caller' names the
 * function in it.
 */
extern void paxos_form_lock_all(FormNode *nodes, int n, const pg_uuid_t *attempt,
								const char *caller);

/* Give them back and close the connections. */
extern void paxos_form_unlock_all(FormNode *nodes, int n);

/* What the node has recorded. */
extern void paxos_form_probe_node(FormNode *node);

/* 55000 unless a node probed speaks the version of this one. */
extern void paxos_form_must_speak_alike(const FormNode *node);

/* Every node tries every connection string. */
extern void paxos_form_reach_all(FormNode *nodes, int n, const pg_uuid_t *attempt);

/*
 * Run a statement on a node; an error there is an error here that names the
 * node and what was being done.
 */
extern PGresult *paxos_form_ask(FormNode *node, const char *doing, const char *sql, int n_params,
								const char *const *params, int timeout_ms, const char *hint);

/* A field of the first row, palloc'd; NULL if it is null. */
extern char *paxos_form_field(PGresult *result, int column);

extern pg_uuid_t paxos_random_uuid(void);
extern char *paxos_uuid_text(const pg_uuid_t *uuid);

/* Bytes as bytea text. */
extern char *paxos_bytea_text(px_bytes bytes);

/* This session holds the forming lock of this server, or an error. */
extern void paxos_require_forming_lock(void);

/* This server can be a node, and this is its database; or an error. */
extern void paxos_require_right_place(void);

/* Tables as CREATE EXTENSION left them, or an error: a node begins knowing
 * nothing.  Under the acceptor lock and the active snapshot. */
extern void paxos_require_new_node(void);

#endif /* PAXOS_CLUSTER_H */
