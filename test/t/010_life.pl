# The life of a server around the extension: no extension, no cluster, DROP
# EXTENSION, DROP DATABASE, shutdowns, a physical standby and its promotion;
# forming that fails half-way; strangers.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# ---- before there is a cluster -------------------------------------------------------
my $c = PaxosCluster->new(nodes => 3, extension => 0, database => 'app');
my ($n1, $n2, $n3) = $c->nodes;
# The database the workers want does not exist yet: they are idle and harmless.
is($n1->sql("SELECT 1", database => 'postgres'), 1, 'a server without the database runs');
$_->sql("CREATE DATABASE app", database => 'postgres') for $c->nodes;
$n1->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type LIKE 'paxos %'");
pass('both workers run without the extension');
$n1->create_extension;
is($n1->sql("SELECT role FROM paxos.status") =~ /^(leader)$/ ? 1 : 0, 0, 'no cluster, no leader');
my $r = $n1->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/HINT/, 'no cluster yet');
$n1->fails("SELECT paxos_barrier()", '55000', qr/cluster/, 'no cluster yet, reading');

# ---- forming: what is checked first -----------------------------------------------------
my $m = $c->members;
$_->sql("CREATE ROLE paxos_peer; CREATE ROLE node LOGIN IN ROLE paxos_peer") for $n2, $n3;
$r = $n1->fails("SELECT paxos_create_cluster(ARRAY[$m])", '55000', qr/extension/, 'forming with a node that lacks the extension');
$_->sql("CREATE EXTENSION paxos_ext") for $n2, $n3;
$n1->fails("SELECT paxos_create_cluster(ARRAY[]::text[])", '22023', qr/./, 'no members');
$n1->fails("SELECT paxos_create_cluster(ARRAY['host=127.0.0.1 port=1 dbname=app user=node', " . $c->members($n1) . "])", '08001', qr/./, 'an unreachable member');
$n1->fails("SELECT paxos_create_cluster(ARRAY[" . $c->members($n1) . ", " . $c->members($n1) . ", " . $c->members($n2) . "])", '22023', qr/./, 'the same server twice');
$n1->fails("SELECT paxos_create_cluster(ARRAY[" . $c->members($n2, $n3) . "])", '22023', qr/./, 'without the server itself');
$n1->fails("SELECT paxos_create_cluster(ARRAY['nonsense', 'x'])", '42601', qr/./, 'no conninfo');
is($_->sql("SELECT count(*) FROM paxos.members"), 0, "node $_->{number} is in no cluster after all that") for $c->nodes;

# Half-way: the third node cannot record that it takes part (a session of its own
# holds the table), and dies while the two others have.  Such a cluster decides
# nothing, and the call can be made again.
my $holder = $n3->session;
$holder->query("BEGIN; LOCK TABLE paxos.node IN EXCLUSIVE MODE");
my $h = $n1->start_sql("SELECT paxos_create_cluster(ARRAY[$m])");
$_->poll_sql("SELECT state FROM paxos.status", 'forming') for $n1, $n2;
$n3->kill9;
$r = $n1->finish_sql($h);
ok(!$r->{ok} && $r->{err} =~ /node3/, 'forming fails half-way, and says where') or diag "$r->{out} $r->{err}";
is($_->sql("SELECT state FROM paxos.status"), 'forming', "node $_->{number} stays where it was") for $n1, $n2;
$_->fails("SELECT paxos_kv_put('k', '1')", '55000', qr/./, "half-formed, node $_->{number} decides nothing") for $n1, $n2;
$n3->start;

# Two calls at once, on two nodes: they do not mix, and one cluster comes of it.
my @calls = map { [ $_, $_->start_sql("SELECT paxos_create_cluster(ARRAY[$m])") ] } $n1, $n2;
my @formed = grep { $_->{ok} } map { $_->[0]->finish_sql($_->[1]) } @calls;
note("two calls at once: " . scalar(@formed) . " succeeded");
if (!@formed)
{
	$r = $n3->try("SELECT paxos_create_cluster(ARRAY[$m])");
	ok($r->{ok}, 'neither won, and a third call does') or diag $r->{err};
}
$c->await_followers;
is($n2->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'the cluster works');
$n2->fails("SELECT paxos_create_cluster(ARRAY[$m])", '42710', qr/already/, 'a member cannot form another cluster');
is(scalar(keys %{ { map { $_->sql("SELECT cluster_id FROM paxos.status") => 1 } $c->nodes } }), 1, 'all are in one cluster');

