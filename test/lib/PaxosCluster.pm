
=pod

PaxosCluster - several PostgreSQL servers on loopback, formed into one cluster.

What the tests need and PostgreSQL::Test::Cluster does not give: members that
reach each other by TCP, a kill -9 of a whole server (postmaster and every
child), SIGSTOP of one, a network that can be cut between any two nodes, writers
whose acknowledgements are kept, and the comparison of all nodes.

Nothing here sleeps in place of a condition: everything waits by polling what
the servers say, with a bound, and dies with the last thing seen.

Environment: PAXOS_BINDIR (programs of the stage, see scripts/stage),
PAXOS_WORK (directory for data), PAXOS_LOAD (test/lib/load.c, compiled).

=cut

package PaxosCluster;

use strict;
use warnings;

use Carp;
use Fcntl;
use IO::Socket::INET;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC usleep);
use Test::More;

our $BINDIR = $ENV{PAXOS_BINDIR} or die "PAXOS_BINDIR is not set (run scripts/test)\n";
our $LOAD = $ENV{PAXOS_LOAD};
my $work = $ENV{PAXOS_WORK} or die "PAXOS_WORK is not set (run scripts/test)\n";
my @living;						# clusters to end when the test ends
my $name_count = 0;

# Bound of every wait here, in seconds; generous because machines are shared.
our $PATIENCE = 120;

sub now { return clock_gettime(CLOCK_MONOTONIC); }

=pod

poll(what, code [, seconds]): calls code until it returns true; returns that.
The first look costs nothing, later ones are 10 to 50 ms apart.

=cut

sub poll
{
	my ($what, $code, $seconds) = @_;
	my $end = now() + ($seconds // $PATIENCE);
	my $gap = 10_000;
	my $last = '';
	while (1)
	{
		my $r = eval { $code->() };
		return $r if $r;
		$last = $@ if $@;
		croak "waited in vain: $what" . ($last ? " (last error: $last)" : '') if now() > $end;
		usleep($gap);
		$gap = 50_000 if ($gap *= 1.5) > 50_000;
	}
}

# A port nobody listens on, below the range that outgoing connections take.  A file claims
# it: a server of the test beside may not have been started yet, or be down just now.
sub free_port
{
	for (1 .. 2000)
	{
		my $port = 20000 + int(rand(12000));
		next if -e "$work/port-$port";
		my $s = IO::Socket::INET->new(
			LocalAddr => '127.0.0.1', LocalPort => $port, Proto => 'tcp', Listen => 1,
			ReuseAddr => 1) or next;
		close $s;
		sysopen(my $claim, "$work/port-$port", O_CREAT | O_EXCL | O_WRONLY) or next;
		close $claim;
		return $port;
	}
	die "no free port\n";
}

=pod

stand_still(pids): SIGSTOP to processes of servers, each at a moment when it waits for
something.  Anywhere else it may hold a lightweight lock, and all of its server would stand
still with it.

=cut

# Its state and what it is in the middle of: a system call's number.
sub process_state { my ($pid) = @_; return slurp_line("/proc/$pid/stat") =~ /\) (\w)/ ? $1 : ''; }

# Where these are not known, or not to be seen, any moment has to do.
my %waits = (
	x86_64 => { map { $_ => 1 } 7, 23, 35, 45, 230, 232, 270, 271, 281 },
	aarch64 => { map { $_ => 1 } 22, 72, 73, 101, 115, 207 });
sub is_waiting
{
	my ($pid) = @_;
	my $known = $waits{ (POSIX::uname())[4] } or return 1;
	my $call = slurp_line("/proc/$pid/syscall");
	return $call eq '' || $call =~ /^(\d+) / && $known->{$1};
}

sub stop_process
{
	my ($pid) = @_;
	kill 'STOP', $pid or return 0;
	return poll("process $pid has stopped", sub { process_state($pid) =~ /^[TZX]?$/ });
}

sub stand_still
{
	my (@pids) = @_;
	for my $pid (@pids)
	{
		my $busy = now() + 10;
		poll("process $pid stands still", sub {
			stop_process($pid) or croak "no process $pid";
			return 1 if is_waiting($pid) || now() > $busy;
			kill 'CONT', $pid;
			return 0;
		});
	}
}

sub slurp_line
{
	my ($file) = @_;
	open my $f, '<', $file or return '';
	return <$f> // '';
}

=pod

