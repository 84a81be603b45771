//! `UPDATE`, `DELETE` and `MERGE`.

use super::{all_are, plan};
use crate::plan::Many;

#[test]
fn by_key() {
    all_are(&[
        ("UPDATE agents SET name = 'x' WHERE id = 5", "5: each Rows"),
        ("DELETE FROM agents WHERE id = $1", "$1: each Rows"),
        ("DELETE FROM agents WHERE id IN (1, 2)", "1 2: each Rows"),
        ("DELETE FROM agents WHERE id = ANY($1)", "any $1: each Rows"),
        ("UPDATE interactions SET content = 'x' WHERE id = 5 AND initiator_id = 1", "1: each Rows"),
        ("DELETE FROM orders WHERE region = 'a' AND number = 1", "'a'/1: each Rows"),
        ("DELETE FROM profiles WHERE handle = 'x'", "'x': each Rows"),
        (
            "UPDATE agents SET name = c.name FROM communities c WHERE c.id = community_id AND agents.id = 1",
            "1: each Rows",
        ),
        (
            "DELETE FROM interactions i USING agents a WHERE a.id = i.initiator_id AND a.id = 7",
            "7: each Rows",
        ),
        (
            "UPDATE agents a SET name = (SELECT min(content) FROM interactions WHERE initiator_id = a.id) WHERE id = 1",
            "1: each Rows",
        ),
    ]);
}

#[test]
fn on_every_shard() {
    all_are(&[
        ("DELETE FROM agents", "all: each Rows"),
        ("UPDATE agents SET name = random()::text WHERE active IS DISTINCT FROM true", "all: each Rows"),
        ("DELETE FROM interactions WHERE recipient_id = 1 RETURNING *", "all: each Rows"),
        ("UPDATE interactions SET content = 'x' WHERE id = 5", "all: each Rows"),
        (
            "DELETE FROM interactions i USING agents a WHERE a.id = i.initiator_id AND a.active",
            "all: each Rows",
        ),
        (
            "DELETE FROM agents a WHERE NOT EXISTS (SELECT 1 FROM interactions i WHERE i.initiator_id = a.id)",
            "all: each Rows",
        ),
        ("DELETE FROM agents WHERE id IN (SELECT initiator_id FROM friendships)", "all: each Rows"),
        (
            "DELETE FROM agents WHERE community_id IN (SELECT id FROM communities WHERE topic = 'x')",
            "all: each Rows",
        ),
        (
            "WITH c AS (SELECT id FROM communities) DELETE FROM agents WHERE community_id IN (SELECT id FROM c)",
            "all: each Rows",
        ),
        (
            "DELETE FROM lines l USING orders o WHERE o.region = l.region AND o.number = l.number",
            "all: each Rows",
        ),
    ]);
}

#[test]
fn what_sees_other_shards_rows_is_refused() {
    all_are(&[
        ("DELETE FROM interactions i USING agents a WHERE a.id = i.recipient_id", "all: Join"),
        ("DELETE FROM agents WHERE id IN (SELECT recipient_id FROM friendships)", "all: Join"),
        ("DELETE FROM agents WHERE id NOT IN (SELECT initiator_id FROM friendships)", "all: Join"),
        ("DELETE FROM agents WHERE id IN (SELECT initiator_id FROM friendships LIMIT 1)", "all: Subquery"),
        ("UPDATE agents SET name = (SELECT max(content) FROM interactions)", "all: Join"),
        ("DELETE FROM agents WHERE community_id IN (SELECT id FROM communities LIMIT 1)", "all: Subquery"),
        ("DELETE FROM lines l USING orders o WHERE o.region = l.region", "all: Join"),
        ("UPDATE agents SET bio = value FROM settings s WHERE s.agent_id = agents.id", "all: Join"),
        (
            "UPDATE agents SET bio = value FROM settings s WHERE s.agent_id = agents.id AND id = 1",
            "all: Join",
        ),
        (
            "WITH d AS (DELETE FROM interactions RETURNING *) DELETE FROM agents USING d WHERE id = 1",
            "all: Write",
        ),
        (
            "WITH d AS (DELETE FROM agents RETURNING *) DELETE FROM agents a USING agents b, d WHERE a.id = b.id",
            "all: Write",
        ),
        (
            "UPDATE agents SET bio = content FROM interactions WHERE agents.id = 1 AND initiator_id = 2",
            "1, 2: Join",
        ),
        ("DELETE FROM agents a USING agents b WHERE a.name = b.name AND a.id < b.id", "all: Join"),
        ("UPDATE agents SET name = 'x' WHERE CURRENT OF c", "all: Statement"),
    ]);
}

