# One acceptor, spoken to by hand: the other two nodes of its cluster are down,
# and sessions of this test play the proposers 2 and 3.  What is guarded:
# durable before the answer, one stream, the lease and its end, publication
# after the flush, the lock, and that nothing malformed changes anything
# (protocol.md sections 2 to 4; src/paxos_acceptor.c).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my %refused = (no => 0, ballot => 1, stream => 2, position => 3, lease => 4, truncated => 5,
	restart => 6, not_voting => 8);

# The walwriter would flush behind our back what a wrong acceptor did not.
my $c = PaxosCluster->new(nodes => 3, conf => "wal_writer_delay = 10s\nautovacuum = off");
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("SELECT paxos_kv_put('a', '1')");
my $cluster = $n1->sql("SELECT cluster_id FROM paxos.node");

# Node 1 alone, knowing all its log chosen.  The first batch of a node's life comes
# when it comes: if one was under way when the others were killed, once more.
my $w;
PaxosCluster::poll('nothing under way', sub {
	$c->await_equal;
	$_->kill9 for $n2, $n3;
	$n1->restart('fast');
	$n1->poll_sql("SELECT state = 'member' FROM paxos.status");
	$w = $n1->sql("SELECT max(slot) FROM paxos.log_entry");
	return 1 if $n1->sql("SELECT chosen FROM paxos.status") == $w;
	$_->start for $n2, $n3;
	$c->await_leader;
	return 0;
}, 300);
my $noop = $n1->sql("SELECT value FROM paxos.log_entry WHERE length(value) = 16 ORDER BY slot LIMIT 1");
my $batch = $n1->sql("SELECT value FROM paxos.log_entry WHERE length(value) > 16 ORDER BY slot DESC LIMIT 1");

sub ballot { my ($round, $node) = @_; return $round * 65536 + $node; }

