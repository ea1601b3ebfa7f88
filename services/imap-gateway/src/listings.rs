//! What listings say of messages and never changes: envelopes as clients are told them, dates and sizes.
//!
//! Phones and web mail begin a session for every look, and each asks for the envelopes that the last one asked for. A UID of one UIDVALIDITY
//! means the same message for ever (RFC 9051 §2.3.1.1), so what is kept here cannot be wrong; only flags have to be asked for.
//! It is kept in blocks of neighbouring UIDs, within a bound on memory, and shared by all sessions.

use std::sync::Arc;

use bytes::BytesMut;
use moka::sync::Cache;
use postrider_imap::response::{self, Syntax};
use postrider_index::UidSet;
use postrider_message::EnvelopeView;
use postrider_proto::mailstore::MessageRow;
use postrider_types::{AccountId, FolderId, Uid};

/// UIDs of a block.
const UIDS: u32 = 64;
/// Bytes of a block that is worth keeping; senders decide how long envelopes are.
const MOST: usize = 128 << 10;
/// Blocks that one listing holds at a time.
const HELD: usize = 8;

/// Blocks of all folders.
pub(crate) struct Listings(Cache<(Place, u32), Arc<Block>>);

/// Whose messages they are, and how they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub account: AccountId,
    pub folder: FolderId,
    pub validity: u32,
    pub syntax: Syntax,
}

/// Messages whose UIDs are neighbours.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// By UID, ascending.
    messages: Vec<Listed>,
    /// Their envelopes, one behind the other.
    text: Box<[u8]>,
}

#[derive(Debug, Clone, Copy)]
struct Listed {
    uid: u32,
    /// Where its envelope ends; it begins where the one before it ends.
    end: u32,
    size: u64,
    received: u64,
}

/// The next messages of a listing: either all of them are held, or none.
pub(crate) struct Part {
    pub uids: UidSet,
    /// The last one.
    pub last: Uid,
    /// Empty: they are to be read.
    pub blocks: Vec<Arc<Block>>,
}

/// Collects what was read into blocks.
pub(crate) struct Gathering<'a> {
    listings: &'a Listings,
    place: Place,
    number: u32,
    messages: Vec<Listed>,
    text: BytesMut,
}

impl Listings {
    /// Keeps so many bytes.
    pub fn new(bytes: u64) -> Self {
        let blocks = Cache::builder()
            .max_capacity(bytes)
            .weigher(|_, block: &Arc<Block>| block.weight());
        Self(blocks.build())
    }

    /// The next part of a listing, from a UID on.
    pub fn part(&self, place: Place, all: &UidSet, from: Uid) -> Part {
        let mut blocks = Vec::new();
        let mut last = None;
        let mut wanted = Vec::with_capacity(UIDS as usize);
        let mut uids = all.iter_range(from..=Uid(u32::MAX)).peekable();
        while let Some(number) = uids.peek().map(|uid| uid.0 / UIDS) {
            wanted.clear();
            while let Some(uid) = uids.next_if(|uid| uid.0 / UIDS == number) {
                wanted.push(uid);
            }
            let block = self.0.get(&(place, number));
            let block = block.filter(|block| wanted.iter().all(|uid| block.find(uid.0).is_some()));
            let fits = match &block {
                Some(_) => blocks.len() < HELD && (last.is_none() || !blocks.is_empty()),
                None => blocks.is_empty(),
            };
            if !fits {
                break;
            }
            blocks.extend(block);
            last = wanted.last().copied();
        }
        let last = last.unwrap_or(from);
        Part {
            uids: all.intersection(&UidSet::from_ranges([from..=last])),
            last,
            blocks,
        }
    }

    /// Begins to collect what is read.
    pub fn gather(&self, place: Place) -> Gathering<'_> {
        Gathering {
            listings: self,
            place,
            number: 0,
            messages: Vec::new(),
            text: BytesMut::new(),
        }
    }
}

impl Part {
    /// What is held of a message's row.
    pub fn row(&self, uid: Uid) -> Option<MessageRow> {
        let (block, at) = self.find(uid)?;
        let message = block.messages.get(at)?;
        Some(MessageRow {
            uid: uid.0,
            size: message.size,
            received: message.received,
            ..MessageRow::default()
        })
    }

    /// A message's envelope as it is told.
    pub fn envelope(&self, uid: Uid) -> Option<&[u8]> {
        let (block, at) = self.find(uid)?;
        Some(block.text(at))
    }

    fn find(&self, uid: Uid) -> Option<(&Block, usize)> {
        let at = self.blocks.partition_point(|block| block.last() < uid.0);
        let block = self.blocks.get(at)?;
        Some((block, block.find(uid.0)?))
    }
}

impl Block {
    fn last(&self) -> u32 {
        self.messages.last().map_or(0, |message| message.uid)
    }

    fn find(&self, uid: u32) -> Option<usize> {
        self.messages
            .binary_search_by_key(&uid, |message| message.uid)
            .ok()
    }

    fn text(&self, at: usize) -> &[u8] {
        let end = |at: usize| self.messages.get(at).map_or(0, |message| message.end as usize);
        let start = at.checked_sub(1).map_or(0, end);
        self.text.get(start..end(at)).unwrap_or_default()
    }

    fn weight(&self) -> u32 {
        let bytes = 256 + size_of::<Listed>() * self.messages.len() + self.text.len();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    /// This block with the messages of another; `None` when that is too much.
    fn with(&self, other: &Block) -> Option<Self> {
        let mut all: Vec<(Listed, &[u8])> = Vec::with_capacity(self.messages.len() + other.messages.len());
        for block in [self, other] {
            let texts = (0..).map(|at| block.text(at));
            all.extend(block.messages.iter().copied().zip(texts));
        }
        all.sort_by_key(|(message, _)| message.uid);
        all.dedup_by_key(|(message, _)| message.uid);
        let mut text = Vec::new();
        let mut messages = Vec::with_capacity(all.len());
        for (message, envelope) in all {
            text.extend_from_slice(envelope);
            let end = u32::try_from(text.len()).ok().filter(|_| text.len() <= MOST)?;
            messages.push(Listed { end, ..message });
        }
        Some(Self {
            messages,
            text: text.into(),
        })
    }
}

impl Gathering<'_> {
    /// Takes a message, which comes after the one before it; its envelope as it is told.
    pub fn add(&mut self, row: &MessageRow, envelope: EnvelopeView<'_>) -> &[u8] {
        if row.uid / UIDS != self.number {
            self.finish();
            self.number = row.uid / UIDS;
        }
        // What stands behind the last message was not worth keeping.
        self.text
            .truncate(self.messages.last().map_or(0, |message| message.end as usize));
        let start = self.text.len();
        response::envelope(&mut self.text, envelope, self.place.syntax);
        if self.text.len() <= MOST {
            self.messages.push(Listed {
                uid: row.uid,
                end: self.text.len() as u32,
                size: row.size,
                received: row.received,
            });
        }
        self.text.get(start..).unwrap_or_default()
    }

    fn finish(&mut self) {
        let end = self.messages.last().map_or(0, |message| message.end as usize);
        let block = Block {
            text: self.text.get(..end).unwrap_or_default().into(),
            messages: std::mem::take(&mut self.messages),
        };
        self.text.clear();
        if block.messages.is_empty() {
            return;
        }
        let (cache, key) = (&self.listings.0, (self.place, self.number));
        let known = cache.get(&key).and_then(|known| known.with(&block));
        cache.insert(key, Arc::new(known.unwrap_or(block)));
    }
}

impl Drop for Gathering<'_> {
    fn drop(&mut self) {
        self.finish();
    }
}
