
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

# What is set up and torn down, each statement by itself: several in one message are one
# transaction, and definitions of consensus tables are not for that.  As there is one
# teardown only, what it drops is dropped in front of the next setup instead.
sub keyed
{
	my ($text) = @_;
	my $at = $text =~ /^[ \t]*session\b/m ? $-[0] : length $text;
	my ($global, $rest) = (substr($text, 0, $at), substr($text, $at));
	my ($drops, $blocks) = ('', '');
	my $local = Script::trees($text);
	$global =~ s/#[^\n]*//g;
	while ($global =~ /\b(setup|teardown)\s*\{(.*?)\}/gs)
	{
		my ($what, $sql) = ($1, $2);
		$sql .= ';' if $sql !~ /;\s*\z/;
		for my $st (@{ Script::parse($sql =~ s/;[ \t]*(?=\S)/;\n/gr) })
		{
			next if $st->{text} !~ /\w/;
			if ($what eq 'setup') { $blocks .= 'setup {' . key_table($st->{text}, $local) . "\n}\n" }
			else { $drops .= 'setup {' . ($st->{text} =~ s/\bDROP\s+(TABLE|FUNCTION|VIEW|TYPE|SCHEMA|DOMAIN|SEQUENCE|INDEX)\s+(?!IF\b)/DROP $1 IF EXISTS /ir) . "\n}\n" }
		}
	}
	return $drops . $blocks . $rest;
}

sub key_table
{
	my ($sql, $local) = @_;
	return $sql if $sql =~ /\bCREATE\s+TABLE\s+(\w+)/i && $local->{ lc $1 };
	return Script::key_table($sql, {});
}

1;
