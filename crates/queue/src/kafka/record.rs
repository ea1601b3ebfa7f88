//! A wake-up as a record of a topic.

use postrider_types::UnitId;
use prost::Message as _;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use super::topics::{DELAYS, Topic};
use crate::engine::{Lane, WakeUp};

/// The header that carries the message's trace (W3C Trace Context).
pub(super) const TRACE: &str = "traceparent";

/// A wake-up in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub wake_up: WakeUp,
    /// When it leaves a delay topic, milliseconds since the Unix epoch; it may be due later.
    pub leaves: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(bytes = "vec", tag = "1")]
    unit: Vec<u8>,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(uint64, tag = "3")]
    due: u64,
    #[prost(bool, tag = "4")]
    later: bool,
    #[prost(uint64, tag = "5")]
    leaves: u64,
}

impl Record {
    /// The record that says it now, and to which topic.
    pub fn of(wake_up: &WakeUp, now: u64) -> (Topic, Self) {
        let wait = wake_up.due.saturating_sub(now);
        let topic = Topic::for_wait(wait, wake_up.lane);
        let leaves = match topic {
            Topic::Delay(at) => wake_up.due.min(now + DELAYS[at]),
            _ => 0,
        };
        let wake_up = wake_up.clone();
        (topic, Self { wake_up, leaves })
    }

    pub fn key(&self) -> [u8; 4] {
        self.wake_up.key.to_be_bytes()
    }

    pub fn value(&self) -> Vec<u8> {
        let WakeUp {
            unit,
            generation,
            due,
            lane,
            ..
        } = &self.wake_up;
        Value {
            unit: unit.as_bytes().to_vec(),
            generation: *generation,
            due: *due,
            later: *lane == Lane::Later,
            leaves: self.leaves,
        }
        .encode_to_vec()
    }

    pub fn headers(&self) -> OwnedHeaders {
        let headers = OwnedHeaders::new();
        match self.wake_up.trace.as_str() {
            "" => headers,
            trace => headers.insert(Header {
                key: TRACE,
                value: Some(trace),
            }),
        }
    }

    /// From a record; the error says what is wrong with it.
    pub fn read(message: &impl Message) -> Result<Self, String> {
        let value = message.payload().ok_or("it has no value")?;
        let value = Value::decode(value).map_err(|error| error.to_string())?;
        let unit = UnitId::from_slice(&value.unit).ok_or("its unit's id has not 16 bytes")?;
        let key = message.key().and_then(|key| <[u8; 4]>::try_from(key).ok());
        // The library panics at a header whose name is not UTF-8.
        let trace = std::panic::AssertUnwindSafe(|| trace(message));
        let trace = std::panic::catch_unwind(trace).map_err(|_| "a header's name is not UTF-8")?;
        Ok(Self {
            wake_up: WakeUp {
                unit,
                generation: value.generation,
                due: value.due,
                lane: if value.later { Lane::Later } else { Lane::Fresh },
                token: 0,
                key: key.map_or(0, u32::from_be_bytes),
                trace: trace.unwrap_or_default(),
            },
            leaves: value.leaves,
        })
    }
}

fn trace(message: &impl Message) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == TRACE)?;
    std::str::from_utf8(found.value?).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn message(key: Option<Vec<u8>>, value: Option<Vec<u8>>, headers: Option<OwnedHeaders>) -> OwnedMessage {
        OwnedMessage::new(value, key, "t".into(), Timestamp::NotAvailable, 0, 0, headers)
    }

    #[test]
    fn what_is_written_is_read() {
        let wake_up = WakeUp {
            unit: UnitId::generate(),
            generation: 7,
            due: 100_000,
            lane: Lane::Later,
            token: 0,
            key: 99,
            trace: "00-1-2-01".into(),
        };
        for now in [100_000, 99_000, 0] {
            let (topic, record) = Record::of(&wake_up, now);
            assert_eq!(topic == Topic::Ready(Lane::Later), now == 100_000);
            assert!(record.leaves <= wake_up.due);
            let message = message(
                Some(record.key().to_vec()),
                Some(record.value()),
                Some(record.headers()),
            );
            assert_eq!(Record::read(&message), Ok(record));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for value in [None, Some(vec![]), Some(vec![255; 40]), Some(b"hello".to_vec())] {
            assert!(
                Record::read(&message(None, value.clone(), None)).is_err(),
                "{value:?}"
            );
        }
    }
}
