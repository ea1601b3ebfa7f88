//! What is searched for: a tree of criteria, checked and ordered by what they cost.

use postrider_index::{FolderIndex, UidSet};
use postrider_message::AddressField;
use postrider_message::text::Needle;
use postrider_proto::Failure;
use postrider_proto::mailstore::search_key::Key as Wire;
use postrider_proto::mailstore::search_key::day::{Relation as WireRelation, Which as WireWhich};
use postrider_proto::mailstore::{SearchKey, search_key};
use postrider_types::{ContentId, Flags, Keyword, ThreadId, Version};

use crate::failure::invalid;

/// The most criteria of one search.
const MAX_KEYS: usize = 1000;
/// The deepest nesting.
const MAX_DEPTH: usize = 50;
/// The longest text to look for, in bytes.
const MAX_NEEDLE: usize = 4096;

/// What has to be read to decide a criterion, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cost {
    /// The folder's index.
    Index,
    /// The message row.
    Row,
    /// Its description.
    Description,
    /// The message's header.
    Header,
    /// The message's text.
    Body,
}

/// Which date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Received,
    Sent,
    Saved,
}

/// How a day lies to the one given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Before,
    On,
    Since,
}

impl Relation {
    pub fn holds(self, day: i64, of: i64) -> bool {
        match self {
            Relation::Before => day < of,
            Relation::On => day == of,
            Relation::Since => day >= of,
        }
    }
}

/// Where a text is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    /// In the subject.
    Subject,
    /// In the fields of this name; which of the envelope's that is, if it is one.
    Header(String, Option<AddressField>),
    /// In the text of the message.
    Body,
    /// In both header and text.
    Text,
}

/// A text to look for; its place among all texts of the search is where its result is kept.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub field: Field,
    pub needle: Needle,
}

/// A criterion.
#[derive(Debug, Clone)]
pub(super) enum Key {
    All,
    And(Vec<Key>),
    Or(Vec<Key>),
    Not(Box<Key>),
    Uids(UidSet),
    Flags(Flags),
    Keyword(Keyword),
    Day(Which, Relation, i64),
    Larger(u64),
    Smaller(u64),
    ReceivedFrom(u64),
    ReceivedUntil(u64),
    ModseqAtLeast(Version),
    Content(ContentId),
    Thread(ThreadId),
    Text(usize),
}

/// A whole search.
#[derive(Debug)]
pub(super) struct Query {
    pub key: Key,
    pub texts: Vec<Text>,
    /// The Date field is among the criteria.
    pub has_sent: bool,
    /// MODSEQ is among the criteria, so that the answer tells the highest one.
    pub has_modseq: bool,
}

impl Query {
    /// Checks what was asked for. `now` in milliseconds since the Unix epoch.
    pub fn new(key: SearchKey, now: u64) -> Result<Self, Failure> {
        let mut reading = Reading {
            texts: Vec::new(),
            keys: 0,
            has_sent: false,
            has_modseq: false,
            now,
        };
        let mut key = reading.key(key, 0)?;
        let Reading {
            texts,
            has_sent,
            has_modseq,
            ..
        } = reading;
        order(&mut key, &texts);
        Ok(Self {
            key,
            texts,
            has_sent,
            has_modseq,
        })
    }

    /// What has to be read to decide all of it.
    pub fn cost(&self) -> Cost {
        self.key.cost(&self.texts)
    }

    /// Whether descriptions alone may decide.
    pub fn is_sifted(&self) -> bool {
        let is_summed_up = |text: &Text| matches!(text.field, Field::Subject | Field::Header(_, Some(_)));
        (self.has_sent || self.texts.iter().any(is_summed_up)) && !self.rows_narrow()
    }

    /// Whether rows alone exclude messages, so that descriptions are better read one by one for those that are left.
    pub fn rows_narrow(&self) -> bool {
        matches!(&self.key, Key::And(keys) if keys.iter().any(|key| key.cost(&self.texts) == Cost::Row))
    }
}

impl Key {
    /// What has to be read to decide it.
    fn cost(&self, texts: &[Text]) -> Cost {
        match self {
            Key::All | Key::Uids(_) | Key::Flags(_) => Cost::Index,
            Key::And(keys) | Key::Or(keys) => keys
                .iter()
                .map(|key| key.cost(texts))
                .max()
                .unwrap_or(Cost::Index),
            Key::Not(key) => key.cost(texts),
            Key::Day(Which::Sent, ..) => Cost::Description,
            Key::Text(place) => match texts.get(*place).map(|text| &text.field) {
                // Where addresses are written strangely, the header is read too.
                Some(Field::Subject | Field::Header(_, Some(_))) => Cost::Description,
                Some(Field::Header(_, None)) => Cost::Header,
                _ => Cost::Body,
            },
            _ => Cost::Row,
        }
    }

    /// The messages that the index does not exclude. Of a criterion that costs only the index, exactly those it means.
    pub fn bound(&self, index: &FolderIndex, texts: &[Text]) -> UidSet {
        match self {
            Key::And(keys) => keys.iter().fold(index.uids().clone(), |left, key| {
                if left.is_empty() {
                    left
                } else {
                    left.intersection(&key.bound(index, texts))
                }
            }),
            Key::Or(keys) => keys
                .iter()
                .fold(UidSet::new(), |sum, key| sum.union(&key.bound(index, texts))),
            Key::Not(key) if key.cost(texts) == Cost::Index => {
                index.uids().difference(&key.bound(index, texts))
            }
            Key::Uids(uids) => index.uids().intersection(uids),
            Key::Flags(flags) => flags.iter().fold(index.uids().clone(), |left, flag| {
                left.intersection(index.with_flag(flag))
            }),
            _ => index.uids().clone(),
        }
    }
}

