/*
 * fuzz_expr.c
 *	  Fuzz target: expressions over a row as they come in a command
 *	  (paxos_expr_decode() of src/paxos_expr.c).
 *
 * What is read there is evaluated by the server's executor, which believes the
 * types of what it gets: a datum of another type is a wild pointer.  So what
 * decodes is walked here once more, and every type in it must follow from the
 * small catalog below, whatever the reader thought of it.
 *
 * The first byte says whether a row is proposed; the rest is the text.  The server
 * is one of a few types and functions, good and bad ones, under their true object
 * ids; memory is given out byte by byte.  What only writing needs is not there.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_expr.h"

#include "../command/server.h"
#include "fuzz.h"
#include "fuzz_memory.h"

/*
 * ---- the catalog ----
 */

typedef struct Type
{
	Oid oid;
	char kind;
	Oid element;
	bool collatable;
	bool ordered;
	char io; /* volatility of input and output */
} Type;

#define A_DOMAIN 20001
#define A_COMPOSITE 20002

static const Type types[] = {
	{BOOLOID, TYPTYPE_BASE, 0, false, true, PROVOLATILE_IMMUTABLE},
	{INT4OID, TYPTYPE_BASE, 0, false, true, PROVOLATILE_IMMUTABLE},
	{TEXTOID, TYPTYPE_BASE, 0, true, true, PROVOLATILE_IMMUTABLE},
	{VARCHAROID, TYPTYPE_BASE, 0, true, true, PROVOLATILE_IMMUTABLE},
	{JSONOID, TYPTYPE_BASE, 0, false, false, PROVOLATILE_STABLE},
	{TIMESTAMPTZOID, TYPTYPE_BASE, 0, false, true, PROVOLATILE_STABLE},
	{INT4ARRAYOID, TYPTYPE_BASE, INT4OID, false, true, PROVOLATILE_STABLE},
	{TEXTARRAYOID, TYPTYPE_BASE, TEXTOID, true, true, PROVOLATILE_STABLE},
	{REGCLASSOID, TYPTYPE_BASE, 0, false, true, PROVOLATILE_STABLE},
	{CSTRINGOID, TYPTYPE_PSEUDO, 0, false, false, PROVOLATILE_IMMUTABLE},
	{ANYELEMENTOID, TYPTYPE_PSEUDO, 0, false, false, PROVOLATILE_STABLE},
	{ANYARRAYOID, TYPTYPE_PSEUDO, 0, false, false, PROVOLATILE_STABLE},
	{A_DOMAIN, TYPTYPE_DOMAIN, 0, true, true, PROVOLATILE_IMMUTABLE},
	{A_COMPOSITE, TYPTYPE_COMPOSITE, 0, false, false, PROVOLATILE_STABLE},
};

typedef struct Function
{
	Oid oid;
	const char *name;
	char volatility;
	Oid language;
	bool set;
	Oid result;
	int n;
	Oid args[3];
} Function;

static const Function functions[] = {
	{65,
	 "int4eq",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 BOOLOID,
	 2,
	 {INT4OID, INT4OID}},
	{66,
	 "int4lt",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 BOOLOID,
	 2,
	 {INT4OID, INT4OID}},
	{67,
	 "texteq",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 BOOLOID,
	 2,
	 {TEXTOID, TEXTOID}},
	{177,
	 "int4pl",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 INT4OID,
	 2,
	 {INT4OID, INT4OID}},
	{1258,
	 "textcat",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 TEXTOID,
	 2,
	 {TEXTOID, TEXTOID}},
	{1317, "length", PROVOLATILE_IMMUTABLE, INTERNALlanguageId, false, INT4OID, 1, {TEXTOID}},
	{877,
	 "substr",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 TEXTOID,
	 3,
	 {TEXTOID, INT4OID, INT4OID}},
	{744,
	 "array_eq",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 BOOLOID,
	 2,
	 {ANYARRAYOID, ANYARRAYOID}},
	{2748,
	 "arraycontains",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 BOOLOID,
	 2,
	 {ANYARRAYOID, ANYARRAYOID}},
	{3277,
	 "array_position",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 INT4OID,
	 2,
	 {ANYARRAYOID, ANYELEMENTOID}},
	{395,
	 "array_to_string",
	 PROVOLATILE_STABLE,
	 INTERNALlanguageId,
	 false,
	 TEXTOID,
	 2,
	 {ANYARRAYOID, TEXTOID}},
	{1598, "random", PROVOLATILE_VOLATILE, INTERNALlanguageId, false, INT4OID, 0, {0}},
	{1299, "now", PROVOLATILE_STABLE, INTERNALlanguageId, false, TIMESTAMPTZOID, 0, {0}},
	{1622,
	 "repeat",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 false,
	 TEXTOID,
	 2,
	 {TEXTOID, INT4OID}},
	{42, "int4in", PROVOLATILE_IMMUTABLE, INTERNALlanguageId, false, INT4OID, 1, {CSTRINGOID}},
	{43, "int4out", PROVOLATILE_IMMUTABLE, INTERNALlanguageId, false, CSTRINGOID, 1, {INT4OID}},
	{2331,
	 "unnest",
	 PROVOLATILE_IMMUTABLE,
	 INTERNALlanguageId,
	 true,
	 ANYELEMENTOID,
	 1,
	 {ANYARRAYOID}},
	{20003, "own", PROVOLATILE_IMMUTABLE, INTERNALlanguageId, false, INT4OID, 1, {INT4OID}},
	{1396, "in SQL", PROVOLATILE_IMMUTABLE, SQLlanguageId, false, INT4OID, 1, {INT4OID}},
};

