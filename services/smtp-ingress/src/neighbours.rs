//! The other instances of the role. A sender that was told 451 may try again at any of them, so they have to know the ids of a
//! message whose fate is open.
//!
//! What is said is said to all of them, again every second until all have heard it, for a minute at most. Whoever tries again
//! sooner than it is heard, or at an instance that nobody reaches, may double what was done after all.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use postrider_proto::Link;
use postrider_proto::submission::submission_client::SubmissionClient;
use postrider_proto::submission::{KeepIdsRequest, OpenMessage};

use crate::identity::Seed;

/// The way to each instance there is at this moment; this one may be among them.
pub type Neighbours = Arc<dyn Fn() -> BoxFuture<'static, Vec<Link>> + Send + Sync>;

/// Messages of one call.
pub(crate) const MOST_TOGETHER: usize = 1000;
/// Messages that wait to be told of.
const MOST_WAITING: usize = 10_000;
/// How long it is tried.
const TRIED: Duration = Duration::from_secs(60);
/// The pause between two attempts, in which news gather.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an instance may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells the others.
pub(crate) struct Herald {
    neighbours: Option<Neighbours>,
    /// By fingerprint: the seed to keep, or none when it is no longer needed, and since when that waits.
    news: Mutex<HashMap<u128, (Option<Seed>, Instant)>>,
    telling: AtomicBool,
}

impl Herald {
    pub(crate) fn new(neighbours: Option<Neighbours>) -> Arc<Self> {
        Arc::new(Self {
            neighbours,
            news: Mutex::default(),
            telling: AtomicBool::new(false),
        })
    }

    /// Says that a message's seed is to be kept, or with `None` that it is not needed any more. Returns at once.
    pub(crate) fn say(self: &Arc<Self>, fingerprint: u128, seed: Option<Seed>) {
        if self.neighbours.is_none() {
            return;
        }
        let mut news = self.news.lock();
        if news.len() < MOST_WAITING || news.contains_key(&fingerprint) {
            news.insert(fingerprint, (seed, Instant::now()));
        }
        drop(news);
        if !self.telling.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().tell());
        }
    }

    /// A message's fate is known: nobody is told any more to keep its seed. That it is known is told on, also when it was said here:
    /// this instance hears itself.
    pub(crate) fn is_over(&self, fingerprint: u128) {
        let mut news = self.news.lock();
        if news.get(&fingerprint).is_some_and(|(seed, _)| seed.is_some()) {
            news.remove(&fingerprint);
        }
    }

    async fn tell(self: Arc<Self>) {
        loop {
            let news: Vec<_> = {
                let mut news = self.news.lock();
                news.retain(|_, (_, since)| since.elapsed() < TRIED);
                if news.is_empty() {
                    self.telling.store(false, Ordering::Release);
                    return;
                }
                news.iter().map(|(key, of)| (*key, *of)).collect()
            };
            if self.tell_all(&news).await {
                let mut waiting = self.news.lock();
                for (fingerprint, of) in &news {
                    // What was said anew meanwhile has not been heard.
                    if waiting.get(fingerprint) == Some(of) {
                        waiting.remove(fingerprint);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether all have heard it.
    async fn tell_all(&self, news: &[(u128, (Option<Seed>, Instant))]) -> bool {
        let Some(neighbours) = &self.neighbours else {
            return true;
        };
        let messages: Vec<_> = news
            .iter()
            .map(|(fingerprint, (seed, _))| OpenMessage {
                fingerprint: fingerprint.to_be_bytes().to_vec().into(),
                seed: seed
                    .map(|seed| seed.to_bytes().to_vec())
                    .unwrap_or_default()
                    .into(),
            })
            .collect();
        let told = neighbours()
            .await
            .into_iter()
            .map(|link| tell_one(link, &messages));
        join_all(told).await.into_iter().all(|heard| heard)
    }
}

async fn tell_one(link: Link, messages: &[OpenMessage]) -> bool {
    let mut neighbour = SubmissionClient::new(link);
    for some in messages.chunks(MOST_TOGETHER) {
        let request = KeepIdsRequest {
            messages: some.to_vec(),
        };
        let told = tokio::time::timeout(PATIENCE, neighbour.keep_ids(request)).await;
        if !matches!(told, Ok(Ok(_))) {
            return false;
        }
    }
    true
}
