//! What a configuration says of plugins.

use std::path::PathBuf;

use pointsman_plugin_host::{HostOptions, PluginSpec};

/// Plugins, and what they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginsConfig {
    /// Where compiled code is kept; none: plugins are compiled at each start.
    pub code_dir: Option<PathBuf>,
    /// Instances of all plugins together.
    pub instances_max: u32,
    /// The plugins, in order.
    pub plugins: Vec<PluginSpec>,
}

impl Default for PluginsConfig {
    fn default() -> Self {
        let HostOptions { code_dir, instances_max, .. } = HostOptions::default();
        Self { code_dir, instances_max, plugins: Vec::new() }
    }
}

impl PluginsConfig {
    /// Whether what all plugins share is the same: it stays as it is until the end of the process.
    pub fn shares_as(&self, other: &Self) -> bool {
        (&self.code_dir, self.instances_max) == (&other.code_dir, other.instances_max)
    }

    /// The plugin of this name.
    pub fn get(&self, name: &str) -> Option<&PluginSpec> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }
}
