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
#   heal          everything passes again
#   mark N        creates LOG.N when all before it is done
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
use Socket qw(unpack_sockaddr_in);

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

my %pairs;			# fileno -> { peer socket, from, to, buffer to write }
my %cut;			# "a b" => 1
my $select = IO::Select->new(\*STDIN, map { $_->{socket} } values %listeners);
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

sub is_cut { my ($a, $b) = @_; return $cut{"$a $b"} || $cut{"$b $a"}; }

sub drop
{
	my ($fd) = @_;
	my $p = delete $pairs{$fd} or return;
	my $q = delete $pairs{ fileno $p->{peer} };
	for my $s ($p->{socket}, $p->{peer}) { $select->remove($s); close $s; }
}

sub forward
{
	my ($p) = @_;
	my $data;
	my $n = sysread($p->{socket}, $data, 65536);
	if (!$n) { drop(fileno $p->{socket}); return; }
	my $at = 0;
	while ($at < length $data)
	{
		my $w = syswrite($p->{peer}, $data, length($data) - $at, $at);
		if (!defined $w)
		{
			next if $!{EINTR};
			drop(fileno $p->{socket});
			return;
		}
		$at += $w;
	}
}

# Which connections are listened to depends on what is cut.
sub arrange
{
	for my $p (values %pairs)
	{
		$select->remove($p->{socket});
		$select->add($p->{socket}) unless is_cut($p->{from}, $p->{to});
	}
}

while (1)
{
	for my $s ($select->can_read)
	{
		my $fd = fileno $s;
		next unless defined $fd;
		if ($fd == fileno STDIN)
		{
			my $n = sysread(STDIN, $input, 4096, length $input);
			exit 0 unless $n;
			while ($input =~ s/^([^\n]*)\n//)
			{
				my ($cmd, @a) = split ' ', $1;
				if ($cmd eq 'cut')
				{
					for my $x (split /,/, $a[0]) { $cut{"$x $_"} = 1 for split /,/, $a[1]; }
				}
				elsif ($cmd eq 'heal') { %cut = (); }
				elsif ($cmd eq 'mark') { open my $m, '>', "$log.$a[0]"; close $m; }
				print $logf "$cmd @a\n";
				arrange();
			}
		}
		elsif (my $l = $listeners{$fd})
		{
			my $c = $s->accept or next;
			my ($port) = unpack_sockaddr_in($c->peername // next);
			my $inode = inode_of($port, $c->sockport);
			my $from = $inode ? caller_of($inode) : 0;
			my $t = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $nodes{ $l->{number} }{target});
			print $logf "connection of $from to $l->{number}" . ($t ? '' : ' refused') . "\n";
			if (!$t) { close $c; next; }
			$c->blocking(1);
			$pairs{ fileno $c } = { socket => $c, peer => $t, from => $from, to => $l->{number} };
			$pairs{ fileno $t } = { socket => $t, peer => $c, from => $from, to => $l->{number} };
			arrange();
		}
		elsif (my $p = $pairs{$fd}) { forward($p); }
	}
}
