//! A loaded plugin: its hooks, as the server calls them. Whatever fails becomes the verdict that the configuration says.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};
use wasmtime::Engine;
use wasmtime::component::InstancePre;

use crate::breaker::Breaker;
use crate::call::{ChangeCall, QueryCall, Session, Statement, StoreCall, WriteCall};
use crate::convert;
use crate::engine::Ticker;
use crate::error::CallError;
use crate::inspect::Exports;
use crate::instance::{Change, Connect, HookType, Instance, Keep, Query, Write};
use crate::metrics::{MetricSeries, MetricShape};
use crate::pool::Pool;
use crate::room::Room;
use crate::spec::{Hook, Isolation, OnFailure, PluginSpec};
use crate::state::{Kv, Shared, State};
use crate::stats::Counts;
use crate::verdict::{ConnectVerdict, Invalidation, Refusal, Said, StoreVerdict, Verdict};

/// Instances that are ended to make room for one.
const ROOM_TRIES: u32 = 16;

/// What a plugin wants of the change stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// `schema.table` of each relation; empty: all.
    pub changes_of: Vec<String>,
    /// Whether columns' values are wanted.
    pub values: bool,
}

/// A plugin's state at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginStatus {
    /// Its counters since it was loaded.
    pub counts: Counts,
    /// Its instances, busy or not.
    pub instances: usize,
    /// Their memory, in bytes.
    pub memory_bytes: usize,
    /// Keys in `kv`, if they are in memory, and their bytes.
    pub kv: (usize, usize),
    /// Whether it is left alone, as it failed too often.
    pub disabled: bool,
}

/// A loaded plugin.
pub struct Plugin {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sha256: [u8; 32],
    pub(crate) engine: Engine,
    pub(crate) pre: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) waits: bool,
    pub(crate) wants: Wants,
    pub(crate) pool: Pool,
    pub(crate) permits: Semaphore,
    pub(crate) breaker: Breaker,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) room: Arc<Room>,
    pub(crate) retired: AtomicBool,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name()).finish_non_exhaustive()
    }
}

/// Who and what a call is about.
type Subject<'a> = (Option<&'a Arc<dyn Session>>, Option<&'a Arc<dyn Statement>>, Option<&'a str>);

