//! A commit in the making.
//!
//! Operations are planned one after the other against a draft: each sees the account as the ones before it leave it.
//! The draft keeps the *net* effect by row, so that a commit never puts and deletes the same row, however operations
//! are merged (a message that comes and goes within one commit leaves only a used UID). Nothing here is durable:
//! [`Draft::seal`] gives the commit, and [`crate::commit`] has the engine take or refuse it.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_proto::Failure;
use postrider_store::AccountEngine;
use postrider_store::account::{FolderRow, Head, MessageRow, Receipt};
use postrider_types::{
    AccountId, CommitId, ContentId, DeliveryId, Flags, FolderId, Keyword, SystemFlag, ThreadId, Uid, Version,
};

use crate::failure::{no_such_folder, precondition, storage};
use crate::index::ALL_UIDS;
use crate::lookup::{Lookups, MAX_LOOKUP};
use crate::state::State;

mod seal;

pub(crate) use seal::Sealed;

/// Keywords a folder remembers as being in use; later ones are still kept on their messages.
const MAX_FOLDER_KEYWORDS: usize = 256;

/// What every account has from its first commit on: name and role.
const FIRST_FOLDERS: [(&str, &str); 6] = [
    (crate::names::INBOX, "inbox"),
    ("Drafts", "drafts"),
    ("Sent", "sent"),
    ("Junk", "junk"),
    ("Trash", "trash"),
    ("Archive", "archive"),
];

/// A message that is to come to be.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub content: ContentId,
    pub thread: ThreadId,
    pub size: u64,
    pub received: u64,
    pub flags: Flags,
    pub keywords: Vec<Keyword>,
}

/// The net effect on one message row.
#[derive(Debug)]
enum Pending {
    /// It is new.
    Added(MessageRow),
    /// It was there, and has other flags.
    Changed(MessageRow),
    /// It was there, with this content, and is gone.
    Removed(ContentId),
    /// It came and went: its UID is used, nothing else.
    Vanished,
}

/// The net effect on one folder row.
#[derive(Debug)]
struct Edit {
    row: FolderRow,
    /// Its name, role or subscription is news; otherwise only counts changed.
    news: bool,
}

/// A commit in the making; see the module.
pub(crate) struct Draft<'a> {
    engine: &'a dyn AccountEngine,
    state: &'a State,
    account: AccountId,
    now: u64,
    head: Head,
    folders: BTreeMap<FolderId, Option<Edit>>,
    names: BTreeMap<String, Option<FolderId>>,
    messages: BTreeMap<(FolderId, Uid), Pending>,
    descriptions: BTreeMap<ContentId, Bytes>,
    contents: Vec<(ContentId, Bytes)>,
    receipts: Vec<Receipt>,
    references: BTreeMap<u64, ThreadId>,
    lookups: Lookups,
    effects: u64,
}

impl<'a> Draft<'a> {
    /// On top of a state. An account at version 0 gets its first folders.
    pub fn new(
        engine: &'a dyn AccountEngine,
        account: AccountId,
        state: &'a State,
        lookups: Lookups,
        now: u64,
    ) -> Self {
        let mut head = state.head().clone();
        head.version = head.version.next();
        head.last_commit = CommitId::generate();
        let mut draft = Self {
            engine,
            state,
            account,
            now,
            head,
            folders: BTreeMap::new(),
            names: BTreeMap::new(),
            messages: BTreeMap::new(),
            descriptions: BTreeMap::new(),
            contents: Vec::new(),
            receipts: Vec::new(),
            references: BTreeMap::new(),
            lookups,
            effects: 0,
        };
        if state.version() == Version(0) {
            for (name, role) in FIRST_FOLDERS {
                draft.add_folder(name, role, true);
            }
        }
        draft
    }

    /// The version the account has if this draft is committed.
    pub fn version(&self) -> Version {
        self.head.version
    }

    /// The version at which an operation's answer is true: this draft's if it had an effect, else the one before.
    pub fn version_of(&self, effect: bool) -> Version {
        if effect {
            self.version()
        } else {
            self.state.version()
        }
    }

    /// The head as it would be.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Rises with every effect: equal values, nothing happened in between.
    pub fn effects(&self) -> u64 {
        self.effects
    }

