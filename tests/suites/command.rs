//! The command line and the admin address: check, flags, exit codes, health, metrics.
use std::path::Path;
use std::process::Command;

use pointsman_tests::proxy::program;
use pointsman_tests::tools::free_port;
use pointsman_tests::{Wire, eventually, tools};

use crate::common::{SOON, shared, unique};

fn check(file: &Path) -> (i32, String) {
    let output = Command::new(program()).arg("check").arg(file).output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// What is wrong is told with file, line and column, and what may have been meant.
#[tokio::test]
async fn wrong_configurations_are_told_in_place() {
    let dir = shared().await.dir();
    let good = "primary: postgres://u:p@127.0.0.1:5432/db\n";
    for (text, place, hint) in [
        ("primary: postgres://u:p@h/db\npool:\n  sise: 5\n", ":3:3", "size"),
        ("primary: postgres://u:p@h/db\nworkers: many\n", ":2:10", "workers"),
        ("primary: postgres://u:p@h/db\nlisten: [127.0.0.1:1]\nlisten: [127.0.0.1:2]\n", ":3:1", "listen"),
        ("primary: postgres://u:p@h/db\npool: {checkout_timeout: 5 parsecs}\n", ":2:", "checkout_timeout"),
        ("primary: postgres://u:p@h/db\nauth: {userlist: /no/such/file}\n", ":2:", "/no/such/file"),
        ("primary: [postgres://u:p@h/db\n", ":", ""),
    ] {
        let file = dir.join(unique("wrong")).with_extension("yaml");
        std::fs::write(&file, text).expect("a file");
        let (code, told) = check(&file);
        assert_ne!(code, 0, "{text}{told}");
        let place = format!("{}{place}", file.file_name().and_then(|name| name.to_str()).expect("a name"));
        assert!(told.contains(&place) && told.contains(hint), "{text}wants {place} and {hint}:\n{told}");
        let serve = Command::new(program()).args(["serve", "--config"]).arg(&file).output().expect("it runs");
        assert_eq!(serve.status.code(), Some(2), "serve refuses it too: {text}");
    }
    let file = dir.join("right.yaml");
    std::fs::write(&file, good).expect("a file");
    assert_eq!(check(&file).0, 0, "{}", check(&file).1);
    assert_ne!(check(Path::new("/no/such/file.yaml")).0, 0);
}

/// Without any file: flags.
#[tokio::test]
async fn flags_are_enough() {
    let stage = shared().await;
    let (port, admin) = (free_port(), free_port());
    let url = |port: u16| format!("postgres://postgres:password@127.0.0.1:{port}/app");
    let mut command = Command::new(program());
    command.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--primary", &url(stage.primary.port)]);
    command.args(["--replica", &url(stage.replica().port), "--pool-size", "3", "--pool-mode", "transaction"]);
    command.args(["--admin", &format!("127.0.0.1:{admin}")]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("the program runs");
    eventually("it listens", SOON, || async {
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
    })
    .await;
    // Any database of the cluster, any role that the URL's user can verify.
    for (user, database) in [("postgres", "app"), ("alice", "app"), ("app", "postgres")] {
        let mut wire = Wire::login(port, user, database).await;
        assert_eq!(
            wire.value("SELECT session_user || '@' || current_database()").await,
            format!("{user}@{database}")
        );
    }
    tools::signal(child.id(), "TERM");
    assert!(child.wait().expect("it ends").success());
}

/// Help and version are there.
#[tokio::test]
async fn help_reads() {
    for (arguments, word) in
        [(&["--help"][..], "serve"), (&["serve", "--help"], "--replica"), (&["--version"], "pointsman")]
    {
        let output = Command::new(program()).args(arguments).output().expect("the program runs");
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stdout).contains(word), "{arguments:?}");
    }
}

/// A port in use ends the program with 1 and a reason.
#[tokio::test]
async fn a_port_in_use_is_told() {
    let stage = shared().await;
    let url = format!("postgres://postgres:password@127.0.0.1:{}/app", stage.primary.port);
    let listen = format!("127.0.0.1:{}", stage.primary.port);
    let output = Command::new(program())
        .args(["serve", "--listen", &listen, "--primary", &url])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let told =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("in use") && told.contains(&listen), "{told}");
}

/// Health, readiness and metrics are served.
#[tokio::test]
async fn the_admin_address_answers() {
    let stage = shared().await;
    let proxy = stage.proxy("").await;
    let mut wire = proxy.wire().await;
    for _ in 0..10 {
        wire.run("SELECT 1").await;
    }
    wire.query("SELECT 1/0").await;
    assert!(proxy.get("/healthz").await.expect("an answer").starts_with("HTTP/1.1 200"));
    assert!(proxy.get("/readyz").await.expect("an answer").starts_with("HTTP/1.1 200"));
    assert!(proxy.get("/nothing").await.expect("an answer").starts_with("HTTP/1.1 404"));
    let metrics = proxy.get("/metrics").await.expect("an answer");
    for name in
        ["pointsman_statements_total", "pointsman_pool_", "pointsman_errors_total", "pointsman_clients"]
    {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    eventually("statements are counted", SOON, || async {
        proxy.metric("pointsman_statements_total", &["select"]).await >= 10.0
    })
    .await;
    assert!(proxy.metric("pointsman_errors_total", &["22"]).await >= 1.0);
}
