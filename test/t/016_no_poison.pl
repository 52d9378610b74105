# What a user can write must not hold up every node for ever: an error that comes
# up alike on all nodes is the command's own result, whatever its class, and two
# statements that were each right when issued, but not one after the other, are
# decided at their slots.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 1);
my ($n) = $c->nodes;

# The next command is applied: the one before it was no poison.
sub goes_on
{
	my ($what) = @_;
	is($n->sql("SET paxos.statement_timeout = '20s'; SELECT applied FROM paxos_kv_put('alive', '1')"), 't', "$what: the log goes on");
}

# Statements issued while the learner stands still, so that each is tried before
# any of the others has taken effect.
sub at_once
{
	my (@sql) = @_;
	my $pid = $n->sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'paxos learner'");
	PaxosCluster::stand_still($pid);
	my @h = map { $n->start_sql($_) } @sql;
	my @r;
	my $ok = eval {
		PaxosCluster::poll('all are sent', sub {
			return $n->sql("SELECT coalesce(sum(commands), 0) FROM paxos.log WHERE slot > (SELECT applied FROM paxos.status)") >= @sql;
		});
		1;
	};
	my $error = $@;
	kill 'CONT', $pid;
	@r = map { $n->finish_sql($_)->{sqlstate} } @h;
	die $error unless $ok;
	return join(' ', sort @r);
}

# ---- errors of a class that may also be a node's own ---------------------------------
# A type without an order inside one that has: met when two keys are compared.
$n->sql("CREATE TABLE dots (id int PRIMARY KEY, p point[] UNIQUE) USING paxos");
$n->sql(q{SELECT paxos_upsert('dots', '{"id": 1, "p": ["(1,2)"]}')});
$n->fails(q{SELECT paxos_upsert('dots', '{"id": 2, "p": ["(3,4)"]}')}, '42883', qr/comparison function/, 'elements without an order');
is($n->sql("SELECT apply_retries FROM paxos.stats"), 0, "and is no trouble of the node");
goes_on('an undefined function');
$n->sql("CREATE TABLE searches (id int PRIMARY KEY, words text, q tsquery GENERATED ALWAYS AS (to_tsquery('simple', words)) STORED) USING paxos");
$n->fails(q{SELECT paxos_upsert('searches', '{"id": 1, "words": "a b"}')}, '42601', qr/tsquery/, 'a generated column that cannot be parsed');
goes_on('a syntax error');

$n->sql("CREATE TABLE tags (id int PRIMARY KEY, a int[] CHECK (array_position(a, NULL) IS NULL)) USING paxos");
$n->fails(q{SELECT paxos_upsert('tags', '{"id": 1, "a": [[1, 2], [3, 4]]}')}, '0A000', qr/multidimensional/, 'a constraint that cannot be asked of such a value');
goes_on('a feature not supported');

# The same of rows that are there already, met by a new index.
$n->sql("CREATE TABLE spots (id int PRIMARY KEY, p point[], words text) USING paxos");
$n->sql(qq{SELECT paxos_upsert('spots', '{"id": $_, "p": ["(1,$_)"], "words": "a b"}')}) for 1 .. 3;
$n->fails("CREATE INDEX ON spots (p)", '54000', qr/do not allow/, 'rows without an order');
goes_on('an index over them');
$n->fails("CREATE INDEX ON spots ((words::tsquery::text))", '22000', qr/do not allow/, 'rows that cannot be parsed');
goes_on('an index over those');

# An operator that answers NULL of two values.
$n->sql("CREATE TABLE ways (id int PRIMARY KEY, w path) USING paxos");
$n->sql(q{SELECT paxos_upsert('ways', '{"id": 1, "w": "((0,0),(1,1))"}')});
is($n->sql(q{SELECT applied, current->'w' FROM paxos_update_if('ways', '{"id": 1}', '{"w +=": "((2,2),(3,3))"}', '{}')}), 't|null', 'a sum that is null');
goes_on('an operator that answers null');

# ---- names ------------------------------------------------------------------------------
is(at_once(
	"CREATE TABLE one (id int CONSTRAINT shared PRIMARY KEY) USING paxos",
	"CREATE TABLE two (id int CONSTRAINT shared PRIMARY KEY) USING paxos"), '00000 42P07', 'a constraint of one name on two tables at once');
goes_on('a constraint');
is(at_once(
	"CREATE TABLE counted (id serial PRIMARY KEY) USING paxos",
	"CREATE TABLE counted_id_seq (id int PRIMARY KEY) USING paxos"), '00000 00000', 'a table and the sequence of another at once');
goes_on('a sequence');
is($n->sql("SELECT applied FROM paxos_insert_if_not_exists('counted', '{}')"), 't', 'and the sequence still counts');

$n->sql('CREATE TABLE "a b" (id int PRIMARY KEY) USING paxos');
my $s = $n->session;
my $pid = $s->query("SELECT pg_backend_pid()");
my $r = eval { $s->query("CREATE INDEX \"public.paxos_trial_$pid\" ON \"a b\" (id)"); 1 };
ok($r, 'an index named like the copy it is tried on') or diag $@;
is($n->sql("SELECT count(*) FROM pg_indexes WHERE tablename = 'a b' AND indexname = 'public.paxos_trial_$pid'"), 1, 'has its name');
goes_on('an odd name');

# ---- a privilege that is gone ---------------------------------------------------------
$n->sql("CREATE ROLE former");
$n->sql("CREATE SCHEMA once");
$n->sql("GRANT ALL ON SCHEMA once TO former");
$n->sql("SET ROLE former; CREATE TABLE once.upon (id int PRIMARY KEY, t int) USING paxos");
$n->sql("REVOKE CREATE ON SCHEMA once FROM former");
$n->fails("CREATE INDEX ON once.upon (t)", '42501', qr/permission denied for schema once/, 'an index whose owner may not create in the schema');
goes_on('a missing privilege');

done_testing;
