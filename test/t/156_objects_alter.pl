# What becomes of schemas, types, domains and functions of all nodes: ALTER, COMMENT, GRANT, DROP;
# composite and range types; and a node that was away too long.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;
$_->sql("CREATE ROLE clerk; CREATE ROLE guest") for @n;
my $objects = "SELECT object_id, type, identity, definition, altered FROM paxos.objects ORDER BY object_id";
sub define { my ($node, @sql) = @_; $node->sql_after_barrier("SET paxos.ddl = 'all'; " . join('; ', @sql)); }
sub definition { return $n[0]->sql("SELECT definition FROM paxos.objects WHERE identity = '$_[0]'"); }

define($n[0], "CREATE SCHEMA s", "SET search_path = s", "CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE TYPE pair AS (a int, m mood, t text COLLATE \"C\")",
	"CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans)", "CREATE DOMAIN size AS int CHECK (VALUE > 0)", "CREATE DOMAIN sizes AS int[] CHECK (0 < ALL (VALUE))",
	"CREATE FUNCTION f(p pair, OUT x int, OUT y mood) LANGUAGE plpgsql AS 'BEGIN x := p.a; y := p.m; END'");
$n[1]->sql_after_barrier("CREATE TABLE t (id int PRIMARY KEY, m s.mood, p s.pair, r s.span, rr s.spans, d s.size, dd s.sizes, UNIQUE (p), UNIQUE (r)) USING paxos");
$n[1]->sql("INSERT INTO t VALUES (1, 'sad', '(1,glad,\"a,b\")', '[1,2)', '{[1,2),[3,4)}', 3, '{1,2}'), (2, 'glad', NULL, 'empty', NULL, NULL, NULL)");
$n[2]->sql_after_barrier("UPDATE t SET p.a = (s.f(p)).x + 1, d = d + 1 WHERE id = 1");
is($c->same_everywhere("SELECT t FROM t WHERE id = 1", 'composites, ranges, domains over domains'), '(1,sad,"(2,glad,""a,b"")","[1,2)","{[1,2),[3,4)}",4,"{1,2}")', 'values of them');
$n[2]->fails("INSERT INTO t (id, p) VALUES (3, '(2,glad,\"a,b\")')", '23505', qr/t_p_key/, 'a unique composite');
$n[2]->fails("INSERT INTO t (id, dd) VALUES (3, '{1,-1}')", '23514', qr/sizes_check/, 'a domain over an array');

