//! The proxy's life: pingora's server around it, and what each signal asks for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use pingora_core::services::background::background_service;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::admin::http::{AdminHttp, Readiness, ReadyFlag};
use crate::config::Config;
use crate::metrics::PoolSource;
use crate::reload::{Cause, Reloader};
use crate::watch;

/// A proxy at work, as the life cycle sees it.
#[async_trait]
pub trait Running: PoolSource + 'static {
    /// Whether clients should be sent here.
    fn readiness(&self) -> Readiness;

    /// Changes what differs in `config` and drops nothing that stayed the same.
    ///
    /// # Errors
    /// What cannot be changed while running, or why the new configuration does not work; all stays as it was.
    async fn reload(&self, config: Config) -> Result<(), String>;

    /// Accepts nobody anymore and returns when the last session has ended, or after `deadline`.
    async fn drain(&self, deadline: Duration);

    /// Ends every session now.
    fn stop(&self);
}

/// Readiness of a proxy that may be on its way out.
pub struct Presence {
    running: Arc<dyn Running>,
    leaving: AtomicBool,
}

impl Presence {
    /// Of a proxy that has started.
    pub fn new(running: Arc<dyn Running>) -> Arc<Self> {
        Arc::new(Self { running, leaving: AtomicBool::new(false) })
    }
}

impl ReadyFlag for Presence {
    fn readiness(&self) -> Readiness {
        if self.leaving.load(Ordering::Acquire) {
            return Readiness::NotReady("draining".into());
        }
        self.running.readiness()
    }
}

/// Serves until a signal ends it.
pub fn run(presence: Arc<Presence>, reloader: Arc<Reloader>, admin: Option<AdminHttp>) {
    let conf = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    if let Some(admin) = admin {
        server.add_service(background_service("admin", admin));
    }
    let signals = Signals { presence, reloader };
    server.run(RunArgs { shutdown_signal: Box::new(signals) });
}

/// Watches signals; pingora only hears of the end, because its own grace period always lasts to its last second.
struct Signals {
    presence: Arc<Presence>,
    reloader: Arc<Reloader>,
}

/// The signals that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// SIGTERM: finish what is under way, then end.
    Terminate,
    /// SIGINT: the same; once more: end now.
    Interrupt,
    /// SIGQUIT: end now.
    Quit,
    /// SIGHUP: read the configuration again.
    Reload,
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        match watch_signals() {
            Ok(mut asked) => self.live(&mut asked).await,
            Err(error) => tracing::error!(%error, "signals cannot be watched; ending"),
        }
        self.presence.running.stop();
        ShutdownSignal::FastShutdown
    }
}

impl Signals {
    /// Returns when the process should end.
    async fn live(&self, asked: &mut mpsc::Receiver<Asked>) {
        let watching = tokio::spawn(watch::watch(Arc::clone(&self.reloader)));
        loop {
            match asked.recv().await {
                None | Some(Asked::Quit) => return,
                Some(Asked::Terminate | Asked::Interrupt) => break,
                Some(Asked::Reload) => {
                    // Logged and counted where it happens.
                    let _told = self.reloader.reload(Cause::Signal).await;
                }
            }
        }
        watching.abort();
        let shutdown_timeout = self.reloader.shutdown_timeout();
        self.presence.leaving.store(true, Ordering::Release);
        tracing::info!(timeout = ?shutdown_timeout, "draining: no new clients; interrupt to end at once");
        let drained = self.presence.running.drain(shutdown_timeout);
        tokio::pin!(drained);
        loop {
            tokio::select! {
                // The drain first, so that it has begun whatever else was asked.
                biased;
                () = &mut drained => return,
                asked = asked.recv() => match asked {
                    None | Some(Asked::Quit | Asked::Interrupt) => return,
                    Some(Asked::Terminate | Asked::Reload) => {}
                }
            }
        }
    }
}

