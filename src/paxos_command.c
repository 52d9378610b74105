/*
 * paxos_command.c
 *	  Encoding of commands and results: what travels in origin batches, what a
 *	  learner hands to a waiting session, and what is remembered under a request
 *	  id (protocol.md §§ 5, 6).
 *
 * Everything is written byte by byte, little-endian, so that servers of
 * different machines and PostgreSQL versions read each other.  Layout, format
 * version 1 (str: i32 length, -1 for none, then bytes without NUL):
 *
 *	command:	u8 version | u8 kind | u8 has request id
 *				| [16 bytes uuid | u64 retention_us] | body
 *	keyed:		i64 table id | u8 verb, + 0x80 for images as records
 *				| 4 lists: key, row, sets, conditions
 *	list:		u16 count | count * (i16 attnum | u8 op | str)
 *	several:	u32 count | count * keyed
 *	txn:		3 lists (guards, then, else): u32 count | count * keyed
 *	ddl:		u8 kind | str sql | str schema | str owner
 *				| u16 count | count * i64 table id
 *	verify:		i64 table id
 *	set:		u64 base | u64 snapshot | u64 number of its parts | u32 how many
 *				| u16 count * (i64 table id | u16 hold)
 *				| for each of the five holds: u32 count * u64 key
 *				| u32 count * (u16 table | u8 what | list key | list row)
 *	part:		u64 number of the parts | u32 which | set
 *	result:		u8 version | u8 flags | u64 slot | i64 table id
 *				| str previous | str current
 *				| [u32 count | count * ([i64 table id] | u8 flags | str previous
 *				   | str current)]
 *				| [u32 sqlstate | str message, detail, hint, schema, table,
 *				   column, datatype, constraint]
 *
 * The decoders take bytes that a faulty or hostile member may have made: they
 * never read outside them, allocate no more than the bytes can back, and insist
 * on ranges, on text valid in the database's encoding, and on nothing being
 * left over.  A command that does not decode is the same bytes on every node,
 * and so fails in the same way on every node (paxos_execute.c).
 *
 * Not here: what a command means (paxos_apply.c, paxos_ddl.c), and its place in
 * a batch (core/px_value.c).  No state; a crash loses nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "paxos_command.h"
#include "paxos_version.h"

#define RESULT_VERSION 1

#define KEYED_AS_RECORD 0x80

#define RESULT_FAILED 0x01
#define RESULT_APPLIED 0x02
#define RESULT_EXISTED 0x04
#define RESULT_REPLAYED 0x08
#define RESULT_PARTS 0x10
#define RESULT_TABLES 0x20 /* parts have a table each */
#define RESULT_ALL_FLAGS 0x3f

/* attnum, op and the length of the text: the least a column can take */
#define COLUMN_MIN_BYTES (2 + 1 + 4)

/* the same of an operation, with a key of one column, and of a part of a result */
#define KEYED_MIN_BYTES (8 + 1 + 4 * 2 + COLUMN_MIN_BYTES)
#define PART_MIN_BYTES (1 + 4 + 4)

/* table, what is said, and two counts of columns */
#define SET_ROW_MIN_BYTES (2 + 1 + 2 + 2)

/*
 * ---- writing ----
 */

static void
put_uint(StringInfo buf, uint64 v, int bytes)
{
	char out[8];

	for (int i = 0; i < bytes; i++)
	{
		out[i] = (char) (v & 0xff);
		v >>= 8;
	}
	appendBinaryStringInfo(buf, out, bytes);
}

static void
put_string(StringInfo buf, const char *s)
{
	if (s == NULL)
		put_uint(buf, UINT32_MAX, 4);
	else
	{
		Size len = strlen(s);

		put_uint(buf, len, 4);
		appendBinaryStringInfo(buf, s, (int) len);
	}
}

static void
put_columns(StringInfo buf, int n, const PaxosColumn *columns)
{
	Assert(n >= 0 && n <= MaxHeapAttributeNumber);
	put_uint(buf, n, 2);
	for (int i = 0; i < n; i++)
	{
		put_uint(buf, (uint16) columns[i].attnum, 2);
		put_uint(buf, columns[i].op, 1);
		put_string(buf, columns[i].isnull ? NULL : columns[i].text);
	}
}

