//! What is known of one message while it is being searched, and what follows from it.

use bytes::Bytes;
use postrider_index::FolderIndex;
use postrider_message::text::{PartText, Scope, Search, Stretch, header_contains, header_text, stretches};
use postrider_message::{Description, Part, SummaryView};
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
use postrider_store::content::ContentRange;
use postrider_types::AccountId;

use super::key::{Cost, Field, Query, Text};
use super::known::{Known, Subject};
use crate::failure::{not_found, storage};
use crate::service::Service;

/// The most of a header that is searched, in bytes.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes of a part read at a time.
const WINDOW: u64 = 256 << 10;

/// What is known of one message so far. What is not known yet is decided neither way.
pub(super) struct Evidence<'a> {
    query: &'a Query,
    index: &'a FolderIndex,
    row: &'a MessageRow,
    known: Known,
    /// Bytes of the message that were read already, and where they begin.
    held: Option<(u64, Bytes)>,
}

impl<'a> Evidence<'a> {
    pub fn new(query: &'a Query, index: &'a FolderIndex, row: &'a MessageRow) -> Self {
        Self {
            query,
            index,
            row,
            known: Known::new(query),
            held: None,
        }
    }

    /// Whether the message is meant, as far as its row and description say. `description` may be empty: it is read if needed.
    pub async fn decide(
        mut self,
        service: &Service,
        account: AccountId,
        description: &Bytes,
    ) -> Result<Verdict<'a>, Failure> {
        if let Some(verdict) = self.verdict() {
            return Ok(Verdict::Is(verdict));
        }
        let data = self.stored_description(service, account, description).await?;
        let Some(summary) = self.read(account, SummaryView::new(&data)) else {
            return Ok(Verdict::Is(self.give_up()));
        };
        self.known.take_summary(self.query, &summary);
        if let Some(verdict) = self.verdict() {
            return Ok(Verdict::Is(verdict));
        }
        let Some(described) = self.read(account, Description::decode(&data)) else {
            return Ok(Verdict::Is(self.give_up()));
        };
        Ok(Verdict::Open(Box::new(Open {
            evidence: self,
            described,
        })))
    }

    /// Whether the message is meant, as far as that follows from what is known.
    fn verdict(&self) -> Option<bool> {
        let of = Subject {
            index: self.index,
            uid: self.row.uid,
            row: Some(self.row),
        };
        self.known.holds(&self.query.key, of)
    }

    /// The same, with everything that is still open taken as not so.
    fn give_up(&mut self) -> bool {
        self.known.give_up();
        self.verdict().unwrap_or(false)
    }

    async fn stored_description(
        &self,
        service: &Service,
        account: AccountId,
        given: &Bytes,
    ) -> Result<Bytes, Failure> {
        if !given.is_empty() {
            return Ok(given.clone());
        }
        let stored = service.engine.description(account, self.row.content).await;
        Ok(stored.map_err(storage)?.unwrap_or_default())
    }

    /// What was made of a description; `None` when it is damaged.
    fn read<T>(&self, account: AccountId, read: Result<T, postrider_message::Error>) -> Option<T> {
        read.inspect_err(|error| {
            tracing::warn!(%account, content = %self.row.content, %error, "message cannot be searched");
        })
        .ok()
    }

    /// What is needed of the message first: all of it when it is small and its text is to be searched.
    fn wanted(&self, description: &Description) -> ContentRange {
        let header = description.structure.header_range();
        let range = if self.query.cost() == Cost::Body && self.row.size <= WINDOW {
            0..self.row.size
        } else {
            header
        };
        ContentRange {
            content: self.row.content,
            offset: range.start,
            length: range.end.saturating_sub(range.start).min(MAX_HEADER),
        }
    }

    async fn read_header(&mut self, service: &Service, description: &Description) -> Result<(), Failure> {
        if self.open().next().is_none() {
            return Ok(());
        }
        let range = description.structure.header_range();
        let block = self
            .bytes(
                service,
                range.start,
                range.end.saturating_sub(range.start).min(MAX_HEADER),
            )
            .await?;
        // Made only for those who want it.
        let mut whole = None;
        for (text, found) in open(self.query, &mut self.known.found) {
            match &text.field {
                Field::Header(name, _) => *found = Some(header_contains(&block, name, &text.needle)),
                Field::Text => {
                    let whole = whole.get_or_insert_with(|| header_text(&block));
                    if text.needle.is_in(whole) {
                        *found = Some(true);
                    }
                }
                Field::Body | Field::Subject => {}
            }
        }
        Ok(())
    }

    /// Looks for all open texts at once, so that the message is read once.
    async fn read_body(&mut self, service: &Service, description: &Description) -> Result<(), Failure> {
        for stretch in stretches(description, Scope::Body) {
            if self.verdict().is_some() {
                return Ok(());
            }
            match stretch {
                Stretch::Header(range) => {
                    let length = range.end.saturating_sub(range.start).min(MAX_HEADER);
                    let text = header_text(&self.bytes(service, range.start, length).await?);
                    for (wanted, found) in self.open() {
                        if wanted.needle.is_in(&text) {
                            *found = Some(true);
                        }
                    }
                }
                Stretch::Part(range, part) => self.read_part(service, range, part).await?,
            }
        }
        Ok(())
    }

    async fn read_part(
        &mut self,
        service: &Service,
        range: std::ops::Range<u64>,
        part: &Part,
    ) -> Result<(), Failure> {
        let Some(mut decoder) = PartText::new(part) else {
            return Ok(());
        };
        let (content, query, held) = (self.row.content, self.query, self.held.clone());
        let mut open: Vec<(Search<'_>, &mut Option<bool>)> = open(query, &mut self.known.found)
            .map(|(text, found)| (text.needle.search(), found))
            .collect();
        let mut text = String::new();
        let mut offset = range.start;
        while offset < range.end && !open.is_empty() {
            let length = WINDOW.min(range.end - offset);
            let piece = match at_hand(&held, offset, length) {
                Some(piece) => piece,
                None => service
                    .contents
                    .read(content, offset, length)
                    .await
                    .map_err(storage)?,
            };
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            text.clear();
            decoder.push(&piece, &mut text);
            look(&mut open, &text);
            if offset < range.end {
                // Decoding is work: let others have the thread in between.
                tokio::task::yield_now().await;
            }
        }
        text.clear();
        decoder.finish(&mut text);
        look(&mut open, &text);
        Ok(())
    }

    /// The texts that are looked for in bodies and have not been found.
    fn open(&mut self) -> impl Iterator<Item = (&Text, &mut Option<bool>)> {
        open(self.query, &mut self.known.found)
    }

    async fn bytes(&self, service: &Service, offset: u64, length: u64) -> Result<Bytes, Failure> {
        if let Some(held) = at_hand(&self.held, offset, length) {
            return Ok(held);
        }
        let read = service.contents.read(self.row.content, offset, length).await;
        read.map_err(|error| match storage(error) {
            failure if failure.kind == postrider_proto::Kind::NotFound => {
                not_found(format!("content {} of a message is missing", self.row.content))
            }
            failure => failure,
        })
    }
}