# ALTER, whatever the setting is, from any node.
$n[1]->sql_after_barrier("ALTER TYPE s.mood ADD VALUE 'ok' BEFORE 'glad'");
$n[1]->sql("ALTER TYPE s.mood ADD VALUE IF NOT EXISTS 'ok'; ALTER TYPE s.mood ADD VALUE 'mad' AFTER 'sad'; ALTER TYPE s.mood RENAME VALUE 'glad' TO 'happy'");
$n[2]->sql_after_barrier("INSERT INTO t (id, m) VALUES (4, 'ok')");
is($c->same_everywhere("SELECT string_agg(id || ' ' || m, ',' ORDER BY m) FROM t", 'labels'), '1 sad,4 ok,2 happy', 'values of a type that was altered');
$n[0]->fails("ALTER TYPE s.mood ADD VALUE 'ok'", '42710', qr/enum label "ok" already exists/, 'a label that is there');
$n[0]->fails("ALTER TYPE s.pair ALTER ATTRIBUTE a TYPE bigint", '0A000', qr/column "t\.p" uses it/, 'another type for an attribute of a type that a table has');
$n[0]->sql("ALTER TYPE s.pair ADD ATTRIBUTE b int; UPDATE t SET p.b = 5 WHERE id = 1");
is($c->same_everywhere("SELECT p FROM t WHERE id = 1", 'an attribute more'), '(2,happy,"a,b",5)', 'is in its rows');
$n[0]->sql("ALTER TYPE s.pair DROP ATTRIBUTE b");
$n[0]->sql("ALTER TYPE s.pair RENAME ATTRIBUTE t TO text");
define($n[0], "CREATE TYPE s.free AS (a int)");
$n[0]->sql("ALTER TYPE s.free ADD ATTRIBUTE m s.mood, ALTER ATTRIBUTE a TYPE bigint CASCADE, DROP ATTRIBUTE IF EXISTS no; ALTER TYPE s.free ADD ATTRIBUTE z text COLLATE \"C\"; ALTER TYPE s.free DROP ATTRIBUTE a");
is(definition('s.free'), 'CREATE TYPE s.free AS (m s.mood, z text COLLATE "C")', 'one that none has');
$n[2]->sql_after_barrier("ALTER DOMAIN s.size ADD CONSTRAINT small CHECK (VALUE < 100); ALTER DOMAIN s.size SET DEFAULT 5; ALTER DOMAIN s.size RENAME CONSTRAINT small TO tiny; ALTER DOMAIN s.size ADD CHECK (VALUE <> 77) NOT VALID; ALTER DOMAIN s.size VALIDATE CONSTRAINT size_check1");
$n[2]->fails("INSERT INTO t (id, d) VALUES (5, 100)", '23514', qr/"tiny"/, 'a constraint that was added');
$n[1]->fails("ALTER DOMAIN s.size ADD CHECK (VALUE < 4)", '23514', qr/contains values that violate/, 'one that rows do not satisfy');
$n[1]->fails("ALTER DOMAIN s.size SET NOT NULL", '23502', qr/contains null values/, 'nor this');
$n[1]->fails("ALTER DOMAIN s.size ADD CHECK (VALUE > -random())", '0A000', qr/not both immutable and built in/, 'one that nodes would see differently');
is(definition('s.size'), 'CREATE DOMAIN s.size AS integer DEFAULT 5 CONSTRAINT size_check CHECK ((VALUE > 0)) CONSTRAINT size_check1 CHECK ((VALUE <> 77)) CONSTRAINT tiny CHECK ((VALUE < 100))', 'what it is now');
$n[0]->sql("ALTER DOMAIN s.size DROP CONSTRAINT size_check1; ALTER DOMAIN s.size DROP DEFAULT");

# A set that was on its way when its text lost its meaning.
my $w = $n[0]->session;
$w->ask("BEGIN; UPDATE t SET m = 'mad' WHERE id = 4");
$w->answer;
$n[1]->sql("ALTER TYPE s.mood RENAME VALUE 'mad' TO 'cross'");
$w->ask("COMMIT");
like($w->answer, qr/40001|57P01/, 'a transaction that wrote a label that is renamed meanwhile is overtaken');
$w->close;
$n[2]->sql_after_barrier("UPDATE t SET m = 'cross' WHERE id = 4");
is($c->same_everywhere("SELECT m FROM t WHERE id = 4", 'the row'), 'cross', 'and can be made again');

# And one whose text was written, and sent, where the new label is not known yet.
$w = $n[0]->session;
$w->query($_) for "BEGIN", "UPDATE t SET d = 11 WHERE id = 4";
$n[0]->held_back(sub {
	$n[1]->sql("ALTER TYPE s.mood RENAME VALUE 'cross' TO 'angry'");
	my $slot = $n[1]->sql("SELECT chosen FROM paxos.status");
	$w->ask("COMMIT");
	$n[1]->poll_sql("SELECT chosen > $slot FROM paxos.status");
});
like($w->answer, qr/4000[13]|57P01|closed/, 'a transaction sent with a label that was renamed before it is overtaken');
$w->close;
is(join(' ', map { $_->sql_after_barrier("SELECT m || ' ' || coalesce(d = 11, false) FROM t WHERE id = 4") } @n), 'angry false angry false angry false', 'nobody is held up by it');
$n[1]->sql("ALTER TYPE s.mood RENAME VALUE 'angry' TO 'cross'");

# What an ordinary table of one node has stands in the way there, and is named.
$n[2]->sql("CREATE TABLE mine (d s.size)");
$n[0]->fails("ALTER DOMAIN s.size ADD CHECK (VALUE <> 78)", '55000', qr/node "node3" could not carry out the statement: column d of table public\.mine of this node uses type s\.size/, 'rows of one node');
$n[2]->sql("DROP TABLE mine");

