//! A selected mailbox as one client has been told of it.
//!
//! Sequence numbers are places in what the client knows, not in what is true: a message that is gone keeps its number
//! until the client is told, and a new one has none until then (RFC 9051 §5.2, §7.5.1, RFC 2180 §4). The view keeps the
//! two apart and writes the difference when the protocol allows it.
//!
//! ```text
//! update ──▶ what is true ──announce──▶ EXPUNGE / VANISHED, EXISTS, which flags to tell ──▶ what the client knows
//! ```
//!
//! Its sets share their bitmaps with the folder index of everyone else who looks at the folder, as long as they are the
//! same; looking up a number takes logarithmic time.

use std::ops::RangeInclusive;

use bytes::BytesMut;
use postrider_index::{FolderIndex, UidSet};
use postrider_types::{Flags, Keyword, Uid};

use crate::command::{Command, QResync};
use crate::response::{FetchLine, Numbers, exists, expunge, recent, vanished};
use crate::session::Enabled;
use crate::set::{MessageSet, SequenceSet};

/// Above this many UIDs in the ranges of a set, cutting the gaps out of what is known is cheaper than building the set.
const BUILT: u64 = 1 << 16;
/// Pairs of a QRESYNC hint that are looked at.
const MAX_MATCHES: usize = 10_000;

/// A sequence number for which there is no message (RFC 9051 §9, `seq-number`): the command is BAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no message has that sequence number")]
pub struct NoSuchMessage;

/// What the client knows, what is true, and what of the difference is flags.
#[derive(Debug, Clone)]
pub struct View {
    known: UidSet,
    current: FolderIndex,
    /// Known messages whose flags are not what the client was told.
    flags: UidSet,
    /// `$` (RFC 5182).
    saved: UidSet,
    /// Messages that bear `\Recent` in this session.
    recent: UidSet,
}

impl View {
    /// A mailbox that has just been selected: the client is told everything.
    pub fn open(index: FolderIndex) -> Self {
        Self {
            known: index.uids().clone(),
            current: index,
            flags: UidSet::new(),
            saved: UidSet::new(),
            recent: UidSet::new(),
        }
    }

    /// What is true has changed. `changed`: messages whose flags or keywords are not as before.
    pub fn update(&mut self, index: FolderIndex, changed: &UidSet) {
        self.current = index;
        if !changed.is_empty() {
            self.flags = self.flags.union(&changed.intersection(&self.known));
        }
    }

    /// The client has been told these messages' flags otherwise (in the answer to a FETCH or STORE).
    pub fn flags_told(&mut self, uids: &UidSet) {
        if !self.flags.is_empty() {
            self.flags = self.flags.difference(uids);
        }
    }

    /// Writes what is new: EXPUNGE or VANISHED (only if `expunges`: never while a command without UID that names messages by number
    /// is in progress, see [`Command::allows_expunge`]), EXISTS, and RECENT before rev2. Returns the messages whose flags
    /// the client is to be told next, with [`View::tell_flags`].
    #[must_use]
    pub fn announce(&mut self, out: &mut BytesMut, enabled: Enabled, expunges: bool) -> UidSet {
        if expunges {
            self.announce_gone(out, enabled);
        }
        let above = self.known.max().map_or(Some(Uid(1)), Uid::checked_next);
        let new = above.map_or(0, |above| self.current.uids().range_len(above..=Uid(u32::MAX)));
        if let (Some(above), true) = (above, new > 0) {
            self.known = if self.known.len().checked_add(new) == Some(self.current.len()) {
                // Nothing is gone: the two are the same set, and share its memory.
                self.current.uids().clone()
            } else {
                let mut known = self.known.clone();
                known.extend(self.current.uids().iter_range(above..=Uid(u32::MAX)));
                known
            };
            exists(out, self.known.len());
            if !enabled.rev2 {
                recent(out, self.recent.len());
            }
        }
        let flags = std::mem::take(&mut self.flags);
        flags.intersection(&self.known).intersection(self.current.uids())
    }

