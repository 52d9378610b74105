# Definitions that go through the log, and whoever has few rights: his code runs with nobody
# else's, and what he may do holds up no learner.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = my ($n1, $n2, $n3) = $c->nodes;
my $all = "SET paxos.ddl = 'all'; ";
$_->sql("CREATE ROLE alice; CREATE ROLE bob; GRANT CREATE, USAGE ON SCHEMA public TO alice, bob") for @n;

# ---- whose functions an index computes, while a table becomes consensus-backed -------------
$n1->sql("SET ROLE alice; CREATE FUNCTION spy(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS"
  . " \$\$ BEGIN IF current_user <> 'alice' THEN RAISE EXCEPTION 'runs as %', current_user; END IF; RETURN 1; END \$\$;"
  . " CREATE TABLE spying (id int PRIMARY KEY); CREATE INDEX ON spying ((id + spy(1)))");
$n1->fails("SET ROLE alice; ALTER TABLE spying SET ACCESS METHOD paxos", '0A000', qr/function spy\(integer\) cannot be used/, 'a function of the user is refused, and not run by anybody else');
$n1->fails("ALTER TABLE spying SET ACCESS METHOD paxos", '0A000', qr/function spy\(integer\) cannot be used/, 'nor with the rights of a superuser');

# ---- range types: what an index on them would call in every learner ------------------------
$n1->sql("SET ROLE alice; ${all}CREATE FUNCTION distance(float8, float8) RETURNS float8 IMMUTABLE LANGUAGE sql AS 'SELECT \$1 - \$2'");
$n1->fails("SET ROLE alice; ${all}CREATE TYPE far AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = distance)", '0A000', qr/cannot go through the log.*SUBTYPE_DIFF/s, 'a range type that would call a function of the user');
$n1->sql("SET ROLE alice; ${all}CREATE TYPE near AS RANGE (SUBTYPE = float8, SUBTYPE_DIFF = float8mi)");

# ---- functions that are made part of an extension -----------------------------------------
$_->sql("GRANT CREATE ON DATABASE " . $c->{database} . " TO alice; SET ROLE alice; CREATE EXTENSION citext") for @n;
$n1->sql("SET ROLE alice; ALTER EXTENSION citext ADD FUNCTION spy(int); CREATE TABLE plain (id int PRIMARY KEY) USING paxos");
$n1->fails("SET ROLE alice; CREATE INDEX ON plain ((id + spy(1)))", '0A000', qr/cannot be used/, 'a function that its owner has added to an extension');

# ---- the default of a domain --------------------------------------------------------------
$n1->sql("${all}CREATE DOMAIN drawn AS float8 DEFAULT random()");
$n1->sql("${all}CREATE DOMAIN at AS timestamptz DEFAULT clock_timestamp()");
$n1->sql("${all}CREATE DOMAIN today AS timestamptz DEFAULT now()");
$n1->sql("CREATE TABLE d (id int PRIMARY KEY) USING paxos; INSERT INTO d VALUES (1), (2)");
$n1->fails("ALTER TABLE d ADD COLUMN x drawn", '0A000', qr/volatile default/, "a column that would come out otherwise on each node: a domain's default");
$n1->fails("ALTER TABLE d ADD COLUMN x at", '0A000', qr/volatile default/, 'and another');
$n1->sql("ALTER TABLE d ADD COLUMN x today");
$n1->sql("INSERT INTO d VALUES (3)");
like($c->same_everywhere("SELECT id, x FROM d ORDER BY id", 'a stable one is computed once'), qr/^1\|2/, 'for the rows that are there');
is($c->same_everywhere("SELECT count(*) FROM pg_attrdef WHERE adrelid = 'd'::regclass", 'and is no default of the column'), 0, 'but of the domain');

