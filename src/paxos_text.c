/*
 * paxos_text.c
 *	  Values as text, the same whatever a session has chosen for itself: so they travel
 *	  (protocol.md § 6).
 *
 * A type's output depends on settings of the session.  paxos_fix_worker_settings() gives the
 * learners those under which they read; by the same ones is written what they are to read.
 *
 * No state.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgtime.h"
#include "utils/bytea.h"
#include "utils/float.h"
#include "utils/lsyscache.h"

#include "paxos_text.h"

/* The variables are exchanged around the call, which reads them and cannot change them. */
char *
paxos_fixed_output(FmgrInfo *output, Datum value)
{
	int date_style = DateStyle;
	int date_order = DateOrder;
	int interval_style = IntervalStyle;
	int float_digits = extra_float_digits;
	int bytea_style = bytea_output;
	pg_tz *zone = session_timezone;
	static pg_tz *gmt = NULL;
	char *text;

	if (gmt == NULL)
		gmt = pg_tzset("GMT"); /* built in, needs no file */

	PG_TRY();
	{
		DateStyle = USE_ISO_DATES;
		DateOrder = DATEORDER_YMD;
		IntervalStyle = INTSTYLE_POSTGRES;
		extra_float_digits = 1;
		bytea_output = BYTEA_OUTPUT_HEX;
		session_timezone = gmt;
		text = OutputFunctionCall(output, value);
	}
	PG_FINALLY();
	{
		DateStyle = date_style;
		DateOrder = date_order;
		IntervalStyle = interval_style;
		extra_float_digits = float_digits;
		bytea_output = bytea_style;
		session_timezone = zone;
	}
	PG_END_TRY();
	return text;
}

char *
paxos_fixed_text(Oid type, Datum value)
{
	Oid function;
	bool varlena;
	FmgrInfo output;

	getTypeOutputInfo(type, &function, &varlena);
	fmgr_info(function, &output);
	return paxos_fixed_output(&output, value);
}

FmgrInfo *
paxos_outputs(TupleDesc desc)
{
	FmgrInfo *outputs = palloc0(sizeof(FmgrInfo) * Max(desc->natts, 1));

	for (int i = 0; i < desc->natts; i++)
	{
		Oid function;
		bool varlena;

		if (TupleDescAttr(desc, i)->attisdropped)
			continue;
		getTypeOutputInfo(TupleDescAttr(desc, i)->atttypid, &function, &varlena);
		fmgr_info(function, &outputs[i]);
	}
	return outputs;
}
