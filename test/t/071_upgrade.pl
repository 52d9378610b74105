# Two builds in one cluster: a rolling upgrade under load, a node that goes back to
# the old build, one that is two versions ahead (src/paxos_version.c).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $next = $ENV{PAXOS_NEXT_BINDIR} or die "PAXOS_NEXT_BINDIR is not set (run scripts/test)\n";
my $after_next = $ENV{PAXOS_AFTER_NEXT_BINDIR};
my $previous = $ENV{PAXOS_PREVIOUS_BINDIR};

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
$c->load_table;
$c->prepare_counts(3);

sub restart_as
{
	my ($n, $bindir) = @_;
	$n->stop;
	$n->run_build($bindir);
	$n->start;
	$n->poll_sql("SELECT leader IS NOT NULL AND learner_running FROM paxos.status");
}

# The format version of the newest command: behind the headers of value, batch, and command.
sub newest_format
{
	my ($n) = @_;
	return $n->sql("SELECT get_byte(value, 56) FROM paxos.log_entry WHERE length(value) > 56 AND get_byte(value, 1) = 2 AND get_byte(value, 22) > 0 ORDER BY slot DESC LIMIT 1");
}

# A write of this node that is the newest command anywhere while nobody else writes.
my $writes = 0;
sub write_through
{
	my ($n) = @_;
	$writes++;
	return $n->sql("SELECT applied FROM paxos_kv_put('w$writes', '$writes')");
}

is($_->sql("SELECT protocol_version, protocol_speaks FROM paxos.status"), '2|2', 'node ' . $_->id . ' begins with version 2') for $c->nodes;

# ---- a build without write sets beside others -------------------------------------------
# What all can read goes on; a write set would stop the one that knows none.
$c->await_equal;
restart_as($n3, $previous);
$n1->poll_sql("SELECT protocol_version = 1 FROM paxos.status");
is($n3->sql("SELECT protocol_version, protocol_speaks FROM paxos.status"), '1|1', 'node 3 goes back to version 1');
for my $n ($n1, $n3)
{
	my $who = $n == $n1 ? 'Member 3 speaks' : 'This node speaks';
	$n->fails("INSERT INTO paxos.kv SELECT 'set' || i, '1' FROM generate_series(1, 2) i", '55000', qr/need protocol version 2, but version 1 is in use.*$who no later version/s, 'a write set is refused on node ' . $n->id);
	write_through($n);
}
is(newest_format($n1), 1, 'other writes go on, in the old format');
$c->await_equal;
is($n3->sql("SELECT count(*) FROM paxos.alarms"), 0, 'and nobody is stuck');
$n3->stop;
$n3->run_build(undef);
$n3->start;
$_->poll_sql("SELECT protocol_version = 2 FROM paxos.status") for $c->nodes;
$n1->sql("INSERT INTO paxos.kv SELECT 'set' || i, '1' FROM generate_series(1, 2) i");
is($n3->sql_after_barrier("SELECT count(*) FROM paxos.kv WHERE key ~ '^set'"), 2, 'write sets are allowed when all members know them');
is(newest_format($n1), 2, 'in the new format');

# ---- one after the other, under load ---------------------------------------------------
my $rows = $c->start_load(statement => $PaxosCluster::LOAD_INSERT, clients => 1);
my $counts = $c->start_load(statement => $PaxosCluster::LOAD_COUNT, clients => 1);
for my $n ($c->nodes)
{
	my $id = $n->id;
	$c->await_acknowledged($rows, 5, PaxosCluster::now());
	is($n->sql("SELECT protocol_version FROM paxos.status"), 2, "node $id, before it is upgraded: version 2 is in use");
	restart_as($n, $next);
	my $t = PaxosCluster::now();
	is($n->sql("SELECT extversion FROM pg_extension WHERE extname = 'paxos_ext'"), '1.0', "node $id: a newer library, the older script");
	write_through($n);
	cmp_ok($n->sql("SELECT count(*) FROM paxos.members m, paxos.stats"), '==', 3, "node $id: its views work");

	# its workers go on where they are
	my $oid = $n->sql("SELECT 'paxos.log_entry'::regclass::oid");
	my @workers = map { $n->worker_pid($_) } qw(proposer learner);
	$n->sql("ALTER EXTENSION paxos_ext UPDATE");
	is($n->sql("SELECT extversion FROM pg_extension WHERE extname = 'paxos_ext'"), '1.1', "node $id: the script is updated");
	write_through($n);
	is($n->sql("SELECT 'paxos.log_entry'::regclass::oid"), $oid, "node $id: the log stays the same table");
	is(join(' ', map { $n->worker_pid($_) } qw(proposer learner)), "@workers", "node $id: workers went on");

	$n->sql("CREATE TABLE made_on_$id (id int PRIMARY KEY) USING paxos");
	write_through($_) for $c->nodes;
	my $key = "w$writes";
	is($_->sql_after_barrier("SELECT value FROM paxos.kv WHERE key = '$key'"), $writes, "node " . $_->id . " reads what was written last") for $c->nodes;
	$c->await_acknowledged($rows, 5, $t);
	$n->poll_sql("SELECT count(*) = 3 FROM paxos.members WHERE connected AND protocol_speaks = CASE WHEN node_id <= $id THEN 3 ELSE 2 END");
}
my $r1 = $c->finish_load($rows);
my $r2 = $c->finish_load($counts);
$c->check_inserts($r1, 'rows');
$c->check_counts($r2, 'counters');

