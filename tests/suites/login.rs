//! Login without TLS: methods, users from the YAML, a userlist or PostgreSQL, and what strangers learn.
use std::time::{Duration, Instant};

use pointsman_tests::{Credentials, DATABASE, Frame, Proxy, Secret, Wire, msg, pretty};

use crate::common::{server_of, shared, unique};

async fn attempt(proxy: &Proxy, user: &str, secret: Secret<'_>) -> Result<(Wire, Vec<Frame>), Vec<Frame>> {
    let mut wire = Wire::connect(proxy.port).await;
    let credentials = Credentials::new(&[("user", user), ("database", DATABASE)], secret);
    let frames = wire.authenticate(&credentials).await?;
    Ok((wire, frames))
}

/// The code of each authentication request.
fn requests(frames: &[Frame]) -> Vec<u8> {
    frames.iter().filter(|frame| frame.tag == b'R').map(|frame| frame.body[3]).collect()
}

async fn who(proxy: &Proxy, user: &str) -> String {
    match attempt(proxy, user, Secret::Password("password")).await {
        Ok((mut wire, _)) => wire.value("SELECT session_user").await,
        Err(frames) => panic!("{user} is refused:\n{}", pretty(&frames)),
    }
}

async fn refused(proxy: &Proxy, user: &str, password: &str) -> Frame {
    match attempt(proxy, user, Secret::Password(password)).await {
        Ok(_) => panic!("{user} is let in"),
        Err(frames) => frames.into_iter().find(|frame| frame.tag == b'E').expect("an error"),
    }
}

/// SCRAM is the usual method; the greeting is PostgreSQL's.
#[tokio::test]
async fn scram_is_the_usual_method() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let (wire, frames) = attempt(&proxy, "app", Secret::Password("password")).await.expect("app logs in");
    assert_eq!(requests(&frames), [10, 11, 12, 0]);
    let direct = stage.primary.wire().await;
    let sorted = |wire: &Wire| {
        let mut parameters = wire.parameters.clone();
        parameters.sort();
        parameters
    };
    assert_eq!(sorted(&wire), sorted(&direct), "the same parameters are reported");
    assert_eq!(wire.secret.len(), 4, "protocol 3.0 has keys of four bytes");
    assert_ne!(wire.process_id, 0);
}

/// Unknown user and wrong password look alike, in message and in time.
#[tokio::test]
async fn strangers_learn_nothing() {
    let proxy = shared().await.proxy("").await;
    let mut told = Vec::new();
    let mut times = Vec::new();
    for (user, password) in [("app", "wrong"), ("nobody", "wrong")] {
        let mut spent = Vec::new();
        let mut error = None;
        for _ in 0..9 {
            let start = Instant::now();
            error = Some(refused(&proxy, user, password).await);
            spent.push(start.elapsed());
        }
        spent.sort();
        times.push(spent[4]);
        let error = error.expect("it was refused");
        assert_eq!(error.sqlstate(), "28P01");
        assert_eq!(error.field('M'), format!("password authentication failed for user \"{user}\""));
        told.push(error.fields().into_iter().filter(|(code, _)| *code != 'M').collect::<Vec<_>>());
    }
    assert_eq!(told[0], told[1]);
    let (less, more) = (times[0].min(times[1]), times[0].max(times[1]));
    assert!(more < less * 3 + Duration::from_millis(3), "{times:?}");
}

/// An unknown database is PostgreSQL's error.
#[tokio::test]
async fn an_unknown_database_is_told() {
    let proxy = shared().await.proxy("").await;
    let mut wire = Wire::connect(proxy.port).await;
    let parameters = [("user", "app"), ("database", "no_such_database")];
    let credentials = Credentials::new(&parameters, Secret::Password("password"));
    let frames = match wire.authenticate(&credentials).await {
        Err(frames) => frames,
        Ok(_) => wire.query("SELECT 1").await,
    };
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
    assert_eq!(error.sqlstate(), "3D000", "{error}");
    assert_eq!(proxy.wire().await.value("SELECT 1").await, "1");
}

/// The database's name defaults to the user's.
#[tokio::test]
async fn the_database_defaults_to_the_user() {
    let proxy = shared().await.proxy("").await;
    let mut wire = Wire::login_with(proxy.port, &[("user", "app")]).await;
    assert_eq!(wire.value("SELECT current_database()").await, "app");
}

