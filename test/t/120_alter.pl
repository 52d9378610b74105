# Definitions changed through the log on three nodes: while others write, from two nodes at
# once, on a node that was away, and for a newcomer, whose columns get the same numbers.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;

# Everything about a table that ALTER, COMMENT and GRANT can change.
sub definition
{
	my ($table) = @_;
	return "SELECT string_agg(d, ' | ' ORDER BY d) FROM (SELECT paxos_table_definition('$table') AS d"
	  . " UNION ALL SELECT attnum || ' ' || attname FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0"
	  . " UNION ALL SELECT coalesce(relacl::text, '') FROM pg_class WHERE oid = '$table'::regclass"
	  . " UNION ALL SELECT attname || attacl::text FROM pg_attribute WHERE attrelid = '$table'::regclass AND attacl IS NOT NULL"
	  . " UNION ALL SELECT altered::text FROM paxos.tables WHERE relid = '$table'::regclass) x";
}

# ---- while others write ------------------------------------------------------------------
$n1->sql("CREATE TABLE t (id bigserial PRIMARY KEY, client int, op int, junk text DEFAULT 'junk') USING paxos");
$_->sql("CREATE ROLE clerk") for $n1, $n2, $n3;
$c->await_equal;
my $keyed = $c->start_load(statement => q{INSERT INTO t (client, op) VALUES ($1::int, $2::int) RETURNING true}, clients => 1);
my $sets = $c->start_load(statement => q{WITH i AS (INSERT INTO t (client, op) SELECT 100 + $1::int, $2::int FROM generate_series(1, 2) RETURNING id) SELECT count(*) = 2 FROM i}, clients => 1);
$c->await_acknowledged($_, 10) for $keyed, $sets;
my @statements = (
	"ALTER TABLE t ADD COLUMN added int NOT NULL DEFAULT 7",
	"ALTER TABLE t DROP COLUMN junk",
	"ALTER TABLE t ALTER COLUMN op TYPE text",
	"ALTER TABLE t RENAME COLUMN added TO later",
	"ALTER TABLE t ADD CONSTRAINT certain CHECK (later > 0), ADD COLUMN at timestamptz DEFAULT now()",
	"COMMENT ON COLUMN t.later IS 'came later'",
	"GRANT SELECT, UPDATE (later) ON t TO clerk",
	"CREATE INDEX t_op ON t (op)",
	"ALTER INDEX t_op RENAME TO by_op",
	"ALTER TABLE t ALTER COLUMN op TYPE int USING op::int");
my $i = 0;
for my $sql (@statements)
{
	my $n = ($n1, $n2, $n3)[ $i++ % 3 ];
	$n->sql("SELECT paxos_barrier()");
	my $r;
	do { $r = $n->try($sql) } while $r->{sqlstate} eq '40001';		# it was in the log's way
	die "$sql: $r->{err}\n" unless $r->{ok};
	my $then = PaxosCluster::now();
	$c->await_acknowledged($_, 2, $then) for $keyed, $sets;
}
my @keyed = @{ $c->finish_load($keyed) };
my @sets = @{ $c->finish_load($sets) };
my @records = (@keyed, @sets);
my @strange = map { "$_->[2] $_->[5]" } ((grep { $_->[2] ne 'A' && $_->[5] ne '40001' } @keyed), (grep { $_->[2] ne 'A' && $_->[5] !~ /^4000[13]$/ } @sets));		# 40003: in the way, when sent
is(join('; ', @strange), '', 'whoever was in the way was told to try again, or, of a set that was sent, that it is unknown, and nothing else');
$c->same_everywhere(definition('t'), 'one definition everywhere: ' . scalar(@statements) . ' statements');
$c->same_everywhere("SELECT count(*), sum(hashtext(t::text)) FROM t", 'and the same rows');
my $acknowledged = grep { $_->[2] eq 'A' } @records;
cmp_ok($n1->sql("SELECT count(*) FROM (SELECT client, op FROM t GROUP BY 1, 2) x"), '>=', $acknowledged, 'nothing acknowledged is missing');
is($n2->sql("SELECT count(*) FROM t WHERE later IS DISTINCT FROM 7"), 0, 'no row lacks the default of the new column, whoever inserted it when');

