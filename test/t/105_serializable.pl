# SERIALIZABLE: what counts as read, and what does not.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# Impatient: a barrier that waits behind a definition that waits for a session that is not ended.
my $c = PaxosCluster->new(nodes => 3, impatient => 1, conf => "paxos.yield_timeout = '20s'\npaxos.election_timeout = '20s'\nmin_parallel_table_scan_size = 0\nparallel_setup_cost = 0\nparallel_tuple_cost = 0\n");
$c->await_leader;
my @n = $c->nodes;
# Nobody has noted what was changed before the first of all write sets.
$n[0]->sql("CREATE TABLE first (id int PRIMARY KEY, v int) USING paxos");
$n[0]->sql("INSERT INTO first VALUES (1, 1)");
my $r = $n[0]->try("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT v FROM first; INSERT INTO first VALUES (2, 2); COMMIT");
is($r->{sqlstate}, '40001', 'the first of all is lost');
like($r->{detail}, qr/not known what was changed/, 'and is told why');
$n[0]->sql("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT v FROM first; INSERT INTO first VALUES (2, 2); COMMIT");
$n[0]->sql($_) for "CREATE TABLE a (id int PRIMARY KEY, v int NOT NULL) USING paxos", "CREATE TABLE b (k text, n bigint, v int NOT NULL, PRIMARY KEY (n, k)) USING paxos",
  "CREATE TABLE done (id serial PRIMARY KEY, what text) USING paxos", "CREATE INDEX ON a (v)",
  "INSERT INTO a SELECT i, i FROM generate_series(1, 2000) i", "INSERT INTO b SELECT 'k' || i, i, i FROM generate_series(1, 2000) i";
$_->sql("SELECT paxos_barrier(); VACUUM ANALYZE a; VACUUM ANALYZE b") for @n;
$_->sql("CREATE TABLE here (id int PRIMARY KEY, v int); INSERT INTO here VALUES (1, 1), (2, 2)") for @n;
$_->sql("CREATE FUNCTION sum_of_a() RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN (SELECT sum(v) FROM a); END'") for @n;
$_->sql("CREATE FUNCTION v_of_a(i int) RETURNS int LANGUAGE plpgsql STABLE PARALLEL SAFE AS 'BEGIN RETURN (SELECT v FROM a WHERE id = i); END'") for @n;
my ($s, $other, $beside) = map { $n[$_]->session } 1, 0, 1;

# Read; then somebody else changes something, and it is applied here; then write something
# else and commit.
sub after
{
	my ($read, $change) = @_;
	$s->query("BEGIN ISOLATION LEVEL SERIALIZABLE");
	for my $sql (ref $read ? @$read : $read)
	{
		my $said = $s->query($sql);
		diag("$sql: $said") if $said =~ /ERROR/;
	}
	my $changed = $other->query($change);
	diag("$change: $changed") if $changed =~ /ERROR/;
	$beside->query("SELECT paxos_barrier()");
	my $answer = $s->query("INSERT INTO done (what) VALUES ('x')") . $s->query("COMMIT");
	$s->query("ROLLBACK");
	return $answer;
}
sub lost { my ($read, $change, $name) = @_; like(after($read, $change), qr/40001/, $name); }
sub kept { my ($read, $change, $name) = @_; is(after($read, $change), '', $name); }

