# The proposer process on real servers: members reached by name, its end and new
# life with sessions waiting, a member that reads nothing, a full queue.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, form => 0,
	conf => "paxos.max_unsent = '2MB'\npaxos.queue_memory = '8MB'\npaxos.trace = roles\n");

sub set_timeout
{
	my ($t) = @_;
	for my $n ($c->nodes) { $n->conf("paxos.election_timeout = '$t'"); $n->reload; $n->poll_sql("SHOW paxos.election_timeout", $t); }
}

# ---- members reached by name (paxos_resolve.c) ----------------------------------------
my $members = join(', ', map { "'" . ($_->member_conninfo =~ s/host=\S+/host=localhost/r) . "'" } $c->nodes);
$c->node(1)->sql("SELECT paxos_create_cluster(ARRAY[$members])");
$c->await_followers;
is($c->node(2)->sql("SELECT applied FROM paxos_kv_put('by name', '1')"), 't', 'members whose address is a host name');

# ---- a new life of the proposer settles what the old one numbered ------------------------
# (paxos_queue_settle, the first batch of a life)  No majority answers while the
# leader's proposer ends with a command numbered; whatever the session is told
# must be true.
for my $round (1 .. 3)
{
	my $leader = $c->await_followers;
	my @others = grep { $_ != $leader } $c->nodes;
	my $writer = $leader->session;
	my $reader = $leader->session;
	$_->query("SET paxos.statement_timeout = '60s'") for $writer, $reader;
	my $proposals = $leader->sql("SELECT proposals FROM paxos.stats");
	$_->sigstop for @others;
	$writer->ask("SELECT applied FROM paxos_kv_put('settle $round', '1')");
	my $proposed = PaxosCluster::poll('it is proposed', sub {
		my ($role, $n) = split /\|/, $leader->sql("SELECT role, proposals FROM paxos.status, paxos.stats");
		return $n > $proposals ? 'yes' : $role ne 'leader' && 'too late';
	});
	if ($proposed ne 'yes')
	{
		# It had stepped down, for the machine was slow: once more.
		$_->sigcont for @others;
		is($writer->answer, 't', 'in time');
		$_->close for $writer, $reader;
		redo;
	}
	$reader->ask("SELECT paxos_kv_get('by name')");
	my $pid = $leader->worker_pid('proposer');
	$leader->sql("SELECT pg_terminate_backend($pid)");
	$leader->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'paxos proposer' AND pid <> $pid");
	ok(!$writer->answered, "round $round: nothing definite is said while nothing is known");
	$_->sigcont for @others;
	my $answer = $writer->answer;
	$c->await_followers;
	my $there = $leader->sql("SELECT paxos_barrier() > 0; SELECT count(*) FROM paxos.kv WHERE key = 'settle $round'");
	note("round $round: " . (split /\n/, $answer)[0]);
	if ($answer =~ /57P03/)
	{
		is($there, "t\n0", "round $round: told it was lost, and it is not there");
	}
	elsif ($answer =~ /40003/)
	{
		like($there, qr/^t\n[01]$/, "round $round: told it is unknown");
	}
	else
	{
		is("$answer $there", "t t\n1", "round $round: told it was applied, and it is there");
	}
	is($reader->answer, '1', "round $round: a read asked of the old life is answered in the new one");
}

# ---- a member that reads nothing ------------------------------------------------------------
# (paxos_peer.c, unsent_bytes)  It is cut when too much waits for it, which costs the
# others nothing, and catches up when it is back.
my $leader = $c->await_followers;
my ($slow) = grep { $_ != $leader } $c->nodes;
set_timeout('10s');	# after which it is cut because it does not answer
my $size = $leader->log_size;
$slow->sigstop;
my $written = 0;
PaxosCluster::poll('the connection is cut', sub {
	$written += $leader->sql("SELECT count(*) FROM generate_series(1, 20), LATERAL paxos_kv_put('big', to_jsonb(repeat('x', 300000))) WHERE applied");
	return $leader->log_since($size) =~ /connection to node $slow->{number} failed: too far behind/;
});
pass("a member that reads nothing is cut, after $written writes");
is($leader->sql("SELECT applied FROM paxos_kv_put('meanwhile', '1')"), 't', 'and the others go on');
$slow->sigcont;
$c->await_equal;
pass('it catches up when it is back');
set_timeout('1s');

# ---- a full queue -----------------------------------------------------------------------------
# (paxos_queue.c, the hard limit of the area)  Without a leader the commands stay in
# the queue; the one that finds no room is told so, and cancelled ones give it back.
$leader = $c->await_followers;
my @others = grep { $_ != $leader } $c->nodes;
$_->kill9 for @others;
$leader->poll_sql("SELECT leader IS NULL OR leader = 0 FROM paxos.status");
my @sessions = map { $leader->session } 1 .. 14;
for my $s (@sessions)
{
	$s->query("SET paxos.statement_timeout = 0");
	$s->ask("SELECT applied FROM paxos_insert_if_not_exists('paxos.kv', jsonb_build_object('key', 'full $s->{pid}', 'value', repeat('x', 900000)))");
}
my @full = ();
PaxosCluster::poll('one is refused', sub {
	@full = grep { $_->answered } @sessions;
	return @full > 0;
});
like($full[0]->answer, qr/ERROR:  53400/, 'a command that finds the queue full is refused');
my @waiting = grep { my $s = $_; !grep { $_ == $s } @full } @sessions;
cmp_ok(scalar(@waiting), '>=', 4, 'while others wait in it');
for my $s (@waiting)
{
	$leader->sql("SELECT pg_cancel_backend($s->{pid})");
}
for my $s (@waiting)
{
	like($s->answer, qr/ERROR:  (57014|53400)/, 'cancelled in the queue, or refused: never sent');
}
my $r = $leader->try("SET paxos.statement_timeout = '300ms'; SELECT applied FROM paxos_insert_if_not_exists('paxos.kv', jsonb_build_object('key', 'room', 'value', repeat('x', 900000)))");
is($r->{sqlstate}, '57P03', 'and then there is room again');
$_->start for @others;
$c->await_followers;
is($leader->sql("SELECT paxos_barrier() > 0; SELECT count(*) FROM paxos.kv WHERE key LIKE 'full %' OR key = 'room'"), "t\n0",
	'nothing that was never sent is there');
$c->await_equal;
done_testing;
