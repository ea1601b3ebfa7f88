#![doc = include_str!("../README.md")]

mod ahead;
mod config;
mod conversation;
mod failure;
mod listener;
mod lock;
mod login;
mod maildrop;
mod metrics;
mod store;

pub use config::{Config, Timeouts};
pub use listener::{Listener, Pop3, Services};
pub use store::PIECE;
