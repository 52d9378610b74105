-- A request id: the first result again, and nothing done twice.
\set SHOW_CONTEXT never
CREATE TABLE counters (id text PRIMARY KEY, n int NOT NULL CHECK (n < 100)) USING paxos;
SELECT applied, current, request_id
    FROM paxos_insert_if_not_exists('counters', '{"id": "c", "n": 0}', '00000000-0000-0000-0000-000000000001');
SELECT applied, existed, current, request_id
    FROM paxos_insert_if_not_exists('counters', '{"id": "c", "n": 0}', '00000000-0000-0000-0000-000000000001');
SELECT applied, previous, current FROM paxos_update_if('counters', '{"id": "c"}', '{"n +=": 1}', '{}', '00000000-0000-0000-0000-000000000002');
SELECT applied, previous, current FROM paxos_update_if('counters', '{"id": "c"}', '{"n +=": 1}', '{}', '00000000-0000-0000-0000-000000000002');
SELECT applied, previous, current FROM paxos_update_if('counters', '{"id": "c"}', '{"n +=": 1}', '{}');
-- the slot is that of the first
WITH first AS MATERIALIZED (SELECT (paxos_kv_put('r', '1', '00000000-0000-0000-0000-000000000003')).slot),
     other AS MATERIALIZED (SELECT (paxos_kv_put('s', '1')).slot FROM first),
     again AS MATERIALIZED (SELECT (paxos_kv_put('r', '2', '00000000-0000-0000-0000-000000000003')).slot FROM other)
SELECT first.slot < other.slot AS later, first.slot = again.slot AS same FROM first, other, again;
SELECT paxos_kv_get('r');
-- a result that was not applied, and one that failed
SELECT applied, current FROM paxos_update_if('counters', '{"id": "c"}', '{"n": 50}', '{"n": 7}', '00000000-0000-0000-0000-000000000004');
SELECT applied FROM paxos_update_if('counters', '{"id": "c"}', '{"n": 7}', '{}');
SELECT applied, current FROM paxos_update_if('counters', '{"id": "c"}', '{"n": 50}', '{"n": 7}', '00000000-0000-0000-0000-000000000004');
SELECT paxos_update_if('counters', '{"id": "c"}', '{"n": 100}', '{}', '00000000-0000-0000-0000-000000000005');
SELECT paxos_update_if('counters', '{"id": "c"}', '{"n": 10}', '{}', '00000000-0000-0000-0000-000000000005');
-- another command under the same id gets the first one's result
SELECT applied, current FROM paxos_kv_put('other', '1', '00000000-0000-0000-0000-000000000001');
SELECT paxos_kv_get('other') IS NULL AS nothing_done;
-- what became of them
SELECT r, o.outcome, o.applied, o.existed, o.slot > 0 AS slot, o.previous, o.current, o.sqlstate, o.message
    FROM unnest('{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002,00000000-0000-0000-0000-000000000004,00000000-0000-0000-0000-000000000005,00000000-0000-0000-0000-000000000009}'::uuid[]) r,
         paxos_outcome(r) o;
SELECT paxos_outcome(NULL);
SELECT * FROM counters;
SELECT applied FROM paxos_kv_delete('r');
SELECT applied FROM paxos_kv_delete('s');
DROP TABLE counters;
-- of a table that is gone: no image
SELECT outcome, previous, current FROM paxos_outcome('00000000-0000-0000-0000-000000000002');
