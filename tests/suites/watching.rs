//! A file of the configuration that changes is taken without a signal, however it is written; a broken one changes nothing.
use std::path::Path;
use std::time::Duration;

use pointsman_tests::{Credentials, Proxy, Secret, Wire, eventually};

use crate::common::{ADMIN, SOON, row_of, shared, show, unique};

async fn reloads(proxy: &Proxy, outcome: &str) -> f64 {
    proxy.metric("pointsman_reloads_total", &[&format!("outcome=\"{outcome}\"")]).await
}

async fn pool_size(proxy: &Proxy) -> String {
    row_of(&proxy.console().await, "SHOW CONFIG", "key", "clusters[default].pool.size").await["value"].clone()
}

async fn may_come(proxy: &Proxy, user: &str) -> bool {
    let mut wire = Wire::connect(proxy.port).await;
    let parameters = [("user", user), ("database", "app")];
    wire.authenticate(&Credentials::new(&parameters, Secret::Password("password"))).await.is_ok()
}

fn pool(size: usize) -> String {
    format!("{ADMIN}pool: {{size: {size}}}\n")
}

/// Written in place: taken, once. Broken: refused, told once in the log, counted and shown. Put right: taken.
#[tokio::test]
async fn an_edit_is_taken_and_a_broken_one_is_not() {
    let stage = shared().await;
    let proxy = stage.proxy(&pool(2)).await;
    let mut wire = proxy.wire().await;
    proxy.write_config(stage, &pool(3));
    eventually("the edit is taken", SOON, || async { pool_size(&proxy).await == "3" }).await;
    assert_eq!((reloads(&proxy, "taken").await, reloads(&proxy, "refused").await), (1.0, 0.0));
    proxy.write_config(stage, &format!("{ADMIN}poool: {{size: 4}}\n"));
    eventually("the broken edit is counted", SOON, || async { reloads(&proxy, "refused").await == 1.0 })
        .await;
    assert_eq!(pool_size(&proxy).await, "3", "what runs stays");
    assert_eq!(proxy.metric("pointsman_last_reload_successful", &[]).await, 0.0);
    let shown = show(&proxy.console().await, "SHOW RELOADS").await.remove(0);
    assert_eq!((shown["last_outcome"].as_str(), shown["last_cause"].as_str()), ("refused", "file"));
    assert!(shown["last_error"].contains("there is no key `poool`"), "{shown:?}");
    assert_eq!(proxy.log().matches("there is no key `poool`").count(), 1, "told once");
    proxy.write_config(stage, &pool(5));
    eventually("the edit is taken", SOON, || async { pool_size(&proxy).await == "5" }).await;
    assert_eq!((reloads(&proxy, "taken").await, reloads(&proxy, "refused").await), (2.0, 1.0));
    assert_eq!(proxy.metric("pointsman_last_reload_successful", &[]).await, 1.0);
    assert_eq!(wire.value("SELECT 1").await, "1");
}

/// Renamed into place, as editors do.
#[tokio::test]
async fn a_renamed_file_is_seen() {
    let stage = shared().await;
    let proxy = stage.proxy(&pool(2)).await;
    for size in ["3", "4"] {
        let text = std::fs::read_to_string(proxy.config_path()).expect("the configuration");
        let at = text.find("pool: {size: ").expect("the pool's size") + "pool: {size: ".len();
        let edited = format!("{}{size}{}", &text[..at], &text[at + 1..]);
        let swap = proxy.config_path().with_extension("swp");
        std::fs::write(&swap, edited).expect("a file beside it");
        std::fs::rename(&swap, proxy.config_path()).expect("it is renamed");
        eventually("the new file is taken", SOON, || async { pool_size(&proxy).await == size }).await;
    }
}

/// A link beside the file is swapped, as Kubernetes does: `users.txt -> ..data/users.txt`, `..data -> ..1`.
#[tokio::test]
async fn a_swapped_link_is_seen() {
    let stage = shared().await;
    let dir = stage.dir().join(unique("volume"));
    let publish = |version: &str, user: &str| {
        let data = dir.join(version);
        std::fs::create_dir_all(&data).expect("a directory");
        std::fs::write(data.join("users.txt"), format!("\"{user}\" \"password\"\n")).expect("a file");
        let fresh = dir.join("..data_tmp");
        std::os::unix::fs::symlink(version, &fresh).expect("a link");
        std::fs::rename(&fresh, dir.join("..data")).expect("it is swapped in");
    };
    publish("..1", "alice");
    let users = dir.join("users.txt");
    std::os::unix::fs::symlink(Path::new("..data/users.txt"), &users).expect("a link");
    let proxy = stage.proxy(&format!("auth: {{userlist: {}}}\n", users.display())).await;
    assert!(may_come(&proxy, "alice").await && !may_come(&proxy, "bob").await);
    for (version, user, gone) in [("..2", "bob", "alice"), ("..3", "alice", "bob")] {
        publish(version, user);
        eventually("the new user may come", SOON, || may_come(&proxy, user)).await;
        assert!(!may_come(&proxy, gone).await);
    }
}

/// A policy file is watched, and so is one that a broken set names.
#[tokio::test]
async fn a_policy_file_is_watched() {
    let stage = shared().await;
    let (first, second) = (stage.dir().join(unique("policy")), stage.dir().join(unique("policy")));
    let policy = |name: &str| format!("apiVersion: pointsman/v1\nkind: Policy\nmetadata: {{name: {name}}}\n");
    std::fs::write(&first, policy("one")).expect("a file");
    let naming = |files: &str| format!("{ADMIN}policies: [{files}]\n");
    let proxy = stage.proxy(&naming(&first.display().to_string())).await;
    let names = || async {
        let rows = show(&proxy.console().await, "SHOW POLICIES").await;
        rows.iter().map(|row| row["name"].clone()).collect::<Vec<_>>().join(",")
    };
    std::fs::write(&first, policy("two")).expect("a file");
    eventually("the edit is taken", SOON, || async { names().await == "two" }).await;
    std::fs::write(&second, "kind: Policy\n").expect("a broken file");
    proxy.write_config(stage, &naming(&format!("{}, {}", first.display(), second.display())));
    eventually("the broken set is refused", SOON, || async { reloads(&proxy, "refused").await == 1.0 }).await;
    assert_eq!(names().await, "two");
    std::fs::write(&second, policy("three")).expect("a file");
    eventually("the file put right is taken", SOON, || async { names().await == "two,three" }).await;
}

/// The console reloads as a signal does, and says what is wrong.
#[tokio::test]
async fn the_console_reloads() {
    let stage = shared().await;
    let proxy = stage.proxy(&format!("{}watch: false\n", pool(2))).await;
    let console = proxy.console().await;
    proxy.write_config(stage, &format!("{}watch: false\n", pool(3)));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(pool_size(&proxy).await, "2", "nobody watches");
    console.simple_query("RELOAD").await.expect("it is taken");
    assert_eq!(pool_size(&proxy).await, "3");
    proxy.write_config(stage, &format!("{}watch: maybe\n", pool(4)));
    let error = console.simple_query("RELOAD").await.expect_err("it is refused");
    let error = error.as_db_error().expect("the proxy says so");
    assert_eq!(error.code().code(), "F0000");
    assert!(error.message().contains("`watch`: expected `true` or `false`"), "{error:?}");
    assert_eq!(pool_size(&proxy).await, "3");
    assert_eq!((reloads(&proxy, "taken").await, reloads(&proxy, "refused").await), (1.0, 1.0));
}
