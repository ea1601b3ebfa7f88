//! A copy of a data directory that is being used.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use crate::segment;
use crate::{Database, Error, Result, schema};

/// Pages of the database copied between two reports.
const PAGES: i32 = 1024;
const PIECE: usize = 1 << 20;

impl Database {
    /// Copies everything committed so far to `target`, a directory that is missing or empty; it is then a data directory like any other.
    ///
    /// First the rows as they are at one moment, then the segments those rows name, which only ever grow. Writes go on meanwhile; files of
    /// removed segments are kept until it is done, and the write-ahead log grows meanwhile. `progress` is told bytes done and bytes in all. Blocks the calling thread. A target that is left
    /// incomplete by an error has no `postrider.db`.
    pub fn backup(&self, target: impl AsRef<Path>, mut progress: impl FnMut(u64, u64)) -> Result<()> {
        let target = target.as_ref();
        let contents = target.join("content");
        let io = |path: &Path| {
            let path = path.to_path_buf();
            move |error: std::io::Error| Error::io(&path, &error)
        };
        std::fs::create_dir_all(target).map_err(io(target))?;
        if std::fs::read_dir(target).map_err(io(target))?.next().is_some() {
            return Err(Error::Invalid(format!(
                "the backup's target {} is not empty",
                target.display()
            )));
        }
        std::fs::create_dir(&contents).map_err(io(&contents))?;

        let _files_stay = self.core.removal.lock();
        let partial = target.join("postrider.db.partial");
        let segments = self.copy_rows(&partial, &mut progress)?;
        let total = segments.iter().map(|(_, bytes)| bytes).sum();
        let mut done = 0;
        for (number, bytes) in segments {
            let name = segment::name(number);
            copy(
                &self.core.files.dir().join(&name),
                &contents.join(&name),
                bytes,
                |piece| {
                    done += piece;
                    progress(done, total);
                },
            )?;
        }
        segment::sync_directory(&contents)?;
        File::open(&partial)
            .and_then(|file| file.sync_all())
            .map_err(io(&partial))?;
        std::fs::rename(&partial, target.join(schema::FILE)).map_err(io(&partial))?;
        segment::sync_directory(target)
    }

    /// Copies the rows; gives the segments they name and how far each is committed.
    fn copy_rows(&self, target: &Path, progress: &mut impl FnMut(u64, u64)) -> Result<Vec<(u64, u64)>> {
        let source = schema::open_reader(&self.core.dir)?;
        // Inside a read transaction the copy is of one moment, and writers do not make it start again.
        let snapshot = source.unchecked_transaction()?;
        let segments = snapshot
            .prepare("SELECT id, committed FROM segment ORDER BY id")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<Vec<(u64, u64)>>>()?;
        let bytes: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        let mut copy = Connection::open(target)?;
        {
            let backup = Backup::new(&source, &mut copy)?;
            loop {
                let step = backup.step(PAGES)?;
                progress(0, bytes);
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => return Err(Error::Unavailable("the database is locked".into())),
                }
            }
        }
        // Without its -wal and -shm files, which a rename would lose.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))?;
        copy.close().map_err(|(_, error)| error)?;
        Ok(segments)
    }
}

/// Copies the first `bytes` of a file and makes the copy durable.
fn copy(from: &Path, to: &Path, bytes: u64, mut progress: impl FnMut(u64)) -> Result<()> {
    let mut source = File::open(from)
        .map_err(|error| Error::io(from, &error))?
        .take(bytes);
    let mut copy = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(to)
        .map_err(|error| Error::io(to, &error))?;
    let mut piece = vec![0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let read = source.read(&mut piece).map_err(|error| Error::io(from, &error))?;
        let Some(now) = piece.get(..read).filter(|now| !now.is_empty()) else {
            return Err(Error::Damaged(format!(
                "{} has {left} bytes less than its rows name",
                from.display()
            )));
        };
        copy.write_all(now).map_err(|error| Error::io(to, &error))?;
        left -= read as u64;
        progress(read as u64);
    }
    copy.sync_all().map_err(|error| Error::io(to, &error))
}
