# Clients that use transactions, on every node, in short: what they were told has the
# isolation they asked for (test/history/cycle.h), while a server is killed and comes back.
# The long form is `make torture`.
use strict;
use warnings;
use File::Basename;
use PaxosCluster;
use Test::More;

my $torture = dirname(__FILE__) . '/../torture';
my $history = dirname(__FILE__) . '/../history';
for ($torture, $history) { system('make', '-s', '-C', $_) == 0 or die "make -C $_ failed"; }

my $c = PaxosCluster->new(nodes => 3);
my ($leader) = $c->await_followers;
my ($killed) = grep { $_ != $leader } $c->nodes;
my $dir = $c->{dir};
my @conninfos = map { ('--conninfo', $_->conninfo) } $c->nodes;

is(system("$torture/build/transactions", '--setup', @conninfos), 0, 'tables are made');
$c->await_equal;
my $pid = fork() // die "fork: $!";
if ($pid == 0)
{
	open STDOUT, '>', "$dir/transactions.out";
	exec "$torture/build/transactions", '--history', "$dir/transactions", '--seed', 5, '--clients', 3, '--large', 10, @conninfos or POSIX::_exit(127);
}
sub committed { my ($like) = @_; return scalar grep { /^t \d+ \d+ \S+$like \S+ ok / } split /\n/, PaxosCluster::Node::slurp("$dir/transactions"); }
PaxosCluster::poll('transactions succeed', sub { -e "$dir/transactions" && committed(qr{/\d+}) > 400 });
# Until somebody has been in the middle of a COMMIT.
do
{
	$killed->kill9;
	my $done = committed(qr{/\d+});
	PaxosCluster::poll('others go on', sub { committed(qr{/\d+}) > $done + 150 });
	$killed->start;
	my $mine = qr{/$killed->{number}\d\d\d};
	my $before = committed($mine);
	PaxosCluster::poll('and its clients again', sub { committed($mine) > $before + 30 });
} until PaxosCluster::Node::slurp("$dir/transactions") =~ /^t \d+ \d+ \S+ \S+ unknown /m;
kill 'TERM', $pid;
waitpid $pid, 0;
my $out = PaxosCluster::Node::slurp("$dir/transactions.out");
is($?, 0, 'every kind of transaction succeeded') or diag($out);
like($out, qr/^TRANSACTIONS name=x seed=5 .* ok=\d+ .*$/m, 'figures');
note($out);

# Everything that is there, read at the end on every node.
$c->await_equal;
my %keys = map { $_ => 1 } PaxosCluster::Node::slurp("$dir/transactions") =~ / [+-]?(\w+\.\d+)[:=]/g;
open my $f, '>', "$dir/final" or die $!;
for my $n ($c->nodes)
{
	my $begin = int(PaxosCluster::now() * 1e6);
	$n->sql('SELECT paxos_barrier()');
	my %now = map { split /\|/, $_, 2 } split /\n/, $n->sql("SELECT k, array_to_string(l, ',') FROM torture_list");
	print $f "t $begin ", int(PaxosCluster::now() * 1e6), " final.$n->{number} ser ok final ", join(' ', map { "$_:" . ($now{$_} // '') } sort keys %keys), "\n";
	is($n->sql('SELECT sum(balance), min(balance) >= 0, count(*) FROM torture_bank'), '800|t|8', "node $n->{number}: no money is lost or made");
	like($n->sql("SELECT min(n), max(n), count(*), coalesce((SELECT array_length(l, 1) FROM torture_list WHERE k = 'p0.0'), 0) FROM torture_pile"), qr/^(\d+)\|\1\|5500\|\1$/, 'large ones took effect as wholes');
}
close $f;
my $said = qx{'$history/build/cycle' '$dir/transactions' '$dir/final' 2>&1};
is($?, 0, 'transactions had the isolation they asked for') or diag($said);
diag("report: $1") if $said =~ /^CYCLE (.*)/;
my $killed_mid = $said =~ /unknown=(\d+)/ ? $1 : 0;
cmp_ok($killed_mid, '>', 0, 'of some the outcome is unknown');

# The same with one acknowledged element taken out of the final lists.
my $final = PaxosCluster::Node::slurp("$dir/final");
$final =~ s/^(t .*?k\d+\.\d:)(\d+,)/$1/mg;
open $f, '>', "$dir/final.wrong" or die $!;
print $f $final;
close $f;
$said = qx{'$history/build/cycle' '$dir/transactions' '$dir/final.wrong' 2>&1};
isnt($?, 0, 'what is not so is found');
done_testing;
