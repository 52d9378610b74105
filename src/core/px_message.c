/*
 * px_message.c
 *	  Names of what messages say, and what a receiver has to find in one.
 *
 * Messages are plain structs (px_message.h); how they travel is the glue's
 * business.  The words for refusals live here, because logs, views and
 * transcripts must all use the same ones.
 */
#include "px_message.h"

const char *
px_refusal_name(px_refusal r)
{
	switch (r)
	{
		case PX_REFUSED_NOT:
			return "ok";
		case PX_REFUSED_BALLOT:
			return "ballot";
		case PX_REFUSED_STREAM:
			return "stream";
		case PX_REFUSED_POSITION:
			return "position";
		case PX_REFUSED_LEASE:
			return "lease";
		case PX_REFUSED_TRUNCATED:
			return "truncated";
		case PX_REFUSED_RESTART:
			return "restart";
		case PX_REFUSED_REMOVED:
			return "removed";
		case PX_REFUSED_NOT_VOTING:
			return "not voting";
	}
	return "unknown";
}

px_slot
px_accept_config_at(const px_accept *m)
{
	for (uint16_t i = 0; i < m->n_values; i++)
	{
		if (px_value_is_config(m->values[i]))
			return m->first + i;
	}
	return 0;
}
