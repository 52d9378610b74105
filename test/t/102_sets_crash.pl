# Write sets, and the origin's session, learner or server gone at the points that matter:
# what the cluster has decided is there once, on every node, whoever lived to see it.
use strict;
use warnings;
use PaxosCluster;
use Test::More;
use Time::HiRes qw(usleep);

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = $c->nodes;
$n[1]->sql("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) USING paxos");
$n[1]->sql("INSERT INTO account SELECT i, 100 FROM generate_series(1, 20) i");
$c->await_equal;

sub everywhere
{
	my ($sql, $expected, $name) = @_;
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql($sql), $expected, "$name, on node $_->{number}") for @n;
}

sub learner { return $_[0]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'"); }

# A session of node 1 that has sent its set; the learner there is stopped, so it has
# not been decided as far as node 1 knows, but the others have applied it.
sub committing
{
	my ($id, $balance) = @_;
	my $s = $n[0]->session;
	my $pid = $s->query("SELECT pg_backend_pid()");
	$s->query("BEGIN");
	$s->query("UPDATE account SET balance = $balance WHERE id = $id");
	my $learner = learner($n[0]);
	PaxosCluster::stand_still($learner);
	$s->ask("COMMIT");
	$n[1]->poll_sql("SELECT balance = $balance FROM account WHERE id = $id");
	return ($s, $pid, $learner);
}

# The session is cancelled: unknown to it, and done.
my ($s, $pid, $learner) = committing(1, 201);
kill 'INT', $pid;
like($s->answer, qr/40003.*outcome of the transaction.*all or none/s, 'cancelled after it was sent: unknown');
is($n[0]->sql("SELECT balance FROM account WHERE id = 1"), '100', 'the session has rolled back');
kill 'CONT', $learner;
everywhere("SELECT balance FROM account WHERE id = 1", '201', 'and it was done');
$s->close;

# The session is stopped when its turn comes, and misses it: the learner does not wait.
($s, $pid, $learner) = committing(2, 202);
PaxosCluster::stand_still($pid);
kill 'CONT', $learner;
$n[0]->poll_sql("SELECT state <> 'x' FROM pg_stat_activity WHERE pid = $pid");
PaxosCluster::poll('the turn is withdrawn', sub {
	$n[0]->sql("SELECT count(*) FROM pg_locks WHERE pid = $learner AND locktype = 'relation' AND relation = 'account'::regclass") > 0
	  || $n[0]->sql("SELECT balance FROM account WHERE id = 2") == 202 });
kill 'CONT', $pid;
like($s->answer, qr/40003|57P01|terminat|closed|lost/, 'the session that missed its turn does not know');
everywhere("SELECT balance FROM account WHERE id = 2", '202', 'and it was done');
$s->close;

# The server is killed when the cluster has decided and it has not.
($s, $pid, $learner) = committing(3, 203);
$n[0]->kill9;
$s->close;
$n[0]->start;
everywhere("SELECT balance FROM account WHERE id = 3", '203', 'decided before the crash: applied after it');

# Only the session is killed: the server starts anew.
($s, $pid, $learner) = committing(4, 204);
kill 'KILL', $pid;
kill 'CONT', $learner;
$n[0]->poll_sql("SELECT balance = 204 FROM account WHERE id = 4");
everywhere("SELECT balance FROM account WHERE id = 4", '204', 'the session killed: applied by the learner');
$s->close;

# Only the learner is killed.
($s, $pid, $learner) = committing(5, 205);
kill 'KILL', $learner;
$n[0]->poll_sql("SELECT balance = 205 FROM account WHERE id = 5");
everywhere("SELECT balance FROM account WHERE id = 5", '205', 'the learner killed: applied by the next');
$s->close;

# The learner ends with the session waiting: the next one gives it its turn.
$c->await_leader;
($s, $pid, $learner) = committing(6, 206);
kill 'TERM', $learner;
kill 'CONT', $learner;
is($s->answer, '', 'a learner that begins anew gives the turn');
everywhere("SELECT balance FROM account WHERE id = 6", '206', 'and the change is there');
$s->close;

# The machine stands still, and the learner is the first to go on: the session has its turn.
($s, $pid, $learner) = committing(6, 306);
PaxosCluster::stand_still($pid);
kill 'CONT', $learner;
usleep(300_000);
PaxosCluster::stand_still($learner);
usleep(2_500_000);    # longer than a turn is waited for
kill 'CONT', $learner;
usleep(300_000);
kill 'CONT', $pid;
is($s->answer, '', 'time in which nobody could do anything does not count');
everywhere("SELECT balance FROM account WHERE id = 6", '306', 'and the change is there');
$s->close;

# Killed under load, again and again: transfers that keep the sum.
my $file = "$n[0]{dir}/transfer.sql";
open my $f, '>', $file or die "$file: $!";
print $f <<'SQL';
\set a random(7, 20)
\set b random(7, 20)
BEGIN;
UPDATE account SET balance = balance - 1 WHERE id = :a;
UPDATE account SET balance = balance + 1 WHERE id = :b;
END;
SQL
close $f;
for my $round (1 .. 3)
{
	my @running;
	for my $n (@n)
	{
		my $pid = open my $out, '-|',
		  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 3 -T 250 --max-tries=1000 postgres 2>&1"
		  or die "pgbench: $!";
		push @running, [ $out, $pid ];
	}
	my $victim = $n[ $round % 3 ];
	my $before = $n[0]->sql("SELECT applied FROM paxos.replicated");
	$victim->poll_sql("SELECT applied > $before + 40 FROM paxos.replicated");
	$victim->kill9;
	$victim->start;
	$before = $victim->sql("SELECT applied FROM paxos.replicated");
	$victim->poll_sql("SELECT applied > $before + 40 FROM paxos.replicated");
	kill 'TERM', map { $_->[1] } @running;
	for my $out (map { $_->[0] } @running) { my $said = join '', <$out>; close $out; }
	$c->await_leader;
	everywhere("SELECT sum(balance) FROM account WHERE id >= 7", '1400', "round $round: the sum stands");
}
$c->await_equal;
is($_->sql("SELECT count(*) FROM paxos.alarms WHERE alarm = 'divergence'"), 0, 'no divergence') for @n;
done_testing();
