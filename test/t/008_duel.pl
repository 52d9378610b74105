# Duelling proposers: elections provoked on all nodes at once, again and again; a
# leader emerges within a bounded number of time-outs, and no write is lost.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $timeout = 1;				# paxos.election_timeout, seconds (its default)
my $bound = 10 * $timeout;
my $c = PaxosCluster->new(nodes => 5, relay => 1);
$c->await_followers;
my @all = map { $_->{number} } $c->nodes;
my @took;
for my $round (1 .. 3)
{
	# Nobody hears anybody: all of them lose the leader at the same moment, and
	# want to be it.
	for my $n (@all)
	{
		$c->cut([$n], [ grep { $_ != $n } @all ]);
	}
	PaxosCluster::poll('nobody leads', sub { return !grep { $_->sql("SELECT role FROM paxos.status") eq 'leader' } $c->nodes; });
	my %elections = map { $_->{number} => $_->sql("SELECT elections_started FROM paxos.stats") } $c->nodes;
	PaxosCluster::poll('all are looking for a leader', sub {
		return !grep { $_->sql("SELECT role FROM paxos.status") eq 'follower' && $_->sql("SELECT leader IS NOT NULL FROM paxos.status") eq 't' } $c->nodes;
	});
	my $t = PaxosCluster::now();
	$c->heal;
	$c->await_leader;
	my $r = $c->node($round)->try("SELECT applied FROM paxos_kv_put('duel$round', '1')");
	my $s = PaxosCluster::now() - $t;
	push @took, $s;
	is($r->{out}, 't', "round $round: a leader serves") or diag $r->{err};
	cmp_ok($s, '<', $bound, sprintf('round %d: within %d time-outs (%.1f s)', $round, $bound / $timeout, $s));
}

# The other way: the leader is stopped and continued at the pace of the elections,
# so that an old leader and a new one meet.
for my $round (1 .. 3)
{
	my $leader = $c->await_followers;
	$leader->sigstop;
	my $new = $c->await_leader(except => $leader);
	$leader->sigcont;
	my $t = PaxosCluster::now();
	my $r = $leader->try("SELECT applied FROM paxos_kv_put('back$round', '1')");
	is($r->{out}, 't', "round $round: the old leader writes through the new one") or diag $r->{err};
	cmp_ok(PaxosCluster::now() - $t, '<', $bound, 'in bounded time');
}
$c->same_everywhere("SELECT key FROM paxos.kv ORDER BY key", 'all agree');
my $ballots = join ' ', map { $_->sql("SELECT elections_started || '/' || elections_won FROM paxos.stats") } $c->nodes;
diag(sprintf "report: duels served again after %s s; elections started/won: %s", join(' ', map { sprintf '%.1f', $_ } @took), $ballots);
done_testing;
