# What a client is told, for every outcome that can be provoked; cancelled and
# terminated while waiting; workers killed with -9.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
my ($a, $b) = grep { $_ != $leader } $c->nodes;
$a->sql("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100), v varchar(5)) USING paxos");
$a->sql("SELECT paxos_insert_if_not_exists('t', '{\"id\": 1, \"n\": 1}')");
$c->await_equal;

# ---- decided at the slot, or before it was sent ----------------------------------
$a->fails("SELECT paxos_insert_if_not_exists('t', '{\"id\": 2, \"n\": 100}')", '23514', qr/check constraint/, 'check violation');
$a->fails("SELECT paxos_update_if('t', '{\"id\": 1}', '{\"n +=\": 2147483647}', '{}')", '22003', qr/out of range/, 'overflow at the slot');
$a->fails("SELECT paxos_insert_if_not_exists('t', '{\"id\": 2, \"v\": \"too long\"}')", '22001', qr/too long/, 'value too long');
$a->fails("SELECT paxos_insert_if_not_exists('t', '{\"id\": \"x\"}')", '22P02', qr/invalid input/, 'bad input');
$a->fails("SELECT paxos_insert_if_not_exists('t', '{\"nosuch\": 1}')", '42703', qr/column/, 'no such column');
$a->fails("SELECT paxos_insert_if_not_exists('nosuch', '{}')", '42P01', qr/does not exist/, 'no such table');
$a->fails("SELECT paxos_kv_put('k', to_jsonb(repeat('x', 2000000)))", '54000', qr/large|limit/, 'a command larger than the limit');
$a->fails("CREATE TABLE plain (id int PRIMARY KEY); SELECT paxos_insert_if_not_exists('plain', '{\"id\": 1}')", '42809', qr/plain/, 'not a consensus table');

# ---- transactions ------------------------------------------------------------------
$a->fails("BEGIN; SELECT paxos_kv_put('k', '1')", '25001', qr/transaction block/, 'a writing function in a transaction block');
$a->fails("BEGIN; SAVEPOINT s; SELECT paxos_kv_put('k', '1')", '25001', qr/transaction/, 'in a subtransaction');
$a->fails("DO \$\$ BEGIN BEGIN PERFORM paxos_kv_put('k', '1'); EXCEPTION WHEN division_by_zero THEN NULL; END; END \$\$", '25001',
	qr/transaction/, 'in a block with an exception handler');
$a->fails("BEGIN; CREATE TABLE inblock (id int PRIMARY KEY) USING paxos", '25001', qr/transaction block/, 'DDL in a transaction block');
$a->fails("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT paxos_kv_get('k')", '25001', qr/./, 'a linearizable read under a transaction-wide snapshot');
$a->fails("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT paxos_barrier()", '25001', qr/./, 'a barrier under a transaction-wide snapshot');

# ---- row-level security ---------------------------------------------------------------
$_->sql("CREATE ROLE carol LOGIN") for $c->nodes;
$a->sql("GRANT SELECT, INSERT, UPDATE, DELETE ON t TO carol");

# ---- no majority ------------------------------------------------------------------------
$leader->kill9;
$b->kill9;
# Until the loss is noticed a command may still be taken up: that one is unknown.
my (@never, $tries);
my $r = PaxosCluster::poll('a definite refusal', sub {
	my $key = 'x' . ++$tries;
	my $r = $a->try("SET paxos.statement_timeout = '500ms'; SELECT applied FROM paxos_kv_put('$key', '1')");
	like($r->{sqlstate}, qr/^(57P03|40003)$/, "without a majority: $r->{sqlstate}") or diag "$r->{out} $r->{err}";
	push @never, $key if $r->{sqlstate} eq '57P03';
	return $r->{sqlstate} eq '57P03' ? $r : 0;
});
is($r->{sqlstate}, '57P03', 'no majority, never sent: 57P03');
ok($r->{message}, "it says: $r->{message}");

# Waiting, cancelled: it never left the queue, so the word is definite.
my $s = $a->session;
$s->query("SET paxos.statement_timeout = 0");
$s->ask("SELECT applied FROM paxos_kv_put('cancelled', '1')");
$a->poll_sql("SELECT wait_event_type = 'Extension' AND state = 'active' FROM pg_stat_activity WHERE pid = $s->{pid}");
$a->sql("SELECT pg_cancel_backend($s->{pid})");
like($s->answer, qr/ERROR:  57014/, 'cancelled while it waits to be sent: 57014, a definite word');
is($s->query("SELECT 1"), '1', 'and the session lives');

