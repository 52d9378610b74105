/*
 * paxos_rehearse.c
 *	  What has been written down for the log is carried out once more where it is issued, on
 *	  a fresh copy and under the settings of the learner, before it is sent.
 *
 * A statement is tried as the user has put it, and what travels is written anew from the
 * catalogs or the tree (paxos_ddl_write.c, paxos_alter_write.c).  Text that cannot be read again
 * fails at its slot, on every node alike, with an error that every learner takes for trouble
 * of its own: nobody gets beyond that slot any more.  And text that means something else
 * makes another table than the user has been shown.  Both are errors of ours; met here, they
 * are errors of one statement, and nothing has been sent.
 *
 * In the caller's trial, which is rolled back: copies stand in schemas that exist only there.
 *
 * No state.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "paxos_apply.h"
#include "paxos_ddl_int.h"

static char *
stage(void)
{
	return psprintf("paxos_rehearsal_%d", MyProcPid);
}

/* As the learner; what there is to notice has been said. */
static PaxosPowers
enter(void)
{
	static const char *const settings[][2] = {{"session_replication_role", "replica"},
											  {"lock_timeout", "1s"},
											  {"client_min_messages", "error"}};
	PaxosPowers before = paxos_take_powers();

	paxos_fix_settings_of_data();
	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, ERROR, false);
	return before;
}

/* What a table is, whatever schema it stands in. */
static char *
written(Oid relid)
{
	int nest_level = paxos_ddl_begin_writing_down();
	char *sql = paxos_ddl_write_table(relid, NULL, false, false, false);
	char *name = paxos_qualified_name(relid);

	AtEOXact_GUC(true, nest_level);
	return sql + strlen("CREATE TABLE ") + strlen(name);
}

/*
 * Without its expressions: PostgreSQL does not write every one again as it reads it (c IN
 * ('a', 'b') of a varchar gets its casts elsewhere).
 */
static char *
skeleton(const char *definition)
{
	StringInfoData out;
	bool expression = false;
	char quote = '\0';
	int depth = 0;

	initStringInfo(&out);
	for (const char *p = definition; *p != '\0'; p++)
	{
		if (quote != '\0')
			quote = *p == quote ? '\0' : quote;
		else if (*p == '\'' || *p == '"')
			quote = *p;
		else if (*p == '(')
			depth++;
		else if (*p == ')')
			depth--;
		else if (depth == 1 && strncmp(p, " DEFAULT ", strlen(" DEFAULT ")) == 0)
			expression = true;
		if (quote == '\0' && (depth == 0 || (depth == 1 && *p == ',')))
			expression = false;
		if (depth < 2 && !expression)
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}

static void
compare(Oid tried, Oid again)
{
	char *one = written(tried);
	char *other = written(again);

	if (strcmp(skeleton(one), skeleton(other)) != 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
						errmsg("the statement would mean something else when it comes to its slot"),
						errdetail("Tried, it makes %s; as it would be sent, %s.", one, other),
						errhint("Please report this.  Nothing has been changed.")));
}

void
paxos_rehearse_table(Oid tried, const char *definition)
{
	PaxosPowers before = enter();

	paxos_ddl_run_text(psprintf("CREATE SCHEMA %s", stage()));
	compare(tried, paxos_ddl_create_in(stage(), definition));
	paxos_give_back(before);
}

void
paxos_rehearse_alter(const PaxosDdlOp *op, Oid table, Oid tried)
{
	PaxosPowers before = enter();
	Oid again = paxos_ddl_make_copy(table, stage());

	paxos_alter_run_on(op, again);
	compare(tried, again);
	paxos_give_back(before);
}
