# Exclusion constraints and deferrable unique keys: kept where a statement runs, and between
# nodes by the verdict; made, altered and dropped through the log.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;

$n[0]->sql($_)
  for "CREATE TABLE booking (id int PRIMARY KEY, during int4range NOT NULL, EXCLUDE USING gist (during WITH &&)) USING paxos",
  "CREATE TABLE place (id int PRIMARY KEY, at int UNIQUE DEFERRABLE INITIALLY DEFERRED, now int UNIQUE DEFERRABLE) USING paxos",
  "CREATE TABLE loose (v int, CONSTRAINT only_once UNIQUE (v) DEFERRABLE) USING paxos";
my $constraints = "SELECT string_agg(conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid), '; ' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE contype IN ('x', 'u') AND connamespace = 'public'::regnamespace";
is($c->same_everywhere($constraints, 'constraints'),
	'booking booking_during_excl EXCLUDE USING gist (during WITH &&); loose only_once UNIQUE (v) DEFERRABLE; '
	  . 'place place_at_key UNIQUE (at) DEFERRABLE INITIALLY DEFERRED; place place_now_key UNIQUE (now) DEFERRABLE', 'are as they were written');
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE) USING paxos", '0A000', qr/a deferrable primary key/, 'but no deferrable primary key');
$n[0]->fails("ALTER TABLE loose ADD PRIMARY KEY (v) DEFERRABLE", '0A000', qr/a deferrable primary key/, 'nor later');

# Where a statement runs.
$n[0]->sql("INSERT INTO booking VALUES (1, '[1,5)'), (2, '[5,9)')");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("INSERT INTO booking VALUES (3, '[8,12)')", '23P01', qr/booking_during_excl/, 'what overlaps is refused');
is($n[1]->sql("INSERT INTO booking VALUES (4, '[8,12)') ON CONFLICT DO NOTHING RETURNING id"), '', 'or nothing');
$n[1]->sql("BEGIN; DELETE FROM booking WHERE id = 2; INSERT INTO booking VALUES (3, '[5,7)'); UPDATE booking SET during = '[2,4)' WHERE id = 1; COMMIT");
is($c->same_everywhere("SELECT string_agg(id || ':' || during, ' ' ORDER BY id) FROM booking", 'rows come and go'), '1:[2,4) 3:[5,7)', 'in one transaction');
$n[2]->sql_after_barrier("INSERT INTO place SELECT i, i, i FROM generate_series(1, 4) i");
$n[0]->sql_after_barrier("UPDATE place SET now = now + 1");
$n[0]->sql("BEGIN; UPDATE place SET at = 2 WHERE id = 1; UPDATE place SET at = 1 WHERE id = 2; COMMIT");
is($c->same_everywhere("SELECT string_agg(id || ':' || at || ':' || now, ' ' ORDER BY id) FROM place", 'values moved along and exchanged'), '1:2:2 2:1:3 3:3:4 4:4:5', 'and all is well at the end');
$n[0]->fails("BEGIN; UPDATE place SET at = 3 WHERE id = 1; COMMIT", '23505', qr/place_at_key/, 'or is refused there');
$n[0]->sql("INSERT INTO loose VALUES (1), (2)");
$n[0]->fails("INSERT INTO loose VALUES (2)", '23505', qr/only_once/, 'without a primary key too');
$n[1]->sql_after_barrier("SELECT 1");

# What every node would do at the slot by itself.
for my $table ('booking', 'place')
{
	$n[0]->fails("SELECT paxos_delete_if('$table', '{\"id\": 1}', '{}')", '0A000', qr/deferrable or exclude/, "a keyed operation on $table");
	unlike($n[0]->sql("EXPLAIN DELETE FROM $table WHERE id = 1"), qr/Paxos/, 'nor has a statement that form');
}

# Two nodes at once: neither has seen the other, and the second in the log is lost, also where the
# two values are not equal.
my @s = map { $_->session } @n;
for my $case ('INSERT INTO booking VALUES (%d, int4range(%1$d - 80, %1$d - 60))', "INSERT INTO place VALUES (%d, 77, %1\$d)", "INSERT INTO loose SELECT 78 WHERE %d > 0")
{
	$c->await_equal;
	$_->query("BEGIN") for @s[ 0, 1 ];
	for my $i (0, 1) { unlike($s[$i]->query(sprintf $case, 100 + $i), qr/ERROR/, "$case on node $i") }
	$s[$_]->ask("COMMIT") for 0, 1;
	my @said = map { $s[$_]->answer } 0, 1;
	is(scalar(grep { /ERROR:\s+40001/ } @said), 1, 'one of them is lost') or diag "@said";
}
$c->await_equal;
is($c->same_everywhere("SELECT count(*) FROM booking WHERE during && '[20,42)'", 'bookings'), 1, 'of which there is one');