static const Type *
type_of(Oid oid)
{
	for (int i = 0; i < lengthof(types); i++)
	{
		if (types[i].oid == oid)
			return &types[i];
	}
	return NULL;
}

static const Function *
function_of(Oid oid)
{
	for (int i = 0; i < lengthof(functions); i++)
	{
		if (functions[i].oid == oid)
			return &functions[i];
	}
	return NULL;
}

/*
 * ---- the server ----
 */

MemoryContext CurrentMemoryContext = NULL;

static jmp_buf here;

static void refuse(void) __attribute__((noreturn));

/* An error of the server's own about a type or function that does not exist. */
static void
refuse(void)
{
	longjmp(here, 1);
}

void *
MemoryContextAllocZero(MemoryContext context, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocZeroAligned(MemoryContext context, Size size)
{
	return palloc0(size);
}

int
errmsg(const char *fmt, ...)
{
	return 0;
}

List *
lappend(List *list, void *datum)
{
	int n = list_length(list);
	List *longer = palloc0(sizeof(List));

	/* exactly as long as it is, so that a step beyond it is seen */
	longer->type = T_List;
	longer->length = longer->max_length = n + 1;
	longer->elements = palloc(sizeof(ListCell) * (n + 1));
	if (n > 0)
		memcpy(longer->elements, list->elements, sizeof(ListCell) * n);
	longer->elements[n].ptr_value = datum;
	return longer;
}

Oid
get_element_type(Oid oid)
{
	const Type *type = type_of(oid);

	return type != NULL ? type->element : InvalidOid;
}

char
get_typtype(Oid oid)
{
	const Type *type = type_of(oid);

	return type != NULL ? type->kind : '\0';
}

bool
type_is_collatable(Oid oid)
{
	const Type *type = type_of(oid);

	return type != NULL && type->collatable;
}

void
get_typlenbyval(Oid oid, int16 *len, bool *byval)
{
	if (type_of(oid) == NULL)
		refuse();
	*byval = oid == BOOLOID || oid == INT4OID;
	*len = oid == BOOLOID ? 1 : oid == INT4OID ? 4 : -1;
}

void
getTypeInputInfo(Oid oid, Oid *input, Oid *param)
{
	if (type_of(oid) == NULL)
		refuse();
	*input = oid + 100000;
	*param = InvalidOid;
}

void
getTypeOutputInfo(Oid oid, Oid *output, bool *varlena)
{
	getTypeInputInfo(oid, output, &(Oid){0});
	*varlena = true;
}

char
func_volatile(Oid oid)
{
	const Type *type = type_of(oid - 100000);

	FUZZ_CHECK(type != NULL);
	return type->io;
}

TypeCacheEntry *
lookup_type_cache(Oid oid, int flags)
{
	static TypeCacheEntry entry;
	const Type *type = type_of(oid);

	if (type == NULL)
		refuse();
	entry.cmp_proc = type->ordered ? 1 : InvalidOid;
	return &entry;
}

/* An input function reads to the end of the text, and may refuse it. */
Datum
OidInputFunctionCall(Oid function, char *text, Oid param, int32 typmod)
{
	const Type *type = type_of(function - 100000);
	Size len = strlen(text);

	FUZZ_CHECK(type != NULL && type->kind == TYPTYPE_BASE);
	if (len > 0 && text[len - 1] == '!')
		refuse();
	return type->oid == BOOLOID || type->oid == INT4OID ? (Datum) len : PointerGetDatum(text);
}

bool
pg_verifymbstr(const char *text, int len, bool no_error)
{
	return pg_verify_mbstr(PG_UTF8, text, len, no_error);
}

HeapTuple
SearchSysCache1(int cache, Datum key)
{
	static uint64 row[(MAXALIGN(SizeofHeapTupleHeader) + sizeof(FormData_pg_proc)) / 8 + 1];
	static HeapTupleData tuple;
	const Function *f = function_of(DatumGetObjectId(key));
	Form_pg_proc proc;

	FUZZ_CHECK(cache == PROCOID);
	if (f == NULL)
		return NULL;
	memset(row, 0, sizeof(row));
	tuple.t_data = (HeapTupleHeader) row;
	tuple.t_data->t_hoff = MAXALIGN(SizeofHeapTupleHeader);
	proc = (Form_pg_proc) GETSTRUCT(&tuple);
	strcpy(NameStr(proc->proname), f->name);
	proc->oid = f->oid;
	proc->prolang = f->language;
	proc->prokind = PROKIND_FUNCTION;
	proc->proretset = f->set;
	proc->provolatile = f->volatility;
	proc->pronargs = f->n;
	proc->prorettype = f->result;
	return &tuple;
}

void
ReleaseSysCache(HeapTuple tuple)
{
}

Oid
get_func_signature(Oid oid, Oid **args, int *n)
{
	const Function *f = function_of(oid);

	FUZZ_CHECK(f != NULL);
	*n = f->n;
	*args = palloc(sizeof(Oid) * Max(f->n, 1));
	memcpy(*args, f->args, sizeof(Oid) * f->n);
	return f->result;
}

bool
IsBinaryCoercible(Oid from, Oid to)
{
	return from == to || (from == VARCHAROID && to == TEXTOID) ||
		   (from == TEXTOID && to == VARCHAROID);
}

/* What anyarray and anyelement stand for; InvalidOid: nothing fits. */
static Oid
generic_element(const Oid *actual, const Oid *declared, int n)
{
	Oid element = InvalidOid;

	for (int i = 0; i < n; i++)
	{
		Oid one = declared[i] == ANYARRAYOID     ? get_element_type(actual[i])
				  : declared[i] == ANYELEMENTOID ? actual[i]
												 : InvalidOid;

		if (declared[i] != ANYARRAYOID && declared[i] != ANYELEMENTOID)
			continue;
		if (!OidIsValid(one) || (OidIsValid(element) && one != element))
			return InvalidOid;
		element = one;
	}
	return element;
}

bool
check_generic_type_consistency(const Oid *actual, const Oid *declared, int n)
{
	return OidIsValid(generic_element(actual, declared, n));
}

Oid
enforce_generic_type_consistency(const Oid *actual, Oid *declared, int n, Oid result,
								 bool allow_poly)
{
	Oid element = generic_element(actual, declared, n);

	if (result == ANYELEMENTOID)
		return element;
	if (result == ANYARRAYOID)
		return element == INT4OID ? INT4ARRAYOID : element == TEXTOID ? TEXTARRAYOID : InvalidOid;
	return result;
}

Var *
makeVar(int varno, AttrNumber attnum, Oid type, int32 typmod, Oid collation, Index up)
{
	Var *var = makeNode(Var);

	var->varno = varno;
	var->varattno = attnum;
	var->vartype = type;
	var->vartypmod = typmod;
	var->varcollid = collation;
	return var;
}

Const *
makeConst(Oid type, int32 typmod, Oid collation, int len, Datum value, bool isnull, bool byval)
{
	Const *c = makeNode(Const);

	c->consttype = type;
	c->consttypmod = typmod;
	c->constcollid = collation;
	c->constvalue = value;
	c->constisnull = isnull;
	return c;
}

FuncExpr *
makeFuncExpr(Oid function, Oid result, List *args, Oid collation, Oid input_collation,
			 CoercionForm form)
{
	FuncExpr *f = makeNode(FuncExpr);

	f->funcid = function;
	f->funcresulttype = result;
	f->args = args;
	f->funccollid = collation;
	f->inputcollid = input_collation;
	return f;
}

Expr *
makeBoolExpr(BoolExprType op, List *args, int location)
{
	BoolExpr *b = makeNode(BoolExpr);

	b->boolop = op;
	b->args = args;
	return (Expr *) b;
}

RelabelType *
makeRelabelType(Expr *arg, Oid type, int32 typmod, Oid collation, CoercionForm form)
{
	RelabelType *r = makeNode(RelabelType);

	r->arg = arg;
	r->resulttype = type;
	r->resulttypmod = typmod;
	r->resultcollid = collation;
	return r;
}

Oid
exprType(const Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
			return ((const Var *) node)->vartype;
		case T_Const:
			return ((const Const *) node)->consttype;
		case T_FuncExpr:
			return ((const FuncExpr *) node)->funcresulttype;
		case T_DistinctExpr:
		case T_NullIfExpr:
			return ((const OpExpr *) node)->opresulttype;
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
			return BOOLOID;
		case T_RelabelType:
			return ((const RelabelType *) node)->resulttype;
		case T_CoerceViaIO:
			return ((const CoerceViaIO *) node)->resulttype;
		case T_CaseExpr:
			return ((const CaseExpr *) node)->casetype;
		case T_CaseTestExpr:
			return ((const CaseTestExpr *) node)->typeId;
		case T_CoalesceExpr:
			return ((const CoalesceExpr *) node)->coalescetype;
		case T_MinMaxExpr:
			return ((const MinMaxExpr *) node)->minmaxtype;
		default:
			fuzz_fail("a node of tag %d", (int) nodeTag(node));
	}
}

