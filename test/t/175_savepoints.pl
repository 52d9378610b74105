# What a transaction knows of a table is of the lock under which it looked, and that may be
# weak, or gone with a savepoint: a unique index that comes behind it is heeded.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_leader;
my @n = $c->nodes;

# A session of node 1 with a transaction that has looked at the table, an index made
# elsewhere, and one value of it taken in both places, there first.
sub race
{
	my ($what, $table, @before) = @_;
	$n[0]->sql("CREATE TABLE $table (id int PRIMARY KEY, place int) USING paxos");
	$n[0]->sql("INSERT INTO $table SELECT i, -i FROM generate_series(1, 5) i");
	my $s = $n[0]->session;
	$s->query($_) for 'BEGIN', @before;

	$n[1]->sql("CREATE UNIQUE INDEX ON $table (place)");
	$n[0]->poll_sql("SELECT count(*) = 2 FROM pg_index WHERE indrelid = '$table'::regclass");
	is($s->query("INSERT INTO $table VALUES (10, 5)"), '', "$what: the transaction goes on");

	my $learner = $n[0]->worker_pid('learner');
	PaxosCluster::stand_still($learner);
	$n[1]->sql("INSERT INTO $table SELECT 11, 5");
	$s->ask("COMMIT");
	$n[0]->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $s->{pid} AND wait_event_type = 'Extension'");
	kill 'CONT', $learner;
	like($s->answer, qr/4000[13]/, "$what: who is second is told so");
	$s->close;

	for my $n (@n)
	{
		$n->sql("SELECT paxos_barrier()");
		is($n->sql("SELECT id FROM $table WHERE place = 5"), '11', "$what: one has it, on node $n->{number}");
	}
}

race('a savepoint rolled back', 'seat', 'SAVEPOINT a', 'UPDATE seat SET place = 0 WHERE id = 1', 'ROLLBACK TO a');
race('rows locked', 'room', 'SELECT FROM room WHERE id = 1 FOR SHARE');

# A key column that goes, and comes back under another name.
$n[0]->sql("CREATE TABLE shelf (id int PRIMARY KEY, other int NOT NULL) USING paxos");
$n[0]->sql("INSERT INTO shelf VALUES (1, 2)");
my $s = $n[0]->session;
$s->query($_) for 'BEGIN', 'SAVEPOINT a', 'UPDATE shelf SET other = 3', 'ROLLBACK TO a';
$n[1]->sql("ALTER TABLE shelf DROP COLUMN id");
$n[1]->sql("ALTER TABLE shelf ADD PRIMARY KEY (other)");
$n[0]->poll_sql("SELECT count(*) = 1 FROM pg_index WHERE indrelid = 'shelf'::regclass AND indkey = '2'");
is($s->query("UPDATE shelf SET other = other + 5"), '', 'another primary key: the transaction goes on');
is($s->query("COMMIT"), '', '... and commits');
$s->query($_) for 'BEGIN', 'SAVEPOINT a', 'UPDATE shelf SET other = 3', 'ROLLBACK TO a';
$n[1]->sql("DROP TABLE shelf");
$n[0]->poll_sql("SELECT to_regclass('shelf') IS NULL");
is($s->query("COMMIT"), '', 'a table that has gone since is nobody\'s business');

# One that is another consensus table since.
$n[0]->sql("CREATE TABLE shelf (id int PRIMARY KEY) USING paxos");
$s->query($_) for 'BEGIN', 'SAVEPOINT a', 'INSERT INTO shelf VALUES (1)', 'ROLLBACK TO a';
$n[0]->sql("ALTER TABLE shelf SET ACCESS METHOD heap");
$_->sql("SELECT paxos_barrier()") for @n;
$_->sql("DROP TABLE shelf") for @n[ 1, 2 ];
$n[0]->sql("ALTER TABLE shelf SET ACCESS METHOD paxos");
is($s->query("INSERT INTO shelf VALUES (2)"), '', 'another table of that name and number here: the transaction goes on');
is($s->query("COMMIT"), '', '... and commits');
is($_->sql("SELECT paxos_barrier() > 0; SELECT id FROM shelf"), "t\n2", "the row is there, on node $_->{number}") for @n;
$s->close;
$c->await_equal;
done_testing();
