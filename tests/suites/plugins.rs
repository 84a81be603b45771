//! Plugins in the proxy: what they say is done, and what they must not do costs the statement at hand alone. The plugin here does what
//! its configuration says (`tests/guests/script`).

mod bound;
mod caching;
mod connecting;
mod faults;
mod loading;
mod lookups;
mod reloading;
mod shipped;
mod statements;

use pointsman_tests::{Frame, Proxy, Stage};

use crate::common::policy;

/// The plugin's file.
pub(crate) fn script() -> String {
    format!("{}/guests/script/script-1.0.0.wasm", env!("CARGO_MANIFEST_DIR"))
}

/// The lines that configure a plugin named `script`: its `config`, as JSON, and what else there is of it.
pub(crate) fn plugin(stage: &Stage, config: &str, more: &str) -> String {
    let code = stage.dir().join("code");
    format!(
        "plugin_host: {{code_dir: {}}}\nplugins:\n  - name: script\n    file: {}\n    grants: [kv, lookup]\n    config: {config}\n{more}",
        code.display(),
        script()
    )
}

/// Enough time for a machine that runs many tests.
pub(crate) const PATIENT: &str = "    limits: {deadline: 10s, init_deadline: 20s, lookup_deadline: 10s}\n";

/// A proxy whose plugin is asked of every statement that names the table.
pub(crate) async fn asked_about(stage: &Stage, table: &str, config: &str) -> Proxy {
    let spec = format!("  rules:\n    - {{name: asked, match: {{tables: [{table}]}}, plugins: [script]}}\n");
    stage.proxy(&format!("{}{}", policy(stage, &spec), plugin(stage, config, PATIENT))).await
}

/// The SQLSTATE of the error among these replies, or nothing.
pub(crate) fn error_of(replies: &[Frame]) -> String {
    replies.iter().find(|frame| frame.tag == b'E').map(Frame::sqlstate).unwrap_or_default()
}

/// A table of three notes, which everybody may read and write.
pub(crate) async fn notes(stage: &Stage, prefix: &str) -> String {
    let table = crate::common::unique(prefix);
    stage
        .primary
        .sql(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, owner text, note text);
             ALTER TABLE {table} REPLICA IDENTITY FULL;
             INSERT INTO {table} VALUES (1, 'app', 'one'), (2, 'bob', 'two'), (3, 'app', 'three');
             GRANT ALL ON {table} TO PUBLIC"
        ))
        .await;
    table
}
