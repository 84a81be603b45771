//! What plugins import, performed: `session` and `statement` for all, capabilities for those that are granted them.

mod kv;

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rand::RngCore;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::pointsman::plugin::{clock, log, lookup, metric, random, session, statement, types};
use crate::lookup::{LookupError, LookupRequest};
use crate::metrics::{MetricKind, MetricShape};
use crate::spec::Capability;
use crate::state::{Kv, State};

/// The most that `random.bytes` gives.
const RANDOM_BYTES_MAX: u32 = 4096;

/// Links what is always there, and what is imported.
pub(crate) fn link(
    linker: &mut Linker<State>,
    capabilities: &[Capability],
    shared_kv: bool,
) -> wasmtime::Result<()> {
    type Own = HasSelf<State>;
    session::add_to_linker::<_, Own>(linker, |state| state)?;
    statement::add_to_linker::<_, Own>(linker, |state| state)?;
    for capability in capabilities {
        match capability {
            Capability::Log => log::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Metric => metric::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Kv if shared_kv => kv::link_shared(linker)?,
            Capability::Kv => kv::link_memory(linker)?,
            Capability::Lookup => lookup::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Clock => clock::add_to_linker::<_, Own>(linker, |state| state)?,
            Capability::Random => random::add_to_linker::<_, Own>(linker, |state| state)?,
        }
    }
    Ok(())
}

/// Whether a plugin with these imports may have to wait, so that its calls are asynchronous.
pub(crate) fn waits(capabilities: &[Capability], kv: &Kv) -> bool {
    capabilities.contains(&Capability::Lookup)
        || (capabilities.contains(&Capability::Kv) && matches!(kv, Kv::Shared(_)))
}

impl State {
    fn session(&self) -> wasmtime::Result<&dyn crate::call::Session> {
        self.session.as_deref().ok_or_else(|| wasmtime::Error::msg("`session` was asked where there is none"))
    }

    fn statement(&self) -> wasmtime::Result<&dyn crate::call::Statement> {
        let none = || wasmtime::Error::msg("`statement` was asked where there is none");
        self.statement.as_deref().ok_or_else(none)
    }
}

fn index(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

impl session::Host for State {
    fn who(&mut self) -> wasmtime::Result<session::Identity> {
        let identity = self.session()?.identity();
        Ok(session::Identity {
            user: identity.user.clone(),
            database: identity.database.clone(),
            application: identity.application.clone(),
            client: identity.client.clone(),
        })
    }

    fn setting(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.session()?.setting(&name))
    }
}

impl statement::Host for State {
    fn sql(&mut self) -> wasmtime::Result<String> {
        Ok(self.statement()?.sql())
    }

    fn relations(&mut self) -> wasmtime::Result<Vec<types::Relation>> {
        Ok(self.statement()?.relations().into_iter().map(Into::into).collect())
    }

    fn literal(&mut self, at: u32) -> wasmtime::Result<Option<statement::Constant>> {
        Ok(self.statement()?.literal(index(at)).map(Into::into))
    }

    fn param(&mut self, at: u32) -> wasmtime::Result<Option<types::Parameter>> {
        Ok(self.statement()?.param(index(at)).map(Into::into))
    }

    fn pinned(&mut self, table: String, column: String) -> wasmtime::Result<Option<Vec<types::Value>>> {
        let values = self.statement()?.pinned(&table, &column);
        Ok(values.map(|values| values.into_iter().map(Into::into).collect()))
    }

    fn comment(&mut self, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.statement()?.comment(&key))
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        if !is_enabled(level) {
            return Ok(());
        }
        let Some(dropped) = self.shared.log.take() else { return Ok(()) };
        let (plugin, line) = (&self.shared.spec.name, crate::log::line(&message));
        if dropped > 0 {
            tracing::warn!(plugin, "{dropped} lines of this plugin were not written");
        }
        match level {
            log::Level::Error => tracing::error!(plugin, "{line}"),
            log::Level::Warn => tracing::warn!(plugin, "{line}"),
            log::Level::Info => tracing::info!(plugin, "{line}"),
            log::Level::Debug => tracing::debug!(plugin, "{line}"),
        }
        Ok(())
    }

    fn enabled(&mut self, level: log::Level) -> wasmtime::Result<bool> {
        Ok(is_enabled(level))
    }
}

