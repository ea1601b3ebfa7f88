//! `SORT` and `THREAD` (RFC 5256), with return options (RFC 5267 §3, ESORT).
//!
//! ```text
//! sort   = "SORT" [SP "RETURN" SP "(" … ")"] SP "(" sort-key *(SP sort-key) ")" SP charset 1*(SP search-key)
//! thread = "THREAD" SP thread-alg SP charset 1*(SP search-key)
//! ```

use super::{ReturnOptions, SearchKey};

/// `SORT` or `UID SORT`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    /// The answer is in UIDs.
    pub uid: bool,
    /// `RETURN (…)`: answer with ESEARCH, `ALL` in sorted order.
    pub returns: Option<ReturnOptions>,
    /// The order, most significant first; at least one. Ties end in sequence number order.
    pub keys: Vec<SortKey>,
    /// Which messages.
    pub search: SearchKey,
}

/// `sort-key = ["REVERSE" SP] field`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// Descending.
    pub reverse: bool,
    /// By what.
    pub field: SortField,
}

/// What to sort by (RFC 5256 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortField {
    /// INTERNALDATE
    Arrival,
    /// The first Cc mailbox.
    Cc,
    /// Sent date, in UTC.
    Date,
    /// The first From mailbox.
    From,
    /// RFC822.SIZE
    Size,
    /// The base subject.
    Subject,
    /// The first To mailbox.
    To,
}

/// `THREAD` or `UID THREAD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The answer is in UIDs.
    pub uid: bool,
    /// How.
    pub algorithm: ThreadAlgorithm,
    /// Which messages.
    pub search: SearchKey,
}

/// How to thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThreadAlgorithm {
    /// `ORDEREDSUBJECT`
    OrderedSubject,
    /// `REFERENCES`
    References,
}
