# Garbage to everything that other nodes may call: every function in schema paxos that role
# paxos_peer may execute, granted to it or to everybody, is found in the catalog, and this test fails when it
# meets one, or an argument, that it has not been told of.  Each argument in turn
# is made wrong; then many at once, at random from a seed.  Guarded: an error
# each, with an SQLSTATE that says what is wrong and never XX000; no backend ends;
# nothing has changed; the cluster works on (protocol.md; src/paxos_acceptor.c,
# "arguments").
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $seed = $ENV{PAXOS_SEED} // 20260101;
my $calls = $ENV{PAXOS_GARBAGE} // 3000;

my $c = PaxosCluster->new(nodes => 3);

# A second election, so that there is a lower ballot to send; then no more: what
# the acceptor has promised shall stand still.
my $first = $c->await_leader;
$first->sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'paxos proposer'");
$first->poll_sql("SELECT promised >= 2 * 65536 FROM paxos.acceptor");
$c->await_leader;
for my $n ($c->nodes)
{
	$n->conf("paxos.election_timeout = '60s'");
	$n->reload;
	$n->poll_sql("SHOW paxos.election_timeout", '1min');
}
# A command of every node: what their proposers had to settle comes before it.
my $leader = $c->await_followers;
$_->sql("SELECT paxos_kv_put('from" . $_->id . "', '1')") for $c->nodes;
$c->await_equal;
my ($n) = grep { $_->id != $leader->id } $c->nodes;		# the one that is sent garbage
my $sender = $leader->id;

my ($cluster, $node) = split /\|/, $n->sql("SELECT cluster_id, node_id FROM paxos.node");
my $version = $n->sql("SELECT protocol FROM paxos.form_probe()");
my ($incarnation, $instance) = split /\|/, $n->sql("SELECT incarnation, instance FROM paxos.member_memory WHERE node_id = $sender");
my $low = 65536 + $sender;		# a ballot of the sender's below what was promised
my $noop = "'" . $n->sql("SELECT value FROM paxos.log_entry WHERE length(value) = 16 ORDER BY slot LIMIT 1") . "'::bytea";
my $value = "'" . $n->sql("SELECT value FROM paxos.log_entry WHERE length(value) > 40 ORDER BY slot DESC LIMIT 1") . "'::bytea";
cmp_ok($n->sql("SELECT promised FROM paxos.acceptor"), '>', $low, 'there is a lower ballot to send');

