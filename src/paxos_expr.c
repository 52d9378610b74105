/*
 * paxos_expr.c
 *	  Expressions over one row, as text that travels in a command and is
 *	  evaluated at its slot (protocol.md § 6).
 *
 * A plain UPDATE or DELETE says what it does by expressions over the row it
 * finds: SET balance = balance - 1000, WHERE ... AND balance >= 1000.  They must
 * come to the same value on every node, so they may consist only of what is the
 * same there: the row's columns, constants, and immutable functions built into
 * the server, by their fixed object ids.  Whatever names no column - parameters,
 * now(), nextval(), a subexpression of constants - is evaluated once, where the
 * statement was issued, and travels as a constant.
 *
 * The text is in prefix notation, numbers in decimal, each ended by a blank:
 *
 *	c attnum								a column
 *	k type typmod collation length text		a constant (type output under the
 *											settings of fixed_output())
 *	n type typmod collation					a null
 *	f function collation n args				a function, or an operator's
 *	d function collation a b				IS DISTINCT FROM, by that equality
 *	i function collation a b				NULLIF, by that equality
 *	s function collation or? a b			a op ANY / ALL (array b)
 *	& n args, | n args, ! a					AND, OR, NOT
 *	r type typmod collation a				the same bits as another type
 *	v type collation a						by way of text
 *	w type collation n (when then)*n else	CASE
 *	l type collation n args					COALESCE
 *	g type collation input least? n args	GREATEST, LEAST
 *	z not? a, b test a						IS NULL, IS TRUE and its kin
 *
 * Not nodeToString(): its reader believes what it reads, and a datum of the wrong
 * type is a wild pointer.  Here every node's type follows from the catalogs of
 * the server and from the table's definition, and is checked while reading.
 * Reading is bounded in depth: to run out of stack would be one node's own
 * opinion.
 *
 * Functions that can be told to take as long, or as much memory, as the caller
 * likes stay away: the learner evaluates, and everybody waits for it.
 *
 * No state; a crash loses nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_api.h"
#include "paxos_expr.h"

#define MAX_DEPTH 100
#define MAX_ARGS 1000

/* ------------------------------------------------------------------
 * What is the same on every node
 * ------------------------------------------------------------------
 */

bool
paxos_expr_portable_type(Oid type)
{
	Oid element = get_element_type(type);
	Oid base = OidIsValid(element) ? element : type;
	char kind;

	if (base >= FirstGenbkiObjectId)
		return false;
	switch (base)
	{
		case REGPROCOID:
		case REGPROCEDUREOID:
		case REGOPEROID:
		case REGOPERATOROID:
		case REGCLASSOID:
		case REGCOLLATIONOID:
		case REGTYPEOID:
		case REGROLEOID:
		case REGNAMESPACEOID:
		case REGCONFIGOID:
		case REGDICTIONARYOID:
		case ACLITEMOID:
		case MONEYOID:
			return false;
		default:
			kind = get_typtype(base);
			return kind == TYPTYPE_BASE || kind == TYPTYPE_RANGE || kind == TYPTYPE_MULTIRANGE;
	}
}

static bool
portable_collation(Oid collation)
{
	return !OidIsValid(collation) || collation == DEFAULT_COLLATION_OID ||
		   collation == C_COLLATION_OID || collation == POSIX_COLLATION_OID;
}

/*
 * A built-in, immutable, compiled-in function; *proc is a copy of what it is.
 * The long-winded are named one by one: what repeat(), replace() or a regular
 * expression with back references takes is up to its arguments.
 */
