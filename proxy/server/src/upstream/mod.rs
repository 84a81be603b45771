//! Servers: connect, log in, pool, watch. Knows nothing of clients.

pub mod account;
pub mod catalogs;
pub mod choice;
pub mod cluster;
pub mod condition;
pub mod config;
pub mod connect;
pub mod connection;
pub mod credentials;
pub mod database;
pub mod election;
pub mod freshness;
pub mod gate;
pub mod health;
pub mod lag;
pub mod lease;
mod moment;
pub mod own;
mod pause;
pub mod ping;
pub mod pool;
pub mod positions;
pub mod server;
pub mod settings;
pub mod targets;
pub mod verifiers;
pub mod watched;
