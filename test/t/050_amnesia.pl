# A node that may have forgotten what it promised does not vote: restored copies,
# clones, promoted standbys, switched-off flushing.  Each is noticed, says so
# everywhere, and the others go on (protocol.md section 10).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "wal_level = replica\nmax_wal_senders = 4\nwal_keep_size = 64MB\n");
my $x = $c->node(3);
my @others = ($c->node(1), $c->node(2));
my $n = 0;

sub put
{
	my ($node) = @_;
	$n++;
	return $node->try("SELECT applied FROM paxos_kv_put('k$n', '$n')")->{out};
}

# It is fenced for this reason and says so in all places; the others work.
sub is_fenced
{
	my ($node, $alarm, $like, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	PaxosCluster::poll("$name: fenced", sub { $node->sql("SELECT state FROM paxos.status") eq 'fenced' });
	like($node->sql("SELECT why FROM paxos.status"), $like, "$name: paxos.status says why");
	my ($a, $detail, $hint) = split /\|/, $node->sql("SELECT alarm, detail, length(hint) > 20 FROM paxos.alarms");
	is($a, $alarm, "$name: it is an alarm");
	like($detail, $like, "$name: with the reason");
	is($hint, 't', "$name: and a hint");
	my $r = $node->fails("SELECT paxos_kv_put('x', '1')", '55000', $like, "$name: a write there fails");
	like($r->{hint} // '', qr/\S/, "$name: and says what to do");
	like(PaxosCluster::Node::slurp($node->logfile), qr/WARNING:  .*paxos: alarm "$alarm"/, "$name: the server's log has it");
	is(put($others[0]), 't', "$name: the others go on");
}

# With one of the others down its vote would be needed.
sub does_not_vote
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$others[1]->stop;
	my $r = $others[0]->try("SET paxos.statement_timeout = '1500ms'; SELECT applied FROM paxos_kv_put('never', '1')");
	like($r->{sqlstate}, qr/^(57P03|40003)$/, "$name: it does not vote");
	$others[1]->start;
	$c->await_leader;
}

sub is_well
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	PaxosCluster::poll("$name: a member, and no alarm", sub { $node->sql("SELECT state, (SELECT count(*) FROM paxos.alarms) FROM paxos.status") eq 'member|0' });
	PaxosCluster::poll("$name: it writes", sub { put($node) eq 't' });
}

is(put($x), 't', 'a write');
$c->await_equal;

# --- A greeting is an argument list like any other. -----------------------------

my $cluster = $x->sql("SELECT cluster_id FROM paxos.status");
sub greet { return sprintf "SELECT * FROM paxos.greet('%s', 1, 1, %s, (SELECT node_id FROM paxos.node), 1)", $_[0], $_[1]; }
$x->fails("SELECT * FROM paxos.greet('$cluster', 1, 1, 1, 1, 0, 0, 0, 77, 1)", '55000', qr/this is node/, 'a greeting meant for another node');
$x->fails(greet('00000000-0000-0000-0000-000000000001', '1, 1, 0, 0, 0'), '55000', qr/another cluster/, 'a stranger\'s is refused');
$x->fails(greet($cluster, '-1, 1, 0, 0, 0'), '22003', qr/incarnation/, 'so is a negative number');
$x->fails(greet($cluster, '1, NULL, 0, 0, 0'), '22004', qr/instance/, 'or none');
$x->fails(greet($cluster, '1, 1, 0, 1, 0'), '22023', qr/no ballot/, 'or what is no ballot');
is($x->sql(greet($cluster, '0, 1, 0, 0, 0')) =~ s/^(\d+)\|.*/$1/r, 1, 'a former life of a member is turned away');
is($x->sql("SELECT state FROM paxos.status"), 'member', 'all that has changed nothing');

# What another member remembers, this one must show; each on its own, told by hand.
my ($incarnation, $ballot) = split /\|/, $x->sql("SELECT incarnation, promised FROM paxos.node, paxos.acceptor");
for ([ "@{[$incarnation + 50]}, 0, 0", qr/has heard this node in incarnation/ ], [ "0, @{[$ballot + (50 << 16)]}, 0", qr/remembers that this node promised/ ],
	[ '0, 0, 1000', qr/remembers that this node accepted slot 1000/ ])
{
	my ($more, $like) = @$_;
	$x->sql(greet($cluster, "0, 1, $incarnation, $ballot, 1"));
	is($x->sql("SELECT state FROM paxos.status"), 'member', 'no more is remembered than it knows itself');
	$x->sql(greet($cluster, "0, 1, $more"));
	is($x->sql("SELECT state FROM paxos.status"), 'fenced', 'more is remembered than it knows itself: it is fenced at once');
	like($x->sql("SELECT doubt FROM paxos.node"), $like, 'and durably');
	$x->sql("SELECT paxos_trust_node(true)");
	is_well($x, 'trusted');
	$x->sql(greet($cluster, "0, 1, $more"));
	is($x->sql("SELECT state FROM paxos.status"), 'member', 'what was overruled stays so');
}

