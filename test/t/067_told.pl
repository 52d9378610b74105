# A node that is removed while nothing reaches it, by members that do not remember its streams:
# it is told so when it asks, and does not get the log any more.  Its sessions are answered then,
# and not when paxos.statement_timeout comes.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, relay => 1);
my ($n1, $n2, $n3) = $c->nodes;
$n2->sql("SELECT paxos_transfer_leadership('1')");
$c->await_equal;
$c->cut([3], [ 1, 2 ]);
my $put = $n3->start_sql("SELECT applied FROM paxos_kv_put('k', '1')", name => 'waits');
my $read = $n3->start_sql("SELECT paxos_barrier()", name => 'waits');
$n3->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND application_name = 'waits'");
$n1->poll_sql("SELECT NOT connected FROM paxos.members WHERE node_id = 3");
$n1->sql("SELECT paxos_remove_member('3')");
is($n3->sql("SELECT state FROM paxos.status"), 'member', 'it has not heard of it');
$_->restart for $n1, $n2;
$n1->poll_sql("SELECT leader IS NOT NULL FROM paxos.status");
my $healed = PaxosCluster::now();
$c->heal;
my ($p, $r) = map { $n3->finish_sql($_) } $put, $read;
cmp_ok(PaxosCluster::now() - $healed, '<', 60, 'whoever waits is answered');

# 55000 if the slot that removed it came through after all
like($p->{sqlstate}, qr/^(40003|55000)$/, "a command: $p->{sqlstate}");
like($p->{message}, qr/this node has ceased to take part in its cluster/, 'and why');
is($r->{sqlstate}, '55000', 'a linearizable read');
is($n3->sql("SELECT state FROM paxos.status"), 'removed', 'it knows what it is');
is($n1->sql("SELECT count(*) FROM paxos.kv"), 0, 'the command has not taken effect');

done_testing;
