//! The account engine's reads.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::try_join_all;
use postrider_types::{AccountId, ContentId, DeliveryId, FolderId, Uid, Version};

use super::rows::{FolderColumns, HeadColumns, MessageColumns, blob, number};
use super::statements as cql;
use super::{Cql, KEYS, PAGE, int, rows};
use crate::account::{
    AccountEngine, ChangeRow, Commit, CommitLimits, FolderRow, Head, MessageRow, Outcome, Receipt, Reference,
    SnapshotRow,
};
use crate::keys::keys;
use crate::{Error, Result, unix_millis};

/// Descriptions read at once while a page fills.
const DESCRIPTIONS: usize = 64;
/// How often folders are read again because a commit came in between.
const READ_AGAIN: u32 = 100;

#[async_trait]
impl AccountEngine for Cql {
    /// By our own count: the server polices neither. A batch is one mutation, held in memory by every replica and by the log.
    fn commit_limits(&self) -> CommitLimits {
        CommitLimits {
            rows: 100,
            bytes: 32 << 10,
        }
    }

    async fn head(&self, account: AccountId) -> Result<Option<Head>> {
        let statement = if self.is_in_doubt(account) {
            cql::HEAD_SERIAL
        } else {
            cql::HEAD
        };
        let columns: Option<HeadColumns> = self.first(statement, (int(account.get()),)).await?;
        Ok(columns.map(rows::head).transpose()?.flatten())
    }

    async fn folders(&self, account: AccountId) -> Result<Option<(Head, Vec<FolderRow>)>> {
        if self.is_in_doubt(account) {
            // Ends what is half done; the majority below then has it.
            self.head(account).await?;
        }
        for _ in 0..READ_AGAIN {
            if let Some(found) = self.try_folders(account).await? {
                return Ok(found);
            }
        }
        Err(Error::Unavailable(
            "the account is changed by others all the time".into(),
        ))
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        self.run(commit).await
    }

    async fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>> {
        if uids.is_empty() {
            return Ok(Vec::new());
        }
        let key = (
            int(account.get()),
            i64::from(folder.0),
            i64::from(uids.start().0),
            i64::from(uids.end().0),
        );
        let found: Vec<MessageColumns> = self.range(cql::MESSAGES, key, limit).await?;
        found.into_iter().map(rows::message).collect()
    }

    async fn described_messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let messages = self.messages(account, folder, uids, limit).await?;
        self.described(account, messages, most).await
    }

    async fn described_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let messages = self.messages_by_uid(account, folder, uids).await?;
        self.described(account, messages, most).await
    }

    async fn messages_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
    ) -> Result<Vec<MessageRow>> {
        let uids = keys(uids)?;
        let read = async |uids: &[Uid]| {
            let uids: Vec<i64> = uids.iter().map(|uid| i64::from(uid.0)).collect();
            let key = (int(account.get()), i64::from(folder.0), uids);
            self.all::<MessageColumns>(cql::MESSAGES_BY_UID, key).await
        };
        let found = try_join_all(uids.chunks(KEYS).map(read)).await?;
        found.into_iter().flatten().map(rows::message).collect()
    }

    async fn places(
        &self,
        account: AccountId,
        contents: &[ContentId],
    ) -> Result<Vec<(ContentId, FolderId, Uid)>> {
        let contents = keys(contents)?;
        let read = async |contents: &[ContentId]| {
            let contents: Vec<Bytes> = contents.iter().map(|id| blob(id.as_bytes())).collect();
            self.range::<(Vec<u8>, i64, i64)>(cql::PLACES, (int(account.get()), contents), usize::MAX)
                .await
        };
        let found = try_join_all(contents.chunks(KEYS).map(read)).await?;
        let mut places = Vec::new();
        for (content, folder, uid) in found.into_iter().flatten() {
            places.push((
                rows::content_id(&content)?,
                FolderId(number(folder)?),
                Uid(number(uid)?),
            ));
        }
        self.confirmed(account, places).await
    }

    async fn description(&self, account: AccountId, content: ContentId) -> Result<Option<Bytes>> {
        let key = (int(account.get()), blob(content.as_bytes()));
        let found: Option<(Option<Bytes>,)> = self.first(cql::DESCRIPTION, key).await?;
        Ok(found.map(|(data,)| data.unwrap_or_default()))
    }

    async fn changes(&self, account: AccountId, after: Version, limit: usize) -> Result<Vec<ChangeRow>> {
        let key = (int(account.get()), int(after.0));
        let found: Vec<(i64, i64, Vec<u8>)> = self.range(cql::CHANGES, key, limit).await?;
        let mut changes: Vec<ChangeRow> = Vec::with_capacity(found.len());
        for row in found {
            let row = rows::change(row)?;
            // Each row has its own time to live, so that there can be a hole for a moment: the log reaches back to it only.
            if changes
                .last()
                .is_some_and(|last| last.version.next() != row.version)
            {
                changes.clear();
            }
            changes.push(row);
        }
        Ok(changes)
    }

    async fn references(&self, account: AccountId, hashes: &[u64]) -> Result<Vec<Reference>> {
        let hashes = keys(hashes)?;
        let read = async |hashes: &[u64]| {
            let hashes: Vec<i64> = hashes.iter().map(|hash| int(*hash)).collect();
            self.all(cql::REFERENCES, (int(account.get()), hashes)).await
        };
        let found = try_join_all(hashes.chunks(KEYS).map(read)).await?;
        found.into_iter().flatten().map(rows::reference).collect()
    }

    async fn receipts(&self, account: AccountId, deliveries: &[DeliveryId]) -> Result<Vec<Receipt>> {
        let deliveries = keys(deliveries)?;
        let read = async |deliveries: &[DeliveryId]| {
            let deliveries: Vec<Bytes> = deliveries.iter().map(|id| blob(id.as_bytes())).collect();
            self.all(cql::RECEIPTS, (int(account.get()), deliveries)).await
        };
        let found = try_join_all(deliveries.chunks(KEYS).map(read)).await?;
        let now = unix_millis();
        let receipts = found.into_iter().flatten().map(rows::receipt);
        receipts
            .filter(|row| row.as_ref().map_or(true, |row| row.expires > now))
            .collect()
    }

    async fn arrivals(
        &self,
        account: AccountId,
        deliveries: &[DeliveryId],
        hashes: &[u64],
    ) -> Result<(Vec<Receipt>, Vec<Reference>)> {
        futures::try_join!(
            self.receipts(account, deliveries),
            self.references(account, hashes)
        )
    }

    async fn snapshot(&self, account: AccountId, folder: FolderId) -> Result<Option<SnapshotRow>> {
        self.read_snapshot(account, folder).await
    }

    async fn put_snapshot(&self, account: AccountId, snapshot: SnapshotRow) -> Result<()> {
        self.write_snapshot(account, snapshot).await
    }

    async fn remove(&self, account: AccountId) -> Result<()> {
        self.remove_account(account).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        self.listed(after, limit).await
    }

    /// Nothing: rows expire by themselves.
    async fn expire(&self, _changes_before: u64, _now: u64) -> Result<bool> {
        Ok(false)
    }
}

