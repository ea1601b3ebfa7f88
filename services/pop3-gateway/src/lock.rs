//! The maildrop lock: a lease that is renewed while the session lives.

use std::sync::Arc;
use std::time::Duration;

use postrider_coordination::{LeaseToken, Leases};
use postrider_types::AccountId;
use tokio::task::JoinHandle;

use crate::metrics::METRICS;

/// How often a lease is renewed within its time.
const RENEWALS: u32 = 3;

/// A maildrop that is ours alone. Dropping it gives it back, a moment later.
#[derive(Debug)]
pub(crate) struct Lock(Option<Held>);

struct Held {
    leases: Arc<dyn Leases>,
    key: String,
    token: LeaseToken,
    renewing: JoinHandle<()>,
}

impl Lock {
    /// Locks an account's maildrop; `None` when another session has it. While coordination is away there is no lock, and
    /// every session gets its maildrop.
    pub(crate) async fn take(leases: &Arc<dyn Leases>, account: AccountId, time: Duration) -> Option<Self> {
        let key = format!("pop3/{account}");
        let token = match leases.take(&key, time).await {
            Ok(Some(token)) => token,
            Ok(None) => return None,
            Err(error) => {
                METRICS.unlocked.add(1, &[]);
                tracing::warn!(%error, "a maildrop is opened without its lock");
                return Some(Self(None));
            }
        };
        let renewing = tokio::spawn(renew(leases.clone(), key.clone(), token, time));
        Some(Self(Some(Held {
            leases: leases.clone(),
            key,
            token,
            renewing,
        })))
    }

    /// Gives it back.
    pub(crate) async fn release(mut self) {
        if let Some(held) = self.0.take() {
            held.release().await;
        }
    }
}

impl Held {
    async fn release(self) {
        self.renewing.abort();
        self.leases.release(&self.key, self.token).await;
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            tokio::spawn(held.release());
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Renews until it is stopped or the lease is somebody else's: then coordination was away for so long that another
/// session could begin, and this one goes on without.
async fn renew(leases: Arc<dyn Leases>, key: String, token: LeaseToken, time: Duration) {
    loop {
        tokio::time::sleep(time / RENEWALS).await;
        if let Ok(false) = leases.renew(&key, token, time).await {
            tracing::warn!(key, "a maildrop's lock was lost");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use postrider_coordination::{Memory, Unavailable};

    use super::*;

    const ACCOUNT: AccountId = AccountId::new(7);
    const TIME: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_lock_is_exclusive_while_it_lives() {
        let leases: Arc<dyn Leases> = Arc::new(Memory::new());
        let lock = Lock::take(&leases, ACCOUNT, TIME).await.unwrap();
        assert!(Lock::take(&leases, ACCOUNT, TIME).await.is_none());
        assert!(Lock::take(&leases, AccountId::new(8), TIME).await.is_some());
        lock.release().await;
        let again = Lock::take(&leases, ACCOUNT, TIME).await.unwrap();
        drop(again);
        tokio::task::yield_now().await;
        assert!(Lock::take(&leases, ACCOUNT, TIME).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_renewed_in_time_until_it_is_given_back_or_lost() {
        let counting = Arc::new(Counting::default());
        let leases: Arc<dyn Leases> = counting.clone();
        let renewed = || counting.renewed.load(Ordering::Relaxed);
        let lock = Lock::take(&leases, ACCOUNT, TIME).await.unwrap();
        tokio::time::sleep(2 * TIME + TIME / 2).await;
        assert_eq!(renewed(), 7, "three times in each of its times");
        lock.release().await;
        tokio::time::sleep(TIME).await;
        assert_eq!(renewed(), 7);

        let _lock = Lock::take(&leases, ACCOUNT, TIME).await.unwrap();
        counting.lost.store(1, Ordering::Relaxed);
        tokio::time::sleep(2 * TIME).await;
        assert_eq!(renewed(), 8, "what is lost is not renewed again");
    }

    #[derive(Default)]
    struct Counting {
        renewed: AtomicU64,
        lost: AtomicU64,
    }

    #[async_trait]
    impl Leases for Counting {
        async fn take(&self, _: &str, _: Duration) -> Result<Option<LeaseToken>, Unavailable> {
            Ok(Some(LeaseToken(1)))
        }
        async fn renew(&self, _: &str, _: LeaseToken, _: Duration) -> Result<bool, Unavailable> {
            self.renewed.fetch_add(1, Ordering::Relaxed);
            Ok(self.lost.load(Ordering::Relaxed) == 0)
        }
        async fn release(&self, _: &str, _: LeaseToken) {}
    }
}
