-- 50-status.sql
--    Views for operators.  Everyone may see how the node is; what the log says
--    about rows only those who may read all data, or whom it is granted to.

CREATE FUNCTION paxos.node_status(
    OUT state text, OUT why text, OUT cluster_id uuid, OUT node_id int, OUT voters int,
    OUT voter boolean, OUT role text, OUT ready boolean, OUT leader int,
    OUT ballot bigint, OUT ballot_text text, OUT promised text, OUT incarnation bigint,
    OUT chosen bigint, OUT applied bigint, OUT durable bigint, OUT truncated bigint,
    OUT lag_slots bigint, OUT digest text, OUT log_time timestamptz,
    OUT learner_running boolean, OUT stuck boolean, OUT stuck_slot bigint, OUT stuck_why text,
    OUT log_bytes bigint, OUT protocol_version int, OUT protocol_speaks int)
    LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'paxos_status';
COMMENT ON FUNCTION paxos.node_status() IS 'behind the view paxos.status';

CREATE VIEW paxos.status AS SELECT * FROM paxos.node_status();
GRANT SELECT ON paxos.status TO PUBLIC;
COMMENT ON VIEW paxos.status IS 'this node: its place in the cluster, its role, how far it is';
COMMENT ON COLUMN paxos.status.state IS 'starting, no extension, no cluster, forming, joining, member, fenced, or removed';
COMMENT ON COLUMN paxos.status.why IS 'why it is fenced';
COMMENT ON COLUMN paxos.status.cluster_id IS 'the cluster it belongs to';
COMMENT ON COLUMN paxos.status.node_id IS 'its number in the cluster';
COMMENT ON COLUMN paxos.status.voters IS 'voters of the governing configuration';
COMMENT ON COLUMN paxos.status.voter IS 'is this node one of them';
COMMENT ON COLUMN paxos.status.role IS 'of its proposer: follower, precandidate, catching up, candidate, recovering, leader, handing over; or not running';
COMMENT ON COLUMN paxos.status.ready IS 'it leads and serves';
COMMENT ON COLUMN paxos.status.leader IS 'node that leads, as far as this one knows';
COMMENT ON COLUMN paxos.status.ballot IS 'its own ballot while it stands or leads, else the highest promised; round * 65536 + node';
COMMENT ON COLUMN paxos.status.ballot_text IS 'the same, written round.node';
COMMENT ON COLUMN paxos.status.promised IS 'highest ballot its acceptor has promised, written round.node';
COMMENT ON COLUMN paxos.status.incarnation IS 'raised at every start of its proposer';
COMMENT ON COLUMN paxos.status.chosen IS 'every slot up to it is known chosen here';
COMMENT ON COLUMN paxos.status.applied IS 'every slot up to it has changed the tables of this node';
COMMENT ON COLUMN paxos.status.durable IS 'every slot up to it has done so and is flushed';
COMMENT ON COLUMN paxos.status.truncated IS 'every slot up to it has left the log of this node';
COMMENT ON COLUMN paxos.status.lag_slots IS 'slots known chosen and not applied yet';
COMMENT ON COLUMN paxos.status.digest IS 'running digest of all effects; equal on all nodes at equal applied';
COMMENT ON COLUMN paxos.status.log_time IS 'the leader''s stamp on the last value applied here';
COMMENT ON COLUMN paxos.status.learner_running IS 'is the learner process there';
COMMENT ON COLUMN paxos.status.stuck IS 'the learner cannot apply a slot for reasons of this node and tries again';
COMMENT ON COLUMN paxos.status.stuck_slot IS 'which slot';
COMMENT ON COLUMN paxos.status.stuck_why IS 'the error';
COMMENT ON COLUMN paxos.status.log_bytes IS 'what the log of this node takes on disk';
COMMENT ON COLUMN paxos.status.protocol_version IS 'version of messages and log entries in use: the highest that every member speaks';
COMMENT ON COLUMN paxos.status.protocol_speaks IS 'highest version that this node''s library speaks';

-- Names are in a table that not everybody may read.
CREATE FUNCTION paxos.member_status(
    OUT node_id int, OUT name text, OUT voter boolean, OUT self boolean, OUT role text,
    OUT connected boolean, OUT open boolean, OUT last_contact timestamptz,
    OUT rtt_ms double precision, OUT applied bigint, OUT durable bigint, OUT next bigint,
    OUT last_error text, OUT protocol_speaks int)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog
    AS 'MODULE_PATHNAME', 'paxos_members';
COMMENT ON FUNCTION paxos.member_status() IS 'behind the view paxos.members';

