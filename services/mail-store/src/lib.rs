//! Mailboxes, folders, messages and changes: the only role that touches message storage.
//!
//! # Duty
//!
//! Serves the contract `postrider.mailstore.v1` over the engine traits of `postrider-store`. An account is an ordered log
//! of commits; what the rows of an account *mean* (folders, UIDs, flags, quotas, conversations, exactly-once delivery) is
//! written here, once, for every engine.
//!
//! # Inputs and outputs
//!
//! * In: rpcs of other roles, in this process or over the network; hints of other instances.
//! * Out: commits and contents in the engines; hints; news to watchers.
//!
//! It knows no protocol a user speaks, no password and no address: callers have authenticated whoever asks and have
//! turned addresses into account ids.
//!
//! # How it works
//!
//! * [`commit`]: operations on one account wait in a lane and are merged into commits; conflicts and unknown outcomes are
//!   resolved there. Other instances may work on the same accounts at any time; that costs speed, never correctness.
//! * [`draft`]: what a commit will do, as net effect by row; counts, quota and UIDs change in the same commit.
//! * [`cache`], [`state`]: accounts in use in memory, bounded in bytes, each true of one version.
//! * [`index`]: folder indexes, kept up by commits, saved as snapshots, so that opening a large folder reads no messages.
//! * One file a subject: [`delivery`], [`append`], [`content`], [`folders`], [`messages`], [`flags`], [`copy`], [`expunge`],
//!   [`search`], [`changes`], [`watch`], [`housekeeping`]. [`grpc`] decodes, calls and encodes.
//!
//! # Failures
//!
//! Storage that is away, or an outcome that cannot be found out: `UNAVAILABLE`; the same request may be tried again
//! (deliveries with the same delivery id, so that they happen once). Damage: `INTERNAL`, and a line in the log. What the
//! caller did wrong: the kinds named in the contract.
//!
//! # Configuration and limits
//!
//! See [`Config`]. A name has at most 1,000 bytes, 255 a level, 32 levels; a delivery 1,000 recipients; an append 1,000
//! messages; flag changes and copies 100,000 messages a request; inline content 1 MiB; a search 1,000 keys.

mod append;
mod cache;
mod changes;
mod clock;
mod commit;
mod config;
mod content;
mod copy;
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
mod messages;
mod names;
mod rows;
mod search;
mod service;
mod state;
mod watch;

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
