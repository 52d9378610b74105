-- Plain statements that are keyed operations: one row, by its primary key.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE TABLE bill (
    id      serial PRIMARY KEY,
    owner   varchar(8) NOT NULL DEFAULT current_user::text,
    balance numeric(12,2) NOT NULL DEFAULT 0 CHECK (balance >= 0),
    note    jsonb,
    made    timestamptz NOT NULL DEFAULT now(),
    twice   numeric GENERATED ALWAYS AS (balance * 2) STORED
) USING paxos;

-- insert: defaults and what is volatile are settled here, generated columns at the slot
INSERT INTO bill (owner, balance) VALUES ('ann', 1500);
BEGIN;
INSERT INTO bill VALUES (10, 'bob', 20.005, 'null', '2020-02-03 04:05:06+02') RETURNING id, owner, balance, note, note IS NULL;
ROLLBACK;
INSERT INTO bill VALUES (10, 'bob', 20.005, 'null', '2020-02-03 04:05:06+02') RETURNING id;
BEGIN;
INSERT INTO bill VALUES (11, 'eve,"(', 20.005, 'null', '2020-02-03 04:05:06+00') RETURNING id, owner, balance, note, made AT TIME ZONE 'UTC';
ROLLBACK;
INSERT INTO bill VALUES (11, 'eve,"(', 20.005, 'null', '2020-02-03 04:05:06+00') RETURNING *, 1 + 1 AS two;
INSERT INTO bill VALUES (11, 'again');
INSERT INTO bill VALUES (11, 'again') ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO bill VALUES (12, 'again') ON CONFLICT (id) DO NOTHING RETURNING id, twice;
INSERT INTO bill VALUES (13, NULL);
INSERT INTO bill VALUES (NULL, 'ann');
INSERT INTO bill VALUES (13, 'ann', -1);
INSERT INTO bill VALUES (13, 'much too long');
INSERT INTO bill DEFAULT VALUES RETURNING id, balance;
SELECT made = now(), made > now() - interval '1 hour' FROM bill WHERE id = 1;

-- insert or update
INSERT INTO bill VALUES (11, 'tim', 1) ON CONFLICT (id) DO UPDATE SET balance = bill.balance + EXCLUDED.balance, owner = EXCLUDED.owner RETURNING id, owner, balance, twice;
INSERT INTO bill VALUES (11, 'tim', 1) ON CONFLICT (id) DO UPDATE SET balance = 0 WHERE bill.balance < EXCLUDED.twice RETURNING id;
INSERT INTO bill VALUES (11, 'tim', 99) ON CONFLICT ON CONSTRAINT bill_pkey DO UPDATE SET balance = EXCLUDED.twice, id = EXCLUDED.id WHERE bill.balance < EXCLUDED.twice RETURNING id, owner, balance, twice;
INSERT INTO bill VALUES (14, 'kim', 99) ON CONFLICT (id) DO UPDATE SET balance = 0 RETURNING id, owner, balance, twice;
-- the row proposed must be a good one, whatever becomes of it
INSERT INTO bill VALUES (14, 'kim', -1) ON CONFLICT (id) DO UPDATE SET balance = 0;
INSERT INTO bill VALUES (14, 'kim', -1) ON CONFLICT (id) DO NOTHING;
INSERT INTO bill VALUES (14, NULL, 1) ON CONFLICT (id) DO NOTHING;
INSERT INTO bill VALUES (14, 'kim', 1) ON CONFLICT (id) DO UPDATE SET balance = bill.balance - 100;
DELETE FROM bill WHERE id = 14 RETURNING balance;