/// md5, for users whose secret is a password or an md5 hash.
#[tokio::test]
async fn md5_is_spoken() {
    let stage = shared().await;
    let real = stage.primary.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'md5user'").await;
    let users = format!("users: [{{name: md5user, md5: {real}}}, {{name: app, password: password}}]");
    let proxy = stage.proxy(&format!("auth: {{method: md5, {users}}}\n")).await;
    for user in ["md5user", "app"] {
        let (mut wire, frames) =
            attempt(&proxy, user, Secret::Password("password")).await.expect("it logs in");
        assert_eq!(requests(&frames), [5, 0], "{user}");
        assert_eq!(wire.value("SELECT session_user").await, user);
    }
    assert_eq!(refused(&proxy, "md5user", "wrong").await.sqlstate(), "28P01");
    assert_eq!(refused(&proxy, "nobody", "wrong").await.sqlstate(), "28P01");
    // Under SCRAM a user whose only secret is an md5 hash is asked for md5.
    let proxy = stage.proxy(&format!("auth: {{{users}}}\n")).await;
    assert_eq!(who(&proxy, "md5user").await, "md5user");
    assert_eq!(who(&proxy, "app").await, "app");
}

/// Trust asks for nothing, and is there only if configured.
#[tokio::test]
async fn trust_is_for_who_is_listed() {
    let users = "users: [{name: app, password: password}]";
    let proxy = shared().await.proxy(&format!("auth: {{method: trust, {users}}}\n")).await;
    let (mut wire, frames) = attempt(&proxy, "app", Secret::Password("")).await.expect("app is trusted");
    assert_eq!(requests(&frames), [0]);
    assert_eq!(wire.value("SELECT session_user").await, "app");
    assert!(attempt(&proxy, "nobody", Secret::Password("")).await.is_err());
}

/// SCRAM needs passwords in plain text: a verifier is enough, its client's proof yields the key for the server.
#[tokio::test]
async fn a_userlist_of_verifiers_is_enough() {
    let stage = shared().await;
    let verifier = stage.primary.value("SELECT rolpassword FROM pg_authid WHERE rolname = 'alice'").await;
    assert!(verifier.starts_with("SCRAM-SHA-256$"));
    let file = stage.dir().join(unique("userlist"));
    std::fs::write(&file, format!("; who may come\n\"alice\" \"{verifier}\"\n\"bob\" \"password\"\n"))
        .expect("a file");
    let proxy = stage.proxy(&format!("auth: {{userlist: {}}}\n", file.display())).await;
    assert_eq!(who(&proxy, "alice").await, "alice");
    assert_eq!(who(&proxy, "bob").await, "bob");
    assert_eq!(refused(&proxy, "alice", "wrong").await.sqlstate(), "28P01");
}

