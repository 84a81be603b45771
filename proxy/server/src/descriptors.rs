//! File descriptors: every client and every server connection takes one, and the system's default limit is low.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Descriptors beside clients: server connections, listeners, files.
const OTHERS: u64 = 1_000;

/// Raises the soft limit on open files towards what `clients_max` needs, and warns if the hard one is too low for it.
pub(crate) fn prepare(config: &Config) {
    let clients = u64::try_from(config.limits.clients_max).unwrap_or(u64::MAX);
    let allowed = raise(clients.saturating_add(OTHERS));
    if let Some(allowed) = allowed.filter(|allowed| *allowed < clients) {
        tracing::warn!(
            "clients_max is {clients}, but the system allows {allowed} open files; raise the hard limit (systemd: \
             LimitNOFILE)"
        );
    }
}

/// Raises the soft limit to `wanted` if the hard one allows it, else as far as it does. Returns the soft limit now; `None`
/// means none.
fn raise(wanted: u64) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    if current >= wanted {
        return Some(current);
    }
    let target = maximum.map_or(wanted, |maximum| maximum.min(wanted)).max(current);
    match setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum }) {
        Ok(()) => Some(target),
        Err(error) => {
            tracing::warn!(%error, "the limit on open files cannot be raised");
            Some(current)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_only_goes_up() {
        let before = getrlimit(Resource::Nofile).current;
        assert_eq!(raise(1), before);
        let Some(before) = before else { return };
        assert!(raise(before + 1).is_none_or(|after| after == before || after == before + 1));
    }
}