static bool
portable_function(Oid function, FormData_pg_proc *proc)
{
	HeapTuple tuple;
	bool good;

	if (!OidIsValid(function) || function >= FirstGenbkiObjectId)
		return false;
	switch (function)
	{
		case F_REPEAT:
		case F_REPLACE:
		case F_ARRAY_REPLACE:
		case F_LPAD_TEXT_INT4:
		case F_LPAD_TEXT_INT4_TEXT:
		case F_RPAD_TEXT_INT4:
		case F_RPAD_TEXT_INT4_TEXT:
		case F_FACTORIAL:
		case F_ARRAY_FILL_ANYELEMENT__INT4:
		case F_ARRAY_FILL_ANYELEMENT__INT4__INT4:
		case F_NAMEREGEXEQ:
		case F_NAMEREGEXNE:
		case F_TEXTREGEXEQ:
		case F_TEXTREGEXNE:
		case F_BPCHARREGEXEQ:
		case F_BPCHARREGEXNE:
		case F_NAMEICREGEXEQ:
		case F_NAMEICREGEXNE:
		case F_TEXTICREGEXEQ:
		case F_TEXTICREGEXNE:
		case F_BPCHARICREGEXEQ:
		case F_BPCHARICREGEXNE:
			return false;
		default:
			break;
	}
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return false;
	*proc = *(Form_pg_proc) GETSTRUCT(tuple);
	good = proc->prokind == PROKIND_FUNCTION && !proc->proretset &&
		   proc->provolatile == PROVOLATILE_IMMUTABLE && proc->prolang == INTERNALlanguageId &&
		   !OidIsValid(proc->provariadic) && proc->pronargs <= FUNC_MAX_ARGS &&
		   strncmp(NameStr(proc->proname), "regexp_", 7) != 0;
	ReleaseSysCache(tuple);
	return good;
}

/* The same bits: to a type with the same input. */
static bool
same_bits(Oid from, Oid to)
{
	return from == to || IsBinaryCoercible(from, to);
}

/* Text of the one type is input of the other, and neither looks at a setting. */
static bool
via_text(Oid from, Oid to)
{
	Oid out, in, param;
	bool varlena;

	if (!paxos_expr_portable_type(from) || !paxos_expr_portable_type(to))
		return false;
	getTypeOutputInfo(from, &out, &varlena);
	getTypeInputInfo(to, &in, &param);
	return func_volatile(out) == PROVOLATILE_IMMUTABLE &&
		   func_volatile(in) == PROVOLATILE_IMMUTABLE;
}

/* ------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------
 */

typedef struct Writer
{
	StringInfo out; /* NULL: only look whether it can be written */
	PaxosExprFold fold;
	void *fold_arg;
	int depth;
} Writer;

static bool put_expr(Writer *w, Node *node);

static void
put_number(Writer *w, int64 number)
{
	if (w->out != NULL)
		appendStringInfo(w->out, INT64_FORMAT " ", number);
}

static void
put_tag(Writer *w, char tag)
{
	if (w->out != NULL)
		appendStringInfoChar(w->out, tag);
}

static bool
put_list(Writer *w, List *list)
{
	ListCell *lc;

	foreach (lc, list)
	{
		if (!put_expr(w, lfirst(lc)))
			return false;
	}
	return true;
}

static bool
put_call(Writer *w, char tag, Oid function, Oid collation, List *args)
{
	FormData_pg_proc proc;

	if (!portable_function(function, &proc) || !portable_collation(collation) ||
		list_length(args) != proc.pronargs)
		return false;
	put_tag(w, tag);
	put_number(w, function);
	put_number(w, collation);
	if (tag == 'f')
		put_number(w, list_length(args));
	return put_list(w, args);
}

/* A part that names no column: its value, now. */
static bool
put_constant(Writer *w, Node *node)
{
	Oid type = exprType(node);
	Oid collation = exprCollation(node);
	Datum value;
	bool isnull;
	Oid output;
	bool varlena;
	FmgrInfo finfo;
	char *text;

	if (!paxos_expr_portable_type(type) || !portable_collation(collation))
		return false;
	if (w->out == NULL)
		return true;
	value = w->fold((Expr *) node, w->fold_arg, &isnull);
	put_tag(w, isnull ? 'n' : 'k');
	put_number(w, type);
	put_number(w, exprTypmod(node));
	put_number(w, collation);
	if (isnull)
		return true;
	getTypeOutputInfo(type, &output, &varlena);
	fmgr_info(output, &finfo);
	text = paxos_fixed_output(&finfo, value);
	put_number(w, strlen(text));
	appendStringInfoString(w->out, text);
	return true;
}