    // Folders.

    /// A folder's row, whether it exists or is only subscribed.
    pub fn row(&self, id: FolderId) -> Option<&FolderRow> {
        match self.folders.get(&id) {
            Some(edit) => edit.as_ref().map(|edit| &edit.row),
            None => self.state.row(id).map(|row| &**row),
        }
    }

    /// An existing folder.
    pub fn folder(&self, id: FolderId) -> Result<&FolderRow, Failure> {
        self.row(id).filter(|row| row.exists).ok_or_else(no_such_folder)
    }

    /// The row of a name, whether it exists or is only subscribed.
    pub fn row_named(&self, name: &str) -> Option<&FolderRow> {
        match self.names.get(name) {
            Some(id) => id.and_then(|id| self.row(id)),
            None => self.state.row_named(name).map(|row| &**row),
        }
    }

    /// An existing folder of a name.
    pub fn folder_named(&self, name: &str) -> Option<&FolderRow> {
        self.row_named(name).filter(|row| row.exists)
    }

    /// The ids of the rows whose names begin with `prefix`, names ascending.
    pub fn rows_below(&self, prefix: &str) -> Vec<FolderId> {
        let mut found: BTreeMap<&str, FolderId> = self
            .state
            .rows_below(prefix)
            .filter(|row| !self.names.contains_key(&row.name))
            .map(|row| (row.name.as_str(), row.id))
            .collect();
        let renamed = self.names.iter().filter(|(name, _)| name.starts_with(prefix));
        found.extend(renamed.filter_map(|(name, id)| Some((name.as_str(), (*id)?))));
        found.into_values().collect()
    }

    /// The existing folder with a special use.
    pub fn folder_with_role(&self, role: &str) -> Option<FolderId> {
        let edited = self.folders.values().flatten().map(|edit| &edit.row);
        let kept = self
            .state
            .rows_by_name()
            .map(|row| &**row)
            .filter(|row| !self.folders.contains_key(&row.id));
        edited
            .chain(kept)
            .find(|row| row.exists && row.role == role)
            .map(|row| row.id)
    }

    /// How many rows of folders there would be at most.
    pub fn row_count(&self) -> usize {
        self.state.row_count()
            + self
                .folders
                .keys()
                .filter(|id| self.state.row(**id).is_none())
                .count()
    }

    /// Makes a folder. Its UIDVALIDITY is that of INBOX (the second in which the account began) plus its number less
    /// one: folder numbers only rise, so that no name gets the same UIDVALIDITY twice, whatever the clocks do.
    pub fn add_folder(&mut self, name: &str, role: &str, subscribed: bool) -> FolderId {
        let id = self.head.next_folder;
        let began = match self.row(FolderId::INBOX) {
            Some(inbox) => inbox.uid_validity,
            None => u32::try_from(self.now / 1000).unwrap_or(u32::MAX / 2).max(1),
        };
        self.put_folder_row(FolderRow {
            id,
            name: name.into(),
            uid_validity: began.saturating_add(id.0 - FolderId::INBOX.0),
            uid_next: Uid(1),
            role: role.into(),
            subscribed,
            exists: true,
            messages: 0,
            unseen: 0,
            deleted: 0,
            size: 0,
            deleted_size: 0,
            keywords: Vec::new(),
            created: self.head.version,
            changed: self.head.version,
        });
        self.head.next_folder = FolderId(id.0.saturating_add(1));
        id
    }

    /// Changes a folder's name, role, subscription or existence.
    pub fn edit_folder(&mut self, id: FolderId, edit: impl FnOnce(&mut FolderRow)) -> Result<(), Failure> {
        let mut row = self.row(id).ok_or_else(no_such_folder)?.clone();
        let name = row.name.clone();
        edit(&mut row);
        if row.name != name && self.names.get(&name).is_none_or(|named| *named == Some(id)) {
            self.names.insert(name, None);
        }
        row.changed = self.head.version;
        self.put_folder_row(row);
        Ok(())
    }

    /// Removes a folder's row. Its messages must be gone.
    pub fn delete_folder_row(&mut self, id: FolderId) {
        if let Some(row) = self.row(id) {
            let name = row.name.clone();
            self.names.insert(name, None);
            self.folders.insert(id, None);
            self.effects += 1;
        }
    }

