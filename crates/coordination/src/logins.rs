//! Failed logins: counted for the address and the user name, over all access protocols and processes, and slowed down.
//!
//! Counting is a help, not a wall: while coordination is away nothing is counted, and each connection still ends after a
//! few failures.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::Counters;

/// Characters of a user name that are told apart: no address is longer (RFC 5321 §4.5.3.1.3), and what is counted is kept.
const LONGEST_NAME: usize = 254;

/// How many times the first delay the longest one is.
const MOST_DELAYS: u32 = 8;

/// How often somebody may fail to log in. 0: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginLimits {
    /// Failed logins of one address (IPv6: of one /64) within the window before it is refused unheard. Default: 50.
    pub per_address: u64,
    /// Failed logins for one user name within the window before it is refused unheard. Default: 100.
    pub per_account: u64,
    /// How long a failed login counts. Default: 10 minutes.
    pub window: Duration,
    /// How long the first failed login of an address is kept waiting; each further one twice as long, up to eight times.
    /// Default: 1 second.
    pub delay: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            per_address: 50,
            per_account: 100,
            window: Duration::from_secs(600),
            delay: Duration::from_secs(1),
        }
    }
}

impl LoginLimits {
    /// Whether the address or the user has failed so often that nobody listens.
    pub async fn refuse(&self, counters: &dyn Counters, from: IpAddr, user: &str) -> bool {
        let reached = async |key: &str, limit: u64| {
            limit > 0 && counters.get(key).await.is_ok_and(|count| count >= limit)
        };
        reached(&address_key(from), self.per_address).await
            || reached(&user_key(user), self.per_account).await
    }

    /// Counts a failure; how long the client is to be kept waiting for the answer.
    pub async fn count(&self, counters: &dyn Counters, from: IpAddr, user: &str) -> Duration {
        let of_address = counters
            .add(&address_key(from), 1, self.window)
            .await
            .unwrap_or(1);
        if !user.is_empty() {
            // Only the count of the address slows down: others must not be able to slow a user's own logins.
            let _ = counters.add(&user_key(user), 1, self.window).await;
        }
        let doublings = u32::try_from(of_address.saturating_sub(1)).unwrap_or(u32::MAX);
        self.delay
            * 1u32
                .checked_shl(doublings)
                .map_or(MOST_DELAYS, |times| times.clamp(1, MOST_DELAYS))
    }
}

/// Who has an IPv6 address usually has the whole /64.
fn address_key(from: IpAddr) -> String {
    let network = match from.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        v4 => v4,
    };
    format!("auth-failures:address:{network}")
}

fn user_key(user: &str) -> String {
    let name = user.chars().take(LONGEST_NAME).flat_map(char::to_lowercase);
    format!("auth-failures:user:{}", name.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn a_long_name_takes_no_more_memory_than_an_address() {
        assert_eq!(user_key("Bob"), "auth-failures:user:bob");
        assert!(user_key(&"ß".repeat(100_000)).len() < 1000);
    }

    #[tokio::test]
    async fn failures_add_up_for_the_address_and_for_the_user() {
        let counters = Memory::new();
        let limits = LoginLimits {
            per_address: 5,
            per_account: 3,
            ..LoginLimits::default()
        };
        let from = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut delays = Vec::new();
        for _ in 0..3 {
            delays.push(
                limits
                    .count(&counters, from("2001:db8::1"), "bob")
                    .await
                    .as_secs(),
            );
        }
        assert_eq!(delays, [1, 2, 4]);
        assert!(
            limits.refuse(&counters, from("192.0.2.1"), "BOB").await,
            "the user, from anywhere"
        );
        assert!(!limits.refuse(&counters, from("2001:db8::2"), "carol").await);
        for _ in 0..2 {
            assert_eq!(
                limits.count(&counters, from("2001:db8::2"), "x").await.as_secs(),
                8,
                "the same /64"
            );
        }
        assert!(limits.refuse(&counters, from("2001:db8::3"), "carol").await);
        assert!(!limits.refuse(&counters, from("2001:db8:0:1::3"), "carol").await);
        let without = LoginLimits {
            per_address: 0,
            per_account: 0,
            ..limits
        };
        assert!(!without.refuse(&counters, from("2001:db8::3"), "bob").await);
    }

    #[tokio::test]
    async fn the_delay_never_overflows() {
        let counters = Memory::new();
        let limits = LoginLimits::default();
        let from = "192.0.2.1".parse().unwrap();
        for _ in 0..100 {
            assert!(limits.count(&counters, from, "").await <= Duration::from_secs(8));
        }
    }
}
