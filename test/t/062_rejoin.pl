# A node whose files were put back to an earlier state has forgotten what it
# promised: it notices, does not vote, and comes back as a new node in one call.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE t (id int PRIMARY KEY, v int) USING paxos");
$n1->sql("SELECT paxos_upsert('t', jsonb_build_object('id', g, 'v', g)) FROM generate_series(1, 20) g");
$c->await_equal;
$n3->stop;
is(system('cp', '-a', $n3->datadir, $n3->datadir . '.earlier'), 0, 'files are kept');
$n3->start;
$c->await_followers;
$n2->sql("SELECT paxos_upsert('t', jsonb_build_object('id', g, 'v', g)) FROM generate_series(21, 40) g");
$c->await_equal;
$n3->stop;
is(system('rm', '-rf', $n3->datadir), 0, 'lost');
rename($n3->datadir . '.earlier', $n3->datadir) or die $!;
$n3->start;
$n3->poll_sql("SELECT state = 'fenced' FROM paxos.status");
$n3->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/./, 'put back, the node takes no part');
$c->await_leader;
$n2->sql("SELECT paxos_upsert('t', jsonb_build_object('id', 41, 'v', 41))");
$n3->sql("CALL paxos_rejoin()");
$n3->poll_sql("SELECT state = 'member' AND voter FROM paxos.status");
is($n3->sql("SELECT node_id FROM paxos.status"), 4, 'it is a new node');
is($n1->sql("SELECT string_agg(node_id || ' ' || name, ', ' ORDER BY node_id) FROM paxos.members"), '1 node1, 2 node2, 4 node3', 'in the place of the old one');
is($c->same_everywhere("SELECT count(*), sum(v) FROM t", 'with all rows'), '41|861', 'as many as were written');
is($n3->sql("SELECT count(*) FROM paxos.alarms"), 0, 'no alarm');
$n1->stop;
$c->await_leader;
is($n3->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'and its vote counts');
$n3->restart;
$n3->poll_sql("SELECT state = 'member' FROM paxos.status");
pass('after a restart too');
$n3->fails("CALL paxos_rejoin()", '55000', qr/is a member/, 'a member in good standing does not leave so');

# A node that is removed under load has recorded the configuration without itself; here that is
# helped along.  It knows from the one before how it can be reached.
$n1->start;
$c->await_followers;
$n1->sql("SELECT paxos_remove_member('node3')");
$n3->poll_sql("SELECT state = 'removed' FROM paxos.status");
is($n3->sql("SET allow_system_table_mods = on; UPDATE paxos.configuration SET recorded = true; SELECT count(*) > 1 FROM paxos.configuration"), 't', 'it has recorded that it is removed');
$n3->sql("CALL paxos_rejoin()");
$n3->poll_sql("SELECT state = 'member' AND voter FROM paxos.status");
is($c->same_everywhere("SELECT count(*), sum(v) FROM t", 'a removed node comes back in one call, too'), '41|861', 'with all rows');

done_testing;
