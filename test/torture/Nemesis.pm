
=pod

Nemesis - what goes wrong in a torture run, decided by a seed.

plan() draws the whole schedule before the run begins: when, what, for how long,
on whom, with which numbers.  A target may be "the leader", which only the
run can tell; everything else is fixed, so a seed gives the same schedule each
time.  What the servers make of it is not fixed: threads, disks and networks
are real.  A seed that failed is therefore worth several tries.

The catalogue (%KINDS): each kind of fault has

  needs   feature of the ground, if any (TortureGround.pm)
  for     least and most seconds it lasts; [0, 0]: happens and is over
  whom    targets it may be drawn for
  draw    code (random) that returns its numbers
  begin   code (nemesis, fault, nodes) that lets it happen; false: it would have no
          effect now and did nothing, $fault->{why}
  end     code (nemesis, fault, nodes) that takes it back
  leads   true if it is about the leader and nobody else

A fault that would hit nobody (its victims are down or stand still already, the
process it wants is just being started, both ends of its links are not alive) is tried
on the other nodes, and if that is of no use either, it waits until it has an effect,
and the rest of the schedule with it: so what was to happen does happen, in
its order, and no run is milder than it looks.  Only after WAIT seconds is it
given up, and counted as without effect.

Faults overlap, on one node too.  What is taken back is only what the fault itself
did: holds and stops are counted, links are rules with an owner.

A server that should run and does not is started again by supervise(), as an
init system would do, for as long as it takes: after kill -9, after a disk was
full, after a power cut.  Everything in between is the servers' own business.

=cut

package Nemesis;

use strict;
use warnings;

use POSIX qw(:sys_wait_h);
use Time::HiRes qw(usleep);

use constant WAIT => 40;			# longer than any fault lasts

# ---- random numbers ------------------------------------------------------

