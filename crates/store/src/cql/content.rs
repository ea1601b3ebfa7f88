//! The content engine: pieces written side by side, the length last.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::{join_all, try_join_all};
use postrider_cql::{Batch, Statement};
use postrider_types::{ContentId, UnitId};
use tokio::task::JoinSet;

use super::holders::{HEADER, Header, PUT_HOLDER};
use super::rows::blob;
use super::{Cql, PIECE, int, is_young};
use crate::content::{ContentEngine, ContentPiece, ContentRange, ContentWriter, Sweep};
use crate::{Error, Result, unix_millis};

/// A whole small content, or the first piece of one whose length is known last.
const PUT_WHOLE: Statement = Statement::write(
    "INSERT INTO content (content, piece, length, put, crc, data) VALUES (?, 0, ?, ?, ?, ?)",
);
const PUT_PIECE: Statement =
    Statement::write("INSERT INTO content (content, piece, crc, data) VALUES (?, ?, ?, ?)");
const PUT_HEADER: Statement = Statement::write("INSERT INTO content (content, length, put) VALUES (?, ?, ?)");
const PIECES: Statement = Statement::read(
    "SELECT length, piece, crc, data FROM content WHERE content = ? AND piece >= ? AND piece <= ?",
);

/// Pieces in one answer: 256 KiB.
const IN_ONE: u64 = 4;
/// Contents read at once by a read of many.
const MANY: usize = 8;

/// `length, piece, crc, data`
type PieceColumns = (Option<i64>, Option<i32>, Option<i32>, Option<Bytes>);

#[async_trait]
impl ContentEngine for Cql {
    async fn put(&self, id: ContentId, data: Bytes) -> Result<()> {
        futures::try_join!(self.candidate(id), self.put_pieces(id, data, None))?;
        self.saw(id);
        Ok(())
    }

    async fn writer(&self, id: ContentId) -> Result<Box<dyn ContentWriter>> {
        Ok(Box::new(Writer {
            engine: self.clone(),
            id,
            waiting: BytesMut::new(),
            next: 0,
            length: 0,
            writes: JoinSet::new(),
        }))
    }

    async fn read(&self, id: ContentId, offset: u64, length: u64) -> Result<Bytes> {
        Ok(self.read_piece(id, offset, length).await?.data)
    }

    async fn read_many(&self, ranges: &[ContentRange], most: u64) -> Result<Vec<ContentPiece>> {
        let mut found: Vec<ContentPiece> = Vec::new();
        let mut bytes = 0_u64;
        for some in ranges.chunks(MANY) {
            // No more than can be answered is fetched, the first apart, which is answered whatever it takes.
            let first = found.is_empty();
            let read = async |(at, range): (usize, &ContentRange)| {
                let length = if first && at == 0 {
                    range.length
                } else {
                    range.length.min(most.saturating_sub(bytes).saturating_add(1))
                };
                self.read_piece(range.content, range.offset, length).await
            };
            for piece in join_all(some.iter().enumerate().map(read)).await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) if found.is_empty() => return Err(error),
                    Err(_) => return Ok(found),
                };
                bytes += piece.data.len() as u64;
                if bytes > most && !found.is_empty() {
                    return Ok(found);
                }
                found.push(piece);
            }
        }
        Ok(found)
    }

    async fn length(&self, id: ContentId) -> Result<Option<u64>> {
        let header: Option<Header> = self.first(HEADER, (blob(id.as_bytes()),)).await?;
        Ok(header
            .and_then(|(length, _, _)| length)
            .map(|length| length as u64))
    }

    async fn hold(&self, id: ContentId, unit: UnitId) -> Result<()> {
        self.hold_as(id, blob(unit.as_bytes())).await
    }

    async fn release(&self, id: ContentId, unit: UnitId) -> Result<()> {
        // Before the row goes: whoever dies in between leaves a candidate that is held.
        self.candidate(id).await?;
        self.drop_holder(id, unit.as_bytes()).await
    }

    async fn sweep(&self, before: u64) -> Result<Sweep> {
        self.sweep_some(before).await
    }
}

impl Cql {
    /// Stores a content with its first holder, a small one in one request.
    pub(super) async fn put_held(&self, id: ContentId, data: Bytes, holder: Bytes) -> Result<()> {
        self.put_pieces(id, data, Some(holder.clone())).await?;
        // An older id may be about to be swept.
        if is_young(id) {
            return Ok(());
        }
        self.hold_as(id, holder).await
    }

    async fn put_pieces(&self, id: ContentId, data: Bytes, holder: Option<Bytes>) -> Result<()> {
        let content = blob(id.as_bytes());
        let (length, now) = (int(data.len() as u64), int(unix_millis()));
        let mut last = Batch::new();
        if data.len() <= PIECE {
            let crc = checksum(&data);
            last.push(PUT_WHOLE, (content.clone(), length, now, crc, data));
        } else {
            let pieces: Vec<(i32, Bytes)> = (0..data.len())
                .step_by(PIECE)
                .map(|at| data.slice(at..data.len().min(at + PIECE)))
                .zip(0..)
                .map(|(data, at)| (at, data))
                .collect();
            for some in pieces.chunks(self.options.pieces_at_once.max(1)) {
                try_join_all(
                    some.iter()
                        .map(|(at, data)| self.put_piece(id, *at, data.clone())),
                )
                .await?;
            }
            last.push(PUT_HEADER, (content.clone(), length, now));
        }
        if let Some(holder) = holder {
            last.push(PUT_HOLDER, (content, holder, now));
        }
        Ok(self.session().batch(&last).await?)
    }

