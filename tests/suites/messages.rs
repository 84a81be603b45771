//! Messages beside the results: notices, parameter changes, function calls, wrong and empty ones.
use pointsman_tests::{Frame, msg, normalise, pretty, tags};

use crate::common::{reads_reach_replica, shared, unique};

/// Notices come where PostgreSQL sends them, with all their fields.
#[tokio::test]
async fn notices_keep_their_place() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    let block = "DO $$ BEGIN RAISE NOTICE 'one' USING HINT = 'h', DETAIL = 'd'; RAISE WARNING 'two'; END $$";
    let frames = wire.query(&format!("{block}; SELECT 1; {block}")).await;
    assert_eq!(tags(&frames), "NNCTDCNNCZ", "{}", pretty(&frames));
    assert_eq!(frames[0].field('H'), "h");
    assert_eq!(frames[0].field('D'), "d");
    assert_eq!(frames[1].sqlstate(), "01000");
}

/// A setting changed inside a function is reported at once.
#[tokio::test]
async fn parameter_changes_are_told_asynchronously() {
    let proxy = shared().await.proxy("").await;
    let mut wire = proxy.wire().await;
    wire.run("BEGIN").await;
    let frames = wire.run("DO $$ BEGIN PERFORM set_config('application_name', 'inner', true); END $$").await;
    assert!(frames.iter().any(|frame| frame.tag == b'S'), "{}", pretty(&frames));
    let frames = wire.run("ROLLBACK").await;
    assert!(frames.iter().any(|frame| frame.tag == b'S'), "{}", pretty(&frames));
    assert_eq!(wire.parameter("application_name"), Some(""));
}

/// The fast-path function call works and fails as PostgreSQL's.
#[tokio::test]
async fn functions_are_called() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    reads_reach_replica(stage, &mut wire).await;
    let oid: u32 = wire.value("SELECT 'int4pl'::regproc::oid").await.parse().expect("an oid");
    let frames = wire.ask(&msg::function_call(oid, &[Some("2"), Some("40")])).await;
    assert_eq!(tags(&frames), "VZ", "{}", pretty(&frames));
    assert_eq!(&frames[0].body[4..], b"42");
    let frames = wire.ask(&msg::function_call(oid, &[Some("2"), None])).await;
    assert_eq!(tags(&frames), "VZ");
    assert_eq!(frames[0].body[..4], [0xff; 4]);
    let frames = wire.ask(&msg::function_call(oid, &[Some("two"), Some("40")])).await;
    assert_eq!(tags(&frames), "EZ");
    assert_eq!(wire.value("SELECT 1").await, "1");
    let nextval: u32 =
        wire.value("SELECT 'nextval(regclass)'::regprocedure::oid").await.parse().expect("an oid");
    let sequence = unique("called");
    wire.run(&format!("CREATE SEQUENCE {sequence}")).await;
    let sequence_oid = wire.value(&format!("SELECT '{sequence}'::regclass::oid")).await;
    let frames = wire.ask(&msg::function_call(nextval, &[Some(&sequence_oid)])).await;
    assert_eq!(&frames[0].body[4..], b"1", "{}", pretty(&frames));
}

/// Errors come with every field PostgreSQL gives.
#[tokio::test]
async fn errors_keep_their_fields() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let (mut wire, mut direct) = (proxy.wire().await, stage.primary.wire().await);
    let table = unique("fields");
    wire.run(&format!(
        "CREATE TABLE {table} (id int CONSTRAINT positive CHECK (id > 0), CONSTRAINT one UNIQUE (id))"
    ))
    .await;
    for sql in [
        format!("INSERT INTO {table} VALUES (-1)"),
        format!("INSERT INTO {table} VALUES (1), (1)"),
        "SELECT no_such_column FROM pg_class".to_owned(),
        "SELECT * FROM no_such_table".to_owned(),
        "SELECT 'x'::int".to_owned(),
        "SELECT 1 +".to_owned(),
        "SELECT foo(1)".to_owned(),
        "SET no_such_setting = 1".to_owned(),
        "DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'ZZ999', COLUMN = 'c', DATATYPE = 't'; END $$"
            .to_owned(),
    ] {
        let (through, beside) = (wire.query(&sql).await, direct.query(&sql).await);
        assert_eq!(
            normalise(&through),
            normalise(&beside),
            "{sql}:\n{}{}",
            pretty(&through),
            pretty(&beside)
        );
        let bytes = [msg::statement(&sql, &[]), msg::sync()].concat();
        let (through, beside) = (wire.ask(&bytes).await, direct.ask(&bytes).await);
        assert_eq!(
            normalise(&through),
            normalise(&beside),
            "{sql}:\n{}{}",
            pretty(&through),
            pretty(&beside)
        );
    }
}

/// Catalog introspection as psql and drivers do it answers the same.
#[tokio::test]
async fn introspection_answers_the_same() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let (mut wire, mut direct) = (proxy.wire().await, stage.primary.wire().await);
    for sql in [
        "SELECT version()",
        "SHOW server_version",
        "SHOW transaction_isolation",
        "SELECT current_schema(), current_database(), session_user",
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'pg_catalog' AND c.relkind = 'r' ORDER BY 1, 2",
        "SELECT typname, oid, typarray FROM pg_type WHERE oid < 4000 ORDER BY oid",
        "SELECT NULL, ''::text, '{1,NULL}'::int[], '\\x00ff'::bytea, 'NaN'::float8, interval '1 day'",
    ] {
        let (through, beside) = (wire.query(sql).await, direct.query(sql).await);
        assert_eq!(normalise(&through), normalise(&beside), "{sql}");
        let parse = [msg::parse("", sql), msg::bind_with("", "", &[], [&[], &[1]]), msg::describe_portal("")];
        let bytes = [parse.concat(), msg::execute("", 0), msg::sync()].concat();
        let (through, beside): (Vec<Frame>, Vec<Frame>) = (wire.ask(&bytes).await, direct.ask(&bytes).await);
        assert_eq!(normalise(&through), normalise(&beside), "{sql}, binary");
    }
}
