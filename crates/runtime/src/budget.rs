//! One budget in bytes for message data in flight: when it is spent, readers wait.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes are counted in units of this many, so that a budget of terabytes fits the counter.
const UNIT: u64 = 1024;

/// A budget; cheap to clone. Waiters are served in the order they came, so a large one is not starved by small ones.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    units: u32,
}

/// Bytes taken from a budget, until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of so many bytes (rounded up to a KiB).
    pub fn new(bytes: u64) -> Self {
        let units = units(bytes).max(1);
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
        }
    }

    /// Waits until so many bytes are free, and takes them. More than the whole budget takes the whole budget, so that one
    /// large message can always pass alone.
    ///
    /// Whoever holds a reservation and waits for another may wait for himself: take what a message may need at once, and
    /// [`Reservation::shrink`] it when its size is known.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        let wanted = units(bytes).min(self.units);
        // The semaphore is never closed.
        Reservation {
            permit: self.free.clone().acquire_many_owned(wanted).await.ok(),
        }
    }

    /// Takes bytes only if they are free now.
    pub fn try_reserve(&self, bytes: u64) -> Option<Reservation> {
        let wanted = units(bytes).min(self.units);
        let permit = self.free.clone().try_acquire_many_owned(wanted).ok()?;
        Some(Reservation { permit: Some(permit) })
    }

    /// Bytes that are free now.
    pub fn free(&self) -> u64 {
        self.free.available_permits() as u64 * UNIT
    }
}

impl Reservation {
    /// Gives back all but so many bytes.
    pub fn shrink(&mut self, bytes: u64) {
        if let Some(permit) = &mut self.permit {
            let surplus = permit.num_permits().saturating_sub(units(bytes) as usize);
            drop(permit.split(surplus));
        }
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT))
        .unwrap_or(u32::MAX)
        .min((Semaphore::MAX_PERMITS >> 1) as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn readers_wait_when_it_is_spent() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.reserve(8 * UNIT).await;
        assert!(budget.try_reserve(3 * UNIT).is_none());
        let second = budget.reserve(3 * UNIT);
        tokio::pin!(second);
        assert!(
            tokio::time::timeout(Duration::from_millis(10), &mut second)
                .await
                .is_err()
        );
        first.shrink(7 * UNIT - 5);
        let second = second.await;
        assert_eq!(budget.free(), 0);
        drop((first, second));
        assert_eq!(budget.free(), 10 * UNIT);
    }

    #[tokio::test]
    async fn one_that_is_larger_than_the_budget_passes_alone() {
        let budget = Budget::new(10 * UNIT);
        let whole = budget.reserve(u64::MAX).await;
        assert_eq!(budget.free(), 0);
        drop(whole);
        assert_eq!(budget.free(), 10 * UNIT);
    }
}
