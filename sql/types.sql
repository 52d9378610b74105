-- Values mean the same whatever the session has set.
\set SHOW_CONTEXT never
CREATE TABLE kinds (
    id  int PRIMARY KEY,
    b   boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric,
    c   char(5), vc varchar(5), t text, tc text COLLATE "C",
    d   date, ts timestamp, tz timestamptz, tm time, iv interval,
    u   uuid, by bytea, j json, jb jsonb, x xml,
    ia  int[], ta text[], ja jsonb[],
    r   int4range, ip inet, p point, bits bit varying(8)
) USING paxos;
-- (The detail is another in PostgreSQL 17.)
\set VERBOSITY terse
SELECT applied FROM paxos_insert_if_not_exists('kinds', '{
    "id": 1, "b": true, "i2": -5, "i8": 9007199254740993, "f4": 0.1, "f8": 0.30000000000000004, "n": 1.500,
    "c": "ab", "vc": "abc", "t": "it''s \"q\" \\ \t", "tc": "z",
    "d": "2026-02-03", "ts": "2026-02-03 04:05:06.789", "tz": "2026-02-03 04:05:06+07", "tm": "04:05",
    "iv": "1 mon -2 days 03:00", "u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "by": "\\x00ff",
    "j": {"b": 1, "a": [1, "x"]}, "jb": [null, 1.0, "s"], "x": "<a/>",
    "ia": [1, null, [2]], "ta": [], "ja": [{"k": 1}, "s", null], "r": "[1,5)", "ip": "10.0.0.1/8", "p": "(1,2)", "bits": "101"}');
\set VERBOSITY default
SELECT applied FROM paxos_insert_if_not_exists('kinds', '{
    "id": 1, "b": true, "i2": -5, "i8": 9007199254740993, "f4": 0.1, "f8": 0.30000000000000004, "n": 1.500,
    "c": "ab", "vc": "abc", "t": "it''s \"q\" \\ \t", "tc": "z",
    "d": "2026-02-03", "ts": "2026-02-03 04:05:06.789", "tz": "2026-02-03 04:05:06+07", "tm": "04:05",
    "iv": "1 mon -2 days 03:00", "u": "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "by": "\\x00ff",
    "j": {"b": 1, "a": [1, "x"]}, "jb": [null, 1.0, "s"], "x": "<a/>",
    "ia": [1, null, 2], "ta": ["a b", "", "q\"\\,{}", null, "NULL"], "ja": [{"k": 1}, "s", null],
    "r": "[1,5)", "ip": "10.0.0.1/8", "p": "(1,2)", "bits": "101"}');
SET TimeZone = 'UTC';
SELECT id, b, i2, i8, f4, f8, n, c || '|' AS c, vc, t, tc, d, ts, tz, tm, iv FROM kinds \gx
SELECT u, by, j, jb, x, ia, ta, ja, r, ip, p, bits FROM kinds \gx

-- input is read as the session reads it, and travels as it is meant
SET DateStyle = 'SQL, DMY';
SET TimeZone = 'America/New_York';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -5;
SET bytea_output = 'escape';
SELECT applied FROM paxos_update_if('kinds', '{"id": 1}',
    '{"d": "03/02/2020", "ts": "03/02/2020 10:00", "tz": "03/02/2020 10:00", "iv": "-1 2:03:04", "f8": 0.1234567890123456, "by": "abc"}',
    '{"d": "03/02/2026"}');
SHOW DateStyle;
SHOW TimeZone;
RESET ALL;
SET TimeZone = 'UTC';
SELECT d, ts, tz, iv, f8, by FROM kinds;
-- conditions on them
SET TimeZone = 'Asia/Tokyo';
SELECT applied FROM paxos_update_if('kinds', '{"id": 1}', '{"iv +=": "1 day", "i8 -=": 1, "f8 +=": 1}',
    '{"tz": "2020-02-04 00:00:00", "d <": "2020-02-04", "by": "abc", "ia": [1, null, 2], "jb": [null, 1, "s"], "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "r <>": "[1,6)"}');
SET TimeZone = 'UTC';
SELECT iv, i8, f8 FROM kinds;
-- what the type does not take, or cannot do
\set VERBOSITY terse
SELECT paxos_update_if('kinds', '{"id": 1}', '{"vc": "abcdef"}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"i2": 40000}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"i2 +=": 32767, "b": "maybe"}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"i2 -=": 32767}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"d": "2020-13-01"}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"d -=": "2020-01-01"}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"t": {"a": 1}}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"ia": [1, {"a": 1}]}', '{}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"b": false}', '{"j": {}}');
SELECT paxos_update_if('kinds', '{"id": 1}', '{"b": false}', '{"p": "(1,2)"}');
SELECT b, i2, vc FROM kinds;
\set VERBOSITY default

-- types that do not mean the same on every node
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TYPE pair AS (a int, b int);
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TABLE bad (id int PRIMARY KEY, x mood) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x mood[]) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x pair) USING paxos;
CREATE TABLE bad (id posint PRIMARY KEY) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x regclass) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x regrole[]) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x money) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x aclitem) USING paxos;
CREATE TABLE bad (id int PRIMARY KEY, x information_schema.cardinal_number) USING paxos;
DROP TYPE mood, pair;
DROP DOMAIN posint;
