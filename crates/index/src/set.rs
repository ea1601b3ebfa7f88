//! A set of UIDs.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use postrider_types::Uid;
use roaring::RoaringBitmap;

use crate::Invalid;

static EMPTY: LazyLock<RoaringBitmap> = LazyLock::new(RoaringBitmap::new);

/// A set of UIDs, 1 to 2^32 - 1, as a compressed bitmap.
///
/// Cloning shares the bitmap; a change to a shared one copies it first. UID 0 is never in a set: inserting it does nothing.
#[derive(Clone, Default)]
pub struct UidSet(Option<Arc<RoaringBitmap>>);

impl UidSet {
    /// The longest encoded set that is accepted, in bytes. Every set of four million UIDs or fewer fits, and far larger
    /// ones when they are dense.
    pub const MAX_BYTES: usize = 3 << 20;

    /// The empty set.
    pub const fn new() -> Self {
        Self(None)
    }

    /// The union of ranges, in any order, overlapping or empty ones included.
    pub fn from_ranges(ranges: impl IntoIterator<Item = RangeInclusive<Uid>>) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert_range(range);
        }
        set
    }

    /// From the portable roaring format: at most [`Self::MAX_BYTES`], fully checked, nothing behind it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Invalid::TooLong {
                length: bytes.len(),
                limit: Self::MAX_BYTES,
            });
        }
        let mut reader = bytes;
        let bitmap = RoaringBitmap::deserialize_from(&mut reader).map_err(|_| Invalid::Format)?;
        if !reader.is_empty() {
            return Err(Invalid::Format);
        }
        if bitmap.contains(0) {
            return Err(Invalid::ZeroUid);
        }
        Ok(Self::from(bitmap))
    }

    /// Adds a UID; whether it was not there before.
    pub fn insert(&mut self, uid: Uid) -> bool {
        uid.0 != 0 && !self.contains(uid) && self.bitmap_mut().insert(uid.0)
    }

    /// Adds every UID of a range (as a run, whatever its length).
    pub fn insert_range(&mut self, range: RangeInclusive<Uid>) {
        let (first, last) = (range.start().0.max(1), range.end().0);
        if first <= last {
            self.bitmap_mut().insert_range(first..=last);
        }
    }

    /// Removes a UID; whether it was there.
    pub fn remove(&mut self, uid: Uid) -> bool {
        if !self.contains(uid) {
            return false;
        }
        let removed = self.bitmap_mut().remove(uid.0);
        self.normalise();
        removed
    }

    /// Removes every UID of a range.
    pub fn remove_range(&mut self, range: RangeInclusive<Uid>) {
        if self.0.is_some() && !range.is_empty() {
            self.bitmap_mut().remove_range(range.start().0..=range.end().0);
            self.normalise();
        }
    }

    /// Takes the smallest encoding: runs where they are shorter. Costs time in the order of the set's memory, and a
    /// copy of it when it is shared.
    pub fn compact(&mut self) {
        if let Some(bitmap) = &mut self.0 {
            Arc::make_mut(bitmap).optimize();
        }
    }

    /// Whether the UID is in the set.
    pub fn contains(&self, uid: Uid) -> bool {
        self.bitmap().contains(uid.0)
    }

    /// How many UIDs.
    pub fn len(&self) -> u32 {
        // UID 0 is never in, so that 2^32 - 1 is the most.
        self.bitmap().len() as u32
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The smallest UID.
    pub fn min(&self) -> Option<Uid> {
        self.bitmap().min().map(Uid)
    }

    /// The largest UID.
    pub fn max(&self) -> Option<Uid> {
        self.bitmap().max().map(Uid)
    }

    /// How many UIDs of the set are at most `uid`.
    pub fn rank(&self, uid: Uid) -> u32 {
        self.bitmap().rank(uid.0) as u32
    }

    /// The `n`th UID in ascending order, counted from 1: `select(rank(uid)) == Some(uid)` for each member.
    pub fn select(&self, n: u32) -> Option<Uid> {
        self.bitmap().select(n.checked_sub(1)?).map(Uid)
    }

    /// How many UIDs of the set are in the range.
    pub fn range_len(&self, range: RangeInclusive<Uid>) -> u32 {
        self.bitmap().range_cardinality(range.start().0..=range.end().0) as u32
    }

    /// The UIDs, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Uid> + '_ {
        self.bitmap().iter().map(Uid)
    }

    /// The UIDs in a range, ascending.
    pub fn iter_range(&self, range: RangeInclusive<Uid>) -> impl DoubleEndedIterator<Item = Uid> + '_ {
        self.bitmap().range(range.start().0..=range.end().0).map(Uid)
    }

    /// The set as the fewest ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<Uid>> + '_ {
        let mut iter = self.bitmap().iter();
        std::iter::from_fn(move || {
            iter.next_range()
                .map(|range| Uid(*range.start())..=Uid(*range.end()))
        })
    }

    /// The UIDs that are in both.
    #[must_use]
    pub fn intersection(&self, other: &UidSet) -> UidSet {
        self.combine(other, |a, b| a & b)
    }

    /// The UIDs that are in either.
    #[must_use]
    pub fn union(&self, other: &UidSet) -> UidSet {
        match (&self.0, &other.0) {
            (_, None) => self.clone(),
            (None, _) => other.clone(),
            _ => self.combine(other, |a, b| a | b),
        }
    }

    /// The UIDs of this set that are not in the other.
    #[must_use]
    pub fn difference(&self, other: &UidSet) -> UidSet {
        if other.is_empty() {
            self.clone()
        } else {
            self.combine(other, |a, b| a - b)
        }
    }

    /// How many are in both.
    pub fn intersection_len(&self, other: &UidSet) -> u32 {
        self.bitmap().intersection_len(other.bitmap()) as u32
    }

    /// Whether every UID of this set is in the other.
    pub fn is_subset(&self, other: &UidSet) -> bool {
        self.bitmap().is_subset(other.bitmap())
    }

    /// In the portable roaring format.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.encoded_len());
        self.encode(&mut bytes);
        bytes.into()
    }

    /// How long [`Self::to_bytes`] is: also a fair measure of the memory the set takes.
    pub fn encoded_len(&self) -> usize {
        self.bitmap().serialized_size()
    }

    /// Appends the portable roaring format.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        // Writing to a Vec cannot fail.
        let _ = self.bitmap().serialize_into(bytes);
    }

    fn combine(
        &self,
        other: &UidSet,
        with: impl FnOnce(&RoaringBitmap, &RoaringBitmap) -> RoaringBitmap,
    ) -> UidSet {
        Self::from(with(self.bitmap(), other.bitmap()))
    }

    fn bitmap(&self) -> &RoaringBitmap {
        self.0.as_deref().unwrap_or(&EMPTY)
    }

    fn bitmap_mut(&mut self) -> &mut RoaringBitmap {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// Keeps the rule that an empty set owns nothing.
    fn normalise(&mut self) {
        if self.bitmap().is_empty() {
            self.0 = None;
        }
    }
}

