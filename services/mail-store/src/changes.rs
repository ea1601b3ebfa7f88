//! What has changed since a version (CHANGEDSINCE and VANISHED, RFC 7162; JMAP `/changes`).

use std::sync::Arc;

use postrider_proto::Failure;
use postrider_store::account::{Change, ChangeRow};
use postrider_types::{AccountId, FolderId, Version};

use crate::failure::storage;
use crate::service::Service;

/// Change rows read at a time.
const PAGE: usize = 256;

/// The commits after a version, page by page.
pub(crate) struct Changes {
    service: Arc<Service>,
    account: AccountId,
    folder: Option<FolderId>,
    /// Read so far.
    after: Version,
    /// The version of the account when the reading began.
    target: Version,
    /// The last commit that was given out.
    told: Version,
}

/// A page of commits.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The log no longer reaches back to where the reader was.
    pub resync: bool,
    pub commits: Vec<Arc<ChangeRow>>,
}

impl Changes {
    /// From a version on; only what touches `folder`, if given. A version the account has not reached asks for a resync too.
    pub async fn new(
        service: Arc<Service>,
        account: AccountId,
        since: Version,
        folder: Option<FolderId>,
    ) -> Result<(Self, Option<Page>), Failure> {
        let state = service.view(account).await?;
        let target = state.version();
        let mut changes = Self {
            service,
            account,
            folder,
            after: since,
            target,
            told: since,
        };
        if since > target {
            return Ok((
                changes,
                Some(Page {
                    resync: true,
                    commits: Vec::new(),
                }),
            ));
        }
        let recent: Option<Vec<_>> = state.changes_after(since).map(|rows| rows.cloned().collect());
        let first = recent
            .map(|rows| changes.page(rows))
            .filter(|page| !page.commits.is_empty());
        Ok((changes, first))
    }

    /// The next page, never empty; `None` at the end.
    ///
    /// When the last commits do not touch the folder, an empty one of the account's version ends the list, so that the
    /// reader need not look at them again.
    pub async fn next(&mut self) -> Result<Option<Page>, Failure> {
        while self.after < self.target {
            let engine = &self.service.engine;
            let rows = engine
                .changes(self.account, self.after, PAGE)
                .await
                .map_err(storage)?;
            if rows.first().is_none_or(|row| row.version != self.after.next()) {
                self.after = self.target;
                return Ok(Some(Page {
                    resync: true,
                    commits: Vec::new(),
                }));
            }
            let page = self.page(rows.into_iter().map(Arc::new).collect());
            if !page.commits.is_empty() {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn page(&mut self, rows: Vec<Arc<ChangeRow>>) -> Page {
        let mut commits: Vec<Arc<ChangeRow>> = Vec::new();
        for row in rows.into_iter().filter(|row| row.version <= self.target) {
            self.after = row.version;
            match self.folder {
                None => commits.push(row),
                Some(folder) if row.changes.iter().any(|change| folder_of(change) == folder) => {
                    let changes = row.changes.iter().filter(|change| folder_of(change) == folder);
                    commits.push(Arc::new(ChangeRow {
                        changes: changes.cloned().collect(),
                        ..ChangeRow::clone(&row)
                    }));
                }
                Some(_) => {}
            }
        }
        self.told = commits.last().map_or(self.told, |row| row.version);
        if self.after >= self.target && self.told < self.target {
            self.told = self.target;
            commits.push(Arc::new(ChangeRow {
                version: self.target,
                time: 0,
                changes: Vec::new(),
            }));
        }
        Page {
            resync: false,
            commits,
        }
    }
}

fn folder_of(change: &Change) -> FolderId {
    match change {
        Change::Added(folder, _) | Change::Flags(folder, _) | Change::Removed(folder, _) => *folder,
        Change::Folder(folder) | Change::FolderRemoved(folder) => *folder,
    }
}
