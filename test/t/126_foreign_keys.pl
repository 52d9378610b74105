# Foreign keys between consensus tables: checks and actions where the statement runs, and
# between nodes a child and its parent's end exclude each other.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;

$n[0]->sql($_)
  for "CREATE TABLE p (id int PRIMARY KEY, code text, v int NOT NULL DEFAULT 0) USING paxos",
  "CREATE UNIQUE INDEX p_code ON p (code)",
  "CREATE TABLE plain (id int PRIMARY KEY, p int NOT NULL REFERENCES p) USING paxos",
  "CREATE TABLE cascaded (id bigserial PRIMARY KEY, p int NOT NULL REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE) USING paxos",
  "CREATE TABLE nulled (id int PRIMARY KEY, code text CONSTRAINT by_code REFERENCES p (code) ON DELETE SET NULL ON UPDATE CASCADE, p int, FOREIGN KEY (p) REFERENCES p ON DELETE SET DEFAULT) USING paxos",
  "CREATE TABLE later (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED, self int REFERENCES later) USING paxos";
my $keys = "SELECT string_agg(conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || convalidated, '; ' ORDER BY conrelid::regclass::text, conname) FROM pg_constraint WHERE contype = 'f'";
is($c->same_everywhere($keys, 'the keys are the same everywhere') =~ tr/;//, 5, 'and all are there');

# Where a statement runs.
$n[0]->sql("INSERT INTO p SELECT i, 'c' || i FROM generate_series(1, 9) i");
$n[1]->sql_after_barrier("INSERT INTO plain VALUES (1, 1)");
$n[1]->fails("INSERT INTO plain VALUES (2, 99)", '23503', qr/plain_p_fkey/, 'no parent');
$n[2]->sql_after_barrier("SELECT 1");
$n[2]->fails("DELETE FROM p WHERE id = 1", '23503', qr/plain_p_fkey/, 'a child is there');
$n[2]->sql("INSERT INTO cascaded (p) SELECT 2 FROM generate_series(1, 5); INSERT INTO nulled VALUES (1, 'c2', 2)");
$n[0]->sql_after_barrier("UPDATE p SET code = 'c20' WHERE id = 2");
is($c->same_everywhere("SELECT code FROM nulled", 'ON UPDATE CASCADE'), 'c20', 'has changed the child');
$n[1]->sql_after_barrier("UPDATE p SET id = 3 + 20 WHERE id = 3; DELETE FROM p WHERE id = 2");
is($c->same_everywhere("SELECT count(*), (SELECT id || coalesce(code, '-') || coalesce(p::text, '-') FROM nulled) FROM cascaded", 'actions'),
	'0|1--', 'CASCADE, SET NULL and SET DEFAULT');
$n[0]->sql_after_barrier("BEGIN; INSERT INTO later VALUES (1, 50, 2), (2, 4, 1); INSERT INTO p VALUES (50); COMMIT");
$n[0]->fails("INSERT INTO later VALUES (3, 51)", '23503', qr/later_p_fkey/, 'a deferred key refuses at the end');
is($c->same_everywhere("SELECT count(*) FROM later", 'deferred'), 2, 'or does not');
$n[1]->fails("DELETE FROM later WHERE id = 1", '23503', qr/later_self_fkey/, 'a key of a table to itself');

# What cannot be.
$n[0]->sql("CREATE TABLE here (id int PRIMARY KEY)");
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY REFERENCES here) USING paxos", '0A000', qr/cannot refer to "here"/, 'to a local table');
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY REFERENCES p)", '0A000', qr/would depend on/, 'from a local table');
$n[0]->fails("CREATE TABLE t (id text PRIMARY KEY REFERENCES paxos.kv) USING paxos", '0A000', qr/paxos\.kv/, 'to the key-value table');
$n[0]->fails("CREATE TABLE t (id int PRIMARY KEY REFERENCES p (v)) USING paxos", '42830', qr/no unique constraint/, 'to columns that are no key');
$n[0]->sql("CREATE ROLE somebody; GRANT CREATE ON SCHEMA public TO somebody");
$n[0]->fails("SET ROLE somebody; CREATE TABLE t (id int PRIMARY KEY REFERENCES p) USING paxos", '42501', qr/permission denied for table p/, 'without the privilege');
for my $table ('p', 'plain')
{
	$n[0]->fails("SELECT paxos_upsert('$table', '{\"id\": 1}')", '0A000', qr/foreign keys/, "a keyed operation on $table");
	unlike($n[0]->sql("EXPLAIN DELETE FROM $table WHERE id = 1"), qr/Paxos/, 'nor has a statement that form');
}
$n[0]->fails("DROP TABLE p", '2BP01', qr/depend/, 'the table referred to stays');
$n[0]->fails("DROP INDEX p_code", '2BP01', qr/by_code/, 'so does its index');