# Not perl's own: other code of the run uses those.  xorshift, 32 bits.
package Nemesis::Random
{
	sub new { my ($class, $seed) = @_; my $s = bless { x => ($seed * 2654435761 + 88172645) & 0xffffffff || 1 }, $class; $s->next for 1 .. 8; return $s; }
	sub next
	{
		my ($self) = @_;
		my $x = $self->{x};
		$x ^= ($x << 13) & 0xffffffff;
		$x ^= $x >> 17;
		$x ^= ($x << 5) & 0xffffffff;
		return $self->{x} = $x;
	}
	sub below { my ($self, $n) = @_; return $self->next % $n; }
	sub between { my ($self, $a, $b) = @_; return $a + ($b - $a) * $self->next / 4294967296; }
	sub one { my ($self, @of) = @_; return $of[ $self->below(scalar @of) ]; }
	sub shuffled
	{
		my ($self, @l) = @_;
		for (my $i = $#l; $i > 0; $i--) { my $j = $self->below($i + 1); @l[ $i, $j ] = @l[ $j, $i ]; }
		return @l;
	}
}

# ---- the catalogue -----------------------------------------------------------

# Links between two groups.
sub between { my ($a, $b, $what) = @_; return map { my $x = $_; map { [ $x, $_, $what ] } grep { $_ != $x } @$b } @$a; }
sub both { return (between($_[0], $_[1], $_[2]), between($_[1], $_[0], $_[2])); }
sub numbers { return map { $_->{number} } @_; }
sub others { my ($self, @nodes) = @_; my %in = map { $_->{number} => 1 } @nodes; return grep { !$in{$_} } map { $_->{number} } $self->{cluster}->nodes; }
sub links
{
	my ($self, $fault, @rules) = @_;
	return 0 unless felt($self, $fault, @rules);
	$self->{ground}->add($fault->{n}, @rules);
	return 1;
}

# Is somebody at both ends of a link?
sub felt
{
	my ($self, $fault, @rules) = @_;
	my %alive = map { $_->{number} => 1 } grep { alive($_) } $self->{cluster}->nodes;
	$fault->{why} = 'nobody alive at both ends of a link';
	return grep { $alive{ $_->[0] } && ($_->[1] == 0 || ($_->[1] != $_->[0] && $alive{ $_->[1] })) } @rules;
}

# A server that would notice something.
sub alive { my ($n) = @_; return $n->{running} && !$n->{stopped} && !$n->{ending}; }
sub unlink_ { my ($self, $fault) = @_; $self->{ground}->remove($fault->{n}); }

my @SOME = qw(leader leader follower one one minority majority all);
my @ONE = qw(leader follower one);
my @FEW = qw(leader follower one minority);

our %KINDS = (
	kill_server => { for => [ 0, 12 ], whom => \@SOME, begin => \&begin_kill, end => \&end_hold },
	kill_leader => { for => [ 0, 8 ], whom => ['leader'], leads => 1, begin => \&begin_kill, end => \&end_hold },
	kill_worker => {
		for => [ 0, 0 ], whom => \@FEW, draw => sub { { which => $_[0]->one('proposer', 'learner') } },
		begin => sub { signal_process(@_, 'KILL') }
	},
	kill_acceptor => { for => [ 0, 0 ], whom => \@FEW, draw => sub { { which => 'acceptor' } }, begin => sub { signal_process(@_, 'KILL') } },
	# A kill -9 of one process makes PostgreSQL start all of them again; these end one role alone.
	end_role => {
		for => [ 0, 0 ], whom => \@SOME, draw => sub { { which => $_[0]->one('proposer', 'learner', 'acceptor') } },
		begin => sub { signal_process(@_, 'TERM') }
	},
	restart_fast => { for => [ 0, 0 ], whom => \@SOME, begin => sub { signal_server(@_, 'INT') } },
	restart_immediate => { for => [ 0, 0 ], whom => \@SOME, begin => sub { signal_server(@_, 'QUIT') } },
	stop_server => { for => [ 0.2, 15 ], whom => \@SOME, begin => \&begin_stop, end => \&end_stop },
	stop_process => {
		for => [ 0.2, 12 ], whom => \@FEW, draw => sub { { which => $_[0]->one('proposer', 'learner', 'acceptor') } },
		begin => sub { signal_process(@_, 'STOP') }, end => \&end_stop_process
	},
	partition => {
		needs => 'partition', for => [ 0.5, 15 ], whom => [qw(minority minority majority one follower)],
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, both([ numbers(@n) ], [ others($self, @n) ], { cut => 1 })) }, end => \&unlink_
	},
	isolate_leader => {
		needs => 'partition', for => [ 0.5, 15 ], whom => ['leader'], leads => 1,
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, both([ numbers(@n) ], [ others($self, @n) ], { cut => 1 })) }, end => \&unlink_
	},
	one_way_out => {
		needs => 'partition', for => [ 0.5, 15 ], whom => \@FEW,
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, between([ numbers(@n) ], [ others($self, @n) ], { cut => 1 })) }, end => \&unlink_
	},
	one_way_in => {
		needs => 'partition', for => [ 0.5, 15 ], whom => \@FEW,
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, between([ others($self, @n) ], [ numbers(@n) ], { cut => 1 })) }, end => \&unlink_
	},
	# One node sees all, the halves do not see each other.
	bridge => {
		needs => 'partition', for => [ 0.5, 15 ], whom => [qw(one leader follower)],
		begin => sub {
			my ($self, $f, @n) = @_;
			my @rest = grep { $_ != $n[0]{number} } map { $_->{number} } @{ $f->{shuffled} };
			my @half = splice @rest, 0, @rest / 2;
			links($self, $f, both(\@half, \@rest, { cut => 1 }));
		},
		end => \&unlink_
	},
	# Every node sees its two neighbours only.  Three nodes have no ring: one link is cut.
	ring => {
		needs => 'partition', for => [ 0.5, 15 ], whom => ['all'],
		begin => sub {
			my ($self, $f) = @_;
			my @l = map { $_->{number} } @{ $f->{shuffled} };
			return links($self, $f, both([ $l[0] ], [ $l[1] ], { cut => 1 })) if @l < 4;
			my @cut;
			for my $i (0 .. $#l)
			{
				for my $j ($i + 2 .. $#l) { push @cut, both([ $l[$i] ], [ $l[$j] ], { cut => 1 }) unless $i == 0 && $j == $#l; }
			}
			links($self, $f, @cut);
		},
		end => \&unlink_
	},
	flapping => {
		needs => 'partition', for => [ 3, 15 ], whom => \@FEW, draw => sub { { on => $_[0]->between(0.1, 1.5), off => $_[0]->between(0.1, 1.5) } },
		begin => sub {
			my ($self, $f, @n) = @_;
			$f->{rules} = [ both([ numbers(@n) ], [ others($self, @n) ], { cut => 1 }) ];
			$f->{next} = 0;
			return felt($self, $f, @{ $f->{rules} });
		},
		while => sub {
			my ($self, $f, $now) = @_;
			return if $now < $f->{next};
			$f->{is_cut} = !$f->{is_cut};
			if ($f->{is_cut}) { $self->{ground}->add($f->{n}, @{ $f->{rules} }); } else { unlink_($self, $f); }
			$f->{next} = $now + ($f->{is_cut} ? $f->{args}{on} : $f->{args}{off});
		},
		end => \&unlink_
	},
	loss => {
		needs => 'loss', for => [ 2, 20 ], whom => \@SOME, draw => sub { { percent => $_[0]->one(2, 5, 10, 20, 40) } },
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, both([ numbers(@n) ], [ map { $_->{number} } $self->{cluster}->nodes ], { loss => $f->{args}{percent} })) },
		end => \&unlink_
	},
	latency => {
		needs => 'latency', for => [ 2, 20 ], whom => \@SOME,
		draw => sub { { ms => $_[0]->one(2, 10, 40, 120, 400), jitter => $_[0]->one(0, 5, 50, 300), one_way => $_[0]->below(4) == 0 } },
		begin => sub {
			my ($self, $f, @n) = @_;
			my $what = { delay => [ $f->{args}{ms}, $f->{args}{jitter} ] };
			my @all = map { $_->{number} } $self->{cluster}->nodes;
			links($self, $f, $f->{args}{one_way} ? between([ numbers(@n) ], \@all, $what) : both([ numbers(@n) ], [ others($self, @n) ? others($self, @n) : @all ], $what));
		},
		end => \&unlink_
	},
	slow_link => {
		needs => 'rate', for => [ 2, 20 ], whom => \@FEW, draw => sub { { kbit => $_[0]->one(64, 256, 1000) } },
		begin => sub { my ($self, $f, @n) = @_; links($self, $f, map { [ $_->{number}, 0, { rate => $f->{args}{kbit} } ] } @n) }, end => \&unlink_
	},
	disk_full => {
		needs => 'disk_full', for => [ 2, 15 ], whom => [qw(leader follower one minority majority)], draw => sub { { leave_kb => $_[0]->one(0, 0, 64, 1024, 4096) } },
		begin => sub {
			my ($self, $f, @n) = @_;
			return 0 unless hits($f, @n);
			for my $n (@n) { $n->{full}++; $self->{ground}->fill_disk($n, $f->{args}{leave_kb}); }
			return 1;
		},
		end => sub { my ($self, $f, @n) = @_; for my $n (@n) { $self->{ground}->free_disk($n) if --$n->{full} == 0; } }
	},
	power_cut => {
		needs => 'power_cut', for => [ 0, 10 ], whom => \@SOME,
		begin => sub {
			my ($self, $f, @n) = @_;
			return 0 unless hits($f, @n);
			$self->forget_stops($_) for @n;
			# Nobody hears of it: a machine without power closes no connection.
			$self->{ground}->add($f->{n}, both([ numbers(@n) ], [ map { $_->{number} } $self->{cluster}->nodes ], { cut => 1 }));
			$self->{ground}->power_cut(@n);
			$_->{hold}++ for @n;
			return 1;
		},
		end => sub { my ($self, $f, @n) = @_; unlink_($self, $f); end_hold($self, $f, @n); }
	},
	slow_disk => {
		needs => 'slow_disk', for => [ 2, 20 ], whom => \@SOME, draw => sub { { ms => $_[0]->one(20, 100, 400, 1200, 3000) } },
		begin => sub { my ($self, $f, @n) = @_; return 0 unless hits($f, @n); for my $n (@n) { $n->{slow}{ $f->{n} } = $f->{args}{ms}; $self->set_flush_delay($n); } return 1; },
		end => sub { my ($self, $f, @n) = @_; for my $n (@n) { delete $n->{slow}{ $f->{n} }; $self->set_flush_delay($n); } }
	},
	clock => {
		needs => 'clock', for => [ 3, 20 ], whom => \@SOME,
		draw => sub { { spec => $_[0]->one('+3600', '-3600', '+864000', '-864000', '+31536000', '+5', '-5', '+0 x3', '+0 x0.2') } },
		begin => sub { my ($self, $f, @n) = @_; return 0 unless hits($f, @n); for my $n (@n) { $n->{clocks}{ $f->{n} } = $f->{args}{spec}; $self->set_clock($n); } return 1; },
		end => sub { my ($self, $f, @n) = @_; for my $n (@n) { delete $n->{clocks}{ $f->{n} }; $self->set_clock($n); } }
	},
);