static void
put_keys(StringInfo buf, int n, const uint64 *keys)
{
	put_uint(buf, n, 4);
	for (int i = 0; i < n; i++)
		put_uint(buf, keys[i], 8);
}

/*
 * ---- reading: after the first fault every further read gives zeros ----
 */

typedef struct Reader
{
	const unsigned char *at;
	Size left;
	bool bad;
	int version;
} Reader;

static uint64
get_uint(Reader *r, int bytes)
{
	uint64 v = 0;

	if (r->bad || r->left < (Size) bytes)
	{
		r->bad = true;
		return 0;
	}
	for (int i = bytes - 1; i >= 0; i--)
		v = v << 8 | r->at[i];
	r->at += bytes;
	r->left -= bytes;
	return v;
}

/*
 * A string, or NULL for none.  Type input functions walk text by its encoding's
 * character lengths: an invalid sequence at the end would lead them beyond it.
 */
static char *
get_string(Reader *r)
{
	uint32 len = (uint32) get_uint(r, 4);
	char *s;

	if (r->bad || len == UINT32_MAX)
		return NULL;
	if (len > r->left || len >= MaxAllocSize || memchr(r->at, '\0', len) != NULL ||
		!pg_verify_mbstr(GetDatabaseEncoding(), (const char *) r->at, (int) len, true))
	{
		r->bad = true;
		return NULL;
	}
	s = pnstrdup((const char *) r->at, len);
	r->at += len;
	r->left -= len;
	return s;
}

static char *
get_string_required(Reader *r)
{
	char *s = get_string(r);

	if (s == NULL)
		r->bad = true;
	return s;
}

static PaxosColumn *
get_columns(Reader *r, int *n, uint8 min_op, uint8 max_op)
{
	int count = (int) get_uint(r, 2);
	PaxosColumn *columns;

	*n = 0;
	if (r->bad || count == 0)
		return NULL;

	/* a count is believed only as far as the bytes can back it */
	if (count > MaxHeapAttributeNumber || r->left / COLUMN_MIN_BYTES < (Size) count)
	{
		r->bad = true;
		return NULL;
	}
	columns = palloc0(sizeof(PaxosColumn) * count);
	for (int i = 0; i < count && !r->bad; i++)
	{
		char *text;

		columns[i].attnum = (AttrNumber) (int16) get_uint(r, 2);
		columns[i].op = (uint8) get_uint(r, 1);
		text = get_string(r);
		columns[i].isnull = (text == NULL);
		columns[i].text = text != NULL ? text : pstrdup("");
		if (columns[i].attnum <= 0 || columns[i].attnum > MaxHeapAttributeNumber ||
			columns[i].op < min_op || columns[i].op > max_op)
			r->bad = true;
	}
	*n = count;
	return columns;
}

/*
 * ---- commands ----
 */

static void
put_keyed(StringInfo buf, int version, const PaxosKeyedOp *op)
{
	put_uint(buf, (uint64) op->table_id, 8);
	if (version >= PAXOS_VERSION_DEFINITIONS)
		put_uint(buf, op->definition, 4);
	put_uint(buf, op->verb | (op->as_record ? KEYED_AS_RECORD : 0), 1);
	put_columns(buf, op->n_key, op->key);
	put_columns(buf, op->n_row, op->row);
	put_columns(buf, op->n_sets, op->sets);
	put_columns(buf, op->n_conditions, op->conditions);
}

static void
put_keyed_list(StringInfo buf, int version, const PaxosKeyedList *list)
{
	put_uint(buf, list->n, 4);
	for (int i = 0; i < list->n; i++)
		put_keyed(buf, version, &list->ops[i]);
}

