# The procedures of docs/operations.md, carried out with its own commands: they are
# taken from there, by a part of their text, and one that is not carried out here
# is a failure.  What stands for the addresses and directories of an example is
# replaced; nothing else is.
use strict;
use warnings;
use FindBin;
use PaxosCluster;
use Test::More;

# ---- what the page says ------------------------------------------------------------------
my @commands;
my $file = "$FindBin::RealBin/../../docs/operations.md";
open my $page, '<', $file or die "$file: $!";
my ($kind, $text) = ('', '');
while (<$page>)
{
	if (/^```(sql|sh)?$/) { $kind = $1 // ''; $text = ''; next }
	next unless $kind;
	s/^(#|-- ).*//;
	s/\s+(#|--) .*$//;
	$text .= $_ if /\S/ || $text;
	next unless $kind eq 'sh' ? $text =~ /\S/ : $text =~ /;\s*\z|^\\/;
	chomp $text;
	push @commands, { kind => $kind, text => $text, done => 0 };
	$text = '';
}
close $page;
cmp_ok(scalar(@commands), '>', 50, 'docs/operations.md has ' . @commands . ' commands');

my (%server, %place);	# what "db4" and "/backup" are here

# Carry out the command with this in it, on this node; what a test says of its result.
sub carry_out
{
	my ($n, $part, %opt) = @_;
	my @found = grep { index($_->{text}, $part) >= 0 } @commands;
	my %texts = map { $_->{text} => 1 } @found;
	die "docs/operations.md: " . keys(%texts) . " commands with \"$part\"\n" if keys %texts != 1;
	$_->{done} = 1 for @found;
	my $cmd = $found[0];
	my $t = $cmd->{text};
	$t =~ s/host=(db\w+)\.example\.org/'host=127.0.0.1 port=' . $server{$1}->{port}/ge;
	$t =~ s/(db\w+)\\\.example\\\.org:/'127\\.0\\.0\\.1:' . $server{$1}->{port} . ':'/ge;
	for my $p (sort keys %place) { $t =~ s/(?<![\w.])\Q$p\E(?!\w)/$place{$p}/g; }
	return $n->try($t) if $cmd->{kind} eq 'sql';

	local %ENV = (%ENV, PGDATA => $n->datadir, PGPORT => $n->{port}, PGHOST => '127.0.0.1', PGUSER => 'postgres', PGDATABASE => 'app',
		PATH => "$PaxosCluster::BINDIR:$ENV{PATH}", OLD_BIN => $PaxosCluster::BINDIR, NEW_BIN => $PaxosCluster::BINDIR);
	open my $f, '>', "$n->{dir}/command.sh" or die $!;
	print $f "cd '" . ($opt{in} // $n->{dir}) . "'\n$t\n";
	close $f;
	my $ok = system("sh -e '$n->{dir}/command.sh' >'$n->{dir}/command.out' 2>&1 </dev/null") == 0;
	my $out = PaxosCluster::Node::slurp("$n->{dir}/command.out");
	if ($t =~ /^pg_ctl stop/ && $ok) { $n->{running} = 0 }
	if ($t =~ /^pg_ctl start/ && $ok) { $n->{running} = 1; $n->{pid} = $n->postmaster_pid }
	return { ok => $ok, out => $out, err => $ok ? '' : "$t\n$out" };
}

sub done
{
	my ($n, $part, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $r = carry_out($n, $part, %opt);
	ok($r->{ok}, $name // $part) or diag $r->{err};
	return $r->{out};
}

sub until_it_says
{
	my ($n, $part, $like, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $r;
	ok(eval { PaxosCluster::poll($part, sub { $r = carry_out($n, $part); $r->{ok} && $r->{out} =~ $like }) }, $name) or diag "$r->{out} $r->{err}";
}

# ---- a cluster of three, as the README makes one ---------------------------------------------
my $secret = 'secret';
$ENV{HOME} .= "/home-$$";
mkdir $ENV{HOME} or die $!;
my $passfile = "$ENV{HOME}/.pgpass";
my $archive = "$ENV{HOME}/archive";
mkdir $archive;

sub let_nodes_in_by_password
{
	my ($n) = @_;
	my $hba = $n->datadir . '/pg_hba.conf';
	my $rest = PaxosCluster::Node::slurp($hba);
	open my $f, '>', $hba or die $!;
	print $f "host app node 127.0.0.1/32 scram-sha-256\n$rest\n";
	close $f;
	open $f, '>>', $passfile or die $!;
	print $f "127.0.0.1:$n->{port}:app:node:secret\n";
	close $f;
	chmod 0600, $passfile;
}

my $c = PaxosCluster->new(nodes => 3, extension => 0, database => 'app', prepare => \&let_nodes_in_by_password,
	conf => "archive_mode = on\narchive_command = 'cp %p $archive/%f'\n");
sub prepare
{
	my ($n) = @_;
	$n->sql("CREATE DATABASE app", database => 'postgres');
	$n->sql("CREATE EXTENSION paxos_ext; CREATE ROLE node LOGIN PASSWORD 'secret' IN ROLE paxos_peer");
}
prepare($_) for $c->nodes;
my ($n1, $n2, $n3) = $c->nodes;
@server{qw(db1 db2 db3)} = ($n1, $n2, $n3);
$n1->sql("SELECT paxos_create_cluster(ARRAY[" . join(', ', map { "'host=127.0.0.1 port=$_->{port} dbname=app user=node'" } $c->nodes) . "], ARRAY['one', 'two', 'three'])");
my $leader = $c->await_followers;
$n1->sql("CREATE TABLE seat (id bigserial PRIMARY KEY, holder text) USING paxos");
$n1->sql("CREATE INDEX seat_holder ON seat (holder)");
$n1->sql("SELECT paxos_insert_if_not_exists('seat', jsonb_build_object('holder', 'guest ' || g)) FROM generate_series(1, 100) g");
$n1->sql(q{SELECT paxos_kv_put('colour', '"blue"')});
$c->await_equal;
my $rows = "SELECT count(*), md5(string_agg(s::text, ',' ORDER BY id)) FROM seat s";
my $all = $n1->sql($rows);

# A server that could become a member.
sub fresh
{
	my $n = $c->add_server;
	$n->start;
	prepare($n);
	return $n;
}

# What a server is when it has lost its files: the same address, a new data directory.
sub emptied
{
	my ($n) = @_;
	my $conf = PaxosCluster::Node::slurp($n->datadir . '/postgresql.conf');
	my $hba = PaxosCluster::Node::slurp($n->datadir . '/pg_hba.conf');
	system('rm', '-rf', $n->datadir);
	$n->run('initdb', 'initdb', '-N', '-A', 'trust', '-U', 'postgres', '-D', $n->datadir, '--no-instructions', '--encoding=UTF8', '--locale=C');
	for ([ 'postgresql.conf', $conf ], [ 'pg_hba.conf', $hba ])
	{
		open my $f, '>', $n->datadir . "/$_->[0]" or die $!;
		print $f $_->[1], "\n";
		close $f;
	}
	$n->start;
	prepare($n);
}

sub is_member
{
	my ($n, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$n->poll_sql("SELECT state = 'member' AND bool_or(m.voter AND m.self) FROM paxos.status, paxos.members m GROUP BY state");
	is($n->sql_after_barrier($rows), $all, "$name: it votes and has the rows");
}

# ---- what to watch -------------------------------------------------------------------------
is(done($_, 'FROM paxos.alarms', 'alarms'), '', 'none') for $c->nodes;
like(done($n1, 'SELECT state, why, role, leader', 'status'), qr/^member\|\|/, 'a member');
is(scalar(split /\n/, done($leader, 'SELECT node_id, role, connected, last_contact', 'members')), 3, 'three');
like(done($n1, 'SELECT writes, write_p50_ms', 'counters'), qr/^\d+\|/, 'counted');
like(done($n1, 'SELECT state, source, tables_done', 'a snapshot'), qr/^none\|/, 'none was loaded');

# ---- the nodes' password ----------------------------------------------------------------------
done($n2, 'ALTER ROLE node PASSWORD');
done($n1, 'sed -i');
like(PaxosCluster::Node::slurp($passfile), qr/:$n2->{port}:app:node:new secret$/m, 'in the password file');
is(() = PaxosCluster::Node::slurp($passfile) =~ /:secret$/mg, 2, 'only that line was changed');
my $mark = $n2->log_size;
done($n2, 'pg_terminate_backend', 'connections of nodes are opened again');
for my $n ($c->nodes)
{
	until_it_says($n, 'last_error IS NOT NULL', qr/\A\z/, "node $n->{number}: all connections are there");
}
$c->await_followers;
is($n2->sql("SELECT applied FROM paxos_kv_put('password', '1')"), 't', 'with the new password');
unlike($n2->log_since($mark), qr/password authentication failed/, 'nobody was turned away');

# ---- a node that was down; minor release ------------------------------------------------------------
for my $n ($c->nodes)
{
	done($n, 'pg_ctl stop -m fast', "minor release: node $n->{number} is stopped");
	is((grep { $_ != $n } $c->nodes)[0]->sql("SELECT applied FROM paxos_kv_put('minor', '$n->{number}')"), 't', 'the others write');
	done($n, 'pg_ctl start -w -l server.log', 'and started');
	until_it_says($n, 'SELECT lag_slots FROM paxos.status', qr/^0$/, 'and has caught up');
}
$leader = $c->await_followers;

# ---- a new version of paxos_ext: between which lies nothing here; 071 has two ---------------------------
isnt(done($leader, 'SELECT paxos_transfer_leadership();'), $leader->sql("SELECT node_id FROM paxos.status"), 'another one leads');
done($leader, 'ALTER EXTENSION paxos_ext UPDATE');
until_it_says($leader, 'SELECT lag_slots, stuck', qr/^0\|f\|/, 'it goes on');

# ---- members come and go ---------------------------------------------------------------------------------
my ($n4, $n5) = (fresh(), fresh());
@server{qw(db4 db5)} = ($n4, $n5);
is(done($n2, "user=node', 'four')", 'a member is added'), 4, 'its number');
until_it_says($n1, 'SELECT node_id, name, role, voter, applied', qr/^4\|four\|follower\|t\|/m, 'it votes');
is(done($n1, 'voter => false', 'and one without a vote'), 5, 'its number');
until_it_says($n1, 'SELECT node_id, name, role, voter, applied', qr/^5\|node5\|\w+\|f\|/m, 'it does not');
is(() = done($c->await_leader, 'slots_behind', 'how far they are') =~ /\|\d+$/mg, 5, 'all');
like(done($n4, 'SELECT * FROM paxos.snapshot_progress', 'on the newcomer'), qr/^loaded\|/, 'it has loaded a snapshot');
is_member($n4, 'added');
done($n1, "paxos_demote_member('four')");
is($n4->sql("SELECT voter FROM paxos.members WHERE self"), 'f', 'no vote');
done($n1, "paxos_promote_member('four')");
is_member($n4, 'promoted');

# It is moved: another port here.
$n4->stop;
$n4->{port} = PaxosCluster::free_port();
$n4->conf("port = $n4->{port}");
open my $f, '>>', $passfile or die $!;
print $f "127.0.0.1:$n4->{port}:app:node:secret\n";
close $f;
$n4->start;
$server{db4b} = $n4;
done($n1, "paxos_alter_member('four', conninfo", 'a server under a new address');
is_member($n4, 'moved');
is(done($n1, "paxos_transfer_leadership('four')"), 4, 'and it can lead');
done($n1, "paxos_alter_member('four', name");
is($n2->sql("SELECT name FROM paxos.members WHERE node_id = 4"), 'IV', 'renamed');
$n1->sql("SELECT paxos_remove_member('node5')");
$n5->poll_sql("SELECT state = 'removed' FROM paxos.status");
done($n5, 'SELECT paxos_leave_cluster();');
is($n5->sql("SELECT state FROM paxos.status"), 'no cluster', 'a removed one leaves');

# One is replaced.
is(done($n1, "user=node', 'five')", 'replaced: the new one is added'), 6, 'its number');
until_it_says($n5, 'SELECT state, tables_done', qr/^loaded\|/, 'it has loaded');
until_it_says($n5, 'SELECT voter FROM paxos.members WHERE self', qr/^t$/, 'it votes');
done($n1, "paxos_remove_member('IV')", 'the old one is removed');
is_member($n5, 'replaced');
$n4->poll_sql("SELECT state = 'removed' FROM paxos.status");
$n4->sql("CALL paxos_rejoin('host=127.0.0.1 port=$n4->{port} dbname=app user=node')");
is_member($n4, 'and back in one call');
$n1->sql("SELECT paxos_alter_member('7', name => 'four')");
done($n1, "paxos_remove_member('four')");
$n1->sql("SELECT paxos_remove_member('five')");
$_->stop for $n4, $n5;

# ---- a node is lost ----------------------------------------------------------------------------------------
$n2->kill9;
$c->await_leader;
done($n1, "paxos_remove_member('two')", 'one whose disk is gone');
emptied($n2);
$n2->sql("ALTER ROLE node PASSWORD 'new secret'");
done($n1, "user=node', 'two')", 'is prepared anew and added');
is_member($n2, 'lost');

# ---- a node has forgotten; or not ----------------------------------------------------------------------------
$n3->stop;
system('cp', '-a', $n3->datadir, "$n3->{dir}/backup");
$n3->start;
$n3->sql("SELECT paxos_kv_put('after the copy', '1')");
$n3->stop;
system('rm', '-rf', $n3->datadir);
rename "$n3->{dir}/backup", $n3->datadir or die $!;
$n3->start;
until_it_says($n3, 'SELECT state, why FROM paxos.status;', qr/^fenced\|.*copied or restored/, 'an old copy put back is fenced');
done($n3, 'CALL paxos_rejoin();', 'and is a new node in one call');
is_member($n3, 'rejoined');

# Its files are moved to another disk.
$place{'/disk2'} = "$n3->{dir}/disk2";
mkdir $place{'/disk2'};
done($n3, 'pg_ctl stop -m fast', 'files are moved: stopped');
done($n3, 'cp -a "$PGDATA"');
done($n3, 'mv "$PGDATA" "$PGDATA.old"; ln -s');
done($n3, 'pg_ctl start -w -l server.log');
$n3->poll_sql("SELECT state = 'fenced' FROM paxos.status");
done($n3, 'paxos_trust_node(true)', 'and trusted on the word of who moved them');
is_member($n3, 'moved');
$c->await_followers;

# ---- the log ------------------------------------------------------------------------------------------------
done($_, 'paxos_truncate_log(10000)') for $c->alive;

# ---- stuck, diverged ---------------------------------------------------------------------------------------------
$n3->stop;
$_->sql("CREATE SCHEMA lounge") for $n1, $n2;
$n1->sql("CREATE TABLE lounge.chair (id int PRIMARY KEY) USING paxos");
$n3->start;
until_it_says($n3, 'SELECT stuck, stuck_slot', qr/^t\|\d+\|.*lounge/, 'stuck: it says why');
$n3->sql("CREATE SCHEMA lounge");
until_it_says($n3, 'SELECT stuck, stuck_slot', qr/^f\|/, 'and goes on when that has been put right');
$c->await_followers;
is(() = done($n1, "FROM paxos_verify('seat')", 'contents are compared') =~ /\|t\|[^|]*$/mg, 3, 'three agree');
$n3->sql("SET allow_system_table_mods = on; UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'heap') WHERE oid = 'seat'::regclass;
	UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 'seat'::regclass;
	UPDATE seat SET holder = 'nobody' WHERE id = (SELECT min(id) FROM seat);
	UPDATE pg_trigger SET tgenabled = 'A' WHERE tgrelid = 'seat'::regclass;
	UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'paxos') WHERE oid = 'seat'::regclass");
is(() = done($n1, "FROM paxos_verify('seat')", 'a table was changed behind its back') =~ /\|f\|[^|]*$/mg, 1, 'one differs');
until_it_says($n3, 'FROM paxos.alarms', qr/^divergence\|/, 'it has the alarm');
done($n3, 'paxos_resync()', 'its tables are replaced');
until_it_says($n3, 'FROM paxos.alarms', qr/\A\z/, 'and the alarm is over');
is_member($n3, 'resynchronised');

# ---- backups ---------------------------------------------------------------------------------------------------------
$place{"/$_"} = "$c->{dir}/$_" for qw(backup standby new);
$place{'/archive'} = $archive;
mkdir $place{$_} for '/backup', '/standby', '/new';
done($n2, 'pg_dump -f dump.sql', 'a dump');
$n2->fails("SELECT paxos_table_definition('pg_class')", '42809', qr/"pg_class" is not a consensus-backed table/, 'of other tables there is none');

# A server beside the members.
sub beside
{
	my ($place, $port) = @_;
	my $b = bless { cluster => $c, number => $place, port => PaxosCluster::free_port(), dir => $place{$place} }, ref $n1;
	push @{ $c->{copies} }, $b;
	$place{$port} = $b->{port};
	return $b;
}
my $backup = beside('/backup', '5433');
done($n1, 'pg_basebackup -D /backup/data -c fast -X stream', 'a base backup');
$n1->sql("SELECT paxos_upsert('seat', '{\"id\": 1000, \"holder\": \"the last one\"}')");
my $later = $n1->sql($rows);
done($n1, 'pg_create_restore_point');
$n1->sql("SELECT paxos_delete_if('seat', '{\"id\": 1000}', '{}')");
$n1->sql("SELECT pg_switch_wal()");
$n1->poll_sql("SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 16777216) FROM pg_stat_archiver");
done($n1, "echo \"$_") for 'restore_command', 'recovery_target_name', 'recovery_target_action';
done($n1, 'touch /backup/data/recovery.signal');
done($n1, 'pg_ctl -D /backup/data -o', 'point-in-time recovery', in => $place{'/backup'});
@$backup{qw(running pid)} = (1, $backup->postmaster_pid);
until_it_says($n1, 'psql -p 5433', qr/^fenced\|/, 'is fenced');
is($backup->sql($rows), $later, 'and has the rows of that moment');
done($n1, 'pg_dump -p 5433', 'that can be taken out');
like(PaxosCluster::Node::slurp("$n1->{dir}/seat_before.sql"), qr/^INSERT INTO public.seat VALUES \(1000, 'the last one'\);$/m, 'row by row');
done($n1, 'pg_ctl -D /backup/data stop -m fast');
$backup->{running} = 0;

# A standby takes the place of its primary.
my $standby = beside('/standby', '5434');
$server{db1s} = $standby;
done($n1, '-X stream -R', 'a standby');
done($n1, 'pg_ctl -D /standby/data -o', 'it follows', in => $place{'/standby'});
@$standby{qw(running pid)} = (1, $standby->postmaster_pid);
open $f, '>>', $passfile or die $!;
print $f "127.0.0.1:$standby->{port}:app:node:secret\n";
close $f;
$n1->kill9;
done($n1, 'pg_ctl -D /standby/data -w promote');
$standby->poll_sql("SELECT state = 'fenced' FROM paxos.status");
pass('promoted it is fenced');
done($standby, "CALL paxos_rejoin('host=db1s", 'and takes the place of its primary as a new node');
is_member($standby, 'a promoted standby');
is($n2->sql("SELECT string_agg(name, ' ' ORDER BY name) FROM paxos.members"), 'one three two', 'in its place');

# ---- a new major release: pg_upgrade to the same one stands for it -------------------------------------------------------
done($n2, "paxos_remove_member('three')", 'a new major release: the node is removed');
until_it_says($n3, 'SELECT state FROM paxos.status', qr/^removed$/, 'it knows');
$n3->sql("CREATE TABLE ordinary AS SELECT 7 AS seven");
done($n3, 'SELECT paxos_leave_cluster();');
done($n3, 'DROP EXTENSION');
done($n3, 'pg_ctl stop -m fast');
done($n3, 'initdb -D /new/data');
done($n3, 'pg_upgrade -U');
done($n3, 'cp "$PGDATA/postgresql.conf"');
done($n3, 'mv "$PGDATA" "$PGDATA.old"; mv /new/data');
done($n3, 'pg_ctl start -w -l server.log');
done($n3, 'CREATE EXTENSION');
done($n2, "user=node', 'three')", 'and is added again');
is_member($n3, 'upgraded');
is($n3->sql("SELECT seven FROM ordinary"), 7, 'with its own tables');

# ---- a majority is lost --------------------------------------------------------------------------------------------------
$_->kill9 for $standby, $n3;
$n2->fails('SELECT paxos_recover_from_majority_loss()', '55000', qr/may lack/, 'a majority is lost: it says what would be kept');
ok(!carry_out($n2, 'SELECT paxos_recover_from_majority_loss();')->{ok}, 'and does nothing');
done($n2, 'accept_loss => true', 'told to, a survivor goes on alone');
is_member($n2, 'alone');
$n3->start;
done($n3, 'paxos_leave_cluster(force => true)', 'an old member leaves the old cluster');
$n2->sql("SELECT paxos_add_member('host=127.0.0.1 port=$n3->{port} dbname=app user=node')");
is_member($n3, 'added to the new one');

# ---- the dump, in a fresh cluster -----------------------------------------------------------------------------------------
my $new = PaxosCluster->new(nodes => 2, database => 'app');
my ($m1, $m2) = $new->nodes;
$m2->sql("CREATE SCHEMA lounge");
done($m1, 'ON_ERROR_STOP=1 -f dump.sql', 'a dump restored in a fresh cluster', in => $n2->{dir});
is($new->same_everywhere($rows, 'the same everywhere'), $all, 'as they were');
is($m2->sql("SELECT paxos_kv_get('colour')"), '"blue"', 'and paxos.kv');
is($m2->sql("SELECT count(*) FROM pg_indexes WHERE indexname = 'seat_holder'"), 1, 'and the index');
done($_, 'SELECT setval', "sequences of node $_->{number}") for $m1, $m2;
my @drawn = map { $_->sql("SELECT applied, current->>'id' FROM paxos_insert_if_not_exists('seat', '{\"holder\": \"new\"}')") } $m1, $m2, $m1, $m2;
is(scalar(grep { /^t\|/ } @drawn), 4, "no number is drawn twice (@drawn)");
done($m1, 'CREATE TABLE seat_load');
open $f, '>', "$ENV{HOME}/seats.csv" or die $!;
print $f "$_,loaded\n" for 100000 .. 100499;
close $f;
$place{'seats.csv'} = "$ENV{HOME}/seats.csv";
done($m1, '\copy', 'many rows');
is(done($m1, 'FROM seat_load l', 'in one statement'), 500, 'all');
$new->same_everywhere($rows, 'the same everywhere');

is(join("\n", map { $_->{text} } grep { !$_->{done} } @commands), '', 'every command of docs/operations.md was carried out');
system('rm', '-rf', $ENV{HOME}) if Test::More->builder->is_passing;
done_testing;