# ---- servers and processes ---------------------------------------------------

# Is one of them alive?
sub hits { my ($fault, @nodes) = @_; $fault->{why} = 'not alive'; return grep { alive($_) } @nodes; }

sub begin_kill
{
	my ($self, $fault, @nodes) = @_;
	return 0 unless grep { $_->{running} } @nodes;
	for my $n (@nodes)
	{
		$n->{hold}++;
		$self->forget_stops($n);
		$n->kill9 if $n->{running};
	}
	return 1;
}

sub end_hold { my ($self, $fault, @nodes) = @_; $_->{hold}-- for @nodes; }

# fast and immediate shutdown; supervise() sees the end of it, and starts again.
sub signal_server
{
	my ($self, $fault, @nodes) = @_;
	my $signal = pop @nodes;
	my @alive = hits($fault, @nodes);
	for my $n (@alive)
	{
		kill $signal, $n->{pid};
		$n->{ending} = $fault->{now};
	}
	return @alive > 0;
}

sub begin_stop
{
	my ($self, $fault, @nodes) = @_;
	return 0 unless hits($fault, @nodes);
	for my $n (grep { $_->{running} } @nodes) { $n->{stops}{ $fault->{n} } = 1; $n->sigstop; }
	return 1;
}

sub end_stop
{
	my ($self, $fault, @nodes) = @_;
	for my $n (@nodes)
	{
		next unless delete $n->{stops}{ $fault->{n} };
		$n->sigcont if $n->{running} && !%{ $n->{stops} };
	}
}