static void
put_set(StringInfo buf, const PaxosWriteSet *op)
{
	put_uint(buf, op->base, 8);
	put_uint(buf, op->snapshot, 8);
	put_uint(buf, op->parts_of, 8);
	put_uint(buf, op->n_parts, 4);
	put_uint(buf, op->n_tables, 2);
	for (int i = 0; i < op->n_tables; i++)
	{
		put_uint(buf, (uint64) op->tables[i].table_id, 8);
		put_uint(buf, op->tables[i].hold, 2);
	}
	for (int i = 0; i < PAXOS_HOLDS; i++)
		put_keys(buf, op->n_keys[i], op->keys[i]);
	put_uint(buf, op->n_rows, 4);
	for (int i = 0; i < op->n_rows; i++)
	{
		put_uint(buf, op->rows[i].table, 2);
		put_uint(buf, op->rows[i].what, 1);
		put_columns(buf, op->rows[i].n_key, op->rows[i].key);
		put_columns(buf, op->rows[i].n_row, op->rows[i].row);
	}
}

char *
paxos_command_encode(const PaxosCommand *command, Size *len)
{
	StringInfoData buf;
	int version = paxos_version_in_use();

	initStringInfo(&buf);
	put_uint(&buf, version, 1);
	put_uint(&buf, command->kind, 1);
	put_uint(&buf, command->has_request_id ? 1 : 0, 1);
	if (command->has_request_id)
	{
		appendBinaryStringInfo(&buf, (const char *) command->request_id.data, UUID_LEN);
		put_uint(&buf, command->request_retention_us, 8);
	}

	switch (command->kind)
	{
		case PAXOS_COMMAND_KEYED:
			put_keyed(&buf, version, &command->u.keyed);
			break;
		case PAXOS_COMMAND_LIST:
			put_keyed_list(&buf, version, &command->u.list);
			break;
		case PAXOS_COMMAND_TXN:
			put_keyed_list(&buf, version, &command->u.txn.guards);
			put_keyed_list(&buf, version, &command->u.txn.then_ops);
			put_keyed_list(&buf, version, &command->u.txn.else_ops);
			break;
		case PAXOS_COMMAND_DDL:
		{
			const PaxosDdlOp *op = &command->u.ddl;

			Assert(op->n_tables >= 0 && op->n_tables <= PG_UINT16_MAX);
			put_uint(&buf, op->kind, 1);
			if (version >= PAXOS_VERSION_DEFINITIONS)
				put_uint(&buf, op->flags, 1);
			put_string(&buf, op->sql);
			put_string(&buf, op->schema);
			put_string(&buf, op->owner);
			put_uint(&buf, op->n_tables, 2);
			for (int i = 0; i < op->n_tables; i++)
				put_uint(&buf, (uint64) op->table_ids[i], 8);
			if (version < PAXOS_VERSION_DEFINITIONS)
				break;
			put_uint(&buf, op->altered != NULL, 1);
			for (int i = 0; op->altered != NULL && i < op->n_tables; i++)
				put_uint(&buf, (uint64) op->altered[i], 8);
			put_uint(&buf, op->n_settings, 1);
			for (int i = 0; i < op->n_settings * 2; i++)
				put_string(&buf, op->settings[i]);
			put_uint(&buf, op->n_objects, 2);
			for (int i = 0; i < op->n_objects; i++)
			{
				put_uint(&buf, (uint64) op->object_ids[i], 8);
				put_uint(&buf, (uint64) op->objects_altered[i], 8);
			}
			if ((op->flags & PAXOS_DDL_ROWS) != 0)
			{
				put_uint(&buf, op->parts_of, 8);
				put_uint(&buf, op->n_parts, 4);
			}
			break;
		}
		case PAXOS_COMMAND_VERIFY:
			put_uint(&buf, (uint64) command->u.verify.table_id, 8);
			break;
		case PAXOS_COMMAND_SET:
			put_set(&buf, &command->u.set);
			break;
		case PAXOS_COMMAND_PART:
			put_uint(&buf, command->u.part.set, 8);
			put_uint(&buf, command->u.part.number, 4);
			put_set(&buf, &command->u.part.body);
			break;
	}
	*len = buf.len;
	return buf.data;
}

/* The verbs that may stand there: from one to another, and one more. */
typedef struct Verbs
{
	uint8 min;
	uint8 max;
	uint8 also;
} Verbs;

