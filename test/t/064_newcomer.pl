# A newcomer whose cluster has cut its log: it enters without a vote, its way is seen
# in the views, it is killed in the middle, begins again, and gets its vote; and
# numbers of nodes beyond the step of sequences (protocol.md §§ 7, 8).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\npaxos.election_timeout = '20s'\nmax_prepared_transactions = 2\n");
my ($n1, $n2, $n3) = $c->nodes;
$c->load_table;
$n1->sql("CREATE TABLE big (id int PRIMARY KEY, v text) USING paxos");
$n1->sql("SELECT count(*) FROM generate_series(1, 200) i, LATERAL paxos_insert_if_not_exists('big',
	jsonb_build_object('id', i, 'v', (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 3200) j))) r WHERE r.applied");
$_->sql("CREATE SCHEMA shop") for $n1, $n2, $n3;
$n1->sql("CREATE TABLE shop.item (id int PRIMARY KEY) USING paxos");
my $leader = $c->await_followers;
$n1->poll_sql('SELECT truncated > 100 FROM paxos.status');
$_->sql('SELECT paxos_truncate_log(0)') for $c->nodes;

# ---- joining -----------------------------------------------------------------------------
my $n4 = $c->add_server;
$n4->start;
$n4->create_extension;
my $h = $c->start_load(statement => $PaxosCluster::LOAD_INSERT, clients => 1, nodes => [ $n1, $n2, $n3 ]);
$c->await_acknowledged($h, 20);
is($n2->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "', 'four')"), 4, 'added while the others write');
$n4->poll_sql("SELECT state = 'copying' AND bytes > 2000000 FROM paxos.snapshot_progress");
my $learner = $n4->worker_pid('learner');
PaxosCluster::stand_still($learner);
my ($rows, $bytes, $expected, $done, $tables, $source) = split /\|/, $n4->sql("SELECT rows, bytes, bytes_expected, tables_done, tables, source FROM paxos.snapshot_progress");
cmp_ok($rows, '>', 0, "progress: $rows rows, $bytes of $expected bytes, $done of $tables tables");
cmp_ok($bytes, '<', $expected * 2, 'of as many bytes as were announced, roughly');
isnt($source, $leader->id, 'from a follower');
is($n4->sql("SELECT count(*) FROM pg_class WHERE relname = 'big' AND relnamespace = 'public'::regnamespace"), 0, 'nothing is to be seen of it yet');
for my $n ($n1, $n2, $n3)
{
	is($n->sql("SELECT role, voter, (SELECT voters FROM paxos.status) FROM paxos.members WHERE name = 'four'"), 'joining|f|3', "node $n->{number}: it is joining, without a vote");
}
my $then = PaxosCluster::now();
$c->await_acknowledged($h, 20, $then);
cmp_ok($leader->sql("SELECT chosen - coalesce(m.applied, 0) FROM paxos.status, paxos.members m WHERE m.name = 'four'"), '>', 100, 'the leader shows how many slots it is behind');

# Removed meanwhile, before it knew that it had come.
$n3->sql("SELECT paxos_remove_member('four')");
kill 'CONT', $learner;
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
pass('removed while it loads: it is told so when it asks');
$n4->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/removed/, 'and says so');
$n4->sql("SELECT paxos_leave_cluster()");
is($n4->sql("SELECT state, (SELECT count(*) FROM pg_class WHERE relname = 'big') FROM paxos.status"), 'no cluster|0', 'it can be cleaned');
is($n2->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "', 'four')"), 5, 'and added again');
$n4->poll_sql("SELECT state = 'copying' AND bytes > 2000000 FROM paxos.snapshot_progress");
$source = $n4->sql("SELECT source FROM paxos.snapshot_progress");

# Killed, and its source too: both start again.
$n4->kill9;
my $giver = $c->node($source);
$giver->kill9;
$giver->start;
$n4->start;
$n1->poll_sql("SELECT voter FROM paxos.members WHERE name = 'four'");
pass('both are killed in the middle: it begins again, catches up, and has its vote');
my $records = $c->finish_load($h);
is($n4->sql("SELECT state FROM paxos.snapshot_progress"), 'loaded', 'it has loaded a snapshot');
is($n1->sql("SELECT voters FROM paxos.status"), 4, 'four voters');
$c->check_inserts($records, 'joined under load', $c->nodes);
$c->same_everywhere("SELECT count(*), sum(hashtextextended(v, 0)) FROM big", 'the large table');

is($n4->sql("SELECT to_regclass('shop.item') IS NOT NULL"), 't', 'a schema that it did not have was made');
$c->same_everywhere("SELECT slot, value FROM paxos.configuration ORDER BY slot DESC LIMIT 1", 'the members as they are now');

# ---- behind on the log, and voting -----------------------------------------------------------
# Its learner waits for a lock that outlives a restart, and so fetches and applies
# nothing; the logs of the others reach back that far.
$n1->sql("SELECT paxos_remove_member('four')");
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
$_->conf('paxos.log_retention_slots = 100000'), $_->reload for $n1, $n2, $n3;
$n1->sql("SELECT paxos_transfer_leadership('1')");
$n2->sql("BEGIN; LOCK TABLE paxos.replicated IN EXCLUSIVE MODE; PREPARE TRANSACTION 'held'");
$n2->stop;
$h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int || '/' || $2::int, to_jsonb($2::int))}, clients => 2, nodes => [ $n1 ]);
$c->await_acknowledged($h, 400);
$n2->start;
$n3->kill9;
$then = PaxosCluster::now();
$c->await_acknowledged($h, 200, $then);
cmp_ok($n1->sql("SELECT chosen FROM paxos.status") - $n2->sql("SELECT applied FROM paxos.status"), '>', 200,
	'one of three is down, the second has not caught up, and writes go on');
is($n2->sql("SELECT voter AND self FROM paxos.members WHERE node_id = 2"), 't', 'with its vote');
$n2->sql("COMMIT PREPARED 'held'");
$n3->start;
$records = $c->finish_load($h);
$c->await_equal($n1, $n2, $n3);
cmp_ok($n2->sql("SELECT count(*) FROM paxos.kv"), '>=', scalar(grep { $_->[2] eq 'A' } @$records), 'and it has all that was acknowledged in the end');

# ---- a majority is no hindrance when somebody insists -------------------------------------------
$n2->stop;
$n3->poll_sql("SELECT leader IN (1, 3) FROM paxos.status");
$n1->fails("SELECT paxos_demote_member('3')", '55000', qr/without a live majority: only 1 of the 2 voters.*not node 2.*force => true/s, 'a change without a live majority is refused, with the reason');
my $forced = $n1->start_sql("SELECT paxos_demote_member('3', force => true) > 0");
$n2->start;
my $r = $n1->finish_sql($forced);
ok($r->{ok}, 'forced it is carried out') or diag $r->{err};
$n1->poll_sql("SELECT NOT voter FROM paxos.members WHERE node_id = 3");
pass('and governs');
is($n1->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'with the one that came back');
done_testing;
