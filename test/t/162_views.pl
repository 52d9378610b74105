# Views over consensus tables: made, changed and dropped on all nodes at one slot; read and
# written through; for a newcomer.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my ($n1, $n2, $n3) = my @n = $c->nodes;
$_->sql("CREATE ROLE clerk") for @n;
$n1->sql($_)
  for "CREATE TABLE t (id int PRIMARY KEY, v int, w text DEFAULT 'w', secret text) USING paxos",
  "CREATE TABLE u (id int PRIMARY KEY, t int) USING paxos",
  "INSERT INTO t SELECT i, i * 10, 'w' || i, 's' FROM generate_series(1, 5) i",
  "INSERT INTO u SELECT i, i FROM generate_series(1, 3) i";

sub everywhere
{
	my ($sql, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql($sql), $expected, "$name, on node $_->{number}") for @n;
}

# ---- made, and read ---------------------------------------------------------------------
$n1->sql_after_barrier("CREATE VIEW plain AS SELECT id, v, w FROM t WHERE v >= 20");
$n2->sql_after_barrier("CREATE VIEW joined (a, b) AS SELECT t.v, count(*) FROM t JOIN u ON u.t = t.id GROUP BY 1 ORDER BY 1");
$n3->sql_after_barrier("CREATE VIEW over AS SELECT a + 1 AS a1 FROM joined");
everywhere("SELECT string_agg(id || w, ' ' ORDER BY id) FROM plain", '2w2 3w3 4w4 5w5', 'a view');
everywhere("SELECT string_agg(a || ':' || b, ' ') FROM joined", '10:1 20:1 30:1', 'of two tables, with names for its columns');
everywhere("SELECT sum(a1) FROM over", '63', 'over another view');
$c->same_everywhere("SELECT string_agg(object_id || identity || definition || altered, '; ' ORDER BY object_id) FROM paxos.objects", 'the same objects');
$n1->sql_after_barrier("CREATE VIEW odd AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT n, (SELECT max(v) FROM t) AS m, CASE WHEN n > 1 THEN 'a' || E'\\\\\\'' END AS \"A b\" FROM r");
$c->same_everywhere("SELECT string_agg(odd::text, ' ') FROM odd", 'an odd one');
$n1->fails("CREATE VIEW plain AS SELECT 1 FROM t", '42P07', qr/already exists/, 'its name is taken');
$n1->fails("CREATE VIEW bad AS SELECT nothing FROM t", '42703', qr/column "nothing" does not exist/, "PostgreSQL's errors");

# ---- written through -----------------------------------------------------------------------
$n2->sql_after_barrier("INSERT INTO plain (id, v) VALUES (6, 60)");
$n3->sql_after_barrier("UPDATE plain SET v = v + 1 WHERE id = 2");
$n1->sql_after_barrier("BEGIN; DELETE FROM plain WHERE v > 45; INSERT INTO plain VALUES (7, 70, 'x'); COMMIT");
everywhere("SELECT string_agg(id || ':' || v || w, ' ' ORDER BY id) FROM t", '1:10w1 2:21w2 3:30w3 4:40w4 7:70x', 'INSERT, UPDATE, DELETE');
is($n2->sql_after_barrier("INSERT INTO plain (id, v) VALUES (8, 80) RETURNING w"), 'w', "the table's default");
$n2->sql_after_barrier("INSERT INTO plain (id, v) VALUES (8, 81) ON CONFLICT (id) DO UPDATE SET v = excluded.v");
$n1->sql_after_barrier("CREATE VIEW checked AS SELECT id, v FROM t WHERE v < 100 WITH CHECK OPTION");
$n2->fails("INSERT INTO checked VALUES (9, 900)", '44000', qr/violates check option for view "checked"/, 'WITH CHECK OPTION');
$n3->fails("UPDATE checked SET v = 900 WHERE id = 1", '44000', qr/violates check option/, 'an update of one row by its key');
everywhere("SELECT count(*) FROM t WHERE v >= 100", '0', 'and nothing of it is there');
$n1->sql_after_barrier("CREATE VIEW barrier WITH (security_barrier) AS SELECT id, v FROM t WHERE id < 4");
$n2->sql_after_barrier("UPDATE barrier SET v = -v WHERE id = 3");
everywhere("SELECT v FROM t WHERE id = 3", '-30', 'through a security barrier');

# ---- changed ------------------------------------------------------------------------------------
$n2->sql_after_barrier("CREATE OR REPLACE VIEW plain AS SELECT id, v, w, 'new'::text AS more FROM t");
everywhere("SELECT more FROM plain WHERE id = 1", 'new', 'OR REPLACE');
$n2->fails("CREATE OR REPLACE VIEW plain AS SELECT 1 AS other FROM t", '42P16', qr/cannot drop columns from view/, 'which has limits');
$n3->sql($_)
  for "ALTER VIEW plain RENAME COLUMN more TO less", "ALTER VIEW plain RENAME TO simple", "ALTER VIEW simple ALTER COLUMN w SET DEFAULT 'from ' || 'view'",
  "ALTER VIEW simple SET (security_barrier = true)", "ALTER VIEW simple OWNER TO clerk", "COMMENT ON VIEW simple IS 'a view'", "COMMENT ON COLUMN simple.v IS 'a column'",
  "GRANT SELECT, UPDATE (v) ON simple TO PUBLIC", "GRANT SELECT ON t TO clerk", "GRANT INSERT ON t, u TO clerk";
