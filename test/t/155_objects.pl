# Schemas, types, domains and functions through the log, and columns of such types.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;
my $all = "SET paxos.ddl = 'all'; ";
sub objects { return $c->same_everywhere("SELECT object_id, type, identity, definition, altered FROM paxos.objects ORDER BY object_id", $_[0]); }

# As ever: on this node alone.
$n[0]->sql_after_barrier("CREATE TYPE here AS ENUM ('a')");
is($n[0]->sql_after_barrier("SELECT count(*) FROM paxos.objects"), 0, 'by default a type is local');
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY, h here) USING paxos", '0A000', qr/column "h" of type public\.here is not supported/, 'and no type of a column');
$n[0]->sql_after_barrier("DROP TYPE here");

# On all.
$n[0]->sql_after_barrier("${all}CREATE SCHEMA s");
$n[1]->sql_after_barrier("${all}CREATE TYPE s.mood AS ENUM ('sad', 'ok', 'glad')");
$n[2]->sql_after_barrier("${all}CREATE DOMAIN s.size AS int DEFAULT 7 NOT NULL CONSTRAINT small CHECK (VALUE < 100)");
$n[2]->sql_after_barrier("${all}SET search_path = s; CREATE DOMAIN late AS text DEFAULT 'x' CHECK (VALUE <> '')");
$n[0]->sql_after_barrier("${all}SET search_path = s; CREATE FUNCTION worse(m mood) RETURNS mood LANGUAGE sql AS 'SELECT min(e) FROM unnest(enum_range(NULL::s.mood)) e WHERE e < m'");
$n[1]->sql_after_barrier("${all}CREATE PROCEDURE s.noop(int) LANGUAGE plpgsql AS 'BEGIN PERFORM 1; END'");
like(objects('the objects are the same on every node'), qr/CREATE DOMAIN s\.late AS text DEFAULT 'x'::text CONSTRAINT late_check CHECK \(\(VALUE <> ''::text\)\)/, 'and written in full');
isnt($n[0]->sql_after_barrier("SELECT oid FROM pg_type WHERE typname = 'mood'"), $n[1]->sql_after_barrier("SELECT oid FROM pg_type WHERE typname = 'mood'"), '(their numbers are not)');

# Columns of them, keys too; values by label.
$n[2]->sql_after_barrier("CREATE TABLE person (feels s.mood PRIMARY KEY, n s.size, list s.mood[], d s.mood DEFAULT s.worse('glad')) USING paxos");
$n[0]->sql_after_barrier("INSERT INTO person (feels, list) VALUES ('glad', '{ok,sad}'), ('sad', NULL)");
$n[1]->sql_after_barrier("INSERT INTO person (feels, n) SELECT 'ok', 3");
$n[1]->sql_after_barrier("UPDATE person SET n = n + 1, list = list || 'glad'::s.mood WHERE feels = 'glad'");
$n[2]->sql_after_barrier("SELECT applied FROM paxos_update_if('person', '{\"feels\": \"ok\"}', '{\"n\": 99}', '{\"n <\": 50}')");
is($c->same_everywhere("SELECT string_agg(p::text, ' ' ORDER BY feels) FROM person p", 'rows'), '(sad,7,,sad) (ok,99,,sad) (glad,8,"{ok,sad,glad}",sad)', 'rows by label, in order');
$n[1]->fails("INSERT INTO person VALUES ('ok', 3)", '23505', qr/duplicate key/, 'a key of labels');
$n[1]->fails("INSERT INTO person VALUES ('dull', 3)", '22P02', qr/invalid input value for enum/, 'no label');
$n[1]->fails("UPDATE person SET n = 100", '23514', qr/violates check constraint "small"/, "a domain's constraint");
is($n[0]->sql_after_barrier("SELECT count(*) FROM paxos_verify('person') WHERE agrees"), 3, 'verified on all nodes');

# One key, two nodes.
my $s = $n[0]->session;
$s->ask("BEGIN; UPDATE person SET n = 1 WHERE feels = 'sad'");
$s->answer;
$n[1]->sql_after_barrier("UPDATE person SET n = 2 WHERE feels = 'sad'");
$s->ask("COMMIT");
like($s->answer, qr/40001|40P01/, 'the same label on two nodes: one is overtaken');
$s->close;
my $s1 = $n[0]->session;
$s1->ask("BEGIN; UPDATE person SET n = 11 WHERE feels = 'sad'");
$s1->answer;
$n[1]->sql_after_barrier("UPDATE person SET n = 12 WHERE feels = 'ok'");
$s1->ask("COMMIT");
unlike($s1->answer, qr/40001/, 'two labels: none is');
$s1->close;

