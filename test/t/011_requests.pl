# Request ids: the same id again, on any node, returns the first result and does
# nothing; across restarts and changes of leader too.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
$c->node(1)->sql("CREATE TABLE t (id int PRIMARY KEY, n int) USING paxos");
$c->node(1)->sql("SELECT paxos_insert_if_not_exists('t', '{\"id\": 1, \"n\": 0}')");
$c->await_equal;

my $id = 'aaaaaaaa-0000-4000-8000-000000000001';
my $inc = "SELECT applied, slot, current->>'n', request_id FROM paxos_update_if('t', '{\"id\": 1}', '{\"n +=\": 1}', '{}', '$id')";
my $first = $c->node(1)->sql($inc);
like($first, qr/^t\|\d+\|1\|$id$/, 'the first time');
for my $n ($c->nodes)
{
	is($n->sql($inc), $first, "the same id again at node $n->{number}: the same result");
}
is($c->same_everywhere("SELECT n FROM t", 'the same everywhere'), 1, 'and it was done once');

# At once from everywhere.
my $id2 = 'aaaaaaaa-0000-4000-8000-000000000002';
my @h = map { my $n = $_; map { [ $n, $n->start_sql($inc =~ s/$id/$id2/r) ] } 1 .. 4 } $c->nodes;
my %answers = map { $_->[0]->finish_sql($_->[1])->{out} => 1 } @h;
is(scalar(keys %answers), 1, 'twelve at once get one result');
is($c->same_everywhere("SELECT n FROM t", 'the same everywhere'), 2, 'and it was done once');

# A definite no is remembered as well.
my $id3 = 'aaaaaaaa-0000-4000-8000-000000000003';
my $no = $c->node(2)->sql("SELECT applied, slot FROM paxos_insert_if_not_exists('t', '{\"id\": 1}', '$id3')");
like($no, qr/^f\|\d+$/, 'not applied, with an id');
is($c->node(3)->sql("SELECT applied, slot FROM paxos_insert_if_not_exists('t', '{\"id\": 1}', '$id3')"), $no, 'and the same again');

# So is an error of the command itself.
my $id4 = 'aaaaaaaa-0000-4000-8000-000000000004';
my $bad = "SELECT paxos_update_if('t', '{\"id\": 1}', '{\"n +=\": 2147483647}', '{}', '$id4')";
$c->node(1)->fails($bad, '22003', qr/out of range/, 'an error of the command');
$c->node(1)->sql("SELECT paxos_update_if('t', '{\"id\": 1}', '{\"n\": -5}', '{}')");
$c->node(2)->fails($bad, '22003', qr/out of range/, 'is the result of its id, also when it would work now');
$c->node(1)->sql("SELECT paxos_update_if('t', '{\"id\": 1}', '{\"n\": 2}', '{}')");

# What became of one.
my $out = $c->node(3)->sql("SELECT * FROM paxos_outcome('$id')");
like($out, qr/t/, "paxos_outcome of a known one: $out");
my $unknown = $c->node(3)->try("SELECT * FROM paxos_outcome('bbbbbbbb-0000-4000-8000-000000000001')");
ok($unknown->{ok}, "paxos_outcome of one never heard of: $unknown->{out}") or diag $unknown->{err};
isnt($unknown->{out}, $out, 'differs');

# Across a kill -9 of everything, and another leader.
$leader = $c->await_followers;
$_->kill9 for $c->nodes;
$_->start for $c->nodes;
$c->await_leader;
is($c->node($_)->sql($inc), $first, "after all were killed, node $_ still knows the result") for 1 .. 3;
is($c->same_everywhere("SELECT n FROM t", 'the same everywhere'), 2, 'and did nothing');

# The retry a client has to make: the leader dies with the command under way; the
# client asks again elsewhere with the same id, until it is told.
for my $round (1 .. 5)
{
	my $leader = $c->await_followers;
	my ($other) = grep { $_ != $leader } $c->nodes;
	my $rid = "cccccccc-0000-4000-8000-00000000000$round";
	my $sql = $inc =~ s/$id/$rid/r;
	my $before = $other->sql_after_barrier("SELECT n FROM t");
	my $h = $leader->start_sql($sql);
	$leader->kill9;
	$leader->finish_sql($h);
	my $r = PaxosCluster::poll('the retry is answered', sub {
		my $r = $other->try($sql);
		return $r->{ok} ? $r : 0;
	});
	like($r->{out}, qr/^t\|/, "round $round: the retry elsewhere is told");
	is($other->sql_after_barrier("SELECT n FROM t"), $before + 1, 'and it counted once');
	$leader->start;
}
$c->same_everywhere("SELECT n FROM t", 'all agree');
done_testing;
