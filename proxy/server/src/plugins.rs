//! What the server does for plugins: it loads them, answers what they look up, and shows them statements and sessions. When
//! they are asked is for sessions (`session::plugged`), the change stream and logins to say.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use pointsman_plugin_host::{Host, HostError, HostOptions, Plugins, SharedKv};

use crate::clusters::Clusters;
use crate::fault::Fault;

pub mod asked;
pub mod config;
mod lookups;

use config::PluginsConfig;
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
    /// A host without plugins; `shared_kv` is what their `kv` may share.
    pub fn new(config: &PluginsConfig, shared_kv: Option<Arc<dyn SharedKv>>) -> Self {
        let lookups = Lookups::default();
        let options = HostOptions {
            code_dir: config.code_dir.clone(),
            instances_max: config.instances_max,
            lookup: Some(Arc::new(lookups.clone())),
            shared_kv,
        };
        Self { host: OnceLock::new(), options, lookups, current: ArcSwap::default() }
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

    fn host(&self) -> Result<&Host, HostError> {
        if let Some(host) = self.host.get() {
            return Ok(host);
        }
        let host = Host::new(self.options.clone())?;
        Ok(self.host.get_or_init(|| host))
    }

    /// Puts loaded plugins in force, and gives back those before.
    pub fn put(&self, plugins: Arc<Plugins>) -> Arc<Plugins> {
        self.current.swap(plugins)
    }
}
