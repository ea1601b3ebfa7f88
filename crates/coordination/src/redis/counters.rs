//! Counters: a number that ends with its window.

use std::time::Duration;

use async_trait::async_trait;

use super::script::Script;
use super::{Redis, milliseconds};
use crate::{Counters, Unavailable};

/// The most that is added at a time, so that sums stay far from the largest number of Redis.
const MOST: u64 = 1 << 53;

/// Adds ARGV[1]; the first addition of a window decides that it ends in ARGV[2] milliseconds.
static ADD: Script = Script::new(
    "local count = redis.call('INCRBY', KEYS[1], ARGV[1])
     if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
     return count",
);

#[async_trait]
impl Counters for Redis {
    async fn add(&self, key: &str, amount: u64, window: Duration) -> Result<u64, Unavailable> {
        let keys = [self.count_key(key)];
        let arguments = [amount.min(MOST), milliseconds(window)];
        self.link
            .call("count", |connection| ADD.run(connection, &keys, &arguments))
            .await
            .map_err(|no_answer| no_answer.why)
    }

    async fn get(&self, key: &str) -> Result<u64, Unavailable> {
        let mut command = ::redis::cmd("GET");
        command.arg(self.count_key(key));
        let count: Option<u64> = self
            .link
            .call("get", |mut connection| async move {
                command.query_async(&mut connection).await
            })
            .await
            .map_err(|no_answer| no_answer.why)?;
        Ok(count.unwrap_or(0))
    }
}

impl Redis {
    fn count_key(&self, key: &str) -> String {
        format!("{}:count:{key}", self.prefix)
    }
}