# Rows by their primary key: one, several, none; values of other types.
my $one = "UPDATE a SET v = v + 1 WHERE id = 1";
lost("SELECT * FROM a WHERE id = 1", $one, 'a row that was read');
kept("SELECT * FROM a WHERE id = 2", $one, 'another row');
lost("SELECT id FROM a WHERE id = 1", $one, 'an index-only scan');
kept("SELECT id FROM a WHERE id = 2", $one, 'of another row');
lost("SELECT * FROM a WHERE id = 1 AND v < 0", $one, 'a row that was looked at and not returned');
lost("SELECT * FROM a WHERE id = 5001", "INSERT INTO a VALUES (5001, 0)", 'a row that was not there');
kept("SELECT * FROM a WHERE id = 5002", "INSERT INTO a VALUES (5003, 0)", 'another one');
lost("SELECT * FROM a WHERE id = 5001", "DELETE FROM a WHERE id = 5001", 'a row that is deleted');
lost("SELECT * FROM a WHERE id = 7", "UPDATE a SET id = 5007 WHERE id IN (7, -1)", 'a row that gets another key');
lost("SELECT * FROM a WHERE id = 5008", "UPDATE a SET id = 5008 WHERE id IN (8, -1)", 'a key that a row gets');
$s->query("PREPARE p(bigint) AS SELECT * FROM a WHERE id = \$1; SET plan_cache_mode = force_generic_plan");
lost("EXECUTE p(1)", $one, 'a generic plan, a wider type');
kept("EXECUTE p(2)", $one, 'of another row');
kept("EXECUTE p(NULL)", $one, 'no row is NULL');
kept("EXECUTE p(30000000000)", $one, 'nor beyond its type');
$s->query("RESET plan_cache_mode");
lost("SELECT * FROM b WHERE k = 'k1' AND n = 1", "UPDATE b SET v = 0 WHERE n = 1 AND k = 'k1'", 'a key of two columns');
kept("SELECT * FROM b WHERE k = 'k1' AND n = 1", "UPDATE b SET v = 0 WHERE n = 2 AND k = 'k2'", 'another');
lost("SELECT * FROM b WHERE n = 1", "INSERT INTO b VALUES ('new', 5000, 0)", 'half a key is the table');
$s->query("SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_bitmapscan = off; SET enable_seqscan = off; SET enable_memoize = off");
my $join = "SELECT count(*) FROM generate_series(1, 3) g JOIN a ON a.id = g";
like($s->query("EXPLAIN $join"), qr/Index.*Scan using a_pkey/, 'a nested loop');
lost($join, "UPDATE a SET v = v + 1 WHERE id = 3", 'a row that a join looked up');
kept($join, "UPDATE a SET v = v + 1 WHERE id = 4", 'one that it did not');
my $list = "SELECT * FROM a WHERE id IN (1, 3, 5100)";
like($s->query("EXPLAIN $list"), qr/Index Scan using a_pkey/, 'a list');
lost($list, "UPDATE a SET v = v + 1 WHERE id = 3", 'a row of it');
lost($list, "INSERT INTO a VALUES (5100, 0)", 'one that was not there');
kept($list, "UPDATE a SET v = v + 1 WHERE id = 2", 'one between');
$s->query("PREPARE q(bigint[]) AS SELECT * FROM a WHERE id = ANY(\$1)");
lost("EXECUTE q('{NULL, 4, 30000000000}')", "UPDATE a SET v = v + 1 WHERE id = 4", 'of another type');
kept("EXECUTE q('{NULL, 4, 30000000000}')", $one, 'not in it');
kept("EXECUTE q(NULL)", $one, 'none');
lost("SELECT * FROM a WHERE id = ANY (ARRAY(SELECT generate_series(100, 199)))", $one, 'a long one is the table');
$s->query("RESET ALL");

