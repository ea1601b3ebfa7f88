//! Stage 2: the jobs of a batch in one transaction.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use postrider_types::ContentId;
use rusqlite::{Connection, OptionalExtension, params};

use crate::segment::Located;
use crate::transaction::Transaction;
use crate::waiting::{Entry, Waiting};
use crate::{Error, Result};

/// What the committer lets others see.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Batches committed.
    pub(crate) batches: AtomicU64,
    /// Jobs in them.
    pub(crate) jobs: AtomicU64,
    /// Why nothing is written any more, if so.
    stopped: Mutex<Option<String>>,
}

impl Progress {
    /// Why nothing is written any more, if so.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.stopped.lock().clone()
    }
}

/// The one thread that writes rows.
pub(crate) struct Committer {
    pub(crate) connection: Connection,
    pub(crate) progress: Arc<Progress>,
}

/// How a pass over a batch's jobs ended.
enum Pass {
    /// All ran; each has its result.
    Done(Vec<Result<()>>),
    /// A job failed after it had written: its rows have to go, the others' must not.
    Spoiled,
    /// The transaction as a whole failed; nothing was done.
    Failed(Error),
}

/// Whether each job is fenced off by a savepoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// Costs nothing; a job that fails late spoils the pass.
    No,
    /// Copies every page a job changes first; only after a spoiled pass.
    Savepoint,
}

impl Committer {
    /// Until stage 1 ends.
    pub(crate) fn run(mut self, batches: &Receiver<Vec<Entry>>, waiting: &Waiting) {
        while let Ok(batch) = batches.recv() {
            self.commit(batch);
            waiting.done();
        }
    }

    fn commit(&mut self, mut batch: Vec<Entry>) {
        let outcome = match self.progress.stopped() {
            Some(reason) => Err(Error::Unavailable(reason)),
            None => self.transact(&mut batch),
        };
        match outcome {
            Ok(results) => {
                self.progress.batches.fetch_add(1, Ordering::Relaxed);
                self.progress
                    .jobs
                    .fetch_add(batch.len() as u64, Ordering::Relaxed);
                for (entry, result) in batch.into_iter().zip(results) {
                    entry.work.finish(result);
                }
            }
            Err(error) => {
                tracing::error!(%error, jobs = batch.len(), "a batch was not committed");
                for entry in batch {
                    entry.work.finish(Err(error.clone()));
                }
            }
        }
    }

    fn transact(&mut self, batch: &mut [Entry]) -> Result<Vec<Result<()>>> {
        let mut fence = Fence::No;
        let results = loop {
            self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
            match self.pass(batch, fence) {
                Pass::Done(results) => break results,
                Pass::Failed(error) => {
                    self.roll_back();
                    return Err(error);
                }
                Pass::Spoiled => {
                    self.roll_back();
                    fence = Fence::Savepoint;
                }
            }
        };
        let committed = self
            .connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]));
        match committed.map_err(Error::from) {
            Ok(_) => Ok(results),
            Err(error) => {
                self.roll_back();
                Err(self.failed_commit(error))
            }
        }
    }

    /// A commit that found the disk full left no commit record. Any other failure may have: the batch's outcome is unknown, and a log
    /// whose sync failed once is not trusted with more.
    fn failed_commit(&self, error: Error) -> Error {
        if matches!(error, Error::Full(_)) {
            return error;
        }
        let reason = format!("writing stopped after a failed commit ({error}); check the disk, then restart");
        *self.progress.stopped.lock() = Some(reason);
        Error::Unknown(error.to_string())
    }

    fn roll_back(&self) {
        // SQLite ends a transaction by itself after some errors.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            let reason =
                format!("writing stopped: a transaction could not be rolled back ({error}); restart");
            *self.progress.stopped.lock() = Some(reason);
        }
    }

    fn pass(&self, batch: &mut [Entry], fence: Fence) -> Pass {
        let now = unix_millis();
        let mut growth = Growth::default();
        let mut results = Vec::with_capacity(batch.len());
        for entry in batch {
            if !entry.work.is_wanted() {
                results.push(Err(Error::Unavailable("the caller did not wait".into())));
                continue;
            }
            let before = self.connection.total_changes();
            let result = self.fenced(fence, || run(&self.connection, entry, now, &mut growth));
            match result {
                Err(error) if self.connection.is_autocommit() => return Pass::Failed(error),
                Err(_) if fence == Fence::No && self.connection.total_changes() != before => {
                    return Pass::Spoiled;
                }
                result => results.push(result),
            }
        }
        match growth.store(&self.connection) {
            Ok(()) => Pass::Done(results),
            Err(error) => Pass::Failed(error),
        }
    }

    fn fenced(&self, fence: Fence, run: impl FnOnce() -> Result<()>) -> Result<()> {
        if fence == Fence::No {
            return run();
        }
        self.connection.execute_batch("SAVEPOINT job")?;
        let result = run();
        if !self.connection.is_autocommit() {
            self.connection.execute_batch(match result {
                Ok(()) => "RELEASE job",
                Err(_) => "ROLLBACK TO job; RELEASE job",
            })?;
        }
        result
    }
}

