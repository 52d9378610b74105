-- Guards over rows of several tables, and the one list or the other: one command.
\set SHOW_CONTEXT never
CREATE TABLE purse (id int PRIMARY KEY, balance numeric NOT NULL CHECK (balance >= 0), note text) USING paxos;
CREATE TABLE moves (a int, b int, at timestamptz DEFAULT '2024-02-03 04:05:06+00', amount numeric, PRIMARY KEY (a, b)) USING paxos;
SELECT applied FROM paxos_insert_if_not_exists('purse', '{"id": 1, "balance": 100}');
SELECT applied FROM paxos_insert_if_not_exists('purse', '{"id": 2, "balance": 5, "note": "two"}');
-- what was decided, less the slot, which is another every time
CREATE FUNCTION told(answer jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT answer - 'slot' $$;

-- a transfer, and that it may not be made twice
SELECT jsonb_pretty(told(paxos_txn(
    '[{"table": "purse", "key": {"id": 1}, "where": {"balance >=": 60}},
      {"table": "purse", "key": {"id": 2}},
      {"table": "moves", "key": {"a": 1, "b": 2}, "exists": false}]',
    '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance -=": 60}},
      {"op": "update", "table": "purse", "key": {"id": 2}, "set": {"balance +=": 60, "note": "got it"}},
      {"op": "insert", "table": "moves", "row": {"a": 1, "b": 2, "amount": 60}}]',
    '[{"op": "get", "table": "purse", "key": {"id": 1}},
      {"op": "get", "table": "purse", "key": {"id": 3}}]')));
SELECT jsonb_pretty(told(paxos_txn(
    '[{"table": "purse", "key": {"id": 1}, "where": {"balance >=": 60}},
      {"table": "moves", "key": {"a": 1, "b": 2}, "exists": false}]',
    '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance -=": 60}}]',
    '[{"op": "get", "table": "purse", "key": {"id": 1}},
      {"op": "get", "table": "purse", "key": {"id": 3}}]')));
TABLE purse ORDER BY id;
TABLE moves;

-- each guard by itself
SELECT g, paxos_txn(g, '[]') -> 'succeeded' AS held
    FROM unnest(ARRAY[
        '[]',
        '[{"table": "purse", "key": {"id": 1}}]',
        '[{"table": "purse", "key": {"id": 1}, "exists": true}]',
        '[{"table": "purse", "key": {"id": 1}, "exists": false}]',
        '[{"table": "purse", "key": {"id": 3}}]',
        '[{"table": "purse", "key": {"id": 3}, "exists": false}]',
        '[{"table": "purse", "key": {"id": 3}, "where": {}}]',
        '[{"table": "purse", "key": {"id": 1}, "where": {"note": null}}]',
        '[{"table": "purse", "key": {"id": 1}, "where": {"note <>": null}}]',
        '[{"table": "purse", "key": {"id": 1}, "where": {"balance >": 39, "balance <": 41}}]',
        '[{"table": "purse", "key": {"id": 1}, "where": {"balance >": 40}}]',
        '[{"table": "purse", "key": {"id": 1}}, {"table": "purse", "key": {"id": 2}, "where": {"balance": 0}}]'
        ]::jsonb[]) g;

-- each operation: in order, on what those before it left
SELECT jsonb_pretty(told(paxos_txn('[]',
    '[{"op": "insert_if_not_exists", "table": "purse", "row": {"id": 1, "balance": 0}},
      {"op": "insert_if_not_exists", "table": "purse", "row": {"id": 3, "balance": 1}},
      {"op": "upsert", "table": "purse", "row": {"id": 3, "note": "three", "balance": 2}},
      {"op": "update", "table": "purse", "key": {"id": 3}, "set": {"balance": 9}, "where": {"balance": 1}},
      {"op": "update", "table": "purse", "key": {"id": 3}, "set": {"balance +=": 1}, "where": {"balance": 2}},
      {"op": "get", "table": "purse", "key": {"id": 3}},
      {"op": "delete", "table": "purse", "key": {"id": 3}, "where": {"note": "four"}},
      {"op": "delete", "table": "purse", "key": {"id": 3}},
      {"op": "get", "table": "purse", "key": {"id": 3}},
      {"op": "update", "table": "purse", "key": {"id": 3}, "set": {"balance": 1}}]') -> 'results'));

-- all or nothing: what comes last fails
SELECT paxos_txn('[]',
    '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"note": "lost"}},
      {"op": "delete", "table": "moves", "key": {"a": 1, "b": 2}},
      {"op": "update", "table": "purse", "key": {"id": 2}, "set": {"balance -=": 1000}}]');
SELECT paxos_txn('[]',
    '[{"op": "insert", "table": "purse", "row": {"id": 4, "balance": 4}},
      {"op": "insert", "table": "purse", "row": {"id": 1, "balance": 4}}]');
SELECT told(paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": -1}}]', '[]',
    '44444444-0000-0000-0000-000000000001'));
SELECT told(paxos_txn('[]', '[]', '[]', '44444444-0000-0000-0000-000000000001'));
TABLE purse ORDER BY id;
SELECT count(*) FROM moves;

-- a request id: once, and the same answer
SELECT told(paxos_txn('[{"table": "purse", "key": {"id": 2}, "where": {"balance": 65}}]',
    '[{"op": "update", "table": "purse", "key": {"id": 2}, "set": {"balance +=": 1}}]', '[]',
    '44444444-0000-0000-0000-000000000002'));
SELECT told(paxos_txn('[{"table": "purse", "key": {"id": 2}, "where": {"balance": 65}}]',
    '[{"op": "update", "table": "purse", "key": {"id": 2}, "set": {"balance +=": 1}}]', '[]',
    '44444444-0000-0000-0000-000000000002'));
SELECT balance FROM purse WHERE id = 2;
SELECT outcome, applied, sqlstate FROM paxos_outcome('44444444-0000-0000-0000-000000000001');
SELECT outcome, applied, existed, previous, current FROM paxos_outcome('44444444-0000-0000-0000-000000000002');

-- what is wrong is said before anything is sent, and where
\set SHOW_CONTEXT errors
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}}, {"table": "nowhere", "key": {"id": 1}}]', '[]');
SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": "x"}}]');
\set SHOW_CONTEXT never
SELECT paxos_txn(NULL, '[]');
SELECT paxos_txn('[]', NULL);
SELECT paxos_txn('{}', '[]');
SELECT paxos_txn('[]', '1');
SELECT paxos_txn('[1]', '[]');
SELECT paxos_txn('[[]]', '[]');
SELECT paxos_txn('[{}]', '[]');
SELECT paxos_txn('[{"table": "purse"}]', '[]');
SELECT paxos_txn('[{"table": 1, "key": {"id": 1}}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": 1}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}, "exists": "yes"}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}, "exists": false, "where": {}}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}, "set": {}}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": {"balance": 1}}]', '[]');
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}, "where": {"balance ~": 1}}]', '[]');
SELECT paxos_txn('[{"table": "pg_class", "key": {"oid": 1}}]', '[]');
SELECT paxos_txn('[]', '[{"table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": 1, "table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": "put", "table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"id": 2}}]');
SELECT paxos_txn('[]', '[{"op": "insert", "table": "purse", "key": {"id": 1}, "row": {}}]');
SELECT paxos_txn('[]', '[{"op": "get", "table": "purse", "key": {"id": 1}, "where": {}}]');
-- the list that does not run, too
SELECT paxos_txn('[]', '[]', '[{"op": "delete", "table": "purse", "key": {"id": "x"}}]');
BEGIN;
SELECT paxos_txn('[]', '[]');
ROLLBACK;
-- a table that is gone, named by its number
SELECT 'moves'::regclass::oid AS moves \gset
SELECT paxos_txn(jsonb_build_array(jsonb_build_object('table', :'moves', 'key', '{"a": 1, "b": 2}'::jsonb)), '[]') -> 'succeeded' AS held;
DROP TABLE moves;
\set VERBOSITY sqlstate
SELECT paxos_txn(jsonb_build_array(jsonb_build_object('table', :'moves', 'key', '{"a": 1, "b": 2}'::jsonb)), '[]') IS NOT NULL;
\set VERBOSITY default

