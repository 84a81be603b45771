//! Loads plugins: all of them or none. Those that did not change stay as they are, with their instances.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::breaker::Breaker;
use crate::code::{CodeCache, compile};
use crate::engine::{Ticker, engine};
use crate::error::{CallError, LoadError, Problem};
use crate::imports;
use crate::inspect::inspect;
use crate::kv::{MemoryKv, SharedKv};
use crate::log::LogLimit;
use crate::lookup::Lookup;
use crate::metrics::Registry;
use crate::plugin::{Plugin, Wants};
use crate::pool::Pool;
use crate::prepare::{self, Source};
use crate::room::Room;
use crate::spec::{MEMORY_BYTES_MAX, PluginSpec};
use crate::state::{Kv, Shared};

/// What the server does for plugins, and how many it has room for.
#[derive(Clone)]
pub struct HostOptions {
    /// Where compiled code is kept; without it, plugins are compiled at each start.
    pub code_dir: Option<PathBuf>,
    /// Instances of all plugins together. Each reserves address space: some gigabytes, but no memory.
    pub instances_max: u32,
    /// Answers lookups.
    pub lookup: Option<Arc<dyn Lookup>>,
    /// Keeps what `kv` shares.
    pub shared_kv: Option<Arc<dyn SharedKv>>,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self { code_dir: None, instances_max: 256, lookup: None, shared_kv: None }
    }
}

/// Loads plugins and keeps what they share.
pub struct Host {
    engine: Engine,
    ticker: Arc<Ticker>,
    room: Arc<Room>,
    code: Option<CodeCache>,
    options: HostOptions,
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The directory of compiled code.
    #[error("compiled plugins cannot be kept: {0}")]
    Code(#[source] std::io::Error),
    /// The engine, for lack of address space say.
    #[error("plugins cannot be run on this machine: {0}")]
    Engine(String),
    /// The clock's thread.
    #[error("the clock of plugins cannot be started: {0}")]
    Clock(#[source] std::io::Error),
}

/// All loaded plugins, by name.
#[derive(Debug, Default)]
pub struct Plugins(BTreeMap<String, Arc<Plugin>>);

impl Plugins {
    /// A plugin.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.0.get(name)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.0.values()
    }

    /// Ends what `new` replaces. Calls that run end in peace, and their instances with them.
    pub async fn replaced_by(&self, new: &Self) {
        for (name, plugin) in &self.0 {
            if !new.get(name).is_some_and(|kept| Arc::ptr_eq(kept, plugin)) {
                plugin.retire().await;
            }
        }
    }
}

impl Host {
    /// A host.
    ///
    /// # Errors
    /// If the directory of compiled code is not safe, or the machine gives no address space.
    pub fn new(options: HostOptions) -> Result<Self, HostError> {
        let code = options.code_dir.as_deref().map(CodeCache::open).transpose().map_err(HostError::Code)?;
        let engine =
            engine(options.instances_max).map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let ticker = Arc::new(Ticker::start(&engine).map_err(HostError::Clock)?);
        Ok(Self { engine, ticker, room: Arc::default(), code, options })
    }

    /// Loads plugins, whole or not at all. `before` is what was loaded so far: a plugin whose file and configuration
    /// are the same is taken over as it is; one that changed keeps its `kv` and what its metrics counted. Compiling takes
    /// milliseconds for small plugins and many seconds for large ones; it is done on tokio's blocking threads.
    ///
    /// # Errors
    /// Every plugin that cannot be loaded, with its reason. `before` goes on unharmed.
    pub async fn load(
        &self,
        specs: Vec<PluginSpec>,
        before: Option<&Plugins>,
    ) -> Result<Plugins, Vec<LoadError>> {
        let (mut plugins, mut errors) = (BTreeMap::new(), Vec::new());
        for spec in specs {
            let (name, file) = (spec.name.clone(), spec.file.clone());
            let old = before.and_then(|plugins| plugins.get(&name));
            let loaded = if plugins.contains_key(&name) {
                Err(Problem::Config("another plugin has the same name".to_owned()))
            } else {
                Box::pin(self.load_one(spec, old)).await
            };
            match loaded {
                Ok(plugin) => drop(plugins.insert(name, plugin)),
                Err(problem) => errors.push(LoadError { plugin: name, file, problem }),
            }
        }
        if errors.is_empty() { Ok(Plugins(plugins)) } else { Err(errors) }
    }

