//! The server's session: bytes in, events out, answers back.
//!
//! ```text
//!            greeting
//!               │ (PREAUTH goes straight to authenticated)
//!        not authenticated ──LOGIN, AUTHENTICATE──▶ authenticated ◀──CLOSE, UNSELECT── selected
//!               │   ▲ STARTTLS                           │  └──────────SELECT, EXAMINE────▲
//!               └───┴──────── LOGOUT, time-out, drain, too many failures ──▶ logout
//! ```
//!
//! Commands are handled strictly one after the other: after an event that expects an answer, [`Session::step`] says
//! `Waiting` until the answer is given, and what the client has pipelined stays in the input buffer.
//!
//! [`Session::step`]: postrider_wire::Session::step

mod append;
mod auth;
mod capability;
mod config;
mod dispatch;
mod event;
mod input;
mod server;

pub use config::{Config, Limits};
pub use event::{AppendDone, Enabled, Event};
pub use server::{Session, State};
