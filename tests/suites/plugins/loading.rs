//! What keeps a proxy from starting, and what `check` says of it.

use std::process::Command;

use crate::common::shared;

use super::script;

/// What `pointsman check` says of a configuration with this plugin, and whether it is content.
async fn checked(plugin: &str, rules: &str) -> (bool, String) {
    let stage = shared().await;
    let dir = stage.dir().join(crate::common::unique("checked"));
    std::fs::create_dir_all(&dir).expect("a directory");
    let policy =
        format!("apiVersion: pointsman/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  rules:\n{rules}");
    std::fs::write(dir.join("policy.yaml"), policy).expect("the policy");
    let config = format!("primary: 'postgres://u@127.0.0.1/x'\npolicies: policy.yaml\nplugins:\n{plugin}");
    let path = dir.join("pointsman.yaml");
    std::fs::write(&path, config).expect("the configuration");
    let out =
        Command::new(pointsman_tests::proxy::program()).arg("check").arg(&path).output().expect("it runs");
    let told = String::from_utf8_lossy(&[out.stdout, out.stderr].concat())
        .replace(&format!("{}/", dir.display()), "");
    (out.status.success(), told)
}

const RULE: &str = "    - {name: all, match: {verb: select}, plugins: [script]}\n";

#[tokio::test]
async fn a_plugin_that_loads() {
    let entry = format!("  - {{name: script, file: {}, grants: [kv, lookup]}}\n", script());
    let (well, told) = checked(&entry, RULE).await;
    assert!(well, "{told}");
}

/// Each thing that is wrong is told with what to do.
#[tokio::test]
async fn what_is_wrong_is_told() {
    let file = script();
    let text = std::env::temp_dir().join(format!("pointsman-text-{}.wasm", std::process::id()));
    std::fs::write(&text, "this is text").expect("a file");
    let text = text.display();
    for (entry, rules, expected) in [
        (format!("  - {{name: script, file: {file}}}\n"), RULE, "grants: [kv, lookup]"),
        (format!("  - {{name: script, file: {file}, grants: [kv, looks]}}\n"), RULE, "`looks` is unknown"),
        (format!("  - {{name: script, file: {text}}}\n"), RULE, "is not WebAssembly"),
        ("  - {name: script, file: nowhere.wasm}\n".to_owned(), RULE, "there is no such file"),
        (
            format!(
                "  - {{name: script, file: {file}, grants: [kv, lookup], sha256: '{}'}}\n",
                "0".repeat(64)
            ),
            RULE,
            "SHA-256",
        ),
        (
            format!("  - {{name: script, file: {file}, grants: [kv, lookup], sha256: abc}}\n"),
            RULE,
            "64 hexadecimal digits",
        ),
        (
            format!(
                "  - {{name: script, file: {file}, grants: [kv, lookup], config: {{refuse_init: 'not today'}}}}\n"
            ),
            RULE,
            "not today",
        ),
        (
            format!("  - {{name: script, file: {file}, grants: [kv, lookup], config: {{unknown: 1}}}}\n"),
            RULE,
            "unknown field",
        ),
        (
            format!("  - {{name: other, file: {file}, grants: [kv, lookup]}}\n"),
            RULE,
            "policy.yaml:6:14: rule `all` names plugin `script`",
        ),
        (
            format!("  - {{name: script, file: {file}, grants: [kv, lookup], kv: {{shared: true}}}}\n"),
            RULE,
            "needs `cache.redis`",
        ),
        (format!("  - {{name: 'a b', file: {file}}}\n"), RULE, "letters, digits"),
    ] {
        let (well, told) = checked(&entry, rules).await;
        assert!(!well && told.contains(expected), "{entry}{expected}\n{told}");
    }
}
