# Triggers of a consensus table are switched off and on, and its columns' sequences told where
# to go on: on all nodes, and for a newcomer that gets a snapshot.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my ($n1, $n2, $n3) = my @n = $c->nodes;

$n1->sql($_)
  for "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s serial, v int) USING paxos",
  "CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v * 2; RETURN NEW; END'",
  "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION double()",
  "CREATE TRIGGER b BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION double()";
$c->await_equal;
my $enabled = "SELECT string_agg(tgname || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 't'::regclass AND NOT tgisinternal";
my $ours = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgisinternal AND tgenabled = 'A'";

sub v { return $_[0]->sql_after_barrier("INSERT INTO t (v) VALUES (1) RETURNING v"); }

is(v($n2), 4, 'both fire');
$n1->sql("ALTER TABLE t DISABLE TRIGGER a");
$c->same_everywhere($enabled, 'one is off');
is(v($n2), 2, 'and does not fire on another node');
$n2->sql("ALTER TABLE t ENABLE ALWAYS TRIGGER a, DISABLE TRIGGER b");
is($n3->sql("SELECT paxos_barrier() > 0; $enabled"), "t\naA bD", 'two at once');
$n3->sql("ALTER TABLE t DISABLE TRIGGER ALL");
is(v($n1), 1, 'ALL: none fires');
is($n1->sql($ours), 3, 'but what captures changes');
$c->same_everywhere("SELECT count(*), sum(v) FROM t", 'and what was written is everywhere');
$n1->sql("ALTER TABLE t ENABLE TRIGGER USER");
is(v($n3), 4, 'USER: both fire again');
$n1->fails("ALTER TABLE t DISABLE TRIGGER nosuch", '42704', qr/trigger "nosuch" for table "t" does not exist/, 'no such trigger');
my $own = $n1->sql("SELECT min(tgname) FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgisinternal");
$n1->fails(qq(ALTER TABLE t DISABLE TRIGGER "$own"), '42501', qr/is a system trigger/, 'one of ours');
$n1->fails("ALTER TABLE t DISABLE TRIGGER a, ADD COLUMN x int", '0A000', qr/together with something else/, 'mixed');
$n1->sql($_)
  for "CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t) USING paxos", "ALTER TABLE child DISABLE TRIGGER USER";
$n1->fails("ALTER TABLE child DISABLE TRIGGER ALL", '0A000', qr/triggers of foreign keys/, 'foreign keys stay');
$c->await_equal;
$n2->fails("INSERT INTO child VALUES (1, 12345)", '23503', qr/child_t_fkey/, 'and hold');

# Sequences.
$n1->sql("ALTER SEQUENCE t_s_seq RESTART WITH 1000");
is(join(' ', map { $_->sql_after_barrier("INSERT INTO t (v) VALUES (0) RETURNING s") } @n), join(' ', map { 1000 + ($_ - 1000) % 32 } 1 .. 3),
	'a serial column goes on there, each node with its own values');
$n2->sql_after_barrier("ALTER TABLE t ALTER COLUMN id RESTART WITH 500 SET CACHE 5");
is(join(' ', map { $_->sql_after_barrier("INSERT INTO t (v) VALUES (0) RETURNING id") } @n), join(' ', map { 500 + ($_ - 500) % 32 } 1 .. 3), 'an identity column');
$c->same_everywhere("SELECT cache_size FROM pg_sequences WHERE sequencename = 't_id_seq'", 'CACHE');
$n3->sql_after_barrier("ALTER SEQUENCE t_s_seq START WITH 64");
$n3->sql("ALTER SEQUENCE t_s_seq RESTART");
is(join(' ', map { $_->sql_after_barrier("INSERT INTO t (v) VALUES (0) RETURNING s") } @n), '65 66 67', 'RESTART goes to START');
$n1->fails("ALTER SEQUENCE t_s_seq $_", '0A000', qr/this change of a sequence is not supported.*counts in steps of 32/s, "refused: $_")
  for 'INCREMENT BY 5', 'MAXVALUE 100', 'CYCLE', 'AS bigint';
$n1->fails("ALTER SEQUENCE t_s_seq RESTART WITH 2147483640", '22023', qr/RESTART value/, 'too near to the end');
$n1->fails("ALTER TABLE t ALTER COLUMN v RESTART", '55000', qr/is not an identity column/, 'no identity column');

# A member that comes later.
$n1->sql("ALTER TABLE t DISABLE TRIGGER b");
$n1->sql("INSERT INTO t (v) VALUES ($_)") for 1 .. 60;
$c->await_equal;
my $n4 = $c->add_newcomer('four', cut => 10);
is($n4->sql($enabled), $n1->sql($enabled), 'a newcomer: what is off is off');
$c->same_everywhere("SELECT count(*), sum(s), sum(id) FROM t", 'the same rows');
$c->await_equal;
is($_->sql("SELECT count(*) FROM paxos.alarms"), 0, "no alarm on node $_->{number}") for @n;
done_testing;
