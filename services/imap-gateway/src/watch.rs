//! News of accounts: one stream for all accounts the gateway's sessions look at.
//!
//! A session holds a [`Subscription`]. The first one of an account makes the stream watch it, the last one ends that. When
//! the stream breaks, it is opened again with everything that is watched, and the mail store tells what was missed. While
//! it is away, sessions still see what is new whenever they ask; only IDLE is late.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, stream};
use parking_lot::Mutex;
use postrider_proto::Failure;
use postrider_proto::mailstore::WatchRequest;
use postrider_types::{AccountId, Version};
use tokio::sync::Notify;

use crate::store::Store;

/// The first wait before a broken stream is opened again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// A stream that has lasted so long had been well: it ended because its mail store did.
const LASTED: Duration = Duration::from_secs(1);
/// How long changes of what is watched gather before the stream is told. News of an account in this time are told by the
/// mail store when it hears of the account, since it is asked for everything after the version that is known.
const GATHER: Duration = Duration::from_millis(20);

/// Which accounts are watched, and how far each has come.
#[derive(Default)]
pub(crate) struct Watcher {
    state: Mutex<Watched>,
    /// The stream's wishes have changed.
    wishes: Notify,
}

#[derive(Default)]
struct Watched {
    accounts: HashMap<AccountId, Entry>,
    /// Accounts that came to be watched, or are no longer, since the stream was told.
    untold: HashSet<AccountId>,
    /// Accounts that the stream watches.
    told: HashSet<AccountId>,
}

struct Entry {
    news: Arc<News>,
    subscriptions: usize,
}

/// How far an account has come.
#[derive(Debug, Default)]
struct News {
    latest: AtomicU64,
    moved: Notify,
}

/// A session's interest in an account.
pub(crate) struct Subscription {
    watcher: Arc<Watcher>,
    account: AccountId,
    news: Arc<News>,
}

impl Subscription {
    /// The version the account is known to have reached.
    pub fn latest(&self) -> Version {
        Version(self.news.latest.load(Ordering::Acquire))
    }

    /// The account has reached this version: the mail store said so in an answer.
    pub fn reached(&self, version: Version) {
        self.news.reached(version);
    }

    /// Waits until the account is known to be beyond a version. Cancel-safe.
    pub async fn beyond(&self, version: Version) {
        loop {
            let mut moved = std::pin::pin!(self.news.moved.notified());
            // Registered before the look: what moves in between wakes it.
            moved.as_mut().enable();
            if self.latest() > version {
                return;
            }
            moved.await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.watcher.unsubscribe(self.account);
    }
}

impl News {
    fn reached(&self, version: Version) {
        if self.latest.fetch_max(version.0, Ordering::AcqRel) < version.0 {
            self.moved.notify_waiters();
        }
    }
}

impl Watcher {
    /// Begins to watch an account, if nobody does yet.
    pub fn subscribe(self: &Arc<Self>, account: AccountId) -> Subscription {
        let mut watched = self.state.lock();
        let entry = watched.accounts.entry(account).or_insert_with(|| Entry {
            news: Arc::default(),
            subscriptions: 0,
        });
        entry.subscriptions += 1;
        let (news, first) = (entry.news.clone(), entry.subscriptions == 1);
        if first {
            watched.untold.insert(account);
        }
        drop(watched);
        if first {
            self.wishes.notify_one();
        }
        Subscription {
            watcher: self.clone(),
            account,
            news,
        }
    }

    /// An account has reached a version, by the answer to a request of ours.
    pub fn reached(&self, account: AccountId, version: Version) {
        let news = self
            .state
            .lock()
            .accounts
            .get(&account)
            .map(|entry| entry.news.clone());
        if let Some(news) = news {
            news.reached(version);
        }
    }

    /// Keeps the stream open, for as long as it is polled.
    pub async fn run(self: Arc<Self>, store: Store) {
        let mut wait = FIRST_WAIT;
        loop {
            let begun = tokio::time::Instant::now();
            if let Err(failure) = self.follow(&store).await {
                tracing::warn!(%failure, "watching accounts was interrupted");
            }
            if begun.elapsed() > LASTED {
                wait = FIRST_WAIT;
            }
            // Gateways do not all come back in the same moment.
            tokio::time::sleep(wait.mul_f64(rand::random_range(0.5..1.0))).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn follow(self: &Arc<Self>, store: &Store) -> Result<(), Failure> {
        {
            let mut watched = self.state.lock();
            let all = watched.accounts.keys().copied().collect();
            watched.untold = all;
            watched.told.clear();
        }
        let mut news = store.watch(self.clone().requests()).await?;
        while let Some(response) = news.message().await? {
            self.reached(AccountId::new(response.account), Version(response.version));
        }
        Ok(())
    }

    /// What the stream is to be told, as it comes up.
    fn requests(self: Arc<Self>) -> impl Stream<Item = WatchRequest> + Send + 'static {
        stream::unfold(self, |watcher| async move {
            loop {
                if let Some(request) = watcher.next_request() {
                    return Some((request, watcher));
                }
                watcher.wishes.notified().await;
                // Many sessions are over as soon as this, and the stream need not hear of them.
                tokio::time::sleep(GATHER).await;
            }
        })
    }

    fn next_request(&self) -> Option<WatchRequest> {
        let mut watched = self.state.lock();
        loop {
            let account = *watched.untold.iter().next()?;
            watched.untold.remove(&account);
            let since = watched
                .accounts
                .get(&account)
                .map(|entry| entry.news.latest.load(Ordering::Acquire));
            let changed = match since {
                Some(_) => watched.told.insert(account),
                None => watched.told.remove(&account),
            };
            if changed {
                return Some(WatchRequest {
                    account: account.get(),
                    since: since.unwrap_or(0),
                    stop: since.is_none(),
                });
            }
        }
    }

    fn unsubscribe(&self, account: AccountId) {
        let mut watched = self.state.lock();
        let Some(entry) = watched.accounts.get_mut(&account) else {
            return;
        };
        entry.subscriptions -= 1;
        if entry.subscriptions == 0 {
            watched.accounts.remove(&account);
            watched.untold.insert(account);
            drop(watched);
            self.wishes.notify_one();
        }
    }
}
