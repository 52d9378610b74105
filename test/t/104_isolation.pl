# docs/consistency.md: what can and cannot happen between two transactions, at each
# isolation level, on one node and on two.  The scenes are those of Hermitage (Martin
# Kleppmann), after Adya's names; each says what PostgreSQL does on one node.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# A session in the way is told so at its next statement, not ended.
my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE test (id int PRIMARY KEY, value int NOT NULL) USING paxos");
$n[0]->sql("INSERT INTO test SELECT i, 0 FROM generate_series(1, 2) i");
$_->sql("SELECT paxos_barrier()") for @n;
my %level = (RC => 'READ COMMITTED', RR => 'REPEATABLE READ', SER => 'SERIALIZABLE');
my @s = ([$n[0]->session, $n[0]->session], [$n[1]->session, $n[1]->session]);
my $third = $n[2]->session;
my ($t1, $t2, $where, $l, $apart);

# Two transactions; the second asks on its own node or on another one.
sub scene
{
	my ($level, $apart_) = @_;
	$apart = $apart_;
	$l = $level;
	$where = $level . ($apart ? ', two nodes' : ', one node');
	$third->query("SELECT paxos_barrier(); BEGIN; DELETE FROM test; INSERT INTO test VALUES (1, 10), (2, 20); COMMIT");
	($t1, $t2) = ($s[0][0], $apart ? $s[1][0] : $s[0][1]);
	$_->query("SELECT paxos_barrier()") for $t1, $t2;
	$_->query("BEGIN ISOLATION LEVEL $level{$level}") for $t1, $t2;
}

sub applied { ($apart ? $s[1][1] : $third)->query("SELECT paxos_barrier()"); $n[0]->sql("SELECT paxos_barrier()"); }
sub rows { return $third->query("SELECT paxos_barrier()") && $third->query("SELECT string_agg(id || ':' || value, ' ' ORDER BY id) FROM test"); }

# A statement that meets a lock of the other transaction, if that is on the same node; else it is
# carried out before the other transaction goes on.
sub meets
{
	my ($sql) = @_;
	$t2->ask($sql);
	my $n = $apart ? $n[1] : $n[0];
	PaxosCluster::poll("$sql is done, or waits", sub {
		return $t2->answered || $n->sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $t2->{pid}") eq 't';
	});
}
sub finish { $_->query("ROLLBACK") for $t1, $t2; }
sub refused { my ($answer, $name) = @_; like($answer, qr/40001/, "$name ($where)"); }
sub fine { my ($answer, $name) = @_; is($answer, '', "$name ($where)"); }