    fn announce_gone(&mut self, out: &mut BytesMut, enabled: Enabled) {
        let gone = self.gone();
        if gone.is_empty() {
            return;
        }
        if enabled.qresync {
            vanished(out, Numbers::Set(&gone), false);
        } else {
            // From the last to the first, so that no number changes before its turn.
            for uid in gone.iter().rev() {
                expunge(out, self.known.rank(uid));
            }
        }
        self.known = self.known.difference(&gone);
        self.saved = self.saved.difference(&gone);
        self.recent = self.recent.difference(&gone);
    }

    /// Writes `* n FETCH (UID u FLAGS (…) MODSEQ (…))` for a message the client knows; nothing for another. The UID is told when
    /// the client uses UIDs (it always may be), the mod-sequence when CONDSTORE is on.
    pub fn tell_flags(
        &self,
        out: &mut BytesMut,
        uid: Uid,
        flags: Flags,
        keywords: &[Keyword],
        modseq: u64,
        enabled: Enabled,
    ) {
        let Some(sequence) = self.sequence(uid) else {
            return;
        };
        let mut line = FetchLine::start(out, sequence, enabled.syntax());
        line.uid(out, uid.0);
        if self.recent.contains(uid) {
            line.flags_and_recent(out, flags, keywords);
        } else {
            line.flags(out, flags, keywords);
        }
        if enabled.condstore {
            line.modseq(out, modseq);
        }
        line.end(out);
    }

    /// These messages are told of in this session first (RFC 3501 §2.3.2): they bear `\Recent` in it. Before rev2 only.
    pub fn add_recent(&mut self, uids: &UidSet) {
        self.recent = self.recent.union(uids);
    }

    /// Messages that bear `\Recent`.
    pub fn recent(&self) -> &UidSet {
        &self.recent
    }

    /// Remembers a search result as `$`.
    pub fn save(&mut self, found: UidSet) {
        self.saved = found.intersection(&self.known);
    }

    /// The messages the client knows that a set names. `uid`: its numbers are UIDs, and those of no message are
    /// ignored; else a number of no message is an error. Some may be [`View::gone`].
    pub fn resolve(&self, set: &MessageSet, uid: bool) -> Result<UidSet, NoSuchMessage> {
        match set {
            MessageSet::Saved => Ok(self.saved.clone()),
            MessageSet::Numbers(set) if uid => Ok(self.resolve_uids(set)),
            MessageSet::Numbers(set) => self.resolve_sequence(set),
        }
    }

    /// The sequence number of a message the client knows.
    pub fn sequence(&self, uid: Uid) -> Option<u32> {
        self.known.contains(uid).then(|| self.known.rank(uid))
    }

    /// The same, for one message after the other: near the one before, it costs only the way from there.
    pub fn sequence_after(&self, before: &mut Option<(Uid, u32)>, uid: Uid) -> Option<u32> {
        if !self.known.contains(uid) {
            return None;
        }
        let sequence = match *before {
            Some((last, sequence)) if last.checked_next() == Some(uid) => sequence + 1,
            Some((last, sequence)) if last < uid => sequence + self.known.range_len(Uid(last.0 + 1)..=uid),
            _ => self.known.rank(uid),
        };
        *before = Some((uid, sequence));
        Some(sequence)
    }

    /// The message of a sequence number.
    pub fn uid(&self, sequence: u32) -> Option<Uid> {
        self.known.select(sequence)
    }

    /// The sequence numbers of those of the messages that the client knows.
    pub fn sequences(&self, uids: &UidSet) -> UidSet {
        let uids = uids.intersection(&self.known);
        // A run of UIDs that are all known is a run of numbers.
        UidSet::from_ranges(uids.ranges().map(|run| {
            let first = self.known.rank(*run.start());
            Uid(first)..=Uid(first.saturating_add(run.end().0 - run.start().0))
        }))
    }