# ---- strangers -----------------------------------------------------------------------------
for my $n ($c->nodes) { $n->sql("CREATE ROLE stranger LOGIN"); }
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.status");
my $zero = '00000000-0000-0000-0000-000000000000';
$n1->fails("SELECT * FROM paxos.pre_vote('$cluster', 1, 2, 0)", '42501', qr/paxos_peer|permission denied/, 'a role without paxos_peer', user => 'stranger');
$n1->fails("CALL paxos.prepare('$cluster', 1, 2, 1, 1, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)", '42501',
	qr/paxos_peer|permission denied/, 'neither may it prepare', user => 'stranger');
$n1->fails("SELECT * FROM paxos.pre_vote('$zero', 1, 2, 0)", '55000', qr/cluster/, 'another cluster', user => 'node');
$n1->fails("SELECT * FROM paxos.pre_vote('$cluster', 99, 2, 0)", '0A000', qr/version/, 'another protocol version', user => 'node');
$n1->fails("SELECT * FROM paxos.pre_vote('$cluster', 1, 70000, 0)", '55000', qr/70000/, 'a number that no node has', user => 'node');
ok($n1->try("SELECT * FROM paxos.pre_vote('$cluster', 1, 77, 0)", user => 'node')->{ok}, 'a node not heard of yet is judged on its merits: this one may lag');
for my $garbage (
	"SELECT * FROM paxos.pre_vote(NULL, NULL, NULL, NULL)",
	"SELECT * FROM paxos.pre_vote('$cluster', 1, -1, -5)",
	"SELECT paxos.hand_over('$cluster', 1, 2, -1)",
	"SELECT paxos.forward('$cluster', 1, 2, 1, false, ARRAY['\\xdeadbeef'::bytea], 0)",
	"SELECT paxos.forward('$cluster', 1, 2, -1, NULL, NULL, -1)",
	"SELECT * FROM paxos.fetch('$cluster', 1, 2, -5, 9223372036854775807, -1)",
	"CALL paxos.prepare('$cluster', 1, 2, -1, -1, -1, -1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
	"CALL paxos.accept('$cluster', 1, 2, 131074, 1, 5, ARRAY['\\x00'::bytea, NULL], -3, 0, -1, true, 99999999, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
	"CALL paxos.accept('$cluster', 1, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)")
{
	my $r = $n1->try($garbage, user => 'node');
	isnt($r->{sqlstate}, 'lost', 'garbage is answered, not crashed on: ' . substr($garbage, 0, 60)) or diag $r->{err};
}
is($n1->sql("SELECT applied FROM paxos_kv_put('after garbage', '1')"), 't', 'and the node still works');
$c->same_everywhere("SELECT key FROM paxos.kv ORDER BY 1", 'as do the others');

# ---- shutdowns and restarts ------------------------------------------------------------------
for my $mode (qw(fast immediate))
{
	for my $n ($c->await_followers, $n1)
	{
		my $t = PaxosCluster::now();
		$n->restart($mode);
		cmp_ok(PaxosCluster::now() - $t, '<', 30, "pg_ctl restart -m $mode of node $n->{number}");
		$c->await_leader;
		my $r = $n->try("SELECT applied FROM paxos_kv_put('restart $mode', '1')");
		is($r->{out}, 't', 'and it writes') or diag $r->{err};
	}
}
$n1->reload;
is($n1->sql("SELECT applied FROM paxos_kv_put('reload', '1')"), 't', 'SIGHUP');

