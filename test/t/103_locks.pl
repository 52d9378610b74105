# Row locks (SELECT ... FOR UPDATE, NO KEY UPDATE, SHARE, KEY SHARE) and LOCK TABLE between
# nodes: what conflicts in PostgreSQL conflicts here, and nothing else does.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

# A session that is in the way and idle is told so at its next statement, not ended.
my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE parent (id int PRIMARY KEY, name text UNIQUE, v int NOT NULL) USING paxos");
$n[0]->sql("CREATE TABLE child (id int PRIMARY KEY, parent int NOT NULL) USING paxos");
$n[0]->sql("INSERT INTO parent SELECT i, 'p' || i, 0 FROM generate_series(1, 200) i");
$_->sql("SELECT paxos_barrier()") for @n;
my @s = map { $_->session } @n;
my $t = $n[1]->session;
my $learner = $n[1]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");

# What a row can meet with elsewhere; at an earlier slot.
my %event = (
	'a keyed UPDATE' => "UPDATE parent SET v = v + 1 WHERE id = %d",
	'an UPDATE' => "UPDATE parent SET v = v + 1 WHERE id IN (%d, -1)",
	'a keyed UPDATE of a key' => "UPDATE parent SET name = 'new' || id WHERE id = %d",
	'an UPDATE of a key' => "UPDATE parent SET name = 'new' || id WHERE id IN (%d, -1)",
	'a keyed DELETE' => "DELETE FROM parent WHERE id = %d",
	'a DELETE' => "DELETE FROM parent WHERE id IN (%d, -1)",
	map { ("FOR $_" => "SELECT FROM parent WHERE id = %d FOR $_") } 'UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE');

# ... and which locks it conflicts with: the table in PostgreSQL's manual (13.3.2).
my %strength = (
	'a keyed UPDATE' => 'NO KEY UPDATE', 'an UPDATE' => 'NO KEY UPDATE',
	'a keyed UPDATE of a key' => 'UPDATE', 'an UPDATE of a key' => 'UPDATE',
	'a keyed DELETE' => 'UPDATE', 'a DELETE' => 'UPDATE',
	map { ("FOR $_" => $_) } 'UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE');
my %conflicts = (
	'KEY SHARE' => { map { $_ => 1 } 'UPDATE' },
	'SHARE' => { map { $_ => 1 } 'NO KEY UPDATE', 'UPDATE' },
	'NO KEY UPDATE' => { map { $_ => 1 } 'SHARE', 'NO KEY UPDATE', 'UPDATE' },
	'UPDATE' => { map { $_ => 1 } 'KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE' });

my $next = 1;
for my $lock ('KEY SHARE', 'SHARE', 'NO KEY UPDATE', 'UPDATE')
{
	for my $event (sort keys %event)
	{
		my $conflict = $conflicts{$lock}{ $strength{$event} };

		# On its way: the verdict.
		my $id = $next++;
		PaxosCluster::stand_still($learner);
		$s[0]->query(sprintf($event{$event}, $id));
		my $applied = $s[0]->query("SELECT applied FROM paxos.replicated");
		$s[1]->query("BEGIN");
		is($s[1]->query("SELECT id FROM parent WHERE id = $id FOR $lock"), $id, "FOR $lock");
		$s[1]->ask("COMMIT");
		PaxosCluster::poll('chosen', sub { $s[0]->query("SELECT applied > $applied FROM paxos.replicated") eq 't' });
		kill 'CONT', $learner;
		my $answer = $s[1]->answer;
		$conflict ? like($answer, qr/40001/, "FOR $lock loses to $event") : is($answer, '', "FOR $lock does not lose to $event");

		# Held when it is applied: it ends the transaction, or waits for nobody.
		$id = $next++;
		$s[1]->query("BEGIN");
		$s[1]->query("SELECT id FROM parent WHERE id = $id FOR $lock");
		$s[0]->query(sprintf($event{$event}, $id));
		if ($conflict)
		{
			PaxosCluster::poll('ended', sub { $answer = $s[1]->query("SELECT 1"); $answer ne '1' });
			like($answer, qr/40001/, "FOR $lock is ended by $event");
			$s[1]->query("ROLLBACK");
		}
		else
		{
			$t->query("SELECT paxos_barrier()");
			is($s[1]->query("COMMIT"), '', "FOR $lock is not ended by $event");
		}
	}
}

# What such locks are for.  A child for each parent, at most one, wherever it is inserted.
$s[$_]->query("BEGIN") for 0, 2;
$s[$_]->query("SELECT FROM parent WHERE id = 150 FOR UPDATE") for 0, 2;
for my $i (0, 2)
{
	is($s[$i]->query("SELECT count(*) FROM child WHERE parent = 150"), '0', 'none is there');
	$s[$i]->query("INSERT INTO child VALUES (150 + $i, 150)");
}
is($s[0]->query("COMMIT"), '', 'the first inserts it');
like($s[2]->end, qr/40001/, 'the second had the lock at the same time');

