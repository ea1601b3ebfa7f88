//! Watching accounts: one stream for all that a gateway is interested in.
//!
//! A watcher never waits behind another and never makes a commit wait: what it has not been told yet is one version per
//! account, however many commits there were. News come from commits in this process, from hints of other instances, and
//! from a slow poll in case a hint was lost, which is slower still while hints are heard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use futures::StreamExt;
use opentelemetry::global;
use opentelemetry::metrics::UpDownCounter;
use parking_lot::Mutex;
use postrider_proto::Failure;
use postrider_types::{AccountId, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::failure::{storage, unavailable};
use crate::service::Service;

static WATCHED: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    let meter = global::meter("mail-store");
    meter
        .i64_up_down_counter("mailstore.watched")
        .with_description("Accounts that are watched")
        .build()
});

const SHARDS: usize = 16;
/// The most accounts of one stream.
const MAX_WATCHED: usize = 1_000_000;
/// For so long hints alone say what has become of an account after it was looked at. Whoever dies between a commit and its hint keeps others
/// from hearing of it.
const MOMENT: Duration = Duration::from_secs(5);
/// How many heads a poll reads at once.
const PARALLEL: usize = 8;
/// While hints are heard, a poll looks at one account in so many, the next time at others: whoever dies between a commit and its hint is made up
/// for in half an hour, and a watched account costs next to nothing.
const ROUND: u64 = 60;

/// Who watches which account.
pub(crate) struct Watchers {
    /// Hints were lost.
    missed: Notify,
    /// Since when none was, as far as is known.
    unbroken: Mutex<Instant>,
    shards: Vec<Mutex<HashMap<AccountId, Vec<Arc<Board>>>>>,
}

impl Default for Watchers {
    fn default() -> Self {
        Self {
            missed: Notify::new(),
            unbroken: Mutex::new(Instant::now()),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Watchers {
    /// An account has reached a version.
    pub fn moved(&self, account: AccountId, version: Version) {
        if let Some(boards) = self.shard(account).lock().get(&account) {
            boards.iter().for_each(|board| board.post(account, version));
        }
    }

    /// Hints may have been lost until now.
    fn broken(&self) {
        *self.unbroken.lock() = Instant::now();
    }

    /// The accounts somebody watches.
    fn watched(&self) -> Vec<AccountId> {
        self.shards
            .iter()
            .flat_map(|shard| shard.lock().keys().copied().collect::<Vec<_>>())
            .collect()
    }

    fn add(&self, account: AccountId, board: &Arc<Board>) {
        self.shard(account)
            .lock()
            .entry(account)
            .or_default()
            .push(board.clone());
    }

    fn remove(&self, account: AccountId, board: &Arc<Board>) {
        let mut shard = self.shard(account).lock();
        if let Some(boards) = shard.get_mut(&account) {
            boards.retain(|other| !Arc::ptr_eq(other, board));
            if boards.is_empty() {
                shard.remove(&account);
            }
        }
    }

    fn shard(&self, account: AccountId) -> &Mutex<HashMap<AccountId, Vec<Arc<Board>>>> {
        &self.shards[account.get() as usize % SHARDS]
    }
}

/// Where news for one watcher wait.
#[derive(Default)]
struct Board {
    state: Mutex<Posted>,
    news: Notify,
}

#[derive(Default)]
struct Posted {
    /// What each watched account was last said to be at.
    known: HashMap<AccountId, Version>,
    /// What is to be said.
    waiting: BTreeMap<AccountId, Version>,
}

impl Board {
    fn post(&self, account: AccountId, version: Version) {
        let mut posted = self.state.lock();
        if posted.known.get(&account).is_some_and(|known| *known < version) {
            let waiting = posted.waiting.entry(account).or_default();
            *waiting = version.max(*waiting);
            drop(posted);
            self.news.notify_one();
        }
    }
}

/// One watcher. Dropping it ends the watch.
pub(crate) struct Watch {
    service: Arc<Service>,
    board: Arc<Board>,
}

impl Watch {
    pub fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            board: Arc::default(),
        }
    }

    /// Watches an account from a version on; watching it again sets the version anew.
    pub fn enter(&self, account: AccountId, since: Version) -> Result<(), Failure> {
        let new = {
            let mut posted = self.board.state.lock();
            if posted.known.len() >= MAX_WATCHED && !posted.known.contains_key(&account) {
                return Err(unavailable(format!(
                    "one stream watches at most {MAX_WATCHED} accounts"
                )));
            }
            posted.waiting.remove(&account);
            posted.known.insert(account, since).is_none()
        };
        if new {
            WATCHED.add(1, &[]);
            self.service.watchers.add(account, &self.board);
        }
        Ok(())
    }

    /// Looks where an account is, and says so if that is further than the watcher is. Only after it was entered: a commit
    /// in between is then told rather than missed.
    pub async fn look(&self, account: AccountId) -> Result<(), Failure> {
        let version = self.service.current_version(account).await?;
        self.board.post(account, version);
        Ok(())
    }

    /// Stops watching an account.
    pub fn stop(&self, account: AccountId) {
        let known = {
            let mut posted = self.board.state.lock();
            posted.waiting.remove(&account);
            posted.known.remove(&account)
        };
        if known.is_some() {
            WATCHED.add(-1, &[]);
            self.service.watchers.remove(account, &self.board);
        }
    }

    /// The next news; waits for it.
    pub async fn next(&self) -> (AccountId, Version) {
        loop {
            if let Some(news) = self.take() {
                return news;
            }
            self.board.news.notified().await;
        }
    }

    fn take(&self) -> Option<(AccountId, Version)> {
        let mut posted = self.board.state.lock();
        let (account, version) = posted.waiting.pop_first()?;
        posted.known.insert(account, version);
        Some((account, version))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let known = std::mem::take(&mut self.board.state.lock().known);
        WATCHED.add(-(known.len() as i64), &[]);
        for account in known.into_keys() {
            self.service.watchers.remove(account, &self.board);
        }
    }
}

impl Service {
    /// Passes on hints of other instances, for as long as it is polled.
    pub async fn follow_hints(&self) {
        loop {
            let mut hints = self.hints.listen().await;
            self.watchers.broken();
            while let Some(hint) = hints.next().await {
                match hint {
                    Some((account, version)) => {
                        // In this order: who begins to watch looks at the account when it is on the list of watchers.
                        if let Some(entry) = self.accounts.peek(account) {
                            entry.hear(version);
                        }
                        self.watchers.moved(account, version);
                    }
                    None => {
                        self.watchers.broken();
                        self.watchers.missed.notify_one();
                    }
                }
            }
            // The stream has ended: coordination is away for a moment.
            tokio::time::sleep(self.config.watch_poll).await;
        }
    }

