# What extensions bring, in definitions of consensus tables: members are asked whether they
# have it, alike; and it is used by every way of writing.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE EXTENSION citext; CREATE EXTENSION pg_trgm");
$n2->sql("CREATE SCHEMA elsewhere; CREATE EXTENSION citext SCHEMA elsewhere; CREATE EXTENSION pg_trgm VERSION '1.5'");

# ---- members are asked --------------------------------------------------------------------
my $table = "CREATE TABLE person (name citext PRIMARY KEY, mail citext UNIQUE, note text, likeness real DEFAULT similarity('a', 'b')) USING paxos";
my $index = "CREATE INDEX person_note ON person USING gin (note gin_trgm_ops)";
$n1->fails($table, '55000', qr/could not carry out the statement: .*Nothing has been sent.*extension "citext" does not exist.*of the same version/s, 'a table with a type that another node lacks');
$n3->sql("CREATE EXTENSION citext; CREATE EXTENSION pg_trgm");
$n1->fails($table, '55000', qr/extension "citext" is in schema "elsewhere" there, and in "public" here/, 'or has elsewhere');
$n2->sql("ALTER EXTENSION citext SET SCHEMA public");
$n1->fails($table, '55000', qr/extension "pg_trgm" has version 1.5 there, and 1.6 here/, 'or in another version');
$n1->fails("CREATE TABLE person (name citext PRIMARY KEY, CHECK (note IS NULL), note paxos_ballot) USING paxos", '42704', qr/does not exist/, 'a type that nobody has');
$n1->sql("CREATE TABLE t (id int PRIMARY KEY, note text) USING paxos");
$c->await_equal;
for my $statement ("CREATE INDEX ON t USING gin (note gin_trgm_ops)", "CREATE INDEX ON t (similarity(note, 'abc'))",
	"ALTER TABLE t ADD CHECK (similarity(note, 'x') < 2)", "ALTER TABLE t ADD COLUMN s real DEFAULT similarity('a', 'b')")
{
	$n1->fails($statement, '55000', qr/"pg_trgm" has version/, "so with: $statement");
}
$n2->sql("ALTER EXTENSION pg_trgm UPDATE");
$n1->sql($table);
$n1->sql($index);
$n1->sql("ALTER TABLE person ADD CHECK (similarity(note, 'forbidden') < 0.9)");
$n2->fails("DROP EXTENSION citext", '2BP01', qr/other objects depend on it/, 'what is used is not dropped');
$n2->fails("DROP EXTENSION citext CASCADE", '0A000', qr/consensus/, 'nor with what uses it');

# ---- every way of writing -------------------------------------------------------------------
$n1->sql("INSERT INTO person VALUES ('Ada', 'Ada\@x.org', 'first')");
$n2->fails("INSERT INTO person VALUES ('ADA', 'other')", '23505', qr/person_pkey/, 'equal names written otherwise, on another node');
$n2->sql("INSERT INTO person VALUES ('ADA', 'other', 'upserted') ON CONFLICT (name) DO UPDATE SET note = excluded.note");
is($c->same_everywhere("SELECT name, note FROM person", 'ON CONFLICT'), 'Ada|upserted', 'by the equality of the type');
$n3->sql("UPDATE person SET note = 'by key' WHERE name = 'aDa'");
is($c->same_everywhere("SELECT name, note FROM person", 'UPDATE'), 'Ada|by key', 'by the equality of the type');
$n1->fails("UPDATE person SET note = 'forbidden' WHERE name = 'ada'", '23514', qr/check constraint/, 'a CHECK with a function of an extension');
$n2->sql("BEGIN; INSERT INTO person SELECT 'p' || i, 'm' || i, 'note ' || i FROM generate_series(1, 50) i; DELETE FROM person WHERE name = 'P50'; COMMIT");
$n3->sql("DELETE FROM person WHERE mail = 'M49'");
is($c->same_everywhere("SELECT count(*) FROM person", 'a block'), 49, 'and a DELETE');

# Two nodes at once give equal keys, written otherwise: one of them loses.
my ($s1, $s2) = ($n1->session, $n2->session);
$s1->query("BEGIN; INSERT INTO person VALUES ('Bob', 'bob')");
$s2->query("BEGIN; INSERT INTO person VALUES ('BOB', 'BOB')");
$s1->ask("COMMIT");
$s2->ask("COMMIT");
my @lost = grep { /40001|23505/ } ($s1->answer, $s2->answer);
is(scalar @lost, 1, 'equal keys at once: one is there');
is($c->same_everywhere("SELECT count(*) FROM person WHERE name = 'bob'", 'and on every node'), 1, 'the same');
$_->close for $s1, $s2;

# Equal by an operator class of an extension, and not by the type, which is built in: the second
# to come is lost, while its node has not heard of the first.
$_->sql(q{CREATE FUNCTION tens(int, int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT pg_catalog.btint4cmp($1 / 10, $2 / 10)';
CREATE FUNCTION same_ten(int, int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 10 OPERATOR(pg_catalog.=) $2 / 10';
CREATE OPERATOR === (FUNCTION = same_ten, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR CLASS tens_ops FOR TYPE int USING btree AS OPERATOR 3 ===, FUNCTION 1 tens(int, int);
ALTER EXTENSION citext ADD FUNCTION tens(int, int); ALTER EXTENSION citext ADD FUNCTION same_ten(int, int); ALTER EXTENSION citext ADD OPERATOR ===(int, int);
ALTER EXTENSION citext ADD OPERATOR FAMILY tens_ops USING btree; ALTER EXTENSION citext ADD OPERATOR CLASS tens_ops USING btree}) for $c->nodes;
$n1->sql("CREATE TABLE by_ten (id int PRIMARY KEY, v int) USING paxos");
$n1->sql("CREATE UNIQUE INDEX by_ten_v ON by_ten (v tens_ops)");
$c->await_equal;
($s1, $s2) = ($n1->session, $n2->session);
$s1->query("BEGIN; INSERT INTO by_ten VALUES (1, 11)");
$s2->query("BEGIN; INSERT INTO by_ten VALUES (2, 12)");
$s1->ask("COMMIT");
$s2->ask("COMMIT");
is(scalar(grep { /40001/ } $s1->answer, $s2->answer), 1, 'equal by an operator class: one is lost');
is($c->same_everywhere("SELECT count(*) FROM by_ten", 'rows of it'), 1, 'and nobody is held up');
$_->close for $s1, $s2;
$n1->sql("DROP TABLE by_ten");

# ---- a newcomer ----------------------------------------------------------------------------
my $n4 = $c->add_server;
$n4->start;
$n4->create_extension;
$n4->sql("CREATE EXTENSION citext; CREATE EXTENSION pg_trgm");
$n1->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "')");
$n4->poll_sql("SELECT state = 'member' AND lag_slots = 0 FROM paxos.status");
like($c->same_everywhere("SELECT count(*), sum(hashtext(name::text)) FROM person", 'a newcomer has the rows'), qr/^50\|/, 'all of them');
like($c->same_everywhere("SELECT string_agg(indexdef, ';' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'person'", 'and the indexes'), qr/gin_trgm_ops/, 'as they are');
done_testing();
