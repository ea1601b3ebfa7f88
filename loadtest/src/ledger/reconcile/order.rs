//! Order: if A was answered before B began, A's UID is smaller than B's.
//!
//! Times are compared only between promises of one ledger, whose clock they share, and UIDs only within one UIDVALIDITY.
//! A message that a user moved away and back has a new UID; devices of a run do not do that.

use std::collections::BTreeMap;
use std::io;

use super::shard::{Entries, Fact, Key};
use crate::ledger::MessageId;

/// A message in an INBOX.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    id: MessageId,
    uid: u32,
    began: u64,
    at: u64,
}

/// Which of these messages have too small a UID, and what came before them.
pub(super) fn violations(entries: Entries) -> io::Result<Vec<(Key, String)>> {
    let mut mailboxes: BTreeMap<(String, u16, u32), Vec<Arrival>> = BTreeMap::new();
    for entry in entries {
        let (Key { id, recipient }, Fact::Arrived(arrived)) = entry? else {
            continue;
        };
        let mailbox = (recipient, arrived.source, arrived.uidvalidity);
        mailboxes.entry(mailbox).or_default().push(Arrival {
            id,
            uid: arrived.uid,
            began: arrived.began,
            at: arrived.at,
        });
    }
    let each = mailboxes.into_iter().flat_map(|((recipient, ..), arrivals)| {
        let found = in_mailbox(arrivals).into_iter();
        found.map(move |(early, before)| {
            let key = Key::new(early.id, &recipient);
            let why = format!(
                "has UID {}, but began after {} was answered, which has UID {}",
                early.uid, before.id, before.uid
            );
            (key, why)
        })
    });
    Ok(each.collect())
}

/// Pairs of a message whose UID is too small, and one that was answered before it began.
fn in_mailbox(arrivals: Vec<Arrival>) -> Vec<(Arrival, Arrival)> {
    let mut by_answer = arrivals.clone();
    by_answer.sort_unstable_by_key(|arrival| arrival.at);
    let mut by_begin = arrivals;
    by_begin.sort_unstable_by_key(|arrival| arrival.began);
    let mut answered = by_answer.into_iter().peekable();
    let mut largest: Option<Arrival> = None;
    let mut violations = Vec::new();
    for arrival in by_begin {
        while let Some(earlier) = answered.next_if(|earlier| earlier.at < arrival.began) {
            if largest.is_none_or(|largest| largest.uid < earlier.uid) {
                largest = Some(earlier);
            }
        }
        if let Some(earlier) = largest.filter(|earlier| earlier.uid > arrival.uid) {
            violations.push((arrival, earlier));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arrival(number: u64, uid: u32, began: u64, at: u64) -> Arrival {
        Arrival {
            id: MessageId { run: 1, number },
            uid,
            began,
            at,
        }
    }

    #[test]
    fn only_what_was_answered_before_is_earlier() {
        // 2 and 3 overlap, so either may come first.
        let fine = [arrival(1, 1, 0, 10), arrival(2, 3, 20, 40), arrival(3, 2, 30, 50)];
        assert!(in_mailbox(fine.to_vec()).is_empty());
        let wrong = [arrival(1, 2, 0, 10), arrival(2, 3, 20, 40), arrival(3, 1, 30, 50)];
        let found: Vec<_> = in_mailbox(wrong.to_vec())
            .iter()
            .map(|(early, before)| (early.id.number, before.id.number))
            .collect();
        assert_eq!(found, [(3, 1)]);
    }

    proptest! {
        #[test]
        fn as_comparing_all_pairs_finds_it(times in prop::collection::vec((0..50_u64, 0..20_u64, 0..20_u32), 0..20)) {
            let arrivals: Vec<Arrival> = times
                .iter()
                .enumerate()
                .map(|(number, (began, length, uid))| arrival(number as u64, *uid, *began, began + length))
                .collect();
            let mut expected: Vec<u64> = arrivals
                .iter()
                .filter(|late| arrivals.iter().any(|early| early.at < late.began && early.uid > late.uid))
                .map(|late| late.id.number)
                .collect();
            expected.sort_unstable();
            let mut found: Vec<u64> = in_mailbox(arrivals).iter().map(|(early, _)| early.id.number).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