int32
exprTypmod(const Node *node)
{
	return -1;
}

Oid
exprCollation(const Node *node)
{
	return InvalidOid;
}

/*
 * ---- what came out ----
 */

typedef struct Look
{
	TupleDesc desc;
	bool proposed;
	Oid test; /* type of the CASE arg around, or InvalidOid */
	int depth;
} Look;

static void look_at(Look *l, const void *node);

static void
look_at_list(Look *l, List *list, Oid type)
{
	ListCell *lc;

	foreach (lc, list)
	{
		look_at(l, lfirst(lc));
		FUZZ_CHECK(!OidIsValid(type) || exprType(lfirst(lc)) == type);
	}
}

static void
look_at_call(Oid function, const Oid *actual, int n, Oid result)
{
	const Function *f = function_of(function);
	Oid want;

	FUZZ_CHECK(f != NULL && f->volatility == PROVOLATILE_IMMUTABLE && !f->set &&
			   f->language == INTERNALlanguageId && f->oid < 10000 && f->oid != 1622);
	FUZZ_CHECK(n == f->n);
	want = f->result == ANYELEMENTOID ? generic_element(actual, f->args, n) : f->result;
	FUZZ_CHECK(result == want);
	for (int i = 0; i < n; i++)
	{
		if (f->args[i] == ANYARRAYOID || f->args[i] == ANYELEMENTOID)
			FUZZ_CHECK(OidIsValid(generic_element(actual, f->args, n)));
		else
			FUZZ_CHECK(actual[i] == f->args[i]);
	}
}

