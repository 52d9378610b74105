-- 10-schema.sql
--    The schema paxos, the role of peers, and the acceptor's durable state: who
--    this node is, what it promised, what it accepted (protocol.md section 2).

CREATE SCHEMA paxos;
COMMENT ON SCHEMA paxos IS 'internals of paxos_ext: state, functions for peers, and views for operators';
GRANT USAGE ON SCHEMA paxos TO PUBLIC;

-- Nodes connect to each other as a member of this role (or as a superuser).  What
-- peers say is executed on every node, DDL with the name of its owner included:
-- give membership as you would give superuser.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'paxos_peer') THEN
        CREATE ROLE paxos_peer NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;   -- created at this moment from another database
END
$$;

-- One row once a cluster has been recorded.  Like the other tables of one row
-- it has no index, so that every update can stay on its page.
CREATE TABLE paxos.node (
    cluster_id        uuid NOT NULL,
    node_id           int NOT NULL CHECK (node_id BETWEEN 1 AND 65535),
    state             text NOT NULL CHECK (state IN ('forming', 'member', 'removed')),
    incarnation       bigint NOT NULL,
    system_identifier bigint NOT NULL,
    timeline          int NOT NULL,
    sentinel          text NOT NULL,
    backup_label      text NOT NULL,
    doubt             text NOT NULL,
    overruled_promised bigint NOT NULL,
    overruled_accepted bigint NOT NULL
);
REVOKE ALL ON paxos.node FROM PUBLIC;
COMMENT ON TABLE paxos.node IS 'who this node is; one row once a cluster has been recorded';
COMMENT ON COLUMN paxos.node.cluster_id IS 'carried by every message; a stranger''s is refused';
COMMENT ON COLUMN paxos.node.node_id IS 'of this node; never reused in the cluster';
COMMENT ON COLUMN paxos.node.state IS 'forming: the configuration is recorded, the node does not vote; member: it has begun; removed: it was taken out of the cluster';
COMMENT ON COLUMN paxos.node.incarnation IS 'raised at every start of the proposer process';
COMMENT ON COLUMN paxos.node.system_identifier IS 'of the server that became this node; a difference means the data were copied to another';
COMMENT ON COLUMN paxos.node.timeline IS 'of that server; a difference means it was restored or promoted';
COMMENT ON COLUMN paxos.node.sentinel IS 'inode and change time of the file paxos_ext.node; a difference means the data directory is a copy';
COMMENT ON COLUMN paxos.node.backup_label IS 'the same of backup_label.old, if there is one';
COMMENT ON COLUMN paxos.node.doubt IS 'found to have forgotten something: it does not vote any more';
COMMENT ON COLUMN paxos.node.overruled_promised IS 'members may remember promises up to this ballot that this node does not: paxos_trust_node() was called';
COMMENT ON COLUMN paxos.node.overruled_accepted IS 'the same of accepted slots';

-- One row, always.  A vacuum must not lock acceptors out to make it a page shorter.
CREATE TABLE paxos.acceptor (
    promised         bigint NOT NULL,
    truncated        bigint NOT NULL,
    longest_lease_us bigint NOT NULL
) WITH (vacuum_truncate = off);
REVOKE ALL ON paxos.acceptor FROM PUBLIC;
INSERT INTO paxos.acceptor VALUES (0, 0, 0);
COMMENT ON TABLE paxos.acceptor IS 'what this node''s acceptor must not forget; one row';
COMMENT ON COLUMN paxos.acceptor.promised IS 'highest ballot promised: round * 65536 + node';
COMMENT ON COLUMN paxos.acceptor.truncated IS 'every slot up to it has left the log';
COMMENT ON COLUMN paxos.acceptor.longest_lease_us IS 'longest lease for reads ever granted, in microseconds';

CREATE TABLE paxos.configuration (
    slot     bigint PRIMARY KEY,
    ballot   bigint NOT NULL,
    value    bytea NOT NULL,
    recorded boolean NOT NULL
);
REVOKE ALL ON paxos.configuration FROM PUBLIC;
COMMENT ON TABLE paxos.configuration IS 'configurations this node has accepted; the last one recorded is the one it goes by';
COMMENT ON COLUMN paxos.configuration.slot IS 'where it stands in the log; 0: the cluster was formed with it';
COMMENT ON COLUMN paxos.configuration.ballot IS 'in which it was accepted; 0 for the first';
COMMENT ON COLUMN paxos.configuration.value IS 'the encoded members';
COMMENT ON COLUMN paxos.configuration.recorded IS 'it is known chosen, with everything below it';

-- Values are written once and read once or twice: compressing them costs more
-- than it saves, and up to a page they had better stay in the row, where one
-- record of the write-ahead log carries them.
CREATE TABLE paxos.log_entry (
    slot   bigint PRIMARY KEY,
    ballot bigint NOT NULL,
    chosen boolean NOT NULL,
    value  bytea NOT NULL
) WITH (toast_tuple_target = 8160,
    -- Entries come at one end and go at the other: a vacuum in time, at full
    -- speed, makes the place of those that went that of those that come.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_vacuum_insert_threshold = -1,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 5000,
    toast.autovacuum_vacuum_cost_delay = 0, toast.autovacuum_vacuum_insert_threshold = -1);
ALTER TABLE paxos.log_entry ALTER COLUMN value SET STORAGE EXTERNAL;
REVOKE ALL ON paxos.log_entry FROM PUBLIC;
COMMENT ON TABLE paxos.log_entry IS 'the replicated log as far as this node has accepted it';
COMMENT ON COLUMN paxos.log_entry.slot IS 'position in the log';
COMMENT ON COLUMN paxos.log_entry.ballot IS 'in which the value was accepted';
COMMENT ON COLUMN paxos.log_entry.chosen IS 'fetched from a member that knew it chosen';
COMMENT ON COLUMN paxos.log_entry.value IS 'the encoded value';