/// How far rows and descriptions lead.
pub(super) enum Verdict<'a> {
    /// The message is meant, or not.
    Is(bool),
    /// The message itself has to be read.
    Open(Box<Open<'a>>),
}

/// A message that has to be read.
pub(super) struct Open<'a> {
    evidence: Evidence<'a>,
    described: Description,
}

impl<'a> Open<'a> {
    /// Which message this is about.
    pub fn row(&self) -> &'a MessageRow {
        self.evidence.row
    }

    /// What to read of it ahead.
    pub fn wanted(&self) -> ContentRange {
        self.evidence.wanted(&self.described)
    }

    /// Whether the message is meant. `held`: what was read ahead, if it could be.
    pub async fn decide(self, service: &Service, held: Option<Bytes>) -> Result<bool, Failure> {
        let mut evidence = self.evidence;
        let offset = evidence.wanted(&self.described).offset;
        evidence.held = held.map(|held| (offset, held));
        evidence.read_header(service, &self.described).await?;
        if let Some(verdict) = evidence.verdict() {
            return Ok(verdict);
        }
        evidence.read_body(service, &self.described).await?;
        Ok(evidence.give_up())
    }
}

/// A range of what is held, if it is there whole.
fn at_hand(held: &Option<(u64, Bytes)>, offset: u64, length: u64) -> Option<Bytes> {
    let (start, held) = held.as_ref()?;
    let from = usize::try_from(offset.checked_sub(*start)?).ok()?;
    let to = from.checked_add(usize::try_from(length).ok()?)?;
    (to <= held.len()).then(|| held.slice(from..to))
}

fn open<'q, 'f>(
    query: &'q Query,
    found: &'f mut [Option<bool>],
) -> impl Iterator<Item = (&'q Text, &'f mut Option<bool>)> {
    query.texts.iter().zip(found).filter(|(_, found)| found.is_none())
}

fn look(open: &mut Vec<(Search<'_>, &mut Option<bool>)>, text: &str) {
    open.retain_mut(|(search, found)| {
        let hit = search.push(text);
        if hit {
            **found = Some(true);
        }
        !hit
    });
}
