//! The memory engine: everything in this process.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use postrider_types::{AccountId, Version};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Counters, Hints, LeaseToken, Leases, Unavailable};

/// Announcements a listener may lag behind before it is told to look at everything.
const HINTS_KEPT: usize = 4096;

/// The most keys counters and leases may each have at a time, about 30 MiB. Beyond that counting stops (limits are
/// relaxed) and no lease is given.
const MOST_KEYS: usize = 1 << 18;

/// How often a full table is swept, so that a flood does not buy a sweep with every key.
const RESWEEP: Duration = Duration::from_secs(1);

/// Hints, counters and leases within one process.
#[derive(Debug)]
pub struct Memory {
    hints: broadcast::Sender<(AccountId, Version)>,
    counters: Mutex<Table<u64>>,
    leases: Mutex<Table<LeaseToken>>,
    last_token: Mutex<u64>,
}

impl Memory {
    /// An engine of its own: nothing is shared with another.
    pub fn new() -> Self {
        Self {
            hints: broadcast::Sender::new(HINTS_KEPT),
            counters: Mutex::default(),
            leases: Mutex::default(),
            last_token: Mutex::default(),
        }
    }

    fn next_token(&self) -> LeaseToken {
        let mut last = self.last_token.lock();
        *last += 1;
        LeaseToken(*last)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Hints for Memory {
    async fn announce(&self, account: AccountId, version: Version) {
        // Nobody listening is fine.
        let _ = self.hints.send((account, version));
    }

    fn are_heard(&self) -> bool {
        true
    }

    async fn listen(&self) -> BoxStream<'static, Option<(AccountId, Version)>> {
        let announcements = self.hints.subscribe();
        futures::stream::unfold(announcements, |mut announcements| async {
            match announcements.recv().await {
                Ok(announcement) => Some((Some(announcement), announcements)),
                Err(RecvError::Lagged(_)) => Some((None, announcements)),
                Err(RecvError::Closed) => None,
            }
        })
        .boxed()
    }
}

#[async_trait]
impl Counters for Memory {
    async fn add(&self, key: &str, amount: u64, window: Duration) -> Result<u64, Unavailable> {
        let now = Instant::now();
        let mut counters = self.counters.lock();
        if let Some(count) = counters.get_mut(key, now) {
            *count = count.saturating_add(amount);
            return Ok(*count);
        }
        counters.insert(key, amount, now, window)?;
        Ok(amount)
    }

    async fn get(&self, key: &str) -> Result<u64, Unavailable> {
        Ok(self
            .counters
            .lock()
            .get_mut(key, Instant::now())
            .copied()
            .unwrap_or(0))
    }
}

#[async_trait]
impl Leases for Memory {
    async fn take(&self, key: &str, time: Duration) -> Result<Option<LeaseToken>, Unavailable> {
        let now = Instant::now();
        let mut leases = self.leases.lock();
        if leases.get_mut(key, now).is_some() {
            return Ok(None);
        }
        let token = self.next_token();
        leases.insert(key, token, now, time)?;
        Ok(Some(token))
    }

    async fn renew(&self, key: &str, token: LeaseToken, time: Duration) -> Result<bool, Unavailable> {
        let now = Instant::now();
        let mut leases = self.leases.lock();
        let ours = leases.get_mut(key, now) == Some(&mut { token });
        if ours {
            leases.insert(key, token, now, time)?;
        }
        Ok(ours)
    }

    async fn release(&self, key: &str, token: LeaseToken) {
        let mut leases = self.leases.lock();
        if leases.get_mut(key, Instant::now()) == Some(&mut { token }) {
            leases.entries.remove(key);
        }
    }
}

/// Values that end. What is over is swept when the table has doubled since the last sweep, so that an entry costs a
/// constant amount of work and the table is at most twice as large as what it must remember.
#[derive(Debug)]
struct Table<V> {
    entries: HashMap<Box<str>, (V, Instant)>,
    sweep_at: usize,
    swept: Option<Instant>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            sweep_at: 1024,
            swept: None,
        }
    }
}

impl<V> Table<V> {
    fn get_mut(&mut self, key: &str, now: Instant) -> Option<&mut V> {
        self.entries
            .get_mut(key)
            .filter(|(_, end)| *end > now)
            .map(|(value, _)| value)
    }

    fn insert(&mut self, key: &str, value: V, now: Instant, time: Duration) -> Result<(), Unavailable> {
        let full = self.entries.len() >= MOST_KEYS && self.swept.is_none_or(|last| now > last + RESWEEP);
        if full || self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, (_, end)| *end > now);
            self.entries.shrink_to(2 * self.entries.len());
            self.sweep_at = (2 * self.entries.len()).max(1024);
            self.swept = Some(now);
        }
        if self.entries.len() >= MOST_KEYS && !self.entries.contains_key(key) {
            return Err(Unavailable(format!("more than {MOST_KEYS} keys")));
        }
        // A time beyond what the clock can say is for ever.
        let end = now
            .checked_add(time)
            .unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        self.entries.insert(key.into(), (value, end));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::coordination_suite!(async { Memory::new() });

    #[test]
    fn what_is_over_takes_no_memory() {
        let mut table = Table::default();
        let start = Instant::now();
        for number in 0..200_000_u32 {
            let now = start + Duration::from_millis(number.into());
            table
                .insert(&number.to_string(), 1, now, Duration::from_millis(100))
                .unwrap();
            assert!(table.entries.len() <= 1024, "{}", table.entries.len());
        }
        assert!(table.entries.capacity() < 4096);
    }

    #[tokio::test]
    async fn a_flood_of_keys_is_refused_before_it_fills_memory() {
        let memory = Memory::new();
        let hour = Duration::from_secs(3600);
        for number in 0..MOST_KEYS {
            memory.add(&number.to_string(), 1, hour).await.unwrap();
        }
        assert!(memory.add("one more", 1, hour).await.is_err());
        assert_eq!(memory.add("7", 1, hour).await.unwrap(), 2);
    }

    #[test]
    fn a_full_table_recovers_when_its_entries_end() {
        let mut table = Table::default();
        let start = Instant::now();
        for number in 0..MOST_KEYS {
            table
                .insert(&number.to_string(), 1, start, Duration::from_secs(5))
                .unwrap();
        }
        let later = |seconds| start + Duration::from_secs(seconds);
        assert!(
            table
                .insert("one more", 1, later(3), Duration::from_secs(5))
                .is_err()
        );
        assert!(
            table
                .insert("one more", 1, later(6), Duration::from_secs(5))
                .is_ok()
        );
        assert_eq!(table.entries.len(), 1);
    }

    #[tokio::test]
    async fn a_slow_listener_is_told_to_look_at_everything() {
        let memory = Memory::new();
        let mut hints = memory.listen().await;
        for version in 0..=HINTS_KEPT as u64 {
            memory.announce(AccountId::new(1), Version(version)).await;
        }
        assert_eq!(hints.next().await, Some(None));
        assert!(matches!(hints.next().await, Some(Some(_))));
    }
}
