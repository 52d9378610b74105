# The way README.md sets up real servers: a role of its own for nodes, let in by
# pg_hba.conf over TLS only and with a password, which stands in the password file
# of the server's user; certificates verified; a database of its own.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

plan skip_all => 'openssl is not installed' if system('openssl version >/dev/null 2>&1') != 0;

# The servers inherit HOME, where their user's password file is.
my $passfile = "$ENV{HOME}/.pgpass";
open my $f, '>', $passfile or die "$passfile: $!";
print $f "localhost:*:app:node:secret of the nodes\n";
close $f;
chmod 0600, $passfile;

my $ca = "$ENV{PAXOS_WORK}/ca-$$.crt";
my $c = PaxosCluster->new(
	nodes => 3, extension => 0, database => 'app', conf => "ssl = on\n",
	prepare => sub {
		my ($n) = @_;
		my $d = $n->datadir;
		system("cd '$d' && openssl req -new -x509 -days 30 -nodes -subj /CN=localhost -out server.crt -keyout server.key >/dev/null 2>&1") == 0
		  or die "openssl failed";
		chmod 0600, "$d/server.key";
		system("cat '$d/server.crt' >> '$ca'");
		open my $hba, '>', "$d/pg_hba.conf" or die $!;
		print $hba "hostssl app node all scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n";
		close $hba;
	});
for my $n ($c->nodes)
{
	$n->sql("CREATE DATABASE app", database => 'postgres');
	$n->sql("CREATE EXTENSION paxos_ext; CREATE ROLE node LOGIN PASSWORD 'secret of the nodes' IN ROLE paxos_peer");
}
sub address { my ($n, $more) = @_; return "host=localhost port=$n->{port} dbname=app user=node $more"; }
my $list = sub { my ($more) = @_; return join ', ', map { "'" . address($_, $more) . "'" } $c->nodes };

my $r = $c->node(1)->fails("SELECT paxos_create_cluster(ARRAY[" . $list->('password=secret') . "])", '22023', qr/must not contain a password/,
	'a password in a connection string is refused');
unlike($r->{err}, qr/=secret/, 'and not repeated');
$c->node(1)->fails("SELECT paxos_create_cluster(ARRAY[" . $list->('sslmode=disable') . "])", '08001', qr/pg_hba.conf/,
	'without TLS pg_hba.conf lets nobody in');
is($c->node(1)->try("SELECT paxos_create_cluster(ARRAY[" . $list->("sslmode=verify-full sslrootcert=$ca") . "])")->{err}, '', 'with it the cluster forms');
$c->await_followers;
for my $n ($c->nodes)
{
	is($n->sql("SELECT applied FROM paxos_kv_put('from$n->{number}', '1')"), 't', "node $n->{number} writes");
}
$c->same_everywhere("SELECT key FROM paxos.kv ORDER BY key", 'and all agree');
for my $n ($c->nodes)
{
	is($n->sql("SELECT bool_and(s.ssl), count(*) > 0 FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) WHERE a.usename = 'node'"), 't|t',
		"every connection of nodes to node $n->{number} is encrypted");
}
like($c->node(2)->sql("SELECT string_agg(DISTINCT application_name, ', ' ORDER BY application_name) FROM pg_stat_activity WHERE usename = 'node'"),
	qr/paxos/, 'and says what it is');

# Shutting down the smart way waits for these connections; the fast way does not.
my $n = $c->node(3);
ok(!$n->run('try', 'pg_ctl', '-D', $n->datadir, '-m', 'smart', '-w', '-t', 2, 'stop'), 'pg_ctl stop -m smart does not end while nodes are connected');
$n->stop('fast');
pass('-m fast does');
unlink $passfile;
done_testing;
