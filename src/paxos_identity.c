/*
 * paxos_identity.c
 *	  Is this data directory the one that this node last ran with, and this server
 *	  the only one with it?  (protocol.md § 10)
 *
 * Consensus is lost if an acceptor forgets what it promised or accepted.  A
 * data directory that was put back from a copy has forgotten what was answered
 * since the copy was made, and nothing in it says so by itself: tables, log,
 * system identifier and (after a plain file copy) timeline are those of the node.
 *
 * Owns: the sentinel, a file in the data directory, and the judgement at the start;
 * paxos_trust_node(), by which an operator overrules it.  Not its business: the
 * row of paxos.node (paxos_node.c), what other members remember
 * (paxos_memory.c), what a node does that may not vote.
 *
 * The sentinel says cluster, node and incarnation.  It is written anew, as another
 * file, before each incarnation is recorded in paxos.node; the row keeps its inode
 * and change time.  A copy has another inode or change time, whatever tool made it
 * and however faithfully: nobody can set a change time.  Written at every start,
 * so that also a tool that skips unchanged files (rsync) replaces it.
 *
 * What was at hand when the node stopped is what must be there when it starts:
 *
 *		file of incarnation		inode, change time
 *		as in the row			as in the row			its own
 *		as in the row			others					copied: in doubt
 *		row's + 1				any						its own: the crash came between the
 *														file and the row
 *		anything else, none								in doubt
 *
 * The third line is a hole exactly as wide as the time between the two writes at
 * the moment of the copy; what members remember (paxos_memory.c) covers it,
 * and a block device rolled back under the node, which no file shows.
 *
 * Judged once for each start of the server, before the first vote: while it
 * runs, memory goes on, and chown -R on a running server must not fence it.
 *
 * Flushing switched off: what the node promised before may be lost as well, because a
 * checkpoint then gives up WAL whose pages are on no disk.  As long as the
 * machine runs they are in its memory.  So a second file says that, and in which boot of the
 * machine.  A start with everything on again flushes all there is, if it is the
 * same boot, and the file goes; else the directory is in doubt, and stays so as long as
 * the file is there.
 *
 * Two servers with one identity at once: the copy is usually in doubt by its
 * sentinel.  One that is not (a block device cloned with its inodes) claims to be
 * the node at the node's address: before it uses an incarnation at all, a proposer
 * looks whether that address leads to itself.  It matters more than it seems: a
 * clone that took the original's acceptor for its own would get promises for
 * ballots that the original uses, too.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "paxos_acceptor.h"
#include "paxos_conn.h"
#include "paxos_identity.h"
#include "paxos_memory.h"

PG_FUNCTION_INFO_V1(paxos_trust_node);

/* In the data directory, which is every server process's working directory. */
#define SENTINEL "paxos_ext.node"
#define SENTINEL_NEW "paxos_ext.node.new"
#define BACKUP_LABEL_OLD "backup_label.old"
#define UNFLUSHED "paxos_ext.unflushed"
#define BOOT_ID "/proc/sys/kernel/random/boot_id" /* of Linux; no other is ever the same */
#define BOOT_ID_BYTES 64

#define SENTINEL_BYTES 200
#define ADDRESS_TIMEOUT_MS 2000

/* ---- the sentinel ---- */

/* What a file is known by; "" if there is none. */
static void
file_stamp(const char *path, char *stamp, Size size)
{
	struct stat st;
	long nanoseconds;

	stamp[0] = '\0';
	if (stat(path, &st) != 0)
	{
		if (errno == ENOENT)
			return;
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	}
#ifdef __APPLE__
	nanoseconds = (long) st.st_ctimespec.tv_nsec;
#else
	nanoseconds = (long) st.st_ctim.tv_nsec;
#endif
	snprintf(stamp, size, "inode %llu, changed %lld.%09ld", (unsigned long long) st.st_ino,
			 (long long) st.st_ctime, nanoseconds);
}

static void
sentinel_text(const PaxosNodeRow *row, char *text)
{
	snprintf(text, SENTINEL_BYTES,
			 "cluster %s, node %u, incarnation " UINT64_FORMAT
			 "\npaxos_ext knows by this file that its data directory is no copy\n",
			 DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&row->cluster_id))),
			 row->node_id, row->incarnation);
}

