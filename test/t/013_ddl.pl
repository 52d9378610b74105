# Statements through the log on three nodes: one definition everywhere, whatever a
# node or a session has set; what is missing or in the way on one node holds up
# that node alone, says so, and heals; two nodes at once.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;

# How a table is defined, in words that do not depend on the session.
sub definition
{
	my ($table) = @_;
	return "SET DateStyle = 'ISO'; SET standard_conforming_strings = on; SELECT string_agg(d, ' | ' ORDER BY d) FROM ("
	  . "SELECT attname || ' ' || format_type(atttypid, atttypmod) || coalesce(' ' || pg_get_expr(adbin, adrelid), '') AS d"
	  . " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = '$table'::regclass AND attnum > 0"
	  . " UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '$table'::regclass"
	  . " UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '$table'::regclass"
	  . " UNION ALL SELECT relowner::regrole::text FROM pg_class WHERE oid = '$table'::regclass) x";
}

# ---- what a session or a node has set changes nothing --------------------------------
$n1->sql("ALTER DATABASE postgres SET DateStyle = 'SQL, DMY'");
$n2->sql("ALTER DATABASE postgres SET DateStyle = 'SQL, MDY'");
$n3->sql("ALTER DATABASE postgres SET search_path = pg_temp");
$n2->sql("ALTER DATABASE postgres SET default_table_access_method = paxos");
$n3->sql("ALTER DATABASE postgres SET standard_conforming_strings = off");
$n1->sql(q{CREATE TABLE public.said (id int PRIMARY KEY, d date CHECK (d > '03/04/2020'), t text DEFAULT 'a\b') USING paxos});
my $said = $c->same_everywhere(definition('public.said'), 'a definition means the same on every node');
like($said, qr/2020-04-03/, 'as the session meant it');
like($said, qr/a\\b/, 'a backslash too');
$n1->sql("SELECT paxos_upsert('public.said', '{\"id\": 1, \"d\": \"04/04/2020\"}')");
is($c->same_everywhere("SET DateStyle = 'ISO'; SELECT d, t FROM public.said", 'and so does a row'), '2020-04-04|a\b', 'as meant');
for my $n ($c->nodes) { $n->sql("ALTER DATABASE postgres RESET ALL"); }

# ---- nor does a role that every session of a node's database takes on -----------------
$n2->sql("CREATE ROLE modest; ALTER DATABASE postgres SET role = modest");
$n2->sql("SET ROLE NONE; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'paxos %' OR application_name LIKE 'paxos %'");
$n1->sql("INSERT INTO public.said SELECT 2, '2021-01-01', 'x'");
is($n1->sql("SELECT count(*) FROM paxos_verify('public.said') WHERE agrees"), '3', 'workers and connections between nodes keep their own rights');
$n2->sql("SET ROLE NONE; ALTER DATABASE postgres RESET ALL");

# ---- event triggers are a node's own -------------------------------------------------
$n2->sql("CREATE FUNCTION no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not here''; END'");
$n2->sql("CREATE EVENT TRIGGER no ON ddl_command_start EXECUTE FUNCTION no()");
$n1->sql("CREATE TABLE untriggered (id int PRIMARY KEY) USING paxos");
$n2->fails("CREATE TABLE triggered (id int PRIMARY KEY) USING paxos", 'P0001', qr/not here/, 'an event trigger meets who issues the statement there');
$c->same_everywhere(definition('untriggered'), 'but not the log');
$n2->sql("DROP EVENT TRIGGER no");

# ---- missing here, in the way there ----------------------------------------------------
# Said before anything is sent where the node can be asked (022_ddl_check.pl); these are down.
$_->sql("CREATE SCHEMA place") for $n1, $n3;
$n2->stop;
$c->await_leader;
$n1->sql("CREATE TABLE place.t (id int PRIMARY KEY) USING paxos");
$n2->start;
$n2->poll_sql("SELECT stuck AND stuck_why LIKE '%schema \"place\" does not exist%' FROM paxos.status");
pass('a missing schema is said');
$_->sql("CREATE SCHEMA second") for $n1, $n2;
$n3->sql("CREATE TABLE in_the_way (id int)");
$n3->stop;
$c->await_leader;
$n1->sql("CREATE TABLE second.t (id int PRIMARY KEY) USING paxos");
pass('a node whose learner is stuck votes on');
$n1->sql("CREATE TABLE in_the_way (id int PRIMARY KEY, v int) USING paxos");
$n3->start;
$n3->poll_sql("SELECT stuck AND stuck_why LIKE '%schema \"second\" does not exist%' FROM paxos.status");
is($n2->sql("SELECT stuck FROM paxos.status"), 't', 'two of three learners are stuck');
$n2->sql("CREATE SCHEMA place");
$n3->sql("CREATE SCHEMA second");
is($n2->sql_after_barrier("SELECT count(*) FROM pg_class WHERE relname = 'in_the_way'"), 1, 'a node without the obstacle is not held up');
$n3->poll_sql("SELECT stuck AND stuck_why LIKE '%in_the_way%is in the way%' FROM paxos.status");
$n3->fails("CREATE TABLE in_the_way (id int PRIMARY KEY) USING paxos", '42P07', qr/already exists/, 'a local table of that name is refused before it is sent');
$n3->sql("ALTER TABLE in_the_way RENAME TO out_of_the_way");
$c->same_everywhere(definition($_), "with the reasons gone they go on: $_") for qw(in_the_way place.t second.t);

