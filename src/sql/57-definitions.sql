-- 57-definitions.sql
--    What went through the log, as this node has it, word for word: behind
--    paxos_verify_definitions() (paxos_definitions.c).

CREATE FUNCTION paxos.object_rest(classid oid, objid oid) RETURNS text[]
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'paxos_sql_object_rest';
REVOKE ALL ON FUNCTION paxos.object_rest FROM PUBLIC;
COMMENT ON FUNCTION paxos.object_rest IS 'the statements that follow the one that makes an object of all nodes: owner, privileges, comments';

-- In one order everywhere: object numbers, by which the others come, are each node's own.
CREATE FUNCTION paxos.node_definitions(OUT is_table boolean, OUT id bigint, OUT object text, OUT definition text)
    RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
SELECT true, t.table_id, format('table %I.%I', n.nspname, c.relname),
    CASE WHEN c.relkind = 'p' OR a.amname = 'paxos' THEN paxos.table_statement(c.oid::regclass) || ';' ||
        (SELECT string_agg(E'\n' || s.statement || ';', '' ORDER BY s.statement COLLATE "C")
         FROM (SELECT format('ALTER TABLE %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(c.relowner)) AS statement
             UNION ALL SELECT r FROM paxos.table_rest(c.oid::regclass) r
             UNION ALL SELECT p.statement FROM paxos.table_place(c.oid::regclass) p
             UNION ALL
               SELECT format('GRANT %s%s ON TABLE %s TO %s%s', x.privilege_type, ' (' || quote_ident(x.attname) || ')', c.oid::regclass,
                   CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
                   CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
               FROM (SELECT NULL::name AS attname, e.* FROM aclexplode(c.relacl) e
                     UNION ALL SELECT b.attname, e.* FROM pg_attribute b, aclexplode(b.attacl) e WHERE b.attrelid = c.oid AND NOT b.attisdropped) x
               WHERE x.grantee <> c.relowner
             UNION ALL
               SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.oid::regclass, k.conname, pg_get_constraintdef(k.oid))
               FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.conparentid = 0
             UNION ALL
               SELECT pg_get_triggerdef(g.oid) || CASE g.tgenabled WHEN 'O' THEN '' WHEN 'D' THEN ' DISABLE' WHEN 'R' THEN ' ENABLE REPLICA' ELSE ' ENABLE ALWAYS' END
                   || coalesce(' COMMENT ' || quote_literal(obj_description(g.oid, 'pg_trigger')), '')
               FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) s)
    WHEN c.oid IS NOT NULL THEN 'not consensus-backed on this node' END
FROM paxos.tables t LEFT JOIN pg_class c ON c.oid = t.relid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam
UNION ALL
SELECT false, o.object_id, i.type || ' ' || i.identity,
    paxos.object_definition(o.classid, o.objid) || ';' ||
        coalesce((SELECT string_agg(E'\n' || r || ';', '' ORDER BY r COLLATE "C") FROM unnest(paxos.object_rest(o.classid, o.objid)) r), '')
FROM paxos.object o LEFT JOIN LATERAL pg_identify_object(o.classid, o.objid, 0) i ON true
$$;
REVOKE ALL ON FUNCTION paxos.node_definitions() FROM PUBLIC;
COMMENT ON FUNCTION paxos.node_definitions() IS 'the definition of every table and object of all nodes, with indexes, policies, triggers, owner, privileges and comments, as this node has it';

CREATE FUNCTION paxos.definitions(
    cluster uuid, version int, sender int, slot bigint,
    OUT is_table boolean, OUT id bigint, OUT object text, OUT definition text)
RETURNS SETOF record
LANGUAGE C VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'paxos_sql_definitions';
REVOKE ALL ON FUNCTION paxos.definitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.definitions TO paxos_peer;
COMMENT ON FUNCTION paxos.definitions IS 'paxos.node_definitions() of this node for another one; no row before it has applied the slot';

CREATE FUNCTION @extschema@.paxos_verify_definitions(
    OUT node_id int, OUT name text, OUT object text, OUT definition text, OUT agrees boolean, OUT note text)
RETURNS SETOF record
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_verify_definitions';
REVOKE ALL ON FUNCTION @extschema@.paxos_verify_definitions FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_verify_definitions IS 'compares the definitions of all that went through the log on all nodes: a row for each node and object that is not the same everywhere, and for each node that could not be asked; none if all agree';
