# The five minutes of SQL in README.md, typed into three nodes: every statement says
# there what it says here.
use strict;
use warnings;
use FindBin;
use PaxosCluster;
use Test::More;

open my $f, '<', "$FindBin::RealBin/../../README.md" or die "README.md: $!";
my (@steps, $in);
while (<$f>)
{
	if (/^```sql/) { $in = 1; next }
	if (/^```/) { $in = 0; next }
	next unless $in;
	if (/^node(\d)=# (.*)$/) { push @steps, { node => $1, sql => $2, says => '' } }
	else { $steps[-1]{says} .= $_ }
}
close $f;
cmp_ok(scalar(@steps), '>', 15, 'README.md has a tour of ' . @steps . ' statements');

# Spaces at the ends of lines and the width of columns are layout.
sub plain
{
	my ($s) = @_;
	$s =~ s/^(LOCATION|HINT|DETAIL):.*$//mg;
	$s =~ s/-+/-/g;
	$s =~ s/[ \t]+/ /g;
	$s =~ s/^ | $//mg;
	$s =~ s/\n+/\n/g;
	$s =~ s/^\n|\n\z//g;
	return $s;
}

my $c = PaxosCluster->new(nodes => 3);
$c->await_followers;
for my $s (@steps)
{
	my $node = $c->node($s->{node});
	# As a person would: the statement before has arrived here too.
	$c->await_equal;
	my $r = $node->try("\\pset format aligned\n\\pset tuples_only off\n\\pset footer off\n\\set VERBOSITY default\n$s->{sql}");
	my $got = $r->{out} . $r->{err};
	$got =~ s/^(Output format is|Tuples only is|Default footer is).*\n?//mg;
	$got =~ s/^psql:[^ ]* //mg;
	is(plain($got), plain($s->{says}), "node$s->{node}=# $s->{sql}");
}
done_testing;