    // Messages.

    /// Message rows of a folder by UID, ascending, as the draft leaves them; missing ones are left out.
    pub async fn messages(&self, folder: FolderId, uids: &[Uid]) -> Result<Vec<MessageRow>, Failure> {
        let mut stored = Vec::new();
        for some in uids.chunks(MAX_LOOKUP) {
            stored.extend(
                self.engine
                    .messages_by_uid(self.account, folder, some)
                    .await
                    .map_err(storage)?,
            );
        }
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else {
            return Ok(stored);
        };
        let mut pending = self.messages.range((folder, *first)..=(folder, *last)).peekable();
        if pending.peek().is_none() {
            return Ok(stored);
        }
        let mut rows: BTreeMap<Uid, MessageRow> = stored.into_iter().map(|row| (row.uid, row)).collect();
        for ((_, uid), effect) in pending {
            match effect {
                Pending::Added(row) | Pending::Changed(row) if uids.binary_search(uid).is_ok() => {
                    rows.insert(*uid, row.clone());
                }
                Pending::Added(_) | Pending::Changed(_) => {}
                Pending::Removed(_) | Pending::Vanished => {
                    rows.remove(uid);
                }
            }
        }
        Ok(rows.into_values().collect())
    }

    /// All message rows of a folder as the draft leaves them, or the first of them if there are more than `limit`.
    pub async fn folder_messages(&self, folder: FolderId, limit: usize) -> Result<Vec<MessageRow>, Failure> {
        let stored = self
            .engine
            .messages(self.account, folder, ALL_UIDS, limit)
            .await
            .map_err(storage)?;
        let pending = self
            .messages
            .range((folder, *ALL_UIDS.start())..=(folder, *ALL_UIDS.end()));
        let mut uids: Vec<Uid> = stored
            .iter()
            .map(|row| row.uid)
            .chain(pending.map(|((_, uid), _)| *uid))
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids.truncate(limit);
        self.messages(folder, &uids).await
    }

    /// Whether `more` messages can still get UIDs there.
    pub fn has_uids(&self, folder: FolderId, more: usize) -> Result<(), Failure> {
        let left = u32::MAX - self.folder(folder)?.uid_next.0;
        if more > left as usize {
            return Err(precondition("the folder has used all of its uids"));
        }
        Ok(())
    }

    /// Appends a message; see [`Self::has_uids`].
    pub fn add_message(&mut self, folder: FolderId, message: NewMessage) -> Result<Uid, Failure> {
        self.has_uids(folder, 1)?;
        let (version, now) = (self.head.version, self.now);
        let target = self.counts(folder)?;
        let uid = target.uid_next;
        target.uid_next = Uid(uid.0.saturating_add(1));
        let row = MessageRow {
            folder,
            uid,
            content: message.content,
            thread: message.thread,
            size: message.size,
            received: message.received,
            saved: now,
            flags: message.flags,
            keywords: message.keywords,
            modseq: version,
        };
        remember_keywords(target, &row.keywords);
        count(target, &row, Sign::In);
        self.head.used = self.head.used.saturating_add(row.size);
        self.head.messages = self.head.messages.saturating_add(1);
        self.messages.insert((folder, uid), Pending::Added(row));
        Ok(uid)
    }

    /// Gives a message other flags; the row as it is then.
    pub fn set_flags(
        &mut self,
        old: &MessageRow,
        flags: Flags,
        keywords: Vec<Keyword>,
    ) -> Result<MessageRow, Failure> {
        let version = self.head.version;
        let row = MessageRow {
            flags,
            keywords,
            modseq: version,
            ..old.clone()
        };
        let target = self.counts(old.folder)?;
        count(target, old, Sign::Out);
        count(target, &row, Sign::In);
        remember_keywords(target, &row.keywords);
        let effect = match self.messages.get(&(old.folder, old.uid)) {
            Some(Pending::Added(_)) => Pending::Added(row.clone()),
            _ => Pending::Changed(row.clone()),
        };
        self.messages.insert((old.folder, old.uid), effect);
        Ok(row)
    }

