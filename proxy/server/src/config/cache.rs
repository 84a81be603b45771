//! The cache of results: how much memory, and how changes are heard of.

use super::problem::Problems;
use super::section::Section;
use super::tree::Value;
use super::{take_file, told, value};
use crate::caching::config::{CacheConfig, ChangesConfig, ChangesMode, RedisConfig};
use pointsman_shared::SharedConfig;

/// The most memory that means anything here, in bytes.
const MEMORY_MAX: usize = 1 << 42;

const MODES: &[(&str, ChangesMode)] = &[("auto", ChangesMode::Auto), ("off", ChangesMode::Off)];

/// Reads `cache`.
pub(crate) fn read_cache(top: &mut Section<'_>, problems: &mut Problems<'_>) -> CacheConfig {
    let mut cache = CacheConfig::default();
    let Some(mut section) = top.section("cache", problems) else { return cache };
    section.set("memory", &mut cache.memory, problems, value::bytes(0, MEMORY_MAX));
    section.set("max_entry", &mut cache.max_entry, problems, value::bytes(1_024, 1 << 30));
    if let Some(changes) = section.section("changes", problems) {
        cache.changes = read_changes(changes, problems);
    }
    if let Some(redis) = section.section("redis", problems) {
        cache.redis = read_redis(redis, problems);
    }
    if cache.memory > 0 && cache.max_entry > cache.memory / 8 {
        if section.has("max_entry") {
            problems.add(section.place, "`cache.max_entry` may be an eighth of `cache.memory` at the most");
        }
        cache.max_entry = cache.memory / 8;
    }
    section.close(problems);
    cache
}

fn read_changes(mut section: Section<'_>, problems: &mut Problems<'_>) -> ChangesConfig {
    let mut changes = ChangesConfig::default();
    section.set("mode", &mut changes.mode, problems, value::word(MODES));
    section.set("publication", &mut changes.publication, problems, value::name);
    changes.slot = section.take("slot", problems, slot);
    section.set("lag_max", &mut changes.lag_max, problems, value::duration);
    let mut retained = usize::try_from(changes.retained_max).unwrap_or(usize::MAX);
    section.set("retained_max", &mut retained, problems, value::bytes(1 << 20, MEMORY_MAX));
    changes.retained_max = retained as u64;
    section.set("definitions_interval", &mut changes.definitions_interval, problems, value::duration);
    section.close(problems);
    changes
}

fn read_redis(mut section: Section<'_>, problems: &mut Problems<'_>) -> Option<RedisConfig> {
    let place = section.place;
    section.require("urls", problems);
    let mut urls = Vec::new();
    for (path, node) in section.list("urls", problems) {
        match value::name(&node.value) {
            Ok(url) => urls.push(url),
            Err(complaint) => problems.add(node.place, format!("`{path}`: {complaint}")),
        }
    }
    let defaults = SharedConfig::new(Vec::new());
    let mut redis = RedisConfig {
        urls,
        cluster: section.take("cluster", problems, value::boolean).unwrap_or(false),
        prefix: section.take("prefix", problems, value::name).unwrap_or(defaults.prefix),
        password: read_password(&mut section, problems),
        deadline: defaults.deadline,
        compress_from: defaults.compress_from,
        retry: defaults.retry,
    };
    section.set("deadline", &mut redis.deadline, problems, value::duration);
    section.set("compress_from", &mut redis.compress_from, problems, value::bytes(0, 1 << 30));
    section.set("retry", &mut redis.retry, problems, value::duration);
    section.close(problems);
    if redis.urls.is_empty() {
        return None;
    }
    if let Err(error) = redis.shared().check() {
        problems.add(place, format!("`cache.redis`: {error}"));
    }
    Some(redis)
}

/// A password file's first line.
fn read_password(section: &mut Section<'_>, problems: &mut Problems<'_>) -> Option<String> {
    let path = take_file(section, "password_file", problems)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text.lines().next().unwrap_or_default().to_owned()),
        Err(error) => {
            problems.add(
                section.place,
                format!("`cache.redis.password_file`: {}: {}", path.display(), told(&error)),
            );
            None
        }
    }
}

/// What PostgreSQL takes as a slot's name.
fn slot(value: &Value) -> Result<String, String> {
    let name = value::name(value)?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.len() <= 63 && name.bytes().all(fits) {
        Ok(name)
    } else {
        Err(format!("a slot's name has lower-case letters, digits and `_`, 63 at the most; found `{name}`"))
    }
}
