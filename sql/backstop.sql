-- What comes without a statement - here logical replication - meets the backstop.
\c postgres
CREATE TABLE target (id int PRIMARY KEY, v int);
INSERT INTO target VALUES (1, 1);
CREATE PUBLICATION changes FOR TABLE target;
SELECT count(*) FROM pg_create_logical_replication_slot('regress_paxos', 'pgoutput');
SELECT format('host=%s port=%s dbname=postgres', current_setting('unix_socket_directories'),
    current_setting('port')) AS conninfo \gset
\c contrib_regression
CREATE TABLE target (id int PRIMARY KEY, v int) USING paxos;
SELECT applied FROM paxos_upsert('target', '{"id": 1, "v": 1}');
CREATE SUBSCRIPTION regress_paxos CONNECTION :'conninfo' PUBLICATION changes
    WITH (create_slot = false, slot_name = 'regress_paxos', copy_data = false, disable_on_error = true);
\c postgres
UPDATE target SET v = 2;
\c contrib_regression
-- it gives up by itself at the first error
DO $$
BEGIN
    FOR i IN 1 .. 6000 LOOP
        EXIT WHEN NOT (SELECT subenabled FROM pg_subscription WHERE subname = 'regress_paxos');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT subenabled FROM pg_subscription WHERE subname = 'regress_paxos';
SELECT * FROM target;
SELECT applied, current FROM paxos_update_if('target', '{"id": 1}', '{"v +=": 5}', '{"v": 1}');
ALTER SUBSCRIPTION regress_paxos SET (slot_name = NONE);
DROP SUBSCRIPTION regress_paxos;
DROP TABLE target;
\c postgres
DO $$
BEGIN
    WHILE (SELECT active FROM pg_replication_slots WHERE slot_name = 'regress_paxos') LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT pg_drop_replication_slot('regress_paxos');
DROP PUBLICATION changes;
DROP TABLE target;
