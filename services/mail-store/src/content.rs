//! Message contents: storing, reading, and what is known of them.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use postrider_message::{Describer, Description, Facts};
use postrider_proto::Failure;
use postrider_store::content::{ContentPiece, ContentRange};
use postrider_types::{ContentId, ThreadId};
use xxhash_rust::xxh3::xxh3_64;

use crate::draft::Draft;
use crate::failure::{invalid, not_found, storage};
use crate::lookup::Questions;
use crate::service::Service;
use crate::weight::Weight;

/// The most bytes of one answer.
pub(crate) const MAX_READ: u64 = 1 << 20;
/// The most ranges of one answer.
const MAX_RANGES: usize = 1000;
/// A message up to this size is collected and stored at once, a larger one is written as it comes, in bytes.
const COLLECT: usize = 256 << 10;
/// Bytes read at a time when a stored message is described again.
const WINDOW: u64 = 256 << 10;
/// How many of the nearest ancestors, beside the first of all, lead a message to its conversation. Each that is new in the account becomes
/// a row, and whoever names the same root or a near relative is found by fewer as well as by many.
const NEAREST: usize = 4;

/// What is known of a content.
#[derive(Debug)]
pub(crate) struct Described {
    /// Bytes of the message.
    pub size: u64,
    /// The encoded description.
    pub description: Bytes,
    /// Hashes of the Message-IDs by which it finds its conversation: nearest ancestor first, then the root, its own last.
    pub hashes: Vec<u64>,
    /// Whether it names ancestors.
    has_ancestors: bool,
    /// Facts the envelope needs.
    pub facts: Facts,
}

impl Described {
    fn new(description: &Description) -> Self {
        let ancestors = &description.references;
        let own = Some(&description.message_id);
        let ids = ancestors
            .iter()
            .rev()
            .take(NEAREST)
            .chain(ancestors.first())
            .chain(own);
        let mut hashes: Vec<u64> = Vec::with_capacity(NEAREST.min(ancestors.len()) + 2);
        for id in ids.filter(|id| !id.is_empty()) {
            let hash = xxh3_64(id.as_bytes());
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        Self {
            size: description.size,
            description: description.encode().into(),
            hashes,
            has_ancestors: !description.references.is_empty(),
            facts: description.facts,
        }
    }

    /// Describes a whole message.
    pub fn of(data: &[u8]) -> Self {
        let mut describer = Describer::new();
        describer.push(data);
        Self::new(&describer.finish())
    }

    /// The memory it takes, in bytes.
    pub fn memory(&self) -> u32 {
        u32::try_from(128 + self.description.len() + 8 * self.hashes.len()).unwrap_or(u32::MAX)
    }

    /// What it puts into a commit with its content, if that comes along, and `more` rows.
    pub fn weight(&self, data: Option<&Bytes>, more: usize) -> Weight {
        let content = data.map_or(0, Bytes::len);
        Weight::arrival(self.description.len(), content, self.hashes.len() + more)
    }

    /// Asks for its conversation.
    pub fn look_up(&self, questions: &mut Questions) {
        questions.conversation(&self.hashes, self.has_ancestors);
    }

    /// The conversation it belongs to: that of its nearest known relative, or a new one named after its content. Its ids
    /// and those of its ancestors lead there from now on, so that relatives that come late find it too.
    pub fn join_thread(&self, content: ContentId, draft: &mut Draft<'_>) -> ThreadId {
        let known = self.hashes.iter().find_map(|hash| draft.thread(*hash));
        let thread = known.unwrap_or_else(|| ThreadId::from_bytes(*content.as_bytes()));
        for hash in &self.hashes {
            if draft.thread(*hash).is_none() {
                draft.add_reference(*hash, thread);
            }
        }
        thread
    }
}

impl Service {
    /// Stores a message that comes in pieces (PutMessage): durable when this returns.
    pub async fn put_message(
        &self,
        max_size: u64,
        chunks: impl Stream<Item = Result<Bytes, Failure>> + Send,
    ) -> Result<(ContentId, Arc<Described>), Failure> {
        let limit = match max_size {
            0 => self.config.max_message_bytes,
            asked => asked.min(self.config.max_message_bytes),
        };
        let id = ContentId::generate();
        let mut chunks = std::pin::pin!(chunks);
        let mut describer = Describer::new();
        let mut collected = BytesMut::new();
        let mut writer = None;
        let mut size: u64 = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            size = size.saturating_add(chunk.len() as u64);
            if size > limit {
                return Err(invalid(format!("the message has more than {limit} bytes")));
            }
            describer.push(&chunk);
            match &mut writer {
                None => {
                    collected.extend_from_slice(&chunk);
                    if collected.len() > COLLECT {
                        let mut begun = self.contents.writer(id).await.map_err(storage)?;
                        begun.write(collected.split().freeze()).await.map_err(storage)?;
                        writer = Some(begun);
                    }
                }
                Some(writer) => writer.write(chunk).await.map_err(storage)?,
            }
        }
        match writer {
            Some(writer) => {
                writer.finish().await.map_err(storage)?;
            }
            None => self.contents.put(id, collected.freeze()).await.map_err(storage)?,
        }
        let described = Arc::new(Described::new(&describer.finish()));
        self.descriptions.insert(id, described.clone());
        Ok((id, described))
    }

    /// Bytes of a message from an offset, and its whole size (ReadContent).
    pub async fn read_content(&self, range: ContentRange) -> Result<ContentPiece, Failure> {
        let pieces = self.read_contents(&[range]).await?;
        pieces
            .into_iter()
            .next()
            .ok_or_else(|| not_found("no such message content"))
    }

    /// The same of several messages, as many as are one answer (ReadContents).
    pub async fn read_contents(&self, ranges: &[ContentRange]) -> Result<Vec<ContentPiece>, Failure> {
        if ranges.len() > MAX_RANGES {
            return Err(invalid(format!("at most {MAX_RANGES} ranges are read at a time")));
        }
        self.contents.read_many(ranges, MAX_READ).await.map_err(storage)
    }

    /// What is known of a stored content; it is read and described again if that is not remembered.
    pub async fn described(&self, id: ContentId) -> Result<Arc<Described>, Failure> {
        if let Some(described) = self.descriptions.get(&id) {
            return Ok(described);
        }
        let mut describer = Describer::new();
        let mut offset = 0;
        loop {
            let range = ContentRange {
                content: id,
                offset,
                length: WINDOW,
            };
            let ContentPiece { data, total } = self.read_content(range).await?;
            offset += data.len() as u64;
            describer.push(&data);
            if offset >= total {
                break;
            }
            if data.is_empty() {
                return Err(not_found("the rest of the message was not found"));
            }
        }
        let described = Arc::new(Described::new(&describer.finish()));
        self.descriptions.insert(id, described.clone());
        Ok(described)
    }
}
