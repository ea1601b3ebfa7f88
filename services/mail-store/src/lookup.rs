//! What operations ask of an account's rows before they are planned, read for a whole batch at once.
//!
//! Most deliveries are new, and most messages begin a conversation: their receipts and Message-IDs are not there. A commit that puts what is
//! there is refused ([`Outcome::Known`](postrider_store::account::Outcome::Known)), so a batch is first planned without asking for these, and
//! again with all answers only if the engine knew something.

use std::collections::HashMap;

use postrider_proto::Failure;
use postrider_store::AccountEngine;
use postrider_store::account::Receipt;
use postrider_types::{AccountId, DeliveryId, ThreadId};

use crate::failure::storage;

/// The most ids the engine takes in one call.
pub(crate) const MAX_LOOKUP: usize = 1000;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// What is probably there.
    Likely,
    /// Everything.
    All,
}

/// What a batch of operations asks.
#[derive(Debug)]
pub(crate) struct Questions {
    asking: Asking,
    deliveries: Vec<DeliveryId>,
    hashes: Vec<u64>,
    left_out: bool,
}

impl Questions {
    pub fn new(asking: Asking) -> Self {
        Self {
            asking,
            deliveries: Vec::new(),
            hashes: Vec::new(),
            left_out: false,
        }
    }

    /// Has this delivery happened?
    pub fn delivery(&mut self, delivery: DeliveryId) {
        match self.asking {
            Asking::Likely => self.left_out = true,
            Asking::All => self.deliveries.push(delivery),
        }
    }

    /// Which conversations do these Message-IDs belong to? `ancestors`: some of them are not the message's own.
    pub fn conversation(&mut self, hashes: &[u64], ancestors: bool) {
        if self.asking == Asking::All || ancestors {
            self.hashes.extend_from_slice(hashes);
        } else {
            self.left_out |= !hashes.is_empty();
        }
    }

    /// Whether something was not asked because the commit will tell.
    pub fn left_out(&self) -> bool {
        self.left_out
    }

    /// Reads the answers.
    ///
    /// They hold for a commit on top of the state they are used with: what is not there now can only come by a commit, and
    /// that makes ours conflict. So a delivery happens once, whoever retries it and wherever.
    pub async fn ask(self, engine: &dyn AccountEngine, account: AccountId) -> Result<Lookups, Failure> {
        let mut lookups = Lookups::default();
        let mut deliveries = self.deliveries.chunks(MAX_LOOKUP);
        let mut hashes = self.hashes.chunks(MAX_LOOKUP);
        loop {
            let (some_deliveries, some_hashes) = (deliveries.next(), hashes.next());
            if some_deliveries.is_none() && some_hashes.is_none() {
                return Ok(lookups);
            }
            let (some_deliveries, some_hashes) = (
                some_deliveries.unwrap_or_default(),
                some_hashes.unwrap_or_default(),
            );
            let (receipts, references) = engine
                .arrivals(account, some_deliveries, some_hashes)
                .await
                .map_err(storage)?;
            let receipts = receipts.into_iter().map(|row| (row.delivery, row));
            lookups.receipts.extend(receipts);
            let references = references.into_iter().map(|row| (row.hash, row.thread));
            lookups.threads.extend(references);
        }
    }
}

/// Rows that were read for a whole batch of operations before they are planned.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    /// Deliveries known to have happened.
    pub receipts: HashMap<DeliveryId, Receipt>,
    /// Conversations by the hash of a Message-ID.
    pub threads: HashMap<u64, ThreadId>,
}