static bool
put_case(Writer *w, CaseExpr *expr)
{
	ListCell *lc;

	if (expr->arg != NULL || expr->defresult == NULL || !portable_collation(expr->casecollid))
		return false;
	put_tag(w, 'w');
	put_number(w, expr->casetype);
	put_number(w, expr->casecollid);
	put_number(w, list_length(expr->args));
	foreach (lc, expr->args)
	{
		CaseWhen *when = lfirst_node(CaseWhen, lc);

		if (!put_expr(w, (Node *) when->expr) || !put_expr(w, (Node *) when->result))
			return false;
	}
	return put_expr(w, (Node *) expr->defresult);
}

static bool
put_node(Writer *w, Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		{
			Var *var = (Var *) node;

			if (var->varno != 1 || var->varattno <= 0 || var->varlevelsup != 0)
				return false;
			put_tag(w, 'c');
			put_number(w, var->varattno);
			return true;
		}
		case T_FuncExpr:
		{
			FuncExpr *f = (FuncExpr *) node;

			return !f->funcretset && !f->funcvariadic &&
				   put_call(w, 'f', f->funcid, f->inputcollid, f->args);
		}
		case T_OpExpr:
		{
			OpExpr *op = (OpExpr *) node;

			return !op->opretset &&
				   put_call(w, 'f', get_opcode(op->opno), op->inputcollid, op->args);
		}
		case T_DistinctExpr:
		case T_NullIfExpr:
		{
			OpExpr *op = (OpExpr *) node;

			return put_call(w, IsA(node, NullIfExpr) ? 'i' : 'd', get_opcode(op->opno),
							op->inputcollid, op->args);
		}
		case T_ScalarArrayOpExpr:
		{
			ScalarArrayOpExpr *op = (ScalarArrayOpExpr *) node;
			FormData_pg_proc proc;

			if (!portable_function(get_opcode(op->opno), &proc) ||
				!portable_collation(op->inputcollid))
				return false;
			put_tag(w, 's');
			put_number(w, get_opcode(op->opno));
			put_number(w, op->inputcollid);
			put_number(w, op->useOr);
			return put_list(w, op->args);
		}
		case T_BoolExpr:
		{
			BoolExpr *b = (BoolExpr *) node;

			put_tag(w, b->boolop == AND_EXPR ? '&' : b->boolop == OR_EXPR ? '|' : '!');
			if (b->boolop != NOT_EXPR)
				put_number(w, list_length(b->args));
			return put_list(w, b->args);
		}
		case T_RelabelType:
		{
			RelabelType *r = (RelabelType *) node;

			if (!paxos_expr_portable_type(r->resulttype) || !portable_collation(r->resultcollid) ||
				!same_bits(exprType((Node *) r->arg), r->resulttype))
				return false;
			put_tag(w, 'r');
			put_number(w, r->resulttype);
			put_number(w, r->resulttypmod);
			put_number(w, r->resultcollid);
			return put_expr(w, (Node *) r->arg);
		}
		case T_CoerceViaIO:
		{
			CoerceViaIO *v = (CoerceViaIO *) node;

			if (!via_text(exprType((Node *) v->arg), v->resulttype) ||
				!portable_collation(v->resultcollid))
				return false;
			put_tag(w, 'v');
			put_number(w, v->resulttype);
			put_number(w, v->resultcollid);
			return put_expr(w, (Node *) v->arg);
		}
		case T_CaseExpr:
			return put_case(w, (CaseExpr *) node);
		case T_CoalesceExpr:
		{
			CoalesceExpr *c = (CoalesceExpr *) node;

			if (!portable_collation(c->coalescecollid))
				return false;
			put_tag(w, 'l');
			put_number(w, c->coalescetype);
			put_number(w, c->coalescecollid);
			put_number(w, list_length(c->args));
			return put_list(w, c->args);
		}
		case T_MinMaxExpr:
		{
			MinMaxExpr *m = (MinMaxExpr *) node;

			if (!portable_collation(m->minmaxcollid) || !portable_collation(m->inputcollid))
				return false;
			put_tag(w, 'g');
			put_number(w, m->minmaxtype);
			put_number(w, m->minmaxcollid);
			put_number(w, m->inputcollid);
			put_number(w, m->op == IS_LEAST);
			put_number(w, list_length(m->args));
			return put_list(w, m->args);
		}
		case T_NullTest:
		{
			NullTest *n = (NullTest *) node;

			if (n->argisrow)
				return false;
			put_tag(w, 'z');
			put_number(w, n->nulltesttype == IS_NOT_NULL);
			return put_expr(w, (Node *) n->arg);
		}
		case T_BooleanTest:
		{
			BooleanTest *b = (BooleanTest *) node;

			put_tag(w, 'b');
			put_number(w, b->booltesttype);
			return put_expr(w, (Node *) b->arg);
		}
		default:
			return false;
	}
}

