# SIGSTOP of the leader for ten seconds: the others go on; when it continues it
# serves no stale linearizable read, and follows.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my $leader = $c->await_followers;
$leader->sql("SELECT paxos_kv_put('k', '0')");
my ($a, $b) = grep { $_ != $leader } $c->nodes;

# Sessions that stand connected at the leader, as a client's pool would.
my @sessions = map { $leader->session } 1 .. 4;
$_->query("SET paxos.statement_timeout = '30s'") for @sessions;
my $t0 = PaxosCluster::now();
$leader->sigstop;
my $new = $c->await_leader;
isnt($new->{number}, $leader->{number}, 'another one leads');
cmp_ok(PaxosCluster::now() - $t0, '<', 10, 'well within the ten seconds');
my $i = 0;
my @asked;
my $writes_end = $t0 + 10;
while (PaxosCluster::now() < $writes_end || $i <= 20)
{
	$i++;
	my $n = $i % 2 ? $a : $b;
	my $r = $n->try("SELECT applied FROM paxos_kv_put('k', '$i')");
	is("$r->{out}", 't', "write $i goes on at node $n->{number}") or diag $r->{err} if $i <= 6 || !$r->{ok};

	# Half-way each of them asks; the question waits in the socket, and the answer
	# must show what had been acknowledged elsewhere when it was asked.
	if (!@asked && PaxosCluster::now() > $t0 + 5)
	{
		@asked = ($i) x @sessions;
		$_->ask("SELECT paxos_kv_get('k')") for @sessions;
	}
}
my $last = $i;
cmp_ok($last, '>', 20, 'the others wrote on for ten seconds');
$leader->sigcont;
my $fresh = $leader->try("SELECT paxos_kv_get('k')");
is($fresh->{out}, $last, 'a linearizable read at the old leader shows the last write') or diag $fresh->{err};
for my $k (0 .. $#sessions)
{
	my $answer = $sessions[$k]->answer;
	if ($answer =~ /^\d+$/)
	{
		cmp_ok($answer, '>=', $asked[$k], "session $k on the old leader reads nothing older than was acknowledged before it asked");
	}
	else
	{
		like($answer, qr/ERROR:  57P03/, "session $k on the old leader is told that it cannot read now");
	}
}
$leader->poll_sql("SELECT role FROM paxos.status", 'follower');
pass('the old leader follows');
$c->same_everywhere("SELECT key, value FROM paxos.kv ORDER BY key", 'all are equal');

# A barrier at a stopped leader's own session, then a plain SELECT.
is($leader->sql_after_barrier("SELECT value FROM paxos.kv WHERE key = 'k'"), $last, 'barrier, then SELECT');
done_testing;
