# The log is cut by itself: as far as every member that is there has durably
# applied it, and for those that are away as far as the settings say.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 300\n");
$c->load_table;
my $leader = $c->await_followers;

# $n slots, whatever the pace: one writer waits for each.
sub write_slots
{
	my ($n, @nodes) = @_;
	my $before = $nodes[0]->sql("SELECT chosen FROM paxos.status");
	my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int, to_jsonb($2::int))},
		clients => 2, nodes => \@nodes);
	PaxosCluster::poll("$n slots", sub { $nodes[0]->sql("SELECT chosen FROM paxos.status") >= $before + $n });
	$c->finish_load($h);
}

sub await_kept
{
	my ($node, $slots) = @_;
	$node->poll_sql("SELECT durable - truncated <= $slots AND truncated > 0 FROM paxos.status");
}

write_slots(1500, $c->nodes);
$c->await_equal;
for my $n ($c->nodes)
{
	await_kept($n, 300);
	my ($slots, $kept) = split /\|/,
	  $n->sql("SELECT count(*), count(*) FILTER (WHERE slot > (SELECT durable - 300 FROM paxos.status)) FROM paxos.log_entry");
	cmp_ok($slots, '<', 900, "node $n->{number} has cut its log");
	cmp_ok($kept, '>=', 300, "node $n->{number} keeps what it shall");
}

# Bytes count too, also those counted anew after a restart.
my ($follower) = grep { $_ != $leader } $c->nodes;
$follower->conf("paxos.log_retention_slots = 100000\npaxos.log_retention_size = 100kB");
$follower->restart;
$c->await_followers;
my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('big' || $1::int, to_jsonb(repeat(md5($2::text), 300)))},
	clients => 1, nodes => [$leader], max => 400);
$c->await_acknowledged($h, 400);
$c->finish_load($h);
my $values = "SELECT coalesce(sum(length(value)), 0) FROM paxos.log_entry";
ok(eval { $follower->poll_sql("SELECT ($values) < 1024 * 1024") }, 'the log of one node is cut by size')
  or diag(join "\n", map { $_->sql('SELECT * FROM paxos.status') . "\n" . $_->sql('SELECT * FROM paxos.members') } $c->nodes);
cmp_ok($follower->sql($values), '>', 50 * 1024, 'cut by size, and no more than that');

# A member that is there and does not apply holds the log of all, however much.
my ($slow) = grep { $_ != $leader && $_ != $follower } $c->nodes;
my $stuck = $slow->worker_pid('learner');
my $applied = $slow->sql("SELECT durable FROM paxos.status");
PaxosCluster::stand_still($stuck);
write_slots(1000, $leader);
cmp_ok($leader->sql("SELECT paxos_truncate_log()"), '<=', $slow->sql("SELECT applied FROM paxos.status"),
	'nothing is cut that a member that is there has not applied');
cmp_ok($leader->sql("SELECT count(*) FROM paxos.log_entry"), '>', 1000, 'it stands in the log');

# Up to a size, that is.
$applied = $slow->sql("SELECT applied FROM paxos.status");
$leader->conf("paxos.log_hold_size = 1MB");
$leader->reload;
$h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('big' || $1::int, to_jsonb(repeat(md5($2::text), 500)))},
	clients => 1, nodes => [$leader], max => 150);
$c->await_acknowledged($h, 150);
$c->finish_load($h);
$leader->poll_sql("SELECT truncated > $applied FROM paxos.status");
cmp_ok($leader->sql($values), '>', 500 * 1024, 'that much stays');
kill 'CONT', $stuck;
await_kept($leader, 300);
$c->await_equal;
pass('what it lacked it had in its own log');

# One that is away is kept for as far as the setting says.
$slow->stop('immediate');
$applied = $leader->sql("SELECT applied FROM paxos.status");
write_slots(200, $leader);
$slow->start;
$c->await_followers;
$c->await_equal;
pass('a member that was away for less than the retention catches up from the log');

# Killed between one cut and the next.
for (1 .. 3)
{
	$h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int, to_jsonb($2::int))},
		clients => 2, nodes => [$leader]);
	$c->await_acknowledged($h, 200);
	$slow->kill9;
	$slow->start;
	$c->finish_load($h);
}
$c->await_followers;
$c->same_everywhere('SELECT * FROM paxos.kv ORDER BY key', 'killed while it cut, and equal');
await_kept($slow, 300);

# No vacuum locks the learner out to shorten the table of one row: an old snapshot
# makes it long, a second one moves the row away from its end.
my $pages = "SELECT pg_relation_size('paxos.replicated') / 8192";
my $far = "SELECT (ctid::text::point)[0] + 2 < ($pages) FROM paxos.replicated";
for my $enough ("SELECT ($pages) >= 8", $far)
{
	my $old = $leader->session;
	$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM paxos.kv');
	do { write_slots(200, $leader) } while $leader->sql($enough) ne 't';
	$old->close;
	PaxosCluster::poll('the snapshot is gone', sub { $leader->sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'") == 0 });
	$leader->sql('VACUUM paxos.replicated') if $enough ne $far;
}
my $long = $leader->sql($pages);
cmp_ok($leader->sql("SELECT (ctid::text::point)[0] FROM paxos.replicated") + 2, '<', $long, "the row is far from the end of $long pages");
$leader->sql('VACUUM paxos.replicated');
is($leader->sql($pages), $long, 'a vacuum leaves the pages at the end');

# By hand.
my $keep = $leader->sql("SELECT paxos_truncate_log(10) - durable FROM paxos.status");
cmp_ok($keep, '>=', -10, 'cut by hand to ten slots');
$leader->fails('SELECT paxos_truncate_log(-1)', '22023', qr/keep_slots must not be negative/, 'a negative number is refused');
$leader->sql('CREATE ROLE nobody LOGIN');
$leader->fails('SELECT paxos_truncate_log(0)', '42501', qr/permission denied/, 'not for everybody', user => 'nobody');
is($leader->sql('SELECT log_bytes > 0 FROM paxos.status'), 't', 'its size is shown');
$c->same_everywhere('SELECT * FROM paxos.kv ORDER BY key', 'and nothing else changed');
done_testing;