# --- Flushing switched off while it runs. -------------------------------------

$x->conf('paxos.allow_fsync_off = off');
$x->reload;
is_fenced($x, 'fsync off', qr/fsync is off/, 'fsync off');
does_not_vote('fsync off');
$x->conf('fsync = on');
$x->reload;
PaxosCluster::poll('the other setting', sub { $x->sql("SELECT why FROM paxos.status") =~ /full_page_writes is off/ });
pass('full_page_writes off is noticed, too');
$x->conf('full_page_writes = on');
$x->reload;
PaxosCluster::poll('a restart is asked for', sub { $x->sql("SELECT why FROM paxos.status") =~ /has been off since/ });
pass('and switching it on does not undo what it did');
$x->fails("SELECT paxos_trust_node(true)", '55000', qr/not for anybody to overrule/, 'nor does anybody\'s word');
my $unflushed = $x->datadir . '/paxos_ext.unflushed';
$x->stop;
my $boot = PaxosCluster::Node::slurp($unflushed);
is($boot, PaxosCluster::Node::slurp('/proc/sys/kernel/random/boot_id'), 'it is written down in which boot of the machine that was');
$x->start;
is_well($x, 'after a restart');
ok(!-e $unflushed, 'everything is flushed then');

# The same, and the machine has been started anew: what was not flushed is gone.
$x->stop;
open my $other_boot, '>', $unflushed or die;
print $other_boot $boot =~ tr/0-9a-f/1-9a-f0/r;
close $other_boot;
$x->start;
is_fenced($x, 'amnesia', qr/paxos_ext\.unflushed.*machine has been started anew/, 'fsync off before the machine went down');
$x->restart;
is_fenced($x, 'amnesia', qr/paxos_ext\.unflushed/, 'it stays so');
$x->sql("SELECT paxos_trust_node(true)");
is_well($x, 'trusted on somebody\'s word');

# --- A plain file copy, put back later. ----------------------------------------

$x->stop;
my $data = $x->datadir;
system('cp', '-a', $data, "$data.old") == 0 or die;
$x->start;
PaxosCluster::poll('it writes again', sub { put($x) eq 't' });
# a promise that the copy does not know of
my $promised = $x->sql("SELECT promised FROM paxos.acceptor");
$_->restart for @others;
PaxosCluster::poll('it has promised more', sub { $x->sql("SELECT promised > $promised FROM paxos.acceptor") eq 't' });
$c->await_equal;
$x->stop;
rename $data, "$data.kept" or die;
system('cp', '-a', "$data.old", $data) == 0 or die;
put($others[0]);
$x->start;
is_fenced($x, 'amnesia', qr/paxos_ext\.node.*(copied|restored)/, 'a restored file copy');
does_not_vote('a restored file copy');
$x->restart;
is_fenced($x, 'amnesia', qr/paxos_ext\.node/, 'the same after a restart');
$x->fails("SELECT paxos_trust_node()", '22023', qr/without your word/, 'it is trusted only on somebody\'s word');

# Trusted wrongly, while nobody could contradict: what the others remember does,
# also when they have been restarted.
for my $o (@others)
{
	PaxosCluster::poll('memory is written down', sub {
		$o->sql("SELECT count(*) FROM paxos.member_memory WHERE node_id = 3 AND instance > 0 AND (promised > $promised OR $o->{number} <> " . $c->leader->id . ")") });
}
$_->stop for @others;
$x->restart;
PaxosCluster::poll('fenced', sub { $x->sql("SELECT state FROM paxos.status") eq 'fenced' });
$x->sql("SELECT paxos_trust_node(true)");
PaxosCluster::poll('trusted', sub { $x->sql("SELECT state FROM paxos.status") eq 'member' });
is($x->sql("SELECT count(*) FROM paxos.alarms"), 0, 'trusted on somebody\'s word');
$_->start for @others;
is_fenced($x, 'amnesia', qr/node [12] (remembers that|has met another server that said it is) this node/, 'trusted wrongly');
does_not_vote('trusted wrongly');
$x->restart;
is_fenced($x, 'amnesia', qr/node [12] (remembers that|has met another server that said it is) this node/, 'the same after a restart: it is written down');

# The files it last ran with, moved away and back.
$x->stop;
rename $data, "$data.wrong" or die;
rename "$data.kept", $data or die;
$x->start;
is_well($x, 'its own files are back');

# The sentinel touched by hand (chown -R does that): a false alarm, overruled.
$x->stop;
chmod 0640, "$data/paxos_ext.node";
$x->start;
is_fenced($x, 'amnesia', qr/not the one last written/, 'a touched sentinel');
$x->sql("SELECT paxos_trust_node(true)");
is_well($x, 'overruled');
$x->fails("SELECT paxos_trust_node(true)", '55000', qr/nobody doubts/, 'a node nobody doubts is not trusted again');
$x->stop;
unlink "$data/paxos_ext.node";
$x->start;
is_fenced($x, 'amnesia', qr/is missing/, 'no sentinel');
$x->sql("SELECT paxos_trust_node(true)");
is_well($x, 'overruled, too');

