//! Content segments: append-only files of checksummed records.
//!
//! A *shared* segment takes the records of many writes until it is full; a *single* one holds one large content. A segment
//! is named by a number that is never used again, so a stale locator finds the old bytes or no file, never other bytes.

mod files;
mod open;
mod read;
mod record;

pub(crate) use files::{Files, create, name, number, sync_directory};
#[cfg(test)]
pub(crate) use open::Faults;
pub(crate) use open::OpenSegment;
pub(crate) use read::{read_range, read_record};
pub(crate) use record::{HEADER, Header, Record, Tally, table_length};

use postrider_types::ContentId;

/// Where a content is: the row of `content` without its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Located {
    /// Which content.
    pub(crate) id: ContentId,
    /// In which segment.
    pub(crate) segment: u64,
    /// Where its record begins.
    pub(crate) start: u64,
    /// Bytes of the content.
    pub(crate) length: u64,
    /// Checksum, as in the record's header.
    pub(crate) crc: u32,
    /// The segment holds nothing else.
    pub(crate) single: bool,
}

impl Located {
    /// Bytes of the whole record.
    pub(crate) fn record_length(&self) -> u64 {
        record_length(self.length)
    }

    /// The offset behind the record.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.record_length())
    }
}

/// Bytes of the record of a content of this length.
pub(crate) fn record_length(length: u64) -> u64 {
    (HEADER as u64)
        .saturating_add(length)
        .saturating_add(table_length(length))
}
