//! The server half: whoever listens.
//!
//! [`Server`] answers what SMTP itself decides, and asks its owner the rest through [`Event`]s. An event that
//! expects an answer says so; until it is given, `step` returns `Waiting`.

mod authentication;
mod chunking;
mod config;
mod data;
mod event;
mod hello;
mod other;
mod session;
mod tls;
mod transaction;

pub use config::{AuthMode, Config, Limits, Timeouts};
pub use event::{Aborted, Event, MessageEnd, PasswordCheck};
pub use session::Server;
