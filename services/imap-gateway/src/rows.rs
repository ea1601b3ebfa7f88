//! The contract's fields as types that cannot be wrong.

use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_proto::mailstore::MessageRow;
use postrider_types::{Flags, Keyword};

use crate::failure::damaged;

/// System flags of a row.
pub(crate) fn flags(row: &MessageRow) -> Flags {
    Flags::from_bits(row.flags as u8)
}

/// Keywords of a row.
pub(crate) fn keywords(row: &MessageRow) -> Vec<Keyword> {
    parse_keywords(&row.keywords)
}

/// Keywords; what is none cannot be told a client anyway.
pub(crate) fn parse_keywords(texts: &[String]) -> Vec<Keyword> {
    texts.iter().filter_map(|text| Keyword::new(text).ok()).collect()
}

/// A set of UIDs; no bytes are the empty set.
pub(crate) fn uids(bytes: &[u8]) -> Result<UidSet, Failure> {
    if bytes.is_empty() {
        return Ok(UidSet::new());
    }
    UidSet::from_bytes(bytes).map_err(|error| damaged(error.to_string()))
}
