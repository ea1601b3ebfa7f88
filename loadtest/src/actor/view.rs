//! What a device knows of the mailbox it has open.

use std::time::Instant;

use postrider_imap::client::{Response, Value};

use crate::ledger::MessageId;
use crate::net::Selected;

/// The most messages a device remembers, for things to do with them.
const REMEMBERED: usize = 24;

/// The most announcements kept until what they announced has been fetched.
const ANNOUNCED: usize = 64;

/// A mailbox as one device has been told of it.
#[derive(Debug, Default)]
pub struct View {
    /// Messages in it.
    pub exists: u32,
    /// Everything up to this UID has been fetched.
    pub last_uid: u32,
    /// What to come back with (QRESYNC).
    pub selected: Selected,
    /// How many there were said to be, and when: since what is new was fetched last.
    announced: Vec<(u32, Instant)>,
    /// Some that are there, the latest last.
    uids: Vec<u32>,
}

/// A message that was not known before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New {
    /// Its UID.
    pub uid: u32,
    /// Whose it is; `None`: not one of a load generator.
    pub id: Option<MessageId>,
    /// When the server said that it is there, if it has said so by itself.
    pub told: Option<Instant>,
}

impl View {
    /// A mailbox was selected: nothing of what was announced before matters any more.
    pub fn opened(&mut self, selected: Selected) {
        if selected.uid_validity != self.selected.uid_validity {
            self.uids.clear();
            self.last_uid = 0;
        }
        self.exists = selected.exists;
        self.selected = selected;
        self.announced.clear();
    }

    /// Whether there is something that was not fetched.
    pub fn has_news(&self) -> bool {
        !self.announced.is_empty()
    }

