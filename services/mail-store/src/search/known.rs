//! What a message's description tells of a search, and what follows from that and from its row.

use postrider_index::FolderIndex;
use postrider_message::{SummaryView, date};
use postrider_store::account::MessageRow;
use postrider_types::Uid;

use super::key::{Field, Key, Query, Which};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// What is known of one message so far. What is not known yet is decided neither way.
#[derive(Debug)]
pub(super) struct Known {
    /// The calendar day of its Date field, if it has one.
    sent: Option<Option<i64>>,
    /// Of each text of the query, whether the message has it.
    pub found: Vec<Option<bool>>,
    /// Where texts are made ready to be searched.
    room: String,
}

/// Which message is looked at, and what is at hand of it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub index: &'a FolderIndex,
    pub uid: Uid,
    pub row: Option<&'a MessageRow>,
}

impl Known {
    /// Nothing yet.
    pub fn new(query: &Query) -> Self {
        Self {
            sent: None,
            found: vec![None; query.texts.len()],
            room: String::new(),
        }
    }

    /// Turns to another message.
    pub fn clear(&mut self) {
        self.sent = None;
        self.found.fill(None);
    }

    /// Takes everything that is still open as not so.
    pub fn give_up(&mut self) {
        self.sent = Some(self.sent.flatten());
        self.found
            .iter_mut()
            .for_each(|found| *found = Some(found.unwrap_or(false)));
    }

    /// Takes what a description says.
    pub fn take_summary(&mut self, query: &Query, summary: &SummaryView<'_>) {
        let envelope = &summary.envelope;
        if query.has_sent {
            let day = |date: &[u8]| Some(date::parse(&String::from_utf8_lossy(date))?.day());
            self.sent = Some(envelope.date.and_then(day));
        }
        let room = &mut self.room;
        for (text, found) in query.texts.iter().zip(&mut self.found) {
            match &text.field {
                Field::Subject => {
                    let has = |subject| text.needle.is_in_value(subject, room);
                    *found = Some(envelope.subject.is_some_and(has));
                }
                Field::Header(_, Some(field)) => {
                    *found = text.needle.is_in_addresses(envelope, *field, room);
                }
                Field::Header(_, None) | Field::Body | Field::Text => {}
            }
        }
    }

    /// Whether a message is meant, as far as that follows.
    pub fn holds(&self, key: &Key, of: Subject<'_>) -> Option<bool> {
        let holds = |key: &Key| self.holds(key, of);
        match key {
            Key::All => Some(true),
            Key::And(keys) => all(keys.iter().map(holds)),
            Key::Or(keys) => all(keys.iter().map(|key| holds(key).map(|it| !it))).map(|it| !it),
            Key::Not(key) => holds(key).map(|it| !it),
            Key::Uids(uids) => Some(uids.contains(of.uid)),
            // The index has the answer's version; the row may be newer.
            Key::Flags(flags) => {
                let has = |flag| of.index.with_flag(flag).contains(of.uid);
                Some(flags.iter().all(has))
            }
            Key::Day(Which::Sent, relation, day) => {
                let holds = |sent: Option<i64>| sent.is_some_and(|it| relation.holds(it, *day));
                self.sent.map(holds)
            }
            Key::Text(place) => self.found.get(*place).copied().flatten(),
            _ => of.row.map(|row| row_holds(key, row)),
        }
    }
}

/// A criterion about what stands in the row.
fn row_holds(key: &Key, row: &MessageRow) -> bool {
    match key {
        Key::Keyword(keyword) => row.keywords.contains(keyword),
        Key::Day(Which::Received, relation, of) => relation.holds(day(row.received), *of),
        Key::Day(Which::Saved, relation, of) => relation.holds(day(row.saved), *of),
        Key::Larger(size) => row.size > *size,
        Key::Smaller(size) => row.size < *size,
        Key::ReceivedFrom(time) => row.received >= *time,
        Key::ReceivedUntil(time) => row.received <= *time,
        Key::ModseqAtLeast(modseq) => row.modseq >= *modseq,
        Key::Content(id) => row.content == *id,
        Key::Thread(id) => row.thread == *id,
        // Decided without the row.
        _ => false,
    }
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
