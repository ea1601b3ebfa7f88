//! POP3 state machines, server and client half, without I/O: RFC 1939 (APOP aside) with CAPA and response codes
//! (RFC 2449), AUTH-RESP-CODE (RFC 3206), STLS (RFC 2595), AUTH (RFC 5034) and UTF8 (RFC 6856).
//!
//! Both halves are [`postrider_wire::Session`]s: [`server::Server`] for whoever listens, [`client::Client`] for whoever
//! connects. They share how a command is parsed and written and how a message is byte-stuffed, so that what one half writes
//! the other reads.
//!
//! This crate does not know directories or stores: the server half asks its owner through events and looks at a maildrop
//! through the small trait [`server::Maildrop`].

pub mod client;
pub mod server;

mod command;
mod stuffing;

pub use command::{Auth, Command, CommandError};
pub use stuffing::{Stuffer, Unstuffed, Unstuffer};
