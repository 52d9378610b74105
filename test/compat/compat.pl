# PostgreSQL's own regression scripts against one node of three (test/compat/run).
#
# Twice each, and both times with paxos.ddl = all.  As written: every new table is a consensus
# table (default_table_access_method), compared with what PostgreSQL expects; those without a primary key are refused, and so is
# all that needs them.  Keyed: tables that can be are given a primary key (a column at the
# end) and are consensus tables, all others stay local; compared with the same script on a
# PostgreSQL without the extension, statement by statement.  After each script all consensus
# tables are compared on all three nodes.
use strict;
use warnings;

use Cwd;
use Getopt::Long;
use PaxosCluster;
use POSIX qw(:sys_wait_h);
use Script;

my $regress = $ENV{COMPAT_REGRESS};
my $results = $ENV{COMPAT_RESULTS};

# As PostgreSQL's own schedule has them; those in brackets only prepare others.
my @all = qw([test_setup] insert insert_conflict [create_misc] create_table [create_index] [create_view]
  constraints triggers updatable_views select_into select_distinct subselect union case join aggregates
  transactions portals arrays update delete namespace
  privileges matview lock replica_identity rowsecurity identity generated create_table_like
  merge tsrf tid rules foreign_key window portals_p2 combocid
  plancache limit plpgsql copy2 temp domain rangefuncs prepare truncate alter_table sequence polymorphism rowtypes returning largeobject with
  partition_prune indexing enum jsonb groupingsets event_trigger fast_default inherit typed_table vacuum cluster async dependency);

