-- Keyed operations on a table: what they do, their JSON, their errors.
\set SHOW_CONTEXT never
CREATE TABLE accounts (
    id      int PRIMARY KEY,
    owner   text NOT NULL,
    balance numeric(12,2) NOT NULL DEFAULT 0 CHECK (balance >= 0),
    note    text,
    "a ="   int
) USING paxos;
CREATE UNIQUE INDEX accounts_owner ON accounts (owner);

-- insert
SELECT applied, existed, slot > 0 AS slot, previous, current, request_id
    FROM paxos_insert_if_not_exists('accounts', '{"id": 1, "owner": "ann", "balance": 1500}');
SELECT applied, existed, previous, current
    FROM paxos_insert_if_not_exists('accounts', '{"id": 1, "owner": "bob"}');
SELECT * FROM accounts;

-- the withdrawal this project is named for: one of three succeeds
SELECT applied, previous->'balance' AS was, current->'balance' AS is
    FROM generate_series(1, 3) g,
         LATERAL paxos_update_if('accounts', '{"id": 1}',
             CASE WHEN g > 0 THEN '{"balance -=": 1000}'::jsonb END, '{"balance >=": 1000}');

-- conditions
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "x"}', '{"note": null}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "y"}', '{"note": null}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "y"}', '{"note <>": null, "owner": "ann"}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": null}', '{"note <>": "y"}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "z"}', '{"balance >": 100, "balance <": 1000, "note =": "y"}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "w"}', '{"balance >": 500}');
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"note": "w"}', '{"balance <=": 500, "balance >=": 500, "note !=": "w"}');
SELECT applied, existed, previous, current FROM paxos_update_if('accounts', '{"id": 99}', '{"note": "w"}', '{}');
-- null is neither less nor more than anything
SELECT applied FROM paxos_update_if('accounts', '{"id": 1}', '{"a =": 5}', '{"a = <": 1}');
-- a column whose name looks like a column and an operator
SELECT applied, current->'a =' AS c FROM paxos_update_if('accounts', '{"id": 1}', '{"a =": 5}', '{"a =": null}');
SELECT applied, current->'a =' AS c FROM paxos_update_if('accounts', '{"id": 1}', '{"a = +=": 2}', '{"a = >=": 5}');
-- adding to null stays null
SELECT applied, current FROM paxos_update_if('accounts', '{"id": 1}', '{"a =": null}', '{}');
SELECT applied, current->'a =' AS c FROM paxos_update_if('accounts', '{"id": 1}', '{"a = +=": 2}', '{}');

-- compare and set
SELECT applied, existed, current FROM paxos_cas('accounts', '{"id": 2}', NULL, '{"owner": "bob"}');
SELECT applied, existed, current FROM paxos_cas('accounts', '{"id": 2}', NULL, '{"owner": "bobby"}');
SELECT applied, existed, current FROM paxos_cas('accounts', '{"id": 2}', '{"balance": 0}', '{"balance": 7.5, "id": 2}');
SELECT applied, existed, current FROM paxos_cas('accounts', '{"id": 2}', '{"balance": 0}', '{"balance": 8}');
SELECT applied, existed, current FROM paxos_cas('accounts', '{"id": 2}', '{}', '{"note": "exists"}');
SELECT applied, existed, previous, current FROM paxos_cas('accounts', '{"id": 2}', '{"note": "?"}', NULL);
SELECT applied, existed, previous, current FROM paxos_cas('accounts', '{"id": 2}', '{"note": "exists"}', NULL);
SELECT applied, existed, previous, current FROM paxos_cas('accounts', '{"id": 2}', '{}', NULL);
SELECT paxos_cas('accounts', '{"id": 2}', NULL, NULL);
SELECT paxos_cas('accounts', '{"id": 2}', NULL, '{"id": 3, "owner": "x"}');
SELECT paxos_cas('accounts', '{"id": 1}', '{"balance >=": 0}', '{"note": "x"}');
SELECT paxos_cas('accounts', '{"id": 1}', '{}', '{"balance -=": 1}');

-- upsert, delete
SELECT applied, existed, current FROM paxos_upsert('accounts', '{"id": 3, "owner": "carl"}');
SELECT applied, existed, current FROM paxos_upsert('accounts', '{"id": 3, "owner": "carl", "balance": 3}');
SELECT applied, existed, current FROM paxos_upsert('accounts', '{"id": 3, "owner": "cora"}');
SELECT applied, existed, previous, current FROM paxos_delete_if('accounts', '{"id": 3}', '{"balance": 4}');
SELECT applied, existed, previous, current FROM paxos_delete_if('accounts', '{"id": 3}', '{}');
SELECT applied, existed, previous, current FROM paxos_delete_if('accounts', '{"id": 3}', '{}');

-- errors decided at the slot change nothing
\set VERBOSITY sqlstate
SELECT paxos_insert_if_not_exists('accounts', '{"id": 4, "owner": "ann"}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance -=": 100000}', '{}');
SELECT paxos_insert_if_not_exists('accounts', '{"id": 4}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance +=": 9999999999.99}', '{}');
\set VERBOSITY default
SELECT paxos_insert_if_not_exists('accounts', '{"id": 4, "owner": "ann"}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance -=": 100000}', '{}');
SELECT * FROM accounts ORDER BY id;