# ---- a lock on a schema, held for ever -------------------------------------------------------
$n1->sql("${all}CREATE SCHEMA s");
$n1->sql("GRANT CREATE, USAGE ON SCHEMA s TO bob");
$n2->sql("SELECT paxos_barrier()");
my $holder = $n2->session;
$holder->query("SET ROLE bob; BEGIN; CREATE TABLE s.held (id int)");
$n1->sql("DROP SCHEMA s");
my $dropped = eval { $n2->poll_sql("SELECT count(*) = 0 FROM pg_namespace WHERE nspname = 's'"); 1 };
ok($dropped, 'an open transaction of a role does not hold up DROP SCHEMA for ever');
$holder->close;

# Who commits while the learner waits for him: that node says so, and no other answer than all.
$n1->sql("${all}CREATE SCHEMA s");
$n1->sql("GRANT CREATE, USAGE ON SCHEMA s TO bob");
$n2->sql("SELECT paxos_barrier()");
$holder = $n2->session;
$holder->query("SET ROLE bob; BEGIN; CREATE TABLE s.held (id int)");
my $learner = $n2->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n1->sql("DROP SCHEMA s");
$n2->poll_sql("SELECT chosen > applied FROM paxos.status");
my $waits = $n2->start_sql("SELECT pg_sleep(0.3)");
kill 'CONT', $learner;
$holder->query("COMMIT");
$n2->finish_sql($waits);
$n2->poll_sql("SELECT stuck OR chosen = applied FROM paxos.status");
$n2->sql("DROP TABLE IF EXISTS s.held");
$n2->poll_sql("SELECT count(*) = 0 FROM pg_namespace WHERE nspname = 's'");
is($c->same_everywhere("SELECT count(*) FROM paxos.objects WHERE identity = 's'", 'the schema'), 0, 'is gone on every node');
$holder->close;

# ---- rights that end between trial and slot ------------------------------------------------
sub while_learners_stand
{
	my @statements = @_;
	my @pids = map { $_->worker_pid('learner') } @n;
	my @running;
	PaxosCluster::stand_still(@pids);
	for my $s (@statements)
	{
		my ($node, $sql) = @$s;
		my $before = $node->sql("SELECT chosen FROM paxos.status");
		push @running, $node->start_sql($sql);
		$node->poll_sql("SELECT chosen > $before FROM paxos.status");
	}
	kill 'CONT', @pids;
	return map { $statements[$_][0]->finish_sql($running[$_], 40) } 0 .. $#running;
}
$n1->sql("${all}CREATE SCHEMA r");
$n1->sql("GRANT CREATE, USAGE ON SCHEMA r TO alice");
$n1->sql("SET ROLE alice; ${all}CREATE FUNCTION r.f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
$c->same_everywhere("SELECT count(*) FROM paxos.objects", 'objects');
my @r = while_learners_stand([$n1, "ALTER FUNCTION r.f() OWNER TO bob"],
	[$n1, "SET ROLE alice; CREATE OR REPLACE FUNCTION r.f() RETURNS int LANGUAGE sql AS 'SELECT 2'"]);
ok($r[0]{ok}, 'OWNER TO');
is($r[1]{sqlstate}, '42501', 'who has lost it meanwhile is told so') or diag($r[1]{err});
@r = while_learners_stand([$n1, "REVOKE CREATE ON SCHEMA r FROM alice"],
	[$n1, "SET ROLE alice; ${all}CREATE TYPE r.t AS ENUM ('a')"]);
is($r[1]{sqlstate}, '42501', 'so who may not create in the schema any more') or diag($r[1]{err});
$n1->sql("CREATE TABLE g (id int PRIMARY KEY) USING paxos; GRANT SELECT ON g TO alice WITH GRANT OPTION");
$c->await_equal;
@r = while_learners_stand([$n1, "REVOKE ALL ON g FROM alice"], [$n1, "SET ROLE alice; GRANT SELECT ON g TO bob"]);
ok($r[0]{ok}, 'a grant option is revoked');
is($r[1]{sqlstate}, '42501', 'and who has lost it meanwhile holds up nobody') or diag($r[1]{err});
$c->same_everywhere("SELECT relacl FROM pg_class WHERE relname = 'g'", 'privileges are the same');
$c->await_equal;
done_testing();
