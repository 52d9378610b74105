# Numbers of nodes when many have come and gone: never used twice, beyond the step of
# sequences (32) too, and no two members draw the same value from a sequence.
# At most 31 members stand against 32 remainders, so one is always left
# (asserted where it is compiled, src/paxos_member.c).
use strict;
use warnings;
use PaxosCluster;
use Test::More;

my $c = PaxosCluster->new(nodes => 3);
my ($n1, $n2, $n3) = $c->nodes;
my $n4 = $c->add_server;
$n4->start;
$n4->create_extension;
$n1->sql("CREATE TABLE t (id bigserial PRIMARY KEY, who int) USING paxos");

sub id_of { return $_[0]->sql("SELECT node_id FROM paxos.status"); }

# Everyone draws: every value is new.
sub draw
{
	my ($name, @nodes) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @r = map { $_->sql_after_barrier("SELECT r.applied FROM generate_series(1, 5) g, LATERAL paxos_insert_if_not_exists('t', jsonb_build_object('who', $_->{number} + 0 * g)) r") } (@nodes, @nodes);
	is(join(' ', grep { $_ ne 't' } map { split /\n/ } @r), '', "$name: every value drawn is new");
	is(join(' ', map { my $id = id_of($_) % 32; $_->sql("SELECT DISTINCT id % 32 = $id FROM (SELECT id FROM t WHERE who = $_->{number} ORDER BY id DESC LIMIT 5) x") } @nodes),
		join(' ', ('t') x @nodes), "$name: each with its own remainder");
}

# CRC-32C, bit by bit.
sub crc32c
{
	my ($bytes) = @_;
	my $crc = 0xffffffff;
	for my $b (unpack 'C*', $bytes)
	{
		$crc ^= $b;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 for 1 .. 8;
	}
	return $crc ^ 0xffffffff;
}

# As if so many numbers had been given: a member of that number without a vote, which
# is nowhere, comes (src/core/px_value.h says how a configuration is written) and goes.
sub give_numbers_up_to
{
	my ($highest) = @_;
	my $leader = $c->await_leader;
	my ($slot, $hex) = split /\|/, $leader->sql("SELECT slot, encode(value, 'hex') FROM paxos.configuration ORDER BY slot DESC LIMIT 1");
	my $value = pack 'H*', $hex;
	substr($value, -2) = pack('V v C v/a* v/a*', 2 + 1 + 2 + 7 + 2 + 7, $highest, 0, 'nowhere', 'port=99') . pack('v', $highest);
	substr($value, 2, 2) = pack 'v', 1 + unpack('v', substr($value, 2, 2));
	substr($value, 4, 4) = pack 'V', crc32c(substr($value, 0, 4) . substr($value, 8));
	$hex = unpack 'H*', $value;
	is($leader->sql("SELECT result FROM paxos.configure((SELECT cluster_id FROM paxos.status), 1, " . id_of($leader) . ", $slot, '\\x$hex', false, 20000)"),
		0, "number $highest is given");
	$leader->sql("SELECT paxos_remove_member('$highest')");
}

sub await_voter { my ($n, $id) = @_; $n->poll_sql("SELECT voter FROM paxos.members WHERE node_id = $id AND self"); }
sub await_removed { my ($n) = @_; $n->poll_sql("SELECT state = 'removed' FROM paxos.status"); }

draw('three', $n1, $n2, $n3);
give_numbers_up_to(31);
is($n2->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "')"), 32, 'the number after 31');
await_voter($n4, 32);
draw('with number 32', $c->nodes);

# 33, 34 and 35 leave the remainders of 1, 2 and 3, which are members.
$n2->sql("SELECT paxos_remove_member('32')");
await_removed($n4);
$n4->sql("CALL paxos_rejoin('" . $n4->member_conninfo . "')");
is(id_of($n4), 36, 'numbers whose remainder a member has are left out');
await_voter($n4, 36);
draw('with number 36', $c->nodes);

# 65 leaves the remainder of 1, which is gone; its rows are there.
$n2->sql("SELECT paxos_remove_member('1')");
$n2->sql("SELECT paxos_remove_member('36')");
await_removed($_) for $n1, $n4;
give_numbers_up_to(64);
$n4->sql("SELECT paxos_leave_cluster()");
is($n2->sql("SELECT paxos_add_member('" . $n4->member_conninfo . "')"), 65, 'a number with the remainder of a former member');
await_voter($n4, 65);
draw('with number 65', $n2, $n3, $n4);
$c->same_everywhere("SELECT count(*), count(DISTINCT id) FROM t", 'all rows everywhere', $n2, $n3, $n4);

give_numbers_up_to(65535);
$n1->sql("SELECT paxos_leave_cluster()");
$n2->fails("SELECT paxos_add_member('" . $n1->member_conninfo . "')", '54000', qr/all node ids of this cluster have been used/, 'when all numbers have been used it says so');
is($n4->sql("SELECT applied FROM paxos_kv_put('k', '1')"), 't', 'and the cluster goes on');
done_testing;