/// Passes signals on, in the order of their arrival.
fn watch_signals() -> std::io::Result<mpsc::Receiver<Asked>> {
    let (sender, receiver) = mpsc::channel(8);
    for (kind, asked) in [
        (SignalKind::terminate(), Asked::Terminate),
        (SignalKind::interrupt(), Asked::Interrupt),
        (SignalKind::quit(), Asked::Quit),
        (SignalKind::hangup(), Asked::Reload),
    ] {
        let (mut signals, sender) = (signal(kind)?, sender.clone());
        tokio::spawn(
            async move { while signals.recv().await.is_some() && sender.send(asked).await.is_ok() {} },
        );
    }
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Notify;

    use super::*;
    use crate::config::{ConfigSource, Flags};
    use crate::metrics::{
        CacheSnapshot, ClientSnapshot, DatabaseSnapshot, PoolSnapshot, Reloads, RuleSnapshot, ServerSnapshot,
    };

    /// Notes what it is asked, and drains when told that the last session has ended.
    #[derive(Default)]
    struct Noted {
        asked: Mutex<Vec<String>>,
        last_session_ended: Notify,
    }

    impl PoolSource for Noted {
        fn pools(&self) -> Vec<PoolSnapshot> {
            Vec::new()
        }

        fn cache(&self) -> Option<CacheSnapshot> {
            None
        }

        fn plugins(&self) -> Vec<crate::metrics::PluginSnapshot> {
            Vec::new()
        }
        fn rules(&self) -> Vec<RuleSnapshot> {
            Vec::new()
        }

        fn sharded(&self) -> Vec<crate::metrics::ShardedSnapshot> {
            Vec::new()
        }

        fn databases(&self) -> Vec<DatabaseSnapshot> {
            Vec::new()
        }

        fn servers(&self) -> Vec<ServerSnapshot> {
            Vec::new()
        }

        fn clients(&self) -> ClientSnapshot {
            ClientSnapshot::default()
        }
    }

    #[async_trait]
    impl Running for Noted {
        fn readiness(&self) -> Readiness {
            Readiness::Ready
        }

        async fn reload(&self, config: Config) -> Result<(), String> {
            self.asked.lock().unwrap().push(format!("reload {}", config.clusters[0].user));
            Ok(())
        }

        async fn drain(&self, deadline: Duration) {
            self.asked.lock().unwrap().push(format!("drain {deadline:?}"));
            self.last_session_ended.notified().await;
        }

        fn stop(&self) {}
    }

    /// Lives through `signals`, then until the last session has ended, if `ends`; returns what was asked of the proxy.
    async fn live(primary: &str, signals: &[Asked], ends: bool) -> Vec<String> {
        let running = Arc::new(Noted::default());
        let presence = Presence::new(running.clone());
        let flags = |primary: &str| Flags { primary: primary.into(), ..Flags::default() };
        let mut config = Config::from_flags(&flags(URL)).unwrap();
        config.shutdown_timeout = Duration::from_secs(7);
        let (source, reloads) = (ConfigSource::Flags(flags(primary)), Arc::new(Reloads::default()));
        let dynamic: Arc<dyn Running> = running.clone();
        let reloader = Reloader::new(source, &config, &dynamic, reloads.clone());
        let watch = Signals { presence: presence.clone(), reloader };
        let (sender, mut receiver) = mpsc::channel(8);
        for asked in signals {
            sender.send(*asked).await.unwrap();
        }
        if ends {
            running.last_session_ended.notify_one();
        }
        assert_eq!(presence.readiness(), Readiness::Ready);
        tokio::time::timeout(Duration::from_secs(10), watch.live(&mut receiver)).await.expect("it ends");
        let asked = running.asked.lock().unwrap().clone();
        let reloaded = asked.iter().any(|asked| asked.starts_with("reload"));
        let refused = signals.contains(&Asked::Reload) && !reloaded;
        assert_eq!(reloads.counts(), (u64::from(reloaded), u64::from(refused)));
        let drained = asked.iter().any(|asked| asked.starts_with("drain"));
        assert_eq!(presence.readiness() == Readiness::NotReady("draining".into()), drained);
        asked
    }

    const URL: &str = "postgres://u@h";

    #[tokio::test]
    async fn a_term_drains_and_an_interrupt_ends_the_drain() {
        assert_eq!(live(URL, &[Asked::Terminate], true).await, ["drain 7s"]);
        assert_eq!(live(URL, &[Asked::Interrupt, Asked::Interrupt], false).await, ["drain 7s"]);
        assert_eq!(live(URL, &[Asked::Terminate, Asked::Terminate, Asked::Quit], false).await, ["drain 7s"]);
        assert_eq!(live(URL, &[Asked::Quit], false).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_hangup_reloads_unless_the_configuration_is_wrong() {
        let signals = [Asked::Reload, Asked::Terminate];
        assert_eq!(live(URL, &signals, true).await, ["reload u", "drain 30s"]);
        assert_eq!(live("nonsense", &signals, true).await, ["drain 7s"]);
    }
}
