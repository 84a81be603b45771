//! `pointsman serve`: configuration, metrics, proxy and admin put together, and run until a signal ends it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::admin::http::AdminHttp;
use crate::config::{ConfigError, ConfigSource};
use crate::descriptors;
use crate::lifecycle::{self, Presence, Running};
use crate::metrics::{Metrics, PoolSource};
use crate::proxy::Proxy;
use crate::reload::Reloader;

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The admin's address cannot be listened on.
    #[error("admin: cannot listen on {address}: {cause}")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The proxy did not start.
    #[error("{0}")]
    Start(String),
    /// Two metrics share a name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until a signal ends it.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(source: ConfigSource) -> Result<(), ServeError> {
    let config = source.load()?;
    let set = config.policy_set()?;
    descriptors::prepare(&config);
    let metrics = Metrics::new(config.workers, config.templates_max)?;
    let listener = config.admin.map(listen).transpose()?;
    let proxy = Proxy::start(config.clone(), metrics.clone(), set)
        .map_err(|fault| ServeError::Start(fault.to_string()))?;
    let listening: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    tracing::info!(workers = config.workers, "listening on {}", listening.join(", "));
    let pools: Arc<dyn PoolSource> = proxy.clone();
    metrics.watch(&pools);
    let running: Arc<dyn Running> = proxy.clone();
    let reloader = Reloader::new(source, &config, &running, metrics.reloads.clone());
    proxy.reload_by(&reloader);
    let presence = Presence::new(proxy);
    let admin = match listener {
        Some((address, listener)) => {
            let admin = AdminHttp::new(listener, metrics, presence.clone());
            Some(admin.map_err(|cause| ServeError::Admin { address, cause })?)
        }
        None => None,
    };
    lifecycle::run(presence, reloader, admin);
    Ok(())
}

fn listen(address: SocketAddr) -> Result<(SocketAddr, TcpListener), ServeError> {
    let listener = TcpListener::bind(address).map_err(|cause| ServeError::Admin { address, cause })?;
    let bound = listener.local_addr().unwrap_or(address);
    tracing::info!("metrics and health on http://{bound}");
    Ok((bound, listener))
}
