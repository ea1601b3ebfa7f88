//! The ids under which a message is accepted, and how a retry finds the same ones again.
//!
//! Every delivery and every unit of a transaction has an id that derives from the transaction's seed. When acceptance
//! ends in 451 although something may have been done (a delivery whose outcome is unknown, say), the seed is kept under
//! the message's fingerprint: the sender's next attempt with the same message gets the same ids, finds its receipts and
//! doubles nothing. Messages whose acceptance ended clearly are forgotten at once, so two equal messages stay two. Other instances
//! are told ([`crate::neighbours`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use postrider_types::{AccountId, Address, ContentId, DeliveryId, ReversePath, UnitId};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::neighbours::{Herald, Neighbours};

/// How long a sender may take to try again, and how many such messages are remembered.
const KEPT: Duration = Duration::from_secs(24 * 3600);
const MOST: usize = 10_000;

/// What all ids of one transaction derive from. Begins with the time, so that the ids sort by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed([u8; 16]);

impl Seed {
    pub(crate) fn generate() -> Self {
        Self(*UnitId::generate().as_bytes())
    }

    /// As other instances are told.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// As another instance says.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The delivery to an account.
    pub(crate) fn delivery(&self, account: AccountId) -> DeliveryId {
        DeliveryId::from_bytes(self.derive(b"delivery", &account.get().to_be_bytes()))
    }

    /// The unit for these recipients at a destination. The recipients are part of the id, because a seed that was kept may
    /// meet the same message for others: their unit must not be taken for one that is in the queue already.
    pub(crate) fn unit<'a>(
        &self,
        destination: &str,
        recipients: impl Iterator<Item = &'a Address>,
    ) -> UnitId {
        let mut keys: Vec<String> = recipients.map(Address::key).collect();
        keys.sort_unstable();
        // Neither a destination nor an address has a line end.
        let what = format!("{destination}\n{}", keys.join("\n"));
        UnitId::from_bytes(self.derive(b"unit", what.as_bytes()))
    }

    /// The content, when it is ours to name.
    pub(crate) fn content(&self) -> ContentId {
        ContentId::from_bytes(self.derive(b"content", b""))
    }

    fn derive(&self, kind: &[u8], what: &[u8]) -> [u8; 16] {
        let hashed = xxh3_128(&[&self.0, kind, what].concat()).to_be_bytes();
        let mut id = self.0;
        // The time stays (RFC 9562 §5.7: 48 bits of it, then version and variant).
        for (at, (octet, hashed)) in id.iter_mut().zip(hashed).enumerate().skip(6) {
            *octet = match at {
                6 => 0x70 | (hashed & 0x0f),
                8 => 0x80 | (hashed & 0x3f),
                _ => hashed,
            };
        }
        id
    }
}

/// The fingerprint of a message: its sender and its octets as they came.
pub(crate) struct Fingerprint(Xxh3);

impl Fingerprint {
    /// With the secret, nobody outside can make two messages whose fingerprints meet.
    pub(crate) fn new(sender: &ReversePath, secret: u64) -> Self {
        let mut hash = Xxh3::with_seed(secret);
        hash.update(sender.to_string().as_bytes());
        Self(hash)
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(crate) fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// The seeds of messages that were refused for now although something may have been done, here or at another instance.
pub(crate) struct Unresolved {
    kept: Mutex<HashMap<u128, (Seed, Instant)>>,
    herald: Arc<Herald>,
}

impl Unresolved {
    pub(crate) fn new(neighbours: Option<Neighbours>) -> Self {
        Self {
            kept: Mutex::default(),
            herald: Herald::new(neighbours),
        }
    }

    /// The seed of an earlier attempt, or the fresh one.
    pub(crate) fn seed(&self, fingerprint: u128, fresh: Seed) -> Seed {
        match self.kept.lock().remove(&fingerprint) {
            Some((seed, at)) if at.elapsed() < KEPT => seed,
            _ => fresh,
        }
    }

    /// Keeps a seed for the sender's next attempt, wherever that is.
    pub(crate) fn keep(&self, fingerprint: u128, seed: Seed) {
        self.insert(fingerprint, seed);
        self.herald.say(fingerprint, Some(seed));
    }

    /// What became of a message with a kept seed is known: a later one with the same octets is another message.
    pub(crate) fn forget(&self, fingerprint: u128) {
        self.herald.say(fingerprint, None);
    }

    /// Another instance keeps a seed, or needs it no more.
    pub(crate) fn heard(&self, fingerprint: u128, seed: Option<Seed>) {
        match seed {
            Some(seed) => self.insert(fingerprint, seed),
            None => {
                self.kept.lock().remove(&fingerprint);
                self.herald.is_over(fingerprint);
            }
        }
    }

    fn insert(&self, fingerprint: u128, seed: Seed) {
        let mut kept = self.kept.lock();
        if kept.len() >= MOST {
            kept.retain(|_, (_, at)| at.elapsed() < KEPT);
        }
        if kept.len() >= MOST
            && let Some(oldest) = kept.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| *key)
        {
            kept.remove(&oldest);
        }
        kept.insert(fingerprint, (seed, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_derive_from_the_seed_alone() {
        let (one, two) = (Seed::generate(), Seed::generate());
        let account = AccountId::new(7);
        assert_eq!(one.delivery(account), one.delivery(account));
        assert_ne!(one.delivery(account), two.delivery(account));
        assert_ne!(one.delivery(account), one.delivery(AccountId::new(8)));
        let (bob, carol): (Address, Address) = ("bob@a".parse().unwrap(), "carol@a".parse().unwrap());
        let unit =
            |seed: Seed, destination: &str, to: &[&Address]| seed.unit(destination, to.iter().copied());
        assert_ne!(unit(one, "a", &[&bob]), unit(one, "b", &[&bob]));
        assert_ne!(unit(one, "a", &[&bob]), unit(one, "a", &[&carol]));
        assert_eq!(unit(one, "a", &[&bob, &carol]), unit(one, "a", &[&carol, &bob]));
        let (first, second) = (unit(one, "a", &[&bob]), unit(two, "a", &[&bob]));
        assert!(first <= second || one.0[..6] == two.0[..6], "ids sort by time");
        assert_eq!(first.as_bytes()[6] >> 4, 7);
    }

    #[test]
    fn only_an_unresolved_message_finds_its_seed_again() {
        let unresolved = Unresolved::new(None);
        let (seed, fresh) = (Seed::generate(), Seed::generate());
        assert_eq!(unresolved.seed(1, fresh), fresh);
        unresolved.keep(1, seed);
        assert_eq!(unresolved.seed(2, fresh), fresh);
        assert_eq!(unresolved.seed(1, fresh), seed);
        assert_eq!(unresolved.seed(1, fresh), fresh, "taken once");
    }

    #[test]
    fn memory_is_bounded() {
        let unresolved = Unresolved::new(None);
        let seed = Seed::generate();
        (0..MOST as u128 + 10).for_each(|key| unresolved.keep(key, seed));
        assert_eq!(unresolved.kept.lock().len(), MOST);
    }
}
