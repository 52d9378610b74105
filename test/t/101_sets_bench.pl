# pgbench's TPC-B from all nodes at once: balances add up, on all nodes alike.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '10s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql($_) for
  "CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88)) USING paxos",
  "CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84)) USING paxos",
  "CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84)) USING paxos",
  "CREATE TABLE pgbench_history (id bigserial PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamp, filler char(22)) USING paxos",
  "INSERT INTO pgbench_branches SELECT i, 0 FROM generate_series(1, 2) i",
  "INSERT INTO pgbench_tellers SELECT i, (i - 1) / 10 + 1, 0 FROM generate_series(1, 20) i",
  "INSERT INTO pgbench_accounts SELECT i, (i - 1) / 500 + 1, 0 FROM generate_series(1, 1000) i";
$c->await_equal;

# The script of tpcb-like; its own looks for the scale in the number of branches.
my $file = "$n[0]{dir}/tpcb.sql";
open my $f, '>', $file or die "$file: $!";
print $f <<'SQL';
\set aid random(1, 1000)
\set bid random(1, 2)
\set tid random(1, 20)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
SQL
close $f;

my @running;
for my $n (@n)
{
	# Not 'prepared': pgbench prepares in the middle of a transaction, and does not try again
	# what is overtaken there.
	for my $mode ('simple', 'extended')
	{
		open my $out, '-|',
		  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 2 -t 15 -M $mode --max-tries=1000 --failures-detailed postgres 2>&1"
		  or die "pgbench: $!";
		push @running, $out;
	}
}
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	like($said, qr/number of transactions actually processed: 30\/30/, 'every transaction ended well') or diag $said;
	note $1 if $said =~ /(number of transactions retried.*)/;
}
$_->sql("SELECT paxos_barrier()") for @n;
for my $n (@n)
{
	is($n->sql("SELECT count(*) FROM pgbench_history"), 180, "every transaction is there once, on node $n->{number}");
	is($n->sql("SELECT count(DISTINCT s) FROM (VALUES ((SELECT sum(abalance) FROM pgbench_accounts)),"
			. " ((SELECT sum(tbalance) FROM pgbench_tellers)), ((SELECT sum(bbalance) FROM pgbench_branches)),"
			. " ((SELECT sum(delta) FROM pgbench_history))) v(s)"),
		1, 'balances add up');
}
is($n[0]->sql("SELECT count(*) FROM paxos.alarms"), 0, 'no alarm');
$c->await_equal;
done_testing();
