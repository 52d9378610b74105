# paxos.read_consistency: on a follower whose learner stands still, no statement reads an
# old state silently, whichever way it comes to the table; and when the learner goes on,
# each shows what was written before it was asked.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
my ($f, $other) = grep { $_ != $leader } $c->nodes;
my $value = 1;

$leader->sql("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL) USING paxos");
$leader->sql("INSERT INTO t VALUES (1, $value), (2, 0)");
$f->sql("SELECT paxos_barrier()");
$f->sql(<<'SQL');
CREATE TABLE mine (id int PRIMARY KEY, name text);
INSERT INTO mine VALUES (1, 'one');
CREATE TABLE moving (id int);
CREATE FUNCTION stable_moving() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM moving); END';
CREATE FUNCTION volatile_v() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN RETURN (SELECT v FROM t WHERE id = 1); END';
CREATE FUNCTION stable_v() RETURNS int LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT v FROM t WHERE id = 1); END';
CREATE FUNCTION sql_v() RETURNS int LANGUAGE sql STABLE AS 'SELECT v FROM t WHERE id = 1';
CREATE FUNCTION sql_volatile_v() RETURNS SETOF int LANGUAGE sql VOLATILE AS 'SELECT v FROM t WHERE id = 1';
CREATE FUNCTION setting_v() RETURNS int LANGUAGE plpgsql STABLE SET paxos.read_consistency = 'linearizable'
  AS 'BEGIN RETURN (SELECT v FROM t WHERE id = 1); END';
CREATE FUNCTION cursor_v() RETURNS int LANGUAGE plpgsql VOLATILE AS
  'DECLARE c CURSOR FOR SELECT v FROM t WHERE id = 1; r int; BEGIN OPEN c; FETCH c INTO r; CLOSE c; RETURN r; END';
CREATE PROCEDURE proc_v(INOUT r int) LANGUAGE plpgsql AS 'BEGIN SELECT v FROM t WHERE id = 1 INTO r; COMMIT; SELECT v FROM t WHERE id = 1 INTO r; END';
SQL

my $learner = $f->worker_pid('learner');
sub stop_learner { PaxosCluster::stand_still($learner); }
sub go_on { kill 'CONT', $learner; }

# Written elsewhere, and acknowledged.
sub write_elsewhere { $value++; $leader->sql("UPDATE t SET v = $value WHERE id = 1"); }

my $waiting = "SELECT queue_cells FROM paxos.stats";

