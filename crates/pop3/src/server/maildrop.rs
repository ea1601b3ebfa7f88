//! The maildrop as a session sees it.

use bytes::BytesMut;

/// The messages of a maildrop, as they were when it was opened. Places are counted from 0 and always below `len`.
pub trait Maildrop {
    /// How many messages there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets of a message, without byte-stuffing.
    fn size(&self, message: usize) -> u64;

    /// Appends a message's unique id: 1 to 70 characters from `!` to `~`, the same in every session, never that of
    /// another message of this maildrop (RFC 1939 §7, UIDL).
    fn write_unique_id(&self, message: usize, output: &mut BytesMut);
}

/// Messages marked as deleted: a bit each, kept only once there is one.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    bits: Vec<u64>,
    count: usize,
    octets: u64,
}

impl Marks {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn octets(&self) -> u64 {
        self.octets
    }

    pub(crate) fn contains(&self, message: usize) -> bool {
        self.bits
            .get(message / 64)
            .is_some_and(|word| word >> (message % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, message: usize, octets: u64) {
        if self.contains(message) {
            return;
        }
        if self.bits.len() <= message / 64 {
            self.bits.resize(message / 64 + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(message / 64) {
            *word |= 1 << (message % 64);
            self.count += 1;
            self.octets += octets;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.bits.len() * 64).filter(|message| self.contains(*message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_a_set() {
        let mut marks = Marks::default();
        for message in [130, 0, 63, 64, 130] {
            marks.insert(message, 10);
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), [0, 63, 64, 130]);
        assert_eq!((marks.count(), marks.octets()), (4, 40));
        assert!(marks.contains(130) && !marks.contains(131) && !marks.contains(100_000));
        marks.clear();
        assert_eq!((marks.count(), marks.octets(), marks.iter().count()), (0, 0, 0));
    }
}
