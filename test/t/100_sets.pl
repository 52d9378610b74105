# Ordinary transactions on consensus tables, from three nodes.  (A session in the way is told so at
# its next statement, not ended.)
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE account (id int PRIMARY KEY, owner text UNIQUE, balance int NOT NULL CHECK (balance >= 0), note text) USING paxos");
$c->await_equal;

sub everywhere
{
	my ($sql, $expected, $name) = @_;
	$_->sql("SELECT paxos_barrier()") for @n;
	is($_->sql($sql), $expected, "$name, on node $_->{number}") for @n;
}

# Statements of all kinds, of their own.
$n[0]->sql("INSERT INTO account SELECT i, 'owner ' || i, 100 FROM generate_series(1, 10) i");
everywhere("SELECT count(*), sum(balance) FROM account", '10|1000', 'rows of INSERT ... SELECT are there');
$n[1]->sql("UPDATE account SET balance = balance + 1 WHERE id > 5");
everywhere("SELECT sum(balance) FROM account", '1005', 'an UPDATE of several rows');
is($n[2]->sql("DELETE FROM account WHERE owner LIKE '%0' RETURNING id"), '10', 'DELETE RETURNING');
everywhere("SELECT count(*) FROM account", '9', 'a DELETE by another column');

# A block, with savepoints.
my $s = $n[1]->session;
$s->query($_)
  for "BEGIN", "INSERT INTO account VALUES (20, 'twenty', 0)", "SAVEPOINT a",
  "INSERT INTO account VALUES (21, 'twenty-one', 0)", "UPDATE account SET balance = 0 WHERE id = 1",
  "ROLLBACK TO a", "UPDATE account SET note = 'seen' WHERE id IN (2, 20)", "RELEASE a";
is($n[0]->sql("SELECT count(*) FROM account WHERE id >= 20"), '0', 'nothing of a running transaction is seen elsewhere');
is($s->query("COMMIT"), '', 'COMMIT');
everywhere("SELECT string_agg(id || ':' || balance || ':' || note, ' ' ORDER BY id) FROM account WHERE note IS NOT NULL OR id = 1 OR id = 21",
	'2:100:seen 20:0:seen', 'what stands is there, what was rolled back is not');

# First committer wins.
my @s = map { $_->session } @n;
$s[0]->query("BEGIN");
$s[1]->query("BEGIN");
$s[0]->query("UPDATE account SET balance = balance + 10 WHERE id = 3");
$s[1]->query("UPDATE account SET balance = balance + 20 WHERE id = 3");
is($s[0]->query("COMMIT"), '', 'the first to commit does');
like($s[1]->end, qr/40001/, 'the other is told to try again');
everywhere("SELECT balance FROM account WHERE id = 3", '110', 'and one change is there');

# Both on their way at once: the verdict at the slot decides, on every node alike, and what
# the session is told is what has happened.  First against another write set, then against
# a keyed operation.
for my $case ([4, "UPDATE account SET balance = balance + 1 WHERE id IN (4, 5)"], [6, "UPDATE account SET balance = balance + 1 WHERE id = 6"])
{
	my ($id, $sql) = @$case;
	my $before = $n[0]->sql("SELECT balance FROM account WHERE id = $id");
	my $learner = $n[1]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
	PaxosCluster::stand_still($learner);
	$n[0]->sql($sql);
	my $applied = $n[0]->sql("SELECT applied FROM paxos.replicated");
	$s[1]->query("BEGIN");
	$s[1]->query("UPDATE account SET balance = balance + 10 WHERE id = $id");
	$s[1]->ask("COMMIT");
	$n[0]->poll_sql("SELECT applied > $applied FROM paxos.replicated");
	kill 'CONT', $learner;
	like($s[1]->answer, qr/40001/, 'overtaken on its way');
	everywhere("SELECT balance FROM account WHERE id = $id", $before + 1, 'what was first is there, and nothing else');
}

# It does not meet what it does not depend on.
my $learner = $n[1]->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
PaxosCluster::stand_still($learner);
$n[0]->sql("UPDATE account SET balance = 7 WHERE id = 7");
$s[1]->query("BEGIN");
$s[1]->query("UPDATE account SET balance = 8 WHERE id = 8");
$s[1]->ask("COMMIT");
$n[0]->poll_sql("SELECT balance = 8 FROM account WHERE id = 8");
kill 'CONT', $learner;
is($s[1]->answer, '', 'another row: both');
everywhere("SELECT string_agg(balance::text, ' ' ORDER BY id) FROM account WHERE id IN (7, 8)", '7 8', 'both are there');

# A unique value that two rows exchange; a new primary key; a unique value taken elsewhere.
$s[2]->query($_)
  for "BEGIN", "UPDATE account SET owner = 'between' WHERE id = 1", "UPDATE account SET owner = 'owner 1' WHERE id = 2",
  "UPDATE account SET owner = 'owner 2' WHERE id = 1", "UPDATE account SET id = 30 WHERE id = 20", "COMMIT";
everywhere("SELECT string_agg(id || ' ' || owner, ', ' ORDER BY id) FROM account WHERE id IN (1, 2, 20, 30)",
	'1 owner 2, 2 owner 1, 30 twenty', 'unique values changed places, and a key is new');
$n[1]->fails("INSERT INTO account SELECT 40, 'twenty', 1", '23505', qr/account_owner_key/, 'a unique value is taken, on another node too');

# A function that changes the row its caller has changed: the order of triggers is another one.
$n[0]->sql("CREATE FUNCTION again(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN UPDATE account SET note = ''inner'' WHERE id = 3; RETURN \$1; END'");
$n[0]->sql("UPDATE account SET balance = balance + 1 WHERE id IN (2, 3) AND again(id) > 0 AND id = 2");
everywhere("SELECT note FROM account WHERE id = 3", 'inner', 'what a function changed meanwhile is there');
$_->close for $s, @s;

$c->await_equal;
done_testing();
