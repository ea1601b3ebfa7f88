//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5).

use postrider_imap::command::{DateRelation, DateWhich, ReturnOptions, Search, SearchKey};
use postrider_imap::response::{self, Code, ESearch, Numbers};
use postrider_imap::set::{MessageSet, SequenceSet};
use postrider_index::UidSet;
use postrider_proto::mailstore::search_key::{
    Day, Header, Key, Keys,
    day::{Relation, Which},
};
use postrider_proto::mailstore::{self as wire};
use postrider_types::{Uid, Version};

use super::Exec;
use crate::answer::{Answer, Outcome, Stop};
use crate::rows;

/// What was found, as far as the client knows the messages.
pub(super) struct Found {
    pub uids: UidSet,
    /// The highest mod-sequence among them, when the search asked for mod-sequences.
    pub modseq: Option<u64>,
}

impl Exec<'_> {
    pub(super) async fn search(&mut self, search: Search) -> Outcome {
        let saves = search.returns.is_some_and(|returns| returns.save);
        match self.search_and_tell(&search).await {
            // RFC 5182 §2.1: a search that fails leaves an empty result.
            Err(Stop::Answer(answer)) if saves => {
                self.mailbox()?.view.save(UidSet::new());
                Err(answer.into())
            }
            outcome => outcome,
        }
    }

    async fn search_and_tell(&mut self, search: &Search) -> Outcome {
        let found = self.find(&search.key).await?;
        let rev2 = self.session.enabled().rev2;
        let returns = match search.returns {
            Some(returns) => returns,
            None if rev2 => ReturnOptions {
                all: true,
                ..ReturnOptions::default()
            },
            None => {
                let numbers = self.mailbox()?.view.numbers(&found.uids, search.uid);
                let out = self.port.output();
                response::search(out, numbers.iter().map(|number| number.0), found.modseq);
                return Ok(Answer::ok("SEARCH completed"));
            }
        };
        let ends = Ends {
            first: found.uids.min(),
            last: found.uids.max(),
        };
        if returns.save {
            let saved = ends.saved(returns, &found.uids);
            self.mailbox()?.view.save(saved);
        }
        // RFC 5182 §2.1: SAVE alone is not answered.
        if returns.min || returns.max || returns.all || returns.count {
            let modseq = self.modseq_of(&found, ends, returns).await?;
            let view = &self.mailbox()?.view;
            let number = |uid: Uid| {
                if search.uid {
                    Some(uid.0)
                } else {
                    view.sequence(uid)
                }
            };
            let (min, max) = (ends.first.and_then(number), ends.last.and_then(number));
            let numbers = view.numbers(&found.uids, search.uid);
            let answer = ESearch {
                uid: search.uid,
                min: min.filter(|_| returns.min),
                max: max.filter(|_| returns.max),
                count: returns.count.then_some(found.uids.len()),
                all: returns.all.then_some(Numbers::Set(&numbers)),
                modseq,
            };
            response::esearch(self.port.output(), self.session.tag(), answer);
        }
        Ok(Answer::ok("SEARCH completed"))
    }

    /// Asks for the messages that match.
    pub(super) async fn find(&mut self, key: &SearchKey) -> Result<Found, Stop> {
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let key_on_wire = Translator { exec: self }.key(key)?;
        let found = match self.shared.store.search(account, folder, key_on_wire).await {
            Ok(found) => found,
            Err(failure) if failure.kind == postrider_proto::Kind::Invalid => {
                return Err(Answer::no(failure.message).with(Code::Limit).into());
            }
            Err(failure) => return Err(failure.into()),
        };
        let view = &self.mailbox()?.view;
        let uids = rows::uids(&found.uids)?.intersection(view.known());
        let modseq = key.names_modseq() && !uids.is_empty();
        Ok(Found {
            uids,
            modseq: modseq.then_some(found.highest_modseq),
        })
    }

    /// The mod-sequence of an ESEARCH answer: of all it is about, or only of the messages it names.
    async fn modseq_of(
        &mut self,
        found: &Found,
        ends: Ends,
        returns: ReturnOptions,
    ) -> Result<Option<u64>, Stop> {
        if found.modseq.is_none() || returns.all || returns.count {
            return Ok(found.modseq);
        }
        let selected = self.mailbox()?;
        let (account, folder) = (selected.folder.account, selected.folder.id);
        let named = ends.saved(returns, &found.uids);
        let mut pieces = self
            .shared
            .store
            .messages(account, folder, &named, Version(0), false)
            .await?;
        let mut highest = None;
        while let Some(piece) = pieces.next().await? {
            highest = highest.max(piece.messages.iter().map(|row| row.modseq).max());
        }
        Ok(highest)
    }
}