-- several rows: all or none, in this order
INSERT INTO bill (owner, balance) VALUES ('a', 1), ('b', DEFAULT), (DEFAULT, 3) RETURNING id, balance, twice;
INSERT INTO bill (id, owner) VALUES (30, 'a'), (31, 'b'), (30, 'c'), (11, 'd'), (32, 'e') ON CONFLICT DO NOTHING RETURNING id, owner;
\echo :ROW_COUNT
INSERT INTO bill (id, owner) VALUES (33, 'a'), (34, 'b'), (30, 'c');
INSERT INTO bill (id, owner, balance) VALUES (33, 'a', 1), (34, 'b', 1), (35, 'c', -1) ON CONFLICT DO NOTHING;
INSERT INTO bill (id, owner) VALUES (33, 'a'), (34, 'b'), (33, 'c') ON CONFLICT (id) DO UPDATE SET owner = EXCLUDED.owner;
INSERT INTO bill (id, owner) VALUES (30, 'a'), (34, 'b'), (30, 'c') ON CONFLICT (id) DO UPDATE SET owner = EXCLUDED.owner;
INSERT INTO bill (id, owner) VALUES (30, 'a'), (34, 'b'), (30, 'c') ON CONFLICT (id) DO UPDATE SET owner = EXCLUDED.owner WHERE EXCLUDED.owner = 'c' RETURNING id, bill.owner;
SELECT id, owner FROM bill WHERE id >= 30 ORDER BY id;
DELETE FROM bill WHERE id = 34;
PREPARE two(int, int) AS INSERT INTO bill (id, owner) VALUES ($1, 'p'), ($2, 'q') RETURNING id, owner;
EXECUTE two(40, 41);
EXECUTE two(40, 42);
DEALLOCATE two;

-- update
UPDATE bill SET balance = balance - 1000 WHERE id = 1 AND balance >= 1000 RETURNING balance, twice;
UPDATE bill SET balance = balance - 1000 WHERE id = 1 AND balance >= 1000 RETURNING balance, twice;
UPDATE bill SET balance = balance - 1000 WHERE id = 1;
UPDATE bill SET balance = balance / (id - 1) WHERE id = 1;
UPDATE bill SET balance = balance + 1 WHERE id = 999;
UPDATE bill SET balance = balance + 1 WHERE id = NULL::int;
UPDATE bill SET balance = balance + 1 WHERE id = 10000000000;
UPDATE bill SET balance = balance + 1 WHERE 1::bigint = id RETURNING balance;
UPDATE bill SET balance = greatest(balance, 7) + coalesce(length(owner), 0), owner = upper(owner), note = '{"a": [1]}'
    WHERE id = 1 AND (owner LIKE 'a%' OR owner IS NULL) AND balance BETWEEN 1 AND 1000 AND owner IN ('ann', 'bob')
    RETURNING id, owner, balance, note;
UPDATE bill SET note = note || jsonb_build_object('by', current_user = session_user) WHERE id = 1 AND note ? 'a' RETURNING note;
UPDATE bill SET balance = CASE WHEN balance > 100 THEN 100 ELSE balance * random() * 0 END WHERE id = 1 RETURNING balance;
UPDATE bill SET owner = owner || ' and company' WHERE id = 1;
BEGIN;
UPDATE bill SET owner = DEFAULT, made = now() WHERE id = 12 AND made <= now() RETURNING made = now(), id;
ROLLBACK;
BEGIN;
UPDATE bill SET owner = 'me', made = now() - (id || ' days')::interval WHERE id = 12;
ROLLBACK;
UPDATE bill SET owner = 'me', made = '2021-01-01 00:00+00'::timestamptz WHERE id = 12 AND made <= now() RETURNING owner, id;

-- delete
DELETE FROM bill WHERE id = 12 AND balance > 5 RETURNING owner;
DELETE FROM bill WHERE id = 12 AND balance = 0 RETURNING owner, balance;
DELETE FROM bill WHERE id = 12;

