//! Writing the ledger: a directory with `ledger.json`, `promises` and `sightings`, appended to and synced.
//!
//! One thread writes. Whatever waits when it looks is written with one `write` and made durable with one `fdatasync` per
//! file; it waits [`GATHER`] for company first, so that the disk, which the server under load may share, sees at most
//! some hundred syncs per second.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{Promise, Sighting, line};

/// How long a line waits for others before it is written.
const GATHER: Duration = Duration::from_millis(5);

/// Buffers that grew beyond this in a burst are not kept, in octets.
const KEEP: usize = 1024 * 1024;

/// The version of the files.
const FORMAT: u32 = 1;

/// The names of the files in a ledger's directory.
pub const PROMISES: &str = "promises";
pub(super) const SIGHTINGS: &str = "sightings";
const ABOUT: &str = "ledger.json";

/// The open ledger of a run: a directory with `promises` and `sightings`, appended to and synced. Cheap to clone.
///
/// Memory: what waits to be written. Every caller waits for its own lines, so that is at most one batch per caller.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Handle>);

/// Why the ledger is of no use any more. What was confirmed before stays true.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The disk is full or broken. Every later line fails with the same error.
    #[error("cannot write the ledger in {}: {error}", directory.display())]
    Write {
        /// Where.
        directory: PathBuf,
        /// What the system says.
        error: Arc<io::Error>,
    },
    /// The writing thread has ended.
    #[error("the ledger is closed")]
    Closed,
}

/// What `ledger.json` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    format: u32,
    /// See [`MessageId::run`](super::MessageId::run).
    pub run: u32,
}

#[derive(Debug)]
struct Handle {
    directory: PathBuf,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    /// Something came into an empty state, or it was closed.
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    batch: Batch,
    closed: bool,
    failed: Option<LedgerError>,
}

/// What waits to be written.
#[derive(Debug, Default)]
struct Batch {
    promises: Vec<u8>,
    sightings: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), LedgerError>>>,
}

impl Ledger {
    /// Opens the ledger of run `run` in `directory`, which is made if it is not there. A ledger of the same run is continued;
    /// that of another run is an error.
    pub fn open(directory: &Path, run: u32) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        About { format: FORMAT, run }.write(directory)?;
        let files = Files {
            promises: append_to(&directory.join(PROMISES))?,
            sightings: append_to(&directory.join(SIGHTINGS))?,
        };
        File::open(directory)?.sync_all()?;
        let queue = Arc::new(Queue::default());
        let writer = Writer {
            directory: directory.to_owned(),
            queue: queue.clone(),
            files,
        };
        std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run())?;
        Ok(Self(Arc::new(Handle {
            directory: directory.to_owned(),
            queue,
        })))
    }

    /// Writes promises down; resolves when they are durable. Until then the answer must not be counted.
    pub async fn promise(&self, promises: Vec<Promise>) -> Result<(), LedgerError> {
        self.append(&promises, |batch| &mut batch.promises).await
    }

    /// Writes sightings down; resolves when they are durable.
    pub async fn sighting(&self, sightings: Vec<Sighting>) -> Result<(), LedgerError> {
        self.append(&sightings, |batch| &mut batch.sightings).await
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    async fn append<T: Serialize>(
        &self,
        values: &[T],
        file: impl FnOnce(&mut Batch) -> &mut Vec<u8>,
    ) -> Result<(), LedgerError> {
        if values.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::with_capacity(values.len() * 256);
        for value in values {
            line::encode(value, &mut lines).map_err(|error| self.0.broken(error))?;
        }
        let confirmed = self.0.queue.put(&lines, file)?;
        confirmed.await.unwrap_or(Err(LedgerError::Closed))
    }
}