static const Verbs changes = {PAXOS_VERB_INSERT, PAXOS_VERB_INSERT_UPDATE, 0};
static const Verbs changes_and_get = {PAXOS_VERB_INSERT, PAXOS_VERB_INSERT_UPDATE, PAXOS_VERB_GET};
static const Verbs looks = {PAXOS_VERB_EXISTS, PAXOS_VERB_ABSENT, 0};

static void
get_keyed(Reader *r, PaxosKeyedOp *op, const Verbs *verbs)
{
	uint8 verb;

	op->table_id = (int64) get_uint(r, 8);
	if (r->version >= PAXOS_VERSION_DEFINITIONS)
		op->definition = (uint32) get_uint(r, 4);
	verb = (uint8) get_uint(r, 1);
	op->as_record = (verb & KEYED_AS_RECORD) != 0;
	verb &= ~KEYED_AS_RECORD;
	if ((verb < verbs->min || verb > verbs->max) && (verb == 0 || verb != verbs->also))
	{
		r->bad = true;
		return;
	}
	op->verb = (PaxosVerb) verb;
	op->key = get_columns(r, &op->n_key, 0, 0);
	op->row = get_columns(r, &op->n_row, 0, 0);
	op->sets = get_columns(r, &op->n_sets, PAXOS_SET_ASSIGN, PAXOS_SET_EXPRESSION);
	op->conditions = get_columns(r, &op->n_conditions, PAXOS_COND_EQ, PAXOS_COND_EXPRESSION);
	if (op->n_key == 0)
		r->bad = true;
}

static void
get_keyed_list(Reader *r, PaxosKeyedList *list, const Verbs *verbs)
{
	uint32 count = (uint32) get_uint(r, 4);

	if (r->bad || r->left / KEYED_MIN_BYTES < count)
	{
		r->bad = true;
		return;
	}
	list->n = (int) count;
	list->ops = palloc0(sizeof(PaxosKeyedOp) * Max(count, 1));
	for (uint32 i = 0; i < count && !r->bad; i++)
		get_keyed(r, &list->ops[i], verbs);
}

/* A count that the bytes can back. */
static int
get_count(Reader *r, int bytes, Size each)
{
	uint64 count = get_uint(r, bytes);

	if (r->bad || r->left / each < count)
	{
		r->bad = true;
		return 0;
	}
	return (int) count;
}

static void
get_ddl(Reader *r, PaxosDdlOp *op)
{
	uint8 kind = (uint8) get_uint(r, 1);
	uint8 says_altered;
	int count;

	if (r->version >= PAXOS_VERSION_DEFINITIONS)
		op->flags = (uint8) get_uint(r, 1);
	if (kind < PAXOS_DDL_CREATE_TABLE || kind > PAXOS_DDL_LEAVE ||
		(kind > PAXOS_DDL_DROP_INDEX && r->version < PAXOS_VERSION_DEFINITIONS) ||
		(op->flags & ~PAXOS_DDL_ALL_FLAGS) != 0 ||
		((op->flags & PAXOS_DDL_ROWS) != 0 && kind != PAXOS_DDL_CREATE_TABLE))
	{
		r->bad = true;
		return;
	}
	op->kind = (PaxosDdlKind) kind;
	op->sql = get_string_required(r);
	op->schema = get_string_required(r);
	op->owner = get_string_required(r);
	count = (int) get_uint(r, 2);
	if (r->bad || r->left / 8 < (Size) count)
	{
		r->bad = true;
		return;
	}
	op->n_tables = count;
	if (count > 0)
		op->table_ids = palloc(sizeof(int64) * count);
	for (int i = 0; i < count; i++)
		op->table_ids[i] = (int64) get_uint(r, 8);
	if (r->version < PAXOS_VERSION_DEFINITIONS)
		return;
	says_altered = (uint8) get_uint(r, 1);
	if (says_altered > 1 || (says_altered && r->left / 8 < (Size) count))
	{
		r->bad = true;
		return;
	}
	if (says_altered)
		op->altered = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; says_altered && i < count; i++)
		op->altered[i] = (int64) get_uint(r, 8);
	op->n_settings = (int) get_uint(r, 1);
	op->settings = palloc0(sizeof(char *) * (2 * op->n_settings + 1));
	for (int i = 0; i < op->n_settings * 2 && !r->bad; i++)
		op->settings[i] = get_string_required(r);
	op->n_objects = get_count(r, 2, 16);
	if (op->kind >= PAXOS_DDL_ALTER_OBJECT && op->kind <= PAXOS_DDL_DROP_OBJECT &&
		op->n_objects == 0)
		r->bad = true;
	op->object_ids = palloc(sizeof(int64) * Max(op->n_objects, 1));
	op->objects_altered = palloc(sizeof(int64) * Max(op->n_objects, 1));
	for (int i = 0; i < op->n_objects; i++)
	{
		op->object_ids[i] = (int64) get_uint(r, 8);
		op->objects_altered[i] = (int64) get_uint(r, 8);
	}
	if ((op->flags & PAXOS_DDL_ROWS) != 0)
	{
		op->parts_of = get_uint(r, 8);
		op->n_parts = (uint32) get_uint(r, 4);
		if (op->parts_of == 0 || op->n_parts == 0)
			r->bad = true;
	}
}

