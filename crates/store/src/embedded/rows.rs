//! Rows out of columns. A column that holds what it cannot hold is `Damaged`, never a panic or a guess.

use bytes::Bytes;
use postrider_embedded::{Error, Result};
use postrider_types::{AccountId, ContentId, DeliveryId, Flags, FolderId, Uid, Version};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::account::{ChangeRow, FolderRow, Head, MessageRow, Receipt, SnapshotRow};
use crate::encode::{decode_changes, decode_keywords};

/// An account's head.
pub(super) fn read_head(connection: &Connection, account: AccountId) -> Result<Option<Head>> {
    let mut select = connection.prepare_cached(
        "SELECT version, last_commit, used, messages, next_folder FROM account WHERE account = ?1",
    )?;
    let head = select.query_row([account.get()], |row| {
        Ok(Head {
            version: Version(row.get(0)?),
            last_commit: postrider_types::CommitId::from_bytes(row.get(1)?),
            used: row.get(2)?,
            messages: row.get(3)?,
            next_folder: FolderId(row.get(4)?),
        })
    });
    Ok(head.optional()?)
}

/// A folder from all columns behind the account, in the order of the table.
pub(super) fn folder(row: &Row<'_>) -> Result<FolderRow> {
    Ok(FolderRow {
        id: FolderId(row.get(0)?),
        name: row.get(1)?,
        uid_validity: row.get(2)?,
        uid_next: Uid(row.get(3)?),
        role: row.get(4)?,
        subscribed: row.get(5)?,
        exists: row.get(6)?,
        messages: row.get(7)?,
        unseen: row.get(8)?,
        deleted: row.get(9)?,
        size: row.get(10)?,
        deleted_size: row.get(11)?,
        keywords: keywords(row, 12)?,
        created: Version(row.get(13)?),
        changed: Version(row.get(14)?),
    })
}

/// A message from all columns behind the account, in the order of the table.
pub(super) fn message(row: &Row<'_>) -> Result<MessageRow> {
    Ok(MessageRow {
        folder: FolderId(row.get(0)?),
        uid: Uid(row.get(1)?),
        content: ContentId::from_bytes(row.get(2)?),
        thread: postrider_types::ThreadId::from_bytes(row.get(3)?),
        size: row.get(4)?,
        received: row.get(5)?,
        saved: row.get(6)?,
        flags: Flags::from_bits(row.get(7)?),
        keywords: keywords(row, 8)?,
        modseq: Version(row.get(9)?),
    })
}

/// A change from `version, time, changes`.
pub(super) fn change(row: &Row<'_>) -> Result<ChangeRow> {
    let changes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(ChangeRow {
        version: Version(row.get(0)?),
        time: row.get(1)?,
        changes: decode_changes(changes)?,
    })
}

/// A receipt from `delivery, version, folder, uid, expires`.
pub(super) fn receipt(row: &Row<'_>) -> rusqlite::Result<Receipt> {
    Ok(Receipt {
        delivery: DeliveryId::from_bytes(row.get(0)?),
        version: Version(row.get(1)?),
        folder: FolderId(row.get(2)?),
        uid: Uid(row.get(3)?),
        expires: row.get(4)?,
    })
}

/// A snapshot from `folder, version, data`.
pub(super) fn snapshot(row: &Row<'_>) -> rusqlite::Result<SnapshotRow> {
    Ok(SnapshotRow {
        folder: FolderId(row.get(0)?),
        version: Version(row.get(1)?),
        data: bytes(row, 2)?,
    })
}

/// A blob; empty where the column is null.
pub(super) fn bytes(row: &Row<'_>, index: usize) -> rusqlite::Result<Bytes> {
    Ok(row.get::<_, Option<Vec<u8>>>(index)?.unwrap_or_default().into())
}

fn keywords(row: &Row<'_>, index: usize) -> Result<Vec<postrider_types::Keyword>> {
    let text = row.get_ref(index)?.as_str().map_err(rusqlite::Error::from)?;
    decode_keywords(text).map_err(Error::from)
}
