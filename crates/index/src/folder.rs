//! A folder at one version.

use bytes::Bytes;
use postrider_types::{Flags, SystemFlag, Uid, Version};

use crate::{Invalid, UidSet};

/// The first byte of an encoded index. Raise it when the layout changes; an unknown one is refused, and the index is
/// then built again from its messages.
const FORMAT: u8 = 1;
const FLAGS: usize = SystemFlag::ALL.len();
const SETS: usize = 1 + FLAGS;
const HEADER: usize = 1 + 8;

/// Which UIDs a folder has, and which bear which system flag, at one version of the account.
///
/// A flag is never set on a UID that does not exist. Sequence numbers (RFC 9051 §2.3.1.2) count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FolderIndex {
    version: Version,
    uids: UidSet,
    flags: [UidSet; FLAGS],
}

impl FolderIndex {
    /// An empty folder at a version.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            ..Self::default()
        }
    }

    /// From [`Self::to_bytes`]. Everything is checked; memory stays proportional to the length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        let (&format, rest) = bytes.split_first().ok_or(Invalid::Length)?;
        if format != FORMAT {
            return Err(Invalid::UnknownFormat(format));
        }
        let (version, mut rest) = rest.split_first_chunk::<8>().ok_or(Invalid::Length)?;
        let mut sets: [UidSet; SETS] = Default::default();
        for set in &mut sets {
            *set = take_set(&mut rest)?;
        }
        if !rest.is_empty() {
            return Err(Invalid::Length);
        }
        let [uids, flags @ ..] = sets;
        if !flags.iter().all(|set| set.is_subset(&uids)) {
            return Err(Invalid::Inconsistent);
        }
        Ok(Self {
            version: Version(u64::from_le_bytes(*version)),
            uids,
            flags,
        })
    }

    /// A message came to be, or is now as given.
    pub fn add(&mut self, uid: Uid, flags: Flags) {
        if uid.0 != 0 {
            self.uids.insert(uid);
            self.put_flags(uid, flags);
        }
    }

    /// A message's system flags are now as given. One that does not exist stays so.
    pub fn set_flags(&mut self, uid: Uid, flags: Flags) {
        if self.uids.contains(uid) {
            self.put_flags(uid, flags);
        }
    }

    /// A message is gone; whether it was there.
    pub fn remove(&mut self, uid: Uid) -> bool {
        self.put_flags(uid, Flags::EMPTY);
        self.uids.remove(uid)
    }

    /// Many messages are gone, in time that depends on the sets rather than on their members.
    pub fn remove_all(&mut self, uids: &UidSet) {
        self.uids = self.uids.difference(uids);
        for set in self.flags.iter_mut().filter(|set| !set.is_empty()) {
            *set = set.difference(uids);
        }
    }

    /// The index is now true of this version.
    pub fn advance(&mut self, version: Version) {
        self.version = version;
    }

    /// Takes the smallest encoding of every set; worth it before an index is kept or sent.
    pub fn compact(&mut self) {
        self.uids.compact();
        self.flags.iter_mut().for_each(UidSet::compact);
    }

    /// The version it is true of.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The UIDs that exist.
    pub fn uids(&self) -> &UidSet {
        &self.uids
    }

    /// Those that bear a flag.
    pub fn with_flag(&self, flag: SystemFlag) -> &UidSet {
        &self.flags[place(flag)]
    }

    /// Those that do not bear it.
    pub fn without_flag(&self, flag: SystemFlag) -> UidSet {
        self.uids.difference(self.with_flag(flag))
    }

    /// The system flags of a message; none for one that does not exist.
    pub fn flags(&self, uid: Uid) -> Flags {
        SystemFlag::ALL
            .into_iter()
            .filter(|flag| self.with_flag(*flag).contains(uid))
            .collect()
    }

    /// The system flags of messages, which ascend: for many of them at once this is much cheaper than one by one.
    pub fn flags_of(&self, uids: &[Uid]) -> Vec<Flags> {
        let mut flags = vec![Flags::EMPTY; uids.len()];
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            return flags;
        };
        for flag in SystemFlag::ALL {
            let mut rest = uids.iter().zip(&mut flags).peekable();
            for bearer in self.with_flag(flag).iter_range(*first..=*last) {
                while rest.next_if(|(uid, _)| **uid < bearer).is_some() {}
                if let Some((_, flags)) = rest.next_if(|(uid, _)| **uid == bearer) {
                    *flags = flags.with(flag);
                }
            }
        }
        flags
    }

    /// Messages in the folder (EXISTS).
    pub fn len(&self) -> u32 {
        self.uids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// The sequence number of a UID, if it exists.
    pub fn sequence(&self, uid: Uid) -> Option<u32> {
        self.uids.contains(uid).then(|| self.uids.rank(uid))
    }

    /// The UID of a sequence number, if there are that many.
    pub fn uid(&self, sequence: u32) -> Option<Uid> {
        self.uids.select(sequence)
    }

    /// Messages without `\Seen`.
    pub fn unseen(&self) -> u32 {
        self.uids
            .len()
            .saturating_sub(self.with_flag(SystemFlag::Seen).len())
    }

    /// The sequence number of the first message without `\Seen`, in logarithmic time.
    pub fn first_unseen(&self) -> Option<u32> {
        let seen = self.with_flag(SystemFlag::Seen);
        let all_seen_up_to = |sequence: u32| {
            self.uids
                .select(sequence)
                .is_some_and(|uid| seen.rank(uid) == sequence)
        };
        let (mut low, mut high) = (1, self.len());
        if low > high || all_seen_up_to(high) {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if all_seen_up_to(middle) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// Format (one byte), version (eight, little-endian), then for UIDs, `\Seen`, `\Answered`, `\Flagged`, `\Deleted`
    /// and `\Draft` each: length in bytes (four, little-endian; 0 for an empty set), portable roaring format.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.version.0.to_le_bytes());
        for set in self.sets() {
            let length = encoded_len(set);
            bytes.extend_from_slice(&(length as u32).to_le_bytes());
            if length > 0 {
                set.encode(&mut bytes);
            }
        }
        bytes.into()
    }

    /// How long [`Self::to_bytes`] is: also a fair measure of the memory the index takes.
    pub fn encoded_len(&self) -> usize {
        HEADER + self.sets().map(|set| 4 + encoded_len(set)).sum::<usize>()
    }

    fn sets(&self) -> impl Iterator<Item = &UidSet> {
        std::iter::once(&self.uids).chain(&self.flags)
    }

    fn put_flags(&mut self, uid: Uid, flags: Flags) {
        for flag in SystemFlag::ALL {
            let set = &mut self.flags[place(flag)];
            if flags.contains(flag) {
                set.insert(uid);
            } else {
                set.remove(uid);
            }
        }
    }
}

/// Where a flag's set is: its bit's number.
fn place(flag: SystemFlag) -> usize {
    (flag as u8).trailing_zeros() as usize
}

fn encoded_len(set: &UidSet) -> usize {
    if set.is_empty() { 0 } else { set.encoded_len() }
}

fn take_set(rest: &mut &[u8]) -> Result<UidSet, Invalid> {
    let (length, behind) = rest.split_first_chunk::<4>().ok_or(Invalid::Length)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (set, behind) = behind.split_at_checked(length).ok_or(Invalid::Length)?;
    *rest = behind;
    if set.is_empty() {
        Ok(UidSet::new())
    } else {
        UidSet::from_bytes(set)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_million_dense_messages_take_little() {
        let mut index = FolderIndex::new(Version(9));
        for uid in 1..=1_000_000 {
            index.add(Uid(uid), Flags::EMPTY.with(SystemFlag::Seen));
        }
        assert_eq!(index.first_unseen(), None);
        index.set_flags(Uid(777_777), Flags::EMPTY);
        index.remove(Uid(5));
        index.compact();
        assert_eq!(index.first_unseen(), Some(777_776));
        assert_eq!(index.unseen(), 1);
        assert!(index.encoded_len() < 1024, "{}", index.encoded_len());
        assert_eq!(index.to_bytes().len(), index.encoded_len());
    }

    #[test]
    fn every_flag_has_its_place() {
        for (at, flag) in SystemFlag::ALL.into_iter().enumerate() {
            assert_eq!(place(flag), at);
        }
    }

    #[test]
    fn what_is_not_an_index_is_refused() {
        let mut index = FolderIndex::new(Version(1));
        index.add(Uid(1), Flags::from_bits(31));
        let bytes = index.to_bytes().to_vec();
        assert_eq!(FolderIndex::from_bytes(&[]), Err(Invalid::Length));
        assert_eq!(FolderIndex::from_bytes(&[2; 60]), Err(Invalid::UnknownFormat(2)));
        for cut in 1..bytes.len() {
            assert!(FolderIndex::from_bytes(&bytes[..cut]).is_err());
        }
        assert_eq!(
            FolderIndex::from_bytes(&[&bytes[..], &[0]].concat()),
            Err(Invalid::Length)
        );
        // A flag on a message that is not there: take the set of UIDs away.
        let mut hollow = bytes[..HEADER].to_vec();
        hollow.extend([0; 4]);
        let behind_uids = HEADER + 4 + index.uids().encoded_len();
        hollow.extend(&bytes[behind_uids..]);
        assert_eq!(FolderIndex::from_bytes(&hollow), Err(Invalid::Inconsistent));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(u32, u8),
        Flags(u32, u8),
        Remove(u32),
        RemoveAll(Vec<u32>),
        Recode,
    }

    fn step() -> impl Strategy<Value = Step> {
        let uid = || prop_oneof![1..60u32, 65_500..65_560u32];
        prop_oneof![
            3 => (uid(), 0..32u8).prop_map(|(uid, flags)| Step::Add(uid, flags)),
            2 => (uid(), 0..32u8).prop_map(|(uid, flags)| Step::Flags(uid, flags)),
            1 => uid().prop_map(Step::Remove),
            1 => proptest::collection::vec(uid(), 0..10).prop_map(Step::RemoveAll),
            1 => Just(Step::Recode),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_folder(steps in proptest::collection::vec(step(), 0..80)) {
            let (mut index, mut model) = (FolderIndex::new(Version(0)), BTreeMap::new());
            for (version, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Add(uid, flags) => {
                        index.add(Uid(uid), Flags::from_bits(flags));
                        model.insert(uid, Flags::from_bits(flags));
                    }
                    Step::Flags(uid, flags) => {
                        index.set_flags(Uid(uid), Flags::from_bits(flags));
                        model.entry(uid).and_modify(|now| *now = Flags::from_bits(flags));
                    }
                    Step::Remove(uid) => prop_assert_eq!(index.remove(Uid(uid)), model.remove(&uid).is_some()),
                    Step::RemoveAll(uids) => {
                        index.remove_all(&uids.iter().map(|uid| Uid(*uid)).collect());
                        model.retain(|uid, _| !uids.contains(uid));
                    }
                    Step::Recode => {
                        index.compact();
                        index = FolderIndex::from_bytes(&index.to_bytes()).expect("its own bytes");
                    }
                }
                index.advance(Version(version as u64 + 1));
            }
            prop_assert_eq!(index.len() as usize, model.len());
            let unseen: Vec<u32> = model.iter().enumerate()
                .filter(|(_, (_, flags))| !flags.contains(SystemFlag::Seen)).map(|(at, _)| at as u32 + 1).collect();
            prop_assert_eq!(index.unseen() as usize, unseen.len());
            prop_assert_eq!(index.first_unseen(), unseen.first().copied());
            for (at, (uid, flags)) in model.iter().enumerate() {
                let sequence = at as u32 + 1;
                prop_assert_eq!(index.sequence(Uid(*uid)), Some(sequence));
                prop_assert_eq!(index.uid(sequence), Some(Uid(*uid)));
                prop_assert_eq!(index.flags(Uid(*uid)), *flags);
            }
            prop_assert_eq!(index.sequence(Uid(61)), None);
            prop_assert_eq!(index.uid(model.len() as u32 + 1), None);
            for flag in SystemFlag::ALL {
                prop_assert!(index.with_flag(flag).is_subset(index.uids()));
                prop_assert_eq!(index.without_flag(flag).len() + index.with_flag(flag).len(), index.len());
            }
            prop_assert_eq!(FolderIndex::from_bytes(&index.to_bytes()), Ok(index));
        }
    }
}