/// The first and the last message of a result.
#[derive(Clone, Copy)]
struct Ends {
    first: Option<Uid>,
    last: Option<Uid>,
}

impl Ends {
    /// What `$` becomes (RFC 5182 §2.4): only the ends, when only these were asked for.
    fn saved(self, returns: ReturnOptions, found: &UidSet) -> UidSet {
        let only_ends = (returns.min || returns.max) && !returns.all && !returns.count;
        if !only_ends {
            return found.clone();
        }
        let first = self.first.filter(|_| returns.min);
        let last = self.last.filter(|_| returns.max);
        first.into_iter().chain(last).collect()
    }
}

/// From IMAP's keys to the contract's.
struct Translator<'a, 'b> {
    exec: &'a mut Exec<'b>,
}

impl Translator<'_, '_> {
    fn key(&mut self, key: &SearchKey) -> Result<wire::SearchKey, Stop> {
        let key = match key {
            SearchKey::All | SearchKey::SaveDateSupported => Key::All(true),
            SearchKey::And(keys) => Key::And(self.keys(keys)?),
            SearchKey::Or(keys) => Key::Or(Keys {
                keys: vec![self.key(&keys.0)?, self.key(&keys.1)?],
            }),
            SearchKey::Not(key) => Key::Not(Box::new(self.key(key)?)),
            SearchKey::Sequence(MessageSet::Numbers(set)) => self.numbers(set)?,
            SearchKey::Sequence(set) | SearchKey::Uid(set) => self.set(set)?,
            SearchKey::Recent => Key::Uids(self.exec.mailbox()?.view.recent().to_bytes()),
            SearchKey::Flag(flag) => Key::Flags(*flag as u32),
            SearchKey::Keyword(keyword) => Key::Keyword(keyword.to_string()),
            SearchKey::Date { which, relation, day } => Key::Day(date(*which, *relation, *day)),
            SearchKey::Larger(size) => Key::Larger(*size),
            SearchKey::Smaller(size) => Key::Smaller(*size),
            SearchKey::Header { name, value } => Key::Header(Header {
                name: name.clone(),
                value: value.clone(),
            }),
            SearchKey::Body(text) => Key::Body(text.clone()),
            SearchKey::Text(text) => Key::Text(text.clone()),
            SearchKey::ModSeq(modseq) => Key::ModseqAtLeast(*modseq),
            SearchKey::Younger(seconds) => Key::YoungerSeconds(u64::from(*seconds)),
            SearchKey::Older(seconds) => Key::OlderSeconds(u64::from(*seconds)),
            SearchKey::EmailId(id) => object_id(id, 'M').map_or_else(nothing, |id| Key::ContentId(id.into())),
            SearchKey::ThreadId(id) => object_id(id, 'T').map_or_else(nothing, |id| Key::ThreadId(id.into())),
        };
        Ok(wire::SearchKey { key: Some(key) })
    }

    fn keys(&mut self, keys: &[SearchKey]) -> Result<Keys, Stop> {
        let keys = keys.iter().map(|key| self.key(key)).collect::<Result<_, _>>()?;
        Ok(Keys { keys })
    }

    /// UIDs, or a saved result.
    fn set(&mut self, set: &MessageSet) -> Result<Key, Stop> {
        Ok(Key::Uids(self.exec.resolve(set, true)?.uids.to_bytes()))
    }

    /// Sequence numbers: as a criterion, those that no message has just match nothing.
    fn numbers(&mut self, set: &SequenceSet) -> Result<Key, Stop> {
        let view = &self.exec.mailbox()?.view;
        let exists = view.exists();
        let ranges = set.resolve(exists).filter_map(|range| {
            let last = (*range.end()).min(exists);
            Some(view.uid(*range.start())?..=view.uid(last)?)
        });
        let named = UidSet::from_ranges(ranges).intersection(view.known());
        Ok(Key::Uids(named.to_bytes()))
    }
}

/// What no message matches.
fn nothing() -> Key {
    Key::Uids(UidSet::new().to_bytes())
}

fn date(which: DateWhich, relation: DateRelation, day: i32) -> Day {
    let which = match which {
        DateWhich::Received => Which::Received,
        DateWhich::Sent => Which::Sent,
        DateWhich::Saved => Which::Saved,
    };
    let relation = match relation {
        DateRelation::Before => Relation::Before,
        DateRelation::On => Relation::On,
        DateRelation::Since => Relation::Since,
    };
    Day {
        which: which.into(),
        relation: relation.into(),
        day,
    }
}

/// The 16 bytes behind a letter and 32 hexadecimal digits.
fn object_id(text: &str, letter: char) -> Option<Vec<u8>> {
    let id: postrider_types::ContentId = text.strip_prefix(letter)?.parse().ok()?;
    Some(id.as_bytes().to_vec())
}
