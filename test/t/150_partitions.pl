# Partitioned consensus tables on three nodes: definitions from all of them, rows that move
# between partitions from two nodes at once, partitions that come and go under load, for a
# node that was away, for a newcomer, and by pg_dump and psql in a fresh cluster.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\npaxos.yield_timeout = '20s'\n");
my $new = PaxosCluster->new(nodes => 1);    # for the dump
$_->await_followers for $c, $new;
my ($n1, $n2, $n3) = my @nodes = $c->nodes;

# Every table and its indexes, and the numbers of columns.
my $definitions = q{SELECT (SELECT string_agg(paxos_table_definition(relid), E'\n' ORDER BY table_id) FROM paxos.tables)
	|| (SELECT string_agg(attrelid::regclass || ' ' || attnum || ' ' || attname, ', ' ORDER BY attrelid::regclass::text, attnum)
		FROM pg_attribute JOIN paxos.tables ON relid = attrelid WHERE attnum > 0 AND NOT attisdropped)
	|| (SELECT string_agg(i.indexrelid::regclass || ' ' || i.indisvalid, ', ' ORDER BY i.indexrelid::regclass::text)
		FROM pg_index i JOIN paxos.tables ON relid = i.indrelid)};
my $rows = q{SELECT string_agg(tableoid::regclass || ' ' || m::text, E'\n' ORDER BY id, region) FROM m};

