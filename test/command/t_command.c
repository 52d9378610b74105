/*
 * t_command.c
 *	  What is encoded is decoded to the same; and no bytes whatever make the
 *	  decoders read outside them, or give something that they would not have
 *	  been encoded as.
 *
 * The second half of that is the test of most lines of the decoders: for every
 * cut, for every changed byte and for noise, either the decoder says no or
 * encoding its answer gives the very bytes back.  A range that is not checked,
 * bytes left over, or a flag that is passed over breaks it, or trips a
 * sanitizer.
 */
#include "postgres.h"

#include "postgres_ext.h"

#include "paxos_command.h"
#include "paxos_version.h"
#include "server.h"

static int tests = 0;
static int failures = 0;

static void
ok(bool condition, const char *name)
{
	tests++;
	if (!condition)
		failures++;
	printf("%sok %d - %s\n", condition ? "" : "not ", tests, name);
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static PaxosColumn
column(AttrNumber attnum, uint8 op, const char *text)
{
	PaxosColumn c = {attnum, op, text == NULL, (char *) (text == NULL ? "" : text)};

	return c;
}

static PaxosCommand
set_command(void)
{
	PaxosCommand c;
	PaxosWriteSet *w = &c.u.set;

	memset(&c, 0, sizeof(c));
	c.kind = PAXOS_COMMAND_SET;
	w->base = 77;
	w->n_tables = 2;
	w->tables = palloc0(sizeof(PaxosSetTable) * 2);
	w->tables[0].table_id = 65536;
	w->tables[1].table_id = 131072;
	w->snapshot = 66;
	w->tables[0].hold = PAXOS_TABLE_READ | PAXOS_TABLE_CHANGED | PAXOS_TABLE_LOCKED;
	w->tables[1].hold = PAXOS_TABLE_CHANGED | PAXOS_TABLE_EXCLUSIVE;
	w->n_keys[PAXOS_HOLD_NO_KEY_UPDATE] = 3;
	w->keys[PAXOS_HOLD_NO_KEY_UPDATE] = palloc0(sizeof(uint64) * 3);
	w->keys[PAXOS_HOLD_NO_KEY_UPDATE][0] = 1;
	w->keys[PAXOS_HOLD_NO_KEY_UPDATE][1] = UINT64_MAX;
	w->keys[PAXOS_HOLD_NO_KEY_UPDATE][2] = UINT64CONST(0x123456789abcdef0);
	w->n_keys[PAXOS_HOLD_READ] = 1;
	w->keys[PAXOS_HOLD_READ] = palloc0(sizeof(uint64));
	w->keys[PAXOS_HOLD_READ][0] = 5;
	w->n_rows = 3;
	w->rows = palloc0(sizeof(PaxosSetRow) * 3);
	w->rows[0].table = 1;
	w->rows[0].what = PAXOS_ROW_PRESENT;
	w->rows[0].n_key = 1;
	w->rows[0].key = palloc0(sizeof(PaxosColumn));
	w->rows[0].key[0] = column(1, 0, "7");
	w->rows[0].n_row = 3;
	w->rows[0].row = palloc0(sizeof(PaxosColumn) * 3);
	w->rows[0].row[0] = column(1, 0, "7");
	w->rows[0].row[1] = column(2, 0, "seven");
	w->rows[0].row[2] = column(3, 0, NULL);
	w->rows[1].n_key = 1;
	w->rows[1].key = palloc0(sizeof(PaxosColumn));
	w->rows[1].key[0] = column(2, 0, "x");
	w->rows[2].what = PAXOS_ROW_LOCKED + PAXOS_HOLD_UPDATE;
	w->rows[2].n_key = 1;
	w->rows[2].key = palloc0(sizeof(PaxosColumn));
	w->rows[2].key[0] = column(2, 0, "y");
	return c;
}

static bool
same_columns(int n, const PaxosColumn *a, int m, const PaxosColumn *b)
{
	if (n != m)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (a[i].attnum != b[i].attnum || a[i].op != b[i].op || a[i].isnull != b[i].isnull ||
			strcmp(a[i].text, b[i].text) != 0)
			return false;
	}
	return true;
}