CREATE VIEW paxos.members AS SELECT * FROM paxos.member_status();
GRANT SELECT ON paxos.members TO PUBLIC;
COMMENT ON VIEW paxos.members IS 'members of the cluster as this node''s proposer sees them; applied and next of others are news on the leader only';
COMMENT ON COLUMN paxos.members.node_id IS 'the member''s number';
COMMENT ON COLUMN paxos.members.name IS 'its name';
COMMENT ON COLUMN paxos.members.voter IS 'does it count for majorities';
COMMENT ON COLUMN paxos.members.self IS 'is it this node';
COMMENT ON COLUMN paxos.members.role IS 'leader, follower, joining (gets its vote when it has caught up) or (not voting) learner, as far as this node knows; of itself its proposer''s role';
COMMENT ON COLUMN paxos.members.connected IS 'this node''s proposer has a connection to its acceptor';
COMMENT ON COLUMN paxos.members.open IS 'and, leading or standing, an open stream';
COMMENT ON COLUMN paxos.members.last_contact IS 'its last answer';
COMMENT ON COLUMN paxos.members.rtt_ms IS 'time from the last answered Accept to its answer, flush included';
COMMENT ON COLUMN paxos.members.applied IS 'as it last told';
COMMENT ON COLUMN paxos.members.durable IS 'applied and flushed, as it last told';
COMMENT ON COLUMN paxos.members.next IS 'slot its acceptor expects next in the open stream';
COMMENT ON COLUMN paxos.members.last_error IS 'why there is no connection; for members of pg_read_all_stats';
COMMENT ON COLUMN paxos.members.protocol_speaks IS 'highest protocol version it was last heard to speak; null: not heard yet';

CREATE FUNCTION paxos.log_entries(
    first bigint DEFAULT NULL, last bigint DEFAULT NULL,
    OUT slot bigint, OUT ballot text, OUT chosen boolean, OUT kind text,
    OUT log_time timestamptz, OUT origins text, OUT commands int, OUT bytes int,
    OUT description text)
    RETURNS SETOF record
    LANGUAGE C VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog
    AS 'MODULE_PATHNAME', 'paxos_log_entries';