-- EXPLAIN
EXPLAIN (COSTS OFF) UPDATE bill SET balance = balance - 1 WHERE id = 1 AND balance >= 1;
EXPLAIN (COSTS OFF, VERBOSE) DELETE FROM bill WHERE id = 3 RETURNING owner, id;
EXPLAIN (COSTS OFF) INSERT INTO bill (id, balance) VALUES (77, 1 + 1) ON CONFLICT DO NOTHING;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO bill (id, owner) VALUES (77, 'x') ON CONFLICT DO NOTHING;
EXPLAIN (COSTS OFF) INSERT INTO bill (id, balance) VALUES (77, 1) ON CONFLICT (id) DO UPDATE SET balance = bill.balance + EXCLUDED.balance WHERE bill.owner <> EXCLUDED.owner;
EXPLAIN (COSTS OFF) INSERT INTO bill (id, balance) VALUES (77, 1), (78, 2);
SELECT owner FROM bill WHERE id = 77;

-- prepared; the plan outlives what it was made for
PREPARE pay(int, numeric) AS UPDATE bill SET balance = balance + $2 WHERE id = $1 RETURNING id, balance;
EXECUTE pay(77, 1);
EXECUTE pay(77, 2.5);
EXECUTE pay(78, 2.5);
SET plan_cache_mode = force_generic_plan;
EXECUTE pay(77, 1);
EXPLAIN (COSTS OFF) EXECUTE pay(77, 1);
RESET plan_cache_mode;
CREATE INDEX bill_owner ON bill (owner);
EXECUTE pay(77, 1);
DEALLOCATE pay;

-- keys: other types, several columns
CREATE TABLE place (town varchar(4), street text, n numeric(4,1), PRIMARY KEY (town, street), UNIQUE (n)) USING paxos;
INSERT INTO place VALUES ('rome', 'via', 1.25) RETURNING n;
UPDATE place SET n = n + 1 WHERE town = 'rome' AND street = 'via' AND street = 'via' RETURNING *;
UPDATE place SET n = n + 1 WHERE town = 'rome and more' AND street = 'via';
UPDATE place SET n = n + 1 WHERE town = 'rome' AND street = 'via' AND street = 'no';
INSERT INTO place VALUES ('bonn', 'weg', 2.3);
INSERT INTO place VALUES ('bonn', 'weg', 2.3) ON CONFLICT (town, street) DO NOTHING;
CREATE TABLE price (amount numeric(5,2) PRIMARY KEY, what text) USING paxos;
INSERT INTO price VALUES (1.004, 'x');

