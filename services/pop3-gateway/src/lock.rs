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
    use postrider_coordination::Memory;

    use super::*;

    const ACCOUNT: AccountId = AccountId::new(7);

    #[tokio::test(start_paused = true)]
    async fn a_lock_is_exclusive_while_it_lives() {
        let leases: Arc<dyn Leases> = Arc::new(Memory::new());
        let time = Duration::from_secs(60);
        let lock = Lock::take(&leases, ACCOUNT, time).await.unwrap();
        assert!(Lock::take(&leases, ACCOUNT, time).await.is_none());
        assert!(Lock::take(&leases, AccountId::new(8), time).await.is_some());
        lock.release().await;
        let again = Lock::take(&leases, ACCOUNT, time).await.unwrap();
        drop(again);
        tokio::task::yield_now().await;
        assert!(Lock::take(&leases, ACCOUNT, time).await.is_some());
    }
}
