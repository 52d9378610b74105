# PostgreSQL's isolation tests on consensus tables (test/compat/run --isolation).
#
# Twice each, with every table that can be on the access method paxos (a key is added where
# there is none).  On one node: isolationtester itself, its output compared permutation by
# permutation with that of a PostgreSQL without the extension.  Across nodes: each session on
# a node of its own, by a driver here; nobody waits for anybody there, and who comes too late is
# told so (40001).  Then the nodes must be equal, and what is there must be what the sessions
# that succeeded make one after the other, in some order, or what PostgreSQL itself makes of
# that permutation (READ COMMITTED promises no more).
use strict;
use warnings;

use Getopt::Long;
use PaxosCluster;
use POSIX qw(:sys_wait_h);
use Spec;

my $specs = $ENV{COMPAT_REGRESS} . '/../isolation/specs';
my $results = $ENV{COMPAT_RESULTS};
my $tester = $ENV{COMPAT_ISOLATIONTESTER};

my @all = qw(read-only-anomaly read-only-anomaly-2 read-only-anomaly-3 read-write-unique read-write-unique-2 read-write-unique-3 read-write-unique-4
  simple-write-skew receipt-report temporal-range-integrity project-manager classroom-scheduling total-cash
  referential-integrity ri-trigger partial-index two-ids multiple-row-versions index-only-scan update-conflict-out
  fk-contention fk-deadlock fk-deadlock2 fk-partitioned-1 fk-partitioned-2 fk-snapshot
  eval-plan-qual eval-plan-qual-trigger lock-update-delete lock-update-traversal inherit-temp
  insert-conflict-do-nothing insert-conflict-do-nothing-2 insert-conflict-do-update insert-conflict-do-update-2
  insert-conflict-do-update-3 insert-conflict-do-update-4
  delete-abort-savept delete-abort-savept-2 aborted-keyrevoke lock-committed-update lock-committed-keyupdate
  nowait nowait-2 nowait-3 nowait-4 nowait-5 skip-locked skip-locked-2 skip-locked-3 skip-locked-4
  merge-insert-update merge-delete merge-update merge-match-recheck merge-join
  partition-key-update-1 partition-key-update-2 partition-key-update-3 partition-key-update-4
  tuplelock-conflict tuplelock-update tuplelock-upgrade-no-deadlock update-locked-tuple propagate-lock-delete
  multixact-no-deadlock multixact-no-forget
  predicate-hash predicate-gin predicate-gist predicate-lock-hot-tuple
  truncate-conflict create-trigger alter-table-1 alter-table-2 alter-table-3 alter-table-4
  deadlock-simple deadlock-hard deadlock-soft deadlock-soft-2 plpgsql-toast timeouts);

my $most = 24;
GetOptions('most=i' => \$most) or die "usage: run --isolation [--most N] [spec...]\n";
my @wanted = @ARGV ? @ARGV : @all;

