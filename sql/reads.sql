-- paxos.read_consistency: which statements wait, and when.  On a node alone each wait takes
-- one read index.
CREATE TABLE read_t (id int PRIMARY KEY, v int) USING paxos;
INSERT INTO read_t SELECT i, i FROM generate_series(1, 3) i;
CREATE TABLE read_parent (id int PRIMARY KEY) USING paxos;
INSERT INTO read_parent VALUES (8);
CREATE TABLE read_child (id int PRIMARY KEY, p int REFERENCES read_parent) USING paxos;
CREATE TABLE read_local (id int) USING heap;
INSERT INTO read_local VALUES (1);
CREATE FUNCTION read_stable() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM read_t); END';
CREATE FUNCTION read_volatile() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM read_t); END';
CREATE FUNCTION read_twice() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN read_volatile() + (SELECT count(*) FROM read_t); END';
SHOW paxos.read_consistency;
SET paxos.read_consistency = 'newest';
\set VERBOSITY sqlstate
SET paxos.max_staleness = -1;
\set VERBOSITY default
SET paxos.session_token = 'x';
SET paxos.session_token = '0:0';
-- local: none
SELECT read_indexes AS before FROM paxos.stats \gset
SELECT count(*) FROM read_t;
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM read_t; COMMIT;
SELECT read_indexes - :before AS waits FROM paxos.stats;

SET paxos.read_consistency = linearizable;
-- one each
SELECT read_indexes AS before FROM paxos.stats \gset
SELECT count(*) FROM read_t;
SELECT read_indexes - :before AS waits FROM paxos.stats;
SELECT count(*) FROM read_local l, LATERAL (SELECT count(*) FROM read_t t WHERE t.id = l.id) x;
SELECT read_indexes - :before AS waits FROM paxos.stats;
SELECT read_stable(), read_stable() FROM read_t;
SELECT read_indexes - :before AS waits FROM paxos.stats;
SELECT read_stable() FROM read_local;
SELECT read_indexes - :before AS waits FROM paxos.stats;
SELECT read_volatile();
SELECT read_indexes - :before AS waits FROM paxos.stats;
COPY read_t TO STDOUT;
SELECT read_indexes - :before AS waits FROM paxos.stats;
UPDATE read_t SET v = v + 1 WHERE v > 2;
SELECT read_indexes - :before AS waits FROM paxos.stats;
INSERT INTO read_t SELECT 4, v FROM read_t WHERE id = 1;
SELECT read_indexes - :before AS waits FROM paxos.stats;
BEGIN; INSERT INTO read_t VALUES (4, 4) ON CONFLICT DO NOTHING; COMMIT;
SELECT read_indexes - :before AS waits FROM paxos.stats;
EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM read_t;
SELECT read_indexes - :before AS waits FROM paxos.stats;
-- of two queries two
SELECT read_twice();
SELECT read_indexes - :before AS waits FROM paxos.stats;
-- of a cursor one
BEGIN; DECLARE c CURSOR FOR SELECT id FROM read_t ORDER BY id; FETCH c; FETCH 2 FROM c; COMMIT;
SELECT read_indexes - :before AS waits FROM paxos.stats;
-- of a transaction with one snapshot one
BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM read_t; SELECT read_volatile(); SELECT count(*) FROM read_t; COMMIT;
SELECT read_indexes - :before AS waits FROM paxos.stats;
-- none: decided at its slot; reads nothing but what a foreign key refers to; not executed; other tables
SELECT read_indexes AS before FROM paxos.stats \gset
UPDATE read_t SET v = v + 1 WHERE id = 1;
INSERT INTO read_t VALUES (5, 5) RETURNING id;
INSERT INTO read_t VALUES (6, 6), (7, 7) ON CONFLICT DO NOTHING;
DELETE FROM read_t WHERE id = 7;
BEGIN; INSERT INTO read_t VALUES (8, 8); COMMIT;
INSERT INTO read_child VALUES (1, 8);
EXPLAIN (COSTS off) SELECT * FROM read_t;
SELECT count(*) FROM read_local;
BEGIN; SELECT count(*) FROM read_local; SAVEPOINT a; COMMIT;
PREPARE p AS SELECT count(*) FROM read_t;
SELECT applied FROM paxos_update_if('read_t', '{"id": 1}', '{"v": 0}', '{}');
SELECT read_indexes - :before AS waits FROM paxos.stats;
DEALLOCATE p;
-- what a transaction sees it goes on seeing; what it wrote, too
BEGIN; UPDATE read_t SET v = 100 WHERE v = 5; SELECT v FROM read_t WHERE id = 5; ROLLBACK;
SELECT v FROM read_t WHERE id = 5;
-- a snapshot of before
BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL paxos.read_consistency = local;
SELECT count(*) FROM read_local;
SET LOCAL paxos.read_consistency = linearizable;
SELECT count(*) > 0 AS shows_enough FROM read_t;
COMMIT;
-- a token
SET paxos.read_consistency = session;
SELECT paxos_session_token() AS token \gset
SET paxos.session_token = :'token';
SELECT count(*) FROM read_t;
SELECT paxos_session_token() = :'token' AS same;
SELECT split_part(:'token', ':', 2)::bigint >= applied AS applied FROM paxos.status;
SET paxos.session_token = '00000001:1';
SELECT count(*) FROM read_t;
RESET paxos.session_token;
-- within the bound one read index is enough
SET paxos.read_consistency = bounded;
SET paxos.max_staleness = '1h';
SELECT read_indexes AS before FROM paxos.stats \gset
SELECT count(*) FROM read_t;
SELECT count(*) FROM read_t;
SELECT read_indexes - :before AS waits FROM paxos.stats;
SET paxos.max_staleness = 0;
SELECT count(*) FROM read_t;
SELECT count(*) FROM read_t;
SELECT read_indexes - :before AS waits FROM paxos.stats;
RESET paxos.max_staleness;
RESET paxos.read_consistency;
DROP FUNCTION read_twice(), read_volatile(), read_stable();
DROP TABLE read_local;
DROP TABLE read_child;
DROP TABLE read_parent;
DROP TABLE read_t;