# An index of another's: decided, the same for all.
$n2->sql("CREATE INDEX taken ON in_the_way (v)");
$c->await_equal;
$n3->fails("CREATE INDEX taken ON in_the_way (id)", '42P07', qr/already exists/, 'a name taken by an index');

# ---- by number, not by name -----------------------------------------------------------
$n2->sql("ALTER SCHEMA place RENAME TO elsewhere");
$n1->sql("CREATE INDEX on_t ON place.t (id)");
is($n1->sql("SELECT applied FROM paxos_upsert('place.t', '{\"id\": 1}')"), 't', 'a schema called otherwise on one node');
$n2->sql("SELECT paxos_barrier()");
is($n2->sql("SELECT count(*) FROM elsewhere.t"), 1, 'has the row there');
is($n2->sql("SELECT count(*) FROM pg_indexes WHERE schemaname = 'elsewhere' AND indexname = 'on_t'"), 1, 'and the index');
$n2->sql("DROP INDEX elsewhere.on_t");
$n1->sql("SELECT paxos_barrier()");
is($n1->sql("SELECT count(*) FROM pg_indexes WHERE indexname = 'on_t'"), 0, 'dropped by the other name');
$n1->sql("DROP TABLE place.t");
$c->same_everywhere("SELECT count(*) FROM paxos.tables", 'as many tables everywhere');
is($n2->sql("SELECT count(*) FROM pg_class WHERE relname = 't' AND relnamespace = 'elsewhere'::regnamespace"), 0, 'dropped there as well');

# ---- at once ---------------------------------------------------------------------------
for my $round (1 .. 8)
{
	my @h = map { [ $_, $_->start_sql("CREATE TABLE race (id int PRIMARY KEY, made_by int DEFAULT $_->{number}) USING paxos") ] } $c->nodes;
	my @r = map { $_->[0]->finish_sql($_->[1])->{sqlstate} } @h;
	is(join(' ', sort @r), '00000 42P07 42P07', "round $round: one of three creates the table");
	$c->same_everywhere(definition('race'), 'and all have that one');
	@h = map { [ $_, $_->start_sql("DROP TABLE race") ] } $c->nodes;
	@r = map { $_->[0]->finish_sql($_->[1])->{sqlstate} } @h;
	is(join(' ', sort @r), '00000 42P01 42P01', 'and one drops it');
}

# A session that is making a table of the same name, and takes its time.
my $maker = $n2->session;
$maker->query("BEGIN; CREATE TABLE slowly (id int)");
$n1->sql("CREATE TABLE slowly (id int PRIMARY KEY, mine int) USING paxos");
$c->same_everywhere(definition('slowly'), 'a local transaction with the name is not waited for');

# Writers on every node while the table goes and comes: each is told the truth.
$n1->sql("CREATE TABLE restless (id serial PRIMARY KEY, v int) USING paxos");
$c->await_equal;
my $h = $c->start_load(statement => q{SELECT applied FROM paxos_insert_if_not_exists('restless', jsonb_build_object('v', $1::int * 0 + $2::int * 0))},
	clients => 2, seconds => 5);
for my $round (1 .. 4)
{
	my $n = ($c->nodes)[ $round % 3 ];
	PaxosCluster::poll('dropped', sub { return $n->try("DROP TABLE IF EXISTS restless")->{ok}; });
	PaxosCluster::poll('created', sub { return $n->try("CREATE TABLE IF NOT EXISTS restless (id serial PRIMARY KEY, v int) USING paxos")->{ok}; });
	PaxosCluster::poll('indexed', sub { return $n->try("CREATE INDEX IF NOT EXISTS restless_v ON restless (v)")->{ok}; });
}
my $records = $c->finish_load($h);
cmp_ok(scalar(@$records), '>', 0, 'the writers were told something each time');
$c->same_everywhere("SELECT id, v FROM restless ORDER BY id", 'and every node has the same rows');
$c->same_everywhere(definition('restless'), 'and the same table');
is($n1->sql("SELECT count(*) = count(DISTINCT id) FROM restless"), 't', 'serial values are unique');

# ---- a session that sits on the table ---------------------------------------------------
my $s = $n2->session;
$s->query("BEGIN; SELECT count(*) FROM restless");
$n1->sql("DROP TABLE restless");
$n2->poll_sql("SELECT count(*) = 0 FROM pg_class WHERE relname = 'restless'");
pass('a transaction left open on one node does not keep the table there');
$c->await_equal;

done_testing;
