# Plain statements on a consensus table do what they do on an ordinary one: the
# same statement on twins, chosen by chance (SEED) and by hand; rows, counts,
# errors and what is in the tables afterwards are compared.
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $seed = $ENV{SEED} // 1;
my $rounds = $ENV{ROUNDS} // 250;
srand($seed);
note("seed $seed");

my $c = PaxosCluster->new(nodes => 1);
$c->await_leader;
my $n = $c->node(1);
for (['twin_h', 'heap'], ['twin_p', 'paxos'])
{
	my ($t, $am) = @$_;
	$n->sql(qq{CREATE TABLE $t (id int, part varchar(4), a int, b int NOT NULL DEFAULT 7, n numeric(7,2) DEFAULT 1.5 CHECK (n < 900),
		t text UNIQUE, ts timestamptz, j jsonb, d double precision, u bpchar(3) DEFAULT 'x', g int GENERATED ALWAYS AS (a + b) STORED,
		CONSTRAINT ${t}_key PRIMARY KEY (id, part)) USING $am});
}
my $s = $n->session;

# What a statement says of itself, without the table's name and places in the source.
sub said
{
	my ($sql, $table) = @_;
	$sql =~ s/%T/$table/g;
	my $out = $s->query("$sql;\n\\echo rows :ROW_COUNT state :SQLSTATE");
	$out =~ s/^LOCATION:.*\n?//mg;
	$out =~ s/^LINE \d+:.*\n.*\n?//mg;
	$out =~ s/twin_[hp]/twin/g;
	return $out;
}

my $look = "SELECT * FROM %T ORDER BY id, part";
my ($same, $effects, $errors) = (0, 0, 0);

sub same
{
	my ($sql) = @_;
	my ($h, $p) = map { said($sql, $_) } 'twin_h', 'twin_p';
	if ($p ne $h)
	{
		fail("the same on both: $sql");
		diag("ordinary:\n$h\nconsensus:\n$p");
		return;
	}
	$same++;
	$effects++ if $h =~ /rows [1-9]/;
	$errors++ if $h !~ /state 00000/;
}

sub contents
{
	my ($name) = @_;
	is(said($look, 'twin_p'), said($look, 'twin_h'), $name);
}

# ---- by hand ----------------------------------------------------------------

