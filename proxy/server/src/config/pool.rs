//! A cluster's `pool`.

use crate::upstream::config::{PoolConfig, PoolMode};

use super::problem::Problems;
use super::section::Section;
use super::value;

/// The words for [`PoolMode`].
const POOL_MODES: &[(&str, PoolMode)] =
    &[("transaction", PoolMode::Transaction), ("session", PoolMode::Session)];

/// Connections a pool may have; PostgreSQL's own `max_connections` ends at 262,143.
pub(crate) const POOL_SIZE_MAX: usize = 262_143;

/// Reads the section, whatever it leaves out at its default.
pub(crate) fn read_pool(mut section: Section<'_>, problems: &mut Problems<'_>) -> PoolConfig {
    let mut pool = PoolConfig::default();
    let up_to = |least| value::count(least, POOL_SIZE_MAX);
    section.set("mode", &mut pool.mode, problems, value::word(POOL_MODES));
    section.set("size", &mut pool.size, problems, up_to(1));
    section.set("min_idle", &mut pool.min_idle, problems, up_to(0));
    section.set("overflow", &mut pool.overflow, problems, up_to(0));
    section.set("checkout_timeout", &mut pool.checkout_timeout, problems, value::duration);
    section.set("waiters_max", &mut pool.waiters_max, problems, value::count(0, 10_000_000));
    section.set("pre_ping", &mut pool.pre_ping, problems, value::duration_or_off);
    section.set("recycle", &mut pool.recycle, problems, value::duration_or_off);
    section.set("idle_timeout", &mut pool.idle_timeout, problems, value::duration_or_off);
    section.set("connect_timeout", &mut pool.connect_timeout, problems, value::duration);
    section.set("login_retry", &mut pool.login_retry, problems, value::duration);
    section.set("login_retry_max", &mut pool.login_retry_max, problems, value::duration);
    section.set("statement_timeout", &mut pool.statement_timeout, problems, value::duration_or_off);
    section.set(
        "idle_transaction_timeout",
        &mut pool.idle_transaction_timeout,
        problems,
        value::duration_or_off,
    );
    pool.timezone = section.take("timezone", problems, value::name);
    pool.application_name = section.take("application_name", problems, value::name);
    section.set(
        "prepared_statements_max",
        &mut pool.prepared_statements_max,
        problems,
        value::count(1, 1_000_000),
    );
    if pool.min_idle > pool.size {
        let message =
            format!("`{}.min_idle` ({}) is above `size` ({})", section.path, pool.min_idle, pool.size);
        problems.add(section.place, message);
    }
    if pool.login_retry > pool.login_retry_max {
        problems.add(section.place, format!("`{}.login_retry` is above `login_retry_max`", section.path));
    }
    section.close(problems);
    pool
}
