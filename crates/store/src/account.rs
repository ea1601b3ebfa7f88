//! One account is one log: the rows of an account and the engine trait over them.
//!
//! > An account is an ordered log of commits. A commit moves the account from version v to v+1, or does not happen.
//! > Every row that belongs to the account changes only in a commit.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_types::{
    AccountId, CommitId, ContentId, DeliveryId, Flags, FolderId, Keyword, ThreadId, Uid, Version,
};

use crate::{Error, Result};

/// The head of an account: one row. An account without a head has never seen a commit; it is at version 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of commits so far.
    pub version: Version,
    /// The id of the last of them.
    pub last_commit: CommitId,
    /// Bytes of all messages, copies counted each time.
    pub used: u64,
    /// Messages in all folders.
    pub messages: u64,
    /// The number the next folder gets.
    pub next_folder: FolderId,
}

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderRow {
    /// Its number, for ever.
    pub id: FolderId,
    /// UTF-8 with `/` between levels; INBOX in capitals. Unique in the account.
    pub name: String,
    /// UIDVALIDITY (RFC 9051 §2.3.1.1).
    pub uid_validity: u32,
    /// The UID the next message gets; 2^32 - 1 is never given out.
    pub uid_next: Uid,
    /// Special use without the backslash in lower case (`sent`, `trash`, …, `inbox`), or empty.
    pub role: String,
    /// Whether the user subscribed it.
    pub subscribed: bool,
    /// False: the folder is gone, only its subscription is left.
    pub exists: bool,
    /// Messages in it.
    pub messages: u32,
    /// Those without `\Seen`.
    pub unseen: u32,
    /// Those with `\Deleted`.
    pub deleted: u32,
    /// Bytes of its messages.
    pub size: u64,
    /// Bytes of those with `\Deleted`.
    pub deleted_size: u64,
    /// Keywords its messages ever bore, ascending, at most 256.
    pub keywords: Vec<Keyword>,
    /// The version that made it.
    pub created: Version,
    /// The version that last changed it or one of its messages: HIGHESTMODSEQ.
    pub changed: Version,
}

/// A message in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    /// Where it is.
    pub folder: FolderId,
    /// Its number there.
    pub uid: Uid,
    /// Its content, and its identity across folders.
    pub content: ContentId,
    /// Its conversation.
    pub thread: ThreadId,
    /// Bytes (RFC822.SIZE).
    pub size: u64,
    /// INTERNALDATE, milliseconds since the Unix epoch.
    pub received: u64,
    /// When it came to be in this folder (SAVEDATE), milliseconds since the Unix epoch.
    pub saved: u64,
    /// System flags.
    pub flags: Flags,
    /// Keywords, ascending.
    pub keywords: Vec<Keyword>,
    /// The version that last changed it.
    pub modseq: Version,
}

/// What one commit did, enough to bring a folder index forward without reading messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    /// The commit's version.
    pub version: Version,
    /// When, milliseconds since the Unix epoch: decides when the row is dropped.
    pub time: u64,
    /// What, in the order it took effect.
    pub changes: Vec<Change>,
}

/// One effect of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Messages came to be in a folder, ascending UIDs.
    Added(FolderId, Vec<FlagState>),
    /// Flags of messages are now as given, ascending UIDs.
    Flags(FolderId, Vec<FlagState>),
    /// Messages are gone, ascending UIDs.
    Removed(FolderId, Vec<Uid>),
    /// A folder came to be, or its name, role or subscription changed.
    Folder(FolderId),
    /// A folder is gone.
    FolderRemoved(FolderId),
}

/// A message's flags at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagState {
    /// Which message.
    pub uid: Uid,
    /// System flags.
    pub flags: Flags,
    /// Keywords, ascending.
    pub keywords: Vec<Keyword>,
}

/// The proof that a delivery happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The commit that appended the message.
    pub version: Version,
    /// Where to.
    pub folder: FolderId,
    /// As which message.
    pub uid: Uid,
    /// When the receipt may be dropped, milliseconds since the Unix epoch.
    pub expires: u64,
}

/// A message id's conversation, so that a reply finds it at delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// A 64-bit hash of the Message-ID.
    pub hash: u64,
    /// Its conversation.
    pub thread: ThreadId,
}

/// A saved folder index. Not part of a commit: it is derived and may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Of which folder.
    pub folder: FolderId,
    /// True at this version.
    pub version: Version,
    /// The index, as `mail-store` encodes it.
    pub data: Bytes,
}

/// A description of a content, kept per account in the order of content ids, so that a folder listing is one range read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptionRow {
    /// Of which content.
    pub content: ContentId,
    /// Structure with offsets, envelope, preview, as the message crate encodes them.
    pub data: Bytes,
}

