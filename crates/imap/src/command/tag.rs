//! Tags (RFC 9051 §2.2.1).

use std::fmt;

use smallvec::SmallVec;

use crate::response::is_astring_char;

/// `tag = 1*<any ASTRING-CHAR except "+">`, at most [`Tag::MAX`] characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(SmallVec<[u8; 16]>);

impl Tag {
    /// The longest tag that is taken.
    pub const MAX: usize = 128;

    /// Checks the grammar.
    pub fn new(text: &[u8]) -> Option<Self> {
        let valid = |byte: u8| is_astring_char(byte) && byte != b'+';
        let whole = (1..=Self::MAX).contains(&text.len()) && text.iter().all(|byte| valid(*byte));
        whole.then(|| Self(text.into()))
    }

    /// The tag that a line begins with, if it does.
    pub(crate) fn of(line: &[u8]) -> Option<Self> {
        let line = line.get(..line.len().min(Self::MAX + 1)).unwrap_or_default();
        let end = line
            .iter()
            .position(|byte| matches!(byte, b' ' | b'\r' | b'\n'))?;
        Self::new(line.get(..end)?)
    }

    /// As sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As sent.
    pub fn as_str(&self) -> &str {
        // Its grammar is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}
