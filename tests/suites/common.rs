//! The stage that most suites share, and small helpers.
use std::time::Duration;

use pointsman_tests::{Proxy, Stage, Wire, eventually};
use tokio::sync::OnceCell;

/// A primary and a replica for every test that neither stops a server nor pauses replay.
pub(crate) async fn shared() -> &'static Stage {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_init(|| Stage::new().replicas(1).start()).await
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The usual users, with `alice` as the admin.
pub(crate) const ADMIN: &str = "auth:\n  users:\n    - {name: app, password: password}\n    \
    - {name: alice, password: password}\n    - {name: bob, password: password}\n  admins: [alice]\n";

/// A row of the admin console's answer: column and value.
pub(crate) type Row = std::collections::HashMap<String, String>;

/// What the admin console answers, by column; NULL is left out.
pub(crate) async fn show(console: &tokio_postgres::Client, command: &str) -> Vec<Row> {
    let messages = console.simple_query(command).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    let rows = messages.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    rows.map(|row| {
        let column = |(index, column): (usize, &tokio_postgres::SimpleColumn)| {
            Some((column.name().to_owned(), row.get(index)?.to_owned()))
        };
        row.columns().iter().enumerate().filter_map(column).collect()
    })
    .collect()
}

/// The one row of a table whose column has this value.
pub(crate) async fn row_of(
    console: &tokio_postgres::Client,
    command: &str,
    column: &str,
    value: &str,
) -> Row {
    let rows = show(console, command).await;
    let found = rows.iter().find(|row| row.get(column).is_some_and(|found| found == value));
    found.unwrap_or_else(|| panic!("{command}: no row with {column} = {value}: {rows:?}")).clone()
}

/// Ten seconds: the bound of most waits.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Waits until reads through this client are served by a replica: writes before it have been replayed, and
/// the catalog, which says that `abs` may be called there, has been read.
pub(crate) async fn reads_reach_replica(stage: &Stage, wire: &mut Wire) {
    if Proxy::is_direct() {
        return;
    }
    // A standby may hold replay back for 30 s while a query that another test runs there is in its way.
    let since = std::time::Instant::now();
    while since.elapsed() < Duration::from_secs(60) {
        let marker = unique("warm_up");
        wire.run(&format!("SELECT abs(-1) /* {marker} */")).await;
        if stage.served_by(&marker).starts_with("replica") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("reads do not reach the replica");
}

/// Which server ran a statement; waits for the log to show it.
pub(crate) async fn server_of(stage: &Stage, marker: &str) -> String {
    eventually("a server logs the statement", SOON, || async { !stage.served_by(marker).is_empty() }).await;
    stage.served_by(marker)
}

/// A policy file in the stage's directory, and the configuration line that names it.
pub(crate) fn policy(stage: &Stage, spec: &str) -> String {
    let path = stage.dir().join(format!("{}.yaml", unique("policy")));
    let text = format!("apiVersion: pointsman/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n{spec}");
    std::fs::write(&path, text).expect("the policy is written");
    format!("policies: {}\n", path.display())
}