    async fn put_piece(&self, id: ContentId, at: i32, data: Bytes) -> Result<()> {
        let values = (blob(id.as_bytes()), at, checksum(&data), data);
        Ok(self.session().write(PUT_PIECE, values).await?)
    }

    async fn read_piece(&self, id: ContentId, offset: u64, length: u64) -> Result<ContentPiece> {
        let first = offset / PIECE as u64;
        // The first answer tells the length as well.
        let last = offset.saturating_add(length.saturating_sub(1)) / PIECE as u64;
        let (total, mut data) = self.read_pieces(id, first, last.min(first + IN_ONE - 1)).await?;
        let total = match total {
            Some(total) => total,
            // Past the end no row tells it.
            None => self
                .length(id)
                .await?
                .ok_or_else(|| Error::NotFound(format!("content {id}")))?,
        };
        let end = offset.saturating_add(length).min(total);
        if offset >= end {
            return Ok(ContentPiece {
                data: Bytes::new(),
                total,
            });
        }
        let last = (end - 1) / PIECE as u64;
        let mut next = first + IN_ONE;
        while next <= last {
            let starts: Vec<u64> = (next..=last)
                .step_by(IN_ONE as usize)
                .take((self.options.pieces_at_once / IN_ONE as usize).max(1))
                .collect();
            let read = |start: &u64| self.read_pieces(id, *start, last.min(*start + IN_ONE - 1));
            for (_, pieces) in try_join_all(starts.iter().map(read)).await? {
                data.extend(pieces);
            }
            next += starts.len() as u64 * IN_ONE;
        }
        cut(id, data, first, last, offset, end, total)
    }

    /// The length of a content, if a row shows it, and these pieces as far as there are any.
    async fn read_pieces(
        &self,
        id: ContentId,
        first: u64,
        last: u64,
    ) -> Result<(Option<u64>, Vec<(u64, Bytes)>)> {
        let bound = |at: u64| i32::try_from(at).unwrap_or(i32::MAX);
        let key = (blob(id.as_bytes()), bound(first), bound(last));
        let rows: Vec<PieceColumns> = self.all(PIECES, key).await?;
        let mut pieces = Vec::with_capacity(rows.len());
        let mut total = None;
        for (length, at, crc, data) in rows {
            // Its writer has not finished.
            let Some(length) = length else {
                return Err(Error::NotFound(format!("content {id}")));
            };
            total = Some(length as u64);
            let (Some(at), data) = (at, data.unwrap_or_default()) else {
                continue;
            };
            if crc != Some(checksum(&data)) {
                return Err(Error::Damaged(format!(
                    "content {id}, piece {at}: checksum differs"
                )));
            }
            pieces.push((at as u64, data));
        }
        if total.is_some() {
            self.saw(id);
        }
        Ok((total, pieces))
    }
}

/// Bytes `offset..end` out of pieces `first..=last`, of which none may be missing or short.
fn cut(
    id: ContentId,
    pieces: Vec<(u64, Bytes)>,
    first: u64,
    last: u64,
    offset: u64,
    end: u64,
    total: u64,
) -> Result<ContentPiece> {
    let size = PIECE as u64;
    let mut pieces = pieces.into_iter().filter(|(at, _)| *at <= last);
    let mut parts: Vec<Bytes> = Vec::new();
    for at in first..=last {
        let whole = size.min(total - at * size);
        let data = match pieces.next() {
            Some((found, data)) if found == at && data.len() as u64 == whole => data,
            _ => {
                return Err(Error::Damaged(format!(
                    "content {id} of {total} bytes: piece {at} is missing or short"
                )));
            }
        };
        let from = offset.saturating_sub(at * size);
        let to = (end - at * size).min(whole);
        parts.push(data.slice(from as usize..to as usize));
    }
    let data = match parts.as_slice() {
        [only] => only.clone(),
        parts => parts.concat().into(),
    };
    Ok(ContentPiece { data, total })
}

fn checksum(data: &[u8]) -> i32 {
    crc32c::crc32c(data) as i32
}

/// A content that comes in pieces of any size. Holds a piece, and as many as are being written.
struct Writer {
    engine: Cql,
    id: ContentId,
    waiting: BytesMut,
    next: i32,
    length: u64,
    writes: JoinSet<Result<()>>,
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.length += data.len() as u64;
        self.waiting.extend_from_slice(&data);
        while self.waiting.len() > PIECE {
            let piece = self.waiting.split_to(PIECE).freeze();
            self.begin(piece).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        let rest = std::mem::take(&mut self.waiting).freeze();
        if self.next == 0 {
            self.engine.put(self.id, rest).await?;
            return Ok(self.length);
        }
        self.begin(rest).await?;
        while let Some(written) = self.writes.join_next().await {
            outcome(written)?;
        }
        let values = (blob(self.id.as_bytes()), int(self.length), int(unix_millis()));
        self.engine.session().write(PUT_HEADER, values).await?;
        self.engine.saw(self.id);
        Ok(self.length)
    }
}

impl Writer {
    /// Begins to write a piece, once there is room for it.
    async fn begin(&mut self, data: Bytes) -> Result<()> {
        if self.next == 0 {
            // Before anything is there that would otherwise never be found.
            self.engine.candidate(self.id).await?;
        }
        while self.writes.len() >= self.engine.options.pieces_at_once.max(1) {
            if let Some(written) = self.writes.join_next().await {
                outcome(written)?;
            }
        }
        let (engine, id, at) = (self.engine.clone(), self.id, self.next);
        self.writes
            .spawn(async move { engine.put_piece(id, at, data).await });
        self.next = at
            .checked_add(1)
            .ok_or_else(|| Error::Invalid("a content of more than 2^31 pieces".into()))?;
        Ok(())
    }
}

fn outcome(written: std::result::Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    written.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
}
