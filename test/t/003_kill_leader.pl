# kill -9 of the leader's postmaster and of all its children, under load from
# clients at all nodes, ten times in a row.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $rounds = $ENV{PAXOS_KILLS} // 10;
# Durable servers: this is the scene fsync exists for.
my $c = PaxosCluster->new(nodes => 3, fsync => 1);
$c->load_table;
$c->prepare_counts(6);

my $rows = $c->start_load(statement => $PaxosCluster::LOAD_INSERT, clients => 2);
my $counts = $c->start_load(statement => $PaxosCluster::LOAD_COUNT, clients => 2);
my @kills;
for my $round (1 .. $rounds)
{
	my $leader = $c->await_followers;
	$c->await_acknowledged($rows, 5, PaxosCluster::now());
	my $t = $leader->kill9;
	push @kills, $t;
	# Service is back when writes that were started after the kill succeed.
	$c->await_acknowledged($rows, 3, $t);
	$leader->start;
	PaxosCluster::poll('all three are connected', sub {
		my $l = $c->leader or return 0;
		return $l->sql("SELECT count(*) FROM paxos.members WHERE connected") == 3;
	});
}
my $r1 = $c->finish_load($rows);
my $r2 = $c->finish_load($counts);

my @gaps = map { $c->gap_ms($r1, $_) } @kills;
my $median = PaxosCluster::median(@gaps);
note(sprintf "without service after kill -9 of the leader, ms: %s; median %.0f",
	join(' ', map { sprintf '%.0f', $_ } @gaps), $median);
diag(sprintf "report: median time without service after kill -9 of the leader: %.0f ms (%s)", $median,
	join(' ', map { sprintf '%.0f', $_ } @gaps));
cmp_ok($median, '<', 500, 'median time without service is below 0.5 s');
my %o;
$o{ $_->[2] }++ for @$r1, @$r2;
note(join ', ', map { "$_: $o{$_}" } sort keys %o);
cmp_ok($o{A}, '>', 100, 'there was load');
$c->check_inserts($r1, 'rows');
$c->check_counts($r2, 'counters');
$c->same_everywhere("SELECT count(*), sum(op) FROM load_rows", 'all nodes hold the same rows');
done_testing;