$n1->sql_after_barrier("INSERT INTO simple (id, v) VALUES (10, 1)");
everywhere("SELECT w || less FROM simple WHERE id = 10", 'from viewnew', 'ALTER VIEW');
my $all = "SELECT string_agg(x, ' | ' ORDER BY x) FROM (SELECT identity || definition || altered AS x FROM paxos.objects"
  . " UNION ALL SELECT relname || relacl::text || pg_get_userbyid(relowner) || obj_description(oid, 'pg_class') || col_description(oid, 2) FROM pg_class WHERE relname = 'simple'"
  . " UNION ALL SELECT attname || attacl::text FROM pg_attribute WHERE attrelid = 'simple'::regclass AND attacl IS NOT NULL"
  . " UNION ALL SELECT column_name || column_default FROM information_schema.columns WHERE table_name = 'simple' AND column_default IS NOT NULL) x";
$c->same_everywhere($all, 'all of it the same');
$n1->sql_after_barrier("ALTER TABLE t RENAME COLUMN v TO value");
$n1->sql_after_barrier("ALTER TABLE t ADD COLUMN last int");
everywhere("SELECT sum(v) FROM checked", $n1->sql_after_barrier("SELECT sum(value) FROM t WHERE value < 100"), 'the table is changed below');
$n2->fails("ALTER TABLE t ALTER COLUMN value TYPE bigint", '0A000', qr/cannot alter type of a column used by a view or rule/, 'but not the type of a column that a view shows');
$n2->fails("ALTER TABLE t DROP COLUMN value", '2BP01', qr/cannot drop column value of table \S+ because other objects depend on it/, 'nor is it dropped');
$n2->sql_after_barrier("ALTER TABLE t ALTER COLUMN secret TYPE varchar(10)");

# ---- what stays a matter of one node ---------------------------------------------------------
$n1->sql_after_barrier("CREATE TABLE own (id int)");
$n1->sql_after_barrier("CREATE VIEW of_own AS SELECT * FROM own");
is($n2->sql_after_barrier("SELECT to_regclass('of_own') IS NULL"), 't', 'a view of what is local is local');
$n1->fails("CREATE VIEW mixed AS SELECT * FROM own JOIN t USING (id)", '0A000', qr/view mixed would depend on consensus-backed table/, 'one of both is refused');
$n1->fails("CREATE TEMP VIEW short AS SELECT * FROM t", '0A000', qr/would depend on consensus-backed table/, 'so is a temporary one');
$n1->fails("CREATE OR REPLACE VIEW simple AS SELECT t.id, t.value AS v, t.w, 'new'::text AS less FROM t, own", '0A000', qr/refers to table own, which is local to this node/, 'and a change into one');
$n1->fails("ALTER TABLE t SET ACCESS METHOD heap", '2BP01', qr/objects of all nodes depend on it/, 'a table with views stays what it is');
$n1->fails("CREATE RULE r AS ON INSERT TO simple DO INSTEAD NOTHING", '0A000', qr/CREATE RULE is not supported/, 'no rules on it');
$n1->sql_after_barrier("SET paxos.ddl = 'all'; CREATE VIEW constant AS SELECT 1 AS one");
everywhere("SELECT one FROM constant", 1, 'paxos.ddl = all: any view');

# ---- dropped ----------------------------------------------------------------------------------
$n1->fails("DROP VIEW joined", '2BP01', qr/cannot drop view joined because other objects depend on it/, 'RESTRICT');
$n2->fails("DROP TABLE u", '2BP01', qr/cannot drop table u because other objects depend on it/, 'RESTRICT, of a table');
my $reader = $n3->session;
$reader->query($_) for "BEGIN", "SELECT * FROM joined";
$n2->sql_after_barrier("DROP TABLE u CASCADE");
$reader->close;
everywhere("SELECT to_regclass('joined') IS NULL AND to_regclass('over') IS NULL", 't', 'CASCADE takes views along, and those over them');
$n3->sql_after_barrier("DROP VIEW odd, checked");
$n3->sql_after_barrier("DROP VIEW IF EXISTS nothing");
everywhere("SELECT string_agg(identity, ' ' ORDER BY identity) FROM paxos.objects", 'public.barrier public.constant public.simple', 'what is left');

# While others write and read.
my $load = $c->start_load(statement => q{UPDATE t SET value = $1::int + $2::int WHERE id = 1 RETURNING true}, clients => 1);
$c->await_acknowledged($load, 5);
for my $i (1 .. 5)
{
	$n[ $i % 3 ]->sql_after_barrier("CREATE VIEW w$i AS SELECT id, value FROM t");
	$n[ ($i + 1) % 3 ]->sql_after_barrier("DROP VIEW w$i");
}
my @records = @{ $c->finish_load($load) };
is(join(' ', grep { $_ !~ /^40001$/ } map { $_->[5] } grep { $_->[2] ne 'A' } @records), '', 'while others write');

# ---- a member that comes later -------------------------------------------------------------------
my $n4 = $c->add_newcomer('four', cut => 10, roles => ['clerk']);
$c->same_everywhere($all, 'a newcomer has them, with all that belongs to them');
$n4->sql("INSERT INTO simple (id, v) VALUES (50, 5)");
$c->same_everywhere("SELECT count(*), sum(value) FROM t", 'and writes through them');
$c->await_equal;
is($_->sql("SELECT count(*) FROM paxos.alarms"), 0, "no alarm on node $_->{number}") for @n, $n4;
done_testing;
