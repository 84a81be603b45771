//! Room for instances, which all plugins share: one that finds none gets that of an instance that waits for its next call.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::plugin::Plugin;

/// All plugins that may have instances.
#[derive(Debug, Default)]
pub(crate) struct Room(Mutex<Vec<Weak<Plugin>>>);

impl Room {
    /// A plugin's instances can be ended from now on.
    pub(crate) fn join(&self, plugin: &Arc<Plugin>) {
        let mut plugins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(plugin));
    }

    /// Ends an instance of the plugin that has most of those that wait. Whether there was one.
    pub(crate) async fn free_one(&self) -> bool {
        let plugins = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let plugins = plugins.iter().filter_map(Weak::upgrade);
        let Some(plugin) = plugins.max_by_key(|plugin| plugin.pool.idle()) else { return false };
        let Some(instance) = plugin.pool.take() else { return false };
        instance.end(&plugin.exports).await;
        true
    }
}
