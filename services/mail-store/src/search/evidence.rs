//! What is known of one message while it is being searched, and what follows from it.

use bytes::Bytes;
use postrider_index::FolderIndex;
use postrider_message::text::{PartText, Scope, Search, Stretch, header_contains, header_text, stretches};
use postrider_message::{Description, Part, word};
use postrider_proto::Failure;
use postrider_store::account::MessageRow;
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
}

impl<'a> Evidence<'a> {
    pub fn new(query: &'a Query, index: &'a FolderIndex, row: &'a MessageRow) -> Self {
        Self {
            query,
            index,
            row,
            sent: None,
            found: vec![None; query.texts.len()],
        }
    }

    /// Whether the message is meant, reading as little as possible. `description` may be empty: it is read if needed.
    pub async fn decide(
        mut self,
        service: &Service,
        account: AccountId,
        description: &Bytes,
    ) -> Result<bool, Failure> {
        if let Some(verdict) = self.verdict() {
            return Ok(verdict);
        }
        let described = match self.description(service, account, description).await? {
            Some(described) => described,
            None => return Ok(self.give_up()),
        };
        self.take_description(&described);
        if let Some(verdict) = self.verdict() {
            return Ok(verdict);
        }
        self.read_header(service, &described).await?;
        if let Some(verdict) = self.verdict() {
            return Ok(verdict);
        }
        self.read_body(service, &described).await?;
        Ok(self.give_up())
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

    async fn description(
        &self,
        service: &Service,
        account: AccountId,
        given: &Bytes,
    ) -> Result<Option<Description>, Failure> {
        let data = if given.is_empty() {
            service
                .engine
                .description(account, self.row.content)
                .await
                .map_err(storage)?
                .unwrap_or_default()
        } else {
            given.clone()
        };
        match Description::decode(&data) {
            Ok(description) => Ok(Some(description)),
            Err(error) => {
                tracing::warn!(%account, content = %self.row.content, %error, "message cannot be searched");
                Ok(None)
            }
        }
    }

    fn take_description(&mut self, description: &Description) {
        self.sent = Some(description.envelope.sent().map(|date| date.day()));
        let subject = description.envelope.subject.as_deref().map(word::decode);
        for (text, found) in self.query.texts.iter().zip(&mut self.found) {
            if matches!(&text.field, Field::Header(name) if name.eq_ignore_ascii_case("subject")) {
                *found = Some(
                    subject
                        .as_deref()
                        .is_some_and(|subject| text.needle.is_in(subject)),
                );
            }
        }
    }

    async fn read_header(&mut self, service: &Service, description: &Description) -> Result<(), Failure> {
        if self.query.cost() < Cost::Header {
            return Ok(());
        }
        let range = description.structure.header_range();
        let block = self
            .read(
                service,
                range.start,
                range.end.saturating_sub(range.start).min(MAX_HEADER),
            )
            .await?;
        let whole = header_text(&block);
        for (text, found) in self
            .query
            .texts
            .iter()
            .zip(&mut self.found)
            .filter(|(_, found)| found.is_none())
        {
            match &text.field {
                Field::Header(name) => *found = Some(header_contains(&block, name, &text.needle)),
                Field::Text if text.needle.is_in(&whole) => *found = Some(true),
                Field::Text | Field::Body => {}
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
                    let text = header_text(&self.read(service, range.start, length).await?);
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
        let (content, query) = (self.row.content, self.query);
        let mut open: Vec<(Search<'_>, &mut Option<bool>)> = open(query, &mut self.found)
            .map(|(text, found)| (text.needle.search(), found))
            .collect();
        let mut text = String::new();
        let mut offset = range.start;
        while offset < range.end && !open.is_empty() {
            let length = WINDOW.min(range.end - offset);
            let piece = service
                .contents
                .read(content, offset, length)
                .await
                .map_err(storage)?;
            if piece.is_empty() {
                break;
            }
            offset += piece.len() as u64;
            text.clear();
            decoder.push(&piece, &mut text);
            look(&mut open, &text);
            // Decoding is work: let others have the thread in between.
            tokio::task::yield_now().await;
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

    async fn read(&self, service: &Service, offset: u64, length: u64) -> Result<Bytes, Failure> {
        let read = service.contents.read(self.row.content, offset, length).await;
        read.map_err(|error| match storage(error) {
            failure if failure.kind == postrider_proto::Kind::NotFound => {
                not_found(format!("content {} of a message is missing", self.row.content))
            }
            failure => failure,
        })
    }
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