/// Changes to an account's rows. `put` replaces a row of the same key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Folders to put.
    pub put_folders: Vec<FolderRow>,
    /// Folders to delete (their messages are deleted by name in `delete_messages`, in this commit or earlier).
    pub delete_folders: Vec<FolderId>,
    /// Messages to put whole: they are new in their folder.
    pub put_messages: Vec<MessageRow>,
    /// Messages that exist and change only in flags, keywords and modseq.
    pub update_messages: Vec<(FolderId, FlagState)>,
    /// Messages to delete.
    pub delete_messages: Vec<(FolderId, Uid)>,
    /// Descriptions to put. Putting one also makes the account a holder of the content.
    pub put_descriptions: Vec<DescriptionRow>,
    /// Contents that no message row of the account refers to any more once this commit is done: their description
    /// is dropped, and the account stops being a holder.
    pub drop_descriptions: Vec<ContentId>,
    /// References to put: new in the account, or the commit is [`Outcome::Known`].
    pub put_references: Vec<Reference>,
    /// Receipts to put: new in the account (or there, but expired), or the commit is [`Outcome::Known`].
    pub put_receipts: Vec<Receipt>,
}

impl Rows {
    /// How many rows they are, as [`CommitLimits`] counts them.
    pub fn count(&self) -> usize {
        self.put_folders.len()
            + self.delete_folders.len()
            + self.put_messages.len() * CommitLimits::NEW_MESSAGE
            + self.update_messages.len()
            + self.delete_messages.len()
            + self.put_descriptions.len()
            + self.drop_descriptions.len() * CommitLimits::DROPPED_CONTENT
            + self.put_references.len()
            + self.put_receipts.len()
    }

    /// How many bytes they are, roughly.
    pub fn bytes(&self) -> usize {
        let descriptions = self.put_descriptions.iter().map(|row| row.data.len());
        self.count() * CommitLimits::ROW + descriptions.sum::<usize>()
    }
}

/// One commit: a compare-and-append.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Whose.
    pub account: AccountId,
    /// The version the account must be at (0: no head yet). The new head's version is one more.
    pub expected: Version,
    /// The head after it, with `version` = expected + 1 and a fresh `last_commit`.
    pub head: Head,
    /// The change row (its version is the new version).
    pub change: ChangeRow,
    /// The rows.
    pub rows: Rows,
    /// Contents to make durable before any row of this commit (each new, each referred to by a `put_descriptions`).
    pub contents: Vec<(ContentId, Bytes)>,
}

impl Commit {
    /// Whether it keeps the rules every engine relies on: the head and the change row are one version above `expected`, and every content
    /// it brings is described by it.
    pub fn check(&self) -> Result<()> {
        let next = self
            .expected
            .0
            .checked_add(1)
            .filter(|next| *next <= i64::MAX as u64)
            .map(Version);
        if Some(self.head.version) != next || Some(self.change.version) != next {
            return Err(Error::Invalid(format!(
                "a commit that expects version {} cannot make version {} with change {}",
                self.expected, self.head.version, self.change.version
            )));
        }
        let described = |id| self.rows.put_descriptions.iter().any(|row| row.content == id);
        match self.contents.iter().find(|(id, _)| !described(*id)) {
            Some((id, _)) => Err(Error::Invalid(format!(
                "the commit brings content {id} without describing it"
            ))),
            None => Ok(()),
        }
    }
}

/// How a commit ended, when it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    Committed,
    /// The account was not at the expected version; nothing was done.
    Conflict,
    /// The account has a receipt or a reference that the commit puts already; nothing was done.
    Known,
}

/// How large commits should be at most. An operation that needs more is a sequence of commits, each of which leaves the account whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitLimits {
    /// Rows put, updated or deleted, head and change row apart.
    pub rows: usize,
    /// Bytes of the rows, descriptions included and contents not.
    pub bytes: usize,
}

impl Default for CommitLimits {
    /// Those of an engine that writes a commit to one disk.
    fn default() -> Self {
        Self {
            rows: 10_000,
            bytes: 16 << 20,
        }
    }
}

impl CommitLimits {
    /// Rows a new message counts as: it is found by its UID and by its content.
    pub const NEW_MESSAGE: usize = 2;
    /// Rows a content that is dropped counts as: its description, and where it was.
    pub const DROPPED_CONTENT: usize = 2;
    /// Bytes a row counts as, its description apart.
    pub const ROW: usize = 100;
}

/// What [`AccountEngine::sift`] asks of each message: given its UID and description, the answer is the caller's.
pub type Sieve = Box<dyn FnMut(Uid, &[u8]) -> Option<bool> + Send>;

