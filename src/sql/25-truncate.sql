-- 25-truncate.sql
--    The log does not grow for ever (protocol.md section 8).

CREATE FUNCTION @extschema@.paxos_truncate_log(keep_slots bigint DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_truncate_log';
REVOKE ALL ON FUNCTION @extschema@.paxos_truncate_log FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_truncate_log IS
    'cut this node''s log now, and with keep_slots whatever members that lag or are away still need; returns the last slot that has left it';
