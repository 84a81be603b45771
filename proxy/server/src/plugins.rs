//! What the server does for plugins: it loads them, answers what they look up, and shows them statements and sessions. When
//! they are asked is for sessions (`session::plugged`), the change stream and logins to say.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use pointsman_plugin_host::{
    ConnectVerdict, Hook, Host, HostError, HostOptions, Identity, Plugins, Session, SharedKv,
};

use crate::clusters::Clusters;
use crate::config::Config;
use crate::fault::Fault;
use crate::upstream::settings::{Interned, Settings, Value};

pub mod asked;
pub mod config;
mod fleet_kv;
mod lookups;

use asked::Asking;
use config::PluginsConfig;
use fleet_kv::FleetKv;
use lookups::Lookups;

/// The plugins in force, and what loads them.
pub struct PluginHost {
    /// Made when the first plugin is loaded: it reserves address space.
    host: OnceLock<Host>,
    options: HostOptions,
    lookups: Lookups,
    current: ArcSwap<Plugins>,
}

impl std::fmt::Debug for PluginHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginHost").field("current", &self.current).finish_non_exhaustive()
    }
}

impl PluginHost {
    /// A host that has loaded nothing yet, for the plugins of this configuration.
    ///
    /// # Errors
    /// The store that plugins share their `kv` in cannot be used.
    pub fn new(config: &Config) -> Result<Self, Fault> {
        let shared_kv = config.cache.redis.as_ref().map(|redis| FleetKv::new(redis.shared())).transpose()?;
        let shared_kv = shared_kv.map(|kv| Arc::new(kv) as Arc<dyn SharedKv>);
        let config = &config.plugins;
        let lookups = Lookups::default();
        let options = HostOptions {
            code_dir: config.code_dir.clone(),
            instances_max: config.instances_max,
            lookup: Some(Arc::new(lookups.clone())),
            shared_kv,
        };
        Ok(Self { host: OnceLock::new(), options, lookups, current: ArcSwap::default() })
    }

    /// The clusters are there: plugins can look things up.
    pub fn begin(&self, clusters: &Arc<Clusters>) {
        self.lookups.begin(clusters);
    }

    /// The plugins in force.
    pub fn current(&self) -> Arc<Plugins> {
        self.current.load_full()
    }

    /// Loads what a configuration names, all or nothing; what did not change is taken over. They come into force by
    /// [`put`](Self::put).
    ///
    /// # Errors
    /// Each plugin that cannot be loaded, with the reason; 58P01.
    pub async fn load(&self, config: &PluginsConfig) -> Result<Plugins, Fault> {
        if config.plugins.is_empty() {
            return Ok(Plugins::default());
        }
        let failed =
            |why: &dyn std::fmt::Display| Fault::pointsman("58P01", "plugins cannot be loaded").because(why);
        let host = self.host().map_err(|error| failed(&error))?;
        let plugins = Box::pin(host.load(config.plugins.clone(), Some(&self.current()))).await;
        plugins.map_err(|errors| {
            let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
            failed(&told.join("; "))
        })
    }

    /// The same where there is nothing yet to run it on.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_first(&self, config: &PluginsConfig) -> Result<Plugins, Fault> {
        if config.plugins.is_empty() {
            return Ok(Plugins::default());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let failed = |error| Fault::pointsman("F0000", "plugins cannot be loaded").because(error);
        runtime.map_err(failed)?.block_on(self.load(config))
    }

    fn host(&self) -> Result<&Host, HostError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = Host::new(self.options.clone())?;
        Ok(self.host.get_or_init(|| host))
    }

    /// Asks all plugins that have a say in it, in the configuration's order, whether a client that has proven who it is may come in. Its
    /// settings, with those that they add.
    ///
    /// # Errors
    /// What the client is told of a refusal.
    pub async fn admit(
        &self,
        config: &PluginsConfig,
        identity: Identity,
        settings: Arc<Settings>,
    ) -> Result<Arc<Settings>, Fault> {
        let plugins = self.current();
        let chain = config.plugins.iter().filter_map(|spec| plugins.get(&spec.name));
        let mut settings = settings;
        for plugin in chain.filter(|plugin| plugin.has(Hook::Connect)) {
            let asking = Asking { identity: identity.clone(), settings: Interned(Arc::clone(&settings)) };
            let session: Arc<dyn Session> = Arc::new(asking);
            let said: BoxFuture<'_, _> = Box::pin(plugin.on_connect(&session));
            match said.await.verdict {
                ConnectVerdict::Refuse(refusal) => return Err(asked::refused(&refusal)),
                ConnectVerdict::Allow(added) if added.is_empty() => {}
                ConnectVerdict::Allow(added) => {
                    let mut after = Settings::clone(&settings);
                    for (name, value) in added {
                        after.insert(&name.to_ascii_lowercase(), Value::Text(value));
                    }
                    settings = after.intern();
                }
            }
        }
        Ok(settings)
    }

    /// Puts loaded plugins in force, and gives back those before.
    pub fn put(&self, plugins: Arc<Plugins>) -> Arc<Plugins> {
        self.current.swap(plugins)
    }
}