void
paxos_identity_stamp(PaxosNodeRow *row)
{
	char text[SENTINEL_BYTES];
	int len;
	int fd;

	sentinel_text(row, text);
	len = (int) strlen(text);
	fd = OpenTransientFile(SENTINEL_NEW, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not create file \"%s\": %m", SENTINEL_NEW)));
	errno = 0;
	if (write(fd, text, len) != len)
	{
		if (errno == 0)
			errno = ENOSPC;
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not write file \"%s\": %m", SENTINEL_NEW)));
	}
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not close file \"%s\": %m", SENTINEL_NEW)));

	/* Flushes the file and its directory: the row to come must not be durable
	 * without what it speaks of. */
	(void) durable_rename(SENTINEL_NEW, SENTINEL, ERROR);

	file_stamp(SENTINEL, row->sentinel, sizeof(row->sentinel));
	file_stamp(BACKUP_LABEL_OLD, row->backup_label, sizeof(row->backup_label));
}

/* ---- flushing switched off ---- */

/* The file's first line; false if there is none. */
static bool
first_line(const char *path, char *line, Size size)
{
	int fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	ssize_t n;

	if (fd < 0)
	{
		if (errno == ENOENT)
			return false;
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	}
	n = read(fd, line, size - 1);
	if (n < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
	(void) CloseTransientFile(fd);
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return true;
}

/* PostgreSQL's own functions for it do nothing when fsync is off. */
static void
flush_directory(void)
{
	int fd = OpenTransientFile(".", O_RDONLY | PG_BINARY);

	if (fd < 0 || fsync(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not flush the data directory: %m")));
	(void) CloseTransientFile(fd);
}

/* One of an earlier boot stays: the harm may have been done then. */
static void
note_unflushed(void)
{
	char boot[BOOT_ID_BYTES];
	char line[BOOT_ID_BYTES + 1];
	int len;
	int fd;

	if (access(UNFLUSHED, F_OK) == 0)
		return;
	if (!first_line(BOOT_ID, boot, sizeof(boot)))
		boot[0] = '\0';
	len = snprintf(line, sizeof(line), "%s\n", boot);
	fd = OpenTransientFile(UNFLUSHED, O_CREAT | O_TRUNC | O_WRONLY | PG_BINARY);
	if (fd < 0 || write(fd, line, len) != len || fsync(fd) != 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not write file \"%s\": %m", UNFLUSHED)));
	(void) CloseTransientFile(fd);
	flush_directory();
}

static void
forget_unflushed(void)
{
	if (unlink(UNFLUSHED) == 0)
		flush_directory();
	else if (errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", UNFLUSHED)));
}

/* Flushing is on again.  Has the machine lost what was not flushed? */
static bool
flushed_too_late(void)
{
	char boot[BOOT_ID_BYTES];
	char then[BOOT_ID_BYTES];

	if (!first_line(UNFLUSHED, then, sizeof(then)))
		return false;
	if (!first_line(BOOT_ID, boot, sizeof(boot)) || strcmp(boot, then) != 0)
		return true;
	sync();
	forget_unflushed();
	return false;
}

void
paxos_identity_adopt(PaxosNodeRow *row)
{
	row->system_identifier = GetSystemIdentifier();
	row->timeline = GetWALInsertionTimeLine();
	row->doubt[0] = '\0';
	paxos_identity_stamp(row);

	/* After the new sentinel: until the row is committed, that is what is in doubt. */
	forget_unflushed();
}

/* Of whose life does the sentinel speak? */
static px_sentinel
sentinel_says(const PaxosNodeRow *row)
{
	PaxosNodeRow next = *row;
	char expected[SENTINEL_BYTES];
	char found[SENTINEL_BYTES];
	int fd;
	ssize_t n;

	fd = OpenTransientFile(SENTINEL, O_RDONLY | PG_BINARY);
	if (fd < 0)
	{
		if (errno == ENOENT)
			return PX_SENTINEL_MISSING;
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not open file \"%s\": %m", SENTINEL)));
	}
	n = read(fd, found, sizeof(found) - 1);
	if (n < 0)
		ereport(ERROR,
				(errcode_for_file_access(), errmsg("could not read file \"%s\": %m", SENTINEL)));
	(void) CloseTransientFile(fd);
	found[n] = '\0';

	sentinel_text(row, expected);
	if (strcmp(found, expected) == 0)
		return PX_SENTINEL_OF_ROW;
	next.incarnation++;
	sentinel_text(&next, expected);
	return strcmp(found, expected) == 0 ? PX_SENTINEL_OF_NEXT : PX_SENTINEL_OF_OTHER;
}

