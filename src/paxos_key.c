/*
 * paxos_key.c
 *	  The keys of rows: 64-bit numbers that stand for "this value in this unique
 *	  key of this table" (write sets; protocol.md § 6).
 *
 * Two rows that PostgreSQL would not let stand side by side in a unique index have
 * one key in common.  The converse need not hold: rows that share a key by accident,
 * or because a type is not taken apart here, make a transaction lose that could have
 * been let through, and never one be let through that should have lost.
 *
 * A key must come out alike on every node, for the verdict on a write set depends
 * on it: so it is made of the table's replicated number, the attribute numbers of
 * the index (its OID is each node's own) and the values in a form that equal values
 * share: numbers as numbers, numeric without its trailing zeros, character(n)
 * without its blanks.  A type that is not listed counts as having one value only.  So
 * do expressions, operator classes of extensions, and exclusion constraints, whose rows can
 * be in each other's way without being equal.
 *
 * No state.
 */
#include "postgres.h"

#include <math.h>

#include "access/genam.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "paxos_key.h"
#include "paxos_replicated.h"

typedef struct KeyIndex
{
	bool coarse; /* an expression, an exclusion constraint, an extension's operator class */
	bool deferrable;
	bool nulls_equal; /* NULLS NOT DISTINCT */
	int n;
	AttrNumber attnum[INDEX_MAX_KEYS];
	Oid type[INDEX_MAX_KEYS]; /* whose equality counts; without domains */
} KeyIndex;

struct PaxosKeys
{
	int64 table_id;
	int n;
	KeyIndex *at;
	int primary;          /* in 'at'; -1: none */
	Bitmapset *condition; /* columns of those of partial indexes, as pull_varattnos() has them */
};

static bool told_apart(Oid type);

/* 0 is no key. */
static uint64
finish(uint64 digest)
{
	return digest == 0 ? 1 : digest;
}

uint64
paxos_key_any(int64 table_id)
{
	return finish(paxos_digest_fold(paxos_digest_fold(0, (uint64) table_id), UINT64_MAX));
}

uint64
paxos_key_whole(int64 table_id)
{
	return finish(paxos_digest_fold(paxos_digest_fold(0, (uint64) table_id), UINT64_MAX - 1));
}

uint64
paxos_key_gone(uint64 key)
{
	return finish(paxos_digest_fold(key, UINT64_MAX - 3));
}

uint64
paxos_key_shared(uint64 key)
{
	return finish(paxos_digest_fold(key, UINT64_MAX - 4));
}

uint64
paxos_key_kept(uint64 key)
{
	return finish(paxos_digest_fold(key, UINT64_MAX - 5));
}

/* What an extension's operator class takes for equal it alone knows, also of a built-in type. */
static bool
is_built_in(Relation index, int column)
{
	return index->rd_opfamily[column] < FirstNormalObjectId &&
		   index_getprocid(index, (AttrNumber) (column + 1), 1) < FirstNormalObjectId;
}

static void
describe(KeyIndex *k, Relation rel, Relation index)
{
	Form_pg_index form = index->rd_index;

	k->deferrable = !form->indimmediate;
	k->coarse = form->indisexclusion || k->deferrable;
	k->nulls_equal = form->indnullsnotdistinct;
	k->n = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < k->n; i++)
	{
		k->attnum[i] = form->indkey.values[i];
		if (k->attnum[i] <= 0 || !is_built_in(index, i))
			k->coarse = true;
		else if (index->rd_opcintype[i] == BPCHAROID)
			k->type[i] = BPCHAROID; /* of text by bpchar_ops, too: blanks do not count */
		else
			k->type[i] =
				getBaseType(TupleDescAttr(RelationGetDescr(rel), k->attnum[i] - 1)->atttypid);
	}
}