# A crash between the file and the row is no alarm: then the file is one ahead.
$x->stop;
my $next = $x->{number};
my $text = PaxosCluster::Node::slurp("$data/paxos_ext.node");
(my $ahead = $text) =~ s/(incarnation )(\d+)/$1 . ($2 + 1)/e;
open my $f, '>', "$data/paxos_ext.node.x" or die;
print $f "$ahead\n";
close $f;
rename "$data/paxos_ext.node.x", "$data/paxos_ext.node" or die;
$x->start;
is_well($x, 'a crash between sentinel and row');

# --- Clones beside the original. ------------------------------------------------

sub base_backup
{
	my ($name, @more) = @_;
	return $x->copy($name, sub {
		my ($copy) = @_;
		$copy->run('base backup', 'pg_basebackup', '-D', $copy->datadir, '-c', 'fast', '-X', 'stream',
			'-d', "host=127.0.0.1 port=$x->{port} user=postgres", @more);
		chmod 0700, $copy->datadir;
	});
}

my $clone = base_backup('clone');
$clone->start;
is_fenced($clone, 'amnesia', qr/backup_label\.old.*base backup/, 'a clone by pg_basebackup');
is_well($x, 'its original');
$clone->sql("SELECT paxos_trust_node(true)");
is_fenced($clone, 'twin', qr/leads to another server/, 'the clone, trusted: two servers with one identity');
is_well($x, 'its original then');

# It comes as a new node beside its original, which is at work and stays.
sub rejoins
{
	my ($node, $members, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->sql("CALL paxos_rejoin('" . $node->member_conninfo . "')");
	$node->poll_sql("SELECT state = 'member' AND voter FROM paxos.status");
	is($others[0]->sql("SELECT string_agg(node_id || ' ' || name, ', ' ORDER BY node_id) FROM paxos.members"), $members, "$name: $members");
	is($node->sql("SELECT count(*) FROM paxos.alarms"), 0, "$name: no alarm");
	PaxosCluster::poll("$name: it writes", sub { put($node) eq 't' });
	PaxosCluster::poll("$name: it has all", sub {
		$node->sql("SELECT count(*), sum(value::int) FROM paxos.kv") eq $others[0]->sql("SELECT count(*), sum(value::int) FROM paxos.kv") });
}

$clone->fails("CALL paxos_rejoin()", '55000', qr/connection string leads to another server.*CALL paxos_rejoin\('host/s, 'the clone knows only the address of its original');
is($clone->sql("SELECT state FROM paxos.status"), 'fenced', 'and has given up nothing');
rejoins($clone, '1 node1, 2 node2, 3 node3, 4 node4', 'the clone, rejoined beside its original');
is_well($x, 'its original, still a member');

my $standby = base_backup('standby', '-R');
$standby->start;
PaxosCluster::poll('the standby follows', sub { $standby->sql("SELECT count(*) > 0 FROM paxos.kv") eq 't' });
is($standby->sql("SELECT state FROM paxos.status"), 'starting', 'a physical standby is no node');
is($standby->sql("SELECT pg_promote()"), 't', 'promoted');
is_fenced($standby, 'amnesia', qr/timeline/, 'a promoted standby');
is_well($x, 'its primary');

my $pitr = base_backup('pitr');
$pitr->conf("restore_command = 'false'\nrecovery_target_action = 'promote'");
open $f, '>', $pitr->datadir . '/recovery.signal' or die;
close $f;
$pitr->start;
PaxosCluster::poll('recovered', sub { $pitr->sql("SELECT NOT pg_is_in_recovery()") eq 't' });
is_fenced($pitr, 'amnesia', qr/timeline/, 'point-in-time recovery');
is_well($x, 'its original');

# The one takes the place of its primary, which is lost; of the other the original is no
# member any more.
$x->kill9;
rejoins($standby, '1 node1, 2 node2, 4 node4, 5 node3', 'the standby, rejoined in the place of its primary');
rejoins($pitr, '1 node1, 2 node2, 4 node4, 5 node3, 6 node6', 'recovered to a point in time, and rejoined');
$x->start;
PaxosCluster::poll('it is told', sub { $x->sql("SELECT state FROM paxos.status") eq 'removed' });
pass('the primary, back after all, knows that it has been removed');
put($others[0]);
PaxosCluster::poll('all have it', sub {
	my %seen = map { $_->sql('SELECT applied, digest FROM paxos.status') => 1 } @others, $clone, $standby, $pitr;
	return keys %seen == 1;
});
pass('all is there on all nodes');
done_testing;