# A parent is deleted when it has no child; a child is inserted when there is a parent.
$s[$_]->query("BEGIN") for 0, 2;
is($s[0]->query("SELECT id FROM parent WHERE id = 151 FOR KEY SHARE"), '151', 'there is a parent');
$s[0]->query("INSERT INTO child VALUES (151, 151)");
is($s[2]->query("DELETE FROM parent WHERE id = 151 AND NOT EXISTS (SELECT FROM child WHERE parent = 151) RETURNING id"), '151', 'there is no child');
is($s[0]->query("COMMIT"), '', 'the child is inserted');
like($s[2]->end, qr/40001/, 'the parent is not deleted');

# Two children of one parent are in nobody's way.
$s[$_]->query($_ ? "BEGIN ISOLATION LEVEL REPEATABLE READ" : "BEGIN") for 0, 2;
$s[$_]->query("SELECT id FROM parent WHERE id = 152 FOR KEY SHARE") for 0, 2;
$s[$_]->query("INSERT INTO child VALUES (152 + 1000 * $_, 152)") for 0, 2;
$n[1]->sql("UPDATE parent SET v = 5 WHERE id = 152");
is($s[$_]->query("COMMIT"), '', 'two children at once, and the parent changed meanwhile') for 0, 2;

# What a savepoint took back was not locked.
$s[1]->query($_) for "BEGIN", "SAVEPOINT a", "SELECT FROM parent WHERE id = 153 FOR UPDATE", "ROLLBACK TO a",
  "SELECT FROM parent WHERE id = 154 FOR SHARE";
$n[0]->sql("UPDATE parent SET v = 1 WHERE id = 153");
is($s[1]->query("COMMIT"), '', 'a lock is given up with its savepoint');
$s[1]->query($_) for "BEGIN", "SELECT FROM parent WHERE id = 154 FOR SHARE", "SAVEPOINT a", "SELECT FROM parent WHERE id = 154 FOR UPDATE", "ROLLBACK TO a";
$n[0]->sql("SELECT FROM parent WHERE id = 154 FOR SHARE");
is($s[1]->query("COMMIT"), '', 'a stronger one is, and the weaker is not');
$s[1]->query($_) for "BEGIN", "SELECT FROM parent WHERE id = 154 FOR SHARE", "SAVEPOINT a", "SELECT FROM parent WHERE id = 154 FOR UPDATE", "ROLLBACK TO a";
$n[0]->sql("UPDATE parent SET v = 1 WHERE id = 154");
like($s[1]->end, qr/40001/, 'the weaker is not');

$s[1]->query($_) for "BEGIN", "SAVEPOINT a", "SELECT FROM parent WHERE id = 154 FOR UPDATE", "ROLLBACK TO a", "SELECT FROM parent WHERE id = 154 FOR UPDATE";
$n[0]->sql("UPDATE parent SET v = 2 WHERE id = 154");
like($s[1]->end, qr/40001/, 'locked once more, it is locked');

# Who has the row by a savepoint that is released is found.
$s[1]->query($_) for "BEGIN", "SAVEPOINT a", "UPDATE parent SET v = 3 WHERE id = 173", "RELEASE a";
$n[0]->sql("UPDATE parent SET v = 4 WHERE id = 173");
my $told;
PaxosCluster::poll('ended', sub { $told = $s[1]->query("SELECT 1"); $told ne '1' });
like($told, qr/40001/, 'a change in a savepoint that is released gives way');
$s[1]->query("ROLLBACK");

# A cursor locks what it has fetched.
$s[1]->query($_) for "BEGIN", "DECLARE c CURSOR FOR SELECT id FROM parent WHERE id BETWEEN 155 AND 156 ORDER BY id FOR UPDATE";
is($s[1]->query("FETCH c"), '155', 'a cursor');
$n[0]->sql("UPDATE parent SET v = 1 WHERE id = 156");
$n[1]->sql("SELECT paxos_barrier()");
is($s[1]->query("UPDATE parent SET v = 2 WHERE CURRENT OF c RETURNING id"), '155', 'WHERE CURRENT OF');
is($s[1]->query("COMMIT"), '', 'it has not fetched the other');

# In functions, in sub-selects, of one table of a join, in a view's place.
for my $sql ("SELECT FROM parent p JOIN child c ON c.parent = p.id WHERE c.id = 152 FOR UPDATE OF p",
	"WITH w AS (SELECT * FROM parent WHERE id = 152 FOR SHARE) SELECT count(*) FROM w",
	"DO 'BEGIN PERFORM FROM parent WHERE id = 152 FOR UPDATE; END'",
	"SELECT (SELECT v FROM parent WHERE id = 152 FOR SHARE)",
	"SELECT (SELECT v FROM parent p WHERE p.id = c.parent FOR SHARE) FROM child c WHERE id = 152")
{
	$s[1]->query("BEGIN");
	$s[1]->query($sql);
	$n[0]->sql("UPDATE parent SET v = v + 1 WHERE id = 152");
	like($s[1]->end, qr/40001/, $sql);
}

