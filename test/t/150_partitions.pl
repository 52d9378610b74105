# Partitioned consensus tables on three nodes: definitions from all of them, rows that move
# between partitions from two nodes at once, partitions that come and go under load, for a
# node that was away, for a newcomer, and by pg_dump and psql in a fresh cluster.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
my $new = PaxosCluster->new(nodes => 1);
$_->await_followers for $c, $new;
my ($n1, $n2, $n3) = my @nodes = $c->nodes;

# Every table and its indexes, and the numbers of columns.
my $definitions = q{SELECT (SELECT string_agg(paxos_table_definition(relid), E'\n' ORDER BY table_id) FROM paxos.tables)
	|| (SELECT string_agg(attrelid::regclass || ' ' || attnum || ' ' || attname, ', ' ORDER BY attrelid::regclass::text, attnum)
		FROM pg_attribute JOIN paxos.tables ON relid = attrelid WHERE attnum > 0 AND NOT attisdropped)
	|| (SELECT string_agg(i.indexrelid::regclass || ' ' || i.indisvalid, ', ' ORDER BY i.indexrelid::regclass::text)
		FROM pg_index i JOIN paxos.tables ON relid = i.indrelid)};
my $rows = q{SELECT string_agg(tableoid::regclass || ' ' || m::text, E'\n' ORDER BY id, region) FROM m};

sub held_back    # code: while a learner does not apply
{
	my ($n, $do) = @_;
	my $learner = $n->worker_pid('learner');
	kill 'STOP', $learner;
	my $h = $do->();
	kill 'CONT', $learner;
	return $h;
}

# ---- definitions -------------------------------------------------------------------------------
my $i = 0;
$nodes[ $i++ % 3 ]->sql($_) for split /;\n/, q{
CREATE TABLE m (id bigserial, gone int, region int NOT NULL, v text DEFAULT 'x' CHECK (v <> 'bad'), PRIMARY KEY (id, region)) PARTITION BY LIST (region) USING paxos;
CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
CREATE INDEX ON m (v);
SET default_table_access_method = heap; CREATE TABLE m2 PARTITION OF m (CONSTRAINT two CHECK (v <> 'worse')) FOR VALUES IN (2);
CREATE TABLE rest PARTITION OF m DEFAULT PARTITION BY RANGE (id);
CREATE TABLE rest_low PARTITION OF rest FOR VALUES FROM (MINVALUE) TO (1000000);
CREATE TABLE rest_high PARTITION OF rest FOR VALUES FROM (1000000) TO (MAXVALUE);
CREATE TABLE m3 PARTITION OF m FOR VALUES IN (3);
ALTER TABLE m DROP COLUMN gone, ADD COLUMN at date DEFAULT '2020-02-02', ADD CONSTRAINT young CHECK (at > '2000-01-01');
ALTER TABLE m RENAME COLUMN v TO what;
CREATE TABLE m4 (what text DEFAULT 'x', region int NOT NULL, id bigint, at date CONSTRAINT young CHECK (at > '2000-01-01'), CONSTRAINT m_v_check CHECK (what <> 'bad'), PRIMARY KEY (id, region)) USING paxos;
INSERT INTO m4 VALUES ('four', 4, 4, '2004-04-04');
ALTER TABLE m ATTACH PARTITION m4 FOR VALUES IN (4);
CREATE UNIQUE INDEX by_what ON m (what, id, region);
DROP INDEX m_v_idx;
ALTER INDEX m1_what_id_region_idx RENAME TO m1_by_what;
COMMENT ON INDEX by_what IS 'what and where';
COMMENT ON TABLE m2 IS 'two';
ALTER TABLE m ADD UNIQUE (region, id, at)};
$c->same_everywhere($definitions, "$i statements on three nodes: one definition");
$n1->fails("ALTER TABLE m1 ADD COLUMN x int", '42809', qr/cannot add column to a partition/, 'what PostgreSQL refuses on a partition is refused');
$n1->fails("DROP INDEX m2_what_id_region_idx", '2BP01', qr/requires it/, 'also of its indexes');
$n2->fails("CREATE TABLE m5 PARTITION OF m FOR VALUES IN (4, 5)", '42P17', qr/would overlap/, 'and of bounds');
$n2->fails("CREATE TABLE m5 PARTITION OF m FOR VALUES IN (5) USING heap", '0A000', qr/access method "heap"/, 'no local partition');
$n2->sql("CREATE TABLE here (id int) PARTITION BY LIST (id); CREATE TABLE here1 PARTITION OF here FOR VALUES IN (1); CREATE TABLE alone (region int)");
$n2->fails("ALTER TABLE m ATTACH PARTITION alone FOR VALUES IN (5)", '0A000', qr/not consensus-backed/, 'nor one that was made before');
$n2->fails("ALTER TABLE here ATTACH PARTITION m4 DEFAULT", '0A000', qr/not consensus-backed/, 'no partition of a local table');
$n2->fails("CREATE TABLE here2 PARTITION OF here FOR VALUES IN (2) USING paxos", '0A000', qr/cannot be a partition/, 'nor a new one');
$n2->fails("CREATE TABLE child () INHERITS (m1)", '0A000', qr/inheritance/, 'no inheritance');
$n2->fails("ALTER TABLE m DETACH PARTITION m4 CONCURRENTLY", '0A000', qr/CONCURRENTLY/, 'not concurrently');
$n2->sql("DROP TABLE here, alone");

