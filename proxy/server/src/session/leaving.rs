//! How a client leaves: in order, half, or without a word; also while it waits for a connection.
//!
//! PostgreSQL notices that a client is gone when it reads from it or writes to it: what was sent before a `Terminate` or
//! the end of the stream is executed to its end. So it is here, but for one thing: the connection is others' too, and a
//! statement is not finished for a client that has closed its socket altogether. A socket closed on one side only looks the
//! same until something is written to it, so after a while one redundant ParameterStatus is.

use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use pointsman_wire::backend::ParameterStatus;

use super::failover::no_primary;
use super::io::Event;
use super::{Session, Wake, control};
use crate::fault::Fault;
use crate::upstream::config::Role;
use crate::upstream::lease::Lease;
use crate::upstream::pool::Pool;

/// How long a client that will send nothing more waits in silence before it is asked whether it is there.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Whether the client is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Attendance {
    /// It may send more.
    #[default]
    There,
    /// It said goodbye, or closed its sending side: what it sent is finished and answered.
    Leaving,
    /// Its socket failed, or it left the queue for a connection: nobody hears, nothing more is sent for it.
    Gone,
}

impl Session {
    /// The client will send nothing more; bytes behind its goodbye do not count.
    pub(super) fn goodbye(&mut self) {
        self.flow.client = Attendance::Leaving;
        self.io.from_client.consume(self.io.from_client.len());
        self.io.from_client.release();
        self.flow.surveyed = 0;
    }

    /// Whether nothing is left to be done for the client.
    pub(super) fn is_over(&self) -> bool {
        match self.flow.client {
            Attendance::There => false,
            Attendance::Gone => true,
            Attendance::Leaving => {
                let waits = self.flow.stalled || self.flow.relaying > 0;
                // Copy data that will never come is not waited for; nor are replies that no `Sync` asks for.
                !waits && (self.owed.readies() == 0 || self.owed.is_copying())
            }
        }
    }

    /// Waits for the next thing to do; asks a leaving client now and then whether it is there.
    pub(super) async fn wait(&mut self) -> Wake {
        if self.flow.client != Attendance::Leaving {
            return self.next_event().await;
        }
        match tokio::time::timeout(SILENCE_MAX, self.next_event()).await {
            Ok(wake) => wake,
            Err(_) => Wake::Silence,
        }
    }

    /// Tells a leaving client what it knows already: a socket that is closed answers with a reset.
    pub(super) fn probe_client(&mut self) {
        if self.flow.relaying > 0 || self.io.owes_client() {
            return;
        }
        let Some((name, value)) = self.told.first() else { return };
        let mut out = BytesMut::new();
        ParameterStatus { name, value }.encode(&mut out);
        self.io.to_client.extend(&out);
    }

    /// Waits in the queue of `server`'s pool, and as its primary no longer than it is that.
    pub(super) async fn queue_up(
        &mut self,
        pool: &Arc<Pool>,
        server: usize,
        role: Role,
    ) -> Result<Lease, Fault> {
        let since = Instant::now();
        let cluster = Arc::clone(&self.shared.cluster);
        self.meter.about.note_waiting(Some(since));
        let lease = async {
            match role {
                Role::Replica => pool.checkout().await,
                Role::Primary => tokio::select! {
                    lease = pool.checkout() => lease,
                    () = cluster.primary_is_not(server) => Err(no_primary()),
                },
            }
        };
        let outcome = self.attend(lease).await;
        self.meter.about.note_waiting(None);
        self.meter.usage.waited(since.elapsed());
        outcome
    }

    /// Waits for what a request needs before it can be sent, with an eye on the client: it may leave or cancel meanwhile,
    /// or have to leave. Who has left before the wait began is served like anybody who is leaving. A wait is rare and its
    /// state large: callers box it, so that idle sessions keep no room for it.
    pub(super) async fn attend<T>(
        &mut self,
        wait: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.attend_work(true, wait).await
    }

    /// The same for work that may have begun: then a drain does not end it.
    pub(super) async fn attend_work<T>(
        &mut self,
        idle: bool,
        wait: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut wait = std::pin::pin!(wait);
        let (io, flow, handle) = (&mut self.io, &mut self.flow, &self.handle);
        // A cancel from before was for nothing.
        if idle {
            handle.take_cancelled();
        }
        let mut first = true;
        std::future::poll_fn(|cx| {
            if handle.order(idle).is_some() {
                flow.dismissed = true;
                return Poll::Ready(Err(control::shutting_down()));
            }
            if handle.take_cancelled() {
                return Poll::Ready(Err(control::cancelled()));
            }
            if let Poll::Ready(outcome) = wait.as_mut().poll(cx) {
                return Poll::Ready(outcome);
            }
            let before = std::mem::take(&mut first);
            if flow.client == Attendance::There {
                match io.poll_ahead(cx) {
                    Poll::Ready(Event::ClientLeft) if before => flow.client = Attendance::Leaving,
                    Poll::Ready(_) => {
                        flow.client = Attendance::Gone;
                        return Poll::Ready(Err(Fault::client("08006", "the client has left the queue")));
                    }
                    Poll::Pending => {}
                }
            }
            Poll::Pending
        })
        .await
    }
}
