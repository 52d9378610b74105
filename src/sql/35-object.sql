-- 35-object.sql
--    Schemas, types, domains and functions that went through the log (paxos_object.c).

CREATE TABLE paxos.object (
    object_id bigint PRIMARY KEY,
    classid   oid NOT NULL,
    objid     oid NOT NULL,
    altered   bigint NOT NULL,
    CONSTRAINT object_address UNIQUE (classid, objid)
);
REVOKE ALL ON paxos.object FROM PUBLIC;
GRANT SELECT ON paxos.object TO PUBLIC;
COMMENT ON TABLE paxos.object IS 'objects other than tables that exist on every node; written by the learner only';
COMMENT ON COLUMN paxos.object.object_id IS 'slot in which it was made * 65536 + position in the slot';
COMMENT ON COLUMN paxos.object.classid IS 'catalog of the object';
COMMENT ON COLUMN paxos.object.objid IS 'its number on this node';
COMMENT ON COLUMN paxos.object.altered IS 'the last statement that changed its definition, numbered in the same way; 0: none';

CREATE FUNCTION paxos.object_definition(classid oid, objid oid) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'paxos_sql_object_definition';
COMMENT ON FUNCTION paxos.object_definition IS 'the statement that makes a schema, type, domain or function, as it goes through the log';

CREATE VIEW paxos.objects AS
    SELECT o.object_id, i.type, i.identity, paxos.object_definition(o.classid, o.objid) AS definition, o.altered
    FROM paxos.object o, LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i;
GRANT SELECT ON paxos.objects TO PUBLIC;
COMMENT ON VIEW paxos.objects IS 'schemas, types, domains and functions that went through the log and exist on every node';
COMMENT ON COLUMN paxos.objects.object_id IS 'its number, the same on every node';
COMMENT ON COLUMN paxos.objects.type IS 'schema, type, function ...';
COMMENT ON COLUMN paxos.objects.identity IS 'its qualified name';
COMMENT ON COLUMN paxos.objects.definition IS 'the statement that makes it as it is now';
COMMENT ON COLUMN paxos.objects.altered IS 'the last statement that changed it, numbered as objects are; 0: none';

CREATE FUNCTION paxos.try_statement(cluster uuid, version int, sender int, command bytea)
RETURNS text
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_try_statement';
REVOKE ALL ON FUNCTION paxos.try_statement FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.try_statement TO paxos_peer;
COMMENT ON FUNCTION paxos.try_statement IS 'what this node lacks to carry out a statement about objects, which is tried and taken back; null: nothing';
