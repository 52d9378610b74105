-- One node: before there is a cluster everything says what is missing.
CREATE EXTENSION paxos_ext;
SET paxos.statement_timeout = '60s';
-- (the workers find the extension in their own time)
DO $$
BEGIN
    WHILE (SELECT state FROM paxos.status) <> 'no cluster' LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT state, role, leader FROM paxos.status;
SELECT count(*) FROM paxos.members;
\set VERBOSITY sqlstate
\set SHOW_CONTEXT never
SELECT paxos_kv_put('a', '1');
SELECT paxos_kv_get('a');
SELECT paxos_barrier();
SELECT paxos_outcome('00000000-0000-0000-0000-000000000001');
CREATE TABLE early (id int PRIMARY KEY) USING paxos;
\set VERBOSITY default
SELECT paxos_kv_put('a', '1');
-- Already guarded: rows put in now would be on this node alone.
INSERT INTO paxos.kv VALUES ('a', '1');

SELECT paxos_create_cluster(ARRAY[format('host=%s port=%s dbname=%s user=%s',
    current_setting('unix_socket_directories'), current_setting('port'),
    current_database(), current_user)]) IS NOT NULL AS formed;
SELECT paxos_barrier() > 0 AS reached;
SELECT state, why, node_id, voters, voter, role, ready, leader, learner_running, stuck
    FROM paxos.status;
-- The same address again
\set VERBOSITY sqlstate
SELECT paxos_create_cluster(ARRAY['dbname=contrib_regression']);