static PaxosCommand
keyed_command(void)
{
	static PaxosColumn key[2], row[3], sets[3], conditions[6];
	PaxosCommand c;

	key[0] = column(1, 0, "42");
	key[1] = column(1600, 0, "");
	row[0] = column(1, 0, "42");
	row[1] = column(2, 0, NULL);
	row[2] = column(3, 0, "gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x90\x98");
	sets[0] = column(2, PAXOS_SET_ASSIGN, NULL);
	sets[1] = column(3, PAXOS_SET_ADD, "1");
	sets[2] = column(4, PAXOS_SET_SUBTRACT, "-1");
	for (int i = 0; i < 6; i++)
		conditions[i] = column(i + 1, PAXOS_COND_EQ + i, i % 2 ? NULL : "x");
	memset(&c, 0, sizeof(c));
	c.kind = PAXOS_COMMAND_KEYED;
	c.has_request_id = true;
	for (int i = 0; i < UUID_LEN; i++)
		c.request_id.data[i] = (unsigned char) (i * 17);
	c.request_retention_us = UINT64CONST(0x8123456789ABCDEF);
	c.u.keyed.table_id = INT64CONST(-0x123456789ABCDEF);
	c.u.keyed.verb = PAXOS_VERB_UPSERT;
	c.u.keyed.n_key = 2;
	c.u.keyed.key = key;
	c.u.keyed.n_row = 3;
	c.u.keyed.row = row;
	c.u.keyed.n_sets = 3;
	c.u.keyed.sets = sets;
	c.u.keyed.n_conditions = 6;
	c.u.keyed.conditions = conditions;
	return c;
}

static PaxosCommand
list_command(void)
{
	static PaxosKeyedOp ops[2];
	PaxosCommand c = keyed_command();

	ops[0] = c.u.keyed;
	ops[1] = c.u.keyed;
	ops[0].n_conditions = 0;
	ops[0].as_record = true;
	ops[1].table_id = 65537;
	ops[1].verb = PAXOS_VERB_INSERT_UPDATE;
	c.kind = PAXOS_COMMAND_LIST;
	c.u.list.n = 2;
	c.u.list.ops = ops;
	return c;
}

static PaxosCommand
txn_command(void)
{
	static PaxosKeyedOp guards[2], get;
	PaxosCommand c = list_command();
	PaxosKeyedList list = c.u.list;

	guards[0] = list.ops[0];
	guards[0].verb = PAXOS_VERB_EXISTS;
	guards[1] = list.ops[1];
	guards[1].verb = PAXOS_VERB_ABSENT;
	get = list.ops[1];
	get.verb = PAXOS_VERB_GET;
	c.kind = PAXOS_COMMAND_TXN;
	c.u.txn.guards.n = 2;
	c.u.txn.guards.ops = guards;
	c.u.txn.then_ops = list;
	c.u.txn.else_ops.n = 1;
	c.u.txn.else_ops.ops = &get;
	return c;
}

static PaxosCommand
ddl_command(void)
{
	static int64 ids[2] = {1, PG_INT64_MAX};
	PaxosCommand c;

	memset(&c, 0, sizeof(c));
	c.kind = PAXOS_COMMAND_DDL;
	c.u.ddl.kind = PAXOS_DDL_DROP_TABLE;
	c.u.ddl.sql = "DROP TABLE a, b";
	c.u.ddl.schema = "public";
	c.u.ddl.owner = "me";
	c.u.ddl.n_tables = 2;
	c.u.ddl.table_ids = ids;
	return c;
}

static PaxosCommandResult
good_result(void)
{
	PaxosCommandResult r;

	memset(&r, 0, sizeof(r));
	r.applied = true;
	r.existed = true;
	r.decided_at = UINT64CONST(0x0102030405060708);
	r.table_id = 7;
	r.previous = "{\"id\":1}";
	return r;
}

