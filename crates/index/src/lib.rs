//! UID sets and the folder index: compressed bitmaps with rank and select.
//!
//! [`UidSet`] is a set of UIDs (its bytes are the portable roaring format, as the contracts have it). [`FolderIndex`] is a
//! folder at one version: which UIDs exist, and which bear which system flag. Both are cheap to clone: a clone shares
//! its bitmaps until one of the two is changed (copy on write), and an empty set owns no memory at all. Sequence number
//! to UID and back takes logarithmic time, whatever the size of the folder; a dense folder of a million messages takes
//! a few hundred bytes once [`FolderIndex::compact`] has run.
//!
//! This crate knows neither storage nor protocols. Bytes given to it are never trusted: they are limited
//! ([`UidSet::MAX_BYTES`]), checked, and memory taken for them stays proportional to their length.

mod error;
mod folder;
mod set;

pub use error::Invalid;
pub use folder::FolderIndex;
pub use set::UidSet;