    /// Those of the messages that the client knows, as the answer to a command names them: UIDs, or sequence numbers.
    pub fn numbers(&self, uids: &UidSet, uid: bool) -> UidSet {
        if uid {
            uids.intersection(&self.known)
        } else {
            self.sequences(uids)
        }
    }

    /// Messages the client knows.
    pub fn exists(&self) -> u32 {
        self.known.len()
    }

    /// The UIDs the client knows.
    pub fn known(&self) -> &UidSet {
        &self.known
    }

    /// What is true.
    pub fn current(&self) -> &FolderIndex {
        &self.current
    }

    /// Messages the client knows that are not there any more: a command by number that meets one answers NO with
    /// `[EXPUNGEISSUED]`, or leaves it out.
    pub fn gone(&self) -> UidSet {
        self.known.difference(self.current.uids())
    }

    fn resolve_uids(&self, set: &SequenceSet) -> UidSet {
        let (Some(min), Some(max)) = (self.known.min(), self.known.max()) else {
            return UidSet::new();
        };
        let clamped = set
            .resolve(max.0)
            .filter(|range| *range.start() <= max.0 && *range.end() >= min.0);
        self.within(clamped.map(|range| *range.start().max(&min.0)..=*range.end().min(&max.0)))
    }

    fn resolve_sequence(&self, set: &SequenceSet) -> Result<UidSet, NoSuchMessage> {
        let exists = self.exists();
        if exists == 0 {
            return Err(NoSuchMessage);
        }
        let mut ranges = Vec::with_capacity(set.ranges().len());
        for range in set.resolve(exists) {
            let (Some(first), Some(last)) = (self.uid(*range.start()), self.uid(*range.end())) else {
                return Err(NoSuchMessage);
            };
            ranges.push(first.0..=last.0);
        }
        Ok(self.within(ranges))
    }

    /// The known UIDs in any of the ranges.
    fn within(&self, ranges: impl IntoIterator<Item = RangeInclusive<u32>>) -> UidSet {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let named: u64 = ranges
            .iter()
            .map(|range| u64::from(range.end() - range.start()) + 1)
            .sum();
        if named <= BUILT {
            let set = UidSet::from_ranges(
                ranges
                    .into_iter()
                    .map(|range| Uid(*range.start())..=Uid(*range.end())),
            );
            return set.intersection(&self.known);
        }
        let mut found = self.known.clone();
        let mut next = 1;
        for range in ranges {
            if *range.start() > next {
                found.remove_range(Uid(next)..=Uid(range.start() - 1));
            }
            match range.end().checked_add(1) {
                Some(behind) => next = next.max(behind),
                None => return found,
            }
        }
        found.remove_range(Uid(next)..=Uid(u32::MAX));
        found
    }
}

impl Command {
    /// Whether EXPUNGE responses may be sent while it is in progress (RFC 9051 §7.5.1). VANISHED follows the same rule
    /// (RFC 7162 §3.2.10.2).
    pub fn allows_expunge(&self) -> bool {
        match self {
            Command::Fetch(fetch) => fetch.uid,
            Command::Store(store) => store.uid,
            Command::Search(search) => search.uid,
            Command::Sort(sort) => sort.uid,
            Command::Thread(thread) => thread.uid,
            _ => true,
        }
    }
}

impl QResync {
    /// The UIDs to name in VANISHED (EARLIER) when the log of changes does not reach back to [`QResync::modseq`]: those the
    /// client may know and that are not there (RFC 7162 §3.2.5.1, §3.2.5.2). `next` is UIDNEXT.
    pub fn vanished(&self, current: &UidSet, next: Uid) -> UidSet {
        let Some(last) = next.0.checked_sub(1).filter(|last| *last > 0) else {
            return UidSet::new();
        };
        let from = self.matching(current).saturating_add(1);
        let clamp =
            |range: RangeInclusive<u32>| Uid(*range.start().max(&from))..=Uid(*range.end().min(&last));
        let known = match &self.known_uids {
            Some(set) => UidSet::from_ranges(set.resolve(last).map(clamp)),
            None => UidSet::from_ranges([clamp(1..=last)]),
        };
        known.difference(current)
    }

