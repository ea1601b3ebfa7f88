//! Hints, counters and leases between processes.
//!
//! Losing coordination slows notification and relaxes limits; it never loses mail and never stops reading it.
//! The memory engine is for one process, the Redis engine for many; every engine passes the contract suite.

mod logins;
mod memory;
pub mod redis;
#[cfg(any(test, feature = "suite"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "cases fail by panicking")]
pub mod suite;

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use postrider_types::{AccountId, Version};

pub use logins::LoginLimits;
pub use memory::Memory;
pub use redis::Redis;

/// Coordination is away; the caller goes on without it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("coordination is unavailable: {0}")]
pub struct Unavailable(pub String);

/// "Account a has reached version v": may be lost, doubled or late, so that a watcher also polls slowly.
#[async_trait]
pub trait Hints: Send + Sync + 'static {
    /// Says it. Never waits long.
    async fn announce(&self, account: AccountId, version: Version);
    /// All that is announced from now on. The stream may skip announcements when its reader is slow, and then yields
    /// `None` items in their place: "look at everything you watch".
    async fn listen(&self) -> BoxStream<'static, Option<(AccountId, Version)>>;
    /// Whether what others announce arrives here, as far as is known: then a listener need not look by itself often.
    fn are_heard(&self) -> bool;
}

/// Counts that forget: rate limits, penalties, greylists.
#[async_trait]
pub trait Counters: Send + Sync + 'static {
    /// Adds to the count of `key` in its current window (begun by its first addition) and returns the count.
    async fn add(&self, key: &str, amount: u64, window: Duration) -> Result<u64, Unavailable>;
    /// The count of `key`, 0 when its window is over.
    async fn get(&self, key: &str) -> Result<u64, Unavailable>;
}

/// Exclusive holds with an end: the POP3 maildrop lock.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes the lease unless somebody has it; the holder's token.
    async fn take(&self, key: &str, time: Duration) -> Result<Option<LeaseToken>, Unavailable>;
    /// Prolongs it; false when it is no longer ours.
    async fn renew(&self, key: &str, token: LeaseToken, time: Duration) -> Result<bool, Unavailable>;
    /// Gives it back, if it is still ours.
    async fn release(&self, key: &str, token: LeaseToken);
}

/// Proof of having taken a lease: larger than every earlier token of the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseToken(pub u64);
