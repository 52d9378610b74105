# Members come and go: a newcomer gets data and vote, a removed one knows it, every
# node of a loaded cluster is replaced and nothing is lost (protocol.md § 7).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE account (id int PRIMARY KEY, balance int) USING paxos");
$n1->sql("SELECT paxos_insert_if_not_exists('account', jsonb_build_object('id', g, 'balance', g)) FROM generate_series(1, 20) g");

# A server that could become a member.
sub newcomer
{
	my $n = $c->add_server;
	$n->start;
	$n->create_extension;
	return $n;
}

sub id_of { return $_[0]->sql("SELECT node_id FROM paxos.status"); }

# The node votes, as this one sees it.
sub await_voter
{
	my ($from, $n) = @_;
	$n->poll_sql("SELECT state = 'member' FROM paxos.status");
	my $id = id_of($n);
	$from->poll_sql("SELECT voter FROM paxos.members WHERE node_id = $id");
}

# ---- joining ---------------------------------------------------------------------------
my $n4 = newcomer();
$n1->fails("BEGIN; SELECT paxos_add_member('host=127.0.0.1')", '25001', qr/transaction block/, 'not in a block');
$n1->fails("SELECT paxos_add_member('host=127.0.0.1 port=1 dbname=postgres user=node')", '08001', qr/could not connect/, 'a newcomer is reached first');
$n1->fails("SELECT paxos_add_member('" . $n2->member_conninfo . "')", '42710', qr/already/, 'a member is not added again');
is($n2->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "', 'four')"), 4, 'from any node; the number is the next');
await_voter($_, $n4) for $n1, $n2, $n3, $n4;
pass('it gets its vote by itself');
is($n4->sql("SELECT name FROM paxos.members WHERE self"), 'four', 'and knows its name');
$c->same_everywhere("SELECT * FROM account ORDER BY id", 'it has the rows');
is($n4->sql("SELECT applied FROM paxos_update_if('account', '{\"id\": 1}', '{\"balance\": 100}', '{\"balance\": 1}')"), 't', 'and writes');
is($n1->sql("SELECT voters FROM paxos.status"), 4, 'four voters');

# ---- a vote taken and given ------------------------------------------------------------
$n3->sql("SELECT paxos_demote_member('four')");
is($n3->sql("SELECT voter FROM paxos.members WHERE name = 'four'"), 'f', 'demoted');
is($n4->sql_after_barrier("SELECT balance FROM account WHERE id = 1"), 100, 'it goes on reading');
is($n4->sql("SELECT applied FROM paxos_update_if('account', '{\"id\": 1}', '{\"balance\": 101}', '{\"balance\": 100}')"), 't', 'and writing');
$n4->sql("SELECT paxos_promote_member('4')");
is($n4->sql("SELECT voter FROM paxos.members WHERE self"), 't', 'promoted, by number');
$n1->sql("SELECT paxos_alter_member('four', name => 'IV')");
is($n1->sql("SELECT name FROM paxos.members WHERE node_id = 4"), 'IV', 'renamed');
$n1->fails("SELECT paxos_alter_member('IV', conninfo => '" . $n2->member_conninfo . " application_name=x')", '22023', qr/does not lead to/, 'an address of another is refused');
$n1->sql("SELECT paxos_alter_member('IV', conninfo => '" . $n4->member_conninfo . " application_name=x')");
is($n4->sql_after_barrier("SELECT balance FROM account WHERE id = 1"), 101, 'under a new address');
$n1->fails("SELECT paxos_remove_member('five')", '42704', qr/no member is called/, 'a member that is none');

# ---- leadership ------------------------------------------------------------------------
for my $to (3, 1, 4)
{
	is($n2->sql("SELECT paxos_transfer_leadership('$to')"), $to, "node $to leads when asked to");
}
isnt($n2->sql("SELECT paxos_transfer_leadership()"), 4, 'or somebody else');