# ---- rows --------------------------------------------------------------------------------------
$n1->sql("INSERT INTO m (region) SELECT g % 6 FROM generate_series(1, 24) g");
$n2->sql("COPY m (id, region, what) FROM stdin;\n2000000\t7\thigh\n50\t3\tcopied\n\\.\n");
$n3->sql("INSERT INTO m VALUES (2000000, 7, 'again') ON CONFLICT (id, region) DO UPDATE SET what = 'met'");
$n3->sql("MERGE INTO m USING (VALUES (50, 3), (9, 3)) s (i, r) ON id = i AND region = r WHEN MATCHED THEN UPDATE SET region = 1 WHEN NOT MATCHED THEN INSERT (id, region) VALUES (i, r)");
$n1->sql("UPDATE m3 SET what = 'leaf' WHERE id = 9 AND region = 3");
$n1->sql("INSERT INTO m2 (region) VALUES (2)");
is($n1->sql("SELECT paxos_update_if('m4', '{\"id\": 4, \"region\": 4}', '{\"what\": \"function\"}', '{}') IS NULL"), 'f', 'a function on a partition');
$n1->fails("SELECT paxos_cas('m', '{}', '{}', '{}')", '42809', qr/partitioned/, 'on the whole it says what to do');
$n1->fails("UPDATE m4 SET region = 1 WHERE id = 4 AND region = 4", '23514', qr/partition constraint/, 'a statement on a partition keeps to its bounds');
$c->same_everywhere($rows, 'rows are where they belong');
is($n2->sql("SELECT string_agg(tableoid::regclass || ' ' || what, ', ' ORDER BY id) FROM m WHERE what <> 'x'"), 'm4 function, m3 leaf, m1 copied, rest_high met', 'those too that moved');

# ---- from two nodes at once --------------------------------------------------------------------
my ($s1, $s2) = ($n1->session, $n2->session);
$n3->sql("INSERT INTO m VALUES (100, 1, 'moving')");
$c->await_equal;
for my $case (
	[ "UPDATE m SET region = 2 WHERE id = 100 AND region = 1", "UPDATE m SET region = 3 WHERE id = 100 AND region = 1", 'a row moved to two places' ],
	[ "UPDATE m SET region = 3 WHERE id = 100", "UPDATE m SET what = 'stays' WHERE id = 100", 'a row moved, and changed where it was' ],
	[ "UPDATE m SET region = 4 WHERE id = 100", "INSERT INTO m VALUES (100, 4, 'new')", 'a row moved to where another comes' ],
	[ "UPDATE m SET region = 4 WHERE id = 100", "DELETE FROM m1 WHERE id = 100", 'a row moved, and deleted in its partition' ],
	[ "SELECT FROM m WHERE id = 100 FOR UPDATE", "UPDATE m SET region = 2 WHERE id = 100", 'a row locked, and moved' ],
	[ "TRUNCATE m2", "INSERT INTO m VALUES (200, 2)", 'a partition emptied, and a row for it' ],
	[ "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM m; INSERT INTO m VALUES (300, 1)", "INSERT INTO m VALUES (300, 3)", 'all counted, and one more' ])
{
	my ($first, $second, $name) = @$case;

	# The second is the first to be decided: its node knows nothing of the other.
	my $h = held_back($n1, sub {
		$s1->query("BEGIN");
		$s1->query($first =~ s/^BEGIN/SET TRANSACTION/r);
		$n2->sql("BEGIN; $second; COMMIT");
		$s1->ask("COMMIT");
		return undef;
	});
	like($s1->answer, qr/40001/, "$name: one of two nodes is told to try again");
	$s1->query("ROLLBACK");
	$c->await_equal;
	$n2->sql("DELETE FROM m WHERE id IN (100, 200, 300)");
	$n3->sql("INSERT INTO m VALUES (100, 1, 'moving')");
	$c->await_equal;
}
done_testing;
