# The scenes this project exists for.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# ---- three nodes ---------------------------------------------------------------
{
	my $c = PaxosCluster->new(nodes => 3);
	$c->await_followers;
	$c->node(1)->sql("CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0)) USING paxos");
	$c->await_equal;

	# One account of 1500, three withdrawals of 1000 sent to three nodes at once.
	for my $round (1 .. 10)
	{
		$c->node(1)->sql("SELECT paxos_upsert('account', '{\"id\": $round, \"balance\": 1500}')");
		my @h = map { [ $_, $_->start_sql("SELECT applied FROM paxos_update_if('account', '{\"id\": $round}', "
			  . "'{\"balance -=\": 1000}', '{\"balance >=\": 1000}')") ] } $c->nodes;
		my @r = map { $_->[0]->finish_sql($_->[1]) } @h;
		is(join(' ', sort map { $_->{ok} ? $_->{out} : $_->{err} } @r), 'f f t', "account, round $round: exactly one withdrawal succeeds");
	}
	is($c->same_everywhere("SELECT count(*), min(balance), max(balance) FROM account", 'account: the same on all nodes'),
		'10|500|500', 'account: 500 are left, each time');

	# The same as compare-and-set: each reads 1500 and wants to write 500.
	$c->node(2)->sql("SELECT paxos_upsert('account', '{\"id\": 99, \"balance\": 1500}')");
	my @h = map { [ $_, $_->start_sql("SELECT applied FROM paxos_cas('account', '{\"id\": 99}', '{\"balance\": 1500}', '{\"balance\": 500}')") ] } $c->nodes;
	is(join(' ', sort map { $_->[0]->finish_sql($_->[1])->{out} } @h), 'f f t', 'account: one compare-and-set of three succeeds');

	# One e-mail address, from many sessions on all nodes at once.
	$c->node(3)->sql("CREATE TABLE person (email text PRIMARY KEY, node int, session int) USING paxos");
	$c->await_equal;
	for my $round (1 .. 5)
	{
		my @h;
		for my $s (1 .. 5)
		{
			push @h, map { [ $_, $_->start_sql("SELECT applied, current->>'node', current->>'session' FROM paxos_insert_if_not_exists('person', "
				  . "'{\"email\": \"ada$round\@example.org\", \"node\": $_->{number}, \"session\": $s}')"), $s ] } $c->nodes;
		}
		my @winners;
		my %seen;
		for my $x (@h)
		{
			my $r = $x->[0]->finish_sql($x->[1]);
			my ($applied, $node, $session) = split /\|/, $r->{out};
			$seen{"$node/$session"} = 1 if $r->{ok};
			push @winners, "$x->[0]{number}/$x->[2]" if ($applied // '') eq 't';
		}
		is(scalar(@winners), 1, "e-mail, round $round: one winner of fifteen");
		is(join(' ', keys %seen), $winners[0], 'and everybody was told who');
	}
	is($c->same_everywhere("SELECT count(*) FROM person", 'e-mail: the same on all nodes'), 5, 'e-mail: one row each');
	$c->stop_all;
}

# ---- five nodes, with a network that can be cut ----------------------------------
{
	my $c = PaxosCluster->new(nodes => 5, relay => 1);
	my $leader = $c->await_followers;
	$c->node(1)->sql("CREATE TABLE booking (room text, day date, who text NOT NULL, PRIMARY KEY (room, day)) USING paxos");
	$c->await_equal;

	# A meeting room, while one of five is down and another unreachable.
	my @followers = grep { $_ != $leader } $c->nodes;
	my ($down, $far, @near) = @followers;
	$down->stop('immediate');
	my @others = map { $_->{number} } grep { $_ != $far } $c->nodes;
	$c->cut([ $far->{number} ], \@others);
	my @h = map { [ $_, $_->start_sql("SELECT applied FROM paxos_insert_if_not_exists('booking', "
		  . "'{\"room\": \"blue\", \"day\": \"2030-01-01\", \"who\": \"node $_->{number}\"}')") ] } @near, $leader;
	my @r = map { $_->[0]->finish_sql($_->[1]) } @h;
	is(join(' ', sort map { $_->{ok} ? $_->{out} : $_->{err} } @r), 'f f t', 'room: one of three bookings succeeds');
	my $r = $far->try("SET paxos.statement_timeout = '1s'; SELECT applied FROM paxos_insert_if_not_exists('booking', '{\"room\": \"blue\", \"day\": \"2030-01-01\", \"who\": \"far\"}')");
	like($r->{sqlstate}, qr/^(57P03|40003)$/, 'room: the unreachable node says that it cannot decide') or diag "$r->{out} $r->{err}";
	$c->heal;
	$down->start;
	is($c->same_everywhere("SELECT count(*) FROM booking", 'room: all five agree after healing'), 1, 'room: booked once');
	like($c->node($down->{number})->sql("SELECT who FROM booking"), qr/^node /, 'and the node that was down shows by whom');

	# A split 3/2 with the leader on the side of the two.
	$leader = $c->await_followers;
	my @rest = grep { $_ != $leader } $c->nodes;
	my @minority = ($leader, shift @rest);
	my @majority = @rest;
	$c->cut([ map { $_->{number} } @minority ], [ map { $_->{number} } @majority ]);
	my %refused;
	PaxosCluster::poll('the three elect a leader', sub {
		return grep { $_->sql("SELECT role FROM paxos.status") eq 'leader' } @majority;
	});
	for my $n (@majority)
	{
		my $r = $n->try("SELECT applied FROM paxos_insert_if_not_exists('booking', '{\"room\": \"red\", \"day\": \"2030-01-0$n->{number}\", \"who\": \"majority\"}')");
		is($r->{out}, 't', "split: node $n->{number} of the three goes on") or diag $r->{err};
	}
	for my $n (@minority)
	{
		my $r = $n->try("SET paxos.statement_timeout = '1s'; SELECT applied FROM paxos_insert_if_not_exists('booking', '{\"room\": \"red\", \"day\": \"2030-02-0$n->{number}\", \"who\": \"minority\"}')");
		like($r->{sqlstate}, qr/^(57P03|40003)$/, "split: node $n->{number} of the two refuses ($r->{sqlstate})") or diag "$r->{out} $r->{err}";
		$refused{"2030-02-0$n->{number}"} = $r->{sqlstate};
		$r = $n->try("SET paxos.statement_timeout = '1s'; SELECT paxos_barrier()");
		is($r->{sqlstate}, '57P03', "split: node $n->{number} of the two serves no linearizable read") or diag "$r->{out} $r->{err}";
	}
	$minority[0]->poll_sql("SELECT role <> 'leader' FROM paxos.status");
	pass('split: the cut-off leader stepped down by itself');
	$c->heal;
	is($c->same_everywhere("SELECT count(*) FROM booking WHERE who = 'majority'", 'split: all five agree after healing'), 3, 'split: with what the three wrote');
	for my $day (sort keys %refused)
	{
		next if $refused{$day} ne '57P03';
		is($c->node(1)->sql("SELECT count(*) FROM booking WHERE day = '$day'"), 0, "split: what was called never sent is not there");
	}
	for my $n ($c->nodes)
	{
		my $r = $n->try("SELECT applied FROM paxos_kv_put('healed$n->{number}', '1')");
		is($r->{out}, 't', "split: node $n->{number} writes again") or diag $r->{err};
	}
}
done_testing;