# Taken away and added again, on a table with rows.
$n[1]->sql("ALTER TABLE plain DROP CONSTRAINT plain_p_fkey");
like($n[1]->sql("EXPLAIN DELETE FROM plain WHERE id = 1"), qr/Paxos/, 'without the key statements have the keyed form');
$n[1]->sql("INSERT INTO plain VALUES (99, 99)");
$n[2]->sql_after_barrier("SELECT 1");
$n[2]->fails("ALTER TABLE plain ADD FOREIGN KEY (p) REFERENCES p", '23503', qr/plain_p_fkey/, 'a row has no parent');
$n[1]->sql("DELETE FROM plain WHERE id = 99");
$n[2]->sql("ALTER TABLE ONLY plain ADD FOREIGN KEY (p) REFERENCES p");
$n[2]->fails("ALTER TABLE plain ADD CONSTRAINT plain_p_fkey FOREIGN KEY (p) REFERENCES p", '42710', qr/already exists/, 'a name that is taken');
$n[2]->sql("ALTER TABLE later ADD CONSTRAINT also FOREIGN KEY (self) REFERENCES later NOT VALID");
$n[0]->sql_after_barrier("SELECT 1");
$n[0]->fails("INSERT INTO later VALUES (9, NULL, 77)", '23503', qr/later_self_fkey|also/, 'one of a table to itself');
$n[0]->sql("ALTER TABLE later DROP CONSTRAINT also; ALTER TABLE later DROP CONSTRAINT later_p_fkey");
$n[0]->sql("ALTER TABLE later ADD CONSTRAINT later_p_fkey FOREIGN KEY (p) REFERENCES p DEFERRABLE INITIALLY DEFERRED");
$n[0]->sql("ALTER TABLE later ALTER CONSTRAINT later_p_fkey NOT DEFERRABLE");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("BEGIN; INSERT INTO later VALUES (60, 60); INSERT INTO p VALUES (60); COMMIT", '23503', qr/later_p_fkey/, 'no longer deferrable');
$n[1]->sql("ALTER TABLE later ALTER CONSTRAINT later_p_fkey DEFERRABLE INITIALLY DEFERRED");
$n[0]->sql_after_barrier("SELECT 1");
$n[0]->fails("ALTER TABLE later ALTER CONSTRAINT later_pkey DEFERRABLE", '42809', qr/is not a foreign key constraint/, 'but it is no foreign key');
$n[0]->fails("ALTER TABLE later ALTER CONSTRAINT nothing DEFERRABLE", '42704', qr/does not exist/, 'or none at all');
$n[0]->fails("ALTER TABLE later ADD FOREIGN KEY (p) REFERENCES here", '0A000', qr/cannot refer to "here"/, 'to a local table');
is($c->same_everywhere($keys, 'the keys after this') =~ tr/;//, 5, 'and all are there again');

# A child on one node, its parent's end on another: whichever is first in the log, the
# other is lost; both are on their way at once, so neither has seen the other.
my @s = map { $_->session } @n;
for my $case (['INSERT INTO cascaded (p) VALUES (5)', 'DELETE FROM p WHERE id = 5'], ['DELETE FROM p WHERE id = 6', 'INSERT INTO cascaded (p) VALUES (6)'],
	['INSERT INTO plain VALUES (7, 7)', 'DELETE FROM p WHERE id = 7'], ['DELETE FROM p WHERE id = 8', 'INSERT INTO plain VALUES (8, 8)'],
	['INSERT INTO plain VALUES (9, 9)', 'UPDATE p SET id = 90 WHERE id = 9'])
{
	my ($first, $second) = @$case;
	$c->await_equal;
	my $learner = $n[1]->worker_pid('learner');
	PaxosCluster::stand_still($learner);
	$n[0]->sql($first);
	my $applied = $n[0]->sql("SELECT applied FROM paxos.replicated");
	$s[1]->query("BEGIN");
	is($s[1]->query($second), '', "$second: nothing is in its way here");
	$s[1]->ask("COMMIT");
	$n[0]->poll_sql("SELECT applied > $applied FROM paxos.replicated");
	kill 'CONT', $learner;
	like($s[1]->answer, qr/40001/, 'but its parent or child was overtaken');
}
my $orphans = join ' UNION ALL ', map { "SELECT '$_', count(*) FROM $_ WHERE p IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p.id = $_.p)" } qw(plain cascaded nulled later);
is($c->same_everywhere($orphans, 'children without parents'), "plain|0\ncascaded|0\nnulled|0\nlater|0", 'there are none');

# Who has updated a parent may have gone further: its children come from the log while the first
# version of the row is only updated.
for my $further ('DELETE FROM p WHERE id = 41', 'SELECT FROM p WHERE id = 41 FOR UPDATE')
{
	$n[0]->sql("INSERT INTO p VALUES (41, 'c41') ON CONFLICT DO NOTHING");
	$c->await_equal;
	$s[1]->query($_) for 'BEGIN', 'UPDATE p SET v = v + 1 WHERE id = 41', $further;
	$n[0]->sql("INSERT INTO plain VALUES ((SELECT max(id) + 1 FROM plain), 41)");
	$c->await_equal;
	like($s[1]->end, qr/40001|57P01/, "updated, and then $further: makes way");
	$s[1] = $n[1]->session if !$s[1]->alive;
	is($c->same_everywhere($orphans, 'children without parents'), "plain|0\ncascaded|0\nnulled|0\nlater|0", 'there are none');
}
# What does not touch the key goes together with children.
my $learner = $n[1]->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n[0]->sql("UPDATE p SET v = v + 1 WHERE id = 1");
my $applied = $n[0]->sql("SELECT applied FROM paxos.replicated");
$s[1]->ask("INSERT INTO cascaded (p) VALUES (1)");
$n[0]->poll_sql("SELECT applied > $applied FROM paxos.replicated");
kill 'CONT', $learner;
is($s[1]->answer, '', 'a parent may change while a child comes');
$_->close for @s;

# From three nodes at once.
$n[0]->sql("DELETE FROM plain; DELETE FROM later; DELETE FROM cascaded; DELETE FROM nulled; DELETE FROM p; INSERT INTO p SELECT i, 'h' || i FROM generate_series(0, 4) i");
my @loads = (
	$c->start_load(statement => 'WITH x AS (INSERT INTO cascaded (p) SELECT id FROM p WHERE id = ($1::int + $2::int) % 5 RETURNING 1) SELECT true', clients => 1),
	$c->start_load(statement => 'WITH x AS (INSERT INTO nulled SELECT $2::int * 100 + $1::int, code, id FROM p WHERE id = ($1::int + $2::int) % 5 RETURNING 1) SELECT true', clients => 1),
	$c->start_load(statement => 'WITH x AS (DELETE FROM p WHERE id = ($1::int + 2 * $2::int) % 5 RETURNING 1) SELECT true', clients => 1),
	$c->start_load(statement => 'WITH x AS (INSERT INTO p SELECT i, \'h\' || i FROM generate_series(0, 4) i WHERE $1::int + $2::int >= 0 ON CONFLICT DO NOTHING RETURNING 1) SELECT true', clients => 1));
$c->await_acknowledged($_, 60) for @loads;
$c->finish_load($_) for @loads;
is($c->same_everywhere($orphans, 'children without parents after the hammer'), "plain|0\ncascaded|0\nnulled|0\nlater|0", 'there are none');
$c->same_everywhere("SELECT count(*) FROM nulled WHERE code IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p.code = nulled.code)", 'by another key');
is($n[0]->sql("SELECT count(*) FROM nulled WHERE code IS NOT NULL AND NOT EXISTS (SELECT FROM p WHERE p.code = nulled.code)"), 0, 'there are none either');

# Who was away longer than the log is kept has the keys, too.
$c->misses_the_log($n[2], sub {
	$n[0]->sql("DROP TABLE later");
});
$c->same_everywhere($keys, 'a snapshot brings the keys');
$n[2]->fails("INSERT INTO plain VALUES (100, 100)", '23503', qr/plain_p_fkey/, 'and they are kept there');

like($n[0]->try("DROP TABLE p CASCADE")->{err}, qr/NOTICE:  00000: drop cascades to 4 other objects\nDETAIL:  drop cascades to constraint cascaded_p_fkey on table cascaded\n/, 'DROP ... CASCADE says what it takes along');
is($c->same_everywhere($keys, 'DROP ... CASCADE'), '', 'takes the keys along');
$n[1]->sql_after_barrier("INSERT INTO plain VALUES (200, 200)");
like($n[1]->sql("EXPLAIN DELETE FROM plain WHERE id = 1"), qr/Paxos/, 'statements have the keyed form again');
$c->await_equal;
done_testing();
