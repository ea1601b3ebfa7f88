//! Message flags (RFC 9051 §2.3.2): system flags as bits, everything else as keywords.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A system flag. `\Recent` (RFC 3501) is not among them: it belongs to a session, not to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SystemFlag {
    /// `\Seen`
    Seen = 1,
    /// `\Answered`
    Answered = 2,
    /// `\Flagged`
    Flagged = 4,
    /// `\Deleted`
    Deleted = 8,
    /// `\Draft`
    Draft = 16,
}

impl SystemFlag {
    /// All of them, in bit order.
    pub const ALL: [SystemFlag; 5] = [
        Self::Seen,
        Self::Answered,
        Self::Flagged,
        Self::Deleted,
        Self::Draft,
    ];

    /// As IMAP writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }

    /// From IMAP's spelling, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|flag| flag.as_str().eq_ignore_ascii_case(text))
    }
}

/// A set of system flags in one byte.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const EMPTY: Flags = Flags(0);

    /// From its byte; unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }

    /// Its byte: `\Seen` is 1, `\Answered` 2, `\Flagged` 4, `\Deleted` 8, `\Draft` 16.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the flag is set.
    pub const fn contains(self, flag: SystemFlag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// This set and the flag.
    #[must_use]
    pub const fn with(self, flag: SystemFlag) -> Self {
        Self(self.0 | flag as u8)
    }

    /// This set without the flag.
    #[must_use]
    pub const fn without(self, flag: SystemFlag) -> Self {
        Self(self.0 & !(flag as u8))
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Flags) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the other.
    #[must_use]
    pub const fn difference(self, other: Flags) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags that are set, in bit order.
    pub fn iter(self) -> impl Iterator<Item = SystemFlag> {
        SystemFlag::ALL
            .into_iter()
            .filter(move |flag| self.contains(*flag))
    }
}

impl FromIterator<SystemFlag> for Flags {
    fn from_iter<I: IntoIterator<Item = SystemFlag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.iter().map(SystemFlag::as_str))
            .finish()
    }
}

/// A text that cannot be a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a keyword is 1 to 255 printable ASCII characters without space and ( ) {{ % * \" \\ ]")]
pub struct KeywordError;

/// A keyword (`flag-keyword = "$MDNSent" / … / atom`, RFC 9051 §9): equal in any case, kept as first written.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct Keyword(Box<str>);

impl Keyword {
    /// The most keywords a message can bear; more are refused with a clear error.
    pub const MAX_PER_MESSAGE: usize = 64;

    /// Checks that the text is an IMAP atom of at most 255 characters.
    pub fn new(text: &str) -> Result<Self, KeywordError> {
        let atom = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\]".contains(&byte);
        if text.is_empty() || text.len() > 255 || !text.bytes().all(atom) {
            return Err(KeywordError);
        }
        Ok(Self(text.into()))
    }

    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let lower = |text: &str| {
            text.bytes()
                .map(|byte| byte.to_ascii_lowercase())
                .collect::<Vec<_>>()
        };
        lower(&self.0).cmp(&lower(&other.0))
    }
}

impl std::hash::Hash for Keyword {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        for byte in self.0.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_a_set() {
        let flags: Flags = [SystemFlag::Seen, SystemFlag::Draft].into_iter().collect();
        assert_eq!(flags.bits(), 17);
        assert_eq!(
            flags.without(SystemFlag::Seen).iter().collect::<Vec<_>>(),
            [SystemFlag::Draft]
        );
        assert_eq!(Flags::from_bits(255).bits(), 31);
        assert_eq!(SystemFlag::parse("\\sEEN"), Some(SystemFlag::Seen));
    }

    #[test]
    fn keywords_are_atoms_equal_in_any_case() {
        assert_eq!(Keyword::new("$Forwarded"), Keyword::new("$forwarded"));
        for bad in ["", "a b", "\\Seen", "a(", "é", "a]", &"x".repeat(256)] {
            assert_eq!(Keyword::new(bad), Err(KeywordError), "{bad}");
        }
    }
}
