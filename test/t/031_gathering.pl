# A command never waits for the proposer's timer: while something is in flight
# nobody wakes the proposer for it, and then the answer must (proposer_gathers).
# To make a command that was left lying visible, the timer is slow here: a
# heartbeat every ten seconds.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
my ($follower) = grep { $_ != $leader } $c->nodes;
for my $n ($c->nodes)
{
	$n->conf("paxos.election_timeout = '30s'\npaxos.heartbeat_interval = '10s'");
	$n->reload;
}
PaxosCluster::poll('the settings', sub { !grep { $_->sql("SHOW paxos.heartbeat_interval") ne '10s' } $c->nodes });

# Eight sessions, so that some always come while others are in flight.
sub writes_take
{
	my ($n) = @_;
	my $file = $n->{dir} . '/gathering.sql';
	open my $f, '>', $file or die "$file: $!";
	print $f "\\set k random(1, 100)\nSELECT paxos_kv_put('k' || :k, '1');\n";
	close $f;
	my $t = PaxosCluster::now();
	my $said = `timeout 60 $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 8 -t 50 postgres 2>&1`;
	return ($? >> 8, PaxosCluster::now() - $t);
}

for ([ 'leader', $leader ], [ 'follower', $follower ])
{
	my ($where, $n) = @$_;
	my ($status, $s) = writes_take($n);
	ok($status == 0 && $s < 30, sprintf('8 x 50 writes at a %s: %.1f s', $where, $s));
}
done_testing;