    /// Looks at watched accounts now and then, for as long as it is polled: at all of them when hints were lost, and again and again while none
    /// can be heard.
    pub async fn poll_watched(&self) {
        let mut ticks = tokio::time::interval(self.config.watch_poll);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0_u64.. {
            let missed = tokio::select! {
                _ = ticks.tick() => false,
                () = self.watchers.missed.notified() => true,
            };
            // The only instance knows of every commit by itself.
            if self.config.sole_instance && !missed {
                continue;
            }
            let all = missed || !self.hints.are_heard();
            self.look_at_watched(|account| all || account.get() % ROUND == turn % ROUND)
                .await;
        }
    }

    async fn look_at_watched(&self, due: impl Fn(AccountId) -> bool) {
        let watched = self
            .watchers
            .watched()
            .into_iter()
            .filter(|account| due(*account));
        let watched = futures::stream::iter(watched.collect::<Vec<_>>());
        watched
            .for_each_concurrent(PARALLEL, |account| async move {
                match self.engine.head(account).await {
                    Ok(Some(head)) => self.watchers.moved(account, head.version),
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%account, %error, "watched account not looked at"),
                }
            })
            .await;
    }

    /// The version of an account, without beginning one that is new. One that was looked at a moment ago, as whoever begins to watch it has
    /// just done, is not looked at again: what has changed it since then, here or elsewhere, would have been heard of.
    async fn current_version(&self, account: AccountId) -> Result<Version, Failure> {
        let entry = self.accounts.peek(account);
        if self.config.sole_instance
            && let Some(state) = entry.as_ref().and_then(|entry| entry.state())
        {
            return Ok(state.version());
        }
        let unbroken = *self.watchers.unbroken.lock();
        let since = Instant::now()
            .checked_sub(MOMENT)
            .map_or(unbroken, |moment| moment.max(unbroken));
        if self.hints.are_heard()
            && let Some(version) = entry.and_then(|entry| entry.newest_since(since))
        {
            return Ok(version);
        }
        let head = self.engine.head(account).await.map_err(storage)?;
        Ok(head.map_or(Version(0), |head| head.version))
    }
}
