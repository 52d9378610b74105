# ALTER TABLE that PostgreSQL refuses for the sake of something the copy it is tried on might
# not have: refused where it is issued.  At its slot it would hold up every learner, or, where
# what is in the way is one node's own, be refused there and carried out on the others.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "wal_level = logical\n");
$c->await_leader;
my @n = $c->nodes;

$n[0]->sql($_)
  for "CREATE TABLE p (id int PRIMARY KEY) USING paxos",
  "CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT key REFERENCES p, v int CHECK (v > 0), w int) USING paxos",
  "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
  "CREATE CONSTRAINT TRIGGER watch AFTER INSERT ON c FOR EACH ROW EXECUTE FUNCTION f()",
  "CREATE TRIGGER looks AFTER UPDATE ON c FOR EACH ROW WHEN (NEW.w > 0) EXECUTE FUNCTION f()";
for my $name ('key', 'watch')
{
	my $taken = qr/constraint "$name" for relation "c" already exists/;
	$n[0]->fails("ALTER TABLE c ADD CONSTRAINT $name CHECK (id > 0)", '42710', $taken, "a constraint of the name of another kind's: $name");
	$n[0]->fails("ALTER TABLE c RENAME CONSTRAINT c_v_check TO $name", '42710', $taken, 'or renamed so');
	$n[0]->fails("ALTER TABLE c ADD CONSTRAINT $name UNIQUE (v)", '42710', $taken, 'or a key');
}
$n[0]->fails("ALTER TABLE c ALTER w TYPE bigint", '0A000', qr/used in a trigger definition/, 'a type on which a trigger depends');
$n[0]->fails("ALTER TABLE c DROP w", '2BP01', qr/trigger looks on table public.c depends on column w/, 'or its column');
$n[0]->sql("ALTER TABLE c DROP CONSTRAINT key, ADD CONSTRAINT key CHECK (id > 0)");
$n[0]->fails("ALTER TABLE c DROP CONSTRAINT watch", '2BP01', qr/trigger watch on table public.c requires it/, 'that of a trigger is no constraint to be dropped');
is($c->same_everywhere("SELECT string_agg(conname || contype::text, ' ' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'c'::regclass", 'dropped and made anew'),
	'c_pkeyp c_v_checkc keyc watcht', 'as what it is now');

# A foreign key that is not valid, and then is.
$n[0]->sql("INSERT INTO c VALUES (1, 7)");
$n[0]->sql("ALTER TABLE c ADD CONSTRAINT reference FOREIGN KEY (p) REFERENCES p NOT VALID");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("ALTER TABLE c VALIDATE CONSTRAINT reference", '23503', qr/reference/, 'not while a row has no parent');
$n[1]->sql("INSERT INTO p VALUES (7)");
$n[1]->sql("ALTER TABLE c VALIDATE CONSTRAINT reference");
is($c->same_everywhere("SELECT convalidated FROM pg_constraint WHERE conname = 'reference'", 'valid'), 't', 'everywhere');

# 1600 columns, those that were dropped among them.
$n[0]->sql("CREATE TABLE wide (id int PRIMARY KEY, " . join(', ', map { "c$_ int" } 1 .. 1590) . ") USING paxos");
$n[0]->sql("ALTER TABLE wide " . join(', ', map { "DROP COLUMN c$_" } 1 .. 50));
$n[0]->fails("ALTER TABLE wide " . join(', ', map { "ADD COLUMN d$_ int" } 1 .. 20), '54011', qr/at most 1600 columns/, 'too many columns');
$n[0]->sql("ALTER TABLE wide " . join(', ', map { "ADD COLUMN d$_ int" } 1 .. 9));
$c->await_equal;
pass('nine more are possible');

# What one node publishes.
$n[0]->sql("CREATE PUBLICATION whole FOR TABLE c");
$n[0]->fails("CREATE PUBLICATION part FOR TABLE c (id, v)", '0A000', qr/a publication with a column list is not supported on consensus-backed table "c"/, 'a list of columns');
$n[0]->fails("CREATE PUBLICATION part FOR TABLE c WHERE (id > 0)", '0A000', qr/a publication with a/, 'a condition');
$n[0]->fails("ALTER PUBLICATION whole SET TABLE c (id)", '0A000', qr/a publication with a/, 'or later');
$n[1]->sql_after_barrier("ALTER TABLE c DROP COLUMN v");
$c->await_equal;
is(join(' ', map { $_->sql("SELECT count(*) FROM paxos.alarms WHERE alarm <> 'fsync off'") } @n), '0 0 0', 'no learner is held up, and nodes do not differ');

done_testing();