-- not of this form: ordinary PostgreSQL, and a write set
\set ON_ERROR_ROLLBACK on
CREATE FUNCTION own(numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
BEGIN;
INSERT INTO place VALUES ('bonn', 'weg', 2.3) ON CONFLICT DO NOTHING;
INSERT INTO place VALUES ('bonn', 'weg', 2.3) ON CONFLICT (n) DO NOTHING;
INSERT INTO place VALUES ('bonn', 'x', 5) ON CONFLICT (n) DO UPDATE SET n = 1;
INSERT INTO place VALUES ('bonn', 'x', 5) ON CONFLICT (town, street) DO UPDATE SET town = 'x';
INSERT INTO place VALUES ('bonn', 'x', 5) ON CONFLICT (town, street) DO UPDATE SET n = (SELECT 1);
INSERT INTO place VALUES ('a', 'x', 5), ('b', 'x', (SELECT 1));
INSERT INTO place SELECT 'a', 'x', 5;
INSERT INTO place VALUES ('a', 'x', (SELECT count(*) FROM bill));
INSERT INTO place VALUES ('a', 'x', 5) RETURNING 1 / n;
\set VERBOSITY default
UPDATE price SET what = 'y' WHERE amount = 1.004;
\set VERBOSITY terse
UPDATE bill SET balance = 0;
UPDATE bill SET balance = 0 WHERE owner = 'ann';
UPDATE bill SET balance = 0 WHERE id IN (1, 2);
UPDATE bill SET balance = 0 WHERE id = 1 OR id = 2;
UPDATE bill SET balance = 0 WHERE id = 1.0;
UPDATE bill SET balance = 0 WHERE id = (random() * 0)::int + 1;
UPDATE bill SET id = 5 WHERE id = 1;
UPDATE bill SET made = made + interval '1 day' WHERE id = 1;
EXPLAIN (COSTS OFF) UPDATE bill SET owner = repeat(owner, 100000000) WHERE id = 1;
UPDATE bill SET balance = 0 FROM place WHERE id = 1;
UPDATE bill SET balance = 0 WHERE id = 1 AND ctid = '(0,1)';
UPDATE bill SET balance = 0 WHERE id = 1 AND EXISTS (SELECT FROM place);
WITH x AS (SELECT 1) UPDATE bill SET balance = 0 WHERE id = 1;
DELETE FROM bill USING place WHERE id = 1;
UPDATE bill SET balance = own(balance) WHERE id = 1;
ROLLBACK;
\set ON_ERROR_ROLLBACK off
UPDATE bill SET balance = own(3) WHERE id = 1 RETURNING balance;

-- not of this form either
\set VERBOSITY default
UPDATE bill SET made = made + interval '1 day' WHERE id = 1;
UPDATE bill SET note = to_jsonb(made) WHERE id = 1;
UPDATE bill SET owner = made::text WHERE id = 1;
UPDATE bill SET owner = own(id) WHERE id = 1;
UPDATE bill SET owner = repeat(owner, id) WHERE id = 1;
UPDATE bill SET balance = pg_backend_pid() * setseed(0.5)::text::int WHERE id = 1;
UPDATE bill SET balance = CASE WHEN balance > 0 THEN nextval('bill_id_seq') ELSE 0 END WHERE id = 1;
UPDATE bill SET owner = coalesce(owner, current_setting('no.such')) WHERE id = 1;
UPDATE bill SET balance = 1 WHERE id = 1 AND tableoid = 'bill'::regclass;
INSERT INTO bill VALUES (15, 'x') RETURNING id + 1;
CREATE FUNCTION writing() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO ordinary VALUES (1); RETURN 1; END';
INSERT INTO bill VALUES (writing(), 'x');
INSERT INTO bill VALUES (15, 'x'), (writing(), 'x');
INSERT INTO bill VALUES (15, 'x') ON CONFLICT (id) DO UPDATE SET balance = writing();
\set VERBOSITY terse
DROP FUNCTION writing;
-- settled where they are issued
UPDATE bill SET made = coalesce(made, now()), owner = CASE owner WHEN upper(owner) THEN current_user ELSE owner END, note = to_jsonb(current_setting('work_mem') IS NULL)
    WHERE id = 77 AND current_setting('work_mem') IS NOT NULL AND random() >= 0;
SELECT owner, note FROM bill WHERE id = 77;
UPDATE bill SET balance = 1 WHERE id = 1 AND false;
UPDATE bill SET balance = nextval('bill_id_seq') * 0 + 5.5 WHERE id = 77 RETURNING balance;

-- not a statement of its own
\set VERBOSITY default
BEGIN;
UPDATE bill SET balance = 1 WHERE id = 1;
ROLLBACK;
\set VERBOSITY terse
UPDATE bill SET balance = 1 WHERE id = 1 \; SELECT 1;
DO $$ BEGIN UPDATE bill SET balance = 1 WHERE id = 1; END $$;
CREATE FUNCTION in_plpgsql() RETURNS void LANGUAGE plpgsql AS 'BEGIN UPDATE bill SET balance = 1 WHERE id = 1; END';
SELECT in_plpgsql();
CREATE FUNCTION in_cursor() RETURNS int LANGUAGE plpgsql AS
    'DECLARE r record; BEGIN FOR r IN UPDATE bill SET balance = 1 WHERE id = 1 RETURNING id LOOP RETURN r.id; END LOOP; END';
SELECT in_cursor();
CREATE FUNCTION in_sql() RETURNS int LANGUAGE sql AS 'UPDATE bill SET balance = 1 WHERE id = 1 RETURNING id';
SELECT in_sql();
CREATE PROCEDURE in_procedure() LANGUAGE plpgsql AS 'BEGIN COMMIT; UPDATE bill SET balance = 1 WHERE id = 1; END';
CALL in_procedure();
CREATE TABLE ordinary_one (id int);
CREATE FUNCTION in_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE bill SET balance = 1 WHERE id = 1; RETURN NULL; END';
CREATE TRIGGER after_one AFTER INSERT ON ordinary_one FOR EACH ROW EXECUTE FUNCTION in_trigger();
INSERT INTO ordinary_one VALUES (1);
BEGIN;
WITH gone AS (DELETE FROM bill WHERE id = 1 RETURNING *) SELECT count(*) FROM gone;
ROLLBACK;
SET default_transaction_read_only = on;
UPDATE bill SET balance = 1 WHERE id = 1;
RESET default_transaction_read_only;
SELECT id, owner, balance FROM bill ORDER BY id;

-- privileges are the caller's
CREATE ROLE regress_paxos_teller;
GRANT UPDATE (balance) ON bill TO regress_paxos_teller;
SET ROLE regress_paxos_teller;
UPDATE bill SET balance = 1 WHERE id = 1;
UPDATE bill SET balance = balance + 1 WHERE id = 1;
INSERT INTO bill VALUES (20, 'x');
DELETE FROM bill WHERE id = 1;
RESET ROLE;
GRANT SELECT (id) ON bill TO regress_paxos_teller;
SET ROLE regress_paxos_teller;
UPDATE bill SET balance = 1 WHERE id = 1 RETURNING id;
UPDATE bill SET balance = 1 WHERE id = 1 RETURNING balance;
-- no DETAIL for one who may not read the row
\set VERBOSITY default
UPDATE bill SET balance = -1 WHERE id = 1;
\set VERBOSITY terse
UPDATE bill SET owner = 'x' WHERE id = 1;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION abs(numeric) FROM PUBLIC;
GRANT SELECT (balance) ON bill TO regress_paxos_teller;
SET ROLE regress_paxos_teller;
UPDATE bill SET balance = abs(balance) WHERE id = 1;
RESET ROLE;
GRANT EXECUTE ON FUNCTION abs(numeric) TO PUBLIC;

-- settings of the session do not change what comes back
CREATE TABLE shaped (id int PRIMARY KEY, a text[], t timestamptz, i interval, b bytea, d double precision) USING paxos;
SET array_nulls = off;
SET xmloption = document;
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET bytea_output = 'escape';
SET extra_float_digits = -5;
SET TimeZone = 'Asia/Kolkata';
INSERT INTO shaped VALUES (1, ARRAY['a', NULL, 'NULL'], '2020-02-03 04:05:06+00', '-1 day -2 hours', '\\x00ff', 0.1::float8 + 0.2) RETURNING *, 1;
UPDATE shaped SET a = array_append(a, NULL), i = i * 2, d = d + 0 WHERE id = 1 AND t = '03/02/2020 09:35:06' RETURNING *;
RESET ALL;
SELECT a, i, t AT TIME ZONE 'UTC', b, d = 0.1::float8 + 0.2 FROM shaped;
DROP TABLE shaped;

-- a text that doubles does not stop the learner
CREATE TABLE growing (id int PRIMARY KEY, v text) USING paxos;
INSERT INTO growing VALUES (1, repeat('x', 900000));
UPDATE growing SET v = v || v || v || v || v || v || v || v || v || v WHERE id = 1;
UPDATE growing SET v = v || v WHERE id = 1;
EXPLAIN (COSTS OFF) UPDATE growing SET v = 'small' WHERE id = 1 AND length(replace(v, 'x', v)) > 0;
SELECT length(v) FROM growing;
DROP TABLE growing;

DROP TABLE bill;
DROP TABLE place;
DROP TABLE price;
DROP TABLE ordinary_one;
DROP FUNCTION own, in_plpgsql, in_cursor, in_sql, in_trigger;
DROP PROCEDURE in_procedure;
DROP ROLE regress_paxos_teller;
