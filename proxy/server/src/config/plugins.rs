//! Plugins: their files, what they are granted, and their limits.

use std::collections::BTreeSet;

use pointsman_plugin_host::{
    Capability, Failures, Hook, Isolation, KvLimits, Limits, LookupLimits, MEMORY_BYTES_MAX, OnFailure,
    PluginSpec,
};

use super::problem::Problems;
use super::section::Section;
use super::tree::{Node, Value};
use super::{take_file, value};
use crate::plugins::config::PluginsConfig;

/// The largest file, `kv` or output that may be asked for, in bytes.
const BYTES_MAX: usize = 1 << 32;
/// Calls, keys, rows and verdicts at most.
const COUNT_MAX: usize = 10_000_000;

/// Reads `plugins` and `plugin_host`.
pub(crate) fn read_plugins(top: &mut Section<'_>, redis: bool, problems: &mut Problems<'_>) -> PluginsConfig {
    let mut config = PluginsConfig::default();
    if let Some(mut host) = top.section("plugin_host", problems) {
        let directory = host.take("code_dir", problems, value::name);
        config.code_dir = directory.map(|path| problems.resolve(&path));
        let mut instances = config.instances_max as usize;
        host.set("instances_max", &mut instances, problems, value::count(1, 100_000));
        config.instances_max = u32::try_from(instances).unwrap_or(u32::MAX);
        host.close(problems);
    }
    let mut names = BTreeSet::new();
    for (path, node) in top.list("plugins", problems) {
        let Some(spec) = read_plugin(&path, node, problems) else { continue };
        if !names.insert(spec.name.clone()) {
            problems.add(node.place, format!("`{path}`: a plugin named `{}` was listed before", spec.name));
        }
        if spec.kv.shared && !redis {
            problems.add(node.place, format!("`{path}.kv.shared` needs `cache.redis`, where it is kept"));
        }
        config.plugins.push(spec);
    }
    config
}

fn read_plugin(path: &str, node: &Node, problems: &mut Problems<'_>) -> Option<PluginSpec> {
    let mut section = Section::open(node, path, problems)?;
    section.require("name", problems);
    section.require("file", problems);
    let name = section.take("name", problems, name);
    let file = take_file(&mut section, "file", problems);
    let mut spec = PluginSpec::new(name.clone().unwrap_or_default(), file.clone().unwrap_or_default());
    spec.sha256 = section.take("sha256", problems, digest);
    spec.grants = read_grants(&mut section, problems);
    if let Some(node) = section.node("config", problems) {
        spec.config = json(&node.value);
    }
    if let Some(limits) = section.section("limits", problems) {
        spec.limits = read_limits(limits, problems);
    }
    if let Some(kv) = section.section("kv", problems) {
        spec.kv = read_kv(kv, problems);
    }
    if let Some(lookup) = section.section("lookup", problems) {
        spec.lookup = read_lookup(lookup, problems);
    }
    spec.on_failure = read_failures(&mut section, problems);
    section.set("isolation", &mut spec.isolation, problems, value::word(Isolation::WORDS));
    section.close(problems);
    (name.is_some() && file.is_some()).then_some(spec)
}

/// Rules and metrics name it so.
fn name(value: &Value) -> Result<String, String> {
    let name = value::name(value)?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.len() <= 63 && name.bytes().all(fits) {
        Ok(name)
    } else {
        Err(format!("a plugin's name has letters, digits, `-` and `_`, 63 at the most; found `{name}`"))
    }
}

/// 64 hexadecimal digits.
fn digest(value: &Value) -> Result<[u8; 32], String> {
    let wrong =
        || "expected the file's SHA-256 as 64 hexadecimal digits, as `sha256sum` prints it".to_owned();
    let text = value::text(value)?;
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return Err(wrong());
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(digest)
}

fn read_grants(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Vec<Capability> {
    let mut grants = Vec::new();
    for (path, node) in section.list("grants", problems) {
        match value::word(Capability::WORDS)(&node.value) {
            Ok(grant) => grants.push(grant),
            Err(complaint) => problems.add(node.place, format!("`{path}`: {complaint}")),
        }
    }
    grants.sort_unstable();
    grants.dedup();
    grants
}

fn read_limits(mut section: Section<'_>, problems: &mut Problems<'_>) -> Limits {
    let mut limits = Limits::default();
    let Limits { file_bytes_max, memory_bytes_max, output_bytes_max, concurrency, memos_max, .. } =
        &mut limits;
    section.set("file", file_bytes_max, problems, value::bytes(1, BYTES_MAX));
    section.set("memory", memory_bytes_max, problems, value::bytes(64 << 10, MEMORY_BYTES_MAX));
    section.set("output_bytes", output_bytes_max, problems, value::bytes(1_024, BYTES_MAX));
    section.set("concurrency", concurrency, problems, value::count(1, 10_000));
    section.set("memos", memos_max, problems, value::count(0, COUNT_MAX));
    section.set("deadline", &mut limits.deadline, problems, value::duration);
    section.set("init_deadline", &mut limits.init_deadline, problems, value::duration);
    section.set("lookup_deadline", &mut limits.lookup_deadline, problems, value::duration);
    section.set("retry", &mut limits.retry, problems, value::duration);
    let mut failures = limits.failures_max as usize;
    section.set("failures", &mut failures, problems, value::count(1, 1_000_000));
    limits.failures_max = u32::try_from(failures).unwrap_or(u32::MAX);
    section.close(problems);
    limits
}

fn read_kv(mut section: Section<'_>, problems: &mut Problems<'_>) -> KvLimits {
    let mut kv = KvLimits::default();
    section.set("entries", &mut kv.entries_max, problems, value::count(1, COUNT_MAX));
    section.set("bytes", &mut kv.bytes_max, problems, value::bytes(1_024, BYTES_MAX));
    section.set("value_bytes", &mut kv.value_bytes_max, problems, value::bytes(1, BYTES_MAX));
    section.set("shared", &mut kv.shared, problems, value::boolean);
    section.close(problems);
    kv
}

fn read_lookup(mut section: Section<'_>, problems: &mut Problems<'_>) -> LookupLimits {
    let mut lookup = LookupLimits::default();
    section.set("rows", &mut lookup.rows_max, problems, value::count(1, COUNT_MAX));
    section.set("bytes", &mut lookup.bytes_max, problems, value::bytes(1, BYTES_MAX));
    section.close(problems);
    lookup
}

/// One word for all hooks, or one for each.
fn read_failures(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Failures {
    let mut failures = Failures::all(OnFailure::Closed);
    let word = value::word(OnFailure::WORDS);
    let Some(node) = section.node("on_failure", problems) else { return failures };
    if !matches!(node.value, Value::Map(_)) {
        if let Some(one) = section.take("on_failure", problems, word) {
            failures = Failures::all(one);
        }
        return failures;
    }
    let Some(mut each) = section.section("on_failure", problems) else { return failures };
    for (hook, name) in Hook::WORDS.iter().map(|(name, hook)| (*hook, *name)) {
        let place = match hook {
            Hook::Query => &mut failures.query,
            Hook::Write => &mut failures.write,
            Hook::Change => &mut failures.change,
            Hook::Store => &mut failures.store,
            Hook::Connect => &mut failures.connect,
        };
        each.set(name, place, problems, value::word(OnFailure::WORDS));
    }
    each.close(problems);
    failures
}

/// What `init` is told.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => match i64::try_from(*number) {
            Ok(number) => number.into(),
            Err(_) => number.to_string().into(),
        },
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.name.clone(), json(&node.value))).collect()
        }
    }
}