    /// A response, whichever command it came with.
    pub fn note(&mut self, response: &Response) {
        let Response::Data { number, name, values } = response else {
            return;
        };
        match (name.as_str(), number) {
            ("EXISTS", Some(exists)) => {
                if *exists > self.exists && self.announced.len() < ANNOUNCED {
                    self.announced.push((*exists, Instant::now()));
                }
                self.exists = *exists;
            }
            ("EXPUNGE", Some(gone)) => self.shrink(1, |exists| *gone <= exists),
            ("VANISHED", None) => self.vanished(values),
            ("FETCH", Some(_)) => {
                let modseq = response.attribute("MODSEQ").and_then(Value::as_list);
                let modseq = modseq.and_then(|list| list.first()).and_then(Value::as_number);
                self.selected.highest_modseq = self.selected.highest_modseq.max(modseq.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// A FETCH response of something that may be new.
    pub fn fetched(&mut self, response: &Response) -> Option<New> {
        let Response::Data {
            number: Some(sequence),
            name,
            values,
        } = response
        else {
            return None;
        };
        let uid = response.attribute("UID").and_then(Value::as_number)?;
        let uid = u32::try_from(uid)
            .ok()
            .filter(|uid| name == "FETCH" && *uid > self.last_uid)?;
        self.last_uid = uid;
        self.remember(uid);
        let announced = self.announced.iter().find(|(exists, _)| exists >= sequence);
        Some(New {
            uid,
            id: header(values).and_then(MessageId::in_header),
            told: announced.map(|(_, at)| *at),
        })
    }

    /// Everything announced so far has been fetched.
    pub fn caught_up(&mut self) {
        self.announced.clear();
    }

    /// One of the messages that are there; `choice` chooses.
    pub fn any(&self, choice: u64) -> Option<u32> {
        let count = self.uids.len() as u64;
        let at = usize::try_from(choice.checked_rem(count)?).ok()?;
        self.uids.get(at).copied()
    }

    /// A message has gone elsewhere.
    pub fn forget(&mut self, uid: u32) {
        self.uids.retain(|known| *known != uid);
    }

    fn remember(&mut self, uid: u32) {
        if self.uids.len() >= REMEMBERED {
            self.uids.remove(0);
        }
        self.uids.push(uid);
    }

    /// `VANISHED uids`, and with `(EARLIER)` in front what vanished before the mailbox was opened (RFC 7162 §3.2.10).
    fn vanished(&mut self, values: &[Value]) {
        let earlier = matches!(values.first(), Some(Value::List(_)));
        let Some(set) = values.last().and_then(Value::as_atom) else {
            return;
        };
        let mut count = 0_u32;
        for range in set.split(',') {
            let (from, to) = range.split_once(':').unwrap_or((range, range));
            let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) else {
                continue;
            };
            let (from, to) = (from.min(to), from.max(to));
            self.uids.retain(|uid| !(from..=to).contains(uid));
            count = count.saturating_add((to - from).saturating_add(1));
        }
        if !earlier {
            self.shrink(count, |_| true);
        }
    }

    /// Messages in front of those that `affects` says have gone, so that the others' numbers are smaller.
    fn shrink(&mut self, count: u32, affects: impl Fn(u32) -> bool) {
        self.exists = self.exists.saturating_sub(count);
        for (exists, _) in &mut self.announced {
            if affects(*exists) {
                *exists = exists.saturating_sub(count);
            }
        }
    }
}

/// The header that a FETCH response brings, in whichever case the server names it.
fn header(values: &[Value]) -> Option<&[u8]> {
    let [Value::List(items)] = values else {
        return None;
    };
    let is_header = |name: &str| {
        let name = name.as_bytes();
        name.get(..11)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"BODY[HEADER"))
    };
    items.chunks_exact(2).find_map(|pair| match pair {
        [Value::Atom(name), value] if is_header(name) => value.as_bytes(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn parse(text: &str) -> Response {
        Response::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn fetch(sequence: u32, uid: u32) -> Response {
        parse(&format!(
            "* {sequence} FETCH (UID {uid} BODY[HEADER.FIELDS (X-LOAD-ID)] \"X-Load-Id: 1f-{uid:x}\")"
        ))
    }

    fn opened(exists: u32, uid_next: u32) -> View {
        let mut view = View::default();
        view.opened(Selected {
            exists,
            uid_validity: 1,
            uid_next,
            highest_modseq: 5,
        });
        view.last_uid = uid_next - 1;
        view
    }

    #[test]
    fn news_are_as_old_as_their_announcement() {
        let mut view = opened(3, 10);
        view.note(&parse("* 3 EXISTS"));
        assert!(!view.has_news());
        view.note(&parse("* 4 EXISTS"));
        std::thread::yield_now();
        view.note(&parse("* 6 EXISTS"));
        let first = view.fetched(&fetch(4, 10)).unwrap();
        let (second, third) = (
            view.fetched(&fetch(5, 12)).unwrap(),
            view.fetched(&fetch(6, 13)).unwrap(),
        );
        assert_eq!(first.id.unwrap().number, 10);
        assert!(first.told < second.told && second.told == third.told);
        assert_eq!(view.fetched(&fetch(6, 13)), None, "known already");
        view.caught_up();
        assert_eq!(view.fetched(&fetch(7, 14)).unwrap().told, None);
        assert!(!view.has_news());
    }

    #[test]
    fn what_goes_makes_numbers_smaller() {
        let mut view = opened(3, 10);
        view.note(&parse("* 5 EXISTS"));
        view.note(&parse("* 1 EXPUNGE"));
        assert_eq!(view.exists, 4);
        assert!(view.fetched(&fetch(4, 11)).unwrap().told.is_some());
        let mut view = opened(3, 10);
        view.note(&parse("* 5 EXISTS"));
        view.note(&parse("* VANISHED 3,5:6"));
        assert_eq!(view.exists, 2);
        assert!(view.fetched(&fetch(2, 11)).unwrap().told.is_some());
        view.note(&parse("* VANISHED (EARLIER) 1:11"));
        assert_eq!((view.exists, view.any(0)), (2, None));
    }

    #[test]
    fn it_comes_back_with_the_newest_it_has_seen() {
        let mut view = opened(1, 2);
        view.note(&parse("* 1 FETCH (UID 1 MODSEQ (9))"));
        view.note(&parse("* 1 FETCH (UID 1 MODSEQ (7))"));
        assert_eq!(view.selected.highest_modseq, 9);
        view.opened(Selected {
            uid_validity: 2,
            ..Selected::default()
        });
        assert_eq!((view.last_uid, view.selected.highest_modseq), (0, 0));
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut view = opened(0, 1);
        for uid in 1..1000 {
            view.fetched(&fetch(uid, uid));
            view.note(&parse(&format!("* {uid} EXISTS")));
        }
        assert_eq!((view.uids.len(), view.announced.len()), (REMEMBERED, ANNOUNCED));
        assert_eq!(view.any(0), Some(1000 - REMEMBERED as u32));
        view.forget(999);
        assert_eq!(view.any(REMEMBERED as u64 - 2), Some(998));
    }
}
