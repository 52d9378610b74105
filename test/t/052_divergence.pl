# A node whose tables are not those of the others: found when a command meets the
# difference, and by paxos_verify(); said by an alarm on the odd one only
# (protocol.md section 6).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 5);
my $leader = $c->await_followers;
my ($x, $y, @others) = grep { $_ != $leader } $c->nodes;
push @others, $leader;
$leader->sql("CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, s text) USING paxos");
$leader->sql("CREATE TABLE u (id int PRIMARY KEY, b numeric, s text) USING paxos");
for my $i (1 .. 5)
{
	$leader->sql("SELECT paxos_insert_if_not_exists('t', '{\"id\": $i, \"n\": 0, \"s\": \"row number $i\"}')");
	$leader->sql("SELECT paxos_insert_if_not_exists('u', '{\"id\": $i, \"b\": 1.50, \"s\": null}')");
}

# Change a table behind the extension's back, as one who knows the catalogs can.
sub tamper
{
	my ($node, $table, $sql) = @_;
	$node->sql("SET allow_system_table_mods = on;
		UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'heap') WHERE oid = '$table'::regclass;
		UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = '$table'::regclass;
		$sql;
		UPDATE pg_trigger SET tgenabled = 'A' WHERE tgrelid = '$table'::regclass;
		UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'paxos') WHERE oid = '$table'::regclass;");
}
sub verify { my ($node, $table) = @_; return $node->sql("SELECT node_id, row_count, agrees FROM paxos_verify('$table') ORDER BY 1"); }
sub expect { my ($rows, %agrees) = @_; return join "\n", map { "$_|$rows|" . ($agrees{$_} // 't') } 1 .. 5; }
sub alarms { return join ',', map { $_->{number} } grep { $_->sql("SELECT count(*) FROM paxos.alarms WHERE alarm = 'divergence'") } @_; }
sub await_alarm
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	PaxosCluster::poll($name, sub { $node->sql("SELECT count(*) FROM paxos.alarms WHERE alarm = 'divergence'") == 1 });
	pass($name);
}

# --- All is well. -----------------------------------------------------------------

is(verify($leader, 't'), expect(5), 'equal tables agree');
is(verify($x, 'u'), expect(5), 'asked from anywhere');
is(verify($y, 'paxos.kv'), expect(0), 'empty ones, too');
$c->await_equal;
is($leader->sql("SELECT count(*) FROM paxos.log WHERE description = 'verify public.t'"), 1, 'it is a command in the log');
$leader->fails("SELECT * FROM paxos_verify('pg_class')", '42809', qr/not a consensus-backed table/, 'not of other tables');
$leader->fails("BEGIN; SELECT * FROM paxos_verify('t')", '25001', qr/transaction block/, 'not in a transaction block');
$leader->fails("SET ROLE pg_monitor; SELECT * FROM paxos_verify('t')", '42501', qr/permission denied/, 'not for everybody');

# --- A row changed on one node, met by a command. ------------------------------------

tamper($x, 't', "UPDATE t SET s = 'changed' WHERE id = 2");
$leader->sql("SELECT paxos_update_if('t', '{\"id\": 1}', '{\"n +=\": 1}', '{}')");
my $before = $leader->sql("SELECT applied FROM paxos.status");
$c->await_equal;
is(alarms($c->nodes), '', 'a change that nothing meets is not seen');
my $slot = $leader->sql("SELECT chosen FROM paxos.status") + 1;
$leader->sql("SELECT paxos_update_if('t', '{\"id\": 2}', '{\"n +=\": 1}', '{}')");
await_alarm($x, 'a command on another column of the row finds it');
my ($at, $detail) = split /\|/, $x->sql("SELECT slot, detail FROM paxos.alarms");
cmp_ok($at, '>=', $slot, 'the alarm names the slot');
like($detail, qr/differs from that of node \d, \d, \d, \d at slot $at, it was equal at slot @{[$at - 1]}|differs from that of node .* at slot $at, it was equal/, 'and the last one that was equal');
is(alarms(@others, $y), '', 'the others raise none');
like(PaxosCluster::Node::slurp($leader->logfile), qr/the state of node $x->{number} differs/, 'but say so in their logs');
is(verify($leader, 't'), expect(5, $x->{number} => 'f'), 'paxos_verify() names it, too');

# It survives a restart, as the running digest does.
$x->restart;
await_alarm($x, 'the alarm comes back after a restart');

# --- A file edited on another one, found by paxos_verify(). ---------------------------

my $file = $y->datadir . '/' . $y->sql("CHECKPOINT; SELECT pg_relation_filepath('u')");
my $bytes;
$y->stop;
open my $f, '+<:raw', $file or die "$file: $!";
{ local $/; $bytes = <$f>; }
# numeric 1.50: header 0x0281 0x0000... one base-10000 digit 1, then 5000
my $image = pack('v2', 1, 5000);
my $pos = rindex($bytes, $image);
die "no numeric found" if $pos < 0;
seek $f, $pos, 0;
print $f pack('v2', 2, 5000);
close $f;
$y->start;
PaxosCluster::poll('one row differs', sub { $y->sql("SELECT count(*) FROM u WHERE b <> 1.5") == 1 });
PaxosCluster::poll('verified', sub { verify($leader, 'u') eq expect(5, $y->{number} => 'f') });
pass('paxos_verify() finds an edited file');
await_alarm($y, 'and raises the alarm there');
is(alarms(@others), '', 'and nowhere else');
is($leader->sql("SELECT count(DISTINCT digest), count(*) FROM (" . join(' UNION ALL ', map { "SELECT '" . $_->sql("SELECT digest FROM paxos.verification ORDER BY slot DESC LIMIT 1") . "' AS digest" } @others) . ") d"), '1|3', 'the others have one digest');

# --- Repaired from a healthy one. -------------------------------------------------------

$leader->fails("SET ROLE pg_monitor; SELECT paxos_resync()", '42501', qr/permission denied/, 'repairing is not for everybody');
my $cluster = $leader->sql("SELECT cluster_id FROM paxos.status");
$x->fails("BEGIN; SELECT * FROM paxos.snapshot_open('$cluster', 1, $leader->{number})", '55000', qr/in doubt/, 'a diverged node gives its tables to nobody');
my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int, to_jsonb($2::int))}, clients => 1, nodes => [$leader], seconds => 60);
for my $node ($x, $y)
{
	$node->sql("SELECT paxos_resync()");
	PaxosCluster::poll('loaded', sub { $node->sql("SELECT state FROM paxos.snapshot_progress") eq 'loaded' });
	PaxosCluster::poll('the alarm is over', sub { alarms($node) eq '' });
	pass("node $node->{number} has the others' state again, under load");
}
$c->finish_load($h);
$c->same_everywhere("SELECT * FROM t ORDER BY id", 'every row is the same again');
is(verify($leader, 't'), expect(5), 'and verified');
is(verify($leader, 'u'), expect(5), 'the other table, too');

# --- A table that cannot be read; a node that is away. -------------------------------

my $toast = $y->sql("SELECT pg_relation_filepath('t')");
$y->sql("CHECKPOINT");
$y->stop;
open $f, '+<:raw', $y->datadir . "/$toast" or die;
seek $f, 0, 0;
print $f "\xff" x 24;	# the page's header
close $f;
$others[0]->stop;
$leader = $c->await_leader;
$y->start;
my $out = $leader->sql("SELECT node_id, agrees, note FROM paxos_verify('t') ORDER BY 1");
like($out, qr/^$y->{number}\|\|.*invalid page/m, 'a page that cannot be read is that node\'s result');
like($out, qr/^$others[0]{number}\|\|.*(refused|could not connect)/m, 'a node that is down has none');
is($y->sql("SELECT stuck FROM paxos.status"), 'f', 'and the learner goes on');
$others[0]->start;
await_alarm($y, 'it is an alarm');
$y->sql("SELECT paxos_resync()");
PaxosCluster::poll('the alarm is over', sub { alarms($y) eq '' });
is($c->same_everywhere("SELECT count(*) FROM t", 'a damaged table is replaced'), 5, 'whole');
is(alarms($c->nodes), '', 'no alarm is left');
done_testing;