static PaxosCommandResult
failed_result(void)
{
	PaxosCommandResult r;

	memset(&r, 0, sizeof(r));
	r.failed = true;
	r.replayed = true;
	r.decided_at = 9;
	r.sqlstate = ERRCODE_UNIQUE_VIOLATION;
	r.message = "100% taken";
	r.detail = "Key (u)=(1) already exists.";
	r.schema_name = "public";
	r.table_name = "t";
	r.column_name = "u";
	r.datatype_name = "d";
	r.constraint_name = "t_u_key";
	return r;
}

/*
 * ---- either no, or the same bytes again ----
 */

static bool decoded;

static bool
command_is_canonical(const char *bytes, Size len)
{
	char *exact = palloc(len); /* a byte beyond is out of bounds */
	PaxosCommand c;
	bool result = true;

	memcpy(exact, bytes, len);
	decoded = paxos_command_decode(exact, len, &c);
	if (decoded)
	{
		Size again_len;
		char *again;

		format_in_use = (unsigned char) bytes[0];
		again = paxos_command_encode(&c, &again_len);
		result = again_len == len && memcmp(again, bytes, len) == 0;
		format_in_use = paxos_protocol_max;
		pfree(again);
	}
	pfree(exact);
	return result;
}

static bool
result_is_canonical(const char *bytes, Size len)
{
	char *exact = palloc(len);
	PaxosCommandResult r;
	bool result = true;

	memcpy(exact, bytes, len);
	decoded = paxos_result_decode(exact, len, &r);
	if (decoded)
	{
		Size again_len;
		char *again = paxos_result_encode(&r, &again_len);

		result = again_len == len && memcmp(again, bytes, len) == 0;
		pfree(again);
	}
	pfree(exact);
	return result;
}

static void
torment(const char *bytes, Size len, bool (*canonical)(const char *, Size), const char *name)
{
	char *copy = palloc(len + 8);
	bool cuts = true;
	bool longer;
	bool changes = true;
	bool noise = true;
	int refused = 0;
	uint64 random = 20;
	char title[200];

	memcpy(copy, bytes, len);
	snprintf(title, sizeof(title), "%s: encoded again it is the same", name);
	ok(canonical(bytes, len) && decoded, title);

	for (Size n = 0; n < len; n++)
	{
		(void) canonical(bytes, n);
		cuts = cuts && !decoded;
	}
	snprintf(title, sizeof(title), "%s: no part of it decodes", name);
	ok(cuts, title);

	memset(copy + len, 0, 8);
	(void) canonical(copy, len + 1);
	longer = decoded;
	snprintf(title, sizeof(title), "%s: nor does it with a byte more", name);
	ok(!longer, title);

	for (Size n = 0; n < len; n++)
	{
		for (int v = 0; v < 256; v++)
		{
			copy[n] = (char) v;
			changes = changes && canonical(copy, len);
			refused += !decoded;
		}
		copy[n] = bytes[n];
	}
	snprintf(title, sizeof(title), "%s: a changed byte is refused or kept", name);
	ok(changes && refused > 0, title);

	for (int round = 0; round < 50000; round++)
	{
		Size n = 1 + px_random(&random) % len;

		for (int i = 1 + (int) (px_random(&random) % 6); i > 0; i--)
			copy[px_random(&random) % n] = (char) px_random(&random);
		noise = noise && canonical(copy, n);
		memcpy(copy, bytes, len);
	}
	snprintf(title, sizeof(title), "%s: so is noise", name);
	ok(noise, title);
	pfree(copy);
}

static bool
refuses(const PaxosCommand *c)
{
	Size len;
	char *bytes = paxos_command_encode(c, &len);
	PaxosCommand back;

	return !paxos_command_decode(bytes, len, &back);
}

