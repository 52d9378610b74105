-- 40-api.sql
--    What users meet: the access method that marks a consensus table, paxos.kv,
--    and the functions.

CREATE ACCESS METHOD paxos TYPE TABLE HANDLER heap_tableam_handler;
COMMENT ON ACCESS METHOD paxos IS 'marks a consensus-backed table; the storage is PostgreSQL''s own heap';

CREATE FUNCTION paxos.backstop() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'paxos_backstop';
REVOKE ALL ON FUNCTION paxos.backstop() FROM PUBLIC;
COMMENT ON FUNCTION paxos.backstop() IS 'refuses every change of a consensus table that does not come through the log';

CREATE FUNCTION paxos.capture() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'paxos_capture';
REVOKE ALL ON FUNCTION paxos.capture() FROM PUBLIC;
COMMENT ON FUNCTION paxos.capture() IS 'notes which rows of a consensus table a transaction changes, for its write set';

CREATE FUNCTION paxos.backstop_install(tbl regclass) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'paxos_backstop_install';
REVOKE ALL ON FUNCTION paxos.backstop_install(regclass) FROM PUBLIC;
COMMENT ON FUNCTION paxos.backstop_install(regclass) IS 'part of CREATE EXTENSION: puts the backstop, and what captures changes, on paxos.kv';

-- Keys are compared and ordered byte by byte, so that no node's locale matters.
CREATE TABLE paxos.kv (
    key   text COLLATE "C" PRIMARY KEY,
    value jsonb NOT NULL
) USING paxos;
REVOKE ALL ON paxos.kv FROM PUBLIC;
COMMENT ON TABLE paxos.kv IS 'the built-in consensus table behind paxos_kv_put() and its kin; grant privileges on it to those who may use them';
COMMENT ON COLUMN paxos.kv.key IS 'the key';
COMMENT ON COLUMN paxos.kv.value IS 'its value, never SQL null (JSON null is a value)';
INSERT INTO paxos.tables VALUES (1, 'paxos.kv');
SELECT paxos.backstop_install('paxos.kv');
SELECT pg_catalog.pg_extension_config_dump('paxos.kv', '');

CREATE TYPE @extschema@.paxos_result AS (
    applied    boolean,
    existed    boolean,
    slot       bigint,
    previous   jsonb,
    current    jsonb,
    request_id uuid
);
COMMENT ON TYPE @extschema@.paxos_result IS 'what became of a conditional write';
COMMENT ON COLUMN @extschema@.paxos_result.applied IS 'did the condition hold, so that the change was made';
COMMENT ON COLUMN @extschema@.paxos_result.existed IS 'was there a row with this key before';
COMMENT ON COLUMN @extschema@.paxos_result.slot IS 'the position in the log where it was decided';
COMMENT ON COLUMN @extschema@.paxos_result.previous IS 'the row before; null if there was none, or for a caller who may not read it';
COMMENT ON COLUMN @extschema@.paxos_result.current IS 'the row after, also when the condition did not hold; null if there is none, or for a caller who may not read it';
COMMENT ON COLUMN @extschema@.paxos_result.request_id IS 'the request id that was given';

-- Tables ----------------------------------------------------------------------