static void
look_at_args(Look *l, Oid function, List *args, Oid result)
{
	Oid actual[FUNC_MAX_ARGS];
	int n = 0;
	ListCell *lc;

	look_at_list(l, args, InvalidOid);
	foreach (lc, args)
	{
		FUZZ_CHECK(n < FUNC_MAX_ARGS);
		actual[n++] = exprType(lfirst(lc));
	}
	look_at_call(function, actual, n, result);
}

static void
look_at_case(Look *l, const CaseExpr *expr)
{
	Oid outer = l->test;
	ListCell *lc;

	if (expr->arg != NULL)
		look_at(l, expr->arg);
	FUZZ_CHECK(expr->args != NIL);
	foreach (lc, expr->args)
	{
		CaseWhen *when = lfirst(lc);

		if (expr->arg != NULL)
			l->test = exprType((Node *) expr->arg);
		look_at(l, when->expr);
		FUZZ_CHECK(exprType((Node *) when->expr) == BOOLOID);
		l->test = outer;
		look_at(l, when->result);
		FUZZ_CHECK(exprType((Node *) when->result) == expr->casetype);
	}
	look_at(l, expr->defresult);
	FUZZ_CHECK(exprType((Node *) expr->defresult) == expr->casetype);
}

static void
look_at(Look *l, const void *node)
{
	Oid type = exprType(node);
	const Type *known = type_of(type);

	FUZZ_CHECK(known != NULL && known->kind == TYPTYPE_BASE && type != REGCLASSOID);
	FUZZ_CHECK(++l->depth <= 110);
	switch (nodeTag(node))
	{
		case T_Var:
		{
			const Var *var = node;
			Form_pg_attribute att;

			FUZZ_CHECK(var->varattno >= 1 && var->varattno <= l->desc->natts);
			FUZZ_CHECK(var->varno == 1 || (var->varno == PAXOS_EXPR_PROPOSED && l->proposed));
			att = TupleDescAttr(l->desc, var->varattno - 1);
			FUZZ_CHECK(!att->attisdropped && att->atttypid == type);
			break;
		}
		case T_Const:
		{
			const Const *c = node;

			if (!c->constisnull && type != BOOLOID && type != INT4OID)
				(void) strlen(DatumGetCString(c->constvalue));
			break;
		}
		case T_FuncExpr:
			look_at_args(l, ((const FuncExpr *) node)->funcid, ((const FuncExpr *) node)->args,
						 type);
			break;
		case T_DistinctExpr:
		case T_NullIfExpr:
		{
			const OpExpr *op = node;

			FUZZ_CHECK(list_length(op->args) == 2);
			look_at_args(l, op->opfuncid, op->args, BOOLOID);
			FUZZ_CHECK(IsA(node, DistinctExpr) ? type == BOOLOID
											   : type == exprType(linitial(op->args)));
			break;
		}
		case T_ScalarArrayOpExpr:
		{
			const ScalarArrayOpExpr *op = node;
			Oid actual[2];

			FUZZ_CHECK(list_length(op->args) == 2);
			look_at_list(l, op->args, InvalidOid);
			actual[0] = exprType(linitial(op->args));
			actual[1] = get_element_type(exprType(lsecond(op->args)));
			FUZZ_CHECK(OidIsValid(actual[1]));
			look_at_call(op->opfuncid, actual, 2, BOOLOID);
			break;
		}
		case T_BoolExpr:
		{
			const BoolExpr *b = node;

			FUZZ_CHECK(b->boolop == NOT_EXPR ? list_length(b->args) == 1
											 : list_length(b->args) >= 2);
			look_at_list(l, b->args, BOOLOID);
			break;
		}
		case T_RelabelType:
			look_at(l, ((const RelabelType *) node)->arg);
			FUZZ_CHECK(
				IsBinaryCoercible(exprType((Node *) ((const RelabelType *) node)->arg), type));
			break;
		case T_CoerceViaIO:
			look_at(l, ((const CoerceViaIO *) node)->arg);
			FUZZ_CHECK(known->io == PROVOLATILE_IMMUTABLE &&
					   type_of(exprType((Node *) ((const CoerceViaIO *) node)->arg))->io ==
						   PROVOLATILE_IMMUTABLE);
			break;
		case T_CaseExpr:
			look_at_case(l, node);
			break;
		case T_CaseTestExpr:
			FUZZ_CHECK(OidIsValid(l->test) && type == l->test);
			break;
		case T_CoalesceExpr:
			FUZZ_CHECK(((const CoalesceExpr *) node)->args != NIL);
			look_at_list(l, ((const CoalesceExpr *) node)->args, type);
			break;
		case T_MinMaxExpr:
			FUZZ_CHECK(((const MinMaxExpr *) node)->args != NIL && known->ordered);
			look_at_list(l, ((const MinMaxExpr *) node)->args, type);
			break;
		case T_NullTest:
			look_at(l, ((const NullTest *) node)->arg);
			break;
		case T_BooleanTest:
			look_at(l, ((const BooleanTest *) node)->arg);
			FUZZ_CHECK(exprType((Node *) ((const BooleanTest *) node)->arg) == BOOLOID);
			break;
		default:
			fuzz_fail("a node of tag %d", (int) nodeTag(node));
	}
	l->depth--;
}

