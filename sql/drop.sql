-- The extension goes, with its tables only when asked for; and comes again.
\set SHOW_CONTEXT never
CREATE TABLE last (id int PRIMARY KEY) USING paxos;
SELECT applied FROM paxos_upsert('last', '{"id": 1}');
CREATE DATABASE contrib_regression_other;
\c contrib_regression_other
CREATE EXTENSION paxos_ext;
\c contrib_regression
DROP DATABASE contrib_regression_other;
DROP EXTENSION paxos_ext;
DROP ACCESS METHOD paxos CASCADE;
SET client_min_messages = warning;
DROP EXTENSION paxos_ext CASCADE;
RESET client_min_messages;
SELECT count(*) FROM pg_class WHERE relname IN ('last', 'kv');
SELECT count(*) FROM pg_namespace WHERE nspname = 'paxos';
CREATE TABLE ordinary (id int PRIMARY KEY);
INSERT INTO ordinary VALUES (1);
DROP TABLE ordinary;
CREATE EXTENSION paxos_ext;
DO $$
BEGIN
    WHILE (SELECT state FROM paxos.status) <> 'no cluster' LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT state FROM paxos.status;
SELECT paxos_kv_get('a');
SELECT paxos_create_cluster(ARRAY[format('host=%s port=%s dbname=%s user=%s',
    current_setting('unix_socket_directories'), current_setting('port'),
    current_database(), current_user)]) IS NOT NULL AS formed;
SET paxos.statement_timeout = '60s';
SELECT applied FROM paxos_kv_put('again', '1');
SELECT * FROM paxos.kv;
DROP EXTENSION paxos_ext;