my ($keyed, $written) = (0, 0);
GetOptions('keyed' => \$keyed, 'as-written' => \$written) or die "usage: run [--keyed] [--as-written] [script...]\n";
$keyed = $written = 1 if !$keyed && !$written;
my %wanted = map { $_ => 1 } @ARGV ? @ARGV : grep { !/^\[/ } @all;
my @others = grep { my $s = $_; !grep { $_ eq $s || $_ eq "[$s]" } @all } @ARGV;
my $last;
my @order = @all;
for my $i (0 .. $#order) { $last = $i if $wanted{ $order[$i] =~ s/[\[\]]//gr } }
@order = (@order[ 0 .. ($last // 0) ], @others);

sub slurp { my ($f) = @_; open my $h, '<', $f or return ''; local $/; my $s = <$h> // ''; $s =~ s/\r//g; return $s; }
sub spew { my ($f, $t) = @_; open my $h, '>', $f or die "$f: $!\n"; print $h $t; close $h; }

my $database = 'regression';
my $conf = "log_error_verbosity = verbose\npaxos.local_writes = allow\nmax_prepared_transactions = 2\nwal_level = logical\nautovacuum = off\n";

sub settings
{
	my ($n) = @_;
	$n->sql("ALTER DATABASE $database SET $_", database => $database)
	  for "lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'";
}

# Roles are each server's own; whoever creates one creates it everywhere.  So are schemas where
# the script says so (Script::keyed), and privileges on schemas.
sub create_locals
{
	my ($script, @nodes) = @_;
	my @locals = ("GRANT ALL ON SCHEMA public TO PUBLIC;\n");
	while ($script =~ /^\s*(CREATE\s+(?:ROLE|USER|GROUP)\s+(?!MAPPING)[^;]*;)/gim) { push @locals, "$1\n" }
	while ($script =~ /^SET paxos\.ddl = 'tables';\s*(?:--[^\n]*\n\s*)*CREATE\s+SCHEMA\s+(?!AUTHORIZATION)("?\w+"?)/gim) { push @locals, "CREATE SCHEMA $1;\nGRANT ALL ON SCHEMA $1 TO PUBLIC;\n" }
	$_->try("\\unset ON_ERROR_STOP\n" . join('', @locals), database => $database) for @nodes;
}

# One script through psql, as pg_regress runs it; how it ended.
sub run_psql
{
	my ($n, $file, $out, $options, $seconds) = @_;
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		setpgrp;
		chdir $regress;
		my %env = (PGAPPNAME => 'compat', PG_ABS_SRCDIR => $regress, PG_ABS_BUILDDIR => $regress,
			PG_LIBDIR => $regress, PG_DLSUFFIX => '.so', PGTZ => 'PST8PDT', PGDATESTYLE => 'Postgres, MDY',
			PGOPTIONS => "-c intervalstyle=postgres_verbose $options",
			LC_MESSAGES => 'C', PGHOST => '127.0.0.1', PGPORT => $n->{port}, PGUSER => 'postgres', PGDATABASE => $database);
		@ENV{ keys %env } = values %env;
		delete $ENV{LC_ALL};
		open STDIN, '<', $file or POSIX::_exit(126);
		open STDOUT, '>', $out or POSIX::_exit(126);
		open STDERR, '>&', \*STDOUT;
		exec "$PaxosCluster::BINDIR/psql", qw(-X -a -q -v HIDE_TABLEAM=on -v HIDE_TOAST_COMPRESSION=on) or POSIX::_exit(127);
	}
	my $ended = eval { PaxosCluster::poll('psql', sub { waitpid($pid, WNOHANG) == $pid ? { status => $? } : undef }, $seconds) };
	return 'done' if $ended && $ended->{status} == 0;
	return $ended->{status} >> 8 == 2 ? 'connection lost' : 'psql failed' if $ended;
	kill 'KILL', -$pid;
	waitpid $pid, 0;
	$n->try("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'compat%' OR application_name LIKE '%compat%'", database => 'postgres');
	return "hung ($seconds s)";
}

# Every consensus table, with what is in it: '' when all nodes are alike.
sub differences
{
	my ($c) = @_;
	my @n = $c->nodes;
	my $equal = eval { $c->await_equal; 1 };
	return "nodes are not at one watermark with one digest: " . ($@ =~ s/\n.*//sr) if !$equal;
	my @seen;
	for my $n (@n)
	{
		my $sql = $n->sql(<<'SQL', database => $database);
SET search_path TO pg_catalog;
SELECT string_agg(format('SELECT %L || count(*) || md5(coalesce(string_agg(md5(r), '''' ORDER BY md5(r)), '''')) FROM (SELECT paxos_row::text r FROM ONLY %s paxos_row) x', c.oid::regclass || ' ', c.oid::regclass),
                  E'\nUNION ALL ' ORDER BY c.oid::regclass::text)
FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'paxos' AND relkind = 'r'
SQL
		push @seen, $sql =~ /\S/ ? join("\n", sort split /\n/, $n->sql("SET search_path TO pg_catalog; $sql", database => $database)) : '';
	}
	for my $i (1 .. $#n)
	{
		next if $seen[$i] eq $seen[0];
		my %a = map { $_ => 1 } split /\n/, $seen[0];
		my %b = map { $_ => 1 } split /\n/, $seen[$i];
		return "node " . ($i + 1) . " differs from node 1: " . join(', ', map { s/ .*//r } grep { !$b{$_} } sort keys %a) . ' / ' . join(', ', map { s/ .*//r } grep { !$a{$_} } sort keys %b);
	}
	my $alarms = join "\n", map { my $n = $_; map { "node $n->{number}: $_" } grep { /\S/ } split /\n/, $n->sql("SELECT alarm, detail FROM paxos.alarms WHERE alarm <> 'fsync off'", database => $database) } @n;
	return $alarms;
}

sub internal_errors
{
	my ($n, $mark) = @_;
	my %e;
	my $log = $n->log_since($mark);
	$e{$1}++ while $log =~ /(?:ERROR|FATAL|PANIC):\s+(XX\w\w\w: .*)/g;
	$e{$1}++ while $log =~ /((?:TRAP:|PANIC:|.*was terminated by signal).*)/g;
	return \%e;
}

# ---- why a statement's output differs ------------------------------------------------------

# In this order; what stands in front is found in what our server said and PostgreSQL did not.
my @causes = (
	['no primary key', qr/must have a primary key|has no primary key/],
	['refused', qr/(?:is|are) not supported (?:on|for|in|with)[^\n]*consensus-backed|on consensus-backed table|not supported on consensus|cannot be a consensus-backed|consensus-backed/],
	['refused', qr/paxos/],
	['overtaken', qr/could not serialize access/],
	['follows', qr/(?:relation|table|view|function|type|index|trigger|constraint|column|sequence|schema|prepared statement|cursor|rule|policy|role|publication|operator|aggregate)[^\n]*does not exist|current transaction is aborted|already exists/],
	['plan', qr/QUERY PLAN/],
);

sub cause
{
	my ($ours, $theirs) = @_;
	my %theirs = map { $_ => 1 } split /\n/, $theirs;
	my $new = join "\n", grep { !$theirs{$_} } split /\n/, $ours;
	my @shape = map { s/\d+/0/gr =~ s/[ -]+/ /gr } ($ours, $theirs);
	return 'sequence' if $shape[0] eq $shape[1];
	for my $c (@causes)
	{
		return $c->[0] if $new =~ $c->[1] || ($c->[0] eq 'plan' && $ours =~ $c->[1]);
	}
	return 'other';
}

sub compare
{
	my ($name, $mode, $text, $ours, $theirs) = @_;
	my $statements = Script::parse($text);
	my ($a, $b) = (Script::split_output($statements, $ours), Script::split_output($statements, $theirs));
	my %r = (total => scalar @$statements, same => 0, causes => {}, messages => {});
	my $report = '';
	my %touched;	# what statements were about that came out differently
	for my $i (0 .. $#$statements)
	{
		if (Script::is_ours($statements->[$i]{text})) { $r{total}--; next }
		my ($x, $y) = map { ($_ // '') =~ s/^LINE \d+:.*\n\s*\^\n//mgr } ($a->[$i], $b->[$i]);
		if ($x eq $y) { $r{same}++; next }
		my $why = cause($x, $y);
		my $plain = lc $statements->[$i]{text} =~ s/--[^\n]*|'[^']*'//gr;
		$why = 'follows' if $why =~ /^(other|plan)$/ && grep { $touched{$_} } $plain =~ /[a-z_]\w+/g;
		$touched{$_}++ for grep { !/^(?:conflict|delete|update|insert|select|set|stdin|stdout|values|commit|all|public|each|current|true|false|if|as|unnest|generate_series|lateral|pg_\w+)$/ } $plain =~ /\b(?:table|view|into|update|from|on|join|trigger|function|procedure|index|rule|type|domain|sequence|schema|savepoint|to|policy)\s+(?:if\s+(?:not\s+)?exists\s+)?(?:only\s+)?(?:\w+\.)?([a-z_]\w+)/g;
		$r{causes}{$why}++;
		$r{messages}{ $1 =~ s/"[^"]*"/"..."/gr }++ if $x =~ /^(ERROR:.*)/m && index($y, $1) < 0;
		$report .= "---- line " . ($statements->[$i]{first} + 1) . " [$why]\n" . ($statements->[$i]{text} =~ s/\A\s+//r) . "\n<<<< expected\n$y>>>> here\n$x\n";
	}
	spew("$results/$mode/$name.differences", $report);
	return \%r;
}

# ---- the two ways ---------------------------------------------------------------------------

mkdir "$results/$_" for 'as-written', 'keyed';
mkdir "$regress/results";
mkdir "$regress/testtablespace";

my (%report, @broken);

sub fresh
{
	my $c = PaxosCluster->new(nodes => 3, database => $database, conf => $conf);
	settings($_) for $c->nodes;
	$_->sql("ALTER SYSTEM SET allow_in_place_tablespaces = on", database => $database), $_->reload for $c->nodes;
	return $c;
}

sub run_all
{
	my ($mode) = @_;
	my $options = '-c paxos.ddl=all' . ($mode eq 'keyed' ? '' : ' -c default_table_access_method=paxos');
	my $c = fresh();
	my $reference;
	if ($mode eq 'keyed')
	{
		$reference = PaxosCluster->new(nodes => 1, extension => 0, conf => "shared_preload_libraries = ''\n" . $conf =~ s/^paxos.*\n//mr)->node(1);
		$reference->sql("CREATE DATABASE $database");
		$reference->sql("CREATE ACCESS METHOD paxos TYPE TABLE HANDLER heap_tableam_handler", database => $database);
		settings($reference);
	}
	my @done;
	for (my $i = 0; $i < @order; $i++)
	{
		my ($name, $prepares) = ($order[$i] =~ s/[\[\]]//gr, $order[$i] =~ /^\[/ || !$wanted{ $order[$i] =~ s/[\[\]]//gr });
		next if $prepares && $order[$i] !~ /^\[/;	# not asked for, and nobody needs it
		my $text = slurp("$regress/sql/$name.sql");
		my $n = ($c->nodes)[0];
		my $file = "$results/$mode/$name.sql";
		my $as_is = $prepares && $mode eq 'keyed';
		$text = Script::keyed($text) if $mode eq 'keyed' && !$as_is;
		spew($file, $text);
		create_locals($text, ($c->nodes)[ 1, 2 ]);
		my @marks = map { $_->log_size } $c->nodes;
		my $ended = run_psql($n, $file, "$results/$mode/$name.out", $options, 300);
		my $theirs = '';
		if ($reference)
		{
			# a consensus table's sequence counts in steps of 32, for nodes to take turns
			spew("$file.ref", Script::step($text, 32));
			run_psql($reference, "$file.ref", "$results/$mode/$name.ref", '', 300);
			$theirs = Script::unstep(slurp("$results/$mode/$name.ref"), 32);
		}
		my $r;
		if ($reference) { $r = compare($name, $mode, $text, slurp("$results/$mode/$name.out"), $theirs) }
		else
		{
			for my $expected (grep { -f } "$regress/expected/$name.out", map { "$regress/expected/${name}_$_.out" } 1 .. 9)
			{
				my $one = compare($name, $mode, $text, slurp("$results/$mode/$name.out"), slurp($expected));
				($r, $theirs) = ($one, slurp($expected)) if !$r || $one->{same} > $r->{same};
			}
		}
		my $wrong = $ended eq 'done' ? '' : $ended;
		for my $k (0 .. 2)
		{
			my $e = internal_errors(($c->nodes)[$k], $marks[$k]);
			$wrong .= "; node " . ($k + 1) . ": $_" for grep { $theirs !~ /\Q@{[s!^XX\w+: !!r]}\E/ && $r->{total} } sort keys %$e;
		}
		my $unequal = $ended eq 'connection lost' ? '' : eval { differences($c) } // "no comparison: " . ($@ =~ s/.*\n(?=ERROR)//sr);
		printf "%-10s %-18s %5d statements %5d the same%s%s%s\n", $mode, ($prepares ? "($name)" : $name), $r->{total}, $r->{same},
		  join('', map { "  $_: $r->{causes}{$_}" } sort keys %{ $r->{causes} }),
		  $wrong ne '' ? "\n      WRONG: " . $wrong =~ s/^; //r : '', $unequal ne '' ? "\n      NOT EQUAL: $unequal" : '';
		STDOUT->flush;
		$report{$name}{$mode} = $r if !$prepares;
		push @broken, "$mode $name" if $unequal ne '' || ($wrong =~ /TRAP|signal|lost|hung/);
		if ($ended ne 'done' && !eval { $_->sql('SELECT 1', database => $database) for $c->nodes; $unequal eq '' })
		{
			print "      a new cluster\n";
			$c->stop_all;
			$c = fresh();
			run_psql(($c->nodes)[0], "$results/$mode/test_setup.sql", "$results/$mode/again.out", $options, 300);
		}
	}
	$c->stop_all;
}

STDOUT->autoflush(1);
run_all('as-written') if $written;
run_all('keyed') if $keyed;

my @lines = ("| script | as written: statements | the same | keyed: the same | what differs, keyed |\n", "| --- | ---: | ---: | ---: | --- |\n");
for my $name (grep { $report{$_} } map { s/[\[\]]//gr } @order)
{
	my ($w, $k) = @{ $report{$name} }{ 'as-written', 'keyed' };
	push @lines, sprintf "| %s | %s | %s | %s | %s |\n", $name, $w ? $w->{total} : $k->{total}, $w ? $w->{same} : '', $k ? $k->{same} : '',
	  $k ? join(', ', map { "$_ $k->{causes}{$_}" } sort keys %{ $k->{causes} }) : '';
}
spew("$results/table", join '', @lines);
my %messages;
for my $r (map { values %$_ } values %report) { $messages{$_} += $r->{messages}{$_} for keys %{ $r->{messages} } }
spew("$results/messages", join '', map { sprintf "%5d %s\n", $messages{$_}, $_ } sort { $messages{$b} <=> $messages{$a} || $a cmp $b } keys %messages);
print "broken: @broken\n" if @broken;
exit(@broken ? 1 : 0);