impl From<RoaringBitmap> for UidSet {
    fn from(bitmap: RoaringBitmap) -> Self {
        Self((!bitmap.is_empty()).then(|| Arc::new(bitmap)))
    }
}

impl From<Uid> for UidSet {
    fn from(uid: Uid) -> Self {
        std::iter::once(uid).collect()
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        set.extend(uids);
        set
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, uids: I) {
        let mut uids = uids
            .into_iter()
            .map(|uid| uid.0)
            .filter(|uid| *uid != 0)
            .peekable();
        if uids.peek().is_some() {
            self.bitmap_mut().extend(uids);
        }
    }
}

impl PartialEq for UidSet {
    fn eq(&self, other: &Self) -> bool {
        self.bitmap() == other.bitmap()
    }
}

impl Eq for UidSet {}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A full set has four billion members; a few ranges say enough.
        const SHOWN: usize = 16;
        let mut set = f.debug_set();
        for range in self.ranges().take(SHOWN) {
            set.entry(&(range.start().0..=range.end().0));
        }
        if self.ranges().nth(SHOWN).is_some() {
            set.entry(&format_args!("… {} in all", self.len()));
        }
        set.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(first: u32, last: u32) -> RangeInclusive<Uid> {
        Uid(first)..=Uid(last)
    }

    #[test]
    fn a_known_set_has_known_bytes() {
        // Cookie 12346, one container of key 0 with three values, at offset 16.
        let set: UidSet = [Uid(1), Uid(2), Uid(7)].into_iter().collect();
        assert_eq!(
            &set.to_bytes()[..],
            [
                0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 1, 0, 2, 0, 7, 0
            ]
        );
        assert_eq!(UidSet::from_bytes(&set.to_bytes()), Ok(set));
    }

    #[test]
    fn zero_is_never_in() {
        let mut set = UidSet::from_ranges([range(0, 2)]);
        assert!(!set.insert(Uid(0)));
        set.extend([Uid(0)]);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Uid(1), Uid(2)]);
        assert_eq!(set.select(0), None);
        let with_zero = RoaringBitmap::from([0, 1]);
        let mut bytes = Vec::new();
        with_zero.serialize_into(&mut bytes).expect("a vec takes all");
        assert_eq!(UidSet::from_bytes(&bytes), Err(Invalid::ZeroUid));
    }

    #[test]
    fn the_fullest_set_is_small_and_fits() {
        let all = UidSet::from_ranges([range(1, u32::MAX)]);
        assert_eq!(all.len(), u32::MAX);
        let bytes = all.to_bytes();
        assert!(bytes.len() < UidSet::MAX_BYTES);
        assert_eq!(UidSet::from_bytes(&bytes), Ok(all));
    }

    #[test]
    fn what_is_not_a_set_is_refused() {
        let bytes = UidSet::from_ranges([range(5, 90_000)]).to_bytes();
        assert_eq!(UidSet::from_bytes(&[]), Err(Invalid::Format));
        assert_eq!(
            UidSet::from_bytes(&bytes[..bytes.len() - 1]),
            Err(Invalid::Format)
        );
        assert_eq!(
            UidSet::from_bytes(&[&bytes[..], b"x"].concat()),
            Err(Invalid::Format)
        );
        assert!(matches!(
            UidSet::from_bytes(&vec![0; UidSet::MAX_BYTES + 1]),
            Err(Invalid::TooLong { .. })
        ));
        // Claims 2^32 - 1 containers: refused before anything is allocated for them.
        assert_eq!(
            UidSet::from_bytes(&[0x3a, 0x30, 0, 0, 255, 255, 255, 255]),
            Err(Invalid::Format)
        );
    }

    #[test]
    fn a_clone_is_not_changed_through_the_other() {
        let first = UidSet::from_ranges([range(1, 10)]);
        let mut second = first.clone();
        second.remove_range(range(1, 10));
        assert!(second.is_empty());
        assert_eq!(first.len(), 10);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32),
        Remove(u32),
        InsertRange(u32, u32),
        RemoveRange(u32, u32),
        Compact,
        Recode,
    }

    fn uid() -> impl Strategy<Value = u32> {
        prop_oneof![0..200u32, 65_400..65_700u32, u32::MAX - 50..=u32::MAX]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            uid().prop_map(Step::Insert),
            uid().prop_map(Step::Remove),
            (uid(), 0..200u32).prop_map(|(first, more)| Step::InsertRange(first, first.saturating_add(more))),
            (uid(), 0..200u32).prop_map(|(first, more)| Step::RemoveRange(first, first.saturating_add(more))),
            Just(Step::Compact),
            Just(Step::Recode),
        ]
    }

    fn run(steps: &[Step]) -> (UidSet, BTreeSet<u32>) {
        let (mut set, mut model) = (UidSet::new(), BTreeSet::new());
        for step in steps {
            match *step {
                Step::Insert(uid) => assert_eq!(set.insert(Uid(uid)), uid != 0 && model.insert(uid)),
                Step::Remove(uid) => assert_eq!(set.remove(Uid(uid)), model.remove(&uid)),
                Step::InsertRange(first, last) => {
                    set.insert_range(range(first, last));
                    model.extend((first..=last).filter(|uid| *uid != 0));
                }
                Step::RemoveRange(first, last) => {
                    set.remove_range(range(first, last));
                    model.retain(|uid| !(first..=last).contains(uid));
                }
                Step::Compact => set.compact(),
                Step::Recode => set = UidSet::from_bytes(&set.to_bytes()).expect("its own bytes"),
            }
        }
        (set, model)
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_set(steps in proptest::collection::vec(step(), 0..40), probe in uid()) {
            let (set, model) = run(&steps);
            prop_assert_eq!(set.iter().map(|uid| uid.0).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.len() as usize, model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.contains(Uid(probe)), model.contains(&probe));
            prop_assert_eq!(set.rank(Uid(probe)) as usize, model.range(..=probe).count());
            prop_assert_eq!(set.min().map(|uid| uid.0), model.first().copied());
            prop_assert_eq!(set.max().map(|uid| uid.0), model.last().copied());
            let near = probe..=probe.saturating_add(100);
            prop_assert_eq!(
                set.iter_range(range(*near.start(), *near.end())).map(|uid| uid.0).collect::<Vec<_>>(),
                model.range(near.clone()).copied().collect::<Vec<_>>()
            );
            prop_assert_eq!(set.range_len(range(*near.start(), *near.end())) as usize, model.range(near).count());
            for (place, uid) in model.iter().enumerate() {
                prop_assert_eq!(set.select(place as u32 + 1), Some(Uid(*uid)));
            }
            prop_assert_eq!(set.select(model.len() as u32 + 1), None);
            prop_assert_eq!(&UidSet::from_ranges(set.ranges()), &set);
        }

        #[test]
        fn sets_combine(a in proptest::collection::vec(step(), 0..20), b in proptest::collection::vec(step(), 0..20)) {
            let ((a, model_a), (b, model_b)) = (run(&a), run(&b));
            let set = |uids: Vec<&u32>| uids.into_iter().map(|uid| Uid(*uid)).collect::<UidSet>();
            prop_assert_eq!(a.union(&b), set(model_a.union(&model_b).collect()));
            prop_assert_eq!(a.intersection(&b), set(model_a.intersection(&model_b).collect()));
            prop_assert_eq!(a.difference(&b), set(model_a.difference(&model_b).collect()));
            prop_assert_eq!(a.intersection_len(&b) as usize, model_a.intersection(&model_b).count());
            prop_assert_eq!(a.is_subset(&b), model_a.is_subset(&model_b));
        }

        #[test]
        fn no_bytes_can_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200), run in any::<bool>()) {
            let mut bytes = bytes;
            if bytes.len() > 4 {
                let cookie: u32 = if run { 12347 } else { 12346 };
                bytes[..2].copy_from_slice(&cookie.to_le_bytes()[..2]);
            }
            if let Ok(set) = UidSet::from_bytes(&bytes) {
                prop_assert_eq!(UidSet::from_bytes(&set.to_bytes()), Ok(set));
            }
        }

        #[test]
        fn damaged_bytes_cannot_harm(steps in proptest::collection::vec(step(), 0..30), at in any::<prop::sample::Index>(), with: u8) {
            let mut bytes = run(&steps).0.to_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= with;
            if let Ok(set) = UidSet::from_bytes(&bytes) {
                let members: Vec<Uid> = set.iter().take(100_000).collect();
                prop_assert!(members.is_sorted());
            }
        }
    }
}