# fsync off without permission: the acceptor refuses, and says why.
$n3->conf("paxos.allow_fsync_off = off");
$n3->reload;
$n3->poll_sql("SELECT state = 'fenced' FROM paxos.status");
pass('fsync switched off: the node fences itself');
$n3->conf("paxos.allow_fsync_off = on");
$n3->reload;
$n3->poll_sql("SELECT state = 'member' FROM paxos.status");
$c->await_followers;

# ---- a physical standby of a node ----------------------------------------------------------------
my $standby = $c->add_server;
system('rm', '-rf', $standby->datadir);
$n2->run('basebackup', 'pg_basebackup', '-D', $standby->datadir, '-d', "host=127.0.0.1 port=$n2->{port} user=postgres dbname=replication",
	'-c', 'fast', '-X', 'stream', '-R');
$standby->conf("port = $standby->{port}");
$standby->start;
$n2->sql("SELECT paxos_kv_put('standby', '1')");
$standby->poll_sql("SELECT count(*) FROM paxos.kv WHERE key = 'standby'", 1);
pass('a physical standby of a node shows its rows');
my $w = $standby->try("SET paxos.statement_timeout = '1s'; SELECT paxos_kv_put('x', '1')");
like($w->{sqlstate}, qr/^(25006|55000)$/, "it refuses to write ($w->{sqlstate})") or diag "$w->{out} $w->{err}";
$standby->sql("SELECT pg_promote()");
$standby->poll_sql("SELECT NOT pg_is_in_recovery()");
$standby->poll_sql("SELECT state = 'fenced' FROM paxos.status");
pass('promoted, it is fenced: it may not vote as the node it was copied from');
$w = $standby->try("SET paxos.statement_timeout = '1s'; SELECT paxos_kv_put('x', '1')");
is($w->{sqlstate}, '55000', 'and says so') or diag "$w->{out} $w->{err}";
is($n2->sql("SELECT applied FROM paxos_kv_put('original', '1')"), 't', 'the original goes on');
$standby->kill9;
$standby->{gone} = 1;

# ---- DROP EXTENSION, DROP DATABASE ---------------------------------------------------------------
my @three = ($n1, $n2, $n3);
$n3->sql("DROP EXTENSION paxos_ext CASCADE");
is($n3->sql("SELECT 1"), 1, 'DROP EXTENSION: the server lives');
$c->await_leader;
is($n1->sql("SELECT applied FROM paxos_kv_put('without third', '1')"), 't', 'and the two others go on');
$n3->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type LIKE 'paxos %'");
# The other nodes still look for it there; they are put off as any session is.
$n3->sql("DROP DATABASE app WITH (FORCE)", database => 'postgres');
pass('DROP DATABASE WITH (FORCE) works while the workers run and peers connect');
is($n3->sql("SELECT count(*) FROM pg_database WHERE datname = 'app'", database => 'postgres'), 0, 'and it is gone');
$n3->stop('fast');
pass('the server without its database shuts down');
is($n2->sql("SELECT applied FROM paxos_kv_put('two left', '1')"), 't', 'two of three write');

# A server with the extension and no cluster: nothing of ours holds its database.
my $single = PaxosCluster->new(nodes => 1, form => 0, database => 'app')->node(1);
$single->poll_sql("SELECT state FROM paxos.status", 'no cluster');
$single->sql("DROP DATABASE app", database => 'postgres');
pass('DROP DATABASE works while the workers are in it');
$single->sql("CREATE DATABASE app", database => 'postgres');
$single->sql("CREATE EXTENSION paxos_ext");
$single->poll_sql("SELECT state FROM paxos.status", 'no cluster');
pass('and they find a new one of that name');
$single->sql("DROP EXTENSION paxos_ext CASCADE; CREATE EXTENSION paxos_ext");
$single->sql("SELECT paxos_create_cluster(ARRAY['" . $single->conninfo . "'])");
is($single->sql("SELECT applied FROM paxos_kv_put('alone', '1')"), 't', 'a cluster of one works');
$single->sql("DROP EXTENSION paxos_ext CASCADE");
$single->poll_sql("SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type LIKE 'paxos %'");
pass('DROP EXTENSION under a member');
done_testing;
