-- What is refused on a consensus table, for every role.
\set SHOW_CONTEXT never
CREATE TABLE c (id serial PRIMARY KEY, v int) USING paxos;
CREATE INDEX c_v ON c (v);
SELECT applied FROM paxos_upsert('c', '{"id": 1, "v": 1}');
SELECT applied FROM paxos_upsert('c', '{"id": 2, "v": 2}');
CREATE TABLE h (id int PRIMARY KEY, v int);
INSERT INTO h VALUES (1, 1);

-- rows: part of a write set, but for a mixture with local tables
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO c VALUES (3, 3), (4, 4);
INSERT INTO c SELECT * FROM h ON CONFLICT DO NOTHING;
UPDATE c SET v = 2;
UPDATE h SET v = 2 FROM c WHERE c.id = h.id;
DELETE FROM c;
MERGE INTO c USING h ON c.id = h.id WHEN MATCHED THEN DELETE;
WITH gone AS (DELETE FROM c RETURNING *) SELECT * FROM gone;
COPY c FROM stdin;
\.
TRUNCATE c;
TRUNCATE h, c;
EXPLAIN (COSTS OFF) DELETE FROM c;
PREPARE w AS UPDATE c SET v = 3;
EXECUTE w;
DEALLOCATE w;
DO $$ BEGIN UPDATE c SET v = 4; END $$;
SET session_replication_role = replica;
INSERT INTO c SELECT 3, 3;
TRUNCATE c;
RESET session_replication_role;
CREATE TABLE l (id int);
PREPARE TRANSACTION 'p';
ROLLBACK;
\set ON_ERROR_ROLLBACK off
BEGIN;
UPDATE h SET v = v;
UPDATE c SET v = v;
ROLLBACK;
BEGIN;
CREATE TEMP TABLE t ON COMMIT DROP AS SELECT * FROM c;
UPDATE t SET v = 7;
UPDATE c SET v = t.v FROM t WHERE c.id = t.id;
SET LOCAL paxos.local_writes = 'allow';
UPDATE h SET v = 7;
SELECT * FROM c ORDER BY id;
ROLLBACK;

-- definitions
ALTER TABLE c SET SCHEMA paxos;
ALTER TABLE c DISABLE TRIGGER ALL;
ALTER TABLE c SET ACCESS METHOD heap, ADD COLUMN w int;
ALTER TABLE c SET UNLOGGED;
ALTER TABLE c INHERIT h;
ALTER TABLE h SET ACCESS METHOD paxos, ADD COLUMN w int;
ALTER SEQUENCE c_id_seq INCREMENT BY 1;
ALTER SEQUENCE c_id_seq RENAME TO d;
ALTER SEQUENCE c_id_seq OWNED BY NONE;
DROP SEQUENCE c_id_seq CASCADE;
CREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
DROP TRIGGER t ON c;
DROP TRIGGER IF EXISTS t ON c;
CREATE RULE r AS ON INSERT TO c DO INSTEAD NOTHING;
CREATE STATISTICS st ON id, v FROM c;
DROP SCHEMA public CASCADE;
CREATE ROLE regress_paxos_other;
CREATE SCHEMA other AUTHORIZATION regress_paxos_other CREATE TABLE oc (id int PRIMARY KEY) USING paxos;
GRANT CREATE ON SCHEMA public TO regress_paxos_other;
SET ROLE regress_paxos_other;
CREATE TABLE oc (id int PRIMARY KEY) USING paxos;
RESET ROLE;
REASSIGN OWNED BY regress_paxos_other TO CURRENT_USER;
DROP OWNED BY regress_paxos_other;
DROP TABLE oc;
DROP OWNED BY regress_paxos_other;
DROP ROLE regress_paxos_other;