# A scan of a small table, whose condition names the rows.
$other->query("CREATE TABLE few (id int PRIMARY KEY, v int NOT NULL) USING paxos");
$other->query("INSERT INTO few SELECT i, i FROM generate_series(1, 5) i");
$beside->query("SELECT paxos_barrier()");
$n[1]->sql("ANALYZE few");
my $few = "UPDATE few SET v = v + 1 WHERE id = 1";
like($s->query("EXPLAIN SELECT * FROM few WHERE id = 1"), qr/Seq Scan/, 'a small table');
lost("SELECT * FROM few WHERE id = 1", $few, 'a row of it');
lost("SELECT * FROM few WHERE 1 = id AND v < 0", $few, 'not returned');
kept("SELECT * FROM few WHERE id = 2", $few, 'another');
lost("SELECT * FROM few WHERE id = 10", "INSERT INTO few VALUES (10, 0)", 'a row that was not there');
kept("SELECT * FROM few WHERE id IN (2, 3)", $few, 'a list');
lost("SELECT * FROM few WHERE id IN (2, 1)", $few, 'with the row');
lost("SELECT * FROM few WHERE id = 2 OR v = 7", $few, 'another condition');
lost("SELECT * FROM few WHERE id <> 2", $few, 'another operator');
lost("SELECT * FROM few WHERE id = v", $few, 'no value');
lost("SELECT * FROM few WHERE id = 2 AND v > random()", $few, 'a volatile condition');
lost("SELECT * FROM few f WHERE id = 2 AND v = (SELECT max(g.v) FROM few g WHERE g.id >= f.v)", $few, 'a sub-select');
kept("UPDATE few SET v = v + 1 WHERE id = 2", $few, 'an UPDATE of another row');
kept("DO 'DECLARE i bigint = 2; BEGIN PERFORM v FROM few WHERE id = i; END'", $few, 'a variable');
lost("DO 'DECLARE i bigint = 1; BEGIN PERFORM v FROM few WHERE id = i; END'", $few, 'with the row');
$s->query("PREPARE r(int) AS SELECT * FROM few WHERE id = \$1; SET plan_cache_mode = force_generic_plan; SET enable_indexscan = off; SET enable_seqscan = off");
like($s->query("EXPLAIN EXECUTE r(1)"), qr/Bitmap Heap Scan/, 'a bitmap');
lost("EXECUTE r(1)", $few, 'of a parameter');
kept("EXECUTE r(2)", $few, 'another');
$s->query("RESET ALL");