    async fn load_one(&self, spec: PluginSpec, old: Option<&Arc<Plugin>>) -> Result<Arc<Plugin>, Problem> {
        check(&spec)?;
        let source = read(spec.clone()).await?;
        let sha256 = source.sha256;
        if let Some(old) = old
            && old.sha256 == sha256
            && *old.spec() == spec
        {
            return Ok(Arc::clone(old));
        }
        let component = self.compile(source).await?;
        let exports = inspect(&self.engine, &component, &spec.grants)?;
        let shared = Arc::new(self.shared(spec, old)?);
        let (spec, shape) = (&shared.spec, |error: wasmtime::Error| Problem::Shape(format!("{error:#}")));
        let mut linker = Linker::new(&self.engine);
        imports::link(&mut linker, &exports.capabilities, spec.kv.shared).map_err(shape)?;
        let pre = linker.instantiate_pre(&component).map_err(shape)?;
        let limits = spec.limits;
        let mut plugin = Plugin {
            sha256,
            engine: self.engine.clone(),
            pre,
            waits: imports::waits(&exports.capabilities, &shared.kv),
            exports,
            wants: Wants::default(),
            pool: Pool::new(limits.memos_max),
            permits: Semaphore::new(limits.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            breaker: Breaker::new(limits.failures_max, limits.retry),
            ticker: Arc::clone(&self.ticker),
            room: Arc::clone(&self.room),
            retired: AtomicBool::new(false),
            shared,
        };
        self.try_out(&mut plugin).await?;
        let plugin = Arc::new(plugin);
        self.room.join(&plugin);
        Ok(plugin)
    }

    async fn compile(&self, source: Source) -> Result<wasmtime::component::Component, Problem> {
        let (engine, code) = (self.engine.clone(), self.code.clone());
        let work = move || compile(&engine, code.as_ref(), &source.component()?);
        let compiled = tokio::task::spawn_blocking(work).await;
        compiled.unwrap_or_else(|error| Err(Problem::Invalid(format!("the compiler failed: {error}"))))
    }

    fn shared(&self, spec: PluginSpec, old: Option<&Arc<Plugin>>) -> Result<Shared, Problem> {
        let kept = old.and_then(|old| match &old.shared.kv {
            Kv::Memory(kv) if *kv.limits() == spec.kv => Some(Arc::clone(kv)),
            _ => None,
        });
        let kv = if spec.kv.shared {
            let missing =
                || Problem::Config("its `kv` is to be shared, but no shared store is configured".to_owned());
            Kv::Shared(self.options.shared_kv.clone().ok_or_else(missing)?)
        } else {
            Kv::Memory(kept.unwrap_or_else(|| Arc::new(MemoryKv::new(spec.kv))))
        };
        let metrics = old.map_or_else(Registry::default, |old| Registry::after(&old.shared.metrics));
        Ok(Shared {
            config: spec.config.to_string(),
            kv,
            lookup: self.options.lookup.clone(),
            metrics: Arc::new(metrics),
            log: LogLimit::new(),
            memory: AtomicUsize::new(0),
            instances: AtomicUsize::new(0),
            spec,
        })
    }

    /// Makes a first instance: types, `init` and `needs`.
    async fn try_out(&self, plugin: &mut Plugin) -> Result<(), Problem> {
        let _running = self.ticker.begin();
        let mut instance = plugin.instantiate().await.map_err(Problem::Start)?;
        instance.check(&plugin.exports).map_err(|error| match error {
            CallError::Contract(why) => Problem::Shape(why),
            other => Problem::Start(other),
        })?;
        let init = instance.init(&plugin.exports).await.map_err(Problem::Init)?;
        init.map_err(Problem::Refused)?;
        if let Some(wants) = instance.declare(&plugin.exports).await.map_err(Problem::Needs)? {
            plugin.wants = Wants { changes_of: wants.changes_of, values: wants.values };
        }
        plugin.pool.put(instance);
        Ok(())
    }
}

async fn read(spec: PluginSpec) -> Result<Source, Problem> {
    let source = tokio::task::spawn_blocking(move || prepare::read(&spec)).await;
    source.unwrap_or_else(|error| Err(Problem::File(std::io::Error::other(error))))
}

/// What is wrong with a plugin's configuration by itself.
fn check(spec: &PluginSpec) -> Result<(), Problem> {
    let wrong = |what: &str| Err(Problem::Config(what.to_owned()));
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if spec.name.is_empty() || spec.name.len() > 63 || !spec.name.chars().all(letters) {
        return wrong("its name is not 1 to 63 letters, digits, `-` and `_`");
    }
    if !(64 << 10..=MEMORY_BYTES_MAX).contains(&spec.limits.memory_bytes_max) {
        return wrong("its memory is not between 64KiB and 1GiB");
    }
    if spec.limits.deadline.is_zero() || spec.limits.init_deadline.is_zero() {
        return wrong("its deadlines are not longer than nothing");
    }
    Ok(())
}
