# Users' triggers on consensus tables: once, where the statement runs, and nothing goes by them.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.log_retention_slots = 20\n");
$c->await_leader;
my @n = $c->nodes;

# One node has the functions, and another one of them in a form of its own, which stays.
# What they do shows where they ran.
my $functions = q{
	CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN NEW.by := current_setting('port') || coalesce(' ' || TG_ARGV[0], ''); RETURN NEW; END $$;
	CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO log (at, what) VALUES (current_setting('port'), TG_OP || ' ' || coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
	CREATE FUNCTION total() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN UPDATE totals SET n = n + (SELECT count(*) FROM fresh) WHERE id = 1; RETURN NULL; END $$;
	CREATE FUNCTION even() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF (SELECT sum(v) FROM item) % 2 = 1 THEN RAISE EXCEPTION 'odd' USING ERRCODE = '23514'; END IF; RETURN NULL; END $$;
	CREATE FUNCTION locally() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN INSERT INTO here VALUES (NEW.id); RETURN NULL; END $$;
	CREATE TABLE here (id int);};
$n[0]->sql($functions);
$_->sql("CREATE TABLE here (id int)") for @n[1, 2];
$n[1]->sql("CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN INSERT INTO log (at, what) VALUES (current_setting('port'), 'mine ' || coalesce(NEW.id, OLD.id)); RETURN NULL; END \$\$");
$n[0]->sql("CREATE TABLE item (id int PRIMARY KEY, v int NOT NULL DEFAULT 0, by text) USING paxos");
$n[0]->sql("CREATE TABLE log (id bigserial PRIMARY KEY, at text, what text) USING paxos");
$n[0]->sql("CREATE TABLE totals (id int PRIMARY KEY, n bigint) USING paxos; INSERT INTO totals VALUES (1, 0)");
$c->await_equal;

# One that came while an operation was on its way: the operation must not go by it.
my $learner = $n[1]->worker_pid('learner');
PaxosCluster::stand_still($learner);
$n[0]->sql("CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF v ON item FOR EACH ROW WHEN (NEW.v >= 0) EXECUTE FUNCTION stamp()");
my $s = $n[1]->session;
$s->ask("SELECT applied FROM paxos_upsert('item', '{\"id\": 1}')");
my $s2 = $n[1]->session;
$s2->ask("INSERT INTO item VALUES (2)");
$n[1]->poll_sql("SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $_->{pid}") for $s, $s2;
kill 'CONT', $learner;
like($s->answer, qr/40001|0A000/, 'a function that was on its way when the trigger came');
like($s2->answer, qr/40001|^$/, 'a statement that was');
$_->close for $s, $s2;
$c->same_everywhere("SELECT count(*) FROM item WHERE by IS NULL", 'nothing has gone by it');
is($n[0]->sql("SELECT count(*) FROM item WHERE by IS NULL"), '0', 'nothing at all');
$n[0]->sql("DELETE FROM item");

# Row triggers: once, and their effects everywhere; also of the keyed form's statements.
$n[0]->sql("CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION audit()");
$n[2]->sql_after_barrier("INSERT INTO item VALUES (1, 2), (3, 4)");
$n[1]->sql_after_barrier("UPDATE item SET v = v + 2 WHERE id = 1");
$n[0]->sql_after_barrier("DELETE FROM item WHERE id = 3");
is($c->same_everywhere("SELECT string_agg(at || ' ' || what, ',' ORDER BY id) FROM log", 'the log is the same everywhere') =~ tr/,//, 3, 'each fired once');
is($n[0]->sql("SELECT count(*) FROM log WHERE (at, what) IN (VALUES ('$n[2]{port}', 'INSERT 1'), ('$n[2]{port}', 'INSERT 3'), ('$n[1]{port}', 'mine 1'), ('$n[0]{port}', 'DELETE 3'))"),
	4, 'and where the statement ran');
is($n[0]->sql("SELECT by FROM item"), $n[1]{port}, 'a row is as the trigger left it');
unlike($n[0]->sql("EXPLAIN UPDATE item SET v = 1 WHERE id = 1"), qr/Paxos/i, 'no statement is of the keyed form');
$n[0]->fails("SELECT paxos_upsert('item', '{\"id\": 1}')", '0A000', qr/has triggers/, 'paxos_upsert() would not heed it');
$n[0]->fails("SELECT paxos_update_if('item', '{\"id\": 1}', '{\"v\": 2}', '{}')", '0A000', qr/has triggers/, 'nor would paxos_update_if()');

# Statement triggers with the rows that changed; a constraint trigger that waits for the commit.
$n[0]->sql("CREATE TRIGGER total AFTER INSERT ON item REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION total()");
$n[0]->sql("CREATE CONSTRAINT TRIGGER even AFTER INSERT OR UPDATE ON item DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION even()");
$n[2]->sql_after_barrier("INSERT INTO item SELECT i, 2 FROM generate_series(10, 19) i");
$n[2]->fails("INSERT INTO item VALUES (20, 1)", '23514', qr/odd/, 'a deferred trigger that refuses');
$n[2]->sql("BEGIN; INSERT INTO item VALUES (20, 1); INSERT INTO item VALUES (21, 1); COMMIT");
is($c->same_everywhere("SELECT n FROM totals", 'totals'), 12, 'a trigger for each statement');

# What would not be the same everywhere.
$n[0]->sql("CREATE FUNCTION only_here() RETURNS trigger LANGUAGE internal AS 'suppress_redundant_updates_trigger'");
$n[0]->fails("CREATE TRIGGER t BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION only_here()", '55000', qr/function public\.only_here\(\) does not exist/,
	'a function that other members lack, and that does not travel');
# In a schema closed to the role nodes connect with, it is looked for all the same.
$_->sql("CREATE SCHEMA shut") for @n;
$n[0]->sql("CREATE FUNCTION shut.only_here() RETURNS trigger LANGUAGE internal AS 'suppress_redundant_updates_trigger'");
$n[0]->fails("CREATE TRIGGER t BEFORE UPDATE ON item FOR EACH ROW EXECUTE FUNCTION shut.only_here()", '55000', qr/function shut\.only_here\(\) does not exist/,
	'nor if it stands in a schema closed to nodes');
$n[0]->sql("CREATE ROLE someone; CREATE SCHEMA away; CREATE FUNCTION away.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'");
$n[0]->fails("CREATE TRIGGER t AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION away.f()", '55000', qr/schema "away" does not exist/, 'nor one whose schema they lack');
$n[0]->sql("CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; ALTER FUNCTION closed() OWNER TO someone");
$n[0]->fails("CREATE TRIGGER t AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION closed()", '55000', qr/role "someone" does not exist/, 'nor one whose owner');
$n[0]->sql("ALTER FUNCTION closed() OWNER TO CURRENT_USER; REVOKE ALL ON FUNCTION closed() FROM PUBLIC; CREATE TRIGGER t AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION closed()");
is($c->same_everywhere("SELECT proacl FROM pg_proc WHERE proname = 'closed'", 'who may call a function'), '{postgres=X/postgres}', 'goes along');
$n[0]->sql("DROP TRIGGER t ON item");
$_->sql("CREATE ROLE owner; CREATE ROLE friend; GRANT owner TO friend") for @n;
$n[0]->sql("GRANT SELECT, TRIGGER ON item TO friend");
$n[0]->sql("CREATE FUNCTION powers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NULL; END'");
my $powers = "CREATE TRIGGER powers AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION powers()";
$n[0]->fails("SET ROLE friend; $powers", '55000', qr/function public\.powers\(\) does not exist/, 'a function with the rights of a superuser does not travel for others');
$n[0]->sql("ALTER FUNCTION powers() OWNER TO owner; SET ROLE friend; $powers");
is($c->same_everywhere("SELECT proowner::regrole FROM pg_proc WHERE proname = 'powers'", 'one with the rights of a role'), 'owner', 'travels for its members');
$n[0]->sql("DROP TRIGGER powers ON item");
$n[0]->sql("CREATE FUNCTION mine(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'");
$n[0]->fails("CREATE TRIGGER t AFTER INSERT ON item FOR EACH ROW WHEN (mine(NEW.v)) EXECUTE FUNCTION audit()", '0A000', qr/function mine/, 'a condition of this node');
$n[0]->fails("CREATE TRIGGER stamp AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION audit()", '42710', qr/already exists/, 'a name that is taken');
$n[0]->fails("DROP FUNCTION audit() CASCADE", '0A000', qr/part of consensus-backed table "item"/, 'the function is not taken away from under it');
$n[0]->fails("DROP TRIGGER nothing ON item", '42704', qr/does not exist/, 'a trigger that is not there');
is($n[0]->sql("DROP TRIGGER IF EXISTS nothing ON item"), '', 'IF EXISTS');
my $internal = $n[0]->sql("SELECT tgname FROM pg_trigger WHERE tgrelid = 'item'::regclass AND tgname LIKE 'paxos_capture%'");
$n[0]->fails("DROP TRIGGER \"$internal\" ON item", '42704', qr/does not exist/, 'the capture trigger is no trigger of a user');
$n[0]->fails("ALTER TRIGGER \"$internal\" ON item RENAME TO x", '42704', qr/does not exist/, 'nor has it another name');
$n[0]->fails("ALTER TRIGGER total ON item RENAME TO stamp", '42710', qr/trigger "stamp" for relation "item" already exists/, 'a new name that is taken');
$n[0]->sql("ALTER TRIGGER total ON item RENAME TO sums");
like($c->same_everywhere("SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal", 'renamed'), qr/\bsums\b/, 'has its new name');
$n[0]->sql("ALTER TRIGGER sums ON item RENAME TO total");
$n[0]->sql("CREATE TRIGGER locally AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION locally()");
$n[1]->sql_after_barrier("SELECT 1");
$n[1]->fails("INSERT INTO item VALUES (30, 2)", '0A000', qr/others in one transaction/, 'a trigger that writes a local table');
$n[0]->sql("CREATE OR REPLACE TRIGGER stamp BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION stamp('again')");
$n[1]->sql_after_barrier("DROP TRIGGER locally ON item");
$n[2]->sql_after_barrier("INSERT INTO item VALUES (30, 2)");
is($c->same_everywhere("SELECT by FROM item WHERE id = 30", 'the trigger replaced'), "$n[2]{port} again", 'replaced, and the other is gone');

# Who was away longer than the log is kept has them, too.
$c->misses_the_log($n[2], sub {
	$n[0]->sql("DROP TRIGGER total ON item");
	$n[0]->sql("CREATE FUNCTION fresh() RETURNS trigger LANGUAGE plpgsql AS \$paxos\$ BEGIN /* it's fresh */ NEW.v := NEW.v + 2; RETURN NEW; END \$paxos\$");
	$n[0]->sql("CREATE TRIGGER zz BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION fresh()");
	$n[1]->sql_after_barrier("COMMENT ON TRIGGER zz ON item IS 'it''s last'");
	$n[0]->fails("COMMENT ON TRIGGER zzz ON item IS 'x'", '42704', qr/trigger "zzz" for table "item" does not exist/, 'a comment on what is not there');
});
is($c->same_everywhere("SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgname = 'zz'", 'comments'), "it's last", 'on triggers');
$c->same_everywhere("SELECT string_agg(pg_get_triggerdef(oid), '; ' ORDER BY tgname) FROM pg_trigger WHERE NOT tgisinternal", 'a snapshot brings the triggers');
$n[2]->sql_after_barrier("INSERT INTO item VALUES (40, 2)");
is($c->same_everywhere("SELECT by || ' ' || v FROM item WHERE id = 40", 'a row made there'), "$n[2]{port} again 4", 'and they fire there, functions and all');
$c->await_equal;
done_testing();
