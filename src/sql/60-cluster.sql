-- 60-cluster.sql
--    Forming a cluster (protocol.md section 7, last paragraph).

CREATE FUNCTION @extschema@.paxos_create_cluster(conninfos text[], names text[] DEFAULT NULL)
RETURNS uuid
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_create_cluster';
REVOKE ALL ON FUNCTION @extschema@.paxos_create_cluster FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_create_cluster IS 'forms a cluster of the servers these connection strings lead to; call it once, on one of them';

-- What paxos_create_cluster() calls on every node.  The lock is the session's,
-- and the functions that write refuse a session without it.
CREATE FUNCTION paxos.form_lock(of_attempt uuid, at_index int, OUT attempt uuid, OUT index int)
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_lock';
COMMENT ON FUNCTION paxos.form_lock IS 'take this server''s forming lock for an attempt; returns which attempt holds it';

CREATE FUNCTION paxos.form_unlock() RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_unlock';
COMMENT ON FUNCTION paxos.form_unlock IS 'give the forming lock back';

CREATE FUNCTION paxos.form_identity(OUT attempt uuid, OUT index int)
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_identity';
COMMENT ON FUNCTION paxos.form_identity IS 'which node of which attempt this server is: tells whether an address leads here';

CREATE FUNCTION paxos.form_probe(OUT protocol int, OUT state text, OUT cluster uuid, OUT node int,
    OUT configuration bytea)
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_probe';
COMMENT ON FUNCTION paxos.form_probe IS 'what this node has recorded: none, forming or member, and of which cluster';

CREATE FUNCTION paxos.form_reach(attempt uuid, conninfos text[]) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_reach';
COMMENT ON FUNCTION paxos.form_reach IS 'try every connection string from this server';

CREATE FUNCTION paxos.form_record(cluster uuid, node int, configuration bytea) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_record';
COMMENT ON FUNCTION paxos.form_record IS 'first step: record the configuration as forming';

CREATE FUNCTION paxos.form_begin(cluster uuid) RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_form_begin';
COMMENT ON FUNCTION paxos.form_begin IS 'second step, when all nodes have recorded: begin';

-- Rows restored from a dump before the cluster is formed must be the same on
-- every node.
CREATE FUNCTION paxos.form_contents() RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET paxos.read_consistency = local
AS $$
    SELECT count(*) || ' rows, sum ' || coalesce(sum(hashtextextended(k::text, 0)), 0)
    FROM paxos.kv k
$$;
COMMENT ON FUNCTION paxos.form_contents IS 'number and checksum of the rows of paxos.kv';

REVOKE ALL ON FUNCTION paxos.form_lock, paxos.form_unlock, paxos.form_identity,
    paxos.form_probe, paxos.form_reach, paxos.form_record, paxos.form_begin,
    paxos.form_contents FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.form_lock, paxos.form_unlock, paxos.form_identity,
    paxos.form_probe, paxos.form_reach, paxos.form_record, paxos.form_begin,
    paxos.form_contents TO paxos_peer;