/// Storage of accounts' rows.
///
/// # What every engine does (the suite checks each)
/// * `commit` is atomic: all of its rows, or none; at one version exactly one commit wins; versions rise by one.
/// * A receipt that has not expired and a reference are written once: a commit that puts one the account has is `Known`. So a delivery
///   need not ask for its receipt before it commits. A commit that is also late is `Conflict`.
/// * When `commit` returns `Committed`, contents, rows and head survive a crash and a power loss (memory engine apart).
/// * A row never refers to a content that is not durable.
/// * `Error::Unknown` may have committed or not; reading `head` afterwards tells (its `last_commit`), and keeps telling.
/// * `head`, and every read made after it by the same caller, sees at least the commits acknowledged before the call.
/// * Ranges are inclusive, results ascend by key; a page holds at most `limit` rows, and a short page is the last
///   (unless its descriptions are as large as was asked for).
/// * A missing account behaves as one at version 0 without rows.
#[async_trait]
pub trait AccountEngine: Send + Sync + 'static {
    /// Above this a commit costs more than two smaller ones, or delays others. Every engine takes somewhat larger ones; one that is far
    /// too large is [`Error::Invalid`].
    fn commit_limits(&self) -> CommitLimits {
        CommitLimits::default()
    }

    /// The head, or `None` before the first commit.
    async fn head(&self, account: AccountId) -> Result<Option<Head>>;

    /// Head and all folders at one version, ids ascending.
    async fn folders(&self, account: AccountId) -> Result<Option<(Head, Vec<FolderRow>)>>;

    /// Compare-and-append.
    async fn commit(&self, commit: Commit) -> Result<Outcome>;

    /// Message rows of a folder.
    async fn messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<MessageRow>>;

    /// The sizes of messages of a folder: of [`Self::messages`] only these.
    async fn sizes(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
    ) -> Result<Vec<(Uid, u64)>> {
        let rows = self.messages(account, folder, uids, limit).await?;
        Ok(rows.into_iter().map(|row| (row.uid, row.size)).collect())
    }

    /// Message rows of a folder with their descriptions (empty bytes where one is missing). The page ends with the row whose
    /// description makes `most` bytes of all of them.
    async fn described_messages(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        limit: usize,
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>>;

    /// The same of messages named by UID, as [`AccountEngine::messages_by_uid`] finds them.
    async fn described_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
        most: usize,
    ) -> Result<Vec<(MessageRow, Bytes)>>;

    /// Looks at the descriptions of messages where they lie, without carrying them away. The messages of the range of which `sieve`
    /// does not say `Some(false)`, ascending, with what it says; a missing description is empty. The caller bounds the range.
    async fn sift(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: RangeInclusive<Uid>,
        mut sieve: Sieve,
    ) -> Result<Vec<(Uid, Option<bool>)>> {
        const PAGE: usize = 256;
        const PAGE_BYTES: usize = 1 << 20;
        let (mut found, mut next) = (Vec::new(), Some(*uids.start()));
        while let Some(first) = next {
            let range = first..=*uids.end();
            let page = self
                .described_messages(account, folder, range, PAGE, PAGE_BYTES)
                .await?;
            next = page.last().and_then(|(row, _)| row.uid.checked_next());
            for (row, description) in page {
                match sieve(row.uid, &description) {
                    Some(false) => {}
                    said => found.push((row.uid, said)),
                }
            }
        }
        Ok(found)
    }

    /// Message rows named by UID, ascending; missing ones are left out. At most 1,000 UIDs a call.
    async fn messages_by_uid(
        &self,
        account: AccountId,
        folder: FolderId,
        uids: &[Uid],
    ) -> Result<Vec<MessageRow>>;

    /// Where contents are in the account: a row per copy, ordered by content. At most 1,000 contents a call.
    async fn places(
        &self,
        account: AccountId,
        contents: &[ContentId],
    ) -> Result<Vec<(ContentId, FolderId, Uid)>>;

    /// The description of a content, if the account holds it.
    async fn description(&self, account: AccountId, content: ContentId) -> Result<Option<Bytes>>;

    /// Change rows above `after`. The first row's version is `after + 1` unless the log no longer reaches back that far.
    async fn changes(&self, account: AccountId, after: Version, limit: usize) -> Result<Vec<ChangeRow>>;

    /// The references among these hashes that exist.
    async fn references(&self, account: AccountId, hashes: &[u64]) -> Result<Vec<Reference>>;

    /// The receipts among these deliveries that exist and have not expired.
    async fn receipts(&self, account: AccountId, deliveries: &[DeliveryId]) -> Result<Vec<Receipt>>;

    /// What an append asks before it commits: [`Self::receipts`] and [`Self::references`] in one go, at most 1,000 keys of each.
    async fn arrivals(
        &self,
        account: AccountId,
        deliveries: &[DeliveryId],
        hashes: &[u64],
    ) -> Result<(Vec<Receipt>, Vec<Reference>)> {
        let receipts = self.receipts(account, deliveries).await?;
        Ok((receipts, self.references(account, hashes).await?))
    }

    /// The latest snapshot of a folder's index.
    async fn snapshot(&self, account: AccountId, folder: FolderId) -> Result<Option<SnapshotRow>>;

    /// Saves a snapshot, replacing an older one. Needs no durability before it returns.
    async fn put_snapshot(&self, account: AccountId, snapshot: SnapshotRow) -> Result<()>;

    /// Removes every row of the account and its holds on contents. Idempotent.
    async fn remove(&self, account: AccountId) -> Result<()>;

    /// Accounts with a head, ids ascending, above `after`.
    async fn accounts(&self, after: Option<AccountId>, limit: usize) -> Result<Vec<AccountId>>;

    /// Drops change rows older than `changes_before` and receipts that expired before `now` (milliseconds since the
    /// Unix epoch), a bounded amount a call; says whether more is left. Engines with row expiry do nothing.
    async fn expire(&self, changes_before: u64, now: u64) -> Result<bool>;
}