-- errors before anything is sent
\set VERBOSITY sqlstate
SELECT paxos_insert_if_not_exists('accounts', '{"id": 5, "nosuch": 1}');
SELECT paxos_insert_if_not_exists('accounts', '{"id": "five"}');
SELECT paxos_insert_if_not_exists('accounts', '{"id": [5]}');
SELECT paxos_insert_if_not_exists('accounts', '{"id": {}}');
SELECT paxos_insert_if_not_exists('accounts', '{"owner": "x"}');
SELECT paxos_insert_if_not_exists('accounts', '[1]');
SELECT paxos_insert_if_not_exists('accounts', '7');
SELECT paxos_insert_if_not_exists('accounts', NULL);
SELECT paxos_insert_if_not_exists(NULL, '{}');
SELECT paxos_insert_if_not_exists('pg_class', '{}');
SELECT paxos_insert_if_not_exists('accounts_owner', '{}');
SELECT paxos_insert_if_not_exists(4294967295, '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"id": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"note": "x", "note =": "y"}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"note +=": "x"}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance *=": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance": 2}', '{"balance ~": 1}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance": 2}', '{"balnce >": 1}');
SELECT paxos_update_if('accounts', '{"id": null}', '{"balance": 2}', '{}');
SELECT paxos_update_if('accounts', '{}', '{"balance": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1, "owner": "ann"}', '{"balance": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', NULL, '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance": 2}', NULL);
\set VERBOSITY default
-- and some of them in words
SELECT paxos_insert_if_not_exists('accounts', '{"id": 5, "nosuch": 1}');
SELECT paxos_insert_if_not_exists('accounts', '{"id": "five"}');
SELECT paxos_insert_if_not_exists('pg_class', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance *=": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"balance": 2}', '{"balance ~": 1}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"note +=": "x"}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', '{"id": 2}', '{}');
SELECT paxos_update_if('accounts', '{"id": 1, "owner": "ann"}', '{"balance": 2}', '{}');

-- a key of several columns, in its own order
CREATE TABLE bookings (room text, day date, who text, PRIMARY KEY (day, room)) USING paxos;
SELECT applied, current FROM paxos_cas('bookings', '{"room": "blue", "day": "2026-01-31"}', NULL, '{"who": "ann"}');
SELECT applied, current FROM paxos_cas('bookings', '{"room": "blue", "day": "2026-01-31"}', NULL, '{"who": "bob"}');
SELECT applied, current FROM paxos_insert_if_not_exists('bookings', '{"room": "red", "day": "2026-01-31"}');
-- a table of key columns only
CREATE TABLE emails (email text PRIMARY KEY) USING paxos;
SELECT applied FROM paxos_upsert('emails', '{"email": "a@b"}');
SELECT applied, existed FROM paxos_upsert('emails', '{"email": "a@b"}');
SELECT applied, existed FROM paxos_insert_if_not_exists('emails', '{"email": "a@b"}');

-- defaults, once and here
CREATE TABLE defaults (
    id     serial PRIMARY KEY,
    ident  bigint GENERATED ALWAYS AS IDENTITY,
    byhand int GENERATED BY DEFAULT AS IDENTITY (START WITH 1000),
    at     timestamptz NOT NULL DEFAULT now(),
    uid    uuid DEFAULT gen_random_uuid(),
    who    text DEFAULT current_user,
    twice  int GENERATED ALWAYS AS (byhand * 2) STORED
) USING paxos;
SELECT current->'id' AS id, current->'ident' AS ident, current->'byhand' AS byhand,
       (current->>'at')::timestamptz = now() AS at, current->>'uid' IS NOT NULL AS uid,
       current->>'who' = current_user AS who, current->'twice' AS twice
    FROM paxos_insert_if_not_exists('defaults', '{}');
SELECT current->'id' AS id, current->'byhand' AS byhand, current->'uid' AS uid
    FROM paxos_insert_if_not_exists('defaults', '{"byhand": 7, "uid": null}');
SELECT current->'id' AS id, current->'byhand' AS byhand FROM paxos_insert_if_not_exists('defaults', '{"id": 2}');
SELECT id, ident, byhand, twice FROM defaults ORDER BY id;
SELECT paxos_insert_if_not_exists('defaults', '{"ident": 1}');
SELECT paxos_insert_if_not_exists('defaults', '{"twice": 1}');
SELECT paxos_update_if('defaults', '{"id": 1}', '{"twice": 1}', '{}');
SELECT paxos_update_if('defaults', '{"id": 1}', '{"ident": 1}', '{}');
\set VERBOSITY terse
SELECT paxos_insert_if_not_exists('defaults', '{"at": null, "id": 50}');
\set VERBOSITY default

-- rows and commands at their limits
SELECT applied, length(current->>'note') FROM paxos_update_if('accounts', '{"id": 1}',
    jsonb_build_object('note', repeat('x', 500000)), '{}');
SELECT paxos_update_if('accounts', '{"id": 1}', jsonb_build_object('note', repeat('x', 2000000)), '{}');
\set VERBOSITY terse
SELECT paxos_insert_if_not_exists('emails', jsonb_build_object('email',
    (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g)));
SELECT length(note) FROM accounts WHERE id = 1;