# Waiting, terminated.
$s->ask("SELECT applied FROM paxos_kv_put('terminated', '1')");
$a->poll_sql("SELECT wait_event_type = 'Extension' AND state = 'active' FROM pg_stat_activity WHERE pid = $s->{pid}");
$a->sql("SELECT pg_terminate_backend($s->{pid})");
my $answer = $s->answer;
like($answer, qr/FATAL:  57P01|ERROR:  40003/, 'terminate while waiting ends the session');
unlike($answer, qr/^[tf]$/m, 'and says nothing definite');

# statement_timeout counts as a cancel.
$r = $a->try("SET paxos.statement_timeout = 0; SET statement_timeout = '300ms'; SELECT applied FROM paxos_kv_put('timed', '1')");
is($r->{sqlstate}, '57014', 'so is statement_timeout') or diag "$r->{out} $r->{err}";

$b->start;
$c->await_leader;
is($a->sql("SELECT applied FROM paxos_kv_put('again', '1')"), 't', 'with a majority again it works');
$c->await_equal($a, $b);
is($a->sql("SELECT count(*) FROM paxos.kv WHERE key IN ('" . join("', '", @never, 'cancelled', 'timed') . "')"), 0, 'what was called never sent is not there');
$leader->start;
$c->await_followers;

# ---- unknown: numbered, and its node loses the way ------------------------------------------
# The acceptors of both peers are stopped with the command under way.  The leader is to wait
# for them until then, and not to step down.
my $calm = sub { my ($t) = @_; for my $n ($c->nodes) { $n->conf("paxos.election_timeout = '$t'"); $n->reload; $n->poll_sql("SHOW paxos.election_timeout", $t) } };
$calm->('1min');
$leader = $c->await_followers;
my @others = grep { $_ != $leader } $c->nodes;
$_->sigstop for @others;
my $req = '11111111-2222-3333-4444-555555555555';
$r = $leader->try("SET paxos.statement_timeout = '700ms'; SELECT applied FROM paxos_kv_put('unknown', '1', '$req')");
is($r->{sqlstate}, '40003', 'in an origin batch and no result: 40003') or diag "$r->{out} $r->{err}";
like($r->{detail} // '', qr/$req/, 'DETAIL gives the request id');
$_->sigcont for @others;
$calm->('1s');
$c->await_followers;
$r = $leader->sql("SELECT paxos_barrier() > 0; SELECT count(*) FROM paxos.kv WHERE key = 'unknown'");
like($r, qr/^t\n[01]$/, 'it is there once or not at all');

# ---- workers killed with -9 --------------------------------------------------------------------
# A crash of a worker is a crash of the server's shared memory: all sessions end,
# the server starts again by itself, and goes on as a member.
$c->load_table;
for my $which (qw(proposer learner))
{
	for my $n ($c->await_followers, ($c->alive)[1])
	{
		my $h = $c->start_load(statement => $PaxosCluster::LOAD_INSERT =~ s/\$2::int/\$2::int + ${\(++$c->{base} * 1000000)}/r, clients => 2);
		$c->await_acknowledged($h, 10);
		my $t = PaxosCluster::now();
		kill 'KILL', $n->worker_pid($which);
		$c->await_acknowledged($h, 10, $t + 1);
		my $records = $c->finish_load($h);
		$n->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type LIKE 'paxos %'");
		is(scalar(grep { $_->[2] eq 'F' } @$records), 0, "$which of node $n->{number} killed: nothing executed twice");
		my %acked = map { $_->[0] . '|' . ($_->[1] + $c->{base} * 1000000) => 1 } grep { $_->[2] eq 'A' } @$records;
		$c->await_equal;
		my %there = map { $_ => 1 } split /\n/, $n->sql("SELECT client, op FROM load_rows");
		is(scalar(grep { !$there{$_} } keys %acked), 0, 'nothing acknowledged is lost');
	}
}
$c->same_everywhere("SELECT count(*) FROM load_rows", 'all equal after the workers were killed');

# A worker that ends in order (SIGTERM) is restarted alone.
for my $which (qw(proposer learner))
{
	my $n = $c->node(2);
	my $pid = $n->worker_pid($which);
	$n->sql("SELECT pg_terminate_backend($pid)");
	$n->poll_sql("SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'paxos $which'");
	$n->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'paxos $which' AND pid <> $pid");
	my $w = $n->try("SELECT applied FROM paxos_kv_put('after-$which', '1')");
	is($w->{out}, 't', "$which terminated: restarted, and node 2 writes") or diag $w->{err};
}
done_testing;