# Between sessions of one node as ever.
$_->query("BEGIN") for $s[1], $t;
$s[1]->query("SELECT FROM parent WHERE id = 160 FOR UPDATE");
like($t->query("SELECT FROM parent WHERE id = 160 FOR UPDATE NOWAIT"), qr/55P03/, 'NOWAIT');
$t->query($_) for "ROLLBACK", "BEGIN";
is($t->query("SELECT id FROM parent WHERE id BETWEEN 160 AND 161 FOR UPDATE SKIP LOCKED"), '161', 'SKIP LOCKED');
$s[1]->query("UPDATE parent SET v = 7 WHERE id = 160");
$t->ask("SELECT v FROM parent WHERE id = 160 FOR UPDATE");
is($s[1]->query("COMMIT"), '', 'COMMIT');
is($t->answer, '7', 'the row that is waited for is that which was committed');
is($t->query("COMMIT"), '', 'and locking it is no conflict');

# A queue, from all nodes at once.
$n[0]->sql("CREATE TABLE job (id int PRIMARY KEY, done_by int) USING paxos");
$n[0]->sql("INSERT INTO job SELECT i FROM generate_series(1, 30) i");
$n[0]->sql("CREATE TEMP TABLE nothing (x int)");
$_->sql("SELECT paxos_barrier()") for @n;
for my $round (1 .. 30)
{
	$s[$_]->ask("UPDATE job SET done_by = $_ WHERE id = (SELECT id FROM job WHERE done_by IS NULL ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) AND done_by IS NULL RETURNING id") for 0 .. 2;
	my @got = map { $s[$_]->answer } 0 .. 2;
	push @{ $c->{got} }, grep { /^\d+$/ } @got;
	my @bad = grep { !/^\d*$/ && !/40001/ } @got;
	is("@bad", '', "nothing but 40001") if @bad;
	last if @{ $c->{got} } >= 30;
}
while (@{ $c->{got} } < 30)
{
	my $id = $s[0]->query("UPDATE job SET done_by = 0 WHERE id = (SELECT id FROM job WHERE done_by IS NULL ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1) AND done_by IS NULL RETURNING id");
	last if $id eq '';
	push @{ $c->{got} }, $id if $id =~ /^\d+$/;
}
is(join(' ', sort { $a <=> $b } @{ $c->{got} }), join(' ', 1 .. 30), 'every job was done, and by one');

# LOCK TABLE.
$_->query("BEGIN") for @s[0, 2];
$_->query("LOCK TABLE child IN EXCLUSIVE MODE") for @s[0, 2];
$s[0]->query("INSERT INTO job VALUES (101)");
is($s[0]->query("COMMIT"), '', 'one has the table');
like($s[2]->end, qr/40001/, 'the other has not');
$_->query("BEGIN") for @s[0, 2];
$_->query("LOCK TABLE child IN SHARE MODE") for @s[0, 2];
is($s[$_]->query("COMMIT"), '', 'SHARE and SHARE') for 0, 2;
$_->query("BEGIN") for @s[0, 2];
$s[0]->query("LOCK TABLE child IN SHARE MODE");
$s[2]->query("DELETE FROM child WHERE id < 0 OR id = 152");
is($s[0]->query("COMMIT"), '', 'SHARE');
like($s[2]->end, qr/40001/, 'and a change');

# Locks and permanent local tables go together: nothing can be lost between them.
$n[0]->sql("CREATE TABLE here (id int)");
$s[0]->query($_) for "BEGIN", "INSERT INTO here VALUES (1)", "SELECT FROM parent WHERE id = 170 FOR UPDATE";
is($s[0]->query("COMMIT"), '', 'a lock and a local change');
$s[0]->query($_) for "BEGIN", "SELECT FROM parent WHERE id = 170 FOR UPDATE", "INSERT INTO here VALUES (2)";
$n[1]->sql("UPDATE parent SET v = 9 WHERE id = 170");
like($s[0]->end, qr/40001/, 'which goes with the lock');
is($n[0]->sql("SELECT count(*) FROM here"), '1', 'and is not there');
$s[0]->query($_) for "BEGIN", "INSERT INTO here VALUES (3)", "SELECT FROM parent WHERE id = 171 FOR UPDATE";
like($s[0]->query("UPDATE parent SET v = 10 WHERE id = 171"), qr/0A000/, 'but a change of both is refused');
$s[0]->query("ROLLBACK");
like($s[0]->query("BEGIN; SELECT FROM parent WHERE id = 172 FOR UPDATE; PREPARE TRANSACTION 'x'"), qr/0A000|55000/, 'no PREPARE');
$s[0]->query("ROLLBACK");

$_->close for @s, $t;
$c->await_equal;
done_testing();
