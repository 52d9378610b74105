# Whoever is killed in the middle of a change of the members, at a step that is held
# by a lock or a stopped process: nothing is half done that the same call, or the one
# its error names, does not finish (protocol.md § 7).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE t (id int PRIMARY KEY, v int) USING paxos");
$n1->sql("SELECT paxos_upsert('t', jsonb_build_object('id', g, 'v', g)) FROM generate_series(1, 20) g");

sub newcomer
{
	my $n = $c->add_server;
	$n->start;
	$n->create_extension;
	return $n;
}

# A table of a node that nobody writes until the session ends.
sub hold
{
	my ($node, $table) = @_;
	my $s = $node->session;
	$s->query("BEGIN; LOCK TABLE $table IN EXCLUSIVE MODE");
	return $s;
}

# Somebody waits for it there.
sub await_held
{
	my ($node, $what) = @_;
	$node->poll_sql("SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%$what%'");
}

sub members { return $_[0]->sql("SELECT string_agg(node_id || CASE WHEN voter THEN '' ELSE '?' END, ' ' ORDER BY node_id) FROM paxos.members"); }

sub await_members
{
	my ($wanted, $name, @nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $n (@nodes)
	{
		PaxosCluster::poll("node $n->{number} has members $wanted", sub { members($n) eq $wanted });
	}
	is($c->same_everywhere("SELECT count(*), sum(v) FROM t", $name, @nodes), '20|210', 'and all rows');
	is($_->sql("SELECT state, (SELECT count(*) FROM paxos.alarms) FROM paxos.status"), 'member|0', "node $_->{number} is well") for @nodes;
}

sub add { my ($n) = @_; return "SELECT paxos_add_member('" . $n->member_conninfo . "')"; }

# All that are members follow one leader.
sub settle
{
	PaxosCluster::poll('one leader', sub {
		my %leaders = map { $_ => 1 } grep { $_ ne 'none' } map { $_->sql("SELECT CASE WHEN state <> 'member' THEN 'none' ELSE coalesce(leader::text, '?') END FROM paxos.status") } $c->alive;
		return keys %leaders == 1 && !$leaders{'?'};
	});
}

sub let_lead
{
	my ($n) = @_;
	$n->sql("SELECT paxos_transfer_leadership('" . $n->sql('SELECT node_id FROM paxos.status') . "')");
	settle();
}

# A server put on trial by its own doubt: the sentinel touched while it was down.
sub fence
{
	my ($n) = @_;
	$n->stop;
	chmod 0640, $n->datadir . '/paxos_ext.node';
	$n->start;
	$n->poll_sql("SELECT state = 'fenced' FROM paxos.status");
}

# ---- joining: while the newcomer records who it will be --------------------------------
my $n4 = newcomer();
my $held = hold($n4, 'paxos.node');
my $h = $n1->start_sql(add($n4));
await_held($n4, 'join_record');
$n4->kill9;
my $r = $n1->finish_sql($h);
is($r->{sqlstate}, '55000', 'the newcomer is killed while it records who it will be') or diag $r->{err};
like($r->{err}, qr/could not record the new member on node "node4" .*$n4->{port}.*closed the connection/s, 'the error says which');
$n4->start;
is($n4->sql("SELECT state FROM paxos.status"), 'no cluster', 'nothing of it is left');

$held = hold($n4, 'paxos.node');
$h = $n1->start_sql(add($n4));
await_held($n4, 'join_record');
$n1->kill9;
$n1->finish_sql($h);
$held->close;
$n4->poll_sql("SELECT state = 'joining' FROM paxos.status");
pass('the caller is killed: the newcomer has recorded who it will be, and waits');
is(members($n2), '1 2 3', 'the others know nothing of it');
$n1->start;
settle();

# Another server comes meanwhile, and gets the number.
my $n5 = newcomer();
is($n2->sql(add($n5)), 4, 'another one comes first, and gets the number');
await_members('1 2 3 4', 'it is a member', $n1, $n2, $n3, $n5);
is($n4->sql("SELECT state, (SELECT count(*) FROM pg_class WHERE relname = 't') FROM paxos.status"), 'joining|0', 'the one left behind has loaded nothing');
is($n1->sql(add($n4)), 5, 'and comes with the next one when it is called again');
await_members('1 2 3 4 5', 'all are members', $c->nodes);

# ---- a change that is in flight: the leader dies -----------------------------------------
# The followers cannot accept; then they accept what is the dead leader's.
sub kill_leader_in_flight
{
	my ($leader, $sql) = @_;
	my @others = grep { $_ != $leader && $_->sql("SELECT state FROM paxos.status") eq 'member' } $c->alive;
	let_lead($leader);
	$c->await_equal($leader, @others);
	my @held = map { hold($_, 'paxos.log_entry') } @others;
	my $h = $others[0]->start_sql($sql);
	await_held($_, 'paxos.accept') for @others[0, 1];
	$leader->kill9;
	$_->close for @held;
	my $r = $others[0]->finish_sql($h);
	ok($r->{ok} || $r->{err} =~ /57P03.*not changed in time.*HINT:  See paxos.members/s, "the leader is killed with the change in flight: " . ($r->{ok} ? 'done all the same' : $r->{sqlstate}))
	  or diag $r->{err};
	$leader->start;
	settle();
	return ($others[0], $r);
}

my $via;
($via, $r) = kill_leader_in_flight($n1, "SELECT paxos_remove_member('5')");
$r = $via->try("SELECT paxos_remove_member('5')");
like($r->{ok} ? 'done now' : $r->{err}, qr/done now|42704.*no member is called "5"/s, 'the removal can be repeated, or was carried out');
await_members('1 2 3 4', 'one is gone', $n1, $n2, $n3, $n5);
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n4->sql("SELECT paxos_leave_cluster()");
($via, $r) = kill_leader_in_flight($n2, add($n4));
my $id = $r->{ok} ? $r->{out} : undef;
$r = $via->try(add($n4));
like($r->{ok} ? 'done now' : $r->{err}, qr/done now|42710.*has this connection string already/s, 'the newcomer can be added again, or is there');
await_members('1 2 3 4 6', 'and it is there, once', $c->nodes);

# ---- the caller dies with its change in flight ----------------------------------------------
let_lead($n3);
$c->await_equal;
my @held = map { hold($_, 'paxos.log_entry') } grep { $_ != $n3 } $c->nodes;
$h = $n1->start_sql("SELECT paxos_demote_member('6')");
await_held($n2, 'paxos.accept');
$n1->kill9;
$n1->finish_sql($h);
$_->close for @held;
$n1->start;
settle();
$n2->sql("SELECT paxos_demote_member('6')");
await_members('1 2 3 4 6?', 'the caller is killed with its change in flight: it is carried out, or is when asked for again', $c->nodes);

# ---- the leader dies before it has given the newcomer its vote --------------------------------
$n1->sql("SELECT paxos_remove_member('6')");
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n4->sql("SELECT paxos_leave_cluster()");
let_lead($n2);
my $learner = PaxosCluster::poll('its learner is there again', sub { $n4->worker_pid('learner') });
PaxosCluster::stand_still($learner);
is($n1->sql(add($n4)), 7, 'a newcomer that does not get on');
is(members($n1), '1 2 3 4 7?', 'has no vote');
$n2->kill9;
$c->await_leader(except => $n2);
kill 'CONT', $learner;
$n1->poll_sql("SELECT voter FROM paxos.members WHERE node_id = 7");
pass('the leader is killed: the next one gives the vote');
$n2->start;
await_members('1 2 3 4 7', 'all vote', $c->nodes);

# ---- leaving and coming back ---------------------------------------------------------------------
fence($n4);
$held = hold($n4, 'paxos.request');
$h = $n4->start_sql("SELECT paxos_leave_cluster()");
await_held($n4, 'paxos_leave_cluster');
$n4->kill9;
$n4->finish_sql($h);
$n4->start;
$n4->poll_sql("SELECT state = 'fenced' FROM paxos.status");
is($n4->sql("SELECT count(*), (SELECT count(*) FROM paxos.configuration) > 0 FROM t"), '20|t', 'killed while it leaves: it has all it had');

# It has left, and asks to be taken in again; nobody can.
my @stopped = map { $_->worker_pid('proposer') } $n1, $n2, $n3, $n5;
PaxosCluster::stand_still(@stopped);
$h = $n4->start_sql("CALL paxos_rejoin()");
$n4->poll_sql("SELECT state = 'no cluster' FROM paxos.status");
$n4->kill9;
$n4->finish_sql($h);
kill 'CONT', @stopped;
$n4->start;
settle();
$r = $n4->fails("CALL paxos_rejoin()", '55000', qr/in no cluster.*HINT:  Call paxos_add_member\(\) on a member/s, 'killed between leaving and joining: it is in no cluster, and is told who can add it');
$r = $n1->try(add($n4));
if (!$r->{ok})
{
	like($r->{err}, qr/42710.*has this connection string already.*HINT:  .*paxos_remove_member/s, 'its old self is a member yet; the error says so');
	$n1->sql("SELECT paxos_remove_member('7')");
	$r = $n1->try(add($n4));
}
ok($r->{ok}, 'then it comes as a new one') or diag $r->{err};
my ($new) = $n1->sql("SELECT max(node_id) FROM paxos.members");
await_members("1 2 3 4 $new", 'all vote', $c->nodes);

# ---- majority loss ----------------------------------------------------------------------------------
$_->kill9 for $n1, $n2, $n3, $n4;
$held = hold($n5, 'paxos.configuration');
my $cluster = $n5->sql("SELECT cluster_id FROM paxos.node");
$h = $n5->start_sql("SELECT * FROM paxos_recover_from_majority_loss(true)");
await_held($n5, 'majority_loss');
$n5->kill9;
$n5->finish_sql($h);
$n5->start;
is($n5->sql("SELECT state, cluster_id = '$cluster', voters FROM paxos.status"), 'member|t|5', 'killed while it makes a new cluster: it is in the old one');
$n5->sql("SELECT * FROM paxos_recover_from_majority_loss(true)");
is($n5->sql_after_barrier("SELECT count(*), sum(v) FROM t"), '20|210', 'and again: done, with all rows');
done_testing;