CREATE FUNCTION @extschema@.paxos_insert_if_not_exists(
    tbl regclass, new_row jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_insert_if_not_exists';
COMMENT ON FUNCTION @extschema@.paxos_insert_if_not_exists(regclass, jsonb, uuid) IS
    'insert a row unless one with its primary key exists; columns not given get their defaults';

CREATE FUNCTION @extschema@.paxos_cas(
    tbl regclass, key jsonb, expected jsonb, new jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_cas';
COMMENT ON FUNCTION @extschema@.paxos_cas(regclass, jsonb, jsonb, jsonb, uuid) IS
    'compare and set: if the row''s columns equal those expected (null: the row must not exist), set the new ones (null: delete the row)';

CREATE FUNCTION @extschema@.paxos_update_if(
    tbl regclass, key jsonb, set jsonb, condition jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_update_if';
COMMENT ON FUNCTION @extschema@.paxos_update_if(regclass, jsonb, jsonb, jsonb, uuid) IS
    'change a row if all conditions hold; keys are columns, in set optionally followed by += or -=, in condition by =, <>, <, <=, > or >=';

CREATE FUNCTION @extschema@.paxos_delete_if(
    tbl regclass, key jsonb, condition jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_delete_if';
COMMENT ON FUNCTION @extschema@.paxos_delete_if(regclass, jsonb, jsonb, uuid) IS
    'delete a row if all conditions hold; keys of condition are columns, optionally followed by =, <>, <, <=, > or >=';

CREATE FUNCTION @extschema@.paxos_upsert(
    tbl regclass, new_row jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_upsert';
COMMENT ON FUNCTION @extschema@.paxos_upsert(regclass, jsonb, uuid) IS
    'insert a row, or set the given columns of the one with its primary key';

CREATE FUNCTION @extschema@.paxos_txn(
    compare jsonb, then_ops jsonb, else_ops jsonb DEFAULT '[]', request_id uuid DEFAULT NULL)
    RETURNS jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_txn';
COMMENT ON FUNCTION @extschema@.paxos_txn(jsonb, jsonb, jsonb, uuid) IS
    'if all rows are as compare says, carry out then_ops, else else_ops, in order, all or none of them; compare: [{"table", "key", "exists" or "where"}, ...], operations: [{"op", "table", "key" or "row", "set", "where"}, ...]';

-- Key-value -------------------------------------------------------------------

CREATE FUNCTION @extschema@.paxos_kv_put(
    key text, value jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_kv_put';
COMMENT ON FUNCTION @extschema@.paxos_kv_put(text, jsonb, uuid) IS
    'set a key in paxos.kv';

CREATE FUNCTION @extschema@.paxos_kv_get(key text) RETURNS jsonb
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_kv_get';
COMMENT ON FUNCTION @extschema@.paxos_kv_get(text) IS
    'linearizable read of a key of paxos.kv; null if it is not there';

CREATE FUNCTION @extschema@.paxos_kv_cas(
    key text, expected jsonb, new jsonb, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_kv_cas';
COMMENT ON FUNCTION @extschema@.paxos_kv_cas(text, jsonb, jsonb, uuid) IS
    'compare and set: if the key has the value expected (null: is not there), set the new one (null: delete it)';

CREATE FUNCTION @extschema@.paxos_kv_delete(
    key text, expected jsonb DEFAULT NULL, request_id uuid DEFAULT NULL)
    RETURNS @extschema@.paxos_result
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_kv_delete';
COMMENT ON FUNCTION @extschema@.paxos_kv_delete(text, jsonb, uuid) IS
    'delete a key, if it has the value expected (null: whatever it has)';

-- Reads and outcomes ----------------------------------------------------------

CREATE FUNCTION @extschema@.paxos_barrier() RETURNS bigint
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_barrier';
COMMENT ON FUNCTION @extschema@.paxos_barrier() IS
    'wait until this node reflects every write acknowledged anywhere before the call; returns the slot reached';

CREATE FUNCTION @extschema@.paxos_outcome(
    request_id uuid,
    OUT outcome text, OUT applied boolean, OUT existed boolean, OUT slot bigint,
    OUT previous jsonb, OUT current jsonb, OUT sqlstate text, OUT message text)
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_outcome';
COMMENT ON FUNCTION @extschema@.paxos_outcome(uuid) IS
    'what became of a request id: applied, not applied, failed (with sqlstate and message), or unknown to the cluster: not decided so far, or forgotten';

CREATE FUNCTION @extschema@.paxos_session_token() RETURNS text
    LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'paxos_session_token_now';
COMMENT ON FUNCTION @extschema@.paxos_session_token() IS
    'what this session may have seen so far: with SET paxos.session_token to this, reads on another node (paxos.read_consistency = session or above) show at least that';

-- Backups ---------------------------------------------------------------------

CREATE FUNCTION paxos.table_statement(tbl regclass) RETURNS text
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'paxos_table_statement';
REVOKE ALL ON FUNCTION paxos.table_statement(regclass) FROM PUBLIC;
COMMENT ON FUNCTION paxos.table_statement(regclass) IS 'the CREATE TABLE of a consensus-backed table';

-- Also behind snapshots (paxos_snapshot_send.c), whose receiver knows these kinds of
-- statements (paxos_ddl_run_in()).  Indexes that are a constraint's come with the table;
-- those of a partitioned table later (paxos.table_place()).
CREATE FUNCTION paxos.policies_of(tbl regclass, written text) RETURNS TABLE (name text, statement text)
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
SELECT p.polname::text, format('CREATE POLICY %I ON %s AS %s FOR %s TO %s%s%s', p.polname, $2,
    CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
    CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    (SELECT string_agg(CASE WHEN r = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ' ORDER BY n)
     FROM unnest(p.polroles) WITH ORDINALITY AS u(r, n)),
    ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
FROM pg_policy p WHERE p.polrelid = $1 ORDER BY p.polname
$$;
REVOKE ALL ON FUNCTION paxos.policies_of(regclass, text) FROM PUBLIC;
COMMENT ON FUNCTION paxos.policies_of(regclass, text) IS 'the statements that make the policies of a table, on a table whose name is written so';

CREATE FUNCTION paxos.table_rest(tbl regclass) RETURNS SETOF text
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
SELECT statement FROM (
    SELECT 1 AS pass, i.indexrelid::bigint AS place, pg_get_indexdef(i.indexrelid) AS statement
    FROM pg_index i JOIN pg_class p ON p.oid = i.indrelid
    WHERE i.indrelid = $1 AND p.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = $1)
  UNION ALL
    SELECT 2, a.attnum, format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE %s', $1, a.attname,
        CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END)
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attstorage <> t.typstorage
  UNION ALL
    SELECT 3, a.attnum, format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', $1, a.attname, a.attstattarget)
    FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND a.attstattarget >= 0
  UNION ALL
    SELECT 4, a.attnum, format('ALTER TABLE %s ALTER COLUMN %I SET (%s)', $1, a.attname, o.options)
    FROM pg_attribute a, LATERAL (SELECT string_agg(u, ', ') AS options FROM unnest(a.attoptions) u WHERE u !~ '^pg_') o
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped AND o.options IS NOT NULL
  UNION ALL
    SELECT 5, c.oid::bigint, format('ALTER TABLE %s ADD CONSTRAINT %I %s', $1, c.conname, pg_get_constraintdef(c.oid))
    FROM pg_constraint c WHERE c.conrelid = $1 AND c.contype = 'c' AND NOT c.convalidated
  UNION ALL
    SELECT 6, 0, format('ALTER TABLE %s REPLICA IDENTITY %s', $1,
        CASE c.relreplident WHEN 'n' THEN 'NOTHING' WHEN 'f' THEN 'FULL'
        ELSE format('USING INDEX %I', (SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = $1 AND i.indisreplident)) END)
    FROM pg_class c WHERE c.oid = $1 AND c.relreplident <> 'd'
  UNION ALL
    SELECT 7, d.objsubid, CASE WHEN d.objsubid = 0 THEN format('COMMENT ON TABLE %s IS %L', $1, d.description)
        ELSE format('COMMENT ON COLUMN %s.%I IS %L', $1,
            (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = $1 AND a.attnum = d.objsubid), d.description) END
    FROM pg_description d WHERE d.classoid = 'pg_class'::regclass AND d.objoid = $1
  UNION ALL
    SELECT 8, d.objoid::bigint, format('COMMENT ON INDEX %s IS %L', d.objoid::regclass, d.description)
    FROM pg_description d JOIN pg_index i ON i.indexrelid = d.objoid JOIN pg_class p ON p.oid = i.indrelid
    WHERE d.classoid = 'pg_class'::regclass AND i.indrelid = $1 AND p.relkind = 'r'
  UNION ALL
    SELECT 9, c.oid::bigint, format('COMMENT ON CONSTRAINT %I ON %s IS %L', c.conname, $1, d.description)
    FROM pg_description d JOIN pg_constraint c ON c.oid = d.objoid JOIN pg_class p ON p.oid = c.conrelid
    WHERE d.classoid = 'pg_constraint'::regclass AND c.conrelid = $1 AND (p.relkind = 'r' OR c.conindid = 0)
  UNION ALL
    SELECT 10, row_number() OVER (), p.statement FROM paxos.policies_of($1, $1::text) p
  UNION ALL
    SELECT 11, l.oid::bigint, format('COMMENT ON POLICY %I ON %s IS %L', l.polname, $1, d.description)
    FROM pg_description d JOIN pg_policy l ON l.oid = d.objoid
    WHERE d.classoid = 'pg_policy'::regclass AND l.polrelid = $1
  UNION ALL
    SELECT 11, 0, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', $1) FROM pg_class c WHERE c.oid = $1 AND c.relrowsecurity
  UNION ALL
    SELECT 12, 0, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', $1) FROM pg_class c WHERE c.oid = $1 AND c.relforcerowsecurity
) x ORDER BY pass, place
$$;
REVOKE ALL ON FUNCTION paxos.table_rest(regclass) FROM PUBLIC;
COMMENT ON FUNCTION paxos.table_rest(regclass) IS 'the statements that follow the CREATE TABLE of a consensus-backed table: indexes, and what CREATE TABLE cannot say';

-- In the order of passes: every partition is attached, then partitioned tables get their keys and
-- indexes, then what their partitions have of those is attached.  The default partition last:
-- each that comes after it has its rows read.  Also where statements are tried (paxos_copy.c).
CREATE FUNCTION paxos.table_place(tbl regclass, OUT pass int, OUT place bigint, OUT above oid, OUT statement text) RETURNS SETOF record
    LANGUAGE sql STABLE STRICT SET search_path = pg_catalog, pg_temp SET DateStyle = 'ISO, MDY' SET IntervalStyle = postgres
    SET TimeZone = 'UTC' SET extra_float_digits = 1 SET bytea_output = hex SET quote_all_identifiers = off AS $$
    SELECT 1, (i.bound = 'DEFAULT')::int::bigint, i.inhparent, format('ALTER TABLE %s ATTACH PARTITION %s %s', i.inhparent::regclass, $1, i.bound)
    FROM (SELECT h.inhparent, pg_get_expr(c.relpartbound, c.oid) AS bound FROM pg_class c JOIN pg_inherits h ON h.inhrelid = c.oid
          WHERE c.oid = $1 AND c.relispartition) i
  UNION ALL
    SELECT 2, i.indexrelid::bigint, NULL, CASE WHEN n.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
        ELSE format('ALTER TABLE ONLY %s ADD CONSTRAINT %I %s', $1, n.conname, pg_get_constraintdef(n.oid)) END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint n ON n.conindid = i.indexrelid AND n.conrelid = i.indrelid AND n.contype IN ('p', 'u', 'x')
    WHERE i.indrelid = $1 AND c.relkind = 'I'
  UNION ALL
    SELECT 3, row_number() OVER (ORDER BY i.indexrelid::regclass::text), p.indrelid, format('ALTER INDEX %s ATTACH PARTITION %s', h.inhparent::regclass, i.indexrelid::regclass)
    FROM pg_index i JOIN pg_inherits h ON h.inhrelid = i.indexrelid JOIN pg_index p ON p.indexrelid = h.inhparent
    WHERE i.indrelid = $1
  UNION ALL
    -- a default from the sequence of a table above: each node has named it by itself
    SELECT 4, a.attnum::bigint, NULL, format('DO %L', format('BEGIN EXECUTE format(''ALTER TABLE %%s ALTER COLUMN %%I SET DEFAULT nextval(%%L::pg_catalog.regclass)'', %L, %L, pg_get_serial_sequence(%L, %L)); END',
        $1, a.attname, s.refobjid::regclass, o.attname))
    FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass
    JOIN pg_depend s ON s.classid = 'pg_class'::regclass AND s.objid = u.refobjid AND s.deptype = 'a' AND s.refclassid = 'pg_class'::regclass
    JOIN pg_attribute o ON o.attrelid = s.refobjid AND o.attnum = s.refobjsubid
    JOIN pg_class c ON c.oid = d.adrelid
    WHERE d.adrelid = $1 AND c.relispartition AND s.refobjid <> $1 AND EXISTS (SELECT FROM pg_class q WHERE q.oid = u.refobjid AND q.relkind = 'S')
  UNION ALL
    SELECT 5, d.objoid::bigint, NULL, format('COMMENT ON INDEX %s IS %L', d.objoid::regclass, d.description)
    FROM pg_description d JOIN pg_index i ON i.indexrelid = d.objoid JOIN pg_class p ON p.oid = i.indrelid
    WHERE d.classoid = 'pg_class'::regclass AND i.indrelid = $1 AND p.relkind = 'p'
  UNION ALL
    SELECT 6, c.oid::bigint, NULL, format('COMMENT ON CONSTRAINT %I ON %s IS %L', c.conname, $1, d.description)
    FROM pg_description d JOIN pg_constraint c ON c.oid = d.objoid JOIN pg_class p ON p.oid = c.conrelid
    WHERE d.classoid = 'pg_constraint'::regclass AND c.conrelid = $1 AND p.relkind = 'p' AND c.conindid <> 0
$$;
REVOKE ALL ON FUNCTION paxos.table_place(regclass) FROM PUBLIC;
COMMENT ON FUNCTION paxos.table_place(regclass) IS 'the statements that put a partition, or a partitioned table, among the others: by pass, when all of them have been made';

CREATE FUNCTION @extschema@.paxos_table_definition(tbl regclass) RETURNS text
    LANGUAGE sql STABLE STRICT AS $$
SELECT paxos.table_statement($1) || ';' || coalesce(
    (SELECT pg_catalog.string_agg(E'\n' || r.statement || ';', '' ORDER BY r.part, r.n, r.m)
     FROM (SELECT 1 AS part, r.n, 0 AS m, r.statement FROM paxos.table_rest($1) WITH ORDINALITY AS r(statement, n)
           UNION ALL SELECT 2, p.pass, p.place, p.statement FROM paxos.table_place($1) AS p) r), '')
$$;
REVOKE ALL ON FUNCTION @extschema@.paxos_table_definition(regclass) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_table_definition(regclass) IS
    'the statements that make a consensus-backed table with its indexes, and what else its definition is made of';
