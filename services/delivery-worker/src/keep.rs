//! Claims kept alive while their units are being sent. One task renews all of them: most are over long before their
//! first renewal, and cost no timer of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use postrider_queue::{Queue, Ticket};

/// Claims renewed at a time.
const RENEWING: usize = 64;

/// The claims that are kept.
#[derive(Default)]
pub struct Keeper {
    held: Mutex<HashMap<u64, Held>>,
    /// Numbers given to them.
    last: AtomicU64,
}

#[derive(Clone)]
struct Held {
    ticket: Ticket,
    lost: Arc<AtomicBool>,
}

/// Keeps a claim alive for as long as it lives itself.
pub struct Kept {
    keeper: Arc<Keeper>,
    number: u64,
    lost: Arc<AtomicBool>,
}

impl Keeper {
    /// Begins to keep a claim.
    pub fn keep(self: &Arc<Self>, ticket: Ticket) -> Kept {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let lost = Arc::<AtomicBool>::default();
        let held = Held {
            ticket,
            lost: lost.clone(),
        };
        self.held.lock().insert(number, held);
        Kept {
            keeper: self.clone(),
            number,
            lost,
        }
    }

    /// Renews what is kept, three times in a lease. Never ends.
    pub async fn run(&self, queue: &Queue) {
        let every = queue.settings().lease / 3;
        let mut timer = tokio::time::interval(every.max(Duration::from_millis(1)));
        timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            let held: Vec<Held> = self.held.lock().values().cloned().collect();
            stream::iter(held)
                .for_each_concurrent(RENEWING, |held| async move {
                    match queue.renew(held.ticket).await {
                        Ok(true) => {}
                        Ok(false) => held.lost.store(true, Ordering::Relaxed),
                        Err(error) => tracing::warn!(%error, "a claim could not be renewed"),
                    }
                })
                .await;
        }
    }
}

impl Kept {
    /// Whether the claim is somebody else's now.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeper.held.lock().remove(&self.number);
    }
}