my $insert = "INSERT INTO %T (id, part, a, b, n, t) VALUES";
same($_) for (
	"$insert (1, 'a', 1, 2, 3.456, 'one')",
	"$insert (1, 'a', 1, 2, 3.456, 'two')",
	"$insert (2, 'a', 1, 2, 3.456, 'one')",
	"$insert (2, 'a', 1, 2, 3.456, 'one') ON CONFLICT (id, part) DO NOTHING",
	"$insert (2, 'a', 1, 2, 3.456, 'one') ON CONFLICT (id, part) DO UPDATE SET a = 5",
	"$insert (1, 'a', 10, 20, 30, 'other') ON CONFLICT (part, id) DO UPDATE SET (a, n, t) = (EXCLUDED.g, %T.n + EXCLUDED.n, %T.t || EXCLUDED.t) RETURNING *",
	"$insert (1, 'a', 10, 20, 30, 'other') ON CONFLICT (id, part) DO UPDATE SET id = EXCLUDED.id, part = EXCLUDED.part, b = DEFAULT WHERE EXCLUDED.t = 'other' RETURNING id, part, b",
	"$insert (1, 'a', 10, NULL, 30, 'other') ON CONFLICT (id, part) DO UPDATE SET b = 3",
	"$insert (1, 'a', 10, 20, 1000, 'other') ON CONFLICT (id, part) DO NOTHING",
	"$insert (1, 'a', 10, 20, 30, 'other') ON CONFLICT (id, part) DO UPDATE SET n = 1000",
	"$insert (1, 'a', 10, 20, 30, 'other') ON CONFLICT (id, part) DO UPDATE SET b = NULL",
	"$insert (1, 'long part', 10, 20, 30, 'other')",
	"$insert (1, 'b', 1, 1, 1, 'b'), (1, 'c', 2, 2, 2, 'c'), (1, 'd', 3, DEFAULT, DEFAULT, NULL) RETURNING id, part, b, n, g, t",
	"$insert (1, 'e', 1, 1, 1, 'e'), (1, 'a', 2, 2, 2, 'aa')",
	"$insert (1, 'e', 1, 1, 1, 'b'), (1, 'a', 2, 2, 2, 'aa') ON CONFLICT (id, part) DO NOTHING",
	"$insert (1, 'e', 1, 1, 1, 'e'), (1, 'a', 2, 2, 2, 'aa'), (1, 'e', 3, 3, 3, 'x') ON CONFLICT (id, part) DO NOTHING RETURNING part",
	"$insert (1, 'f', 1, 1, 1, 'f'), (1, 'f', 2, 2, 2, 'aa') ON CONFLICT (id, part) DO UPDATE SET a = 0",
	"$insert (1, 'e', 1, 1, 1, 'f'), (1, 'e', 2, 2, 2, 'aa') ON CONFLICT (id, part) DO UPDATE SET a = 0",
	"$insert (1, 'e', 1, 1, 1, 'f'), (1, 'e', 2, 2, 2, 'aa') ON CONFLICT (id, part) DO UPDATE SET a = 77 WHERE EXCLUDED.a = 2 RETURNING a",
	"$insert (2, 'a', 1, 1, 1, 'f'), (3, 'a', 2, 2, NULL, NULL) ON CONFLICT (id, part) DO UPDATE SET a = 77 RETURNING *",
	"INSERT INTO %T DEFAULT VALUES",
	"UPDATE %T SET a = a / (a - 77) WHERE id = 1 AND part = 'e'",
	"UPDATE %T SET a = 2147483647 WHERE id = 1 AND part = 'e' AND a IS NOT NULL RETURNING g",
	"UPDATE %T SET a = 2147483647 - b WHERE id = 1 AND part = 'e' AND a IS NOT NULL RETURNING g",
	"UPDATE %T SET (a, b) = (b, a) WHERE part = 'a' AND 2 = id RETURNING a, b, g",
	"UPDATE %T SET u = 'ab' || u WHERE part = 'a' AND 2 = id RETURNING u",
	"UPDATE %T SET u = 'abcd' WHERE part = 'a' AND 2 = id",
	"UPDATE %T SET u = 'ab   ' WHERE part = 'a' AND 2 = id RETURNING u",
	"UPDATE %T SET part = part, t = upper(t) WHERE part = 'a' AND 2 = id RETURNING t",
	"UPDATE %T SET t = 'one' WHERE part = 'b' AND 1 = id",
	"UPDATE %T SET j = '{\"k\": [1, {\"x\": null}]}', d = 0.1, ts = '2020-02-29 10:00+02' WHERE id = 1 AND part = 'b' RETURNING j, d, ts",
	"UPDATE %T SET j = j || '{\"l\": 2}', d = d + 0.2, ts = '2020-02-29 10:00+03' WHERE id = 1 AND part = 'b' AND j \@> '{\"k\": [1]}' AND ts < now()",
	"UPDATE %T SET j = jsonb_set(j, '{k,0}', j -> 'k'), d = sqrt(d * d) WHERE id = 1 AND part = 'b' AND j ->> 'k' LIKE '[1%' RETURNING j, d",
	"UPDATE %T SET a = CASE a WHEN 1 THEN 10 WHEN NULL THEN 20 WHEN b THEN 30 END WHERE id = 1 AND part = 'a' RETURNING a",
	"UPDATE %T SET a = CASE coalesce(a, 3) WHEN 1 THEN 10 WHEN CASE b WHEN b THEN 3 ELSE 1 END THEN CASE t WHEN 'x' THEN 1 ELSE 2 END ELSE 5 END WHERE id = 1 AND part = 'a' RETURNING a",
	"UPDATE %T SET a = CASE WHEN b = 0 THEN 1 / (b * 0) ELSE b + 1 END WHERE id = 1 AND part = 'a' RETURNING a",
	"UPDATE %T SET ts = CASE WHEN ts IS NULL THEN now() ELSE ts END WHERE id = 1 AND part = 'c' AND ts IS NULL",
	"UPDATE %T SET ts = coalesce(ts, current_timestamp) WHERE id = 99 AND part = 'c' AND false",
	"DELETE FROM %T WHERE id = 1 AND part = 'c' AND ts > now() - interval '1 hour' RETURNING id, part, a",
	"DELETE FROM %T WHERE id = 1 AND part = 'c'",
	"DELETE FROM %T WHERE id = 1 AND part = 'd' AND t IS NULL RETURNING *",
	"UPDATE %T SET a = 1 WHERE id = 1 AND part = 'far too long'",
	"UPDATE %T SET a = 1 WHERE id = 5000000000 AND part = 'a'",
	"UPDATE %T SET a = 1 WHERE id = NULL AND part = 'a'",
	"PREPARE s_%T(int, text) AS UPDATE %T SET a = coalesce(\$1, a), t = coalesce(\$2, t) WHERE id = 2 AND part = 'a' RETURNING a, t",
	"EXECUTE s_%T(5, NULL)", "EXECUTE s_%T(NULL, 'zwei')", "EXECUTE s_%T(NULL, NULL)", "DEALLOCATE s_%T",
	"PREPARE s_%T(int, text) AS UPDATE %T SET a = CASE WHEN a = 0 THEN 1 / \$1 ELSE a + 1 END WHERE id = 2 AND part = \$2 RETURNING a",
	"SET plan_cache_mode = force_generic_plan", "EXECUTE s_%T(0, 'a')", "EXECUTE s_%T(0, 'b')", "RESET plan_cache_mode", "DEALLOCATE s_%T");