# Functions: replaced, altered, renamed.
$n[1]->sql_after_barrier("CREATE OR REPLACE FUNCTION s.f(p s.pair, OUT x int, OUT y s.mood) LANGUAGE plpgsql AS 'BEGIN x := p.a + 100; END'");
$n[1]->sql("ALTER FUNCTION s.f STRICT COST 7 SET work_mem = '1MB'; ALTER FUNCTION s.f(s.pair) RENAME TO g; ALTER FUNCTION s.g SECURITY DEFINER");
is($c->same_everywhere("SELECT (s.g('(1,sad,x)')).x", 'the new one'), 101, 'CREATE OR REPLACE');
$n[1]->fails("CREATE OR REPLACE FUNCTION s.g(p s.pair) RETURNS int LANGUAGE sql AS 'SELECT 1'", '42P13', qr/cannot change return type/, 'what PostgreSQL refuses');
define($n[0], "CREATE SCHEMA other");
$n[2]->sql_after_barrier("ALTER FUNCTION s.g SET SCHEMA other; ALTER TYPE s.pair SET SCHEMA other; ALTER SCHEMA other RENAME TO \"O t\"; ALTER TYPE s.span RENAME TO range; ALTER SCHEMA s OWNER TO clerk; ALTER TYPE s.mood OWNER TO clerk");
$n[1]->sql_after_barrier("UPDATE t SET p = ROW(9, 'ok', 'z') WHERE id = 2");
is($n[0]->sql_after_barrier("SELECT p FROM t WHERE id = 2"), '(9,ok,z)', 'a type that has another name and schema');
$n[0]->fails("ALTER TYPE s.free RENAME TO mood", '42710', qr/type "mood" already exists/, 'a name that is taken');
$n[1]->sql("CREATE TYPE s.local AS ENUM ()");
$n[0]->fails("ALTER TYPE s.free RENAME TO local", '55000', qr/type s\.local of this node is in the way/, 'and on one node');
$n[1]->sql("DROP TYPE s.local");

# COMMENT, GRANT.
$n[0]->sql("COMMENT ON TYPE s.mood IS 'it''s a mood'; COMMENT ON SCHEMA s IS 'es'; COMMENT ON FUNCTION \"O t\".g IS 'gee'; COMMENT ON CONSTRAINT tiny ON DOMAIN s.size IS 'ti'; COMMENT ON COLUMN \"O t\".pair.a IS 'first'");
$n[1]->sql_after_barrier("GRANT USAGE ON SCHEMA s TO guest; REVOKE ALL ON FUNCTION \"O t\".g FROM PUBLIC; GRANT EXECUTE ON FUNCTION \"O t\".g TO guest WITH GRANT OPTION; GRANT USAGE ON TYPE s.size, s.sizes TO guest; GRANT USAGE ON TYPE s.mood TO guest");
my $facts = "SELECT (SELECT string_agg(description, ',' ORDER BY description) FROM pg_description d WHERE objoid >= 16384 AND description IN ('it''s a mood', 'es', 'gee', 'ti', 'first')),
	(SELECT proacl::text || prosecdef || proconfig::text FROM pg_proc WHERE proname = 'g'), (SELECT nspacl::text FROM pg_namespace WHERE nspname = 's'),
	(SELECT string_agg(typname || coalesce((SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(typacl) a), '') || typowner::regrole, ' ' ORDER BY typname) FROM pg_type WHERE typname IN ('mood', '_mood', 'size', 'range', 'pair'))";
