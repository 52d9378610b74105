# Pipelines of the extended protocol: several writing functions in one are several
# transactions, and an error after one of them does not seem to take it back
# (guards XACT_FLAGS_NEEDIMMEDIATECOMMIT in paxos_api.c); after a statement that
# is still open, a writing function is refused.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 1);
my $n = $c->await_leader;
$n->sql("CREATE TABLE plain (v int)");

# Runs statements in one pipeline; what pgbench says.
sub pipeline
{
	my @statements = @_;
	my $file = $n->{dir} . '/pipeline.sql';
	open my $f, '>', $file or die "$file: $!";
	print $f join("\n", '\startpipeline', (map { "$_;" } @statements), '\endpipeline'), "\n";
	close $f;
	return scalar `$PaxosCluster::BINDIR/pgbench -h 127.0.0.1 -p $n->{port} -U postgres -n -f $file -t 1 -M extended postgres 2>&1`;
}

unlike(pipeline("SELECT paxos_kv_put('a', '1')", "SELECT paxos_kv_cas('a', '1', '2')", "SELECT paxos_kv_cas('a', '2', '3')"),
	qr/ERROR/, 'writing functions in a pipeline');
is($n->sql("SELECT paxos_kv_get('a')"), 3, 'each is done, in order');

like(pipeline("SELECT paxos_kv_put('a', '4')", "INSERT INTO plain VALUES (1)", "SELECT 1 / 0"), qr/ERROR: +division by zero/, 'an error after one');
is($n->sql("SELECT paxos_kv_get('a')"), 4, 'it stays, as it said');
is($n->sql("SELECT count(*) FROM plain"), 0, 'what followed it is rolled back');

like(pipeline("INSERT INTO plain VALUES (2)", "SELECT paxos_kv_put('a', '5')"), qr/ERROR: +paxos_kv_put\(\) cannot run inside a transaction block/,
	'after an open statement it is refused');
is($n->sql("SELECT paxos_kv_get('a')"), 4, 'and not done');

done_testing;
