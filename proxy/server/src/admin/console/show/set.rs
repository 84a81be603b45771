//! SHOW CONFIG, POLICIES and RELOADS: the set in use, and how it came to be.

use std::fmt::Debug;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::pools::mode;
use crate::admin::console::table::{Table, moment, some};
use crate::client::config::ClientLimits;
use crate::config::Config;
use crate::proxy::Proxy;
use crate::upstream::config::{PoolConfig, ShardedConfig, WritesAcross};

/// A row for each key that has a value; secrets are not shown.
pub(super) fn config(config: &Config, table: &mut Table) {
    let mut row = |key: &str, value: String, default: Option<String>, changeable: bool| {
        let changeable = if changeable { "yes" } else { "no" };
        table.row([some(key), Some(value), default, some(changeable)]);
    };
    row("listen", list(&config.listen), some("127.0.0.1:6432"), false);
    row("admin", config.admin.map_or_else(String::new, |address| address.to_string()), some(""), false);
    row("workers", config.workers.to_string(), None, false);
    row("templates_max", config.templates_max.to_string(), some(5000), true);
    row("shutdown_timeout", time(config.shutdown_timeout), some("30s"), true);
    row("watch", config.watch.to_string(), some(true), true);
    row("policies", list(config.policies.iter().map(|path| path.display())), some(""), true);
    if let Some(tls) = &config.tls {
        row("tls.certificate", tls.certificate.display().to_string(), None, true);
        row("tls.required", tls.required.to_string(), some(false), true);
    }
    row("auth.method", word(&config.auth.method), some("scram"), true);
    let userlist = config.auth.userlist.as_ref().map_or_else(String::new, |path| path.display().to_string());
    row("auth.userlist", userlist, some(""), true);
    row("auth.admins", list(&config.auth.admins), some(""), true);
    for ((key, value), (_, default)) in
        limits(&config.limits).into_iter().zip(limits(&ClientLimits::default()))
    {
        row(key, value, Some(default), true);
    }
    for cluster in &config.clusters {
        let of = |key: &str| format!("clusters[{}].{key}", cluster.name);
        row(&of("servers"), list(cluster.servers.iter().map(|server| &server.address)), None, true);
        row(&of("databases"), list(cluster.databases.iter().map(|database| &database.name)), some(""), true);
        row(&of("health.interval"), time(cluster.health_interval), some("2s"), true);
        for ((key, value), (_, default)) in pool(&cluster.pool).into_iter().zip(pool(&PoolConfig::default()))
        {
            row(&of(key), value, Some(default), true);
        }
    }
    let usual = ShardedConfig::new(String::new());
    for database in &config.sharded {
        let name = if database.name.is_empty() { "*" } else { &database.name };
        for ((key, value), (_, default)) in sharded(database).into_iter().zip(sharded(&usual)) {
            row(&format!("sharded[{name}].{key}"), value, Some(default), true);
        }
    }
}

fn sharded(database: &ShardedConfig) -> [(&'static str, String); 6] {
    let writes = match database.writes {
        WritesAcross::Refuse => "refuse",
        WritesAcross::TwoPhase => "two_phase",
    };
    [
        ("shards", list(&database.shards)),
        ("server_name", database.server_name.clone().unwrap_or_default()),
        ("coordinator", database.coordinator.clone().unwrap_or_default()),
        ("cross_shard_writes", writes.to_owned()),
        ("gather_bytes_max", database.gather_bytes_max.to_string()),
        ("node", database.node.map_or_else(|| "leased".to_owned(), |node| node.to_string())),
    ]
}

fn limits(limits: &ClientLimits) -> [(&'static str, String); 6] {
    [
        ("limits.clients_max", limits.clients_max.to_string()),
        ("limits.unauthenticated_max", limits.unauthenticated_max.to_string()),
        ("limits.login_timeout", time(limits.login_timeout)),
        ("limits.startup_bytes_max", limits.startup_bytes_max.to_string()),
        ("limits.message_bytes_max", limits.message_bytes_max.to_string()),
        ("limits.prepared_statements_max", limits.prepared_statements_max.to_string()),
    ]
}

fn pool(pool: &PoolConfig) -> [(&'static str, String); 15] {
    [
        ("pool.mode", mode(pool.mode).to_owned()),
        ("pool.size", pool.size.to_string()),
        ("pool.min_idle", pool.min_idle.to_string()),
        ("pool.overflow", pool.overflow.to_string()),
        ("pool.checkout_timeout", time(pool.checkout_timeout)),
        ("pool.waiters_max", pool.waiters_max.to_string()),
        ("pool.pre_ping", time_or_off(pool.pre_ping)),
        ("pool.recycle", time_or_off(pool.recycle)),
        ("pool.idle_timeout", time_or_off(pool.idle_timeout)),
        ("pool.connect_timeout", time(pool.connect_timeout)),
        ("pool.statement_timeout", time_or_off(pool.statement_timeout)),
        ("pool.idle_transaction_timeout", time_or_off(pool.idle_transaction_timeout)),
        ("pool.timezone", pool.timezone.clone().unwrap_or_default()),
        ("pool.application_name", pool.application_name.clone().unwrap_or_default()),
        ("pool.prepared_statements_max", pool.prepared_statements_max.to_string()),
    ]
}

fn list(items: impl IntoIterator<Item = impl ToString>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn time(time: Duration) -> String {
    format!("{time:?}")
}

fn time_or_off(limit: Option<Duration>) -> String {
    limit.map_or_else(|| "off".to_owned(), time)
}

/// A closed set's word as the configuration has it.
fn word(value: &impl Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// A row for each policy file in use.
pub(super) fn policies(proxy: &Proxy, table: &mut Table) {
    for policy in proxy.policies.load().set.policies() {
        table.row([some(&policy.name), some(&policy.path), some(policy.rules), some(policy.functions)]);
    }
}

pub(super) const RULES: &[&str] =
    &["policy", "rule", "mode", "actions", "matched", "refused", "timed_out", "impossible", "file", "line"];

/// A row for each rule, in the order in which they are tried.
pub(super) fn rules(proxy: &Proxy, table: &mut Table) {
    for (rule, counts) in proxy.policies.load().rules() {
        table.row([
            some(&rule.policy),
            some(&rule.name),
            some(word(&rule.mode)),
            some(&rule.actions),
            some(counts.matched.load(Relaxed)),
            some(counts.refused.load(Relaxed)),
            some(counts.timed_out.load(Relaxed)),
            some(counts.impossible.load(Relaxed)),
            some(&rule.path),
            some(rule.place.line),
        ]);
    }
}

/// One row.
pub(super) fn reloads(proxy: &Proxy, table: &mut Table) {
    let (taken, refused) = proxy.metrics.reloads.counts();
    let last = proxy.reloader().and_then(|reloader| reloader.last());
    let outcome = last.as_ref().map(|last| if last.error.is_none() { "taken" } else { "refused" });
    table.row([
        some(taken),
        some(refused),
        moment(proxy.metrics.reloads.loaded()),
        outcome.and_then(some),
        last.as_ref().and_then(|last| moment(last.at)),
        last.as_ref().and_then(|last| some(last.cause)),
        last.and_then(|last| last.error),
    ]);
}
