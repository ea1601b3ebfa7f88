//! Rows of accounts in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::{Bound, RangeInclusive};

use async_trait::async_trait;
use bytes::Bytes;
use postrider_types::{AccountId, ContentId, DeliveryId, FolderId, ThreadId, Uid, Version};

use super::content::{Holder, not_found};
use super::faults::{Course, Operation};
use super::{Memory, State};
use crate::account::{
    AccountEngine, ChangeRow, Commit, CommitLimits, FolderRow, Head, MessageRow, Outcome, Receipt, Reference,
    Rows, SnapshotRow,
};
use crate::keys::keys;
use crate::{Error, Result, unix_millis};

/// Rows that one call of expiry drops at most.
const EXPIRE: usize = 1000;

#[derive(Default)]
pub(super) struct Account {
    /// `None` only in an account that has nothing but a snapshot.
    head: Option<Head>,
    folders: BTreeMap<FolderId, FolderRow>,
    messages: BTreeMap<(FolderId, Uid), MessageRow>,
    places: BTreeSet<(ContentId, FolderId, Uid)>,
    descriptions: BTreeMap<ContentId, Bytes>,
    changes: BTreeMap<Version, ChangeRow>,
    references: HashMap<u64, ThreadId>,
    receipts: HashMap<DeliveryId, Receipt>,
    snapshots: BTreeMap<FolderId, SnapshotRow>,
}

impl State {
    fn commit(&mut self, commit: Commit) -> Result<Outcome> {
        let version = self
            .accounts
            .get(&commit.account)
            .and_then(|account| account.head.as_ref());
        if version.map_or(Version(0), |head| head.version) != commit.expected {
            return Ok(Outcome::Conflict);
        }
        if self
            .account(commit.account)
            .is_some_and(|account| account.knows(&commit.rows))
        {
            return Ok(Outcome::Known);
        }
        // Everything that can be refused is refused before anything changes.
        for (id, data) in &commit.contents {
            self.contents.check_put(*id, data)?;
        }
        for row in &commit.rows.put_descriptions {
            let brought = commit.contents.iter().any(|(id, _)| *id == row.content);
            if !brought && !self.contents.contains(row.content) {
                return Err(not_found(row.content));
            }
        }
        for (id, data) in commit.contents {
            self.contents.put(id, data)?;
        }
        let holder = Holder::Account(commit.account);
        for row in &commit.rows.put_descriptions {
            self.contents.hold(row.content, holder)?;
        }
        for content in &commit.rows.drop_descriptions {
            self.contents.release(*content, holder);
        }
        let account = self.accounts.entry(commit.account).or_default();
        account.changes.insert(commit.head.version, commit.change);
        account.apply(commit.rows, commit.head.version);
        account.head = Some(commit.head);
        Ok(Outcome::Committed)
    }

    fn account(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(&id)
    }
}

impl Account {
    /// Whether a receipt or a reference to put is there.
    fn knows(&self, rows: &Rows) -> bool {
        let now = unix_millis();
        let live = |row: &Receipt| {
            self.receipts
                .get(&row.delivery)
                .is_some_and(|row| row.expires > now)
        };
        rows.put_receipts.iter().any(live)
            || rows
                .put_references
                .iter()
                .any(|row| self.references.contains_key(&row.hash))
    }

    fn apply(&mut self, rows: Rows, version: Version) {
        self.folders
            .extend(rows.put_folders.into_iter().map(|row| (row.id, row)));
        for folder in rows.delete_folders {
            self.folders.remove(&folder);
            self.snapshots.remove(&folder);
        }
        for row in rows.put_messages {
            self.remove_message(row.folder, row.uid);
            self.places.insert((row.content, row.folder, row.uid));
            self.messages.insert((row.folder, row.uid), row);
        }
        for (folder, state) in rows.update_messages {
            if let Some(row) = self.messages.get_mut(&(folder, state.uid)) {
                (row.flags, row.keywords, row.modseq) = (state.flags, state.keywords, version);
            }
        }
        for (folder, uid) in rows.delete_messages {
            self.remove_message(folder, uid);
        }
        self.descriptions.extend(
            rows.put_descriptions
                .into_iter()
                .map(|row| (row.content, row.data)),
        );
        for content in rows.drop_descriptions {
            self.descriptions.remove(&content);
        }
        self.references
            .extend(rows.put_references.into_iter().map(|row| (row.hash, row.thread)));
        self.receipts
            .extend(rows.put_receipts.into_iter().map(|row| (row.delivery, row)));
    }