sub prepare_sql
{
	my ($sender, $round, $stream, %o) = @_;
	return sprintf("CALL paxos.prepare('%s', 1, %d, %d, %d, %d, %d, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
		$cluster, $sender, ballot($round, $sender), $stream, $o{w} // $w, $o{handover} // 0);
}

sub accept_sql
{
	my ($sender, $round, $stream, $first, %o) = @_;
	my $values = join(',', map { "\"\\\\\\\\" . substr($_, 1) . "\"" } @{ $o{values} // [] });
	return sprintf("CALL paxos.accept('%s', 1, %d, %d, %d, %d, E'{%s}', %d, 1, %d, %s, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
		$cluster, $sender, ballot($round, $sender), $stream, $first, $values,
		$o{chosen} // $w, $o{lease_us} // 0, $o{readable} ? 'true' : 'false');
}

# The refusal of an answer (its first column), by name.
sub refusal
{
	my ($answer) = @_;
	my %word = reverse %refused;
	return $answer =~ /^(\d+)\|/ ? $word{$1} // $1 : $answer;
}

sub pre_vote
{
	my ($sender) = @_;
	return refusal($n1->sql("SELECT * FROM paxos.pre_vote('$cluster', 1, $sender, $w)"));
}

# Until the session's backend waits for a lock of this kind.
sub await_lock_wait
{
	my ($session, $kind) = @_;
	$n1->poll_sql("SELECT wait_event FROM pg_stat_activity WHERE pid = $session->{pid} AND wait_event_type = 'Lock'", $kind);
}

# ---- durable before the answer ---------------------------------------------------------------
$n1->sql("ALTER ROLE node SET synchronous_commit = off");
my $s2 = $n1->session(user => 'node');
is(refusal($s2->query(prepare_sql(2, 100, 1))), 'no', 'a first promise');
is($n1->sql("SELECT promised FROM paxos.acceptor"), ballot(100, 2), 'is in the table');

my $lsn = $n1->sql("SELECT pg_current_wal_insert_lsn()");
like($s2->query(accept_sql(2, 100, 1, $w + 1, values => [ $batch ])), qr/^0\|\d+\|@{[$w + 1]}\|@{[$w + 2]}\|/, 'a value is accepted');
is($n1->sql("SELECT pg_current_wal_flush_lsn() > '$lsn'"), 't', 'and flushed, whatever synchronous_commit says');

# A physical standby that is away must not keep an acceptor from answering.
$n1->sql("ALTER ROLE node SET synchronous_commit = remote_apply");
$n1->conf("synchronous_standby_names = 'nobody'");
$n1->reload;
$n1->poll_sql("SHOW synchronous_standby_names", 'nobody');
$s2->close;
$s2 = $n1->session(user => 'node');
is(refusal($s2->query(prepare_sql(2, 100, 2))), 'no', 'the stream is opened again in the same ballot');
my $answer = $s2->query(accept_sql(2, 100, 2, $w + 1, values => [ $batch, $noop ]));
is(refusal($answer), 'no', 'no physical standby is waited for');
is($n1->sql("SELECT string_agg(slot - $w || ':' || ballot, ' ' ORDER BY slot) FROM paxos.log_entry WHERE slot > $w"),
	'1:' . ballot(100, 2) . ' 2:' . ballot(100, 2), 'one row a slot');

# ---- a heartbeat costs nothing ------------------------------------------------------------------
my $before = $n1->sql("SELECT pg_snapshot_xmax(pg_current_snapshot())");
$s2->query(accept_sql(2, 100, 2, $w + 3)) for 1 .. 20;
is($n1->sql("SELECT pg_snapshot_xmax(pg_current_snapshot())"), $before, 'heartbeats take no transaction id');

# ---- the stream ----------------------------------------------------------------------------------
my $other = $n1->session(user => 'node');
is(refusal($other->query(accept_sql(2, 100, 2, $w + 3, values => [$noop]))), 'stream', 'an Accept over another connection');
is(refusal($s2->query(accept_sql(2, 100, 2, $w + 4, values => [$noop]))), 'position', 'an Accept that leaves a gap');
is(refusal($s2->query(accept_sql(2, 100, 1, $w + 3, values => [$noop]))), 'stream', 'an Accept of the former stream');
is(refusal($other->query(prepare_sql(2, 100, 2))), 'stream', 'a Prepare with a stream number used before');
is(refusal($other->query(prepare_sql(3, 99, 1))), 'ballot', 'a Prepare with a lower ballot');
is($n1->sql("SELECT max(slot) - $w FROM paxos.log_entry"), 2, 'none of it is in the log');

# What the leader says is chosen is what it says of slots received in its stream.
is($n1->sql("SELECT count(*) FROM paxos.fetch('$cluster', 1, 2, $w + 1, $w + 9, 1000)"), 0, 'nothing is fetched that is not known chosen');
$s2->query(accept_sql(2, 100, 2, $w + 3, chosen => $w + 1));
is($n1->sql("SELECT string_agg(slot - $w || '', ',') FROM paxos.fetch('$cluster', 1, 2, $w + 1, $w + 9, 1000000)"), '1', 'what is known chosen is fetched');
is($n1->sql("SELECT count(*) FROM paxos.fetch('$cluster', 1, 2, $w, $w + 1, 1)"), 1, 'at least one entry, however small the bound');

# ---- the lease --------------------------------------------------------------------------------------
$s2->query(accept_sql(2, 100, 2, $w + 3, lease_us => 600_000_000));
is(pre_vote(3), 'lease', 'a lease keeps another candidate from standing');
is(refusal($other->query(prepare_sql(3, 101, 1))), 'lease', 'and its Prepare out');
is(refusal($other->query(prepare_sql(3, 101, 1, handover => ballot(100, 2)))), 'no', 'but not one that the holder handed over to');
is(refusal($s2->query(accept_sql(2, 100, 2, $w + 3))), 'ballot', 'then the former leader is refused');

is(refusal($other->query(accept_sql(3, 101, 1, $w + 1, lease_us => 600_000_000))), 'no', 'the next leader holds a lease');
is(pre_vote(2), 'lease', 'which stands');
$n1->sql("SELECT pg_terminate_backend($other->{pid}, 10000)");
is(pre_vote(2), 'no', 'and ends with the connection, at once');

# ---- a Prepare that is being made durable -----------------------------------------------------------
# Its commit is held up by a lock on the acceptor's table.  A heartbeat of the
# leader it deposes must not be taken meanwhile: the lease it would grant is
# counted by that leader and broken by the Prepare.
$s2->close;
$s2 = $n1->session(user => 'node');
my $s3 = $n1->session(user => 'node');
my $locker = $n1->session;
is(refusal($s2->query(prepare_sql(2, 110, 1))), 'no', 'node 2 leads');
is(refusal($s2->query(accept_sql(2, 110, 1, $w + 1))), 'no', 'and is heard');
$locker->query("BEGIN; LOCK TABLE paxos.acceptor IN ACCESS EXCLUSIVE MODE");
$s3->ask(prepare_sql(3, 111, 1));
await_lock_wait($s3, 'relation');
$s2->ask(accept_sql(2, 110, 1, $w + 1, lease_us => 600_000_000));
await_lock_wait($s2, 'advisory');
pass('a heartbeat waits while a Prepare is being made durable');
is($n1->sql("SELECT promised FROM paxos.pre_vote('$cluster', 1, 2, $w)"), ballot(110, 2), 'nothing is published before it is durable');
$locker->query("ROLLBACK");
is(refusal($s3->answer), 'no', 'the Prepare is promised');
is(refusal($s2->answer), 'ballot', 'and the heartbeat refused');
is(pre_vote(2), 'no', 'no lease was granted');

# One that fails is as if it had never come: the next heartbeat is taken.
$locker->query("BEGIN; LOCK TABLE paxos.acceptor IN ACCESS EXCLUSIVE MODE");
$s2->ask(prepare_sql(2, 112, 1));
await_lock_wait($s2, 'relation');
$n1->sql("SELECT pg_cancel_backend($s2->{pid})");
like($s2->answer, qr/57014/, 'a Prepare is cancelled before it is durable');
$locker->query("ROLLBACK");
is(refusal($s3->query(accept_sql(3, 111, 1, $w + 1))), 'no', 'the stream it would have closed goes on');

# What closes its predecessor's stream need not find it open any more.
$locker->query("BEGIN; LOCK TABLE paxos.acceptor IN ACCESS EXCLUSIVE MODE");
$s3->query(accept_sql(3, 111, 1, $w + 1, lease_us => 600_000_000));
is(pre_vote(2), 'lease', 'node 3 holds a lease');
$s2->ask(prepare_sql(2, 113, 1, handover => ballot(111, 3)));
await_lock_wait($s2, 'relation');
$n1->sql("SELECT pg_terminate_backend($s3->{pid}, 10000)");
$locker->query("ROLLBACK");
is(refusal($s2->answer), 'no', 'a Prepare is promised although the stream it closes ended meanwhile');
is(refusal($s2->query(accept_sql(2, 113, 1, $w + 1))), 'no', 'and its stream is open');

# A light change made while a transition is being made durable is not lost when
# that one is published: publish the copy, and the hand-over that came in
# between is forgotten.  This node's proposer, which acts on it, is held still.
my $proposer = $n1->worker_pid('proposer');
PaxosCluster::stand_still($proposer);
$locker->query("BEGIN; LOCK TABLE paxos.log_entry IN ACCESS EXCLUSIVE MODE");
$s2->ask(accept_sql(2, 113, 1, $w + 1, values => [ $batch, $noop ]));
await_lock_wait($s2, 'relation');
is($n1->sql("SELECT paxos.hand_over('$cluster', 1, 2, @{[ballot(113, 2)]})"), 't', 'a hand-over comes while an Accept is being made durable');
$locker->query("ROLLBACK");
is(refusal($s2->answer), 'no', 'the Accept is taken');
kill 'CONT', $proposer;
$n1->poll_sql("SELECT promised % 65536 = 1 FROM paxos.acceptor");
pass('and the node stands for election: the hand-over was not forgotten');
is(refusal($s2->query(prepare_sql(2, 117, 1))), 'no', 'node 2 leads again');

# ---- the lock -------------------------------------------------------------------------------------------
$n1->fails('BEGIN; ' . prepare_sql(2, 120, 1), '25001', qr/transaction block/, 'an acceptor commits its answer: not inside a transaction', user => 'node');
$n1->fails('SET default_transaction_isolation = serializable; ' . prepare_sql(2, 120, 1), '25001', qr/READ COMMITTED/,
	'nor under a snapshot taken before the lock', user => 'node');

# What a Promise reports is read under a snapshot taken after the lock is held:
# one taken before would not see what the former holder commits.
$s3 = $n1->session(user => 'node');
$locker->query("BEGIN; LOCK TABLE paxos.log_entry IN ACCESS EXCLUSIVE MODE");
$s2->ask(accept_sql(2, 117, 1, $w + 1, values => [ $batch, $noop ]));
await_lock_wait($s2, 'relation');
$s3->ask(prepare_sql(3, 118, 1));
await_lock_wait($s3, 'advisory');
$locker->query("ROLLBACK");
is(refusal($s2->answer), 'no', 'an Accept is taken while a Prepare waits');
like($s3->answer, qr/^0\|.*\|\{@{[ballot(100, 2)]},@{[ballot(117, 2)]}\}\|\{f,f\}\|/, 'and the Promise reports what it stored');

is(refusal($s2->query(prepare_sql(2, 119, 1))), 'no', 'node 2 leads once more');
$locker->query("BEGIN; LOCK TABLE paxos.log_entry IN ACCESS EXCLUSIVE MODE");
$s2->ask(accept_sql(2, 119, 1, $w + 1, values => [ $batch, $noop ]));
await_lock_wait($s2, 'relation');
$s3->ask(prepare_sql(3, 121, 1));
await_lock_wait($s3, 'advisory');
$n1->poll_sql("SELECT count(*) FROM pg_stat_activity WHERE pid = $s2->{pid}", 0);
pass('a holder of the acceptor lock that keeps others waiting is ended');
await_lock_wait($s3, 'relation');
$locker->query("ROLLBACK");
is(refusal($s3->answer), 'no', 'and the waiter gets its turn');

# ---- what survives -----------------------------------------------------------------------------------------
is(refusal($s3->query(accept_sql(3, 121, 1, $w + 1, values => [ $batch, $noop ], lease_us => 600_000_000, readable => 1))), 'no', 'a lease for reads');
is($n1->sql("SELECT longest_lease_us FROM paxos.acceptor"), 600_000_000, 'its length is in the table');
$n1->sql("SELECT pg_terminate_backend($s3->{pid}, 10000)");
is(pre_vote(2), 'lease', 'it does not end with the connection: its holder may still serve reads');
$n1->kill9;
$n1->start;
is(pre_vote(2), 'restart', 'after a crash nobody may stand for as long as it could have lasted');
$n1->sql("SET allow_system_table_mods = on; SET synchronous_commit = local; UPDATE paxos.acceptor SET longest_lease_us = 1000000");	# as if it had been a second
$n1->kill9;
$n1->start;
$n1->poll_sql("SELECT refusal FROM paxos.pre_vote('$cluster', 1, 2, $w)", 0);
$s2 = $n1->session(user => 'node');
is(refusal($s2->query(prepare_sql(2, 120, 1))), 'ballot', 'the promise has survived the crash');
like($s2->query(prepare_sql(2, 130, 1)), qr/^0\|\d+\|\d+\|\d+\|@{[$w + 2]}\|\{@{[$w + 1]},@{[$w + 2]}\}\|\{@{[ballot(100, 2)]},@{[ballot(121, 3)]}\}\|\{f,f\}\|/,
	'and what was accepted, each value with the ballot it was last written in');

# ---- a node that may not vote ----------------------------------------------------------------------------
$n1->conf("paxos.allow_fsync_off = off");
$n1->reload;
$n1->poll_sql("SHOW paxos.allow_fsync_off", 'off');
is(refusal($s2->query(accept_sql(2, 130, 1, $w + 3, chosen => $w + 2))), 'not_voting', 'no Accept with fsync off');
is(refusal($s2->query(prepare_sql(2, 131, 1))), 'not_voting', 'no Prepare');
is(pre_vote(2), 'not_voting', 'no vote');
$n1->conf("paxos.allow_fsync_off = on");
$n1->reload;
$n1->poll_sql("SELECT refusal FROM paxos.pre_vote('$cluster', 1, 2, $w)", 0);

# ---- malformed arguments change nothing -------------------------------------------------------------------------
my $state = "SELECT (SELECT a::text FROM paxos.acceptor a), count(*), max(slot), sum(length(value)) FROM paxos.log_entry";
my $was = $n1->sql($state);
my $b = ballot(130, 2);
my $rest = 'NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL';
my $tail = "$w, 1, 0, false, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";
my @malformed = (
	[ "CALL paxos.prepare('$cluster', 1, 2, -1, 1, 0, 0, $rest)", '22003' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, 9223372036854775807, 1, 0, 0, $rest)", '22003' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, 1152921504606846978, 1, 0, 0, $rest)", '22003' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, @{[ballot(140, 3)]}, 1, 0, 0, $rest)", '22023' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, NULL, 1, 0, 0, $rest)", '22004' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, @{[ballot(140, 2)]}, -1, 0, 0, $rest)", '22003' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, @{[ballot(140, 2)]}, 1, -1, 0, $rest)", '22003' ],
	[ "CALL paxos.prepare('$cluster', 1, 2, @{[ballot(140, 2)]}, 1, 0, 7, $rest)", '22023' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 0, '{}', $tail)", '22023' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, -1, '{}', $tail)", '22003' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, NULL, $tail)", '22004' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, '{NULL}', $tail)", '2202E' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, '{{a},{b}}', $tail)", '2202E' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, array_fill('\\x01'::bytea, ARRAY[65]), $tail)", '54000' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, ARRAY[('\\x' || repeat('00', 1300000))::bytea], $tail)", '54000' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, ARRAY['\\x01020304'::bytea], $tail)", 'XX001' ],
	[ "CALL paxos.accept('$cluster', 1, 2, $b, 1, 5, '{}', $w, 1, 9000000000000000, false, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)", '22003' ],
	[ "SELECT paxos.fetch('$cluster', 1, 2, 0, 1, 1)", '22023' ],
	[ "SELECT paxos.fetch('$cluster', 1, 2, 2, 1, 1)", '22023' ],
	[ "SELECT paxos.fetch('$cluster', 1, 2, 1, 1, 0)", '22023' ],
	[ "SELECT paxos.forward('$cluster', 1, 2, 1, false, ARRAY['\\x00'::bytea], 0)", 'XX001' ],
	[ "SELECT paxos.hand_over('$cluster', 1, 2, @{[ballot(130, 3)]})", '22023' ]);
$n1->fails($_->[0], $_->[1], qr/./, "$_->[1]: " . substr($_->[0], 0, 25) . ' ... ' . substr($_->[0], 64, 40), user => 'node') for @malformed;
# A value whose checksum is wrong is never stored, even by the open stream.
(my $torn = $batch) =~ s/(.)$/$1 eq '0' ? '1' : '0'/e;
like($s2->query(accept_sql(2, 130, 1, $w + 3, values => [ $torn ], chosen => $w + 2)), qr/XX001/, 'a torn value');
is($n1->sql($state), $was, 'all that has changed nothing');
is(refusal($s2->query(accept_sql(2, 130, 1, $w + 3, values => [ $batch ], chosen => $w + 2))), 'no', 'and the stream is still open');
$s2->close;
$locker->close;
done_testing;
