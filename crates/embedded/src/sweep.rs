//! Deleting what nobody holds, and giving its space back.

use std::fs::File;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use postrider_types::ContentId;
use rusqlite::{OptionalExtension, params};

use crate::database::locate;
use crate::segment::{self, HEADER, Header, Located};
use crate::transaction::Transaction;
use crate::waiting::Contents;
use crate::{Database, Error, Result};

/// Candidates looked at in one call.
const CANDIDATES: usize = 1000;
/// Segments removed in one call.
const REMOVALS: usize = 64;
/// Bytes of a segment that one call walks over, and records it moves, at most.
const STEP_BYTES: u64 = 32 << 20;
const STEP_RECORDS: usize = 1000;
const STEP_MOVED_BYTES: usize = 8 << 20;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Contents deleted.
    pub deleted: u64,
    /// Bytes of their records: given back now, or when their segment is compacted.
    pub bytes: u64,
    /// More is left to do now.
    pub more: bool,
}

/// How far compaction is: kept between calls, lost at a restart, which then begins the segment again.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    segment: u64,
    offset: u64,
    /// A segment that could not be walked: left alone until the next start, so that its damage stays where it can be looked at.
    damaged: Vec<u64>,
}

/// One call's stretch of a segment.
struct Stretch {
    live: Vec<(ContentId, Bytes)>,
    next: u64,
    done: bool,
}

impl Database {
    /// Deletes contents put before `before` (milliseconds since the Unix epoch) that nobody holds, removes segments without live
    /// records, and moves live records out of one sealed segment that is mostly dead. Each call does a bounded amount.
    pub async fn sweep(&self, before: u64) -> Result<Swept> {
        let (mut swept, looked) = self
            .write(Vec::new(), move |tx| delete_unheld(tx, before))
            .await?;
        let removed = self.remove_empty().await?;
        let moved = self.compact().await?;
        swept.more = looked == CANDIDATES || removed == REMOVALS || moved;
        Ok(swept)
    }

