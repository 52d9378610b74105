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
 * So it is evaluated before anybody knows whether there is such a row.  Hence of
 * volatile functions only those that nobody misses if they were called for
 * nothing; and in what CASE and COALESCE promise to leave out unless it is wanted,
 * nothing that could fail: CASE WHEN n <> 0 THEN 1 / $1 travels as a division.
 *
 * The text is in prefix notation, numbers in decimal, each ended by a blank:
 *
 *	c attnum								a column
 *	x attnum								a column of the row that INSERT proposes
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
 *	y type collation n arg (when then)*n else	CASE arg
 *	t										in its WHENs: the value of arg
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
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "paxos_compat.h"
#include "paxos_expr.h"
#include "paxos_text.h"

#define MAX_DEPTH 100
#define MAX_ARGS 1000

/* ------------------------------------------------------------------
 * What is the same on every node
 * ------------------------------------------------------------------
 */

const char *
paxos_expr_type_trouble(Oid type)
{
	Oid element = get_element_type(type);
	Oid base = OidIsValid(element) ? element : type;
	char kind;

	if (base >= FirstNormalObjectId)
		return "it is not built in";
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
			return "what its values name differs between nodes";
		case MONEYOID:
			return "its text depends on lc_monetary";
		default:
			kind = get_typtype(base);
			if (kind != TYPTYPE_BASE && kind != TYPTYPE_RANGE && kind != TYPTYPE_MULTIRANGE)
				return "it is neither a base type nor a range";
			/* initdb gives other numbers above this in each release */
			return base >= FirstGenbkiObjectId ? "it is not built in" : NULL;
	}
}

bool
paxos_expr_portable_type(Oid type)
{
	return paxos_expr_type_trouble(type) == NULL;
}

bool
paxos_expr_portable_collation(Oid collation)
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
 * What may be evaluated where the statement was issued
 * ------------------------------------------------------------------
 */

/* A column, or the value that the WHENs of a CASE around it compare with. */
static bool
needs_row(Node *node, bool *in_when)
{
	bool yes = true;
	ListCell *lc;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return true;
		case T_CaseTestExpr:
			return !*in_when;
		case T_CaseExpr:
		{
			CaseExpr *expr = (CaseExpr *) node;
			bool *inside = expr->arg != NULL ? &yes : in_when;

			foreach (lc, expr->args)
			{
				CaseWhen *when = lfirst_node(CaseWhen, lc);

				if (needs_row((Node *) when->expr, inside) ||
					needs_row((Node *) when->result, in_when))
					return true;
			}
			return needs_row((Node *) expr->arg, in_when) ||
				   needs_row((Node *) expr->defresult, in_when);
		}
		case T_ArrayCoerceExpr:
			return needs_row((Node *) ((ArrayCoerceExpr *) node)->elemexpr, &yes) ||
				   needs_row((Node *) ((ArrayCoerceExpr *) node)->arg, in_when);
		default:
			return expression_tree_walker(node, needs_row, in_when);
	}
}

/* Volatile, but nobody minds if it was called for nothing. */
static bool
idle_call(Oid function)
{
	switch (function)
	{
		case PAXOS_F_RANDOM:
		case F_GEN_RANDOM_UUID:
		case F_CLOCK_TIMESTAMP:
		case F_TIMEOFDAY:
		case F_NEXTVAL:
		case F_CURRVAL:
		case F_LASTVAL:
			return true;
		default:
			return false;
	}
}

typedef struct Objection
{
	bool once; /* it will be called, and once */
	const char *why;
} Objection;

static bool
object_to_function(Oid function, void *context)
{
	Objection *objection = context;

	if (func_volatile(function) != PROVOLATILE_VOLATILE)
		return false;
	if (objection->once)
	{
		/* One in SQL or a procedural language may write. */
		HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
		Oid language = InvalidOid;

		if (HeapTupleIsValid(tuple))
		{
			language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
			ReleaseSysCache(tuple);
		}
		if (language == INTERNALlanguageId || language == ClanguageId)
			return false;
	}
	else if (idle_call(function))
		return false;
	objection->why = psprintf("Function %s is volatile.", format_procedure(function));
	return true;
}

static bool
find_objection(Node *node, Objection *objection)
{
	return node != NULL && (check_functions_in_node(node, object_to_function, objection) ||
							expression_tree_walker(node, find_objection, objection));
}

bool
paxos_expr_evaluable(Node *expr, const char **why)
{
	Objection objection = {true, NULL};
	bool bad = find_objection(expr, &objection);

	if (bad)
		*why = objection.why;
	return !bad;
}