/* int, text, dropped, regclass, a domain, int[], boolean */
static TupleDesc
row_type(void)
{
	static const Oid columns[] = {INT4OID,  TEXTOID,      INT4OID, REGCLASSOID,
								  A_DOMAIN, INT4ARRAYOID, BOOLOID};
	TupleDesc desc = palloc0(offsetof(struct TupleDescData, attrs) +
							 sizeof(FormData_pg_attribute) * lengthof(columns));

	desc->natts = lengthof(columns);
	for (int i = 0; i < desc->natts; i++)
	{
		TupleDescAttr(desc, i)->atttypid = columns[i];
		TupleDescAttr(desc, i)->atttypmod = -1;
		TupleDescAttr(desc, i)->attisdropped = i == 2;
	}
	return desc;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Look look = {0};
	char *text;

	if (size == 0 || memchr(data + 1, '\0', size - 1) != NULL)
		return 0; /* a string of a command has no NUL */
	text = pnstrdup((const char *) data + 1, size - 1);
	look.desc = row_type();
	look.proposed = data[0] % 2 == 1;
	raised_jump = &here;
	if (setjmp(here) == 0)
		look_at(&look, paxos_expr_decode(text, look.desc, look.proposed));
	raised_jump = NULL;
	fuzz_memory_free();
	return 0;
}
