//! Searching a folder (RFC 9051 §6.4.4).
//!
//! The folder's index answers what is about UIDs and system flags, and bounds the rest: only candidates are looked at.
//! Their rows stream by in pages; a candidate that its row does not decide has its description read, then its header, then
//! its text, in windows of bounded size. So memory does not grow with folder or messages, and `SEARCH UNSEEN` reads no
//! row at all.

mod evidence;
mod key;

use std::sync::Arc;

use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_proto::mailstore::SearchKey;
use postrider_types::{AccountId, FolderId, Version};

use self::evidence::Evidence;
use self::key::{Cost, Query};
use crate::clock;
use crate::rows::Pages;
use crate::service::Service;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub version: Version,
    pub uids: UidSet,
    /// The highest MODSEQ among them, when the search asked for MODSEQ; else 0.
    pub highest_modseq: Version,
}

impl Service {
    /// The messages of a folder that match (SearchMessages).
    pub async fn search(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        key: SearchKey,
    ) -> Result<Found, Failure> {
        let query = Query::new(key, clock::now())?;
        let (state, index) = self.view_indexed(account, folder).await?;
        let bound = query.key.bound(&index, &query.texts);
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
        let described = cost >= Cost::Description && !query.rows_narrow();
        let mut pages = Pages::new(self.clone(), account, folder, Some(bound), described);
        while let Some(page) = pages.next().await? {
            for (row, description) in &page {
                if Evidence::new(&query, &index, row)
                    .decide(self, account, description)
                    .await?
                {
                    found.uids.insert(row.uid);
                    if query.has_modseq {
                        found.highest_modseq = found.highest_modseq.max(row.modseq);
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        Ok(found)
    }
}
