-- 70-membership.sql
--    Changing who the members are (protocol.md section 7).  Each call returns when
--    the change is chosen and a majority of the new members has recorded so.

CREATE FUNCTION @extschema@.paxos_add_member(
    conninfo text, name text DEFAULT NULL, voter boolean DEFAULT true)
RETURNS int
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_add_member';
REVOKE ALL ON FUNCTION @extschema@.paxos_add_member FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_add_member IS 'adds the server this connection string leads to, which has the extension and no cluster; it gets its data, and a vote once it has caught up; returns its number';

CREATE FUNCTION @extschema@.paxos_remove_member(member text, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_remove_member';
REVOKE ALL ON FUNCTION @extschema@.paxos_remove_member FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_remove_member IS 'takes a member, by name or number, out of the cluster; with force also when too few of the others can be reached; returns the slot of the change';

CREATE FUNCTION @extschema@.paxos_promote_member(member text, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_promote_member';
REVOKE ALL ON FUNCTION @extschema@.paxos_promote_member FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_promote_member IS 'gives a member a vote; returns the slot of the change';

CREATE FUNCTION @extschema@.paxos_demote_member(member text, force boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_demote_member';
REVOKE ALL ON FUNCTION @extschema@.paxos_demote_member FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_demote_member IS 'takes a member''s vote; it goes on receiving the log; returns the slot of the change';

CREATE FUNCTION @extschema@.paxos_alter_member(
    member text, conninfo text DEFAULT NULL, name text DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_alter_member';
REVOKE ALL ON FUNCTION @extschema@.paxos_alter_member FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_alter_member IS 'changes the connection string of a member, which must lead to it, or its name; returns the slot of the change';

CREATE FUNCTION @extschema@.paxos_transfer_leadership(member text DEFAULT NULL)
RETURNS int
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_transfer_leadership';
REVOKE ALL ON FUNCTION @extschema@.paxos_transfer_leadership FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_transfer_leadership IS 'has the leader hand over to a member, or to the one that is furthest; returns the number of the new leader';

-- What they call on the leader, and on a newcomer.
CREATE FUNCTION paxos.configure(
    cluster uuid, version int, sender int, base bigint, configuration bytea, force boolean,
    patience_ms int, OUT result int, OUT slot bigint, OUT why text)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_configure';
REVOKE ALL ON FUNCTION paxos.configure FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.configure TO paxos_peer;
COMMENT ON FUNCTION paxos.configure IS 'asks this node, if it leads, to have a configuration chosen in the place of that of slot base';

CREATE FUNCTION paxos.transfer(cluster uuid, version int, sender int, node int) RETURNS boolean
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_transfer';
REVOKE ALL ON FUNCTION paxos.transfer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.transfer TO paxos_peer;
COMMENT ON FUNCTION paxos.transfer IS 'asks this node, if it leads, to hand over to another, 0: to the one that is furthest; false: it does not lead';

CREATE FUNCTION paxos.join_record(cluster uuid, node int, slot bigint, configuration bytea)
RETURNS void
LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'paxos_join_record';
REVOKE ALL ON FUNCTION paxos.join_record FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.join_record TO paxos_peer;
COMMENT ON FUNCTION paxos.join_record IS 'record who this node will be in a cluster it is about to join';

CREATE FUNCTION paxos.readmit(
    cluster uuid, version int, sender int, conninfo text, name text, voter boolean)
RETURNS int
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_sql_readmit';
REVOKE ALL ON FUNCTION paxos.readmit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION paxos.readmit TO paxos_peer;
COMMENT ON FUNCTION paxos.readmit IS 'a node that may not vote any more comes as a new one, in the place of the old one';

CREATE FUNCTION @extschema@.paxos_leave_cluster(force boolean DEFAULT false) RETURNS void
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_leave_cluster';
REVOKE ALL ON FUNCTION @extschema@.paxos_leave_cluster FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_leave_cluster IS 'makes this server what it was before it joined, its consensus tables dropped; for a node that has been removed, or may not vote any more';

CREATE PROCEDURE @extschema@.paxos_rejoin(conninfo text DEFAULT NULL)
LANGUAGE C AS 'MODULE_PATHNAME', 'paxos_rejoin';
REVOKE ALL ON PROCEDURE @extschema@.paxos_rejoin FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.paxos_rejoin IS 'leaves the cluster and joins it again as a new node, in the place of the old one; conninfo: how the members reach this server, if it has changed';

CREATE FUNCTION @extschema@.paxos_recover_from_majority_loss(
    accept_loss boolean DEFAULT false, OUT cluster uuid, OUT applied bigint, OUT kept bigint)
LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'paxos_recover_from_majority_loss';
REVOKE ALL ON FUNCTION @extschema@.paxos_recover_from_majority_loss FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.paxos_recover_from_majority_loss IS 'a majority of the members is gone for good: makes a new cluster of this node alone, from what it has; what may be lost is said first, and done only with accept_loss => true';
