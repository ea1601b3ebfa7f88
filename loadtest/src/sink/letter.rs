//! A transaction at the sink: the envelope, and what is made of the message while it streams by.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::record::epoch_micros;
use crate::ledger::{Digester, MessageId, Place, Sighting, decoded_digest};

/// A message longer than this is not kept for [`decoded_digest`], in octets.
const MOST_KEPT: usize = 8 << 20;

/// Messages kept at once by all visits, in octets; what comes beyond is not compared by its decoded parts.
const ALL_KEPT: u64 = 256 << 20;

/// A transaction.
pub(super) struct Letter {
    pub sender: String,
    pub size: Option<u64>,
    pub recipients: Vec<String>,
    digester: Digester,
    pub received: u64,
    /// The connection is dropped when so much has come.
    pub drop_at: Option<u64>,
    kept: Option<Kept>,
}

/// A message kept whole, against the budget of all.
struct Kept {
    content: Vec<u8>,
    shared: Arc<Shared>,
}

impl Letter {
    /// A transaction that has begun. `keeper`: the message is kept for its decoded digest, against everybody's budget.
    pub(super) fn new(sender: String, size: Option<u64>, keeper: Option<Arc<Shared>>) -> Self {
        Self {
            sender,
            size,
            recipients: Vec::new(),
            digester: Digester::default(),
            received: 0,
            drop_at: None,
            kept: keeper.map(Kept::new),
        }
    }

    /// Takes the next piece of the message.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        self.digester.push(piece);
        if let Some(kept) = &mut self.kept
            && !kept.push(piece)
        {
            self.kept = None;
        }
    }

    /// Whether so much has come that the connection is to be dropped.
    pub(super) fn is_cut(&self) -> bool {
        self.drop_at.is_some_and(|at| self.received > at)
    }

    /// What it was, for each recipient.
    pub(super) fn sightings(self, shared: &Shared, answered: bool) -> (Option<MessageId>, Vec<Sighting>) {
        let read = self.digester.finish();
        let Some(id) = read.id else {
            return (None, Vec::new());
        };
        let decoded = self.kept.as_ref().map(|kept| decoded_digest(&kept.content));
        let place = Place::Sink {
            transaction: shared.record.transaction(),
            answered,
            when: epoch_micros(),
        };
        let sightings = self.recipients.into_iter().map(|recipient| Sighting {
            id,
            recipient,
            digest: read.digest,
            decoded,
            place: place.clone(),
        });
        (Some(id), sightings.collect())
    }
}

impl Kept {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            content: Vec::new(),
            shared,
        }
    }

    /// Keeps a piece; false when it is too much.
    fn push(&mut self, piece: &[u8]) -> bool {
        let before = self.shared.kept.fetch_add(piece.len() as u64, Ordering::Relaxed);
        self.content.extend_from_slice(piece);
        before < ALL_KEPT && self.content.len() <= MOST_KEPT
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shared
            .kept
            .fetch_sub(self.content.len() as u64, Ordering::Relaxed);
    }
}