-- nothing local may depend on it
CREATE VIEW vw AS SELECT c.* FROM c, h;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM c;
CREATE VIEW vw AS SELECT NULL::c AS x;
CREATE TABLE d (id int REFERENCES c);
CREATE TABLE d (id int, x c);
CREATE TABLE d (id int, x c[]);
CREATE TABLE d (id int DEFAULT nextval('c_id_seq'));
CREATE TABLE d () INHERITS (c);
CREATE TABLE d (LIKE c INCLUDING DEFAULTS);
CREATE TABLE d (LIKE c);
DROP TABLE d;
ALTER TABLE h ADD FOREIGN KEY (id) REFERENCES c;
ALTER TABLE h ADD COLUMN x c;
ALTER TABLE h ALTER COLUMN v SET DEFAULT nextval('c_id_seq');
ALTER TABLE h INHERIT c;
CREATE TABLE part (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (2);
CREATE TABLE part2 PARTITION OF part FOR VALUES FROM (2) TO (3) USING paxos;
ALTER TABLE part ATTACH PARTITION c DEFAULT;
DROP TABLE part;
CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM c; END;
CREATE FUNCTION f(c) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f() RETURNS SETOF c LANGUAGE sql AS 'SELECT * FROM c';
CREATE TYPE ty AS (x c);
CREATE DOMAIN dom AS c;
CREATE RULE r AS ON UPDATE TO h DO ALSO SELECT * FROM c;
CREATE POLICY p ON h USING (v IN (SELECT v FROM c));
CREATE SEQUENCE sq OWNED BY c.v;
CREATE SCHEMA sc CREATE VIEW v AS SELECT * FROM public.c;
DO $$ BEGIN EXECUTE 'CREATE VIEW vw AS SELECT * FROM c'; END $$;
DO $$ BEGIN EXECUTE 'CREATE VIEW vw AS SELECT * FROM c'; EXCEPTION WHEN feature_not_supported THEN RAISE NOTICE 'refused'; END $$;
CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM c';
SELECT f();
DROP FUNCTION f;

-- what is this node's own business
SELECT * FROM c ORDER BY id;
BEGIN;
DECLARE cur CURSOR FOR SELECT * FROM c ORDER BY id;
FETCH 1 FROM cur;
COMMIT;
COPY (SELECT * FROM c ORDER BY id) TO stdout;
COPY c TO stdout;
CREATE TABLE snap USING heap AS SELECT * FROM c;
CREATE TEMP VIEW tv AS SELECT * FROM c;
CREATE TEMP TABLE tt (id int);
DROP TABLE snap, tt;
-- the extension's own tables
DELETE FROM paxos.tables;
UPDATE paxos.configuration SET recorded = true;
INSERT INTO paxos.replicated SELECT * FROM paxos.replicated;
WITH gone AS (DELETE FROM paxos.object RETURNING object_id) SELECT count(*) FROM gone;
DO $$ BEGIN DELETE FROM paxos.member_memory; END $$;
TRUNCATE h, paxos.log_entry;
COPY paxos.request FROM stdin;
\.
BEGIN;
SET LOCAL allow_system_table_mods = on;
DELETE FROM paxos.verification WHERE false;
ROLLBACK;
GRANT SELECT ON c TO PUBLIC;
REVOKE SELECT ON c FROM PUBLIC;
COMMENT ON TABLE c IS 'consensus';
COMMENT ON COLUMN c.v IS 'a value';
ANALYZE c;
VACUUM c;
VACUUM (FULL, ANALYZE) c;
REINDEX TABLE c;
REINDEX INDEX CONCURRENTLY c_v;
CLUSTER c USING c_pkey;
BEGIN;
LOCK TABLE c IN ACCESS SHARE MODE;
COMMIT;
CREATE PUBLICATION pub FOR TABLE c;
DROP PUBLICATION pub;
-- and it is still one
SELECT applied, current FROM paxos_update_if('c', '{"id": 1}', '{"v +=": 10}', '{}');
INSERT INTO c SELECT 3, 3;
SELECT count(*), min(tgenabled), bool_and(tgisinternal) FROM pg_trigger WHERE tgrelid = 'c'::regclass;
-- an ordinary table is not touched by any of this
UPDATE h SET v = 5;
ALTER TABLE h ADD COLUMN x int;
CREATE VIEW hv AS SELECT * FROM h;
TRUNCATE h;
DROP TABLE h CASCADE;
DROP TABLE c;
