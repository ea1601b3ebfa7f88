//! Listeners, TLS, PROXY protocol, driving a session, drain, telemetry, configuration.
//!
//! This crate knows sockets and time; it does not know any mail protocol, service or store.

pub mod drive;
pub mod journal;
