# A node that was down catches up from the log by itself when it returns, and
# can be written at and read at as if it had never been away.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->load_table;
my $leader = $c->await_followers;
my ($away) = grep { $_ != $leader } $c->nodes;
$away->stop;
my $h = $c->start_load(statement => $PaxosCluster::LOAD_INSERT, clients => 4,
	nodes => [ $c->alive ], max => 250);
my $t0 = PaxosCluster::now();
$c->await_acknowledged($h, 1500);
$c->node($leader->{number})->sql("CREATE TABLE while_away (id int PRIMARY KEY) USING paxos");
$away->start;
# While the others still write.
$c->await_acknowledged($h, 1900);
my $records = $c->finish_load($h);
$c->check_inserts($records, 'after the return', $c->nodes);
is($away->sql("SELECT count(*) FROM pg_class WHERE relname = 'while_away'"), 1, 'a table made meanwhile is there');
cmp_ok($away->sql("SELECT count(*) FROM load_rows"), '>=', 1900, 'the returned node has the rows');
is($away->sql("SELECT applied FROM paxos_insert_if_not_exists('while_away', '{\"id\": 1}')"), 't', 'and writes itself');
$c->same_everywhere("SELECT * FROM while_away", 'everywhere');

# Killed while it catches up, and again: it goes on where its tables are.
$away->stop('immediate');
$h = $c->start_load(statement => q{SELECT applied FROM paxos_kv_put('k' || $1::int, to_jsonb($2::int))}, clients => 4,
	nodes => [ $c->alive ], max => 200);
$c->await_acknowledged($h, 1600);
$c->finish_load($h);
for (1 .. 3)
{
	$away->start;
	$away->kill9;
}
$away->start;
$c->same_everywhere("SELECT key, value FROM paxos.kv ORDER BY key", 'killed three times while catching up, and equal in the end');
done_testing;
