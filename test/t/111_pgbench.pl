# pgbench as it comes: initialisation with the access method as default, and its own script
# from all nodes at once.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '10s'\n");
$c->await_leader;
my @n = $c->nodes;

sub pgbench
{
	my ($n, @options) = @_;
	open my $out, '-|', "PGOPTIONS='-c default_table_access_method=paxos' exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres @options postgres 2>&1"
	  or die "pgbench: $!";
	return $out;
}

# Twice: the second time it finds, and drops, what the first has made.
for my $time (1, 2)
{
	my $out = pgbench($n[0], '-i -q -s 1');
	my $said = join '', <$out>;
	ok(close $out, "pgbench -i, time $time") or diag $said;
	unlike($said, qr/ERROR|WARNING/, 'without a complaint');
}
$_->sql("SELECT paxos_barrier()") for @n;
is($_->sql("SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT count(*) FROM pgbench_tellers), (SELECT count(*) FROM pgbench_branches),"
		. " (SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid::regclass::text ~ '^pgbench')"), '100000|10|1|3', 'all rows and keys are there, on node ' . $_->id)
  for @n;
my @running = map { pgbench($_, '-n -c 2 -t 10 --max-tries=1000') } @n;
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	like($said, qr/number of transactions actually processed: 20\/20/, 'every transaction ended well') or diag $said;
}
$_->sql("SELECT paxos_barrier()") for @n;
for my $n (@n)
{
	is($n->sql("SELECT count(*) FROM pgbench_history"), 60, 'every transaction is there once, on node ' . $n->id);
	is($n->sql("SELECT count(DISTINCT s) FROM (VALUES ((SELECT sum(abalance) FROM pgbench_accounts)), ((SELECT sum(tbalance) FROM pgbench_tellers)),"
			. " ((SELECT sum(bbalance) FROM pgbench_branches)), ((SELECT sum(delta) FROM pgbench_history))) v(s)"), 1, 'balances add up');
}
is($n[0]->sql("SELECT count(*) FROM paxos.alarms"), 0, 'no alarm');
$c->await_equal;
done_testing();
