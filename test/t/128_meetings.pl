# What a statement, or a transaction at its end, meets on one node: a type in the making that
# takes a table's new name, a foreign key that is gone, the learner, an index that goes, a NOTIFY
# that waits for ever.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE t (id int PRIMARY KEY, v int) USING paxos");
$c->await_equal;

# ---- a type that this node alone is making ------------------------------------------------
my $s = $n3->session;
$s->query("BEGIN");
is($s->query("CREATE DOMAIN other AS int"), '', 'a type that nobody sees yet');
my $learner = $n3->worker_pid('learner');
$n1->sql("ALTER TABLE t RENAME TO other");
$n3->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE pid = $learner AND NOT granted");
$s->query("COMMIT");
PaxosCluster::poll('a type of that name is there', sub { $n3->sql("SELECT stuck_why FROM paxos.status") =~ /type "other" already exists/ });
pass('the learner says what is in its way');
$n3->sql("DROP DOMAIN other");
is($c->same_everywhere("SELECT count(*) FROM other", 'and decides nothing by itself'), 0, 'the table has its new name everywhere');
$s->close;

# ---- a foreign key that ended with another table ------------------------------------------
sub held_back    # code: while a learner does not apply
{
	my ($n, $first, $second) = @_;
	my $pid = $n->worker_pid('learner');
	PaxosCluster::stand_still($pid);
	$n1->sql($first);
	my $slot = $n1->sql("SELECT applied FROM paxos.replicated");
	my $h = $n->start_sql($second);
	$n1->poll_sql("SELECT applied > $slot FROM paxos.replicated");
	kill 'CONT', $pid;
	return $n->finish_sql($h);
}
for my $first ("DROP TABLE p CASCADE", "ALTER TABLE p DROP CONSTRAINT p_pkey CASCADE", "ALTER TABLE p DROP COLUMN id CASCADE")
{
	$n1->sql("DROP TABLE IF EXISTS k; DROP TABLE IF EXISTS p");
	$n1->sql("CREATE TABLE p (id int PRIMARY KEY) USING paxos");
	$n1->sql("CREATE TABLE k (id int PRIMARY KEY, p int REFERENCES p) USING paxos");
	$c->await_equal;
	is(held_back($n2, $first, "ALTER TABLE k RENAME CONSTRAINT k_p_fkey TO otherwise")->{sqlstate}, '42704', "$first: who speaks of its foreign key hears that there is none");
}
$c->await_equal;

# ---- a statement about definitions that is in the log's way --------------------------------
$n1->sql("CREATE TABLE w (id int PRIMARY KEY, v int) USING paxos");
$n2->sql_after_barrier("CREATE FUNCTION hold() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_lock(7); END'");
$n2->sql("CREATE EVENT TRIGGER hold ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION hold()");
my $lock = $n2->session;
$lock->query("SELECT pg_advisory_lock(7)");
$s = $n2->session;
$s->ask("CREATE INDEX ON w (v)");
$n2->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE pid = $s->{pid} AND locktype = 'advisory' AND NOT granted");
$n1->sql("ALTER TABLE w ADD COLUMN x int");
like($s->answer, qr/ERROR:  40001: could not serialize.*DETAIL:  The transaction stood in the way.*HINT:  The transaction might succeed/s, 'is told to try again, and why');
$lock->query("SELECT pg_advisory_unlock(7)");
is($s->query("CREATE INDEX ON w (v)"), '', 'and can be');
$_->close for $s, $lock;
$n2->sql("DROP EVENT TRIGGER hold");

# ---- what goes while a statement about it waits for its table's lock ------------------------
# The learner has the table, and waits for the sequence, which a session has that sleeps.
$n1->sql("CREATE TABLE m (id int PRIMARY KEY, v int UNIQUE, n serial) USING paxos");
$n3->conf("paxos.yield_timeout = 60s");
$n3->reload;
$n3->poll_sql("SHOW paxos.yield_timeout", '1min');
$c->await_equal;
my $asleep = $n3->session;
$asleep->query($_) for "BEGIN", "SELECT count(*) FROM m_n_seq";
$n1->sql("ALTER TABLE m DROP CONSTRAINT m_v_key, DROP COLUMN n");
$n3->poll_sql("SELECT count(*) > 0 FROM pg_locks WHERE pid = $learner AND relation = 'm'::regclass AND mode = 'AccessExclusiveLock' AND granted");
my %waits = map { $_ => $n3->session } "ALTER INDEX m_v_key SET (fillfactor = 50)", "ALTER INDEX m_v_key RENAME TO otherwise",
  "COMMENT ON INDEX m_v_key IS 'it goes'", "GRANT USAGE ON SEQUENCE m_n_seq TO pg_monitor";
$waits{$_}->ask($_) for keys %waits;
$n3->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = $_->{pid}") for values %waits;
$asleep->query("COMMIT");
like($waits{$_}->answer, qr/42P01: relation "m_\w+" does not exist/, "$_: hears that there is none") for sort keys %waits;
$c->same_everywhere("SELECT paxos_table_definition('m')", 'nothing else has happened');
$_->close for $asleep, values %waits;

# ---- a NOTIFY that waits for a synchronous standby that is dead ------------------------------
$n1->sql("CREATE TABLE here (id int)");
$n1->conf("synchronous_standby_names = 'nobody'");
$n1->reload;
$n1->poll_sql("SHOW synchronous_standby_names", 'nobody');
my $dead = $n1->session;
$dead->ask("SET synchronous_commit = on; BEGIN; INSERT INTO here VALUES (1); NOTIFY x; COMMIT");
$n1->poll_sql("SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $dead->{pid}");
$s = $n1->session;
$s->query($_) for "LISTEN y", "BEGIN", "INSERT INTO other VALUES (1, 1)", "NOTIFY y";
$s->ask("COMMIT");
$n1->poll_sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $s->{pid}");
$n2->sql("INSERT INTO other VALUES (2, 2)");
$n1->poll_sql("SELECT count(*) = 1 FROM other");
pass('a transaction that notifies waits there, and nobody waits for it');
$n1->sql("SELECT pg_cancel_backend($s->{pid})");
like($s->answer, qr/57014/, 'it can be cancelled');
$n1->conf("synchronous_standby_names = ''");
$n1->reload;
is($dead->answer, '', 'who waited for the standby');
$s->query($_) for "BEGIN", "INSERT INTO other VALUES (3, 3)", "NOTIFY y";
like($s->query("COMMIT"), qr/^$|notification "y"/, 'and who waited for that');
is($c->same_everywhere("SELECT string_agg(id::text, ' ' ORDER BY id) FROM other", 'rows'), '2 3', 'what was cancelled is not there');
is($n3->sql("SELECT count(*) FROM paxos.alarms"), 0, 'no alarm');
$_->close for $s, $dead;
done_testing;
