//! The sink's record: what it received and refused for good, a line each, in the form of the ledger's sightings.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::ledger::{MessageId, Sighting, SinkEntry, encode_line};

/// What was received, for whoever runs in the same process.
#[derive(Debug, Clone)]
pub struct Received {
    /// Whose message it is; `None`: not one of a load generator.
    pub id: Option<MessageId>,
    /// For whom, as the envelope says.
    pub recipients: Vec<String>,
    /// Its octets.
    pub size: u64,
    /// When it was whole.
    pub at: Instant,
    /// Whether its sender was told 250.
    pub answered: bool,
}

/// How much there was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections.
    pub connections: u64,
    /// Messages taken with 250.
    pub messages: u64,
    /// Copies of them: one for each recipient.
    pub copies: u64,
    /// Messages received whole whose sender got no answer.
    pub unanswered: u64,
    /// Answers of 4yz.
    pub deferred: u64,
    /// Answers of 5yz.
    pub refused: u64,
}

/// The counts while they change.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub connections: AtomicU64,
    pub messages: AtomicU64,
    pub copies: AtomicU64,
    pub unanswered: AtomicU64,
    pub deferred: AtomicU64,
    pub refused: AtomicU64,
}

/// The file. Every transaction is written before it is answered, so it survives the end of this process, however that comes;
/// it is not synced.
#[derive(Debug)]
pub(super) struct Record {
    file: Option<Mutex<File>>,
    next: AtomicU64,
}

impl Counters {
    pub(super) fn now(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: read(&self.connections),
            messages: read(&self.messages),
            copies: read(&self.copies),
            unanswered: read(&self.unanswered),
            deferred: read(&self.deferred),
            refused: read(&self.refused),
        }
    }
}

/// Counts one, or some; how many there were before.
pub(super) fn count(counter: &AtomicU64, by: u64) -> u64 {
    counter.fetch_add(by, Ordering::Relaxed)
}

impl Record {
    /// Appends to a file, which is made when it is not there; without one nothing is written.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path));
        Ok(Self {
            file: file.transpose()?.map(Mutex::new),
            // A record that is continued must not number two transactions alike.
            next: AtomicU64::new(epoch_micros()),
        })
    }

    /// A number for a transaction that no other one has.
    pub(super) fn transaction(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn seen(&self, sightings: impl Iterator<Item = Sighting>) -> io::Result<()> {
        self.write(sightings.map(SinkEntry::Seen))
    }

    pub(super) fn refused(&self, entry: SinkEntry) -> io::Result<()> {
        self.write(std::iter::once(entry))
    }

    fn write(&self, entries: impl Iterator<Item = SinkEntry>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut lines = Vec::with_capacity(512);
        for entry in entries {
            encode_line(&entry, &mut lines)?;
        }
        // One write for all of them: a crash leaves a transaction's lines or none.
        file.lock().write_all(&lines)
    }
}

/// Microseconds since 1970, by this machine's clock.
pub(super) fn epoch_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
