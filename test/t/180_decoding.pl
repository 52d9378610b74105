# Logical decoding of consensus tables works on every node, whoever wrote: each node
# publishes its copy to a plain database beside it, and that follows.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "wal_level = logical\nwal_retrieve_retry_interval = 100");
$c->await_followers;
my @nodes = $c->nodes;
my ($n1, $n2, $n3) = @nodes;

my $definition = "(id int PRIMARY KEY, v int, t text)";
$n1->sql("CREATE TABLE a $definition USING paxos");
$n1->sql("CREATE TABLE log (at int, what text) USING paxos");
$n1->sql("INSERT INTO a SELECT i, 0, 'old' FROM generate_series(1, 20) i");
$c->await_equal;
for my $n (@nodes)
{
	$n->sql("CREATE PUBLICATION changes FOR TABLE a, log");
	$n->sql("CREATE DATABASE mirror");
	$n->sql("SELECT pg_create_logical_replication_slot('mirror', 'pgoutput')");
	$n->sql("CREATE TABLE a $definition; CREATE TABLE log (at int, what text)", database => 'mirror');
	$n->sql("INSERT INTO a SELECT i, 0, 'old' FROM generate_series(1, 20) i", database => 'mirror');
	$n->sql("CREATE SUBSCRIPTION mirror CONNECTION '" . $n->conninfo . "' PUBLICATION changes WITH (create_slot = false, copy_data = false)", database => 'mirror');
}

sub mirrors
{
	my ($name) = @_;
	for my $query ("SELECT count(*), sum(hashtext(a::text)) FROM a", "SELECT count(*), sum(hashtext(log::text)) FROM log")
	{
		my $here = $c->same_everywhere($query, "$name: nodes are equal");
		for my $n (@nodes)
		{
			my $end = $n->sql("SELECT pg_current_wal_insert_lsn()");
			$n->poll_sql("SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name = 'mirror'");
			is($n->sql($query, database => 'mirror'), $here, "$name: what node $n->{number} decodes");
		}
	}
}

# Every way of writing, each from a node of its own.
$n1->sql_after_barrier("UPDATE a SET v = v + 1, t = 'keyed' WHERE id = 1");
$n2->sql_after_barrier("INSERT INTO a VALUES (21, 1, 'new'), (1, 5, 'x') ON CONFLICT (id) DO UPDATE SET v = a.v + excluded.v");
$n3->sql_after_barrier("DELETE FROM a WHERE id = 2");
$n2->sql_after_barrier("SELECT paxos_cas('a', '{\"id\": 3}', '{\"v\": 0}', '{\"v\": 7}')");
$n3->sql_after_barrier("SELECT paxos_txn('[]', '[{\"op\": \"update\", \"table\": \"a\", \"key\": {\"id\": 4}, \"set\": {\"v +=\": 2}}, {\"op\": \"delete\", \"table\": \"a\", \"key\": {\"id\": 5}}]', '[]')");
$n1->sql_after_barrier("BEGIN; UPDATE a SET v = v + 10 WHERE id BETWEEN 6 AND 8; SAVEPOINT s; DELETE FROM a; ROLLBACK TO s; UPDATE a SET id = id + 100 WHERE id = 9; INSERT INTO log VALUES (1, 'moved'); COMMIT");
$n2->sql_after_barrier("BEGIN; DELETE FROM a WHERE id = 10; INSERT INTO a VALUES (10, 1, 'again'); UPDATE a SET v = 2 WHERE id = 10; INSERT INTO log SELECT i, repeat('x', 3000) FROM generate_series(1, 20) i; COMMIT");
mirrors('one of each');

# Values kept out of line that a change leaves alone, and a set in several parts.
$n3->sql_after_barrier("UPDATE a SET t = (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 3000) i) WHERE id IN (11, 12)");
$n1->sql_after_barrier("UPDATE a SET v = 99 WHERE id = 11");
$n2->sql_after_barrier("UPDATE a SET v = v + 1 WHERE t LIKE 'c%'");
$n3->sql_after_barrier("INSERT INTO a SELECT i, i, repeat(md5(i::text), 10) FROM generate_series(1001, 8000) i");
mirrors('large ones');

$n2->sql_after_barrier("TRUNCATE log");
$n1->sql_after_barrier("INSERT INTO log VALUES (2, 'after')");
mirrors('TRUNCATE');

# Definitions are the subscriber's own, as everywhere with logical replication.
$_->sql("ALTER TABLE a ADD COLUMN w int DEFAULT 5", database => 'mirror') for @nodes;
$n3->sql_after_barrier("ALTER TABLE a ADD COLUMN w int DEFAULT 5");
$n1->sql_after_barrier("UPDATE a SET w = 6 WHERE id < 20");
$n2->sql_after_barrier("INSERT INTO a (id) VALUES (-1)");
mirrors('a new column');

# A node that was away publishes what it learns.
$n3->stop;
$n1->sql_after_barrier("UPDATE a SET v = -1 WHERE id > 7000");
$n2->sql_after_barrier("DELETE FROM a WHERE id BETWEEN 2000 AND 3000");
$n3->start;
mirrors('after an absence');

# No publication is in the way of the log.
$n2->sql_after_barrier("DROP TABLE log");
$c->same_everywhere("SELECT count(*) FROM pg_publication_tables", 'what is dropped is published no more');
$n3->sql_after_barrier("UPDATE a SET v = 12345 WHERE id = 1");
for my $n (@nodes)
{
	PaxosCluster::poll("node $n->{number} publishes the other table", sub { return $n->sql("SELECT v FROM a WHERE id = 1", database => 'mirror') eq '12345' });
}

for my $n (@nodes)
{
	$n->sql("ALTER SUBSCRIPTION mirror DISABLE; ALTER SUBSCRIPTION mirror SET (slot_name = NONE); DROP SUBSCRIPTION mirror", database => 'mirror');
}
done_testing();
