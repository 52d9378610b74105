
=pod

TortureGround - where the servers of a torture run live: network, disk, clock.

Two grounds with one interface:

- TortureGround::Namespaces, for root.  The run has already been put into
  namespaces of its own (mounts, processes, IPC, network; scripts/torture does it),
  so whatever is made here is gone when its first process ends, however it ends:
  nothing is left on the machine even after kill -9.  Each node has a network
  namespace in it, tied by a veth pair to a bridge, and its data directory on
  an ext4 filesystem of its own in a loop-mounted file.
- TortureGround::Loopback, for everybody else.  Members reach each other through
  the relay of the tests; disks are the machine's.

What a ground cannot do is said by missing(): a run prints it and leaves those
faults out, so nobody takes a run for more than it was.

The network is a set of rules between ordered pairs of nodes, each put there by
one fault and taken back by it; several on one pair add up.  A rule is a hash
with any of cut => 1, loss => percent, delay => [ms, jitter ms]; rate
=> kbit is for all that a node sends (the pair's second number is 0).

=cut

package TortureGround;

use strict;
use warnings;

# Faults of the catalogue need these; value: how it is done here.
sub can { my ($self, $feature) = @_; return $self->{features}{$feature}; }
sub missing { my ($self) = @_; return $self->{missing}; }

sub run_quietly
{
	my (@cmd) = @_;
	my $out = '';
	my $pid = open(my $f, '-|') // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDERR, '>&', \*STDOUT;
		open STDIN, '<', '/dev/null';
		exec @cmd or POSIX::_exit(127);
	}
	{ local $/; $out = <$f> // ''; }
	close $f;
	return wantarray ? ($? == 0, $out) : $? == 0;
}

sub must
{
	my ($ok, $out) = run_quietly(@_);
	die "@_\n$out" unless $ok;
	return $out;
}

sub write_file
{
	my ($file, $text) = @_;
	open my $f, '>', "$file.new" or die "$file: $!\n";
	print $f $text;
	close $f;
	chmod 0644, "$file.new";
	rename "$file.new", $file or die "$file: $!\n";
}

# What both grounds have: faults of the disk and the clock that a preloaded
# library makes, switched by files in the node's directory.
sub new
{
	my ($class, %o) = @_;
	my $self = bless { %o, links => {}, features => {}, missing => {}, nodes => {} }, $class;
	my @preload;
	if ($o{slow_disk}) { push @preload, $o{slow_disk}; $self->{features}{slow_disk} = 'a preloaded library delays fsync and fdatasync'; }
	else { $self->{missing}{slow_disk} = 'the library that delays flushes could not be built'; }
	my ($faketime) = grep { -e } map { "$_/faketime/libfaketime.so.1" } glob('/usr/lib/*-linux-gnu'), '/usr/lib', '/usr/local/lib', '/usr/lib64';
	if ($faketime) { push @preload, $faketime; $self->{features}{clock} = "wall clock by $faketime"; }
	else { $self->{missing}{clock} = 'libfaketime is not installed'; }
	$self->{preload} = join ':', @preload;
	return $self;
}

sub switches
{
	my ($self, $node) = @_;
	my $d = $node->{dir};
	open my $f, '>', "$d/disk_delay" or die $!;
	print $f pack('i', 0);
	close $f;
	write_file("$d/clock", "+0\n");
}

# CLOCK_BOOTTIME and CLOCK_MONOTONIC stay true: the extension measures time by
# the first, and the protocol asks that it runs evenly (protocol.md).  So do the times
# of files, as on a machine whose clock jumps: libfaketime would move those, too, and
# with them the one by which a node knows its data directory (paxos_identity.c).
sub environment
{
	my ($self, $node, $program) = @_;
	return () unless $program =~ m{/(pg_ctl|postgres)$} && $self->{preload};
	return ("LD_PRELOAD=$self->{preload}", "TORTURE_DISK=$node->{dir}/disk_delay", "FAKETIME_TIMESTAMP_FILE=$node->{dir}/clock",
		'FAKETIME_CACHE_DURATION=1', 'FAKETIME_DONT_FAKE_MONOTONIC=1', 'NO_FAKE_STAT=1');
}

sub flush_delay
{
	my ($self, $node, $ms) = @_;
	open my $f, '+<', "$node->{dir}/disk_delay" or die $!;
	syswrite $f, pack('i', $ms);
	close $f;
}

sub clock { my ($self, $node, $spec) = @_; write_file("$node->{dir}/clock", "$spec\n"); }

# add(fault, [from, to, rule]...) and remove(fault): the links of one fault.
sub add
{
	my ($self, $fault, @rules) = @_;
	$self->{links}{$fault} = \@rules;
	$self->arrange;
}

sub remove
{
	my ($self, $fault) = @_;
	delete $self->{links}{$fault} and $self->arrange;
}

# All rules of all faults as one: "from to" => { cut, loss, delay, jitter, rate }.
sub combined
{
	my ($self) = @_;
	my %all;
	for my $rules (values %{ $self->{links} })
	{
		for my $r (@$rules)
		{
			my ($from, $to, $what) = @$r;
			my $a = $all{"$from $to"} //= {};
			$a->{cut} = 1 if $what->{cut};
			$a->{loss} = $what->{loss} if ($what->{loss} // 0) > ($a->{loss} // 0);
			$a->{rate} = $what->{rate} if $what->{rate} && (!$a->{rate} || $what->{rate} < $a->{rate});
			if ($what->{delay})
			{
				$a->{delay} = ($a->{delay} // 0) + $what->{delay}[0];
				$a->{jitter} = ($a->{jitter} // 0) + $what->{delay}[1];
			}
		}
	}
	return \%all;
}

=pod

prove(cluster): tries each feature on the formed cluster before the run, and returns
what does not do what it says.  A fault that nobody feels would make every
run a good one.

=cut

sub prove
{
	my ($self, $cluster) = @_;
	my @wrong;
	my ($a, $b) = map { $cluster->node($_) } 1, 2;
	my $from = $self->caller_number($a);

	# A query from where node 1 is, on the way its server takes; seconds, or undef.
	my $ask = sub {
		my ($sql) = @_;
		my $began = PaxosCluster::now();
		my $ok = run_quietly($self->inside($a, "$PaxosCluster::BINDIR/psql", '-XAtqc', $sql, '-d', $b->member_conninfo . ' connect_timeout=2'));
		return $ok ? PaxosCluster::now() - $began : undef;
	};
	my $with = sub { my ($sql, @rules) = @_; $self->add('prove', @rules); my $t = $ask->($sql); $self->remove('prove'); return $t; };
	my $both = sub { my ($what) = @_; return ([ $from, 2, $what ], [ 2, $from, $what ]); };

	push @wrong, 'a query between nodes fails before anything was cut' unless defined $ask->('SELECT 1');
	if ($self->can('partition'))
	{
		push @wrong, 'partition: a cut link lets a query through' if defined $with->('SELECT 1', $both->({ cut => 1 }));
		push @wrong, 'partition: a link cut one way lets a query through' if defined $with->('SELECT 1', [ $from, 2, { cut => 1 } ]);
		push @wrong, 'partition: a link cut the other way lets a query through' if defined $with->('SELECT 1', [ 2, $from, { cut => 1 } ]);
		push @wrong, 'partition: a link stays cut' unless defined $ask->('SELECT 1');
	}
	push @wrong, 'loss: all is lost, and a query goes through' if $self->can('loss') && defined $with->('SELECT 1', $both->({ loss => 100 }));
	if ($self->can('latency'))
	{
		# Three times there and back at least: connection, start-up, query.
		my $t = $with->('SELECT 1', $both->({ delay => [ 100, 10 ] }));
		push @wrong, 'latency: 100 ms a way, and a query takes ' . ($t // 'for ever') . ' s' unless defined $t && $t >= 0.4;
	}
	if ($self->can('rate'))
	{
		my $t = $with->("SELECT repeat('x', 100000)", [ 2, 0, { rate => 1000 } ]);
		push @wrong, 'rate: 100 kB at 1 Mbit/s take ' . ($t // 'for ever') . ' s' unless defined $t && $t >= 0.4;
	}
	if ($self->can('slow_disk'))
	{
		$self->flush_delay($b, 400);
		my $began = PaxosCluster::now();
		$b->sql('CREATE TABLE prove(); DROP TABLE prove', database => 'template1');
		my $t = PaxosCluster::now() - $began;
		$self->flush_delay($b, 0);
		push @wrong, "slow_disk: flushes of 400 ms, and two commits take $t s" if $t < 0.7;
	}
	if ($self->can('clock'))
	{
		for my $by (-7200, 7200, 0)
		{
			$self->clock($b, sprintf '%+d', $by);
			eval { PaxosCluster::poll('the clock', sub { abs($b->sql('SELECT extract(epoch FROM clock_timestamp())::bigint') - time - $by) < 60 }, 10) }
			  or push @wrong, "clock: it does not go to $by s";
		}
	}
	if ($self->can('disk_full'))
	{
		$self->fill_disk($b, 0);
		my $file = "$self->{nodes}{2}{mount}/prove";
		push @wrong, 'disk_full: there is room' if run_quietly('dd', 'if=/dev/zero', "of=$file", 'bs=64k', 'count=16');
		unlink $file;
		$self->free_disk($b);
		push @wrong, 'disk_full: it stays full' unless run_quietly('dd', 'if=/dev/zero', "of=$file", 'bs=64k', 'count=16');
		unlink $file;
	}
	return @wrong;
}

# ---------------------------------------------------------------------------
package TortureGround::Namespaces;

use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(usleep);

our @ISA = ('TortureGround');

use constant { SHUTDOWN => 0x8004587d, NO_LOG_FLUSH => 2 };		# EXT4_IOC_SHUTDOWN, without flushing its journal

sub new
{
	my ($class, %o) = @_;
	my $self = TortureGround::new($class, %o);
	$self->{features}{partition} = 'nftables in the network namespace of each node';
	$self->{features}{loss} = 'nftables drops a share at random';
	# A private one, so that what is left there at the end is what our servers left.
	TortureGround::must('mount', '-t', 'tmpfs', 'none', '/dev/shm');
	chmod 01777, '/dev/shm';
	TortureGround::must('ip', 'link', 'set', 'lo', 'up');
	TortureGround::must('ip', 'link', 'add', 'switch', 'type', 'bridge');
	TortureGround::must('ip', 'link', 'set', 'switch', 'up');

	TortureGround::must('ip', 'link', 'add', 'probe', 'type', 'veth', 'peer', 'name', 'probe2');
	if (TortureGround::run_quietly('tc', 'qdisc', 'add', 'dev', 'probe', 'root', 'tbf', 'rate', '1mbit', 'burst', '16kb', 'latency', '1s'))
	{
		$self->{features}{rate} = 'tc tbf';
	}
	else { $self->{missing}{rate} = 'this kernel has no tc tbf'; }
	TortureGround::must('ip', 'link', 'del', 'probe');
	# A device of our own rather than netem: it serves single links, which netem on an
	# interface does not, and needs nothing of the kernel but tun.
	if ($o{delay} && -c '/dev/net/tun') { $self->{features}{latency} = 'packets for slow links take the way through a tun device that holds them back'; }
	else { $self->{missing}{latency} = 'there is no /dev/net/tun'; }
	return $self;
}

sub host { my ($self, $node) = @_; return '10.199.0.' . $node->{number}; }

sub caller_number { my ($self, $node) = @_; return $node->{number}; }

# A process of root in the node's network.
sub inside { my ($self, $node, @cmd) = @_; return ('nsenter', "--net=/proc/$self->{nodes}{$node->{number}}{holder}/ns/net", '--', @cmd); }

sub command
{
	my ($self, $node, $program, @args) = @_;
	return $self->inside($node, 'setpriv', "--reuid=$self->{user}", "--regid=$self->{group}", '--init-groups', '--',
		'env', $self->environment($node, $program), $program, @args);
}

sub directory
{
	my ($self, $node) = @_;
	my $n = $node->{number};
	my $own = $self->{nodes}{$n} = { image => "$node->{dir}/disk", mount => "$node->{dir}/filesystem" };

	# Disk.
	open my $f, '>', $own->{image} or die "$own->{image}: $!\n";
	truncate $f, $self->{disk_mb} * 1024 * 1024 or die "truncate: $!\n";
	close $f;
	mkdir $own->{mount} or die $!;
	TortureGround::must('mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=1', $own->{image});
	$self->mount_disk($node);
	# PostgreSQL tells the shared memory of servers apart by the inode of their data
	# directories, so these must not be the same on all filesystems.
	mkdir "$own->{mount}/$_" for 1 .. $n;
	rmdir "$own->{mount}/$_" for 1 .. $n - 1;
	symlink "filesystem/$n", $node->datadir or die $!;
	my ($uid, $gid) = (getpwnam $self->{user})[ 2, 3 ];
	chown $uid, $gid, "$own->{mount}/$n", $node->{dir};
	chmod 0700, "$own->{mount}/$n";
	chmod 0755, $node->{dir};
	if (!defined $self->{features}{power_cut} && !$self->{missing}{power_cut}) { $self->probe_power_cut; }
	$self->{features}{disk_full} //= 'the data directory lies on a loop-mounted ext4 filesystem of its own';

	# Network.
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0) { exec 'unshare', '--net', '--', 'sleep', 'infinity' or POSIX::_exit(127); }
	$own->{holder} = $pid;
	my $mine = readlink '/proc/self/ns/net';
	PaxosCluster::poll('a network namespace', sub { (readlink("/proc/$pid/ns/net") // $mine) ne $mine });
	TortureGround::must('ip', 'link', 'add', "node$n", 'type', 'veth', 'peer', 'name', 'eth0', 'netns', $pid);
	TortureGround::must('ip', 'link', 'set', "node$n", 'master', 'switch', 'up');
	my @in = $self->inside($node);
	TortureGround::must(@in, 'ip', 'link', 'set', 'lo', 'up');
	TortureGround::must(@in, 'ip', 'addr', 'add', $self->host($node) . '/24', 'dev', 'eth0');
	TortureGround::must(@in, 'ip', 'link', 'set', 'eth0', 'up');
	if ($self->{delay} && $self->{features}{latency} && -c '/dev/net/tun')
	{
		my $delayer = open(my $to, '|-') // die "fork: $!\n";
		if ($delayer == 0) { open STDERR, '>', "$node->{dir}/delay.log"; exec @in, $self->{delay}, 'slow' or POSIX::_exit(127); }
		$to->autoflush(1);
		$own->{delayer} = $to;
		PaxosCluster::poll('the delaying device', sub { TortureGround::run_quietly(@in, 'ip', 'link', 'set', 'slow', 'up') });
		# What comes back from the device goes the real way, and is let
		# through though its sender is this very node.
		TortureGround::must(@in, 'sh', '-c', join ' && ',
			'echo 1 > /proc/sys/net/ipv4/ip_forward', 'echo 1 > /proc/sys/net/ipv4/conf/slow/accept_local',
			'echo 0 > /proc/sys/net/ipv4/conf/slow/rp_filter', 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter',
			'echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects',
			'ip route add 10.199.0.0/24 dev eth0 table 200', 'ip rule add iif slow lookup 200 priority 100');
	}
	$self->switches($node);
}

sub arrange
{
	my ($self) = @_;
	my $all = $self->combined;
	for my $n (sort keys %{ $self->{nodes} })
	{
		my $own = $self->{nodes}{$n};
		my @in = $self->inside({ number => $n });

		# What comes in: cuts and losses.
		my $nft = "add table ip torture\ndelete table ip torture\n";
		my $rules = '';
		my ($slow, $lines) = ('', '');
		for my $other (sort keys %{ $self->{nodes} })
		{
			my $r = $all->{"$other $n"} // {};
			$rules .= "add rule ip torture in ip saddr 10.199.0.$other drop\n" if $r->{cut};
			$rules .= "add rule ip torture in ip saddr 10.199.0.$other " . ($r->{loss} < 100 ? "numgen random mod 1000 < " . int(10 * $r->{loss}) : "") . " drop\n" if $r->{loss};
			# What goes out: latency.
			my $out = $all->{"$n $other"} // {};
			next unless $out->{delay};
			$slow .= "route replace 10.199.0.$other/32 dev slow src 10.199.0.$n\n";
			$lines .= "10.199.0.$other $out->{delay} $out->{jitter}\n";
		}
		$nft .= "add table ip torture\nadd chain ip torture in { type filter hook input priority 0; policy accept; }\n$rules" if $rules;
		my $rate = ($all->{"$n 0"} // {})->{rate} // 0;
		my $state = "$nft$slow$lines$rate";
		next if $state eq ($own->{network} // '');

		if ($nft ne ($own->{nft} // ''))
		{
			open my $f, '|-', @in, 'nft', '-f', '-' or die "nft: $!\n";
			print $f $nft;
			close $f or die "nft failed\n$nft";
			$own->{nft} = $nft;
		}
		if ($own->{delayer})
		{
			my $to = $own->{delayer};
			print $to $lines;
			my $gone = join '', map { "route del $_ dev slow\n" } grep { index($slow, "$_ ") < 0 } ($own->{slow} // '') =~ /replace (\S+)/g;
			TortureGround::must(@in, 'sh', '-c', "printf '%s' '$gone$slow' | ip -batch -") if "$gone$slow" ne '';
			$own->{slow} = $slow;
		}
		if ($rate != ($own->{rate} // 0))
		{
			if ($rate) { TortureGround::must(@in, 'tc', 'qdisc', 'replace', 'dev', 'eth0', 'root', 'tbf', 'rate', "${rate}kbit", 'burst', '16kb', 'latency', '2s'); }
			else { TortureGround::must(@in, 'tc', 'qdisc', 'del', 'dev', 'eth0', 'root'); }
			$own->{rate} = $rate;
		}
		$own->{network} = $state;
	}
}

# ---- disk ---------------------------------------------------------------

sub mount_disk
{
	my ($self, $node) = @_;
	my $own = $self->{nodes}{ $node->{number} };
	TortureGround::must('mount', '-o', 'loop,noatime', $own->{image}, $own->{mount});
}

# What was made before the run (initdb was told not to flush, nor does writing of
# configuration files) shall be there after a power cut.
sub settle
{
	my ($self) = @_;
	TortureGround::must('sync', '-f', $_->{mount}) for values %{ $self->{nodes} };
}

sub shut_down
{
	my ($directory) = @_;
	open my $d, '<', $directory or die "$directory: $!\n";
	my $r = ioctl($d, SHUTDOWN, my $how = pack('L', NO_LOG_FLUSH));
	close $d;
	return $r;
}

# Does the kernel forget what was not flushed?  On a small filesystem: what was
# flushed must be there afterwards, what was only written must not.
sub probe_power_cut
{
	my ($self) = @_;
	my $d = "$self->{dir}/probe";
	my $why;
	mkdir $d;
	TortureGround::must('sh', '-c', "truncate -s 32M $d.img && mkfs.ext4 -q -F $d.img && mount -o loop $d.img $d");
	TortureGround::must('sh', '-c', "dd if=/dev/urandom of=$d/kept bs=4k count=4 conv=fsync 2>/dev/null && echo lost > $d/lost");
	$why = "ioctl EXT4_IOC_SHUTDOWN: $!" unless shut_down($d);
	TortureGround::must('umount', $d);
	TortureGround::must('mount', '-o', 'loop', "$d.img", $d);
	$why //= 'the filesystem kept what was not flushed' if -s "$d/lost";
	$why //= 'the filesystem lost what was flushed' if (-s "$d/kept" // 0) != 16384;
	TortureGround::must('umount', $d);
	unlink "$d.img";
	rmdir $d;
	if ($why) { $self->{missing}{power_cut} = $why; }
	else { $self->{features}{power_cut} = 'EXT4_IOC_SHUTDOWN without flushing the journal, then kill -9 and mount again'; }
}

# The power of several nodes goes at one moment.  Every process stops first: no
# one shall see its disk fail, as no one does when the power goes.
sub power_cut
{
	my ($self, @nodes) = @_;
	for my $n (@nodes) { next unless $n->{running}; kill 'STOP', $n->{pid}; kill 'STOP', $n->pids; }
	my %memory = map { $_ => 1 } map { shared_memory($_) } map { $_->pids } grep { $_->{running} } @nodes;
	for my $n (@nodes) { shut_down($self->{nodes}{ $n->{number} }{mount}) or die "power cut: $!\n"; }
	for my $n (@nodes) { $n->kill9 if $n->{running}; }
	# Memory goes with the power; and the file that named it, postmaster.pid, may be lost.
	for (keys %memory) { if (/^\d+$/) { TortureGround::run_quietly('ipcrm', '-m', $_); } else { unlink; } }
	for my $n (@nodes)
	{
		my $m = $self->{nodes}{ $n->{number} }{mount};
		PaxosCluster::poll("umount $m", sub { TortureGround::run_quietly('umount', $m) });
		$self->mount_disk($n);
	}
}

# Shared memory of a process: System V segments by number, others by file.
sub shared_memory
{
	my ($pid) = @_;
	open my $f, '<', "/proc/$pid/maps" or return ();
	return map { m{^\S+ \S+ \S+ \S+ (\d+)\s+/SYSV} ? $1 : m{\s(/dev/shm/PostgreSQL\.\d+)$} ? $1 : () } <$f>;
}

sub fill_disk
{
	my ($self, $node, $leave_kb) = @_;
	my $m = $self->{nodes}{ $node->{number} }{mount};
	my ($free) = TortureGround::must('df', '--output=avail', '-k', $m) =~ /(\d+)\s*\z/;
	my $take = $free - $leave_kb;
	return if $take <= 0;
	# Most of it at once, and the rest until the filesystem says no or enough is taken:
	# how much it needs itself nobody tells.
	my $most = $take > 2048 ? $take - 1024 : 0;
	TortureGround::run_quietly('fallocate', '-l', "${most}KiB", "$m/ballast") if $most;
	my $blocks = int(($take - $most) / 4);
	TortureGround::run_quietly('dd', 'if=/dev/zero', "of=$m/ballast", 'bs=4k', "count=$blocks", 'oflag=append', 'conv=notrunc');
}

sub free_disk { my ($self, $node) = @_; unlink "$self->{nodes}{$node->{number}}{mount}/ballast"; }

# ---------------------------------------------------------------------------
package TortureGround::Loopback;

use strict;
use warnings;

our @ISA = ('TortureGround');

sub new
{
	my ($class, %o) = @_;
	my $self = TortureGround::new($class, %o);
	$self->{features}{partition} = 'the relay holds back what may not pass';
	$self->{features}{latency} = 'the relay delays';
	$self->{missing}{$_} = 'needs root' for qw(loss rate disk_full power_cut);
	return $self;
}

sub host { return '127.0.0.1'; }

sub command
{
	my ($self, $node, $program, @args) = @_;
	my @as = $> == 0 ? ('setpriv', "--reuid=$self->{user}", "--regid=$self->{group}", '--init-groups', '--') : ();
	return (@as, 'env', $self->environment($node, $program), $program, @args);
}

sub directory
{
	my ($self, $node) = @_;
	$self->{nodes}{ $node->{number} } = $node;
	if ($> == 0)
	{
		my ($uid, $gid) = (getpwnam $self->{user})[ 2, 3 ];
		chown $uid, $gid, $node->{dir};
		chmod 0755, $node->{dir};
	}
	$self->switches($node);
}

sub arrange
{
	my ($self) = @_;
	my $all = $self->combined;
	my @rules;
	for my $pair (sort keys %$all)
	{
		my $r = $all->{$pair};
		my $key = $pair =~ s/ />/r;
		push @rules, $r->{cut} ? "$key=cut" : "$key=$r->{delay},$r->{jitter}" if $r->{cut} || $r->{delay};
	}
	$self->{cluster}->relay_command("rules @rules");
}

sub inside { my ($self, $node, @cmd) = @_; return @cmd; }
sub settle { }
# Who calls the relay is a node if it belongs to its server; we do not.
sub caller_number { return 0; }

1;