# A killed server is not a stopped one any more.
sub forget_stops { my ($self, $n) = @_; $n->{stops} = {}; $n->{stopped} = 0; }

# The processes of a server that play a role, by their titles; no query, since
# the server may be in no state to answer one.
sub processes
{
	my ($self, $node, $which) = @_;
	my $title = $which eq 'acceptor' ? qr/^postgres: node / : qr/^postgres: paxos $which/;
	my @p;
	for my $pid ($node->pids)
	{
		open my $f, '<', "/proc/$pid/cmdline" or next;
		my $t = <$f> // '';
		push @p, $pid if $t =~ $title;
	}
	return sort { $a <=> $b } @p;
}

sub signal_process
{
	my ($self, $fault, @nodes) = @_;
	my $signal = pop @nodes;
	my $hit = 0;
	for my $n (hits($fault, @nodes))
	{
		my @p = $self->processes($n, $fault->{args}{which});
		next unless @p;
		# Any of an acceptor's backends, drawn by the fault's own number.
		my $pid = $p[ $fault->{draw} % @p ];
		$hit += kill $signal, $pid;
		push @{ $fault->{stopped} }, [ $n, $pid ] if $signal eq 'STOP';
	}
	$fault->{why} = 'no such process' if !$hit;
	return $hit > 0;
}

