//! `pointsman check`: reads files as `serve` would, and says what is wrong with them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, check_policy, is_policy};
use crate::plugins::PluginHost;
use crate::transport::tls;

/// Checks every file, and says `ok` of those that are.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let mut all_well = true;
    for path in files {
        match check(path) {
            Ok(counts) => println!("{}: ok{counts}", path.display()),
            Err(message) => {
                all_well = false;
                eprintln!("{message}");
            }
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_CONFIG) }
}

/// What there is to say of a file that is well, or what is wrong with it.
fn check(path: &Path) -> Result<String, String> {
    if std::fs::read_to_string(path).is_ok_and(|text| means_policy(&text)) {
        let checked = check_policy(path).map_err(|error| error.to_string())?;
        return Ok(format!(" ({} rules, {} tests)", checked.rules, checked.tests));
    }
    let config = Config::from_file(path).map_err(|error| error.to_string())?;
    let mut wrong: Vec<String> = Vec::new();
    if let Some(client) = &config.tls {
        wrong.extend(tls::acceptance(client).err().map(|error| error.to_string()));
    }
    for server in config.clusters.iter().flat_map(|cluster| &cluster.servers) {
        wrong.extend(tls::connection(&server.tls).err().map(|error| error.to_string()));
    }
    match config.policy_set() {
        Ok(_) => {
            let failed = config.policies.iter().filter_map(|path| check_policy(path).err());
            wrong.extend(failed.map(|error| error.to_string()));
        }
        Err(error) => wrong.push(error.to_string()),
    }
    let loaded = PluginHost::new(&config).and_then(|host| host.load_first(&config.plugins));
    wrong.extend(loaded.err().map(|fault| fault.to_string()));
    wrong.dedup();
    if wrong.is_empty() { Ok(String::new()) } else { Err(wrong.join("\n")) }
}

/// Whether a file is a policy; one that is not YAML may still say that it is.
fn means_policy(text: &str) -> bool {
    is_policy(text) || text.lines().any(|line| line.trim_end() == "kind: Policy")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_wrong_with_either_kind_of_file() {
        let directory = std::env::temp_dir().join(format!("pointsman-check-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (config, policy) = (directory.join("p.yaml"), directory.join("policy.yaml"));
        let policy_text =
            "apiVersion: pointsman/v1\nkind: Policy\nmetadata: {name: a}\nspec: {functions: {f: volatile}}\n";
        std::fs::write(&config, "primary: postgres://u@h\npolicies: policy.yaml\n").unwrap();
        std::fs::write(&policy, policy_text).unwrap();
        assert_eq!(check(&config), Ok(String::new()));
        assert_eq!(check(&policy), Ok(" (0 rules, 0 tests)".to_owned()));
        std::fs::write(&policy, policy_text.replace("metadata", "metadta")).unwrap();
        let place = format!("{}:3:1: ", policy.display());
        for file in [&config, &policy] {
            let told = check(file).unwrap_err();
            assert!(told.contains(&place) && told.contains("    3 | metadta: {name: a}"), "{told}");
        }
        let failing = format!(
            "{policy_text}  rules: [{{name: a, log: true}}]\n  tests: [{{sql: X, expect: {{rule: none}}}}]\n"
        );
        std::fs::write(&policy, failing.replace("spec: {functions: {f: volatile}}", "spec:")).unwrap();
        for file in [&config, &policy] {
            let told = check(file).unwrap_err();
            assert!(told.contains(":6:35: test `X`: expected rule `none`, got `a`"), "{told}");
        }
        std::fs::write(&policy, "kind: Policy\nspec: [\n").unwrap();
        assert!(check(&policy).unwrap_err().starts_with(&format!("{}:", policy.display())));
        std::fs::write(&config, "primary: postgres://u@h\ntls: {certificate: p.yaml, key: p.yaml}\n")
            .unwrap();
        let told = check(&config).unwrap_err();
        assert_eq!(told, format!("{}: no certificate in PEM form", config.display()));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(check(&config), Err(format!("{}: there is no such file", config.display())));
    }
}