is($n[0]->sql_after_barrier("${all}CREATE DOMAIN s.x AS int; SHOW search_path; SHOW lock_timeout; DROP DOMAIN s.x; SHOW search_path; SHOW client_min_messages"), "\"\$user\", public\n0\n\"\$user\", public\nnotice", 'settings are as they were');

# Errors are PostgreSQL's, and said before anything is sent.
$n[0]->fails("${all}CREATE TYPE s.mood AS ENUM ()", '42710', qr/type "mood" already exists/, 'a name that is taken');
$n[0]->fails("${all}CREATE TYPE nowhere.mood AS ENUM ()", '3F000', qr/schema "nowhere" does not exist/, 'no schema');
$n[0]->fails("BEGIN; ${all}CREATE TYPE x AS ENUM ()", '25001', qr/cannot run inside a transaction block/, 'in a block');
$n[1]->sql_after_barrier("CREATE TYPE taken AS ENUM ('mine')");
$n[0]->fails("${all}CREATE TYPE taken AS ENUM ('yours')", '55000', qr/type public\.taken of this node is in the way/, 'a name that another node has for itself');
$n[0]->sql_after_barrier("${all}CREATE TYPE taken AS ENUM ('mine')");
is($n[1]->sql_after_barrier("SELECT count(*) FROM paxos.objects WHERE identity = 'public.taken'"), 1, 'unless it is the same, word for word');
$n[0]->sql_after_barrier("CREATE TYPE mine AS ENUM ('a'); CREATE FUNCTION mine() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'");
$n[0]->fails("${all}CREATE DOMAIN d AS mine", '0A000', qr/refers to type mine, which is local/, 'what refers to a local type');
$n[0]->fails("${all}CREATE DOMAIN d AS int CHECK (VALUE > mine())", '0A000', qr/not both immutable and built in/, 'a check that calls a function of ours');
$n[0]->fails("${all}CREATE DOMAIN d AS timestamptz CHECK (VALUE > now())", '0A000', qr/not both immutable and built in/, 'one that is not immutable');
$n[0]->sql_after_barrier("CREATE ROLE only_here; GRANT CREATE ON SCHEMA public TO only_here");
$n[0]->fails("SET ROLE only_here; ${all}CREATE TYPE x AS ENUM ()", '55000', qr/node "node[23]" could not carry out the statement: role "only_here" does not exist/, 'a role that others lack');
$n[0]->sql_after_barrier("${all}CREATE FUNCTION s.one() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'");
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY CHECK (s.one() = 1)) USING paxos", '0A000', qr/function s\.one\(\) cannot be used/, 'a CHECK calls what is built in only');

# A change on one node alone is refused, however it comes.
$n[0]->fails("DO \$\$ BEGIN EXECUTE 'DROP TYPE taken'; END \$\$", '25001', qr/cannot/, 'in a function');
$_->sql("CREATE ROLE clerk; GRANT CREATE, USAGE ON SCHEMA public TO clerk") for @n;
$n[0]->sql_after_barrier("SET ROLE clerk; ${all}CREATE TYPE theirs AS ENUM ('a')");
is($c->same_everywhere("SELECT typowner::regrole FROM pg_type WHERE typname = 'theirs'", 'an owner'), 'clerk', 'who makes it owns it everywhere');
$n[0]->sql_after_barrier("CREATE ROLE owner_here");
$n[0]->fails("REASSIGN OWNED BY clerk TO owner_here", '0A000', qr/not supported for type theirs, which exists on every node/, 'REASSIGN OWNED');
$n[0]->fails("DROP OWNED BY clerk", '0A000', qr/cannot drop type theirs this way/, 'DROP OWNED');
$n[1]->sql_after_barrier("GRANT USAGE ON SCHEMA s TO clerk");
is($c->same_everywhere("SELECT has_schema_privilege('clerk', 's', 'USAGE')", 'a privilege'), 't', 'GRANT');
$n[0]->fails("SET ROLE clerk; DROP TYPE s.mood", '42501', qr/must be owner of type s\.mood/, 'somebody else may not drop it');
$n[0]->sql_after_barrier("DROP TYPE theirs");
$n[0]->sql_after_barrier("CREATE SCHEMA away");
$n[0]->fails("${all}CREATE TYPE away.x AS ENUM ()", '55000', qr/schema "away" does not exist/, 'in a schema of this node');
$_->sql("CREATE SCHEMA away") for @n[1, 2];
$n[0]->sql_after_barrier("${all}CREATE TYPE away.x AS ENUM ()");
$c->await_equal;
$n[1]->fails("ALTER SCHEMA away RENAME TO gone", '0A000', qr/type away\.x exists on every node/, 'a local schema with such an object keeps its name');
$n[1]->fails("DROP SCHEMA away CASCADE", '0A000', qr/cannot drop type away\.x this way/, 'and stays');
$n[0]->sql_after_barrier("DROP TYPE away.x");

