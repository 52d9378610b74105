# Runs as root where it may (scripts/test): a torture run in namespaces, with
# real cuts of networks, disks and power; otherwise only the one on loopback.
# Short forms of `make torture`: nearly every kind of fault that is possible here happens.
use strict;
use warnings;
use File::Basename;
use Test::More;

my $here = dirname(__FILE__);
my $work = $ENV{PAXOS_WORK};
my $bin = dirname($ENV{PAXOS_LOAD});
my $user = $ENV{PAXOS_USER} // getpwuid $>;

sub torture
{
	my ($name, $kinds, @args) = @_;
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
	my @never = grep { !$f{"fault_$_"} } @$kinds;
	# One that comes when its victim is down has no effect, and the servers' pace is their own.
	cmp_ok(scalar @never, '<=', 2, "$name: every kind of fault happened") or diag("not: @never");
	note("not: @never");
	return \%f;
}

my @everywhere = qw(kill_server kill_leader kill_worker kill_acceptor end_role restart_fast restart_immediate stop_server stop_process
  partition isolate_leader one_way_out one_way_in bridge ring flapping latency slow_disk);
my @root = qw(loss slow_link disk_full power_cut);

SKIP:
{
	skip 'only root may make namespaces', 3 if $> != 0;
	torture('namespaces', [ @everywhere, @root ], '--time', 100, '--seed', 1);
}
torture('loopback', \@everywhere, '--loopback', '--time', 60, '--seed', 2);
done_testing;