/* What is wrong with the data directory; false if nothing. */
static bool
directory_in_doubt(const PaxosNodeRow *row, char *why, Size size)
{
	char label[PAXOS_STAMP_BYTES];
	char stamp[PAXOS_STAMP_BYTES];

	if (flushed_too_late())
	{
		snprintf(
			why, size,
			"file \"" UNFLUSHED
			"\": the server has run with fsync or full_page_writes off, and the machine has been started anew since: the node may have forgotten what it promised");
		return true;
	}
	file_stamp(BACKUP_LABEL_OLD, label, sizeof(label));
	file_stamp(SENTINEL, stamp, sizeof(stamp));
	switch (px_directory_judge(sentinel_says(row), strcmp(stamp, row->sentinel) == 0,
							   strcmp(label, row->backup_label) == 0))
	{
		case PX_DOUBT_NONE:
			return false;
		case PX_DOUBT_BACKUP:
			snprintf(
				why, size,
				"file \"" BACKUP_LABEL_OLD
				"\" is not as it was (%s, now %s): the server was started from a base backup and may have forgotten what it promised",
				row->backup_label[0] ? row->backup_label : "none", label[0] ? label : "none");
			break;
		case PX_DOUBT_MISSING:
			snprintf(
				why, size,
				"file \"" SENTINEL
				"\" is missing: the data directory was copied or restored and may have forgotten what it promised");
			break;
		case PX_DOUBT_OTHER:
			snprintf(
				why, size,
				"file \"" SENTINEL "\" does not belong to incarnation " UINT64_FORMAT
				": the data directory was put together from several and may have forgotten what it promised",
				row->incarnation);
			break;
		case PX_DOUBT_COPY:
			snprintf(
				why, size,
				"file \"" SENTINEL
				"\" is not the one last written (%s, now %s): the data directory was copied or restored and may have forgotten what it promised",
				row->sentinel, stamp);
			break;
	}
	return true;
}

bool
paxos_identity_judge(const PaxosNodeRow *row, PaxosAlarmKind *kind, char *why, Size size)
{
	uint64 system = GetSystemIdentifier();
	uint32 timeline = GetWALInsertionTimeLine();

	why[0] = '\0';
	*kind = PAXOS_ALARM_AMNESIA;
	if ((!enableFsync || !fullPageWrites) && !paxos_allow_unsafe_fsync)
	{
		LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
		paxos_shared->unsafe_fsync_seen = true;
		LWLockRelease(paxos_identity_lock);
		note_unflushed();
		*kind = PAXOS_ALARM_FSYNC_OFF;
		snprintf(why, size,
				 "%s is off, so that this node could forget what it promised; "
				 "turn it on and restart the server",
				 enableFsync ? "full_page_writes" : "fsync");
	}
	else if (paxos_shared->unsafe_fsync_seen && !paxos_allow_unsafe_fsync)
	{
		*kind = PAXOS_ALARM_FSYNC_OFF;
		snprintf(why, size,
				 "fsync or full_page_writes has been off since the server started; "
				 "restart it now that they are on");
	}
	else if (row->doubt[0] != '\0')
		strlcpy(why, row->doubt, size);
	else if (row->system_identifier != system)
		snprintf(why, size,
				 "the node was formed on the server with system identifier " UINT64_FORMAT
				 ", this one has " UINT64_FORMAT ": these data were copied",
				 row->system_identifier, system);
	else if (row->timeline != timeline)
		snprintf(why, size,
				 "the node was formed on timeline %u, this server is on timeline %u: "
				 "it was promoted or restored and may have forgotten what it promised",
				 row->timeline, timeline);
	else if (!paxos_shared->identity_judged && directory_in_doubt(row, why, size))
		return false;
	else
	{
		LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
		paxos_shared->identity_judged = true;
		LWLockRelease(paxos_identity_lock);
		if (!paxos_shared->twin_seen)
			return true;
		*kind = PAXOS_ALARM_TWIN;
		snprintf(why, size,
				 "this node's address leads to another server that says it is this node");
	}
	return false;
}

void
paxos_identity_doubt(const char *why)
{
	PaxosNodeRow row;

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	if (paxos_node_row_read(&row) && row.begun && row.doubt[0] == '\0')
	{
		strlcpy(row.doubt, why, sizeof(row.doubt));
		paxos_node_row_write(&row);
		paxos_commit_locally();
	}
	PopActiveSnapshot();

	/*
	 * At once, whatever becomes of the transaction: what was found is true, and
	 * the next start finds it again if it could not be written down.
	 */
	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	if (paxos_shared->membership == PAXOS_MEMBER)
	{
		paxos_shared->membership = PAXOS_FENCED;
		paxos_shared->fenced_kind = PAXOS_ALARM_AMNESIA;
		strlcpy(paxos_shared->why_fenced, why, sizeof(paxos_shared->why_fenced));
		paxos_shared->identity_generation++;
	}
	LWLockRelease(paxos_identity_lock);
	paxos_alarm_raise(PAXOS_ALARM_AMNESIA, 0, why);
	paxos_wake_proposer();
	paxos_wake_learner();
}

