//! The ledger: what was promised, what was taken away on purpose, and what is really there.
//!
//! A promise is written down durably before it counts as answered. Afterwards the ledger is reconciled with what IMAP, POP3
//! and the sink show. A transaction without an answer promises nothing: its message may be there once per recipient, or not.

use serde::{Deserialize, Serialize};

/// Identifies one message of a run; it travels in the header field [`FIELD`]. `run` tells runs against one server apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MessageId {
    /// The run's own number (from its seed and start time).
    pub run: u32,
    /// Which message of it; parts of a run (`--part 2/5`) use disjoint numbers.
    pub number: u64,
}

/// The header field that carries a message's id, as `run-number` in hexadecimal.
pub const FIELD: &str = "X-Load-Id";

/// One message for one recipient that the server has answered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Which message.
    pub id: MessageId,
    /// Who must have it.
    pub recipient: String,
    /// Hash of its content (see [`digest`]).
    pub digest: u64,
    /// When it was answered: microseconds since the run began.
    pub at: u64,
}

/// A message seen somewhere: by a reader afterwards, by a POP3 poller before it deleted it, by the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which message.
    pub id: MessageId,
    /// In whose mailbox, or the envelope recipient at the sink.
    pub recipient: String,
    /// Hash of what was read.
    pub digest: u64,
    /// Where, exactly: two sightings with the same place are one copy.
    pub place: Place,
}

/// Where a copy was seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum Place {
    /// A mailbox, read through IMAP.
    Mailbox {
        /// Its name.
        name: String,
        /// Its UIDVALIDITY.
        uidvalidity: u32,
        /// The UID.
        uid: u32,
    },
    /// A maildrop, read through POP3; the unique id of UIDL.
    Maildrop {
        /// The unique id.
        uid: String,
        /// Whether the session that read it also deleted it (QUIT was answered `+OK`).
        deleted: bool,
    },
    /// The sink; transactions there are numbered.
    Sink {
        /// Which transaction.
        transaction: u64,
    },
}

/// What reconciling found. Counts are of message × recipient.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// How many were promised.
    pub promised: u64,
    /// How many of those were found.
    pub found: u64,
    /// Without an answer, but there: allowed, and counted.
    pub unpromised: u64,
    /// Promised and not there.
    pub lost: Findings,
    /// There more than once.
    pub duplicated: Findings,
    /// There, but with other content.
    pub altered: Findings,
    /// UIDs against the order of their answers on one connection-after-another sequence to the same mailbox.
    pub out_of_order: Findings,
}

/// How many, and which: all of them in the ledger's own file, the first thousand here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// `id recipient` with a word on what was seen, at most 1,000.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether every promise was kept, once, unaltered and in order.
    pub fn is_clean(&self) -> bool {
        [&self.lost, &self.duplicated, &self.altered, &self.out_of_order]
            .iter()
            .all(|findings| findings.count == 0)
    }
}

/// The open ledger of a run: a directory with `promises` and `sightings`, appended to and synced. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger;
