# Write sets too large for one command: they go in parts, and take effect whole or not at
# all, on all nodes alike; TRUNCATE.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql($_)
  for "CREATE TABLE big (id int PRIMARY KEY, a int, filler text) USING paxos",
  "CREATE TABLE two (id serial PRIMARY KEY, u int UNIQUE, filler text) USING paxos";
$c->await_equal;

sub everywhere
{
	my ($sql, $expected, $name) = @_;
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql($sql), $expected, "$name, on node $_->{number}") for @n;
}

# None is kept once its set is over, whatever became of it.
sub nothing_left
{
	$_->poll_sql("SELECT count(*) = 0 FROM paxos.set_part") for @n;
	pass($_[0]);
}

# Rows of many parts, from a file's worth of COPY; another origin's writes come between them.
my $lines = join '', map { "$_\t" . ($_ % 100) . "\t" . 'x' x 60 . "\n" } 1 .. 50000;
my $file = "$n[0]{dir}/rows";
open my $f, '>', $file or die "$file: $!";
print $f $lines;
close $f;
chmod 0644, $file;
my $t = PaxosCluster::now();
my $before = $n[0]->sql("SELECT applied FROM paxos.status");
$n[0]->sql("COPY big FROM '$file'");
note sprintf "50000 rows: %.2f s", PaxosCluster::now() - $t;
my $after = $n[0]->sql("SELECT applied FROM paxos.status");
cmp_ok($after - $before, '>=', 8, 'it went in parts');
everywhere("SELECT count(*), sum(a), count(DISTINCT id) FROM big", '50000|2475000|50000', 'a set of several parts');
nothing_left('nothing of it is kept');

# Many rows updated, deleted, exchanged; savepoints rolled back beyond what memory holds.
my $s = $n[1]->session;
is($s->query($_), '', $_)
  for "BEGIN", "UPDATE big SET a = -1 WHERE id <= 20000", "SAVEPOINT a", "UPDATE big SET a = -2 WHERE id > 20000", "DELETE FROM big WHERE id <= 100",
  "ROLLBACK TO a", "DELETE FROM big WHERE id > 40000", "SAVEPOINT b", "UPDATE big SET a = -3 WHERE id <= 5", "RELEASE b", "COMMIT";
everywhere("SELECT count(*), sum(a), max(id) FROM big", '40000|' . (-20000 - 10 + 990000) . '|40000', 'updates and deletes in parts, without what was rolled back');
$n[2]->sql("INSERT INTO two (u, filler) SELECT i, repeat('y', 100) FROM generate_series(1, 8000) i");
$n[2]->sql("BEGIN; UPDATE two SET u = u + 10000; UPDATE two SET u = 18001 - u; COMMIT");
everywhere("SELECT count(*), sum(u), sum((u = 1)::int) FROM two", '8000|32004000|1', 'unique values changed places in parts');
$c->await_equal;

# First committer wins.
$s->query("BEGIN");
$s->query("UPDATE big SET a = 700 WHERE id <= 16000");
$n[0]->sql("UPDATE big SET a = 800 WHERE id IN (15999, 16001)");
like($s->end, qr/40001/, 'overtaken in one of its rows');
everywhere("SELECT count(*) FILTER (WHERE a = 700), count(*) FILTER (WHERE a = 800) FROM big", '0|2', 'nothing of it');

# The session commits, and has sent a part; it hears nothing of it, for its learner stands.
sub held_at_part
{
	my ($session) = @_;
	my $learner = $n[1]->worker_pid('learner');
	PaxosCluster::stand_still($learner);
	$session->ask("COMMIT");
	$n[2]->poll_sql("SELECT count(*) > 0 FROM paxos.set_part WHERE origin = 2");
	return $learner;
}

# Cancelled, and terminated, in the middle of its parts: it has not been, and is not kept.
for my $how ('cancel', 'terminate')
{
	my $victim = $n[1]->session;
	my $pid = $victim->query("SELECT pg_backend_pid()");
	$victim->query("BEGIN");
	$victim->query("UPDATE big SET a = a + 1000");
	my $learner = held_at_part($victim);
	$n[1]->sql("SELECT pg_${how}_backend($pid)");
	kill 'CONT', $learner;
	like($victim->answer, $how eq 'cancel' ? qr/57014/ : qr/57P01|terminat|closed/, "$how: not sent");
	$victim->close;
	nothing_left("$how: nothing is kept");
}
everywhere("SELECT count(*) FILTER (WHERE a > 990) FROM big", '0', 'and nothing of it is there');