static bool
put_expr(Writer *w, Node *node)
{
	bool good;

	if (node == NULL || w->depth >= MAX_DEPTH || !paxos_expr_portable_type(exprType(node)))
		return false;
	if (!contain_var_clause(node))
		return put_constant(w, node);
	w->depth++;
	good = put_node(w, node);
	w->depth--;
	return good;
}

bool
paxos_expr_expressible(Node *expr)
{
	Writer w = {0};

	return put_expr(&w, expr);
}

char *
paxos_expr_encode(Node *expr, PaxosExprFold fold, void *arg)
{
	StringInfoData out;
	Writer w = {&out, fold, arg, 0};

	initStringInfo(&out);
	if (!put_expr(&w, expr))
		elog(ERROR, "an expression cannot be written");
	return out.data;
}

/* ------------------------------------------------------------------
 * Reading
 * ------------------------------------------------------------------
 */

typedef struct Reader
{
	const char *at;
	TupleDesc desc;
	int depth;
} Reader;

static Expr *get_expr(Reader *r);

static void malformed(const char *why) pg_attribute_noreturn();

static void
malformed(const char *why)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("an expression of the command is malformed: %s", why)));
}

static int64
get_number(Reader *r, int64 least, int64 most)
{
	bool negative = *r->at == '-';
	int64 number = 0;
	int digits = 0;

	if (negative)
		r->at++;
	for (; *r->at >= '0' && *r->at <= '9'; r->at++)
	{
		if (++digits > 10)
			malformed("a number is too long");
		number = number * 10 + (*r->at - '0');
	}
	if (digits == 0 || *r->at != ' ')
		malformed("a number is missing");
	r->at++;
	if (negative)
		number = -number;
	if (number < least || number > most)
		malformed("a number is out of range");
	return number;
}

static Oid
get_oid(Reader *r)
{
	return (Oid) get_number(r, 0, PG_UINT32_MAX);
}

static Oid
get_type(Reader *r)
{
	Oid type = get_oid(r);

	if (!paxos_expr_portable_type(type))
		malformed("a type is not built in");
	return type;
}

static Oid
get_collation(Reader *r)
{
	Oid collation = get_oid(r);

	if (!portable_collation(collation))
		malformed("a collation is not the same everywhere");
	return collation;
}

static Oid
get_function(Reader *r, FormData_pg_proc *proc)
{
	Oid function = get_oid(r);

	if (!portable_function(function, proc))
		malformed("a function is not immutable and built in");
	return function;
}

static List *
get_list(Reader *r, int n)
{
	List *list = NIL;

	for (int i = 0; i < n; i++)
		list = lappend(list, get_expr(r));
	return list;
}

static Expr *
want_type(Expr *expr, Oid type)
{
	if (exprType((Node *) expr) != type)
		malformed("a type does not fit");
	return expr;
}

static List *
want_types(List *list, Oid type)
{
	ListCell *lc;

	foreach (lc, list)
		want_type(lfirst(lc), type);
	return list;
}

/* The arguments' types must be the function's; returns that of its result. */
static Oid
check_call(Oid function, const FormData_pg_proc *proc, List *args, const Oid *actual_types)
{
	Oid *declared;
	int n_declared;
	Oid actual[FUNC_MAX_ARGS];
	Oid result = get_func_signature(function, &declared, &n_declared);
	ListCell *lc;
	bool polymorphic = IsPolymorphicType(result);
	int n = 0;

	if (n_declared != list_length(args))
		malformed("a function has another number of arguments");
	foreach (lc, args)
	{
		actual[n] = actual_types != NULL ? actual_types[n] : exprType(lfirst(lc));
		if (IsPolymorphicType(declared[n]))
			polymorphic = true;
		else if (actual[n] != declared[n])
			malformed("an argument does not fit");
		n++;
	}
	if (polymorphic)
	{
		if (!check_generic_type_consistency(actual, declared, n))
			malformed("an argument does not fit");
		result = enforce_generic_type_consistency(actual, declared, n, result, false);
	}
	if (!paxos_expr_portable_type(result))
		malformed("a result is not built in");
	return result;
}