static uint64 *
get_keys(Reader *r, int *n)
{
	uint64 *keys;

	*n = get_count(r, 4, 8);
	keys = palloc(sizeof(uint64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		keys[i] = get_uint(r, 8);
	return keys;
}

static void
get_set(Reader *r, PaxosWriteSet *op)
{
	op->base = get_uint(r, 8);
	op->snapshot = get_uint(r, 8);
	op->parts_of = get_uint(r, 8);
	op->n_parts = (uint32) get_uint(r, 4);
	if ((op->parts_of == 0) != (op->n_parts == 0))
		r->bad = true;
	op->n_tables = get_count(r, 2, 8 + 2);
	op->tables = palloc(sizeof(PaxosSetTable) * Max(op->n_tables, 1));
	for (int i = 0; i < op->n_tables; i++)
	{
		PaxosSetTable *table = &op->tables[i];

		table->table_id = (int64) get_uint(r, 8);
		table->hold = (uint16) get_uint(r, 2);
		if (table->hold == 0 || (table->hold & ~PAXOS_TABLE_ALL) != 0)
			r->bad = true;
	}
	for (int i = 0; i < PAXOS_HOLDS; i++)
		op->keys[i] = get_keys(r, &op->n_keys[i]);
	op->n_rows = get_count(r, 4, SET_ROW_MIN_BYTES);
	op->rows = palloc0(sizeof(PaxosSetRow) * Max(op->n_rows, 1));
	for (int i = 0; i < op->n_rows && !r->bad; i++)
	{
		PaxosSetRow *row = &op->rows[i];

		row->table = (uint16) get_uint(r, 2);
		row->what = (uint8) get_uint(r, 1);
		row->key = get_columns(r, &row->n_key, 0, 0);
		row->row = get_columns(r, &row->n_row, 0, 0);
		if (row->table >= op->n_tables || row->what >= PAXOS_ROW_LOCKED + PAXOS_HOLD_READ ||
			(op->tables[row->table].hold &
			 (row->what < PAXOS_ROW_LOCKED ? PAXOS_TABLE_CHANGED : PAXOS_TABLE_LOCKED)) == 0 ||
			(row->n_key == 0 && row->what != PAXOS_ROW_PRESENT) ||
			(row->n_row > 0) != (row->what == PAXOS_ROW_PRESENT))
			r->bad = true;
	}
}

static void
get_part(Reader *r, PaxosSetPart *part)
{
	part->set = get_uint(r, 8);
	part->number = (uint32) get_uint(r, 4);
	get_set(r, &part->body);
	if (part->set == 0 || part->body.n_parts != 0 || (part->number == 0 && part->body.n_tables > 0))
		r->bad = true;
}

bool
paxos_command_decode(const char *bytes, Size len, PaxosCommand *command)
{
	Reader r = {(const unsigned char *) bytes, len, false, 0};
	int version;
	uint8 kind;
	uint8 has_request_id;

	memset(command, 0, sizeof(*command));
	version = (int) get_uint(&r, 1);
	if (version < 1 || version > paxos_protocol_max)
		return false;
	r.version = version;
	kind = (uint8) get_uint(&r, 1);
	has_request_id = (uint8) get_uint(&r, 1);
	if (r.bad || has_request_id > 1)
		return false;
	if (has_request_id)
	{
		if (r.left < UUID_LEN)
			return false;
		command->has_request_id = true;
		memcpy(command->request_id.data, r.at, UUID_LEN);
		r.at += UUID_LEN;
		r.left -= UUID_LEN;
		command->request_retention_us = get_uint(&r, 8);
	}

	switch (kind)
	{
		case PAXOS_COMMAND_KEYED:
			command->kind = PAXOS_COMMAND_KEYED;
			get_keyed(&r, &command->u.keyed, &changes);
			break;
		case PAXOS_COMMAND_LIST:
			command->kind = PAXOS_COMMAND_LIST;
			get_keyed_list(&r, &command->u.list, &changes);
			if (command->u.list.n == 0)
				return false;
			break;
		case PAXOS_COMMAND_TXN:
			if (version < PAXOS_VERSION_TXN)
				return false;
			command->kind = PAXOS_COMMAND_TXN;
			get_keyed_list(&r, &command->u.txn.guards, &looks);
			get_keyed_list(&r, &command->u.txn.then_ops, &changes_and_get);
			get_keyed_list(&r, &command->u.txn.else_ops, &changes_and_get);
			break;
		case PAXOS_COMMAND_DDL:
			command->kind = PAXOS_COMMAND_DDL;
			get_ddl(&r, &command->u.ddl);
			break;
		case PAXOS_COMMAND_VERIFY:
			command->kind = PAXOS_COMMAND_VERIFY;
			command->u.verify.table_id = (int64) get_uint(&r, 8);
			break;
		case PAXOS_COMMAND_SET:
			if (version < PAXOS_VERSION_SETS)
				return false; /* as a build says that knows none */
			command->kind = PAXOS_COMMAND_SET;
			get_set(&r, &command->u.set);
			if (command->u.set.n_tables == 0)
				return false;
			break;
		case PAXOS_COMMAND_PART:
			if (version < PAXOS_VERSION_SETS)
				return false;
			command->kind = PAXOS_COMMAND_PART;
			get_part(&r, &command->u.part);
			break;
		default:
			return false;
	}
	return !r.bad && r.left == 0;
}

/*
 * ---- results ----
 */

static void
put_parts(StringInfo buf, int n, const PaxosResultPart *parts)
{
	put_uint(buf, n, 4);
	for (int i = 0; i < n; i++)
	{
		if (parts[0].table_id != 0)
			put_uint(buf, (uint64) parts[i].table_id, 8);
		put_uint(buf,
				 (parts[i].applied ? RESULT_APPLIED : 0) | (parts[i].existed ? RESULT_EXISTED : 0),
				 1);
		put_string(buf, parts[i].previous);
		put_string(buf, parts[i].current);
	}
}

static void
get_parts(Reader *r, bool tables, PaxosCommandResult *result)
{
	uint32 count = (uint32) get_uint(r, 4);

	if (r->bad || count == 0 || r->left / PART_MIN_BYTES < count)
	{
		r->bad = true;
		return;
	}
	result->n_parts = (int) count;
	result->parts = palloc0(sizeof(PaxosResultPart) * count);
	for (uint32 i = 0; i < count && !r->bad; i++)
	{
		uint8 flags;

		if (tables)
			result->parts[i].table_id = (int64) get_uint(r, 8);
		if (tables && result->parts[i].table_id == 0)
			r->bad = true;
		flags = (uint8) get_uint(r, 1);
		if ((flags & ~(RESULT_APPLIED | RESULT_EXISTED)) != 0)
			r->bad = true;
		result->parts[i].applied = (flags & RESULT_APPLIED) != 0;
		result->parts[i].existed = (flags & RESULT_EXISTED) != 0;
		result->parts[i].previous = get_string(r);
		result->parts[i].current = get_string(r);
	}
}

char *
paxos_result_encode(const PaxosCommandResult *result, Size *len)
{
	StringInfoData buf;

	initStringInfo(&buf);
	put_uint(&buf, RESULT_VERSION, 1);
	put_uint(&buf,
			 (result->failed ? RESULT_FAILED : 0) | (result->applied ? RESULT_APPLIED : 0) |
				 (result->existed ? RESULT_EXISTED : 0) | (result->replayed ? RESULT_REPLAYED : 0) |
				 (result->n_parts > 0 ? RESULT_PARTS : 0) |
				 (result->n_parts > 0 && result->parts[0].table_id != 0 ? RESULT_TABLES : 0),
			 1);
	put_uint(&buf, result->decided_at, 8);
	put_uint(&buf, (uint64) result->table_id, 8);
	put_string(&buf, result->previous);
	put_string(&buf, result->current);
	if (result->n_parts > 0)
		put_parts(&buf, result->n_parts, result->parts);
	if (result->failed)
	{
		put_uint(&buf, (uint32) result->sqlstate, 4);
		put_string(&buf, result->message);
		put_string(&buf, result->detail);
		put_string(&buf, result->hint);
		put_string(&buf, result->schema_name);
		put_string(&buf, result->table_name);
		put_string(&buf, result->column_name);
		put_string(&buf, result->datatype_name);
		put_string(&buf, result->constraint_name);
	}
	*len = buf.len;
	return buf.data;
}

bool
paxos_result_decode(const char *bytes, Size len, PaxosCommandResult *result)
{
	Reader r = {(const unsigned char *) bytes, len, false, 0};
	uint8 flags;

	memset(result, 0, sizeof(*result));
	if (get_uint(&r, 1) != RESULT_VERSION)
		return false;
	flags = (uint8) get_uint(&r, 1);
	if (r.bad || (flags & ~RESULT_ALL_FLAGS) != 0)
		return false;
	result->failed = (flags & RESULT_FAILED) != 0;
	result->applied = (flags & RESULT_APPLIED) != 0;
	result->existed = (flags & RESULT_EXISTED) != 0;
	result->replayed = (flags & RESULT_REPLAYED) != 0;
	result->decided_at = get_uint(&r, 8);
	result->table_id = (int64) get_uint(&r, 8);
	result->previous = get_string(&r);
	result->current = get_string(&r);
	if ((flags & RESULT_PARTS) != 0)
		get_parts(&r, (flags & RESULT_TABLES) != 0, result);
	else if ((flags & RESULT_TABLES) != 0)
		r.bad = true;
	if (result->failed)
	{
		result->sqlstate = (int) get_uint(&r, 4);
		result->message = get_string_required(&r);
		result->detail = get_string(&r);
		result->hint = get_string(&r);
		result->schema_name = get_string(&r);
		result->table_name = get_string(&r);
		result->column_name = get_string(&r);
		result->datatype_name = get_string(&r);
		result->constraint_name = get_string(&r);
	}
	return !r.bad && r.left == 0;
}

/*
 * The session raises what the learner met at the slot, as if it had met it
 * itself: the same SQLSTATE and the same fields a program may look at.
 */
void
paxos_result_raise(const PaxosCommandResult *result)
{
	Assert(result->failed);
	ereport(
		ERROR,
		(errcode(result->sqlstate),
		 errmsg_internal("%s",
						 result->message != NULL ? result->message : "command failed at its slot"),
		 result->detail != NULL ? errdetail_internal("%s", result->detail) : 0,
		 result->hint != NULL ? errhint("%s", result->hint) : 0,
		 result->schema_name != NULL ? err_generic_string(PG_DIAG_SCHEMA_NAME, result->schema_name)
									 : 0,
		 result->table_name != NULL ? err_generic_string(PG_DIAG_TABLE_NAME, result->table_name)
									: 0,
		 result->column_name != NULL ? err_generic_string(PG_DIAG_COLUMN_NAME, result->column_name)
									 : 0,
		 result->datatype_name != NULL
			 ? err_generic_string(PG_DIAG_DATATYPE_NAME, result->datatype_name)
			 : 0,
		 result->constraint_name != NULL
			 ? err_generic_string(PG_DIAG_CONSTRAINT_NAME, result->constraint_name)
			 : 0));
	pg_unreachable();
}
