# A member that was away while all others were replaced, and a newcomer that was told of
# none but such as have left: nobody whom they know is there any more, but those who came
# after find them, and say where they are to be found (protocol.md section 7).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
my $n = 0;
sub put { my ($node) = @_; $n++; return $node->try("SELECT applied FROM paxos_kv_put('k$n', '$n')")->{out}; }
PaxosCluster::poll('a write', sub { put($n1) eq 't' });
$c->await_equal;

# In the place of a member comes another server, or one that has left, as a new node.
sub replace
{
	my ($via, $name, $by, $as) = @_;
	$via->sql("SELECT paxos_add_member('" . $by->member_conninfo . "', '$as')");
	$by->poll_sql("SELECT state = 'member' AND voter FROM paxos.status");
	$by->sql("SELECT paxos_remove_member('$name')");
}

sub new_server
{
	my $s = $c->add_server;
	$s->start;
	$s->create_extension;
	return $s;
}

$n3->kill9;
my $n4 = new_server();
my $n5 = new_server();
replace($n1, 'node1', $n4, 'four');
replace($n2, 'node2', $n5, 'five');
$_->kill9 for $n1, $n2;
$_->sql("SELECT paxos_truncate_log(0)") for $n4, $n5;

# Its disk is as it was when nobody of the two was there.
$n3->start;
is($n3->sql("SELECT string_agg(name, ' ' ORDER BY name) FROM paxos.members"), 'node1 node2 node3', 'away all the time, it knows none but who have left');
PaxosCluster::poll('it has the members of today', sub { $n3->sql("SELECT string_agg(name, ' ' ORDER BY name) FROM paxos.members") eq 'five four node3' });
pass('and learns of those who are there now');
PaxosCluster::poll('it writes', sub { put($n3) eq 't' });
PaxosCluster::poll('all have it', sub {
	my %seen = map { $_->sql('SELECT applied, digest FROM paxos.status') => 1 } $n3, $n4, $n5;
	return keys %seen == 1;
});
pass('it has everything, and works');

# A newcomer is added, and away before it has loaded anything; meanwhile all of whom it
# was told go.
my $n6 = new_server();
my $learner;
PaxosCluster::poll('its learner', sub { $learner = $n6->worker_pid('learner') });
PaxosCluster::stand_still($learner);
my $id = $n4->sql("SELECT paxos_add_member('" . $n6->member_conninfo . "', 'six', voter => false)");
$n6->kill9;
$_->start for $n1, $n2;
for ($n1, $n2)
{
	$_->poll_sql("SELECT state IN ('member', 'removed') FROM paxos.status");
	$_->sql("SELECT paxos_leave_cluster(force => true)");
}
replace($n4, 'five', $n1, 'one');
replace($n1, 'four', $n2, 'two');
$n1->sql("SELECT paxos_remove_member('node3')");
$_->kill9 for $n3, $n4, $n5;
$n6->start;
$n6->poll_sql("SELECT state = 'member' FROM paxos.status");
is($n6->sql("SELECT node_id FROM paxos.status"), $id, 'a newcomer told of none but such as have left is found, too');
PaxosCluster::poll('a write', sub { put($n1) eq 't' });
PaxosCluster::poll('all have it', sub {
	my %seen = map { $_->sql('SELECT applied, digest FROM paxos.status') => 1 } $n1, $n2, $n6;
	return keys %seen == 1;
});
pass('and has everything');

# What may be said of an address.
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.status");
my ($sender, $version) = split /\|/, $n1->sql("SELECT (SELECT node_id FROM paxos.members WHERE name = 'two'), protocol FROM paxos.form_probe()");
sub introduce { return "SELECT paxos.introduce('$cluster', $version, $sender, $_[0])"; }
$n1->fails(introduce('NULL'), '22004', qr/conninfo/, 'an address is no null');
$n1->fails(introduce("''"), '22023', qr/between 1 and/, 'nor empty');
$n1->fails(introduce("repeat('x', 5000)"), '22023', qr/between 1 and/, 'nor endless');
$n1->fails(introduce("'nonsense'"), '22023', qr/no connection string/, 'nor nonsense');
done_testing;