sub slurp { my ($f) = @_; open my $h, '<', $f or return ''; local $/; return <$h> // ''; }
sub spew { my ($f, $t) = @_; open my $h, '>', $f or die "$f: $!\n"; print $h $t; close $h; }

my $database = 'isolation';
my $conf = "paxos.local_writes = allow\nmax_prepared_transactions = 2\nautovacuum = off\ndeadlock_timeout = 200ms\n";
mkdir "$results/isolation";

my $c = PaxosCluster->new(nodes => 3, database => $database, conf => $conf);
my $reference = PaxosCluster->new(nodes => 1, extension => 0, conf => "shared_preload_libraries = ''\n" . $conf =~ s/^paxos.*\n//mr)->node(1);
$reference->sql("CREATE DATABASE $database");
$reference->{cluster}{database} = $database;
$reference->sql("CREATE ACCESS METHOD paxos TYPE TABLE HANDLER heap_tableam_handler");
my @n = $c->nodes;

# ---- sessions, kept as long as they live ----------------------------------------------------

my %kept;

# The i-th on this node, as new; 'control' asks, cleans and prepares.
sub session_on
{
	my ($n, $i) = @_;
	my $s = $kept{"$n->{port} $i"};
	return $s if $s && $s->alive;
	return $kept{"$n->{port} $i"} = $n->session;
}

sub end_session
{
	my ($n, $i) = @_;
	my $s = delete $kept{"$n->{port} $i"} or return;
	if ($s->alive && $s->query("ROLLBACK") !~ /FATAL/ && $s->query("DISCARD ALL") !~ /ERROR|FATAL/)
	{
		$kept{"$n->{port} $i"} = $s;
		return;
	}
	$s->close;
	eval { PaxosCluster::poll('its end', sub { waitpid($s->{psql}, WNOHANG) != 0 }, 10) } or kill 'KILL', $s->{psql};
	$n->poll_sql("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $s->{pid} AND backend_type = 'client backend'");
}

sub ask { my ($n, $sql) = @_; return session_on($n, 'control')->query($sql =~ s/;\s*\z//r); }

sub equal_nodes
{
	PaxosCluster::poll('equal nodes', sub {
		my %seen = map { ask($_, "SELECT applied, digest FROM paxos.status") => 1 } @n;
		return keys %seen == 1;
	});
}

# ---- on one node ---------------------------------------------------------------------------

sub tester
{
	my ($n, $spec, $out) = @_;
	my $pid = fork() // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDIN, '<', $spec or POSIX::_exit(126);
		open STDOUT, '>', $out or POSIX::_exit(126);
		open STDERR, '>&', \*STDOUT;
		$ENV{PGISOLATIONTIMEOUT} = 20;
		exec $tester, "host=127.0.0.1 port=$n->{port} user=postgres dbname=$database" or POSIX::_exit(127);
	}
	eval { PaxosCluster::poll('isolationtester', sub { waitpid($pid, WNOHANG) == $pid }, 300) } and return $?;
	kill 'KILL', $pid;
	waitpid $pid, 0;
	return 'hung';
}

# Its output, permutation by permutation.
sub permutations_of { my ($text) = @_; return map { s/\n+\z//r } split /\n(?=starting permutation:)/, $text; }

# Why a permutation comes out differently.
sub cause
{
	my ($ours, $theirs) = @_;
	my %theirs = map { $_ => 1 } split /\n/, $theirs;
	my $new = join "\n", grep { !$theirs{$_} } split /\n/, $ours;
	return 'refused' if $new =~ /consensus|paxos|not supported|setup failed/ || $ours eq '';
	return '40001' if $new =~ /could not serialize/;
	return 'unique' if $new =~ /duplicate key/ && $theirs =~ /could not serialize/;
	return 'waits' if join("\n", sort $new =~ /waiting/g) ne '' || $theirs =~ /waiting/;
	return 'other';
}

sub on_one_node
{
	my ($name, $file) = @_;
	prepare($n[0], Spec::read(slurp($file)));
	clean($n[0], { teardown => '' });
	my $ended = tester($n[0], $file, "$results/isolation/$name.out");
	# a consensus table's sequence counts in steps of 32, for nodes to take turns
	spew("$file.ref", Script::step(slurp($file), 32));
	tester($reference, "$file.ref", "$results/isolation/$name.ref");
	my @ours = permutations_of(slurp("$results/isolation/$name.out"));
	my @theirs = permutations_of(slurp("$results/isolation/$name.ref"));
	shift @ours; shift @theirs;			# what stands above the first
	my ($same, $report, %causes) = (0, '');
	for my $i (0 .. $#theirs)
	{
		if (defined $ours[$i] && $ours[$i] eq $theirs[$i]) { $same++; next }
		my $why = cause($ours[$i] // '', $theirs[$i]);
		$causes{$why}++;
		$report .= "[$why]\n<<<< expected\n$theirs[$i]\n>>>> here\n" . ($ours[$i] // '(not run)') . "\n\n";
	}
	spew("$results/isolation/$name.differences", $report);
	my $said = join ', ', map { "$_ $causes{$_}" } sort keys %causes;
	return (scalar @theirs, $same, $said, $ended eq 'hung' ? 'hung' : '');
}

# ---- across nodes --------------------------------------------------------------------------

# What all tables hold, but the key that was added.
my $contents = <<'SQL';
SET search_path TO pg_catalog;
SELECT string_agg(format('SELECT %L, (SELECT string_agg(r, '' '' ORDER BY r) FROM (SELECT (to_jsonb(paxos_row.*) - ''paxos_key'')::text r FROM ONLY %s paxos_row) x)', c.oid::regclass, c.oid::regclass), ' UNION ALL ' ORDER BY c.oid::regclass::text)
FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = 'public' AND relkind = 'r'
SQL

sub contents
{
	my ($n) = @_;
	my $sql = ask($n, $contents);
	return $sql =~ /\S/ ? ask($n, "$sql ORDER BY 1") : '';
}

# The setup's blocks, each as one message; what fails, fails.
sub prepare
{
	my ($n, $spec) = @_;
	for my $block (@{ $spec->{setup} })
	{
		# trigger functions are each server's own
		if ($n != $reference && $block =~ /\bCREATE\s+(?:OR\s+REPLACE\s+)?FUNCTION\b/i)
		{
			ask($_, "SET search_path TO public; SET check_function_bodies TO off; " . $block =~ s/\bCREATE\s+FUNCTION\b/CREATE OR REPLACE FUNCTION/ir) for @n[ 1, 2 ];
		}
		my $r = ask($n, "SET search_path TO public; $block");
		return $r if $r =~ /ERROR/;
	}
	return '';
}

sub clean
{
	my ($n, $spec) = @_;
	ask($n, "RESET ALL; SET client_min_messages TO error");
	ask($n, $spec->{teardown}) if $spec->{teardown} =~ /\S/;
	for my $t (split /\n/, ask($n, "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition"))
	{
		ask($n, "DROP TABLE $t CASCADE");
	}
}

# One permutation, session i on the i-th of these nodes: which sessions met an error.
sub play
{
	my ($spec, $steps, @nodes) = @_;
	my @s = map { session_on($nodes[$_], $_) } 0 .. $#nodes;
	my (@failed, @busy, @said);
	my $settle = sub {
		my ($i, $must) = @_;
		return 1 if !$busy[$i];
		my $quiet = 0;
		my $done = eval {
			PaxosCluster::poll('a step', sub {
				return 1 if $s[$i]->answered || !$s[$i]->alive;
				return 0 if $must;
				my $w = ask($nodes[$i], "SELECT coalesce(pg_blocking_pids($s[$i]{pid}) <> '{}', false)");
				$quiet = $w eq 't' ? $quiet + 1 : 0;
				return $quiet >= 3 ? 2 : 0;
			}, 30);
		};
		return 0 if ($done // 0) != 1;
		my $a = $s[$i]->answer(5);
		$busy[$i] = 0;
		$said[$i] .= "$a\n";
		$failed[$i] = 1 if $a =~ /ERROR|FATAL/;
		return 1;
	};
	my $send = sub { my ($i, $sql) = @_; $said[$i] //= ''; $s[$i]->ask($sql); $busy[$i] = 1; };
	for my $i (0 .. $#s)
	{
		$send->($i, $spec->{sessions}[$i]{setup} =~ s/;\s*\z//r), $settle->($i, 1) if $spec->{sessions}[$i]{setup} =~ /\S/;
	}
	my $hung = 0;
	for my $step (@$steps)
	{
		my $i = $spec->{steps}{$step}{session};
		if (!$settle->($i, 1)) { $hung = 1; last }
		$send->($i, $spec->{steps}{$step}{sql} =~ s/;\s*\z//r);
		$settle->($i, 0);
	}
	for my $i (0 .. $#s) { $hung = 1 if !$hung && !$settle->($i, 1) }
	for my $i (0 .. $#s)
	{
		$nodes[$i]->sql("SELECT pg_terminate_backend($s[$i]{pid})") if $hung;
		end_session($nodes[$i], $i);
	}
	return ($hung, \@failed, \@said);
}

sub orders { my (@l) = @_; return ([]) if !@l; return map { my $x = $_; map { [ $x, @$_ ] } orders(grep { $_ != $x } @l) } @l; }

# Everything that sessions one after the other can make, of those that surely succeeded and
# any of the others.
sub serial_states
{
	my ($spec, $steps, $failed, $known) = @_;
	my @sessions = 0 .. $#{ $spec->{sessions} };
	my @sure = grep { !$failed->[$_] } @sessions;
	my @perhaps = grep { $failed->[$_] } @sessions;
	my %states;
	for my $mask (0 .. 2**@perhaps - 1)
	{
		for my $order (orders(@sure, map { $perhaps[$_] } grep { $mask & (1 << $_) } 0 .. $#perhaps))
		{
			my @run = map { my $i = $_; grep { $spec->{steps}{$_}{session} == $i } @$steps } @$order;
			my $key = join ' ', @run;
			if (!defined $known->{$key})
			{
				clean($reference, $spec);
				prepare($reference, $spec);
				play($spec, \@run, ($reference) x @sessions);
				$known->{$key} = contents($reference);
			}
			$states{ $known->{$key} } = $key;
		}
	}
	return \%states;
}

sub across
{
	my ($name, $spec) = @_;
	# two of one node would wait for each other where a permutation does not foresee it
	return { refused => 'more sessions than nodes' } if @{ $spec->{sessions} } > @n;
	my @permutations = @{ $spec->{permutations} };
	@permutations = map { $permutations[ int($_ * @permutations / $most) ] } 0 .. $most - 1 if @permutations > $most;
	my %r = (run => 0, serial => 0, as_postgres => 0, neither => 0, unequal => 0, hung => 0, overtaken => 0);
	my %known;
	my $report = '';
	for my $steps (@permutations)
	{
		my @sessions = map { $n[ $_ % 3 ] } 0 .. $#{ $spec->{sessions} };
		clean($n[0], $spec);
		my $refused = prepare($n[0], $spec);
		return { refused => $refused =~ s/.*?ERROR:\s+(\w+: )?([^\n]*).*/$2/sr } if $refused;
		my $local = ask($n[0], "SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c JOIN pg_namespace s ON s.oid = relnamespace JOIN pg_am a ON a.oid = relam WHERE nspname = 'public' AND relkind = 'r' AND amname <> 'paxos'");
		return { refused => "tables of one node: $local" } if $local =~ /\S/;
		equal_nodes();
		my ($hung, $failed, $said) = play($spec, $steps, @sessions);
		$r{run}++;
		$r{overtaken}++ if grep { defined && /40001|57P01/ } @$said;
		my $trouble = '';
		if ($hung) { $r{hung}++; $trouble = 'hung' }
		eval { equal_nodes(); 1 } or $trouble = "digests differ: $@";
		my @states = map { contents($_) } @n;
		$trouble = 'the nodes differ' if grep { $_ ne $states[0] } @states;
		$r{unequal}++ if $trouble =~ /differ/;
		my $known = serial_states($spec, $steps, $failed, \%known);
		if (exists $known->{ $states[0] }) { $r{serial}++ }
		else
		{
			clean($reference, $spec);
			prepare($reference, $spec);
			play($spec, $steps, ($reference) x @sessions);
			my $theirs = contents($reference);
			if ($theirs eq $states[0]) { $r{as_postgres}++ }
			else { $r{neither}++; $trouble .= " no order of the sessions makes this, nor does PostgreSQL:\n$theirs" }
		}
		$report .= "permutation @$steps: $trouble\n" . join('', map { "-- session $_\n" . ($said->[$_] // '') } 0 .. $#$said) . join("\n", @states) . "\n\n" if $trouble;
	}
	spew("$results/isolation/$name.across", $report);
	return \%r;
}

STDOUT->autoflush(1);
my ($wrong, @lines) = (0);
for my $name (@wanted)
{
	my $text = Spec::keyed(slurp("$specs/$name.spec"));
	my $spec = eval { Spec::read($text) } or do { print "$name: $@"; $wrong++; next };
	spew("$results/isolation/$name.spec", $text);
	clean($_, $spec) for $n[0], $reference;
	my ($total, $same, $causes, $ended) = on_one_node($name, "$results/isolation/$name.spec");
	my $across = eval { across($name, $spec) } // { refused => "died: $@" };
	my $line = sprintf "%-32s one node: %4d permutations %4d the same %s%s; across: ", $name, $total, $same, $causes, $ended;
	$line .= $across->{refused} ? "refused: $across->{refused}" : join ', ', map { "$_ $across->{$_}" } grep { $across->{$_} } qw(run overtaken serial as_postgres neither unequal hung);
	print "$line\n";
	$wrong++ if $ended || $across->{unequal} || $across->{hung} || $across->{neither};
	push @lines, sprintf "| %s | %d | %d | %s | %s |\n", $name, $total, $same, $causes,
	  $across->{refused} ? "refused: $across->{refused}" : join ', ', map { s/_/ /r . " $across->{$_}" } grep { $across->{$_} } qw(run overtaken serial as_postgres neither unequal hung);
}
spew("$results/table-isolation", join '', "| spec | on one node: permutations | the same | others | across nodes |\n", "| --- | ---: | ---: | --- | --- |\n", @lines);
$c->stop_all;
exit($wrong ? 1 : 0);
