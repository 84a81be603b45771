//! The keeper: the task that connects, publishes, says that the proxy is there, asks a server that was slow
//! whether it is back, and connects anew.
//!
//! A session is opened to callers only after everything was published over it, for each database: whatever
//! state the store is in, what was stored before is invalid. A server that was merely slow keeps its session
//! and what it has: the connection is the proof that it did not restart.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::backoff::Backoff;
use crate::breaker::BreakerState;
use crate::client::Session;
use crate::inner::Inner;
use crate::miss::{Miss, Severity};
use crate::publisher::Publisher;

pub(crate) async fn keep(inner: Arc<Inner>, mut stop: watch::Receiver<()>) {
    let backoff = Backoff::new(inner.config.retry, inner.config.retry_max);
    let publisher = Publisher::new(Arc::clone(&inner));
    let mut keeper = Keeper { inner, publisher, backoff, turn: 0 };
    tokio::select! {
        () = keeper.run() => {}
        // Its sender says nothing: it is dropped.
        _ = stop.changed() => {}
    }
    keeper.leave().await;
}

struct Keeper {
    inner: Arc<Inner>,
    publisher: Publisher,
    backoff: Backoff,
    /// Which address is tried next.
    turn: usize,
}

impl Keeper {
    async fn run(&mut self) {
        loop {
            match self.open().await {
                Ok(session) => {
                    tracing::info!("shared cache: open");
                    self.serve(&session).await;
                    self.inner.session.store(None);
                    tracing::warn!("shared cache: connection lost, closed");
                }
                Err(miss) => {
                    self.inner.stats.failed_behind(miss);
                    self.turn += 1;
                    tracing::warn!(why = miss.name(), "shared cache: cannot be opened");
                }
            }
            tokio::time::sleep(self.backoff.next(Instant::now())).await;
        }
    }

    async fn open(&mut self) -> Result<Arc<Session>, Miss> {
        let config = &self.inner.config;
        let seed = &self.inner.targets[self.turn % self.inner.targets.len()];
        let connected = tokio::time::timeout(config.patience, Session::open(config, seed)).await;
        let session = connected.unwrap_or(Err(Miss::Deadline))?;
        let bus = session.server(self.inner.names.bus.as_bytes()).clone();
        for queue in self.inner.queues().iter() {
            queue.doubt();
        }
        // A replica does not delete, and so is not opened, even where there is no database yet.
        self.publisher.prove(&session).await?;
        self.publisher.publish(&session).await?;
        let session = Arc::new(session);
        self.inner.session.store(Some(Arc::clone(&session)));
        self.inner.server.send_if_modified(|server| {
            let changed = server.as_ref().is_none_or(|server| server.addr() != bus.addr());
            *server = Some(bus);
            changed
        });
        self.inner.stats.sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(session)
    }

    /// Until the session is lost.
    async fn serve(&mut self, session: &Session) {
        let mut beat = tokio::time::interval(self.inner.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !session.breaker.is_lost() {
            // Failures are the breaker's to tell.
            tokio::select! {
                () = session.breaker.trouble.notified() => self.recover(session).await,
                () = self.inner.wake.notified() => drop(self.publisher.publish(session).await),
                _ = beat.tick() => drop(self.publisher.beat(session).await),
            }
        }
    }

    /// Asks until the server answers and has what waited, or the session is lost.
    async fn recover(&mut self, session: &Session) {
        while !session.breaker.permits() && !session.breaker.is_lost() {
            let open = session.breaker.state() == BreakerState::Open;
            let mut limit = self.inner.config.deadline;
            if open {
                tracing::warn!("shared cache: too slow, breaker open");
                tokio::time::sleep(self.backoff.next(Instant::now())).await;
                limit = self.inner.config.patience;
            }
            let answered = session.within(limit, session.ping()).await;
            if let Err(miss) = answered {
                self.inner.stats.failed_behind(miss);
                // Not even slow, but answering what nobody expects.
                if open || miss.severity() == Severity::None {
                    return session.breaker.failed(Miss::Down);
                }
            } else if self.publisher.publish(session).await.is_ok() {
                session.breaker.close();
            }
        }
    }

    /// Publishes what is left, for as long as patience lasts.
    async fn leave(&mut self) {
        if let Some(session) = self.inner.session.swap(None)
            && self.publisher.publish(&session).await.is_ok()
        {
            // Not heard, it is taken for lost, which costs the others a flush.
            let _ = self.publisher.bye(&session).await;
        }
    }
}
