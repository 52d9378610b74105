# Keys of which equal is not the same as alike: what certifies a set on one node can be
# applied on all.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '2s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql($_)
  for "CREATE TABLE number (n numeric PRIMARY KEY, u text UNIQUE) USING paxos",
  "CREATE TABLE part (id int PRIMARY KEY, u int, active bool NOT NULL, note text) USING paxos",
  "CREATE UNIQUE INDEX part_u ON part (u) WHERE active",
  "CREATE TABLE blank (id int PRIMARY KEY, v text) USING paxos",
  "CREATE UNIQUE INDEX blank_v ON blank (v bpchar_ops)",
  "CREATE TABLE one_null (id int PRIMARY KEY, v int, UNIQUE NULLS NOT DISTINCT (v)) USING paxos";
$c->await_equal;

# Two values of a primary key that are equal name one row, which is inserted once.
$n[0]->sql("BEGIN; INSERT INTO number VALUES (1.0, 'a'); UPDATE number SET n = 1.00; COMMIT");
is($c->same_everywhere("SELECT n, u FROM number", 'a new row, its key written otherwise'), '1.00|a', 'is one row');
$n[1]->sql_after_barrier("BEGIN; UPDATE number SET n = 1.000, u = 'b'; COMMIT");
is($c->same_everywhere("SELECT n, u FROM number", 'a row replaced, its key written otherwise'), '1.000|b', 'is one row');

# One row enters a partial index, where another leaves; the one that enters was met first.
$n[0]->sql("BEGIN; INSERT INTO part VALUES (1, 5, true), (2, 5, false); COMMIT");
$n[1]->sql_after_barrier("BEGIN; UPDATE part SET note = 'new' WHERE id = 2; UPDATE part SET active = false WHERE id = 1; UPDATE part SET active = true WHERE id = 2; COMMIT");
is($c->same_everywhere("SELECT string_agg(id::text || active, ' ' ORDER BY id) FROM part", 'rows that change places in a partial index'),
	'1false 2true', 'have done so');

# Without a value, where there may be one such row: who is in the way is ended.
my $s = $n[1]->session;
$s->query("BEGIN");
$s->query("INSERT INTO one_null VALUES (1)");
$n[0]->sql("INSERT INTO one_null VALUES (2)");
is($c->same_everywhere("SELECT id FROM one_null", 'NULLS NOT DISTINCT'), '2', 'the first to commit is there');
$s->close;

# An expression that the index's condition guards is not computed without it, also where
# somebody could be in the way.
$n[0]->sql("CREATE TABLE guarded (id int PRIMARY KEY, x int) USING paxos");
$n[0]->sql("CREATE UNIQUE INDEX guarded_x ON guarded ((100 / x)) WHERE x <> 0");
$c->await_equal;
$s = $n[1]->session;
$s->query("BEGIN");
$s->query("INSERT INTO one_null VALUES (3, 3)");
$n[0]->sql("INSERT INTO guarded VALUES (1, 0)");
is($c->same_everywhere("SELECT id FROM guarded", 'a guarded expression'), '1', 'the row is everywhere');
$s->close;

# Values that are equal by the index's operators, not by those of the column's type.
$s = $n[1]->session;
my $learner = $n[1]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
PaxosCluster::stand_still($learner);
$n[0]->sql("INSERT INTO blank SELECT 1, 'a'");
my $applied = $n[0]->sql("SELECT applied FROM paxos.replicated");
$s->query("BEGIN");
$s->query("INSERT INTO blank SELECT 2, 'a '");
$s->ask("COMMIT");
$n[0]->poll_sql("SELECT applied > $applied FROM paxos.replicated");
kill 'CONT', $learner;
like($s->answer, qr/40001/, 'equal but for blanks, on its way');
is($c->same_everywhere("SELECT id FROM blank", 'bpchar_ops'), '1', 'the first to commit is there');
$s->close;

# Read by a value that a collation says is equal to that of another row.
$n[0]->sql("CREATE COLLATION alike (provider = icu, locale = 'und-u-ks-level2', deterministic = false)");
$n[0]->sql("CREATE TABLE doctor (id text PRIMARY KEY, duty bool) USING paxos");
$n[0]->sql("INSERT INTO doctor SELECT unnest('{a,b}'::text[]), true");
$c->await_equal;
for my $case (['"C"', qr/^$/, 'by a collation that tells it apart was not'], ['alike', qr/40001/, 'by one that does not was'])
{
	my ($collation, $expected, $name) = @$case;
	$s = $n[0]->session;
	$s->query($_) for "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT duty FROM doctor WHERE id = 'A' COLLATE $collation";
	$n[1]->sql_after_barrier("UPDATE doctor SET duty = NOT duty WHERE id = 'a'");
	$s->query("UPDATE doctor SET duty = NOT duty WHERE id = 'b'");
	like($s->query("COMMIT"), $expected, "read $name");
	$s->close;
}

$c->await_equal;
done_testing();