    /// Removes sealed segments that no row names.
    async fn remove_empty(&self) -> Result<usize> {
        // Read before the job is queued: whatever was appended to smaller segments is committed before it runs.
        let open = self.core.numbers.open();
        let removable = self.read(move |connection| {
            let select = "SELECT EXISTS (SELECT 1 FROM segment WHERE records = 0 AND id <> ?1)";
            Ok(connection
                .prepare_cached(select)?
                .query_row([open], |row| row.get::<_, bool>(0))?)
        });
        if !removable.await? {
            return Ok(0);
        }
        let removed = self.write(Vec::new(), move |tx| {
            let mut delete = tx.prepare_cached(
                "DELETE FROM segment WHERE id IN (SELECT id FROM segment WHERE records = 0 AND id < ?1
                 OR records = 0 AND single LIMIT ?2) RETURNING id",
            )?;
            let ids = delete.query_map(params![open, REMOVALS], |row| row.get(0))?;
            Ok(ids.collect::<rusqlite::Result<Vec<u64>>>()?)
        });
        let removed = removed.await?;
        // A backup or a check needs the files a moment longer; the next start deletes those that are left.
        let Some(_removal) = self.core.removal.try_lock() else {
            return Ok(removed.len());
        };
        for segment in &removed {
            self.core.files.remove(*segment)?;
        }
        Ok(removed.len())
    }

    /// One step of compaction; whether there is more to do.
    async fn compact(&self) -> Result<bool> {
        let (at, offset, skip) = {
            let cursor = self.core.cursor.lock();
            (cursor.segment, cursor.offset, cursor.damaged.clone())
        };
        let open = self.core.numbers.open();
        let Some((segment, committed)) = self
            .read(move |connection| dead_segment(connection, open, &skip))
            .await?
        else {
            return Ok(false);
        };
        let offset = if segment == at { offset } else { 0 };
        let files = std::sync::Arc::clone(&self.core.files);
        let stretch = self.read(move |connection| {
            let file = files.get(segment)?;
            let file =
                file.ok_or_else(|| Error::Damaged(format!("{} is missing", segment::name(segment))))?;
            walk(connection, &file, segment, offset, committed)
        });
        let stretch = match stretch.await {
            Ok(stretch) => stretch,
            Err(Error::Damaged(what)) => {
                tracing::error!(
                    segment = segment::name(segment),
                    what,
                    "a damaged segment is not compacted"
                );
                self.core.cursor.lock().damaged.push(segment);
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        if !stretch.live.is_empty() {
            self.core
                .waiting
                .submit(Contents::Moved(segment, stretch.live), |_| Ok(()))
                .await?;
        }
        let done = stretch.done;
        let left = self.read(move |connection| {
            let select = "SELECT EXISTS (SELECT 1 FROM segment WHERE id = ?1 AND records > 0)";
            Ok(connection
                .prepare_cached(select)?
                .query_row([segment], |row| row.get::<_, bool>(0))?)
        });
        let left = left.await?;
        let mut cursor = self.core.cursor.lock();
        (cursor.segment, cursor.offset) = (segment, stretch.next);
        if done && left {
            // Walking it again would find no more; leaving it is better than never coming to an end.
            tracing::error!(
                segment = segment::name(segment),
                "rows name records that are not in their segment"
            );
            cursor.damaged.push(segment);
        }
        Ok(true)
    }
}

/// Deletes among the oldest candidates those without a holder. Says how many candidates it looked at.
fn delete_unheld(tx: &mut Transaction<'_>, before: u64) -> Result<(Swept, usize)> {
    let mut swept = Swept::default();
    let candidates: Vec<(u64, [u8; 16])> = tx
        .prepare_cached(
            "SELECT put, content FROM content_candidate WHERE put < ?1 ORDER BY put, content LIMIT ?2",
        )?
        .query_map(params![before, CANDIDATES], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (put, id) in &candidates {
        tx.prepare_cached("DELETE FROM content_candidate WHERE put = ?1 AND content = ?2")?
            .execute(params![put, id])?;
        // A holder, or a younger put of the same content (which left a candidate of its own), keeps it.
        let deleted = tx
            .prepare_cached(
                "DELETE FROM content WHERE id = ?1 AND put < ?2
                 AND NOT EXISTS (SELECT 1 FROM content_holder WHERE content = ?1) RETURNING segment, length",
            )?
            .query_row(params![id, before], |row| {
                Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
            })
            .optional()?;
        if let Some((segment, length)) = deleted {
            let bytes = segment::record_length(length);
            tx.prepare_cached("UPDATE segment SET live = live - ?2, records = records - 1 WHERE id = ?1")?
                .execute(params![segment, bytes])?;
            swept.deleted += 1;
            swept.bytes += bytes;
        }
    }
    Ok((swept, candidates.len()))
}

/// The oldest sealed shared segment of which more than half is dead.
fn dead_segment(connection: &rusqlite::Connection, open: u64, skip: &[u64]) -> Result<Option<(u64, u64)>> {
    let mut select = connection.prepare_cached(
        "SELECT id, committed FROM segment
         WHERE NOT single AND id < ?1 AND records > 0 AND live * 2 < committed ORDER BY id",
    )?;
    let rows = select.query_map([open], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for row in rows {
        let (segment, committed) = row?;
        if !skip.contains(&segment) {
            return Ok(Some((segment, committed)));
        }
    }
    Ok(None)
}

/// Reads a stretch of a segment record by record and keeps those that rows name.
fn walk(
    connection: &rusqlite::Connection,
    file: &File,
    segment: u64,
    mut offset: u64,
    committed: u64,
) -> Result<Stretch> {
    let stop = offset.saturating_add(STEP_BYTES);
    let mut live = Vec::new();
    let mut bytes = 0;
    while offset < committed && offset < stop && live.len() < STEP_RECORDS && bytes < STEP_MOVED_BYTES {
        let mut head = [0; HEADER];
        let damaged = || Error::Damaged(format!("{} at {offset}: not a record", segment::name(segment)));
        file.read_exact_at(&mut head, offset).map_err(|_| damaged())?;
        let header = Header::decode(&head).ok_or_else(damaged)?;
        let at = Located {
            id: header.id,
            segment,
            start: offset,
            length: header.length,
            crc: header.crc,
            single: false,
        };
        let named = locate(connection, header.id)?;
        if named.is_some_and(|row| (row.segment, row.start) == (segment, offset)) {
            let body = segment::read_range(file, &at, 0, u64::MAX)?;
            bytes += body.len();
            live.push((header.id, body));
        }
        offset = at.end();
    }
    Ok(Stretch {
        live,
        next: offset,
        done: offset >= committed,
    })
}
