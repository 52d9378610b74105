# Row-level security on consensus tables: policies go through the log and are heeded where a
# statement runs; the learner applies what was decided, whatever they say.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;

$_->sql("CREATE ROLE clerk; CREATE ROLE boss; CREATE ROLE keeper; GRANT CREATE ON SCHEMA public TO keeper") for @n;
$n[0]->sql($_)
  for "CREATE TABLE letter (id int PRIMARY KEY, tenant text NOT NULL DEFAULT current_setting('app.tenant', true), body text, secret boolean NOT NULL DEFAULT false) USING paxos",
  "INSERT INTO letter SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END, 'body ' || i, i > 4 FROM generate_series(1, 6) i",
  "GRANT SELECT, INSERT, UPDATE, DELETE ON letter TO clerk, boss",
  "CREATE POLICY own ON letter USING (tenant = current_setting('app.tenant', true))",
  "CREATE POLICY open ON letter AS RESTRICTIVE FOR SELECT TO clerk USING (NOT secret)",
  "CREATE POLICY everything ON letter FOR ALL TO boss USING (true) WITH CHECK (id < 100)";
my $policies = "SELECT string_agg(concat_ws(' ', policyname, permissive, cmd, roles, qual, with_check), '; ' ORDER BY policyname) FROM pg_policies";
is(scalar(split /; /, $c->same_everywhere($policies, 'policies are the same everywhere')), 3, 'and all are there');

my $as = "SET app.tenant = 'a'; SET ROLE clerk; ";
is($n[1]->sql($as . "SELECT count(*) FROM letter"), 6, 'before they are enabled nothing is hidden');
ok(!$n[1]->try($as . "SELECT paxos_update_if('letter', '{\"id\": 1}', '{\"body\": \"x\"}', '{}')")->{status}, 'nor are functions refused');
$n[0]->sql_after_barrier("ALTER TABLE letter ENABLE ROW LEVEL SECURITY");

# Where a statement runs.
$n[1]->sql_after_barrier("SELECT 1");
is($n[1]->sql($as . "SELECT string_agg(id::text, ' ' ORDER BY id) FROM letter"), '2 4', 'a clerk sees his own that are not secret');
is($n[1]->sql("SET ROLE boss; SELECT count(*) FROM letter"), 6, 'the boss all');
$n[1]->sql($as . "UPDATE letter SET body = 'changed' WHERE id > 0; DELETE FROM letter WHERE id IN (2, 3); INSERT INTO letter (id, body) VALUES (7, 'new')");
is($c->same_everywhere("SELECT string_agg(id || body, ' ' ORDER BY id) FROM letter", 'what he changed'), '1x 3body 3 4changed 5body 5 6body 6 7new', 'is what he may');
$n[2]->fails($as . "INSERT INTO letter VALUES (8, 'b')", '42501', qr/violates row-level security policy for table "letter"/, "nothing of another's");
$n[2]->fails("SET ROLE boss; INSERT INTO letter VALUES (100, 'b')", '42501', qr/violates row-level security/, 'WITH CHECK');
unlike($n[2]->sql($as . "EXPLAIN UPDATE letter SET body = 'x' WHERE id = 1"), qr/Paxos/, 'no statement has the keyed form');
$n[2]->fails($as . "SELECT paxos_update_if('letter', '{\"id\": 1}', '{}', '{\"body\": \"y\"}')", '0A000', qr/row-level security/, 'no function goes by them');
$n[2]->fails("SELECT paxos_delete_if('letter', '{\"id\": 1}', '{}')", '0A000', qr/row-level security/, 'for whomever');
$n[2]->sql("ALTER TABLE letter OWNER TO keeper");
$n[2]->sql("ALTER TABLE letter FORCE ROW LEVEL SECURITY");
is($n[0]->sql_after_barrier("SET app.tenant = 'a'; SET ROLE keeper; SELECT count(*) FROM letter"), 3, 'FORCE: the owner, too');
$n[0]->sql("ALTER TABLE letter ADD COLUMN more int CHECK (more > 0)");
$n[0]->sql("CREATE INDEX ON letter (body)");
$n[0]->sql("ALTER TABLE letter ALTER body TYPE varchar(40)");
$n[0]->sql("UPDATE letter SET more = id");
is($c->same_everywhere("SELECT sum(more) FROM letter", 'learners of a table whose policies apply to its owner'), 26, 'see all of it');

# What PostgreSQL says.
$n[0]->fails("CREATE POLICY own ON letter", '42710', qr/policy "own" for table "letter" already exists/, 'a name that is taken');
$n[0]->fails("ALTER POLICY nobody ON letter RENAME TO x", '42704', qr/policy "nobody" for table "letter" does not exist/, 'one that is not there');
$n[0]->fails("DROP POLICY nobody ON letter", '42704', qr/policy "nobody" for table "letter" does not exist/, 'nor to be dropped');
like($n[0]->try("DROP POLICY IF EXISTS nobody ON letter")->{err}, qr/NOTICE:.*policy "nobody" for relation "letter" does not exist, skipping/, 'unless it is said so');
$n[0]->fails("SET ROLE clerk; CREATE POLICY mine ON letter", '42501', qr/must be owner of table letter/, "not another's");
$n[0]->fails("ALTER TABLE letter DROP COLUMN secret", '2BP01', qr/policy open on table letter depends on column secret of table letter/, 'a column that one needs');
$n[0]->fails("ALTER TABLE letter ALTER secret TYPE text", '0A000', qr/cannot alter type of a column used in a policy definition/, 'nor may it change');
$n[0]->fails("BEGIN; CREATE POLICY b ON letter; COMMIT", '25001', qr/transaction block/, 'not in a block');

