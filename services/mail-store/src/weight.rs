//! How much goes into one commit: what the engine says ([`CommitLimits`]), and no more than others can wait for.
//!
//! Waiting operations are merged up to there, and an operation on many messages is a sequence of commits.

use postrider_store::account::CommitLimits;

/// The most messages of one commit.
const MAX_MESSAGES: usize = 1000;
/// The most bytes of content of one commit.
const MAX_CONTENT: usize = 4 << 20;
/// Rows that come with any commit: folders whose counts change.
const FOLDERS: usize = 4;

/// What an operation may put into a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Messages it touches.
    pub messages: usize,
    /// Rows, as [`CommitLimits`] counts them.
    pub rows: usize,
    /// Bytes of these rows.
    pub bytes: usize,
    /// Bytes of content.
    pub content: usize,
}

impl Weight {
    /// A folder, or other flags for one message.
    pub const ONE: Self = Self::rows(1);
    /// A message copied.
    pub const COPY: Self = Self::rows(CommitLimits::NEW_MESSAGE);
    /// A message moved.
    pub const MOVE: Self = Self::rows(CommitLimits::NEW_MESSAGE + 1);
    /// A message removed, with its content.
    pub const REMOVE: Self = Self::rows(CommitLimits::DROPPED_CONTENT + 1);

    /// One message with so many rows.
    const fn rows(rows: usize) -> Self {
        Self {
            messages: 1,
            rows,
            bytes: rows * CommitLimits::ROW,
            content: 0,
        }
    }

    /// A message that arrives, with so many bytes of description and of content, and so many rows beside the description's and its own.
    pub fn arrival(description: usize, content: usize, more_rows: usize) -> Self {
        Self {
            content,
            ..Self::rows(CommitLimits::NEW_MESSAGE + 1 + more_rows).with_bytes(description)
        }
    }

    /// The most of one commit, unless a single operation needs more.
    pub fn most(limits: CommitLimits) -> Self {
        Self {
            messages: MAX_MESSAGES,
            rows: limits.rows.saturating_sub(FOLDERS),
            bytes: limits.bytes.saturating_sub(FOLDERS * CommitLimits::ROW),
            content: MAX_CONTENT,
        }
    }

    /// With more bytes in its rows.
    pub fn with_bytes(self, more: usize) -> Self {
        Self {
            bytes: self.bytes.saturating_add(more),
            ..self
        }
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            rows: self.rows.saturating_add(other.rows),
            bytes: self.bytes.saturating_add(other.bytes),
            content: self.content.saturating_add(other.content),
        }
    }

    /// So many of it.
    pub fn times(self, count: usize) -> Self {
        Self {
            messages: self.messages.saturating_mul(count),
            rows: self.rows.saturating_mul(count),
            bytes: self.bytes.saturating_mul(count),
            content: self.content.saturating_mul(count),
        }
    }

    /// Whether it is no more than that, by every measure.
    pub fn fits(self, most: Self) -> bool {
        self.messages <= most.messages
            && self.rows <= most.rows
            && self.bytes <= most.bytes
            && self.content <= most.content
    }

    /// How many messages of the weight `each` are at most this: one at least.
    pub fn portion(self, each: Self) -> usize {
        let by_rows = self.rows / each.rows.max(1);
        let by_bytes = self.bytes / each.bytes.max(1);
        self.messages.min(by_rows).min(by_bytes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_what_the_engine_likes_best() {
        let one_disk = Weight::most(CommitLimits::default());
        for each in [Weight::ONE, Weight::COPY, Weight::MOVE, Weight::REMOVE] {
            assert_eq!(one_disk.portion(each), 1000);
        }
        let small = Weight::most(CommitLimits {
            rows: 100,
            bytes: 32 << 10,
        });
        assert_eq!(small.portion(Weight::ONE), 96);
        assert_eq!(small.portion(Weight::COPY), 48);
        assert_eq!(small.portion(Weight::REMOVE), 32);
        assert_eq!(small.portion(Weight::ONE.with_bytes(10_000)), 3);
        assert_eq!(small.portion(Weight::ONE.with_bytes(1 << 20)), 1);
        let all = Weight::COPY.times(small.portion(Weight::COPY));
        assert!(all.fits(small) && !all.and(Weight::COPY).fits(small));
    }
}
