# A procedure whose transaction has been committed is cancelled, shortly after the learner has cancelled an
# earlier transaction of it: it is not told 40001, by which its caller would do again what is done.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.yield_timeout = '20s'\n");
$c->await_leader;
my @n = $c->nodes;
$n[0]->sql("CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL) USING paxos");
$n[0]->sql("INSERT INTO account VALUES (1, 0), (2, 0)");
$c->await_equal;
$n[0]->sql(<<'SQL');
CREATE PROCEDURE pay() LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		UPDATE account SET balance = -1 WHERE id = 1;
		PERFORM pg_sleep(300);
	EXCEPTION WHEN serialization_failure THEN
		RAISE NOTICE 'had to make way';
	END;
	ROLLBACK;
	UPDATE account SET balance = balance + 1 WHERE id = 2;
	COMMIT;
	PERFORM pg_cancel_backend(pg_backend_pid());
	PERFORM pg_sleep(300);
END $$
SQL

my $s = $n[0]->session;
$s->ask("CALL pay()");
$n[0]->poll_sql("SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $s->{pid} AND wait_event = 'PgSleep'");
$n[1]->sql("UPDATE account SET balance = 5 WHERE id = 1");
my $said = $s->answer;
like($said, qr/had to make way/, 'its first transaction had to make way');
like($said, qr/57014/, 'it was cancelled');
unlike($said, qr/40001/, '... and nobody says that it can be tried again');
for my $n (@n)
{
	$n->sql("SELECT paxos_barrier()");
	is($n->sql("SELECT balance FROM account WHERE id = 2"), '1', "what it has committed stands, on node $n->{number}");
}
is($s->query("BEGIN; UPDATE account SET balance = 7 WHERE id = 1; COMMIT"), '', 'and its session works on');
$s->close;
$c->await_equal;
done_testing();
