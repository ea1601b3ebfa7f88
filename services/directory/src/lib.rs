#![doc = include_str!("../README.md")]

mod accounts;
mod aliases;
mod app_passwords;
mod authenticate;
mod config;
mod domains;
mod error;
mod grpc;
mod hashing;
mod metrics;
mod password;
pub mod resolve;
mod service;

pub use accounts::{AccountChange, NewAccount};
pub use authenticate::{Identity, ScramAnswer};
pub use config::{Argon2Cost, Config};
pub use error::{Error, Result};
pub use service::Directory;