REVOKE ALL ON FUNCTION paxos.log_entries(bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.log_entries(bigint, bigint) TO pg_read_all_data;
COMMENT ON FUNCTION paxos.log_entries(bigint, bigint) IS 'the log of this node between two slots, readable';

CREATE VIEW paxos.log AS SELECT * FROM paxos.log_entries();
REVOKE ALL ON paxos.log FROM PUBLIC;
GRANT SELECT ON paxos.log TO pg_read_all_data;
COMMENT ON VIEW paxos.log IS 'the log of this node, readable';
COMMENT ON COLUMN paxos.log.slot IS 'position in the log';
COMMENT ON COLUMN paxos.log.ballot IS 'in which this node accepted the value, written round.node';
COMMENT ON COLUMN paxos.log.chosen IS 'is it known chosen here; if not, it may yet be replaced';
COMMENT ON COLUMN paxos.log.kind IS 'commands, no-op or configuration';
COMMENT ON COLUMN paxos.log.log_time IS 'the leader''s stamp';
COMMENT ON COLUMN paxos.log.origins IS 'origin batches: node/incarnation/sequence';
COMMENT ON COLUMN paxos.log.commands IS 'number of commands';
COMMENT ON COLUMN paxos.log.bytes IS 'size of the value';
COMMENT ON COLUMN paxos.log.description IS 'the first commands in words: verb, table, key';

CREATE FUNCTION paxos.node_stats(
    OUT proposals bigint, OUT chosen bigint, OUT applied_slots bigint, OUT applied_commands bigint,
    OUT conditions_not_met bigint, OUT command_errors bigint, OUT unknown_outcomes bigint,
    OUT read_indexes bigint, OUT lease_reads bigint, OUT elections_started bigint, OUT elections_won bigint,
    OUT batches_resent bigint, OUT gaps_seen bigint, OUT apply_retries bigint,
    OUT fetched_entries bigint,
    OUT writes bigint, OUT write_mean_ms double precision, OUT write_p50_ms double precision,
    OUT write_p95_ms double precision, OUT write_p99_ms double precision,
    OUT accepts bigint, OUT accept_mean_ms double precision, OUT accept_p50_ms double precision,
    OUT accept_p95_ms double precision, OUT accept_p99_ms double precision,
    OUT flushes bigint, OUT flush_mean_ms double precision, OUT flush_p50_ms double precision,
    OUT flush_p95_ms double precision, OUT flush_p99_ms double precision,
    OUT applies bigint, OUT apply_mean_ms double precision, OUT apply_p50_ms double precision,
    OUT apply_p95_ms double precision, OUT apply_p99_ms double precision,
    OUT batches bigint, OUT batch_mean_commands double precision,
    OUT batch_p50_commands double precision, OUT batch_p95_commands double precision,
    OUT batch_p99_commands double precision,
    OUT queue_cells bigint, OUT queue_bytes bigint)
    LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'paxos_stats';
COMMENT ON FUNCTION paxos.node_stats() IS 'behind the view paxos.stats';

CREATE VIEW paxos.stats AS SELECT * FROM paxos.node_stats();
GRANT SELECT ON paxos.stats TO PUBLIC;
COMMENT ON VIEW paxos.stats IS 'counted on this node since its server started; percentiles are right within a factor of two';
COMMENT ON COLUMN paxos.stats.proposals IS 'slots this node proposed a value for as leader';
COMMENT ON COLUMN paxos.stats.chosen IS 'of those, chosen';
COMMENT ON COLUMN paxos.stats.applied_slots IS 'slots its learner applied';
COMMENT ON COLUMN paxos.stats.applied_commands IS 'commands in them';
COMMENT ON COLUMN paxos.stats.conditions_not_met IS 'of those, not applied because the condition did not hold';
COMMENT ON COLUMN paxos.stats.command_errors IS 'of those, failed';
COMMENT ON COLUMN paxos.stats.unknown_outcomes IS 'calls on this node that ended without knowing the outcome';
COMMENT ON COLUMN paxos.stats.read_indexes IS 'read indexes confirmed for this node''s sessions; waiting sessions share one';
COMMENT ON COLUMN paxos.stats.lease_reads IS 'linearizable reads of this node''s sessions that needed none, as it led and had a lease';
COMMENT ON COLUMN paxos.stats.elections_started IS 'elections its proposer stood in since it started';
COMMENT ON COLUMN paxos.stats.elections_won IS 'of those, won';
COMMENT ON COLUMN paxos.stats.batches_resent IS 'origin batches it sent again';
COMMENT ON COLUMN paxos.stats.gaps_seen IS 'own origin batches found out of order at their slot and sent again';
COMMENT ON COLUMN paxos.stats.apply_retries IS 'slots tried again after an error of the surroundings';
COMMENT ON COLUMN paxos.stats.fetched_entries IS 'log entries fetched from other members';
COMMENT ON COLUMN paxos.stats.writes IS 'calls on this node that got an outcome';
COMMENT ON COLUMN paxos.stats.write_mean_ms IS 'from call to outcome';
COMMENT ON COLUMN paxos.stats.write_p50_ms IS 'median of the same';
COMMENT ON COLUMN paxos.stats.write_p95_ms IS '95th percentile';
COMMENT ON COLUMN paxos.stats.write_p99_ms IS '99th percentile';
COMMENT ON COLUMN paxos.stats.accepts IS 'Accept messages answered, as leader';
COMMENT ON COLUMN paxos.stats.accept_mean_ms IS 'from sending one to its answer';
COMMENT ON COLUMN paxos.stats.accept_p50_ms IS 'median of the same';
COMMENT ON COLUMN paxos.stats.accept_p95_ms IS '95th percentile';
COMMENT ON COLUMN paxos.stats.accept_p99_ms IS '99th percentile';
COMMENT ON COLUMN paxos.stats.flushes IS 'Accept messages this node''s acceptor made durable';
COMMENT ON COLUMN paxos.stats.flush_mean_ms IS 'time one took';
COMMENT ON COLUMN paxos.stats.flush_p50_ms IS 'median of the same';
COMMENT ON COLUMN paxos.stats.flush_p95_ms IS '95th percentile';
COMMENT ON COLUMN paxos.stats.flush_p99_ms IS '99th percentile';
COMMENT ON COLUMN paxos.stats.applies IS 'transactions of its learner';
COMMENT ON COLUMN paxos.stats.apply_mean_ms IS 'time one took';
COMMENT ON COLUMN paxos.stats.apply_p50_ms IS 'median of the same';
COMMENT ON COLUMN paxos.stats.apply_p95_ms IS '95th percentile';
COMMENT ON COLUMN paxos.stats.apply_p99_ms IS '99th percentile';
COMMENT ON COLUMN paxos.stats.batches IS 'values proposed with commands in them';
COMMENT ON COLUMN paxos.stats.batch_mean_commands IS 'commands in one';
COMMENT ON COLUMN paxos.stats.batch_p50_commands IS 'median of the same';
COMMENT ON COLUMN paxos.stats.batch_p95_commands IS '95th percentile';
COMMENT ON COLUMN paxos.stats.batch_p99_commands IS '99th percentile';
COMMENT ON COLUMN paxos.stats.queue_cells IS 'now, not counted: sessions that wait for the log, or are about to take their result';
COMMENT ON COLUMN paxos.stats.queue_bytes IS 'now: of paxos.queue_memory, what long commands and results and forwarded batches take';
