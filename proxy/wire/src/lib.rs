//! PostgreSQL wire protocol 3, without sockets, async, clocks or configuration.

pub mod backend;
pub mod error;
pub mod fields;
pub mod frame;
pub mod frontend;
pub mod md5;
mod oids;
pub mod options;
pub mod owed;
mod read;
pub mod replication;
pub mod scram;
pub mod startup;
mod write;

pub use error::WireError;
pub use oids::Oids;
pub use write::put_frame;
