//! Rows out of columns. A column that holds what it cannot hold is `Damaged`, never a panic or a guess.

use bytes::Bytes;
use postrider_cql::DeserializeRow;
use postrider_types::{AccountId, CommitId, ContentId, DeliveryId, Flags, FolderId, ThreadId, Uid, Version};

use crate::account::{ChangeRow, FolderRow, Head, MessageRow, Receipt, Reference};
use crate::encode::{decode_changes, decode_keywords};
use crate::{Error, Result};

/// The columns of a head: null, all of them, where there is none.
pub(super) type HeadColumns = (
    Option<i64>,
    Option<Vec<u8>>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// A head, if the partition has one.
pub(super) fn head(columns: HeadColumns) -> Result<Option<Head>> {
    let (Some(version), Some(commit), Some(used), Some(messages), Some(next_folder)) = columns else {
        return Ok(None);
    };
    Ok(Some(Head {
        version: Version(version as u64),
        last_commit: CommitId::from_slice(&commit).ok_or_else(|| damaged("the head of an account"))?,
        used: used as u64,
        messages: messages as u64,
        next_folder: FolderId(number(next_folder)?),
    }))
}

/// A folder with the head beside it.
#[derive(DeserializeRow)]
#[scylla(crate = postrider_cql::driver)]
pub(super) struct FolderColumns {
    version: Option<i64>,
    last_commit: Option<Vec<u8>>,
    used: Option<i64>,
    messages: Option<i64>,
    next_folder: Option<i64>,
    number: i64,
    name: String,
    uid_validity: i64,
    uid_next: i64,
    role: String,
    subscribed: bool,
    present: bool,
    total: i64,
    unseen: i64,
    deleted: i64,
    size: i64,
    deleted_size: i64,
    keywords: String,
    created: i64,
    changed: i64,
}

impl FolderColumns {
    pub(super) fn read(self) -> Result<(Option<Head>, FolderRow)> {
        let head = head((
            self.version,
            self.last_commit,
            self.used,
            self.messages,
            self.next_folder,
        ))?;
        let folder = FolderRow {
            id: FolderId(number(self.number)?),
            name: self.name,
            uid_validity: number(self.uid_validity)?,
            uid_next: Uid(number(self.uid_next)?),
            role: self.role,
            subscribed: self.subscribed,
            exists: self.present,
            messages: number(self.total)?,
            unseen: number(self.unseen)?,
            deleted: number(self.deleted)?,
            size: self.size as u64,
            deleted_size: self.deleted_size as u64,
            keywords: decode_keywords(&self.keywords)?,
            created: Version(self.created as u64),
            changed: Version(self.changed as u64),
        };
        Ok((head, folder))
    }
}

/// `number, uid, content, thread, size, received, saved, flags, keywords, modseq`
pub(super) type MessageColumns = (i64, i64, Vec<u8>, Vec<u8>, i64, i64, i64, i16, String, i64);

pub(super) fn message(columns: MessageColumns) -> Result<MessageRow> {
    let (folder, uid, content, thread, size, received, saved, flags, keywords, modseq) = columns;
    Ok(MessageRow {
        folder: FolderId(number(folder)?),
        uid: Uid(number(uid)?),
        content: content_id(&content)?,
        thread: ThreadId::from_slice(&thread).ok_or_else(|| damaged("a thread id"))?,
        size: size as u64,
        received: received as u64,
        saved: saved as u64,
        flags: Flags::from_bits(u8::try_from(flags).map_err(|_| damaged("the flags of a message"))?),
        keywords: decode_keywords(&keywords)?,
        modseq: Version(modseq as u64),
    })
}

/// From `number, time, data`.
pub(super) fn change((version, time, data): (i64, i64, Vec<u8>)) -> Result<ChangeRow> {
    Ok(ChangeRow {
        version: Version(version as u64),
        time: time as u64,
        changes: decode_changes(&data)?,
    })
}

/// From `number, thread`.
pub(super) fn reference((hash, thread): (i64, Vec<u8>)) -> Result<Reference> {
    Ok(Reference {
        hash: hash as u64,
        thread: ThreadId::from_slice(&thread).ok_or_else(|| damaged("a thread id"))?,
    })
}

/// From `id, modseq, folder, message, expires`.
pub(super) fn receipt(columns: (Vec<u8>, i64, i64, i64, i64)) -> Result<Receipt> {
    let (delivery, version, folder, message, expires) = columns;
    Ok(Receipt {
        delivery: DeliveryId::from_slice(&delivery).ok_or_else(|| damaged("a delivery id"))?,
        version: Version(version as u64),
        folder: FolderId(number(folder)?),
        uid: Uid(number(message)?),
        expires: expires as u64,
    })
}

/// A content's id.
pub(super) fn content_id(bytes: &[u8]) -> Result<ContentId> {
    ContentId::from_slice(bytes).ok_or_else(|| damaged("a content id"))
}

/// An account as a holder.
pub(super) fn account_holder(account: AccountId) -> Bytes {
    Bytes::copy_from_slice(&account.get().to_be_bytes())
}

/// An id as a blob that can be kept.
pub(super) fn blob(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(id)
}

/// A number of 32 bits.
pub(super) fn number(column: i64) -> Result<u32> {
    u32::try_from(column).map_err(|_| damaged("a number of 32 bits"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged(format!("{what} in the account table is not what it must be"))
}
