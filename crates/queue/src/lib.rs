//! The outbound queue: unit state machine, memory, embedded and Kafka engines, contract suite.
//!
//! The state rows are the truth; wake-ups distribute work and may be lost. [`unit`] says what a unit is, [`machine`] what can
//! happen to it, [`notice`] why a notification is sent once, [`engine`] what an engine must do. [`Queue`] puts them together.
//!
//! A sender of mail calls [`Queue::enqueue`]; a worker [`Queue::take`], [`Queue::claim`], [`Queue::judge`] and
//! [`Queue::finish`]; an operator [`Queue::list`], [`Queue::act`] and [`Queue::suspend`].
//!
//! This crate does not know SMTP, DNS, what a notification looks like, or where content is stored.

mod embedded;
pub mod engine;
mod error;
pub mod kafka;
pub mod machine;
pub mod memory;
pub mod notice;
mod queue;
mod retry;
mod stored;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
#[cfg(test)]
mod tests;
mod timer;
pub mod unit;

pub use embedded::Embedded;
pub use error::{Error, Result};
pub use kafka::{Kafka, KafkaConfig};
pub use machine::{Outcome, Report, Verb, Verdict};
pub use memory::Memory;
pub use notice::{Notice, NoticeKind};
pub use queue::{Claim, Claimed, Clock, Queue, Settings, Settled, Ticket, system_clock};
pub use retry::RetryPolicy;
pub use unit::{
    Destination, LocalDelivery, NewUnit, Notify, Priority, Recipient, RecipientState, State, Unit,
};