PaxosKeys *
paxos_keys_of(Relation rel, int64 table_id)
{
	List *indexes = RelationGetIndexList(rel);
	PaxosKeys *keys = palloc0(sizeof(PaxosKeys));
	ListCell *lc;

	keys->table_id = table_id;
	keys->primary = -1;
	keys->at = palloc0(sizeof(KeyIndex) * Max(list_length(indexes), 1));
	foreach (lc, indexes)
	{
		Relation index = index_open(lfirst_oid(lc), AccessShareLock);

		if (lfirst_oid(lc) == rel->rd_pkindex)
			keys->primary = keys->n;
		if (index->rd_index->indisunique || index->rd_index->indisexclusion)
		{
			describe(&keys->at[keys->n++], rel, index);
			pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &keys->condition);
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return keys;
}

bool
paxos_keys_are_plain(const PaxosKeys *keys)
{
	for (int i = 0; i < keys->n; i++)
	{
		const KeyIndex *k = &keys->at[i];

		if (k->coarse)
			return false;
		for (int j = 0; j < k->n; j++)
		{
			if (!told_apart(k->type[j]))
				return false;
		}
	}
	return true;
}

bool
paxos_keys_are_deferrable(const PaxosKeys *keys)
{
	for (int i = 0; i < keys->n; i++)
	{
		if (keys->at[i].deferrable)
			return true;
	}
	return false;
}

bool
paxos_keys_may_move(const PaxosKeys *keys, TupleTableSlot *before, TupleTableSlot *after)
{
	int i = -1;

	while ((i = bms_next_member(keys->condition, i)) >= 0)
	{
		AttrNumber attnum = (AttrNumber) (i + FirstLowInvalidHeapAttributeNumber);
		Form_pg_attribute att;
		Datum old;
		Datum new;
		bool old_null;
		bool new_null;

		if (attnum <= 0)
			return true; /* the row as a whole */
		att = TupleDescAttr(before->tts_tupleDescriptor, attnum - 1);
		old = slot_getattr(before, attnum, &old_null);
		new = slot_getattr(after, attnum, &new_null);
		if (old_null != new_null ||
			(!old_null && !datum_image_eq(old, new, att->attbyval, att->attlen)))
			return true;
	}
	return false;
}

int
paxos_keys_max(const PaxosKeys *keys)
{
	return keys->n;
}

static uint64
fold_bytes(uint64 digest, const char *bytes, Size len)
{
	digest = paxos_digest_fold(digest, len);
	for (Size i = 0; i < len; i += 8)
	{
		uint64 v = 0;

		for (Size j = Min(len - i, 8); j-- > 0;)
			v = v << 8 | (unsigned char) bytes[i + j];
		digest = paxos_digest_fold(digest, v);
	}
	return digest;
}

static uint64
fold_varlena(uint64 digest, Datum value, bool blanks)
{
	struct varlena *v = PG_DETOAST_DATUM_PACKED(value);
	const char *bytes = VARDATA_ANY(v);
	Size len = VARSIZE_ANY_EXHDR(v);

	while (!blanks && len > 0 && bytes[len - 1] == ' ')
		len--;
	digest = fold_bytes(digest, bytes, len);
	if ((Pointer) v != DatumGetPointer(value))
		pfree(v);
	return digest;
}

static uint64
fold_float(uint64 digest, double v)
{
	union
	{
		double f;
		uint64 u;
	} bits;

	/* -0 equals 0, and every NaN every other */
	if (isnan(v))
		return paxos_digest_fold(digest, UINT64_MAX);
	bits.f = v == 0 ? 0.0 : v;
	return paxos_digest_fold(digest, bits.u);
}

static uint64
fold_value(uint64 digest, Oid type, Datum value)
{
	switch (type)
	{
		case BOOLOID:
			return paxos_digest_fold(digest, DatumGetBool(value));
		case CHAROID:
			return paxos_digest_fold(digest, (unsigned char) DatumGetChar(value));
		case INT2OID:
			return paxos_digest_fold(digest, (uint64) (int64) DatumGetInt16(value));
		case INT4OID:
			return paxos_digest_fold(digest, (uint64) (int64) DatumGetInt32(value));
		case INT8OID:
			return paxos_digest_fold(digest, (uint64) DatumGetInt64(value));
		case DATEOID:
			return paxos_digest_fold(digest, (uint64) (int64) DatumGetDateADT(value));
		case TIMEOID:
			return paxos_digest_fold(digest, (uint64) DatumGetTimeADT(value));
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return paxos_digest_fold(digest, (uint64) DatumGetTimestamp(value));
		case FLOAT4OID:
			return fold_float(digest, (double) DatumGetFloat4(value));
		case FLOAT8OID:
			return fold_float(digest, DatumGetFloat8(value));
		case UUIDOID:
			return fold_bytes(digest, (const char *) DatumGetUUIDP(value)->data, UUID_LEN);
		case NAMEOID:
			return paxos_digest_text(digest, NameStr(*DatumGetName(value)));
		case NUMERICOID:
		{
			char *text = numeric_normalize(DatumGetNumeric(value));

			digest = paxos_digest_text(digest, text);
			pfree(text);
			return digest;
		}
		case BPCHAROID:
			return fold_varlena(digest, value, false);
		case TEXTOID:
		case VARCHAROID:
		case BYTEAOID:
			return fold_varlena(digest, value, true);
		default:
			/* Its label: numbers are each node's own.  One that is renamed is a change of
			 * every table that has such values (paxos_object_issue.c). */
			if (get_typtype(type) == TYPTYPE_ENUM)
			{
				char *label = DatumGetCString(DirectFunctionCall1(enum_out, value));

				digest = paxos_digest_text(digest, label);
				pfree(label);
			}
			return digest;
	}
}

static bool
told_apart(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case CHAROID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case UUIDOID:
		case NAMEOID:
		case NUMERICOID:
		case BPCHAROID:
		case TEXTOID:
		case VARCHAROID:
		case BYTEAOID:
			return true;
		default:
			return get_typtype(type) == TYPTYPE_ENUM;
	}
}

