//! Sequence sets (RFC 9051 §9, `sequence-set`): ranges, never expanded, `*` unresolved.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use crate::parse::{Cursor, ParseError, Result};
use crate::response::number;

/// `seq-number = nz-number / "*"`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SeqNumber {
    /// A sequence number or a UID.
    Number(NonZeroU32),
    /// `*`: the largest in use.
    Star,
}

/// `seq-range = seq-number ":" seq-number`, or one number: both ends are the same then. The ends are in the order they were
/// written; either may be the larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqRange {
    /// The end written first.
    pub first: SeqNumber,
    /// The end written last.
    pub last: SeqNumber,
}

/// One to [`SequenceSet::MAX_RANGES`] ranges, as written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SequenceSet {
    ranges: SmallVec<[SeqRange; 2]>,
}

/// The messages a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MessageSet {
    /// Numbers or UIDs, by the command's form.
    Numbers(SequenceSet),
    /// `$`: the saved result of an earlier SEARCH (RFC 5182); resolves to nothing when there is none.
    Saved,
}

impl SeqNumber {
    /// The number, with `*` as the largest in use.
    fn resolve(self, largest: u32) -> u32 {
        match self {
            SeqNumber::Number(number) => number.get(),
            SeqNumber::Star => largest,
        }
    }

    fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        if cursor.eat(b'*') {
            return Ok(SeqNumber::Star);
        }
        let number = cursor.number("a sequence set")?;
        NonZeroU32::new(number)
            .map(SeqNumber::Number)
            .ok_or(ParseError::Expected("a sequence set without 0"))
    }

    fn put(self, out: &mut BytesMut) {
        match self {
            SeqNumber::Number(value) => number(out, value.get().into()),
            SeqNumber::Star => out.put_u8(b'*'),
        }
    }
}

impl SequenceSet {
    /// The most ranges in one set. A line of 64 KiB holds 32,768 single numbers.
    pub const MAX_RANGES: usize = 32_768;

    /// From ranges; `None` when there is none, or more than [`Self::MAX_RANGES`].
    pub fn new(ranges: impl IntoIterator<Item = SeqRange>) -> Option<Self> {
        let ranges: SmallVec<[SeqRange; 2]> = ranges.into_iter().take(Self::MAX_RANGES + 1).collect();
        (1..=Self::MAX_RANGES)
            .contains(&ranges.len())
            .then_some(Self { ranges })
    }

    /// From ascending numbers, which become the fewest ranges; zeros are left out.
    pub fn of_numbers(numbers: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut ranges: SmallVec<[(u32, u32); 2]> = SmallVec::new();
        for number in numbers.into_iter().filter(|number| *number != 0) {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        let end = |number| NonZeroU32::new(number).map_or(SeqNumber::Star, SeqNumber::Number);
        Self::new(ranges.into_iter().map(|(first, last)| SeqRange {
            first: end(first),
            last: end(last),
        }))
    }

    /// As written.
    pub fn ranges(&self) -> &[SeqRange] {
        &self.ranges
    }

    /// Whether `*` is in it.
    pub fn has_star(&self) -> bool {
        self.ranges
            .iter()
            .any(|range| range.first == SeqNumber::Star || range.last == SeqNumber::Star)
    }

    /// The ranges in order of their ends, `*` being `largest`. They may overlap and go beyond `largest`. With nothing in
    /// use (`largest` is 0) there are no ranges.
    pub fn resolve(&self, largest: u32) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        self.ranges.iter().filter(move |_| largest > 0).map(move |range| {
            let (first, last) = (range.first.resolve(largest), range.last.resolve(largest));
            first.min(last)..=first.max(last)
        })
    }

    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        let mut ranges = SmallVec::new();
        loop {
            if ranges.len() == Self::MAX_RANGES {
                return Err(ParseError::TooMany("ranges in a sequence set"));
            }
            let first = SeqNumber::parse(cursor)?;
            let last = if cursor.eat(b':') {
                SeqNumber::parse(cursor)?
            } else {
                first
            };
            ranges.push(SeqRange { first, last });
            if !cursor.eat(b',') {
                return Ok(Self { ranges });
            }
        }
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        for (at, range) in self.ranges.iter().enumerate() {
            if at > 0 {
                out.put_u8(b',');
            }
            range.first.put(out);
            if range.last != range.first {
                out.put_u8(b':');
                range.last.put(out);
            }
        }
    }
}

impl MessageSet {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self> {
        if cursor.eat(b'$') {
            return Ok(MessageSet::Saved);
        }
        SequenceSet::parse(cursor).map(MessageSet::Numbers)
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        match self {
            MessageSet::Saved => out.put_u8(b'$'),
            MessageSet::Numbers(set) => set.put(out),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_set() -> impl Strategy<Value = SequenceSet> {
        let end = || {
            prop_oneof![
                1 => Just(SeqNumber::Star),
                4 => (1..50u32).prop_map(|n| NonZeroU32::new(n).map_or(SeqNumber::Star, SeqNumber::Number)),
                1 => (1..=u32::MAX).prop_map(|n| NonZeroU32::new(n).map_or(SeqNumber::Star, SeqNumber::Number)),
            ]
        };
        proptest::collection::vec(
            (end(), end()).prop_map(|(first, last)| SeqRange { first, last }),
            1..6,
        )
        .prop_map(|ranges| SequenceSet::new(ranges).expect("one to five ranges"))
    }

    fn parse(text: &str) -> Result<SequenceSet> {
        let mut cursor = Cursor::new(text.as_bytes(), false);
        let set = SequenceSet::parse(&mut cursor)?;
        cursor.end()?;
        Ok(set)
    }

    #[test]
    fn stars_and_reversed_ranges() {
        let set = parse("2,4:7,9,12:*,*:4").unwrap();
        let ranges: Vec<_> = set.resolve(15).collect();
        assert_eq!(ranges, [2..=2, 4..=7, 9..=9, 12..=15, 4..=15]);
        // RFC 9051 §9: `*` is the largest in use even where the other end is larger.
        assert_eq!(parse("559:*").unwrap().resolve(5).collect::<Vec<_>>(), [5..=559]);
        assert_eq!(parse("1:*").unwrap().resolve(0).count(), 0);
    }

    #[test]
    fn what_is_no_set() {
        for bad in [
            "",
            "0",
            "1:",
            ":1",
            "1,",
            "a",
            "1:2:3",
            "4294967296",
            "1 2",
            "**",
            "$",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let many = vec!["1"; SequenceSet::MAX_RANGES + 1].join(",");
        assert_eq!(parse(&many), Err(ParseError::TooMany("ranges in a sequence set")));
    }

    #[test]
    fn numbers_become_ranges() {
        let set = SequenceSet::of_numbers([1, 2, 3, 7, 9, 10]).unwrap();
        let mut out = BytesMut::new();
        set.put(&mut out);
        assert_eq!(&out[..], b"1:3,7,9:10");
        assert_eq!(SequenceSet::of_numbers([]), None);
    }

    proptest! {
        #[test]
        fn sets_survive_their_text(set in any_set()) {
            let mut out = BytesMut::new();
            set.put(&mut out);
            prop_assert_eq!(parse(std::str::from_utf8(&out).unwrap()), Ok(set));
        }
    }
}
