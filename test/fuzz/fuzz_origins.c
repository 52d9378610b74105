/*
 * fuzz_origins.c
 *	  Fuzz target: judging origin batches (src/core/px_origin.c), any numbers in
 *	  any order, against the rule of protocol.md § 5 written down once more.
 *
 * Checked after each: the verdict, the whole table (ascending, no origin
 * forgotten), and that within one incarnation of an origin what is executed is
 * 1, 2, 3 ... and no batch of an older incarnation ever follows.
 */
#include "fuzz.h"
#include "px_origin.h"

#define NODES 100

typedef struct expected
{
	bool known;
	uint64_t incarnation;
	uint64_t last;
} expected;

static px_verdict
rule(expected *all, int *n_known, bool configured, px_node node, uint64_t incarnation,
	 uint64_t sequence)
{
	expected *e = &all[node];

	if (!e->known)
	{
		if (configured || *n_known == PX_MAX_ORIGINS)
			return PX_STALE;
		(*n_known)++;
		e->known = true;
		e->incarnation = incarnation;
		e->last = 0;
	}
	if (incarnation < e->incarnation)
		return PX_STALE;
	if (incarnation > e->incarnation)
	{
		e->incarnation = incarnation;
		e->last = 0;
	}
	if (sequence <= e->last)
		return PX_DUPLICATE;
	if (sequence - e->last > 1)
		return PX_GAP;
	e->last = sequence;
	return PX_EXECUTE;
}

/* A configuration is applied: who is no member is forgotten. */
static void
configure(fuzz_bytes *b, px_origins *o, expected *all, int *n_known)
{
	px_config config;

	fuzz_config(b, &config);
	config.slot = o->config + 1 + config.slot % 1000;
	if (!px_config_valid(&config))
		return;
	px_origins_configure(o, &config);
	*n_known = config.n_members;
	for (px_node node = 1; node < NODES; node++)
	{
		bool member = px_config_find(&config, node) >= 0;

		if (!member || !all[node].known)
			memset(&all[node], 0, sizeof(all[node]));
		all[node].known = member;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_bytes b = {data, size};
	expected all[NODES] = {{false, 0, 0}};
	int n_known = 0;
	px_origins o;

	memset(&o, 0, sizeof(o));
	while (b.left > 0)
	{
		px_node node = (px_node) (1 + fuzz_u8(&b) % NODES);
		px_origin before;
		px_origin after;
		uint64_t incarnation;
		uint64_t sequence;
		px_verdict verdict;

		if (node == NODES)
		{
			configure(&b, &o, all, &n_known);
			continue;
		}
		before = px_origins_get(&o, node);
		incarnation = px_max64(1, fuzz_number(&b, before.incarnation));
		sequence = px_max64(1, fuzz_number(&b, before.last + 1));
		verdict = px_origins_judge(&o, node, incarnation, sequence);
		after = px_origins_get(&o, node);

		FUZZ_CHECK(verdict == rule(all, &n_known, o.config != 0, node, incarnation, sequence));
		FUZZ_CHECK(strcmp(px_verdict_name(verdict), "unknown") != 0);
		if (verdict == PX_EXECUTE)
			FUZZ_CHECK(after.incarnation == incarnation && after.last == sequence &&
					   (incarnation == before.incarnation
							? sequence == before.last + 1
							: incarnation > before.incarnation && sequence == 1));
		FUZZ_CHECK(o.n == n_known);
		for (int i = 0; i < o.n; i++)
		{
			const px_origin *at = &o.at[i];

			FUZZ_CHECK(i == 0 || o.at[i - 1].node < at->node);
			FUZZ_CHECK(at->node < NODES && all[at->node].known &&
					   all[at->node].incarnation == at->incarnation &&
					   all[at->node].last == at->last);
		}
	}
	return 0;
}
