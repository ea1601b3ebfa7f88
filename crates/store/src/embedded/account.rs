//! The account engine's reads, and what runs around a commit.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_embedded::{Holder, Result as Job, Transaction};
use postrider_types::{AccountId, ContentId, DeliveryId, FolderId, Uid, Version};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{Embedded, commit, rows};
use crate::Result;
use crate::account::{
    AccountEngine, ChangeRow, Commit, FolderRow, Head, MessageRow, Outcome, Receipt, Reference, Sieve,
    SnapshotRow,
};
use crate::keys::keys;

/// Rows that one job of [`AccountEngine::remove`] deletes per table: other accounts' commits wait no longer than that takes.
const REMOVE_ROWS: usize = 1000;
/// Accounts that one call of [`AccountEngine::expire`] looks at, and rows of each that it deletes at most.
const EXPIRE_ACCOUNTS: usize = 256;
const EXPIRE_ROWS: usize = 500;

/// The account up to which expiry has come. It walks all accounts and begins again, so that a commit pays for no index by
/// time; lost at a restart, which costs nothing but a walk.
#[derive(Debug, Default)]
pub(super) struct Expiry(Mutex<Option<AccountId>>);

#[async_trait]
impl AccountEngine for Embedded {
    async fn head(&self, account: AccountId) -> Result<Option<Head>> {
        Ok(self.db.read(move |db| rows::read_head(db, account)).await?)
    }

    async fn folders(&self, account: AccountId) -> Result<Option<(Head, Vec<FolderRow>)>> {
        let read = move |db: &Connection| {
            let snapshot = db.unchecked_transaction()?;
            let Some(head) = rows::read_head(&snapshot, account)? else {
                return Ok(None);
            };
            let mut select = snapshot.prepare_cached(
                "SELECT folder, name, uid_validity, uid_next, role, subscribed, present, messages, unseen, deleted,
                     size, deleted_size, keywords, created, changed
                 FROM account_folder WHERE account = ?1 ORDER BY folder",
            )?;
            let folders = select
                .query_and_then([account.get()], rows::folder)?
                .collect::<Job<_>>()?;
            Ok(Some((head, folders)))
        };
        Ok(self.db.read(read).await?)
    }

    async fn commit(&self, mut commit: Commit) -> Result<Outcome> {
        commit.check()?;
        let contents = std::mem::take(&mut commit.contents);
        Ok(self
            .db
            .write(contents, move |tx| commit::run(tx, &commit))
            .await?)
    }