sub end_stop_process
{
	my ($self, $fault) = @_;
	for (@{ $fault->{stopped} // [] })
	{
		my ($n, $pid) = @$_;
		next unless $n->{running} && !$n->{stopped};
		kill 'CONT', $pid if grep { $_ == $pid } $n->pids;
	}
}

sub set_flush_delay
{
	my ($self, $n) = @_;
	my $most = 0;
	for (values %{ $n->{slow} }) { $most = $_ if $_ > $most; }
	$self->{ground}->flush_delay($n, $most);
}

# The latest of several clock faults counts.
sub set_clock
{
	my ($self, $n) = @_;
	my ($latest) = sort { $b <=> $a } keys %{ $n->{clocks} };
	$self->{ground}->clock($n, defined $latest ? $n->{clocks}{$latest} : '+0');
}

# ---- the schedule ----------------------------------------------------------

=pod

new(cluster, ground, seed, seconds, kinds => [..], brisk, log => code, leader => code):
kinds limits the catalogue, brisk makes faults and pauses short.

=cut

sub new
{
	my ($class, %o) = @_;
	my $self = bless { %o, plan => [], done => [], active => [], late => 0 }, $class;
	my @want = @{ $o{kinds} && @{ $o{kinds} } ? $o{kinds} : [ sort keys %KINDS ] };
	for (@want) { die "no fault is called $_; there are: " . join(' ', sort keys %KINDS) . "\n" unless $KINDS{$_}; }
	$self->{kinds} = [ grep { !$KINDS{$_}{needs} || $o{ground}->can($KINDS{$_}{needs}) } @want ];
	$self->{left_out} = { map { $_ => $o{ground}->missing->{ $KINDS{$_}{needs} } // 'not here' } grep { $KINDS{$_}{needs} && !$o{ground}->can($KINDS{$_}{needs}) } @want };
	die "none of these faults is possible here\n" unless @{ $self->{kinds} };
	$self->make_plan;
	return $self;
}

# Acts of one to three faults, with calm between them in which the cluster can
# show that it recovers.  Kinds are dealt from a shuffled deck, so a run of n
# acts has seen nearly n kinds.
sub make_plan
{
	my ($self) = @_;
	my $r = Nemesis::Random->new($self->{seed});
	my $n_nodes = scalar @{ $self->{cluster}{nodes} };
	my $longest = $self->{brisk} ? 3 : $self->{seconds} / 6;
	my ($t, $n, @deck) = (3, 0);
	while ($t < $self->{seconds} - 6)
	{
		my $count = $r->below(100) < 50 ? 1 : $r->below(100) < 70 ? 2 : 3;
		my $act_ends = $t;
		for my $i (1 .. $count)
		{
			@deck = $r->shuffled(@{ $self->{kinds} }) unless @deck;
			my $kind = shift @deck;
			my $k = $KINDS{$kind};
			my ($least, $most) = @{ $k->{for} };
			# Mostly short, so that much happens; sometimes long.
			my $for = $most == 0 ? 0 : $least + ($most - $least) * $r->between(0, 1)**2;
			my $at = $t + ($i > 1 ? $r->between(0, 2) : 0);
			my $args = $k->{draw} ? $k->{draw}->($r) : {};
			my $f = { n => ++$n, kind => $kind, at => $at, for => $for < $longest ? $for : $longest, whom => $r->one(@{ $k->{whom} }),
				order => [ $r->shuffled(1 .. $n_nodes) ], draw => $r->below(1000), args => $args, act => scalar @{ $self->{acts} //= [] } };
			$f->{for} = 0 if $f->{for} < 0.3 && $least == 0;
			push @{ $self->{plan} }, $f;
			my $end = $f->{at} + $f->{for};
			$act_ends = $end if $end > $act_ends;
		}
		push @{ $self->{acts} }, [ $t, $act_ends, $count ];
		$t = $act_ends + ($self->{brisk} ? $r->between(0.3, 1.5) : $r->between(1, 6));
	}
	@{ $self->{plan} } = sort { $a->{at} <=> $b->{at} || $a->{n} <=> $b->{n} } @{ $self->{plan} };
}

sub describe
{
	my ($f) = @_;
	my $a = join ' ', map { "$_=" . ($f->{args}{$_} =~ /^\d*\.\d+$/ ? sprintf('%.2f', $f->{args}{$_}) : $f->{args}{$_}) } sort keys %{ $f->{args} };
	return sprintf('%-17s %-8s %s', $f->{kind}, $f->{whom} eq 'one' ? "node $f->{order}[0]" : $f->{whom}, $a);
}

sub schedule
{
	my ($self) = @_;
	return join '', map { sprintf("%8.2f s  for %5.2f s  %3d  %s\n", $_->{at}, $_->{for}, $_->{n}, describe($_)) } @{ $self->{plan} };
}

sub targets
{
	my ($self, $f) = @_;
	my $c = $self->{cluster};
	my @order = map { $c->node($_) } @{ $f->{order} };
	$f->{shuffled} = \@order;
	my $voters = @order;
	return @order if $f->{whom} eq 'all';
	return $order[0] if $f->{whom} eq 'one';
	return @order[ 0 .. int(($voters - 1) / 2) - 1 ] if $f->{whom} eq 'minority';
	return @order[ 0 .. int($voters / 2) ] if $f->{whom} eq 'majority';
	my $leader = $self->{leader}->();
	$f->{led} = $leader ? $leader->{number} : 0;
	return $leader // ($KINDS{ $f->{kind} }{leads} ? () : $order[0]) if $f->{whom} eq 'leader';
	return (grep { !$leader || $_ != $leader } @order)[0];
}

# Lets a fault begin, on those it was drawn for or, if it has no effect there, on
# another node.  False: nobody can be hit at this moment.
sub begin
{
	my ($self, $f, $now) = @_;
	my $k = $KINDS{ $f->{kind} };
	$f->{now} = $f->{began} = $now;
	$f->{began_at} = PaxosCluster::now();
	my @drawn = $self->targets($f);
	if (!@drawn) { $f->{why} = 'nobody leads'; return 0; }
	my @tries = ([@drawn]);
	if (!$k->{leads})
	{
		my %drawn = map { $_ => 1 } @drawn;
		# What is drawn from the order of nodes (ring, bridge) is drawn from another one.
		push @tries, map { [$_] } grep { alive($_) && (!$drawn{$_} || @drawn > 1) } @{ $f->{shuffled} };
	}
	for my $nodes (@tries)
	{
		@{ $f->{shuffled} } = (@$nodes, sort { alive($b) <=> alive($a) } grep { my $n = $_; !grep { $_ == $n } @$nodes } @{ $f->{shuffled} }) if $nodes != $tries[0];
		next unless $k->{begin}->($self, $f, @$nodes);
		$f->{nodes} = $nodes;
		$f->{redirected} = $nodes != $tries[0];
		return 1;
	}
	return 0;
}

# ---- the run -----------------------------------------------------------------

# Lets happen what is due `now` seconds into the run.  True while there is more.
sub step
{
	my ($self, $now) = @_;
	for my $f (@{ $self->{active} }) { $KINDS{ $f->{kind} }{while}->($self, $f, $now) if $KINDS{ $f->{kind} }{while}; }
	my @over = grep { $now >= $_->{began} + $_->{for} } @{ $self->{active} };
	$self->finish($_) for @over;
	while (@{ $self->{plan} } && $self->{plan}[0]{at} + $self->{late} <= $now)
	{
		my $f = $self->{plan}[0];
		last if $now < ($f->{again} // 0);
		my $begins = $self->begin($f, $now);
		my $led = defined $f->{led} ? $f->{led} ? " (leader $f->{led})" : ' (no leader)' : '';
		my $waited = $now - ($f->{at} + $self->{late});
		if (!$begins && $waited < WAIT)
		{
			$self->{log}->("wait  $f->{n} " . describe($f) . "$led: $f->{why}") if !$f->{again};
			$f->{again} = $now + 0.2;
			last;
		}
		shift @{ $self->{plan} };
		$self->{late} += $waited if $f->{again};
		if (!$begins)
		{
			$f->{skipped} = 1;
			$self->{log}->("     $f->{n} " . describe($f) . "$led: no effect, $f->{why}");
			push @{ $self->{done} }, $f;
			next;
		}
		$self->{log}->("begin $f->{n} " . describe($f) . ' on ' . join(',', numbers(@{ $f->{nodes} })) . ($f->{redirected} ? ' instead' : '') . $led
			  . ($f->{for} ? sprintf(', for %.1f s', $f->{for}) : ''));
		push @{ $self->{active} }, $f;
		$self->finish($f) if $f->{for} == 0;
	}
	$self->supervise($now);
	return @{ $self->{plan} } || @{ $self->{active} };
}

sub finish
{
	my ($self, $f) = @_;
	$KINDS{ $f->{kind} }{end}->($self, $f, @{ $f->{nodes} }) if $KINDS{ $f->{kind} }{end};
	$f->{ended_at} = PaxosCluster::now();
	$self->{active} = [ grep { $_ != $f } @{ $self->{active} } ];
	push @{ $self->{done} }, $f;
	$self->{log}->("end   $f->{n} " . describe($f)) if $f->{for};
}

# Takes everything back, whatever is planned.
sub heal
{
	my ($self) = @_;
	$self->{plan} = [];
	my @over = @{ $self->{active} };
	$self->finish($_) for @over;
}

# Servers that should run and do not are started; ends of servers are noticed.
sub supervise
{
	my ($self, $now) = @_;
	for my $n ($self->{cluster}->nodes)
	{
		if ($n->{running} && waitpid($n->{pid}, WNOHANG) != 0)
		{
			my $how = $?;
			$n->{running} = 0;
			$self->forget_stops($n);
			$n->{last_end} = $now;
			$self->{log}->(sprintf('      server %d ended (%s)', $n->{number}, $how & 127 ? 'signal ' . ($how & 127) : 'exit ' . ($how >> 8)))
			  unless delete $n->{ending};
			delete $n->{ending};
			# Processes of a postmaster that died alone see that and end; until then a
			# new one refuses to start, and is tried again.
		}
		if ($n->{running} && $n->{ending} && !$n->{stopped} && $now - $n->{ending} > 10 && !$n->{asked_why}++ && asked_while_reinitializing($n))
		{
			$self->{log}->("      server $n->{number} does not shut down, for it was asked in the middle of a restart after a crash");
			$n->kill9;
			delete $n->{ending};
		}
		if ($n->{running} && $n->{ending} && !$n->{stopped} && $now - $n->{ending} > 60)
		{
			$self->{log}->("      server $n->{number} did not shut down within 60 s");
			push @{ $self->{complaints} }, "server $n->{number} did not shut down within 60 s";
			$n->kill9;
			delete $n->{ending};
		}
		next if $n->{running} || ($n->{hold} // 0) > 0 || $now < ($n->{last_end} // -9) + 0.5;
		$n->{last_end} = $now;
		$self->{starts}{ $n->{number} }++;
		$self->launch($n);
	}
}

# When a process was killed, and the postmaster is starting all of them again, and
# is asked then to shut down fast, it waits for its checkpointer and tells it
# nothing (PostgreSQL 15, PM_WAIT_BACKENDS with FatalError): that never ends.
sub asked_while_reinitializing
{
	my ($n) = @_;
	my ($reinitializing, $asked) = (0, 0);
	open my $f, '<', $n->logfile or return 0;
	while (<$f>)
	{
		if (/LOG:  all server processes terminated; reinitializing/) { $reinitializing = 1; }
		elsif (/LOG:  database system is ready to accept connections/) { $reinitializing = 0; }
		elsif (/LOG:  received fast shutdown request/) { $asked = $reinitializing; }
	}
	return $asked;
}

# The postmaster is our own child: its end is noticed at once, and its process id
# is known before it has written it anywhere.
sub launch
{
	my ($self, $n) = @_;
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		POSIX::setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $n->logfile;
		open STDERR, '>&', \*STDOUT;
		exec $n->command("$PaxosCluster::BINDIR/postgres", '-D', $n->datadir) or POSIX::_exit(127);
	}
	$n->{pid} = $pid;
	delete $n->{asked_why};
	delete $n->{ending};		# of a life that was killed before it had ended
	$n->{running} = 1;
	$n->{stopped} = 0;
	$n->{stops} = {};
}

1;
