//! Greylisting (RFC 6647): who tries again later is let in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use xxhash_rust::xxh3::Xxh3Default;

/// Triples that are remembered, at most: 16 MiB or so. When there are more, all are forgotten, which puts some off once more.
const MOST: usize = 500_000;

/// When each triple of sender, recipient and client was first seen.
#[derive(Debug, Default)]
pub(super) struct Greylist(Mutex<HashMap<u64, Instant>>);

impl Greylist {
    /// Whether an attempt is to be put off: it is the first one, or less than `after` later than that.
    pub(super) fn puts_off(
        &self,
        sender: &str,
        recipient: &str,
        client: IpAddr,
        after: Duration,
        now: Instant,
    ) -> bool {
        let mut hasher = Xxh3Default::new();
        for part in [sender, recipient] {
            hasher.update(part.to_ascii_lowercase().as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(client.to_string().as_bytes());
        let mut seen = self.0.lock();
        if seen.len() >= MOST {
            seen.clear();
        }
        match seen.entry(hasher.digest()) {
            std::collections::hash_map::Entry::Occupied(first) => {
                now.saturating_duration_since(*first.get()) < after
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                new.insert(now);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_back_later_is_let_in() {
        let (greylist, begin) = (Greylist::default(), Instant::now());
        let client = IpAddr::from([127, 0, 0, 1]);
        let (after, second) = (Duration::from_secs(10), Duration::from_secs(1));
        let tries =
            |recipient, age: u32| greylist.puts_off("a@x", recipient, client, after, begin + second * age);
        assert!(tries("b@y", 0));
        assert!(tries("B@Y", 9));
        assert!(tries("c@y", 10));
        assert!(!tries("b@y", 10));
        assert!(!tries("b@y", 11));
    }
}