static void
test_commands(void)
{
	PaxosCommand c = keyed_command();
	PaxosCommand back;
	Size len;
	char *bytes = paxos_command_encode(&c, &len);

	ok(paxos_command_decode(bytes, len, &back) && back.kind == c.kind && back.has_request_id &&
		   memcmp(&back.request_id, &c.request_id, UUID_LEN) == 0 &&
		   back.request_retention_us == c.request_retention_us &&
		   back.u.keyed.table_id == c.u.keyed.table_id && back.u.keyed.verb == c.u.keyed.verb &&
		   same_columns(2, c.u.keyed.key, back.u.keyed.n_key, back.u.keyed.key) &&
		   same_columns(3, c.u.keyed.row, back.u.keyed.n_row, back.u.keyed.row) &&
		   same_columns(3, c.u.keyed.sets, back.u.keyed.n_sets, back.u.keyed.sets) &&
		   same_columns(6, c.u.keyed.conditions, back.u.keyed.n_conditions,
						back.u.keyed.conditions),
	   "a keyed operation is decoded to what it was");
	torment(bytes, len, command_is_canonical, "keyed operation");

	c = list_command();
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.kind == PAXOS_COMMAND_LIST &&
		   back.u.list.n == 2 && back.u.list.ops[0].as_record && !back.u.list.ops[1].as_record &&
		   back.u.list.ops[1].table_id == 65537 &&
		   back.u.list.ops[1].verb == PAXOS_VERB_INSERT_UPDATE &&
		   same_columns(3, c.u.list.ops[1].row, back.u.list.ops[1].n_row, back.u.list.ops[1].row),
	   "several keyed operations are decoded to what they were");
	torment(bytes, len, command_is_canonical, "several keyed operations");
	c.u.list.n = 0;
	ok(refuses(&c), "no operation at all is refused");
	c = list_command();
	c.u.list.ops[1].verb = PAXOS_VERB_GET;
	ok(refuses(&c), "among several operations none only reads");

	c = txn_command();
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.kind == PAXOS_COMMAND_TXN &&
		   back.u.txn.guards.n == 2 && back.u.txn.guards.ops[0].verb == PAXOS_VERB_EXISTS &&
		   back.u.txn.guards.ops[1].verb == PAXOS_VERB_ABSENT && back.u.txn.then_ops.n == 2 &&
		   back.u.txn.then_ops.ops[1].verb == PAXOS_VERB_INSERT_UPDATE &&
		   back.u.txn.else_ops.n == 1 && back.u.txn.else_ops.ops[0].verb == PAXOS_VERB_GET &&
		   same_columns(3, c.u.txn.else_ops.ops[0].row, back.u.txn.else_ops.ops[0].n_row,
						back.u.txn.else_ops.ops[0].row),
	   "a transaction is decoded to what it was");
	torment(bytes, len, command_is_canonical, "transaction");
	c.u.txn.guards.ops[1].verb = PAXOS_VERB_GET;
	ok(refuses(&c), "a guard that is none is refused");
	c = txn_command();
	c.u.txn.then_ops.ops[0].verb = PAXOS_VERB_ABSENT;
	ok(refuses(&c), "a guard among the operations is refused");
	c = txn_command();
	c.u.txn.guards.n = c.u.txn.then_ops.n = c.u.txn.else_ops.n = 0;
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.u.txn.guards.n == 0 &&
		   back.u.txn.then_ops.n == 0 && back.u.txn.else_ops.n == 0,
	   "the lists of a transaction may be empty");

	c = ddl_command();
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.kind == c.kind && !back.has_request_id &&
		   back.u.ddl.kind == c.u.ddl.kind && same_text(back.u.ddl.sql, c.u.ddl.sql) &&
		   same_text(back.u.ddl.schema, c.u.ddl.schema) &&
		   same_text(back.u.ddl.owner, c.u.ddl.owner) && back.u.ddl.n_tables == 2 &&
		   memcmp(back.u.ddl.table_ids, c.u.ddl.table_ids, sizeof(int64) * 2) == 0,
	   "a DDL statement is decoded to what it was");
	torment(bytes, len, command_is_canonical, "DDL statement");

	memset(&back, 0, sizeof(back));
	memset(&c, 0, sizeof(c));
	c.kind = PAXOS_COMMAND_VERIFY;
	c.u.verify.table_id = 65537;
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.kind == PAXOS_COMMAND_VERIFY &&
		   back.u.verify.table_id == 65537,
	   "a verification is decoded to what it was");
	torment(bytes, len, command_is_canonical, "verification");

	c = set_command();
	bytes = paxos_command_encode(&c, &len);
	ok(paxos_command_decode(bytes, len, &back) && back.kind == PAXOS_COMMAND_SET &&
		   back.u.set.base == 77 && back.u.set.n_tables == 2 && back.u.set.snapshot == 66 &&
		   back.u.set.tables[1].table_id == 131072 &&
		   back.u.set.tables[1].hold == c.u.set.tables[1].hold &&
		   back.u.set.n_keys[PAXOS_HOLD_SHARE] == 0 &&
		   back.u.set.n_keys[PAXOS_HOLD_NO_KEY_UPDATE] == 3 &&
		   back.u.set.keys[PAXOS_HOLD_NO_KEY_UPDATE][2] ==
			   c.u.set.keys[PAXOS_HOLD_NO_KEY_UPDATE][2] &&
		   back.u.set.n_keys[PAXOS_HOLD_READ] == 1 && back.u.set.keys[PAXOS_HOLD_READ][0] == 5 &&
		   back.u.set.n_rows == 3 && back.u.set.rows[0].table == 1 &&
		   back.u.set.rows[0].what == PAXOS_ROW_PRESENT &&
		   same_columns(1, c.u.set.rows[0].key, back.u.set.rows[0].n_key, back.u.set.rows[0].key) &&
		   same_columns(3, c.u.set.rows[0].row, back.u.set.rows[0].n_row, back.u.set.rows[0].row) &&
		   back.u.set.rows[1].what == PAXOS_ROW_GONE && back.u.set.rows[1].n_row == 0 &&
		   back.u.set.rows[2].what == PAXOS_ROW_LOCKED + PAXOS_HOLD_UPDATE,
	   "a write set is decoded to what it was");
	torment(bytes, len, command_is_canonical, "write set");
	c = set_command();
	c.u.set.tables[0].hold = 0;
	ok(refuses(&c), "a table that has no part in a write set is refused");
	c = set_command();
	c.u.set.tables[0].hold = PAXOS_TABLE_READ | PAXOS_TABLE_LOCKED;
	ok(refuses(&c), "a changed row of a table that was not changed is refused");
	c = set_command();
	c.u.set.tables[0].hold = PAXOS_TABLE_CHANGED;
	ok(refuses(&c), "a locked row of a table of which none was locked is refused");
	c = set_command();
	c.u.set.rows[2].what = PAXOS_ROW_LOCKED + PAXOS_HOLD_READ;
	ok(refuses(&c), "a lock that there is not is refused");
	c = set_command();
	c.u.set.rows[0].table = 2;
	ok(refuses(&c), "a row of a table that is not named is refused");
	c = set_command();
	c.u.set.rows[1].what = PAXOS_ROW_PRESENT;
	ok(refuses(&c), "a row that is there but has no columns is refused");
	c = set_command();
	c.u.set.rows[1].n_key = 0;
	ok(refuses(&c), "a row without a key is refused");

	c = keyed_command();
	c.u.keyed.n_key = 0;
	ok(refuses(&c), "an operation without a key is refused");
	c = keyed_command();
	c.u.keyed.key[0].attnum = 0;
	ok(refuses(&c), "column 0 is refused");
	c = keyed_command();
	c.u.keyed.key[0].attnum = -1;
	ok(refuses(&c), "a system column is refused");
	c = keyed_command();
	c.u.keyed.key[0].attnum = 1601;
	ok(refuses(&c), "a column no table can have is refused");
	c = keyed_command();
	c.u.keyed.row[0].op = 1;
	ok(refuses(&c), "an operator in a row is refused");
	c = keyed_command();
	c.u.keyed.sets[0].op = PAXOS_SET_EXPRESSION + 1;
	ok(refuses(&c), "an unknown operator of a set is refused");
	c = keyed_command();
	c.u.keyed.conditions[0].op = 0;
	ok(refuses(&c), "a condition without operator is refused");
	c = keyed_command();
	c.u.keyed.row[2].text = "\xc3";
	ok(refuses(&c), "text that ends within a character is refused");
	c = ddl_command();
	c.u.ddl.owner = NULL;
	ok(refuses(&c), "a statement without owner is refused");
}

