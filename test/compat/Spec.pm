
=pod

Spec - a test of PostgreSQL's isolationtester: sessions, their steps, and the orders
in which they are run.

read(text): { setup => [sql], teardown => sql, sessions => [{ name, setup, teardown,
steps => [names] }], steps => { name => { sql, session } }, permutations => [[names]] }.
keyed(text): its tables on the access method paxos, with a key where there is none.

=cut

package Spec;

use strict;
use warnings;

use Script;

sub read
{
	my ($text) = @_;
	my %s = (setup => [], teardown => '', sessions => [], steps => {}, permutations => []);
	my $in;
	pos($text) = 0;
	my $block = sub {
		$text =~ /\G\s*(?:#[^\n]*\n\s*)*\{(.*?)\}/gcs or die "a block is missing at " . substr($text, pos($text), 40) . "\n";
		return $1;
	};
	my $name = sub { $text =~ /\G\s*(?:"([^"]+)"|(\w+))/gc or die "a name is missing\n"; return $1 // $2 };
	while (1)
	{
		if ($text =~ /\G\s+/gc || $text =~ /\G#[^\n]*/gc) { next }
		elsif ($text =~ /\Gsetup\b/gc) { my $b = $block->(); if ($in) { $in->{setup} = $b } else { push @{ $s{setup} }, $b } }
		elsif ($text =~ /\Gteardown\b/gc) { my $b = $block->(); if ($in) { $in->{teardown} = $b } else { $s{teardown} = $b } }
		elsif ($text =~ /\Gsession\b/gc) { $in = { name => $name->(), setup => '', teardown => '', steps => [] }; push @{ $s{sessions} }, $in }
		elsif ($text =~ /\Gstep\b/gc)
		{
			my $n = $name->();
			$s{steps}{$n} = { sql => $block->(), session => $#{ $s{sessions} } };
			push @{ $in->{steps} }, $n;
		}
		elsif ($text =~ /\Gpermutation\b/gc)
		{
			my @names;
			while ($text =~ /\G(?:\s|#[^\n]*\n)*(?:"([^"]+)"|(\w+))(?:\s*\([^)]*\))?/gc)
			{
				my $n = $1 // $2;
				if ($n eq 'permutation' && !defined $1) { pos($text) -= length 'permutation'; last }
				push @names, $n;
			}
			push @{ $s{permutations} }, \@names;
		}
		elsif ($text =~ /\G\z/gc) { last }
		else { die "not understood: " . substr($text, pos($text), 40) . "\n" }
	}
	$s{permutations} = [ interleavings(map { $_->{steps} } @{ $s{sessions} }) ] if !@{ $s{permutations} };
	return \%s;
}

sub interleavings
{
	my @lists = grep { @$_ } @_;
	return ([]) if !@lists;
	my @all;
	for my $i (0 .. $#lists)
	{
		my ($first, @rest) = @{ $lists[$i] };
		my @left = @lists;
		$left[$i] = \@rest;
		push @all, map { [ $first, @$_ ] } interleavings(@left);
	}
	return @all;
}

sub keyed
{
	my ($text) = @_;
	$text =~ s/\{(.*?)\}/'{' . key_block($1) . '}'/gse;
	return $text;
}

sub key_block
{
	my ($sql) = @_;
	my %columns;
	return join '', map { Script::key_table($_, \%columns) } split /(?<=;)/, $sql;
}

1;