    /// Removes a message.
    pub fn remove_message(&mut self, old: &MessageRow) -> Result<(), Failure> {
        count(self.counts(old.folder)?, old, Sign::Out);
        self.head.used = self.head.used.saturating_sub(old.size);
        self.head.messages = self.head.messages.saturating_sub(1);
        let effect = match self.messages.get(&(old.folder, old.uid)) {
            Some(Pending::Added(_)) => Pending::Vanished,
            _ => Pending::Removed(old.content),
        };
        self.messages.insert((old.folder, old.uid), effect);
        Ok(())
    }

    /// Describes a content, so that the account holds it.
    pub fn describe(&mut self, content: ContentId, description: Bytes) {
        self.descriptions.insert(content, description);
    }

    /// Content to make durable with the commit; it must be described too.
    pub fn store(&mut self, content: ContentId, data: Bytes) {
        if !self.contents.iter().any(|(id, _)| *id == content) {
            self.contents.push((content, data));
        }
    }

    // Deliveries and conversations.

    /// The receipt of a delivery, if it happened.
    pub fn receipt(&self, delivery: DeliveryId) -> Option<Receipt> {
        let here = self.receipts.iter().find(|receipt| receipt.delivery == delivery);
        here.or_else(|| self.lookups.receipts.get(&delivery)).copied()
    }

    /// Writes a receipt.
    pub fn add_receipt(&mut self, receipt: Receipt) {
        self.receipts.push(receipt);
        self.effects += 1;
    }

    /// The conversation of a Message-ID, if it is known.
    pub fn thread(&self, hash: u64) -> Option<ThreadId> {
        self.references
            .get(&hash)
            .or_else(|| self.lookups.threads.get(&hash))
            .copied()
    }

    /// Notes the conversation of a Message-ID.
    pub fn add_reference(&mut self, hash: u64, thread: ThreadId) {
        self.references.insert(hash, thread);
        self.effects += 1;
    }

    fn put_folder_row(&mut self, row: FolderRow) {
        self.names.insert(row.name.clone(), Some(row.id));
        self.folders.insert(row.id, Some(Edit { row, news: true }));
        self.effects += 1;
    }

    /// The row of an existing folder, to change its counts.
    fn counts(&mut self, id: FolderId) -> Result<&mut FolderRow, Failure> {
        let version = self.head.version;
        if !self.folders.contains_key(&id) {
            let row = FolderRow::clone(self.state.folder(id).ok_or_else(no_such_folder)?);
            self.folders.insert(id, Some(Edit { row, news: false }));
        }
        let edit = self
            .folders
            .get_mut(&id)
            .and_then(Option::as_mut)
            .filter(|edit| edit.row.exists);
        let row = &mut edit.ok_or_else(no_such_folder)?.row;
        row.changed = version;
        self.effects += 1;
        Ok(row)
    }
}

enum Sign {
    In,
    Out,
}

/// Counts a message into or out of its folder.
fn count(folder: &mut FolderRow, message: &MessageRow, sign: Sign) {
    let unseen = u32::from(!message.flags.contains(SystemFlag::Seen));
    let deleted = message.flags.contains(SystemFlag::Deleted);
    let deleted_size = if deleted { message.size } else { 0 };
    let small: fn(u32, u32) -> u32 = match sign {
        Sign::In => u32::saturating_add,
        Sign::Out => u32::saturating_sub,
    };
    let large: fn(u64, u64) -> u64 = match sign {
        Sign::In => u64::saturating_add,
        Sign::Out => u64::saturating_sub,
    };
    folder.messages = small(folder.messages, 1);
    folder.unseen = small(folder.unseen, unseen);
    folder.deleted = small(folder.deleted, u32::from(deleted));
    folder.size = large(folder.size, message.size);
    folder.deleted_size = large(folder.deleted_size, deleted_size);
}

fn remember_keywords(folder: &mut FolderRow, keywords: &[Keyword]) {
    for keyword in keywords {
        if folder.keywords.len() >= MAX_FOLDER_KEYWORDS {
            return;
        }
        if let Err(place) = folder.keywords.binary_search(keyword) {
            folder.keywords.insert(place, keyword.clone());
        }
    }
}
