//! Definitions and statements about the session.

use super::all_are;

#[test]
fn definitions_are_for_every_shard() {
    for text in [
        "CREATE TABLE t (id bigint)",
        "ALTER TABLE agents ADD COLUMN x int",
        "ALTER TABLE settings ADD COLUMN x int",
        "DROP TABLE agents",
        "TRUNCATE agents, settings",
        "CREATE INDEX CONCURRENTLY ON agents (name)",
        "VACUUM ANALYZE agents",
        "ANALYZE",
        "REINDEX TABLE agents",
        "CLUSTER agents",
        "REFRESH MATERIALIZED VIEW v",
        "COMMENT ON TABLE agents IS 'x'",
        "GRANT SELECT ON agents TO PUBLIC",
        "REVOKE ALL ON agents FROM PUBLIC",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE VIEW v AS SELECT * FROM agents",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM communities",
        "CREATE SEQUENCE s",
        "CREATE TYPE e AS ENUM ('a')",
        "CREATE ROLE r",
        "ALTER TABLE agents RENAME COLUMN name TO names",
        "ALTER TABLE agents ALTER COLUMN name TYPE varchar(10)",
        "LOCK TABLE agents",
    ] {
        all_are(&[(text, "all: each Definition")]);
    }
}

#[test]
fn definitions_that_are_not() {
    all_are(&[
        ("CREATE TEMP TABLE t (id bigint)", "first: Statement"),
        ("CREATE TEMP TABLE t AS SELECT * FROM settings", "first: Statement"),
        ("CREATE TABLE t AS SELECT * FROM settings", "first: Statement"),
        ("CREATE TABLE t AS SELECT * FROM agents WHERE id = 1", "all: Statement"),
        ("CREATE TABLE communities AS SELECT 1 AS id", "all: Statement"),
        ("SELECT * INTO t FROM agents", "all: Statement"),
        ("SELECT * INTO t FROM settings", "first: Statement"),
        ("CREATE MATERIALIZED VIEW v AS SELECT * FROM agents", "all: Statement"),
        ("CREATE TEMP VIEW v AS SELECT * FROM agents", "all: Statement"),
        ("ALTER TABLE agents ALTER COLUMN id TYPE text", "all: KeyUpdate"),
        ("ALTER TABLE agents DROP COLUMN id", "all: KeyUpdate"),
        ("ALTER TABLE agents RENAME COLUMN id TO key", "all: KeyUpdate"),
        ("LOCK TABLE settings", "first: Statement"),
        ("LOAD 'x'", "all: Statement"),
    ]);
}

#[test]
fn sessions() {
    for text in [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "ROLLBACK TO s",
        "PREPARE TRANSACTION 'x'",
        "SET TRANSACTION READ ONLY",
        "SET a.b = 1",
        "SHOW ALL",
        "RESET ALL",
        "RESET x",
        "DISCARD ALL",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "FETCH c",
        "MOVE c",
        "CLOSE c",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    ] {
        all_are(&[(text, "any: Statement")]);
    }
    all_are(&[
        ("LISTEN x", "first: Statement"),
        ("UNLISTEN *", "first: Statement"),
        ("NOTIFY x", "first: Statement"),
        ("DO 'x'", "all: Statement"),
        ("CALL p()", "all: Statement"),
        ("COMMIT PREPARED 'x'", "all: Statement"),
        ("ROLLBACK PREPARED 'x'", "all: Statement"),
    ]);
}

#[test]
fn statements_in_statements() {
    all_are(&[
        ("EXPLAIN SELECT * FROM agents WHERE id = 3", "3: Statement"),
        ("EXPLAIN ANALYZE DELETE FROM agents WHERE id = 3", "3: Statement"),
        ("EXPLAIN SELECT * FROM agents", "all: Statement"),
        ("EXPLAIN UPDATE agents SET id = 6 WHERE id = 5", "all: Statement"),
        ("EXPLAIN SELECT * FROM settings", "first: Statement"),
        ("EXPLAIN INSERT INTO agents (id) VALUES (4)", "4: Statement"),
        ("EXPLAIN INSERT INTO agents (id) VALUES (4), (5)", "4 5: Statement"),
        ("DECLARE c CURSOR FOR SELECT * FROM agents WHERE id = 3", "3: Statement"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT * FROM agents", "all: Statement"),
        ("DECLARE c CURSOR FOR SELECT * FROM communities", "any: Statement"),
        ("EXPLAIN DELETE FROM communities", "all: Statement"),
    ]);
}
