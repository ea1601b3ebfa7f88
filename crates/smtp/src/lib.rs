//! SMTP state machines, server and client half, without I/O: RFC 5321 with PIPELINING (RFC 2920), SIZE (RFC 1870),
//! 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING and BINARYMIME (RFC 3030), DSN
//! (RFC 3461), STARTTLS (RFC 3207), AUTH (RFC 4954) and LIMITS (RFC 9422).
//!
//! Both halves are [`postrider_wire::Session`]s: [`server::Server`] for whoever listens, [`client::Client`] for whoever
//! connects. They share the files in which a command is parsed and written, so that what one half writes the other reads.
//!
//! This crate does not know mailboxes, directories or queues: the server half asks its owner through events, the client
//! half is told what to send.
//!
//! Line ends are strict. A bare CR or LF never ends a line, a message or a command; a message that has one is refused
//! (unless it came as BINARYMIME), and the client half never writes one. That is what keeps one message one message.

pub mod client;
pub mod server;

mod auth;
mod bdat;
mod body;
mod capabilities;
mod dot;
mod mail;
mod observe;
mod parameters;
mod path;
mod rcpt;
mod reply;

pub use capabilities::{Capabilities, Limits as CapabilityLimits};
pub use dot::Stuffer;
pub use mail::{Body, Mail, Ret};
pub use observe::{Direction, Observer};
pub use path::ForwardPath;
pub use rcpt::{Notify, Rcpt};
pub use reply::{Enhanced, Reply, ReplyError};
