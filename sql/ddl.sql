-- Statements through the log.
\set SHOW_CONTEXT never
CREATE SCHEMA s1;
CREATE SCHEMA "S 2";
-- what is made is what was asked for, whatever the session has set
SET search_path = s1, public;
SET DateStyle = 'SQL, DMY';
SET standard_conforming_strings = off;
SET escape_string_warning = off;
CREATE TABLE plain (
    id      int,
    "Name"  varchar(20) COLLATE "C" NOT NULL DEFAULT 'a\\b''c',
    born    date DEFAULT '03/02/2020' CHECK (born > '03/02/1900'),
    amount  numeric(10,2) DEFAULT 1 + 2,
    total   numeric GENERATED ALWAYS AS (amount * 2) STORED,
    tags    text[] NOT NULL DEFAULT '{}',
    CONSTRAINT "the key" PRIMARY KEY (id, "Name"),
    UNIQUE NULLS NOT DISTINCT (born, amount),
    CONSTRAINT positive CHECK (amount > 0)
) USING paxos WITH (fillfactor = 70, toast.autovacuum_enabled = off);
RESET ALL;
SET search_path = public;
\d+ s1.plain
SELECT reloptions FROM pg_class WHERE oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 's1.plain'::regclass);
SELECT applied, current FROM paxos_insert_if_not_exists('s1.plain', '{"id": 1}');
SELECT regexp_replace(description, '\[.*\]', '[request id]') AS description FROM paxos.log WHERE description LIKE 'CREATE TABLE s1%';
-- marked everywhere, and known by number
SELECT am.amname, t.table_id = (SELECT max(table_id) FROM paxos.tables) AS newest
    FROM pg_class c JOIN pg_am am ON am.oid = c.relam JOIN paxos.tables t ON t.relid = c.oid
    WHERE c.oid = 's1.plain'::regclass;
-- the backstop is there, and always on
SELECT tgname LIKE 'paxos_backstop_%' AS ours, tgenabled, tgisinternal, tgtype FROM pg_trigger WHERE tgrelid = 's1.plain'::regclass ORDER BY tgtype;

-- names and schemas
CREATE TABLE "S 2"."Odd ""name""" ("Key" int PRIMARY KEY) USING paxos;
CREATE INDEX ON "S 2"."Odd ""name""" (("Key" + 1));
CREATE INDEX "odd idx" ON "S 2"."Odd ""name""" USING hash ("Key") WITH (fillfactor = 50) WHERE "Key" > 0;
\d "S 2"."Odd ""name"""
DROP INDEX "S 2"."odd idx";
ALTER SCHEMA "S 2" RENAME TO s2;
CREATE UNIQUE INDEX odd ON s2."Odd ""name""" ("Key" DESC NULLS LAST);
SELECT applied FROM paxos_upsert('s2."Odd ""name"""', '{"Key": 1}');
DROP TABLE s2."Odd ""name""";
SELECT count(*) FROM paxos.tables WHERE relid NOT IN (SELECT oid FROM pg_class);
CREATE TABLE nosuch.t (id int PRIMARY KEY) USING paxos;
CREATE TABLE s1.plain (id int PRIMARY KEY) USING paxos;
CREATE TABLE IF NOT EXISTS s1.plain (id int PRIMARY KEY) USING paxos;
CREATE TABLE IF NOT EXISTS s1.fresh (id int PRIMARY KEY) USING paxos;
DROP TABLE IF EXISTS s1.fresh, s1.missing;
DROP TABLE IF EXISTS s1.missing;
DROP TABLE s1.missing;
-- by default
SET default_table_access_method = paxos;
CREATE TABLE by_default (id int PRIMARY KEY);
SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname = 'by_default';
CREATE TEMP TABLE tmp (id int PRIMARY KEY);
CREATE TABLE copied AS SELECT 1 AS id;
SELECT 1 AS id INTO copied;
TABLE copied;
DROP TABLE copied;
CREATE MATERIALIZED VIEW mv AS SELECT 1 AS id;
CREATE TABLE part (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (1) TO (10);
DROP TABLE part;
RESET default_table_access_method;
CREATE TABLE part1 (id int PRIMARY KEY) PARTITION BY RANGE (id) USING paxos;
DROP TABLE part1;

-- indexes
CREATE INDEX ON by_default (id, (id + 1));
CREATE INDEX ON by_default (id, (id + 1));
CREATE INDEX by_default_pkey ON by_default (id);
CREATE INDEX IF NOT EXISTS by_default_pkey ON by_default (id);
CREATE INDEX bad ON by_default (nosuch);
CREATE INDEX bad ON by_default ((now() - now() > '1 s'));
CREATE INDEX CONCURRENTLY bad ON by_default (id);
CREATE INDEX bad ON by_default (id) TABLESPACE pg_default;
DROP INDEX CONCURRENTLY by_default_id_expr_idx;
DROP INDEX by_default_pkey;
DROP INDEX by_default_id_expr_idx, by_default_id_expr_idx1;
DROP INDEX by_default_id_expr_idx;
DROP INDEX IF EXISTS by_default_id_expr_idx1;
DROP INDEX IF EXISTS by_default_id_expr_idx1;
\d by_default
-- an index that the rows do not allow, decided at its slot
CREATE TABLE twins (id int PRIMARY KEY, v int) USING paxos;
SELECT applied FROM paxos_upsert('twins', '{"id": 1, "v": 0}');
SELECT applied FROM paxos_upsert('twins', '{"id": 2, "v": 0}');
CREATE UNIQUE INDEX ON twins (v);
CREATE INDEX ON twins ((1 / v));
\d twins
SELECT applied FROM paxos_upsert('twins', '{"id": 3, "v": 0}');

-- without a primary key rows are added only
CREATE TABLE keyless (id int) USING paxos;
INSERT INTO keyless VALUES (1), (1);
INSERT INTO keyless SELECT 2;
UPDATE keyless SET id = 2;
DELETE FROM keyless;
SELECT id FROM keyless FOR UPDATE;
SELECT paxos_insert_if_not_exists('keyless', '{"id": 3}');
SELECT id FROM keyless ORDER BY id;
BEGIN;
INSERT INTO keyless VALUES (3);
TRUNCATE keyless;
INSERT INTO keyless VALUES (4);
CLUSTER keyless USING twins_pkey;
ROLLBACK;
BEGIN;
INSERT INTO keyless VALUES (3);
TRUNCATE keyless;
INSERT INTO keyless VALUES (4), (4);
COMMIT;
SELECT id FROM keyless ORDER BY id;
DROP TABLE keyless;

-- what a definition may not have
CREATE TEMP TABLE bad (id int PRIMARY KEY) USING paxos;
CREATE TABLE pg_temp.bad (id int PRIMARY KEY) USING paxos;
CREATE UNLOGGED TABLE bad (id int PRIMARY KEY) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY DEFERRABLE) USING paxos;
CREATE TABLE bad (id text PRIMARY KEY REFERENCES paxos.kv) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES paxos.tables) USING paxos;
CREATE TABLE alike (LIKE twins INCLUDING ALL) USING paxos;
DROP TABLE alike;
CREATE TABLE bad (x int) INHERITS (twins) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY) USING paxos TABLESPACE pg_default;
CREATE TABLE bad (id int PRIMARY KEY, at timestamptz CHECK (at < now())) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, at date CHECK (at < current_date)) USING paxos;
CREATE COLLATION own_c (provider = libc, locale = 'C');
CREATE TABLE bad (id int PRIMARY KEY, t text COLLATE own_c) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, t text, CHECK (t < 'a' COLLATE own_c)) USING paxos;
DROP COLLATION own_c;
CREATE TABLE bad (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10)) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY (CYCLE)) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY (MAXVALUE 10)) USING paxos;
CREATE FUNCTION mine(int) RETURNS int LANGUAGE sql IMMUTABLE RETURN $1;
CREATE TABLE bad (id int PRIMARY KEY CHECK (mine(id) > 0)) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x int DEFAULT mine(1)) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x int GENERATED ALWAYS AS (mine(id)) STORED) USING paxos;
CREATE INDEX bad ON twins (mine(v));
DROP FUNCTION mine;
CREATE SEQUENCE own;
CREATE TABLE bad (id int PRIMARY KEY DEFAULT nextval('own')) USING paxos;
DROP SEQUENCE own;
CREATE TABLE bad (id int PRIMARY KEY, nosuch nosuch) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, id int) USING paxos;