# What reads the table.
lost("SELECT count(*) FROM a", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a scan');
lost("SELECT * FROM a WHERE v = 77", "INSERT INTO a VALUES (6000, 6000)", 'another index');
lost("SELECT * FROM a WHERE id BETWEEN 1 AND 3", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a range');
lost("SELECT * FROM a WHERE ctid = '(0,1)'", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a place');
lost("UPDATE a SET v = v + 1 WHERE v = 1500", "UPDATE a SET v = v + 1 WHERE id = 1900", 'the rows of an UPDATE');
lost("COPY a TO '/dev/null'", "UPDATE a SET v = v + 1 WHERE id = 1900", 'COPY TO');
lost(["DECLARE c CURSOR FOR SELECT * FROM a", "FETCH c"], "UPDATE a SET v = v + 1 WHERE id = 1900", 'a cursor');
lost("SELECT sum_of_a()", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a function');
lost("SELECT v_of_a(1)", $one, 'a row in a function');
kept("SELECT v_of_a(2)", $one, 'another');
lost(["SAVEPOINT x", "SELECT count(*) FROM a", "ROLLBACK TO x"], "UPDATE a SET v = v + 1 WHERE id = 1900", 'what was read in a savepoint, was read');
lost(["SAVEPOINT x", "INSERT INTO done (what) VALUES ('s')", "SELECT * FROM a WHERE id = 1", "ROLLBACK TO x"], $one, 'a row as well');
lost("INSERT INTO a VALUES (9, 1) ON CONFLICT DO NOTHING", "DELETE FROM a WHERE id = 9", 'a row that was in the way');
kept("INSERT INTO a VALUES (7000, 1)", "UPDATE a SET v = v + 1 WHERE id = 2", 'an INSERT reads nothing');
lost("WITH w AS (INSERT INTO done (what) SELECT 'w' FROM a LIMIT 1 RETURNING 1) SELECT * FROM w", "UPDATE a SET v = v + 1 WHERE id = 1900", 'the source of an INSERT');
kept("EXPLAIN SELECT * FROM a", "UPDATE a SET v = v + 1 WHERE id = 1900", 'EXPLAIN reads nothing');
kept("SELECT count(*) FROM here", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a table of this node');
lost("SELECT count(*) FROM done", "INSERT INTO done (what) VALUES ('y')", 'the table that is written');

# Many lookups are a read of the table; a definition that changes is a change.
lost("DO 'BEGIN FOR i IN 1 .. 4200 LOOP PERFORM v FROM a WHERE id = i; END LOOP; END'", "INSERT INTO a VALUES (9000, 1)", 'too many rows to name them');
lost("SELECT count(*) FROM b", "CREATE INDEX b_v ON b (v)", 'a definition');
lost("SELECT * FROM b WHERE k = 'k1' AND n = 1", "DROP INDEX b_v", 'that of a table of which one row was read');

# Parallel workers read what nobody would hear of: there are none.
$n[1]->sql("ALTER SYSTEM SET force_parallel_mode = on; SELECT pg_reload_conf()");
$s->close;
$s = $n[1]->session;
my $parallel = "SELECT v_of_a(v) FROM here WHERE id = 1";
like($s->query("EXPLAIN $parallel"), qr/Gather/, 'a plan for workers');
lost($parallel, $one, 'a function in it reads a row');
like($s->query("BEGIN ISOLATION LEVEL SERIALIZABLE; EXPLAIN (ANALYZE) $parallel"), qr/Workers Launched: 0/, 'without workers');
$s->query("ROLLBACK");
lost("SELECT count(*) FROM a", "UPDATE a SET v = v + 1 WHERE id = 1900", 'a scan in a plan for workers');
$n[1]->sql("ALTER SYSTEM RESET force_parallel_mode; SELECT pg_reload_conf()");

# However it is asked for.
sub both
{
	my ($begin, $name, $then) = @_;
	$_->query($begin) for $s, $other;
	$_->query("SELECT count(*) FROM b") for $s, $other;
	$other->query("INSERT INTO b VALUES ('$name', 1000001, 0)");
	$s->query("INSERT INTO b VALUES ('$name', 1000002, 0)");
	is($other->query("COMMIT"), '', $name);
	like($s->end, qr/40001/, "$name: one of two");
}
both("BEGIN; SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", 'SET TRANSACTION');
$_->query("SET default_transaction_isolation = serializable") for $s, $other;
both("BEGIN", 'default_transaction_isolation');
is($s->query("UPDATE a SET v = 100 WHERE id = 100 RETURNING v"), '100', 'a keyed statement by default');
is($s->query("UPDATE a SET v = v + 1 WHERE v = 100 AND id < 1000 RETURNING v"), '101', 'another statement by default');
is($s->query("SHOW transaction_isolation"), 'serializable', 'and it says so');
$_->query("RESET default_transaction_isolation") for $s, $other;

# Transactions that only read are not proposed, on tables of this node SSI is PostgreSQL's.
my $applied = $n[1]->sql("SELECT applied FROM paxos.replicated");
$s->query("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM a");
is($s->query("COMMIT"), '', 'a transaction that reads');
is($n[1]->sql("SELECT applied FROM paxos.replicated"), $applied, 'takes no slot');
$_->query("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM a; SELECT sum(v) FROM here") for $s, $beside;
$s->query("UPDATE here SET v = 10 WHERE id = 1");
$beside->query("UPDATE here SET v = 20 WHERE id = 2");
is($s->query("COMMIT"), '', 'write skew on a local table: the first');
like($beside->end, qr/40001/, 'the second');
$beside->query("ROLLBACK");

# Nothing can say no behind the decision: with reads of local tables that PostgreSQL would object to.
$_->query("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(v) FROM here; SELECT v FROM a WHERE id = 20") for $s, $beside;
$s->query("INSERT INTO done (what) VALUES ('ssi 1')");
$beside->query("INSERT INTO done (what) VALUES ('ssi 2')");
is($_->query("COMMIT"), '', 'reads that do not meet') for $s, $beside;
$_->query("BEGIN ISOLATION LEVEL SERIALIZABLE") for $s, $beside;
$s->query($_) for "SELECT v FROM a WHERE id = 20", "UPDATE a SET v = -1 WHERE id = 21";
$beside->query($_) for "SELECT v FROM a WHERE id = 22", "UPDATE a SET v = -1 WHERE id = 23";
is($_->query("COMMIT"), '', 'nor do these, though their index entries stand on one page') for $s, $beside;
is($s->query("SELECT count(*) FROM a WHERE v = -1"), '2', 'both have happened');
like($s->query("BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE here SET v = 0; SELECT * FROM a WHERE id = 1 FOR UPDATE"), qr/0A000/, 'a lock and a local change do not go together there');
$s->query("ROLLBACK");

$_->close for $s, $other, $beside;
$c->await_equal;
done_testing();