    fn remove_message(&mut self, folder: FolderId, uid: Uid) {
        if let Some(row) = self.messages.remove(&(folder, uid)) {
            self.places.remove(&(row.content, folder, uid));
        }
    }

    fn range(&self, folder: FolderId, uids: &RangeInclusive<Uid>) -> impl Iterator<Item = &MessageRow> {
        let range = (!uids.is_empty()).then(|| (folder, *uids.start())..=(folder, *uids.end()));
        range
            .into_iter()
            .flat_map(|range| self.messages.range(range))
            .map(|(_, row)| row)
    }

    /// Rows with their descriptions, until these have `most` bytes.
    fn described<'a>(
        &self,
        rows: impl Iterator<Item = &'a MessageRow>,
        most: usize,
    ) -> Vec<(MessageRow, Bytes)> {
        let (mut described, mut bytes) = (Vec::new(), 0);
        for row in rows {
            let description = self.descriptions.get(&row.content).cloned().unwrap_or_default();
            bytes += description.len();
            described.push((row.clone(), description));
            if bytes >= most {
                break;
            }
        }
        described
    }

    /// Drops at most `left` rows; how many it dropped.
    fn expire(&mut self, changes_before: u64, now: u64, left: usize) -> usize {
        let mut dropped = 0;
        while dropped < left
            && let Some(first) = self
                .changes
                .first_entry()
                .filter(|first| first.get().time < changes_before)
        {
            first.remove();
            dropped += 1;
        }
        let expired = self
            .receipts
            .values()
            .filter(|row| row.expires < now)
            .map(|row| row.delivery);
        for delivery in expired.take(left - dropped).collect::<Vec<_>>() {
            self.receipts.remove(&delivery);
            dropped += 1;
        }
        dropped
    }
}

#[async_trait]
impl AccountEngine for Memory {
    fn commit_limits(&self) -> CommitLimits {
        self.shared.limits.unwrap_or_default()
    }

    async fn head(&self, account: AccountId) -> Result<Option<Head>> {
        self.looking(|state| Ok(state.account(account).and_then(|account| account.head.clone())))
            .await
    }

