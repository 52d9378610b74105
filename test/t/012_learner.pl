# The learner on one node in trouble: whoever stands in its way is ended; what
# the surroundings deny is tried again until they give in; what the own log has
# lost or spoiled comes from other members; commands that fail do so alone and
# alike on every node (protocol.md section 6).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
my ($n, $other) = grep { $_ != $leader } $c->nodes;
$leader->sql("CREATE TABLE t (id int PRIMARY KEY, n int CHECK (n < 100), u int UNIQUE, s text) USING paxos");
$leader->sql("SELECT paxos_insert_if_not_exists('t', '{\"id\": 1, \"n\": 0, \"u\": 1}')");
$c->await_equal;
my $add = "SELECT (current->>'n')::int FROM paxos_update_if('t', '{\"id\": 1}', '{\"n +=\": 1}', '{}')";

# --- Locks of local sessions (paxos_lock_for_apply). --------------------------

# Idle in transaction: hears no cancel, so it is terminated.
my $s = $n->session;
$s->query("BEGIN; LOCK TABLE t IN SHARE MODE");
is($leader->sql($add), 1, 'a write while a session of another node holds a table lock');
$n->poll_sql("SELECT n FROM t WHERE id = 1", 1);
pass('that node has applied it');
$n->poll_sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $s->{pid}", 0);
pass('the idle holder was terminated');
$s->close;

# In the middle of a statement: cancelled, and its session lives.
$s = $n->session;
$s->query("BEGIN; LOCK TABLE t IN SHARE MODE");
$s->ask("SELECT pg_sleep(60)");
$n->poll_sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()", 1);
is($leader->sql($add), 2, 'a write while the holder runs a statement');
like($s->answer, qr/40001/, 'the holder was cancelled');
$s->query("ROLLBACK");
is($s->query("SELECT n FROM t WHERE id = 1"), 2, 'its session lives, and sees the row changed');

# A reader is no conflict, but one who waits behind it may be.
my $reader = $n->session;
$reader->query("BEGIN; SELECT count(*) FROM t");
$s->ask("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE");
$n->poll_sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass", 1);
is($leader->sql($add), 3, 'a write while a lock request waits behind a reader');
like($s->answer, qr/40001/, 'the one who waited was cancelled');
like($reader->query("SELECT count(*) FROM t"), qr/^1$/m, 'the reader reads on');
$reader->query("COMMIT");
$s->query("ROLLBACK");
$_->close for $reader, $s;
$c->same_everywhere("SELECT n FROM t", 'the same everywhere');

# --- Errors of commands (careful mode). ---------------------------------------

# Many at once, so that failing and succeeding commands share slots.
my @h;
for my $node ($c->nodes)
{
	push @h, [ $node, $node->start_sql("SELECT applied FROM paxos_insert_if_not_exists('t', '{\"id\": " . (100 * $node->{number} + $_)
		. ", \"n\": " . ($_ % 3 == 0 ? 100 : 1) . ", \"u\": " . ($_ % 3 == 1 ? 1 : 1000 * $node->{number} + $_) . "}')"), $_ ] for 1 .. 9;
}
my %seen;
for (@h)
{
	my $r = $_->[0]->finish_sql($_->[1]);
	$seen{ $_->[2] % 3 }{ $r->{sqlstate} }++;
}
is_deeply(\%seen, { 0 => { 23514 => 9 }, 1 => { 23505 => 9 }, 2 => { '00000' => 9 } },
	'each command has its own outcome, whatever its neighbours did');
is($c->same_everywhere("SELECT count(*) FROM t", 'the same everywhere'), 10, 'and only the good ones are there');
$leader->sql("CREATE TABLE words (w text COLLATE \"C\" PRIMARY KEY) USING paxos");
$c->await_equal;
$other->fails("SELECT paxos_insert_if_not_exists('words', jsonb_build_object('w', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) i)))",
	'54000', qr/index row/, 'an index row too large is the result of its command');
is($other->sql("SELECT applied FROM paxos_insert_if_not_exists('words', '{\"w\": \"x\"}')"), 't', 'and the log goes on');

# A value out of line is carried over by an update of another column.
my $long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i)";
$other->sql("SELECT paxos_update_if('t', '{\"id\": 1}', jsonb_build_object('s', $long), '{}')");
is($leader->sql($add), 4, 'a row with a long value is changed elsewhere');
is($c->same_everywhere("SELECT n, md5(s) FROM t WHERE id = 1", 'the same everywhere'),
	"4|" . $leader->sql("SELECT md5($long)"), 'and keeps its long value');

# --- Trouble of one node's surroundings, and a spoiled log. --------------------

