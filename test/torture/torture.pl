# A torture run: a cluster of real servers, clients on every node, and a nemesis.
#
#   torture.pl --bin DIR [--time S] [--seed N] [--nodes 3|5] [--kinds a,b] [--brisk]
#              [--loopback] [--plan] [--user NAME]
#
#   --bin       programs of scripts/lib.sh build_test_programs
#   --kinds     only these kinds of faults
#   --brisk     short faults and short pauses: every kind within two minutes
#   --loopback  not in namespaces, although we are root
#   --plan      print the schedule, and end
#   --user      whom servers run as, if we are root
#
# In order: make the ground and the cluster; start the clients; let the nemesis
# follow its schedule; take everything back, start every server, and wait for
# service on every node, with a bound; end the clients; check; report.  Exit status
# 0: nothing is wrong.  1: something is, and everything is kept.  2: could not run.
#
# Written below PAXOS_WORK: schedule, nemesis.log, the clients' history, and each node's
# directory with its server.log.  PAXOS_BINDIR: programs of the stage.
#
# As root everything happens in namespaces of its own (mounts, processes, IPC,
# network): what a run makes, filesystems and interfaces and processes, ends
# with its first process, even if that is killed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", $FindBin::Bin;
use Getopt::Long;
use POSIX qw(:sys_wait_h strftime);
use Time::HiRes qw(usleep time);

my %o = (time => 60, seed => 1, nodes => 3, clients => 4, user => (getpwuid $>)[0]);
GetOptions(\%o, 'time=i', 'seed=i', 'nodes=i', 'bin=s', 'kinds=s', 'loopback', 'brisk', 'plan', 'clients=i', 'user=s') or exit 2;
my $why_loopback = $o{loopback} ? 'as asked' : $> != 0 ? 'only root may make namespaces' : enter_namespaces();
$o{loopback} = 1 if $why_loopback;
require PaxosCluster;
require TortureGround;
require Nemesis;
require TortureWork;
require TortureReport;

# A test's END of PaxosCluster removes directories; a torture run keeps or
# removes as a whole (scripts/torture).
$ENV{PAXOS_KEEP} = 1;
my $dir = $ENV{PAXOS_WORK};
$| = 1;
my $begun = PaxosCluster::now();
open my $logfile, '>', "$dir/nemesis.log" or die "$dir/nemesis.log: $!\n";
$logfile->autoflush(1);

sub say_ { print "$_[0]\n"; print $logfile sprintf("%s %s\n", stamp(), $_[0]); }
sub stamp { my $t = time; return strftime('%H:%M:%S', gmtime $t) . sprintf('.%03d', 1000 * ($t - int $t)); }
my $run_began;
sub note_
{
	my ($text) = @_;
	my $line = sprintf('%8.2f  %s', defined $run_began ? PaxosCluster::now() - $run_began : 0, $text);
	print "$line\n";
	print $logfile stamp() . " $line\n";
}

my ($cluster, $ground, $work, @wrong, $interrupted);
sub wrong { push @wrong, $_[0]; say_("WRONG: $_[0]"); }
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = sub { $interrupted = shift; die "interrupted\n"; };

# Orphans of our servers become our children, so that their ends are noticed (in
# a process namespace of our own we are the first process anyway).
syscall(157, 36, 1, 0, 0, 0) if $^O eq 'linux' && (POSIX::uname())[4] eq 'x86_64';

my $status = eval { main(); 1 } ? (@wrong ? 1 : 0) : do {
	my $e = $@;
	if ($interrupted) { say_("interrupted by SIG$interrupted"); 2; }
	else { wrong($e); 1; }
};
eval { $work->kill if $work; };
eval { $cluster->stop_all if $cluster; };
exit $status;

