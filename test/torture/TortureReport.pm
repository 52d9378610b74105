
=pod

TortureReport - what a torture run found: the checks after it, and its figures.

Checks: those of test/torture/verify, while the servers run; and here that all servers
shut down in time, and leave nothing behind.

=cut

package TortureReport;

use strict;
use warnings;

sub new { my ($class, %o) = @_; return bless {%o}, $class; }

# ---- checks ----------------------------------------------------------------

sub check
{
	my ($self) = @_;
	# How often a process of a server was ended, or ended itself for want of a disk.
	my %ended = %{ $self->{nemesis}{starts} // {} };
	for my $f (@{ $self->{nemesis}{done} })
	{
		next if $f->{skipped} || $f->{kind} !~ /^(kill_|end_role|restart_|power_cut|disk_full)/;
		$ended{ $_->{number} }++ for @{ $f->{nodes} };
	}
	return ($self->{work}->check(%ended), $self->check_leaks);
}

# Once all servers have shut down nothing of them may be left.
sub check_leaks
{
	my ($self) = @_;
	my @wrong;
	for my $n ($self->{cluster}->nodes)
	{
		kill 'INT', $n->{pid};
		my $gone = eval { PaxosCluster::poll("shutdown of node $n->{number}", sub { waitpid($n->{pid}, POSIX::WNOHANG()) != 0 }, 60) };
		if (!$gone) { push @wrong, "node $n->{number} does not shut down"; next; }
		push @wrong, "node $n->{number} ended with status $?" if $? != 0;
		$n->{running} = 0;
	}
	return @wrong if $self->{ground}->isa('TortureGround::Loopback');
	my @shm = map { sprintf '%s (of %.0f s after the start)', s{.*/}{}r, (stat)[10] - $self->{wall} } grep { !/faketime/ } glob '/dev/shm/*';
	push @wrong, "left in /dev/shm: @shm" if @shm;
	open my $f, '<', '/proc/sysvipc/shm';
	my @segments = <$f>;
	push @wrong, "shared memory left: @segments[1 .. $#segments]" if @segments > 1;
	return @wrong;
}

# ---- figures -----------------------------------------------------------------

# Acts are what happened together, from their first fault to the next act's: the longest
# time without an acknowledgement in that window, and from the act's end to the first one.
sub gaps
{
	my ($self) = @_;
	my $acks = $self->{work}->acknowledged;
	my %acts;
	for my $f (grep { !$_->{skipped} } @{ $self->{nemesis}{done} }) { push @{ $acts{ $f->{act} } }, $f; }
	my @acts = sort { $a->[0]{began_at} <=> $b->[0]{began_at} } map { [ sort { $a->{began_at} <=> $b->{began_at} } @$_ ] } values %acts;
	my $i = 0;
	for my $x (0 .. $#acts)
	{
		my $from = $acts[$x][0]{began_at};
		my $to = $x < $#acts ? $acts[ $x + 1 ][0]{began_at} : $self->{healed} + $self->{recovered};
		my $ends = 0;
		for (@{ $acts[$x] }) { $ends = $_->{ended_at} if $_->{ended_at} > $ends; }
		my ($gap, $recovery, $last) = (0, 0, $from);
		$i++ while $i < @$acks && $acks->[$i] < $from;
		my $j = $i;
		my $first_after;
		for (; $j < @$acks && $acks->[$j] < $to; $j++)
		{
			$gap = $acks->[$j] - $last if $acks->[$j] - $last > $gap;
			$last = $acks->[$j];
			$first_after //= $last if $last >= $ends;
		}
		$gap = $to - $last if $to - $last > $gap;
		$recovery = ($first_after // $to) - $ends;
		my %kinds = map { $_->{kind} => 1 } @{ $acts[$x] };
		my $name = keys %kinds == 1 && @{ $acts[$x] } == 1 ? (keys %kinds)[0] : 'several at once';
		my $r = $self->{by_kind}{$name} //= {};
		$r->{gap} = $gap if $gap > ($r->{gap} // -1);
		$r->{recovery} = $recovery if $recovery > ($r->{recovery} // -1);
		$r->{acts}++;
		my ($began, $lost) = $self->{work}->between($from, $to);
		$r->{operations} += $began;
		$r->{unknown} += $lost;
	}
}

sub text
{
	my ($self) = @_;
	$self->gaps;
	my %count;
	for (@{ $self->{nemesis}{done} }) { $count{ $_->{kind} }[ $_->{skipped} ? 1 : 0 ]++; }
	my $out = "\nfaults               happened  no effect   alone   longest without service   of that after its end\n";
	for my $k ((sort keys %count), 'several at once')
	{
		my $r = $self->{by_kind}{$k};
		$out .= sprintf("%-20s %8s %10s %7d   %18s %22s\n", $k, $k =~ / / ? '' : $count{$k}[0] // 0, $k =~ / / ? '' : $count{$k}[1] // 0, $r ? $r->{acts} : 0,
			$r ? sprintf('%.2f s', $r->{gap}) : '-', $r ? sprintf('%.2f s', $r->{recovery}) : '-');
	}
	my $t = $self->{work}->totals;
	$out .= "\n$t->{operations} operations: $t->{acknowledged} acknowledged, $t->{refused} certainly not done, $t->{unknown} unknown\n";
	$out .= sprintf("%d elections won; %d starts of servers; service on every node %.2f s after the end\n", $self->elections, $self->starts, $self->{recovered});
	$out .= "transactions: $self->{work}{cycle}\n" if $self->{work}{cycle};
	$out .= "verify: " . ($self->{work}{verdict} // 'no verdict') . "
";
	return $out;
}

sub starts { my ($self) = @_; my $s = 0; $s += $_ for values %{ $self->{nemesis}{starts} // {} }; return $s; }

# Ballots in which somebody became leader, from the logs of all.
sub elections
{
	my ($self) = @_;
	my %won;
	for my $n ($self->{cluster}->nodes)
	{
		open my $f, '<', $n->logfile or next;
		while (<$f>) { $won{$2} = 1 if /paxos: node (\d+), ballot (\S+), is leader/; }
	}
	return scalar keys %won;
}

sub machine_line
{
	my ($self, $wrong) = @_;
	my $t = $self->{work}->totals;
	my (%count, %without);
	for (@{ $self->{nemesis}{done} }) { ($_->{skipped} ? \%without : \%count)->{ $_->{kind} }++; }
	my $worst = 0;
	for (values %{ $self->{by_kind} }) { $worst = $_->{gap} if $_->{gap} > $worst; }
	return join ' ', 'TORTURE', "seed=$self->{seed}", "nodes=$self->{nodes}", "seconds=$self->{seconds}", 'result=' . ($wrong ? 'failed' : 'ok'),
	  (map { "$_=$t->{$_}" } qw(operations acknowledged refused unknown)), 'elections=' . $self->elections, 'starts=' . $self->starts,
	  (map { "txn_$_" } grep { /^(committed|aborted|unknown)=/ } split ' ', $self->{work}{cycle} // ''), sprintf('longest_gap_ms=%d', 1000 * $worst), sprintf('recovery_ms=%d', 1000 * $self->{recovered}),
	  (map { "fault_$_=$count{$_}" } sort keys %count), (map { "without_effect_$_=$without{$_}" } sort keys %without), (map { 
	# of acts of one fault alone
	my $r = $self->{by_kind}{$_};
	my $k = s/ /_/gr;
	(sprintf('gap_ms_%s=%d', $k, 1000 * $r->{gap}), sprintf('after_ms_%s=%d', $k, 1000 * $r->{recovery}), map { "${_}_$k=$r->{$_}" } qw(acts operations unknown))
	} sort keys %{ $self->{by_kind} });
}

1;
