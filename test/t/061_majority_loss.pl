# A majority of the members is gone for good: a survivor goes on alone as a new
# cluster, when told to; old members that come back are strangers to it.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE t (id int PRIMARY KEY, v int) USING paxos");
$n1->sql("SELECT paxos_upsert('t', jsonb_build_object('id', g, 'v', g)) FROM generate_series(1, 20) g");
$c->await_equal;
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.status");
$n1->kill9;
$n2->kill9;
like($n3->try("SET paxos.statement_timeout = '1s'; SELECT paxos_kv_put('k', '1')")->{sqlstate}, qr/^(57P03|40003)$/, 'without a majority nothing is decided');
$n3->poll_sql("SELECT applied = chosen FROM paxos.status");
my $slot = $n3->sql("SELECT applied FROM paxos.status");
$n3->fails("SELECT paxos_recover_from_majority_loss()", '55000', qr/may lack what the others decided/, 'said first');
like($n3->try("SELECT paxos_recover_from_majority_loss()")->{err}, qr/slots up to $slot are applied/, 'and what would be kept');
is($n3->sql("SELECT cluster_id FROM paxos.status"), $cluster, 'nothing has changed');
$n3->poll_sql("SELECT state = 'member' FROM paxos.status");
my $r = $n3->try("SELECT cluster <> '$cluster', applied FROM paxos_recover_from_majority_loss(true)");
ok($r->{ok}, 'then done') or diag $r->{err};
is($r->{out}, "t|$slot", 'a new cluster from the slot applied');
like($r->{err}, qr/cluster of its own/, 'with a warning');
$n3->poll_sql("SELECT ready FROM paxos.status");
is($n3->sql("SELECT count(*), sum(v) FROM t"), '20|210', 'all rows are there');
is($n3->sql("SELECT applied FROM paxos_upsert('t', '{\"id\": 21, \"v\": 0}')"), 't', 'and it is written');
is($n3->sql("SELECT count(*) FROM paxos.members"), 1, 'one member');
$n3->restart;
is($n3->sql_after_barrier("SELECT count(*) FROM t"), 21, 'after a restart too');

# The old majority returns: a cluster of its own, which this node is no part of.
$_->start for $n1, $n2;
PaxosCluster::poll('the old ones have a leader', sub { return $n1->sql("SELECT leader IN (1, 2) FROM paxos.status") eq 't' });
is($n1->sql("SELECT applied FROM paxos_kv_put('old', '1')"), 't', 'the old cluster goes on if its majority returns');
is($n3->sql_after_barrier("SELECT count(*) FROM paxos.kv WHERE key = 'old'"), 0, 'and the new one hears nothing of it');

# They leave it, and are added to the new one.
for my $n ($n1, $n2)
{
	$n->sql("SELECT paxos_leave_cluster(true)");
	# The one added before becomes a voter by itself, perhaps in this moment: then once more.
	my $added;
	do { $added = $n3->try("SELECT paxos_add_member('" . $n->member_conninfo . "')") } while $added->{sqlstate} eq '40001';
	ok($added->{ok}, 'one of them is added') or diag $added->{err};
}
$n3->poll_sql("SELECT voters = 3 FROM paxos.status");
$c->same_everywhere("SELECT count(*), sum(v) FROM t", 'three equal nodes again');
is($n1->sql("SELECT string_agg(node_id::text, ' ' ORDER BY node_id) FROM paxos.members"), '3 4 5', 'under new numbers');
is($n2->sql("SELECT applied FROM paxos_kv_put('k', '2')"), 't', 'that write');

done_testing;