# ---- written for another definition --------------------------------------------------------
$n1->sql("CREATE TABLE u (id int PRIMARY KEY, v int) USING paxos");
$c->await_equal;
my $h = $n2->held_back(sub {
	$n1->sql("ALTER TABLE u ADD COLUMN w int NOT NULL DEFAULT 3");
	my $h = $n2->start_sql("INSERT INTO u VALUES (1, 1)");
	$n1->poll_sql("SELECT count(*) = 1 FROM paxos.log WHERE slot > (SELECT max(slot) FROM paxos.log WHERE description LIKE 'ALTER TABLE public.u%')");
	return $h;
});
is($n2->finish_sql($h)->{sqlstate}, '40001', 'a statement written for another definition is told to try again');
is($n2->sql("SELECT count(*) FROM u"), 0, 'and has done nothing');
$h = $n2->held_back(sub {
	$n1->sql("ALTER TABLE u ADD COLUMN x int NOT NULL DEFAULT 4, DROP COLUMN v");
	my $h = $n2->start_sql(q{SELECT paxos_upsert('u', '{"id": 2}', '00000000-0000-0000-0000-000000000002')});
	$n1->poll_sql("SELECT count(*) = 1 FROM paxos.log WHERE slot > (SELECT max(slot) FROM paxos.log WHERE description LIKE 'ALTER TABLE public.u%')");
	return $h;
});
is($n2->finish_sql($h)->{sqlstate}, '00000', 'a function makes the command anew, under its request id');
is($n2->sql("SELECT u::text FROM u"), '(2,3,4)', 'with the defaults of what is there now');
is($n2->sql("SELECT outcome FROM paxos_outcome('00000000-0000-0000-0000-000000000002')"), 'applied', 'and that is remembered');
$c->same_everywhere("SELECT u::text FROM u", 'the same everywhere');

# ---- from two nodes at once ----------------------------------------------------------------
for my $case (
	[ "ALTER TABLE u ADD COLUMN y int", "ALTER TABLE u ADD COLUMN y text", '42701', 'the same column' ],
	[ "ALTER TABLE u DROP COLUMN y", "CREATE INDEX ON u (y)", '42703', 'an index of a column that goes' ],
	[ "ALTER TABLE u DROP COLUMN x", "COMMENT ON COLUMN u.x IS 'x'", '42703', 'a comment on a column that goes' ],
	[ "ALTER TABLE u RENAME TO v", "ALTER TABLE u ADD COLUMN z int", '42P01', 'a table that is called otherwise' ],
	[ "ALTER TABLE v ADD CONSTRAINT one CHECK (id < 100)", "ALTER TABLE v ADD CONSTRAINT one CHECK (id < 50)", '42710', 'the same constraint' ],
	[ "DROP TABLE v", "ALTER TABLE v ADD COLUMN z int", '42P01', 'a table that goes' ])
{
	my ($first, $second, $state, $name) = @$case;
	$h = $n3->held_back(sub {
		$n1->sql($first);
		my $slot = $n1->sql("SELECT applied FROM paxos.replicated");
		my $h = $n3->start_sql($second);
		$n1->poll_sql("SELECT applied > $slot FROM paxos.replicated");
		return $h;
	});
	is($n3->finish_sql($h)->{sqlstate}, $state, "$name: what PostgreSQL says");
}
$c->await_equal;

# ---- what the rows do not allow --------------------------------------------------------------
$n1->sql("CREATE TABLE r (id int PRIMARY KEY, v text) USING paxos");
$n1->sql("INSERT INTO r VALUES (1, 'one'), (2, '2'), (3, '3'), (4, '999999999999')");
$c->await_equal;
$n2->fails("ALTER TABLE r ALTER COLUMN v TYPE int USING v::int", '22000', qr/do not allow/, 'a conversion that fails');
$n3->fails("ALTER TABLE r ADD CHECK (v <> '3')", '23514', qr/violated/, 'a check that does not hold');
$n3->fails("ALTER TABLE r ADD COLUMN w uuid DEFAULT gen_random_uuid()", '0A000', qr/volatile/, 'values that would differ');
$n1->sql("DELETE FROM r WHERE id IN (1, 4)");
$n2->sql_after_barrier("ALTER TABLE r ADD COLUMN at timestamp DEFAULT '2020-01-01'");
$n2->fails("ALTER TABLE r ALTER COLUMN at TYPE timestamptz", '0A000', qr/type timestamp with time zone is not immutable/, 'a conversion by settings of the session');
$n2->sql("ALTER DATABASE postgres SET DateStyle = 'German, DMY'; ALTER DATABASE postgres SET extra_float_digits = 0");
$n2->sql("ALTER TABLE r ALTER COLUMN at TYPE timestamptz USING at AT TIME ZONE 'Asia/Tokyo', ALTER COLUMN v TYPE float8 USING v::float8 / 3");
$n2->sql("ALTER TABLE r ALTER COLUMN v TYPE text, ADD COLUMN d date DEFAULT '02.01.2020'");
is($c->same_everywhere("SET TimeZone = 'UTC'; SET DateStyle = ISO; SELECT string_agg(r::text, ' ' ORDER BY id) FROM r", 'what is called immutable and depends on settings'),
	'(2,0.666666666666667,"2019-12-31 15:00:00+00",2020-01-02) (3,1,"2019-12-31 15:00:00+00",2020-01-02)', 'means what it means there');
$n2->sql("ALTER DATABASE postgres RESET DateStyle; ALTER DATABASE postgres RESET extra_float_digits");