for my $apart (0, 1)
{
	for my $level ('RC', 'RR', 'SER')
	{
		# G0, write cycles: two transactions write the same two rows.
		scene($level, $apart);
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		meets("UPDATE test SET value = 12 WHERE id = 1");
		$t1->query("UPDATE test SET value = 21 WHERE id = 2");
		fine($t1->query("COMMIT"), 'G0: the first commits');
		my $answer = $t2->answer;
		$answer .= $t2->query("UPDATE test SET value = 22 WHERE id = 2");
		if (!$apart && $level eq 'RC')
		{
			fine($t2->query("COMMIT"), 'G0: the second has waited');
			is(rows(), '1:12 2:22', "G0: not mixed ($where)");
		}
		else
		{
			refused($answer . $t2->query("COMMIT"), 'G0: the second does not');
			is(rows(), '1:11 2:21', "G0: not mixed ($where)");
		}
		finish();

		# G1a and G1b: what is rolled back, or changed again before the commit, is not seen.
		scene($level, $apart);
		$t1->query("UPDATE test SET value = 101 WHERE id = 1");
		is($t2->query("SELECT value FROM test WHERE id = 1"), '10', "G1a: not seen ($where)");
		$t1->query("ROLLBACK");
		is($t2->query("SELECT value FROM test WHERE id = 1"), '10', "G1a: nor afterwards ($where)");
		finish();
		scene($level, $apart);
		$t1->query("UPDATE test SET value = 101 WHERE id = 1");
		is($t2->query("SELECT value FROM test WHERE id = 1"), '10', "G1b: not seen ($where)");
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		fine($t1->query("COMMIT"), 'G1b: COMMIT');
		applied();
		is($t2->query("SELECT value FROM test WHERE id = 1"), $level eq 'RC' ? '11' : '10', "G1b: only what was committed ($where)");
		finish();

		# G1c, circular flow: neither sees what the other writes.
		scene($level, $apart);
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		$t2->query("UPDATE test SET value = 22 WHERE id = 2");
		is($t1->query("SELECT value FROM test WHERE id = 2"), '20', "G1c: the first ($where)");
		is($t2->query("SELECT value FROM test WHERE id = 1"), '10', "G1c: the second ($where)");
		fine($t1->query("COMMIT"), 'G1c: the first commits');
		$level eq 'SER' ? refused($t2->query("COMMIT"), 'G1c: so does not the second') : fine($t2->query("COMMIT"), 'G1c: so does the second');
		finish();

		# OTV, observed transaction vanishes: who has seen one change of a transaction
		# does not miss the other.
		scene($level, $apart);
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		$t1->query("UPDATE test SET value = 19 WHERE id = 2");
		meets("UPDATE test SET value = 12 WHERE id = 1");
		fine($t1->query("COMMIT"), 'OTV: the first commits');
		$answer = $t2->answer;
		$third->query("SELECT paxos_barrier()");
		$third->query("BEGIN ISOLATION LEVEL $level{$level}");
		is($third->query("SELECT value FROM test WHERE id = 1"), '11', "OTV: seen ($where)");
		$t2->query("UPDATE test SET value = 18 WHERE id = 2");
		is($third->query("SELECT value FROM test WHERE id = 2"), '19', "OTV: so is the other ($where)");
		$t2->query("COMMIT");
		$n[2]->sql("SELECT paxos_barrier()");
		is($third->query("SELECT string_agg(value::text, ' ' ORDER BY id) FROM test"), !$apart && $level eq 'RC' ? '12 18' : '11 19', "OTV: both or neither ($where)");
		$third->query("COMMIT");
		finish();

		# PMP, predicates: rows that come to meet it.
		scene($level, $apart);
		is($t1->query("SELECT count(*) FROM test WHERE value = 30"), '0', "PMP: none ($where)");
		$t2->query("INSERT INTO test VALUES (3, 30)");
		fine($t2->query("COMMIT"), 'PMP: one comes');
		applied();
		is($t1->query("SELECT count(*) FROM test WHERE value % 3 = 0"), $level eq 'RC' ? '1' : '0', "PMP: seen by READ COMMITTED alone ($where)");
		finish();
		scene($level, $apart);
		$t1->query("UPDATE test SET value = value + 10");
		meets("DELETE FROM test WHERE value = 20");
		fine($t1->query("COMMIT"), 'PMP: of a write');
		$answer = $t2->answer;
		$answer = $t2->query("COMMIT") if $answer eq '';
		!$apart && $level eq 'RC' ? fine($answer, 'PMP: the row is looked at anew') : refused($answer, 'PMP: is refused');
		is(rows(), '1:20 2:30', "PMP: no row is deleted that is 20 no more ($where)");
		finish();

		# P4, lost update: both read, both write.  At once, and one after the other.
		scene($level, $apart);
		$_->query("SELECT value FROM test WHERE id = 1") for $t1, $t2;
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		meets("UPDATE test SET value = 12 WHERE id = 1");
		fine($t1->query("COMMIT"), 'P4: the first commits');
		$answer = $t2->answer;
		$answer = $t2->query("COMMIT") if $answer eq '';
		!$apart && $level eq 'RC' ? fine($answer, 'P4: lost update: READ COMMITTED on one node') : refused($answer, 'P4: no lost update');
		finish();
		scene($level, $apart);
		$_->query("SELECT value FROM test WHERE id = 1") for $t1, $t2;
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		$t1->query("COMMIT");
		applied();
		$answer = $t2->query("UPDATE test SET value = 12 WHERE id = 1");
		$answer = $t2->query("COMMIT") if $answer eq '';
		$level eq 'RC' ? fine($answer, 'P4, later: READ COMMITTED writes what it computed from an old value') : refused($answer, 'P4, later: no lost update');
		finish();

		# G-single, read skew.
		scene($level, $apart);
		is($t1->query("SELECT value FROM test WHERE id = 1"), '10', "G-single ($where)");
		$t2->query("UPDATE test SET value = 12 WHERE id = 1");
		$t2->query("UPDATE test SET value = 18 WHERE id = 2");
		fine($t2->query("COMMIT"), 'G-single: the other commits');
		applied();
		is($t1->query("SELECT value FROM test WHERE id = 2"), $level eq 'RC' ? '18' : '20', "G-single: READ COMMITTED sees half of it ($where)");
		fine($t1->query("COMMIT"), 'G-single: a transaction that only reads commits');
		finish();

		# G2-item, write skew over rows; G2, over a predicate.
		scene($level, $apart);
		$_->query("SELECT * FROM test WHERE id IN (1, 2)") for $t1, $t2;
		$t1->query("UPDATE test SET value = 11 WHERE id = 1");
		$t2->query("UPDATE test SET value = 21 WHERE id = 2");
		fine($t1->query("COMMIT"), 'G2-item: the first commits');
		$level eq 'SER' ? refused($t2->query("COMMIT"), 'G2-item: not both') : fine($t2->query("COMMIT"), 'G2-item: write skew is possible');
		finish();
		scene($level, $apart);
		is($_->query("SELECT count(*) FROM test WHERE value % 3 = 0"), '0', "G2 ($where)") for $t1, $t2;
		$t1->query("INSERT INTO test VALUES (3, 30)");
		$t2->query("INSERT INTO test VALUES (4, 42)");
		fine($t1->query("COMMIT"), 'G2: the first commits');
		$level eq 'SER' ? refused($t2->query("COMMIT"), 'G2: not both') : fine($t2->query("COMMIT"), 'G2: anti-dependency cycles are possible');
		finish();
	}
}

$_->close for $third, map { @$_ } @s;
$c->await_equal;
done_testing();
