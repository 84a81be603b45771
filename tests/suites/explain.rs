//! `pointsman explain` asks the primary what functions and views do, and says why a statement goes where it goes.
use std::process::Command;

use pointsman_tests::proxy::program;
use pointsman_tests::tools::free_port;

use crate::common::{shared, unique};

fn explain(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program()).arg("explain").args(arguments).output().expect("the program runs");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// A function's volatility and a view over it are the server's to say, and are asked anew each time.
#[tokio::test]
async fn reasons_come_from_the_primarys_catalog() {
    let stage = shared().await;
    let name = unique("visited");
    let body = "RETURNS int LANGUAGE sql AS 'SELECT 1'";
    stage
        .primary
        .sql(&format!("CREATE FUNCTION {name}() {body}; CREATE VIEW {name}_view AS SELECT {name}()"))
        .await;
    let config = stage.dir().join(&name).with_extension("yaml");
    let url = |port: u16| format!("postgres://postgres:password@127.0.0.1:{port}/app");
    let text = format!("primary: {}\nreplicas: {}\n", url(stage.primary.port), url(stage.replica().port));
    std::fs::write(&config, text).expect("a file");
    let config = config.to_str().expect("a path");
    let call = format!("SELECT {name}()");
    let (code, told) = explain(&["--config", config, &call]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(&format!("calls {name}(): volatile")) && told.contains("target      primary"),
        "{told}"
    );
    let (_, told) = explain(&["--config", config, &format!("TABLE {name}_view")]);
    assert!(told.contains(&format!("uses public.{name}_view: calls public.{name}(): volatile")), "{told}");
    stage.primary.sql(&format!("CREATE OR REPLACE FUNCTION {name}() {body} STABLE")).await;
    let (_, told) = explain(&["--config", config, &call]);
    assert!(told.contains("class       read") && told.contains("target      replica"), "{told}");
    let (_, told) = explain(&["--primary", &url(stage.primary.port), &call]);
    assert!(told.contains("decided by  no-replica"), "{told}");
    let (_, told) = explain(&["--config", config, "--offline", &call]);
    assert!(told.contains(&format!("calls {name}(): not in the catalog")), "{told}");
}

/// Policies, a file of statements, JSON, and the exit codes.
#[tokio::test]
async fn policies_files_and_exit_codes() {
    let dir = shared().await.dir();
    let (policy, sql) = (dir.join("explained.yaml"), dir.join("explained.sql"));
    let text = "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  rules:\n    - {name: mine, match: {user: me, hint: {a: b}}, route: any}\n";
    std::fs::write(&policy, text).expect("a file");
    std::fs::write(&sql, "/* pointsman: a=b */ SELECT 1; SELECT 2;\nDELETE FROM t").expect("a file");
    let (policy, sql) = (policy.to_str().expect("a path"), sql.to_str().expect("a path"));
    let (code, told) = explain(&["--policy", policy, "--as", "me", "--json", "--file", sql]);
    assert_eq!((code, told.matches("\"target\"").count()), (0, 3), "{told}");
    for part in
        ["\"target\": \"any\"", "\"target\": \"replica\"", "\"target\": \"primary\"", "not met: hint: {a: b}"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    std::fs::write(policy, text.replace("route: any", "route: shard")).expect("a file");
    let (code, told) = explain(&["--policy", policy, "SELECT 1"]);
    assert!(code == 2 && told.contains("explained.yaml:6:") && told.contains("no shards"), "{told}");
    let nobody = format!("postgres://u:p@127.0.0.1:{}/app", free_port());
    let (code, told) = explain(&["--primary", &nobody, "SELECT 1"]);
    assert!(code == 1 && told.contains("--offline"), "{told}");
    assert_eq!(explain(&[]).0, 2);
}

/// The schema is JSON, and policies of every example are well.
#[tokio::test]
async fn ready_made_policies_are_well() {
    let schema = Command::new(program()).arg("schema").output().expect("the program runs");
    let policies = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let committed = std::fs::read(policies.join("policy.schema.json")).expect("the schema");
    assert!(schema.stdout == committed, "pointsman schema > policies/policy.schema.json");
    for file in ["read-write-split.yaml", "guard-rails.yaml", "agents.yaml", "shards.yaml"] {
        let check = Command::new(program()).arg("check").arg(policies.join(file)).output();
        let check = check.expect("the program runs");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}