# ---- what may be called -------------------------------------------------------------------------------
# A good call for each, which changes nothing; the arguments whose every value of
# its type is good ('any'); and those of which a wrong value in range is no
# garbage but a lie, by which state may rightly change ('lie').
my @head = ("'$cluster'", $version, $sender);
my %known = (
	prepare => { good => [ @head, $low, 1, 1, 0 ], any => [qw(w)], lie => [qw(ballot stream)] },
	accept => { good => [ @head, $low, 1, 1, "ARRAY[$noop, $value]", 0, 1, 1000000, 'false', 0, 1, 1, 1 ],
		any => [qw(chosen sent_at truncatable read_incarnation read_seq read_index lease_readable)], lie => [qw(ballot)] },
	pre_vote => { good => [ @head, 0 ] },
	hand_over => { good => [ @head, $low ], lie => [qw(ballot)] },
	forward => { good => [ @head, 1, 'true', "'{}'", 0 ] },
	fetch => { good => [ @head, 1, 2, 1000 ] },
	caught_up => { good => [ @head, 1, 100 ] },
	check_statement => { good => [ @head, "'public'", "'node'", 'NULL', "'{t}'" ], any => [qw(schema owner table_id)] },
	check_function => { good => [ @head, "'lower(text)'", 'NULL', 'NULL' ], any => [qw(function schema owner)] },
	try_statement => { good => [ @head, "'\\x00'" ], fails => '08P01|22...|55000|0A000' },
	object_definition => { good => [ 0, 0 ], any => [qw(classid objid)], fails => '00000|0A000|22...' },
	check_extensions => { good => [ @head, "'{plpgsql,1.0,pg_catalog}'" ] },
	check_roles => { good => [ @head, "'{node}'" ], any => [qw(roles)] },
	greet => { good => [ @head, $incarnation, $instance, 0, 0, 0, $node, $version ],
		lie => [qw(speaks incarnation instance remembered_incarnation remembered_promised remembered_accepted)] },
	introduce => { good => [ @head, "'host=127.0.0.1 port=1 connect_timeout=2'" ], lie => [qw(conninfo)] },
	compare_digests => { good => [ @head, 1, "'{}'" ] },
	verified => { good => [ @head, 1, 1 ], any => [qw(slot table_id)] },
	snapshot_open => { good => [ @head ], alone => '25P01' },
	snapshot_parts => { good => [], fails => '55000|25P01' },
	snapshot_objects => { good => [], fails => '55000|25P01' },
	snapshot_read => { good => [ 0 ], fails => '55000|25P01|22023' },
	configure => { good => [ @head, 0, "''::bytea", 'false', 0 ], any => [qw(base)] },
	transfer => { good => [ @head, $node ] },
	readmit => { good => [ @head, "'host=127.0.0.1 port=1 connect_timeout=2'", 'NULL', 'false' ], fails => '08...|55000|22...|0A000' },
	join_record => { good => [ "'$cluster'", 9, 1, $value ], fails => '55000' },
	is_instance => { good => [ 1 ], any => [qw(instance)] },
	form_lock => { good => [ "'$cluster'", 1 ], any => [qw(of_attempt at_index)] },
	form_unlock => { good => [] },
	form_identity => { good => [] },
	form_probe => { good => [] },
	form_contents => { good => [] },
	form_reach => { good => [ "'$cluster'", "'{host=nowhere}'" ], fails => '55000' },
	form_record => { good => [ "'$cluster'", $node, $value ], fails => '55000' },
	form_begin => { good => [ "'$cluster'" ], fails => '55000' },
	# What everybody may ask, as views do.
	map { $_ => { good => [] } } qw(member_status node_alarms node_stats node_status snapshot_status));

# name, kind, strict, then each input argument as name:type (not those a procedure answers with)
my @found = split /\n/, $n->sql(<<'SQL');
SELECT p.proname, p.prokind, p.proisstrict,
	(SELECT string_agg(coalesce(p.proargnames[i], '') || ':' || format_type(t, NULL), ',' ORDER BY i)
	 FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY a(t, i)
	 WHERE coalesce(p.proargmodes[i], 'i') = 'i'),
	(SELECT count(*) FROM unnest(p.proargmodes) m WHERE m = 'b')
