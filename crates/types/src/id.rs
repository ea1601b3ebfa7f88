//! Identifiers. Numbers are numbers of their own kind, so that a UID is never taken for a folder.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self).map_err(|_| IdError { text: text.into(), expected: $expected })
            }
        }
    };
}

number! {
    /// The version of an account: the number of commits it has seen, 0 before the first. It is the account's
    /// only clock: MODSEQ, HIGHESTMODSEQ (RFC 7162), the JMAP state and the resume point of watchers. Never
    /// above `i64::MAX`, as RFC 7162 demands of a mod-sequence.
    Version(u64), "a version (a whole number)"
}
number! {
    /// A message's number in its folder (RFC 9051 §2.3.1.1): 1 or more, strictly ascending, never used again
    /// under one UIDVALIDITY. 0 stands for "none" only where a field says so.
    Uid(u32), "a UID (a whole number)"
}
number! {
    /// A folder's number in its account: 1 is INBOX, never used again after a folder is deleted.
    FolderId(u32), "a folder number"
}

impl FolderId {
    /// The folder that new mail enters; every account has it.
    pub const INBOX: FolderId = FolderId(1);
}

impl Version {
    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Uid {
    /// The UID after this one, or `None` when the folder has used all of them.
    pub fn checked_next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// An account: 63 random bits, chosen by the directory when the account is made. Positive as `i64`, so that it
/// is an integer key in every engine. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountId(u64);

impl AccountId {
    /// Takes the low 63 bits.
    pub const fn new(bits: u64) -> Self {
        Self(bits & (i64::MAX as u64))
    }

    /// The number, at most `i64::MAX`.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

impl FromStr for AccountId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = (text.len() == 16 && !text.starts_with('+'))
            .then(|| u64::from_str_radix(text, 16).ok())
            .flatten();
        match number {
            Some(bits) if bits <= i64::MAX as u64 => Ok(Self(bits)),
            _ => Err(IdError {
                text: text.into(),
                expected: "an account id (16 hexadecimal digits)",
            }),
        }
    }
}

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name([u8; 16]);

        impl $name {
            /// From its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// From a slice; `None` unless it has 16 bytes.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// A fresh one: UUID version 7 (RFC 9562 §5.7), so later ones sort behind earlier ones.
            pub fn generate() -> Self {
                Self(*uuid::Uuid::now_v7().as_bytes())
            }

            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// The millisecond since the Unix epoch at which `generate` made it. Meaningless for a derived id.
            pub fn unix_millis(&self) -> u64 {
                self.0[..6].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Written for every step of every message: digits by hand cost a tenth of sixteen `{:02x}`.
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                for byte in self.0 {
                    let pair = [byte >> 4, byte & 0x0f].map(|digit| char::from(DIGITS[usize::from(digit)]));
                    pair.into_iter().try_for_each(|digit| f.write_char(digit))?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { text: text.into(), expected: $expected };
                if text.len() != 32 || !text.is_ascii() {
                    return Err(error());
                }
                let mut bytes = [0; 16];
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| error())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

id16! {
    /// A stored message content, and the message itself: two copies in two folders of one account have the
    /// same id (RFC 8474 EMAILID). Time-ordered, written as 32 hexadecimal digits.
    ContentId, "a message id (32 hexadecimal digits)"
}
id16! {
    /// A conversation (RFC 8474 THREADID); the id of its first message.
    ThreadId, "a thread id (32 hexadecimal digits)"
}
id16! {
    /// One commit of one account; the head keeps the id of its last, so that an unknown outcome can be resolved.
    CommitId, "a commit id (32 hexadecimal digits)"
}
id16! {
    /// One delivery of one message to one account: the key of its receipt, the same in every retry.
    DeliveryId, "a delivery id (32 hexadecimal digits)"
}
id16! {
    /// One unit of the outbound queue: one message for one destination.
    UnitId, "a queue id (32 hexadecimal digits)"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let content = ContentId::generate();
        assert_eq!(content.to_string().parse(), Ok(content));
        let account = AccountId::new(u64::MAX);
        assert_eq!(account.to_string(), "7fffffffffffffff");
        assert_eq!(account.to_string().parse(), Ok(account));
        assert!("8000000000000000".parse::<AccountId>().is_err());
        assert!("+fffffffffffffff".parse::<AccountId>().is_err());
        assert!("zz".parse::<ContentId>().is_err());
    }

    #[test]
    fn generated_ids_are_ordered_in_time() {
        let (first, second) = (ContentId::generate(), ContentId::generate());
        assert!(first < second);
        assert!(second.unix_millis() - first.unix_millis() < 60_000);
    }
}