# It is carried out as the owner: who cannot look into the schema would hold up every learner.
$_->sql("CREATE SCHEMA closed") for @n;
$n[0]->sql("CREATE TABLE closed.t (id int PRIMARY KEY) USING paxos");
$n[0]->sql("ALTER TABLE closed.t OWNER TO keeper");
$n[0]->fails("CREATE POLICY b ON closed.t", '42501', qr/permission denied for schema closed/, 'an owner who has no USAGE of the schema');
$n[0]->sql("DROP TABLE closed.t");

# What is this node's own.
$n[0]->sql("CREATE TABLE here (id int); CREATE FUNCTION f() RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE ROLE only_here");
$n[0]->fails("CREATE POLICY b ON letter USING (f())", '0A000', qr/function f\(\) cannot be used by a policy/, "a function of this node's");
$n[0]->fails("CREATE POLICY b ON letter USING (id IN (SELECT id FROM here))", '0A000', qr/table here cannot be used by a policy/, 'another table');
$n[0]->fails("CREATE POLICY b ON letter USING (id = (SELECT max(l.id) FROM letter l))", '0A000', qr/cannot have a sub-select/, 'nor the table itself');
$n[0]->fails("CREATE POLICY b ON letter TO only_here", '55000', qr/role "only_here" does not exist/, "a role of this node's");
$n[0]->fails("DROP OWNED BY clerk", '0A000', qr/REVOKE|policy|privileges/, 'what would change one here alone');
$n[0]->sql("REVOKE ALL ON letter FROM clerk");
$n[0]->fails("DROP OWNED BY clerk", '0A000', qr/is named by a policy of consensus-backed "letter"/, 'by a policy, too');

# What was made on all nodes.
$n[0]->sql("SET paxos.ddl = 'all'; CREATE FUNCTION ours(text) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT \$1 IS NOT NULL'");
$n[0]->sql("CREATE POLICY called ON letter FOR SELECT USING (ours(tenant))");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("DROP FUNCTION ours(text)", '2BP01', qr/depend/, 'a function that a policy calls stays');
$n[1]->fails("DROP FUNCTION ours(text) CASCADE", '0A000', qr/policy called on table letter uses function ours/, 'and takes no policy along');
$n[1]->sql("ALTER FUNCTION ours(text) RENAME TO theirs");
$n[1]->sql("ALTER TABLE letter ALTER more SET DEFAULT 1");
is($c->same_everywhere("SELECT qual FROM pg_policies WHERE policyname = 'called'", 'a policy that calls it'), 'theirs(tenant)', 'whatever its name is');

# Changed, renamed, dropped.
$n[1]->sql_after_barrier("ALTER POLICY everything ON letter TO boss, keeper WITH CHECK (id < 200)");
$n[1]->sql("ALTER POLICY everything ON letter RENAME TO most");
$n[2]->sql_after_barrier("DROP POLICY own ON letter");
is($c->same_everywhere($policies, 'changed'), 'called PERMISSIVE SELECT {public} theirs(tenant); most PERMISSIVE ALL {boss,keeper} true (id < 200); open RESTRICTIVE SELECT {clerk} (NOT secret)', 'as it was said');

# Three at once: one is first, the others are tried again, or ended, and hear that they are late.
my @s = map { $_->session } @n;
$s[$_]->ask("CREATE POLICY p ON letter USING (id > $_)") for 0 .. 2;
my @said = map { $s[$_]->answer } 0 .. 2;
is(scalar(grep { /42710|40001/ } @said), 2, 'of three one makes it') or diag "@said";
$c->same_everywhere($policies, 'the same one everywhere');
$_->close for @s;

# Who was away longer than the log is kept has them, too.
$c->misses_the_log($n[2], sub {
	$n[0]->sql("DROP POLICY p ON letter");
	$n[1]->sql_after_barrier("COMMENT ON POLICY most ON letter IS 'for most'");
});
is($c->same_everywhere("SELECT obj_description(oid, 'pg_policy') FROM pg_policy WHERE polname = 'most'", 'comments'), 'for most', 'on policies');
$c->same_everywhere("$policies", 'a snapshot brings them');
is($c->same_everywhere("SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = 'letter'::regclass", 'and that they are enabled'), 't|t', 'and forced');
like($n[0]->sql("SELECT paxos_table_definition('letter')"), qr/CREATE POLICY most ON public\.letter AS PERMISSIVE FOR ALL TO boss, keeper USING \(true\) WITH CHECK \(\(id < 200\)\);.*FORCE ROW LEVEL SECURITY;/s, 'so does the definition that is shown');

$n[1]->sql_after_barrier("ALTER TABLE letter DISABLE ROW LEVEL SECURITY");
like($n[1]->sql("EXPLAIN DELETE FROM letter WHERE id = 1"), qr/Paxos/, 'without them statements have the keyed form again');
$n[1]->sql("DROP TABLE letter");
is($c->same_everywhere($policies, 'they go with their table'), '', 'all');
done_testing();