# ---- said before it is sent --------------------------------------------------------------------
$n1->sql("CREATE ROLE local_clerk");
$n1->fails("GRANT SELECT ON r TO local_clerk", '55000', qr/role "local_clerk" does not exist/, 'a role that other nodes lack');
$n1->fails("ALTER TABLE r OWNER TO local_clerk", '55000', qr/role "local_clerk" does not exist/, 'also as owner');
$n1->sql("CREATE SCHEMA here");
$n1->fails("ALTER TABLE r SET SCHEMA here", '55000', qr/schema "here" does not exist/, 'a schema that other nodes lack');

# ---- away, and new -----------------------------------------------------------------------------
$n3->stop;
$c->await_leader;
$n1->sql("ALTER TABLE t DROP COLUMN at");
$n2->sql_after_barrier("ALTER TABLE t ADD COLUMN at date DEFAULT current_date");
$n2->sql("ALTER TABLE t ALTER COLUMN client SET STATISTICS 50, ALTER COLUMN later SET (n_distinct = 1)");
$n1->sql_after_barrier("ALTER TABLE t ADD CONSTRAINT noneyet CHECK (later > 100) NOT VALID");
$n1->sql("COMMENT ON TABLE t IS 'the table'");
$n1->sql("COMMENT ON INDEX by_op IS 'the index'");
$n1->sql("COMMENT ON CONSTRAINT certain ON t IS 'the constraint'");
$n1->sql("GRANT UPDATE ON SEQUENCE t_id_seq TO clerk");
$n3->start;
$c->same_everywhere(definition('t'), 'a node that was away has the same definition');
is($n3->sql_after_barrier("SELECT has_sequence_privilege('clerk', pg_get_serial_sequence('t', 'id'), 'UPDATE')"), 't', 'and privileges');

# Sequences that have other names there: a snapshot that made them by the rule, and then
# something of the name they got, could be loaded nowhere.
for my $q ('qs', 'rs', 'ks')
{
	$n1->sql("CREATE TABLE before_$q (id serial PRIMARY KEY, v int) USING paxos");
	$n1->sql("ALTER TABLE before_$q RENAME TO $q");
}
$n1->sql("ALTER INDEX before_ks_pkey RENAME TO ks_id_seq");
$n1->sql("CREATE TABLE qs_id_seq (id int PRIMARY KEY) USING paxos");
$n1->sql("CREATE INDEX rs_id_seq ON rs (v)");
$n1->sql("ALTER TABLE rs ALTER COLUMN v SET DEFAULT 1");

my $n4 = $c->add_newcomer('four', cut => 50, roles => ['clerk']);
$c->same_everywhere(definition('t'), 'a newcomer has the same definition, with the same numbers of columns');
$n1->sql("SELECT paxos_update_if('t', jsonb_build_object('id', min(id)), '{\"at\": \"2020-02-02\", \"later\": 101}', '{}') FROM t");
$n4->sql_after_barrier("UPDATE t SET later = 102 WHERE at = '2020-02-02'");
$n4->sql("ALTER TABLE t ADD COLUMN last int DEFAULT 1");
$n4->sql("INSERT INTO t (client, op, later) VALUES (1000, 1000, 1000)");
is($c->same_everywhere("SELECT string_agg(later || ' ' || last, ', ' ORDER BY later) FROM t WHERE later > 100", 'and changes rows as others do'), '102 1, 1000 1', 'the right columns');
$c->same_everywhere("SELECT count(*), sum(hashtext(t::text)) FROM t", 'all rows');
$n4->sql("INSERT INTO qs (v) VALUES (1)");
$n4->sql("INSERT INTO rs DEFAULT VALUES");
$n4->sql("INSERT INTO ks (v) VALUES (1)");
is($c->same_everywhere("SELECT pg_get_constraintdef(oid) || conname FROM pg_constraint WHERE conrelid = 'ks'::regclass", 'a key'), 'PRIMARY KEY (id)ks_id_seq', 'with the name of its own sequence');
is($c->same_everywhere("SELECT (SELECT count(*) FROM qs) || to_regclass('qs_id_seq')::text || pg_get_indexdef('rs_id_seq'::regclass)", 'sequences gave way'),
	'1qs_id_seqCREATE INDEX rs_id_seq ON public.rs USING btree (v)', 'to what has their names');
is($n4->sql("SELECT count(*) FROM paxos.alarms"), 0, 'without an alarm');
# ---- what takes long says so first -----------------------------------------------------------
$n2->sql_after_barrier("CREATE TABLE large (id int PRIMARY KEY, v text) USING paxos");
$n2->sql("INSERT INTO large SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 15000) i");
for my $sql ("CREATE INDEX large_v ON large (md5(v))", "ALTER TABLE large ALTER COLUMN v SET NOT NULL", "ALTER TABLE large ADD CHECK (v <> '')")
{
	my $r = $n2->try($sql);
	ok($r->{ok} && $r->{err} =~ /NOTICE:.*table "large" has \d+ MB: writes wait on all nodes until its rows are read/, "a notice before: $sql") or diag($r->{err});
}
done_testing;