sub main
{
	# ---- ground and cluster ------------------------------------------------
	my @gid = (getpwnam $o{user})[3];
	my %g = (dir => $dir, user => $o{user}, group => $gid[0], disk_mb => 2048, delay => -x "$o{bin}/delay" ? "$o{bin}/delay" : undef,
		slow_disk => -e "$o{bin}/slow_disk.so" ? "$o{bin}/slow_disk.so" : undef);
	$ground = $o{loopback} ? TortureGround::Loopback->new(%g) : TortureGround::Namespaces->new(%g);

	say_("torture: $o{nodes} nodes, $o{time} s, seed $o{seed}, " . ($o{loopback} ? "on loopback ($why_loopback)" : 'each in its own network namespace'));
	$cluster = PaxosCluster->new(nodes => $o{nodes}, fsync => 1, ground => $ground, relay => $o{loopback}, impatient => 1, initdb => ['--wal-segsize=4'],
		conf => <<'END');
max_wal_size = 128MB
min_wal_size = 32MB
checkpoint_timeout = 30s
max_connections = 80
log_line_prefix = '%m [%p] %e %b %q%a '
log_checkpoints = off
log_autovacuum_min_duration = -1
paxos.trace = roles
END
	$ground->{cluster} = $cluster;
	say_("  $_: $ground->{features}{$_}") for sort keys %{ $ground->{features} };
	say_("  NOT HERE: $_: $ground->{missing}{$_}") for sort keys %{ $ground->{missing} };

	my $nemesis = Nemesis->new(cluster => $cluster, ground => $ground, seed => $o{seed}, seconds => $o{time}, log => \&note_, leader => \&leader,
		kinds => [ split /,/, $o{kinds} // '' ], brisk => $o{brisk});
	say_("  left out: $_ ($nemesis->{left_out}{$_})") for sort keys %{ $nemesis->{left_out} };
	open my $f, '>', "$dir/schedule" or die $!;
	print $f $nemesis->schedule;
	close $f;
	say_("schedule (of what is drawn in advance):\n" . $nemesis->schedule);
	return if $o{plan};

	wrong($_) for $ground->prove($cluster);

	# ---- the run -------------------------------------------------------------
	$work = TortureWork->new(cluster => $cluster, ground => $ground, dir => $dir, clients => $o{clients}, seed => $o{seed}, bin => $o{bin}, brisk => $o{brisk});
	$work->prepare;
	$ground->settle;
	$run_began = PaxosCluster::now();
	$work->start;
	my $next = 0;
	while (1)
	{
		my $now = PaxosCluster::now() - $run_began;
		my $more = $nemesis->step($now);
		last if $now >= $o{time} && !$more;
		usleep(30_000);
	}

	# ---- the end -------------------------------------------------------------
	note_('everything is taken back');
	$nemesis->heal;
	my $healed = PaxosCluster::now();
	while (my @unserved = $work->unserved($healed))
	{
		$nemesis->supervise(PaxosCluster::now() - $run_began);
		if (PaxosCluster::now() > $healed + 90)
		{
			wrong('no service on every node within 90 s after everything was taken back: node ' . join(', ', @unserved));
			say_states();
			last;
		}
		usleep(50_000);
	}
	my $recovered = PaxosCluster::now() - $healed;
	note_(sprintf('service on every node after %.2f s', $recovered)) unless @wrong;
	usleep(1_000_000);
	$nemesis->supervise(PaxosCluster::now() - $run_began);
	wrong($_) for $work->stop;
	wrong($_) for @{ $nemesis->{complaints} // [] };

	# ---- checks and figures ----------------------------------------------------
	my $report = TortureReport->new(cluster => $cluster, ground => $ground, nemesis => $nemesis, work => $work, dir => $dir, began => $run_began, wall => time - (PaxosCluster::now() - $run_began),
		healed => $healed, recovered => $recovered, seed => $o{seed}, nodes => $o{nodes}, seconds => $o{time});
	wrong($_) for $report->check;
	say_($report->text);
	say_($report->machine_line(scalar @wrong));
}

# What every node says of itself, for whoever reads a failure.
sub say_states
{
	for my $n ($cluster->nodes)
	{
		for my $q ('SELECT * FROM paxos.status', 'SELECT * FROM paxos.members', 'SELECT pid, backend_type, application_name, state, wait_event, query_start, left(query, 80) FROM pg_stat_activity WHERE pid <> pg_backend_pid()')
		{
			my $r = eval { $n->finish_sql($n->start_sql("\\x on\n\\a\n\\t off\n$q", options => '-c statement_timeout=5000'), 10) };
			say_("---- node $n->{number}: $q\n" . ($r ? "$r->{out}$r->{err}" : $@));
		}
		system("ps -o pid,ppid,stat,wchan:20,args --ppid $n->{pid} -p $n->{pid}") if $n->{pid};
	}
}

# Who leads, asked of all living nodes at once, with a bound: some may be in no
# state to answer.
sub leader
{
	my @asked = map { [ $_, $_->start_sql("SELECT ballot FROM paxos.status WHERE role = 'leader'", options => '-c statement_timeout=1000') ] }
	  grep { $_->{running} && !$_->{stopped} } $cluster->nodes;
	my ($best, $ballot) = (undef, -1);
	for (@asked)
	{
		my ($n, $h) = @$_;
		my $r = eval { $n->finish_sql($h, 2) } or next;
		($best, $ballot) = ($n, $r->{out}) if $r->{ok} && $r->{out} =~ /^\d+$/ && $r->{out} > $ballot;
	}
	return $best;
}

# Goes on in a child that is the first process of new namespaces, and passes signals
# on to it.  Returns in the child, or, where namespaces cannot be made, why not.
sub enter_namespaces
{
	my $flags = 0x00020000 | 0x08000000 | 0x20000000 | 0x40000000;		# mounts, IPC, processes, network
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		# Of our own: what it makes is seen by nobody else.
		POSIX::_exit(3) if syscall(272, $flags) != 0;
		my $first = fork() // POSIX::_exit(3);
		if ($first == 0)
		{
			syscall(157, 1, 9, 0, 0, 0);		# who started us ends: SIGKILL
			system('mount', '--make-rprivate', '/') == 0 && system('mount', '-t', 'proc', 'proc', '/proc') == 0 or POSIX::_exit(4);
			return undef;
		}
		$SIG{$_} = sub { kill $_[0], $first } for qw(INT TERM HUP);
		1 until waitpid($first, 0) == $first;
		POSIX::_exit($? & 127 ? 2 : $? >> 8);
	}
	$SIG{$_} = sub { kill $_[0], $pid } for qw(INT TERM HUP);
	1 until waitpid($pid, 0) == $pid;
	my $status = $? & 127 ? 2 : $? >> 8;
	return 'namespaces are not allowed here' if $status == 3 || $status == 4;
	exit $status;
}
