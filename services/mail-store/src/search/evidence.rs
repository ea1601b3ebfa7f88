//! What is known of one message while it is being searched, and what follows from it.

use bytes::Bytes;
use postrider_index::FolderIndex;
use postrider_message::text::{PartText, Scope, Search, Stretch, header_contains, header_text, stretches};
use postrider_message::{Description, Part, SummaryView, word};
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
use postrider_store::content::ContentRange;
use postrider_types::AccountId;

use super::key::{Cost, Field, Key, Query, Text, Which};
use crate::failure::{not_found, storage};
use crate::service::Service;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// The most of a header that is searched, in bytes.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes of a part read at a time.
const WINDOW: u64 = 256 << 10;

/// What is known of one message so far. What is not known yet is decided neither way.
pub(super) struct Evidence<'a> {
    query: &'a Query,
    index: &'a FolderIndex,
    row: &'a MessageRow,
    /// The calendar day of its Date field, if it has one.
    sent: Option<Option<i64>>,
    /// Of each text of the query, whether the message has it.
    found: Vec<Option<bool>>,
    /// Bytes of the message that were read already, and where they begin.
    held: Option<(u64, Bytes)>,
}

impl<'a> Evidence<'a> {
    pub fn new(query: &'a Query, index: &'a FolderIndex, row: &'a MessageRow) -> Self {
        Self {
            query,
            index,
            row,
            sent: None,
            found: vec![None; query.texts.len()],
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
        self.take_summary(&summary);
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
        self.holds(&self.query.key)
    }

    /// The same, with everything that is still open taken as not so.
    fn give_up(&mut self) -> bool {
        self.sent = Some(self.sent.flatten());
        self.found
            .iter_mut()
            .for_each(|found| *found = Some(found.unwrap_or(false)));
        self.verdict().unwrap_or(false)
    }

    fn holds(&self, key: &Key) -> Option<bool> {
        let row = self.row;
        Some(match key {
            Key::All => true,
            Key::And(keys) => return all(keys.iter().map(|key| self.holds(key))),
            Key::Or(keys) => return all(keys.iter().map(|key| self.holds(key).map(|it| !it))).map(|it| !it),
            Key::Not(key) => return self.holds(key).map(|it| !it),
            Key::Uids(uids) => uids.contains(row.uid),
            // The index has the answer's version; the row may be newer.
            Key::Flags(flags) => flags
                .iter()
                .all(|flag| self.index.with_flag(flag).contains(row.uid)),
            Key::Keyword(keyword) => row.keywords.contains(keyword),
            Key::Day(Which::Received, relation, of) => relation.holds(day(row.received), *of),
            Key::Day(Which::Saved, relation, of) => relation.holds(day(row.saved), *of),
            Key::Day(Which::Sent, relation, of) => {
                return self.sent.map(|day| day.is_some_and(|it| relation.holds(it, *of)));
            }
            Key::Larger(size) => row.size > *size,
            Key::Smaller(size) => row.size < *size,
            Key::ReceivedFrom(time) => row.received >= *time,
            Key::ReceivedUntil(time) => row.received <= *time,
            Key::ModseqAtLeast(modseq) => row.modseq >= *modseq,
            Key::Content(id) => row.content == *id,
            Key::Thread(id) => row.thread == *id,
            Key::Text(place) => return self.found.get(*place).copied().flatten(),
        })
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

    fn take_summary(&mut self, summary: &SummaryView<'_>) {
        let text = |text: Option<&[u8]>| text.map(|text| String::from_utf8_lossy(text).into_owned());
        if self.query.has_sent {
            let sent = text(summary.envelope.date).and_then(|date| postrider_message::date::parse(&date));
            self.sent = Some(sent.map(|date| date.day()));
        }
        let is_subject =
            |text: &Text| matches!(&text.field, Field::Header(name) if name.eq_ignore_ascii_case("subject"));
        if !self.query.texts.iter().any(is_subject) {
            return;
        }
        let subject = text(summary.envelope.subject).map(|subject| word::decode(&subject));
        for (text, found) in self.query.texts.iter().zip(&mut self.found) {
            if is_subject(text) {
                *found = Some(
                    subject
                        .as_deref()
                        .is_some_and(|subject| text.needle.is_in(subject)),
                );
            }
        }
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
        if self.query.cost() < Cost::Header {
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
        for (text, found) in open(self.query, &mut self.found) {
            match &text.field {
                Field::Header(name) => *found = Some(header_contains(&block, name, &text.needle)),
                Field::Text => {
                    let whole = whole.get_or_insert_with(|| header_text(&block));
                    if text.needle.is_in(whole) {
                        *found = Some(true);
                    }
                }
                Field::Body => {}
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
        let mut open: Vec<(Search<'_>, &mut Option<bool>)> = open(query, &mut self.found)
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
        open(self.query, &mut self.found)
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

/// Whether all hold: not when one does not, whatever the undecided ones turn out to be.
fn all(verdicts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut sure = true;
    for verdict in verdicts {
        match verdict {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sure = false,
        }
    }
    sure.then_some(true)
}

fn day(millis: u64) -> i64 {
    i64::try_from(millis / DAY_MILLIS).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_undecided_stays_undecided_only_where_it_matters() {
        assert_eq!(all([Some(true), None].into_iter()), None);
        assert_eq!(all([None, Some(false)].into_iter()), Some(false));
        assert_eq!(all([Some(true)].into_iter()), Some(true));
        assert_eq!(all(std::iter::empty()), Some(true));
    }

    #[test]
    fn days_are_utc_days() {
        assert_eq!(day(0), 0);
        assert_eq!(day(DAY_MILLIS - 1), 0);
        assert_eq!(day(DAY_MILLIS), 1);
    }
}