/* now(), random(), now()::date: cannot fail, and has no effect. */
static bool
harmless_function(Oid function)
{
	Oid *types;
	int n;

	if (function >= FirstGenbkiObjectId)
		return false;
	if (func_volatile(function) == PROVOLATILE_VOLATILE)
		return idle_call(function) && function != F_NEXTVAL && function != F_CURRVAL &&
			   function != F_LASTVAL;
	if (func_volatile(function) != PROVOLATILE_STABLE)
		return false;
	(void) get_func_signature(function, &types, &n);
	for (int i = 0; i < n; i++)
	{
		if (types[i] != TIMESTAMPTZOID && types[i] != TIMESTAMPOID && types[i] != DATEOID)
			return false;
	}
	return true;
}

/* May it be evaluated although nobody might want it? */
static bool
not_harmless(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Const:
		case T_Param:
		case T_SQLValueFunction:
			return false;
		case T_List:
		case T_RelabelType:
			break;
		case T_FuncExpr:
			if (!harmless_function(((FuncExpr *) node)->funcid))
				return true;
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, not_harmless, context);
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
	bool optional;   /* in what CASE or COALESCE may leave out */
	int tests;       /* in so many WHENs of CASE arg */
	const char *why; /* it cannot be written */
} Writer;

static bool put_expr(Writer *w, Node *node);

/* Always false. */
static bool
cannot(Writer *w, const char *why)
{
	if (w->why == NULL)
		w->why = why;
	return false;
}

static bool
cannot_function(Writer *w, Oid function)
{
	const char *name = OidIsValid(function) ? format_procedure(function) : "of an operator";

	if (OidIsValid(function) && function < FirstGenbkiObjectId &&
		func_volatile(function) == PROVOLATILE_STABLE)
		return cannot(
			w,
			psprintf(
				"Function %s, over a column, depends on settings or other data: it is not immutable.",
				name));
	if (OidIsValid(function) && function < FirstGenbkiObjectId &&
		func_volatile(function) == PROVOLATILE_VOLATILE)
		return cannot(w, psprintf("Function %s, over a column, is volatile.", name));
	if (OidIsValid(function) && function < FirstGenbkiObjectId)
		return cannot(w,
					  psprintf("Function %s, over a column, may take as long as it likes.", name));
	return cannot(w, psprintf("Function %s, over a column, is not built in.", name));
}

static bool
cannot_type(Writer *w, Oid type)
{
	return cannot(
		w, psprintf("Values of type %s do not mean the same on every node.", format_type_be(type)));
}

static bool
check_collation(Writer *w, Oid collation)
{
	return paxos_expr_portable_collation(collation) ||
		   cannot(w, psprintf("Collation \"%s\" need not be the same on every node.",
							  get_collation_name(collation)));
}

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

	if (!portable_function(function, &proc) || list_length(args) != proc.pronargs)
		return cannot_function(w, function);
	if (!check_collation(w, collation))
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
	char *text;

	if (!check_collation(w, collation))
		return false;
	if (w->out == NULL)
	{
		Objection objection = {false, NULL};

		return !find_objection(node, &objection) || cannot(w, objection.why);
	}
	value = w->fold((Expr *) node, w->fold_arg, &isnull);
	put_tag(w, isnull ? 'n' : 'k');
	put_number(w, type);
	put_number(w, exprTypmod(node));
	put_number(w, collation);
	if (isnull)
		return true;
	text = paxos_fixed_text(type, value);
	put_number(w, strlen(text));
	appendStringInfoString(w->out, text);
	return true;
}

static bool
put_case(Writer *w, CaseExpr *expr)
{
	bool with_arg = expr->arg != NULL;
	bool optional = w->optional;
	ListCell *lc;

	if (!check_collation(w, expr->casecollid))
		return false;
	put_tag(w, with_arg ? 'y' : 'w');
	put_number(w, expr->casetype);
	put_number(w, expr->casecollid);
	put_number(w, list_length(expr->args));
	if (with_arg && !put_expr(w, (Node *) expr->arg))
		return false;
	foreach (lc, expr->args)
	{
		CaseWhen *when = lfirst_node(CaseWhen, lc);
		bool good;

		w->tests += with_arg;
		good = put_expr(w, (Node *) when->expr);
		w->tests -= with_arg;
		w->optional = true;
		if (!good || !put_expr(w, (Node *) when->result))
			return false;
	}
	if (!put_expr(w, (Node *) expr->defresult))
		return false;
	w->optional = optional;
	return true;
}

static bool
put_coalesce(Writer *w, CoalesceExpr *expr)
{
	bool optional = w->optional;
	ListCell *lc;

	if (!check_collation(w, expr->coalescecollid))
		return false;
	put_tag(w, 'l');
	put_number(w, expr->coalescetype);
	put_number(w, expr->coalescecollid);
	put_number(w, list_length(expr->args));
	foreach (lc, expr->args)
	{
		if (!put_expr(w, lfirst(lc)))
			return false;
		w->optional = true;
	}
	w->optional = optional;
	return true;
}

