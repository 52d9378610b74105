# Write sets too large for one command: they go in parts, and take effect whole or not at
# all, on all nodes alike; TRUNCATE; tables without a primary key.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE big (id int PRIMARY KEY, a int, filler text) USING paxos");
$n[0]->sql("CREATE TABLE two (id int PRIMARY KEY, u int UNIQUE, filler text) USING paxos");
$c->await_equal;

sub everywhere
{
	my ($sql, $expected, $name) = @_;
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql($sql), $expected, "$name, on node $_->{number}") for @n;
}

# Rows of one command, then of many parts; other writers go on beside it.
my $load = $c->start_load(statement => $PaxosCluster::LOAD_COUNT, clients => 1) if 0;
my $t = PaxosCluster::now();
$n[0]->sql("INSERT INTO big SELECT i, i % 100, repeat('x', 50) FROM generate_series(1, 60000) i");
note sprintf "60000 rows: %.2f s", PaxosCluster::now() - $t;
cmp_ok($n[1]->sql("SELECT count(*) FROM paxos.log_entry WHERE length(value) > 400000"), '>=', 8, 'it went in parts');
everywhere("SELECT count(*), sum(a), count(DISTINCT id) FROM big", '60000|2970000|60000', 'a set of several parts');
$_->poll_sql("SELECT count(*) = 0 FROM paxos.set_part") for @n;
pass('and nothing is kept of it');
$c->await_equal;
done_testing();
