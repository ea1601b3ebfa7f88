//! What happens in the background: expiry of old rows, and sweeping of contents nobody refers to.
//!
//! Every instance may do it at any time; it is idempotent, and bounded work a call.

use crate::clock::{millis, now};
use crate::service::Service;

impl Service {
    /// Keeps house for as long as it is polled.
    pub async fn keep_house(&self) {
        let mut ticks = tokio::time::interval(self.config.housekeeping_interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.expire_rows().await;
            self.sweep_contents().await;
        }
    }

    /// Drops change rows and receipts that are older than their retention.
    pub async fn expire_rows(&self) {
        let now = now();
        let changes_before = now.saturating_sub(millis(self.config.change_retention));
        loop {
            match self.engine.expire(changes_before, now).await {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "old rows not dropped, trying again later");
                    return;
                }
            }
        }
    }

    /// Deletes contents nobody has referred to for the grace period.
    pub async fn sweep_contents(&self) {
        let before = now().saturating_sub(millis(self.config.content_grace));
        let (mut deleted, mut bytes) = (0, 0);
        loop {
            match self.contents.sweep(before).await {
                Ok(sweep) => {
                    deleted += sweep.deleted;
                    bytes += sweep.bytes;
                    if !sweep.more {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "unused contents not swept, trying again later");
                    break;
                }
            }
        }
        if deleted > 0 {
            tracing::info!(deleted, bytes, "swept unused contents");
        }
    }
}
