# A session that waits for the log holds no lock on a consensus table or its
# sequences, or DDL at an earlier slot and the session would wait for each other
# unseen (guards the relation_close() before paxos_submit() and
# release_sequences() in paxos_api_table.c).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3, conf => "paxos.connect_timeout = '100ms'");
$c->await_followers;
my ($n1, $n2, $n3) = $c->nodes;
$n1->sql("CREATE TABLE t (id serial PRIMARY KEY, ident bigint GENERATED ALWAYS AS IDENTITY, v int) USING paxos");
$c->await_equal;

my %statement = (
	insert => "SELECT applied FROM paxos_insert_if_not_exists('t', '{\"v\": 1}')",
	upsert => "SELECT applied FROM paxos_upsert('t', '{\"id\": 1000, \"v\": 1}')",
	update => "SELECT applied FROM paxos_update_if('t', '{\"id\": 1000}', '{\"v\": 2}', '{}')",
	put    => "SELECT applied FROM paxos_kv_put('a', '1')",
	get    => "SELECT paxos_kv_get('nosuch') IS NULL",
	create => "CREATE TABLE fresh (id int PRIMARY KEY) USING paxos",
	index  => "CREATE INDEX t_v ON t (v)",
);

# Nobody to agree with: everything waits.
$_->sigstop for $n2, $n3;
my %session;
my $waiting = 0;
for my $what (sort keys %statement)
{
	my $s = $session{$what} = $n1->session;
	$s->query("SET paxos.statement_timeout = 0");
	$s->ask($statement{$what});
	$n1->poll_sql("SELECT queue_cells FROM paxos.stats", ++$waiting);
	is($n1->sql("SELECT string_agg(relation::regclass || ' ' || mode, ', ') FROM pg_locks WHERE pid = $s->{pid} AND locktype = 'relation'"
		  . " AND relation IN (SELECT relid FROM paxos.tables UNION SELECT indexrelid FROM pg_index JOIN paxos.tables ON relid = indrelid"
		  . " UNION SELECT oid FROM pg_class WHERE relkind = 'S')"),
		'', "$what waits and holds nothing");
}

# And so a table can go while its writers wait.
$_->sigcont for $n2, $n3;
for my $what (sort keys %statement)
{
	my $answer = $session{$what}->answer;
	unlike($answer, qr/ERROR/, "$what has its answer: $answer");
}
$c->same_everywhere("SELECT id, v FROM t ORDER BY id", 'all agree');
$n1->sql("DROP TABLE t");
$c->await_equal;

done_testing;
