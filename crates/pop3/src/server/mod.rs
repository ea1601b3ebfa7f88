//! The server half.

mod authorization;
mod config;
mod event;
mod maildrop;
mod session;
mod transaction;

pub use config::Config;
pub use event::{Event, Refusal};
pub use maildrop::Maildrop;
pub use session::Server;
