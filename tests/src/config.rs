//! A proxy's YAML for a test: the usual keys, some of them replaced.
use std::fmt::Write as _;

use crate::{PASSWORD, Stage};

/// Users that every proxy knows unless a test says otherwise.
const AUTH: &str = "\
auth:
  users:
    - {name: app, password: password}
    - {name: alice, password: password}
    - {name: bob, password: password}
    - {name: postgres, password: password}
    - {name: streamer, password: password}
";

/// Where a proxy listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) admin: u16,
}

/// The whole YAML: `fragment`'s top-level keys replace the usual ones of the same name.
pub(crate) fn yaml(stage: &Stage, ports: Ports, fragment: &str) -> String {
    let url = |port: u16| format!("postgres://postgres:{PASSWORD}@127.0.0.1:{port}/{}", crate::DATABASE);
    let mut usual =
        format!("listen: [\"127.0.0.1:{}\"]\nadmin: \"127.0.0.1:{}\"\n", ports.client, ports.admin);
    let replicas: Vec<String> =
        stage.replicas.iter().map(|replica| format!("\"{}\"", url(replica.port))).collect();
    writeln!(usual, "primary: \"{}\"", url(stage.primary.port)).expect("a string takes it");
    writeln!(usual, "replicas: [{}]", replicas.join(", ")).expect("a string takes it");
    usual.push_str(
        "workers: 1\npool: {size: 4, checkout_timeout: 10s}\nhealth: {interval: 200ms, timeout: 2s}\n",
    );
    usual.push_str(AUTH);
    let sharded = !stage.shards.is_empty();
    if sharded {
        usual.push_str(&crate::shards::yaml(&stage.shards, ""));
    }
    let own = blocks(fragment);
    let mut whole = String::new();
    for (key, text) in blocks(&usual) {
        let of_a_cluster = key == "primary" || key == "replicas" || key == "pool" || key == "health";
        let named = |other: &str| own.iter().any(|(key, _)| key == other);
        let replaced = named(&key) || (of_a_cluster && (sharded || named("clusters")));
        if !replaced {
            whole.push_str(&text);
        }
    }
    own.iter().for_each(|(_, text)| whole.push_str(text));
    fill(&whole, stage, ports)
}

/// `$CLIENT`, `$ADMIN`, `$PRIMARY`, `$REPLICA` become ports, `$DIR` the stage's directory.
fn fill(text: &str, stage: &Stage, ports: Ports) -> String {
    let replica = stage.replicas.first().map_or(0, |replica| replica.port);
    text.replace("$CLIENT", &ports.client.to_string())
        .replace("$ADMIN", &ports.admin.to_string())
        .replace("$PRIMARY", &stage.primary.port.to_string())
        .replace("$REPLICA", &replica.to_string())
        .replace("$DIR", &stage.dir().display().to_string())
}

/// Splits YAML into its top-level keys, each with its text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let starts = line.chars().next().is_some_and(char::is_alphabetic);
        match (starts, blocks.last_mut()) {
            (false, None) => {}
            (false, Some((_, block))) => {
                block.push_str(line);
                block.push('\n');
            }
            (true, _) => {
                let key = line.split(':').next().unwrap_or(line).to_owned();
                blocks.push((key, format!("{line}\n")));
            }
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn a_block_is_a_key_with_its_indented_lines() {
        let found = blocks("a: 1\nb:\n  c: 2\n  - d\ne: 3\n");
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["a", "b", "e"]);
        assert_eq!(found[1].1, "b:\n  c: 2\n  - d\n");
    }
}