    async fn folders(&self, account: AccountId) -> Result<Option<(Head, Vec<FolderRow>)>> {
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(None);
            };
            Ok(account
                .head
                .clone()
                .map(|head| (head, account.folders.values().cloned().collect())))
        };
        self.looking(look).await
    }

    async fn commit(&self, commit: Commit) -> Result<Outcome> {
        commit.check()?;
        if let Some(limits) = self.shared.limits {
            let (rows, bytes) = (commit.rows.count(), commit.rows.bytes());
            if rows > limits.rows || bytes > limits.bytes {
                return Err(Error::Invalid(format!(
                    "a commit of {rows} rows and {bytes} bytes, at most {limits:?} are allowed"
                )));
            }
        }
        let course = self.shared.faults.meet(Operation::Commit).await?;
        if let Course::Conflict = course {
            return Ok(Outcome::Conflict);
        }
        let outcome = self.shared.state.lock().commit(commit)?;
        match course {
            Course::DoAndReport(error) => Err(error),
            Course::Do | Course::Conflict => Ok(outcome),
        }
    }

    async fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>> {
        let look = |state: &State| {
            let rows = state
                .account(account)
                .into_iter()
                .flat_map(|account| account.range(folder, &uids));
            Ok(rows.take(limit).cloned().collect())
        };
        self.looking(look).await
    }

    async fn described_messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            Ok(account.described(account.range(folder, &uids).take(limit), most))
        };
        self.looking(look).await
    }

    async fn described_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let uids = keys(uids)?;
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            let rows = uids
                .iter()
                .filter_map(|uid| account.messages.get(&(folder, *uid)));
            Ok(account.described(rows, most))
        };
        self.looking(look).await
    }

    async fn messages_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
    ) -> Result<Vec<MessageRow>> {
        let uids = keys(uids)?;
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            Ok(uids
                .iter()
                .filter_map(|uid| account.messages.get(&(folder, *uid)).cloned())
                .collect())
        };
        self.looking(look).await
    }

    async fn places(
        &self,
        account: AccountId,
        contents: &[ContentId],
    ) -> Result<Vec<(ContentId, FolderId, Uid)>> {
        let contents = keys(contents)?;
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            let places = |content: &ContentId| {
                let all = (*content, FolderId(0), Uid(0))..=(*content, FolderId(u32::MAX), Uid(u32::MAX));
                account.places.range(all).copied()
            };
            Ok(contents.iter().flat_map(places).collect())
        };
        self.looking(look).await
    }

    async fn description(&self, account: AccountId, content: ContentId) -> Result<Option<Bytes>> {
        let find = |account: &Account| account.descriptions.get(&content).cloned();
        self.looking(|state| Ok(state.account(account).and_then(find)))
            .await
    }

    async fn changes(&self, account: AccountId, after: Version, limit: usize) -> Result<Vec<ChangeRow>> {
        let above = (Bound::Excluded(after), Bound::Unbounded);
        let look = |state: &State| {
            let rows = state
                .account(account)
                .into_iter()
                .flat_map(|account| account.changes.range(above));
            Ok(rows.take(limit).map(|(_, row)| row.clone()).collect())
        };
        self.looking(look).await
    }

    async fn references(&self, account: AccountId, hashes: &[u64]) -> Result<Vec<Reference>> {
        let hashes = keys(hashes)?;
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            let find = |hash: &u64| {
                account.references.get(hash).map(|thread| Reference {
                    hash: *hash,
                    thread: *thread,
                })
            };
            Ok(hashes.iter().filter_map(find).collect())
        };
        self.looking(look).await
    }

    async fn receipts(&self, account: AccountId, deliveries: &[DeliveryId]) -> Result<Vec<Receipt>> {
        let deliveries = keys(deliveries)?;
        let now = unix_millis();
        let look = |state: &State| {
            let Some(account) = state.account(account) else {
                return Ok(Vec::new());
            };
            let find = |delivery| {
                account
                    .receipts
                    .get(delivery)
                    .copied()
                    .filter(|row| row.expires > now)
            };
            Ok(deliveries.iter().filter_map(find).collect())
        };
        self.looking(look).await
    }

    async fn snapshot(&self, account: AccountId, folder: FolderId) -> Result<Option<SnapshotRow>> {
        let find = |account: &Account| account.snapshots.get(&folder).cloned();
        self.looking(|state| Ok(state.account(account).and_then(find)))
            .await
    }

    async fn put_snapshot(&self, account: AccountId, snapshot: SnapshotRow) -> Result<()> {
        let change = |state: &mut State| {
            let snapshots = &mut state.accounts.entry(account).or_default().snapshots;
            let newer = snapshots
                .get(&snapshot.folder)
                .is_some_and(|old| old.version > snapshot.version);
            if !newer {
                snapshots.insert(snapshot.folder, snapshot);
            }
            Ok(())
        };
        self.changing(change).await
    }

    async fn remove(&self, account: AccountId) -> Result<()> {
        let change = |state: &mut State| {
            let removed = state.accounts.remove(&account);
            for content in removed.iter().flat_map(|removed| removed.descriptions.keys()) {
                state.contents.release(*content, Holder::Account(account));
            }
            Ok(())
        };
        self.changing(change).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        let above = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let look = |state: &State| {
            let with_head = state
                .accounts
                .range(above)
                .filter(|(_, account)| account.head.is_some());
            Ok(with_head.take(limit).map(|(id, _)| *id).collect())
        };
        self.looking(look).await
    }

    async fn expire(&self, changes_before: u64, now: u64) -> Result<bool> {
        let change = |state: &mut State| {
            let mut left = EXPIRE;
            for account in state.accounts.values_mut() {
                left -= account.expire(changes_before, now, left);
            }
            Ok(left == 0)
        };
        self.changing(change).await
    }
}