/// Puts the cheaper criteria first, so that the dear ones are often not needed.
fn order(key: &mut Key, texts: &[Text]) {
    match key {
        Key::And(keys) | Key::Or(keys) => {
            keys.iter_mut().for_each(|key| order(key, texts));
            keys.sort_by_key(|key| key.cost(texts));
        }
        Key::Not(key) => order(key, texts),
        _ => {}
    }
}

struct Reading {
    texts: Vec<Text>,
    keys: usize,
    has_sent: bool,
    has_modseq: bool,
    now: u64,
}

impl Reading {
    fn key(&mut self, key: SearchKey, depth: usize) -> Result<Key, Failure> {
        self.keys += 1;
        if self.keys > MAX_KEYS || depth > MAX_DEPTH {
            return Err(invalid(format!(
                "a search has at most {MAX_KEYS} keys, nested at most {MAX_DEPTH} deep"
            )));
        }
        let key = key.key.ok_or_else(|| invalid("a search key is empty"))?;
        Ok(match key {
            Wire::All(_) => Key::All,
            Wire::And(keys) => Key::And(self.keys(keys, depth)?),
            Wire::Or(keys) => Key::Or(self.keys(keys, depth)?),
            Wire::Not(key) => Key::Not(Box::new(self.key(*key, depth + 1)?)),
            Wire::Uids(uids) => {
                Key::Uids(UidSet::from_bytes(&uids).map_err(|error| invalid(error.to_string()))?)
            }
            Wire::Flags(flags) => Key::Flags(crate::decode::flags(flags)?),
            Wire::Keyword(keyword) => Key::Keyword(crate::decode::keyword(&keyword)?),
            Wire::Day(day) => {
                self.has_sent |= day.which() == WireWhich::Sent;
                read_day(day)?
            }
            Wire::Larger(size) => Key::Larger(size),
            Wire::Smaller(size) => Key::Smaller(size),
            Wire::Header(search_key::Header { name, value }) => self.header(name, &value)?,
            Wire::Body(text) => self.text(Field::Body, &text)?,
            Wire::Text(text) => self.text(Field::Text, &text)?,
            Wire::ModseqAtLeast(modseq) => {
                self.has_modseq = true;
                Key::ModseqAtLeast(Version(modseq))
            }
            Wire::YoungerSeconds(seconds) => {
                Key::ReceivedFrom(self.now.saturating_sub(seconds.saturating_mul(1000)))
            }
            Wire::OlderSeconds(seconds) => {
                Key::ReceivedUntil(self.now.saturating_sub(seconds.saturating_mul(1000)))
            }
            Wire::ContentId(id) => Key::Content(crate::decode::content(&id)?),
            Wire::ThreadId(id) => {
                Key::Thread(ThreadId::from_slice(&id).ok_or_else(|| invalid("a thread id has 16 bytes"))?)
            }
        })
    }

    fn keys(&mut self, keys: search_key::Keys, depth: usize) -> Result<Vec<Key>, Failure> {
        keys.keys
            .into_iter()
            .map(|key| self.key(key, depth + 1))
            .collect()
    }

    fn header(&mut self, name: String, value: &str) -> Result<Key, Failure> {
        if name.is_empty() || name.len() > MAX_NEEDLE {
            return Err(invalid("a header field has a name"));
        }
        let field = if name.eq_ignore_ascii_case("subject") {
            Field::Subject
        } else {
            let field = AddressField::named(&name);
            Field::Header(name, field)
        };
        self.add(field, value)
    }

    fn text(&mut self, field: Field, text: &str) -> Result<Key, Failure> {
        // The empty text is in every message.
        if text.is_empty() {
            Ok(Key::All)
        } else {
            self.add(field, text)
        }
    }

    fn add(&mut self, field: Field, text: &str) -> Result<Key, Failure> {
        if text.len() > MAX_NEEDLE {
            return Err(invalid(format!(
                "a text to search for has at most {MAX_NEEDLE} bytes"
            )));
        }
        self.texts.push(Text {
            field,
            needle: Needle::new(text),
        });
        Ok(Key::Text(self.texts.len() - 1))
    }
}

fn read_day(day: search_key::Day) -> Result<Key, Failure> {
    let which = match WireWhich::try_from(day.which) {
        Ok(WireWhich::Received) => Which::Received,
        Ok(WireWhich::Sent) => Which::Sent,
        Ok(WireWhich::Saved) => Which::Saved,
        Ok(WireWhich::Unspecified) | Err(_) => return Err(invalid("a day is of one of the known dates")),
    };
    let relation = match WireRelation::try_from(day.relation) {
        Ok(WireRelation::Before) => Relation::Before,
        Ok(WireRelation::On) => Relation::On,
        Ok(WireRelation::Since) => Relation::Since,
        Ok(WireRelation::Unspecified) | Err(_) => {
            return Err(invalid("a day is before, on or since another"));
        }
    };
    Ok(Key::Day(which, relation, i64::from(day.day)))
}
