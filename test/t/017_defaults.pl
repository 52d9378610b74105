# Defaults are evaluated where a row is inserted, and may do there what they like:
# call us again for the same table, be evaluated for one role after another, or
# make a row that cannot be shown.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 1);
my ($n) = $c->nodes;

# ---- again, inside of itself ------------------------------------------------------------
# What is known of the table is struck by an invalidation while the outer call uses
# it; and an expression is met that is being evaluated.
$n->sql(q{CREATE FUNCTION again() RETURNS text LANGUAGE plpgsql AS $$
DECLARE depth int := coalesce(nullif(current_setting('test.depth', true), ''), '0')::int;
BEGIN
	IF depth < 3 THEN
		PERFORM set_config('test.depth', (depth + 1)::text, false);
		UPDATE pg_class SET reltuples = depth WHERE relname = 'again';
		PERFORM paxos_insert_if_not_exists('again', jsonb_build_object('id', depth + 1));
		UPDATE pg_class SET reltuples = -1 WHERE relname = 'again';
	END IF;
	RETURN 'made at depth ' || depth;
END $$});
$n->sql(q{CREATE TABLE again (id int PRIMARY KEY, note text DEFAULT repeat('-', 3)
	|| query_to_xml('SELECT again()', true, true, '')::text
	|| query_to_xml('SELECT 1', true, true, '')::text, other text DEFAULT 'x' || now()) USING paxos});
is($n->sql(q{SELECT applied FROM paxos_insert_if_not_exists('again', '{"id": 0}')}), 't', 'a default that inserts into its own table');
is($n->sql(q{SELECT string_agg(id || ' ' || substring(note, 'made at depth \d') || ' ' || (note LIKE '---%1%') || ' ' || (other LIKE 'x%'), ', ' ORDER BY id) FROM again}),
	'0 made at depth 0 true true, 1 made at depth 1 true true, 2 made at depth 2 true true, 3 made at depth 3 true true', 'each row has its own');

# ---- one role after another ---------------------------------------------------------------
$n->sql("CREATE TABLE shared (id serial PRIMARY KEY, t timestamptz DEFAULT now(), u text DEFAULT upper('a') || lower('B')) USING paxos");
$n->sql("CREATE ROLE one; CREATE ROLE two; GRANT ALL ON shared TO one, two; GRANT ALL ON SEQUENCE shared_id_seq TO one, two");
my $s = $n->session;
my $used = "SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name LIKE 'paxos %'";
my $rounds = sub {
	my ($n) = @_;
	$s->query("SET ROLE one; SELECT applied FROM paxos_insert_if_not_exists('shared', '{}'); SET ROLE two; SELECT applied FROM paxos_insert_if_not_exists('shared', '{}'); RESET ROLE") for 1 .. $n;
};
$rounds->(2);
my $before = $s->query($used);
$rounds->(20);
is($s->query($used), $before, 'a pooled session does not grow with every change of role');

# ---- a row that cannot be shown -------------------------------------------------------------
$n->sql(q{CREATE TABLE unseen (id int PRIMARY KEY, j json DEFAULT '{"a": "\u0000"}') USING paxos});
my $r = $n->try(q{SELECT applied, current IS NULL FROM paxos_insert_if_not_exists('unseen', '{"id": 1}')});
is($r->{ok} ? $r->{out} : $r->{err}, 't|t', 'what was applied is not said to have failed');

done_testing;
