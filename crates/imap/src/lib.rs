//! IMAP parser, encoder and session state machines, server and client half, without I/O.
//!
//! IMAP4rev1 (RFC 3501) and IMAP4rev2 (RFC 9051), with the extensions that CAPABILITY names. Bytes are framed and limited,
//! then parsed into values that cannot be wrong ([`command`]); [`session::Session`] keeps the protocol's state and asks its
//! owner one question at a time; [`response`] writes answers straight into the output buffer; [`view::View`] is a selected
//! mailbox as one client has been told of it; [`thread`] makes conversations; [`client`] is the other half.
//!
//! This crate does not know accounts, storage, gRPC, sockets or clocks. Mailbox names are plain UTF-8 with `/` between
//! levels everywhere but on the wire.

mod date;
mod frame;
mod parse;

pub mod client;
pub mod command;
pub mod mailbox;
pub mod response;
pub mod session;
pub mod set;
pub mod thread;
pub mod view;

pub use client::Client;
pub use command::Command;
pub use parse::ParseError;
pub use session::{Event, Session};
pub use view::View;
