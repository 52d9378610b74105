# paxos.lease_reads: at the leader a linearizable read asks nobody; and whoever stands still
# beyond its lease - the proposer, the whole server - or hands the leadership over serves
# nothing old.  (The servers read linearizably by configuration: what nodes ask of each other
# must not mind.)
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.lease_reads = on\npaxos.read_consistency = linearizable\n");
my $leader = $c->await_followers;
my $value = 0;
my $read = "SELECT v FROM t WHERE id = 1";
my $set = "SET paxos.read_consistency = linearizable; SET paxos.statement_timeout";

$leader->sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL) USING paxos");
$leader->sql("INSERT INTO t VALUES (1, 0)");

sub write_at
{
	my ($n) = @_;
	$value++;
	$n->sql("SET paxos.statement_timeout = '60s'; UPDATE t SET v = $value WHERE id = 1");
}
sub leads { my ($n) = @_; return $n->sql("SELECT role = 'leader' AND ready FROM paxos.status") eq 't'; }

# It leads, and reads under a lease.
sub await_lease
{
	my ($n) = @_;
	PaxosCluster::poll('reads under a lease', sub {
		my $reads = $n->sql("SELECT lease_reads FROM paxos.stats");
		$n->sql("SELECT paxos_barrier()");
		return $n->sql("SELECT lease_reads FROM paxos.stats") > $reads;
	});
}

# Its processes 'who' stand still, not its sessions.
sub stop_workers { my ($n, @who) = @_; my @pids = map { $n->worker_pid($_) } @who; PaxosCluster::stand_still(@pids); return @pids; }

# ---- What it is for ----
await_lease($leader);
# (When the machine stands still the lease runs out, and somebody else may lead.)
my $s;
PaxosCluster::poll('most of twenty reads under a lease', sub {
	$leader = $c->await_followers;
	await_lease($leader);
	my $leased = $leader->sql("SELECT lease_reads FROM paxos.stats");
	$s = $leader->session;
	$s->query("$set = '60s'");
	$s->query($read) for 1 .. 20;
	return $leader->sql("SELECT lease_reads FROM paxos.stats") - $leased >= 15;
});
pass('reads at the leader are served under its lease');
for my $n ($c->nodes)
{
	for my $reader ($c->nodes)
	{
		write_at($n);
		is($reader->sql("$set = '60s'; $read"), $value, "written at node $n->{number}, read at node $reader->{number}");
	}
}
isnt($_->sql("SELECT lease_reads FROM paxos.stats"), '', 'counted') for $leader;
is($_->sql("SELECT elections_won = 0 AND lease_reads > 0 FROM paxos.stats"), 'f', 'who has never led has had no lease') for $c->nodes;

# ---- The proposer stands still ----
# So does the learner, or the new leader's values would arrive by themselves.
$leader = $c->await_followers;
await_lease($leader);
$s = $leader->session;
$s->query("$set = '120s'; $read");
my @pids = stop_workers($leader, 'learner', 'proposer');
my @others = grep { $_ != $leader } $c->nodes;
PaxosCluster::poll('another leader', sub { grep { leads($_) } @others });
write_at($others[0]);
is($leader->sql("SELECT role FROM paxos.status"), 'leader', 'the old leader knows of nothing');
$leader->fails("$set = '1s'; $read", '57P03', qr/not confirmed/, 'and reads nothing under a lease that has run out');
$s->ask($read);
$leader->poll_sql("SELECT queue_cells FROM paxos.stats", 1);
ok(!$s->answered, 'a session waits');
kill 'CONT', @pids;
is($s->answer, $value, 'and reads what was written meanwhile');

# ---- The whole server stands still ----
$leader = $c->await_followers;
await_lease($leader);
my @sessions = map { $leader->session } 1 .. 4;
$_->query("$set = '60s'; $read") for @sessions;
$leader->sigstop;
@others = grep { $_ != $leader } $c->nodes;
PaxosCluster::poll('another leader', sub { grep { leads($_) } @others });
write_at($others[1]);
$_->ask($read) for @sessions;
$leader->sigcont;
is($_->answer, $value, 'asked of a server that stood still') for @sessions;

# ---- The leadership is handed over ----
$leader = $c->await_followers;
await_lease($leader);
my ($to) = grep { $_ != $leader } $c->nodes;
$s = $leader->session;
$s->query("$set = '120s'; $read");
@pids = stop_workers($leader, 'learner');
my $id = $to->sql("SELECT node_id FROM paxos.status");
$leader->sql("SELECT paxos_transfer_leadership('$id')");
PaxosCluster::poll('it leads', sub { leads($to) });
write_at($to);
$s->ask($read);
$leader->poll_sql("SELECT queue_cells FROM paxos.stats", 1);
ok(!$s->answered, 'who has handed over waits');
kill 'CONT', @pids;
is($s->answer, $value, 'and reads what the next leader took');
await_lease($to);

# ---- Off again, while it runs ----
for my $n ($c->nodes)
{
	$n->conf("paxos.lease_reads = off");
	$n->reload;
}
PaxosCluster::poll('no lease any more', sub {
	my $n = $c->await_followers;
	my $reads = $n->sql("SELECT read_indexes FROM paxos.stats");
	$n->sql("SELECT paxos_barrier()");
	return $n->sql("SELECT read_indexes FROM paxos.stats") > $reads;
});
pass('it can be switched off');
$c->same_everywhere("SELECT * FROM t", 'all are equal');
done_testing;
