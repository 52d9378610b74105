# The clients of torture runs and the verification after them (test/torture/README): a
# short run with little going wrong passes, and everything that verify is to find
# is found when it is there.
use strict;
use warnings;
use File::Basename;
use PaxosCluster;
use Test::More;

my $torture = dirname(__FILE__) . '/../torture';
my $history = dirname(__FILE__) . '/../history';
for ($torture, $history) { system('make', '-s', '-C', $_) == 0 or die "make -C $_ failed"; }

my $c = PaxosCluster->new(nodes => 3, conf => "max_prepared_transactions = 2\n");
my ($leader) = $c->await_followers;
my ($other) = grep { $_ != $leader } $c->nodes;
my $dir = $c->{dir};
my @conninfos = map { ('--conninfo', $_->conninfo) } $c->nodes;
open my $f, '>', "$dir/nodes" or die $!;
print $f join("\t", $_->{number}, $_->logfile, $_->conninfo, ''), "\n" for $c->nodes;
close $f;

# ---- the clients --------------------------------------------------------------

is(system("$torture/build/workload", '--setup', @conninfos), 0, 'tables are made');
my $pid = fork() // die "fork: $!";
if ($pid == 0)
{
	open STDOUT, '>', "$dir/workload.out";
	exec "$torture/build/workload", '--history', "$dir/history", '--seed', 3, '--clients', 3, '--think', 2, @conninfos or POSIX::_exit(127);
}
sub records { my ($like) = @_; return scalar grep { /$like/ } split /\n/, PaxosCluster::Node::slurp("$dir/history"); }
PaxosCluster::poll('operations succeed', sub { records(qr/^f .* ok/) > 1200 });
# Until it has been in the middle of something.
do
{
	$leader = $c->await_followers;
	$leader->kill9;
	my $done = records(qr/^f .* ok/);
	PaxosCluster::poll('others go on', sub { records(qr/^f .* ok/) > $done + 200 });
	$leader->start;
	my $again = records(qr/^s \S+ \S+ $leader->{number}\d\d\d /);
	PaxosCluster::poll('and its clients again', sub { records(qr/^s \S+ \S+ $leader->{number}\d\d\d /) > $again + 30 });
} until records(qr/^f .* unknown/);
kill 'TERM', $pid;
waitpid $pid, 0;
my $out = PaxosCluster::Node::slurp("$dir/workload.out");
is($?, 0, 'every kind of operation succeeded') or diag($out);
like($out, qr/^WORKLOAD name=w seed=3 .* ok=\d+ .* longest_gap_ms=\d+$/m, 'figures');
cmp_ok(records(qr/^f .* unknown/), '>', 0, 'clients of a killed server do not know');
note($out);

# ---- what is right -------------------------------------------------------------

sub verify
{
	my ($patience, @histories) = @_;
	my $out = qx{PAXOS_BINDIR='$PaxosCluster::BINDIR' '$^X' '$torture/verify' --dir '$dir' --hist '$history/build/hist' --patience $patience @histories 2>&1};
	return ($?, $out);
}
my ($status, $said) = verify(60, "$dir/history");
is($status, 0, 'a cluster that is right passes') or diag($said);
is(scalar(() = $said =~ /^ok - node \d: no process has more than/mg), 3, 'what processes have open was looked at');

# ---- what is wrong -------------------------------------------------------------

# Something of each kind.
my $text = PaxosCluster::Node::slurp("$dir/history");
my $changed = 0;
$text =~ s/^(f .* ok cur=)(\d+)$/$changed++ == 5 ? "${1}987654321" : "$1$2"/gem;
open $f, '>', "$dir/history.wrong" or die $!;
print $f $text;
close $f;

$other->sql(q{SET allow_system_table_mods = on;
	UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'heap') WHERE oid = 'torture_account'::regclass;
	UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'torture_account'::regclass;
	INSERT INTO torture_account VALUES ('nobody', 77);
	UPDATE pg_trigger SET tgenabled = 'A' WHERE tgrelid = 'torture_account'::regclass;
	UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'paxos') WHERE oid = 'torture_account'::regclass});
$other->fails('SELECT 1 / 0', '22012', qr/division by zero/, 'an error for the log');
$other->sql("BEGIN; CREATE TABLE left_behind (); PREPARE TRANSACTION 'left'");
my $session = $other->session;
$session->query("SET application_name = 'torture'; SELECT pg_advisory_lock(7)");
my $number = $other->{number};
my $idle = $other->session;
$idle->query("BEGIN; SELECT count(*) FROM torture_seat");
my $base = $other->datadir . '/base/' . $other->sql("SELECT oid FROM pg_database WHERE datname = current_database()");
my @files = ($other->datadir . '/paxos_ext.node.new', "$base/99999999", $other->datadir . '/base/pgsql_tmp/pgsql_tmp1.0');
mkdir $other->datadir . '/base/pgsql_tmp';
for (@files) { open $f, '>', $_ or die "$_: $!"; close $f; }
($status, $said) = verify(6, "$dir/history.wrong");
isnt($status, 0, 'one that is not right does not pass');
for my $found (
	qr/the history is linearizable, final values included, in some order/, qr/the history is linearizable, final values included, in the order of slots/,
	qr/rows of torture_account\n(#.*\n)*#   only on node $number: \(nobody,77\)/, qr/node $number has no row that nobody wrote\n#   acct\/nobody/,
	qr/node $number: no transaction and no lock is kept\n(#.*\n)*?#   \S+ \(client backend/,
	qr/node $number: no file is left over\n#   paxos_ext.node.new\n(#.*\n)*?#   base\/\d+\/99999999\n#   base\/pgsql_tmp\/pgsql_tmp1.0\n/,
	qr/node $number has no prepared transaction/, qr/node $number: sessions of clients are gone/, qr/node $number: no advisory lock is kept/,
	qr/node $number: every ERROR, FATAL and PANIC in the log is explained\n#   \d times: ERROR:  .*division by zero/)
{
	like($said, qr/^not ok - $found/m, "found: $found");
}
is(scalar(() = $said =~ /^not ok/mg), 10, 'and nothing else') or diag($said);
$_->close for $session, $idle;
unlink @files;
$other->sql("ROLLBACK PREPARED 'left'");

# A node that does not come after; a session waits on it for ever.
my $waits = $other->session;
$waits->query("SET paxos.statement_timeout = 0");
$_->sigstop for grep { $_ != $other } $c->nodes;
$waits->ask("SELECT applied FROM paxos_kv_put('waits', '1')");
PaxosCluster::poll('it waits', sub { $other->sql('SELECT queue_cells FROM paxos.stats') == 1 });
pass('a session that waits is seen in paxos.stats');
$_->sigcont for grep { $_ != $other } $c->nodes;
is($waits->answer, 't', 'it ends when there is a majority again');
is($other->sql('SELECT queue_cells, queue_bytes FROM paxos.stats'), '0|0', 'and leaves nothing in the queue');
$other->sigstop;
($status, $said) = verify(2, "$dir/history");
$other->sigcont;
isnt($status, 0, 'nor does one with a node that stands still');
like($said, qr/^not ok - node $number serves a linearizable read/m, 'which is said');
done_testing;
