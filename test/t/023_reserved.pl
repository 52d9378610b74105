# Clients that take every connection they can get, superusers among them, do not
# keep the other nodes out (src/paxos_reserve.c).  Guards the numbers there, and
# who counts as a node.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# ---- a client that says what the server answered, and stays ---------------------------------------
package Client;
use IO::Socket::INET;

# The connection if it was let in, else the fields of the error.  A refused one
# is read to its end, which the server's process brings about by its own: its
# slot is free by then.
sub connect
{
	my ($node, $user, $name) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $node->{port}, Timeout => 10) or return { C => 'lost' };
	my $self = bless { s => $s }, 'Client';
	my %p = (user => $user, database => 'postgres', application_name => $name // 'client');
	my $packet = pack('N', 196608) . join('', map { "$_\0$p{$_}\0" } sort keys %p) . "\0";
	syswrite $s, pack('N', 4 + length $packet) . $packet;
	my $error;
	while (my ($type, $body) = $self->message)
	{
		return $self if $type eq 'Z';
		$error = { map { substr($_, 0, 1) => substr($_, 1) } grep { length } split /\0/, $body } if $type eq 'E';
	}
	return $error // { C => 'lost' };
}

sub got
{
	my ($self, $n) = @_;
	my $b = '';
	while (length $b < $n) { sysread($self->{s}, $b, $n - length $b, length $b) or return undef; }
	return $b;
}

