//! `pointsman check`: reads files as `serve` would, and says what is wrong with them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, is_policy, read_policy};
use crate::transport::tls;

/// Checks every file, and says `ok` of those that are.
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let mut all_well = true;
    for path in files {
        match check(path) {
            Ok(()) => println!("{}: ok", path.display()),
            Err(message) => {
                all_well = false;
                eprintln!("{message}");
            }
        }
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_CONFIG) }
}

fn check(path: &Path) -> Result<(), String> {
    if std::fs::read_to_string(path).is_ok_and(|text| is_policy(&text)) {
        return read_policy(path).map(drop).map_err(|error| error.to_string());
    }
    let config = Config::from_file(path).map_err(|error| error.to_string())?;
    let mut wrong: Vec<String> = Vec::new();
    if let Some(client) = &config.tls {
        wrong.extend(tls::acceptance(client).err().map(|error| error.to_string()));
    }
    for server in config.clusters.iter().flat_map(|cluster| &cluster.servers) {
        wrong.extend(tls::connection(&server.tls).err().map(|error| error.to_string()));
    }
    wrong.extend(config.overrides().err().map(|error| error.to_string()));
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
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
        assert_eq!((check(&config), check(&policy)), (Ok(()), Ok(())));
        std::fs::write(&policy, policy_text.replace("metadata", "metadta")).unwrap();
        let place = format!("{}:3:1: ", policy.display());
        for file in [&config, &policy] {
            let told = check(file).unwrap_err();
            assert!(told.starts_with(&place) && told.contains("    3 | metadta: {name: a}"), "{told}");
        }
        std::fs::write(&config, "primary: postgres://u@h\ntls: {certificate: p.yaml, key: p.yaml}\n")
            .unwrap();
        let told = check(&config).unwrap_err();
        assert_eq!(told, format!("{}: no certificate in PEM form", config.display()));
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(check(&config), Err(format!("{}: there is no such file", config.display())));
    }
}
