//! Listing messages.

use std::sync::Arc;

use postrider_index::UidSet;
use postrider_proto::Failure;
use postrider_store::account::Change;
use postrider_types::{AccountId, FolderId, Version};

use crate::changes::Changes;
use crate::failure::no_such_folder;
use crate::rows::Pages;
use crate::service::Service;

impl Service {
    /// Message rows of a folder, ascending: those of `uids` (`None`: all). With `since` above 0, the pages hold at least
    /// those that changed after it, found by the change log where it reaches back that far.
    pub async fn list_messages(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        uids: Option<UidSet>,
        since: Version,
        described: bool,
    ) -> Result<Pages, Failure> {
        let uids = match uids {
            Some(uids) => Some(self.candidates(account, folder, &uids).await?),
            None => {
                self.view(account)
                    .await?
                    .folder(folder)
                    .ok_or_else(no_such_folder)?;
                None
            }
        };
        let uids = match self.changed_uids(account, folder, since).await? {
            Some(changed) => Some(uids.map_or_else(|| changed.clone(), |uids| uids.intersection(&changed))),
            None => uids,
        };
        Ok(Pages::new(self.clone(), account, folder, uids, described))
    }

    /// The UIDs of messages that came or changed after a version; `None` when the log does not reach back that far.
    async fn changed_uids(
        self: &Arc<Self>,
        account: AccountId,
        folder: FolderId,
        since: Version,
    ) -> Result<Option<UidSet>, Failure> {
        if since == Version(0) {
            return Ok(None);
        }
        let (mut changes, first) = Changes::new(self.clone(), account, since, Some(folder)).await?;
        let mut changed = UidSet::new();
        let mut page = first;
        loop {
            match page {
                Some(page) if page.resync => return Ok(None),
                Some(page) => {
                    for change in page.commits.iter().flat_map(|row| &row.changes) {
                        if let Change::Added(_, messages) | Change::Flags(_, messages) = change {
                            changed.extend(messages.iter().map(|message| message.uid));
                        }
                    }
                }
                None => {}
            }
            page = match changes.next().await? {
                Some(page) => Some(page),
                None => return Ok(Some(changed)),
            };
        }
    }
}
