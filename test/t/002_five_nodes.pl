# Five nodes.  Two killed: writes go on.  A third: writes stop, with the right
# error and no false word.  One started again: writes go on.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 5);
my $leader = $c->await_followers;
is($c->node(1)->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'five nodes write');

# Two followers and then the leader, so that both kinds of loss are seen.
my ($one, $two) = grep { $_ != $leader } $c->nodes;
$one->kill9;
$two->kill9;
for my $n ($c->alive)
{
	is($n->sql("SELECT applied FROM paxos_kv_put('two-down-$n->{number}', '1')"), 't', "two down: node $n->{number} writes");
}
$leader->kill9;
my @two = $c->alive;
is(scalar(@two), 2, 'two of five are left');

# Between the loss and its discovery a command may still be taken: that one is
# unknown, never refused by mistake and never acknowledged.
my %told;
for my $try (1 .. 3)
{
	for my $n (@two)
	{
		my $r = $n->try("SET paxos.statement_timeout = '1s'; SELECT applied FROM paxos_kv_put('three-down-$n->{number}-$try', '1')");
		$told{"three-down-$n->{number}-$try"} = $r->{sqlstate};
		like($r->{sqlstate}, qr/^(57P03|40003)$/, "three down: node $n->{number} says it could not ($r->{sqlstate})")
		  or diag $r->{err};
	}
}
my $r = $two[0]->try("SET paxos.statement_timeout = '1s'; SELECT paxos_kv_get('k')");
is($r->{sqlstate}, '57P03', 'a linearizable read is refused too') or diag "$r->{out} $r->{err}";
is($two[0]->sql("SELECT value FROM paxos.kv WHERE key = 'k'"), '1', 'a plain SELECT answers with what this node has');

$one->start;
ok($c->await_leader, 'a third one started: a leader again');
for my $n ($c->alive)
{
	is($n->sql("SELECT applied FROM paxos_kv_put('three-up-$n->{number}', '1')"), 't', "three up: node $n->{number} writes");
}
$_->start for grep { !$_->{running} } $c->nodes;
is($c->same_everywhere("SELECT count(*) FROM paxos.kv WHERE key LIKE 'two-down-%' OR key LIKE 'three-up-%'", 'all five agree'),
	6, 'and hold everything that was acknowledged');
for my $key (sort keys %told)
{
	next if $told{$key} ne '57P03';
	is($c->node(1)->sql("SELECT count(*) FROM paxos.kv WHERE key = '$key'"), 0, "$key was called never sent, and is not there");
}
done_testing;