/// `auth_query` reads verifiers from PostgreSQL, and honours `VALID UNTIL`.
#[tokio::test]
async fn auth_query_reads_verifiers() {
    let stage = shared().await;
    let proxy = stage.proxy("auth: {auth_query: {keep: 100ms}}\n").await;
    for user in ["app", "alice", "bob"] {
        assert_eq!(who(&proxy, user).await, user);
    }
    assert_eq!(refused(&proxy, "alice", "wrong").await.sqlstate(), "28P01");
    assert_eq!(refused(&proxy, "nobody", "password").await.sqlstate(), "28P01");
    assert_eq!(refused(&proxy, "expired", "password").await.sqlstate(), "28P01");
    assert!(attempt(&proxy, "staff", Secret::Password("password")).await.is_err(), "a role without LOGIN");
    let role = unique("changes");
    stage.primary.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'password'")).await;
    assert_eq!(who(&proxy, &role).await, role);
    stage.primary.sql(&format!("ALTER ROLE {role} PASSWORD 'changed'")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(refused(&proxy, &role, "password").await.sqlstate(), "28P01");
    let (mut wire, _) = attempt(&proxy, &role, Secret::Password("changed")).await.expect("the new password");
    assert_eq!(wire.value("SELECT session_user").await, role);
}

/// Holes before login: names and parameters of a client never change the meaning of the proxy's own queries.
#[tokio::test]
async fn startup_parameters_do_not_reach_the_auth_query() {
    let stage = shared().await;
    stage
        .primary
        .sql(
            "CREATE SCHEMA IF NOT EXISTS evil;
             CREATE OR REPLACE VIEW evil.pg_authid AS SELECT 'bob'::name AS rolname, true AS rolcanlogin,
                'md5'::text AS rolpassword, NULL::timestamptz AS rolvaliduntil;
             GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT SELECT ON evil.pg_authid TO PUBLIC",
        )
        .await;
    let proxy = stage.proxy("auth: {auth_query: {keep: 1ms}}\n").await;
    let parameters = [
        ("user", "bob"),
        ("database", "app"),
        ("search_path", "evil"),
        ("options", "-c search_path=evil -c role=postgres"),
    ];
    let mut wire = Wire::connect(proxy.port).await;
    let wrong = Credentials::new(&parameters, Secret::Password("wrong"));
    assert!(wire.authenticate(&wrong).await.is_err());
    let names = ["o'brien\"; DROP TABLE x; --", "a\\b", "$1", "\u{1F600}", "bob "];
    for name in names {
        assert_eq!(refused(&proxy, name, "password").await.sqlstate(), "28P01", "{name}");
    }
    assert_eq!(who(&proxy, "bob").await, "bob");
    stage.primary.sql("DROP SCHEMA evil CASCADE").await;
}

/// Protocol 3.2 is spoken: keys of 32 bytes that cancel; unknown minors and options are negotiated.
#[tokio::test]
async fn protocol_versions_are_negotiated() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let own = [("user", "app"), ("database", "app"), ("_pq_.strange", "1")];
    for version in [msg::V3_0, msg::V3_2, 0x0003_0009] {
        let mut wire = Wire::connect(proxy.port).await;
        let mut credentials = Credentials::new(&own, Secret::Password("password"));
        credentials.version = version;
        let frames = wire.authenticate(&credentials).await.expect("app logs in");
        let answer = frames.iter().find(|frame| frame.tag == b'v');
        let body = &answer.expect("the strange option is declined").body;
        assert!(body.ends_with(b"_pq_.strange\0"), "{body:?}");
        assert_eq!(wire.secret.len(), if version == msg::V3_0 { 4 } else { 32 }, "{version:x}");
        let marker = unique("negotiated");
        wire.send(&msg::query(&format!("SELECT pg_sleep(30) /* {marker} */"))).await;
        server_of(stage, &marker).await;
        wire.cancel(proxy.port).await;
        let frames = wire.until(b'Z').await;
        assert!(frames.iter().any(|frame| frame.tag == b'E' && frame.sqlstate() == "57014"));
    }
    let mut wire = Wire::connect(proxy.port).await;
    let mut credentials = Credentials::new(&own[..2], Secret::Password("password"));
    credentials.version = msg::V3_2;
    let frames = wire.authenticate(&credentials).await.expect("app logs in");
    assert!(frames.iter().all(|frame| frame.tag != b'v'), "nothing to negotiate");
}

/// Without TLS, `SSLRequest` and `GSSENCRequest` are answered `N` and the client may go on in the open.
#[tokio::test]
async fn encryption_is_declined_politely() {
    let proxy = shared().await.proxy("").await;
    let mut wire = Wire::connect(proxy.port).await;
    for request in [msg::SSL_REQUEST, msg::GSS_REQUEST] {
        wire.send(&request).await;
        assert_eq!(wire.byte().await, Some(b'N'));
    }
    let credentials = Credentials::new(&[("user", "app"), ("database", "app")], Secret::Password("password"));
    assert!(wire.authenticate(&credentials).await.is_ok());
}

/// A role that may not log in to the server is told what PostgreSQL says.
#[tokio::test]
async fn the_servers_refusal_is_heard() {
    let stage = shared().await;
    let role = unique("no_server");
    let proxy = stage.proxy(&format!("auth: {{users: [{{name: {role}, password: password}}]}}\n")).await;
    let frames = match attempt(&proxy, &role, Secret::Password("password")).await {
        Err(frames) => frames,
        Ok((mut wire, _)) => wire.query("SELECT 1").await,
    };
    let error = frames.iter().find(|frame| frame.tag == b'E').expect("an error");
    assert!(error.sqlstate().starts_with("28"), "{error}");
}
