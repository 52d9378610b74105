# A snapshot is loaded while the others write; the node that loads it votes
# meanwhile; whoever is killed in the middle, it begins again; and it needs little
# memory.  PAXOS_SNAPSHOT_MB: size of the large table.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $mb = $ENV{PAXOS_SNAPSHOT_MB} // 60;
my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\npaxos.election_timeout = '20s'\n");
$c->load_table;
my $leader = $c->await_followers;
my ($away, $other) = grep { $_ != $leader } $c->nodes;
$leader->sql('CREATE TABLE big (id int PRIMARY KEY, v text) USING paxos');
$c->await_equal;
$away->stop;

# Rows of 100 kB that do not compress, from several sessions.
my @fill = map { $leader->start_sql("SELECT count(*) FROM generate_series(1, " . int($mb * 10 / 4) . ") i, LATERAL paxos_insert_if_not_exists('big',
	jsonb_build_object('id', i * 4 + $_, 'v', (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 3200) j))) r WHERE r.applied") } 0 .. 3;
$leader->finish_sql($_, 280) for @fill;
my $count = $leader->sql('SELECT count(*) FROM big');
cmp_ok($count, '>=', $mb * 10 - 4, 'the large table is there');
$leader->poll_sql('SELECT truncated > ' . 100 . ' FROM paxos.status');

# Memory of its own (not shared buffers) of a process, in kB.
sub own_memory
{
	my ($pid) = @_;
	open my $f, '<', "/proc/$pid/status" or return 0;
	return (map { /^RssAnon:\s+(\d+)/ ? $1 : () } <$f>)[0] // 0;
}

my $copying = "SELECT state = 'copying' AND bytes > 3000000 FROM paxos.snapshot_progress";
my ($mine, $theirs) = (0, 0);
my $h = $c->start_load(statement => $PaxosCluster::LOAD_INSERT, clients => 2, nodes => [ $leader ]);
$c->await_acknowledged($h, 50);
$away->start;
$away->poll_sql($copying);

# It is held in the middle, and one of three goes: the one that loads is a voter.
my $learner = $away->worker_pid('learner');
PaxosCluster::stand_still($learner);
is($away->sql('SELECT source FROM paxos.snapshot_progress'), $other->id, 'the follower gives it');
is($away->sql("SELECT count(*) FROM big"), 0, 'its old state can be read meanwhile');
$other->kill9;
my $then = PaxosCluster::now();
$c->await_acknowledged($h, 100, $then);
is($away->sql("SELECT state FROM paxos.snapshot_progress"), 'copying', 'one of three is down, one still loads, and writes go on');
kill 'CONT', $learner;

# Its source is gone: it begins again, with the leader.
$away->poll_sql("SELECT (state IN ('copying', 'finishing', 'loaded')) AND source = " . $leader->id . ' FROM paxos.snapshot_progress');
cmp_ok($away->sql('SELECT attempts FROM paxos.snapshot_progress'), '>=', 2, 'it has begun again with another member');
$other->start;

# Now it is killed itself.
$away->kill9;
$away->start;
PaxosCluster::poll('a snapshot is loaded', sub {
	my ($state, $source) = split /\|/, $away->sql('SELECT state, source FROM paxos.snapshot_progress');
	return 1 if $state eq 'loaded';
	my $node = $source ? $c->node($source) : undef;
	my $m = own_memory($away->worker_pid('learner'));
	$mine = $m if $m > $mine;
	if ($node)
	{
		my $pid = $node->sql("SELECT pid FROM pg_stat_activity WHERE query LIKE '%snapshot_read%' AND application_name = 'paxos node' LIMIT 1");
		$m = $pid ? own_memory($pid) : 0;
		$theirs = $m if $m > $theirs;
	}
	return 0;
}, 240);
cmp_ok($mine, '<', 40_000, "it needed $mine kB");
cmp_ok($theirs, '<', 40_000, "its source needed $theirs kB");
note(join ' ', 'report: loaded', split /\|/, $away->sql("SELECT bytes, ended - started FROM paxos.snapshot_progress"));

my $records = $c->finish_load($h);
$c->await_followers;
$c->check_inserts($records, 'loaded under load', $c->nodes);
$c->same_everywhere("SELECT count(*), sum(hashtextextended(v, 0)) FROM big", 'the large table');

# And where a table comes and goes while it is copied.
my $applied = $away->sql('SELECT applied FROM paxos.status');
$away->stop;
$leader->sql("SELECT count(*) FROM generate_series(1, 200) i, LATERAL paxos_kv_put('k' || i, 'true')");
$c->cut_logs($applied, $leader, $other);
$away->start;
$away->poll_sql("SELECT state IN ('copying', 'loaded') FROM paxos.snapshot_progress");
$leader->sql('CREATE INDEX big_hash ON big (md5(v))');
$leader->sql('CREATE TABLE passing (id int PRIMARY KEY) USING paxos');
$leader->sql('DROP TABLE load_counts');
$leader->sql('DROP TABLE passing');
$leader->sql('CREATE TABLE load_counts (client int PRIMARY KEY, n text) USING paxos');
$away->poll_sql("SELECT state FROM paxos.snapshot_progress", 'loaded', 240);
$c->same_everywhere("SELECT c.relname, pg_get_indexdef(i.indexrelid) FROM paxos.tables t JOIN pg_class c ON c.oid = t.relid JOIN pg_index i ON i.indrelid = c.oid ORDER BY 1, 2", 'tables came and went while it loaded');
done_testing;
