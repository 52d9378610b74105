-- 55-integrity.sql
--    What is wrong on this node, and guards against having forgotten something
--    (protocol.md section 10).

CREATE FUNCTION paxos.node_alarms(
    OUT alarm text, OUT since timestamptz, OUT slot bigint, OUT detail text, OUT hint text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'paxos_alarms';
COMMENT ON FUNCTION paxos.node_alarms() IS 'behind the view paxos.alarms';

CREATE VIEW paxos.alarms AS SELECT * FROM paxos.node_alarms();
GRANT SELECT ON paxos.alarms TO PUBLIC;
COMMENT ON VIEW paxos.alarms IS 'what is wrong on this node now; empty when all is well';
COMMENT ON COLUMN paxos.alarms.alarm IS 'fsync off, amnesia, twin, stuck, corrupt value or divergence';
COMMENT ON COLUMN paxos.alarms.since IS 'raised then, or found again since the server started';
COMMENT ON COLUMN paxos.alarms.slot IS 'the slot it is about';
COMMENT ON COLUMN paxos.alarms.detail IS 'what was found';
COMMENT ON COLUMN paxos.alarms.hint IS 'what to do';

CREATE TABLE paxos.member_memory (
    node_id     int PRIMARY KEY,
    incarnation bigint NOT NULL,
    instance    bigint NOT NULL,
    promised    bigint NOT NULL,
    accepted    bigint NOT NULL,
    version     int NOT NULL
);
REVOKE ALL ON paxos.member_memory FROM PUBLIC;
COMMENT ON TABLE paxos.member_memory IS 'what this node remembers of others: a member that shows less has forgotten something';
COMMENT ON COLUMN paxos.member_memory.node_id IS 'the other node';
COMMENT ON COLUMN paxos.member_memory.incarnation IS 'highest it has been heard in';
COMMENT ON COLUMN paxos.member_memory.instance IS 'a random number of the start of the server that was heard in it; 0: not known';
COMMENT ON COLUMN paxos.member_memory.promised IS 'highest ballot it is known to have promised';
COMMENT ON COLUMN paxos.member_memory.accepted IS 'highest slot it is known to have accepted, some seconds ago';
COMMENT ON COLUMN paxos.member_memory.version IS 'highest protocol version it was last heard to speak; 0: not known';

CREATE FUNCTION paxos.greet(
    cluster uuid, version int, sender int, incarnation bigint, instance bigint,
    remembered_incarnation bigint, remembered_promised bigint, remembered_accepted bigint,
    receiver int, speaks int,
    OUT welcome int, OUT known_incarnation bigint, OUT known_promised bigint,
    OUT known_accepted bigint, OUT receiver_speaks int)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_greet';
REVOKE ALL ON FUNCTION paxos.greet FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.greet TO paxos_peer;
COMMENT ON FUNCTION paxos.greet IS 'begins a connection: who the sender is and what it remembers of this node; the answer says what this node remembers of it';

CREATE FUNCTION paxos.introduce(cluster uuid, version int, sender int, conninfo text)
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_introduce';
REVOKE ALL ON FUNCTION paxos.introduce FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.introduce TO paxos_peer;
COMMENT ON FUNCTION paxos.introduce IS 'where the sender is to be found, if this node has to ask somebody and knows nobody else';

CREATE FUNCTION paxos.is_instance(instance bigint) RETURNS boolean
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_sql_is_instance';
REVOKE ALL ON FUNCTION paxos.is_instance FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.is_instance TO paxos_peer;
COMMENT ON FUNCTION paxos.is_instance IS 'is this the very server that asks?';

CREATE FUNCTION @extschema@.paxos_trust_node(has_forgotten_nothing boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_trust_node';
REVOKE ALL ON FUNCTION @extschema@.paxos_trust_node FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_trust_node IS 'overrules the alarm "amnesia" on this node: its files are certainly those it last ran with';

CREATE FUNCTION paxos.compare_digests(
    cluster uuid, version int, sender int, first_slot bigint, digests bigint[],
    OUT compared int, OUT agreed bigint, OUT differs bigint)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_compare_digests';
REVOKE ALL ON FUNCTION paxos.compare_digests FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.compare_digests TO paxos_peer;
COMMENT ON FUNCTION paxos.compare_digests IS 'running digests of the sender''s recent slots beside this node''s: how many could be compared, the last slot that agreed, the first that differs';

CREATE TABLE paxos.verification (
    slot      bigint NOT NULL,
    table_id  bigint NOT NULL,
    row_count bigint,
    digest    text,
    error     text,
    PRIMARY KEY (slot, table_id)
);
REVOKE ALL ON paxos.verification FROM PUBLIC;
COMMENT ON TABLE paxos.verification IS 'what came of the last calls of paxos_verify() on this node';
COMMENT ON COLUMN paxos.verification.slot IS 'where it was carried out';
COMMENT ON COLUMN paxos.verification.table_id IS 'as in paxos.tables';
COMMENT ON COLUMN paxos.verification.row_count IS 'rows of the table at that slot';
COMMENT ON COLUMN paxos.verification.digest IS 'of all of them, in whatever order';
COMMENT ON COLUMN paxos.verification.error IS 'why it could not be read';

CREATE FUNCTION paxos.verified(
    cluster uuid, version int, sender int, slot bigint, table_id bigint,
    OUT row_count bigint, OUT digest text, OUT error text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_verified';
REVOKE ALL ON FUNCTION paxos.verified FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.verified TO paxos_peer;
COMMENT ON FUNCTION paxos.verified IS 'what came of a verification on this node; no row before it has applied the slot';

CREATE FUNCTION @extschema@.paxos_verify(
    tbl regclass, OUT node_id int, OUT name text, OUT slot bigint, OUT row_count bigint,
    OUT digest text, OUT agrees boolean, OUT note text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_verify';
REVOKE ALL ON FUNCTION @extschema@.paxos_verify FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_verify IS 'compares the contents of a consensus-backed table on all nodes at one slot; every node reads the whole table and applies nothing else meanwhile';

CREATE FUNCTION @extschema@.paxos_resync() RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_resync';
REVOKE ALL ON FUNCTION @extschema@.paxos_resync FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_resync IS 'replaces all consensus-backed tables of this node by those of another member; returns at once, paxos.snapshot_progress shows the rest';
