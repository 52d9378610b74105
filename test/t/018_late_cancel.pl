# A cancel request that meets the answer: the command has been decided, and
# "canceled" would say that it was never sent.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 1);
my ($n) = $c->nodes;

my $s = $n->session;
my $backend = $s->query("SELECT pg_backend_pid()");
my $learner = $n->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
my $applied = $n->sql("SELECT applied FROM paxos.status");

# The learner stands still until the session is waiting; the session stands still
# until it has its answer and the cancel request.
PaxosCluster::stand_still($learner);
$s->ask("SELECT applied FROM paxos_kv_put('late', '1')");
$n->poll_sql("SELECT coalesce(sum(commands), 0) = 1 FROM paxos.log WHERE slot > $applied");
PaxosCluster::stand_still($backend);
kill 'CONT', $learner;
$n->poll_sql("SELECT count(*) = 1 FROM paxos.kv WHERE key = 'late'");
is($n->sql("SELECT applied FROM paxos_kv_put('later', '1')"), 't', 'its answer has been delivered');
kill 'INT', $backend;
kill 'CONT', $backend;
is($s->answer, 't', 'what was decided is not said to be canceled');
is($s->query("SELECT 1"), '1', 'nor is the next statement');

# A client that is gone: its session does not wait on without end.
my $gone = $n->session;
$gone->query("SET paxos.statement_timeout = 0; SET client_connection_check_interval = '100ms'");
my $waiting = $gone->query("SELECT pg_backend_pid()");
PaxosCluster::stand_still($learner);
$gone->ask("SELECT applied FROM paxos_kv_put('gone', '1')");
$n->poll_sql("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $waiting");
kill 'KILL', $gone->{psql};
my $ended = eval { $n->poll_sql("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $waiting"); 1 };
kill 'CONT', $learner;
ok($ended, 'a session whose client is gone ends while it waits');

done_testing;