$_->sql("CREATE ROLE keeper") for $leader, $other;
$_->sql("GRANT ALL ON SCHEMA public TO keeper") for $leader, $other;
$n->stop;	# while it can be asked, the statement is refused
$leader->sql("SET ROLE keeper; CREATE TABLE kept (id int PRIMARY KEY) USING paxos");
$n->start;
$n->poll_sql("SELECT stuck FROM paxos.status");
my ($slot, $why) = split /\|/, $n->sql("SELECT stuck_slot, stuck_why FROM paxos.status");
like($why, qr/role "keeper" does not exist/, 'a node without the owner is stuck, and says why');
is($slot, $n->sql("SELECT applied + 1 FROM paxos.status"), 'it stands before that slot');
for (5 .. 8) { is($leader->sql($add), $_, 'the others go on'); }
$n->poll_sql("SELECT chosen >= $slot + 4 FROM paxos.status");
my $retries = $n->sql("SELECT apply_retries FROM paxos.stats");
$n->poll_sql("SELECT apply_retries > $retries FROM paxos.stats");
pass('it keeps trying');

# One value in its log is spoiled, the next one gone, before it comes to them.
$n->sql("SET allow_system_table_mods = on; UPDATE paxos.log_entry SET value = set_byte(value, 30, (get_byte(value, 30) + 1) % 256) WHERE slot = $slot + 1");
$n->sql("SET allow_system_table_mods = on; DELETE FROM paxos.log_entry WHERE slot = $slot + 2");
$n->sql("CREATE ROLE keeper; GRANT ALL ON SCHEMA public TO keeper");
is($c->same_everywhere("SELECT n FROM t WHERE id = 1", 'with the role it follows, equal to the others'), 8, 'nothing is missing');
is($n->sql("SELECT stuck FROM paxos.status"), 'f', 'and no longer stuck');
like(PaxosCluster::Node::tail($n->logfile, 400), qr/slot ${\($slot + 1)} is missing or damaged/, 'the spoiled value was noticed');
is($n->sql("SELECT count(*) FROM paxos.log_entry WHERE slot IN ($slot + 1, $slot + 2) AND chosen"), 2,
	'both were fetched, and the log is whole again');
is($c->same_everywhere("SELECT tableowner FROM pg_tables WHERE tablename = 'kept'", 'the owner is the same'), 'keeper', 'as issued');

# --- The process ends in the middle of things. ---------------------------------

my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int, to_jsonb($2::int))},
	clients => 3, seconds => 6);
for my $round (1 .. 3)
{
	my $before = $n->sql("SELECT applied FROM paxos.status");
	my $pid = $n->worker_pid('learner');
	$n->sql("SELECT pg_terminate_backend($pid)");
	$n->poll_sql("SELECT applied > $before AND learner_running FROM paxos.status");
}
$c->finish_load($h);
$c->same_everywhere("SELECT key, value FROM paxos.kv ORDER BY key", 'terminated three times under load, and equal');
$n->poll_sql("SELECT durable = applied FROM paxos.status");
pass('what is applied becomes durable by itself');

# --- Requests are forgotten by log time. ----------------------------------------

my $id = 'bbbbbbbb-0000-4000-8000-000000000001';
my $again = $add =~ s/'\{\}'\)$/'{}', '$id')/r;
my $statements = $leader->sql("SELECT count(*) FROM paxos.request");	# DDL has ids of its own
is($leader->sql($again), 9, 'a command with an id');
is($other->sql($again), 9, 'is not executed again');
$c->await_equal;
is($c->same_everywhere("SELECT requests, (SELECT count(*) FROM paxos.request) FROM paxos.replicated", 'counted alike'), join('|', ($statements + 1) x 2), 'one is remembered');
$_->sql("SET allow_system_table_mods = on; UPDATE paxos.request SET expires_us = 1") for $c->nodes;
is($other->sql($again), 10, 'when it has expired, it is executed anew');
is($other->sql($again), 10, 'once');
is($c->same_everywhere("SELECT requests, (SELECT count(*) FROM paxos.request) FROM paxos.replicated", 'counted alike'), '1|1', 'the new result took its place');
$_->sql("SET allow_system_table_mods = on; UPDATE paxos.request SET expires_us = 1") for $c->nodes;
is($leader->sql($again =~ s/0001'/0002'/r), 11, 'another id');
is($c->same_everywhere("SELECT requests, request_bytes, (SELECT string_agg(right(request_id::text, 1), ',') FROM paxos.request), (SELECT sum(bytes) FROM paxos.request) FROM paxos.replicated",
	'the same everywhere') =~ s/\|(\d+)\|2\|\1$/|same|2|same/r, '1|same|2|same', 'sweeps out the expired one, and the sums agree');
done_testing;