sub message
{
	my ($self) = @_;
	my $head = $self->got(5) // return;
	my ($type, $length) = unpack('a N', $head);
	return ($type, $self->got($length - 4) // return);
}

# One statement; its only value, or an error.
sub query
{
	my ($self, $sql) = @_;
	my ($value, $error);
	syswrite $self->{s}, 'Q' . pack('N', 5 + length $sql) . "$sql\0";
	while (my ($type, $body) = $self->message)
	{
		$value = substr($body, 6) if $type eq 'D';
		$error = $body =~ tr/\0/ /r if $type eq 'E';
		next unless $type eq 'Z';
		die "$sql: $error\n" if defined $error;
		return $value;
	}
	die "$sql: connection lost\n";
}

package main;

my $max = 40;
my $c = PaxosCluster->new(nodes => 3, conf => "max_connections = $max");
my ($n1, $n2, $n3) = $c->nodes;
$c->await_followers;
$n1->sql("CREATE ROLE alice LOGIN; CREATE ROLE team ROLE alice; CREATE ROLE mate LOGIN; CREATE ROLE nodes ROLE mate; GRANT paxos_peer TO nodes");

# Everything on node 1 goes over this one from here on, and nothing of ours is
# on its way out any more.
my $look = Client::connect($n1, 'postgres', 'look');
my $own = "backend_type = 'client backend'";
PaxosCluster::poll('psql is gone', sub { $look->query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql'") == 0 });
sub used { return $look->query("SELECT count(*) FROM pg_stat_activity WHERE $own"); }

# Take what can be had, until so many are used; returns the error that ended it.  A few refusals
# may be due to those who are just leaving.
my @held;
sub take_all
{
	my ($user, $name, $enough) = @_;
	my ($refusals, $error) = (0);
	my $end = PaxosCluster::now() + 30;
	while ($refusals < 3 || ($enough && used() < $enough && PaxosCluster::now() < $end))
	{
		my $r = Client::connect($n1, $user, $name);
		if (ref $r eq 'Client') { push @held, $r; $refusals = 0; next; }
		$error = $r;
		$refusals++;
	}
	return $error;
}

# What is left free: 3 by PostgreSQL, 3 * 2 + 1 for nodes, and from ordinary clients 3 for superusers.
my $message = qr/^remaining connection slots are reserved for nodes of the cluster$/;

# ---- the others are away, and clients fill node 1 -------------------------------------------------
$_->stop for $n2, $n3;
PaxosCluster::poll('node 1 has noticed', sub { $look->query("SELECT count(*) FROM pg_stat_activity WHERE $own AND application_name LIKE 'paxos %'") == 1 });
my $e = take_all('alice', undef, $max - 13);
is($e->{C}, '53300', 'an ordinary client is refused in the end');
like($e->{M}, $message, 'because of the nodes');
like($e->{H}, qr/max_connections/, 'with a hint');
is(used(), $max - 13, 'when 13 connections are left');
is(take_all('alice', 'paxos stream')->{C}, '53300', 'one that calls itself a node is refused');
is(take_all('node')->{C}, '53300', 'and a role of nodes that does not');
is(used(), $max - 13, 'and neither took any');

$e = take_all('postgres', undef, $max - 10);
is($e->{C}, '53300', 'a superuser is refused in the end');
like($e->{M}, $message, 'because of the nodes');
is(used(), $max - 10, 'when 10 connections are left: 3 were for superusers only');

for my $user ('node', 'mate', 'postgres')
{
	my $r = Client::connect($n1, $user, 'paxos test');
	is(ref $r, 'Client', "a connection between nodes as $user is let in") or diag explain $r;
	next unless ref $r eq 'Client';
	my $before = used();
	close $r->{s};
	PaxosCluster::poll('it is gone', sub { used() < $before });
}

# ---- the others come back, while clients go on asking ----------------------------------------------
my $connected = "SELECT count(*) FROM paxos.members WHERE connected";
sub all_connected
{
	my ($name) = @_;
	my $ok = eval {
		PaxosCluster::poll('all nodes see all', sub {
			for my $user ('postgres', 'alice')
			{
				my $r = Client::connect($n1, $user);
				push @held, $r if ref $r eq 'Client';
			}
			return $look->query($connected) == 3 && $n2->sql($connected) == 3 && $n3->sql($connected) == 3;
		});
	};
	ok($ok, "$name: every node is connected to every node") or diag $@;
}

my $round = 0;
sub writes
{
	my ($name) = @_;
	$round++;
	my $put = "SELECT applied FROM paxos_kv_put('k%d', '$round')";
	for my $i (1 .. 3)
	{
		my $sql = sprintf($put, $i);
		is(eval { $i == 1 ? $look->query($sql) : $c->node($i)->sql($sql) } // $@, 't', "$name: node $i writes");
	}
	is(eval { $look->query("SELECT string_agg(paxos_kv_get('k' || i)::text, ' ') FROM generate_series(1, 3) i") } // $@,
		"$round $round $round", "$name: node 1 reads all of it");
}

$_->start for $n2, $n3;
all_connected('both come back');
writes('both come back');

# Whoever leaves node 1 leaves connections behind for clients to take.
$n2->kill9;
take_all('postgres');
$n2->start;
all_connected('one was killed');
writes('one was killed');
$n3->restart;
all_connected('one was restarted');
writes('one was restarted');

# ---- clients may have back what clients give back -----------------------------------------------------
close $_->{s} for splice @held;
PaxosCluster::poll('node 1 is empty', sub { used() < 20 });
is($n1->sql("SELECT current_user", user => 'alice'), 'alice', 'an ordinary client is welcome again');
$c->same_everywhere("SELECT key, value FROM paxos.kv ORDER BY key", 'all nodes hold the same');

# ---- nobody has read yet who this server is ----------------------------------------------------------------
my $early = $c->add_server(conf => "max_connections = 20\npaxos.database = 'nowhere'");
$early->start;
$early->sql("CREATE ROLE alice LOGIN");
{
	$n1 = $early;
	$e = take_all('alice');
	like($e->{M}, $message, 'a server that does not know its cluster yet keeps connections back');
	like($e->{D}, qr/"nowhere"/, 'and says what it waits for');
	cmp_ok(scalar @held, '<=', 20 - 11, 'a quarter, beside the others');
	cmp_ok(scalar @held, '>', 5, 'and no more');
}

done_testing;
