//! Hints: folded, gathered, published; heard as pushes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use postrider_types::{AccountId, Version};
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;

use super::Redis;
use super::link::Link;
use super::metrics::METRICS;
use super::payload;
use crate::Hints;

/// Accounts whose hints may wait to be sent.
const MOST_WAITING: usize = 8192;
/// Hints in one message, 16 bytes each.
const MOST_TOGETHER: usize = 1024;

/// How long hints gather after some were sent. The first after a quiet while leaves at once; under load, what each instance publishes and hears
/// is 50 messages a second of every other, however much mail there is.
const GATHER: Duration = Duration::from_millis(20);

/// How long after the link is there it is said that hints were dropped.
const PAUSE: Duration = Duration::from_secs(1);

/// Hints that wait to be sent.
#[derive(Default)]
pub struct Outbox {
    waiting: Mutex<HashMap<AccountId, Version>>,
    /// Some were dropped, and those who listen do not know that yet.
    dropped: AtomicBool,
    wake: Notify,
}

impl Outbox {
    /// Takes a hint, or drops it when too many wait.
    fn put(&self, account: AccountId, version: Version) {
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST_WAITING && !waiting.contains_key(&account) {
            drop(waiting);
            return self.drop_some(1);
        }
        let newest = waiting.entry(account).or_insert(version);
        *newest = version.max(*newest);
        drop(waiting);
        self.wake.notify_one();
    }

    /// So many hints are not sent.
    fn drop_some(&self, number: u64) {
        METRICS.hints_dropped.add(number, &[]);
        self.dropped.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Sends what waits, for as long as it is polled. What cannot be sent is dropped, and that is said once something can be sent again.
    pub async fn publish(self: Arc<Self>, link: Arc<Link>) {
        loop {
            self.wake.notified().await;
            if self.dropped.load(Ordering::Acquire) {
                link.is_back().await;
                // By then the others are back as well.
                tokio::time::sleep(PAUSE).await;
                if self.dropped.swap(false, Ordering::AcqRel) && !publish(&link, payload::missed()).await {
                    self.drop_some(0);
                    continue;
                }
            }
            let waiting: Vec<_> = std::mem::take(&mut *self.waiting.lock()).into_iter().collect();
            for hints in waiting.chunks(MOST_TOGETHER) {
                if !publish(&link, payload::encode(hints)).await {
                    self.drop_some(hints.len() as u64);
                }
            }
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Whether it was sent.
async fn publish(link: &Link, payload: Vec<u8>) -> bool {
    let mut command = ::redis::cmd("PUBLISH");
    command.arg(&link.channel).arg(payload);
    let sent = link.call("publish", |mut connection| async move {
        command.exec_async(&mut connection).await
    });
    sent.await.is_ok()
}

#[async_trait]
impl Hints for Redis {
    async fn announce(&self, account: AccountId, version: Version) {
        if self.link.is_up() {
            self.outbox.put(account, version);
        } else {
            self.outbox.drop_some(1);
        }
    }

    fn are_heard(&self) -> bool {
        self.link.hears()
    }

    async fn listen(&self) -> BoxStream<'static, Option<(AccountId, Version)>> {
        self.link.begin_listening().await;
        let hints = self.link.hints.subscribe();
        futures::stream::unfold(hints, |mut hints| async {
            match hints.recv().await {
                Ok(heard) => Some((heard, hints)),
                Err(RecvError::Lagged(_)) => Some((None, hints)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_folded_and_bounded() {
        let outbox = Outbox::default();
        let account = AccountId::new(7);
        for version in [1, 3, 2] {
            outbox.put(account, Version(version));
        }
        assert_eq!(outbox.waiting.lock().get(&account), Some(&Version(3)));
        for number in 0..20_000 {
            outbox.put(AccountId::new(number), Version(9));
        }
        assert_eq!(outbox.waiting.lock().len(), MOST_WAITING);
        assert_eq!(outbox.waiting.lock().get(&account), Some(&Version(9)));
    }
}
