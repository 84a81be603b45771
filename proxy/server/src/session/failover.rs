//! A statement that was not sent yet and finds no primary waits for one, for a while, instead of failing.

use std::sync::Arc;
use std::time::Instant;

use super::{Session, held::Unheld};
use crate::fault::{Fault, Side};
use crate::upstream::config::Role;
use crate::upstream::server::Server;

impl Session {
    /// Borrows a connection to the primary. While there is none, or it cannot be reached, this waits for the next round
    /// of health questions and tries again, for `failover_wait` at the most.
    pub(super) async fn hold_primary(&mut self) -> Result<(), Fault> {
        let cluster = Arc::clone(&self.shared.cluster);
        let since = Instant::now();
        let mut place = None;
        loop {
            let round = cluster.next_round();
            let unheld = match self.try_primary().await {
                Ok(()) => return Ok(()),
                Err(unheld) => unheld,
            };
            let left = cluster.config().failover_wait.saturating_sub(since.elapsed());
            if !unheld.unreachable || left.is_zero() {
                return Err(unheld.fault);
            }
            if place.is_none() {
                place = Some(cluster.wait_for_primary().ok_or_else(too_many)?);
            }
            cluster.suspect();
            // A round that does not come in time is followed by a last try.
            Box::pin(self.attend(async { Ok(tokio::time::timeout(left, round).await.is_ok()) })).await?;
        }
    }

    async fn try_primary(&mut self) -> Result<(), Unheld> {
        let servers = self.shared.cluster.servers();
        let primary: Option<&Arc<Server>> =
            self.shared.cluster.primary().and_then(|index| servers.get(index));
        match primary {
            Some(primary) => self.borrow_from(primary, Role::Primary).await,
            None => Err(Unheld { fault: no_primary(), unreachable: true }),
        }
    }
}

/// SQLSTATEs by which a server, or the way to it, says that it is not the primary now and another may be: connection
/// failures, shutting down, crashed, starting up, read-only.
const UNREACHABLE: [&str; 6] = ["08001", "08006", "57P01", "57P02", "57P03", "25006"];

/// Whether a connection was not to be had because there may be a failover.
pub(super) fn is_unreachable(fault: &Fault) -> bool {
    fault.side == Side::Upstream && UNREACHABLE.contains(&&*fault.sqlstate)
}

/// Nobody is the primary.
pub(super) fn no_primary() -> Fault {
    Fault::upstream("08006", "no server is the primary now").hint("Try again: a failover may be in progress.")
}

fn too_many() -> Fault {
    Fault::pointsman("53300", "too many clients wait for a primary already (waiters_max)")
        .hint("Try again: a failover may be in progress.")
}
