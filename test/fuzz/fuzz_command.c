/*
 * fuzz_command.c
 *	  Fuzz target: commands and their results (src/paxos_command.c), as they come
 *	  in origin batches that another node made, and from the log.
 *
 * The first byte says which.  What decodes is encoded again: the encoding is
 * canonical, so the bytes must be the same ones; and what is raised from a
 * failed result must be what the result says.  Memory is given out byte by byte
 * (test/command/server.c), so that the sanitizer sees every step beyond it.
 */
#include "postgres.h"

#include "paxos_command.h"

#include "../command/server.h"
#include "fuzz.h"
#include "fuzz_memory.h"

static void
command(const char *bytes, Size len)
{
	PaxosCommand c;
	PaxosCommand again;
	char *encoded;
	Size encoded_len;

	if (!paxos_command_decode(bytes, len, &c))
		return;
	format_in_use = (unsigned char) bytes[0];
	encoded = paxos_command_encode(&c, &encoded_len);
	FUZZ_CHECK(encoded_len == len && memcmp(encoded, bytes, len) == 0);
	FUZZ_CHECK(paxos_command_decode(encoded, encoded_len, &again));
	FUZZ_CHECK(again.kind == c.kind);
}

static void
result(const char *bytes, Size len)
{
	PaxosCommandResult r;
	char *encoded;
	Size encoded_len;
	jmp_buf here;

	if (!paxos_result_decode(bytes, len, &r))
		return;
	encoded = paxos_result_encode(&r, &encoded_len);
	FUZZ_CHECK(encoded_len == len && memcmp(encoded, bytes, len) == 0);
	if (!r.failed)
		return;
	raised_jump = &here;
	if (setjmp(here) == 0)
	{
		paxos_result_raise(&r);
		fuzz_fail("a failed result raised nothing");
	}
	FUZZ_CHECK(raised.sqlstate == r.sqlstate);
	raised_jump = NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		command((const char *) data + 1, size - 1);
	else
		result((const char *) data + 1, size - 1);
	fuzz_memory_free();
	return 0;
}