#[test]
fn keys_stay_what_they_are() {
    all_are(&[
        ("UPDATE agents SET id = 6 WHERE id = 5", "all: KeyUpdate"),
        ("UPDATE agents SET id = 5 WHERE id = 5", "5: each Rows"),
        ("UPDATE agents SET id = $1, name = 'x' WHERE id = $1", "$1: each Rows"),
        ("UPDATE agents SET id = $2 WHERE id = $1", "all: KeyUpdate"),
        ("UPDATE agents SET id = id", "all: each Rows"),
        ("UPDATE agents SET id = id + 1", "all: KeyUpdate"),
        ("UPDATE agents SET id = 5 WHERE id IN (5, 6)", "all: KeyUpdate"),
        ("UPDATE agents SET id = 5 WHERE id = 5 OR active", "all: KeyUpdate"),
        ("UPDATE agents SET (id, name) = (5, 'x') WHERE id = 5", "all: KeyUpdate"),
        ("UPDATE agents SET (name, id) = (SELECT 'x', 6) WHERE id = 5", "all: KeyUpdate"),
        ("UPDATE agents SET id = DEFAULT WHERE id = 5", "all: KeyUpdate"),
        ("UPDATE profiles SET handle = 'y' WHERE agent_id = 1", "all: KeyUpdate"),
        ("UPDATE orders SET number = 2 WHERE region = 'a' AND number = 1", "all: KeyUpdate"),
    ]);
    let Many::Refused(refusal) = plan("UPDATE agents SET id = 6 WHERE id = 5").many else { panic!() };
    assert_eq!(
        refusal.hint,
        "move the row: DELETE FROM agents WHERE ... RETURNING *, then INSERT INTO agents with the new id, in one transaction"
    );
}

#[test]
fn other_tables() {
    all_are(&[
        ("UPDATE settings SET value = 'x'", "first: Statement"),
        ("DELETE FROM settings WHERE name IN (SELECT name FROM communities)", "first: Statement"),
        ("DELETE FROM settings WHERE agent_id IN (SELECT id FROM agents)", "all: Write"),
        ("WITH d AS (DELETE FROM communities RETURNING *) DELETE FROM settings USING d", "all: Write"),
        ("UPDATE communities SET topic = lower(topic)", "all: each Copies"),
        ("UPDATE communities SET created_at = now()", "all: Function"),
        ("UPDATE communities SET id = (SELECT count(*) FROM communities)", "all: each Copies"),
        ("UPDATE communities SET name = (SELECT string_agg(name, '') FROM communities)", "all: Function"),
        ("DELETE FROM communities WHERE id IN (SELECT community_id FROM agents)", "all: Write"),
        ("DELETE FROM communities USING settings", "all: Write"),
        ("MERGE INTO agents a USING communities c ON a.id = c.id WHEN MATCHED THEN DELETE", "all: Write"),
        (
            "MERGE INTO settings s USING communities c ON s.name = c.name WHEN MATCHED THEN DELETE",
            "first: Statement",
        ),
        (
            "MERGE INTO communities c USING (VALUES (1)) v (id) ON c.id = v.id WHEN MATCHED THEN DELETE",
            "all: each Copies",
        ),
    ]);
}
