//! The shared level against real Redis servers.

#[path = "redis/bus.rs"]
mod bus;
#[path = "redis/cluster.rs"]
mod cluster;
#[path = "redis/common.rs"]
mod common;
#[path = "redis/entries.rs"]
mod entries;
#[path = "redis/failures.rs"]
mod failures;
#[path = "redis/leases.rs"]
mod leases;
#[path = "redis/load.rs"]
mod load;
#[path = "redis/publishing.rs"]
mod publishing;
#[path = "redis/server.rs"]
mod server;
