//! Verified reads of records.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::record::{BLOCK, HEADER, Header};
use super::{Located, name, table_length};
use crate::{Error, Result};

/// Bytes of a content from `offset`, at most `length`, cut at its end. Every block they lie in is verified.
pub(crate) fn read_range(file: &File, at: &Located, offset: u64, length: u64) -> Result<Bytes> {
    let offset = offset.min(at.length);
    let end = offset.saturating_add(length).min(at.length);
    if offset == end && at.length > 0 {
        return Ok(Bytes::new());
    }
    let body = at.start.saturating_add(HEADER as u64);
    if at.length <= BLOCK as u64 {
        let whole = pread(file, at, body, at.length)?;
        check(at, &whole, at.crc, 0)?;
        return Ok(slice(whole, offset, end));
    }
    let table = pread(file, at, body.saturating_add(at.length), table_length(at.length))?;
    if crc32c::crc32c(&table) != at.crc {
        return Err(damaged(at, "the checksum table does not match its checksum"));
    }
    let first = offset / BLOCK as u64;
    let from = first * BLOCK as u64;
    let to = end.next_multiple_of(BLOCK as u64).min(at.length);
    let blocks = pread(file, at, body.saturating_add(from), to - from)?;
    let sums = table.chunks_exact(4).skip(first as usize);
    for (index, (block, sum)) in blocks.chunks(BLOCK).zip(sums).enumerate() {
        let sum = sum.try_into().map(u32::from_le_bytes).unwrap_or_default();
        check(at, block, sum, from + (index * BLOCK) as u64)?;
    }
    Ok(slice(blocks, offset - from, end - from))
}

/// Proves a whole record, header and body, holding one block at a time.
pub(crate) fn read_record(file: &File, at: &Located) -> Result<()> {
    let bytes = pread(file, at, at.start, HEADER as u64)?;
    let header = bytes.first_chunk().and_then(Header::decode);
    if header
        != Some(Header {
            id: at.id,
            length: at.length,
            crc: at.crc,
        })
    {
        return Err(damaged(at, "the record header is not the one its row describes"));
    }
    let mut offset = 0;
    loop {
        let piece = read_range(file, at, offset, 16 * BLOCK as u64)?;
        offset += piece.len() as u64;
        if piece.is_empty() || offset >= at.length {
            return Ok(());
        }
    }
}

fn slice(bytes: Vec<u8>, from: u64, to: u64) -> Bytes {
    Bytes::from(bytes).slice(from as usize..to as usize)
}

fn check(at: &Located, block: &[u8], crc: u32, offset: u64) -> Result<()> {
    if crc32c::crc32c(block) == crc {
        return Ok(());
    }
    Err(damaged(
        at,
        &format!("the block at byte {offset} does not match its checksum"),
    ))
}

fn pread(file: &File, at: &Located, offset: u64, length: u64) -> Result<Vec<u8>> {
    if length > BLOCK as u64 {
        // A damaged row must not make us allocate what its length says: the file has to be that long.
        let size = file
            .metadata()
            .map_err(|error| Error::io(name(at.segment).as_ref(), &error))?
            .len();
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(damaged(at, "its segment ends before it does"));
        }
    }
    let mut bytes = vec![0; length as usize];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(damaged(at, "its segment ends before it does"))
        }
        Err(error) => Err(Error::io(name(at.segment).as_ref(), &error)),
    }
}

fn damaged(at: &Located, what: &str) -> Error {
    Error::Damaged(format!(
        "content {} in segment {} at {}: {what}",
        at.id,
        name(at.segment),
        at.start
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use postrider_types::ContentId;
    use proptest::prelude::*;

    use super::super::OpenSegment;
    use super::super::record::Record;
    use super::*;

    fn stored(length: usize) -> (tempfile::TempDir, Vec<u8>, Located, File) {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..length).map(|at| (at * 7 % 253) as u8).collect();
        let mut segment = OpenSegment::create(dir.path(), 1, 1 << 20).unwrap();
        let other = Record::new(ContentId::generate(), Bytes::from_static(b"other"));
        let record = Record::new(ContentId::generate(), body.clone().into());
        let located = segment.append(dir.path(), &[&other, &record]).unwrap();
        let file = File::options()
            .read(true)
            .write(true)
            .open(dir.path().join(name(1)))
            .unwrap();
        (dir, body, located[1], file)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_range_is_that_slice(length in 0usize..200_000, offset in 0usize..250_000, count in 0usize..250_000) {
            let (_dir, body, at, file) = stored(length);
            let from = offset.min(length);
            let to = (offset + count).min(length).max(from);
            prop_assert_eq!(&read_range(&file, &at, offset as u64, count as u64).unwrap()[..], &body[from..to]);
        }

        #[test]
        fn a_flipped_bit_is_reported_and_only_where_it_is(length in 1usize..200_000, at_bit in 0usize..1_600_000) {
            let (_dir, body, at, mut file) = stored(length);
            let (byte, bit) = (at_bit / 8 % length, at_bit % 8);
            file.seek(SeekFrom::Start(at.start + HEADER as u64 + byte as u64)).unwrap();
            file.write_all(&[body[byte] ^ 1 << bit]).unwrap();
            prop_assert!(matches!(read_record(&file, &at), Err(Error::Damaged(_))));
            for from in (0..length).step_by(BLOCK) {
                let piece = read_range(&file, &at, from as u64, BLOCK as u64);
                let hit = (from..from + BLOCK).contains(&byte);
                prop_assert_eq!(matches!(piece, Err(Error::Damaged(_))), hit);
            }
        }
    }

    #[test]
    fn a_row_that_lies_about_its_length_allocates_nothing() {
        let (_dir, _, at, file) = stored(10);
        let lie = Located {
            length: u64::MAX / 2,
            ..at
        };
        assert!(matches!(
            read_range(&file, &lie, 0, u64::MAX),
            Err(Error::Damaged(_))
        ));
        assert!(matches!(read_record(&file, &lie), Err(Error::Damaged(_))));
    }
}
