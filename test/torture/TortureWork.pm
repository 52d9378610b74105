
=pod

TortureWork - the clients of a torture run, and what their history says.

One process of test/torture/workload on every node, in its network namespace; each writes a
history of its own (test/history/hist_file.c), and together they are one.  Here they are
started and ended, watched for service, and counted; the verdict on the
history is that of the checker of test/history, the one on the tables that of test/torture/verify.

=cut

package TortureWork;

use strict;
use warnings;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(usleep);

sub new
{
	my ($class, %o) = @_;
	return bless { %o, pids => {}, read => {} }, $class;
}

sub file { my ($self, $node) = @_; return "$self->{dir}/history$node->{number}"; }
sub files { my ($self) = @_; return map { $self->file($_) } $self->{cluster}->nodes; }

sub prepare
{
	my ($self) = @_;
	my $n = $self->{cluster}->node(1);
	my ($ok, $out) = TortureGround::run_quietly($self->{ground}->inside($n, "$self->{bin}/workload", '--setup', '--conninfo', $n->conninfo));
	die "the tables of the clients could not be made\n$out" unless $ok;
	$self->{cluster}->await_equal;
}

# In the order of the nodes; the own one as clients of it see it.
sub conninfos
{
	my ($self, $node) = @_;
	return map { ('--conninfo', $_ == $node ? $_->conninfo : $_->conninfo =~ s/host=\S+/'host=' . $_->host/er) } $self->{cluster}->nodes;
}

sub start
{
	my ($self) = @_;
	for my $n ($self->{cluster}->nodes)
	{
		my $pid = fork() // die "fork: $!\n";
		if ($pid == 0)
		{
			open STDOUT, '>', "$self->{dir}/clients$n->{number}.log";
			open STDERR, '>&', \*STDOUT;
			exec $self->{ground}->inside($n, "$self->{bin}/workload", '--history', $self->file($n), '--seed', $self->{seed}, '--clients', $self->{clients},
				'--home', $n->{number}, '--name', "w$n->{number}", $self->conninfos($n))
			  or POSIX::_exit(127);
		}
		$self->{pids}{$pid} = $n->{number};
	}
}

# Nodes whose own clients have had no success yet with an operation begun since then.
# Reads on where the last call ended.
sub unserved
{
	my ($self, $since) = @_;
	my @not;
	for my $n ($self->{cluster}->nodes)
	{
		my $r = $self->{read}{ $n->{number} } //= do { my $size = -s $self->file($n) // 0; { at => $size, begun => {}, part => '' } };
		if (!$r->{served} && open my $f, '<', $self->file($n))
		{
			seek $f, $r->{at}, 0;
			local $/;
			my $text = <$f> // '';
			$r->{at} += length $text;
			$text = $r->{part} . $text;
			$r->{part} = $text =~ s/([^\n]*)\z// ? $1 : '';
			for (split /\n/, $text)
			{
				my ($what, $time, $number, $then) = split / /;
				if ($what eq 's') { $r->{begun}{$number} = 1 if $time >= $since * 1e6 && !/ at=/; }
				elsif ($what eq 'f' && $then eq 'ok' && $r->{begun}{$number}) { $r->{served} = 1; }
			}
		}
		push @not, $n->{number} unless $r->{served};
	}
	return @not;
}

sub stop
{
	my ($self) = @_;
	my @wrong;
	CORE::kill('TERM', keys %{ $self->{pids} });
	for my $p (keys %{ $self->{pids} })
	{
		PaxosCluster::poll('the clients end', sub { waitpid($p, WNOHANG) != 0 });
		push @wrong, "clients of node $self->{pids}{$p} ended with status " . ($? >> 8) . ", see clients$self->{pids}{$p}.log" if $? != 0;
	}
	$self->{pids} = {};
	return @wrong;
}

sub kill { my ($self) = @_; CORE::kill('KILL', keys %{ $self->{pids} }); }

# All that ended: [end in s, what], in the order of ends; counted.
sub read_all
{
	my ($self) = @_;
	return if $self->{totals};
	my %t = (operations => 0, acknowledged => 0, refused => 0, unknown => 0);
	my @ends;
	for my $file ($self->files)
	{
		open my $f, '<', $file or next;
		while (<$f>)
		{
			my ($what, $time, undef, $then) = split ' ';
			if ($what eq 's') { $t{operations}++; }
			elsif ($what eq 'f')
			{
				if ($then eq 'ok') { $t{acknowledged}++; push @ends, $time / 1e6; }
				elsif ($then eq 'failed') { $t{refused}++; }
			}
		}
		close $f;
	}
	$t{unknown} = $t{operations} - $t{acknowledged} - $t{refused};
	$self->{totals} = \%t;
	$self->{ends} = [ sort { $a <=> $b } @ends ];
}

sub totals { my ($self) = @_; $self->read_all; return $self->{totals}; }
sub acknowledged { my ($self) = @_; $self->read_all; return $self->{ends}; }

sub check
{
	my ($self) = @_;
	my @wrong;
	my ($ok, $out) = TortureGround::run_quietly("$self->{bin}/hist", $self->files);
	$self->{verdict} = $out;
	push @wrong, "the history is not linearizable, or could not be judged:\n$out" unless $ok;
	eval { $self->{cluster}->await_equal; 1 } or push @wrong, "the nodes do not become equal: $@";
	my %tables;
	for my $n ($self->{cluster}->nodes)
	{
		for my $t (split /\n/, $n->sql("SELECT c.oid::regclass FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'paxos' AND c.relkind = 'r' ORDER BY 1"))
		{
			my $rows = $n->sql("SELECT t::text FROM $t t ORDER BY 1");
			$tables{$t} //= $rows;
			push @wrong, "$t of node $n->{number} differs" if $tables{$t} ne $rows;
		}
	}
	return @wrong;
}

1;
