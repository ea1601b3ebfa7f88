//! The journal: one line for every step of every message, the record that `postrider trace` reads.
//!
//! [`FileJournal`] writes `DATA/journal/YYYY-MM-DD.jsonl` (days in UTC), [`read`](fn@read) reads them back.

use std::sync::Arc;

use parking_lot::Mutex;

mod file;
mod read;

pub use file::FileJournal;
pub use read::{Filter, Steps, read};

/// One step of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Step {
    /// Milliseconds since the Unix epoch; filled in when 0.
    pub time: u64,
    /// accepted, refused, stored, queued, attempt, delivered, deferred, failed, notified, cancelled
    pub step: String,
    /// Our id of the content (32 hexadecimal digits), or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// The Message-ID without angle brackets, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message_id: String,
    /// The queue unit, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// Reverse-path without angle brackets; empty when null or not known here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// Recipient, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// What happened, in one line: the peer, the folder and UID, the remote's reply.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Trace id (32 hexadecimal digits), or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
}

/// Where steps go. Recording never waits and never fails: the journal is for people, the rows are the truth.
pub trait Journal: Send + Sync + 'static {
    /// Records a step.
    fn record(&self, step: Step);
}

impl<J: Journal + ?Sized> Journal for Arc<J> {
    fn record(&self, step: Step) {
        (**self).record(step);
    }
}

/// Keeps nothing.
#[derive(Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn record(&self, _: Step) {}
}

/// Keeps everything in memory: for tests.
#[derive(Debug, Default)]
pub struct MemoryJournal(Mutex<Vec<Step>>);

impl MemoryJournal {
    /// What was recorded so far.
    pub fn steps(&self) -> Vec<Step> {
        self.0.lock().clone()
    }
}

impl Journal for MemoryJournal {
    fn record(&self, step: Step) {
        self.0.lock().push(step);
    }
}