# The origin is killed in the middle: its parts go when it is back.
my $victim = $n[1]->session;
$victim->query("BEGIN");
$victim->query("UPDATE big SET a = a + 1000");
held_at_part($victim);
$n[1]->kill9;
$n[0]->sql("UPDATE big SET a = 9 WHERE id = 9");
cmp_ok($n[0]->sql("SELECT count(*) FROM paxos.set_part"), '>', 0, 'the parts of a node that is away are there');
$n[1]->start;
$n[1]->poll_sql("SELECT leader IS NOT NULL FROM paxos.status");
nothing_left('they go when it lives again');
everywhere("SELECT count(*) FILTER (WHERE a > 900), sum((id = 9 AND a = 9)::int) FROM big", '0|1', 'nothing of it, and what was done meanwhile');

# TRUNCATE, with rows before and after it, and rolled back.
$s = $n[2]->session;
is($s->query($_), '', $_)
  for "BEGIN", "INSERT INTO two (u) VALUES (-1)", "TRUNCATE two RESTART IDENTITY", "INSERT INTO two (u) VALUES (-2)", "SAVEPOINT a", "TRUNCATE big", "ROLLBACK TO a",
  "COMMIT";
everywhere("SELECT (SELECT string_agg(id || ':' || u, ' ') FROM two), (SELECT count(*) FROM big)", '3:-2|40000', 'one table is new, the other as before');
is($n[0]->sql("INSERT INTO two (u) VALUES (1) RETURNING id"), 1, 'sequences began again: node 1');
is($n[1]->sql("INSERT INTO two (u) VALUES (2) RETURNING id"), 2, 'sequences began again: node 2');
is($s->query($_), '', $_) for "BEGIN", "TRUNCATE big";
like($s->query("COPY big FROM '$file' (FREEZE)"), qr/^$|COPY/, 'COPY FREEZE behind TRUNCATE');
is($s->query("COMMIT"), '', 'COMMIT');
everywhere("SELECT count(*), sum(a) FROM big", '50000|2475000', 'TRUNCATE and COPY in one transaction');

# A table without a primary key, emptied once more where it is new: what stood there before is
# not sent, and what stands there in its place is sent once.
$n[0]->sql("CREATE TABLE keyless (a int) USING paxos");
$c->await_equal;
is($s->query($_), '', $_)
  for "BEGIN", "INSERT INTO keyless SELECT 1 FROM generate_series(1, 10)", "TRUNCATE keyless", "INSERT INTO keyless SELECT 2 FROM generate_series(1, 30000)",
  "TRUNCATE keyless", "INSERT INTO keyless SELECT 3 FROM generate_series(1, 20000)", "SAVEPOINT a", "TRUNCATE keyless", "INSERT INTO keyless VALUES (4)", "ROLLBACK TO a",
  "COMMIT";
everywhere("SELECT count(*), min(a), max(a) FROM keyless", '20000|3|3', 'rows without a key');

# A change of another node meets TRUNCATE.
$s->query("BEGIN");
$s->query("TRUNCATE two");
$n[0]->sql("INSERT INTO two (u) VALUES (77)");
like($s->query("COMMIT"), qr/4000[13]/, 'TRUNCATE loses against an earlier change');
everywhere("SELECT count(*) FROM two", '4', 'and is not there');

# Temporary tables are nobody's business.
is($s->query($_), '', $_)
  for "CREATE TEMP TABLE mine (id int)", "BEGIN", "INSERT INTO two (u) VALUES (88)", "INSERT INTO mine VALUES (1)", "TRUNCATE mine", "CREATE INDEX ON mine (id)", "DROP TABLE mine", "COMMIT";

# Limits say what to do.
$n[0]->fails("INSERT INTO big SELECT -1, 1, string_agg(md5(i::text), '') FROM generate_series(1, 40000) i", '54000', qr/row of table "big" is too large.*HINT:  Divide/s, 'a row too large');
is($n[0]->sql("SELECT count(*) FROM paxos.alarms"), 0, 'no alarm');
$_->close for $s, $victim;
$c->await_equal;
done_testing();