    async fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT folder, uid, content, thread, size, received, saved, flags, keywords, modseq
                 FROM account_message WHERE account = ?1 AND folder = ?2 AND uid BETWEEN ?3 AND ?4
                 ORDER BY uid LIMIT ?5",
            )?;
            let range = params![account.get(), folder.0, uids.start().0, uids.end().0, limit];
            select.query_and_then(range, rows::message)?.collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn sizes(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<(Uid, u64)>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT uid, size FROM account_message
                 WHERE account = ?1 AND folder = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid LIMIT ?5",
            )?;
            let range = params![account.get(), folder.0, uids.start().0, uids.end().0, limit];
            let sizes = select.query_map(range, |row| Ok((Uid(row.get(0)?), row.get(1)?)))?;
            Ok(sizes.collect::<rusqlite::Result<_>>()?)
        };
        Ok(self.db.read(read).await?)
    }

    async fn described_messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT folder, uid, content, thread, size, received, saved, flags, keywords, modseq,
                     (SELECT data FROM account_description AS description
                      WHERE description.account = ?1 AND description.content = message.content)
                 FROM account_message AS message
                 WHERE account = ?1 AND folder = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid LIMIT ?5",
            )?;
            let mut found = select.query(params![
                account.get(),
                folder.0,
                uids.start().0,
                uids.end().0,
                limit
            ])?;
            let mut page = DescribedPage::new(most);
            while !page.is_full()
                && let Some(row) = found.next()?
            {
                page.push(row)?;
            }
            Ok(page.rows)
        };
        Ok(self.db.read(read).await?)
    }

    async fn described_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>> {
        let uids = keys(uids)?;
        let read = move |db: &Connection| {
            let snapshot = db.unchecked_transaction()?;
            let mut select = snapshot.prepare_cached(
                "SELECT folder, uid, content, thread, size, received, saved, flags, keywords, modseq,
                     (SELECT data FROM account_description AS description
                      WHERE description.account = ?1 AND description.content = message.content)
                 FROM account_message AS message WHERE account = ?1 AND folder = ?2 AND uid = ?3",
            )?;
            let mut page = DescribedPage::new(most);
            let mut uids = uids.into_iter();
            while !page.is_full()
                && let Some(uid) = uids.next()
            {
                let mut found = select.query(params![account.get(), folder.0, uid.0])?;
                if let Some(row) = found.next()? {
                    page.push(row)?;
                }
            }
            Ok(page.rows)
        };
        Ok(self.db.read(read).await?)
    }

    async fn sift(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        mut sieve: Sieve,
    ) -> Result<Vec<(Uid, Option<bool>)>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT uid, data FROM account_message AS message
                 LEFT JOIN account_description AS description
                     ON description.account = ?1 AND description.content = message.content
                 WHERE message.account = ?1 AND folder = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid",
            )?;
            let mut rows = select.query(params![account.get(), folder.0, uids.start().0, uids.end().0])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let uid = Uid(row.get(0)?);
                let description = row.get_ref(1)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
                match sieve(uid, description.unwrap_or_default()) {
                    Some(false) => {}
                    said => found.push((uid, said)),
                }
            }
            Ok(found)
        };
        Ok(self.db.read(read).await?)
    }

    async fn messages_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
    ) -> Result<Vec<MessageRow>> {
        let uids = keys(uids)?;
        let read = move |db: &Connection| {
            let snapshot = db.unchecked_transaction()?;
            let mut select = snapshot.prepare_cached(
                "SELECT folder, uid, content, thread, size, received, saved, flags, keywords, modseq
                 FROM account_message WHERE account = ?1 AND folder = ?2 AND uid BETWEEN ?3 AND ?4 ORDER BY uid",
            )?;
            let mut found = Vec::with_capacity(uids.len());
            // To go on to the next row costs less than to look for it.
            for run in uids.chunk_by(|uid, next| uid.checked_next() == Some(*next)) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let mut rows = select.query(params![account.get(), folder.0, first.0, last.0])?;
                while let Some(row) = rows.next()? {
                    found.push(rows::message(row)?);
                }
            }
            Ok(found)
        };
        Ok(self.db.read(read).await?)
    }

    async fn places(
        &self,
        account: AccountId,
        contents: &[ContentId],
    ) -> Result<Vec<(ContentId, FolderId, Uid)>> {
        let contents = keys(contents)?;
        let read = move |db: &Connection| {
            let snapshot = db.unchecked_transaction()?;
            let mut select = snapshot.prepare_cached(
                "SELECT folder, uid FROM account_message WHERE content = ?2 AND account = ?1 ORDER BY folder, uid",
            )?;
            let mut found = Vec::with_capacity(contents.len());
            for content in contents {
                let mut rows = select.query(params![account.get(), content.as_bytes()])?;
                while let Some(row) = rows.next()? {
                    found.push((content, FolderId(row.get(0)?), Uid(row.get(1)?)));
                }
            }
            Ok(found)
        };
        Ok(self.db.read(read).await?)
    }

    async fn description(&self, account: AccountId, content: ContentId) -> Result<Option<Bytes>> {
        let read = move |db: &Connection| {
            let mut select = db
                .prepare_cached("SELECT data FROM account_description WHERE account = ?1 AND content = ?2")?;
            let found = select.query_row(params![account.get(), content.as_bytes()], |row| {
                rows::bytes(row, 0)
            });
            Ok(found.optional()?)
        };
        Ok(self.db.read(read).await?)
    }

    async fn changes(&self, account: AccountId, after: Version, limit: usize) -> Result<Vec<ChangeRow>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT version, time, changes FROM account_change
                 WHERE account = ?1 AND version > ?2 ORDER BY version LIMIT ?3",
            )?;
            select
                .query_and_then(params![account.get(), after.0, limit], rows::change)?
                .collect()
        };
        Ok(self.db.read(read).await?)
    }

    async fn references(&self, account: AccountId, hashes: &[u64]) -> Result<Vec<Reference>> {
        let hashes = keys(hashes)?;
        Ok(self
            .db
            .read(move |db| read_references(db, account, &hashes))
            .await?)
    }

    async fn receipts(&self, account: AccountId, deliveries: &[DeliveryId]) -> Result<Vec<Receipt>> {
        let deliveries = keys(deliveries)?;
        Ok(self
            .db
            .read(move |db| read_receipts(db, account, &deliveries))
            .await?)
    }

    /// One way to a reader's thread and back instead of two: that is most of what such small reads cost.
    async fn arrivals(
        &self,
        account: AccountId,
        deliveries: &[DeliveryId],
        hashes: &[u64],
    ) -> Result<(Vec<Receipt>, Vec<Reference>)> {
        let (deliveries, hashes) = (keys(deliveries)?, keys(hashes)?);
        let read = move |db: &Connection| {
            Ok((
                read_receipts(db, account, &deliveries)?,
                read_references(db, account, &hashes)?,
            ))
        };
        Ok(self.db.read(read).await?)
    }

    async fn snapshot(&self, account: AccountId, folder: FolderId) -> Result<Option<SnapshotRow>> {
        let read = move |db: &Connection| {
            let mut select = db.prepare_cached(
                "SELECT folder, version, data FROM account_snapshot WHERE account = ?1 AND folder = ?2",
            )?;
            Ok(select
                .query_row(params![account.get(), folder.0], rows::snapshot)
                .optional()?)
        };
        Ok(self.db.read(read).await?)
    }

    async fn put_snapshot(&self, account: AccountId, snapshot: SnapshotRow) -> Result<()> {
        let write = move |tx: &mut Transaction<'_>| {
            // Two instances may save at the same time: the later index stays.
            tx.prepare_cached(
                "INSERT INTO account_snapshot (account, folder, version, data) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET version = excluded.version, data = excluded.data
                 WHERE version <= excluded.version",
            )?
            .execute(params![
                account.get(),
                snapshot.folder.0,
                snapshot.version.0,
                &snapshot.data[..]
            ])?;
            Ok(())
        };
        Ok(self.db.write(Vec::new(), write).await?)
    }

    async fn remove(&self, account: AccountId) -> Result<()> {
        // Found by a reader, so that nobody waits for the walk.
        let mut after = DeliveryId::default();
        loop {
            let receipts = self
                .db
                .read(move |db| read_receipts_of(db, account, after))
                .await?;
            let Some((last, _)) = receipts.last().copied() else {
                break;
            };
            self.db
                .write(Vec::new(), move |tx| delete_receipts(tx, &receipts))
                .await?;
            after = last;
        }
        // The head goes last, so that a removal that was interrupted can be seen and is finished by the next one.
        while self
            .db
            .write(Vec::new(), move |tx| remove_some(tx, account))
            .await?
        {}
        Ok(())
    }

    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>> {
        Ok(self.db.read(move |db| read_accounts(db, after, limit)).await?)
    }

    async fn expire(&self, changes_before: u64, now: u64) -> Result<bool> {
        let receipts = self.db.read(move |db| read_expired(db, now)).await?;
        let mut more = receipts.len() == EXPIRE_ROWS;
        if !receipts.is_empty() {
            self.db
                .write(Vec::new(), move |tx| delete_receipts(tx, &receipts))
                .await?;
        }
        let after = *self.expiry.0.lock();
        let accounts = self
            .db
            .read(move |db| read_accounts(db, after, EXPIRE_ACCOUNTS))
            .await?;
        let last = accounts
            .last()
            .copied()
            .filter(|_| accounts.len() == EXPIRE_ACCOUNTS);
        let old = self
            .db
            .read(move |db| read_old_changes(db, &accounts, changes_before))
            .await?;
        let again = old.iter().any(|old| old.more);
        if !old.is_empty() {
            self.db
                .write(Vec::new(), move |tx| {
                    old.iter().try_for_each(|old| delete_changes(tx, old))
                })
                .await?;
        }
        if !again {
            *self.expiry.0.lock() = last;
        }
        more |= again || last.is_some();
        Ok(more)
    }
}

