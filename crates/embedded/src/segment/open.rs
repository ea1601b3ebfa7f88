//! The segment that is appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::Record;
use super::{Located, create, name};
use crate::{Error, Result};

/// How many pieces one `writev` takes at most (Linux: 1,024).
const PIECES: usize = 1020;

/// Bytes of zeros that are written ahead of small batches. A sync after a write that makes a file longer goes through the journal of the file
/// system; one after a write into bytes that are there does not, which is a third less work and half the way to the disk. Start-up cuts them
/// off, as any tail behind the last committed record.
const AHEAD: u64 = 1 << 20;

/// A shared segment open for appending. Only stage 1 has one.
pub(crate) struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: File,
    /// Where the next record goes: everything before it is synced, or about to be by the same call.
    end: u64,
    /// How long the file is: from `end` on there are zeros.
    length: u64,
    /// How long it may become, the last batch apart.
    full: u64,
    /// Its directory entry is durable.
    entered: bool,
    usable: bool,
    #[cfg(test)]
    faults: Faults,
}

/// What goes wrong next, in tests.
#[cfg(test)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) write: bool,
    pub(crate) sync: bool,
}

impl OpenSegment {
    /// A new one, that is to be about so many bytes long.
    pub(crate) fn create(dir: &Path, number: u64, full: u64) -> Result<Self> {
        let (path, file) = create(dir, number)?;
        Ok(Self {
            number,
            path,
            file,
            end: 0,
            length: 0,
            full,
            entered: false,
            usable: true,
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    /// One of an earlier run, whose committed records end at `end`: what is behind is cut.
    pub(crate) fn reopen(dir: &Path, number: u64, end: u64, full: u64) -> Result<Self> {
        let path = dir.join(name(number));
        let open = || {
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end))?;
            Ok(file)
        };
        let file = open().map_err(|error: io::Error| Error::io(&path, &error))?;
        Ok(Self {
            number,
            path,
            file,
            end,
            length: end,
            full,
            entered: true,
            usable: true,
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    #[cfg(test)]
    pub(crate) fn fail_next(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Whether it can be appended to. If not, it must be dropped: what it holds stays good.
    pub(crate) fn is_usable(&self) -> bool {
        self.usable
    }

    /// Nothing more is appended: the zeros behind the last record go.
    pub(crate) fn close(self) {
        if self.usable && self.length > self.end {
            // What cannot be cut now is cut at the next start.
            let _ = self.file.set_len(self.end);
        }
    }

    /// Appends the records and makes them durable, with one sync. After an error nothing was appended.
    pub(crate) fn append(&mut self, dir: &Path, records: &[&Record]) -> Result<Vec<Located>> {
        let mut located = Vec::with_capacity(records.len());
        let mut end = self.end;
        for record in records {
            let header = record.header;
            located.push(Located {
                id: header.id,
                segment: self.number,
                start: end,
                length: header.length,
                crc: header.crc,
                single: false,
            });
            end += record.length() as u64;
        }
        if let Err(error) = self.write(records, end) {
            // Take back what was written of it.
            self.length = self.end;
            let cut = self
                .file
                .set_len(self.end)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
            self.usable = cut.is_ok();
            return Err(Error::io(&self.path, &error));
        }
        // A failed sync may have dropped the pages, and a second one would not say so: never use this file again.
        self.usable = false;
        self.sync().map_err(|error| Error::io(&self.path, &error))?;
        if !self.entered {
            super::sync_directory(dir)?;
            self.entered = true;
        }
        self.usable = true;
        self.end = end;
        self.length = self.length.max(end);
        Ok(located)
    }

    fn write(&mut self, records: &[&Record], end: u64) -> io::Result<()> {
        // A large batch would use up the zeros at once, and then all its bytes would have been written twice.
        if end > self.length && end - self.end <= AHEAD / 8 {
            let ahead = self.full.saturating_sub(end).min(AHEAD);
            self.file.write_all_at(&vec![0; ahead as usize], end)?;
            self.length = end + ahead;
        }
        #[cfg(test)]
        if std::mem::take(&mut self.faults.write) {
            self.file.write_all(b"half of a rec")?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut pieces: Vec<IoSlice<'_>> = records
            .iter()
            .flat_map(|record| [&record.encoded[..], &record.body[..], &record.table[..]])
            .filter(|piece| !piece.is_empty())
            .map(IoSlice::new)
            .collect();
        for chunk in pieces.chunks_mut(PIECES) {
            let mut left = chunk;
            while !left.is_empty() {
                match self.file.write_vectored(left) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(written) => IoSlice::advance_slices(&mut left, written),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        #[cfg(test)]
        if std::mem::take(&mut self.faults.sync) {
            return Err(io::Error::other("injected"));
        }
        self.file.sync_data()
    }
}
