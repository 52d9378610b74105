# A table of one node that is about to become a consensus table, when the cluster gets another
# one of its name: while its node could not be asked, and after a crash (from the log, or from a
# snapshot).  Neither its rows are lost nor its node is held up.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\npaxos.connect_timeout = '1s'\n");
$c->await_leader;
my ($n1, $n2, $n3) = my @n = $c->nodes;

# A session that has sent its rows, and is held back by a lock on a sequence before it sends the
# statement.
sub in_the_middle
{
	my ($table) = @_;
	$n1->sql("CREATE TABLE $table (id int PRIMARY KEY, s serial); INSERT INTO $table SELECT generate_series(1, 100)");
	my $blocker = $n1->session;
	$blocker->query($_) for "BEGIN", "ALTER SEQUENCE ${table}_s_seq CACHE 1";
	my $s = $n1->session;
	$s->ask("ALTER TABLE $table SET ACCESS METHOD paxos");
	$n1->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND pid = $s->{pid} AND relation = '${table}_s_seq'::regclass");
	return ($s, $blocker);
}

sub stepped_aside
{
	my ($table) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$c->await_equal;
	is($n1->sql("SELECT string_agg(c.relname || ' ' || a.amname, ', ' ORDER BY c.relname) FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.relname LIKE '$table%'"),
		"$table paxos, ${table}_local heap, ${table}_pkey btree, ${table}_pkey_local btree", "$table: its own table has another name");
	is($n1->sql("SELECT count(*) FROM ${table}_local"), 100, "$table: and its rows");
	$n1->sql("INSERT INTO ${table}_local VALUES (0)");
	$c->same_everywhere("SELECT count(*), sum(other) FROM $table", "$table: the cluster's is everywhere");
	is($n1->sql("SELECT count(*) FROM paxos.becoming"), 0, "$table: nothing is on its way");
	is($n1->sql("SELECT count(*) FROM paxos.alarms"), 0, "$table: no alarm");
}

my ($s, $blocker) = in_the_middle('taken');
kill 'STOP', $n1->{pid};    # nobody can connect to be told
$n2->sql("CREATE TABLE taken (id int PRIMARY KEY, other int) USING paxos");
kill 'CONT', $n1->{pid};
like($s->answer, qr/40001|57P01|closed/, 'who was making it is told');
$_->close for $s, $blocker;
stepped_aside('taken');

($s, $blocker) = in_the_middle('gone');
$n1->kill9;
$_->close for $s, $blocker;
$n2->poll_sql("SELECT leader <> 1 FROM paxos.status");
$n2->sql("CREATE TABLE gone (id int PRIMARY KEY, other int) USING paxos");
$n2->sql("INSERT INTO gone VALUES ($_, 1)") for 1 .. 60;
$_->sql("SELECT paxos_truncate_log(0)") for $n2, $n3;
$n1->start;
$n1->poll_sql("SELECT leader IS NOT NULL FROM paxos.status");
stepped_aside('gone');
note "it came from " . ($n1->sql("SELECT state FROM paxos.snapshot_progress") eq 'loaded' ? 'a snapshot' : 'the log');
done_testing;
