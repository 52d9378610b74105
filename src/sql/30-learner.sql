-- 30-learner.sql
--    What the learner keeps beside the consensus tables themselves: everything
--    here is replicated state, changed only by applying the log, in the same
--    transaction as the tables it speaks of (protocol.md section 6).

-- One row.  It has no index, so that every update of it can stay on its page.  A
-- vacuum that gave back pages at its end would lock the learner out meanwhile,
-- for as long as a flush takes, and win nothing.
CREATE TABLE paxos.replicated (
    applied       bigint NOT NULL,
    digest        bigint NOT NULL,
    log_time_us   bigint NOT NULL,
    origins       bigint[] NOT NULL,
    requests      bigint NOT NULL,
    request_bytes bigint NOT NULL,
    configuration bigint NOT NULL,
    window_from   bigint NOT NULL,
    window_used   bigint NOT NULL
) WITH (vacuum_truncate = off);
REVOKE ALL ON paxos.replicated FROM PUBLIC;
COMMENT ON TABLE paxos.replicated IS 'how far this node has applied the log, and what follows from that; one row, written by the learner and, in its turn, by a session that commits a write set';
COMMENT ON COLUMN paxos.replicated.applied IS 'every slot up to this one has changed the tables of this node';
COMMENT ON COLUMN paxos.replicated.digest IS 'running digest of effects and results; equal on all nodes at equal applied';
COMMENT ON COLUMN paxos.replicated.log_time_us IS 'highest time stamp of a value applied, microseconds since 1970 by the clock of the leader that proposed it';
COMMENT ON COLUMN paxos.replicated.origins IS 'per origin three numbers: node, incarnation, sequence of the last origin batch executed';
COMMENT ON COLUMN paxos.replicated.requests IS 'number of rows in paxos.request';
COMMENT ON COLUMN paxos.replicated.request_bytes IS 'bytes of row images remembered in paxos.request';
COMMENT ON COLUMN paxos.replicated.configuration IS 'slot of the newest configuration applied; origins are its members';
COMMENT ON COLUMN paxos.replicated.window_from IS 'paxos.window has the keys changed behind this slot; 0: write sets have not been about for long';
COMMENT ON COLUMN paxos.replicated.window_used IS 'slot of the last write set';
INSERT INTO paxos.replicated VALUES (0, 0, 0, '{}', 0, 0, 0, 0, 0);

-- Found again by its slots when rows too old are deleted.
CREATE TABLE paxos.window (
    slot bigint PRIMARY KEY,
    keys bytea NOT NULL
);
REVOKE ALL ON paxos.window FROM PUBLIC;
COMMENT ON TABLE paxos.window IS 'keys of rows changed in the last slots, by which write sets are judged';
COMMENT ON COLUMN paxos.window.slot IS 'the last of the slots the row speaks of';
COMMENT ON COLUMN paxos.window.keys IS 'slot and key, eight bytes each, again and again';

-- Written once and read once or twice, in order; compressing would cost more than it saves.
CREATE TABLE paxos.set_part (
    origin      int NOT NULL,
    incarnation bigint NOT NULL,
    "set"       bigint NOT NULL,
    number      int NOT NULL,
    log_time_us bigint NOT NULL,
    keys        int NOT NULL,
    command     bytea NOT NULL,
    PRIMARY KEY (origin, incarnation, "set", number)
) WITH (vacuum_truncate = off, toast.vacuum_truncate = off);
ALTER TABLE paxos.set_part ALTER COLUMN command SET STORAGE EXTERNAL;
REVOKE ALL ON paxos.set_part FROM PUBLIC;
COMMENT ON TABLE paxos.set_part IS 'parts of large write sets that are not decided yet, or have been lately';
COMMENT ON COLUMN paxos.set_part.origin IS 'node whose transaction it is';
COMMENT ON COLUMN paxos.set_part.incarnation IS 'that node''s incarnation';
COMMENT ON COLUMN paxos.set_part."set" IS 'number of the set, by chance';
COMMENT ON COLUMN paxos.set_part.number IS 'from 1; without part 1 the set is over';
COMMENT ON COLUMN paxos.set_part.log_time_us IS 'log time of the part; ten minutes behind the last one the set is over';
COMMENT ON COLUMN paxos.set_part.keys IS 'how many keys are in it';
COMMENT ON COLUMN paxos.set_part.command IS 'the command that brought it';

CREATE TABLE paxos.tables (
    table_id bigint PRIMARY KEY,
    relid    regclass NOT NULL CONSTRAINT tables_relid_key UNIQUE,
    altered  bigint NOT NULL DEFAULT 0
);
REVOKE ALL ON paxos.tables FROM PUBLIC;
GRANT SELECT ON paxos.tables TO PUBLIC;
COMMENT ON TABLE paxos.tables IS 'consensus tables: the number a table has on every node, and the local relation';
COMMENT ON COLUMN paxos.tables.table_id IS 'slot in which the table was created * 65536 + position in the slot; 1 is paxos.kv';
COMMENT ON COLUMN paxos.tables.relid IS 'the relation of this node';
COMMENT ON COLUMN paxos.tables.altered IS 'the last statement that changed its definition, numbered in the same way; 0: none';

-- This one is no replicated state, but this node's own (paxos_method.c).
CREATE TABLE paxos.becoming (
    relid regclass NOT NULL,
    "set" bigint NOT NULL,
    made  boolean NOT NULL
) WITH (vacuum_truncate = off);
REVOKE ALL ON paxos.becoming FROM PUBLIC;
COMMENT ON TABLE paxos.becoming IS 'tables of this node that are on their way to become consensus-backed';
COMMENT ON COLUMN paxos.becoming.relid IS 'the table';
COMMENT ON COLUMN paxos.becoming."set" IS 'number of the parts in paxos.set_part that carry its rows';
COMMENT ON COLUMN paxos.becoming.made IS 'made by the same statement (CREATE TABLE AS), and gone with it';

CREATE TABLE paxos.request (
    request_id  uuid PRIMARY KEY,
    slot        bigint NOT NULL,
    position    int NOT NULL,
    log_time_us bigint NOT NULL,
    expires_us  bigint NOT NULL,
    bytes       bigint NOT NULL,
    result      bytea NOT NULL,
    CONSTRAINT request_order UNIQUE (slot, position)
);
REVOKE ALL ON paxos.request FROM PUBLIC;
COMMENT ON TABLE paxos.request IS 'results remembered for commands that carried a request id';
COMMENT ON COLUMN paxos.request.request_id IS 'chosen by the caller';
COMMENT ON COLUMN paxos.request.slot IS 'slot in which the command was decided';
COMMENT ON COLUMN paxos.request.position IS 'position of the command in the slot';
COMMENT ON COLUMN paxos.request.log_time_us IS 'log time when it was decided';
COMMENT ON COLUMN paxos.request.expires_us IS 'forgotten when log time has passed this';
COMMENT ON COLUMN paxos.request.bytes IS 'bytes of row images in the result, as counted for the bound';
COMMENT ON COLUMN paxos.request.result IS 'the encoded result';

