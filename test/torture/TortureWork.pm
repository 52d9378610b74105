
=pod

TortureWork - the clients of a torture run, and what their history says.

One process of test/torture/workload on every node, in its network namespace; each writes a
history of its own (test/history/hist_file.c), and together they are one.  Beside it one
of test/torture/transactions, whose history is for test/history/cycle.h.  Here they are
started and ended, watched for service, and counted; the verdict is that of test/torture/verify,
which asks the checkers of test/history.

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
sub transactions { my ($self, $node) = @_; return "$self->{dir}/transactions$node->{number}"; }
sub files { my ($self) = @_; return map { $self->file($_) } $self->{cluster}->nodes; }

sub prepare
{
	my ($self) = @_;
	my $n = $self->{cluster}->node(1);
	for my $program (qw(workload transactions))
	{
		my ($ok, $out) = TortureGround::run_quietly($self->{ground}->inside($n, "$self->{bin}/$program", '--setup', '--conninfo', $n->conninfo));
		die "the tables of the clients could not be made\n$out" unless $ok;
	}
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
		$self->start_one($n, 'workload', 'clients', $self->file($n), "w$n->{number}", '--clients', $self->{clients});
		$self->start_one($n, 'transactions', 'transactions_of', $self->transactions($n), "t$n->{number}", '--clients', $self->{brisk} ? 1 : $self->{clients}, '--large', $self->{brisk} ? 0 : 3);
	}
}

sub start_one
{
	my ($self, $n, $program, $log, $history, $name, @more) = @_;
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDOUT, '>', "$self->{dir}/$log$n->{number}.log";
		open STDERR, '>&', \*STDOUT;
		exec $self->{ground}->inside($n, "$self->{bin}/$program", '--history', $history, '--seed', $self->{seed},
			'--home', $n->{number}, '--name', $name, @more, $self->conninfos($n))
		  or POSIX::_exit(127);
	}
	$self->{pids}{$pid} = "$log$n->{number}.log";
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
		push @wrong, "clients ended with status " . ($? >> 8) . ", see $self->{pids}{$p}" if $? != 0;
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
	my (@ends, @starts, @unknown);
	for my $file ($self->files)
	{
		open my $f, '<', $file or next;
		while (<$f>)
		{
			my ($what, $time, undef, $then) = split ' ';
			if ($what eq 's') { $t{operations}++; push @starts, $time / 1e6; }
			elsif ($what eq 'f')
			{
				if ($then eq 'ok') { $t{acknowledged}++; push @ends, $time / 1e6; }
				elsif ($then eq 'failed') { $t{refused}++; }
				else { push @unknown, $time / 1e6; }
			}
		}
		close $f;
	}
	$t{unknown} = $t{operations} - $t{acknowledged} - $t{refused};
	$self->{totals} = \%t;
	$self->{ends} = [ sort { $a <=> $b } @ends ];
	$self->{starts} = \@starts;
	$self->{lost} = \@unknown;
}

sub totals { my ($self) = @_; $self->read_all; return $self->{totals}; }
sub acknowledged { my ($self) = @_; $self->read_all; return $self->{ends}; }

# How many began between two moments, and how many ended there as unknown.
sub between
{
	my ($self, $from, $to) = @_;
	$self->read_all;
	return map { scalar grep { $_ >= $from && $_ < $to } @$_ } @$self{qw(starts lost)};
}

# All that test/torture/verify says; what is not ok is returned.
sub check
{
	my ($self, %ended) = @_;
	open my $nodes, '>', "$self->{dir}/nodes" or die $!;
	open my $starts, '>', "$self->{dir}/starts" or die $!;
	for my $n ($self->{cluster}->nodes)
	{
		print $nodes join("\t", $n->{number}, $n->logfile, $n->conninfo, join ' ', $self->{ground}->inside($n)) . "\n";
		print $starts "$n->{number}\t" . ($ended{ $n->{number} } // 0) . "\n";
	}
	close $nodes;
	close $starts;
	my ($ok, $out) = TortureGround::run_quietly($^X, "$FindBin::Bin/verify", '--dir', $self->{dir}, '--hist', "$self->{bin}/hist", '--seed', $self->{seed},
		'--cycle', "$self->{bin}/cycle", map({ ('--transactions', $self->transactions($_)) } $self->{cluster}->nodes), $self->files);
	open my $f, '>', "$self->{dir}/verify.log" or die $!;
	print $f $out;
	close $f;
	($self->{cycle}) = $out =~ /^# CYCLE (.*)/m;
	($self->{verdict}) = $out =~ /^(\d+ passed, \d+ failed)$/m;
	my @wrong = $out =~ /^(not ok - .*(?:\n#   .*)*)/mg;
	push @wrong, "verify did not end well:\n$out" if !@wrong && !$ok;
	return @wrong;
}

1;