fn is_enabled(level: log::Level) -> bool {
    match level {
        log::Level::Error => tracing::enabled!(tracing::Level::ERROR),
        log::Level::Warn => tracing::enabled!(tracing::Level::WARN),
        log::Level::Info => tracing::enabled!(tracing::Level::INFO),
        log::Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
    }
}

impl State {
    fn register(
        &self,
        name: String,
        help: String,
        labels: Vec<metric::Label>,
        kind: MetricKind,
    ) -> Result<u32, String> {
        if !self.initialising {
            return Err("metrics are registered in `init`".to_owned());
        }
        let labels = labels.into_iter().map(|label| (label.name, label.values)).collect();
        self.shared.metrics.register(MetricShape { name, help, kind, labels })
    }
}

type Registered = wasmtime::Result<Result<u32, String>>;

impl metric::Host for State {
    fn register_counter(&mut self, name: String, help: String, labels: Vec<metric::Label>) -> Registered {
        Ok(self.register(name, help, labels, MetricKind::Counter))
    }

    fn register_gauge(&mut self, name: String, help: String, labels: Vec<metric::Label>) -> Registered {
        Ok(self.register(name, help, labels, MetricKind::Gauge))
    }

    fn register_histogram(
        &mut self,
        name: String,
        help: String,
        labels: Vec<metric::Label>,
        buckets: Vec<f64>,
    ) -> Registered {
        Ok(self.register(name, help, labels, MetricKind::Histogram(buckets)))
    }

    fn add(&mut self, metric: u32, labels: Vec<u32>, by: f64) -> wasmtime::Result<()> {
        self.shared.metrics.add(metric, &labels, by);
        Ok(())
    }

    fn set(&mut self, metric: u32, labels: Vec<u32>, to: f64) -> wasmtime::Result<()> {
        self.shared.metrics.set(metric, &labels, to);
        Ok(())
    }

    fn observe(&mut self, metric: u32, labels: Vec<u32>, value: f64) -> wasmtime::Result<()> {
        self.shared.metrics.observe(metric, &labels, value);
        Ok(())
    }
}

impl lookup::Host for State {
    async fn query(
        &mut self,
        sql: String,
        params: Vec<Option<String>>,
    ) -> wasmtime::Result<Result<types::Rows, lookup::LookupError>> {
        let began = Instant::now();
        let answer = self.look_up(sql, params).await;
        self.waited += began.elapsed();
        Ok(answer.map(Into::into).map_err(Into::into))
    }
}

impl State {
    async fn look_up(
        &self,
        sql: String,
        params: Vec<Option<String>>,
    ) -> Result<crate::verdict::Rows, LookupError> {
        let of_session = self.session.as_ref().map(|session| session.identity().database.clone());
        let (Some(lookup), Some(database)) =
            (&self.shared.lookup, of_session.or_else(|| self.database.clone()))
        else {
            return Err(LookupError::Refused("there is no database to look up in".to_owned()));
        };
        let deadline = self.shared.spec.limits.lookup_deadline.saturating_sub(self.waited);
        let request = LookupRequest {
            plugin: self.shared.spec.name.clone(),
            database,
            sql,
            params,
            deadline,
            limits: self.shared.spec.lookup,
        };
        let answer = tokio::time::timeout(deadline, lookup.query(request)).await;
        answer.unwrap_or(Err(LookupError::Deadline))
    }
}

impl clock::Host for State {
    fn now(&mut self) -> wasmtime::Result<u64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn monotonic(&mut self) -> wasmtime::Result<u64> {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        Ok(u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

impl random::Host for State {
    fn number(&mut self) -> wasmtime::Result<u64> {
        Ok(rand::rng().next_u64())
    }

    fn bytes(&mut self, count: u32) -> wasmtime::Result<Vec<u8>> {
        if count > RANDOM_BYTES_MAX {
            return Err(wasmtime::Error::msg(format!("`random.bytes` gives at most {RANDOM_BYTES_MAX}")));
        }
        let mut bytes = vec![0; index(count)];
        rand::rng().fill_bytes(&mut bytes);
        Ok(bytes)
    }
}
