# What another node lacks to carry out a statement is said where it is issued,
# before anything is sent (paxos_ddl_check.c): no learner gets stuck.  A node
# that is down, silent or full is not asked, and does not make DDL impossible.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "max_connections = 60\npaxos.election_timeout = '20s'\npaxos.connect_timeout = '5s'");
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;
my %names = split /[|\n]/, $n1->sql("SELECT node_id, name FROM paxos.members");

# Refused, naming the node; nothing was sent; nobody is stuck, and the log goes on.
my $puts = 0;
sub refused
{
	my ($at, $node, $sql, $why, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = $c->await_equal;
	my $r = $at->try($sql);
	is($r->{sqlstate}, '55000', "$test: refused");
	like($r->{err}, qr/node "\Q$names{$node->{number}}\E" could not carry out the statement: $why/, 'it is said which node and why');
	like($r->{err}, qr/Nothing has been sent.*create there what is missing/s, 'and what to do');
	is($c->await_equal, $before, 'nothing was sent');
	$puts++;
	is($at->sql("SELECT applied FROM paxos_kv_put('after', '$puts')"), 't', 'the cluster goes on');
	is($c->same_everywhere("SELECT value, (SELECT stuck FROM paxos.status) FROM paxos.kv WHERE key = 'after'", 'on every node'), "$puts|f", 'nobody is stuck');
}

# ---- schema, role, privileges --------------------------------------------------------
my $make = "CREATE TABLE place.t (id int PRIMARY KEY, u int CONSTRAINT single UNIQUE) USING paxos";
$_->sql("CREATE SCHEMA place") for $n1, $n2;
refused($n1, $n3, $make, qr/schema "place" does not exist/, 'no schema');
$n3->sql("CREATE SCHEMA place");

$_->sql("CREATE ROLE keeper") for $n1, $n3;
$_->sql("GRANT ALL ON SCHEMA place TO keeper") for $n1, $n3;
my $kept = "SET ROLE keeper; $make";
refused($n3, $n2, $kept, qr/role "keeper" does not exist/, 'no role');
$n2->sql("CREATE ROLE keeper");
refused($n1, $n2, $kept, qr/role "keeper" has no USAGE privilege on schema "place"/, 'no right to use the schema');
$n2->sql("GRANT USAGE ON SCHEMA place TO keeper");
refused($n1, $n2, $kept, qr/role "keeper" has no CREATE privilege on schema "place"/, 'no right to create in it');
$n2->sql("GRANT CREATE ON SCHEMA place TO keeper");

# ---- in the way -------------------------------------------------------------------------
$n2->sql("CREATE TABLE place.t (id int)");
refused($n1, $n2, $kept, qr/relation "t" of that node is in the way in schema "place"/, 'a local table');
$n2->sql("DROP TABLE place.t; CREATE TYPE place.t AS ENUM ('x')");
refused($n1, $n2, $kept, qr/type "t" of that node is in the way/, 'a type');
$n2->sql("DROP TYPE place.t; CREATE SEQUENCE place.single");
refused($n1, $n2, $kept, qr/relation "single" of that node is in the way/, 'a sequence with the name of a key');
$n2->sql("DROP SEQUENCE place.single");
$n1->sql("CREATE SCHEMA two");
my $r = $n1->try("CREATE TABLE two.t (id int PRIMARY KEY) USING paxos");
like($r->{err}, qr/could not carry out.*Nor can node/s, 'all nodes that lack something are named');
$n1->sql($kept);
$c->same_everywhere("SELECT tableowner FROM pg_tables WHERE schemaname = 'place' AND tablename = 't'", 'with all in place it is created');

# The array type of a local type gives way at the slot, and so is not in the way.
$n2->sql("CREATE TYPE place.a AS ENUM ('x')");
$n1->sql("CREATE TABLE place._a (id int PRIMARY KEY) USING paxos");
is($c->same_everywhere("SELECT count(*) FROM paxos.tables JOIN pg_class c ON c.oid = relid WHERE relname = '_a'", 'a table with the name of an array type'), 1, 'is created');

# Indexes: where the table is on that node, whatever its schema is called there.
$n3->sql("ALTER SCHEMA place RENAME TO elsewhere");
$n3->sql("CREATE TABLE elsewhere.on_u (id int)");
refused($n1, $n3, "CREATE INDEX on_u ON place.t (u)", qr/relation "on_u" of that node is in the way in schema "elsewhere"/, 'the name of an index');
$n3->sql("DROP TABLE elsewhere.on_u; REVOKE CREATE ON SCHEMA elsewhere FROM keeper");
refused($n1, $n3, "CREATE INDEX on_u ON place.t (u)", qr/role "keeper" has no CREATE privilege on schema "elsewhere"/, 'the owner of the table');
$n3->sql("GRANT CREATE ON SCHEMA elsewhere TO keeper");
$n1->sql("CREATE INDEX on_u ON place.t (u)");
$c->same_everywhere("SELECT count(*) FROM pg_indexes WHERE indexname = 'on_u'", 'then it is created');

# What the log decides is its own affair.
$n2->fails("SET ROLE keeper; $make", '42P07', qr/already exists/, 'a consensus table of that name is no matter of one node');
$n2->sql("CREATE TABLE IF NOT EXISTS public.again (id int PRIMARY KEY) USING paxos");
$c->await_equal;
$n3->sql("CREATE TABLE IF NOT EXISTS public.again (id int PRIMARY KEY) USING paxos");
$n3->sql("DROP TABLE public.again");
$n3->sql("ALTER SCHEMA elsewhere RENAME TO place");

# ---- who may ask -------------------------------------------------------------------------
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.node");
my $question = "SELECT paxos.check_statement('$cluster', 1, 2, 'place', 'keeper', NULL, '{new}')";
is($n1->sql("$question IS NULL"), 't', 'a member is answered');
$n1->fails("SET ROLE keeper; $question", '42501', qr/permission denied/, 'only peers may ask');
$n1->fails($question =~ s/1, 2/1, 0/r, '55000', qr/node 0 is no member/, 'no stranger is answered');
$n1->fails($question =~ s/1, 2/99, 2/r, '0A000', qr/protocol version/, 'nor one of another version');
$n1->fails($question =~ s/\{new\}/{}/r, '2202E', qr/one-dimensional/, 'a question without a name');

# ---- behind -------------------------------------------------------------------------------
# A member that has not heard of what has just been made is waited for, and else not asked.
$c->await_equal;
for my $case ([ "CREATE SCHEMA young", "CREATE TABLE young.t (id int PRIMARY KEY) USING paxos" ],
	[ "CREATE TABLE young.u (id int PRIMARY KEY) USING paxos", "CREATE VIEW young.v AS SELECT * FROM young.u" ])
{
	my ($first, $second) = @$case;
	my $learner = $n3->worker_pid('learner');
	PaxosCluster::stand_still($learner);
	$n1->sql("SET paxos.ddl = 'all'; $first");
	my $h = $n1->start_sql($second);
	$n3->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'paxos_ext check' AND wait_event_type = 'Extension'");
	kill 'CONT', $learner;
	is($n1->finish_sql($h)->{err}, '', "$first, on its way to a member: $second");
	$c->await_equal;
}
my $learner = $n3->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n1->sql("CREATE TABLE young.w (id int PRIMARY KEY) USING paxos");
my $young = $n1->try("CREATE VIEW young.x AS SELECT * FROM young.w");
kill 'CONT', $learner;
is($young->{err}, '', 'a member that stays behind is not asked');
$c->await_equal;
$n1->sql("DROP VIEW young.x, young.v; DROP TABLE young.t, young.u, young.w");

# ---- full, silent, down -------------------------------------------------------------------
# Connections are closed on every path.
for my $n ($c->nodes)
{
	$n->poll_sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'paxos_ext check'", 0);
}
pass('no connection is left');

# Full: it takes no further connection of that role.
$n1->sql("CREATE SCHEMA crowd");
$n2->sql("CREATE SCHEMA crowd");
$n3->sql("ALTER ROLE node CONNECTION LIMIT 0");
$n1->sql("CREATE TABLE crowd.t (id int PRIMARY KEY) USING paxos");
$n3->poll_sql("SELECT stuck AND stuck_why LIKE '%schema \"crowd\" does not exist%' FROM paxos.status");
pass('a node that takes no further connection is not asked');
$n3->sql("ALTER ROLE node CONNECTION LIMIT -1; CREATE SCHEMA crowd");
$c->same_everywhere("SELECT count(*) FROM crowd.t", 'and follows when it has what it lacked');

# Silent: the machine answers, no process does.
my ($silent) = grep { $_ != $n1 && $_ != $c->leader } $c->nodes;
$silent->sigstop;
$n1->sql("CREATE TABLE while_silent (id int PRIMARY KEY) USING paxos");
pass('with a silent node DDL goes on');
my $s = $n1->session;
$s->ask("CREATE TABLE interrupted (id int PRIMARY KEY) USING paxos");
$n1->poll_sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $s->{pid} AND wait_event IN ('PaxosNodeConnect', 'Extension')", 1);
$n1->sql("SELECT pg_cancel_backend($s->{pid})");
like($s->answer, qr/57014/, 'the wait for it can be cancelled');
$silent->sigcont;
is($c->same_everywhere("SELECT count(*) FROM pg_class WHERE relname = 'interrupted'", 'the same everywhere'), 0, 'and nothing was sent');

# Down: said later, by that node alone.
$_->sql("CREATE SCHEMA late") for $n1, $n2;
$n3->stop;
$c->await_leader;
$n1->sql("CREATE TABLE late.t (id int PRIMARY KEY) USING paxos");
is($n2->sql_after_barrier("SELECT count(*) FROM late.t"), 0, 'with one of three nodes down DDL goes on');
$n1->sql("CREATE SCHEMA later");
$r = $n1->try("CREATE TABLE later.t (id int PRIMARY KEY) USING paxos");
like($r->{err}, qr/node "\Q$names{$n2->id}\E" could not.*schema "later"/, 'the one that is there is asked');
$n3->start;
$n3->poll_sql("SELECT stuck AND stuck_why LIKE '%schema \"late\" does not exist%' FROM paxos.status");
$n3->sql("CREATE SCHEMA late");
$c->same_everywhere("SELECT count(*) FROM late.t", 'it comes back, says what it lacks, and follows');

done_testing;
