-- Key-value
\set SHOW_CONTEXT never
SELECT applied, existed, slot > 0 AS slot, previous, current FROM paxos_kv_put('color', '"red"');
SELECT applied, existed, previous, current FROM paxos_kv_put('color', '"green"');
SELECT paxos_kv_get('color');
SELECT paxos_kv_get('nosuch') IS NULL AS missing;
SELECT paxos_kv_get(NULL) IS NULL AS missing;
SELECT applied, current FROM paxos_kv_cas('color', '"red"', '"blue"');
SELECT applied, current FROM paxos_kv_cas('color', '"green"', '"blue"');
SELECT applied, existed, current FROM paxos_kv_cas('color', NULL, '"white"');
SELECT applied, existed, current FROM paxos_kv_cas('shape', NULL, '{"sides": 3, "of": [1, 2.50]}');
SELECT applied FROM paxos_kv_cas('shape', '{"of": [1, 2.5], "sides": 3.0}', '{"sides": 4}');
SELECT applied, current FROM paxos_kv_cas('shape', '{"sides": 3}', NULL);
SELECT applied, previous, current FROM paxos_kv_cas('shape', '{"sides": 4}', NULL);
SELECT applied, existed FROM paxos_kv_delete('color', '"red"');
SELECT applied, existed, previous FROM paxos_kv_delete('color', '"blue"');
SELECT applied, existed FROM paxos_kv_delete('color');
SELECT applied FROM paxos_kv_put('null', 'null');
SELECT paxos_kv_get('null');
SELECT applied FROM paxos_kv_cas('null', 'null', '1');
SELECT applied, existed FROM paxos_kv_delete('null');
SELECT applied FROM paxos_kv_put('', '""');
SELECT * FROM paxos.kv WHERE key = '';
SELECT applied FROM paxos_kv_delete('');
-- errors
SELECT paxos_kv_put(NULL, '1');
SELECT paxos_kv_put('a', NULL);
SELECT paxos_kv_cas('a', NULL, NULL);
SELECT paxos_kv_delete(NULL);
\set VERBOSITY terse
SELECT paxos_kv_put((SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g), '1');
\set VERBOSITY default
-- the table's own rules
SELECT applied, current FROM paxos_upsert('paxos.kv', '{"key": "t", "value": {"a": null}}');
SELECT applied, current FROM paxos_update_if('paxos.kv', '{"key": "t"}', '{"value": [1]}', '{"value": {"a": null}}');
SELECT paxos_upsert('paxos.kv', '{"key": "t", "value": null}');
DROP TABLE paxos.kv;
CREATE INDEX ON paxos.kv (value);
ALTER TABLE paxos.kv ADD COLUMN x int;
SELECT count(*) FROM pg_extension WHERE 'paxos.kv'::regclass::oid = ANY (extconfig);
SELECT applied FROM paxos_kv_delete('t');
SELECT * FROM paxos.kv;
