//! What can be wrong with bytes from outside.

/// Bytes that are not what they should be. Permanent: the same bytes will never be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Longer than the limit, in bytes.
    #[error("{length} bytes are too many for a uid set (at most {limit})")]
    TooLong {
        /// How long it is.
        length: usize,
        /// The most it may be.
        limit: usize,
    },
    /// Not the portable roaring format.
    #[error("not a uid set in the portable roaring format")]
    Format,
    /// UID 0 is among them, which no message has.
    #[error("a uid set cannot have uid 0")]
    ZeroUid,
    /// A folder index of a version this program does not know.
    #[error("folder index of unknown format {0}")]
    UnknownFormat(u8),
    /// A folder index cut short, or with something behind it.
    #[error("folder index of a wrong length")]
    Length,
    /// A folder index in which a flag is set on a message that does not exist.
    #[error("folder index with a flag on a missing message")]
    Inconsistent,
}