contents('by hand: the tables are the same');

# What this test is about must not be refused on either.
unlike(said($_, 'twin_p'), qr/not supported/, "taken: $_") for (
	"UPDATE %T SET a = CASE a WHEN 1 THEN 1 ELSE 2 END, ts = coalesce(ts, now()) WHERE id = 0 AND part = ''",
	"INSERT INTO %T (id, part, a) VALUES (0, 'a', 1), (0, 'b', 2) ON CONFLICT (id, part) DO UPDATE SET a = EXCLUDED.a");
said("DELETE FROM %T WHERE id = 0 AND part = '$_'", 'twin_p') for 'a', 'b';

# ---- by chance --------------------------------------------------------------

sub any { return $_[ int rand @_ ]; }
my $excluded;
sub column { return $excluded && rand() < 0.4 ? "EXCLUDED.$_[0]" : "%T.$_[0]"; }

sub number
{
	my ($deep) = @_;
	return any(int(rand 9) - 2, 'NULL::int', '(1 + 1)', column('a'), column('b'), column('g'), column('id'))
	  if $deep <= 0 || rand() < 0.3;
	my ($x, $y) = (number($deep - 1), number($deep - 1));
	return any("($x + $y)", "($x - $y)", "abs($x)", "coalesce($x, $y)", "greatest($x, $y)", "least($x, $y, 3)",
		"nullif($x, $y)", "mod($x, 3)", "length(" . text($deep - 1) . ")", "(" . numeric($deep - 1) . ")::int",
		"CASE WHEN " . truth($deep - 1) . " THEN $x ELSE $y END",
		"CASE $x WHEN $y THEN " . number($deep - 1) . " WHEN 3 THEN $x END",
		"CASE " . text($deep - 1) . " WHEN 'one' THEN $x ELSE $y END");
}

sub numeric
{
	my ($deep) = @_;
	return any('1.25', '0.005', column('n'), 'NULL::numeric') if $deep <= 0 || rand() < 0.4;
	my ($x, $y) = (numeric($deep - 1), numeric($deep - 1));
	return any("($x + $y)", "($x - $y)", "($x * 0.5)", "round($x, 1)", "coalesce($x, $y)", "(" . number($deep - 1) . ")::numeric",
		"CASE WHEN " . truth($deep - 1) . " THEN $x ELSE $y END");
}

