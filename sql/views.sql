-- What operators see.
SELECT paxos_barrier() > 0 AS reached;
SELECT state, why IS NULL AS fine, cluster_id IS NOT NULL AS cluster, node_id, voters, voter, role, ready, leader,
       ballot_text ~ '^\d+\.1$' AS ballot, (ballot >> 16) || '.' || (ballot & 65535) = ballot_text AS same,
       promised = ballot_text AS promised, incarnation > 0 AS incarnation,
       chosen >= applied AS chosen, applied >= durable AS durable, truncated < applied AS truncated,
       lag_slots, length(digest) AS digest, log_time <= clock_timestamp() AS log_time, learner_running, stuck, stuck_slot, stuck_why
    FROM paxos.status;
SELECT node_id, voter, self, role, connected, open, last_contact <= clock_timestamp() AS contact, rtt_ms > 0 AS rtt,
       applied = (SELECT applied FROM paxos.status) AS applied, last_error
    FROM paxos.members;
SELECT * FROM paxos.alarms;
-- a counter moves by what is done
CREATE TEMP TABLE before USING heap AS SELECT * FROM paxos.stats;
SELECT applied FROM paxos_kv_put('k', '1');
SELECT applied FROM paxos_kv_cas('k', '2', '3');
SELECT paxos_update_if('paxos.kv', '{"key": "k"}', '{"value": null}', '{}');
SELECT paxos_kv_get('k');
SELECT s.proposals - b.proposals >= 3 AS proposals, s.chosen - b.chosen >= 3 AS chosen,
       s.applied_slots - b.applied_slots >= 3 AS slots, s.applied_commands - b.applied_commands AS commands,
       s.conditions_not_met - b.conditions_not_met AS conditions, s.command_errors - b.command_errors AS errors,
       s.unknown_outcomes, s.read_indexes - b.read_indexes AS reads, s.writes - b.writes AS writes,
       s.elections_started > 0 AS elections, s.elections_won > 0 AS won, s.fetched_entries,
       s.write_p50_ms > 0 AS p50, s.write_p99_ms >= s.write_p50_ms AS p99, s.accepts > 0 AS accepts,
       s.flushes > 0 AS flushes, s.applies > 0 AS applies, s.batches > 0 AS batches, s.batch_mean_commands > 0 AS mean
    FROM paxos.stats s, before b;
-- the log, readable
CREATE TABLE vt (a int, b text, PRIMARY KEY (a, b)) USING paxos;
SELECT applied FROM paxos_insert_if_not_exists('vt', '{"a": 1, "b": "x"}', '33333333-0000-0000-0000-000000000001');
SELECT applied FROM paxos_delete_if('vt', '{"a": 1, "b": "x"}', '{"b": "x"}');
SELECT applied FROM paxos_kv_delete('k');
SELECT kind, chosen, ballot ~ '^\d+\.1$' AS ballot, origins ~ '^1/\d+/\d+$' AS origins,
       commands, bytes > 0 AS bytes, log_time IS NOT NULL AS log_time,
       regexp_replace(description, '^(CREATE.*)\[.*\]$', '\1[request id]') AS description
    FROM paxos.log ORDER BY slot DESC LIMIT 4;
SELECT kind, description FROM paxos.log_entries(1, 1);
SELECT count(*) = (SELECT chosen - truncated FROM paxos.status) AS all FROM paxos.log WHERE chosen;
SELECT count(*) FROM paxos.log_entries(5, 8);
SELECT count(*) FROM paxos.log_entries(-5, 0);
DROP TABLE vt;
SELECT description LIKE 'insert table %' AS by_number FROM paxos.log WHERE description LIKE '%33333333-0000-0000-0000-000000000001%';
-- everything has a comment
SELECT c.oid::regclass, a.attname
    FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'paxos_ext') AND d.deptype = 'e' AND c.relkind IN ('r', 'v', 'c')
      AND col_description(c.oid, a.attnum) IS NULL;
SELECT pg_describe_object(d.classid, d.objid, 0)
    FROM pg_depend d
    WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'paxos_ext') AND d.deptype = 'e'
      AND obj_description(d.objid, d.classid::regclass::name) IS NULL
      AND NOT (d.classid = 'pg_type'::regclass AND (SELECT typtype FROM pg_type WHERE oid = d.objid) = 'b')
      AND NOT (d.classid = 'pg_type'::regclass AND (SELECT relkind FROM pg_class WHERE oid = (SELECT typrelid FROM pg_type WHERE oid = d.objid)) IN ('r', 'v'))
    ORDER BY 1;
-- and nothing internal is open to everyone
SELECT p.oid::regprocedure FROM pg_proc p
    WHERE pronamespace = 'paxos'::regnamespace AND has_function_privilege('pg_monitor', p.oid, 'EXECUTE') ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c
    WHERE relnamespace = 'paxos'::regnamespace AND relkind IN ('r', 'v')
      AND has_table_privilege('pg_monitor', c.oid, 'SELECT, INSERT, UPDATE, DELETE') ORDER BY 1;