# ---- Every way to read ----
my $before = "SET paxos.statement_timeout = '120s'; SET paxos.read_consistency = linearizable";
my @ways = (
	['SELECT', "SELECT v FROM t WHERE id = 1"],
	['with a join to a local table', "SELECT t.v FROM mine JOIN t USING (id)"],
	['a sub-select', "SELECT (SELECT v FROM t WHERE id = 1) FROM mine"],
	['a CTE', "WITH x AS MATERIALIZED (SELECT v FROM t WHERE id = 1) SELECT v FROM x"],
	['PREPARE, EXECUTE', "EXECUTE p", "PREPARE p AS SELECT v FROM t WHERE id = 1"],
	['a kept plan', "EXECUTE q(1)", "SET plan_cache_mode = force_generic_plan; SET paxos.read_consistency = local; PREPARE q(int) AS SELECT v FROM t WHERE id = \$1; EXECUTE q(1); SET paxos.read_consistency = linearizable"],
	['a cursor', "BEGIN; DECLARE c CURSOR FOR SELECT v FROM t WHERE id = 1; FETCH c; COMMIT"],
	['a cursor WITH HOLD', "DECLARE h CURSOR WITH HOLD FOR SELECT v FROM t WHERE id = 1; FETCH h; CLOSE h"],
	['COPY TO', "COPY t TO STDOUT (DELIMITER '|')"],
	['COPY (query) TO', "COPY (SELECT v FROM t WHERE id = 1) TO STDOUT"],
	['CREATE TABLE AS', "CREATE TEMP TABLE tt USING heap AS SELECT v FROM t WHERE id = 1; SELECT v FROM tt"],
	['INSERT ... SELECT', "CREATE TEMP TABLE ti (v int) USING heap; INSERT INTO ti SELECT v FROM t WHERE id = 1 RETURNING v"],
	['UPDATE ... FROM', "UPDATE mine SET name = t.v::text FROM t WHERE t.id = mine.id RETURNING name"],
	['EXPLAIN ANALYZE', "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT 1 FROM t WHERE v = NEW_VALUE"],
	['a volatile function', "SELECT volatile_v()"],
	['a stable function', "SELECT stable_v()"],
	['a stable function beside a local table', "SELECT stable_v() FROM mine"],
	['a stable function in WHERE', "SELECT count(*) FROM generate_series(1, 3) i WHERE stable_v() = NEW_VALUE"],
	['a stable function in INSERT', "CREATE TEMP TABLE ts (v int) USING heap; INSERT INTO ts SELECT stable_v() FROM t WHERE id = 1 RETURNING v"],
	['one snapshot for the query and the stable functions it calls', "CREATE TEMP TABLE tm (v int) USING heap; INSERT INTO tm SELECT t.v + stable_moving() - (SELECT count(*) FROM moving) FROM t WHERE id = 1 RETURNING v"],
	['a stable function of SQL', "SELECT sql_v()"],
	['a volatile function of SQL', "SELECT * FROM sql_volatile_v()"],
	['a cursor in a function', "SELECT cursor_v()"],
	['a procedure', "CALL proc_v(0)"],
	['DO', "DO 'BEGIN RAISE NOTICE ''v %'', (SELECT v FROM t WHERE id = 1); END'"],
	['a block', "BEGIN; SELECT v FROM t WHERE id = 1; COMMIT"],
	['a savepoint', "BEGIN; SAVEPOINT a; SELECT v FROM t WHERE id = 1; ROLLBACK TO a; COMMIT"],
	['REPEATABLE READ', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT v FROM t WHERE id = 1; COMMIT"],
	['SERIALIZABLE', "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT v FROM t WHERE id = 1; COMMIT"],
	['SET TRANSACTION', "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT v FROM t WHERE id = 1; COMMIT"],
	['the setting in a block', "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL paxos.read_consistency = linearizable; SELECT v FROM t WHERE id = 1; COMMIT", "SET paxos.read_consistency = local"],
	['functions in REPEATABLE READ', "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT volatile_v() + stable_v() - v FROM t WHERE id = 1; COMMIT"],
	['a row to be changed', "BEGIN; UPDATE t SET v = v WHERE v = NEW_VALUE RETURNING v; ROLLBACK"],
	['a parallel plan', "SELECT max(v) FROM t", "SET debug_parallel_query = on; SET parallel_setup_cost = 0"],
);
$_->[2] =~ s/debug_parallel_query/force_parallel_mode/ for grep { defined $_->[2] && $f->sql("SHOW server_version_num") < 160000 } @ways;

my @sessions = map { $f->session } @ways;
for my $i (0 .. $#ways)
{
	$sessions[$i]->query("$before; $ways[$i][2]") if defined $ways[$i][2];
	$sessions[$i]->query($before) unless defined $ways[$i][2];
}
stop_learner();
write_elsewhere();
is($f->sql("SELECT v FROM t WHERE id = 1"), $value - 1, 'a plain SELECT reads the old state');
for my $i (0 .. $#ways)
{
	(my $sql = $ways[$i][1]) =~ s/NEW_VALUE/$value/g;
	$sessions[$i]->ask($sql);
}
$f->poll_sql($waiting, scalar @ways);
is(scalar(grep { $_->answered } @sessions), 0, 'all of them wait');
$f->sql("INSERT INTO moving VALUES (1)"); # a snapshot taken before the wait does not show it
go_on();
for my $i (0 .. $#ways)
{
	my $answer = $sessions[$i]->answer;
	my $good = $ways[$i][1] =~ /^EXPLAIN/ ? $answer =~ /Seq Scan on t \(actual rows=1/
	  : $ways[$i][0] =~ /in WHERE/ ? $answer eq '3'
	  : $answer =~ /\b$value\b/ && $answer !~ /ERROR/;
	ok($good, "linearizable: $ways[$i][0]") or diag $answer;
}
$_->close for @sessions;

# ---- In the extended protocol, with and without a name ----
stop_learner();
write_elsewhere();
my $script = "$c->{dir}/read.sql";
sub fails_on_old
{
	my $old = $value - 1;
	open my $fh, '>', $script or die;
	print $fh "SELECT 1 / (v - $old) FROM t WHERE id = 1;\n" x 2;
	close $fh;
}
fails_on_old();
for my $mode (qw(extended prepared))
{
	my @pgbench = ("$PaxosCluster::BINDIR/pgbench", '-n', '-t', '1', '-M', $mode, '-f', $script,
		'-h', '127.0.0.1', '-p', $f->{port}, '-U', 'postgres', 'postgres');
	local $ENV{PGOPTIONS} = '-c paxos.read_consistency=linearizable -c paxos.statement_timeout=120s';
	pipe(my $from, my $to) or die;
	my $pid = fork // die;
	if ($pid == 0)
	{
		open STDOUT, '>&', $to;
		open STDERR, '>&', $to;
		exec @pgbench or POSIX::_exit(127);
	}
	close $to;
	$f->poll_sql($waiting, 1);
	go_on();
	local $/;
	my $said = <$from>;
	waitpid $pid, 0;
	is($?, 0, "linearizable: protocol $mode") or diag $said;
	stop_learner();
	write_elsewhere();
	fails_on_old();
}
go_on();
$f->sql("SELECT paxos_barrier()");

# ---- What cannot wait any more is told so, and nothing else ----
my $s = $f->session;
$s->query("SET paxos.statement_timeout = '120s'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
write_elsewhere();
like($s->query("SET paxos.read_consistency = linearizable; SELECT v FROM t WHERE id = 1"),
	qr/ERROR:  25001.*HINT/s, 'REPEATABLE READ whose snapshot is older');
$s->query("ROLLBACK; SET default_transaction_isolation = 'repeatable read'; SET paxos.read_consistency = linearizable");
stop_learner();
write_elsewhere();
$s->ask("SELECT v FROM t WHERE id = 1");
$f->poll_sql($waiting, 1);
go_on();
like($s->answer, qr/ERROR:  25001/, 'REPEATABLE READ without a block');
is($s->query("SELECT v FROM t WHERE id = 1"), $value, 'unless its snapshot shows enough');
stop_learner();
write_elsewhere();
$s->query("RESET default_transaction_isolation; SET paxos.read_consistency = local");
$s->ask("SELECT setting_v()");
$f->poll_sql($waiting, 1);
go_on();
like($s->answer, qr/ERROR:  25001.*VOLATILE/s, 'a stable function that sets it for itself');
my $imported = $f->session;
$imported->query("BEGIN ISOLATION LEVEL REPEATABLE READ");
my $id = $imported->query("SELECT pg_export_snapshot()");
write_elsewhere();
$s->query("SET paxos.read_consistency = linearizable; BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$id'");
like($s->query("SELECT v FROM t WHERE id = 1"), qr/ERROR:  25001/, 'a snapshot taken from another session');
$s->query("ROLLBACK");
$imported->query("ROLLBACK");

# ---- Nobody waits who reads no consensus table ----
stop_learner();
write_elsewhere();
my $quick = "SET paxos.statement_timeout = '3s'; SET paxos.read_consistency = linearizable;";
is($f->sql("$quick SELECT count(*) FROM mine"), 1, 'a local table');
is($f->sql("$quick BEGIN; SELECT count(*) FROM mine; SELECT 1; COMMIT"), "1\n1", 'in a block');
like($f->sql("$quick EXPLAIN SELECT * FROM t"), qr/Scan/, 'EXPLAIN without ANALYZE');
$f->fails("$quick SELECT v FROM t", '57P03', qr/did not catch up/, 'the wait ends with paxos.statement_timeout');
$f->fails("$quick BEGIN ISOLATION LEVEL REPEATABLE READ", '57P03', qr/did not catch up/, 'also in BEGIN');
$f->fails("$quick SET statement_timeout = 300; SELECT v FROM t", '57014', qr/statement timeout/, 'or with PostgreSQL\'s');

# ---- Whoever waits does not hold the log up ----
$leader->sql("CREATE TABLE gone (id int PRIMARY KEY) USING paxos");
go_on();
$f->sql("SELECT paxos_barrier()");
stop_learner();
$leader->sql("DROP TABLE gone");
$s->query("SET paxos.read_consistency = linearizable");
$s->ask("SELECT count(*) FROM gone");
$f->poll_sql($waiting, 1);
go_on();
like($s->answer, qr/ERROR:  40001/, 'a change of the definition ends the wait');
like($s->query("SELECT count(*) FROM gone"), qr/ERROR:  42P01/, 'and is there');
stop_learner();
write_elsewhere();

# ---- session ----
my $token = $leader->sql("SELECT paxos_session_token()");
like($token, qr/^[0-9a-f]{8}:\d+$/, 'a token');
is($f->sql("SET paxos.read_consistency = session; SELECT v FROM t WHERE id = 1"), $value - 1, 'session: another session\'s writes need not be seen');
$s->query("SET paxos.read_consistency = session; SET paxos.session_token = '$token'");
$s->ask("SELECT v FROM t WHERE id = 1");
$f->poll_sql($waiting, 1);
ok(!$s->answered, 'session: with the token of the writer it waits');
my $rr = $f->session;
$rr->query("SET paxos.statement_timeout = '120s'; SET paxos.read_consistency = session; SET paxos.session_token = '$token'");
$rr->ask("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT v FROM t WHERE id = 1; COMMIT");
$f->poll_sql($waiting, 2);
go_on();
is($s->answer, $value, 'and shows what was written');
is($rr->answer, $value, 'in REPEATABLE READ too');
is($f->sql("SET paxos.read_consistency = session; SET paxos.session_token = '$token'; SELECT v FROM t WHERE id = 1"), $value, 'without a wait when it is there');
my ($mark, $slot) = split /:/, $token;
my $far = $slot + 1000000;
is($f->sql("SET paxos.session_token = '$mark:$far'; SELECT paxos_session_token()"), "$mark:$far", 'a token received is handed on');
my $strange = ($mark eq 'ffffffff' ? '00000001' : 'ffffffff') . ":$slot";
$f->fails("SET paxos.read_consistency = session; SET paxos.session_token = '$strange'; SELECT v FROM t", '55000', qr/another cluster/, 'a token of another cluster');
$f->fails("SET paxos.session_token = 'latest'", '22023', qr/session_token/, 'what is no token');
is($f->sql("SET paxos.session_token = '$token'; DISCARD ALL; SHOW paxos.session_token"), '', 'DISCARD ALL forgets it');

# ---- bounded ----
$f->sql("SELECT paxos_barrier()");
stop_learner();
write_elsewhere();
my $asked = $f->sql("SELECT read_indexes FROM paxos.stats");
is($f->sql("SET paxos.read_consistency = bounded; SET paxos.max_staleness = '1h'; SELECT v FROM t WHERE id = 1; SELECT v FROM t WHERE id = 1"),
	($value - 1) . "\n" . ($value - 1), 'bounded: what was confirmed within the hour will do');
is($f->sql("SELECT read_indexes FROM paxos.stats"), $asked, 'and nobody is asked');
$s->query("SET paxos.read_consistency = bounded; SET paxos.max_staleness = 0; RESET paxos.session_token");
$s->ask("SELECT v FROM t WHERE id = 1");
$f->poll_sql($waiting, 1);
go_on();
is($s->answer, $value, 'bounded by nothing: the new state');

# Cut off, it reads on as long as the bound lets it.
$_->sigstop for $leader, $other;
is($f->sql("SET paxos.read_consistency = bounded; SET paxos.max_staleness = '1h'; SELECT v FROM t WHERE id = 1"), $value, 'bounded: without a majority');
$f->fails("SET paxos.statement_timeout = '500ms'; SET paxos.read_consistency = bounded; SET paxos.max_staleness = 1; SELECT v FROM t", '57P03', qr/not confirmed/, 'but not beyond the bound');
$f->fails("SET paxos.statement_timeout = '500ms'; SET paxos.read_consistency = linearizable; SELECT v FROM t", '57P03', qr/not confirmed/, 'linearizable: not at all');
is($f->sql("SET paxos.read_consistency = linearizable; SELECT count(*) FROM mine"), 1, 'local tables are not concerned');
$_->sigcont for $leader, $other;

done_testing;