# ---- leaving ---------------------------------------------------------------------------
is($n1->sql("SELECT voters FROM paxos.status"), 4, 'still four');
$n1->sql("SELECT paxos_remove_member('IV')");
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n4->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/removed/, 'a removed node refuses writes');
$n4->fails("SELECT paxos_barrier()", '55000', qr/removed/, 'and linearizable reads');
is($n4->sql("SELECT balance FROM account WHERE id = 1"), 101, 'its tables can be read');
is($n1->sql("SELECT count(*) FROM paxos.members"), 3, 'three members');
is($n1->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'that go on');
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.status");
is($n1->sql("SELECT refusal FROM paxos.pre_vote('$cluster', 1, 4, 1000000)"), 7, 'a removed node is told so when it asks for a vote');
$n1->fails("SELECT paxos.forward('$cluster', 1, 4, 1, false, '{}'::bytea[], 0)", '55000', qr/removed/, 'and forwards nothing');
$n4->fails("SELECT paxos_add_member('" . $n1->member_conninfo . "')", '55000', qr/removed/, 'it adds nobody');
$n1->fails("SELECT paxos_add_member('" . $n4->member_conninfo . "')", '55000', qr/tables are not those of a new node/, 'nor does it come back as it is');
$n4->restart;
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
pass('it knows so after a restart');
$n1->fails("SELECT paxos_leave_cluster()", '55000', qr/is a member/, 'a member does not leave by accident');
$n4->sql("SELECT paxos_leave_cluster()");
is($n4->sql("SELECT state FROM paxos.status"), 'no cluster', 'cleaned');
is($n4->sql("SELECT to_regclass('account') IS NULL"), 't', 'with its tables');
is($n1->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "')"), 5, 'and added as a new node');
await_voter($n1, $n4);
$c->same_everywhere("SELECT * FROM account ORDER BY id", 'with all rows');

# ---- the leader removed, by itself and by another -----------------------------------------
$n1->sql("SELECT paxos_transfer_leadership('1')");
$n1->sql("SELECT paxos_remove_member('1')");
my $new = $c->await_leader(except => $n1);
is($new->sql("SELECT applied FROM paxos_kv_put('k', '2')"), 't', 'the leader removed itself, and the others go on');
$n1->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n1->sql("CALL paxos_rejoin('" . $n1->member_conninfo . "')");
await_voter($n2, $n1);
is(id_of($n1), 6, 'it comes back in one call');
$c->same_everywhere("SELECT * FROM account ORDER BY id", 'with all rows');
$n2->sql("SELECT paxos_transfer_leadership('3')");
$n2->sql("SELECT paxos_remove_member('3')");
$c->await_leader(except => $n3);
is($n2->sql("SELECT applied FROM paxos_kv_put('k', '3')"), 't', 'the leader was removed by another');

# ---- no majority, and while a member is down ----------------------------------------------
# n2, n1 (6), n4 (5) are members.
$n4->stop;
$c->await_leader;
$n2->fails("SELECT paxos_remove_member('6')", '55000', qr/only 1 of the 2 voters/, 'a change without a live majority is refused');
is($n2->sql("SELECT paxos_remove_member('5') > 0"), 't', 'a member that is down is removed');
$n4->start;
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
pass('and learns it when it returns');
$n4->sql("CALL paxos_rejoin('" . $n4->member_conninfo . "')");
$n3->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n3->sql("CALL paxos_rejoin('" . $n3->member_conninfo . "')");
await_voter($n2, $n4);
await_voter($n2, $n3);

# ---- two changes at once -----------------------------------------------------------------
my @h = map { [ $_, $_->start_sql("SELECT paxos_alter_member('" . id_of($_) . "', name => 'again$_->{number}')") ] } $c->nodes;
my @r = map { $_->[0]->finish_sql($_->[1]) } @h;
ok(!(grep { !$_->{ok} && $_->{sqlstate} ne '40001' } @r), 'changes at once: carried out, or told that another came first');
my $named = $n2->sql("SELECT count(*) FROM paxos.members WHERE name LIKE 'again%'");
is($named, scalar(grep { $_->{ok} } @r), 'and what was told is so');

