//! From facts and rules to a plan, without I/O: what the server's catalog says of functions and relations, what a
//! statement may do, and where it goes.

pub mod catalog;
mod class;
mod plan;
mod policy;
pub mod queries;
mod suggest;
mod touched;

pub use class::{Access, Class, Reason, classify};
pub use plan::{Held, Pin, Plan, Replicas, Role, SessionView, plan};
pub use policy::{Overrides, Policy, PolicyError, load_policy};
pub use suggest::{distance, suggestion};
pub use touched::{Consistency, Footprint, SLOTS, Touched, footprint, slot_of};
