# A relay between the nodes of a test cluster, so that the network between any
# two of them can be cut without privileges.
#
# usage: relay.pl LOG NUMBER:LISTEN:TARGET:DIRECTORY ...
#
# Members know each other by LISTEN; what arrives there goes to TARGET.  All
# nodes use one address for one member, so the relay has to find out who
# calls: it looks which server's process owns the other end of the connection
# (/proc/net/tcp has the socket's inode, /proc/PID/fd its owner; DIRECTORY/data
# has postmaster.pid).
#
# Commands on standard input, one a line:
#   cut A,B C,D   nothing passes between {A,B} and {C,D}, in either direction:
#                 connections stay, and are silent, as when a cable is pulled
#   heal          everything passes again, at once
#   rules A>B=cut C>D=DELAY,JITTER ...
#                 takes the place of all that was said before: from A to B nothing
#                 passes, from C to D everything DELAY ms late, and up to JITTER
#                 more, in order
#   mark N        creates LOG.N when all before it is done
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(unpack_sockaddr_in);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

$SIG{PIPE} = 'IGNORE';
my ($log, @specs) = @ARGV;
open my $logf, '>', $log or die;
$logf->autoflush(1);

my (%nodes, %listeners);
for (@specs)
{
	my ($number, $listen, $target, $dir) = split /:/, $_, 4;
	my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $listen, Listen => 128, ReuseAddr => 1)
	  or die "port $listen: $!";
	$nodes{$number} = { target => $target, dir => $dir };
	$listeners{ fileno $s } = { socket => $s, number => $number };
}

# fileno -> one direction of a connection: what is read from `socket` goes from `from` to `to`,
# into `peer`; meanwhile it is in `queue`, [due, bytes]..., of `held` bytes.
my %pairs;
my %rules;			# "a>b" => 'cut' or [delay ms, jitter ms]
my $MOST_HELD = 1 << 20;
my $readers = IO::Select->new(\*STDIN, map { $_->{socket} } values %listeners);
my $writers = IO::Select->new;
my $input = '';

sub inode_of
{
	my ($port, $peer_port) = @_;		# the caller's socket: local $port, remote $peer_port
	my $want = sprintf("0100007F:%04X 0100007F:%04X", $port, $peer_port);
	open my $f, '<', '/proc/net/tcp' or return undef;
	while (<$f>)
	{
		my @c = split;
		return $c[9] if "$c[1] $c[2]" eq $want;
	}
	return undef;
}

