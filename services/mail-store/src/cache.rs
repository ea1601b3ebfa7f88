//! Accounts in use, bounded in bytes.
//!
//! An entry is at once the cached state of an account and the lane in which its operations wait, so that there is at
//! most one of each in the process: an entry somebody holds is never evicted. Eviction is by second chance: an entry
//! that was used since the hand last passed stays for another round.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use opentelemetry::global;
use opentelemetry::metrics::Counter;
use parking_lot::Mutex;
use postrider_types::{AccountId, Version};
use tokio::time::Instant;

use crate::commit::Lane;
use crate::courtesy::Courtesy;
use crate::state::State;

static HITS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.cache.hits")
        .with_description("Accounts that were found in the cache")
        .build()
});
static MISSES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .u64_counter("mailstore.cache.misses")
        .with_description("Accounts that were not in the cache")
        .build()
});

/// A power of two, so that locks are rarely shared between cores.
const SHARDS: usize = 16;
/// An entry without state, in bytes.
const EMPTY: usize = 256;

/// An account in use.
pub(crate) struct Account {
    pub id: AccountId,
    /// Operations that wait.
    pub lane: Lane,
    /// Turns with other instances.
    pub courtesy: Courtesy,
    /// Held while something works on the account's log in this process.
    pub gate: tokio::sync::Mutex<()>,
    /// Held while an index of it is loaded, so that it is loaded once.
    pub loading: tokio::sync::Mutex<()>,
    state: Mutex<Option<Arc<State>>>,
    /// When a reader last found the state to be the newest there is.
    confirmed: Mutex<Option<Instant>>,
    /// The newest version that other instances spoke of.
    heard: AtomicU64,
    weight: AtomicUsize,
    used: AtomicBool,
}

impl Account {
    fn new(id: AccountId) -> Self {
        Self {
            id,
            lane: Lane::default(),
            courtesy: Courtesy::default(),
            gate: tokio::sync::Mutex::new(()),
            loading: tokio::sync::Mutex::new(()),
            state: Mutex::new(None),
            confirmed: Mutex::new(None),
            heard: AtomicU64::new(0),
            weight: AtomicUsize::new(EMPTY),
            used: AtomicBool::new(true),
        }
    }

    /// The state, if it is known.
    pub fn state(&self) -> Option<Arc<State>> {
        self.state.lock().clone()
    }

    /// Sets the state; `None` forgets it.
    pub fn set_state(&self, state: Option<State>) {
        *self.state.lock() = state.map(Arc::new);
    }

    /// Changes the state, if it is known, in place unless a reader holds it.
    pub fn with_state<R>(&self, change: impl FnOnce(&mut State) -> R) -> Option<R> {
        self.state
            .lock()
            .as_mut()
            .map(|state| change(Arc::make_mut(state)))
    }

    /// Changes the state if `when` holds of it.
    pub fn with_state_if<R>(
        &self,
        when: impl FnOnce(&State) -> bool,
        change: impl FnOnce(&mut State) -> R,
    ) -> Option<R> {
        let mut state = self.state.lock();
        let state = state.as_mut().filter(|state| when(state))?;
        Some(change(Arc::make_mut(state)))
    }

    /// The state was the newest at that moment.
    pub fn confirm(&self, moment: Instant) {
        *self.confirmed.lock() = Some(moment);
    }

    /// Another instance says that it has reached a version.
    pub fn hear(&self, version: Version) {
        self.heard.fetch_max(version.0, Ordering::AcqRel);
    }

    /// The newest version anybody spoke of, if the state was the newest after that moment.
    pub fn newest_since(&self, moment: Instant) -> Option<Version> {
        let known = self.confirmed.lock().is_some_and(|at| at > moment);
        let state = self.state().filter(|_| known)?;
        Some(state.version().max(Version(self.heard.load(Ordering::Acquire))))
    }