# ---- all are upgraded: the new format is used -----------------------------------------
$_->poll_sql("SELECT protocol_version = 3 FROM paxos.status") for $c->nodes;
$_->poll_sql("SELECT count(*) = 2 FROM paxos.member_memory WHERE version = 3") for $c->nodes;
pass('version 3 is in use on all nodes, by itself');
write_through($n2);
is(newest_format($n2), 3, 'commands are written in the new format');
$c->await_equal;

# Whoever is away counts as what it spoke last, and that outlives a restart.
$n3->stop;
restart_as($n1, $next);
is($n1->sql("SELECT protocol_version FROM paxos.status"), 3, 'a member that is away is remembered');
write_through($n1);

# ---- back to the old build ---------------------------------------------------------------
my $applied = $n1->sql("SELECT applied FROM paxos.status");
$n3->run_build(undef);
$n3->start;
$n3->poll_sql("SELECT count(*) = 1 FROM paxos.alarms WHERE alarm = 'stuck' AND detail ~ 'format version 3.*up to 2.*install a newer version'");
pass('a node that cannot read a command does not apply it, and says what to do');
cmp_ok($n3->sql("SELECT applied FROM paxos.status"), '<', $applied, 'nor does it skip the slot');
$_->poll_sql("SELECT protocol_version = 2 FROM paxos.status") for $n1, $n2;
write_through($n1);
is(newest_format($n1), 2, 'the others write what it can read from then on');
$n3->stop;
$n3->run_build($next);
$n3->start;
$_->poll_sql("SELECT protocol_version = 3 FROM paxos.status") for $c->nodes;
$c->await_equal;
$n3->poll_sql("SELECT count(*) = 0 FROM paxos.alarms");

# ---- two versions apart ------------------------------------------------------------------
my $mark1 = $n1->log_size;
$n1->stop;
$n1->run_build(undef);
restart_as($n3, $after_next);
$n1->start;
$n3->sql("ALTER EXTENSION paxos_ext UPDATE");
is($n3->sql("SELECT extversion FROM pg_extension WHERE extname = 'paxos_ext'"), '1.2', 'node 3 is one version ahead of node 2, and two of node 1');
$n3->poll_sql("SELECT last_error = 'the peer speaks protocol version 3, this node versions 1 to 2' FROM paxos.members WHERE node_id = 1");
like($n1->log_since($mark1), qr/ERROR:  the peer speaks protocol version 3, this node versions 1 to 2\n.*HINT:  Install a newer version of paxos_ext on this node/, 'the one left behind refuses, and says what to install');
$n1->poll_sql("SELECT last_error = 'the peer speaks protocol version 2, this node versions 3 to 4' FROM paxos.members WHERE node_id = 3");
pass('and is refused');
write_through($n2);
write_through($n3);
pass('the others go on');
$n1->stop;
$n1->run_build($next);
$n1->start;
$c->same_everywhere("SELECT count(*) FROM paxos.kv", 'all nodes hold the same in the end');
$_->poll_sql("SELECT count(*) = 3 FROM paxos.members WHERE connected") for $c->nodes;
$_->poll_sql("SELECT protocol_version = 3 FROM paxos.status") for $c->nodes;

# ---- who may join ---------------------------------------------------------------------
my $n4 = $c->add_server;
$n4->start;
$n4->create_extension;
$n1->fails("SELECT paxos_add_member('" . $n4->member_conninfo . "')", '55000', qr/differ in their version of paxos_ext/, 'nobody joins a cluster in the middle of an upgrade');
done_testing;
