//! The sans-I/O session trait, framing and limits shared by the protocol crates.
//!
//! A protocol session is a pure state machine: bytes and time go in, bytes and events come out. It has no socket,
//! no clock and no executor, so one session type serves the gateways, the load generator, the tests and the
//! fuzzers, and a server half can be joined to a client half in memory.
//!
//! This crate does not know any protocol, and nothing of tokio.

mod line;
mod session;

pub use line::{Line, LineError, take_line};
pub use session::{Session, Step};
