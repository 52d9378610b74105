# Plain statements from three nodes at once: nobody overdraws, nobody is told to
# try again, and what could not be decided in time is said to be unknown.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, moves int NOT NULL DEFAULT 0) USING paxos");
$n[0]->sql("INSERT INTO account VALUES (1, 100000)");
$c->await_equal;

# 3 nodes, 4 clients each, 25 attempts each: 300 attempts, enough for 100.
my $withdraw = "UPDATE account SET balance = balance - 1000, moves = moves + 1 WHERE id = 1 AND balance >= 1000";
my $file = "$n[0]{dir}/withdraw.sql";
open my $f, '>', $file or die "$file: $!";
print $f "$withdraw;\n";
close $f;

my @running;
for my $n (@n)
{
	for my $mode ('simple', 'prepared')
	{
		open my $out, '-|',
		  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 2 -t 25 -M $mode postgres 2>&1" or die "pgbench: $!";
		push @running, $out;
	}
}
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	unlike($said, qr/ERROR|FATAL|aborted/, 'no client met an error');
	like($said, qr/number of transactions actually processed: 50\/50/, 'every statement ended well');
}
$_->sql("SELECT paxos_barrier()") for @n;
is($_->sql("SELECT balance, moves FROM account"), '0|100', "exactly what was there is taken, on node $_->{number}") for @n;

# Several rows at once, from everywhere: together or not at all, and none is lost.
$n[0]->sql("CREATE TABLE tally (id int PRIMARY KEY, n int NOT NULL CHECK (n <= 100)) USING paxos");
$c->await_equal;
open $f, '>', $file or die "$file: $!";
print $f "INSERT INTO tally AS t VALUES (1, 1), (2, 1), (3, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + EXCLUDED.n WHERE t.n < 90;\n";
close $f;
@running = ();
for my $n (@n)
{
	open my $out, '-|',
	  "exec $PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 2 -t 20 -M prepared postgres 2>&1" or die "pgbench: $!";
	push @running, $out;
}
for my $out (@running)
{
	my $said = join '', <$out>;
	close $out;
	like($said, qr/number of transactions actually processed: 40\/40/, 'every INSERT of several rows ended well');
}
$_->sql("SELECT paxos_barrier()") for @n;
is($_->sql("SELECT string_agg(n::text, ' ' ORDER BY id) FROM tally"), '90 90 90', "all of them counted, on node $_->{number}") for @n;
$n[1]->fails("INSERT INTO tally AS t VALUES (3, 1), (4, 1), (1, 11) ON CONFLICT (id) DO UPDATE SET n = t.n + EXCLUDED.n", '23514', qr/tally_n_check/, 'one row that fails');
is($n[1]->sql("SELECT string_agg(n::text, ' ' ORDER BY id) FROM tally"), '90 90 90', 'and nothing of its statement was done');
$c->await_equal;

# What one node inserts another finds taken.
$n[1]->sql("INSERT INTO account VALUES (2, 5)");
$n[2]->fails("INSERT INTO account VALUES (2, 6)", '23505', qr/account_pkey/, 'the key is taken, on another node too');
is($n[2]->sql("INSERT INTO account VALUES (2, 6) ON CONFLICT DO NOTHING RETURNING balance"), '', 'DO NOTHING does nothing');
is($n[0]->sql("DELETE FROM account WHERE id = 2 AND balance = 5 RETURNING balance"), '5', 'DELETE RETURNING on the third');

# While it waits, the table can be dropped or get an index: it holds no locks.
my $writer = $n[0]->session;
my $learner = $n[0]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
PaxosCluster::stand_still($learner);
my $backend = $writer->query("SELECT pg_backend_pid()");
$writer->ask("UPDATE account SET balance = 7 WHERE id = 1 RETURNING balance");
$n[0]->poll_sql("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $backend");
is($n[0]->sql("SELECT count(*) FROM pg_locks WHERE pid = $backend AND relation IN ('account'::regclass, 'account_pkey'::regclass)"),
	0, 'a waiting statement holds no lock on its table');
kill 'CONT', $learner;
is($writer->answer, '7', 'and has its answer');

# Cancelled when it has been sent.
PaxosCluster::stand_still($learner);
$writer->ask("UPDATE account SET balance = 8 WHERE id = 1 RETURNING balance");
$n[1]->poll_sql("SELECT count(*) = 1 FROM account WHERE balance = 8");
kill 'INT', $backend;
my $said = $writer->answer;
kill 'CONT', $learner;
like($said, qr/ERROR:  40003/, 'a cancelled one that was sent has an unknown outcome');
$n[0]->poll_sql("SELECT balance = 8 FROM account WHERE id = 1");
pass('and was done');

# Without a majority: sent, perhaps decided, and never more than that is said.
$n[1]->sigstop;
$n[2]->sigstop;
my $r = $n[0]->try("SET paxos.statement_timeout = '1s'; UPDATE account SET moves = moves + 1 WHERE id = 1");
$n[1]->sigcont;
$n[2]->sigcont;
like($r->{sqlstate}, qr/^(40003|57P03)$/, 'without a majority the outcome is unknown, or nothing was sent');
$c->await_leader;
$c->await_equal;
my $moves = $n[0]->sql("SELECT moves FROM account WHERE id = 1");
ok($moves == 100 || $moves == 101, 'it happened once or never');
$n[0]->sql("UPDATE account SET moves = 5 WHERE id = 1");
$c->same_everywhere("SELECT id, balance, moves FROM account ORDER BY id", 'all nodes agree');

done_testing;
