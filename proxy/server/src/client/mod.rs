//! Clients before their session: first packets and login.

pub mod config;
pub mod login;
pub mod prove;
pub mod users;