-- an index of the table, and a policy that applies to the caller
SELECT paxos_txn('[{"table": "purse_pkey", "key": {"id": 1}}]', '[]');
-- privileges: a guard and a get read, each operation is the statement of its name
CREATE ROLE regress_paxos_txn;
GRANT INSERT ON purse TO regress_paxos_txn;
GRANT SELECT (id) ON purse TO regress_paxos_txn;
SET ROLE regress_paxos_txn;
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}}]', '[]') -> 'succeeded' AS held;
SELECT paxos_txn('[{"table": "purse", "key": {"id": 1}, "where": {"balance": 1}}]', '[]');
SELECT paxos_txn('[]', '[{"op": "get", "table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": "update", "table": "purse", "key": {"id": 1}, "set": {"balance": 1}}]');
SELECT paxos_txn('[]', '[{"op": "delete", "table": "purse", "key": {"id": 1}}]');
SELECT paxos_txn('[]', '[{"op": "upsert", "table": "purse", "row": {"id": 1, "balance": 1}}]');
-- rows, and what an error quotes of them, are not for everybody
SELECT told(paxos_txn('[]', '[{"op": "insert", "table": "purse", "row": {"id": 7, "balance": 1}}]'));
SELECT paxos_txn('[]', '[{"op": "insert", "table": "purse", "row": {"id": 7, "balance": 1}}]');
SELECT told(paxos_txn('[]', '[]', '[]', '44444444-0000-0000-0000-000000000002'));
RESET ROLE;
SELECT paxos_txn('[]', '[{"op": "insert", "table": "purse", "row": {"id": 7, "balance": 1}}]');
DROP FUNCTION told(jsonb);
DROP TABLE purse;
DROP ROLE regress_paxos_txn;