sub text
{
	my ($deep) = @_;
	return any("'one'", "'T''wo'", "NULL::text", "''", column('t'), column('part') . '::text', "'e' || 'f'") if $deep <= 0 || rand() < 0.4;
	my ($x, $y) = (text($deep - 1), text($deep - 1));
	return any("substr($x || $y, 1, 8)", "upper($x)", "lower($x)", "coalesce($x, $y)", "left($x, 2)", "reverse($x)", "(" . number($deep - 1) . ")::text",
		"CASE $x WHEN $y THEN 'same' ELSE $y END", "nullif($x, $y)");
}

sub truth
{
	my ($deep) = @_;
	my ($x, $y, $t, $o) = (number($deep - 1), number($deep - 1), text($deep - 1), any('=', '<>', '<', '<=', '>', '>='));
	return any("$x $o $y", "$x $o $y", "($x IS NULL)", "($t IS NOT NULL)", "$t LIKE '%o%'", "$x IN (1, 2, 3)", "$x BETWEEN 0 AND 4",
		"($x IS DISTINCT FROM $y)", numeric($deep - 1) . " $o 1.5", "$t $o 'n'", "(" . column('a') . " = 1) IS NOT TRUE")
	  if $deep <= 0 || rand() < 0.5;
	my ($p, $q) = (truth($deep - 1), truth($deep - 1));
	return any("($p AND $q)", "($p OR $q)", "NOT ($p)", "coalesce($p, false)");
}

sub sets
{
	my %of = (
		a => sub { number(3) }, b => sub { number(2) }, n => sub { numeric(2) }, t => sub { text(2) },
		u => sub { 'left(' . text(1) . ', 3)' }, d => sub { column('d') . ' + 0.5' }, j => sub { any("'[1]'", column('j') . q( || '"x"'), 'NULL') });
	my @c = sort { rand() <=> 0.5 } sort keys %of;
	return join ', ', map { "$_ = " . (rand() < 0.1 ? 'DEFAULT' : $of{$_}->()) } @c[ 0 .. int rand 3 ];
}

sub values_row
{
	my $t = any("'t" . int(rand 30) . "'", "'t" . int(rand 30) . "'", 'NULL');
	return sprintf("(%d, '%s', %s, %s, %s, %s)", rand 4, any('a', 'b'), any('1', '2', 'NULL', '1 + 5'), any('3', '4', 'DEFAULT', '5 - 2'),
		any('2.255', '1.1::float8', 'DEFAULT', "'12'", '901'), $t);
}

my $returning = sub { return any('', ' RETURNING *', ' RETURNING a, id, t', ' RETURNING g, 5, n') };
for my $i (1 .. $rounds)
{
	my $kind = rand();
	$excluded = 0;
	my $sql;
	my $where = sprintf("id = %d AND part = '%s'", rand 4, any('a', 'b'));
	$where .= ' AND ' . truth(2) if rand() < 0.5;
	if ($kind < 0.45)
	{
		$sql = "UPDATE %T SET " . sets() . " WHERE $where";
	}
	elsif ($kind < 0.55)
	{
		$sql = "DELETE FROM %T WHERE $where";
	}
	else
	{
		$sql = "$insert " . join(', ', map { values_row() } 1 .. any(1, 1, 2, 3));
		my $conflict = rand();
		$excluded = 1;
		$sql .= $conflict < 0.2 ? ' ON CONFLICT (id, part) DO NOTHING'
		  : $conflict < 0.8 ? ' ON CONFLICT (id, part) DO UPDATE SET ' . sets() . (rand() < 0.4 ? ' WHERE ' . truth(2) : '')
		  : '';
	}
	$sql .= $returning->();
	same($sql);
	contents("round $i") if $i % 50 == 0;
}
contents('by chance: the tables are the same');
is($same, $same, "$same statements did the same, $effects had an effect, $errors failed");
cmp_ok($effects, '>', $rounds / 6, 'enough of them had an effect');
cmp_ok($errors, '>', 10, 'and enough of them failed');
done_testing;
