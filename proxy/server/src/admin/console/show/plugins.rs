//! SHOW PLUGINS: what is loaded, what it may do, and what it did.

use pointsman_plugin_host::{Hook, Isolation};

use crate::admin::console::table::{Table, flag, some};
use crate::proxy::Proxy;

pub(super) const COLUMNS: &[&str] = &[
    "name",
    "file",
    "sha256",
    "hooks",
    "grants",
    "isolation",
    "rules",
    "calls",
    "remembered",
    "failures",
    "microseconds_a_call",
    "instances",
    "memory_bytes",
    "kv_keys",
    "kv_bytes",
    "disabled",
];

/// A row for each plugin, in the configuration's order.
pub(super) fn fill(proxy: &Proxy, table: &mut Table) {
    let (plugins, policies) = (proxy.plugins.current(), proxy.policies.load());
    let settings = proxy.settings();
    for spec in &settings.config.plugins.plugins {
        let Some(plugin) = plugins.get(&spec.name) else { continue };
        let hooks = Hook::WORDS.iter().filter(|(_, hook)| plugin.has(*hook)).map(|(word, _)| *word);
        let grants = spec.grants.iter().map(|grant| grant.word());
        let naming =
            policies.rules().filter(|(rule, _)| rule.actions.plugins.iter().any(|name| **name == *spec.name));
        let status = plugin.status();
        let failures: u64 = status.counts.failures.iter().sum();
        let calls = status.counts.calls + failures;
        let mean = status.counts.took.as_secs_f64() * 1e6 / calls.max(1) as f64;
        let isolation = match spec.isolation {
            Isolation::Reused => "reused",
            Isolation::PerCall => "per-call",
        };
        table.row([
            some(&spec.name),
            some(spec.file.display()),
            Some(plugin.sha256().iter().map(|byte| format!("{byte:02x}")).collect()),
            Some(hooks.collect::<Vec<_>>().join(", ")),
            Some(grants.collect::<Vec<_>>().join(", ")),
            some(isolation),
            some(naming.count()),
            some(status.counts.calls),
            some(status.counts.remembered),
            some(failures),
            some(format_args!("{mean:.1}")),
            some(status.instances),
            some(status.memory_bytes),
            some(status.kv.0),
            some(status.kv.1),
            flag(status.disabled),
        ]);
    }
}