# Who is making a thing of that name is ended; who has made it is told.
my $maker = $n[1]->session;
$maker->ask("BEGIN; CREATE TYPE public.slow AS ENUM ('mine')");
$maker->answer;
$n[0]->sql_after_barrier("${all}CREATE TYPE public.slow AS ENUM ('ours')");
is($c->same_everywhere("SELECT enum_range(NULL::slow)", 'a type'), '{ours}', 'a session that was making one of that name does not hold its node up');
$maker->close;
$n[0]->sql_after_barrier("DROP TYPE slow");

# A name that is a superuser elsewhere: nothing is made there under it.
$n[1]->sql_after_barrier("ALTER ROLE clerk SUPERUSER");
$n[0]->fails("SET ROLE clerk; ${all}CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'", '55000', qr/role "clerk" is a superuser on this node/, 'an owner who is more on another node');
$n[1]->sql_after_barrier("ALTER ROLE clerk NOSUPERUSER");
$n[0]->sql_after_barrier("GRANT USAGE ON TYPE s.mood TO clerk");
$n[0]->fails("DROP OWNED BY clerk", '0A000', qr/it has privileges on (type s\.mood|schema s), which exists on every node/, 'DROP OWNED of a grantee');

# DROP: who uses it, here and elsewhere.
$n[0]->fails("DROP TYPE s.mood", '2BP01', qr/cannot drop type s\.mood because other objects depend on it/, 'a table uses it');
$n[0]->fails("DROP TYPE s.mood CASCADE", '0A000', qr/column \w+ of table person uses type s\.mood/, 'a column is not dropped with CASCADE');
$n[0]->fails("DROP SCHEMA s", '2BP01', qr/cannot drop schema s because/, 'a schema with something in it');
$n[2]->sql_after_barrier("CREATE VIEW sees AS SELECT 'mine'::taken");
$n[0]->fails("DROP TYPE taken", '55000', qr/node "node3" could not carry out the statement: .*of this node uses type/, 'a view of another node uses it');
$n[2]->sql_after_barrier("DROP VIEW sees");
$n[0]->sql_after_barrier("DROP TYPE taken");
$n[0]->sql_after_barrier("DROP FUNCTION mine(); DROP TYPE mine");
$n[0]->sql_after_barrier("DROP TABLE person");
$n[0]->sql_after_barrier("CREATE TABLE s.parent (m s.mood PRIMARY KEY) USING paxos; CREATE TABLE s.child (id serial PRIMARY KEY, m s.mood REFERENCES s.parent, long text) USING paxos; INSERT INTO s.parent VALUES ('ok'); INSERT INTO s.child (m) VALUES ('ok')");
$n[0]->sql_after_barrier("CREATE TABLE outside (m s.mood PRIMARY KEY) USING paxos");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("DROP SCHEMA s CASCADE", '0A000', qr/column m of table outside uses type s\.mood/, 'no column of a table elsewhere');
$n[1]->sql_after_barrier("DROP TABLE outside");
$n[2]->sql_after_barrier("CREATE TABLE s.mine (id int)");
$n[1]->fails("DROP SCHEMA s CASCADE", '55000', qr/node "node3" could not carry out the statement: table s\.mine of this node uses schema s/, 'and no table of one node');
$n[2]->sql_after_barrier("DROP TABLE s.mine");
$n[1]->sql_after_barrier("DROP SCHEMA s CASCADE");
is($c->same_everywhere("SELECT count(*) FROM paxos.tables WHERE table_id > 1", 'tables'), 0, 'DROP SCHEMA CASCADE takes its consensus tables along');
is($c->same_everywhere("SELECT count(*) FROM paxos.object", 'all gone'), 0, 'DROP SCHEMA CASCADE takes what went through the log');
is($_->sql("SELECT count(*) FROM pg_type WHERE typname IN ('mood', 'size', 'late', 'taken')"), 0, 'and the types') for @n;
$c->await_equal;
done_testing();
