-- 26-snapshot.sql
--    For a member that needs slots no log has any more: this node's tables at one
--    slot (protocol.md section 8).  All within one transaction of the peer's, which
--    it ends with ROLLBACK: open, then what there is, then each part piece by piece.

CREATE FUNCTION paxos.snapshot_open(cluster uuid, version int, sender int,
    OUT applied bigint, OUT digest bigint, OUT log_time_us bigint, OUT origins bigint[],
    OUT requests bigint, OUT request_bytes bigint,
    OUT configuration bigint, OUT window_from bigint, OUT window_used bigint)
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'paxos_sql_snapshot_open';
COMMENT ON FUNCTION paxos.snapshot_open IS 'keeps the consensus tables as they are at one slot, until the transaction ends; returns that slot and what goes with it';

CREATE FUNCTION paxos.snapshot_parts(
    OUT part int, OUT table_id bigint, OUT schema text, OUT schema_owner text, OUT name text, OUT owner text,
    OUT bytes bigint, OUT definition text, OUT indexes text[], OUT grants text[], OUT afterwards text[], OUT altered bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'paxos_sql_snapshot_parts';
COMMENT ON FUNCTION paxos.snapshot_parts IS 'what the open snapshot consists of';

CREATE FUNCTION paxos.snapshot_objects(
    OUT object_id bigint, OUT altered bigint, OUT late boolean, OUT owner text, OUT definition text, OUT rest text[])
RETURNS SETOF record
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'paxos_sql_snapshot_objects';
COMMENT ON FUNCTION paxos.snapshot_objects IS 'schemas, types and functions that go with the open snapshot, in an order in which they can be made; after snapshot_parts';

CREATE FUNCTION paxos.snapshot_read(part int, OUT rows bigint, OUT data bytea)
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'paxos_sql_snapshot_read';
COMMENT ON FUNCTION paxos.snapshot_read IS 'the next rows of a part, as COPY writes them in binary; no data at its end';

REVOKE ALL ON FUNCTION paxos.snapshot_open, paxos.snapshot_parts, paxos.snapshot_objects, paxos.snapshot_read FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.snapshot_open, paxos.snapshot_parts, paxos.snapshot_objects, paxos.snapshot_read TO paxos_peer;

CREATE FUNCTION paxos.snapshot_status(
    OUT state text, OUT source int, OUT slot bigint, OUT tables int, OUT tables_done int,
    OUT rows bigint, OUT bytes bigint, OUT bytes_expected bigint,
    OUT started timestamptz, OUT ended timestamptz, OUT attempts bigint, OUT last_error text)
LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'paxos_snapshot_status';
COMMENT ON FUNCTION paxos.snapshot_status() IS 'behind the view paxos.snapshot_progress';

CREATE VIEW paxos.snapshot_progress AS SELECT * FROM paxos.snapshot_status();
GRANT SELECT ON paxos.snapshot_progress TO PUBLIC;
COMMENT ON VIEW paxos.snapshot_progress IS 'the snapshot that this node loads from another, or loaded last since the server started';
COMMENT ON COLUMN paxos.snapshot_progress.state IS 'none, asking (whose tables are far enough), copying, finishing (tables change places), loaded, or failed (and tried again)';
COMMENT ON COLUMN paxos.snapshot_progress.source IS 'the node it comes from';
COMMENT ON COLUMN paxos.snapshot_progress.slot IS 'the slot at which the tables are as they come';
COMMENT ON COLUMN paxos.snapshot_progress.tables IS 'number of tables';
COMMENT ON COLUMN paxos.snapshot_progress.tables_done IS 'of those, copied';
COMMENT ON COLUMN paxos.snapshot_progress.rows IS 'rows copied';
COMMENT ON COLUMN paxos.snapshot_progress.bytes IS 'bytes copied';
COMMENT ON COLUMN paxos.snapshot_progress.bytes_expected IS 'size of the tables on the other node''s disk, which is only roughly what will be copied';
COMMENT ON COLUMN paxos.snapshot_progress.started IS 'when this attempt began';
COMMENT ON COLUMN paxos.snapshot_progress.ended IS 'when it was over';
COMMENT ON COLUMN paxos.snapshot_progress.attempts IS 'attempts since the server started';
COMMENT ON COLUMN paxos.snapshot_progress.last_error IS 'why the last one failed';
