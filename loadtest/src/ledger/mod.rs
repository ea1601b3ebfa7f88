//! The ledger: what was promised, what was taken away on purpose, and what is really there.
//!
//! A promise is written down durably before it counts as answered. Afterwards the ledger is reconciled with what IMAP, POP3
//! and the sink show. A transaction without an answer promises nothing: its message may be there once per recipient, or not.

use serde::{Deserialize, Serialize};

mod digest;
mod id;
mod journal;
mod line;
pub mod reconcile;

pub use digest::{Digested, Digester, decoded_digest, digest, is_seven_bit};
pub use id::{FIELD, MessageId};
pub use journal::{Ledger, LedgerError, PROMISES};
pub use line::{Lines, encode as encode_line};

/// One message for one recipient that the server has answered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// Which message.
    pub id: MessageId,
    /// Who must have it.
    pub recipient: String,
    /// Hash of its content (see [`digest`]).
    pub digest: u64,
    /// [`decoded_digest`] of its content: only where it is not 7-bit and goes to another server, which may have to convert it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded: Option<u64>,
    /// When its transaction began (before MAIL was written): microseconds since the run began.
    pub began: u64,
    /// When it was answered (after the reply was read): microseconds since the run began.
    pub at: u64,
}

/// A message seen somewhere: by a reader afterwards, by a POP3 poller before it deleted it, by the sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Which message.
    pub id: MessageId,
    /// In whose mailbox, or the envelope recipient at the sink.
    pub recipient: String,
    /// Hash of what was read ([`digest`]).
    pub digest: u64,
    /// [`decoded_digest`] of it, where the message may have been converted to 7 bits on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoded: Option<u64>,
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
    ///
    /// During a run only what is deleted is written down, twice: with `deleted: false` before QUIT is sent, since nobody
    /// knows what happened when no answer comes (the copy may be there or not: it is neither lost nor a duplicate), and
    /// with `deleted: true` after its `+OK` (the copy was there).
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
        /// Whether the sender was told 250. A sender that was not has to try again: such a copy is no duplicate.
        answered: bool,
        /// When: microseconds since 1970.
        when: u64,
    },
}

/// A line of the sink's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SinkEntry {
    /// It received a message for a recipient.
    Seen(Sighting),
    /// It refused a recipient for good (5yz): the server under load owes its sender a notification, not a delivery.
    Refused {
        /// The envelope recipient.
        recipient: String,
        /// Which message, when that was known: at its end. Otherwise the address takes none at all.
        message: Option<MessageId>,
        /// What it said.
        reply: String,
        /// When: microseconds since 1970.
        when: u64,
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
    /// Promised, but refused for good by the sink: whoever sent it was owed a notification, not a delivery.
    #[serde(default)]
    pub returned: u64,
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
