//! Figures for operators.

use std::sync::atomic::Ordering;

use crate::{Database, Result, schema};

/// What a data directory holds and does. None of it needs a walk over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Contents stored.
    pub contents: u64,
    /// Bytes of their records.
    pub content_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of the segment files, dead records included.
    pub segment_bytes: u64,
    /// Bytes of the database file.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub log_bytes: u64,
    /// Batches committed since it was opened.
    pub batches: u64,
    /// Jobs in them.
    pub jobs: u64,
    /// Jobs that wait now.
    pub waiting: u64,
}

impl Database {
    /// Figures as of now.
    pub async fn statistics(&self) -> Result<Statistics> {
        let rows = self.read(|connection| {
            let sums = "SELECT count(*), coalesce(sum(committed), 0), coalesce(sum(live), 0), coalesce(sum(records), 0)
                        FROM segment";
            Ok(connection.prepare_cached(sums)?.query_row([], |row| {
                Ok(Statistics {
                    segments: row.get(0)?,
                    segment_bytes: row.get(1)?,
                    content_bytes: row.get(2)?,
                    contents: row.get(3)?,
                    ..Statistics::default()
                })
            })?)
        });
        let length = |name: String| std::fs::metadata(self.core.dir.join(name)).map_or(0, |file| file.len());
        Ok(Statistics {
            database_bytes: length(schema::FILE.into()),
            log_bytes: length(format!("{}-wal", schema::FILE)),
            batches: self.core.progress.batches.load(Ordering::Relaxed),
            jobs: self.core.progress.jobs.load(Ordering::Relaxed),
            waiting: self.core.waiting.len() as u64,
            ..rows.await?
        })
    }

    /// Why nothing is written any more, if a failed commit made the database stop writing. Reads go on.
    pub fn stopped(&self) -> Option<String> {
        self.core.progress.stopped()
    }
}