/* ---- two servers with one identity ---- */

static void
set_twin_seen(bool seen)
{
	LWLockAcquire(paxos_identity_lock, LW_EXCLUSIVE);
	if (paxos_shared->twin_seen != seen)
	{
		paxos_shared->twin_seen = seen;
		paxos_shared->identity_generation++;
	}
	LWLockRelease(paxos_identity_lock);
}

void
paxos_identity_twin(const char *why)
{
	set_twin_seen(true);
	paxos_alarm_raise(PAXOS_ALARM_TWIN, 0, why);
}

/*
 * An address that cannot be reached says nothing.  One that answers with another
 * instance leads to another server.
 */
bool
paxos_identity_check_address(void)
{
	MemoryContext cxt =
		AllocSetContextCreate(CurrentMemoryContext, "paxos own address", ALLOCSET_SMALL_SIZES);
	MemoryContext old;
	PaxosMember self;
	PaxosMember *found;
	PaxosConn *conn;
	PGresult *res;
	char *error = NULL;
	const char *params[1];
	bool twin = false;
	bool known = false;

	StartTransactionCommand();
	known = paxos_node_member(paxos_shared->node_id, &self);
	CommitTransactionCommand();
	if (!known)
		return true;

	old = MemoryContextSwitchTo(cxt);
	found = palloc(sizeof(PaxosMember));
	*found = self;
	params[0] = psprintf(UINT64_FORMAT, paxos_shared->instance);
	conn = paxos_conn_open(found->conninfo, ADDRESS_TIMEOUT_MS, true, &error);
	if (conn != NULL)
	{
		res = paxos_conn_exec(conn, "SELECT paxos.is_instance($1::bigint)", 1, params, 0,
							  ADDRESS_TIMEOUT_MS, &error);
		if (res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1)
			twin = strcmp(PQgetvalue(res, 0, 0), "f") == 0;
		else
			known = false;
		if (res != NULL)
			PQclear(res);
		paxos_conn_close(conn);
	}
	else
		known = false;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);

	if (twin)
		paxos_identity_twin(
			"this node's address leads to another server that says it is this node");
	else if (known)
		set_twin_seen(false);
	return !paxos_shared->twin_seen;
}

/* ---- the operator's word ---- */

/*
 * paxos_trust_node(has_forgotten_nothing boolean)
 */
Datum
paxos_trust_node(PG_FUNCTION_ARGS)
{
	bool sure = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	PaxosNodeRow row;
	PaxosAlarmKind kind;
	char why[PAXOS_ERROR_TEXT];
	PaxosMemory claims;

	paxos_require_preload();
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("a physical standby cannot be a node of a cluster")));

	paxos_acceptor_lock_acquire();
	PushActiveSnapshot(GetLatestSnapshot());
	if (!paxos_node_row_read(&row) || !row.begun)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this node is in no cluster")));
	if (paxos_identity_judge(&row, &kind, why, sizeof(why)))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("nobody doubts this node")));
	if (kind != PAXOS_ALARM_AMNESIA)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("what is wrong with this node is not for anybody to overrule"),
						errdetail("%s.", why), errhint("%s", paxos_alarm_hint(kind))));
	if (!sure)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("this node is not trusted without your word that it has forgotten nothing"),
			 errdetail("%s.", why),
			 errhint(
				 "Call paxos_trust_node(true) if the server runs on the very files it last ran with, and no other server does.  If they come from a copy of any kind, the cluster can lose data it has acknowledged: remove this node and add it again instead.")));

	/*
	 * What members remember and this node does not show is overruled up to what
	 * they have told so far; if they come to say more, it is in doubt again.  The
	 * next life must not have the number of one they have heard.
	 */
	paxos_memory_claims(&claims);
	LWLockAcquire(paxos_learner_lock, LW_SHARED);
	claims.incarnation =
		Max(claims.incarnation, px_origins_get(&paxos_shared->origins, row.node_id).incarnation);
	LWLockRelease(paxos_learner_lock);
	row.overruled_promised = Max(row.overruled_promised, claims.promised);
	row.overruled_accepted = Max(row.overruled_accepted, claims.accepted);
	row.incarnation = Max(row.incarnation, claims.incarnation);
	paxos_identity_adopt(&row);
	paxos_node_row_write(&row);
	PopActiveSnapshot();
	paxos_commit_locally();
	ereport(LOG, (errmsg("paxos: this node is trusted by order of \"%s\"",
						 GetUserNameFromId(GetUserId(), false)),
				  errdetail("%s.", why)));
	paxos_node_wake_workers_at_commit();
	PG_RETURN_VOID();
}
