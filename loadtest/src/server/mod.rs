//! Servers under our own control, as black boxes: a configuration, a process, signals, and its listeners.
//!
//! [`Postrider`] is one node in a directory and on a loopback address of its own. What it may be told is what an operator may
//! tell it: a configuration file, the admin command, signals. Nothing here looks into its data.
//!
//! Everything blocks (a start takes seconds): from a task, call through `spawn_blocking`.

mod accounts;
mod binary;
mod postrider;

pub use binary::{find, version};
pub use postrider::{Options, Postrider, free_address};
