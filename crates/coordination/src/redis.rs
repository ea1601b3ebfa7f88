//! The Redis engine: between processes.
//!
//! Keys, all with the prefix of the configuration (here `p`); each is gone when its time is over:
//!
//! | Key | Value |
//! |---|---|
//! | `p:count:KEY` | a count; ends with its window |
//! | `p:lease:{k:KEY}` | token and nonce of the holder; ends with the lease |
//! | `p:token:{k:KEY}` | the last token given, kept ten minutes beyond its lease |
//! | channel `p:hints` | pairs of account and version (see `payload`) |
//!
//! The braces put both keys of a lease on one node of a cluster.
//!
//! **Hints** of an account that wait to be sent are folded into its newest, and all that wait go out in one message. All
//! processes share one channel, since a listener listens to every account anyway. A listener that may have missed hints (its
//! connection was lost, it is slow) hears `None`.
//!
//! **Tokens** of leases are the server's clock in microseconds, or the last token and one where that is more. So they rise after
//! a lease was given back or has ended, when the clock steps back (the last token is remembered), and when Redis has lost everything
//! (the clock goes on). Only both at once could give a token that is not larger.
//!
//! **When Redis is away** every call ends within the deadline, and once that is known (a broken connection, or three calls in
//! a row without an answer) at once, without a try; a task in the background connects again. The log has one line when Redis is lost
//! and one when it is back. Hints are dropped and counted.
//!
//! **When Redis has lost its data** (flushed, or started again empty): counts begin again; a lease that somebody holds
//! can be taken by another, with a larger token, until the holder tries to renew it and hears that it is no longer its own.

mod config;
mod connection;
mod counters;
mod hints;
mod leases;
mod link;
mod metrics;
mod payload;
mod script;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use config::{Config, ConfigError, Tls};

use hints::Outbox;
use link::Link;

/// Hints, counters and leases in a Redis server or cluster.
pub struct Redis {
    link: Arc<Link>,
    outbox: Arc<Outbox>,
    prefix: String,
    undoing: Arc<Semaphore>,
    /// Ends with the engine.
    _tasks: JoinSet<()>,
}

impl Redis {
    /// Begins to connect and returns when that has succeeded or failed. Redis need not be there: only a wrong configuration is an
    /// error.
    pub async fn open(config: Config) -> Result<Self, ConfigError> {
        let target = config.target()?;
        let (prefix, connect) = (config.prefix.clone(), config.connect);
        let link = Arc::new(Link::new(config, target));
        let outbox = Arc::new(Outbox::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(link.clone().supervise());
        tasks.spawn(outbox.clone().publish(link.clone()));
        let _ = timeout(connect, link.begun()).await;
        Ok(Self {
            link,
            outbox,
            prefix,
            undoing: Arc::new(Semaphore::new(leases::MOST_UNDOING)),
            _tasks: tasks,
        })
    }

    /// Whether Redis answered when it was last asked.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// What keeps it from being used, without the password; none while it answers.
    pub fn trouble(&self) -> Option<String> {
        self.link.trouble()
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis")
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.link.close();
    }
}

/// As Redis takes times: whole milliseconds, at least one, at most 10,000 years.
fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, 315_360_000_000_000)
}
