# DDL through the log on a table that is being read all the time: statements of a
# moment are let finish, and none of them keeps the learner out.  (How long a moment is depends on
# how busy the machine is.)
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 1, conf => "paxos.yield_timeout = '60s'\n");
my ($n) = $c->nodes;
$n->sql("CREATE TABLE over ()");
$n->sql("CREATE TABLE busy (id int PRIMARY KEY, v int) USING paxos");
$n->sql("SELECT paxos_upsert('busy', '{\"id\": $_}')") for 1 .. 5;

# Sessions that never stop reading, and count what was done to them.
my @h = map { $n->start_sql(qq{DO \$\$
DECLARE n int := 0;
BEGIN
	WHILE NOT EXISTS (SELECT FROM over) LOOP
		PERFORM count(*) FROM busy a, busy b;
		COMMIT;
		n := n + 1;
	END LOOP;
	RAISE LOG 'read % times', n;
END \$\$}) } 1 .. 6;
$n->poll_sql("SELECT count(*) >= 6 FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'");

for my $round (1 .. 3)
{
	$n->sql("CREATE INDEX busy_v ON busy (v)");
	$n->sql("DROP INDEX busy_v");
	pass("round $round");
}
$n->sql("DROP INDEX IF EXISTS nosuch");
is($n->sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'"), 6, 'all were reading the while');
$n->sql("INSERT INTO over DEFAULT VALUES");
is(join(' ', map { $n->finish_sql($_)->{sqlstate} } @h), join(' ', ('00000') x 6), 'nobody was ended for a statement of a moment');

# Who is idle in the way is ended after the time set, however long that is.
$n->conf("paxos.yield_timeout = '15s'");
$n->reload;
$n->poll_sql("SHOW paxos.yield_timeout", '15s');
my $idle = $n->session;
$idle->query("BEGIN; LOCK TABLE busy IN SHARE MODE");
my $began = PaxosCluster::now();
$n->sql("SELECT paxos_upsert('busy', '{\"id\": 6}')");
cmp_ok(PaxosCluster::now() - $began, '>', 14, 'an idle session in the way has its time');
like($idle->query("SELECT 1"), qr/57P01|lost|closed/, 'and no more');

done_testing;