static void
test_parts(void)
{
	PaxosResultPart parts[2] = {{0, true, false, NULL, "(1,a)"}, {0, false, true, "(2,b)", NULL}};
	PaxosCommandResult r = good_result();
	PaxosCommandResult back;
	Size len;
	char *bytes;

	r.n_parts = 2;
	r.parts = parts;
	bytes = paxos_result_encode(&r, &len);
	ok(paxos_result_decode(bytes, len, &back) && back.n_parts == 2 && back.parts[0].applied &&
		   !back.parts[0].existed && same_text(back.parts[0].current, "(1,a)") &&
		   back.parts[0].previous == NULL && !back.parts[1].applied && back.parts[1].existed &&
		   same_text(back.parts[1].previous, "(2,b)"),
	   "the parts of a result are decoded to what they were");
	torment(bytes, len, result_is_canonical, "result in parts");

	parts[0].table_id = 1;
	parts[1].table_id = 65537;
	bytes = paxos_result_encode(&r, &len);
	ok(paxos_result_decode(bytes, len, &back) && back.n_parts == 2 && back.parts[0].table_id == 1 &&
		   back.parts[1].table_id == 65537 && same_text(back.parts[1].previous, "(2,b)"),
	   "parts of several tables, too");
	torment(bytes, len, result_is_canonical, "result in parts of several tables");
}

