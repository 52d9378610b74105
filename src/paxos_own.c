/*
 * paxos_own.c
 *	  The extension's own tables (paxos.tables, paxos.log_entry, ...) are written by the
 *	  extension alone.
 *
 * They are ordinary tables, and no privilege keeps a superuser from them.  What he changes
 * there is what this node has promised, accepted or applied: a row of paxos.tables that has gone
 * leaves a table nobody can drop, and that stands in the way of paxos_resync(); a promise that has
 * gone lets two leaders be.  So INSERT, UPDATE, DELETE, MERGE, COPY FROM and TRUNCATE are refused
 * (paxos_guard.c asks), with the name of the function that does what he may have wanted.  Who knows
 * better sets allow_system_table_mods, as for PostgreSQL's own catalogs.
 *
 * What this extension does with them passes: the learner and whoever leaves a cluster or recovers
 * one set paxos_applying, the rest goes by no statement at all; and so do its scripts (CREATE
 * EXTENSION, ALTER EXTENSION UPDATE).
 *
 * No state.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "paxos_acceptor.h"
#include "paxos_apply.h"
#include "paxos_ddl.h"

static const struct
{
	const char *table;
	const char *hint;
} hints[] = {
	{"tables", "Use DROP TABLE for a consensus-backed table, and paxos_resync() where this node's "
			   "tables are wrong."},
	{"object", "Use DROP TYPE, FUNCTION, VIEW or SCHEMA for an object of all nodes, and "
			   "paxos_resync() where this node's are wrong."},
	{"configuration", "Use paxos_add_member() and paxos_remove_member()."},
	{"log_entry", "Use paxos_truncate_log()."},
	{"node", "Use paxos_leave_cluster(), paxos_rejoin() or paxos_trust_node()."},
	{"acceptor", "Use paxos_leave_cluster(), paxos_rejoin() or paxos_trust_node()."},
	{"member_memory", "Use paxos_leave_cluster(), paxos_rejoin() or paxos_trust_node()."},
	{"becoming", "Use ALTER TABLE ... SET ACCESS METHOD."},
};

void
paxos_own_check(Oid relid)
{
	Oid nsp = get_namespace_oid(PAXOS_SCHEMA, true);
	Oid extension;
	const char *name;
	const char *hint = "Use paxos_resync() where what this node has applied is wrong.";

	if (!OidIsValid(nsp) || get_rel_namespace(relid) != nsp || paxos_applying || paxos_trying ||
		allowSystemTableMods || IsBinaryUpgrade || paxos_in_own_script() ||
		paxos_is_consensus_table(relid))
		return;
	extension = get_extension_oid("paxos_ext", true);
	if (!OidIsValid(extension) || getExtensionOfObject(RelationRelationId, relid) != extension)
		return;
	name = get_rel_name(relid);
	for (int i = 0; i < lengthof(hints); i++)
	{
		if (strcmp(hints[i].table, name) == 0)
			hint = hints[i].hint;
	}
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("table \"%s.%s\" is written by paxos_ext only", PAXOS_SCHEMA, name),
					errdetail("What it says of this node is what the other nodes rely on."),
					errhint("%s", hint)));
}