# ---- sessions that wait on a node while it is removed ---------------------------------------
# The learner stands still: what was chosen before is told when the node is none any more.  The
# proposer stands still: what it has not taken is never sent, and no read is answered.
for my $worker ('learner', 'proposer')
{
	$n2->sql("SELECT paxos_transfer_leadership('" . id_of($n2) . "')");
	$c->await_equal;
	my $pid = $n3->worker_pid($worker);
	PaxosCluster::stand_still($pid);
	my $put = $n3->start_sql("SELECT applied FROM paxos_kv_put('while_$worker', '1')", name => 'waits');
	$n2->poll_sql("SELECT count(*) = 1 FROM paxos.kv WHERE key = 'while_learner'");
	my $read = $n3->start_sql("SET paxos.read_consistency = linearizable; SELECT count(*) FROM account", name => 'waits');
	$n3->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Extension' AND application_name = 'waits'");
	$n2->sql("SELECT paxos_remove_member('" . id_of($n3) . "')");
	$n3->poll_sql("SELECT state = 'removed' FROM paxos.status") if $worker eq 'learner';
	kill 'CONT', $pid;
	my ($p, $r) = map { $n3->finish_sql($_) } $put, $read;
	if ($worker eq 'learner')
	{
		is($p->{out}, 't', 'a removed node tells what became of a command before');
		is($r->{out}, '20', 'and shows what was acknowledged before');
	}
	else
	{
		is($p->{sqlstate}, '55000', 'what was not sent when the node was removed is refused');
		like($p->{detail}, qr/did not take effect and never will/, 'for certain');
		is($r->{sqlstate}, '55000', 'so is a linearizable read');
	}
	$n3->poll_sql("SELECT state = 'removed' FROM paxos.status");
	$n3->sql("CALL paxos_rejoin('" . $n3->member_conninfo . "')");
	await_voter($n2, $n3);
}
is($n2->sql("SELECT string_agg(key, ' ' ORDER BY key) FROM paxos.kv WHERE key LIKE 'while%'"), 'while_learner', 'and was not');

# ---- every node replaced, one by one, under load ---------------------------------------------
$c->await_equal;
my $before = $c->await_followers;
my %old = map { id_of($_) => 1 } $c->nodes;
$n2->sql("CREATE TABLE load (client int, n int, PRIMARY KEY (client, n)) USING paxos");
$c->await_equal;
my $h = $c->start_load(statement => q{SELECT applied FROM paxos_insert_if_not_exists('load', jsonb_build_object('client', $1::int, 'n', $2::int))},
	clients => 1, nodes => [ $n1, $n2, $n3, $n4 ]);
my @fresh;
for my $gone ($n1, $n2, $n3, $n4)
{
	my $n = newcomer();
	push @fresh, $n;
	my ($via) = grep { $_ != $gone } ($n1, $n2, $n3, $n4, @fresh);
	my $id = id_of($gone);
	# of those that are members now: the newest is not yet one
	$via = $fresh[-2] if @fresh > 1;
	$via->sql("SELECT paxos_add_member('" . $n->member_conninfo . "', 'fresh$n->{number}')");
	await_voter($via, $n);
	$n->sql("SELECT paxos_remove_member('$id')");
}
my $records = $c->finish_load($h);
is($fresh[0]->sql("SELECT count(*) FROM paxos.members"), 4, 'four members, all new');
is($fresh[0]->sql("SELECT count(*) FROM paxos.members WHERE node_id IN (" . join(',', keys %old) . ")"), 0, 'none of the old');
$c->await_equal(@fresh);
my %there = map { $_ => 1 } split /\n/, $fresh[3]->sql_after_barrier("SELECT client || '.' || n FROM load");
my @acknowledged = grep { $_->[2] eq 'A' } @$records;
my @lost = grep { !$there{"$_->[0].$_->[1]"} } @acknowledged;
cmp_ok(scalar(@acknowledged), '>', 100, 'the writers were served');
is(scalar(grep { $_->[4] - $_->[3] > 60 } @$records), 0, 'and nobody waited for what cannot come');
is(scalar(@lost), 0, 'no acknowledged row was lost') or diag("lost: " . join(' ', map { "$_->[0].$_->[1]" } @lost[0 .. ($#lost > 10 ? 10 : $#lost)]));
$c->same_everywhere("SELECT count(*), sum(hashtext(l::text)) FROM load l", 'the new nodes are equal', @fresh);
$_->poll_sql("SELECT state = 'removed' FROM paxos.status") for $n1, $n2, $n3, $n4;
pass('all old nodes know that they were removed');

done_testing;
