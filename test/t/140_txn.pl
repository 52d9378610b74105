# paxos_txn(): guards over rows of several tables and one list of operations or the
# other, at one slot.  Three nodes at once transfer; nothing is overdrawn, nothing lost.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = $c->nodes;

# No CHECK on the balance: what keeps it from falling below zero is the guard alone.
$n[0]->sql("CREATE TABLE purse (id int PRIMARY KEY, balance int NOT NULL) USING paxos");
$n[0]->sql("CREATE TABLE counter (what text PRIMARY KEY, n int NOT NULL) USING paxos");
$n[0]->sql("INSERT INTO purse SELECT i, 20 FROM generate_series(1, 5) i");
$n[0]->sql("INSERT INTO counter VALUES ('made', 0), ('refused', 0)");
$c->await_equal;

my $file = "$n[0]{dir}/transfer.sql";
open my $f, '>', $file or die "$file: $!";
print $f <<'SQL';
\set a random(1, 5)
\set b 1 + (:a + random(0, 3)) % 5
\set amount random(1, 15)
SELECT paxos_txn(jsonb_build_array(
         jsonb_build_object('table', 'purse', 'key', jsonb_build_object('id', :a), 'where', jsonb_build_object('balance >=', :amount)),
         jsonb_build_object('table', 'purse', 'key', jsonb_build_object('id', :b))),
       jsonb_build_array(
         jsonb_build_object('op', 'update', 'table', 'purse', 'key', jsonb_build_object('id', :a), 'set', jsonb_build_object('balance -=', :amount)),
         jsonb_build_object('op', 'update', 'table', 'purse', 'key', jsonb_build_object('id', :b), 'set', jsonb_build_object('balance +=', :amount)),
         '{"op": "update", "table": "counter", "key": {"what": "made"}, "set": {"n +=": 1}}'::jsonb),
       '[{"op": "update", "table": "counter", "key": {"what": "refused"}, "set": {"n +=": 1}}]');
SQL
close $f;
my @running;
for my $n (@n)
{
	open my $out, '-|',
	  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 3 -t 60 postgres 2>&1" or die "pgbench: $!";
	push @running, $out;
}
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	unlike($said, qr/ERROR|FATAL|aborted/, 'no client met an error');
	like($said, qr/number of transactions actually processed: 180\/180/, 'every transaction ended well');
}
$_->sql("SELECT paxos_barrier()") for @n;
is($_->sql("SELECT sum(balance), min(balance) >= 0 FROM purse"), '100|t', "the sum is what it was, nothing overdrawn, on node $_->{number}") for @n;
is($n[0]->sql("SELECT sum(n), min(n) > 0 FROM counter"), '540|t', 'each transaction ran one list; both have run');
$c->same_everywhere("SELECT string_agg(id || ':' || balance, ' ' ORDER BY id) FROM purse", 'all nodes are equal');

# A batch under a condition, from all nodes at once: one of them makes all of its rows.
open $f, '>', $file or die "$file: $!";
print $f <<'SQL';
\set try random(1, 1000000)
SELECT paxos_txn('[{"table": "counter", "key": {"what": "seat 1"}, "exists": false}, {"table": "counter", "key": {"what": "seat 2"}, "exists": false}]',
       jsonb_build_array(
         jsonb_build_object('op', 'insert', 'table', 'counter', 'row', jsonb_build_object('what', 'seat 1', 'n', :try)),
         jsonb_build_object('op', 'insert', 'table', 'counter', 'row', jsonb_build_object('what', 'seat 2', 'n', :try))));
SQL
close $f;
@running = ();
for my $n (@n)
{
	open my $out, '-|',
	  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 2 -t 5 postgres 2>&1" or die "pgbench: $!";
	push @running, $out;
}
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	like($said, qr/actually processed: 10\/10/, 'every attempt ended well');
}
$_->sql("SELECT paxos_barrier()") for @n;
is($_->sql("SELECT count(*), count(DISTINCT n) FROM counter WHERE what LIKE 'seat%'"), '2|1', "both seats are one client's, on node $_->{number}") for @n;

# An ordinary transaction that changed one of its rows, here or elsewhere, was overtaken (and
# may have been ended for it); one of the rows it only looked at was not.
for my $n ($n[0], $n[1])
{
	$n[0]->sql("UPDATE purse SET balance = 50 WHERE id IN (1, 2)");
	$_->sql("SELECT paxos_barrier()") for @n;
	my $s = $n->session;
	$s->query("BEGIN");
	$s->query("UPDATE purse SET balance = balance + 1 WHERE id = 1");
	$n[2]->sql(q{SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": 7}}]')});
	like($s->end, qr/40001|57P01/, 'who changed a row that paxos_txn() has changed since is told so');
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql("SELECT balance FROM purse WHERE id = 1"), '7', "and has changed nothing, on node $_->{number}") for @n;
	$s = $n->session;
	$s->query("BEGIN");
	$s->query("UPDATE purse SET balance = balance + 1 WHERE id = 2");
	like($n[2]->sql(q{SELECT paxos_txn('[{"table": "purse", "key": {"id": 2}, "where": {"balance": 50}}]', '[{"op": "get", "table": "purse", "key": {"id": 2}}, {"op": "update", "table": "counter", "key": {"what": "made"}, "set": {"n": 0}}]')}),
		qr/"succeeded": true/, 'a guard sees what is decided');
	is($s->query("COMMIT"), '', 'and stands in nobody\'s way');
}

# A transaction on its way that has not seen it yet: the verdict at its slot knows of it, by
# the keys that paxos_txn() changed and by no others.
my $learner = $n[1]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
my $s = $n[1]->session;
for my $case ([1, 7, qr/40001/, 'overtaken on its way'], [2, 52, qr/^$/, 'a row only looked at does not overtake'])
{
	my ($id, $balance, $answer, $name) = @$case;
	PaxosCluster::stand_still($learner);
	$n[0]->sql(q{SELECT paxos_txn('[{"table": "purse", "key": {"id": 2}}]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": 7}}, {"op": "get", "table": "purse", "key": {"id": 2}}]')});
	my $applied = $n[0]->sql("SELECT applied FROM paxos.replicated");
	$s->query("BEGIN");
	$s->query("UPDATE purse SET balance = balance + 1 WHERE id = $id");
	$s->ask("COMMIT");
	$n[0]->poll_sql("SELECT applied > $applied FROM paxos.replicated");
	kill 'CONT', $learner;
	like($s->answer, $answer, $name);
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql("SELECT balance FROM purse WHERE id = $id"), $balance, "what is there agrees, on node $_->{number}") for @n;
}

# A table dropped while it was on its way: all of it fails, and nothing is done.
$n[0]->sql("CREATE TABLE gone (id int PRIMARY KEY) USING paxos");
$c->await_equal;
$learner = $n[2]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
PaxosCluster::stand_still($learner);
$n[0]->sql("DROP TABLE gone");
my $late = $n[2]->session;
$late->ask(q{SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": 0}}]', '[{"op": "insert", "table": "gone", "row": {"id": 1}}]')});
$n[2]->poll_sql("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $late->{pid}");
kill 'CONT', $learner;
like($late->answer, qr/42P01/, 'a table that is gone at the slot');
is($n[2]->sql("SELECT balance FROM purse WHERE id = 1"), '7', 'and nothing was done');
like($n[1]->sql("SELECT string_agg(description, E'\\n') FROM paxos.log"), qr/if exists .*purse \(\d\) if 1 condition and 1 more then update /, 'the log says what it was');
$c->await_equal;

done_testing;