impl Cql {
    /// Reads the folders with the head beside each; `None` if a commit came in between two pages.
    async fn try_folders(&self, account: AccountId) -> Result<Option<Option<(Head, Vec<FolderRow>)>>> {
        let key = (int(account.get()),);
        let found: Vec<FolderColumns> = self.range(cql::FOLDERS, key, usize::MAX).await?;
        if found.is_empty() {
            return self.without_folders(account).await;
        }
        let mut same: Option<Head> = None;
        let mut folders = Vec::with_capacity(found.len());
        for columns in found {
            let (head, folder) = columns.read()?;
            let Some(head) = head else { return Ok(None) };
            if same.as_ref().is_some_and(|same| *same != head) {
                return Ok(None);
            }
            same = Some(head);
            folders.push(folder);
        }
        Ok(Some(same.map(|head| (head, folders))))
    }

    /// No folder, no head beside it: it is read apart, and nothing may have come meanwhile.
    async fn without_folders(&self, account: AccountId) -> Result<Option<Option<(Head, Vec<FolderRow>)>>> {
        let Some(head) = self.head(account).await? else {
            return Ok(Some(None));
        };
        let again: Vec<FolderColumns> = self.range(cql::FOLDERS, (int(account.get()),), 1).await?;
        if again.is_empty() && self.head(account).await? == Some(head.clone()) {
            return Ok(Some(Some((head, Vec::new()))));
        }
        Ok(None)
    }

    /// Adds descriptions until they are large enough.
    async fn described(
        &self,
        account: AccountId,
        messages: Vec<MessageRow>,
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let mut page = Vec::with_capacity(messages.len());
        let mut bytes = 0;
        let mut messages = messages.into_iter().peekable();
        while messages.peek().is_some() {
            let some: Vec<MessageRow> = messages.by_ref().take(DESCRIPTIONS).collect();
            let mut contents: Vec<ContentId> = some.iter().map(|row| row.content).collect();
            contents.sort_unstable();
            contents.dedup();
            let contents: Vec<Bytes> = contents.iter().map(|id| blob(id.as_bytes())).collect();
            let key = (int(account.get()), contents);
            let found: Vec<(Vec<u8>, Option<Bytes>)> = self.all(cql::DESCRIPTIONS, key).await?;
            let found: HashMap<Vec<u8>, Bytes> = found
                .into_iter()
                .map(|(id, data)| (id, data.unwrap_or_default()))
                .collect();
            for row in some {
                let description = found.get(row.content.as_bytes().as_slice()).cloned();
                let description = description.unwrap_or_default();
                bytes += description.len();
                page.push((row, description));
                if bytes >= most {
                    return Ok(page);
                }
            }
        }
        Ok(page)
    }

    /// Leaves out places whose message is gone or another one.
    async fn confirmed(
        &self,
        account: AccountId,
        mut places: Vec<(ContentId, FolderId, Uid)>,
    ) -> Result<Vec<(ContentId, FolderId, Uid)>> {
        let mut folders: HashMap<FolderId, Vec<i64>> = HashMap::new();
        for (_, folder, uid) in &places {
            folders.entry(*folder).or_default().push(i64::from(uid.0));
        }
        let mut reads = Vec::new();
        for (folder, mut uids) in folders {
            uids.sort_unstable();
            uids.dedup();
            reads.extend(uids.chunks(KEYS).map(|uids| (folder, uids.to_vec())));
        }
        let read = async |(folder, uids): (FolderId, Vec<i64>)| {
            let key = (int(account.get()), i64::from(folder.0), uids);
            let found: Vec<(i64, Vec<u8>)> = self.all(cql::MESSAGE_CONTENTS, key).await?;
            Ok::<_, Error>(
                found
                    .into_iter()
                    .map(move |(uid, content)| ((folder, uid), content)),
            )
        };
        let mut there = HashMap::new();
        for some in reads.chunks(PAGE / KEYS) {
            there.extend(
                try_join_all(some.iter().cloned().map(read))
                    .await?
                    .into_iter()
                    .flatten(),
            );
        }
        places.retain(|(content, folder, uid)| {
            let found = there.get(&(*folder, i64::from(uid.0)));
            found.is_some_and(|found| found == content.as_bytes())
        });
        places.sort_unstable();
        Ok(places)
    }
}