static bool
put_node(Writer *w, Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
		{
			Var *var = (Var *) node;

			if ((var->varno != 1 && var->varno != PAXOS_EXPR_PROPOSED) || var->varattno <= 0 ||
				var->varlevelsup != 0)
				return cannot(w, "An expression names a system column or a whole row.");
			put_tag(w, var->varno == 1 ? 'c' : 'x');
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

			if (!portable_function(get_opcode(op->opno), &proc))
				return cannot_function(w, get_opcode(op->opno));
			if (!check_collation(w, op->inputcollid))
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

			if (!same_bits(exprType((Node *) r->arg), r->resulttype))
				return cannot_type(w, r->resulttype);
			if (!check_collation(w, r->resultcollid))
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

			if (!via_text(exprType((Node *) v->arg), v->resulttype))
				return cannot(w, psprintf("The conversion of type %s to %s depends on settings.",
										  format_type_be(exprType((Node *) v->arg)),
										  format_type_be(v->resulttype)));
			if (!check_collation(w, v->resultcollid))
				return false;
			put_tag(w, 'v');
			put_number(w, v->resulttype);
			put_number(w, v->resultcollid);
			return put_expr(w, (Node *) v->arg);
		}
		case T_CaseExpr:
			return put_case(w, (CaseExpr *) node);
		case T_CaseTestExpr:
			if (w->tests == 0)
				return cannot(w, "An expression has a part that cannot be evaluated at a slot.");
			put_tag(w, 't');
			return true;
		case T_CoalesceExpr:
			return put_coalesce(w, (CoalesceExpr *) node);
		case T_MinMaxExpr:
		{
			MinMaxExpr *m = (MinMaxExpr *) node;

			if (!check_collation(w, m->minmaxcollid) || !check_collation(w, m->inputcollid))
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
				return cannot(w, "An expression looks at a whole row.");
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
			return cannot(w, "An expression has a part that cannot be evaluated at a slot.");
	}
}

static bool
put_expr(Writer *w, Node *node)
{
	bool good;

	bool in_when = false;
	bool here;

	if (node == NULL || w->depth >= MAX_DEPTH)
		return cannot(w, "An expression is nested too deeply.");
	if (!paxos_expr_portable_type(exprType(node)))
		return cannot_type(w, exprType(node));
	here = !needs_row(node, &in_when);
	if (here && !(w->optional && not_harmless(node, NULL)))
		return put_constant(w, node);
	w->depth++;
	good = put_node(w, node);
	w->depth--;
	if (!good && here)
		w->why =
			"What CASE or COALESCE may leave out could fail, or have an effect, if it were evaluated first.";
	return good;
}

bool
paxos_expr_expressible(Node *expr, const char **why)
{
	Writer w = {0};
	bool good = put_expr(&w, expr);

	if (!good)
		*why = w.why;
	return good;
}

char *
paxos_expr_encode(Node *expr, PaxosExprFold fold, void *arg)
{
	StringInfoData out;
	Writer w = {.out = &out, .fold = fold, .fold_arg = arg};

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
	bool proposed; /* there is a proposed row */
	int depth;
	Expr *test; /* of the CASE arg whose WHENs are being read */
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

	if (!paxos_expr_portable_collation(collation))
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
get_case(Reader *r, bool with_arg)
{
	CaseExpr *expr = makeNode(CaseExpr);
	Expr *outer = r->test;
	int n;

	expr->casetype = get_type(r);
	expr->casecollid = get_collation(r);
	n = (int) get_number(r, 1, MAX_ARGS);
	if (with_arg)
		expr->arg = get_expr(r);
	for (int i = 0; i < n; i++)
	{
		CaseWhen *when = makeNode(CaseWhen);

		if (with_arg)
			r->test = expr->arg;
		when->expr = want_type(get_expr(r), BOOLOID);
		r->test = outer;
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
		case 'x':
		{
			AttrNumber attnum = (AttrNumber) get_number(r, 1, MaxHeapAttributeNumber);
			Form_pg_attribute att;

			if (attnum > r->desc->natts)
				malformed("there is no such column");
			att = TupleDescAttr(r->desc, attnum - 1);
			if (att->attisdropped || !paxos_expr_portable_type(att->atttypid))
				malformed("there is no such column");
			if (tag == 'x' && !r->proposed)
				malformed("no row is proposed");
			return (Expr *) makeVar(tag == 'c' ? 1 : PAXOS_EXPR_PROPOSED, attnum, att->atttypid,
									att->atttypmod, att->attcollation, 0);
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
		case 'y':
			return get_case(r, tag == 'y');
		case 't':
		{
			CaseTestExpr *test = makeNode(CaseTestExpr);

			if (r->test == NULL)
				malformed("there is nothing to compare with");
			test->typeId = exprType((Node *) r->test);
			test->typeMod = exprTypmod((Node *) r->test);
			test->collation = exprCollation((Node *) r->test);
			return (Expr *) test;
		}
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
paxos_expr_decode(const char *text, TupleDesc desc, bool proposed)
{
	Reader r = {.at = text, .desc = desc, .proposed = proposed};
	Expr *expr = get_expr(&r);

	if (*r.at != '\0')
		malformed("something follows it");
	return expr;
}
