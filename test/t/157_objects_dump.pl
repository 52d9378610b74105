# pg_dump of a database with schemas, types, domains and functions of all nodes, restored
# through psql with paxos.ddl = all; and a node that leaves, and comes back.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 2);
my $new = PaxosCluster->new(nodes => 2);
$_->sql("CREATE ROLE clerk") for $c->nodes, $new->nodes;
$_->await_followers for $c, $new;
my $n = $c->node(2);
$n->sql("SET paxos.ddl = 'all'; SET default_table_access_method = paxos;" . $_) for split /;\n/, q{
CREATE SCHEMA shop AUTHORIZATION clerk;
CREATE TYPE shop.state AS ENUM ('new', 'paid', 'it''s sent');
ALTER TYPE shop.state ADD VALUE 'lost' BEFORE 'paid';
CREATE DOMAIN shop.amount AS numeric(10,2) DEFAULT 0 NOT NULL CONSTRAINT positive CHECK (VALUE >= 0);
CREATE TYPE shop.line AS (article text COLLATE "C", n int, price shop.amount);
CREATE TYPE public.prices AS RANGE (subtype = numeric, multirange_type_name = public.many_prices);
CREATE FUNCTION shop.total(l shop.line[]) RETURNS numeric LANGUAGE sql STABLE COST 5 AS 'SELECT sum(n * price) FROM unnest(l)';
CREATE TABLE shop.ord (id int PRIMARY KEY, s shop.state DEFAULT 'new', l shop.line[], p prices, t numeric DEFAULT shop.total(NULL));
CREATE FUNCTION shop.open(shop.ord) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = shop AS $$ BEGIN RETURN $1.s < 'paid'; END $$;
CREATE PROCEDURE shop.close(i int) LANGUAGE sql BEGIN ATOMIC UPDATE shop.ord SET s = 'lost' WHERE id = i; END;
CREATE FUNCTION shop.loud() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.t := shop.total(NEW.l); RETURN NEW; END';
CREATE TRIGGER loud BEFORE INSERT OR UPDATE ON shop.ord FOR EACH ROW EXECUTE FUNCTION shop.loud();
COMMENT ON TYPE shop.state IS 'of an order';
COMMENT ON FUNCTION shop.total IS 'sum';
ALTER FUNCTION shop.total OWNER TO clerk;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
REVOKE ALL ON FUNCTION shop.open FROM PUBLIC;
GRANT EXECUTE ON FUNCTION shop.open TO clerk;
INSERT INTO shop.ord VALUES (1, 'it''s sent', ARRAY[('a b', 2, 3.5)::shop.line], '[1,2)', NULL), (2, 'new', NULL, NULL, NULL)};
is($n->sql("SELECT count(*) FROM paxos.objects"), 9, 'all are objects of all nodes');
sub dumped
{
	my ($n) = @_;
	my $file = "$n->{dir}/dump.sql";
	$n->run('dump', 'pg_dump', '-d', $n->conninfo, '-f', $file);
	return PaxosCluster::Node::slurp($file) =~ s/^\\(un)?restrict .*//mgr;
}
my $dump = dumped($n);
my $m = $new->node(2);
{
	local $ENV{PGOPTIONS} = '-c paxos.ddl=all';
	$m->run('restore', 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $m->conninfo, '-f', "$n->{dir}/dump.sql");
}
is(dumped($m), $dump, 'psql restores the dump in a fresh cluster, where it is dumped the same');
is($new->same_everywhere("SELECT count(*) FROM paxos.objects", 'objects'), 9, 'on all nodes');
$new->same_everywhere("SELECT definition FROM paxos.objects ORDER BY identity", 'alike');
$new->same_everywhere("SELECT o, shop.total(l), shop.open(o) FROM shop.ord o ORDER BY id", 'and the rows');
is($new->node(1)->sql("CALL shop.close(2); SELECT s FROM shop.ord WHERE id = 2"), 'lost', 'a procedure');
my $other = $c->node(1);
is($other->sql("SELECT t FROM shop.ord WHERE id = 1"), '7.00', 'a trigger that calls one');

# A table, and what refers to it.
$n->fails("DROP TABLE shop.ord", '2BP01', qr/function shop\.open\(shop\.ord\) depends on type shop\.ord|function shop\.close/, 'a function of all nodes refers to a table');
$n->fails("ALTER TABLE shop.ord ALTER COLUMN s TYPE text", '22000', qr/used by a function/, 'and to a column');
$n->fails("ALTER TABLE shop.ord DROP COLUMN s", '2BP01', qr/other objects depend on it/, 'so that neither goes');
$c->node(1)->sql("DROP TABLE shop.ord CASCADE");
is($c->same_everywhere("SELECT string_agg(identity, ' ' ORDER BY identity) FROM paxos.objects", 'with CASCADE'), 'public.prices shop shop.amount shop.line shop.loud() shop.state shop.total(shop.line[])', 'what refers to it goes, too');

# A node that leaves has nothing of them left, but for what something of its own uses; and
# what it has kept as it was is no hindrance when it comes back.
$m->sql("CREATE SCHEMA mine; CREATE TABLE mine.t (p prices)");
$new->node(1)->sql("SELECT paxos_remove_member((SELECT node_id::text FROM paxos.members WHERE NOT self), force => true)");
$m->poll_sql("SELECT state FROM paxos.status", 'removed');
$m->sql("SELECT paxos_leave_cluster()");
is($m->sql("SELECT (SELECT count(*) FROM paxos.object), (SELECT string_agg(typname, ',') FROM pg_type WHERE oid > 16383 AND typname IN ('state', 'amount', 'line', 'prices')), (SELECT count(*) FROM pg_namespace WHERE nspname = 'shop')"), '0|prices|0', 'what a node has left that leaves');
$new->node(1)->sql("SELECT paxos_add_member('" . $m->member_conninfo . "', 'again')");
$m->poll_sql("SELECT state FROM paxos.snapshot_progress", 'loaded');
$new->same_everywhere("SELECT object_id, definition FROM paxos.objects ORDER BY 1", 'a newcomer has them');
$new->same_everywhere("SELECT o, shop.total(l), shop.open(o) FROM shop.ord o ORDER BY id", 'and the rows');
$m->fails("DROP TYPE prices", '2BP01', qr/column p of table mine\.t depends on type prices/, 'and what it had kept is that of all again');
done_testing();