/// The rows of an entry's contents, then its job.
fn run(connection: &Connection, entry: &mut Entry, now: u64, growth: &mut Growth) -> Result<()> {
    let mut fresh: Vec<(ContentId, bool)> = Vec::with_capacity(entry.located.len());
    let mut placed = Vec::with_capacity(entry.located.len());
    let mut job = || {
        for located in &entry.located {
            let live = match entry.moved_from {
                Some(from) => move_content(connection, located, from)?,
                None => insert_content(connection, located, now)?,
            };
            placed.push((*located, live));
            if entry.moved_from.is_none() {
                fresh.push((located.id, false));
            }
        }
        entry.work.run(&mut Transaction::new(connection, &mut fresh, now))
    };
    match catch_unwind(AssertUnwindSafe(&mut job)) {
        Ok(result) => result?,
        Err(_) => return Err(Error::Invalid("a write job panicked".into())),
    }
    for (id, _) in fresh.iter().filter(|(_, held)| !held) {
        connection
            .prepare_cached("INSERT OR IGNORE INTO content_candidate (put, content) VALUES (?1, ?2)")?
            .execute(params![now, id.as_bytes()])?;
    }
    for (located, live) in placed {
        growth.add(&located, live, entry.moved_from);
    }
    Ok(())
}

/// Whether the row is new. The same content again leaves the old row, as young as a new one.
fn insert_content(connection: &Connection, at: &Located, now: u64) -> Result<bool> {
    let inserted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO content (id, segment, start, length, crc, put) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![at.id.as_bytes(), at.segment, at.start, at.length, at.crc, now])?;
    if inserted == 1 {
        return Ok(true);
    }
    let same = connection
        .prepare_cached("SELECT length = ?2 AND crc = ?3 FROM content WHERE id = ?1")?
        .query_row(params![at.id.as_bytes(), at.length, at.crc], |row| {
            row.get::<_, bool>(0)
        })
        .optional()?;
    if same != Some(true) {
        return Err(Error::Invalid(format!(
            "content {} exists with other bytes",
            at.id
        )));
    }
    connection
        .prepare_cached("UPDATE content SET put = ?2 WHERE id = ?1")?
        .execute(params![at.id.as_bytes(), now])?;
    Ok(false)
}

/// Whether the row named the old copy until now; a content deleted or moved meanwhile is left alone.
fn move_content(connection: &Connection, at: &Located, from: u64) -> Result<bool> {
    let moved = connection
        .prepare_cached("UPDATE content SET segment = ?2, start = ?3 WHERE id = ?1 AND segment = ?4")?
        .execute(params![at.id.as_bytes(), at.segment, at.start, from])?;
    Ok(moved == 1)
}

/// What a batch changes in segments, so that each segment's row is written once per batch.
#[derive(Default)]
struct Growth {
    segments: Vec<SegmentGrowth>,
}

struct SegmentGrowth {
    number: u64,
    single: bool,
    committed: u64,
    live: i64,
    records: i64,
}

impl Growth {
    fn add(&mut self, at: &Located, live: bool, moved_from: Option<u64>) {
        let length = at.record_length() as i64;
        let segment = self.segment(at.segment);
        segment.single = at.single;
        segment.committed = segment.committed.max(at.end());
        if live {
            segment.live += length;
            segment.records += 1;
            if let Some(from) = moved_from {
                let old = self.segment(from);
                old.live -= length;
                old.records -= 1;
            }
        }
    }

    fn segment(&mut self, number: u64) -> &mut SegmentGrowth {
        let index = self.segments.iter().position(|segment| segment.number == number);
        let index = index.unwrap_or(self.segments.len());
        if index == self.segments.len() {
            self.segments.push(SegmentGrowth {
                number,
                single: false,
                committed: 0,
                live: 0,
                records: 0,
            });
        }
        &mut self.segments[index]
    }

    fn store(&self, connection: &Connection) -> Result<()> {
        for segment in &self.segments {
            let changed = connection
                .prepare_cached(
                    "UPDATE segment SET committed = max(committed, ?2), live = live + ?3, records = records + ?4
                     WHERE id = ?1",
                )?
                .execute(params![segment.number, segment.committed, segment.live, segment.records])?;
            if changed == 0 {
                let row = params![
                    segment.number,
                    segment.single,
                    segment.committed,
                    segment.live,
                    segment.records
                ];
                connection
                    .prepare_cached(
                        "INSERT INTO segment (id, single, committed, live, records) VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(row)?;
            }
        }
        Ok(())
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
