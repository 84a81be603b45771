//! Verifiers read from PostgreSQL: whose they are, for how long they hold, and what a stranger can learn or cause by asking.
use std::time::Duration;

use pointsman_tests::{Credentials, DATABASE, Frame, PASSWORD, Proxy, Secret, Stage, Wire, eventually};

use crate::common::{SOON, shared, unique};

/// A login's outcome: the session's user, or the error.
async fn login(proxy: &Proxy, user: &str, database: &str, password: &str) -> Result<String, Frame> {
    let mut wire = Wire::connect(proxy.port).await;
    let credentials = Credentials::new(&[("user", user), ("database", database)], Secret::Password(password));
    match wire.authenticate(&credentials).await {
        Ok(_) => Ok(wire.value("SELECT session_user FROM (SELECT random()) r").await),
        Err(frames) => Err(frames.into_iter().find(|frame| frame.tag == b'E').expect("an error")),
    }
}

/// The refusal that a wrong password gets, to the letter.
fn assert_neutral(error: &Frame, user: &str) {
    let want = [
        ('S', "FATAL".to_owned()),
        ('V', "FATAL".to_owned()),
        ('C', "28P01".to_owned()),
        ('M', format!("password authentication failed for user \"{user}\"")),
    ];
    assert_eq!(error.fields(), want);
}

/// A name means nobody outside of its cluster: neither a verifier nor the URL's own user lets anybody into another.
#[tokio::test]
async fn users_belong_to_their_cluster() {
    let one = shared().await;
    let two = Stage::new().start().await;
    two.primary.sql("ALTER ROLE bob PASSWORD 'other'").await;
    let own = "CREATE ROLE owner SUPERUSER LOGIN PASSWORD";
    one.primary.sql(&format!("{own} '{PASSWORD}'")).await;
    two.primary.sql(&format!("{own} 'other'")).await;
    for auth in ["auth: {}", "auth: {auth_query: {keep: 1h}}"] {
        let config = format!(
            "clusters:\n\
             - {{name: one, databases: [app], primary: \"postgres://owner:{PASSWORD}@127.0.0.1:$PRIMARY/app\"}}\n\
             - {{name: two, databases: [{{name: second, server_name: app}}], \
               primary: \"postgres://owner:other@127.0.0.1:{}/app\"}}\n{auth}\n",
            two.primary.port
        );
        let proxy = one.proxy(&config).await;
        for user in ["bob", "owner"] {
            for _ in 0..2 {
                assert_eq!(login(&proxy, user, "app", PASSWORD).await.as_deref(), Ok(user), "{auth}");
                assert_eq!(login(&proxy, user, "second", "other").await.as_deref(), Ok(user), "{auth}");
                for (database, password) in [("app", "other"), ("second", PASSWORD)] {
                    let refused = login(&proxy, user, database, password).await;
                    assert_neutral(&refused.expect_err("the other cluster's password"), user);
                }
            }
        }
    }
    one.primary.sql("DROP ROLE owner").await;
}

/// A stranger makes nobody connect to a database of its choice, and learns nothing of databases, users or servers.
#[tokio::test]
async fn a_stranger_learns_and_causes_nothing() {
    let stage = shared().await;
    let proxy = stage.proxy("auth: {auth_query: {keep: 1ms}}\n").await;
    for database in ["template1", "postgres", "no_such_database"] {
        for user in ["bob", "nobody"] {
            assert_neutral(&login(&proxy, user, database, "wrong").await.expect_err("a stranger"), user);
        }
    }
    let query = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'template1'";
    assert_eq!(stage.primary.value(query).await, "0");
    // Nor when the question fails: the log says why.
    let sql = "SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1 AND 1/0 = 1";
    let broken = stage.proxy(&format!("auth: {{auth_query: {{sql: \"{sql}\"}}}}\n")).await;
    assert_neutral(&login(&broken, "bob", DATABASE, PASSWORD).await.expect_err("nobody to ask"), "bob");
    assert!(broken.log().contains("division by zero"), "{}", broken.log());
}

/// A changed password takes effect with the next try, however long answers are kept; a new role likewise.
#[tokio::test]
async fn a_changed_password_takes_effect() {
    let stage = shared().await;
    let proxy = stage.proxy("auth: {auth_query: {keep: 1h}}\n").await;
    let role = unique("changing");
    assert!(login(&proxy, &role, DATABASE, PASSWORD).await.is_err());
    stage.primary.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).await;
    for password in [PASSWORD, "second", "third"] {
        stage.primary.sql(&format!("ALTER ROLE {role} PASSWORD '{password}'")).await;
        eventually("the new password is taken", SOON, || async {
            login(&proxy, &role, DATABASE, password).await.is_ok()
        })
        .await;
    }
    assert_neutral(&login(&proxy, &role, DATABASE, PASSWORD).await.expect_err("the first"), &role);
}

/// A verifier is kept no longer than its role is valid.
#[tokio::test]
async fn a_kept_verifier_expires_with_its_role() {
    let stage = shared().await;
    let proxy = stage.proxy("auth: {auth_query: {keep: 1h}}\n").await;
    let (soon, never) = (unique("expiring"), unique("lasting"));
    stage
        .primary
        .sql(&format!("CREATE ROLE {never} LOGIN PASSWORD '{PASSWORD}' VALID UNTIL 'infinity'"))
        .await;
    let until = stage.primary.value("SELECT now() + interval '3 seconds'").await;
    stage.primary.sql(&format!("CREATE ROLE {soon} LOGIN PASSWORD '{PASSWORD}' VALID UNTIL '{until}'")).await;
    assert_eq!(login(&proxy, &never, DATABASE, PASSWORD).await, Ok(never.clone()));
    assert_eq!(login(&proxy, &soon, DATABASE, PASSWORD).await, Ok(soon.clone()));
    let expired = format!("SELECT (now() > '{until}'::timestamptz)::text");
    eventually("it expires", SOON, || async { stage.primary.value(&expired).await == "true" }).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_neutral(&login(&proxy, &soon, DATABASE, PASSWORD).await.expect_err("expired"), &soon);
    assert_eq!(login(&proxy, &never, DATABASE, PASSWORD).await, Ok(never));
}
