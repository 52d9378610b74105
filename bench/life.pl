# What bench/life measures; see there.
use strict;
use warnings;
use PaxosCluster;
use Time::HiRes qw(usleep);

$| = 1;
$SIG{TERM} = $SIG{INT} = sub { exit 1 };
my ($mb, $clients, $time, $retention) = @ENV{qw(MB CLIENTS TIME RETENTION)};
$PaxosCluster::PATIENCE = 600;
my $common = "shared_buffers = 128MB\nmax_wal_size = 2GB\npaxos.statement_timeout = 60s\n";

sub mib { return sprintf '%.1f', $_[0] / 1024 / 1024; }

# Writes a second and percentiles of those that began between two moments.
sub figures
{
	my ($records, $from, $to) = @_;
	my @ms = sort { $a <=> $b } map { 1000 * ($_->[4] - $_->[3]) } grep { $_->[2] eq 'A' && $_->[3] >= $from && $_->[3] < $to } @$records;
	return sprintf '%7.0f writes/s   p50 %6.1f ms   p99 %6.1f ms   worst %7.1f ms', @ms / ($to - $from), $ms[ $#ms * 0.5 ], $ms[ $#ms * 0.99 ], $ms[-1];
}

# What a process has of its own, and the most it ever had mapped with shared buffers, in kB.
sub memory
{
	my ($pid) = @_;
	open my $f, '<', "/proc/$pid/status" or return (0, 0);
	my %m = map { /^(\w+):\s+(\d+) kB/ ? ($1 => $2) : () } <$f>;
	return ($m{RssAnon} // 0, $m{VmHWM} // 0);
}

sub more { my ($most, @now) = @_; for (0, 1) { $most->[$_] = $now[$_] if $now[$_] > $most->[$_] } }

sub snapshot
{
	my $c = PaxosCluster->new(nodes => 3, fsync => $ENV{FSYNC}, conf => "${common}paxos.log_retention_slots = 100\n");
	my $leader = $c->await_followers;
	my ($away, $other) = grep { $_ != $leader } $c->nodes;
	$leader->sql('CREATE TABLE big (id int PRIMARY KEY, v text) USING paxos');
	$c->await_equal;
	$away->stop;
	print "filling $mb MB\n";
	my $t = PaxosCluster::now();
	my @fill = map { $leader->start_sql("SELECT count(*) FROM generate_series(1, " . int($mb * 10 / 4) . ") i, LATERAL paxos_insert_if_not_exists('big',
		jsonb_build_object('id', i * 4 + $_, 'v', (SELECT string_agg(md5(random()::text || i || j), '') FROM generate_series(1, 3200) j))) r WHERE r.applied") } 0 .. 3;
	$leader->finish_sql($_, 7200) for @fill;
	printf "%s rows, %s MiB, in %.0f s\n", $leader->sql('SELECT count(*) FROM big'), mib($leader->sql("SELECT pg_total_relation_size('big')")), PaxosCluster::now() - $t;
	$_->sql('SELECT paxos_truncate_log(0)'), $_->sql('CHECKPOINT') for $leader, $other;

	my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || ($2::int % 1000) || '/' || $1::int, to_jsonb($2::int))},
		clients => $clients, nodes => [ $leader, $other ]);
	$c->await_acknowledged($h, 200);
	my $before = PaxosCluster::now();
	usleep(10_000_000);
	my $start = PaxosCluster::now();
	$away->start;
	my (@mine, @theirs) = ();
	@mine = @theirs = (0, 0);
	my $state = '';
	my $source;
	my $giver;
	PaxosCluster::poll('the snapshot', sub {
		($state, $source) = split /\|/, $away->sql('SELECT state, source FROM paxos.snapshot_progress');
		more(\@mine, memory($away->worker_pid('learner') || 0));
		$giver ||= $c->node($source)->sql("SELECT pid FROM pg_stat_activity WHERE query LIKE '%snapshot_read%' AND application_name LIKE 'paxos node%' AND pid <> pg_backend_pid() LIMIT 1") if $source;
		more(\@theirs, memory($giver)) if $giver;
		usleep(200_000);
		return $state eq 'loaded';
	}, 7200);
	my $end = PaxosCluster::now();
	usleep(10_000_000);
	my $stop = PaxosCluster::now();
	my $records = $c->finish_load($h);
	my ($bytes, $seconds) = split /\|/, $away->sql('SELECT bytes, extract(epoch FROM ended - started) FROM paxos.snapshot_progress');
	$c->await_equal;
	printf "copied %s MiB from node %s (%s) in %.1f s, %s MiB/s\n", mib($bytes), $source, $source == $leader->id ? 'the leader' : 'a follower', $seconds, mib($bytes / $seconds);
	printf "memory of its own at most: receiver %.1f MB, giver %.1f MB; with the shared buffers they touched %.1f and %.1f MB\n", map { $_ / 1024 } $mine[0], $theirs[0], $mine[1], $theirs[1];
	print 'before      ', figures($records, $before, $start), "\n";
	print 'during      ', figures($records, $start, $end), "\n";
	print 'after       ', figures($records, $end, $stop), "\n";
	$c->same_everywhere('SELECT count(*), sum(hashtextextended(v, 0)) FROM big', 'equal everywhere');
}

sub sizes
{
	my $c = PaxosCluster->new(nodes => 3, fsync => $ENV{FSYNC}, conf => "${common}paxos.log_retention_slots = $retention\nautovacuum_naptime = 20s\n");
	my $leader = $c->await_followers;
	my $h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || ($2::int % 1000) || '/' || $1::int, to_jsonb($2::int))}, clients => $clients);
	my $t = PaxosCluster::now();
	print "seconds   slots decided   slots kept   log_bytes MiB   table and index MiB   vacuums\n";
	for (1 .. 10)
	{
		usleep($time * 100_000);
		my ($applied, $kept, $bytes, $all, $vacuums) = split /\|/, $leader->sql("SELECT applied, applied - truncated, log_bytes,
			pg_total_relation_size('paxos.log_entry'), (SELECT autovacuum_count FROM pg_stat_all_tables WHERE relid = 'paxos.log_entry'::regclass) FROM paxos.status");
		printf "%7.0f %15d %12d %15s %21s %9d\n", PaxosCluster::now() - $t, $applied, $kept, mib($bytes), mib($all), $vacuums;
	}
	$c->finish_load($h);
}

if ($ARGV[0] eq 'snapshot') { snapshot() } else { sizes() }