    /// The largest UID up to which client and server have the same messages, by the pairs that the client sent; 0 when
    /// there is none.
    fn matching(&self, current: &UidSet) -> u32 {
        let Some((numbers, uids)) = &self.seq_match else {
            return 0;
        };
        let numbers = numbers.resolve(u32::MAX).flatten();
        let pairs = numbers.zip(uids.resolve(u32::MAX).flatten()).take(MAX_MATCHES);
        let same = pairs.take_while(|(number, uid)| current.select(*number) == Some(Uid(*uid)));
        same.last().map_or(0, |(_, uid)| uid)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use postrider_types::Version;
    use proptest::prelude::*;

    use super::*;

    fn index(uids: impl IntoIterator<Item = u32>) -> FolderIndex {
        let mut index = FolderIndex::new(Version(1));
        for uid in uids {
            index.add(Uid(uid), Flags::EMPTY);
        }
        index
    }

    fn set(text: &str) -> MessageSet {
        let mut cursor = crate::parse::Cursor::new(text.as_bytes(), false);
        MessageSet::parse(&mut cursor).unwrap()
    }

    fn uids(set: &UidSet) -> Vec<u32> {
        set.iter().map(|uid| uid.0).collect()
    }

    #[test]
    fn numbers_resolve_in_what_the_client_knows() {
        let mut view = View::open(index([3, 5, 8, 9]));
        view.update(index([5, 8, 9, 12]), &UidSet::new());
        assert_eq!(uids(&view.resolve(&set("1,3:*"), false).unwrap()), [3, 8, 9]);
        assert_eq!(view.resolve(&set("5"), false), Err(NoSuchMessage));
        assert_eq!(uids(&view.resolve(&set("5:8,100:*"), true).unwrap()), [5, 8, 9]);
        assert_eq!(
            uids(&view.resolve(&set("1:4294967295"), true).unwrap()),
            [3, 5, 8, 9]
        );
        assert_eq!(uids(&view.gone()), [3]);
        assert_eq!(
            uids(&view.sequences(&[Uid(5), Uid(8), Uid(12)].into_iter().collect())),
            [2, 3]
        );
        let empty = View::open(index([]));
        assert_eq!(empty.resolve(&set("*"), false), Err(NoSuchMessage));
        assert!(empty.resolve(&set("1:*"), true).unwrap().is_empty());
    }

    #[test]
    fn expunges_wait_for_their_moment() {
        let mut view = View::open(index([3, 5, 8, 9]));
        view.save([Uid(3), Uid(9)].into_iter().collect());
        view.update(index([5, 9, 12]), &[Uid(9), Uid(12)].into_iter().collect());
        let mut out = BytesMut::new();
        assert_eq!(uids(&view.announce(&mut out, Enabled::default(), false)), [9]);
        assert_eq!(&out[..], b"* 5 EXISTS\r\n* 0 RECENT\r\n");
        out.clear();
        assert!(view.announce(&mut out, Enabled::default(), true).is_empty());
        assert_eq!(&out[..], b"* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n");
        assert_eq!(uids(&view.resolve(&MessageSet::Saved, false).unwrap()), [9]);
        out.clear();
        view.update(index([12]), &UidSet::new());
        let enabled = Enabled {
            qresync: true,
            rev2: true,
            ..Enabled::default()
        };
        assert!(view.announce(&mut out, enabled, true).is_empty());
        assert_eq!(&out[..], b"* VANISHED 5,9\r\n");
    }

    #[test]
    fn qresync_without_a_log() {
        let known = |text: &str| match set(text) {
            MessageSet::Numbers(set) => set,
            MessageSet::Saved => panic!(),
        };
        let current: UidSet = [1, 2, 3, 7, 9].map(Uid).into_iter().collect();
        let mut qresync = QResync {
            uid_validity: 1,
            modseq: 1,
            known_uids: None,
            seq_match: None,
        };
        assert_eq!(uids(&qresync.vanished(&current, Uid(11))), [4, 5, 6, 8, 10]);
        qresync.known_uids = Some(known("2:4,9,4000000000"));
        assert_eq!(uids(&qresync.vanished(&current, Uid(11))), [4]);
        qresync.known_uids = None;
        qresync.seq_match = Some((known("1,3,4"), known("1,3,7")));
        assert_eq!(uids(&qresync.vanished(&current, Uid(11))), [8, 10]);
        assert!(qresync.vanished(&UidSet::new(), Uid(1)).is_empty());
    }

    /// A client that believes every line.
    #[derive(Default)]
    struct Client {
        /// What it knows of each place; 0: not yet asked.
        places: Vec<u32>,
        flags: BTreeMap<u32, u8>,
    }

    impl Client {
        fn read(&mut self, lines: &[u8]) {
            for line in std::str::from_utf8(lines).unwrap().lines() {
                let words: Vec<&str> = line.split(' ').collect();
                match words[..] {
                    ["*", count, "EXISTS"] => {
                        let count = count.parse().unwrap();
                        assert!(count > self.places.len(), "EXISTS without anything new");
                        self.places.resize(count, 0);
                    }
                    ["*", place, "EXPUNGE"] => {
                        self.places.remove(place.parse::<usize>().unwrap() - 1);
                    }
                    ["*", "VANISHED", gone] => {
                        for range in gone.split(',') {
                            let (low, high) = range.split_once(':').unwrap_or((range, range));
                            let (low, high): (u32, u32) = (low.parse().unwrap(), high.parse().unwrap());
                            let before = self.places.len();
                            self.places.retain(|uid| !(low..=high).contains(uid));
                            assert_eq!(before - self.places.len(), (high - low + 1) as usize);
                        }
                    }
                    ["*", "0", "RECENT"] => {}
                    _ => panic!("{line}"),
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Event {
        Add(u8),
        Remove(prop::sample::Index),
        Flag(prop::sample::Index, u8),
        Update,
        Announce { expunges: bool },
        Save(Vec<prop::sample::Index>),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (1..4u8).prop_map(Event::Add),
            2 => any::<prop::sample::Index>().prop_map(Event::Remove),
            2 => (any::<prop::sample::Index>(), 0..32u8).prop_map(|(at, flags)| Event::Flag(at, flags)),
            3 => Just(Event::Update),
            3 => any::<bool>().prop_map(|expunges| Event::Announce { expunges }),
            1 => proptest::collection::vec(any::<prop::sample::Index>(), 0..4).prop_map(Event::Save),
        ]
    }

    proptest! {
        #[test]
        fn a_client_that_believes_every_line_is_right(events in proptest::collection::vec(event(), 0..60), qresync: bool) {
            let enabled = Enabled { qresync, ..Enabled::default() };
            let (mut truth, mut next) = (index([]), 1u32);
            let mut changed = UidSet::new();
            let mut view = View::open(truth.clone());
            let (mut client, mut saved) = (Client::default(), Vec::<u32>::new());
            for event in events {
                match event {
                    Event::Add(step) => {
                        next += u32::from(step);
                        truth.add(Uid(next), Flags::EMPTY);
                    }
                    Event::Remove(at) if !truth.is_empty() => {
                        let uid = truth.uid(at.index(truth.len() as usize) as u32 + 1).unwrap();
                        truth.remove(uid);
                    }
                    Event::Flag(at, flags) if !truth.is_empty() => {
                        let uid = truth.uid(at.index(truth.len() as usize) as u32 + 1).unwrap();
                        truth.set_flags(uid, Flags::from_bits(flags));
                        changed.insert(uid);
                    }
                    Event::Update => view.update(truth.clone(), &std::mem::take(&mut changed)),
                    Event::Announce { expunges } => {
                        let mut out = BytesMut::new();
                        let told = view.announce(&mut out, enabled, expunges);
                        client.read(&out);
                        // It asks for the UIDs of the new places, and hears of flags.
                        for (at, place) in client.places.iter_mut().enumerate() {
                            let uid = view.uid(at as u32 + 1).unwrap().0;
                            prop_assert!(*place == 0 || *place == uid);
                            if std::mem::replace(place, uid) == 0 {
                                client.flags.insert(uid, view.current().flags(Uid(uid)).bits());
                            }
                        }
                        for uid in told.iter() {
                            prop_assert!(client.places.contains(&uid.0));
                            client.flags.insert(uid.0, view.current().flags(uid).bits());
                        }
                        for uid in view.current().uids().iter() {
                            prop_assert_eq!(client.flags.get(&uid.0), Some(&view.current().flags(uid).bits()));
                        }
                        if expunges {
                            prop_assert_eq!(&client.places, &uids(view.current().uids()));
                            saved.retain(|uid| client.places.contains(uid));
                        }
                    }
                    Event::Save(places) if !client.places.is_empty() => {
                        saved = places.iter().map(|at| client.places[at.index(client.places.len())]).collect();
                        saved.sort_unstable();
                        saved.dedup();
                        view.save(saved.iter().map(|uid| Uid(*uid)).collect());
                    }
                    _ => {}
                }
                prop_assert_eq!(view.exists() as usize, client.places.len());
                prop_assert_eq!(uids(&view.resolve(&MessageSet::Saved, true).unwrap()), saved.clone());
                let mut before = None;
                for (at, uid) in client.places.iter().enumerate() {
                    prop_assert_eq!(view.sequence(Uid(*uid)), Some(at as u32 + 1));
                    prop_assert_eq!(view.sequence_after(&mut before, Uid(*uid)), Some(at as u32 + 1));
                }
                // Backwards it starts anew, and gaps are no matter.
                for (at, uid) in client.places.iter().enumerate().rev().chain(client.places.iter().enumerate().step_by(3)) {
                    prop_assert_eq!(view.sequence_after(&mut before, Uid(*uid)), Some(at as u32 + 1));
                }
            }
        }

        #[test]
        fn sets_resolve_as_defined(
            known in proptest::collection::btree_set(1..60u32, 0..20), wide: bool, set in crate::set::tests::any_set(),
        ) {
            let mut view = View::open(index(known.iter().copied()));
            if wide {
                // Far enough apart that the other way of building is taken.
                view = View::open(index(known.iter().copied().chain([4_000_000_000])));
            }
            let known = uids(view.known());
            let max = known.last().copied().unwrap_or(0);
            let ranges: Vec<_> = set.resolve(max).collect();
            let wanted: Vec<u32> = known.iter().copied().filter(|uid| ranges.iter().any(|range| range.contains(uid))).collect();
            let set = MessageSet::Numbers(set);
            prop_assert_eq!(uids(&view.resolve(&set, true).unwrap()), wanted);
            let MessageSet::Numbers(numbers) = &set else { unreachable!() };
            let count = known.len() as u32;
            let ranges: Vec<_> = numbers.resolve(count).collect();
            let legal = count > 0 && ranges.iter().all(|range| *range.end() <= count);
            let wanted = legal.then(|| {
                let places = 1..=count;
                places.filter(|at| ranges.iter().any(|range| range.contains(at))).map(|at| known[at as usize - 1]).collect::<Vec<_>>()
            });
            prop_assert_eq!(view.resolve(&set, false).ok().map(|set| uids(&set)), wanted);
        }
    }
}
