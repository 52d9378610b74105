-- 20-peer.sql
--    What nodes call on each other (protocol.md sections 3 to 5).  Every one first
--    refuses strangers: another cluster, protocol version, or a sender that is
--    no member.  Procedures commit inside, so that neither their transaction nor
--    the acceptor's lock is open while an answer waits for the network.

CREATE PROCEDURE paxos.prepare(
    cluster uuid, version int, sender int, ballot bigint, stream bigint, w bigint, handover bigint,
    INOUT refusal int, INOUT promised bigint, INOUT chosen bigint, INOUT truncated bigint,
    INOUT last_slot bigint, INOUT slots bigint[], INOUT ballots bigint[], INOUT chosens boolean[],
    INOUT vals bytea[], INOUT config bigint)
LANGUAGE C AS 'MODULE_PATHNAME', 'paxos_sql_prepare';
REVOKE ALL ON PROCEDURE paxos.prepare FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE paxos.prepare TO paxos_peer;
COMMENT ON PROCEDURE paxos.prepare IS 'phase 1: asks this node''s acceptor to promise a ballot and opens a stream';

CREATE PROCEDURE paxos.accept(
    cluster uuid, version int, sender int, ballot bigint, stream bigint, first_slot bigint,
    vals bytea[], chosen bigint, sent_at bigint, lease_us bigint, lease_readable boolean,
    truncatable bigint, read_incarnation bigint, read_seq bigint, read_index bigint,
    INOUT refusal int, INOUT promised bigint, INOUT stream_first bigint, INOUT next_slot bigint,
    INOUT applied bigint, INOUT durable bigint, INOUT truncated bigint, INOUT config bigint)
LANGUAGE C AS 'MODULE_PATHNAME', 'paxos_sql_accept';
REVOKE ALL ON PROCEDURE paxos.accept FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE paxos.accept TO paxos_peer;
COMMENT ON PROCEDURE paxos.accept IS 'phase 2: values for the slots that come next in the open stream; without values a heartbeat';

CREATE FUNCTION paxos.pre_vote(
    cluster uuid, version int, sender int, chosen bigint,
    OUT refusal int, OUT promised bigint, OUT voter_chosen bigint, OUT truncated bigint,
    OUT config bigint)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_pre_vote';
REVOKE ALL ON FUNCTION paxos.pre_vote FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.pre_vote TO paxos_peer;
COMMENT ON FUNCTION paxos.pre_vote IS 'would this node''s acceptor let the sender stand for election now?';

CREATE FUNCTION paxos.hand_over(cluster uuid, version int, sender int, ballot bigint)
RETURNS boolean
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_hand_over';
REVOKE ALL ON FUNCTION paxos.hand_over FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.hand_over TO paxos_peer;
COMMENT ON FUNCTION paxos.hand_over IS 'the leader, which has stopped proposing, asks this node to take over';

CREATE FUNCTION paxos.forward(
    cluster uuid, version int, sender int, incarnation bigint, resend boolean,
    batches bytea[], read_seq bigint)
RETURNS boolean
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_forward';
REVOKE ALL ON FUNCTION paxos.forward FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.forward TO paxos_peer;
COMMENT ON FUNCTION paxos.forward IS 'origin batches and requests for a read index, for the leader; false: this node does not lead';

CREATE FUNCTION paxos.fetch(
    cluster uuid, version int, sender int, from_slot bigint, to_slot bigint, max_bytes int,
    OUT slot bigint, OUT ballot bigint, OUT value bytea)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_fetch';
REVOKE ALL ON FUNCTION paxos.fetch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.fetch TO paxos_peer;
COMMENT ON FUNCTION paxos.fetch IS 'entries this node knows chosen, in order; no rows if it does not know the first of them';

CREATE FUNCTION paxos.caught_up(cluster uuid, version int, sender int, applied bigint, patience_ms int)
RETURNS boolean
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_caught_up';
REVOKE ALL ON FUNCTION paxos.caught_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.caught_up TO paxos_peer;
COMMENT ON FUNCTION paxos.caught_up IS 'waits so long until this node has applied that slot: true; false: it has not';

CREATE FUNCTION paxos.check_statement(
    cluster uuid, version int, sender int, schema text, owner text, table_id bigint, names text[])
RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_check_statement';
REVOKE ALL ON FUNCTION paxos.check_statement FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.check_statement TO paxos_peer;
COMMENT ON FUNCTION paxos.check_statement IS 'what this node lacks to carry out a CREATE TABLE, or a CREATE INDEX on table table_id; null: nothing';

CREATE FUNCTION paxos.check_extensions(cluster uuid, version int, sender int, extensions text[])
RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_check_extensions';
REVOKE ALL ON FUNCTION paxos.check_extensions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.check_extensions TO paxos_peer;
COMMENT ON FUNCTION paxos.check_extensions IS 'which of these extensions (name, version and schema of each, in turn) this node lacks or has otherwise; null: none';

CREATE FUNCTION paxos.check_function(cluster uuid, version int, sender int, function text, schema text, owner text)
RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_check_function';
REVOKE ALL ON FUNCTION paxos.check_function FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.check_function TO paxos_peer;
COMMENT ON FUNCTION paxos.check_function IS 'what this node lacks to have a function, given by its signature, or to make it in a schema for an owner; null: nothing';

CREATE FUNCTION paxos.check_roles(cluster uuid, version int, sender int, roles text[])
RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_check_roles';
REVOKE ALL ON FUNCTION paxos.check_roles FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.check_roles TO paxos_peer;
COMMENT ON FUNCTION paxos.check_roles IS 'which of these roles this node lacks; null: none';