    fn measure(&self) -> usize {
        EMPTY + self.state.lock().as_ref().map_or(0, |state| state.weight())
    }
}

/// The accounts in use.
pub(crate) struct Accounts {
    shards: Vec<Mutex<Shard>>,
    /// What each shard may weigh.
    limit: usize,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<AccountId, Arc<Account>>,
    /// Every entry once; the hand is at the front.
    clock: VecDeque<AccountId>,
    weight: usize,
}

impl Accounts {
    pub fn new(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            limit: bytes / SHARDS,
        }
    }

    /// The entry of an account, made if it is not there.
    pub fn get(&self, id: AccountId) -> Arc<Account> {
        let mut shard = self.shard(id).lock();
        if let Some(account) = shard.entries.get(&id) {
            account.used.store(true, Ordering::Relaxed);
            HITS.add(1, &[]);
            return account.clone();
        }
        MISSES.add(1, &[]);
        let account = Arc::new(Account::new(id));
        shard.entries.insert(id, account.clone());
        shard.clock.push_back(id);
        shard.weight += EMPTY;
        shard.evict(self.limit);
        account
    }

    /// The entry of an account, if it is there. Not a use of it.
    pub fn peek(&self, id: AccountId) -> Option<Arc<Account>> {
        self.shard(id).lock().entries.get(&id).cloned()
    }

    /// Takes note that an account's state has another size.
    pub fn weigh(&self, account: &Account) {
        let now = account.measure();
        let before = account.weight.load(Ordering::Relaxed);
        // Small changes are not worth the lock.
        if now.abs_diff(before) < EMPTY {
            return;
        }
        let mut shard = self.shard(account.id).lock();
        if shard.entries.contains_key(&account.id) {
            let before = account.weight.swap(now, Ordering::Relaxed);
            shard.weight = shard.weight.saturating_sub(before).saturating_add(now);
            shard.evict(self.limit);
        }
    }

    fn shard(&self, id: AccountId) -> &Mutex<Shard> {
        // Account ids are random: their low bits spread well.
        &self.shards[id.get() as usize % SHARDS]
    }
}

impl Shard {
    fn evict(&mut self, limit: usize) {
        // Twice round: the first may only take away the second chances.
        let mut left = self.clock.len() * 2;
        while self.weight > limit && left > 0 {
            left -= 1;
            let Some(id) = self.clock.pop_front() else { return };
            let Some(account) = self.entries.get(&id) else {
                continue;
            };
            if account.used.swap(false, Ordering::Relaxed) || Arc::strong_count(account) > 1 {
                self.clock.push_back(id);
                continue;
            }
            self.weight = self.weight.saturating_sub(account.weight.load(Ordering::Relaxed));
            self.entries.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_and_held_entries_stay() {
        let accounts = Accounts::new(SHARDS * EMPTY * 4);
        let held = accounts.get(AccountId::new(0));
        held.set_state(Some(State::new(None)));
        for id in 1..1000 {
            accounts.get(AccountId::new(id));
        }
        let kept: usize = accounts
            .shards
            .iter()
            .map(|shard| shard.lock().entries.len())
            .sum();
        assert!(kept <= SHARDS * 5, "{kept} entries");
        assert!(Arc::ptr_eq(&held, &accounts.get(AccountId::new(0))));
    }

    #[test]
    fn a_growing_state_pushes_others_out() {
        let accounts = Accounts::new(SHARDS * EMPTY * 8);
        for at in 0..4 {
            drop(accounts.get(AccountId::new(at * SHARDS as u64)));
        }
        let large = accounts.get(AccountId::new(0));
        large.set_state(Some(State::new(None)));
        for _ in 0..8 {
            accounts.weigh(&large);
        }
        let shard = accounts.shard(AccountId::new(0)).lock();
        assert_eq!(
            shard.weight,
            shard
                .entries
                .values()
                .map(|it| it.weight.load(Ordering::Relaxed))
                .sum::<usize>()
        );
    }
}