new(nodes => 3, ...): starts servers with the extension created.  Options:

  form => 0        do not form the cluster
  extension => 0   do not create the extension either
  fsync => 1       durable servers (default: fsync off, allowed by
                   paxos.allow_fsync_off; killed processes lose nothing)
  relay => 1       members reach each other through a relay that can be cut
  conf => "..."    more lines of postgresql.conf
  impatient => 1   with the extension's own defaults of paxos.statement_timeout and
                   paxos.connect_timeout, not those of a test, which are long
  database => d    default 'postgres'
  prepare => code  called with each node before its server starts for the first time
  ground => object where and how the servers run, if not here and as ourselves:
                   directory(node) makes what the node's directory holds,
                   command(node, program, ...) what to execute for that program,
                   host(node) under which address the other nodes reach it

=cut

sub new
{
	my ($class, %opt) = @_;
	my $self = bless {
		dir => sprintf("%s/c%d-%d", $work, $$, ++$name_count),
		database => $opt{database} // 'postgres',
		nodes => [],
		opt => \%opt,
	}, $class;
	mkdir $self->{dir} or die "$self->{dir}: $!\n";
	push @living, $self;

	$self->add_server for 1 .. ($opt{nodes} // 3);
	$self->start_relay if $opt{relay};
	$_->start for $self->nodes;
	return $self if defined $opt{extension} && !$opt{extension};
	for my $n ($self->nodes)
	{
		$n->sql("CREATE DATABASE $self->{database}", database => 'postgres')
		  if $self->{database} ne 'postgres';
		$n->create_extension;
	}
	$self->form unless defined $opt{form} && !$opt{form};
	return $self;
}

sub add_server
{
	my ($self, %opt) = @_;
	my $number = @{ $self->{nodes} } + 1;
	my $node = PaxosCluster::Node->new($self, $number, %opt);
	push @{ $self->{nodes} }, $node;
	return $node;
}

sub nodes { return @{ $_[0]{nodes} }; }
sub node { return $_[0]{nodes}[ $_[1] - 1 ]; }
sub alive { return grep { $_->{running} && !$_->{stopped} } $_[0]->nodes; }

# The addresses as paxos_create_cluster() wants them.
sub members
{
	my ($self, @nodes) = @_;
	@nodes = $self->nodes unless @nodes;
	return join(', ', map { "'" . $_->member_conninfo . "'" } @nodes);
}

sub form
{
	my ($self, $from) = @_;
	$self->node($from // 1)->sql("SELECT paxos_create_cluster(ARRAY[" . $self->members . "])");
	$self->await_leader;
}

=pod

leader: the node that says of itself that it leads and is ready, or undef.
await_leader([except => node]): waits for one, and returns it.

=cut

sub leader
{
	my ($self, %opt) = @_;
	my ($best, $best_ballot) = (undef, -1);
	for my $n ($self->alive)
	{
		next if $opt{except} && $opt{except} == $n;
		my $r = eval { $n->sql("SELECT ballot FROM paxos.status WHERE role = 'leader'") } // '';
		($best, $best_ballot) = ($n, $r) if $r =~ /^\d+$/ && $r > $best_ballot;
	}
	return $best;
}

sub await_leader
{
	my ($self, %opt) = @_;
	return poll('a leader', sub { $self->leader(%opt) }, $opt{seconds});
}

# Every living node names the same leader and all are connected to it.
sub await_followers
{
	my ($self) = @_;
	my $leader;
	poll('all nodes follow one leader', sub {
		$leader = $self->leader or return 0;
		my $id = $leader->sql("SELECT node_id FROM paxos.status");	# another than of old, if it has rejoined
		for my $n ($self->alive)
		{
			my $l = $n->sql("SELECT leader FROM paxos.status");
			return 0 unless $l eq $id;
		}
		return 1;
	});
	return $leader;
}

=pod

await_equal([nodes]): waits until all these nodes have applied one watermark
with one digest, and returns the watermark.  Dies at once when two of them
show different digests at one watermark: that never heals.

=cut

sub await_equal
{
	my ($self, @nodes) = @_;
	@nodes = $self->alive unless @nodes;
	my %seen;
	return poll('equal watermarks on all nodes', sub {
		my %now;
		for my $n (@nodes)
		{
			my ($applied, $digest) = split /\|/, $n->sql("SELECT applied, digest FROM paxos.status");
			if (defined $seen{$applied} && $seen{$applied} ne $digest)
			{
				BAIL_OUT("nodes differ at slot $applied: $seen{$applied} and $digest on node $n->{number}");
			}
			$seen{$applied} = $digest;
			$now{$applied} = 1;
		}
		return keys %now == 1 ? (keys %now)[0] : 0;
	});
}

=pod

same_everywhere(query, name [, nodes]): a test that the query gives one answer
on all nodes once they stand at one watermark.  Returns the answer.

=cut

sub same_everywhere
{
	my ($self, $query, $name, @nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	@nodes = $self->alive unless @nodes;
	$self->await_equal(@nodes);
	my @answers = map { $_->sql($query) } @nodes;
	my $first = $answers[0];
	is(join("\n--\n", @answers), join("\n--\n", ($first) x @answers), $name);
	return $first;
}

=pod

add_newcomer(name, cut => slots [, roles => [..]]): when more than so many slots are cut, cuts
the logs as far as it goes, so that a snapshot is all that a newcomer can begin with; starts
one more server, with these roles, makes it a member, and returns it when all are equal.

cut_logs(slot, nodes): cuts their logs, beyond that slot on each.

misses_the_log(node, code): stops a node, does what it is to miss, and cuts the others' logs
beyond what it has applied; starts it, and returns when it has loaded a snapshot.

=cut

sub add_newcomer
{
	my ($self, $name, %opt) = @_;
	$self->node(1)->poll_sql("SELECT truncated > $opt{cut} FROM paxos.status");
	$_->sql('SELECT paxos_truncate_log(0)') for $self->alive;
	my $node = $self->add_server;
	$node->start;
	$node->create_extension;
	$node->sql("CREATE ROLE $_") for @{ $opt{roles} // [] };
	$self->node(1)->sql("SELECT paxos_add_member('" . $node->member_conninfo . "', '$name')");
	$node->poll_sql("SELECT state = 'member' FROM paxos.status");
	$self->await_equal;
	return $node;
}

sub cut_logs
{
	my ($self, $slot, @nodes) = @_;
	for my $n (@nodes)
	{
		poll('the log is cut', sub {
			$n->sql('SELECT paxos_truncate_log(5)');
			return $n->sql("SELECT truncated > $slot FROM paxos.status") eq 't';
		});
	}
}

sub misses_the_log
{
	my ($self, $node, $code) = @_;
	my $applied = $node->sql("SELECT applied FROM paxos.status");
	$node->stop;
	$code->();
	my @others = $self->alive;
	$others[0]->sql("SELECT paxos_kv_put('k' || i, '1') FROM generate_series(1, 100) i");
	$self->cut_logs($applied, @others);
	$node->start;
	$self->await_followers;
	$node->poll_sql("SELECT state FROM paxos.snapshot_progress", 'loaded');
}

=pod

start_load(statement => SQL with $1 and $2, clients => per node, nodes => [..],
seconds =>, max =>): writers in the background.  Returns a handle; finish(handle)
ends them and returns the records, [client, operation, outcome, started, ended, detail].

=cut

sub start_load
{
	my ($self, %opt) = @_;
	my $file = sprintf("%s/load%d.out", $self->{dir}, ++$self->{loads});
	my @cmd = ($LOAD, '-q', $opt{statement}, '-o', $file, '-n', $opt{clients} // 1);
	push @cmd, '-s', $opt{seconds} if $opt{seconds};
	push @cmd, '-m', $opt{max} if $opt{max};
	push @cmd, map { $_->conninfo . ' connect_timeout=5' } @{ $opt{nodes} // [ $self->nodes ] };
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		exec @cmd or POSIX::_exit(127);
	}
	my $h = { pid => $pid, file => $file };
	$self->{running_loads}{$pid} = $h;
	return $h;
}

sub load_records
{
	my ($self, $h) = @_;
	open my $f, '<', $h->{file} or return [];
	my @r = map { chomp; [ split / /, $_, 6 ] } <$f>;
	close $f;
	return \@r;
}

# Waits until so many operations were acknowledged after a moment (or at all).
sub await_acknowledged
{
	my ($self, $h, $n, $since) = @_;
	$since //= 0;
	poll("$n acknowledged operations", sub {
		return $n <= grep { $_->[2] eq 'A' && $_->[3] >= $since } @{ $self->load_records($h) };
	});
}

sub finish_load
{
	my ($self, $h) = @_;
	kill 'TERM', $h->{pid};
	my $end = now() + $PATIENCE;
	while (waitpid($h->{pid}, WNOHANG) == 0)
	{
		if (now() > $end) { kill 'KILL', $h->{pid}; waitpid($h->{pid}, 0); die "load did not end\n"; }
		usleep(10_000);
	}
	delete $self->{running_loads}{ $h->{pid} };
	return $self->load_records($h);
}

=pod

The first table of load_table() makes one row per operation; the second counts
per client, so that a command executed twice shows.  check_load() compares both
with the records on every node given.

=cut

sub load_table
{
	my ($self) = @_;
	my $n = ($self->alive)[0];
	$n->sql("CREATE TABLE load_rows (client int, op int, PRIMARY KEY (client, op)) USING paxos");
	$n->sql("CREATE TABLE load_counts (client int PRIMARY KEY, n bigint NOT NULL) USING paxos");
	$self->await_equal;
}

our $LOAD_INSERT = q{SELECT applied FROM paxos_insert_if_not_exists('load_rows', jsonb_build_object('client', $1::int, 'op', $2::int))};
our $LOAD_COUNT = q{SELECT applied FROM paxos_update_if('load_counts', jsonb_build_object('client', $1::int), '{"n +=": 1}', jsonb_build_object('client', $1::int + 0 * $2::int))};

sub prepare_counts
{
	my ($self, $clients) = @_;
	my $n = ($self->alive)[0];
	$n->sql("SELECT applied FROM paxos_insert_if_not_exists('load_counts', '{\"client\": $_, \"n\": 0}')")
	  for 0 .. $clients - 1;
}

sub check_inserts
{
	my ($self, $records, $name, @nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	@nodes = $self->alive unless @nodes;
	$self->await_equal(@nodes);
	my (%acked, %unknown, %refused, $not_applied);
	for (@$records)
	{
		my ($client, $op, $outcome) = @$_;
		if ($outcome eq 'A') { $acked{"$client|$op"} = 1 }
		elsif ($outcome eq 'U') { $unknown{"$client|$op"} = 1 }
		elsif ($outcome eq 'N') { $refused{"$client|$op"} = 1 }
		else { $not_applied++ }
	}
	is($not_applied // 0, 0, "$name: no fresh key was found taken (nothing was executed twice)");
	for my $n (@nodes)
	{
		my %there = map { $_ => 1 } split /\n/, $n->sql("SELECT client, op FROM load_rows");
		my @lost = grep { !$there{$_} } keys %acked;
		my @false = grep { $refused{$_} } keys %there;
		my @strange = grep { !$acked{$_} && !$unknown{$_} && !$refused{$_} } keys %there;
		is("@lost", '', "$name: node $n->{number} has every one of the " . keys(%acked) . " acknowledged writes");
		is("@false", '', "$name: node $n->{number} has none of the " . keys(%refused) . " refused ones");
		is("@strange", '', "$name: node $n->{number} has nothing nobody wrote");
	}
}

sub check_counts
{
	my ($self, $records, $name, @nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	@nodes = $self->alive unless @nodes;
	$self->await_equal(@nodes);
	my (%acked, %unknown);
	for (@$records)
	{
		$acked{ $_->[0] }++ if $_->[2] eq 'A';
		$unknown{ $_->[0] }++ if $_->[2] eq 'U';
	}
	for my $n (@nodes)
	{
		my @wrong;
		for (split /\n/, $n->sql("SELECT client, n FROM load_counts"))
		{
			my ($client, $count) = split /\|/;
			my $a = $acked{$client} // 0;
			my $u = $unknown{$client} // 0;
			push @wrong, "client $client: counted $count, acknowledged $a, unknown $u"
			  if $count < $a || $count > $a + $u;
		}
		is(join('; ', @wrong), '', "$name: on node $n->{number} each acknowledged increment counts once, each unknown one at most once");
	}
}

# Milliseconds from a moment to the first acknowledgement of an operation that
# was started after it, by the clients of living nodes.
sub gap_ms
{
	my ($self, $records, $since, $until) = @_;
	my $first;
	for (@$records)
	{
		next unless $_->[2] eq 'A' && $_->[3] >= $since;
		$first = $_->[4] if !defined $first || $_->[4] < $first;
	}
	return defined $first ? 1000 * ($first - $since) : undef;
}

sub median
{
	my @s = sort { $a <=> $b } @_;
	return @s % 2 ? $s[ $#s / 2 ] : ($s[ @s / 2 - 1 ] + $s[ @s / 2 ]) / 2;
}

=pod

The relay: a process between the nodes.  cut([1,2], [3]) lets nothing through
between the two groups, in either direction, like a pulled cable: connections
stay and are silent.  heal() lets all through again.

=cut

sub start_relay
{
	my ($self) = @_;
	my @args;
	for my $n ($self->nodes)
	{
		$n->{relay_port} = PaxosCluster::free_port();
		push @args, "$n->{number}:$n->{relay_port}:$n->{port}:$n->{dir}";
	}
	(my $script = __FILE__) =~ s/PaxosCluster\.pm$/relay.pl/;
	my $pid = open(my $to, '|-') // die "fork: $!\n";
	if ($pid == 0)
	{
		exec $^X, $script, "$self->{dir}/relay.log", @args or POSIX::_exit(127);
	}
	$to->autoflush(1);
	$self->{relay} = { pid => $pid, to => $to };
	poll('the relay listens', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->node(1)->{relay_port}) });
}

sub relay_command
{
	my ($self, $line) = @_;
	my $to = $self->{relay}{to};
	my $mark = ++$self->{relay_marks};
	print $to "$line\nmark $mark\n";
	poll("the relay does '$line'", sub { -e "$self->{dir}/relay.log.$mark" });
}

sub cut
{
	my ($self, $a, $b) = @_;
	$self->relay_command("cut " . join(',', @$a) . " " . join(',', @$b));
}

sub heal { $_[0]->relay_command("heal"); }

# End everything; called for every cluster when the test ends, however it ends.
sub stop_all
{
	my ($self) = @_;
	kill 'KILL', $_ for keys %{ $self->{running_loads} // {} };
	for my $n ($self->nodes, @{ $self->{copies} // [] })
	{
		$n->sigcont if $n->{stopped};
		$n->kill9 if $n->{running};
		$n->forget_memory;
	}
	if ($self->{relay})
	{
		kill 'KILL', $self->{relay}{pid};
		close $self->{relay}{to};
		delete $self->{relay};
	}
}

END
{
	my $status = $?;
	for my $c (@living) { eval { $c->stop_all }; }
	# Keep the directories of a test that failed: its logs say why.
	if ($status == 0 && Test::More->builder->is_passing && !$ENV{PAXOS_KEEP})
	{
		system('rm', '-rf', $_->{dir}) for @living;
	}
	$? = $status;
}

# ---------------------------------------------------------------------------
package PaxosCluster::Node;

use strict;
use warnings;

use Carp;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(usleep);
use Test::More;

sub new
{
	my ($class, $cluster, $number, %opt) = @_;
	my $self = bless {
		cluster => $cluster,
		number => $number,
		port => PaxosCluster::free_port(),
		dir => "$cluster->{dir}/node$number",
	}, $class;
	my %o = (%{ $cluster->{opt} }, %opt);
	mkdir $self->{dir};
	$self->{ground} = $o{ground};
	$self->{ground}->directory($self) if $self->{ground};
	$self->make_datadir(@{ $o{initdb} // [] });
	my $listen = join ',', keys %{ { map { $_ => 1 } '127.0.0.1', $self->host } };
	# Dynamic shared memory in files of the data directory: what a server that is killed leaves goes
	# with them, and does not fill the machine's memory.
	$self->conf(<<"END");
listen_addresses = '$listen'
port = $self->{port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
max_wal_size = 1GB
log_line_prefix = '%m [%p] %b %q%a '
log_statement = none
shared_preload_libraries = 'paxos_ext'
paxos.database = '$cluster->{database}'
END
	# A machine may be slow, or stand still for a while, without a word about what is tested;
	# a network that is cut has to be noticed.
	$self->conf("paxos.statement_timeout = '120s'") unless $o{impatient};
	$self->conf("paxos.connect_timeout = '10s'") unless $o{impatient} || $o{relay};
	if (!$o{fsync})
	{
		$self->conf("fsync = off\nfull_page_writes = off\npaxos.allow_fsync_off = on\n");
	}
	$self->let_in($self->host) if $self->host ne '127.0.0.1';
	$self->conf($o{conf}) if $o{conf};
	$o{prepare}->($self) if $o{prepare};
	return $self;
}

# What initdb makes is made once for each set of options, and copied; but no two servers may
# have the same system identifier, which stands at the head of pg_control.
sub make_datadir
{
	my ($self, @options) = @_;
	my @initdb = ('initdb', '-N', '-A', 'trust', '-U', 'postgres', '--no-instructions', '--encoding=UTF8', '--locale=C', @options);
	return $self->run('initdb', @initdb, '-D', $self->datadir) if $self->{ground};
	my $made = join '', "$work/initdb", @options;
	if (!-d $made)
	{
		$self->run('initdb', @initdb, '-D', "$self->{dir}/made");
		rename "$self->{dir}/made", $made or -d $made or die "$made: $!\n";    # or another test was quicker
	}
	system('cp', '-a', $made, $self->datadir) == 0 or die "cannot copy $made\n";
	open my $f, '+<', $self->datadir . '/global/pg_control' or die $!;
	print $f pack 'VV', map { int(rand(2**31)) } 1, 2;
	close $f;
	$self->run('a system identifier', 'pg_resetwal', '-f', '-D', $self->datadir);
	return 1;
}

# A server beside the members, on a data directory that 'fill' makes, with a port
# of its own: a copy of a node, a standby of it.
sub copy
{
	my ($self, $name, $fill) = @_;
	my $copy = bless {
		cluster => $self->{cluster},
		number => "$self->{number}$name",
		port => PaxosCluster::free_port(),
		dir => "$self->{cluster}{dir}/node$self->{number}$name",
	}, ref $self;
	mkdir $copy->{dir};
	$fill->($copy);
	$copy->conf("port = $copy->{port}");
	push @{ $self->{cluster}{copies} }, $copy;
	return $copy;
}

# Where its programs are: those of another build after run_build(directory), from
# the next start on.
sub bindir { return $_[0]{bindir} // $PaxosCluster::BINDIR; }
sub run_build { my ($self, $bindir) = @_; $self->{bindir} = $bindir; }

sub id { return $_[0]{number}; }
sub datadir { return "$_[0]{dir}/data"; }
sub logfile { return "$_[0]{dir}/server.log"; }

# Trust, as initdb gives to loopback, for the network of the members.
sub let_in
{
	my ($self, $host) = @_;
	open my $f, '>>', $self->datadir . "/pg_hba.conf" or die $!;
	print $f "host all all $host/24 trust\n";
	close $f;
}

# The address for peers; clients always use the server's own loopback.
sub host { my ($self) = @_; return $self->{ground} ? $self->{ground}->host($self) : '127.0.0.1'; }

# What to execute to run a program as this node's server runs.
sub command
{
	my ($self, $program, @args) = @_;
	return $self->{ground} ? $self->{ground}->command($self, $program, @args) : ($program, @args);
}

sub conf
{
	my ($self, $lines) = @_;
	open my $f, '>>', $self->datadir . "/postgresql.conf" or die $!;
	print $f "$lines\n";
	close $f;
}

# For clients, and for peers (through the relay if there is one).
sub conninfo
{
	my ($self) = @_;
	return "host=127.0.0.1 port=$self->{port} dbname=$self->{cluster}{database} user=postgres";
}

sub member_conninfo
{
	my ($self) = @_;
	my $port = $self->{relay_port} // $self->{port};
	return 'host=' . $self->host . " port=$port dbname=$self->{cluster}{database} user=node";
}

# Run a program of the stage, quietly; its output is shown when it fails.
sub run
{
	my ($self, $what, $program, @args) = @_;
	my $log = "$self->{dir}/$program.log";
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $log;
		open STDERR, '>&', \*STDOUT;
		exec $self->command($self->bindir . "/$program", @args) or POSIX::_exit(127);
	}
	waitpid($pid, 0);
	return 1 if $? == 0;
	my $r = $?;
	return 0 if $what eq 'try';
	croak "node $self->{number}: $what failed ($r):\n" . tail($log) . tail($self->logfile);
}

sub tail
{
	my ($file, $lines) = @_;
	open my $f, '<', $file or return '';
	my @l = <$f>;
	close $f;
	$lines //= 20;
	@l = @l[ -$lines .. -1 ] if @l > $lines;
	return join '', @l;
}

sub start
{
	my ($self, %opt) = @_;
	my $ok = $self->run($opt{try} ? 'try' : 'start', 'pg_ctl', '-D', $self->datadir, '-l', $self->logfile,
		'-w', '-t', $PaxosCluster::PATIENCE, 'start');
	return 0 if !$ok;
	$self->{running} = 1;
	$self->{stopped} = 0;
	$self->{pid} = $self->postmaster_pid;
	return 1;
}

sub stop
{
	my ($self, $mode) = @_;
	$self->run('stop', 'pg_ctl', '-D', $self->datadir, '-m', $mode // 'fast', '-w', '-t', $PaxosCluster::PATIENCE, 'stop');
	$self->{running} = 0;
}

sub restart
{
	my ($self, $mode) = @_;
	$self->run('restart', 'pg_ctl', '-D', $self->datadir, '-l', $self->logfile, '-m', $mode // 'fast',
		'-w', '-t', $PaxosCluster::PATIENCE, 'restart');
	$self->{pid} = $self->postmaster_pid;
}

sub reload { my ($self) = @_; kill 'HUP', $self->{pid}; }

sub postmaster_pid
{
	my ($self) = @_;
	open my $f, '<', $self->datadir . "/postmaster.pid" or return undef;
	my $pid = <$f>;
	close $f;
	chomp $pid;
	return $pid;
}

# Every process of this server, its postmaster first.
sub pids
{
	my ($self) = @_;
	my $p = $self->{pid};
	open my $f, '<', "/proc/$p/task/$p/children" or return ($p);
	my $c = <$f> // '';
	close $f;
	return ($p, split ' ', $c);
}

=pod

kill9: the whole server at once.  The postmaster is stopped first, so that it
starts no child behind our back; then all die together.  Returns the moment.

=cut

sub kill9
{
	my ($self) = @_;
	PaxosCluster::stop_process($self->{pid});
	$self->note_memory;
	my @pids = $self->pids;
	my $t = PaxosCluster::now();
	kill 'KILL', @pids;
	PaxosCluster::poll('the killed processes are gone', sub {
		for my $p (@pids)
		{
			waitpid($p, WNOHANG);
			next unless open my $f, '<', "/proc/$p/stat";
			my $s = <$f> // '';
			return 0 unless $s =~ /\) Z/;
		}
		return 1;
	});
	# In a container whose first process buries nobody, the dead postmaster stays
	# visible as a zombie, and would be taken for a living server.
	unlink $self->datadir . "/postmaster.pid" if -e "/proc/$self->{pid}";
	$self->{running} = 0;
	return $t;
}

# A server that is killed leaves its System V shared memory behind, for its next life to
# find; of a test's servers that is never, and a machine has only some thousand pieces.
sub note_memory
{
	my ($self) = @_;
	open my $f, '<', $self->datadir . '/postmaster.pid' or return;
	my @lines = <$f>;
	$self->{memory} = (split ' ', $lines[6])[1] if @lines > 6;
}

sub forget_memory
{
	my ($self) = @_;
	my $rmid = 0;
	shmctl($self->{memory}, $rmid, 0) if defined $self->{memory};
	delete $self->{memory};
}

# The postmaster first, as above: a child that it has just forked is one of those listed.
sub sigstop
{
	my ($self) = @_;
	PaxosCluster::stop_process($self->{pid});
	PaxosCluster::stop_process($_) for $self->pids;
	$self->{stopped} = 1;
}
sub sigcont { my ($self) = @_; kill 'CONT', $_ for reverse $self->pids; $self->{stopped} = 0; }

# The pid of a background worker: 'proposer' or 'learner'.
sub worker_pid
{
	my ($self, $which) = @_;
	return $self->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos $which'");
}

# What code returns, called while the learner does not apply.
sub held_back
{
	my ($self, $code) = @_;
	my $learner = $self->worker_pid('learner');
	PaxosCluster::stand_still($learner);
	my $r = $code->();
	kill 'CONT', $learner;
	return $r;
}

sub create_extension
{
	my ($self) = @_;
	$self->sql("CREATE EXTENSION paxos_ext");
	$self->sql("CREATE ROLE node LOGIN IN ROLE paxos_peer");
}

=pod

try(sql, [database =>, user =>, host port]): runs it through psql and returns a
hash: ok, out, sqlstate, message (primary), err (everything).
sql(...): the same, returns out, dies on an error.

=cut

sub try
{
	my ($self, $sql, %opt) = @_;
	my $h = $self->start_sql($sql, %opt);
	return $self->finish_sql($h);
}

# The two halves of try(), for statements that run beside others.
sub start_sql
{
	my ($self, $sql, %opt) = @_;
	my $base = sprintf("%s/psql%d", $self->{dir}, ++$self->{psqls});
	my $db = $opt{database} // $self->{cluster}{database};
	my $user = $opt{user} // 'postgres';
	open my $f, '>', "$base.in" or die "$base.in: $!";
	print $f $sql;
	print $f ';' unless $sql =~ /[;\n]\s*$/;
	print $f "\n";
	close $f;
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDIN, '<', "$base.in";
		open STDOUT, '>', "$base.out";
		open STDERR, '>', "$base.err";
		$ENV{PGOPTIONS} = $opt{options} if $opt{options};
		$ENV{PGAPPNAME} = $opt{name} if $opt{name};
		exec $self->command("$PaxosCluster::BINDIR/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose',
			'-d', "host=127.0.0.1 port=$self->{port} dbname=$db user=$user connect_timeout=60")
		  or POSIX::_exit(127);
	}
	return { pid => $pid, base => $base, sql => $sql };
}

sub running_sql { my ($self, $h) = @_; return !defined $h->{status} && kill(0, $h->{pid}) && !reap($h); }

sub reap
{
	my ($h) = @_;
	my $r = waitpid($h->{pid}, WNOHANG);
	return 0 if $r == 0;
	$h->{status} = $?;
	return 1;
}

sub finish_sql
{
	my ($self, $h, $seconds) = @_;
	my $end = PaxosCluster::now() + ($seconds // 300);
	until (defined $h->{status} || reap($h))
	{
		if (PaxosCluster::now() > $end)
		{
			kill 'KILL', $h->{pid};
			waitpid($h->{pid}, 0);
			croak "node $self->{number}: no answer to: $h->{sql}";
		}
		usleep(2_000);
	}
	my %r = (ok => $h->{status} == 0, out => slurp("$h->{base}.out"), err => slurp("$h->{base}.err"));
	unlink map { "$h->{base}.$_" } qw(in out err);
	($r{sqlstate}, $r{message}) = ($1, $2) if $r{err} =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)/;
	$r{detail} = $1 if $r{err} =~ /^DETAIL:  (.*)/m;
	$r{hint} = $1 if $r{err} =~ /^HINT:  (.*)/m;
	$r{sqlstate} //= $r{ok} ? '00000' : 'lost';
	return \%r;
}

sub slurp
{
	my ($file) = @_;
	open my $f, '<', $file or return '';
	local $/;
	my $s = <$f> // '';
	close $f;
	$s =~ s/\n\z//;
	return $s;
}

sub sql
{
	my ($self, $sql, %opt) = @_;
	my $r = $self->try($sql, %opt);
	croak "node $self->{number}: $sql\n$r->{err}" unless $r->{ok};
	return $r->{out};
}

# A test that a statement fails with this SQLSTATE (and message).
sub fails
{
	my ($self, $sql, $sqlstate, $like, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $r = $self->try($sql, %opt);
	my $good = $r->{sqlstate} eq $sqlstate && $r->{err} =~ $like;
	ok($good, $name) or diag("wanted $sqlstate $like, got: $r->{sqlstate} $r->{out} $r->{err}");
	return $r;
}

=pod

session: a psql that stays connected.  ask(sql) sends and does not wait;
answer waits for everything asked so far and returns what came since the last
answer, standard error included; pid is its backend's.

=cut

sub session
{
	my ($self, %opt) = @_;
	my $base = sprintf("%s/session%d", $self->{dir}, ++$self->{psqls});
	my $db = $opt{database} // $self->{cluster}{database};
	my $user = $opt{user} // 'postgres';
	my $pid = open(my $to, '|-') // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDOUT, '>', "$base.out";
		open STDERR, '>&', \*STDOUT;
		exec $self->command("$PaxosCluster::BINDIR/psql", '-XAtq', '-v', 'VERBOSITY=verbose',
			'-d', "host=127.0.0.1 port=$self->{port} dbname=$db user=$user connect_timeout=60")
		  or POSIX::_exit(127);
	}
	$to->autoflush(1);
	my $s = bless { to => $to, out => "$base.out", seen => 0, marks => 0, psql => $pid }, 'PaxosCluster::Session';
	$s->{pid} = $s->query("SELECT pg_backend_pid()");
	return $s;
}

sub poll_sql
{
	my ($self, $sql, $wanted, $seconds) = @_;
	$wanted //= 't';
	my $last = '';
	my $r = eval {
		PaxosCluster::poll("node $self->{number}: $sql is $wanted", sub {
			$last = $self->sql($sql);
			return $last eq $wanted;
		}, $seconds);
	};
	croak "$@ (last: $last)" unless $r;
	return 1;
}

# A linearizable snapshot of a query: everything acknowledged before is in it.
sub sql_after_barrier
{
	my ($self, $sql, %opt) = @_;
	my $out = $self->sql("SELECT paxos_barrier() > 0;\n$sql", %opt);
	$out =~ s/\At\n?//;
	return $out;
}

sub log_size { my ($self) = @_; return -s $self->logfile // 0; }

sub log_since
{
	my ($self, $offset) = @_;
	open my $f, '<', $self->logfile or return '';
	seek $f, $offset, 0;
	local $/;
	my $s = <$f> // '';
	close $f;
	return $s;
}

# ---------------------------------------------------------------------------
package PaxosCluster::Session;

use strict;
use warnings;

sub ask
{
	my ($self, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $to = $self->{to};
	$self->{marks}++;
	print $to "$sql;\n\\echo mark $self->{marks}\n";
}

sub answer
{
	my ($self, $seconds) = @_;
	my $text;
	PaxosCluster::poll('an answer in a session', sub {
		$text = substr(PaxosCluster::Node::slurp($self->{out}) . "\n", $self->{seen});
		return $text =~ /^mark $self->{marks}$/m || !$self->alive;
	}, $seconds);
	$self->{seen} += length $text;
	$text =~ s/^mark \d+\n//mg;
	$text =~ s/\n+\z//;
	return $text;
}

sub answered
{
	my ($self) = @_;
	my $text = PaxosCluster::Node::slurp($self->{out}) . "\n";
	return $text =~ /^mark $self->{marks}$/m;
}

sub query { my ($self, $sql) = @_; $self->ask($sql); return $self->answer; }

# The answer to a COMMIT that may fail.  A cancellation that meets it before it has begun leaves
# a failed block, as in any PostgreSQL; that is ended, too.
sub end { my ($self) = @_; my $answer = $self->query('COMMIT'); $self->query('ROLLBACK'); return $answer; }

sub alive { my ($self) = @_; return waitpid($self->{psql}, POSIX::WNOHANG()) == 0; }

sub close { my ($self) = @_; local $SIG{PIPE} = 'IGNORE'; close $self->{to}; }

1;