FROM pg_proc p
WHERE p.pronamespace = 'paxos'::regnamespace AND has_function_privilege('paxos_peer', p.oid, 'EXECUTE')
ORDER BY 1
SQL
my %call;
for (@found)
{
	my ($name, $kind, $strict, $args, $out) = split /\|/;
	my @args = map { [ split /:/ ] } split /,/, $args;
	my $k = delete $known{$name};
	if (!ok(defined $k && @args == @{ $k->{good} }, "paxos.$name is known here, and all of its arguments"))
	{
		next;
	}
	$call{$name} = { %$k, name => $name, kind => $kind, strict => $strict eq 't', args => \@args, out => $out,
		any => { map { $_ => 1 } @{ $k->{any} // [] } }, lie => { map { $_ => 1 } @{ $k->{lie} // [] } } };
}
is(join(' ', sort keys %known), '', 'and nothing else is');
cmp_ok(scalar(keys %call), '>=', 10, 'functions are found');

sub statement
{
	my ($f, @args) = @_;
	return "CALL paxos.$f->{name}(" . join(', ', @args, ('NULL') x $f->{out}) . ")" if $f->{kind} eq 'p';
	return "SELECT * FROM paxos.$f->{name}(" . join(', ', @args) . ")";
}

# ---- garbage -------------------------------------------------------------------------------------------
# What is wrong for an argument: [SQL, SQLSTATE (pattern)].  A sender above all ids
# given out is not wrong: this node may be the one that lags.
sub wrong
{
	my ($f, $i) = @_;
	my ($name, $type) = @{ $f->{args}[$i] };
	my @w;
	push @w, [ "NULL", '22004|22023' ] unless $f->{strict} || $f->{name} eq 'verified' || $name eq 'table_id' || "$f->{name} $name" =~ /^check_function (schema|owner)$/;
	return @w, [ "'00000000-0000-0000-0000-000000000000'", '55000' ], [ "gen_random_uuid()", '55000' ] if $name eq 'cluster';
	return @w, map { [ $_, '0A000' ] } $version + 1, $version - 2, -1, 2147483647, -2147483648 if $name eq 'version';
	return @w, map { [ $_, '55000' ] } 0, -1, 65536 + $sender, 2147483647, -2147483648 if $name eq 'sender';
	push @w, map { [ $_, '22003' ] } '-1', '(-9223372036854775808)', '9223372036854775807', '6917529027641081856'
	  if $type eq 'bigint' && $name ne 'instance' && $name ne 'table_id' && $f->{name} ne 'verified';
	push @w, map { [ $_, '22003' ] } '-1', '(-9223372036854775808)', '9223372036854775807' if $f->{name} eq 'greet' && $name eq 'instance';
	push @w, [ 0, '22023' ] if "$f->{name} $name" =~ /^(accept first_slot|fetch from_slot|fetch max_bytes|prepare stream)$/;
	push @w, [ -1, '22023' ] if $name eq 'max_bytes';
	push @w, [ 0, '22023' ] if $name eq 'to_slot';
	push @w, map { [ $_, '22003' ] } -1, 60001, 2147483647, -2147483648 if "$f->{name} $name" eq 'caught_up patience_ms';
	push @w, map { [ $_, '22023' ] } 7, 65536 + $node, $sender, 65536 if $name eq 'ballot';
	push @w, map { [ $_, '22023' ] } 7, 65536 if $name eq 'handover';
	push @w, [ (1 << 60) + $sender, '22003' ] if $name eq 'ballot';		# it leaps
	push @w, [ 90_000_000_001, '22003' ] if $name eq 'lease_us';
	push @w, map { [ $_, '22003' ] } -1, 65536, 2147483647, -2147483648 if "$f->{name} $name" eq 'transfer node';
	push @w, map { [ $_, '22023' ] } "'\\x01'::bytea", $noop, $value, "substr($value, 1, 20)", "decode(repeat('00', 1300000), 'hex')"
	  if $type eq 'bytea' && !$f->{fails};
	if ($type eq 'bytea[]')
	{
		push @w, map { [ $_, '2202E' ] } "ARRAY[NULL]::bytea[]", "ARRAY[$noop, NULL]", "ARRAY[[$noop], [$noop]]",
		  "array_fill($noop, ARRAY[2, 2, 2])";
		push @w, map { [ "array_fill($_, ARRAY[65])", '54000' ] } "''::bytea", $noop;
		push @w, [ "array_fill('\\x00'::bytea, ARRAY[1000000])", '54000' ];
		push @w, [ "ARRAY[decode(repeat('00', 1300000), 'hex')]", '54000' ];
		push @w, map { [ "ARRAY[$_]", 'XX001' ] } "''::bytea", "'\\x01'::bytea", "'\\xffffffffffffffffffffffffffffffffffffffff'::bytea",
		  "substr($noop, 1, 15)", "$noop || '\\x00'", "substr($value, 1, length($value) - 1)", "$value || $value",
		  map { "set_bit($value, $_, 1 - get_bit($value, $_))" } 0, 9, 20, 40, 70, 200, 300;
		push @w, [ "ARRAY[$noop, substr($value, 2)]", 'XX001' ];
	}
	push @w, map { [ $_, '2202E' ] } "'{NULL}'", "'{{1},{2}}'", "array_fill(1::bigint, ARRAY[70000])" if $type eq 'bigint[]';
	push @w, map { [ $_, '2202E' ] } "'{}'", "'{NULL}'", "'{{a},{b}}'" if $type eq 'text[]' && !$f->{fails};
	return $f->{any}{$name} ? grep { $_->[1] ne '22023' && ($type eq 'bigint' || $_->[0] eq 'NULL') } @w : @w;
}

# Runs statements in one session; each's SQLSTATE, '00000' or 'lost'.
sub sqlstates
{
	my (@sql) = @_;
	my $s = $n->session(user => 'node');
	$s->ask(join("", map { "\\echo call $_\n$sql[$_];\n" } 0 .. $#sql) . "SELECT 'alive'");
	my $out = $s->answer(600);
	my @states = ('lost') x @sql;
	while ($out =~ /^call (\d+)\n(.*?)(?=^call \d+$|^alive$|\z)/msg)
	{
		my ($i, $text) = ($1, $2);
		my @errors = $text =~ /^(?:psql:\S+ )?(ERROR|FATAL|PANIC):  ([0-9A-Z]{5})/mg;
		$states[$i] = @errors ? ($errors[0] eq 'ERROR' ? $errors[1] : "$errors[0] $errors[1]") : '00000';
	}
	is($out =~ /^alive$/m ? 'alive' : 'lost', 'alive', 'the session has survived ' . @sql . ' calls');
	$s->close;
	return @states;
}

# Everything that must not change.
sub state_of
{
	my ($of) = @_;
	return $of->sql(<<'SQL');
SELECT a.* FROM paxos.acceptor a;
SELECT n.* FROM paxos.node n;
SELECT m.node_id, m.incarnation, m.instance FROM paxos.member_memory m ORDER BY 1;
SELECT count(*), max(slot), bit_xor(hashtextextended(l::text, 0)) FROM paxos.log_entry l;
SELECT r.* FROM paxos.replicated r;
SELECT role, ready, leader, ballot, promised, incarnation, chosen, applied, truncated, digest, stuck FROM paxos.status;
SELECT alarm FROM paxos.alarms ORDER BY 1;
SELECT * FROM paxos.kv ORDER BY 1
SQL
}
my %was = map { $_->id => state_of($_) } $c->nodes;

# The good calls are good: else what follows would show nothing.
my @good = map { $call{$_} } grep { $_ ne 'form_lock' } sort keys %call;
my @states = sqlstates(map { statement($_, @{ $_->{good} }) } @good);
for (0 .. $#good)
{
	my $state = $good[$_]{fails} // $good[$_]{alone} // '00000';
	like($states[$_], qr/^(?:$state)$/, "paxos.$good[$_]{name}: a good call");
}
like($n->sql(statement($call{prepare}, @{ $call{prepare}{good} }), user => 'node'), qr/^1\|/, 'a Prepare of a low ballot is refused');

# One argument wrong.
my (@sql, @want, @what);
for my $f (map { $call{$_} } sort keys %call)
{
	for my $i (0 .. $#{ $f->{args} })
	{
		for my $w (wrong($f, $i))
		{
			my @args = @{ $f->{good} };
			$args[$i] = $w->[0];
			push @sql, statement($f, @args);
			push @want, $f->{fails} // $w->[1];
			push @what, "paxos.$f->{name}, $f->{args}[$i][0] => " . (length $w->[0] > 50 ? substr($w->[0], 0, 50) . '...' : $w->[0]);
		}
	}
}
cmp_ok(scalar(@sql), '>', 150, 'wrong in one argument: ' . @sql . ' calls');
@states = sqlstates(@sql);
like($states[$_], qr/^(?:$want[$_])$/, $what[$_]) for 0 .. $#sql;

# With the lock of forming held its functions look at what they are given.
@states = sqlstates("SELECT attempt FROM paxos.form_lock('$cluster', 1)",
	"SELECT paxos.form_record('$cluster', $node, ''::bytea)",
	"SELECT paxos.form_record('$cluster', -1, $value)",
	"SELECT paxos.form_record('$cluster', 2147483647, $noop)",
	"SELECT paxos.form_record(gen_random_uuid(), $node, (SELECT configuration FROM paxos.form_probe()))",
	"SELECT paxos.form_begin(gen_random_uuid())",
	"SELECT paxos.form_reach('$cluster', '{NULL}')",
	"SELECT paxos.form_reach('$cluster', '{{a},{b}}')",
	"SELECT paxos.form_reach('$cluster', '{host=127.0.0.1 port=1 connect_timeout=2}')");
is($states[0], '00000', 'the lock of forming is taken');
like($states[$_], qr/^(?:22...|2202E|55000|08001)$/, "with it, call $_") for 1 .. $#states;

my $open = "BEGIN; SELECT applied FROM paxos.snapshot_open(" . join(', ', @head) . ")";
$n->fails("$open; SELECT rows FROM paxos.snapshot_read($_)", '22023', qr/no part/, "a snapshot's part $_", user => 'node')
  for 'NULL', -1, 1000, 2147483647, -2147483648;

is(state_of($_), $was{ $_->id }, 'nothing has changed on node ' . $_->id) for $c->nodes;

# ---- at random -------------------------------------------------------------------------------------------
diag("seed $seed (PAXOS_SEED), $calls calls (PAXOS_GARBAGE)") if $ENV{PAXOS_SEED};
my $random = $seed;
sub below
{
	my ($n) = @_;
	$random = ($random * 1103515245 + 12345) % (1 << 31);
	return (($random >> 8) ^ ($random << 20)) % $n;
}

sub any_of
{
	my ($f, $i) = @_;
	my ($name, $type) = @{ $f->{args}[$i] };
	my @w = map { $_->[0] } grep { length $_->[0] < 3000 } wrong($f, $i);
	if ($type eq 'bigint' && !$f->{lie}{$name} && below(2))
	{
		return (0, 1, 7, 65535, 65536, 1 << 40, (1 << 62) - 1, below(1 << 30), -below(1 << 30))[ below(9) ];
	}
	if ($type eq 'bytea[]' && below(2))
	{
		# one that is damaged anywhere
		my $of = below(2) ? $value : $noop;
		my $bit = below(1 << 20);
		return "ARRAY[set_bit($of, $bit % (8 * length($of)), 1 - get_bit($of, $bit % (8 * length($of))))]" if below(3);
		return "ARRAY[substr($of, 1, $bit % length($of))]" if below(2);
		return "ARRAY[overlay($value PLACING substr($value, 1 + $bit % 30, 8) FROM 20)]";
	}
	return ("''", "repeat('x', 100000)", "E'\\n\"\\'\\\\'")[ below(3) ] if $type eq 'text';
	return @w ? $w[ below(scalar @w) ] : $f->{good}[$i];
}

@sql = ();
my @with = grep { my $f = $_; !$f->{fails} && grep { !$f->{any}{ $_->[0] } } @{ $f->{args} } } map { $call{$_} } sort keys %call;
while (@sql < $calls)
{
	my $f = $with[ below(scalar @with) ];
	my @args = @{ $f->{good} };
	$args[$_] = any_of($f, $_) for grep { below(3) == 0 } 0 .. $#args;
	push @sql, statement($f, @args);
}
@states = sqlstates(@sql);
my %count;
$count{$_}++ for @states;
note(join(', ', map { "$_: $count{$_}" } sort keys %count));
is(join(', ', grep { !/^(00000|0A000|22...|2202E|54000|55000|25P01|P0002|02000|XX001)$/ } sort keys %count), '', 'at random: no SQLSTATE that says nothing');
my ($bad) = grep { $states[$_] !~ /^(00000|0A000|22...|2202E|54000|55000|25P01|P0002|02000|XX001)$/ } 0 .. $#states;
diag("call $bad of seed $seed: $states[$bad]: " . substr($sql[$bad], 0, 500)) if defined $bad;
cmp_ok($calls - ($count{'00000'} // 0), '>', $calls / 2, 'most are errors');
is(state_of($_), $was{ $_->id }, 'nothing has changed on node ' . $_->id) for $c->nodes;

# ---- and the cluster works -------------------------------------------------------------------------------
$_->sql("SELECT paxos_kv_put('after" . $_->id . "', '2')") for $c->nodes;
$c->await_equal;
$c->same_everywhere("SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM paxos.kv", 'and the cluster works on');
for my $node ($c->nodes)
{
	my @lines = grep { /PANIC|TRAP|was terminated by signal|must always hold/ } split /\n/, PaxosCluster::Node::slurp($node->logfile);
	is(join("\n", @lines), '', 'no process of node ' . $node->id . ' has crashed');
}
done_testing;
