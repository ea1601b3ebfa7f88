//! A mail account in memory, and an owner that answers a session's events from it: the simplest thing that is right, to
//! play dialogues against.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

mod account;
mod owner;

pub use account::Account;
pub use owner::Owner;
