//! The files' lines: JSON behind a checksum, so that a line that was cut by a crash is told from one that was written whole.
//!
//! ```text
//! line = checksum SP json LF        checksum = 8 hexadecimal digits: the low half of XXH3-64 of the JSON
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

/// Octets in front of the JSON.
const PREFIX: usize = 9;

/// No line is longer, in octets; what is longer was not written by this program.
const MAX_LINE: usize = 64 * 1024;

/// Appends a line. Fails only for values that have no JSON.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    serde_json::to_writer(&mut *out, value)?;
    let (prefix, json) = out.split_at_mut(start + PREFIX);
    if let Some(prefix) = prefix.get_mut(start..start + PREFIX - 1) {
        prefix.copy_from_slice(&checksum(json));
    }
    out.push(b'\n');
    Ok(())
}

/// The JSON of a whole line (without its line end); `None`: it is not whole.
fn checked(line: &[u8]) -> Option<&[u8]> {
    let (prefix, json) = line.split_at_checked(PREFIX)?;
    (prefix.strip_suffix(b" ")? == checksum(json)).then_some(json)
}

fn checksum(json: &[u8]) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = xxh3_64(json);
    std::array::from_fn(|index| DIGITS[(hash >> (28 - 4 * index)) as usize & 15])
}

/// Reads a file of such lines, in order. Lines that are not whole are counted and stepped over.
#[derive(Debug)]
pub struct Lines<T> {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Octets up to the end of the last whole line.
    whole: u64,
    offset: u64,
    damaged: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// Opens a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_at(path, 0)
    }

    /// Opens a file at a place that [`Lines::whole`] has told: what comes is what was added since.
    pub fn open_at(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Self {
            reader: BufReader::with_capacity(256 * 1024, file),
            line: Vec::new(),
            whole: offset,
            offset,
            damaged: 0,
            kind: PhantomData,
        })
    }

    /// How many lines were not whole so far. One at the end is what a crash leaves, and was never confirmed.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Where the last whole line that was read ends, in octets.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    fn read(&mut self) -> io::Result<Option<T>> {
        loop {
            self.line.clear();
            let limit = MAX_LINE as u64;
            let length = io::Read::take(&mut self.reader, limit).read_until(b'\n', &mut self.line)?;
            if length == 0 {
                return Ok(None);
            }
            self.offset += length as u64;
            let line = self.line.strip_suffix(b"\n");
            match line
                .and_then(checked)
                .and_then(|json| serde_json::from_slice(json).ok())
            {
                Some(value) => {
                    self.whole = self.offset;
                    return Ok(Some(value));
                }
                None => self.damaged += 1,
            }
        }
    }
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_are_seen_and_stepped_over() {
        let mut whole = Vec::new();
        for number in 0..4_u64 {
            encode(&number, &mut whole).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        // The second line's JSON changes; the fourth is cut.
        let mut damaged = whole.clone();
        let second = whole.len() / 4;
        damaged[second + PREFIX] = b'7';
        damaged.truncate(whole.len() - 1);
        std::fs::write(&path, &damaged).unwrap();
        let mut lines = Lines::<u64>::open(&path).unwrap();
        let read: Vec<u64> = lines.by_ref().map(Result::unwrap).collect();
        assert_eq!(read, [0, 2]);
        assert_eq!((lines.damaged(), lines.whole()), (2, 3 * second as u64));
        // Whoever was writing the last line has come to its end.
        std::fs::write(&path, &whole).unwrap();
        let mut lines = Lines::<u64>::open_at(&path, lines.whole()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), 3);
        assert_eq!(lines.whole(), whole.len() as u64);
        assert_eq!(checked(b""), None);
        assert_eq!(checked(b"00000000 "), None);
    }
}