static void
test_results(void)
{
	PaxosCommandResult r = good_result();
	PaxosCommandResult back;
	Size len;
	char *bytes = paxos_result_encode(&r, &len);
	jmp_buf jump;

	ok(paxos_result_decode(bytes, len, &back) && !back.failed && back.applied && back.existed &&
		   !back.replayed && back.decided_at == r.decided_at && back.table_id == r.table_id &&
		   same_text(back.previous, r.previous) && back.current == NULL,
	   "a result is decoded to what it was");
	torment(bytes, len, result_is_canonical, "result");

	r = failed_result();
	bytes = paxos_result_encode(&r, &len);
	ok(paxos_result_decode(bytes, len, &back) && back.failed && back.replayed && !back.applied &&
		   back.sqlstate == r.sqlstate && same_text(back.message, r.message) &&
		   same_text(back.detail, r.detail) && back.hint == NULL &&
		   same_text(back.schema_name, r.schema_name) && same_text(back.table_name, r.table_name) &&
		   same_text(back.column_name, r.column_name) &&
		   same_text(back.datatype_name, r.datatype_name) &&
		   same_text(back.constraint_name, r.constraint_name),
	   "a failure is decoded to what it was");
	torment(bytes, len, result_is_canonical, "failure");

	raised_jump = &jump;
	if (setjmp(jump) == 0)
		paxos_result_raise(&back);
	raised_jump = NULL;
	ok(raised.sqlstate == ERRCODE_UNIQUE_VIOLATION && same_text(raised.message, "100% taken") &&
		   same_text(raised.detail, "Key (u)=(1) already exists.") && raised.hint == NULL &&
		   same_text(raised.generic[PG_DIAG_SCHEMA_NAME], "public") &&
		   same_text(raised.generic[PG_DIAG_TABLE_NAME], "t") &&
		   same_text(raised.generic[PG_DIAG_COLUMN_NAME], "u") &&
		   same_text(raised.generic[PG_DIAG_DATATYPE_NAME], "d") &&
		   same_text(raised.generic[PG_DIAG_CONSTRAINT_NAME], "t_u_key"),
	   "and raised with every field");
}

int
main(void)
{
	test_commands();
	test_results();
	test_parts();
	printf("1..%d\n", tests);
	return failures == 0 ? 0 : 1;
}
