# The leader's clean shutdown hands leadership over first: no election time-out is
# waited for.  To make that visible the time-out is twenty seconds here.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.election_timeout = '20s'");
$c->load_table;
my @gaps;
for my $round (1 .. 3)
{
	my $leader = $c->await_followers;
	my @others = grep { $_ != $leader } $c->nodes;
	my $h = $c->start_load(statement => "/* $round */ " . $PaxosCluster::LOAD_INSERT =~ s/\$2::int/\$2::int + ${\($round * 1000000)}/r, clients => 2, nodes => \@others);
	$c->await_acknowledged($h, 20);
	my $t = PaxosCluster::now();
	$leader->stop('fast');
	my $stopped = PaxosCluster::now();
	$c->await_acknowledged($h, 10, $stopped);
	my $r = $c->finish_load($h);
	my $gap = $c->gap_ms($r, $t);
	# The longest wait of any single write around the shutdown.
	my ($longest) = sort { $b <=> $a } map { $_->[4] - $_->[3] } grep { $_->[4] >= $t } @$r;
	push @gaps, 1000 * $longest;
	cmp_ok($longest, '<', 10, sprintf('round %d: the longest wait of a write was %.0f ms, far below the time-out', $round, 1000 * $longest));
	is(scalar(grep { $_->[2] ne 'A' } @$r), 0, 'and every write succeeded');
	cmp_ok($stopped - $t, '<', 15, sprintf('the shutdown itself took %.1f s', $stopped - $t));
	$leader->start;
	$c->same_everywhere("SELECT count(*) FROM load_rows", 'all equal after the return');
}
diag(sprintf "report: longest wait of a write while the leader shuts down, ms: %s", join ' ', map { sprintf '%.0f', $_ } @gaps);
done_testing;
