//! A record: one content in a segment.
//!
//! ```text
//! record = header body [table]
//! header = "PRS1" id(16) length(8) crc(4) zero(4) header-crc(4)        little-endian, 40 bytes
//! table  = crc32c(4) of each block of 64 KiB of the body               only when there is more than one block
//! crc    = crc32c of the body if it is one block, else of the table
//! ```
//!
//! Checksums per block, and not one per body, so that a part of a large message is verified by reading that part alone, with
//! nothing to remember between reads. The common small message is one block: its checksum is in its row, and one
//! positional read gives and proves it.

use bytes::Bytes;
use postrider_types::ContentId;

/// Bytes of a header.
pub(crate) const HEADER: usize = 40;
/// Bytes that share one checksum.
pub(crate) const BLOCK: usize = 64 << 10;
const MAGIC: &[u8; 4] = b"PRS1";

/// Bytes of the checksum table of a content of this length.
pub(crate) fn table_length(length: u64) -> u64 {
    if length <= BLOCK as u64 {
        0
    } else {
        length.div_ceil(BLOCK as u64) * 4
    }
}

/// What a record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: ContentId,
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..20].copy_from_slice(self.id.as_bytes());
        bytes[20..28].copy_from_slice(&self.length.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` if these bytes are not a header.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let (front, crc) = bytes.split_at(36);
        if !front.starts_with(MAGIC) || crc32c::crc32c(front).to_le_bytes() != crc {
            return None;
        }
        Some(Self {
            id: ContentId::from_slice(front.get(4..20)?)?,
            length: u64::from_le_bytes(front.get(20..28)?.try_into().ok()?),
            crc: u32::from_le_bytes(front.get(28..32)?.try_into().ok()?),
        })
    }
}

/// Checksums of a body that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    length: u64,
    block: u32,
    table: Vec<u8>,
}

impl Tally {
    /// Takes the next piece.
    pub(crate) fn update(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            let used = (self.length % BLOCK as u64) as usize;
            let (now, rest) = piece.split_at(piece.len().min(BLOCK - used));
            self.block = crc32c::crc32c_append(self.block, now);
            self.length += now.len() as u64;
            if used + now.len() == BLOCK {
                self.table.extend_from_slice(&self.block.to_le_bytes());
                self.block = 0;
            }
            piece = rest;
        }
    }

    /// Length, checksum, and the table to write behind the body (empty for one block).
    pub(crate) fn finish(mut self) -> (u64, u32, Vec<u8>) {
        if self.length <= BLOCK as u64 {
            let crc = match self.table.first_chunk() {
                Some(block) => u32::from_le_bytes(*block),
                None => self.block,
            };
            return (self.length, crc, Vec::new());
        }
        if !self.length.is_multiple_of(BLOCK as u64) {
            self.table.extend_from_slice(&self.block.to_le_bytes());
        }
        let crc = crc32c::crc32c(&self.table);
        (self.length, crc, self.table)
    }
}

/// A record ready to append.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) header: Header,
    pub(crate) encoded: [u8; HEADER],
    pub(crate) body: Bytes,
    pub(crate) table: Vec<u8>,
}

impl Record {
    /// Computes its checksums.
    pub(crate) fn new(id: ContentId, body: Bytes) -> Self {
        let mut tally = Tally::default();
        tally.update(&body);
        let (length, crc, table) = tally.finish();
        let header = Header { id, length, crc };
        Self {
            header,
            encoded: header.encode(),
            body,
            table,
        }
    }

    /// Bytes in the segment.
    pub(crate) fn length(&self) -> usize {
        HEADER + self.body.len() + self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_is_forty_fixed_bytes() {
        let header = Header {
            id: ContentId::from_bytes([7; 16]),
            length: 5,
            crc: 0x0102_0304,
        };
        let bytes = header.encode();
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(text.starts_with("50525331070707070707070707070707070707070500000000000000040302010000000"));
        assert_eq!(Header::decode(&bytes), Some(header));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_seen() {
        let bytes = Header {
            id: ContentId::generate(),
            length: 99,
            crc: 1,
        }
        .encode();
        for bit in 0..HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), None, "bit {bit}");
        }
    }

    #[test]
    fn one_block_needs_no_table() {
        for (length, blocks) in [
            (0, 0),
            (1, 0),
            (BLOCK, 0),
            (BLOCK + 1, 2),
            (2 * BLOCK, 2),
            (2 * BLOCK + 1, 3),
        ] {
            let record = Record::new(ContentId::generate(), vec![5; length].into());
            assert_eq!(record.table.len(), blocks * 4, "{length}");
            assert_eq!(record.table.len() as u64, table_length(length as u64));
        }
    }

    proptest! {
        #[test]
        fn pieces_give_the_checksums_of_the_whole(
            length in 0usize..300_000, cuts in proptest::collection::vec(0usize..300_000, 0..6),
        ) {
            let body: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (length + 1)).collect();
            cuts.extend([0, length]);
            cuts.sort_unstable();
            let mut tally = Tally::default();
            for pair in cuts.windows(2) {
                tally.update(&body[pair[0]..pair[1]]);
            }
            let record = Record::new(ContentId::generate(), body.into());
            prop_assert_eq!(tally.finish(), (record.header.length, record.header.crc, record.table));
        }
    }
}
