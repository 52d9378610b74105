# A value in the log that fails its checksum is never applied and never reported in
# a promise as if it were sound: an alarm, and it comes from another member
# (protocol.md sections 4 and 10).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
my ($x, $other) = grep { $_ != $leader } $c->nodes;
$leader->sql("CREATE TABLE t (id int PRIMARY KEY, s text) USING paxos");
my $n = 0;
sub add { my ($node) = @_; $n++; return $node->try("SELECT applied FROM paxos_insert_if_not_exists('t', '{\"id\": $n, \"s\": \"row $n\"}')")->{out}; }
sub flip { my ($node, $slot) = @_; $node->sql("SET allow_system_table_mods = on; UPDATE paxos.log_entry SET value = set_byte(value, 30, get_byte(value, 30) # 255) WHERE slot = $slot"); }
sub sound { my ($slot) = @_; return "SELECT kind <> 'unreadable' AND chosen FROM paxos.log WHERE slot = $slot"; }
sub logged
{
	my ($node, $like, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like(PaxosCluster::Node::slurp($node->logfile), $like, $name);
}
add($leader) for 1 .. 3;
$c->await_equal;

# --- Accepted here, known chosen nowhere near: no promise. ------------------------

# No learner runs, so that all start again with an accepted entry above what they
# have applied and therefore know chosen.
my $slot = 1 + $leader->sql("SELECT max(slot) FROM paxos.log_entry");
PaxosCluster::stand_still($_->worker_pid('learner')) for $c->nodes;
$n++;
my $h = $leader->start_sql("SELECT applied FROM paxos_insert_if_not_exists('t', '{\"id\": $n, \"s\": \"row $n\"}')");
for my $node ($c->nodes)
{
	PaxosCluster::poll('all have accepted it', sub { $node->sql("SELECT count(*) FROM paxos.log_entry WHERE slot = $slot") });
}
$_->kill9 for $c->nodes;
$leader->finish_sql($h);
$x->start;
flip($x, $slot);
is($x->sql("SELECT kind FROM paxos.log WHERE slot = $slot"), 'unreadable', 'its value is damaged');
$other->start;
PaxosCluster::poll('an alarm', sub { $x->sql("SELECT alarm FROM paxos.alarms WHERE slot = $slot") eq 'corrupt value' });
pass('asked for a promise, it finds out and raises an alarm');
my $r = $other->try("SET paxos.statement_timeout = '2s'; SELECT applied FROM paxos_kv_put('a', '1')");
like($r->{sqlstate}, qr/^57P03$/, 'and promises nothing: there is no leader, although a majority is up');
is($x->sql("SELECT alarm, detail FROM paxos.alarms"), "corrupt value|the value of slot $slot in this node's log fails its checksum", 'the alarm stands');
$leader->start;
PaxosCluster::poll('fetched', sub { $x->sql(sound($slot)) eq 't' });
PaxosCluster::poll('the alarm is over', sub { $x->sql("SELECT count(*) FROM paxos.alarms") == 0 });
pass('with the third it is fetched, and the alarm is over');
$c->same_everywhere("SELECT * FROM t ORDER BY id", 'nothing is lost, nothing damaged is applied');
is($x->sql("SELECT count(*) FROM t"), $n, 'all rows');
logged($x, qr/WARNING:  .*alarm "corrupt value".*slot $slot /, 'the log has the alarm');
logged($x, qr/alarm "corrupt value" is over/, 'and its end');
$c->await_followers;
my ($down) = grep { $_ != $x } $c->nodes;
$down->stop;
PaxosCluster::poll('a write with its vote', sub { add($x) eq 't' });
pass('then it votes again');
$down->start;
$leader = $c->await_followers;
$c->await_equal;

# --- Applied long ago: somebody who was away asks for it. --------------------------

my ($away) = grep { $_ != $leader } $c->nodes;
$away->stop;
add($leader) for 1 .. 3;
$slot = $leader->sql("SELECT max(slot) - 1 FROM paxos.log WHERE kind = 'commands'");
$c->await_equal;
flip($leader, $slot);
my $cluster = $leader->sql("SELECT cluster_id FROM paxos.status");
$leader->fails("SELECT * FROM paxos.fetch('$cluster', 1, " . $away->id . ", $slot, $slot, 1000)", 'XX001', qr/slot $slot is damaged/,
	'a damaged value is given to nobody');
$away->start;
$c->same_everywhere("SELECT count(*) FROM t", 'who was away gets all');
PaxosCluster::poll('repaired', sub { $leader->sql(sound($slot)) eq 't' && $leader->sql("SELECT count(*) FROM paxos.alarms") == 0 });
pass('and the damaged log is whole again');
logged($leader, qr/alarm "corrupt value".*slot $slot /, 'it was noticed there');

# --- Known chosen, about to be applied. ----------------------------------------------

my ($late) = grep { $_ != $leader } $c->nodes;
my $learner = $late->worker_pid('learner');
PaxosCluster::stand_still($learner);
add($leader) for 1 .. 3;
$slot = $leader->sql("SELECT max(slot) - 1 FROM paxos.log WHERE kind = 'commands'");
PaxosCluster::poll('it has accepted all', sub { $late->sql("SELECT count(*) FROM paxos.log_entry WHERE slot > $slot") });
flip($late, $slot);
kill 'CONT', $learner;
$c->same_everywhere("SELECT * FROM t ORDER BY id", 'a learner does not apply a damaged value, but another member\'s');
$late->poll_sql("SELECT count(*) FROM paxos.alarms", 0);
is($late->sql(sound($slot)), 't', 'which stands in its log now');
logged($late, qr/alarm "corrupt value".*slot $slot /, 'it raised an alarm');

# --- Damaged on all: waits, with an alarm, and applies nothing. ---------------------

$away->stop;
add($leader);
$slot = $leader->sql("SELECT max(slot) FROM paxos.log WHERE kind = 'commands'");
$c->await_equal;
my $value = $leader->sql("SELECT value FROM paxos.log_entry WHERE slot = $slot");
flip($_, $slot) for $c->alive;
$_->restart for $c->alive;	# a leader still has in memory what it proposed
$leader = $c->await_leader;
$away->start;
PaxosCluster::poll('it lags', sub { $away->sql("SELECT chosen < $slot FROM paxos.status") eq 't' });
PaxosCluster::poll('both have noticed', sub {
	2 == grep { $_->sql("SELECT count(*) FROM paxos.alarms WHERE alarm = 'corrupt value' AND slot = $slot") } grep { $_ != $away } $c->nodes });
is($away->sql("SELECT count(*) FROM t WHERE id = $n"), 0, 'a value that is damaged everywhere is applied nowhere');
$leader->sql("SET allow_system_table_mods = on; UPDATE paxos.log_entry SET value = '$value' WHERE slot = $slot");
$c->same_everywhere("SELECT * FROM t ORDER BY id", 'until one has it again');
for my $node ($c->nodes)
{
	$node->poll_sql("SELECT count(*) FROM paxos.alarms", 0);
	is($node->sql(sound($slot)), 't', "node $node->{number}'s log is whole");
}
done_testing;