# An open transaction of another node is in the way of what comes from the log.
for (1 .. 10)
{
	my $said = $s[2]->query("BEGIN; INSERT INTO booking VALUES (200, '[40,50)'); INSERT INTO place VALUES (200, 200, 200)");
	last if $said !~ /ERROR|FATAL|lost/;
	$s[2]->query("ROLLBACK");		# cancelled in vain, for what its last transaction had held
}
$n[0]->sql("INSERT INTO booking VALUES (201, '[45,46)')");
$n[0]->sql("INSERT INTO place VALUES (201, 200, 200)");
$c->await_equal;
like($s[2]->end, qr/40001|57P01|25P01/, "who was slower makes way");		# 25P01: ended, and connected again
is($c->same_everywhere("SELECT (SELECT string_agg(id::text, ' ') FROM booking WHERE id >= 200) || '/' || (SELECT string_agg(id::text, ' ') FROM place WHERE id >= 200)", 'what stands'), '201/201', 'is the faster');

# Who switches the triggers off that check: told so; and if he finds a way, it holds nobody up.
$n[0]->sql_after_barrier("SELECT 1");
$n[0]->fails("SET session_replication_role = replica; INSERT INTO place VALUES (500, 200, 500)", '0A000', qr/session_replication_role.*deferrable/s, 'nothing unchecked');
$n[0]->sql("SET session_replication_role = replica; DELETE FROM place WHERE id = 4; INSERT INTO booking VALUES (500, '[90,91)')");
$n[0]->sql($_)
  for q{CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('session_replication_role', 'origin', false); RETURN NULL; END $$},
  "CREATE TRIGGER a AFTER INSERT ON place FOR EACH ROW EXECUTE FUNCTION back()", "ALTER TABLE place ENABLE ALWAYS TRIGGER a",
  "SET session_replication_role = replica; INSERT INTO place VALUES (501, 200, 501)";
is($c->same_everywhere("SELECT count(*) FROM place WHERE at = 200", 'what was not checked'), 2, 'is there for all nodes');
$n[0]->sql("DELETE FROM place WHERE id = 501");
$n[0]->sql("DROP TRIGGER a ON place");

# Added and dropped later.
$n[1]->sql_after_barrier("ALTER TABLE booking DROP CONSTRAINT booking_during_excl");
$n[1]->sql("INSERT INTO booking VALUES (300, '[45,46)')");
$n[2]->sql_after_barrier("SELECT 1");
$n[2]->fails("ALTER TABLE booking ADD EXCLUDE USING gist (during WITH &&)", '23P01', qr/booking_during_excl|do not allow/, 'rows that do not allow it');
$n[2]->sql("DELETE FROM booking WHERE id = 300");
$n[2]->sql("ALTER TABLE booking ADD EXCLUDE USING gist (during WITH &&) WHERE (id < 1000), ADD CONSTRAINT other EXCLUDE (id WITH =) INITIALLY DEFERRED");
is($c->same_everywhere("SELECT string_agg(conname, ' ' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'booking'::regclass AND contype = 'x'", 'again'), 'booking_during_excl other', 'with the name PostgreSQL would choose');
$n[0]->sql_after_barrier("CREATE UNIQUE INDEX spare ON loose (v)");
$n[0]->sql("ALTER TABLE loose ADD CONSTRAINT spare UNIQUE USING INDEX spare DEFERRABLE INITIALLY DEFERRED");
like($c->same_everywhere($constraints, 'of an index'), qr/loose spare UNIQUE \(v\) DEFERRABLE INITIALLY DEFERRED/, 'deferrable too');

# Who was away longer than the log is kept has them, too.
$c->misses_the_log($n[2], sub {
	$n[0]->sql("DELETE FROM booking WHERE id >= 200; INSERT INTO booking VALUES (400, '[45,46)')");
});
$c->same_everywhere($constraints, 'a snapshot brings them');
$n[2]->fails("INSERT INTO booking VALUES (401, '[45,46)')", '23P01', qr/booking_during_excl/, 'and they are kept there');
$n[2]->sql("UPDATE place SET now = now + 1");
$c->await_equal;

done_testing;
