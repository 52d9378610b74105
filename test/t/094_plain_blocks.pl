# Plain statements with something around them that could roll back - blocks, several
# statements in one message, pipelines, functions - are part of that transaction, all of it or
# nothing; and ended from outside they never say "not done" of what was done.
use strict;
use warnings;
use PaxosCluster;
use Test::More;
use Time::HiRes qw(sleep time);

my $c = PaxosCluster->new(nodes => 1);
$c->await_leader;
my $n = $c->node(1);
$n->sql("CREATE TABLE acc (id int PRIMARY KEY, v int NOT NULL) USING paxos");
$n->sql("INSERT INTO acc VALUES (1, 0), (2, 0)");
$n->sql("CREATE TABLE plain_one (id int)");
my $u = "UPDATE acc SET v = v + 1 WHERE id = 1";


# What has been done, the ordinary table too; and back to where it was.
sub done
{
	my ($expected, $name) = @_;
	is($n->sql("SELECT (SELECT sum(v) FROM acc) || ' ' || (SELECT count(*) FROM plain_one)"), $expected, "$name: what was done");
	$n->sql("DELETE FROM acc WHERE id = 5");
	$n->sql("UPDATE acc SET v = 0");
}

# ---- one message, several statements -------------------------------------------

for (
	["$u; SELECT 1", 'first of a message', '1 0'], ["SELECT 1; $u", 'last of a message', '1 0'], ["$u; $u", 'two in a message', '2 0'],
	["INSERT INTO plain_one VALUES (1); $u", 'after an ordinary one'],
	["$u; INSERT INTO plain_one VALUES (1)", 'before an ordinary one'],
	["BEGIN; $u; COMMIT", 'a block in a message', '1 0'], ["BEGIN; SAVEPOINT s; $u; RELEASE s; COMMIT", 'a savepoint', '1 0'])
{
	my ($sql, $name, $expected) = @$_;
	$sql =~ s/;/ \\;/g; # one message
	if ($expected) { $n->sql($sql) }
	else { $n->fails($sql, '0A000', qr/in one transaction/, $name) }
	done($expected // '0 0', $name);
}
my $s = $n->session;
$s->query("\\set AUTOCOMMIT off\nSELECT 1");
is($s->query($u), '', 'without autocommit');
$s->query("ROLLBACK;\n\\set AUTOCOMMIT on\nSELECT 1");
done('0 0', 'without autocommit');

# ---- functions ------------------------------------------------------------------

$n->sql($_) for (
	"CREATE FUNCTION swallow() RETURNS text LANGUAGE plpgsql AS \$\$BEGIN $u; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END\$\$",
	"CREATE FUNCTION dynamic() RETURNS int LANGUAGE plpgsql AS \$\$BEGIN EXECUTE '$u'; RETURN 1; END\$\$",
	"CREATE FUNCTION in_sql() RETURNS int LANGUAGE sql AS '$u RETURNING v'",
	"CREATE PROCEDURE committing() LANGUAGE plpgsql AS \$\$BEGIN INSERT INTO plain_one VALUES (1); $u; COMMIT; END\$\$");
is($n->sql("SELECT swallow()"), 'done', 'a function with an exception block');
done('1 0', 'a function with an exception block');
for (
	["SELECT dynamic()", 'EXECUTE in a function', '1 0'], ["SELECT in_sql()", 'a function in SQL', '1 0'],
	["SELECT * FROM in_sql()", 'a function in FROM', '1 0'],
	["INSERT INTO plain_one SELECT in_sql()", 'a function in an INSERT'], ["CALL committing()", 'a procedure'],
	["DO \$\$BEGIN $u; END\$\$", 'DO', '1 0'], ["DO \$\$BEGIN PERFORM dynamic(); END\$\$", 'a function in DO', '1 0'],
	["INSERT INTO acc VALUES (5, dynamic())", 'a function in a plain statement', '2 0'],
	["CREATE TABLE made AS SELECT in_sql()", 'a function in CREATE TABLE AS'],
	["DECLARE c CURSOR WITH HOLD FOR SELECT in_sql()", 'a function in a cursor', '1 0'])
{
	my ($sql, $name, $expected) = @$_;
	my $r = $n->try($sql);
	is($r->{sqlstate}, $expected ? '00000' : '0A000', $name) or diag("$r->{out} $r->{err}");
	done($expected // '0 0', $name);
}

# ---- pipelines: one transaction, to Sync ------------------------------------------

my $file = "$n->{dir}/pipeline.sql";

sub pipeline
{
	my ($mode, @statements) = @_;
	open my $f, '>', $file or die "$file: $!";
	print $f "\\startpipeline\n", (map { "$_;\n" } @statements), "\\endpipeline\n";
	close $f;
	my $said = `$PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -c 1 -t 1 -M $mode postgres 2>&1`;
	return $said;
}

for my $mode ('extended', 'prepared')
{
	for (
		[[$u, $u], 'two', qr/processed: 1\/1/, '2 0'],
		[[$u, "INSERT INTO plain_one VALUES (1)"], 'one before an ordinary statement', qr/in one transaction/, '0 0'],
		[["INSERT INTO plain_one VALUES (1)", $u], 'one after an ordinary statement', qr/in one transaction/, '0 0'],
		[[$u, "SELECT 1/0"], 'one before a statement that fails', qr/division by zero/, '0 0'],
		[["SELECT 1", $u], 'one after a SELECT', qr/processed: 1\/1/, '1 0'],
		[[$u], 'one alone', qr/processed: 1\/1/, '1 0'])
	{
		my ($statements, $name, $says, $expected) = @$_;
		like(pipeline($mode, @$statements), $says, "a pipeline, $mode: $name");
		done($expected, "a pipeline, $mode: $name");
	}
}

# ---- ended from outside ---------------------------------------------------------

my $proposer = $n->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos proposer'");
my $learner = $n->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
sub waits { $n->poll_sql("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $_[0]"); }

# not sent yet: an ordinary cancel, and never done
PaxosCluster::stand_still($proposer);
$s->ask("INSERT INTO acc VALUES (10, 1), (11, 1)");
waits($s->{pid});
kill 'INT', $s->{pid};
like($s->answer, qr/ERROR:  57014/, 'cancelled before it was sent');
kill 'CONT', $proposer;
$n->sql("SELECT paxos_barrier()");
is($n->sql("SELECT count(*) FROM acc WHERE id IN (10, 11)"), 0, 'and never done');

# sent: unknown, by cancel, by timeout and by termination
for (
	['INT', '', 'cancelled'], ['', "SET statement_timeout = '3s'; ", 'out of time'],
	['', "SET paxos.statement_timeout = '3s'; ", 'out of time for a command'], ['TERM', '', 'terminated'])
{
	my ($signal, $before, $name) = @$_;
	my $id = 20 + length $name;
	$s->query($before) if $before;
	PaxosCluster::stand_still($learner);
	$s->ask("INSERT INTO acc VALUES ($id, 1), (100 + $id, 1) RETURNING v");
	waits($s->{pid});
	$n->poll_sql("SELECT lag_slots > 0 FROM paxos.status");
	kill $signal, $s->{pid} if $signal;
	like($s->answer, qr/ERROR:  40003/, "$name when it was sent: unknown");
	kill 'CONT', $learner;
	$n->poll_sql("SELECT count(*) = 2 FROM acc WHERE id IN ($id, 100 + $id)");
	pass("$name: and all of it was done");
	$s->query("RESET statement_timeout; RESET paxos.statement_timeout") if $before;
}

# A statement that goes on when its function's command has been decided.
$s = $n->session;
for (
	["SELECT applied, pg_sleep(100) FROM paxos_upsert('acc', '{\"id\": 30, \"v\": 3}')", 'SELECT'],
	["DO \$\$BEGIN PERFORM paxos_upsert('acc', '{\"id\": 31, \"v\": 3}'); PERFORM pg_sleep(100); END\$\$", 'DO'],
	["EXPLAIN ANALYZE SELECT applied, pg_sleep(100) FROM paxos_upsert('acc', '{\"id\": 32, \"v\": 3}')", 'EXPLAIN'])
{
	my ($sql, $name) = @$_;
	$s->ask($sql);
	$n->poll_sql("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $s->{pid}");
	kill 'INT', $s->{pid};
	like($s->answer, qr/ERROR:  40003.*decided/, "$name, cancelled after its command was decided");
}
is($n->sql("SELECT count(*) FROM acc WHERE id IN (30, 31, 32)"), 3, 'they were done');
$s->ask("SELECT pg_sleep(100)");
$n->poll_sql("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $s->{pid}");
kill 'INT', $s->{pid};
like($s->answer, qr/ERROR:  57014/, 'any other statement is canceled as ever');

# At any moment: "canceled" is only said of what was not done.
$s = $n->session;
my $rows = 3000;
sub many { my ($from) = @_; return "INSERT INTO acc VALUES " . join(', ', map { "($_, 1)" } $from .. $from + $rows - 1) . " RETURNING id, v"; }
my $delay = 0.05; # comes to where the answer comes
my (%said, $wrong);
for my $i (1 .. 60)
{
	my $from = 1_000_000 + $i * $rows;
	$s->ask(many($from));
	sleep $delay * (0.9 + 0.2 * rand);
	kill 'INT', $s->{pid};
	my $answer = $s->answer;
	my $state = $answer =~ /ERROR:  (\w+)/ ? $1 : 'done';
	$said{$state}++;
	$delay *= $state eq 'done' ? 0.85 : 1.15;
	next if $state eq '40003';
	$n->sql("SELECT paxos_barrier()");
	my $there = $n->sql("SELECT count(*) FROM acc WHERE id >= $from AND id < $from + $rows");
	next if $state eq '57014' && $there == 0 || $state eq 'done' && $there == $rows;
	$wrong = "$state, $there rows";
	last;
}
is($wrong, undef, 'cancelled at any moment: ' . join(', ', map { "$said{$_} $_" } sort keys %said));
done_testing;
