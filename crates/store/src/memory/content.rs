//! Message bytes in memory.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use postrider_types::{AccountId, ContentId, UnitId};

use super::{Memory, State};
use crate::content::{ContentEngine, ContentPiece, ContentRange, ContentWriter, Sweep};
use crate::{Error, Result, unix_millis};

/// Contents deleted by one sweep at most.
const SWEEP: usize = 1000;

/// Who keeps a content from being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    Account(AccountId),
    Unit(UnitId),
}

#[derive(Debug)]
struct Content {
    data: Bytes,
    put: u64,
    holders: BTreeSet<Holder>,
}

/// All contents, and when those that nobody holds were put.
#[derive(Debug, Default)]
pub(super) struct Contents {
    contents: HashMap<ContentId, Content>,
    unheld: BTreeSet<(u64, ContentId)>,
}

impl Contents {
    pub(super) fn contains(&self, id: ContentId) -> bool {
        self.contents.contains_key(&id)
    }

    /// Whether putting these bytes is allowed.
    pub(super) fn check_put(&self, id: ContentId, data: &Bytes) -> Result<()> {
        match self.contents.get(&id) {
            Some(content) if content.data != data => {
                Err(Error::Invalid(format!("content {id} exists with other bytes")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn put(&mut self, id: ContentId, data: Bytes) -> Result<()> {
        self.check_put(id, &data)?;
        let put = unix_millis();
        let content = self.contents.entry(id);
        let content = content.or_insert_with(|| Content {
            data,
            put,
            holders: BTreeSet::new(),
        });
        if content.holders.is_empty() {
            self.unheld.remove(&(content.put, id));
            self.unheld.insert((put, id));
        }
        content.put = put;
        Ok(())
    }

    pub(super) fn hold(&mut self, id: ContentId, holder: Holder) -> Result<()> {
        let content = self.contents.get_mut(&id).ok_or_else(|| not_found(id))?;
        content.holders.insert(holder);
        self.unheld.remove(&(content.put, id));
        Ok(())
    }

    pub(super) fn release(&mut self, id: ContentId, holder: Holder) {
        if let Some(content) = self.contents.get_mut(&id)
            && content.holders.remove(&holder)
            && content.holders.is_empty()
        {
            self.unheld.insert((content.put, id));
        }
    }

    fn get(&self, id: ContentId) -> Result<&Content> {
        self.contents.get(&id).ok_or_else(|| not_found(id))
    }

    fn read(&self, range: ContentRange) -> Result<ContentPiece> {
        let data = &self.get(range.content)?.data;
        let total = data.len() as u64;
        let from = range.offset.min(total);
        let to = from.saturating_add(range.length).min(total);
        Ok(ContentPiece {
            data: data.slice(from as usize..to as usize),
            total,
        })
    }

    fn sweep(&mut self, before: u64) -> Sweep {
        let mut sweep = Sweep::default();
        while let Some((put, id)) = self.unheld.first().copied().filter(|(put, _)| *put < before) {
            if sweep.deleted == SWEEP as u64 {
                sweep.more = true;
                break;
            }
            self.unheld.remove(&(put, id));
            if let Some(content) = self.contents.remove(&id) {
                sweep.deleted += 1;
                sweep.bytes += content.data.len() as u64;
            }
        }
        sweep
    }
}

#[async_trait]
impl ContentEngine for Memory {
    async fn put(&self, id: ContentId, data: Bytes) -> Result<()> {
        self.changing(|state| state.contents.put(id, data)).await
    }

    async fn writer(&self, id: ContentId) -> Result<Box<dyn ContentWriter>> {
        Ok(Box::new(Writer {
            memory: self.clone(),
            id,
            data: BytesMut::new(),
        }))
    }

    async fn read(&self, id: ContentId, offset: u64, length: u64) -> Result<Bytes> {
        let range = ContentRange {
            content: id,
            offset,
            length,
        };
        let piece = self.looking(move |state| state.contents.read(range)).await?;
        Ok(piece.data)
    }

    async fn read_many(&self, ranges: &[ContentRange], most: u64) -> Result<Vec<ContentPiece>> {
        let look = |state: &State| {
            let (mut read, mut bytes) = (Vec::new(), 0);
            for range in ranges {
                match state.contents.read(*range) {
                    Ok(piece) if read.is_empty() || bytes + piece.data.len() as u64 <= most => {
                        bytes += piece.data.len() as u64;
                        read.push(piece);
                    }
                    Err(error) if read.is_empty() => return Err(error),
                    _ => break,
                }
            }
            Ok(read)
        };
        self.looking(look).await
    }

    async fn length(&self, id: ContentId) -> Result<Option<u64>> {
        self.looking(|state| {
            Ok(state
                .contents
                .contents
                .get(&id)
                .map(|content| content.data.len() as u64))
        })
        .await
    }

    async fn hold(&self, id: ContentId, unit: UnitId) -> Result<()> {
        self.changing(|state| state.contents.hold(id, Holder::Unit(unit)))
            .await
    }

    async fn release(&self, id: ContentId, unit: UnitId) -> Result<()> {
        self.changing(|state| {
            state.contents.release(id, Holder::Unit(unit));
            Ok(())
        })
        .await
    }

    async fn sweep(&self, before: u64) -> Result<Sweep> {
        self.changing(|state| Ok(state.contents.sweep(before))).await
    }
}

struct Writer {
    memory: Memory,
    id: ContentId,
    data: BytesMut,
}

#[async_trait]
impl ContentWriter for Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.data.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64> {
        let data = self.data.freeze();
        let length = data.len() as u64;
        self.memory.put(self.id, data).await.map(|()| length)
    }
}

pub(super) fn not_found(id: ContentId) -> Error {
    Error::NotFound(format!("content {id}"))
}