impl Plugin {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.spec.name
    }

    /// What the configuration says of it.
    #[must_use]
    pub fn spec(&self) -> &PluginSpec {
        &self.shared.spec
    }

    /// SHA-256 of its file.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Whether it has a hook. One that it does not have says what no plugin says.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.exports.hooks[hook as usize].is_some()
    }

    /// What it wants of the change stream.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// Its state now.
    #[must_use]
    pub fn status(&self) -> PluginStatus {
        PluginStatus {
            counts: self.pool.counts(),
            instances: self.shared.instances.load(Ordering::Relaxed),
            memory_bytes: self.shared.memory.load(Ordering::Relaxed),
            kv: match &self.shared.kv {
                Kv::Memory(kv) => kv.size(),
                Kv::Shared(_) => (0, 0),
            },
            disabled: self.breaker.is_open(),
        }
    }

    /// The metrics that it registered.
    #[must_use]
    pub fn metrics(&self) -> Vec<(MetricShape, Vec<MetricSeries>)> {
        self.shared.metrics.snapshot()
    }

    /// A statement, before it is sent.
    pub async fn on_query(&self, call: &QueryCall) -> Said<Arc<Verdict>> {
        if !self.has(Hook::Query) {
            return Said::remembered(Arc::new(Verdict::Pass));
        }
        let shelf = self.pool.own();
        if let Some(verdict) = shelf.memos().find(call) {
            shelf.stats.remembered();
            shelf.stats.judged(verdict.kind());
            return Said::remembered(verdict);
        }
        let subject = (Some(&call.session), Some(&call.statement), None);
        let said = self.ask::<Query, _>(subject, || (call.into(),), |told| convert::outcome(told.0)).await;
        let said = match said {
            Ok((took, (verdict, memo))) => {
                let verdict = Arc::new(verdict);
                self.pool.own().memos().keep(call, memo, &verdict);
                Said { verdict, failure: None, took }
            }
            Err(failed) => self
                .failed(failed, Hook::Query, Verdict::Pass, |error| Verdict::Refuse(self.refusal(error)))
                .map(Arc::new),
        };
        self.pool.own().stats.judged(said.verdict.kind());
        said
    }

    /// The same at once. `None`: it looks things up, or there is no instance to be had at once; then it has not begun.
    pub fn on_query_now(&self, call: &QueryCall) -> Option<Said<Arc<Verdict>>> {
        if self.waits || self.permits.available_permits() == 0 {
            return None;
        }
        let asked = std::pin::pin!(self.on_query(call));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(said) => Some(said),
            Poll::Pending => None,
        }
    }

    /// A statement that wrote.
    pub async fn on_write(&self, call: &WriteCall) -> Said<Invalidation> {
        let nothing = Invalidation::Tags(Vec::new());
        if !self.has(Hook::Write) {
            return Said::remembered(nothing);
        }
        let subject = (Some(&call.session), Some(&call.statement), None);
        match self.ask::<Write, _>(subject, || (call.into(),), |told| convert::tags(told.0)).await {
            Ok((took, tags)) => Said { verdict: Invalidation::Tags(tags), failure: None, took },
            Err(failed) => self.failed(failed, Hook::Write, nothing, |_| Invalidation::Everything),
        }
    }

    /// Changes of one transaction.
    pub async fn on_change(&self, call: &ChangeCall) -> Said<Invalidation> {
        let nothing = Invalidation::Tags(Vec::new());
        if !self.has(Hook::Change) {
            return Said::remembered(nothing);
        }
        let params = || (call.clone().into(),);
        match self
            .ask::<Change, _>((None, None, Some(&call.database)), params, |told| convert::tags(told.0))
            .await
        {
            Ok((took, tags)) => Said { verdict: Invalidation::Tags(tags), failure: None, took },
            Err(failed) => self.failed(failed, Hook::Change, nothing, |_| Invalidation::Everything),
        }
    }

    /// A result, before it is kept.
    pub async fn on_store(&self, call: &StoreCall) -> Said<StoreVerdict> {
        let keep = StoreVerdict::Keep { tags: Vec::new(), ttl: None };
        if !self.has(Hook::Store) {
            return Said::remembered(keep);
        }
        let subject = (Some(&call.session), Some(&call.statement), None);
        match self.ask::<Keep, _>(subject, || (call.into(),), |told| convert::stored(told.0)).await {
            Ok((took, verdict)) => Said { verdict, failure: None, took },
            Err(failed) => self.failed(failed, Hook::Store, keep, |_| StoreVerdict::Veto),
        }
    }

    /// A client, before it is let in.
    pub async fn on_connect(&self, session: &Arc<dyn Session>) -> Said<ConnectVerdict> {
        let allow = ConnectVerdict::Allow(Vec::new());
        if !self.has(Hook::Connect) {
            return Said::remembered(allow);
        }
        match self
            .ask::<Connect, _>((Some(session), None, None), || (), |told| convert::connected(told.0))
            .await
        {
            Ok((took, verdict)) => Said { verdict, failure: None, took },
            Err(failed) => {
                self.failed(failed, Hook::Connect, allow, |error| ConnectVerdict::Refuse(self.refusal(error)))
            }
        }
    }

    /// Calls a hook in an instance of its own for that time, and checks the answer. What fails costs the instance.
    async fn ask<H: HookType, T>(
        &self,
        subject: Subject<'_>,
        params: impl FnOnce() -> H::Params,
        check: impl FnOnce(H::Return) -> Result<T, CallError>,
    ) -> Result<(Duration, T), (Duration, CallError)> {
        let Some(turn) = self.breaker.permits() else {
            return Err((Duration::ZERO, CallError::Disabled));
        };
        let _running = self.ticker.begin();
        let began = Instant::now();
        let result = self.perform::<H, T>(subject, params, check, began).await;
        let took = began.elapsed();
        match result {
            Ok(value) => {
                self.pool.own().stats.called(took);
                if self.breaker.succeeded() {
                    tracing::info!(plugin = self.name(), "the plugin answers again");
                }
                Ok((took, value))
            }
            Err(error) => {
                if error.is_fault() {
                    self.pause(self.breaker.failed(turn), &error);
                }
                Err((took, error))
            }
        }
    }

    /// Tells of a plugin that is disabled from now on.
    fn pause(&self, pause: Option<Duration>, error: &CallError) {
        if let Some(pause) = pause {
            let plugin = self.name();
            tracing::error!(plugin, "the plugin is disabled for {pause:?}, as it keeps failing: it {error}");
        }
    }

    async fn perform<H: HookType, T>(
        &self,
        (session, statement, database): Subject<'_>,
        params: impl FnOnce() -> H::Params,
        check: impl FnOnce(H::Return) -> Result<T, CallError>,
        began: Instant,
    ) -> Result<T, CallError> {
        let mut began = began;
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let permit = self.wait().await?;
                began = Instant::now();
                permit
            }
        };
        let mut instance = match self.pool.take() {
            Some(instance) => instance,
            None => {
                let instance = Box::pin(self.fresh()).await?;
                began = Instant::now();
                instance
            }
        };
        let state = instance.state();
        state.session = session.cloned();
        state.statement = statement.cloned();
        state.database = database.map(str::to_owned);
        let told = instance.call::<H>(&self.exports, params(), began).await?;
        let value = check(told)?;
        let state = instance.state();
        state.session = None;
        state.statement = None;
        state.database = None;
        self.shelve(instance).await;
        drop(permit);
        Ok(value)
    }

    /// Waits for another call to end.
    async fn wait(&self) -> Result<SemaphorePermit<'_>, CallError> {
        let limits = &self.shared.spec.limits;
        let waited = tokio::time::timeout(limits.deadline, self.permits.acquire()).await;
        waited.ok().and_then(Result::ok).ok_or(CallError::Busy(limits.concurrency))
    }

    /// A new instance before `init`. Where there is no room, others that wait for their next call make some.
    pub(crate) async fn instantiate(&self) -> Result<Instance, CallError> {
        let mut tries = 0..ROOM_TRIES;
        loop {
            let made = Instance::new(&self.engine, &self.pre, &self.shared, self.waits).await;
            let again = matches!(made, Err(CallError::Room(_))) && tries.next().is_some();
            if !again || !self.room.free_one().await {
                return made;
            }
        }
    }

    /// A new instance after `init`.
    async fn fresh(&self) -> Result<Instance, CallError> {
        self.pool.own().stats.made();
        let mut instance = self.instantiate().await?;
        instance.init(&self.exports).await?.map_err(CallError::Init)?;
        Ok(instance)
    }

    /// What becomes of an instance whose call went well.
    async fn shelve(&self, mut instance: Instance) {
        let ends = self.shared.spec.isolation == Isolation::PerCall
            || self.retired.load(Ordering::Acquire)
            || instance.state().is_bloated();
        if ends {
            Box::pin(instance.end(&self.exports)).await;
            return;
        }
        self.pool.put(instance);
        if self.retired.load(Ordering::Acquire) {
            Box::pin(self.end_idle()).await;
        }
    }

    /// The verdict of a call that failed.
    fn failed<V>(
        &self,
        (took, error): (Duration, CallError),
        hook: Hook,
        open: V,
        closed: impl FnOnce(&CallError) -> V,
    ) -> Said<V> {
        self.pool.own().stats.failed(&error, took);
        let plugin = self.name();
        if error != CallError::Disabled && self.shared.log.take().is_some() {
            tracing::warn!(plugin, hook = hook.word(), "the plugin {error}");
        }
        let verdict = match self.shared.spec.on_failure.of(hook) {
            OnFailure::Open => open,
            OnFailure::Closed => closed(&error),
        };
        Said { verdict, failure: Some(error), took }
    }

    /// Its verdict was one that its contract forbids, as only whoever acts on it can tell. What counts instead: nothing, or that the
    /// statement is refused, as the configuration says.
    pub fn broke_contract(&self, hook: Hook, why: &str) -> Option<Refusal> {
        let error = CallError::Contract(why.to_owned());
        // It may be remembered, and would break it again.
        self.pool.forget();
        self.pause(self.breaker.failed_after_all(), &error);
        let said = self.failed((Duration::ZERO, error), hook, None, |error| Some(self.refusal(error)));
        said.verdict
    }

    fn refusal(&self, error: &CallError) -> Refusal {
        Refusal {
            sqlstate: "58000".to_owned(),
            message: format!("plugin \"{}\" {error}", self.name()),
            hint: Some("Pointsman's log has more. `on_failure: open` would let this pass.".to_owned()),
        }
    }

    /// It was replaced: instances end as soon as their calls do.
    pub(crate) async fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.end_idle().await;
    }

    async fn end_idle(&self) {
        let _running = self.ticker.begin();
        for instance in self.pool.drain() {
            instance.end(&self.exports).await;
        }
    }
}