-- serial and identity: steps of 32 from the node's number
CREATE TABLE seqs (id bigserial PRIMARY KEY, s smallserial, g int GENERATED ALWAYS AS IDENTITY (START WITH 100)) USING paxos;
SELECT sequencename, start_value, increment_by, max_value FROM pg_sequences WHERE sequencename LIKE 'seqs%' ORDER BY 1;
SELECT current FROM generate_series(1, 2), LATERAL paxos_insert_if_not_exists('seqs',
    CASE WHEN generate_series > 0 THEN '{}'::jsonb END);
\d seqs

-- event triggers are of this node alone: they see the attempt, not the slot
CREATE TABLE audit (what text);
CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.audit VALUES (tg_tag);
    RAISE NOTICE '% on this node', tg_tag;
END $$;
CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit();
CREATE TABLE audited (id int PRIMARY KEY) USING paxos;
CREATE INDEX audited_id ON audited (id);
CREATE TRIGGER audited_trigger BEFORE UPDATE ON audited FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT * FROM audit;
DROP EVENT TRIGGER audit;
DROP FUNCTION audit();
DROP TABLE audit;

-- of several, all or none
CREATE TABLE heap1 (id int);
DROP TABLE twins, heap1;
DROP TABLE twins, by_default, audited, twins, seqs;
DROP TABLE heap1;
DROP SCHEMA s1;
DROP SCHEMA s1 CASCADE;
DROP TABLE s1.plain CASCADE;
DROP SCHEMA s1, s2;
SELECT count(*) FROM paxos.tables t WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = t.relid);
-- the default is not for temporary tables
SET default_table_access_method = paxos;
CREATE TEMP TABLE scratch1 (a int);
CREATE TABLE pg_temp.scratch2 (a int);
CREATE TEMP TABLE scratch3 AS SELECT 1 AS a;
SELECT 1 AS a INTO TEMP scratch4;
CREATE TEMP TABLE scratch5 (a int) USING paxos;
CREATE TEMP TABLE scratch6 USING paxos AS SELECT 1 AS a;
SELECT relname, amname FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname LIKE 'scratch%' ORDER BY 1;
DROP TABLE scratch1, scratch2, scratch3, scratch4;
RESET default_table_access_method;
