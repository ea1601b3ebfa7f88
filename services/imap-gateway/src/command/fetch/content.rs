//! A message of a FETCH: its row, what is known of its structure, and its bytes as far as they were read.

use std::ops::Range;

use bytes::Bytes;
use postrider_imap::command::{FetchItem, PartPath, Section, SectionText};
use postrider_message::{self as message, Description, Part, SummaryView};
use postrider_proto::Failure;
use postrider_proto::mailstore::{MessageRow, ReadContentRequest};
use postrider_types::Uid;

use super::plan::{Needs, Plan};
use crate::store::Store;

/// Bytes read ahead of a message's turn, at most.
pub(super) const AHEAD: u64 = 64 << 10;
/// Bytes read, and sent, at a time.
pub(super) const PIECE: u64 = 256 << 10;
/// The longest header of which fields are selected; what lies behind is not looked at.
pub(super) const MAX_HEADER: u64 = 4 << 20;

/// One message.
pub(super) struct Content<'a> {
    store: &'a Store,
    pub row: &'a MessageRow,
    /// The envelope as it is told, if that is known.
    pub envelope: Option<&'a [u8]>,
    described: Option<Box<Description>>,
    /// Bytes at hand, and where they begin.
    held: Bytes,
    held_at: u64,
    pub has_unknown_encoding: bool,
}

impl<'a> Content<'a> {
    /// A message of which nothing was read yet.
    pub fn new(store: &'a Store, plan: &Plan<'_>, row: &'a MessageRow) -> Self {
        Self {
            store,
            envelope: None,
            described: describe(plan.needs, row),
            row,
            held: Bytes::new(),
            held_at: 0,
            has_unknown_encoding: false,
        }
    }

    /// What all items need together, if it is little: to be read ahead, with that of other messages.
    pub fn wanted(&self, plan: &Plan<'_>) -> Option<ReadContentRequest> {
        let hull = self.hull(plan.items)?;
        let length = hull.end.saturating_sub(hull.start);
        (1..=AHEAD).contains(&length).then(|| ReadContentRequest {
            content_id: self.row.content_id.clone(),
            offset: hull.start,
            length,
        })
    }

    /// Bytes that were read ahead, and where they begin.
    pub fn hold(&mut self, offset: u64, bytes: Bytes) {
        (self.held, self.held_at) = (bytes, offset);
    }

    pub fn uid(&self) -> Uid {
        Uid(self.row.uid)
    }

    /// Bytes of the message in all.
    pub fn size(&self) -> u64 {
        self.row.size
    }

    /// Envelope and preview; empty ones when the description is damaged.
    pub fn summary(&self) -> SummaryView<'_> {
        SummaryView::new(&self.row.description).unwrap_or_else(|error| {
            complain(self.row, &error);
            SummaryView::default()
        })
    }

    /// The root part.
    pub fn structure(&self) -> Option<&Part> {
        self.described.as_ref().map(|description| &description.structure)
    }

    /// Where a section is; `None`: there is none.
    pub fn section(&self, section: &Section) -> Option<Range<u64>> {
        let text = match &section.text {
            None if section.part.is_empty() => return Some(0..self.size()),
            None => message::SectionText::Body,
            Some(SectionText::Header | SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_)) => {
                message::SectionText::Header
            }
            Some(SectionText::Text) => message::SectionText::Text,
            Some(SectionText::Mime) => message::SectionText::Mime,
        };
        self.structure()?.section(&section.part, text)
    }

    /// The body of a part.
    pub fn part(&self, path: &PartPath) -> Option<Range<u64>> {
        self.section(&Section {
            part: path.clone(),
            text: None,
        })
    }

    /// Bytes of the message, all of them; at most a few pieces may be asked for.
    pub async fn bytes(&mut self, range: Range<u64>) -> Result<Bytes, Failure> {
        if let Some(held) = self.at_hand(&range) {
            return Ok(held);
        }
        let bytes = self.read(range.clone()).await?;
        // A line often asks for neighbouring ranges, or the same again.
        if range.end - range.start <= PIECE {
            (self.held, self.held_at) = (bytes.clone(), range.start);
        }
        Ok(bytes)
    }

    fn at_hand(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = usize::try_from(range.start.checked_sub(self.held_at)?).ok()?;
        let end = usize::try_from(range.end.checked_sub(self.held_at)?).ok()?;
        (start <= end && end <= self.held.len()).then(|| self.held.slice(start..end))
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        let id = &self.row.content_id;
        let first = self.store.content(id, range.start, length.min(PIECE * 4)).await?;
        if first.len() as u64 == length {
            return Ok(first);
        }
        let mut whole = Vec::with_capacity(usize::try_from(length.min(MAX_HEADER)).unwrap_or(0));
        whole.extend_from_slice(&first);
        while (whole.len() as u64) < length {
            let at = range.start + whole.len() as u64;
            let left = length - whole.len() as u64;
            let piece = self.store.content(id, at, left.min(PIECE * 4)).await?;
            if piece.is_empty() {
                return Err(crate::failure::damaged("a message is shorter than its row says"));
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }

    /// The smallest range that holds all bytes that the items need.
    fn hull(&self, items: &[FetchItem]) -> Option<Range<u64>> {
        let ranges = items.iter().filter_map(|item| match item {
            FetchItem::Section { section, partial, .. } => {
                let range = self.section(section)?;
                Some(match (partial, &section.text) {
                    // Fields are selected before bytes are counted.
                    (None, _) | (_, Some(SectionText::HeaderFields(_) | SectionText::HeaderFieldsNot(_))) => {
                        range
                    }
                    (Some(partial), _) => clip(range, partial.offset, partial.count),
                })
            }
            FetchItem::Rfc822 => Some(0..self.size()),
            FetchItem::Rfc822Header => Some(self.structure()?.header_range()),
            FetchItem::Rfc822Text => Some(self.structure()?.body_range()),
            FetchItem::Binary { part, .. } | FetchItem::BinarySize(part) => self.part(part),
            _ => None,
        });
        ranges.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
    }
}

/// What of a range a partial names.
pub(super) fn clip(range: Range<u64>, offset: u64, count: u64) -> Range<u64> {
    let start = range.start.saturating_add(offset).min(range.end);
    start..start.saturating_add(count).min(range.end)
}

fn describe(needs: Needs, row: &MessageRow) -> Option<Box<Description>> {
    if needs < Needs::Structure {
        return None;
    }
    let described = Description::decode(&row.description);
    described
        .map_err(|error| complain(row, &error))
        .ok()
        .map(Box::new)
}

fn complain(row: &MessageRow, error: &message::Error) {
    tracing::error!(uid = row.uid, %error, "the description of a message cannot be read");
}
