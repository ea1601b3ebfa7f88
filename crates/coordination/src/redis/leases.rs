//! Leases: a key that ends, with the token of its holder.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::script::Script;
use super::{Redis, milliseconds};
use crate::{LeaseToken, Leases, Unavailable};

/// Leases whose taking had an unknown outcome and that are being given back at the same time.
pub const MOST_UNDOING: usize = 256;
/// How long after Redis is back a command from before may still be carried out: what a server that was stopped had received, it
/// does in the first round of its life.
const SETTLED: Duration = Duration::from_millis(500);

/// Takes the lease of nonce ARGV[1] for ARGV[2] milliseconds. Asked twice, by a connection that tries again, it answers the same.
static TAKE: Script = Script::new(
    "local held = redis.call('GET', KEYS[1])
     if held then
       if string.match(held, ' (%d+)$') == ARGV[1] then return string.match(held, '^%d+') end
       return false
     end
     local time = redis.call('TIME')
     local last = tonumber(redis.call('GET', KEYS[2]) or 0)
     local token = string.format('%.0f', math.max(time[1] * 1000000 + time[2], last + 1))
     redis.call('SET', KEYS[1], token .. ' ' .. ARGV[1], 'PX', ARGV[2])
     redis.call('SET', KEYS[2], token, 'PX', ARGV[2] + 600000)
     return token",
);

/// Prolongs the lease of token ARGV[1] to ARGV[2] milliseconds from now.
static RENEW: Script = Script::new(
    "local held = redis.call('GET', KEYS[1])
     if not held or string.match(held, '^%d+') ~= ARGV[1] then return 0 end
     redis.call('PEXPIRE', KEYS[1], ARGV[2])
     redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2] + 600000)
     return 1",
);

/// Gives back the lease whose token, or else whose nonce, is ARGV[1].
static RELEASE: Script = Script::new(
    "local held = redis.call('GET', KEYS[1])
     if not held then return 0 end
     local token, nonce = string.match(held, '^(%d+) (%d+)$')
     if token ~= ARGV[1] and nonce ~= ARGV[1] then return 0 end
     return redis.call('DEL', KEYS[1])",
);

#[async_trait]
impl Leases for Redis {
    async fn take(&self, key: &str, time: Duration) -> Result<Option<LeaseToken>, Unavailable> {
        // Beyond any token: nobody is given back by mistake.
        let nonce: u64 = rand::random::<u64>() | 1 << 63;
        let keys = self.lease_keys(key);
        let arguments = [nonce, milliseconds(time)];
        let taken: Result<Option<u64>, _> = self
            .link
            .call("take", |connection| TAKE.run(connection, &keys, &arguments))
            .await;
        taken.map(|token| token.map(LeaseToken)).map_err(|no_answer| {
            if no_answer.unknown {
                self.undo(keys, nonce, time);
            }
            no_answer.why
        })
    }

    async fn renew(&self, key: &str, token: LeaseToken, time: Duration) -> Result<bool, Unavailable> {
        let keys = self.lease_keys(key);
        let arguments = [token.0, milliseconds(time)];
        self.link
            .call("renew", |connection| RENEW.run(connection, &keys, &arguments))
            .await
            .map_err(|no_answer| no_answer.why)
    }

    async fn release(&self, key: &str, token: LeaseToken) {
        // Not given back, it ends by itself.
        let _ = release(&self.link, &self.lease_keys(key), token.0).await;
    }
}

impl Redis {
    /// The keys of a lease and of its last token.
    fn lease_keys(&self, key: &str) -> [String; 2] {
        ["lease", "token"].map(|what| format!("{}:{what}:{{k:{key}}}", self.prefix))
    }

    /// Gives back a lease that may have been taken, or may yet be, without us hearing of it: nobody would hold it for all its time.
    fn undo(&self, keys: [String; 2], nonce: u64, time: Duration) {
        let Ok(permit) = self.undoing.clone().try_acquire_owned() else {
            return;
        };
        let link = self.link.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let undone = async {
                loop {
                    link.is_back().await;
                    sleep(SETTLED).await;
                    if release(&link, &keys, nonce).await {
                        break;
                    }
                }
            };
            // When its time is over it has ended by itself.
            let _ = timeout(time, undone).await;
        });
    }
}

/// Whether Redis answered.
async fn release(link: &Link, keys: &[String; 2], token_or_nonce: u64) -> bool {
    let arguments = [token_or_nonce];
    let released = link.call("release", |connection| {
        RELEASE.run::<u64>(connection, &keys[..1], &arguments)
    });
    released.await.is_ok()
}