sub caller_of
{
	my ($inode) = @_;
	for my $number (keys %nodes)
	{
		open my $f, '<', "$nodes{$number}{dir}/data/postmaster.pid" or next;
		my $pm = <$f> // next;
		chomp $pm;
		open my $c, '<', "/proc/$pm/task/$pm/children" or next;
		for my $pid ($pm, split ' ', <$c> // '')
		{
			for my $fd (glob "/proc/$pid/fd/*")
			{
				return $number if (readlink($fd) // '') eq "socket:[$inode]";
			}
		}
	}
	return 0;			# not a node: a client of the test
}

sub now { return clock_gettime(CLOCK_MONOTONIC); }
sub rule { my ($p) = @_; return $rules{"$p->{from}>$p->{to}"}; }
sub is_cut { my ($p) = @_; my $r = rule($p); return $r && $r eq 'cut'; }

sub drop
{
	my ($fd) = @_;
	my $p = delete $pairs{$fd} or return;
	delete $pairs{ fileno $p->{peer} };
	for my $s ($p->{socket}, $p->{peer}) { $readers->remove($s); $writers->remove($s); close $s; }
}

# What is read is decided here: not what is cut, nor more than is reasonable.
sub arrange
{
	my ($p) = @_;
	$readers->remove($p->{socket});
	$readers->add($p->{socket}) unless is_cut($p) || $p->{eof} || $p->{held} > $MOST_HELD;
}

sub take
{
	my ($p) = @_;
	my $data;
	my $n = sysread($p->{socket}, $data, 65536);
	return if !defined $n && ($!{EAGAIN} || $!{EINTR});
	if (!$n)
	{
		# The end comes after what was sent before it.
		$p->{eof} = 1;
		$readers->remove($p->{socket});
		drop(fileno $p->{socket}) unless @{ $p->{queue} };
		return;
	}
	my $r = rule($p);
	my $due = $r ? now() + ($r->[0] + rand($r->[1])) / 1000 : 0;
	$due = $p->{queue}[-1][0] if @{ $p->{queue} } && $p->{queue}[-1][0] > $due;
	push @{ $p->{queue} }, [ $due, $data ];
	$p->{held} += $n;
	give($p);
}

# Hands on what is due, as far as the other side takes it.
sub give
{
	my ($p) = @_;
	my $fd = fileno $p->{socket};
	$writers->remove($p->{peer});
	while (@{ $p->{queue} } && $p->{queue}[0][0] <= now() && !is_cut($p))
	{
		my $w = syswrite($p->{peer}, $p->{queue}[0][1]);
		if (!defined $w)
		{
			next if $!{EINTR};
			if (!$!{EAGAIN}) { drop($fd); return; }
			$writers->add($p->{peer});
			last;
		}
		$p->{held} -= $w;
		substr($p->{queue}[0][1], 0, $w) = '';
		shift @{ $p->{queue} } if $p->{queue}[0][1] eq '';
	}
	if ($p->{eof} && !@{ $p->{queue} }) { drop($fd); }
	else { arrange($p); }
}

# All, and those as well whose rule has changed.  What is dropped on the way goes from %pairs.
sub give_all
{
	for my $fd (keys %pairs) { give($pairs{$fd}) if $pairs{$fd}; }
}

sub command
{
	my ($cmd, @a) = @_;
	if ($cmd eq 'cut')
	{
		for my $x (split /,/, $a[0]) { for my $y (split /,/, $a[1]) { $rules{"$x>$y"} = $rules{"$y>$x"} = 'cut'; } }
	}
	elsif ($cmd eq 'heal') { %rules = (); }
	elsif ($cmd eq 'rules') { %rules = map { my ($k, $v) = split /=/; ($k => $v eq 'cut' ? 'cut' : [ split /,/, $v ]) } @a; }
	elsif ($cmd eq 'mark') { open my $m, '>', "$log.$a[0]"; close $m; }
	print $logf "$cmd @a\n";
	give_all();
}

while (1)
{
	# Until something comes, can go, or is due.
	my $next;
	for my $p (values %pairs)
	{
		next if !@{ $p->{queue} } || is_cut($p) || $writers->exists($p->{peer});
		$next = $p->{queue}[0][0] if !defined $next || $p->{queue}[0][0] < $next;
	}
	my $wait = defined $next ? $next - now() : undef;
	$wait = 0 if defined $wait && $wait < 0;
	my ($can_read, $can_write) = IO::Select->select($readers, $writers, undef, $wait);
	for my $s (@{ $can_write // [] })
	{
		# The direction that writes into this socket is the one read from its peer.
		my $q = defined fileno $s ? $pairs{ fileno $s } : undef;
		give($pairs{ fileno $q->{peer} }) if $q;
	}
	give_all() if defined $next;
	for my $s (@{ $can_read // [] })
	{
		my $fd = fileno $s;
		next unless defined $fd;
		if ($fd == fileno STDIN)
		{
			my $n = sysread(STDIN, $input, 4096, length $input);
			exit 0 unless $n;
			while ($input =~ s/^([^\n]*)\n//) { command(split ' ', $1); }
		}
		elsif (my $l = $listeners{$fd})
		{
			my $c = $s->accept or next;
			my ($port) = unpack_sockaddr_in($c->peername // next);
			my $inode = inode_of($port, $c->sockport);
			my $from = $inode ? caller_of($inode) : 0;
			my $t = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nodes{ $l->{number} }{target}, Blocking => 0);
			print $logf "connection of $from to $l->{number}" . ($t ? '' : ' refused') . "\n";
			if (!$t) { close $c; next; }
			$c->blocking(0);
			$pairs{ fileno $c } = { socket => $c, peer => $t, from => $from, to => $l->{number}, queue => [], held => 0 };
			$pairs{ fileno $t } = { socket => $t, peer => $c, from => $l->{number}, to => $from, queue => [], held => 0 };
			arrange($pairs{ fileno $_ }) for $c, $t;
		}
		elsif (my $p = $pairs{$fd}) { take($p); }
	}
}
