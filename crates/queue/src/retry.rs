//! When to try again, when to warn, when to give up.

use std::time::Duration;

/// The schedule of retries (RFC 5321 §4.5.4.1).
///
/// The wait doubles from `first` to `max` and stays there; each wait is moved by up to `jitter` of itself either
/// way, so that what failed together does not come back together.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// After the first attempt. Default 2 minutes.
    pub first: Duration,
    /// The longest wait. Default 30 minutes.
    pub max: Duration,
    /// Part of the wait by which it may be longer or shorter, 0 to 1. Default 0.2.
    pub jitter: f64,
    /// After this long in the queue a unit fails. Default 5 days.
    pub give_up: Duration,
    /// After this long in the queue the sender is told of the delay, once. Default 4 hours.
    pub warn_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(2 * 60),
            max: Duration::from_secs(30 * 60),
            jitter: 0.2,
            give_up: Duration::from_secs(5 * 24 * 3600),
            warn_after: Duration::from_secs(4 * 3600),
        }
    }
}

impl RetryPolicy {
    /// The wait after attempt number `attempts` (1 is the first); `random` is uniform in 0..1.
    pub fn delay(&self, attempts: u32, random: f64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let plain = self.first.saturating_mul(1 << doublings).min(self.max);
        let jitter = self.jitter.clamp(0.0, 1.0);
        let factor = 1.0 + jitter * (random.clamp(0.0, 1.0) * 2.0 - 1.0);
        plain.mul_f64(factor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_and_then_stay() {
        let policy = RetryPolicy::default();
        let minutes: Vec<u64> = (0..8)
            .map(|attempt| policy.delay(attempt, 0.5).as_secs() / 60)
            .collect();
        assert_eq!(minutes, [2, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(policy.delay(u32::MAX, 0.5), policy.max);
    }

    proptest! {
        #[test]
        fn jitter_stays_in_its_bounds(attempts in 0u32..100, random in 0.0f64..1.0, jitter in 0.0f64..1.0) {
            let policy = RetryPolicy { jitter, ..RetryPolicy::default() };
            let plain = RetryPolicy { jitter: 0.0, ..policy.clone() }.delay(attempts, random).as_secs_f64();
            let moved = policy.delay(attempts, random).as_secs_f64();
            prop_assert!(moved >= plain * (1.0 - jitter) - 1e-6 && moved <= plain * (1.0 + jitter) + 1e-6);
        }
    }
}
