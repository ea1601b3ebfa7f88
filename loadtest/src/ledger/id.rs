//! A message's identity, and how it travels.

use std::fmt;
use std::str::FromStr;

use postrider_message::header;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The header field that carries a message's id, as `run-number` in hexadecimal.
pub const FIELD: &str = "X-Load-Id";

/// Identifies one message of a run; it travels in the header field [`FIELD`]. `run` tells runs against one server apart.
///
/// Written as `1f-2a`: run and number in hexadecimal, without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// The run's own number (from its seed and start time).
    pub run: u32,
    /// Which message of it; parts of a run (`--part 2/5`) use disjoint numbers.
    pub number: u64,
}

/// A text that is no [`MessageId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message id such as `1f-2a`")]
pub struct NotAnId;

impl MessageId {
    /// The id that a header block carries, if it is a message of a load generator.
    pub fn in_header(block: &[u8]) -> Option<Self> {
        let field = header::fields(block).find(|field| field.is(FIELD))?;
        let value = block.get(field.value)?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}", self.run, self.number)
    }
}

impl FromStr for MessageId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (run, number) = text.split_once('-').ok_or(NotAnId)?;
        // What `from_str_radix` takes beyond digits is a sign.
        if text.contains('+') {
            return Err(NotAnId);
        }
        Ok(Self {
            run: u32::from_str_radix(run, 16).map_err(|_| NotAnId)?,
            number: u64::from_str_radix(number, 16).map_err(|_| NotAnId)?,
        })
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MessageId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read() {
        for id in [
            MessageId { run: 0, number: 0 },
            MessageId {
                run: 0x1f,
                number: 0x2a,
            },
            MessageId {
                run: u32::MAX,
                number: u64::MAX,
            },
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<MessageId>(&json).unwrap(), id);
        }
        for wrong in [
            "",
            "-",
            "1f",
            "1f-",
            "-2a",
            "1f-2a-3",
            "+1-2",
            "1-+2",
            "100000000-1",
            "1 -2",
        ] {
            assert_eq!(wrong.parse::<MessageId>(), Err(NotAnId), "{wrong}");
        }
    }

    #[test]
    fn ids_are_found_in_headers() {
        let block = b"Received: by mx\r\nx-load-id:\r\n 1f-2a \r\nSubject: x\r\n\r\n";
        assert_eq!(
            MessageId::in_header(block),
            Some(MessageId {
                run: 0x1f,
                number: 0x2a
            })
        );
        assert_eq!(MessageId::in_header(b"Subject: X-Load-Id: 1-2\r\n\r\n"), None);
    }
}