impl About {
    /// Reads what a directory holds.
    pub(super) fn read(directory: &Path) -> io::Result<Self> {
        let about: Self = serde_json::from_slice(&fs::read(directory.join(ABOUT))?)?;
        if about.format == FORMAT {
            return Ok(about);
        }
        let text = format!("a ledger of format {}, not {FORMAT}", about.format);
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn write(self, directory: &Path) -> io::Result<()> {
        match Self::read(directory) {
            Ok(found) if found.run == self.run => return Ok(()),
            Ok(found) => {
                let text = format!("holds the ledger of another run ({:x})", found.run);
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut file = File::create_new(directory.join(ABOUT))?;
        file.write_all(&serde_json::to_vec(&self)?)?;
        file.sync_all()
    }
}

impl Handle {
    fn broken(&self, error: io::Error) -> LedgerError {
        LedgerError::Write {
            directory: self.directory.clone(),
            error: Arc::new(error),
        }
    }
}

impl Drop for Handle {
    /// The thread writes what still waits, then ends.
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.wake.notify_one();
    }
}

impl Queue {
    fn put(
        &self,
        lines: &[u8],
        file: impl FnOnce(&mut Batch) -> &mut Vec<u8>,
    ) -> Result<oneshot::Receiver<Result<(), LedgerError>>, LedgerError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        file(&mut state.batch).extend_from_slice(lines);
        state.batch.waiting.push(sender);
        // Later ones find the thread awake, gathering.
        if state.batch.waiting.len() == 1 {
            self.wake.notify_one();
        }
        Ok(receiver)
    }

    /// Waits for a batch and gives it in exchange for an empty one; `None`: nothing more will come.
    fn take(&self, empty: Batch) -> Option<Batch> {
        let mut state = self.state.lock();
        while state.batch.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
        let until = Instant::now() + GATHER;
        while !state.closed && !self.wake.wait_until(&mut state, until).timed_out() {}
        Some(std::mem::replace(&mut state.batch, empty))
    }
}

/// The thread.
struct Writer {
    directory: PathBuf,
    queue: Arc<Queue>,
    files: Files,
}

struct Files {
    promises: File,
    sightings: File,
}

impl Writer {
    fn run(mut self) {
        let mut spare = Batch::default();
        while let Some(mut batch) = self.queue.take(spare) {
            let written = self.files.write(&batch).map_err(|error| LedgerError::Write {
                directory: self.directory.clone(),
                error: Arc::new(error),
            });
            if let Err(error) = &written {
                tracing::error!("{error}; nothing can be promised any more");
                self.queue.state.lock().failed = Some(error.clone());
            }
            for waiting in batch.waiting.drain(..) {
                // Whoever gave up waiting has not counted the answer.
                let _ = waiting.send(written.clone());
            }
            spare = batch.emptied();
        }
    }
}

impl Files {
    fn write(&mut self, batch: &Batch) -> io::Result<()> {
        for (file, lines) in [
            (&mut self.promises, &batch.promises),
            (&mut self.sightings, &batch.sightings),
        ] {
            if !lines.is_empty() {
                file.write_all(lines)?;
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

impl Batch {
    /// The same buffers without what is in them.
    fn emptied(mut self) -> Self {
        for buffer in [&mut self.promises, &mut self.sightings] {
            buffer.clear();
            buffer.shrink_to(KEEP);
        }
        self
    }
}

/// Opens a file at its end, without a line that a crash has cut (nobody was told that it is written).
fn append_to(path: &Path) -> io::Result<File> {
    const LOOK_BACK: u64 = 128 * 1024;
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LOOK_BACK);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    (&mut file).take(LOOK_BACK).read_to_end(&mut tail)?;
    let whole = tail.iter().rposition(|octet| *octet == b'\n');
    let end = whole.map_or(from, |last| from + last as u64 + 1);
    if end < length {
        file.set_len(end)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::super::{Lines, MessageId, Place};
    use super::*;

    fn promise(number: u64) -> Promise {
        Promise {
            id: MessageId { run: 7, number },
            recipient: "bob@hamburger.edu".into(),
            digest: number * 3,
            decoded: number.is_multiple_of(2).then_some(number),
            began: number,
            at: number + 1,
        }
    }

    fn read(path: &Path) -> Vec<Promise> {
        Lines::open(path).unwrap().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn what_is_confirmed_is_in_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path(), 7).unwrap();
        let promises: Vec<Promise> = (0..100).map(promise).collect();
        let waiting = promises.chunks(10).map(|some| ledger.promise(some.to_vec()));
        for confirmed in futures::future::join_all(waiting).await {
            confirmed.unwrap();
        }
        assert_eq!(read(&directory.path().join(PROMISES)), promises);
        let sighting = Sighting {
            id: MessageId { run: 7, number: 1 },
            recipient: "bob@hamburger.edu".into(),
            digest: 3,
            decoded: None,
            place: Place::Maildrop {
                uid: "x 1".into(),
                deleted: true,
            },
        };
        ledger.sighting(vec![sighting.clone()]).await.unwrap();
        let mut lines = Lines::<Sighting>::open(&directory.path().join(SIGHTINGS)).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), sighting);
    }

    #[tokio::test]
    async fn a_ledger_is_continued_behind_its_last_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(PROMISES);
        let ledger = Ledger::open(directory.path(), 7).unwrap();
        ledger.promise(vec![promise(1), promise(2)]).await.unwrap();
        drop(ledger);
        let length = fs::metadata(&path).unwrap().len();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(length - 5).unwrap();
        let ledger = Ledger::open(directory.path(), 7).unwrap();
        ledger.promise(vec![promise(3)]).await.unwrap();
        assert_eq!(read(&path), [promise(1), promise(3)]);
        let other = Ledger::open(directory.path(), 8).unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn a_full_disk_fails_everything_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", directory.path().join(PROMISES)).unwrap();
        // Not every system has a device that is always full.
        if !Path::new("/dev/full").exists() {
            return;
        }
        let ledger = Ledger::open(directory.path(), 7).unwrap();
        for _ in 0..2 {
            let error = ledger.promise(vec![promise(1)]).await.unwrap_err();
            assert!(matches!(error, LedgerError::Write { .. }), "{error}");
        }
    }
}