# ---- definitions -------------------------------------------------------------------------------
my $i = 0;
$nodes[ $i++ % 3 ]->sql_after_barrier($_) for split /;\n/, q{
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
$n3->sql("CREATE TABLE m6 (); CREATE TABLE m1_at_idx ()");
$n1->fails("CREATE TABLE m6 PARTITION OF m FOR VALUES IN (6)", '55000', qr/relation "m6" of that node is in the way/, 'a name that another node has for itself');
$n1->fails("CREATE INDEX ON m (at)", '55000', qr/relation "m1_at_idx" of that node is in the way/, "also of a partition's index");
$n3->sql("DROP TABLE m6, m1_at_idx");
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
	my $h = $n1->held_back(sub {
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

# What was read or locked is all of the table, a partition that was not there yet included.
$n1->sql("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id) USING paxos");
$n1->sql("CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1, 2, 3)");
my $next = 4;
for my $depends ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM p", "LOCK TABLE p IN SHARE MODE")
{
	$c->await_equal;
	$s1->query("BEGIN; $depends; INSERT INTO p VALUES ($next - 3)");
	$n1->held_back(sub {
		$n2->sql("CREATE TABLE p$next PARTITION OF p FOR VALUES IN ($next)");
		$n2->sql("INSERT INTO p VALUES ($next)");
		$s1->ask("COMMIT");
	});
	like($s1->answer, qr/4000[13]/, "a row in a new partition is seen: $depends");
	$s1->query("ROLLBACK");
	is($n3->sql_after_barrier("SELECT count(*) FROM p WHERE id = $next - 3"), 0, 'and nothing comes of the transaction');
	$next++;
}

# A partition that comes while LOCK TABLE waits for the whole: its learner has it made, and not
# committed yet.  (It waits for a second, and tries again; whoever was quicker is told so.)
my $holder = $n1->session;
my $locked;
for my $i (1 .. 20)
{
	$c->await_equal;
	$holder->query("BEGIN; SELECT FROM paxos.replicated FOR UPDATE");
	$n2->sql("CREATE TABLE p$next PARTITION OF p FOR VALUES IN ($next)");
	my $learner = $n1->worker_pid('learner');
	$n1->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE pid = $learner AND relation = 'p'::regclass AND granted");
	$s1->query("BEGIN");
	$s1->ask("LOCK TABLE p IN SHARE MODE");
	$n1->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE pid = $s1->{pid} AND relation = 'p'::regclass");
	$holder->query("ROLLBACK");
	$locked = $s1->answer !~ /ERROR/ && $n1->sql("SELECT to_regclass('p$next') IS NOT NULL") eq 't';
	last if $locked;
	$s1->query("ROLLBACK");
	$next++;
}
ok($locked, 'LOCK TABLE waited for a new partition');
$s1->query("INSERT INTO p VALUES (3)");
$n1->held_back(sub {
	$n2->sql("INSERT INTO p VALUES ($next)");
	$s1->ask("COMMIT");
});
like($s1->answer, qr/4000[13]/, 'and is about that, too');
$s1->query("ROLLBACK");
is($n3->sql_after_barrier("SELECT count(*) FROM p WHERE id = 3"), 0, 'nothing comes of the transaction');
$holder->close;
$n1->sql("SET paxos.ddl = 'all'; CREATE TYPE mood AS ENUM ('good', 'bad')");
$n1->fails("CREATE TABLE q (m mood) PARTITION BY HASH (m) USING paxos", '0A000', qr/by hash of type public.mood/, 'no partition by what each node hashes otherwise');
$n1->sql("DROP TABLE p");
$n1->sql("DROP TYPE mood");
$s1->close;

# ---- a partition for rows that the default one is just getting ----------------------------------
for my $case (
	[ "CREATE TABLE m5 PARTITION OF m FOR VALUES IN (5)", "INSERT INTO m VALUES (500, 5)", 'a new partition, and a row for it on its way to the default one' ],
	[ "ALTER TABLE m DETACH PARTITION m5", "INSERT INTO m VALUES (501, 5)", 'a partition detached, and a row on its way to it' ],
	[ "ALTER TABLE m ATTACH PARTITION m5 FOR VALUES IN (5)", "INSERT INTO m VALUES (502, 5)", 'attached again, and a row on its way to the default one' ],
	[ "DROP TABLE m5", "INSERT INTO m VALUES (503, 5)", 'dropped, and a row on its way to it' ],
	[ "ALTER TABLE m ADD CHECK (id <> 504)", "INSERT INTO m VALUES (504, 1)", 'a constraint of the whole, and a row on its way to a partition' ])
{
	my ($first, $second, $name) = @$case;
	$n1->sql("DELETE FROM rest WHERE region = 5");
	$c->await_equal;

	# Its node does not know the definition yet, when the row is proposed behind it.
	my $h = $n3->held_back(sub {
		$n1->sql($first);
		my $slot = $n1->sql("SELECT applied FROM paxos.replicated");
		my $h = $n3->start_sql("BEGIN; $second; COMMIT");
		$n1->poll_sql("SELECT applied > $slot FROM paxos.replicated");
		return $h;
	});
	my $r = $n3->finish_sql($h);
	is($r->{sqlstate}, '40001', "$name: it is told to try again") or diag($r->{err});
}
is($c->same_everywhere("SELECT string_agg(tableoid::regclass || ' ' || id, ', ' ORDER BY id) FROM m WHERE id BETWEEN 500 AND 510", 'no row where it does not belong'), '', 'none at all');

# ---- partitions come and go under load -----------------------------------------------------------
$n1->sql("CREATE TABLE load_rows (client int, op int, PRIMARY KEY (client, op)) PARTITION BY HASH (op) USING paxos");
$n1->sql("CREATE TABLE load_$_ PARTITION OF load_rows FOR VALUES WITH (MODULUS 3, REMAINDER $_)") for 0 .. 2;
$c->await_equal;
my $load = $c->start_load(statement => q{INSERT INTO load_rows VALUES ($1::int, $2::int) RETURNING true}, clients => 1);
$c->await_acknowledged($load, 10);
my $changes = 0;
for my $round (1 .. 4)
{
	my $n = $nodes[ $round % 3 ];
	for my $sql ("ALTER TABLE load_rows DETACH PARTITION load_1", "ALTER TABLE load_rows ATTACH PARTITION load_1 FOR VALUES WITH (MODULUS 3, REMAINDER 1)", "CREATE INDEX load_index ON load_rows (op)", "DROP INDEX load_index")
	{
		my $then = PaxosCluster::now();
		my $r;
		do { $r = $n->try($sql) } while $r->{sqlstate} eq '40001';		# it was in the log's way
		die "$sql: $r->{err}\n" unless $r->{ok};
		$changes++;
		$c->await_acknowledged($load, 2, $then);
	}
}

# What is dropped elsewhere may go while a statement here looks at it.
my $s3;
($s1, $s3) = ($n1->session, $n3->session);
$n3->sql("SELECT paxos_barrier()");		# the statements before came from another node
for my $round (1 .. 12)
{
	for my $step ([ $s3, "CREATE INDEX load_index ON load_rows (op)" ], [ $s3, "DROP INDEX load_index" ],
		[ $s1, "ALTER TABLE load_rows DETACH PARTITION load_1" ],
		[ $s1, "ALTER TABLE load_rows ATTACH PARTITION load_1 FOR VALUES WITH (MODULUS 3, REMAINDER 1)" ])
	{
		my ($s, $sql) = @$step;
		my $answer;
		do { $answer = $s->query($sql) } while $answer =~ /40001/;
		die "$sql: $answer\n" if $answer =~ /ERROR/;
	}
}
my $records = $c->finish_load($load);
my %said = map { $_->[5] => 1 } grep { $_->[2] ne 'A' } @$records;
is(join(' ', grep { !/^(40001|40003|57P01|23514)$/ } sort keys %said), '', "under load, $changes changes of the tree: writers are told to try again, or that there is no partition, and nothing else");
$c->check_inserts($records, 'partitions come and go');
is($c->same_everywhere("SELECT count(*) FROM load_rows WHERE NOT satisfies_hash_partition('load_rows'::regclass, 3, substr(tableoid::regclass::text, 6)::int, op)", 'all rows'), 0, 'are in their partitions');

# ---- away, and new -------------------------------------------------------------------------------
$n3->stop;
$c->await_leader;
$n1->sql($_) for split /;\n/, q{
CREATE TABLE m8 PARTITION OF m FOR VALUES IN (8) PARTITION BY HASH (id);
CREATE TABLE m8a PARTITION OF m8 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE m8b PARTITION OF m8 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO m (region, what) SELECT 8, 'eight' FROM generate_series(1, 10);
ALTER TABLE m DETACH PARTITION m3;
CREATE INDEX unattached ON ONLY m (at);
ALTER TABLE m ADD COLUMN later int DEFAULT 8;
DROP TABLE load_rows};
$n3->start;
$c->same_everywhere($definitions, 'a node that was away has the same definitions');
$c->same_everywhere($rows, 'and rows');
my $n4 = $c->add_newcomer('four', cut => 50);
$c->same_everywhere($definitions, 'a newcomer, too, with the same numbers of columns and the same indexes');
$c->same_everywhere($rows, 'and rows');
$n4->sql("INSERT INTO m (region, what) VALUES (8, 'new'), (1, 'new'), (9, 'new')");
$n4->sql("INSERT INTO m2 (region, what) VALUES (2, 'new')");
$n4->sql("UPDATE m SET region = 2 WHERE region = 1 AND what = 'new'");
$n4->sql("ALTER TABLE m DROP CONSTRAINT young");
$n4->sql("CREATE TABLE m9 PARTITION OF m FOR VALUES IN (10)");
$c->same_everywhere($definitions, 'it changes definitions');
$c->same_everywhere($rows, 'and rows as others do');
is($n4->sql("SELECT count(*) FROM paxos.alarms"), 0, 'without an alarm');
is($n4->sql("SELECT bool_and(agrees) FROM paxos_verify('m8a')"), 't', 'and holds the rows that the others hold');

# ---- a dump --------------------------------------------------------------------------------------
$n1->sql("CREATE TABLE a_local (id int) PARTITION BY LIST (id)");
$n1->sql("CREATE TABLE b_local PARTITION OF a_local FOR VALUES IN (1)");
$n1->sql("CREATE TABLE z_local (id serial, z int) PARTITION BY LIST (id); CREATE TABLE z1_local PARTITION OF z_local FOR VALUES IN (1); COMMENT ON TABLE z_local IS 'local'");
$n1->sql("ALTER SEQUENCE m_id_seq RESTART 100000");
sub dumped
{
	my ($n) = @_;
	my $file = "$n->{dir}/dump.sql";
	$n->run('dump', 'pg_dump', '-d', $n->conninfo, '-f', $file);
	return PaxosCluster::Node::slurp($file) =~ s/^\\(un)?restrict .*//mgr;    # a number drawn for each dump
}
my $dump = dumped($n1);
my $m = $new->node(1);
$m->run('restore', 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $m->conninfo, '-f', "$n1->{dir}/dump.sql");
is(dumped($m), $dump, 'psql restores the dump in a fresh cluster, where it is dumped the same');
my $ours = "SELECT string_agg(relid::regclass::text, ' ' ORDER BY relid::regclass::text) FROM paxos.tables";
is($m->sql($ours), $n1->sql($ours), 'the same tables are consensus-backed there');
$m->sql("INSERT INTO m (region) VALUES (1), (8)");
done_testing;
