//! What the suites share: real PostgreSQL servers and a real proxy on free ports, and a client that speaks frames.
mod config;
mod keeper;
mod template;
pub mod tools;

pub mod forwarder;
pub mod msg;
pub mod pem;
pub mod proxy;
pub mod redis;
pub mod server;
pub mod shards;
pub mod stage;
pub mod wait;
pub mod wire;

pub use forwarder::Forwarder;
pub use proxy::Proxy;
pub use redis::Redis;
pub use server::Server;
pub use shards::{SOCIAL, Shard, WHOLE};
pub use stage::{Stage, StageBuilder};
pub use wait::{eventually, within};
pub use wire::{Credentials, Frame, Secret, Wire, normalise, pretty, tags};

/// The password of every role that has one.
pub const PASSWORD: &str = "password";

/// The database that `app` owns.
pub const DATABASE: &str = "app";
