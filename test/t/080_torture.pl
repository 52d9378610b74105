# Runs as root where it may (scripts/test): a torture run in namespaces, with
# real cuts of networks, disks and power; otherwise only the one on loopback.
# Short forms of `make torture`: every kind of fault that is possible here happens.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../torture';
use Nemesis;
use Test::More;

my $here = dirname(__FILE__);
my $work = $ENV{PAXOS_WORK};
my $bin = dirname($ENV{PAXOS_LOAD});
my $user = $ENV{PAXOS_USER} // getpwuid $>;

my @all;
sub torture
{
	my ($name, @args) = @_;
	my $dir = "$work/torture-$name";
	mkdir $dir or die "$dir: $!";
	local $ENV{PAXOS_WORK} = $dir;
	open my $out, '-|', $^X, "$here/../torture/torture.pl", '--bin', $bin, '--user', $user, '--brisk', @args or die "fork: $!";
	my @lines = <$out>;
	close $out;
	my $status = $?;
	is($status, 0, "$name: nothing is wrong") or diag(map { chomp(my $l = $_); $l =~ /^WRONG/ ? "$l\n" : () } @lines);
	my ($figures) = grep { /^TORTURE / } @lines;
	diag(@lines) if $status != 0 || !$figures;
	my %f = map { /^([^=]+)=(.*)/ ? ($1, $2) : () } split ' ', $figures // '';
	diag("report: $name: $figures");
	cmp_ok($f{acknowledged} // 0, '>', 500, "$name: operations were acknowledged all the while");
	# All in the catalogue, but for those that are said to be impossible here.
	my %left_out = map { /^  left out: (\w+) / ? ($1 => 1) : () } @lines;
	my @never = grep { !$left_out{$_} && !$f{"fault_$_"} } sort keys %Nemesis::KINDS;
	is("@never", '', "$name: every kind of fault took effect");
	is(join(', ', map { "$_ $f{$_}" } grep { /^without_effect_/ } sort keys %f), '', "$name: and each time that it was to happen");
	note('left out: ', join ' ', sort keys %left_out);
	push @all, $figures // '';
	return \%f;
}

SKIP:
{
	skip 'only root may make namespaces', 4 if $> != 0;
	torture('namespaces', '--time', 100, '--seed', 1);
}
torture('loopback', '--loopback', '--time', 60, '--seed', 2);

# The tables that docs/testing.md has of longer runs.
open my $f, '>', "$work/figures" or die $!;
print $f @all;
close $f;
my $tables = qx{'$^X' '$here/../torture/summary' '$work/figures'};
my %told = map { /^\| `(\w+)` \| (\d+) \| / ? ($1 => $2) : () } split /\n/, $tables;
my %happened;
for (@all) { $happened{$1} += $2 while / fault_(\w+)=(\d+)/g; }
is_deeply(\%told, \%happened, 'the table has every kind of fault');
like($tables, qr/^\| all \|.* ${\ scalar @all} of ${\ scalar @all} ok /m, 'and all runs') or diag($tables);
done_testing;
