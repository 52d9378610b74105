# What a node has of its own - names of sequences and types, functions, privileges given by
# sweeping statements - neither holds up the log nor makes definitions differ.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;
$_->sql("CREATE SCHEMA b; CREATE ROLE clerk; CREATE TABLE b.mine (id int)") for $n1, $n2, $n3;

# ---- SET SCHEMA: names that nobody chose are taken ---------------------------------------
# The sequence of another consensus table, the row type of one, the array type of one.
$n1->sql("CREATE TABLE b.t (id serial PRIMARY KEY) USING paxos");
$n1->sql("ALTER TABLE b.t RENAME TO t2");
$n1->sql("ALTER INDEX b.t_pkey RENAME TO t2_pkey");
$n1->sql("CREATE TABLE b._t (id int PRIMARY KEY) USING paxos");
$n1->sql("CREATE TABLE t (id serial PRIMARY KEY, v int) USING paxos");
$n1->sql("INSERT INTO t (v) VALUES (1)");
$n1->sql("ALTER TABLE t SET SCHEMA b");
$n2->sql_after_barrier("INSERT INTO b.t (v) VALUES (2)");
is($c->same_everywhere("SELECT count(*) FROM b.t", 'a table moves to where its sequence and array type cannot keep their names'), 2, 'with its rows');
is($n1->sql("SELECT count(DISTINCT id) FROM b.t"), 2, 'and draws numbers');
$n1->sql("CREATE TABLE b.f (id int PRIMARY KEY) USING paxos");
$n1->sql("CREATE TABLE _f (id int PRIMARY KEY) USING paxos");
$n1->sql("ALTER TABLE _f SET SCHEMA b");
$n1->sql("INSERT INTO b._f VALUES (1)");
is($c->same_everywhere("SELECT array_agg(f)::text || (SELECT array_agg(g) FROM b._f g)::text FROM b.f", 'an array type gives way to a row type'), '', 'both are there');

# A sequence of this node alone.
$n3->sql("CREATE SEQUENCE b.s_id_seq");
$n1->sql("CREATE TABLE s (id serial PRIMARY KEY) USING paxos");
$n1->sql("ALTER TABLE s SET SCHEMA b");
$n3->sql_after_barrier("INSERT INTO b.s DEFAULT VALUES");
$c->same_everywhere("SELECT count(*) FROM b.s", 'a sequence of one node holds nobody up');
$n1->sql("CREATE DOMAIN b.w AS int; CREATE DOMAIN v AS int");
$n1->sql("CREATE TABLE w (id int PRIMARY KEY) USING paxos");
$n1->fails("ALTER TABLE w SET SCHEMA b", '42710', qr/type "w" already exists/, 'a type in the way of SET SCHEMA is seen before anything is sent');
$n1->fails("ALTER TABLE w RENAME TO v", '42710', qr/type "v" already exists/, 'and of RENAME');

# ---- a trigger function that is none on one node -------------------------------------------
$n1->sql("CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'");
my $trigger = "CREATE TRIGGER stamp BEFORE INSERT ON w FOR EACH ROW EXECUTE FUNCTION stamp()";
my $not_one = "CREATE FUNCTION stamp() RETURNS int LANGUAGE sql AS 'SELECT 1'";
$n3->sql($not_one);
$n1->fails($trigger, '55000', qr/stamp\(\) of that node does not return type trigger/, 'a function of that name that is not for triggers');
$n3->sql("DROP FUNCTION stamp()");
my $learner = $n3->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n1->sql($trigger);
$n3->sql($not_one);
my $log = $n3->log_size;
kill 'CONT', $learner;
PaxosCluster::poll('the learner says what is the matter', sub { $n3->log_since($log) =~ /stamp\(\) of this node does not return type trigger/ });
$n3->sql("DROP FUNCTION stamp()");
is($c->same_everywhere("SELECT count(*) FROM pg_trigger WHERE tgname = 'stamp'", 'one made meanwhile'), 1, 'holds that node up and decides nothing');

# ---- statements that would change consensus tables here only -------------------------------
$n1->sql("GRANT SELECT ON b.t TO clerk");
$n1->fails("GRANT INSERT ON ALL TABLES IN SCHEMA b TO clerk", '0A000', qr/cannot change privileges on all tables of schema "b"/, 'GRANT ON ALL TABLES');
$n1->fails("REVOKE ALL ON ALL SEQUENCES IN SCHEMA b FROM clerk", '0A000', qr/belongs to a consensus-backed table/, 'REVOKE ON ALL SEQUENCES');
$n1->fails("DROP OWNED BY clerk", '0A000', qr/role "clerk" .* has privileges on consensus-backed "t"/, 'DROP OWNED BY who has privileges');
is($c->same_everywhere("SELECT has_table_privilege('clerk', 'b.t', 'SELECT') || ' ' || has_table_privilege('clerk', 'b.t', 'INSERT')", 'privileges'), 'true false', 'are as they were');
$n1->sql("REVOKE ALL ON b.t FROM clerk");
$n1->sql("CREATE SCHEMA plain; CREATE TABLE plain.x (id serial); GRANT SELECT ON ALL TABLES IN SCHEMA plain TO clerk; GRANT USAGE ON ALL SEQUENCES IN SCHEMA plain TO clerk; DROP OWNED BY clerk");
is($n1->sql("SELECT has_table_privilege('clerk', 'plain.x', 'SELECT')"), 'f', 'ordinary ones are as ever');
$n1->fails("ALTER EXTENSION plpgsql ADD TABLE w", '0A000', qr/ALTER EXTENSION ADD is not supported/, 'a table that an extension would keep here');
$n2->sql_after_barrier("DROP TABLE w");
is($c->same_everywhere("SELECT to_regclass('w') IS NULL", 'nothing'), 't', 'is in the way of DROP TABLE');

# ---- paxos_txn() written for another definition --------------------------------------------
$n1->sql("CREATE TABLE u (id int PRIMARY KEY) USING paxos");
$c->await_equal;
$learner = $n2->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n1->sql("ALTER TABLE u ADD COLUMN w int NOT NULL DEFAULT 3");
my $h = $n2->start_sql(q{SELECT paxos_txn('[]', '[{"op": "insert", "table": "u", "row": {"id": 1}}]', '[]', '00000000-0000-0000-0000-000000000001')});
$n1->poll_sql("SELECT count(*) = 1 FROM paxos.log WHERE slot > (SELECT max(slot) FROM paxos.log WHERE description LIKE 'ALTER TABLE public.u%')");
kill 'CONT', $learner;
is($n2->finish_sql($h)->{sqlstate}, '00000', 'paxos_txn() makes its command anew, under its request id');
is($c->same_everywhere("SELECT string_agg(u::text, '') FROM u", 'once'), '(1,3)', 'with the defaults of what is there now');
is($n2->sql("SELECT outcome FROM paxos_outcome('00000000-0000-0000-0000-000000000001')"), 'applied', 'and that is remembered');
$c->await_equal;
done_testing;
