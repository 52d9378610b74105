-- Where a function may be called.
\set SHOW_CONTEXT never
CREATE TABLE t (id int PRIMARY KEY, v int) USING paxos;
BEGIN;
SELECT paxos_insert_if_not_exists('t', '{"id": 1}');
ROLLBACK;
BEGIN;
SELECT paxos_kv_put('a', '1');
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT paxos_kv_delete('a');
ROLLBACK;
BEGIN;
CREATE TABLE u (id int PRIMARY KEY) USING paxos;
ROLLBACK;
BEGIN;
DROP TABLE t;
ROLLBACK;
BEGIN;
CREATE INDEX ON t (v);
ROLLBACK;
-- an exception block is a subtransaction
DO $$
BEGIN
    PERFORM paxos_kv_put('a', '1');
EXCEPTION WHEN division_by_zero THEN
    NULL;
END $$;
DO $$
BEGIN
    EXECUTE 'CREATE TABLE u (id int PRIMARY KEY) USING paxos';
END $$;
-- two statements in one message are one transaction
SELECT 1 \; SELECT paxos_kv_put('a', '1');
-- a function by itself is fine
DO $$
BEGIN
    ASSERT (paxos_kv_put('a', '1')).applied;
    ASSERT (paxos_kv_put('a', '2')).previous->'value' = '1';
END $$;
CREATE FUNCTION put(k text) RETURNS boolean LANGUAGE sql AS $$ SELECT applied FROM paxos_kv_put(k, '3') $$;
SELECT put('a');
DROP FUNCTION put;
-- reads go in a transaction, but not under its snapshot
BEGIN;
SELECT paxos_barrier() > 0 AS reached;
SELECT paxos_kv_get('a');
SELECT outcome FROM paxos_outcome('11111111-1111-1111-1111-111111111111');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT paxos_barrier();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT paxos_kv_get('a');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT paxos_outcome('11111111-1111-1111-1111-111111111111');
ROLLBACK;
SET default_transaction_read_only = on;
SELECT paxos_kv_put('a', '9');
DROP TABLE t;
SELECT paxos_kv_get('a');
RESET default_transaction_read_only;
SELECT applied FROM paxos_kv_delete('a');
-- waiting has an end
SET paxos.statement_timeout = 0;
SELECT applied FROM paxos_kv_delete('a');
RESET paxos.statement_timeout;
-- a prepared transaction could not be made to let go
BEGIN;
SELECT count(*) FROM t;
PREPARE TRANSACTION 'p';
ROLLBACK;
BEGIN;
LOCK TABLE t IN ACCESS SHARE MODE;
PREPARE TRANSACTION 'p';
ROLLBACK;
BEGIN;
SELECT count(*) > 0 FROM pg_class;
PREPARE TRANSACTION 'p';
ROLLBACK PREPARED 'p';
-- written out by the parser as a call for each column
SELECT (paxos_kv_put('star', '1')).*;
WITH w AS (SELECT (paxos_kv_put('star', '1')).*) SELECT 1 FROM w;
DO $$ BEGIN PERFORM applied FROM (SELECT (paxos_kv_put('star', '1')).*) x; END $$;
CREATE TEMP TABLE stars (a int) USING heap;
INSERT INTO stars VALUES (1) RETURNING (paxos_kv_put('star', '1')).*;
CREATE TEMP TABLE star USING heap AS SELECT (paxos_kv_put('star', '1')).*;
SELECT paxos_kv_get('star') IS NULL;
SELECT (paxos_kv_put('star', '1')).applied;
SELECT applied, existed FROM paxos_kv_delete('star');
DROP TABLE t;
