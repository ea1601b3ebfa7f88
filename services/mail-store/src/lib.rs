#![doc = include_str!("../README.md")]

mod append;
mod cache;
mod changes;
mod clock;
mod columns;
mod commit;
mod config;
mod content;
mod copy;
mod courtesy;
mod decode;
mod delivery;
mod draft;
mod encode;
mod expunge;
mod failure;
mod flags;
mod folders;
mod grpc;
mod housekeeping;
mod index;
mod lookup;
mod messages;
mod names;
mod rows;
mod search;
mod service;
mod state;
mod watch;
mod weight;

use std::sync::Arc;

use postrider_coordination::Hints;
use postrider_proto::Failure;
use postrider_store::{AccountEngine, ContentEngine};

pub use config::Config;
pub use grpc::MailStore;

/// The mail store over its engines. Does no I/O; [`MailStore::background`] is to be spawned beside the server. Fails only
/// when the configuration cannot work.
pub fn service(
    accounts: Arc<dyn AccountEngine>,
    contents: Arc<dyn ContentEngine>,
    hints: Arc<dyn Hints>,
    config: Config,
) -> Result<MailStore, Failure> {
    config.validate()?;
    Ok(MailStore::new(service::Service::new(
        accounts, contents, hints, config,
    )))
}
