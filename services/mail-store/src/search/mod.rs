//! Searching a folder (RFC 9051 §6.4.4).
//!
//! The folder's index answers what is about UIDs and system flags, and bounds the rest: only candidates are looked at.
//! Where senders, subjects and the like may decide, descriptions are first looked at where they are stored. The rows of candidates
//! that are left stream by in pages; one that its row does not decide has its description read, then its header, then its text, in
//! windows of bounded size. So memory does not grow with folder or messages, and `SEARCH UNSEEN` reads no row at all.

mod evidence;
mod key;
mod known;
mod sift;

use std::sync::Arc;

use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_proto::mailstore::SearchKey;
use postrider_store::account::MessageRow;
use postrider_store::content::ContentRange;
use postrider_types::{AccountId, FolderId, Version};

use self::evidence::{Evidence, Open, Verdict};
use self::key::{Cost, Query};
use crate::clock;
use crate::rows::Pages;
use crate::service::Service;

/// Bytes of messages that are read at a time.
const READ_AHEAD: u64 = 1 << 20;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub version: Version,
    pub uids: UidSet,
    /// The highest MODSEQ among them, when the search asked for MODSEQ; else 0.
    pub highest_modseq: Version,
}

impl Found {
    fn add(&mut self, query: &Query, row: &MessageRow) {
        self.uids.insert(row.uid);
        if query.has_modseq {
            self.highest_modseq = self.highest_modseq.max(row.modseq);
        }
    }
}

impl Service {
    /// The messages of a folder that match (SearchMessages).
    pub async fn search(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        key: SearchKey,
    ) -> Result<Found, Failure> {
        let query = Arc::new(Query::new(key, clock::now())?);
        let (state, index) = self.view_indexed(account, folder).await?;
        let mut bound = query.key.bound(&index, &query.texts);
        let mut found = Found {
            version: state.version(),
            uids: UidSet::new(),
            highest_modseq: Version(0),
        };
        let cost = query.cost();
        if cost == Cost::Index {
            found.uids = bound;
            return Ok(found);
        }
        if query.is_sifted() {
            (found.uids, bound) = self.sift(account, folder, &query, &index, &bound).await?;
        }
        let described = cost >= Cost::Description && !query.rows_narrow();
        let mut pages = Pages::new(self.clone(), account, folder, Some(bound), described);
        while let Some(page) = pages.next().await? {
            let mut open = Vec::new();
            for (row, description) in &page {
                let evidence = Evidence::new(&query, &index, row);
                match evidence.decide(self, account, description).await? {
                    Verdict::Is(true) => found.add(&query, row),
                    Verdict::Is(false) => {}
                    Verdict::Open(message) => open.push(message),
                }
            }
            self.read_open(&query, open, &mut found).await?;
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// Reads messages, many at once, and decides which of them are meant.
    async fn read_open(
        &self,
        query: &Query,
        open: Vec<Box<Open<'_>>>,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let wanted: Vec<ContentRange> = open.iter().map(|message| message.wanted()).collect();
        let mut wanted = wanted.as_slice();
        let mut held = Vec::new().into_iter();
        for message in open {
            if held.len() == 0 {
                // What cannot be read here is read again where it is needed, and fails there.
                held = self
                    .contents
                    .read_many(wanted, READ_AHEAD)
                    .await
                    .unwrap_or_default()
                    .into_iter();
            }
            wanted = wanted.get(1..).unwrap_or_default();
            let row = message.row();
            let bytes = held.next().map(|piece| piece.data);
            if message.decide(self, bytes).await? {
                found.add(query, row);
            }
            // Looking through text is work: let others have the thread in between.
            tokio::task::consume_budget().await;
        }
        Ok(())
    }
}
