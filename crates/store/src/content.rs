//! Immutable message bytes and who holds them.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_types::{ContentId, UnitId};

use crate::Result;

/// Storage of message content: written once, read by offset, never changed, deleted when nobody holds it.
///
/// Holders are accounts (by [`crate::account::Rows::put_descriptions`]) and units of the outbound queue.
///
/// # What every engine does (the suite checks each)
/// * What `put`, or `finish` of a writer, has acknowledged survives a crash and a power loss (memory engine apart).
/// * `read` gives exactly the bytes that were put, or `Error::Damaged`; never other bytes. A range past the end is cut.
/// * A content nobody holds stays readable for the grace period after it was put, then `sweep` deletes it.
/// * A content that is held is never deleted, whatever happens at the same time.
#[async_trait]
pub trait ContentEngine: Send + Sync + 'static {
    /// Stores a whole content under a fresh id. Putting the same id with the same bytes again succeeds.
    async fn put(&self, id: ContentId, data: Bytes) -> Result<()>;

    /// Begins a content whose length is not known yet. Nothing is visible before `finish`; dropping it discards it.
    async fn writer(&self, id: ContentId) -> Result<Box<dyn ContentWriter>>;

    /// Bytes from `offset`, at most `length`; shorter at the end, empty past it. `NotFound` if there is no such content.
    async fn read(&self, id: ContentId, offset: u64, length: u64) -> Result<Bytes>;

    /// Reads several ranges, each as `read` does, in one go: of as many of them, from the first on, as `most` bytes allow,
    /// but one at least. One that cannot be read ends them; that the first one cannot be is the error.
    async fn read_many(&self, ranges: &[ContentRange], most: u64) -> Result<Vec<ContentPiece>>;

    /// Its length in bytes, `None` if there is no such content.
    async fn length(&self, id: ContentId) -> Result<Option<u64>>;

    /// Makes a queue unit a holder. `NotFound` if the content is gone. Idempotent.
    async fn hold(&self, id: ContentId, unit: UnitId) -> Result<()>;

    /// A queue unit holds it no longer. Idempotent.
    async fn release(&self, id: ContentId, unit: UnitId) -> Result<()>;

    /// Deletes contents put before `before` (milliseconds since the Unix epoch) that nobody holds, a bounded
    /// amount a call, and gives their space back; says how many, and whether more is left.
    async fn sweep(&self, before: u64) -> Result<Sweep>;
}

/// What to read of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Which.
    pub content: ContentId,
    /// The first byte.
    pub offset: u64,
    /// At most so many.
    pub length: u64,
}

/// What was read of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentPiece {
    /// The bytes of the range that there are.
    pub data: Bytes,
    /// Bytes of the whole content.
    pub total: u64,
}

/// A content being written.
#[async_trait]
pub trait ContentWriter: Send {
    /// Appends a piece; waits when the engine cannot take more.
    async fn write(&mut self, data: Bytes) -> Result<()>;
    /// Makes it durable and visible; the length in bytes.
    async fn finish(self: Box<Self>) -> Result<u64>;
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sweep {
    /// Contents deleted.
    pub deleted: u64,
    /// Bytes given back, or that will be when their segment is compacted.
    pub bytes: u64,
    /// More is left to do now.
    pub more: bool,
}