like($c->same_everywhere($facts, 'comments, privileges, owners'), qr/es,first,gee,it's a mood,ti\|\{postgres=X\/postgres,guest=X\*\/postgres\}true\{work_mem=1MB\}\|/, 'are everywhere');
$n[0]->fails("GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA \"O t\" TO guest", '0A000', qr/exists on every node/, 'ON ALL FUNCTIONS would act on one node');
$n[0]->sql("CREATE ROLE only_here");
$n[0]->fails("ALTER TYPE s.free OWNER TO only_here", '55000', qr/role "only_here" does not exist/, 'an owner that others lack');
$n[0]->fails("GRANT USAGE ON TYPE s.free TO only_here", '55000', qr/role "only_here" does not exist/, 'a grantee');

# Functions over consensus tables, in any order.
define($n[0], "CREATE FUNCTION s.rows() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t'", "CREATE FUNCTION s.first(t) RETURNS s.mood LANGUAGE sql AS 'SELECT (\$1).m'");
is($n[2]->sql_after_barrier("SELECT string_agg(s.first(q)::text, ',' ORDER BY id) FROM s.rows() q"), 'sad,happy,cross', 'functions of rows');
$n[0]->fails("CREATE TABLE u (id int PRIMARY KEY, m s.mood DEFAULT s.first(ROW(1, 'sad', NULL, NULL, NULL, NULL, NULL)::t)) USING paxos", '0A000', qr/function s\.first\(t\) cannot be used/, 'no default by one of those');
is($n[0]->sql("SELECT count(*) FROM t"), 3, 'the table is as it was');

# What a statement refers to is changed by another node while it is on its way: its node has not
# heard of it, and wrote down what was.  It is told so at its slot, and tries again.
define($n[0], "CREATE TYPE s.pace AS ENUM ('slow')", "CREATE FUNCTION s.walk(int) RETURNS int LANGUAGE sql AS 'SELECT \$1'", "CREATE SCHEMA street");
$c->await_equal;
for my $case (
	[ "ALTER TYPE s.pace RENAME TO speed", "CREATE TABLE walks (id int PRIMARY KEY, p s.pace) USING paxos", '42704', 'a type, and a table with it' ],
	[ "ALTER FUNCTION s.walk(int) SET SCHEMA street", "CREATE VIEW walked AS SELECT id, s.walk(id) FROM t", '42883', 'a function, and a view that calls it' ],
	[ "DROP TYPE s.speed", "ALTER TABLE t ADD COLUMN speed s.speed", '42704', 'a type, and a column of it' ])
{
	my ($first, $second, $said, $name) = @$case;
	my $h = $n[2]->held_back(sub {
		$n[0]->sql("SET paxos.ddl = 'all'; $first");
		my $slot = $n[0]->sql("SELECT applied FROM paxos.replicated");
		my $h = $n[2]->start_sql("SET paxos.ddl = 'all'; $second");
		$n[0]->poll_sql("SELECT applied > $slot FROM paxos.replicated");
		return $h;
	});
	my $r = $n[2]->finish_sql($h);
	is($r->{sqlstate}, $said, "$name: it is about what there is now") or diag($r->{err});
	$c->await_equal;
}
define($n[0], "DROP FUNCTION street.walk(int)", "DROP SCHEMA street");

# Who was away for longer than the log is kept has all of it; and what he had is what it is now.
$c->misses_the_log($n[2], sub {
	define($n[0], "CREATE TYPE s.late AS ENUM ('x')", "CREATE TABLE v (k s.late PRIMARY KEY, s s.size DEFAULT 1) USING paxos", "CREATE OR REPLACE FUNCTION s.first(t) RETURNS s.mood LANGUAGE sql AS 'SELECT ''ok''::s.mood'");
	$n[0]->sql("ALTER TYPE s.mood ADD VALUE 'last'; INSERT INTO t (id, m) VALUES (7, 'last'); INSERT INTO v VALUES ('x', 3)");
	$n[0]->sql("DROP TYPE s.free; COMMENT ON TYPE s.mood IS 'it''s a mood'");
});
$c->same_everywhere($objects, 'a snapshot brings the objects');
$c->same_everywhere($facts, 'with comments, privileges and owners');
$c->same_everywhere("SELECT t, s.first(t) FROM t ORDER BY id", 'and tables of them');
$n[2]->sql_after_barrier("INSERT INTO t (id, m) VALUES (8, 'last'); ALTER TYPE s.mood ADD VALUE 'end'; INSERT INTO v (k) SELECT 'x' WHERE false");
is($c->same_everywhere("SELECT enum_range(NULL::s.mood)", 'and they go on alike'), '{sad,cross,ok,happy,last,end}', 'with what was there');
is($n[0]->sql("SELECT count(*) FROM paxos_verify('t') WHERE agrees"), 3, 'verified on all nodes');
define($n[2], "DROP FUNCTION s.first(t)", "DROP FUNCTION s.rows()", "DROP TABLE t, v", "DROP SCHEMA s, \"O t\" CASCADE");
is($c->same_everywhere("SELECT count(*) FROM paxos.object", 'all gone'), 0, 'DROP SCHEMA CASCADE');
$c->await_equal;
done_testing();
