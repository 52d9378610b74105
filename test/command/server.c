/*
 * server.c
 *	  What paxos_command.c needs of a server, for a test that has none: memory
 *	  from malloc, byte by byte as asked for, so that a sanitizer sees every
 *	  read beyond it; UTF-8 as the database's encoding; and errors that the test
 *	  can look at.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "paxos_compat.h"
#include "paxos_version.h"
#include "server.h"

const int paxos_protocol_min = 1;
const int paxos_protocol_max = 2;

int format_in_use = 2;

int
paxos_version_in_use(void)
{
	return format_in_use;
}

struct RaisedError raised;
jmp_buf *raised_jump = NULL;

void *
palloc(Size size)
{
	void *p = malloc(size > 0 ? size : 1);

	if (p == NULL)
		abort();
	return p;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void
pfree(void *p)
{
	free(p);
}

char *
pnstrdup(const char *in, Size len)
{
	char *s = palloc(len + 1);

	memcpy(s, in, len);
	s[len] = '\0';
	return s;
}

char *
pstrdup(const char *in)
{
	return pnstrdup(in, strlen(in));
}

void
initStringInfo(StringInfo buf)
{
	buf->maxlen = 16;
	buf->data = palloc(buf->maxlen);
	buf->len = 0;
	buf->cursor = 0;
}

void
appendBinaryStringInfo(StringInfo buf, PaxosStringInfoBytes *data, int len)
{
	while (buf->len + len > buf->maxlen)
	{
		buf->maxlen *= 2;
		buf->data = realloc(buf->data, buf->maxlen);
		if (buf->data == NULL)
			abort();
	}
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
}

int
GetDatabaseEncoding(void)
{
	return PG_UTF8;
}

/* Lead bytes followed by as many continuation bytes as they announce. */
bool
pg_verify_mbstr(int encoding, const char *text, int len, bool no_error)
{
	const unsigned char *at = (const unsigned char *) text;

	for (int i = 0; i < len;)
	{
		int n = at[i] < 0x80 ? 1 : at[i] >= 0xf0 ? 4 : at[i] >= 0xe0 ? 3 : at[i] >= 0xc2 ? 2 : 0;

		if (n == 0 || at[i] > 0xf4 || i + n > len)
			return false;
		for (int j = 1; j < n; j++)
		{
			if ((at[i + j] & 0xc0) != 0x80)
				return false;
		}
		i += n;
	}
	return true;
}

/*
 * ---- ereport ----
 */

bool
errstart(int elevel, const char *domain)
{
	memset(&raised, 0, sizeof(raised));
	return true;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return errstart(elevel, domain);
}

int
errcode(int sqlstate)
{
	raised.sqlstate = sqlstate;
	return 0;
}

static char *
formatted(const char *fmt, va_list args)
{
	char buf[1000];

	vsnprintf(buf, sizeof(buf), fmt, args);
	return pstrdup(buf);
}

#define TAKE(function, field)                \
	int function(const char *fmt, ...)       \
	{                                        \
		va_list args;                        \
                                             \
		va_start(args, fmt);                 \
		raised.field = formatted(fmt, args); \
		va_end(args);                        \
		return 0;                            \
	}

TAKE(errmsg_internal, message)
TAKE(errdetail_internal, detail)
TAKE(errhint, hint)

int
err_generic_string(int field, const char *text)
{
	raised.generic[field & 0x7f] = text;
	return 0;
}

void
errfinish(const char *file, int line, const char *function)
{
	if (raised_jump == NULL)
		abort();
	longjmp(*raised_jump, 1);
}

void
ExceptionalCondition(PAXOS_ASSERT_ARGUMENTS)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, condition);
	abort();
}