/* The key of these values in one index; 0 if it is in nobody's way there. */
static uint64
key_of(const PaxosKeys *keys, const KeyIndex *k, const Datum *values, const bool *isnull)
{
	uint64 digest = paxos_digest_fold(0, (uint64) keys->table_id);

	for (int j = 0; j < k->n; j++)
		digest = paxos_digest_fold(digest, (uint16) k->attnum[j]);
	for (int j = 0; j < k->n && !k->coarse; j++)
	{
		if (!isnull[j])
			digest = fold_value(digest, k->type[j], values[j]);
		else if (k->nulls_equal)
			digest = paxos_digest_fold(digest, UINT64_MAX - 2);
		else
			return 0;
	}
	return finish(digest);
}

static uint64
key_in(const PaxosKeys *keys, const KeyIndex *k, TupleTableSlot *row)
{
	Datum values[INDEX_MAX_KEYS];
	bool isnull[INDEX_MAX_KEYS];

	for (int j = 0; j < k->n && !k->coarse; j++)
		values[j] = slot_getattr(row, k->attnum[j], &isnull[j]);
	return key_of(keys, k, values, isnull);
}

static const KeyIndex *
primary(const PaxosKeys *keys)
{
	if (keys->primary < 0)
		elog(ERROR, "consensus table " INT64_FORMAT " has no primary key", keys->table_id);
	return &keys->at[keys->primary];
}

int
paxos_keys_of_row(const PaxosKeys *keys, TupleTableSlot *row, uint64 *out)
{
	int n = 0;

	for (int i = 0; i < keys->n; i++)
	{
		uint64 key = key_in(keys, &keys->at[i], row);

		if (key != 0)
			out[n++] = key;
	}
	return n;
}

uint64
paxos_key_of_row(const PaxosKeys *keys, TupleTableSlot *row)
{
	return key_in(keys, primary(keys), row);
}

uint64
paxos_key_of_values(const PaxosKeys *keys, const Datum *values)
{
	static const bool none[INDEX_MAX_KEYS] = {false};

	return key_of(keys, primary(keys), values, none);
}
