//! Transactions that were written on several shards: committed on all of them or on none, whatever fails meanwhile.
//!
//! Each participant prepares (`PREPARE TRANSACTION`); then one row in one table on the group's first shard, `pointsman.decisions`,
//! decides; then each commits what it has prepared. The row survives the proxy and its disk, and any proxy can finish what
//! another one began:
//!
//! 1. **Registered**: before anything is prepared, the row is there, and says `open`. It need not be flushed.
//! 2. **Prepared**: `PREPARE TRANSACTION 'pointsman_<group>_<node>_<unique>_<shard>'` on the client's own connections.
//! 3. **Decided**: the row is changed to `commit` if it says `open`, by a commit that waits for the disk and for synchronous standbys.
//!    That row's change is the commit of the transaction. If it says anything else, or is gone, nothing is committed.
//! 4. **Finished**: `COMMIT PREPARED` on each.
//!
//! Recovery ([`sweep`]) changes the row of what it finds prepared from `open` to `abort`, or leaves one that says `absent` where
//! there is none, in one statement that also tells what the row says; so whoever changes the row first decides, and a proxy that
//! was slow finds that it cannot commit any more. Decided rows stay for [`config::Terms::retention`], so that a shard which loses a
//! `COMMIT PREPARED` in a failover is told again; then they are deleted, once no shard has their transaction. Nothing of this depends
//! on how long anything takes (`machine/tests.rs`).
//!
//! A client hears of success when all shards have committed, so that it reads what it wrote. If one cannot be reached for
//! [`config::Terms::finish`], it is told all the same, with a warning ([`Outcome::late`]): the transaction *is* committed, and an error would
//! have it done twice. Other sessions may see one shard's part before another's.
//!
//! What it takes: `max_prepared_transactions` above 0 on every shard; and, as only a superuser or the user who prepared may finish,
//! a superuser as the clusters' own user. Else recovery cannot finish what other users began, and lists it as doubtful, with that reason.
//! The first shard holds the decisions: it is to be as durable as the most durable of the others, and the order of
//! the shards is not to be changed while anything is in doubt.

mod commit;
pub mod config;
mod group;
mod log;
mod machine;
mod name;
mod servers;
mod stop;
mod sweep;

pub use commit::{Outcome, Participant, Trouble, commit};
pub use group::{Counts, Doubtful, Group};
pub use stop::Stops;
pub use sweep::{Swept, sweep, watch};