static Expr *
get_constant(Reader *r, bool isnull)
{
	Oid type = get_type(r);
	int32 typmod = (int32) get_number(r, -1, PG_INT32_MAX);
	Oid collation = get_collation(r);
	Datum value = (Datum) 0;
	int16 len;
	bool byval;

	if (!isnull)
	{
		Size bytes = (Size) get_number(r, 0, MaxAllocSize - 1);
		Oid input, param;
		char *text;

		if (strnlen(r->at, bytes) < bytes)
			malformed("a constant is too long");
		text = pnstrdup(r->at, bytes);
		r->at += bytes;
		if (!pg_verifymbstr(text, bytes, true))
			malformed("a constant is no text");
		getTypeInputInfo(type, &input, &param);
		value = OidInputFunctionCall(input, text, param, -1);
	}
	get_typlenbyval(type, &len, &byval);
	return (Expr *) makeConst(type, typmod, collation, len, value, isnull, byval);
}

/* d, i: two arguments and an equality of theirs. */
static Expr *
get_equality(Reader *r, bool nullif)
{
	FormData_pg_proc proc;
	Oid function = get_function(r, &proc);
	Oid collation = get_collation(r);
	OpExpr *op = makeNode(OpExpr);

	op->args = get_list(r, 2);
	op->opfuncid = function;
	op->opresulttype = check_call(function, &proc, op->args, NULL);
	if (op->opresulttype != BOOLOID)
		malformed("an equality is not of type boolean");
	op->inputcollid = collation;
	op->location = -1;
	if (nullif)
	{
		op->opresulttype = exprType(linitial(op->args));
		op->opcollid = exprCollation(linitial(op->args));
		op->xpr.type = T_NullIfExpr;
	}
	else
		op->xpr.type = T_DistinctExpr;
	return (Expr *) op;
}

static Expr *
get_array_op(Reader *r)
{
	FormData_pg_proc proc;
	ScalarArrayOpExpr *op = makeNode(ScalarArrayOpExpr);
	Oid types[2];

	op->opfuncid = get_function(r, &proc);
	op->inputcollid = get_collation(r);
	op->useOr = get_number(r, 0, 1) != 0;
	op->args = get_list(r, 2);
	op->location = -1;
	types[0] = exprType(linitial(op->args));
	types[1] = get_element_type(exprType(lsecond(op->args)));
	if (!OidIsValid(types[1]) || check_call(op->opfuncid, &proc, op->args, types) != BOOLOID)
		malformed("an operator on an array does not fit");
	return (Expr *) op;
}

static Expr *
get_case(Reader *r)
{
	CaseExpr *expr = makeNode(CaseExpr);
	int n;

	expr->casetype = get_type(r);
	expr->casecollid = get_collation(r);
	n = (int) get_number(r, 1, MAX_ARGS);
	for (int i = 0; i < n; i++)
	{
		CaseWhen *when = makeNode(CaseWhen);

		when->expr = want_type(get_expr(r), BOOLOID);
		when->result = want_type(get_expr(r), expr->casetype);
		when->location = -1;
		expr->args = lappend(expr->args, when);
	}
	expr->defresult = want_type(get_expr(r), expr->casetype);
	expr->location = -1;
	return (Expr *) expr;
}

