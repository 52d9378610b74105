# pg_dump of a node: keeps the access method, the rows, and paxos.kv; and what a
# restore on a new server says.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_followers;
my $n = $c->node(2);
$n->sql("CREATE TABLE seat (id int PRIMARY KEY, holder text) USING paxos");
$n->sql("CREATE INDEX seat_holder ON seat (holder)");
$n->sql("SELECT paxos_insert_if_not_exists('seat', '{\"id\": 1, \"holder\": \"ada\"}')");
$n->sql("SELECT paxos_kv_put('colour', '\"blue\"')");
my $file = "$n->{dir}/dump.sql";
$n->run('dump', 'pg_dump', '-d', $n->conninfo, '-f', $file);
my $dump = PaxosCluster::Node::slurp($file);
like($dump, qr/SET default_table_access_method = paxos;\s+.*CREATE TABLE public\.seat/s, 'the table is dumped with its access method');
like($dump, qr/COPY public\.seat .*\n1\tada\n/, 'with its rows');
like($dump, qr/COPY paxos\.kv .*\ncolour\t"blue"\n/, 'and so is the content of paxos.kv');
like($dump, qr/CREATE INDEX seat_holder/, 'and the index');
unlike($dump, qr/COPY paxos\.(log_entry|acceptor|node|replicated|configuration|request)/, 'what makes this server that node is not');
unlike($dump, qr/CREATE TRIGGER/, 'nor is the backstop');

# Rows come back as any rows come in: from an ordinary table, through the functions.
$n->sql("SELECT paxos_delete_if('seat', '{\"id\": 1}', '{}')");
$n->sql("CREATE TABLE seat_load (LIKE seat)");
$n->sql("INSERT INTO seat_load SELECT g, 'holder ' || g FROM generate_series(1, 500) g");
is($n->sql("SELECT count(*) FROM seat_load l, LATERAL paxos_insert_if_not_exists('seat', to_jsonb(l)) r WHERE r.applied"), 500,
	'rows are loaded from an ordinary table in one statement');
is($c->same_everywhere("SELECT count(*), md5(string_agg(s::text, ',' ORDER BY id)) FROM seat s", 'and are the same everywhere') =~ /^500\|/ ? 1 : 0, 1, 'all of them');
done_testing;