/// Rows with descriptions, until these are large enough.
struct DescribedPage {
    rows: Vec<(MessageRow, Bytes)>,
    bytes: usize,
    most: usize,
}

impl DescribedPage {
    fn new(most: usize) -> Self {
        Self {
            rows: Vec::new(),
            bytes: 0,
            most,
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= self.most && !self.rows.is_empty()
    }

    fn push(&mut self, row: &rusqlite::Row<'_>) -> Job<()> {
        let description = rows::bytes(row, 10)?;
        self.bytes += description.len();
        self.rows.push((rows::message(row)?, description));
        Ok(())
    }
}

/// Changes of one account that have had their time.
struct OldChanges {
    account: AccountId,
    /// The last of them.
    version: u64,
    more: bool,
}

/// Several hashes a statement: each statement takes and gives back a lock on the database, which costs as much as the search.
fn read_references(db: &Connection, account: AccountId, hashes: &[u64]) -> Job<Vec<Reference>> {
    let mut select = db.prepare_cached(
        "SELECT hash, thread FROM account_reference
         WHERE account = ?1 AND hash IN (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let reference = |row: &Row<'_>| -> rusqlite::Result<Reference> {
        Ok(Reference {
            hash: row.get::<_, i64>(0)? as u64,
            thread: postrider_types::ThreadId::from_bytes(row.get(1)?),
        })
    };
    let mut found = Vec::with_capacity(hashes.len());
    for some in hashes.chunks(8) {
        // All places are filled, in turns: a value that stands there twice is found once.
        let mut keys = [account.get() as i64; 9];
        for (key, hash) in keys.iter_mut().skip(1).zip(some.iter().cycle()) {
            *key = *hash as i64;
        }
        for row in select.query_map(params_from_iter(keys), reference)? {
            found.push(row?);
        }
    }
    Ok(found)
}

fn read_receipts(db: &Connection, account: AccountId, deliveries: &[DeliveryId]) -> Job<Vec<Receipt>> {
    let mut select = db.prepare_cached(
        "SELECT delivery, version, folder, uid, expires FROM account_receipt
         WHERE delivery = ?2 AND account = ?1 AND expires > ?3",
    )?;
    let now = crate::unix_millis();
    let mut found = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        let key = params![account.get(), delivery.as_bytes(), now];
        found.extend(select.query_row(key, rows::receipt).optional()?);
    }
    Ok(found)
}

fn read_accounts(db: &Connection, after: Option<AccountId>, limit: usize) -> Job<Vec<AccountId>> {
    let mut select =
        db.prepare_cached("SELECT account FROM account WHERE account > ?1 ORDER BY account LIMIT ?2")?;
    let after = after.map_or(-1, |account| account.get() as i64);
    let ids = select.query_map(params![after, limit], |row| Ok(AccountId::new(row.get(0)?)))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

fn read_old_changes(db: &Connection, accounts: &[AccountId], before: u64) -> Job<Vec<OldChanges>> {
    let mut select = db.prepare_cached(
        "SELECT version, time FROM account_change WHERE account = ?1 ORDER BY version LIMIT ?2",
    )?;
    let mut all = Vec::new();
    for account in accounts {
        let mut last = None;
        let mut count = 0;
        let mut rows = select.query(params![account.get(), EXPIRE_ROWS])?;
        // Only from the front, whatever the clock did, so that the log has no holes.
        while let Some(row) = rows.next()?
            && row.get::<_, u64>(1)? < before
        {
            last = Some(row.get(0)?);
            count += 1;
        }
        all.extend(last.map(|version| OldChanges {
            account: *account,
            version,
            more: count == EXPIRE_ROWS,
        }));
    }
    Ok(all)
}

fn delete_changes(tx: &Transaction<'_>, old: &OldChanges) -> Job<()> {
    tx.prepare_cached("DELETE FROM account_change WHERE account = ?1 AND version <= ?2")?
        .execute(params![old.account.get(), old.version])?;
    Ok(())
}

type ReceiptKey = (DeliveryId, AccountId);

/// Expired receipts at the front, where the oldest deliveries are: one that has not expired yet is waited for.
fn read_expired(db: &Connection, now: u64) -> Job<Vec<ReceiptKey>> {
    let mut select = db.prepare_cached(
        "SELECT delivery, account, expires FROM account_receipt ORDER BY delivery LIMIT ?1",
    )?;
    let mut rows = select.query([EXPIRE_ROWS])?;
    let mut expired = Vec::new();
    while let Some(row) = rows.next()?
        && row.get::<_, u64>(2)? < now
    {
        expired.push((DeliveryId::from_bytes(row.get(0)?), AccountId::new(row.get(1)?)));
    }
    Ok(expired)
}

fn delete_receipts(tx: &Transaction<'_>, receipts: &[ReceiptKey]) -> Job<()> {
    let mut delete = tx.prepare_cached("DELETE FROM account_receipt WHERE delivery = ?1 AND account = ?2")?;
    for (delivery, account) in receipts {
        delete.execute(params![delivery.as_bytes(), account.get()])?;
    }
    Ok(())
}

/// Receipts of an account above a delivery: a walk over the receipts of all accounts, which are those of the last days.
fn read_receipts_of(db: &Connection, account: AccountId, after: DeliveryId) -> Job<Vec<ReceiptKey>> {
    let mut select = db.prepare_cached(
        "SELECT delivery FROM account_receipt WHERE delivery > ?1 AND account = ?2 ORDER BY delivery LIMIT ?3",
    )?;
    let key = params![after.as_bytes(), account.get(), REMOVE_ROWS];
    let keys = select.query_map(key, |row| Ok((DeliveryId::from_bytes(row.get(0)?), account)))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// Deletes some rows of each kind; whether there is more. The head goes when nothing else is left.
fn remove_some(tx: &mut Transaction<'_>, account: AccountId) -> Job<bool> {
    let contents: Vec<ContentId> = tx
        .prepare_cached(
            "DELETE FROM account_description WHERE account = ?1 AND content IN
                 (SELECT content FROM account_description WHERE account = ?1 LIMIT ?2) RETURNING content",
        )?
        .query_map(params![account.get(), REMOVE_ROWS], |row| {
            Ok(ContentId::from_bytes(row.get(0)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut more = contents.len() == REMOVE_ROWS;
    for content in contents {
        tx.release(content, Holder::Account(account))?;
    }
    for (table, key) in [
        ("account_message", "folder, uid"),
        ("account_change", "version"),
        ("account_reference", "hash"),
        ("account_snapshot", "folder"),
        ("account_folder", "folder"),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE account = ?1 AND ({key}) IN
                 (SELECT {key} FROM {table} WHERE account = ?1 LIMIT ?2)"
        );
        more |= tx
            .prepare_cached(&sql)?
            .execute(params![account.get(), REMOVE_ROWS])?
            == REMOVE_ROWS;
    }
    if !more {
        tx.prepare_cached("DELETE FROM account WHERE account = ?1")?
            .execute([account.get()])?;
    }
    Ok(more)
}