static Expr *
get_node(Reader *r)
{
	char tag = *r->at;

	if (tag == '\0')
		malformed("it ends too early");
	r->at++;
	switch (tag)
	{
		case 'c':
		{
			AttrNumber attnum = (AttrNumber) get_number(r, 1, MaxHeapAttributeNumber);
			Form_pg_attribute att;

			if (attnum > r->desc->natts)
				malformed("there is no such column");
			att = TupleDescAttr(r->desc, attnum - 1);
			if (att->attisdropped || !paxos_expr_portable_type(att->atttypid))
				malformed("there is no such column");
			return (Expr *) makeVar(1, attnum, att->atttypid, att->atttypmod, att->attcollation, 0);
		}
		case 'k':
		case 'n':
			return get_constant(r, tag == 'n');
		case 'f':
		{
			FormData_pg_proc proc;
			Oid function = get_function(r, &proc);
			Oid collation = get_collation(r);
			List *args = get_list(r, (int) get_number(r, 0, FUNC_MAX_ARGS));
			Oid result = check_call(function, &proc, args, NULL);

			return (Expr *) makeFuncExpr(function, result, args,
										 type_is_collatable(result) ? collation : InvalidOid,
										 collation, COERCE_EXPLICIT_CALL);
		}
		case 'd':
		case 'i':
			return get_equality(r, tag == 'i');
		case 's':
			return get_array_op(r);
		case '&':
		case '|':
		case '!':
		{
			int n = tag == '!' ? 1 : (int) get_number(r, 2, MAX_ARGS);
			List *args = want_types(get_list(r, n), BOOLOID);

			return makeBoolExpr(tag == '&' ? AND_EXPR : tag == '|' ? OR_EXPR : NOT_EXPR, args, -1);
		}
		case 'r':
		{
			Oid type = get_type(r);
			int32 typmod = (int32) get_number(r, -1, PG_INT32_MAX);
			Oid collation = get_collation(r);
			Expr *arg = get_expr(r);

			if (!same_bits(exprType((Node *) arg), type))
				malformed("a type does not fit");
			return (Expr *) makeRelabelType(arg, type, typmod, collation, COERCE_EXPLICIT_CAST);
		}
		case 'v':
		{
			CoerceViaIO *v = makeNode(CoerceViaIO);

			v->resulttype = get_type(r);
			v->resultcollid = get_collation(r);
			v->arg = get_expr(r);
			v->coerceformat = COERCE_EXPLICIT_CAST;
			v->location = -1;
			if (!via_text(exprType((Node *) v->arg), v->resulttype))
				malformed("a type does not fit");
			return (Expr *) v;
		}
		case 'w':
			return get_case(r);
		case 'l':
		{
			CoalesceExpr *c = makeNode(CoalesceExpr);

			c->coalescetype = get_type(r);
			c->coalescecollid = get_collation(r);
			c->args = want_types(get_list(r, (int) get_number(r, 1, MAX_ARGS)), c->coalescetype);
			c->location = -1;
			return (Expr *) c;
		}
		case 'g':
		{
			MinMaxExpr *m = makeNode(MinMaxExpr);

			m->minmaxtype = get_type(r);
			m->minmaxcollid = get_collation(r);
			m->inputcollid = get_collation(r);
			m->op = get_number(r, 0, 1) != 0 ? IS_LEAST : IS_GREATEST;
			m->args = want_types(get_list(r, (int) get_number(r, 1, MAX_ARGS)), m->minmaxtype);
			m->location = -1;
			if (!OidIsValid(lookup_type_cache(m->minmaxtype, TYPECACHE_CMP_PROC)->cmp_proc))
				malformed("values cannot be ordered");
			return (Expr *) m;
		}
		case 'z':
		{
			NullTest *n = makeNode(NullTest);

			n->nulltesttype = get_number(r, 0, 1) != 0 ? IS_NOT_NULL : IS_NULL;
			n->arg = get_expr(r);
			n->location = -1;
			return (Expr *) n;
		}
		case 'b':
		{
			BooleanTest *b = makeNode(BooleanTest);

			b->booltesttype = (BoolTestType) get_number(r, IS_TRUE, IS_NOT_UNKNOWN);
			b->arg = want_type(get_expr(r), BOOLOID);
			b->location = -1;
			return (Expr *) b;
		}
		default:
			malformed("it has an unknown part");
	}
	return NULL; /* keep compiler quiet */
}

static Expr *
get_expr(Reader *r)
{
	Expr *expr;

	if (r->depth >= MAX_DEPTH + 1)
		malformed("it is nested too deeply");
	r->depth++;
	expr = get_node(r);
	r->depth--;
	return expr;
}

Expr *
paxos_expr_decode(const char *text, TupleDesc desc)
{
	Reader r = {text, desc, 0};
	Expr *expr = get_expr(&r);

	if (*r.at != '\0')
		malformed("something follows it");
	return expr;
}
