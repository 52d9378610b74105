# Forming a cluster: what is checked first, and what an interrupted call leaves
# for the next one (protocol.md section 7, last paragraph; src/paxos_cluster.c).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, form => 0);
my ($n1, $n2, $n3) = $c->nodes;
my $foreign = $c->add_server(initdb => ['--locale=C.UTF-8']);
$foreign->start;
$foreign->create_extension;
my $bare = $c->add_server;
$bare->conf("shared_preload_libraries = ''");
$bare->start;
$bare->sql("CREATE ROLE node LOGIN");

sub create { return "SELECT paxos_create_cluster(ARRAY[" . join(', ', @_) . "])"; }
sub states { return join(' ', map { $_->sql("SELECT coalesce((SELECT state FROM paxos.node), 'none')") } $n1, $n2, $n3); }
my @m = map { $c->members($_) } $c->nodes;

# ---- checks: nothing is written anywhere --------------------------------------------------------
$n1->fails(create($m[0], $m[3]), '55000', qr/default collation.*node1.*node2/s, 'another default collation');
$n1->fails(create($m[0], $m[4]), '55000', qr/not loaded at the start of node "node2".*shared_preload_libraries/s, 'a server without the preload');
$bare->fails("CREATE EXTENSION paxos_ext; SELECT paxos_create_cluster('{}')", '55000', qr/shared_preload_libraries = 'paxos_ext'/,
	'and its own functions name the line to add');
$n1->sql("CREATE DATABASE elsewhere");
$n2->sql("CREATE DATABASE elsewhere");
(my $wrong = $m[1]) =~ s/dbname=postgres/dbname=elsewhere/;
$n1->fails(create($m[0], $wrong), '55000', qr/works in database "postgres", not in "elsewhere"/, 'another database than paxos.database');
(my $unfit = $m[1]) =~ s/user=node/user=outsider/;
$n2->sql("CREATE ROLE outsider LOGIN");
$n1->fails(create($m[0], $unfit), '42501', qr/GRANT paxos_peer TO outsider/, 'a role that may not call the functions of peers');
(my $secret = $m[1]) =~ s/user=node/user=node password=x/;
$n1->fails(create($m[0], $secret), '22023', qr/password file/, 'a password in a connection string');
$n1->fails(create($m[0], "'host=a,b'"), '22023', qr/several servers/, 'a connection string of several servers');
(my $again = $m[1]) =~ s/user=node/user=node connect_timeout=9/;
$n1->fails(create($m[0], $m[1], $again), '22023', qr/"node2" and "node3" are one and the same server/, 'two addresses of one server');
$n1->fails("SELECT paxos_create_cluster(ARRAY[" . $m[0] . "], ARRAY['a', 'b'])", '22023', qr/as many names/, 'names that do not fit');
$n1->fails("SELECT paxos_create_cluster(array_fill('host=x'::text, ARRAY[16]))", '22023', qr/1 to 15/, 'too many nodes');
$n1->fails('BEGIN; ' . create(@m[0 .. 2]), '25001', qr/transaction block/, 'inside a transaction block');
$n1->fails(create($m[0]), '42501', qr/permission denied/, 'by just anybody', user => 'node');
$n1->fails("SELECT paxos.form_begin('00000000-0000-0000-0000-000000000000')", '55000', qr/forming lock/, 'the steps one by one', user => 'node');
is(states(), 'none none none', 'no node has recorded anything');

# ---- step 1 fails at the third node ------------------------------------------------------------------
$n3->sql("ALTER FUNCTION paxos.form_record(uuid, int, bytea) RENAME TO gone");
$n1->fails(create(@m[0 .. 2]), '55000', qr/could not record the configuration on node "node3".*No node has begun/s, 'the third node cannot record');
is(states(), 'forming forming none', 'two have, and none has begun');
$n1->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/formed completely/, 'a forming node decides nothing');
my $first = $n1->sql("SELECT cluster_id FROM paxos.node");
$n1->fails("SELECT * FROM paxos.pre_vote('$first', 1, 1, 0)", '55000', qr/not begun/, 'and does not vote', user => 'node');
$n3->sql("ALTER FUNCTION paxos.gone(uuid, int, bytea) RENAME TO form_record");

# ---- step 2 fails at the third node ------------------------------------------------------------------
$n3->sql("ALTER FUNCTION paxos.form_begin(uuid) RENAME TO gone");
$n1->fails(create(@m[0 .. 2]), '55000', qr/could not begin on node "node3".*same connection strings/s, 'the third node cannot begin');
is(states(), 'member member forming', 'two have begun');
my $second = $n1->sql("SELECT cluster_id FROM paxos.node");
isnt($second, $first, 'the new attempt has replaced the records of the one that never began');
$n3->sql("ALTER FUNCTION paxos.gone(uuid) RENAME TO form_begin");
$n3->fails(create($m[2], $m[1]), '55000', qr/other nodes than those given/, 'nor is it with some of the nodes');
like($n3->try(create($m[2], $m[0], $m[1]))->{err}, qr/NOTICE.*finishing the cluster $second/, 'called again, on any node, in any order, it finishes');
is(states(), 'member member member', 'all have begun');
is($n3->sql("SELECT count(DISTINCT x) FROM unnest(ARRAY['$second'::uuid, (SELECT cluster_id FROM paxos.node)]) x"), 1, 'in the one cluster');
is($n3->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'which works');
$n1->fails(create(@m[0 .. 2]), '42710', qr/already/, 'and is not formed twice');

# A begun node whose peer has lost its record: it may have voted.
$n3->stop('fast');
my $new = $c->add_server;
$new->start;
$new->create_extension;
$n1->fails(create($m[0], $c->members($new)), '55000', qr/belongs to cluster $second already, node "node2" does not/, 'a member and a new server');
done_testing;
