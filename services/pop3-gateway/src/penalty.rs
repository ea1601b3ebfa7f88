//! Failed logins: counted for the address and the user name, in all of the cluster, and slowed down.
//!
//! Counting is a help, not a wall: while coordination is away nothing is counted, and each connection still ends after a
//! few failures.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use postrider_coordination::Counters;

use crate::Config;

/// How many times the first delay the longest one is.
const MOST_DELAYS: u64 = 8;

/// What is counted for one login. The keys are those of the other protocols, so that one limit holds for all.
pub(crate) struct Penalty {
    address: String,
    user: String,
}

impl Penalty {
    pub(crate) fn new(address: IpAddr, user: &str) -> Self {
        Self {
            address: format!("auth-failures:address:{}", network(address)),
            user: format!("auth-failures:user:{}", user.to_lowercase()),
        }
    }

    /// Whether the address or the user has failed so often that nobody listens.
    pub(crate) async fn is_limited(&self, counters: &dyn Counters, config: &Config) -> bool {
        let reached = async |key: &str, limit: u64| {
            limit > 0 && counters.get(key).await.is_ok_and(|count| count >= limit)
        };
        reached(&self.address, config.auth_failures_per_address).await
            || reached(&self.user, config.auth_failures_per_account).await
    }

    /// Counts a failure; how long the client is to be kept waiting.
    pub(crate) async fn count(&self, counters: &dyn Counters, config: &Config) -> Duration {
        let window = config.auth_failure_window;
        let of_address = counters.add(&self.address, 1, window).await.unwrap_or(1);
        // Only the count of the address slows down: others must not be able to slow a user's own logins.
        let _ = counters.add(&self.user, 1, window).await;
        let times = 1u64.checked_shl(u32::try_from(of_address.saturating_sub(1)).unwrap_or(u32::MAX));
        let times = times
            .filter(|times| *times > 0)
            .unwrap_or(MOST_DELAYS)
            .min(MOST_DELAYS);
        config.auth_failure_delay * u32::try_from(times).unwrap_or(1)
    }
}

/// Who has an IPv6 address usually has the whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use postrider_coordination::Memory;

    use super::*;

    fn penalty(address: &str, user: &str) -> Penalty {
        Penalty::new(address.parse().unwrap(), user)
    }

    #[tokio::test]
    async fn failures_add_up_for_the_address_and_for_the_user() {
        let counters = Memory::new();
        let config = Config {
            auth_failures_per_address: 5,
            auth_failures_per_account: 3,
            ..Config::default()
        };
        let delays = async |count: usize, penalty: Penalty| {
            let mut seconds = Vec::new();
            for _ in 0..count {
                seconds.push(penalty.count(&counters, &config).await.as_secs());
            }
            seconds
        };
        assert_eq!(delays(3, penalty("2001:db8::1", "bob")).await, [1, 2, 4]);
        assert!(
            penalty("192.0.2.1", "BOB").is_limited(&counters, &config).await,
            "the user, from anywhere"
        );
        assert!(
            !penalty("2001:db8::2", "carol")
                .is_limited(&counters, &config)
                .await
        );
        assert_eq!(
            delays(2, penalty("2001:db8::2", "x")).await,
            [8, 8],
            "the same /64"
        );
        assert!(
            penalty("2001:db8::3", "carol")
                .is_limited(&counters, &config)
                .await
        );
        assert!(
            !penalty("2001:db8:0:1::3", "carol")
                .is_limited(&counters, &config)
                .await
        );
        let without = Config {
            auth_failures_per_address: 0,
            auth_failures_per_account: 0,
            ..config.clone()
        };
        assert!(
            !penalty("2001:db8::3", "bob")
                .is_limited(&counters, &without)
                .await
        );
    }
}
