//! The content engine: the substrate's segments.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_embedded::Holder;
use postrider_types::{ContentId, UnitId};

use super::Embedded;
use crate::Result;
use crate::content::{ContentEngine, ContentPiece, ContentRange, ContentWriter, Sweep};

/// Contents above this many bytes get a segment of their own even when they are put whole, so that they neither delay the batch they
/// would be in nor have to be moved when their neighbours die.
const WHOLE: usize = 1 << 20;

#[async_trait]
impl ContentEngine for Embedded {
    async fn put(&self, id: ContentId, data: Bytes) -> Result<()> {
        if data.len() > WHOLE {
            let mut writer = self.db.content_writer(id);
            for piece in data.chunks(WHOLE) {
                writer.write(piece).await?;
            }
            writer.finish().await?;
            return Ok(());
        }
        Ok(self.db.write(vec![(id, data)], |_| Ok(())).await?)
    }

    async fn writer(&self, id: ContentId) -> Result<Box<dyn ContentWriter>> {
        Ok(Box::new(Writer(self.db.content_writer(id))))
    }

    async fn read(&self, id: ContentId, offset: u64, length: u64) -> Result<Bytes> {
        Ok(self.db.read_content(id, offset, length).await?)
    }

    async fn read_many(&self, ranges: &[ContentRange], most: u64) -> Result<Vec<ContentPiece>> {
        let ranges = ranges
            .iter()
            .map(|range| (range.content, range.offset, range.length));
        let read = self.db.read_contents(ranges.collect(), most).await?;
        let piece = |(data, total)| ContentPiece { data, total };
        Ok(read.into_iter().map(piece).collect())
    }

    async fn length(&self, id: ContentId) -> Result<Option<u64>> {
        Ok(self.db.content_length(id).await?)
    }

    async fn hold(&self, id: ContentId, unit: UnitId) -> Result<()> {
        Ok(self
            .db
            .write(Vec::new(), move |tx| tx.hold(id, Holder::Unit(unit)))
            .await?)
    }

    async fn release(&self, id: ContentId, unit: UnitId) -> Result<()> {
        Ok(self
            .db
            .write(Vec::new(), move |tx| tx.release(id, Holder::Unit(unit)))
            .await?)
    }

    async fn sweep(&self, before: u64) -> Result<Sweep> {
        let swept = self.db.sweep(before).await?;
        Ok(Sweep {
            deleted: swept.deleted,
            bytes: swept.bytes,
            more: swept.more,
        })
    }
}

struct Writer(postrider_embedded::ContentWriter);

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        Ok(self.0.write(&data).await?)
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        Ok(self.0.finish().await?)
    }
}
